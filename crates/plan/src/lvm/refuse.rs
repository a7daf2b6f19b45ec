//! What keeps a volume group from being made again. Makes nothing.

use layout::{Content, Kind, Layout, LvmSection, VolumeGroup};

use super::number;
use super::stages::{images, prepared};

/// Types of segments that are known to come back.
const KNOWN: [&str; 11] = [
    "striped",
    "mirror",
    "snapshot",
    "thin-pool",
    "thin",
    "cache-pool",
    "cache",
    "writecache",
    "raid0",
    "raid0_meta",
    "raid1",
];

/// What keeps this group from being made again; `None` when nothing does.
pub(crate) fn refuse(layout: &Layout, group: &VolumeGroup) -> Option<String> {
    let name = &group.name;
    if layout.groups.iter().filter(|other| other.name == *name).count() > 1 {
        return Some(format!(
            "two volume groups are called {name}; give one of them another name (vgrename)"
        ));
    }
    for volume in &group.physical_volumes {
        let flagged =
            group.physical_volume(&volume.key).is_some_and(|pv| VolumeGroup::has(pv, "flags", "MISSING"));
        if volume.device.is_none() || flagged {
            return Some(format!(
                "the physical volume {} of the volume group {name} is missing; bring it back, or remove it with \
                 vgreduce --removemissing {name}",
                volume.uuid
            ));
        }
    }
    let volumes = layout
        .devices
        .iter()
        .filter(|device| matches!(&device.kind, Kind::LogicalVolume(volume) if volume.group == *name));
    let lock = VolumeGroup::text(&group.metadata, "lock_type");
    if VolumeGroup::has(&group.metadata, "status", "EXPORTED") {
        return Some(format!(
            "the volume group {name} is exported; vgimport {name} makes it this machine's own"
        ));
    }
    if VolumeGroup::has(&group.metadata, "status", "CLUSTERED") || !matches!(lock, "" | "none") {
        return Some(format!(
            "the volume group {name} is shared by several machines (lock type '{lock}'); what they share cannot be made \
             again by one of them: leave its disks out"
        ));
    }
    let system = VolumeGroup::text(&group.metadata, "system_id");
    if !system.is_empty() && volumes.clone().next().is_none() {
        return Some(format!(
            "the volume group {name} belongs to another machine ({system}); leave its disks out"
        ));
    }
    for device in volumes {
        if let Kind::LogicalVolume(volume) = &device.kind
            && let Some((_, section)) = group.volume_by_uuid(&volume.uuid)
            && !VolumeGroup::has(section, "status", "WRITE")
            && device.content != Content::Empty
        {
            return Some(format!(
                "the logical volume {name}/{0} is read-only, so nothing can be restored to it; make it writable with \
                 lvchange --permission rw {name}/{0}",
                volume.name
            ));
        }
    }
    group.volumes().find_map(|(volume, section)| refuse_volume(group, volume, section)).or_else(|| {
        let lost = prepared(group).into_iter().find(|one| images(group, one.volume).is_none())?;
        Some(format!(
            "{name}/{} holds metadata and is neither linear, striped nor mirrored: it cannot be prepared",
            lost.volume
        ))
    })
}

fn refuse_volume(group: &VolumeGroup, name: &str, volume: &LvmSection) -> Option<String> {
    let path = format!("{}/{name}", group.name);
    const BUSY: [&str; 6] = ["PVMOVE", "CONVERTING", "MERGING", "REBUILD", "RESHAPE", "LOCKED"];
    for list in ["status", "flags"] {
        if let Some(busy) = BUSY.iter().find(|word| VolumeGroup::has(volume, list, word)) {
            return Some(format!(
                "LVM is changing the logical volume {path} ({busy}); wait until it is done"
            ));
        }
    }
    for segment in VolumeGroup::segments(volume) {
        let kind = VolumeGroup::segment_type(segment);
        let raid = ["raid4", "raid5", "raid6", "raid10"].iter().any(|raid| kind.starts_with(raid));
        if !raid && !KNOWN.contains(&kind) {
            return Some(format!(
                "the logical volume {path} is of the type '{kind}', which cannot be made again"
            ));
        }
        if ["reshape_count", "delta_disks", "data_offset"].iter().any(|key| number(segment, key) != 0) {
            return Some(format!(
                "the logical volume {path} keeps room from a change of its RAID layout; finish it with lvconvert {path}"
            ));
        }
        if segment.contains_key("merging_store") {
            return Some(format!("a snapshot is being merged into {path}; wait until it is done"));
        }
    }
    None
}
