//! Recorded machines (`tests/machines/NAME/`), probed again without the machine: the same layout, the same
//! coverage, and no question fewer or more than when they were recorded.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};

use common::{Fake, compact, tool};
use layout::{Content, Layout};
use probe::Rules;
use sys::{Record, Replay};

fn machines() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/machines")
}

#[test]
fn recorded_machines_are_probed_the_same() {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(machines()).unwrap() {
        let dir = entry.unwrap().path();
        let name = dir.file_name().unwrap().to_string_lossy().into_owned();
        let text = |file: &str| std::fs::read_to_string(dir.join(file)).unwrap();
        let replay = Replay::from_json(&compact::expand(&text("recording.json"))).unwrap();
        let layout = probe::machine(&replay).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(layout.check(), [], "{name}");
        assert_eq!(layout.tree(), text("tree.txt"), "{name}");
        assert_eq!(layout, Layout::from_json(&text("layout.json")).unwrap(), "{name}");
        let coverage = probe::coverage(&replay, &layout, &Rules::default()).unwrap();
        assert_eq!(coverage.table(), text("coverage.txt"), "{name}");
        assert_eq!(coverage.unsupported().count(), 0, "{name}");
        assert_eq!(probe::fstab_problems(&replay, &layout).unwrap(), [""; 0], "{name}");
        let sources = probe::sources(&replay, &layout).unwrap();
        assert!(coverage.recreate.iter().all(|disk| sources.contains(disk)), "{name}");
        assert_eq!(replay.unused(), [""; 0], "{name}: recorded, but not asked any more");
        names.push(name);
    }
    names.sort();
    assert_eq!(names, ["bios-gpt-ext4", "bios-mbr-extended", "uefi-gpt-xfs"]);
}

#[test]
fn compact_recordings_lose_nothing() {
    let json = format!(r#"{{"at 0+64 /dev/vda":{{"hex":"ab{}cd00"}}}}"#, "00".repeat(40));
    let short = compact::compact(&json);
    assert!(short.contains("ab(40)cd00"), "{short}");
    assert_eq!(compact::expand(&short), json);
}

/// Writes the recordings anew, from machines made of files. By hand only:
/// `cargo test -p probe --test replay -- --ignored`.
#[test]
#[ignore = "writes tests/machines; identifiers are new each time"]
fn write_recordings() {
    const GIB: u64 = 1 << 30;
    let format = |program: &str, args: &[&str], image: &Path| {
        tool(program, &[args, &[image.to_str().unwrap()]].concat());
    };

    let mut fake = Fake::new();
    let (place, parts) = fake.table(
        "vda",
        GIB,
        "label: gpt\n1 : start=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649\n\
         2 : start=4096, size=1572864, name=root\n3 : size=262144, type=0657FD6D-A4AB-43C4-84E5-0933C84B4F4F\n",
    );
    fake.put(&format!("{place}/serial"), "QM-A-0001");
    format("mke2fs", &["-q", "-t", "ext4", "-L", "root", "-b", "4096"], &parts[&2]);
    format("mkswap", &["-q"], &parts[&3]);
    fake.mounts(&[(2, "/", "ext4")]);
    fake.put("/proc/swaps", "Filename Type Size Used Priority\n/dev/vda3 partition 131068 0 -2\n");
    fake.put("/etc/fstab", "LABEL=root / ext4 errors=remount-ro 0 1\n/dev/vda3 none swap sw 0 0\n");
    // A second, blank disk: nothing of it is in use.
    let image = fake.image("blank", GIB / 4);
    fake.disk("vdb", &image, 512);
    // The numbers of the disk that was made last are used for mounts: the mounts stand already.
    save("bios-gpt-ext4", fake);

    let mut fake = Fake::new();
    fake.put("/sys/firmware/efi/fw_platform_size", "64\n");
    let (_, parts) = fake.table(
        "vda",
        2 * GIB,
        "label: gpt\n1 : start=2048, size=204800, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name=\"EFI system\"\n\
         2 : size=524288\n3 : size=2097152, name=root\n4 : size=262144, type=0657FD6D-A4AB-43C4-84E5-0933C84B4F4F\n",
    );
    fake.put(
        "/run/udev/data/b254:16",
        "S:disk/by-path/pci-0000:00:04.0\nE:ID_SERIAL_SHORT=QM-B-0001\nE:ID_PATH=pci-0000:00:04.0\n",
    );
    format("mkfs.vfat", &["-F", "32", "-n", "ESP"], &parts[&1]);
    format("mke2fs", &["-q", "-t", "ext4"], &parts[&2]);
    format("mkfs.xfs", &["-q", "-L", "root"], &parts[&3]);
    format("mkswap", &["-q", "-L", "swap"], &parts[&4]);
    fake.mounts(&[(3, "/", "xfs"), (2, "/boot", "ext4"), (1, "/boot/efi", "vfat")]);
    fake.put("/proc/swaps", "Filename Type Size Used Priority\n/dev/vda4 partition 131068 0 -2\n");
    fake.put(
        "/etc/fstab",
        "PARTLABEL=root / xfs defaults 0 0\n/dev/vda2 /boot ext4 noatime 0 2\n\
         LABEL=ESP /boot/efi vfat umask=0077 0 1\nLABEL=swap none swap sw 0 0\n",
    );
    save("uefi-gpt-xfs", fake);

    let mut fake = Fake::new();
    let (place, parts) = fake.table(
        "vda",
        2 * GIB,
        "label: dos\nlabel-id: 0x5ca1ab1e\n1 : start=2048, size=524288, type=83, bootable\n\
         2 : start=600000, size=3000000, type=5\n5 : start=602048, size=2097152, type=83\n\
         6 : start=2800000, size=262144, type=82\n",
    );
    fake.put(&format!("{place}/serial"), "QM-C-0001");
    format("mke2fs", &["-q", "-t", "ext4", "-L", "boot"], &parts[&1]);
    format("mkfs.xfs", &["-q"], &parts[&5]);
    format("mkswap", &["-q"], &parts[&6]);
    fake.mounts(&[(5, "/", "xfs"), (1, "/boot", "ext4")]);
    fake.put("/proc/swaps", "Filename Type Size Used Priority\n/dev/vda6 partition 131068 0 -2\n");
    fake.put(
        "/etc/fstab",
        "PARTUUID=5ca1ab1e-05 / xfs defaults 0 0\nLABEL=boot /boot ext4 defaults 0 2\n/dev/vda6 none swap sw 0 0\n",
    );
    save("bios-mbr-extended", fake);
}

fn save(name: &str, fake: Fake) {
    let record = Record::new(fake);
    let layout = probe::machine(&record).unwrap();
    let coverage = probe::coverage(&record, &layout, &Rules::default()).unwrap();
    probe::fstab_problems(&record, &layout).unwrap();
    probe::sources(&record, &layout).unwrap();
    assert!(
        !layout.devices.iter().any(|device| matches!(device.content, Content::Unknown { .. })),
        "{}",
        layout.tree()
    );
    let dir = machines().join(name);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("recording.json"), compact::compact(&record.to_json().unwrap())).unwrap();
    std::fs::write(dir.join("layout.json"), layout.to_json().unwrap()).unwrap();
    std::fs::write(dir.join("tree.txt"), layout.tree()).unwrap();
    std::fs::write(dir.join("coverage.txt"), coverage.table()).unwrap();
}
