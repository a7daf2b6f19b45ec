//! A torture tree comes back exactly: by our restore, and by GNU tar.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[allow(dead_code, reason = "each test program uses its part")]
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use backup::{Entry, Kind, ManifestReader, ProblemKind, Stored};
use support::{Released, create, options, order, source};

fn entries(manifest: &Path) -> BTreeMap<Vec<u8>, Entry> {
    ManifestReader::open(manifest)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.path.clone(), entry))
        .collect()
}

#[test]
fn what_no_mount_shows_has_a_place_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, top, target) = (dir.path().join("tree"), dir.path().join("top"), dir.path().join("target"));
    std::fs::create_dir_all(tree.join("etc")).unwrap();
    std::fs::write(tree.join("etc/f"), b"1").unwrap();
    // Deeper than what is kept open on the way down: the way from the top is walked again.
    let deep: PathBuf = std::iter::repeat_n("d", 140).collect();
    std::fs::create_dir_all(top.join(&deep).join("a")).unwrap();
    std::fs::create_dir_all(top.join("x").join(".top")).unwrap();
    for path in [deep.join("a/f"), deep.join("f"), "x/f".into(), "shown".into(), "f".into()] {
        std::fs::write(top.join(path), b"22").unwrap();
    }
    let mut source = source(&tree);
    source.views.push(backup::View { root: top.clone(), at: "/.top".into() });
    source.skip_paths = vec!["/.top/shown".into()];
    let made = create(&source, dir.path());
    assert_eq!(made.problems, []);
    let (archive, manifest) = (dir.path().join("a.tar.zst"), dir.path().join("a.manifest"));
    std::fs::create_dir_all(target.join(".top")).unwrap();
    let stored = Stored::open(&archive).unwrap();
    let restore = order(&stored, &manifest, &target);
    assert_eq!(backup::restore(&restore, &options(), &()).unwrap().problems, []);
    assert_eq!(backup::compare(&manifest, &target, &[], &options(), &()).unwrap().differences, []);
    assert_eq!(backup::extra(&manifest, &target, &[], &options()).unwrap(), Vec::<PathBuf>::new());
    for path in [deep.join("a/f"), deep.join("f"), "x/f".into(), "f".into()] {
        assert_eq!(std::fs::read(target.join(".top").join(path)).unwrap(), b"22");
    }
    assert!(target.join(".top/x/.top").is_dir() && !target.join(".top/shown").exists());
}

#[test]
fn everything_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, target) = (dir.path().join("tree"), dir.path().join("target"));
    std::fs::create_dir(&tree).unwrap();
    std::fs::create_dir(&target).unwrap();
    let _released = (Released(&tree), Released(&target));
    let is_root = support::torture(&tree);
    let made = create(&source(&tree), dir.path());
    let problems: Vec<_> =
        made.problems.iter().map(|problem| (problem.path.as_path(), problem.kind)).collect();
    let mut expected = vec![(Path::new("/socket"), ProblemKind::Skipped)];
    if !is_root {
        expected.insert(0, (Path::new("/mode0"), ProblemKind::Unreadable));
    }
    assert_eq!(problems, expected);
    let (archive, manifest) = (dir.path().join("a.tar.zst"), dir.path().join("a.manifest"));
    assert_eq!(std::fs::metadata(&archive).unwrap().len(), made.archive_bytes);
    assert_eq!(std::fs::metadata(&manifest).unwrap().len(), made.manifest_bytes);
    assert_eq!(blake3::hash(&std::fs::read(&manifest).unwrap()).to_hex().as_str(), made.manifest_blake3);
    assert_eq!(backup::totals(&manifest).unwrap().files, made.files);
    backup::verify(
        &Stored::open(&archive).unwrap(),
        made.archive_bytes,
        &made.archive_blake3,
        &options(),
        &(),
    )
    .unwrap();
    // Against the source itself: the manifest tells the truth.
    let own = backup::compare(&manifest, &tree, &[], &options(), &()).unwrap();
    assert_eq!(own.differences, []);
    assert_eq!((own.files, own.bytes), (made.files, made.data_bytes));

    let stored = Stored::open(&archive).unwrap();
    let restore = order(&stored, &manifest, &target);
    let restored = backup::restore(&restore, &options(), &()).unwrap();
    if is_root {
        assert_eq!(restored.problems, []);
        let compared = backup::compare(&manifest, &target, &[], &options(), &()).unwrap();
        assert_eq!(compared.differences, []);
    }
    assert_eq!((restored.files, restored.bytes), (made.files, made.data_bytes));
    assert_eq!(backup::extra(&manifest, &target, &[], &options()).unwrap(), Vec::<PathBuf>::new());
    // Holes are holes again.
    let blocks = |path: PathBuf| std::os::unix::fs::MetadataExt::blocks(&std::fs::metadata(path).unwrap());
    assert!(blocks(target.join("huge")) < 1000);
    assert!(blocks(target.join("holes")) * 512 < 8_000_000);
    // What a second look at the restored tree gives is the same.
    let again = tempfile::tempdir().unwrap();
    create(&source(&target), again.path());
    let (mut first, mut second) = (entries(&manifest), entries(&again.path().join("a.manifest")));
    for entry in first.values_mut().chain(second.values_mut()) {
        (entry.frame, entry.offset) = (0, 0);
    }
    if is_root {
        assert_eq!(first.keys().collect::<Vec<_>>(), second.keys().collect::<Vec<_>>());
        for (path, entry) in &first {
            assert_eq!(Some(entry), second.get(path));
        }
    }
    // Restoring over a tree that is there already replaces it.
    std::fs::write(target.join("text"), b"wrong").unwrap();
    std::fs::remove_file(target.join("etc/nothing")).unwrap();
    std::fs::write(target.join("stranger"), b"").unwrap();
    let restored = backup::restore(&restore, &options(), &()).unwrap();
    if is_root {
        assert_eq!(restored.problems, []);
        assert_eq!(backup::compare(&manifest, &target, &[], &options(), &()).unwrap().differences, []);
    }
    let extra = backup::extra(&manifest, &target, &[], &options()).unwrap();
    assert_eq!(extra, [PathBuf::from("/stranger")]);
    assert_eq!(backup::extra(&manifest, &target, &extra, &options()).unwrap(), Vec::<PathBuf>::new());
}

#[test]
fn a_difference_of_any_kind_is_found() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    std::fs::create_dir_all(tree.join("d")).unwrap();
    for name in ["same", "content", "mode", "time", "gone", "longer", "kind", "attribute"] {
        std::fs::write(tree.join(name), b"12345").unwrap();
    }
    std::os::unix::fs::symlink("a", tree.join("link")).unwrap();
    std::fs::hard_link(tree.join("same"), tree.join("same2")).unwrap();
    create(&source(&tree), dir.path());
    let keep_time = |name: &str, change: &dyn Fn(&Path)| {
        let path = tree.join(name);
        let time = std::fs::metadata(&path).unwrap().modified().unwrap();
        change(&path);
        std::fs::File::open(&path).unwrap().set_modified(time).unwrap();
    };
    keep_time("content", &|path| std::fs::write(path, b"12x45").unwrap());
    keep_time("longer", &|path| std::fs::write(path, b"123456").unwrap());
    std::fs::set_permissions(tree.join("mode"), PermissionsExt::from_mode(0o604)).unwrap();
    std::fs::File::open(tree.join("time")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    let has_xattrs =
        rustix::fs::setxattr(tree.join("attribute"), "user.new", b"1", rustix::fs::XattrFlags::empty());
    for name in ["gone", "kind", "link", "same2"] {
        std::fs::remove_file(tree.join(name)).unwrap();
    }
    std::os::unix::fs::symlink("same", tree.join("kind")).unwrap();
    std::os::unix::fs::symlink("b", tree.join("link")).unwrap();
    std::fs::write(tree.join("same2"), b"12345").unwrap();
    std::fs::remove_dir(tree.join("d")).unwrap();
    let compared =
        backup::compare(&dir.path().join("a.manifest"), &tree, &[], &options(), &()).unwrap().differences;
    let what = |name: &str| {
        let path = Path::new("/").join(name);
        let all: Vec<_> =
            compared.iter().filter(|one| one.path == path).map(|one| one.what.as_str()).collect();
        all.join("; ")
    };
    assert_eq!(what("same"), "");
    assert_eq!(what("content"), "content");
    assert!(what("mode").starts_with("mode 0604 instead of 06"));
    assert!(what("time").starts_with("modification time 0.000000000 instead of "));
    assert_eq!(what("longer"), "size 6 instead of 5");
    assert_eq!(what("kind"), "symbolic link instead of file");
    assert_eq!(what("gone"), "missing");
    assert_eq!(what("d"), "missing");
    assert_eq!(what("same2"), "not a hard link to /same");
    assert!(what("link").contains("it points to b instead of a"));
    if has_xattrs.is_ok() {
        assert_eq!(what("attribute"), "additional attribute user.new");
    }
}

/// Runs GNU tar on the decompressed archive.
fn tar(archive: &Path, arguments: &[&str]) -> Option<std::process::Output> {
    let mut command = Command::new("tar");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("note: tar cannot be run ({error}); not tested");
            return None;
        }
    };
    let mut input = child.stdin.take().unwrap();
    let archive = archive.to_owned();
    let feeder = std::thread::spawn(move || {
        let mut decoder = zstd::stream::read::Decoder::new(std::fs::File::open(archive).unwrap()).unwrap();
        std::io::copy(&mut decoder, &mut input).unwrap();
    });
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    Some(output)
}

#[test]
fn gnu_tar_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, target) = (dir.path().join("tree"), dir.path().join("target"));
    std::fs::create_dir(&tree).unwrap();
    std::fs::create_dir(&target).unwrap();
    let _released = (Released(&tree), Released(&target));
    let is_root = support::torture(&tree);
    let made = create(&source(&tree), dir.path());
    let (archive, manifest) = (dir.path().join("a.tar.zst"), dir.path().join("a.manifest"));
    let Some(list) = tar(&archive, &["-t", "--quoting-style=literal", "-f", "-"]) else { return };
    assert!(list.status.success(), "{}", String::from_utf8_lossy(&list.stderr));
    let messages = String::from_utf8_lossy(&list.stderr);
    let unknown = "tar: Ignoring unknown extended header keyword";
    assert!(messages.lines().all(|line| line.starts_with(unknown)), "{messages}");
    assert_eq!(
        list.stdout.iter().filter(|byte| **byte == b'\n').count() as u64,
        made.files + 1,
        "one name has a newline"
    );
    let names = entries(&manifest);
    assert_eq!(names.len() as u64, made.files);
    if !is_root {
        return;
    }
    let place = target.to_str().unwrap();
    let arguments =
        ["-x", "-p", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls", "-C", place, "-f", "-"];
    let Some(output) = tar(&archive, &arguments) else { return };
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{messages}");
    let compared = backup::compare(&manifest, &target, &[], &options(), &()).unwrap();
    // The only thing that GNU tar does not know are inode flags.
    let flagged = |path: &Path| {
        use std::os::unix::ffi::OsStrExt;
        names.get(&path.as_os_str().as_bytes()[1..]).is_some_and(|entry| entry.flags != 0)
    };
    let rest: Vec<_> = compared
        .differences
        .iter()
        .filter(|difference| !(difference.what.starts_with("inode flags") && flagged(&difference.path)))
        .collect();
    assert!(rest.is_empty(), "{rest:#?}\n{messages}");
    assert!(names.values().any(|entry| entry.kind == Kind::HardLink));
}
