//! Archives that GNU tar makes, in every form and compression, come back exactly; and hostile ones do no harm.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use backup::{Difference, Foreign, Restored, Stored, Wanted};

#[allow(dead_code, reason = "each test program uses its part")]
mod support;

use support::{Released, noise, options, torture};

/// Scans, restores what is wanted, compares.
struct Back {
    restored: Restored,
    differences: Vec<String>,
    scanned: backup::Scanned,
    target: PathBuf,
}

fn back(archive: &Path, work: &Path, wanted: &[&str]) -> Result<Back, backup::Error> {
    let target = work.join("target");
    support::release(&target);
    let _ = std::fs::remove_dir_all(&target);
    std::fs::create_dir(&target).unwrap();
    let (all, some) = (work.join("all"), work.join("some"));
    let foreign = Foreign::open(archive)?;
    let scanned = foreign.scan(&File::create(&all).unwrap(), &options(), &())?;
    let listed = Stored::open(&all).unwrap();
    let paths: Vec<PathBuf> = wanted.iter().map(PathBuf::from).collect();
    let picked = Wanted::new(&paths)?.find(&listed, &options())?;
    assert_eq!(picked.missing, []);
    picked.write(&listed, &File::create(&some).unwrap(), &options())?;
    let restored = foreign.restore(&some, &target, &[], &options(), &())?;
    let compared = backup::compare(&some, &target, &[], &options(), &())?;
    let differences = compared.differences.iter().map(|one| format!("{}: {}", one.path.display(), one.what));
    Ok(Back { restored, differences: differences.collect(), scanned, target })
}

fn tar(arguments: &[&str], archive: &Path, tree: &Path) -> bool {
    let made =
        Command::new("tar").args(arguments).arg("-cf").arg(archive).arg("-C").arg(tree).arg(".").output();
    match made {
        Ok(made) if made.status.success() => true,
        Ok(made) => {
            let message = String::from_utf8_lossy(&made.stderr);
            assert!(message.contains("Cannot exec"), "tar {arguments:?}: {message}");
            eprintln!("SKIPPED: tar {arguments:?}: {message}");
            false
        }
        Err(_) => {
            eprintln!("SKIPPED: tar is not installed");
            false
        }
    }
}

#[test]
fn every_format_of_gnu_tar_comes_back() {
    let work = tempfile::tempdir().unwrap();
    let (tree, target) = (work.path().join("tree"), work.path().join("target"));
    let _release = (Released(&tree), Released(&target));
    std::fs::create_dir(&tree).unwrap();
    torture(&tree);
    let archive = work.path().join("backup.tar.x");
    let one = work.path().join("one");
    std::fs::create_dir_all(&one).unwrap();
    support::create(&support::source(&tree), &one);
    let pax = ["--format=pax", "--xattrs", "--xattrs-include=*", "--acls", "--sparse"];
    let cases: Vec<Vec<&str>> = vec![
        pax.to_vec(),
        [&pax[..], &["--sparse-version=0.0"]].concat(),
        [&pax[..], &["--sparse-version=0.1"]].concat(),
        vec!["--format=gnu", "--sparse"],
        // Without --sparse, tar writes every zero of a terabyte.
        vec!["--format=gnu", "--exclude=./huge"],
    ];
    for case in cases {
        if !tar(&case, &archive, &tree) {
            continue;
        }
        let back = back(&archive, work.path(), &["/"]).unwrap();
        assert_eq!((&back.scanned.problems, &back.restored.problems), (&vec![], &vec![]), "{case:?}");
        assert_eq!(back.differences, [""; 0], "{case:?}");
        if case[0] == "--format=pax" {
            // The whole tree, compared by a manifest of its own.
            let compared =
                backup::compare(&one.join("a.manifest"), &back.target, &[], &options(), &()).unwrap();
            // tar keeps no inode flags, and makes two pipes of one with two names.
            let kept = |one: &&Difference| !one.what.contains("flags") && one.path != Path::new("/fifo2");
            let lost: Vec<_> = compared.differences.iter().filter(kept).collect();
            assert!(lost.is_empty(), "{case:?} {lost:?}");
        }
    }
}

#[test]
fn every_compression_that_tar_uses_is_read() {
    let work = tempfile::tempdir().unwrap();
    let tree = work.path().join("tree");
    std::fs::create_dir_all(tree.join("srv")).unwrap();
    std::fs::write(tree.join("srv/noise"), noise(1_500_000, 1)).unwrap();
    std::fs::write(tree.join("srv/text"), "all work and no play\n".repeat(5000)).unwrap();
    let archive = work.path().join("backup.tar.x");
    for compression in ["--gzip", "--xz", "--bzip2", "--zstd", "-Ilz4", "-Ipigz"] {
        if !tar(&["--format=pax", compression], &archive, &tree) {
            continue;
        }
        let back = back(&archive, work.path(), &["/"]).unwrap();
        assert_eq!((back.scanned.problems, back.restored.problems), (vec![], vec![]), "{compression}");
        assert_eq!(back.differences, [""; 0], "{compression}");
        assert!(
            std::fs::read(back.target.join("srv/noise")).unwrap() == noise(1_500_000, 1),
            "{compression}"
        );
    }
}

#[test]
fn volumes_and_old_forms_and_parts() {
    let work = tempfile::tempdir().unwrap();
    let tree = work.path().join("tree");
    std::fs::create_dir_all(tree.join("etc/x")).unwrap();
    std::fs::create_dir_all(tree.join("srv")).unwrap();
    std::fs::write(tree.join("etc/x/file"), noise(300_000, 1)).unwrap();
    std::fs::write(tree.join("srv/first"), "content").unwrap();
    std::fs::hard_link(tree.join("srv/first"), tree.join("srv/second")).unwrap();
    std::fs::set_permissions(tree.join("etc/x"), std::fs::Permissions::from_mode(0o700)).unwrap();
    let whole = work.path().join("backup.tar.gz");
    for format in ["--format=ustar", "--format=v7", "--format=oldgnu"] {
        if !tar(&["--gzip", format], &whole, &tree) {
            return;
        }
        let back = back(&whole, work.path(), &["/"]).unwrap();
        assert_eq!((back.restored.problems, back.differences), (vec![], vec![]), "{format}");
    }
    let bytes = std::fs::read(&whole).unwrap();
    for (number, piece) in bytes.chunks(100_000).enumerate() {
        std::fs::write(work.path().join(format!("backup.tar.gz.{number:02}")), piece).unwrap();
    }
    std::fs::remove_file(&whole).unwrap();
    // A part: the directories above it, and the content of a link whose first name is not part of it.
    let back = back(&whole, work.path(), &["/srv/second", "/etc/x"]).unwrap();
    assert_eq!((&back.restored.problems, &back.differences), (&vec![], &vec![]));
    assert_eq!(std::fs::read(back.target.join("srv/second")).unwrap(), b"content");
    assert!(!back.target.join("srv/first").exists());
    assert_eq!(std::fs::metadata(back.target.join("etc/x")).unwrap().mode() & 0o7777, 0o700);
    // A volume that is missing or short.
    std::fs::write(work.path().join("backup.tar.gz.02"), &bytes[200_000..250_000]).unwrap();
    for at in 3..10 {
        let _ = std::fs::remove_file(work.path().join(format!("backup.tar.gz.{at:02}")));
    }
    let why = self::back(&whole, work.path(), &["/"]).err().unwrap().to_string();
    assert!(why.contains("cannot be used") && why.contains("byte"), "{why}");
}

#[test]
fn names_in_acls_are_those_of_the_archive() {
    let work = tempfile::tempdir().unwrap();
    let tree = work.path().join("tree");
    std::fs::create_dir_all(tree.join("etc")).unwrap();
    std::fs::create_dir_all(tree.join("a")).unwrap();
    std::fs::write(tree.join("a/file"), "x").unwrap();
    std::fs::write(tree.join("etc/passwd"), "root:x:0:0::/:/bin/sh\ngames:x:4242:0::/:/bin/sh\n").unwrap();
    std::fs::write(tree.join("etc/group"), "root:x:0:\n").unwrap();
    let set = Command::new("setfacl").args(["-m", "u:games:rwx"]).arg(tree.join("a/file")).status();
    if !set.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: setfacl is not installed, or there are no ACLs here");
        return;
    }
    let archive = work.path().join("backup.tar");
    if !tar(&["--acls", "--format=pax"], &archive, &tree) {
        return;
    }
    let back = back(&archive, work.path(), &["/"]).unwrap();
    assert_eq!((back.restored.problems, back.differences), (vec![], vec![]));
    let mut value = [0; 100];
    let got =
        rustix::fs::getxattr(back.target.join("a/file"), "system.posix_acl_access", &mut value).unwrap();
    let ids = value[4..got]
        .as_chunks::<8>()
        .0
        .iter()
        .map(|entry| u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]));
    assert!(ids.collect::<Vec<_>>().contains(&4242));
}

/// A member, by hand.
fn member(out: &mut Vec<u8>, name: &[u8], flag: u8, link: &[u8], data: &[u8]) {
    let mut block = [0_u8; 512];
    block[..name.len()].copy_from_slice(name);
    block[100..107].copy_from_slice(b"0000644");
    block[108..115].copy_from_slice(format!("{:07o}", rustix::process::getuid().as_raw()).as_bytes());
    block[116..123].copy_from_slice(format!("{:07o}", rustix::process::getgid().as_raw()).as_bytes());
    block[124..135].copy_from_slice(format!("{:011o}", data.len()).as_bytes());
    block[136..147].copy_from_slice(b"00000000001");
    block[156] = flag;
    block[157..157 + link.len()].copy_from_slice(link);
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    out.extend(block);
    out.extend(data);
    out.resize(out.len().next_multiple_of(512), 0);
}

#[test]
fn nothing_leads_out_of_the_target() {
    let work = tempfile::tempdir().unwrap();
    let outside = work.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("kept"), "kept").unwrap();
    let mut tar = Vec::new();
    member(&mut tar, b"../outside/up", b'0', b"", b"evil");
    member(&mut tar, outside.join("absolute").as_os_str().as_encoded_bytes(), b'0', b"", b"good");
    member(&mut tar, b"way", b'2', outside.as_os_str().as_encoded_bytes(), b"");
    member(&mut tar, b"way/through", b'0', b"", b"evil");
    member(&mut tar, b"way2", b'2', b"../outside", b"");
    member(&mut tar, b"way2/kept", b'0', b"", b"evil");
    member(&mut tar, b"hard", b'1', b"../outside/kept", b"");
    member(&mut tar, b"hard2", b'1', b"way/kept", b"");
    member(&mut tar, b"twice", b'0', b"", b"one");
    member(&mut tar, b"twice", b'0', b"", b"two");
    member(&mut tar, b"deep/er/file", b'0', b"", b"deep");
    tar.extend([0; 1024]);
    let archive = work.path().join("evil.tar");
    File::create(&archive).unwrap().write_all(&tar).unwrap();
    let back = back(&archive, work.path(), &["/deep", "/twice", "/way", "/way2", "/hard2"]).unwrap();
    let names: Vec<_> =
        std::fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["kept"]);
    assert_eq!(std::fs::read(outside.join("kept")).unwrap(), b"kept");
    assert_eq!(std::fs::metadata(outside.join("kept")).unwrap().nlink(), 1);
    assert_eq!(std::fs::read(back.target.join("twice")).unwrap(), b"two");
    assert_eq!(std::fs::read(back.target.join("deep/er/file")).unwrap(), b"deep");
    // Told while it was read, or while it was restored.
    assert_eq!(back.scanned.problems.len(), 2, "{:?}", back.scanned.problems);
    let failed: Vec<_> = back.restored.problems.iter().map(|one| one.path.to_str().unwrap()).collect();
    assert_eq!(failed, ["/hard2", "/way/through", "/way2/kept"]);
    // What has the path of the machine's root lies below the target too.
    let inside = back.target.join(outside.strip_prefix("/").unwrap());
    let all = self::back(&archive, work.path(), &["/"]).unwrap();
    assert_eq!(std::fs::read(inside.join("absolute")).unwrap(), b"good");
    assert!(all.restored.problems.len() == 3 && !inside.join("kept").exists());
}

#[test]
fn a_cut_or_changed_archive_is_refused_before_anything_is_written() {
    let work = tempfile::tempdir().unwrap();
    let mut tar = Vec::new();
    member(&mut tar, b"file", b'0', b"", &noise(3000, 5));
    member(&mut tar, b"other", b'0', b"", b"x");
    tar.extend([0; 1024]);
    let archive = work.path().join("a.tar");
    for end in [512, 1000, 3584, 4096, 4608, tar.len() - 1024] {
        std::fs::write(&archive, &tar[..end]).unwrap();
        let why = back(&archive, work.path(), &["/"]).err().unwrap().to_string();
        assert!(why.contains("cut off"), "{end}: {why}");
        assert_eq!(std::fs::read_dir(work.path().join("target")).unwrap().count(), 0);
    }
    // A compressed one, damaged in the middle.
    std::fs::write(&archive, &tar).unwrap();
    let packed = work.path().join("a.tar.gz");
    let gzip = Command::new("gzip").arg("-c").arg(&archive).output().unwrap();
    let mut bytes = gzip.stdout;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    std::fs::write(&packed, &bytes).unwrap();
    assert!(back(&packed, work.path(), &["/"]).is_err());
}

/// A pax header with one record, for the next member (`x`) or for all that follow (`g`).
fn record(out: &mut Vec<u8>, flag: u8, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    let text = [format!("{length} {key}=").as_bytes(), value, b"\n"].concat();
    member(out, b"header", flag, b"", &text);
}

#[test]
fn paths_deeper_than_the_stack_come_back_and_those_without_end_are_named() {
    let work = tempfile::tempdir().unwrap();
    let archive = work.path().join("deep.tar");
    let deep = [&b"d/".repeat(2000)[..], b"file"].concat();
    let mut bytes = Vec::new();
    record(&mut bytes, b'x', "path", &deep);
    member(&mut bytes, b"x", b'0', b"", b"content");
    record(&mut bytes, b'x', "path", &b"e/".repeat(500_000));
    member(&mut bytes, b"x", b'0', b"", b"content");
    record(&mut bytes, b'x', "linkpath", &b"f".repeat(500_000));
    member(&mut bytes, b"link", b'2', b"", b"");
    bytes.extend([0; 1024]);
    std::fs::write(&archive, bytes).unwrap();
    let scan = || {
        let manifest = work.path().join("all");
        let foreign = Foreign::open(&archive).unwrap();
        let scanned = foreign.scan(&File::create(&manifest).unwrap(), &options(), &()).unwrap();
        assert_eq!((scanned.totals.files, scanned.problems.len()), (2001, 2));
        assert!(scanned.problems.iter().all(|one| one.detail.contains("longer than any")));
        // Without its directories, which are made all the same.
        let lines = zstd::decode_all(File::open(&manifest).unwrap()).unwrap();
        let file = lines.split(|byte| *byte == b'\n').rev().nth(2).unwrap();
        let alone = [b"{\"v\":1}\n", file, b"\n{\"end\":{\"files\":1,\"bytes\":7}}\n"].concat();
        std::fs::write(&manifest, zstd::encode_all(&alone[..], 1).unwrap()).unwrap();
        let target = work.path().join("target");
        std::fs::create_dir(&target).unwrap();
        let restored = foreign.restore(&manifest, &target, &[], &options(), &()).unwrap();
        assert_eq!((restored.files, restored.problems), (1, Vec::new()));
        let compared = backup::compare(&manifest, &target, &[], &options(), &()).unwrap();
        assert_eq!(compared.differences, []);
    };
    // Enough for a loop, and not for a call inside of a call for each of these directories.
    let thread = std::thread::Builder::new().stack_size(512 << 10);
    std::thread::scope(|scope| thread.spawn_scoped(scope, scan).unwrap().join()).unwrap();
    let removed = Command::new("rm").arg("-rf").arg(work.path().join("target")).status().unwrap();
    assert!(removed.success());
}

#[test]
fn headers_for_all_members_do_not_pile_up() {
    let work = tempfile::tempdir().unwrap();
    let archive = work.path().join("global.tar");
    let made = |count: usize| {
        let mut bytes = Vec::new();
        for number in 0..count {
            record(&mut bytes, b'g', &format!("comment{number}"), &vec![b'x'; 300_000]);
        }
        member(&mut bytes, b"file", b'0', b"", b"content");
        bytes.extend([0; 1024]);
        std::fs::write(&archive, bytes).unwrap();
        Foreign::open(&archive).unwrap().list(&options(), &mut |_| Ok(()))
    };
    made(3).unwrap();
    assert!(made(4).unwrap_err().to_string().contains("too long"));
}
