//! What stops a whole backup or restore. Trouble with a single file is no error here: it is listed by name.

use std::path::{Path, PathBuf};

/// Why an archive could not be written, read or trusted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filesystem that takes the archive is full.
    #[error(
        "no space is left while writing {what}: the backup is not complete and must not be used; make room or \
         choose another destination"
    )]
    NoSpace {
        /// "the archive" or "the manifest".
        what: &'static str,
    },
    /// The restored filesystem is full.
    #[error(
        "no space is left on the target while restoring {}: the recovered system is not complete; use a larger disk",
        .path.display()
    )]
    TargetFull {
        /// The file that did not fit, as a path in the machine.
        path: PathBuf,
    },
    /// Reading or writing failed.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried, with its object.
        what: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The archive has not its full length.
    #[error("the archive {} is truncated: {found} of {expected} bytes; copy it again from where it was made", .path.display())]
    Truncated {
        /// Which archive.
        path: PathBuf,
        /// Its length now, in bytes.
        found: u64,
        /// Its length when it was written, in bytes.
        expected: u64,
    },
    /// The archive has its length but not its content.
    #[error("the archive {} is damaged: its checksum is not the one that mkbackup wrote ({part})", .path.display())]
    Damaged {
        /// Which archive.
        path: PathBuf,
        /// Which part of it.
        part: String,
    },
    /// What was encrypted is not what it was, or cannot be opened whatever the key.
    #[error("{} is damaged: {detail}", .path.display())]
    Undecipherable {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it, and where.
        detail: String,
    },
    /// An archive of another program cannot be used.
    #[error("the archive {} cannot be used: {detail}", .path.display())]
    Foreign {
        /// Which archive.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The manifest cannot be used.
    #[error("the file manifest {} cannot be used: {detail}", .path.display())]
    Manifest {
        /// Which manifest.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// An exclusion pattern cannot be used.
    #[error("the exclusion pattern '{pattern}' cannot be used: {detail}")]
    Pattern {
        /// The pattern as it was given.
        pattern: String,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// A path that names no place in a machine.
    #[error("'{}' names no file of a machine: give its path from the root, without '.' and '..'", .path.display())]
    Path {
        /// The path as it was given.
        path: PathBuf,
    },
    /// rsync did not do what it was told.
    #[error("rsync could not {what}: {detail}")]
    Rsync {
        /// What it was to do, as a verb with its object.
        what: String,
        /// What kind of failure it is.
        cause: crate::rsync::Cause,
        /// How it ended, with its own words.
        detail: String,
    },
    /// The machine refused something, or the operator stopped the run.
    #[error(transparent)]
    Sys(#[from] sys::Error),
}

impl Error {
    /// For `map_err`: what was tried, with its object.
    pub(crate) fn io<E: Into<std::io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source: source.into() }
    }

    /// For `map_err` after reading of an archive: what fails its authentication is damage, with its place.
    pub(crate) fn reading(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| match source.kind() {
            std::io::ErrorKind::InvalidData => {
                Self::Undecipherable { path: path.to_owned(), detail: source.to_string() }
            }
            _ => Self::Io { what: format!("read {}", path.display()), source },
        }
    }

    /// For `map_err` after a write: a full filesystem is named as such.
    pub(crate) fn writing(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Self::NoSpace { what },
            _ => Self::Io { what: format!("write {what}"), source },
        }
    }

    pub(crate) fn manifest(path: &Path, detail: impl Into<String>) -> Self {
        Self::Manifest { path: path.to_owned(), detail: detail.into() }
    }

    pub(crate) fn damaged(path: &Path, part: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), part: part.into() }
    }
}
