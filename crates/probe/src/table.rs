//! The partition table of a device, read from the device itself and compared with what the kernel works with.
//! Changes neither.

use layout::{MbrRole, PartitionEntry, PartitionTable, SectorSize};

use crate::bytes::has;
use crate::device::Dev;
use crate::{gpt, mbr};

/// One partition as its table describes it, in logical sectors.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) number: u32,
    pub(crate) start: u64,
    pub(crate) length: u64,
    pub(crate) entry: PartitionEntry,
}

/// One partition as the kernel sees it, in units of 512 bytes whatever the sector size is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) number: u32,
    pub(crate) start: u64,
    pub(crate) size: u64,
}

/// What stands where a partition table would.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Found {
    /// Neither of the kinds that are known.
    None,
    /// A whole table.
    Table(PartitionTable, Vec<Entry>),
    /// One that cannot be relied on; the text names it.
    Damaged(String),
}

/// Reads the table of a device.
pub(crate) fn read(dev: &Dev<'_>, sector: SectorSize) -> sys::Result<Found> {
    let first = dev.read(0, 512)?;
    let slots = mbr::slots(&first);
    let protective = slots.is_some_and(|slots| slots.iter().any(|slot| slot.type_id == 0xEE));
    if protective {
        return read_gpt(dev, sector);
    }
    let Some(slots) = slots else {
        // A GUID partition table without its protective MBR: the kernel ignores it, other systems may not.
        let header = dev.read(sector.get(), 512)?;
        return Ok(if gpt::header(&header, 1).is_ok() {
            Found::Damaged("GUID partition table without its protective MBR".to_owned())
        } else {
            Found::None
        });
    };
    let read = |lba: u64| dev.read(lba.saturating_mul(sector.get()), 512);
    let entries = mbr::entries(&slots, read)?;
    let signature = mbr::signature(&first).unwrap_or(0);
    Ok(Found::Table(PartitionTable::Mbr { signature }, entries))
}

fn read_gpt(dev: &Dev<'_>, sector: SectorSize) -> sys::Result<Found> {
    let size = sector.get();
    let at = |lba: u64| -> sys::Result<Result<(PartitionTable, Vec<Entry>), gpt::Bad>> {
        let header = match gpt::header(&dev.read(lba.saturating_mul(size), size as usize)?, lba) {
            Ok(header) => header,
            Err(bad) => return Ok(Err(bad)),
        };
        let array = dev.read(header.entries_lba.saturating_mul(size), header.entries_len())?;
        Ok(header.table(&array).ok_or(gpt::Bad::Damaged))
    };
    let bad = match at(1)? {
        Ok((table, entries)) => return Ok(Found::Table(table, entries)),
        Err(bad) => bad,
    };
    let last = (dev.size / size).saturating_sub(1);
    if last > 1 && at(last)?.is_ok() {
        let text = "damaged GUID partition table (its backup is intact: repair it with sgdisk or gdisk)";
        return Ok(Found::Damaged(text.to_owned()));
    }
    // The same table seen with the wrong sector size: a disk image copied between 512 and 4096 byte disks.
    let other = if size == 512 { 4096 } else { 512 };
    let text = if bad == gpt::Bad::Missing && has(&dev.read(other, 8)?, 0, b"EFI PART") {
        format!("GUID partition table made for sectors of {other} bytes on a disk with sectors of {size}")
    } else {
        "damaged GUID partition table".to_owned()
    };
    Ok(Found::Damaged(text))
}

/// The first difference between the table and the kernel's partitions, as a phrase; `None` when they agree.
pub(crate) fn difference(entries: &[Entry], seen: &[Seen], sector: SectorSize) -> Option<String> {
    let scale = sector.get() / 512;
    for entry in entries {
        let Some(kernel) = seen.iter().find(|seen| seen.number == entry.number) else {
            return Some(format!("the kernel has no partition {}", entry.number));
        };
        let (start, size) = (entry.start.saturating_mul(scale), entry.length.saturating_mul(scale));
        if kernel.start != start {
            return Some(format!(
                "partition {} starts at sector {start}, for the kernel at {}",
                entry.number, kernel.start
            ));
        }
        // The kernel shows only the first sectors of an extended partition, so that nobody formats it.
        let extended = matches!(&entry.entry, PartitionEntry::Mbr(mbr) if mbr.role == MbrRole::Extended);
        if kernel.size != size && !extended {
            return Some(format!(
                "partition {} has {size} sectors, for the kernel {}",
                entry.number, kernel.size
            ));
        }
    }
    seen.iter()
        .find(|seen| !entries.iter().any(|entry| entry.number == seen.number))
        .map(|seen| format!("the table has no partition {}", seen.number))
}
