//! The model's promises: JSON that reads back, rules that are kept, differences that are seen, a tree to read.

use layout::*;
use proptest::prelude::*;

/// A small machine: GPT with a BIOS boot partition, ext4 and swap.
fn machine() -> Layout {
    let disk = NodeId("disk:serial:QM1".into());
    let mut layout = Layout::new(Machine {
        hostname: "web1".into(),
        firmware: Firmware::Bios,
        architecture: "x86_64".into(),
        system: "Debian GNU/Linux 12 (bookworm)".into(),
    });
    layout.devices.push(Device {
        id: disk.clone(),
        path: "/dev/vda".into(),
        size: Bytes(8 << 30),
        sector: SectorSize::B512,
        kind: Kind::Disk(Disk {
            identity: DiskIdentity { serial: Some("QM1".into()), ..DiskIdentity::default() },
            transport: "virtio".into(),
            removable: false,
            read_only: false,
            multipath: None,
        }),
        content: Content::Table(PartitionTable::Gpt {
            guid: "6A0E4B5A-0000-4000-8000-000000000001".into(),
            first_lba: Lba(34),
            last_lba: Lba((8 << 21) - 34),
            entries: 128,
        }),
    });
    let mut part = |number: u32, start: u64, length: u64, type_guid: &str, content: Content| {
        layout.devices.push(Device {
            id: disk.partition(number),
            path: format!("/dev/vda{number}"),
            size: Lba(length).bytes(SectorSize::B512),
            sector: SectorSize::B512,
            kind: Kind::Partition(Partition {
                parent: disk.clone(),
                number,
                start: Lba(start),
                length: Lba(length),
                entry: PartitionEntry::Gpt(GptEntry {
                    type_guid: type_guid.into(),
                    guid: format!("00000000-0000-4000-8000-00000000000{number}"),
                    name: String::new(),
                    attributes: 0,
                }),
            }),
            content,
        });
    };
    part(1, 2048, 2048, GptEntry::BIOS_BOOT, Content::BootCode);
    let other = FsKind::Other { name: "f2fs".into() };
    let fs = Filesystem { uuid: "u-1".into(), label: "root".into(), used: Some(Bytes(1 << 30)), kind: other };
    part(2, 4096, 12 << 20, "0FC63DAF-8483-4772-8E79-3D69D8477DE4", Content::Filesystem(fs));
    let swap = Swap { uuid: "u-2".into(), label: String::new(), page_size: 4096, active: true };
    part(5, (12 << 20) + 4096, 1 << 20, "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F", Content::Swap(swap));
    layout.mounts.push(Mount {
        device: disk.partition(2),
        mount_point: "/".into(),
        root: "/".into(),
        fs_type: "f2fs".into(),
        options: vec!["rw".into()],
    });
    layout
}

fn part_of(layout: &mut Layout, path: &str) -> Option<Partition> {
    let device = layout.devices.iter_mut().find(|device| device.path == path)?;
    match &mut device.kind {
        Kind::Partition(part) => Some(part.clone()),
        _ => None,
    }
}

fn set_part(layout: &mut Layout, path: &str, part: Partition) {
    if let Some(device) = layout.devices.iter_mut().find(|device| device.path == path) {
        device.kind = Kind::Partition(part);
    }
}

#[test]
fn a_sound_layout_reads_back() {
    let layout = machine();
    assert_eq!(layout.check(), []);
    let text = layout.to_json().unwrap();
    assert_eq!(Layout::from_json(&text).unwrap(), layout);
}

#[test]
fn a_newer_format_is_refused_by_number() {
    let text = machine().to_json().unwrap().replacen("\"format\": 2", "\"format\": 99", 1);
    let error = Layout::from_json(&text).unwrap_err().to_string();
    assert!(error.contains("format 99"), "{error}");
}

#[test]
fn broken_rules_are_named() {
    let broken = |change: &dyn Fn(&mut Layout)| {
        let mut layout = machine();
        change(&mut layout);
        layout.check().iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    let overlap = broken(&|layout| {
        let mut part = part_of(layout, "/dev/vda5").unwrap();
        part.start = Lba(5000);
        set_part(layout, "/dev/vda5", part);
    });
    assert_eq!(overlap, "/dev/vda2 and /dev/vda5 overlap");
    let outside = broken(&|layout| {
        let mut part = part_of(layout, "/dev/vda5").unwrap();
        part.length = Lba(1 << 30);
        set_part(layout, "/dev/vda5", part);
    });
    assert_eq!(outside, "/dev/vda5 ends behind the end of /dev/vda");
    let orphan = broken(&|layout| {
        layout.devices.remove(0);
    });
    assert!(orphan.contains("does not stand before it"), "{orphan}");
    let logical = broken(&|layout| {
        let mut part = part_of(layout, "/dev/vda5").unwrap();
        part.entry = PartitionEntry::Mbr(MbrEntry { type_id: 0x82, bootable: false, role: MbrRole::Logical });
        set_part(layout, "/dev/vda5", part);
    });
    assert_eq!(logical, "/dev/vda5 is a logical partition outside of an extended one");
    let mounted = broken(&|layout| layout.mounts[0].device = NodeId("disk:serial:QM1/5".into()));
    assert_eq!(mounted, "/dev/vda5 is mounted at / but carries no filesystem");
}

#[test]
fn differences_are_seen_and_noise_is_not() {
    let old = machine();
    let mut new = machine();
    new.devices[2].path = "/dev/sda2".into();
    if let Content::Filesystem(fs) = &mut new.devices[2].content {
        fs.used = Some(Bytes(5));
    }
    assert_eq!(diff(&old, &new), []);
    let behind = |wwid: &str, paths: [&str; 2]| {
        let mut layout = machine();
        if let Kind::Disk(disk) = &mut layout.devices[0].kind {
            disk.multipath = Some(Multipath { wwid: wwid.into(), paths: paths.map(str::to_owned).into() });
        }
        layout
    };
    let two = behind("35000c5000000aaaa", ["/dev/sda", "/dev/sdb"]);
    assert_eq!(diff(&two, &behind("35000c5000000aaaa", ["/dev/sdc", "/dev/sdq"])), []);
    assert_eq!(diff(&two, &behind("35000c5000000bbbb", ["/dev/sda", "/dev/sdb"])).len(), 1);
    if let Content::Filesystem(fs) = &mut new.devices[2].content {
        fs.label = "other".into();
    }
    new.devices.pop();
    let changes: Vec<_> = diff(&old, &new).iter().map(ToString::to_string).collect();
    assert_eq!(
        changes,
        [
            "/dev/vda2 (disk:serial:QM1/2) has content.filesystem.label \"other\" instead of \"root\"",
            "/dev/vda5 (disk:serial:QM1/5) is gone",
        ]
    );
}

#[test]
fn the_tree_can_be_read() {
    insta::assert_snapshot!(machine().tree(), @r"
    /dev/vda  8.0 GiB  disk serial QM1  gpt 6A0E4B5A-0000-4000-8000-000000000001
    ├─ /dev/vda1  1.0 MiB  boot code
    ├─ /dev/vda2  6.0 GiB  f2fs 'root' u-1 (1.0 GiB used)  on /
    └─ /dev/vda5  512.0 MiB  swap u-2
    ");
}

#[test]
fn what_lies_on_a_disk_is_found() {
    let layout = machine();
    let disk = NodeId("disk:serial:QM1".into());
    assert_eq!(layout.subtree(&disk).len(), 4);
    assert_eq!(layout.disks_below(&disk.partition(5))[0].path, "/dev/vda");
    assert_eq!(layout.mounted_at("/").unwrap().path, "/dev/vda2");
}

proptest! {
    /// Any placement of three partitions is either without overlap or reported, never both.
    #[test]
    fn overlap_is_always_seen(starts in proptest::array::uniform3(0_u64..5000), length in 1_u64..2000) {
        let mut layout = machine();
        for (path, start) in ["/dev/vda1", "/dev/vda2", "/dev/vda5"].iter().zip(starts) {
            let mut part = part_of(&mut layout, path).unwrap();
            part.start = Lba(start + 34);
            part.length = Lba(length);
            set_part(&mut layout, path, part);
        }
        let mut sorted = starts;
        sorted.sort_unstable();
        let apart = sorted.windows(2).all(|pair| pair[0] + length <= pair[1]);
        prop_assert_eq!(layout.check().is_empty(), apart);
    }
}

#[test]
fn the_first_format_is_still_read() {
    let text = machine().to_json().unwrap().replacen("\"format\": 2", "\"format\": 1", 1);
    assert_eq!(Layout::from_json(&text).unwrap().devices, machine().devices);
}
