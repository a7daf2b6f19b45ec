//! Opening a recovery point: found, belonging to this rescue system, and whole from the first byte to the last.
//! All of it happens before anything is written to a disk.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use boot::BootFacts;
use image::RescueConfig;
use layout::Bytes;
use plan::Plan;
use sys::{Cmd, Sys, SysExt};

use super::{Opened, older, rescue_config};
use crate::cli::Recover;
use crate::context::{Context, is_rescue_system};
use crate::failure::{Failure, Result};
use crate::files::{self, Origin};
use crate::point::shelf::Attached;
use crate::point::{self, Place, Seal};
use crate::rescue;
use crate::unlock::{Files, Unlocker};
use crate::workflow::preserve::Kept;
use crate::workflow::{blockclone, kept};

/// How long to look for the medium where it is not needed.
const BRIEFLY: Duration = Duration::from_secs(3);

/// A recovery that was killed leaves the target's filesystems mounted, which would protect their disks from being
/// written. They are ours: nothing else is mounted at these places.
pub fn unmount_leftovers(context: &Context, options: &Recover) -> Result<()> {
    let target = Path::new(super::TARGET_ROOT);
    if options.from.as_ref().is_some_and(|from| from.starts_with(target)) {
        return Err(Failure::refused(format!(
            "--from leads below {}, where this machine is restored",
            target.display()
        ))
        .hint("mount the recovery point at another place, such as /mnt/backup"));
    }
    let mounts = probe::mountinfo(&context.sys)?;
    let ours = |point: &Path| {
        point.starts_with(target)
            || [super::beneath::PLACE, plan::SUBVOLUMES_AT].iter().any(|one| point == Path::new(one))
    };
    for mount in mounts.iter().rev().filter(|mount| ours(Path::new(&mount.mount_point))) {
        context.ui.explain(format!("unmounting {}, left by an earlier recovery", mount.mount_point));
        sys::mount::unmount(Path::new(&mount.mount_point))?;
    }
    Ok(())
}

/// Every filesystem of the plan must be known to this kernel before the first step: by the type that the plan mounts,
/// which is not always the one that the machine mounted (ntfs-3g).
pub fn drivers(context: &Context, plan: &Plan) -> Result<()> {
    let mut missing = Vec::new();
    let types = plan.steps.iter().filter_map(|step| match &step.action {
        plan::Action::Mount { fs_type, .. } => Some(fs_type.as_str()),
        _ => None,
    });
    for fs_type in types.collect::<BTreeSet<_>>() {
        // Built in, loaded already, or loadable; what counts is the kernel's own list afterwards.
        let load = context.sys.run(&Cmd::new("modprobe").args(["-b", fs_type]));
        let known = context.sys.read_text("/proc/filesystems")?;
        if !known.lines().any(|line| line.split_whitespace().last() == Some(fs_type)) {
            let reason = load.err().map(|error| format!(" ({error})")).unwrap_or_default();
            missing.push(format!("{fs_type}{reason}"));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::refused(format!("this rescue system's kernel cannot mount: {}", missing.join(", ")))
        .hint("no disk was written to; make the medium again with MODULES=( all_modules )"))
}

/// A recovery point that was found, and what is mounted to reach it.
pub struct Found {
    /// Directory with the parts.
    pub dir: PathBuf,
    /// Its seal.
    pub seal: Seal,
    /// What holds the files.
    pub shelf: Option<Attached>,
    /// The medium.
    pub medium: Option<rescue::Medium>,
}

/// Finds the recovery point and checks every part of it.
pub fn open(context: &Context, options: &Recover) -> Result<Opened> {
    let stage = context.ui.stage("open");
    let rescue = if is_rescue_system() { Some(rescue_config()?) } else { None };
    let Found { dir, seal, shelf, medium } = match options.from.as_deref().and_then(older::named) {
        Some(name) => older::find(context, rescue.as_ref(), name)?,
        None => find(context, options, rescue.as_ref())?,
    };
    let layout = kept::layout(&seal, &dir)?;
    let facts: BootFacts = serde_json::from_slice(&seal.read_part(&dir, point::BOOT)?)?;
    let hidden = if seal.has_files() {
        serde_json::from_slice(&seal.read_part(&dir, point::MOUNT_POINTS)?)?
    } else {
        Vec::new()
    };
    let kept = Kept::read(&seal, &Place::Dir(dir.clone()), &layout)?;
    stage.done(format!(
        "recovery point {} of {}, made {}",
        seal.id,
        seal.hostname,
        crate::workflow::mkbackup::utc(seal.created)
    ));
    let mut unlocker = Unlocker::new(context, &options.keys)?;
    let (origin, files) = verify(context, &seal, &dir, &mut unlocker)?;
    let clones = blockclone::prove(context, &seal, &layout, &dir, &mut unlocker)?;
    let key = unlocker.into_key();
    Ok(Opened { dir, seal, layout, facts, hidden, kept, rescue, origin, shelf, files, clones, key, medium })
}

/// At the place that was named, or on the medium.
fn find(context: &Context, options: &Recover, rescue: Option<&RescueConfig>) -> Result<Found> {
    let (mut dir, medium) = match (&options.from, rescue) {
        // The medium is not needed, but it must be known, so that it is never taken for a target.
        (Some(dir), Some(config)) => (dir.clone(), rescue::find_within(&context.sys, config, BRIEFLY).ok()),
        (Some(dir), None) => (dir.clone(), None),
        (None, Some(config)) => {
            let medium = rescue::find_medium(&context.sys, config).map_err(|error| {
                Failure::refused(error.to_string()).hint(
                    "no disk was written to; insert the medium, or name the recovery point with --from DIR",
                )
            })?;
            let dir = config.backup_dir.as_deref().unwrap_or("rear");
            (medium.dir.join(dir), Some(medium))
        }
        (None, None) => {
            return Err(Failure::refused("no recovery point was named").hint("name it with --from DIR"));
        }
    };
    let mut seal = Seal::read(&dir)?;
    if let Some(config) = rescue
        && options.from.is_none()
        && seal.id != config.recovery_point
    {
        return Err(Failure::refused(format!(
            "the medium carries recovery point {}, this rescue system belongs to {}",
            seal.id, config.recovery_point
        ))
        .hint("boot the medium that you want to recover from"));
    }
    let shelf = match rescue {
        Some(_) => kept::attach(context, &seal, &dir)?,
        None => None,
    };
    if let Some(elsewhere) = &seal.elsewhere {
        let beside = match &shelf {
            Some(shelf) => shelf.path(elsewhere),
            // A person has mounted it where it was.
            None => seal.shelf.as_ref().and_then(|_| elsewhere.strip_prefix("file://")).map(PathBuf::from),
        };
        dir = beside.filter(|_| rescue.is_some()).ok_or_else(|| {
            Failure::refused(format!("the backup is not on this medium but at {elsewhere}"))
                .hint("mount what holds it, read-only, and run rear recover --from DIR")
        })?;
        let there = Seal::read(&dir)?;
        if there.hostname != seal.hostname {
            return Err(Failure::refused(format!(
                "the backup at {elsewhere} is one of {}, not of {}",
                there.hostname, seal.hostname
            ))
            .hint("no disk was written to; name the recovery point with --from DIR"));
        }
        seal = there;
    } else if let (Some(shelf), Some(content)) = (&shelf, &mut seal.content)
        && let Some(url) = shelf.url(&content.url)
    {
        content.url = url;
    }
    Ok(Found { dir, seal, shelf, medium })
}

/// The way back of files that lie elsewhere, or archive and manifest.
type Way = (Option<Box<dyn Origin>>, Option<Files>);

/// Reads manifest and archive from end to end and compares with the seal, after what opens them was given, if they are
/// encrypted; or has files proven that lie elsewhere, and gives their way back.
fn verify(context: &Context, seal: &Seal, dir: &Path, unlocker: &mut Unlocker<'_>) -> Result<Way> {
    if !seal.has_files() {
        context.ui.say("This recovery point has no archive: the storage alone is recreated.");
        return Ok((None, None));
    }
    let damaged = |error: String| {
        Failure::refused(format!("the recovery point is not whole: {error}"))
            .hint("no disk was written to; use another copy of the medium")
    };
    let name = seal.manifest_name();
    let found =
        point::measure(&dir.join(name), name, &context.cancel).map_err(|failure| damaged(failure.message))?;
    if found != *seal.part(name)? {
        return Err(damaged(format!("{name} has another checksum than the sealed one")));
    }
    let Some(archive) = &seal.archive else {
        let Some(content) = &seal.content else { return Ok((None, None)) };
        let stage = context.ui.stage_of("verify", seal.data_bytes());
        let mut origin = files::origin(content)?;
        origin.prove(context, seal, &stage)?;
        stage.done(format!("{} files at {}: all there", content.files, content.url));
        return Ok((Some(origin), None));
    };
    // A wrong key is told as such: the manifest is the sealed one.
    let place = Place::Dir(dir.to_owned());
    let manifest = unlocker.manifest(&place, seal)?;
    let stored = unlocker.archive(&place, seal).map_err(|failure| damaged(failure.message))?;
    let stage = context.ui.stage_of("verify", archive.bytes);
    backup::verify(&stored, archive.bytes, &archive.blake3, &context.archive_options(), &stage)
        .map_err(|error| damaged(error.to_string()))?;
    let opened = if archive.encryption.is_some() { ", and the key opens it" } else { "" };
    stage.done(format!("{} in {} files: whole{opened}", Bytes(archive.bytes), archive.files));
    Ok((None, Some(Files { archive: stored, manifest })))
}

/// Every program of the plan must be here before the first step.
pub fn tools(context: &Context, plan: &Plan) -> Result<()> {
    let missing: Vec<_> = plan.tools().into_iter().filter(|tool| context.sys.which(tool).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "this rescue system lacks programs that the plan needs: {}",
        missing.join(", ")
    ))
    .hint("no disk was written to; install them on the machine and make the medium again"))
}
