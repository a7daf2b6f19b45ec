//! Everything that can refuse a backup is asked before any work: what could not be recovered is refused while the
//! machine is alive, and all reasons are told at once.

use std::path::Path;

use boot::BootFacts;
use image::Recipe;
use layout::{Bytes, Firmware};
use sys::Sys;

use super::machine::Machine;
use super::undrilled;
use crate::context::Context;
use crate::failure::{Failure, Result};

/// Collects reasons to refuse.
#[derive(Default)]
pub struct Refusals(Vec<String>);

impl Refusals {
    /// Takes the error of a check as a reason; passes its value on.
    pub fn take<T, E: std::fmt::Display>(&mut self, result: std::result::Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.0.push(error.to_string());
                None
            }
        }
    }

    /// Adds a reason.
    pub fn add(&mut self, reason: impl Into<String>) {
        self.0.push(reason.into());
    }

    /// The refusal, if there is any reason.
    pub fn verdict(self) -> Result<()> {
        match self.0.as_slice() {
            [] => Ok(()),
            [one] => Err(Failure::refused(format!("this machine could not be recovered: {one}"))
                .hint("nothing was written")),
            many => {
                let list: String = many.iter().map(|reason| format!("\n- {reason}")).collect();
                Err(Failure::refused(format!(
                    "this machine could not be recovered, for {} reasons:{list}",
                    many.len()
                ))
                .hint("nothing was written"))
            }
        }
    }
}

/// What of the storage could not be made again. Returns the programs that making it again needs.
pub fn storage(context: &Context, machine: &Machine, refusals: &mut Refusals) -> Result<Vec<String>> {
    for row in machine.coverage.unsupported() {
        if let probe::Decision::Unsupported { why } = &row.decision {
            // A name that is only in the configuration has no type: it is to be corrected, not waived.
            if row.fs_type.is_empty() && row.device.is_none() {
                refusals.add(format!("{}: {why}", row.what));
                continue;
            }
            refusals.add(format!(
                "{}: {why} (leave it out on purpose with COVERAGE_WAIVE+=( {} ))",
                row.what,
                config::quote(&row.what)
            ));
        }
    }
    for problem in probe::fstab_problems(&context.sys, &machine.layout)? {
        refusals.add(format!("/etc/fstab: {problem}"));
    }
    for kind in undrilled::kinds(&machine.wanted) {
        if context.settings().accept_undrilled.iter().any(|accepted| accepted.eq_ignore_ascii_case(kind)) {
            context.ui.warn(format!(
                "{kind} is recreated, but no whole recovery of a machine with it has been drilled yet: drill one of your own \
                 before you rely on it"
            ));
        } else {
            refusals.add(format!(
                "this machine needs {kind}: it would be recreated, but no whole recovery of a machine with it has been drilled \
                 by this project yet (accept that on purpose with ACCEPT_UNDRILLED+=\" {kind}\", and drill a recovery of your own)"
            ));
        }
    }
    for violation in super::preserve::Kept::of(machine).layout.check() {
        refusals.add(format!("what lies on the disks that stay as they are was not understood: {violation}"));
    }
    for what in plan::disturbances(&machine.wanted, &machine.layout) {
        context.ui.warn(format!(
            "{what}; a recovery is refused while that disk is in the machine: clear it (wipefs) or take it out"
        ));
    }
    let plan = refusals.take(plan::recoverable(&machine.wanted));
    Ok(plan.map(|plan| plan.tools()).unwrap_or_default())
}

/// What boots this machine, as far as it can be captured.
pub fn boot(context: &Context, machine: &Machine, refusals: &mut Refusals) -> Option<BootFacts> {
    let facts = refusals.take(boot::capture(&context.sys, &machine.wanted))?;
    for problem in boot::check(&facts, &machine.wanted) {
        refusals.add(problem);
    }
    Some(facts)
}

/// Whether the rescue system and the medium can be made here.
pub fn medium(context: &Context, machine: &Machine, recipe: &Recipe<'_>, refusals: &mut Refusals) {
    refusals.take(image::check(&context.sys, recipe));
    let uefi = machine.layout.machine.firmware == Firmware::Uefi;
    for warning in refusals.take(medium::check(&context.sys, uefi)).unwrap_or_default() {
        context.ui.warn(warning);
    }
}

/// Bytes that the rescue system and the boot files need at most.
const RESCUE_BYTES: u64 = 400 << 20;

/// The directory itself, or the nearest one above it that is there.
fn existing(dir: &Path) -> &Path {
    dir.ancestors().find(|dir| dir.exists()).unwrap_or(dir)
}

/// Whether a directory has room for two archives that hold this much, however badly it compresses.
pub fn is_ample(context: &Context, dir: &Path, data: u64) -> bool {
    let needed = data.saturating_mul(2).saturating_add(RESCUE_BYTES);
    context.sys.usage(existing(dir)).is_ok_and(|usage| usage.available >= needed)
}

/// Whether `copies` times the archive, at its largest, fits into the directory. Files that compress badly are the
/// rule on some machines, so the archive is taken as large as the data; but a machine whose disk is more than half
/// full may still be backed up onto itself when the data compresses as system files do, so a shortage by that
/// estimate alone is a warning, and only what cannot fit even at a quarter of the size is refused.
pub fn space(context: &Context, dir: &Path, data: u64, copies: u64, refusals: &mut Refusals) {
    let existing = existing(dir);
    let Some(usage) = refusals.take(context.sys.usage(existing)) else { return };
    let worst = data.saturating_mul(copies) + RESCUE_BYTES;
    let best = data.saturating_mul(copies) / 4 + RESCUE_BYTES / 4;
    if usage.available < best {
        refusals.add(format!(
            "{} has {} free; the recovery point needs {} at the very least",
            existing.display(),
            Bytes(usage.available),
            Bytes(best)
        ));
    } else if usage.available < worst {
        context.ui.warn(format!(
            "{} has {} free; if the data compresses badly, up to {} are needed",
            existing.display(),
            Bytes(usage.available),
            Bytes(worst)
        ));
    }
}
