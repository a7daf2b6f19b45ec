//! Storing blobs: compressed, sealed, gathered in packs, named in index files. Nothing is stored twice.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::backend::FileKind;
use crate::error::{Error, Result};
use crate::id::Id;
use crate::index::{Find, Index, IndexFile, IndexedPack, Place};
use crate::pack::{BlobKind, Builder};
use crate::{Inner, locked};

/// The level of backups, and the one that is used for blobs then: on a Debian root of 1 GB, it takes an eighth less processor time for
/// 2.5 % more bytes, which are as many as restic stores (`cargo xtask bench-engine`).
const USUAL: (i32, i32) = (3, 2);
/// Blobs in an index file: restic's limit.
const INDEX_BLOBS: usize = 50_000;

/// Takes blobs from several threads.
pub struct Store<'r> {
    inner: &'r Inner,
    index: Mutex<Index>,
    /// The packs that are being filled: data, trees.
    open: [Mutex<Builder>; 2],
    /// Where full packs go to, while there are threads that write them.
    full: Mutex<Option<SyncSender<Builder>>>,
    /// Packs that no index file names yet.
    fresh: Mutex<Vec<IndexedPack>>,
    /// Bytes that were added to the repository.
    added: AtomicU64,
    /// The packs that were added.
    stored: Mutex<Vec<Id>>,
    /// zstd's level for what is stored.
    level: i32,
}

/// One thread's means to store.
pub struct Writer<'s, 'r> {
    store: &'s Store<'r>,
    compressor: zstd::bulk::Compressor<'static>,
    compressed: Vec<u8>,
    sealed: Vec<u8>,
}

impl<'r> Store<'r> {
    /// Adds to what that index has.
    pub fn new(inner: &'r Inner, index: Index, level: i32) -> Self {
        Self {
            inner,
            index: Mutex::new(index),
            open: Default::default(),
            full: Mutex::default(),
            fresh: Mutex::default(),
            added: AtomicU64::new(0),
            stored: Mutex::default(),
            level: if level == USUAL.0 { USUAL.1 } else { level },
        }
    }

    /// For one thread.
    pub fn writer(&self) -> Result<Writer<'_, 'r>> {
        let compressor = zstd::bulk::Compressor::new(self.level).map_err(Error::io("compress"))?;
        Ok(Writer { store: self, compressor, compressed: Vec::new(), sealed: Vec::new() })
    }

    /// Whether all of these are there.
    pub fn has_all(&self, kind: BlobKind, ids: &[Id]) -> bool {
        let index = locked(&self.index);
        ids.iter().all(|id| index.has(kind, *id))
    }

    /// Bytes that were added until now.
    pub fn added(&self) -> u64 {
        self.added.load(Ordering::Relaxed)
    }

    /// The packs that were added until now.
    pub fn packs(&self) -> Vec<Id> {
        locked(&self.stored).clone()
    }

    /// Stores the packs that are not full and the index of all that is new.
    pub fn finish(&self) -> Result<()> {
        for open in &self.open {
            let builder = std::mem::take(&mut *locked(open));
            if !builder.is_empty() {
                self.put_pack(builder)?;
            }
        }
        self.put_index(1)
    }

    /// From now on, full packs are written by the threads that take them from what this gives: who compresses need not wait for a
    /// disk or for the network.
    pub fn divert(&self) -> Mutex<Receiver<Builder>> {
        let (full, packs) = sync_channel(1);
        *locked(&self.full) = Some(full);
        Mutex::new(packs)
    }

    /// Lets these threads end when they have written what is there.
    pub fn rejoin(&self) {
        locked(&self.full).take();
    }

    /// Writes packs until there are no more.
    pub fn write(&self, packs: &Mutex<Receiver<Builder>>) -> Result<()> {
        loop {
            let Ok(builder) = ({ locked(packs).recv() }) else { return Ok(()) };
            self.put_pack(builder)?;
        }
    }

    /// Writes a full pack, or has it written.
    fn put_full(&self, builder: Builder) -> Result<()> {
        let full = locked(&self.full).clone();
        match full {
            // When all threads that write have failed, their error is the one that counts.
            Some(full) => full.send(builder).map_err(|_| Error::ended()),
            None => self.put_pack(builder),
        }
    }

    fn put_pack(&self, builder: Builder) -> Result<()> {
        let (id, bytes, blobs) = builder.finish(&self.inner.key)?;
        self.inner.backend.write(FileKind::Pack, id, &bytes)?;
        self.added.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        drop(bytes);
        locked(&self.stored).push(id);
        locked(&self.fresh).push(IndexedPack { id, blobs });
        self.put_index(INDEX_BLOBS)
    }

    /// Writes an index file when so many blobs are in none.
    fn put_index(&self, enough: usize) -> Result<()> {
        let packs = {
            let mut fresh = locked(&self.fresh);
            if fresh.iter().map(|pack| pack.blobs.len()).sum::<usize>() < enough {
                return Ok(());
            }
            std::mem::take(&mut *fresh)
        };
        let file = IndexFile { supersedes: Vec::new(), packs };
        self.inner.write_json(FileKind::Index, &file)?;
        Ok(())
    }
}

impl Find for Store<'_> {
    fn find(&self, kind: BlobKind, id: Id) -> Option<(Id, Place)> {
        locked(&self.index).find(kind, id)
    }

    fn end_of(&self, pack: Id) -> u64 {
        locked(&self.index).end_of(pack)
    }
}

impl Writer<'_, '_> {
    /// Stores a blob under its hash, unless it is there.
    pub fn put(&mut self, kind: BlobKind, plain: &[u8]) -> Result<Id> {
        let id = Id::of(plain);
        if locked(&self.store.index).claim(kind, id, plain.len()) {
            self.add(kind, id, plain)?;
        }
        Ok(id)
    }

    fn add(&mut self, kind: BlobKind, id: Id, plain: &[u8]) -> Result<()> {
        let inner = self.store.inner;
        self.sealed.clear();
        let mut length = None;
        if inner.version > 1 {
            self.compressed.clear();
            self.compressed.reserve(zstd::zstd_safe::compress_bound(plain.len()));
            self.compressor.compress_to_buffer(plain, &mut self.compressed).map_err(Error::io("compress"))?;
            // What does not become smaller is stored as it is. An empty blob has no length to tell.
            if self.compressed.len() < plain.len() {
                length = u32::try_from(plain.len()).ok();
            }
        }
        inner.key.seal(if length.is_some() { &self.compressed } else { plain }, &mut self.sealed)?;
        self.push(kind, id, length)
    }

    /// Stores a blob that is sealed already, under the name that its plain content has. Only when it was claimed.
    pub fn put_sealed(&mut self, kind: BlobKind, id: Id, sealed: &[u8], plain: Option<u32>) -> Result<()> {
        self.sealed.clear();
        self.sealed.extend_from_slice(sealed);
        self.push(kind, id, plain)
    }

    fn push(&mut self, kind: BlobKind, id: Id, plain: Option<u32>) -> Result<()> {
        let full = {
            let mut open = locked(&self.store.open[usize::from(kind == BlobKind::Tree)]);
            open.push(kind, id, &self.sealed, plain);
            (open.len() >= self.store.inner.pack).then(|| std::mem::take(&mut *open))
        };
        match full {
            Some(builder) => self.store.put_full(builder),
            None => Ok(()),
        }
    }
}
