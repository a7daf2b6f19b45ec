//! What is attached so that a saved layout can be mounted, in which order, and what is said when it cannot.

#![allow(clippy::unwrap_used)]

use layout::*;
use plan::{Attach, assemble, assemble_found, found_mounts, locate};

const MD: &str = "11111111:22222222:33333333:44444444";

fn device(id: &str, path: &str, kind: Kind, content: Content) -> Device {
    Device {
        id: NodeId(id.into()),
        path: path.into(),
        size: Bytes(1 << 30),
        sector: SectorSize::B512,
        kind,
        content,
    }
}

fn disk(serial: &str, path: &str, content: Content) -> Device {
    let identity = DiskIdentity { serial: Some(serial.into()), ..DiskIdentity::default() };
    let kind =
        Disk { identity, transport: "scsi".into(), removable: false, read_only: false, multipath: None };
    device(&format!("disk:serial:{serial}"), path, Kind::Disk(kind), content)
}

fn xfs(uuid: &str) -> Content {
    let kind = FsKind::Other { name: "xfs".into() };
    Content::Filesystem(Filesystem { uuid: uuid.into(), label: String::new(), used: None, kind })
}

fn member() -> Content {
    Content::MdMember { array: MD.into() }
}

fn pv(uuid: &str) -> Content {
    Content::LvmMember { uuid: uuid.into() }
}

fn array(members: [&str; 2], path: &str, content: Content) -> Device {
    let member =
        |id: &&str| Some(MdMember { device: NodeId((*id).into()), data_offset: Bytes(0), flags: Vec::new() });
    let array = MdArray {
        uuid: MD.into(),
        name: "web:0".into(),
        level: "raid1".into(),
        metadata: "1.2".into(),
        layout: 0,
        chunk: Bytes(0),
        component_size: Bytes(0),
        bitmap: None,
        consistency: String::new(),
        slots: members.iter().map(member).collect(),
        spares: Vec::new(),
    };
    device(&format!("md:{MD}"), path, Kind::MdArray(array), content)
}

fn volume(name: &str, on: &[&str], content: Content) -> Device {
    let kind = LogicalVolume {
        group: "vg".into(),
        name: name.into(),
        uuid: name.into(),
        physical_volumes: on.iter().map(|id| NodeId((*id).into())).collect(),
    };
    device(&format!("lv:VG/{name}"), &format!("/dev/mapper/vg-{name}"), Kind::LogicalVolume(kind), content)
}

/// Two volumes, one on each physical volume.
fn metadata(volumes: &[(&str, &str)]) -> LvmSection {
    let mut text = String::from("extent_size = 8192\nphysical_volumes {\n");
    for (n, (uuid, _)) in volumes.iter().enumerate() {
        text += &format!("pv{n} {{\nid = \"{uuid}\"\npe_start = 2048\npe_count = 100\n}}\n");
    }
    text += "}\nlogical_volumes {\n";
    for (n, name) in ["root", "safe"].into_iter().enumerate() {
        text += &format!(
            "{name} {{\nid = \"{name}\"\nstatus = [\"READ\", \"WRITE\", \"VISIBLE\"]\nsegment1 {{\nstart_extent = 0\n\
             extent_count = 10\ntype = \"striped\"\nstripe_count = 1\nstripes = [\"pv{n}\", 0]\n}}\n}}\n"
        );
    }
    parse_lvm_text(&(text + "}\n")).unwrap()
}

fn group(volumes: &[(&str, &str)]) -> VolumeGroup {
    let volume = |(n, (uuid, device)): (usize, &(&str, &str))| PhysicalVolume {
        key: format!("pv{n}"),
        uuid: (*uuid).into(),
        device: Some(NodeId((*device).into())),
        metadata_areas: 1,
        metadata_size: Bytes(1 << 20),
        metadata_ignored: false,
    };
    VolumeGroup {
        name: "vg".into(),
        uuid: "VG-UUID".into(),
        physical_volumes: volumes.iter().enumerate().map(volume).collect(),
        metadata: metadata(volumes),
    }
}

fn machine(devices: Vec<Device>) -> Layout {
    let machine = Machine {
        hostname: "web".into(),
        firmware: Firmware::Bios,
        architecture: "x86_64".into(),
        system: String::new(),
    };
    Layout { devices, ..Layout::new(machine) }
}

fn mount(device: &str, at: &str) -> Mount {
    Mount {
        device: NodeId(device.into()),
        mount_point: at.into(),
        root: "/".into(),
        fs_type: "xfs".into(),
        options: Vec::new(),
    }
}

/// A group on an array and a third disk; in it the root and a container, in which another filesystem lies.
fn saved() -> Layout {
    let (md, vol) = (format!("md:{MD}"), "lv:VG/safe");
    let mut layout = machine(vec![
        disk("A", "/dev/sda", member()),
        disk("B", "/dev/sdb", member()),
        disk("C", "/dev/sdc", pv("PV-C")),
        array(["disk:serial:A", "disk:serial:B"], "/dev/md0", pv("PV-MD")),
        volume("root", &[&md], xfs("ROOT")),
        volume("safe", &["disk:serial:C"], luks()),
        device("luks:L", "/dev/dm-2", open(vol), xfs("DATA")),
    ]);
    layout.groups.push(group(&[("PV-MD", &md), ("PV-C", "disk:serial:C")]));
    layout.mounts = vec![mount("luks:L", "/srv/data"), mount("lv:VG/root", "/")];
    assert_eq!(layout.check(), []);
    layout
}

fn luks() -> Content {
    Content::Luks(Luks { uuid: "LUKS".into(), version: 2, ..Luks::default() })
}

fn open(parent: &str) -> Kind {
    Kind::LuksMapping(LuksMapping { parent: NodeId(parent.into()), name: "data_crypt".into() })
}

fn wanted(layout: &Layout) -> Vec<NodeId> {
    layout.mounts.iter().map(|mount| mount.device.clone()).collect()
}

/// The disks alone, under other names and in another order, as the rescue system sees them.
fn cold() -> Layout {
    machine(vec![
        disk("C", "/dev/sda", pv("PV-C")),
        disk("X", "/dev/sdb", xfs("FOREIGN")),
        disk("B", "/dev/sdc", member()),
        disk("A", "/dev/sdd", member()),
    ])
}

fn lines(all: &[Attach]) -> Vec<String> {
    all.iter().map(|attach| attach.command(false).line()).collect()
}

#[test]
fn each_thing_is_attached_when_all_its_parts_are_there() {
    let saved = saved();
    let wanted = wanted(&saved);
    let mut present = cold();
    let first = assemble(&saved, &present, &wanted, &[]);
    assert_eq!(lines(&first), [format!("mdadm --assemble --run --uuid={MD} /dev/md0 /dev/sdc /dev/sdd")]);
    assert!(first[0].command(true).line().contains("--run --readonly --uuid="));

    present.devices.push(array(["disk:serial:A", "disk:serial:B"], "/dev/md0", pv("PV-MD")));
    let second = assemble(&saved, &present, &wanted, &[]);
    assert_eq!(lines(&second), ["vgchange --activate y --monitor n --select vg_uuid=VG-UUID"]);
    assert_eq!(second[0].describe(), "the volume group vg of /dev/md0, /dev/sda");

    present.devices.push(volume("root", &[&format!("md:{MD}")], xfs("ROOT")));
    present.devices.push(volume("safe", &["disk:serial:C"], luks()));
    let third = assemble(&saved, &present, &wanted, &[]);
    assert_eq!(
        lines(&third),
        ["cryptsetup open --batch-mode --type luks --key-file=- /dev/mapper/vg-safe data_crypt"]
    );
    // The wrong passphrase: it is not asked for again, and nothing else is left.
    assert_eq!(assemble(&saved, &present, &wanted, &third), []);
    let mounts = found_mounts(&saved, &present);
    assert_eq!(mounts[0].device.as_deref(), Ok("/dev/mapper/vg-root"));
    assert_eq!(mounts[1].mount_point, "/srv/data");
    assert_eq!(mounts[1].device, Err("the LUKS container on /dev/mapper/vg-safe is not open".into()));

    // Opened by hand, under another name.
    present.devices.push(device("luks:other", "/dev/dm-9", open("lv:VG/safe"), xfs("DATA")));
    assert_eq!(assemble(&saved, &present, &wanted, &[]), []);
    assert_eq!(found_mounts(&saved, &present)[1].device.as_deref(), Ok("/dev/dm-9"));
    // Undone in the reverse order.
    let undo: Vec<_> =
        [third, second, first].concat().iter().map(|attach| attach.undo().unwrap().line()).collect();
    assert_eq!(undo[0], "cryptsetup close data_crypt");
    assert_eq!(undo[1], "vgchange --activate n --select vg_uuid=VG-UUID");
    assert_eq!(undo[2], "mdadm --stop /dev/md0");
}

#[test]
fn what_no_mount_needs_is_left_alone() {
    let saved = saved();
    let mut present = cold();
    present.devices.push(array(["disk:serial:A", "disk:serial:B"], "/dev/md0", pv("PV-MD")));
    present.devices.push(volume("root", &[&format!("md:{MD}")], xfs("ROOT")));
    present.devices.push(volume("safe", &["disk:serial:C"], luks()));
    assert_eq!(assemble(&saved, &present, &[NodeId("lv:VG/root".into())], &[]), []);
}

#[test]
fn what_lacks_a_part_waits_for_all_that_is_whole() {
    let saved = saved();
    let mut present = cold();
    // One half of the mirror is dead: the array comes first, and alone, because the group needs it.
    present.devices.retain(|device| device.path != "/dev/sdc");
    let found = assemble(&saved, &present, &wanted(&saved), &[]);
    assert_eq!((found.len(), found[0].missing()), (1, 1));
    assert!(matches!(&found[0], Attach::Array { members, .. } if members == &["/dev/sdd"]));
    // It cannot be started: what is left of the group is tried, and then no more.
    let mut tried = found;
    let rest = assemble(&saved, &present, &wanted(&saved), &tried);
    assert!(matches!(&rest[..], [Attach::Group { missing: 1, .. }]), "{rest:?}");
    tried.extend(rest);
    assert_eq!(assemble(&saved, &present, &wanted(&saved), &tried), []);
    let reason = found_mounts(&saved, &present)[0].device.clone().unwrap_err();
    assert!(reason.contains("volume root of the volume group vg is not active"), "{reason}");
    assert!(reason.contains(&format!("the array {MD} (/dev/md0) does not run")), "{reason}");
}

#[test]
fn a_disk_that_is_gone_is_named() {
    let saved = saved();
    let mut present = cold();
    present.devices.retain(|device| device.path != "/dev/sda");
    present.devices.push(array(["disk:serial:A", "disk:serial:B"], "/dev/md0", pv("PV-MD")));
    present.devices.push(volume("root", &[&format!("md:{MD}")], xfs("ROOT")));
    let reason = found_mounts(&saved, &present)[1].device.clone().unwrap_err();
    assert!(reason.contains("is the physical volume PV-C (/dev/sdc when it was saved)"), "{reason}");
}

fn partition(disk: &str, path: &str, guid: &str, content: Content) -> Device {
    let entry = GptEntry { type_guid: String::new(), guid: guid.into(), name: String::new(), attributes: 0 };
    let kind = Partition {
        parent: NodeId(disk.into()),
        number: 1,
        start: Lba(2048),
        length: Lba(2048),
        entry: PartitionEntry::Gpt(entry),
    };
    device(&format!("{disk}/1"), path, Kind::Partition(kind), content)
}

#[test]
fn of_two_clones_the_one_on_the_same_disk_is_taken_and_else_none() {
    let table = || {
        let guid = "AAAA".to_owned();
        Content::Table(PartitionTable::Gpt { guid, first_lba: Lba(34), last_lba: Lba(9999), entries: 128 })
    };
    let on = |serial: &str, path: &str| {
        let id = format!("disk:serial:{serial}");
        [disk(serial, path, table()), partition(&id, &format!("{path}1"), "P-1", xfs("ROOT"))]
    };
    let saved = machine(on("A", "/dev/sda").to_vec());
    let root = NodeId("disk:serial:A/1".into());
    let both = machine([on("Z", "/dev/sda"), on("A", "/dev/sdb")].concat());
    assert_eq!(locate(&saved, &both, &root).unwrap().path, "/dev/sdb1");
    let strangers = machine([on("Y", "/dev/sda"), on("Z", "/dev/sdb")].concat());
    let reason = locate(&saved, &strangers, &root).unwrap_err();
    assert_eq!(reason, "/dev/sda1 and /dev/sdb1 alike: each has the UUID ROOT");
    // A content without an identifier is known by its partition.
    let mut plain = saved.clone();
    plain.devices[1].content = xfs("");
    let mut moved = machine(on("B", "/dev/vda").to_vec());
    moved.devices[1].content = xfs("");
    assert_eq!(locate(&plain, &moved, &root).unwrap().path, "/dev/vda1");
}

#[test]
fn a_btrfs_over_several_devices_is_made_known() {
    let kind = FsKind::Btrfs(Btrfs { devices: 2, ..Btrfs::default() });
    let fs = Filesystem { uuid: "POOL".into(), label: String::new(), used: None, kind };
    let other = Content::BtrfsMember { filesystem: "POOL".into(), number: 2 };
    let mut saved =
        machine(vec![disk("A", "/dev/sda", Content::Filesystem(fs)), disk("B", "/dev/sdb", other)]);
    saved.mounts = vec![Mount { root: "/@".into(), fs_type: "btrfs".into(), ..mount("disk:serial:A", "/") }];
    let mut present = saved.clone();
    let scan = assemble(&saved, &present, &wanted(&saved), &[]);
    assert_eq!(lines(&scan), ["btrfs device scan /dev/sda /dev/sdb"]);
    assert_eq!(assemble(&saved, &present, &wanted(&saved), &scan), []);
    assert_eq!(found_mounts(&saved, &present)[0].options, ["subvol=/@"]);
    present.devices.pop();
    assert_eq!(assemble(&saved, &present, &wanted(&saved), &[])[0].missing(), 1);
}

#[test]
fn without_a_saved_layout_all_is_attached() {
    let mut present = cold();
    let array_first = assemble_found(&present, &[]);
    let line = format!("mdadm --assemble --run --uuid={MD} /dev/md127 /dev/sdc /dev/sdd");
    assert_eq!(lines(&array_first), [line]);
    let groups = assemble_found(&present, &array_first);
    assert_eq!(lines(&groups), ["vgchange --activate y --monitor n"]);
    present.devices.push(array(["disk:serial:A", "disk:serial:B"], "/dev/md127", pv("PV-MD")));
    // A further physical volume: once more.
    assert_eq!(lines(&assemble_found(&present, &groups)), ["vgchange --activate y --monitor n"]);
    present.devices.push(volume("safe", &["disk:serial:C", &format!("md:{MD}")], luks()));
    let last = assemble_found(&present, &groups);
    assert_eq!(
        lines(&last),
        ["cryptsetup open --batch-mode --type luks --key-file=- /dev/mapper/vg-safe luks-LUKS"]
    );
    assert_eq!(assemble_found(&present, &last), []);
}
