//! Where a target writes: a directory for what is restored, and one beside it in which nothing may ever change. And files in
//! memory, for what is read.

use std::fs::{DirBuilder, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{IFlags, MemfdFlags, Mode, OFlags};

/// A directory with `target` and `outside` in it.
pub struct Place {
    dir: Option<tempfile::TempDir>,
    before: Vec<String>,
}

/// In memory where that is possible: a fuzzer makes thousands in a second.
const MEMORY: &str = "/dev/shm";

impl Place {
    /// Made anew, with nothing in `target`.
    pub fn new() -> Self {
        let base = if Path::new(MEMORY).is_dir() { MEMORY.into() } else { std::env::temp_dir() };
        let dir = tempfile::Builder::new().prefix("rear-fuzz-").tempdir_in(base).unwrap();
        for name in ["target", "outside", "outside/dir"] {
            DirBuilder::new().mode(0o700).create(dir.path().join(name)).unwrap();
        }
        std::fs::write(dir.path().join("outside/secret"), b"secret").unwrap();
        std::os::unix::fs::symlink("secret", dir.path().join("outside/alias")).unwrap();
        let before = facts(dir.path());
        Self { dir: Some(dir), before }
    }

    fn path(&self) -> &Path {
        self.dir.as_ref().unwrap().path()
    }

    /// Where to restore to.
    pub fn target(&self) -> PathBuf {
        self.path().join("target")
    }

    /// Panics where anything beside the target has changed.
    pub fn check(&self) {
        assert_eq!(self.before, facts(self.path()), "something outside of the target has changed");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(dir) = self.dir.take() else { return };
        if std::fs::remove_dir_all(dir.path()).is_err() {
            unlock(dir.path());
            let _ = std::fs::remove_dir_all(dir.path());
        }
    }
}

/// Everything but the content of the target; the time of the last change of an inode tells of any other change.
fn facts(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(path) = pending.pop() {
        let stat = path.symlink_metadata().unwrap();
        if path.ends_with("target") {
            // Its own metadata is restored.
            found.push(format!("{} {}", path.display(), stat.ino()));
            continue;
        }
        let change = (stat.ctime(), stat.ctime_nsec());
        found.push(format!("{} {} {change:?} {}", path.display(), stat.ino(), stat.nlink()));
        if stat.is_dir() {
            let mut below: Vec<_> =
                std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
            below.sort();
            pending.append(&mut below);
        }
    }
    found
}

/// Makes what was restored as immutable, or without any permission, removable again.
fn unlock(path: &Path) {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(stat) = path.symlink_metadata() else { return };
    if !stat.is_dir() && !stat.is_file() {
        return;
    }
    let Ok(file) = rustix::fs::open(path, flags, Mode::empty()) else { return };
    let _ = rustix::fs::ioctl_setflags(&file, IFlags::empty());
    if stat.is_dir() {
        let _ = rustix::fs::fchmod(&file, Mode::RWXU);
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            unlock(&entry.path());
        }
    }
}

/// A file that lies in memory alone, and a path that leads to it while it lives.
pub struct Memory {
    file: File,
    path: PathBuf,
}

impl Memory {
    /// With these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        let mut file: File = rustix::fs::memfd_create("rear-fuzz", MemfdFlags::CLOEXEC).unwrap().into();
        file.write_all(bytes).unwrap();
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        Self { file, path }
    }

    /// To be written from its present end on.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where it is read.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// As an archive or a manifest.
    pub fn stored(&self) -> backup::Stored {
        backup::Stored::open(&self.path).unwrap()
    }
}
