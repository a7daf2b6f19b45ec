//! exFAT made again with `mkfs.exfat` (exfatprogs), its serial number given back by `tune.exfat`.

use layout::{Bytes, Device, Exfat, Filesystem};

use crate::Command;

/// What keeps this filesystem from being made again; `None` when nothing does.
pub(crate) fn refuse(device: &Device, fs: &Filesystem, exfat: &Exfat) -> Option<String> {
    let digits: String = fs.uuid.chars().filter(|c| *c != '-').collect();
    if digits.len() != 8 || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
        return Some(format!("its serial number '{}' is not of the form 1A2B-3C4D", fs.uuid));
    }
    if exfat.fats != 1 {
        return Some(format!("exFAT with {} file allocation tables cannot be made", exfat.fats));
    }
    if fs.label.encode_utf16().count() > 11 {
        return Some(format!("its label '{}' is longer than 11 letters", fs.label));
    }
    // The tool always takes the whole device.
    let rest = device.size.get().checked_sub(size(exfat).get());
    if rest.is_some_and(|rest| rest >= u64::from(exfat.sector_size)) {
        return Some(format!(
            "it has {} of the {} bytes of its device, and mkfs.exfat can only fill a device",
            size(exfat).get(),
            device.size.get()
        ));
    }
    None
}

/// Bytes that it takes on its device.
pub(crate) fn size(exfat: &Exfat) -> Bytes {
    Bytes(exfat.sectors.saturating_mul(u64::from(exfat.sector_size)))
}

/// The commands that make it on this device.
pub(crate) fn commands(fs: &Filesystem, exfat: &Exfat, device: &str) -> Vec<Command> {
    let make = |sector: bool| {
        let mut args: Vec<String> = vec!["-c".into(), exfat.cluster_size.to_string()];
        if sector {
            args.push(format!("--sector-size={}", exfat.sector_size));
        }
        if !fs.label.is_empty() {
            args.extend(["-L".into(), fs.label.clone()]);
        }
        args.push(device.to_owned());
        Command::new("mkfs.exfat", args)
    };
    let serial = format!("0x{}", fs.uuid.replace('-', ""));
    // `--sector-size` came with exfatprogs 1.2.3.
    let make = Command { older: vec![make(false)], ..make(true) };
    vec![make, Command::new("tune.exfat", ["-I", &serial, device])]
}
