//! Recovery points whose archive lies in volumes, or has another compression: listed, proven and restored like any other.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod support;

use std::path::Path;

use serde_json::{Value, json};
use support::{Point, change, rear};

/// Changes what the seal says.
fn reseal(dir: &Path, edit: impl FnOnce(&mut Value)) {
    let path = dir.join("recovery-point.json");
    let mut seal: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    edit(&mut seal);
    std::fs::write(&path, seal.to_string()).unwrap();
}

fn part(dir: &Path, name: &str) -> Value {
    let bytes = std::fs::read(dir.join(name)).unwrap();
    json!({"name": name, "bytes": bytes.len(), "blake3": blake3::hash(&bytes).to_hex().to_string()})
}

#[test]
fn volumes_are_one_archive_and_a_missing_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let (point, tree, to) = (dir.path().join("point"), dir.path().join("tree"), dir.path().join("to"));
    Point::make(&point, &tree);
    let whole = point.join("archive.tar.zst");
    let bytes = std::fs::read(&whole).unwrap();
    std::fs::remove_file(&whole).unwrap();
    let names: Vec<String> = (1..)
        .zip(bytes.chunks(4_000_000))
        .map(|(number, piece)| {
            let name = format!("archive.tar.zst.{number:03}");
            std::fs::write(point.join(&name), piece).unwrap();
            name
        })
        .collect();
    assert!(names.len() > 2);
    reseal(&point, |seal| {
        let parts = seal["parts"].as_array_mut().unwrap();
        parts.retain(|part| part["name"] != "archive.tar.zst");
        parts.extend(names.iter().map(|name| part(&point, name)));
        seal["archive"]["volumes"] = names.len().into();
    });
    let (code, out, error) = rear(&["list", "--from"], &point);
    assert!(code == 0 && out.contains("complete"), "{out}{error}");
    let (code, out, error) = rear(&["verify", "--from"], &point);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert!(out.contains("proven whole"), "{out}");
    if sys::info::is_root() {
        let (code, out, error) = rear(&["restore", "/srv", "--to", to.to_str().unwrap(), "--from"], &point);
        assert_eq!((code, error.as_str()), (0, ""), "{out}");
        assert!(
            std::fs::read(tree.join("srv/large")).unwrap() == std::fs::read(to.join("srv/large")).unwrap()
        );
    }

    change(&point.join(&names[1]), |bytes| bytes[1_000_000] ^= 1);
    let (code, _, error) = rear(&["verify", "--from"], &point);
    assert!(code == 4 && error.contains("/srv/large"), "{error}");
    std::fs::remove_file(point.join(&names[1])).unwrap();
    let (code, out, error) = rear(&["list", "--from"], &point);
    assert_eq!(code, 4);
    assert!(format!("{out}{error}").contains("archive.tar.zst.002 is missing"), "{out}{error}");
    let (code, _, error) = rear(&["verify", "--from"], &point);
    assert!(code == 4 && error.contains("archive.tar.zst.002 is missing"), "{error}");
}

#[test]
fn an_archive_is_found_by_the_name_in_the_seal_and_that_leads_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let (point, tree) = (dir.path().join("point"), dir.path().join("tree"));
    Point::make(&point, &tree);
    std::fs::rename(point.join("archive.tar.zst"), point.join("archive.tar.x")).unwrap();
    let name = |name: &str| {
        let name = name.to_owned();
        move |seal: &mut Value| {
            let parts = seal["parts"].as_array_mut().unwrap();
            let part = parts.iter_mut().find(|part| part["name"].as_str().unwrap().starts_with("archive"));
            part.unwrap()["name"] = name.clone().into();
            seal["archive"]["name"] = name.into();
        }
    };
    reseal(&point, name("archive.tar.x"));
    let (code, out, error) = rear(&["verify", "--from"], &point);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    for bad in ["archive.tar/../../etc/passwd", "../archive.tar", "archive.tarx"] {
        reseal(&point, |seal| seal["archive"]["name"] = bad.into());
        let (code, _, error) = rear(&["verify", "--from"], &point);
        assert!(code == 4 && error.contains("is no name of an archive"), "{error}");
    }
}
