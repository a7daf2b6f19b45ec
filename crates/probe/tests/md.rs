//! Running arrays are read from sysfs and from their members' superblocks.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::Fake;
use layout::{Bytes, Content, Device, Kind, Layout, MdArray, MdBitmap};
use std::os::unix::fs::FileExt;
use std::path::Path;

const SIZE: u64 = 96 << 20;
const UUID: &str = "00010203:04050607:08090a0b:0c0d0e0f";

/// A superblock of version 1.2 with this slot.
fn superblock(image: &Path, slot: u16) {
    let mut sb = vec![0; 4096];
    let mut put = |at: usize, bytes: &[u8]| sb[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &0xA92B_4EFC_u32.to_le_bytes());
    put(4, &1_u32.to_le_bytes());
    put(16, &(0..16).collect::<Vec<u8>>());
    put(32, b"box:data");
    put(72, &1_u32.to_le_bytes());
    put(80, &131_072_u64.to_le_bytes());
    put(92, &2_u32.to_le_bytes());
    put(128, &2048_u64.to_le_bytes());
    put(144, &8_u64.to_le_bytes());
    put(220, &128_u32.to_le_bytes());
    put(256, &slot.to_le_bytes());
    std::fs::OpenOptions::new().write(true).open(image).unwrap().write_all_at(&sb, 4096).unwrap();
}

/// Three disks with superblocks and the array md0, whose files in sysfs are given.
fn fake(files: &[(&str, &str)]) -> Fake {
    let mut fake = Fake::new();
    for (slot, name) in ["vda", "vdb", "vdc"].into_iter().enumerate() {
        let image = fake.image(name, SIZE);
        superblock(&image, u16::try_from(slot).unwrap());
        let place = fake.disk(name, &image, 512);
        fake.put(&format!("{place}/holders/md0"), "");
        fake.put(&format!("/sys/block/md0/slaves/{name}"), "");
    }
    let usual = [
        ("size", "131072"),
        ("dev", "9:0"),
        ("ro", "0"),
        ("queue/logical_block_size", "512"),
        ("md/level", "raid1"),
        ("md/metadata_version", "1.2"),
        ("md/raid_disks", "2"),
        ("md/layout", "0"),
        ("md/chunk_size", "0"),
        ("md/component_size", "65536"),
        ("md/consistency_policy", "bitmap"),
        ("md/reshape_position", "none"),
        ("md/bitmap/location", "+8"),
        ("md/bitmap/metadata", "internal"),
        ("md/bitmap/chunksize", "67108864"),
        ("md/bitmap/backlog", "0"),
        ("md/dev-vdb/state", "in_sync"),
        ("md/dev-vdb/slot", "0"),
        ("md/dev-vdb/offset", "2048"),
        ("md/dev-vda/state", "in_sync,write_mostly"),
        ("md/dev-vda/slot", "1"),
        ("md/dev-vda/offset", "2048"),
        ("md/dev-vdc/state", "spare"),
        ("md/dev-vdc/slot", "none"),
        ("md/dev-vdc/offset", "2048"),
    ];
    for (file, text) in usual.iter().chain(files) {
        fake.put(&format!("/sys/block/md0/{file}"), &format!("{text}\n"));
    }
    let image = fake.image("md0", SIZE);
    fake.devices.insert("/dev/md0".to_owned(), image);
    fake
}

fn md0(layout: &Layout) -> (&Device, &MdArray) {
    let device = layout.device_by_path("/dev/md0").unwrap();
    match &device.kind {
        Kind::MdArray(array) => (device, array),
        other => panic!("{other:?}"),
    }
}

fn names(array: &MdArray) -> Vec<String> {
    let slots = array.slots.iter().map(|slot| slot.as_ref().map_or("-", |member| member.device.0.as_str()));
    slots.chain(array.spares.iter().map(|spare| spare.device.0.as_str())).map(str::to_owned).collect()
}

#[test]
fn slots_give_the_order() {
    let layout = probe::machine(&fake(&[])).unwrap();
    let (device, array) = md0(&layout);
    assert_eq!(device.id.0, format!("md:{UUID}"));
    assert_eq!((array.uuid.as_str(), array.name.as_str(), array.level.as_str()), (UUID, "box:data", "raid1"));
    let id = |path: &str| layout.device_by_path(path).unwrap().id.0.clone();
    assert_eq!(names(array), [id("/dev/vdb"), id("/dev/vda"), id("/dev/vdc")]);
    assert_eq!(array.slots[1].as_ref().unwrap().flags, ["write_mostly"]);
    assert_eq!(array.slots[0].as_ref().unwrap().data_offset, Bytes(1 << 20));
    assert_eq!((array.chunk, array.component_size), (Bytes(0), Bytes(64 << 20)));
    let bitmap = MdBitmap { location: "internal".into(), chunk: Bytes(64 << 20), write_behind: 0 };
    assert_eq!((array.bitmap.clone(), array.consistency.as_str()), (Some(bitmap), "bitmap"));
    let content = &layout.device_by_path("/dev/vdc").unwrap().content;
    assert_eq!(*content, Content::MdMember { array: UUID.into() });
}

#[test]
fn members_that_are_filled_have_a_slot_and_faulty_ones_have_none() {
    let layout = probe::machine(&fake(&[
        ("md/dev-vdb/state", "faulty"),
        ("md/dev-vdb/slot", "none"),
        ("md/dev-vdc/slot", "0"),
    ]))
    .unwrap();
    let id = |path: &str| layout.device_by_path(path).unwrap().id.0.clone();
    assert_eq!(names(md0(&layout).1), [id("/dev/vdc"), id("/dev/vda")]);
    let layout =
        probe::machine(&fake(&[("md/dev-vda/state", "faulty,write_mostly"), ("md/bitmap/location", "none")]));
    let layout = layout.unwrap();
    let array = md0(&layout).1;
    assert_eq!((array.is_degraded(), array.bitmap.is_none()), (true, true));
}

#[test]
fn what_is_going_on_is_said() {
    let layout =
        probe::machine(&fake(&[("md/reshape_position", "4096"), ("md/raid_disks", "2 (3)")])).unwrap();
    assert_eq!(md0(&layout).1.consistency, "reshape");
    let gone =
        [("md/dev-vda/state", "faulty"), ("md/dev-vdb/state", "faulty"), ("md/dev-vdc/state", "faulty")];
    let error = probe::machine(&fake(&gone)).unwrap_err().to_string();
    assert!(error.contains("/dev/md0 has lost 2 of its 2 members"), "{error}");
    let error =
        probe::machine(&fake(&[("md/chunk_size", "many"), ("md/level", "raid0")])).unwrap_err().to_string();
    assert!(error.contains("/sys/block/md0/md/chunk_size") && error.contains("'many'"), "{error}");
}

#[test]
fn arrays_of_a_firmware_are_named() {
    let mut files = vec![("md/metadata_version", "external:/md127/0")];
    files.push(("md/bitmap/location", "none"));
    let fake = fake(&files);
    fake.put("/sys/block/md127/md/metadata_version", "external:imsm\n");
    fake.put("/sys/block/md127/size", "0\n");
    let layout = probe::machine(&fake).unwrap();
    let (device, array) = md0(&layout);
    assert_eq!((array.metadata.as_str(), device.id.0.as_str()), ("external:imsm", "md:md0"));
}
