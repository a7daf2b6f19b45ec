//! Scenarios: one small TOML file each, that says which machine is drilled and what must come of it.
//!
//! This file reads and checks them. It starts nothing.

use std::path::{Path, PathBuf};

use regex_lite::Regex;
use serde::Deserialize;

use crate::{Error, Result};

mod spec;

pub(crate) use spec::Place;
pub use spec::{Bus, Firmware, Spec};

/// What the rescue medium is to the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Medium {
    /// A CD in a SATA drive.
    #[default]
    Cd,
    /// A USB stick onto which the ISO was copied.
    Usb,
}

/// Damage done to the medium before it is booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Damage {
    /// One byte in the middle of the archive is flipped.
    Flip,
    /// The last quarter is missing.
    Truncate,
}

/// What has to happen when the medium is booted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expect {
    /// The machine comes back.
    #[default]
    Recovered,
    /// The recovery stops with a reason, before any disk is written.
    Refused,
}

/// How many of the wrong conditions and interruptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Faults {
    /// Those that are over soon.
    Quick,
    /// These, a signal in every stage, and a disk that runs full.
    All,
    /// Only what becomes of backups on a disk that is pulled out, and of a clock that is set back.
    Disk,
}

impl Faults {
    /// As the script takes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::All => "all",
            Self::Disk => "disk",
        }
    }
}

/// One exchange: at the console, or by a login over the network from this host. Exactly one of `send` and `ssh` is
/// there.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Say {
    /// Pattern that the console must show, behind that of the exchange before; empty where nothing is waited for.
    #[serde(default)]
    pub wait: String,
    /// What is typed then.
    #[serde(default)]
    pub send: Option<String>,
    /// What root runs then, logged in with [`Recover::password`].
    #[serde(default)]
    pub ssh: Option<String>,
    /// Pattern of what that command must print.
    #[serde(default)]
    pub answer: Option<String>,
}

/// The machine that the medium is booted on.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Recover {
    /// What has to happen.
    pub expect: Expect,
    /// Sizes of the new blank disks; without it, those of the old ones.
    pub sizes: Option<Vec<String>>,
    /// Numbers of the old machine's disks that the new one has again, and that must not change.
    pub keep: Vec<usize>,
    /// Size of one more disk, full of somebody else's data, that must not change.
    pub foreign: Option<String>,
    /// What the medium is.
    pub medium: Medium,
    /// Damage done to the medium.
    pub damage: Option<Damage>,
    /// The UEFI NVRAM is that of the old machine (true) or empty (false).
    pub keep_nvram: bool,
    /// What a person does; empty where it must recover by itself.
    pub dialog: Vec<Say>,
    /// Root's password in the rescue system, for the logins of the dialog.
    pub password: Option<String>,
    /// What the console says when it has recovered, where that is not the sentence of an unattended recovery.
    pub complete: Option<String>,
    /// Patterns that must be seen on the console, in this order.
    pub console: Vec<String>,
    /// What a refusal looks like on the console, where it is not `rear`'s own sentence.
    pub refusal: Option<String>,
    /// Limit in seconds.
    pub timeout: Option<u64>,
}

/// The first boot of the recovered machine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Boot {
    /// The UEFI NVRAM is that of the recovery (true) or empty (false).
    pub keep_nvram: bool,
    /// Numbers of disks: for each, the machine is booted once more without it.
    pub without: Vec<usize>,
}

/// What may differ between the original and the recovered machine.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Compare {
    /// Patterns of paths that may differ, beside those that always may.
    pub paths: Vec<String>,
    /// Patterns of identifier lines that may differ.
    pub identifiers: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    title: String,
    #[serde(default = "yes")]
    ci: bool,
    #[serde(default)]
    like: Option<String>,
    #[serde(default)]
    machine: Option<Spec>,
    #[serde(default)]
    sector_size: Option<u32>,
    #[serde(default)]
    firmware: Option<Firmware>,
    #[serde(default)]
    packages: Vec<String>,
    #[serde(default)]
    faults: Option<Faults>,
    #[serde(default = "once")]
    patience: u32,
    #[serde(default)]
    recover: Recover,
    #[serde(default)]
    boot: Boot,
    #[serde(default)]
    compare: Compare,
}

/// One scenario, complete.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its file's name without the ending.
    pub name: String,
    /// What it shows, for people.
    pub title: String,
    /// Whether it belongs to the tests of every change.
    pub ci: bool,
    /// The scenario whose installed machine and medium it uses (its own name where it makes them itself).
    pub source: String,
    /// The machine.
    pub machine: Spec,
    /// After a good backup come wrong conditions and interruptions, and nothing else.
    pub faults: Option<Faults>,
    /// Every time limit is as many times as long.
    pub patience: u32,
    /// The machine that the medium is booted on.
    pub recover: Recover,
    /// The first boot.
    pub boot: Boot,
    /// What may differ.
    pub compare: Compare,
}

fn yes() -> bool {
    true
}
fn once() -> u32 {
    1
}
/// All scenarios of a folder, sorted by name.
#[derive(Clone, Debug)]
pub struct Catalogue(pub Vec<Scenario>);

impl Catalogue {
    /// Reads every `*.toml` of a folder.
    ///
    /// # Errors
    /// A file that cannot be read or is no scenario.
    pub fn read(dir: &Path) -> Result<Self> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(sys::Error::io("list", dir))? {
            let path = entry.map_err(sys::Error::io("list", dir))?.path();
            if path.extension().is_some_and(|ending| ending == "toml") {
                let text = std::fs::read_to_string(&path).map_err(sys::Error::io("read", &path))?;
                files.push((path, text));
            }
        }
        files.sort();
        Self::parse(&files)
    }

    /// Builds the catalogue from the texts of the files.
    ///
    /// # Errors
    /// A text that is no scenario.
    pub fn parse(files: &[(PathBuf, String)]) -> Result<Self> {
        let wrong = |path: &Path, detail: String| Error::Scenario { path: path.to_owned(), detail };
        let mut parsed = Vec::new();
        for (path, text) in files {
            let file: File = toml::from_str(text).map_err(|error| wrong(path, error.to_string()))?;
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            parsed.push((name, path, file));
        }
        let mut scenarios = Vec::new();
        for (name, path, file) in &parsed {
            let model = match &file.like {
                None => None,
                Some(like) => Some(
                    parsed
                        .iter()
                        .find(|(other, _, _)| other == like)
                        .and_then(|(_, _, other)| other.machine.clone())
                        .ok_or_else(|| wrong(path, format!("there is no machine in a scenario '{like}'")))?,
                ),
            };
            let changed = file.sector_size.is_some() || file.firmware.is_some() || !file.packages.is_empty();
            let own = file.machine.is_some() || changed || file.faults.is_some();
            let mut machine = file
                .machine
                .clone()
                .or(model)
                .ok_or_else(|| wrong(path, "it needs a [machine] or like = \"SCENARIO\"".to_owned()))?;
            if let Some(size) = file.sector_size {
                machine.disk.iter_mut().for_each(|disk| disk.sector_size = size);
            }
            machine.firmware = file.firmware.unwrap_or(machine.firmware);
            machine.packages.extend(file.packages.iter().cloned());
            check(&machine, &file.recover, &file.boot).map_err(|detail| wrong(path, detail))?;
            for pattern in file
                .recover
                .console
                .iter()
                .chain(&file.recover.refusal)
                .chain(&file.recover.complete)
                .chain(file.recover.dialog.iter().chain(&machine.dialog).map(|say| &say.wait))
                .chain(file.recover.dialog.iter().filter_map(|say| say.answer.as_ref()))
                .chain(&file.compare.paths)
                .chain(&file.compare.identifiers)
            {
                Regex::new(pattern).map_err(|error| wrong(path, format!("'{pattern}': {error}")))?;
            }
            let source = if own { name.clone() } else { file.like.clone().unwrap_or_else(|| name.clone()) };
            scenarios.push(Scenario {
                name: name.clone(),
                title: file.title.clone(),
                ci: file.ci,
                source,
                machine,
                faults: file.faults,
                patience: file.patience,
                recover: file.recover.clone(),
                boot: file.boot.clone(),
                compare: file.compare.clone(),
            });
        }
        Ok(Self(scenarios))
    }

    /// The scenario of this name, or the only one whose name begins so.
    pub fn find(&self, name: &str) -> Option<&Scenario> {
        self.0.iter().find(|scenario| scenario.name == name).or_else(|| {
            let mut matching = self.0.iter().filter(|scenario| scenario.name.starts_with(name));
            matching.next().filter(|_| matching.next().is_none())
        })
    }
}

fn check(machine: &Spec, recover: &Recover, boot: &Boot) -> Result<(), String> {
    machine.check()?;
    if let Some(sizes) = &recover.sizes
        && sizes.is_empty()
        && recover.foreign.is_none()
    {
        return Err("a machine without disks cannot be recovered".to_owned());
    }
    if let Some(index) = recover.keep.iter().find(|index| **index >= machine.disk.len()) {
        return Err(format!("disk {index} cannot be kept, because it is not there"));
    }
    for say in &recover.dialog {
        let at = &say.wait;
        match (&say.send, &say.ssh) {
            (None, None) | (Some(_), Some(_)) => {
                return Err(format!("the dialog at '{at}' needs either send or ssh"));
            }
            (Some(_), None) if say.answer.is_some() => {
                return Err(format!("the dialog at '{at}': only ssh has an answer; wait for the next one"));
            }
            (None, Some(_)) if recover.password.is_none() => {
                return Err(format!("the dialog at '{at}' has ssh, which needs recover.password"));
            }
            _ => {}
        }
    }
    match boot.without.iter().find(|index| **index >= machine.disk.len()) {
        Some(index) => Err(format!("it cannot be booted without disk {index}, which is not there")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
