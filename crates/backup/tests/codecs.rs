//! Every compression: written in parallel, read back in parallel and in part, and read by the programs that everybody has.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use backup::{Codec, Options, Stored, Wanted};

#[allow(dead_code, reason = "each test program uses its part")]
mod support;

use support::{noise, order, source};

const ALL: [Codec; 6] = [Codec::Zstd, Codec::Gzip, Codec::Xz, Codec::Bzip2, Codec::Lz4, Codec::None];

fn options(codec: Codec) -> Options {
    Options { codec, level: 1, ..support::options() }
}

/// How GNU tar is told; it knows the others by their first bytes.
fn tar(codec: Codec) -> Command {
    let mut tar = Command::new("tar");
    match codec {
        Codec::Zstd => tar.arg("--zstd"),
        Codec::Lz4 => tar.args(["-I", "lz4"]),
        _ => &mut tar,
    };
    tar
}

fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

#[test]
fn every_compression_comes_back_whole_in_part_and_by_tar() {
    let work = tempfile::tempdir().unwrap();
    let tree = work.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    plant(&tree);
    for codec in ALL {
        let dir = work.path().join(format!("{codec:?}"));
        let path = dir.join(format!("a.tar{}", codec.suffix()));
        let (manifest, all, part) = (dir.join("m"), dir.join("all"), dir.join("part"));
        [&dir, &all, &part].iter().for_each(|dir| std::fs::create_dir(dir).unwrap());
        let options = options(codec);
        let (archive, list) = (File::create(&path).unwrap(), File::create(&manifest).unwrap());
        let made = backup::create(&source(&tree), &archive, &list, &options, &()).unwrap();
        assert!(made.frames >= 3);
        let stored = Stored::open(&path).unwrap();
        assert_eq!(stored.len(), made.archive_bytes);
        backup::verify(&stored, made.archive_bytes, &made.archive_blake3, &options, &()).unwrap();

        let listed = Stored::open(&manifest).unwrap();
        let proof =
            backup::prove(&stored, &listed, made.archive_bytes, &made.archive_blake3, &options, &()).unwrap();
        assert_eq!(
            (proof.findings, proof.files, proof.bytes),
            (vec![], made.files, made.data_bytes),
            "{codec:?}"
        );

        let restored = backup::restore(&order(&stored, &manifest, &all), &options, &()).unwrap();
        let compared = backup::compare(&manifest, &all, &[], &options, &()).unwrap();
        assert_eq!((restored.problems, compared.differences), (vec![], vec![]), "{codec:?}");

        let picked = Wanted::new(&[PathBuf::from("/etc")]).unwrap().find(&listed, &options).unwrap();
        let selected = dir.join("selected");
        picked.write(&listed, &File::create(&selected).unwrap(), &options).unwrap();
        let sealed = Some((made.archive_bytes, made.archive_blake3.as_str()));
        let some = backup::Restore { sealed, ..order(&stored, &selected, &part) };
        assert_eq!(backup::restore(&some, &options, &()).unwrap().problems, []);
        assert!(part.join("etc/size65537").exists() && !part.join("big").exists());

        damage_is_named(&path, &made, &options);
        if read_by_tar(codec, &path, &tree) {
            eprintln!("{codec:?}: read by GNU tar");
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}

/// Files that fill several parts of an archive, and small ones of many lengths.
fn plant(tree: &Path) {
    std::fs::create_dir_all(tree.join("etc/deep")).unwrap();
    std::fs::write(tree.join("etc/fstab"), b"UUID=1 / ext4 defaults 0 1\n").unwrap();
    for size in [0, 1, 511, 512, 513, 65_537] {
        std::fs::write(tree.join(format!("etc/size{size}")), noise(size, 1)).unwrap();
    }
    std::fs::write(tree.join("etc/deep/file39"), noise(39_000, 2)).unwrap();
    std::fs::write(tree.join("big"), noise(5_000_003, 3)).unwrap();
    std::fs::write(tree.join("text"), b"all work and no play\n".repeat(10_000)).unwrap();
    std::fs::hard_link(tree.join("text"), tree.join("etc/text")).unwrap();
    std::os::unix::fs::symlink("etc/fstab", tree.join("link")).unwrap();
    File::create(tree.join("hole")).unwrap().set_len(50_000_000).unwrap();
}

/// One bit in the second part of the archive.
fn damage_is_named(path: &Path, made: &backup::Created, options: &Options) {
    use std::os::unix::fs::FileExt;
    let file = File::options().read(true).write(true).open(path).unwrap();
    let (mut byte, at) = ([0], made.archive_bytes / 2);
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at).unwrap();
    let stored = Stored::open(path).unwrap();
    let why = backup::verify(&stored, made.archive_bytes, &made.archive_blake3, options, &()).unwrap_err();
    assert!(why.to_string().contains("part "), "{why}");
    file.write_all_at(&byte, at).unwrap();
}

/// Lists, and compares with the tree.
fn read_by_tar(codec: Codec, path: &Path, tree: &Path) -> bool {
    let program = match codec {
        Codec::Zstd => "zstd",
        Codec::Gzip => "gzip",
        Codec::Xz => "xz",
        Codec::Bzip2 => "bzip2",
        Codec::Lz4 => "lz4",
        Codec::None => "tar",
    };
    if !has("tar") || !has(program) {
        eprintln!("SKIPPED: tar or {program} is not installed");
        return false;
    }
    let list = tar(codec).arg("-tf").arg(path).output().unwrap();
    assert!(list.status.success(), "{codec:?}: {}", String::from_utf8_lossy(&list.stderr));
    assert!(String::from_utf8_lossy(&list.stdout).contains("./etc/fstab"));
    let said = String::from_utf8_lossy(&list.stderr);
    // Of the records that GNU tar does not know it says so.
    let unexpected: Vec<&str> =
        said.lines().filter(|line| !line.contains("unknown extended header")).collect();
    assert_eq!(unexpected, [""; 0], "{codec:?}");
    let out = path.with_extension("out");
    std::fs::create_dir(&out).unwrap();
    let extracted = tar(codec).arg("-xf").arg(path).arg("-C").arg(&out).output().unwrap();
    assert!(extracted.status.success(), "{codec:?}: {}", String::from_utf8_lossy(&extracted.stderr));
    for name in ["big", "text", "etc/fstab", "etc/size513", "etc/deep/file39"] {
        assert!(std::fs::read(out.join(name)).unwrap() == std::fs::read(tree.join(name)).unwrap(), "{name}");
    }
    if !matches!(codec, Codec::None) {
        let whole = Command::new(program).arg("-t").arg(path).output().unwrap();
        assert!(whole.status.success(), "{codec:?}: {}", String::from_utf8_lossy(&whole.stderr));
    }
    true
}

#[test]
fn an_archive_in_volumes_is_one_archive() {
    let work = tempfile::tempdir().unwrap();
    let tree = work.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("big"), noise(5_500_003, 3)).unwrap();
    std::fs::write(tree.join("small"), "small").unwrap();
    let path = |number: u32| work.path().join(format!("a.tar.zst.{number:03}"));
    let (manifest, target) = (work.path().join("m"), work.path().join("to"));
    std::fs::create_dir(&target).unwrap();
    let options = options(Codec::Zstd);
    let mut volumes = backup::Volumes::new(1_000_000, |number| File::create(path(number)));
    let list = File::create(&manifest).unwrap();
    let made = backup::create_into(&source(&tree), &mut volumes, &mut &list, &options, &()).unwrap();
    let count = u32::try_from(volumes.written().len()).unwrap();
    assert_eq!(volumes.written().iter().map(|one| one.bytes).sum::<u64>(), made.archive_bytes);
    assert!(count > 5);
    let files: Vec<Stored> = (1..=count).map(|number| Stored::open(&path(number)).unwrap()).collect();
    let stored = Stored::joined("a.tar.zst".into(), &files);
    backup::verify(&stored, made.archive_bytes, &made.archive_blake3, &options, &()).unwrap();
    let restored = backup::restore(&order(&stored, &manifest, &target), &options, &()).unwrap();
    let compared = backup::compare(&manifest, &target, &[], &options, &()).unwrap();
    assert_eq!((restored.problems, compared.differences), (vec![], vec![]));
    if !has("zstd") {
        eprintln!("SKIPPED: zstd is not installed");
        return;
    }
    let shell = format!("cat {}/a.tar.zst.* | tar --zstd -tf -", work.path().display());
    let listed = Command::new("sh").args(["-c", &shell]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&listed.stdout), "./\n./big\n./small\n");
}
