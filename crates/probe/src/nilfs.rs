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
    let told = match sys.run(&Cmd::new("lscp").args(["-s", device])) {
        Ok(output) => count(&output.text()),
        Err(error) => Err(error.to_string()),
    };
    match told {
        Ok(0) => None,
        Ok(count) => Some(format!(
            "it has {count} snapshot(s), which are not in a backup: make plain checkpoints of them with chcp cp"
        )),
        Err(why) => Some(format!("whether it has snapshots cannot be told: {why}")),
    }
}

/// Lines of `lscp -s` (nilfs-utils 2.2): a head of columns, CNO the first, and a line that begins with a number for each snapshot.
fn count(text: &str) -> Result<usize, String> {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let first = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
    let head = lines.next().unwrap_or_default();
    if first(head) != "CNO" {
        return Err(format!("the output of 'lscp -s' has no column CNO in the line '{head}'"));
    }
    let mut count = 0;
    for line in lines {
        if first(line).parse::<u64>().is_err() {
            return Err(format!("the output of 'lscp -s' has no number CNO in the line '{line}'"));
        }
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn snapshots_are_counted_and_an_unknown_form_is_named() {
        // nilfs-utils 2.2.8 (Debian 11), 2.2.9 (Debian 12).
        let head = "                 CNO        DATE     TIME  MODE  FLG      BLKCNT       ICNT\n";
        assert_eq!(count(head), Ok(0));
        let one = "                   3  2024-05-02 10:11:12   ss    -          27          4\n";
        assert_eq!(count(&format!("{head}{one}{one}")), Ok(2));
        for text in ["", one, "CNO\nrubbish\n"] {
            assert!(count(text).unwrap_err().contains("lscp"), "{text}");
        }
    }
}
