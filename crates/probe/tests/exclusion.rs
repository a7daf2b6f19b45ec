//! What the owner leaves alone by name: volume groups, arrays, disks behind several paths, what is saved but not made
//! again; and what that means for each disk.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Fake, tool};
use layout::{Content, Kind, Layout, LogicalVolume, MdArray, NodeId, PhysicalVolume, VolumeGroup};
use probe::{Coverage, Decision, DiskState, Rules};

const MIB: u64 = 1 << 20;

/// `/` on vda1, a second partition vda2; `/data` on dm-0, which lies on the whole of vdb; vdc is blank.
fn machine() -> (Fake, Layout) {
    let mut fake = Fake::new();
    let script = "label: dos\nlabel-id: 0x12345678\n1 : start=2048, size=32768, type=83\n\
        2 : start=40960, size=16384, type=83\n";
    let (_, images) = fake.table("vda", 64 * MIB, script);
    tool("mke2fs", &["-q", "-t", "ext4", images[&1].to_str().unwrap()]);
    let below = fake.image("second", 32 * MIB);
    let place = fake.disk("vdb", &below, 512);
    let volume = fake.image("lv", 16 * MIB);
    tool("mke2fs", &["-q", "-t", "ext4", volume.to_str().unwrap()]);
    fake.mapped(
        "vg_data-lv",
        "LVM-abcdefghijklmnopqrstuvwxyz012345ABCDEFGHIJKLMNOPQRSTUVWXYZ012345",
        &volume,
        &place,
    );
    let blank = fake.image("third", 16 * MIB);
    fake.disk("vdc", &blank, 512);
    fake.put(
        "/proc/self/mountinfo",
        "20 1 254:17 / / rw - ext4 /dev/vda1 rw\n21 20 253:0 / /data rw - ext4 /dev/mapper/vg_data-lv rw\n",
    );
    fake.put("/proc/swaps", "Filename Type Size Used Priority\n");
    let mut layout = probe::machine(&fake).unwrap();
    let disk = layout.device_by_path("/dev/vdb").unwrap().id.clone();
    member(&mut layout, "/dev/vdb", Content::LvmMember { uuid: "pv-b".into() });
    layout.groups.push(group("vg_data", &[("pv-b", &disk)]));
    (fake, layout)
}

fn member(layout: &mut Layout, path: &str, content: Content) {
    layout.devices.iter_mut().find(|device| device.path == path).unwrap().content = content;
}

fn group(name: &str, volumes: &[(&str, &NodeId)]) -> VolumeGroup {
    let volume = |(i, (uuid, device)): (usize, &(&str, &NodeId))| PhysicalVolume {
        key: format!("pv{i}"),
        uuid: (*uuid).to_owned(),
        device: Some((*device).clone()),
        metadata_areas: 1,
        metadata_size: layout::Bytes(MIB),
        metadata_ignored: false,
    };
    VolumeGroup {
        name: name.to_owned(),
        uuid: "group".into(),
        physical_volumes: volumes.iter().enumerate().map(volume).collect(),
        metadata: layout::LvmSection::new(),
    }
}

fn cover(fake: &Fake, layout: &Layout, rules: &Rules<'_>) -> Coverage {
    probe::coverage(fake, layout, rules).unwrap()
}

fn refused(coverage: &Coverage) -> Vec<String> {
    let why = |row: &probe::CoverageRow| match &row.decision {
        Decision::Unsupported { why } => why.clone(),
        other => panic!("{other:?}"),
    };
    coverage.unsupported().map(why).collect()
}

fn states(coverage: &Coverage) -> String {
    let line = |row: &probe::DiskRow| format!("{} {}", row.path, row.state.word());
    coverage.disks.iter().map(line).collect::<Vec<_>>().join(", ")
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_volume_group_is_left_alone_by_any_of_its_names() {
    let (fake, layout) = machine();
    for name in ["vg_data", "/dev/vg_data", "/dev/vg_data/"] {
        let list = names(&[name]);
        // Also where unused disks are made again.
        for autoexclude_disks in [true, false] {
            let rules = Rules { exclude_vg: &list, autoexclude_disks, ..Rules::default() };
            let coverage = cover(&fake, &layout, &rules);
            assert_eq!(refused(&coverage), [""; 0], "{name}");
            assert_eq!(coverage.mounts, ["/"]);
            assert_eq!(states(&coverage), "/dev/vda recreate, /dev/vdb preserve, /dev/vdc ignore");
            let reduced = probe::reduce(&layout, &coverage);
            assert_eq!((reduced.disks().count(), reduced.groups.len(), reduced.check()), (1, 0, vec![]));
            let kept = probe::preserved(&layout, &coverage);
            assert_eq!(kept.check(), []);
            assert_eq!((kept.devices.len(), kept.groups.len(), kept.mounts.len()), (2, 0, 1));
        }
    }
    let list = names(&["vg_data"]);
    let coverage = cover(&fake, &layout, &Rules { exclude_vg: &list, ..Rules::default() });
    insta::assert_snapshot!(coverage.table(), @r"
    WHAT      TYPE      USED  FILES  DECISION
    /         ext4  32.0 MiB    100  captured
    /data     ext4  32.0 MiB    500  excluded: EXCLUDE_VG names vg_data
    /dev/vdb  disk                   excluded: preserved, must be there at a recovery: EXCLUDE_VG names vg_data
    /dev/vdc  disk                   excluded: nothing of it is in the backup: left untouched
    ");
    insta::assert_snapshot!(coverage.disk_table(), @r"
    Disks at a recovery:
      /dev/vda  recreate  erased and made again
      /dev/vdb  preserve  must be there, is never written: EXCLUDE_VG names vg_data
      /dev/vdc  ignore    not touched: nothing of it is in the backup
    ");
    let mut coverage = coverage;
    let ids: Vec<_> = coverage.disks.iter().map(|row| row.disk.clone()).collect();
    ids.iter().for_each(|disk| coverage.holds_backup(disk));
    assert!(
        coverage.table().contains("excluded: it holds the backup: left untouched"),
        "{}",
        coverage.table()
    );
    insta::assert_snapshot!(coverage.disk_table(), @r"
    Disks at a recovery:
      /dev/vda  recreate  erased and made again
      /dev/vdb  preserve  must be there, is never written: EXCLUDE_VG names vg_data; it holds the backup
      /dev/vdc  ignore    not touched: it holds the backup
    ");
    // A group that nothing mounted lies on is nobody's need.
    fake.put("/proc/self/mountinfo", "20 1 254:17 / / rw - ext4 /dev/vda1 rw\n");
    let rules = Rules { exclude_vg: &list, autoexclude_disks: false, ..Rules::default() };
    let coverage = cover(&fake, &layout, &rules);
    assert_eq!(states(&coverage), "/dev/vda recreate, /dev/vdb ignore, /dev/vdc ignore");
}

#[test]
fn only_some_volume_groups() {
    let (fake, layout) = machine();
    let list = names(&["/dev/vg_data"]);
    let coverage = cover(&fake, &layout, &Rules { only_include_vg: &list, ..Rules::default() });
    assert!(!refused(&coverage).iter().any(|why| why.contains("ONLY_INCLUDE_VG")));
    assert_eq!(states(&coverage), "/dev/vda recreate, /dev/vdb recreate, /dev/vdc ignore");
    let mut other = layout.clone();
    other.groups.push(group("system", &[]));
    let list = names(&["system"]);
    let coverage = cover(&fake, &other, &Rules { only_include_vg: &list, ..Rules::default() });
    assert_eq!(refused(&coverage), [""; 0]);
    assert_eq!(states(&coverage), "/dev/vda recreate, /dev/vdb preserve, /dev/vdc ignore");
    assert!(coverage.table().contains("ONLY_INCLUDE_VG does not name the volume group vg_data"));
}

#[test]
fn a_group_that_shares_a_disk_with_the_system_cannot_be_left_alone() {
    let (fake, mut layout) = machine();
    let part = layout.device_by_path("/dev/vda2").unwrap().id.clone();
    let disk = layout.device_by_path("/dev/vdb").unwrap().id.clone();
    member(&mut layout, "/dev/vda2", Content::LvmMember { uuid: "pv-a".into() });
    layout.groups = vec![group("vg_data", &[("pv-b", &disk), ("pv-a", &part)])];
    let list = names(&["vg_data"]);
    let rules = Rules { exclude_vg: &list, ..Rules::default() };
    // The volume lies on the other disk, but its group does not survive without this one.
    let refusal = refused(&cover(&fake, &layout, &rules));
    let text = "/dev/vda2 is a part of what is left alone (EXCLUDE_VG names vg_data), but its disk /dev/vda is made again";
    assert!(refusal.len() == 1 && refusal[0].starts_with(text), "{refusal:?}");
    // Where the volume lies on it, the mount point is named instead.
    for device in &mut layout.devices {
        if let Kind::LogicalVolume(LogicalVolume { physical_volumes, .. }) = &mut device.kind {
            physical_volumes.push(part.clone());
        }
    }
    let coverage = cover(&fake, &layout, &rules);
    let refusal = refused(&coverage);
    let text = "not in the backup (EXCLUDE_VG names vg_data), but its disk /dev/vda is made again";
    assert!(refusal.len() == 1 && refusal[0].contains(text), "{refusal:?}");
    let waive = names(&["/dev/vda2", "/data"]);
    let coverage = cover(&fake, &layout, &Rules { waive: &waive, ..rules });
    assert_eq!(refused(&coverage), [""; 0]);
    assert_eq!(probe::reduce(&layout, &coverage).check(), []);
}

#[test]
fn an_array_is_left_alone_by_any_of_its_names() {
    let (fake, mut layout) = machine();
    // The volume becomes an array of the same disk.
    let disk = layout.device_by_path("/dev/vdb").unwrap().id.clone();
    member(&mut layout, "/dev/vdb", Content::MdMember { array: "0:1:2:3".into() });
    layout.groups.clear();
    let mut mount = None;
    for device in &mut layout.devices {
        if device.path == "/dev/dm-0" {
            let old = std::mem::replace(&mut device.id, NodeId("md:0:1:2:3".into()));
            mount = Some((old, device.id.clone()));
            let text = format!(
                r#"{{"uuid":"0:1:2:3","name":"box:data","metadata":"1.2","level":"raid1","layout":0,"chunk":0,
                    "component_size":1048576,"slots":[{{"device":"{disk}","data_offset":1048576}},null],"spares":[]}}"#
            );
            device.kind = Kind::MdArray(serde_json::from_str::<MdArray>(&text).unwrap());
        }
    }
    let (old, new) = mount.unwrap();
    for mount in layout.mounts.iter_mut().filter(|mount| mount.device == old) {
        mount.device = new.clone();
    }
    for name in ["dm-0", "/dev/dm-0", "/dev/md/data", "md/data", "data", "box:data", "md:0:1:2:3", "0:1:2:3"]
    {
        let list = names(&[name]);
        let coverage = cover(&fake, &layout, &Rules { exclude_md: &list, ..Rules::default() });
        assert_eq!(refused(&coverage), [""; 0], "{name}");
        assert_eq!(states(&coverage), "/dev/vda recreate, /dev/vdb preserve, /dev/vdc ignore", "{name}");
    }
    let list = names(&["/dev/md1"]);
    let refusal = refused(&cover(&fake, &layout, &Rules { exclude_md: &list, ..Rules::default() }));
    let text = "EXCLUDE_MD names /dev/md1, which is not on this machine: the running arrays are /dev/dm-0";
    assert!(refusal.len() == 1 && refusal[0].starts_with(text), "{refusal:?}");
}

#[test]
fn a_name_that_is_not_there_is_an_error() {
    let (fake, layout) = machine();
    let list = names(&["vg_dat"]);
    for rules in [
        Rules { exclude_vg: &list, ..Rules::default() },
        Rules { exclude_recreate: &list, ..Rules::default() },
        Rules { exclude_md: &list, ..Rules::default() },
    ] {
        let refusal = refused(&cover(&fake, &layout, &rules));
        let named: Vec<&String> = refusal.iter().filter(|why| why.contains("names vg_dat,")).collect();
        assert!(named.len() == 1 && named[0].contains("so it protects nothing"), "{refusal:?}");
    }
    let refusal = refused(&cover(&fake, &layout, &Rules { only_include_vg: &list, ..Rules::default() }));
    let text =
        "ONLY_INCLUDE_VG names vg_dat, which is not on this machine: the volume groups are vg_data; correct";
    assert!(refusal.iter().any(|why| why.starts_with(text)), "{refusal:?}");
}

#[test]
fn what_is_saved_but_not_made_again_keeps_its_disk() {
    let (fake, layout) = machine();
    for name in ["fs:/data", "/data", "/dev/vg_data", "/dev/dm-0", "/dev/vdb", "disk:/dev/vdb"] {
        let list = names(&[name]);
        let rules = Rules { exclude_recreate: &list, ..Rules::default() };
        let coverage = cover(&fake, &layout, &rules);
        assert_eq!(refused(&coverage), [""; 0], "{name}");
        assert_eq!(coverage.mounts, ["/", "/data"], "{name}");
        assert_eq!(states(&coverage), "/dev/vda recreate, /dev/vdb preserve, /dev/vdc ignore", "{name}");
        assert_eq!(probe::reduce(&layout, &coverage).mounts.len(), 1);
        assert!(
            coverage.table().contains(&format!("captured, but not recreated: EXCLUDE_RECREATE names {name}"))
        );
        // Without its files it is left alone all the same.
        let unsaved = names(&["fs:/data"]);
        let coverage = cover(&fake, &layout, &Rules { exclude_backup: &names(&["/data"]), ..rules });
        assert_eq!((coverage.mounts.len(), refused(&coverage).len()), (1, 0));
        assert_eq!(states(&coverage), "/dev/vda recreate, /dev/vdb preserve, /dev/vdc ignore", "{name}");
        // The rule that leaves all of it alone is the stronger one.
        let coverage = cover(&fake, &layout, &Rules { exclude_components: &unsaved, ..rules });
        assert_eq!((coverage.mounts.len(), refused(&coverage).len()), (1, 0));
    }
    // On the disk of the system it cannot be kept.
    fake.put(
        "/proc/self/mountinfo",
        "20 1 254:17 / / rw - ext4 /dev/vda1 rw\n21 20 254:18 / /data rw - ext4 /dev/vda2 rw\n",
    );
    let image = fake.devices["/dev/vda2"].clone();
    tool("mke2fs", &["-q", "-t", "ext4", image.to_str().unwrap()]);
    let layout = probe::machine(&fake).unwrap();
    let (list, waive) = (names(&["fs:/data"]), names(&["/data"]));
    let rules = Rules { exclude_recreate: &list, autoexclude_disks: true, ..Rules::default() };
    let refusal = refused(&cover(&fake, &layout, &rules));
    assert!(
        refusal.len() == 1
            && refusal[0].contains("is not to be made again (EXCLUDE_RECREATE names fs:/data), but its disk"),
        "{refusal:?}"
    );
    let coverage = cover(&fake, &layout, &Rules { waive: &waive, ..rules });
    assert_eq!((refused(&coverage).len(), coverage.mounts.len()), (0, 1));
}

#[test]
fn only_what_is_asked_for_is_captured_and_the_rest_is_named() {
    let (fake, layout) = machine();
    fake.put("/etc/passwd", "x");
    fake.put("/data/x", "x");
    let list = names(&["/etc", "/data"]);
    let coverage = cover(&fake, &layout, &Rules { only_include: Some(&list), ..Rules::default() });
    assert!(!refused(&coverage).iter().any(|why| why.contains("BACKUP_PROG_INCLUDE")));
    assert_eq!(coverage.mounts, ["/", "/data"]);
    let table = coverage.table();
    assert!(table.contains("NOT WHOLLY captured: only /etc\n") && table.contains("500  captured"), "{table}");
    // What is not asked for is no reason to recreate its disk.
    let list = names(&["/"]);
    let coverage = cover(&fake, &layout, &Rules { only_include: Some(&list), ..Rules::default() });
    assert_eq!(coverage.mounts, ["/"]);
    assert!(coverage.table().contains("excluded: BACKUP_PROG_INCLUDE names nothing of it"));
    assert_eq!(states(&coverage), "/dev/vda recreate, /dev/vdb recreate, /dev/vdc ignore");
    let list = names(&["/", "/dta", "/proc/x"]);
    fake.put("/proc/x", "x");
    fake.put(
        "/proc/self/mountinfo",
        "20 1 254:17 / / rw - ext4 /dev/vda1 rw\n21 20 0:5 / /proc rw - proc proc rw\n",
    );
    let refusal = refused(&cover(&fake, &layout, &Rules { only_include: Some(&list), ..Rules::default() }));
    assert!(refusal.iter().any(|why| why.contains("/dta, which is not there")), "{refusal:?}");
    assert!(refusal.iter().any(|why| why.contains("/proc/x, but what is mounted at /proc")), "{refusal:?}");
}

#[test]
fn disks_over_several_paths_and_mount_points_of_sticks_are_left_out_when_asked() {
    let (fake, mut layout) = machine();
    for device in &mut layout.devices {
        if let Kind::Disk(disk) = &mut device.kind
            && device.path == "/dev/vdb"
        {
            let paths = vec!["/dev/sdx".to_owned(), "/dev/sdy".to_owned()];
            disk.multipath = Some(layout::Multipath { wwid: "w".into(), paths });
        }
    }
    assert!(states(&cover(&fake, &layout, &Rules::default())).contains("/dev/vdb recreate"));
    let coverage = cover(&fake, &layout, &Rules { autoexclude_multipath: true, ..Rules::default() });
    assert_eq!(refused(&coverage), [""; 0]);
    assert_eq!(states(&coverage), "/dev/vda recreate, /dev/vdb preserve, /dev/vdc ignore");
    // A stick is nothing that a recovery needs.
    let stick = names(&["/data"]);
    let coverage = cover(&fake, &layout, &Rules { autoexclude_usb_path: &stick, ..Rules::default() });
    assert_eq!(refused(&coverage), [""; 0]);
    assert_eq!(states(&coverage), "/dev/vda recreate, /dev/vdb ignore, /dev/vdc ignore");
    assert_eq!(coverage.in_state(DiskState::Recreate).count(), 1);
}

#[test]
fn what_the_start_waits_for_is_preserved_although_a_default_leaves_it_out() {
    let (fake, layout) = machine();
    let (auto, stick) = (names(&["/"]), names(&["/data"]));
    let by_path = Rules { autoexclude_path: &auto, ..Rules::default() };
    let by_point = Rules { autoexclude_usb_path: &stick, ..Rules::default() };
    for (options, state) in
        [("defaults", "preserve"), ("noauto", "ignore"), ("rw,nofail", "ignore"), ("", "ignore")]
    {
        let line = format!("/dev/mapper/vg_data-lv /data/ ext4 {options} 0 2\n");
        fake.put("/etc/fstab", if options.is_empty() { "" } else { &line });
        for rules in [by_path, by_point] {
            let coverage = cover(&fake, &layout, &rules);
            assert_eq!(refused(&coverage), [""; 0]);
            assert_eq!(coverage.mounts, ["/"]);
            assert_eq!(states(&coverage), format!("/dev/vda recreate, /dev/vdb {state}, /dev/vdc ignore"));
        }
    }
}

#[test]
fn a_disk_that_something_captured_needs_cannot_be_left_alone() {
    let (fake, mut layout) = machine();
    // The group also lies on vdc, which the volume itself does not use.
    let (b, c) = ("/dev/vdb", "/dev/vdc");
    let ids = [b, c].map(|path| layout.device_by_path(path).unwrap().id.clone());
    member(&mut layout, c, Content::LvmMember { uuid: "pv-c".into() });
    layout.groups = vec![group("vg_data", &[("pv-b", &ids[0]), ("pv-c", &ids[1])])];
    let list = names(&["/dev/vdc"]);
    let refusal = refused(&cover(&fake, &layout, &Rules { exclude_components: &list, ..Rules::default() }));
    let text =
        "/dev/vdc is left alone (EXCLUDE_COMPONENTS names /dev/vdc), but /data, which is in the backup,";
    assert!(refusal.iter().any(|why| why.starts_with(text)), "{refusal:?}");
}
