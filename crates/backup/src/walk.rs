//! Walks the captured filesystems and hands each entry, with its metadata, to a sink. It reads no file content.
//!
//! Order: a directory, then all that is in it and no directory, then its directories; names in byte order. So the
//! same tree gives the same archive, and neighbours share their directory.

use std::collections::{HashMap, HashSet};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;

use crate::create::{Only, Problem, ProblemKind, Source};
use crate::dirs::open_dir;
use crate::entry::{Entry, Kind, PATH_LIMIT};
use crate::exclude::Verdict;
use crate::metadata::{self, Stat, Xattr, Xattrs};
use crate::{Error, Options, machine_path};

/// Directories that are kept open on the way down; above them they are opened again when needed.
const OPEN_LEVELS: usize = 128;

/// Bytes of attributes that a file may have: more would fit neither in a frame nor in a line of the manifest, which have
/// limits so that a damaged one cannot take all memory. XFS and btrfs can hold more.
const MOST_ATTRIBUTES: usize = 16 << 20;

/// Bytes of the longest name, and of the slash before it.
const NAME: usize = 256;

/// How often a file that changes while it is read is read at most.
const READS: usize = 3;

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is in the archive.
    Whole,
    /// Nothing of it could be archived; that was listed.
    Nothing,
    /// It changed meanwhile, and nothing of it is kept.
    Changed,
}

/// Takes what the walk finds.
pub trait Sink {
    /// An entry without content, and how many names it has (1 for a directory).
    ///
    /// # Errors
    /// The run cannot go on.
    fn entry(&mut self, entry: Entry, names: u32) -> Result<(), Error>;
    /// A file with its open descriptor. Where the entry has segments already, these and no others are archived. One that
    /// changes while it is read may be given back only where `again` says that it can be read once more.
    ///
    /// # Errors
    /// The run cannot go on.
    fn file(&mut self, entry: Entry, file: OwnedFd, stat: &Stat, again: bool) -> Result<Taken, Error>;
    /// Something that is missing from the archive, or not as it should be.
    fn problem(&mut self, problem: Problem);
}

/// A directory whose subdirectories are still to be visited.
struct Level {
    path: Vec<u8>,
    fd: Option<OwnedFd>,
    dev: (u32, u32),
    directories: std::vec::IntoIter<Vec<u8>>,
}

/// The part of the machine that alone is archived, as stored paths.
struct Part {
    /// Each with the mount that it lies on.
    paths: Vec<(Vec<u8>, Vec<u8>)>,
    directories: Vec<Vec<u8>>,
    mounts: Vec<Vec<u8>>,
}

impl Part {
    fn new(only: &Only, mounts: &[PathBuf]) -> Self {
        let mounts: Vec<Vec<u8>> = mounts.iter().map(|path| stored_path(path)).collect();
        let paths = only.paths.iter().map(|path| stored_path(path));
        let paths = paths
            .map(|path| (mount_of(&mounts, &path).to_vec(), path))
            .map(|(at, path)| (path, at))
            .collect();
        Self { paths, directories: only.directories.iter().map(|path| stored_path(path)).collect(), mounts }
    }

    /// Whether it is to be archived.
    fn has(&self, path: &[u8]) -> bool {
        let covers = |(one, _): &&(Vec<u8>, Vec<u8>)| is_at_or_below(one, path);
        let mut covering = self.paths.iter().filter(covers).peekable();
        covering.peek().is_some() && {
            let at = mount_of(&self.mounts, path);
            covering.any(|(_, mount)| mount == at)
        }
    }

    /// Whether it is a directory on the way to what is archived.
    fn leads_to(&self, path: &[u8]) -> bool {
        let below = |one: &[u8]| is_at_or_below(path, one);
        self.paths.iter().any(|(one, _)| below(one)) || self.directories.iter().any(|one| below(one))
    }
}

fn is_at_or_below(outer: &[u8], path: &[u8]) -> bool {
    outer == b"." || path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// The mount that a path lies on; the root where none is nearer.
fn mount_of<'m>(mounts: &'m [Vec<u8>], path: &[u8]) -> &'m [u8] {
    let holding = mounts.iter().filter(|mount| *mount != b"." && is_at_or_below(mount, path));
    holding.max_by_key(|mount| mount.len()).map_or(&b"."[..], Vec::as_slice)
}

/// Device and inode number.
type FileId = ((u32, u32), u64);

/// One walk over a source.
pub struct Walk<'a, S> {
    source: &'a Source,
    options: &'a Options,
    sink: &'a mut S,
    root: OwnedFd,
    /// The stored path for which `root` stands: empty for the machine, else the place of a view.
    place: Vec<u8>,
    xattrs: Xattrs,
    /// First name of each file with several names, and how many are still to come.
    links: HashMap<FileId, (Vec<u8>, u32)>,
    mounts: HashSet<Vec<u8>>,
    inner: HashSet<Vec<u8>>,
    skip: HashSet<Vec<u8>>,
    /// What alone is archived.
    only: Option<Part>,
    /// Files without content, by path and by what they are: a view shows them at another path.
    hollow: HashSet<Vec<u8>>,
    hollow_ids: HashSet<FileId>,
    /// Captured mounts that were reached.
    visited: HashSet<Vec<u8>>,
    /// Mount points that were not entered.
    borders: HashSet<Vec<u8>>,
    /// Filesystems without inode flags.
    flagless: HashSet<(u32, u32)>,
    /// For the kernel's directory entries.
    listing: Vec<MaybeUninit<u8>>,
}

/// The stored form of an absolute path of the machine.
pub fn stored_path(path: &Path) -> Vec<u8> {
    let parts: Vec<&[u8]> =
        path.as_os_str().as_bytes().split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { b".".to_vec() } else { parts.join(&b'/') }
}

fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory == b"." {
        return name.to_vec();
    }
    let mut path = Vec::with_capacity(directory.len() + 1 + name.len());
    path.extend_from_slice(directory);
    path.push(b'/');
    path.extend_from_slice(name);
    path
}

fn absolute(path: &[u8]) -> Vec<u8> {
    if path == b"." { b"/".to_vec() } else { [b"/", path].concat() }
}

impl<'a, S: Sink> Walk<'a, S> {
    /// Opens the root.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn new(source: &'a Source, options: &'a Options, sink: &'a mut S) -> Result<Self, Error> {
        let root = open_root(&source.root)?;
        let hollow: HashSet<Vec<u8>> = source.hollow.iter().map(|path| stored_path(path)).collect();
        let ids = hollow.iter().filter_map(|path| metadata::stat_at(&root, path).ok());
        let hollow_ids = ids.map(|stat| (stat.dev, stat.ino)).collect();
        Ok(Self {
            source,
            options,
            sink,
            root,
            place: Vec::new(),
            xattrs: Xattrs::new(),
            links: HashMap::new(),
            mounts: source.mounts.iter().map(|path| stored_path(path)).collect(),
            inner: source.inner.iter().map(|path| stored_path(path)).collect(),
            skip: source.skip_paths.iter().map(|path| stored_path(path)).collect(),
            only: source.only.as_ref().map(|only| Part::new(only, &source.mounts)),
            hollow,
            hollow_ids,
            visited: HashSet::new(),
            borders: HashSet::new(),
            flagless: HashSet::new(),
            listing: vec![MaybeUninit::uninit(); 64 << 10],
        })
    }

    /// Visits everything, the captured mounts below others that are not captured included.
    ///
    /// # Errors
    /// The sink cannot go on, or the run was stopped.
    pub fn run(mut self) -> Result<(), Error> {
        if self.mounts.contains(&b"."[..]) {
            self.tree(b".")?;
        }
        let mut mounts: Vec<_> = self.mounts.iter().cloned().collect();
        mounts.sort();
        let mut parents = HashSet::new();
        for mount in mounts {
            let left_out = self.source.exclude.covers(&absolute(&mount));
            if self.visited.contains(&mount) || left_out || self.is_skipped(&mount) {
                continue;
            }
            self.parents_of(&mount, &mut parents)?;
            self.tree(&mount)?;
        }
        for view in &self.source.views {
            self.root = open_root(&view.root)?;
            self.place = stored_path(&view.at);
            let top = self.place.clone();
            self.tree(&top)?;
        }
        Ok(())
    }

    /// A stored path as it is called below `root`.
    fn below<'p>(&self, path: &'p [u8]) -> &'p [u8] {
        match path.strip_prefix(self.place.as_slice()) {
            _ if self.place.is_empty() => path,
            Some([b'/', rest @ ..]) => rest,
            _ => b".",
        }
    }

    fn is_skipped(&self, path: &[u8]) -> bool {
        (0..path.len())
            .filter(|at| path[*at] == b'/')
            .chain([path.len()])
            .any(|end| self.skip.contains(&path[..end]))
    }

    /// The directories above a mount that the walk has not come through.
    fn parents_of(&mut self, mount: &[u8], done: &mut HashSet<Vec<u8>>) -> Result<(), Error> {
        let seen_root = self.mounts.contains(&b"."[..]);
        for end in (0..mount.len()).filter(|at| mount[*at] == b'/') {
            let parent = &mount[..end];
            let below_border = (0..end)
                .filter(|at| parent[*at] == b'/')
                .any(|at| self.borders.contains(&parent[..at]) || self.visited.contains(&parent[..at]));
            if (seen_root && !below_border) || self.visited.contains(parent) || !done.insert(parent.to_vec())
            {
                continue;
            }
            match metadata::stat_at(&self.root, parent) {
                Ok(stat) => self.sink.entry(stat.entry(parent.to_vec(), Kind::Directory), 1)?,
                Err(error) => self.refused(parent, error),
            }
        }
        Ok(())
    }

    /// One tree, from a mount point down.
    fn tree(&mut self, top: &[u8]) -> Result<(), Error> {
        let mut levels = Vec::new();
        if let Some(level) = self.enter(None, top, top)? {
            levels.push(level);
        }
        while let Some(level) = levels.last_mut() {
            self.options.cancel.check()?;
            let Some(name) = level.directories.next() else {
                levels.pop();
                continue;
            };
            if level.fd.is_none() {
                match open_dir(self.root.as_fd(), self.below(&level.path), OFlags::RDONLY) {
                    Ok(fd) => level.fd = Some(fd),
                    Err(error) => {
                        let path = join(&level.path, &name);
                        self.refused(&path, error);
                        continue;
                    }
                }
            }
            let path = join(&level.path, &name);
            let Some(fd) = level.fd.take() else { continue };
            let parent_dev = level.dev;
            let entered = self.enter(Some((fd.as_fd(), parent_dev)), &name, &path)?;
            level.fd = Some(fd);
            if let Some(next) = entered {
                levels.push(next);
                if let Some(at) = levels.len().checked_sub(OPEN_LEVELS + 1) {
                    levels[at].fd = None;
                }
            }
        }
        Ok(())
    }

    /// A directory: its entry, all in it but directories, and the level that holds these.
    fn enter(
        &mut self,
        parent: Option<(BorrowedFd<'_>, (u32, u32))>,
        name: &[u8],
        path: &[u8],
    ) -> Result<Option<Level>, Error> {
        let verdict = if path == b"." { Verdict::Keep } else { self.source.exclude.verdict(&absolute(path)) };
        if verdict == Verdict::Whole || self.skip.contains(path) {
            return Ok(None);
        }
        if self.only.as_ref().is_some_and(|only| !only.has(path) && !only.leads_to(path)) {
            return Ok(None);
        }
        let stat = match parent {
            Some((parent, _)) => metadata::stat_at(parent, name),
            None => metadata::stat_at(&self.root, self.below(path)),
        };
        let stat = match stat {
            Ok(stat) if stat.kind == Some(Kind::Directory) => stat,
            Ok(_) => {
                self.problem(path, ProblemKind::Changed, "it was replaced while it was read");
                return Ok(None);
            }
            Err(error) => {
                self.refused(path, error);
                return Ok(None);
            }
        };
        if path.len() > PATH_LIMIT - NAME {
            let detail = format!("it lies deeper than a path of {PATH_LIMIT} bytes can tell");
            self.problem(path, ProblemKind::Unreadable, &detail);
            return Ok(None);
        }
        if let Some((_, dev)) = parent {
            // A btrfs subvolume has a device number of its own and is no mount: it is entered.
            let is_mount = stat.mount_root.unwrap_or(stat.dev != dev);
            if is_mount && !self.mounts.contains(path) && !self.inner.contains(path) {
                self.borders.insert(path.to_vec());
                // Not opened: that could wake an automounter, or wait for a dead server for ever.
                self.sink.entry(stat.entry(path.to_vec(), Kind::Directory), 1)?;
                return Ok(None);
            }
        }
        let opened = match parent {
            Some((parent, _)) => open_quietly(parent, name, OFlags::DIRECTORY),
            None => open_dir(self.root.as_fd(), self.below(path), OFlags::RDONLY),
        };
        let fd = match opened {
            Ok(fd) => fd,
            Err(error) => {
                self.sink.entry(stat.entry(path.to_vec(), Kind::Directory), 1)?;
                self.refused(path, error);
                return Ok(None);
            }
        };
        if self.mounts.contains(path) {
            self.visited.insert(path.to_vec());
        }
        let mut entry = stat.entry(path.to_vec(), Kind::Directory);
        self.complete(&mut entry, fd.as_fd(), stat.dev);
        self.sink.entry(entry, 1)?;
        if verdict == Verdict::Content {
            return Ok(None);
        }
        let directories = self.content(fd.as_fd(), path)?;
        Ok(Some(Level {
            path: path.to_vec(),
            fd: Some(fd),
            dev: stat.dev,
            directories: directories.into_iter(),
        }))
    }

    /// Visits all of a directory but its directories, whose names it gives.
    fn content(&mut self, fd: BorrowedFd<'_>, path: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        let (mut directories, mut others) = (Vec::new(), Vec::new());
        let mut listing = std::mem::take(&mut self.listing);
        let mut entries = RawDir::new(fd, &mut listing);
        let mut failed = None;
        while let Some(next) = entries.next() {
            match next {
                Ok(found) => {
                    let name = found.file_name().to_bytes();
                    if name == b"." || name == b".." {
                        continue;
                    }
                    let kind = match found.file_type() {
                        // Some filesystems do not tell.
                        FileType::Unknown => match metadata::stat_at(fd, name).map(|stat| stat.kind) {
                            Ok(Some(Kind::Directory)) => FileType::Directory,
                            Ok(Some(Kind::File)) => FileType::RegularFile,
                            _ => FileType::Unknown,
                        },
                        kind => kind,
                    };
                    if kind == FileType::Directory {
                        directories.push(name.to_vec());
                    } else {
                        others.push((name.to_vec(), kind == FileType::RegularFile));
                    }
                }
                Err(Errno::INTR) => {}
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        self.listing = listing;
        if let Some(error) = failed {
            self.refused(path, error);
        }
        directories.sort_unstable();
        others.sort_unstable();
        for (name, is_file) in others {
            self.options.cancel.check()?;
            let path = join(path, &name);
            if self.only.as_ref().is_some_and(|only| !only.has(&path)) {
                continue;
            }
            let excluded = || self.source.exclude.verdict(&absolute(&path)) != Verdict::Keep;
            if self.skip.contains(&path) || (!self.hollow.contains(&path) && excluded()) {
                continue;
            }
            if is_file {
                self.file(fd, &name, path)?;
            } else {
                self.special(fd, &name, path)?;
            }
        }
        Ok(directories)
    }

    fn file(&mut self, dir: BorrowedFd<'_>, name: &[u8], path: Vec<u8>) -> Result<(), Error> {
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
    fn special(&mut self, dir: BorrowedFd<'_>, name: &[u8], path: Vec<u8>) -> Result<(), Error> {
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
    fn complete(&mut self, entry: &mut Entry, fd: BorrowedFd<'_>, dev: (u32, u32)) {
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

    fn refused(&mut self, path: &[u8], error: Errno) {
        let kind = if error == Errno::NOENT { ProblemKind::Vanished } else { ProblemKind::Unreadable };
        self.problem(path, kind, &std::io::Error::from(error).to_string());
    }

    fn problem(&mut self, path: &[u8], kind: ProblemKind, detail: &str) {
        self.sink.problem(Problem { path: machine_path(path), kind, detail: detail.to_owned() });
    }
}

fn bytes_of(xattrs: &[Xattr]) -> usize {
    xattrs.iter().map(|(name, value)| name.len() + value.len()).sum()
}

fn open_root(path: &Path) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(Error::io(format!("open {}", path.display())))
}

/// Opens for reading without changing the access time, where the owner of the file allows that.
fn open_quietly(dir: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(dir, name, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::openat(dir, name, flags, Mode::empty()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn stored_paths() {
        assert_eq!(stored_path(Path::new("/")), b".");
        assert_eq!(stored_path(Path::new("/boot/efi/")), b"boot/efi");
        assert_eq!(absolute(b"."), b"/");
        assert_eq!(join(b".", b"a"), b"a");
        assert_eq!(join(b"a", b"b"), b"a/b");
    }
}
