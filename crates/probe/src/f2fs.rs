//! F2FS superblocks (kernel `include/linux/f2fs_fs.h`, `struct f2fs_super_block`). Judges what cannot be made again; writes nothing.

use layout::{F2fs, Filesystem, FsKind};

use crate::bytes::{le16, le32, le64, uuid};

/// Where the first superblock stands, and how much of it is looked at.
pub(crate) const OFFSET: u64 = 1024;
pub(crate) const LEN: usize = 3072;

const MAGIC: u32 = 0xF2F5_2010;
/// Letters of the label, two bytes each.
const LABEL: usize = 512;

/// Reads a superblock; `None` when it is none.
pub(crate) fn parse(sb: &[u8]) -> Option<Filesystem> {
    if le32(sb, 0)? != MAGIC {
        return None;
    }
    let (sector, block) = (le32(sb, 8)?, le32(sb, 16)?);
    // 512 to 16384 bytes: what the kernel allows.
    if !(9..=14).contains(&sector) || !(12..=14).contains(&block) {
        return None;
    }
    let letters: Vec<u16> =
        (0..LABEL).map_while(|i| le16(sb, 124 + 2 * i)).take_while(|letter| *letter != 0).collect();
    let kind = F2fs {
        sector_size: 1 << sector,
        block_size: 1 << block,
        blocks: le64(sb, 36)?,
        segments_per_section: le32(sb, 24)?,
        sections_per_zone: le32(sb, 28)?,
        features: le32(sb, 2180)?,
        // The path of the first device is written only where there are more.
        several_devices: *sb.get(2201)? != 0,
    };
    let label = String::from_utf16_lossy(&letters);
    Some(Filesystem { uuid: uuid(sb, 108)?, label, used: None, kind: FsKind::F2fs(kind) })
}
