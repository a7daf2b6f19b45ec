//! `rear list` and `rear verify` from outside, on recovery points that are made here: whole, damaged, foreign.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod support;

use std::path::Path;

use support::{Point, change, iso, rear};

#[test]
fn a_whole_point_is_listed_and_proven() {
    let dir = tempfile::tempdir().unwrap();
    Point::make(&dir.path().join("host/backup"), &dir.path().join("tree"));
    std::fs::create_dir(dir.path().join("rear.0123456789ab")).unwrap();
    std::fs::write(dir.path().join("other.iso"), "no ISO at all").unwrap();
    std::fs::remove_file(dir.path().join("other.iso")).unwrap();
    let (code, out, error) = rear(&["list", "--from"], dir.path());
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    for word in [
        "web1",
        "complete",
        "2026-01-02 03:04 UTC",
        "host/backup",
        "rear.0123456789ab is the working directory",
    ] {
        assert!(out.contains(word), "{word}: {out}");
    }
    let (code, out, error) = rear(&["verify", "--from"], dir.path());
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert!(out.contains("proven whole") && out.contains("steps recover"), "{out}");
    let (code, out, _) = rear(&["verify", "--quick", "--from"], dir.path());
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("NOT checked") && !out.contains("proven whole"), "{out}");
}

#[test]
fn the_files_of_a_point_are_listed_with_their_metadata() {
    let dir = tempfile::tempdir().unwrap();
    let point = dir.path().join("point");
    Point::make(&point, &dir.path().join("tree"));
    let (code, out, _) = rear(&["list", "--contents", "--from"], &point);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("/etc/od%0Ad%FF"), "{out}");
    assert!(out.lines().any(|line| line.starts_with("-rw-r-----") && line.ends_with("/etc/secret")), "{out}");
    assert!(out.contains(" link to /etc/"), "{out}");
    let (code, out, _) = rear(&["list", "/srv", "--from"], &point);
    assert_eq!(code, 0);
    assert!(out.contains("/srv/large") && !out.contains("/etc"), "{out}");
    let (code, out, error) = rear(&["list", "/srv", "nosuch", "--from"], &point);
    assert_eq!(code, 3, "{out}");
    assert!(error.contains("matches nosuch"), "{error}");
    let (_, out, _) = rear(&["list", "--json", "/etc/secret", "--from"], &point);
    let entry: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&entry["path"], &entry["mode"], &entry["size"]),
        (&"/etc/secret".into(), &"0640".into(), &6.into())
    );
    let (_, out, _) = rear(&["list", "--json", "--from"], &point);
    let entry: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&entry["hostname"], &entry["complete"]), (&"web1".into(), &true.into()));
}

#[test]
fn what_is_no_recovery_point_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (empty, file) = (dir.path().join("empty"), dir.path().join("file.iso"));
    std::fs::create_dir(&empty).unwrap();
    std::fs::write(&file, "text").unwrap();
    for (path, why) in [
        (&empty, "without recovery-point.json and without ISO files"),
        (&file, "not a readable ISO 9660 image"),
        (&dir.path().join("absent"), "No such file"),
    ] {
        for verb in ["list", "verify"] {
            let (code, out, error) = rear(&[verb, "--from"], path);
            assert_eq!(code, 3, "{verb}: {out}{error}");
            assert!(error.contains("no recovery point") && error.contains(why), "{verb}: {error}");
        }
    }
    // Among other files it may be what is left of a recovery point.
    let (code, out, _) = rear(&["list", "--from"], dir.path());
    assert_eq!(code, 4, "{out}");
    assert!(out.contains("BROKEN") && out.contains("file.iso"), "{out}");
}

/// Damages a point in one way; gives what list, verify --quick and verify say, with their codes.
fn damaged(how: impl Fn(&Path)) -> [(i32, String); 3] {
    let dir = tempfile::tempdir().unwrap();
    let point = dir.path().join("point");
    Point::make(&point, &dir.path().join("tree"));
    how(&point);
    [&["list", "--from"][..], &["verify", "--quick", "--from"], &["verify", "--from"]].map(|arguments| {
        let (code, out, error) = rear(arguments, &point);
        (code, out + &error)
    })
}

#[test]
fn every_kind_of_damage_is_named() {
    let says = |results: &[(i32, String); 3], codes: [i32; 3], words: &[&str]| {
        let found = [results[0].0, results[1].0, results[2].0];
        assert_eq!(found, codes, "{results:#?}");
        for word in words {
            assert!(results[2].1.contains(word), "{word}: {}", results[2].1);
        }
    };
    // A byte in the middle of a file of several parts, and one of the last part with its small files.
    let results = damaged(|point| change(&point.join("archive.tar.zst"), |bytes| bytes[5_000_000] ^= 1));
    says(&results, [0, 0, 4], &["/srv/large: its content lies in part", "is damaged"]);
    assert!(!results[2].1.contains("/etc/secret:"), "{}", results[2].1);
    let results = damaged(|point| change(&point.join("archive.tar.zst"), |bytes| bytes.truncate(6_000_000)));
    says(&results, [4, 4, 4], &["archive.tar.zst is truncated"]);
    let results = damaged(|point| std::fs::remove_file(point.join("boot.json")).unwrap());
    says(&results, [4, 4, 4], &["boot.json is missing"]);
    let results = damaged(|point| std::fs::write(point.join("stray"), "x").unwrap());
    says(&results, [0, 4, 4], &["stray is foreign"]);
    let results = damaged(|point| change(&point.join("manifest.zst"), |bytes| bytes[40] ^= 1));
    says(&results, [0, 0, 4], &["manifest.zst is damaged"]);
    let results = damaged(|point| change(&point.join("layout.json"), |bytes| bytes[99] ^= 1));
    says(&results, [0, 0, 4], &["layout.json is damaged"]);
    let results = damaged(|point| std::fs::remove_file(point.join("recovery-point.json")).unwrap());
    says(&results, [4, 4, 4], &["no seal"]);
    let results = damaged(|point| change(&point.join("recovery-point.json"), |bytes| bytes.truncate(99)));
    says(&results, [4, 4, 4], &["recovery-point.json is damaged"]);
    // The index at the end of the archive is what --quick looks at.
    let results = damaged(|point| {
        change(&point.join("archive.tar.zst"), |bytes| *bytes.iter_mut().rev().nth(30).unwrap() ^= 1);
    });
    says(&results, [0, 4, 4], &["archive.tar.zst is damaged"]);
    // A manifest that is whole, sealed, and of another archive.
    let results = damaged(|point| {
        let other = point.parent().unwrap().join("other");
        let made = Point::make(&other, &point.parent().unwrap().join("less"));
        std::fs::copy(other.join("manifest.zst"), point.join("manifest.zst")).unwrap();
        change(&point.join("recovery-point.json"), |bytes| {
            let mut seal: serde_json::Value = serde_json::from_slice(bytes).unwrap();
            for part in seal["parts"].as_array_mut().unwrap() {
                if part["name"] == "manifest.zst" {
                    *part = made.part("manifest.zst");
                }
            }
            *bytes = serde_json::to_vec(&seal).unwrap();
        });
    });
    assert_eq!(results[2].0, 4, "{}", results[2].1);
}

#[test]
fn a_recovery_point_inside_an_iso_is_read_without_a_mount() {
    let dir = tempfile::tempdir().unwrap();
    let point = dir.path().join("point");
    Point::make(&point, &dir.path().join("tree"));
    let Some(file) = iso(dir.path(), &point) else {
        eprintln!("SKIPPED: xorriso is not installed");
        return;
    };
    let (code, out, error) = rear(&["list", "--from"], &file);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert!(out.contains("complete"), "{out}");
    let (code, out, error) = rear(&["verify", "--from"], &file);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert!(out.contains("kernel, rescue system"), "{out}");
    let (code, out, _) = rear(&["list", "secret", "--from"], &file);
    assert!(code == 0 && out.contains("/etc/secret"), "{out}");

    let good = std::fs::read(&file).unwrap();
    let place = |name: &str| {
        let volume = medium::iso9660::Volume::open(&file).unwrap();
        volume.find(name).unwrap().unwrap().extents[0].0 as usize
    };
    let (archive, kernel) = (place("/backup/archive.tar.zst"), place("/boot/vmlinuz"));
    for (at, word) in [(archive + 5_000_000, "/srv/large"), (kernel + 5, "/boot/vmlinuz")] {
        change(&file, |bytes| bytes[at] ^= 1);
        let (code, out, error) = rear(&["verify", "--from"], &file);
        assert_eq!(code, 4, "{out}");
        assert!(error.contains(word), "{error}");
        std::fs::write(&file, &good).unwrap();
    }
    // A medium and a seal that do not belong together.
    let marker = good.windows(38).position(|bytes| bytes.starts_with(b".rear-0f0f")).unwrap();
    let id = place(&format!("/.rear-{}", "0f".repeat(16)));
    change(&file, |bytes| (bytes[marker + 6], bytes[id]) = (b'1', b'1'));
    let (code, out, _) = rear(&["list", "--from"], &file);
    assert!(code == 4 && out.contains("the medium belongs to recovery point 1f0f"), "{out}");
    std::fs::write(&file, &good).unwrap();

    change(&file, |bytes| bytes.truncate(archive + 1_000_000));
    for path in [dir.path(), &file] {
        for verb in ["list", "verify"] {
            let (code, out, error) = rear(&[verb, "--from"], path);
            assert_eq!(code, 4, "{out}{error}");
            assert!(out.contains("truncated"), "{out}");
        }
    }
}

#[test]
fn the_configured_destination_is_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("local.conf");
    let url = dir.path().join("store");
    std::fs::create_dir(dir.path().join("config")).unwrap();
    std::fs::write(
        &config,
        format!("BACKUP=NETFS\nBACKUP_URL=file://{}\nOUTPUT_PREFIX=web1\n", url.display()),
    )
    .unwrap();
    let run = |verb: &str| {
        let arguments = [verb, "-C", config.to_str().unwrap(), "-c"];
        rear(&arguments, &dir.path().join("config"))
    };
    assert_eq!((run("list").0, run("verify").0), (3, 3));
    Point::make(&url.join("web1/backup"), &dir.path().join("tree"));
    for verb in ["list", "verify"] {
        let (code, out, error) = run(verb);
        assert_eq!((code, error.as_str()), (0, ""), "{out}");
        assert!(out.contains("web1/backup"), "{out}");
    }
}
