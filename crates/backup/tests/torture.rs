//! The torture tree on real ext4, XFS and btrfs: what comes back is compared with the source by system calls of the test's
//! own, by rsync, getfattr and lsattr, and never only by the code that archived it. GNU tar has to agree.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[allow(dead_code, reason = "each test program uses its part")]
mod support;

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use backup::{ProblemKind, Stored};
use rustix::fs::{AtFlags, CWD, IFlags, Mode, OFlags, XattrFlags};
use rustix::io::Errno;
use rustix::mount::MountFlags;
use support::facts::{Fact, differences, facts};
use support::place::{filesystem, is_possible, run};
use support::{create, noise, options, order, source};

/// A path of at least so many bytes in steps of 200: the kernel takes 4,095 in one call.
const BEYOND: usize = 6_000;
/// Programs that give a second opinion.
const JUDGES: [&str; 4] = ["rsync", "getfattr", "lsattr", "losetup"];

/// What the shared torture tree has not, because not every filesystem has it or a temporary directory should not.
fn extremes(root: &Path, crowd: usize) {
    let at = |name: &str| root.join(name);
    // A crowd, with content in some.
    std::fs::create_dir(at("crowd")).unwrap();
    for index in 0..crowd {
        let content = if index % 10 == 0 { noise(index % 2000, index as u64) } else { Vec::new() };
        std::fs::write(at(&format!("crowd/f{index:06}")), content).unwrap();
    }
    // One path of 4,000 bytes, and one longer than the kernel takes.
    for (top, limit) in [("long", 4_000 - 60), ("longer", BEYOND)] {
        let step = "p".repeat(200);
        rustix::fs::mkdirat(CWD, at(top), Mode::RWXU).unwrap();
        let mut dir = rustix::fs::open(at(top), OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let mut length = top.len();
        while length + step.len() < limit {
            rustix::fs::mkdirat(&dir, &*step, Mode::from_raw_mode(0o750)).unwrap();
            dir = rustix::fs::openat(&dir, &*step, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
            length += step.len() + 1;
        }
        let flags = OFlags::CREATE | OFlags::WRONLY;
        let name = "e".repeat(if limit < 4_000 { 4_000 - length - 1 } else { 255 });
        let file = rustix::fs::openat(&dir, &*name, flags, Mode::RUSR).unwrap();
        rustix::io::write(&file, b"the very end").unwrap();
        rustix::fs::fsetxattr(&file, "user.deep", b"down", XattrFlags::empty()).unwrap();
        rustix::fs::symlinkat("up", &dir, "link").unwrap();
        rustix::fs::linkat(&dir, "link", CWD, at(&format!("{top}-link")), AtFlags::empty()).unwrap();
    }
    // The longest link that this filesystem takes: 4,095 bytes, of which XFS keeps 1,023.
    let longest = (1..=4095_usize).rev().find(|length| {
        match rustix::fs::symlinkat("/".repeat(*length), CWD, at("longest-link")) {
            Ok(()) => true,
            Err(Errno::NAMETOOLONG) => false,
            Err(error) => panic!("{error}"),
        }
    });
    assert!(longest >= Some(1000), "{longest:?}");
    // Further names of devices and pipes in other directories.
    for name in ["null", "disk", "fifo", "link"] {
        rustix::fs::linkat(CWD, at(name), CWD, at(&format!("crowd/{name}")), AtFlags::empty()).unwrap();
    }
    // Attributes of every namespace on everything that can carry them, and the largest value that goes in.
    for name in ["null", "disk", "fifo", "longest-link", "crowd", "etc/nothing"] {
        let set = |key: &str, value: &[u8]| rustix::fs::lsetxattr(at(name), key, value, XattrFlags::empty());
        set("security.selinux", b"system_u:object_r:odd_t:s0:c1,c2\0").unwrap();
        set("trusted.torture", b"\0\xff=\n\r").unwrap();
        set("trusted.empty", b"").unwrap();
    }
    let mut sizes = [65_536, 60_000, 15_000, 3_500, 1_500].into_iter();
    let fits = |size: usize| {
        rustix::fs::setxattr(at("xattrs"), "user.large", &noise(size, 3), XattrFlags::empty()).is_ok()
    };
    assert!(sizes.any(fits));
    for (name, flags) in [
        ("nodump-dir", IFlags::NODUMP | IFlags::NOATIME | IFlags::SYNC),
        ("append-dir", IFlags::APPEND),
        ("nocow", IFlags::NOCOW),
        ("compressed", IFlags::COMPRESSED),
    ] {
        std::fs::create_dir(at(name)).unwrap();
        let file = std::fs::File::open(at(name)).unwrap();
        let now = rustix::fs::ioctl_getflags(&file).unwrap();
        let set = rustix::fs::ioctl_setflags(&file, now | flags);
        // Only btrfs knows the last two.
        assert!(set.is_ok() || flags.intersects(IFlags::NOCOW | IFlags::COMPRESSED), "{name}: {set:?}");
        std::fs::write(at(name).join("inherits"), noise(9000, 1)).unwrap();
    }
    // Holes at both ends, and data in odd places.
    let file = std::fs::File::create(at("island")).unwrap();
    file.set_len((1 << 40) + 12_345).unwrap();
    for (offset, length) in [((1 << 30) + 1, 70_001), (1 << 39, 1)] {
        file.write_all_at(&noise(length, offset), offset).unwrap();
    }
    // Shorter than what is allocated, and allocated without having been written.
    let file = std::fs::File::create(at("allocated")).unwrap();
    rustix::fs::fallocate(file.as_fd(), rustix::fs::FallocateFlags::empty(), 0, 3 << 20).unwrap();
    file.write_all_at(b"some", 1 << 20).unwrap();
    file.sync_all().unwrap();
}

fn release(root: &Path) {
    support::release(root);
    for name in ["append-dir"] {
        if let Ok(file) = std::fs::File::open(root.join(name))
            && let Ok(flags) = rustix::fs::ioctl_getflags(&file)
        {
            rustix::fs::ioctl_setflags(&file, flags - IFlags::APPEND).unwrap();
        }
    }
}

/// What a program says of a tree, its paths relative to it.
fn said(root: &Path, program: &str, arguments: &[&str]) -> String {
    let output =
        std::process::Command::new(program).args(arguments).current_dir(root).env("LC_ALL", "C").output();
    // Paths that are too long for these programs are messages on stderr; the facts cover them.
    String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
}

/// What rsync would change in the target, and how many names it has looked at.
fn by_rsync(tree: &Path, target: &Path) -> (Vec<String>, usize) {
    let mut compare = vec!["-aHAXnii", "--numeric-ids", "--modify-window=-1", "--delete"];
    compare.extend(["--exclude=/longer", "--exclude=/socket", "--exclude=/foreign/*", "--out-format=%i %n"]);
    let (from, to) = (format!("{}/", tree.display()), format!("{}/", target.display()));
    compare.extend([from.as_str(), to.as_str()]);
    let output = run("rsync", &compare);
    let text = String::from_utf8_lossy(&output.stdout);
    // A dot, the type, and nothing but dots or spaces: the same. Every name is listed.
    let different =
        text.lines().filter(|line| line.len() > 12 && !line[2..11].trim_matches(['.', ' ']).is_empty());
    (different.map(str::to_owned).collect(), text.lines().count())
}

/// Second opinions on what differs between the trees.
fn judged(tree: &Path, target: &Path, names: usize) {
    let (different, looked) = by_rsync(tree, target);
    assert_eq!(different, [""; 0]);
    assert!(looked > names, "{looked} of {names}");
    let attributes = |root: &Path| {
        let text = said(root, "getfattr", &["-R", "-P", "-h", "-d", "-m", "-", "-e", "hex", "--", "."]);
        let mut blocks: Vec<String> = text.split("\n\n").map(str::to_owned).collect();
        blocks.sort();
        blocks
    };
    let (wanted, found) = (attributes(tree), attributes(target));
    assert!(wanted.len() > 10 && wanted.concat().contains("trusted.torture"), "{wanted:?}");
    assert!(wanted == found, "getfattr says something else of the two trees");
    let flags = |root: &Path| {
        let text = said(root, "lsattr", &["-a", "-R", "."]);
        // Of that one only the directory is ours; in the source another filesystem without flags covers it.
        let lines = text.lines().filter(|line| !line.contains(" ./foreign"));
        let mut lines: Vec<String> = lines.map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let (wanted, found) = (flags(tree), flags(target));
    assert!(wanted.len() > names && wanted.concat().contains("i---"));
    let mut differ = wanted.iter().filter(|line| found.binary_search(line).is_err());
    assert_eq!(differ.next(), None);
}

/// Builds, archives, restores and compares on filesystems of one type.
fn round(fs_type: &str, mkfs: &[&str], crowd: usize) {
    let mkfs_program = format!("mkfs.{fs_type}");
    if !is_possible(
        &format!("the torture tree on {fs_type}"),
        &[&JUDGES[..], &[mkfs_program.as_str()]].concat(),
    ) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mounts = ["tree", "target"].map(|name| filesystem(dir.path(), name, fs_type, 2048, mkfs));
    let [tree, target] = mounts.each_ref().map(sys::mount::Mount::target);
    let is_btrfs = fs_type == "btrfs";
    if is_btrfs {
        for name in ["sub", "sub/inner"] {
            run("btrfs", &["-q", "subvolume", "create", tree.join(name).to_str().unwrap()]);
            std::fs::write(tree.join(name).join("file"), name).unwrap();
            set_property(&tree.join(name));
        }
    }
    // Another filesystem, which is not asked for.
    std::fs::create_dir(tree.join("foreign")).unwrap();
    let _foreign =
        sys::mount::Mount::new("none", &tree.join("foreign"), "tmpfs", MountFlags::empty(), "").unwrap();
    std::fs::write(tree.join("foreign/file"), b"not ours").unwrap();
    assert!(support::torture(tree));
    extremes(tree, crowd);
    let borders: [&[u8]; 1] = [b"foreign"];
    let before = facts(tree, &borders);
    let made = create(&source(tree), dir.path());
    let listed: Vec<_> = made.problems.iter().map(|one| (one.path.clone(), one.kind)).collect();
    assert_eq!(listed, [(PathBuf::from("/socket"), ProblemKind::Skipped)]);
    assert_eq!(differences(&before, &facts(tree, &borders)), [""; 0], "reading changed the source");
    assert_eq!(made.files, before.len() as u64);
    let (archive, manifest) = (dir.path().join("a.tar.zst"), dir.path().join("a.manifest"));
    let stored = Stored::open(&archive).unwrap();
    let restored = backup::restore(&order(&stored, &manifest, target), &options(), &()).unwrap();
    assert_eq!(restored.problems, []);
    assert_eq!(backup::compare(&manifest, target, &[], &options(), &()).unwrap().differences, []);
    let proof = backup::prove(
        &stored,
        &Stored::open(&manifest).unwrap(),
        made.archive_bytes,
        &made.archive_blake3,
        &options(),
        &(),
    );
    assert_eq!(proof.unwrap().findings, []);

    let wanted = before;
    let found = facts(target, &[]);
    if fs_type == "ext4" {
        // mkfs made it, on both sides.
        assert_eq!(wanted["lost+found".as_bytes()].mode, found["lost+found".as_bytes()].mode);
    }
    assert_eq!(differences(&wanted, &found), [""; 0]);
    assert_sparse(tree, target);
    judged(tree, target, crowd);
    by_tar(&archive, dir.path(), fs_type, mkfs, &wanted);
    // The judges are no rubber stamps.
    rustix::fs::lsetxattr(target.join("acl"), "user.more", b"", XattrFlags::empty()).unwrap();
    rustix::fs::chownat(
        CWD,
        target.join("dangling"),
        None,
        Some(rustix::fs::Gid::from_raw(9)),
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .unwrap();
    assert_eq!(by_rsync(tree, target).0.len(), 2);
    assert_eq!(differences(&wanted, &facts(target, &[])).len(), 2);
    release(tree);
    release(target);
    let _ = writeln!(std::io::stderr(), "{fs_type}: {} names came back", wanted.len());
}

/// On btrfs, compression by property is an attribute of a namespace of its own.
fn set_property(dir: &Path) {
    let file = dir.join("file");
    rustix::fs::setxattr(&file, "btrfs.compression", b"zstd", XattrFlags::empty()).unwrap();
}

/// Holes are holes again: no file takes notably more room than before.
fn assert_sparse(tree: &Path, target: &Path) {
    for name in ["huge", "holes", "hole-all", "hole-end", "hole-start", "island"] {
        let blocks = |root: &Path| rustix::fs::lstat(root.join(name)).unwrap().st_blocks;
        // In units of 512 bytes.
        assert!(blocks(target) <= blocks(tree) + 256, "{name}: {} after {}", blocks(target), blocks(tree));
    }
}

/// GNU tar lists the archive and gives the tree back, with everything but inode flags.
fn by_tar(
    archive: &Path,
    work: &Path,
    fs_type: &str,
    mkfs: &[&str],
    wanted: &std::collections::BTreeMap<Vec<u8>, Fact>,
) {
    let mount = filesystem(work, "by-tar", fs_type, 2048, mkfs);
    let place = mount.target();
    let (file, at) = (archive.to_str().unwrap(), place.to_str().unwrap());
    let list = run("tar", &["--zstd", "--quoting-style=literal", "-tf", file]);
    // One name has a line break.
    assert_eq!(list.stdout.iter().filter(|byte| **byte == b'\n').count(), wanted.len() + 1);
    // It opens each file by its whole path, which the kernel takes up to 4,095 bytes.
    let out = std::process::Command::new("tar")
        .args([
            "--zstd",
            "-xpf",
            file,
            "-C",
            at,
            "--numeric-owner",
            "--xattrs",
            "--xattrs-include=*",
            "--acls",
        ])
        .args(["--exclude=./longer/*", "--exclude=./longer-link"])
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    let messages = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{messages}");
    let is_long = |path: &[u8]| path.starts_with(b"longer/") || path == b"longer-link";
    let mut wanted: std::collections::BTreeMap<_, _> = wanted
        .iter()
        .filter(|(path, _)| !is_long(path))
        .map(|(path, fact)| (path.clone(), fact.clone()))
        .collect();
    let mut found = facts(place, &[]);
    for fact in wanted.values_mut().chain(found.values_mut()) {
        fact.flags = 0;
        // Compression on btrfs is a flag too, and tar writes before it sets the attribute.
        fact.xattrs.remove(&b"btrfs.compression"[..]);
    }
    assert_eq!(differences(&wanted, &found), [""; 0], "{messages}");
}

#[test]
fn ext4() {
    round("ext4", &["-N", "250000"], 100_000);
}

#[test]
fn xfs() {
    round("xfs", &[], 2_000);
}

#[test]
fn btrfs() {
    round("btrfs", &[], 2_000);
}
