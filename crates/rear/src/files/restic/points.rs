//! The recovery points that a repository keeps: each run stores its seal with what lies beside it as a snapshot of its own. They are listed
//! and copied out; nothing is changed in the repository.

use std::io::Write;
use std::path::Path;

use repository::{Files, Id, Location, Repository, Snapshot};

use super::{METHOD, POINT, access, configured};
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::files::Kept;
use crate::point::{self, Seal};

/// The largest seal and the largest part beside one, in bytes: the manifest of many millions of files.
const SEAL_LIMIT: u64 = 16 << 20;
const PART_LIMIT: u64 = 16 << 30;

/// Opens the configured repository; nobody is asked for anything.
fn open(context: &Context) -> Result<(Location, Repository)> {
    let settings = context.settings();
    if settings.restic_repository.is_empty() {
        return Err(Failure::refused("no repository is configured").hint("set RESTIC_REPOSITORY"));
    }
    let password = configured(context)?.ok_or_else(|| {
        Failure::refused("the password of the repository is not configured").hint(
            "set RESTIC_PASSWORD_FILE; or name a recovery point with --from, then the password is asked for",
        )
    })?;
    let location = Location::parse(settings.restic_repository.expose())?;
    let repository = Repository::open(location.backend(&access::configured(context)?)?, &password)?;
    Ok((location, repository))
}

/// Whether a snapshot is a seal of ours.
fn is_point(snapshot: &Snapshot) -> bool {
    snapshot.is_ours && snapshot.tags.iter().any(|tag| tag == POINT)
}

/// See [`crate::files::kept`].
pub fn kept(context: &Context) -> Result<(String, Vec<Kept>)> {
    let (location, repository) = open(context)?;
    let snapshots = repository.snapshots()?;
    let files = repository.files()?;
    let mut found = Vec::new();
    for snapshot in snapshots.iter().filter(|one| is_point(one) && one.hostname == context.hostname) {
        context.cancel.check()?;
        let seal = seal(&files, snapshot.id);
        let names = seal.as_ref().ok().and_then(|seal| Id::parse(&seal.content.as_ref()?.name));
        found.push(Kept {
            name: snapshot.id.to_string(),
            created: snapshot.time.try_into().unwrap_or_default(),
            has_files: names.is_some_and(|id| snapshots.iter().any(|one| one.id == id)),
            seal,
        });
    }
    Ok((location.to_string(), found))
}

/// The seal of such a snapshot, proven by its own checksum.
fn seal(files: &Files<'_>, snapshot: Id) -> Result<Seal> {
    let mut text = Vec::new();
    let shown = format!("snapshot {}", snapshot.short());
    if !files.copy(snapshot, point::SEAL, SEAL_LIMIT, &mut text)? {
        return Err(Failure::refused(format!("{shown} has no seal")));
    }
    let seal = Seal::parse(&text, &shown)?;
    if seal.content.as_ref().is_none_or(|content| content.method != METHOD) {
        return Err(Failure::refused(format!("the seal of {shown} does not belong to a repository")));
    }
    Ok(seal)
}

/// See [`crate::files::fetch`].
pub fn fetch(context: &Context, name: &str, dir: &Path) -> Result<()> {
    let (location, repository) = open(context)?;
    let snapshots = repository.snapshots()?;
    let is_meant = |one: &&Snapshot| is_point(one) && name.len() >= 4 && one.id.to_string().starts_with(name);
    let mut fitting = snapshots.iter().filter(is_meant);
    let snapshot = match (fitting.next(), fitting.next()) {
        (Some(one), None) => one.id,
        (Some(_), Some(_)) => {
            return Err(Failure::refused(format!("several recovery points in {location} begin with {name}"))
                .hint("write more digits of the one that is meant"));
        }
        (None, _) => {
            return Err(Failure::refused(format!("no recovery point {name} is in {location}"))
                .hint("rear list names them; the first eight digits are enough"));
        }
    };
    let files = repository.files()?;
    let seal = seal(&files, snapshot)?;
    let names = seal.parts.iter().map(|part| part.name.as_str()).chain([point::SEAL]);
    for name in names {
        context.cancel.check()?;
        // A name becomes a path.
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return Err(Failure::refused(format!("the seal names the impossible part '{name}'")));
        }
        let mut out = sys::fs::create_private(&dir.join(name))?;
        // What is missing is told by whoever looks for it.
        if !files.copy(snapshot, name, PART_LIMIT, &mut out)? {
            drop(out);
            std::fs::remove_file(dir.join(name))?;
            continue;
        }
        out.flush()?;
    }
    Ok(())
}
