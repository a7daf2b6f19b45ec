//! `rear mkbackup`, `rear mkrescue`, `rear mkbackuponly`.
//!
//!     config -> probe -> layout -> check -> image -> archive -> medium -> seal
//!
//! Everything is made in a private directory beside its final place and renamed there when it has been read back:
//! what was there before stays until then, and a run that fails or is stopped leaves nothing behind.

use destinations::Destinations;
use layout::Layout;
use sys::{Cmd, Sys};

use super::{machine, means};
use crate::context::{Context, is_rescue_system};
use crate::failure::{Failure, Result};
use crate::files;
use crate::point::Shelf;

pub mod archive;
mod check;
mod destinations;
pub mod encrypt;
mod make;
mod medium;
mod priority;
mod recipe;
mod report;
mod snapshots;
pub mod source;

pub use make::part;
pub use medium::utc;

/// Which half of the work is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// `mkbackup`.
    Both,
    /// `mkrescue`.
    RescueOnly,
    /// `mkbackuponly`.
    BackupOnly,
}

/// Runs the workflow.
pub fn run(context: &Context, what: What) -> Result<()> {
    let started = std::time::Instant::now();
    let _lock = context.begin_writing(&context.settings().logfile)?;
    if is_rescue_system() {
        return Err(Failure::refused("this is the rescue system; a backup is made on the running machine"));
    }
    // Whatever is created from here on, by us or by the programs we run, is for root alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    context.show_config_warnings();
    // No mount of ours is seen outside, and all of them are gone when this process ends, however it ends.
    sys::mount::private_namespace()?;
    let mut engine = files::engine(context)?;
    let mut destinations = Destinations::decide(context, what, engine.as_deref())?;
    priority::lower(context)?;

    let stage = context.ui.stage("probe");
    let mut machine = machine::probe(context)?;
    // We hold the lock, so no other run uses them. They are no part of the machine.
    if snapshots::remove_leftovers(context, &machine.layout) {
        machine = machine::probe(context)?;
    }
    destinations.find_shelf(context, &machine.layout)?;
    for disk in destinations.shelf.iter().flat_map(|shelf| shelf.disks(&machine.layout)) {
        machine.coverage.holds_backup(&disk);
    }
    stage.done(format!(
        "{} disk(s) to recover, {} filesystem(s) to archive",
        machine.wanted.disks().count(),
        machine.coverage.mounts.len()
    ));
    context.ui.say(machine.coverage.table().trim_end());
    let patterns = &context.settings().backup_prog_exclude;
    if destinations.files && !patterns.is_empty() {
        context.ui.say(format!("Left out everywhere (BACKUP_PROG_EXCLUDE): {}", patterns.join(" ")));
    }
    context.ui.say(machine.coverage.disk_table().trim_end());
    context.ui.event(&report::coverage_event(&machine.coverage));

    for dir in destinations.work_dirs() {
        make::remove_leftovers(context, dir);
    }
    let id = sys::info::random_id()?;
    let mut recipe = recipe::recipe(context, &id, &destinations)?;
    let facts = check::check(context, what, &machine, &destinations, &mut recipe, engine.as_deref())?;
    // Of a medium alone, the engine has only said what must be carried.
    let engine = engine.as_deref_mut().filter(|_| destinations.files);

    let result = hook(&context.sys, context, "PRE_BACKUP_SCRIPT", &context.settings().pre_backup_script)
        .and_then(|()| match what {
            // Before a new medium takes the place of the one whose files are there.
            What::Both | What::BackupOnly => means::save(context),
            What::RescueOnly => Ok(()),
        })
        .and_then(|()| make::make(context, &machine, &destinations, &recipe, &facts, engine));
    // The hooks belong together (freeze, thaw): the second runs even if the backup between them failed or was
    // stopped by a signal.
    let unstoppable = sys::Real::default();
    let after = hook(&unstoppable, context, "POST_BACKUP_SCRIPT", &context.settings().post_backup_script);
    if result.is_err()
        && let Err(failure) = &after
    {
        context.ui.warn(failure.to_string());
    }
    let made = result?;
    report::report(context, &destinations, &made, started.elapsed().as_secs_f64());
    let complete = |failure: Failure| failure.hint("the recovery point itself is complete and was read back");
    after.map_err(complete)?;
    if what != What::BackupOnly {
        super::layout::write(&machine.wanted).map_err(complete)?;
    }
    Ok(())
}

/// The filesystem that would hold a backup, as far as the configuration tells.
pub fn shelf(context: &Context, layout: &Layout) -> Result<Option<Shelf>> {
    let engine = files::engine(context)?;
    let mut destinations = Destinations::decide(context, What::Both, engine.as_deref())?;
    destinations.find_shelf(context, layout)?;
    Ok(destinations.shelf)
}

/// How long a command of the configuration may take.
pub const HOOK_LIMIT: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// Runs a command of the configuration: argv, no shell.
pub fn hook(sys: &sys::Real, context: &Context, name: &str, argv: &[String]) -> Result<()> {
    let Some((program, arguments)) = argv.split_first() else { return Ok(()) };
    let stage = context.ui.stage("hook");
    sys.run(&Cmd::new(program).args(arguments.iter().cloned()).timeout(HOOK_LIMIT)).map_err(|error| {
        let failure = Failure::from(error).during(name);
        match name {
            "PRE_BACKUP_SCRIPT" => failure.hint("no backup was made; correct the program or the setting"),
            _ => failure,
        }
    })?;
    stage.done(format!("{name} ran"));
    Ok(())
}
