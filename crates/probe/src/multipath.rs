//! Disks that are reached over several paths: the paths and the device-mapper devices that multipath and kpartx made of
//! them become one disk with partitions. Assembles nothing.

use layout::{Disk, Multipath};
use sys::{Cmd, Sys, SysExt};

use crate::block::Block;
use crate::error::with_version;
use crate::mounts::device_path;
use crate::table::Seen;
use crate::{Error, Result, identity};

/// What multipath makes of several paths (multipath-tools `libmultipath/devmapper.h`, `UUID_PREFIX`).
const MAP: &str = "mpath-";

/// A disk behind several paths, as the kernel shows it.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    /// World-wide identifier, as multipath names it.
    pub(crate) wwid: String,
    /// The paths: the first tells what kind of disk it is.
    pub(crate) paths: Vec<Block>,
}

/// Folds paths and partitions into the disks that they belong to. The order of the rest stays.
pub(crate) fn fold(sys: &dyn Sys, blocks: Vec<Block>) -> Result<Vec<Block>> {
    let mut uuids = Vec::new();
    for block in &blocks {
        let uuid = match block.name.starts_with("dm-") {
            true => sys.read_opt(format!("/sys/block/{}/dm/uuid", block.name))?.unwrap_or_default(),
            false => String::new(),
        };
        uuids.push(uuid);
    }
    if !uuids.iter().any(|uuid| uuid.starts_with(MAP)) {
        return Ok(blocks);
    }
    let mut folded: Vec<Block> = Vec::new();
    let mut gone: Vec<String> = Vec::new();
    for (block, uuid) in blocks.iter().zip(&uuids) {
        let Some(wwid) = uuid.strip_prefix(MAP) else { continue };
        let mut disk = block.clone();
        let paths: Vec<Block> =
            blocks.iter().filter(|other| block.slaves.contains(&other.name)).cloned().collect();
        gone.extend(paths.iter().map(|path| path.name.clone()));
        for (part, part_uuid) in blocks.iter().zip(&uuids) {
            if let Some(number) = partition_number(part_uuid, uuid) {
                let start = start(sys, &blocks, block, part)?;
                disk.partitions.push((part.name.clone(), Seen { number, start, size: part.size / 512 }));
                gone.push(part.name.clone());
            }
        }
        disk.partitions.sort_by_key(|(_, seen)| seen.number);
        disk.holders.retain(|holder| !disk.partitions.iter().any(|(name, _)| name == holder));
        disk.slaves.clear();
        disk.multipath = Some(Paths { wwid: wwid.to_owned(), paths });
        folded.push(disk);
    }
    // Disks first: everything else may be made of them.
    let mapped: Vec<String> = folded.iter().map(|disk| disk.name.clone()).collect();
    let rest =
        blocks.into_iter().filter(|block| !gone.contains(&block.name) && !mapped.contains(&block.name));
    folded.extend(rest);
    Ok(folded)
}

/// The number in `partN-mpath-WWID`, the name that kpartx gives to a partition of a disk of this uuid.
fn partition_number(uuid: &str, disk: &str) -> Option<u32> {
    let (number, of) = uuid.strip_prefix("part")?.split_once('-')?;
    (of == disk).then(|| number.parse().ok())?
}

/// Where a partition begins, in units of 512 bytes. sysfs does not know it: device-mapper's table does
/// (`START LENGTH linear MAJOR:MINOR OFFSET`).
fn start(sys: &dyn Sys, blocks: &[Block], disk: &Block, part: &Block) -> Result<u64> {
    let ask = Cmd::new("dmsetup").arg("--version").accept(&[1]);
    with_version(sys, &ask, start_of(sys, blocks, disk, part))
}

fn start_of(sys: &dyn Sys, blocks: &[Block], disk: &Block, part: &Block) -> Result<u64> {
    let mapped = sys.read_text(format!("/sys/block/{}/dm/name", part.name))?.trim().to_owned();
    let table = sys.run(&Cmd::new("dmsetup").args(["table", &mapped]))?.text();
    let (below, offset) = linear(&mapped, &table)?;
    if below == disk.number {
        return Ok(offset);
    }
    // A logical partition lies in the extended one.
    let outer = blocks.iter().find(|block| block.number == below && block.name != part.name);
    let outer = outer
        .filter(|outer| outer.slaves.contains(&disk.name))
        .ok_or_else(|| unexpected(&mapped, &table, "the device of the disk or of a partition on it"))?;
    Ok(start_of(sys, blocks, disk, outer)?.saturating_add(offset))
}

fn unexpected(mapped: &str, table: &str, field: &str) -> Error {
    Error::Answer {
        what: format!("the output of 'dmsetup table {mapped}'"),
        version: String::new(),
        detail: format!("no {field} in '{}'", table.trim()),
    }
}

/// Device and offset of a table that is one linear range.
fn linear<'a>(mapped: &str, table: &'a str) -> Result<(&'a str, u64)> {
    let wrong = |field| unexpected(mapped, table, field);
    let words: Vec<&str> = table.split_whitespace().collect();
    let ["0", length, "linear", below, offset] = words.as_slice() else {
        return Err(wrong("single range 'START LENGTH linear MAJOR:MINOR OFFSET'"));
    };
    length.parse::<u64>().map_err(|_| wrong("number as the length"))?;
    let number = below
        .split_once(':')
        .filter(|(major, minor)| major.parse::<u32>().is_ok() && minor.parse::<u32>().is_ok());
    number.ok_or_else(|| wrong("MAJOR:MINOR as the device"))?;
    Ok((below, offset.parse().map_err(|_| wrong("number as the offset"))?))
}

/// What the disk behind the paths is.
pub(crate) fn disk(sys: &dyn Sys, block: &Block, paths: &Paths) -> Result<Disk> {
    // A disk whose paths are all hidden still has its name.
    let first = paths.paths.first().unwrap_or(block);
    let mut identity = identity::read(sys, &first.name, &first.number, &first.sysfs)?;
    if let Some(wwn) = wwn(&paths.wwid) {
        identity.wwn = Some(wwn);
    }
    // Each path is plugged in at a place of its own.
    identity.path = None;
    Ok(Disk {
        identity,
        transport: identity::transport(&first.sysfs).to_owned(),
        removable: first.removable,
        read_only: block.read_only,
        multipath: Some(Multipath {
            wwid: paths.wwid.clone(),
            paths: paths.paths.iter().map(|path| device_path(&path.name)).collect(),
        }),
    })
}

/// The world-wide name in a WWID, as a single path shows it: SCSI disks have the type of the identifier before it
/// (3 NAA, 2 EUI-64; udev's scsi_id), NVMe disks have it as it is. Others are made of maker, model and serial number.
fn wwn(wwid: &str) -> Option<String> {
    let hexadecimal =
        |digits: &str| digits.len() >= 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if ["eui.", "uuid.", "nvme."].iter().any(|prefix| wwid.starts_with(prefix)) {
        return Some(wwid.to_owned());
    }
    match wwid.split_at_checked(1)? {
        ("3", digits) if hexadecimal(digits) => Some(format!("0x{digits}")),
        ("2", digits) if hexadecimal(digits) => Some(format!("eui.{digits}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn world_wide_names_are_those_of_a_single_path() {
        assert_eq!(
            wwn("3600508b400105e210000900000490000").as_deref(),
            Some("0x600508b400105e210000900000490000")
        );
        assert_eq!(wwn("35000c5000000aaaa").as_deref(), Some("0x5000c5000000aaaa"));
        assert_eq!(wwn("20123456789abcdef").as_deref(), Some("eui.0123456789abcdef"));
        assert_eq!(wwn("eui.0025385b71b0a1c2").as_deref(), Some("eui.0025385b71b0a1c2"));
        assert_eq!(wwn("0QEMU_QEMU_HARDDISK_drive-scsi0-0-0-0"), None);
        assert_eq!(wwn("3ATA"), None);
        assert_eq!(wwn(""), None);
    }

    #[test]
    fn a_table_of_another_form_is_an_error_that_names_tool_and_field() {
        // The kernel writes the line itself: dmsetup 1.02.175 (Debian 11) to 1.02.205 (Debian 13) print it alike, and so
        // do those of RHEL 8 and 9 and of SLES 15.
        assert_eq!(linear("mpatha-part1", "0 1024000 linear 253:0 2048\n").unwrap(), ("253:0", 2048));
        for (table, field) in [
            ("", "single range"),
            ("No devices found\n", "single range"),
            // What is printed without a name in the question.
            ("mpatha-part1: 0 1024000 linear 253:0 2048\n", "single range"),
            ("0 1024000 linear 253:0\n", "single range"),
            ("0 100 linear 253:0 2048\n100 50 linear 253:0 9000\n", "single range"),
            ("5 1024000 linear 253:0 2048\n", "single range"),
            ("0 1024000 striped 2 128 253:0 2048\n", "single range"),
            ("0 many linear 253:0 2048\n", "length"),
            ("0 1024000 linear sda 2048\n", "MAJOR:MINOR"),
            ("0 1024000 linear 253:0 -\n", "offset"),
        ] {
            let error = linear("mpatha-part1", table).unwrap_err().to_string();
            assert!(error.contains("'dmsetup table mpatha-part1'") && error.contains(field), "{error}");
        }
    }

    #[test]
    fn partitions_belong_to_their_disk() {
        assert_eq!(partition_number("part12-mpath-3abc", "mpath-3abc"), Some(12));
        assert_eq!(partition_number("part1-mpath-3abcd", "mpath-3abc"), None);
        assert_eq!(partition_number("part1-CRYPT-LUKS2-x", "mpath-3abc"), None);
        assert_eq!(partition_number("LVM-partition", "mpath-3abc"), None);
    }
}
