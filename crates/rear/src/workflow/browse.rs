//! What `rear mount` shows: the trees of recovery points under one root. A number names a file; its upper half is the point,
//! its lower half the file in it.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use backup::{ContentSource, Contents, Kind, Stored, Tree};
use rustix::fs::FileType;
use rustix::io::Errno;
use sys::fs::Staging;

use super::list::readable;
use crate::context::{Context, STATE_DIR};
use crate::failure::{Failure, Result};
use crate::files::Keeper;
use crate::fuse::{self, Attributes, Filesystem, Xattr};
use crate::point::{self, Place, Seal};
use crate::unlock::Files;

/// Bytes of decompressed parts that are kept for each recovery point.
const KEPT: u64 = 64 << 20;
/// More damaged files than these are only logged.
const LISTED: usize = 1000;

/// A recovery point that may be looked into.
pub struct Point {
    parts: Parts,
    seal: Option<Seal>,
    content: Held,
    /// Read when somebody looks; the second time, what went wrong.
    open: OnceLock<Result<Open, Errno>>,
}

/// Where the parts of a recovery point are.
pub enum Parts {
    /// Beside its seal.
    At(Place),
    /// In a repository, under this name.
    Kept(Arc<dyn Keeper>, String),
}

/// Where the content of its files is.
pub enum Held {
    /// In an archive among the parts; with archive and manifest, opened already, where they are encrypted.
    Archive(Option<Files>),
    /// At a place of its own, opened already: whoever looks into the directory later cannot be asked.
    Elsewhere(Mutex<Option<Box<dyn ContentSource>>>),
}

/// What was read of it.
struct Open {
    tree: Tree,
    contents: Box<dyn ContentSource>,
    /// Files whose content has been compared with its digest.
    checked: Mutex<HashSet<u32>>,
}

/// A directory that is on no machine: the root of several points, or a host.
struct Folder {
    /// Name and number.
    entries: Vec<(String, u64)>,
    time: i64,
}

/// All that is mounted.
pub struct Points<'c> {
    context: &'c Context,
    points: Vec<Point>,
    names: Vec<String>,
    /// The first is the root; none when the only point is the root.
    folders: Vec<Folder>,
    damaged: Mutex<Vec<String>>,
    logged: Mutex<HashSet<u64>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Point {
    /// One that has a seal, and files.
    pub fn new(parts: Parts, seal: Option<Seal>, content: Held) -> Self {
        Self { parts, seal, content, open: OnceLock::new() }
    }

    fn read(&self, context: &Context) -> Result<Open> {
        let seal = self.seal.as_ref().ok_or_else(|| Failure::refused("the recovery point holds no files"))?;
        // Read to its end here, so it is needed no longer.
        let (_copy, manifest) = self.manifest(context, seal)?;
        let (manifest, contents): (_, Box<dyn ContentSource>) = match (&self.content, &self.parts) {
            (Held::Archive(files), Parts::At(place)) => {
                let none = || Failure::refused("the recovery point holds no archive of the files");
                let facts = seal.archive.as_ref().ok_or_else(none)?;
                let (archive, manifest) = match files {
                    Some(files) => (files.archive.clone(), files.manifest.clone()),
                    None => (seal.archive_in(place)?, manifest),
                };
                let contents =
                    Contents::open(archive, facts.bytes, &facts.blake3, KEPT).map_err(|error| {
                        Failure::refused(error.to_string()).hint("use another copy of the recovery point")
                    })?;
                (manifest, Box::new(contents))
            }
            (Held::Elsewhere(contents), _) => {
                let contents = lock(contents).take();
                (manifest, contents.ok_or_else(|| Failure::refused("its files were not opened"))?)
            }
            (Held::Archive(_), Parts::Kept(..)) => {
                return Err(Failure::refused("a recovery point in a repository has no archive"));
            }
        };
        let tree = Tree::read(&manifest, &context.archive_options())?;
        Ok(Open { tree, contents, checked: Mutex::default() })
    }

    /// The manifest as it was sealed, and what it was copied to, where it had to be.
    fn manifest(&self, context: &Context, seal: &Seal) -> Result<(Option<Staging>, Stored)> {
        let (copy, fetched);
        let place = match &self.parts {
            Parts::At(place) => {
                copy = None;
                place
            }
            Parts::Kept(keeper, name) => {
                let staging = Staging::create(Path::new(STATE_DIR))?;
                keeper.fetch(context, name, staging.path())?;
                fetched = Place::Dir(staging.path().to_owned());
                copy = Some(staging);
                &fetched
            }
        };
        let name = seal.manifest_name();
        let manifest = place.stored(name)?;
        if point::measure_stored(&manifest, name, &context.cancel)? != *seal.part(name)? {
            return Err(Failure::refused(format!(
                "{} is damaged: its checksum is not the sealed one",
                place.shown(name)
            ))
            .hint("use another copy of the recovery point"));
        }
        Ok((copy, manifest))
    }

    /// Whether it has that id.
    pub fn is(&self, id: &str) -> bool {
        self.seal.as_ref().is_some_and(|seal| seal.id == id)
    }

    fn host(&self) -> String {
        let name = self.seal.as_ref().map_or("unknown", |seal| &seal.hostname);
        match readable(name.as_bytes()).replace('/', "%2F").as_str() {
            "" | "." | ".." => "unknown".to_owned(),
            name => name.to_owned(),
        }
    }

    fn created(&self) -> i64 {
        self.seal.as_ref().and_then(|seal| i64::try_from(seal.created).ok()).unwrap_or(0)
    }

    /// When it was made, as a name: `2026-01-02T03:04:00Z`.
    fn date(&self) -> String {
        match jiff::Timestamp::from_second(self.created()) {
            Ok(time) => time.to_string(),
            Err(_) => self.created().to_string(),
        }
    }
}

impl<'c> Points<'c> {
    fn new(context: &'c Context, points: Vec<Point>, names: Vec<String>, folders: Vec<Folder>) -> Self {
        let (damaged, logged) = (Mutex::default(), Mutex::default());
        Self { context, points, names, folders, damaged, logged }
    }

    /// One, which is the root itself.
    pub fn one(context: &'c Context, point: Point) -> Result<Self> {
        let open = point.read(context)?;
        let seal = point.seal.as_ref();
        let id = seal.map_or("", |seal| &seal.id);
        let name = format!("recovery point {id} of {}, made {},", point.host(), point.date());
        let _ = point.open.set(Ok(open));
        Ok(Self::new(context, vec![point], vec![name], Vec::new()))
    }

    /// Several, each as `HOST/DATE`.
    pub fn several(context: &'c Context, mut points: Vec<Point>) -> Result<Self> {
        points.sort_by_key(|point| (point.host(), point.created()));
        let folder = |time| Folder { entries: Vec::new(), time };
        let (mut folders, mut names) = (vec![folder(0)], Vec::new());
        for (index, point) in points.iter().enumerate() {
            let number = |index: usize| u64::try_from(index).map_err(|_| Failure::refused("too many points"));
            let host = point.host();
            if folders[0].entries.last().is_none_or(|(last, _)| *last != host) {
                folders.push(folder(0));
                let at = number(folders.len())?;
                folders[0].entries.push((host.clone(), at));
            }
            let date = point.date();
            let last = folders.len() - 1;
            let taken = |name: &str| folders[last].entries.iter().any(|(one, _)| one == name);
            let mut name = date.clone();
            let mut again = 2;
            while taken(&name) {
                name = format!("{date}-{again}");
                again += 1;
            }
            names.push(format!("{host}/{name}"));
            folders[last].entries.push((name, (number(index + 1)? << 32) | 1));
            folders[last].time = folders[last].time.max(point.created());
            folders[0].time = folders[0].time.max(point.created());
        }
        folders.iter_mut().for_each(|folder| folder.entries.sort());
        Ok(Self::new(context, points, names, folders))
    }

    /// What is mounted, for people.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// What could not be given because it was damaged.
    pub fn damaged(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.damaged))
    }

    /// The folder of that number, if it is one.
    fn folder(&self, node: u64) -> Option<&Folder> {
        let index = usize::try_from(node.checked_sub(1)?).ok()?;
        self.folders.get(index)
    }

    /// The number above the point's own, the point, and the file in it.
    fn find(&self, node: u64) -> Result<(u64, &Open, u32), Errno> {
        let upper = node >> 32 << 32;
        let lower = u32::try_from(node & 0xffff_ffff).ok().and_then(|lower| lower.checked_sub(1));
        let index = usize::try_from(node >> 32).map_err(|_| Errno::STALE)?;
        // With folders, the upper half counts from one.
        let index = if self.folders.is_empty() { Some(index) } else { index.checked_sub(1) };
        let (index, lower) = index.zip(lower).ok_or(Errno::STALE)?;
        let point = self.points.get(index).ok_or(Errno::STALE)?;
        let open = point.open.get_or_init(|| {
            point.read(self.context).map_err(|failure| {
                self.report(format!("{}: {}", self.names[index], failure.message));
                Errno::IO
            })
        });
        open.as_ref().map(|open| (upper, open, lower)).map_err(|error| *error)
    }

    fn report(&self, text: String) {
        self.context.ui.warn(&text);
        let mut damaged = lock(&self.damaged);
        if damaged.len() < LISTED {
            damaged.push(text);
        }
    }

    /// Bytes that are not what was archived are given to nobody.
    fn refuse(&self, node: u64, error: &backup::Error) -> Errno {
        if lock(&self.logged).insert(node) {
            let path = self.path(node).unwrap_or_else(|| "a file".to_owned());
            self.report(format!("{path} cannot be read: {error}"));
        }
        Errno::IO
    }

    /// A path that leads to a file, for messages.
    fn path(&self, node: u64) -> Option<String> {
        let (upper, open, file) = self.find(node).ok()?;
        let index = usize::try_from(upper >> 32).ok()?.saturating_sub(usize::from(!self.folders.is_empty()));
        let path = backup::machine_path(&open.tree.path(file).ok()?);
        let shown = readable(path.as_os_str().as_encoded_bytes());
        Some(match self.folders.is_empty() {
            true => shown,
            false => format!("{shown} of {}", self.names.get(index)?),
        })
    }
}

fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File | Kind::HardLink => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::Character => FileType::CharacterDevice,
        Kind::Block => FileType::BlockDevice,
        Kind::Fifo => FileType::Fifo,
    }
}

impl Filesystem for Points<'_> {
    fn lookup(&self, directory: u64, name: &[u8]) -> Result<u64, Errno> {
        if let Some(folder) = self.folder(directory) {
            let found = folder.entries.iter().find(|(one, _)| one.as_bytes() == name);
            return found.map(|(_, node)| *node).ok_or(Errno::NOENT);
        }
        let (upper, open, directory) = self.find(directory)?;
        Ok(upper + u64::from(open.tree.lookup(directory, name)?) + 1)
    }

    fn attributes(&self, node: u64) -> Result<Attributes, Errno> {
        if let Some(folder) = self.folder(node) {
            let links = 2 + u32::try_from(folder.entries.len()).unwrap_or(u32::MAX - 2);
            return Ok(Attributes {
                mode: FileType::Directory.as_raw_mode() | 0o755,
                links,
                uid: 0,
                gid: 0,
                size: 0,
                stored: 0,
                mtime: (folder.time, 0),
                device: (0, 0),
            });
        }
        let (_, open, file) = self.find(node)?;
        let found = open.tree.attributes(file)?;
        Ok(Attributes {
            mode: file_type(found.kind).as_raw_mode() | found.mode,
            links: found.links,
            uid: found.uid,
            gid: found.gid,
            size: found.size,
            stored: found.stored,
            mtime: found.mtime,
            device: found.device,
        })
    }

    fn entries(
        &self,
        directory: u64,
        from: u64,
        take: &mut dyn FnMut(&[u8], u64, u32) -> bool,
    ) -> Result<(), Errno> {
        let from = usize::try_from(from).map_err(|_| Errno::INVAL)?;
        let folder_type = fuse::directory_type(FileType::Directory);
        if let Some(folder) = self.folder(directory) {
            // The kernel wants no '.' and '..', and programs do without.
            let rest = folder.entries.get(from..).unwrap_or_default();
            let _ = rest.iter().all(|(name, node)| take(name.as_bytes(), *node, folder_type));
            return Ok(());
        }
        let (upper, open, directory) = self.find(directory)?;
        for (name, node) in open.tree.entries(directory, from)? {
            let kind = fuse::directory_type(file_type(open.tree.attributes(node)?.kind));
            if !take(name, upper + u64::from(node) + 1, kind) {
                break;
            }
        }
        Ok(())
    }

    fn link(&self, node: u64) -> Result<Vec<u8>, Errno> {
        let (_, open, file) = self.find(node)?;
        Ok(open.tree.link(file)?.to_vec())
    }

    fn open(&self, node: u64) -> Result<(), Errno> {
        let (_, open, file) = self.find(node)?;
        let content = open.tree.content(file)?;
        if content.size == 0 || lock(&open.checked).contains(&file) {
            return Ok(());
        }
        open.contents.check(&open.tree, &content).map_err(|error| self.refuse(node, &error))?;
        lock(&open.checked).insert(file);
        Ok(())
    }

    fn read(&self, node: u64, offset: u64, into: &mut [u8]) -> Result<usize, Errno> {
        let (_, open, file) = self.find(node)?;
        let content = open.tree.content(file)?;
        open.contents.read(&open.tree, &content, offset, into).map_err(|error| self.refuse(node, &error))
    }

    fn seek(&self, node: u64, offset: u64, data: bool) -> Result<u64, Errno> {
        let (_, open, file) = self.find(node)?;
        let content = open.tree.content(file)?;
        if offset >= content.size {
            return Err(Errno::NXIO);
        }
        let whole = [(0, content.size)];
        let segments = content.segments.unwrap_or(&whole);
        if data {
            let next = segments.iter().find(|(start, length)| *length > 0 && offset < start + length);
            return next.map(|(start, _)| offset.max(*start)).ok_or(Errno::NXIO);
        }
        let mut at = offset;
        for (start, length) in segments {
            if *start <= at && at < start + length {
                at = start + length;
            }
        }
        // There is a hole at the end of every file.
        Ok(at.min(content.size))
    }

    fn xattrs(&self, node: u64) -> Result<Vec<Xattr>, Errno> {
        if self.folder(node).is_some() {
            return Ok(Vec::new());
        }
        let (_, open, file) = self.find(node)?;
        Ok(open.tree.xattrs(file).to_vec())
    }

    fn flags(&self, node: u64) -> Result<u32, Errno> {
        if self.folder(node).is_some() {
            return Ok(0);
        }
        let (_, open, file) = self.find(node)?;
        Ok(open.tree.flags(file))
    }

    fn totals(&self) -> (u64, u64) {
        let opened = self.points.iter().filter_map(|point| point.open.get()?.as_ref().ok());
        opened
            .fold((0, 0), |(bytes, files), open| (bytes + open.tree.bytes(), files + open.tree.len() as u64))
    }
}
