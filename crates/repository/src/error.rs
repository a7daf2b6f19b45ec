//! What stops work on a repository. Trouble with a single file is no error here: it is listed by name.

use crate::backend::FileKind;
use crate::id::Id;

/// Why a repository could not be used, written or trusted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be understood.
    #[error("'{text}' is no repository that this program can use: {detail}")]
    Location {
        /// The address as it was given, without its password.
        text: String,
        /// What is wrong with it.
        detail: String,
    },
    /// There is no repository.
    #[error("there is no repository at {place}: its file 'config' is missing")]
    Absent {
        /// Where it should be.
        place: String,
    },
    /// There is a repository already.
    #[error("there is a repository at {place} already; it is never made anew over another")]
    Exists {
        /// Where.
        place: String,
    },
    /// No key opens with this password.
    #[error("the password does not open the repository at {place}")]
    Password {
        /// Where the repository is.
        place: String,
    },
    /// A file of the repository is there and cannot be used.
    #[error("the repository is damaged: {kind} {id} {detail}")]
    Damaged {
        /// What kind of file.
        kind: FileKind,
        /// Which.
        id: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A part of the files is not in the repository.
    #[error("the repository is damaged: {what} {id} is in no pack that its index knows")]
    Lost {
        /// "the tree" or "the data".
        what: &'static str,
        /// Which.
        id: Id,
    },
    /// The repository has a form that this program does not know.
    #[error("the repository has version {version}; this program reads versions 1 and 2")]
    Version {
        /// The version that its config names.
        version: u32,
    },
    /// There is no such snapshot.
    #[error("there is no snapshot {id} in the repository")]
    NoSnapshot {
        /// Which was wanted.
        id: String,
    },
    /// No room for more.
    #[error(
        "no space is left in the repository at {place}: this backup is not complete; those before it are as they were"
    )]
    Full {
        /// Where the repository is.
        place: String,
    },
    /// Somebody else works on the repository.
    #[error(
        "the repository is locked by {who}; wait until that has ended, or run restic unlock when it is long dead"
    )]
    Locked {
        /// Host, process and time of the lock.
        who: String,
    },
    /// A server was not there, or had no answer but excuses, for as long as it was waited for.
    #[error("cannot {what}: {place} cannot be reached: {detail}")]
    Unreachable {
        /// What was tried, with its object.
        what: String,
        /// Where the repository is.
        place: String,
        /// What the last try met.
        detail: String,
    },
    /// A server does not know who asks, or permits too little.
    #[error("{place} refuses access: {detail}")]
    Denied {
        /// Where the repository is.
        place: String,
        /// What it says.
        detail: String,
    },
    /// A server cannot prove that it is the one that was meant.
    #[error("no safe connection to {place} can be made: {detail}")]
    Untrusted {
        /// Where the repository is.
        place: String,
        /// What is wrong with its proof.
        detail: String,
    },
    /// A server that permits to add, and not to remove.
    #[error(
        "{place} lets nothing be removed by this user (an append-only server, or a key without that permission)"
    )]
    KeepsAll {
        /// Where the repository is.
        place: String,
    },
    /// Reading or writing failed.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried, with its object.
        what: String,
        /// What the kernel or the other side said.
        source: std::io::Error,
    },
    /// The files or the manifest could not be read or written.
    #[error(transparent)]
    Backup(#[from] backup::Error),
    /// The machine refused something, or the operator stopped the run.
    #[error(transparent)]
    Sys(#[from] sys::Error),
}

/// The result of this room.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// For `map_err`: what was tried, with its object.
    pub(crate) fn io<E: Into<std::io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source: source.into() }
    }

    /// A thread is gone, and no error says why.
    pub(crate) fn ended() -> Self {
        Self::io("store the files")(std::io::Error::other("a worker thread ended too early"))
    }

    pub(crate) fn damaged(kind: FileKind, id: Id, detail: impl Into<String>) -> Self {
        Self::Damaged { kind, id: id.to_string(), detail: detail.into() }
    }

    /// For what `errno` says in the world of [`backup`].
    pub(crate) fn into_backup(self) -> backup::Error {
        match self {
            Self::Backup(error) => error,
            Self::Sys(error) => backup::Error::Sys(error),
            other => backup::Error::Io {
                what: "use the repository".into(),
                source: std::io::Error::other(other.to_string()),
            },
        }
    }
}
