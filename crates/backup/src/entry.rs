//! One entry of a backup: all that is known of one path, and where its content lies in the archive.

use crate::holes;

/// What an entry is. Sockets are never archived: their server makes them anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A character device node.
    Character,
    /// A block device node.
    Block,
    /// A named pipe.
    Fifo,
    /// A further name of an earlier entry of any kind but directory.
    HardLink,
}

impl Kind {
    /// The type flag that stands for it in a tar header.
    pub(crate) fn tar(self) -> u8 {
        match self {
            Self::File => b'0',
            Self::HardLink => b'1',
            Self::Symlink => b'2',
            Self::Character => b'3',
            Self::Block => b'4',
            Self::Directory => b'5',
            Self::Fifo => b'6',
        }
    }

    /// The letter that stands for it in the manifest (as in `ls -l`; `f` for files, `h` for hard links).
    pub(crate) fn letter(self) -> char {
        match self {
            Self::File => 'f',
            Self::HardLink => 'h',
            Self::Symlink => 'l',
            Self::Character => 'c',
            Self::Block => 'b',
            Self::Directory => 'd',
            Self::Fifo => 'p',
        }
    }

    pub(crate) fn from_letter(letter: char) -> Option<Self> {
        [Self::File, Self::HardLink, Self::Symlink, Self::Character, Self::Block, Self::Directory, Self::Fifo]
            .into_iter()
            .find(|kind| kind.letter() == letter)
    }

    /// In words, for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::HardLink => "hard link",
            Self::Symlink => "symbolic link",
            Self::Character => "character device",
            Self::Block => "block device",
            Self::Directory => "directory",
            Self::Fifo => "named pipe",
        }
    }
}

/// No file is longer: the kernel counts offsets in 63 bits. A little less, so that rounding up stays inside.
const MOST_BYTES: u64 = (1 << 63) - (1 << 32);

/// Bytes of the longest path. Linux lets directories be nested without end, and nothing that keeps a place for each of them
/// could be bounded.
pub const PATH_LIMIT: usize = 64 << 10;

/// One entry, as the manifest holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Path relative to the root of the machine: `etc/fstab`; `.` for the root itself. Any bytes but NUL.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits with set-user-id, set-group-id and sticky (`0o7777`).
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Last modification: seconds since 1970 (negative before) and nanoseconds.
    pub mtime: (i64, u32),
    /// Bytes of content, holes included (files only, otherwise 0).
    pub size: u64,
    /// What a symbolic link points to, or the path of the entry that a hard link is a further name of.
    pub link: Vec<u8>,
    /// Major and minor number of a device node.
    pub device: (u32, u32),
    /// Extended attributes of all namespaces, ACLs and capabilities among them, by name.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Inode flags that can be set again (`FS_*_FL`, see `chattr(1)`).
    pub flags: u32,
    /// The parts that hold data, as (offset, length), for a file that has holes.
    pub segments: Option<Vec<(u64, u64)>>,
    /// Digest of the content that was archived (files with content only).
    pub digest: Option<[u8; 32]>,
    /// Number of the archive frame that holds the entry, or begins it.
    pub frame: u64,
    /// Where the content begins in that frame once it is decompressed, in bytes.
    pub offset: u32,
}

impl Entry {
    /// An entry of that kind at that path, with nothing else known.
    pub fn new(path: Vec<u8>, kind: Kind) -> Self {
        Self {
            path,
            kind,
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: (0, 0),
            size: 0,
            link: Vec::new(),
            device: (0, 0),
            xattrs: Vec::new(),
            flags: 0,
            segments: None,
            digest: None,
            frame: 0,
            offset: 0,
        }
    }

    /// Bytes of content that lie in the archive (without the holes).
    pub fn stored(&self) -> u64 {
        match &self.segments {
            Some(segments) => segments.iter().map(|(_, length)| length).sum(),
            None => self.size,
        }
    }

    /// Bytes that the entry takes at least in its frame, content apart: a block, its names, attributes and map of holes.
    pub(crate) fn header_bytes(&self) -> u64 {
        let attributes = self.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        let names = (self.path.len() + self.link.len() + attributes) as u64;
        names.max(512) + 4 * self.segments.as_ref().map_or(0, Vec::len) as u64
    }

    /// What in it no filesystem can have, or leads out of the machine, as a part of a sentence (`leads out of the machine`); no
    /// manifest holds such an entry.
    pub fn contradiction(&self) -> Option<String> {
        let linked = self.kind != Kind::HardLink || Self::is_path_safe(&self.link);
        if self.path.len() > PATH_LIMIT || self.link.len() > PATH_LIMIT {
            return Some(format!("has a path of more than {PATH_LIMIT} bytes"));
        }
        if !Self::is_path_safe(&self.path) || !linked {
            return Some("leads out of the machine".into());
        }
        let sound = self.is_size_sound() && self.are_segments_sound() && self.mtime.1 < 1_000_000_000;
        (!sound).then(|| "contradicts itself".into())
    }

    /// Whether sizes are such as a filesystem can have, and only files have them.
    pub(crate) fn is_size_sound(&self) -> bool {
        let most = if self.kind == Kind::File { MOST_BYTES } else { 0 };
        self.size <= most && (self.kind == Kind::File || self.segments.is_none())
    }

    /// Whether the path can be used below a target directory: relative, without `..`, empty or `.` components.
    pub(crate) fn is_path_safe(path: &[u8]) -> bool {
        path == b"."
            || (!path.is_empty()
                && !path.contains(&0)
                && path.split(|byte| *byte == b'/').all(|part| !matches!(part, b"" | b"." | b"..")))
    }

    /// Whether the segments ascend, do not overlap and lie inside the file.
    pub(crate) fn are_segments_sound(&self) -> bool {
        let mut end = 0;
        self.segments.iter().flatten().all(|(offset, length)| {
            let Some(next) = offset.checked_add(*length) else { return false };
            let sound = *offset >= end && next <= self.size;
            end = next;
            sound
        }) && self.segments.as_ref().is_none_or(|segments| segments.len() <= holes::SEGMENTS)
    }
}

/// Splits a stored path into its directory (`.` for none) and its last component.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b".", path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_the_target_are_unsafe() {
        for path in [&b"/etc"[..], b"", b"..", b"a/../b", b"a//b", b"./a", b"a/", b"a\0b", b"a/."] {
            assert!(!Entry::is_path_safe(path), "{path:?}");
        }
        for path in [&b"."[..], b"a", b"a/b", b"...", b"a\n/\xff"] {
            assert!(Entry::is_path_safe(path), "{path:?}");
        }
    }

    #[test]
    fn segments_must_ascend_inside_the_file() {
        let mut entry = Entry::new(b"x".to_vec(), Kind::File);
        entry.size = 100;
        for (segments, sound) in [
            (vec![(0, 10), (20, 80)], true),
            (vec![(0, 10), (5, 10)], false),
            (vec![(90, 11)], false),
            (vec![(u64::MAX, 2)], false),
        ] {
            entry.segments = Some(segments);
            assert_eq!(entry.are_segments_sound(), sound);
        }
    }
}
