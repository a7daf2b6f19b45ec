//! The machine of a scenario: firmware, disks, and what lies on them.
//!
//! This file describes and checks. It starts nothing.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Say;
use crate::server::Server;

/// The firmware that a machine starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Firmware {
    /// SeaBIOS.
    Bios,
    /// OVMF, with an NVRAM of its own.
    Uefi,
    /// OVMF that starts nothing unsigned: its NVRAM has the keys of every PC, and cannot be written past it.
    #[serde(rename = "secure-boot")]
    SecureBoot,
}

impl Firmware {
    /// Whether it keeps variables, and starts programs instead of boot sectors.
    pub fn is_uefi(self) -> bool {
        self != Self::Bios
    }
}

/// How the disks are attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bus {
    /// virtio-blk: `/dev/vda`.
    #[default]
    Virtio,
    /// SATA: `/dev/sda`.
    Ahci,
    /// Over two SCSI controllers, each: `/dev/sda` and `/dev/sdb` are one disk.
    Multipath,
}

/// A filesystem, swap space or other content of a partition.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Part {
    /// The partition's number in the table.
    pub number: u32,
    /// The program that makes its content, and its arguments; the device is appended.
    pub format: Vec<String>,
    /// Where it is mounted.
    #[serde(default)]
    pub mount: Option<String>,
    /// Its mount options in fstab.
    #[serde(default = "defaults")]
    pub options: String,
    /// Whether it is swap space.
    #[serde(default)]
    pub swap: bool,
}

/// What is on a device that is no partition, or is a part of a filesystem.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Volume {
    /// Its device as a shell word; `${disk0}` is the first disk.
    pub device: String,
    /// The filesystem's type, where `format` does not tell: it is made by `build`.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// The program that makes its content, and its arguments; the device is appended.
    #[serde(default)]
    pub format: Vec<String>,
    /// Where it is mounted.
    #[serde(default)]
    pub mount: Option<String>,
    /// Its mount options.
    #[serde(default = "defaults")]
    pub options: String,
    /// Whether it is swap space.
    #[serde(default)]
    pub swap: bool,
}

/// One disk of the machine.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Disk {
    /// Its size, as `qemu-img` reads it ("4G").
    pub size: String,
    /// Its sector size in bytes.
    #[serde(default = "sector")]
    pub sector_size: u32,
    /// Its partition table, as `sfdisk` reads it.
    pub table: String,
    /// What is on its partitions.
    #[serde(default)]
    pub part: Vec<Part>,
}

/// The machine that is drilled.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// Its host name.
    pub host: String,
    /// Its firmware.
    pub firmware: Firmware,
    /// Its memory in MiB.
    #[serde(default = "memory")]
    pub memory: u32,
    /// How its disks are attached.
    #[serde(default)]
    pub bus: Bus,
    /// The text of `/etc/rear/local.conf`; without it there is no such file.
    #[serde(default)]
    pub config: Option<String>,
    /// Options of `rear` before its command.
    #[serde(default)]
    pub options: String,
    /// Mount points that its backup must read from snapshots, while files are written.
    #[serde(default)]
    pub snapshots: Vec<String>,
    /// Packages beside those that every machine has.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Files that it has before its initramfs is made: path and content.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Sizes in MiB of files of noise below `/srv`, which no compression makes smaller.
    #[serde(default)]
    pub noise: Vec<u64>,
    /// Size in MiB of its swap file, `/swapfile`.
    #[serde(default)]
    pub swap_file: Option<u32>,
    /// Its disks.
    pub disk: Vec<Disk>,
    /// Shell lines that make what lies on the partitions (arrays, groups, containers, subvolumes) when it is installed.
    #[serde(default)]
    pub build: String,
    /// Shell lines that start it again where its disks are compared.
    #[serde(default)]
    pub assemble: String,
    /// What is on the devices that `build` makes.
    #[serde(default)]
    pub volume: Vec<Volume>,
    /// Numbers of the disks that GRUB is installed on, where the firmware is a BIOS.
    #[serde(default = "first")]
    pub grub: Vec<usize>,
    /// What a person does at its console each time it starts.
    #[serde(default)]
    pub dialog: Vec<Say>,
    /// Shell lines of what somebody will regret: they run after `rear mkbackup`, which then makes another backup. The medium is of
    /// that one.
    #[serde(default)]
    pub spoil: String,
    /// Shell lines that make its files and identifiers again as they were at the first backup, so that they can be compared.
    #[serde(default)]
    pub mend: String,
    /// What serves it over the network while it is saved and recovered.
    #[serde(default)]
    pub server: Option<Server>,
}

/// A filesystem or swap space, wherever it lies.
#[derive(Clone, Debug)]
pub(crate) struct Place<'a> {
    /// Its device as a shell word, in double quotes where it is used.
    pub(crate) device: String,
    /// Its type, as `mount -t` knows it.
    pub(crate) fstype: String,
    /// What makes it; empty where it is there already.
    pub(crate) format: &'a [String],
    /// Where it is mounted.
    pub(crate) mount: Option<&'a str>,
    /// Its mount options.
    pub(crate) options: &'a str,
    /// Whether it is swap space.
    pub(crate) swap: bool,
}

impl Place<'_> {
    /// Whether it is mounted only when somebody asks for it.
    pub(crate) fn is_noauto(&self) -> bool {
        self.options.split(',').any(|option| option == "noauto")
    }
}

impl Spec {
    /// Whether more than partitions lies on its disks. The identifiers of such things must not be on one machine twice.
    pub(crate) fn is_stacked(&self) -> bool {
        !self.build.is_empty()
    }

    /// Everything that is formatted or mounted: partitions, then volumes.
    pub(crate) fn places(&self) -> impl Iterator<Item = Place<'_>> {
        let parts = self.disk.iter().enumerate().flat_map(|(index, disk)| {
            disk.part.iter().map(move |part| Place {
                device: format!("${{disk{index}}}{}", part.number),
                fstype: fstype(&part.format),
                format: &part.format,
                mount: part.mount.as_deref(),
                options: &part.options,
                swap: part.swap,
            })
        });
        parts.chain(self.volume.iter().map(|volume| Place {
            device: volume.device.clone(),
            fstype: volume.kind.clone().unwrap_or_else(|| fstype(&volume.format)),
            format: &volume.format,
            mount: volume.mount.as_deref(),
            options: &volume.options,
            swap: volume.swap,
        }))
    }

    /// All filesystems that have a mount point.
    pub(crate) fn mounted(&self) -> impl Iterator<Item = (Place<'_>, &str)> {
        self.places().filter_map(|place| place.mount.map(|mount| (place, mount)))
    }

    /// What keeps it from being made, as a sentence.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.disk.is_empty() {
            return Err("the machine needs at least one [[machine.disk]]".to_owned());
        }
        if self.mounted().filter(|(_, mount)| *mount == "/").count() != 1 {
            return Err("exactly one partition or volume must have mount = \"/\"".to_owned());
        }
        if let Some(part) = self.disk.iter().flat_map(|disk| &disk.part).find(|part| part.format.is_empty()) {
            return Err(format!("partition {} has an empty format", part.number));
        }
        if let Some(volume) =
            self.volume.iter().find(|volume| volume.format.is_empty() && volume.kind.is_none())
        {
            return Err(format!("the volume {} needs a format or a type", volume.device));
        }
        if !self.is_stacked() && (!self.volume.is_empty() || !self.assemble.is_empty()) {
            return Err("volumes and assemble need a build".to_owned());
        }
        if self.is_stacked() && self.swap_file.is_some() {
            return Err("a machine with a build cannot have a swap-file".to_owned());
        }
        if let Some(index) = self.grub.iter().find(|index| **index >= self.disk.len()) {
            return Err(format!("GRUB cannot be installed on disk {index}, which is not there"));
        }
        let outside = |path: &&String| !path.starts_with('/') || path.split('/').any(|part| part == "..");
        if let Some(path) = self.files.keys().find(outside) {
            return Err(format!("the file '{path}' needs an absolute path"));
        }
        if let Some(say) = self.dialog.iter().find(|say| say.send.is_none() || say.ssh.is_some()) {
            return Err(format!("the machine's dialog at '{}' can only send", say.wait));
        }
        self.server.as_ref().map_or(Ok(()), Server::check)
    }
}

/// The filesystem's type as `mount -t` knows it, from the program that makes it.
fn fstype(format: &[String]) -> String {
    match format.first().map(String::as_str) {
        Some("mkfs.fat") => "vfat".to_owned(),
        Some("mkswap") => "swap".to_owned(),
        Some(program) => program.trim_start_matches("mkfs.").to_owned(),
        None => String::new(),
    }
}

fn defaults() -> String {
    "defaults".to_owned()
}
fn sector() -> u32 {
    512
}
fn memory() -> u32 {
    2048
}

fn first() -> Vec<usize> {
    vec![0]
}
