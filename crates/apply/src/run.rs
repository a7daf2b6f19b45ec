//! The steps, one after the other.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use layout::NodeId;
use plan::{Action, Plan, Step};
use sys::{Cancel, Sys};

use crate::{Error, Hands, Journal, Kernel, Keys, NoKeys, Targets, WritableDisk};

/// How long the kernel and udev may take to show new partitions: in pauses of 100 ms.
pub(crate) const PATIENCE: u32 = 300;

/// How much is zeroed at each end: more than any superblock or signature lies away from it.
pub(crate) const ENDS: u64 = 1 << 20;

/// `ENODEV` of the kernel.
pub(crate) const ENODEV: i32 = rustix::io::Errno::NODEV.raw_os_error();

/// Told of every step before it begins.
pub trait Progress {
    /// Step `n` of `of` begins; steps that an earlier run did are not told.
    fn step(&self, step: &Step, n: usize, of: usize);
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _step: &Step, _n: usize, _of: usize) {}
}

/// What the plan left: everything made and mounted.
#[derive(Debug)]
pub struct Applied {
    /// The mounts below the target directory; unmounted when dropped.
    pub mounts: sys::mount::Mounts,
    /// Node of each recreated device, by the id of the saved one.
    pub devices: BTreeMap<NodeId, PathBuf>,
    /// The written disks, by the id of the saved one.
    pub disks: BTreeMap<NodeId, WritableDisk>,
}

/// Carries the plan out on the real kernel; see [`run_with`].
///
/// # Errors
/// Names the step, the reason, and in which state the disks are.
pub fn run(
    sys: &dyn Sys,
    plan: &Plan,
    targets: Targets,
    journal: &mut Journal,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Applied, Error> {
    run_with_keys(sys, &NoKeys, plan, targets, journal, progress, cancel)
}

/// As [`run`], for a plan with LUKS containers.
///
/// # Errors
/// As [`run`].
pub fn run_with_keys(
    sys: &dyn Sys,
    keys: &dyn Keys,
    plan: &Plan,
    targets: Targets,
    journal: &mut Journal,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Applied, Error> {
    carry_out(sys, Means { hands: Arc::new(Kernel), keys }, plan, targets, journal, progress, cancel)
}

/// As [`run`], with other hands on the machine.
///
/// # Errors
/// As [`run`].
pub fn run_with(
    sys: &dyn Sys,
    hands: Arc<dyn Hands>,
    plan: &Plan,
    targets: Targets,
    journal: &mut Journal,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Applied, Error> {
    carry_out(sys, Means { hands, keys: &NoKeys }, plan, targets, journal, progress, cancel)
}

/// With what the plan is carried out.
struct Means<'a> {
    hands: Arc<dyn Hands>,
    keys: &'a dyn Keys,
}

/// Carries the plan out. Steps that the journal knows as done are left out, except mounts.
///
/// # Errors
/// Names the step, the reason, and in which state the disks are.
fn carry_out(
    sys: &dyn Sys,
    Means { hands, keys }: Means<'_>,
    plan: &Plan,
    targets: Targets,
    journal: &mut Journal,
    progress: &dyn Progress,
    cancel: &Cancel,
) -> Result<Applied, Error> {
    let disks = targets.open(sys, &hands)?;
    let mut runner = Runner {
        sys,
        hands,
        keys,
        cancel,
        disks,
        devices: BTreeMap::new(),
        mounts: Default::default(),
        root: None,
        writing: Cell::new(false),
    };
    // An earlier run may have stopped anywhere in the step after its last finished one.
    let earlier = journal.has_begun();
    let open_step = earlier.then(|| journal.done() + 1);
    if journal.done() > 0 && !runner.is_as_recorded(plan, journal.done())? {
        tracing::warn!("the disks are not as the journal says: the plan is begun anew");
        journal.restart()?;
    }
    let of = plan.steps.len();
    let mut written = earlier;
    for (i, step) in plan.steps.iter().enumerate() {
        let skip = step.action.writes() && step.id <= journal.done();
        runner.writing.set(false);
        let result = cancel.check().map_err(Error::from).and_then(|()| {
            if skip {
                return Ok(());
            }
            progress.step(step, i + 1, of);
            tracing::info!(step = step.id, "{}", step.describe());
            if step.action.writes() {
                runner.check_unused(&step.action)?;
                journal.record_begun(step.id)?;
            }
            runner.step(step)?;
            journal.record_done(step.id)
        });
        written |= runner.writing.get();
        if let Err(source) = result {
            let half = runner.writing.get() || open_step == Some(step.id);
            // The step's own failure is what matters; that it could not be noted down only costs a repetition.
            let _ = journal.record_failure(step.id, &source);
            return Err(failed(step, source, written, half));
        }
    }
    match (runner.all_devices(plan), plan.steps.last()) {
        (Ok(devices), _) => Ok(Applied { mounts: runner.mounts, devices, disks: runner.disks }),
        (Err(source), Some(step)) => Err(failed(step, source, written, false)),
        (Err(source), None) => Err(source),
    }
}

/// The end of a run, with what it means for the disks.
///
/// `written`: some step began to write; `half`: this one did.
fn failed(step: &Step, source: Error, written: bool, half: bool) -> Error {
    let shown = &step.action.target().shown;
    let next = "remove the cause and run 'rear recover' again: it continues from here";
    let state = if !written {
        "No disk was written to.".into()
    } else if !step.action.writes() {
        format!("All filesystems are made, their files are not restored yet; {next}")
    } else if half {
        format!("{shown} is half-written; {next}")
    } else {
        format!("The steps before this one are done, this one wrote nothing; {next}")
    };
    Error::Step { id: step.id, what: step.describe(), state, written, source: Box::new(source) }
}

pub(crate) struct Runner<'a> {
    pub(crate) sys: &'a dyn Sys,
    pub(crate) hands: Arc<dyn Hands>,
    keys: &'a dyn Keys,
    pub(crate) cancel: &'a Cancel,
    pub(crate) disks: BTreeMap<NodeId, WritableDisk>,
    devices: BTreeMap<NodeId, PathBuf>,
    pub(crate) mounts: sys::mount::Mounts,
    /// Where the root filesystem is mounted: nothing may be mounted outside of it.
    pub(crate) root: Option<PathBuf>,
    /// Whether a command or a write that changes a disk was started in this step.
    pub(crate) writing: Cell<bool>,
}

impl Runner<'_> {
    /// Whether the tables that the journal calls written are there.
    fn is_as_recorded(&self, plan: &Plan, done: u32) -> Result<bool, Error> {
        for step in plan.steps.iter().filter(|step| step.id <= done) {
            let target = step.action.target();
            if let Action::WriteTable { partitions, sector, .. } = &step.action {
                let Some(name) = self.find(&target.place)? else { return Ok(false) };
                if self.mismatch(&name, partitions, *sector)?.is_some() {
                    return Ok(false);
                }
            }
            // What the kernel has assembled is gone after it was stopped by hand. Volumes that were only laid open to be
            // prepared are hidden again, and are called after their group.
            let volume = matches!(target.place, plan::Place::Mapped(_)) && !target.saved.0.starts_with("vg:");
            let assembled = volume || matches!(step.action, Action::MakeArray { .. });
            if assembled && self.find(&target.place)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn step(&mut self, step: &Step) -> Result<(), Error> {
        let target = step.action.target();
        match &step.action {
            Action::WipeDisk { .. } => self.wipe(target),
            Action::WriteTable { partitions, sector, .. } => {
                self.commands(&step.action)?;
                self.wait(target, partitions, *sector)
            }
            Action::ClearDevice { .. } => self.clear(target),
            Action::MakeSubvolumes { .. } => self.subvolumes(&step.action),
            Action::MakeArray { .. } | Action::ActivateVolumes { .. } | Action::DeactivateGroup { .. } => {
                self.commands(&step.action)?;
                self.settle()
            }
            Action::MakeFilesystem { .. }
            | Action::MakeSwap { .. }
            | Action::MakePhysicalVolume { .. }
            | Action::RestoreGroup { .. }
            | Action::RestorePoolMetadata { .. } => self.commands(&step.action),
            Action::MakeLuks { .. } => self.luks(&step.action, self.keys),
            Action::OpenLuks { .. } => {
                self.luks(&step.action, self.keys)?;
                self.settle()
            }
            Action::Mount { directory, fs_type, options, .. } => {
                self.mount(target, Path::new(directory), fs_type, &options.join(","))
            }
        }
    }

    /// The node of every recreated device.
    fn all_devices(&mut self, plan: &Plan) -> Result<BTreeMap<NodeId, PathBuf>, Error> {
        let mut devices = std::mem::take(&mut self.devices);
        for step in &plan.steps {
            let target = step.action.target();
            // Volumes that were laid open only to be prepared are hidden again, and a group has no device.
            let passing = target.saved.0.starts_with("vg:");
            if !passing && !devices.contains_key(&target.saved) {
                devices.insert(target.saved.clone(), self.node(target)?);
            }
        }
        Ok(devices)
    }
}
