//! The kernel's block devices from `/sys/block`: which there are, their sizes, partitions and links. No content.

use sys::{Sys, SysExt};

use crate::table::Seen;
use crate::{Error, Result, lvm, multipath};

/// A block device of the kernel, partitions aside.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// Name in sysfs.
    pub(crate) name: String,
    /// Device number as text, `254:0`.
    pub(crate) number: String,
    /// Size in bytes.
    pub(crate) size: u64,
    /// Bytes of a logical sector.
    pub(crate) sector: u32,
    pub(crate) removable: bool,
    pub(crate) read_only: bool,
    /// Its place in sysfs.
    pub(crate) sysfs: String,
    /// Devices that it is made of.
    pub(crate) slaves: Vec<String>,
    /// Devices that are made of it as a whole.
    pub(crate) holders: Vec<String>,
    /// Its partitions, with the kernel's names, by number.
    pub(crate) partitions: Vec<(String, Seen)>,
    /// The paths to it, where it is a disk behind several.
    pub(crate) multipath: Option<multipath::Paths>,
}

/// Memory disks, loop devices, optical drives, floppies and raw flash: no storage that a machine is rebuilt from.
fn is_ignored(name: &str) -> bool {
    ["loop", "ram", "zram", "sr", "fd", "mtdblock"].iter().any(|prefix| {
        name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    })
}

/// All block devices with a size, members before what is made of them.
pub(crate) fn read(sys: &dyn Sys) -> Result<Vec<Block>> {
    let mut open: Vec<Block> = Vec::new();
    for name in sys.list("/sys/block".as_ref())? {
        if !is_ignored(&name)
            && let Some(block) = one(sys, &name)?
        {
            open.push(block);
        }
    }
    let mut volumes = Vec::new();
    for block in &open {
        if lvm::is_volume(sys, &block.name)? {
            volumes.push(block.name.clone());
        }
    }
    let mut sorted: Vec<Block> = Vec::new();
    while !open.is_empty() {
        let known = |slave: &String| {
            sorted.iter().any(|b| b.name == *slave || b.partitions.iter().any(|(name, _)| name == slave))
        };
        // A slave that is nowhere in the list (a loop device) never gets known: it must not hold others up.
        let listed = |slave: &String| {
            open.iter().any(|b| b.name == *slave || b.partitions.iter().any(|(name, _)| name == slave))
        };
        let is_ready = |b: &Block| b.slaves.iter().all(|slave| known(slave) || !listed(slave));
        // A volume of LVM is known by the metadata of its group, which may lie on any physical volume: they first.
        let ready = open.iter().position(|b| is_ready(b) && !volumes.contains(&b.name));
        let ready = ready.or_else(|| open.iter().position(is_ready));
        sorted.push(open.remove(ready.unwrap_or(0)));
    }
    multipath::fold(sys, sorted)
}

fn one(sys: &dyn Sys, name: &str) -> Result<Option<Block>> {
    let base = format!("/sys/block/{name}");
    let Some(size) = number(sys, &format!("{base}/size"))? else { return Ok(None) };
    // NVMe shows each path to a disk of several as a hidden device beside the disk itself.
    if size == 0 || flag(sys, &format!("{base}/hidden"))? {
        return Ok(None);
    }
    let mut partitions = Vec::new();
    for entry in sys.list(base.as_ref())? {
        if !entry.starts_with(name) {
            continue;
        }
        let part = |file: &str| number(sys, &format!("{base}/{entry}/{file}"));
        if let (Some(number), Some(start), Some(size)) = (part("partition")?, part("start")?, part("size")?) {
            partitions.push((entry, Seen { number: u32::try_from(number).unwrap_or(0), start, size }));
        }
    }
    partitions.sort_by_key(|(_, seen)| seen.number);
    Ok(Some(Block {
        name: name.to_owned(),
        number: sys.read_text(format!("{base}/dev"))?.trim().to_owned(),
        size: size.saturating_mul(512),
        sector: number(sys, &format!("{base}/queue/logical_block_size"))?
            .and_then(|size| u32::try_from(size).ok())
            .unwrap_or(512),
        removable: flag(sys, &format!("{base}/removable"))?,
        read_only: flag(sys, &format!("{base}/ro"))?,
        sysfs: sys.canonicalize(base.as_ref())?.to_string_lossy().into_owned(),
        slaves: names(sys, &format!("{base}/slaves"))?,
        holders: names(sys, &format!("{base}/holders"))?,
        partitions,
        multipath: None,
    }))
}

/// Names in a directory that need not exist.
pub(crate) fn names(sys: &dyn Sys, path: &str) -> Result<Vec<String>> {
    match sys.list(path.as_ref()) {
        Ok(names) => Ok(names),
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

fn number(sys: &dyn Sys, path: &str) -> Result<Option<u64>> {
    let Some(text) = sys.read_opt(path)? else { return Ok(None) };
    match text.parse() {
        Ok(number) => Ok(Some(number)),
        Err(_) => Err(Error::Malformed { what: path.to_owned(), detail: format!("'{text}' is no number") }),
    }
}

fn flag(sys: &dyn Sys, path: &str) -> Result<bool> {
    Ok(sys.read_opt(path)?.as_deref() == Some("1"))
}
