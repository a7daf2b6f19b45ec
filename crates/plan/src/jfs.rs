//! JFS made again with `mkfs.jfs` (jfsutils 1.1.15), its UUID given back by `jfs_tune`, which raises the version in the
//! superblock from 1 to 2: then `jfs_tune -l` shows 16 bytes of the label, of which it showed 11.

use layout::{Bytes, Filesystem, Jfs};

use crate::Command;

/// Megabytes of the log.
fn log(jfs: &Jfs) -> u64 {
    jfs.log_size >> 20
}

/// What keeps this filesystem from being made again; `None` when nothing does.
pub(crate) fn refuse(fs: &Filesystem, jfs: &Jfs) -> Option<String> {
    if jfs.log_size == 0 {
        return Some("its log lies on another device, which cannot be made again".into());
    }
    if jfs.block_size != 4096 {
        return Some(format!("blocks of {} bytes cannot be made with mkfs.jfs, only 4096", jfs.block_size));
    }
    if log(jfs) == 0 || !jfs.log_size.is_multiple_of(1 << 20) {
        return Some(format!("a log of {} bytes cannot be made, only whole MiB", jfs.log_size));
    }
    // The field has 16 bytes; mkfs.jfs takes them all.
    if fs.label.len() > 16 {
        return Some(format!("its label '{}' is longer than 16 bytes", fs.label));
    }
    None
}

/// Bytes that it takes on its device.
pub(crate) fn size(jfs: &Jfs) -> Bytes {
    Bytes(jfs.blocks.saturating_mul(u64::from(jfs.block_size)))
}

/// The commands that make it on this device.
pub(crate) fn commands(fs: &Filesystem, jfs: &Jfs, device: &str) -> Vec<Command> {
    let mut args: Vec<String> = vec!["-q".into()];
    if !jfs.case_sensitive {
        args.push("-O".into());
    }
    args.extend(["-s".into(), log(jfs).to_string()]);
    if !fs.label.is_empty() {
        args.extend(["-L".into(), fs.label.clone()]);
    }
    args.extend([device.to_owned(), jfs.blocks.to_string()]);
    let mut commands = vec![Command::new("mkfs.jfs", args)];
    if !fs.uuid.is_empty() {
        commands.push(Command::new("jfs_tune", ["-U", &fs.uuid, device]));
    }
    commands
}
