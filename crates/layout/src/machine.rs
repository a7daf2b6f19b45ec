//! Facts of the machine around its disks.

use serde::{Deserialize, Serialize};

use crate::NodeId;

/// How the firmware started the running system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Firmware {
    /// PC BIOS (or UEFI in its compatibility mode): boot code in the first sector.
    Bios,
    /// UEFI: `/sys/firmware/efi` exists.
    Uefi,
}

/// What is known of the machine itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Host name.
    pub hostname: String,
    /// How it was booted.
    pub firmware: Firmware,
    /// Kernel's name of the architecture (`uname -m`), such as `x86_64`.
    pub architecture: String,
    /// Name and version of the distribution for people (`PRETTY_NAME` of os-release).
    pub system: String,
}

/// A mounted filesystem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Device that carries the filesystem.
    pub device: NodeId,
    /// Where it is mounted.
    pub mount_point: String,
    /// Directory inside the filesystem that is seen there: `/`, or a btrfs subvolume.
    pub root: String,
    /// Filesystem type, as the kernel names it.
    pub fs_type: String,
    /// Mount options (from fstab where it lists the mount, else the kernel's), without those that only describe
    /// the present moment.
    pub options: Vec<String>,
}
