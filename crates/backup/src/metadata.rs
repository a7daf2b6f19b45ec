//! Reads and writes what a file has besides its content: owner, mode, times, attributes, flags.
//!
//! It decides nothing: each function is one or two system calls with the kernel's answer.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, IFlags, Mode, OFlags, StatxAttributes, StatxFlags, Timespec, Timestamps, XattrFlags,
};
use rustix::io::Errno;

use crate::entry::{Entry, Kind};

/// The inode flags that a program may set (`FS_FL_USER_MODIFIABLE` of the kernel without those that describe how
/// the filesystem stores the file); others, like "uses extents", are the filesystem's own business.
const SETTABLE: u32 = 0x2283_C4FF;
/// Flags that only take effect on an empty file: no copy on write, compression.
const EARLY: u32 = 0x0080_0004;
/// `UTIME_OMIT`: leave that time alone.
const OMIT: i64 = (1 << 30) - 2;

/// What `statx(2)` tells.
#[derive(Clone, Debug)]
pub struct Stat {
    /// `None` for a socket (and for what is unknown to us).
    pub kind: Option<Kind>,
    /// Major and minor number of the filesystem.
    pub dev: (u32, u32),
    /// Inode number.
    pub ino: u64,
    /// Number of names.
    pub links: u32,
    /// Permission bits (`0o7777`).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes.
    pub size: u64,
    /// Allocated blocks of 512 bytes.
    pub blocks: u64,
    /// Last modification: seconds since 1970 and nanoseconds.
    pub mtime: (i64, u32),
    /// Last change of content or metadata, likewise.
    pub ctime: (i64, u32),
    /// Major and minor number of a device node.
    pub device: (u32, u32),
    /// Whether it is the root of a mount; `None` before kernel 5.8.
    pub mount_root: Option<bool>,
}

/// Of the file `name` in `dir`, without following a link and without waking an automounter.
pub fn stat_at<Fd: AsFd>(dir: Fd, name: &[u8]) -> Result<Stat, Errno> {
    statx(dir, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT)
}

/// Of an open file.
pub fn stat_of<Fd: AsFd>(fd: Fd) -> Result<Stat, Errno> {
    statx(fd, b"", AtFlags::EMPTY_PATH)
}

fn statx<Fd: AsFd>(dir: Fd, name: &[u8], flags: AtFlags) -> Result<Stat, Errno> {
    let found = rustix::fs::statx(dir, name, flags, StatxFlags::BASIC_STATS)?;
    let kind = match FileType::from_raw_mode(found.stx_mode.into()) {
        FileType::RegularFile => Some(Kind::File),
        FileType::Directory => Some(Kind::Directory),
        FileType::Symlink => Some(Kind::Symlink),
        FileType::Fifo => Some(Kind::Fifo),
        FileType::CharacterDevice => Some(Kind::Character),
        FileType::BlockDevice => Some(Kind::Block),
        _ => None,
    };
    let known = found.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT);
    Ok(Stat {
        kind,
        dev: (found.stx_dev_major, found.stx_dev_minor),
        ino: found.stx_ino,
        links: found.stx_nlink,
        mode: u32::from(found.stx_mode) & 0o7777,
        uid: found.stx_uid,
        gid: found.stx_gid,
        size: found.stx_size,
        blocks: found.stx_blocks,
        mtime: (found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec),
        ctime: (found.stx_ctime.tv_sec, found.stx_ctime.tv_nsec),
        device: (found.stx_rdev_major, found.stx_rdev_minor),
        mount_root: known.then(|| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)),
    })
}

impl Stat {
    /// Of an open file.
    ///
    /// # Errors
    /// What `statx(2)` says.
    pub fn of<Fd: AsFd>(fd: Fd) -> Result<Self, Errno> {
        stat_of(fd)
    }

    /// The entry that it makes at that path.
    pub fn entry(&self, path: Vec<u8>, kind: Kind) -> Entry {
        let mut entry = Entry::new(path, kind);
        (entry.mode, entry.uid, entry.gid, entry.mtime) = (self.mode, self.uid, self.gid, self.mtime);
        match kind {
            Kind::File => entry.size = self.size,
            Kind::Character | Kind::Block => entry.device = self.device,
            _ => {}
        }
        entry
    }

    /// Whether the content may have changed between the two looks.
    pub fn differs(&self, later: &Self) -> bool {
        (self.size, self.mtime, self.ctime) != (later.size, later.mtime, later.ctime)
    }
}

/// Reads extended attributes into memory that is used again for each file.
pub struct Xattrs {
    names: Vec<u8>,
    value: Vec<u8>,
}

/// Name and value.
pub type Xattr = (Vec<u8>, Vec<u8>);

impl Xattrs {
    /// The kernel's limits for a list and for a value are 64 KiB each.
    pub fn new() -> Self {
        Self { names: vec![0; 65536], value: vec![0; 65536] }
    }

    /// Of an open file or directory, sorted by name.
    pub fn of<Fd: AsFd>(&mut self, fd: Fd) -> Result<Vec<Xattr>, Errno> {
        let length = rustix::fs::flistxattr(&fd, &mut self.names[..]);
        self.collect(length, |name, value| rustix::fs::fgetxattr(&fd, name, value))
    }

    /// Of a path whose last component is not followed.
    pub fn at(&mut self, path: &Path) -> Result<Vec<Xattr>, Errno> {
        let length = rustix::fs::llistxattr(path, &mut self.names[..]);
        self.collect(length, |name, value| rustix::fs::lgetxattr(path, name, value))
    }

    fn collect(
        &mut self,
        length: Result<usize, Errno>,
        get: impl Fn(&[u8], &mut [u8]) -> Result<usize, Errno>,
    ) -> Result<Vec<Xattr>, Errno> {
        let length = match length {
            Ok(length) => length,
            Err(Errno::OPNOTSUPP) => 0,
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for name in self.names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            match get(name, &mut self.value) {
                Ok(length) => found.push((name.to_vec(), self.value[..length].to_vec())),
                // Removed meanwhile.
                Err(Errno::NODATA) => {}
                Err(error) => return Err(error),
            }
        }
        found.sort();
        Ok(found)
    }
}

/// The path of `name` in an open directory for the calls that have no form relative to a directory.
pub fn path_in(dir: BorrowedFd<'_>, name: &[u8]) -> PathBuf {
    use std::os::fd::AsRawFd;
    let mut path = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd()));
    path.push(std::ffi::OsStr::from_bytes(name));
    path
}

/// The inode flags that can be set again; `None` where the filesystem has none.
pub fn flags<Fd: AsFd>(fd: Fd) -> Result<Option<u32>, Errno> {
    match rustix::fs::ioctl_getflags(fd) {
        Ok(flags) => Ok(Some(flags.bits() & SETTABLE)),
        Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sets the flags that must be set while a file is empty. They change how it is stored, not what it is, so a
/// filesystem that refuses is not asked again; the comparison tells.
pub fn set_early_flags<Fd: AsFd>(fd: Fd, flags: u32) {
    if flags & EARLY != 0 {
        let _ = change_flags(fd, flags & EARLY, EARLY);
    }
}

/// Sets all flags; the file may be unchangeable afterwards.
pub fn set_flags<Fd: AsFd>(fd: Fd, flags: u32) -> Result<(), Errno> {
    change_flags(fd, flags, SETTABLE)
}

fn change_flags<Fd: AsFd>(fd: Fd, flags: u32, mask: u32) -> Result<(), Errno> {
    let present = rustix::fs::ioctl_getflags(&fd)?.bits();
    let wanted = (present & !mask) | (flags & mask);
    if wanted == present { Ok(()) } else { rustix::fs::ioctl_setflags(fd, IFlags::from_bits_retain(wanted)) }
}

/// Whether nobody may write it: all that filesystems without owners have of permissions.
pub fn is_read_only(mode: u32) -> bool {
    mode & 0o222 == 0
}

/// Takes the write permissions away that the file has.
pub fn make_read_only<Fd: AsFd>(fd: Fd) -> Result<(), Errno> {
    let mode = stat_of(&fd)?.mode;
    if is_read_only(mode) {
        return Ok(());
    }
    rustix::fs::fchmod(fd, Mode::from_raw_mode(mode & !0o222))
}

/// Modification time for the calls; the access time is left alone.
pub fn timestamps(mtime: (i64, u32)) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: OMIT },
        last_modification: Timespec { tv_sec: mtime.0, tv_nsec: mtime.1.into() },
    }
}

/// Gives an open file or directory its metadata, in the order that works: a change of owner takes set-user-id bits
/// and capabilities away, so it comes first; times come last. The first failure is told with its step.
pub fn apply<Fd: AsFd>(fd: Fd, entry: &Entry) -> Vec<String> {
    let mut failed = Vec::new();
    let mut note = |what: &str, result: Result<(), Errno>| {
        if let Err(error) = result {
            failed.push(format!("cannot set {what}: {}", std::io::Error::from(error)));
        }
    };
    note("its owner", rustix::fs::fchown(&fd, Some(uid(entry.uid)), Some(gid(entry.gid))));
    note("its mode", rustix::fs::fchmod(&fd, Mode::from_raw_mode(entry.mode)));
    for (name, value) in &entry.xattrs {
        let label = format!("the attribute {}", crate::escape::encode(name));
        note(&label, rustix::fs::fsetxattr(&fd, name.as_slice(), value, XattrFlags::empty()));
    }
    note("its time", rustix::fs::futimens(&fd, &timestamps(entry.mtime)));
    failed
}

/// The same for what cannot be opened without effect: links, devices, pipes.
pub fn apply_at(dir: BorrowedFd<'_>, name: &[u8], entry: &Entry) -> Vec<String> {
    let mut failed = Vec::new();
    let mut note = |what: &str, result: Result<(), Errno>| {
        if let Err(error) = result {
            failed.push(format!("cannot set {what}: {}", std::io::Error::from(error)));
        }
    };
    let owner = (Some(uid(entry.uid)), Some(gid(entry.gid)));
    note("its owner", rustix::fs::chownat(dir, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW));
    if entry.kind != Kind::Symlink {
        let mode = Mode::from_raw_mode(entry.mode);
        note("its mode", change_mode(dir, name, mode));
    }
    for (key, value) in &entry.xattrs {
        let label = format!("the attribute {}", crate::escape::encode(key));
        let path = path_in(dir, name);
        note(&label, rustix::fs::lsetxattr(&path, key.as_slice(), value, XattrFlags::empty()));
    }
    let times = timestamps(entry.mtime);
    note("its time", rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW));
    failed
}

/// Changes the mode of what has that name, and never of what a link there points to: `fchmodat(2)` follows links, and its
/// form that does not is younger (6.6) than the kernels that we run on.
fn change_mode(dir: BorrowedFd<'_>, name: &[u8], mode: Mode) -> Result<(), Errno> {
    let file =
        rustix::fs::openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    if stat_of(&file)?.kind == Some(Kind::Symlink) {
        return Err(Errno::LOOP);
    }
    // The descriptor stands for the very file that was looked at.
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    rustix::fs::chmod(path, mode)
}

fn uid(id: u32) -> rustix::fs::Uid {
    rustix::fs::Uid::from_raw(id)
}

fn gid(id: u32) -> rustix::fs::Gid {
    rustix::fs::Gid::from_raw(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_has_become_a_link_leads_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        std::fs::write(&file, b"").unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        let mut entry = Entry::new(b"link".to_vec(), Kind::Fifo);
        (entry.mode, entry.mtime) = (0o4777, (1000, 0));
        (entry.uid, entry.gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let before = std::fs::metadata(&file).unwrap().modified().unwrap();
        let failed = apply_at(std::fs::File::open(dir.path()).unwrap().as_fd(), b"link", &entry);
        assert_eq!(failed.len(), 1, "{failed:?}");
        let after = std::fs::metadata(&file).unwrap();
        assert_eq!((after.permissions().mode() & 0o7777, after.modified().unwrap()), (0o600, before));
    }
}
