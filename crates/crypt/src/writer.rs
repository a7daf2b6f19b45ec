//! Encrypts a stream as it is written. One part of 64 KiB is in memory.

use std::io::Write;

use crate::{Error, FileKey, Lock, Note};

/// Passes what is written on, encrypted. Without [`Writer::finish`] what was written is cut off, and cannot be opened.
pub struct Writer<W: Write> {
    stream: age::stream::StreamWriter<W>,
    key: FileKey,
}

impl<W: Write> Writer<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// [`Error::Seal`], or `to` cannot be written.
    pub fn begin(lock: &Lock, to: W) -> Result<Self, Error> {
        let noted = Note::default();
        let encryptor = lock.encryptor(&noted)?;
        let key =
            noted.into_inner().ok_or_else(|| Error::Seal("there is nobody who could open it".into()))?;
        Ok(Self { stream: encryptor.wrap_output(to)?, key })
    }

    /// The key of this file.
    pub fn key(&self) -> &FileKey {
        &self.key
    }

    /// Writes the end, and gives back where it went.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn finish(self) -> std::io::Result<W> {
        self.stream.finish()
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}
