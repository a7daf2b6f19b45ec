//! Software RAID made again with `mdadm --create`. It never takes a default of the tool.

use layout::{Layout, MdArray};

use crate::{Command, Target};

/// What keeps this array from being made again; `None` when nothing does.
pub(crate) fn refuse(_layout: &Layout, _array: &MdArray) -> Option<String> {
    Some("software RAID cannot be recreated yet".into())
}

/// The commands that make it as `device` of what `nodes` says its members are called.
pub(crate) fn commands(
    _array: &MdArray,
    _slots: &[Option<Target>],
    _spares: &[Target],
    _device: &str,
    _nodes: &dyn Fn(&Target) -> String,
) -> Vec<Command> {
    Vec::new()
}

/// The step in words.
pub(crate) fn describe(array: &MdArray, slots: &[Option<Target>], spares: &[Target], shown: &str) -> String {
    let mut names: Vec<&str> = slots
        .iter()
        .map(|slot| slot.as_ref().map_or("a missing member", |target| target.shown.as_str()))
        .collect();
    names.extend(spares.iter().map(|spare| spare.shown.as_str()));
    format!("make the {} array {} as {shown} of {}", array.level, array.uuid, names.join(", "))
}
