//! What a step works on: a device, named by what stays the same, never by the kernel's name of the moment.

use layout::NodeId;
use serde::{Deserialize, Serialize};

/// A device of the plan: what it was, on which disks it lies, and where the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target {
    /// Id of the saved device (of a volume group: `vg:UUID`).
    pub saved: NodeId,
    /// Ids of the saved disks on which it lies, sorted. All of them must be writable.
    pub disks: Vec<NodeId>,
    /// Where the kernel shows it.
    pub place: Place,
    /// Its name for people, as the kernel will probably call it. Whoever writes asks `/sys` instead.
    pub shown: String,
}

/// Where the kernel shows a device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A whole disk, the one that takes the place of this saved one.
    Disk(NodeId),
    /// A partition of another place.
    Partition {
        /// What carries the table.
        of: Box<Place>,
        /// Its number.
        number: u32,
    },
    /// A software RAID array under this kernel name (`md0`).
    Array(String),
    /// A device-mapper device of this name (`vg-root`, `cryptroot`).
    Mapped(String),
    /// A volume group: it has no device of its own.
    Group(String),
}

impl Target {
    /// Whether it is a whole disk.
    pub fn is_disk(&self) -> bool {
        matches!(self.place, Place::Disk(_))
    }

    /// A partition of it; the kernel's usual name (`block/partitions/core.c`) is shown.
    pub(crate) fn partition(&self, saved: &NodeId, number: u32) -> Self {
        let p = if self.shown.ends_with(|c: char| c.is_ascii_digit()) { "p" } else { "" };
        Self {
            saved: saved.clone(),
            disks: self.disks.clone(),
            place: Place::Partition { of: Box::new(self.place.clone()), number },
            shown: format!("{}{p}{number}", self.shown),
        }
    }

    /// A device on top of others: it lies on all of their disks.
    pub(crate) fn above(saved: &NodeId, place: Place, shown: String, below: &[&Target]) -> Self {
        let mut disks: Vec<NodeId> = below.iter().flat_map(|target| target.disks.clone()).collect();
        disks.sort();
        disks.dedup();
        Self { saved: saved.clone(), disks, place, shown }
    }
}
