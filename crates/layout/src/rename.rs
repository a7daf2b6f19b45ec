//! Other names for the same things: one machine's devices as another layout calls them. Changes names only.

use std::collections::BTreeMap;

use crate::{Content, FsKind, Kind, Layout, NodeId};

impl Layout {
    /// Gives devices the ids of `names` (from the present one to the new one), wherever they are mentioned.
    pub fn rename(&mut self, names: &BTreeMap<NodeId, NodeId>) {
        let new = |id: &mut NodeId| {
            if let Some(name) = names.get(id) {
                id.clone_from(name);
            }
        };
        for device in &mut self.devices {
            new(&mut device.id);
            match &mut device.kind {
                Kind::Disk(_) => {}
                Kind::Partition(partition) => new(&mut partition.parent),
                Kind::MdArray(array) => {
                    let members = array.slots.iter_mut().flatten().chain(&mut array.spares);
                    members.for_each(|member| new(&mut member.device));
                }
                Kind::LogicalVolume(volume) => volume.physical_volumes.iter_mut().for_each(new),
                Kind::LuksMapping(mapping) => new(&mut mapping.parent),
            }
            if let Content::Filesystem(filesystem) = &mut device.content
                && let FsKind::Btrfs(btrfs) = &mut filesystem.kind
            {
                btrfs.members.iter_mut().for_each(|member| new(&mut member.device));
            }
        }
        for volume in self.groups.iter_mut().flat_map(|group| &mut group.physical_volumes) {
            if let Some(device) = &mut volume.device {
                new(device);
            }
        }
        self.mounts.iter_mut().for_each(|mount| new(&mut mount.device));
        self.swap_files.iter_mut().for_each(|file| new(&mut file.device));
        self.cloned = std::mem::take(&mut self.cloned)
            .into_iter()
            .map(|mut id| {
                new(&mut id);
                id
            })
            .collect();
    }
}
