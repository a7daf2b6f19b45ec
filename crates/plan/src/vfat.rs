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
    // mkfs.vfat rounds the size down to whole tracks of the geometry that it sees or makes up (32 sectors each up
    // to 256 MiB, else 63). Nothing uses the geometry itself today, so one is given that leaves the size alone.
    // A size that fits neither was made by another program: then without any alignment.
    let track = match vfat.sectors {
        sectors if sectors.is_multiple_of(63) => Some(("255/63", sectors > 524_288)),
        sectors if sectors.is_multiple_of(32) => Some(("64/32", sectors <= 524_288)),
        _ => None,
    };
    match track {
        Some((geometry, _)) if !old => args.extend(["-g".into(), geometry.into()]),
        Some((_, true)) => {}
        _ => args.push("-a".into()),
    }
    if !old {
        // A fake partition table in the boot sector (the default on whole disks) would hide the filesystem.
        args.push("--mbr=n".into());
    }
    args.push(device.to_owned());
    let size = size(vfat).get();
    // The size is counted in KiB. A size with half of one is that of the device, rounded by the same rule as
    // when the original was made.
    if size.is_multiple_of(1024) {
        args.push((size / 1024).to_string());
    }
    Command::new("mkfs.vfat", args)
}
