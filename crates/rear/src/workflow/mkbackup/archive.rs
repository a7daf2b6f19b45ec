//! The file side of a recovery point: making the archive, and putting a recovery point into a directory.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use backup::{Exclude, Only, Problem, ProblemKind, Source};
use layout::Bytes;
use sys::Sys;
use sys::fs::Staging;
use sys::mount::{Mount, Mounts};

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::point::{self, Archive, Part, Seal};
use crate::workflow::beneath::{self, MountPoint};
use crate::workflow::machine::Machine;
use crate::workflow::mkbackup::Destinations;
use crate::workflow::preflight::{self, Refusals};
use crate::workflow::subvolumes;

/// Where the captured filesystems are shown without what is mounted over them (in our own mount namespace).
const EXPOSED: &str = "/run/rear/source";

/// Shows each captured filesystem alone: what lies hidden below `/dev`, `/run` or a network mount is a file of this
/// machine like any other, and comes back. The binds are seen by this process alone.
fn expose(mounts: &[PathBuf]) -> Result<(PathBuf, Mounts, Vec<MountPoint>)> {
    let root = Path::new(EXPOSED);
    sys::fs::create_dir_private(root)?;
    let mut exposed = Mounts::default();
    let mut hidden = Vec::new();
    for mount in mounts {
        let target = root.join(mount.strip_prefix("/").unwrap_or(mount));
        if !target.is_dir() {
            // Its directory lies on a filesystem that is not captured (a mount below a mount), and nothing is
            // written to the machine to show it: the tree is read as it is seen.
            return Ok((PathBuf::from("/"), Mounts::default(), Vec::new()));
        }
        if mount != Path::new("/") {
            // Not yet covered by its mount here.
            hidden.push(beneath::read(&target, mount)?);
        }
        exposed.push(Mount::bind_one(mount, &target)?);
    }
    Ok((root.to_owned(), exposed, hidden))
}

/// Bytes that the archive will hold at most. What the filesystems have in use is known at once; where there may be too
/// little room for that, a walk over all files tells what is left of it when the rules have left something out.
pub fn data_bytes(context: &Context, machine: &Machine, destinations: &Destinations) -> Result<u64> {
    let used = machine.data_bytes();
    if destinations.work_dirs().all(|dir| preflight::is_ample(context, dir, used)) {
        return Ok(used);
    }
    let (views, shown) = subvolumes::show(&machine.layout, &machine.coverage.tops)?;
    let source = Source {
        root: PathBuf::from("/"),
        mounts: machine.coverage.mounts.iter().map(PathBuf::from).collect(),
        exclude: exclude(context)?,
        skip_paths: left_out(machine, &destinations.own().collect::<Vec<_>>()),
        hollow: hollow(machine),
        views,
        only: only(context, machine),
    };
    let measured = backup::measure(&source, &context.archive_options())?;
    shown.unmount()?;
    Ok(measured.min(used))
}

/// What the configuration asks for, where that is not everything. Mount points are there in any case.
fn only(context: &Context, machine: &Machine) -> Option<Only> {
    let paths = context.settings().only_include.as_ref()?.iter().map(PathBuf::from).collect();
    let directories = machine.layout.mounts.iter().map(|mount| PathBuf::from(&mount.mount_point)).collect();
    Some(Only { paths, directories })
}

/// What the configuration leaves out.
fn exclude(context: &Context) -> Result<Exclude> {
    Exclude::new(&context.settings().backup_prog_exclude)
        .map_err(|error| Failure::from(error).during("BACKUP_PROG_EXCLUDE"))
}

/// Without any of these, no machine starts.
const ESSENTIAL: [&str; 6] = ["/boot", "/etc/fstab", "/etc/passwd", "/lib/modules", "/sbin/init", "/bin/sh"];

/// Refuses patterns that leave out what the recovered machine would not start without.
pub fn refuse_lifeless(context: &Context, refusals: &mut Refusals) -> Result<()> {
    if context.settings().only_include.is_some() {
        return Ok(());
    }
    let missing = essential_left_out(&context.sys, &exclude(context)?);
    if !missing.is_empty() {
        refusals.add(format!(
            "BACKUP_PROG_EXCLUDE leaves out {}, without which the recovered machine does not start",
            missing.join(", ")
        ));
    }
    Ok(())
}

fn essential_left_out(sys: &dyn Sys, exclude: &Exclude) -> Vec<&'static str> {
    let left_out = |path: &&str| {
        // The walk follows no links.
        sys.canonicalize(path.as_ref()).is_ok_and(|real| exclude.covers(real.as_os_str().as_bytes()))
    };
    ESSENTIAL.into_iter().filter(left_out).collect()
}

/// The walk follows no links, so what is left out is named by its real path too.
fn with_real_paths(paths: &[PathBuf]) -> Vec<PathBuf> {
    let real = paths.iter().filter_map(|path| {
        let parent = path.parent()?.canonicalize().ok()?;
        Some(parent.join(path.file_name()?))
    });
    paths.iter().cloned().chain(real).collect()
}

/// Our own files, and what of a btrfs is read elsewhere or not at all.
fn left_out(machine: &Machine, own: &[PathBuf]) -> Vec<PathBuf> {
    let elsewhere = machine.coverage.skip.iter().map(PathBuf::from);
    with_real_paths(own).into_iter().chain(elsewhere).collect()
}

/// Swap files: what they hold is worth nothing after a boot.
fn hollow(machine: &Machine) -> Vec<PathBuf> {
    machine.coverage.hollow.iter().map(PathBuf::from).collect()
}

/// Archives every covered filesystem into `dir`. Files that cannot be read fail the run; files that changed or
/// vanished meanwhile are named.
pub fn create(
    context: &Context,
    machine: &Machine,
    dir: &Path,
    skip: &[PathBuf],
    parts: &mut Vec<Part>,
    problems: &mut Vec<Problem>,
) -> Result<Archive> {
    let exclude = exclude(context)?;
    let mounts: Vec<PathBuf> = machine.coverage.mounts.iter().map(PathBuf::from).collect();
    let skip_paths = left_out(machine, skip);
    let (root, exposed, hidden) = expose(&mounts)?;
    let (views, shown) = subvolumes::show(&machine.layout, &machine.coverage.tops)?;
    let only = only(context, machine);
    let is_part = only.is_some();
    let source = Source { root, mounts, exclude, skip_paths, hollow: hollow(machine), views, only };
    let total = machine.data_bytes();
    let archive = sys::fs::create_private(&dir.join(point::ARCHIVE))?;
    let manifest = sys::fs::create_private(&dir.join(point::MANIFEST))?;
    let stage = context.ui.stage_of("archive", total);
    let created = backup::create(&source, &archive, &manifest, &context.archive_options(), &stage)?;

    shown.unmount()?;
    exposed.unmount()?;

    let unreadable: Vec<_> =
        created.problems.iter().filter(|problem| problem.kind == ProblemKind::Unreadable).collect();
    for problem in &created.problems {
        tracing::warn!(path = %problem.path.display(), kind = ?problem.kind, "{}", problem.detail);
    }
    if !unreadable.is_empty() {
        let list: String = unreadable
            .iter()
            .take(20)
            .map(|problem| format!("\n- {}: {}", problem.path.display(), problem.detail))
            .collect();
        return Err(Failure::failed(format!("{} file(s) could not be read:{list}", unreadable.len()))
            .hint("repair them or leave them out with BACKUP_PROG_EXCLUDE; no recovery point was made"));
    }
    if created.files < 10 && !is_part {
        return Err(Failure::failed(format!(
            "the archive holds only {} entries: that is no machine",
            created.files
        ))
        .hint("look at BACKUP_PROG_EXCLUDE; no recovery point was made"));
    }
    stage.done(format!(
        "{} files, {} -> {}",
        created.files,
        Bytes(created.data_bytes),
        Bytes(created.archive_bytes)
    ));
    for problem in created.problems.iter().filter(|problem| problem.kind != ProblemKind::Skipped).take(10) {
        let what = match problem.kind {
            ProblemKind::Changed => "changed while it was read",
            ProblemKind::Vanished => "vanished while it was read",
            ProblemKind::Unreadable | ProblemKind::Skipped => "was not read",
        };
        context.ui.warn(format!("{} {what}", problem.path.display()));
    }
    parts.push(super::part(dir, point::MOUNT_POINTS, &serde_json::to_vec(&hidden)?)?);
    parts.push(point::measure(&dir.join(point::MANIFEST), point::MANIFEST, &context.cancel)?);
    parts.push(point::measure(&dir.join(point::ARCHIVE), point::ARCHIVE, &context.cancel)?);
    let facts = Archive {
        bytes: created.archive_bytes,
        blake3: created.archive_blake3.clone(),
        files: created.files,
        data_bytes: created.data_bytes,
    };
    problems.extend(created.problems);
    Ok(facts)
}

/// Seals the parts, reads them back and gives the directory its name; what had that name before goes away after.
pub fn publish(context: &Context, seal: &Seal, mut staging: Staging, dir: &Path) -> Result<()> {
    let stage = context.ui.stage("seal");
    let mut file = sys::fs::create_private(&staging.path().join(point::SEAL))?;
    file.write_all(&seal.text()?)?;
    file.sync_all()?;
    let read = Seal::read(staging.path())?;
    for part in &read.parts {
        if point::read_back(&staging.path().join(&part.name), &part.name, &context.cancel)? != *part {
            return Err(Failure::failed(format!(
                "{} reads back differently from what was written",
                part.name
            ))
            .hint(
                "the destination's disk or network damages data; the previous recovery point is unchanged",
            ));
        }
    }
    if dir.exists() {
        exchange(staging.path(), dir)?;
        // What was there before now has the working directory's name and goes away with it.
    } else {
        std::fs::rename(staging.path(), dir)?;
        staging.keep();
    }
    stage.done(format!("{} read back", dir.display()));
    Ok(())
}

/// Puts the new directory in the place of the old one and the old one in its place; in one step where the
/// filesystem can do that.
fn exchange(new: &Path, old: &Path) -> Result<()> {
    use rustix::fs::{CWD, RenameFlags};
    use rustix::io::Errno;
    let fail = |error: &dyn std::fmt::Display| {
        Failure::failed(format!("cannot put the recovery point at {}: {error}", old.display()))
    };
    match rustix::fs::renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE) {
        Ok(()) => return Ok(()),
        // NFS, CIFS and FAT cannot exchange names.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
        Err(error) => return Err(fail(&error)),
    }
    let mut aside = new.as_os_str().to_owned();
    aside.push(".previous");
    let aside = PathBuf::from(aside);
    std::fs::rename(old, &aside).map_err(|error| fail(&error))?;
    if let Err(error) = std::fs::rename(new, old) {
        let back = std::fs::rename(&aside, old);
        let where_now = if back.is_ok() { old } else { &aside };
        return Err(fail(&error).hint(format!("the previous recovery point is at {}", where_now.display())));
    }
    std::fs::rename(&aside, new).map_err(|error| fail(&error))
}

/// Whether a path lies on a disk that a recovery would recreate.
pub fn lies_on_wanted_disk(context: &Context, machine: &Machine, path: &Path) -> bool {
    let Ok(mounts) = probe::mountinfo(&context.sys) else { return false };
    let mut existing = path;
    while !existing.exists() {
        let Some(parent) = existing.parent() else { break };
        existing = parent;
    }
    let Ok(real) = existing.canonicalize() else { return false };
    let holder = mounts
        .iter()
        .filter(|mount| real.starts_with(&mount.mount_point))
        .max_by_key(|mount| mount.mount_point.len());
    holder.is_some_and(|mount| {
        let source = std::fs::canonicalize(&mount.source).unwrap_or_else(|_| PathBuf::from(&mount.source));
        machine.wanted.device_by_path(&source.to_string_lossy()).is_some()
    })
}

/// A backup that lies on a disk which its own recovery erases is no backup.
pub fn refuse_doomed(context: &Context, machine: &Machine, dir: &Path, refusals: &mut Refusals) {
    if lies_on_wanted_disk(context, machine, dir) {
        refusals.add(format!(
            "BACKUP_URL leads to {}, on a disk that the recovery would recreate: the backup would be destroyed",
            dir.display()
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_out(pattern: &str) -> Vec<&'static str> {
        essential_left_out(&sys::Real::default(), &Exclude::new(&[pattern.to_owned()]).unwrap())
    }

    #[test]
    fn what_a_machine_needs_to_start_is_not_left_out() {
        assert!(left_out("/etc/*").contains(&"/etc/passwd"));
        assert!(left_out("/etc").contains(&"/etc/passwd"));
        assert!(left_out("*/passwd").contains(&"/etc/passwd"));
        // Where /bin is a link, the shell lies below /usr.
        let shell = std::fs::canonicalize("/bin/sh").unwrap();
        assert!(left_out(shell.parent().unwrap().to_str().unwrap()).contains(&"/bin/sh"));
        for harmless in ["/tmp/*", "/var/lib/rear/output/*", "/srv/etc/passwd", "/etc/passwd-"] {
            assert_eq!(left_out(harmless), [""; 0], "{harmless}");
        }
    }
}
