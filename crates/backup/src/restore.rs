//! Brings the files of an archive back below a target directory, several frames at a time.
//!
//! The manifest says what to make and where its content lies, so the tar headers are not needed. Nothing outside
//! the target can be reached ([`crate::dirs`]). What cannot be restored exactly is listed by name; the content as
//! such is guarded by the checksum of each frame, and proven by [`compare`](crate::compare()).

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{SyncSender, sync_channel};

use serde::{Deserialize, Serialize};
use worker::{Frames, Large, Unit, Worker};

use crate::dirs::Dirs;
use crate::entry::{Entry, Kind};
use crate::format;
use crate::manifest::Reader;
use crate::pipeline::Queue;
use crate::settle::Settle;
use crate::{Error, Options, Progress, Stored, machine_path, verify};

mod make;
mod shared;
mod worker;

pub(crate) use make::{create_file, directory, finish, make_special, replacing, special, write_at};
pub(crate) use shared::{PROBLEM_BYTES, Shared, is_below};

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
            let worker = Worker::new(shared, source, dirs);
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
