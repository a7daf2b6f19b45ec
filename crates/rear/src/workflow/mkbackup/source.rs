//! The files of this machine as every way of saving sees them: which filesystems, shown where, less what the rules and the
//! configuration leave out; and what of the outcome is no backup. It reads nothing of them.

use std::path::{Path, PathBuf};

use backup::{Exclude, Only, Problem, ProblemKind, Source};
use sys::mount::{Mount, Mounts};

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::workflow::beneath::{self, MountPoint};
use crate::workflow::machine::Machine;
use crate::workflow::subvolumes;

/// Fewer entries are no machine, unless its owner asked for a part of it.
const FEWEST: u64 = 10;

/// Files that could not be read are no part of a backup, so there is none.
pub fn refuse_unreadable(problems: &[Problem]) -> Result<()> {
    let unreadable: Vec<_> =
        problems.iter().filter(|problem| problem.kind == ProblemKind::Unreadable).collect();
    if unreadable.is_empty() {
        return Ok(());
    }
    let named = unreadable.iter().take(20);
    let list: String =
        named.map(|problem| format!("\n- {}: {}", problem.path.display(), problem.detail)).collect();
    Err(Failure::failed(format!("{} file(s) could not be read:{list}", unreadable.len()))
        .hint("repair them or leave them out with BACKUP_PROG_EXCLUDE; no recovery point was made"))
}

/// A backup of next to nothing is none either.
pub fn refuse_empty(entries: u64, is_part: bool) -> Result<()> {
    if entries >= FEWEST || is_part {
        return Ok(());
    }
    Err(Failure::failed(format!("the backup holds only {entries} entries: that is no machine"))
        .hint("look at BACKUP_PROG_EXCLUDE; no recovery point was made"))
}

/// What is saved, shown in our own mount namespace until [`Files::unmount`].
pub struct Files {
    /// Where to read, and what to leave out.
    pub source: Source,
    /// The directories that mounts hide.
    pub hidden: Vec<MountPoint>,
    /// In the order in which they are taken down.
    mounts: Vec<Mounts>,
}

impl Files {
    /// Shows each captured filesystem alone. `skip`: our own results and work in progress.
    pub fn show(context: &Context, machine: &Machine, skip: &[PathBuf]) -> Result<Self> {
        let mounts: Vec<PathBuf> = machine.coverage.mounts.iter().map(PathBuf::from).collect();
        let (root, exposed, hidden) = expose(&mounts)?;
        let mut files = Self::under(context, machine, skip, root)?;
        files.hidden = hidden;
        files.mounts.push(exposed);
        Ok(files)
    }

    /// The same files as anybody sees them: enough to count them.
    pub fn seen(context: &Context, machine: &Machine, skip: &[PathBuf]) -> Result<Self> {
        Self::under(context, machine, skip, PathBuf::from("/"))
    }

    fn under(context: &Context, machine: &Machine, skip: &[PathBuf], root: PathBuf) -> Result<Self> {
        let (views, tops) = subvolumes::show(&machine.layout, &machine.coverage.tops)?;
        let source = Source {
            root,
            mounts: machine.coverage.mounts.iter().map(PathBuf::from).collect(),
            exclude: exclude(context)?,
            skip_paths: left_out(machine, skip),
            hollow: hollow(machine),
            views,
            only: only(context, machine),
        };
        Ok(Self { source, hidden: Vec::new(), mounts: vec![tops] })
    }

    /// Takes down what was mounted.
    pub fn unmount(self) -> Result<()> {
        for mounts in self.mounts {
            mounts.unmount()?;
        }
        Ok(())
    }
}

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

/// What the configuration asks for, where that is not everything. Mount points are there in any case.
fn only(context: &Context, machine: &Machine) -> Option<Only> {
    let paths = context.settings().only_include.as_ref()?.iter().map(PathBuf::from).collect();
    let directories = machine.layout.mounts.iter().map(|mount| PathBuf::from(&mount.mount_point)).collect();
    Some(Only { paths, directories })
}

/// What the configuration leaves out.
pub fn exclude(context: &Context) -> Result<Exclude> {
    Exclude::new(&context.settings().backup_prog_exclude)
        .map_err(|error| Failure::from(error).during("BACKUP_PROG_EXCLUDE"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreadable_files_are_named() {
        let problem = |kind| Problem { path: "/etc/x".into(), kind, detail: "broken".into() };
        assert!(refuse_unreadable(&[problem(ProblemKind::Changed)]).is_ok());
        let failure = refuse_unreadable(&[problem(ProblemKind::Unreadable)]).unwrap_err();
        assert!(failure.message.contains("/etc/x: broken"), "{}", failure.message);
    }

    #[test]
    fn next_to_nothing_is_no_machine_unless_asked_for() {
        assert!(refuse_empty(FEWEST, false).is_ok());
        assert!(refuse_empty(1, true).is_ok());
        assert!(refuse_empty(FEWEST - 1, false).unwrap_err().message.contains("no machine"));
    }
}
