//! `rear restore` and `rear list` from a tar that another program made.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod support;

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use support::{change, noise, rear};

/// A tree and the archive that the Bash program makes of one, or nothing where that cannot be done here.
fn make(dir: &Path) -> bool {
    let tree = dir.join("tree");
    std::fs::create_dir_all(tree.join("etc/ssh")).unwrap();
    std::fs::create_dir_all(tree.join("srv")).unwrap();
    std::fs::write(tree.join("etc/ssh/config"), "Host *\n").unwrap();
    std::fs::write(tree.join("srv/data"), noise(400_000, 1)).unwrap();
    std::os::unix::fs::symlink("/etc/ssh", tree.join("srv/link")).unwrap();
    let tar = Command::new("tar")
        .args(["--gzip", "--format=pax", "--sparse", "-cf"])
        .arg(dir.join("backup.tar.gz"))
        .arg("-C")
        .arg(&tree)
        .arg(".")
        .output();
    let made = sys::info::is_root() && tar.is_ok_and(|tar| tar.status.success());
    if !made {
        eprintln!("skipped: needs root and tar");
    }
    made
}

#[test]
fn files_come_back_and_nothing_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    if !make(dir.path()) {
        return;
    }
    let (archive, to) = (dir.path().join("backup.tar.gz"), dir.path().join("to"));
    let to_text = to.to_str().unwrap();
    let (code, out, error) = rear(&["restore", "/", "--to", to_text, "--from"], &archive);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert!(out.contains("compared with the manifest"), "{out}");
    let (was, is) = (dir.path().join("tree/srv/data"), to.join("srv/data"));
    assert_eq!(std::fs::read(&was).unwrap(), std::fs::read(&is).unwrap());
    assert_eq!(std::fs::metadata(&was).unwrap().mtime_nsec(), std::fs::metadata(&is).unwrap().mtime_nsec());
    assert_eq!(std::fs::read_link(to.join("srv/link")).unwrap(), Path::new("/etc/ssh"));

    // Not twice into the same directory.
    let (code, _, error) = rear(&["restore", "/etc", "--to", to_text, "--from"], &archive);
    assert_eq!(code, 3);
    assert!(error.contains("is not empty"), "{error}");
    // What is not there.
    let new = dir.path().join("new");
    let (code, _, error) = rear(&["restore", "/etc/none", "--to", new.to_str().unwrap(), "--from"], &archive);
    assert_eq!((code, new.exists()), (3, false));
    assert!(error.contains("not everything is in the archive"), "{error}");
    // Damage is found before anything is written.
    change(&archive, |bytes| bytes.truncate(300_000));
    let (code, _, error) = rear(&["restore", "/etc", "--to", new.to_str().unwrap(), "--from"], &archive);
    assert_eq!((code, new.exists()), (3, false));
    assert!(error.contains("cut off") && error.contains("nothing was written"), "{error}");
}

#[test]
fn its_files_are_listed() {
    let dir = tempfile::tempdir().unwrap();
    if !make(dir.path()) {
        return;
    }
    let archive = dir.path().join("backup.tar.gz");
    let bytes = std::fs::read(&archive).unwrap();
    for (number, piece) in bytes.chunks(150_000).enumerate() {
        std::fs::write(dir.path().join(format!("backup.tar.gz.{number:02}")), piece).unwrap();
    }
    std::fs::remove_file(&archive).unwrap();
    let (code, out, error) = rear(&["list", "--contents", "--from"], &archive);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    for wanted in ["/etc/ssh/config", "/srv/link -> /etc/ssh", "400000"] {
        assert!(out.contains(wanted), "{wanted}: {out}");
    }
    let (code, out, _) = rear(&["list", "/etc", "--from"], &archive);
    assert!(code == 0 && out.contains("config") && !out.contains("srv"), "{out}");
    let (code, _, error) = rear(&["list", "/none", "--from"], &archive);
    assert!(code == 3 && error.contains("nothing in the archive matches /none"), "{error}");
    let (code, _, error) = rear(&["list", "--from"], &archive);
    assert!(code == 3 && error.contains("a tar of another program"), "{error}");
}
