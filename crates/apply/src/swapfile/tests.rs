//! Swap files on real filesystems in files (loop devices). They need root and loop devices, and say so where they run without.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use layout::{Bytes, NodeId, Swap};
use sys::Real;
use sys::mount::Mount;

use super::*;

const MIB: u64 = 1 << 20;

fn wanted() -> SwapFile {
    SwapFile {
        path: "/swap/file".into(),
        device: NodeId("disk".into()),
        size: Bytes(24 * MIB),
        mode: 0o600,
        uid: 0,
        gid: 0,
        swap: Swap {
            uuid: "d385b3ca-a3f5-4b8b-999c-83cec26cc6cb".into(),
            label: "swapfile".into(),
            page_size: 4096,
            active: true,
        },
    }
}

/// A mounted filesystem, made by the real tool.
struct Filesystem {
    mount: Option<Mount>,
    node: String,
    dir: tempfile::TempDir,
}

impl Filesystem {
    fn new(kind: &str, mkfs: &[&str]) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        File::create(&image).unwrap().set_len(400 * MIB).unwrap();
        let name = image.to_string_lossy().into_owned();
        let real = Real::default();
        let (program, args) = mkfs.split_first().unwrap();
        real.run(&Cmd::new(*program).args(args.iter().copied()).arg(&name)).unwrap();
        let Ok(looped) = real.run(&Cmd::new("losetup").args(["--find", "--show"]).arg(&name)) else {
            eprintln!("skipped: no loop devices");
            return None;
        };
        let node = looped.text().trim().to_owned();
        let place = dir.path().join("mnt");
        std::fs::create_dir(&place).unwrap();
        match Mount::new(&node, &place, kind, rustix::mount::MountFlags::empty(), "") {
            Ok(mount) => Some(Self { mount: Some(mount), node, dir }),
            Err(error) => {
                eprintln!("skipped: {error}");
                let _ = real.run(&Cmd::new("losetup").args(["--detach", &node]));
                None
            }
        }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }
}

impl Drop for Filesystem {
    fn drop(&mut self) {
        self.mount.take().unwrap().unmount().unwrap();
        Real::default().run(&Cmd::new("losetup").args(["--detach", &self.node])).unwrap();
    }
}

fn is_root() -> bool {
    let is = sys::info::is_root();
    if !is {
        eprintln!("skipped: needs root");
    }
    is
}

/// What the probe says of the file, which must be as wanted and whole.
fn check(root: &Path, wanted: &SwapFile) {
    let path = root.join("swap/file");
    let now = probe::swap_file(&Real::default(), &path.to_string_lossy(), &wanted.device).unwrap().unwrap();
    let swap = Swap { active: false, ..wanted.swap.clone() };
    assert_eq!(now, SwapFile { path: path.to_string_lossy().into_owned(), swap, ..wanted.clone() });
    let facts = Real::default().file(&path).unwrap();
    assert!(facts.allocated >= facts.size, "{facts:?}");
}

#[test]
fn a_restored_hole_becomes_swap_space_on_each_filesystem() {
    if !is_root() {
        return;
    }
    for (kind, mkfs) in [
        ("ext4", &["mke2fs", "-q", "-F", "-t", "ext4"][..]),
        ("ext2", &["mke2fs", "-q", "-F", "-t", "ext2"]),
        ("xfs", &["mkfs.xfs", "-q", "-f"]),
        ("btrfs", &["mkfs.btrfs", "-q", "-f"]),
    ] {
        let Some(fs) = Filesystem::new(kind, mkfs) else { continue };
        let (root, wanted) = (fs.root(), wanted());
        std::fs::create_dir(root.join("swap")).unwrap();
        let path = root.join("swap/file");
        // As the archive brings it back: all of its size, nothing in it, its own time.
        let file = File::create(&path).unwrap();
        file.set_permissions(std::fs::Permissions::from_mode(0o600)).unwrap();
        file.set_len(wanted.size.0).unwrap();
        let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::new(1_000_000, 5);
        file.set_modified(old).unwrap();
        drop(file);
        swap_file(&Real::default(), &root, &wanted, &Cancel::default()).unwrap();
        check(&root, &wanted);
        let found = std::fs::metadata(&path).unwrap();
        assert_eq!((found.mtime(), found.mtime_nsec()), (1_000_000, 5), "{kind}");
        if kind == "btrfs" {
            let flags = rustix::fs::ioctl_getflags(File::open(&path).unwrap()).unwrap();
            assert!(flags.contains(IFlags::NOCOW));
        }
        // Again, over the one that is there; and once more, where it is missing.
        swap_file(&Real::default(), &root, &wanted, &Cancel::default()).unwrap();
        check(&root, &wanted);
        std::fs::remove_dir_all(root.join("swap")).unwrap();
        swap_file(&Real::default(), &root, &wanted, &Cancel::default()).unwrap();
        check(&root, &wanted);
    }
}

#[test]
fn a_file_that_is_compressed_is_made_anew_on_btrfs() {
    if !is_root() {
        return;
    }
    let Some(fs) = Filesystem::new("btrfs", &["mkfs.btrfs", "-q", "-f"]) else { return };
    std::fs::create_dir(fs.root().join("swap")).unwrap();
    let dir = File::open(fs.root().join("swap")).unwrap();
    rustix::fs::ioctl_setflags(&dir, IFlags::COMPRESSED).unwrap();
    std::fs::write(fs.root().join("swap/file"), vec![7; 24 << 20]).unwrap();
    rustix::fs::sync();
    let wanted = SwapFile { mode: 0o644, ..wanted() };
    swap_file(&Real::default(), &fs.root(), &wanted, &Cancel::default()).unwrap();
    check(&fs.root(), &wanted);
}

#[test]
fn what_is_no_file_and_what_has_no_room_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("swap")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("swap/file")).unwrap();
    let error = swap_file(&sys::Forbid, dir.path(), &wanted(), &Cancel::default()).unwrap_err();
    assert!(error.to_string().contains("swap/file"), "{error}");
    assert!(std::fs::read_link(dir.path().join("swap/file")).is_ok());
    if is_root()
        && let Some(fs) = Filesystem::new("ext4", &["mke2fs", "-q", "-F", "-t", "ext4"])
    {
        let large = SwapFile { size: Bytes(1 << 30), ..wanted() };
        let error = swap_file(&Real::default(), &fs.root(), &large, &Cancel::default()).unwrap_err();
        assert!(error.to_string().contains("No space left"), "{error}");
    }
}
