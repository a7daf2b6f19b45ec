//! JFS superblocks (kernel `fs/jfs/jfs_superblock.h`, `struct jfs_superblock`). Writes nothing.

use layout::{Filesystem, FsKind, Jfs};

use crate::bytes::{has, le32, le64, text, uuid};

/// Where the first superblock stands, and how much of it is looked at.
pub(crate) const OFFSET: u64 = 32768;
pub(crate) const LEN: usize = 184;

/// `s_flag`: the log lies inside.
const INLINE_LOG: u32 = 0x800;
/// `s_flag`: made for OS/2, names are the same in any letter case.
const OS2: u32 = 0x4000_0000;

/// Reads a superblock; `None` when it is none.
pub(crate) fn parse(sb: &[u8]) -> Option<Filesystem> {
    if !has(sb, 0, b"JFS1") {
        return None;
    }
    let (version, block_size, flags) = (le32(sb, 4)?, le32(sb, 16)?, le32(sb, 36)?);
    if !matches!(version, 1 | 2) || !block_size.is_power_of_two() || !(512..=4096).contains(&block_size) {
        return None;
    }
    let (log_at, log_blocks) = extent(sb, 72)?;
    let (check_at, check_blocks) = extent(sb, 80)?;
    let inline = flags & INLINE_LOG != 0 && log_blocks != 0;
    // The space of fsck stands behind the files, the log behind both.
    let end = if inline { log_at + log_blocks } else { check_at + check_blocks };
    let sectors = le64(sb, 8)?;
    let files = sectors.checked_mul(u64::from(le32(sb, 24)?))? / u64::from(block_size);
    let kind = Jfs {
        block_size,
        blocks: end.max(files),
        log_size: if inline { log_blocks * u64::from(block_size) } else { 0 },
        case_sensitive: flags & OS2 == 0,
    };
    let label = text(sb, 152, 16)?.trim_end().to_owned();
    Some(Filesystem { uuid: uuid(sb, 136)?, label, used: None, kind: FsKind::Jfs(kind) })
}

/// `pxd_t`: an address of 40 bits and a length of 24 bits, in blocks.
fn extent(sb: &[u8], at: usize) -> Option<(u64, u64)> {
    let first = le32(sb, at)?;
    let address = u64::from(first >> 24) << 32 | u64::from(le32(sb, at + 4)?);
    Some((address, u64::from(first & 0x00FF_FFFF)))
}
