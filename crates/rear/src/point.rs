//! The recovery point: what one `mkbackup` leaves behind, and the seal that says it is complete.

use std::io::Read;
use std::path::{Path, PathBuf};

use backup::{Stored, Volumes};
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Result};

mod place;
pub mod shelf;

pub use place::Place;
pub use shelf::Shelf;

/// Version of the seal's form.
pub const FORMAT: u32 = 1;
/// Name of the seal.
pub const SEAL: &str = "recovery-point.json";
/// The saved layout.
pub const LAYOUT: &str = "layout.json";
/// What booted the machine, byte for byte.
pub const BOOT: &str = "boot.json";
/// The directories that mounts hide.
pub const MOUNT_POINTS: &str = "mountpoints.json";
/// The disks that stay as they are.
pub const PRESERVED: &str = "preserved.json";
/// The files; the name goes on with the ending of the compression.
pub const ARCHIVE: &str = "archive.tar";
/// The whole name where the seal tells none: earlier versions knew one compression.
const USUAL_ARCHIVE: &str = "archive.tar.zst";
/// The list of the files, with all metadata and hashes.
pub const MANIFEST: &str = "manifest.zst";
/// The same, encrypted like the archive.
pub const ENCRYPTED_MANIFEST: &str = "manifest.zst.age";
/// What the name of an encrypted archive goes on with.
pub const ENCRYPTED: &str = ".age";

/// The seal: written last, names every part with its size and hash. A directory without it is no recovery point.
/// Unknown names are refused: a damaged name of an optional field must not read as its absence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seal {
    /// Version of this form.
    pub format: u32,
    /// Random id, 32 hexadecimal digits; the same in the rescue system.
    pub id: String,
    /// Host name of the machine.
    pub hostname: String,
    /// When it was made, in seconds since 1970-01-01 UTC.
    pub created: u64,
    /// Version of the program that made it.
    pub program: String,
    /// Every part beside the seal.
    pub parts: Vec<Part>,
    /// The archive, unless the rescue medium was made alone.
    pub archive: Option<Archive>,
    /// The files, where a method with a place of its own keeps them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// Where the backup is, when not on the medium: a URL.
    pub elsewhere: Option<String>,
    /// The local filesystem that holds the files, where they are not on the medium.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shelf: Option<Shelf>,
    /// What alone is in the archive, where its owner asked for less than the machine; empty for a whole one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// BLAKE3 of the seal without this field, as JSON without blanks: so that no word of it can change unseen. Earlier
    /// versions wrote none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// More than any seal has, in bytes.
const SEAL_LIMIT: u64 = 16 << 20;

/// A part of a recovery point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// File name beside the seal.
    pub name: String,
    /// Size in bytes.
    pub bytes: u64,
    /// BLAKE3 of the whole file, hexadecimal.
    pub blake3: String,
}

/// Facts of the archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// Name of its file.
    #[serde(default = "usual_archive", skip_serializing_if = "is_usual_archive")]
    pub name: String,
    /// Number of volumes, where it does not lie in one file: then the names of the files end with `.001`, `.002`, …
    #[serde(default, skip_serializing_if = "is_zero")]
    pub volumes: u32,
    /// Who can open archive and manifest, where they are encrypted in the format of age.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// Its size in bytes; of an encrypted one, what it has when it is opened.
    pub bytes: u64,
    /// Its checksum as `backup::verify` computes it; of an encrypted one, keyed by the key of its file, so that it tells
    /// nothing of what is in it.
    pub blake3: String,
    /// Number of entries.
    pub files: u64,
    /// Bytes of the files in it.
    pub data_bytes: u64,
}

/// Facts of files that lie at a place of their own. The manifest of them is a part beside the seal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// The word of `BACKUP`.
    pub method: String,
    /// Where they are: a URL, without secrets.
    pub url: String,
    /// What names them there: a snapshot, a tree.
    pub name: String,
    /// Number of entries.
    pub files: u64,
    /// Bytes of the files.
    pub data_bytes: u64,
}

/// Who can open what is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encryption {
    /// Whoever has one of the private keys.
    Recipients,
    /// Whoever knows the passphrase.
    Passphrase,
}

fn usual_archive() -> String {
    USUAL_ARCHIVE.to_owned()
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Most volumes of an archive: their names have three digits, so that the shell puts them in their order.
pub const VOLUMES: u32 = 999;

/// The name of a volume, counted from 1.
pub fn volume(archive: &str, number: u32) -> String {
    format!("{archive}.{number:03}")
}

/// The names of the files of a large part, in their order: one, or so many volumes.
pub fn file_names(name: &str, volumes: u32) -> Vec<String> {
    match volumes {
        0 => vec![name.to_owned()],
        count => (1..=count.min(VOLUMES)).map(|number| volume(name, number)).collect(),
    }
}

/// Where a large part goes: one new file of this name in a directory, or volumes of so many MiB.
pub fn volumes<'a>(dir: &'a Path, name: &'a str, split: Option<u64>) -> Result<Volumes<'a>> {
    let Some(size) = split else { return Ok(Volumes::one(sys::fs::create_private(&dir.join(name))?)) };
    Ok(Volumes::new(size << 20, move |number| {
        if number > VOLUMES {
            return Err(std::io::Error::other(format!(
                "more than {VOLUMES} volumes; set BACKUP_SPLIT_SIZE higher"
            )));
        }
        sys::fs::create_private(&dir.join(volume(name, number))).map_err(std::io::Error::other)
    }))
}

/// What was written there, as parts.
pub fn parts_of(name: &str, split: Option<u64>, volumes: &Volumes<'_>) -> Vec<Part> {
    let part = |(number, one): (u32, &backup::Volume)| Part {
        name: split.map_or_else(|| name.to_owned(), |_| volume(name, number)),
        bytes: one.bytes,
        blake3: one.blake3.clone(),
    };
    (1..).zip(volumes.written()).map(part).collect()
}

impl Archive {
    /// The names of its files, in their order.
    pub fn file_names(&self) -> Vec<String> {
        file_names(&self.name, self.volumes)
    }
}

fn is_usual_archive(name: &str) -> bool {
    name == USUAL_ARCHIVE
}

/// Whether a file of this name beside a seal is an archive, or a piece of one.
pub fn is_archive(name: &str) -> bool {
    name.strip_prefix(ARCHIVE).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl Seal {
    /// Whether this recovery point has files, wherever they are kept.
    pub fn has_files(&self) -> bool {
        self.archive.is_some() || self.content.is_some()
    }

    /// Number of entries, where there are files.
    pub fn entries(&self) -> Option<u64> {
        let archive = self.archive.as_ref().map(|archive| archive.files);
        archive.or(self.content.as_ref().map(|content| content.files))
    }

    /// Bytes of all files.
    pub fn data_bytes(&self) -> u64 {
        let archive = self.archive.as_ref().map(|archive| archive.data_bytes);
        archive.or(self.content.as_ref().map(|content| content.data_bytes)).unwrap_or_default()
    }

    /// Reads a seal and refuses one of a newer program.
    pub fn read(dir: &Path) -> Result<Self> {
        Self::open(&Place::Dir(dir.to_owned()))
    }

    /// The same, wherever the recovery point lies.
    pub fn open(place: &Place) -> Result<Self> {
        let text = place.small(SEAL, SEAL_LIMIT).map_err(|failure| {
            failure.hint("this is no complete recovery point; without its seal nothing is recovered from it")
        })?;
        Self::parse(&text, &place.shown(SEAL))
    }

    /// The same of its text, which people know by that name.
    pub fn parse(text: &[u8], shown: &str) -> Result<Self> {
        let damaged = |why: String| Failure::refused(format!("{shown} is damaged: {why}"));
        let seal: Self = serde_json::from_slice(text).map_err(|error| damaged(error.to_string()))?;
        if seal.digest.is_some() && seal.digest != seal.own_digest()? {
            return Err(damaged("its own checksum is not right".into()));
        }
        // The name becomes a path.
        if let Some(archive) = &seal.archive
            && (!is_archive(&archive.name) || archive.name.contains('/') || archive.volumes > VOLUMES)
        {
            return Err(damaged(format!("{} is no name of an archive", archive.name)));
        }
        if seal.format > FORMAT {
            return Err(Failure::refused(format!(
                "the recovery point has format {}, this rear reads formats up to {FORMAT}",
                seal.format
            ))
            .hint("use the rear on the medium that belongs to it"));
        }
        Ok(seal)
    }

    /// The text of the file, closed by its own checksum.
    pub fn text(&self) -> Result<Vec<u8>> {
        Ok(serde_json::to_vec_pretty(&Self { digest: self.own_digest()?, ..self.clone() })?)
    }

    fn own_digest(&self) -> Result<Option<String>> {
        let text = serde_json::to_vec(&Self { digest: None, ..self.clone() })?;
        Ok(Some(blake3::hash(&text).to_hex().to_string()))
    }

    /// Who can open archive and manifest, where they are encrypted.
    pub fn encryption(&self) -> Option<Encryption> {
        self.archive.as_ref().and_then(|archive| archive.encryption)
    }

    /// The name of the manifest.
    pub fn manifest_name(&self) -> &'static str {
        if self.encryption().is_some() { ENCRYPTED_MANIFEST } else { MANIFEST }
    }

    /// The part of this name.
    pub fn part(&self, name: &str) -> Result<&Part> {
        self.parts
            .iter()
            .find(|part| part.name == name)
            .ok_or_else(|| Failure::refused(format!("the recovery point has no {name}")))
    }

    /// The archive as it lies there, to be read at any place: still encrypted, where it is.
    pub fn archive_in(&self, place: &Place) -> Result<Stored> {
        let archive = self
            .archive
            .as_ref()
            .ok_or_else(|| Failure::refused("the recovery point holds no archive of the files"))?;
        let names = archive.file_names();
        if let [only] = names.as_slice() {
            return place.stored(only);
        }
        let volumes = names.iter().map(|name| place.stored(name)).collect::<Result<Vec<_>>>()?;
        Ok(Stored::joined(PathBuf::from(place.shown(&archive.name)), &volumes))
    }

    /// Reads a small part and checks it against the seal.
    pub fn read_part(&self, dir: &Path, name: &str) -> Result<Vec<u8>> {
        self.load(&Place::Dir(dir.to_owned()), name)
    }

    /// The same, wherever the recovery point lies.
    pub fn load(&self, place: &Place, name: &str) -> Result<Vec<u8>> {
        let part = self.part(name)?;
        // Never more than the seal says: a longer file is not the one that was sealed.
        let bytes = match place.size(name)? {
            Some(size) if size > part.bytes => Vec::new(),
            _ => place.small(name, part.bytes)?,
        };
        let found = blake3::hash(&bytes).to_hex();
        if bytes.len() as u64 != part.bytes || found.as_str() != part.blake3 {
            return Err(Failure::refused(format!(
                "{} is damaged: its checksum is not the sealed one",
                place.shown(name)
            ))
            .hint("nothing was written to any disk; use another copy of the medium"));
        }
        Ok(bytes)
    }
}

/// Like [`measure`], but from the disk instead of from what was written a moment ago.
pub fn read_back(path: &Path, name: &str, cancel: &sys::Cancel) -> Result<Part> {
    let file = std::fs::File::open(path)?;
    file.sync_all()?;
    // Where the filesystem does not know the advice, what is read is what it has.
    let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
    measure(path, name, cancel)
}

/// Size and hash of a file, as a part of this name.
pub fn measure(path: &Path, name: &str, cancel: &sys::Cancel) -> Result<Part> {
    measure_stored(&Stored::open(path)?, name, cancel)
}

/// The same of a file that may lie inside another.
pub fn measure_stored(stored: &Stored, name: &str, cancel: &sys::Cancel) -> Result<Part> {
    let mut file = stored.reader();
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0_u8; 1 << 20];
    let mut bytes = 0;
    loop {
        cancel.check()?;
        let got = file.read(&mut buffer)?;
        if got == 0 {
            break;
        }
        hasher.update(&buffer[..got]);
        bytes += got as u64;
    }
    Ok(Part { name: name.to_owned(), bytes, blake3: hasher.finalize().to_hex().to_string() })
}

#[cfg(test)]
impl Seal {
    /// For tests: one with these parts and nothing else.
    pub fn of_test(parts: Vec<Part>) -> Self {
        Self {
            format: FORMAT,
            id: "00".repeat(16),
            hostname: "web1".into(),
            created: 0,
            program: "0".into(),
            parts,
            archive: None,
            content: None,
            elsewhere: None,
            shelf: None,
            only: Vec::new(),
            digest: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_part_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(LAYOUT), "{}").unwrap();
        let part = measure(&dir.path().join(LAYOUT), LAYOUT, &sys::Cancel::default()).unwrap();
        let seal = Seal::of_test(vec![part]);
        std::fs::write(dir.path().join(SEAL), serde_json::to_vec(&seal).unwrap()).unwrap();
        let read = Seal::read(dir.path()).unwrap();
        assert_eq!(read, seal);
        assert_eq!(read.read_part(dir.path(), LAYOUT).unwrap(), b"{}");
        std::fs::write(dir.path().join(LAYOUT), "{ }").unwrap();
        assert!(read.read_part(dir.path(), LAYOUT).unwrap_err().message.contains("damaged"));
        assert!(read.read_part(dir.path(), BOOT).unwrap_err().message.contains("has no boot.json"));
    }

    #[test]
    fn no_word_of_a_seal_can_change_unseen() {
        let dir = tempfile::tempdir().unwrap();
        let text = String::from_utf8(Seal::of_test(Vec::new()).text().unwrap()).unwrap();
        std::fs::write(dir.path().join(SEAL), &text).unwrap();
        assert_eq!(Seal::read(dir.path()).unwrap().hostname, "web1");
        for (from, to) in
            [("web1", "web2"), ("\"created\": 0", "\"created\": 1"), ("\"program\": \"0", "\"program\": \"1")]
        {
            std::fs::write(dir.path().join(SEAL), text.replace(from, to)).unwrap();
            let message = Seal::read(dir.path()).unwrap_err().message;
            assert!(message.contains("its own checksum"), "{from}: {message}");
        }
    }

    #[test]
    fn a_damaged_field_name_is_not_an_absent_field() {
        let dir = tempfile::tempdir().unwrap();
        let text =
            serde_json::to_string(&Seal::of_test(Vec::new())).unwrap().replace("\"archive\"", "\"arcHive\"");
        std::fs::write(dir.path().join(SEAL), text).unwrap();
        assert!(Seal::read(dir.path()).unwrap_err().message.contains("damaged"));
    }

    #[test]
    fn no_seal_no_recovery_point() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Seal::read(dir.path()).is_err());
        std::fs::write(dir.path().join(SEAL), "{").unwrap();
        assert!(Seal::read(dir.path()).unwrap_err().message.contains("damaged"));
    }
}
