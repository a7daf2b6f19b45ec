//! Making and removing files without the classic accidents: nothing world-readable, nothing half-written under
//! its final name, no deletion through a mount or a link.

use std::ffi::CStr;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};

use crate::{Error, Result};

/// Creates a new file that only root can read (mode 0600); it is an error if it exists already.
pub fn create_private(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(Error::io("create", path))
}

/// Creates a directory and its missing parents, each with mode 0700 where it did not exist.
pub fn create_dir_private(path: &Path) -> Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(Error::io("create the directory", path))
}

/// Writes a file under a temporary name beside it, flushes it to the disk and renames it into place: the old
/// content stays until the new one is complete.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let partial = Partial::create(path)?;
    partial.file().write_all(bytes).map_err(Error::io("write", partial.path()))?;
    partial.commit()
}

/// A file being written under a temporary name (`.NAME.partial-PID`); gone when dropped, in place when committed.
#[derive(Debug)]
pub struct Partial {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    done: bool,
}

impl Partial {
    /// Begins the file. A leftover of the same name from a killed run is removed first.
    pub fn create(target: &Path) -> Result<Self> {
        let name = target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let temporary = target.with_file_name(format!(".{name}.partial-{}", std::process::id()));
        let _ = std::fs::remove_file(&temporary);
        let file = create_private(&temporary)?;
        Ok(Self { file, temporary, target: target.to_owned(), done: false })
    }

    /// The open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Its present, temporary path.
    pub fn path(&self) -> &Path {
        &self.temporary
    }

    /// Flushes to the disk and gives the file its name, replacing what was there in one step.
    pub fn commit(mut self) -> Result<()> {
        self.file.sync_all().map_err(Error::io("flush", &self.temporary))?;
        std::fs::rename(&self.temporary, &self.target)
            .map_err(Error::io("rename a finished file to", &self.target))?;
        self.done = true;
        if let Some(parent) = self.target.parent().and_then(|parent| File::open(parent).ok()) {
            // The rename itself must survive a power cut; a filesystem that cannot flush a directory says so
            // with EINVAL, which is no reason to call the finished file bad.
            let _ = parent.sync_all();
        }
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.done {
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// A private directory (mode 0700) for work in progress, removed with its content when dropped.
#[derive(Debug)]
pub struct Staging {
    path: PathBuf,
    keep: bool,
}

impl Staging {
    /// Makes `PARENT/rear.XXXXXXXX`, where the name is random.
    pub fn create(parent: &Path) -> Result<Self> {
        create_dir_private(parent)?;
        let path = parent.join(format!("rear.{}", &crate::info::random_id()?[..12]));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(Error::io("create the directory", &path))?;
        Ok(Self { path, keep: false })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the directory on the disk (debugging).
    pub fn keep(&mut self) {
        self.keep = true;
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = remove_tree(&self.path)
        {
            tracing::warn!("{error}");
        }
    }
}

/// Removes a directory tree by descending through directory descriptors that can neither cross a mount nor
/// follow a link (`openat2` with `RESOLVE_NO_XDEV`). A mount found inside is an error, and what is below it
/// stays.
pub fn remove_tree(path: &Path) -> Result<()> {
    let fail = |error: rustix::io::Errno| Error::io("remove", path)(error.into());
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(fail(rustix::io::Errno::INVAL));
    };
    let parent =
        rustix::fs::open(parent, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(fail)?;
    let name = std::ffi::CString::new(name.as_encoded_bytes()).map_err(|_| fail(rustix::io::Errno::INVAL))?;
    remove_dir_at(parent.as_fd(), &name).map_err(fail)
}

fn open_beneath(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat2(
        parent,
        name,
        OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH,
    )
}

fn remove_dir_at(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<()> {
    let dir = open_beneath(parent, name)?;
    for entry in Dir::read_from(&dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let is_dir = match entry.file_type() {
            FileType::Directory => true,
            FileType::Unknown => {
                let stat = rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(stat.st_mode) == FileType::Directory
            }
            _ => false,
        };
        if is_dir {
            remove_dir_at(dir.as_fd(), name)?;
        } else {
            rustix::fs::unlinkat(&dir, name, AtFlags::empty())?;
        }
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_partial_file_vanishes_and_a_committed_one_replaces() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("x.iso");
        std::fs::write(&target, "old").unwrap();
        drop(Partial::create(&target).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "old");
        write_atomic(&target, b"new").unwrap();
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "new");
        assert_eq!(std::fs::metadata(&target).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn removal_does_not_follow_links() {
        let dir = tempfile::tempdir().unwrap();
        let precious = dir.path().join("precious");
        std::fs::create_dir(&precious).unwrap();
        std::fs::write(precious.join("file"), "keep").unwrap();
        let staging = Staging::create(dir.path()).unwrap();
        std::fs::create_dir_all(staging.path().join("a/b")).unwrap();
        std::os::unix::fs::symlink(&precious, staging.path().join("a/link")).unwrap();
        let path = staging.path().to_owned();
        drop(staging);
        assert!(!path.exists());
        assert_eq!(std::fs::read_to_string(precious.join("file")).unwrap(), "keep");
    }
}
