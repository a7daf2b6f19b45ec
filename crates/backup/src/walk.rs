//! Walks the captured filesystems and hands each entry, with its metadata, to a sink. It reads no file content. Directories are
//! here, what is none in [`leaf`].
//!
//! Order: a directory, then all that is in it and no directory, then its directories; names in byte order. So the
//! same tree gives the same archive, and neighbours share their directory.

use std::collections::{HashMap, HashSet};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use path::{Part, absolute, join};
use rustix::fs::{FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;

use crate::create::{Problem, ProblemKind, Source};
use crate::dirs::open_dir;
use crate::entry::{Entry, Kind, PATH_LIMIT};
use crate::exclude::Verdict;
use crate::metadata::{self, Stat, Xattrs};
use crate::{Error, Options, machine_path};

mod leaf;
mod path;

pub use path::stored_path;

/// Directories that are kept open on the way down; above them they are opened again when needed.
const OPEN_LEVELS: usize = 128;

/// Bytes of the longest name, and of the slash before it.
const NAME: usize = 256;

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

    fn refused(&mut self, path: &[u8], error: Errno) {
        let kind = if error == Errno::NOENT { ProblemKind::Vanished } else { ProblemKind::Unreadable };
        self.problem(path, kind, &std::io::Error::from(error).to_string());
    }

    fn problem(&mut self, path: &[u8], kind: ProblemKind, detail: &str) {
        self.sink.problem(Problem { path: machine_path(path), kind, detail: detail.to_owned() });
    }
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
