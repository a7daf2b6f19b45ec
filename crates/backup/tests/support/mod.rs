//! A tree with everything that a filesystem can hold, and what the tests of this room share.

pub mod facts;
pub mod place;

use std::fs::{File, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use backup::{Created, Options, Restore, Source, Stored};
use rustix::fs::{AtFlags, CWD, FileType, Gid, IFlags, Mode, Timespec, Timestamps, Uid, XattrFlags};

/// Few threads, fast level.
pub fn options() -> Options {
    Options { codec: backup::Codec::Zstd, level: 1, threads: 2, cancel: sys::Cancel::default() }
}

/// A source that is one directory.
pub fn source(root: &Path) -> Source {
    Source::whole(root)
}

/// Archives into `work`.
pub fn create(source: &Source, work: &Path) -> Created {
    let archive = File::create(work.join("a.tar.zst")).unwrap();
    let manifest = File::create(work.join("a.manifest")).unwrap();
    let made = backup::create(source, &archive, &manifest, &options(), &()).unwrap();
    let written = blake3::hash(&std::fs::read(work.join("a.manifest")).unwrap());
    assert_eq!(written.to_hex().as_str(), made.manifest_blake3);
    made
}

/// Everything of a verified archive, into that directory.
pub fn order<'a>(archive: &'a Stored, manifest: &'a Path, target: &'a Path) -> Restore<'a> {
    Restore { archive, manifest, target, plain: Vec::new(), sealed: None, replace: true }
}

/// Bytes that zstd cannot make smaller, the same at each call.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend(state.to_le_bytes());
    }
    out.truncate(length);
    out
}

fn set_time(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    if let Err(error) = rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()) {
        eprintln!("note: {name} cannot be set here ({error}); not tested");
    }
}

fn set_flags(path: &Path, flags: IFlags) {
    let file = File::open(path).unwrap();
    let result =
        rustix::fs::ioctl_getflags(&file).and_then(|now| rustix::fs::ioctl_setflags(&file, now | flags));
    if let Err(error) = result {
        eprintln!("note: inode flags {flags:?} cannot be set here ({error}); not tested");
    }
}

/// A POSIX ACL in its binary form: (tag, permissions, id).
fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut out = 2_u32.to_le_bytes().to_vec();
    for (tag, bits, id) in entries {
        out.extend(tag.to_le_bytes());
        out.extend(bits.to_le_bytes());
        out.extend(id.to_le_bytes());
    }
    out
}

fn sparse(path: &Path, size: u64, data: &[(u64, usize)]) {
    let file = File::create(path).unwrap();
    file.set_len(size).unwrap();
    for (offset, length) in data {
        file.write_all_at(&noise(*length, offset + 7), *offset).unwrap();
    }
}

/// Makes the tree; what only root can make is left out otherwise. Gives false then.
pub fn torture(root: &Path) -> bool {
    let is_root = sys::info::is_root();
    let at = |name: &str| root.join(name);
    let write = |name: &str, data: &[u8]| std::fs::write(root.join(name), data).unwrap();
    std::fs::create_dir_all(at("etc/deep/er/est")).unwrap();
    std::fs::create_dir(at("empty")).unwrap();
    write("etc/fstab", b"UUID=1 / ext4 defaults 0 1\n");
    write("etc/nothing", b"");
    for (index, size) in [1, 511, 512, 513, 4096, 65_537].into_iter().enumerate() {
        write(&format!("etc/size{size}"), &noise(size, index as u64));
    }
    write("big", &noise(9_500_003, 3));
    write("exact", &noise(4 << 20, 4));
    write("exact8", &noise(8 << 20, 4));
    write("text", &b"all work and no play\n".repeat(300_000));
    for index in 0..40 {
        write(&format!("etc/deep/file{index}"), &noise(index * 1000, index as u64));
    }
    // Names.
    let odd = [
        &b"new\nline"[..],
        b"tab\t",
        b"\xff\xfe bad",
        "größe ✓".as_bytes(),
        b"-dash",
        b"%41",
        b" ",
        b"back\\slash",
    ];
    for name in odd {
        std::fs::write(root.join(std::ffi::OsStr::from_bytes(name)), name).unwrap();
    }
    write(&"n".repeat(255), b"long name");
    let mut deep = root.to_owned();
    for _ in 0..9 {
        deep.push("d".repeat(200));
    }
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::write(deep.join("bottom"), b"far down").unwrap();
    // Links.
    std::os::unix::fs::symlink("etc/fstab", at("link")).unwrap();
    std::os::unix::fs::symlink("/no/such\nplace", at("dangling")).unwrap();
    // XFS keeps 1,023 bytes.
    std::os::unix::fs::symlink("x".repeat(1023), at("longlink")).unwrap();
    std::fs::hard_link(at("etc/fstab"), at("etc/deep/er/est/fstab2")).unwrap();
    std::fs::hard_link(at("big"), at("big2")).unwrap();
    std::fs::hard_link(at("longlink"), at("longlink2")).unwrap();
    // Holes.
    sparse(&at("hole-all"), 5_000_000, &[]);
    sparse(&at("hole-end"), 20_000_000, &[(0, 5000)]);
    sparse(&at("hole-start"), 20_000_000, &[(19_995_000, 5000)]);
    sparse(
        &at("holes"),
        60_000_001,
        &[(0, 1), (8_000_000, 4_500_000), (30_000_000, 70_000), (60_000_000, 1)],
    );
    sparse(&at("huge"), 1 << 40, &[(0, 3), ((1 << 40) - 5, 5)]);
    // Modes.
    for (index, mode) in [0o000, 0o4755, 0o2755, 0o1777, 0o6711, 0o444].into_iter().enumerate() {
        write(&format!("mode{index}"), b"m");
        std::fs::set_permissions(at(&format!("mode{index}")), PermissionsExt::from_mode(mode)).unwrap();
    }
    std::fs::set_permissions(at("empty"), PermissionsExt::from_mode(0o3777)).unwrap();
    rustix::fs::mkfifoat(CWD, at("fifo"), Mode::from_raw_mode(0o640)).unwrap();
    std::fs::hard_link(at("fifo"), at("fifo2")).unwrap();
    drop(std::os::unix::net::UnixListener::bind(at("socket")).unwrap());
    // Attributes.
    write("xattrs", b"x");
    set_xattr(&at("xattrs"), "user.text", b"value");
    set_xattr(&at("xattrs"), "user.empty", b"");
    set_xattr(&at("xattrs"), "user.binary", b"\0\n=\xff\n");
    set_xattr(&at("xattrs"), "user.name=with%odd", b"1");
    set_xattr(&at("etc"), "user.dir", &noise(900, 1));
    write("acl", b"a");
    let access =
        [(1, 6, u32::MAX), (2, 4, 1234), (4, 4, u32::MAX), (8, 7, 77), (16, 6, u32::MAX), (32, 0, u32::MAX)];
    set_xattr(&at("acl"), "system.posix_acl_access", &acl(&access));
    set_xattr(&at("empty"), "system.posix_acl_default", &acl(&access));
    if is_root {
        privileged(root);
    }
    // Times, from the leaves up.
    for (name, seconds, nanoseconds) in [
        ("etc/nothing", -5, 123_456_789),
        ("etc/size1", -86_400 * 365 * 40, 0),
        ("etc/size511", 1 << 32, 999_999_999),
        ("etc/size512", 0, 1),
        ("link", 1_000_000_000, 5),
        ("fifo", 1_000_000_001, 6),
        ("etc/deep/er", 1_000_000_002, 7),
        ("etc", 1_000_000_003, 8),
        ("empty", 4_000_000_000, 9),
    ] {
        set_time(&at(name), seconds, nanoseconds);
    }
    set_time(root, 1_234_567_890, 987_654_321);
    for (name, flags) in [
        ("mode5", IFlags::NODUMP | IFlags::NOATIME),
        ("etc/size4096", IFlags::IMMUTABLE),
        ("etc/size513", IFlags::APPEND),
        ("etc/deep", IFlags::NODUMP),
        ("etc/deep/er/est", IFlags::IMMUTABLE),
    ] {
        if is_root || !flags.intersects(IFlags::IMMUTABLE | IFlags::APPEND) {
            set_flags(&at(name), flags);
        }
    }
    if !is_root {
        eprintln!("note: not root: owners, devices, capabilities and trusted attributes are not tested");
    }
    is_root
}

fn privileged(root: &Path) {
    let at = |name: &str| root.join(name);
    for (name, uid, gid) in
        [("etc/size513", 1000, 1001), ("mode1", 4_000_000_000, 3_000_000_000), ("fifo", 5, 6)]
    {
        rustix::fs::chown(at(name), Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).unwrap();
    }
    // A change of owner has taken the bit away.
    std::fs::set_permissions(at("mode1"), PermissionsExt::from_mode(0o4755)).unwrap();
    rustix::fs::chownat(
        CWD,
        at("link"),
        Some(Uid::from_raw(7)),
        Some(Gid::from_raw(8)),
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .unwrap();
    for (name, kind, major, minor) in
        [("null", FileType::CharacterDevice, 1, 3), ("disk", FileType::BlockDevice, 259, 200_000)]
    {
        let device = rustix::fs::makedev(major, minor);
        if let Err(error) = rustix::fs::mknodat(CWD, at(name), kind, Mode::from_raw_mode(0o620), device) {
            eprintln!("note: device nodes cannot be made here ({error}); not tested");
        }
    }
    std::fs::write(at("capable"), b"#!").unwrap();
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    set_xattr(&at("capable"), "security.capability", &capability);
    set_xattr(&at("capable"), "security.selinux", b"system_u:object_r:bin_t:s0\0");
    set_xattr(&at("capable"), "security.ima", b"\x01\n\xff");
    set_xattr(&at("xattrs"), "trusted.secret", b"t");
    set_xattr(&at("link"), "trusted.onlink", b"l");
    if OpenOptions::new().read(true).open(at("null")).is_ok() {
        set_xattr(&at("null"), "trusted.ondevice", b"d");
    }
}

/// Takes the flags away that keep a temporary directory from being removed.
pub fn release(root: &Path) {
    for name in ["etc/size4096", "etc/size513", "etc/deep/er/est"] {
        if let Ok(file) = File::open(root.join(name))
            && let Ok(flags) = rustix::fs::ioctl_getflags(&file)
        {
            let _ = rustix::fs::ioctl_setflags(&file, flags - IFlags::IMMUTABLE - IFlags::APPEND);
        }
    }
}

/// Releases a tree when the test ends, also by a panic.
pub struct Released<'a>(pub &'a Path);

impl Drop for Released<'_> {
    fn drop(&mut self) {
        release(self.0);
    }
}
