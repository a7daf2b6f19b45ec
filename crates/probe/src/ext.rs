//! ext2, ext3 and ext4 superblocks (kernel `fs/ext4/ext4.h`, `struct ext4_super_block`). Judges no feature.

use layout::{Ext, Filesystem, FsKind};

use crate::bytes::{array, has, le16, le32, text, uuid};

/// Where the superblock stands on the device.
pub(crate) const OFFSET: u64 = 1024;
/// Its length.
pub(crate) const LEN: usize = 1024;

const HAS_JOURNAL: u32 = 0x4;
const INCOMPAT_RECOVER: u32 = 0x4;
/// Set while the filesystem is mounted, like "needs recovery": a property of the moment.
const RO_COMPAT_ORPHAN_PRESENT: u32 = 0x10000;
const RO_COMPAT_QUOTA: u32 = 0x100;
const RO_COMPAT_BIGALLOC: u32 = 0x200;
const INCOMPAT_JOURNAL_DEV: u32 = 0x8;
const INCOMPAT_64BIT: u32 = 0x80;
const INCOMPAT_CSUM_SEED: u32 = 0x2000;
/// What ext3 knows: filetype, recover, meta_bg; sparse_super, large_file, btree_dir. Anything else is ext4.
const EXT3_INCOMPAT: u32 = 0x2 | INCOMPAT_RECOVER | 0x10;
const EXT3_RO_COMPAT: u32 = 0x7;

/// Reads a superblock; `None` when it is none.
pub(crate) fn parse(sb: &[u8]) -> Option<Filesystem> {
    if !has(sb, 0x38, &[0x53, 0xEF]) {
        return None;
    }
    let log_block_size = le32(sb, 0x18)?;
    if log_block_size > 6 || le32(sb, 0x20)? == 0 {
        return None;
    }
    // Revision 0 has no features and inodes of 128 bytes; the fields behind hold nothing.
    let dynamic = le32(sb, 0x4C)? > 0;
    let feature = |at| if dynamic { le32(sb, at) } else { Some(0) };
    let (compat, incompat, ro_compat) = (feature(0x5C)?, feature(0x60)?, feature(0x64)?);
    let label = text(sb, 0x78, 16)?;
    let id = uuid(sb, 0x68)?;
    if incompat & INCOMPAT_JOURNAL_DEV != 0 {
        let kind = FsKind::Other { name: "jbd".to_owned() };
        return Some(Filesystem { uuid: id, label, used: None, kind });
    }
    let variant = if incompat & !EXT3_INCOMPAT != 0 || ro_compat & !EXT3_RO_COMPAT != 0 {
        "ext4"
    } else if compat & HAS_JOURNAL != 0 {
        "ext3"
    } else {
        "ext2"
    };
    let wide = incompat & INCOMPAT_64BIT != 0;
    let long = |low: usize, high: usize| -> Option<u64> {
        let high = if wide { u64::from(le32(sb, high)?) } else { 0 };
        Some(high << 32 | u64::from(le32(sb, low)?))
    };
    let internal = compat & HAS_JOURNAL != 0 && le32(sb, 0xE0)? != 0;
    let journal_size = if internal {
        // The backup of the journal's inode: 15 block pointers, then the size's high and low half.
        u64::from(le32(sb, 0x10C + 15 * 4)?) << 32 | u64::from(le32(sb, 0x10C + 16 * 4)?)
    } else {
        0
    };
    let ext = Ext {
        variant: variant.to_owned(),
        block_size: 1024 << log_block_size,
        blocks: long(0x4, 0x150)?,
        reserved_blocks: long(0x8, 0x154)?,
        inodes: le32(sb, 0x0)?,
        inode_size: if dynamic { le16(sb, 0x58)? } else { 128 },
        feature_compat: compat,
        feature_incompat: incompat & !INCOMPAT_RECOVER,
        feature_ro_compat: ro_compat & !RO_COMPAT_ORPHAN_PRESENT,
        default_mount_options: le32(sb, 0x100)?,
        mount_options: text(sb, 0x200, 64)?,
        max_mount_count: i16::from_le_bytes(array(sb, 0x36)?),
        check_interval: le32(sb, 0x44)?,
        errors: le16(sb, 0x3C)?,
        hash_seed: uuid(sb, 0xEC)?,
        hash_version: *sb.get(0xFC)?,
        raid_stride: le16(sb, 0x164)?,
        raid_stripe_width: le32(sb, 0x170)?,
        log_groups_per_flex: *sb.get(0x174)?,
        journal_size,
        checksum_seed: if incompat & INCOMPAT_CSUM_SEED != 0 { Some(le32(sb, 0x270)?) } else { None },
        flags: le32(sb, 0x160)?,
        descriptor_size: le16(sb, 0xFE)?,
        reserved_user: le16(sb, 0x50)?,
        reserved_group: le16(sb, 0x52)?,
        quota_types: if ro_compat & RO_COMPAT_QUOTA != 0 { quota_types(sb)? } else { Vec::new() },
        cluster_size: if ro_compat & RO_COMPAT_BIGALLOC != 0 { cluster_size(le32(sb, 0x1C)?) } else { None },
    };
    Some(Filesystem { uuid: id, label, used: None, kind: FsKind::Ext(ext) })
}

/// The quotas that have an inode: `s_usr_quota_inum`, `s_grp_quota_inum`, `s_prj_quota_inum`.
fn quota_types(sb: &[u8]) -> Option<Vec<String>> {
    let mut found = Vec::new();
    for (at, name) in [(0x240, "usrquota"), (0x244, "grpquota"), (0x26C, "prjquota")] {
        if le32(sb, at)? != 0 {
            found.push(name.to_owned());
        }
    }
    Some(found)
}

/// Bytes of a cluster from `s_log_cluster_size`; the kernel takes up to 1 GiB.
fn cluster_size(log: u32) -> Option<u32> {
    (log <= 20).then(|| 1024 << log)
}

/// Bits that no version of this program knows how to make again, or whose files cannot be read without a key.
/// `None` when all are fine.
pub(crate) fn unknown_features(ext: &Ext) -> Option<String> {
    const COMPAT: u32 = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20 | 0x200 | 0x400 | 0x800 | 0x1000;
    const INCOMPAT: u32 =
        0x2 | 0x4 | 0x10 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x2000 | 0x4000 | 0x8000 | 0x20000;
    const RO_COMPAT: u32 = 0x7F | 0x100 | 0x200 | 0x400 | 0x2000 | 0x8000 | 0x10000;
    const ENCRYPT: u32 = 0x10000;
    if ext.feature_incompat & ENCRYPT != 0 {
        return Some("it holds encrypted directories (feature encrypt)".to_owned());
    }
    let odd = [
        ("compat", ext.feature_compat & !COMPAT),
        ("incompat", ext.feature_incompat & !INCOMPAT),
        ("ro_compat", ext.feature_ro_compat & !RO_COMPAT),
    ];
    let odd: Vec<String> =
        odd.iter().filter(|(_, bits)| *bits != 0).map(|(name, bits)| format!("{name} 0x{bits:x}")).collect();
    if !odd.is_empty() {
        return Some(format!("it has features that are not known here ({})", odd.join(", ")));
    }
    (ext.feature_compat & HAS_JOURNAL != 0 && ext.journal_size == 0)
        .then(|| "its journal lies on another device".to_owned())
}
