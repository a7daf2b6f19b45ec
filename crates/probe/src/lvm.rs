//! LVM: volume groups as the metadata on their physical volumes describes them, and which devices of device-mapper
//! are volumes that people see. Reads superblocks and `/sys`; starts no program.

use std::collections::{BTreeMap, BTreeSet};

use layout::{
    Bytes, Content, Device, Kind, Layout, LogicalVolume, LvmGroupText, LvmRole, NodeId, PhysicalVolume,
    VolumeGroup,
};
use sys::{Sys, SysExt};

use crate::Result;
use crate::block::{self, Block};
use crate::device::Dev;
use crate::mounts::{MountEntry, device_path, path_of_number};

mod label;

use label::Area;

/// What was read of all physical volumes so far.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// By UUID of the physical volume: number, size and whether ignored, of its metadata areas.
    volumes: BTreeMap<String, (u32, u64, bool)>,
    /// By UUID of the group, the newest.
    newest: BTreeMap<String, VolumeGroup>,
    seqno: BTreeMap<String, u64>,
    /// The device of each physical volume, by its UUID.
    carriers: BTreeMap<String, NodeId>,
}

/// What a block device is to LVM.
#[derive(Debug)]
pub(crate) enum Seen {
    /// Nothing that LVM made, or of a group whose metadata was not found.
    Foreign,
    /// A layer below a volume, a pool, or a snapshot whose content belongs to another volume.
    Hidden,
    /// A volume.
    Volume(NodeId, Box<Kind>),
}

impl Groups {
    /// Reads the physical volume on this device.
    ///
    /// # Errors
    /// When the device cannot be read.
    pub(crate) fn add(&mut self, sys: &dyn Sys, device: &Device) -> Result<()> {
        if !matches!(device.content, Content::LvmMember { .. }) {
            return Ok(());
        }
        let dev = Dev::new(sys, &device.path, device.size.0);
        let Some(label) = label::parse(&dev.read(0, 4096)?) else {
            tracing::warn!("{} has a damaged label of LVM", device.path);
            return Ok(());
        };
        let mut ignored = false;
        for area in &label.areas {
            match label::area(&dev, *area)? {
                Area::Empty => {}
                Area::Ignored => ignored = true,
                Area::Damaged(what) => tracing::warn!("{}: {what}", device.path),
                Area::Group(text) => self.found(*text),
            }
        }
        // Copies (a snapshot of a LUN, a second path, a cloned disk) carry the same: LVM works with the one in use.
        if self.carriers.contains_key(&label.uuid) {
            let name = device.path.trim_start_matches("/dev/").replace('/', "!");
            if block::names(sys, &format!("/sys/class/block/{name}/holders"))?.is_empty() {
                return Ok(());
            }
        }
        self.carriers.insert(label.uuid.clone(), device.id.clone());
        let count = u32::try_from(label.areas.len()).unwrap_or(u32::MAX);
        let size = label.areas.first().map_or(0, |(_, size)| *size);
        self.volumes.insert(label.uuid, (count, size, ignored));
        Ok(())
    }

    /// A volume that was away for a while comes back with old metadata: the highest number is the truth.
    fn found(&mut self, text: LvmGroupText) {
        if self.seqno.get(&text.uuid).is_some_and(|known| *known >= text.seqno) {
            return;
        }
        self.seqno.insert(text.uuid.clone(), text.seqno);
        let physical_volumes = text.physical_volumes.into_iter().map(|(key, uuid)| PhysicalVolume {
            key,
            uuid,
            device: None,
            metadata_areas: 0,
            metadata_size: Bytes(0),
            metadata_ignored: false,
        });
        let group = VolumeGroup {
            name: text.name,
            uuid: text.uuid.clone(),
            physical_volumes: physical_volumes.collect(),
            metadata: text.metadata,
        };
        self.newest.insert(text.uuid, group);
    }

    /// What this block device is. `used` are the paths of devices that are mounted or swapped on.
    pub(crate) fn seen(
        &self,
        sys: &dyn Sys,
        block: &Block,
        layout: &Layout,
        used: &BTreeSet<String>,
    ) -> Result<Seen> {
        let Some((group, volume, layer)) = ids(sys, &block.name)? else { return Ok(Seen::Foreign) };
        let known = self.newest.values().find(|one| one.uuid.replace('-', "") == group);
        let Some(known) = known else { return Ok(Seen::Foreign) };
        if layer {
            return Ok(Seen::Hidden);
        }
        let Some((name, _)) = known.volume_by_uuid(&volume) else { return Ok(Seen::Foreign) };
        let in_use = used.contains(&device_path(&block.name)) || !block.holders.is_empty();
        match known.role(name) {
            LvmRole::Volume => {}
            // What is mounted is a filesystem of its own.
            LvmRole::Snapshot { thin: true, .. } if in_use => {}
            LvmRole::Snapshot { .. } | LvmRole::Hidden => return Ok(Seen::Hidden),
        }
        let below = known.physical_volumes_below(name);
        let physical_volumes: Vec<NodeId> = below
            .iter()
            .filter_map(|volume| self.carrier(layout, &volume.uuid))
            .map(|device| device.id.clone())
            .collect();
        if physical_volumes.is_empty() {
            return Ok(Seen::Foreign);
        }
        let id = NodeId(format!("lv:{group}/{volume}"));
        let kind = LogicalVolume {
            group: known.name.clone(),
            name: name.to_owned(),
            uuid: volume,
            physical_volumes,
        };
        Ok(Seen::Volume(id, Box::new(Kind::LogicalVolume(kind))))
    }

    /// The groups, by name, with the devices of their physical volumes.
    pub(crate) fn finish(mut self, layout: &Layout) -> Vec<VolumeGroup> {
        let mut groups: Vec<VolumeGroup> = std::mem::take(&mut self.newest).into_values().collect();
        for volume in groups.iter_mut().flat_map(|group| &mut group.physical_volumes) {
            volume.device = self.carrier(layout, &volume.uuid).map(|device| device.id.clone());
            let (count, size, ignored) = self.volumes.get(&volume.uuid).copied().unwrap_or_default();
            volume.metadata_areas = count;
            volume.metadata_size = Bytes(size);
            volume.metadata_ignored = ignored;
        }
        groups.sort_by(|a, b| (&a.name, &a.uuid).cmp(&(&b.name, &b.uuid)));
        groups
    }

    /// The device that carries this physical volume: of several copies the one in use.
    fn carrier<'a>(&self, layout: &'a Layout, uuid: &str) -> Option<&'a Device> {
        let carries =
            |device: &&Device| matches!(&device.content, Content::LvmMember { uuid: one } if one == uuid);
        let used = self.carriers.get(uuid).and_then(|id| layout.device(id)).filter(carries);
        // The content of a device is corrected where an array turns out to be made of it.
        used.or_else(|| layout.devices.iter().find(carries))
    }
}

/// Forgets the groups that contradict themselves and of which no volume is active: a copy of a disk on a smaller one, half
/// of a foreign group. They are nobody's here, and no reason not to look at all the rest.
pub(crate) fn forget_broken(layout: &mut Layout) {
    let mut broken = layout.check().len();
    let mut index = 0;
    while broken > 0 && index < layout.groups.len() {
        let group = layout.groups.remove(index);
        let id = format!("lv:{}/", group.uuid.replace('-', ""));
        let active = layout.devices.iter().any(|device| device.id.0.starts_with(&id));
        let left = layout.check();
        if active || left.len() >= broken {
            layout.groups.insert(index, group);
            index += 1;
        } else {
            tracing::warn!(
                "the volume group {} ({}) contradicts itself, and is left alone",
                group.name,
                group.uuid
            );
            broken = left.len();
        }
    }
}

/// Ids of group and volume of a device that LVM made, and whether it is a layer below the volume.
fn ids(sys: &dyn Sys, name: &str) -> Result<Option<(String, String, bool)>> {
    if !name.starts_with("dm-") {
        return Ok(None);
    }
    let uuid = sys.read_opt(format!("/sys/block/{name}/dm/uuid"))?.unwrap_or_default();
    let Some(both) = uuid.strip_prefix("LVM-") else { return Ok(None) };
    Ok(match (both.get(..32), both.get(32..64), both.get(64..)) {
        (Some(group), Some(volume), Some(layer)) => {
            Some((group.to_owned(), volume.to_owned(), !layer.is_empty()))
        }
        _ => None,
    })
}

/// Whether LVM made this device.
pub(crate) fn is_volume(sys: &dyn Sys, name: &str) -> Result<bool> {
    Ok(ids(sys, name)?.is_some())
}

/// The group to which the physical volume on a device belongs.
pub(crate) fn group_of<'a>(layout: &'a Layout, device: &Device) -> Option<&'a VolumeGroup> {
    let Content::LvmMember { uuid } = &device.content else { return None };
    layout.groups.iter().find(|group| group.physical_volumes.iter().any(|volume| volume.uuid == *uuid))
}

/// All that lies on the group of a physical volume: what is captured of a group needs all of its disks.
pub(crate) fn companions<'a>(layout: &'a Layout, device: &Device) -> Vec<&'a NodeId> {
    let members = group_of(layout, device).into_iter().flat_map(|group| &group.physical_volumes);
    let trees = members.filter_map(|volume| volume.device.as_ref()).flat_map(|id| layout.subtree(id));
    trees.map(|device| &device.id).collect()
}

/// Why a logical volume cannot be made again with its content; `None` when it can.
pub(crate) fn problem(layout: &Layout, volume: &LogicalVolume) -> Option<&'static str> {
    let Some(group) = layout.group_of(volume) else {
        return Some("a logical volume whose group's metadata was not found");
    };
    let (_, section) = group.volume_by_uuid(&volume.uuid)?;
    (!VolumeGroup::has(section, "status", "WRITE"))
        .then_some("a read-only logical volume (lvchange --permission rw makes it writable)")
}

/// The rule that leaves a mounted snapshot out: its content belongs to its origin.
pub(crate) fn mounted_snapshot(sys: &dyn Sys, layout: &Layout, mount: &MountEntry) -> Result<Option<String>> {
    let Some(path) = path_of_number(sys, mount.major_minor)? else { return Ok(None) };
    let Some(name) = path.strip_prefix("/dev/") else { return Ok(None) };
    let Some((group, volume, _)) = ids(sys, name)? else { return Ok(None) };
    let group = layout.groups.iter().find(|one| one.uuid.replace('-', "") == group);
    Ok(group.and_then(|group| {
        let (name, _) = group.volume_by_uuid(&volume)?;
        snapshot_rule(group, name)
    }))
}

/// The rule of a snapshot, in words.
fn snapshot_rule(group: &VolumeGroup, name: &str) -> Option<String> {
    match group.role(name) {
        LvmRole::Snapshot { origin, .. } => {
            Some(format!("snapshot of {}/{origin}, to which its content belongs: not made again", group.name))
        }
        _ => None,
    }
}

/// A volume of a group that is no device of the layout: inactive, or a snapshot.
pub(crate) struct Unseen {
    /// `/dev/GROUP/NAME`.
    pub(crate) path: String,
    /// The rule by which it is left out; `None` where its content would be lost.
    pub(crate) rule: Option<String>,
}

/// The volumes of the group of a physical volume that are no devices of the layout.
pub(crate) fn unseen(layout: &Layout, device: &Device) -> Vec<Unseen> {
    let Some(group) = group_of(layout, device) else { return Vec::new() };
    let shown = |name: &str| {
        layout.devices.iter().any(|device| {
            matches!(&device.kind, Kind::LogicalVolume(one) if one.name == name
                && layout.group_of(one).is_some_and(|known| known.uuid == group.uuid))
        })
    };
    let names = group.volumes().map(|(name, _)| name);
    names
        .filter(|name| group.role(name) != LvmRole::Hidden && !shown(name))
        .map(|name| Unseen { path: format!("/dev/{}/{name}", group.name), rule: snapshot_rule(group, name) })
        .collect()
}

/// The groups of a layout that is reduced to what comes back: those with all their physical volumes, without the
/// snapshots that do not.
pub(crate) fn reduce(layout: &Layout, reduced: &mut Layout) {
    for group in &layout.groups {
        let there = |volume: &PhysicalVolume| {
            let device = volume.device.as_ref().and_then(|id| reduced.device(id));
            // A group with a missing volume is kept, so that it is refused by its name.
            device
                .map_or(volume.device.is_none(), |device| matches!(device.content, Content::LvmMember { .. }))
        };
        let some = group.physical_volumes.iter().any(|volume| volume.device.is_some());
        if some && group.physical_volumes.iter().all(there) {
            let keep = |uuid: &str| {
                let uuid = uuid.replace('-', "");
                reduced
                    .devices
                    .iter()
                    .any(|device| matches!(&device.kind, Kind::LogicalVolume(volume) if volume.uuid == uuid))
            };
            let group = group.without_snapshots(keep);
            reduced.groups.push(group);
        }
    }
}

#[cfg(test)]
mod tests;
