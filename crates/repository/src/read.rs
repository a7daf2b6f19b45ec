//! Reading blobs. Every blob is decrypted, decompressed and held against its name before it is used.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use crate::backend::FileKind;
use crate::error::{Error, Result};
use crate::id::Id;
use crate::index::{Find, Place};
use crate::pack::BlobKind;
use crate::{Inner, locked};

/// Trees lie side by side: so much is read at a time, in bytes.
const WINDOW: u64 = 4 << 20;
/// So many such stretches are kept.
const WINDOWS: usize = 8;

/// A stretch of a pack.
struct Window {
    pack: Id,
    start: u64,
    bytes: Vec<u8>,
}

/// Reads trees, from several threads.
pub struct TreeReader<'r> {
    inner: &'r Inner,
    windows: Mutex<VecDeque<Arc<Window>>>,
}

impl<'r> TreeReader<'r> {
    /// Nothing read yet.
    pub fn new(inner: &'r Inner) -> Self {
        Self { inner, windows: Mutex::default() }
    }

    /// The plain text of a tree.
    pub fn read(&self, index: &dyn Find, id: Id) -> Result<Vec<u8>> {
        let (pack, place) = index.find(BlobKind::Tree, id).ok_or(Error::Lost { what: "the tree", id })?;
        let (start, end) = (u64::from(place.offset), u64::from(place.offset) + u64::from(place.length));
        let holds = |window: &&Arc<Window>| {
            window.pack == pack && window.start <= start && end <= window.start + window.bytes.len() as u64
        };
        let found = locked(&self.windows).iter().find(holds).cloned();
        let window = match found {
            Some(window) => window,
            None => {
                let window = Arc::new(self.window(index, pack, start, end)?);
                let mut windows = locked(&self.windows);
                windows.push_front(Arc::clone(&window));
                windows.truncate(WINDOWS);
                window
            }
        };
        let from = usize::try_from(start - window.start).unwrap_or(usize::MAX);
        let mut sealed = window.bytes[from..from + place.length as usize].to_vec();
        open(self.inner, &mut sealed, id, place)
            .map_err(|detail| Error::damaged(FileKind::Pack, pack, detail))
    }

    /// More than is asked for, where the pack has more.
    fn window(&self, index: &dyn Find, pack: Id, start: u64, end: u64) -> Result<Window> {
        let aligned = start / WINDOW * WINDOW;
        let end = (aligned + WINDOW).min(index.end_of(pack)).max(end);
        let length = usize::try_from(end - aligned).unwrap_or(usize::MAX);
        Ok(Window { pack, start: aligned, bytes: self.inner.backend.read_range(pack, aligned, length)? })
    }
}

/// The plain content of a sealed blob; the error is the end of a sentence about its pack.
pub fn open(inner: &Inner, sealed: &mut [u8], id: Id, place: Place) -> std::result::Result<Vec<u8>, String> {
    let text = inner.key.open(sealed).ok_or_else(|| format!("is damaged where blob {} lies", id.short()))?;
    let plain = match place.compressed_from() {
        None => text.to_vec(),
        Some(length) => zstd::bulk::decompress(text, length as usize)
            .map_err(|error| format!("has a blob {} that cannot be decompressed: {error}", id.short()))?,
    };
    if Id::of(&plain) != id {
        return Err(format!("has a blob {} with another content than was stored", id.short()));
    }
    Ok(plain)
}
