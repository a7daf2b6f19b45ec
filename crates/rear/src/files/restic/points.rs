//! The recovery points that a repository keeps: each run stores its seal with what lies beside it as a snapshot of its own. They are listed,
//! copied out and looked into; nothing is changed in the repository.

use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;

use backup::ContentSource;
use repository::{Browser, Files, Id, Location, Repository, Snapshot};

use super::{FILES, METHOD, POINT, access, configured, snapshot_of};
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::files::{Bare, Keeper, Kept, Meant};
use crate::point::{self, Content, Seal};

/// The largest seal and the largest part beside one, in bytes: the manifest of many millions of files.
const SEAL_LIMIT: u64 = 16 << 20;
const PART_LIMIT: u64 = 16 << 30;
/// Bytes of what was read last that are kept for who looks into files.
const KEPT: u64 = 64 << 20;

/// A repository that was opened.
pub struct Points {
    location: Location,
    repository: Repository,
    files: Files,
    browser: OnceLock<Browser>,
}

impl Points {
    /// The configured one; nobody is asked for anything.
    pub fn configured(context: &Context) -> Result<Self> {
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
        context.remember_repository(&location.to_string(), &repository);
        Self::of(location, repository)
    }

    /// One that is open.
    pub fn of(location: Location, repository: Repository) -> Result<Self> {
        let files = repository.files()?;
        Ok(Self { location, repository, files, browser: OnceLock::new() })
    }

    /// The seal of such a snapshot, proven by its own checksum.
    fn seal(&self, snapshot: Id) -> Result<Seal> {
        let mut text = Vec::new();
        let shown = format!("snapshot {}", snapshot.short());
        if !self.files.copy(snapshot, point::SEAL, SEAL_LIMIT, &mut text)? {
            return Err(Failure::refused(format!("{shown} has no seal")));
        }
        let seal = Seal::parse(&text, &shown)?;
        if seal.content.as_ref().is_none_or(|content| content.method != METHOD) {
            return Err(Failure::refused(format!("the seal of {shown} does not belong to a repository")));
        }
        Ok(seal)
    }

    /// The snapshot that is meant by the first digits of its name.
    fn meant(&self, name: &str) -> Result<Snapshot> {
        let location = &self.location;
        let snapshots = self.repository.snapshots()?;
        let is_meant = |one: &&Snapshot| name.len() >= 4 && one.id.to_string().starts_with(name);
        let mut fitting = snapshots.iter().filter(is_meant);
        match (fitting.next(), fitting.next()) {
            (Some(one), None) => Ok(one.clone()),
            (Some(_), Some(_)) => {
                Err(Failure::refused(format!("several snapshots in {location} begin with {name}"))
                    .hint("write more digits of the one that is meant"))
            }
            (None, _) => Err(Failure::refused(format!("no recovery point {name} is in {location}"))
                .hint("rear list names them; the first eight digits are enough")),
        }
    }
}

/// Whether a snapshot is a seal of ours.
fn is_point(snapshot: &Snapshot) -> bool {
    snapshot.is_ours && snapshot.tags.iter().any(|tag| tag == POINT)
}

impl Keeper for Points {
    fn place(&self) -> String {
        self.location.to_string()
    }

    fn points(&self, context: &Context, hostname: &str) -> Result<Vec<Kept>> {
        let snapshots = self.repository.snapshots()?;
        let mut found = Vec::new();
        for snapshot in snapshots.iter().filter(|one| is_point(one) && one.hostname == hostname) {
            context.cancel.check()?;
            let seal = self.seal(snapshot.id);
            let names = seal.as_ref().ok().and_then(|seal| Id::parse(&seal.content.as_ref()?.name));
            found.push(Kept {
                name: snapshot.id.to_string(),
                created: snapshot.time.try_into().unwrap_or_default(),
                has_files: names.is_some_and(|id| snapshots.iter().any(|one| one.id == id)),
                seal,
            });
        }
        Ok(found)
    }

    fn find(&self, name: &str) -> Result<Meant> {
        let meant = self.meant(name)?;
        if is_point(&meant) {
            return Ok(Meant::Point(meant.id.to_string()));
        }
        let name = meant.id.to_string();
        // What is damaged seals nothing.
        let seals = |point: &Snapshot| {
            self.seal(point.id).is_ok_and(|seal| seal.content.is_some_and(|content| content.name == name))
        };
        let snapshots = self.repository.snapshots()?;
        if let Some(point) = snapshots.iter().filter(|one| is_point(one)).find(|point| seals(point)) {
            return Ok(Meant::Point(point.id.to_string()));
        }
        Ok(Meant::Files(Bare {
            name,
            hostname: meant.hostname,
            created: meant.time.try_into().unwrap_or_default(),
            is_ours: meant.is_ours && meant.tags.iter().any(|tag| tag == FILES),
        }))
    }

    fn list(&self, context: &Context, files: &Bare, dir: &Path) -> Result<Content> {
        let id = Id::parse(&files.name)
            .ok_or_else(|| Failure::refused(format!("there is no snapshot {}", files.name)))?;
        let file = sys::fs::create_private(&dir.join(point::MANIFEST))?;
        let (_, _, totals) = self.repository.manifest(id, &file, &context.archive_options())?;
        file.sync_all()?;
        Ok(Content {
            method: METHOD.to_owned(),
            url: self.place(),
            name: files.name.clone(),
            files: totals.files,
            data_bytes: totals.bytes,
        })
    }

    fn fetch(&self, context: &Context, name: &str, dir: &Path) -> Result<()> {
        let meant = self.meant(name)?;
        let seal = self.seal(meant.id)?;
        let names = seal.parts.iter().map(|part| part.name.as_str()).chain([point::SEAL]);
        for name in names {
            context.cancel.check()?;
            // A name becomes a path.
            if name.is_empty() || name.contains('/') || name.starts_with('.') {
                return Err(Failure::refused(format!("the seal names the impossible part '{name}'")));
            }
            let mut out = sys::fs::create_private(&dir.join(name))?;
            // What is missing is told by whoever looks for it.
            if !self.files.copy(meant.id, name, PART_LIMIT, &mut out)? {
                drop(out);
                std::fs::remove_file(dir.join(name))?;
                continue;
            }
            out.flush()?;
        }
        Ok(())
    }

    fn contents(&self, content: &Content) -> Result<Box<dyn ContentSource>> {
        let snapshot = snapshot_of(content)?;
        let browser = match self.browser.get() {
            Some(browser) => browser,
            None => {
                // Two that came at once share the first.
                let made = self.files.browser(KEPT)?;
                self.browser.get_or_init(|| made)
            }
        };
        Ok(Box::new(browser.contents(snapshot)?))
    }
}
