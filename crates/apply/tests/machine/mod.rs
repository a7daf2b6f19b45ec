//! A machine made of sparse files: real tools work on the files, sysfs and mounts are played. No root needed.

#![allow(dead_code)] // Each test uses a part of it.

use std::collections::BTreeMap;
use std::io::{Error as IoError, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use apply::Hands;
use layout::Layout;
use sys::{Cmd, Error, FsUsage, Output, Real, Result, Sys};

struct Part {
    start: u64,
    /// What sysfs says, in units of 512 bytes.
    size: u64,
    file: PathBuf,
}

struct Disk {
    file: PathBuf,
    size: u64,
    serial: String,
    sequence: u32,
    parts: BTreeMap<u32, Part>,
}

#[derive(Default)]
struct State {
    disks: BTreeMap<String, Disk>,
    /// Node, mount point, type, options.
    mounts: Vec<(String, String, String, String)>,
    /// Changes that still succeed; `None` for all.
    left: Option<u32>,
    /// Whether the change that fails is done all the same (cut after it) or not (cut before it).
    after: bool,
    log: Vec<String>,
    /// Disks that were plugged in so far.
    appeared: u32,
}

pub struct Machine {
    dir: tempfile::TempDir,
    state: Mutex<State>,
}

fn not_found(path: &Path) -> Error {
    Error::io("read", path)(IoError::from(ErrorKind::NotFound))
}

/// A temporary directory in memory where there is one: the tools flush after every change.
pub fn fast_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

impl Machine {
    pub fn new() -> Self {
        Self { dir: fast_dir(), state: Mutex::default() }
    }

    /// Plugs in a blank disk.
    pub fn disk(&self, name: &str, serial: &str, size: u64) {
        let file = self.dir.path().join(name);
        std::fs::File::create(&file).unwrap().set_len(size).unwrap();
        let mut state = self.state.lock().unwrap();
        state.appeared += 1;
        let sequence = state.appeared;
        let disk = Disk { file, size, serial: serial.into(), sequence, parts: BTreeMap::new() };
        state.disks.insert(name.into(), disk);
    }

    /// Runs a tool by hand.
    pub fn tool(&self, program: &str, args: &[&str], stdin: &str) {
        self.run(&Cmd::new(program).args(args.iter().copied()).stdin(stdin)).unwrap();
    }

    /// As [`Machine::tool`], with arguments in one text.
    pub fn sh(&self, line: &str) {
        let mut words = line.split_whitespace();
        let program = words.next().unwrap();
        self.tool(program, &words.collect::<Vec<_>>(), "");
    }

    pub fn mounted(&self, node: &str, point: &str, fs_type: &str) {
        let mount = (node.to_owned(), point.to_owned(), fs_type.to_owned(), "rw".to_owned());
        self.state.lock().unwrap().mounts.push(mount);
    }

    /// Forgets the mounts, as the end of a process with its mount namespace does.
    pub fn unmount_all(&self) {
        self.state.lock().unwrap().mounts.clear();
    }

    /// Lets the n-th change from now fail, and all after it.
    pub fn cut(&self, left: Option<u32>, after: bool) {
        let mut state = self.state.lock().unwrap();
        state.left = left;
        state.after = after;
    }

    pub fn log(&self) -> Vec<String> {
        self.state.lock().unwrap().log.clone()
    }

    pub fn layout(&self) -> Layout {
        probe::machine(self).unwrap()
    }

    /// Bytes of a disk, for "untouched" checks.
    pub fn bytes(&self, name: &str, offset: u64, len: usize) -> Vec<u8> {
        let file = self.state.lock().unwrap().disks[name].file.clone();
        let mut bytes = vec![0; len];
        std::fs::File::open(file).unwrap().read_exact_at(&mut bytes, offset).unwrap();
        bytes
    }

    fn file(&self, node: &str) -> Option<PathBuf> {
        let state = self.state.lock().unwrap();
        let name = node.strip_prefix("/dev/")?;
        if let Some(disk) = state.disks.get(name) {
            return Some(disk.file.clone());
        }
        let parts = state.disks.iter().flat_map(|(disk, d)| d.parts.iter().map(move |(n, p)| (disk, n, p)));
        parts.filter(|(disk, n, _)| format!("{disk}{n}") == name).map(|(_, _, part)| part.file.clone()).next()
    }

    /// The kernel reads the table again.
    fn reread(&self, node: &str) {
        let name = node.strip_prefix("/dev/").unwrap().to_owned();
        let file = self.file(node).unwrap();
        let dump = Real::default().run(&Cmd::new("sfdisk").arg("-d").arg(file.to_string_lossy()));
        let text = dump.map(|output| output.text()).unwrap_or_default();
        let mut state = self.state.lock().unwrap();
        let disk = state.disks.get_mut(&name).unwrap();
        let mut parts = BTreeMap::new();
        for line in text.lines().filter(|line| line.contains(" : start=")) {
            let (node, fields) = line.split_once(" : ").unwrap();
            let number: u32 =
                node.strip_prefix(&*disk.file.to_string_lossy()).unwrap().trim().parse().unwrap();
            let field = |key: &str| {
                fields.split(',').find_map(|f| f.trim().strip_prefix(key)).map(|v| v.trim().to_owned())
            };
            let start: u64 = field("start=").unwrap().parse().unwrap();
            let size: u64 = field("size=").unwrap().parse().unwrap();
            let extended = matches!(field("type=").as_deref(), Some("5" | "f" | "85"));
            let path = disk.file.with_extension(format!("{number}.{start}.{size}"));
            if !path.exists() {
                std::fs::File::create(&path).unwrap().set_len(size * 512).unwrap();
            }
            parts.insert(number, Part { start, size: if extended { 2 } else { size }, file: path });
        }
        disk.parts = parts;
    }

    /// Counts a change; the closure does it.
    fn change<T>(&self, what: String, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let after = {
            let mut state = self.state.lock().unwrap();
            match state.left {
                Some(0) if !state.after => return Err(Error::Cancelled),
                Some(0) => {
                    // Only the first one that fails is still done.
                    state.after = false;
                    true
                }
                Some(n) => {
                    state.left = Some(n - 1);
                    false
                }
                None => false,
            }
        };
        let result = act()?;
        self.state.lock().unwrap().log.push(what);
        if after { Err(Error::Cancelled) } else { Ok(result) }
    }

    fn number(state: &State, disk: &str, part: u32) -> String {
        let major = 253 + state.disks.keys().position(|name| name == disk).unwrap();
        format!("{major}:{part}")
    }

    fn fact(&self, path: &Path) -> Option<String> {
        let state = self.state.lock().unwrap();
        let text = path.to_str()?;
        if text == "/proc/self/mountinfo" {
            let line = |(node, point, fs_type, options): &(String, String, String, String)| {
                let name = node.strip_prefix("/dev/").unwrap();
                let (disk, part) =
                    name.split_at(name.find(|c: char| c.is_ascii_digit()).unwrap_or(name.len()));
                let number = Self::number(&state, disk, part.parse().unwrap_or(0));
                format!("30 1 {number} / {point} {options} - {fs_type} {node} {options}\n")
            };
            return Some(state.mounts.iter().map(line).collect());
        }
        if text == "/proc/sys/kernel/arch" {
            return Some("x86_64".into());
        }
        // Partitions stand in the class beside their disks.
        let inside = |rest: &str| {
            let name = rest.split('/').next().unwrap_or_default();
            let disk = state.disks.keys().find(|disk| name.starts_with(disk.as_str()))?;
            Some(if name == disk { rest.to_owned() } else { format!("{disk}/{rest}") })
        };
        let text = match text.strip_prefix("/sys/class/block/") {
            Some(rest) => inside(rest)?,
            None => text.strip_prefix("/sys/block/")?.to_owned(),
        };
        let mut words = text.split('/');
        let name = words.next()?;
        let disk = state.disks.get(name)?;
        let rest: Vec<&str> = words.collect();
        match rest.as_slice() {
            ["size"] => Some((disk.size / 512).to_string()),
            ["dev"] => Some(Self::number(&state, name, 0)),
            ["serial"] => Some(disk.serial.clone()).filter(|serial| !serial.is_empty()),
            ["diskseq"] => Some(disk.sequence.to_string()),
            ["queue", "logical_block_size"] => Some("512".into()),
            ["removable" | "ro"] => Some("0".into()),
            [part, fact] => {
                let number: u32 = part.strip_prefix(name)?.parse().ok()?;
                let part = disk.parts.get(&number)?;
                match *fact {
                    "partition" => Some(number.to_string()),
                    "start" => Some(part.start.to_string()),
                    "size" => Some(part.size.to_string()),
                    "dev" => Some(Self::number(&state, name, number)),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

impl Sys for Machine {
    fn run(&self, cmd: &Cmd) -> Result<Output> {
        let last = cmd.arguments().iter().rfind(|arg| arg.starts_with("/dev/")).cloned().unwrap_or_default();
        if cmd.program() == "blockdev" {
            self.reread(&last);
            return Ok(Output::default());
        }
        let mut real = Cmd::new(cmd.program());
        if cmd.program() == "sfdisk" {
            real = real.args(["--no-reread", "--no-tell-kernel"]);
        }
        for arg in cmd.arguments() {
            let file = if arg.starts_with("/dev/") { self.file(arg) } else { None };
            real = real.arg(file.map_or(arg.clone(), |file| file.to_string_lossy().into_owned()));
        }
        if let Some(input) = cmd.input() {
            real = real.stdin(input.expose());
        }
        for name in ["TEST_DIR", "TEST_DEV", "QA_CHECK_FS"] {
            if cmd.program() == "mkfs.xfs" {
                real = real.env(name, "1");
            }
        }
        self.change(cmd.line(), || {
            let output = Real::default().run(&real)?;
            if cmd.program() == "sfdisk" {
                self.reread(&last);
            }
            Ok(output)
        })
    }
    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        self.fact(path).map(String::into_bytes).ok_or_else(|| not_found(path))
    }
    fn read_at(&self, path: &Path, offset: u64, len: usize) -> Result<Vec<u8>> {
        let file = path.to_str().and_then(|node| self.file(node)).ok_or_else(|| not_found(path))?;
        Real::default().read_at(&file, offset, len)
    }
    fn list(&self, path: &Path) -> Result<Vec<String>> {
        let state = self.state.lock().unwrap();
        if path == Path::new("/sys/block") {
            return Ok(state.disks.keys().cloned().collect());
        }
        let name = path.strip_prefix("/sys/block").ok().and_then(|rest| rest.to_str());
        match name.and_then(|name| state.disks.get(name).map(|disk| (name, disk))) {
            Some((name, disk)) => Ok(disk.parts.keys().map(|number| format!("{name}{number}")).collect()),
            None => Err(not_found(path)),
        }
    }
    fn read_link(&self, path: &Path) -> Result<PathBuf> {
        let state = self.state.lock().unwrap();
        let wanted = path.strip_prefix("/sys/dev/block").map_err(|_| not_found(path))?.to_string_lossy();
        for (name, disk) in &state.disks {
            for part in std::iter::once(0).chain(disk.parts.keys().copied()) {
                if Self::number(&state, name, part) == wanted {
                    let part = if part == 0 { String::new() } else { part.to_string() };
                    return Ok(format!("../../block/{name}/{name}{part}").into());
                }
            }
        }
        Err(not_found(path))
    }
    fn canonicalize(&self, path: &Path) -> Result<PathBuf> {
        match path.strip_prefix("/sys/block") {
            Ok(name) => Ok(Path::new("/sys/devices/pci0000:00/0000:00:04.0/virtio1/block").join(name)),
            Err(_) => Ok(path.to_owned()),
        }
    }
    fn exists(&self, path: &Path) -> bool {
        path.to_str().is_some_and(|node| self.file(node).is_some())
    }
    fn which(&self, program: &str) -> Option<PathBuf> {
        if program == "udevadm" { None } else { Real::default().which(program) }
    }
    fn usage(&self, _path: &Path) -> Result<FsUsage> {
        Ok(FsUsage { total: 100, free: 50, available: 50, files: 10 })
    }
    fn file(&self, path: &Path) -> Result<sys::FileFacts> {
        Real::default().file(path)
    }
}

impl Hands for Machine {
    fn write(&self, device: &Path, number: &str, offset: u64, bytes: &[u8]) -> Result<()> {
        let node = device.to_str().unwrap();
        let name = node.strip_prefix("/dev/").unwrap();
        assert_eq!(self.fact(Path::new(&format!("/sys/block/{name}/dev"))).as_deref(), Some(number));
        self.change(format!("write {} bytes at {offset} of {node}", bytes.len()), || {
            let mut places = vec![(self.file(node).unwrap(), offset)];
            let state = self.state.lock().unwrap();
            for part in state.disks[name].parts.values() {
                let start = part.start * 512;
                if offset >= start && offset + bytes.len() as u64 <= start + part.size * 512 {
                    places.push((part.file.clone(), offset - start));
                }
            }
            for (file, offset) in places {
                let file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
                file.write_all_at(bytes, offset).unwrap();
            }
            Ok(())
        })
    }
    fn claim(&self, _device: &Path) -> Result<()> {
        Ok(())
    }
    fn mount(
        &self,
        device: &Path,
        directory: &Path,
        _root: &Path,
        fs_type: &str,
        options: &str,
    ) -> Result<Option<sys::mount::Mount>> {
        let [node, point] = [device, directory].map(|path| path.to_str().unwrap().to_owned());
        self.change(format!("mount {node} at {point} with '{options}'"), || {
            let mount = (node, point, fs_type.to_owned(), "rw".to_owned());
            self.state.lock().unwrap().mounts.push(mount);
            Ok(None)
        })
    }
    fn pause(&self) {}
    fn look(&self, question: &mut dyn FnMut(&dyn Sys)) {
        question(self);
    }
}
