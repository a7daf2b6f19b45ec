//! What can go wrong while a machine's way of booting is kept or brought back, as full sentences.

use std::path::PathBuf;

/// Result of anything that this room does.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the machine's way of booting could not be kept or brought back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine did not answer, a program failed, or the run was stopped.
    #[error(transparent)]
    Sys(#[from] sys::Error),
    /// Nothing that this machine's firmware could start was found.
    #[error(
        "nothing was found that this machine's firmware ({firmware}) could start: {detail}. A recovery could not \
         make the machine boot; repair its boot loader first"
    )]
    NothingBootable {
        /// "BIOS" or "UEFI".
        firmware: &'static str,
        /// What was looked for.
        detail: String,
    },
    /// A GPT disk whose first sector describes partitions of its own.
    #[error(
        "disk {disk} has a hybrid MBR: beside the GPT, its first sector lists partitions of its own (of type {types}), \
         which could not be brought back, so a system that boots through them would be lost. Replace it by a plain \
         protective MBR (gdisk: expert command n), or leave this disk out"
    )]
    HybridMbr {
        /// The disk.
        disk: String,
        /// Types of the further entries, hexadecimal.
        types: String,
    },
    /// A disk of the saved layout has no counterpart among the present disks.
    #[error(
        "the boot code of disk {disk} has no disk to go to; the data is restored, the boot loader is not"
    )]
    NoDisk {
        /// The saved disk.
        disk: String,
    },
    /// Writing boot code failed.
    #[error(
        "the boot code of disk {disk} could not be written: {detail}. The files are restored; the machine may not boot"
    )]
    Write {
        /// The saved disk.
        disk: String,
        /// What the writer said.
        detail: String,
    },
    /// A file operation below the restored system failed.
    #[error("cannot {what} {}: {source}", .path.display())]
    Io {
        /// What was tried, as a verb.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The restored system has no tool for what must be made again.
    #[error("the restored system has no {what}; {hint}")]
    NoTool {
        /// Names of the tools.
        what: String,
        /// What to do by hand.
        hint: String,
    },
    /// An initramfs cannot be read.
    #[error("the initramfs {} cannot be read: {detail}", .path.display())]
    Initramfs {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
}

impl Error {
    /// For `map_err`: wraps an I/O error with what was tried on which path.
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}
