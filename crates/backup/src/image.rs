//! The blocks of a device as a compressed stream: what a program that knows the used blocks prints, or every block of the device.
//! Compressed and decompressed on the way, with its hash. Knows nothing of devices and programs.

use std::io::{Read, Write};

use serde::{Deserialize, Serialize};

use crate::stored::StoredReader;
use crate::{Error, Output, Stored};

/// The largest window of a stream, as a power of two in bytes: what zstd's own program takes without being asked (128 MiB).
const WINDOW_LOG: u32 = 27;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Bytes of the stream.
    pub bytes: u64,
    /// BLAKE3 of the stream, hexadecimal; of an encrypted one, keyed by the key of its file.
    pub blake3: String,
}

/// A stream on its way to an output.
pub struct ImageWriter<'a> {
    encoder: zstd::Encoder<'static, &'a mut dyn Output>,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl<'a> ImageWriter<'a> {
    /// To this empty output, with a level of zstd and so many threads.
    ///
    /// # Errors
    /// zstd takes no such level.
    pub fn new(to: &'a mut dyn Output, level: i32, threads: usize) -> Result<Self, Error> {
        let start = || -> std::io::Result<_> {
            let mut encoder = zstd::Encoder::new(to, level)?;
            encoder.include_checksum(true)?;
            if threads > 1 {
                encoder.multithread(u32::try_from(threads).unwrap_or(u32::MAX))?;
            }
            Ok(encoder)
        };
        let encoder = start().map_err(Error::io("begin an image with zstd"))?;
        Ok(Self { encoder, hasher: blake3::Hasher::new(), bytes: 0 })
    }

    /// The next bytes of the stream.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn write(&mut self, piece: &[u8]) -> std::io::Result<()> {
        self.hasher.update(piece);
        self.bytes += piece.len() as u64;
        self.encoder.write_all(piece)
    }

    /// The end of the stream. The output is closed then.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn finish(self) -> std::io::Result<Image> {
        self.encoder.finish()?.close()?;
        Ok(Image { bytes: self.bytes, blake3: self.hasher.finalize().to_hex().to_string() })
    }
}

/// A stream on its way out of a file. Its end is only read when the whole has the right length and hash: until then there is an
/// error instead.
pub struct ImageReader<'a> {
    decoder: zstd::Decoder<'static, std::io::BufReader<StoredReader>>,
    hasher: blake3::Hasher,
    bytes: u64,
    stored: &'a Stored,
    wanted: &'a Image,
}

impl<'a> ImageReader<'a> {
    /// Out of this file, which is open where it is encrypted; the stream must be the wanted one.
    ///
    /// # Errors
    /// zstd cannot begin.
    pub fn new(stored: &'a Stored, wanted: &'a Image) -> Result<Self, Error> {
        let start = || -> std::io::Result<_> {
            let mut decoder = zstd::Decoder::new(stored.reader())?;
            decoder.window_log_max(WINDOW_LOG)?;
            Ok(decoder)
        };
        let decoder = start().map_err(Error::io("begin to read an image with zstd"))?;
        Ok(Self { decoder, hasher: blake3::Hasher::new(), bytes: 0, stored, wanted })
    }

    fn is_right(&self) -> bool {
        let found = self.hasher.finalize().to_hex().to_string();
        self.bytes == self.wanted.bytes && self.stored.told(found) == self.wanted.blake3
    }
}

impl Read for ImageReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let got = self.decoder.read(buffer)?;
        self.hasher.update(&buffer[..got]);
        self.bytes += got as u64;
        let is_end = got == 0 && !buffer.is_empty();
        if self.bytes > self.wanted.bytes || (is_end && !self.is_right()) {
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
    use crate::{Encrypted, Volumes};

    fn write(to: &mut dyn Output, content: &[u8], threads: usize) -> Image {
        let mut writer = ImageWriter::new(to, 3, threads).unwrap();
        content.chunks(70_001).for_each(|piece| writer.write(piece).unwrap());
        writer.finish().unwrap()
    }

    fn written(content: &[u8], threads: usize) -> (Image, Vec<u8>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        let mut output = Volumes::one(std::fs::File::create(&path).unwrap());
        let image = write(&mut output, content, threads);
        let file = std::fs::read(&path).unwrap();
        assert_eq!(output.written()[0].blake3, blake3::hash(&file).to_hex().to_string());
        (image, file)
    }

    fn read(image: &Image, file: &[u8]) -> std::io::Result<Vec<u8>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        std::fs::write(&path, file).unwrap();
        let mut out = Vec::new();
        ImageReader::new(&Stored::open(&path).unwrap(), image).unwrap().read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn a_stream_comes_back_and_its_hash_is_right() {
        let content: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 7 % 251) as u8).collect();
        for threads in [1, 3] {
            let (image, file) = written(&content, threads);
            assert_eq!(image.bytes, 3_000_000);
            assert_eq!(read(&image, &file).unwrap(), content);
        }
        let (image, file) = written(b"", 1);
        assert!(read(&image, &file).unwrap().is_empty());
    }

    #[test]
    fn an_encrypted_one_in_volumes_comes_back_and_its_hash_tells_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let name = |number: u32| dir.path().join(number.to_string());
        let content: Vec<u8> =
            (0..400_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let lock = crypt::Lock::Passphrase(sys::Secret::of_bytes(b"one".to_vec()));
        let mut volumes = Volumes::new(500_000, |number| std::fs::File::create(name(number)));
        let mut output = Encrypted::begin(&lock, &mut volumes).unwrap();
        let key = output.key().clone();
        let mut image = write(&mut output, &content, 1);
        assert_eq!(image.blake3, blake3::hash(&content).to_hex().to_string());
        image.blake3 = key.digest(&image.blake3);
        let count = u32::try_from(volumes.written().len()).unwrap();
        assert!(count > 2);
        let files: Vec<Stored> = (1..=count).map(|number| Stored::open(&name(number)).unwrap()).collect();
        let joined = Stored::joined(dir.path().join("all"), &files);
        let open = |word: &[u8]| {
            joined.decrypted(&crypt::Opener::Passphrase(sys::Secret::of_bytes(word.to_vec()))).unwrap()
        };
        let plain = open(b"one").unwrap();
        assert!(open(b"two").is_none());
        let mut out = Vec::new();
        ImageReader::new(&plain, &image).unwrap().read_to_end(&mut out).unwrap();
        assert!(out == content);
        let bare = Image { blake3: blake3::hash(&content).to_hex().to_string(), ..image };
        assert!(ImageReader::new(&plain, &bare).unwrap().read_to_end(&mut Vec::new()).is_err());
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
