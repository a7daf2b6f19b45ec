//! Superblocks that the real tools write, compared with what the real tools read out of them.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Fake, tool};
use layout::{Content, Ext, Filesystem, FsKind, Vfat, Xfs};

/// What lies on a whole disk after `format` has run on its image.
fn content(size: u64, format: impl FnOnce(&str)) -> (Content, String, Fake) {
    let mut fake = Fake::new();
    let image = fake.image("image", size);
    format(image.to_str().unwrap());
    fake.disk("vda", &image, 512);
    let layout = probe::machine(&fake).unwrap();
    (layout.devices[0].content.clone(), image.to_str().unwrap().to_owned(), fake)
}

fn filesystem(size: u64, format: impl FnOnce(&str)) -> (Filesystem, String, Fake) {
    match content(size, format) {
        (Content::Filesystem(filesystem), image, fake) => (filesystem, image, fake),
        (other, ..) => panic!("{other:?}"),
    }
}

fn run(program: &str, args: &[&str], image: &str) {
    let mut args = args.to_vec();
    args.push(image);
    tool(program, &args);
}

fn blkid(image: &str, tag: &str) -> String {
    let text = tool("blkid", &["-p", "-o", "export", image]);
    let value = text.lines().find_map(|line| line.strip_prefix(tag)?.strip_prefix('='));
    value.unwrap_or_default().replace('\\', "")
}

fn ext(fs: &Filesystem) -> &Ext {
    match &fs.kind {
        FsKind::Ext(ext) => ext,
        other => panic!("{other:?}"),
    }
}

#[test]
fn ext_is_read_as_dumpe2fs_reads_it() {
    let cases: [(&str, u64, &[&str]); 8] = [
        ("ext2", 0, &["-t", "ext2", "-L", "two words"]),
        ("ext4", 0, &["-t", "ext4", "-O", "^has_journal,quota,project", "-E", "quotatype=usrquota:prjquota"]),
        ("ext4", 16 << 20, &["-t", "ext4", "-O", "bigalloc", "-C", "65536", "-J", "size=16"]),
        ("ext3", 8 << 20, &["-t", "ext3", "-b", "1024", "-I", "128", "-J", "size=8"]),
        (
            "ext4",
            16 << 20,
            &["-t", "ext4", "-E", "stride=4,stripe_width=16", "-O", "metadata_csum_seed", "-J", "size=16"],
        ),
        (
            "ext4",
            4 << 20,
            &["-t", "ext4", "-b", "2048", "-I", "512", "-O", "^64bit", "-e", "panic", "-J", "size=4"],
        ),
        ("ext4", 0, &["-t", "ext4", "-O", "^has_journal", "-G", "32"]),
        ("ext2", 0, &["-t", "ext2", "-r", "0"]),
    ];
    for (variant, journal, args) in cases {
        let (fs, image, _fake) = filesystem(256 << 20, |image| {
            run("mke2fs", &[&["-q"], args].concat(), image);
            tool("tune2fs", &["-u", "1", "-g", "2", "-c", "17", "-i", "9d", "-o", "acl,user_xattr", image]);
            if variant == "ext4" {
                tool("tune2fs", &["-E", "mount_opts=data=ordered", image]);
            }
        });
        let dump = tool("dumpe2fs", &["-h", &image]);
        let field = |name: &str| {
            let value = dump.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.map(str::trim).unwrap_or_default().to_owned()
        };
        let or_zero = |name: &str| if field(name).is_empty() { "0".to_owned() } else { field(name) };
        let ext = ext(&fs);
        assert_eq!(ext.variant, variant, "{args:?}");
        assert_eq!(blkid(&image, "TYPE"), variant, "{args:?}");
        assert_eq!(fs.uuid, field("Filesystem UUID"));
        assert_eq!(fs.label, field("Filesystem volume name").replace("<none>", ""));
        assert_eq!(ext.block_size.to_string(), field("Block size"));
        assert_eq!(ext.blocks.to_string(), field("Block count"));
        assert_eq!(ext.reserved_blocks.to_string(), field("Reserved block count"));
        assert_eq!(ext.inodes.to_string(), field("Inode count"));
        assert!(field("Inode size").is_empty() || ext.inode_size.to_string() == field("Inode size"));
        assert_eq!(ext.hash_seed, field("Directory Hash Seed"), "{args:?}");
        assert_eq!(ext.raid_stride.to_string(), or_zero("RAID stride"));
        assert_eq!(ext.raid_stripe_width.to_string(), or_zero("RAID stripe width"));
        assert_eq!(1 << ext.log_groups_per_flex, field("Flex block group size").parse().unwrap_or(1));
        assert_eq!(ext.journal_size, journal);
        assert_eq!(ext.max_mount_count, 17);
        assert_eq!(ext.check_interval, 9 * 24 * 3600);
        assert_eq!(ext.errors, if args.contains(&"panic") { 3 } else { 1 });
        assert_eq!(ext.default_mount_options & 0xC, 0xC, "acl and user_xattr");
        assert_eq!(ext.mount_options, if variant == "ext4" { "data=ordered" } else { "" });
        let seed = field("Checksum seed").replace("0x", "");
        let stored = args.contains(&"metadata_csum_seed");
        assert_eq!(ext.checksum_seed, stored.then(|| u32::from_str_radix(&seed, 16).unwrap()));
        let wide = args.contains(&"-t") && variant == "ext4" && !args.contains(&"^64bit");
        let quotas = [("User", "usrquota"), ("Group", "grpquota"), ("Project", "prjquota")];
        let quotas = quotas.iter().filter(|(what, _)| !field(&format!("{what} quota inode")).is_empty());
        assert_eq!(ext.quota_types, quotas.map(|(_, name)| *name).collect::<Vec<_>>(), "{args:?}");
        assert_eq!((ext.reserved_user, ext.reserved_group), (1, 2));
        assert_eq!(ext.cluster_size.map(|size| size.to_string()).unwrap_or_default(), field("Cluster size"));
        assert_eq!(ext.descriptor_size, if wide { 64 } else { 0 }, "{args:?}");
    }
}

#[test]
fn xfs_is_read_as_xfs_db_reads_it() {
    let cases: [&[&str]; 3] = [
        &["-L", "data"],
        &["-m", "crc=0", "-n", "size=8192", "-i", "maxpct=40"],
        &["-d", "su=64k,sw=4,agcount=3", "-m", "reflink=0,bigtime=0", "-s", "size=4096", "-i", "size=1024"],
    ];
    for args in cases {
        let (fs, image, _fake) =
            filesystem(400 << 20, |image| run("mkfs.xfs", &[&["-q"], args].concat(), image));
        let dump = tool("xfs_db", &["-r", "-c", "sb 0", "-c", "p", &image]);
        let field = |name: &str| -> u64 {
            let value = dump.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
            let value = value.unwrap_or_else(|| panic!("{name}"));
            match value.strip_prefix("0x") {
                Some(hex) => u64::from_str_radix(hex, 16).unwrap(),
                None => value.parse().unwrap(),
            }
        };
        let expected = Xfs {
            block_size: field("blocksize") as u32,
            sector_size: field("sectsize") as u32,
            inode_size: field("inodesize") as u16,
            data_blocks: field("dblocks"),
            ag_count: field("agcount") as u32,
            ag_blocks: field("agblocks") as u32,
            log_blocks: field("logblocks") as u32,
            log_internal: true,
            log_sector_size: field("logsectsize") as u16,
            log_stripe_unit: field("logsunit") as u32,
            directory_block_size: (field("blocksize") << field("dirblklog")) as u32,
            stripe_unit: field("unit") as u32,
            stripe_width: field("width") as u32,
            inode_max_percent: field("imax_pct") as u8,
            realtime: false,
            version: field("versionnum") as u16,
            features2: field("features2") as u32,
            feature_compat: field("features_compat") as u32,
            feature_ro_compat: field("features_ro_compat") as u32,
            feature_incompat: field("features_incompat") as u32,
        };
        assert_eq!(fs.kind, FsKind::Xfs(expected), "{args:?}");
        assert_eq!(fs.uuid, blkid(&image, "UUID"));
        assert_eq!(fs.label, blkid(&image, "LABEL"));
    }
}

fn vfat(fs: &Filesystem) -> &Vfat {
    match &fs.kind {
        FsKind::Vfat(vfat) => vfat,
        other => panic!("{other:?}"),
    }
}

#[test]
fn vfat_is_told_by_size_and_labelled_by_its_root_directory() {
    let cases: [(u8, u64, &[&str]); 4] = [
        (12, 4 << 20, &["-n", "BOOT 1"]),
        (16, 64 << 20, &["-F", "16", "-s", "4", "-h", "2048"]),
        (32, 64 << 20, &["-F", "32", "-n", "EFI"]),
        (32, 600 << 20, &["-S", "4096", "-i", "1a2B3c4D", "-f", "1"]),
    ];
    for (bits, size, args) in cases {
        let (fs, image, _fake) = filesystem(size, |image| run("mkfs.vfat", args, image));
        let fat = vfat(&fs);
        assert_eq!(fat.bits, bits, "{args:?}");
        assert_eq!(blkid(&image, "VERSION"), format!("FAT{bits}"));
        assert_eq!(fs.uuid, blkid(&image, "UUID"));
        assert_eq!(fs.label, blkid(&image, "LABEL"), "{args:?}");
        assert_eq!(u64::from(fat.sectors) * u64::from(fat.sector_size), size);
        assert_eq!(fat.hidden_sectors, if args.contains(&"-h") { 2048 } else { 0 });
        assert_eq!(fat.fats, if args.contains(&"-f") { 1 } else { 2 });
    }
    // A label set later stands in the root directory only; the boot sector may keep an old one.
    let (fs, ..) = filesystem(64 << 20, |image| {
        run("mkfs.vfat", &["-F", "32", "-n", "NEW"], image);
        use std::os::unix::fs::FileExt;
        let file = std::fs::OpenOptions::new().write(true).open(image).unwrap();
        file.write_all_at(b"OLD        ", 71).unwrap();
    });
    assert_eq!(fs.label, "NEW");
}

#[test]
fn swap_is_read_in_every_page_size() {
    for (page, size) in [("4096", 4096), ("65536", 65536)] {
        let uuid = "6a0e4b5a-0000-4000-8000-000000000001";
        let (content, ..) = content(8 << 20, |image| {
            run("mkswap", &["-q", "-p", page, "-L", "my swap", "-U", uuid], image);
        });
        let Content::Swap(swap) = content else { panic!("{content:?}") };
        assert_eq!((swap.uuid.as_str(), swap.label.as_str()), (uuid, "my swap"));
        assert_eq!((swap.page_size, swap.active), (size, false));
    }
}

fn write(size: u64, pieces: &[(u64, &[u8])]) -> Content {
    use std::os::unix::fs::FileExt;
    let write = |image: &str| {
        let file = std::fs::OpenOptions::new().write(true).open(image).unwrap();
        for (offset, bytes) in pieces {
            file.write_all_at(bytes, *offset).unwrap();
        }
    };
    content(size, write).0
}

fn unknown(what: &str) -> Content {
    Content::Unknown { what: what.to_owned() }
}

#[test]
fn foreign_things_are_named_and_nothing_is_taken_for_empty() {
    const SIZE: u64 = 8 << 20;
    assert_eq!(write(SIZE, &[]), Content::Empty);
    // A single byte anywhere in the first or last MiB is data.
    let data = unknown("data without a known signature");
    for offset in [0, 5000, (1 << 20) - 1, SIZE - (1 << 20), SIZE - 1] {
        assert_eq!(write(SIZE, &[(offset, b"x")]), data, "{offset}");
    }
    assert_eq!(write(SIZE, &[(4086, b"S1SUSPEND")]), unknown("hibernation image"));
    assert_eq!(write(SIZE, &[((128 << 10) + 8192, &[0x0c, 0xb1, 0xba, 0])]), unknown("ZFS member"));
    assert_eq!(
        write(SIZE, &[(SIZE - 1024, b"Intel Raid ISM Cfg Sig. 1.0")]),
        unknown("member of an Intel firmware RAID")
    );
    let name = |content: Content| match content {
        Content::Filesystem(fs) => fs.fs_type().to_owned(),
        other => format!("{other:?}"),
    };
    assert_eq!(name(write(SIZE, &[(0, b"\xEB\x52\x90NTFS    "), (510, &[0x55, 0xAA])])), "ntfs");
    assert_eq!(name(write(SIZE, &[(32769, b"CD001")])), "iso9660");
    // The magic alone is no header: neither a container that could be made again, nor nothing.
    let luks = name(write(SIZE, &[(0, b"LUKS\xBA\xBE\x00\x02")]));
    assert!(luks.starts_with("Unknown") && luks.contains("LUKS"), "{luks}");
    let mut label = b"LABELONE".to_vec();
    label.extend(1_u64.to_le_bytes());
    label.extend([0; 4]);
    label.extend(32_u32.to_le_bytes());
    label.extend(b"LVM2 001abcdefghijklmnopqrstuvwxyz012345");
    let uuid = "abcdef-ghij-klmn-opqr-stuv-wxyz-012345".to_owned();
    assert_eq!(write(SIZE, &[(512, &label)]), Content::LvmMember { uuid });
    // Software RAID 1.0 and 0.90 keep their superblocks near the end.
    let mut md = 0xA92B_4EFC_u32.to_le_bytes().to_vec();
    md.extend(1_u32.to_le_bytes());
    md.resize(16, 0);
    md.extend((0..16).collect::<Vec<u8>>());
    md.resize(144, 0);
    let at = SIZE - 8192;
    md.extend((at / 512).to_le_bytes());
    md.resize(256, 0);
    let array = "00010203:04050607:08090a0b:0c0d0e0f".to_owned();
    assert_eq!(write(SIZE, &[(at, &md)]), Content::MdMember { array });
    let mut old = [0xA92B_4EFC_u32, 0, 90, 0, 0, 0x11].map(u32::to_le_bytes).concat();
    old.resize(52, 0);
    old.extend([0x22_u32, 0x33, 0x44].map(u32::to_le_bytes).concat());
    let array = "00000011:00000022:00000033:00000044".to_owned();
    assert_eq!(write(SIZE, &[(SIZE - 65536, &old)]), Content::MdMember { array });
    let mut btrfs = vec![0x11; 0x30];
    btrfs.resize(0x40, 0);
    btrfs.extend(b"_BHRfS_M");
    btrfs.resize(0x88, 0);
    btrfs.extend(2_u64.to_le_bytes());
    btrfs.extend([4096_u32, 16384].map(u32::to_le_bytes).concat());
    btrfs.resize(0x12B + 256, 0);
    assert_eq!(name(write(SIZE, &[(65536, &btrfs)])), "btrfs");
}
