//! `rear mountonly --unmount`: takes down what was mounted below the target directory, then what was attached for it,
//! in the reverse order. What another program attached is left alone.

use std::path::Path;

use plan::{Attach, Command};
use serde::{Deserialize, Serialize};
use sys::Sys;

use super::cmd;
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::workflow::recover::TARGET_ROOT;

/// What was attached in this rescue system; gone when the rescue system is.
const STATE: &str = "/run/rear/mountonly.json";

/// What was attached so far, in that order.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Attached(Vec<One>);

/// One thing that was attached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct One {
    /// For people.
    what: String,
    /// The command that takes it down.
    undo: Command,
}

impl Attached {
    /// What earlier runs attached.
    pub fn read() -> Result<Self> {
        match std::fs::read(STATE) {
            Ok(text) => Ok(serde_json::from_slice(&text)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// Notes one more.
    pub fn add(&mut self, attach: &Attach) -> Result<()> {
        let Some(undo) = attach.undo() else { return Ok(()) };
        // A group that is asked for again with more members is taken down once.
        self.0.retain(|one| one.undo != undo);
        self.0.push(One { what: attach.describe(), undo });
        self.write()
    }

    fn write(&self) -> Result<()> {
        let path = Path::new(STATE);
        if let Some(dir) = path.parent() {
            sys::fs::create_dir_private(dir)?;
        }
        Ok(sys::fs::write_atomic(path, &serde_json::to_vec(self)?)?)
    }
}

/// Takes everything down.
pub fn run(context: &Context) -> Result<()> {
    let root = Path::new(TARGET_ROOT);
    let mut problems = Vec::new();
    let mut unmounted = 0;
    for entry in probe::mountinfo(&context.sys)?.iter().rev() {
        let point = Path::new(&entry.mount_point);
        if !point.starts_with(root) {
            continue;
        }
        match sys::mount::unmount(point) {
            Ok(()) => unmounted += 1,
            Err(error) => problems.push(error.to_string()),
        }
    }
    let mut attached = Attached::read()?;
    let mut left = Vec::new();
    if problems.is_empty() {
        while let Some(one) = attached.0.pop() {
            // What lies on top may be seen by udev for a moment.
            let _ = context.sys.run(&sys::Cmd::new("udevadm").args(["settle", "--timeout=30"]).accept(&[1]));
            match context.sys.run(&cmd(&one.undo)) {
                Ok(_) => context.ui.explain(format!("{} is taken down", one.what)),
                Err(error) => {
                    problems.push(format!("{}: {error}", one.what));
                    left.push(one);
                }
            }
        }
        left.reverse();
        Attached(left).write()?;
    }
    if !problems.is_empty() {
        let list: String = problems.iter().map(|problem| format!("\n- {problem}")).collect();
        return Err(Failure::failed(format!("not everything could be taken down:{list}"))
            .hint("end what still works below it (fuser -vm DIRECTORY names it), then run it again"));
    }
    context.ui.say(match unmounted {
        0 => format!("Nothing is mounted below {}.", root.display()),
        count => format!(
            "{count} mount(s) below {} are taken down, and what was attached for them.",
            root.display()
        ),
    });
    Ok(())
}
