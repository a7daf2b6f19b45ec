//! The part of a layout that a backup brings back. Loses nothing that the coverage calls captured.

use layout::{Layout, NodeId};

use crate::Coverage;

/// The layout of a backup: only the disks to make again, with all that lies on them, and the captured mounts.
pub fn reduce(layout: &Layout, coverage: &Coverage) -> Layout {
    let mut reduced = Layout::new(layout.machine.clone());
    let mut kept: Vec<&NodeId> = Vec::new();
    for device in &layout.devices {
        let parents = device.parents();
        let keep = if parents.is_empty() {
            coverage.recreate.contains(&device.id)
        } else {
            // A volume that also lies on a disk that is left alone cannot be made from half of its parts.
            parents.iter().all(|parent| kept.contains(parent))
        };
        if keep {
            kept.push(&device.id);
            reduced.devices.push(device.clone());
        }
    }
    let is_kept = |mount: &&layout::Mount| {
        coverage.mounts.contains(&mount.mount_point) && kept.contains(&&mount.device)
    };
    reduced.mounts = layout.mounts.iter().filter(is_kept).cloned().collect();
    reduced
}
