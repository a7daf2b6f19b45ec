//! Repositories at servers, by `rest:` and `s3:`, over HTTP and HTTPS: with servers of our own that do as the real ones do, and with
//! the program restic as another client of the same servers. And what happens when a server stumbles, refuses or is gone.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../../backup/tests/support/mod.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "shared with the tests of the archive")]
mod support;

mod servers;

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use repository::{
    Access, Backend, Error, FileKind, Id, Keep, Local, Location, Repository, Restore, Result, Save, Saved,
};
use servers::rest::Directory;
use servers::s3::{KEY_ID, SECRET_KEY, Store};
use servers::{Fault, Server};
use support::{noise, options, source};
use sys::Secret;

const USER: &str = "web1:pass/word";

fn password() -> Secret {
    Secret::new("test")
}

/// A server with the address of a repository there, and what it wants to know.
struct Place {
    server: Server,
    address: String,
    access: Access,
}

impl Place {
    fn rest(top: &Path, tls: bool, fill: impl FnOnce(&mut Directory)) -> Self {
        let mut directory = Directory::new(top);
        fill(&mut directory);
        let who = directory.user.as_ref().map(|user| format!("{}@", user.replace('/', "%2F")));
        let server = Server::start(Arc::new(directory), tls);
        let address = format!("rest:{}/", server.url(&who.unwrap_or_default()));
        Self { address, access: access(tls), server }
    }

    fn s3(store: Store, tls: bool) -> Self {
        let server = Server::start(Arc::new(store), tls);
        let address = format!("s3:{}/bucket/some/where", server.url(""));
        let mut access = access(tls);
        (access.key_id, access.secret_key) = (KEY_ID.into(), Some(Secret::new(SECRET_KEY)));
        Self { address, access, server }
    }

    fn backend(&self) -> Box<dyn Backend> {
        Location::parse(&self.address).unwrap().backend(&self.access).unwrap()
    }

    fn open(&self) -> Result<Repository> {
        Repository::open(self.backend(), &password())
    }

    /// The program, with nothing secret in its arguments.
    fn restic(&self, work: &Path, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new("restic");
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", work).current_dir(work);
        command.env("RESTIC_REPOSITORY", &self.address).env("RESTIC_PASSWORD", "test");
        command.env("AWS_ACCESS_KEY_ID", KEY_ID).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        command.arg("--no-cache");
        if self.server.tls {
            command.arg("--cacert").arg(servers::authority());
        }
        let Ok(output) = command.args(arguments).output() else {
            eprintln!("note: there is no restic here; not tested");
            return None;
        };
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(output.status.success(), "restic {arguments:?}: {text}");
        Some(text)
    }
}

fn access(tls: bool) -> Access {
    Access { authorities: tls.then(servers::authority), ..Access::default() }
}

/// One of each kind.
fn places(work: &Path) -> Vec<Place> {
    let at = |name: &str| work.join(name);
    let user = |directory: &mut Directory| directory.user = Some(USER.into());
    vec![
        Place::rest(&at("rest1"), false, |directory| directory.version = 1),
        Place::rest(&at("rest2"), true, user),
        Place::s3(Store::default(), false),
        Place::s3(Store { region: "eu-central-1".into(), ..Store::default() }, true),
    ]
}

fn tree(root: &Path) {
    std::fs::create_dir_all(root.join("dir")).unwrap();
    std::fs::write(root.join("large"), noise(24 << 20, 5)).unwrap();
    for index in 0..50 {
        std::fs::write(root.join(format!("dir/file{index}")), noise(index * 999, index as u64)).unwrap();
    }
}

fn save(repository: &Repository, work: &Path, manifest: &str) -> Result<Saved> {
    let save = Save { hostname: "web1".into(), label: "files".into(), ..Save::default() };
    let file = File::create(work.join(manifest)).unwrap();
    repository.save(&source(&work.join("source")), &file, &save, &options(), &())
}

fn restore(repository: &Repository, snapshot: Id, manifest: &Path, target: &Path) -> Vec<String> {
    std::fs::create_dir(target).unwrap();
    let order = Restore { snapshot, manifest, target, plain: Vec::new(), replace: true };
    let restored = repository.restore(&order, &options(), &()).unwrap();
    restored.problems.into_iter().map(|one| one.detail).collect()
}

fn assert_equal(manifest: &Path, target: &Path) {
    assert_eq!(backup::compare(manifest, target, &[], &options(), &()).unwrap().differences, []);
}

/// The program restic does not know the top directory itself.
fn assert_equal_but_top(manifest: &Path, target: &Path) {
    let comparison = backup::compare(manifest, target, &[], &options(), &()).unwrap();
    let below: Vec<_> = comparison.differences.iter().filter(|one| one.path != Path::new("/")).collect();
    assert!(below.is_empty(), "{below:?}");
}

#[test]
fn a_repository_at_each_kind_of_server() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    tree(&at("source"));
    for (number, place) in places(work.path()).into_iter().enumerate() {
        let name = &place.address;
        assert!(matches!(place.open(), Err(Error::Absent { .. })), "{name}");
        let repository = Repository::create(place.backend(), &password()).unwrap();
        assert!(!repository.place().contains("word"), "{}", repository.place());
        let again = Repository::create(place.backend(), &password());
        assert!(matches!(again, Err(Error::Exists { .. })), "{name}");
        let first = save(&repository, work.path(), "m1").unwrap();
        repository.read_back(&first.packs, &options()).unwrap();
        std::fs::rename(at("source/large"), at("large")).unwrap();
        let second = save(&repository, work.path(), "m2").unwrap();
        std::fs::rename(at("large"), at("source/large")).unwrap();
        assert_eq!(second.unchanged, 49, "{name}");
        assert_eq!(repository.reachable(second.snapshot.unwrap(), &options()).unwrap(), []);
        let keep = Keep { last: 1, ..Keep::default() };
        let retained = repository.retain("web1", "files", &keep, &options()).unwrap();
        assert_eq!((retained.kept, retained.forgotten.len()), (1, 1), "{name}");
        assert!(retained.freed > 23 << 20, "{}", retained.freed);
        assert_eq!(repository.check(None, &options(), &()).unwrap().findings, []);
        let target = at(&format!("target{number}"));
        let repository = place.open().unwrap();
        assert_eq!(restore(&repository, second.snapshot.unwrap(), &at("m2"), &target), [""; 0]);
        assert_equal(&at("m2"), &target);
        drop(repository);
        assert_eq!(place.backend().list(FileKind::Lock).unwrap(), [], "{name}");

        // A stretch that is not there is no shorter stretch.
        let backend = place.backend();
        let (pack, size) = backend.list(FileKind::Pack).unwrap()[0];
        assert_eq!(
            backend.read_range(pack, size - 8, 8).unwrap(),
            backend.read(FileKind::Pack, pack).unwrap()[size as usize - 8..]
        );
        for (offset, length) in [(size - 8, 9), (size, 1)] {
            let error = backend.read_range(pack, offset, length).unwrap_err().to_string();
            assert!(error.contains("shorter"), "{error}");
        }
        assert_eq!(backend.read_range(pack, 0, 0).unwrap(), [0; 0]);
        let absent = Id::of(b"nothing");
        assert!(!backend.has(FileKind::Pack, absent).unwrap());
        backend.remove(FileKind::Pack, absent).unwrap();
        let error = backend.read(FileKind::Pack, absent).unwrap_err().to_string();
        assert!(error.contains(&absent.to_string()) && error.contains("127.0.0.1"), "{error}");
    }
}

#[test]
fn restic_and_we_share_repositories_at_servers() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    tree(&at("source"));
    for (number, place) in places(work.path()).into_iter().enumerate() {
        // Its repository, read by us.
        if place.restic(work.path(), &["init"]).is_none() {
            return;
        }
        place.restic(&at("source"), &["backup", "--host", "other", "."]).unwrap();
        let repository = place.open().unwrap();
        let theirs = repository.snapshots().unwrap()[0].id;
        let manifest = at("theirs");
        repository.manifest(theirs, &File::create(&manifest).unwrap(), &options()).unwrap();
        let target = at(&format!("from-restic{number}"));
        assert_eq!(restore(&repository, theirs, &manifest, &target), [""; 0]);
        // What it has stored is not stored again, and what we store it can read.
        let saved = save(&repository, work.path(), "m").unwrap();
        assert!(saved.added_bytes < saved.data_bytes / 20, "{} were added", saved.added_bytes);
        assert_equal_but_top(&at("m"), &target);
        let text = place.restic(work.path(), &["check", "--read-data"]).unwrap();
        assert!(text.contains("no errors were found"), "{text}");
        let target = at(&format!("by-restic{number}"));
        let id = saved.snapshot.unwrap().to_string();
        place.restic(work.path(), &["restore", &id, "--target", target.to_str().unwrap()]).unwrap();
        assert_equal_but_top(&at("m"), &target);
        // Both make room in it.
        place.restic(work.path(), &["forget", "--prune", "--keep-last", "1", "--host", "other"]).unwrap();
        repository.retain("web1", "files", &Keep { last: 1, ..Keep::default() }, &options()).unwrap();
        place.restic(work.path(), &["check", "--read-data"]).unwrap();
        assert_eq!(repository.check(None, &options(), &()).unwrap().findings, []);
    }
}

#[test]
fn a_repository_that_we_make_is_one_for_restic() {
    let work = tempfile::tempdir().unwrap();
    tree(&work.path().join("source"));
    for place in places(work.path()) {
        let repository = Repository::create(place.backend(), &password()).unwrap();
        save(&repository, work.path(), "m").unwrap();
        let Some(text) = place.restic(work.path(), &["check", "--read-data"]) else { return };
        assert!(text.contains("no errors were found"), "{text}");
    }
}

#[test]
fn stumbling_servers_are_waited_for() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    tree(&at("source"));
    for (number, place) in places(work.path()).into_iter().enumerate() {
        let put = if place.address.starts_with("rest:") { "POST" } else { "PUT" };
        let repository = Repository::create(place.backend(), &password()).unwrap();
        place.server.fail(
            put,
            "data/",
            &[Fault::Excuse(503), Fault::Break, Fault::Swallow, Fault::Excuse(500)],
        );
        place.server.fail(put, "index/", &[Fault::Swallow]);
        place.server.fail(put, "snapshots/", &[Fault::Swallow, Fault::Excuse(429)]);
        let saved = save(&repository, work.path(), "m").unwrap();
        assert_eq!(place.server.faults_left(), 0);
        place.server.fail("GET", "data/", &[Fault::Half, Fault::Break, Fault::Excuse(502)]);
        place.server.fail("GET", "index/", &[Fault::Half]);
        let target = at(&format!("target{number}"));
        assert_eq!(restore(&repository, saved.snapshot.unwrap(), &at("m"), &target), [""; 0]);
        assert_eq!(place.server.faults_left(), 0);
        assert_equal(&at("m"), &target);
        place.server.fail("DELETE", "snapshots/", &[Fault::Swallow, Fault::Break]);
        save(&repository, work.path(), "m").unwrap();
        let keep = Keep { last: 1, ..Keep::default() };
        assert_eq!(repository.retain("web1", "files", &keep, &options()).unwrap().forgotten.len(), 1);
        assert_eq!(repository.check(None, &options(), &()).unwrap().findings, []);
    }
}

#[test]
fn what_was_refused_once_is_not_believed_to_be_there() {
    // A file that another has written, under the name of ours: the second try must not take it for ours.
    let work = tempfile::tempdir().unwrap();
    let place = Place::rest(&work.path().join("rest"), false, |_| {});
    let backend = place.backend();
    backend.create().unwrap();
    let id = Id::of(b"ours");
    std::fs::create_dir_all(work.path().join("rest/index")).unwrap();
    std::fs::write(work.path().join(format!("rest/index/{id}")), "other").unwrap();
    place.server.fail("POST", "index/", &[Fault::Break]);
    let error = backend.write(FileKind::Index, id, b"ours").unwrap_err().to_string();
    assert!(error.contains("403") && error.contains(&id.to_string()), "{error}");
}

#[test]
fn a_server_that_is_gone_costs_no_earlier_snapshot() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    tree(&at("source"));
    let mut place = Place::rest(&at("repo"), false, |_| {});
    place.access.patience = Some(Duration::from_millis(300));
    let repository = Repository::create(place.backend(), &password()).unwrap();
    let first = save(&repository, work.path(), "m1").unwrap();
    std::fs::write(at("source/more"), noise(40 << 20, 77)).unwrap();
    // Gone for good after the first pack.
    let faults = [Fault::Break; 500];
    place.server.fail("POST", "data/", &faults[..400]);
    let error = save(&repository, work.path(), "m2").unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Unreachable { .. }), "{text}");
    assert!(text.contains("127.0.0.1") && text.contains("write data/"), "{text}");
    place.server.vanish();
    let error = repository.snapshots().unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    let error = place.open().unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    drop(repository);
    let local = Repository::open(Box::new(Local::new(at("repo"))), &password()).unwrap();
    let there: Vec<Id> = local.snapshots().unwrap().iter().map(|one| one.id).collect();
    assert_eq!(there, [first.snapshot.unwrap()]);
    assert_eq!(local.check(None, &options(), &()).unwrap().findings, []);
    assert_eq!(restore(&local, there[0], &at("m1"), &at("target")), [""; 0]);
    assert_equal(&at("m1"), &at("target"));
}

#[test]
fn waiting_ends_when_the_run_is_stopped() {
    let work = tempfile::tempdir().unwrap();
    let mut place = Place::rest(&work.path().join("repo"), false, |_| {});
    place.access.patience = Some(Duration::from_secs(600));
    let backend = place.backend();
    backend.create().unwrap();
    let cancel = place.access.cancel.clone();
    place.server.fail("GET", "keys/", &[Fault::Excuse(503); 100]);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| backend.list(FileKind::Key));
        while place.server.requests() < 3 {
            std::thread::sleep(Duration::from_millis(10));
        }
        cancel.raise();
        assert!(matches!(waiting.join().unwrap(), Err(Error::Sys(sys::Error::Cancelled))));
    });
}

#[test]
fn where_nothing_can_be_removed_everything_stays() {
    let work = tempfile::tempdir().unwrap();
    tree(&work.path().join("source"));
    for place in [
        Place::rest(&work.path().join("rest"), false, |directory| directory.append_only = true),
        Place::s3(Store { keeps_all: true, ..Store::default() }, false),
    ] {
        let repository = Repository::create(place.backend(), &password()).unwrap();
        // The second does not stumble over the lock that the first could not remove.
        save(&repository, work.path(), "m").unwrap();
        save(&repository, work.path(), "m").unwrap();
        let keep = Keep { last: 1, ..Keep::default() };
        let error = repository.retain("web1", "files", &keep, &options());
        match place.address.starts_with("rest:") {
            true => assert!(matches!(error, Err(Error::KeepsAll { .. })), "{error:?}"),
            false => {
                assert!(matches!(error, Err(Error::KeepsAll { .. } | Error::Locked { .. })), "{error:?}")
            }
        }
        assert_eq!(repository.snapshots().unwrap().len(), 2);
        assert_eq!(repository.check(None, &options(), &()).unwrap().findings, []);
    }
}

#[test]
fn nobody_gets_in_with_a_wrong_key_or_a_wrong_certificate() {
    let work = tempfile::tempdir().unwrap();
    let user = |directory: &mut Directory| directory.user = Some(USER.into());
    let mut rest = Place::rest(&work.path().join("rest"), true, user);
    let denied = |place: &Place| matches!(place.open(), Err(Error::Denied { .. }));
    rest.address = rest.address.replace("pass", "guess");
    assert!(denied(&rest));
    rest.address = rest.address.replace(":guess%2Fword", "");
    assert!(denied(&rest));
    rest.access.password = Some(Secret::new("pass/word"));
    assert!(matches!(rest.open(), Err(Error::Absent { .. })), "the password may come from elsewhere");
    // Authorities of this system, who have never heard of ours; and a file that is none.
    rest.access.authorities = None;
    let error = Location::parse(&rest.address)
        .unwrap()
        .backend(&rest.access)
        .and_then(|backend| Repository::open(backend, &password()));
    assert!(matches!(error, Err(Error::Untrusted { .. })), "{error:?}");
    rest.access.authorities = Some(work.path().join("none"));
    std::fs::write(work.path().join("none"), "no certificate").unwrap();
    assert!(Location::parse(&rest.address).unwrap().backend(&rest.access).is_err());
    // HTTP is not what is spoken there.
    rest.access.authorities = Some(servers::authority());
    rest.address = rest.address.replace("https", "http");
    rest.access.patience = Some(Duration::from_millis(100));
    assert!(rest.open().is_err());

    let mut s3 = Place::s3(Store::default(), false);
    assert!(matches!(s3.open(), Err(Error::Absent { .. })));
    s3.access.secret_key = Some(Secret::new("guess"));
    assert!(denied(&s3));
    s3.access.key_id = "guess".into();
    assert!(denied(&s3));
    s3.access.secret_key = None;
    assert!(matches!(Location::parse(&s3.address).unwrap().backend(&s3.access), Err(Error::Denied { .. })));
}
