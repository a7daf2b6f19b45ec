//! Partition tables that sfdisk, fdisk and sgdisk write, and what damage does to them.

#![allow(clippy::unwrap_used)]

mod common;

use std::os::unix::fs::FileExt;

use common::{Fake, tool, tool_input};
use layout::{Content, Layout, MbrRole, PartitionEntry, PartitionTable};

const MIB: u64 = 1 << 20;

fn parts(layout: &Layout) -> Vec<(u32, u64, u64)> {
    let partition = |device: &layout::Device| device.partition().map(|p| (p.number, p.start.0, p.length.0));
    layout.devices.iter().filter_map(partition).collect()
}

fn what(layout: &Layout) -> &str {
    match &layout.devices[0].content {
        Content::Unknown { what } => what,
        other => panic!("{other:?}"),
    }
}

const GPT: &str = "label: gpt\nlabel-id: 6A0E4B5A-0000-4000-8000-000000000001\ntable-length: 128\n\
    1 : start=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649, uuid=6A0E4B5A-0000-4000-8000-0000000000A1\n\
    5 : start=8192, size=20480, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, uuid=6A0E4B5A-0000-4000-8000-0000000000A5, \
    name=\"Wurzel ä\", attrs=\"LegacyBIOSBootable GUID:63\"\n\
    3 : start=40960, size=4096, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, uuid=6A0E4B5A-0000-4000-8000-0000000000A3\n";

#[test]
fn gpt_with_gaps_and_numbers_out_of_order() {
    let mut fake = Fake::new();
    fake.table("vda", 64 * MIB, GPT);
    let layout = probe::machine(&fake).unwrap();
    assert_eq!(parts(&layout), [(1, 2048, 2048), (3, 40960, 4096), (5, 8192, 20480)]);
    let Some(PartitionTable::Gpt { guid, first_lba, last_lba, entries }) = layout.devices[0].table() else {
        panic!("{:?}", layout.devices[0].content)
    };
    assert_eq!(guid, "6A0E4B5A-0000-4000-8000-000000000001");
    assert_eq!((first_lba.0, last_lba.0, *entries), (2048, 64 * 2048 - 34, 128));
    let PartitionEntry::Gpt(entry) = &layout.devices[3].partition().unwrap().entry else { panic!() };
    assert_eq!(entry.name, "Wurzel ä");
    assert_eq!(entry.guid, "6A0E4B5A-0000-4000-8000-0000000000A5");
    assert_eq!(entry.attributes, 1 << 63 | 4);
    assert_eq!(layout.devices[1].content, Content::BootCode);
    assert_eq!(layout.devices[2].content, Content::Empty);
}

/// sfdisk leaves names empty that do not fit into 16 bits a character; sgdisk writes them.
#[test]
fn names_may_hold_any_character() {
    let mut fake = Fake::new();
    let image = fake.image("disk", 64 * MIB);
    tool("sgdisk", &["-n", "1:2048:4095", "-c", "1:x💾y", image.to_str().unwrap()]);
    let place = fake.disk("vda", &image, 512);
    fake.partition(&place, 1, 2048, 2048);
    let layout = probe::machine(&fake).unwrap();
    let PartitionEntry::Gpt(entry) = &layout.devices[1].partition().unwrap().entry else { panic!() };
    assert_eq!(entry.name, "x💾y");
}

#[test]
fn gpt_of_large_sectors_counts_in_them_while_the_kernel_counts_in_512() {
    let mut fake = Fake::new();
    let image = fake.image("disk", 64 * MIB);
    let path = image.to_str().unwrap();
    tool_input("fdisk", &["-b", "4096", path], "g\nn\n3\n512\n+8M\nw\n");
    let place = fake.disk("vda", &image, 4096);
    fake.partition(&place, 3, 512 * 8, 8 * MIB / 512);
    let layout = probe::machine(&fake).unwrap();
    assert_eq!(parts(&layout), [(3, 512, 2048)]);
    assert_eq!(layout.devices[1].size.0, 8 * MIB);
    assert_eq!(layout.devices[1].sector.0, 4096);
    // The same bytes on a disk with small sectors are no table there, and no blank disk either.
    let mut fake = Fake::new();
    fake.disk("vda", &image, 512);
    let layout = probe::machine(&fake).unwrap();
    assert!(what(&layout).contains("made for sectors of 4096 bytes"), "{}", what(&layout));
}

#[test]
fn logical_partitions_are_numbered_as_the_kernel_numbers_them() {
    let script = "label: dos\nlabel-id: 0xdeadbeef\n\
        1 : start=2048, size=4096, type=83, bootable\n2 : start=16384, size=100000, type=5\n\
        5 : start=18432, size=20000, type=83\n6 : start=40960, size=2048, type=82\n7 : start=60000, size=4096, type=7\n";
    let mut fake = Fake::new();
    fake.table("vda", 64 * MIB, script);
    let layout = probe::machine(&fake).unwrap();
    assert_eq!(
        parts(&layout),
        [(1, 2048, 4096), (2, 16384, 100000), (5, 18432, 20000), (6, 40960, 2048), (7, 60000, 4096)]
    );
    assert_eq!(layout.devices[0].table(), Some(&PartitionTable::Mbr { signature: 0xdead_beef }));
    let entry = |i: usize| match &layout.devices[i].partition().unwrap().entry {
        PartitionEntry::Mbr(entry) => (entry.type_id, entry.bootable, entry.role),
        other => panic!("{other:?}"),
    };
    assert_eq!(entry(1), (0x83, true, MbrRole::Primary));
    assert_eq!(entry(2), (0x05, false, MbrRole::Extended));
    assert_eq!(entry(4), (0x82, false, MbrRole::Logical));
    assert_eq!(layout.devices[2].content, Content::Empty);
}

#[test]
fn a_chain_that_bites_its_tail_ends() {
    let mut fake = Fake::new();
    let image = fake.image("disk", 8 * MIB);
    let mut sector = [0_u8; 512];
    sector[446 + 4] = 5;
    sector[446 + 8..446 + 12].copy_from_slice(&2048_u32.to_le_bytes());
    sector[446 + 12..446 + 16].copy_from_slice(&4096_u32.to_le_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xAA]);
    let file = std::fs::OpenOptions::new().write(true).open(&image).unwrap();
    file.write_all_at(&sector, 0).unwrap();
    // The link in the extended partition leads to itself.
    sector[446 + 8..446 + 12].copy_from_slice(&0_u32.to_le_bytes());
    file.write_all_at(&sector, 2048 * 512).unwrap();
    let place = fake.disk("vda", &image, 512);
    fake.partition(&place, 1, 2048, 2);
    assert_eq!(parts(&probe::machine(&fake).unwrap()), [(1, 2048, 4096)]);
}

fn damaged(change: impl Fn(&std::fs::File)) -> Layout {
    let mut fake = Fake::new();
    let image = fake.image("disk", 64 * MIB);
    tool_input("sfdisk", &["-q", image.to_str().unwrap()], GPT);
    change(&std::fs::OpenOptions::new().write(true).open(&image).unwrap());
    // A kernel that finds the table damaged has no partitions.
    fake.disk("vda", &image, 512);
    probe::machine(&fake).unwrap()
}

#[test]
fn damage_is_named_and_never_looks_empty() {
    let header = damaged(|file| file.write_all_at(b"x", 512 + 60).unwrap());
    assert!(what(&header).contains("its backup is intact"), "{}", what(&header));
    let entry = damaged(|file| file.write_all_at(b"x", 1024 + 60).unwrap());
    assert!(what(&entry).contains("its backup is intact"), "{}", what(&entry));
    let both = damaged(|file| {
        file.write_all_at(b"x", 512 + 60).unwrap();
        file.write_all_at(b"x", 64 * MIB - 512 + 60).unwrap();
    });
    assert_eq!(what(&both), "damaged GUID partition table");
    let bare = damaged(|file| file.write_all_at(&[0; 512], 0).unwrap());
    assert!(what(&bare).contains("without its protective MBR"));
}

#[test]
fn a_kernel_that_works_with_another_table_is_an_error_where_it_matters() {
    let mut fake = Fake::new();
    let image = fake.image("disk", 64 * MIB);
    tool_input(
        "sfdisk",
        &["-q", image.to_str().unwrap()],
        "label: dos\n1 : start=2048, size=4096, type=83\n",
    );
    let place = fake.disk("vda", &image, 512);
    let part = fake.partition(&place, 1, 2048, 8192);
    tool("mke2fs", &["-q", part.to_str().unwrap()]);
    // Nobody uses it: it is foreign, not blank.
    assert!(what(&probe::machine(&fake).unwrap()).contains("run partprobe or reboot"));
    fake.mounts(&[(1, "/", "ext2")]);
    let error = probe::machine(&fake).unwrap_err().to_string();
    assert!(error.contains("/dev/vda differs from its partition table"), "{error}");
    assert!(error.contains("partition 1 has 4096 sectors, for the kernel 8192"), "{error}");
}

#[test]
fn a_boot_sector_of_fat_is_no_partition_table() {
    let mut fake = Fake::new();
    let image = fake.image("stick", 64 * MIB);
    tool("mkfs.vfat", &[image.to_str().unwrap()]);
    fake.disk("vda", &image, 512);
    assert_eq!(probe::machine(&fake).unwrap().devices[0].filesystem().unwrap().fs_type(), "vfat");
    // A whole-disk filesystem behind the boot code of a loader.
    let image = fake.image("ext", 64 * MIB);
    tool("mke2fs", &["-q", image.to_str().unwrap()]);
    let file = std::fs::OpenOptions::new().write(true).open(&image).unwrap();
    file.write_all_at(&[0x55, 0xAA], 510).unwrap();
    fake.disk("vdb", &image, 512);
    assert_eq!(probe::machine(&fake).unwrap().devices[1].filesystem().unwrap().fs_type(), "ext2");
}

#[test]
fn an_empty_table_is_a_table() {
    let mut fake = Fake::new();
    fake.table("vda", 8 * MIB, "label: dos\nlabel-id: 0x1234\n");
    let layout = probe::machine(&fake).unwrap();
    assert_eq!(layout.devices[0].table(), Some(&PartitionTable::Mbr { signature: 0x1234 }));
}
