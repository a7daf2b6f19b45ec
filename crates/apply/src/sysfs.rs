//! What the kernel says of a disk and its partitions right now (`/sys/block`), read only.
//!
//! Partitions are found by their number in sysfs, never by gluing names together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sys::{Cmd, Error as SysError, Result, Sys, SysExt};

/// sysfs counts in units of 512 bytes, whatever the disk's sectors are.
pub(crate) const UNIT: u64 = 512;

/// A partition as the kernel knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Kernel name: `vda1`.
    pub(crate) name: String,
    /// First byte on the disk.
    pub(crate) start: u64,
    /// Size in bytes.
    pub(crate) size: u64,
}

/// Facts that tell whether the device behind a name is still the same; compared as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Device number, `253:0`.
    pub(crate) number: String,
    /// Size in bytes.
    pub(crate) size: u64,
    /// Serial number, where sysfs shows one as text.
    pub(crate) serial: Option<String>,
    /// World-wide id, as sysfs shows it.
    pub(crate) wwid: Option<String>,
    /// Number that the kernel gives to each disk that appears, never twice (since Linux 5.15).
    pub(crate) sequence: Option<String>,
}

fn number(sys: &dyn Sys, path: &Path) -> Result<u64> {
    let text = sys.read_text(path)?;
    text.trim().parse().map_err(|_| SysError::Answer {
        what: path.display().to_string(),
        detail: format!("'{}' is not a number", text.trim()),
    })
}

fn dir(name: &str) -> PathBuf {
    Path::new("/sys/block").join(name)
}

/// The node of a kernel name (`cciss!c0d0` lies at `/dev/cciss/c0d0`).
pub(crate) fn node(name: &str) -> PathBuf {
    Path::new("/dev").join(name.replace('!', "/"))
}

/// The kernel name of a disk's node; the reverse of [`node`].
pub(crate) fn name(node: &str) -> String {
    node.strip_prefix("/dev/").unwrap_or(node).replace('/', "!")
}

/// The number that the kernel gave to this disk when it appeared; `None` on kernels before 5.15.
pub(crate) fn sequence(sys: &dyn Sys, disk: &str) -> Result<Option<String>> {
    sys.read_opt(dir(disk).join("diskseq"))
}

impl Facts {
    /// Reads them. A missing file is a fact too; a disk that is gone is an error.
    pub(crate) fn read(sys: &dyn Sys, disk: &str) -> Result<Self> {
        let dir = dir(disk);
        let first = |names: [&str; 2]| {
            names
                .iter()
                .find_map(|name| sys.read_opt(dir.join(name)).ok().flatten())
                .filter(|s| !s.is_empty())
        };
        Ok(Self {
            number: sys.read_text(dir.join("dev"))?.trim().to_owned(),
            size: number(sys, &dir.join("size"))?.saturating_mul(UNIT),
            serial: first(["serial", "device/serial"]),
            wwid: first(["wwid", "device/wwid"]),
            sequence: sequence(sys, disk)?,
        })
    }

    /// How what is there `now` differs, as a phrase.
    pub(crate) fn difference(&self, now: &Self) -> String {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".into());
        let pairs = [
            ("device number", self.number.clone(), now.number.clone()),
            ("size in bytes", self.size.to_string(), now.size.to_string()),
            ("serial number", text(&self.serial), text(&now.serial)),
            ("world-wide name", text(&self.wwid), text(&now.wwid)),
            ("sequence number (it was plugged in anew)", text(&self.sequence), text(&now.sequence)),
        ];
        let differing = pairs.into_iter().filter(|(_, was, is)| was != is);
        differing
            .map(|(what, was, is)| format!("its {what} is {is}, not {was}"))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// The partitions of a disk, by number.
pub(crate) fn partitions(sys: &dyn Sys, disk: &str) -> Result<BTreeMap<u32, Part>> {
    let dir = dir(disk);
    let mut found = BTreeMap::new();
    if is_mapped(disk) {
        return mapped_partitions(sys, disk);
    }
    for name in sys.list(&dir)? {
        let inside = dir.join(&name);
        // A partition may vanish while we look: then it is none.
        let Some(text) = sys.read_opt(inside.join("partition")).ok().flatten() else { continue };
        let Ok(part) = text.parse::<u32>() else { continue };
        let start = number(sys, &inside.join("start"))?.saturating_mul(UNIT);
        let size = number(sys, &inside.join("size"))?.saturating_mul(UNIT);
        found.insert(part, Part { name, start, size });
    }
    Ok(found)
}

/// Whether device-mapper made it: a disk behind several paths, a volume, an open container.
pub(crate) fn is_mapped(disk: &str) -> bool {
    disk.starts_with("dm-")
}

/// The partitions of a device-mapper disk, which kpartx made as devices of their own: their uuid is `partN-` and that
/// of the disk (multipath-tools `kpartx/kpartx.c`).
fn mapped_partitions(sys: &dyn Sys, disk: &str) -> Result<BTreeMap<u32, Part>> {
    let uuid = |name: &str| sys.read_opt(dir(name).join("dm/uuid")).ok().flatten().unwrap_or_default();
    let own = uuid(disk);
    let mut found = BTreeMap::new();
    for name in sys.list(Path::new("/sys/block"))?.into_iter().filter(|name| is_mapped(name)) {
        let uuid = uuid(&name);
        let Some((part, of)) = uuid.strip_prefix("part").and_then(|rest| rest.split_once('-')) else {
            continue;
        };
        if own.is_empty() || of != own {
            continue;
        }
        if let Ok(part) = part.parse::<u32>() {
            let start = mapped_start(sys, disk, &name)?.saturating_mul(UNIT);
            let size = number(sys, &dir(&name).join("size"))?.saturating_mul(UNIT);
            found.insert(part, Part { name, start, size });
        }
    }
    Ok(found)
}

/// Where a partition of a device-mapper disk begins, in units of 512 bytes: only device-mapper's own table
/// (`0 LENGTH linear MAJOR:MINOR OFFSET`) knows. A logical partition lies in the extended one.
fn mapped_start(sys: &dyn Sys, disk: &str, part: &str) -> Result<u64> {
    let mapped = sys.read_text(dir(part).join("dm/name"))?.trim().to_owned();
    let cmd = Cmd::new("dmsetup").args(["table", &mapped]);
    let table = sys.run(&cmd)?.text();
    let unexpected = |what: &'static str| {
        let version = sys.version(&Cmd::new("dmsetup").arg("--version").accept(&[1]));
        let detail = format!("{what} in '{}'", table.trim());
        SysError::Answer { what: format!("'{}'{version}", cmd.line()), detail }
    };
    let offset = linear_offset(&table).map_err(unexpected)?;
    match below(sys, part)?.as_slice() {
        [outer] if outer == disk => Ok(offset),
        [outer] if outer != part && is_mapped(outer) => {
            Ok(mapped_start(sys, disk, outer)?.saturating_add(offset))
        }
        _ => Err(unexpected("no range of the disk or of a partition on it")),
    }
}

/// The offset of a table that is one linear range, in units of 512 bytes; else what is wrong with it.
fn linear_offset(table: &str) -> Result<u64, &'static str> {
    let words: Vec<&str> = table.split_whitespace().collect();
    let ["0", length, "linear", below, offset] = words.as_slice() else {
        return Err("no single range 'START LENGTH linear MAJOR:MINOR OFFSET'");
    };
    length.parse::<u64>().map_err(|_| "no number as the length")?;
    let numbers = below.split_once(':').map(|(major, minor)| (major.parse::<u32>(), minor.parse::<u32>()));
    let Some((Ok(_), Ok(_))) = numbers else { return Err("no MAJOR:MINOR as the device") };
    offset.parse().map_err(|_| "no number as the offset")
}

/// The directory of any block device in sysfs, partitions included.
fn class_dir(name: &str) -> PathBuf {
    Path::new("/sys/class/block").join(name)
}

/// Names of the devices that are made of this one.
pub(crate) fn holders(sys: &dyn Sys, name: &str) -> Result<Vec<String>> {
    names(sys, &class_dir(name).join("holders"))
}

/// Names of the devices that this one lies on: what it is made of, or the disk of a partition. Empty for a disk.
pub(crate) fn below(sys: &dyn Sys, name: &str) -> Result<Vec<String>> {
    let dir = class_dir(name);
    if sys.exists(&dir.join("partition")) {
        let real = sys.canonicalize(&dir)?;
        let parent = real.parent().and_then(Path::file_name);
        return Ok(parent.map(|name| name.to_string_lossy().into_owned()).into_iter().collect());
    }
    names(sys, &dir.join("slaves"))
}

fn names(sys: &dyn Sys, dir: &Path) -> Result<Vec<String>> {
    match sys.list(dir) {
        Ok(names) => Ok(names),
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Number (`254:0`) and size in bytes of any block device.
pub(crate) fn number_and_size(sys: &dyn Sys, name: &str) -> Result<(String, u64)> {
    let dir = class_dir(name);
    let device = sys.read_text(dir.join("dev"))?.trim().to_owned();
    Ok((device, number(sys, &dir.join("size"))?.saturating_mul(UNIT)))
}

/// What uses the disk or one of its partitions, with the way to free it; `None` when nothing is seen.
pub(crate) fn user(sys: &dyn Sys, disk: &str) -> Result<Option<(String, String)>> {
    let mut found = vec![disk.to_owned()];
    found.extend(partitions(sys, disk)?.into_values().map(|part| part.name));
    for name in found {
        if let Some(user) = user_of(sys, &name)? {
            return Ok(Some(user));
        }
    }
    Ok(None)
}

/// What uses this device itself, with the way to free it; `None` when nothing is seen.
pub(crate) fn user_of(sys: &dyn Sys, name: &str) -> Result<Option<(String, String)>> {
    let node = node(name);
    if let Some(holder) = holders(sys, name)?.first() {
        let what = format!("{holder} is made of {}", node.display());
        return Ok(Some((what, format!("stop {holder} (mdadm --stop, vgchange -an, cryptsetup close)"))));
    }
    let (number, _) = number_and_size(sys, name)?;
    // mountinfo: id, parent, MAJOR:MINOR, root, mount point (proc(5)).
    let mounts = sys.read_text("/proc/self/mountinfo")?;
    let mounted = mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(2);
        (words.next() == Some(&number)).then(|| words.nth(1).unwrap_or_default().to_owned())
    });
    if let Some(point) = mounted {
        let what = format!("{} is mounted at {point}", node.display());
        return Ok(Some((what, format!("unmount it (umount {point})"))));
    }
    let swaps = sys.read_opt("/proc/swaps")?.unwrap_or_default();
    if swaps.lines().any(|line| line.split_whitespace().next() == node.to_str()) {
        let what = format!("{} is used as swap", node.display());
        return Ok(Some((what, format!("switch it off (swapoff {})", node.display()))));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::linear_offset;

    #[test]
    fn only_a_single_linear_range_has_an_offset() {
        assert_eq!(linear_offset("0 1024000 linear 253:0 2048\n"), Ok(2048));
        for (table, field) in [
            ("", "range"),
            ("x: 0 1024000 linear 253:0 2048\n", "range"),
            ("0 1024000 linear 253:0\n", "range"),
            ("0 100 linear 253:0 2048\n100 50 linear 253:0 9000\n", "range"),
            ("0 1024000 crypt aes - 0 253:0 4096\n", "range"),
            ("0 - linear 253:0 2048\n", "length"),
            ("0 1024000 linear /dev/sda 2048\n", "MAJOR:MINOR"),
            ("0 1024000 linear 253:0 0x800\n", "offset"),
        ] {
            let why = linear_offset(table).unwrap_err();
            assert!(why.contains(field), "{table}: {why}");
        }
    }
}
