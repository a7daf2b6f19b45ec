//! Disks that a recovery must find again and never writes: which present disk is which, and what is not there as it was.
//! A disk counts as found when it holds what it held, whatever it is called and wherever it is plugged in. Nothing is
//! attached for that, and nothing is decided here.

use std::collections::BTreeMap;
use std::mem::discriminant;

use layout::{Content, Device, Kind, Layout, NodeId};

use crate::describe::{content, disk as name, holds};
use crate::own;

/// What the reasons of protected disks begin with.
pub(crate) const WORD: &str = "preserved: ";

/// What became of the preserved disks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preserved {
    /// Those that are here with what they held: saved disk and present disk.
    pub found: Vec<(NodeId, NodeId)>,
    /// Those that are not, each with a sentence without a full stop.
    pub missing: Vec<(NodeId, String)>,
    /// Present disks that must not be written, with the reason: those found, and every other one that is or carries a
    /// part of a preserved disk.
    pub protected: BTreeMap<NodeId, String>,
}

/// Looks for the disks of `saved` (those that are preserved, with all that lies on them) among the present ones.
pub fn preserved(saved: &Layout, present: &Layout) -> Preserved {
    let mut result = Preserved::default();
    for disk in saved.disks() {
        let parts = parts(saved, disk);
        let taken = |other: &Device| result.found.iter().any(|(_, present)| *present == other.id);
        let complete = |other: &&Device| {
            let theirs = self::parts(present, other);
            !parts.is_empty() && parts.iter().all(|part| theirs.iter().any(|other| same(part, other)))
        };
        // Without any identifier on it, the disk's own must do.
        let is_it = |other: &&Device| {
            if parts.is_empty() {
                is_same(disk, other) && other.content != Content::Empty
            } else {
                complete(other)
            }
        };
        let fitting: Vec<&Device> = present.disks().filter(is_it).filter(|other| !taken(other)).collect();
        let own = fitting.iter().find(|other| is_same(disk, other)).or(fitting.first()).copied();
        match own {
            Some(found) => result.found.push((disk.id.clone(), found.id.clone())),
            None => result.missing.push((disk.id.clone(), why(saved, present, disk, &parts))),
        }
        for other in present.disks().filter(|other| other.content != Content::Empty) {
            let theirs = self::parts(present, other);
            let carries = parts.iter().any(|part| theirs.iter().any(|other| same(part, other)));
            if carries || is_same(disk, other) {
                let why = format!(
                    "{WORD}it is or carries what was {} of the saved machine, and is never written",
                    disk.path
                );
                result.protected.entry(other.id.clone()).or_insert(why);
            }
        }
    }
    result
}

/// What on a disk has an identifier: the disk itself and its partitions, never what is made of them.
fn parts<'a>(layout: &'a Layout, disk: &'a Device) -> Vec<&'a Device> {
    let partitions = layout.partitions(&disk.id).into_iter();
    let all = std::iter::once(disk).chain(partitions);
    all.filter(|device| own::uuid(&device.content).is_some()).collect()
}

fn same(a: &Device, b: &Device) -> bool {
    let equal =
        own::uuid(&a.content).zip(own::uuid(&b.content)).is_some_and(|(a, b)| a.eq_ignore_ascii_case(b));
    equal && discriminant(&a.content) == discriminant(&b.content)
}

fn is_same(a: &Device, b: &Device) -> bool {
    a.disk().zip(b.disk()).is_some_and(|(a, b)| a.identity.is_same_disk(&b.identity))
}

fn why(saved: &Layout, present: &Layout, disk: &Device, parts: &[&Device]) -> String {
    let held: Vec<String> = parts.iter().map(|part| content(&part.content)).collect();
    let mounted: Vec<&str> = saved
        .subtree(&disk.id)
        .iter()
        .flat_map(|device| saved.mounts.iter().filter(|mount| mount.device == device.id))
        .map(|mount| mount.mount_point.as_str())
        .collect();
    let mut what = name(disk);
    if !held.is_empty() {
        what.push_str(&format!(", which held {}", held.join(", ")));
    }
    if !mounted.is_empty() {
        what.push_str(&format!(" ({})", mounted.join(", ")));
    }
    match present.disks().find(|other| is_same(disk, other)) {
        Some(here) => {
            let now = holds(present, here).unwrap_or_else(|| "nothing".to_owned());
            format!("{what}: the disk is here as {}, but it holds {now}", here.path)
        }
        None => format!("{what}: no disk here holds that"),
    }
}

/// The preserved layout's devices that lie on nothing but the disks that were found, and the mounts from them: what the
/// recovered machine will have besides what is recreated.
pub fn still_there(saved: &Layout, preserved: &Preserved) -> Layout {
    let mut part = Layout::new(saved.machine.clone());
    for device in &saved.devices {
        let there = match &device.kind {
            Kind::Disk(_) => preserved.found.iter().any(|(id, _)| *id == device.id),
            _ => device.parents().iter().all(|parent| part.device(parent).is_some()),
        };
        if there {
            part.devices.push(device.clone());
        }
    }
    part.mounts = saved.mounts.iter().filter(|mount| part.device(&mount.device).is_some()).cloned().collect();
    part
}
