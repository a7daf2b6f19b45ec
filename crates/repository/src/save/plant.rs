//! Puts the directories together, from the leaves to the root, and writes the manifest in the order of the walk.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;

use backup::{Entry, Kind, ManifestWriter, Problem, ProblemKind, Source, Totals, machine_path, stored_path};

use super::worker::{Batch, text};
use crate::error::{Error, Result};
use crate::id::Id;
use crate::node::Node;
use crate::pack::BlobKind;
use crate::store::{Store, Writer};
use crate::trees::split;

/// A directory that may still get children.
struct Open {
    node: Node,
    /// Name and text of each.
    children: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The first name of a file with several.
struct First {
    node: Box<Node>,
    /// How many names are still to come.
    left: u64,
}

/// What has grown.
pub struct Harvest {
    pub tree: Id,
    pub root: Node,
    pub totals: Totals,
    pub unchanged: u64,
    pub manifest_bytes: u64,
    pub manifest_blake3: String,
}

/// The directories that are open, and those that are done.
pub struct Plant<'a> {
    writer: Writer<'a, 'a>,
    manifest: ManifestWriter<'a>,
    open: HashMap<Vec<u8>, Open>,
    /// The way down to where the walk is, those that stay open left out.
    stack: Vec<Vec<u8>>,
    /// Directories below which the walk comes back later: those above mounts and views.
    lasting: HashSet<Vec<u8>>,
    firsts: HashMap<Vec<u8>, First>,
    lost: Vec<Problem>,
    next: u64,
    unchanged: u64,
}

impl<'a> Plant<'a> {
    pub fn new(source: &Source, store: &'a Store<'a>, manifest: ManifestWriter<'a>) -> Result<Self> {
        let places = source.mounts.iter().chain(source.views.iter().map(|view| &view.at));
        let mut lasting = HashSet::from([b".".to_vec()]);
        for place in places {
            let place = stored_path(place);
            lasting.extend((0..place.len()).filter(|at| place[*at] == b'/').map(|at| place[..at].to_vec()));
        }
        Ok(Self {
            writer: store.writer()?,
            manifest,
            open: HashMap::new(),
            stack: Vec::new(),
            lasting,
            firsts: HashMap::new(),
            lost: Vec::new(),
            next: 0,
            unchanged: 0,
        })
    }

    /// Number of batches that are done.
    pub fn batches(&self) -> u64 {
        self.next
    }

    /// Takes batches until there are no more, in the order of their numbers.
    pub fn run(&mut self, batches: &Receiver<(u64, Batch)>, done: &AtomicU64) -> Result<()> {
        let mut waiting = BTreeMap::new();
        while let Ok((number, batch)) = batches.recv() {
            waiting.insert(number, batch);
            while let Some(batch) = waiting.remove(&self.next) {
                self.next += 1;
                self.batch(batch)?;
                done.store(self.next, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn batch(&mut self, batch: Batch) -> Result<()> {
        self.manifest.append(&batch.lines, batch.totals)?;
        self.unchanged += batch.unchanged;
        for ready in batch.ready {
            let entry = ready.entry;
            if entry.kind == Kind::Directory {
                self.enter(&entry)?;
                continue;
            }
            let text = match entry.kind {
                Kind::HardLink => match self.further(&entry)? {
                    Some(text) => text,
                    None => continue,
                },
                _ => {
                    if let Some(node) = ready.node {
                        let left = node.links.saturating_sub(1);
                        self.firsts.insert(entry.path.clone(), First { node, left });
                    }
                    ready.text
                }
            };
            self.child(&entry.path, text)?;
        }
        Ok(())
    }

    /// The node of a further name of a file.
    fn further(&mut self, entry: &Entry) -> Result<Option<Vec<u8>>> {
        let Some(first) = self.firsts.get_mut(&entry.link) else {
            // It could not be read under its first name.
            let detail = format!("its first name, /{}, is not stored", String::from_utf8_lossy(&entry.link));
            self.lost.push(Problem {
                path: machine_path(&entry.path),
                kind: ProblemKind::Unreadable,
                detail,
            });
            return Ok(None);
        };
        let text = text(&first.node.further(entry))?;
        first.left = first.left.saturating_sub(1);
        if first.left == 0 {
            self.firsts.remove(&entry.link);
        }
        Ok(Some(text))
    }

    fn enter(&mut self, entry: &Entry) -> Result<()> {
        let node = Node::new(entry, None);
        if let Some(open) = self.open.get_mut(&entry.path) {
            // A directory above a mount, made up before its own entry came.
            open.node = node;
            return Ok(());
        }
        self.leave_all_but(split(&entry.path).0)?;
        self.begin(&entry.path, node);
        Ok(())
    }

    fn begin(&mut self, path: &[u8], node: Node) {
        if !self.lasting.contains(path) {
            self.stack.push(path.to_vec());
        }
        self.open.insert(path.to_vec(), Open { node, children: Vec::new() });
    }

    fn child(&mut self, path: &[u8], text: Vec<u8>) -> Result<()> {
        let (parent, name) = split(path);
        if self.stack.last().is_some_and(|last| last != parent) {
            self.leave_all_but(parent)?;
        }
        if !self.open.contains_key(parent) {
            // Its own entry could not be read; what is in it is stored all the same.
            self.begin(parent, Node::new(&bare(parent), None));
        }
        if let Some(open) = self.open.get_mut(parent) {
            open.children.push((name.to_vec(), text));
        }
        Ok(())
    }

    /// Closes the directories that do not lead to that path.
    fn leave_all_but(&mut self, path: &[u8]) -> Result<()> {
        while let Some(last) = self.stack.last() {
            let leads =
                path.strip_prefix(last.as_slice()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/');
            if leads {
                break;
            }
            let Some(last) = self.stack.pop() else { break };
            self.close(&last)?;
        }
        Ok(())
    }

    /// Stores a directory and hands it to the one above.
    fn close(&mut self, path: &[u8]) -> Result<()> {
        let Some(open) = self.open.remove(path) else { return Ok(()) };
        let mut node = open.node;
        node.subtree = Some(self.store(open.children)?);
        let text = text(&node)?;
        let (parent, name) = split(path);
        if !self.open.contains_key(parent) {
            self.begin(parent, Node::new(&bare(parent), None));
        }
        if let Some(open) = self.open.get_mut(parent) {
            open.children.push((name.to_vec(), text));
        }
        Ok(())
    }

    fn store(&mut self, mut children: Vec<(Vec<u8>, Vec<u8>)>) -> Result<Id> {
        children.sort();
        if let Some(twice) = children.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let name = String::from_utf8_lossy(&twice[0].0).into_owned();
            return Err(Error::io(format!("store a directory with two entries named {name}"))(
                std::io::Error::from(std::io::ErrorKind::AlreadyExists),
            ));
        }
        let mut tree = b"{\"nodes\":[".to_vec();
        for (index, (_, text)) in children.iter().enumerate() {
            if index > 0 {
                tree.push(b',');
            }
            tree.extend_from_slice(text);
        }
        tree.extend_from_slice(b"]}\n");
        self.writer.put(BlobKind::Tree, &tree)
    }

    /// Closes all directories and the manifest.
    pub fn finish(mut self, problems: &mut Vec<Problem>) -> Result<Harvest> {
        problems.append(&mut self.lost);
        self.leave_all_but(b".")?;
        while self.open.keys().any(|path| path != b".") {
            // The deepest first: what is closed goes into what is still open.
            let deepest = self.open.keys().filter(|path| *path != b".");
            let deepest =
                deepest.max_by_key(|path| (path.iter().filter(|byte| **byte == b'/').count(), *path));
            if let Some(path) = deepest.cloned() {
                self.close(&path)?;
            }
        }
        let root = self.open.remove(&b"."[..]);
        let root = root.unwrap_or_else(|| Open { node: Node::new(&bare(b"."), None), children: Vec::new() });
        let tree = self.store(root.children)?;
        let (manifest_bytes, manifest_blake3, totals) = self.manifest.finish().map_err(Error::from)?;
        Ok(Harvest {
            tree,
            root: root.node,
            totals,
            unchanged: self.unchanged,
            manifest_bytes,
            manifest_blake3,
        })
    }
}

/// A directory of which nothing is known.
fn bare(path: &[u8]) -> Entry {
    let mut entry = Entry::new(path.to_vec(), Kind::Directory);
    entry.mode = 0o755;
    entry
}
