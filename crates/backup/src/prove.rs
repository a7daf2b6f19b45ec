//! Proves that an archive holds what its manifest says, no less and no more: every part has its hash, every header is the
//! one that the manifest makes, every content has its digest, and nothing lies between. It goes on after damage, and names
//! the files that it costs; it writes nothing.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use crate::codec::Decompressor;
use crate::digest::{Hashes, PIECE, Pieces, Whole, of_hashes};
use crate::entry::{Entry, Kind};
use crate::format::{Frame, Trailer};
use crate::manifest::Reader;
use crate::pipeline::{Failure, Queue, lock};
use crate::{Error, Options, Progress, Stored, escape, machine_path, pax, verify};

/// More findings than these are only counted.
const LIMIT: usize = 10_000;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file whose content or header is not right, as an absolute path in the machine; `None` for the archive as such.
    pub path: Option<PathBuf>,
    /// What is wrong.
    pub detail: String,
}

/// The result of a proof.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// Entries of the manifest.
    pub files: u64,
    /// Content that was read and has the digest of the manifest, in bytes, without holes.
    pub bytes: u64,
    /// What is wrong, in the order of the archive. Empty means proven.
    pub findings: Vec<Finding>,
    /// Further findings, too many to be kept.
    pub more: u64,
}

/// Reads the whole archive and compares it with its manifest, which the caller has proven to be the one that was written.
/// `expected_bytes` and `expected_blake3` are what [`create`](crate::create()) said of the archive. Progress counts content
/// and entries. Memory does not grow with the size of the archive, but for 40 bytes a part and 64 a part of the largest file.
///
/// # Errors
/// [`Error::Truncated`] or [`Error::Damaged`] when the table of parts is not whole, so that no part can be found;
/// [`Error::Manifest`] for a manifest that cannot be read or belongs to another archive; or the run was stopped.
pub fn prove(
    archive: &Stored,
    manifest: &Stored,
    expected_bytes: u64,
    expected_blake3: &str,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Proof, Error> {
    let trailer = verify::index(archive, expected_bytes, expected_blake3)?;
    let shared = Shared {
        archive,
        trailer: &trailer,
        options,
        progress,
        failure: Failure::default(),
        findings: Mutex::default(),
        more: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
    };
    let (sender, receiver) = sync_channel(2);
    let queue = Queue::new(receiver);
    let fed = std::thread::scope(|scope| {
        let (shared, queue) = (&shared, &queue);
        for _ in 0..options.workers() {
            scope.spawn(move || Worker { shared, stored: Vec::new(), data: Vec::new() }.run(queue));
        }
        // The queue ends with it, and the workers with the queue.
        Feeder { shared, manifest, jobs: sender, frame: 0, headers: 0, pieces: Vec::new() }.run()
    });
    let files = match shared.failure.take() {
        Some(error) => return Err(error),
        None => fed?,
    };
    let mut findings = std::mem::take(&mut *lock(&shared.findings));
    findings.sort_by_key(|(frame, number, _)| (*frame, *number));
    Ok(Proof {
        files,
        bytes: shared.bytes.into_inner(),
        findings: findings.into_iter().map(|(_, _, finding)| finding).collect(),
        more: shared.more.into_inner(),
    })
}

/// What lies in a frame, in its order.
enum Piece {
    /// An entry with all its content.
    Whole(Entry),
    /// A part of a large file: which, and the file's stored content from here to there.
    Part(Arc<Large>, usize, u64, u64),
}

/// One frame and what must lie in it.
struct Job {
    frame: u64,
    pieces: Vec<Piece>,
}

/// A file of several frames.
struct Large {
    entry: Entry,
    /// The hashes of its parts, as they come.
    hashes: Mutex<Vec<Hashes>>,
    /// Parts that are not done yet.
    left: AtomicUsize,
    /// Whether it was named already.
    named: AtomicBool,
}

impl Large {
    /// The hashes of the pieces of content in one part: of the data in it, given, and of the holes around.
    fn part_hashes(&self, from: u64, to: u64, data: &[u8]) -> Hashes {
        let whole = [(0, self.entry.size)];
        let segments = self.entry.segments.as_deref().unwrap_or(&whole);
        let mut pieces = Pieces::new();
        let (mut position, mut at) = (0, None);
        let mut next = self.entry.size;
        for (offset, length) in segments {
            let (start, end) = (position.max(from), (position + length).min(to));
            if start < end {
                let here = offset + (start - position);
                // A part begins where a piece of the digest does.
                let begin = at.unwrap_or(if from == 0 { 0 } else { here / PIECE * PIECE });
                pieces.hole(here - begin);
                let index = |stored: u64| usize::try_from(stored - from).unwrap_or(usize::MAX);
                pieces.data(data.get(index(start)..index(end)).unwrap_or_default());
                at = Some(here + (end - start));
            }
            position += length;
            if position > to {
                // The first data that is not in this part.
                let here = offset + (to.max(position - length) - (position - length));
                next = here / PIECE * PIECE;
                break;
            }
        }
        pieces.hole(next.saturating_sub(at.unwrap_or(next)));
        pieces.finish()
    }
}

/// Reads the manifest and hands out the frames, each once, with what must lie in them.
struct Feeder<'a, 'b> {
    shared: &'a Shared<'b>,
    manifest: &'a Stored,
    jobs: SyncSender<Job>,
    /// The frame that is being described, and the bytes of headers in it so far.
    frame: u64,
    headers: u64,
    pieces: Vec<Piece>,
}

impl Feeder<'_, '_> {
    fn run(mut self) -> Result<u64, Error> {
        let mut reader = Reader::of(self.manifest)?;
        let mut files = 0;
        for entry in &mut reader {
            let entry = entry?;
            files += 1;
            if self.shared.failure.is_set() {
                return Ok(files);
            }
            let size = u64::from(self.frame_at(entry.frame)?.size);
            if entry.frame < self.frame {
                return Err(self.foreign(&entry));
            }
            self.send_until(entry.frame)?;
            // They wait in memory, so they must be what the frame can hold.
            self.headers += entry.header_bytes();
            if self.headers > size {
                return Err(self.foreign(&entry));
            }
            if entry.kind == Kind::File && entry.stored() > size.saturating_sub(u64::from(entry.offset)) {
                self.large(entry)?;
            } else {
                self.pieces.push(Piece::Whole(entry));
            }
        }
        self.send_until(self.shared.trailer.frames.len() as u64)?;
        Ok(files)
    }

    fn frame_at(&self, number: u64) -> Result<Frame, Error> {
        let frame =
            usize::try_from(number).ok().and_then(|number| self.shared.trailer.frames.get(number)).copied();
        frame.ok_or_else(|| Error::manifest(self.manifest.path(), "it does not belong to this archive"))
    }

    fn foreign(&self, entry: &Entry) -> Error {
        let path = machine_path(&entry.path);
        let detail = format!("its entry {} is not in the order of this archive", path.display());
        Error::manifest(self.manifest.path(), detail)
    }

    /// Sends the described frame, and those up to `next` in which nothing is.
    fn send_until(&mut self, next: u64) -> Result<(), Error> {
        while self.frame < next {
            self.shared.options.cancel.check()?;
            let job = Job { frame: self.frame, pieces: std::mem::take(&mut self.pieces) };
            self.jobs.send(job).map_err(|_| Error::Io {
                what: "verify the archive".into(),
                source: std::io::Error::other("a worker thread ended too early"),
            })?;
            (self.frame, self.headers) = (self.frame + 1, 0);
        }
        Ok(())
    }

    fn large(&mut self, entry: Entry) -> Result<(), Error> {
        let (stored, first) = (entry.stored(), entry.frame);
        let mut parts = Vec::new();
        let (mut at, mut frame, mut start) = (0, first, u64::from(entry.offset));
        while at < stored {
            let size = u64::from(self.frame_at(frame)?.size);
            let to = stored.min(at + size.saturating_sub(start));
            if to == at && frame > first {
                return Err(self.foreign(&entry));
            }
            parts.push((at, to));
            (at, frame, start) = (to, frame + 1, 0);
        }
        let large = Arc::new(Large {
            hashes: Mutex::new(vec![Hashes::new(); parts.len()]),
            left: AtomicUsize::new(parts.len()),
            named: AtomicBool::new(false),
            entry,
        });
        for (index, (from, to)) in parts.into_iter().enumerate() {
            self.send_until(first + index as u64)?;
            self.pieces.push(Piece::Part(Arc::clone(&large), index, from, to));
        }
        Ok(())
    }
}

/// What all threads share.
struct Shared<'a> {
    archive: &'a Stored,
    trailer: &'a Trailer,
    options: &'a Options,
    progress: &'a dyn Progress,
    failure: Failure,
    /// With the frame and a number in it.
    findings: Mutex<Vec<(u64, usize, Finding)>>,
    more: AtomicU64,
    bytes: AtomicU64,
}

impl Shared<'_> {
    fn found(&self, frame: u64, path: Option<&[u8]>, detail: String) {
        let mut findings = lock(&self.findings);
        if findings.len() < LIMIT {
            let number = findings.len();
            findings.push((frame, number, Finding { path: path.map(machine_path), detail }));
        } else {
            self.more.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// "part 3 of 10 of the archive (bytes 100 to 200)".
    fn part(&self, number: u64) -> String {
        let frames = &self.trailer.frames;
        let frame = usize::try_from(number).ok().and_then(|number| frames.get(number));
        let (from, to) = frame.map_or((0, 0), |frame| (frame.offset, frame.offset + u64::from(frame.stored)));
        format!("part {} of {} of the archive (bytes {from} to {to})", number + 1, frames.len())
    }
}

/// One thread, with the memory for one frame.
struct Worker<'a, 'b> {
    shared: &'a Shared<'b>,
    stored: Vec<u8>,
    data: Vec<u8>,
}

impl Worker<'_, '_> {
    fn run(mut self, queue: &Queue<Job>) {
        let shared = self.shared;
        queue.decompress(self.shared.trailer.codec, &shared.failure, |job, decompressor| {
            match self.load(job.frame, decompressor) {
                Ok(()) => self.look(&job),
                Err(why) => self.lost(&job, &why),
            }
            for piece in &job.pieces {
                match piece {
                    Piece::Whole(entry) => self.shared.progress.add(entry.stored(), 1),
                    Piece::Part(large, index, from, to) => {
                        self.shared.progress.add(to - from, u64::from(*index == 0));
                        self.finish_part(job.frame, large);
                    }
                }
            }
        });
    }

    /// Reads a frame, compares its hash, and decompresses it; the error says what is wrong with it.
    fn load(&mut self, number: u64, decompressor: &mut Decompressor) -> Result<(), String> {
        let trailer = self.shared.trailer;
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        let (Some(frame), Some(digest)) = (trailer.frames.get(index), trailer.digests.get(index)) else {
            return Err("is not there".into());
        };
        self.stored.resize(frame.stored as usize, 0);
        self.shared.archive.read_exact_at(&mut self.stored, frame.offset).map_err(|error| {
            match error.kind() {
                std::io::ErrorKind::InvalidData => format!("is damaged: {error}"),
                _ => format!("cannot be read: {error}"),
            }
        })?;
        if blake3::hash(&self.stored) != *digest {
            return Err("is damaged: its checksum is not the one that mkbackup wrote".into());
        }
        match decompressor.decompress(&self.stored, &mut self.data, frame.size as usize) {
            Ok(count) if count == frame.size as usize => Ok(()),
            Ok(count) => Err(format!("has {count} bytes instead of {}", frame.size)),
            Err(error) => Err(format!("cannot be decompressed: {error}")),
        }
    }

    /// Names what a damaged frame costs.
    fn lost(&self, job: &Job, why: &str) {
        let part = self.shared.part(job.frame);
        let mut names = Vec::new();
        for piece in &job.pieces {
            match piece {
                Piece::Whole(entry) if entry.stored() > 0 => names.push(entry.path.as_slice()),
                Piece::Whole(_) => {}
                Piece::Part(large, ..) => {
                    if !large.named.swap(true, Ordering::AcqRel) {
                        names.push(large.entry.path.as_slice());
                    }
                }
            }
        }
        let large = job.pieces.iter().find_map(|piece| match piece {
            Piece::Part(large, ..) => Some(machine_path(&large.entry.path)),
            Piece::Whole(_) => None,
        });
        let cost = match large {
            Some(path) => format!("it holds content of {}", escape::encode(path.as_os_str().as_bytes())),
            None if names.is_empty() => "it holds the content of no file".to_owned(),
            None => "the content of the files that follow is lost".to_owned(),
        };
        self.shared.found(job.frame, None, format!("{part} {why}; {cost}"));
        for name in names {
            self.shared.found(job.frame, Some(name), format!("its content lies in {part}, which {why}"));
        }
    }

    /// Compares a whole frame with what must lie in it.
    fn look(&self, job: &Job) {
        let mut at = 0;
        let mut header = Vec::new();
        for piece in &job.pieces {
            match piece {
                Piece::Whole(entry) => {
                    self.header(job.frame, entry, &mut at, &mut header);
                    self.content(job.frame, entry, at);
                    at += usize::try_from(entry.stored()).unwrap_or(usize::MAX / 2);
                    self.padding(job.frame, entry, &mut at);
                }
                Piece::Part(large, index, from, to) => {
                    if *index == 0 {
                        self.header(job.frame, &large.entry, &mut at, &mut header);
                    }
                    let length = usize::try_from(to - from).unwrap_or(usize::MAX / 2);
                    let data = self.data.get(at..at + length).unwrap_or_default();
                    let hashes = large.part_hashes(*from, *to, data);
                    if let Some(place) = lock(&large.hashes).get_mut(*index) {
                        *place = hashes;
                    }
                    at += length;
                    if *to == large.entry.stored() {
                        self.padding(job.frame, &large.entry, &mut at);
                    }
                }
            }
        }
        let is_last = job.frame + 1 == self.shared.trailer.frames.len() as u64;
        let rest = self.data.get(at..).unwrap_or_default();
        let end = if is_last { &pax::END[..] } else { &[] };
        if rest != end {
            let detail = if rest.len() > end.len() {
                format!("{} holds something that the manifest does not list", self.shared.part(job.frame))
            } else {
                format!("{} does not end as an archive does", self.shared.part(job.frame))
            };
            self.shared.found(job.frame, None, detail);
        }
    }

    /// Compares the tar header of an entry, and moves behind it.
    fn header(&self, frame: u64, entry: &Entry, at: &mut usize, header: &mut Vec<u8>) {
        header.clear();
        pax::header(entry, header);
        let end = entry.offset as usize;
        if self.data.get(*at..end) != Some(header.as_slice()) {
            let detail = "its header in the archive is not what the manifest says of it".to_owned();
            self.shared.found(frame, Some(&entry.path), detail);
        }
        *at = end;
    }

    fn content(&self, frame: u64, entry: &Entry, at: usize) {
        if entry.kind != Kind::File {
            return;
        }
        let stored = entry.stored();
        let content =
            usize::try_from(stored).ok().and_then(|length| self.data.get(at..at.checked_add(length)?));
        let Some(mut rest) = content else {
            let detail = format!("its content does not lie in {}", self.shared.part(frame));
            return self.shared.found(frame, Some(&entry.path), detail);
        };
        let whole = [(0, entry.size)];
        let mut pieces = Pieces::new();
        let mut done = 0;
        for (offset, length) in entry.segments.as_deref().unwrap_or(&whole) {
            pieces.hole(offset - done);
            let (now, later) = rest.split_at(usize::try_from(*length).unwrap_or(0).min(rest.len()));
            pieces.data(now);
            (done, rest) = (offset + length, later);
        }
        pieces.hole(entry.size - done);
        self.compare(frame, entry, of_hashes(&pieces.finish()));
    }

    fn compare(&self, frame: u64, entry: &Entry, digest: Option<[u8; 32]>) {
        if digest == entry.digest {
            self.shared.bytes.fetch_add(entry.stored(), Ordering::Relaxed);
        } else {
            let detail = "its content in the archive has not the digest that the manifest says".to_owned();
            self.shared.found(frame, Some(&entry.path), detail);
        }
    }

    /// Content is filled up with zeros.
    fn padding(&self, frame: u64, entry: &Entry, at: &mut usize) {
        let end = *at + pax::padding(entry.stored());
        if self.data.get(*at..end).is_none_or(|zeros| zeros.iter().any(|byte| *byte != 0)) {
            let detail = "what follows its content in the archive is no padding".to_owned();
            self.shared.found(frame, Some(&entry.path), detail);
        }
        *at = end;
    }

    /// After the last part of a large file, whichever that is, its digest is known.
    fn finish_part(&self, frame: u64, large: &Large) {
        if large.left.fetch_sub(1, Ordering::AcqRel) != 1 || large.named.load(Ordering::Acquire) {
            return;
        }
        let mut whole = Whole::new();
        lock(&large.hashes).iter().for_each(|hashes| whole.add(hashes));
        self.compare(frame, &large.entry, whole.finish());
    }
}
