//! What the walk finds that is no directory: files, links, devices and pipes, each with its metadata, and the further names of
//! those that have several. It reads no file content, and never enters a directory.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::{Sink, Taken, Walk, open_quietly};
use crate::Error;
use crate::create::ProblemKind;
use crate::entry::{Entry, Kind};
use crate::metadata::{self, Stat, Xattr};

/// Bytes of attributes that a file may have: more would fit neither in a frame nor in a line of the manifest, which have
/// limits so that a damaged one cannot take all memory. XFS and btrfs can hold more.
const MOST_ATTRIBUTES: usize = 16 << 20;

/// How often a file that changes while it is read is read at most.
const READS: usize = 3;

impl<S: Sink> Walk<'_, S> {
    pub(super) fn file(&mut self, dir: BorrowedFd<'_>, name: &[u8], path: Vec<u8>) -> Result<(), Error> {
        let mut left = READS;
        while left > 0 {
            left -= 1;
            if !self.file_once(dir, name, path.clone(), left > 0)? {
                break;
            }
        }
        Ok(())
    }

    /// True when it changed and shall be read again.
    fn file_once(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        path: Vec<u8>,
        again: bool,
    ) -> Result<bool, Error> {
        // Never blocks, should a pipe have taken the file's place.
        let opened =
            open_quietly(dir, name, OFlags::NONBLOCK).and_then(|fd| Ok((metadata::stat_of(&fd)?, fd)));
        let (stat, fd) = match opened {
            Ok((stat, fd)) if stat.kind == Some(Kind::File) => (stat, fd),
            Ok(_) | Err(Errno::LOOP) => {
                self.problem(&path, ProblemKind::Changed, "it was replaced while it was read");
                return Ok(false);
            }
            Err(error) => {
                self.refused(&path, error);
                return Ok(false);
            }
        };
        if self.is_further_name(&stat, &path)? {
            return Ok(false);
        }
        let mut entry = stat.entry(path.clone(), Kind::File);
        self.complete(&mut entry, fd.as_fd(), stat.dev);
        if self.hollow_ids.contains(&(stat.dev, stat.ino)) {
            entry.segments = Some(Vec::new());
        }
        let taken = self.sink.file(entry, fd, &stat, again)?;
        if taken == Taken::Whole {
            self.remember(&stat, path);
        }
        Ok(taken == Taken::Changed)
    }

    /// Anything but a file and a directory.
    pub(super) fn special(&mut self, dir: BorrowedFd<'_>, name: &[u8], path: Vec<u8>) -> Result<(), Error> {
        let stat = match metadata::stat_at(dir, name) {
            Ok(stat) => stat,
            Err(error) => {
                self.refused(&path, error);
                return Ok(());
            }
        };
        let kind = match stat.kind {
            Some(Kind::File | Kind::Directory) => {
                self.problem(&path, ProblemKind::Changed, "it was replaced while it was read");
                return Ok(());
            }
            Some(kind) => kind,
            None => {
                self.problem(
                    &path,
                    ProblemKind::Skipped,
                    "a socket; the program that serves it makes it anew",
                );
                return Ok(());
            }
        };
        if self.is_further_name(&stat, &path)? {
            return Ok(());
        }
        let mut entry = stat.entry(path.clone(), kind);
        let link = match kind {
            Kind::Symlink => rustix::fs::readlinkat(dir, name, Vec::new()).map(std::ffi::CString::into_bytes),
            _ => Ok(Vec::new()),
        };
        let found = link.and_then(|link| {
            entry.link = link;
            self.xattrs.at(&metadata::path_in(dir, name))
        });
        match found {
            Ok(xattrs) if bytes_of(&xattrs) > MOST_ATTRIBUTES => {
                self.too_large(&path);
                return Ok(());
            }
            Ok(xattrs) => entry.xattrs = xattrs,
            Err(error) => {
                self.refused(&path, error);
                return Ok(());
            }
        }
        self.sink.entry(entry, stat.links)?;
        self.remember(&stat, path);
        Ok(())
    }

    /// Emits a hard link when the file was seen under another name.
    fn is_further_name(&mut self, stat: &Stat, path: &[u8]) -> Result<bool, Error> {
        if stat.links < 2 {
            return Ok(false);
        }
        let key = (stat.dev, stat.ino);
        let Some((first, left)) = self.links.get_mut(&key) else { return Ok(false) };
        let mut entry = stat.entry(path.to_vec(), Kind::HardLink);
        entry.link.clone_from(first);
        *left -= 1;
        if *left == 0 {
            self.links.remove(&key);
        }
        self.sink.entry(entry, stat.links)?;
        Ok(true)
    }

    fn remember(&mut self, stat: &Stat, path: Vec<u8>) {
        if stat.links > 1 {
            self.links.insert((stat.dev, stat.ino), (path, stat.links - 1));
        }
    }

    /// Adds what can only be read from the open file.
    pub(super) fn complete(&mut self, entry: &mut Entry, fd: BorrowedFd<'_>, dev: (u32, u32)) {
        match self.xattrs.of(fd) {
            Ok(xattrs) if bytes_of(&xattrs) > MOST_ATTRIBUTES => self.too_large(&entry.path),
            Ok(xattrs) => entry.xattrs = xattrs,
            Err(error) => self.problem(
                &entry.path,
                ProblemKind::Unreadable,
                &format!("its extended attributes cannot be read: {}", std::io::Error::from(error)),
            ),
        }
        if self.flagless.contains(&dev) {
            return;
        }
        match metadata::flags(fd) {
            Ok(Some(flags)) => entry.flags = flags,
            Ok(None) => _ = self.flagless.insert(dev),
            Err(error) => self.problem(
                &entry.path,
                ProblemKind::Unreadable,
                &format!("its inode flags cannot be read: {}", std::io::Error::from(error)),
            ),
        }
    }

    fn too_large(&mut self, path: &[u8]) {
        let detail = format!("its extended attributes are larger than {} MiB", MOST_ATTRIBUTES >> 20);
        self.problem(path, ProblemKind::Unreadable, &detail);
    }
}

fn bytes_of(xattrs: &[Xattr]) -> usize {
    xattrs.iter().map(|(name, value)| name.len() + value.len()).sum()
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;
    use crate::{Options, Problem, Source};

    /// Finds that the file changes, whenever it may.
    #[derive(Default)]
    struct Restless(Vec<(bool, u64)>);

    impl Sink for Restless {
        fn entry(&mut self, _entry: Entry, _names: u32) -> Result<(), Error> {
            Ok(())
        }

        fn file(&mut self, entry: Entry, file: OwnedFd, _: &Stat, again: bool) -> Result<Taken, Error> {
            let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
            std::fs::write(path, vec![1; usize::try_from(entry.size).unwrap() + 1]).unwrap();
            self.0.push((again, entry.size));
            Ok(if again { Taken::Changed } else { Taken::Whole })
        }

        fn problem(&mut self, problem: Problem) {
            panic!("{problem:?}");
        }
    }

    #[test]
    fn a_restless_file_is_looked_at_anew_and_not_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), b"").unwrap();
        let source = Source::whole(dir.path());
        let options =
            Options { codec: crate::Codec::Zstd, level: 1, threads: 1, cancel: sys::Cancel::default() };
        let mut sink = Restless::default();
        Walk::new(&source, &options, &mut sink).unwrap().run().unwrap();
        assert_eq!(sink.0, [(true, 0), (true, 1), (false, 2)]);
    }
}
