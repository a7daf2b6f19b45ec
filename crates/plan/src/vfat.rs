//! FAT made again with `mkfs.vfat` (dosfstools), every field of its boot sector given. It writes no files.

use layout::{Bytes, Filesystem, Vfat};

use crate::Command;

/// The volume id as eight hexadecimal digits; `None` when the text is no volume id.
fn volume_id(uuid: &str) -> Option<String> {
    let digits: String = uuid.chars().filter(|c| *c != '-').collect();
    (digits.len() == 8 && digits.chars().all(|c| c.is_ascii_hexdigit())).then_some(digits)
}

/// What keeps this filesystem from being made again; `None` when nothing does.
pub(crate) fn refuse(fs: &Filesystem, vfat: &Vfat) -> Option<String> {
    if !fs.uuid.is_empty() && volume_id(&fs.uuid).is_none() {
        return Some(format!("its volume id '{}' is not of the form 1A2B-3C4D", fs.uuid));
    }
    if !matches!(vfat.bits, 12 | 16 | 32) {
        return Some(format!("FAT{} does not exist", vfat.bits));
    }
    // dosfstools refuses more: the BIOS parameter block has one byte, every system expects 1 or 2.
    if !(1..=4).contains(&vfat.fats) {
        return Some(format!("{} file allocation tables cannot be made", vfat.fats));
    }
    if let Some(odd) =
        fs.label.chars().find(|c| !c.is_ascii() || c.is_control() || "*?.,;:/\\|+=<>[]\"".contains(*c))
    {
        return Some(format!(
            "its label '{}' holds '{}', which mkfs.vfat does not take; set another one (fatlabel)",
            fs.label,
            odd.escape_default()
        ));
    }
    if fs.label.len() > 11 {
        return Some(format!("its label '{}' is longer than 11 characters", fs.label));
    }
    None
}

/// Bytes that it takes on its device.
pub(crate) fn size(vfat: &Vfat) -> Bytes {
    Bytes(u64::from(vfat.sectors) * u64::from(vfat.sector_size))
}

/// The commands that make it on this device.
pub(crate) fn commands(fs: &Filesystem, vfat: &Vfat, device: &str) -> Vec<Command> {
    // `-g` and `--mbr` came with dosfstools 4.2.
    let older = vec![command(fs, vfat, device, true)];
    vec![Command { older, ..command(fs, vfat, device, false) }]
}

fn command(fs: &Filesystem, vfat: &Vfat, device: &str, old: bool) -> Command {
    let mut args: Vec<String> = Vec::new();
    let mut option = |name: &str, value: String| args.extend([name.to_owned(), value]);
    option("-F", vfat.bits.to_string());
    option("-S", vfat.sector_size.to_string());
    option("-s", vfat.sectors_per_cluster.to_string());
    option("-R", vfat.reserved_sectors.to_string());
    option("-f", vfat.fats.to_string());
    if vfat.root_entries != 0 {
        option("-r", vfat.root_entries.to_string());
    }
    option("-h", vfat.hidden_sectors.to_string());
    option("-M", format!("0x{:02x}", vfat.media));
    option("-D", format!("0x{:02x}", vfat.drive_number));
    // Without an id, mkfs.vfat would make one up.
    option("-i", volume_id(&fs.uuid).unwrap_or_else(|| "00000000".into()));
    if !fs.label.is_empty() {
        option("-n", fs.label.clone());
    }
    let track = track(vfat);
    match track {
        Some(track) if !old => {
            let heads = vfat.geometry.map_or(64, |(heads, _)| heads.max(1));
            args.extend(["-g".into(), format!("{heads}/{track}")]);
        }
        Some(63) if vfat.sectors > OWN_TRACK_63 => {}
        Some(32) if vfat.sectors <= OWN_TRACK_63 => {}
        _ => args.push("-a".into()),
    }
    if !old {
        // A fake partition table in the boot sector (the default on whole disks) would hide the filesystem.
        args.push("--mbr=n".into());
    }
    args.push(device.to_owned());
    // Without -g nothing takes the other half of a KiB away again: then the size is that of the device, rounded by the
    // same rule as when the original was made.
    let size = size(vfat).get();
    if size.is_multiple_of(1024) || (!old && track.is_some()) {
        args.push(size.div_ceil(1024).to_string());
    }
    Command::new("mkfs.vfat", args)
}

/// Beyond this many sectors (256 MiB), mkfs.vfat makes tracks of 63 sectors up where nothing tells it better, else of 32.
const OWN_TRACK_63: u32 = 524_288;

/// Sectors per track with which mkfs.vfat arrives at this size; `None` for a size that was made without any alignment.
///
/// It takes the size in KiB, adds half of one where its device ends with such a half, and rounds down to whole tracks of the
/// geometry that it is given, sees or makes up. Its own is taken where that gives the right size; else any that
/// takes away what is too much: one sector, or two where the size itself ends with half a KiB.
fn track(vfat: &Vfat) -> Option<u32> {
    let too_much = if size(vfat).get().is_multiple_of(1024) { 1 } else { 2 };
    if !vfat.reserved_sectors.is_multiple_of(u16::from(vfat.sectors_per_cluster)) {
        return None;
    }
    let own = vfat.geometry.map(|(_, track)| u32::from(track)).filter(|track| *track > too_much);
    let any = too_much + 1..=u32::from(u16::MAX);
    own.into_iter().chain([63, 32]).chain(any).find(|track| vfat.sectors.is_multiple_of(*track))
}
