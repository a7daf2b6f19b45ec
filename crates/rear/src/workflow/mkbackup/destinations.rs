//! Where the results of a run go, decided from the configuration before any work. Nothing is made here.

use std::path::{Path, PathBuf};

use layout::Layout;

use super::{What, medium};
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::files::Engine;
use crate::point::Shelf;

/// These places, and what will lie there.
pub(super) struct Destinations {
    /// The medium, if one is made.
    pub(super) iso: Option<PathBuf>,
    /// Directory on the medium that holds the recovery point's parts.
    pub(super) dir_on_medium: String,
    /// Directory of the recovery point, where an archive is made and does not lie on the medium.
    pub(super) backup_dir: Option<PathBuf>,
    /// Where a recovery finds the backup, when not on the medium: a URL.
    pub(super) elsewhere: Option<String>,
    /// The local filesystem that this place lies on; known when the machine has been looked at.
    pub(super) shelf: Option<Shelf>,
    /// Whether an archive is made.
    pub(super) archive: bool,
    /// Whether files are saved at all.
    pub(super) files: bool,
}

impl Destinations {
    pub(super) fn decide(context: &Context, what: What, engine: Option<&dyn Engine>) -> Result<Self> {
        let settings = context.settings();
        let external = settings.backup == config::Backup::External;
        let none = external || settings.backup == config::Backup::RequestRestore;
        if none && !external && what == What::BackupOnly {
            return Err(Failure::refused(
                "BACKUP=REQUESTRESTORE makes no backup, so there is nothing for mkbackuponly to do",
            )
            .hint("set BACKUP=NETFS"));
        }
        let files = !none && what != What::RescueOnly;
        let mut iso = (what != What::BackupOnly).then(|| context.output_file());
        if let Some(engine) = engine {
            let (dir_on_medium, elsewhere) = ("rear".to_owned(), Some(engine.place()));
            let (backup_dir, shelf, archive) = (None, None, false);
            return Ok(Self { iso, dir_on_medium, backup_dir, elsewhere, shelf, archive, files });
        }
        let archive = files;
        let mut elsewhere = None;
        let (dir_on_medium, backup_dir) = match &settings.backup_url {
            config::Location::Iso { dir } => {
                if what == What::BackupOnly {
                    return Err(Failure::refused(
                        "the backup is on the medium itself (BACKUP_URL=iso://), so it cannot be made alone",
                    )
                    .hint("run rear mkbackup, or set BACKUP_URL=file:///DIRECTORY"));
                }
                if !archive && !none {
                    // Under the usual name lies the medium with the whole backup: it must not be replaced by one
                    // without.
                    iso = iso.map(|path| path.with_file_name(format!("{}-rescue.iso", settings.iso_prefix)));
                }
                (dir.trim_matches('/').to_owned(), None)
            }
            config::Location::File { .. } => {
                let dir = context.backup_dir();
                elsewhere = dir.as_ref().filter(|_| !none).map(|dir| format!("file://{}", dir.display()));
                ("rear".to_owned(), dir)
            }
            config::Location::Null | config::Location::Remote { .. } => ("rear".to_owned(), None),
        };
        let backup_dir = backup_dir.filter(|_| archive);
        Ok(Self { iso, dir_on_medium, backup_dir, elsewhere, shelf: None, archive, files })
    }

    /// Looks for the filesystem that will hold the backup.
    pub(super) fn find_shelf(&mut self, context: &Context, layout: &Layout) -> Result<()> {
        if let Some(place) = &self.elsewhere {
            self.shelf = Shelf::of(&context.sys, layout, place)?;
        }
        Ok(())
    }

    /// Whether the medium holds the files.
    pub(super) fn archive_on_medium(&self) -> bool {
        self.archive && self.backup_dir.is_none()
    }

    /// What an earlier run left where this one's results go: never a part of the backup.
    pub(super) fn own(&self) -> impl Iterator<Item = PathBuf> {
        let media = self.iso.iter().flat_map(|iso| [iso.clone(), medium::old_name(iso)]);
        media.chain(self.backup_dir.clone())
    }

    /// The local directory into which the files are saved: an archive, or an engine's.
    pub(super) fn saved_into(&self) -> Option<&Path> {
        match &self.backup_dir {
            Some(dir) => Some(dir),
            None if self.archive => self.iso.as_deref(),
            None => self.elsewhere.as_deref().and_then(crate::point::shelf::local),
        }
    }

    /// Directories in which work in progress is kept: on the filesystem of each result.
    pub(super) fn work_dirs(&self) -> impl Iterator<Item = &Path> {
        self.iso.as_deref().into_iter().chain(self.backup_dir.as_deref()).filter_map(Path::parent)
    }
}
