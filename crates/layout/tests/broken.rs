//! Layouts that contradict themselves: whatever is changed in a sound one is seen, the node is named, and no form of damage makes
//! the checks panic.
#![allow(clippy::unwrap_used)]

use layout::*;
use proptest::prelude::*;
use serde_json::Value;

const MIB: u64 = 1 << 20;
const EXTENT: u64 = 4 * MIB;

fn id(name: &str) -> NodeId {
    NodeId(name.into())
}

fn device(name: &str, size: u64, kind: Kind, content: Content) -> Device {
    Device {
        id: id(name),
        path: format!("/dev/{name}"),
        size: Bytes(size),
        sector: SectorSize::B512,
        kind,
        content,
    }
}

fn partition(disk: &str, number: u32, start: u64, mebibytes: u64, content: Content) -> Device {
    let entry = PartitionEntry::Gpt(GptEntry {
        type_guid: "0FC63DAF-8483-4772-8E79-3D69D8477DE4".into(),
        guid: format!("00000000-0000-4000-8000-00000000000{number}"),
        name: String::new(),
        attributes: 0,
    });
    let kind = Kind::Partition(Partition {
        parent: id(disk),
        number,
        start: Lba(start * 2048),
        length: Lba(mebibytes * 2048),
        entry,
    });
    let mut device = device(&format!("{disk}{number}"), mebibytes * MIB, kind, content);
    device.id = id(disk).partition(number);
    device
}

/// A group on sda2 (`pv0`) and sdb2 (`pv1`) of 25 extents each: `root` is striped over both, `home` follows on the first,
/// `var` is a mirror with hidden legs.
const GROUP: &str = r#"
id = "v"
extent_size = 8192
physical_volumes {
    pv0 { id = "p0" status = ["ALLOCATABLE"] pe_start = 2048 pe_count = 25 }
    pv1 { id = "p1" status = ["ALLOCATABLE"] pe_start = 2048 pe_count = 25 }
}
logical_volumes {
    root { id = "l0" segment_count = 1
        segment1 { start_extent = 0 extent_count = 10 type = "striped" stripe_count = 2 stripes = ["pv0", 0, "pv1", 0] } }
    home { id = "l1" segment_count = 2
        segment1 { start_extent = 0 extent_count = 5 type = "striped" stripe_count = 1 stripes = ["pv0", 5] }
        segment2 { start_extent = 5 extent_count = 3 type = "striped" stripe_count = 1 stripes = ["pv1", 20] } }
    var { id = "l2" segment_count = 1
        segment1 { start_extent = 0 extent_count = 4 type = "raid1" raids = ["var_rmeta_0", "var_rimage_0"] } }
    var_rmeta_0 { id = "l3" segment_count = 1
        segment1 { start_extent = 0 extent_count = 1 type = "striped" stripe_count = 1 stripes = ["pv0", 10] } }
    var_rimage_0 { id = "l4" segment_count = 1
        segment1 { start_extent = 0 extent_count = 4 type = "striped" stripe_count = 1 stripes = ["pv0", 11] } }
}
"#;

fn group(text: &str) -> VolumeGroup {
    let volume = |number: u32, disk: &str| PhysicalVolume {
        key: format!("pv{number}"),
        uuid: format!("p{number}"),
        device: Some(id(disk).partition(2)),
        metadata_areas: 1,
        metadata_size: Bytes(MIB),
        metadata_ignored: false,
    };
    VolumeGroup {
        name: "vg".into(),
        uuid: "v".into(),
        physical_volumes: vec![volume(0, "sda"), volume(1, "sdb")],
        metadata: parse_lvm_text(text).unwrap(),
    }
}

/// Two disks: an array with `/boot`, a volume group with `/` and a swap file, a partition for a btrfs, one for swap.
fn machine() -> Layout {
    let mut layout = Layout::new(Machine {
        hostname: "web1".into(),
        firmware: Firmware::Bios,
        architecture: "x86_64".into(),
        system: "Debian".into(),
    });
    let files = |kind: FsKind| {
        Content::Filesystem(Filesystem { uuid: "u".into(), label: String::new(), used: None, kind })
    };
    let other = || FsKind::Other { name: "ext4".into() };
    for disk in ["sda", "sdb"] {
        let kind = Kind::Disk(Disk {
            identity: DiskIdentity { serial: Some(disk.into()), ..DiskIdentity::default() },
            transport: "sata".into(),
            removable: false,
            read_only: false,
            multipath: None,
        });
        let table = PartitionTable::Gpt {
            guid: disk.into(),
            first_lba: Lba(34),
            last_lba: Lba(400 * 2048),
            entries: 128,
        };
        layout.devices.push(device(disk, 401 * MIB, kind, Content::Table(table)));
        layout.devices.push(partition(disk, 1, 1, 66, Content::MdMember { array: "m".into() }));
        let uuid = if disk == "sda" { "p0" } else { "p1" };
        layout.devices.push(partition(disk, 2, 100, 110, Content::LvmMember { uuid: uuid.into() }));
    }
    let swap = Swap { uuid: "s".into(), label: String::new(), page_size: 4096, active: true };
    layout.devices.push(partition("sda", 3, 210, 50, Content::Swap(swap.clone())));
    let subvolume = Subvolume { id: 256, path: "@".into(), read_only: false, snapshot_of: None };
    let btrfs = Btrfs {
        devices: 1,
        members: vec![BtrfsDevice { number: 1, device: id("sdb").partition(3), size: Bytes(50 * MIB) }],
        subvolumes: vec![subvolume],
        ..Btrfs::default()
    };
    layout.devices.push(partition("sdb", 3, 210, 50, files(FsKind::Btrfs(btrfs))));
    let member = |disk: &str| {
        Some(MdMember { device: id(disk).partition(1), data_offset: Bytes(MIB), flags: Vec::new() })
    };
    let array = MdArray {
        uuid: "m".into(),
        name: String::new(),
        level: "raid1".into(),
        metadata: "1.2".into(),
        layout: 0,
        chunk: Bytes(0),
        component_size: Bytes(64 * MIB),
        bitmap: None,
        consistency: "resync".into(),
        slots: vec![member("sda"), member("sdb")],
        spares: Vec::new(),
    };
    layout.devices.push(device("md0", 64 * MIB, Kind::MdArray(array), files(other())));
    let volume = LogicalVolume {
        group: "vg".into(),
        name: "root".into(),
        uuid: "l0".into(),
        physical_volumes: vec![id("sda").partition(2), id("sdb").partition(2)],
    };
    layout.devices.push(device("root", 10 * EXTENT, Kind::LogicalVolume(volume), files(other())));
    layout.groups.push(group(GROUP));
    for (device, point) in [("root", "/"), ("md0", "/boot")] {
        layout.mounts.push(Mount {
            device: id(device),
            mount_point: point.into(),
            root: "/".into(),
            fs_type: "ext4".into(),
            options: Vec::new(),
        });
    }
    layout.swap_files.push(SwapFile {
        path: "/swap/file".into(),
        device: id("root"),
        size: Bytes(20 * MIB),
        mode: 0o600,
        uid: 0,
        gid: 0,
        swap,
    });
    layout
}

fn said(layout: &Layout) -> String {
    layout.check().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn find<'a>(layout: &'a mut Layout, path: &str) -> &'a mut Device {
    layout.devices.iter_mut().find(|device| device.path == path).unwrap()
}

fn part<'a>(layout: &'a mut Layout, path: &str) -> &'a mut Partition {
    match &mut find(layout, path).kind {
        Kind::Partition(partition) => partition,
        other => panic!("{other:?}"),
    }
}

fn array(layout: &mut Layout) -> &mut MdArray {
    match &mut find(layout, "/dev/md0").kind {
        Kind::MdArray(array) => array,
        other => panic!("{other:?}"),
    }
}

/// One way to break a layout, by a number: what must be named.
type Break = fn(&mut Layout, u64) -> &'static [&'static str];

const BREAKS: &[Break] = &[
    |layout, n| {
        part(layout, "/dev/sda2").start = Lba(2048 + n % (66 * 2048));
        &["/dev/sda1 and /dev/sda2 overlap"]
    },
    |layout, n| {
        part(layout, "/dev/sdb3").length = Lba(192 * 2048 + n);
        &["/dev/sdb3 ends behind the end of /dev/sdb"]
    },
    |layout, n| {
        part(layout, "/dev/sdb3").start = Lba(u64::MAX - n);
        &["/dev/sdb3 ends behind the end of /dev/sdb"]
    },
    |layout, _| {
        part(layout, "/dev/sda3").number = 2;
        &["/dev/sda3", "2 stands twice"]
    },
    |layout, n| {
        part(layout, "/dev/sda1").parent = NodeId(format!("gone{n}"));
        &["/dev/sda1 is made of gone"]
    },
    |layout, n| {
        let twice = layout.devices[(n % layout.devices.len() as u64) as usize].clone();
        layout.devices.push(twice);
        &["two devices are called"]
    },
    |layout, n| {
        // A device before what it is made of: the only form that a cycle can have.
        let at = 1 + (n as usize) % (layout.devices.len() - 1);
        let last = layout.devices.iter().rposition(|device| !device.parents().is_empty()).unwrap();
        let device = layout.devices.remove(at.min(last));
        if device.parents().is_empty() {
            layout.devices.push(device);
        } else {
            layout.devices.insert(0, device);
        }
        &["which does not stand before it"]
    },
    |layout, _| {
        array(layout).slots[1].as_mut().unwrap().device = NodeId("md0".into());
        &["/dev/md0 is made of md0"]
    },
    |layout, _| {
        let first = array(layout).slots[0].clone();
        array(layout).slots[1] = first;
        &["/dev/md0: its member sda", "already"]
    },
    |layout, n| {
        array(layout).component_size = Bytes(65 * MIB + 1 + n);
        &["/dev/md0: it uses", "/dev/sda1"]
    },
    |layout, n| {
        find(layout, "/dev/md0").size = Bytes(133 * MIB + n);
        &["/dev/md0: it has", "its members together only"]
    },
    |layout, _| {
        layout.mounts[0].device = NodeId("nothing".into());
        &["/ is a mount of an unknown device"]
    },
    |layout, _| {
        layout.mounts[1].device = NodeId("sda".into()).partition(3);
        &["/dev/sda3 is mounted at /boot but carries no filesystem"]
    },
    |layout, n| {
        find(layout, "/dev/sda").sector = SectorSize((n % 512) as u32);
        &["/dev/sda: a sector of"]
    },
    |layout, _| {
        find(layout, "/dev/sdb").content = Content::Empty;
        &["/dev/sdb1 is a partition of /dev/sdb, which has no table"]
    },
    |layout, _| {
        layout.groups[0].physical_volumes[1].device = Some(NodeId("nothing".into()));
        &["vg: pv1 lies on nothing, which is not here"]
    },
    |layout, _| {
        layout.groups[0].physical_volumes.swap_remove(0);
        &["vg: its physical volumes are not those of its metadata"]
    },
    |layout, _| {
        layout.groups[0].physical_volumes[0].uuid = "other".into();
        &["vg: pv0 has another UUID in the metadata"]
    },
    |layout, _| {
        let twice = layout.groups[0].clone();
        layout.groups.push(twice);
        &["two volume groups have the UUID "]
    },
    |layout, n| {
        find(layout, "/dev/sda2").size = Bytes(n % (100 * MIB));
        &["vg: the extents of pv0 end behind the end of /dev/sda2"]
    },
    |layout, _| {
        match &mut find(layout, "/dev/root").kind {
            Kind::LogicalVolume(volume) => volume.uuid = "gone".into(),
            other => panic!("{other:?}"),
        }
        &["/dev/root: the volume group vg has no volume root"]
    },
    |layout, _| {
        layout.swap_files[0].device = NodeId("nothing".into());
        &["the swap file /swap/file lies on nothing"]
    },
    |layout, _| {
        layout.swap_files[0].device = NodeId("sda".into()).partition(3);
        &["the swap file /swap/file lies on /dev/sda3, which carries no filesystem"]
    },
    |layout, n| {
        layout.swap_files[0].size = Bytes((10 * EXTENT + 1).saturating_add(n));
        &["the swap file /swap/file has", "/dev/root that carries it only"]
    },
    |layout, n| {
        layout.swap_files[0].size = Bytes(n % 40960);
        &["the swap file /swap/file has", "too few"]
    },
    |layout, n| {
        let wrong = ["", "swap", "/", "/a/../b", "/a//b", "/a/"];
        layout.swap_files[0].path = wrong[(n % 6) as usize].into();
        &["is no absolute path of a swap file"]
    },
    |layout, _| {
        let twice = layout.swap_files[0].clone();
        layout.swap_files.push(twice);
        &["two swap files are called /swap/file"]
    },
    |layout, n| {
        layout.swap_files[0].swap.page_size = (n % 4096) as u32;
        &["the swap file /swap/file: a page of"]
    },
];

/// Ways to break the group's own text, and what must be named.
const TEXTS: &[(&str, &str, &str)] = &[
    ("[\"pv0\", 5]", "[\"pv0\", 4]", "vg/root and vg/home overlap on pv0"),
    ("[\"pv0\", 10]", "[\"pv0\", 12]", "overlap on pv0"),
    ("[\"pv1\", 20]", "[\"pv1\", 23]", "vg/home lies outside of the 25 extents of pv1"),
    ("[\"pv1\", 20]", "[\"pv1\", -1]", "vg/home lies outside of the 25 extents of pv1"),
    ("[\"pv1\", 20]", "[\"pv1\", 9223372036854775807]", "vg/home lies outside of the 25 extents of pv1"),
    ("extent_count = 10", "extent_count = -10", "vg/root: its segments do not follow each other"),
    ("extent_count = 10", "extent_count = 0", "vg/root: its segments do not follow each other"),
    ("start_extent = 5", "start_extent = 6", "vg/home: its segments do not follow each other"),
    ("start_extent = 5", "start_extent = 4", "vg/home: its segments do not follow each other"),
    ("\"var_rimage_0\"]", "\"gone\"]", "vg/var is made of gone, which is not in vg"),
    ("\"var_rimage_0\"]", "\"var\"]", "vg/var is made of itself"),
    (
        "type = \"striped\" stripe_count = 1 stripes = [\"pv0\", 11]",
        "type = \"raid1\" raids = [\"var\"]",
        "is made of itself",
    ),
    ("extent_size = 8192", "extent_size = 0", "vg: an extent of 0 sectors is impossible"),
    ("extent_size = 8192", "extent_size = -8", "vg: an extent of -8 sectors is impossible"),
    ("extent_size = 8192", "extent_size = 9223372036854775807", "vg: "),
    (
        "pe_start = 2048 pe_count = 25 }\n    pv1",
        "pe_start = 2048 pe_count = 28 }\n    pv1",
        "the extents of pv0 end behind the end of /dev/sda2",
    ),
    (
        "pe_start = 2048 pe_count = 25 }\n    pv1",
        "pe_start = -1 pe_count = 25 }\n    pv1",
        "the extents of pv0 end behind the end of /dev/sda2",
    ),
    ("id = \"p1\"", "id = \"p2\"", "vg: pv1 has another UUID in the metadata"),
    ("    pv1 {", "    pv2 {", "vg: its physical volumes are not those of its metadata"),
    (
        "segment1 { start_extent = 0 extent_count = 1 ",
        "segment9 { start_extent = 1 extent_count = 1 ",
        "vg/var_rmeta_0: its segments do not follow",
    ),
];

#[test]
fn the_machine_that_is_broken_here_is_sound() {
    let layout = machine();
    assert_eq!(said(&layout), "");
    assert_eq!(Layout::from_json(&layout.to_json().unwrap()).unwrap(), layout);
}

#[test]
fn every_rule_of_a_volume_group_names_the_volume() {
    for (old, new, expected) in TEXTS {
        assert_eq!(GROUP.matches(old).count(), 1, "{old}");
        let mut layout = machine();
        layout.groups[0] = group(&GROUP.replace(old, new));
        let text = said(&layout);
        assert!(text.contains(expected), "{old} -> {new}: {text}");
    }
}

#[test]
fn a_format_that_nobody_wrote_is_refused() {
    let text = machine().to_json().unwrap();
    for number in ["0", "3", "4294967295"] {
        let text = text.replacen("\"format\": 2", &format!("\"format\": {number}"), 1);
        let error = Layout::from_json(&text).unwrap_err().to_string();
        assert!(error.contains(&format!("format {number}")), "{error}");
    }
    for number in ["-1", "\"2\"", "4294967296", "null"] {
        let text = text.replacen("\"format\": 2", &format!("\"format\": {number}"), 1);
        assert!(matches!(Layout::from_json(&text), Err(ReadError::Json(_))), "{number}");
    }
}

/// All places of a JSON value, as pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                places(inner, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(list) => {
            for (i, inner) in list.iter().enumerate() {
                places(inner, &format!("{at}/{i}"), found);
            }
        }
        _ => {}
    }
}

/// What may stand in a place instead.
fn junk() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        prop_oneof![Just(0_u64), Just(1), Just(511), Just(u64::MAX), Just(i64::MAX as u64)]
            .prop_map(Value::from),
        "[a-z/]{0,4}".prop_map(Value::from),
        prop_oneof![Just("sda"), Just("md0"), Just("root"), Just("sda/2"), Just("pv0"), Just("var")]
            .prop_map(Value::from),
        Just(Value::Array(Vec::new())),
        Just(Value::Object(serde_json::Map::new())),
    ]
}

proptest! {
    #[test]
    fn whatever_is_broken_is_seen_and_named(which in 0..BREAKS.len(), n in 0_u64..1 << 40) {
        let mut layout = machine();
        let expected = BREAKS[which](&mut layout, n);
        let text = said(&layout);
        for words in expected {
            prop_assert!(text.contains(words), "rule {which}: '{words}' is not said: {text}");
        }
        let read = Layout::from_json(&layout.to_json().unwrap());
        prop_assert!(matches!(read, Err(ReadError::Inconsistent(_))));
    }

    /// Anything that has the form of a layout is judged, shown and compared without a panic.
    #[test]
    fn no_damage_makes_the_checks_panic(changes in proptest::collection::vec((any::<prop::sample::Index>(), junk(), 0..3_u8), 1..4)) {
        let sound = machine();
        let mut value = serde_json::to_value(&sound).unwrap();
        for (place, junk, how) in changes {
            let mut found = Vec::new();
            places(&value, "", &mut found);
            let target = value.pointer_mut(place.get(&found).as_str()).unwrap();
            match (how, target) {
                // Twice, or not at all, what stands in a list.
                (0, Value::Array(list)) if !list.is_empty() => list.push(list[0].clone()),
                (1, Value::Array(list)) if !list.is_empty() => drop(list.remove(0)),
                (_, target) => *target = junk,
            }
        }
        if let Ok(layout) = serde_json::from_value::<Layout>(value) {
            let broken = layout.check();
            let read = Layout::from_json(&layout.to_json().unwrap());
            prop_assert_eq!(read.is_ok(), broken.is_empty() && (1..=FORMAT).contains(&layout.format));
            let _ = (layout.tree(), layout.svg(""), diff(&sound, &layout), diff(&layout, &sound));
            for device in &layout.devices {
                let _ = (layout.subtree(&device.id), layout.disks_below(&device.id));
            }
        }
    }
}
