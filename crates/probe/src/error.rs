//! What can go wrong while the machine is looked at. Says nothing about what the storage may be used for.

use sys::{Cmd, Sys, SysExt};

/// Why this machine could not be turned into a layout.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine did not answer.
    #[error(transparent)]
    Sys(#[from] sys::Error),
    /// The kernel works with other partitions than the table on the disk describes.
    #[error(
        "the kernel's view of {path} differs from its partition table ({detail}): run partprobe or reboot, then \
         try again"
    )]
    TableDiffers {
        /// The disk.
        path: String,
        /// The first difference.
        detail: String,
    },
    /// A file of the kernel or of the system holds something that cannot be understood.
    #[error("{what} cannot be understood: {detail}; please report this with the file's content")]
    Malformed {
        /// The file.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A program printed something of a form that is not known.
    #[error(
        "{what}{version} cannot be understood: {detail}; please report this with what the program prints"
    )]
    Answer {
        /// What was read, with the program's name: "the output of 'btrfs subvolume list'".
        what: String,
        /// Version of the program in brackets, where it tells.
        version: String,
        /// The field, and the line in which it was looked for.
        detail: String,
    },
    /// An array runs that has lost too many members.
    #[error(
        "{path} has lost {missing} of its {of} members, more than {level} survives: its data are gone. Stop it with 'mdadm \
         --stop {path}', or repair it, then try again"
    )]
    BrokenArray {
        /// The array.
        path: String,
        /// Its level.
        level: String,
        /// Members that it lacks.
        missing: usize,
        /// Members that it ought to have.
        of: usize,
    },
    /// The result contradicts itself.
    #[error(
        "the storage of this machine contradicts itself: {0}; check it with 'lsblk' and 'sfdisk --verify'"
    )]
    Inconsistent(String),
}

/// Result of looking at the machine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Adds its version to what cannot be understood of a program's answer; `ask` makes the program tell it.
pub(crate) fn with_version<T>(sys: &dyn Sys, ask: &Cmd, result: Result<T>) -> Result<T> {
    result.map_err(|error| match error {
        Error::Answer { what, detail, .. } => Error::Answer { what, version: sys.version(ask), detail },
        other => other,
    })
}
