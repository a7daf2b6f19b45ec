//! The content of one file: read, cut into chunks, hashed, stored. Holes are never read.

use std::os::fd::{AsFd, OwnedFd};

use backup::digest::{Pieces, of_hashes};
use backup::{Entry, Options};
use rustix::io::Errno;

use crate::Inner;
use crate::error::{Error, Result};
use crate::id::Id;
use crate::pack::BlobKind;
use crate::rabin::MAX;
use crate::store::{Store, Writer};

/// Chunks of a large file that are compressed at the same time, in bytes together.
const ABREAST: usize = 16 << 20;

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
    buffer: Vec<u8>,
    zeros: Option<Id>,
}

/// The stretches of a file in its order: data from the file, or zeros.
struct Stream<'f> {
    file: &'f OwnedFd,
    /// Offset and length of what is still to come: true for data.
    parts: std::collections::VecDeque<(bool, u64, u64)>,
    short: bool,
}

impl<'s, 'r> Reader<'s, 'r> {
    pub fn new(inner: &'r Inner, store: &'s Store<'r>, options: &Options) -> Result<Self> {
        let writers = (0..options.workers().min(4)).map(|_| store.writer()).collect::<Result<_>>()?;
        Ok(Self { inner, store, writers, buffer: Vec::new(), zeros: None })
    }

    /// Stores all of a file.
    pub fn file(&mut self, entry: &Entry, file: &OwnedFd, options: &Options) -> Result<Outcome> {
        let whole = [(0, entry.size)];
        let segments = entry.segments.as_deref().unwrap_or(&whole);
        let mut parts = std::collections::VecDeque::new();
        let mut at = 0;
        for (offset, length) in segments {
            parts.push_back((false, at, offset - at));
            parts.push_back((true, *offset, *length));
            at = offset + length;
        }
        parts.push_back((false, at, entry.size - at));
        parts.retain(|part| part.2 > 0);
        let mut stream = Stream { file, parts, short: false };
        let (mut content, mut pieces) = (Vec::new(), Pieces::new());
        let mut group = Vec::new();
        let mut filled = 0;
        loop {
            options.cancel.check()?;
            // Long holes have chunks of their own, of which there is one.
            while filled == 0
                && let Some((false, _, length)) = stream.parts.front_mut()
                && *length >= MAX as u64
            {
                let count = *length / MAX as u64;
                *length -= count * MAX as u64;
                self.put(&mut group, &mut content)?;
                let zeros = self.zeros()?;
                content.extend(std::iter::repeat_n(zeros, usize::try_from(count).unwrap_or(usize::MAX)));
                pieces.hole(count * MAX as u64);
                if *length == 0 {
                    stream.parts.pop_front();
                }
            }
            let wanted = usize::try_from(entry.size.min(MAX as u64)).unwrap_or(MAX);
            if self.buffer.len() < wanted {
                self.buffer.resize(wanted, 0);
            }
            let before = filled;
            let at_hole = match stream.fill(&mut self.buffer[..wanted], &mut filled) {
                Ok(at_hole) => at_hole,
                Err(error) => return Ok(Outcome::Unreadable(error)),
            };
            pieces.data(&self.buffer[before..filled]);
            if filled == 0 {
                break;
            }
            // A chunk ends before a long hole. Elsewhere, where no border was found, more content may show one.
            let mut start = 0;
            while start < filled {
                let length = self.inner.chunker.cut(&self.buffer[start..filled]);
                if start + length == filled && length < MAX && !at_hole && !stream.parts.is_empty() {
                    break;
                }
                group.push(self.buffer[start..start + length].to_vec());
                start += length;
                if group.iter().map(Vec::len).sum::<usize>() >= ABREAST {
                    self.put(&mut group, &mut content)?;
                }
            }
            self.buffer.copy_within(start..filled, 0);
            filled -= start;
        }
        self.put(&mut group, &mut content)?;
        if self.buffer.len() > MAX / 2 {
            self.buffer = Vec::new();
        }
        let digest = of_hashes(&pieces.finish());
        Ok(if stream.short {
            Outcome::Short { content, digest }
        } else {
            Outcome::Stored { content, digest }
        })
    }

    /// Stores the chunks of the group, several at the same time.
    fn put(&mut self, group: &mut Vec<Vec<u8>>, content: &mut Vec<Id>) -> Result<()> {
        if let [one] = group.as_slice() {
            if let Some(writer) = self.writers.first_mut() {
                content.push(writer.put(BlobKind::Data, one)?);
            }
            group.clear();
            return Ok(());
        }
        let share = group.len().div_ceil(self.writers.len().max(1)).max(1);
        let stored = std::thread::scope(|scope| {
            let threads: Vec<_> = group
                .chunks(share)
                .zip(&mut self.writers)
                .map(|(chunks, writer)| {
                    scope.spawn(move || {
                        chunks
                            .iter()
                            .map(|chunk| writer.put(BlobKind::Data, chunk))
                            .collect::<Result<Vec<_>>>()
                    })
                })
                .collect();
            let ended = |_| Error::io("store a file")(std::io::Error::other("a thread ended too early"));
            threads.into_iter().map(|thread| thread.join().map_err(ended)?).collect::<Result<Vec<Vec<Id>>>>()
        })?;
        content.extend(stored.into_iter().flatten());
        group.clear();
        Ok(())
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

impl Stream<'_> {
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
