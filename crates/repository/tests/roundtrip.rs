//! A tree with everything goes into a repository and comes back equal; what did not change is not read again; and `restic` reads
//! what we write, as we read what it writes.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../../backup/tests/support/mod.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "shared with the tests of the archive")]
mod support;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use backup::{ManifestReader, Problem, ProblemKind};
use repository::{Error, Keep, Local, Repository, Restore, Save, Saved, TAG};
use support::{Released, noise, options, source, torture};
use sys::Secret;

fn password() -> Secret {
    Secret::new("test")
}

fn create(place: &Path) -> Repository {
    Repository::create(Box::new(Local::new(place)), &password()).unwrap()
}

fn save(repository: &Repository, root: &Path, manifest: &Path) -> Saved {
    let save = Save {
        hostname: "web1".into(),
        label: "files".into(),
        tags: Vec::new(),
        program: "rear test".into(),
    };
    repository.save(&source(root), &File::create(manifest).unwrap(), &save, &options(), &()).unwrap()
}

fn restore(repository: &Repository, saved: &Saved, manifest: &Path, target: &Path) -> backup::Restored {
    let snapshot = saved.snapshot.unwrap();
    let order = Restore { snapshot, manifest, target, plain: Vec::new(), replace: true };
    repository.restore(&order, &options(), &()).unwrap()
}

fn assert_equal(manifest: &Path, target: &Path) {
    let comparison = backup::compare(manifest, target, &[], &options(), &()).unwrap();
    assert_eq!(comparison.differences, [], "differences");
    assert_eq!(backup::extra(manifest, target, &[], &options()).unwrap(), Vec::<PathBuf>::new());
}

/// What restic 0.14 itself does not keep: inode flags, names of one file that is no regular file, the top directory, and attributes
/// of links (it reads and sets those of the file that the link leads to).
fn is_lost_by_restic(difference: &backup::Difference) -> bool {
    let (path, what) = (difference.path.to_str().unwrap_or_default(), difference.what.as_str());
    what.contains("inode flags")
        || what.contains("not a hard link")
        || what.contains("trusted.onlink")
        || path == "/"
}

/// The `restic` program with our password in a file, never in its arguments.
fn restic(repository: &Path, work: &Path, arguments: &[&str]) -> Option<String> {
    let file = work.join("password");
    std::fs::write(&file, "test").unwrap();
    let output = Command::new("restic")
        .args(["--no-cache", "-r"])
        .arg(repository)
        .arg("--password-file")
        .arg(file)
        .args(arguments)
        .output();
    let Ok(output) = output else {
        eprintln!("note: there is no restic here; not tested");
        return None;
    };
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "restic {arguments:?}: {text}");
    Some(text)
}

#[test]
fn everything_comes_back() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    std::fs::create_dir(at("source")).unwrap();
    torture(&at("source"));
    let (source_guard, target_guard) = (at("source"), at("target"));
    let _guards = (Released(&source_guard), Released(&target_guard));
    let repository = create(&at("repository"));
    let saved = save(&repository, &at("source"), &at("manifest"));
    let kinds: Vec<ProblemKind> = saved.problems.iter().map(|problem: &Problem| problem.kind).collect();
    assert_eq!(kinds, [ProblemKind::Skipped], "{:?}", saved.problems);
    std::fs::create_dir(at("target")).unwrap();
    let restored = restore(&repository, &saved, &at("manifest"), &at("target"));
    assert_eq!(restored.problems, []);
    assert_eq!(restored.files, saved.files);
    assert_equal(&at("manifest"), &at("target"));

    // The snapshot alone tells all that the manifest tells.
    let alone = File::create(at("alone")).unwrap();
    repository.manifest(saved.snapshot.unwrap(), &alone, &options()).unwrap();
    let sorted = |path: &Path| {
        let mut entries: Vec<_> = ManifestReader::open(path).unwrap().map(Result::unwrap).collect();
        entries.sort_by(|one, other| one.path.cmp(&other.path));
        entries
    };
    assert_eq!(sorted(&at("alone")), sorted(&at("manifest")));
    assert_eq!(repository.reachable(saved.snapshot.unwrap(), &options()).unwrap(), []);
    assert_eq!(repository.check(None, &options(), &()).unwrap().findings, []);
}

#[test]
fn what_did_not_change_is_not_read_and_what_was_deleted_stays_away() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    std::fs::create_dir_all(at("source/a/b")).unwrap();
    for index in 0..200 {
        std::fs::write(at(&format!("source/a/b/file{index}")), noise(index * 100, index as u64)).unwrap();
    }
    std::fs::write(at("source/large"), noise(20 << 20, 7)).unwrap();
    let repository = create(&at("repository"));
    // What is written in the same moment as the snapshot may have changed unseen.
    std::thread::sleep(std::time::Duration::from_millis(100));
    let first = save(&repository, &at("source"), &at("m1"));
    assert_eq!(first.unchanged, 0);
    let second = save(&repository, &at("source"), &at("m2"));
    assert_eq!(second.unchanged, 200, "an empty file is not counted");
    assert_eq!(second.added_bytes, 0);
    assert_eq!(std::fs::read(at("m1")).unwrap(), std::fs::read(at("m2")).unwrap());

    // A byte in the middle of a large file costs a chunk or two.
    let mut large = noise(20 << 20, 7);
    large[9 << 20] ^= 1;
    std::fs::write(at("source/large"), large).unwrap();
    std::fs::remove_file(at("source/a/b/file7")).unwrap();
    let third = save(&repository, &at("source"), &at("m3"));
    assert_eq!(third.unchanged, 198);
    assert!(third.added_bytes < 9 << 20, "{}", third.added_bytes);
    std::fs::create_dir(at("target")).unwrap();
    assert_eq!(restore(&repository, &third, &at("m3"), &at("target")).problems, []);
    assert!(!at("target/a/b/file7").exists());
    assert_equal(&at("m3"), &at("target"));
    std::fs::create_dir(at("old")).unwrap();
    assert_eq!(restore(&repository, &first, &at("m1"), &at("old")).problems, []);
    assert_equal(&at("m1"), &at("old"));

    // Only the newest stays, and all of it.
    let before = std::fs::read_dir(at("repository/snapshots")).unwrap().count();
    assert_eq!(before, 3);
    let other =
        repository.retain("other", "files", &Keep { last: 1, ..Keep::default() }, &options()).unwrap();
    assert_eq!((other.forgotten.len(), other.kept), (0, 0));
    let retained =
        repository.retain("web1", "files", &Keep { last: 1, ..Keep::default() }, &options()).unwrap();
    assert_eq!((retained.forgotten.len(), retained.kept), (2, 1));
    assert!(retained.freed > 0);
    assert_eq!(repository.check(None, &options(), &()).unwrap().findings, []);
    std::fs::create_dir(at("again")).unwrap();
    assert_eq!(restore(&repository, &third, &at("m3"), &at("again")).problems, []);
    assert_equal(&at("m3"), &at("again"));
    restic(&at("repository"), work.path(), &["check", "--read-data"]);
}

#[test]
fn restic_reads_what_we_write() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    std::fs::create_dir(at("source")).unwrap();
    torture(&at("source"));
    // It would restore a terabyte of zeros.
    std::fs::remove_file(at("source/huge")).unwrap();
    let guard = at("source");
    let _guard = Released(&guard);
    let repository = create(&at("repository"));
    let saved = save(&repository, &at("source"), &at("manifest"));
    let Some(text) = restic(&at("repository"), work.path(), &["check", "--read-data"]) else { return };
    assert!(text.contains("no errors were found"), "{text}");
    let target = at("target");
    let target_text = target.to_str().unwrap();
    restic(&at("repository"), work.path(), &["restore", "latest", "--target", target_text]);
    let comparison = backup::compare(&at("manifest"), &target, &[], &options(), &()).unwrap();
    let unexpected: Vec<_> = comparison.differences.iter().filter(|one| !is_lost_by_restic(one)).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
    assert_eq!(comparison.files, saved.files);
    let listed = restic(&at("repository"), work.path(), &["snapshots", "--json"]).unwrap();
    assert!(listed.contains("web1") && listed.contains(TAG), "{listed}");
    assert!(listed.contains(&saved.snapshot.unwrap().to_string()));
}

#[test]
fn we_read_what_restic_writes() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    std::fs::create_dir(at("source")).unwrap();
    torture(&at("source"));
    for name in ["huge", "socket"] {
        std::fs::remove_file(at(&format!("source/{name}"))).unwrap();
    }
    let guard = at("source");
    let _guard = Released(&guard);
    if restic(&at("repository"), work.path(), &["init"]).is_none() {
        return;
    }
    // From inside, so that the snapshot's top is the tree itself.
    let file = at("password");
    let output = Command::new("restic")
        .current_dir(at("source"))
        .args(["--no-cache", "-r"])
        .arg(at("repository"))
        .arg("--password-file")
        .arg(&file)
        .args(["backup", "."])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let repository = Repository::open(Box::new(Local::new(at("repository"))), &password()).unwrap();
    let snapshots = repository.snapshots().unwrap();
    assert_eq!((snapshots.len(), snapshots[0].is_ours), (1, false));
    let own = File::create(at("own")).unwrap();
    repository.manifest(snapshots[0].id, &own, &options()).unwrap();
    let target = at("target");
    std::fs::create_dir(&target).unwrap();
    let target_guard = Released(&target);
    let order = Restore {
        snapshot: snapshots[0].id,
        manifest: &at("own"),
        target: &target,
        plain: Vec::new(),
        replace: true,
    };
    let restored = repository.restore(&order, &options(), &()).unwrap();
    assert_eq!(restored.problems, []);
    // Held against what our own snapshot of the source says. What restic has stored already is not stored again.
    let saved = save(&repository, &at("source"), &at("manifest"));
    let data = saved.data_bytes;
    assert!(saved.added_bytes < data / 20, "{} of {data} bytes were stored again", saved.added_bytes);
    let comparison = backup::compare(&at("manifest"), &target, &[], &options(), &()).unwrap();
    let unexpected: Vec<_> = comparison.differences.iter().filter(|one| !is_lost_by_restic(one)).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
    // And nobody's snapshots but our own are ever forgotten.
    let retained =
        repository.retain("web1", "files", &Keep { last: 1, ..Keep::default() }, &options()).unwrap();
    assert_eq!(retained.forgotten, []);
    assert_eq!(repository.snapshots().unwrap().len(), 2);
    restic(&at("repository"), work.path(), &["check", "--read-data"]);
    drop(target_guard);
}

#[test]
fn passwords_and_places() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    let backend = |name: &str| Box::new(Local::new(at(name)));
    assert!(matches!(Repository::open(backend("none"), &password()), Err(Error::Absent { .. })));
    create(&at("repository"));
    assert!(matches!(Repository::create(backend("repository"), &password()), Err(Error::Exists { .. })));
    let wrong = Repository::open(backend("repository"), &Secret::new("wrong"));
    assert!(matches!(wrong, Err(Error::Password { .. })));
    assert!(Repository::open(backend("repository"), &password()).is_ok());
}
