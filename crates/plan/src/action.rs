//! The steps of a plan: typed actions, each with its danger, its description and its commands.

use layout::{
    Bytes, Content, Filesystem, FsKind, NodeId, Partition, PartitionEntry, PartitionTable, SectorSize, Swap,
};
use serde::{Deserialize, Serialize};

use crate::{Command, ext, swap, table, vfat, xfs};

/// A device on a disk of the plan, named by what stays the same: its saved disk and its number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target {
    /// Id of the saved device.
    pub saved: NodeId,
    /// Id of the saved disk on which it lies.
    pub disk: NodeId,
    /// Number of the partition; `None` for the whole disk.
    pub partition: Option<u32>,
    /// Its name for people, as the kernel will probably call it. Whoever writes asks `/sys` instead.
    pub shown: String,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Removes all signatures from a disk: those of what lies on its partitions, then its own; then zeroes its
    /// first and last MiB.
    WipeDisk {
        /// The disk.
        target: Target,
    },
    /// Writes a partition table with all its partitions.
    WriteTable {
        /// The disk.
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
    /// Zeroes the first and the last MiB of a partition that was empty or that holds boot code only, so
    /// that nothing of the disk's earlier life is seen there.
    ClearPartition {
        /// The partition.
        target: Target,
        /// Its size.
        size: Bytes,
    },
    /// Makes a filesystem.
    MakeFilesystem {
        /// Where.
        target: Target,
        /// What.
        filesystem: Filesystem,
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
        self.action.commands(&self.action.target().shown)
    }
}

impl Action {
    /// The device that it works on.
    pub fn target(&self) -> &Target {
        match self {
            Self::WipeDisk { target }
            | Self::WriteTable { target, .. }
            | Self::ClearPartition { target, .. }
            | Self::MakeFilesystem { target, .. }
            | Self::MakeSwap { target, .. }
            | Self::Mount { target, .. } => target,
        }
    }

    /// Whether it writes to its device by itself (a mount does not count).
    pub fn writes(&self) -> bool {
        !matches!(self, Self::Mount { .. })
    }

    /// What it may do to data.
    pub fn danger(&self) -> Danger {
        match self {
            Self::WipeDisk { .. } => Danger::Erases,
            Self::Mount { .. } => Danger::Harmless,
            _ => Danger::Changes,
        }
    }

    /// The programs to run when the device is called `device`. What has no command (zeroing, mounting) is
    /// done by system calls.
    pub fn commands(&self, device: &str) -> Vec<Command> {
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
            Self::ClearPartition { .. } | Self::Mount { .. } => Vec::new(),
            Self::MakeFilesystem { filesystem, .. } => match &filesystem.kind {
                FsKind::Ext(kind) => ext::commands(filesystem, kind, device),
                FsKind::Xfs(kind) => xfs::commands(filesystem, kind, device),
                FsKind::Vfat(kind) => vfat::commands(filesystem, kind, device),
                // Refused when the plan is made.
                FsKind::Btrfs(_) | FsKind::Other { .. } => Vec::new(),
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
            Self::ClearPartition { size, .. } => format!("clear {shown} ({size})"),
            Self::MakeFilesystem { filesystem, .. } => {
                let text = crate::describe::content(&Content::Filesystem(filesystem.clone()));
                let uuid = if filesystem.uuid.is_empty() {
                    String::new()
                } else {
                    format!(" with UUID {}", filesystem.uuid)
                };
                format!("make {text} on {shown}{uuid}")
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
