//! The bytes of FUSE's questions and answers, as `include/uapi/linux/fuse.h` lays them out; numbers in the order of this
//! machine. It neither reads nor writes anything.

use rustix::fs::FileType;
use rustix::io::Errno;

/// Version of the protocol.
pub const MAJOR: u32 = 7;
const MINOR: u32 = 31;

/// What is asked.
pub mod op {
    pub const LOOKUP: u32 = 1;
    pub const FORGET: u32 = 2;
    pub const GETATTR: u32 = 3;
    pub const READLINK: u32 = 5;
    pub const OPEN: u32 = 14;
    pub const READ: u32 = 15;
    pub const STATFS: u32 = 17;
    pub const RELEASE: u32 = 18;
    pub const GETXATTR: u32 = 22;
    pub const LISTXATTR: u32 = 23;
    pub const INIT: u32 = 26;
    pub const OPENDIR: u32 = 27;
    pub const READDIR: u32 = 28;
    pub const RELEASEDIR: u32 = 29;
    pub const INTERRUPT: u32 = 36;
    pub const DESTROY: u32 = 38;
    pub const IOCTL: u32 = 39;
    pub const BATCH_FORGET: u32 = 42;
    pub const LSEEK: u32 = 46;
}

pub const SEEK_DATA: u32 = 3;
pub const SEEK_HOLE: u32 = 4;
/// `FS_IOC_GETFLAGS`, whose number holds the size of a `long`.
pub const GETFLAGS: u32 = 0x8000_6601 | ((size_of::<usize>() as u32) << 16);

/// Reads of one file may be answered in any order.
const ASYNC_READ: u32 = 1;
const PARALLEL_DIROPS: u32 = 1 << 18;
/// ACLs are obeyed.
const POSIX_ACL: u32 = 1 << 20;
/// The kernel may remember the targets of links.
const CACHE_SYMLINKS: u32 = 1 << 23;
/// Answers may be larger than 128 KiB.
const MAX_PAGES: u32 = 1 << 22;
/// The kernel keeps what it has read, and the list of a directory: nothing changes.
const KEEP_CACHE: u32 = 2;
const CACHE_DIR: u32 = 8;
/// For how long the kernel believes an answer, in seconds.
const VALID: u64 = 86400;
const PAGE: u32 = 4096;
/// Unit of the sizes that `statfs(2)` tells.
const BLOCK: u64 = 4096;

/// What the kernel is told of a file.
#[derive(Clone, Debug)]
pub struct Attributes {
    /// Type and permissions, as in `st_mode`.
    pub mode: u32,
    pub links: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    /// Bytes that it takes.
    pub stored: u64,
    pub mtime: (i64, u32),
    /// Major and minor number of a device node.
    pub device: (u32, u32),
}

/// A question.
pub struct Request<'a> {
    pub opcode: u32,
    pub unique: u64,
    pub node: u64,
    body: &'a [u8],
}

impl<'a> Request<'a> {
    /// Takes a question apart; `None` when it is shorter than its head.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (head, body) = bytes.split_at_checked(40)?;
        Some(Self { opcode: number(head, 4)?, unique: long(head, 8)?, node: long(head, 16)?, body })
    }

    /// The number of four bytes with this index.
    pub fn number(&self, index: usize) -> Result<u32, Errno> {
        number(self.body, index * 4).ok_or(Errno::INVAL)
    }

    /// The number of eight bytes at this place.
    pub fn long(&self, at: usize) -> Result<u64, Errno> {
        long(self.body, at).ok_or(Errno::INVAL)
    }

    /// The name that is all of the question.
    pub fn name(&self) -> Result<&'a [u8], Errno> {
        self.name_at(0)
    }

    /// The name at this place.
    pub fn name_at(&self, at: usize) -> Result<&'a [u8], Errno> {
        let rest = self.body.get(at..).ok_or(Errno::INVAL)?;
        rest.split(|byte| *byte == 0).next().ok_or(Errno::INVAL)
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_ne_bytes)
}

/// An answer without its head; its memory is used again.
#[derive(Default)]
pub struct Answer(Vec<u8>);

impl Answer {
    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The head: length, error (0 for none), and the question that it answers.
    pub fn header(&self, unique: u64, error: i32) -> [u8; 16] {
        let mut head = [0; 16];
        let length = u32::try_from(16 + self.0.len()).unwrap_or(u32::MAX);
        head[..4].copy_from_slice(&length.to_ne_bytes());
        head[4..8].copy_from_slice(&(-error).to_ne_bytes());
        head[8..].copy_from_slice(&unique.to_ne_bytes());
        head
    }

    pub fn extend(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// So many bytes to be filled.
    pub fn room(&mut self, count: usize) -> &mut [u8] {
        self.0.resize(count, 0);
        &mut self.0
    }

    pub fn truncate(&mut self, count: usize) {
        self.0.truncate(count);
    }

    fn numbers(&mut self, numbers: &[u32]) {
        numbers.iter().for_each(|number| self.extend(&number.to_ne_bytes()));
    }

    fn longs(&mut self, numbers: &[u64]) {
        numbers.iter().for_each(|number| self.extend(&number.to_ne_bytes()));
    }

    /// `fuse_init_out`: the version and what of the kernel's offer is taken.
    pub fn init(&mut self, minor: u32, readahead: u32, offered: u32, most: u32) {
        let wanted = ASYNC_READ | PARALLEL_DIROPS | POSIX_ACL | CACHE_SYMLINKS | MAX_PAGES;
        self.numbers(&[MAJOR, minor.min(MINOR), readahead, offered & wanted]);
        // Questions that wait in the background, and from how many on the kernel calls it crowded.
        self.extend(&16_u16.to_ne_bytes());
        self.extend(&12_u16.to_ne_bytes());
        // Longest write (there is none), and the steps of times in nanoseconds.
        self.numbers(&[PAGE, 1]);
        self.extend(&u16::try_from(most / PAGE).unwrap_or(u16::MAX).to_ne_bytes());
        self.extend(&0_u16.to_ne_bytes());
        self.numbers(&[0; 8]);
    }

    /// `fuse_attr`.
    fn attribute(&mut self, node: u64, found: &Attributes) {
        let seconds = found.mtime.0.cast_unsigned();
        self.longs(&[node, found.size, found.stored.div_ceil(512), seconds, seconds, seconds]);
        let (major, minor) = found.device;
        let device = (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12);
        self.numbers(&[found.mtime.1; 3]);
        self.numbers(&[found.mode, found.links, found.uid, found.gid, device, PAGE, 0]);
    }

    /// `fuse_entry_out`.
    pub fn entry(&mut self, node: u64, found: &Attributes) {
        self.longs(&[node, 0, VALID, VALID]);
        self.numbers(&[0, 0]);
        self.attribute(node, found);
    }

    /// That there is no such name.
    pub fn no_entry(&mut self) {
        self.longs(&[0, 0, VALID, 0]);
        self.0.resize(128, 0);
    }

    /// `fuse_attr_out`.
    pub fn attributes(&mut self, node: u64, found: &Attributes) {
        self.longs(&[VALID, 0]);
        self.attribute(node, found);
    }

    /// `fuse_open_out`.
    pub fn opened(&mut self) {
        self.longs(&[0]);
        self.numbers(&[KEEP_CACHE | CACHE_DIR, 0]);
    }

    /// `fuse_dirent`; false, and nothing, when the answer would be longer than `most` bytes. `next` is where the following
    /// entry is.
    pub fn directory_entry(&mut self, node: u64, next: u64, kind: u32, name: &[u8], most: usize) -> bool {
        let length = (24 + name.len()).next_multiple_of(8);
        if self.0.len() + length > most {
            return false;
        }
        let end = self.0.len() + length;
        self.longs(&[node, next]);
        self.numbers(&[u32::try_from(name.len()).unwrap_or(0), kind]);
        self.extend(name);
        self.0.resize(end, 0);
        true
    }

    /// A value, or its length where the asker has no room yet.
    pub fn sized(&mut self, value: &[u8], room: u32) -> Result<(), Errno> {
        let length = u32::try_from(value.len()).map_err(|_| Errno::TOOBIG)?;
        match room {
            0 => self.numbers(&[length, 0]),
            room if room < length => return Err(Errno::RANGE),
            _ => self.extend(value),
        }
        Ok(())
    }

    /// `fuse_ioctl_out` with a number as its result.
    pub fn ioctl(&mut self, value: u32) {
        self.numbers(&[0, 0, 0, 0, value]);
    }

    /// `fuse_kstatfs`: full, as what cannot take anything is.
    pub fn statistics(&mut self, bytes: u64, files: u64) {
        self.longs(&[bytes.div_ceil(BLOCK), 0, 0, files, 0]);
        self.numbers(&[PAGE, 255, PAGE, 0, 0, 0, 0, 0, 0, 0]);
    }
}

/// A file type as `d_type` has it.
pub fn directory_type(kind: FileType) -> u32 {
    // The same bits as in st_mode, four lower.
    kind.as_raw_mode() >> 12
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_have_the_lengths_that_the_kernel_insists_on() {
        let found = Attributes {
            mode: 0o100_644,
            links: 1,
            uid: 0,
            gid: 0,
            size: 5,
            stored: 5,
            mtime: (-1, 999_999_999),
            device: (0x123, 0x4567),
        };
        type Fill<'a> = &'a dyn Fn(&mut Answer);
        let cases: [(usize, Fill<'_>); 7] = [
            (64, &|answer| answer.init(40, 131_072, u32::MAX, 1 << 20)),
            (128, &|answer| answer.entry(2, &found)),
            (128, &|answer| answer.no_entry()),
            (104, &|answer| answer.attributes(2, &found)),
            (16, &|answer| answer.opened()),
            (80, &|answer| answer.statistics(1, 1)),
            (32, &|answer| assert!(answer.directory_entry(2, 1, 8, b"abcdefgh", 32))),
        ];
        for (length, fill) in cases {
            let mut answer = Answer::default();
            fill(&mut answer);
            assert_eq!(answer.bytes().len(), length);
        }
        let mut answer = Answer::default();
        assert!(!answer.directory_entry(2, 1, 8, b"abcdefghi", 32) && answer.bytes().is_empty());
        assert_eq!(answer.sized(b"abc", 2), Err(Errno::RANGE));
        assert_eq!(answer.header(7, 5)[..8], [16_u32.to_ne_bytes(), (-5_i32).to_ne_bytes()].concat());
    }

    #[test]
    fn a_question_that_is_cut_off_is_refused() {
        assert!(Request::parse(&[0; 39]).is_none());
        let request = Request::parse(&[0; 44]).unwrap();
        assert_eq!((request.number(0), request.number(1)), (Ok(0), Err(Errno::INVAL)));
        assert_eq!((request.long(0), request.name_at(5)), (Err(Errno::INVAL), Err(Errno::INVAL)));
        assert_eq!(directory_type(FileType::Directory), 4);
        assert_eq!(directory_type(FileType::RegularFile), 8);
    }
}
