//! What a tree is, by system calls of the test's own: an opinion that shares nothing with the code that it judges. It goes
//! down by descriptors, so that a path may be longer than the kernel takes in one call.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, SeekFrom};

/// All of one name. Allocated blocks are no part of it: they are compared where they matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Type and permission bits.
    pub mode: u32,
    pub owner: (u32, u32),
    pub mtime: (i64, i64),
    /// Not of directories, which every filesystem counts in its own way.
    pub size: u64,
    pub device: u64,
    pub link: Vec<u8>,
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// As `lsattr` shows them; files and directories only.
    pub flags: u32,
    /// BLAKE3 of the blocks that are not zero, each after its place.
    pub content: String,
    /// All names of the same file, itself included.
    pub names: Vec<Vec<u8>>,
}

/// What is done with each name: its path, its directory, and what it is called there.
type Visit<'a> = dyn FnMut(&[u8], BorrowedFd<'_>, &[u8]) + 'a;

/// The flags of `chattr(1)` that a program sets; others say how a filesystem keeps a file, not what it is.
const SETTABLE: u32 = 0x2283_C4FF;

/// Everything below `root`, by path; what lies in the directories `borders` is another filesystem's.
pub fn facts(root: &Path, borders: &[&[u8]]) -> BTreeMap<Vec<u8>, Fact> {
    let mut found = BTreeMap::new();
    let mut look = Look { list: vec![0; 65536], value: vec![0; 65536], data: vec![0; 1 << 20] };
    let mut names: BTreeMap<(u64, u64), Vec<Vec<u8>>> = BTreeMap::new();
    let mut inodes = BTreeMap::new();
    let root = rustix::fs::open(root, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    found.insert(b".".to_vec(), look.fact(root.as_fd(), b"."));
    descend(&root, b"", borders, &mut |path, dir, name| {
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        names.entry((stat.st_dev, stat.st_ino)).or_default().push(path.to_vec());
        inodes.insert(path.to_vec(), (stat.st_dev, stat.st_ino));
        found.insert(path.to_vec(), look.fact(dir, name));
    });
    for list in names.values_mut() {
        list.sort();
    }
    for (path, fact) in &mut found {
        if let Some(list) = inodes.get(path).and_then(|inode| names.get(inode)) {
            fact.names.clone_from(list);
        }
    }
    found
}

fn descend(dir: &OwnedFd, above: &[u8], borders: &[&[u8]], visit: &mut Visit<'_>) {
    for entry in Dir::read_from(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let path = if above.is_empty() { name.to_vec() } else { [above, b"/", name].concat() };
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Socket {
            continue;
        }
        visit(&path, dir.as_fd(), name);
        if kind == FileType::Directory && !borders.contains(&path.as_slice()) {
            let next =
                rustix::fs::openat(dir, name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
            descend(&next, &path, borders, visit);
        }
    }
}

/// Memory that is used for one file after the other.
struct Look {
    list: Vec<u8>,
    value: Vec<u8>,
    data: Vec<u8>,
}

impl Look {
    fn fact(&mut self, dir: BorrowedFd<'_>, name: &[u8]) -> Fact {
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        let kind = FileType::from_raw_mode(stat.st_mode);
        let is_open = matches!(kind, FileType::RegularFile | FileType::Directory);
        let open = || rustix::fs::openat(dir, name, OFlags::RDONLY | OFlags::NOATIME, Mode::empty()).unwrap();
        let file = is_open.then(open);
        Fact {
            mode: stat.st_mode,
            owner: (stat.st_uid, stat.st_gid),
            mtime: (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap()),
            size: if kind == FileType::Directory { 0 } else { u64::try_from(stat.st_size).unwrap() },
            device: stat.st_rdev,
            link: match kind {
                FileType::Symlink => rustix::fs::readlinkat(dir, name, Vec::new()).unwrap().into_bytes(),
                _ => Vec::new(),
            },
            xattrs: self.xattrs(&place(dir, name)),
            flags: file.as_ref().map_or(0, |file| {
                rustix::fs::ioctl_getflags(file).map_or(0, |flags| flags.bits() & SETTABLE)
            }),
            content: match &file {
                Some(file) if kind == FileType::RegularFile && stat.st_size > 0 => self.content(file),
                _ => String::new(),
            },
            names: Vec::new(),
        }
    }

    fn xattrs(&mut self, path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let length = rustix::fs::llistxattr(path, &mut self.list[..]).unwrap();
        let names = self.list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
        let mut found = BTreeMap::new();
        for name in names {
            let length = rustix::fs::lgetxattr(path, name, &mut self.value[..]).unwrap();
            found.insert(name.to_vec(), self.value[..length].to_vec());
        }
        found
    }

    fn content(&mut self, file: &OwnedFd) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut at = 0;
        while let Ok(data) = rustix::fs::seek(file, SeekFrom::Data(at)) {
            // Whole blocks, wherever a filesystem says that data begins.
            at = data / 4096 * 4096;
            let end = rustix::fs::seek(file, SeekFrom::Hole(data)).unwrap();
            while at < end {
                let left = usize::try_from((end - at).next_multiple_of(4096)).unwrap_or(usize::MAX);
                let room = left.min(self.data.len());
                let mut got = 0;
                while got < room {
                    match rustix::io::pread(file, &mut self.data[got..room], at + got as u64).unwrap() {
                        0 => break,
                        count => got += count,
                    }
                }
                for (index, block) in self.data[..got].chunks(4096).enumerate() {
                    if block != &[0; 4096][..block.len()] {
                        hasher.update(&(at + index as u64 * 4096).to_le_bytes());
                        hasher.update(block);
                    }
                }
                if got < room {
                    break;
                }
                at += got as u64;
            }
            at = at.max(end);
        }
        hasher.finalize().to_hex().to_string()
    }
}

fn place(dir: BorrowedFd<'_>, name: &[u8]) -> PathBuf {
    Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(std::ffi::OsStr::from_bytes(name))
}

/// What differs, as text; empty when nothing does.
pub fn differences(wanted: &BTreeMap<Vec<u8>, Fact>, found: &BTreeMap<Vec<u8>, Fact>) -> Vec<String> {
    let text = |path: &[u8]| {
        let text = String::from_utf8_lossy(path).into_owned();
        if text.len() > 300 {
            format!("{}… ({} bytes)", text.chars().take(60).collect::<String>(), path.len())
        } else {
            text
        }
    };
    let mut list = Vec::new();
    for (path, fact) in wanted {
        match found.get(path) {
            None => list.push(format!("{}: missing", text(path))),
            Some(now) if now != fact => {
                let short = |fact: &Fact| Fact {
                    names: fact.names.iter().take(3).cloned().collect(),
                    ..fact.clone()
                };
                let mut shown = format!("{:?} instead of {:?}", short(now), short(fact));
                shown.truncate(3000);
                list.push(format!("{}: {shown}", text(path)));
            }
            Some(_) => {}
        }
    }
    let more = found.keys().filter(|path| !wanted.contains_key(*path));
    list.extend(more.map(|path| format!("{}: not in the source", text(path))));
    list
}
