//! Which whole disks carry something that is in use now, and so can never be written. Follows the kernel's own
//! links down, not the model, so that a gap in the model cannot make a disk look free.

use std::collections::BTreeSet;

use layout::{Content, FsKind, Layout, NodeId};
use sys::Sys;

use crate::mounts::{self, MountEntry};
use crate::{Result, block};

/// The whole disks that carry any mounted filesystem or active swap space, walked down through partitions,
/// device-mapper and RAID.
///
/// # Errors
/// When the machine cannot be read: then nothing may be written at all.
pub fn sources(sys: &dyn Sys, layout: &Layout) -> Result<BTreeSet<NodeId>> {
    let mut disks = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for mount in mounts::mountinfo(sys)? {
        if let Some(path) = mounts::device_of(sys, &mount)? {
            walk(sys, &sysfs_name(&path), &mut disks, &mut seen)?;
        }
        add_pools(layout, &mount, &mut disks);
    }
    for swap in mounts::swaps(sys)?.iter().filter(|swap| !swap.is_file) {
        let path = mounts::resolve(sys, &swap.path)?;
        walk(sys, &sysfs_name(&path), &mut disks, &mut seen)?;
    }
    let of_layout = |path: &String| {
        // A path to a disk is no device of the layout: the disk behind it is.
        let behind = |device: &&layout::Device| {
            let paths =
                device.disk().and_then(|disk| disk.multipath.as_ref()).map(|multipath| &multipath.paths);
            paths.is_some_and(|paths| paths.contains(path))
        };
        let device = layout.device_by_path(path).or_else(|| layout.disks().find(behind));
        device.map(|device| device.id.clone())
    };
    Ok(disks.iter().filter_map(of_layout).collect())
}

fn sysfs_name(path: &str) -> String {
    path.trim_start_matches("/dev/").replace('/', "!")
}

/// Collects the paths of the whole disks below one device.
fn walk(sys: &dyn Sys, name: &str, disks: &mut BTreeSet<String>, seen: &mut BTreeSet<String>) -> Result<()> {
    if !seen.insert(name.to_owned()) {
        return Ok(());
    }
    let place = match sys.canonicalize(format!("/sys/class/block/{name}").as_ref()) {
        Ok(place) => place,
        // Mounted from a device that is gone: nothing to write to.
        Err(error) if error.is_not_found() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if sys.exists(&place.join("partition")) {
        let parent = place.parent().and_then(|parent| parent.file_name());
        if let Some(parent) = parent {
            return walk(sys, &parent.to_string_lossy(), disks, seen);
        }
    }
    let slaves = block::names(sys, &place.join("slaves").to_string_lossy())?;
    if slaves.is_empty() {
        disks.insert(mounts::device_path(name));
    }
    for slave in slaves {
        walk(sys, &slave, disks, seen)?;
    }
    Ok(())
}

/// Filesystems over several devices of which the kernel names at most one: every disk with a part of one counts.
fn add_pools(layout: &Layout, mount: &MountEntry, disks: &mut BTreeSet<String>) {
    let member = |content: &Content| match mount.fs_type.as_str() {
        "btrfs" => match content {
            Content::Filesystem(fs) => matches!(fs.kind, FsKind::Btrfs(_)),
            Content::Unknown { what } => what.contains("btrfs"),
            content => matches!(content, Content::BtrfsMember { .. }),
        },
        "zfs" => matches!(content, Content::Unknown { what } if what.starts_with("ZFS")),
        "bcachefs" => matches!(content, Content::Filesystem(fs) if fs.fs_type() == "bcachefs"),
        _ => false,
    };
    for device in layout.devices.iter().filter(|device| member(&device.content)) {
        disks.extend(layout.disks_below(&device.id).iter().map(|disk| disk.path.clone()));
    }
}
