//! A file that is read at any place by several threads: one of its own, stretches of a larger one (a file inside an ISO
//! image, which needs no mount), several files one behind the other (volumes), or what any of these holds encrypted. It never
//! writes.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crypt::{FileKey, Opener, Plain};

use crate::Error;

/// The bytes of an archive or a manifest, wherever they lie.
#[derive(Clone, Debug)]
pub struct Stored {
    path: PathBuf,
    extents: Arc<[Extent]>,
    length: u64,
    /// The content, where the extents hold it encrypted; then the length is its own.
    plain: Option<Arc<Plain<StoredReader>>>,
}

/// A stretch of a file.
#[derive(Clone, Debug)]
struct Extent {
    file: Arc<File>,
    /// Where it begins in the file, in bytes.
    offset: u64,
    /// In bytes.
    length: u64,
}

impl Stored {
    /// A whole file, with the length that it has now.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let fail = || Error::io::<std::io::Error>(format!("read {}", path.display()));
        let file = File::open(path).map_err(fail())?;
        let length = file.metadata().map_err(fail())?.len();
        let extent = Extent { file: Arc::new(file), offset: 0, length };
        Ok(Self { path: path.to_owned(), extents: [extent].into(), length, plain: None })
    }

    /// Stretches (offset and length in bytes) of the file or device `container`; `name` stands for them in messages.
    ///
    /// # Errors
    /// The container cannot be opened.
    pub fn inside(container: &Path, name: PathBuf, extents: &[(u64, u64)]) -> Result<Self, Error> {
        let file = File::open(container).map_err(Error::io(format!("read {}", container.display())))?;
        let (file, length) = (Arc::new(file), extents.iter().map(|(_, length)| length).sum());
        let extent = |(offset, length): &(u64, u64)| Extent {
            file: Arc::clone(&file),
            offset: *offset,
            length: *length,
        };
        Ok(Self { path: name, extents: extents.iter().map(extent).collect(), length, plain: None })
    }

    /// Several files as one, in this order; `name` stands for them in messages.
    pub fn joined(name: PathBuf, files: &[Self]) -> Self {
        let extents = files.iter().flat_map(|file| file.extents.iter().cloned()).collect();
        Self { path: name, extents, length: files.iter().map(|file| file.length).sum(), plain: None }
    }

    /// What this file holds encrypted; `None` where the opener does not fit. Its first and its last part have been decrypted
    /// when this returns; of the rest, only what is read is.
    ///
    /// # Errors
    /// [`Error::Damaged`], or the file cannot be read.
    pub fn decrypted(&self, opener: &Opener) -> Result<Option<Self>, Error> {
        let plain = Plain::open(self.reader(), opener).map_err(|error| self.unopened(error))?;
        Ok(plain.map(|plain| self.holding(plain)))
    }

    /// The same with the key of the file itself, as [`Encrypted`](crate::Encrypted) gives it.
    ///
    /// # Errors
    /// As [`Stored::decrypted`]; also where the key is that of another file.
    pub fn decrypted_with(&self, key: &FileKey) -> Result<Self, Error> {
        let plain = Plain::with_key(self.reader(), key).map_err(|error| self.unopened(error))?;
        Ok(self.holding(plain))
    }

    fn holding(&self, plain: Plain<StoredReader>) -> Self {
        Self { length: plain.len(), plain: Some(Arc::new(plain)), ..self.clone() }
    }

    fn unopened(&self, error: crypt::Error) -> Error {
        match error {
            crypt::Error::Damaged(part) => Error::Undecipherable { path: self.path.clone(), detail: part },
            crypt::Error::Io(source) => Error::Io { what: format!("read {}", self.path.display()), source },
            other => Error::Undecipherable { path: self.path.clone(), detail: other.to_string() },
        }
    }

    /// What the seal says of a hash of the content: the hash itself, or of an encrypted file one that tells nothing without
    /// its key.
    pub fn told(&self, digest: String) -> String {
        self.plain.as_ref().map_or(digest.clone(), |plain| plain.key().digest(&digest))
    }

    /// What stands for it in messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// From its beginning to its end.
    pub fn reader(&self) -> StoredReader {
        StoredReader { stored: self.clone(), at: 0 }
    }

    /// Tells the kernel to forget what it has in memory, so that what is read next comes from the disk. A piece of
    /// advice only: what another program has just written and not flushed stays.
    pub fn forget_cached(&self) {
        for extent in self.extents.iter() {
            let length = std::num::NonZeroU64::new(extent.length);
            let _ = rustix::fs::fadvise(&*extent.file, extent.offset, length, rustix::fs::Advice::DontNeed);
        }
    }

    pub(crate) fn read_exact_at(&self, mut bytes: &mut [u8], mut at: u64) -> std::io::Result<()> {
        while !bytes.is_empty() {
            match self.read_at(bytes, at) {
                Ok(0) => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    bytes = &mut bytes[count..];
                    at += count as u64;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> std::io::Result<usize> {
        if let Some(plain) = &self.plain {
            return plain.read_at(bytes, at);
        }
        let mut skip = at;
        for extent in self.extents.iter() {
            if skip >= extent.length {
                skip -= extent.length;
                continue;
            }
            let want = usize::try_from(extent.length - skip).unwrap_or(usize::MAX).min(bytes.len());
            return extent.file.read_at(&mut bytes[..want], extent.offset + skip);
        }
        Ok(0)
    }
}

/// Reads a [`Stored`] from its beginning; each has a position of its own.
#[derive(Clone, Debug)]
pub struct StoredReader {
    stored: Stored,
    at: u64,
}

impl Read for StoredReader {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let count = self.stored.read_at(bytes, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for StoredReader {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let place = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.stored.length.checked_add_signed(by),
        };
        self.at = place.ok_or(std::io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_read_as_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, b"..abc...def.").unwrap();
        let stored = Stored::inside(&path, "name".into(), &[(2, 3), (8, 0), (8, 3)]).unwrap();
        let mut all = Vec::new();
        stored.reader().read_to_end(&mut all).unwrap();
        assert_eq!((all.as_slice(), stored.len()), (&b"abcdef"[..], 6));
        let mut some = [0; 4];
        stored.read_exact_at(&mut some, 1).unwrap();
        assert_eq!(&some, b"bcde");
        assert!(stored.read_exact_at(&mut some, 3).is_err());
        assert!(stored.read_exact_at(&mut [0; 1], 6).is_err());

        let other = dir.path().join("y");
        std::fs::write(&other, b"XY").unwrap();
        let joined = Stored::joined("both".into(), &[Stored::open(&other).unwrap(), stored]);
        all.clear();
        joined.reader().read_to_end(&mut all).unwrap();
        assert_eq!((all.as_slice(), joined.len()), (&b"XYabcdef"[..], 8));
        joined.read_exact_at(&mut some, 1).unwrap();
        assert_eq!(&some, b"Yabc");
    }
}
