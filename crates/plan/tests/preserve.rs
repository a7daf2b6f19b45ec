//! Which present disk a preserved one is, and what must not be written for its sake.
#![allow(clippy::unwrap_used)]

use layout::*;
use plan::{Choices, FitError, fit, preserved, still_there};

fn disk(serial: &str, path: &str, content: Content) -> Device {
    let serial_number = (!serial.is_empty()).then(|| serial.to_owned());
    let identity = DiskIdentity { serial: serial_number, ..DiskIdentity::default() };
    let kind =
        Disk { identity, transport: "scsi".into(), removable: false, read_only: false, multipath: None };
    Device {
        id: NodeId(format!("disk:{path}")),
        path: path.into(),
        size: Bytes(1 << 30),
        sector: SectorSize::B512,
        kind: Kind::Disk(kind),
        content,
    }
}

fn pv(uuid: &str) -> Content {
    Content::LvmMember { uuid: uuid.into() }
}

fn ext4(uuid: &str) -> Content {
    let kind = FsKind::Other { name: "ext4".into() };
    Content::Filesystem(Filesystem { uuid: uuid.into(), label: String::new(), used: None, kind })
}

fn layout(devices: Vec<Device>) -> Layout {
    let machine = Machine {
        hostname: "web".into(),
        firmware: Firmware::Bios,
        architecture: "x86_64".into(),
        system: String::new(),
    };
    Layout { devices, ..Layout::new(machine) }
}

/// One preserved disk with a volume on it, mounted at /data.
fn saved() -> Layout {
    let below = disk("A", "/dev/sdb", pv("pv-1"));
    let kind = LogicalVolume {
        group: "vg".into(),
        name: "lv".into(),
        uuid: "lv".into(),
        physical_volumes: vec![below.id.clone()],
    };
    let volume = Device {
        id: NodeId("lv:vg/lv".into()),
        path: "/dev/dm-0".into(),
        kind: Kind::LogicalVolume(kind),
        content: ext4("fs"),
        ..below.clone()
    };
    let mount = Mount {
        device: volume.id.clone(),
        mount_point: "/data".into(),
        root: "/".into(),
        fs_type: "ext4".into(),
        options: Vec::new(),
    };
    let mut saved = layout(vec![below, volume]);
    saved.mounts.push(mount);
    saved
}

#[test]
fn it_is_found_by_what_it_holds_under_any_name() {
    let saved = saved();
    for serial in ["A", "B", ""] {
        let present =
            layout(vec![disk("", "/dev/sda", Content::Empty), disk(serial, "/dev/sdx", pv("PV-1"))]);
        let result = preserved(&saved, &present);
        assert_eq!(result.found, [(NodeId("disk:/dev/sdb".into()), NodeId("disk:/dev/sdx".into()))]);
        assert_eq!(result.missing, []);
        assert_eq!(result.protected.keys().map(|id| id.0.as_str()).collect::<Vec<_>>(), ["disk:/dev/sdx"]);
        let there = still_there(&saved, &result);
        assert_eq!((there.devices.len(), there.mounts.len()), (2, 1));
    }
}

#[test]
fn a_disk_without_what_it_held_is_not_it_and_is_not_written_either() {
    let saved = saved();
    let present = layout(vec![disk("A", "/dev/sda", ext4("other"))]);
    let result = preserved(&saved, &present);
    assert_eq!((result.found.len(), result.protected.len()), (0, 1));
    assert_eq!(
        result.missing[0].1,
        "/dev/sdb, 1.0 GiB, serial A, which held LVM physical volume (/data): the disk is here as /dev/sda, but it holds ext4"
    );
    assert_eq!(still_there(&saved, &result).devices.len(), 0);
    // Hypervisors number the disks of all machines alike: a blank one is free for other uses.
    let result = preserved(&saved, &layout(vec![disk("A", "/dev/sda", Content::Empty)]));
    assert_eq!((result.missing.len(), result.protected.len()), (1, 0));
    let result = preserved(&saved, &layout(Vec::new()));
    assert!(result.missing[0].1.ends_with("(/data): no disk here holds that"), "{result:?}");
}

#[test]
fn copies_and_members_of_one_array_are_told_apart_and_all_protected() {
    let member = || Content::MdMember { array: "array".into() };
    let saved = layout(vec![disk("A", "/dev/sda", member()), disk("B", "/dev/sdb", member())]);
    let present = layout(vec![disk("B", "/dev/sdc", member()), disk("A", "/dev/sdd", member())]);
    let result = preserved(&saved, &present);
    let pairs: Vec<(&str, &str)> = result.found.iter().map(|(a, b)| (&a.0[5..], &b.0[5..])).collect();
    assert_eq!(pairs, [("/dev/sda", "/dev/sdd"), ("/dev/sdb", "/dev/sdc")]);
    // One of the two is gone.
    let one = preserved(&saved, &layout(vec![disk("", "/dev/sdc", member())]));
    assert_eq!((one.found.len(), one.missing.len(), one.protected.len()), (1, 1, 1));
    // A third disk with the same content, such as a second path.
    let mut three = present;
    three.devices.push(disk("A", "/dev/sde", member()));
    assert_eq!(preserved(&saved, &three).protected.len(), 3);
}

#[test]
fn a_disk_without_identifiers_on_it_is_known_by_its_own() {
    let raw = || Content::Unknown { what: "data without a known signature".into() };
    let saved = layout(vec![disk("A", "/dev/sda", raw())]);
    assert_eq!(preserved(&saved, &layout(vec![disk("A", "/dev/sdb", raw())])).found.len(), 1);
    assert_eq!(preserved(&saved, &layout(vec![disk("B", "/dev/sdb", raw())])).missing.len(), 1);
}

#[test]
fn it_is_never_taken_as_a_target() {
    let saved = saved();
    let lost = layout(vec![disk("Z", "/dev/sda", ext4("root"))]);
    let present = layout(vec![disk("A", "/dev/sda", pv("pv-1"))]);
    let protected = preserved(&saved, &present).protected;
    let choices = Choices {
        mapping: [(NodeId("disk:/dev/sda".into()), NodeId("disk:/dev/sda".into()))].into(),
        allow_erase: vec!["A".into()],
        ..Choices::default()
    };
    let error = fit(&lost, &present, &protected, &choices).unwrap_err();
    assert!(
        matches!(&error, FitError::Mapping { reason, .. } if reason.contains("never written")),
        "{error}"
    );
}
