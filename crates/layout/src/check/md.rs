//! What must hold of every software RAID array in a layout. Says nothing of what can be made again.

use std::collections::BTreeMap;

use crate::{Device, Kind, Layout, MdArray, NodeId};

/// Says every rule that an array of the layout breaks, naming the array and the member.
pub(super) fn check(layout: &Layout, say: &mut impl FnMut(String)) {
    let mut users: BTreeMap<&NodeId, &str> = BTreeMap::new();
    for device in &layout.devices {
        let Kind::MdArray(array) = &device.kind else { continue };
        for member in array.members() {
            if let Some(other) = users.insert(&member.device, &device.path) {
                say(format!("{}: its member {} is a member of {other} already", device.path, member.device));
            }
        }
        one(layout, device, array, say);
    }
}

fn one(layout: &Layout, device: &Device, array: &MdArray, say: &mut impl FnMut(String)) {
    let path = &device.path;
    if array.slots.is_empty() {
        say(format!("{path}: the array {} has no slots", array.uuid));
        return;
    }
    if !array.is_whole_enough() {
        say(format!(
            "{path}: {} of its {} members are missing, more than {} survives",
            array.missing(),
            array.slots.len(),
            array.level
        ));
    }
    let striped = matches!(array.level.as_str(), "raid0" | "raid4" | "raid5" | "raid6" | "raid10");
    if striped && (array.chunk.0 == 0 || !array.chunk.0.is_multiple_of(512)) {
        say(format!("{path}: {} in chunks of {} bytes is impossible", array.level, array.chunk.0));
    }
    if let Some(bitmap) = &array.bitmap
        && (!bitmap.chunk.0.is_power_of_two() || bitmap.chunk.0 < 512)
    {
        say(format!("{path}: a bitmap with {} bytes for each bit is impossible", bitmap.chunk.0));
    }
    for member in array.members() {
        // One that is not there at all is said already: it does not stand before the array.
        let Some(below) = layout.device(&member.device) else { continue };
        let end = member.data_offset.0.checked_add(array.component_size.0);
        if end.is_none_or(|end| end > below.size.0) || member.data_offset >= below.size {
            say(format!(
                "{path}: it uses {} bytes from byte {} on of {}, which has only {} bytes",
                array.component_size.0, member.data_offset.0, below.path, below.size.0
            ));
        }
        if !member.data_offset.0.is_multiple_of(512) {
            say(format!(
                "{path}: its data begin at byte {} of {}, within a sector",
                member.data_offset.0, below.path
            ));
        }
    }
    // Whatever the level, an array never holds more than its members do.
    let sizes = array.slots.iter().flatten().filter_map(|member| Some(layout.device(&member.device)?.size.0));
    let most = sizes.fold(0_u64, u64::saturating_add);
    if !array.is_degraded() && device.size.0 > most {
        say(format!("{path}: it has {} bytes, its members together only {most}", device.size.0));
    }
}
