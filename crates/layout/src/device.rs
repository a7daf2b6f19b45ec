//! Block devices: what they are made of, and what lies on them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    Bytes, DiskIdentity, Filesystem, Lba, LogicalVolume, Luks, LuksMapping, MdArray, SectorSize, Swap,
};

/// Name of a device in the model, made of what stays the same over boots: `disk:serial:QM00001`,
/// `disk:serial:QM00001/2`, `md:UUID`, `lv:VG-UUID/LV-UUID`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub String);

impl NodeId {
    /// The id of a partition of this device.
    pub fn partition(&self, number: u32) -> Self {
        Self(format!("{}/{number}", self.0))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A block device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// Its name in the model.
    pub id: NodeId,
    /// The kernel's name for it when the layout was taken, for people: `/dev/vda1`.
    pub path: String,
    /// Size in bytes.
    pub size: Bytes,
    /// Size of its logical sectors.
    pub sector: SectorSize,
    /// What it is.
    pub kind: Kind,
    /// What lies on it.
    pub content: Content,
}

impl Device {
    /// The disk's properties, where this is a whole disk.
    pub fn disk(&self) -> Option<&Disk> {
        match &self.kind {
            Kind::Disk(disk) => Some(disk),
            _ => None,
        }
    }

    /// The partition's properties, where this is one.
    pub fn partition(&self) -> Option<&Partition> {
        match &self.kind {
            Kind::Partition(partition) => Some(partition),
            _ => None,
        }
    }

    /// The filesystem on it.
    pub fn filesystem(&self) -> Option<&Filesystem> {
        match &self.content {
            Content::Filesystem(filesystem) => Some(filesystem),
            _ => None,
        }
    }

    /// The partition table on it.
    pub fn table(&self) -> Option<&PartitionTable> {
        match &self.content {
            Content::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The devices that it is made of.
    pub fn parents(&self) -> Vec<&NodeId> {
        match &self.kind {
            Kind::Disk(_) => Vec::new(),
            Kind::Partition(partition) => vec![&partition.parent],
            Kind::MdArray(array) => array.members().map(|member| &member.device).collect(),
            Kind::LogicalVolume(volume) => volume.physical_volumes.iter().collect(),
            Kind::LuksMapping(mapping) => vec![&mapping.parent],
        }
    }
}

/// What a block device is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A whole disk.
    Disk(Disk),
    /// A partition of a disk.
    Partition(Partition),
    /// A Linux software RAID array.
    MdArray(MdArray),
    /// A logical volume of LVM.
    LogicalVolume(LogicalVolume),
    /// The open side of a LUKS container.
    LuksMapping(LuksMapping),
}

/// A whole disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// What makes it this disk and no other.
    pub identity: DiskIdentity,
    /// How it is attached, as lsblk says it: `virtio`, `sata`, `nvme`, `usb`, `scsi`; empty when unknown.
    pub transport: String,
    /// Whether the kernel calls the medium removable (USB sticks, card readers).
    pub removable: bool,
    /// Whether the kernel refuses writes.
    pub read_only: bool,
    /// The paths to it, where it is reached over several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multipath: Option<Multipath>,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// The device that carries the table.
    pub parent: NodeId,
    /// Its number, which is kept: `/dev/vda5` is 5.
    pub number: u32,
    /// First sector, in logical sectors of the parent.
    pub start: Lba,
    /// Length, in logical sectors of the parent.
    pub length: Lba,
    /// Its entry in the table.
    pub entry: PartitionEntry,
}

impl Partition {
    /// First sector behind it.
    pub fn end(&self) -> Lba {
        Lba(self.start.0.saturating_add(self.length.0))
    }

    /// Whether it is an MBR extended partition, a mere container for logical ones.
    pub fn is_extended(&self) -> bool {
        matches!(&self.entry, PartitionEntry::Mbr(entry) if entry.role == MbrRole::Extended)
    }

    /// Whether it is an MBR logical partition.
    pub fn is_logical(&self) -> bool {
        matches!(&self.entry, PartitionEntry::Mbr(entry) if entry.role == MbrRole::Logical)
    }
}

/// A partition's entry in its table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartitionEntry {
    /// In a GUID partition table.
    Gpt(GptEntry),
    /// In a DOS partition table.
    Mbr(MbrEntry),
}

/// Entry of a GUID partition table (UEFI specification 2.10, 5.3.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GptEntry {
    /// Partition type GUID, upper case with dashes.
    pub type_guid: String,
    /// Unique partition GUID (`PARTUUID`), upper case with dashes.
    pub guid: String,
    /// Partition name.
    pub name: String,
    /// The 64 attribute bits: bit 0 required, bit 1 no block I/O, bit 2 legacy BIOS bootable, 48 to 63 by type.
    pub attributes: u64,
}

impl GptEntry {
    /// EFI system partition.
    pub const ESP: &str = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
    /// BIOS boot partition, where GRUB keeps its core image.
    pub const BIOS_BOOT: &str = "21686148-6449-6E6F-744E-656564454649";
    /// PowerPC PReP boot partition.
    pub const PREP: &str = "9E1A2D38-C612-4316-AA26-8B49521E5A8B";
}

/// Entry of a DOS partition table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MbrEntry {
    /// Partition type, such as 0x83.
    pub type_id: u8,
    /// Active flag (0x80).
    pub bootable: bool,
    /// Where the entry stands.
    pub role: MbrRole,
}

/// Where an entry of a DOS partition table stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MbrRole {
    /// In the first sector.
    Primary,
    /// In the first sector, and contains the logical ones.
    Extended,
    /// In the chain inside the extended partition.
    Logical,
}

/// What lies on a block device. Exactly one of these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// Nothing that any probe knows, and the places where signatures stand are zero.
    Empty,
    /// A partition table.
    Table(PartitionTable),
    /// A filesystem.
    Filesystem(Filesystem),
    /// Swap space.
    Swap(Swap),
    /// A boot loader's raw code (BIOS boot or PReP partition).
    BootCode,
    /// A physical volume of LVM.
    LvmMember {
        /// UUID of the physical volume.
        uuid: String,
    },
    /// A member of a software RAID array.
    MdMember {
        /// UUID of the array.
        array: String,
    },
    /// A LUKS container.
    Luks(Luks),
    /// A further device of a btrfs, whose first device carries the [`Filesystem`].
    BtrfsMember {
        /// UUID of the filesystem.
        filesystem: String,
        /// Number of the device in it.
        number: u64,
    },
    /// Something that this program cannot make again. `what` names it for people.
    Unknown {
        /// "ZFS member", "data without a known signature".
        what: String,
    },
}

/// A partition table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartitionTable {
    /// GUID partition table.
    Gpt {
        /// Disk GUID, upper case with dashes.
        guid: String,
        /// First usable sector.
        first_lba: Lba,
        /// Last usable sector (itself usable).
        last_lba: Lba,
        /// Number of entries in the table, 128 nearly always.
        entries: u32,
    },
    /// DOS partition table ("MBR").
    Mbr {
        /// Disk signature at offset 440 of the first sector, from which `PARTUUID`s are made.
        signature: u32,
    },
}

/// Several paths to one disk, which is one disk in this model: the paths are no devices of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Multipath {
    /// World-wide identifier of the disk behind the paths, as multipath names it (`mpath-` uuid of device-mapper).
    pub wwid: String,
    /// Kernel names of the paths when the layout was taken, for people: `/dev/sda`.
    pub paths: Vec<String>,
}
