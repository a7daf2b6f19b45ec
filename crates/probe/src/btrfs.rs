//! btrfs superblocks (kernel `include/uapi/linux/btrfs_tree.h`, `struct btrfs_super_block`): identity and size only.

use layout::{Btrfs, Filesystem, FsKind};

use crate::bytes::{has, le32, le64, text, uuid};

/// Where the first superblock stands.
pub(crate) const OFFSET: u64 = 0x10000;
/// How much of it is looked at.
pub(crate) const LEN: usize = 0x12B + 256;

/// Reads a superblock; `None` when it is none.
pub(crate) fn parse(sb: &[u8]) -> Option<Filesystem> {
    if !has(sb, 0x40, b"_BHRfS_M") {
        return None;
    }
    let kind = FsKind::Btrfs(Btrfs {
        devices: le64(sb, 0x88)?,
        node_size: le32(sb, 0x94)?,
        sector_size: le32(sb, 0x90)?,
        ..Btrfs::default()
    });
    Some(Filesystem { uuid: uuid(sb, 0x20)?, label: text(sb, 0x12B, 256)?, used: None, kind })
}
