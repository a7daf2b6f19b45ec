//! Makes whole ISOs with the tools of this host; says so and does nothing where they are not installed.

use super::*;

struct Made {
    dir: tempfile::TempDir,
    parts: Vec<Expected>,
}

impl Made {
    fn iso(&self) -> PathBuf {
        self.dir.path().join("out.iso")
    }
}

fn tools() -> bool {
    let there = check(&sys::Real::default(), false).is_ok();
    if !there {
        eprintln!("SKIPPED: xorriso or GRUB's files are not installed");
    }
    there
}

const ID: &str = "0123456789abcdef0123456789abcdef";

fn menu() -> Menu {
    Menu {
        hostname: "web01".into(),
        created: "2026-11-23 15:00 UTC".into(),
        default: Entry::Recover,
        unattended: false,
        timeout: 5,
        cmdline: "quiet".into(),
        serial: vec![],
    }
}

fn make(archive: impl FnOnce(&Path)) -> Made {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("vmlinuz"), vec![1; 70_000]).unwrap();
    std::fs::write(at("initramfs"), vec![2; 300_000]).unwrap();
    archive(&at("a=b"));
    let staging = at("staging");
    std::fs::create_dir(&staging).unwrap();
    let iso = Iso {
        id: ID.into(),
        volume_id: "REAR-ISO".into(),
        kernel: &at("vmlinuz"),
        initramfs: &at("initramfs"),
        files: vec![IsoFile { source: at("a=b"), target: "/backup/Archive of web01.tar.zst".into() }],
        menu: menu(),
        firmware_uefi: false,
        created: 1_700_000_000,
    };
    let written = write(&sys::Real::default(), &iso, &staging, &at("out.iso")).unwrap();
    assert_eq!(written.bytes, std::fs::metadata(at("out.iso")).unwrap().len());
    Made { parts: written.parts, dir }
}

fn small(path: &Path) {
    std::fs::write(path, (0..200_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>()).unwrap();
}

#[test]
fn what_was_written_reads_back_and_faults_are_named() {
    if !tools() {
        return;
    }
    let made = make(small);
    let mut expected = made.parts.clone();
    let archive = "/backup/Archive of web01.tar.zst";
    expected.push(Expected::of_file(&made.dir.path().join("a=b"), archive).unwrap());
    let cancel = sys::Cancel::default();
    read_back(&made.iso(), &expected, &cancel).unwrap();
    assert_eq!(expected[0].target, KERNEL);

    let volume = iso9660::Volume::open(made.iso()).unwrap();
    assert_eq!(volume.volume_id(), "REAR-ISO");
    let marker = Marker::read(&volume).unwrap().unwrap();
    assert_eq!((marker.id.as_str(), marker.parts.as_slice()), (ID, &made.parts[..3]));
    read_back(&made.iso(), &marker.parts, &cancel).unwrap();
    assert_eq!(volume.find("/backup").unwrap(), None);
    assert_eq!(volume.find("/backup/archive of web01.tar.zst").unwrap(), None);
    assert_eq!(volume.list("/backup").unwrap().unwrap(), ["Archive of web01.tar.zst"]);
    assert!(matches!(volume.read_small(archive, 10), Err(Error::BadVolume { .. })));
    let place = volume.find(archive).unwrap().unwrap();

    let good = std::fs::read(made.iso()).unwrap();
    let other = made.dir.path().join("other.iso");
    let says = |bytes: &[u8], expected: &[Expected]| {
        std::fs::write(&other, bytes).unwrap();
        read_back(&other, expected, &cancel).unwrap_err().to_string()
    };
    let mut flipped = good.clone();
    flipped[place.extents[0].0 as usize + 777_777] ^= 0x10;
    let text = says(&flipped, &expected);
    assert!(text.contains(archive) && text.contains("damaged"), "{text}");

    let kernel = volume.find(KERNEL).unwrap().unwrap();
    let mut flipped = good.clone();
    flipped[kernel.extents[0].0 as usize + 5] ^= 1;
    let text = says(&flipped, &marker.parts);
    assert!(text.contains(KERNEL) && text.contains("damaged"), "{text}");
    let place = volume.find(&format!("/.rear-{ID}")).unwrap().unwrap();
    let mut flipped = good.clone();
    flipped[place.extents[0].0 as usize + 3] ^= 1;
    std::fs::write(&other, &flipped).unwrap();
    let damaged = Marker::read(&iso9660::Volume::open(&other).unwrap()).unwrap_err().to_string();
    assert!(damaged.contains("its marker"), "{damaged}");

    let place = volume.find(archive).unwrap().unwrap();
    let text = says(&good[..good.len() - (1 << 20)], &expected);
    assert!(text.contains("truncated"), "{text}");
    let text = says(&good[..place.extents[0].0 as usize + 4096], &expected);
    assert!(text.contains("truncated"), "{text}");
    let text = says(&good[..40_000], &expected);
    assert!(text.contains("truncated") || text.contains("not a readable"), "{text}");
    let text = says(&[0; 40_000], &expected);
    assert!(text.contains("not a readable ISO 9660 image"), "{text}");

    let absent = Expected { target: "/backup/other".into(), ..expected[0].clone() };
    let text = says(&good, &[absent]);
    assert!(text.contains("/backup/other is missing"), "{text}");

    cancel.raise();
    let stopped = read_back(&made.iso(), &expected, &cancel);
    assert!(matches!(stopped, Err(Error::Sys(sys::Error::Cancelled))));
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    if !tools() {
        return;
    }
    let (a, b) = (make(small), make(small));
    let (a, b) = (std::fs::read(a.iso()).unwrap(), std::fs::read(b.iso()).unwrap());
    assert_eq!(a.len(), b.len());
    let different = a.iter().zip(&b).filter(|(a, b)| a != b).count();
    assert_eq!(different, 0);
}

#[test]
fn impossible_names_are_refused() {
    let iso = |id: &str, volume_id: &str, target: &str| Iso {
        id: id.into(),
        volume_id: volume_id.into(),
        kernel: Path::new("/k"),
        initramfs: Path::new("/i"),
        files: vec![IsoFile { source: "/x".into(), target: target.into() }],
        menu: menu(),
        firmware_uefi: false,
        created: 0,
    };
    validate(&iso(ID, "REAR-ISO", "/backup/x")).unwrap();
    for (id, volume_id, target) in [
        ("abc", "REAR-ISO", "/backup/x"),
        (ID, "", "/backup/x"),
        (ID, "A VOLUME", "/backup/x"),
        (ID, "REAR-ISO", "backup/x"),
        (ID, "REAR-ISO", "/backup/../x"),
        (ID, "REAR-ISO", "/backup//x"),
        (ID, "REAR-ISO", "/boot/grub/grub.cfg"),
        (ID, "REAR-ISO", "/.rear-x"),
    ] {
        assert!(
            matches!(validate(&iso(id, volume_id, target)), Err(Error::Invalid(_))),
            "{id} {volume_id} {target}"
        );
    }
}

#[test]
fn a_failed_run_leaves_no_iso_behind() {
    if !tools() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("vmlinuz"), "k").unwrap();
    std::fs::create_dir(at("staging")).unwrap();
    let cancel = sys::Cancel::default();
    let door = sys::Real::new(cancel.clone());
    let iso = Iso {
        id: ID.into(),
        volume_id: "REAR-ISO".into(),
        kernel: &at("vmlinuz"),
        initramfs: &at("vmlinuz"),
        files: vec![],
        menu: menu(),
        firmware_uefi: false,
        created: 0,
    };
    let images = grub::find(&door, false).unwrap();
    let parts = Parts::make(&door, &iso, &images, &at("staging")).unwrap();
    cancel.raise();
    assert!(xorriso::write(&door, &iso, &parts, &at("out.iso")).is_err());
    assert!(!at("out.iso").exists());
}
