//! The bytes of a tar that another program made: decompressed, whatever the compression, from one file or from volumes. It
//! knows nothing of tar.

use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result};

use crate::codec::{Codec, XZ_MEMORY};
use crate::stored::{Stored, StoredReader};

/// Read from the disk at a time, in bytes.
const BUFFER: usize = 256 << 10;

/// What kinds of files are recognised and cannot be read, by their beginning, each with what to do.
const FOREIGN: [(&[u8], &str); 6] = [
    (
        b"Salted__",
        "is encrypted with openssl: decrypt it first, for example with openssl enc -d -des3 -in FILE -out backup.tar.gz",
    ),
    (b"age-encryption.org/", "is encrypted with age: decrypt it first with age -d"),
    (b"\x89LZO", "is compressed with lzop: decompress it first with lzop -d"),
    (b"LZIP", "is compressed with lzip: decompress it first with lzip -d"),
    (b"\x1F\x9D", "is compressed with compress: decompress it first with uncompress"),
    (b"\x5D\0\0", "is compressed with lzma: decompress it first with xz --format=lzma -d"),
];

/// Why a file that begins so cannot be read.
pub fn foreign(beginning: &[u8]) -> Option<&'static str> {
    FOREIGN.iter().find(|(mark, _)| beginning.starts_with(mark)).map(|(_, why)| *why)
}

/// The content of the file from its beginning.
pub fn open(stored: &Stored, codec: Codec) -> Result<Box<dyn Read>> {
    let input = BufReader::with_capacity(BUFFER, stored.reader());
    Ok(match codec {
        Codec::None => Box::new(input),
        Codec::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
        Codec::Gzip => Box::new(Gzip::Between(Some(input))),
        Codec::Xz => {
            let stream =
                liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(input, stream))
        }
        Codec::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
        Codec::Lz4 => Box::new(Lz4(lz4_flex::frame::FrameDecoder::new(input))),
    })
}

type Input = BufReader<StoredReader>;

/// gzip members one behind the other, and the zeros that tapes put behind the last.
enum Gzip {
    Between(Option<Input>),
    Inside(Box<flate2::bufread::GzDecoder<Input>>),
}

impl Read for Gzip {
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize> {
        loop {
            match self {
                Self::Inside(member) => {
                    let count = member.read(bytes)?;
                    if count > 0 || bytes.is_empty() {
                        return Ok(count);
                    }
                    let Self::Inside(member) = std::mem::replace(self, Self::Between(None)) else { continue };
                    *self = Self::Between(Some(member.into_inner()));
                }
                Self::Between(input) => {
                    let Some(mut input) = input.take() else { return Ok(0) };
                    let next = input.fill_buf()?;
                    if next.is_empty() {
                        return Ok(0);
                    }
                    let zeros = next.iter().take_while(|byte| **byte == 0).count();
                    if zeros > 0 {
                        input.consume(zeros);
                        *self = Self::Between(Some(input));
                    } else {
                        *self = Self::Inside(Box::new(flate2::bufread::GzDecoder::new(input)));
                    }
                }
            }
        }
    }
}

/// LZ4 frames one behind the other; the decoder stops after each, and at those that are to be skipped.
struct Lz4(lz4_flex::frame::FrameDecoder<Input>);

impl Read for Lz4 {
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize> {
        loop {
            match self.0.read(bytes) {
                Ok(0) if !bytes.is_empty() => {
                    if self.0.get_mut().fill_buf()?.is_empty() {
                        return Ok(0);
                    }
                }
                Err(error) => {
                    let inner =
                        error.get_ref().and_then(|inner| inner.downcast_ref::<lz4_flex::frame::Error>());
                    let Some(lz4_flex::frame::Error::SkippableFrame(length)) = inner else {
                        return Err(error);
                    };
                    let length = u64::from(*length);
                    let skipped = std::io::copy(&mut self.0.get_mut().take(length), &mut std::io::sink())?;
                    if skipped < length {
                        return Err(Error::from(ErrorKind::UnexpectedEof));
                    }
                }
                result => return result,
            }
        }
    }
}
