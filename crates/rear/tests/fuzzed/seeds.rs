//! Makes the seeds of the corpus that programs write: `cargo test -p rear --test fuzzed -- --ignored`. The others are written by
//! hand. Where the tools are other versions, the bytes are others and just as good; nothing has to be made again.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use backup::{Codec, Options, Source};

use super::root;

/// One of everything, small.
fn tree(dir: &Path) {
    std::fs::create_dir_all(dir.join("dir/sub")).unwrap();
    std::fs::create_dir(dir.join("etc")).unwrap();
    std::fs::write(dir.join("dir/file"), b"content").unwrap();
    std::fs::write(dir.join("etc/passwd"), b"root:x:0:0::/root:/bin/sh\nlp:x:7:7::/:/bin/false\n").unwrap();
    std::fs::hard_link(dir.join("dir/file"), dir.join("dir/sub/again")).unwrap();
    std::os::unix::fs::symlink("../../outside", dir.join("link")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, dir.join("pipe"), rustix::fs::Mode::RUSR).unwrap();
    let holes = std::fs::File::create(dir.join("holes")).unwrap();
    holes.set_len(70_000).unwrap();
    for at in [0, 50_000] {
        holes.write_all_at(b"data", at).unwrap();
    }
    let set = |path: &str, name: &str, value: &[u8]| {
        rustix::fs::setxattr(dir.join(path), name, value, rustix::fs::XattrFlags::empty()).unwrap();
    };
    set("dir/file", "user.x=y", b"\0\xff");
    let acl = "user::rw-,user:lp:r--,group::r--,mask::r--,other::---";
    run(Command::new("setfacl").arg("--set").arg(acl).arg(dir.join("etc/passwd")));
}

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn write(target: &str, name: &str, bytes: &[u8]) {
    let dir = root().join("corpus").join(target);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join(name), bytes).unwrap();
}

/// The lines of a manifest and the bytes of the archive.
fn archived(dir: &Path, codec: Codec) -> (String, Vec<u8>) {
    let work = tempfile::tempdir().unwrap();
    let file = |name: &str| std::fs::File::create(work.path().join(name)).unwrap();
    let options = Options { codec, level: codec.default_level(), threads: 1, cancel: sys::Cancel::default() };
    backup::create(&Source::whole(dir), &file("a"), &file("m"), &options, &()).unwrap();
    let manifest = zstd::decode_all(std::fs::File::open(work.path().join("m")).unwrap()).unwrap();
    (String::from_utf8(manifest).unwrap(), std::fs::read(work.path().join("a")).unwrap())
}

fn archive_seed(name: &str, lines: &str, form: u8, archive: &[u8]) {
    write("archive", name, &[lines.as_bytes(), b"--\n", &[form], archive].concat());
}

/// Without the first and the last line.
fn inner(manifest: &str) -> String {
    let lines: Vec<&str> = manifest.lines().collect();
    lines[1..lines.len() - 1].iter().map(|line| format!("{line}\n")).collect()
}

#[test]
#[ignore = "writes into the source"]
fn archives_of_our_own() {
    let dir = tempfile::tempdir().unwrap();
    tree(dir.path());
    for codec in [Codec::Zstd, Codec::Gzip, Codec::Xz, Codec::Bzip2, Codec::Lz4, Codec::None] {
        let (manifest, archive) = archived(dir.path(), codec);
        archive_seed(&format!("raw-{codec:?}").to_lowercase(), &inner(&manifest), b'r', &archive);
    }
    let (manifest, archive) = archived(dir.path(), Codec::Zstd);
    write("manifest", "lines", manifest.as_bytes());
    write("manifest", "compressed", &zstd::encode_all(manifest.as_bytes(), 19).unwrap());
    let content = zstd::decode_all(&archive[..]).unwrap();
    archive_seed("plain", &inner(&manifest), b'n', &content);
    // What begins in the second half begins in the second frame.
    let half = (content.len() / 1024 * 512) as u64;
    let lines = inner(&manifest);
    let moved = lines.lines().map(|line| {
        let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
        if let Some(offset) = line["o"].as_u64().filter(|offset| *offset >= half) {
            (line["f"], line["o"]) = (1.into(), (offset - half).into());
        }
        format!("{line}\n")
    });
    archive_seed("frames", &moved.collect::<String>(), b'm', &content);
    // A file of several frames.
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("large"), vec![7; 9_000_000]).unwrap();
    let (manifest, archive) = archived(dir.path(), Codec::Zstd);
    archive_seed("large", &inner(&manifest), b'r', &archive);
}

#[test]
#[ignore = "writes into the source"]
fn archives_of_tar() {
    let dir = tempfile::tempdir().unwrap();
    tree(dir.path());
    std::fs::create_dir(dir.path().join("long")).unwrap();
    std::fs::write(dir.path().join("long").join("n".repeat(120)), b"x").unwrap();
    let tar = |arguments: &[&str]| {
        // What is sparse is one file alone.
        let what =
            if arguments.iter().any(|one| one.starts_with("--sparse-version")) { "./holes" } else { "." };
        let mut command = Command::new("tar");
        run(command.args(["-b", "1", "-cf", "-"]).args(arguments).arg("-C").arg(dir.path()).arg(what))
    };
    let all = ["--xattrs", "--acls"];
    for (name, arguments) in [
        ("v7", &["--format=v7", "--exclude=./holes", "--exclude=./long/*", "--exclude=./pipe"][..]),
        ("ustar", &["--format=ustar", "--exclude=./holes", "--exclude=./long/*"]),
        ("gnu", &["--format=gnu", "-S"]),
        ("pax", &[all[0], all[1], "--format=pax", "--exclude=./holes"]),
        ("sparse-0.0", &["--format=pax", "-S", "--sparse-version=0.0"]),
        ("sparse-0.1", &["--format=pax", "-S", "--sparse-version=0.1"]),
        ("sparse-1.0", &["--format=pax", "-S", "--sparse-version=1.0"]),
        ("gzip", &[all[0], all[1], "-S", "-z"]),
        ("xz", &[all[0], all[1], "-S", "-J"]),
        ("bzip2", &[all[0], all[1], "-S", "-j"]),
        ("zstd", &[all[0], all[1], "-S", "--zstd"]),
        ("lz4", &[all[0], all[1], "-S", "-I", "lz4"]),
    ] {
        write("foreign", name, &tar(arguments));
    }
}

#[test]
#[ignore = "writes into the source"]
fn images() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("rear/sub")).unwrap();
    std::fs::write(dir.path().join("rear/seal.json"), b"{}\n").unwrap();
    let marker = format!("ab\n3 {} /seal.json\n", blake3::hash(b"{}\n"));
    std::fs::write(dir.path().join("rear/.rear-ab"), marker).unwrap();
    std::fs::write(dir.path().join("rear/sub").join("n".repeat(200)), b"content").unwrap();
    std::os::unix::fs::symlink("seal.json", dir.path().join("rear/link")).unwrap();
    let image = dir.path().join("image");
    let arguments = ["-as", "mkisofs", "-quiet", "-no-pad", "-R", "-V", "REAR", "-o"];
    run(Command::new("xorriso").args(arguments).arg(&image).arg(dir.path().join("rear")));
    // As the target wants it: without the system area.
    write("iso", "rock-ridge", &std::fs::read(&image).unwrap()[16 * 2048..]);
}

#[test]
#[ignore = "writes into the source"]
fn encrypted_files_and_keys() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("key"), super::fuzz::KEY).unwrap();
    let to = String::from_utf8(run(Command::new("age-keygen").arg("-y").arg(at("key")))).unwrap();
    run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(at("ssh")));
    run(Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-a", "1", "-N", "passphrase", "-C", "", "-f"])
        .arg(at("locked")));
    let ssh = std::fs::read_to_string(at("ssh.pub")).unwrap();
    for (name, length) in [("small", 5), ("empty", 0)] {
        std::fs::write(at("plain"), vec![7; length]).unwrap();
        let both = ["-r", ssh.trim(), "-r", to.trim()];
        write("age", name, &run(Command::new("age").args(both).arg(at("plain"))));
    }
    write("age", "identity", super::fuzz::KEY.as_bytes());
    write("age", "recipient", to.trim().as_bytes());
    write("age", "ssh-recipient", ssh.trim().as_bytes());
    write("age", "ssh-identity", &std::fs::read(at("ssh")).unwrap());
    write("age", "ssh-locked", &std::fs::read(at("locked")).unwrap());
}
