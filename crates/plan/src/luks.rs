//! LUKS containers made again. Keys are never part of a plan: whoever carries it out feeds them to standard input.

use layout::Luks;

use crate::Command;

/// What keeps this container from being made again; `None` when nothing does.
pub(crate) fn refuse(_luks: &Luks) -> Option<String> {
    Some("LUKS cannot be recreated yet".into())
}

/// The command that makes it anew on this device; it reads the new passphrase from standard input.
pub(crate) fn commands(_luks: &Luks, _device: &str) -> Vec<Command> {
    Vec::new()
}

/// The command that opens the container on this device; it reads a passphrase from standard input.
pub(crate) fn open(_device: &str, _name: &str) -> Vec<Command> {
    Vec::new()
}
