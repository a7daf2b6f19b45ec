//! A running `rear mount`, and what is compared of what it shows.

#![allow(dead_code, reason = "it serves several test programs")]

use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::Mode;

use crate::support::{noise, rear};

pub fn skipped() -> bool {
    let skipped = !sys::info::is_root() || !Path::new("/dev/fuse").exists();
    if skipped {
        eprintln!("skipped: needs root and /dev/fuse");
    }
    skipped
}

/// A running `rear mount`; unmounted and ended with the test, however that ends.
pub struct Mounted {
    pub child: Child,
    at: PathBuf,
    pub said: String,
}

impl Mounted {
    /// Of what lies there, with nothing configured.
    pub fn new(from: &Path, at: &Path) -> Self {
        let config = tempfile::tempdir().unwrap();
        Self::of(config.path(), from.to_str(), at)
    }

    /// With the configuration in that directory; without `from`, of what it names.
    pub fn of(config: &Path, from: Option<&str>, at: &Path) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_rear"))
            .env_clear()
            .arg("-c")
            .arg(config)
            .arg("mount")
            .arg(at)
            .args(from.iter().flat_map(|from| ["--from", from]))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        while !said.contains("--unmount") {
            if lines.read_line(&mut said).unwrap() == 0 {
                let mut error = String::new();
                child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
                panic!("not mounted: {said}{error}");
            }
        }
        // It is the reader's no more: what follows is a line or two, which the pipe holds.
        child.stdout = Some(lines.into_inner());
        Self { child, at: at.to_owned(), said }
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    /// Exit code and errors of the run, which must be about to end.
    pub fn end(&mut self) -> (i32, String) {
        let mut error = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
        (self.child.wait().unwrap().code().unwrap_or(-1), error)
    }

    pub fn unmount(&mut self) -> (i32, String) {
        let (code, out, error) = rear(&["mount", "--unmount"], &self.at);
        assert_eq!((code, error.as_str()), (0, ""), "{out}");
        assert!(!is_mounted(&self.at));
        self.end()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if is_mounted(&self.at) {
            let _ = Command::new("umount").arg("-l").arg(&self.at).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn is_mounted(at: &Path) -> bool {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    text.lines().any(|line| line.split(' ').nth(4) == at.to_str())
}

/// Files of the kinds that only root can make, besides those of the support.
pub fn plant_more(tree: &Path) {
    let more = tree.join("more");
    std::fs::create_dir_all(&more).unwrap();
    let at = |name: &str| more.join(name);
    let node = |name: &str, kind, device| {
        let mode = Mode::from_raw_mode(0o640);
        rustix::fs::mknodat(rustix::fs::CWD, at(name), kind, mode, device).unwrap();
    };
    node("console", rustix::fs::FileType::CharacterDevice, rustix::fs::makedev(5, 70_001));
    node("disk", rustix::fs::FileType::BlockDevice, rustix::fs::makedev(259, 3));
    node("pipe", rustix::fs::FileType::Fifo, 0);
    std::fs::write(at("program"), "#!/bin/sh\n").unwrap();
    rustix::fs::chown(
        at("program"),
        Some(rustix::fs::Uid::from_raw(4711)),
        Some(rustix::fs::Gid::from_raw(12)),
    )
    .unwrap();
    rustix::fs::chmod(at("program"), Mode::from_raw_mode(0o6755)).unwrap();
    for (name, value) in
        [("user.note", &b"text"[..]), ("trusted.bytes", &[0, 255, 7][..]), ("user.empty", b"")]
    {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::lsetxattr(at("program"), name, value, flags).unwrap();
    }
    // "user::rwx, user:99:r-x, group::r-x, mask::r-x, other::r-x"
    let acl = [(1, 7, u32::MAX), (2, 5, 99), (4, 5, u32::MAX), (16, 5, u32::MAX), (32, 5, u32::MAX)];
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, bits, id) in acl {
        value.extend([tag, 0, bits, 0]);
        value.extend(u32::to_le_bytes(id));
    }
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::lsetxattr(at("program"), "system.posix_acl_access", &value, flags).unwrap();
    let sparse = std::fs::File::create(at("sparse")).unwrap();
    sparse.set_len(40_000_000).unwrap();
    sparse.write_all_at(&noise(6_000_000, 3), 8_000_000).unwrap();
    sparse.write_all_at(b"end", 30_000_000).unwrap();
    let hole = std::fs::File::create(at("hole")).unwrap();
    hole.set_len(100_000_000).unwrap();
    std::fs::write(at("old"), "old").unwrap();
    let old = rustix::fs::Timespec { tv_sec: -1000, tv_nsec: 5 };
    let times = rustix::fs::Timestamps { last_access: old, last_modification: old };
    rustix::fs::utimensat(rustix::fs::CWD, at("old"), &times, rustix::fs::AtFlags::empty()).unwrap();
    let program = std::fs::File::open(at("program")).unwrap();
    let flags = rustix::fs::IFlags::NODUMP | rustix::fs::IFlags::NOATIME;
    if let Ok(present) = rustix::fs::ioctl_getflags(&program) {
        rustix::fs::ioctl_setflags(&program, present | flags).unwrap();
    }
    std::fs::create_dir(at("many")).unwrap();
    for number in 0..3000 {
        std::fs::write(at("many").join(format!("{}-{number}", "n".repeat(90))), number.to_string()).unwrap();
    }
    std::fs::write(at("many").join(std::ffi::OsStr::from_bytes(&[b'x'; 255])), "long").unwrap();
}

/// What `find` says of all below a directory, which is what `lstat(2)` says; sizes and links of directories are the
/// filesystem's own business.
pub fn facts(dir: &Path) -> String {
    let format = "%P %y %m %U %G %T@";
    let output = Command::new("find")
        .arg(dir)
        .args(["(", "-type", "d", "-printf", &format!("{format}\\0")])
        .args([")", "-o", "-printf", &format!("{format} %s %n %l\\0")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut lines: Vec<_> = output.stdout.split(|byte| *byte == 0).collect();
    lines.sort_unstable();
    lines.iter().map(|line| line.escape_ascii().to_string() + "\n").collect()
}

/// Every name and value of the extended attributes.
pub fn xattrs(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut names = vec![0; 65536];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    let names = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let mut found: Vec<_> = names
        .map(|name| {
            let mut value = vec![0; 65536];
            let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
            value.truncate(length);
            (name.to_vec(), value)
        })
        .collect();
    found.sort();
    found
}
