//! Ways of whole layouts. LVM is not asked: the door is closed.

use layout::{Btrfs, BtrfsQuota, Content, Disk, DiskIdentity, Filesystem, Firmware, Subvolume};
use sys::Forbid;

use super::*;

fn layout(content: Content) -> Layout {
    let mut layout = Layout::new(layout::Machine {
        hostname: "host".into(),
        firmware: Firmware::Bios,
        architecture: String::new(),
        system: String::new(),
    });
    layout.devices.push(Device {
        id: NodeId("d".into()),
        path: "/dev/vda".into(),
        size: Bytes(1 << 30),
        sector: layout::SectorSize(512),
        kind: Kind::Disk(Disk {
            identity: DiskIdentity::default(),
            transport: String::new(),
            removable: false,
            read_only: false,
            multipath: None,
        }),
        content,
    });
    layout
}

fn of(kind: FsKind) -> Layout {
    layout(Content::Filesystem(Filesystem { uuid: "u".into(), label: String::new(), used: None, kind }))
}

fn place(at: &str, root: &str) -> Place {
    Place {
        at: at.into(),
        device: NodeId("d".into()),
        fs_type: "x".into(),
        root: root.into(),
        written: Bytes(0),
    }
}

fn btrfs() -> Btrfs {
    let one = |path: &str| Subvolume { id: 256, path: path.into(), read_only: false, snapshot_of: None };
    Btrfs {
        metadata_profile: "single".into(),
        subvolumes: vec![one("@"), one("@home"), one("@/var/x")],
        ..Btrfs::default()
    }
}

#[test]
fn what_lies_on_a_partition_is_read_live_and_is_no_reason_to_refuse() {
    let plan = Plan::new(&Forbid, &layout(Content::Empty), &[place("/", "/")], &[]);
    assert!(plan.is_empty());
    assert_eq!(plan.refusals(), Vec::<String>::new());
    let unknown = Place { device: NodeId("other".into()), ..place("/", "/") };
    assert_eq!(Plan::new(&Forbid, &layout(Content::Empty), &[unknown], &[]).refusals(), Vec::<String>::new());
}

#[test]
fn a_btrfs_needs_its_program_and_no_quota_groups() {
    // The closed door has no programs.
    let layout = of(FsKind::Btrfs(btrfs()));
    let plan = Plan::new(&Forbid, &layout, &[place("/", "/@")], &[]);
    assert_eq!(plan.refusals(), ["/: the program btrfs is not installed"]);
    let quota = Some(BtrfsQuota { simple: false, groups: Vec::new() });
    let layout = of(FsKind::Btrfs(Btrfs { quota, ..btrfs() }));
    assert!(Plan::new(&Forbid, &layout, &[place("/", "/@")], &[]).refusals()[0].contains("quota groups"));
    let layout = of(FsKind::Btrfs(btrfs()));
    let inside = Plan::new(&Forbid, &layout, &[place("/srv", "/@/srv")], &[]);
    assert!(inside.refusals()[0].contains("no subvolume"));
}

#[test]
fn the_mark_of_a_machine_is_a_tag_that_lvm_takes() {
    let host = mark::host(&Forbid);
    assert!(host.len() < 128 && host.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{host}");
    assert_eq!(host, mark::host(&Forbid));
}
