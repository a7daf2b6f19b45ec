//! The order of the work: check, collect, write. The host is only read.

use std::path::{Path, PathBuf};

use sys::Sys;

use crate::collect::Collector;
use crate::host::{Dirs, Host};
use crate::programs::{COMPANIONS, LVM_LINKS, NEEDED, WANTED};
use crate::{Error, Recipe, Ssh, elf, etc, firmware, kernel, modules, pack, udev};

/// What was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The kernel file that goes with it.
    pub kernel: PathBuf,
    /// Size of the image, in bytes.
    pub initramfs_bytes: u64,
    /// Size in the rescue system's memory, in bytes (about).
    pub unpacked_bytes: u64,
    /// Number of programs carried by name.
    pub programs: usize,
    /// Number of kernel modules.
    pub modules: usize,
    /// Number of firmware files.
    pub firmware: usize,
    /// Programs of the configuration (`PROGS`) and of the built-in list that this host does not have.
    pub missing_programs: Vec<String>,
    /// Number of files in all.
    pub files: usize,
    /// What is carried but may not work, as sentences.
    pub warnings: Vec<String>,
}

/// The cheap look ahead, before any work: the kernel is there and fits, its modules are there, every program that
/// the recovery needs is installed.
pub fn check(_sys: &dyn Sys, recipe: &Recipe<'_>) -> Result<(), Error> {
    check_settled(&settled(recipe)?.0)
}

/// The recipe with the release of the kernel that will be carried, and that kernel's file.
fn settled<'r>(recipe: &Recipe<'r>) -> Result<(Recipe<'r>, PathBuf), Error> {
    let modules = !modules::none_wanted(recipe);
    let kernel = kernel::choose(recipe.root, &recipe.kernel_release, recipe.kernel_file.as_deref(), modules)?;
    Ok((Recipe { kernel_release: kernel.release, ..recipe.clone() }, kernel.file))
}

fn check_settled(recipe: &Recipe<'_>) -> Result<(), Error> {
    let dirs = Dirs::default();
    let host = Host::remembering(recipe.root, &dirs);
    kernel::check_zstd(host, &recipe.kernel_release)?;
    let dir = modules::dir(host, &recipe.kernel_release);
    if !modules::none_wanted(recipe) && !host.is_file(dir.join("modules.dep")) {
        return Err(Error::NoModules { release: recipe.kernel_release.clone(), dir: host.real(&dir) });
    }
    check_rear(&recipe.rear_binary)?;
    etc::check_keymap(host, &recipe.keymap)?;
    let collector = Collector::new(host)?;
    let mut missing: Vec<&str> =
        required(recipe).into_iter().filter(|name| collector.find(name).is_none()).collect();
    if udev::daemon(&collector).is_none() {
        missing.push("systemd-udevd");
    }
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() { Ok(()) } else { Err(Error::MissingPrograms { names: missing.join(", ") }) }
}

fn required<'r>(recipe: &'r Recipe<'_>) -> Vec<&'r str> {
    NEEDED
        .iter()
        .copied()
        .chain(recipe.required_progs.iter().map(String::as_str))
        .filter(|name| !name.is_empty() && *name != "rear")
        .collect()
}

/// `rear` restores whatever state the host's libraries are in, so it must need none of them.
fn check_rear(path: &Path) -> Result<(), Error> {
    let bad = |why: &str| {
        // The caller may say "/proc/self/exe", which tells a user nothing.
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        Error::BadRear { path, why: why.to_owned() }
    };
    let Some(needs) = elf::needs(path)? else { return Err(bad("it is not a program")) };
    if needs.interpreter.is_some() || !needs.libraries.is_empty() {
        return Err(bad("it needs shared libraries"));
    }
    Ok(())
}

/// Builds the image as a new file that only root can read. On an error nothing of it stays.
pub fn build(sys: &dyn Sys, recipe: &Recipe<'_>, initramfs: &Path) -> Result<Image, Error> {
    let (recipe, kernel) = settled(recipe)?;
    let recipe = &recipe;
    check_settled(recipe)?;
    let dirs = Dirs::default();
    let host = Host::remembering(recipe.root, &dirs);
    let mut collector = Collector::new(host)?;

    let (programs, missing_programs) = programs(&mut collector, recipe)?;
    recipe.cancel.check()?;
    udev::plan(&mut collector)?;
    for pattern in &recipe.libs {
        if collector.take_all(pattern)? == 0 {
            collector.warnings.push(format!("LIBS names {pattern}, which does not exist"));
        }
    }
    let modules = modules::select(recipe)?;
    modules.plan(host, &mut collector.tree)?;
    let firmware = firmware::plan(sys, recipe, host, &modules, &mut collector.tree)?;
    etc::plan(sys, recipe, &mut collector)?;
    for word in recipe.copy_as_is.iter().filter(|word| !word.is_empty()) {
        let paths = host.expand(word);
        if paths.is_empty() {
            collector.warnings.push(format!("COPY_AS_IS names {word}, which does not exist"));
        }
        for path in paths {
            collector.copy(&path, &recipe.copy_as_is_exclude, &recipe.cancel)?;
        }
    }
    udev::rules(&mut collector)?;
    collector.finish_libraries()?;
    // Last, so that nothing of the host can take their place.
    etc::plan_own(recipe, &mut collector)?;

    for warning in &collector.warnings {
        tracing::warn!("{warning}");
    }
    let packed = pack::write(&collector.tree, initramfs, recipe.level, recipe.threads, &recipe.cancel)?;
    Ok(Image {
        kernel,
        initramfs_bytes: packed.packed,
        unpacked_bytes: packed.unpacked,
        programs,
        modules: modules.files.len(),
        firmware,
        missing_programs,
        files: packed.files,
        warnings: collector.warnings,
    })
}

/// Collects the programs; how many, and the names of those that are not there.
fn programs(collector: &mut Collector<'_>, recipe: &Recipe<'_>) -> Result<(usize, Vec<String>), Error> {
    let (mut count, mut missing, mut broken) = (0, Vec::new(), Vec::new());
    for name in required(recipe) {
        recipe.cancel.check()?;
        if let Some(path) = collector.find(name) {
            broken.extend(collector.program(&path)?);
            count += 1;
        }
    }
    if !broken.is_empty() {
        broken.sort();
        broken.dedup();
        return Err(Error::MissingLibraries { details: broken.join("; ") });
    }
    let wanted = WANTED.iter().copied();
    for name in wanted.chain(recipe.progs.iter().map(String::as_str)).filter(|name| !name.is_empty()) {
        recipe.cancel.check()?;
        match collector.find(name) {
            Some(path) => {
                let reasons = collector.program(&path)?;
                if reasons.is_empty() {
                    count += 1;
                } else {
                    collector.warnings.push(format!("{name} is left out: {}", reasons.join("; ")));
                    missing.push(name.to_owned());
                }
            }
            None => missing.push(name.to_owned()),
        }
    }
    if recipe.ssh != Ssh::Off && missing.iter().any(|name| name == "sshd" || name == "ssh-keygen") {
        let text = "no ssh server is installed, so nobody can log in to the rescue system by ssh; install openssh-server";
        collector.warnings.push(text.to_owned());
    }
    if let Some(lvm) = collector.find("lvm") {
        for name in LVM_LINKS.iter().copied() {
            match collector.find(name) {
                Some(path) => collector.take(&path)?,
                None => collector.tree.link(lvm.with_file_name(name), "lvm"),
            }
        }
    }
    for (program, patterns) in COMPANIONS {
        if collector.find(program).is_some() {
            for pattern in patterns {
                collector.take_all(pattern)?;
            }
        }
    }
    missing.sort();
    missing.dedup();
    Ok((count, missing))
}
