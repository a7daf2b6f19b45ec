//! From a fit to the ordered steps.

use std::collections::{BTreeMap, BTreeSet};

use layout::{Content, Device, FsKind, Kind, Layout, NodeId, Partition};

use crate::action::{Action, Step, is_boot_code};
use crate::{Choices, FORMAT, Fit, FitError, Place, Plan, Target, fit};

mod mounts;
mod refuse;
mod stacked;

pub(crate) use mounts::needed;

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
    let mut maker = devices(saved, present, &fit)?;
    maker.mounts(target_root)?;
    let mounted = |file: &&layout::SwapFile| saved.mounts_of(&file.device).next().is_some();
    let made = |file: &&layout::SwapFile| maker.targets.contains_key(&file.device) && mounted(file);
    let swap_files = saved.swap_files.iter().filter(made).cloned().collect();
    Ok(Plan {
        format: FORMAT,
        recovery_point: recovery_point.to_owned(),
        fit,
        steps: maker.steps,
        swap_files,
    })
}

/// The storage part of [`plan`] alone: for disks that hold no root filesystem.
///
/// # Errors
/// Names everything that cannot be recreated, not only the first.
pub fn storage(saved: &Layout, present: &Layout, fit: Fit, recovery_point: &str) -> Result<Plan, PlanError> {
    let steps = devices(saved, present, &fit)?.steps;
    let swap_files = Vec::new();
    Ok(Plan { format: FORMAT, recovery_point: recovery_point.to_owned(), fit, steps, swap_files })
}

/// The steps for all that is recreated, without its mounts.
fn devices<'a>(saved: &'a Layout, present: &'a Layout, fit: &Fit) -> Result<Maker<'a>, PlanError> {
    let broken: Vec<String> = saved.check().into_iter().map(|violation| violation.to_string()).collect();
    if !broken.is_empty() {
        return Err(PlanError::Inconsistent(broken));
    }
    let taken = fit.disks.iter().map(|place| place.present.clone()).collect();
    let (steps, targets, groups) = Default::default();
    let mut maker = Maker { saved, present, taken, steps, targets, groups };
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
    maker.stacked()?;
    Ok(maker)
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
    /// Ids of the present disks that are written.
    taken: BTreeSet<NodeId>,
    steps: Vec<Step>,
    targets: BTreeMap<NodeId, Target>,
    /// Names of the volume groups that are made.
    groups: Vec<String>,
}

impl<'a> Maker<'a> {
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
            disks: vec![disk.id.clone()],
            place: Place::Disk(disk.id.clone()),
            shown: present.path.clone(),
        };
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
        self.device(disk, target, present.size);
    }

    /// A device that is there now: its content, and its partitions with theirs.
    fn device(&mut self, device: &'a Device, target: Target, size: layout::Bytes) {
        self.targets.insert(device.id.clone(), target.clone());
        let Content::Table(kind) = &device.content else {
            self.content(device, target, false);
            return;
        };
        let partitions = self.partitions(device);
        let action = Action::WriteTable {
            target: target.clone(),
            table: kind.clone(),
            partitions,
            sector: device.sector,
            size,
            same_size: size == device.size,
        };
        self.push(action, format!("the table of {}, with every identifier", device.path));
        for child in self.saved.partitions(&device.id) {
            let Some(part) = child.partition() else { continue };
            let target = target.partition(&child.id, part.number);
            self.targets.insert(child.id.clone(), target.clone());
            if !part.is_extended() {
                self.content(child, target, is_boot_code(&part.entry));
            }
        }
    }

    fn content(&mut self, device: &Device, target: Target, boot_code: bool) {
        let was = &device.path;
        if self.saved.cloned.contains(&device.id) {
            return self.clear(device, target, format!("it was {was}, whose blocks are written later"));
        }
        match &device.content {
            // Made when all its devices are there.
            Content::Filesystem(filesystem) if matches!(filesystem.kind, FsKind::Btrfs(_)) => {
                self.clear(device, target, format!("a btrfs is made on it, which was {was}"));
            }
            Content::Filesystem(filesystem) => {
                // Space in use is a fact of the moment, not of how to make it: it must not change the plan.
                let filesystem = layout::Filesystem { used: None, ..filesystem.clone() };
                let at: Vec<&str> =
                    self.saved.mounts_of(&device.id).map(|mount| mount.mount_point.as_str()).collect();
                let why = self::was(was, &at);
                self.push(Action::MakeFilesystem { target, filesystem, others: Vec::new() }, why);
            }
            Content::Swap(swap) => {
                let swap = layout::Swap { active: false, ..swap.clone() };
                self.push(Action::MakeSwap { target, swap }, format!("it was {was}"));
            }
            Content::Empty | Content::BootCode => {
                let why = if boot_code || device.content == Content::BootCode {
                    format!("it was {was}, which holds boot code; that is written later")
                } else {
                    format!("it was {was}, which was empty")
                };
                self.clear(device, target, why);
            }
            Content::Luks(luks) => {
                self.clear(device, target.clone(), format!("it was {was}, a LUKS container"));
                self.push(Action::MakeLuks { target, luks: luks.clone() }, format!("it was {was}"));
            }
            Content::LvmMember { .. } | Content::MdMember { .. } | Content::BtrfsMember { .. } => {
                self.clear(device, target, format!("something larger is made of it, which was {was}"));
            }
            Content::Table(_) | Content::Unknown { .. } => {}
        }
    }

    /// Zeroes the ends of a device. A whole disk has been wiped already.
    fn clear(&mut self, device: &Device, target: Target, why: String) {
        if !target.is_disk() {
            self.push(Action::ClearDevice { target, size: device.size }, why);
        }
    }
}

/// What a device was, for people.
fn was(path: &str, mounted_at: &[&str]) -> String {
    match mounted_at {
        [] => format!("it was {path}, not mounted"),
        at => format!("it was {path}, mounted at {}", at.join(", ")),
    }
}
