//! A manifest as a tree that is looked up by name: for browsing a backup without restoring it. About 150 bytes are kept for
//! an entry. It reads the manifest once ([`builder`] puts the tree together), and never the archive.

use std::collections::HashMap;

use builder::Builder;
use rustix::io::Errno;

use crate::entry::Kind;
use crate::manifest::Reader;
use crate::metadata::Xattr;
use crate::{Error, Options, Stored};

mod builder;

/// The number of a file in a [`Tree`]; all names of one file have the same.
pub type Node = u32;

/// What a manifest says of a machine's files.
pub struct Tree {
    files: Vec<File>,
    /// Sorted by directory, then by name.
    names: Vec<Name>,
    /// Of each file, which of these is its first; none for the root.
    firsts: Vec<u32>,
    /// Names and link targets, one behind the other.
    text: Vec<u8>,
    xattrs: HashMap<Node, Box<[Xattr]>>,
    flags: HashMap<Node, u32>,
    segments: HashMap<Node, Box<[(u64, u64)]>>,
    bytes: u64,
}

/// A file of any kind.
struct File {
    mtime: (i64, u32),
    uid: u32,
    gid: u32,
    mode: u16,
    links: u32,
    body: Body,
}

enum Body {
    File {
        size: u64,
        frame: u32,
        offset: u32,
        digest: Option<[u8; 32]>,
    },
    /// Its entries are these of `names`.
    Directory {
        parent: Node,
        first: u32,
        end: u32,
    },
    Symlink(Text),
    Device(Kind, u32, u32),
    Fifo,
}

/// A stretch of the text.
#[derive(Clone, Copy)]
struct Text {
    at: u32,
    length: u32,
}

struct Name {
    parent: Node,
    text: Text,
    node: Node,
}

/// What `stat(2)` says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// What it is; never a hard link.
    pub kind: Kind,
    /// Permission bits with set-user-id, set-group-id and sticky.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Last modification: seconds since 1970 and nanoseconds.
    pub mtime: (i64, u32),
    /// Bytes of content, holes included; of a symbolic link, the length of its target.
    pub size: u64,
    /// Bytes of content without holes.
    pub stored: u64,
    /// Number of names; of a directory, 2 and one for each directory in it.
    pub links: u32,
    /// Major and minor number of a device node.
    pub device: (u32, u32),
}

/// What is known of a file's content, and where it lies in an archive.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// The file.
    pub node: Node,
    /// Bytes, holes included.
    pub size: u64,
    /// The parts that hold data, as (offset, length); `None` for a file without holes.
    pub segments: Option<&'a [(u64, u64)]>,
    /// The frame that holds it, or begins it.
    pub frame: u32,
    /// Where it begins in that frame.
    pub offset: u32,
    /// Its digest.
    pub digest: Option<[u8; 32]>,
}

impl Content<'_> {
    /// Bytes that lie in the archive.
    pub fn stored(&self) -> u64 {
        self.segments.map_or(self.size, |segments| segments.iter().map(|(_, length)| length).sum())
    }
}

impl Tree {
    /// The root directory.
    pub const ROOT: Node = 0;

    /// Reads a manifest, which the caller has proven to be the one that was written.
    ///
    /// # Errors
    /// The manifest cannot be read or contradicts itself, or the run was stopped.
    pub fn read(manifest: &Stored, options: &Options) -> Result<Self, Error> {
        let mut builder = Builder::new(manifest);
        for entry in Reader::of(manifest)? {
            options.cancel.check()?;
            builder.add(entry?)?;
        }
        builder.finish()
    }

    /// Number of files of any kind.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there are none; there is always a root.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Bytes of content of all files, without holes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn file(&self, node: Node) -> Result<&File, Errno> {
        self.files.get(node as usize).ok_or(Errno::STALE)
    }

    fn text(&self, text: Text) -> &[u8] {
        let at = text.at as usize;
        self.text.get(at..at + text.length as usize).unwrap_or_default()
    }

    /// What is known of a file besides its content.
    ///
    /// # Errors
    /// `ESTALE` for a number that is none of this tree's.
    pub fn attributes(&self, node: Node) -> Result<Attributes, Errno> {
        let file = self.file(node)?;
        let mut found = Attributes {
            kind: Kind::File,
            mode: file.mode.into(),
            uid: file.uid,
            gid: file.gid,
            mtime: file.mtime,
            size: 0,
            stored: 0,
            links: file.links,
            device: (0, 0),
        };
        match &file.body {
            Body::File { size, .. } => {
                found.size = *size;
                found.stored = self.content(node)?.stored();
            }
            Body::Directory { .. } => found.kind = Kind::Directory,
            Body::Symlink(target) => (found.kind, found.size) = (Kind::Symlink, target.length.into()),
            Body::Device(kind, major, minor) => (found.kind, found.device) = (*kind, (*major, *minor)),
            Body::Fifo => found.kind = Kind::Fifo,
        }
        Ok(found)
    }

    /// The file of that name in a directory.
    ///
    /// # Errors
    /// `ENOENT`; `ENOTDIR` for what is no directory.
    pub fn lookup(&self, directory: Node, name: &[u8]) -> Result<Node, Errno> {
        let names = self.names_in(directory)?;
        let found = names.binary_search_by(|one| self.text(one.text).cmp(name));
        found.ok().and_then(|at| names.get(at)).map(|found| found.node).ok_or(Errno::NOENT)
    }

    /// The entries of a directory from the one with this number on, in the order of their names.
    ///
    /// # Errors
    /// `ENOTDIR` for what is no directory.
    pub fn entries(
        &self,
        directory: Node,
        from: usize,
    ) -> Result<impl Iterator<Item = (&[u8], Node)>, Errno> {
        let names = self.names_in(directory)?;
        Ok(names.get(from..).unwrap_or_default().iter().map(|one| (self.text(one.text), one.node)))
    }

    /// The directory above a directory; of the root, the root.
    ///
    /// # Errors
    /// `ENOTDIR` for what is no directory.
    pub fn parent(&self, directory: Node) -> Result<Node, Errno> {
        match self.file(directory)?.body {
            Body::Directory { parent, .. } => Ok(parent),
            _ => Err(Errno::NOTDIR),
        }
    }

    /// The stored path of a file, by the first of its names.
    ///
    /// # Errors
    /// `ESTALE` for a number that is none of this tree's.
    pub fn path(&self, node: Node) -> Result<Vec<u8>, Errno> {
        let (mut names, mut at) = (Vec::new(), node);
        while at != Self::ROOT {
            let first = self.firsts.get(at as usize).and_then(|first| self.names.get(*first as usize));
            let first = first.ok_or(Errno::STALE)?;
            names.push(self.text(first.text));
            // What is above a file was numbered before it, so this ends.
            at = first.parent;
        }
        names.reverse();
        Ok(if names.is_empty() { b".".to_vec() } else { names.join(&b'/') })
    }

    fn names_in(&self, directory: Node) -> Result<&[Name], Errno> {
        match self.file(directory)?.body {
            Body::Directory { first, end, .. } => {
                Ok(self.names.get(first as usize..end as usize).unwrap_or_default())
            }
            _ => Err(Errno::NOTDIR),
        }
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// `EINVAL` for what is none.
    pub fn link(&self, node: Node) -> Result<&[u8], Errno> {
        match self.file(node)?.body {
            Body::Symlink(target) => Ok(self.text(target)),
            _ => Err(Errno::INVAL),
        }
    }

    /// Extended attributes, by name.
    pub fn xattrs(&self, node: Node) -> &[(Vec<u8>, Vec<u8>)] {
        self.xattrs.get(&node).map_or(&[], |xattrs| xattrs)
    }

    /// Inode flags (`chattr(1)`).
    pub fn flags(&self, node: Node) -> u32 {
        self.flags.get(&node).copied().unwrap_or(0)
    }

    /// Where the content of a file lies.
    ///
    /// # Errors
    /// `EISDIR` or `EINVAL` for what is no file.
    pub fn content(&self, node: Node) -> Result<Content<'_>, Errno> {
        match &self.file(node)?.body {
            Body::File { size, frame, offset, digest } => Ok(Content {
                node,
                size: *size,
                segments: self.segments.get(&node).map(|segments| &segments[..]),
                frame: *frame,
                offset: *offset,
                digest: *digest,
            }),
            Body::Directory { .. } => Err(Errno::ISDIR),
            _ => Err(Errno::INVAL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Entry;
    use crate::manifest;

    fn read(entries: &[Entry]) -> Result<Tree, Error> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m");
        manifest::write_all(&path, entries);
        let options =
            Options { codec: crate::Codec::Zstd, level: 1, threads: 1, cancel: sys::Cancel::default() };
        Tree::read(&Stored::open(&path).unwrap(), &options)
    }

    fn entry(path: &str, kind: Kind, link: &str) -> Entry {
        let mut entry = Entry::new(path.as_bytes().to_vec(), kind);
        entry.link = link.as_bytes().to_vec();
        entry.mode = 0o700;
        entry
    }

    fn walk(tree: &Tree, path: &str) -> Node {
        path.split('/').fold(Tree::ROOT, |node, name| tree.lookup(node, name.as_bytes()).unwrap())
    }

    #[test]
    fn names_lead_to_files_and_all_names_of_one_to_the_same() {
        let tree = read(&[
            entry(".", Kind::Directory, ""),
            entry("z", Kind::File, ""),
            entry("a", Kind::Directory, ""),
            entry("a/first", Kind::Symlink, "../z"),
            entry("a/deep", Kind::Directory, ""),
            entry("a/deep/link", Kind::HardLink, "a/first"),
            entry("a/deep/other", Kind::HardLink, "z"),
        ])
        .unwrap();
        let names = |node| -> Vec<_> {
            let names = tree.entries(node, 0).unwrap();
            names.map(|(name, _)| String::from_utf8(name.to_vec()).unwrap()).collect()
        };
        assert_eq!(names(Tree::ROOT), ["a", "z"]);
        assert_eq!(names(walk(&tree, "a")), ["deep", "first"]);
        assert_eq!(tree.entries(walk(&tree, "a/deep"), 1).unwrap().count(), 1);
        assert_eq!(walk(&tree, "a/first"), walk(&tree, "a/deep/link"));
        assert_eq!(tree.link(walk(&tree, "a/deep/link")).unwrap(), b"../z");
        let links = |path| tree.attributes(walk(&tree, path)).unwrap().links;
        assert_eq!((links("z"), links("a/first"), links("a"), links("a/deep")), (2, 2, 3, 2));
        assert_eq!(tree.attributes(Tree::ROOT).unwrap().links, 3);
        assert_eq!(tree.parent(walk(&tree, "a/deep")).unwrap(), walk(&tree, "a"));
        let path = |path| String::from_utf8(tree.path(walk(&tree, path)).unwrap()).unwrap();
        assert_eq!(
            (path("a/deep/link"), path("a/deep/other"), path("a/deep")),
            ("a/first".into(), "z".into(), "a/deep".into())
        );
        assert_eq!((tree.path(Tree::ROOT), tree.path(99)), (Ok(b".".to_vec()), Err(Errno::STALE)));
        assert_eq!(tree.lookup(Tree::ROOT, b"b"), Err(Errno::NOENT));
        assert_eq!(tree.lookup(walk(&tree, "z"), b"b"), Err(Errno::NOTDIR));
        assert_eq!(tree.attributes(99), Err(Errno::STALE));
    }

    #[test]
    fn a_directory_that_the_manifest_leaves_out_is_there() {
        let tree = read(&[entry("a/b/c", Kind::File, ""), entry("a", Kind::Directory, "")]).unwrap();
        let at = |path| tree.attributes(walk(&tree, path)).unwrap();
        assert_eq!((at("a/b").kind, at("a/b").mode), (Kind::Directory, 0o755));
        assert_eq!((at("a").mode, at("a").links), (0o700, 3));
        assert_eq!(at("a/b/c").kind, Kind::File);
    }

    #[test]
    fn a_manifest_that_contradicts_itself_is_refused() {
        let twice = [entry("a", Kind::File, ""), entry("a", Kind::Fifo, "")];
        let nowhere = [entry("a", Kind::HardLink, "b")];
        let round = [entry("a", Kind::HardLink, "b"), entry("b", Kind::HardLink, "a")];
        let to_directory = [entry("d", Kind::Directory, ""), entry("a", Kind::HardLink, "d")];
        let below_file = [entry("a", Kind::File, ""), entry("a/b", Kind::File, "")];
        for entries in [&twice[..], &nowhere, &round, &to_directory, &below_file] {
            assert!(matches!(read(entries), Err(Error::Manifest { .. })), "{entries:?}");
        }
    }
}
