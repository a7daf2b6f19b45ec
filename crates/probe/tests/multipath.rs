//! A disk over two paths, with partitions that kpartx made, is one disk.
#![allow(clippy::unwrap_used)]

mod common;

use common::Fake;
use layout::{Content, Kind};
use sys::{Cmd, Output, Sys};

const WWID: &str = "3600508b400105e210000900000490000";

/// A machine that answers to `dmsetup table`.
struct Machine(Fake);

impl Sys for Machine {
    fn run(&self, cmd: &Cmd) -> sys::Result<Output> {
        let stdout = match cmd.line().as_str() {
            "dmsetup table mpatha-part1" => "0 40960 linear 252:0 2048\n",
            "dmsetup table mpatha-part2" => "0 40960 linear 252:0 43008\n",
            _ => return self.0.run(cmd),
        };
        Ok(Output { stdout: stdout.into(), ..Output::default() })
    }
    fn read(&self, path: &std::path::Path) -> sys::Result<Vec<u8>> {
        self.0.read(path)
    }
    fn read_at(&self, path: &std::path::Path, offset: u64, len: usize) -> sys::Result<Vec<u8>> {
        // A passive path cannot be read, and must not be.
        assert!(!path.starts_with("/dev/vd"), "{} was read", path.display());
        self.0.read_at(path, offset, len)
    }
    fn list(&self, path: &std::path::Path) -> sys::Result<Vec<String>> {
        self.0.list(path)
    }
    fn read_link(&self, path: &std::path::Path) -> sys::Result<std::path::PathBuf> {
        self.0.read_link(path)
    }
    fn canonicalize(&self, path: &std::path::Path) -> sys::Result<std::path::PathBuf> {
        self.0.canonicalize(path)
    }
    fn exists(&self, path: &std::path::Path) -> bool {
        self.0.exists(path)
    }
    fn which(&self, program: &str) -> Option<std::path::PathBuf> {
        self.0.which(program)
    }
    fn usage(&self, path: &std::path::Path) -> sys::Result<sys::FsUsage> {
        self.0.usage(path)
    }
    fn file(&self, path: &std::path::Path) -> sys::Result<sys::FileFacts> {
        Sys::file(&self.0, path)
    }
}

/// A device-mapper device in sysfs.
fn mapped(fake: &mut Fake, minor: u32, name: &str, uuid: &str, image: &std::path::Path, below: &[&str]) {
    let dm = format!("dm-{minor}");
    let place = format!("/sys/devices/virtual/block/{dm}");
    let size = std::fs::metadata(image).unwrap().len();
    fake.put(&format!("{place}/size"), &format!("{}\n", size / 512));
    fake.put(&format!("{place}/dev"), &format!("252:{minor}\n"));
    fake.put(&format!("{place}/ro"), "0\n");
    fake.put(&format!("{place}/queue/logical_block_size"), "512\n");
    fake.put(&format!("{place}/dm/name"), &format!("{name}\n"));
    fake.put(&format!("{place}/dm/uuid"), &format!("{uuid}\n"));
    for below in below {
        let lower = below.rsplit('/').next().unwrap();
        fake.link(&format!("{place}/slaves/{lower}"), &format!("../../../../..{}", &below[4..]));
        fake.link(&format!("{below}/holders/{dm}"), &place);
    }
    for link in
        [format!("/sys/block/{dm}"), format!("/sys/class/block/{dm}"), format!("/sys/dev/block/252:{minor}")]
    {
        let up = "../".repeat(link.split('/').count() - 3);
        fake.link(&link, &format!("{up}devices/virtual/block/{dm}"));
    }
    fake.devices.insert(format!("/dev/{dm}"), image.to_owned());
}

#[test]
fn paths_and_partitions_are_one_disk() {
    let mut fake = Fake::new();
    let size = 64 << 20;
    let (first, parts) = fake.table("vda", size, "label: gpt\nstart=2048, size=40960\nsize=40960\n");
    let image = fake.devices["/dev/vda"].clone();
    let second = fake.disk("vdb", &image, 512);
    common::tool("mke2fs", &["-q", "-t", "ext4", parts[&1].to_str().unwrap()]);
    mapped(&mut fake, 0, "mpatha", &format!("mpath-{WWID}"), &image, &[&first, &second]);
    let disk = "/sys/devices/virtual/block/dm-0";
    mapped(&mut fake, 1, "mpatha-part1", &format!("part1-mpath-{WWID}"), &parts[&1], &[disk]);
    mapped(&mut fake, 2, "mpatha-part2", &format!("part2-mpath-{WWID}"), &parts[&2], &[disk]);
    fake.put("/proc/self/mountinfo", "30 1 252:1 / /srv rw - ext4 /dev/mapper/mpatha-part1 rw\n");
    fake.put("/proc/swaps", "Filename Type Size Used Priority\n");
    let machine = Machine(fake);

    let layout = probe::machine(&machine).unwrap();
    assert_eq!(layout.check(), []);
    let paths: Vec<&str> = layout.devices.iter().map(|device| device.path.as_str()).collect();
    assert_eq!(paths, ["/dev/dm-0", "/dev/dm-1", "/dev/dm-2"]);
    let disk = &layout.devices[0];
    assert_eq!(disk.id.0, "disk:wwn:0x600508b400105e210000900000490000");
    let multipath = disk.disk().unwrap().multipath.clone().unwrap();
    assert_eq!(
        (multipath.wwid.as_str(), multipath.paths),
        (WWID, vec!["/dev/vda".into(), "/dev/vdb".into()])
    );
    assert_eq!(disk.disk().unwrap().transport, "virtio");
    assert!(matches!(disk.content, Content::Table(_)));
    let Kind::Partition(part) = &layout.devices[2].kind else { panic!("{:?}", layout.devices[2]) };
    assert_eq!((part.number, part.start.0, &part.parent), (2, 43008, &disk.id));
    assert_eq!(layout.mounted_at("/srv").unwrap().path, "/dev/dm-1");
    // The disk in use is known whichever path leads to it.
    let sources = probe::sources(&machine, &layout).unwrap();
    assert_eq!(sources.iter().collect::<Vec<_>>(), [&disk.id]);
}
