//! Damage, full disks and runs that are cut off: nothing is lost that need not be, and nothing is called good that is not.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../../backup/tests/support/mod.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "shared with the tests of the archive")]
mod support;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use backup::ProblemKind;
use repository::{Backend, Error, FileKind, Id, Keep, Local, Repository, Restore, Result, Save, Saved};
use support::{noise, options, source};
use sys::Secret;

fn password() -> Secret {
    Secret::new("test")
}

fn try_save(repository: &Repository, root: &Path, manifest: &Path) -> Result<Saved> {
    let save = Save {
        hostname: "web1".into(),
        label: "files".into(),
        tags: Vec::new(),
        program: "rear test".into(),
    };
    repository.save(&source(root), &File::create(manifest).unwrap(), &save, &options(), &())
}

fn files(root: &Path, count: usize, size: usize) {
    for index in 0..count {
        let dir = root.join(format!("dir{}", index % 5));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join(format!("file{index}")), noise(size, index as u64 + 1)).unwrap();
    }
}

fn packs(repository: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(repository.join("data"))
        .unwrap()
        .flat_map(|dir| std::fs::read_dir(dir.unwrap().path()).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    // The packs of data are the larger ones.
    found.sort_by_key(|path| std::cmp::Reverse(path.metadata().unwrap().len()));
    found
}

/// A directory that fails after so many packs, like a process that is killed there.
struct Failing {
    inner: Local,
    left: Arc<AtomicUsize>,
}

impl Backend for Failing {
    fn place(&self) -> String {
        self.inner.place()
    }
    fn create(&self) -> Result<()> {
        self.inner.create()
    }
    fn has(&self, kind: FileKind, id: Id) -> Result<bool> {
        self.inner.has(kind, id)
    }
    fn list(&self, kind: FileKind) -> Result<Vec<(Id, u64)>> {
        self.inner.list(kind)
    }
    fn read(&self, kind: FileKind, id: Id) -> Result<Vec<u8>> {
        self.inner.read(kind, id)
    }
    fn read_range(&self, pack: Id, offset: u64, length: usize) -> Result<Vec<u8>> {
        self.inner.read_range(pack, offset, length)
    }
    fn write(&self, kind: FileKind, id: Id, bytes: &[u8]) -> Result<()> {
        if kind != FileKind::Lock
            && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err()
        {
            return Err(Error::Io { what: "write".into(), source: std::io::Error::other("cut off") });
        }
        self.inner.write(kind, id, bytes)
    }
    fn remove(&self, kind: FileKind, id: Id) -> Result<()> {
        if kind != FileKind::Lock
            && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err()
        {
            return Err(Error::Io { what: "remove".into(), source: std::io::Error::other("cut off") });
        }
        self.inner.remove(kind, id)
    }
}

fn failing(place: &Path, after: usize) -> Repository {
    let backend = Failing { inner: Local::new(place), left: Arc::new(AtomicUsize::new(after)) };
    Repository::open(Box::new(backend), &password()).unwrap()
}

fn open(place: &Path) -> Repository {
    Repository::open(Box::new(Local::new(place)), &password()).unwrap()
}

#[test]
fn a_damaged_pack_costs_its_files_and_no_others() {
    for cut in [false, true] {
        let work = tempfile::tempdir().unwrap();
        let at = |name: &str| work.path().join(name);
        files(&at("source"), 60, 1_000_000);
        std::fs::write(at("source/large"), noise(30 << 20, 99)).unwrap();
        let repository = Repository::create(Box::new(Local::new(at("repo"))), &password()).unwrap();
        let saved = try_save(&repository, &at("source"), &at("m")).unwrap();
        let pack = &packs(&at("repo"))[0];
        let mut bytes = std::fs::read(pack).unwrap();
        if cut {
            bytes.truncate(5_000_000);
        } else {
            bytes[5_000_000] ^= 1;
        }
        std::fs::write(pack, bytes).unwrap();
        std::fs::create_dir(at("target")).unwrap();
        let order = Restore {
            snapshot: saved.snapshot.unwrap(),
            manifest: &at("m"),
            target: &at("target"),
            plain: Vec::new(),
            replace: true,
        };
        let restored = repository.restore(&order, &options(), &()).unwrap();
        assert!(!restored.problems.is_empty());
        let name = pack.file_name().unwrap().to_str().unwrap();
        assert!(
            restored.problems.iter().all(|problem| problem.detail.contains(name)),
            "{:?}",
            restored.problems
        );
        let comparison = backup::compare(&at("m"), &at("target"), &[], &options(), &()).unwrap();
        let lost: Vec<_> = restored.problems.iter().map(|problem| problem.path.clone()).collect();
        let mut different: Vec<_> = comparison.differences.iter().map(|one| one.path.clone()).collect();
        different.dedup();
        assert_eq!(different, lost, "exactly what was named is missing");
        if !cut {
            assert_eq!(lost.len(), 1);
        }
        let checked = repository.check(saved.snapshot, &options(), &()).unwrap();
        let named: Vec<PathBuf> = checked.findings.iter().flat_map(|one| one.files.clone()).collect();
        assert_eq!(named, lost);
        assert_eq!(repository.reachable(saved.snapshot.unwrap(), &options()).unwrap().is_empty(), !cut);
    }
}

#[test]
fn a_missing_pack_and_a_damaged_index_are_told() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    files(&at("source"), 20, 2_000_000);
    let repository = Repository::create(Box::new(Local::new(at("repo"))), &password()).unwrap();
    let saved = try_save(&repository, &at("source"), &at("m")).unwrap();
    let snapshot = saved.snapshot.unwrap();
    let pack = packs(&at("repo"))[0].clone();
    let aside = at("aside");
    std::fs::rename(&pack, &aside).unwrap();
    let missing = repository.reachable(snapshot, &options()).unwrap();
    assert!(missing.iter().any(|one| one.detail.contains("is missing")), "{missing:?}");
    assert!(missing.iter().map(|one| one.files.len()).sum::<usize>() > 3, "{missing:?}");
    std::fs::rename(&aside, &pack).unwrap();
    assert_eq!(repository.reachable(snapshot, &options()).unwrap(), []);
    let index = std::fs::read_dir(at("repo/index")).unwrap().next().unwrap().unwrap().path();
    let good = std::fs::read(&index).unwrap();
    for bad in [good[..good.len() / 2].to_vec(), good.iter().map(|byte| byte ^ 1).collect()] {
        std::fs::write(&index, bad).unwrap();
        let error = repository.reachable(snapshot, &options()).unwrap_err();
        assert!(matches!(error, Error::Damaged { kind: FileKind::Index, .. }), "{error}");
        assert!(try_save(&repository, &at("source"), &at("m2")).is_err());
    }
    std::fs::write(&index, good).unwrap();
    // A tree that cannot be read: nothing may be removed on the strength of what is left.
    let small = packs(&at("repo")).pop().unwrap();
    let mut bytes = std::fs::read(&small).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&small, bytes).unwrap();
    let before = packs(&at("repo")).len();
    assert!(repository.retain("web1", "files", &Keep { last: 1, ..Keep::default() }, &options()).is_err());
    assert_eq!(packs(&at("repo")).len(), before);
}

#[test]
fn a_run_that_is_cut_off_is_taken_up_by_the_next() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    files(&at("source"), 90, 1_000_000);
    drop(Repository::create(Box::new(Local::new(at("repo"))), &password()).unwrap());
    assert!(try_save(&failing(&at("repo"), 3), &at("source"), &at("m")).is_err());
    assert_eq!(packs(&at("repo")).len(), 3, "three packs were stored, and no index names them");
    assert_eq!(std::fs::read_dir(at("repo/index")).unwrap().count(), 0);
    let repository = open(&at("repo"));
    assert_eq!(repository.snapshots().unwrap(), []);
    let saved = try_save(&repository, &at("source"), &at("m")).unwrap();
    let (added, data) = (saved.added_bytes, saved.data_bytes);
    assert!(added + (40 << 20) < data, "{added} of {data} bytes were stored again");
    assert_eq!(repository.check(None, &options(), &()).unwrap().findings, []);
    // A pack that was cut off is not taken up.
    let pack = packs(&at("repo"))[0].clone();
    let stray = pack.with_file_name(format!(
        "{}{}",
        &pack.file_name().unwrap().to_str().unwrap()[..2],
        "0".repeat(62)
    ));
    std::fs::write(&stray, b"not a pack").unwrap();
    try_save(&repository, &at("source"), &at("m")).unwrap();
    assert_eq!(repository.check(None, &options(), &()).unwrap().findings, []);
}

#[test]
fn making_room_can_be_cut_off_anywhere() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    files(&at("source"), 40, 500_000);
    let repository = Repository::create(Box::new(Local::new(at("start"))), &password()).unwrap();
    try_save(&repository, &at("source"), &at("m1")).unwrap();
    for index in 0..25 {
        std::fs::remove_file(at(&format!("source/dir{}/file{index}", index % 5))).unwrap();
    }
    let saved = try_save(&repository, &at("source"), &at("m2")).unwrap();
    let keep = Keep { last: 1, ..Keep::default() };
    for after in 0.. {
        let place = at(&format!("repo{after}"));
        let status =
            std::process::Command::new("cp").arg("-a").arg(at("start")).arg(&place).status().unwrap();
        assert!(status.success());
        let cut = failing(&place, after).retain("web1", "files", &keep, &options());
        let repository = open(&place);
        assert_eq!(
            repository.check(saved.snapshot, &options(), &()).unwrap().findings,
            [],
            "cut after {after}"
        );
        let retained = repository.retain("web1", "files", &keep, &options()).unwrap();
        assert_eq!(retained.kept, 1);
        assert_eq!(repository.check(None, &options(), &()).unwrap().findings, [], "after {after}");
        std::fs::remove_dir_all(&place).unwrap();
        if cut.is_ok() {
            assert!(after > 4, "there were steps to cut off at");
            return;
        }
    }
}

#[test]
fn a_full_repository_and_a_full_target_are_errors() {
    if !sys::info::is_root() {
        eprintln!("note: not root: small filesystems cannot be mounted; not tested");
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    files(&at("source"), 40, 1_000_000);
    std::fs::create_dir(at("small")).unwrap();
    let mount = |size: &str| {
        let status = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", size, "tmpfs"])
            .arg(at("small"))
            .status();
        status.is_ok_and(|status| status.success())
    };
    if !mount("size=20m") {
        eprintln!("note: nothing can be mounted here; not tested");
        return;
    }
    let repository = Repository::create(Box::new(Local::new(at("small/repo"))), &password()).unwrap();
    let full = try_save(&repository, &at("source"), &at("m"));
    let told = matches!(&full, Err(Error::Full { .. }));
    let good = Repository::create(Box::new(Local::new(at("repo"))), &password()).unwrap();
    let saved = try_save(&good, &at("source"), &at("m")).unwrap();
    std::fs::create_dir(at("small/target")).unwrap();
    let order = Restore {
        snapshot: saved.snapshot.unwrap(),
        manifest: &at("m"),
        target: &at("small/target"),
        plain: Vec::new(),
        replace: true,
    };
    let restored = good.restore(&order, &options(), &());
    let status = std::process::Command::new("umount").arg(at("small")).status().unwrap();
    assert!(status.success());
    assert!(told, "{full:?}");
    assert!(matches!(restored, Err(Error::Backup(backup::Error::TargetFull { .. }))), "{restored:?}");
}

#[test]
fn locks_are_respected_and_those_of_the_dead_are_not() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    files(&at("source"), 3, 1000);
    let repository = Repository::create(Box::new(Local::new(at("repo"))), &password()).unwrap();
    try_save(&repository, &at("source"), &at("m")).unwrap();
    assert_eq!(std::fs::read_dir(at("repo/locks")).unwrap().count(), 0);
    let path = at("password");
    std::fs::write(&path, "test").unwrap();
    let restic = |arguments: &[&str]| {
        let mut command = std::process::Command::new("restic");
        command.args(["--no-cache", "-r"]).arg(at("repo")).arg("--password-file").arg(&path).args(arguments);
        command
    };
    // restic reads from a pipe that never ends, and holds its lock meanwhile.
    let mut holder = restic(&["backup", "--stdin"]);
    holder
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    let Ok(mut holder) = holder.spawn() else {
        eprintln!("note: there is no restic here; not tested");
        return;
    };
    while std::fs::read_dir(at("repo/locks")).unwrap().count() == 0 {
        assert!(holder.try_wait().unwrap().is_none(), "restic has ended");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let shared = try_save(&repository, &at("source"), &at("m"));
    let alone = repository.retain("web1", "files", &Keep { last: 1, ..Keep::default() }, &options());
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(shared.is_ok(), "{shared:?}");
    assert!(matches!(alone, Err(Error::Locked { .. })), "{alone:?}");
    // Its lock is still there, and nobody holds it.
    assert_eq!(std::fs::read_dir(at("repo/locks")).unwrap().count(), 1);
    repository.retain("web1", "files", &Keep { last: 1, ..Keep::default() }, &options()).unwrap();
    assert_eq!(std::fs::read_dir(at("repo/locks")).unwrap().count(), 0);
}

#[test]
fn a_file_that_cannot_be_read_makes_no_snapshot() {
    // A file of the kernel that says that it has 4096 bytes, and gives none of them.
    let root = Path::new("/sys/devices/virtual/net/lo");
    if std::fs::read(root.join("phys_port_id")).is_ok() || !root.join("phys_port_id").exists() {
        eprintln!("note: there is no file here that cannot be read; not tested");
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let repository = Repository::create(Box::new(Local::new(work.path().join("repo"))), &password()).unwrap();
    let mut one = source(root);
    one.only = Some(backup::Only { paths: vec!["/phys_port_id".into()], directories: Vec::new() });
    let save = Save { hostname: "web1".into(), ..Save::default() };
    let manifest = File::create(work.path().join("m")).unwrap();
    let saved = repository.save(&one, &manifest, &save, &options(), &()).unwrap();
    assert_eq!(saved.problems.len(), 1);
    assert_eq!(saved.problems[0].kind, ProblemKind::Unreadable);
    assert_eq!(saved.snapshot, None);
    assert_eq!(repository.snapshots().unwrap(), []);
}
