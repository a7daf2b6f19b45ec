//! A repository by sftp, spoken with OpenSSH's own server as a subprocess in the place of ssh.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../../backup/tests/support/mod.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "shared with the tests of the archive")]
mod support;

use std::fs::File;
use std::path::{Path, PathBuf};

use repository::{Error, Keep, Local, Repository, Restore, Save, Sftp};
use support::{noise, options, source};
use sys::Secret;

const SERVER: &str = "/usr/lib/openssh/sftp-server";

fn connect(top: &Path) -> Sftp {
    Sftp::connect(&[SERVER.to_owned()], top.to_str().unwrap(), "sftp:test").unwrap()
}

#[test]
fn a_repository_on_the_other_side() {
    if !Path::new(SERVER).exists() {
        eprintln!("note: there is no {SERVER} here; not tested");
        return;
    }
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    std::fs::create_dir_all(at("source/dir")).unwrap();
    std::fs::write(at("source/large"), noise(40 << 20, 5)).unwrap();
    for index in 0..50 {
        std::fs::write(at(&format!("source/dir/file{index}")), noise(index * 999, index as u64)).unwrap();
    }
    let password = Secret::new("test");
    let absent = Repository::open(Box::new(connect(&at("repo"))), &password);
    assert!(matches!(absent, Err(Error::Absent { .. })), "{absent:?}");
    let repository = Repository::create(Box::new(connect(&at("repo"))), &password).unwrap();
    let save = |name: &str| {
        let save = Save { hostname: "web1".into(), label: "files".into(), ..Save::default() };
        let manifest = File::create(at(name)).unwrap();
        repository.save(&source(&at("source")), &manifest, &save, &options(), &()).unwrap()
    };
    let first = save("m1");
    repository.read_back(&first.packs, &options()).unwrap();
    std::fs::remove_file(at("source/large")).unwrap();
    let second = save("m2");
    assert_eq!(repository.reachable(second.snapshot.unwrap(), &options()).unwrap(), []);
    let retained =
        repository.retain("web1", "files", &Keep { last: 1, ..Keep::default() }, &options()).unwrap();
    assert_eq!((retained.kept, retained.forgotten.len()), (1, 1));
    assert!(retained.freed > 39 << 20, "{}", retained.freed);
    assert_eq!(repository.check(None, &options(), &()).unwrap().findings, []);
    std::fs::create_dir(at("target")).unwrap();
    let order = Restore {
        snapshot: second.snapshot.unwrap(),
        manifest: &at("m2"),
        target: &at("target"),
        plain: Vec::new(),
        replace: true,
    };
    assert_eq!(repository.restore(&order, &options(), &()).unwrap().problems, []);
    let comparison = backup::compare(&at("m2"), &at("target"), &[], &options(), &()).unwrap();
    assert_eq!(comparison.differences, []);
    drop(repository);
    // It is a repository like any other, without a trace of how it came there.
    let local = Repository::open(Box::new(Local::new(at("repo"))), &password).unwrap();
    assert_eq!(local.check(None, &options(), &()).unwrap().findings, []);
    let left: Vec<PathBuf> =
        std::fs::read_dir(at("repo/locks")).unwrap().map(|one| one.unwrap().path()).collect();
    assert_eq!(left, Vec::<PathBuf>::new());
}

#[test]
fn what_is_no_server_is_told_and_not_waited_for() {
    for command in [&["/bin/true"][..], &["/bin/echo", "Welcome to this machine"], &["/bin/nonesuch"]] {
        let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        assert!(Sftp::connect(&command, "/x", "sftp:test").is_err(), "{command:?}");
    }
}
