//! The tree and the picture of a server with everything: two disks with RAID 1, LVM on it, an encrypted volume, btrfs over
//! two disks.

use std::collections::BTreeMap;

use layout::*;

const GIB: u64 = 1 << 30;

fn add(layout: &mut Layout, id: &str, path: &str, size: u64, kind: Kind, content: Content) -> NodeId {
    let id = NodeId(id.into());
    let device = Device {
        id: id.clone(),
        path: path.into(),
        size: Bytes(size),
        sector: SectorSize::B512,
        kind,
        content,
    };
    layout.devices.push(device);
    id
}

fn disk(layout: &mut Layout, name: &str, serial: &str, size: u64, content: Content) -> NodeId {
    let identity = DiskIdentity {
        wwn: Some(format!("0x5000c500{serial}")),
        serial: Some(serial.into()),
        model: Some("ST4000NM0035".into()),
        path: None,
    };
    let kind =
        Disk { identity, transport: "sata".into(), removable: false, read_only: false, multipath: None };
    add(layout, &format!("disk:wwn:{serial}"), &format!("/dev/{name}"), size, Kind::Disk(kind), content)
}

fn part(
    layout: &mut Layout,
    disk: &NodeId,
    name: &str,
    number: u32,
    mib: (u64, u64),
    content: Content,
) -> NodeId {
    let (start, length) = mib;
    let kind = Kind::Partition(Partition {
        parent: disk.clone(),
        number,
        start: Lba(start * 2048),
        length: Lba(length * 2048),
        entry: PartitionEntry::Gpt(GptEntry {
            type_guid: "0FC63DAF-8483-4772-8E79-3D69D8477DE4".into(),
            guid: format!("00000000-0000-4000-8000-00000000000{number}"),
            name: String::new(),
            attributes: 0,
        }),
    });
    add(layout, &format!("{disk}/{number}"), &format!("/dev/{name}{number}"), length << 20, kind, content)
}

fn fs(name: &str, label: &str, uuid: &str) -> Content {
    let kind = FsKind::Ext(Ext {
        variant: name.into(),
        block_size: 4096,
        blocks: 0,
        reserved_blocks: 0,
        inodes: 0,
        inode_size: 256,
        feature_compat: 0,
        feature_incompat: 0,
        feature_ro_compat: 0,
        default_mount_options: 0,
        mount_options: String::new(),
        max_mount_count: -1,
        check_interval: 0,
        errors: 1,
        hash_seed: String::new(),
        hash_version: 1,
        raid_stride: 0,
        raid_stripe_width: 0,
        log_groups_per_flex: 4,
        journal_size: 0,
        checksum_seed: None,
        flags: 1,
        descriptor_size: 64,
        cluster_size: None,
        reserved_user: 0,
        reserved_group: 0,
        quota_types: Vec::new(),
    });
    Content::Filesystem(Filesystem {
        uuid: uuid.into(),
        label: label.into(),
        used: Some(Bytes(5 * GIB)),
        kind,
    })
}

fn mount(layout: &mut Layout, device: &NodeId, point: &str, root: &str, fs_type: &str) {
    layout.mounts.push(Mount {
        device: device.clone(),
        mount_point: point.into(),
        root: root.into(),
        fs_type: fs_type.into(),
        options: Vec::new(),
    });
}

fn array(name: &str, uuid: &str, members: &[Option<&NodeId>]) -> Kind {
    Kind::MdArray(MdArray {
        uuid: uuid.into(),
        name: format!("db1:{name}"),
        level: "raid1".into(),
        metadata: "1.2".into(),
        layout: 0,
        chunk: Bytes(0),
        component_size: Bytes(0),
        bitmap: None,
        consistency: "resync".into(),
        slots: members
            .iter()
            .map(|id| id.map(|id| MdMember { device: id.clone(), data_offset: Bytes(0), flags: Vec::new() }))
            .collect(),
        spares: Vec::new(),
    })
}

fn section(pairs: &[(&str, LvmValue)]) -> LvmSection {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect::<BTreeMap<_, _>>()
}

fn text(text: &str) -> LvmValue {
    LvmValue::Text(text.into())
}

fn server() -> Layout {
    let mut layout = Layout::new(Machine {
        hostname: "db1.example.org".into(),
        firmware: Firmware::Uefi,
        architecture: "x86_64".into(),
        system: "Debian GNU/Linux 12 (bookworm)".into(),
    });
    let l = &mut layout;
    let (boot, big) = ("3b1f2d58:0a1b2c3d:4e5f6071:82930001", "3b1f2d58:0a1b2c3d:4e5f6071:82930002");
    let size = 4000 * GIB / 4;
    let gpt = |n: u32| {
        Content::Table(PartitionTable::Gpt {
            guid: format!("6A0E4B5A-0000-4000-8000-00000000000{n}"),
            first_lba: Lba(34),
            last_lba: Lba(size / 512 - 34),
            entries: 128,
        })
    };
    let (mut boots, mut bigs) = (Vec::new(), Vec::new());
    for (n, name, serial) in [(1, "sda", "ZC1A0001"), (2, "sdb", "ZC1A0002")] {
        let id = disk(l, name, serial, size, gpt(n));
        let esp = part(
            l,
            &id,
            name,
            1,
            (1, 512),
            fs("vfat", if n == 1 { "EFI" } else { "EFI2" }, &format!("1A2B-000{n}")),
        );
        if n == 1 {
            mount(l, &esp, "/boot/efi", "/", "vfat");
        }
        boots.push(part(l, &id, name, 2, (513, 1024), Content::MdMember { array: boot.into() }));
        bigs.push(part(l, &id, name, 3, (1537, 900 * 1024), Content::MdMember { array: big.into() }));
    }
    let kind = array("boot", boot, &[Some(&boots[1]), Some(&boots[0])]);
    let md0 = add(
        l,
        "md:boot",
        "/dev/md0",
        GIB - (1 << 20),
        kind,
        fs("ext4", "boot", "0a1b2c3d-4e5f-4071-8293-a4b5c6d7e8f0"),
    );
    mount(l, &md0, "/boot", "/", "ext4");
    let kind = array("data", big, &[Some(&bigs[0]), Some(&bigs[1]), None]);
    let pv = "abcdef-ghij-klmn-opqr-stuv-wxyz-012345";
    let md1 =
        add(l, "md:data", "/dev/md1", 900 * GIB - (64 << 20), kind, Content::LvmMember { uuid: pv.into() });
    let volume = |name: &str, number: i64, kind: &str| {
        let mut segment = section(&[
            ("type", text(kind)),
            ("start_extent", LvmValue::Number(0)),
            ("extent_count", LvmValue::Number(10)),
        ]);
        match kind {
            "thin" => segment.insert("thin_pool".into(), text("pool0")),
            "striped" => {
                let stripes = vec![text("pv0"), LvmValue::Number(number * 10)];
                segment.insert("stripe_count".into(), LvmValue::Number(1));
                segment.insert("stripes".into(), LvmValue::List(stripes))
            }
            _ => None,
        };
        let id = text(&format!("lv{number}"));
        (name.to_owned(), LvmValue::Section(section(&[("id", id), ("segment1", LvmValue::Section(segment))])))
    };
    let volumes: LvmSection = [
        volume("root", 0, "striped"),
        volume("swap", 1, "striped"),
        volume("home", 2, "thin"),
        volume("secret", 3, "striped"),
        volume("pool0", 4, "thin-pool"),
    ]
    .into();
    let pv0 =
        [("id", text(pv)), ("pe_start", LvmValue::Number(2048)), ("pe_count", LvmValue::Number(230_380))];
    let pvs = section(&[("pv0", LvmValue::Section(section(&pv0)))]);
    let mut metadata = section(&[("extent_size", LvmValue::Number(8192))]);
    metadata.insert("physical_volumes".into(), LvmValue::Section(pvs));
    metadata.insert("logical_volumes".into(), LvmValue::Section(volumes));
    l.groups.push(VolumeGroup {
        name: "vg0".into(),
        uuid: "ZZZZZZ-ghij-klmn-opqr-stuv-wxyz-012345".into(),
        physical_volumes: vec![PhysicalVolume {
            key: "pv0".into(),
            uuid: pv.into(),
            device: Some(md1.clone()),
            metadata_areas: 1,
            metadata_size: Bytes::MIB,
            metadata_ignored: false,
        }],
        metadata,
    });
    let volume = |l: &mut Layout, name: &str, number: u32, gib: u64, content: Content| {
        let kind = Kind::LogicalVolume(LogicalVolume {
            group: "vg0".into(),
            name: name.into(),
            uuid: format!("lv{number}"),
            physical_volumes: vec![md1.clone()],
        });
        add(l, &format!("lv:vg0/{name}"), &format!("/dev/dm-{number}"), gib * GIB, kind, content)
    };
    let root = volume(l, "root", 0, 50, fs("ext4", "root", "11111111-4e5f-4071-8293-a4b5c6d7e8f0"));
    mount(l, &root, "/", "/", "ext4");
    let swap = Swap {
        uuid: "22222222-4e5f-4071-8293-a4b5c6d7e8f0".into(),
        label: String::new(),
        page_size: 4096,
        active: true,
    };
    volume(l, "swap", 1, 16, Content::Swap(swap));
    let home = volume(l, "home", 2, 300, fs("xfs", "", "33333333-4e5f-4071-8293-a4b5c6d7e8f0"));
    mount(l, &home, "/home", "/", "xfs");
    let luks = Luks { uuid: "44444444-4e5f-4071-8293-a4b5c6d7e8f0".into(), version: 2, ..Luks::default() };
    let secret = volume(l, "secret", 3, 200, Content::Luks(luks));
    let kind = Kind::LuksMapping(LuksMapping { parent: secret, name: "secret_crypt".into() });
    let open = add(
        l,
        "luks:4444",
        "/dev/dm-4",
        200 * GIB - (16 << 20),
        kind,
        fs("ext4", "<secret & co>", "55555555-4e5f-4071-8293-a4b5c6d7e8f0"),
    );
    mount(l, &open, "/srv/customers/a-long-name/data", "/", "ext4");
    let uuid = "66666666-4e5f-4071-8293-a4b5c6d7e8f0";
    let first = disk(l, "sdc", "ZC1A0003", 2 * size, Content::Empty);
    let second = Content::BtrfsMember { filesystem: uuid.into(), number: 2 };
    let second = disk(l, "sdd", "ZC1A0004", 2 * size, second);
    let sub = |id: u64, path: &str, snapshot_of: Option<&str>| Subvolume {
        id,
        path: path.into(),
        read_only: snapshot_of.is_some(),
        snapshot_of: snapshot_of.map(str::to_owned),
    };
    let btrfs = Btrfs {
        devices: 2,
        data_profile: "raid1".into(),
        metadata_profile: "raid1".into(),
        members: vec![
            BtrfsDevice { number: 1, device: first.clone(), size: Bytes(2 * size) },
            BtrfsDevice { number: 2, device: second, size: Bytes(2 * size) },
        ],
        subvolumes: vec![
            sub(256, "@data", None),
            sub(257, "@mail", None),
            sub(258, "@snapshots/1", Some("@data")),
            sub(259, "@snapshots/2", Some("@data")),
        ],
        ..Btrfs::default()
    };
    for device in &mut l.devices {
        if device.id == first {
            device.content = Content::Filesystem(Filesystem {
                uuid: uuid.into(),
                label: "pool".into(),
                used: Some(Bytes(400 * GIB)),
                kind: FsKind::Btrfs(btrfs.clone()),
            });
        }
    }
    mount(l, &first, "/srv/data", "/@data", "btrfs");
    mount(l, &first, "/var/mail", "/@mail", "btrfs");
    layout
}

#[test]
fn what_is_made_of_several_is_shown_once_in_full() {
    let layout = server();
    assert_eq!(layout.check(), []);
    insta::assert_snapshot!(layout.tree(), @r"
    /dev/sda  1000.0 GiB  disk ST4000NM0035 wwn 0x5000c500ZC1A0001  gpt 6A0E4B5A-0000-4000-8000-000000000001
    ├─ /dev/sda1  512.0 MiB  vfat 'EFI' 1A2B-0001 (5.0 GiB used)  on /boot/efi
    ├─ /dev/sda2  1.0 GiB  RAID member 1 of /dev/md0
    │  └─ /dev/md0  1023.0 MiB  software RAID1 db1:boot, 2 members  ext4 'boot' 0a1b2c3d-4e5f-4071-8293-a4b5c6d7e8f0 (5.0 GiB used)  on /boot
    └─ /dev/sda3  900.0 GiB  RAID member 0 of /dev/md1
       └─ /dev/md1  899.9 GiB  software RAID1 db1:data, 2 members, 1 MISSING  LVM physical volume abcdef-ghij-klmn-opqr-stuv-wxyz-012345 of vg0
          └─ volume group vg0  899.9 GiB  1 physical volume  ZZZZZZ-ghij-klmn-opqr-stuv-wxyz-012345
             ├─ /dev/dm-0  50.0 GiB  logical volume vg0/root  ext4 'root' 11111111-4e5f-4071-8293-a4b5c6d7e8f0 (5.0 GiB used)  on /
             ├─ /dev/dm-1  16.0 GiB  logical volume vg0/swap  swap 22222222-4e5f-4071-8293-a4b5c6d7e8f0
             ├─ /dev/dm-2  300.0 GiB  logical volume vg0/home (thin, in pool0)  xfs 33333333-4e5f-4071-8293-a4b5c6d7e8f0 (5.0 GiB used)  on /home
             └─ /dev/dm-3  200.0 GiB  logical volume vg0/secret  LUKS2 44444444-4e5f-4071-8293-a4b5c6d7e8f0
                └─ /dev/dm-4  199.9 GiB  opened as secret_crypt  ext4 '<secret & co>' 55555555-4e5f-4071-8293-a4b5c6d7e8f0 (5.0 GiB used)  on /srv/customers/a-long-name/data
    /dev/sdb  1000.0 GiB  disk ST4000NM0035 wwn 0x5000c500ZC1A0002  gpt 6A0E4B5A-0000-4000-8000-000000000002
    ├─ /dev/sdb1  512.0 MiB  vfat 'EFI2' 1A2B-0002 (5.0 GiB used)
    ├─ /dev/sdb2  1.0 GiB  RAID member 0 of /dev/md0
    │  └─ → /dev/md0, shown above
    └─ /dev/sdb3  900.0 GiB  RAID member 1 of /dev/md1
       └─ → /dev/md1, shown above
    /dev/sdc  1.9 TiB  disk ST4000NM0035 wwn 0x5000c500ZC1A0003  btrfs 'pool' 66666666-4e5f-4071-8293-a4b5c6d7e8f0 on 2 devices, data raid1, metadata raid1 (400.0 GiB used)
    ├─ subvolume @data  on /srv/data
    ├─ subvolume @mail  on /var/mail
    └─ and 2 snapshots that are not mounted
    /dev/sdd  1.9 TiB  disk ST4000NM0035 wwn 0x5000c500ZC1A0004  device 2 of btrfs 66666666-4e5f-4071-8293-a4b5c6d7e8f0 that begins on /dev/sdc
    ");
}

#[test]
fn the_picture_is_xml_and_says_everything() {
    let layout = server();
    let svg = layout.svg("made for a test");
    if let Ok(path) = std::env::var("REAR_SVG") {
        std::fs::write(path, &svg).unwrap();
    }
    for word in [
        "Storage of db1.example.org",
        "/dev/sda1",
        "/boot/efi",
        "volume group vg0",
        "thin, in pool0",
        "secret_crypt",
        "ext4 &apos;&lt;secret &amp; co&gt;&apos;",
        "5.0 GiB used",
        "subvolume @mail",
        "and 2 snapshots",
        "1 MISSING",
        "free",
    ] {
        assert!(svg.replace('\'', "&apos;").contains(word), "{word}");
    }
    // Elements and their ends are balanced, and there is no bare ampersand.
    assert_eq!(svg.matches("<text ").count(), svg.matches("</text>").count());
    assert!(
        svg.split('&')
            .skip(1)
            .all(|rest| ["amp;", "lt;", "gt;", "quot;"].iter().any(|name| rest.starts_with(name)))
    );
    // A layout without anything is still a page.
    assert!(Layout::new(layout.machine).svg("").contains("</svg>"));
}

#[test]
fn a_layout_that_contradicts_itself_still_has_a_picture() {
    let mut layout = server();
    // An array that is made of what lies on it.
    for device in &mut layout.devices {
        if let Kind::MdArray(array) = &mut device.kind {
            array.spares.push(MdMember {
                device: NodeId("luks:4444".into()),
                data_offset: Bytes(0),
                flags: Vec::new(),
            });
        }
    }
    assert!(layout.svg("").ends_with("</svg>\n"));
    assert!(layout.tree().contains("/dev/md1"));
}
