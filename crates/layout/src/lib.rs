//! The storage model: a typed graph of a machine's storage, from disks up to mount points.
//!
//! The saved layout and the present machine are values of the same type, [`Layout`]. This room is pure: it knows
//! nothing of commands, files or clocks. A layout is made by `probe`, kept as versioned JSON ([`Layout::to_json`]),
//! checked ([`Layout::check`]), compared ([`diff`]) and shown ([`Layout::tree`]).
//!
//! Kernel names (`/dev/vda`) are carried for people to read. They are never identity: what a thing is called in
//! this model is its [`NodeId`], which is made of what stays the same when the machine boots again.

mod btrfs;
mod check;
mod data;
mod device;
mod diff;
mod filesystem;
mod identity;
mod luks;
mod lvm;
mod machine;
mod md;
mod rename;
mod svg;
mod tree;
mod units;
mod words;

pub use btrfs::{Btrfs, BtrfsDevice, BtrfsQuota, QuotaGroup, Subvolume};
pub use check::Violation;
pub use data::{Exfat, F2fs, Jfs, Nilfs, Ntfs};
pub use device::{
    Content, Device, Disk, GptEntry, Kind, MbrEntry, MbrRole, Multipath, NodeId, Partition, PartitionEntry,
    PartitionTable,
};
pub use diff::{Change, diff};
pub use filesystem::{Ext, Filesystem, FsKind, Swap, SwapFile, Vfat, Xfs};
pub use identity::DiskIdentity;
pub use luks::{Keyslot, Luks, LuksMapping};
pub use lvm::{
    LogicalVolume, LvmArea, LvmGroupText, LvmRole, LvmSection, LvmTextError, LvmValue, PhysicalVolume,
    VolumeGroup, parse_lvm_text, write_lvm_text,
};
pub use machine::{Firmware, Machine, Mount};
pub use md::{MdArray, MdBitmap, MdMember};
pub use units::{Bytes, Lba, SectorSize};

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Version of the JSON form that this program writes. Older versions stay readable.
/// 2 added what software RAID, LVM, LUKS, btrfs and swap files are made again from.
pub const FORMAT: u32 = 2;

/// The whole storage of one machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Layout {
    /// Version of this form, [`FORMAT`] when written by this program.
    pub format: u32,
    /// Facts of the machine that decide how it boots.
    pub machine: Machine,
    /// Every block device, parents before children.
    pub devices: Vec<Device>,
    /// Volume groups of LVM, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<VolumeGroup>,
    /// What is mounted where, parents before children.
    pub mounts: Vec<Mount>,
    /// Swap space in files, by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub swap_files: Vec<SwapFile>,
    /// Devices whose content comes back block by block: nothing is made on them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub cloned: BTreeSet<NodeId>,
}

/// Why a saved layout cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not JSON, or not a layout.
    #[error("the saved layout cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// Of a version that there never was.
    #[error(
        "the saved layout has format 0, which no rear writes: it is damaged; use another copy of the medium"
    )]
    NoFormat,
    /// Written by a newer program.
    #[error(
        "the saved layout has format {found}, this rear reads formats up to {FORMAT}; use the rear that is on the \
         rescue medium"
    )]
    TooNew {
        /// Its version.
        found: u32,
    },
    /// It contradicts itself.
    #[error("the saved layout is not consistent: {}", join(.0))]
    Inconsistent(Vec<Violation>),
}

fn join(violations: &[Violation]) -> String {
    violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl Layout {
    /// An empty layout of this machine.
    pub fn new(machine: Machine) -> Self {
        Self {
            format: FORMAT,
            machine,
            devices: Vec::new(),
            groups: Vec::new(),
            mounts: Vec::new(),
            swap_files: Vec::new(),
            cloned: BTreeSet::new(),
        }
    }

    /// The JSON form, indented, ending in a newline.
    pub fn to_json(&self) -> Result<String, ReadError> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(text)
    }

    /// Reads the JSON form and checks it for consistency.
    pub fn from_json(text: &str) -> Result<Self, ReadError> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let version: Version = serde_json::from_str(text)?;
        if version.format == 0 {
            return Err(ReadError::NoFormat);
        }
        if version.format > FORMAT {
            return Err(ReadError::TooNew { found: version.format });
        }
        let layout: Self = serde_json::from_str(text)?;
        let violations = layout.check();
        if violations.is_empty() { Ok(layout) } else { Err(ReadError::Inconsistent(violations)) }
    }

    /// The device of this id.
    pub fn device(&self, id: &NodeId) -> Option<&Device> {
        self.devices.iter().find(|device| device.id == *id)
    }

    /// The device with this kernel name, as it was when the layout was taken (`/dev/vda1`).
    pub fn device_by_path(&self, path: &str) -> Option<&Device> {
        self.devices.iter().find(|device| device.path == path)
    }

    /// The volume group of a logical volume. Where a foreign group has the same name, the volume's UUID decides.
    pub fn group_of(&self, volume: &LogicalVolume) -> Option<&VolumeGroup> {
        let named = || self.groups.iter().filter(|group| group.name == volume.group);
        named().find(|group| group.volume_by_uuid(&volume.uuid).is_some()).or_else(|| named().next())
    }

    /// All whole disks.
    pub fn disks(&self) -> impl Iterator<Item = &Device> {
        self.devices.iter().filter(|device| matches!(device.kind, Kind::Disk(_)))
    }

    /// The partitions of a disk (or of another device that carries a table), by number.
    pub fn partitions(&self, parent: &NodeId) -> Vec<&Device> {
        let mut found: Vec<_> = self
            .devices
            .iter()
            .filter(|device| device.partition().is_some_and(|partition| partition.parent == *parent))
            .collect();
        found.sort_by_key(|device| device.partition().map(|partition| partition.number));
        found
    }

    /// Devices that are made directly out of this one.
    pub fn children(&self, id: &NodeId) -> Vec<&Device> {
        self.devices.iter().filter(|device| device.parents().contains(&id)).collect()
    }

    /// The whole disks below a device (itself, if it is one).
    pub fn disks_below(&self, id: &NodeId) -> Vec<&Device> {
        let mut found = Vec::new();
        let mut open = vec![id.clone()];
        let mut seen = Vec::new();
        while let Some(id) = open.pop() {
            if seen.contains(&id) {
                continue;
            }
            if let Some(device) = self.device(&id) {
                if matches!(device.kind, Kind::Disk(_)) {
                    found.push(device);
                }
                open.extend(device.parents().into_iter().cloned());
            }
            seen.push(id);
        }
        found
    }

    /// Everything that lies on a device, itself first, parents before children.
    pub fn subtree(&self, id: &NodeId) -> Vec<&Device> {
        let mut ids = vec![id.clone()];
        let mut found: Vec<&Device> = self.device(id).into_iter().collect();
        // Devices stand parents first, so one pass finds all descendants.
        for device in &self.devices {
            if !ids.contains(&device.id) && device.parents().iter().any(|parent| ids.contains(parent)) {
                ids.push(device.id.clone());
                found.push(device);
            }
        }
        found
    }

    /// The mounts of a device's filesystem.
    pub fn mounts_of<'a>(&'a self, id: &'a NodeId) -> impl Iterator<Item = &'a Mount> {
        self.mounts.iter().filter(move |mount| mount.device == *id)
    }

    /// The swap files in a device's filesystem.
    pub fn swap_files_of<'a>(&'a self, id: &'a NodeId) -> impl Iterator<Item = &'a SwapFile> {
        self.swap_files.iter().filter(move |file| file.device == *id)
    }

    /// The device mounted at exactly this mount point.
    pub fn mounted_at(&self, mount_point: &str) -> Option<&Device> {
        self.mounts
            .iter()
            .rev()
            .find(|mount| mount.mount_point == mount_point)
            .and_then(|mount| self.device(&mount.device))
    }
}
