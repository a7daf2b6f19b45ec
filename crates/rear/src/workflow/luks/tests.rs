use apply::Keys;
use layout::{Device, Disk, DiskIdentity, Firmware, LuksMapping, Machine, NodeId, SectorSize};

use super::*;
use crate::point::Part;
use crate::ui::Ui;

/// Bytes of the container's header: two copies of the metadata, and room for one key slot.
const HEADER: usize = (32 << 10) + (512 << 10);
const UUID: &str = "22222222-2222-3333-4444-555555555555";

/// A machine with these settings, where these questions are answered in advance.
fn context(change: impl Fn(&mut Settings), answers: &[String]) -> Context {
    let mut config = config::defaults("web1");
    change(&mut config.settings);
    let ui = Ui::new(false, false, false).with_answers(answers).unwrap();
    Context { ui, ..Context::of_test(config) }
}

/// A layout with a container on `path`, open as `home`.
fn layout(path: &Path) -> Layout {
    let machine = Machine {
        hostname: "web1".into(),
        firmware: Firmware::Bios,
        architecture: "x86_64".into(),
        system: "Linux".into(),
    };
    let mut layout = Layout::new(machine);
    let id = NodeId("disk:serial:A".into());
    let device = |id: &NodeId, path: &str, kind, content| Device {
        id: id.clone(),
        path: path.into(),
        size: Bytes(20 << 20),
        sector: SectorSize(512),
        kind,
        content,
    };
    let disk = Disk {
        identity: DiskIdentity::default(),
        transport: "virtio".into(),
        removable: false,
        read_only: false,
        multipath: None,
    };
    let luks = Luks { uuid: UUID.into(), version: 2, header_size: Bytes(HEADER as u64), ..Luks::default() };
    let path = path.to_string_lossy();
    layout.devices.push(device(&id, &path, Kind::Disk(disk), Content::Luks(luks)));
    let mapping = LuksMapping { parent: id, name: "home".into() };
    let above = NodeId("luks:x".into());
    layout.devices.push(device(&above, "/dev/dm-0", Kind::LuksMapping(mapping), Content::Empty));
    layout
}

/// Seals the headers of `layout` into a directory.
fn save(context: &Context, layout: &mut Layout, dir: &Path) -> Seal {
    mark(layout, context.settings());
    let mut seal = Seal::of_test(Vec::new());
    for (name, bytes) in sealed_parts(context, layout).unwrap() {
        std::fs::write(dir.join(&name), &bytes).unwrap();
        let blake3 = blake3::hash(&bytes).to_hex().to_string();
        seal.parts.push(Part { name, bytes: bytes.len() as u64, blake3 });
    }
    seal
}

#[test]
fn a_header_comes_back_only_for_who_can_open_the_seal_and_the_container() {
    let here = sys::Real::default().which("cryptsetup").is_some();
    if !here || !sys::info::is_root() {
        eprintln!("skipped: needs root and cryptsetup");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    std::fs::File::create(&image).unwrap().set_len(20 << 20).unwrap();
    let format = ["luksFormat", "--batch-mode", "--type", "luks2", "--uuid", UUID, "--pbkdf", "pbkdf2"];
    let cmd = Cmd::new("cryptsetup")
        .args(format)
        .args(["--pbkdf-force-iterations", "1000", "--force-password", "--key-file=-"])
        .args(["--luks2-metadata-size", "16k", "--luks2-keyslots-size", "512k"])
        .arg(image.to_string_lossy())
        .secret(&Secret::new("x"));
    sys::Real::default().run(&cmd).unwrap();

    let answer = |id: &str, name: &str, content: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        format!("{id}=file:{}", path.display())
    };
    let good = answer("LUKS_PASSPHRASE", "good", "x\n");
    let bad = answer(&format!("LUKS_PASSPHRASE_{UUID}"), "bad", "y");
    let new = answer("LUKS_NEW_PASSPHRASE", "new", "z");
    let mine = age::x25519::Identity::generate();
    let typed = {
        use age::secrecy::ExposeSecret;
        answer("LUKS_HEADER_IDENTITY", "identity", mine.to_string().expose_secret())
    };
    let recipient = mine.to_public().to_string();

    let before = context(|settings| settings.luks_header_recipients = vec![recipient.clone()], &[]);
    let mut layout = layout(&image);
    let seal = save(&before, &mut layout, dir.path());
    assert_eq!(seal.parts.len(), 1);
    let header = std::fs::read(&image).unwrap()[..HEADER].to_vec();
    let sealed = std::fs::read(dir.path().join(&seal.parts[0].name)).unwrap();
    assert!(!sealed.windows(UUID.len()).any(|window| window == UUID.as_bytes()));
    // The disk is gone from here on.
    std::fs::remove_file(&image).unwrap();

    let unlock = |answers: &[&String]| {
        let answers: Vec<String> = answers.iter().map(|answer| (*answer).clone()).collect();
        let source = Source { layout: &layout, seal: &seal, dir: dir.path(), key: None };
        unlock_from(&context(|_| (), &answers), source)
    };
    let unlocked = unlock(&[&typed, &good]).unwrap();
    assert!(unlocked.header(UUID) == Some(&header));
    assert_eq!(unlocked.key(UUID).map(Secret::expose), Some("x"));
    assert!(unlock(&[&typed, &bad]).err().unwrap().message.contains("nothing that was given opens"));
    let nobody = unlock(&[&typed]).err().unwrap();
    assert!(nobody.message.contains(&format!("LUKS_PASSPHRASE_{UUID}")), "{nobody}");
    assert!(unlock(&[&good]).err().unwrap().message.contains("LUKS_HEADER_IDENTITY"));
    // Not even the failed attempts leave the header behind.
    assert!(!Path::new(&plan::luks_header_file(UUID)).exists());

    // What has opened the backup opens the header, and nobody is asked for it; the keys of the backup seal headers too.
    let other = Opener::Identities(vec![Box::new(age::x25519::Identity::generate())]);
    let key = Opener::Identities(vec![Box::new(mine.clone())]);
    for (key, opens) in [(&key, true), (&other, false)] {
        let source = Source { layout: &layout, seal: &seal, dir: dir.path(), key: Some(key) };
        let unlocked = unlock_from(&context(|_| (), std::slice::from_ref(&good)), source);
        assert_eq!(unlocked.is_ok(), opens);
    }
    let with_backup = context(|settings| settings.backup_encrypt_recipients = vec![recipient.clone()], &[]);
    let mut marked = layout.clone();
    mark(&mut marked, with_backup.settings());
    assert!(marked == layout && locks(&with_backup).unwrap().len() == 1);
    let bad = context(|settings| settings.backup_encrypt_recipients = vec!["age1x".into()], &[]);
    assert!(locks(&bad).err().unwrap().message.contains("BACKUP_ENCRYPT_RECIPIENTS"));

    // Without a saved header a new passphrase is all that is needed.
    let mut without = layout.clone();
    mark(&mut without, context(|_| (), &[]).settings());
    let source = Source { layout: &without, seal: &seal, dir: dir.path(), key: None };
    let unlocked = unlock_from(&context(|_| (), &[new]), source).unwrap();
    assert!(unlocked.header(UUID).is_none());
    assert_eq!(unlocked.key(UUID).map(Secret::expose), Some("z"));
}

#[test]
fn a_new_passphrase_is_told_and_nothing_else_hidden() {
    let slot =
        |number| layout::Keyslot { number, pbkdf: "pbkdf2".into(), iterations: 1000, memory: 0, parallel: 0 };
    let saved = Luks { keyslots: vec![slot(0), slot(3)], tokens: vec!["clevis".into()], ..Luks::default() };
    let mut found = Luks { keyslots: vec![slot(0)], label: "other".into(), ..Luks::default() };
    let mut problems = Vec::new();
    as_told(&saved, &mut found, "/dev/vda2", &mut problems);
    assert!(problems[0].contains("2 old key slot(s)") && problems[0].contains("clevis"), "{problems:?}");
    assert_eq!((found.keyslots.len(), found.label.as_str()), (2, "other"));

    let saved = Luks { sealed: true, ..saved };
    let mut found = Luks { keyslots: vec![slot(0)], ..Luks::default() };
    problems.clear();
    as_told(&saved, &mut found, "/dev/vda2", &mut problems);
    // With a saved header, a lost key slot stays a difference.
    assert!(problems.is_empty() && found.sealed && found.keyslots.len() == 1);
}
