//! Makes recovery points of a small tree, as `rear mkbackup` leaves them, without its disks.

#![allow(dead_code, reason = "it serves several test programs")]

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::{Value, json};

/// Runs the program with these arguments and a path; gives exit code, output and errors.
pub fn rear(arguments: &[&str], path: &Path) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rear"));
    command.env_clear();
    // Nothing is configured, unless the arguments say otherwise.
    let config = tempfile::tempdir().unwrap();
    if !arguments.contains(&"-c") {
        command.arg("-c").arg(config.path());
    }
    let output = command.args(arguments).arg(path).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Changes a file in place.
pub fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

/// Bytes that zstd cannot make smaller, the same at each call.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut reader = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    let mut out = vec![0; length];
    reader.fill(&mut out);
    out
}

/// A recovery point in a directory.
pub struct Point {
    dir: PathBuf,
}

impl Point {
    /// Makes the tree, unless it is there, and the recovery point.
    pub fn make(dir: &Path, tree: &Path) -> Self {
        if !tree.exists() {
            plant(tree);
        }
        std::fs::create_dir_all(dir).unwrap();
        let create = |name: &str| std::fs::File::create(dir.join(name)).unwrap();
        let source = backup::Source::whole(tree);
        let options = backup::Options {
            codec: backup::Codec::Zstd,
            level: 1,
            threads: 2,
            cancel: sys::Cancel::default(),
        };
        let made =
            backup::create(&source, &create("archive.tar.zst"), &create("manifest.zst"), &options, &())
                .unwrap();
        let machine =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/machines/bios-gpt-ext4/layout.json");
        std::fs::copy(machine, dir.join("layout.json")).unwrap();
        let boot = json!({"format": 1, "uefi": false, "disks": [], "efi": null});
        std::fs::write(dir.join("boot.json"), boot.to_string()).unwrap();
        std::fs::write(dir.join("mountpoints.json"), "[]").unwrap();
        let point = Self { dir: dir.to_owned() };
        let names = ["layout.json", "boot.json", "mountpoints.json", "manifest.zst", "archive.tar.zst"];
        let parts: Vec<Value> = names.iter().map(|name| point.part(name)).collect();
        let seal = json!({
            "format": 1, "id": "0f".repeat(16), "hostname": "web1", "created": 1_767_323_040, "program": "0.1.0",
            "parts": parts, "elsewhere": null,
            "archive": {"bytes": made.archive_bytes, "blake3": made.archive_blake3, "files": made.files,
                        "data_bytes": made.data_bytes},
        });
        std::fs::write(dir.join("recovery-point.json"), seal.to_string()).unwrap();
        point
    }

    /// The same, encrypted as mkbackup does it, in volumes of this size or in one file.
    pub fn encrypted(dir: &Path, tree: &Path, lock: &crypt::Lock, volume: Option<u64>) -> Self {
        if !tree.exists() {
            plant(tree);
        }
        // All but the archive, and the seal.
        let point = Self::make(dir, tree);
        for name in ["archive.tar.zst", "manifest.zst"] {
            std::fs::remove_file(dir.join(name)).unwrap();
        }
        let name = "archive.tar.zst.age";
        let create = |name: &str| std::fs::File::create(dir.join(name));
        let mut list = backup::Volumes::one(create("manifest.zst.age").unwrap());
        let mut volumes = match volume {
            Some(size) => backup::Volumes::new(size, |number| create(&format!("{name}.{number:03}"))),
            None => backup::Volumes::one(create(name).unwrap()),
        };
        let options = backup::Options {
            codec: backup::Codec::Zstd,
            level: 1,
            threads: 2,
            cancel: sys::Cancel::default(),
        };
        let mut archive = backup::Encrypted::begin(lock, &mut volumes).unwrap();
        let mut manifest = backup::Encrypted::begin(lock, &mut list).unwrap();
        let source = backup::Source::whole(tree);
        let made = backup::create_into(&source, &mut archive, &mut manifest, &options, &()).unwrap();
        let digest = archive.key().digest(&made.archive_blake3);
        let count = volumes.written().len();
        let files = match volume {
            Some(_) => (1..=count).map(|number| format!("{name}.{number:03}")).collect(),
            None => vec![name.to_owned()],
        };
        let small = ["layout.json", "boot.json", "mountpoints.json", "manifest.zst.age"].map(str::to_owned);
        let parts: Vec<Value> = small.iter().chain(&files).map(|name| point.part(name)).collect();
        let kind = match lock {
            crypt::Lock::Passphrase(_) => "passphrase",
            crypt::Lock::Recipients(_) => "recipients",
        };
        let seal = json!({
            "format": 1, "id": "0f".repeat(16), "hostname": "web1", "created": 1_767_323_040, "program": "0.1.0",
            "parts": parts, "elsewhere": null,
            "archive": {"name": name, "volumes": volume.map_or(0, |_| count), "encryption": kind,
                        "bytes": made.archive_bytes, "blake3": digest, "files": made.files,
                        "data_bytes": made.data_bytes},
        });
        std::fs::write(dir.join("recovery-point.json"), seal.to_string()).unwrap();
        point
    }

    /// What the seal says of a part.
    pub fn part(&self, name: &str) -> Value {
        let bytes = std::fs::read(self.dir.join(name)).unwrap();
        json!({"name": name, "bytes": bytes.len(), "blake3": blake3::hash(&bytes).to_hex().to_string()})
    }
}

/// Files of every kind that an ordinary user can make.
fn plant(tree: &Path) {
    std::fs::create_dir_all(tree.join("etc/deep/er")).unwrap();
    std::fs::create_dir_all(tree.join("srv")).unwrap();
    std::fs::create_dir_all(tree.join("links")).unwrap();
    let mode = |name: &str, mode| {
        std::fs::set_permissions(tree.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    std::fs::write(tree.join("etc/secret"), "secret").unwrap();
    mode("etc/secret", 0o640);
    std::fs::write(tree.join("etc/deep/er/file"), noise(3000, 1)).unwrap();
    mode("etc/deep", 0o751);
    std::fs::write(tree.join("etc").join(std::ffi::OsStr::from_bytes(b"od\nd\xff")), "odd").unwrap();
    std::fs::write(tree.join("srv/large"), noise(9_000_000, 2)).unwrap();
    std::fs::hard_link(tree.join("etc/secret"), tree.join("links/secret")).unwrap();
    std::fs::hard_link(tree.join("etc/secret"), tree.join("links/third")).unwrap();
    std::os::unix::fs::symlink("etc", tree.join("alias")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", tree.join("links/out")).unwrap();
}

/// Puts the recovery point into an ISO as mkbackup does; `None` without xorriso.
pub fn iso(work: &Path, point: &Path) -> Option<PathBuf> {
    let boot = work.join("isoroot/boot/grub");
    std::fs::create_dir_all(&boot).unwrap();
    let mut marker = format!("{}\n", "0f".repeat(16));
    for (name, seed) in [("vmlinuz", 7), ("initramfs.img", 8), ("grub/grub.cfg", 9)] {
        let bytes = noise(70_000, seed);
        std::fs::write(work.join("isoroot/boot").join(name), &bytes).unwrap();
        marker.push_str(&format!("{} {} /boot/{name}\n", bytes.len(), blake3::hash(&bytes).to_hex()));
    }
    std::fs::write(work.join("isoroot").join(format!(".rear-{}", "0f".repeat(16))), marker).unwrap();
    let file = work.join("rear-web1.iso");
    let made = std::process::Command::new("xorriso")
        .args(["-as", "mkisofs", "-quiet", "-R", "-graft-points", "-o"])
        .arg(&file)
        .arg(format!("/={}", work.join("isoroot").display()))
        .arg(format!("/backup={}", point.display()))
        .output()
        .ok()?;
    assert!(made.status.success(), "{made:?}");
    std::fs::remove_dir_all(work.join("isoroot")).unwrap();
    std::fs::remove_dir_all(point).unwrap();
    Some(file)
}
