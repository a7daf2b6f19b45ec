//! What can go wrong while a plan is carried out, and in which state it leaves the disks.

use std::path::PathBuf;

/// Why the plan was not carried out to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plan wants to write to a disk that must not be written.
    #[error("the plan would write to {device}, but {why}. Nothing was written; make the plan anew")]
    Protected {
        /// The disk.
        device: String,
        /// Why it must not be written.
        why: String,
    },
    /// A disk of the plan is not there any more.
    #[error(
        "the plan needs the disk {0}, which is not there any more. Nothing was written; make the plan anew"
    )]
    Gone(String),
    /// The disk behind a name is another one than when the plan was made.
    #[error(
        "{} is not the disk any more that the plan was made for: {what}. Nothing more is written to it; start \
         the recovery anew", .device.display()
    )]
    Changed {
        /// The disk.
        device: PathBuf,
        /// What differs.
        what: String,
    },
    /// The disk is in use.
    #[error("{} is in use: {what}; {hint}, then start the recovery again", .device.display())]
    InUse {
        /// The disk.
        device: PathBuf,
        /// By what.
        what: String,
        /// How to free it.
        hint: String,
    },
    /// A write outside of the disk was asked for.
    #[error("a write of {length} bytes at {offset} of {} reaches behind its {size} bytes: refused", .device.display())]
    OutOfRange {
        /// The disk.
        device: PathBuf,
        /// Where, in bytes.
        offset: u64,
        /// How many bytes.
        length: u64,
        /// Size of the disk in bytes.
        size: u64,
    },
    /// The kernel does not show the partitions that were written.
    #[error(
        "the kernel does not see the new partitions of {}: {what}. Does something else use the disk? Restart the rescue \
         system and recover again", .device.display()
    )]
    Partitions {
        /// The disk.
        device: PathBuf,
        /// Expected and seen.
        what: String,
    },
    /// The running kernel cannot mount this type.
    #[error(
        "the running kernel has no driver for {fs_type}: its module is missing from the rescue system or does not load \
         (modprobe {fs_type})"
    )]
    NoDriver {
        /// Filesystem type.
        fs_type: String,
    },
    /// The machine refused something.
    #[error(transparent)]
    Sys(#[from] sys::Error),
    /// A step failed.
    #[error("step {id} ({what}) failed: {source}. {state}")]
    Step {
        /// Number of the step.
        id: u32,
        /// What it was to do.
        what: String,
        /// In which state the disks are now.
        state: String,
        /// Whether this run, or an earlier one that it continues, began to write to a disk.
        written: bool,
        /// Why.
        source: Box<Error>,
    },
}

impl Error {
    /// Whether anything was written to a disk before this error ended the run. Where that is not certain, it is true.
    ///
    /// Errors of [`WritableDisk`](crate::WritableDisk) speak of their own write only, not of those before it.
    pub fn has_written(&self) -> bool {
        matches!(self, Self::Step { written: true, .. })
    }

    /// Whether the operator stopped the run.
    pub fn is_cancelled(&self) -> bool {
        match self {
            Self::Sys(sys::Error::Cancelled) => true,
            Self::Step { source, .. } => source.is_cancelled(),
            _ => false,
        }
    }
}
