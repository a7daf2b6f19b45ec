//! LVM's devices file (`lvmdevices(8)`, lvm2 2.03.12 and newer): the list of the devices that LVM may use, by identifiers of
//! hardware. After a recovery onto other disks it names disks that are gone, and LVM would see no physical volume at all.
//!
//! Only LVM knows which identifier it takes for a device, so LVM itself, as the restored system has it, takes the stale entries out
//! and puts the devices in again. Entries of other devices, and a file that LVM does not use, stay as they are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sys::{Cmd, Sys, SysExt};

use crate::rooted::{program, resolve};
use crate::{Error, Result};

/// Where the file is. Other names (`devices/devicesfile`) are for single commands.
const FILE: &str = "/etc/lvm/devices/system.devices";

/// What was done with the devices file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LvmDevices {
    /// What was changed, as sentences.
    pub done: Vec<String>,
    /// What could not be set right, as sentences.
    pub problems: Vec<String>,
    /// Why the initramfs must be made again: it holds a copy of the file.
    pub rebuild: Option<String>,
}

/// Sets the entries of recovered physical volumes right in the restored system at `root`, in which `/dev`, `/proc`, `/sys` and
/// `/run` must be mounted. `volumes`: UUID of each (with dashes or without) and its present node. The original stays beside
/// the file, as `system.devices.rear-orig`.
///
/// # Errors
/// When the file cannot be read or written. What LVM refuses is a problem in the result; the file is put aside then, and LVM uses all
/// devices.
pub fn restore_lvm_devices(sys: &dyn Sys, root: &Path, volumes: &[(String, PathBuf)]) -> Result<LvmDevices> {
    let mut result = LvmDevices::default();
    let Some(path) = resolve(root, Path::new(FILE)).filter(|path| path.is_file()) else { return Ok(result) };
    let text = std::fs::read(&path).map_err(Error::io("read", &path))?;
    let listed = pvids(&String::from_utf8_lossy(&text));
    let wanted: BTreeMap<String, &PathBuf> = volumes
        .iter()
        .map(|(uuid, node)| (uuid.replace('-', ""), node))
        .filter(|(pvid, _)| listed.contains(pvid))
        .collect();
    if wanted.is_empty() {
        return Ok(result);
    }
    // Without LVM nothing reads the file.
    let Some(lvm) = program(root, &["lvm"]) else { return Ok(result) };
    let tool = Lvm { sys, root, program: lvm };
    match renew(&tool, &path, &wanted) {
        Ok(changed) if changed.is_empty() => return Ok(result),
        Ok(changed) => result.done.extend(changed),
        Err(Error::Sys(error @ sys::Error::Cancelled)) => return Err(error.into()),
        Err(error) => {
            let aside = beside(&path);
            if !aside.exists() {
                std::fs::copy(&path, &aside).map_err(Error::io("keep the original of", &path))?;
            }
            std::fs::remove_file(&path).map_err(Error::io("put aside", &path))?;
            result.problems.push(format!(
                "{FILE} names the old disks and could not be set right ({error}); it was put aside as {FILE}.rear-orig, so that \
                 LVM uses all devices. Make a new one with vgimportdevices --all"
            ));
        }
    }
    result.rebuild = carrier(root);
    Ok(result)
}

/// Takes the stale entries out and puts their devices in again; what was changed, as sentences.
fn renew(tool: &Lvm<'_>, path: &Path, wanted: &BTreeMap<String, &PathBuf>) -> Result<Vec<String>> {
    if !tool.uses_file()? {
        return Ok(Vec::new());
    }
    let stale = tool.stale(wanted)?;
    if stale.is_empty() {
        return Ok(Vec::new());
    }
    std::fs::copy(path, beside(path)).map_err(Error::io("keep the original of", path))?;
    // All out before the first goes in: disks may have changed places.
    for pvid in &stale {
        tool.run(&["lvmdevices", "--yes", "--delpvid", pvid])?;
    }
    let mut done = Vec::new();
    for pvid in &stale {
        let Some(node) = wanted.get(pvid) else { continue };
        tool.run(&["lvmdevices", "--yes", "--adddev", &node.to_string_lossy()])?;
        done.push(format!("{FILE}: the physical volume {pvid} is on {} now", node.display()));
    }
    match tool.stale(wanted)?.first() {
        None => Ok(done),
        Some(pvid) => Err(tool.wrong("lvmdevices", format!("it still does not find {pvid} on its device"))),
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".rear-orig");
    PathBuf::from(name)
}

/// LVM of the restored system.
struct Lvm<'a> {
    sys: &'a dyn Sys,
    root: &'a Path,
    program: String,
}

impl Lvm<'_> {
    fn run(&self, args: &[&str]) -> Result<String> {
        let cmd = Cmd::new(&self.program).args(args.iter().copied()).env("LVM_SUPPRESS_FD_WARNINGS", "1");
        Ok(self.sys.run(&cmd.chroot(self.root))?.text())
    }

    /// What cannot be understood of the answer to a command, with LVM's version.
    fn wrong(&self, command: &str, detail: String) -> Error {
        let version = self.sys.version(&Cmd::new(&self.program).arg("version").chroot(self.root));
        sys::Error::Answer { what: format!("lvm {command}{version}"), detail }.into()
    }

    /// Whether LVM uses the devices file at all; versions without it do not know the setting.
    fn uses_file(&self) -> Result<bool> {
        let text = self.run(&["lvmconfig", "--type", "full", "devices/use_devicesfile"])?;
        match text.trim() {
            "use_devicesfile=1" => Ok(true),
            "use_devicesfile=0" => Ok(false),
            other => Err(self.wrong("lvmconfig", format!("use_devicesfile is neither 0 nor 1 in '{other}'"))),
        }
    }

    /// The entries that do not lead to their device.
    fn stale(&self, wanted: &BTreeMap<String, &PathBuf>) -> Result<Vec<String>> {
        let found = parse(&self.run(&["lvmdevices"])?).map_err(|detail| self.wrong("lvmdevices", detail))?;
        let real = |path: &Path| self.sys.canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let is_right = |pvid: &String, node: &Path| {
            let mut entries = found.iter().filter(|(of, _)| of == pvid);
            let device = entries.next().and_then(|(_, device)| device.as_deref());
            entries.next().is_none() && device.is_some_and(|device| real(Path::new(device)) == real(node))
        };
        Ok(wanted.iter().filter(|(pvid, node)| !is_right(pvid, node)).map(|(pvid, _)| pvid.clone()).collect())
    }
}

/// The PVIDs that a devices file lists: a line `IDTYPE=… IDNAME=… DEVNAME=… PVID=… PART=…` for each device.
fn pvids(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| line.starts_with("IDTYPE="));
    lines.filter_map(|line| Some(field(line, "PVID")?.to_owned())).collect()
}

/// A field of a line. A name may have blanks nowhere: LVM writes `_` instead.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

/// What `lvmdevices` prints: the PVID of each entry, and the device to which it leads now. Else what is wrong with it.
fn parse(text: &str) -> Result<Vec<(String, Option<String>)>, String> {
    let mut found = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let malformed = |what: &str| format!("{what} in the line '{line}'");
        let rest = line.strip_prefix("Device ").ok_or_else(|| malformed("no 'Device'"))?;
        let device = rest.split_whitespace().next();
        // The kernel's name of the device, or that there is none.
        let device = device.filter(|word| is_nothing(word) || word.starts_with('/'));
        let device = device.ok_or_else(|| malformed("no name of the device"))?;
        let pvid = field(rest, "PVID").filter(|pvid| is_nothing(pvid) || is_pvid(pvid));
        let pvid = pvid.ok_or_else(|| malformed("no PVID"))?;
        found.push((pvid.to_owned(), Some(device.to_owned()).filter(|device| !is_nothing(device))));
    }
    Ok(found)
}

/// What stands in the place of a field without a value (a dot in the first versions).
fn is_nothing(text: &str) -> bool {
    text == "none" || text == "."
}

/// Whether this is a UUID of LVM without its dashes.
fn is_pvid(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Why the initramfs has a copy of the file, if it does: initramfs-tools packs all of `/etc/lvm`; dracut packs `lvm.conf` alone,
/// unless it is told otherwise.
fn carrier(root: &Path) -> Option<String> {
    let why = format!("it holds {FILE}, which has changed");
    if resolve(root, Path::new("/usr/share/initramfs-tools/hooks/lvm2")).is_some_and(|path| path.is_file()) {
        return Some(why);
    }
    let mut files = vec![PathBuf::from("/etc/dracut.conf")];
    if let Some(dir) = resolve(root, Path::new("/etc/dracut.conf.d")) {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        files.extend(entries.map(|entry| Path::new("/etc/dracut.conf.d").join(entry.file_name())));
    }
    let told = |path: &PathBuf| {
        let text =
            resolve(root, path).and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
        text.lines().any(|line| !line.trim_start().starts_with('#') && line.contains("/etc/lvm/devices"))
    };
    files.iter().any(told).then_some(why)
}

#[cfg(test)]
mod tests;
