//! Swap headers (kernel `include/linux/swap.h`, `union swap_header`) and what hibernation leaves in their place.

use layout::{Content, Swap};

use crate::bytes::{has, le32, text, uuid};

/// Page sizes of the architectures that Linux runs on, the usual one first.
pub(crate) const PAGES: [u32; 5] = [4096, 8192, 16384, 32768, 65536];

/// Reads the first page of a possible swap area, made for pages of this size.
pub(crate) fn parse(page: &[u8], page_size: u32) -> Option<Content> {
    let at = (page_size as usize).checked_sub(10)?;
    if has(page, at, b"SWAPSPACE2") {
        // Version 1 in the byte order of the machine that made it.
        if !matches!(le32(page, 1024)?, 1 | 0x0100_0000) {
            return None;
        }
        return Some(Content::Swap(Swap {
            uuid: uuid(page, 1036)?,
            label: text(page, 1052, 16)?,
            page_size,
            active: false,
        }));
    }
    let what = if has(page, at, b"SWAP-SPACE") {
        "swap space of the old version 0"
    } else if [b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND", b"LINHIB000"]
        .iter()
        .any(|magic| has(page, at, *magic))
    {
        "hibernation image"
    } else {
        return None;
    };
    Some(Content::Unknown { what: what.to_owned() })
}
