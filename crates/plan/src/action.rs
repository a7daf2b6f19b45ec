//! The steps of a plan: typed actions, each with its danger, its description and its commands.

use layout::{
    Bytes, Content, Filesystem, FsKind, Luks, MdArray, Partition, PartitionEntry, PartitionTable,
    PhysicalVolume, SectorSize, Swap,
};
use serde::{Deserialize, Serialize};

use crate::{
    Command, Target, btrfs, exfat, ext, f2fs, jfs, luks, lvm, md, nilfs, ntfs, swap, table, vfat, xfs,
};

/// Where a btrfs is mounted, from its top, while its subvolumes are made.
pub const SUBVOLUMES_AT: &str = "/run/rear/btrfs";

/// What a step does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Stops what the kernel has assembled from a disk (arrays, volumes, open containers), removes all signatures:
    /// those of what lies on its partitions, then its own; then zeroes its first and last MiB.
    WipeDisk {
        /// The disk.
        target: Target,
    },
    /// Writes a partition table with all its partitions.
    WriteTable {
        /// The disk, or the array that carries it.
        target: Target,
        /// The table as it was.
        table: PartitionTable,
        /// Its partitions as they were.
        partitions: Vec<Partition>,
        /// Logical sector size of the disk.
        sector: SectorSize,
        /// Size of the present disk.
        size: Bytes,
        /// Whether the original had exactly this size.
        same_size: bool,
    },
    /// Zeroes the first and the last MiB of a device that was empty, that holds boot code only, or that something
    /// larger is to be made of, so that nothing of the disk's earlier life is seen there.
    ClearDevice {
        /// The device.
        target: Target,
        /// Its size.
        size: Bytes,
    },
    /// Makes a software RAID array.
    MakeArray {
        /// The array.
        target: Target,
        /// As it was.
        array: MdArray,
        /// Its members by slot; `None` where one is missing.
        slots: Vec<Option<Target>>,
        /// Members that stand by.
        spares: Vec<Target>,
    },
    /// Makes a physical volume of LVM.
    MakePhysicalVolume {
        /// Where.
        target: Target,
        /// As it was.
        volume: PhysicalVolume,
        /// Name of its group.
        group: String,
        /// The group's metadata as LVM's text, which says where its extents begin.
        metadata: String,
    },
    /// Gives a volume group its metadata.
    RestoreGroup {
        /// The group.
        target: Target,
        /// Its name.
        group: String,
        /// What it is given, as LVM's text.
        metadata: String,
        /// Whether this is the group as it was; else one with the hidden volumes of thin pools, caches and RAID
        /// laid open, so that they can be prepared.
        complete: bool,
    },
    /// Makes the devices of volumes appear.
    ActivateVolumes {
        /// The group.
        target: Target,
        /// Its name.
        group: String,
        /// Names of the volumes; empty for all.
        volumes: Vec<String>,
    },
    /// Makes the devices of a group's volumes disappear.
    DeactivateGroup {
        /// The group.
        target: Target,
        /// Its name.
        group: String,
    },
    /// Writes the metadata of a thin pool with its (still empty) volumes.
    RestorePoolMetadata {
        /// The volume that holds the metadata.
        target: Target,
        /// Volume group and pool, for people.
        pool: String,
        /// What `thin_restore` reads.
        xml: String,
    },
    /// Makes a LUKS container: from its sealed header where the recovery point has it, else with a new passphrase.
    MakeLuks {
        /// Where.
        target: Target,
        /// As it was.
        luks: Luks,
    },
    /// Opens a LUKS container.
    OpenLuks {
        /// The open side.
        target: Target,
        /// The container.
        container: Target,
        /// UUID of the container.
        uuid: String,
        /// Name below `/dev/mapper`.
        name: String,
        /// Persistent flags to write into its header, because it was made anew.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        flags: Vec<String>,
    },
    /// Makes a filesystem.
    MakeFilesystem {
        /// Where.
        target: Target,
        /// What.
        filesystem: Filesystem,
        /// Further devices of it (btrfs), in their order.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        others: Vec<Target>,
    },
    /// Makes the subvolumes of a btrfs, with their quotas and the default one.
    MakeSubvolumes {
        /// The filesystem's first device.
        target: Target,
        /// As it was.
        btrfs: Box<layout::Btrfs>,
    },
    /// Makes swap space.
    MakeSwap {
        /// Where.
        target: Target,
        /// What.
        swap: Swap,
    },
    /// Mounts a filesystem below the target directory; missing directories are made.
    Mount {
        /// What.
        target: Target,
        /// Where it belongs in the recovered system.
        mount_point: String,
        /// Where it is mounted now.
        directory: String,
        /// Type, as the kernel names it.
        fs_type: String,
        /// Options that decide how files look (not those that restrict).
        options: Vec<String>,
    },
}

/// What a step may do to data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Danger {
    /// What was there before is lost.
    Erases,
    /// Something is written, nothing of the disk's earlier content is left to lose.
    Changes,
    /// Nothing on a disk changes.
    Harmless,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Its number, from 1.
    pub id: u32,
    /// What it does.
    pub action: Action,
    /// Why it is needed, for people.
    pub why: String,
    /// What it may do to data.
    pub danger: Danger,
}

impl Step {
    /// One sentence without a full stop: "make ext4 'root' on /dev/vda2 …".
    pub fn describe(&self) -> String {
        self.action.describe()
    }

    /// The commands, with the device's name as the kernel will probably give it.
    pub fn commands(&self) -> Vec<Command> {
        self.action.commands(&|target| target.shown.clone())
    }
}

impl Action {
    /// The device that it works on.
    pub fn target(&self) -> &Target {
        match self {
            Self::WipeDisk { target }
            | Self::WriteTable { target, .. }
            | Self::ClearDevice { target, .. }
            | Self::MakeArray { target, .. }
            | Self::MakePhysicalVolume { target, .. }
            | Self::RestoreGroup { target, .. }
            | Self::ActivateVolumes { target, .. }
            | Self::DeactivateGroup { target, .. }
            | Self::RestorePoolMetadata { target, .. }
            | Self::MakeLuks { target, .. }
            | Self::OpenLuks { target, .. }
            | Self::MakeSubvolumes { target, .. }
            | Self::MakeFilesystem { target, .. }
            | Self::MakeSwap { target, .. }
            | Self::Mount { target, .. } => target,
        }
    }

    /// All devices that it works with, the one that it works on first.
    pub fn devices(&self) -> Vec<&Target> {
        let mut all = vec![self.target()];
        match self {
            Self::MakeArray { slots, spares, .. } => all.extend(slots.iter().flatten().chain(spares)),
            Self::MakeFilesystem { others, .. } => all.extend(others),
            Self::OpenLuks { container, .. } => all.push(container),
            _ => {}
        }
        all
    }

    /// Whether it writes to its device by itself (a mount does not count).
    pub fn writes(&self) -> bool {
        !matches!(self, Self::Mount { .. })
    }

    /// What it may do to data.
    pub fn danger(&self) -> Danger {
        match self {
            Self::WipeDisk { .. } => Danger::Erases,
            Self::Mount { .. }
            | Self::ActivateVolumes { .. }
            | Self::DeactivateGroup { .. }
            | Self::OpenLuks { .. } => Danger::Harmless,
            _ => Danger::Changes,
        }
    }

    /// The programs to run when the kernel calls a target what `nodes` says. What has no command (zeroing,
    /// mounting) is done by system calls.
    pub fn commands(&self, nodes: &dyn Fn(&Target) -> String) -> Vec<Command> {
        let device = nodes(self.target());
        let device = device.as_str();
        match self {
            Self::WipeDisk { .. } => {
                vec![
                    Command::new("wipefs", ["--all", "--force", "--quiet", device]),
                    Command::new("blockdev", ["--rereadpt", device]),
                ]
            }
            Self::WriteTable { table, partitions, sector, size, same_size, .. } => {
                table::commands(table, partitions, *sector, *size, *same_size, device)
            }
            Self::ClearDevice { .. } | Self::Mount { .. } => Vec::new(),
            Self::MakeArray { array, slots, spares, .. } => md::commands(array, slots, spares, device, nodes),
            Self::MakePhysicalVolume { volume, group, metadata, .. } => {
                lvm::physical_volume(volume, group, metadata, device)
            }
            Self::RestoreGroup { group, metadata, .. } => lvm::restore(group, metadata),
            Self::ActivateVolumes { group, volumes, .. } => lvm::activate(group, volumes),
            Self::DeactivateGroup { group, .. } => lvm::deactivate(group),
            Self::RestorePoolMetadata { xml, .. } => lvm::pool_metadata(xml, device),
            // With a key, which is not part of a plan: see `luks`.
            Self::MakeLuks { luks, .. } => luks::commands(luks, device),
            Self::OpenLuks { container, name, flags, .. } => luks::open(&nodes(container), name, flags),
            Self::MakeSubvolumes { btrfs, .. } => btrfs::subvolumes(btrfs, SUBVOLUMES_AT),
            Self::MakeFilesystem { filesystem, others, .. } => match &filesystem.kind {
                FsKind::Ext(kind) => ext::commands(filesystem, kind, device),
                FsKind::Xfs(kind) => xfs::commands(filesystem, kind, device),
                FsKind::Vfat(kind) => vfat::commands(filesystem, kind, device),
                FsKind::F2fs(kind) => f2fs::commands(filesystem, kind, device),
                FsKind::Jfs(kind) => jfs::commands(filesystem, kind, device),
                FsKind::Ntfs(kind) => ntfs::commands(filesystem, kind, device),
                FsKind::Exfat(kind) => exfat::commands(filesystem, kind, device),
                FsKind::Nilfs(kind) => nilfs::commands(filesystem, kind, device),
                FsKind::Btrfs(kind) => {
                    let others: Vec<String> = others.iter().map(nodes).collect();
                    btrfs::commands(filesystem, kind, device, &others)
                }
                // Refused when the plan is made.
                FsKind::Other { .. } => Vec::new(),
            },
            Self::MakeSwap { swap, .. } => swap::commands(swap, device),
        }
    }

    /// One sentence without a full stop.
    pub fn describe(&self) -> String {
        let shown = &self.target().shown;
        match self {
            Self::WipeDisk { .. } => format!("erase all signatures and the first and last MiB of {shown}"),
            Self::WriteTable { table, partitions, .. } => {
                let kind = match table {
                    PartitionTable::Gpt { guid, .. } => format!("the GPT {guid}"),
                    PartitionTable::Mbr { signature } => format!("the MBR 0x{signature:08x}"),
                };
                let numbers: Vec<_> = partitions.iter().map(|part| part.number.to_string()).collect();
                match numbers.len() {
                    0 => format!("write {kind} without partitions to {shown}"),
                    1 => format!("write {kind} with partition {} to {shown}", numbers.join(", ")),
                    _ => format!("write {kind} with partitions {} to {shown}", numbers.join(", ")),
                }
            }
            Self::ClearDevice { size, .. } => format!("clear {shown} ({size})"),
            Self::MakeArray { array, slots, spares, .. } => md::describe(array, slots, spares, shown),
            Self::MakePhysicalVolume { group, volume, .. } => {
                format!("make the physical volume {} of the volume group {group} on {shown}", volume.uuid)
            }
            Self::RestoreGroup { group, complete: true, .. } => {
                format!("give the volume group {group} its volumes")
            }
            Self::RestoreGroup { group, .. } => {
                format!("lay open the hidden volumes of the volume group {group}")
            }
            Self::ActivateVolumes { group, volumes, .. } if volumes.is_empty() => {
                format!("activate the volume group {group}")
            }
            Self::ActivateVolumes { group, volumes, .. } => {
                format!("activate {} of the volume group {group}", volumes.join(", "))
            }
            Self::DeactivateGroup { group, .. } => format!("deactivate the volume group {group}"),
            Self::RestorePoolMetadata { pool, .. } => format!("write the metadata of the thin pool {pool}"),
            Self::MakeLuks { luks, .. } => luks::describe(luks, shown),
            Self::OpenLuks { container, name, .. } => {
                format!("open the LUKS container on {} as {name}", container.shown)
            }
            Self::MakeSubvolumes { btrfs, .. } => {
                format!("make {} subvolume(s) of the btrfs on {shown}", btrfs.subvolumes.len())
            }
            Self::MakeFilesystem { filesystem, others, .. } => {
                let text = crate::describe::content(&Content::Filesystem(filesystem.clone()));
                let uuid = if filesystem.uuid.is_empty() {
                    String::new()
                } else {
                    format!(" with UUID {}", filesystem.uuid)
                };
                let more: String = others.iter().map(|other| format!(", {}", other.shown)).collect();
                format!("make {text} on {shown}{more}{uuid}")
            }
            Self::MakeSwap { swap, .. } => {
                let label = if swap.label.is_empty() { String::new() } else { format!(" '{}'", swap.label) };
                let uuid =
                    if swap.uuid.is_empty() { String::new() } else { format!(" with UUID {}", swap.uuid) };
                format!("make swap{label} on {shown}{uuid}")
            }
            Self::Mount { directory, options, fs_type, .. } => {
                let options =
                    if options.is_empty() { String::new() } else { format!(" with {}", options.join(",")) };
                format!("mount {shown} ({fs_type}) at {directory}{options}")
            }
        }
    }
}

/// Whether an entry of a table says that the partition holds nothing but a boot loader's code.
pub(crate) fn is_boot_code(entry: &PartitionEntry) -> bool {
    match entry {
        PartitionEntry::Gpt(entry) => {
            [layout::GptEntry::BIOS_BOOT, layout::GptEntry::PREP].contains(&entry.type_guid.as_str())
        }
        PartitionEntry::Mbr(entry) => entry.type_id == 0x41,
    }
}
