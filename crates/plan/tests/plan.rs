//! The plan as people read it, and what is refused while the machine is still alive.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use layout::*;
use plan::{Choices, Plan, PlanError, fit, plan, recoverable};

fn ext() -> Ext {
    Ext {
        variant: "ext4".into(),
        block_size: 4096,
        blocks: 131_072,
        reserved_blocks: 6553,
        inodes: 131_072,
        inode_size: 256,
        feature_compat: 0x103c & !0x1000,
        feature_incompat: 0x2c2,
        feature_ro_compat: 0x46b,
        default_mount_options: 0xc,
        mount_options: String::new(),
        max_mount_count: -1,
        check_interval: 0,
        errors: 1,
        hash_seed: "ade35c0c-008f-4589-a81e-145307a0ca61".into(),
        hash_version: 1,
        raid_stride: 0,
        raid_stripe_width: 0,
        log_groups_per_flex: 4,
        journal_size: 16 << 20,
        checksum_seed: None,
        flags: 1,
        descriptor_size: 64,
        cluster_size: None,
        reserved_user: 0,
        reserved_group: 0,
        quota_types: Vec::new(),
    }
}

/// BIOS, GPT: boot code, ext4 on `/`, swap with number 5.
fn machine() -> Layout {
    let mut layout = Layout::new(Machine {
        hostname: "web1".into(),
        firmware: Firmware::Bios,
        architecture: "x86_64".into(),
        system: "Debian GNU/Linux 12 (bookworm)".into(),
    });
    let disk = NodeId("disk:serial:QM1".into());
    let identity = DiskIdentity {
        serial: Some("QM1".into()),
        model: Some("QEMU HARDDISK".into()),
        ..DiskIdentity::default()
    };
    let kind = Kind::Disk(Disk {
        identity,
        transport: "sata".into(),
        removable: false,
        read_only: false,
        multipath: None,
    });
    let table = PartitionTable::Gpt {
        guid: "6A0E4B5A-0000-4000-8000-000000000001".into(),
        first_lba: Lba(34),
        last_lba: Lba(2_097_118),
        entries: 128,
    };
    let mut add = |id: NodeId, path: &str, size: u64, kind: Kind, content: Content| {
        let path = path.to_owned();
        layout.devices.push(Device { id, path, size: Bytes(size), sector: SectorSize::B512, kind, content });
    };
    add(disk.clone(), "/dev/sda", 1 << 30, kind, Content::Table(table));
    let root = Filesystem {
        uuid: "d385b3ca-a3f5-4b8b-999c-83cec26cc6cb".into(),
        label: "my root".into(),
        used: Some(Bytes(1 << 20)),
        kind: FsKind::Ext(ext()),
    };
    let swap = Swap {
        uuid: "d385b3ca-a3f5-4b8b-999c-83cec26cc6cc".into(),
        label: String::new(),
        page_size: 4096,
        active: true,
    };
    for (number, start, length, type_guid, name, attributes, content) in [
        (1, 34, 2014, GptEntry::BIOS_BOOT, "", 0, Content::BootCode),
        (2, 2048, 1_048_576, "0FC63DAF-8483-4772-8E79-3D69D8477DE4", "ro\"ot ", 4, Content::Filesystem(root)),
        (5, 1_060_000, 100_000, "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F", "", 1 << 63, Content::Swap(swap)),
    ] {
        let entry = PartitionEntry::Gpt(GptEntry {
            type_guid: type_guid.into(),
            guid: format!("00000000-0000-4000-8000-00000000000{number}"),
            name: name.into(),
            attributes,
        });
        let kind = Kind::Partition(Partition {
            parent: disk.clone(),
            number,
            start: Lba(start),
            length: Lba(length),
            entry,
        });
        add(disk.partition(number), &format!("/dev/sda{number}"), length * 512, kind, content);
    }
    layout.mounts.push(Mount {
        device: disk.partition(2),
        mount_point: "/".into(),
        root: "/".into(),
        fs_type: "ext4".into(),
        options: vec!["ro".into(), "noexec".into()],
    });
    layout
}

fn blank_twin(saved: &Layout) -> Layout {
    let mut present = saved.clone();
    present.devices.truncate(1);
    present.mounts.clear();
    present.devices[0].content = Content::Empty;
    present.devices[0].path = "/dev/nvme0n1".into();
    present
}

fn make() -> Plan {
    let saved = machine();
    let present = blank_twin(&saved);
    let choices = Choices { unattended: true, ..Choices::default() };
    let fit = fit(&saved, &present, &BTreeMap::new(), &choices).unwrap();
    plan(&saved, &present, fit, "point-1", "/mnt/local").unwrap()
}

#[test]
fn the_plan_can_be_read() {
    insta::assert_snapshot!(make().text(), @r#"
    Disks:
      /dev/nvme0n1, 1.0 GiB, QEMU HARDDISK, serial QM1: recreate, will be written, is blank now
          takes the place of disk:serial:QM1: the same disk (serial QM1)
    Steps:
       1. erase all signatures and the first and last MiB of /dev/nvme0n1 (!)
       2. write the GPT 6A0E4B5A-0000-4000-8000-000000000001 with partitions 1, 2, 5 to /dev/nvme0n1
       3. clear /dev/nvme0n1p1 (1007.0 KiB)
       4. make ext4 'my root' on /dev/nvme0n1p2 with UUID d385b3ca-a3f5-4b8b-999c-83cec26cc6cb
       5. make swap on /dev/nvme0n1p5 with UUID d385b3ca-a3f5-4b8b-999c-83cec26cc6cc
       6. mount /dev/nvme0n1p2 (ext4) at /mnt/local
    "#);
}

#[test]
fn the_commands_can_be_read() {
    insta::assert_snapshot!(make().text_verbose(), @r#"
    Disks:
      /dev/nvme0n1, 1.0 GiB, QEMU HARDDISK, serial QM1: recreate, will be written, is blank now
          takes the place of disk:serial:QM1: the same disk (serial QM1)
    Steps:
       1. erase all signatures and the first and last MiB of /dev/nvme0n1 (!)
          because: remains of an earlier use must not come back to life
          $ wipefs --all --force --quiet /dev/nvme0n1
          $ blockdev --rereadpt /dev/nvme0n1
          # zeroes, written by rear itself
       2. write the GPT 6A0E4B5A-0000-4000-8000-000000000001 with partitions 1, 2, 5 to /dev/nvme0n1
          because: the table of /dev/sda, with every identifier
          $ sfdisk --quiet --wipe always --wipe-partitions always /dev/nvme0n1 <<'END'
          | label: gpt
          | label-id: 6A0E4B5A-0000-4000-8000-000000000001
          | unit: sectors
          | first-lba: 34
          | 
          | 1 : start=34, size=2014, type=21686148-6449-6E6F-744E-656564454649, uuid=00000000-0000-4000-8000-000000000001
          | 2 : start=2048, size=1048576, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, uuid=00000000-0000-4000-8000-000000000002, name="ro\x22ot\x20", attrs="LegacyBIOSBootable"
          | 5 : start=1060000, size=100000, type=0657FD6D-A4AB-43C4-84E5-0933C84B4F4F, uuid=00000000-0000-4000-8000-000000000005, attrs="GUID:63"
          | END
       3. clear /dev/nvme0n1p1 (1007.0 KiB)
          because: it was /dev/sda1, which holds boot code; that is written later
          # zeroes, written by rear itself
       4. make ext4 'my root' on /dev/nvme0n1p2 with UUID d385b3ca-a3f5-4b8b-999c-83cec26cc6cb
          because: it was /dev/sda2, mounted at /
          $ mke2fs -F -q -t ext4 -b 4096 -I 256 -N 131072 -m 0 -O none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum -E lazy_itable_init=1,lazy_journal_init=0,nodiscard,hash_seed=ade35c0c-008f-4589-a81e-145307a0ca61 -G 16 -J size=16 -U d385b3ca-a3f5-4b8b-999c-83cec26cc6cb -L 'my root' /dev/nvme0n1p2 131072
          $ tune2fs -r 6553 -c -1 -i 0s -e continue -o ^debug,^bsdgroups,user_xattr,acl,^uid16,^nobarrier,^block_validity,^discard,^nodelalloc,^journal_data_writeback -E hash_alg=half_md4 /dev/nvme0n1p2
       5. make swap on /dev/nvme0n1p5 with UUID d385b3ca-a3f5-4b8b-999c-83cec26cc6cc
          because: it was /dev/sda5
          $ mkswap --force --pagesize 4096 --uuid d385b3ca-a3f5-4b8b-999c-83cec26cc6cc /dev/nvme0n1p5
       6. mount /dev/nvme0n1p2 (ext4) at /mnt/local
          because: the files are restored below it
    "#);
}

#[test]
fn a_plan_reads_back_and_names_its_tools() {
    let plan = make();
    assert_eq!(Plan::from_json(&plan.to_json().unwrap()).unwrap(), plan);
    assert_eq!(plan.tools(), ["blockdev", "mke2fs", "mkswap", "sfdisk", "tune2fs", "wipefs"]);
    let newer = plan.to_json().unwrap().replacen("\"format\": 2", "\"format\": 7", 1);
    assert!(Plan::from_json(&newer).is_err());
}

/// What `recoverable` says of a machine that was changed.
fn refusal(change: &dyn Fn(&mut Layout)) -> String {
    let mut layout = machine();
    change(&mut layout);
    recoverable(&layout).unwrap_err().to_string()
}

fn set_ext(layout: &mut Layout, change: &dyn Fn(&mut Ext)) {
    if let Content::Filesystem(Filesystem { kind: FsKind::Ext(ext), .. }) = &mut layout.devices[2].content {
        change(ext);
    }
}

#[test]
fn what_cannot_be_made_again_is_refused_by_name() {
    recoverable(&machine()).unwrap();
    let unknown = refusal(&|l| set_ext(l, &|ext| ext.feature_incompat |= 1 << 30));
    assert!(unknown.contains("/dev/sda2: it has the incompatible feature bits 0x40000000"), "{unknown}");
    let bigalloc = refusal(&|l| set_ext(l, &|ext| ext.feature_ro_compat |= 0x200));
    assert!(bigalloc.contains("bigalloc"), "{bigalloc}");
    let journal = refusal(&|l| set_ext(l, &|ext| ext.journal_size = 0));
    assert!(journal.contains("journal lies on another device"), "{journal}");
    let damaged = refusal(&|l| set_ext(l, &|ext| ext.blocks = 1 << 40));
    assert!(damaged.contains("it is damaged"), "{damaged}");
    let both = refusal(&|l| {
        l.devices[2].content = Content::LvmMember { uuid: "x".into() };
        l.devices[3].content = Content::Unknown { what: "ZFS member".into() };
        l.mounts.clear();
    });
    assert!(
        both.contains("/dev/sda2: it is a physical volume of no known")
            && both.contains("/dev/sda5: ZFS member"),
        "{both}"
    );
    let no_root = refusal(&|l| l.mounts.clear());
    assert!(no_root.contains("nothing that is recreated was mounted at '/'"), "{no_root}");
    let attributes = refusal(&|l| {
        if let Kind::Partition(Partition { entry: PartitionEntry::Gpt(entry), .. }) = &mut l.devices[2].kind {
            entry.attributes = 8;
        }
    });
    assert!(attributes.contains("reserved attribute bits 0x8"), "{attributes}");
    let name = refusal(&|l| {
        if let Kind::Partition(Partition { entry: PartitionEntry::Gpt(entry), .. }) = &mut l.devices[2].kind {
            entry.name = "data \u{1F600}".into();
        }
    });
    assert!(name.contains("sfdisk cannot write"), "{name}");
}

#[test]
fn clusters_quotas_and_owners_of_the_reserve_are_made_as_they_were() {
    let mut saved = machine();
    set_ext(&mut saved, &|ext| {
        ext.feature_ro_compat |= 0x300;
        ext.cluster_size = Some(65536);
        ext.quota_types = vec!["usrquota".into(), "prjquota".into()];
        ext.reserved_group = 2;
    });
    let present = blank_twin(&saved);
    let choices = Choices { unattended: true, ..Choices::default() };
    let fit = fit(&saved, &present, &BTreeMap::new(), &choices).unwrap();
    let text = plan(&saved, &present, fit, "point-1", "/mnt/local").unwrap().text_verbose();
    assert!(text.contains("-b 4096 -C 65536 ") && text.contains(",bigalloc,"), "{text}");
    assert!(text.contains(",quotatype=usrquota:prjquota "), "{text}");
    assert!(text.contains(" -u 0 -g 2 "), "{text}");
}

#[test]
fn the_same_work_has_the_same_fingerprint_however_the_disk_looks_now() {
    let saved = machine();
    let mut present = saved.clone();
    present.mounts.clear();
    present.devices[0].path = "/dev/nvme0n1".into();
    let fit = fit(&saved, &present, &BTreeMap::new(), &Choices::default()).unwrap();
    let again = plan(&saved, &present, fit, "point-1", "/mnt/local").unwrap();
    assert_ne!(again, make());
    assert_eq!(again.fingerprint(), make().fingerprint());
    assert!(matches!(
        plan(&saved, &present, plan::Fit::default(), "point-1", "/mnt/local"),
        Err(PlanError::NoDisk(_))
    ));
}
