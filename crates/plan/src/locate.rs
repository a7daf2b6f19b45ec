//! Which present device is a saved one, as it is: by what lies on it and by the identifiers of its partition, array or
//! volume. Kernel names say nothing, and two devices that fit are none.

use std::mem::discriminant;

use layout::{Content, Device, Kind, Layout, NodeId, PartitionEntry, PartitionTable};

use crate::own;

/// The present device that is this saved one.
///
/// # Errors
/// A sentence without a full stop that says what is not here, down to the disk where that is known.
pub fn locate<'a>(saved: &Layout, present: &'a Layout, id: &NodeId) -> Result<&'a Device, String> {
    let device = saved.device(id).ok_or_else(|| format!("{id} is no part of the saved layout"))?;
    match &device.kind {
        Kind::Disk(_) | Kind::Partition(_) => leaf(saved, present, device),
        Kind::MdArray(array) => {
            let same = |other: &&Device| matches!(&other.kind, Kind::MdArray(now) if now.uuid == array.uuid);
            let what = || format!("the array {} ({}) does not run", array.uuid, device.path);
            present.devices.iter().find(same).ok_or_else(|| because(saved, present, device, what()))
        }
        Kind::LogicalVolume(volume) => {
            let what = || match volume.group.as_str() {
                "" => format!("the device-mapper volume {} is not here", volume.name),
                group => format!("the volume {} of the volume group {group} is not active", volume.name),
            };
            present.device(id).ok_or_else(|| because(saved, present, device, what()))
        }
        Kind::LuksMapping(mapping) => {
            let container = locate(saved, present, &mapping.parent)?;
            let open =
                |other: &&Device| matches!(&other.kind, Kind::LuksMapping(now) if now.parent == container.id);
            let what = || format!("the LUKS container on {} is not open", container.path);
            present.devices.iter().find(open).ok_or_else(what)
        }
    }
}

/// Adds which of its parts are not here either.
fn because(saved: &Layout, present: &Layout, device: &Device, what: String) -> String {
    let mut reasons: Vec<String> = Vec::new();
    for parent in device.parents() {
        // Members of an array all carry the same identifier; that one is here says nothing about another.
        let content = saved.device(parent).map(|device| &device.content);
        let reason = match content {
            Some(Content::MdMember { array }) => {
                let here = |other: &Device| matches!(&other.content, Content::MdMember { array: uuid } if uuid == array);
                (!present.devices.iter().any(here)).then(|| "none of its members is here".to_owned())
            }
            _ => locate(saved, present, parent).err(),
        };
        reasons.extend(reason.filter(|reason| !reasons.contains(reason)));
    }
    if reasons.is_empty() { what } else { format!("{what}: {}", reasons.join(", ")) }
}

/// A disk or partition, by its content; where that has no identifier, by its place in its table.
fn leaf<'a>(saved: &Layout, present: &'a Layout, device: &Device) -> Result<&'a Device, String> {
    let (uuid, entry) = (own::uuid(&device.content), entry(saved, device));
    let plain =
        present.devices.iter().filter(|other| matches!(other.kind, Kind::Disk(_) | Kind::Partition(_)));
    let same_content = |other: &Device| {
        discriminant(&other.content) == discriminant(&device.content)
            && own::uuid(&other.content).zip(uuid).is_some_and(|(now, was)| now.eq_ignore_ascii_case(was))
    };
    let same_entry = |other: &Device| entry.is_some() && self::entry(present, other) == entry;
    let same_disk = |other: &Device| {
        let (was, now) = (saved.disks_below(&device.id), present.disks_below(&other.id));
        was.iter().any(|was| {
            now.iter().any(|now| {
                was.disk().zip(now.disk()).is_some_and(|(was, now)| was.identity.is_same_disk(&now.identity))
            })
        })
    };
    let mut found: Vec<&Device> = match (uuid, &entry) {
        (Some(_), _) => plain.filter(|other| same_content(other)).collect(),
        (None, Some(_)) => plain.filter(|other| same_entry(other)).collect(),
        (None, None) => plain.filter(|other| same_disk(other)).collect(),
    };
    // Clones of a disk have all identifiers of its contents.
    let narrower: [&dyn Fn(&Device) -> bool; 2] = [&same_entry, &same_disk];
    for fits in narrower {
        if found.len() > 1 && found.iter().any(|other| fits(other)) {
            found.retain(|other| fits(other));
        }
    }
    match found.as_slice() {
        [one] => Ok(one),
        [] => Err(format!(
            "no disk or partition here {} ({} when it was saved)",
            known_by(device, uuid),
            device.path
        )),
        several => {
            let names: Vec<&str> = several.iter().map(|device| device.path.as_str()).collect();
            Err(format!("{} alike: each {}", names.join(" and "), known_by(device, uuid)))
        }
    }
}

fn known_by(device: &Device, uuid: Option<&str>) -> String {
    match (&device.content, uuid) {
        (Content::LvmMember { .. }, Some(uuid)) => format!("is the physical volume {uuid}"),
        (Content::MdMember { .. }, Some(uuid)) => format!("is a member of the array {uuid}"),
        (Content::Luks(_), Some(uuid)) => format!("is the LUKS container {uuid}"),
        (Content::BtrfsMember { .. }, Some(uuid)) => format!("belongs to the btrfs {uuid}"),
        (_, Some(uuid)) => format!("has the UUID {uuid}"),
        (_, None) => "stands at its place in its partition table".to_owned(),
    }
}

/// What names the entry of a partition, or the table of a disk, in all the world.
fn entry(layout: &Layout, device: &Device) -> Option<(String, u32)> {
    if let Some(table) = device.table() {
        return match table {
            PartitionTable::Gpt { guid, .. } => Some((guid.to_ascii_lowercase(), 0)),
            PartitionTable::Mbr { signature } => (*signature != 0).then(|| (format!("{signature:08x}"), 0)),
        };
    }
    let partition = device.partition()?;
    match &partition.entry {
        PartitionEntry::Gpt(entry) => Some((entry.guid.to_ascii_lowercase(), 0)),
        PartitionEntry::Mbr(_) => match layout.device(&partition.parent)?.table()? {
            PartitionTable::Mbr { signature } if *signature != 0 => {
                Some((format!("{signature:08x}"), partition.number))
            }
            _ => None,
        },
    }
}
