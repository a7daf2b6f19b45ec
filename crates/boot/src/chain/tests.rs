//! A restored Debian in miniature.

use super::*;
use crate::devices::known;
use crate::facts::{DiskBoot, FORMAT, Hex};
use layout::{
    Bytes, Content, Device, Disk, DiskIdentity, Ext, Filesystem, Firmware, FsKind, GptEntry, Kind, Lba,
    Machine, Mount, Partition, PartitionEntry, PartitionTable, SectorSize,
};

const UUID: &str = "0f3b1e3c-4a5e-4d2a-9c1b-0e7f5a2d3c4b";

fn layout() -> Layout {
    let mut layout = Layout::new(Machine {
        hostname: "web01".into(),
        firmware: Firmware::Bios,
        architecture: "x86_64".into(),
        system: "Debian".into(),
    });
    let disk = NodeId("disk:serial:A".into());
    layout.devices.push(Device {
        id: disk.clone(),
        path: "/dev/vda".into(),
        size: Bytes(1 << 30),
        sector: SectorSize::B512,
        kind: Kind::Disk(Disk {
            identity: DiskIdentity::default(),
            transport: "virtio".into(),
            removable: false,
            read_only: false,
            multipath: None,
        }),
        content: Content::Table(PartitionTable::Gpt {
            guid: "1".into(),
            first_lba: Lba(34),
            last_lba: Lba(2_000_000),
            entries: 128,
        }),
    });
    let ext: Ext = serde_json::from_value(serde_json::json!({
        "variant": "ext4", "block_size": 4096, "blocks": 1, "reserved_blocks": 0, "inodes": 1, "inode_size": 256,
        "feature_compat": 0, "feature_incompat": 0, "feature_ro_compat": 0, "default_mount_options": 0,
        "mount_options": "", "max_mount_count": -1, "check_interval": 0, "errors": 1, "hash_seed": "",
        "hash_version": 1, "raid_stride": 0, "raid_stripe_width": 0, "log_groups_per_flex": 4, "journal_size": 0,
        "checksum_seed": null, "flags": 0, "descriptor_size": 64
    }))
    .unwrap();
    layout.devices.push(Device {
        id: disk.partition(1),
        path: "/dev/vda1".into(),
        size: Bytes(1 << 29),
        sector: SectorSize::B512,
        kind: Kind::Partition(Partition {
            parent: disk.clone(),
            number: 1,
            start: Lba(2048),
            length: Lba(1 << 20),
            entry: PartitionEntry::Gpt(GptEntry {
                type_guid: "0FC63DAF-8483-4772-8E79-3D69D8477DE4".into(),
                guid: "AAAAAAAA-0000-0000-0000-000000000001".into(),
                name: "root".into(),
                attributes: 0,
            }),
        }),
        content: Content::Filesystem(Filesystem {
            uuid: UUID.into(),
            label: "system".into(),
            used: None,
            kind: FsKind::Ext(ext),
        }),
    });
    layout.mounts.push(Mount {
        device: disk.partition(1),
        mount_point: "/".into(),
        root: "/".into(),
        fs_type: "ext4".into(),
        options: vec![],
    });
    layout
}

fn facts() -> BootFacts {
    BootFacts {
        format: FORMAT,
        uefi: false,
        disks: vec![DiskBoot {
            disk: NodeId("disk:serial:A".into()),
            loader: Some("GRUB".into()),
            boot_code: Hex(b"GRUB code".to_vec()),
            gap_offset: 512,
            gap: Hex::default(),
            protective_active: false,
            partitions: vec![],
        }],
        efi: None,
    }
}

fn system() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let put = |path: &str, text: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    put(
        "boot/grub/grub.cfg",
        &format!(
            "search --no-floppy --fs-uuid --set=root {UUID}\nmenuentry 'Debian' {{\nlinux /boot/vmlinuz-6 \
             root=UUID={UUID} ro\ninitrd /boot/initrd.img-6\n}}\n"
        ),
    );
    put("boot/vmlinuz-6", "");
    put("boot/initrd.img-6", "");
    put("etc/fstab", &format!("UUID={UUID} / ext4 defaults 0 1\ntmpfs /tmp tmpfs defaults 0 0\n"));
    put("usr/lib/systemd/systemd", "");
    std::os::unix::fs::symlink("usr/lib", dir.path().join("lib")).unwrap();
    put("sbin/x", "");
    std::os::unix::fs::symlink("/lib/systemd/systemd", dir.path().join("sbin/init")).unwrap();
    dir
}

fn broken(root: &Path) -> Vec<String> {
    let links = check_chain(root, &sys::Forbid, &facts(), &layout()).unwrap();
    links.into_iter().filter(|link| !link.ok).map(|link| format!("{}: {}", link.what, link.detail)).collect()
}

#[test]
fn a_whole_chain_holds() {
    let dir = system();
    assert_eq!(broken(dir.path()), [""; 0]);
}

#[test]
fn each_broken_link_is_named() {
    let dir = system();
    std::fs::remove_file(dir.path().join("boot/initrd.img-6")).unwrap();
    std::fs::remove_file(dir.path().join("usr/lib/systemd/systemd")).unwrap();
    std::fs::write(
        dir.path().join("etc/fstab"),
        "UUID=dead-beef /data ext4 defaults 0 2\nUUID=0000-0000 /usb vfat nofail 0 0\n/dev/cdrom /cd udf noauto\n",
    )
    .unwrap();
    assert_eq!(
        broken(dir.path()),
        [
            "initramfs: /boot/initrd.img-6",
            "/etc/fstab: UUID=dead-beef for /data is not a device of this machine",
            "first process: /sbin/init does not lead to a program"
        ]
    );
}

#[test]
fn a_sketch_is_believed_nothing() {
    let dir = system();
    let problems = || -> Vec<String> {
        let links = check_sketch(dir.path(), &sys::Forbid, &facts(), &layout());
        links
            .into_iter()
            .filter(|link| !link.ok)
            .map(|link| format!("{}: {}", link.what, link.detail))
            .collect()
    };
    assert_eq!(problems(), [""; 0]);
    let fstab = format!("UUID={UUID} / ext4 defaults 0 1\n/dev/mapper/old-home /home ext4 defaults 0 2\n");
    std::fs::write(dir.path().join("etc/fstab"), fstab).unwrap();
    assert_eq!(broken(dir.path()), [""; 0]);
    assert_eq!(problems(), ["/etc/fstab: /dev/mapper/old-home for /home is not a device of this machine"]);
    std::fs::write(dir.path().join("etc/fstab"), "/dev/vda1 / ext4 defaults 0 1\n").unwrap();
    std::fs::remove_file(dir.path().join("boot/vmlinuz-6")).unwrap();
    assert_eq!(problems(), ["kernel: /boot/vmlinuz-6"]);
}

#[test]
fn devices_are_known_in_all_their_forms() {
    let layout = layout();
    for device in [
        &format!("UUID={UUID}"),
        &format!("UUID=\"{}\"", UUID.to_uppercase()),
        &format!("/dev/disk/by-uuid/{UUID}"),
        "LABEL=system",
        "PARTUUID=aaaaaaaa-0000-0000-0000-000000000001",
        "PARTLABEL=root",
        "/dev/vda1",
    ] {
        assert!(known(&layout, device), "{device}");
    }
    for device in ["UUID=", "UUID=x", "LABEL=", "PARTLABEL=", "/dev/vdb1", "/dev/mapper/a"] {
        assert!(!known(&layout, device), "{device}");
    }
}

/// A machine on which these names lead there.
fn links(names: &[(&str, &str)]) -> sys::Replay {
    let answers: BTreeMap<String, serde_json::Value> = names
        .iter()
        .map(|(name, node)| (format!("resolve {name}"), serde_json::json!({ "path": node })))
        .collect();
    sys::Replay::from_json(&serde_json::to_string(&answers).unwrap()).unwrap()
}

#[test]
fn names_below_dev_must_lead_to_what_took_the_place() {
    let dir = system();
    let nodes: BTreeMap<NodeId, PathBuf> = BTreeMap::from([
        (NodeId("disk:serial:A".into()), "/dev/vdb".into()),
        (NodeId("disk:serial:A/1".into()), "/dev/vdb1".into()),
    ]);
    let door = links(&[
        ("/dev/disk/by-id/virtio-A-part1", "/dev/vdb1"),
        ("/dev/disk/by-path/pci-1-part1", "/dev/vda1"),
        ("/dev/vda1", "/dev/vda1"),
        ("/dev/vdb1", "/dev/vdb1"),
        ("/dev/vdc1", "/dev/vdc1"),
    ]);
    // A disk that was left out of the recovery point, and is still here.
    let mut present = layout();
    present.devices[1].path = "/dev/vdc1".into();
    if let Content::Filesystem(fs) = &mut present.devices[1].content {
        fs.uuid = "11111111-2222-3333-4444-555555555555".into();
    }
    let broken = |fstab: &str, present: Option<&Layout>| {
        std::fs::write(dir.path().join("etc/fstab"), format!("{fstab}\n")).unwrap();
        let links = check_chain_with(dir.path(), &door, &facts(), &layout(), &nodes, present).unwrap();
        links.into_iter().find(|link| !link.ok).map(|link| link.detail)
    };
    for whole in [
        "/dev/disk/by-id/virtio-A-part1 / ext4 defaults 0 1",
        "/dev/vdb1 / ext4 defaults 0 1",
        "/dev/disk/by-id/usb-gone /stick vfat noauto 0 0",
        "/dev/sr9 /cd udf nofail 0 0",
        "/dev/zram0 none swap sw 0 0",
        "tmpfs /tmp tmpfs defaults 0 0",
    ] {
        assert_eq!(broken(whole, None), None, "{whole}");
    }
    let text = |line: &str| broken(line, Some(&present)).unwrap();
    assert!(
        text("/dev/disk/by-path/pci-1-part1 / ext4 defaults 0 1")
            .contains("leads to /dev/vda1 now, not to /dev/vdb1")
    );
    assert!(text("/dev/vda1 / ext4 defaults 0 1").contains("leads to /dev/vda1 now, not to /dev/vdb1"));
    assert!(
        text("/dev/disk/by-id/gone-part1 /srv xfs defaults 0 2").contains("names a device that is not here")
    );
    // Another disk has its name now.
    assert!(text("/dev/vdb1 /srv xfs defaults 0 2").contains("was recreated for something else"));

    for outside in
        ["UUID=11111111-2222-3333-4444-555555555555 /srv xfs defaults 0 2", "/dev/vdc1 /srv xfs defaults 0 2"]
    {
        assert_eq!(broken(outside, Some(&present)), None, "{outside}");
        assert!(broken(outside, None).is_some(), "{outside}");
    }
}

#[test]
fn the_root_of_the_command_line_is_followed_too() {
    let dir = system();
    let menu = "linux /boot/vmlinuz-6 root=/dev/disk/by-id/virtio-A-part1 ro\ninitrd /boot/initrd.img-6\n";
    std::fs::write(dir.path().join("boot/grub/grub.cfg"), menu).unwrap();
    let nodes = BTreeMap::from([(NodeId("disk:serial:A/1".into()), PathBuf::from("/dev/vdb1"))]);
    let root = |node: &str| {
        let door = links(&[("/dev/disk/by-id/virtio-A-part1", node), ("/dev/vdb1", "/dev/vdb1")]);
        let links = check_chain_with(dir.path(), &door, &facts(), &layout(), &nodes, None).unwrap();
        links.into_iter().find(|link| link.what == "root filesystem").unwrap()
    };
    assert!(root("/dev/vdb1").ok);
    let link = root("/dev/vda1");
    assert!(!link.ok && link.detail.contains("leads to /dev/vda1 now, not to /dev/vdb1"), "{link:?}");
}

#[test]
fn boot_code_is_compared_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("disk");
    std::fs::write(&disk, b"GRUB code and a table").unwrap();
    let disks = [(NodeId("disk:serial:A".into()), disk.clone())].into();
    let door = sys::Real::default();
    assert!(check_boot_code(&door, &facts(), &disks).unwrap()[0].ok);
    std::fs::write(&disk, b"GRUB cdoe and a table").unwrap();
    assert!(!check_boot_code(&door, &facts(), &disks).unwrap()[0].ok);
    assert!(!check_boot_code(&door, &facts(), &BTreeMap::new()).unwrap()[0].ok);
}
