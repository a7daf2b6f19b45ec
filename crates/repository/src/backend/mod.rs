//! Where a repository's files rest. A backend moves whole files and stretches of packs; it never looks into them.

use crate::error::Result;
use crate::id::Id;

pub mod http;
pub mod local;
pub mod rest;
pub mod s3;
pub mod sftp;
mod sigv4;
mod wire;
mod xml;

/// Percent-encoding of all that has a meaning in addresses.
pub(crate) fn encode(text: &str) -> String {
    sigv4::encode(text, false)
}

/// The kinds of files in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// The one file `config`; its id means nothing.
    Config,
    /// A key, sealed with a password.
    Key,
    /// A snapshot.
    Snapshot,
    /// A table of blobs and the packs that hold them.
    Index,
    /// A sign that somebody works here.
    Lock,
    /// Blobs.
    Pack,
}

impl FileKind {
    /// All kinds that have a directory.
    pub const DIRECTORIES: [Self; 5] = [Self::Key, Self::Snapshot, Self::Index, Self::Lock, Self::Pack];

    /// The directory of such files.
    pub fn directory(self) -> &'static str {
        match self {
            Self::Config => "",
            Self::Key => "keys",
            Self::Snapshot => "snapshots",
            Self::Index => "index",
            Self::Lock => "locks",
            Self::Pack => "data",
        }
    }

    /// The path of a file below the top of the repository.
    pub fn path(self, id: Id) -> String {
        match self {
            Self::Config => "config".into(),
            Self::Pack => {
                let name = id.to_string();
                format!("data/{}/{name}", &name[..2])
            }
            _ => format!("{}/{id}", self.directory()),
        }
    }
}

impl std::fmt::Display for FileKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Config => "its configuration",
            Self::Key => "the key",
            Self::Snapshot => "the snapshot",
            Self::Index => "the index",
            Self::Lock => "the lock",
            Self::Pack => "the pack",
        })
    }
}

/// A place for files. Several threads use it at once.
pub trait Backend: Send + Sync {
    /// The place for people, without secrets.
    fn place(&self) -> String;

    /// Makes the directories.
    ///
    /// # Errors
    /// The place cannot be written.
    fn create(&self) -> Result<()>;

    /// Whether that file is there.
    ///
    /// # Errors
    /// The place cannot be reached.
    fn has(&self, kind: FileKind, id: Id) -> Result<bool>;

    /// All files of a kind with their sizes in bytes, in no order. Names that are no ids are left out.
    ///
    /// # Errors
    /// The place cannot be reached.
    fn list(&self, kind: FileKind) -> Result<Vec<(Id, u64)>>;

    /// A whole file.
    ///
    /// # Errors
    /// It cannot be read.
    fn read(&self, kind: FileKind, id: Id) -> Result<Vec<u8>>;

    /// That many bytes of a pack from that offset on.
    ///
    /// # Errors
    /// It cannot be read, or is shorter.
    fn read_range(&self, pack: Id, offset: u64, length: usize) -> Result<Vec<u8>>;

    /// Stores a whole file: it is there completely and durably when this returns, or not at all.
    ///
    /// # Errors
    /// It cannot be written; [`crate::Error::Full`] where there is no room.
    fn write(&self, kind: FileKind, id: Id, bytes: &[u8]) -> Result<()>;

    /// Removes a file; one that is not there is no error.
    ///
    /// # Errors
    /// It cannot be removed.
    fn remove(&self, kind: FileKind, id: Id) -> Result<()>;
}
