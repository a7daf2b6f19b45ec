//! The compressions that an archive can have. Bytes in, bytes out: one call makes one member (zstd: one frame) that stands
//! for itself, and members one behind the other are a file that the compression's own program reads. It knows nothing
//! of what is compressed.

use std::io::{Error, ErrorKind, Read, Result, Write};

use serde::{Deserialize, Serialize};

/// A compression.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// Zstandard (RFC 8878).
    #[default]
    Zstd,
    /// gzip (RFC 1952).
    Gzip,
    /// xz, file format 1.1.
    Xz,
    /// bzip2.
    Bzip2,
    /// LZ4, frame format 1.6.
    Lz4,
    /// The tar as it is.
    None,
}

/// The dictionary of xz is not larger than a part of the archive: more would only cost memory.
const XZ_DICTIONARY: u32 = crate::format::FRAME as u32;
/// Memory that an xz file may ask for when it is read; what `xz -9` writes needs 65 MiB.
pub(crate) const XZ_MEMORY: u64 = 512 << 20;

impl Codec {
    /// The ending that files of this compression have behind `.tar`.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
            Self::Xz => ".xz",
            Self::Bzip2 => ".bz2",
            Self::Lz4 => ".lz4",
            Self::None => "",
        }
    }

    /// The level that is taken where none is asked for.
    pub fn default_level(self) -> i32 {
        match self {
            // Measured on system trees: levels above cost more time than they save bytes.
            Self::Zstd => 3,
            Self::Gzip | Self::Xz => 6,
            Self::Bzip2 => 9,
            Self::Lz4 => 1,
            Self::None => 0,
        }
    }

    /// The compression of a file that begins so; what has no mark of any is not compressed.
    pub fn of_beginning(bytes: &[u8]) -> Self {
        let marks: [(&[u8], Self); 6] = [
            (&[0x28, 0xB5, 0x2F, 0xFD], Self::Zstd),
            (&[0x1F, 0x8B, 0x08], Self::Gzip),
            (&[0xFD, b'7', b'z', b'X', b'Z', 0], Self::Xz),
            (b"BZh", Self::Bzip2),
            (&[0x04, 0x22, 0x4D, 0x18], Self::Lz4),
            (&[0x02, 0x21, 0x4C, 0x18], Self::Lz4),
        ];
        marks.iter().find(|(mark, _)| bytes.starts_with(mark)).map_or(Self::None, |(_, codec)| *codec)
    }
}

/// At level 3, which is the one of backups, matches shorter than six bytes are not looked for, and one of the two tables is
/// half as large: measured on a Debian root of 1 GB, that takes some 7 % less processor time for 1 % more bytes
/// (`cargo xtask bench-engine`).
fn zstandard(level: i32) -> Result<zstd::bulk::Compressor<'static>> {
    use zstd::zstd_safe::CParameter::{HashLog, MinMatch};
    let mut compressor = zstd::bulk::Compressor::new(level)?;
    compressor.include_checksum(true)?;
    if level == 3 {
        compressor.set_parameter(MinMatch(6))?;
        compressor.set_parameter(HashLog(16))?;
    }
    Ok(compressor)
}

/// Compresses; one for each thread.
pub(crate) enum Compressor {
    /// Keeps its memory from frame to frame.
    Zstd(zstd::bulk::Compressor<'static>),
    /// The others are made anew for each member.
    Other(Codec, u32),
}

impl Compressor {
    /// Of that level; what is not known to the compression becomes the nearest that is.
    pub fn new(codec: Codec, level: i32) -> Result<Self> {
        if codec == Codec::Zstd {
            return zstandard(level).map(Self::Zstd);
        }
        Ok(Self::Other(codec, u32::try_from(level).unwrap_or(0).min(9)))
    }

    /// One member with these bytes, in the place of what `out` holds.
    pub fn compress(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        let (codec, level) = match self {
            Self::Zstd(compressor) => {
                out.reserve(zstd::zstd_safe::compress_bound(bytes.len()));
                return compressor.compress_to_buffer(bytes, out).map(|_| ());
            }
            Self::Other(codec, level) => (*codec, *level),
        };
        match codec {
            Codec::Zstd | Codec::None => out.extend_from_slice(bytes),
            Codec::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::new(level));
                encoder.write_all(bytes)?;
                encoder.finish()?;
            }
            Codec::Xz => {
                let mut encoder = liblzma::write::XzEncoder::new_stream(out, xz(level)?);
                encoder.write_all(bytes)?;
                encoder.finish()?;
            }
            Codec::Bzip2 => {
                let mut encoder = bzip2::write::BzEncoder::new(out, bzip2::Compression::new(level.max(1)));
                encoder.write_all(bytes)?;
                encoder.finish()?;
            }
            Codec::Lz4 => {
                let info = lz4_flex::frame::FrameInfo::new()
                    .block_size(lz4_flex::frame::BlockSize::Max4MB)
                    .content_checksum(true);
                let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, out);
                encoder.write_all(bytes)?;
                encoder.finish()?;
            }
        }
        Ok(())
    }
}

fn xz(level: u32) -> Result<liblzma::stream::Stream> {
    use liblzma::stream::{Check, Filters, LzmaOptions, Stream};
    let mut options = LzmaOptions::new_preset(level)?;
    // From level 4 on the usual one is as large or larger.
    if level >= 4 {
        options.dict_size(XZ_DICTIONARY);
    }
    let mut filters = Filters::new();
    filters.lzma2(&options);
    Ok(Stream::new_stream_encoder(&filters, Check::Crc64)?)
}

/// Decompresses; one for each thread.
pub(crate) enum Decompressor {
    /// Keeps its memory from frame to frame.
    Zstd(zstd::bulk::Decompressor<'static>),
    /// The others are made anew for each member.
    Other(Codec),
}

impl Decompressor {
    /// For members of that compression.
    pub fn new(codec: Codec) -> Result<Self> {
        match codec {
            Codec::Zstd => zstd::bulk::Decompressor::new().map(Self::Zstd),
            other => Ok(Self::Other(other)),
        }
    }

    /// The content of one member, in the place of what `out` holds: its length, which is never more than `limit` bytes.
    /// A member that holds more is an error.
    pub fn decompress(&mut self, member: &[u8], out: &mut Vec<u8>, limit: usize) -> Result<usize> {
        out.clear();
        let codec = match self {
            Self::Zstd(decompressor) => {
                out.reserve(limit);
                decompressor.decompress_to_buffer(member, out)?;
                Codec::Zstd
            }
            Self::Other(codec) => *codec,
        };
        let more = limit as u64 + 1;
        match codec {
            Codec::Zstd => Ok(0),
            Codec::None => member.take(more).read_to_end(out),
            Codec::Gzip => flate2::bufread::GzDecoder::new(member).take(more).read_to_end(out),
            Codec::Xz => {
                let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, 0)?;
                liblzma::bufread::XzDecoder::new_stream(member, stream).take(more).read_to_end(out)
            }
            Codec::Bzip2 => bzip2::bufread::BzDecoder::new(member).take(more).read_to_end(out),
            Codec::Lz4 => lz4_flex::frame::FrameDecoder::new(member).take(more).read_to_end(out),
        }?;
        if out.len() > limit {
            return Err(Error::new(ErrorKind::InvalidData, "it holds more than it should"));
        }
        Ok(out.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Codec; 6] = [Codec::Zstd, Codec::Gzip, Codec::Xz, Codec::Bzip2, Codec::Lz4, Codec::None];

    #[test]
    fn every_compression_gives_back_what_it_got() {
        let text = b"all work and no play makes jack a dull boy\n".repeat(3000);
        for codec in ALL {
            let mut compressor = Compressor::new(codec, codec.default_level()).unwrap();
            let mut decompressor = Decompressor::new(codec).unwrap();
            let (mut member, mut back) = (vec![9], vec![9]);
            for bytes in [&text[..], b"", b"x"] {
                compressor.compress(bytes, &mut member).unwrap();
                assert_eq!(decompressor.decompress(&member, &mut back, bytes.len()).unwrap(), bytes.len());
                assert_eq!(back, bytes, "{codec:?}");
            }
            compressor.compress(&text, &mut member).unwrap();
            assert_eq!(Codec::of_beginning(&member), codec);
            assert!(codec == Codec::None || member.len() < text.len() / 4, "{codec:?}: {}", member.len());
            // One that holds more than it should is no bomb.
            assert!(decompressor.decompress(&member, &mut back, text.len() - 1).is_err(), "{codec:?}");
            assert!(back.len() <= text.len(), "{codec:?}");
        }
    }

    #[test]
    fn a_damaged_member_is_noticed_by_its_own_checksum() {
        let noise = noise(100_000);
        for codec in ALL.into_iter().filter(|codec| *codec != Codec::None) {
            let mut compressor = Compressor::new(codec, codec.default_level()).unwrap();
            let (mut member, mut back) = (Vec::new(), Vec::new());
            compressor.compress(&noise, &mut member).unwrap();
            let middle = member.len() / 2;
            member[middle] ^= 1;
            let read = Decompressor::new(codec).unwrap().decompress(&member, &mut back, noise.len());
            assert!(read.is_err(), "{codec:?}");
        }
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut hasher = blake3::Hasher::new().finalize_xof();
        let mut out = vec![0; length];
        hasher.fill(&mut out);
        out
    }
}
