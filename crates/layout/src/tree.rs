//! The layout as a tree for people (`rear layout`).

use std::fmt::Write;

use crate::{Content, Device, FsKind, Kind, Layout, MbrRole, PartitionEntry, PartitionTable};

impl Layout {
    /// The whole storage, one line a device, children indented below their parents. Ends in a newline.
    pub fn tree(&self) -> String {
        let mut out = String::new();
        for disk in self.disks() {
            self.branch(disk, "", "", &mut out);
        }
        out
    }

    fn branch(&self, device: &Device, lead: &str, rest: &str, out: &mut String) {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{lead}{}", self.line(device));
        let mut children = self.children(&device.id);
        children.sort_by_key(|child| child.partition().map_or(0, |part| part.number));
        for (i, child) in children.iter().enumerate() {
            let (mine, below) =
                if i + 1 == children.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            self.branch(child, &format!("{rest}{mine}"), &format!("{rest}{below}"), out);
        }
    }

    fn line(&self, device: &Device) -> String {
        let mut words = vec![device.path.clone(), device.size.to_string(), kind(&device.kind)];
        if device.sector.0 != 512 && device.disk().is_some() {
            words.push(format!("{}-byte sectors", device.sector.0));
        }
        words.push(content(device));
        let mounts: Vec<_> = self.mounts_of(&device.id).map(|mount| mount.mount_point.as_str()).collect();
        if !mounts.is_empty() {
            words.push(format!("on {}", mounts.join(", ")));
        }
        words.retain(|word| !word.is_empty());
        words.join("  ")
    }
}

fn kind(kind: &Kind) -> String {
    match kind {
        Kind::Disk(disk) => {
            let mut words = vec!["disk".to_owned()];
            words.extend(disk.identity.model.clone());
            words.push(disk.identity.describe());
            if let Some(multipath) = &disk.multipath {
                words.push(format!("over {} paths", multipath.paths.len()));
            }
            if disk.read_only {
                words.push("read-only".to_owned());
            }
            words.join(" ")
        }
        Kind::Partition(part) => match &part.entry {
            PartitionEntry::Gpt(entry) if entry.name.is_empty() => String::new(),
            PartitionEntry::Gpt(entry) => format!("'{}'", entry.name),
            PartitionEntry::Mbr(entry) => {
                let role = match entry.role {
                    MbrRole::Primary => "primary",
                    MbrRole::Extended => "extended",
                    MbrRole::Logical => "logical",
                };
                format!("{role} 0x{:02x}{}", entry.type_id, if entry.bootable { " active" } else { "" })
            }
        },
        Kind::MdArray(array) => format!("md {} {}", array.level, array.name),
        Kind::LogicalVolume(volume) => format!("logical volume {}/{}", volume.group, volume.name),
        Kind::LuksMapping(mapping) => format!("opened as {}", mapping.name),
    }
}

fn content(device: &Device) -> String {
    match &device.content {
        Content::Empty if device.partition().is_some_and(crate::Partition::is_extended) => String::new(),
        Content::Empty => "empty".to_owned(),
        Content::Table(PartitionTable::Gpt { guid, .. }) => format!("gpt {guid}"),
        Content::Table(PartitionTable::Mbr { signature }) => format!("mbr 0x{signature:08x}"),
        Content::Filesystem(fs) => {
            let mut words = vec![match &fs.kind {
                FsKind::Vfat(vfat) => format!("vfat (FAT{})", vfat.bits),
                _ => fs.fs_type().to_owned(),
            }];
            if !fs.label.is_empty() {
                words.push(format!("'{}'", fs.label));
            }
            words.push(fs.uuid.clone());
            if let Some(used) = fs.used {
                words.push(format!("({used} used)"));
            }
            words.join(" ")
        }
        Content::Swap(swap) => format!("swap {}", swap.uuid),
        Content::BootCode => "boot code".to_owned(),
        Content::LvmMember { uuid } => format!("LVM physical volume {uuid}"),
        Content::MdMember { array } => format!("member of md array {array}"),
        Content::Luks(luks) => format!("LUKS{} {}", luks.version, luks.uuid),
        Content::BtrfsMember { filesystem, number } => format!("device {number} of btrfs {filesystem}"),
        Content::Unknown { what } => format!("UNKNOWN: {what}"),
    }
}
