//! XFS superblocks (kernel `fs/xfs/libxfs/xfs_format.h`, `struct xfs_dsb`), versions 4 and 5. Judges no feature.

use layout::{Filesystem, FsKind, Xfs};

use crate::bytes::{be16, be32, be64, has, text, uuid};

/// Length of the superblock's sector that is looked at; it stands at offset 0.
pub(crate) const LEN: usize = 512;

/// Bits of `sb_versionnum` that mkfs never sets: the first extended attribute and the first quota do.
const SET_BY_USE: u16 = 0x10 | 0x40;

/// Reads a superblock; `None` when it is none.
pub(crate) fn parse(sb: &[u8]) -> Option<Filesystem> {
    if !has(sb, 0, b"XFSB") {
        return None;
    }
    let block_size = be32(sb, 4)?;
    let version = be16(sb, 100)?;
    let dir_log = u32::from(*sb.get(192)?);
    if !block_size.is_power_of_two() || !(512..=65536).contains(&block_size) || dir_log > 16 {
        return None;
    }
    let v5 = version & 0xF == 5;
    // Before version 5 the words behind `sb_bad_features2` are not part of the superblock.
    let feature = |at| if v5 { be32(sb, at) } else { Some(0) };
    let xfs = Xfs {
        block_size,
        sector_size: u32::from(be16(sb, 102)?),
        inode_size: be16(sb, 104)?,
        data_blocks: be64(sb, 8)?,
        ag_count: be32(sb, 88)?,
        ag_blocks: be32(sb, 84)?,
        log_blocks: be32(sb, 96)?,
        log_internal: be64(sb, 48)? != 0,
        log_sector_size: be16(sb, 194)?,
        log_stripe_unit: be32(sb, 196)?,
        directory_block_size: block_size.checked_shl(dir_log)?,
        stripe_unit: be32(sb, 184)?,
        stripe_width: be32(sb, 188)?,
        inode_max_percent: *sb.get(127)?,
        realtime: be64(sb, 16)? != 0,
        version: version & !SET_BY_USE,
        features2: be32(sb, 200)?,
        feature_compat: feature(208)?,
        feature_ro_compat: feature(212)?,
        feature_incompat: feature(216)?,
    };
    Some(Filesystem { uuid: uuid(sb, 32)?, label: text(sb, 108, 12)?, used: None, kind: FsKind::Xfs(xfs) })
}
