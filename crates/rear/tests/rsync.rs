//! Trees that rsync keeps, from outside: verified and restored in part by the program.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod support;

use std::path::{Path, PathBuf};

use backup::rsync::{Place, Rsync, Store};
use serde_json::json;
use support::{Point, change, rear};

fn skipped() -> bool {
    let skipped =
        !sys::info::is_root() || std::process::Command::new("rsync").arg("--version").output().is_err();
    if skipped {
        eprintln!("skipped: needs root and rsync");
    }
    skipped
}

/// A recovery point whose files are a tree below `home`; gives its directory.
fn make(dir: &Path, tree: &Path, home: &Path) -> PathBuf {
    let name = "2026-01-02_030405";
    // Everything that lies beside the manifest of any recovery point.
    let parts = dir.join("parts");
    let point = Point::make(&parts, tree);
    std::fs::remove_file(parts.join("archive.tar.zst")).unwrap();
    std::fs::create_dir_all(home).unwrap();
    let sys = sys::Real::default();
    let store = Store {
        rsync: Rsync::new(&sys),
        place: Place::Local { dir: home.to_owned() },
        prefix: "web1".into(),
        seal: "recovery-point.json".into(),
        work: dir.join("work"),
    };
    let source = backup::Source::whole(tree);
    let options =
        backup::Options { codec: backup::Codec::Zstd, level: 1, threads: 2, cancel: sys::Cancel::default() };
    let building = store.begin(name, &store.history().unwrap()).unwrap();
    let read = building.read(&source, &options, &()).unwrap();
    let saved = building.transfer(read, &options).unwrap();
    std::fs::copy(&saved.manifest, parts.join("manifest.zst")).unwrap();
    let names = ["layout.json", "boot.json", "mountpoints.json", "manifest.zst"];
    let sealed: Vec<_> = names.iter().map(|name| point.part(name)).collect();
    let seal = json!({
        "format": 1, "id": "0f".repeat(16), "hostname": "web1", "created": 1_767_323_040, "program": "0.1.0",
        "parts": sealed, "archive": null, "elsewhere": null,
        "content": {"method": "RSYNC", "url": store.place.url(), "name": format!("web1/{name}"),
                    "files": saved.totals.files, "data_bytes": saved.totals.bytes},
    });
    std::fs::write(parts.join("recovery-point.json"), seal.to_string()).unwrap();
    building.put(&parts, &names.map(str::to_owned)).unwrap();
    building.publish(&parts).unwrap();
    home.join("web1").join(name)
}

#[test]
fn a_tree_is_verified_and_gives_single_files_back() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (tree, to) = (dir.path().join("tree"), dir.path().join("to"));
    let point = make(dir.path(), &tree, &dir.path().join("home"));
    let (code, out, error) = rear(&["verify", "--from"], &point);
    assert_eq!(code, 0, "{out}{error}");
    let to_text = to.to_str().unwrap();
    let (code, out, error) =
        rear(&["restore", "/etc/deep", "links/third", "--to", to_text, "--from"], &point);
    assert_eq!(code, 0, "{out}{error}");
    let read = |root: &Path, name: &str| std::fs::read(root.join(name)).unwrap();
    for name in ["etc/deep/er/file", "links/third"] {
        assert_eq!(read(&tree, name), read(&to, name), "{name}");
    }
    assert!(!to.join("srv").exists() && !to.join("etc/secret").exists());
    // One file of the tree is not what it was.
    change(&point.join("tree/etc/deep/er/file"), |bytes| bytes[7] ^= 1);
    let (code, out, error) = rear(&["verify", "--from"], &point);
    assert!(code != 0 && format!("{out}{error}").contains("/etc/deep/er/file"), "{code} {out}{error}");
    let again = dir.path().join("again");
    let again_text = again.to_str().unwrap();
    let (code, out, error) = rear(&["restore", "/etc/deep", "--to", again_text, "--from"], &point);
    assert!(code != 0 && error.contains("not whole"), "{code} {out}{error}");
    assert!(!again.exists());
}

#[test]
fn a_tree_is_not_mounted_and_the_error_says_where_its_files_lie() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let point = make(dir.path(), &dir.path().join("tree"), &dir.path().join("home"));
    let at = dir.path().join("at");
    std::fs::create_dir(&at).unwrap();
    let (code, out, error) = rear(&["mount", at.to_str().unwrap(), "--from"], &point);
    let lies = point.join("tree");
    assert!(
        code == 3 && error.contains(&format!("its files lie in {} as they are", lies.display())),
        "{out}{error}"
    );
    assert!(error.contains("ordinary tools") && lies.join("etc/secret").is_file(), "{error}");
}
