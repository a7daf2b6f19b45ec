use layout::{
    Bytes, Content, Device, Disk, DiskIdentity, Firmware, Kind, Layout, Machine, MdArray, MdBitmap, MdMember,
    NodeId, SectorSize,
};

use super::{commands, describe, refuse};
use crate::{Place, Target};

const MIB: u64 = 1 << 20;

fn member(name: &str) -> MdMember {
    MdMember { device: NodeId(name.into()), data_offset: Bytes(MIB), flags: Vec::new() }
}

fn array(level: &str, slots: &[Option<&str>]) -> MdArray {
    let chunk = if level == "raid1" { 0 } else { 512 << 10 };
    MdArray {
        uuid: "00112233:44556677:8899aabb:ccddeeff".into(),
        name: "host1:data".into(),
        level: level.into(),
        metadata: "1.2".into(),
        layout: match level {
            "raid5" | "raid6" => 2,
            "raid10" => 0x102,
            _ => 0,
        },
        chunk: Bytes(chunk),
        component_size: Bytes(if level == "raid0" { 0 } else { 64 * MIB }),
        bitmap: None,
        consistency: "resync".into(),
        slots: slots.iter().map(|slot| slot.map(member)).collect(),
        spares: Vec::new(),
    }
}

fn target(name: &str) -> Target {
    let id = NodeId(name.into());
    Target {
        saved: id.clone(),
        disks: vec![id.clone()],
        place: Place::Disk(id),
        shown: format!("/dev/{name}"),
    }
}

fn lines(array: &MdArray) -> Vec<String> {
    let find = |member: &MdMember| target(&member.device.0);
    let slots: Vec<Option<Target>> = array.slots.iter().map(|slot| slot.as_ref().map(find)).collect();
    let spares: Vec<Target> = array.spares.iter().map(find).collect();
    let made = commands(array, &slots, &spares, "/dev/md0", &|target| target.shown.clone());
    made.iter().map(crate::Command::line).collect()
}

fn line(array: &MdArray) -> String {
    let mut lines = lines(array);
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.remove(0)
}

/// All that every array is made with, for the level and the number of devices.
fn head(level: &str, count: usize) -> String {
    format!("mdadm --create /dev/md0 --run --force --config=none --level={level} --raid-devices={count}")
}

const IDENTITY: &str =
    "--metadata=1.2 --uuid=00112233:44556677:8899aabb:ccddeeff --homehost=host1 --name=data";

#[test]
fn each_level_is_made_with_every_parameter() {
    let raid1 = array("raid1", &[Some("b"), Some("a")]);
    assert_eq!(
        line(&raid1),
        format!(
            "{} {IDENTITY} --size=65536K --bitmap=none --data-offset=1024K /dev/b /dev/a",
            head("raid1", 2)
        )
    );
    let raid0 = array("raid0", &[Some("a"), Some("b")]);
    assert_eq!(
        line(&raid0),
        format!("{} {IDENTITY} --chunk=512K --data-offset=1024K /dev/a /dev/b", head("raid0", 2))
    );
    let raid4 = array("raid4", &[Some("a"), Some("b"), Some("c")]);
    let rest = "--size=65536K --bitmap=none --data-offset=1024K /dev/a /dev/b /dev/c";
    assert_eq!(line(&raid4), format!("{} {IDENTITY} --chunk=512K {rest}", head("raid4", 3)));
    for (layout, word) in [(0, "left-asymmetric"), (2, "left-symmetric"), (5, "parity-last")] {
        let raid5 = MdArray { layout, ..array("raid5", &[Some("a"), Some("b"), Some("c")]) };
        let expected = format!("{} {IDENTITY} --chunk=512K --layout={word} {rest}", head("raid5", 3));
        assert_eq!(line(&raid5), expected);
    }
    for (layout, word) in [(0x102, "n2"), (0x103, "n3"), (0x201, "f2"), (0x1_0301, "o3")] {
        let raid10 = MdArray { layout, ..array("raid10", &[Some("a"), Some("b"), Some("c")]) };
        let expected = format!("{} {IDENTITY} --chunk=512K --layout={word} {rest}", head("raid10", 3));
        assert_eq!(line(&raid10), expected);
    }
}

#[test]
fn spares_bitmaps_and_logs_come_back() {
    let mut one = array("raid5", &[Some("a"), Some("b"), Some("c")]);
    one.spares = vec![member("d")];
    one.bitmap = Some(MdBitmap { location: "internal".into(), chunk: Bytes(64 * MIB), write_behind: 0 });
    let text = line(&one);
    assert!(text.contains(" --raid-devices=3 --spare-devices=1 "), "{text}");
    assert!(text.contains(" --bitmap=internal --bitmap-chunk=65536K --data-offset"), "{text}");
    assert!(text.ends_with(" /dev/a /dev/b /dev/c /dev/d"), "{text}");
    let log = MdArray { consistency: "ppl".into(), ..array("raid5", &[Some("a"), Some("b")]) };
    assert!(line(&log).contains(" --bitmap=none --consistency-policy=ppl "));
}

#[test]
fn metadata_090_has_neither_name_nor_offset() {
    let mut one = array("raid1", &[Some("a"), None]);
    one.metadata = "0.90".into();
    one.name = String::new();
    for slot in one.slots.iter_mut().flatten() {
        slot.data_offset = Bytes(0);
    }
    assert_eq!(
        line(&one),
        format!(
            "{} --metadata=0.90 --uuid=00112233:44556677:8899aabb:ccddeeff '--homehost=<none>' --size=65536K \
             --bitmap=none /dev/a missing",
            head("raid1", 2)
        )
    );
}

#[test]
fn names_are_divided_as_mdadm_joins_them() {
    let cases = [
        ("host:a", "host", "a"),
        ("a", "<none>", "a"),
        ("x:y:z", "x:y", "z"),
        (":a", "<none>", ":a"),
        ("a:", "<none>", "a:"),
    ];
    for (whole, host, name) in cases {
        let one = MdArray { name: whole.into(), ..array("raid1", &[Some("a")]) };
        let command = commands(&one, &[Some(target("a"))], &[], "/dev/md0", &|target| target.shown.clone());
        assert!(command[0].args.contains(&format!("--homehost={host}")), "{whole}");
        assert!(command[0].args.contains(&format!("--name={name}")), "{whole}");
    }
}

#[test]
fn members_keep_offsets_of_their_own() {
    let mut one = array("raid1", &[Some("a"), None, Some("b")]);
    if let Some(Some(last)) = one.slots.last_mut() {
        last.data_offset = Bytes(MIB + 512);
    }
    assert!(line(&one).ends_with(" --data-offset=variable /dev/a:1024K missing /dev/b:2049s"));
}

#[test]
fn a_raid6_with_one_missing_member_keeps_its_slots() {
    let mut one = array("raid6", &[None, Some("b"), Some("c"), Some("d")]);
    one.spares = vec![member("e")];
    let made = lines(&one);
    assert!(made[0].ends_with(" missing missing /dev/c /dev/d"), "{}", made[0]);
    assert_eq!(
        made[1..],
        [
            "tee /sys/block/md0/md/sync_action <<'END'\nfrozen\nEND",
            "mdadm --manage /dev/md0 --add /dev/b",
            "tee /sys/block/md0/md/dev-b/slot <<'END'\n1\nEND",
            "tee /sys/block/md0/md/sync_action <<'END'\nrecover\nEND",
            "mdadm --manage /dev/md0 --add-spare /dev/e",
        ]
    );
    // With two missing members, or none, it is created as it was.
    assert!(
        line(&array("raid6", &[None, Some("b"), Some("c"), None]))
            .ends_with(" missing /dev/b /dev/c missing")
    );
    assert_eq!(lines(&array("raid6", &[Some("a"), Some("b"), Some("c"), Some("d")])).len(), 1);
}

#[test]
fn flags_of_members_come_back() {
    let mut one = array("raid1", &[Some("a"), Some("b")]);
    if let Some(Some(first)) = one.slots.first_mut() {
        first.flags = vec!["failfast".into(), "write_mostly".into()];
    }
    assert_eq!(
        lines(&one)[1..],
        [
            "tee /sys/block/md0/md/dev-a/state <<'END'\nfailfast\nEND",
            "tee /sys/block/md0/md/dev-a/state <<'END'\nwritemostly\nEND",
        ]
    );
}

fn layout_of(array: &MdArray, size: u64) -> Layout {
    let mut layout = Layout::new(Machine {
        hostname: String::new(),
        firmware: Firmware::Bios,
        architecture: String::new(),
        system: String::new(),
    });
    for member in array.members() {
        let disk = Disk {
            identity: DiskIdentity::default(),
            transport: String::new(),
            removable: false,
            read_only: false,
            multipath: None,
        };
        layout.devices.push(Device {
            id: member.device.clone(),
            path: format!("/dev/{}", member.device),
            size: Bytes(size),
            sector: SectorSize::B512,
            kind: Kind::Disk(disk),
            content: Content::MdMember { array: array.uuid.clone() },
        });
    }
    layout
}

#[test]
fn what_mdadm_cannot_make_is_refused() {
    let why = |change: &dyn Fn(&mut MdArray)| {
        let mut one = array("raid5", &[Some("a"), Some("b"), Some("c")]);
        change(&mut one);
        refuse(&layout_of(&one, 66 * MIB), &one).unwrap_or_default()
    };
    assert_eq!(why(&|_| {}), "");
    assert!(why(&|one| one.metadata = "external:imsm".into()).contains("imsm"));
    assert!(why(&|one| one.metadata = "none".into()).contains("--build"));
    assert!(why(&|one| one.level = "multipath".into()).contains("multipath"));
    assert!(why(&|one| one.layout = 77).contains("77"));
    assert!(why(&|one| one.consistency = "journal".into()).contains("journal"));
    assert!(why(&|one| one.consistency = "reshape".into()).contains("reshaped"));
    assert!(why(&|one| one.name = "x".repeat(32)).contains("31 bytes"));
    let bitmap =
        |location: &str, chunk| MdBitmap { location: location.into(), chunk: Bytes(chunk), write_behind: 0 };
    assert_eq!(why(&|one| one.bitmap = Some(bitmap("internal", 4096))), "");
    assert!(why(&|one| one.bitmap = Some(bitmap("file", 4096))).contains("file"));
    assert!(why(&|one| one.bitmap = Some(bitmap("internal", 2048))).contains("2048"));
    // 4 GiB with 4 KiB for each bit need more than the 4 KiB that mdadm keeps for it.
    assert!(
        why(&|one| {
            one.component_size = Bytes(4 << 30);
            one.bitmap = Some(bitmap("internal", 4096));
        })
        .contains("4096")
    );
    // Data behind 8 KiB leave no room for a bitmap, nor 1 MiB for a log.
    assert!(
        why(&|one| {
            one.slots.iter_mut().flatten().for_each(|member| member.data_offset = Bytes(8192));
            one.bitmap = Some(bitmap("internal", 4096));
        })
        .contains("8192")
    );
    assert!(why(&|one| one.consistency = "ppl".into()).contains("1048576"));
    // 1.0 keeps everything at the end, today more than it once did.
    let at_end = |component| {
        why(&|one| {
            one.metadata = "1.0".into();
            one.slots.iter_mut().flatten().for_each(|member| member.data_offset = Bytes(0));
            one.component_size = Bytes(component);
        })
    };
    assert_eq!(at_end(66 * MIB - 16384), "");
    assert!(at_end(66 * MIB - 12288).contains("12288 bytes free"));
    let mut stripes = array("raid0", &[Some("a"), Some("b")]);
    stripes.metadata = "0.90".into();
    assert!(
        refuse(&layout_of(&stripes, 66 * MIB), &stripes).unwrap_or_default().contains("--update=metadata")
    );
}

#[test]
fn missing_members_and_spares_are_told() {
    let mut one = array("raid1", &[Some("a"), None]);
    one.spares = vec![member("b")];
    let text = describe(&one, &[Some(target("a")), None], &[target("b")], "/dev/md0");
    assert!(text.ends_with("as /dev/md0 of /dev/a, a missing member, /dev/b standing by"), "{text}");
}
