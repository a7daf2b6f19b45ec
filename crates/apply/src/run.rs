//! The steps, one after the other.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use layout::{NodeId, Partition, SectorSize};
use plan::{Action, Command, Plan, Step, Target};
use sys::{Cancel, Cmd, Sys};

use crate::sysfs::{self, Part};
use crate::{Error, Hands, Journal, Kernel, Targets, WritableDisk};

/// How long the kernel and udev may take to show new partitions: in pauses of 100 ms.
const PATIENCE: u32 = 300;

/// How much is zeroed at each end: more than any superblock or signature lies away from it.
const ENDS: u64 = 1 << 20;

/// `ENODEV` of the kernel.
const ENODEV: i32 = rustix::io::Errno::NODEV.raw_os_error();

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
    run_with(sys, Arc::new(Kernel), plan, targets, journal, progress, cancel)
}

/// Carries the plan out. Steps that the journal knows as done are left out, except mounts.
///
/// # Errors
/// Names the step, the reason, and in which state the disks are.
pub fn run_with(
    sys: &dyn Sys,
    hands: Arc<dyn Hands>,
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
                runner.disk(step.action.target())?.check_unused(sys)?;
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

struct Runner<'a> {
    sys: &'a dyn Sys,
    hands: Arc<dyn Hands>,
    cancel: &'a Cancel,
    disks: BTreeMap<NodeId, WritableDisk>,
    devices: BTreeMap<NodeId, PathBuf>,
    mounts: sys::mount::Mounts,
    /// Where the root filesystem is mounted: nothing may be mounted outside of it.
    root: Option<PathBuf>,
    /// Whether a command or a write that changes a disk was started in this step.
    writing: Cell<bool>,
}

impl Runner<'_> {
    fn disk(&self, target: &Target) -> Result<&WritableDisk, Error> {
        self.disks.get(&target.disk).ok_or_else(|| Error::Gone(target.disk.to_string()))
    }

    /// The node of a target, asked from sysfs.
    fn node(&self, target: &Target) -> Result<PathBuf, Error> {
        let disk = self.disk(target)?;
        match target.partition {
            None => Ok(disk.path().to_owned()),
            Some(number) => Ok(sysfs::node(&self.part(disk, number)?.name)),
        }
    }

    fn part(&self, disk: &WritableDisk, number: u32) -> Result<Part, Error> {
        sysfs::partitions(self.sys, disk.name())?.remove(&number).ok_or_else(|| Error::Partitions {
            device: disk.path().to_owned(),
            what: format!("there is no partition {number}"),
        })
    }

    /// Whether the tables that the journal calls written are there.
    fn is_as_recorded(&self, plan: &Plan, done: u32) -> Result<bool, Error> {
        for step in plan.steps.iter().filter(|step| step.id <= done) {
            if let Action::WriteTable { target, partitions, sector, .. } = &step.action {
                let disk = self.disk(target)?;
                if self.mismatch(disk, partitions, *sector)?.is_some() {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn step(&mut self, step: &Step) -> Result<(), Error> {
        let target = step.action.target();
        match &step.action {
            Action::WipeDisk { .. } => self.wipe(target),
            Action::WriteTable { partitions, sector, .. } => {
                let disk = self.disk(target)?;
                self.commands(&step.action, disk.path())?;
                self.wait(disk, partitions, *sector)
            }
            Action::ClearPartition { .. } => {
                let disk = self.disk(target)?;
                match target.partition {
                    Some(number) => {
                        let part = self.part(disk, number)?;
                        self.zero_ends(disk, part.start, part.size)
                    }
                    None => self.zero_ends(disk, 0, disk.size()),
                }
            }
            Action::MakeFilesystem { .. } | Action::MakeSwap { .. } => {
                let node = self.node(target)?;
                self.commands(&step.action, &node)
            }
            Action::Mount { directory, fs_type, options, .. } => {
                self.mount(target, Path::new(directory), fs_type, &options.join(","))
            }
        }
    }

    /// Signatures of the partitions first, last partition first, then those of the disk itself; then zeroes.
    fn wipe(&self, target: &Target) -> Result<(), Error> {
        let disk = self.disk(target)?;
        let partitions = sysfs::partitions(self.sys, disk.name())?;
        for part in partitions.values().rev() {
            self.wipefs(disk, &sysfs::node(&part.name))?;
        }
        self.wipefs(disk, disk.path())?;
        self.zero_ends(disk, 0, disk.size())?;
        if !partitions.is_empty() {
            // The kernel still shows the old partitions.
            self.reread(disk)?;
        }
        Ok(())
    }

    /// Says that from here on something may have been written; to a disk that is still the chosen one.
    fn about_to_write(&self, disk: &WritableDisk) -> Result<(), Error> {
        disk.check(self.sys)?;
        self.writing.set(true);
        Ok(())
    }

    /// Zeroes the first and the last MiB of a range.
    fn zero_ends(&self, disk: &WritableDisk, start: u64, size: u64) -> Result<(), Error> {
        let length = size.min(ENDS);
        let zeroes = vec![0_u8; usize::try_from(length).unwrap_or_default()];
        self.about_to_write(disk)?;
        disk.write_at(start, &zeroes)?;
        disk.write_at(start + size - length, &zeroes)
    }

    fn wipefs(&self, disk: &WritableDisk, device: &Path) -> Result<(), Error> {
        self.about_to_write(disk)?;
        let cmd = Cmd::new("wipefs").args(["--all", "--force", "--quiet"]).arg(device.to_string_lossy());
        self.sys.run(&cmd)?;
        Ok(())
    }

    /// Asks the kernel to read the table again. A refusal shows in what the kernel then says.
    fn reread(&self, disk: &WritableDisk) -> Result<(), Error> {
        let cmd = Cmd::new("blockdev").arg("--rereadpt").arg(disk.path().to_string_lossy()).accept(&[1]);
        self.sys.run(&cmd)?;
        self.settle()
    }

    fn settle(&self) -> Result<(), Error> {
        if self.sys.which("udevadm").is_some() {
            // Exit code 1: some event is still open after this time; what counts is what the kernel shows.
            self.sys.run(&Cmd::new("udevadm").args(["settle", "--timeout=30"]).accept(&[1]))?;
        }
        Ok(())
    }

    fn commands(&self, action: &Action, device: &Path) -> Result<(), Error> {
        let disk = self.disk(action.target())?;
        for command in action.commands(&device.to_string_lossy()) {
            self.about_to_write(disk)?;
            let mut result = self.sys.run(&cmd(&command));
            for older in &command.older {
                // Only where the program did not understand its options: it has written nothing then.
                if !matches!(&result, Err(error) if is_usage(error)) {
                    break;
                }
                result = self.sys.run(&cmd(older));
            }
            result?;
        }
        Ok(())
    }

    /// Waits until the kernel shows exactly the partitions that were written, and their nodes exist.
    fn wait(&self, disk: &WritableDisk, partitions: &[Partition], sector: SectorSize) -> Result<(), Error> {
        self.settle()?;
        let mut left = PATIENCE;
        loop {
            self.cancel.check()?;
            let Some(what) = self.mismatch(disk, partitions, sector)? else { return Ok(()) };
            if left == 0 {
                return Err(Error::Partitions { device: disk.path().to_owned(), what });
            }
            // sfdisk asked the kernel already; udev looking at the disk in that moment makes it refuse.
            if left.is_multiple_of(50) {
                self.reread(disk)?;
            }
            left -= 1;
            self.hands.pause();
        }
    }

    /// How the kernel's view differs from what was written; `None` when it does not.
    fn mismatch(
        &self,
        disk: &WritableDisk,
        partitions: &[Partition],
        sector: SectorSize,
    ) -> Result<Option<String>, Error> {
        let seen = sysfs::partitions(self.sys, disk.name())?;
        for part in partitions {
            let number = part.number;
            let Some(now) = seen.get(&number) else {
                return Ok(Some(format!("partition {number} is missing")));
            };
            let (start, size) = (part.start.bytes(sector).get(), part.length.bytes(sector).get());
            // The kernel shows an extended partition with one or two sectors only.
            if now.start != start || (now.size != size && !part.is_extended()) {
                return Ok(Some(format!(
                    "partition {number} lies at {} with {} bytes, not at {start} with {size}",
                    now.start, now.size
                )));
            }
            if !self.sys.exists(&sysfs::node(&now.name)) {
                return Ok(Some(format!("the node of partition {number} is missing")));
            }
        }
        match seen.keys().find(|number| !partitions.iter().any(|part| part.number == **number)) {
            Some(number) => Ok(Some(format!("it still has a partition {number}"))),
            None => Ok(None),
        }
    }

    fn mount(
        &mut self,
        target: &Target,
        directory: &Path,
        fs_type: &str,
        options: &str,
    ) -> Result<(), Error> {
        self.disk(target)?.check(self.sys)?;
        let node = self.node(target)?;
        let root = self.root.get_or_insert_with(|| directory.to_owned()).clone();
        match self.hands.mount(&node, directory, &root, fs_type, options) {
            Ok(mount) => {
                if let Some(mount) = mount {
                    self.mounts.push(mount);
                }
                Ok(())
            }
            // The kernel's way to say that it does not know the type.
            Err(sys::Error::Io { source, .. }) if source.raw_os_error() == Some(ENODEV) => {
                Err(Error::NoDriver { fs_type: fs_type.to_owned() })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The node of every recreated device.
    fn all_devices(&mut self, plan: &Plan) -> Result<BTreeMap<NodeId, PathBuf>, Error> {
        let mut devices = std::mem::take(&mut self.devices);
        for step in &plan.steps {
            let target = step.action.target();
            if !devices.contains_key(&target.saved) {
                devices.insert(target.saved.clone(), self.node(target)?);
            }
        }
        Ok(devices)
    }
}

fn cmd(command: &Command) -> Cmd {
    // Filesystems without lazy initialization on large, slow disks take hours.
    let mut cmd = Cmd::new(&command.program).args(&command.args).timeout(Duration::from_secs(24 * 3600));
    for (name, value) in &command.env {
        cmd = cmd.env(name, value);
    }
    match &command.stdin {
        Some(text) => cmd.stdin(text),
        None => cmd,
    }
}

/// Whether a program refused its options. Only the end of a long usage text is in the error: these are the last
/// lines of mkfs.xfs and of mkfs.vfat.
fn is_usage(error: &sys::Error) -> bool {
    let last_words = ["Usage:", "<num> is xxx (bytes)", "this help message"];
    matches!(error, sys::Error::Failed { code: Some(1), stderr, .. }
        if last_words.iter().any(|words| stderr.contains(words)))
}
