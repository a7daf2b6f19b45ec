//! Filesystems that servers have on data partitions only: F2FS, JFS, NTFS, exFAT, NILFS2. What is needed to make them again, and
//! no more: where a tool puts its tables is its own business.

use serde::{Deserialize, Serialize};

/// Geometry of F2FS, from its superblock (kernel `include/linux/f2fs_fs.h`, `struct f2fs_super_block`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct F2fs {
    /// Bytes of a sector, as mkfs.f2fs saw or was told them.
    pub sector_size: u32,
    /// Bytes of a block.
    pub block_size: u32,
    /// Number of blocks.
    pub blocks: u64,
    /// Segments of a section.
    pub segments_per_section: u32,
    /// Sections of a zone.
    pub sections_per_zone: u32,
    /// Feature bits.
    pub features: u32,
    /// Whether it spans several devices, which cannot be made again.
    pub several_devices: bool,
}

/// Geometry of JFS, from its superblock (kernel `fs/jfs/jfs_superblock.h`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jfs {
    /// Bytes of a block.
    pub block_size: u32,
    /// Number of blocks, with the log at the end.
    pub blocks: u64,
    /// Bytes of the log inside; 0 when it lies on another device, which cannot be made again.
    pub log_size: u64,
    /// Whether names differ by letter case; not so when it was made for OS/2.
    pub case_sensitive: bool,
}

/// Geometry of NTFS, from its boot sector and its file `$Volume`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ntfs {
    /// Bytes of a sector.
    pub sector_size: u16,
    /// Bytes of a cluster.
    pub cluster_size: u32,
    /// Number of sectors, without the copy of the boot sector behind them.
    pub sectors: u64,
    /// Sectors before it on its disk, as the boot sector says.
    pub hidden_sectors: u32,
    /// Heads of the disk, as the boot sector says.
    pub heads: u16,
    /// Sectors of a track, as the boot sector says.
    pub track_sectors: u16,
    /// Bytes of a record of the master file table.
    pub record_size: u32,
    /// Version of its format, major and minor: 3.1 today.
    pub version: (u8, u8),
}

/// Geometry of exFAT, from its boot sector (Microsoft's exFAT specification 1.00).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exfat {
    /// Bytes of a sector.
    pub sector_size: u32,
    /// Bytes of a cluster.
    pub cluster_size: u32,
    /// Number of sectors.
    pub sectors: u64,
    /// Number of file allocation tables: 1, or 2 with transactions (TexFAT), which cannot be made again.
    pub fats: u8,
}

/// Geometry of NILFS2, from its superblock (kernel `include/uapi/linux/nilfs2_ondisk.h`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nilfs {
    /// Bytes of a block.
    pub block_size: u32,
    /// Bytes of the device that it was made for.
    pub size: u64,
    /// Blocks of a segment.
    pub blocks_per_segment: u32,
    /// Percentage of reserved segments.
    pub reserved_percent: u32,
    /// Seconds between commits; 0 the kernel's.
    pub commit_interval: u32,
    /// Blocks after which a segment is written; 0 the kernel's.
    pub block_max: u32,
    /// `s_feature_compat`.
    pub feature_compat: u64,
    /// `s_feature_compat_ro`: bit 0 counts blocks of files.
    pub feature_compat_ro: u64,
    /// `s_feature_incompat`.
    pub feature_incompat: u64,
}
