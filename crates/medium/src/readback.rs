//! Reads a finished medium back and compares every file with what was written. Never repairs anything.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::iso9660::Volume;
use crate::{Error, Result};

/// What a file on the medium must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Its absolute path on the ISO.
    pub target: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// The BLAKE3 hash of its content, 64 lower-case hexadecimal digits.
    pub blake3: String,
}

impl Expected {
    /// Measures a file that is about to be written.
    pub(crate) fn of_file(source: &Path, target: &str) -> Result<Self> {
        let mut file = File::open(source).map_err(Error::io("open", source))?;
        let (bytes, blake3) = hash(&mut file, &sys::Cancel::default())?.map_err(Error::io("read", source))?;
        Ok(Self { target: target.to_owned(), bytes, blake3 })
    }
}

/// Opens the finished ISO with a reader that shares nothing with its writer, and hashes every expected file, as the
/// disk has it. Memory use does not depend on the size of the files.
///
/// # Errors
/// [`Error::Truncated`], [`Error::MissingFile`] or [`Error::Damaged`] name the first file that is not right;
/// `Cancelled` inside of [`Error::Sys`] when `cancel` was raised.
pub fn read_back(iso: &Path, expected: &[Expected], cancel: &sys::Cancel) -> Result<()> {
    forget_cached(&File::open(iso).map_err(Error::io("open", iso))?).map_err(Error::io("flush", iso))?;
    let volume = Volume::open(iso)?;
    check_partitions(iso, volume.len())?;
    for file in expected {
        let damaged =
            |detail: String| Error::Damaged { path: iso.to_owned(), target: file.target.clone(), detail };
        let found = volume
            .find(&file.target)?
            .ok_or_else(|| Error::MissingFile { path: iso.to_owned(), target: file.target.clone() })?;
        if found.bytes != file.bytes {
            return Err(damaged(format!("it has {} bytes instead of {}", found.bytes, file.bytes)));
        }
        let (_, blake3) =
            hash(&mut volume.reader(&found)?, cancel)?.map_err(|error| damaged(error.to_string()))?;
        if !blake3.eq_ignore_ascii_case(&file.blake3) {
            return Err(damaged("its content is not what was written (BLAKE3 hashes differ)".into()));
        }
    }
    Ok(())
}

/// Makes the next reader get the bytes from the disk and not from the memory in which they were left when they were
/// written. A filesystem in memory keeps them, and is all there is.
fn forget_cached(file: &File) -> std::io::Result<()> {
    // What is not yet on the disk cannot be forgotten.
    file.sync_all()?;
    // A piece of advice: that some filesystem does not take it is no fault of the medium.
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
    Ok(())
}

/// Size and hash of all that comes. The outer result is the operator's wish to stop, the inner one the reading.
fn hash(from: &mut impl Read, cancel: &sys::Cancel) -> Result<std::io::Result<(u64, String)>> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0_u8; 1 << 20];
    let mut bytes = 0;
    loop {
        cancel.check()?;
        match from.read(&mut buffer) {
            Ok(0) => return Ok(Ok((bytes, hasher.finalize().to_hex().to_string()))),
            Ok(got) => {
                hasher.update(&buffer[..got]);
                bytes += got as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Ok(Err(error)),
        }
    }
}

/// The EFI filesystem lies behind the ISO 9660 volume, so a cut there shows only in the partition table (GPT header
/// in sector 1; UEFI specification, 5.3). An image for BIOS alone has no such table.
fn check_partitions(iso: &Path, len: u64) -> Result<()> {
    const SECTOR: u64 = 512;
    let file = File::open(iso).map_err(Error::io("open", iso))?;
    let mut header = [0_u8; 512];
    file.read_exact_at(&mut header, SECTOR).map_err(Error::io("read", iso))?;
    if !header.starts_with(b"EFI PART") {
        return Ok(());
    }
    let bad = |detail: &str| Error::BadVolume { path: iso.to_owned(), detail: detail.to_owned() };
    let u32_at = |at: usize| {
        u64::from(u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]))
    };
    let u64_at = |at: usize| u32_at(at) | (u32_at(at + 4) << 32);
    let (start, count, size) = (u64_at(72), u32_at(80), u32_at(84));
    if !(128..=4096).contains(&size) || count > 1024 {
        return Err(bad("its partition table has an impossible size"));
    }
    let mut entry = [0_u8; 128];
    for index in 0..count {
        let at = start
            .checked_mul(SECTOR)
            .and_then(|start| start.checked_add(index * size))
            .filter(|at| *at < len)
            .ok_or_else(|| bad("its partition table lies outside of it"))?;
        file.read_exact_at(&mut entry, at).map_err(Error::io("read", iso))?;
        let mut last = [0_u8; 8];
        last.copy_from_slice(&entry[40..48]);
        let need = u64::from_le_bytes(last).saturating_add(1).saturating_mul(SECTOR);
        if entry[..16] != [0; 16] && need > len {
            return Err(Error::Truncated {
                path: iso.to_owned(),
                what: "its EFI boot partition".into(),
                have: len,
                need,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::{Errno, IoSliceMut, ReadWriteFlags, preadv2};

    #[test]
    fn what_is_read_back_comes_from_the_disk() {
        let mut file = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        std::io::Write::write_all(&mut file, &vec![7; 4 << 20]).unwrap();
        // Reads only what is in memory.
        let cached = |file: &File| {
            let mut buffer = [0; 4096];
            preadv2(file, &mut [IoSliceMut::new(&mut buffer)], 2 << 20, ReadWriteFlags::NOWAIT)
        };
        const TMPFS: i64 = 0x0102_1994;
        let in_memory = rustix::fs::fstatfs(&file).is_ok_and(|fs| fs.f_type == TMPFS);
        if in_memory || cached(&file) != Ok(4096) {
            eprintln!("SKIPPED: this filesystem has no cache, or does not tell what is in it");
            return;
        }
        forget_cached(&file).unwrap();
        assert_eq!(cached(&file), Err(Errno::AGAIN));
    }
}
