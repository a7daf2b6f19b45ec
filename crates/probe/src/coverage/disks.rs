//! The decision for every whole disk, and for what lies unused on it.

use layout::{Content, Device, NodeId};

use super::{CoverageRow, Decision, DiskRow, DiskState, WAIVED, Work, excluded, unsupported};
use crate::md::{self, Membership};
use crate::{btrfs, lvm, other};

/// Why a disk is left alone that nobody asks for.
pub(super) const NOTHING: &str = "nothing of it is in the backup";

impl Work<'_> {
    pub(super) fn disks(&mut self) {
        let layout = self.layout;
        for disk in layout.disks() {
            let tree = layout.subtree(&disk.id);
            // What is captured or spared of a btrfs is so on all of its devices.
            let ids: Vec<&NodeId> =
                tree.iter().flat_map(|device| [&device.id, &btrfs::carrier(layout, device).id]).collect();
            // Likewise of a volume group.
            let groups = tree.iter().flat_map(|device| lvm::companions(layout, device));
            let ids: Vec<&NodeId> = ids.into_iter().chain(groups).collect();
            let (state, why) = self.state(disk, &tree, &ids);
            let path = disk.path.clone();
            self.result.disks.push(DiskRow { disk: disk.id.clone(), path, state, why });
            if state == DiskState::Recreate {
                self.result.recreate.push(disk.id.clone());
                for device in tree {
                    self.stored(disk, device);
                }
            }
        }
    }

    /// What a recovery does with a disk, and why; a row for each that is not made again. `ids` is all that lies on it or
    /// belongs together with that.
    fn state(&mut self, disk: &Device, tree: &[&Device], ids: &[&NodeId]) -> (DiskState, String) {
        let of_disk = |row: &&CoverageRow| row.device.as_ref().is_some_and(|id| ids.contains(&id));
        let mut captured = self
            .result
            .rows
            .iter()
            .filter(|row| matches!(row.decision, Decision::Captured | Decision::Partly { .. }));
        let captured = captured.find(of_disk).map(|row| row.what.clone());
        let names = self.names();
        let whole = names.rule_of(disk).map(|alone| alone.rule);
        let rule_of =
            |device: &&Device| Some(names.rule_of(device)?.rule).or_else(|| names.rule_of_whole(device));
        let rule = tree.iter().find_map(rule_of);
        // A write-protected or removable disk is not made again only because it is plugged in.
        let fixed = disk.disk().is_some_and(|d| !d.removable && !d.read_only && d.transport != "virtual");
        if let (Some(rule), Some(what)) = (&whole, &captured) {
            let why = format!(
                "{} is left alone ({rule}), but {what}, which is in the backup, also lies on it or on what belongs together with \
                 it; leave both out, or none",
                disk.path
            );
            self.row(&disk.path, Some(disk), "disk", unsupported(why));
            return (DiskState::Ignore, rule.clone());
        }
        let blank = matches!(disk.content, Content::Empty | Content::Unknown { .. });
        let spared = rule.is_some() || self.spared.iter().any(|id| ids.contains(&id));
        let recreated = whole.is_none()
            && (captured.is_some() || !(self.rules.autoexclude_disks || !fixed || blank || spared));
        if recreated {
            return (DiskState::Recreate, "erased and made again".to_owned());
        }
        let needed = self.needed.iter().find(|(id, _)| ids.contains(&id)).map(|(_, rule)| rule.clone());
        let is_real = disk.disk().is_some_and(|disk| disk.transport != "virtual");
        if let Some(rule) = needed.filter(|_| is_real) {
            let row = format!("preserved, must be there at a recovery: {rule}");
            self.row(&disk.path, Some(disk), "disk", excluded(row));
            return (DiskState::Preserve, format!("must be there, is never written: {rule}"));
        }
        if rule.is_none() && fixed && !spared && self.depended_on(tree) {
            return (DiskState::Ignore, format!("not touched: {NOTHING}"));
        }
        let row = rule.clone().unwrap_or_else(|| format!("{NOTHING}: left untouched"));
        self.row(&disk.path, Some(disk), "disk", excluded(row));
        (DiskState::Ignore, format!("not touched: {}", rule.as_deref().unwrap_or(NOTHING)))
    }

    /// Volumes of a group that are no devices now. Each is named once, whatever it lies on.
    fn unseen_volumes(&mut self, disk: &Device, device: &Device) {
        for volume in lvm::unseen(self.layout, device) {
            if self.result.rows.iter().any(|row| row.what == volume.path) {
                continue;
            }
            let decision = match volume.rule {
                Some(rule) => excluded(rule),
                None => unsupported(format!(
                    "{} is not active, so nothing knows what it holds, and it would be lost when {} is recreated; \
                     activate it (lvchange -ay) or remove it",
                    volume.path, disk.path
                )),
            };
            let decision = self.waived(&volume.path, None, decision);
            self.row(&volume.path, None, "logical volume", decision);
        }
    }

    /// Storage of a kind that a machine has for a reason, although no mount leads to the disk: the reason is told to nobody but the owner.
    /// Whether there was any; its rows say that the disk stays as it is only where its owner says so.
    fn depended_on(&mut self, tree: &[&Device]) -> bool {
        let found: Vec<_> =
            tree.iter().filter_map(|device| Some((*device, other::advice(&device.content)?))).collect();
        for (device, (what, advice)) in &found {
            if let Some(alone) = self.names().rule_of(device) {
                self.row(&device.path, Some(device), "", excluded(alone.rule));
                continue;
            }
            let why = format!(
                "{} ({what}) is neither saved nor made again: {advice}; to leave it alone as it is, name {} in EXCLUDE_COMPONENTS",
                device.path, device.path
            );
            let decision = self.waived(&device.path, Some(device), unsupported(why));
            self.row(&device.path, Some(device), "", decision);
        }
        !found.is_empty()
    }

    /// What lies unused on a disk that is made again: it would be lost.
    fn stored(&mut self, disk: &Device, device: &Device) {
        self.unseen_volumes(disk, device);
        let carrier = &btrfs::carrier(self.layout, device).id;
        let mine =
            |row: &CoverageRow| row.device.as_ref().is_some_and(|id| *id == device.id || id == carrier);
        if let Some(index) = self.left_out.iter().copied().find(|index| mine(&self.result.rows[*index])) {
            let CoverageRow { what, decision, .. } = self.result.rows[index].clone();
            let why = match decision {
                Decision::Kept { rule } => format!(
                    "{} is not to be made again ({rule}), but its disk {} is, for something else that lies on it; remove it from \
                     that setting, so that it comes back with its files, or leave the whole disk out",
                    device.path, disk.path
                ),
                other => {
                    let rule = if let Decision::Excluded { rule } = other { rule } else { String::new() };
                    format!(
                        "{} is not in the backup ({rule}), but its disk {} is made again, so its content would be lost; \
                         change that rule, leave the whole disk out, or, if its content may be lost, name {what} in \
                         COVERAGE_WAIVE",
                        device.path, disk.path
                    )
                }
            };
            self.result.rows[index].decision = self.waived(&what, Some(device), unsupported(why));
            if matches!(&self.result.rows[index].decision, Decision::Excluded { rule } if rule == WAIVED) {
                self.result.mounts.retain(|point| *point != what);
            }
        }
        if self.result.rows.iter().any(mine) {
            return;
        }
        if let Some(rule) = self.names().rule_of_whole(device) {
            return self.part_of_left_alone(disk, device, &rule);
        }
        let is_whole = self.layout.children(&device.id).is_empty()
            && !matches!(
                device.content,
                Content::LvmMember { .. } | Content::MdMember { .. } | Content::BtrfsMember { .. }
            );
        if is_whole && self.cloned().any(|(_, named)| named.is_some_and(|named| named.id == device.id)) {
            let kind = device.filesystem().map_or("", |fs| fs.fs_type()).to_owned();
            return self.row(&device.path, Some(device), &kind, Decision::Cloned);
        }
        let what = match &device.content {
            Content::Empty | Content::Table(_) | Content::BootCode | Content::Swap(_) => return,
            Content::Filesystem(fs) => format!("({}) is not mounted", fs.fs_type()),
            _ if !self.layout.children(&device.id).is_empty() => return,
            Content::LvmMember { .. } if lvm::group_of(self.layout, device).is_some() => return,
            Content::LvmMember { .. } => "(LVM physical volume) is in no volume group".to_owned(),
            Content::MdMember { array } => match md::membership(self.layout, &device.id, array) {
                Membership::Part => return,
                Membership::Former => {
                    let rule = format!("no longer a member of the array {array}, which runs without it");
                    return self.row(&device.path, Some(device), "", excluded(rule));
                }
                Membership::Idle => format!("(member of the software RAID array {array}) is not in use"),
            },
            Content::Luks(_) => "(LUKS container) is not open".to_owned(),
            Content::BtrfsMember { .. } => "(device of a btrfs) is not in use".to_owned(),
            Content::Unknown { what } => format!("({what}) cannot be backed up"),
        };
        let kind = device.filesystem().map_or("", |fs| fs.fs_type()).to_owned();
        let clone = match is_whole {
            true => format!("; to save it block by block, name {} in BLOCKCLONE_SOURCE_DEV", device.path),
            false => String::new(),
        };
        let why = format!(
            "{} {what}: its content would be lost when {} is recreated{clone}",
            device.path, disk.path
        );
        let decision = self.waived(&device.path, Some(device), unsupported(why));
        self.row(&device.path, Some(device), &kind, decision);
    }

    /// What BLOCKCLONE_SOURCE_DEV names, each with the device that it leads to.
    fn cloned(&self) -> impl Iterator<Item = (&String, Option<&Device>)> {
        self.rules.blockclone.iter().map(|name| {
            let real = self.sys.canonicalize(name.as_ref());
            let path = real.map_or_else(|_| name.clone(), |path| path.to_string_lossy().into_owned());
            (name, self.layout.device_by_path(&path))
        })
    }

    /// A device that is named but cannot be saved block by block, or would not come back so.
    pub(super) fn clones(&mut self) {
        let mut refused = Vec::new();
        for (name, device) in self.cloned() {
            let is_saved = |device: &Device| {
                let is = |row: &CoverageRow| {
                    row.device.as_ref() == Some(&device.id) && row.decision == Decision::Cloned
                };
                self.result.rows.iter().any(is)
            };
            let why = match device {
                None => "is not on this machine; correct or remove it".to_owned(),
                Some(device) if is_saved(device) => continue,
                Some(device) if device.disk().is_some() => "is a whole disk; name its partitions".to_owned(),
                Some(device) => {
                    let at = self.layout.mounts_of(&device.id).next().map(|mount| mount.mount_point.as_str());
                    match at {
                        Some(at) => format!(
                            "is mounted at {at}: its blocks do not stand still; unmount it, or remove it from that setting, so that \
                             its files are archived"
                        ),
                        None if !self.layout.children(&device.id).is_empty() => {
                            "is in use: something else lies on it; name that instead".to_owned()
                        }
                        None if !self.result.recreate.iter().any(|disk| {
                            self.layout.disks_below(&device.id).iter().any(|one| one.id == *disk)
                        }) =>
                        {
                            "lies on a disk that a recovery leaves as it is; remove it from that setting"
                                .to_owned()
                        }
                        None => {
                            "is left out by another rule, or in use; remove it from that setting".to_owned()
                        }
                    }
                }
            };
            refused.push((name.clone(), device.map(|device| device.id.clone()), why));
        }
        for (name, id, why) in refused {
            let device = id.and_then(|id| self.layout.device(&id));
            self.row(
                &name,
                device,
                "",
                unsupported(format!("BLOCKCLONE_SOURCE_DEV names {name}, which {why}")),
            );
        }
    }

    /// A part of a group or array that is left alone, on a disk that is made again: nothing of the whole would survive.
    fn part_of_left_alone(&mut self, disk: &Device, device: &Device, rule: &str) {
        // What is mounted from it says so itself.
        let above = self.layout.subtree(&device.id);
        let told = |index: &usize| {
            let id = self.result.rows[*index].device.as_ref();
            id.is_some_and(|id| above.iter().any(|device| device.id == *id))
        };
        if self.left_out.iter().any(told) {
            return;
        }
        let why = format!(
            "{} is a part of what is left alone ({rule}), but its disk {} is made again, so its content would be lost; change \
             that rule, leave the whole disk out, or, if its content may be lost, name {} in COVERAGE_WAIVE",
            device.path, disk.path, device.path
        );
        let decision = self.waived(&device.path, Some(device), unsupported(why));
        self.row(&device.path, Some(device), "", decision);
    }
}
