//! Writes an archive and its manifest: one reader, several workers that hash and compress, one writer that puts the
//! frames in order. It never looks at what the files mean.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};

use serde::{Deserialize, Serialize};

use crate::codec::Compressor;
use crate::digest::{self, Hashes, Pieces, Whole};
use crate::entry::{Entry, Kind};
use crate::format::{self, Frame};
use crate::frames::{Framer, Item, Job, Part, Slot};
use crate::manifest::{self, Totals, Writer};
use crate::output::Output;
use crate::pipeline::{Failure, Queue};
use crate::walk::Walk;
use crate::{Error, Exclude, Options, Progress};

/// What is to be archived.
#[derive(Clone, Debug)]
pub struct Source {
    /// Directory that stands for `/` of the machine; `/` itself on a running machine.
    pub root: PathBuf,
    /// Mount points to capture, as absolute paths in the machine. Each is one filesystem (with its btrfs
    /// subvolumes); every other mount point is archived as an empty directory.
    pub mounts: Vec<PathBuf>,
    /// Mount points (absolute paths in the machine) that belong to the filesystem around them and are entered like any directory:
    /// snapshots of nested btrfs subvolumes.
    pub inner: Vec<PathBuf>,
    /// What to leave out.
    pub exclude: Exclude,
    /// Files and directories (absolute paths in the machine) that are left out completely.
    pub skip_paths: Vec<PathBuf>,
    /// Files (absolute paths in the machine, links resolved) of which the archive holds everything but the content:
    /// one hole of their size. They are in the archive even where `exclude` names them.
    pub hollow: Vec<PathBuf>,
    /// What no mount of the machine shows, and is archived all the same.
    pub views: Vec<View>,
    /// Only this is archived, where it is set.
    pub only: Option<Only>,
}

impl Source {
    /// All of one filesystem, from the directory that stands for `/`.
    pub fn whole(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            mounts: vec![PathBuf::from("/")],
            inner: Vec::new(),
            exclude: Exclude::default(),
            skip_paths: Vec::new(),
            hollow: Vec::new(),
            views: Vec::new(),
            only: None,
        }
    }
}

/// The part of a machine that is archived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Only {
    /// Files and directories (absolute paths in the machine), each with all that lies below it on the same mount.
    pub paths: Vec<PathBuf>,
    /// Directories that are archived without their content, so that they are there: mount points.
    pub directories: Vec<PathBuf>,
}

/// A tree that has no place in the machine: the top of a btrfs of which only subvolumes are mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The directory that shows it now.
    pub root: PathBuf,
    /// The place that it has in the archive, as an absolute path in the machine; its parent is in the archive.
    pub at: PathBuf,
}

/// Why a file is named at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// It, or a part of it, could not be read: it is missing from the archive, or has zeros in that part.
    Unreadable,
    /// It changed while it was read: the archive may hold a mixture of two states.
    Changed,
    /// It was listed in its directory and gone when it was to be read.
    Vanished,
    /// It is of a kind that is never archived (a socket).
    Skipped,
}

/// A file that is not, or not exactly, in the archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Its absolute path in the machine.
    pub path: PathBuf,
    /// What happened.
    pub kind: ProblemKind,
    /// What happened, in words.
    pub detail: String,
}

/// What was written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Created {
    /// Length of the archive, in bytes.
    pub archive_bytes: u64,
    /// Content that was archived, in bytes, without holes.
    pub data_bytes: u64,
    /// Entries of every type.
    pub files: u64,
    /// Independent parts of the archive.
    pub frames: u64,
    /// Digest of the archive for [`verify`](crate::verify()), 64 hexadecimal digits (see [`mod@crate::format`]).
    pub archive_blake3: String,
    /// Length of the manifest, in bytes.
    pub manifest_bytes: u64,
    /// Plain BLAKE3 hash of the manifest, 64 hexadecimal digits.
    pub manifest_blake3: String,
    /// Every file that is not, or not exactly, in the archive.
    pub problems: Vec<Problem>,
}

/// A compressed frame, ready to be written.
struct Done {
    frame: u64,
    slot: Slot,
    /// Manifest lines of the entries that the frame holds completely.
    lines: Vec<u8>,
    totals: Totals,
    /// Hashes of a part of a large file, with its entry when it is the last.
    large: Option<(Hashes, Option<Box<Entry>>)>,
    digest: [u8; 32],
}

/// What the writer knows at the end.
struct Written<'a> {
    frames: Vec<Frame>,
    digests: Vec<[u8; 32]>,
    offset: u64,
    manifest: Writer<'a>,
}

/// Archives the source into two new, open files, and flushes them to the disk.
///
/// Trouble with single files does not end the run: it is listed in [`Created::problems`].
///
/// # Errors
/// The destination is full ([`Error::NoSpace`]) or fails, the root cannot be opened, or the run was stopped. What
/// was written until then is no archive and must be deleted.
pub fn create(
    source: &Source,
    archive: &File,
    manifest: &File,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Created, Error> {
    let (mut archive, mut manifest) = (archive, manifest);
    create_into(source, &mut archive, &mut manifest, options, progress)
}

/// The same, wherever archive and manifest go. Lengths and hashes are of what was handed over, also where an output
/// writes something else for it: what [`Volumes`](crate::Volumes) have written they say themselves.
///
/// # Errors
/// As [`create`].
pub fn create_into(
    source: &Source,
    archive: &mut dyn Output,
    manifest: &mut dyn Output,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Created, Error> {
    let manifest_writer = Writer::into(&mut *manifest)?;
    let failure = Failure::default();
    let (free_sender, free) = channel();
    for _ in 0..options.workers() * 2 + 1 {
        // The receiver is right here.
        let _ = free_sender.send(Slot::default());
    }
    let (jobs, job_receiver) = channel();
    let queue = Queue::new(job_receiver);
    let (done, done_receiver) = channel();
    let (read, written) = std::thread::scope(|scope| {
        for _ in 0..options.workers() {
            let (queue, done) = (&queue, done.clone());
            scope.spawn(move || work(queue, &done, options));
        }
        drop(done);
        let (failure, archive) = (&failure, &mut *archive);
        let writer = scope.spawn(move || {
            // Moved in, so that the other threads see its end as the end of their channels.
            let (done, free) = (done_receiver, free_sender);
            write(&done, &free, archive, manifest_writer, progress).map_err(|error| failure.set(error)).ok()
        });
        let read = (|| {
            let mut framer = Framer::new(&options.cancel, free, jobs)?;
            Walk::new(source, options, &mut framer)?.run()?;
            framer.finish()
        })();
        (read, writer.join().ok().flatten())
    });
    // The writer's error explains the reader's.
    failure.into_result()?;
    let (frames, problems) = read?;
    let incomplete = || Error::Io {
        what: "write the archive".into(),
        source: std::io::Error::other("a worker thread ended too early"),
    };
    let Written { frames: table, digests, offset, manifest: lines } =
        written.filter(|written| written.frames.len() as u64 == frames).ok_or_else(incomplete)?;
    let trailer = format::trailer(options.codec, &table, &digests)?;
    archive.write_all(&trailer).map_err(Error::writing("the archive"))?;
    let (manifest_bytes, manifest_blake3, totals) = lines.finish()?;
    archive.close().map_err(Error::writing("the archive"))?;
    manifest.close().map_err(Error::writing("the manifest"))?;
    let trailer_digest = *blake3::hash(&trailer).as_bytes();
    Ok(Created {
        archive_bytes: offset + trailer.len() as u64,
        data_bytes: totals.bytes,
        files: totals.files,
        frames,
        archive_blake3: format::hex(&format::archive_digest(&digests, &trailer_digest)),
        manifest_bytes,
        manifest_blake3,
        problems,
    })
}

/// A worker: hashes, describes and compresses frames until there are no more.
fn work(queue: &Queue<Job>, done: &Sender<Result<Done, Error>>, options: &Options) {
    let fail = || Error::io::<std::io::Error>("compress the archive");
    let mut compressor = match Compressor::new(options.codec, options.level) {
        Ok(compressor) => compressor,
        Err(error) => {
            let _ = done.send(Err(fail()(error)));
            return;
        }
    };
    while let Ok(job) = queue.take() {
        let result = finish_frame(job, &mut compressor).map_err(fail());
        if done.send(result).is_err() {
            return;
        }
    }
}

fn finish_frame(job: Job, compressor: &mut Compressor) -> std::io::Result<Done> {
    let Job { frame, mut slot } = job;
    let (mut lines, mut totals, mut large) = (Vec::new(), Totals::default(), None);
    let items = std::mem::take(&mut slot.items);
    for item in items {
        match item {
            Item::Whole(mut entry, part) => {
                if entry.kind == Kind::File {
                    entry.digest = digest::of_hashes(&hashes(&part, slot.bytes()));
                }
                totals.files += 1;
                totals.bytes += entry.stored();
                manifest::write_line(&entry, &mut lines)?;
            }
            Item::Large(part, entry) => {
                totals.files += u64::from(entry.is_some());
                totals.bytes += part.segments.iter().map(|(_, length)| length).sum::<u64>();
                large = Some((hashes(&part, slot.bytes()), entry));
            }
        }
    }
    let mut out = std::mem::take(&mut slot.out);
    compressor.compress(slot.bytes(), &mut out)?;
    let digest = *blake3::hash(&out).as_bytes();
    slot.out = out;
    Ok(Done { frame, slot, lines, totals, large, digest })
}

/// The hashes of a stretch of content that lies in the frame.
fn hashes(part: &Part, frame: &[u8]) -> Hashes {
    let mut pieces = Pieces::new();
    let (mut at, mut start) = (part.from, part.start);
    for (offset, length) in &part.segments {
        pieces.hole(offset - at);
        let end = start + usize::try_from(*length).unwrap_or(0);
        pieces.data(&frame[start..end]);
        (at, start) = (offset + length, end);
    }
    pieces.hole(part.to - at);
    pieces.finish()
}

/// The writer: puts the frames in their order into the file, and their entries into the manifest.
fn write<'a>(
    done: &Receiver<Result<Done, Error>>,
    free: &Sender<Slot>,
    archive: &mut dyn Output,
    mut manifest: Writer<'a>,
    progress: &dyn Progress,
) -> Result<Written<'a>, Error> {
    let (mut frames, mut digests, mut offset) = (Vec::new(), Vec::new(), 0);
    let mut waiting = BTreeMap::new();
    let mut whole = Whole::new();
    while let Ok(next) = done.recv() {
        let next = next?;
        waiting.insert(next.frame, next);
        while let Some(mut now) = waiting.remove(&(frames.len() as u64)) {
            archive.write_all(&now.slot.out).map_err(Error::writing("the archive"))?;
            let length = |bytes: usize| u32::try_from(bytes).map_err(|_| too_large());
            let (stored, size) = (length(now.slot.out.len())?, length(now.slot.bytes().len())?);
            frames.push(Frame { offset, stored, size });
            digests.push(now.digest);
            offset += u64::from(stored);
            if let Some((hashes, entry)) = now.large.take() {
                whole.add(&hashes);
                if let Some(mut entry) = entry {
                    entry.digest = std::mem::take(&mut whole).finish();
                    manifest::write_line(&entry, &mut now.lines)
                        .map_err(|error| Error::writing("the manifest")(error.into()))?;
                }
            }
            manifest.append(&now.lines, now.totals)?;
            progress.add(now.totals.bytes, now.totals.files);
            now.slot.clear();
            // At the end nobody takes free slots any more.
            let _ = free.send(now.slot);
        }
    }
    Ok(Written { frames, digests, offset, manifest })
}

fn too_large() -> Error {
    Error::Io { what: "write the archive".into(), source: std::io::Error::other("a frame is too large") }
}
