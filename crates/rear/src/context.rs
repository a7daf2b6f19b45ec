//! What every workflow needs: settings, the door to the machine, the terminal, the stop flag.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

use config::{Config, Settings, Sources};

use crate::cli::Common;
use crate::failure::{Code, Failure, Result};
use crate::ui::Ui;

/// Where state is kept on a machine.
pub const STATE_DIR: &str = "/var/lib/rear";
/// The saved layout, for `checklayout`.
pub const SAVED_LAYOUT: &str = "/var/lib/rear/layout/layout.json";
/// Facts of the rescue system; a machine that has this file is one.
pub const RESCUE_FILE: &str = "/etc/rear/rescue.json";
/// Held by every run that writes.
const LOCK_FILE: &str = "/run/rear.lock";

/// One run of the program.
pub struct Context {
    /// The machine.
    pub sys: sys::Real,
    /// Raised by signals.
    pub cancel: sys::Cancel,
    /// The terminal.
    pub ui: Ui,
    /// Options of every command.
    pub common: Common,
    /// Host name.
    pub hostname: String,
    /// Configuration with its origins.
    pub config: Config,
    /// Set when the first write to a disk begins: from then on nothing is as it was.
    pub disks_written: AtomicBool,
    /// Directories that are needed until the run ends, and go away with it.
    pub staged: Mutex<Vec<sys::fs::Staging>>,
    /// What is mounted until the run ends.
    pub held: Mutex<Vec<Box<dyn std::any::Any + Send>>>,
    /// Repositories that were opened, by their places: nobody is asked twice in one run.
    #[cfg(feature = "repository")]
    pub repositories: Mutex<Vec<(String, repository::Repository)>>,
}

impl Context {
    /// Reads the configuration; all its errors are reported together.
    pub fn load(common: &Common, ui: Ui, cancel: sys::Cancel) -> Result<Self> {
        let hostname = sys::info::hostname();
        let config = if is_rescue_system() {
            config::defaults(&hostname)
        } else {
            let sources =
                Sources { dir: &common.config_dir, extra: &common.config_file, hostname: &hostname };
            config::load(&sources).map_err(|errors| {
                Failure::new(Code::Usage, errors.to_string())
                    .hint("nothing was done; correct the configuration first")
            })?
        };
        let sys = sys::Real::new(cancel.clone());
        Ok(Self {
            sys,
            cancel,
            ui,
            common: common.clone(),
            hostname,
            config,
            disks_written: AtomicBool::new(false),
            staged: Mutex::default(),
            held: Mutex::default(),
            #[cfg(feature = "repository")]
            repositories: Mutex::default(),
        })
    }

    /// Keeps something until the run ends.
    pub fn hold(&self, what: impl std::any::Any + Send) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(what));
    }

    /// The repository at that place, if it was opened in this run.
    #[cfg(feature = "repository")]
    pub fn opened_repository(&self, place: &str) -> Option<repository::Repository> {
        let opened = self.repositories.lock().unwrap_or_else(PoisonError::into_inner);
        opened.iter().find(|(one, _)| one == place).map(|(_, repository)| repository.clone())
    }

    /// Remembers one that was opened.
    #[cfg(feature = "repository")]
    pub fn remember_repository(&self, place: &str, repository: &repository::Repository) {
        let mut opened = self.repositories.lock().unwrap_or_else(PoisonError::into_inner);
        opened.push((place.to_owned(), repository.clone()));
    }

    /// The effective settings.
    pub fn settings(&self) -> &Settings {
        &self.config.settings
    }

    /// Prints what the configuration was warned about.
    pub fn show_config_warnings(&self) {
        for warning in &self.config.warnings {
            self.ui.warn(warning.to_string());
        }
    }

    /// For runs that write: root, alone, with a log.
    pub fn begin_writing(&self, log: &Path) -> Result<sys::lock::Lock> {
        require_root()?;
        let lock = sys::lock::Lock::take(Path::new(LOCK_FILE))?;
        crate::log::open(log)?;
        Ok(lock)
    }

    /// Threads for compression and restore.
    pub fn threads(&self) -> usize {
        match usize::try_from(self.settings().backup_threads) {
            Ok(0) | Err(_) => sys::info::processors().max(1),
            Ok(threads) => threads,
        }
    }

    /// Options of the archive.
    pub fn archive_options(&self) -> backup::Options {
        let asked = &self.settings().compression;
        let codec = match asked.codec {
            config::Codec::Zstd => backup::Codec::Zstd,
            config::Codec::Gzip => backup::Codec::Gzip,
            config::Codec::Xz => backup::Codec::Xz,
            config::Codec::Bzip2 => backup::Codec::Bzip2,
            config::Codec::Lz4 => backup::Codec::Lz4,
            config::Codec::None => backup::Codec::None,
        };
        let level = asked.level.unwrap_or_else(|| codec.default_level());
        backup::Options { codec, level, threads: self.threads(), cancel: self.cancel.clone() }
    }

    /// Where a recovery point goes that does not lie on the medium: `BACKUP_URL=file:///DIRECTORY`.
    pub fn backup_dir(&self) -> Option<PathBuf> {
        let settings = self.settings();
        match &settings.backup_url {
            config::Location::File { path } => Some(path.join(&settings.output_prefix).join("backup")),
            config::Location::Iso { .. } | config::Location::Null | config::Location::Remote { .. } => None,
        }
    }

    /// Where the finished medium goes.
    pub fn output_file(&self) -> PathBuf {
        let settings = self.settings();
        let name = format!("{}.iso", settings.iso_prefix);
        // As in the Bash program, OUTPUT_URL is BACKUP_URL where it is not set.
        match settings.output_url.as_ref().unwrap_or(&settings.backup_url) {
            config::Location::File { path } => path.join(&settings.output_prefix).join(name),
            config::Location::Null | config::Location::Iso { .. } | config::Location::Remote { .. } => {
                settings.iso_dir.join(name)
            }
        }
    }
}

#[cfg(test)]
impl Context {
    /// For tests: this machine's real door, a silent terminal at which nobody sits, and this configuration.
    pub fn of_test(config: config::Config) -> Self {
        use clap::Parser;
        Self {
            sys: sys::Real::default(),
            cancel: sys::Cancel::default(),
            ui: crate::ui::Ui::new(false, false, false),
            common: crate::cli::Cli::parse_from(["rear", "dump"]).common,
            hostname: "web1".into(),
            config,
            disks_written: std::sync::atomic::AtomicBool::new(false),
            staged: Default::default(),
            held: Default::default(),
            #[cfg(feature = "repository")]
            repositories: Default::default(),
        }
    }
}

/// Everything that asks about disks needs root.
pub fn require_root() -> Result<()> {
    if sys::info::is_root() {
        return Ok(());
    }
    Err(Failure::refused("rear must be run as root: it reads and writes disks and other users' files")
        .hint("run it with sudo, or log in as root"))
}

/// Whether this is the rescue system.
pub fn is_rescue_system() -> bool {
    Path::new(RESCUE_FILE).exists()
}
