//! NILFS2 made again with `mkfs.nilfs2` (nilfs-utils), its UUID given back by `nilfs-tune`. Checkpoints begin anew.

use layout::{Bytes, Device, Filesystem, Nilfs};

use crate::Command;

/// `s_feature_compat_ro`: blocks of files are counted.
const BLOCK_COUNT: u64 = 1;

/// What keeps this filesystem from being made again; `None` when nothing does.
pub(crate) fn refuse(device: &Device, fs: &Filesystem, nilfs: &Nilfs) -> Option<String> {
    let odd = [
        ("compatible", nilfs.feature_compat),
        ("read-only compatible", nilfs.feature_compat_ro & !BLOCK_COUNT),
        ("incompatible", nilfs.feature_incompat),
    ];
    if let Some((set, bits)) = odd.iter().find(|(_, bits)| *bits != 0) {
        return Some(format!("it has the {set} feature bits 0x{bits:x}, which this rear does not know"));
    }
    if fs.label.len() > 80 {
        return Some("its label is longer than 80 bytes".into());
    }
    // The tool always takes the whole device.
    (nilfs.size < device.size.get()).then(|| {
        format!(
            "it has {} of the {} bytes of its device, and mkfs.nilfs2 can only fill a device: nilfs-resize makes it as large",
            nilfs.size,
            device.size.get()
        )
    })
}

/// Bytes that it takes on its device.
pub(crate) fn size(nilfs: &Nilfs) -> Bytes {
    Bytes(nilfs.size)
}

/// The commands that make it on this device.
pub(crate) fn commands(fs: &Filesystem, nilfs: &Nilfs, device: &str) -> Vec<Command> {
    let mut args: Vec<String> = vec!["-f".into(), "-q".into(), "-K".into()];
    let mut option = |name: &str, value: String| args.extend([name.to_owned(), value]);
    option("-b", nilfs.block_size.to_string());
    option("-B", nilfs.blocks_per_segment.to_string());
    option("-m", nilfs.reserved_percent.to_string());
    if nilfs.feature_compat_ro & BLOCK_COUNT != 0 {
        option("-O", "block_count".into());
    }
    if !fs.label.is_empty() {
        option("-L", fs.label.clone());
    }
    args.push(device.to_owned());
    let mut tune: Vec<String> = Vec::new();
    if !fs.uuid.is_empty() {
        tune.extend(["-U".into(), fs.uuid.clone()]);
    }
    if nilfs.commit_interval != 0 {
        tune.extend(["-i".into(), nilfs.commit_interval.to_string()]);
    }
    if nilfs.block_max != 0 {
        tune.extend(["-m".into(), nilfs.block_max.to_string()]);
    }
    let mut commands = vec![Command::new("mkfs.nilfs2", args)];
    if !tune.is_empty() {
        tune.push(device.to_owned());
        commands.push(Command::new("nilfs-tune", tune));
    }
    commands
}
