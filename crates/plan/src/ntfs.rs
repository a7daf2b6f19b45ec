//! NTFS made again with `mkntfs` (ntfs-3g), its serial number given back by `ntfslabel`.

use layout::{Bytes, Filesystem, Ntfs};

use crate::Command;

/// What keeps this filesystem from being made again; `None` when nothing does.
pub(crate) fn refuse(fs: &Filesystem, ntfs: &Ntfs) -> Option<String> {
    let serial = fs.uuid.len() == 16 && fs.uuid.chars().all(|c| c.is_ascii_hexdigit());
    if !serial {
        return Some(format!("its serial number '{}' is not one of 16 digits", fs.uuid));
    }
    if ntfs.version != (3, 1) {
        let (major, minor) = ntfs.version;
        return Some(format!("version {major}.{minor} of its format cannot be made, only 3.1"));
    }
    if fs.label.encode_utf16().count() > 128 {
        return Some("its label is longer than 128 letters".into());
    }
    // mkntfs makes larger records where a sector is larger.
    if ntfs.record_size != 1024.max(u32::from(ntfs.sector_size)) {
        return Some(format!("file records of {} bytes cannot be made with mkntfs", ntfs.record_size));
    }
    if ntfs.cluster_size > 2 << 20 || ntfs.cluster_size < u32::from(ntfs.sector_size) {
        return Some(format!("clusters of {} bytes cannot be made with mkntfs", ntfs.cluster_size));
    }
    None
}

/// Bytes that it takes on its device: a copy of the boot sector stands behind the last sector.
pub(crate) fn size(ntfs: &Ntfs) -> Bytes {
    Bytes(ntfs.sectors.saturating_add(1).saturating_mul(u64::from(ntfs.sector_size)))
}

/// The commands that make it on this device.
pub(crate) fn commands(fs: &Filesystem, ntfs: &Ntfs, device: &str) -> Vec<Command> {
    // Forced: what lies there was decided about when the plan was approved.
    let mut args: Vec<String> = vec!["--quick".into(), "--force".into(), "--quiet".into()];
    let mut option = |name: &str, value: String| args.extend([name.to_owned(), value]);
    option("--sector-size", ntfs.sector_size.to_string());
    option("--cluster-size", ntfs.cluster_size.to_string());
    option("--partition-start", ntfs.hidden_sectors.to_string());
    option("--heads", ntfs.heads.to_string());
    option("--sectors-per-track", ntfs.track_sectors.to_string());
    if !fs.label.is_empty() {
        option("--label", fs.label.clone());
    }
    args.extend([device.to_owned(), ntfs.sectors.saturating_add(1).to_string()]);
    let serial = format!("--new-serial={}", fs.uuid);
    vec![Command::new("mkntfs", args), Command::new("ntfslabel", [serial.as_str(), device])]
}
