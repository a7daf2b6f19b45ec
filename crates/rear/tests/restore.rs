//! `rear restore` from outside: what comes back, what is refused, and that nothing else is touched.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod support;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use support::{Point, change, iso, rear};

fn skipped() -> bool {
    let skipped = !sys::info::is_root();
    if skipped {
        eprintln!("skipped: needs root");
    }
    skipped
}

/// Names of all that lies below a directory.
fn names(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(next) = pending.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            found.push(path.strip_prefix(dir).unwrap().to_string_lossy().into_owned());
            if path.is_dir() && !path.is_symlink() {
                pending.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn files_come_back_with_their_metadata_and_the_way_to_them() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (point, tree, to) = (dir.path().join("point"), dir.path().join("tree"), dir.path().join("to"));
    Point::make(&point, &tree);
    let to_text = to.to_str().unwrap();
    let (code, out, error) =
        rear(&["restore", "/etc/deep/er/file", "srv", "--to", to_text, "--from"], &point);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    let expected = ["etc", "etc/deep", "etc/deep/er", "etc/deep/er/file", "srv", "srv/large"];
    assert_eq!(names(&to), expected);
    for name in expected {
        let (was, is) =
            (std::fs::metadata(tree.join(name)).unwrap(), std::fs::metadata(to.join(name)).unwrap());
        assert_eq!(
            (was.mode(), was.mtime(), was.mtime_nsec(), was.uid()),
            (is.mode(), is.mtime(), is.mtime_nsec(), is.uid()),
            "{name}"
        );
    }
    assert_eq!(std::fs::read(tree.join("srv/large")).unwrap(), std::fs::read(to.join("srv/large")).unwrap());
    // What was made for the files is for its owner alone.
    assert_eq!(std::fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o700);

    // A second time, what is there is named and stays.
    std::fs::write(to.join("srv/large"), "mine").unwrap();
    let (code, out, error) = rear(&["restore", "srv", "--to", to_text, "--from"], &point);
    assert_eq!(code, 3, "{out}");
    assert!(error.contains("is not empty") && error.contains("etc, srv"), "{error}");
    assert_eq!(std::fs::read(to.join("srv/large")).unwrap(), b"mine");
}

#[test]
fn a_hard_link_comes_back_with_its_content_wherever_its_first_name_is() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (point, to) = (dir.path().join("point"), dir.path().join("to"));
    Point::make(&point, &dir.path().join("tree"));
    std::fs::create_dir(&to).unwrap();
    let (code, out, error) = rear(&["restore", "/links", "--to", to.to_str().unwrap(), "--from"], &point);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert_eq!(names(&to), ["links", "links/out", "links/secret", "links/third"]);
    let file = std::fs::metadata(to.join("links/secret")).unwrap();
    assert_eq!(std::fs::read(to.join("links/secret")).unwrap(), b"secret");
    assert_eq!((file.mode() & 0o7777, file.nlink()), (0o640, 2));
    assert_eq!(file.ino(), std::fs::metadata(to.join("links/third")).unwrap().ino());
    assert_eq!(std::fs::read_link(to.join("links/out")).unwrap(), Path::new("/etc/passwd"));
}

#[test]
fn what_is_not_there_or_has_no_place_is_refused_before_any_write() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (point, to, file) = (dir.path().join("point"), dir.path().join("to"), dir.path().join("file"));
    Point::make(&point, &dir.path().join("tree"));
    std::fs::write(&file, "x").unwrap();
    let inside = point.join("inside");
    let before = names(dir.path());
    for (path, to, code, why) in [
        ("/etc/nosuch", &to, 3, "/etc/nosuch: there is no such file"),
        ("/alias/secret", &to, 3, "/alias is a symbolic link to etc"),
        ("/etc/../srv", &to, 2, "without '.' and '..'"),
        ("/etc", &file, 3, "is no directory"),
        ("/etc", &inside, 3, "inside of the recovery point"),
        ("/etc", &dir.path().join("no/such"), 3, "cannot be made"),
        ("/etc", &dir.path().to_owned(), 3, "is not empty"),
    ] {
        let arguments = ["restore", "/srv", path, "--to", to.to_str().unwrap(), "--from"];
        let (found, out, error) = rear(&arguments, &point);
        assert_eq!(found, code, "{path}: {out}{error}");
        assert!(error.contains(why) && error.contains("nothing was written"), "{path}: {error}");
        assert_eq!(names(dir.path()), before, "{path}");
    }
}

#[test]
fn damaged_content_is_named_and_the_rest_comes_back() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (point, to) = (dir.path().join("point"), dir.path().join("to"));
    Point::make(&point, &dir.path().join("tree"));
    change(&point.join("archive.tar.zst"), |bytes| bytes[5_000_000] ^= 1);
    let (code, out, error) = rear(&["restore", "/", "--to", to.to_str().unwrap(), "--from"], &point);
    assert_eq!(code, 5, "{out}");
    assert!(error.contains("/srv/large") && !error.contains("/etc/secret"), "{error}");
    assert_eq!(std::fs::read(to.join("etc/secret")).unwrap(), b"secret");
    // A file whose part is whole is had without a word.
    let other = dir.path().join("other");
    let (code, _, error) = rear(&["restore", "/etc", "--to", other.to_str().unwrap(), "--from"], &point);
    assert_eq!((code, error.as_str()), (0, ""));
    change(&point.join("archive.tar.zst"), |bytes| bytes.truncate(6_000_000));
    let third = dir.path().join("third");
    let (code, _, error) = rear(&["restore", "/etc", "--to", third.to_str().unwrap(), "--from"], &point);
    assert_eq!(code, 3, "{error}");
    assert!(error.contains("truncated") && !third.exists(), "{error}");
}

#[test]
fn files_come_out_of_an_iso() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (point, tree, to) = (dir.path().join("point"), dir.path().join("tree"), dir.path().join("to"));
    Point::make(&point, &tree);
    let Some(file) = iso(dir.path(), &point) else {
        eprintln!("SKIPPED: xorriso is not installed");
        return;
    };
    let (code, out, error) = rear(&["restore", "/", "--to", to.to_str().unwrap(), "--from"], &file);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert_eq!(names(&to), names(&tree));
}
