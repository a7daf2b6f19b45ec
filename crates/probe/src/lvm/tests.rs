//! A physical volume as LVM 2.03.16 wrote it: its label, the header of its metadata area and the newest text.

use std::path::{Path, PathBuf};

use layout::{Bytes, Content, Device, Kind, Layout, LvmGroupText, NodeId, VolumeGroup, write_lvm_text};
use sys::{Cmd, FileFacts, FsUsage, Output, Sys};

use super::label::{Area, area, crc, parse};
use super::{Groups, forget_broken};
use crate::device::Dev;

const LABEL: &[u8] = include_bytes!("fixtures/label.bin");
const HEADER: &[u8] = include_bytes!("fixtures/header.bin");
const TEXT: &[u8] = include_bytes!("fixtures/text.vg");
/// Where the metadata area lies, and its size.
const AREA: (u64, u64) = (4096, 1_044_480);

/// A machine whose only file is one disk; LVM uses the disk of this kernel name.
struct Disk(Vec<u8>, &'static str);

fn closed<T>() -> sys::Result<T> {
    Err(sys::Error::NotRecorded("nothing but the disk is read".into()))
}

impl Sys for Disk {
    fn read_at(&self, _: &Path, offset: u64, len: usize) -> sys::Result<Vec<u8>> {
        let from = (offset as usize).min(self.0.len());
        Ok(self.0[from..(from + len).min(self.0.len())].to_vec())
    }
    fn run(&self, _: &Cmd) -> sys::Result<Output> {
        closed()
    }
    fn read(&self, _: &Path) -> sys::Result<Vec<u8>> {
        closed()
    }
    fn list(&self, path: &Path) -> sys::Result<Vec<String>> {
        let used = path == Path::new("/sys/class/block").join(self.1).join("holders");
        Ok(used.then(|| "dm-0".to_owned()).into_iter().collect())
    }
    fn read_link(&self, _: &Path) -> sys::Result<PathBuf> {
        closed()
    }
    fn canonicalize(&self, _: &Path) -> sys::Result<PathBuf> {
        closed()
    }
    fn exists(&self, _: &Path) -> bool {
        false
    }
    fn which(&self, _: &str) -> Option<PathBuf> {
        None
    }
    fn usage(&self, _: &Path) -> sys::Result<FsUsage> {
        closed()
    }
    fn file(&self, _: &Path) -> sys::Result<FileFacts> {
        closed()
    }
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// The disk with its text at this place of the area, which wraps where it does not fit.
fn disk(start: u64) -> Disk {
    let mut bytes = vec![0; 4 << 20];
    bytes[512..1024].copy_from_slice(LABEL);
    let mut header = HEADER.to_vec();
    header[40..48].copy_from_slice(&start.to_le_bytes());
    let sum = crc(0xf597_a6cf, &header[4..]);
    header[..4].copy_from_slice(&sum.to_le_bytes());
    for (i, byte) in TEXT.iter().enumerate() {
        let mut at = start as usize + i;
        if at >= AREA.1 as usize {
            at = at - AREA.1 as usize + 512;
        }
        bytes[AREA.0 as usize + at] = *byte;
    }
    bytes[4096..4608].copy_from_slice(&header);
    Disk(bytes, "")
}

fn read(disk: &Disk) -> Area {
    area(&Dev::new(disk, "/dev/sdb", disk.0.len() as u64), AREA).unwrap()
}

#[test]
fn the_label_leads_to_the_newest_text() {
    let disk = disk(number(HEADER, 40));
    assert_eq!(&disk.0[4096..4608], HEADER, "our checksum of the header is LVM's");
    let label = parse(&disk.0[..4096]).unwrap();
    assert_eq!(label.areas, [AREA]);
    let Area::Group(group) = read(&disk) else { panic!("{:?}", read(&disk)) };
    assert_eq!(group.name, "cvg");
    assert_eq!(group.physical_volumes[1], ("pv1".to_owned(), label.uuid));
    let lv = group.metadata["logical_volumes"].section().unwrap()["fill"].section().unwrap();
    assert_eq!(VolumeGroup::segments(lv).len(), 3);
    assert!(!write_lvm_text(&group.metadata).contains("/dev/sd"), "hints at devices stay behind");
}

#[test]
fn the_text_goes_on_behind_the_header() {
    let Area::Group(plain) = read(&disk(number(HEADER, 40))) else { panic!() };
    for missing in [1, 100, TEXT.len() as u64 - 1] {
        let Area::Group(wrapped) = read(&disk(AREA.1 - missing)) else { panic!("{missing}") };
        assert_eq!(wrapped, plain);
    }
}

#[test]
fn damage_is_seen() {
    let start = number(HEADER, 40);
    let mut broken = disk(start);
    broken.0[AREA.0 as usize + start as usize + 50] ^= 1;
    assert!(matches!(read(&broken), Area::Damaged(what) if what.contains("checksum")));
    let mut broken = disk(start);
    broken.0[4096 + 100] ^= 1;
    assert!(matches!(read(&broken), Area::Damaged(what) if what.contains("header")));
    assert!(matches!(read(&disk(AREA.1 + 512)), Area::Damaged(what) if what.contains("outside")));
    let mut broken = disk(start);
    broken.0[512 + 40] ^= 1;
    assert_eq!(parse(&broken.0[..4096]), None);
    assert_eq!(parse(&broken.0[..600]), None);
    assert_eq!(read(&disk(0)), Area::Empty);
}

#[test]
fn every_version_writes_the_same_group() {
    // One group made by hand with the tools of Debian 11, 12 and 13; identifiers and times are those of the first.
    let texts = [
        ("2.03.11", include_str!("fixtures/debian11.vg")),
        ("2.03.16", include_str!("fixtures/debian12.vg")),
        ("2.03.31", include_str!("fixtures/debian13.vg")),
    ];
    let first = LvmGroupText::parse(texts[0].1).unwrap();
    assert_eq!((first.name.as_str(), first.seqno, first.physical_volumes.len()), ("vg", 3, 2));
    let volume = first.metadata["logical_volumes"].section().unwrap()["str"].section().unwrap();
    assert!(VolumeGroup::has(volume, "tags", "boot"));
    assert_eq!(VolumeGroup::segments(volume)[0]["stripe_size"].number(), Some(128));
    for (version, text) in texts {
        // 2.03.12 and later note by what they know a device; other disks have other names.
        assert_eq!(text.contains("device_id_type"), version != "2.03.11");
        assert_eq!(LvmGroupText::parse(text).unwrap(), first, "{version}");
        for missing in ["seqno = 3", "id = ", "contents = ", "version = 1", "vg {", "physical_volumes {"] {
            let broken = text.replacen(missing, "other = ", 1);
            assert!(LvmGroupText::parse(&broken).is_err(), "{version} without {missing}");
        }
    }
}

/// A machine with these copies, each of this many bytes.
fn copies(names: &[&str], used: &'static str, size: u64) -> Layout {
    let start = number(HEADER, 40);
    let sys = Disk(disk(start).0, used);
    let uuid = parse(&sys.0[..4096]).unwrap().uuid;
    let machine = layout::Machine {
        hostname: String::new(),
        firmware: layout::Firmware::Bios,
        architecture: String::new(),
        system: String::new(),
    };
    let mut layout = Layout::new(machine);
    let mut groups = Groups::default();
    for name in names {
        let kind = layout::Disk {
            identity: layout::DiskIdentity::default(),
            transport: String::new(),
            removable: false,
            read_only: false,
            multipath: None,
        };
        let device = Device {
            id: NodeId((*name).to_owned()),
            path: format!("/dev/{name}"),
            size: Bytes(size),
            sector: layout::SectorSize::B512,
            kind: Kind::Disk(kind),
            content: Content::LvmMember { uuid: uuid.clone() },
        };
        groups.add(&sys, &device).unwrap();
        layout.devices.push(device);
    }
    layout.groups = groups.finish(&layout);
    layout
}

#[test]
fn of_copies_the_one_in_use_carries_the_volume() {
    for (names, used) in [(["sda", "sdb"], "sdb"), (["sdb", "sda"], "sdb"), (["sda", "sdb"], "sda")] {
        let layout = copies(&names, used, 1 << 40);
        let carriers: Vec<&str> = layout.groups[0]
            .physical_volumes
            .iter()
            .filter_map(|volume| volume.device.as_ref().map(|id| id.0.as_str()))
            .collect();
        assert_eq!(carriers, [used], "{names:?}");
    }
}

#[test]
fn a_foreign_group_that_contradicts_itself_is_left_alone() {
    // A disk was copied onto a smaller one.
    let mut layout = copies(&["sda"], "", 4 << 20);
    assert!(layout.check()[0].to_string().contains("behind the end"), "{:?}", layout.check());
    forget_broken(&mut layout);
    assert_eq!((layout.check().len(), layout.groups.len()), (0, 0));
    let mut whole = copies(&["sda"], "", 1 << 40);
    forget_broken(&mut whole);
    assert_eq!(whole.groups.len(), 1);
}
