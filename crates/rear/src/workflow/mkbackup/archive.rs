//! The file side of a recovery point: making the archive, and putting a recovery point into a directory.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use backup::{Encrypted, Exclude, Problem, ProblemKind, Volumes};
use layout::Bytes;
use sys::Sys;
use sys::fs::Staging;

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::point::{self, Archive, Part, Seal};
use crate::workflow::blockclone;
use crate::workflow::machine::Machine;
use crate::workflow::mkbackup::Destinations;
use crate::workflow::mkbackup::encrypt::Encrypt;
use crate::workflow::mkbackup::source::{self, Files};
use crate::workflow::preflight::{self, Refusals};

/// Bytes that the archive will hold at most. What the filesystems have in use is known at once; where there may be too
/// little room for that, a walk over all files tells what is left of it when the rules have left something out.
pub(super) fn data_bytes(context: &Context, machine: &Machine, destinations: &Destinations) -> Result<u64> {
    let used = machine.data_bytes();
    if destinations.work_dirs().all(|dir| preflight::is_ample(context, dir, used)) {
        return Ok(used);
    }
    let shown = Files::seen(context, machine, &destinations.own().collect::<Vec<_>>())?;
    let measured = backup::measure(&shown.source, &context.archive_options())?;
    shown.unmount(context)?;
    Ok(measured.min(used))
}

/// Without any of these, no machine starts.
const ESSENTIAL: [&str; 6] = ["/boot", "/etc/fstab", "/etc/passwd", "/lib/modules", "/sbin/init", "/bin/sh"];

/// Refuses patterns that leave out what the recovered machine would not start without.
pub fn refuse_lifeless(context: &Context, refusals: &mut Refusals) -> Result<()> {
    if context.settings().only_include.is_some() {
        return Ok(());
    }
    let missing = essential_left_out(&context.sys, &source::exclude(context)?);
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
    let encrypt = Encrypt::configured(context)?;
    let mut shown = Files::show(context, machine, skip, Some(dir))?;
    let is_part = shown.source.only.is_some();
    let total = machine.data_bytes();
    let mut name = format!("{}{}", point::ARCHIVE, context.settings().compression.suffix);
    let mut manifest_name = point::MANIFEST;
    if encrypt.is_some() {
        name.push_str(point::ENCRYPTED);
        manifest_name = point::ENCRYPTED_MANIFEST;
    }
    let stage = context.ui.stage_of("archive", total);
    let options = context.archive_options();
    let split = context.settings().backup_split_size;
    // Hashed on their way into the files: reading back then proves the files, not only what was read of them before.
    let mut list = Volumes::one(sys::fs::create_private(&dir.join(manifest_name))?);
    let mut volumes = point::volumes(dir, &name, split)?;
    let (source, mut keys) = (&shown.source, None);
    let mut created = match &encrypt {
        None => shown.judge(backup::create_into(source, &mut volumes, &mut list, &options, &stage))?,
        Some(encrypt) => {
            let mut archive = Encrypted::begin(&encrypt.lock, &mut volumes)?;
            let mut manifest = Encrypted::begin(&encrypt.lock, &mut list)?;
            let made = backup::create_into(source, &mut archive, &mut manifest, &options, &stage);
            let created = shown.judge(made)?;
            keys = Some((archive.key().clone(), manifest.key().clone()));
            created
        }
    };
    if let Some((key, _)) = &keys {
        created.archive_blake3 = key.digest(&created.archive_blake3);
    }
    let mut files = point::parts_of(&name, split, &volumes);
    let manifest = list.written().first().map(|one| Part {
        name: manifest_name.to_owned(),
        bytes: one.bytes,
        blake3: one.blake3.clone(),
    });

    let hidden = std::mem::take(&mut shown.hidden);
    shown.unmount(context)?;

    for problem in &created.problems {
        tracing::warn!(path = %problem.path.display(), kind = ?problem.kind, "{}", problem.detail);
    }
    source::refuse_unreadable(&created.problems)?;
    source::refuse_empty(created.files, is_part)?;
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
    parts.extend(manifest);
    blockclone::save(context, machine, dir, encrypt.as_ref(), parts)?;
    let count = split.map_or(0, |_| u32::try_from(files.len()).unwrap_or(0));
    parts.append(&mut files);
    let facts = Archive {
        name: name.clone(),
        volumes: count,
        encryption: encrypt.as_ref().map(|encrypt| encrypt.kind),
        bytes: created.archive_bytes,
        blake3: created.archive_blake3.clone(),
        files: created.files,
        data_bytes: created.data_bytes,
    };
    if let (Some(encrypt), Some(keys)) = (&encrypt, &keys) {
        encrypt.try_out(context, dir, &facts, keys)?;
    }
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
