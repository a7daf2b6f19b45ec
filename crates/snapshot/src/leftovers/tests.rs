//! Leftovers in layouts.

use layout::{Btrfs, Firmware, Layout, LvmSection, LvmValue, Machine, NodeId, Subvolume, VolumeGroup};
use sys::Forbid;

use super::*;

fn empty() -> Layout {
    Layout::new(Machine {
        hostname: String::new(),
        firmware: Firmware::Bios,
        architecture: String::new(),
        system: String::new(),
    })
}

fn group(volumes: &[(&str, &[&str])]) -> VolumeGroup {
    let text = |text: &str| LvmValue::Text(text.to_owned());
    let section = |tags: &[&str]| {
        LvmValue::Section(LvmSection::from([(
            "tags".to_owned(),
            LvmValue::List(tags.iter().map(|tag| text(tag)).collect()),
        )]))
    };
    let volumes: LvmSection =
        volumes.iter().map(|(name, tags)| ((*name).to_owned(), section(tags))).collect();
    VolumeGroup {
        name: "vg".into(),
        uuid: "u".into(),
        physical_volumes: Vec::new(),
        metadata: LvmSection::from([("logical_volumes".to_owned(), LvmValue::Section(volumes))]),
    }
}

#[test]
fn only_what_this_machine_has_marked_is_found() {
    let host = mark::host(&Forbid);
    let mut layout = empty();
    layout.groups.push(group(&[
        ("rear_backup_abc_0", &["rear-backup", host.as_str()]),
        ("rear_backup_abc_1", &["rear-backup", "rear-host-of-another"]),
        ("rear_backup_mine", &[]),
        ("data", &["rear-backup", host.as_str()]),
        ("root", &["web"]),
    ]));
    let found = Leftovers::find(&Forbid, &layout);
    assert_eq!(found.volumes, [("vg".to_owned(), "rear_backup_abc_0".to_owned())]);
    assert!(found.filesystems.is_empty());
}

#[test]
fn snapshots_of_a_btrfs_are_found_by_their_directory() {
    let mut layout = empty();
    let one = |path: &str| Subvolume { id: 300, path: path.into(), read_only: true, snapshot_of: None };
    let device = |id: &str, path: &str, subvolume: &str| layout::Device {
        id: NodeId(id.into()),
        path: path.into(),
        size: layout::Bytes(1),
        sector: layout::SectorSize(512),
        kind: layout::Kind::Disk(layout::Disk {
            identity: layout::DiskIdentity::default(),
            transport: String::new(),
            removable: false,
            read_only: false,
            multipath: None,
        }),
        content: layout::Content::Filesystem(layout::Filesystem {
            uuid: id.into(),
            label: String::new(),
            used: None,
            kind: FsKind::Btrfs(Btrfs { subvolumes: vec![one(subvolume)], ..Btrfs::default() }),
        }),
    };
    layout.devices.push(device("a", "/dev/vda", ".rear-backup-snapshots/0"));
    layout.devices.push(device("b", "/dev/vdb", "@/.rear-backup-snapshots/0"));
    let found = Leftovers::find(&Forbid, &layout);
    assert_eq!(found.filesystems, ["/dev/vda"]);
    assert!(Leftovers::find(&Forbid, &empty()).is_empty());
}
