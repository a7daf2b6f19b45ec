//! Arrays that `mdadm --create` cannot make as they were. Makes nothing, and asks nobody.

use layout::{Layout, MdArray};

use super::layout_word;

/// What keeps this array from being made again; `None` when nothing does.
pub(crate) fn refuse(layout: &Layout, array: &MdArray) -> Option<String> {
    kind(array).or_else(|| number(array)).or_else(|| bitmap(array)).or_else(|| room(layout, array))
}

/// What no `mdadm --create` makes, whatever the sizes.
fn kind(array: &MdArray) -> Option<String> {
    let (level, metadata) = (array.level.as_str(), array.metadata.as_str());
    if let Some(of) = metadata.strip_prefix("external:") {
        let of = match of {
            "imsm" => "Intel's firmware (imsm)",
            "ddf" => "a firmware (ddf)",
            other => other,
        };
        return Some(format!("it is an array of {of}, which only the firmware's own setup makes"));
    }
    if metadata == "none" || array.uuid.is_empty() {
        return Some(
            "it has no superblocks (mdadm --build); make it with mdadm --create, or leave it out".into(),
        );
    }
    if !["0.90", "1.0", "1.1", "1.2"].contains(&metadata) {
        return Some(format!("its metadata has the version {metadata}, which nobody knows"));
    }
    if !["linear", "raid0", "raid1", "raid4", "raid5", "raid6", "raid10"].contains(&level) {
        return Some(format!("the level {level} cannot be recreated"));
    }
    if level == "raid0" && metadata == "0.90" {
        // super0.c, validate_geometry0: refused since raid0 has layouts, and again allowed only in 4.5.
        return Some(
            "mdadm 4.2 to 4.4 makes no raid0 with metadata 0.90; convert it: stop it, then mdadm --assemble \
             --update=metadata"
                .into(),
        );
    }
    match array.consistency.as_str() {
        "journal" => return Some("it has a write journal on another device".into()),
        "reshape" => return Some("it is being reshaped; try again when that is done".into()),
        "ppl" if level != "raid5" => return Some(format!("a partial parity log of {level} is unknown")),
        _ => {}
    }
    let needs_word = array.layout != 0 && !matches!(level, "linear" | "raid1" | "raid4");
    if (needs_word || matches!(level, "raid5" | "raid10")) && layout_word(level, array.layout).is_none() {
        return Some(format!("its layout has the number {}, for which mdadm has no word", array.layout));
    }
    None
}

/// Too few or too many members, or a name that does not fit.
fn number(array: &MdArray) -> Option<String> {
    let level = array.level.as_str();
    let least = match level {
        "raid6" => 4,
        "raid4" | "raid5" | "raid10" => 2,
        _ => 1,
    };
    if array.raid_disks() < least {
        return Some(format!("mdadm makes no {level} of {} devices", array.raid_disks()));
    }
    let most = if array.metadata == "0.90" { 27 } else { 1920 };
    if array.raid_disks() + array.spares.len() > most {
        return Some(format!("metadata {} has places for {most} devices only", array.metadata));
    }
    if matches!(level, "raid0" | "linear") && (array.is_degraded() || !array.spares.is_empty()) {
        return Some(format!("{level} has neither missing members nor spares"));
    }
    if array.name.len() > 31 {
        return Some(format!("its name '{}' is longer than 31 bytes", array.name));
    }
    None
}

const SECTOR: u64 = 512;
/// Superblock, and as much for the list of bad blocks.
const PAGE: u64 = 4096;
/// `sizeof(bitmap_super_t)`.
const BITMAP_HEADER: u64 = 256;
/// `MULTIPLE_PPL_AREA_SIZE_SUPER1`.
const PPL: u64 = 1 << 20;

/// What mdadm keeps free for a bitmap (super1.c, `choose_bm_space`) on a device of this many bytes.
fn bitmap_space(size: u64) -> u64 {
    match size / SECTOR {
        0..128 => 0,
        sectors if sectors - 128 >= 200 << 21 => 128 << 10,
        sectors if sectors - 8 > 8 << 21 => 64 << 10,
        _ => PAGE,
    }
}

/// Bytes that a bitmap takes with its header, in whole pages.
fn bitmap_size(range: u64, chunk: u64) -> u64 {
    (range.div_ceil(chunk).div_ceil(8) + BITMAP_HEADER).next_multiple_of(PAGE)
}

/// A bitmap that mdadm does not make, or for which there is no room.
fn bitmap(array: &MdArray) -> Option<String> {
    let bitmap = array.bitmap.as_ref()?;
    if bitmap.location != "internal" {
        return Some(format!(
            "its write-intent bitmap is not internal ({}); change it with mdadm --grow --bitmap=internal",
            bitmap.location
        ));
    }
    // Create.c makes one of its own accord only for levels that have redundancy.
    if matches!(array.level.as_str(), "raid0" | "linear") {
        return Some(format!("a write-intent bitmap of {} is unknown", array.level));
    }
    let (range, chunk) = (array.bitmap_range().0, bitmap.chunk.0);
    let room = match array.metadata.as_str() {
        "0.90" => 60 << 10,
        _ => bitmap_space(array.component_size.0),
    };
    let most = room.saturating_sub(BITMAP_HEADER).saturating_mul(8);
    if chunk < PAGE || !chunk.is_power_of_two() || (range / chunk).saturating_add(1) > most {
        return Some(format!(
            "mdadm makes no write-intent bitmap with {} bytes for each bit on an array of this size; make it again with \
             larger ones: mdadm --grow --bitmap=none, then --bitmap=internal",
            chunk
        ));
    }
    None
}

/// Members that have no room for what mdadm puts beside the data. Older versions of it left less.
fn room(layout: &Layout, array: &MdArray) -> Option<String> {
    let beside = match (&array.bitmap, array.consistency.as_str()) {
        (_, "ppl") => PPL,
        (Some(bitmap), _) => bitmap_size(array.bitmap_range().0, bitmap.chunk.0),
        (None, _) => 0,
    };
    for member in array.members() {
        let Some(device) = layout.device(&member.device) else { continue };
        let (size, offset) = (device.size.0, member.data_offset.0);
        let superblock = match array.metadata.as_str() {
            "1.1" => Some(0),
            "1.2" => Some(PAGE),
            _ => None,
        };
        let why = match (array.metadata.as_str(), superblock) {
            // Superblock, list of bad blocks and bitmap lie in front of the data, and --create does not look whether
            // they reach into them.
            (_, Some(superblock)) if offset < superblock + PAGE + beside => {
                format!("its data begin at byte {offset} already")
            }
            (_, Some(_)) => continue,
            ("1.0", _) if offset > 0 => format!("its data begin at byte {offset}, not at its start"),
            ("1.0", _) => {
                let space = if array.consistency == "ppl" { PPL } else { bitmap_space(size) };
                // super1.c, validate_geometry1: 8 KiB from the end, the list of bad blocks, the bitmap.
                let free = (size & !(PAGE - 1)).saturating_sub(16 * SECTOR + 8 * SECTOR + space);
                if array.component_size.0 <= free {
                    continue;
                }
                format!("its data leave {} bytes free", size.saturating_sub(array.component_size.0))
            }
            // 0.90 has always had 64 KiB.
            _ => continue,
        };
        return Some(format!(
            "{}: {why}, which is less than mdadm needs for its metadata {} today; make the array anew, or smaller with \
             mdadm --grow --size",
            device.path, array.metadata
        ));
    }
    None
}
