//! Puts a [`Tree`] together from the entries of a manifest, one after the other: numbers, names, and what hard links lead to. A
//! manifest that contradicts itself is refused. It never reads a file.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::{Body, File, Name, Node, Text, Tree};
use crate::entry::{Entry, Kind, split};
use crate::{Error, Stored};

/// Numbers from here on stand for hard links that are not resolved yet.
const PENDING: u32 = 1 << 31;

/// Puts the tree together, entry by entry.
pub(super) struct Builder<'a> {
    manifest: &'a Stored,
    tree: Tree,
    /// The directory that has this name in that one, by the hash of both: whole paths would take the square of their length.
    directories: HashMap<u64, Node>,
    state: RandomState,
    /// The directory of the last entry: the next one mostly has the same.
    last: (Vec<u8>, Node),
    /// The paths that hard links lead to.
    links: Vec<Text>,
    link_text: Vec<u8>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(manifest: &'a Stored) -> Self {
        let tree = Tree {
            files: Vec::new(),
            names: Vec::new(),
            firsts: Vec::new(),
            text: Vec::new(),
            xattrs: HashMap::new(),
            flags: HashMap::new(),
            segments: HashMap::new(),
            bytes: 0,
        };
        let mut builder = Self {
            manifest,
            tree,
            directories: HashMap::new(),
            state: RandomState::new(),
            last: (b".".to_vec(), Tree::ROOT),
            links: Vec::new(),
            link_text: Vec::new(),
        };
        builder.tree.files.push(unknown_directory(Tree::ROOT));
        builder
    }

    fn wrong(&self, detail: impl Into<String>) -> Error {
        Error::manifest(self.manifest.path(), detail)
    }

    fn number(&self, number: impl TryInto<u32>) -> Result<u32, Error> {
        let number = number.try_into().ok().filter(|number| *number < PENDING);
        number.ok_or_else(|| self.wrong("it has more entries, or longer names, than can be browsed"))
    }

    pub(super) fn add(&mut self, entry: Entry) -> Result<(), Error> {
        if entry.kind == Kind::Directory {
            let node = self.directory(&entry.path)?;
            let parent = self.tree.parent(node).unwrap_or(Tree::ROOT);
            let file = self.file(&entry, Body::Directory { parent, first: 0, end: 0 });
            self.tree.files[node as usize] = file;
            self.extras(node, entry);
            return Ok(());
        }
        let (above, name) = split(&entry.path);
        let parent = self.directory(above)?;
        if entry.kind == Kind::HardLink {
            let at = self.number(self.link_text.len())?;
            let length = self.number(entry.link.len())?;
            self.link_text.extend_from_slice(&entry.link);
            let node = PENDING + self.number(self.links.len())?;
            self.links.push(Text { at, length });
            return self.name(parent, name, node);
        }
        let body = match entry.kind {
            Kind::File => Body::File {
                size: entry.size,
                frame: self.number(entry.frame)?,
                offset: entry.offset,
                digest: entry.digest,
            },
            Kind::Symlink => Body::Symlink(self.put(&entry.link)?),
            Kind::Character | Kind::Block => Body::Device(entry.kind, entry.device.0, entry.device.1),
            _ => Body::Fifo,
        };
        let file = self.file(&entry, body);
        let node = self.push(file)?;
        self.name(parent, name, node)?;
        self.tree.bytes = self.tree.bytes.saturating_add(entry.stored());
        self.extras(node, entry);
        Ok(())
    }

    fn file(&self, entry: &Entry, body: Body) -> File {
        let mode = u16::try_from(entry.mode & 0o7777).unwrap_or(0);
        File { mtime: entry.mtime, uid: entry.uid, gid: entry.gid, mode, links: 1, body }
    }

    /// What few files have.
    fn extras(&mut self, node: Node, entry: Entry) {
        if !entry.xattrs.is_empty() {
            self.tree.xattrs.insert(node, entry.xattrs.into());
        }
        if entry.flags != 0 {
            self.tree.flags.insert(node, entry.flags);
        }
        if let Some(segments) = entry.segments {
            self.tree.segments.insert(node, segments.into());
        }
    }

    fn push(&mut self, file: File) -> Result<Node, Error> {
        let node = self.number(self.tree.files.len())?;
        self.tree.files.push(file);
        Ok(node)
    }

    fn put(&mut self, text: &[u8]) -> Result<Text, Error> {
        let (at, length) = (self.number(self.tree.text.len())?, self.number(text.len())?);
        self.tree.text.extend_from_slice(text);
        Ok(Text { at, length })
    }

    fn name(&mut self, parent: Node, name: &[u8], node: Node) -> Result<(), Error> {
        let text = self.put(name)?;
        self.tree.names.push(Name { parent, text, node });
        Ok(())
    }

    /// The directory at a path. One that the manifest leaves out (above a part of a machine) is made.
    fn directory(&mut self, path: &[u8]) -> Result<Node, Error> {
        if self.last.0 == path {
            return Ok(self.last.1);
        }
        let mut node = Tree::ROOT;
        // From the top down: a path may be deeper than the stack.
        for name in path.split(|byte| *byte == b'/').filter(|name| *name != b".") {
            let key = self.state.hash_one((node, name));
            node = match self.directories.get(&key) {
                Some(known) => *known,
                None => {
                    let made = self.push(unknown_directory(node))?;
                    self.name(node, name, made)?;
                    self.directories.insert(key, made);
                    made
                }
            };
        }
        self.last = (path.to_vec(), node);
        Ok(node)
    }

    pub(super) fn finish(mut self) -> Result<Tree, Error> {
        self.directories = HashMap::new();
        let (text, count) = (std::mem::take(&mut self.tree.text), self.number(self.tree.names.len())?);
        let name = |one: &Name| {
            text.get(one.text.at as usize..(one.text.at + one.text.length) as usize).unwrap_or_default()
        };
        self.tree
            .names
            .sort_unstable_by(|one, other| (one.parent, name(one)).cmp(&(other.parent, name(other))));
        if let Some(twice) = self
            .tree
            .names
            .windows(2)
            .find(|pair| pair[0].parent == pair[1].parent && name(&pair[0]) == name(&pair[1]))
        {
            let detail = format!("it has two entries named {}", String::from_utf8_lossy(name(&twice[0])));
            return Err(self.wrong(detail));
        }
        self.tree.text = text;
        self.tree.firsts = vec![u32::MAX; self.tree.files.len()];
        for (at, name) in (0..count).zip(&self.tree.names) {
            // Further names are not resolved yet, and have numbers that are no file's.
            if let Some(first) = self.tree.firsts.get_mut(name.node as usize) {
                *first = at;
            }
        }
        let mut at = 0;
        while let Some(parent) = self.tree.names.get(at as usize).map(|name| name.parent) {
            let run = self.tree.names[at as usize..].partition_point(|name| name.parent == parent);
            let end = at + self.number(run)?;
            if let Some(Body::Directory { first, end: last, .. }) =
                self.tree.files.get_mut(parent as usize).map(|file| &mut file.body)
            {
                (*first, *last) = (at, end);
            }
            at = end;
        }
        debug_assert_eq!(at, count);
        let targets = self.links.iter().map(|link| self.resolve(*link)).collect::<Result<Vec<_>, _>>()?;
        for name in &mut self.tree.names {
            if let Some(link) = name.node.checked_sub(PENDING) {
                name.node = targets.get(link as usize).copied().unwrap_or(Tree::ROOT);
                self.tree.files[name.node as usize].links += 1;
            } else if matches!(self.tree.files[name.node as usize].body, Body::Directory { .. }) {
                self.tree.files[name.parent as usize].links += 1;
            }
        }
        self.tree.files.iter_mut().for_each(|file| {
            if matches!(file.body, Body::Directory { .. }) {
                file.links += 1;
            }
        });
        self.tree.files.shrink_to_fit();
        self.tree.names.shrink_to_fit();
        self.tree.text.shrink_to_fit();
        Ok(self.tree)
    }

    /// The file that a hard link leads to.
    fn resolve(&self, link: Text) -> Result<Node, Error> {
        let path = &self.link_text[link.at as usize..(link.at + link.length) as usize];
        let found = path
            .split(|byte| *byte == b'/')
            .try_fold(Tree::ROOT, |node, name| self.tree.lookup(node, name).ok())
            .filter(|node| self.tree.attributes(*node).is_ok_and(|found| found.kind != Kind::Directory));
        found.ok_or_else(|| {
            self.wrong(format!(
                "a hard link leads to /{}, which it does not have",
                String::from_utf8_lossy(path)
            ))
        })
    }
}

/// A directory of which nothing is known but that it is there.
fn unknown_directory(parent: Node) -> File {
    let body = Body::Directory { parent, first: 0, end: 0 };
    File { mtime: (0, 0), uid: 0, gid: 0, mode: 0o755, links: 1, body }
}
