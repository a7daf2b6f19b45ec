//! The steps for everything that is made of other devices: arrays, volume groups, open containers, btrfs over
//! several devices. Orders them; what each runs is its technology's own business.

use layout::{Btrfs, Content, Device, FsKind, Kind, LogicalVolume, MdArray, NodeId, VolumeGroup};

use super::{Maker, PlanError, was};
use crate::{Action, Place, Target, luks, lvm};

impl<'a> Maker<'a> {
    /// Everything that is made of other devices, each as soon as all that it is made of is there.
    pub(super) fn stacked(&mut self) -> Result<(), PlanError> {
        let mut open: Vec<&'a Device> = self
            .saved
            .devices
            .iter()
            .filter(|device| !matches!(device.kind, Kind::Disk(_) | Kind::Partition(_)))
            .collect();
        let mut groups: Vec<&'a VolumeGroup> = self.saved.groups.iter().collect();
        loop {
            let before = (open.len(), groups.len());
            open.retain(|device| !self.try_stacked(device));
            groups.retain(|group| !self.try_group(group));
            if (open.len(), groups.len()) == before {
                break;
            }
        }
        self.pools();
        if open.is_empty() && groups.is_empty() {
            return Ok(());
        }
        let names = open
            .iter()
            .map(|device| device.path.clone())
            .chain(groups.iter().map(|group| format!("volume group {}", group.name)));
        Err(PlanError::Inconsistent(
            names.map(|name| format!("{name} is made of something that is not recreated")).collect(),
        ))
    }

    fn try_stacked(&mut self, device: &'a Device) -> bool {
        let ready = device.parents().iter().all(|parent| self.targets.contains_key(parent));
        match &device.kind {
            Kind::MdArray(array) if ready => self.array(device, array),
            Kind::LuksMapping(mapping) if ready => self.mapping(device, mapping),
            Kind::LogicalVolume(volume) if self.groups.contains(&volume.group) => self.volume(device, volume),
            _ => return false,
        }
        true
    }

    fn array(&mut self, device: &'a Device, array: &MdArray) {
        let find = |member: &layout::MdMember| self.targets.get(&member.device).cloned();
        let slots: Vec<Option<Target>> =
            array.slots.iter().map(|slot| slot.as_ref().and_then(find)).collect();
        let spares: Vec<Target> = array.spares.iter().filter_map(find).collect();
        let below: Vec<&Target> = slots.iter().flatten().chain(&spares).collect();
        let name = self.array_name(device);
        let shown = format!("/dev/{name}");
        let target = Target::above(&device.id, Place::Array(name), shown, &below);
        let why = if array.is_degraded() {
            format!("it was {}, with a missing member", device.path)
        } else {
            format!("it was {}", device.path)
        };
        let action = Action::MakeArray { target: target.clone(), array: array.clone(), slots, spares };
        self.push(action, why);
        self.device(device, target, device.size);
    }

    /// The kernel name for an array: its old one where it has a number, which nothing present has that stays.
    fn array_name(&self, device: &Device) -> String {
        // An array on a disk that is written is stopped before; one beside it (it may carry the backup) runs on.
        let stays = |device: &Device| {
            !self.present.disks_below(&device.id).iter().any(|disk| self.taken.contains(&disk.id))
        };
        let used = |name: &str| {
            let shown = format!("/dev/{name}");
            self.targets.values().any(|target| target.shown == shown)
                || self.present.device_by_path(&shown).is_some_and(stays)
        };
        let numbered = |name: &&str| {
            name.strip_prefix("md").is_some_and(|n| !n.is_empty() && n.chars().all(|c| c.is_ascii_digit()))
        };
        device
            .path
            .strip_prefix("/dev/")
            .filter(numbered)
            .filter(|name| !used(name))
            .map(str::to_owned)
            .or_else(|| (0..128).rev().map(|n| format!("md{n}")).find(|name| !used(name)))
            .unwrap_or_else(|| "md127".to_owned())
    }

    fn mapping(&mut self, device: &'a Device, mapping: &layout::LuksMapping) {
        let Some(container) = self.targets.get(&mapping.parent).cloned() else { return };
        let (uuid, flags) = match self.saved.device(&mapping.parent).map(|parent| &parent.content) {
            Some(Content::Luks(luks)) => (luks.uuid.clone(), luks::flags(luks)),
            _ => Default::default(),
        };
        let shown = format!("/dev/mapper/{}", mapping.name);
        let place = Place::Mapped(mapping.name.clone());
        let target = Target::above(&device.id, place, shown, &[&container]);
        let name = mapping.name.clone();
        let action = Action::OpenLuks { target: target.clone(), container, uuid, name, flags };
        self.push(action, format!("what lies in it was {}", device.path));
        self.device(device, target, device.size);
    }

    fn try_group(&mut self, group: &'a VolumeGroup) -> bool {
        let devices: Vec<&NodeId> =
            group.physical_volumes.iter().filter_map(|volume| volume.device.as_ref()).collect();
        let below: Option<Vec<Target>> = devices.iter().map(|id| self.targets.get(id).cloned()).collect();
        let Some(below) = below else { return false };
        let stages = lvm::stages(self.saved, group);
        for (volume, target) in
            group.physical_volumes.iter().filter(|volume| volume.device.is_some()).zip(&below)
        {
            let action = Action::MakePhysicalVolume {
                target: target.clone(),
                volume: volume.clone(),
                group: group.name.clone(),
                metadata: stages.complete.clone(),
            };
            self.push(action, format!("a part of the volume group {}", group.name));
        }
        let below: Vec<&Target> = below.iter().collect();
        let saved = NodeId(format!("vg:{}", group.uuid));
        let place = Place::Group(group.name.clone());
        let target = Target::above(&saved, place, group.name.clone(), &below);
        let name = group.name.clone();
        if let Some(metadata) = stages.open {
            self.prepare_group(&target, &name, metadata, &stages.clear, stages.pools);
        }
        let restore = Action::RestoreGroup {
            target: target.clone(),
            group: name.clone(),
            metadata: stages.complete,
            complete: true,
        };
        self.push(restore, "with the identifiers of all its volumes".into());
        let activate = Action::ActivateVolumes { target, group: name.clone(), volumes: Vec::new() };
        self.push(activate, "its volumes are needed next".into());
        self.groups.push(name);
        true
    }

    /// Hidden volumes that hold metadata of thin pools, caches and RAID must not hold what lay there before.
    fn prepare_group(
        &mut self,
        target: &Target,
        name: &str,
        metadata: String,
        clear: &[(String, u64)],
        pools: Vec<(String, String, String)>,
    ) {
        let (group, saved) = (name.to_owned(), &target.saved);
        let restore =
            Action::RestoreGroup { target: target.clone(), group: group.clone(), metadata, complete: false };
        self.push(restore, "thin pools, caches and RAID keep metadata of their own in them".into());
        let volume = |volume: &str| {
            let id = NodeId(format!("{saved}/{volume}"));
            let mapped = lvm::mapped(name, volume);
            let shown = format!("/dev/mapper/{mapped}");
            Target::above(&id, Place::Mapped(mapped), shown, &[target])
        };
        let names = clear.iter().map(|(name, _)| name).chain(pools.iter().map(|(_, volume, _)| volume));
        let volumes = names.cloned().collect();
        let activate = Action::ActivateVolumes { target: target.clone(), group: group.clone(), volumes };
        self.push(activate, "they are prepared next".into());
        for (name, size) in clear {
            let action = Action::ClearDevice { target: volume(name), size: layout::Bytes(*size) };
            self.push(action, "the kernel makes it anew where it finds zeroes".into());
        }
        for (pool, of, xml) in pools {
            let pool = format!("{name}/{pool}");
            let why = format!("so that {pool} knows its thin volumes");
            self.push(Action::RestorePoolMetadata { target: volume(&of), pool, xml }, why);
        }
        let deactivate = Action::DeactivateGroup { target: target.clone(), group };
        self.push(deactivate, "the group gets its own metadata next".into());
    }

    fn volume(&mut self, device: &'a Device, volume: &LogicalVolume) {
        let below: Vec<&Target> =
            device.parents().iter().filter_map(|parent| self.targets.get(parent)).collect();
        let mapped = lvm::mapped(&volume.group, &volume.name);
        let shown = format!("/dev/mapper/{mapped}");
        let target = Target::above(&device.id, Place::Mapped(mapped), shown, &below);
        self.device(device, target, device.size);
    }

    /// btrfs over several devices, when all of them are there.
    fn pools(&mut self) {
        for device in &self.saved.devices {
            let Some((filesystem, kind)) = btrfs_of(device) else { continue };
            let Some(target) = self.targets.get(&device.id).cloned() else { continue };
            let others: Vec<Target> = kind
                .members
                .iter()
                .filter(|member| member.device != device.id)
                .filter_map(|member| self.targets.get(&member.device).cloned())
                .collect();
            let at: Vec<&str> =
                self.saved.mounts_of(&device.id).map(|mount| mount.mount_point.as_str()).collect();
            let filesystem = layout::Filesystem { used: None, ..filesystem.clone() };
            let action = Action::MakeFilesystem { target: target.clone(), filesystem, others };
            self.push(action, was(&device.path, &at));
            if !crate::btrfs::subvolumes(kind, "").is_empty() {
                let btrfs = Box::new(kind.clone());
                self.push(Action::MakeSubvolumes { target, btrfs }, "files belong to subvolumes".into());
            }
        }
    }
}

fn btrfs_of(device: &Device) -> Option<(&layout::Filesystem, &Btrfs)> {
    let filesystem = device.filesystem()?;
    match &filesystem.kind {
        FsKind::Btrfs(kind) => Some((filesystem, kind)),
        _ => None,
    }
}
