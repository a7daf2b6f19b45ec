//! Which of the filesystems that a backup reads can be read from a snapshot, and why the others cannot. Asks LVM for its free space;
//! changes nothing.

use layout::{Bytes, Device, FsKind, Kind, Layout, LogicalVolume, NodeId};
use sys::Sys;

use crate::{btrfs, lvm, mark};

/// Feature of ext4: directories are encrypted with keys that only the mounted filesystem has.
const ENCRYPT: u32 = 0x1_0000;
/// Feature of ext3 and ext4: a journal.
const HAS_JOURNAL: u32 = 4;

/// A filesystem that a backup reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where: its mount point, or the place that stands for what no mount shows.
    pub at: String,
    /// The device that carries it.
    pub device: NodeId,
    /// Its type, as the kernel mounts it.
    pub fs_type: String,
    /// btrfs: the subvolume that is shown there, as a path from the top with a leading slash; `/` for any other.
    pub root: String,
    /// What the run itself writes to it meanwhile, at most: a backup that lies on the machine's own disk.
    pub written: Bytes,
}

/// From what a filesystem is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// From a snapshot of its logical volume.
    Volume(lvm::Order),
    /// From read-only snapshots of its subvolumes.
    Subvolumes,
    /// As it is, while it changes.
    Live {
        /// Why.
        why: String,
        /// Whether its storage could be snapshotted at all: it is a logical volume or a btrfs.
        could: bool,
    },
}

/// A filesystem and its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The filesystem.
    pub place: Place,
    /// How it is read.
    pub way: Way,
}

/// The way of each filesystem, in the order in which they were named.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Each filesystem.
    pub seats: Vec<Seat>,
    /// The btrfs among them.
    pub(crate) filesystems: Vec<btrfs::Order>,
    /// The mark of this machine.
    pub(crate) host: String,
}

fn live(why: impl Into<String>) -> Way {
    Way::Live { why: why.into(), could: true }
}

impl Plan {
    /// Decides. `skip`: paths of the machine that the backup leaves out, with all below them.
    pub fn new(sys: &dyn Sys, layout: &Layout, places: &[Place], skip: &[String]) -> Self {
        let mut seats: Vec<Seat> = Vec::new();
        for place in places {
            let way = match layout.device(&place.device) {
                Some(device) => way(layout, device, place),
                None => Way::Live { why: "its device is not known".into(), could: false },
            };
            seats.push(Seat { place: place.clone(), way });
        }
        let filesystems = btrfs::orders(sys, layout, &mut seats, skip);
        lvm::room(sys, &mut seats);
        Self { seats, filesystems, host: mark::host(sys) }
    }

    /// What stands in the way where snapshots are asked for: each filesystem on LVM or btrfs that cannot be read from one.
    pub fn refusals(&self) -> Vec<String> {
        let refused = self.seats.iter().filter_map(|seat| match &seat.way {
            Way::Live { why, could: true } => Some(format!("{}: {why}", seat.place.at)),
            _ => None,
        });
        let parts = self.filesystems.iter().flat_map(|order| &order.live);
        refused.chain(parts.map(|(path, why)| format!("the subvolume {path}: {why}"))).collect()
    }

    /// Whether there is any snapshot to be made.
    pub fn is_empty(&self) -> bool {
        self.seats.iter().all(|seat| matches!(seat.way, Way::Live { .. }))
    }
}

/// What the layout alone tells.
fn way(layout: &Layout, device: &Device, place: &Place) -> Way {
    let Some(filesystem) = device.filesystem() else {
        return Way::Live { why: "its filesystem is not known".into(), could: false };
    };
    if let FsKind::Btrfs(btrfs) = &filesystem.kind {
        let root = place.root.trim_start_matches('/');
        return match () {
            () if btrfs.metadata_profile.is_empty() => live("its subvolumes are not known"),
            () if !root.is_empty() && btrfs.subvolume(root).is_none() => live("it is no subvolume"),
            () if btrfs.quota.is_some() => {
                live("it has quota groups, of which every snapshot would leave one behind")
            }
            () => Way::Subvolumes,
        };
    }
    let Kind::LogicalVolume(volume) = &device.kind else {
        return Way::Live { why: "neither LVM nor btrfs".into(), could: false };
    };
    match &filesystem.kind {
        FsKind::Ext(ext) if ext.feature_incompat & ENCRYPT != 0 => {
            live("it has encrypted directories, whose keys a snapshot has not")
        }
        FsKind::Ext(ext) if ext.feature_compat & HAS_JOURNAL != 0 && ext.journal_size == 0 => {
            live("its journal is on another device")
        }
        FsKind::Xfs(xfs) if !xfs.log_internal || xfs.realtime => live("parts of it are on another device"),
        FsKind::Ext(_) | FsKind::Xfs(_) => of_volume(layout, device, volume, place.written),
        _ => live(format!("{} is not read from snapshots of LVM", place.fs_type)),
    }
}

fn of_volume(layout: &Layout, device: &Device, volume: &LogicalVolume, written: Bytes) -> Way {
    let Some(group) = layout.group_of(volume).filter(|group| !group.name.is_empty()) else {
        return live("its volume group is not known");
    };
    let Some(section) = group.volume(&volume.name) else { return live("its volume group does not name it") };
    let first = layout::VolumeGroup::segments(section).first().copied();
    let thin = first.is_some_and(|segment| layout::VolumeGroup::segment_type(segment) == "thin");
    let pool = first.map(|segment| layout::VolumeGroup::text(segment, "thin_pool").to_owned());
    Way::Volume(lvm::Order {
        group: group.name.clone(),
        volume: volume.name.clone(),
        size: Bytes(device.size.get()),
        written,
        pool: pool.filter(|_| thin),
        extents: 0,
    })
}

#[cfg(test)]
mod tests;
