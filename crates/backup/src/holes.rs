//! Where a file has data and where it has holes. Content is read only where the filesystem does not tell.

use std::os::fd::AsFd;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

/// Segment borders are multiples of this (except at the end of the file): GNU tar takes each segment from the
/// archive in whole blocks of this size.
const BLOCK: u64 = 512;
/// A file in more parts than this keeps only its larger holes, so that its map stays small.
pub const SEGMENTS: usize = 65_536;

/// Filesystems (`statfs(2)`'s numbers, linux/magic.h) whose `lseek(2)` knows every hole: ext2 to ext4, XFS, Btrfs, F2FS,
/// tmpfs, overlayfs, bcachefs, ZFS, GFS2, OCFS2. JFS, NILFS2, and most that lie behind a network or FUSE call all of a file
/// data, whatever is missing in it.
const HONEST: [i64; 10] = [
    0xEF53,
    0x5846_5342,
    0x9123_683E,
    0xF2F5_2010,
    0x0102_1994,
    0x794C_7630,
    0xCA45_1A4E,
    0x2FC1_2FC1,
    0x0116_1970,
    0x7461_636F,
];
/// Where the filesystem does not tell, so many zeros at such a place are a hole.
const PAGE: usize = 4096;

/// The parts of a file that takes less room than its size, as (offset, length); `None` where it has no holes.
///
/// # Errors
/// What `lseek(2)` says, or `read(2)` where content has to tell; `ECANCELED` when the run was stopped meanwhile.
pub fn segments<Fd: AsFd>(fd: Fd, size: u64, cancel: &sys::Cancel) -> Result<Option<Vec<(u64, u64)>>, Errno> {
    match told(&fd, size)? {
        #[allow(clippy::unnecessary_cast, reason = "the number has another type on other processors")]
        None if !HONEST.contains(&(rustix::fs::fstatfs(&fd)?.f_type as i64)) => by_content(fd, size, cancel),
        segments => Ok(segments),
    }
}

/// What the filesystem says.
fn told<Fd: AsFd>(fd: &Fd, size: u64) -> Result<Option<Vec<(u64, u64)>>, Errno> {
    let mut found: Vec<(u64, u64)> = Vec::new();
    let mut at = 0;
    while at < size {
        let data = match rustix::fs::seek(fd, SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(None),
            Err(error) => return Err(error),
        };
        if data >= size {
            break;
        }
        let end = match rustix::fs::seek(fd, SeekFrom::Hole(data)) {
            Ok(end) => end,
            // The file was cut while we looked.
            Err(Errno::NXIO) => size,
            Err(error) => return Err(error),
        };
        push(&mut found, data, end, size);
        at = end.max(at + 1);
        if found.len() > SEGMENTS * 16 {
            coalesce(&mut found, SEGMENTS);
        }
    }
    Ok(parts(found, size))
}

/// Whole pages of zeros are holes.
fn by_content<Fd: AsFd>(fd: Fd, size: u64, cancel: &sys::Cancel) -> Result<Option<Vec<(u64, u64)>>, Errno> {
    let mut found: Vec<(u64, u64)> = Vec::new();
    let mut buffer = vec![0; 256 * PAGE];
    let mut at = 0;
    while at < size {
        // A terabyte of nothing takes many minutes.
        if cancel.is_raised() {
            return Err(Errno::CANCELED);
        }
        let mut filled = 0;
        while filled < buffer.len() {
            match rustix::io::pread(&fd, &mut buffer[filled..], at + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        if filled == 0 {
            // It was cut while we looked; whoever reads it sees that too.
            push(&mut found, at, size, size);
            break;
        }
        for page in buffer[..filled].chunks(PAGE) {
            if page.iter().any(|byte| *byte != 0) {
                push(&mut found, at, at + page.len() as u64, size);
            }
            at += page.len() as u64;
        }
        if found.len() > SEGMENTS * 16 {
            coalesce(&mut found, SEGMENTS);
        }
    }
    Ok(parts(found, size))
}

/// Few enough of them, if there is any hole.
fn parts(mut found: Vec<(u64, u64)>, size: u64) -> Option<Vec<(u64, u64)>> {
    coalesce(&mut found, SEGMENTS);
    match found.as_slice() {
        [(0, length)] if *length == size => None,
        _ => Some(found),
    }
}

fn push(found: &mut Vec<(u64, u64)>, start: u64, end: u64, size: u64) {
    let start = start / BLOCK * BLOCK;
    let end = end.next_multiple_of(BLOCK).min(size);
    match found.last_mut() {
        Some((offset, length)) if *offset + *length >= start => {
            *length = end.max(*offset + *length) - *offset
        }
        _ => found.push((start, end - start)),
    }
}

/// Takes the smallest holes for data until there are at most `limit` segments.
fn coalesce(found: &mut Vec<(u64, u64)>, limit: usize) {
    let mut hole = 4096;
    while found.len() > limit {
        found.dedup_by(|next, kept| {
            let join = next.0 - (kept.0 + kept.1) <= hole;
            if join {
                kept.1 = next.0 + next.1 - kept.0;
            }
            join
        });
        hole *= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn segments_are_in_whole_blocks_and_joined() {
        let mut found = Vec::new();
        push(&mut found, 100, 600, 5000);
        push(&mut found, 1000, 1100, 5000);
        push(&mut found, 4096, 5000, 5000);
        assert_eq!(found, [(0, 1536), (4096, 904)]);
    }

    #[test]
    fn too_many_segments_lose_their_smallest_holes() {
        let mut found: Vec<_> = (0..100).map(|at| (at * 10_000, 5_000)).chain([(9_000_000, 512)]).collect();
        coalesce(&mut found, 2);
        assert_eq!(found, [(0, 995_000), (9_000_000, 512)]);
    }

    #[test]
    fn where_the_filesystem_is_silent_zeros_tell() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(b"a", 5000).unwrap();
        file.write_all_at(&[1; 8192], 3 << 20).unwrap();
        file.write_all_at(b"z", (4 << 20) + 9).unwrap();
        let size = file.metadata().unwrap().len();
        let wanted = vec![(4096, 4096), (3 << 20, 8192), (4 << 20, 10)];
        let cancel = sys::Cancel::default();
        assert_eq!(by_content(&file, size, &cancel), Ok(Some(wanted)));
        file.set_len(4096).unwrap();
        assert_eq!(by_content(&file, 4096, &cancel), Ok(Some(Vec::new())));
        file.write_all_at(b"a", 17).unwrap();
        assert_eq!(by_content(&file, 4096, &cancel), Ok(None));
        // Cut short, the rest counts as data.
        assert_eq!(by_content(&file, 9000, &cancel), Ok(None));
        cancel.raise();
        assert_eq!(by_content(&file, 4096, &cancel), Err(Errno::CANCELED));
    }

    #[test]
    fn a_file_with_data_at_both_ends() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(b"a", 0).unwrap();
        file.write_all_at(b"z", 10 << 20).unwrap();
        let size = file.metadata().unwrap().len();
        let cancel = sys::Cancel::default();
        let Some(found) = segments(&file, size, &cancel).unwrap() else { return };
        assert_eq!(found.first().map(|first| first.0), Some(0));
        assert_eq!(found.last().map(|last| last.0 + last.1), Some(size));
        assert!(found.iter().map(|one| one.1).sum::<u64>() < 1 << 20);
        let full = tempfile::tempfile().unwrap();
        full.write_all_at(&[1; 10000], 0).unwrap();
        assert_eq!(segments(&full, 10000, &cancel).unwrap(), None);
    }
}
