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

use std::path::Path;

use crate::{Error, Stored};

/// Begins the digest table: name and version.
pub const TAG: &[u8; 8] = b"rearb3\0\x01";
/// Keeps the archive digest apart from any plain hash.
pub const CONTEXT: &str = "rear archive 1";

const DIGESTS_MAGIC: u32 = 0x184D_2A50;
const SEEK_MAGIC: u32 = 0x184D_2A5E;
const FOOTER_MAGIC: u32 = 0x8F92_EAB1;
/// Uncompressed bytes at which a frame is closed.
pub(crate) const FRAME: usize = 4 << 20;
/// No frame that we write is larger when decompressed, headers with large attributes included; a table that says
/// otherwise is damaged, and is not given memory.
const FRAME_LIMIT: u32 = 64 << 20;

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
}

/// The trailer's bytes for these frames.
pub(crate) fn trailer(frames: &[Frame], digests: &[[u8; 32]]) -> Result<Vec<u8>, Error> {
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
    let start = length.checked_sub(9).ok_or_else(damaged)?;
    let mut footer = [0; 9];
    read_at(file, path, &mut footer, start)?;
    if number(&footer, 5) != Some(FOOTER_MAGIC) || footer[4] != 0 {
        return Err(damaged());
    }
    let count = u64::from(number(&footer, 0).ok_or_else(damaged)?);
    let size = (8 + 8 + count * 32) + (8 + count * 8 + 9);
    // Checked against the length of the file before any memory is taken.
    let start = length.checked_sub(size).ok_or_else(damaged)?;
    let mut bytes = vec![0; usize::try_from(size).map_err(|_| damaged())?];
    read_at(file, path, &mut bytes, start)?;
    parse(&bytes, usize::try_from(count).map_err(|_| damaged())?, start).ok_or_else(damaged)
}

fn parse(bytes: &[u8], count: usize, start: u64) -> Option<Trailer> {
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
    (offset == start).then(|| Trailer { frames, digests, digest: *blake3::hash(bytes).as_bytes() })
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

fn read_at(file: &Stored, path: &Path, bytes: &mut [u8], offset: u64) -> Result<(), Error> {
    file.read_exact_at(bytes, offset).map_err(Error::io(format!("read {}", path.display())))
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trailer_comes_back_and_any_cut_is_seen() {
        let frames = [Frame { offset: 0, stored: 3, size: 100 }, Frame { offset: 3, stored: 2, size: 5 }];
        let digests = [[1; 32], [2; 32]];
        let mut bytes = b"ABCDE".to_vec();
        bytes.extend(trailer(&frames, &digests).unwrap());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, &bytes).unwrap();
        let read = read_trailer(&Stored::open(&path).unwrap()).unwrap();
        assert_eq!(read.frames, frames);
        assert_eq!(read.digests, digests);
        for end in 0..bytes.len() {
            std::fs::write(&path, &bytes[..end]).unwrap();
            assert!(read_trailer(&Stored::open(&path).unwrap()).is_err(), "{end}");
        }
    }
}
