//! The archive file: frames, their digests, and the table that finds them.
//!
//! ```text
//! zstd frame 0 | zstd frame 1 | … | skippable frame: digests | skippable frame: seek table
//! ```
//!
//! * The zstd frames are independent of each other; one behind the other they decompress to one pax tar. A frame
//!   begins at the header of an entry, or inside the content of a file that is larger than a frame. Each carries
//!   zstd's own content checksum.
//! * The digests (magic 0x184D2A50; then the eight bytes [`TAG`]) are the BLAKE3 hashes of the compressed frames,
//!   32 bytes each, in order.
//! * The seek table is the one of zstd's seekable format 0.1.0 (contrib/seekable_format), without checksums.
//!
//! The *archive digest* is the BLAKE3 hash (key derivation mode, context [`CONTEXT`]) of the hashes of all frames
//! followed by the hash of everything behind the last frame. So it is computed in parallel while writing and while
//! verifying, and a bad part can be named. Decompressors skip both skippable frames.
//!
//! The other compressions keep the same form: members (xz: streams) that are independent of each other, and the same two
//! tables behind the last one. For lz4, which knows skippable frames too, and for a tar without compression they stand as they
//! are. gzip, xz and bzip2 have no place for foreign data, so there the tables are the content of a member of their own,
//! followed by a last member with the sixteen bytes [`INDEX_TAG`] and the length of the one before. Both lie behind the end
//! mark of the tar, where no program looks any more.

use std::path::Path;

use crate::codec::{Codec, Compressor, Decompressor};
use crate::{Error, Stored};

/// Begins the digest table: name and version.
pub const TAG: &[u8; 8] = b"rearb3\0\x01";
/// Keeps the archive digest apart from any plain hash.
pub const CONTEXT: &str = "rear archive 1";

/// Begins the last member of a file whose tables are compressed.
pub const INDEX_TAG: &[u8; 8] = b"rearix\0\x01";

const DIGESTS_MAGIC: u32 = 0x184D_2A50;
const SEEK_MAGIC: u32 = 0x184D_2A5E;
const FOOTER_MAGIC: u32 = 0x8F92_EAB1;
/// Uncompressed bytes at which a frame is closed.
pub(crate) const FRAME: usize = 4 << 20;
/// No frame that we write is larger when decompressed, headers with large attributes included; a table that says
/// otherwise is damaged, and is not given memory.
const FRAME_LIMIT: u32 = 64 << 20;
/// The tables of an archive of 100 TB, in bytes; what claims more is damaged.
const TRAILER_LIMIT: u64 = 1 << 30;
/// The last member is shorter than this in every compression.
const LAST_LIMIT: u64 = 256;

/// One zstd frame of the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// Its compressed length in bytes.
    pub stored: u32,
    /// Its decompressed length in bytes.
    pub size: u32,
}

/// What lies behind the last frame.
#[derive(Clone, Debug)]
pub(crate) struct Trailer {
    pub frames: Vec<Frame>,
    /// One BLAKE3 hash for each frame.
    pub digests: Vec<[u8; 32]>,
    /// BLAKE3 hash of the trailer's own bytes.
    pub digest: [u8; 32],
    /// How the frames are compressed.
    pub codec: Codec,
}

/// Whether the tables are a member of the file like the frames.
fn is_wrapped(codec: Codec) -> bool {
    matches!(codec, Codec::Gzip | Codec::Xz | Codec::Bzip2)
}

/// The trailer's bytes for these frames.
pub(crate) fn trailer(codec: Codec, frames: &[Frame], digests: &[[u8; 32]]) -> Result<Vec<u8>, Error> {
    let tables = tables(frames, digests)?;
    if !is_wrapped(codec) {
        return Ok(tables);
    }
    let wrap = || {
        let mut compressor = Compressor::new(codec, codec.default_level())?;
        let (mut out, mut last) = (Vec::new(), Vec::new());
        compressor.compress(&tables, &mut out)?;
        let footer = [*INDEX_TAG, (out.len() as u64).to_le_bytes()].concat();
        compressor.compress(&footer, &mut last)?;
        out.append(&mut last);
        Ok(out)
    };
    wrap().map_err(Error::io::<std::io::Error>("write the archive's seek table"))
}

/// The two tables as they are.
fn tables(frames: &[Frame], digests: &[[u8; 32]]) -> Result<Vec<u8>, Error> {
    let too_long = || Error::Io {
        what: "write the archive's seek table".into(),
        source: std::io::Error::other("the archive has too many frames"),
    };
    let number = |length: usize| u32::try_from(length).map_err(|_| too_long());
    let mut out = Vec::with_capacity(frames.len() * 40 + 64);
    out.extend(DIGESTS_MAGIC.to_le_bytes());
    out.extend(number(TAG.len() + digests.len() * 32)?.to_le_bytes());
    out.extend(TAG);
    digests.iter().for_each(|digest| out.extend(digest));
    out.extend(SEEK_MAGIC.to_le_bytes());
    out.extend(number(frames.len() * 8 + 9)?.to_le_bytes());
    for frame in frames {
        out.extend(frame.stored.to_le_bytes());
        out.extend(frame.size.to_le_bytes());
    }
    out.extend(number(frames.len())?.to_le_bytes());
    out.push(0);
    out.extend(FOOTER_MAGIC.to_le_bytes());
    Ok(out)
}

/// The digest of the whole archive.
pub(crate) fn archive_digest(frames: &[[u8; 32]], trailer: &[u8; 32]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    frames.iter().for_each(|digest| _ = hasher.update(digest));
    hasher.update(trailer);
    *hasher.finalize().as_bytes()
}

/// Reads and checks the trailer of an archive.
pub(crate) fn read_trailer(file: &Stored) -> Result<Trailer, Error> {
    let (length, path) = (file.len(), file.path());
    let damaged = || Error::damaged(path, "its seek table cannot be read");
    let mut beginning = vec![0; usize::try_from(length.min(6)).unwrap_or(0)];
    read_at(file, path, &mut beginning, 0)?;
    let codec = Codec::of_beginning(&beginning);
    if is_wrapped(codec) {
        let tail = length.min(LAST_LIMIT);
        let mut bytes = vec![0; usize::try_from(tail).unwrap_or(0)];
        read_at(file, path, &mut bytes, length - tail)?;
        let (at, member) = last_member(codec, &bytes).ok_or_else(damaged)?;
        let size = member + (bytes.len() - at) as u64;
        // Checked against the length of the file before any memory is taken.
        let start = length.checked_sub(size).filter(|_| member <= TRAILER_LIMIT).ok_or_else(damaged)?;
        let mut all = vec![0; usize::try_from(size).map_err(|_| damaged())?];
        read_at(file, path, &mut all, start)?;
        let mut tables = Vec::new();
        let member = &all[..usize::try_from(member).map_err(|_| damaged())?];
        Decompressor::new(codec)
            .and_then(|mut one| one.decompress(member, &mut tables, TRAILER_LIMIT as usize))
            .map_err(|_| damaged())?;
        return parse(&tables, start, *blake3::hash(&all).as_bytes(), codec).ok_or_else(damaged);
    }
    let footer = length.checked_sub(9).ok_or_else(damaged)?;
    let mut count = [0; 4];
    read_at(file, path, &mut count, footer)?;
    let size = tables_size(u32::from_le_bytes(count));
    // Checked against the length of the file before any memory is taken.
    let start = length.checked_sub(size).ok_or_else(damaged)?;
    let count = u64::from(u32::from_le_bytes(count));
    if !is_table_sound(file, start + 16 + count * 32 + 8, count, start)? {
        return Err(damaged());
    }
    let mut bytes = vec![0; usize::try_from(size).map_err(|_| damaged())?];
    read_at(file, path, &mut bytes, start)?;
    parse(&bytes, start, *blake3::hash(&bytes).as_bytes(), codec).ok_or_else(damaged)
}

/// Where the last member begins in the tail of a file, and the length of the member before it.
fn last_member(codec: Codec, tail: &[u8]) -> Option<(usize, u64)> {
    let mut decompressor = Decompressor::new(codec).ok()?;
    let mut footer = Vec::new();
    (0..tail.len()).rev().find_map(|at| {
        let member = tail.get(at..)?;
        if Codec::of_beginning(member) != codec {
            return None;
        }
        decompressor.decompress(member, &mut footer, 16).ok()?;
        let length = footer.strip_prefix(INDEX_TAG)?;
        Some((at, u64::from_le_bytes(length.try_into().ok()?)))
    })
}

/// Bytes of the two tables for so many frames.
fn tables_size(count: u32) -> u64 {
    let count = u64::from(count);
    (8 + 8 + count * 32) + (8 + count * 8 + 9)
}

/// Looks over the seek table piece by piece. Only a table that fits the file is given memory: a sparse file may have any
/// length and cost nothing.
fn is_table_sound(file: &Stored, mut at: u64, count: u64, frames_end: u64) -> Result<bool, Error> {
    const AT_ONCE: u64 = 8192;
    let (mut left, mut offset) = (count, 0_u64);
    let mut piece = [0; 8 * AT_ONCE as usize];
    while left > 0 {
        let now = left.min(AT_ONCE);
        let bytes = &mut piece[..8 * usize::try_from(now).unwrap_or(0)];
        read_at(file, file.path(), bytes, at)?;
        for entry in bytes.as_chunks::<8>().0 {
            let [s0, s1, s2, s3, ..] = *entry;
            let stored = u32::from_le_bytes([s0, s1, s2, s3]);
            // No frame is empty.
            if stored == 0 || stored > FRAME_LIMIT {
                return Ok(false);
            }
            offset += u64::from(stored);
        }
        (at, left) = (at + bytes.len() as u64, left - now);
    }
    Ok(offset == frames_end)
}

fn parse(bytes: &[u8], start: u64, digest: [u8; 32], codec: Codec) -> Option<Trailer> {
    let footer = bytes.len().checked_sub(9)?;
    let count = number(bytes, footer)?;
    if number(bytes, footer + 5)? != FOOTER_MAGIC
        || *bytes.get(footer + 4)? != 0
        || tables_size(count) != bytes.len() as u64
    {
        return None;
    }
    let count = usize::try_from(count).ok()?;
    let seek = 16 + count * 32;
    let wanted = [
        (0, DIGESTS_MAGIC),
        (4, u32::try_from(8 + count * 32).ok()?),
        (seek, SEEK_MAGIC),
        (seek + 4, u32::try_from(count * 8 + 9).ok()?),
    ];
    if wanted.iter().any(|(at, value)| number(bytes, *at) != Some(*value)) || bytes.get(8..16)? != TAG {
        return None;
    }
    let digests = bytes.get(16..seek)?.as_chunks::<32>().0.to_vec();
    let mut frames = Vec::with_capacity(count);
    let mut offset = 0_u64;
    for at in (0..count).map(|index| seek + 8 + index * 8) {
        let frame = Frame { offset, stored: number(bytes, at)?, size: number(bytes, at + 4)? };
        if frame.size > FRAME_LIMIT || frame.stored > FRAME_LIMIT {
            return None;
        }
        offset += u64::from(frame.stored);
        frames.push(frame);
    }
    (offset == start).then_some(Trailer { frames, digests, digest, codec })
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn read_at(file: &Stored, path: &Path, bytes: &mut [u8], offset: u64) -> Result<(), Error> {
    file.read_exact_at(bytes, offset).map_err(Error::reading(path))
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trailer_comes_back_and_any_cut_is_seen() {
        for codec in [Codec::Zstd, Codec::Gzip, Codec::Xz, Codec::Bzip2, Codec::Lz4, Codec::None] {
            let mut bytes = Vec::new();
            Compressor::new(codec, 1).unwrap().compress(b"ABCDE", &mut bytes).unwrap();
            let stored = bytes.len() as u32;
            let frames = [
                Frame { offset: 0, stored: stored - 2, size: 100 },
                Frame { offset: u64::from(stored) - 2, stored: 2, size: 5 },
            ];
            let digests = [[1; 32], [2; 32]];
            bytes.extend(trailer(codec, &frames, &digests).unwrap());
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("a");
            std::fs::write(&path, &bytes).unwrap();
            let read = read_trailer(&Stored::open(&path).unwrap()).unwrap();
            assert_eq!((read.codec, read.digests.as_slice()), (codec, digests.as_slice()));
            assert_eq!(read.frames, frames);
            assert_eq!(read.digest, *blake3::hash(&bytes[stored as usize..]).as_bytes());
            for end in 0..bytes.len() {
                std::fs::write(&path, &bytes[..end]).unwrap();
                assert!(read_trailer(&Stored::open(&path).unwrap()).is_err(), "{codec:?} {end}");
            }
        }
    }
}
