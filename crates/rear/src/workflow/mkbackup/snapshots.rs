//! `BACKUP_SNAPSHOT`: which filesystems of this machine are read as they were at one moment, told in one line; and what a killed run
//! has left of that. How snapshots are made and removed stands in the room `snapshot`.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use config::Tristate;
use layout::{Bytes, Layout, NodeId};
use serde_json::json;
use snapshot::{Leftovers, Place, Plan, Taken, Way};

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::workflow::machine::Machine;
use crate::workflow::preflight::Refusals;

/// What to do where they are asked for and cannot be had.
const HINT: &str = "make room for them, leave the filesystem out, or set BACKUP_SNAPSHOT=auto";

/// Every filesystem that is read, with what no mount shows of a btrfs. `into`: the local directory into which the files are saved.
fn places(machine: &Machine, into: Option<&Path>) -> Vec<Place> {
    // Each block that is written there takes room in a snapshot, whether it held anything before or not.
    let target = into.and_then(|dir| dir.ancestors().find_map(device_of));
    let written = |at: &str| match target {
        Some(device) if device_of(Path::new(at)) == Some(device) => Bytes(machine.data_bytes()),
        _ => Bytes(0),
    };
    let mounted = machine.coverage.mounts.iter().map(|at| {
        let mount = machine.layout.mounts.iter().find(|mount| mount.mount_point == *at);
        Place {
            at: at.clone(),
            device: mount.map_or(NodeId(String::new()), |mount| mount.device.clone()),
            fs_type: mount.map(|mount| mount.fs_type.clone()).unwrap_or_default(),
            root: mount.map(|mount| mount.root.clone()).unwrap_or_default(),
            written: written(at),
        }
    });
    let tops = machine.coverage.tops.iter().map(|top| Place {
        at: top.mount_point.clone(),
        device: top.device.clone(),
        fs_type: "btrfs".to_owned(),
        root: top.root.clone(),
        written: Bytes(0),
    });
    mounted.chain(tops).collect()
}

/// The number of the device that a path lies on.
fn device_of(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|facts| facts.dev())
}

fn plan(context: &Context, machine: &Machine, into: Option<&Path>) -> Plan {
    Plan::new(&context.sys, &machine.layout, &places(machine, into), &machine.coverage.skip)
}

/// Why no snapshot can be shown at all, where a captured filesystem is mounted below one that is not.
const BELOW: &str = "a captured filesystem is mounted below one that is not captured, so the files can only be read as they are seen";

/// Refuses what `BACKUP_SNAPSHOT=yes` asks for and cannot be had.
pub fn check(
    context: &Context,
    machine: &Machine,
    into: Option<&Path>,
    refusals: &mut Refusals,
) -> Result<()> {
    if context.settings().backup_snapshot != Tristate::Yes {
        return Ok(());
    }
    let refuse = |reason: &str| format!("BACKUP_SNAPSHOT=yes: {reason} ({HINT})");
    for reason in plan(context, machine, into).refusals() {
        refusals.add(refuse(&reason));
    }
    if !super::source::can_be_exposed(machine)? {
        refusals.add(refuse(BELOW));
    }
    Ok(())
}

/// Says that programs of the user read for themselves, where they save the files.
pub fn external(context: &Context, refusals: &mut Refusals) {
    match context.settings().backup_snapshot {
        Tristate::Yes => refusals.add(
            "BACKUP_SNAPSHOT=yes: EXTERNAL_BACKUP reads the files by itself, so no snapshot can be made for it (set \
             BACKUP_SNAPSHOT=no, and let that program see to it)",
        ),
        Tristate::Auto => {
            context.ui.say("EXTERNAL_BACKUP reads the files by itself: no snapshots are made for it.");
        }
        Tristate::No => {}
    }
}

/// Makes the snapshots of this moment; `None` where everything is read live.
pub fn take(context: &Context, machine: &Machine, into: Option<&Path>) -> Result<Option<Taken>> {
    let strict = match context.settings().backup_snapshot {
        Tristate::No => return Ok(None),
        Tristate::Yes => true,
        Tristate::Auto => false,
    };
    let plan = plan(context, machine, into);
    // Room may have gone since it was looked at.
    if let (true, Some(reason)) = (strict, plan.refusals().first()) {
        return Err(Failure::failed(format!("BACKUP_SNAPSHOT=yes: {reason}")).hint(HINT));
    }
    if !plan.is_empty() && !super::source::can_be_exposed(machine)? {
        if strict {
            return Err(Failure::failed(format!("BACKUP_SNAPSHOT=yes: {BELOW}")).hint(HINT));
        }
        context.ui.warn(format!("no snapshots are made: {BELOW}"));
        return Ok(None);
    }
    let id = sys::info::random_id()?;
    Ok(Some(plan.take(&id, strict, &context.cancel)?))
}

/// Says what is read from where.
pub fn say(context: &Context, machine: &Machine, taken: Option<&Taken>) {
    let stage = context.ui.stage("snapshot");
    let Some(taken) = taken else {
        stage.done("none: every filesystem is read as it is while it changes");
        return;
    };
    let seats = taken.seats();
    let events = seats.iter().map(|seat| {
        let (from, why) = match &seat.way {
            Way::Volume(_) => ("lvm", ""),
            Way::Subvolumes => ("btrfs", ""),
            Way::Live { why, .. } => ("live", why.as_str()),
        };
        json!({"mount": seat.place.at, "from": from, "why": why})
    });
    context.ui.event(&json!({"event": "snapshot", "filesystems": events.collect::<Vec<_>>()}));
    let (mut still, mut live) = (Vec::new(), Vec::new());
    for seat in seats {
        let name = match machine.coverage.tops.iter().find(|top| top.mount_point == seat.place.at) {
            Some(top) => {
                format!("{} beside the mounts of {}", top.root, path_of(&machine.layout, &top.device))
            }
            None => seat.place.at.clone(),
        };
        match &seat.way {
            Way::Live { why, .. } => live.push(format!("{name} ({why})")),
            _ => still.push(name),
        }
    }
    let is_seat = |path: &str| seats.iter().any(|seat| seat.place.root.trim_start_matches('/') == path);
    let nested = taken.live_subvolumes().filter(|(path, _)| !is_seat(path));
    live.extend(nested.map(|(path, why)| format!("the subvolume {path} ({why})")));
    let mut text = match still.is_empty() {
        true => "none".to_owned(),
        false => format!("as of this moment: {}", still.join(", ")),
    };
    if !live.is_empty() {
        text.push_str(&format!("; as it is while it changes: {}", live.join(", ")));
    }
    stage.done(text);
}

fn path_of<'a>(layout: &'a Layout, device: &'a NodeId) -> &'a str {
    layout.device(device).map_or(device.0.as_str(), |device| device.path.as_str())
}

/// What was read is worth nothing where a snapshot ran full meanwhile.
pub fn ran_full(trouble: &str) -> Failure {
    Failure::failed(format!("{trouble}: the backup that was being read from it was given up")).hint(
        "there is no new recovery point, and what was there before is unchanged. Leave more of the volume group or the pool free, or \
         set BACKUP_SNAPSHOT=no",
    )
}

/// Removes what a killed run has left. Gives whether anything was there.
pub fn remove_leftovers(context: &Context, layout: &Layout) -> bool {
    let found = Leftovers::find(&context.sys, layout);
    if found.is_empty() {
        return false;
    }
    let (gone, stay) = found.remove();
    for what in gone {
        context.ui.say(format!("Removed {what}, left behind by a killed run."));
    }
    for what in stay {
        context.ui.warn(what);
    }
    true
}
