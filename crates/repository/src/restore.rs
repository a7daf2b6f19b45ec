//! Brings files back below a target directory: the manifest says what to make, the snapshot's trees where the content lies.
//! Content is fetched in stretches of a few megabytes, by several threads. A blob that is lost or damaged costs the files that
//! have it, and these are named; all others come back.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use backup::{Entry, Hand, Kind, ManifestReader, Options, Progress, Restored, Target, TargetFile};

use crate::brief::Located;
use crate::error::Result;
use crate::id::Id;
use crate::index::{Find, Index, Place};
use crate::lock::Lock;
use crate::pack::BlobKind;
use crate::trees::{Trees, split};
use crate::{Inner, Repository, locked, read};

/// Content that a thread fetches at a time, in bytes.
const UNIT: u64 = 8 << 20;
/// Entries that a thread takes at a time.
const ENTRIES: usize = 256;
/// Stretches of a pack that lie no farther apart are read as one.
const GAP: u64 = 64 << 10;
/// The longest stretch that is read at once.
const STRETCH: u64 = 12 << 20;

/// What to restore, and where.
#[derive(Clone, Debug)]
pub struct Restore<'a> {
    /// The snapshot.
    pub snapshot: Id,
    /// Its manifest, or a part of it.
    pub manifest: &'a Path,
    /// The directory that becomes `/`, with its filesystems mounted in it.
    pub target: &'a Path,
    /// Mount points of filesystems without owners and attributes, as [`backup::Restore::plain`].
    pub plain: Vec<PathBuf>,
    /// Whether what has the name of an entry already is replaced.
    pub replace: bool,
}

/// A stretch of a file's content.
#[derive(Clone, Copy, Debug)]
struct Piece {
    id: Id,
    pack: Id,
    place: Place,
    /// Where it belongs in the file, in bytes.
    at: u64,
}

/// Work for one thread.
enum Unit<'t, 'a> {
    Files(Vec<(Entry, Vec<Piece>)>),
    Part(Arc<Large<'t, 'a>>, Vec<Piece>),
}

/// A file that several threads fill.
struct Large<'t, 'a> {
    file: TargetFile<'t, 'a>,
    left: AtomicUsize,
    broken: AtomicBool,
}

impl Repository {
    /// Restores everything that the manifest names.
    ///
    /// # Errors
    /// There is no such snapshot, its index cannot be read, the target is full, or the run was stopped. Trouble with single
    /// files is listed in [`Restored::problems`] instead.
    pub fn restore(
        &self,
        order: &Restore<'_>,
        options: &Options,
        progress: &dyn Progress,
    ) -> Result<Restored> {
        let _lock = Lock::share(self)?;
        let snapshot = self.snapshot(order.snapshot)?;
        let index = self.index()?;
        let trees = Trees::new(&self.0, snapshot.tree);
        let target = Target::new(order.target, &order.plain, order.replace, options, progress);
        let (units, queue) = sync_channel(2);
        let queue = Mutex::new(queue);
        let hands: Vec<Hand<'_, '_>> =
            (0..options.workers()).map(|_| target.hand()).collect::<std::result::Result<_, _>>()?;
        let feeder = target.hand()?;
        let fed = std::thread::scope(|scope| {
            for hand in hands {
                let worker = Worker { inner: &self.0, target: &target, hand };
                let queue = &queue;
                scope.spawn(move || worker.run(queue));
            }
            // The queue ends with it, and the workers with the queue.
            Feeder { index: &index, trees: &trees, target: &target, hand: feeder, units }.run(order.manifest)
        });
        let (directories, links) = match fed {
            Ok(fed) => fed,
            // The target's own error explains the feeder's.
            Err(error) => return Err(target.failure().map_or(error, Into::into)),
        };
        Ok(target.settle(directories, links, order.manifest)?)
    }
}

/// Reads the manifest, makes the directories, finds the content and hands out the rest.
struct Feeder<'t, 'a> {
    index: &'t Index,
    trees: &'t Trees<'t, Located>,
    target: &'t Target<'a>,
    hand: Hand<'t, 'a>,
    units: SyncSender<Unit<'t, 'a>>,
}

impl<'t, 'a> Feeder<'t, 'a> {
    fn run(mut self, manifest: &Path) -> Result<(Vec<Entry>, u64)> {
        let (mut directories, mut links) = (Vec::new(), 0);
        let (mut files, mut bytes) = (Vec::new(), 0);
        for entry in ManifestReader::open(manifest)? {
            let entry = entry?;
            if self.target.is_stopped() {
                break;
            }
            match entry.kind {
                Kind::Directory => {
                    self.hand.directory(&entry);
                    directories.push(entry);
                    continue;
                }
                Kind::HardLink => {
                    links += 1;
                    continue;
                }
                _ => {}
            }
            let pieces = match self.pieces(&entry) {
                Ok(pieces) => pieces,
                Err(detail) => {
                    self.target.problem(&entry.path, detail);
                    continue;
                }
            };
            let length: u64 = pieces.iter().map(|piece| piece.place.plain_length()).sum();
            if length > UNIT {
                self.large(entry, &pieces);
                continue;
            }
            bytes += length;
            files.push((entry, pieces));
            if bytes >= UNIT || files.len() >= ENTRIES {
                self.send(Unit::Files(std::mem::take(&mut files)));
                bytes = 0;
            }
        }
        self.send(Unit::Files(files));
        Ok((directories, links))
    }

    /// The workers are there until the queue ends.
    fn send(&self, unit: Unit<'t, 'a>) {
        let _ = self.units.send(unit);
    }

    /// Where the content of a file lies, its holes left out; the error is a sentence.
    fn pieces(&self, entry: &Entry) -> std::result::Result<Vec<Piece>, String> {
        if entry.kind != Kind::File || entry.size == 0 {
            return Ok(Vec::new());
        }
        let (parent, name) = split(&entry.path);
        let tree = self.trees.directory(self.index, parent).map_err(|error| error.to_string())?;
        let node = tree.as_ref().and_then(|tree| tree.get(name));
        let content = node.and_then(|node| node.content.as_ref()).ok_or("it is not in the snapshot")?;
        let (mut pieces, mut at) = (Vec::with_capacity(content.len()), 0_u64);
        for id in content {
            let (pack, place) = self.index.find(BlobKind::Data, *id).ok_or_else(|| {
                format!("its content is lost: blob {} is in no pack of the repository", id.short())
            })?;
            let end = at + place.plain_length();
            let is_data = entry.segments.as_ref().is_none_or(|segments| {
                let next = segments.partition_point(|(start, length)| start + length <= at);
                segments.get(next).is_some_and(|(start, _)| *start < end)
            });
            if is_data {
                pieces.push(Piece { id: *id, pack, place, at });
            }
            at = end;
        }
        if at != entry.size {
            return Err(format!("the snapshot has {at} bytes of it, the manifest {}", entry.size));
        }
        Ok(pieces)
    }

    fn large(&mut self, entry: Entry, pieces: &[Piece]) {
        let Some(file) = self.hand.file(entry) else { return };
        let mut parts: Vec<Vec<Piece>> = Vec::new();
        let mut bytes = UNIT;
        for piece in pieces {
            if bytes >= UNIT {
                parts.push(Vec::new());
                bytes = 0;
            }
            bytes += piece.place.plain_length();
            if let Some(part) = parts.last_mut() {
                part.push(*piece);
            }
        }
        let large =
            Arc::new(Large { file, left: AtomicUsize::new(parts.len()), broken: AtomicBool::new(false) });
        for part in parts {
            self.send(Unit::Part(Arc::clone(&large), part));
        }
    }
}

struct Worker<'t, 'a> {
    inner: &'t Inner,
    target: &'t Target<'a>,
    hand: Hand<'t, 'a>,
}

/// Blobs by name; the error is a sentence.
type Blobs = HashMap<Id, std::result::Result<Vec<u8>, String>>;

impl<'t, 'a> Worker<'t, 'a> {
    fn run(mut self, queue: &Mutex<Receiver<Unit<'t, 'a>>>) {
        loop {
            let Ok(unit) = ({ locked(queue).recv() }) else { break };
            // After a failure the queue is only emptied, so that nobody waits.
            if self.target.is_stopped() {
                continue;
            }
            match unit {
                Unit::Files(files) => {
                    let blobs = fetch(self.inner, files.iter().flat_map(|(_, pieces)| pieces));
                    for (entry, pieces) in files {
                        self.entry(entry, &pieces, &blobs);
                    }
                }
                Unit::Part(large, pieces) => {
                    let blobs = fetch(self.inner, pieces.iter());
                    if let Err(detail) = write(&large.file, &pieces, &blobs)
                        && !large.broken.swap(true, Ordering::AcqRel)
                    {
                        self.target.problem(&large.file.entry().path, detail);
                    }
                    if large.left.fetch_sub(1, Ordering::AcqRel) == 1 {
                        large.file.finish();
                    }
                }
            }
        }
    }

    fn entry(&mut self, entry: Entry, pieces: &[Piece], blobs: &Blobs) {
        if entry.kind != Kind::File {
            return self.hand.special(&entry);
        }
        let broken = pieces.iter().find_map(|piece| blobs.get(&piece.id)?.as_ref().err());
        if let Some(detail) = broken {
            return self.target.problem(&entry.path, detail.clone());
        }
        let path = entry.path.clone();
        let Some(file) = self.hand.file(entry) else { return };
        if let Err(detail) = write(&file, pieces, blobs) {
            self.target.problem(&path, detail);
        }
        file.finish();
    }
}

/// Writes what is there; the error is a sentence about the first piece that is not.
fn write(file: &TargetFile<'_, '_>, pieces: &[Piece], blobs: &Blobs) -> std::result::Result<(), String> {
    let mut broken = Ok(());
    for piece in pieces {
        match blobs.get(&piece.id) {
            Some(Ok(data)) => file.write(data, piece.at),
            Some(Err(detail)) if broken.is_ok() => broken = Err(detail.clone()),
            Some(Err(_)) => {}
            None => broken = Err("a part of its content was not fetched".into()),
        }
    }
    broken
}

/// Fetches blobs: neighbours in a pack together.
fn fetch<'p>(inner: &Inner, pieces: impl Iterator<Item = &'p Piece>) -> Blobs {
    let mut wanted: Vec<Piece> = pieces.copied().collect();
    wanted.sort_by_key(|piece| (piece.pack, piece.place.offset));
    wanted.dedup_by_key(|piece| piece.id);
    let mut blobs = Blobs::with_capacity(wanted.len());
    let end = |piece: &Piece| u64::from(piece.place.offset) + u64::from(piece.place.length);
    let mut rest = wanted.as_slice();
    while let Some(first) = rest.first() {
        let start = u64::from(first.place.offset);
        // An index may say that one blob lies inside of another: the last one is not always the one that ends last.
        let mut last = end(first);
        let mut count = 0;
        for piece in rest {
            let further = last.max(end(piece));
            let near = piece.pack == first.pack
                && u64::from(piece.place.offset) <= last + GAP
                && (count == 0 || further - start <= STRETCH);
            if !near {
                break;
            }
            (last, count) = (further, count + 1);
        }
        let (now, later) = rest.split_at(count);
        rest = later;
        let length = usize::try_from(last - start).unwrap_or(usize::MAX);
        let stretch = inner.backend.read_range(first.pack, start, length);
        for piece in now {
            let opened = match &stretch {
                Ok(bytes) => {
                    let from = usize::try_from(u64::from(piece.place.offset) - start).unwrap_or(usize::MAX);
                    let mut sealed = bytes[from..from + piece.place.length as usize].to_vec();
                    read::open(inner, &mut sealed, piece.id, piece.place)
                }
                // One by one: a pack that is cut off costs what it has lost, no more.
                Err(_) => inner
                    .backend
                    .read_range(piece.pack, piece.place.offset.into(), piece.place.length as usize)
                    .map_err(|error| format!("cannot be read: {error}"))
                    .and_then(|mut sealed| read::open(inner, &mut sealed, piece.id, piece.place)),
            };
            let pack = piece.pack;
            let told =
                opened.map_err(|detail| format!("a part of its content is lost: pack {pack} {detail}"));
            blobs.insert(piece.id, told);
        }
    }
    blobs
}
