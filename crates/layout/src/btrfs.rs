//! btrfs: devices, profiles, subvolumes and quota groups. Pure data.

use serde::{Deserialize, Serialize};

use crate::{Bytes, NodeId};

/// A btrfs, from its superblock (kernel `include/uapi/linux/btrfs_tree.h`) and, where it is mounted, from
/// `btrfs` of btrfs-progs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Btrfs {
    /// Number of devices that it spans.
    pub devices: u64,
    /// Node size in bytes.
    pub node_size: u32,
    /// Sector size in bytes.
    pub sector_size: u32,
    /// Checksum: `crc32c`, `xxhash64`, `sha256`, `blake2b`; empty when unknown.
    #[serde(default)]
    pub checksum: String,
    /// `incompat_flags` of the superblock.
    #[serde(default)]
    pub feature_incompat: u64,
    /// `compat_ro_flags` of the superblock.
    #[serde(default)]
    pub feature_compat_ro: u64,
    /// Profile of data block groups: `single`, `dup`, `raid0`, `raid1`, `raid1c3`, `raid1c4`, `raid10`, `raid5`, `raid6`; empty when
    /// it was not mounted.
    #[serde(default)]
    pub data_profile: String,
    /// Profile of metadata block groups.
    #[serde(default)]
    pub metadata_profile: String,
    /// All its devices by number, this one included. Only the one with the lowest number has this filesystem as its
    /// content, the others are [`Content::BtrfsMember`](crate::Content::BtrfsMember).
    #[serde(default)]
    pub members: Vec<BtrfsDevice>,
    /// Path of the default subvolume from the top of the filesystem; empty for the top itself.
    #[serde(default)]
    pub default_subvolume: String,
    /// Its subvolumes in the order of their ids, the top aside; empty when it was not mounted.
    #[serde(default)]
    pub subvolumes: Vec<Subvolume>,
    /// Quota groups, where quotas are on.
    #[serde(default)]
    pub quota: Option<BtrfsQuota>,
}

/// A device of a btrfs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BtrfsDevice {
    /// Its number in the filesystem.
    pub number: u64,
    /// The device.
    pub device: NodeId,
    /// Bytes of it that the filesystem uses.
    pub size: Bytes,
}

/// A subvolume of a btrfs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subvolume {
    /// Its id when the layout was taken. A new filesystem gives its own.
    pub id: u64,
    /// Path from the top of the filesystem, without a leading slash: `@/var/lib/portables`.
    pub path: String,
    /// Whether it is read-only.
    pub read_only: bool,
    /// Path of the subvolume that it is a snapshot of, where that still exists; `Some("")` for the top or one that is gone.
    pub snapshot_of: Option<String>,
}

/// Quota groups of a btrfs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BtrfsQuota {
    /// Whether they are simple quotas (kernel 6.7).
    pub simple: bool,
    /// Quota groups with a limit or above level 0.
    pub groups: Vec<QuotaGroup>,
}

/// A quota group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaGroup {
    /// Level, 0 for that of a subvolume.
    pub level: u64,
    /// Path of the subvolume (level 0), or the number (higher levels).
    pub of: String,
    /// Limit of referenced bytes.
    pub max_referenced: Option<Bytes>,
    /// Limit of exclusive bytes.
    pub max_exclusive: Option<Bytes>,
    /// The groups that it belongs to, as `level/number`.
    pub parents: Vec<String>,
}
