//! Linux software RAID, with all that is needed to make an array again exactly. Pure data; nothing is decided here.

use serde::{Deserialize, Serialize};

use crate::{Bytes, NodeId};

/// A Linux software RAID array.
///
/// Numbers are those of the kernel (`/sys/block/mdX/md/`, kernel `Documentation/admin-guide/md.rst`) and of the
/// members' superblocks (kernel `include/uapi/linux/raid/md_p.h`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MdArray {
    /// UUID of the array as mdadm prints it: four groups of eight digits.
    pub uuid: String,
    /// Its name from the superblock, `host:name` or `name`; empty for metadata 0.90, which has none.
    pub name: String,
    /// `linear`, `raid0`, `raid1`, `raid4`, `raid5`, `raid6` or `raid10`.
    pub level: String,
    /// Version of its metadata: `0.90`, `1.0`, `1.1`, `1.2`, or `external:imsm`.
    pub metadata: String,
    /// Layout of parity or copies as the kernel numbers it (`md/layout`): raid5 2 is left-symmetric; raid10 counts near
    /// copies in bits 0 to 7, far copies in bits 8 to 15, bit 16 says offset.
    #[serde(default)]
    pub layout: u32,
    /// Bytes of a chunk; 0 where the level has none.
    #[serde(default)]
    pub chunk: Bytes,
    /// Bytes used of every member; 0 where each is used whole (linear, raid0).
    #[serde(default)]
    pub component_size: Bytes,
    /// Write-intent bitmap.
    #[serde(default)]
    pub bitmap: Option<MdBitmap>,
    /// How it is made consistent after a crash (`md/consistency_policy`): `resync`, `bitmap`, `ppl`, `journal`,
    /// `none`; empty when unknown.
    #[serde(default)]
    pub consistency: String,
    /// Members in slot order (never in the order of partitions or names); `None` where one was missing.
    #[serde(default)]
    pub slots: Vec<Option<MdMember>>,
    /// Members that stand by.
    #[serde(default)]
    pub spares: Vec<MdMember>,
}

/// A member of an array.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MdMember {
    /// The device.
    pub device: NodeId,
    /// Where its data begin, in bytes from its start (0 with metadata 0.90 and 1.0).
    pub data_offset: Bytes,
}

/// Write-intent bitmap of an array.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MdBitmap {
    /// `internal`, or the path of a file outside, which cannot be made again.
    pub location: String,
    /// Bytes of the array for each bit.
    pub chunk: Bytes,
}

impl MdArray {
    /// All devices that it is made of: the slots in their order, then the spares.
    pub fn members(&self) -> impl Iterator<Item = &MdMember> {
        self.slots.iter().flatten().chain(&self.spares)
    }

    /// Number of slots, missing ones included.
    pub fn raid_disks(&self) -> usize {
        self.slots.len()
    }

    /// Whether members were missing when the layout was taken.
    pub fn is_degraded(&self) -> bool {
        self.slots.iter().any(Option::is_none)
    }
}
