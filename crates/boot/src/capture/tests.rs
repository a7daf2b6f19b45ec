//! Captures from files that stand for disks, and writes back to others.

use super::*;
use layout::{
    Bytes, Disk, DiskIdentity, Kind, Lba, Machine, MbrEntry, MbrRole, NodeId, Partition, SectorSize,
};
use std::os::unix::fs::FileExt;

#[test]
fn loaders_are_recognised_by_their_texts() {
    assert_eq!(recognise(b""), None);
    assert_eq!(recognise(b"\xebc\x90..GRUB \0Geom\0Hard Disk"), Some("GRUB"));
    assert_eq!(recognise(&[1; 440]), Some("an unknown loader"));
}

#[test]
fn zeros_at_the_end_are_not_kept() {
    assert_eq!(trimmed(vec![0, 1, 0, 2, 0, 0]), [0, 1, 0, 2]);
    assert_eq!(trimmed(vec![0; 9]), [0_u8; 0]);
}

fn machine(
    firmware: Firmware,
    path: &Path,
    table: PartitionTable,
    entries: &[(u64, u64, PartitionEntry)],
) -> Layout {
    let mut layout = Layout::new(Machine {
        hostname: "web01".into(),
        firmware,
        architecture: "x86_64".into(),
        system: "Debian".into(),
    });
    let disk = NodeId("disk:serial:A".into());
    layout.devices.push(Device {
        id: disk.clone(),
        path: path.to_string_lossy().into_owned(),
        size: Bytes(8 << 20),
        sector: SectorSize::B512,
        kind: Kind::Disk(Disk {
            identity: DiskIdentity::default(),
            transport: String::new(),
            removable: false,
            read_only: false,
            multipath: None,
        }),
        content: Content::Table(table),
    });
    for (number, (start, length, entry)) in (1..).zip(entries) {
        layout.devices.push(Device {
            id: disk.partition(number),
            path: format!("/dev/none{number}"),
            size: Bytes(length * 512),
            sector: SectorSize::B512,
            kind: Kind::Partition(Partition {
                parent: disk.clone(),
                number,
                start: Lba(*start),
                length: Lba(*length),
                entry: entry.clone(),
            }),
            content: Content::Empty,
        });
    }
    layout
}

fn mbr(type_id: u8, role: MbrRole) -> PartitionEntry {
    PartitionEntry::Mbr(MbrEntry { type_id, bootable: false, role })
}

/// `core`: the sector where GRUB's first part looks for the second.
fn disk(dir: &Path, core: u64) -> std::path::PathBuf {
    let path = dir.join("disk");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(8 << 20).unwrap();
    file.write_all_at(b"GRUB stage one", 0).unwrap();
    file.write_all_at(&core.to_le_bytes(), 0x5c).unwrap();
    file.write_all_at(b"SIGNATURE and table", 440).unwrap();
    file.write_all_at(b"core image in the gap", 512).unwrap();
    file.write_all_at(b"core image in its partition", 1 << 20).unwrap();
    path
}

#[test]
fn an_mbr_disk_keeps_code_and_gap_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = disk(dir.path(), 1);
    let table = PartitionTable::Mbr { signature: 1 };
    // The logical one's start is not the gap's end; the primary one's is.
    let entries = [(2048, 2048, mbr(0x83, MbrRole::Primary)), (1, 10, mbr(0x83, MbrRole::Logical))];
    let layout = machine(Firmware::Bios, &path, table, &entries);
    let door = sys::Real::default();
    let facts = capture(&door, &layout).unwrap();
    let kept = &facts.disks[0];
    assert_eq!(kept.loader.as_deref(), Some("GRUB"));
    assert_eq!((kept.boot_code.0.len(), kept.gap.0.as_slice()), (440, b"core image in the gap".as_slice()));
    assert!(kept.partitions.is_empty() && facts.efi.is_none() && check(&facts, &layout).is_empty());

    let text = serde_json::to_string(&facts).unwrap();
    let facts: BootFacts = serde_json::from_str(&text).unwrap();
    let blank = dir.path().join("blank");
    let file = std::fs::File::create(&blank).unwrap();
    file.write_all_at(b"NEW TABLE", 440).unwrap();
    let disks = [(NodeId("disk:serial:A".into()), blank.clone())].into();
    let target = crate::Target { root: dir.path(), layout: &layout, disks: &disks, moved: false };
    crate::restore_boot(&door, &facts, &target, &mut |_, offset, bytes| {
        file.write_all_at(bytes, offset).map_err(|error| error.to_string())
    })
    .unwrap();
    let (old, new) = (std::fs::read(path).unwrap(), std::fs::read(blank.clone()).unwrap());
    assert_eq!(new[..440], old[..440]);
    assert_eq!(new[440..449], *b"NEW TABLE");
    assert_eq!(new[512..533], old[512..533]);
    assert!(crate::check_boot_code(&door, &facts, &disks).unwrap()[0].ok);
}

#[test]
fn a_gpt_disk_keeps_its_bios_boot_partition_and_not_its_table() {
    let dir = tempfile::tempdir().unwrap();
    let path = disk(dir.path(), 2048);
    let table =
        PartitionTable::Gpt { guid: "1".into(), first_lba: Lba(34), last_lba: Lba(16_000), entries: 128 };
    let entry = |type_guid: &str| {
        PartitionEntry::Gpt(GptEntry {
            type_guid: type_guid.into(),
            guid: "2".into(),
            name: String::new(),
            attributes: 0,
        })
    };
    let bios_boot =
        machine(Firmware::Bios, &path, table.clone(), &[(2048, 2048, entry(GptEntry::BIOS_BOOT))]);
    let facts = capture(&sys::Real::default(), &bios_boot).unwrap();
    let kept = &facts.disks[0];
    assert!(kept.gap.0.is_empty());
    assert_eq!(kept.partitions[0].content.0, b"core image in its partition");
    assert_eq!(kept.partitions[0].offset, 1 << 20);
    assert!(check(&facts, &bios_boot).is_empty());

    let without = machine(Firmware::Bios, &path, table, &[]);
    let facts = capture(&sys::Real::default(), &without).unwrap();
    assert!(check(&facts, &without)[0].contains("BIOS boot partition"));
    // A core image that lies in a filesystem.
    let elsewhere = disk(dir.path(), 9000);
    let facts = capture(&sys::Real::default(), &bios_boot).unwrap();
    assert_eq!(elsewhere, path);
    assert!(check(&facts, &bios_boot)[0].contains("its core image is not where it can be kept"));
}

#[test]
fn only_grub_starts_a_bios_machine_again_and_one_disk_with_it_suffices() {
    let dir = tempfile::tempdir().unwrap();
    let grub = disk(dir.path(), 1);
    let syslinux = dir.path().join("other");
    std::fs::write(&syslinux, [b"code, Missing operating system".as_slice(), &[0; 8000]].concat()).unwrap();
    let layout = |path: &Path| {
        let entries = [(2048, 2048, mbr(0x83, MbrRole::Primary))];
        machine(Firmware::Bios, path, PartitionTable::Mbr { signature: 1 }, &entries)
    };
    let door = sys::Real::default();
    let alone = layout(&syslinux);
    let mut facts = capture(&door, &alone).unwrap();
    let problems = check(&facts, &alone);
    assert!(problems[0].contains("is a standard boot sector: only GRUB can be brought back"), "{problems:?}");
    assert!(problems[0].contains("install GRUB on this disk"), "{problems:?}");
    facts.disks.extend(capture(&door, &layout(&grub)).unwrap().disks);
    assert_eq!(check(&facts, &alone), [""; 0]);
    // With UEFI, nothing of that matters.
    facts.disks.truncate(1);
    facts.uefi = true;
    assert!(!check(&facts, &alone).iter().any(|problem| problem.contains("GRUB")));
}

#[test]
fn a_protective_mbr_keeps_its_active_flag_and_a_hybrid_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = disk(dir.path(), 2048);
    let table =
        PartitionTable::Gpt { guid: "1".into(), first_lba: Lba(34), last_lba: Lba(16_000), entries: 128 };
    let layout = machine(Firmware::Bios, &path, table, &[]);
    let door = sys::Real::default();
    let mut sector = std::fs::read(&path).unwrap()[..512].to_vec();
    sector[440..].fill(0);
    sector[446 + 4] = 0xee;
    sector[446 + 8] = 1;
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    let write = |sector: &[u8]| {
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().write_all_at(sector, 0).unwrap();
    };
    write(&sector);
    assert!(!capture(&door, &layout).unwrap().disks[0].protective_active);
    let mut active = sector.clone();
    active[446] = 0x80;
    write(&active);
    let facts = capture(&door, &layout).unwrap();
    assert!(facts.disks[0].protective_active);

    // As sfdisk made it: another signature, no active flag.
    let blank = dir.path().join("blank");
    let mut made = vec![0; 4096];
    made[..512].copy_from_slice(&sector);
    made[..440].fill(0);
    made[440..444].copy_from_slice(b"ABCD");
    std::fs::write(&blank, &made).unwrap();
    let disks = [(NodeId("disk:serial:A".into()), blank.clone())].into();
    let links = crate::check_boot_code(&door, &facts, &disks).unwrap();
    assert!(links.iter().any(|link| link.what == "protective MBR" && !link.ok), "{links:?}");
    let file = std::fs::OpenOptions::new().write(true).open(&blank).unwrap();
    let target = crate::Target { root: dir.path(), layout: &layout, disks: &disks, moved: false };
    crate::restore_boot(&door, &facts, &target, &mut |_, offset, bytes| {
        file.write_all_at(bytes, offset).map_err(|error| error.to_string())
    })
    .unwrap();
    let restored = std::fs::read(&blank).unwrap();
    assert_eq!(restored[..440], active[..440]);
    assert_eq!(restored[440..444], *b"ABCD");
    assert_eq!(restored[444..512], active[444..512]);
    assert!(crate::check_boot_code(&door, &facts, &disks).unwrap().iter().all(|link| link.ok));

    let mut hybrid = sector;
    hybrid[446 + 16 + 4] = 0x07;
    write(&hybrid);
    let error = capture(&door, &layout).unwrap_err().to_string();
    assert!(error.contains("disk:serial:A has a hybrid MBR") && error.contains("0x07"), "{error}");
}

#[test]
fn a_machine_that_cannot_boot_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("blank");
    std::fs::write(&path, vec![0; 4096]).unwrap();
    let table = || PartitionTable::Mbr { signature: 1 };
    for (firmware, name) in [(Firmware::Bios, "BIOS"), (Firmware::Uefi, "UEFI")] {
        let error = capture(&sys::Real::default(), &machine(firmware, &path, table(), &[])).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}
