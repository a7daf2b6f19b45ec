//! The files: what of the archive comes back, and the proof that it did. What the owner leaves out is named, never silently
//! dropped. Knows nothing of disks.

use std::path::{Path, PathBuf};

use backup::{Exclude, LeaveOut};
use layout::Bytes;
use serde::Serialize;

use super::{Opened, plain_mounts};
use crate::context::{Context, STATE_DIR};
use crate::failure::{Failure, Result};
use crate::files::{Order, Origin};
use crate::point;
use crate::workflow::beneath::MountPoint;
use crate::workflow::subvolumes;

/// What of the archive was left out on purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Entries of every type.
    files: u64,
    /// Bytes of content.
    bytes: u64,
    /// Patterns of EXCLUDE_RESTORE.
    patterns: Vec<String>,
    /// Mount points of what stays as it is.
    mounts: Vec<String>,
}

impl LeftOut {
    /// Whether all of the archive was restored.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty() && self.mounts.is_empty()
    }

    /// What was left out, for people.
    pub fn sentence(&self) -> String {
        let mut why = Vec::new();
        if !self.patterns.is_empty() {
            why.push(format!("by EXCLUDE_RESTORE ({})", self.patterns.join(", ")));
        }
        if !self.mounts.is_empty() {
            why.push(format!("because their filesystems stay as they are ({})", self.mounts.join(", ")));
        }
        format!(
            "{} entries of the archive with {} were not restored, {}.",
            self.files,
            Bytes(self.bytes),
            why.join(" and ")
        )
    }
}

/// The manifest of what comes back: that of the archive where nothing is left out. Of an encrypted one, a plain copy in the
/// memory of the rescue system.
fn select(opened: &Opened, options: &backup::Options) -> Result<(PathBuf, LeftOut)> {
    let manifest = opened.dir.join(point::MANIFEST);
    let patterns = opened.rescue.as_ref().map(|rescue| rescue.exclude_restore.clone()).unwrap_or_default();
    let mounts = opened.kept.archived.clone();
    if patterns.is_empty() && mounts.is_empty() && opened.seal.encryption().is_none() {
        return Ok((manifest, LeftOut::default()));
    }
    let leave_out = LeaveOut {
        patterns: Exclude::new(&patterns).map_err(|error| Failure::from(error).during("EXCLUDE_RESTORE"))?,
        mounts: mounts.iter().map(PathBuf::from).collect(),
        all_mounts: all_mounts(opened),
    };
    let selected = Path::new(STATE_DIR).join("recover").join("selected-manifest.zst");
    // One of an earlier run says nothing about this one.
    match std::fs::remove_file(&selected) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let file = sys::fs::create_private(&selected)?;
    let stored = match &opened.files {
        Some(files) => files.manifest.clone(),
        None => backup::Stored::open(&manifest)?,
    };
    let left = backup::select(&stored, &file, &leave_out, options)?;
    Ok((selected, LeftOut { files: left.files, bytes: left.bytes, patterns, mounts }))
}

/// The mount points of which the archive has files.
fn all_mounts(opened: &Opened) -> Vec<PathBuf> {
    let recreated = opened.layout.mounts.iter().map(|mount| mount.mount_point.clone());
    recreated.chain(opened.kept.archived.iter().cloned()).map(PathBuf::from).collect()
}

/// The directories below mounts that are set again: not those that lie on what stays as it is.
pub fn hidden(opened: &Opened) -> Vec<MountPoint> {
    let all = all_mounts(opened);
    let on_kept = |point: &MountPoint| {
        let above = all.iter().filter(|mount| **mount != point.path && point.path.starts_with(mount));
        let nearest = above.max_by_key(|mount| mount.components().count());
        nearest.is_some_and(|mount| opened.kept.archived.iter().any(|kept| Path::new(kept) == mount))
    };
    opened.hidden.iter().filter(|point| !on_kept(point)).cloned().collect()
}

/// Brings the files back, and compares every one of them with the manifest. What differs is added to the problems; what was
/// left out on purpose is returned.
pub fn run(
    context: &Context,
    opened: &Opened,
    origin: Option<&mut (dyn Origin + '_)>,
    root: &Path,
    problems: &mut Vec<String>,
) -> Result<LeftOut> {
    let plain = plain_mounts(&opened.layout);
    let options = context.archive_options();
    let (manifest, left_out) = select(opened, &options)?;
    remove_lost_and_found(&manifest, &opened.layout, root, &options)?;
    let bytes = opened.seal.data_bytes();
    let stage = context.ui.stage_of("restore", bytes);
    if let Some(origin) = origin {
        let all = left_out.is_empty();
        let order = Order { manifest: &manifest, all, target: root, plain: &plain, replace: true };
        problems.extend(origin.restore(context, &order, &stage)?);
        stage.done("the files are back");
    } else {
        let lacking = || Failure::failed("the archive of the files was not opened");
        let order = backup::Restore {
            archive: &opened.files.as_ref().ok_or_else(lacking)?.archive,
            manifest: &manifest,
            target: root,
            plain: plain.clone(),
            // It was verified before the first write to a disk.
            sealed: None,
            replace: true,
        };
        let restored = backup::restore(&order, &options, &stage)?;
        problems.extend(
            restored.problems.iter().map(|problem| format!("{}: {}", problem.path.display(), problem.detail)),
        );
        stage.done(format!("{} files, {}", restored.files, Bytes(restored.bytes)));
    }

    // What is compared must come from the disk, not from what was written a moment ago.
    rustix::fs::sync();
    if let Err(error) = std::fs::write("/proc/sys/vm/drop_caches", "3") {
        context.ui.explain(format!("the caches could not be dropped: {error}"));
    }
    let stage = context.ui.stage_of("compare", bytes);
    let comparison = backup::compare(&manifest, root, &plain, &options, &stage)?;
    problems.extend(
        comparison
            .differences
            .iter()
            .map(|difference| format!("{}: {}", difference.path.display(), difference.what)),
    );
    let mut extra = backup::extra(&manifest, root, &[], &options)?;
    // A subvolume is also seen where its files are not read from.
    let places = subvolumes::places(&opened.layout);
    // A filesystem is mounted although the directory that it is mounted on was left out.
    let mounted =
        |path: &PathBuf| opened.layout.mounts.iter().any(|mount| Path::new(&mount.mount_point) == path);
    extra.retain(|path| !places.contains(path) && (left_out.is_empty() || !mounted(path)));
    problems.extend(extra.iter().map(|path| format!("{}: was not in the backup", path.display())));
    stage.done(format!(
        "{} files compared with the manifest, {} differ",
        comparison.files,
        comparison.differences.len() + extra.len()
    ));
    Ok(left_out)
}

/// mke2fs makes `lost+found` in every filesystem; where the machine had removed it, it is removed again.
fn remove_lost_and_found(
    manifest: &Path,
    layout: &layout::Layout,
    root: &Path,
    options: &backup::Options,
) -> Result<()> {
    let candidates: Vec<PathBuf> =
        layout.mounts.iter().map(|mount| Path::new(&mount.mount_point).join("lost+found")).collect();
    for path in backup::extra(manifest, root, &[], options)? {
        if candidates.contains(&path) {
            let below = path.strip_prefix("/").unwrap_or(&path);
            // One that is not empty stays, and is named by the comparison.
            let _ = std::fs::remove_dir(root.join(below));
        }
    }
    Ok(())
}
