//! From a fit to the ordered steps.

use std::collections::BTreeMap;

use layout::{Content, Device, FsKind, Kind, Layout, Mount, NodeId, Partition};

use crate::action::{Action, Step, Target, is_boot_code};
use crate::{Choices, FORMAT, Fit, FitError, Plan, ext, fit, swap, table, vfat, xfs};

/// Why there is no plan. Nothing was written when this is returned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Some of what was saved cannot be made again.
    #[error("this cannot be recreated: {}", .0.join("; "))]
    Unsupported(Vec<String>),
    /// The layout contradicts itself.
    #[error("the saved layout is not consistent: {}", .0.join("; "))]
    Inconsistent(Vec<String>),
    /// The fit names a disk that is not there, or lacks one.
    #[error("the plan has no disk for {0}; make the fit anew, the machine has changed meanwhile")]
    NoDisk(String),
    /// There is no root filesystem among what would be recreated.
    #[error(
        "nothing that is recreated was mounted at '/': the recovered machine would have no root filesystem. Do not exclude the \
         disk that carries it"
    )]
    NoRoot,
    /// No fit even on blank twins of the original disks.
    #[error(transparent)]
    Fit(#[from] FitError),
}

/// The steps that recreate `saved` on `present`, disk by disk, then the mounts, below `target_root`.
///
/// # Errors
/// Names everything that cannot be recreated, not only the first.
pub fn plan(
    saved: &Layout,
    present: &Layout,
    fit: Fit,
    recovery_point: &str,
    target_root: &str,
) -> Result<Plan, PlanError> {
    let broken: Vec<String> = saved.check().into_iter().map(|violation| violation.to_string()).collect();
    if !broken.is_empty() {
        return Err(PlanError::Inconsistent(broken));
    }
    let mut maker = Maker { saved, present, steps: Vec::new(), targets: BTreeMap::new() };
    let refused = maker.refused();
    if !refused.is_empty() {
        return Err(PlanError::Unsupported(refused));
    }
    for disk in saved.disks().filter(|disk| disk.content != Content::Empty) {
        let place = fit.disks.iter().find(|place| place.saved == disk.id);
        let device = place.and_then(|place| present.device(&place.present));
        let (Some(_), Some(device)) = (place, device) else {
            return Err(PlanError::NoDisk(disk.path.clone()));
        };
        maker.disk(disk, device);
    }
    maker.mounts(target_root)?;
    Ok(Plan { format: FORMAT, recovery_point: recovery_point.to_owned(), fit, steps: maker.steps })
}

/// Whether a machine with this layout could be recovered: the plan against blank twins of its own disks.
///
/// # Errors
/// All that stands against it, so that `mkbackup` refuses while the machine is still alive.
pub fn recoverable(saved: &Layout) -> Result<Plan, PlanError> {
    let mut twins = Layout::new(saved.machine.clone());
    for disk in saved.disks() {
        let mut twin = disk.clone();
        twin.content = Content::Empty;
        if let Kind::Disk(disk) = &mut twin.kind {
            disk.read_only = false;
        }
        twins.devices.push(twin);
    }
    // Serial numbers may repeat in the original machine; that is no reason against recovery, so the twins are
    // mapped one to one.
    let mapping = saved.disks().map(|disk| (disk.id.clone(), disk.id.clone())).collect();
    let choices = Choices { unattended: true, mapping, ..Choices::default() };
    let fit = fit(saved, &twins, &BTreeMap::new(), &choices)?;
    plan(saved, &twins, fit, "", "/mnt/local")
}

struct Maker<'a> {
    saved: &'a Layout,
    present: &'a Layout,
    steps: Vec<Step>,
    targets: BTreeMap<NodeId, Target>,
}

impl<'a> Maker<'a> {
    /// All that cannot be recreated, as sentences that name the device.
    fn refused(&self) -> Vec<String> {
        let mut refused = Vec::new();
        let disks = self.saved.disks().filter(|disk| disk.content != Content::Empty);
        for device in disks.flat_map(|disk| self.saved.subtree(&disk.id)) {
            let why = match &device.kind {
                Kind::Disk(_) | Kind::Partition(_) => self.refuse_content(device),
                Kind::MdArray(_) => Some("software RAID cannot be recreated yet".into()),
                Kind::LogicalVolume(_) => Some("LVM cannot be recreated yet".into()),
                Kind::LuksMapping(_) => Some("LUKS cannot be recreated yet".into()),
                Kind::Multipath(_) => Some("multipath disks cannot be recreated yet".into()),
            };
            if let Some(why) = why {
                let sentence = format!("{}: {why}", device.path);
                if !refused.contains(&sentence) {
                    refused.push(sentence);
                }
            }
        }
        refused
    }

    fn refuse_content(&self, device: &Device) -> Option<String> {
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
            Content::Table(_) if device.disk().is_none() => {
                Some("a partition table inside a partition cannot be recreated yet".into())
            }
            Content::Table(kind) => table::refuse(kind, &self.partitions(device), device.sector),
            Content::Filesystem(fs) => match &fs.kind {
                FsKind::Ext(kind) => ext::refuse(fs, kind).or_else(|| too_large(ext::size(kind))),
                FsKind::Xfs(kind) => xfs::refuse(fs, kind).or_else(|| too_large(xfs::size(kind))),
                FsKind::Vfat(kind) => vfat::refuse(fs, kind).or_else(|| too_large(vfat::size(kind))),
                FsKind::Btrfs(_) => Some("btrfs cannot be recreated yet".into()),
                FsKind::Other { name } => Some(format!("the filesystem {name} cannot be recreated")),
            },
            Content::Swap(kind) => swap::refuse(kind),
            Content::LvmMember { .. } => Some("LVM cannot be recreated yet".into()),
            Content::MdMember { .. } => Some("software RAID cannot be recreated yet".into()),
            Content::Luks { .. } => Some("LUKS cannot be recreated yet".into()),
            Content::Unknown { what } => Some(format!("{what} cannot be recreated")),
        }
    }

    fn partitions(&self, disk: &Device) -> Vec<Partition> {
        self.saved.partitions(&disk.id).into_iter().filter_map(|child| child.partition().cloned()).collect()
    }

    fn push(&mut self, action: Action, why: String) {
        let id = u32::try_from(self.steps.len()).unwrap_or(u32::MAX).saturating_add(1);
        let danger = action.danger();
        self.steps.push(Step { id, action, why, danger });
    }

    fn disk(&mut self, disk: &'a Device, present: &Device) {
        let target = Target {
            saved: disk.id.clone(),
            disk: disk.id.clone(),
            partition: None,
            shown: present.path.clone(),
        };
        self.targets.insert(disk.id.clone(), target.clone());
        let blank = present.content == Content::Empty;
        let why = if blank {
            "remains of an earlier use must not come back to life".to_owned()
        } else {
            format!(
                "it holds {} now",
                crate::describe::holds(self.present, present).unwrap_or_else(|| "nothing".into())
            )
        };
        self.push(Action::WipeDisk { target: target.clone() }, why);
        if let Content::Table(kind) = &disk.content {
            let partitions = self.partitions(disk);
            let action = Action::WriteTable {
                target: target.clone(),
                table: kind.clone(),
                partitions,
                sector: disk.sector,
                size: present.size,
                same_size: present.size == disk.size,
            };
            self.push(action, format!("the table of {}, with every identifier", disk.path));
            for child in self.saved.partitions(&disk.id) {
                let Some(part) = child.partition() else { continue };
                let target = Target {
                    saved: child.id.clone(),
                    disk: disk.id.clone(),
                    partition: Some(part.number),
                    shown: predicted(&present.path, part.number),
                };
                self.targets.insert(child.id.clone(), target.clone());
                if !part.is_extended() {
                    self.content(child, target, is_boot_code(&part.entry));
                }
            }
        } else {
            self.content(disk, target, false);
        }
    }

    fn content(&mut self, device: &Device, target: Target, boot_code: bool) {
        let was = &device.path;
        match &device.content {
            Content::Filesystem(filesystem) => {
                // Space in use is a fact of the moment, not of how to make it: it must not change the plan.
                let filesystem = layout::Filesystem { used: None, ..filesystem.clone() };
                let at: Vec<&str> =
                    self.saved.mounts_of(&device.id).map(|mount| mount.mount_point.as_str()).collect();
                let why = match at.as_slice() {
                    [] => format!("it was {was}, not mounted"),
                    at => format!("it was {was}, mounted at {}", at.join(", ")),
                };
                self.push(Action::MakeFilesystem { target, filesystem }, why);
            }
            Content::Swap(swap) => {
                let swap = layout::Swap { active: false, ..swap.clone() };
                self.push(Action::MakeSwap { target, swap }, format!("it was {was}"));
            }
            Content::Empty | Content::BootCode if target.partition.is_some() => {
                let why = if boot_code || device.content == Content::BootCode {
                    format!("it was {was}, which holds boot code; that is written later")
                } else {
                    format!("it was {was}, which was empty")
                };
                self.push(Action::ClearPartition { target, size: device.size }, why);
            }
            _ => {}
        }
    }

    fn mounts(&mut self, target_root: &str) -> Result<(), PlanError> {
        let mut mounts: Vec<&Mount> = Vec::new();
        for mount in &self.saved.mounts {
            // A second mount of a filesystem, or one of a directory inside it (a bind mount), shows files that
            // the first one shows already.
            let again = mounts.iter().any(|other| other.device == mount.device);
            if self.targets.contains_key(&mount.device) && mount.root == "/" && !again {
                mounts.push(mount);
            }
        }
        if !mounts.iter().any(|mount| mount.mount_point == "/") {
            return Err(PlanError::NoRoot);
        }
        // A parent is always shorter, in components, than what is mounted below it.
        mounts.sort_by_key(|mount| mount.mount_point.split('/').filter(|part| !part.is_empty()).count());
        for mount in mounts {
            let Some(target) = self.targets.get(&mount.device).cloned() else { continue };
            let root = target_root.trim_end_matches('/');
            let directory = if mount.mount_point == "/" {
                root.to_owned()
            } else {
                format!("{root}{}", mount.mount_point)
            };
            let action = Action::Mount {
                target,
                mount_point: mount.mount_point.clone(),
                directory: if directory.is_empty() { "/".into() } else { directory },
                fs_type: mount.fs_type.clone(),
                options: needed(mount),
            };
            let why = match mount.mount_point.as_str() {
                "/" => "the files are restored below it".to_owned(),
                point => format!("it belongs to {point}"),
            };
            self.push(action, why);
        }
        Ok(())
    }
}

/// The options that decide how files look or how they are named. Those that restrict (`ro`, `noexec`) would only
/// stand in the way of the restore.
fn needed(mount: &Mount) -> Vec<String> {
    // FAT has neither owners, modes nor one encoding: they are what the mount says.
    const VFAT: [&str; 15] = [
        "uid",
        "gid",
        "umask",
        "dmask",
        "fmask",
        "codepage",
        "iocharset",
        "utf8",
        "uni_xlate",
        "shortname",
        "allow_utime",
        "tz",
        "time_offset",
        "check",
        "quiet",
    ];
    if mount.fs_type != "vfat" {
        return Vec::new();
    }
    let name = |option: &str| option.split('=').next().unwrap_or_default().to_owned();
    mount.options.iter().filter(|option| VFAT.contains(&name(option).as_str())).cloned().collect()
}

/// The kernel's usual name of a partition (`block/partitions/core.c`), for texts only.
fn predicted(disk: &str, number: u32) -> String {
    let p = if disk.ends_with(|c: char| c.is_ascii_digit()) { "p" } else { "" };
    format!("{disk}{p}{number}")
}
