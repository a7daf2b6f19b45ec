//! Partition tables made again with `sfdisk`, from a script on its standard input.
//!
//! Every number is written out (start, size, entry number), in logical sectors of the disk, so that nothing is
//! left to sfdisk's own ideas of alignment. What sfdisk cannot express is refused by [`refuse`], never dropped.
//! The script's form is that of sfdisk(8), "Named-fields format"; string values take `\xHH` escapes of UTF-8.

use std::fmt::Write;

use layout::{Bytes, Device, Partition, PartitionEntry, PartitionTable, SectorSize};

use crate::Command;

/// Size of a GPT entry (UEFI specification 2.10, 5.3.2; every tool writes 128).
const ENTRY: u64 = 128;

/// Sectors that the array of a GPT's entries takes.
pub(crate) fn array_sectors(entries: u32, sector: SectorSize) -> u64 {
    (u64::from(entries) * ENTRY).div_ceil(sector.get())
}

/// Bytes that a disk must have at least for this table and these partitions.
pub(crate) fn minimum(table: &PartitionTable, partitions: &[&Device], sector: SectorSize) -> Bytes {
    let end = partitions.iter().filter_map(|d| d.partition()).map(|part| part.end().0).max().unwrap_or(0);
    let sectors = match table {
        // Behind the last partition stand the copy of the entries and the copy of the header.
        PartitionTable::Gpt { first_lba, entries, .. } => {
            end.max(first_lba.0.saturating_add(1)).saturating_add(array_sectors(*entries, sector) + 1)
        }
        PartitionTable::Mbr { .. } => end.max(1),
    };
    layout::Lba(sectors).bytes(sector)
}

/// What keeps this table from being made again; `None` when nothing does.
pub(crate) fn refuse(table: &PartitionTable, partitions: &[Partition], sector: SectorSize) -> Option<String> {
    if let PartitionTable::Gpt { entries, first_lba, .. } = table {
        let least = 2 + array_sectors(*entries, sector);
        if first_lba.0 < least {
            return Some(format!(
                "its table of {entries} entries overlaps the first usable sector {}: it is damaged",
                first_lba.0
            ));
        }
    }
    for part in partitions {
        let number = part.number;
        match (table, &part.entry) {
            (PartitionTable::Gpt { entries, .. }, PartitionEntry::Gpt(entry)) => {
                if number > *entries {
                    return Some(format!(
                        "partition {number} lies behind the {entries} entries of its table"
                    ));
                }
                // UEFI reserves bits 3 to 47; sfdisk sets the others only.
                let reserved = entry.attributes & 0x0000_ffff_ffff_fff8;
                if reserved != 0 {
                    return Some(format!(
                        "partition {number} has the reserved attribute bits 0x{reserved:x}, which sfdisk cannot set"
                    ));
                }
                // libfdisk converts names with the locale's UCS-2 and drops the whole name otherwise.
                if let Some(odd) = entry.name.chars().find(|c| u32::from(*c) > 0xffff) {
                    return Some(format!(
                        "the name of partition {number} holds the character '{odd}', which sfdisk cannot write; give it another \
                         name (sfdisk --part-label)"
                    ));
                }
            }
            (PartitionTable::Mbr { .. }, PartitionEntry::Mbr(_)) => {}
            _ => return Some(format!("partition {number} is of another kind than its table")),
        }
    }
    None
}

/// The commands that write it.
///
/// `same_size`: the disk has exactly the size of the original, so a shortened usable area of a GPT is kept.
pub(crate) fn commands(
    table: &PartitionTable,
    partitions: &[Partition],
    sector: SectorSize,
    size: Bytes,
    same_size: bool,
    device: &str,
) -> Vec<Command> {
    let script = script(table, partitions, sector, size, same_size);
    // `--wipe*`: signatures that lie where the table and the new partitions begin must not come back to life.
    let args = ["--quiet", "--wipe", "always", "--wipe-partitions", "always", device];
    vec![Command::new("sfdisk", args).stdin(script)]
}

fn script(
    table: &PartitionTable,
    partitions: &[Partition],
    sector: SectorSize,
    size: Bytes,
    same_size: bool,
) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let mut line = |text: String| {
        let _ = writeln!(out, "{text}");
    };
    match table {
        PartitionTable::Gpt { guid, first_lba, last_lba, entries } => {
            line("label: gpt".into());
            line(format!("label-id: {guid}"));
            line("unit: sectors".into());
            // sfdisk takes the script's head in any order, but checks first-lba against the table's length.
            if *entries != 128 {
                line(format!("table-length: {entries}"));
            }
            line(format!("first-lba: {}", first_lba.0));
            let usual =
                (size.get() / sector.get()).saturating_sub(2).saturating_sub(array_sectors(*entries, sector));
            if same_size && last_lba.0 < usual {
                line(format!("last-lba: {}", last_lba.0));
            }
        }
        PartitionTable::Mbr { signature } => {
            line("label: dos".into());
            line(format!("label-id: 0x{signature:08x}"));
            line("unit: sectors".into());
        }
    }
    line(String::new());
    let mut sorted: Vec<&Partition> = partitions.iter().collect();
    // Ascending numbers: the extended partition stands before its logical ones, as sfdisk needs it.
    sorted.sort_by_key(|part| part.number);
    for part in sorted {
        let mut fields = vec![format!("start={}", part.start.0), format!("size={}", part.length.0)];
        match &part.entry {
            PartitionEntry::Gpt(entry) => {
                fields.push(format!("type={}", entry.type_guid));
                fields.push(format!("uuid={}", entry.guid));
                if !entry.name.is_empty() {
                    fields.push(format!("name=\"{}\"", escape(&entry.name)));
                }
                if entry.attributes != 0 {
                    fields.push(format!("attrs=\"{}\"", attributes(entry.attributes)));
                }
            }
            PartitionEntry::Mbr(entry) => {
                fields.push(format!("type={:x}", entry.type_id));
                if entry.bootable {
                    fields.push("bootable".into());
                }
            }
        }
        line(format!("{} : {}", part.number, fields.join(", ")));
    }
    out
}

/// Plain ASCII letters, digits and a few signs stay, the rest becomes `\xHH` byte by byte. A blank at an end is
/// escaped too, or sfdisk would strip it.
fn escape(name: &str) -> String {
    let mut out = String::new();
    let last = name.len().saturating_sub(1);
    for (i, byte) in name.bytes().enumerate() {
        let inner_blank = byte == b' ' && i != 0 && i != last;
        if byte.is_ascii_alphanumeric() || b"-_.:/+".contains(&byte) || inner_blank {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// The names of libfdisk for the attribute bits (`gpt_entry_attrs_to_string`).
fn attributes(bits: u64) -> String {
    let named = [(0, "RequiredPartition"), (1, "NoBlockIOProtocol"), (2, "LegacyBIOSBootable")];
    let mut words: Vec<String> =
        named.iter().filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, name)| (*name).to_owned()).collect();
    let typed: Vec<String> =
        (48..64).filter(|bit| bits >> bit & 1 == 1).map(|bit: u32| bit.to_string()).collect();
    if !typed.is_empty() {
        words.push(format!("GUID:{}", typed.join(",")));
    }
    words.join(" ")
}
