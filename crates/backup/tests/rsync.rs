//! Trees that a real rsync keeps: in a directory, through a remote shell, and with a daemon on this machine. The tests need root
//! and rsync.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[allow(dead_code, reason = "made for tests of archives too")]
mod support;

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use backup::rsync::{Cause, Depth, Place, Rsync, Saved, Store};
use backup::{Error, Options, ProblemKind, Source};
use support::{Released, options, source};
use tempfile::TempDir;

const SEAL: &str = "recovery-point.json";

/// False where these tests cannot be run.
fn ready() -> bool {
    let can = sys::info::is_root() && Command::new("rsync").arg("--version").output().is_ok();
    if !can {
        eprintln!("SKIPPED: not root, or rsync is not installed");
    }
    can
}

fn script(path: &Path, text: &str) -> String {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    path.display().to_string()
}

/// A remote shell as ssh is one: the host is dropped, the rest is a line for a shell.
const SHELL: &str = "#!/bin/sh\nshift\nexec sh -c \"$*\"\n";

/// An rsync daemon on this machine; ended with the value.
struct Daemon {
    child: Child,
    port: u16,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    /// Serves `dir` as the module `backup`; `more` are further lines of its configuration.
    fn start(dir: &Path, work: &Path, more: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let conf = work.join("rsyncd.conf");
        let text = format!(
            "uid = root\ngid = root\nuse chroot = no\nlog file = {}\n[backup]\npath = {}\nread only = no\n{more}\n",
            work.join("rsyncd.log").display(),
            dir.display()
        );
        std::fs::write(&conf, text).unwrap();
        let child = Command::new("rsync")
            .args(["--daemon", "--no-detach", "--address=127.0.0.1", &format!("--port={port}")])
            .arg(format!("--config={}", conf.display()))
            .spawn()
            .unwrap();
        // Ended when this value goes, whatever happens.
        let daemon = Self { child, port };
        for _ in 0..200 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return daemon;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the daemon does not answer");
    }

    fn place(&self) -> Place {
        Place::Daemon { target: "127.0.0.1".into(), port: Some(self.port), path: "backup".into() }
    }
}

/// A machine, a place for its backups, and room to work.
struct Bench {
    dir: TempDir,
    sys: sys::Real,
}

impl Bench {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        for name in ["machine", "place", "work"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self { dir, sys: sys::Real::default() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn machine(&self) -> PathBuf {
        self.at("machine")
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.machine().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn local(&self) -> Place {
        Place::Local { dir: self.at("place") }
    }

    /// Through a remote shell that is the script.
    fn shell(&self, text: &str) -> (Place, Vec<String>) {
        let words = vec![script(&self.at("shell"), text)];
        (
            Place::Shell { target: "nas".into(), port: None, path: self.at("place").display().to_string() },
            words,
        )
    }

    fn store(&self, place: Place) -> Store<'_> {
        let prefix = "web1".to_owned();
        Store { rsync: Rsync::new(&self.sys), place, prefix, seal: SEAL.into(), work: self.at("work") }
    }

    fn run_dir(&self, name: &str) -> PathBuf {
        self.at("place").join("web1").join(name)
    }

    fn source(&self) -> Source {
        source(&self.machine())
    }
}

/// A whole run, in which `meanwhile` happens after the files were read.
fn back_up(store: &Store<'_>, source: &Source, date: &str, meanwhile: impl FnOnce()) -> Result<Saved, Error> {
    let history = store.history()?;
    let building = store.begin(date, &history)?;
    let read = building.read(source, &options(), &())?;
    meanwhile();
    let saved = building.transfer(read, &options())?;
    let parts = store.work.join("parts");
    let _ = std::fs::remove_dir_all(&parts);
    std::fs::create_dir(&parts).unwrap();
    std::fs::copy(&saved.manifest, parts.join("manifest.zst")).unwrap();
    std::fs::write(parts.join(SEAL), format!("{{\"created\":\"{date}\"}}")).unwrap();
    building.put(&parts, &["manifest.zst".to_owned()])?;
    building.publish(&parts)?;
    for leftover in &history.leftovers {
        store.remove(leftover)?;
    }
    Ok(saved)
}

/// Restores a run into a new directory, and gives what differs.
fn bring_back(store: &Store<'_>, name: &str, target: &Path) -> Vec<String> {
    let fetched = store.fetch(&[format!("{name}/manifest.zst")]).unwrap();
    let manifest = store.work.join("fetched-manifest.zst");
    std::fs::rename(fetched.join(name).join("manifest.zst"), &manifest).unwrap();
    let (_, missing) = store.prove(name, &manifest, &options(), &()).unwrap();
    assert_eq!(missing, []);
    std::fs::create_dir_all(target).unwrap();
    let restored = store.restore(name, &manifest, target, &[], &options(), &()).unwrap();
    let problems = restored.problems.into_iter().map(|one| format!("{}: {}", one.path.display(), one.detail));
    let compared = backup::compare(&manifest, target, &[], &options(), &()).unwrap();
    let differences = compared.differences.iter().map(|one| format!("{}: {}", one.path.display(), one.what));
    let extra = backup::extra(&manifest, target, &[], &options()).unwrap();
    let extra = extra.iter().map(|path| format!("{}: extra", path.display()));
    problems.chain(differences).chain(extra).collect()
}

fn torture(root: &Path) {
    support::torture(root);
    // rsync reads holes, and this one has a terabyte of them.
    std::fs::remove_file(root.join("huge")).unwrap();
}

fn everything_comes_back(bench: &Bench, store: &Store<'_>) {
    let machine = bench.machine();
    torture(&machine);
    let (released, target) = (Released(&machine), bench.at("restored"));
    let first = back_up(store, &bench.source(), "2026-01-01_000000", || ()).unwrap();
    let sockets = first.problems.iter().filter(|problem| problem.kind != ProblemKind::Skipped);
    assert_eq!(sockets.count(), 0, "{:?}", first.problems);
    let second = back_up(store, &bench.source(), "2026-01-02_000000", || ()).unwrap();
    assert_eq!(second.totals, first.totals);
    assert_eq!(store.history().unwrap().complete, ["2026-01-01_000000", "2026-01-02_000000"]);
    // What did not change is not stored again.
    let inode = |date: &str| bench.run_dir(date).join("tree/etc/fstab").metadata().unwrap().ino();
    assert_eq!(inode("2026-01-01_000000"), inode("2026-01-02_000000"));
    let also_released = Released(&target);
    assert_eq!(bring_back(store, "2026-01-02_000000", &target), [""; 0]);
    // Again, over what is there: immutable files do not stop it.
    assert_eq!(bring_back(store, "2026-01-01_000000", &target), [""; 0]);
    drop((released, also_released));
}

#[test]
fn everything_comes_back_from_a_directory() {
    if ready() {
        let bench = Bench::new();
        everything_comes_back(&bench, &bench.store(bench.local()));
    }
}

#[test]
fn everything_comes_back_through_a_remote_shell() {
    if !ready() {
        return;
    }
    for fake_super in [false, true] {
        let bench = Bench::new();
        let (place, words) = bench.shell(SHELL);
        let mut store = bench.store(place);
        (store.rsync.shell, store.rsync.fake_super) = (words, fake_super);
        everything_comes_back(&bench, &store);
    }
}

#[test]
fn everything_comes_back_from_a_daemon() {
    if ready() {
        let bench = Bench::new();
        let daemon = Daemon::start(&bench.at("place"), &bench.at("work"), "");
        everything_comes_back(&bench, &bench.store(daemon.place()));
    }
}

#[test]
fn metadata_comes_back_from_a_place_that_cannot_store_it() {
    if ready() {
        let bench = Bench::new();
        let mut store = bench.store(bench.local());
        // A share without attributes, on which everything belongs to one user.
        store.rsync.attributes = false;
        store.rsync.options = vec!["--no-owner".into(), "--no-group".into(), "--no-perms".into()];
        everything_comes_back(&bench, &store);
    }
}

#[test]
fn what_changes_meanwhile_is_described_as_it_was_copied() {
    if !ready() {
        return;
    }
    let bench = Bench::new();
    let (shell, words) = bench.shell(SHELL);
    for (place, date) in [(bench.local(), "2026-01-01_000000"), (shell, "2026-01-02_000000")] {
        let _ = std::fs::remove_dir_all(bench.machine());
        for (name, text) in
            [("log", "one\n"), ("same", "same"), ("gone", "gone"), ("quiet", "abc"), ("dir/file", "x")]
        {
            bench.write(name, text);
        }
        let machine = bench.machine();
        std::fs::hard_link(machine.join("gone"), machine.join("linked")).unwrap();
        std::fs::write(machine.join("hole"), "").unwrap();
        let mut store = bench.store(place);
        store.rsync.shell = words.clone();
        let saved = back_up(&store, &bench.source(), date, || {
            bench.write("log", "one\ntwo\n");
            bench.write("new", "not in this backup");
            std::fs::remove_file(machine.join("gone")).unwrap();
            std::fs::remove_dir_all(machine.join("dir")).unwrap();
            // Other content of the same length, at the time that it had.
            let time = machine.join("quiet").metadata().unwrap().modified().unwrap();
            bench.write("quiet", "xyz");
            std::fs::File::options()
                .write(true)
                .open(machine.join("quiet"))
                .unwrap()
                .set_modified(time)
                .unwrap();
        })
        .unwrap();
        let named = |kind| -> Vec<_> {
            let of_kind = saved.problems.iter().filter(|one| one.kind == kind);
            let mut paths: Vec<_> = of_kind.map(|one| one.path.display().to_string()).collect();
            paths.sort();
            paths
        };
        assert_eq!(named(ProblemKind::Changed), ["/log", "/quiet"]);
        assert_eq!(named(ProblemKind::Vanished), ["/dir", "/dir/file", "/gone"]);
        let target = bench.at(&format!("restored-{date}"));
        assert_eq!(bring_back(&store, date, &target), [""; 0]);
        let read = |name: &str| std::fs::read_to_string(target.join(name)).unwrap();
        assert_eq!(
            (read("log"), read("linked"), read("quiet")),
            ("one\ntwo\n".into(), "gone".into(), "xyz".into())
        );
    }
}

#[test]
fn a_killed_run_is_no_backup_and_helps_the_next() {
    if !ready() {
        return;
    }
    let mut bench = Bench::new();
    for number in 0..6 {
        std::fs::write(bench.machine().join(format!("file{number}")), support::noise(1 << 20, number))
            .unwrap();
    }
    let date = "2026-01-01_000000";
    let partial = bench.run_dir(&format!(".partial-{date}"));
    let cancel = sys::Cancel::default();
    let (flag, watched) = (cancel.clone(), partial.join("tree"));
    bench.sys = sys::Real::new(cancel);
    let watcher = std::thread::spawn(move || {
        // Killed when the first file is whole.
        for _ in 0..3000 {
            if watched.join("file0").exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        flag.raise();
    });
    let mut store = bench.store(bench.local());
    store.rsync.options = vec!["--bwlimit=1024".into()];
    let error = back_up(&store, &bench.source(), date, || ()).unwrap_err();
    watcher.join().unwrap();
    assert!(matches!(error, Error::Sys(sys::Error::Cancelled)), "{error}");
    drop(store);
    bench.sys = sys::Real::default();
    let store = bench.store(bench.local());
    let history = store.history().unwrap();
    assert_eq!((history.complete.len(), history.leftovers), (0, vec![format!(".partial-{date}")]));
    let inode = partial.join("tree/file0").metadata().unwrap().ino();
    back_up(&store, &bench.source(), "2026-01-02_000000", || ()).unwrap();
    assert_eq!(store.history().unwrap().leftovers, [""; 0]);
    assert!(!partial.exists());
    assert_eq!(bench.run_dir("2026-01-02_000000").join("tree/file0").metadata().unwrap().ino(), inode);
    assert_eq!(bring_back(&store, "2026-01-02_000000", &bench.at("restored")), [""; 0]);
}

/// A small filesystem in memory; unmounted with the value.
fn small(at: &Path, size: &str) -> sys::mount::Mount {
    sys::mount::Mount::new("tmpfs", at, "tmpfs", rustix::mount::MountFlags::empty(), size).unwrap()
}

#[test]
fn a_full_place_keeps_the_run_before() {
    if !ready() {
        return;
    }
    let bench = Bench::new();
    let _small = small(&bench.at("place"), "size=4m");
    bench.write("etc/fstab", "1");
    let mut store = bench.store(bench.local());
    // tmpfs has no attributes of users.
    store.rsync.attributes = false;
    back_up(&store, &bench.source(), "2026-01-01_000000", || ()).unwrap();
    std::fs::write(bench.machine().join("big"), support::noise(8 << 20, 1)).unwrap();
    let error = back_up(&store, &bench.source(), "2026-01-02_000000", || ()).unwrap_err();
    assert!(matches!(error, Error::Rsync { cause: Cause::NoSpace, .. }), "{error}");
    let history = store.history().unwrap();
    assert_eq!((history.complete, history.leftovers), (vec!["2026-01-01_000000".to_owned()], vec![]));
    assert_eq!(bring_back(&store, "2026-01-01_000000", &bench.at("restored")), [""; 0]);
}

#[test]
fn a_full_target_is_named() {
    if !ready() {
        return;
    }
    let bench = Bench::new();
    std::fs::write(bench.machine().join("big"), support::noise(8 << 20, 1)).unwrap();
    let store = bench.store(bench.local());
    let saved = back_up(&store, &bench.source(), "2026-01-01_000000", || ()).unwrap();
    std::fs::create_dir(bench.at("target")).unwrap();
    let _small = small(&bench.at("target"), "size=4m");
    let error = store
        .restore("2026-01-01_000000", &saved.manifest, &bench.at("target"), &[], &options(), &())
        .unwrap_err();
    assert!(matches!(error, Error::TargetFull { .. }), "{error}");
}

#[test]
fn a_place_that_goes_away_is_an_error() {
    if !ready() {
        return;
    }
    let bench = Bench::new();
    std::fs::write(bench.machine().join("big"), support::noise(4 << 20, 1)).unwrap();
    // The other side is ended in the middle of the transfer; short commands are not.
    let text = "#!/bin/sh\nshift\nexec timeout -s KILL 2 sh -c \"$*\"\n";
    let (place, words) = bench.shell(text);
    let mut store = bench.store(place);
    (store.rsync.shell, store.rsync.options) = (words, vec!["--bwlimit=512".into()]);
    let error = back_up(&store, &bench.source(), "2026-01-01_000000", || ()).unwrap_err();
    assert!(matches!(error, Error::Rsync { cause: Cause::Unreachable, .. }), "{error}");
    let gone =
        Place::Shell { target: "nas".into(), port: None, path: bench.at("none").display().to_string() };
    assert!(bench.store(Place::Local { dir: bench.at("none") }).history().is_err());
    let mut store = bench.store(gone);
    store.rsync.shell = vec![script(&bench.at("shell"), "#!/bin/sh\nexit 255\n")];
    let error = store.history().unwrap_err();
    assert!(matches!(error, Error::Rsync { cause: Cause::Unreachable, .. }), "{error}");
    let daemon = Daemon::start(&bench.at("place"), &bench.at("work"), "");
    let place = daemon.place();
    drop(daemon);
    let error = bench.store(place).history().unwrap_err();
    assert!(matches!(error, Error::Rsync { cause: Cause::Unreachable, .. }), "{error}");
}

#[test]
fn a_login_without_commands_seals_last() {
    if !ready() {
        return;
    }
    let bench = Bench::new();
    bench.write("etc/fstab", "1");
    let text = "#!/bin/sh\nshift\ncase \"$1\" in rsync) exec sh -c \"$*\";; esac\nexit 1\n";
    let (place, words) = bench.shell(text);
    let mut store = bench.store(place);
    store.rsync.shell = words;
    let date = "2026-01-01_000000";
    let history = store.history().unwrap();
    let building = store.begin(date, &history).unwrap();
    assert_eq!(store.history().unwrap().complete, [""; 0]);
    drop(building);
    let leftovers = store.history().unwrap().leftovers;
    assert_eq!(leftovers, [date]);
    assert!(store.begin(date, &store.history().unwrap()).is_err());
    back_up(&store, &bench.source(), "2026-01-02_000000", || ()).unwrap();
    assert_eq!(bring_back(&store, "2026-01-02_000000", &bench.at("restored")), [""; 0]);
    assert_eq!(store.room().unwrap(), None);
}

#[test]
fn passwords_open_a_daemon() {
    if !ready() {
        return;
    }
    let bench = Bench::new();
    bench.write("etc/fstab", "1");
    let (secrets, file) = (bench.at("secrets"), bench.at("password"));
    for (path, text) in [(&secrets, "rear:right one\n"), (&file, "right one\n")] {
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
    }
    let more = format!("auth users = rear\nsecrets file = {}", secrets.display());
    let daemon = Daemon::start(&bench.at("place"), &bench.at("work"), &more);
    let place =
        Place::Daemon { target: "rear@127.0.0.1".into(), port: Some(daemon.port), path: "backup".into() };
    let mut store = bench.store(place);
    store.rsync.password_file = Some(file.clone());
    back_up(&store, &bench.source(), "2026-01-01_000000", || ()).unwrap();
    assert_eq!(store.history().unwrap().complete.len(), 1);
    std::fs::write(&file, "wrong\n").unwrap();
    let error = store.history().unwrap_err();
    assert!(matches!(error, Error::Rsync { cause: Cause::Refused, .. }), "{error}");
    assert!(!error.to_string().contains("right one"));
}

#[test]
fn only_runs_of_this_machine_are_removed() {
    if !ready() {
        return;
    }
    let bench = Bench::new();
    bench.write("etc/fstab", "1");
    let daemon = Daemon::start(&bench.at("place"), &bench.at("work"), "");
    for place in [bench.local(), daemon.place()] {
        let others = ["web2/2026-01-01_000000", "web1/notes", "web1/2026-01-01", "web10/2026-01-01_000000"];
        for name in others {
            std::fs::create_dir_all(bench.at("place").join(name)).unwrap();
            std::fs::write(bench.at("place").join(name).join(SEAL), "{}").unwrap();
        }
        let store = bench.store(place);
        for day in 1..=4 {
            back_up(&store, &bench.source(), &format!("2026-01-0{day}_000000"), || ()).unwrap();
        }
        let times = store.history().unwrap().complete.into_iter().zip([1_u64, 2, 3, 4]).collect::<Vec<_>>();
        for name in backup::rsync::due(&times, Some(2), u64::MAX) {
            store.remove(&name).unwrap();
        }
        assert_eq!(store.history().unwrap().complete, ["2026-01-03_000000", "2026-01-04_000000"]);
        for name in others {
            assert!(bench.at("place").join(name).join(SEAL).exists(), "{name}");
        }
        for name in ["*", "..", ".partial-*", "notes", "../web2/2026-01-01_000000"] {
            assert!(store.remove(name).is_err(), "{name}");
        }
        std::fs::remove_dir_all(bench.at("place/web1")).unwrap();
    }
}

#[test]
fn a_damaged_tree_is_noticed_before_a_restore() {
    if !ready() {
        return;
    }
    let bench = Bench::new();
    for name in ["whole", "flipped", "short", "missing"] {
        bench.write(name, "0123456789");
    }
    let store = bench.store(bench.local());
    let date = "2026-01-01_000000";
    let saved = back_up(&store, &bench.source(), date, || ()).unwrap();
    let tree = bench.run_dir(date).join("tree");
    std::fs::write(tree.join("flipped"), "0123456780").unwrap();
    std::fs::write(tree.join("short"), "01234").unwrap();
    std::fs::remove_file(tree.join("missing")).unwrap();
    let named = |store: &Store<'_>| -> (Depth, Vec<String>) {
        let options: Options = options();
        let (depth, missing) = store.prove(date, &saved.manifest, &options, &()).unwrap();
        (depth, missing.iter().map(|one| format!("{} {}", one.path.display(), one.what)).collect())
    };
    let (size, gone) = ("/short 5 bytes instead of 10".to_owned(), "/missing missing".to_owned());
    assert_eq!(named(&store), (Depth::Content, vec!["/flipped content".into(), gone.clone(), size.clone()]));
    let (place, words) = bench.shell(SHELL);
    let mut store = bench.store(place);
    store.rsync.shell = words;
    assert_eq!(named(&store), (Depth::Sizes, vec![gone, size]));
}

#[test]
fn what_is_not_in_a_tree_is_left_out_and_made_again() {
    if !ready() {
        return;
    }
    let bench = Bench::new();
    for name in ["etc/fstab", "cache/file", "swapfile", "top/inside", "mnt/x"] {
        bench.write(name, &"data".repeat(1000));
    }
    let mut source = bench.source();
    source.exclude = backup::Exclude::new(&["/cache/*".to_owned()]).unwrap();
    source.hollow = vec!["/swapfile".into()];
    source.skip_paths = vec!["/top".into()];
    // A tree without a place in the machine.
    std::fs::create_dir_all(bench.at("view/sub")).unwrap();
    std::fs::write(bench.at("view/sub/file"), "seen").unwrap();
    source.views = vec![backup::View { root: bench.at("view"), at: "/mnt/x.view".into() }];
    let store = bench.store(bench.local());
    for date in ["2026-01-01_000000", "2026-01-02_000000"] {
        back_up(&store, &source, date, || ()).unwrap();
    }
    let at = |date: &str| bench.run_dir(date).join("tree/mnt/x.view/sub/file").metadata().unwrap().ino();
    assert_eq!(at("2026-01-01_000000"), at("2026-01-02_000000"));
    let target = bench.at("restored");
    assert_eq!(bring_back(&store, "2026-01-02_000000", &target), [""; 0]);
    assert_eq!(std::fs::read(target.join("swapfile")).unwrap(), vec![0; 4000]);
    assert!(
        target.join("cache").is_dir() && !target.join("cache/file").exists() && !target.join("top").exists()
    );
    assert_eq!(std::fs::read_to_string(target.join("mnt/x.view/sub/file")).unwrap(), "seen");
}
