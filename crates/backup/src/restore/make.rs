//! Makes single things in the target: directories, files, links, devices and pipes, in the place of what has their name where
//! that is wanted, and gives them their metadata. It never reads an archive, and reaches nothing outside of the target.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::shared::Shared;
use crate::dirs::Dirs;
use crate::entry::{Entry, Kind, split};
use crate::metadata;

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

/// Takes from a directory of an earlier, cut off restore what its new content would inherit, or what would forbid new
/// content. Where that is refused, what follows fails and is listed.
fn reset(parent: BorrowedFd<'_>, name: &[u8]) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if let Ok(fd) = rustix::fs::openat(parent, name, flags, Mode::empty()) {
        let _ = metadata::set_flags(&fd, 0);
        let _ = rustix::fs::fremovexattr(&fd, "system.posix_acl_default");
    }
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
