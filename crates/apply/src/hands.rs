//! The few system calls with which `apply` itself changes the machine: raw writes, exclusive claims, mounts.
//! A trait, so that a simulated machine can stand in for the kernel. Nothing is decided here.

use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;
use sys::Error as SysError;

/// Hands on the machine.
pub trait Hands: Send + Sync {
    /// Writes bytes to a block device and flushes them, if the node still has this device number (`253:0`).
    ///
    /// # Errors
    /// When the node leads elsewhere, or the write fails.
    fn write(&self, device: &Path, number: &str, offset: u64, bytes: &[u8]) -> sys::Result<()>;
    /// Fails while anything (a mount in any namespace, swap, an array, a mapping) uses the device or a part
    /// of it.
    ///
    /// # Errors
    /// `EBUSY` wrapped, when it is in use.
    fn claim(&self, device: &Path) -> sys::Result<()>;
    /// Makes the directory with its parents (mode 0755) and mounts the device there.
    ///
    /// # Errors
    /// When the directory lies outside of `root` (through a link), or the kernel refuses.
    fn mount(
        &self,
        device: &Path,
        directory: &Path,
        root: &Path,
        fs_type: &str,
        options: &str,
    ) -> sys::Result<Option<sys::mount::Mount>>;
    /// Waits a moment for the kernel or udev.
    fn pause(&self);
    /// Lets `question` ask the machine that these hands work on.
    fn look(&self, question: &mut dyn FnMut(&dyn sys::Sys));
}

/// The real kernel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kernel;

impl Hands for Kernel {
    fn write(&self, device: &Path, number: &str, offset: u64, bytes: &[u8]) -> sys::Result<()> {
        let file = std::fs::OpenOptions::new()
            .write(true)
            .custom_flags((OFlags::NOFOLLOW | OFlags::CLOEXEC).bits().cast_signed())
            .open(device)
            .map_err(SysError::io("open for writing", device))?;
        let meta = file.metadata().map_err(SysError::io("examine", device))?;
        let rdev = meta.rdev();
        let found = format!("{}:{}", rustix::fs::major(rdev), rustix::fs::minor(rdev));
        if !meta.file_type().is_block_device() || found != number {
            return Err(SysError::Answer {
                what: device.display().to_string(),
                detail: format!("it is the device {found}, not {number}"),
            });
        }
        file.write_all_at(bytes, offset).map_err(SysError::io("write to", device))?;
        file.sync_all().map_err(SysError::io("flush", device))
    }

    fn claim(&self, device: &Path) -> sys::Result<()> {
        // For block devices, O_EXCL without O_CREAT means: nobody else claims the disk or a partition of it
        // (open(2)); the claim ends when the file is closed.
        std::fs::OpenOptions::new()
            .read(true)
            .custom_flags((OFlags::EXCL | OFlags::CLOEXEC).bits().cast_signed())
            .open(device)
            .map(drop)
            .map_err(SysError::io("claim", device))
    }

    fn mount(
        &self,
        device: &Path,
        directory: &Path,
        root: &Path,
        fs_type: &str,
        options: &str,
    ) -> sys::Result<Option<sys::mount::Mount>> {
        use std::os::unix::fs::DirBuilderExt;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(directory)
            .map_err(SysError::io("create the directory", directory))?;
        let real = std::fs::canonicalize(directory).map_err(SysError::io("resolve", directory))?;
        let inside = std::fs::canonicalize(root).map_err(SysError::io("resolve", root))?;
        if !real.starts_with(&inside) {
            return Err(SysError::Answer {
                what: directory.display().to_string(),
                detail: format!("a link leads out of {} to {}", root.display(), real.display()),
            });
        }
        let flags = rustix::mount::MountFlags::empty();
        sys::mount::Mount::new(&device.to_string_lossy(), &real, fs_type, flags, options).map(Some)
    }

    fn pause(&self) {
        std::thread::sleep(Duration::from_millis(100));
    }

    fn look(&self, question: &mut dyn FnMut(&dyn sys::Sys)) {
        question(&sys::Real::default());
    }
}
