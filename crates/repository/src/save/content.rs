//! The content of one file: read, cut into chunks, hashed, stored. Holes are never read.

use std::collections::VecDeque;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};

use backup::digest::{Pieces, of_hashes};
use backup::{Entry, Options};
use rustix::io::Errno;

use crate::Inner;
use crate::error::{Error, Result};
use crate::id::Id;
use crate::pack::BlobKind;
use crate::rabin::{Chunker, MAX};
use crate::store::{Store, Writer};

/// Content of a large file that is compressed at the same time, in bytes for each thread that does so.
const SHARE: usize = 4 << 20;

/// What became of a file's content.
pub enum Outcome {
    /// Stored, as these chunks.
    Stored { content: Vec<Id>, digest: Option<[u8; 32]> },
    /// Stored; it became shorter while it was read, and the rest is zeros.
    Short { content: Vec<Id>, digest: Option<[u8; 32]> },
    /// It cannot be read.
    Unreadable(Errno),
}

/// One thread's means to read files.
pub struct Reader<'s, 'r> {
    inner: &'r Inner,
    store: &'s Store<'r>,
    writers: Vec<Writer<'s, 'r>>,
    /// Of a large file, the next stretch is read into the second while the first is stored.
    windows: [Window; 2],
    zeros: Option<Id>,
}

/// A stretch of a file, cut into chunks.
#[derive(Default)]
struct Window {
    buffer: Vec<u8>,
    /// Chunks of long holes that come before.
    holes: usize,
    chunks: Vec<Range<usize>>,
    /// Content in the buffer, in bytes.
    filled: usize,
}

/// The stretches of a file in its order: data from the file, or zeros.
struct Stream<'f> {
    file: &'f OwnedFd,
    /// Offset and length of what is still to come: true for data.
    parts: VecDeque<(bool, u64, u64)>,
    short: bool,
}

impl<'s, 'r> Reader<'s, 'r> {
    pub fn new(inner: &'r Inner, store: &'s Store<'r>, options: &Options) -> Result<Self> {
        let writers = (0..options.workers().min(4)).map(|_| store.writer()).collect::<Result<_>>()?;
        Ok(Self { inner, store, writers, windows: Default::default(), zeros: None })
    }

    /// Stores all of a file.
    pub fn file(&mut self, entry: &Entry, file: &OwnedFd, options: &Options) -> Result<Outcome> {
        let mut stream = Stream::new(file, entry);
        let (mut content, mut pieces) = (Vec::new(), Pieces::new());
        let room = usize::try_from(entry.size).unwrap_or(usize::MAX);
        let room = if room > MAX { MAX + SHARE * self.writers.len() } else { room };
        let [mut now, mut next] = std::mem::take(&mut self.windows);
        now.begin(&[], room);
        let mut loaded = now.load(&mut stream, &mut pieces, &self.inner.chunker);
        while loaded.is_ok() {
            options.cancel.check()?;
            if now.holes > 0 {
                content.extend(std::iter::repeat_n(self.zeros()?, now.holes));
            }
            if stream.parts.is_empty() {
                content.extend(put(&mut self.writers, &now)?);
                break;
            }
            next.begin(now.rest(), room);
            let stored;
            (stored, loaded) = std::thread::scope(|scope| {
                let writers = &mut self.writers;
                let stored = scope.spawn(|| put(writers, &now));
                let loaded = next.load(&mut stream, &mut pieces, &self.inner.chunker);
                (stored.join().map_err(|_| Error::ended()), loaded)
            });
            content.extend(stored??);
            std::mem::swap(&mut now, &mut next);
        }
        // Large ones are rare, and there is such a pair for every thread.
        if room <= MAX / 2 {
            self.windows = [now, next];
        }
        let digest = of_hashes(&pieces.finish());
        Ok(match loaded {
            Err(error) => Outcome::Unreadable(error),
            Ok(()) if stream.short => Outcome::Short { content, digest },
            Ok(()) => Outcome::Stored { content, digest },
        })
    }

    /// The chunk that stands for a stretch of a long hole.
    fn zeros(&mut self) -> Result<Id> {
        if let Some(id) = self.zeros {
            return Ok(id);
        }
        let id = self.store.writer()?.put(BlobKind::Data, &vec![0; MAX])?;
        self.zeros = Some(id);
        Ok(id)
    }
}

/// Stores the chunks of a window, several at the same time.
fn put(writers: &mut [Writer<'_, '_>], window: &Window) -> Result<Vec<Id>> {
    let chunk = |number: usize| window.chunks.get(number).map(|range| &window.buffer[range.clone()]);
    if let ([_], Some(writer)) = (window.chunks.as_slice(), writers.first_mut()) {
        return chunk(0).map(|chunk| writer.put(BlobKind::Data, chunk)).into_iter().collect();
    }
    let taken = AtomicUsize::new(0);
    let mut stored = std::thread::scope(|scope| {
        let threads: Vec<_> = writers
            .iter_mut()
            .take(window.chunks.len())
            .map(|writer| {
                scope.spawn(|| {
                    let mut stored = Vec::new();
                    loop {
                        let number = taken.fetch_add(1, Ordering::Relaxed);
                        let Some(chunk) = chunk(number) else { return Ok(stored) };
                        stored.push((number, writer.put(BlobKind::Data, chunk)?));
                    }
                })
            })
            .collect();
        let all = threads.into_iter().map(|thread| thread.join().map_err(|_| Error::ended())?);
        all.collect::<Result<Vec<Vec<_>>>>()
    })?
    .concat();
    stored.sort_unstable_by_key(|(number, _)| *number);
    Ok(stored.into_iter().map(|(_, id)| id).collect())
}

impl Window {
    /// What belongs to a chunk that has not ended yet.
    fn rest(&self) -> &[u8] {
        &self.buffer[self.chunks.last().map_or(0, |last| last.end)..self.filled]
    }

    /// Begins with what the window before has left over.
    fn begin(&mut self, rest: &[u8], room: usize) {
        if self.buffer.len() < room {
            self.buffer = vec![0; room];
        }
        self.buffer[..rest.len()].copy_from_slice(rest);
        (self.filled, self.holes) = (rest.len(), 0);
        self.chunks.clear();
    }

    /// Fills it up, and cuts what it holds.
    fn load(
        &mut self,
        stream: &mut Stream<'_>,
        pieces: &mut Pieces,
        chunker: &Chunker,
    ) -> std::result::Result<(), Errno> {
        // Long holes have chunks of their own, of which there is one.
        while self.filled == 0
            && let Some(count) = stream.long_hole()
        {
            self.holes = self.holes.saturating_add(usize::try_from(count).unwrap_or(usize::MAX));
            pieces.hole(count * MAX as u64);
        }
        let before = self.filled;
        let at_hole = stream.fill(&mut self.buffer, &mut self.filled)?;
        pieces.data(&self.buffer[before..self.filled]);
        let mut start = 0;
        while start < self.filled {
            let end = start + chunker.cut(&self.buffer[start..self.filled]);
            // A chunk ends before a long hole. Elsewhere, where no border was found, more content may show one.
            if end == self.filled && end - start < MAX && !at_hole && !stream.parts.is_empty() {
                break;
            }
            self.chunks.push(start..end);
            start = end;
        }
        Ok(())
    }
}

impl<'f> Stream<'f> {
    fn new(file: &'f OwnedFd, entry: &Entry) -> Self {
        let whole = [(0, entry.size)];
        let segments = entry.segments.as_deref().unwrap_or(&whole);
        let mut parts = VecDeque::new();
        let mut at = 0;
        for (offset, length) in segments {
            parts.push_back((false, at, offset - at));
            parts.push_back((true, *offset, *length));
            at = offset + length;
        }
        parts.push_back((false, at, entry.size - at));
        parts.retain(|part| part.2 > 0);
        Self { file, parts, short: false }
    }

    /// Takes the chunks of a long hole away that comes next; how many they are.
    fn long_hole(&mut self) -> Option<u64> {
        let (is_data, _, length) = self.parts.front_mut()?;
        if *is_data || *length < MAX as u64 {
            return None;
        }
        let count = *length / MAX as u64;
        *length -= count * MAX as u64;
        if *length == 0 {
            self.parts.pop_front();
        }
        Some(count)
    }

    /// Fills the buffer up; true when it ends before a long hole.
    fn fill(&mut self, buffer: &mut [u8], filled: &mut usize) -> std::result::Result<bool, Errno> {
        while *filled < buffer.len() {
            let Some((is_data, offset, length)) = self.parts.front_mut() else { break };
            let room = usize::try_from(*length).unwrap_or(usize::MAX).min(buffer.len() - *filled);
            let target = &mut buffer[*filled..*filled + room];
            let count = if *is_data && !self.short {
                match rustix::io::pread(self.file.as_fd(), &mut *target, *offset) {
                    Ok(0) => {
                        self.short = true;
                        continue;
                    }
                    Ok(count) => count,
                    Err(Errno::INTR) => continue,
                    Err(error) => return Err(error),
                }
            } else if !*is_data && *length >= MAX as u64 {
                return Ok(true);
            } else {
                target.fill(0);
                room
            };
            *filled += count;
            *offset += count as u64;
            *length -= count as u64;
            if *length == 0 {
                self.parts.pop_front();
            }
        }
        Ok(matches!(self.parts.front(), Some((false, _, length)) if *length >= MAX as u64))
    }
}
