//! Signatures of what is part of something larger: LVM. Identity only.

use layout::Content;

use crate::bytes::{has, le32, text};

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
