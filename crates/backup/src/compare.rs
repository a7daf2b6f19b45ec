//! Compares what lies below a directory with a manifest: every entry, all metadata, all content. It changes nothing.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::digest;
use crate::dirs::{Dirs, open_dir};
use crate::entry::{Entry, Kind, split};
use crate::manifest::Reader;
use crate::metadata::{self, Stat, Xattr, Xattrs};
use crate::pipeline::{Failure, Queue, lock};
use crate::restore::is_below;
use crate::{Error, Options, Progress, escape, machine_path, walk};

/// Entries that a worker takes at a time.
const BATCH: usize = 64;
/// Memory for the list of differences, in bytes: some hundred thousand.
const LIST_BYTES: usize = 64 << 20;
/// The earliest and latest time that vfat can store: 1980 and 2107, give or take a time zone.
const VFAT_TIMES: std::ops::RangeInclusive<i64> = 315_446_400..=4_354_905_598;

/// Something that is not as the manifest says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Its absolute path in the machine.
    pub path: PathBuf,
    /// What differs: "content", "missing", "mode 0644 instead of 0600".
    pub what: String,
}

/// The result of a comparison.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Comparison {
    /// Entries that were compared.
    pub files: u64,
    /// Content that was compared, in bytes, without holes.
    pub bytes: u64,
    /// All differences, by path. Empty means equal.
    pub differences: Vec<Difference>,
}

/// Compares every entry of the manifest with what lies below `target`. Below the mount points `plain` (vfat), only
/// type, content, modification time (to two seconds) and the read-only attribute of files are compared.
///
/// Compare before anything else is mounted or changed below the target.
///
/// # Errors
/// The manifest cannot be read, or the run was stopped.
pub fn compare(
    manifest: &Path,
    target: &Path,
    plain: &[PathBuf],
    options: &Options,
    progress: &dyn Progress,
) -> Result<Comparison, Error> {
    let plain: Vec<_> = plain.iter().map(|path| walk::stored_path(path)).collect();
    let open = || Dirs::new(target).map_err(Error::io(format!("open {}", target.display())));
    let workers: Vec<_> =
        (0..options.workers()).map(|_| Ok((open()?, open()?))).collect::<Result<_, Error>>()?;
    let (sender, receiver) = sync_channel::<Vec<Entry>>(8);
    let queue = Queue::new(receiver);
    // The list, the bytes that it may still take, and how many differences are not in it.
    let differences = Mutex::new((Vec::new(), LIST_BYTES, 0_u64));
    let (failure, bytes) = (Failure::default(), AtomicU64::new(0));
    let files = std::thread::scope(|scope| {
        for (dirs, others) in workers {
            let (queue, differences, plain, bytes) = (&queue, &differences, &plain, &bytes);
            let failure = &failure;
            scope.spawn(move || {
                let buffer = vec![0; 256 << 10];
                let mut worker = Worker { dirs, others, plain, xattrs: Xattrs::new(), buffer, options };
                while let Ok(batch) = queue.take() {
                    for entry in batch {
                        if failure.is_set() {
                            break;
                        }
                        let mut found = Vec::new();
                        match worker.entry(&entry, &mut found) {
                            Ok(read) => {
                                bytes.fetch_add(read, Ordering::Relaxed);
                                progress.add(read, 1);
                            }
                            Err(error) => failure.set(error),
                        }
                        let path = machine_path(&entry.path);
                        let mut list = lock(differences);
                        for what in found {
                            let bytes = entry.path.len() + what.len() + 100;
                            if list.1 > bytes {
                                list.1 -= bytes;
                                list.0.push(Difference { path: path.clone(), what });
                            } else {
                                list.2 += 1;
                            }
                        }
                    }
                }
            });
        }
        let sender = sender;
        let mut reader = Reader::open(manifest)?;
        let mut batch = Vec::with_capacity(BATCH);
        let mut files = 0;
        for entry in &mut reader {
            options.cancel.check()?;
            batch.push(entry?);
            files += 1;
            if batch.len() == BATCH {
                let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
                if sender.send(full).is_err() {
                    break;
                }
            }
        }
        // The workers are there until the queue ends.
        let _ = sender.send(batch);
        Ok::<u64, Error>(files)
    })?;
    failure.into_result()?;
    let list = differences.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (mut differences, _, more) = list;
    differences.sort_by(|one, other| one.path.cmp(&other.path));
    if more > 0 {
        let what = format!("{more} more differences; there are too many to list");
        differences.push(Difference { path: PathBuf::from("/"), what });
    }
    Ok(Comparison { files, bytes: bytes.into_inner(), differences })
}

struct Worker<'a> {
    dirs: Dirs,
    others: Dirs,
    plain: &'a [Vec<u8>],
    xattrs: Xattrs,
    buffer: Vec<u8>,
    options: &'a Options,
}

impl Worker<'_> {
    /// Adds all differences; gives the bytes of content read.
    fn entry(&mut self, entry: &Entry, found: &mut Vec<String>) -> Result<u64, Error> {
        let plain = is_below(self.plain, &entry.path);
        match self.look(entry, plain, found) {
            Ok(Some(file)) => self.content(entry, &file, found),
            Ok(None) => Ok(0),
            Err(Errno::NOENT) => {
                found.push("missing".into());
                Ok(0)
            }
            Err(error) => {
                found.push(format!("cannot be read: {}", std::io::Error::from(error)));
                Ok(0)
            }
        }
    }

    /// Compares all but the content; gives the open file when there is content to compare.
    fn look(
        &mut self,
        entry: &Entry,
        plain: bool,
        found: &mut Vec<String>,
    ) -> Result<Option<OwnedFd>, Errno> {
        let (parent, name) = split(&entry.path);
        if entry.kind == Kind::Directory {
            let fd = match open_dir(self.dirs.root(), &entry.path, OFlags::RDONLY) {
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    found.push("not a directory".into());
                    return Ok(None);
                }
                result => result?,
            };
            let stat = metadata::stat_of(&fd)?;
            if !plain {
                metadata_differences(entry, &stat, found);
                self.open_differences(entry, fd.as_fd(), found)?;
            }
            return Ok(None);
        }
        let dir = self.dirs.open(parent)?;
        let stat = metadata::stat_at(dir, name)?;
        if entry.kind == Kind::HardLink {
            let (parent, name) = split(&entry.link);
            let other = self.others.open(parent).and_then(|dir| metadata::stat_at(dir, name));
            if other.is_ok_and(|other| (other.dev, other.ino) != (stat.dev, stat.ino)) {
                found.push(format!("not a hard link to /{}", String::from_utf8_lossy(&entry.link)));
            }
            return Ok(None);
        }
        if stat.kind != Some(entry.kind) {
            let now = stat.kind.map_or("socket", Kind::name);
            found.push(format!("{now} instead of {}", entry.kind.name()));
            return Ok(None);
        }
        if plain {
            let wanted = entry.mtime.0.clamp(*VFAT_TIMES.start(), *VFAT_TIMES.end());
            if entry.kind == Kind::File && stat.mtime.0.abs_diff(wanted) > 2 {
                found.push("modification time".into());
            }
            if entry.kind == Kind::File
                && metadata::is_read_only(entry.mode)
                && !metadata::is_read_only(stat.mode)
            {
                found.push("it can be written, and could not be".into());
            }
        } else {
            metadata_differences(entry, &stat, found);
        }
        if entry.kind == Kind::File {
            let file = open_file(dir, name)?;
            if !plain {
                self.open_differences(entry, file.as_fd(), found)?;
            }
            if stat.size == entry.size {
                return Ok(Some(file));
            }
            found.push(format!("size {} instead of {}", stat.size, entry.size));
            return Ok(None);
        }
        if entry.kind == Kind::Symlink {
            let link = rustix::fs::readlinkat(dir, name, Vec::new())?.into_bytes();
            if link != entry.link {
                let (now, wanted) = (escape::encode(&link), escape::encode(&entry.link));
                found.push(format!("it points to {now} instead of {wanted}"));
            }
        }
        if !plain {
            let now = self.xattrs.at(&metadata::path_in(dir, name))?;
            xattr_differences(&entry.xattrs, &now, found);
        }
        Ok(None)
    }

    fn open_differences(
        &mut self,
        entry: &Entry,
        fd: BorrowedFd<'_>,
        found: &mut Vec<String>,
    ) -> Result<(), Errno> {
        xattr_differences(&entry.xattrs, &self.xattrs.of(fd)?, found);
        let flags = metadata::flags(fd)?.unwrap_or(0);
        if flags != entry.flags {
            found.push(format!("inode flags {flags:#x} instead of {:#x}", entry.flags));
        }
        Ok(())
    }

    fn content(&mut self, entry: &Entry, file: &OwnedFd, found: &mut Vec<String>) -> Result<u64, Error> {
        // Shorter than its size said a moment ago: it has no digest then.
        // Holes count as zeros, whether the manifest knows of them or not: terabytes of nothing are not read.
        let is_sparse = |stat: Stat| stat.blocks.saturating_mul(512) < entry.size;
        let has_holes = entry.segments.is_some() || metadata::stat_of(file).is_ok_and(is_sparse);
        match digest::of_file(file, entry.size, has_holes, &mut self.buffer, &self.options.cancel)? {
            Ok((digest, read)) => {
                if digest != entry.digest {
                    found.push("content".into());
                }
                Ok(read)
            }
            Err(error) => {
                found.push(format!("cannot be read: {}", std::io::Error::from(error)));
                Ok(0)
            }
        }
    }
}

fn open_file(dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::empty())
}

/// Differences that one look from outside shows.
fn metadata_differences(entry: &Entry, stat: &Stat, found: &mut Vec<String>) {
    if stat.mode != entry.mode && entry.kind != Kind::Symlink {
        found.push(format!("mode {:04o} instead of {:04o}", stat.mode, entry.mode));
    }
    if (stat.uid, stat.gid) != (entry.uid, entry.gid) {
        found.push(format!("owner {}:{} instead of {}:{}", stat.uid, stat.gid, entry.uid, entry.gid));
    }
    if stat.mtime != entry.mtime {
        let (now, wanted) = (stat.mtime, entry.mtime);
        found.push(format!(
            "modification time {}.{:09} instead of {}.{:09}",
            now.0, now.1, wanted.0, wanted.1
        ));
    }
    let is_device = matches!(entry.kind, Kind::Character | Kind::Block);
    if is_device && stat.device != entry.device {
        let (now, wanted) = (stat.device, entry.device);
        found.push(format!("device {}:{} instead of {}:{}", now.0, now.1, wanted.0, wanted.1));
    }
}

fn xattr_differences(wanted: &[Xattr], now: &[Xattr], found: &mut Vec<String>) {
    if wanted == now {
        return;
    }
    let value = |list: &[Xattr], name: &[u8]| list.iter().find(|one| one.0 == name).map(|one| one.1.clone());
    for (name, expected) in wanted {
        match value(now, name) {
            None => found.push(format!("attribute {} is missing", escape::encode(name))),
            Some(present) if present != *expected => {
                found.push(format!("attribute {}", escape::encode(name)))
            }
            Some(_) => {}
        }
    }
    for (name, _) in now.iter().filter(|(name, _)| value(wanted, name).is_none()) {
        found.push(format!("additional attribute {}", escape::encode(name)));
    }
}
