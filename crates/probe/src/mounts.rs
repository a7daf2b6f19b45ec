//! What is mounted and swapped on, and what fstab says. Reads `/proc` and `/etc/fstab`, mounts nothing.

use layout::{Device, Layout};
use sys::{Sys, SysExt};

use crate::bytes::unescape;
use crate::{Error, Result};

/// A line of `/proc/self/mountinfo` (kernel `Documentation/filesystems/proc.rst`, 3.5), escapes undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountEntry {
    /// Number of the mount.
    pub id: u32,
    /// Number of the mount that it stands on.
    pub parent: u32,
    /// Device number; the major number is 0 for filesystems without one device.
    pub major_minor: (u32, u32),
    /// Directory of the filesystem that is seen at the mount point.
    pub root: String,
    /// Where it is mounted.
    pub mount_point: String,
    /// Options of this mount.
    pub options: Vec<String>,
    /// Type, with subtype (`fuse.sshfs`).
    pub fs_type: String,
    /// What was mounted: `/dev/vda1`, `server:/export`, or a mere word.
    pub source: String,
    /// Options of the filesystem.
    pub super_options: Vec<String>,
}

/// All mounts that this process sees, in the order in which they were made.
pub fn mountinfo(sys: &dyn Sys) -> Result<Vec<MountEntry>> {
    parse_mountinfo(&sys.read_text("/proc/self/mountinfo")?)
}

pub(crate) fn parse_mountinfo(text: &str) -> Result<Vec<MountEntry>> {
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            mount_line(line).ok_or_else(|| Error::Malformed {
                what: "/proc/self/mountinfo".to_owned(),
                detail: format!("the line '{line}'"),
            })
        })
        .collect()
}

fn mount_line(line: &str) -> Option<MountEntry> {
    // Separated by single blanks: a filesystem may give an empty source.
    let (left, right) = line.split_once(" - ")?;
    let left: Vec<&str> = left.split(' ').collect();
    let mut right = right.split(' ');
    let list = |text: &str| text.split(',').filter(|o| !o.is_empty()).map(unescape).collect();
    let (fs_type, source) = (right.next()?, right.next()?);
    Some(MountEntry {
        id: left.first()?.parse().ok()?,
        parent: left.get(1)?.parse().ok()?,
        major_minor: device_number(left.get(2)?)?,
        root: unescape(left.get(3)?),
        mount_point: unescape(left.get(4)?),
        options: list(left.get(5)?),
        fs_type: unescape(fs_type),
        source: unescape(source),
        super_options: list(right.next().unwrap_or_default()),
    })
}

/// `254:1` as numbers.
pub(crate) fn device_number(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// A line of `/proc/swaps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SwapEntry {
    pub(crate) path: String,
    pub(crate) is_file: bool,
    pub(crate) kibibytes: u64,
}

pub(crate) fn swaps(sys: &dyn Sys) -> Result<Vec<SwapEntry>> {
    // Kernels without swap have no such file.
    Ok(parse_swaps(&sys.read_opt("/proc/swaps")?.unwrap_or_default()))
}

pub(crate) fn parse_swaps(text: &str) -> Vec<SwapEntry> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let path = unescape(words.next()?);
        let is_file = words.next()? == "file";
        Some(SwapEntry { path, is_file, kibibytes: words.next()?.parse().ok()? })
    };
    text.lines().skip(1).filter_map(line).collect()
}

/// An entry of fstab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FstabEntry {
    /// What is mounted: `UUID=…`, `/dev/…`, `server:/export`.
    pub spec: String,
    /// Where.
    pub file: String,
    /// Type, `auto` or `none` among them.
    pub fs_type: String,
    /// Options.
    pub options: Vec<String>,
}

impl FstabEntry {
    pub(crate) fn has(&self, option: &str) -> bool {
        self.options.iter().any(|o| o == option)
    }

    /// Whether the machine starts without it.
    pub(crate) fn is_optional(&self) -> bool {
        self.has("noauto") || self.has("nofail")
    }
}

pub(crate) fn fstab(sys: &dyn Sys) -> Result<Vec<FstabEntry>> {
    Ok(parse_fstab(&sys.read_opt("/etc/fstab")?.unwrap_or_default()))
}

/// The entries of an fstab, escapes undone (fstab(5)). Lines that are none are passed over.
pub fn parse_fstab(text: &str) -> Vec<FstabEntry> {
    let entry = |line: &str| {
        let line = line.trim();
        if line.starts_with('#') {
            return None;
        }
        let mut words = line.split_whitespace();
        let (spec, file, fs_type) =
            (unescape(words.next()?), unescape(words.next()?), words.next()?.to_owned());
        let options = words.next().unwrap_or("defaults");
        let options = options.split(',').filter(|o| !o.is_empty()).map(unescape).collect();
        // "/mnt/" and "/mnt" are the same mount point.
        let file = if file.len() > 1 { file.trim_end_matches('/').to_owned() } else { file };
        Some(FstabEntry { spec, file, fs_type, options })
    };
    text.lines().filter_map(entry).collect()
}

/// The kernel's path (`/dev/vda1`) of a device number.
pub(crate) fn path_of_number(sys: &dyn Sys, (major, minor): (u32, u32)) -> Result<Option<String>> {
    match sys.read_link(format!("/sys/dev/block/{major}:{minor}").as_ref()) {
        Ok(link) => Ok(link.file_name().map(|name| device_path(&name.to_string_lossy()))),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// `/dev/` path of a name in sysfs, where `!` stands for a slash (`cciss!c0d0`).
pub(crate) fn device_path(name: &str) -> String {
    format!("/dev/{}", name.replace('!', "/"))
}

/// A path with its links resolved; as it is where it does not exist.
pub(crate) fn resolve(sys: &dyn Sys, path: &str) -> Result<String> {
    match sys.canonicalize(path.as_ref()) {
        Ok(real) => Ok(real.to_string_lossy().into_owned()),
        Err(error) if error.is_not_found() => Ok(path.to_owned()),
        Err(error) => Err(error.into()),
    }
}

/// The device's path behind a mount, where it has one: by number, or by source for filesystems with numbers of their own.
pub(crate) fn device_of(sys: &dyn Sys, mount: &MountEntry) -> Result<Option<String>> {
    if mount.major_minor.0 != 0 {
        return path_of_number(sys, mount.major_minor);
    }
    if mount.source.starts_with("/dev/") && matches!(mount.fs_type.as_str(), "btrfs" | "bcachefs") {
        return Ok(Some(resolve(sys, &mount.source)?));
    }
    Ok(None)
}

/// The layout's device behind a mount.
pub(crate) fn node_of<'a>(
    sys: &dyn Sys,
    layout: &'a Layout,
    mount: &MountEntry,
) -> Result<Option<&'a Device>> {
    let device = device_of(sys, mount)?.and_then(|path| layout.device_by_path(&path));
    // A btrfs may be mounted from any of its devices.
    Ok(device.map(|device| crate::btrfs::carrier(layout, device)))
}

/// Options that a filesystem shows but that nobody set, or that hold for this boot only.
const VOLATILE: [&str; 7] =
    ["seclabel", "relatime", "noquota", "attr2", "inode64", "logbufs=8", "logbsize=32k"];

/// Options to keep: fstab's where it lists the mount point, else the kernel's without noise.
pub(crate) fn options(mount: &MountEntry, fstab: &[FstabEntry]) -> Vec<String> {
    if let Some(entry) = fstab.iter().find(|entry| entry.file == mount.mount_point) {
        return entry.options.clone();
    }
    let mut kept: Vec<String> = Vec::new();
    for option in mount.options.iter().chain(&mount.super_options) {
        // Of a btrfs, what is mounted is named twice; a new filesystem gives another number.
        let numbered = option.starts_with("subvolid=");
        if !VOLATILE.contains(&option.as_str()) && !numbered && !kept.contains(option) {
            kept.push(option.clone());
        }
    }
    // The filesystem's own "rw" beside a read-only mount of it.
    if kept.iter().any(|option| option == "ro") {
        kept.retain(|option| option != "rw");
    }
    kept
}

/// How often a mount point's path goes down; for "parents first".
pub(crate) fn by_depth(mount_point: &str) -> Vec<&str> {
    mount_point.split('/').filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_with_optional_fields_and_escapes() {
        let text = "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue\n\
                    40 35 0:44 / /x rw - tmpfs  rw\n";
        let mounts = parse_mountinfo(text).unwrap();
        assert_eq!(mounts[0].mount_point, "/mnt 2");
        assert_eq!(mounts[0].major_minor, (98, 0));
        assert_eq!(mounts[0].super_options, ["rw", "errors=continue"]);
        assert_eq!((mounts[1].source.as_str(), mounts[1].super_options.len()), ("", 1));
        assert!(parse_mountinfo("36 35 rubbish").is_err());
    }

    #[test]
    fn swaps_are_read() {
        let text = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/dev/vda3   partition\t999420\t\t0\t\t-2\n\
                    /swap\\040file  file\t10\t0\t-3\n";
        let swaps = parse_swaps(text);
        assert_eq!((swaps[0].path.as_str(), swaps[0].is_file), ("/dev/vda3", false));
        assert_eq!((swaps[1].path.as_str(), swaps[1].is_file), ("/swap file", true));
    }

    #[test]
    fn fstab_options_win() {
        let fstab =
            parse_fstab("# x\nUUID=1 /srv/data/ ext4 noatime,x-systemd.automount 0 2\n/dev/a none swap\n");
        assert_eq!(fstab[1].options, ["defaults"]);
        let mut mount =
            parse_mountinfo("1 0 8:1 / /srv/data rw,relatime - ext4 /dev/sda1 rw,seclabel,errors=remount-ro")
                .unwrap()
                .remove(0);
        assert_eq!(options(&mount, &fstab), ["noatime", "x-systemd.automount"]);
        mount.mount_point = "/other".into();
        assert_eq!(options(&mount, &fstab), ["rw", "errors=remount-ro"]);
    }
}
