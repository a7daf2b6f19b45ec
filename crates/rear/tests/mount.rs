//! `rear mount` from outside: what is seen is what was backed up, damage is an error, and the mount goes away again.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

#[path = "support/mounted.rs"]
mod mounted;
mod support;

use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;

use mounted::{Mounted, facts, is_mounted, plant_more, skipped, xattrs};
use rustix::fs::{Mode, OFlags, SeekFrom};
use support::{Point, change, iso, noise, rear};

#[test]
fn what_is_seen_is_what_was_backed_up() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (tree, point, at) = (dir.path().join("tree"), dir.path().join("point"), dir.path().join("at"));
    plant_more(&tree);
    Point::make(&point, &tree);
    // The support's own files are only made where there is no tree.
    let other = dir.path().join("other");
    Point::make(&dir.path().join("second"), &other);
    for (tree, point) in [(&tree, point), (&other, dir.path().join("second"))] {
        let mut mounted = Mounted::new(&point, &at);
        assert!(mounted.said.contains("of web1, made 2026-01-02T03:04:00Z, is mounted read-only"));
        assert_eq!(facts(tree), facts(&at));
        let excluded = ["--exclude=pipe", "--exclude=console", "--exclude=disk"];
        let mut diff = Command::new("diff");
        let same = diff.args(["-r", "--no-dereference"]).args(excluded).arg(tree).arg(&at).output().unwrap();
        assert!(same.status.success(), "{same:?}");
        assert_eq!(mounted.unmount(), (0, String::new()));
    }
    let mut mounted = Mounted::new(&dir.path().join("point"), &at);
    for name in ["more/program", "more/old", "more", "more/pipe"] {
        assert_eq!(xattrs(&tree.join(name)), xattrs(&at.join(name)), "{name}");
    }
    assert_eq!(xattrs(&at.join("more/program")).len(), 4);
    for name in ["more/console", "more/disk"] {
        let device = |dir: &Path| std::fs::symlink_metadata(dir.join(name)).unwrap().rdev();
        assert_eq!(device(&tree), device(&at), "{name}");
    }
    // Flags of the filesystem's own (such as that it uses extents) are not archived.
    let flags =
        |dir: &Path| rustix::fs::ioctl_getflags(std::fs::File::open(dir.join("more/program")).unwrap());
    if let Ok(flags_then) = flags(&tree) {
        assert_eq!(
            flags(&at).unwrap(),
            flags_then & (rustix::fs::IFlags::NODUMP | rustix::fs::IFlags::NOATIME)
        );
    }
    assert!(std::fs::metadata(at.join("more/sparse")).unwrap().blocks() * 512 < 7_000_000);
    // The holes are where they were.
    let sparse = std::fs::File::open(at.join("more/sparse")).unwrap();
    let seek = |to| rustix::fs::seek(&sparse, to).unwrap();
    assert_eq!(seek(SeekFrom::Data(0)), 8_000_000 / 4096 * 4096);
    let hole = seek(SeekFrom::Hole(8_000_000));
    assert!((14_000_000..15_000_000).contains(&hole), "{hole}");
    assert_eq!(rustix::fs::seek(&sparse, SeekFrom::Data(30_100_000)), Err(rustix::io::Errno::NXIO));
    drop(sparse);
    // Nothing changes it, runs from it, or opens a device of it.
    let denied = |result: std::io::Result<()>| result.unwrap_err().raw_os_error().unwrap();
    let read_only = rustix::io::Errno::ROFS.raw_os_error();
    assert_eq!(denied(std::fs::write(at.join("new"), "x")), read_only);
    assert_eq!(denied(std::fs::remove_file(at.join("more/old"))), read_only);
    let not_permitted = rustix::io::Errno::ACCESS.raw_os_error();
    assert_eq!(denied(Command::new(at.join("more/program")).status().map(|_| ())), not_permitted);
    assert_eq!(denied(std::fs::File::open(at.join("more/disk")).map(|_| ())), not_permitted);
    assert_eq!(mounted.unmount(), (0, String::new()));
}

#[test]
fn any_stretch_of_a_file_can_be_read_by_several_at_once() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (tree, point, at) = (dir.path().join("tree"), dir.path().join("point"), dir.path().join("at"));
    plant_more(&tree);
    std::fs::write(tree.join("large"), noise(20_000_000, 4)).unwrap();
    Point::make(&point, &tree);
    let mut mounted = Mounted::new(&point, &at);
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (tree, at) = (&tree, &at);
            scope.spawn(move || {
                let places = noise(16 * 60, 100 + thread);
                for (index, place) in places.as_chunks::<16>().0.iter().enumerate() {
                    let name = if index % 2 == 0 { "large" } else { "more/sparse" };
                    // Past the page cache in every second pair, so that each stretch is asked of us.
                    let direct = if index % 4 < 2 { OFlags::DIRECT } else { OFlags::empty() };
                    let number = |at: usize| u64::from_le_bytes(place[at..at + 8].try_into().unwrap());
                    let was = std::fs::File::open(tree.join(name)).unwrap();
                    let size = was.metadata().unwrap().len();
                    let (from, length) =
                        (number(0) % (size + 10), usize::try_from(number(8) % 700_000).unwrap());
                    let flags = OFlags::RDONLY | direct;
                    let is = rustix::fs::open(at.join(name), flags, Mode::empty()).unwrap();
                    let is = std::fs::File::from(is);
                    let read = |file: &std::fs::File| {
                        let mut bytes = vec![0; length];
                        let mut got = 0;
                        while got < length {
                            let now = file.read_at(&mut bytes[got..], from + got as u64).unwrap();
                            if now == 0 {
                                break;
                            }
                            got += now;
                        }
                        bytes.truncate(got);
                        bytes
                    };
                    assert!(read(&was) == read(&is), "{name}: {length} bytes from {from}");
                }
            });
        }
    });
    assert_eq!(mounted.unmount(), (0, String::new()));
}

#[test]
fn damage_is_an_error_for_the_file_that_it_hits_and_for_no_other() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (tree, point, at) = (dir.path().join("tree"), dir.path().join("point"), dir.path().join("at"));
    Point::make(&point, &tree);
    change(&point.join("archive.tar.zst"), |bytes| bytes[5_000_000] ^= 1);
    let mut mounted = Mounted::new(&point, &at);
    let error = std::fs::read(at.join("srv/large")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
    // What of it lies in whole parts is had.
    let mut start = vec![0; 4096];
    std::fs::File::open(at.join("srv/large")).unwrap().read_exact_at(&mut start, 0).unwrap();
    assert_eq!(start, std::fs::read(tree.join("srv/large")).unwrap()[..4096]);
    assert_eq!(std::fs::read(at.join("etc/secret")).unwrap(), b"secret");
    assert_eq!(std::fs::read(at.join("etc/deep/er/file")).unwrap(), noise(3000, 1));
    let (code, error) = mounted.unmount();
    assert_eq!(code, 4, "{error}");
    assert!(error.contains("/srv/large cannot be read") && error.contains("is damaged"), "{error}");
    assert!(!error.contains("/etc"), "{error}");

    // Damage of what leads to the files is found before anything is shown.
    for name in ["manifest.zst", "archive.tar.zst"] {
        let bad = dir.path().join(format!("bad-{name}"));
        Point::make(&bad, &tree);
        change(&bad.join(name), |bytes| *bytes.iter_mut().rev().nth(20).unwrap() ^= 1);
        let (code, _, error) = rear(&["mount", at.to_str().unwrap(), "--from"], &bad);
        assert_eq!(code, 3, "{error}");
        assert!(error.contains("damaged") && !is_mounted(&at), "{error}");
    }
}

#[test]
fn several_points_are_shown_by_host_and_date_and_one_of_an_iso_as_itself() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (tree, all, at) = (dir.path().join("tree"), dir.path().join("all"), dir.path().join("at"));
    for (name, host, created) in [
        ("a", "web1", "1767323040"),
        ("b", "web1", "1767409440"),
        ("c", "db/1", "1767323040"),
        ("d", "web1", "1767323040"),
    ] {
        let point = all.join(name);
        Point::make(&point, &tree);
        change(&point.join("recovery-point.json"), |bytes| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            *bytes = text.replace("web1", host).replace("1767323040", created).into_bytes();
        });
    }
    // One that is broken is named and not shown; another turns out to be broken only when it is looked at.
    Point::make(&all.join("e"), &tree);
    change(&all.join("e/archive.tar.zst"), |bytes| bytes.truncate(5_000_000));
    change(&all.join("b/manifest.zst"), |bytes| bytes[30] ^= 1);
    let mut mounted = Mounted::new(&all, &at);
    let names = |path: &Path| {
        let entries = std::fs::read_dir(path).unwrap();
        let mut names: Vec<_> = entries.map(|one| one.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&at), ["db%2F1", "web1"]);
    let dates = ["2026-01-02T03:04:00Z", "2026-01-02T03:04:00Z-2", "2026-01-03T03:04:00Z"];
    assert_eq!(names(&at.join("web1")), dates);
    for path in ["web1/2026-01-02T03:04:00Z", "web1/2026-01-02T03:04:00Z-2", "db%2F1/2026-01-02T03:04:00Z"] {
        assert_eq!(facts(&tree), facts(&at.join(path)), "{path}");
        assert!(mounted.said.contains(path), "{}", mounted.said);
    }
    assert!(std::fs::metadata(at.join("web1").join(dates[2])).is_err());
    let inode = |path: &str| std::fs::metadata(at.join(path)).unwrap().ino();
    let second = "web1/2026-01-02T03:04:00Z-2/etc/secret";
    assert_ne!(inode("web1/2026-01-02T03:04:00Z/etc/secret"), inode(second));
    assert_eq!(inode(second), inode("web1/2026-01-02T03:04:00Z-2/links/third"));
    let (code, error) = mounted.unmount();
    assert_eq!(code, 4, "{error}");
    assert!(error.contains("is not shown") && error.contains("truncated"), "{error}");
    assert!(error.contains("web1/2026-01-03T03:04:00Z") && error.contains("manifest"), "{error}");

    let Some(iso) = iso(dir.path(), &all.join("a")) else { return };
    let mut mounted = Mounted::new(&iso, &at);
    assert_eq!(facts(&tree), facts(&at));
    assert_eq!(mounted.unmount(), (0, String::new()));
}

#[test]
fn it_ends_cleanly_in_use_or_not_and_when_it_is_killed() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (tree, point, at) = (dir.path().join("tree"), dir.path().join("point"), dir.path().join("at"));
    Point::make(&point, &tree);
    let mut mounted = Mounted::new(&point, &at);
    let held = std::fs::File::open(at.join("srv/large")).unwrap();
    let (code, _, error) = rear(&["mount", "--unmount"], &at);
    assert_eq!(code, 3, "{error}");
    assert!(error.contains("busy") && error.contains("still mounted"), "{error}");
    // It goes on as before.
    let mut bytes = [0; 100];
    held.read_exact_at(&mut bytes, 8_000_000).unwrap();
    assert_eq!(bytes, noise(9_000_000, 2)[8_000_000..8_000_100]);
    let (code, _, error) = rear(&["mount", "--from", point.to_str().unwrap()], &at);
    assert!(code == 3 && error.contains("mounted already"), "{code} {error}");
    drop(held);
    assert_eq!(mounted.unmount(), (0, String::new()));

    // Stopped when nobody uses it, and when somebody does.
    let mut mounted = Mounted::new(&point, &at);
    mounted.signal(rustix::process::Signal::INT);
    assert_eq!(mounted.end(), (0, String::new()));
    assert!(!is_mounted(&at));
    let mut mounted = Mounted::new(&point, &at);
    let held = std::fs::File::open(at.join("srv/large")).unwrap();
    mounted.signal(rustix::process::Signal::TERM);
    let (code, error) = mounted.end();
    assert!(code == 130 && error.contains("was in use"), "{code} {error}");
    assert!(!is_mounted(&at));
    assert!(held.read_at(&mut bytes, 4_000_000).is_err());
    drop(held);

    // What a killed run leaves is taken away; nothing else is.
    let mut mounted = Mounted::new(&point, &at);
    mounted.child.kill().unwrap();
    mounted.child.wait().unwrap();
    assert!(is_mounted(&at) && std::fs::metadata(&at).is_err());
    let (code, _, error) = rear(&["mount", "--unmount"], &at);
    assert_eq!((code, error.as_str()), (0, ""));
    assert!(!is_mounted(&at));
    for other in [at.as_path(), Path::new("/proc"), Path::new("/")] {
        let (code, _, error) = rear(&["mount", "--unmount"], other);
        assert!(code == 3 && error.contains("is no mount of recovery points"), "{code} {error}");
    }
}

#[test]
fn only_an_empty_directory_is_mounted_on_and_only_a_point_with_files() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (tree, point) = (dir.path().join("tree"), dir.path().join("point"));
    Point::make(&point, &tree);
    let (empty, file) = (dir.path().join("empty"), dir.path().join("file"));
    std::fs::create_dir(&empty).unwrap();
    std::fs::write(&file, "x").unwrap();
    for (at, from, why) in [
        (&tree, &point, "is not empty"),
        (&file, &point, "is no directory"),
        (&dir.path().join("none"), &point, "No such file"),
        (&empty, &empty, "there is no recovery point"),
    ] {
        let (code, out, error) = rear(&["mount", at.to_str().unwrap(), "--from"], from);
        assert_eq!(code, 3, "{out}{error}");
        assert!(error.contains(why), "{error}");
        assert!(!is_mounted(at));
    }
}
