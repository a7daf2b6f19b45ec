//! Impossible software RAID arrays are refused with the array named.
#![allow(clippy::unwrap_used)]

use layout::{
    Bytes, Content, Device, Disk, DiskIdentity, Firmware, Kind, Layout, Machine, MdArray, MdMember, NodeId,
    SectorSize,
};

const MIB: u64 = 1 << 20;

fn device(name: &str, size: u64, kind: Kind, content: Content) -> Device {
    Device {
        id: NodeId(name.into()),
        path: format!("/dev/{name}"),
        size: Bytes(size),
        sector: SectorSize::B512,
        kind,
        content,
    }
}

fn member(name: &str) -> MdMember {
    MdMember { device: NodeId(name.into()), data_offset: Bytes(MIB), flags: Vec::new() }
}

fn array(level: &str, slots: &[Option<&str>]) -> MdArray {
    MdArray {
        uuid: "u".into(),
        name: String::new(),
        level: level.into(),
        metadata: "1.2".into(),
        layout: if level == "raid10" { 0x102 } else { 0 },
        chunk: Bytes(if level == "raid1" { 0 } else { 65536 }),
        component_size: Bytes(64 * MIB),
        bitmap: None,
        consistency: "resync".into(),
        slots: slots.iter().map(|slot| slot.map(member)).collect(),
        spares: Vec::new(),
    }
}

/// What is said of a layout of four disks with these arrays.
fn said(arrays: &[MdArray]) -> String {
    let mut layout = Layout::new(Machine {
        hostname: String::new(),
        firmware: Firmware::Bios,
        architecture: String::new(),
        system: String::new(),
    });
    for name in ["a", "b", "c", "d"] {
        let disk = Disk {
            identity: DiskIdentity::default(),
            transport: String::new(),
            removable: false,
            read_only: false,
            multipath: None,
        };
        let content = Content::MdMember { array: "u".into() };
        layout.devices.push(device(name, 66 * MIB, Kind::Disk(disk), content));
    }
    for (number, array) in arrays.iter().enumerate() {
        let kind = Kind::MdArray(array.clone());
        layout.devices.push(device(&format!("md{number}"), 64 * MIB, kind, Content::Empty));
    }
    layout.check().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn possible_arrays_are_sound() {
    for (level, slots) in [
        ("raid1", &[None, Some("a")][..]),
        ("raid5", &[Some("a"), None, Some("b")]),
        ("raid6", &[Some("a"), None, Some("b"), None]),
        ("raid10", &[Some("a"), None, None, Some("b")]),
        ("raid10", &[None, Some("a"), Some("b")]),
    ] {
        assert_eq!(said(&[array(level, slots)]), "", "{level} {slots:?}");
    }
    let two = [array("raid1", &[Some("a"), Some("c")]), array("raid1", &[Some("d"), Some("b")])];
    assert_eq!(said(&two), "");
}

#[test]
fn no_array_survives_more_than_its_level_does() {
    for (level, slots) in [
        ("raid0", &[Some("a"), None][..]),
        ("raid1", &[None, None]),
        ("raid5", &[Some("a"), None, None]),
        ("raid6", &[Some("a"), None, None, None]),
        ("raid10", &[None, None, Some("a"), Some("b")]),
    ] {
        let text = said(&[array(level, slots)]);
        assert!(text.contains("/dev/md0") && text.contains("are missing"), "{level} {slots:?}: {text}");
    }
    assert!(said(&[array("raid1", &[])]).contains("/dev/md0: the array u has no slots"));
}

#[test]
fn members_are_there_once_and_large_enough() {
    assert!(said(&[array("raid1", &[Some("a"), Some("e")])]).contains("/dev/md0 is made of e"));
    assert!(
        said(&[array("raid1", &[Some("a"), Some("a")])])
            .contains("its member a is a member of /dev/md0 already")
    );
    let two = [array("raid1", &[Some("a"), Some("b")]), array("raid1", &[Some("c"), Some("b")])];
    assert!(said(&two).contains("/dev/md1: its member b is a member of /dev/md0 already"));
    for component in [66 * MIB, u64::MAX - 5] {
        let mut large = array("raid1", &[Some("a"), Some("b")]);
        large.component_size = Bytes(component);
        assert!(said(&[large]).contains("of /dev/a, which has only 69206016 bytes"));
    }
    let mut odd = array("raid1", &[Some("a"), Some("b")]);
    odd.slots[1].as_mut().unwrap().data_offset = Bytes(MIB + 1);
    assert!(said(&[odd]).contains("within a sector"));
}

#[test]
fn numbers_that_no_kernel_works_with_are_refused() {
    let mut one = array("raid5", &[Some("a"), Some("b")]);
    one.chunk = Bytes(0);
    assert!(said(&[one]).contains("chunks of 0 bytes"));
    let mut one = array("raid1", &[Some("a"), Some("b")]);
    one.bitmap = Some(layout::MdBitmap { location: "internal".into(), chunk: Bytes(5000), write_behind: 0 });
    assert!(said(&[one]).contains("5000 bytes for each bit"));
}
