//! The superblocks of members of software RAID, in all their versions and places. Knows no running array.
//!
//! Formats: kernel `include/uapi/linux/raid/md_p.h`.

use crate::bytes::{array, le16, le32, le64, text};
use crate::device::Dev;

const MAGIC: u32 = 0xA92B_4EFC;
/// A superblock of either kind is read whole: the role of a member stands behind a table of all members.
const LEN: usize = 4096;
/// `MD_FEATURE_RAID0_LAYOUT`: the layout of a raid0 with members of different sizes is recorded.
const RAID0_LAYOUT: u32 = 0x1000;

/// What a member's superblock says of its array and of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Superblock {
    /// UUID of the array as mdadm prints it.
    pub(crate) uuid: String,
    /// Name of the array; empty with version 0.90.
    pub(crate) name: String,
    /// `0.90`, `1.0`, `1.1` or `1.2`.
    pub(crate) version: &'static str,
    /// Level as the kernel numbers it; -1 is linear.
    pub(crate) level: i32,
    /// Layout as the kernel numbers it, where the superblock really says one.
    pub(crate) layout: u32,
    /// Bytes of a chunk.
    pub(crate) chunk: u64,
    /// Bytes used of each member; 0 where each is used whole.
    pub(crate) component: u64,
    /// Where the data begin, in bytes.
    pub(crate) data_offset: u64,
    /// Number of slots.
    pub(crate) raid_disks: u32,
    /// What this member is in it.
    pub(crate) role: Role,
}

/// What a member is in its array, as its own superblock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It has this slot.
    Slot(u16),
    /// It stands by.
    Spare,
    /// It was thrown out.
    Faulty,
    /// It holds the journal.
    Journal,
}

/// A superblock of version 1.x, read at `offset` of its device.
fn version1(sb: &[u8], offset: u64) -> Option<Superblock> {
    let here = le32(sb, 0)? == MAGIC && le32(sb, 4)? == 1 && le64(sb, 144)?.checked_mul(512)? == offset;
    if !here {
        return None;
    }
    let raw: [u8; 16] = array(sb, 16)?;
    let level = i32::from_le_bytes(array(sb, 72)?);
    let layout = le32(sb, 76)?;
    let number = le32(sb, 160)?;
    let role = if number < le32(sb, 220)? {
        Some(le16(sb, usize::try_from(number).ok()?.checked_mul(2)?.checked_add(256)?)?)
    } else {
        None
    };
    Some(Superblock {
        uuid: colons(&raw.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        name: text(sb, 32, 32)?,
        version: match offset {
            0 => "1.1",
            4096 => "1.2",
            _ => "1.0",
        },
        level,
        layout: if level == 0 && le32(sb, 8)? & RAID0_LAYOUT == 0 { 0 } else { layout },
        chunk: u64::from(le32(sb, 88)?) * 512,
        component: le64(sb, 80)?.saturating_mul(512),
        data_offset: le64(sb, 128)?.saturating_mul(512),
        raid_disks: le32(sb, 92)?,
        role: match role {
            None | Some(0xFFFF) => Role::Spare,
            Some(0xFFFE) => Role::Faulty,
            Some(0xFFFD) => Role::Journal,
            Some(slot) => Role::Slot(slot),
        },
    })
}

/// A superblock of version 0.90: words of the byte order of the machine that made it, of which only the usual one is
/// read here.
fn version0(sb: &[u8]) -> Option<Superblock> {
    /// Where the description of the member itself begins, in words: number, major, minor, slot, state.
    const THIS_DISK: usize = 992;
    const FAULTY: u32 = 1;
    const ACTIVE_AND_IN_SYNC: u32 = 6;
    let word = |index: usize| le32(sb, index * 4);
    if word(0)? != MAGIC || word(1)? != 0 || word(2)? != 90 {
        return None;
    }
    let words = [word(5)?, word(13)?, word(14)?, word(15)?];
    let level = i32::from_le_bytes(array(sb, 7 * 4)?);
    let state = word(THIS_DISK + 4)?;
    Some(Superblock {
        uuid: colons(&words.iter().map(|word| format!("{word:08x}")).collect::<String>()),
        name: String::new(),
        version: "0.90",
        level,
        layout: if level == 0 { 0 } else { word(64)? },
        chunk: u64::from(word(65)?),
        component: u64::from(word(8)?) * 1024,
        data_offset: 0,
        raid_disks: word(10)?,
        role: if state & FAULTY != 0 {
            Role::Faulty
        } else if state & ACTIVE_AND_IN_SYNC == ACTIVE_AND_IN_SYNC {
            Role::Slot(u16::try_from(word(THIS_DISK + 3)?).ok()?)
        } else {
            Role::Spare
        },
    })
}

/// As mdadm prints it: four groups of eight digits.
fn colons(hex: &str) -> String {
    let groups: Vec<&str> = (0..4).filter_map(|i| hex.get(i * 8..i * 8 + 8)).collect();
    groups.join(":")
}

/// Where version 1.0 keeps its superblock on a device of this size: 8 to 12 KiB before the end.
fn end_of_version1(size: u64) -> Option<u64> {
    Some(((size / 512).checked_sub(16)? & !7) * 512)
}

/// Where version 0.90 keeps its superblock on a device of this size: in the last whole 64 KiB.
fn end_of_version0(size: u64) -> Option<u64> {
    (size & !0xFFFF).checked_sub(0x10000)
}

/// The superblock on a device, wherever the versions keep it. `version` asks for one of them alone: a device may hold
/// a stale one of another version beside the one that is in use.
pub(crate) fn superblock(dev: &Dev<'_>, version: Option<&str>) -> sys::Result<Option<Superblock>> {
    let wanted = |name: &str| version.is_none_or(|version| version == name);
    let places = [
        ("1.2", Some(4096)),
        ("1.1", Some(0)),
        ("1.0", end_of_version1(dev.size)),
        ("0.90", end_of_version0(dev.size)),
    ];
    for (name, offset) in places {
        let Some(offset) = offset.filter(|_| wanted(name)) else { continue };
        let sb = dev.read(offset, LEN)?;
        let found = if name == "0.90" { version0(&sb) } else { version1(&sb, offset) };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
