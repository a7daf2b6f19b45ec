//! The proof of the storage: the recovered disks are probed again and compared with the saved layout.

use std::collections::BTreeMap;
use std::path::Path;

use layout::{Content, Device, Kind, Layout, PartitionTable, VolumeGroup, diff};

use super::swapfiles;
use crate::context::Context;
use crate::failure::Result;

/// Probes the disks as they are now and adds every difference from the saved layout to the problems.
pub fn storage(
    context: &Context,
    saved: &Layout,
    applied: &apply::Applied,
    root: &Path,
    problems: &mut Vec<String>,
) -> Result<()> {
    let stage = context.ui.stage("prove");
    let present = probe::machine(&context.sys)?;
    let mut now = as_saved(saved, &present, applied, problems);
    now.swap_files = swapfiles::found(context, &saved.swap_files, root)?;
    let changes = diff(saved, &now);
    problems.extend(changes.iter().map(|change| format!("storage: {change}")));
    stage.done(format!("{} devices probed again, {} differences", saved.devices.len(), changes.len()));
    Ok(())
}

/// The present layout in the saved one's names, without what may differ on another disk: its identity, its size,
/// and the last usable sector that follows from its size.
fn as_saved(
    saved: &Layout,
    present: &Layout,
    applied: &apply::Applied,
    problems: &mut Vec<String>,
) -> Layout {
    let mut now = saved.clone();
    now.devices.clear();
    let mut names = BTreeMap::new();
    for device in &saved.devices {
        let Some(found) = present_of(saved, present, applied, device) else { continue };
        names.insert(found.id.clone(), device.id.clone());
        let mut found = found.clone();
        if let (Kind::Disk(disk), Kind::Disk(old)) = (&mut found.kind, &device.kind) {
            *disk = old.clone();
            if let (
                Content::Table(PartitionTable::Gpt { last_lba, .. }),
                Content::Table(PartitionTable::Gpt { last_lba: old, .. }),
            ) = (&mut found.content, &device.content)
                && found.size != device.size
            {
                *last_lba = *old;
            }
            found.size = device.size;
        }
        if let (Content::Luks(now), Content::Luks(old)) = (&mut found.content, &device.content) {
            super::luks::as_told(old, now, &device.path, problems);
        }
        // On the machine's own disk, an empty partition may still hold bytes without meaning from before.
        if device.content == Content::Empty && matches!(found.content, Content::Unknown { .. }) {
            found.content = Content::Empty;
        }
        now.devices.push(found);
    }
    let made = |group: &&VolumeGroup| saved.groups.iter().any(|old| old.uuid == group.uuid);
    now.groups = present.groups.iter().filter(made).cloned().collect();
    now.mounts.clear();
    now.rename(&names);
    now.mounts.clone_from(&saved.mounts);
    now
}

/// The device that stands for a saved one now: a disk by the fit, a partition by its number on that disk, what is made
/// of others by its own identifier.
fn present_of<'a>(
    saved: &Layout,
    present: &'a Layout,
    applied: &apply::Applied,
    device: &Device,
) -> Option<&'a Device> {
    if let Some(disk) = applied.disks.get(&device.id) {
        return present.device_by_path(&disk.path().to_string_lossy());
    }
    let Some(partition) = device.partition() else { return present.device(&device.id) };
    let parent = present_of(saved, present, applied, saved.device(&partition.parent)?)?;
    present.device(&parent.id.partition(partition.number))
}
