//! Filesystems and swap, with all that is needed to make them again exactly.

use serde::{Deserialize, Serialize};

use crate::{Btrfs, Bytes, Exfat, F2fs, Jfs, Nilfs, NodeId, Ntfs};

/// A filesystem on a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filesystem {
    /// UUID as `blkid` prints it; for vfat the volume id (`1A2B-3C4D`); empty if it has none.
    pub uuid: String,
    /// Label; empty if it has none.
    pub label: String,
    /// Bytes in use when the layout was taken; `None` when it was not mounted.
    pub used: Option<Bytes>,
    /// Type and geometry.
    pub kind: FsKind,
}

/// Type of a filesystem, with its geometry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FsKind {
    /// ext2, ext3 or ext4.
    Ext(Ext),
    /// XFS.
    Xfs(Xfs),
    /// FAT12, FAT16 or FAT32.
    Vfat(Vfat),
    /// btrfs.
    Btrfs(Btrfs),
    /// F2FS.
    F2fs(F2fs),
    /// JFS.
    Jfs(Jfs),
    /// NTFS.
    Ntfs(Ntfs),
    /// exFAT.
    Exfat(Exfat),
    /// NILFS2.
    Nilfs(Nilfs),
    /// Known by name only: it cannot be made again.
    Other {
        /// The type as `blkid` names it.
        name: String,
    },
}

impl Filesystem {
    /// The type as `mount -t` takes it.
    pub fn fs_type(&self) -> &str {
        match &self.kind {
            FsKind::Ext(ext) => &ext.variant,
            FsKind::Xfs(_) => "xfs",
            FsKind::Vfat(_) => "vfat",
            FsKind::Btrfs(_) => "btrfs",
            FsKind::F2fs(_) => "f2fs",
            FsKind::Jfs(_) => "jfs",
            FsKind::Ntfs(_) => "ntfs",
            FsKind::Exfat(_) => "exfat",
            FsKind::Nilfs(_) => "nilfs2",
            FsKind::Other { name } => name,
        }
    }
}

impl FsKind {
    /// Whether it keeps no owners, modes and attributes of Unix: they are what the mount says.
    pub fn is_plain(&self) -> bool {
        matches!(self, Self::Vfat(_) | Self::Exfat(_) | Self::Ntfs(_))
    }
}

/// Geometry of ext2/3/4, from its superblock (kernel `fs/ext4/ext4.h`, `struct ext4_super_block`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ext {
    /// `ext2`, `ext3` or `ext4`, by its features (a journal makes 3, extents or any later feature 4).
    pub variant: String,
    /// Block size in bytes.
    pub block_size: u32,
    /// Number of blocks.
    pub blocks: u64,
    /// Blocks reserved for root.
    pub reserved_blocks: u64,
    /// Number of inodes.
    pub inodes: u32,
    /// Size of an inode in bytes.
    pub inode_size: u16,
    /// `s_feature_compat`.
    pub feature_compat: u32,
    /// `s_feature_incompat`, without "needs recovery".
    pub feature_incompat: u32,
    /// `s_feature_ro_compat`.
    pub feature_ro_compat: u32,
    /// `s_default_mount_opts`.
    pub default_mount_options: u32,
    /// `s_mount_opts`: extended default options as text (`tune2fs -E mount_opts=`).
    pub mount_options: String,
    /// Checks after so many mounts; -1 never.
    pub max_mount_count: i16,
    /// Checks after so many seconds; 0 never.
    pub check_interval: u32,
    /// `s_errors`: 1 continue, 2 remount read-only, 3 panic.
    pub errors: u16,
    /// Hash seed of directories, as a UUID.
    pub hash_seed: String,
    /// `s_def_hash_version`.
    pub hash_version: u8,
    /// Blocks per chunk of the RAID below (`stride`); 0 none.
    pub raid_stride: u16,
    /// Blocks per stripe of the RAID below (`stripe_width`); 0 none.
    pub raid_stripe_width: u32,
    /// log2 of groups per flexible group.
    pub log_groups_per_flex: u8,
    /// Size of the internal journal in bytes; 0 without one.
    pub journal_size: u64,
    /// `s_checksum_seed`, where the feature `metadata_csum_seed` is set.
    pub checksum_seed: Option<u32>,
    /// `s_flags`, of which bits 0 and 1 say whether directory hashes are signed.
    pub flags: u32,
    /// `s_desc_size`: size of a group descriptor in bytes.
    pub descriptor_size: u16,
    /// Bytes of a cluster, where space is given out in clusters of blocks (feature `bigalloc`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_size: Option<u32>,
    /// `s_def_resuid`: the user that may take the reserved blocks beside root.
    #[serde(default, skip_serializing_if = "is_root")]
    pub reserved_user: u16,
    /// `s_def_resgid`: the group that may.
    #[serde(default, skip_serializing_if = "is_root")]
    pub reserved_group: u16,
    /// What quotas are kept of (feature `quota`), as `mke2fs -E quotatype=` names it: `usrquota`, `grpquota`, `prjquota`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quota_types: Vec<String>,
}

// Taken by reference, as serde calls it.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_root(id: &u16) -> bool {
    *id == 0
}

/// Geometry of XFS, from its superblock (kernel `fs/xfs/libxfs/xfs_format.h`, `struct xfs_dsb`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Xfs {
    /// Block size in bytes.
    pub block_size: u32,
    /// Sector size in bytes.
    pub sector_size: u32,
    /// Size of an inode in bytes.
    pub inode_size: u16,
    /// Number of data blocks.
    pub data_blocks: u64,
    /// Number of allocation groups.
    pub ag_count: u32,
    /// Blocks of an allocation group.
    pub ag_blocks: u32,
    /// Blocks of the log.
    pub log_blocks: u32,
    /// Whether the log lies inside (`sb_logstart` is not 0). An external one cannot be made again.
    pub log_internal: bool,
    /// Sector size of the log in bytes; 0 as the data's.
    pub log_sector_size: u16,
    /// Stripe unit of the log in bytes.
    pub log_stripe_unit: u32,
    /// Size of a directory block in bytes.
    pub directory_block_size: u32,
    /// Stripe unit in blocks; 0 none.
    pub stripe_unit: u32,
    /// Stripe width in blocks; 0 none.
    pub stripe_width: u32,
    /// Percent of space that inodes may use.
    pub inode_max_percent: u8,
    /// Whether it has a realtime section, which cannot be made again.
    pub realtime: bool,
    /// `sb_versionnum`.
    pub version: u16,
    /// `sb_features2`.
    pub features2: u32,
    /// `sb_features_compat`.
    pub feature_compat: u32,
    /// `sb_features_ro_compat`: bit 0 finobt, 1 rmapbt, 2 reflink, 3 inobtcount.
    pub feature_ro_compat: u32,
    /// `sb_features_incompat`: bit 0 ftype, 1 sparse inodes, 2 meta_uuid, 3 bigtime, 4 needs repair, 5 nrext64.
    pub feature_incompat: u32,
}

impl Xfs {
    /// Whether metadata is checksummed (format version 5).
    pub fn is_v5(&self) -> bool {
        self.version & 0xf == 5
    }
}

/// Geometry of FAT, from its boot sector (Microsoft's FAT specification 1.03).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vfat {
    /// 12, 16 or 32.
    pub bits: u8,
    /// Bytes per logical sector.
    pub sector_size: u16,
    /// Sectors per cluster.
    pub sectors_per_cluster: u8,
    /// Sectors before the first FAT.
    pub reserved_sectors: u16,
    /// Number of FATs.
    pub fats: u8,
    /// Entries of the root directory (FAT12/16), 0 on FAT32.
    pub root_entries: u16,
    /// `BPB_Media`.
    pub media: u8,
    /// Sectors before the filesystem on the disk.
    pub hidden_sectors: u32,
    /// Number of sectors.
    pub sectors: u32,
    /// Drive number in the boot sector.
    pub drive_number: u8,
    /// Heads, and sectors per track; `None` where they were not read. Nothing uses them today, and dosfstools before 4.2 cannot
    /// be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub geometry: Option<(u16, u16)>,
}

/// Swap space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swap {
    /// UUID; empty if it has none.
    pub uuid: String,
    /// Label; empty if it has none.
    pub label: String,
    /// Page size in bytes that it was made for.
    pub page_size: u32,
    /// Whether it was in use when the layout was taken.
    pub active: bool,
}

/// Swap space in a file. What it holds is worth nothing after a boot, so a recovery makes it again, empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwapFile {
    /// Where it is in the machine: absolute, without links.
    pub path: String,
    /// Device that carries the filesystem in which it lies.
    pub device: NodeId,
    /// Length of the file.
    pub size: Bytes,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// What its header says.
    pub swap: Swap,
}
