//! The part of a layout that a backup brings back. Loses nothing that the coverage calls captured.

use layout::{Content, Device, FsKind, Layout, NodeId};

use crate::md::{self, Membership};
use crate::{Coverage, Decision, DiskState};

/// The layout of a backup: only the disks to make again, with all that lies on them, and the captured mounts. What was
/// waived by name and cannot be made again keeps its place in the partition table and comes back empty.
pub fn reduce(layout: &Layout, coverage: &Coverage) -> Layout {
    let mut reduced = Layout::new(layout.machine.clone());
    let mut kept: Vec<&NodeId> = Vec::new();
    let mut emptied: Vec<&NodeId> = Vec::new();
    for device in &layout.devices {
        let parents = device.parents();
        let keep = if parents.is_empty() {
            coverage.recreate.contains(&device.id)
        } else {
            // A volume that also lies on a disk that is left alone cannot be made from half of its parts.
            parents.iter().all(|parent| kept.contains(parent) && !emptied.contains(parent))
        };
        if keep {
            let mut device_kept = device.clone();
            if let Content::MdMember { array } = &device.content
                && md::membership(layout, &device.id, array) == Membership::Former
            {
                device_kept.content = Content::Empty;
            } else if is_lost(device) && is_waived(coverage, device) {
                device_kept.content = Content::Empty;
                // What lay on it is lost with it.
                emptied.push(&device.id);
            }
            kept.push(&device.id);
            reduced.devices.push(device_kept);
        }
    }
    let is_kept = |mount: &&layout::Mount| {
        coverage.mounts.contains(&mount.mount_point) && kept.contains(&&mount.device)
    };
    reduced.mounts = layout.mounts.iter().filter(is_kept).cloned().collect();
    let is_made = |file: &&layout::SwapFile| {
        coverage.hollow.contains(&file.path) && reduced.mounts_of(&file.device).next().is_some()
    };
    reduced.swap_files = layout.swap_files.iter().filter(is_made).cloned().collect();
    let cloned = coverage.rows.iter().filter(|row| row.decision == Decision::Cloned);
    let cloned = cloned.filter_map(|row| row.device.clone()).filter(|id| kept.contains(&id));
    reduced.cloned = cloned.collect();
    crate::lvm::reduce(layout, &mut reduced);
    crate::btrfs::views::reduce(layout, coverage, &mut reduced);
    reduced
}

/// What a recovery must find again and never writes: the preserved disks with all that lies on them, and what is mounted
/// from them.
pub fn preserved(layout: &Layout, coverage: &Coverage) -> Layout {
    let mut part = Layout::new(layout.machine.clone());
    let disks: Vec<&NodeId> = coverage.in_state(DiskState::Preserve).collect();
    for device in &layout.devices {
        let parents = device.parents();
        let keep = match parents.as_slice() {
            [] => disks.contains(&&device.id),
            parents => parents.iter().all(|parent| part.device(parent).is_some()),
        };
        if keep {
            part.devices.push(device.clone());
        }
    }
    part.mounts =
        layout.mounts.iter().filter(|mount| part.device(&mount.device).is_some()).cloned().collect();
    let here = |group: &&layout::VolumeGroup| {
        let mut devices =
            group.physical_volumes.iter().filter_map(|volume| volume.device.as_ref()).peekable();
        devices.peek().is_some() && devices.all(|id| part.device(id).is_some())
    };
    part.groups = layout.groups.iter().filter(here).cloned().collect();
    // Nothing of it is made again: a group that is not wholly understood stands in nobody's way.
    if !part.check().is_empty() {
        part.groups.clear();
    }
    part
}

/// Whether this program could not make the content again.
fn is_lost(device: &Device) -> bool {
    match &device.content {
        Content::Filesystem(filesystem) => match &filesystem.kind {
            FsKind::Btrfs(btrfs) => crate::btrfs::problem(btrfs).is_some(),
            kind => matches!(kind, FsKind::Other { .. }),
        },
        // Of these only what is not in use, or belongs to what is left alone, is ever waived.
        Content::MdMember { .. } | Content::LvmMember { .. } => true,
        Content::Unknown { .. } | Content::Luks(_) => true,
        Content::BtrfsMember { .. }
        | Content::Empty
        | Content::Table(_)
        | Content::Swap(_)
        | Content::BootCode => false,
    }
}

fn is_waived(coverage: &Coverage, device: &Device) -> bool {
    coverage.rows.iter().any(|row| {
        row.device.as_ref() == Some(&device.id)
            && matches!(&row.decision, Decision::Excluded { rule } if rule == crate::coverage::WAIVED)
    })
}
