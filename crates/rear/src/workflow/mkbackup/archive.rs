//! The file side of a recovery point: making the archive, and putting a recovery point into a directory.

use std::io::Write;
use std::path::{Path, PathBuf};

use backup::{Exclude, Problem, ProblemKind, Source};
use layout::Bytes;

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::point::{self, Archive, Part, Seal};
use crate::workflow::machine::Machine;
use crate::workflow::preflight::Refusals;

/// Where the captured filesystems are shown without what is mounted over them (in our own mount namespace).
const EXPOSED: &str = "/run/rear/source";

/// Shows each captured filesystem alone: what lies hidden below `/dev`, `/run` or a network mount is a file of this
/// machine like any other, and comes back. The binds are seen by this process alone.
fn expose(mounts: &[PathBuf]) -> Result<sys::mount::Mounts> {
    let root = Path::new(EXPOSED);
    sys::fs::create_dir_private(root)?;
    let mut exposed = sys::mount::Mounts::default();
    for mount in mounts {
        let below = mount.strip_prefix("/").unwrap_or(mount);
        exposed.push(sys::mount::Mount::bind_one(mount, &root.join(below))?);
    }
    Ok(exposed)
}

/// Archives every covered filesystem into `dir`. Files that cannot be read fail the run; files that changed or
/// vanished meanwhile are named.
pub fn create(
    context: &Context,
    machine: &Machine,
    dir: &Path,
    skip: Vec<PathBuf>,
    parts: &mut Vec<Part>,
) -> Result<(Archive, Vec<Problem>)> {
    let settings = context.settings();
    let exclude = Exclude::new(&settings.backup_prog_exclude)
        .map_err(|error| Failure::from(error).during("BACKUP_PROG_EXCLUDE"))?;
    let mounts: Vec<PathBuf> = machine.coverage.mounts.iter().map(PathBuf::from).collect();
    let exposed = expose(&mounts)?;
    let source = Source { root: PathBuf::from(EXPOSED), mounts, exclude, skip_paths: skip };
    let total = machine.data_bytes();
    let archive = sys::fs::create_private(&dir.join(point::ARCHIVE))?;
    let manifest = sys::fs::create_private(&dir.join(point::MANIFEST))?;
    let stage = context.ui.stage_of("archive", total);
    let created = backup::create(&source, &archive, &manifest, &context.archive_options(), &stage)?;

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
    if created.files < 10 {
        return Err(Failure::failed(format!(
            "the archive holds only {} entries: that is no machine",
            created.files
        )));
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
    parts.push(point::measure(&dir.join(point::MANIFEST), point::MANIFEST, &context.cancel)?);
    parts.push(point::measure(&dir.join(point::ARCHIVE), point::ARCHIVE, &context.cancel)?);
    let facts = Archive {
        bytes: created.archive_bytes,
        blake3: created.archive_blake3.clone(),
        files: created.files,
        data_bytes: created.data_bytes,
    };
    Ok((facts, created.problems))
}

/// Seals the parts, reads them back and gives the directory its name; what had that name before goes away after.
pub fn publish(context: &Context, seal: &Seal, parts_dir: &Path, dir: &Path) -> Result<()> {
    let stage = context.ui.stage("seal");
    let mut file = sys::fs::create_private(&parts_dir.join(point::SEAL))?;
    file.write_all(&serde_json::to_vec_pretty(seal)?)?;
    file.sync_all()?;
    let read = Seal::read(parts_dir)?;
    for part in &read.parts {
        let found = point::measure(&parts_dir.join(&part.name), &part.name, &context.cancel)?;
        if found != *part {
            return Err(Failure::failed(format!(
                "{} reads back differently from what was written",
                part.name
            ))
            .hint(
                "the destination's disk or network damages data; the previous recovery point is unchanged",
            ));
        }
    }
    // The parts may lie on another filesystem than the destination (medium and backup have different places).
    let parent = dir.parent().ok_or_else(|| Failure::failed("the backup directory has no parent"))?;
    sys::fs::create_dir_private(parent)?;
    let incoming = sys::fs::Staging::create(parent)?;
    for name in seal.parts.iter().map(|part| part.name.as_str()).chain([point::SEAL]) {
        let (from, to) = (parts_dir.join(name), incoming.path().join(name));
        if std::fs::rename(&from, &to).is_err() {
            std::fs::copy(&from, &to)?;
            std::fs::File::open(&to)?.sync_all()?;
            if name != point::SEAL && point::measure(&to, name, &context.cancel)? != *seal.part(name)? {
                return Err(Failure::failed(format!(
                    "{name} was damaged on its way to {}",
                    parent.display()
                )));
            }
        }
    }
    if dir.exists() {
        // One step, so that there is a complete recovery point under this name at every moment. What is
        // exchanged for it goes away with the working directory.
        rustix::fs::renameat_with(
            rustix::fs::CWD,
            incoming.path(),
            rustix::fs::CWD,
            dir,
            rustix::fs::RenameFlags::EXCHANGE,
        )
        .map_err(|error| {
            Failure::failed(format!("cannot put the recovery point at {}: {error}", dir.display()))
        })?;
    } else {
        std::fs::rename(incoming.path(), dir)?;
        let mut incoming = incoming;
        incoming.keep();
    }
    stage.done(format!("{} read back", dir.display()));
    Ok(())
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
