//! Swap space in files, made again when the files of the machine are in their places: whole, without holes, with the header
//! that it had, and accepted by the kernel. Touches no other file, and never leaves swap switched on.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use layout::SwapFile;
use rustix::fs::{AtFlags, CWD, FallocateFlags, IFlags, OFlags, Timespec, Timestamps};
use rustix::io::Errno;
use sys::{Cancel, Cmd, Error, Result, Sys};

/// `f_type` of btrfs (kernel `include/uapi/linux/magic.h`).
const BTRFS: u64 = 0x9123_683E;

/// `FS_NOCOMP_FL` (kernel `include/uapi/linux/fs.h`).
const NEVER_COMPRESS: u32 = 0x400;

/// How many zeros are written at once, in bytes.
const STRETCH: usize = 1 << 20;

/// Makes the swap file below `root`, the recovered machine's root directory. A file that is there keeps its owner, mode,
/// attributes and time; a missing one is created.
///
/// # Errors
/// When it cannot be made, or the kernel refuses to swap to it.
pub fn swap_file(sys: &dyn Sys, root: &Path, wanted: &SwapFile, cancel: &Cancel) -> Result<()> {
    let path = root.join(wanted.path.trim_start_matches('/'));
    let file = open(&path, wanted)?;
    let before = file.metadata().map_err(Error::io("look at", &path))?;
    let result = make(sys, &file, &path, wanted, cancel);
    // Making it is no change of the machine.
    set_times(&path, &before)?;
    result
}

fn set_times(path: &Path, before: &Metadata) -> Result<()> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: before.atime(), tv_nsec: before.atime_nsec() },
        last_modification: Timespec { tv_sec: before.mtime(), tv_nsec: before.mtime_nsec() },
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|error| Error::io("set the time of", path)(error.into()))
}

/// Opens the file, or creates it as it was.
fn open(path: &Path, wanted: &SwapFile) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    match options.open(path) {
        Ok(file) if file.metadata().is_ok_and(|found| found.is_file()) => return Ok(file),
        Ok(_) => {
            return Err(Error::Answer {
                what: path.display().to_string(),
                detail: "it is no regular file, so it cannot be made swap space".to_owned(),
            });
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::io("open", path)(error)),
    }
    let parent = path.parent().unwrap_or(path);
    std::fs::create_dir_all(parent).map_err(Error::io("create the directory", parent))?;
    let before = parent.metadata().map_err(Error::io("look at", parent))?;
    let file = options.create_new(true).mode(0o600).open(path).map_err(Error::io("create", path))?;
    set_times(parent, &before)?;
    std::os::unix::fs::fchown(&file, Some(wanted.uid), Some(wanted.gid))
        .and_then(|()| file.set_permissions(std::fs::Permissions::from_mode(wanted.mode)))
        .map_err(Error::io("set the owner of", path))?;
    Ok(file)
}

fn make(sys: &dyn Sys, file: &File, path: &Path, wanted: &SwapFile, cancel: &Cancel) -> Result<()> {
    let size = wanted.size.0;
    empty(file, path)?;
    let reserved = match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, size) {
        Ok(()) => true,
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => false,
        Err(error) => return Err(Error::io("reserve the space of", path)(error.into())),
    };
    if !reserved {
        zeros(file, path, size, cancel)?;
    }
    match finish(sys, file, path, wanted) {
        // Space that was never written to counts as holes: XFS before kernel 4.18, and some filesystems still.
        Err(Error::Failed { .. }) if reserved => {
            empty(file, path)?;
            zeros(file, path, size, cancel)?;
            finish(sys, file, path, wanted)
        }
        result => result,
    }
}

/// Takes all content away. On btrfs the file is then told to be written in place, which only an empty file can be told:
/// the kernel swaps to no other there.
fn empty(file: &File, path: &Path) -> Result<()> {
    file.set_len(0).map_err(Error::io("empty", path))?;
    let kind = rustix::fs::fstatfs(file).map_err(|error| Error::io("look at", path)(error.into()))?;
    if u64::try_from(kind.f_type).is_ok_and(|kind| kind & 0xffff_ffff == BTRFS) {
        let flags = rustix::fs::ioctl_getflags(file).unwrap_or(IFlags::empty());
        // Whether to compress is never said of a file that is written in place; the kernel wants it taken back first.
        let plain = flags - (IFlags::COMPRESSED | IFlags::from_bits_retain(NEVER_COMPRESS));
        let set = |flags| {
            rustix::fs::ioctl_setflags(file, flags)
                .map_err(|error| Error::io("switch off copy on write for", path)(error.into()))
        };
        if plain != flags {
            set(plain)?;
        }
        if !plain.contains(IFlags::NOCOW) {
            set(plain | IFlags::NOCOW)?;
        }
    }
    Ok(())
}

fn zeros(mut file: &File, path: &Path, size: u64, cancel: &Cancel) -> Result<()> {
    let stretch = vec![0; STRETCH];
    let mut left = size;
    file.seek(SeekFrom::Start(0)).map_err(Error::io("write", path))?;
    while left > 0 {
        cancel.check()?;
        let now = usize::try_from(left).unwrap_or(STRETCH).min(STRETCH);
        file.write_all(&stretch[..now]).map_err(Error::io("write zeros to", path))?;
        left -= now as u64;
    }
    Ok(())
}

/// Writes the header, and lets the kernel swap to it for a moment: only the kernel knows what it accepts.
fn finish(sys: &dyn Sys, file: &File, path: &Path, wanted: &SwapFile) -> Result<()> {
    let name = path.to_string_lossy().into_owned();
    for command in plan::swap_file_commands(wanted, &name) {
        sys.run(&Cmd::new(&command.program).args(&command.args))?;
    }
    file.sync_all().map_err(Error::io("flush", path))?;
    sys.run(&Cmd::new("swapon").arg(&name))?;
    sys.run(&Cmd::new("swapoff").arg(&name))?;
    Ok(())
}

#[cfg(test)]
mod tests;
