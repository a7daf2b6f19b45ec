//! NILFS2 superblocks (kernel `include/uapi/linux/nilfs2_ondisk.h`, `struct nilfs_super_block`). Writes nothing.

use layout::{Filesystem, FsKind, Nilfs};
use sys::{Cmd, Sys};

use crate::bytes::{le16, le32, le64, text, uuid};

/// Where the first superblock stands, and how much of it is looked at.
pub(crate) const OFFSET: u64 = 1024;
pub(crate) const LEN: usize = 280;

/// Reads a superblock; `None` when it is none.
pub(crate) fn parse(sb: &[u8]) -> Option<Filesystem> {
    // Two bytes alone are too weak: the revision in front of them is always 2, the length behind them that of the structure.
    if le16(sb, 6)? != 0x3434 || le32(sb, 0)? != 2 || !(160..=1024).contains(&le16(sb, 8)?) {
        return None;
    }
    let kind = Nilfs {
        block_size: 1024_u32.checked_shl(le32(sb, 20)?).filter(|size| *size <= 65536 && *size != 0)?,
        size: le64(sb, 32)?,
        blocks_per_segment: le32(sb, 48)?,
        reserved_percent: le32(sb, 52)?,
        commit_interval: le32(sb, 248)?,
        block_max: le32(sb, 252)?,
        feature_compat: le64(sb, 256)?,
        feature_compat_ro: le64(sb, 264)?,
        feature_incompat: le64(sb, 272)?,
    };
    Some(Filesystem {
        uuid: uuid(sb, 152)?,
        label: text(sb, 168, 80)?,
        used: None,
        kind: FsKind::Nilfs(kind),
    })
}

/// Why it cannot be backed up whole: it has snapshots, whose files are not in the tree. `None` when it has none.
///
/// Only `lscp` knows them; plain checkpoints, which the cleaner removes by itself, are nobody's data.
pub(crate) fn snapshots(sys: &dyn Sys, device: &str) -> Option<String> {
    match sys.run(&Cmd::new("lscp").args(["-s", device])) {
        Ok(output) => {
            let count = output.text().lines().skip(1).filter(|line| !line.trim().is_empty()).count();
            (count > 0).then(|| {
                format!("it has {count} snapshot(s), which are not in a backup: make plain checkpoints of them with chcp cp")
            })
        }
        Err(error) => Some(format!("whether it has snapshots cannot be told: {error}")),
    }
}
