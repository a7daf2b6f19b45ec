//! Numbers, identifiers and texts out of raw bytes. Nothing here panics on short input.

/// A little-endian 16-bit number.
pub(crate) fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(array(bytes, at)?))
}

/// A little-endian 32-bit number.
pub(crate) fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(array(bytes, at)?))
}

/// A little-endian 64-bit number.
pub(crate) fn le64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(array(bytes, at)?))
}

/// A big-endian 16-bit number.
pub(crate) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(array(bytes, at)?))
}

/// A big-endian 32-bit number.
pub(crate) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(array(bytes, at)?))
}

/// A big-endian 64-bit number.
pub(crate) fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(array(bytes, at)?))
}

/// `N` bytes.
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// Whether `magic` stands at `at`.
pub(crate) fn has(bytes: &[u8], at: usize, magic: &[u8]) -> bool {
    bytes.get(at..at.saturating_add(magic.len())) == Some(magic)
}

/// Text up to the first NUL, at most `len` bytes long.
pub(crate) fn text(bytes: &[u8], at: usize, len: usize) -> Option<String> {
    let field = bytes.get(at..at.checked_add(len)?)?;
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(len);
    Some(String::from_utf8_lossy(&field[..end]).into_owned())
}

/// A UUID in its usual form; empty when all bytes are zero (blkid prints none then either).
pub(crate) fn uuid(bytes: &[u8], at: usize) -> Option<String> {
    let raw: [u8; 16] = array(bytes, at)?;
    Some(if raw == [0; 16] { String::new() } else { dashed(&raw, false) })
}

/// A GUID as EFI stores it (first three fields little-endian), upper case.
pub(crate) fn guid(bytes: &[u8], at: usize) -> Option<String> {
    let b: [u8; 16] = array(bytes, at)?;
    let order = [
        b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15],
    ];
    Some(dashed(&order, true))
}

fn dashed(raw: &[u8; 16], upper: bool) -> String {
    let mut out = String::with_capacity(36);
    for (i, byte) in raw.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        out.push_str(&if upper { format!("{byte:02X}") } else { format!("{byte:02x}") });
    }
    out
}

/// CRC-32 as in GPT headers (IEEE 802.3, reflected).
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

/// Undoes the octal escapes of `/proc/self/mountinfo`, `/proc/swaps` and fstab (`\040` is a blank).
pub(crate) fn unescape(word: &str) -> String {
    let bytes = word.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let digits = word.get(i + 1..i + 4);
        if bytes[i] == b'\\'
            && let Some(value) = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok())
        {
            out.push(value);
            i += 4;
        } else {
            out.push(bytes[i]);
            i += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn guids_are_mixed_endian() {
        let raw =
            [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];
        assert_eq!(guid(&raw, 0).unwrap(), layout::GptEntry::ESP);
        assert_eq!(guid(&raw, 1), None);
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(unescape(r"/my\040disk\134x\04"), r"/my disk\x\04");
        assert_eq!(unescape(r"/ä\011ö"), "/ä\tö");
    }
}
