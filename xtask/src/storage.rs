//! `cargo xtask storage`: layouts made by hand in a guest, saved, wiped, recreated and compared.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use drill::{Base, Lab, LayoutReport, StorageDrill};

use crate::shop::Shop;

/// The layouts that are tried for every change; the others take too long, or do not pass yet.
const EVERY_CHANGE: &[&str] = &["gpt-ext4-gaps", "mbr-logical", "md-raid1"];

/// Prints every layout with its first line.
pub(crate) fn list(shop: &Shop) -> Result<ExitCode> {
    for (name, title) in drill::storage_layouts(&folder(shop))? {
        let when = if EVERY_CHANGE.contains(&name.as_str()) { "" } else { " [only with --all]" };
        // A closed pipe (`| head`) is no reason to fail.
        let _ = writeln!(std::io::stdout(), "{name:<24} {title}{when}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs layouts by name (or the beginning of names, with a `*`), and prints what came of each.
pub(crate) fn run(shop: &Shop, names: &[String], all: bool, program: Option<PathBuf>) -> Result<ExitCode> {
    let names = chosen(shop, names, all)?;
    shop.provide(true)?;
    let program = match program {
        Some(file) => file,
        None => shop.build_recreate()?,
    };
    let lab = shop.storage_lab();
    let base = base(shop)?;
    let job = Job { base, names, layouts: folder(shop), program, dir: run_dir(&lab) };
    let logs = job.dir.clone();
    let reports = job.run(&lab);
    shop.cancel.check()?;
    println!();
    print(&reports);
    shop.say(&format!("logs are in {}/boot*/out/NAME/", logs.display()));
    let failed = reports.iter().filter(|report| report.failure.is_some()).count();
    println!("{} passed, {failed} failed", reports.len() - failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Layouts that are ready to be run.
pub(crate) struct Job {
    base: Base,
    names: Vec<String>,
    layouts: PathBuf,
    program: PathBuf,
    dir: PathBuf,
}

impl Job {
    /// Those for every change, or all of them, for a caller that has the place where VMs are made for itself.
    pub(crate) fn prepare(shop: &Shop, lab: &Lab, all: bool) -> Result<Self> {
        let names = chosen(shop, &[], all)?;
        let program = shop.build_recreate()?;
        let base = Base::prepare(lab, &drill::storage_recipe())?;
        Ok(Self { base, names, layouts: folder(shop), program, dir: run_dir(lab) })
    }

    /// Runs them in guests, and removes the disks. Without a guest, each of them has failed.
    pub(crate) fn run(self, lab: &Lab) -> Vec<LayoutReport> {
        let Self { base, names, layouts, program, dir } = self;
        let drill = StorageDrill { lab, base: &base, layouts, program, dir };
        let reports = drill.run(&names);
        drill.sweep();
        reports.unwrap_or_else(|error| {
            let failure = Some(error.to_string());
            names
                .into_iter()
                .map(|name| LayoutReport { name, failure: failure.clone(), seconds: None })
                .collect()
        })
    }
}

/// The base machine; only its making needs the place where VMs are made for itself.
fn base(shop: &Shop) -> Result<Base> {
    let recipe = drill::storage_recipe();
    let lab = shop.storage_lab();
    if let Some(base) = Base::cached(&lab, &recipe) {
        return Ok(base);
    }
    let (lab, _lock) = shop.lab().context("the guest of the storage drill has to be made first")?;
    Ok(Base::prepare(&lab, &recipe)?)
}

/// A folder of this process: several may run at the same time. Those of processes that are gone are removed.
fn run_dir(lab: &Lab) -> PathBuf {
    let dir = lab.run_dir(&format!("storage-{}", std::process::id()));
    let runs = dir.parent().map(Path::to_owned).unwrap_or_default();
    for entry in std::fs::read_dir(runs).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(process) = name.strip_prefix("storage-").and_then(|name| name.parse::<u32>().ok())
            && !Path::new("/proc").join(process.to_string()).exists()
            && old(&entry.path())
        {
            // What cannot be removed only takes space.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    dir
}

/// Whether a folder is older than a day: until then its logs are kept.
fn old(dir: &Path) -> bool {
    let age = std::fs::metadata(dir).and_then(|data| data.modified()).ok().and_then(|at| at.elapsed().ok());
    age.is_some_and(|age| age.as_secs() > 24 * 3600)
}

fn folder(shop: &Shop) -> PathBuf {
    shop.root.join("tests/storage")
}

/// The names that are meant: all, those for every change when none is given, or those that match.
fn chosen(shop: &Shop, names: &[String], all: bool) -> Result<Vec<String>> {
    let known: Vec<String> =
        drill::storage_layouts(&folder(shop))?.into_iter().map(|(name, _)| name).collect();
    if all {
        return Ok(known);
    }
    if names.is_empty() {
        return Ok(EVERY_CHANGE.iter().map(|name| (*name).to_owned()).collect());
    }
    let mut chosen: Vec<String> = Vec::new();
    for wanted in names {
        let fits = |name: &&String| match wanted.strip_suffix('*') {
            Some(beginning) => name.starts_with(beginning),
            None => *name == wanted,
        };
        let before = chosen.len();
        for name in known.iter().filter(fits) {
            if !chosen.contains(name) {
                chosen.push(name.clone());
            }
        }
        if chosen.len() == before && !chosen.contains(wanted) {
            bail!("there is no layout '{wanted}'; cargo xtask storage --list names them");
        }
    }
    Ok(chosen)
}

/// Prints one line a layout.
pub(crate) fn print(reports: &[LayoutReport]) {
    for report in reports {
        let seconds = report.seconds.map(|seconds| format!("{seconds} s")).unwrap_or_default();
        match &report.failure {
            None => println!("{:<24} ok      {seconds:>6}", report.name),
            Some(why) => println!("{:<24} FAILED  {seconds:>6}  {why}", report.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layouts_of_every_change_exist_and_have_titles() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/storage");
        let known = drill::storage_layouts(&dir).unwrap();
        for name in EVERY_CHANGE {
            assert!(known.iter().any(|(one, _)| one == name), "there is no layout {name}");
        }
        for (name, title) in known {
            assert!(title.ends_with('.'), "{name} has no title in its first line");
        }
    }
}
