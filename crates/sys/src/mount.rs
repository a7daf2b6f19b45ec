//! Mounting, with guards that unmount again, in a mount namespace of our own.

use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use crate::{Error, Result};

/// Moves this process into a mount namespace of its own, where nothing that it mounts is seen outside and
/// everything is gone when it ends, however it ends. Call before any thread is started: the kernel gives a
/// namespace to a thread, and threads started later inherit it.
pub fn private_namespace() -> Result<()> {
    let fail =
        |error: rustix::io::Errno| Error::io("make a private mount namespace for", "rear")(error.into());
    unshare_newns().map_err(fail)?;
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(fail)
}

#[allow(unsafe_code)]
fn unshare_newns() -> rustix::io::Result<()> {
    // SAFETY: CLONE_NEWNS does not touch the descriptor table; the flag that makes this call unsafe
    // (CLONE_FILES) is not used.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }
}

/// A mounted filesystem; unmounted when dropped, in the reverse order of mounting when kept in a [`Mounts`].
#[derive(Debug)]
pub struct Mount {
    target: PathBuf,
}

impl Mount {
    /// Mounts a device (or a pseudo filesystem, with its type as the device). `options` is what `mount -o`
    /// takes for the filesystem itself; `flags` are the kernel's.
    pub fn new(device: &str, target: &Path, fs_type: &str, flags: MountFlags, options: &str) -> Result<Self> {
        let data = std::ffi::CString::new(options)
            .map_err(|_| Error::Answer { what: "mount options".into(), detail: options.to_owned() })?;
        rustix::mount::mount(device, target, fs_type, flags, Some(data.as_c_str()))
            .map_err(|error| Error::io("mount", target)(error.into()))?;
        tracing::debug!(device, target = %target.display(), fs_type, options, "mounted");
        Ok(Self { target: target.to_owned() })
    }

    /// Shows one filesystem, without what is mounted below, at a second place: also what its mount points hide.
    pub fn bind_one(source: &Path, target: &Path) -> Result<Self> {
        rustix::mount::mount_bind(source, target)
            .map_err(|error| Error::io("bind-mount at", target)(error.into()))?;
        Ok(Self { target: target.to_owned() })
    }

    /// Takes over the duty to unmount something that a program (`mount`) mounted.
    pub fn adopt(target: impl Into<PathBuf>) -> Self {
        Self { target: target.into() }
    }

    /// Where it is mounted.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Leaves it mounted for good (the rescue system's own filesystems).
    pub fn leave(self) {
        std::mem::forget(self);
    }

    /// Unmounts now and says if that failed.
    pub fn unmount(self) -> Result<()> {
        let target = self.target.clone();
        std::mem::forget(self);
        unmount(&target)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Err(error) = unmount(&self.target) {
            tracing::warn!("{error}");
            // Detach at least: nothing may write through this path any more once we said that we are done.
            let _ = rustix::mount::unmount(&self.target, UnmountFlags::DETACH);
        }
    }
}

/// Unmounts one mount point. Busy for a moment (udev still looking) is waited out, up to two seconds.
pub fn unmount(target: &Path) -> Result<()> {
    let mut tries = 0;
    loop {
        match rustix::mount::unmount(target, UnmountFlags::NOFOLLOW) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::BUSY) if tries < 20 => {
                tries += 1;
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
            Err(error) => return Err(Error::io("unmount", target)(error.into())),
        }
    }
}

/// The option that keeps a read-only mount from replaying the journal to the disk.
pub fn untouched(fs_type: &str) -> Option<&'static str> {
    match fs_type {
        "ext3" | "ext4" => Some("noload"),
        "xfs" | "nilfs2" => Some("norecovery"),
        // "rescue=nologreplay" is the newer word; kernels know the old one still.
        "btrfs" => Some("nologreplay"),
        _ => None,
    }
}

/// Mounts that belong together; dropped in reverse order.
#[derive(Debug, Default)]
pub struct Mounts(Vec<Mount>);

impl Mounts {
    /// Adds the newest one.
    pub fn push(&mut self, mount: Mount) {
        self.0.push(mount);
    }

    /// Takes the one at this place out, to unmount it before the others.
    pub fn take(&mut self, target: &Path) -> Option<Mount> {
        let index = self.0.iter().rposition(|mount| mount.target == target)?;
        Some(self.0.remove(index))
    }

    /// Unmounts all, newest first; the first failure is returned after all were tried.
    pub fn unmount(mut self) -> Result<()> {
        let mut result = Ok(());
        while let Some(mount) = self.0.pop() {
            let one = mount.unmount();
            if result.is_ok() {
                result = one;
            }
        }
        result
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        while self.0.pop().is_some() {}
    }
}
