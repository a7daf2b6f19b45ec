//! Signatures of what is part of something larger: LVM, software RAID. Identity only.

use layout::Content;

use crate::bytes::{array, has, le32, le64, text};

/// A label of LVM2 in one of the first four sectors (LVM2 `lib/format_text/layout.h`).
pub(crate) fn lvm(head: &[u8]) -> Option<Content> {
    let at = (0..4)
        .map(|sector| sector * 512)
        .find(|at| has(head, *at, b"LABELONE") && has(head, at + 24, b"LVM2 001"))?;
    let header = at + le32(head, at + 20)? as usize;
    let raw = text(head, header, 32)?;
    if raw.len() != 32 || !raw.is_ascii() {
        return None;
    }
    // As LVM prints it: 6-4-4-4-4-4-6.
    let mut uuid = String::new();
    for (i, letter) in raw.chars().enumerate() {
        if matches!(i, 6 | 10 | 14 | 18 | 22 | 26) {
            uuid.push('-');
        }
        uuid.push(letter);
    }
    Some(Content::LvmMember { uuid })
}

const MD_MAGIC: u32 = 0xA92B_4EFC;

/// A superblock of software RAID version 1.x, read at `offset` (kernel `include/uapi/linux/raid/md_p.h`).
pub(crate) fn md1(sb: &[u8], offset: u64) -> Option<Content> {
    let here = le32(sb, 0)? == MD_MAGIC && le32(sb, 4)? == 1 && le64(sb, 144)?.checked_mul(512)? == offset;
    if !here {
        return None;
    }
    let raw: [u8; 16] = array(sb, 16)?;
    let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(Content::MdMember { array: colons(&hex) })
}

/// A superblock of software RAID version 0.90.
pub(crate) fn md0(sb: &[u8]) -> Option<Content> {
    if le32(sb, 0)? != MD_MAGIC || le32(sb, 4)? != 0 || le32(sb, 8)? != 90 {
        return None;
    }
    let words = [le32(sb, 20)?, le32(sb, 52)?, le32(sb, 56)?, le32(sb, 60)?];
    let hex: String = words.iter().map(|word| format!("{word:08x}")).collect();
    Some(Content::MdMember { array: colons(&hex) })
}

/// As mdadm prints it: four groups of eight digits.
fn colons(hex: &str) -> String {
    let groups: Vec<&str> = (0..4).filter_map(|i| hex.get(i * 8..i * 8 + 8)).collect();
    groups.join(":")
}

/// Where version 1.0 keeps its superblock on a device of this size.
pub(crate) fn md10_offset(size: u64) -> Option<u64> {
    Some(((size / 512).checked_sub(16)? & !7) * 512)
}

/// Where version 0.90 keeps its superblock on a device of this size.
pub(crate) fn md0_offset(size: u64) -> Option<u64> {
    (size & !0xFFFF).checked_sub(0x10000)
}
