//! Which present disk takes the place of each saved one, and why.
//!
//! In this order: the operator's mapping, the same physical disk, a disk with the saved machine's own content,
//! a blank disk, a disk that the operator named for erasure. Kernel names decide nothing. It never guesses:
//! where more than one assignment would do, the answer is an error with a proposal.

use std::collections::{BTreeMap, BTreeSet};

use layout::{Bytes, Content, Device, FsKind, Layout, NodeId};
use serde::{Deserialize, Serialize};

use crate::describe::{disk as name, holds};
use crate::erase;
use crate::{FitError, blank, clash, ext, f2fs, jfs, ntfs, table, vfat, xfs};

mod search;

use search::Search;

/// What the operator decided beforehand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    /// Nobody can be asked: foreign content is only erased where it is named in `allow_erase`.
    pub unattended: bool,
    /// Saved disk to present disk, chosen by a person.
    pub mapping: BTreeMap<NodeId, NodeId>,
    /// Disks whose foreign content may be erased, in the words of this run's operator, who sees this machine: each by
    /// its id, WWN, serial number, kernel name or a name below `/dev/disk/by-id` or `/dev/disk/by-path`.
    pub allow_erase: Vec<String>,
    /// The same from the saved configuration. Kernel names and places meant other disks when it was written, so here
    /// only what a disk keeps counts: its id, WWN, serial number or a name below `/dev/disk/by-id`.
    pub allow_erase_saved: Vec<String>,
}

/// Where everything goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fit {
    /// The disks that will be written.
    pub disks: Vec<Placement>,
    /// The disks that will not be touched, each with the reason.
    pub untouched: Vec<(NodeId, String)>,
    /// Every present disk in a few words (name, size, model, serial number), for people.
    #[serde(default)]
    pub about: BTreeMap<NodeId, String>,
}

/// One saved disk and the present disk that takes its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Id of the saved disk.
    pub saved: NodeId,
    /// Id of the present disk.
    pub present: NodeId,
    /// The present disk's kernel name, for people.
    pub device: String,
    /// Why this disk.
    pub why: String,
    /// What is lost on it; `None` when it is blank.
    pub erases: Option<String>,
}

/// Places the disks of `saved` (those to be recreated) on those of `present`.
///
/// `protected` names the disks that carry the running rescue system, the medium, the archive or a mount: they
/// are never taken.
///
/// # Errors
/// Where a disk has no place or more than one: the error is the whole text for the operator.
pub fn fit(
    saved: &Layout,
    present: &Layout,
    protected: &BTreeMap<NodeId, String>,
    choices: &Choices,
) -> Result<Fit, FitError> {
    let (old, new) = (&saved.machine, &present.machine);
    if old.architecture != new.architecture {
        return Err(FitError::Architecture {
            saved: old.architecture.clone(),
            present: new.architecture.clone(),
        });
    }
    if old.firmware != new.firmware {
        return Err(FitError::Firmware { saved: old.firmware, present: new.firmware });
    }
    erase::check(choices, present)?;
    let mut search = Search { saved, present, protected, choices, taken: BTreeMap::new() };
    search.mapped()?;
    let doubtful = search.same_disks()?;
    search.own_content()?;
    search.refuse_doubtful(&doubtful)?;
    let open: Vec<&Device> = search.open();
    for (saved, present, why) in blank::place(&search.view(), &open)? {
        search.take(&saved, &present, why);
    }
    search.finish()
}

/// What would disturb the recovered machine if it stayed beside the disks of `saved`, which are here as they were: one
/// sentence for each disk, for whoever can still do something about it.
pub fn disturbances(saved: &Layout, present: &Layout) -> Vec<String> {
    let taken = saved.disks().filter(|disk| disk.content != Content::Empty).map(|disk| &disk.id).collect();
    clash::clashes(saved, present, &taken)
}

/// Bytes that a disk must have at least to take the place of this saved disk.
pub fn minimum_size(saved: &Layout, disk: &Device) -> Bytes {
    match &disk.content {
        Content::Table(table) => table::minimum(table, &saved.partitions(&disk.id), disk.sector),
        Content::Filesystem(fs) => match &fs.kind {
            FsKind::Ext(kind) => ext::size(kind),
            FsKind::Xfs(kind) => xfs::size(kind),
            FsKind::Vfat(kind) => vfat::size(kind),
            FsKind::F2fs(kind) => f2fs::size(kind),
            FsKind::Jfs(kind) => jfs::size(kind),
            FsKind::Ntfs(kind) => ntfs::size(kind),
            // Their tools always fill a device: on a larger one they would be larger.
            FsKind::Exfat(_) | FsKind::Nilfs(_) => disk.size,
            FsKind::Btrfs(_) | FsKind::Other { .. } => disk.size,
        },
        _ => disk.size,
    }
}

/// What the placement of blank disks needs to see.
pub(crate) struct View<'a> {
    pub(crate) saved: &'a Layout,
    pub(crate) present: &'a Layout,
    pub(crate) choices: &'a Choices,
    taken: BTreeSet<NodeId>,
    protected: &'a BTreeMap<NodeId, String>,
}

impl View<'_> {
    /// Why this present disk cannot take the place of this saved disk at all; `None` when it can.
    pub(crate) fn unfit(&self, saved: &Device, present: &Device) -> Option<String> {
        unfit(self.saved, self.protected, saved, present)
    }

    pub(crate) fn is_taken(&self, present: &Device) -> bool {
        self.taken.contains(&present.id)
    }

    /// All present disks, one line each, with what speaks against each.
    pub(crate) fn table(&self, open: &[&Device]) -> String {
        let mut lines = vec!["disks of this machine:".to_owned()];
        for disk in self.present.disks() {
            let content = holds(self.present, disk).unwrap_or_else(|| "blank".into());
            lines.push(format!("  {} [{}]: {content}", name(disk), disk.id));
            lines.push(format!("      {}", self.verdict(open, disk)));
        }
        if lines.len() == 1 {
            lines.push("  none that this kernel knows; is a driver missing?".into());
        }
        lines.join("\n")
    }

    fn verdict(&self, open: &[&Device], disk: &Device) -> String {
        if self.is_taken(disk) {
            return "already takes the place of another disk".into();
        }
        let reasons: BTreeSet<String> = open.iter().filter_map(|saved| self.unfit(saved, disk)).collect();
        if reasons.len() == 1 || (!open.is_empty() && reasons.len() >= open.len()) {
            return format!("not taken: {}", reasons.into_iter().collect::<Vec<_>>().join("; "));
        }
        if let Some(content) = holds(self.present, disk) {
            return format!("not taken: its content ({content}) is neither blank nor this machine's own");
        }
        if is_stick(disk) {
            return "not taken: it is removable, and is only used when it is chosen by name".into();
        }
        "suitable".into()
    }
}

/// A USB or removable disk: blank ones are often just the stick in somebody's hand.
pub(crate) fn is_stick(disk: &Device) -> bool {
    disk.disk().is_some_and(|disk| disk.removable || disk.transport == "usb")
}

fn unfit(
    layout: &Layout,
    protected: &BTreeMap<NodeId, String>,
    saved: &Device,
    present: &Device,
) -> Option<String> {
    if let Some(why) = protected.get(&present.id) {
        return Some(why.clone());
    }
    if present.disk().is_some_and(|disk| disk.read_only) {
        return Some("it is read-only".into());
    }
    if saved.sector != present.sector {
        return Some(format!(
            "its sectors have {} bytes, those of the saved disk {}: partitions and filesystems are laid out in \
             sectors and cannot be converted",
            present.sector.0, saved.sector.0
        ));
    }
    let least = minimum_size(layout, saved);
    if present.size < least {
        return Some(format!(
            "it is too small: it has {} bytes, {} bytes ({least}) are needed at least",
            present.size.0, least.0
        ));
    }
    None
}

/// What is said of a disk that has not the size of the original.
pub(crate) fn size_note(saved: &Device, present: &Device) -> String {
    match present.size.0.checked_sub(saved.size.0) {
        Some(0) => String::new(),
        Some(more) => format!("; it is larger, {} at its end stay free", Bytes(more)),
        None => {
            let less = saved.size.0 - present.size.0;
            format!("; it is {less} bytes smaller than the original, and all partitions fit with their table")
        }
    }
}
