//! DOS partition tables with their chain of logical partitions, numbered as the kernel numbers them
//! (`block/partitions/msdos.c`). Nested labels of BSD or Solaris are not looked into.

use layout::{MbrEntry, MbrRole, PartitionEntry};

use crate::bytes::{has, le32};
use crate::table::Entry;

/// A chain longer than this is damaged (a circle); the kernel stops as well.
const MAX_LOGICAL: usize = 256;

/// One of the four slots of a sector.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    pub(crate) boot: u8,
    pub(crate) type_id: u8,
    pub(crate) start: u64,
    pub(crate) length: u64,
}

impl Slot {
    pub(crate) fn is_extended(&self) -> bool {
        matches!(self.type_id, 0x05 | 0x0F | 0x85)
    }
}

/// The four slots of a boot sector; `None` where the sector is none, or where what stands there cannot be a table
/// (the boot indicator is something else than 0 or 0x80), such as the code of a filesystem's boot sector.
pub(crate) fn slots(sector: &[u8]) -> Option<[Slot; 4]> {
    if !has(sector, 510, &[0x55, 0xAA]) {
        return None;
    }
    let slot = |i: usize| -> Option<Slot> {
        let at = 446 + 16 * i;
        let boot = *sector.get(at)?;
        if boot & 0x7F != 0 {
            return None;
        }
        Some(Slot {
            boot,
            type_id: *sector.get(at + 4)?,
            start: u64::from(le32(sector, at + 8)?),
            length: u64::from(le32(sector, at + 12)?),
        })
    };
    Some([slot(0)?, slot(1)?, slot(2)?, slot(3)?])
}

/// The disk signature of a boot sector.
pub(crate) fn signature(sector: &[u8]) -> Option<u32> {
    le32(sector, 440)
}

fn entry(number: u32, start: u64, slot: &Slot, role: MbrRole) -> Entry {
    let entry = MbrEntry { type_id: slot.type_id, bootable: slot.boot == 0x80, role };
    Entry { number, start, length: slot.length, entry: PartitionEntry::Mbr(entry) }
}

/// All partitions. `read` gives the sector at an LBA.
pub(crate) fn entries<E>(
    first: &[Slot; 4],
    mut read: impl FnMut(u64) -> Result<Vec<u8>, E>,
) -> Result<Vec<Entry>, E> {
    let mut found = Vec::new();
    let mut next = 5;
    for (number, slot) in (1..).zip(first) {
        if slot.length == 0 {
            continue;
        }
        if slot.is_extended() {
            found.push(entry(number, slot.start, slot, MbrRole::Extended));
            logical(slot, &mut read, &mut next, &mut found)?;
        } else {
            found.push(entry(number, slot.start, slot, MbrRole::Primary));
        }
    }
    found.sort_by_key(|entry| entry.number);
    Ok(found)
}

/// Follows the chain inside one extended partition. Starts of data entries count from their own sector, starts of
/// links from the extended partition.
fn logical<E>(
    outer: &Slot,
    read: &mut impl FnMut(u64) -> Result<Vec<u8>, E>,
    next: &mut u32,
    found: &mut Vec<Entry>,
) -> Result<(), E> {
    let (mut here, mut size) = (outer.start, outer.length);
    for _ in 0..MAX_LOGICAL {
        let sector = read(here)?;
        // Unlike in the first sector, the kernel does not look at the boot indicators here.
        if !has(&sector, 510, &[0x55, 0xAA]) {
            return Ok(());
        }
        let mut link = None;
        for i in 0..4 {
            let at = 446 + 16 * i;
            let (Some(start), Some(length)) = (le32(&sector, at + 8), le32(&sector, at + 12)) else {
                return Ok(());
            };
            let slot = Slot {
                boot: sector[at],
                type_id: sector[at + 4],
                start: u64::from(start),
                length: u64::from(length),
            };
            if slot.length == 0 {
                continue;
            }
            if slot.is_extended() {
                link = link.or(Some(slot));
                continue;
            }
            let start = here + slot.start;
            // The last two slots are often rubbish; the kernel takes them only when they are plausible.
            let plausible = slot.start + slot.length <= size
                && start >= outer.start
                && start + slot.length <= outer.start + outer.length;
            if i >= 2 && !plausible {
                continue;
            }
            found.push(entry(*next, start, &slot, MbrRole::Logical));
            *next += 1;
        }
        let Some(link) = link else { return Ok(()) };
        (here, size) = (outer.start + link.start, link.length);
    }
    Ok(())
}
