//! Saves, plans, recreates and compares the storage of a machine whose root filesystem lies elsewhere: what the storage
//! drill runs in its guest. Never touches the disk that carries `/`, and asks nothing: whoever starts it has
//! nothing to lose on the other disks.
//!
//!     recreate save FILE      probe, and write the layout of all disks but the root's
//!     recreate plan FILE      what would be done to bring that layout back
//!     recreate apply FILE     do it
//!     recreate diff A B       every difference between two layouts; exit code 1 if there are any

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use layout::{Layout, NodeId};
use plan::{Choices, Plan};
use sys::{Cancel, Sys};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What stands in the place of a recovery point's id.
const POINT: &str = "storage drill";

fn main() -> ExitCode {
    // What is run goes to standard error, so that a failed layout can be understood from its log alone.
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .without_time()
        .with_max_level(tracing::Level::DEBUG)
        .init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["save", file] => save(Path::new(file)).map(|()| ExitCode::SUCCESS),
        ["plan", file] => show(Path::new(file)).map(|()| ExitCode::SUCCESS),
        ["apply", file] => apply(Path::new(file)).map(|()| ExitCode::SUCCESS),
        ["diff", old, new] => diff(Path::new(old), Path::new(new)),
        _ => Err("use: recreate save FILE | plan FILE | apply FILE | diff A B".into()),
    };
    done.unwrap_or_else(|error| {
        eprintln!("recreate: {error}");
        ExitCode::from(2)
    })
}

fn load(file: &Path) -> Result<Layout> {
    Ok(Layout::from_json(&std::fs::read_to_string(file)?)?)
}

fn save(file: &Path) -> Result<()> {
    let sys = sys::Real::new(Cancel::on_signals()?);
    let layout = without_root(probe::machine(&sys)?);
    Ok(std::fs::write(file, layout.to_json()?)?)
}

/// The layout without the disks that carry the running system, and all that lies on them.
fn without_root(mut layout: Layout) -> Layout {
    let root: Vec<NodeId> = layout
        .mounted_at("/")
        .map(|device| layout.disks_below(&device.id).iter().map(|disk| disk.id.clone()).collect())
        .unwrap_or_default();
    let dropped: Vec<NodeId> =
        root.iter().flat_map(|disk| layout.subtree(disk)).map(|device| device.id.clone()).collect();
    layout.devices.retain(|device| !dropped.contains(&device.id));
    layout.mounts.retain(|mount| !dropped.contains(&mount.device));
    layout
}

/// The present machine, and the plan for it.
struct Fitted {
    present: Layout,
    protected: BTreeMap<NodeId, String>,
    sequences: apply::Sequences,
    plan: Plan,
}

fn fit(sys: &dyn Sys, saved: &Layout) -> Result<Fitted> {
    let sequences = apply::Sequences::read(sys)?;
    let present = probe::machine(sys)?;
    let protected: BTreeMap<NodeId, String> = probe::sources(sys, &present)?
        .into_iter()
        .map(|id| (id, "it carries a mounted filesystem".to_owned()))
        .collect();
    let fit = plan::fit(saved, &present, &protected, &Choices::default())?;
    let plan = plan::storage(saved, &present, fit, POINT)?;
    Ok(Fitted { present, protected, sequences, plan })
}

fn show(file: &Path) -> Result<()> {
    let sys = sys::Real::new(Cancel::on_signals()?);
    let fitted = fit(&sys, &load(file)?)?;
    println!("{}", fitted.plan.text_verbose().trim_end());
    Ok(())
}

/// Says every step before it begins.
struct Aloud;

impl apply::Progress for Aloud {
    fn step(&self, step: &plan::Step, n: usize, of: usize) {
        eprintln!("step {n}/{of}: {}", step.describe());
    }
}

fn apply(file: &Path) -> Result<()> {
    let cancel = Cancel::on_signals()?;
    let sys = sys::Real::new(cancel.clone());
    let Fitted { present, protected, sequences, plan } = fit(&sys, &load(file)?)?;
    // A journal of an earlier run must not make this one skip anything.
    let place = std::env::temp_dir().join(format!("recreate-{}", std::process::id()));
    let mut journal = apply::Journal::open(&place.join("journal.json"), &plan)?;
    let targets = apply::targets_since(&sys, &plan, &present, &protected, &sequences)?;
    let applied = apply::run(&sys, &plan, targets, &mut journal, &Aloud, &cancel)?;
    for (id, node) in &applied.devices {
        println!("{id} {}", node.display());
    }
    applied.mounts.unmount()?;
    Ok(std::fs::remove_dir_all(place)?)
}

fn diff(old: &Path, new: &Path) -> Result<ExitCode> {
    let (old, new) = (load(old)?, load(new)?);
    let changes = layout::diff(&old, &new);
    for change in &changes {
        println!("{change}");
    }
    let groups = old.groups != new.groups;
    if groups && changes.is_empty() {
        println!("the volume groups differ:\n{:#?}\n{:#?}", old.groups, new.groups);
    }
    Ok(if changes.is_empty() && !groups { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
