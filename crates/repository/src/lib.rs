//! Keeps file trees in an encrypted, deduplicated repository of the restic format, which the program `restic` reads, checks and
//! restores too.
//!
//! * [`Repository::save`] stores the files of a machine as a snapshot, and writes the manifest that
//!   [`backup::compare`] knows,
//! * [`Repository::restore`] brings back what a manifest names,
//! * [`Repository::manifest`] makes the manifest of a snapshot from the snapshot alone,
//! * [`Repository::reachable`] proves, before anything is written to a disk, that all of a snapshot is there,
//! * [`Repository::files`] reads single files of snapshots, and [`Browser`] gives their content from any place,
//! * [`Repository::check`] reads all data, and names the files that a damage costs,
//! * [`Repository::retain`] forgets old snapshots of one machine and makes room.
//!
//! The format is implemented here (docs/decisions/0013). This room knows no configuration, asks nobody for a password, and
//! never removes anything but with [`Repository::retain`].

mod backend;
mod brief;
mod browse;
mod check;
mod crypto;
mod error;
mod id;
mod index;
mod key;
mod location;
mod lock;
mod node;
mod pack;
mod prune;
mod quote;
mod rabin;
mod read;
mod restore;
mod retain;
mod save;
mod scan;
mod server;
mod single;
mod snapshot;
mod store;
mod trees;

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sys::Secret;

pub use backend::http::{Access, system_authorities};
pub use backend::local::Local;
pub use backend::rest::Rest;
pub use backend::s3::S3;
pub use backend::sftp::{Address, Sftp};
pub use backend::{Backend, FileKind};
pub use browse::{Browser, Contents};
pub use check::{Checked, Finding};
pub use error::{Error, Result};
pub use id::Id;
pub use location::Location;
pub use restore::Restore;
pub use retain::{Keep, Retained};
pub use save::{Save, Saved};
pub use server::{Bucket, Server};
pub use single::Files;
pub use snapshot::{Snapshot, TAG};

use crypto::Key;
use index::{Index, IndexFile};
use node::time_of;
use rabin::Chunker;
use snapshot::SnapshotFile;

/// Bytes at which a pack is closed: as `restic` does by default.
const PACK: usize = 16 << 20;

/// Bytes of a small file (a snapshot, an index file) at the most: restic closes an index file at some 8 MiB.
const SMALL: u64 = 256 << 20;

/// The file `config`.
#[derive(Debug, Serialize, Deserialize)]
struct Config {
    version: u32,
    id: Id,
    chunker_polynomial: String,
}

/// A repository that was opened with its password. Cloning shares it.
#[derive(Clone)]
pub struct Repository(Arc<Inner>);

struct Inner {
    backend: Box<dyn Backend>,
    key: Key,
    id: Id,
    /// Version 1 knows no compression.
    version: u32,
    chunker: Chunker,
    /// Bytes at which a pack is closed.
    pack: usize,
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repository").field("place", &self.0.backend.place()).finish_non_exhaustive()
    }
}

impl Repository {
    /// Makes a new repository.
    ///
    /// # Errors
    /// There is one already, or the place cannot be written.
    pub fn create(backend: Box<dyn Backend>, password: &Secret) -> Result<Self> {
        if backend.has(FileKind::Config, Id::default())? {
            return Err(Error::Exists { place: backend.place() });
        }
        backend.create()?;
        let key = Key::random()?;
        key::add(&*backend, password, &key)?;
        let config = Config {
            version: 2,
            id: Id::from_bytes(crypto::random()?),
            chunker_polynomial: format!("{:x}", rabin::polynomial()?),
        };
        let text = serde_json::to_vec(&config).map_err(Error::io("write the configuration"))?;
        let mut sealed = Vec::new();
        key.seal(&text, &mut sealed)?;
        backend.write(FileKind::Config, Id::default(), &sealed)?;
        Self::open(backend, password)
    }

    /// Opens a repository.
    ///
    /// # Errors
    /// There is none, the password is wrong, or it cannot be read.
    pub fn open(backend: Box<dyn Backend>, password: &Secret) -> Result<Self> {
        if !backend.has(FileKind::Config, Id::default())? {
            return Err(Error::Absent { place: backend.place() });
        }
        let key = key::find(&*backend, password)?;
        let mut sealed = backend.read(FileKind::Config, Id::default())?;
        let damaged = |detail: &str| Error::Damaged {
            kind: FileKind::Config,
            id: String::new(),
            detail: detail.to_owned(),
        };
        let text = key.open(&mut sealed).ok_or_else(|| damaged("cannot be decrypted with its own key"))?;
        let config: Config = serde_json::from_slice(text).map_err(|_| damaged("cannot be understood"))?;
        if !(1..=2).contains(&config.version) {
            return Err(Error::Version { version: config.version });
        }
        let polynomial = u64::from_str_radix(&config.chunker_polynomial, 16).unwrap_or(0);
        let chunker = Chunker::new(polynomial).ok_or_else(|| damaged("has an unusable polynomial"))?;
        let (id, version) = (config.id, config.version);
        Ok(Self(Arc::new(Inner { backend, key, id, version, chunker, pack: PACK })))
    }

    /// Where it is, for people.
    pub fn place(&self) -> String {
        self.0.backend.place()
    }

    /// The name that it has whatever its place.
    pub fn id(&self) -> Id {
        self.0.id
    }

    /// All snapshots, the oldest first.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>> {
        let mut found = Vec::new();
        for (id, _) in self.0.backend.list(FileKind::Snapshot)? {
            let file = self.0.read_json::<SnapshotFile>(FileKind::Snapshot, id)?;
            // Two runs may follow each other within a second.
            found.push((time_of(&file.time), file.describe(id)));
        }
        found.sort_by_key(|(time, snapshot)| (*time, snapshot.id));
        Ok(found.into_iter().map(|(_, snapshot)| snapshot).collect())
    }

    /// Seals a text as the files of this repository are sealed. Only for tests that write what no program would.
    #[doc(hidden)]
    pub fn seal(&self, plain: &[u8]) -> Result<Vec<u8>> {
        let mut sealed = Vec::new();
        self.0.key.seal(plain, &mut sealed)?;
        Ok(sealed)
    }

    /// The number of blobs that the table of a whole pack names; `None` where it is no pack of this repository. Only for tests.
    #[doc(hidden)]
    pub fn blobs_of(&self, pack: &[u8]) -> Option<usize> {
        pack::table(pack, &self.0.key).map(|blobs| blobs.len())
    }

    fn snapshot(&self, id: Id) -> Result<SnapshotFile> {
        if !self.0.backend.has(FileKind::Snapshot, id)? {
            return Err(Error::NoSnapshot { id: id.to_string() });
        }
        self.0.read_json(FileKind::Snapshot, id)
    }

    /// All index files together.
    fn index(&self) -> Result<Index> {
        let mut index = Index::default();
        for (id, _) in self.0.backend.list(FileKind::Index)? {
            for pack in self.0.read_index(id)?.packs {
                index.add(pack.id, &pack.blobs);
            }
        }
        Ok(index)
    }
}

impl Inner {
    /// A small file: sealed JSON, compressed since version 2.
    fn read_json<T: DeserializeOwned>(&self, kind: FileKind, id: Id) -> Result<T> {
        serde_json::from_slice(&self.read_text(kind, id)?)
            .map_err(|error| Error::damaged(kind, id, format!("cannot be understood: {error}")))
    }

    fn read_index(&self, id: Id) -> Result<IndexFile> {
        let text = self.read_text(FileKind::Index, id)?;
        let file = std::str::from_utf8(&text).ok().and_then(IndexFile::parse);
        file.ok_or_else(|| Error::damaged(FileKind::Index, id, "cannot be understood"))
    }

    fn read_text(&self, kind: FileKind, id: Id) -> Result<Vec<u8>> {
        let mut sealed = self.backend.read(kind, id)?;
        if Id::of(&sealed) != id {
            return Err(Error::damaged(kind, id, "has another content than was written"));
        }
        let text = self.key.open(&mut sealed);
        let text = text.ok_or_else(|| Error::damaged(kind, id, "cannot be decrypted"))?;
        match text.split_first() {
            Some((2, compressed)) => {
                decompressed(compressed).map_err(|_| Error::damaged(kind, id, "cannot be decompressed"))
            }
            _ => Ok(text.to_vec()),
        }
    }

    fn write_json<T: Serialize>(&self, kind: FileKind, value: &T) -> Result<Id> {
        let mut text = serde_json::to_vec(value).map_err(Error::io(format!("write {kind}")))?;
        if self.version > 1 {
            let compressed = zstd::bulk::compress(&text, 3).map_err(Error::io(format!("compress {kind}")))?;
            text = [&[2], compressed.as_slice()].concat();
        }
        let mut sealed = Vec::new();
        self.key.seal(&text, &mut sealed)?;
        let id = Id::of(&sealed);
        self.backend.write(kind, id, &sealed)?;
        Ok(id)
    }
}

/// The whole of a zstd frame, which a few bytes may make endless.
fn decompressed(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut plain = Vec::new();
    zstd::stream::read::Decoder::with_buffer(bytes)?.take(SMALL + 1).read_to_end(&mut plain)?;
    if plain.len() as u64 > SMALL {
        return Err(std::io::Error::other("it is larger than any such file"));
    }
    Ok(plain)
}

/// Locks; a thread that panicked has reported by its panic.
fn locked<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
