//! What stays in the machine and would be taken for a part of what is recovered: a disk that was added to a volume group
//! or an array after the backup, the old disk beside its replacement, a copy, another machine's group of the same name.
//!
//! LVM believes the metadata with the highest number, RAID whichever member comes first, `mount` any filesystem with the
//! UUID. Nothing of this shows while the disks are made: it shows at the next boot. Decides nothing, and touches nothing.

use std::collections::{BTreeMap, BTreeSet};

use layout::{Content, Device, Kind, Layout, NodeId};

use crate::describe::{content, disk as name};
use crate::{lvm, own};

/// One sentence without a full stop for each disk that stays and must not. `taken` are the present disks that are
/// recreated.
pub(crate) fn clashes(saved: &Layout, present: &Layout, taken: &BTreeSet<&NodeId>) -> Vec<String> {
    let own = Own::of(saved);
    let mut found: Vec<String> = Vec::new();
    for disk in present.disks().filter(|disk| !taken.contains(&disk.id)) {
        let reason = present.subtree(&disk.id).into_iter().find_map(|device| own.reason(present, device));
        found.extend(reason.map(|why| format!("{} ({}): {why}", name(disk), disk.id)));
    }
    found
}

/// The names that the recovered machine will have.
struct Own<'a> {
    /// Identifiers of contents, in lower case, with what they name.
    contents: BTreeMap<String, &'a Content>,
    /// Names and UUIDs of volume groups.
    groups: BTreeSet<&'a str>,
    /// Names of device-mapper devices.
    mapped: BTreeSet<String>,
}

impl<'a> Own<'a> {
    fn of(saved: &'a Layout) -> Self {
        let contents = saved.devices.iter().filter_map(|device| {
            let uuid = own::uuid(&device.content).filter(|uuid| says_something(uuid))?;
            Some((uuid.to_ascii_lowercase(), &device.content))
        });
        let mapped = saved.devices.iter().filter_map(|device| match &device.kind {
            Kind::LuksMapping(mapping) => Some(mapping.name.clone()),
            Kind::LogicalVolume(volume) => Some(lvm::mapped(&volume.group, &volume.name)),
            _ => None,
        });
        let groups = saved.groups.iter().flat_map(|group| [group.name.as_str(), group.uuid.as_str()]);
        Self { contents: contents.collect(), groups: groups.collect(), mapped: mapped.collect() }
    }

    /// Why a device that stays would be taken for one of the recovered machine.
    fn reason(&self, present: &Layout, device: &Device) -> Option<String> {
        let path = &device.path;
        if let Content::LvmMember { uuid } = &device.content {
            let mut groups = present
                .groups
                .iter()
                .filter(|group| group.physical_volumes.iter().any(|volume| volume.uuid == *uuid));
            if let Some(group) = groups.find(|group| {
                self.groups.contains(group.name.as_str()) || self.groups.contains(group.uuid.as_str())
            }) {
                return Some(format!(
                    "{path} is a part of a volume group {}, which is made again",
                    group.name
                ));
            }
        }
        if let Some(own) =
            own::uuid(&device.content).and_then(|uuid| self.contents.get(&uuid.to_ascii_lowercase()))
        {
            let (is, uuid) = (content(&device.content), own::uuid(own).unwrap_or_default());
            return Some(match own {
                Content::MdMember { .. } | Content::BtrfsMember { .. } => {
                    format!("{path} is a {is} with the UUID {uuid}, which is made again without it")
                }
                _ => format!("{path} ({is}) has the UUID {uuid} of something that is made again"),
            });
        }
        if let Content::Unknown { what } = &device.content {
            // A copy of a btrfs is told by its text only.
            let copied = |(uuid, own): &(&String, &&Content)| {
                matches!(own, Content::Filesystem(_) | Content::BtrfsMember { .. })
                    && what.contains(uuid.as_str())
            };
            if self.contents.iter().any(|pair| copied(&pair)) {
                return Some(format!("{path} is a {what}, and the same is made again"));
            }
        }
        let open = match &device.kind {
            Kind::LuksMapping(mapping) => Some(&mapping.name),
            Kind::LogicalVolume(volume) if volume.group.is_empty() => Some(&volume.name),
            _ => None,
        };
        open.filter(|name| self.mapped.contains(*name)).map(|name| {
            format!("{path} is called {name} now, as a device will be that is made again: close it (cryptsetup close)")
        })
    }
}

/// Whether an identifier tells one thing from another: not where it was set to zeroes.
fn says_something(uuid: &str) -> bool {
    uuid.chars().any(|c| c.is_ascii_alphanumeric() && c != '0')
}
