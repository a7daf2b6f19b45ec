//! Finds recovery points: in directories, in ISO files and on drives, without a mount. It says precisely what a place holds
//! that is none, and what is wrong with one that is. It only reads, and reads no more than names, sizes and seals.

use std::path::{Path, PathBuf};

use medium::Marker;
use medium::iso9660::Volume;
use sys::fs::Staging;

use crate::context::{Context, STATE_DIR, is_rescue_system};
use crate::failure::{Code, Failure, Result};
use crate::files::{self, Meant};
use crate::point::{self, Place, Seal};
use crate::rescue;
use crate::workflow::kept;
use crate::workflow::recover::rescue_config;

/// Directories below a place are looked at to this depth: `DESTINATION/HOST/backup`.
const DEPTH: usize = 2;

/// A recovery point, or what is left of one.
#[derive(Debug)]
pub struct Found {
    /// Where its parts are.
    pub place: Place,
    /// Its seal, where that can be read.
    pub seal: Option<Seal>,
    /// What the medium says of itself.
    pub marker: Option<Marker>,
    /// All that is wrong with it, as far as names and sizes tell. Empty means complete.
    pub faults: Vec<String>,
}

impl Found {
    /// Whether files can be had from it.
    pub fn has_files(&self) -> bool {
        self.seal.as_ref().is_some_and(|seal| seal.has_files())
    }

    /// The seal of a point that has one; otherwise what is wrong.
    pub fn sealed(&self) -> Result<&Seal> {
        self.seal.as_ref().ok_or_else(|| {
            Failure::refused(format!(
                "the recovery point at {} is broken: {}",
                self.place.path().display(),
                self.faults.join("; ")
            ))
            .hint("use another copy of it")
        })
    }
}

/// What was found.
#[derive(Debug, Default)]
pub struct Looked {
    /// Recovery points, in the order in which they were found.
    pub points: Vec<Found>,
    /// What looked like one and is none, with the reason.
    pub others: Vec<(PathBuf, String)>,
    /// The places that were looked at.
    pub places: Vec<PathBuf>,
}

impl Looked {
    /// All recovery points at `from`, or at the configured destinations, those of other machines among them.
    pub fn all(context: &Context, from: Option<&str>) -> Result<Self> {
        let mut looked = Self::default();
        match from {
            Some(from) => looked.from(context, from)?,
            None if is_rescue_system() => looked.booted(context)?,
            None => {
                let settings = context.settings();
                let own = [Some(&settings.backup_url), settings.output_url.as_ref()].into_iter().flatten();
                let mut roots: Vec<PathBuf> = own
                    .filter_map(|location| match location {
                        config::Location::File { path } => Some(path.clone()),
                        config::Location::Iso { .. }
                        | config::Location::Null
                        | config::Location::Remote { .. } => None,
                    })
                    .collect();
                let medium = context.output_file();
                if let Some(parent) =
                    medium.parent().filter(|dir| !roots.iter().any(|root| dir.starts_with(root)))
                {
                    roots.push(parent.to_owned());
                }
                roots.dedup();
                roots.iter().filter(|root| root.exists()).for_each(|root| looked.named(root, true));
                looked.places = roots;
            }
        }
        Ok(looked)
    }

    /// This machine's own recovery point at the configured destination, with its medium, or all that is at `from`.
    pub fn own(context: &Context, from: Option<&str>) -> Result<Self> {
        if from.is_some() || is_rescue_system() {
            return Self::all(context, from);
        }
        let mut looked = Self::default();
        for path in context.backup_dir().into_iter().chain([context.output_file()]) {
            if path.exists() {
                looked.named(&path, true);
            } else {
                looked.places.push(path);
            }
        }
        Ok(looked)
    }

    /// An error that names all that was looked at, unless there is a recovery point.
    pub fn refuse_none(&self) -> Result<()> {
        if !self.points.is_empty() {
            return Ok(());
        }
        let why: String =
            self.others.iter().map(|(path, why)| format!("\n- {} {why}", path.display())).collect();
        let places: Vec<String> = self.places.iter().map(|path| path.display().to_string()).collect();
        Err(Failure::refused(format!("there is no recovery point at {}{why}", places.join(" or "))).hint(
            "name with --from an ISO file, a drive, the directory of a recovery point, or a directory that holds some",
        ))
    }

    /// The one recovery point from which files can be had.
    pub fn with_files(mut self) -> Result<Found> {
        self.refuse_none()?;
        let count = self.points.iter().filter(|found| found.has_files()).count();
        if count > 1 {
            let list: String = self
                .points
                .iter()
                .filter(|found| found.has_files())
                .map(|found| format!("\n- {}", found.place.path().display()))
                .collect();
            return Err(Failure::new(
                Code::Usage,
                format!("there are {count} recovery points with files:{list}"),
            )
            .hint("name one of them with --from"));
        }
        if let Some(at) = self.points.iter().position(Found::has_files) {
            return Ok(self.points.swap_remove(at));
        }
        for found in &self.points {
            let seal = found.sealed()?;
            if let Some(elsewhere) = &seal.elsewhere {
                return Err(Failure::refused(format!(
                    "{} holds no files: they are at {elsewhere}",
                    found.place.path().display()
                ))
                .hint("name that place with --from"));
            }
        }
        Err(Failure::refused(
            "the recovery point holds no files: it was made by mkrescue, or with BACKUP=REQUESTRESTORE",
        ))
    }

    /// The medium that this rescue system was booted from.
    fn booted(&mut self, context: &Context) -> Result<()> {
        let config = rescue_config()?;
        let medium = rescue::find_medium(&context.sys, &config).map_err(|error| {
            Failure::refused(error.to_string())
                .hint("insert the medium, or name the recovery point with --from")
        })?;
        self.named(&medium.device, true);
        Ok(())
    }

    /// What a user names: a place, or a recovery point in the repository, of which a copy is made for this run.
    fn from(&mut self, context: &Context, from: &str) -> Result<()> {
        let Some(name) = from.strip_prefix(files::SNAPSHOT) else {
            self.named(&place(from), false);
            return Ok(());
        };
        let staging = Staging::create(Path::new(STATE_DIR))?;
        let (keeper, _) = kept::named(context)?;
        match keeper.find(name)? {
            Meant::Point(name) => keeper.fetch(context, &name, staging.path())?,
            Meant::Files(files) => return Err(kept::no_point(&*keeper, &files)),
        }
        let before = self.points.len();
        self.named(staging.path(), true);
        // Where it was found counts, not where it was when it was made.
        let new =
            self.points.iter_mut().skip(before).filter_map(|found| found.seal.as_mut()?.content.as_mut());
        new.for_each(|content| content.url = keeper.place());
        context.staged.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(staging);
        Ok(())
    }

    /// A place that was named: whatever it is, something is said of it. `ours` where nothing but a recovery point can have
    /// been there.
    fn named(&mut self, path: &Path, ours: bool) {
        self.places.push(path.to_owned());
        if path.is_dir() {
            self.directory(path, 0);
        } else {
            self.file(path, ours);
        }
    }

    /// An ISO file or a drive, whatever is on it.
    fn file(&mut self, path: &Path, ours: bool) {
        match self.iso(path) {
            Ok(()) => {}
            Err(NotOne::Unreadable(error)) if ours || matches!(error, medium::Error::Truncated { .. }) => {
                let place = Place::Dir(path.to_owned());
                let faults = vec![error.to_string()];
                self.points.push(Found { place, seal: None, marker: None, faults });
            }
            Err(NotOne::Unreadable(error)) => {
                self.others.push((path.to_owned(), format!("cannot be read as an ISO: {error}")));
            }
            Err(NotOne::Foreign) => {
                let why = "is an ISO, but no medium of rear and without a recovery point";
                self.others.push((path.to_owned(), why.to_owned()));
            }
        }
    }

    fn directory(&mut self, dir: &Path, depth: usize) {
        let mut names = match std::fs::read_dir(dir).and_then(Iterator::collect::<std::io::Result<Vec<_>>>) {
            Ok(names) => names,
            Err(error) => return self.others.push((dir.to_owned(), format!("cannot be read: {error}"))),
        };
        names.sort_by_key(std::fs::DirEntry::file_name);
        let has = |name: &str| names.iter().any(|entry| entry.file_name() == name);
        if has(point::SEAL) {
            return self.points.push(look(Place::Dir(dir.to_owned()), None));
        }
        let mut all = names.iter().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let archive = all.find(|name| point::is_archive(name));
        let others =
            [point::MANIFEST, point::ENCRYPTED_MANIFEST, point::LAYOUT].into_iter().filter(|name| has(name));
        if let Some(part) = archive.into_iter().chain(others.map(str::to_owned)).next() {
            let fault = format!(
                "it has {part} but no seal ({}): it was never completed, or its seal was lost",
                point::SEAL
            );
            let place = Place::Dir(dir.to_owned());
            return self.points.push(Found { place, seal: None, marker: None, faults: vec![fault] });
        }
        let before = (self.points.len(), self.others.len());
        for entry in names {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            // A link to a directory may lead anywhere, also around in a circle.
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if is_unfinished(&name) {
                    let why = "is the working directory of a run that is under way or was killed";
                    self.others.push((path, why.to_owned()));
                } else if depth < DEPTH {
                    self.directory(&path, depth + 1);
                }
            } else if (name.ends_with(".iso") || name.ends_with(".iso.old")) && path.is_file() {
                // Of one that is unreadable it cannot be said any more that it was no recovery point.
                self.file(&path, true);
            }
        }
        if depth == 0 && before == (self.points.len(), self.others.len()) {
            let why = format!("is a directory without {} and without ISO files", point::SEAL);
            self.others.push((dir.to_owned(), why));
        }
    }

    fn iso(&mut self, path: &Path) -> Result<(), NotOne> {
        let unreadable = NotOne::Unreadable;
        let volume = Volume::open(path).map_err(unreadable)?;
        let (marker, mut faults) = match Marker::read(&volume) {
            Ok(marker) => (marker, Vec::new()),
            Err(error) => (None, vec![error.to_string()]),
        };
        let dirs = seals(&volume).map_err(unreadable)?;
        if dirs.is_empty() {
            if let Some(marker) = &marker {
                faults.push(format!(
                    "it has the marker of recovery point {} but no seal ({})",
                    marker.id,
                    point::SEAL
                ));
            }
            if faults.is_empty() {
                return Err(NotOne::Foreign);
            }
            let place = Place::Iso { volume, dir: String::new() };
            self.points.push(Found { place, seal: None, marker, faults });
            return Ok(());
        }
        let bootable = volume.find(medium::KERNEL).map_err(unreadable)?.is_some();
        for dir in dirs {
            let volume = Volume::open(path).map_err(unreadable)?;
            let mut found = look(Place::Iso { volume, dir }, marker.clone());
            if let Some(seal) = &found.seal {
                match &marker {
                    Some(marker) if marker.id != seal.id => found.faults.push(format!(
                        "the medium belongs to recovery point {}, the seal on it to {}",
                        marker.id, seal.id
                    )),
                    None if bootable && faults.is_empty() => {
                        found.faults.push("the medium has lost its marker, /.rear-ID".to_owned());
                    }
                    _ => {}
                }
            }
            found.faults.extend(faults.iter().cloned());
            self.points.push(found);
        }
        Ok(())
    }
}

/// Why a file is not a recovery point.
enum NotOne {
    /// It is no ISO, or not one that can be read any more.
    Unreadable(medium::Error),
    /// It is an ISO of somebody else.
    Foreign,
}

/// A path, or a URL of one.
fn place(from: &str) -> PathBuf {
    PathBuf::from(from.strip_prefix("file://").unwrap_or(from))
}

/// Whether this is the name of a working directory of ours.
fn is_unfinished(name: &str) -> bool {
    let rest = name.strip_prefix("rear.").map(|rest| rest.trim_end_matches(".previous"));
    rest.is_some_and(|rest| rest.len() == 12 && rest.chars().all(|c| c.is_ascii_hexdigit()))
}

/// The directories of an ISO that have a seal, to the depth of three (`BACKUP_URL=iso:///DIR`).
fn seals(volume: &Volume) -> medium::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut pending = vec![(String::new(), 0)];
    while let Some((dir, depth)) = pending.pop() {
        let Some(names) = volume.list(&dir)? else { continue };
        if names.iter().any(|name| name == point::SEAL) {
            found.push(if dir.is_empty() { "/".to_owned() } else { dir });
        } else if depth < 3 {
            let below = names.iter().filter(|name| depth > 0 || *name != "boot");
            pending.extend(below.map(|name| (format!("{dir}/{name}"), depth + 1)));
        }
    }
    found.sort();
    Ok(found)
}

/// Reads the seal and compares names and sizes with it.
fn look(place: Place, marker: Option<Marker>) -> Found {
    let mut faults = Vec::new();
    let seal = match Seal::open(&place) {
        Ok(seal) => Some(seal),
        Err(failure) => {
            faults.push(failure.message);
            None
        }
    };
    for part in seal.iter().flat_map(|seal| &seal.parts) {
        match place.size(&part.name) {
            Ok(Some(bytes)) if bytes == part.bytes => {}
            Ok(Some(bytes)) => {
                let what = if bytes < part.bytes { "is truncated: it has" } else { "has" };
                faults.push(format!(
                    "{} {what} {bytes} bytes instead of {}",
                    place.shown(&part.name),
                    part.bytes
                ));
            }
            Ok(None) => faults.push(format!("{} is missing", place.shown(&part.name))),
            Err(failure) => faults.push(failure.message),
        }
    }
    Found { place, seal, marker, faults }
}
