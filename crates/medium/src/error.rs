//! What can go wrong while a medium is made or read back, as full sentences. Never decides what to do about it.

use std::path::PathBuf;

/// Result of anything that this room does.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why there is no good medium.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine did not answer, a program failed, or the run was stopped.
    #[error(transparent)]
    Sys(#[from] sys::Error),
    /// A program or file that the medium needs is not on this system.
    #[error("a bootable ISO cannot be made: {what}; install {install} and run again")]
    Missing {
        /// What is not there.
        what: String,
        /// Names of the packages that bring it, per distribution.
        install: String,
    },
    /// The caller asked for something that an ISO cannot hold.
    #[error("a bootable ISO cannot be made: {0}")]
    Invalid(String),
    /// The filesystem that takes the ISO is full.
    #[error(
        "No space left for the ISO {}: it needs {} MiB and the filesystem has {} MiB free. Nothing was \
         kept of it. Free some space, or point OUTPUT_URL (or ISO_DIR) at a larger filesystem",
        .path.display(), mib(*.needed), mib(*.available)
    )]
    NoSpace {
        /// The ISO that was being written.
        path: PathBuf,
        /// About how many bytes it would have.
        needed: u64,
        /// How many bytes there are.
        available: u64,
    },
    /// A file operation failed.
    #[error("cannot {what} {}: {source}", .path.display())]
    Io {
        /// What was tried, as a verb: "read", "open".
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The small FAT filesystem for UEFI could not be made.
    #[error("the EFI boot image for the ISO could not be made: {0}")]
    Fat(std::io::Error),
    /// The image is no ISO 9660 filesystem, or its directory tree is broken.
    #[error("{} is not a readable ISO 9660 image: {detail}. Do not rely on this medium; make it again", .path.display())]
    BadVolume {
        /// The image.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The image ends before its content does.
    #[error(
        "{} is truncated: it has {have} bytes and {what} needs {need}. Do not rely on this medium; make \
         or copy it again", .path.display()
    )]
    Truncated {
        /// The image.
        path: PathBuf,
        /// What lies beyond its end.
        what: String,
        /// Bytes that are there.
        have: u64,
        /// Bytes that must be there.
        need: u64,
    },
    /// A file that must be on the medium is not.
    #[error("{target} is missing on {}. Do not rely on this medium; make it again", .path.display())]
    MissingFile {
        /// The image.
        path: PathBuf,
        /// The file on it.
        target: String,
    },
    /// A file on the medium is not what was written to it.
    #[error(
        "{target} on {} is damaged: {detail}. Do not rely on this medium; check the disk that holds it \
         and make it again", .path.display()
    )]
    Damaged {
        /// The image.
        path: PathBuf,
        /// The file on it.
        target: String,
        /// How it differs.
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

/// Bytes as MiB, rounded up, for messages.
fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}
