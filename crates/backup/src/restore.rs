//! Brings the files of an archive back below a target directory, several frames at a time.
//!
//! The manifest says what to make and where its content lies, so the tar headers are not needed. Nothing outside
//! the target can be reached ([`crate::dirs`]). What cannot be restored exactly is listed by name; the content as
//! such is guarded by the checksum of each frame, and proven by [`compare`](crate::compare()).

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::codec::{Codec, Decompressor};
use crate::dirs::Dirs;
use crate::entry::{Entry, Kind, split};
use crate::format::{self, Frame};
use crate::manifest::Reader;
use crate::pipeline::{Failure, Queue, lock};
use crate::settle::Settle;
use crate::{Error, Options, Progress, Stored, machine_path, metadata, verify, walk};

/// What to restore, and where.
#[derive(Clone, Debug)]
pub struct Restore<'a> {
    /// The archive.
    pub archive: &'a Stored,
    /// Its manifest.
    pub manifest: &'a Path,
    /// The directory that becomes `/`, with its filesystems mounted in it.
    pub target: &'a Path,
    /// Mount points (absolute paths in the machine) of filesystems without owners and attributes (vfat): there only
    /// content, modification time and the read-only attribute of files are restored.
    pub plain: Vec<PathBuf>,
    /// Length in bytes and digest of an archive that has not been verified: then its table of parts is checked before
    /// anything is written, and the hash of each part before it is used.
    pub sealed: Option<(u64, &'a str)>,
    /// Whether what has the name of an entry already is replaced; otherwise it stays, and the entry is listed.
    pub replace: bool,
}

/// A file that is not, or not exactly, restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreProblem {
    /// Its absolute path in the machine.
    pub path: PathBuf,
    /// What went wrong.
    pub detail: String,
}

/// What was restored.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Restored {
    /// Entries of every type.
    pub files: u64,
    /// Content, in bytes, without holes.
    pub bytes: u64,
    /// Everything that went wrong with single files.
    pub problems: Vec<RestoreProblem>,
}

/// Memory for the list of problems, in bytes: some hundred thousand. A disk that fails at every file must not take it all.
pub(crate) const PROBLEM_BYTES: usize = 64 << 20;

/// Work for one thread.
enum Unit {
    /// Entries whose content lies in one frame.
    Files(u64, Vec<Entry>),
    /// One frame of a large file: the file, the frame, where the content begins in it, and how much of the file's
    /// stored content lies in the frames before.
    Part(Arc<Large>, u64, usize, u64),
}

/// A file that several threads fill.
struct Large {
    entry: Entry,
    file: OwnedFd,
    /// Segments as (position in the stored content, offset in the file, length).
    segments: Vec<(u64, u64, u64)>,
    /// Frames that are not done yet.
    left: AtomicUsize,
}

/// Where the content comes from.
struct Frames<'a> {
    archive: &'a Stored,
    codec: Codec,
    frames: Vec<Frame>,
    /// The hashes of the frames, where they are to be checked.
    digests: Vec<[u8; 32]>,
}

/// What all threads share.
pub(crate) struct Shared<'a> {
    pub replace: bool,
    plain: Vec<Vec<u8>>,
    pub problems: Mutex<Vec<RestoreProblem>>,
    /// Bytes that the list of problems may still take, and how many problems are not in it.
    room_for_problems: AtomicUsize,
    more_problems: AtomicUsize,
    /// Files with inode flags, which are set at the very end.
    pub flagged: Mutex<Vec<(Vec<u8>, u32)>>,
    pub failure: Failure,
    pub options: &'a Options,
    pub progress: &'a dyn Progress,
}

impl<'a> Shared<'a> {
    /// Nothing restored yet; `plain` and `replace` as in [`Restore`].
    pub fn new(plain: &[PathBuf], replace: bool, options: &'a Options, progress: &'a dyn Progress) -> Self {
        Self {
            replace,
            plain: plain.iter().map(|path| walk::stored_path(path)).collect(),
            problems: Mutex::default(),
            room_for_problems: AtomicUsize::new(PROBLEM_BYTES),
            more_problems: AtomicUsize::new(0),
            flagged: Mutex::default(),
            failure: Failure::default(),
            options,
            progress,
        }
    }

    /// What was listed, by path.
    pub fn take_problems(&self) -> Vec<RestoreProblem> {
        let mut problems = std::mem::take(&mut *lock(&self.problems));
        problems.sort_by(|one, other| one.path.cmp(&other.path));
        let more = self.more_problems.load(Ordering::Relaxed);
        if more > 0 {
            let detail = format!("{more} more files have problems; there are too many to list");
            problems.push(RestoreProblem { path: PathBuf::from("/"), detail });
        }
        problems
    }

    /// Lists a file. A full target ends the run instead: nothing that follows would fit either.
    pub fn failed(&self, path: &[u8], what: &str, error: Errno) {
        if matches!(error, Errno::NOSPC | Errno::DQUOT) {
            self.failure.set(Error::TargetFull { path: machine_path(path) });
        } else {
            self.problem(path, format!("{what}: {}", std::io::Error::from(error)));
        }
    }

    /// Whether to stop here.
    pub fn check(&self) -> Result<(), Error> {
        self.options.cancel.check()?;
        self.failure.take().map_or(Ok(()), Err)
    }

    /// Whether what is in the way is removed.
    pub fn replaces(&self) -> bool {
        self.replace
    }

    pub fn count_link(&self) {
        self.progress.add(0, 1);
    }

    pub fn problem(&self, path: &[u8], detail: String) {
        let room = self.room_for_problems.fetch_sub(path.len() + detail.len() + 100, Ordering::Relaxed);
        if (1..=PROBLEM_BYTES).contains(&room) {
            lock(&self.problems).push(RestoreProblem { path: machine_path(path), detail });
        } else {
            self.room_for_problems.store(0, Ordering::Relaxed);
            self.more_problems.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes inode flags for the end. An entry that stands in the manifest again and again is kept once.
    pub fn flag(&self, path: &[u8], flags: u32) {
        let mut flagged = lock(&self.flagged);
        flagged.push((path.to_vec(), flags));
        if flagged.len() >= 1 << 20 && flagged.len().is_power_of_two() {
            flagged.sort();
            flagged.dedup();
        }
    }

    pub fn is_plain(&self, path: &[u8]) -> bool {
        is_below(&self.plain, path)
    }
}

/// Whether the path is one of those directories or lies below one.
pub(crate) fn is_below(directories: &[Vec<u8>], path: &[u8]) -> bool {
    directories.iter().any(|directory| {
        path.strip_prefix(directory.as_slice()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    })
}

/// Restores everything that the manifest lists.
///
/// # Errors
/// The archive or manifest cannot be read, the target is full, or the run was stopped. Trouble with single files is
/// listed in [`Restored::problems`] instead.
pub fn restore(restore: &Restore<'_>, options: &Options, progress: &dyn Progress) -> Result<Restored, Error> {
    let (trailer, digests) = match restore.sealed {
        Some((bytes, blake3)) => {
            let mut trailer = verify::index(restore.archive, bytes, blake3)?;
            let digests = std::mem::take(&mut trailer.digests);
            (trailer, digests)
        }
        None => (format::read_trailer(restore.archive)?, Vec::new()),
    };
    let source = Frames { archive: restore.archive, codec: trailer.codec, frames: trailer.frames, digests };
    let shared = Shared::new(&restore.plain, restore.replace, options, progress);
    let open_target =
        || Dirs::new(restore.target).map_err(Error::io(format!("open {}", restore.target.display())));
    let dirs = open_target()?;
    let workers: Vec<_> = (0..options.workers()).map(|_| open_target()).collect::<Result<_, _>>()?;
    // Few, because the entries of a frame are in memory while they wait.
    let (units, receiver) = sync_channel(2);
    let queue = Queue::new(receiver);
    let fed = std::thread::scope(|scope| {
        let (queue, shared, source) = (&queue, &shared, &source);
        for dirs in workers {
            let worker = Worker { shared, source, dirs, stored: Vec::new(), data: Vec::new() };
            scope.spawn(move || worker.run(queue));
        }
        // The queue ends with it, and the workers with the queue.
        Feeder { shared, source, dirs, units }.run(restore.manifest)
    });
    // A worker's error explains the feeder's.
    let settle = match shared.failure.take() {
        Some(error) => return Err(error),
        None => fed?,
    };
    let totals = settle.run(&shared, restore.manifest, open_target()?, open_target()?)?;
    shared.failure.take().map_or(Ok(()), Err)?;
    Ok(Restored { files: totals.files, bytes: totals.bytes, problems: shared.take_problems() })
}

/// Reads the manifest, makes the directories, and hands out the rest frame by frame.
struct Feeder<'a, 'b> {
    shared: &'a Shared<'b>,
    source: &'a Frames<'b>,
    dirs: Dirs,
    units: SyncSender<Unit>,
}

impl Feeder<'_, '_> {
    fn run(mut self, manifest: &Path) -> Result<Settle, Error> {
        let mut settle = Settle::default();
        let mut unit = (0, Vec::new());
        let mut headers = 0;
        let (state, mut made) = (RandomState::new(), HashSet::new());
        let mut reader = Reader::open(manifest)?;
        for entry in &mut reader {
            let entry = entry?;
            self.shared.options.cancel.check()?;
            if self.shared.failure.is_set() {
                return Ok(settle);
            }
            if entry.frame != unit.0 {
                self.send(Unit::Files(unit.0, std::mem::take(&mut unit.1)))?;
                (unit.0, headers) = (entry.frame, 0);
            }
            // They wait in memory, so they must be what the frame can hold.
            headers += entry.header_bytes();
            if headers > u64::from(self.source.frame(entry.frame, manifest)?.size) {
                return Err(Error::manifest(manifest, "it does not belong to this archive"));
            }
            match entry.kind {
                Kind::Directory => {
                    if !made.insert(state.hash_one(&entry.path)) {
                        let path = machine_path(&entry.path);
                        let detail = format!("it lists the directory {} twice", path.display());
                        return Err(Error::manifest(manifest, detail));
                    }
                    if directory(self.shared, &mut self.dirs, &entry) {
                        settle.directories.push(entry);
                    }
                }
                Kind::HardLink => settle.links += 1,
                Kind::File if entry.stored() > self.source.room(&entry, manifest)? => {
                    self.large(entry, manifest)?;
                }
                _ => unit.1.push(entry),
            }
        }
        self.send(Unit::Files(unit.0, unit.1))?;
        settle.totals = reader.totals().unwrap_or_default();
        Ok(settle)
    }

    fn send(&self, unit: Unit) -> Result<(), Error> {
        if matches!(&unit, Unit::Files(_, entries) if entries.is_empty()) {
            return Ok(());
        }
        let gone = |_| Error::Io {
            what: "restore the archive".into(),
            source: std::io::Error::other("a worker thread ended too early"),
        };
        self.units.send(unit).map_err(gone)
    }

    /// Makes a file of several frames, and hands out each frame.
    fn large(&mut self, entry: Entry, manifest: &Path) -> Result<(), Error> {
        // All its parts are there before a file is made of their size.
        let mut parts = Vec::new();
        let (mut at, mut frame, mut start) = (0, entry.frame, u64::from(entry.offset));
        while at < entry.stored() {
            let size = u64::from(self.source.frame(frame, manifest)?.size);
            parts.push((frame, usize::try_from(start).unwrap_or(0), at));
            at += size.saturating_sub(start);
            (frame, start) = (frame + 1, 0);
        }
        self.shared.progress.add(0, 1);
        let made = create_file(&mut self.dirs, &entry, self.shared.replace).and_then(|file| {
            rustix::fs::ftruncate(&file, entry.size)?;
            Ok(file)
        });
        let file = match made {
            Ok(file) => file,
            Err(error) => {
                self.shared.failed(&entry.path, "cannot create the file", error);
                return Ok(());
            }
        };
        let mut position = 0;
        let whole = vec![(0, entry.size)];
        let segments = entry.segments.as_ref().unwrap_or(&whole).iter().map(|(offset, length)| {
            position += length;
            (position - length, *offset, *length)
        });
        let segments = segments.collect();
        let large = Arc::new(Large { segments, file, left: AtomicUsize::new(parts.len()), entry });
        for (frame, start, at) in parts {
            self.send(Unit::Part(Arc::clone(&large), frame, start, at))?;
        }
        Ok(())
    }
}

/// Makes a directory: private until its metadata is set at the very end. False where it is not there then.
pub(crate) fn directory(shared: &Shared<'_>, dirs: &mut Dirs, entry: &Entry) -> bool {
    shared.progress.add(0, 1);
    if entry.path == b"." {
        return true;
    }
    let (parent, name) = split(&entry.path);
    let made = dirs.open(parent).and_then(|dir| {
        match rustix::fs::mkdirat(dir, name, Mode::RWXU) {
            // Mount points and lost+found are there before us.
            Err(Errno::EXIST) if shared.replace => match metadata::stat_at(dir, name)?.kind {
                Some(Kind::Directory) => {
                    reset(dir, name);
                    Ok(())
                }
                _ => {
                    rustix::fs::unlinkat(dir, name, AtFlags::empty())?;
                    rustix::fs::mkdirat(dir, name, Mode::RWXU)
                }
            },
            result => result,
        }
    });
    if let Err(error) = made {
        shared.failed(&entry.path, "cannot create the directory", error);
        return false;
    }
    true
}

/// Opens a new file; with `replace`, in the place of whatever has its name.
pub(crate) fn create_file(dirs: &mut Dirs, entry: &Entry, replace: bool) -> Result<OwnedFd, Errno> {
    let (parent, name) = split(&entry.path);
    let dir = dirs.open(parent)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let make = || rustix::fs::openat(dir, name, flags, Mode::RUSR | Mode::WUSR);
    let file = replacing(make, dir, name, replace)?;
    metadata::set_early_flags(&file, entry.flags);
    Ok(file)
}

/// Takes from a directory of an earlier, cut off restore what its new content would inherit, or what would forbid new
/// content. Where that is refused, what follows fails and is listed.
fn reset(parent: BorrowedFd<'_>, name: &[u8]) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if let Ok(fd) = rustix::fs::openat(parent, name, flags, Mode::empty()) {
        let _ = metadata::set_flags(&fd, 0);
        let _ = rustix::fs::fremovexattr(&fd, "system.posix_acl_default");
    }
}

/// With `replace`, removes what is in the way, once; also a file that an earlier restore has made immutable.
pub(crate) fn replacing<T>(
    make: impl Fn() -> Result<T, Errno>,
    dir: BorrowedFd<'_>,
    name: &[u8],
    replace: bool,
) -> Result<T, Errno> {
    match make() {
        Err(Errno::EXIST) if replace => {
            if rustix::fs::unlinkat(dir, name, AtFlags::empty()) == Err(Errno::PERM) {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                metadata::set_flags(rustix::fs::openat(dir, name, flags, Mode::empty())?, 0)?;
                rustix::fs::unlinkat(dir, name, AtFlags::empty())?;
            }
            make()
        }
        result => result,
    }
}

impl Frames<'_> {
    /// A frame that the manifest speaks of.
    fn frame(&self, number: u64, manifest: &Path) -> Result<Frame, Error> {
        let frame = usize::try_from(number).ok().and_then(|number| self.frames.get(number)).copied();
        frame.ok_or_else(|| Error::manifest(manifest, "it does not belong to this archive"))
    }

    /// Bytes between the beginning of the entry's content and the end of its frame.
    fn room(&self, entry: &Entry, manifest: &Path) -> Result<u64, Error> {
        Ok(u64::from(self.frame(entry.frame, manifest)?.size.saturating_sub(entry.offset)))
    }
}

/// One thread, with the memory for one frame.
struct Worker<'a, 'b> {
    shared: &'a Shared<'b>,
    source: &'a Frames<'b>,
    dirs: Dirs,
    /// The frame as it is stored.
    stored: Vec<u8>,
    /// The frame, decompressed.
    data: Vec<u8>,
}

impl Worker<'_, '_> {
    fn run(mut self, queue: &Queue<Unit>) {
        let mut decompressor = match Decompressor::new(self.source.codec) {
            Ok(decompressor) => Some(decompressor),
            Err(source) => {
                self.shared.failure.set(Error::Io { what: "decompress the archive".into(), source });
                None
            }
        };
        while let Ok(unit) = queue.take() {
            // After a failure the queue is only emptied, so that nobody waits.
            let Some(decompressor) = decompressor.as_mut().filter(|_| !self.shared.failure.is_set()) else {
                continue;
            };
            match unit {
                Unit::Files(frame, entries) => {
                    let needed = entries.iter().any(|entry| entry.stored() > 0);
                    let loaded = if needed { self.load(frame, decompressor) } else { Ok(()) };
                    for entry in entries {
                        self.entry(&entry, &loaded);
                        self.shared.progress.add(entry.stored(), 1);
                    }
                }
                Unit::Part(large, frame, start, at) => {
                    let loaded = self.load(frame, decompressor);
                    self.part(&large, start, at, &loaded);
                }
            }
        }
    }

    /// Reads and decompresses a frame; the error is a sentence.
    fn load(&mut self, number: u64, decompressor: &mut Decompressor) -> Result<(), String> {
        let frame = usize::try_from(number).ok().and_then(|number| self.source.frames.get(number));
        let frame = *frame.ok_or("the archive has no such part")?;
        self.stored.resize(frame.stored as usize, 0);
        let (path, part) = (self.source.archive.path().display(), number + 1);
        let unreadable = |error| format!("part {part} of the archive {path} cannot be read: {error}");
        let damaged = || Err(format!("part {part} of the archive {path} is damaged"));
        self.source.archive.read_exact_at(&mut self.stored, frame.offset).map_err(unreadable)?;
        let wanted = usize::try_from(number).ok().and_then(|number| self.source.digests.get(number));
        if wanted.is_some_and(|wanted| blake3::hash(&self.stored) != *wanted) {
            return damaged();
        }
        match decompressor.decompress(&self.stored, &mut self.data, frame.size as usize) {
            Ok(count) if count == frame.size as usize => Ok(()),
            Ok(_) => damaged(),
            Err(error) => Err(unreadable(error)),
        }
    }

    fn entry(&mut self, entry: &Entry, loaded: &Result<(), String>) {
        if entry.kind != Kind::File {
            return special(self.shared, &mut self.dirs, entry);
        }
        let start = entry.offset as usize;
        let length = usize::try_from(entry.stored()).unwrap_or(usize::MAX);
        let content = match loaded {
            _ if length == 0 => &[][..],
            Err(detail) => return self.shared.problem(&entry.path, detail.clone()),
            Ok(()) => match start.checked_add(length).and_then(|end| self.data.get(start..end)) {
                Some(content) => content,
                None => {
                    let detail = "the manifest does not belong to this archive".into();
                    return self.shared.problem(&entry.path, detail);
                }
            },
        };
        let written = create_file(&mut self.dirs, entry, self.shared.replace).and_then(|file| {
            match &entry.segments {
                None => write_at(&file, content, 0)?,
                Some(segments) => {
                    rustix::fs::ftruncate(&file, entry.size)?;
                    let mut rest = content;
                    for (offset, length) in segments {
                        let (now, later) =
                            rest.split_at(usize::try_from(*length).unwrap_or(0).min(rest.len()));
                        write_at(&file, now, *offset)?;
                        rest = later;
                    }
                }
            }
            Ok(file)
        });
        match written {
            Ok(file) => finish(self.shared, entry, &file),
            Err(error) => self.shared.failed(&entry.path, "cannot write the file", error),
        }
    }

    /// The part of a large file that this frame holds.
    fn part(&mut self, large: &Large, start: usize, at: u64, loaded: &Result<(), String>) {
        let path = &large.entry.path;
        match loaded {
            Err(detail) => self.shared.problem(path, detail.clone()),
            Ok(()) => {
                let data = self.data.get(start..).unwrap_or_default();
                let most = usize::try_from(large.entry.stored() - at).unwrap_or(usize::MAX);
                let data = &data[..data.len().min(most)];
                if let Err(error) = write_stored(large, data, at) {
                    self.shared.failed(path, "cannot write the file", error);
                }
                self.shared.progress.add(data.len() as u64, 0);
            }
        }
        if large.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            finish(self.shared, &large.entry, &large.file);
        }
    }
}

/// Makes a link, a device or a pipe under a name that is free, without its metadata.
pub(crate) fn make_special(dir: BorrowedFd<'_>, name: &[u8], entry: &Entry) -> Result<(), Errno> {
    let file_type = match entry.kind {
        Kind::Symlink => return rustix::fs::symlinkat(entry.link.as_slice(), dir, name),
        Kind::Character => FileType::CharacterDevice,
        Kind::Block => FileType::BlockDevice,
        _ => FileType::Fifo,
    };
    let device = rustix::fs::makedev(entry.device.0, entry.device.1);
    rustix::fs::mknodat(dir, name, file_type, Mode::RUSR | Mode::WUSR, device)
}

/// Makes links, devices and pipes.
pub(crate) fn special(shared: &Shared<'_>, dirs: &mut Dirs, entry: &Entry) {
    let (parent, name) = split(&entry.path);
    let made = dirs.open(parent).and_then(|dir| {
        replacing(|| make_special(dir, name, entry), dir, name, shared.replace)?;
        Ok(if shared.is_plain(&entry.path) { Vec::new() } else { metadata::apply_at(dir, name, entry) })
    });
    match made {
        Ok(failed) => failed.into_iter().for_each(|detail| shared.problem(&entry.path, detail)),
        Err(error) => {
            let what = format!("cannot create the {}", entry.kind.name());
            shared.failed(&entry.path, &what, error);
        }
    }
}

/// Gives a complete file its metadata.
pub(crate) fn finish(shared: &Shared<'_>, entry: &Entry, file: &OwnedFd) {
    if shared.is_plain(&entry.path) {
        if let Err(error) = rustix::fs::futimens(file, &metadata::timestamps(entry.mtime)) {
            shared.failed(&entry.path, "cannot set its time", error);
        }
        if metadata::is_read_only(entry.mode)
            && let Err(error) = metadata::make_read_only(file)
        {
            shared.failed(&entry.path, "cannot make it read-only", error);
        }
        return;
    }
    metadata::apply(file, entry).into_iter().for_each(|detail| shared.problem(&entry.path, detail));
    if entry.flags != 0 {
        shared.flag(&entry.path, entry.flags);
    }
}

/// Writes stored content to where it belongs in the file.
fn write_stored(large: &Large, mut data: &[u8], mut at: u64) -> Result<(), Errno> {
    let first = large.segments.partition_point(|(position, _, length)| position + length <= at);
    for (position, offset, length) in large.segments.iter().skip(first) {
        if data.is_empty() {
            break;
        }
        let within = at - position;
        let (now, later) =
            data.split_at(usize::try_from(length - within).unwrap_or(usize::MAX).min(data.len()));
        write_at(&large.file, now, offset + within)?;
        at += now.len() as u64;
        data = later;
    }
    Ok(())
}

pub(crate) fn write_at(file: &OwnedFd, mut data: &[u8], mut offset: u64) -> Result<(), Errno> {
    while !data.is_empty() {
        match rustix::io::pwrite(file.as_fd(), data, offset) {
            Ok(0) => return Err(Errno::NOSPC),
            Ok(count) => {
                data = &data[count..];
                offset += count as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
