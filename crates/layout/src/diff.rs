//! What differs between two layouts, for `rear checklayout` and for the proof after a recovery.

use serde_json::Value;

use crate::{Device, Layout, btrfs};

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// On which device or mount point, for people: "/dev/vda1", "mount /home".
    pub what: String,
    /// "is new", "is gone", or the changed property with both values.
    pub how: String,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.what, self.how)
    }
}

/// Properties that change without anybody changing the layout: kernel names over boots (of a device, and of the paths to a
/// disk), space in use, what is swapped on at the moment; how often something was done in a thin pool (each snapshot counts, also one
/// that is gone again); and the geometry of a FAT, which not every version of its tool can be told.
const VOLATILE: [&str; 6] = ["path", "paths", "used", "active", "transaction_id", "geometry"];

/// Differences from `old` to `new`, in the order of the old layout, new things last. Empty means the same.
pub fn diff(old: &Layout, new: &Layout) -> Vec<Change> {
    let mut changes = Vec::new();
    if old.machine != new.machine {
        compare("this machine", &value(&old.machine), &value(&new.machine), &mut changes);
    }
    for device in &old.devices {
        match new.device(&device.id) {
            Some(now) => {
                let (old, new) = (btrfs::comparable(device), btrfs::comparable(now));
                compare(&name(device), &value(&old), &value(&new), &mut changes);
            }
            None => changes.push(Change { what: name(device), how: "is gone".to_owned() }),
        }
    }
    for device in &new.devices {
        if old.device(&device.id).is_none() {
            changes.push(Change { what: name(device), how: "is new".to_owned() });
        }
    }
    for group in &old.groups {
        let what = format!("volume group {}", group.name);
        match new.groups.iter().find(|now| now.uuid == group.uuid) {
            Some(now) => compare(&what, &value(group), &value(now), &mut changes),
            None => changes.push(Change { what, how: "is gone".to_owned() }),
        }
    }
    for group in new.groups.iter().filter(|now| !old.groups.iter().any(|group| group.uuid == now.uuid)) {
        changes.push(Change { what: format!("volume group {}", group.name), how: "is new".to_owned() });
    }
    for mount in &old.mounts {
        let what = format!("mount {}", mount.mount_point);
        match new.mounts.iter().find(|now| now.mount_point == mount.mount_point) {
            Some(now) => compare(&what, &value(mount), &value(now), &mut changes),
            None => changes.push(Change { what, how: "is gone".to_owned() }),
        }
    }
    for mount in &new.mounts {
        if !old.mounts.iter().any(|before| before.mount_point == mount.mount_point) {
            changes.push(Change { what: format!("mount {}", mount.mount_point), how: "is new".to_owned() });
        }
    }
    for file in &old.swap_files {
        let what = format!("swap file {}", file.path);
        match new.swap_files.iter().find(|now| now.path == file.path) {
            Some(now) => compare(&what, &value(file), &value(now), &mut changes),
            None => changes.push(Change { what, how: "is gone".to_owned() }),
        }
    }
    for file in &new.swap_files {
        if !old.swap_files.iter().any(|before| before.path == file.path) {
            changes.push(Change { what: format!("swap file {}", file.path), how: "is new".to_owned() });
        }
    }
    changes
}

fn name(device: &Device) -> String {
    format!("{} ({})", device.path, device.id)
}

fn value(thing: &impl serde::Serialize) -> Value {
    // Layout types hold nothing that JSON cannot; a failure would show as "null" against "null".
    serde_json::to_value(thing).unwrap_or(Value::Null)
}

fn compare(what: &str, old: &Value, new: &Value, changes: &mut Vec<Change>) {
    walk(what, "", old, new, changes);
}

fn walk(what: &str, key: &str, old: &Value, new: &Value, changes: &mut Vec<Change>) {
    match (old, new) {
        (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => {
            for (name, before) in a {
                if VOLATILE.contains(&name.as_str()) {
                    continue;
                }
                let inner = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                walk(what, &inner, before, b.get(name).unwrap_or(&Value::Null), changes);
            }
        }
        (a, b) if a == b => {}
        (a, b) => {
            changes.push(Change { what: what.to_owned(), how: format!("has {key} {b} instead of {a}") })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Firmware, LvmSection, LvmValue, Machine, VolumeGroup};

    #[test]
    fn a_snapshot_that_came_and_went_is_no_change() {
        let layout = |transaction: i64, chunk: i64| {
            let segment = LvmSection::from([
                ("transaction_id".to_owned(), LvmValue::Number(transaction)),
                ("chunk_size".to_owned(), LvmValue::Number(chunk)),
            ]);
            let pool = LvmSection::from([("segment1".to_owned(), LvmValue::Section(segment))]);
            let mut layout = Layout::new(Machine {
                hostname: String::new(),
                firmware: Firmware::Bios,
                architecture: String::new(),
                system: String::new(),
            });
            layout.groups.push(VolumeGroup {
                name: "vg".into(),
                uuid: "u".into(),
                physical_volumes: Vec::new(),
                metadata: LvmSection::from([("pool".to_owned(), LvmValue::Section(pool))]),
            });
            layout
        };
        assert_eq!(diff(&layout(1, 128), &layout(3, 128)), []);
        assert_eq!(diff(&layout(1, 128), &layout(1, 256)).len(), 1);
    }
}
