//! F2FS made again with `mkfs.f2fs` (f2fs-tools). Where its areas begin is the tool's business; features, sizes and identifiers
//! are given.

use layout::{Bytes, F2fs, Filesystem};

use crate::Command;

/// Feature bits (kernel `fs/f2fs/f2fs.h`) and the words of mkfs.f2fs for them.
const FEATURES: [(u32, &str); 10] = [
    (0x1, "encrypt"),
    (0x8, "extra_attr"),
    (0x10, "project_quota"),
    (0x20, "inode_checksum"),
    (0x40, "flexible_inline_xattr"),
    (0x80, "quota"),
    (0x100, "inode_crtime"),
    (0x200, "lost_found"),
    (0x800, "sb_checksum"),
    (0x2000, "compression"),
];
const ENCRYPT: u32 = 0x1;
/// Told by the kernel or the tool, not by the user.
const ZONED: u32 = 0x2;
const VERITY: u32 = 0x400;
const CASEFOLD: u32 = 0x1000;

/// What keeps this filesystem from being made again; `None` when nothing does.
pub(crate) fn refuse(fs: &Filesystem, f2fs: &F2fs) -> Option<String> {
    if f2fs.several_devices {
        return Some("it spans several devices, which cannot be made again".into());
    }
    if f2fs.features & ENCRYPT != 0 {
        return Some(
            "it may hold encrypted directories (feature encrypt), whose files cannot be saved".into(),
        );
    }
    if f2fs.features & ZONED != 0 {
        return Some("it was made for a zoned device, which cannot be made again".into());
    }
    if f2fs.features & CASEFOLD != 0 {
        return Some(
            "it may hold directories that ignore letter case (feature casefold), which cannot be restored"
                .into(),
        );
    }
    let known = FEATURES.iter().fold(VERITY, |bits, (bit, _)| bits | bit);
    if f2fs.features & !known != 0 {
        let odd = f2fs.features & !known;
        return Some(format!("it has the feature bits 0x{odd:x}, which this rear does not know"));
    }
    if fs.label.encode_utf16().count() > 511 {
        return Some("its label is longer than 511 letters".into());
    }
    if f2fs.block_size < f2fs.sector_size || f2fs.block_size != 4096 {
        return Some(format!("blocks of {} bytes cannot be made with mkfs.f2fs, only 4096", f2fs.block_size));
    }
    None
}

/// Bytes that it takes on its device.
pub(crate) fn size(f2fs: &F2fs) -> Bytes {
    Bytes(f2fs.blocks.saturating_mul(u64::from(f2fs.block_size)))
}

/// The commands that make it on this device.
pub(crate) fn commands(fs: &Filesystem, f2fs: &F2fs, device: &str) -> Vec<Command> {
    let mut args: Vec<String> = vec!["-f".into(), "-q".into()];
    let mut option = |name: &str, value: String| args.extend([name.to_owned(), value]);
    option("-w", f2fs.sector_size.to_string());
    option("-s", f2fs.segments_per_section.to_string());
    option("-z", f2fs.sections_per_zone.to_string());
    let words: Vec<&str> = FEATURES
        .iter()
        .chain(&[(VERITY, "verity")])
        .filter(|(bit, _)| f2fs.features & bit != 0)
        .map(|(_, word)| *word)
        .collect();
    if !words.is_empty() {
        option("-O", words.join(","));
    }
    if !fs.label.is_empty() {
        option("-l", fs.label.clone());
    }
    if !fs.uuid.is_empty() {
        option("-U", fs.uuid.clone());
    }
    args.push(device.to_owned());
    args.push((size(f2fs).get() / u64::from(f2fs.sector_size.max(1))).to_string());
    vec![Command::new("mkfs.f2fs", args)]
}
