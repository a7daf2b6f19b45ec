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
    /// `linear`, `raid0`, `raid1`, `raid4`, `raid5`, `raid6` or `raid10`; others cannot be made again.
    pub level: String,
    /// Version of its metadata: `0.90`, `1.0`, `1.1`, `1.2`; also `external:imsm` (of a firmware) and `none` (without
    /// superblocks), which cannot be made again.
    pub metadata: String,
    /// Layout of parity or copies as the kernel numbers it (`md/layout`): raid5 2 is left-symmetric; raid10 counts near
    /// copies in bits 0 to 7, far copies in bits 8 to 15, bit 16 says offset; raid0 1 and 2 (original, alternate) where
    /// its superblock records one, as it does for members of different sizes. 0 where the level has none.
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
    /// `none`; `reshape` while the array is being reshaped; empty when unknown.
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
    /// What else its superblock says of it, sorted: `failfast`, `write_mostly` (as in `md/dev-*/state`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
}

/// Write-intent bitmap of an array.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MdBitmap {
    /// `internal`, or the path of a file outside, which cannot be made again.
    pub location: String,
    /// Bytes of the array for each bit.
    pub chunk: Bytes,
    /// Writes that members which are mostly written may lag behind (`md/bitmap/backlog`); 0 for none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub write_behind: u32,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
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

    /// Number of slots without a member.
    pub fn missing(&self) -> usize {
        self.slots.iter().filter(|slot| slot.is_none()).count()
    }

    /// Whether members were missing when the layout was taken.
    pub fn is_degraded(&self) -> bool {
        self.missing() > 0
    }

    /// Whether the level can do without the members that are missing. For raid10 as the kernel asks it (`_enough` in
    /// `drivers/md/raid10.c`): of every group of neighbours that hold the copies of a chunk, one must be there.
    pub fn is_whole_enough(&self) -> bool {
        let (disks, missing) = (self.slots.len(), self.missing());
        match self.level.as_str() {
            _ if missing == 0 => true,
            "raid1" => missing < disks,
            "raid4" | "raid5" => missing <= 1,
            "raid6" => missing <= 2,
            "raid10" => {
                let near = ((self.layout & 0xFF) as usize).max(1);
                let copies = near * ((self.layout >> 8 & 0xFF) as usize).max(1);
                (0..disks).all(|group| {
                    let mut members = (0..copies).map(|i| (group * near + i) % disks);
                    members.any(|slot| self.slots.get(slot).is_some_and(Option::is_some))
                })
            }
            _ => false,
        }
    }

    /// Bytes that the array holds, from which a write-intent bitmap is measured: those of the array for raid10, those
    /// of a member for all other levels.
    pub fn bitmap_range(&self) -> Bytes {
        if self.level != "raid10" {
            return self.component_size;
        }
        let copies = u64::from((self.layout & 0xFF).max(1)) * u64::from((self.layout >> 8 & 0xFF).max(1));
        Bytes(self.component_size.0.saturating_mul(self.slots.len() as u64) / copies)
    }
}
