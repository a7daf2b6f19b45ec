//! A recovery from another point than the medium's own: `--from snapshot:ID` names one in the repository, with the storage of its own
//! time. Files without a seal come back on the storage that the medium knows, if nothing of them says that it is another one.
//! Nothing is written here but copies in a private directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use boot::BootFacts;
use image::RescueConfig;
use layout::{Bytes, Layout, NodeId};
use sys::Sys;
use sys::fs::Staging;

use super::open::Found;
use crate::context::{Context, STATE_DIR};
use crate::failure::{Failure, Result};
use crate::files::{self, Bare, Keeper, Meant};
use crate::point::{self, Content, Seal};
use crate::workflow::kept::{self, Booted};
use crate::workflow::mkbackup::part;

mod sketch;

/// The name in `--from snapshot:NAME`.
pub fn named(from: &Path) -> Option<&str> {
    from.to_str()?.strip_prefix(files::SNAPSHOT)
}

/// Finds it, and copies its seal with what lies beside it to where the recovery reads it.
pub fn find(context: &Context, rescue: Option<&RescueConfig>, name: &str) -> Result<Found> {
    let staging = Staging::create(Path::new(STATE_DIR))?;
    let dir = staging.path().to_owned();
    let (place, shelf, medium) = match rescue {
        Some(config) => {
            let Booted { keeper, point, shelf, medium } = Booted::open(context, config)?;
            match keeper.find(name)? {
                Meant::Point(name) => keeper.fetch(context, &name, &dir)?,
                Meant::Files(files) => {
                    let Some((from, seal)) = &point else { return Err(kept::no_point(&*keeper, &files)) };
                    adopt(context, &*keeper, &files, (from, seal), &dir)?;
                }
            }
            (keeper.place(), shelf, medium)
        }
        None => {
            let keeper = files::configured_keeper(context)?;
            match keeper.find(name)? {
                Meant::Point(name) => keeper.fetch(context, &name, &dir)?,
                Meant::Files(files) => return Err(kept::no_point(&*keeper, &files)),
            }
            (keeper.place(), None, None)
        }
    };
    let mut seal = Seal::read(&dir)?;
    let machine = rescue.map_or(&context.hostname, |config| &config.hostname);
    if seal.hostname != *machine {
        return Err(Failure::refused(format!(
            "the recovery point {name} is one of {}, not of {machine}",
            seal.hostname
        ))
        .hint(
            "no disk was written to; boot the medium of that machine, or name one of this machine: rear list",
        ));
    }
    // Where it was found counts, not where it was when it was made.
    if let Some(content) = &mut seal.content {
        content.url = place;
    }
    context.staged.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(staging);
    Ok(Found { dir, seal, shelf, medium })
}

/// Makes a recovery point of files without a seal, with the storage of the medium's own; refuses where that cannot be theirs.
fn adopt(
    context: &Context,
    keeper: &dyn Keeper,
    files: &Bare,
    (from, sealed): (&Path, &Seal),
    dir: &Path,
) -> Result<()> {
    let name = files.name.get(..8).unwrap_or(&files.name);
    if !files.is_ours {
        return Err(Failure::refused(format!(
            "snapshot {name} was not made by rear: it has neither the layout of its disks nor digests of its files, so nobody could \
             prove that everything came back"
        ))
        .hint(format!(
            "no disk was written to; recover from a point that rear list names, then bring files back by hand: restic restore {name}"
        )));
    }
    if files.hostname != sealed.hostname {
        return Err(Failure::refused(format!(
            "snapshot {name} is one of {}, not of {}",
            files.hostname, sealed.hostname
        ))
        .hint("no disk was written to"));
    }
    context.ui.warn(format!(
        "snapshot {name} has no seal, so the layout of its own time is lost: the one of the medium is looked at instead"
    ));
    let content = keeper.list(context, files, dir)?;
    let layout = kept::layout(sealed, from)?;
    let facts: BootFacts = serde_json::from_slice(&sealed.read_part(from, point::BOOT)?)?;
    let problems = Trial { context, keeper, content: &content, layout: &layout, facts: &facts, dir }
        .problems(&sealed_mounts(context, sealed, from, &layout)?)?;
    if !problems.is_empty() {
        let list: String = problems.iter().map(|problem| format!("\n- {problem}")).collect();
        return Err(Failure::refused(format!(
            "snapshot {name} cannot be recovered on the storage that this medium knows:{list}"
        ))
        .hint("no disk was written to; boot a medium of that time, or name a point that rear list calls complete"));
    }
    let mut parts = Vec::new();
    for one in sealed.parts.iter().filter(|part| part.name != point::MANIFEST) {
        parts.push(part(dir, &one.name, &sealed.read_part(from, &one.name)?)?);
    }
    if !parts.iter().any(|part| part.name == point::MOUNT_POINTS) {
        parts.push(part(dir, point::MOUNT_POINTS, b"[]")?);
    }
    parts.push(point::measure(&dir.join(point::MANIFEST), point::MANIFEST, &context.cancel)?);
    let seal = Seal {
        // The same each time, so that a recovery that was cut off continues.
        id: files.name.chars().take(32).collect(),
        created: files.created,
        parts,
        archive: None,
        content: Some(content),
        only: Vec::new(),
        digest: None,
        ..sealed.clone()
    };
    sys::fs::write_atomic(&dir.join(point::SEAL), &seal.text()?)?;
    Ok(())
}

/// The mount points below which the medium's own recovery point has files, where it has any.
fn sealed_mounts(
    context: &Context,
    sealed: &Seal,
    from: &Path,
    layout: &Layout,
) -> Result<Option<Vec<String>>> {
    if !sealed.parts.iter().any(|part| part.name == point::MANIFEST) {
        return Ok(None);
    }
    let manifest = from.join(point::MANIFEST);
    if point::measure(&manifest, point::MANIFEST, &context.cancel)? != *sealed.part(point::MANIFEST)? {
        return Err(
            Failure::refused("the manifest on the medium is damaged").hint("use another copy of the medium")
        );
    }
    Ok(Some(Used::of(context, &manifest, layout)?.filled))
}

/// What a manifest puts on each filesystem.
#[derive(Default)]
struct Used {
    /// Mount points that have files below them.
    filled: Vec<String>,
    /// Bytes on each device.
    bytes: BTreeMap<NodeId, u64>,
}

impl Used {
    fn of(context: &Context, manifest: &Path, layout: &Layout) -> Result<Self> {
        // The deepest one first.
        let mut mounts: Vec<_> = layout.mounts.iter().collect();
        mounts.sort_by_key(|mount| std::cmp::Reverse(mount.mount_point.len()));
        let mut filled = vec![false; mounts.len()];
        let mut used = Self::default();
        for entry in backup::ManifestReader::open(manifest)? {
            context.cancel.check()?;
            let entry = entry?;
            let path = backup::machine_path(&entry.path);
            let at = mounts.iter().position(|mount| path.starts_with(&mount.mount_point));
            if let Some(at) = at.filter(|at| path != Path::new(&mounts[*at].mount_point)) {
                filled[at] = true;
                if entry.kind == backup::Kind::File {
                    *used.bytes.entry(mounts[at].device.clone()).or_default() += entry.stored();
                }
            }
        }
        let named = mounts.iter().zip(filled).filter(|(_, is_filled)| *is_filled);
        used.filled = named.map(|(mount, _)| mount.mount_point.clone()).collect();
        Ok(used)
    }
}

/// Whether files would find their place on a storage that was not saved with them.
struct Trial<'a> {
    context: &'a Context,
    keeper: &'a dyn Keeper,
    content: &'a Content,
    layout: &'a Layout,
    facts: &'a BootFacts,
    /// Where their manifest is.
    dir: &'a Path,
}

impl Trial<'_> {
    /// All that speaks against it, as sentences. `filled`: the mount points that have files at the medium's own point.
    fn problems(&self, filled: &Option<Vec<String>>) -> Result<Vec<String>> {
        let manifest = self.dir.join(point::MANIFEST);
        let used = Used::of(self.context, &manifest, self.layout)?;
        let mut problems = Vec::new();
        for mount in &self.layout.mounts {
            let point = &mount.mount_point;
            let was_empty = filled.as_ref().is_some_and(|filled| !filled.contains(point));
            if !used.filled.contains(point) && !was_empty {
                problems.push(format!(
                    "it has no files below {point}, where the medium's layout has a filesystem"
                ));
            }
        }
        for (id, bytes) in &used.bytes {
            if let Some(device) = self.layout.device(id).filter(|device| *bytes > device.size.0) {
                problems.push(format!(
                    "it has {} of files for {}, which has only {} in the medium's layout",
                    Bytes(*bytes),
                    device.path,
                    device.size
                ));
            }
        }
        let root = self.dir.join("sketch");
        let stored = backup::Stored::open(&manifest)?;
        let tree = backup::Tree::read(&stored, &self.context.archive_options())?;
        let contents = self.keeper.contents(self.content)?;
        sketch::draw(&tree, &*contents, &root)?;
        let links = boot::check_sketch(&root, &self.context.sys as &dyn Sys, self.facts, self.layout);
        problems.extend(
            links.iter().filter(|link| !link.ok).map(|link| format!("{}: {}", link.what, link.detail)),
        );
        sys::fs::remove_tree(&root)?;
        Ok(problems)
    }
}

/// For the sketch: a path below a directory, whatever bytes it has.
fn below(root: &Path, path: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    root.join(Path::new(std::ffi::OsStr::from_bytes(path)))
}

#[cfg(test)]
#[cfg(feature = "repository")]
mod tests;
