//! One of the threads that turn entries into nodes and lines of the manifest. A file that is as it was in the parent is not read.

use std::sync::Mutex;

use backup::{Entry, Kind, Options, Problem, ProblemKind, Progress, Totals, machine_path};
use rustix::io::Errno;

use super::Item;
use super::content::{Outcome, Reader};
use crate::error::{Error, Result};
use crate::node::Node;
use crate::pack::BlobKind;
use crate::store::Store;
use crate::trees::{Trees, split};
use crate::{Repository, locked};

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
    parent: Option<&'a Trees<'a>>,
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
        parent: Option<&'a Trees<'a>>,
        since: Option<(i64, u32)>,
        problems: &'a Mutex<Vec<Problem>>,
        options: &'a Options,
        progress: &'a dyn Progress,
    ) -> Result<Self> {
        let reader = Reader::new(&repository.0, store, options)?;
        Ok(Self { store, parent, since, reader, problems, options, progress })
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
                    let Some(content) = self.content(&mut entry, file, stat, &mut batch)? else { continue };
                    let mut node = Node::new(&entry, Some(stat));
                    node.content = Some(content);
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
            // What is damaged there is stored again.
            let before = self.parent.and_then(|parent| parent.directory(self.store, directory).ok()?);
            if let Some(node) = before.as_ref().and_then(|tree| tree.get(name))
                && node.is_unchanged(entry, stat)
                && let Some((segments, digest)) = node.known_content()
                && let Some(content) = &node.content
                && self.store.has_all(BlobKind::Data, content)
            {
                let content = content.clone();
                (entry.segments, entry.digest) = (segments, digest);
                batch.unchanged += 1;
                return Ok(Some(content));
            }
        }
        if !is_hollow && stat.blocks.saturating_mul(512) < entry.size {
            match backup::segments(file, entry.size) {
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
    serde_json::to_vec(node).map_err(Error::io("describe a file"))
}
