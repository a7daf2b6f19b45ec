//! The repository that keeps this machine's recovery points: on the machine the configured one, in the rescue system the one that its
//! medium was made for, wherever that is now. It reads only, and decides nothing about disks.

use std::path::{Path, PathBuf};
use std::time::Duration;

use image::RescueConfig;
use layout::Layout;

use crate::context::{Context, is_rescue_system};
use crate::failure::{Failure, Result};
use crate::files::{self, Bare, Keeper};
use crate::point::shelf::Attached;
use crate::point::{self, Seal};
use crate::rescue::{self, Medium};
use crate::workflow::multipath;
use crate::workflow::recover::rescue_config;

/// How long to look for a medium that is not needed.
const BRIEFLY: Duration = Duration::from_secs(3);

/// The repository of a rescue system, opened, and what it takes to reach it.
pub struct Booted {
    /// It.
    pub keeper: Box<dyn Keeper>,
    /// The recovery point on the medium, and where its parts are.
    pub point: Option<(PathBuf, Seal)>,
    /// Keeps mounted what holds the repository, where that is a local filesystem.
    pub shelf: Option<Attached>,
    /// Keeps the medium mounted.
    pub medium: Option<Medium>,
}

impl Booted {
    /// Finds medium and repository; a person is asked for what opens it.
    pub fn open(context: &Context, config: &RescueConfig) -> Result<Self> {
        let known = &config.means.reach.place;
        let found = match known.is_empty() || known.starts_with('/') {
            true => rescue::find_medium(&context.sys, config),
            // Nothing is needed of it.
            false => rescue::find_within(&context.sys, config, BRIEFLY),
        };
        let medium = match found {
            Ok(medium) => Some(medium),
            // Booted over the network, perhaps.
            Err(error) if !known.is_empty() => {
                context.ui.warn(format!("{error} (going on: the repository is known without it)"));
                None
            }
            Err(error) => {
                return Err(
                    Failure::refused(error.to_string()).hint("no disk was written to; insert the medium")
                );
            }
        };
        let point = match &medium {
            Some(medium) => {
                let dir = medium.dir.join(config.backup_dir.as_deref().unwrap_or("rear"));
                let seal = Seal::read(&dir)?;
                Some((dir, seal))
            }
            None => None,
        };
        let seal = point.as_ref().map(|(_, seal)| seal);
        let sealed = seal.and_then(|seal| seal.content.as_ref()).filter(|content| files::is_kept(content));
        let place = match sealed {
            Some(content) => content.url.clone(),
            None if !known.is_empty() => known.clone(),
            None => {
                return Err(Failure::refused(
                    "this rescue system belongs to no repository: it was not made with BACKUP=RESTIC",
                )
                .hint("name a recovery point by its directory, with --from DIR"));
            }
        };
        let shelf = match &point {
            Some((dir, seal)) => attach(context, seal, dir)?,
            None => None,
        };
        let place = shelf.as_ref().and_then(|shelf| shelf.url(&place)).unwrap_or(place);
        let keeper = files::keeper_at(context, &place)?;
        Ok(Self { keeper, point, shelf, medium })
    }
}

/// Mounts the filesystem that holds the files of a seal, where there is one.
pub fn attach(context: &Context, seal: &Seal, dir: &Path) -> Result<Option<Attached>> {
    let Some(shelf) = &seal.shelf else { return Ok(None) };
    // Its disk may have several paths, of which none may be used alone.
    multipath::start(context, &[&layout(seal, dir)?])?;
    shelf.attach(context)
}

/// The saved layout of a recovery point.
pub fn layout(seal: &Seal, dir: &Path) -> Result<Layout> {
    let text = seal.read_part(dir, point::LAYOUT)?;
    Ok(Layout::from_json(&String::from_utf8_lossy(&text))?)
}

/// The repository for `snapshot:`, and the machine whose recovery points are meant. What has to be mounted stays so until the run ends.
pub fn named(context: &Context) -> Result<(Box<dyn Keeper>, String)> {
    if !is_rescue_system() {
        return Ok((files::configured_keeper(context)?, context.hostname.clone()));
    }
    let config = rescue_config()?;
    let booted = Booted::open(context, &config)?;
    context.hold(booted.shelf);
    context.hold(booted.medium);
    Ok((booted.keeper, config.hostname))
}

/// The same, if there is one that should be looked at without being named.
pub fn usual(context: &Context) -> Result<Option<(Box<dyn Keeper>, String)>> {
    let is_one = match is_rescue_system() {
        true => !rescue_config()?.means.reach.place.is_empty(),
        false => context.settings().backup == config::Backup::Restic,
    };
    is_one.then(|| named(context)).transpose()
}

/// That files have no seal.
pub fn no_point(keeper: &dyn Keeper, files: &Bare) -> Failure {
    let name = files.name.get(..8).unwrap_or(&files.name);
    Failure::refused(format!("snapshot {name} in {} is no recovery point: it has no seal", keeper.place()))
        .hint("rear list names the recovery points; restic restore brings back the files of any snapshot")
}
