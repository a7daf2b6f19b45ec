//! A small reader of ISO 9660 images: finds files by their Rock Ridge names and reads their extents.
//!
//! It reads what an image or drive holds, without a mount and without root. It never trusts a number from the
//! image: every extent must lie inside of it, directories have a limit, and no loop depends on the content alone.
//! Formats: ECMA-119 (volume descriptors and directory records), SUSP 1.12 and Rock Ridge 1.12 (names).

mod record;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::{Error, Result};
use record::{Record, le16, le32};

/// Size of a sector in bytes; also the only block size that is written in practice.
const SECTOR: u64 = 2048;
/// No directory of ours comes near this size, in bytes.
const MAX_DIRECTORY: u64 = 16 << 20;

/// An ISO 9660 filesystem in an image file or on a drive.
#[derive(Debug)]
pub struct Volume {
    file: File,
    path: PathBuf,
    /// Size of the image in bytes.
    len: u64,
    volume_id: String,
    root: Record,
}

/// Where the content of a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileExtents {
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Offset in the image and length of each piece, in bytes, in the order of the file. A file of more than
    /// 4 GiB has several.
    pub extents: Vec<(u64, u64)>,
}

impl Volume {
    /// Opens an image.
    ///
    /// # Errors
    /// [`Error::BadVolume`] when it is no ISO 9660 image, [`Error::Truncated`] when it ends before the end that its
    /// own header names.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut file = File::open(path).map_err(Error::io("open", path))?;
        // A block device has no length in its metadata; its end can be sought.
        let len = file.seek(SeekFrom::End(0)).map_err(Error::io("find the end of", path))?;
        let bad = |detail: &str| Error::BadVolume { path: path.to_owned(), detail: detail.to_owned() };
        let mut descriptor = [0_u8; SECTOR as usize];
        let mut at = 16 * SECTOR;
        loop {
            if at + SECTOR > len {
                return Err(bad("it has no volume descriptor"));
            }
            file.read_exact_at(&mut descriptor, at).map_err(Error::io("read", path))?;
            if &descriptor[1..6] != b"CD001" {
                return Err(bad("the standard identifier 'CD001' is not there"));
            }
            match descriptor[0] {
                1 => break,
                // Boot records and the like may come first; 255 ends the set, and 100 are more than anyone writes.
                255 => return Err(bad("it has no primary volume descriptor")),
                _ if at > 116 * SECTOR => return Err(bad("its volume descriptors do not end")),
                _ => at += SECTOR,
            }
        }
        if le16(&descriptor, 128).map(u64::from) != Some(SECTOR) {
            return Err(bad("its block size is not 2048 bytes"));
        }
        let root = Record::parse(&descriptor[156..190])
            .filter(Record::is_directory)
            .ok_or_else(|| bad("its root directory record is broken"))?;
        let volume_id = String::from_utf8_lossy(&descriptor[40..72]).trim_end().to_owned();
        let need = u64::from(le32(&descriptor, 80).unwrap_or(0)) * SECTOR;
        if len < need {
            return Err(Error::Truncated {
                path: path.to_owned(),
                what: "the filesystem in it".into(),
                have: len,
                need,
            });
        }
        Ok(Self { file, path: path.to_owned(), len, volume_id, root })
    }

    /// The image file or drive.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The volume id (label).
    pub fn volume_id(&self) -> &str {
        &self.volume_id
    }

    /// Size of the image or drive in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is nothing at all. An opened volume is never empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The file's place, or `None` where there is no file of this absolute path. Case matters.
    ///
    /// # Errors
    /// [`Error::BadVolume`] for a broken directory, [`Error::Truncated`] for a file beyond the end of the image.
    pub fn find(&self, target: &str) -> Result<Option<FileExtents>> {
        let mut names = target.split('/').filter(|name| !name.is_empty()).peekable();
        let mut directory = vec![self.root.clone()];
        while let Some(name) = names.next() {
            let Some(found) = self.find_in(&directory, name)? else { return Ok(None) };
            let is_directory = found.first().is_some_and(Record::is_directory);
            if names.peek().is_none() {
                return if is_directory { Ok(None) } else { self.extents(target, &found).map(Some) };
            }
            if !is_directory {
                return Ok(None);
            }
            directory = found;
        }
        Ok(None)
    }

    /// Names in a directory, in the order of the image; `None` where there is no directory of this path.
    ///
    /// # Errors
    /// As [`Volume::find`].
    pub fn list(&self, target: &str) -> Result<Option<Vec<String>>> {
        let mut directory = vec![self.root.clone()];
        for name in target.split('/').filter(|name| !name.is_empty()) {
            match self.find_in(&directory, name)? {
                Some(found) if found.first().is_some_and(Record::is_directory) => directory = found,
                _ => return Ok(None),
            }
        }
        let mut names: Vec<String> = Vec::new();
        self.each(&directory, |name, _| {
            let name = String::from_utf8_lossy(name).into_owned();
            // The further extents of a file repeat its name.
            if names.last() != Some(&name) {
                names.push(name);
            }
            true
        })?;
        Ok(Some(names))
    }

    /// The whole content of a small file.
    ///
    /// # Errors
    /// [`Error::MissingFile`], or [`Error::BadVolume`] when it is larger than `limit` bytes.
    pub fn read_small(&self, target: &str, limit: u64) -> Result<Vec<u8>> {
        let found = self
            .find(target)?
            .ok_or_else(|| Error::MissingFile { path: self.path.clone(), target: target.to_owned() })?;
        if found.bytes > limit {
            return Err(self.bad(format!("{target} has {} bytes, more than {limit}", found.bytes)));
        }
        let mut bytes = Vec::new();
        self.reader(&found)?.read_to_end(&mut bytes).map_err(Error::io("read", &self.path))?;
        Ok(bytes)
    }

    /// Reads a file from its beginning to its end, piece by piece. It can also be sought.
    ///
    /// # Errors
    /// When the image cannot be opened a second time.
    pub fn reader(&self, extents: &FileExtents) -> Result<Reader> {
        let file = self.file.try_clone().map_err(Error::io("open", &self.path))?;
        Ok(Reader { file, extents: extents.clone(), position: 0 })
    }

    fn bad(&self, detail: String) -> Error {
        Error::BadVolume { path: self.path.clone(), detail }
    }

    /// All records of this name in a directory: several for a file in several extents.
    fn find_in(&self, directory: &[Record], wanted: &str) -> Result<Option<Vec<Record>>> {
        let mut found = Vec::new();
        self.each(directory, |name, record| {
            if name == wanted.as_bytes() {
                let more = record.continues();
                found.push(record);
                return more;
            }
            true
        })?;
        Ok(if found.is_empty() { None } else { Some(found) })
    }

    /// Shows each entry of a directory (its own and its parent's record left out) until `visit` says no.
    fn each(&self, directory: &[Record], mut visit: impl FnMut(&[u8], Record) -> bool) -> Result<()> {
        let place = self.extents("a directory", directory)?;
        if place.bytes > MAX_DIRECTORY {
            return Err(self.bad(format!("a directory has {} bytes", place.bytes)));
        }
        let mut bytes = Vec::new();
        self.reader(&place)?.read_to_end(&mut bytes).map_err(Error::io("read", &self.path))?;
        for sector in bytes.chunks(SECTOR as usize) {
            let mut at = 0;
            // A length of 0 means that the next record did not fit into this sector.
            while let Some(length) = sector.get(at).map(|length| usize::from(*length)).filter(|l| *l > 0) {
                let raw = sector
                    .get(at..at + length)
                    .ok_or_else(|| self.bad("a directory record crosses its sector".into()))?;
                let record =
                    Record::parse(raw).ok_or_else(|| self.bad("a directory record is broken".into()))?;
                at += length;
                if record.is_self_or_parent(raw) {
                    continue;
                }
                let name = record.name(raw, |offset, length| self.continuation(offset, length))?;
                if !visit(&name, record) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Reads a SUSP continuation area.
    fn continuation(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        if length > SECTOR as usize || offset.checked_add(length as u64).is_none_or(|end| end > self.len) {
            return Err(self.bad("a Rock Ridge continuation lies outside of the image".into()));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset).map_err(Error::io("read", &self.path))?;
        Ok(bytes)
    }

    fn extents(&self, what: &str, records: &[Record]) -> Result<FileExtents> {
        let mut extents = Vec::with_capacity(records.len());
        let mut bytes = 0;
        for (index, record) in records.iter().enumerate() {
            let last = index + 1 == records.len();
            if record.continues() == last {
                return Err(self.bad(format!("the extents of {what} are not complete")));
            }
            let (offset, length) = record.extent();
            if !last && length % SECTOR != 0 {
                return Err(self.bad(format!("an extent of {what} has {length} bytes")));
            }
            let need = offset + length;
            if length > 0 && need > self.len {
                return Err(Error::Truncated {
                    path: self.path.clone(),
                    what: what.to_owned(),
                    have: self.len,
                    need,
                });
            }
            bytes += length;
            extents.push((offset, length));
        }
        Ok(FileExtents { bytes, extents })
    }
}

/// Reads one file of a [`Volume`].
#[derive(Debug)]
pub struct Reader {
    file: File,
    extents: FileExtents,
    position: u64,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let mut skip = self.position;
        for (offset, length) in &self.extents.extents {
            if skip >= *length {
                skip -= length;
                continue;
            }
            let want = usize::try_from(length - skip).unwrap_or(usize::MAX).min(buffer.len());
            let got = self.file.read_at(&mut buffer[..want], offset + skip)?;
            if got == 0 && want > 0 {
                return Err(std::io::Error::new(
                    std::io::ErrorKind::UnexpectedEof,
                    "the image ends inside of a file",
                ));
            }
            self.position += got as u64;
            return Ok(got);
        }
        Ok(0)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(delta) => self.extents.bytes.checked_add_signed(delta),
            SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
        };
        self.position = position.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests;
