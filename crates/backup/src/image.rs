//! The blocks of a device as a compressed stream: what a program that knows the used blocks prints, or every block of the device.
//! Compressed and decompressed on the way, with the hash of both sides. Knows nothing of devices and programs.

use std::fs::File;
use std::io::{Read, Write};

use crate::Error;

/// The largest window of a stream, as a power of two in bytes: what zstd's own program takes without being asked (128 MiB).
const WINDOW_LOG: u32 = 27;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Bytes of the stream.
    pub bytes: u64,
    /// BLAKE3 of the stream, hexadecimal.
    pub blake3: String,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// BLAKE3 of the file, hexadecimal.
    pub file_blake3: String,
}

/// Bytes and their hash on the way into a file.
struct Counted {
    file: File,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Write for Counted {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(buffer)?;
        self.hasher.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

/// A stream on its way into a file.
pub struct ImageWriter {
    encoder: zstd::Encoder<'static, Counted>,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl ImageWriter {
    /// Into this empty file, with a level of zstd and so many threads.
    ///
    /// # Errors
    /// zstd takes no such level.
    pub fn new(file: File, level: i32, threads: usize) -> Result<Self, Error> {
        let counted = Counted { file, hasher: blake3::Hasher::new(), bytes: 0 };
        let start = || -> std::io::Result<_> {
            let mut encoder = zstd::Encoder::new(counted, level)?;
            encoder.include_checksum(true)?;
            if threads > 1 {
                encoder.multithread(u32::try_from(threads).unwrap_or(u32::MAX))?;
            }
            Ok(encoder)
        };
        let encoder = start().map_err(|error| Error::io("begin an image with zstd")(error))?;
        Ok(Self { encoder, hasher: blake3::Hasher::new(), bytes: 0 })
    }

    /// The next bytes of the stream.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&mut self, piece: &[u8]) -> std::io::Result<()> {
        self.hasher.update(piece);
        self.bytes += piece.len() as u64;
        self.encoder.write_all(piece)
    }

    /// The end of the stream. The file is on its disk then.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(self) -> std::io::Result<Image> {
        let counted = self.encoder.finish()?;
        counted.file.sync_all()?;
        Ok(Image {
            bytes: self.bytes,
            blake3: self.hasher.finalize().to_hex().to_string(),
            file_bytes: counted.bytes,
            file_blake3: counted.hasher.finalize().to_hex().to_string(),
        })
    }
}

/// A stream on its way out of a file. Its end is only read when the whole has the right length and hash: until then there is an
/// error instead.
pub struct ImageReader<'a> {
    decoder: zstd::Decoder<'static, std::io::BufReader<Box<dyn Read + Send + 'a>>>,
    hasher: blake3::Hasher,
    bytes: u64,
    wanted: (u64, &'a str),
}

impl<'a> ImageReader<'a> {
    /// Out of `source`; the stream has so many bytes and this BLAKE3 (hexadecimal).
    ///
    /// # Errors
    /// zstd cannot begin.
    pub fn new(source: impl Read + Send + 'a, bytes: u64, blake3: &'a str) -> Result<Self, Error> {
        let source: Box<dyn Read + Send + 'a> = Box::new(source);
        let start = || -> std::io::Result<_> {
            let mut decoder = zstd::Decoder::new(source)?;
            decoder.window_log_max(WINDOW_LOG)?;
            Ok(decoder)
        };
        let decoder = start().map_err(|error| Error::io("begin to read an image with zstd")(error))?;
        Ok(Self { decoder, hasher: blake3::Hasher::new(), bytes: 0, wanted: (bytes, blake3) })
    }
}

impl Read for ImageReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let got = self.decoder.read(buffer)?;
        self.hasher.update(&buffer[..got]);
        self.bytes += got as u64;
        let (bytes, blake3) = self.wanted;
        let is_end = got == 0 && !buffer.is_empty();
        if self.bytes > bytes
            || (is_end && (self.bytes != bytes || self.hasher.finalize().to_hex().as_str() != blake3))
        {
            return Err(std::io::Error::other(
                "the image is damaged: it has another checksum than the sealed one",
            ));
        }
        Ok(got)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(content: &[u8], threads: usize) -> (Image, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        let mut writer = ImageWriter::new(File::create(&path).unwrap(), 3, threads).unwrap();
        content.chunks(70_001).for_each(|piece| writer.write(piece).unwrap());
        let image = writer.finish().unwrap();
        (image, std::fs::read(&path).unwrap())
    }

    fn read(image: &Image, file: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let file = std::io::Cursor::new(file.to_vec());
        ImageReader::new(file, image.bytes, &image.blake3).unwrap().read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn a_stream_comes_back_and_both_hashes_are_right() {
        let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 7 % 251) as u8).collect();
        for threads in [1, 3] {
            let (image, file) = written(&content, threads);
            assert_eq!(image.bytes, 3_000_000);
            assert_eq!(
                (image.file_bytes, image.file_blake3.as_str()),
                (file.len() as u64, blake3::hash(&file).to_hex().as_str())
            );
            assert_eq!(read(&image, &file).unwrap(), content);
        }
        let (image, file) = written(b"", 1);
        assert!(read(&image, &file).unwrap().is_empty());
    }

    #[test]
    fn another_content_never_ends() {
        let (image, file) = written(&[7; 1_000_000], 1);
        let mut found = 0;
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 0x20;
            match read(&image, &damaged) {
                Err(_) => found += 1,
                // A bit of the header that says nothing of the content.
                Ok(content) => assert_eq!(content, [7; 1_000_000], "byte {at}"),
            }
        }
        assert!(found + 2 >= file.len(), "{found} of {}", file.len());
        assert!(read(&image, &file[..file.len() - 4]).is_err());
        assert!(read(&image, b"").is_err(), "nothing at all");
        let (_, other) = written(&[8; 1_000_000], 1);
        assert!(read(&image, &other).is_err(), "another image of the same length");
        let (_, longer) = written(&[7; 1_000_001], 1);
        assert!(read(&image, &longer).is_err());
    }
}
