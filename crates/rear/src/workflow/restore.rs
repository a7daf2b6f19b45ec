//! `rear restore`: single files and directories out of a recovery point, into a new or empty directory. Nothing outside of it
//! is written, and nothing in it is replaced; what comes out was checked against the sealed hashes, and is compared with
//! the manifest afterwards.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use backup::Wanted;
use layout::Bytes;
use rustix::fs::{Mode, OFlags};
use serde_json::json;

use super::foreign;
use super::list::readable;
use super::points::{Found, Looked};
use crate::cli::Restore;
use crate::context::{Context, require_root};
use crate::failure::{Code, Failure, Result};
use crate::files::{self, Order, Origin};
use crate::point::{self, Place, Seal};
use crate::ui::Stage;
use crate::unlock::Unlocker;
use crate::workflow::mkbackup::utc;

/// Runs the workflow.
pub fn run(context: &Context, options: &Restore) -> Result<()> {
    require_root()?;
    context.show_config_warnings();
    let wanted = Wanted::new(&options.path)
        .map_err(|error| Failure::new(Code::Usage, error.to_string()).hint("nothing was written"))?;
    if let Some(archive) = foreign::meant(options.from.as_deref()) {
        return from_foreign(context, options, &archive, wanted);
    }
    let mut unlocker = Unlocker::new(context, &options.keys)?;
    let found = Looked::own(context, options.from.as_deref())?.with_files()?;
    let seal = found.sealed()?;
    let name = seal.manifest_name();
    let manifest = found.place.stored(name)?;
    if point::measure_stored(&manifest, name, &context.cancel)? != *seal.part(name)? {
        return Err(Failure::refused(format!(
            "{} is damaged: its checksum is not the sealed one",
            found.place.shown(name)
        ))
        .hint("nothing was written; use another copy of the recovery point"));
    }
    // It may ask, so no progress is shown yet.
    let manifest = unlocker.open(seal, manifest)?;
    let stage = context.ui.stage("open");
    let mut holder = Holder::open(context, &found, seal, &mut unlocker, &stage)?;
    let picked = wanted.find(&manifest, &context.archive_options())?;
    refuse_missing(&picked, "the recovery point")?;
    stage.done(format!(
        "recovery point {} of {}, made {}",
        seal.id,
        readable(seal.hostname.as_bytes()),
        utc(seal.created)
    ));
    let (dir, new) = target(&options.to, &found.place, false)?;
    // From here on there is something in the directory, also when the run is stopped.
    into(context, &picked, &manifest, &mut holder, &dir).map_err(|failure| left_behind(failure, &dir, new))
}

/// Says of a run that failed what is left of it.
fn left_behind(failure: Failure, dir: &Path, new: bool) -> Failure {
    // A directory that was made for nothing; one that holds something stays.
    let gone = new && failure.code != Code::Incomplete && std::fs::remove_dir(dir).is_ok();
    match failure.hint {
        Some(_) => failure,
        None if gone => failure.hint("nothing was written"),
        None => failure.hint(format!("what is in {} is not complete; remove it", dir.display())),
    }
}

fn refuse_missing(picked: &backup::Picked, what: &str) -> Result<()> {
    if picked.missing.is_empty() {
        return Ok(());
    }
    let list: String = picked
        .missing
        .iter()
        .map(|(path, why)| format!("\n- {}: {why}", readable(path.as_os_str().as_bytes())))
        .collect();
    Err(Failure::refused(format!("not everything is in {what}:{list}"))
        .hint("nothing was written; rear list PATH shows what there is"))
}

/// Out of a tar that another program made. It is read to its end before anything is written.
fn from_foreign(context: &Context, options: &Restore, path: &Path, wanted: Wanted) -> Result<()> {
    // A directory that cannot be used is better known before a long reading.
    let place = Place::Dir(path.to_owned());
    check_target(&options.to, &place, true)?;
    let stage = context.ui.stage("open");
    let mut opened = foreign::Opened::read(context, path, wanted, &stage)?;
    refuse_missing(&opened.picked, "the archive")?;
    stage.done(opened.sentence());
    let (dir, new) = target(&options.to, &place, true)?;
    opened.plain = foreign::plain_below(context, &dir)?;
    let (picked, manifest) = (opened.picked.clone(), opened.manifest()?);
    let mut holder = Holder::Foreign(Box::new(opened));
    into(context, &picked, &manifest, &mut holder, &dir).map_err(|failure| left_behind(failure, &dir, new))
}

/// What holds the files.
enum Holder<'a> {
    /// The archive beside the seal, and what the seal says of it.
    Archive(backup::Stored, &'a point::Archive),
    /// A place of their own.
    Elsewhere(Box<dyn Origin>),
    /// A tar that another program made.
    Foreign(Box<foreign::Opened>),
}

impl<'a> Holder<'a> {
    /// Whole as far as that can be told before anything is read.
    fn open(
        context: &Context,
        found: &Found,
        seal: &'a Seal,
        unlocker: &mut Unlocker<'_>,
        stage: &Stage<'_>,
    ) -> Result<Self> {
        if let Some(content) = &seal.content {
            let mut origin = files::origin(content)?;
            origin.prove(context, seal, stage)?;
            return Ok(Self::Elsewhere(origin));
        }
        let facts =
            seal.archive.as_ref().ok_or_else(|| Failure::refused("the recovery point holds no files"))?;
        let archive = unlocker.archive(&found.place, seal).map_err(|failure| match failure.hint {
            Some(_) => failure,
            None => Failure::refused(failure.message)
                .hint("nothing was written; use another copy of the recovery point"),
        })?;
        backup::verify_index(&archive, facts.bytes, &facts.blake3).map_err(|error| {
            Failure::refused(error.to_string())
                .hint("nothing was written; use another copy of the recovery point")
        })?;
        Ok(Self::Archive(archive, facts))
    }

    /// Brings back what the manifest says; gives the problems by name.
    fn restore(
        &mut self,
        context: &Context,
        manifest: &Path,
        dir: &Path,
        stage: &Stage<'_>,
    ) -> Result<Vec<String>> {
        match self {
            Self::Archive(archive, facts) => {
                let order = backup::Restore {
                    archive,
                    manifest,
                    target: dir,
                    plain: Vec::new(),
                    sealed: Some((facts.bytes, &facts.blake3)),
                    replace: false,
                };
                let restored = backup::restore(&order, &context.archive_options(), stage)?;
                let name = |path: &Path| readable(path.as_os_str().as_bytes());
                let problems = restored.problems.iter();
                Ok(problems.map(|problem| format!("{}: {}", name(&problem.path), problem.detail)).collect())
            }
            Self::Elsewhere(origin) => {
                let order = Order { manifest, all: false, target: dir, plain: &[], replace: false };
                origin.restore(context, &order, stage)
            }
            Self::Foreign(opened) => opened.restore(context, manifest, dir, stage),
        }
    }

    /// Whether what there is about the files must not lie on a disk.
    fn is_secret(&self) -> bool {
        matches!(self, Self::Archive(_, facts) if facts.encryption.is_some())
    }

    /// Mount points in the target where only content and time come back.
    fn plain(&self) -> &[PathBuf] {
        match self {
            Self::Foreign(opened) => &opened.plain,
            Self::Archive(..) | Self::Elsewhere(_) => &[],
        }
    }
}

/// The directory that the files go into, by its real path. It may be new; otherwise it is empty, or, for `mount_points`, the
/// machine that is being recovered, with nothing in it but directories.
fn check_target(to: &Path, place: &Place, mount_points: bool) -> Result<PathBuf> {
    let refused =
        |text: String| Failure::refused(text).hint("nothing was written; name a new or an empty directory");
    let parent = match to.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let real = if to.exists() {
        to.canonicalize()?
    } else {
        let parent = parent.canonicalize().map_err(|error| {
            refused(format!("{} cannot be made: {}: {error}", to.display(), parent.display()))
        })?;
        parent.join(to.file_name().ok_or_else(|| refused(format!("{} names no directory", to.display())))?)
    };
    if let Place::Dir(dir) = place
        && dir.canonicalize().is_ok_and(|dir| real.starts_with(dir))
    {
        return Err(refused(format!("{} lies inside of the recovery point", to.display())));
    }
    if !real.exists() {
        return Ok(real);
    }
    if !real.is_dir() {
        return Err(refused(format!("{} is there already, and is no directory", to.display())));
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&real)?.take(6) {
        names.push(readable(entry?.file_name().as_bytes()));
    }
    if names.is_empty() {
        return Ok(real);
    }
    if mount_points {
        match foreign::takes_files(&real)? {
            Ok(()) => return Ok(real),
            Err(Some(file)) => names = vec![readable(file.as_os_str().as_bytes())],
            Err(None) => {}
        }
    }
    names.sort();
    Err(refused(format!(
        "{} is not empty, and nothing is ever overwritten: it has {}",
        to.display(),
        names.join(", ")
    )))
}

/// The same, made where it is new; and whether it is.
fn target(to: &Path, place: &Place, mount_points: bool) -> Result<(PathBuf, bool)> {
    let real = check_target(to, place, mount_points)?;
    if real.exists() {
        return Ok((real, false));
    }
    // What comes out may be for root alone, also where the directories above it are not part of it.
    std::fs::DirBuilder::new().mode(0o700).create(&real).map_err(|error| {
        Failure::refused(format!("{} cannot be made: {error}", to.display()))
            .hint("nothing was written; name a new or an empty directory")
    })?;
    Ok((real, true))
}

fn into(
    context: &Context,
    picked: &backup::Picked,
    manifest: &backup::Stored,
    holder: &mut Holder<'_>,
    dir: &Path,
) -> Result<()> {
    let options = context.archive_options();
    let selection = nameless(dir, holder.is_secret())?;
    let totals = picked.write(manifest, &selection, &options)?;
    let free = rustix::fs::statvfs(dir).map_err(std::io::Error::from)?;
    let free = free.f_bavail.saturating_mul(free.f_frsize);
    if totals.bytes > free {
        return Err(Failure::refused(format!(
            "{} has room for {}, the files need {}",
            dir.display(),
            Bytes(free),
            Bytes(totals.bytes)
        ))
        .hint("nothing was written; name a directory on a larger filesystem"));
    }
    // Opened anew under this name, it is read from its beginning.
    let selected = PathBuf::from(format!("/proc/self/fd/{}", selection.as_raw_fd()));
    let stage = context.ui.stage_of("restore", totals.bytes);
    let mut problems = holder.restore(context, &selected, dir, &stage)?;
    stage.done(format!("{} entries, {}", totals.files, Bytes(totals.bytes)));
    let stage = context.ui.stage_of("compare", totals.bytes);
    let comparison = backup::compare(&selected, dir, holder.plain(), &options, &stage)?;
    problems.extend(
        comparison
            .differences
            .iter()
            .map(|one| format!("{}: {}", readable(one.path.as_os_str().as_bytes()), one.what)),
    );
    stage.done(format!("{} entries compared with the manifest", comparison.files));
    for problem in &problems {
        context.ui.event(&json!({"event": "fault", "text": problem}));
    }
    context.ui.event(&json!({"event": "restored", "to": dir, "entries": totals.files, "bytes": totals.bytes,
        "faults": problems.len()}));
    if problems.is_empty() {
        for path in picked.paths() {
            let below = path.strip_prefix("/").unwrap_or(&path);
            context.ui.say(format!("  {}", readable(dir.join(below).as_os_str().as_bytes())));
        }
        context.ui.say(format!(
            "{} entries with {} are restored and compared with the manifest.",
            totals.files,
            Bytes(totals.bytes)
        ));
        return Ok(());
    }
    let list: String = problems.iter().map(|problem| format!("\n- {problem}")).collect();
    Err(Failure::new(
        Code::Incomplete,
        format!(
            "not everything in {} is as it was; {} thing(s) differ:{list}",
            dir.display(),
            problems.len()
        ),
    )
    .hint("all else was compared and is as it was"))
}

/// A file without a name on the filesystem of the directory, which stays empty; in memory alone for what is secret.
fn nameless(dir: &Path, secret: bool) -> Result<File> {
    if secret {
        let file = rustix::fs::memfd_create("rear-selection", rustix::fs::MemfdFlags::CLOEXEC);
        return Ok(File::from(file.map_err(std::io::Error::from)?));
    }
    let mode = Mode::RUSR | Mode::WUSR;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    if let Ok(file) = rustix::fs::open(dir, flags, mode) {
        return Ok(File::from(file));
    }
    // NFS, CIFS and FAT know no such files.
    let path = dir.join(format!(".rear-selection-{}", sys::info::random_id()?));
    let file = sys::fs::create_private(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}
