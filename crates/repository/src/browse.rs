//! The content of a snapshot's files from any place of them, for looking into a backup without restoring it. What a file is called and
//! what it is, the caller knows from the manifest; here lies where its content is. Every tree and blob is held against its name, and
//! the names lead from the snapshot's own to the last byte, so what is damaged or lost is an error and never wrong bytes. Nothing is
//! written but the lock.

use std::path::Path;
use std::sync::Arc;

use backup::{Cache, Content, ContentSource, machine_path};

use crate::backend::FileKind;
use crate::brief::{Located, Type};
use crate::error::{Error, Result};
use crate::id::Id;
use crate::index::{Find, Index};
use crate::lock::Lock;
use crate::pack::BlobKind;
use crate::trees::parse;
use crate::{Repository, read};

/// Shorter than all chunks but the last of a file, in bytes: so much of the repository's content is named once.
const CHUNK: u64 = 512 << 10;
/// Bytes that a chunk takes in [`Pieces`].
const PIECE: u64 = 40;

/// A repository that is looked into: what the snapshots of one have in common. Memory grows with the repository (60 bytes a blob for its
/// index); for what was read last there is a limit, which only a single larger thing exceeds.
pub struct Browser(Arc<Shared>);

struct Shared {
    repository: Repository,
    index: Arc<Index>,
    directories: Cache<Id, Directory>,
    /// By the snapshot's tree and the number of the file.
    files: Cache<(Id, backup::Node), Pieces>,
    blobs: Cache<Id, Vec<u8>>,
    /// So that nobody removes what is looked at.
    _lock: Option<Lock>,
}

/// A directory of a snapshot: what of it leads to content.
struct Directory {
    /// Sorted by name.
    entries: Vec<(Box<[u8]>, Held)>,
}

/// What a name leads to.
enum Held {
    File {
        content: Box<[Id]>,
        /// As a manifest has it; what restic stored has none.
        digest: Option<Id>,
    },
    Directory(Id),
}

/// The content of a file: its blobs, and where each ends in it, in bytes.
struct Pieces {
    blobs: Box<[(Id, u64)]>,
}

impl Browser {
    pub(crate) fn new(repository: Repository, index: Arc<Index>, limit: u64) -> Result<Self> {
        let lock = Lock::share(&repository)?;
        // Most of it for content: directories and lists of blobs are small, or needed once.
        let (part, most) = (limit / 4, limit / 2);
        let (directories, files, blobs) = (Cache::new(part), Cache::new(part), Cache::new(most));
        Ok(Self(Arc::new(Shared { repository, index, directories, files, blobs, _lock: lock })))
    }

    /// The content of that snapshot's files.
    ///
    /// # Errors
    /// There is no such snapshot, or it cannot be read.
    pub fn contents(&self, snapshot: Id) -> Result<Contents> {
        let root = self.0.repository.snapshot(snapshot)?.tree;
        Ok(Contents { shared: Arc::clone(&self.0), root })
    }
}

/// The content of one snapshot's files.
pub struct Contents {
    shared: Arc<Shared>,
    root: Id,
}

impl Contents {
    /// Where the content of a file lies, if it is the one that the manifest tells of.
    fn pieces(&self, tree: &backup::Tree, content: &Content<'_>) -> Result<Arc<Pieces>> {
        let expected = content.size / CHUNK * PIECE;
        self.shared.files.get((self.root, content.node), expected, || {
            let path = tree
                .path(content.node)
                .map_err(|_| foreign(Path::new("a file"), "is not in the manifest"))?;
            self.find(&path, content)
        })
    }

    fn find(&self, path: &[u8], content: &Content<'_>) -> Result<Pieces> {
        let shown = machine_path(path);
        let absent = || foreign(&shown, "is not in the snapshot");
        let mut at = self.shared.directory(self.root)?;
        let mut names = path.split(|byte| *byte == b'/').peekable();
        let (ids, digest) = loop {
            let Some(name) = names.next() else { return Err(absent()) };
            let found = at.entries.binary_search_by(|(one, _)| (**one).cmp(name)).map_err(|_| absent())?;
            match (&at.entries[found].1, names.peek()) {
                (Held::Directory(below), Some(_)) => at = self.shared.directory(*below)?,
                (Held::File { content, digest }, None) => break (content.clone(), *digest),
                _ => return Err(absent()),
            }
        };
        let mut end = 0;
        let blobs = ids.iter().map(|id| {
            let (_, place) = self
                .shared
                .index
                .find(BlobKind::Data, *id)
                .ok_or(Error::Lost { what: "the data", id: *id })?;
            end += place.plain_length();
            Ok((*id, end))
        });
        let blobs = blobs.collect::<Result<Box<[_]>>>()?;
        if end != content.size {
            return Err(foreign(
                &shown,
                format!("has {end} bytes in the snapshot and {} in the manifest", content.size),
            ));
        }
        match (digest, content.digest) {
            (Some(stored), Some(listed)) if *stored.bytes() != listed => {
                Err(foreign(&shown, "has another digest in the snapshot than in the manifest"))
            }
            _ => Ok(Pieces { blobs }),
        }
    }

    fn fill(
        &self,
        tree: &backup::Tree,
        content: &Content<'_>,
        offset: u64,
        into: &mut [u8],
    ) -> Result<usize> {
        let length = content.size.saturating_sub(offset).min(into.len() as u64);
        let length = usize::try_from(length).unwrap_or(0);
        let (into, end) = (&mut into[..length], offset + length as u64);
        if length == 0 {
            return Ok(0);
        }
        let pieces = self.pieces(tree, content)?;
        // Where nothing is copied to is a hole.
        into.fill(0);
        let first = pieces.blobs.partition_point(|(_, end)| *end <= offset);
        let mut start =
            first.checked_sub(1).and_then(|before| pieces.blobs.get(before)).map_or(0, |(_, end)| *end);
        for (id, piece_end) in pieces.blobs.get(first..).unwrap_or_default() {
            if start >= end {
                break;
            }
            let (from, to) = (offset.max(start), end.min(*piece_end));
            if from < to && has_data(content, from, to) {
                let blob = self.shared.blob(*id, piece_end - start)?;
                let within = |base: u64, at: u64| usize::try_from(at - base).unwrap_or(usize::MAX);
                let data = blob.get(within(start, from)..within(start, to));
                let room = into.get_mut(within(offset, from)..within(offset, to));
                let (data, room) =
                    data.zip(room).ok_or(Error::Lost { what: "a part of the data", id: *id })?;
                room.copy_from_slice(data);
            }
            start = *piece_end;
        }
        Ok(length)
    }
}

impl ContentSource for Contents {
    fn read(
        &self,
        tree: &backup::Tree,
        content: &Content<'_>,
        offset: u64,
        into: &mut [u8],
    ) -> std::result::Result<usize, backup::Error> {
        self.fill(tree, content, offset, into).map_err(Error::into_backup)
    }

    fn check(&self, tree: &backup::Tree, content: &Content<'_>) -> std::result::Result<(), backup::Error> {
        self.pieces(tree, content).map(|_| ()).map_err(Error::into_backup)
    }
}

impl Shared {
    fn directory(&self, id: Id) -> Result<Arc<Directory>> {
        let bytes = self.index.find(BlobKind::Tree, id).map_or(0, |(_, place)| place.plain_length());
        self.directories.get(id, bytes, || {
            let text = self.load(BlobKind::Tree, id)?;
            let mut entries = Vec::new();
            for (name, node) in parse::<Located>(&text, id)? {
                let (name, digest) = (name.into_boxed_slice(), node.digest);
                match (node.kind, node.subtree) {
                    (Type::File, _) => {
                        entries
                            .push((name, Held::File { content: node.content.unwrap_or_default(), digest }));
                    }
                    (Type::Dir, Some(below)) => entries.push((name, Held::Directory(below))),
                    _ => {}
                }
            }
            entries.sort_unstable_by(|one, other| one.0.cmp(&other.0));
            Ok(Directory { entries })
        })
    }

    fn blob(&self, id: Id, length: u64) -> Result<Arc<Vec<u8>>> {
        self.blobs.get(id, length, || self.load(BlobKind::Data, id))
    }

    fn load(&self, kind: BlobKind, id: Id) -> Result<Vec<u8>> {
        let what = match kind {
            BlobKind::Data => "the data",
            BlobKind::Tree => "the tree",
        };
        let (pack, place) = self.index.find(kind, id).ok_or(Error::Lost { what, id })?;
        let inner = &*self.repository.0;
        let mut sealed = inner.backend.read_range(pack, place.offset.into(), place.length as usize)?;
        read::open(inner, &mut sealed, id, place)
            .map_err(|detail| Error::damaged(FileKind::Pack, pack, detail))
    }
}

/// Whether there is data anywhere in this stretch of the file.
fn has_data(content: &Content<'_>, from: u64, to: u64) -> bool {
    let Some(segments) = content.segments else { return true };
    let next = segments.partition_point(|(start, length)| start + length <= from);
    segments.get(next).is_some_and(|(start, _)| *start < to)
}

fn foreign(path: &Path, detail: impl std::fmt::Display) -> Error {
    Error::Damaged {
        kind: FileKind::Snapshot,
        id: "and its manifest".into(),
        detail: format!("do not belong together: {} {detail}", path.display()),
    }
}
