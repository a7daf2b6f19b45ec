//! What of a layout cannot be made again, and why. Makes nothing.

use layout::{Content, Device, FsKind, Kind};

use super::Maker;
use crate::{btrfs, exfat, ext, f2fs, jfs, luks, lvm, md, nilfs, ntfs, swap, table, vfat, xfs};

impl Maker<'_> {
    /// All that cannot be recreated, as sentences that name the device.
    pub(super) fn refused(&self) -> Vec<String> {
        let mut refused = Vec::new();
        let disks = self.saved.disks().filter(|disk| disk.content != Content::Empty);
        for device in disks.flat_map(|disk| self.saved.subtree(&disk.id)) {
            let kind = match &device.kind {
                Kind::Disk(_) | Kind::Partition(_) => None,
                Kind::LuksMapping(mapping) => luks::refuse_mapping(self.saved, device, mapping),
                Kind::MdArray(array) => md::refuse(self.saved, array),
                Kind::LogicalVolume(volume) => match self.saved.group_of(volume) {
                    Some(group) => lvm::refuse(self.saved, group),
                    None => Some("it is a device-mapper volume that no known tool makes".into()),
                },
            };
            let why = kind.or_else(|| self.refuse_content(device));
            if let Some(why) = why {
                let sentence = format!("{}: {why}", device.path);
                if !refused.contains(&sentence) {
                    refused.push(sentence);
                }
            }
        }
        for group in &self.saved.groups {
            refused.extend(lvm::refuse(self.saved, group).map(|why| format!("{}: {why}", group.name)));
        }
        for file in &self.saved.swap_files {
            refused.extend(swap::refuse(&file.swap).map(|why| format!("{}: {why}", file.path)));
        }
        refused.dedup();
        refused
    }

    fn refuse_content(&self, device: &Device) -> Option<String> {
        if self.saved.cloned.contains(&device.id) {
            return None;
        }
        let too_large = |size: layout::Bytes| {
            (size > device.size).then(|| {
                format!(
                    "its filesystem has {} bytes, the device only {}: it is damaged",
                    size.0, device.size.0
                )
            })
        };
        match &device.content {
            Content::Empty => None,
            Content::BootCode => None,
            Content::Table(_) if !matches!(device.kind, Kind::Disk(_) | Kind::MdArray(_)) => {
                Some("a partition table inside a partition or volume cannot be recreated".into())
            }
            Content::Table(kind) => table::refuse(kind, &self.partitions(device), device.sector),
            Content::Filesystem(fs) => match &fs.kind {
                FsKind::Ext(kind) => ext::refuse(fs, kind).or_else(|| too_large(ext::size(kind))),
                FsKind::Xfs(kind) => xfs::refuse(fs, kind).or_else(|| too_large(xfs::size(kind))),
                FsKind::Vfat(kind) => vfat::refuse(fs, kind).or_else(|| too_large(vfat::size(kind))),
                FsKind::F2fs(kind) => f2fs::refuse(fs, kind).or_else(|| too_large(f2fs::size(kind))),
                FsKind::Jfs(kind) => jfs::refuse(fs, kind).or_else(|| too_large(jfs::size(kind))),
                FsKind::Ntfs(kind) => ntfs::refuse(fs, kind).or_else(|| too_large(ntfs::size(kind))),
                FsKind::Exfat(kind) => {
                    exfat::refuse(device, fs, kind).or_else(|| too_large(exfat::size(kind)))
                }
                FsKind::Nilfs(kind) => {
                    nilfs::refuse(device, fs, kind).or_else(|| too_large(nilfs::size(kind)))
                }
                FsKind::Btrfs(kind) => btrfs::refuse(fs, kind),
                FsKind::Other { name } => Some(format!("the filesystem {name} cannot be recreated")),
            },
            Content::Swap(kind) => swap::refuse(kind),
            Content::LvmMember { uuid } => {
                let known = self.saved.groups.iter().flat_map(|group| &group.physical_volumes);
                if known.clone().any(|volume| volume.uuid == *uuid) {
                    None
                } else {
                    Some("it is a physical volume of no known volume group".into())
                }
            }
            Content::MdMember { array } => {
                let made = |device: &Device| matches!(&device.kind, Kind::MdArray(md) if md.uuid == *array);
                if self.saved.devices.iter().any(made) {
                    None
                } else {
                    Some(format!("it is a member of the array {array}, which is not running"))
                }
            }
            Content::BtrfsMember { filesystem, .. } => {
                let made = |device: &Device| device.filesystem().is_some_and(|fs| fs.uuid == *filesystem);
                if self.saved.devices.iter().any(made) {
                    None
                } else {
                    Some(format!("it is a device of the btrfs {filesystem}, whose first device is not here"))
                }
            }
            Content::Luks(kind) => luks::refuse(kind),
            Content::Unknown { what } => Some(format!("{what} cannot be recreated")),
        }
    }
}
