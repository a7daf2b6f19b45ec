//! A drill, phase by phase. Reads as the story it tells.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::guest::{Base, Recipe};
use crate::helper::{Share, helper};
use crate::lab::{Lab, copy, fresh_dir, key, make_dir, path, read, write};
use crate::machine::{Drive, Machine, empty_nvram};
use crate::report::{Figures, Outcome, Report};
use crate::scenario::{Expect, Firmware, Scenario};
use crate::server::Serving;
use crate::{Error, Result, disk, install, storage};

mod prove;
mod recover;

const INSTALL: &str = include_str!("../guest/install.sh");
const UNUSUAL: &str = include_str!("../guest/unusual.sh");
const MKBACKUP: &str = include_str!("../guest/mkbackup.sh");
const FAULTS: &str = include_str!("../guest/faults.sh");

/// The step of a drill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The machine is installed on blank disks.
    Install,
    /// It backs itself up onto a rescue medium.
    Backup,
    /// The medium is booted on new disks and recovers.
    Recover,
    /// The new disks are compared with the old ones.
    Compare,
    /// The recovered machine boots.
    Boot,
}

impl Phase {
    /// All phases, in their order.
    pub const ALL: [Self; 5] = [Self::Install, Self::Backup, Self::Recover, Self::Compare, Self::Boot];
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Install => "install",
            Self::Backup => "backup",
            Self::Recover => "recover",
            Self::Compare => "compare",
            Self::Boot => "boot",
        })
    }
}

impl std::str::FromStr for Phase {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|phase| phase.to_string() == text).ok_or_else(|| {
            format!("'{text}' is no phase; they are install, backup, recover, compare and boot")
        })
    }
}

/// One scenario, to be carried out.
pub struct Drill<'a> {
    lab: &'a Lab,
    base: &'a Base,
    scenario: &'a Scenario,
    /// The program under test; without it, the one that is installed in the base machine.
    rear: Option<PathBuf>,
    dir: PathBuf,
    source: PathBuf,
    /// What the medium says when it has recovered.
    complete: String,
    /// How long `rear mkbackup` may take, with the machine's own start and end.
    backup_limit: Duration,
}

impl<'a> Drill<'a> {
    /// A drill with this `rear` program (a static binary), or with the one that is in the base machine.
    pub fn new(lab: &'a Lab, base: &'a Base, scenario: &'a Scenario, rear: Option<&Path>) -> Self {
        Self {
            lab,
            base,
            scenario,
            rear: rear.map(Path::to_owned),
            dir: lab.run_dir(&scenario.name),
            source: lab.run_dir(&scenario.source),
            complete: "(?m)^rear: recovery complete".to_owned(),
            backup_limit: Duration::from_secs(1800),
        }
    }

    /// Waits this long for `rear mkbackup` (half an hour otherwise).
    #[must_use]
    pub fn backup_within(mut self, limit: Duration) -> Self {
        self.backup_limit = limit;
        self
    }

    /// For a program that says something else on the console when it has recovered.
    #[must_use]
    pub fn complete_when(mut self, pattern: &str) -> Self {
        self.complete = pattern.to_owned();
        self
    }

    /// Keeps everything under another name than the scenario's.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.dir = self.lab.run_dir(name);
        self.source = self.dir.clone();
        self
    }

    /// Where logs and disks are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Runs all phases from this one on. A scenario that uses another one's medium has that one make it where it is
    /// not there (or not from the same program and configuration).
    pub fn run(&self, from: Phase) -> Report {
        self.run_until(from, Phase::Boot)
    }

    /// Runs the phases from one to another, both included.
    pub fn run_until(&self, from: Phase, to: Phase) -> Report {
        let mut report = Report {
            scenario: self.scenario.name.clone(),
            phases: Vec::new(),
            figures: Figures::default(),
            outcome: Outcome::Passed,
        };
        if let Err(error) = make_dir(&self.dir) {
            report.outcome = Outcome::Failed(from, error.to_string());
            return report;
        }
        for phase in Phase::ALL.into_iter().filter(|phase| (from..=to).contains(phase)) {
            let last = match (self.scenario.faults, self.scenario.recover.expect) {
                (Some(_), _) => Phase::Backup,
                (None, Expect::Refused) => Phase::Recover,
                (None, _) => Phase::Boot,
            };
            if phase > last {
                break;
            }
            let started = Instant::now();
            let result = match phase {
                Phase::Install => self.install().map(|_| ()),
                Phase::Backup => self.backup(),
                Phase::Recover => self.recover(&mut report.figures),
                Phase::Compare => self.compare(),
                Phase::Boot => self.boot(),
            };
            report.phases.push((phase, started.elapsed()));
            let name = &self.scenario.name;
            match result {
                Ok(()) => self.lab.say(&format!("{name}: {phase} done ({} s)", started.elapsed().as_secs())),
                Err(error) => {
                    self.lab.say(&format!("{name}: {phase} FAILED: {error}"));
                    self.show_console(&error);
                    report.outcome = Outcome::Failed(phase, error.to_string());
                    break;
                }
            }
        }
        self.figures(&mut report.figures);
        report
    }

    fn show_console(&self, error: &Error) {
        let log = match error {
            Error::Machine { console, .. } => console,
            Error::Script { log, .. } => log,
            _ => return,
        };
        let tail = crate::console::tail(log, 60);
        self.lab.say(&format!("--- the last lines of {} ---\n{tail}\n---", log.display()));
    }

    // ---- install ------------------------------------------------------------------------------------------

    /// Installs the machine, or takes it from the cache. Gives its disks and its NVRAM.
    ///
    /// # Errors
    /// The guest's script failed, or the machine did not end in time.
    pub fn install(&self) -> Result<Installed> {
        let spec = &self.scenario.machine;
        let layout = install::layout(spec);
        let sizes: Vec<String> =
            spec.disk.iter().map(|disk| format!("{} {}", disk.size, disk.sector_size)).collect();
        let noise: Vec<String> = spec.noise.iter().map(u64::to_string).collect();
        let (sizes, noise) = (sizes.join(","), noise.join(","));
        // A machine of UEFI begins with an NVRAM of its own kind.
        let firmware = empty_nvram(spec.firmware).map(path).unwrap_or_default();
        let library = if spec.is_stacked() { storage::LIB } else { "" };
        let scripts =
            [&self.base.key, INSTALL, UNUSUAL, library, &layout, &spec.host, &sizes, &noise, &firmware];
        let dir = self.lab.cache().join(format!("installed-{}", key(scripts.map(str::as_bytes))));
        let installed = Installed { dir: dir.clone(), disks: spec.disk.len() };
        if dir.exists() {
            return Ok(installed);
        }
        let partial = dir.with_extension("partial");
        fresh_dir(&partial)?;
        let share = Share::new(
            partial.join("install"),
            INSTALL,
            &[("HOST", &spec.host), ("STACKED", self.stacked())],
        )?;
        share.put("layout.sh", &layout)?;
        share.put("storage-lib.sh", library)?;
        share.put("unusual.sh", UNUSUAL)?;
        let vars = partial.join("vars.fd");
        self.empty_nvram(&vars)?;
        let mut machine = self.helper(&partial, "install", spec.firmware, &vars)?;
        for (index, disk) in spec.disk.iter().enumerate() {
            let file = partial.join(format!("disk{index}.qcow2"));
            disk::blank(self.lab, &file, &disk.size)?;
            machine = machine.disk(&Drive {
                file: &file,
                format: "qcow2",
                serial: format!("target{index}"),
                bus: crate::scenario::Bus::Virtio,
                sector: disk.sector_size,
                throw_away: false,
                boot_index: None,
            });
        }
        self.lab.say(&format!("{}: installing the machine", self.scenario.name));
        for (index, mebibytes) in spec.noise.iter().enumerate() {
            share.put_noise(&format!("noise-{index}"), *mebibytes)?;
        }
        share.run(self.lab, machine, self.limit(900))?;
        for index in 0..spec.noise.len() {
            let _ = std::fs::remove_file(share.dir.join(format!("noise-{index}")));
        }
        std::fs::rename(&partial, &dir).map_err(sys::Error::io("rename", &partial))?;
        Ok(installed)
    }

    fn empty_nvram(&self, file: &Path) -> Result<()> {
        if let Some(empty) = empty_nvram(self.scenario.machine.firmware) {
            copy(self.lab, empty, file)?;
        }
        Ok(())
    }

    /// For the guests' scripts: whether more than partitions lies on the disks.
    fn stacked(&self) -> &'static str {
        if self.scenario.machine.is_stacked() { "1" } else { "" }
    }

    /// A machine that looks at this scenario's disks.
    fn helper(&self, dir: &Path, name: &str, firmware: Firmware, vars: &Path) -> Result<Machine> {
        // The base's own initramfs knows the arrays and containers, and would start them or ask for their passphrases.
        let initrd = match self.scenario.machine.is_stacked() {
            true => Some(self.base.plain_initrd(self.lab, &Recipe::of(self.scenario))?),
            false => None,
        };
        Ok(helper(self.base, initrd.as_deref(), dir, name, firmware, vars))
    }

    /// A time limit of this scenario.
    fn limit(&self, seconds: u64) -> Duration {
        Duration::from_secs(seconds) * self.scenario.patience
    }

    // ---- backup -------------------------------------------------------------------------------------------

    fn backup_key(&self, installed: &Installed) -> Result<String> {
        let program = match &self.rear {
            Some(file) => disk::sum(self.lab, file)?,
            None => "the base machine's".to_owned(),
        };
        let spec = &self.scenario.machine;
        let parts = [
            path(&installed.dir),
            program,
            spec.options.clone(),
            spec.config.clone().unwrap_or_default(),
            spec.snapshots.join(" "),
            spec.spoil.clone(),
            spec.mend.clone(),
        ];
        Ok(key(parts.iter().map(|part| part.as_bytes()).chain([MKBACKUP.as_bytes()])))
    }

    fn backup(&self) -> Result<()> {
        let installed = self.install()?;
        let spec = &self.scenario.machine;
        let made = self.source.join("backup.key");
        let key = self.backup_key(&installed)?;
        let own = self.dir == self.source;
        if !own && read(&made).is_ok_and(|text| text == key) && self.medium().exists() {
            return Ok(());
        }
        make_dir(&self.source)?;
        // A stale key would have a later run trust a half-made medium.
        let _ = std::fs::remove_file(&made);
        let share = Share::new(
            self.source.join("backup"),
            MKBACKUP,
            &[
                ("HOST", &spec.host),
                ("REAR_OPTIONS", &spec.options),
                ("SNAPSHOTS", &spec.snapshots.join(" ")),
            ],
        )?;
        if let Some(rear) = &self.rear {
            copy(self.lab, rear, &share.dir.join("rear"))?;
        }
        if let Some(config) = &spec.config {
            share.put("local.conf", config)?;
        }
        if !spec.spoil.is_empty() {
            share.put("spoil.sh", &spec.spoil)?;
            share.put("mend.sh", &spec.mend)?;
        }
        if let Some(faults) = self.scenario.faults {
            share.put("faults.sh", FAULTS)?;
            share.put("faults.amount", faults.word())?;
        }
        let vars = self.source.join("original.fd");
        if spec.firmware.is_uefi() {
            copy(self.lab, &installed.dir.join("vars.fd"), &vars)?;
        }
        let mut disks = Vec::new();
        for index in 0..installed.disks {
            let file = self.original(index);
            disk::layer(self.lab, &file, &installed.dir.join(format!("disk{index}.qcow2")))?;
            disks.push(file);
        }
        let machine = self.machine(&self.source, "backup", &vars, &numbered(disks), "OLD", false);
        if let Some(server) = &spec.server {
            server.prepare(&self.server_dir())?;
        }
        let _server = self.serve()?;
        self.lab.say(&format!("{}: the machine boots and runs rear mkbackup", self.scenario.name));
        share.run_with(self.lab, machine, &spec.dialog, self.limit(1800))?;
        disk::must_exist(&self.medium())?;
        write(&made, key)
    }

    /// Where the machine's server keeps what it is given.
    fn server_dir(&self) -> PathBuf {
        self.source.join("server")
    }

    /// Starts the machine's server, where it has one.
    fn serve(&self) -> Result<Option<Serving>> {
        let server = self.scenario.machine.server.as_ref();
        server.map(|server| server.start(self.lab, &self.server_dir())).transpose()
    }

    fn medium(&self) -> PathBuf {
        self.source.join("backup/out/rear.iso")
    }

    /// The scenario's machine with these disks (and their numbers), started by its firmware.
    fn machine(
        &self,
        dir: &Path,
        name: &str,
        vars: &Path,
        disks: &[(usize, PathBuf)],
        serial: &str,
        throw_away: bool,
    ) -> Machine {
        let spec = &self.scenario.machine;
        let mut machine = Machine::new(dir, name, spec.memory).firmware(spec.firmware, vars);
        for (index, file) in disks {
            machine = machine.disk(&self.drive(*index, file, serial, throw_away));
        }
        machine
    }

    /// A disk of the scenario's machine.
    fn drive<'f>(&self, index: usize, file: &'f Path, serial: &str, throw_away: bool) -> Drive<'f> {
        let spec = &self.scenario.machine;
        Drive {
            file,
            format: "qcow2",
            serial: format!("{serial}{index}"),
            bus: spec.bus,
            sector: spec.disk.get(index).map_or(512, |disk| disk.sector_size),
            throw_away,
            boot_index: Some(u32::try_from(index).unwrap_or(0) + 1),
        }
    }

    /// The image of one of the old machine's disks.
    fn original(&self, index: usize) -> PathBuf {
        self.source.join(format!("original{index}.qcow2"))
    }

    // ---- what is left -------------------------------------------------------------------------------------

    fn figures(&self, figures: &mut Figures) {
        let out = self.source.join("backup/out");
        let time = read(&out.join("time")).unwrap_or_default();
        let value = |name: &str| -> Option<f64> {
            time.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        };
        // A run that began with a later phase tells the numbers of the one that it continues.
        if self.scenario.recover.expect == Expect::Recovered && figures.recovery.is_none() {
            let seconds = read(&self.dir.join("recovery-seconds")).ok().and_then(|text| text.parse().ok());
            figures.recovery = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        }
        figures.backup_seconds = value("seconds");
        figures.backup_rss_kib = value("rss_kib").map(|kib| kib as u64);
        figures.iso_bytes = read(&out.join("iso-bytes")).ok().and_then(|text| text.trim().parse().ok());
        let files = read(&out.join("iso-files")).unwrap_or_default();
        figures.initramfs_bytes = files
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter(|(_, name)| name.to_lowercase().contains("initr"))
            .filter_map(|(bytes, _)| bytes.parse().ok())
            .max();
    }

    /// Removes the disks of the run; logs stay.
    pub fn sweep(&self) {
        for entry in std::fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".qcow2") && !name.starts_with("original") {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

/// Disks with their numbers.
fn numbered(disks: Vec<PathBuf>) -> Vec<(usize, PathBuf)> {
    disks.into_iter().enumerate().collect()
}

/// An installed machine in the cache: never written to, only layered upon.
#[derive(Clone, Debug)]
pub struct Installed {
    dir: PathBuf,
    disks: usize,
}
