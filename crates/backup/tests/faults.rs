//! A writer that is killed, and a source that cannot be read: what was there before stays whole, what is not whole is not
//! taken for it, and what is missing has a name.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[allow(dead_code, reason = "each test program uses its part")]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use backup::{Created, Error, ProblemKind, Stored};
use support::place::{filesystem, is_possible, run};
use support::{create, noise, options, order, source};

/// Tells the child where it works.
const PLACE: &str = "REAR_TEST_KILLED";

/// The child: archives `tree` into a working directory of its own in `destination`, and says so when all is there.
#[test]
fn child_process() {
    let Some(place) = std::env::var_os(PLACE) else { return };
    let place = Path::new(&place);
    let mut staging = sys::fs::Staging::create(&place.join("destination")).unwrap();
    let made = create(&source(&place.join("tree")), staging.path());
    staging.keep();
    std::fs::write(staging.path().join("made"), serde_json::to_vec(&made).unwrap()).unwrap();
}

/// What a directory holds, proven as before a recovery.
fn proven(dir: &Path, made: &Created) -> Result<u64, Error> {
    let archive = Stored::open(&dir.join("a.tar.zst"))?;
    backup::verify(&archive, made.archive_bytes, &made.archive_blake3, &options(), &())?;
    Ok(backup::totals(&dir.join("a.manifest"))?.files)
}

#[test]
fn a_killed_writer_harms_nothing_and_leaves_nothing_that_passes() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, destination) = (dir.path().join("tree"), dir.path().join("destination"));
    let point = destination.join("point");
    std::fs::create_dir_all(&point).unwrap();
    std::fs::create_dir_all(tree.join("many")).unwrap();
    for index in 0..300 {
        std::fs::write(tree.join(format!("many/{index}")), noise(20_000 + index, index as u64)).unwrap();
    }
    std::fs::write(tree.join("large"), noise(60_000_000, 1)).unwrap();
    let made = create(&source(&tree), &point);
    let files = proven(&point, &made).unwrap();
    let begin = || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_process", "--test-threads", "1"])
            .env(PLACE, dir.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    let leftovers = || -> Vec<PathBuf> {
        let names = std::fs::read_dir(&destination).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| *path != point).collect()
    };
    // A whole run says how long the others may take.
    let started = std::time::Instant::now();
    assert!(begin().wait().unwrap().success());
    let whole = started.elapsed();
    let [left] = &*leftovers() else { panic!("{:?}", leftovers()) };
    assert_eq!(proven(left, &made).unwrap(), files);
    sys::fs::remove_tree(left).unwrap();
    let (mut state, mut cut) = (
        sys::info::random_id()
            .unwrap()
            .bytes()
            .fold(7_u64, |sum, byte| sum * 31 % 1_000_003 + u64::from(byte)),
        0,
    );
    for _ in 0..20 {
        let mut child = begin();
        state = state * 48_271 % 0x7FFF_FFFF;
        std::thread::sleep(
            whole.mul_f64(state as f64 / f64::from(0x7FFF_FFFF)).max(Duration::from_millis(1)),
        );
        child.kill().unwrap();
        let killed = !child.wait().unwrap().success();
        // The recovery point of before.
        assert_eq!(proven(&point, &made).unwrap(), files);
        for left in leftovers() {
            // Its name is the one by which the next run knows and removes it.
            let name = left.file_name().unwrap().to_str().unwrap().to_owned();
            assert!(name.strip_prefix("rear.").is_some_and(|rest| rest.len() == 12), "{name}");
            if !left.join("made").exists() {
                assert!(killed);
                cut += usize::from(left.join("a.tar.zst").exists());
                // The last thing that a writer does is to end the manifest: before that, no two files pass together.
                if let Ok(count) = proven(&left, &made) {
                    assert_eq!(count, files);
                }
            }
            sys::fs::remove_tree(&left).unwrap();
        }
    }
    assert!(cut > 0, "no run was killed while it wrote: this proved nothing");
    assert!(begin().wait().unwrap().success());
    assert_eq!(proven(&leftovers()[0], &made).unwrap(), files);
}

#[test]
fn what_the_disk_does_not_give_is_named_and_the_rest_is_whole() {
    if !is_possible("a disk with errors", &["mkfs.ext4", "losetup"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // One block group: what describes the files lies at the beginning, their content behind.
    let mount = filesystem(dir.path(), "tree", "ext4", 100, &["-b", "4096", "-O", "^has_journal"]);
    let tree = mount.target();
    std::fs::write(tree.join("first"), noise(100_000, 1)).unwrap();
    std::fs::write(tree.join("a-large"), noise(60_000_000, 2)).unwrap();
    std::fs::write(tree.join("sub"), noise(50_000, 3)).unwrap();
    let before = std::fs::read(tree.join("first")).unwrap();
    run("umount", &[tree.to_str().unwrap()]);
    let image = dir.path().join("tree.img");
    run("mount", &["-o", "loop,ro", "-t", "ext4", image.to_str().unwrap(), tree.to_str().unwrap()]);
    // The second half of the disk is gone.
    std::fs::OpenOptions::new().write(true).open(&image).unwrap().set_len(40 << 20).unwrap();
    assert!(std::fs::read(tree.join("a-large")).is_err(), "this kernel reads what is not there");
    let made = create(&source(tree), dir.path());
    let bad: Vec<_> =
        made.problems.iter().filter(|problem| problem.kind == ProblemKind::Unreadable).collect();
    let named: Vec<_> = bad.iter().map(|problem| problem.path.to_str().unwrap()).collect();
    assert!(named.contains(&"/a-large") && !named.contains(&"/first"), "{bad:?}");
    assert!(bad.iter().any(|problem| problem.detail.contains("bytes could be read")), "{bad:?}");
    // The archive is whole in itself: what was read comes back.
    let target = dir.path().join("target");
    std::fs::create_dir(&target).unwrap();
    let (archive, manifest) =
        (Stored::open(&dir.path().join("a.tar.zst")).unwrap(), dir.path().join("a.manifest"));
    let restored = backup::restore(&order(&archive, &manifest, &target), &options(), &()).unwrap();
    assert_eq!(restored.problems, []);
    assert_eq!(backup::compare(&manifest, &target, &[], &options(), &()).unwrap().differences, []);
    assert!(std::fs::read(target.join("first")).unwrap() == before);
}
