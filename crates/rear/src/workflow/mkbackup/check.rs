//! Refuses, before any work, what could not be recovered. It asks every part of the program that has conditions, and says all
//! that is wrong at once; it changes nothing.

use std::path::Path;

use boot::BootFacts;
use sys::Sys;

use super::{Destinations, What, archive, encrypt, snapshots};
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::files::Engine;
use crate::workflow::machine::Machine;
use crate::workflow::preflight::{self, Refusals};
use crate::workflow::{blockclone, luks, means, swapfiles};

/// Everything that is asked before a run; what the recovery will need is added to the recipe.
pub(super) fn check(
    context: &Context,
    what: What,
    machine: &Machine,
    destinations: &Destinations,
    recipe: &mut image::Recipe<'_>,
    engine: Option<&dyn Engine>,
) -> Result<BootFacts> {
    let stage = context.ui.stage("check");
    let mut refusals = Refusals::default();
    // What the recovery will run must be carried, so it must be here.
    recipe.required_progs.extend(preflight::storage(context, machine, &mut refusals)?);
    let settings = context.settings();
    for (name, argv) in [
        ("PRE_BACKUP_SCRIPT", &settings.pre_backup_script),
        ("POST_BACKUP_SCRIPT", &settings.post_backup_script),
    ] {
        if let Some(program) = argv.first()
            && context.sys.which(program).is_none()
        {
            refusals.add(format!("{name} names {program}, which is no program of this machine"));
        }
    }
    means::check(context, &mut refusals);
    luks::check(context, &machine.wanted, &mut refusals);
    swapfiles::warn(context, &machine.wanted)?;
    recipe.required_progs.extend(blockclone::check(context, machine, destinations.archive, &mut refusals));
    if let Some(engine) = engine {
        let carry = engine.check(context, machine, &mut refusals)?;
        recipe.required_progs.extend(carry.programs);
        recipe.copy_as_is.extend(carry.files);
        recipe.rescue.means.reach = carry.reach;
    }
    let facts = preflight::boot(context, machine, &mut refusals);
    if destinations.iso.is_some() {
        preflight::medium(context, machine, recipe, &mut refusals);
    }
    if destinations.files && machine.coverage.mounts.first().is_none_or(|mount| mount != "/") {
        refusals.add("the root filesystem is not captured; without it there is no machine to recover");
    }
    if destinations.files {
        archive::refuse_lifeless(context, &mut refusals)?;
        snapshots::check(context, machine, destinations.saved_into(), &mut refusals)?;
    }
    if settings.backup == config::Backup::External && what != What::RescueOnly {
        snapshots::external(context, &mut refusals);
    }
    if destinations.archive {
        encrypt::check(context, &mut refusals);
    }
    let data = match destinations.archive {
        true => archive::data_bytes(context, machine, destinations)? + blockclone::bytes(context, machine),
        false => 0,
    };
    if let Some(dir) = &destinations.backup_dir {
        preflight::space(context, dir, data, 1, &mut refusals);
        archive::refuse_doomed(context, machine, dir, &mut refusals);
    }
    if let Some(dir) = destinations.iso.as_deref().and_then(Path::parent) {
        // The archive lies beside the medium until the medium has been written: two copies for a while.
        let copies = if destinations.archive_on_medium() { 2 } else { 0 };
        preflight::space(context, dir, data, copies, &mut refusals);
        let settings = context.settings();
        if settings.iso_recover_unattended
            && !destinations.archive_on_medium()
            && engine.is_none()
            && destinations.shelf.is_none()
        {
            context.ui.warn(
                "there are no files on this medium, so an unattended recovery from it stops before any write",
            );
        }
    }
    refusals.verdict()?;
    stage.done(match &context.settings().only_include {
        None => "everything on this machine can be recovered".to_owned(),
        Some(paths) => format!("of the files, only those of {} will be in the backup", paths.join(", ")),
    });
    facts.ok_or_else(|| Failure::refused("the boot loader could not be captured"))
}
