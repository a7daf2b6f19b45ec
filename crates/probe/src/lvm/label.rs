//! What stands on a physical volume: label, metadata areas, and the newest text in each (lvm2 `lib/format_text/layout.h`,
//! `lib/label/label.h`). Reads only; asks no tool.

use layout::LvmGroupText;

use crate::bytes::{has, le32, le64, text};
use crate::device::Dev;

const SECTOR: usize = 512;
/// Bytes of a metadata area's header, behind which its circular buffer begins.
const HEADER: u64 = 512;
const MAGIC: &[u8; 16] = b"\x20LVM2\x20x[5A%r0N*>";
/// LVM's start value for its checksums (`INITIAL_CRC`).
const CRC_START: u32 = 0xf597_a6cf;
/// More than this nobody's metadata has; LVM itself copes badly long before.
const TEXT_MAX: u64 = 64 << 20;

/// A label with what it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    /// UUID of the physical volume, with dashes.
    pub(crate) uuid: String,
    /// Offset and size of its metadata areas, in bytes.
    pub(crate) areas: Vec<(u64, u64)>,
}

/// What a metadata area holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Area {
    /// No group's metadata.
    Empty,
    /// LVM was told to leave it alone: what it holds is old.
    Ignored,
    /// A group's.
    Group(Box<LvmGroupText>),
    /// Something that cannot be read.
    Damaged(String),
}

/// The label in the first four sectors.
pub(crate) fn parse(head: &[u8]) -> Option<Label> {
    let at = (0..4).map(|sector| sector * SECTOR).find(|at| {
        has(head, *at, b"LABELONE")
            && has(head, at + 24, b"LVM2 001")
            && head.get(at + 20..at + SECTOR).map(|rest| crc(CRC_START, rest)) == le32(head, at + 16)
    })?;
    let header = at + le32(head, at + 20)? as usize;
    let raw = text(head, header, 32)?;
    if raw.len() != 32 || !raw.is_ascii() {
        return None;
    }
    let uuid = dashed(&raw);
    // Two lists that each end with zeroes: where data lies, then where metadata lies.
    let mut place = header + 40;
    let mut list = || -> Option<Vec<(u64, u64)>> {
        let mut found = Vec::new();
        loop {
            let one = (le64(head, place)?, le64(head, place + 8)?);
            place += 16;
            if one.0 == 0 {
                return Some(found);
            }
            found.push(one);
        }
    };
    list()?;
    Some(Label { uuid, areas: list()? })
}

/// A UUID as LVM prints it: 6-4-4-4-4-4-6.
fn dashed(raw: &str) -> String {
    let mut uuid = String::new();
    for (i, letter) in raw.chars().enumerate() {
        if matches!(i, 6 | 10 | 14 | 18 | 22 | 26) {
            uuid.push('-');
        }
        uuid.push(letter);
    }
    uuid
}

/// Reads a metadata area.
pub(crate) fn area(dev: &Dev<'_>, (offset, size): (u64, u64)) -> sys::Result<Area> {
    let damaged = |what: &str| Ok(Area::Damaged(format!("the metadata area at byte {offset} {what}")));
    let header = dev.read(offset, HEADER as usize)?;
    if header.len() < HEADER as usize || !has(&header, 4, MAGIC) {
        return damaged("has no header");
    }
    if header.get(4..).map(|rest| crc(CRC_START, rest)) != le32(&header, 0) {
        return damaged("has a header with a wrong checksum");
    }
    // The first of up to four entries is the committed one.
    let entry = (le64(&header, 40), le64(&header, 48), le32(&header, 56), le32(&header, 60));
    let (Some(start), Some(length), Some(sum), Some(flags)) = entry else {
        return damaged("has no header");
    };
    if flags & 1 != 0 {
        return Ok(Area::Ignored);
    }
    if start == 0 {
        return Ok(Area::Empty);
    }
    if start < HEADER || start >= size || length > size - HEADER || length > TEXT_MAX {
        return damaged("says that its text lies outside of it");
    }
    // The buffer is circular: what does not fit before its end goes on behind the header.
    let first = length.min(size - start);
    let mut bytes = dev.read(offset.saturating_add(start), first as usize)?;
    bytes.extend(dev.read(offset.saturating_add(HEADER), (length - first) as usize)?);
    if bytes.len() as u64 != length || crc(CRC_START, &bytes) != sum {
        return damaged("holds a text with a wrong checksum");
    }
    let text = String::from_utf8_lossy(&bytes);
    match LvmGroupText::parse(text.trim_end_matches('\0')) {
        Ok(group) => Ok(Area::Group(Box::new(group))),
        Err(error) => damaged(&format!("holds a text that is none of LVM's: {error}")),
    }
}

/// LVM's checksum: CRC-32 of IEEE 802.3, bits reversed, with a start value of its own and no final inversion.
pub(crate) fn crc(start: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(start, |mut crc, byte| {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
        crc
    })
}
