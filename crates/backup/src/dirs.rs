//! Opens directories below a root that nothing in an archive can lead out of.
//!
//! Neither symbolic links nor `..` are followed (`openat2(2)` with `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`; on
//! kernels before 5.6 component by component). Mounts below the root are entered.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Below the kernel's limit for the length of a path in one call.
const PATH_LIMIT: usize = 4000;

/// The directory `path` (as stored: `.` or `a/b`) below `root`; `flags` say how it is opened.
pub fn open_dir(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut held: Option<OwnedFd> = None;
    let mut rest = path;
    while rest.len() > PATH_LIMIT {
        let Some(cut) = rest[..PATH_LIMIT].iter().rposition(|byte| *byte == b'/') else {
            return Err(Errno::NAMETOOLONG);
        };
        let next = {
            let base = held.as_ref().map_or(root, |fd| fd.as_fd());
            open_beneath(
                base,
                &rest[..cut],
                OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            )?
        };
        held = Some(next);
        rest = &rest[cut + 1..];
    }
    open_beneath(held.as_ref().map_or(root, |fd| fd.as_fd()), rest, flags)
}

fn open_beneath(base: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    loop {
        match rustix::fs::openat2(base, path, flags, Mode::empty(), resolve) {
            // A rename elsewhere on the machine disturbed the resolution; the kernel asks to try again.
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(Errno::NOSYS) => return open_by_component(base, path, flags),
            result => return result,
        }
    }
}

fn open_by_component(base: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let parts: Vec<_> = path.split(|byte| *byte == b'/').collect();
    let mut held: Option<OwnedFd> = None;
    for (index, part) in parts.iter().enumerate() {
        if *part == b".." {
            return Err(Errno::XDEV);
        }
        let how = if index + 1 == parts.len() { flags } else { step };
        let next = {
            let base = held.as_ref().map_or(base, |fd| fd.as_fd());
            rustix::fs::openat(base, *part, how, Mode::empty())?
        };
        held = Some(next);
    }
    held.ok_or(Errno::NOENT)
}

/// A root with the directory that was opened last: neighbours in an archive mostly share theirs.
pub struct Dirs {
    root: OwnedFd,
    last: Option<(Vec<u8>, OwnedFd)>,
}

impl Dirs {
    /// Opens the root itself; here links are followed, for it comes from the operator.
    pub fn new(root: &Path) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { root: rustix::fs::open(root, flags, Mode::empty())?, last: None })
    }

    /// The root.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The directory at that stored path, good for calls relative to it.
    pub fn open(&mut self, path: &[u8]) -> Result<BorrowedFd<'_>, Errno> {
        if path == b"." {
            return Ok(self.root.as_fd());
        }
        if self.last.as_ref().is_none_or(|(last, _)| last != path) {
            self.last = None;
            let fd = open_dir(self.root.as_fd(), path, OFlags::PATH)?;
            self.last = Some((path.to_vec(), fd));
        }
        self.last.as_ref().map(|(_, fd)| fd.as_fd()).ok_or(Errno::NOENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_do_not_lead_out() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::os::unix::fs::symlink("..", root.join("up")).unwrap();
        std::os::unix::fs::symlink("a", root.join("alias")).unwrap();
        let mut dirs = Dirs::new(&root).unwrap();
        assert!(dirs.open(b"a/b").is_ok());
        assert!(dirs.open(b".").is_ok());
        for path in [&b"up"[..], b"alias", b"alias/b", b"..", b"a/../..", b"none"] {
            assert!(dirs.open(path).is_err(), "{path:?}");
            let by_hand = open_by_component(dirs.root(), path, OFlags::DIRECTORY | OFlags::NOFOLLOW);
            assert!(by_hand.is_err(), "{path:?}");
        }
        assert!(open_by_component(dirs.root(), b"a/b", OFlags::DIRECTORY | OFlags::NOFOLLOW).is_ok());
    }
}
