//! Where the bytes of an archive go: one file, or volumes of a limited size one behind the other, and encrypted on the way
//! there or not. It knows nothing of what the bytes mean.

use std::fs::File;
use std::io::{Error, ErrorKind, Result, Write};

use crypt::{FileKey, Lock};

/// Takes the bytes of an archive in their order.
pub trait Output: Write + Send {
    /// All is written: brings it to the disk.
    ///
    /// # Errors
    /// The disk does not take it.
    fn close(&mut self) -> Result<()>;
}

impl Output for &File {
    fn close(&mut self) -> Result<()> {
        match self.sync_all() {
            // A pipe or a special file cannot be flushed.
            Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
            result => result,
        }
    }
}

/// What was written into one volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Its length in bytes.
    pub bytes: u64,
    /// Its plain BLAKE3 hash, as `b3sum` prints it.
    pub blake3: String,
}

/// Makes a new file for the volume of this number, counted from 1.
type Make<'a> = Box<dyn FnMut(u32) -> Result<File> + Send + 'a>;

/// Volumes: all but the last have the same size.
pub struct Volumes<'a> {
    make: Make<'a>,
    /// Bytes of a volume.
    size: u64,
    now: Option<(File, blake3::Hasher, u64)>,
    done: Vec<Volume>,
}

impl<'a> Volumes<'a> {
    /// Volumes of `size` bytes (at least 1), each in a file that `make` makes.
    pub fn new(size: u64, make: impl FnMut(u32) -> Result<File> + Send + 'a) -> Self {
        Self { make: Box::new(make), size: size.max(1), now: None, done: Vec::new() }
    }

    /// All in one file, which is hashed on the way.
    pub fn one(file: File) -> Self {
        let mut file = Some(file);
        Self::new(u64::MAX, move |_| file.take().ok_or_else(|| Error::other("the only volume is full")))
    }

    /// What was written, once it is closed.
    pub fn written(&self) -> &[Volume] {
        &self.done
    }

    fn finish_volume(&mut self) -> Result<()> {
        let Some((file, hasher, bytes)) = self.now.take() else { return Ok(()) };
        file.sync_all()?;
        self.done.push(Volume { bytes, blake3: hasher.finalize().to_hex().to_string() });
        Ok(())
    }
}

impl Write for Volumes<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        if self.now.as_ref().is_some_and(|(.., filled)| *filled >= self.size) {
            self.finish_volume()?;
        }
        if self.now.is_none() {
            let number =
                u32::try_from(self.done.len() + 1).map_err(|_| Error::other("there are too many volumes"))?;
            self.now = Some(((self.make)(number)?, blake3::Hasher::new(), 0));
        }
        let Some((file, hasher, filled)) = &mut self.now else { return Ok(0) };
        let room = usize::try_from(self.size - *filled).unwrap_or(usize::MAX).min(bytes.len());
        let count = file.write(&bytes[..room])?;
        hasher.update(&bytes[..count]);
        *filled += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Output for Volumes<'_> {
    fn close(&mut self) -> Result<()> {
        self.finish_volume()
    }
}

/// Encrypts on the way to another output. The thread that writes does that, while others compress; 64 KiB are in memory.
pub struct Encrypted<'a> {
    stream: Option<crypt::Writer<&'a mut dyn Output>>,
    key: FileKey,
}

impl<'a> Encrypted<'a> {
    /// Writes the header of the encrypted file.
    ///
    /// # Errors
    /// It cannot be encrypted to these keys, or written.
    pub fn begin(lock: &Lock, to: &'a mut dyn Output) -> std::result::Result<Self, crypt::Error> {
        let stream = crypt::Writer::begin(lock, to)?;
        Ok(Self { key: stream.key().clone(), stream: Some(stream) })
    }

    /// The key of the file that is written: it opens it, and [hashes](FileKey::digest) what the seal says of it.
    pub fn key(&self) -> &FileKey {
        &self.key
    }
}

impl Write for Encrypted<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let closed = || Error::other("it is closed");
        self.stream.as_mut().ok_or_else(closed)?.write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Output for Encrypted<'_> {
    fn close(&mut self) -> Result<()> {
        match self.stream.take() {
            Some(stream) => stream.finish()?.close(),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_full_but_for_the_last() {
        let dir = tempfile::tempdir().unwrap();
        let path = |number: u32| dir.path().join(format!("x.{number:03}"));
        for (length, wanted) in [(0, vec![]), (9, vec![9]), (10, vec![10]), (25, vec![10, 10, 5])] {
            let mut volumes = Volumes::new(10, |number| File::create(path(number)));
            let bytes: Vec<u8> = (0..length).collect();
            for chunk in bytes.chunks(7) {
                volumes.write_all(chunk).unwrap();
            }
            volumes.close().unwrap();
            let written: Vec<u64> = volumes.written().iter().map(|one| one.bytes).collect();
            assert_eq!(written, wanted);
            let mut all = Vec::new();
            for (index, volume) in volumes.written().iter().enumerate() {
                let part = std::fs::read(path(index as u32 + 1)).unwrap();
                assert_eq!(blake3::hash(&part).to_hex().as_str(), volume.blake3);
                all.extend(part);
            }
            assert_eq!(all, bytes);
        }
    }

    #[test]
    fn a_volume_that_cannot_be_made_ends_the_writing() {
        let dir = tempfile::tempdir().unwrap();
        let mut volumes = Volumes::new(4, |number| match number {
            1 => File::create(dir.path().join("1")),
            _ => Err(Error::other("no more")),
        });
        assert!(volumes.write_all(b"abcde").unwrap_err().to_string().contains("no more"));
    }
}
