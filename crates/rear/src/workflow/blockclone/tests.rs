//! Clones of image files, which the programs take like devices.

use std::process::Command;

use layout::{Filesystem, Firmware, Kind, Machine as Facts, SectorSize};
use probe::Coverage;

use super::*;

/// A machine whose configuration has these lines.
fn context(lines: &str) -> Context {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("local.conf"), lines).unwrap();
    let sources = config::Sources { dir: dir.path(), extra: &[], hostname: "web1" };
    Context::of_test(config::load(&sources).unwrap())
}

/// A device that is a file of this size with this content.
fn device(path: &Path, content: Content) -> Device {
    Device {
        id: NodeId(format!("part:{}", path.file_name().unwrap().to_string_lossy())),
        path: path.display().to_string(),
        size: Bytes(std::fs::metadata(path).unwrap().len()),
        sector: SectorSize(512),
        kind: Kind::LuksMapping(layout::LuksMapping { parent: NodeId("disk".into()), name: "x".into() }),
        content,
    }
}

fn filesystem(name: &str) -> Content {
    let kind = layout::FsKind::Other { name: name.into() };
    Content::Filesystem(Filesystem { uuid: String::new(), label: String::new(), used: None, kind })
}

fn machine(devices: Vec<Device>) -> Machine {
    let facts = Facts {
        hostname: "web1".into(),
        firmware: Firmware::Bios,
        architecture: "x86_64".into(),
        system: String::new(),
    };
    let mut wanted = Layout::new(facts);
    wanted.cloned = devices.iter().map(|device| device.id.clone()).collect();
    wanted.devices = devices;
    Machine { layout: wanted.clone(), coverage: Coverage::default(), wanted }
}

/// A file of so many mebibytes that begins with noise and is made a filesystem by this program.
fn image(dir: &Path, name: &str, mebibytes: u64, program: &[&str]) -> PathBuf {
    let path = dir.join(name);
    let file = File::create(&path).unwrap();
    file.set_len(mebibytes << 20).unwrap();
    if let [program, arguments @ ..] = program {
        let done = Command::new(program).args(arguments).arg(&path).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    }
    path
}

/// Saves the machine's clones into a new directory.
fn saved(context: &Context, machine: &Machine) -> (tempfile::TempDir, Seal) {
    let dir = tempfile::tempdir().unwrap();
    let mut parts = Vec::new();
    let encrypt = Encrypt::configured(context).unwrap();
    save(context, machine, dir.path(), encrypt.as_ref(), &mut parts).unwrap();
    for part in &parts {
        let found = crate::point::measure(&dir.path().join(&part.name), &part.name, &context.cancel).unwrap();
        assert_eq!(found, *part);
    }
    (dir, Seal::of_test(parts))
}

/// Reads them as a recovery does, with the keys of the configuration.
fn proven(context: &Context, seal: &Seal, layout: &Layout, dir: &Path) -> Result<Vec<Proven>> {
    prove(context, seal, layout, dir, &mut Unlocker::new(context, &crate::cli::Keys::default())?)
}

#[test]
fn every_kind_of_clone_comes_back_and_is_proven() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path();
    let windows = image(at, "windows", 20, &["mkfs.ntfs", "-Q", "-F", "-q", "-L", "Windows"]);
    let fat = image(at, "fat", 40, &["mkfs.vfat", "-F", "32", "-n", "TOOLS"]);
    let raw = image(at, "raw", 3, &[]);
    let noise: Vec<u8> =
        (0..1_500_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    std::fs::write(&raw, &noise[..3 << 20]).unwrap();
    let machine = machine(vec![
        device(&windows, filesystem("ntfs")),
        device(&fat, filesystem("vfat")),
        device(&raw, Content::Unknown { what: "BitLocker volume".into() }),
    ]);
    let context = context("");
    let mut refusals = Refusals::default();
    let mut programs = check(&context, &machine, true, &mut refusals);
    refusals.verdict().unwrap();
    programs.sort();
    assert_eq!(programs, ["ntfsclone", "partclone.restore", "partclone.vfat"]);
    assert_eq!(bytes(&context, &machine), 3 << 20);

    let (point, seal) = saved(&context, &machine);
    let clones = proven(&context, &seal, &machine.wanted, point.path()).unwrap();
    for Proven { clone, .. } in &clones {
        let used = if clone.method == Method::Blocks {
            clone.image.bytes == 3 << 20
        } else {
            clone.image.bytes < 10 << 20
        };
        assert!(used, "{clone:?}");
    }
    // Onto devices that are full of something else.
    let mut devices = BTreeMap::new();
    for one in &machine.wanted.devices {
        let new = at.join(format!("new-{}", one.id.0));
        std::fs::write(&new, vec![0xA5; usize::try_from(one.size.get()).unwrap()]).unwrap();
        devices.insert(one.id.clone(), new);
    }
    let mut problems = Vec::new();
    bring_back(&context, &clones, &devices, &mut problems).unwrap();
    assert_eq!(problems, [""; 0]);
    let new =
        |path: &Path| &devices[&NodeId(format!("part:{}", path.file_name().unwrap().to_string_lossy()))];
    assert_eq!(std::fs::read(&raw).unwrap(), std::fs::read(new(&raw)).unwrap());
    for path in [&windows, &fat] {
        let told = |path: &Path| {
            let out = Command::new("blkid").args(["-p", "-o", "export"]).arg(path).output().unwrap();
            String::from_utf8(out.stdout).unwrap().lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(told(path), told(new(path)));
    }
}

#[test]
fn a_damaged_clone_is_told_before_any_write() {
    let dir = tempfile::tempdir().unwrap();
    let raw = image(dir.path(), "raw", 1, &[]);
    let machine = machine(vec![device(&raw, Content::Empty)]);
    let context = context("");
    let (point, seal) = saved(&context, &machine);
    let layout = &machine.wanted;
    proven(&context, &seal, layout, point.path()).unwrap();
    assert!(proven(&context, &seal, &Layout { cloned: [].into(), ..layout.clone() }, point.path()).is_err());
    let part = point.path().join("blockclone-1.zst");
    let whole = std::fs::read(&part).unwrap();
    for damage in [whole[..whole.len() - 1].to_vec(), {
        let mut flipped = whole.clone();
        let last = flipped.len() - 3;
        flipped[last] ^= 1;
        flipped
    }] {
        std::fs::write(&part, damage).unwrap();
        let failure = proven(&context, &seal, layout, point.path()).unwrap_err();
        assert!(failure.message.contains("raw"), "{}", failure.message);
        assert!(failure.hint.unwrap().contains("no disk was written"));
    }
    std::fs::remove_file(&part).unwrap();
    assert!(proven(&context, &seal, layout, point.path()).is_err());
}

#[test]
fn what_is_not_the_same_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let raw = image(dir.path(), "raw", 1, &[]);
    let machine = machine(vec![device(&raw, Content::Empty)]);
    let context = context("");
    let (point, seal) = saved(&context, &machine);
    let clones = proven(&context, &seal, &machine.wanted, point.path()).unwrap();
    assert!(is_same(&context, &clones[0], &raw, &()).unwrap());
    let mut changed = std::fs::read(&raw).unwrap();
    changed[777_777] = 1;
    std::fs::write(&raw, changed).unwrap();
    assert!(!is_same(&context, &clones[0], &raw, &()).unwrap());
    let mut problems = Vec::new();
    assert!(bring_back(&context, &clones, &BTreeMap::new(), &mut problems).is_err());
}

#[test]
fn a_list_names_no_other_files_and_programs() {
    let dir = tempfile::tempdir().unwrap();
    let raw = image(dir.path(), "raw", 1, &[]);
    let machine = machine(vec![device(&raw, Content::Empty)]);
    let context = context("");
    let (point, seal) = saved(&context, &machine);
    let text = std::fs::read_to_string(point.path().join(PART)).unwrap();
    for (from, to) in [
        ("blockclone-1.zst", "../../etc/shadow"),
        ("blockclone-1.zst", "layout.json"),
        ("\"blocks\"", "{\"partclone\": \"../../bin/sh\"}"),
        ("\"blocks\"", "{\"partclone\": \"a b\"}"),
        ("\"blocks\"", "\"dd\""),
    ] {
        assert!(text.contains(from), "{text}");
        let changed = text.replacen(from, to, 1);
        let part =
            super::super::mkbackup::part(&point.path().join("."), "other", changed.as_bytes()).unwrap();
        let mut other = seal.clone();
        other.parts.iter_mut().find(|part| part.name == PART).unwrap().blake3 = part.blake3;
        other.parts.iter_mut().find(|part| part.name == PART).unwrap().bytes = part.bytes;
        std::fs::write(point.path().join(PART), changed).unwrap();
        std::fs::remove_file(point.path().join("other")).unwrap();
        assert!(list(&other, point.path()).is_err(), "{to}");
    }
}

#[test]
fn other_ways_of_saving_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let raw = image(dir.path(), "raw", 1, &[]);
    let machine = machine(vec![device(&raw, Content::Empty)]);
    let verdict = |lines: &str, archive: bool| {
        let mut refusals = Refusals::default();
        check(&context(lines), &machine, archive, &mut refusals);
        refusals.verdict()
    };
    assert!(verdict("", true).is_ok());
    assert!(verdict("", false).is_ok(), "mkrescue");
    let failure = verdict("BACKUP=REQUESTRESTORE", false).unwrap_err();
    assert!(failure.message.contains("BACKUP=NETFS"), "{}", failure.message);
}

#[test]
fn encrypted_clones_in_volumes_come_back_with_the_key_alone() {
    let dir = tempfile::tempdir().unwrap();
    let raw = image(dir.path(), "raw", 20, &[]);
    let noise: Vec<u8> =
        (0..5_300_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    std::fs::write(&raw, &noise[..20 << 20]).unwrap();
    let machine = machine(vec![device(&raw, Content::Empty)]);
    let lines = "BACKUP_URL=file:///mnt/x\nBACKUP_SPLIT_SIZE=16\nBACKUP_ENCRYPT_PASSPHRASE=";
    let with = context(&format!("{lines}right"));
    let (point, mut seal) = saved(&with, &machine);
    seal.archive = Some(crate::point::Archive {
        name: "archive.tar.zst.age".into(),
        volumes: 1,
        encryption: Some(crate::point::Encryption::Passphrase),
        bytes: 0,
        blake3: String::new(),
        files: 0,
        data_bytes: 0,
    });
    assert!(seal.parts.iter().any(|part| part.name == "blockclone-1.zst.age.002"), "{:?}", seal.parts);
    let told = std::fs::read_to_string(point.path().join(PART)).unwrap();
    assert!(!told.contains(blake3::hash(&noise[..20 << 20]).to_hex().as_str()), "the hash tells the content");
    let clones = proven(&with, &seal, &machine.wanted, point.path()).unwrap();
    let new = dir.path().join("new");
    std::fs::write(&new, vec![0xA5; 20 << 20]).unwrap();
    let devices = BTreeMap::from([(clones[0].clone.device.clone(), new.clone())]);
    let mut problems = Vec::new();
    bring_back(&with, &clones, &devices, &mut problems).unwrap();
    assert_eq!(problems, [""; 0]);
    assert!(std::fs::read(&new).unwrap() == noise[..20 << 20]);
    assert!(proven(&context(&format!("{lines}wrong")), &seal, &machine.wanted, point.path()).is_err());
    let last = point.path().join("blockclone-1.zst.age.002");
    let mut damaged = std::fs::read(&last).unwrap();
    damaged[10] ^= 1;
    std::fs::write(&last, damaged).unwrap();
    assert!(proven(&with, &seal, &machine.wanted, point.path()).is_err());
}
