//! Repositories of the restic format, in memory, written by somebody who knows the password: what stands in its snapshots,
//! index files, packs and trees is the input. And key files, which everybody can write who reaches the repository.
//!
//! The input of `repository`: snapshot, index, table of the pack, then up to five blobs, with cuts between them. In all of them
//! `@0` to `@4` stand for the ids of the blobs, which come later than what names them, and `@p` for the one of the pack;
//! `@i` alone is a right index, an empty table a right one. A blob that begins with `~` is stored compressed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use backup::{Entry, ManifestReader};
use repository::{Backend, Error, FileKind, Id, Repository, Restore, Result};
use sys::Secret;

use super::place::{Memory, Place};
use super::{cut, options};

/// Blobs of an input; trees inside of trees are as many as their product.
const BLOBS: usize = 5;
/// Nobody needs a longer stretch of a pack, in bytes: the largest blob that is read has 512 MiB, and some more is read with it.
const STRETCH: usize = 520 << 20;

/// Files in memory. Those of a repository cannot be written: then nobody waits for locks.
#[derive(Clone, Default)]
struct Files(Arc<Mutex<Shelf>>);

#[derive(Clone, Default)]
struct Shelf {
    files: BTreeMap<(&'static str, Id), Vec<u8>>,
    is_sealed: bool,
}

impl Files {
    fn put(&self, kind: FileKind, id: Id, bytes: &[u8]) {
        self.0.lock().unwrap().files.insert((kind.directory(), id), bytes.to_vec());
    }

    fn no(what: &str) -> Error {
        Error::Io { what: what.to_owned(), source: std::io::ErrorKind::NotFound.into() }
    }
}

impl Backend for Files {
    fn place(&self) -> String {
        "memory".into()
    }
    fn create(&self) -> Result<()> {
        Ok(())
    }
    fn has(&self, kind: FileKind, id: Id) -> Result<bool> {
        Ok(self.0.lock().unwrap().files.contains_key(&(kind.directory(), id)))
    }
    fn list(&self, kind: FileKind) -> Result<Vec<(Id, u64)>> {
        let shelf = self.0.lock().unwrap();
        let files = shelf.files.iter().filter(|((directory, _), _)| *directory == kind.directory());
        Ok(files.map(|((_, id), bytes)| (*id, bytes.len() as u64)).collect())
    }
    fn read(&self, kind: FileKind, id: Id) -> Result<Vec<u8>> {
        let shelf = self.0.lock().unwrap();
        shelf.files.get(&(kind.directory(), id)).cloned().ok_or_else(|| Self::no("read"))
    }
    fn read_range(&self, pack: Id, offset: u64, length: usize) -> Result<Vec<u8>> {
        assert!(length <= STRETCH, "a stretch of {length} bytes is asked for");
        let bytes = self.read(FileKind::Pack, pack)?;
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        let found = bytes.get(at..).and_then(|rest| rest.get(..length));
        found.map(<[u8]>::to_vec).ok_or_else(|| Self::no("read so much"))
    }
    fn write(&self, kind: FileKind, id: Id, bytes: &[u8]) -> Result<()> {
        if self.0.lock().unwrap().is_sealed {
            return Err(Self::no("write"));
        }
        self.put(kind, id, bytes);
        Ok(())
    }
    fn remove(&self, _kind: FileKind, _id: Id) -> Result<()> {
        Err(Self::no("remove"))
    }
}

fn password() -> Secret {
    Secret::new("password")
}

/// An empty repository and the place of its files. Its password is turned into a key once.
fn fresh() -> (Repository, Files, Shelf) {
    static MADE: OnceLock<(Repository, Files, Shelf)> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let files = Files::default();
        let repository = Repository::create(Box::new(files.clone()), &password()).unwrap();
        files.0.lock().unwrap().is_sealed = true;
        let shelf = files.0.lock().unwrap().clone();
        (repository, files, shelf)
    });
    made.clone()
}

/// A repository with one snapshot.
pub fn repository(bytes: &[u8]) -> bool {
    // The files are shared: one at a time.
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock();
    let (repository, files, shelf) = fresh();
    let Some(snapshot) = fill(&repository, &files, bytes) else { return false };
    let is_whole = look(&repository, snapshot);
    *files.0.lock().unwrap() = shelf;
    drop(turn);
    is_whole
}

fn fill(repository: &Repository, files: &Files, input: &[u8]) -> Option<Id> {
    let (snapshot, rest) = cut(input);
    let (index, rest) = cut(rest);
    let (table, mut rest) = cut(rest);
    let mut texts = Vec::new();
    while !rest.is_empty() && texts.len() < BLOBS {
        let (text, later) = cut(rest);
        texts.push(text);
        rest = later;
    }
    // From the last on: what names it has to know its id.
    let mut ids: Vec<(String, Id)> = Vec::new();
    let mut blobs = Vec::new();
    for (number, text) in texts.iter().enumerate().rev() {
        let text = named(text, &ids);
        let (plain, is_packed) = match text.split_first() {
            Some((b'~', plain)) => (plain.to_vec(), true),
            _ => (text, false),
        };
        let id = Id::of(&plain);
        let stored = if is_packed { zstd::bulk::compress(&plain, 1).unwrap() } else { plain.clone() };
        blobs.push((
            id,
            plain.starts_with(b"{"),
            repository.seal(&stored).ok()?,
            is_packed.then_some(plain.len()),
        ));
        ids.push((format!("@{number}"), id));
    }
    blobs.reverse();
    let (mut pack, mut right, mut listed, mut offset) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for (id, is_tree, sealed, plain) in &blobs {
        let length = u32::try_from(sealed.len()).ok()?;
        right.push(u8::from(*is_tree) | u8::from(plain.is_some()) << 1);
        right.extend(length.to_le_bytes());
        right.extend(plain.iter().flat_map(|plain| u32::try_from(*plain).unwrap().to_le_bytes()));
        right.extend(id.bytes());
        let kind = if *is_tree { "tree" } else { "data" };
        let more = plain.map_or(String::new(), |plain| format!(r#","uncompressed_length":{plain}"#));
        listed.push(format!(r#"{{"id":"{id}","type":"{kind}","offset":{offset},"length":{length}{more}}}"#));
        offset += length;
        pack.extend(sealed);
    }
    let table = if table.is_empty() { right } else { named(table, &ids) };
    let table = repository.seal(&table).ok()?;
    pack.extend(&table);
    pack.extend(u32::try_from(table.len()).ok()?.to_le_bytes());
    let id = Id::of(&pack);
    repository.blobs_of(&pack);
    files.put(FileKind::Pack, id, &pack);
    ids.push(("@p".into(), id));
    let index = match index {
        b"@i" => format!(r#"{{"packs":[{{"id":"{id}","blobs":[{}]}}]}}"#, listed.join(",")).into_bytes(),
        text => named(text, &ids),
    };
    let put = |kind: FileKind, text: &[u8]| {
        let sealed = repository.seal(text).ok()?;
        let id = Id::of(&sealed);
        files.put(kind, id, &sealed);
        Some(id)
    };
    put(FileKind::Index, &index)?;
    put(FileKind::Snapshot, &named(snapshot, &ids))
}

/// The text with ids in the place of their signs.
fn named(text: &[u8], ids: &[(String, Id)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.first() {
        let sign = ids.iter().find(|(sign, _)| rest.starts_with(sign.as_bytes()));
        match sign {
            Some((sign, id)) => {
                out.extend(id.to_string().bytes());
                rest = &rest[sign.len()..];
            }
            None => {
                out.push(*first);
                rest = &rest[1..];
            }
        }
    }
    out
}

/// Whether the snapshot comes back.
fn look(repository: &Repository, snapshot: Id) -> bool {
    let (place, options) = (Place::new(), options());
    let _ = repository.snapshots();
    let _ = repository.reachable(snapshot, &options);
    let _ = repository.check(None, &options, &());
    if let Ok(files) = repository.files() {
        let _ = files.copy(snapshot, "file", 1 << 20, &mut std::io::sink());
    }
    let manifest = Memory::new(&[]);
    let mut is_whole = false;
    if repository.manifest(snapshot, manifest.file(), &options).is_ok() {
        let entries: std::result::Result<Vec<Entry>, _> =
            ManifestReader::open(manifest.path()).and_then(Iterator::collect);
        entries.expect("the manifest that was made of a snapshot");
        let target = place.target();
        let order = Restore {
            snapshot,
            manifest: manifest.path(),
            target: &target,
            plain: Vec::<PathBuf>::new(),
            replace: true,
        };
        let restored = repository.restore(&order, &options, &());
        is_whole = restored.is_ok_and(|restored| restored.problems.is_empty());
        let _ = backup::compare(manifest.path(), &target, &[], &options, &());
        let _ = repository.restore(&order, &options, &());
    }
    place.check();
    is_whole
}

/// A key file.
pub fn key(bytes: &[u8]) -> bool {
    let (_, _, shelf) = fresh();
    if is_slow(bytes) {
        return false;
    }
    let files = Files(Arc::new(Mutex::new(shelf)));
    files.0.lock().unwrap().files.retain(|(directory, _), _| *directory != FileKind::Key.directory());
    files.put(FileKind::Key, Id::of(bytes), bytes);
    // What is no key, or no good one, is told apart from one that opens with another password.
    matches!(Repository::open(Box::new(files), &password()), Ok(_) | Err(Error::Password { .. }))
}

/// Whether it asks for work that is not refused, and takes its time. What is too much has to be refused.
fn is_slow(key: &[u8]) -> bool {
    let Ok(key) = serde_json::from_slice::<serde_json::Value>(key) else { return false };
    let number = |name: &str| u128::from(key[name].as_u64().unwrap_or(0));
    let memory = 128 * number("r") * (number("N") + number("p"));
    memory <= 1 << 30 && 128 * number("N") * number("r") * number("p") > 1 << 20
}
