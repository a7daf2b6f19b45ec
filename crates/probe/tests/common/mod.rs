//! A machine made of files: a small tree of /sys, /proc, /run and /etc, and sparse images as block devices that
//! the real tools have formatted.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

pub mod compact;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sys::{Cmd, Error, FileFacts, FsUsage, Output, Real, Result, Sys};

pub struct Fake {
    dir: tempfile::TempDir,
    pub devices: BTreeMap<String, PathBuf>,
    minor: u32,
}

impl Fake {
    pub fn new() -> Self {
        let fake = Self { dir: tempfile::tempdir().unwrap(), devices: BTreeMap::new(), minor: 0 };
        std::fs::create_dir_all(fake.root().join("sys/block")).unwrap();
        fake.put("/proc/self/mountinfo", "");
        fake.put("/proc/sys/kernel/hostname", "box\n");
        fake.put("/proc/sys/kernel/arch", "x86_64\n");
        fake.put("/etc/os-release", "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n");
        fake
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// A new sparse file.
    pub fn image(&self, name: &str, size: u64) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::File::create(&path).unwrap().set_len(size).unwrap();
        path
    }

    pub fn put(&self, path: &str, text: &str) {
        let path = self.root().join(&path[1..]);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn link(&self, path: &str, target: &str) {
        let path = self.root().join(&path[1..]);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
    }

    /// A virtio disk with this image. Returns its directory in sysfs.
    pub fn disk(&mut self, name: &str, image: &Path, sector: u32) -> String {
        self.minor += 16;
        let slot = self.minor / 16 + 3;
        let place = format!("/sys/devices/pci0000:00/0000:00:{slot:02x}.0/virtio{slot}/block/{name}");
        let size = std::fs::metadata(image).unwrap().len();
        self.put(&format!("{place}/size"), &format!("{}\n", size / 512));
        self.put(&format!("{place}/dev"), &format!("254:{}\n", self.minor));
        self.put(&format!("{place}/removable"), "0\n");
        self.put(&format!("{place}/ro"), "0\n");
        self.put(&format!("{place}/queue/logical_block_size"), &format!("{sector}\n"));
        self.link(&format!("/sys/block/{name}"), &format!("..{}", &place[4..]));
        self.link(&format!("/sys/class/block/{name}"), &format!("../..{}", &place[4..]));
        self.link(&format!("/sys/dev/block/254:{}", self.minor), &format!("../..{}", &place[4..]));
        self.devices.insert(format!("/dev/{name}"), image.to_owned());
        place
    }

    /// A partition as the kernel sees it: start and size in units of 512 bytes. Its image is a file of its own.
    pub fn partition(&mut self, place: &str, number: u32, start: u64, size: u64) -> PathBuf {
        let disk = place.rsplit('/').next().unwrap();
        let name = format!("{disk}{number}");
        let here = format!("{place}/{name}");
        let device = format!("254:{}", self.minor + number);
        self.put(&format!("{here}/partition"), &format!("{number}\n"));
        self.put(&format!("{here}/start"), &format!("{start}\n"));
        self.put(&format!("{here}/size"), &format!("{size}\n"));
        self.put(&format!("{here}/dev"), &format!("{device}\n"));
        self.link(&format!("/sys/class/block/{name}"), &format!("../..{}", &here[4..]));
        self.link(&format!("/sys/dev/block/{device}"), &format!("../..{}", &here[4..]));
        let image = self.image(&name, size * 512);
        self.devices.insert(format!("/dev/{name}"), image.clone());
        image
    }

    /// A device-mapper device `dm-0` on top of a partition or disk, given by its directory in sysfs.
    pub fn mapped(&mut self, name: &str, uuid: &str, image: &Path, below: &str) {
        let place = "/sys/devices/virtual/block/dm-0";
        let size = std::fs::metadata(image).unwrap().len();
        self.put(&format!("{place}/size"), &format!("{}\n", size / 512));
        self.put(&format!("{place}/dev"), "253:0\n");
        self.put(&format!("{place}/ro"), "0\n");
        self.put(&format!("{place}/queue/logical_block_size"), "512\n");
        self.put(&format!("{place}/dm/name"), name);
        self.put(&format!("{place}/dm/uuid"), uuid);
        let lower = below.rsplit('/').next().unwrap();
        self.link(&format!("{place}/slaves/{lower}"), &format!("../../../../..{}", &below[4..]));
        self.link(&format!("{below}/holders/dm-0"), "/sys/devices/virtual/block/dm-0");
        self.link("/sys/block/dm-0", "../devices/virtual/block/dm-0");
        self.link("/sys/class/block/dm-0", "../../devices/virtual/block/dm-0");
        self.link("/sys/dev/block/253:0", "../../devices/virtual/block/dm-0");
        self.devices.insert("/dev/dm-0".to_owned(), image.to_owned());
    }

    /// A disk with a table written by `sfdisk`, whose own reading of it stands for the kernel's.
    pub fn table(&mut self, name: &str, size: u64, script: &str) -> (String, BTreeMap<u32, PathBuf>) {
        let image = self.image(name, size);
        tool_input("sfdisk", &["-q", image.to_str().unwrap()], script);
        let place = self.disk(name, &image, 512);
        let json = tool("sfdisk", &["--json", image.to_str().unwrap()]);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let mut images = BTreeMap::new();
        for part in json["partitiontable"]["partitions"].as_array().into_iter().flatten() {
            let node = part["node"].as_str().unwrap();
            let number = node.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap();
            let extended = matches!(part["type"].as_str().unwrap(), "5" | "f" | "85");
            let size = if extended { 2 } else { part["size"].as_u64().unwrap() };
            images.insert(number, self.partition(&place, number, part["start"].as_u64().unwrap(), size));
        }
        (place, images)
    }

    /// Lines of mountinfo for partitions of the disk that was made last: number, mount point, type.
    pub fn mounts(&self, mounts: &[(u32, &str, &str)]) {
        let mut text = "22 27 0:21 / /proc rw,relatime shared:5 - proc proc rw\n".to_owned();
        for (i, (number, point, kind)) in mounts.iter().enumerate() {
            let minor = self.minor + number;
            text.push_str(&format!(
                "{} 1 254:{minor} / {point} rw,relatime shared:1 - {kind} /dev/vda{number} rw\n",
                30 + i
            ));
        }
        self.put("/proc/self/mountinfo", &text);
    }

    pub fn path(&self, path: &Path) -> PathBuf {
        self.root().join(path.strip_prefix("/").unwrap())
    }
}

fn search_path() -> &'static str {
    "/usr/sbin:/usr/bin:/sbin:/bin"
}

/// Runs a tool of the system and gives its output; the tests need it installed.
pub fn tool(program: &str, args: &[&str]) -> String {
    tool_input(program, args, "")
}

pub fn tool_input(program: &str, args: &[&str], input: &str) -> String {
    let mut child = Command::new(program)
        .args(args)
        .env("PATH", search_path())
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {said}{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Sys for Fake {
    fn run(&self, cmd: &Cmd) -> Result<Output> {
        Err(Error::NotRecorded(cmd.line()))
    }
    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        std::fs::read(self.path(path)).map_err(Error::io("read", path))
    }
    fn read_at(&self, path: &Path, offset: u64, len: usize) -> Result<Vec<u8>> {
        use std::os::unix::fs::FileExt;
        let missing = || Error::io("open", path)(std::io::ErrorKind::NotFound.into());
        let image = match self.devices.get(path.to_str().unwrap()) {
            Some(image) => image.clone(),
            None if path.starts_with("/dev") => return Err(missing()),
            None => self.path(path),
        };
        let file = std::fs::File::open(image).map_err(|_| missing())?;
        let mut bytes = vec![0; len];
        let got = file.read_at(&mut bytes, offset).unwrap();
        bytes.truncate(got);
        Ok(bytes)
    }
    fn list(&self, path: &Path) -> Result<Vec<String>> {
        let list = std::fs::read_dir(self.path(path)).map_err(Error::io("list", path))?;
        let mut names: Vec<String> =
            list.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        Ok(names)
    }
    fn read_link(&self, path: &Path) -> Result<PathBuf> {
        std::fs::read_link(self.path(path)).map_err(Error::io("read link", path))
    }
    fn canonicalize(&self, path: &Path) -> Result<PathBuf> {
        if path.starts_with("/dev") && self.devices.contains_key(path.to_str().unwrap()) {
            return Ok(path.to_owned());
        }
        let real = std::fs::canonicalize(self.path(path)).map_err(Error::io("resolve", path))?;
        let root = std::fs::canonicalize(self.root()).unwrap();
        Ok(Path::new("/").join(real.strip_prefix(root).unwrap()))
    }
    fn exists(&self, path: &Path) -> bool {
        self.devices.contains_key(path.to_str().unwrap()) || self.path(path).exists()
    }
    fn which(&self, _program: &str) -> Option<PathBuf> {
        None
    }
    fn usage(&self, path: &Path) -> Result<FsUsage> {
        let files = 100 * path.as_os_str().len() as u64;
        Ok(FsUsage { total: 96 << 20, free: 64 << 20, available: 60 << 20, files })
    }
    fn file(&self, path: &Path) -> Result<FileFacts> {
        Real::default().file(&self.path(path))
    }
}
