//! btrfs made again with `mkfs.btrfs`, with its subvolumes. It never takes a default of the tool.

use layout::{Btrfs, Filesystem};

use crate::Command;

/// What keeps this filesystem from being made again; `None` when nothing does.
pub(crate) fn refuse(_fs: &Filesystem, _btrfs: &Btrfs) -> Option<String> {
    Some("btrfs cannot be recreated yet".into())
}

/// The commands that make it on this device and the others.
pub(crate) fn commands(_fs: &Filesystem, _btrfs: &Btrfs, _device: &str, _others: &[String]) -> Vec<Command> {
    Vec::new()
}

/// The commands that make its subvolumes below the directory where its top is mounted.
pub(crate) fn subvolumes(_btrfs: &Btrfs, _top: &str) -> Vec<Command> {
    Vec::new()
}
