//! Proves that an archive is, byte for byte, the one that was written. It decompresses nothing.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::pipeline::Failure;
use crate::{Error, Options, Progress, Stored, format};

/// Reads the whole archive and compares it with what [`create`](crate::create()) said of it. Progress counts bytes of
/// the archive, and no files.
///
/// # Errors
/// [`Error::Truncated`] or [`Error::Damaged`], naming the part that is bad; or the file cannot be read.
pub fn verify(
    file: &Stored,
    expected_bytes: u64,
    expected_blake3: &str,
    options: &Options,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let archive = file.path();
    let trailer = index(file, expected_bytes, expected_blake3)?;
    let next = AtomicUsize::new(0);
    let failure = Failure::default();
    std::thread::scope(|scope| {
        for _ in 0..options.workers() {
            scope.spawn(|| {
                let mut bytes = Vec::new();
                while !failure.is_set() {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some((frame, digest)) = trailer.frames.get(index).zip(trailer.digests.get(index))
                    else {
                        return;
                    };
                    let check = || {
                        options.cancel.check()?;
                        bytes.resize(frame.stored as usize, 0);
                        file.read_exact_at(&mut bytes, frame.offset).map_err(Error::reading(archive))?;
                        if blake3::hash(&bytes) != *digest {
                            let end = frame.offset + u64::from(frame.stored);
                            let count = trailer.frames.len();
                            let part =
                                format!("part {} of {count}, bytes {} to {end}", index + 1, frame.offset);
                            return Err(Error::damaged(archive, part));
                        }
                        progress.add(frame.stored.into(), 0);
                        Ok(())
                    };
                    let mut check = check;
                    if let Err(error) = check() {
                        return failure.set(error);
                    }
                }
            });
        }
    });
    failure.into_result()
}

/// Checks the length of an archive and its table of parts, which holds the hash of every part, and reads nothing else: what
/// the parts themselves hold now is not looked at.
///
/// # Errors
/// [`Error::Truncated`] or [`Error::Damaged`]; or the file cannot be read.
pub fn verify_index(archive: &Stored, expected_bytes: u64, expected_blake3: &str) -> Result<(), Error> {
    index(archive, expected_bytes, expected_blake3).map(|_| ())
}

/// The table of parts, proven to be the one that was written.
pub(crate) fn index(
    archive: &Stored,
    expected_bytes: u64,
    expected_blake3: &str,
) -> Result<format::Trailer, Error> {
    let (path, found) = (archive.path(), archive.len());
    if found < expected_bytes {
        return Err(Error::Truncated { path: path.to_owned(), found, expected: expected_bytes });
    }
    if found > expected_bytes {
        return Err(Error::damaged(path, format!("it has {found} bytes instead of {expected_bytes}")));
    }
    let trailer = format::read_trailer(archive)?;
    let digest = archive.told(format::hex(&format::archive_digest(&trailer.digests, &trailer.digest)));
    if digest.eq_ignore_ascii_case(expected_blake3) {
        Ok(trailer)
    } else {
        Err(Error::damaged(path, "its table of parts, or it is the archive of another backup"))
    }
}
