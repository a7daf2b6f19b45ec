//! The digest of a file's content, made so that parts can be hashed apart from each other and holes cost nothing.
//!
//! Content of at most [`PIECE`] bytes has its plain BLAKE3 hash, as `b3sum` prints it. Longer content is cut into
//! pieces of that size, and its digest is the BLAKE3 hash (key derivation mode, context [`CONTEXT`]) of the
//! hashes of its pieces: each followed by how often it occurs in a row (eight bytes, little endian), so that even
//! the largest hole is a single step. A hole counts as zeros.

use std::os::fd::OwnedFd;

use rustix::io::Errno;

use crate::holes;

/// Bytes of one piece.
pub const PIECE: u64 = 4 << 20;

/// Keeps the hash of piece hashes apart from any file's plain hash.
pub const CONTEXT: &str = "rear content of several pieces 1";

/// The hashes of consecutive pieces: each with how often it follows itself (holes are long runs of one hash).
pub type Hashes = Vec<([u8; 32], u64)>;

/// Hash of a whole piece of zeros.
fn zero_piece() -> [u8; 32] {
    static HASH: std::sync::OnceLock<[u8; 32]> = std::sync::OnceLock::new();
    *HASH.get_or_init(|| {
        let mut hasher = blake3::Hasher::new();
        zeros(&mut hasher, PIECE);
        *hasher.finalize().as_bytes()
    })
}

fn zeros(hasher: &mut blake3::Hasher, mut count: u64) {
    static ZEROS: [u8; 16384] = [0; 16384];
    while count > 0 {
        let step = count.min(ZEROS.len() as u64);
        hasher.update(&ZEROS[..usize::try_from(step).unwrap_or(0)]);
        count -= step;
    }
}

/// Hashes content that arrives in order, data and holes.
#[derive(Debug)]
pub struct Pieces {
    hasher: blake3::Hasher,
    /// Bytes in the present piece.
    filled: u64,
    done: Hashes,
}

impl Default for Pieces {
    fn default() -> Self {
        Self::new()
    }
}

impl Pieces {
    /// Nothing hashed yet.
    pub fn new() -> Self {
        Self { hasher: blake3::Hasher::new(), filled: 0, done: Vec::new() }
    }

    /// The next bytes of the content.
    pub fn data(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let room = usize::try_from(PIECE - self.filled).unwrap_or(usize::MAX);
            let (now, rest) = data.split_at(data.len().min(room));
            self.hasher.update(now);
            self.filled += now.len() as u64;
            data = rest;
            self.close_full();
        }
    }

    /// The next bytes of the content are so many zeros that are not stored.
    pub fn hole(&mut self, mut length: u64) {
        while length > 0 {
            if self.filled == 0 && length >= PIECE {
                let count = length / PIECE;
                self.push(zero_piece(), count);
                length %= PIECE;
                continue;
            }
            let step = length.min(PIECE - self.filled);
            zeros(&mut self.hasher, step);
            self.filled += step;
            length -= step;
            self.close_full();
        }
    }

    /// The hashes of all pieces; the last may be short.
    pub fn finish(mut self) -> Hashes {
        if self.filled > 0 {
            let hash = *self.hasher.finalize().as_bytes();
            self.push(hash, 1);
        }
        self.done
    }

    fn close_full(&mut self) {
        if self.filled == PIECE {
            let hash = *self.hasher.finalize().as_bytes();
            self.push(hash, 1);
            self.hasher.reset();
            self.filled = 0;
        }
    }

    fn push(&mut self, hash: [u8; 32], count: u64) {
        match self.done.last_mut() {
            Some((last, times)) if *last == hash => *times += count,
            _ => self.done.push((hash, count)),
        }
    }
}

/// Puts the digest together from the hashes of the pieces.
#[derive(Debug)]
pub struct Whole {
    /// The run that may still grow.
    run: Option<([u8; 32], u64)>,
    /// Whether there was a run before it.
    several: bool,
    hasher: blake3::Hasher,
}

impl Default for Whole {
    fn default() -> Self {
        Self::new()
    }
}

impl Whole {
    /// No piece yet.
    pub fn new() -> Self {
        Self { run: None, several: false, hasher: blake3::Hasher::new_derive_key(CONTEXT) }
    }

    /// The hashes of the next pieces.
    pub fn add(&mut self, hashes: &Hashes) {
        for (hash, times) in hashes {
            match &mut self.run {
                Some((last, count)) if last == hash => *count += times,
                _ => {
                    self.several |= self.run.is_some();
                    self.close_run();
                    self.run = Some((*hash, *times));
                }
            }
        }
    }

    /// The digest; `None` for no content at all.
    pub fn finish(mut self) -> Option<[u8; 32]> {
        match self.run {
            Some((only, 1)) if !self.several => Some(only),
            None => None,
            Some(_) => {
                self.close_run();
                Some(*self.hasher.finalize().as_bytes())
            }
        }
    }

    fn close_run(&mut self) {
        if let Some((hash, count)) = self.run.take() {
            self.hasher.update(&hash);
            self.hasher.update(&count.to_le_bytes());
        }
    }
}

/// The digest of content whose pieces are all hashed.
pub fn of_hashes(hashes: &Hashes) -> Option<[u8; 32]> {
    let mut whole = Whole::new();
    whole.add(hashes);
    whole.finish()
}

/// Reads a file and gives its digest, with the bytes of content that were read; `has_holes` says whether to look for holes.
/// A file that is shorter than `size` has no digest.
///
/// # Errors
/// Outside: the run was stopped. Inside: the file cannot be read.
#[allow(clippy::type_complexity, reason = "the two kinds of failure are told apart by their place")]
pub fn of_file(
    file: &OwnedFd,
    size: u64,
    has_holes: bool,
    buffer: &mut [u8],
    cancel: &sys::Cancel,
) -> Result<Result<(Option<[u8; 32]>, u64), Errno>, crate::Error> {
    let mut pieces = Pieces::new();
    let segments = if has_holes { holes::segments(file, size, cancel) } else { Ok(None) };
    let segments = match segments {
        Ok(segments) => segments.unwrap_or_else(|| vec![(0, size)]),
        Err(error) => return Ok(Err(error)),
    };
    let (mut at, mut read) = (0, 0);
    for (offset, length) in segments {
        pieces.hole(offset - at);
        at = offset;
        while at < offset + length {
            cancel.check()?;
            let room = usize::try_from(offset + length - at).unwrap_or(usize::MAX).min(buffer.len());
            match rustix::io::pread(file, &mut buffer[..room], at) {
                Ok(0) => return Ok(Ok((None, read))),
                Ok(count) => {
                    pieces.data(&buffer[..count]);
                    at += count as u64;
                    read += count as u64;
                }
                Err(Errno::INTR) => {}
                Err(error) => return Ok(Err(error)),
            }
        }
    }
    pieces.hole(size - at);
    Ok(Ok((of_hashes(&pieces.finish()), read)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parts: &[(usize, bool)]) -> Option<[u8; 32]> {
        let mut pieces = Pieces::new();
        for (length, hole) in parts {
            if *hole {
                pieces.hole(*length as u64);
            } else {
                pieces.data(&vec![0; *length]);
            }
        }
        of_hashes(&pieces.finish())
    }

    #[test]
    fn small_content_has_its_plain_hash() {
        let mut pieces = Pieces::new();
        pieces.data(b"hello");
        assert_eq!(of_hashes(&pieces.finish()), Some(*blake3::hash(b"hello").as_bytes()));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn holes_are_zeros_wherever_they_begin() {
        let total = 13_000_001;
        let all = of(&[(total, false)]);
        assert_eq!(all, of(&[(total, true)]));
        assert_eq!(all, of(&[(1, false), (total - 8, true), (7, false)]));
        assert_eq!(all, of(&[(4 << 20, false), (8 << 20, true), (total - (12 << 20), false)]));
        assert_ne!(all, of(&[(total + 1, true)]));
    }

    #[test]
    fn a_huge_hole_is_cheap() {
        let mut pieces = Pieces::new();
        pieces.hole(1 << 40);
        assert_eq!(pieces.finish(), vec![(zero_piece(), 1 << 18)]);
    }
}
