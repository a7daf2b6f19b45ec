//! The files of this machine as every way of saving sees them: which filesystems, shown where, less what the rules and the
//! configuration leave out; and what of the outcome is no backup. It reads nothing of them.

use std::path::{Path, PathBuf};

use backup::{Exclude, Only, Problem, ProblemKind, Source};
use snapshot::Taken;
use sys::mount::{Mount, Mounts};

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::workflow::beneath::{self, MountPoint};
use crate::workflow::machine::Machine;
use crate::workflow::mkbackup::snapshots;
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
    /// Below the mounts, so that they go away after them.
    taken: Option<Taken>,
}

impl Files {
    /// Shows each captured filesystem alone, as it is at this moment where it can be read from a snapshot (BACKUP_SNAPSHOT), and
    /// says which these are. `skip`: our own results and work in progress. `into`: the local directory into which the files are saved.
    pub fn show(context: &Context, machine: &Machine, skip: &[PathBuf], into: Option<&Path>) -> Result<Self> {
        let mut taken = snapshots::take(context, machine, into)?;
        // From here on, mounts are dropped before what they show.
        let Exposed { root, mounts, hidden } = expose(&captured(machine), taken.as_mut())?;
        if taken.as_ref().is_some_and(|taken| !taken.is_empty()) && root == Path::new("/") {
            return Err(
                Failure::failed("what is mounted changed while snapshots were made").hint("run it again")
            );
        }
        let mut files = Self::under(context, machine, skip, root, taken.as_mut())?;
        files.hidden = hidden;
        files.mounts.push(mounts);
        files.taken = taken;
        snapshots::say(context, machine, files.taken.as_ref());
        Ok(files)
    }

    /// The same files as anybody sees them: enough to count them.
    pub fn seen(context: &Context, machine: &Machine, skip: &[PathBuf]) -> Result<Self> {
        Self::under(context, machine, skip, PathBuf::from("/"), None)
    }

    fn under(
        context: &Context,
        machine: &Machine,
        skip: &[PathBuf],
        root: PathBuf,
        mut taken: Option<&mut Taken>,
    ) -> Result<Self> {
        let (views, tops) = subvolumes::show(&machine.layout, &machine.coverage.tops, taken.as_deref_mut())?;
        let mut skip_paths = left_out(machine, skip);
        skip_paths.extend(taken.iter().flat_map(|taken| taken.own()));
        let source = Source {
            root,
            mounts: captured(machine),
            inner: taken.as_ref().map(|taken| taken.inner().to_vec()).unwrap_or_default(),
            exclude: exclude(context)?,
            skip_paths,
            hollow: hollow(machine),
            views,
            only: only(context, machine),
        };
        Ok(Self { source, hidden: Vec::new(), mounts: vec![tops], taken: None })
    }

    /// The result of reading the files; an error where a snapshot ran full meanwhile, whatever was read.
    pub fn judge<T, E: Into<Failure>>(&self, result: std::result::Result<T, E>) -> Result<T> {
        match self.taken.as_ref().and_then(Taken::trouble) {
            Some(trouble) => Err(snapshots::ran_full(&trouble)),
            None => result.map_err(Into::into),
        }
    }

    /// Takes down what was mounted, and removes the snapshots. One that stays is no fault of the backup: it is told, and the next run
    /// removes it.
    pub fn unmount(self, context: &Context) -> Result<()> {
        for mounts in self.mounts {
            mounts.unmount()?;
        }
        for left in self.taken.map(Taken::remove).unwrap_or_default() {
            context.ui.warn(format!("{left}; the next run tries it again"));
        }
        Ok(())
    }
}

/// The mount points of what is captured.
fn captured(machine: &Machine) -> Vec<PathBuf> {
    machine.coverage.mounts.iter().map(PathBuf::from).collect()
}

/// Whether the captured filesystems can be shown each alone.
pub fn can_be_exposed(machine: &Machine) -> Result<bool> {
    let shown = expose(&captured(machine), None)?;
    shown.mounts.unmount()?;
    Ok(shown.root != Path::new("/"))
}

/// Where the captured filesystems are shown without what is mounted over them (in our own mount namespace).
const EXPOSED: &str = "/run/rear/source";

/// The captured filesystems, each shown alone.
struct Exposed {
    /// The directory that stands for `/`.
    root: PathBuf,
    mounts: Mounts,
    /// The directories that mounts hide.
    hidden: Vec<MountPoint>,
}

/// Shows each captured filesystem alone, from its snapshot where there is one: what lies hidden below `/dev`, `/run` or a network mount is a file of this
/// machine like any other, and comes back. The binds are seen by this process alone.
fn expose(mounts: &[PathBuf], mut taken: Option<&mut Taken>) -> Result<Exposed> {
    let root = Path::new(EXPOSED);
    sys::fs::create_dir_private(root)?;
    let mut exposed = Mounts::default();
    let mut hidden = Vec::new();
    for mount in mounts {
        let target = root.join(mount.strip_prefix("/").unwrap_or(mount));
        if !target.is_dir() {
            // Its directory lies on a filesystem that is not captured (a mount below a mount), and nothing is
            // written to the machine to show it: the tree is read as it is seen.
            return Ok(Exposed { root: "/".into(), mounts: Mounts::default(), hidden: Vec::new() });
        }
        if mount != Path::new("/") {
            // Not yet covered by its mount here.
            hidden.push(beneath::read(&target, mount)?);
        }
        let still = match &mut taken {
            Some(taken) => taken.show(&mount.to_string_lossy(), &target, &mut exposed)?,
            None => false,
        };
        if !still {
            exposed.push(Mount::bind_one(mount, &target)?);
        }
    }
    Ok(Exposed { root: root.to_owned(), mounts: exposed, hidden })
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
