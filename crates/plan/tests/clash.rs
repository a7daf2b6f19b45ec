//! What stays in the machine must not be taken for a part of what is recovered.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use layout::*;
use plan::{Action, Choices, FitError, Place, disturbances, fit, storage};

const MD: &str = "11111111:22222222:33333333:44444444";
const MIB: u64 = 1 << 20;

fn device(id: &str, path: &str, kind: Kind, content: Content) -> Device {
    let (id, path) = (NodeId(id.into()), path.into());
    Device { id, path, size: Bytes(1 << 30), sector: SectorSize::B512, kind, content }
}

/// A disk that is named by its serial number.
fn disk(serial: &str, content: Content) -> Device {
    let identity = DiskIdentity { serial: Some(serial.into()), ..DiskIdentity::default() };
    let kind =
        Disk { identity, transport: "scsi".into(), removable: false, read_only: false, multipath: None };
    device(serial, &format!("/dev/sd{serial}"), Kind::Disk(kind), content)
}

fn pv(uuid: &str) -> Content {
    Content::LvmMember { uuid: uuid.into() }
}

fn swap(uuid: &str) -> Content {
    Content::Swap(Swap { uuid: uuid.into(), label: String::new(), page_size: 4096, active: false })
}

fn member() -> Content {
    Content::MdMember { array: MD.into() }
}

fn array(members: &[&str], path: &str, uuid: &str) -> Device {
    let member = |id: &&str| {
        Some(MdMember { device: NodeId((*id).into()), data_offset: Bytes(MIB), flags: Vec::new() })
    };
    let array = MdArray {
        uuid: uuid.into(),
        name: "web:0".into(),
        level: "raid1".into(),
        metadata: "1.2".into(),
        layout: 0,
        chunk: Bytes(0),
        component_size: Bytes(512 * MIB),
        bitmap: None,
        consistency: "resync".into(),
        slots: members.iter().map(member).collect(),
        spares: Vec::new(),
    };
    device(&format!("md:{uuid}"), path, Kind::MdArray(array), Content::Empty)
}

/// A group of physical volumes, each with its UUID and its disk.
fn group(name: &str, uuid: &str, volumes: &[(&str, &str)]) -> VolumeGroup {
    let mut text = String::from("extent_size = 8192\nphysical_volumes {\n");
    for (n, (uuid, _)) in volumes.iter().enumerate() {
        text += &format!("pv{n} {{\nid = \"{uuid}\"\npe_start = 2048\npe_count = 100\n}}\n");
    }
    let volume = |(n, (uuid, disk)): (usize, &(&str, &str))| PhysicalVolume {
        key: format!("pv{n}"),
        uuid: (*uuid).into(),
        device: Some(NodeId((*disk).into())),
        metadata_areas: 1,
        metadata_size: Bytes(MIB),
        metadata_ignored: false,
    };
    VolumeGroup {
        name: name.into(),
        uuid: uuid.into(),
        physical_volumes: volumes.iter().enumerate().map(volume).collect(),
        metadata: parse_lvm_text(&(text + "}\n")).unwrap(),
    }
}

fn machine(devices: Vec<Device>, groups: Vec<VolumeGroup>) -> Layout {
    let machine = Machine {
        hostname: "web".into(),
        firmware: Firmware::Bios,
        architecture: "x86_64".into(),
        system: String::new(),
    };
    let layout = Layout { devices, groups, ..Layout::new(machine) };
    assert_eq!(layout.check(), []);
    layout
}

/// The first clash, empty where there is none.
fn clash(saved: &Layout, present: &Layout, choices: &Choices) -> String {
    match fit(saved, present, &BTreeMap::new(), choices) {
        Ok(_) => String::new(),
        Err(FitError::Clash { clashes }) => clashes[0].clone(),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_disk_that_joined_the_group_after_the_backup_is_named_and_not_ignored() {
    let saved = machine(vec![disk("a", pv("P1"))], vec![group("vg", "VG", &[("P1", "a")])]);
    let later = group("vg", "VG", &[("P1", "a"), ("P2", "c")]);
    let present = machine(vec![disk("a", pv("P1")), disk("c", pv("P2"))], vec![later]);
    let why = clash(&saved, &present, &Choices { unattended: true, ..Choices::default() });
    assert!(why.ends_with("/dev/sdc is a part of a volume group vg, which is made again"), "{why}");
    assert_eq!(disturbances(&saved, &present).len(), 1, "the living machine can be told as well");
    assert_eq!(disturbances(&saved, &saved), Vec::<String>::new());
}

#[test]
fn another_machines_group_disturbs_by_its_name_alone() {
    let saved = machine(vec![disk("a", pv("P1"))], vec![group("vg", "VG", &[("P1", "a")])]);
    let with = |name: &str| {
        // Both are here: that a name stands twice is no fault of this machine's.
        let groups = vec![group("vg", "VG", &[("P1", "a")]), group(name, "OTHER", &[("P9", "f")])];
        machine(vec![disk("a", pv("P1")), disk("f", pv("P9"))], groups)
    };
    assert!(clash(&saved, &with("vg"), &Choices::default()).contains("/dev/sdf is a part"));
    assert_eq!(clash(&saved, &with("data"), &Choices::default()), "");
}

#[test]
fn members_copies_and_the_old_disk_itself_are_seen() {
    let two = || vec![disk("a", member()), disk("b", member())];
    let mut devices = two();
    devices.push(array(&["a", "b"], "/dev/md0", MD));
    let saved = machine(devices, Vec::new());
    // Thrown out of the array long ago, and never wiped.
    let mut present = two();
    present.push(disk("c", member()));
    let why = clash(&saved, &machine(present, Vec::new()), &Choices::default());
    assert!(why.contains("/dev/sdc is a member of a RAID array with the UUID 11111111:"), "{why}");
    // The old disk stays beside the new one that the operator chose.
    let saved = machine(vec![disk("a", swap("S1"))], Vec::new());
    let present = machine(vec![disk("a", swap("S1")), disk("n", Content::Empty)], Vec::new());
    let mapping = BTreeMap::from([(NodeId("a".into()), NodeId("n".into()))]);
    let chosen = Choices { mapping, ..Choices::default() };
    assert!(clash(&saved, &present, &chosen).contains("/dev/sda (swap) has the UUID S1"));
    assert_eq!(clash(&saved, &present, &Choices::default()), "");
    // Zeroes are no name.
    let nil = || swap("00000000-0000-0000-0000-000000000000");
    let saved = machine(vec![disk("a", nil())], Vec::new());
    let present = machine(vec![disk("a", nil()), disk("f", nil())], Vec::new());
    assert_eq!(clash(&saved, &present, &Choices::default()), "");
}

#[test]
fn an_array_that_runs_on_other_disks_keeps_its_name() {
    let mut devices = vec![disk("a", member()), disk("b", member())];
    devices.push(array(&["a", "b"], "/dev/md127", MD));
    let saved = machine(devices.clone(), Vec::new());
    let made = |present: &Layout| {
        let fit = fit(&saved, present, &BTreeMap::new(), &Choices::default()).unwrap();
        let plan = storage(&saved, present, fit, "x").unwrap();
        let made = plan.steps.iter().find(|step| matches!(step.action, Action::MakeArray { .. })).unwrap();
        made.action.target().place.clone()
    };
    // Its own one, still running, is stopped first.
    assert_eq!(made(&saved), Place::Array("md127".into()));
    let other = "aaaaaaaa:22222222:33333333:44444444";
    let foreign = || Content::MdMember { array: other.into() };
    devices.pop();
    devices.extend([disk("x", foreign()), disk("y", foreign()), array(&["x", "y"], "/dev/md127", other)]);
    assert_eq!(made(&machine(devices, Vec::new())), Place::Array("md126".into()));
}
