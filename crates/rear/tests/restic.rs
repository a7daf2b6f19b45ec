//! A recovery point whose files lie in a repository, from outside: `verify` and `restore` with the password that is configured, and
//! what they say without it, with a wrong one, and of damage.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.
#![cfg(feature = "repository")]

#[path = "../../repository/tests/servers/mod.rs"]
mod servers;
mod support;

use std::path::Path;
use std::sync::Arc;

use repository::{Access, Backend, Local, Location, Repository, Save};
use serde_json::{Value, json};
use support::{Point, change, rear};

/// Saves the tree into a repository, and makes the point say so.
fn into_repository(point: &Path, tree: &Path, backend: Box<dyn Backend>) {
    let password = sys::Secret::new("correct horse");
    let place = backend.place();
    let repository = Repository::create(backend, &password).unwrap();
    let source = backup::Source::whole(tree);
    let manifest = std::fs::File::create(point.join("manifest.zst")).unwrap();
    let options =
        backup::Options { codec: backup::Codec::Zstd, level: 1, threads: 2, cancel: sys::Cancel::default() };
    let save = Save { hostname: "web1".into(), label: "rear-files".into(), ..Save::default() };
    let saved = repository.save(&source, &manifest, &save, &options, &()).unwrap();
    std::fs::remove_file(point.join("archive.tar.zst")).unwrap();
    change(&point.join("recovery-point.json"), |bytes| {
        let mut seal: Value = serde_json::from_slice(bytes).unwrap();
        let manifest = std::fs::read(point.join("manifest.zst")).unwrap();
        let parts = seal["parts"].as_array_mut().unwrap();
        parts.retain(|part| part["name"] != "archive.tar.zst");
        for part in parts.iter_mut().filter(|part| part["name"] == "manifest.zst") {
            part["bytes"] = json!(manifest.len());
            part["blake3"] = json!(blake3::hash(&manifest).to_hex().to_string());
        }
        seal["archive"] = Value::Null;
        seal["content"] = json!({"method": "RESTIC", "url": place, "name": saved.snapshot.unwrap().to_string(),
            "files": saved.files, "data_bytes": saved.data_bytes});
        *bytes = serde_json::to_vec(&seal).unwrap();
    });
}

fn configure(dir: &Path, password: &str) {
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join("password"), format!("{password}\n")).unwrap();
    let text = format!("RESTIC_PASSWORD_FILE={}\n", dir.join("password").display());
    std::fs::write(dir.join("local.conf"), text).unwrap();
}

#[test]
fn files_of_a_repository_are_verified_and_restored() {
    if !sys::info::is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    Point::make(&at("point"), &at("tree"));
    into_repository(&at("point"), &at("tree"), Box::new(Local::new(at("repository"))));
    configure(&at("good"), "correct horse");
    configure(&at("bad"), "battery staple");
    let (good, bad) = (at("good"), at("bad"));
    let (good, bad) = (good.to_str().unwrap(), bad.to_str().unwrap());
    let (to, other) = (at("to"), at("other"));

    let (code, out, error) = rear(&["-c", good, "verify", "--from"], &at("point"));
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert!(out.contains("proven whole"), "{out}");

    let restore = |config: &str, to: &Path| {
        rear(
            &["-c", config, "restore", "/srv", "/links/secret", "--to", to.to_str().unwrap(), "--from"],
            &at("point"),
        )
    };
    let (code, out, error) = restore(good, &to);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert_eq!(std::fs::read(at("tree/srv/large")).unwrap(), std::fs::read(to.join("srv/large")).unwrap());
    assert_eq!(std::fs::read(to.join("links/secret")).unwrap(), b"secret");
    assert!(!to.join("etc").exists());

    // A wrong password, and nobody to ask for it.
    let (code, out, error) = restore(bad, &other);
    assert_ne!(code, 0, "{out}");
    assert!(error.contains("password does not open"), "{error}");
    assert!(!error.contains("staple") && !other.exists());
    let empty = at("empty");
    std::fs::create_dir(&empty).unwrap();
    let (code, _, error) = restore(empty.to_str().unwrap(), &other);
    assert_ne!(code, 0);
    assert!(error.contains("RESTIC_PASSWORD"), "{error}");
    assert!(!other.exists());

    // A damaged pack: the files that it costs are named, and it is no success.
    let packs = std::fs::read_dir(at("repository/data")).unwrap();
    let packs = packs.flat_map(|entry| std::fs::read_dir(entry.unwrap().path()).unwrap());
    let largest = packs.map(|entry| entry.unwrap().path()).max_by_key(|path| path.metadata().unwrap().len());
    change(&largest.unwrap(), |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    let (code, out, _) = rear(&["-c", good, "verify", "--from"], &at("point"));
    assert_ne!(code, 0);
    assert!(out.contains("/srv/large has lost content"), "{out}");
    let (code, _, error) = restore(good, &other);
    assert_ne!(code, 0);
    assert!(error.contains("/srv/large"), "{error}");
    assert_eq!(std::fs::read(other.join("links/secret")).unwrap(), b"secret");
}

#[test]
fn a_server_is_told_what_is_configured_for_it_and_no_other_is() {
    if !sys::info::is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    Point::make(&at("point"), &at("tree"));
    let mut directory = servers::rest::Directory::new(at("repository"));
    directory.user = Some("web1:hush hush".into());
    let server = servers::Server::start(Arc::new(directory), true);
    let access = Access { authorities: Some(servers::authority()), ..Access::default() };
    let address = |who: &str| format!("rest:{}/", server.url(who));
    let backend = Location::parse(&address("web1:hush%20hush@")).unwrap().backend(&access).unwrap();
    into_repository(&at("point"), &at("tree"), backend);
    let seal = std::fs::read_to_string(at("point/recovery-point.json")).unwrap();
    assert!(seal.contains(&address("web1@")) && !seal.contains("hush"), "{seal}");

    let configure = |name: &str, repository: &str, more: &str| {
        configure(&at(name), "correct horse");
        let path = at(name).join("local.conf");
        let ca = servers::authority();
        let text = std::fs::read_to_string(&path).unwrap();
        let text = format!("{text}RESTIC_REPOSITORY='{repository}'\nRESTIC_CACERT={}\n{more}", ca.display());
        std::fs::write(&path, text).unwrap();
        at(name).to_str().unwrap().to_owned()
    };
    let setting = configure("setting", &address("web1@"), "RESTIC_REST_PASSWORD='hush hush'\n");
    let within = configure("within", &address("web1:hush%20hush@"), "");
    for config in [&setting, &within] {
        let (code, out, error) = rear(&["-c", config, "verify", "--from"], &at("point"));
        assert_eq!((code, error.as_str()), (0, ""), "{out}");
        assert!(out.contains("proven whole") && !out.contains("hush"), "{out}");
    }
    let (code, out, error) = rear(
        &["-c", &setting, "restore", "/links/secret", "--to", at("to").to_str().unwrap(), "--from"],
        &at("point"),
    );
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert_eq!(std::fs::read(at("to/links/secret")).unwrap(), b"secret");

    // What belongs to another server is not tried here: somebody must say it.
    let before = server.requests();
    let other = configure("other", "rest:https://web1@127.0.0.1:1/", "RESTIC_REST_PASSWORD='hush hush'\n");
    let (code, out, error) = rear(&["-c", &other, "verify", "--from"], &at("point"));
    assert_ne!(code, 0, "{out}");
    assert!(error.contains("RESTIC_REST_PASSWORD"), "{error}");
    assert_eq!(server.requests(), before);
    let wrong = configure("wrong", &address("web1@"), "RESTIC_REST_PASSWORD=guess\n");
    let (code, _, error) = rear(&["-c", &wrong, "verify", "--from"], &at("point"));
    assert_ne!(code, 0);
    assert!(error.contains("refuses access") && !error.contains("guess"), "{error}");

    server.vanish();
    let (code, _, error) = rear(&["-c", &setting, "verify", "--from"], &at("point"));
    assert_ne!(code, 0);
    assert!(error.contains("cannot be reached") && error.contains("127.0.0.1"), "{error}");
}

/// Stores a recovery point's directory in the repository, as a run does when its files are there.
fn seal_into_repository(point: &Path, place: &Path) -> String {
    let password = sys::Secret::new("correct horse");
    let repository = Repository::open(Box::new(Local::new(place)), &password).unwrap();
    let options =
        backup::Options { codec: backup::Codec::Zstd, level: 1, threads: 2, cancel: sys::Cancel::default() };
    let save = Save { hostname: sys::info::hostname(), label: "rear-point".into(), ..Save::default() };
    let nowhere = std::fs::OpenOptions::new().write(true).open("/dev/null").unwrap();
    let saved = repository.save(&backup::Source::whole(point), &nowhere, &save, &options, &()).unwrap();
    saved.snapshot.unwrap().to_string()
}

#[test]
fn recovery_points_in_a_repository_are_listed_and_used() {
    if !sys::info::is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    Point::make(&at("point"), &at("tree"));
    let place = at("repository");
    into_repository(&at("point"), &at("tree"), Box::new(Local::new(&place)));
    configure(&at("config"), "correct horse");
    let conf = at("config/local.conf");
    let text = std::fs::read_to_string(&conf).unwrap();
    let text = format!(
        "{text}BACKUP=RESTIC\nRESTIC_REPOSITORY={}\nISO_DIR={}\n",
        place.display(),
        at("no-iso-there").display()
    );
    std::fs::write(&conf, text).unwrap();
    let config = at("config").to_str().unwrap().to_owned();
    let run = |arguments: &[&str]| {
        let (last, first) = arguments.split_last().unwrap();
        rear(&[&["-c", &config], first].concat(), Path::new(last))
    };

    // No seal in it yet.
    let (code, out, error) = run(&["list"]);
    assert_eq!(code, 3, "{out}{error}");
    assert!(out.contains("No recovery point of this machine"), "{out}");
    let old = seal_into_repository(&at("point"), &place);
    std::fs::remove_dir_all(at("point")).unwrap();
    let from = format!("snapshot:{}", &old[..8]);

    let (code, out, error) = run(&["list"]);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert!(out.contains(&from) && out.contains("complete"), "{out}");
    let (code, out, error) = run(&["--json", "list"]);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    let events: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.iter().any(|one| one["event"] == "kept" && one["snapshot"] == old.as_str()), "{out}");

    let (code, out, error) = run(&["list", "--from", &from, "/links/secret"]);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert!(out.contains("/links/secret"), "{out}");
    let (code, out, error) = run(&["verify", "--from", &from]);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert!(out.contains("proven whole"), "{out}");
    let to = at("to");
    let (code, out, error) = run(&["restore", "/srv", "--to", to.to_str().unwrap(), "--from", &from]);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert_eq!(std::fs::read(at("tree/srv/large")).unwrap(), std::fs::read(to.join("srv/large")).unwrap());

    for wrong in ["snapshot:", "snapshot:ffff0000", "snapshot:../../etc"] {
        let (code, _, error) = run(&["verify", "--from", wrong]);
        assert_eq!(code, 3, "{error}");
        assert!(error.contains("no recovery point"), "{error}");
    }

    // Its files are forgotten: the seal alone is no recovery point.
    let repository =
        Repository::open(Box::new(Local::new(&place)), &sys::Secret::new("correct horse")).unwrap();
    let files = repository.snapshots().unwrap().iter().find(|one| one.tags[1] == "rear-files").unwrap().id;
    std::fs::remove_file(place.join("snapshots").join(files.to_string())).unwrap();
    let (code, out, error) = run(&["list"]);
    assert_eq!(code, 4, "{out}");
    assert!(out.contains("BROKEN") && error.contains("1 of 1"), "{out}{error}");
}
