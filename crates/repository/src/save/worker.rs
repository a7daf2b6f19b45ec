//! One of the threads that turn entries into nodes and lines of the manifest. A file that is as it was in the parent is not read.

use std::sync::Mutex;

use backup::{Entry, Kind, Options, Problem, ProblemKind, Progress, Totals, machine_path};
use rustix::io::Errno;

use super::Item;
use super::content::{Outcome, Reader};
use crate::brief::Past;
use crate::error::{Error, Result};
use crate::node::Node;
use crate::pack::BlobKind;
use crate::store::Store;
use crate::trees::{Found, Trees, split};
use crate::{Repository, locked};

/// Most nodes are shorter, in bytes.
const TEXT: usize = 512;

/// An entry that is done.
pub struct Ready {
    pub entry: Entry,
    /// Of everything but directories and hard links: its node as text.
    pub text: Vec<u8>,
    /// The same for what has further names.
    pub node: Option<Box<Node>>,
}

/// The entries of a batch.
#[derive(Default)]
pub struct Batch {
    pub ready: Vec<Ready>,
    pub lines: Vec<u8>,
    pub totals: Totals,
    pub unchanged: u64,
}

/// A thread's means.
pub struct Worker<'a> {
    store: &'a Store<'a>,
    parent: Option<&'a Trees<'a, Past>>,
    /// The directory that was looked at last, as it was there.
    last: Option<(Vec<u8>, Found<Past>)>,
    /// When the parent was begun: what changed since may have changed unseen.
    since: Option<(i64, u32)>,
    reader: Reader<'a, 'a>,
    problems: &'a Mutex<Vec<Problem>>,
    options: &'a Options,
    progress: &'a dyn Progress,
}

impl<'a> Worker<'a> {
    #[allow(clippy::too_many_arguments, reason = "called once, with what all threads share")]
    pub fn new(
        repository: &'a Repository,
        store: &'a Store<'a>,
        parent: Option<&'a Trees<'a, Past>>,
        since: Option<(i64, u32)>,
        problems: &'a Mutex<Vec<Problem>>,
        options: &'a Options,
        progress: &'a dyn Progress,
    ) -> Result<Self> {
        let reader = Reader::new(&repository.0, store, options)?;
        Ok(Self { store, parent, last: None, since, reader, problems, options, progress })
    }

    /// Works a batch off.
    pub fn run(&mut self, items: Vec<Item>) -> Result<Batch> {
        let mut batch = Batch::default();
        for Item { mut entry, names, file } in items {
            self.options.cancel.check()?;
            let mut ready = Ready { entry: Entry::new(Vec::new(), Kind::File), text: Vec::new(), node: None };
            let mut bytes = 0;
            match (&file, entry.kind) {
                (Some((file, stat)), _) => {
                    let mut node = Node::new(&entry, Some(stat));
                    let content = self.content(&mut entry, &node, file, stat, &mut batch)?;
                    let Some(content) = content else { continue };
                    node.fill(&entry, content);
                    ready.text = text(&node)?;
                    ready.node = (stat.links > 1).then(|| Box::new(node));
                    bytes = entry.stored();
                }
                (None, Kind::Directory | Kind::HardLink) => {}
                (None, _) => {
                    let node = Node { links: names.into(), ..Node::new(&entry, None) };
                    ready.text = text(&node)?;
                    ready.node = (names > 1).then(|| Box::new(node));
                }
            }
            backup::write_line(&entry, &mut batch.lines).map_err(Error::io("write the manifest"))?;
            batch.totals.files += 1;
            batch.totals.bytes += bytes;
            self.progress.add(bytes, 1);
            ready.entry = entry;
            batch.ready.push(ready);
        }
        Ok(batch)
    }

    /// The chunks of a file; `None` when it could not be read.
    fn content(
        &mut self,
        entry: &mut Entry,
        node: &Node,
        file: &std::os::fd::OwnedFd,
        stat: &backup::Stat,
        batch: &mut Batch,
    ) -> Result<Option<Vec<crate::Id>>> {
        if entry.size == 0 {
            return Ok(Some(Vec::new()));
        }
        let is_hollow = entry.segments.is_some();
        if !is_hollow && self.since.is_some_and(|since| stat.ctime < since) {
            let (directory, name) = split(&entry.path);
            if let Some(past) = self.before(directory).as_ref().and_then(|tree| tree.get(name))
                && past.is_same(node)
                && let Some(content) = past.content()
                && self.store.has_all(BlobKind::Data, content)
            {
                (entry.segments, entry.digest) = (past.segments(), past.digest());
                batch.unchanged += 1;
                return Ok(Some(content.to_vec()));
            }
        }
        if !is_hollow && stat.blocks.saturating_mul(512) < entry.size {
            match backup::segments(file, entry.size, &self.options.cancel) {
                Ok(segments) => entry.segments = segments,
                Err(error) => return self.unreadable(entry, error),
            }
        }
        let (content, digest, short) = match self.reader.file(entry, file, self.options)? {
            Outcome::Stored { content, digest } => (content, digest, false),
            Outcome::Short { content, digest } => (content, digest, true),
            Outcome::Unreadable(error) => return self.unreadable(entry, error),
        };
        entry.digest = digest;
        if short {
            let detail = "it became shorter while it was read; the rest is filled with zeros";
            self.problem(entry, ProblemKind::Changed, detail.into());
        } else {
            match backup::Stat::of(file) {
                Ok(after) if !stat.differs(&after) => {}
                Ok(_) => self.problem(entry, ProblemKind::Changed, "it changed while it was read".into()),
                Err(error) => return self.unreadable(entry, error),
            }
        }
        Ok(Some(content))
    }

    /// The directory as the parent has it. What is damaged there is stored again.
    fn before(&mut self, directory: &[u8]) -> Found<Past> {
        if let Some((path, tree)) = &self.last
            && path == directory
        {
            return tree.clone();
        }
        let tree = self.parent?.directory(self.store, directory).ok().flatten();
        self.last = Some((directory.to_vec(), tree.clone()));
        tree
    }

    fn unreadable<T>(&self, entry: &Entry, error: Errno) -> Result<Option<T>> {
        self.problem(entry, ProblemKind::Unreadable, std::io::Error::from(error).to_string());
        Ok(None)
    }

    fn problem(&self, entry: &Entry, kind: ProblemKind, detail: String) {
        locked(self.problems).push(Problem { path: machine_path(&entry.path), kind, detail });
    }
}

/// A node as it stands in a tree.
pub fn text(node: &Node) -> Result<Vec<u8>> {
    let mut text = Vec::with_capacity(TEXT);
    serde_json::to_writer(&mut text, node).map_err(Error::io("describe a file"))?;
    Ok(text)
}
