//! One directory record of ISO 9660 and the Rock Ridge name in its system use area. Pure; never reads an image.

use crate::Result;

/// Flag: a directory.
const DIRECTORY: u8 = 0x02;
/// Flag: the file goes on in the next record.
const MULTI_EXTENT: u8 = 0x80;
/// Bytes in a sector.
const SECTOR: u64 = 2048;

/// A directory record (ECMA-119, 9.1), without its name.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// First sector, attribute record left out.
    sector: u32,
    length: u32,
    flags: u8,
    name_length: usize,
}

impl Record {
    /// Reads a record; `None` where it is too short for what it says, or in a form that nobody writes
    /// (interleaved files).
    pub(super) fn parse(raw: &[u8]) -> Option<Self> {
        let name_length = usize::from(*raw.get(32)?);
        if raw.len() < 33 + name_length || usize::from(*raw.first()?) != raw.len() {
            return None;
        }
        if raw[26] != 0 || raw[27] != 0 {
            return None;
        }
        let sector = le32(raw, 2)?.checked_add(u32::from(raw[1]))?;
        Some(Self { sector, length: le32(raw, 10)?, flags: raw[25], name_length })
    }

    pub(super) fn is_directory(&self) -> bool {
        self.flags & DIRECTORY != 0
    }

    /// Whether the next record holds more of the same file.
    pub(super) fn continues(&self) -> bool {
        self.flags & MULTI_EXTENT != 0
    }

    /// Offset and length in bytes.
    pub(super) fn extent(&self) -> (u64, u64) {
        (u64::from(self.sector) * SECTOR, u64::from(self.length))
    }

    /// The records for `.` and `..` have names of one byte, 0 or 1.
    pub(super) fn is_self_or_parent(&self, raw: &[u8]) -> bool {
        self.name_length == 1 && matches!(raw.get(33), Some(0 | 1))
    }

    /// The Rock Ridge name where there is one, else the ISO 9660 name without its version (`;1`). `more` reads
    /// a continuation area by offset and length in bytes.
    pub(super) fn name(&self, raw: &[u8], more: impl Fn(u64, usize) -> Result<Vec<u8>>) -> Result<Vec<u8>> {
        let end = 33 + self.name_length;
        // The name is padded so that the system use area begins at an even offset.
        let start = end + usize::from(self.name_length.is_multiple_of(2));
        let mut area = raw.get(start..).unwrap_or_default().to_vec();
        let mut name: Option<Vec<u8>> = None;
        // Each continuation area may name one more; a chain that does not end is cut off.
        for _ in 0..16 {
            let next = read_area(&area, &mut name);
            match next {
                Some((offset, length)) => area = more(offset, length)?,
                None => break,
            }
        }
        Ok(name.unwrap_or_else(|| {
            let plain = &raw[33..end];
            let cut = plain.iter().position(|byte| *byte == b';').unwrap_or(plain.len());
            plain[..cut].strip_suffix(b".").unwrap_or(&plain[..cut]).to_vec()
        }))
    }
}

/// Collects the name's parts (`NM`) of one system use area, and says where the next area is (`CE`).
fn read_area(area: &[u8], name: &mut Option<Vec<u8>>) -> Option<(u64, usize)> {
    let mut next = None;
    let mut at = 0;
    while let Some(length) = area.get(at + 2).map(|length| usize::from(*length)) {
        let Some(entry) = area.get(at..at + length).filter(|entry| entry.len() >= 4) else { break };
        match &entry[..2] {
            b"NM" => name.get_or_insert_default().extend(entry.get(5..).unwrap_or_default()),
            b"CE" => {
                if let (Some(sector), Some(offset), Some(length)) =
                    (le32(entry, 4), le32(entry, 12), le32(entry, 20))
                {
                    next = Some((u64::from(sector) * SECTOR + u64::from(offset), length as usize));
                }
            }
            b"ST" => break,
            _ => {}
        }
        at += length;
    }
    next
}

/// The little-endian half of a number that ISO 9660 writes in both orders.
pub(super) fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes)
}

/// The same for 16 bits.
pub(super) fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).and_then(|bytes| bytes.try_into().ok()).map(u16::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(flags: u8, name: &[u8], area: &[u8]) -> Vec<u8> {
        let mut raw = vec![0_u8; 33];
        raw[2] = 20;
        raw[10..14].copy_from_slice(&5000_u32.to_le_bytes());
        raw[25] = flags;
        raw[32] = name.len() as u8;
        raw.extend(name);
        if name.len().is_multiple_of(2) {
            raw.push(0);
        }
        raw.extend(area);
        raw[0] = raw.len() as u8;
        raw
    }

    #[test]
    fn names_come_from_rock_ridge_over_several_areas() {
        let mut area = b"NM\x08\x01\x01abc".to_vec();
        area.extend(b"CE\x1c\x01");
        for number in [30_u32, 100, 9] {
            area.extend(number.to_le_bytes());
            area.extend(number.to_be_bytes());
        }
        let raw = record(0, b"ABC.;1", &area);
        let parsed = Record::parse(&raw).unwrap();
        let name = parsed.name(&raw, |offset, length| {
            assert_eq!((offset, length), (30 * 2048 + 100, 9));
            Ok(b"NM\x09\x01\0def!".to_vec())
        });
        assert_eq!(name.unwrap(), b"abcdef!");
        assert_eq!(parsed.extent(), (20 * 2048, 5000));
    }

    #[test]
    fn plain_names_lose_their_version() {
        let raw = record(0, b"README.;1", b"");
        assert_eq!(Record::parse(&raw).unwrap().name(&raw, |_, _| Ok(vec![])).unwrap(), b"README");
    }

    #[test]
    fn endless_continuations_and_short_records_end() {
        let mut area = b"CE\x1c\x01".to_vec();
        area.extend([0; 24]);
        let raw = record(0, b"A;1", &area);
        let name = Record::parse(&raw).unwrap().name(&raw, |_, _| Ok(area.clone())).unwrap();
        assert_eq!(name, b"A");
        assert!(Record::parse(&raw[..20]).is_none());
        let mut long = raw.clone();
        long[32] = 200;
        assert!(Record::parse(&long).is_none());
    }
}
