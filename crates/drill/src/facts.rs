//! Reads what the comparison script gathered in the guest, with independent tools, into maps. Judges nothing.

use std::collections::BTreeMap;

/// What one tool said of each path, as named values.
pub(crate) type Facts = BTreeMap<String, BTreeMap<&'static str, String>>;

const FIELD: char = '\u{1f}';

/// `find`'s records: everything `stat` knows of a file.
pub(crate) fn files(bytes: &[u8], mount: &str) -> Facts {
    const NAMES: [&str; 8] = ["type", "mode", "owner", "group", "size", "mtime", "links", "target"];
    records(bytes, mount, &NAMES)
}

/// `find`'s records of allocated blocks.
pub(crate) fn blocks(bytes: &[u8], mount: &str) -> Facts {
    records(bytes, mount, &["blocks"])
}

/// `b2sum -z`'s records: the checksum, two blanks, the path.
pub(crate) fn sums(bytes: &[u8], mount: &str) -> Facts {
    let records = bytes.split(|&byte| byte == 0).filter(|record| !record.is_empty());
    records
        .filter_map(|record| {
            let text = lossless(record);
            let (sum, path) = text.split_once("  ")?;
            Some((absolute(mount, path), BTreeMap::from([("content", sum.to_owned())])))
        })
        .collect()
}

/// `find`'s records of inode numbers. The numbers themselves say nothing: each name of a file tells the first of its names.
pub(crate) fn linked(bytes: &[u8], mount: &str) -> Facts {
    let inodes = records(bytes, mount, &["inode"]);
    let mut first = BTreeMap::new();
    let mut facts = Facts::new();
    for (path, inode) in &inodes {
        let Some(inode) = inode.get("inode") else { continue };
        let name = first.entry(inode).or_insert(path);
        facts.insert(path.clone(), BTreeMap::from([("same-file-as", (*name).clone())]));
    }
    facts
}

/// `stat`'s lines of device numbers.
pub(crate) fn nodes(bytes: &[u8], mount: &str) -> Facts {
    records(&bytes.iter().map(|&b| if b == b'\n' { 0 } else { b }).collect::<Vec<_>>(), mount, &["device"])
}

fn records(bytes: &[u8], mount: &str, names: &[&'static str]) -> Facts {
    bytes
        .split(|&byte| byte == 0)
        .filter(|record| !record.is_empty())
        .map(|record| {
            let text = lossless(record);
            let mut fields = text.split(FIELD);
            let path = absolute(mount, fields.next().unwrap_or_default());
            (path, names.iter().copied().zip(fields.map(str::to_owned)).collect())
        })
        .collect()
}

/// `getfattr`'s blocks, values in hexadecimal.
pub(crate) fn xattrs(bytes: &[u8], mount: &str) -> Facts {
    let text = lossless(bytes);
    text.split("\n\n")
        .filter_map(|block| {
            let mut lines = block.trim_start_matches('\n').lines();
            let name = lines.next()?.strip_prefix("# file: ")?;
            let mut values: Vec<&str> = lines.collect();
            values.sort_unstable();
            Some((absolute(mount, name), BTreeMap::from([("xattrs", values.join(" "))])))
        })
        .collect()
}

/// `lsattr -d`'s lines, without what only tells how a file is laid out (extents, indexed directory).
pub(crate) fn flags(bytes: &[u8], mount: &str) -> Facts {
    let text = lossless(bytes);
    text.lines()
        .filter_map(|line| {
            let (flags, path) = line.split_once(' ')?;
            let flags: String = flags.chars().filter(|flag| !matches!(flag, 'e' | 'I' | '-')).collect();
            Some((absolute(mount, path.trim_start()), BTreeMap::from([("flags", flags)])))
        })
        .collect()
}

/// `rsync --itemize-changes`' lines: what would change, and where.
pub(crate) fn itemized(bytes: &[u8], mount: &str) -> Vec<(String, String)> {
    lossless(bytes)
        .lines()
        .filter_map(|line| {
            let (what, path) = line.split_once(' ')?;
            // Deletions have more blanks, links an arrow behind their name.
            let path = path.trim_start();
            let path = path.split_once(" -> ").map_or(path, |(path, _)| path);
            Some((what.to_owned(), absolute(mount, path)))
        })
        .collect()
}

/// `dumpe2fs -h`, without what changes with every mount and write.
pub(crate) fn ext(text: &str) -> Vec<String> {
    const STABLE: &[&str] = &[
        "Filesystem volume name",
        "Filesystem UUID",
        "Filesystem revision #",
        "Filesystem features",
        "Filesystem flags",
        "Default mount options",
        "Errors behavior",
        "Inode count",
        "Block count",
        "Reserved block count",
        "First block",
        "Block size",
        "Fragment size",
        "Reserved GDT blocks",
        "Blocks per group",
        "Inodes per group",
        "RAID stride",
        "RAID stripe width",
        "Flex block group size",
        "Maximum mount count",
        "Check interval",
        "Reserved blocks uid",
        "Reserved blocks gid",
        "Inode size",
        "Required extra isize",
        "Desired extra isize",
        "Default directory hash",
        "Checksum type",
        "Journal features",
        "Total journal size",
    ];
    let stable = |line: &&str| line.split_once(':').is_some_and(|(name, _)| STABLE.contains(&name));
    // The kernel sets it when a block of the journal is taken back for the first time, not whoever makes the filesystem.
    let settled = |word: &&str| *word != "journal_incompat_revoke";
    let words = |line: &str| line.split_whitespace().filter(settled).collect::<Vec<_>>().join(" ");
    text.lines().filter(stable).map(words).collect()
}

/// Text in which each byte that is not UTF-8 can still be told from another.
fn lossless(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text
}

/// A path relative to a mount point, as the machine itself knows it.
fn absolute(mount: &str, path: &str) -> String {
    let relative = path.strip_prefix("./").unwrap_or(path).trim_end_matches('/');
    match (mount.trim_end_matches('/'), relative) {
        ("", "" | ".") => "/".to_owned(),
        (mount, "" | ".") => mount.to_owned(),
        (mount, relative) => format!("{mount}/{relative}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_newlines_and_wrong_bytes_stay_apart() {
        let facts = files(
            b"./a\nb\x1ff\x1f644\x1f0\x1f0\x1f1\x1f1.5\x1f1\x1f\0./\xe4\x1ff\x1f600\0./\xf6\x1ff\x1f600\0",
            "/srv",
        );
        assert_eq!(facts["/srv/a\nb"]["mtime"], "1.5");
        assert_eq!(
            facts.keys().map(String::as_str).collect::<Vec<_>>(),
            ["/srv/\\xe4", "/srv/\\xf6", "/srv/a\nb"]
        );
    }

    #[test]
    fn attribute_blocks_do_not_depend_on_their_order() {
        let one =
            xattrs(b"# file: a\nuser.x=0x01\nsecurity.capability=0x02\n\n# file: b\nuser.y=0x\n\n", "/");
        let two =
            xattrs(b"# file: ./b\nuser.y=0x\n\n# file: ./a\nsecurity.capability=0x02\nuser.x=0x01\n\n", "/");
        assert_eq!(one, two);
        assert_eq!(one.len(), 2);
    }

    #[test]
    fn names_of_one_file_are_known_by_the_first() {
        let one = linked(b"./b\x1f9:7\0./a\x1f9:7\0./c\x1f8:7\0", "/srv");
        let other = linked(b"./a\x1f1:3\0./b\x1f1:3\0./c\x1f1:4\0", "/srv");
        assert_eq!(one, other);
        assert_eq!(one["/srv/b"]["same-file-as"], "/srv/a");
        let sums = sums(b"abc  ./two  blanks\0def  ./x\ny\0", "/");
        assert_eq!((sums.len(), sums["/two  blanks"]["content"].as_str()), (2, "abc"));
    }

    #[test]
    fn layout_flags_do_not_count() {
        let facts = flags(b"----i---------e------- ./f\n-----------I-e------- ./d with blank\n", "/");
        assert_eq!(facts["/f"]["flags"], "i");
        assert_eq!(facts["/d with blank"]["flags"], "");
    }

    #[test]
    fn rsync_lines_have_paths() {
        let lines = itemized(b".d..t...... ./\n*deleting   a b\ncL+++++++++ l -> /x\n", "/boot");
        assert_eq!(lines[0], (".d..t......".to_owned(), "/boot".to_owned()));
        assert_eq!(lines[1], ("*deleting".to_owned(), "/boot/a b".to_owned()));
        assert_eq!(lines[2].1, "/boot/l");
    }
}
