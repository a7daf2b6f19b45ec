//! A recovery point whose files lie in a repository, from outside: `verify` and `restore` with the password that is configured, and
//! what they say without it, with a wrong one, and of damage.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.
#![cfg(feature = "repository")]

mod support;

use std::path::Path;

use repository::{Local, Repository, Save};
use serde_json::{Value, json};
use support::{Point, change, rear};

/// Saves the tree into a repository, and makes the point say so.
fn into_repository(point: &Path, tree: &Path, place: &Path) {
    let password = sys::Secret::new("correct horse");
    let repository = Repository::create(Box::new(Local::new(place)), &password).unwrap();
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
    into_repository(&at("point"), &at("tree"), &at("repository"));
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
