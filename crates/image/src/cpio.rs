//! Writes the "newc" archive format that the kernel unpacks as an initramfs (its documentation:
//! `Documentation/driver-api/early-userspace/buffer-format.rst`). Times are all zero and inode numbers count up,
//! so that equal content gives equal bytes.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// File type bits of `st_mode`.
pub(crate) const DIR: u32 = 0o040_000;
pub(crate) const REGULAR: u32 = 0o100_000;
pub(crate) const LINK: u32 = 0o120_000;
pub(crate) const CHAR: u32 = 0o020_000;

/// Head of one entry.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Head {
    /// Type and permissions.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Bytes of content that follow.
    pub size: u32,
    /// Device number, for devices.
    pub rdev: (u32, u32),
}

/// The archive, written from the first byte to the last.
pub(crate) struct Writer<W> {
    out: W,
    inode: u32,
    written: u64,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, inode: 0, written: 0 }
    }

    /// Begins an entry; exactly `head.size` bytes of content must follow, then [`Writer::pad`].
    pub(crate) fn begin(&mut self, path: &Path, head: Head) -> io::Result<()> {
        self.inode += 1;
        let name = match path.strip_prefix("/").unwrap_or(path).as_os_str().as_bytes() {
            b"" => b".",
            name => name,
        };
        self.head(name, head)
    }

    fn head(&mut self, name: &[u8], head: Head) -> io::Result<()> {
        let links = if head.mode & 0o170_000 == DIR { 2 } else { 1 };
        let fields = [
            self.inode,
            head.mode,
            head.uid,
            head.gid,
            links,
            0,
            head.size,
            0,
            0,
            head.rdev.0,
            head.rdev.1,
            u32::try_from(name.len() + 1).unwrap_or(u32::MAX),
            0,
        ];
        let mut text = String::from("070701");
        for field in fields {
            use std::fmt::Write;
            let _ = write!(text, "{field:08X}");
        }
        self.write(text.as_bytes())?;
        self.write(name)?;
        self.write(&[0])?;
        self.pad()
    }

    /// Content of the entry that was begun.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    /// Fills up to a multiple of four bytes after the content.
    pub(crate) fn pad(&mut self) -> io::Result<()> {
        let rest = (4 - self.written % 4) % 4;
        self.written += rest;
        self.out.write_all(&[0; 3][..usize::try_from(rest).unwrap_or(0)])
    }

    /// Ends the archive; gives back the stream and how many bytes the archive has.
    pub(crate) fn finish(mut self) -> io::Result<(W, u64)> {
        self.inode = 0;
        self.head(b"TRAILER!!!", Head::default())?;
        Ok((self.out, self.written))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_as_the_kernel_reads_them() {
        let mut writer = Writer::new(Vec::new());
        writer
            .begin(Path::new("/etc/x"), Head { mode: REGULAR | 0o644, size: 5, ..Head::default() })
            .unwrap();
        writer.write(b"hello").unwrap();
        writer.pad().unwrap();
        let (bytes, written) = writer.finish().unwrap();
        assert_eq!(bytes.len() as u64, written);
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with("07070100000001000081A4000000000000000000000001000000000000000500000000"));
        // Head (110) and name (6 with its NUL) end on a multiple of four.
        assert_eq!(&text[110..116], "etc/x\0");
        assert_eq!(&text[116..124], "hello\0\0\0");
        assert_eq!(&text[124..130], "070701");
        assert!(text.ends_with("TRAILER!!!\0\0\0\0"));
        assert_eq!(text.len() % 4, 0);
    }
}
