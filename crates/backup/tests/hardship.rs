//! Damage, change, exclusion, mounts, signals and full disks: an error or a named file, never a panic or a gap.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[allow(dead_code, reason = "each test program uses its part")]
mod support;

use std::io::Write;
use std::path::{Path, PathBuf};

use backup::{Created, Error, Exclude, ManifestReader, ProblemKind, Restore, Source, Stored};
use proptest::prelude::*;
use rustix::mount::MountFlags;
use support::{create, noise, options, order, source};

/// A small backup of several frames.
struct Small {
    dir: tempfile::TempDir,
    made: Created,
    bytes: Vec<u8>,
}

fn small() -> Small {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    std::fs::create_dir_all(tree.join("sub")).unwrap();
    std::fs::write(tree.join("large"), noise(200_000, 1).repeat(50)).unwrap();
    for index in 0..20 {
        std::fs::write(tree.join(format!("sub/{index}")), noise(index * 3000, 5).repeat(4)).unwrap();
    }
    let made = create(&source(&tree), dir.path());
    let bytes = std::fs::read(dir.path().join("a.tar.zst")).unwrap();
    Small { dir, made, bytes }
}

impl Small {
    /// What verification and restore say of a changed archive.
    fn with(&self, bytes: &[u8]) -> (Result<(), Error>, bool) {
        let work = tempfile::tempdir().unwrap();
        let (archive, target) = (work.path().join("a"), work.path().join("t"));
        std::fs::write(&archive, bytes).unwrap();
        std::fs::create_dir(&target).unwrap();
        let verified = backup::verify(
            &Stored::open(&archive).unwrap(),
            self.made.archive_bytes,
            &self.made.archive_blake3,
            &options(),
            &(),
        );
        let manifest = self.dir.path().join("a.manifest");
        let stored = Stored::open(&archive).unwrap();
        let restore = order(&stored, &manifest, &target);
        let whole = backup::restore(&restore, &options(), &())
            .is_ok_and(|restored| restored.problems.is_empty())
            && backup::compare(&manifest, &target, &[], &options(), &()).unwrap().differences.is_empty();
        (verified, whole)
    }
}

#[test]
fn only_what_is_asked_for_is_archived_with_the_way_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    for path in ["etc/a", "etc/deep/b", "home/u/c", "home/v/d", "srv/e", "mnt/x/f"] {
        std::fs::create_dir_all(tree.join(path).parent().unwrap()).unwrap();
        std::fs::write(tree.join(path), "x").unwrap();
    }
    let only = backup::Only {
        paths: ["/etc", "/home/u", "/srv/e"].map(PathBuf::from).to_vec(),
        directories: vec![PathBuf::from("/mnt/x")],
    };
    let source = Source { only: Some(only), ..source(&tree) };
    create(&source, dir.path());
    let expected = [
        ".",
        "etc",
        "etc/a",
        "etc/deep",
        "etc/deep/b",
        "home",
        "home/u",
        "home/u/c",
        "mnt",
        "mnt/x",
        "srv",
        "srv/e",
    ];
    assert_eq!(names(dir.path()), expected);
}

#[test]
fn an_undamaged_archive_is_whole() {
    let small = small();
    let (verified, whole) = small.with(&small.bytes);
    verified.unwrap();
    assert!(whole);
    assert!(small.made.frames > 3);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_flipped_bit_and_any_cut_is_found(place in any::<prop::sample::Index>(), near_end in any::<bool>(), bit in 0..8) {
        static SMALL: std::sync::OnceLock<Small> = std::sync::OnceLock::new();
        let small = SMALL.get_or_init(small);
        let length = small.bytes.len();
        let at = if near_end { length - 1 - place.index(300) } else { place.index(length) };
        let mut flipped = small.bytes.clone();
        flipped[at] ^= 1_u8 << bit;
        let verified = small.with(&flipped).0;
        prop_assert!(matches!(verified, Err(Error::Damaged { .. })), "flip at {at}: {verified:?}");
        let verified = small.with(&small.bytes[..at]).0;
        prop_assert!(matches!(verified, Err(Error::Truncated { .. })), "cut at {at}: {verified:?}");
    }
}

#[test]
fn damage_in_a_frame_costs_only_what_is_in_it() {
    let small = small();
    let mut bytes = small.bytes.clone();
    bytes[2000] ^= 4;
    let (verified, whole) = small.with(&bytes);
    let text = verified.unwrap_err().to_string();
    assert!(
        text.contains("is damaged: its checksum is not the one that mkbackup wrote (part 2 of "),
        "{text}"
    );
    assert!(!whole);
    let (verified, _) = small.with(&small.bytes[..small.bytes.len() - 1]);
    let text = verified.unwrap_err().to_string();
    let n = small.made.archive_bytes;
    assert!(text.contains(&format!("is truncated: {} of {n} bytes", n - 1)), "{text}");
}

/// Changes a file's length as soon as the first frame is written. The reader is then at most five frames ahead,
/// because there are no more, and a file of 30 MB has eight.
struct Meddler(PathBuf, u64);

impl backup::Progress for Meddler {
    fn add(&self, _bytes: u64, _files: u64) {
        std::fs::OpenOptions::new().write(true).open(&self.0).unwrap().set_len(self.1).unwrap();
    }
}

#[test]
fn a_file_that_changes_while_it_is_read_is_named_and_whole() {
    for length in [100, 30_000_001] {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        std::fs::write(tree.join("zz-calm"), b"calm").unwrap();
        let restless = tree.join("restless");
        std::fs::write(&restless, noise(30_000_000, 2)).unwrap();
        let (archive, manifest) = (dir.path().join("a.tar.zst"), dir.path().join("a.manifest"));
        let (out, list) =
            (std::fs::File::create(&archive).unwrap(), std::fs::File::create(&manifest).unwrap());
        let made =
            backup::create(&source(&tree), &out, &list, &options(), &Meddler(restless, length)).unwrap();
        let named: Vec<_> =
            made.problems.iter().map(|problem| (problem.path.clone(), problem.kind)).collect();
        assert_eq!(named, [(PathBuf::from("/restless"), ProblemKind::Changed)]);
        // The archive is consistent in itself: what was archived comes back, with the digest of the manifest.
        let target = dir.path().join("target");
        std::fs::create_dir(&target).unwrap();
        let stored = Stored::open(&archive).unwrap();
        let restore = order(&stored, &manifest, &target);
        assert_eq!(backup::restore(&restore, &options(), &()).unwrap().problems, []);
        assert_eq!(backup::compare(&manifest, &target, &[], &options(), &()).unwrap().differences, []);
        assert_eq!(std::fs::metadata(target.join("restless")).unwrap().len(), 30_000_000);
    }
}

fn names(work: &Path) -> Vec<String> {
    let reader = ManifestReader::open(&work.join("a.manifest")).unwrap();
    reader.map(|entry| String::from_utf8(entry.unwrap().path).unwrap()).collect()
}

#[test]
fn what_is_excluded_stays_out() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    for name in ["tmp/a", "srv/my cache/b", "srv/keep", "cache", "own"] {
        std::fs::create_dir_all(tree.join(name)).unwrap();
        std::fs::write(tree.join(name).join("f"), b"").unwrap();
    }
    std::fs::write(tree.join("a.iso"), b"").unwrap();
    let patterns = ["/tmp/*", "/srv/my cache/*", "*.iso", "/cache"].map(String::from);
    let source = Source {
        exclude: Exclude::new(&patterns).unwrap(),
        skip_paths: vec![PathBuf::from("/own")],
        ..source(&tree)
    };
    create(&source, dir.path());
    assert_eq!(names(dir.path()), [".", "cache", "srv", "srv/keep", "srv/keep/f", "srv/my cache", "tmp"]);
}

#[test]
fn other_filesystems_are_empty_directories_unless_captured() {
    if !sys::info::is_root() {
        return eprintln!("note: not root: mounts are not tested");
    }
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    let mut mounts = sys::mount::Mounts::default();
    for name in ["in", "out", "out/deep/in2"] {
        std::fs::create_dir_all(tree.join(name)).unwrap();
        match sys::mount::Mount::new("tmpfs", &tree.join(name), "tmpfs", MountFlags::empty(), "") {
            Ok(mount) => mounts.push(mount),
            Err(error) => return eprintln!("note: nothing can be mounted here ({error}); not tested"),
        }
        std::fs::write(tree.join(name).join("f"), b"").unwrap();
    }
    std::fs::create_dir(tree.join("in/sub")).unwrap();
    let source =
        Source { mounts: ["/", "/in", "/out/deep/in2"].map(PathBuf::from).to_vec(), ..source(&tree) };
    let made = create(&source, dir.path());
    assert_eq!(made.problems, []);
    assert_eq!(
        names(dir.path()),
        [".", "in", "in/f", "in/sub", "out", "out/deep", "out/deep/in2", "out/deep/in2/f"]
    );
    mounts.unmount().unwrap();
}

#[test]
fn a_mount_that_belongs_to_the_filesystem_around_it_is_entered() {
    if !sys::info::is_root() {
        return eprintln!("note: not root: mounts are not tested");
    }
    let dir = tempfile::tempdir().unwrap();
    let (tree, nested) = (dir.path().join("tree"), dir.path().join("nested"));
    for path in [tree.join("a/nested"), tree.join("a/other"), nested.join("deep")] {
        std::fs::create_dir_all(path).unwrap();
    }
    std::fs::write(nested.join("one"), b"1").unwrap();
    std::fs::hard_link(nested.join("one"), nested.join("two")).unwrap();
    std::fs::write(nested.join("deep/f"), b"").unwrap();
    let mut mounts = sys::mount::Mounts::default();
    for name in ["a/nested", "a/other"] {
        match sys::mount::Mount::bind_one(&nested, &tree.join(name)) {
            Ok(mount) => mounts.push(mount),
            Err(error) => return eprintln!("note: nothing can be mounted here ({error}); not tested"),
        }
    }
    let inner = vec![PathBuf::from("/a/nested")];
    let only = backup::Only { paths: vec!["/a".into()], directories: Vec::new() };
    // What is asked for on the filesystem around it is asked for in it.
    for only in [None, Some(only)] {
        let source = Source { inner: inner.clone(), only, ..source(&tree) };
        let made = create(&source, dir.path());
        assert_eq!(made.problems, []);
        assert_eq!(
            names(dir.path()),
            [
                ".",
                "a",
                "a/nested",
                "a/nested/one",
                "a/nested/two",
                "a/nested/deep",
                "a/nested/deep/f",
                "a/other"
            ]
        );
    }
    let manifest = Stored::open(&dir.path().join("a.manifest")).unwrap();
    let links = ManifestReader::of(&manifest).unwrap().filter_map(Result::ok);
    let links: Vec<_> = links.filter(|entry| entry.kind == backup::Kind::HardLink).collect();
    assert_eq!(links.len(), 1);
    assert_eq!(links[0].link, b"a/nested/one");
    mounts.unmount().unwrap();
}

#[test]
fn a_full_filesystem_is_named() {
    if !sys::info::is_root() {
        return eprintln!("note: not root: a full filesystem is not tested");
    }
    let dir = tempfile::tempdir().unwrap();
    let (tree, full) = (dir.path().join("tree"), dir.path().join("full"));
    std::fs::create_dir(&tree).unwrap();
    std::fs::create_dir(&full).unwrap();
    std::fs::write(tree.join("f"), noise(12_000_000, 9)).unwrap();
    let mount = match sys::mount::Mount::new("tmpfs", &full, "tmpfs", MountFlags::empty(), "size=2m") {
        Ok(mount) => mount,
        Err(error) => return eprintln!("note: nothing can be mounted here ({error}); not tested"),
    };
    let archive = std::fs::File::create(full.join("a")).unwrap();
    let manifest = std::fs::File::create(dir.path().join("m")).unwrap();
    let result = backup::create(&source(&tree), &archive, &manifest, &options(), &());
    assert!(matches!(result, Err(Error::NoSpace { .. })), "{result:?}");
    std::fs::remove_file(full.join("a")).unwrap();
    drop(archive);
    create(&source(&tree), dir.path());
    let (archive, manifest) = (dir.path().join("a.tar.zst"), dir.path().join("a.manifest"));
    let stored = Stored::open(&archive).unwrap();
    let restore = order(&stored, &manifest, &full);
    let result = backup::restore(&restore, &options(), &());
    assert!(matches!(result, Err(Error::TargetFull { .. })), "{result:?}");
    mount.unmount().unwrap();
}

#[test]
fn plain_mounts_take_content_time_and_the_read_only_attribute() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let (tree, target) = (dir.path().join("tree"), dir.path().join("target"));
    std::fs::create_dir_all(tree.join("boot/efi/EFI")).unwrap();
    std::fs::create_dir(&target).unwrap();
    let file = tree.join("boot/efi/EFI/grub.efi");
    std::fs::write(&file, b"MZ").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o751)).unwrap();
    std::fs::write(tree.join("boot/efi/EFI/protected"), b"x").unwrap();
    std::fs::set_permissions(tree.join("boot/efi/EFI/protected"), PermissionsExt::from_mode(0o555)).unwrap();
    create(&source(&tree), dir.path());
    let (archive, manifest) = (dir.path().join("a.tar.zst"), dir.path().join("a.manifest"));
    let plain = vec![PathBuf::from("/boot/efi")];
    let stored = Stored::open(&archive).unwrap();
    let restore = Restore { plain: plain.clone(), ..order(&stored, &manifest, &target) };
    assert_eq!(backup::restore(&restore, &options(), &()).unwrap().problems, []);
    let differences =
        |plain: &[PathBuf]| backup::compare(&manifest, &target, plain, &options(), &()).unwrap().differences;
    assert_eq!(differences(&plain), []);
    assert!(!differences(&[]).is_empty());
    let protected = target.join("boot/efi/EFI/protected");
    let mode = std::fs::metadata(&protected).unwrap().permissions().mode();
    assert_eq!(mode & 0o222, 0);
    std::fs::set_permissions(&protected, PermissionsExt::from_mode(mode | 0o200)).unwrap();
    assert!(differences(&plain).iter().any(|difference| difference.what.contains("can be written")));
    std::fs::write(target.join("boot/efi/EFI/grub.efi"), b"ZM").unwrap();
    assert!(differences(&plain).iter().any(|difference| difference.what == "content"));
}

#[test]
fn a_raised_flag_stops_each_verb() {
    let small = small();
    let stopped = backup::Options { cancel: sys::Cancel::default(), ..options() };
    stopped.cancel.raise();
    let (archive, manifest) = (small.dir.path().join("a.tar.zst"), small.dir.path().join("a.manifest"));
    let target = small.dir.path().join("target");
    std::fs::create_dir(&target).unwrap();
    let cancelled = |error: Error| assert!(matches!(error, Error::Sys(sys::Error::Cancelled)), "{error}");
    let made = &small.made;
    cancelled(
        backup::verify(
            &Stored::open(&archive).unwrap(),
            made.archive_bytes,
            &made.archive_blake3,
            &stopped,
            &(),
        )
        .unwrap_err(),
    );
    let stored = Stored::open(&archive).unwrap();
    let restore = order(&stored, &manifest, &target);
    cancelled(backup::restore(&restore, &stopped, &()).unwrap_err());
    cancelled(backup::compare(&manifest, &target, &[], &stopped, &()).unwrap_err());
    let file = tempfile::tempfile().unwrap();
    let tree = small.dir.path().join("tree");
    cancelled(backup::create(&source(&tree), &file, &file, &stopped, &()).unwrap_err());
}

#[test]
fn a_link_in_the_target_leads_nowhere() {
    let small = small();
    let (target, outside) = (small.dir.path().join("target"), small.dir.path().join("outside"));
    std::fs::create_dir(&target).unwrap();
    std::fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, target.join("sub")).unwrap();
    std::os::unix::fs::symlink(outside.join("large"), target.join("large")).unwrap();
    let (archive, manifest) = (small.dir.path().join("a.tar.zst"), small.dir.path().join("a.manifest"));
    let stored = Stored::open(&archive).unwrap();
    let restore = order(&stored, &manifest, &target);
    backup::restore(&restore, &options(), &()).unwrap();
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    assert_eq!(backup::compare(&manifest, &target, &[], &options(), &()).unwrap().differences, []);
}

#[test]
fn a_foreign_manifest_is_refused() {
    let (small, other) = (small(), tempfile::tempdir().unwrap());
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(b"{\"v\":2}\n").unwrap();
    let path = other.path().join("m");
    std::fs::write(&path, encoder.finish().unwrap()).unwrap();
    assert!(backup::totals(&path).unwrap_err().to_string().contains("version 2"));
    // A manifest of another archive: frames that do not exist, content that does not lie there.
    let tree = other.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("x"), noise(50_000_000, 4)).unwrap();
    create(&source(&tree), other.path());
    let archive = small.dir.path().join("a.tar.zst");
    let stored = Stored::open(&archive).unwrap();
    let manifest = other.path().join("a.manifest");
    let restore = order(&stored, &manifest, other.path());
    let result = backup::restore(&restore, &options(), &());
    assert!(matches!(result, Err(Error::Manifest { .. })), "{result:?}");
}

#[test]
fn a_hollow_file_comes_back_with_all_but_its_content() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let dir = tempfile::tempdir().unwrap();
    let (tree, work, out) = (dir.path().join("tree"), dir.path().join("work"), dir.path().join("out"));
    for one in [&tree, &work, &out] {
        std::fs::create_dir(one).unwrap();
    }
    std::fs::create_dir(tree.join("swap")).unwrap();
    let swap = tree.join("swap/file");
    std::fs::write(&swap, noise(20_000_000, 1)).unwrap();
    std::fs::set_permissions(&swap, std::fs::Permissions::from_mode(0o640)).unwrap();
    std::fs::write(tree.join("other"), noise(1000, 2)).unwrap();
    let source = Source {
        // A rule that names it leaves out no more than its content.
        exclude: Exclude::new(&["/swap/*".to_owned()]).unwrap(),
        hollow: vec!["/swap/file".into()],
        ..source(&tree)
    };
    let created = create(&source, &work);
    assert_eq!((created.data_bytes, created.problems.len()), (1000, 0));
    assert!(created.archive_bytes < 10_000, "{created:?}");
    let (archive, manifest) = (work.join("a.tar.zst"), work.join("a.manifest"));
    let stored = Stored::open(&archive).unwrap();
    let order = order(&stored, &manifest, &out);
    let restored = backup::restore(&order, &options(), &()).unwrap();
    assert_eq!(restored.problems, []);
    let comparison = backup::compare(&manifest, &out, &[], &options(), &()).unwrap();
    assert_eq!(comparison.differences, []);
    let found = std::fs::metadata(out.join("swap/file")).unwrap();
    assert_eq!((found.len(), found.blocks(), found.mode() & 0o7777), (20_000_000, 0, 0o640));
}

/// A path of more than 64 KiB is in no manifest: what lies there is named, and all else is saved.
#[test]
fn what_lies_too_deep_is_named() {
    let work = tempfile::tempdir().unwrap();
    let tree = work.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    let mut dir = std::os::fd::OwnedFd::from(std::fs::File::open(&tree).unwrap());
    let name = "d".repeat(255);
    for _ in 0..258 {
        rustix::fs::mkdirat(&dir, &name, rustix::fs::Mode::RWXU).unwrap();
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY;
        dir = rustix::fs::openat(&dir, &name, flags, rustix::fs::Mode::empty()).unwrap();
    }
    let made = create(&source(&tree), work.path());
    assert_eq!((made.files, made.problems.len()), (256, 1));
    assert!(made.problems[0].detail.contains("deeper"), "{}", made.problems[0].detail);
    let manifest = work.path().join("a.manifest");
    assert_eq!(backup::totals(&manifest).unwrap().files, 256);
    let stored = Stored::open(&manifest).unwrap();
    assert_eq!(backup::Tree::read(&stored, &options()).unwrap().len(), 256);
}
