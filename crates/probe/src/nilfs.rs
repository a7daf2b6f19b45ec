//! NILFS2 superblocks (kernel `include/uapi/linux/nilfs2_ondisk.h`, `struct nilfs_super_block`). Writes nothing.

use layout::{Filesystem, FsKind, Nilfs};
use sys::{Cmd, Sys, SysExt};

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
        Ok(output) => {
            let version = || sys.version(&Cmd::new("lscp").arg("-V"));
            count(&output.text()).map_err(|why| format!("{why}{}", version()))
        }
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

/// Lines of `lscp -s` (nilfs-utils 2.2): a head of columns, and a line of as many words for each snapshot, whose mode is `ss`.
fn count(text: &str) -> Result<usize, String> {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let head = lines.next().unwrap_or_default();
    let columns: Vec<&str> = head.split_whitespace().collect();
    let place = |name: &str| {
        let place = columns.iter().position(|column| *column == name);
        place.ok_or_else(|| format!("the output of 'lscp -s' has no column {name} in the line '{head}'"))
    };
    let (number, mode) = (place("CNO")?, place("MODE")?);
    let mut count = 0;
    for line in lines {
        let wrong = |what: &str| format!("the output of 'lscp -s' has {what} in the line '{line}'");
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.len() != columns.len() {
            return Err(wrong("not one word for each column"));
        }
        words.get(number).and_then(|word| word.parse::<u64>().ok()).ok_or_else(|| wrong("no number CNO"))?;
        words.get(mode).filter(|word| **word == "ss").ok_or_else(|| wrong("no MODE 'ss'"))?;
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use sys::Replay;

    use super::{count, snapshots};

    /// nilfs-utils 2.2.8 (Debian 11), 2.2.9 (Debian 12) and 2.2.11 (Debian 13): the formats in their programs are the same.
    const HEAD: &str = "                 CNO        DATE     TIME  MODE  FLG      BLKCNT       ICNT\n";
    const ONE: &str = "                   3  2024-05-02 10:11:12   ss    -          27          4\n";

    #[test]
    fn snapshots_are_counted() {
        assert_eq!(count(HEAD), Ok(0));
        assert_eq!(count(&format!("{HEAD}{ONE}{ONE}")), Ok(2));
        // Of later versions, with another name for the blocks, and a minor checkpoint.
        let (head, one) = (HEAD.replace(" BLKCNT", "NBLKINC"), ONE.replace(" - ", " i "));
        assert_eq!(count(&format!("{head}{one}")), Ok(1));
    }

    #[test]
    fn an_unknown_form_is_named_with_tool_and_field() {
        let with_head = |line: &str| format!("{HEAD}{line}\n");
        for (text, field) in [
            (String::new(), "CNO"),
            (ONE.to_owned(), "CNO"),
            (HEAD.replace("MODE", "    "), "MODE"),
            (with_head("rubbish"), "word for each column"),
            (with_head(&ONE.replace("  3  ", "     ")), "word for each column"),
            (with_head(&ONE.replace("  3  ", "  x  ")), "CNO"),
            (with_head(&ONE.replace(" ss ", " cp ")), "MODE"),
            (with_head("2024-05-02 10:11:12 ss - 27 4 3"), "CNO"),
        ] {
            let why = count(&text).unwrap_err();
            assert!(why.contains("'lscp -s'") && why.contains(field), "{why}");
        }
        let sys = Replay::from_json(
            r#"{"run lscp -s /dev/vda1": {"text": "?"}, "run lscp -V": {"text": "lscp (nilfs-utils 2.2.9)\n"}}"#,
        );
        let why = snapshots(&sys.unwrap(), "/dev/vda1").unwrap();
        assert!(why.contains("cannot be told") && why.ends_with("'?' (lscp (nilfs-utils 2.2.9))"), "{why}");
    }
}
