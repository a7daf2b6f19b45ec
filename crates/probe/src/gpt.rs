//! GUID partition tables (UEFI specification 2.10, chapter 5.3), with their checksums. Repairs nothing.

use layout::{GptEntry, Lba, PartitionEntry, PartitionTable};

use crate::bytes::{crc32, guid, has, le16, le32, le64};
use crate::table::Entry;

/// The fields of a header whose own checksum is right.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) entries_lba: u64,
    pub(crate) entries: u32,
    pub(crate) entry_size: u32,
    entries_crc: u32,
    table: PartitionTable,
}

/// Why a header is no valid one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    /// There is none.
    Missing,
    /// There is one, but it is damaged.
    Damaged,
}

/// Reads the header in a sector; `lba` is where it was read.
pub(crate) fn header(sector: &[u8], lba: u64) -> Result<Header, Bad> {
    if !has(sector, 0, b"EFI PART") {
        return Err(Bad::Missing);
    }
    checked_header(sector, lba).ok_or(Bad::Damaged)
}

fn checked_header(sector: &[u8], lba: u64) -> Option<Header> {
    let mut bytes = sector.get(..le32(sector, 12)? as usize)?.to_vec();
    let crc = le32(&bytes, 16)?;
    bytes.get_mut(16..20)?.fill(0);
    let entries = le32(sector, 80)?;
    let entry_size = le32(sector, 84)?;
    // The kernel knows entries of 128 bytes only; a table of more than 1024 entries is damaged or hostile.
    if crc32(&bytes) != crc || le64(sector, 24)? != lba || entry_size != 128 || entries > 1024 {
        return None;
    }
    Some(Header {
        entries_lba: le64(sector, 72)?,
        entries,
        entry_size,
        entries_crc: le32(sector, 88)?,
        table: PartitionTable::Gpt {
            guid: guid(sector, 56)?,
            first_lba: Lba(le64(sector, 40)?),
            last_lba: Lba(le64(sector, 48)?),
            entries,
        },
    })
}

impl Header {
    /// Length of the array of entries in bytes.
    pub(crate) fn entries_len(&self) -> usize {
        self.entries as usize * self.entry_size as usize
    }

    /// Reads the array of entries; `None` when its checksum is wrong.
    pub(crate) fn table(&self, array: &[u8]) -> Option<(PartitionTable, Vec<Entry>)> {
        if array.len() != self.entries_len() || crc32(array) != self.entries_crc {
            return None;
        }
        let mut found = Vec::new();
        for (index, entry) in array.chunks_exact(self.entry_size as usize).enumerate() {
            if entry[..16] == [0; 16] {
                continue;
            }
            let (start, last) = (le64(entry, 32)?, le64(entry, 40)?);
            found.push(Entry {
                number: u32::try_from(index + 1).ok()?,
                start,
                length: last.checked_add(1)?.checked_sub(start)?,
                entry: PartitionEntry::Gpt(GptEntry {
                    type_guid: guid(entry, 0)?,
                    guid: guid(entry, 16)?,
                    name: name(entry)?,
                    attributes: le64(entry, 48)?,
                }),
            });
        }
        Some((self.table.clone(), found))
    }
}

/// The name: up to 36 UTF-16 units.
fn name(entry: &[u8]) -> Option<String> {
    let units: Vec<u16> = (0..36).map(|i| le16(entry, 56 + i * 2)).collect::<Option<_>>()?;
    let end = units.iter().position(|unit| *unit == 0).unwrap_or(units.len());
    Some(String::from_utf16_lossy(&units[..end]))
}
