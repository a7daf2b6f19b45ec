//! Archives that another program made: a tar of any kind, in any usual compression, in one file or in volumes.
//!
//! They have neither manifest nor seal, so they are read twice: [`Foreign::scan`] reads all of it and writes a manifest, which
//! proves that the archive can be read to its end before anything is written; [`Foreign::restore`] reads it again and brings
//! back what a manifest, or a part of it, lists. The result is compared with the manifest like any other
//! ([`compare`](crate::compare())). Owners are taken by number. What an archive says is never believed: nothing outside of
//! the target is reached, and nothing in it is replaced.

mod acl;
mod extract;
mod header;
mod input;
mod reader;
mod scan;

use std::path::{Path, PathBuf};

pub use scan::Scanned;

use crate::codec::Codec;
use crate::pax::BLOCK;
use crate::restore::PROBLEM_BYTES;
use crate::{Error, RestoreProblem, Stored, machine_path};
use reader::Reader;

/// A tar that another program made.
#[derive(Clone, Debug)]
pub struct Foreign {
    stored: Stored,
    codec: Codec,
}

/// What is wrong with single members, as much as fits into a fixed memory; the rest is counted.
#[derive(Default)]
struct Problems {
    list: Vec<RestoreProblem>,
    bytes: usize,
    more: u64,
}

impl Problems {
    fn add(&mut self, path: &[u8], detail: String) {
        let bytes = path.len() + detail.len() + 100;
        if self.bytes + bytes > PROBLEM_BYTES {
            self.more += 1;
            return;
        }
        self.bytes += bytes;
        self.list.push(RestoreProblem { path: machine_path(path), detail });
    }

    fn take(self) -> Vec<RestoreProblem> {
        let mut list = self.list;
        if self.more > 0 {
            let detail = format!("{} more files have problems; there are too many to list", self.more);
            list.push(RestoreProblem { path: PathBuf::from("/"), detail });
        }
        list
    }
}

/// One that cannot be used, with the reason.
fn unusable(path: &Path, detail: impl Into<String>) -> Error {
    Error::Foreign { path: path.to_owned(), detail: detail.into() }
}

impl Foreign {
    /// Opens an archive by the name of its file, of one of its volumes (`backup.tar.gz.00`), by what the names of its volumes
    /// have in common (`backup.tar.gz`), or by the list `backup.splitted` beside them.
    ///
    /// # Errors
    /// There is no such file, a volume is missing, or it is no tar, or one that is encrypted or compressed in a way that
    /// cannot be read.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let volumes = volumes(path)?;
        let stored = match volumes.as_slice() {
            [only] => Stored::open(only)?,
            all => {
                let files = all.iter().map(|path| Stored::open(path)).collect::<Result<Vec<_>, _>>()?;
                Stored::joined(path.to_owned(), &files)
            }
        };
        let mut beginning = vec![0; usize::try_from(stored.len().min(32)).unwrap_or(0)];
        stored.read_exact_at(&mut beginning, 0).map_err(Error::io(format!("read {}", path.display())))?;
        if let Some(why) = input::foreign(&beginning) {
            return Err(unusable(path, why));
        }
        let codec = Codec::of_beginning(&beginning);
        let made = Self { stored, codec };
        if !made.begins_like_one() {
            return Err(unusable(path, "it does not begin like a tar"));
        }
        Ok(made)
    }

    /// Whether this is the name of a file, or of volumes, and not of a directory, a drive or an ISO.
    pub fn is_meant(path: &Path) -> bool {
        const ISO_9660: u64 = 32_769;
        // One that is damaged is still meant as an ISO.
        if [".iso", ".iso.old"].iter().any(|end| path.to_string_lossy().ends_with(end)) {
            return false;
        }
        if !path.is_file() {
            return !path.exists() && volumes(path).is_ok();
        }
        let mut mark = [0; 5];
        let stored = Stored::open(path);
        !stored.is_ok_and(|stored| stored.read_exact_at(&mut mark, ISO_9660).is_ok() && mark == *b"CD001")
    }

    fn begins_like_one(&self) -> bool {
        use std::io::Read;
        let mut block = [0; BLOCK];
        let Ok(mut input) = input::open(&self.stored, self.codec) else { return false };
        // Where the compression is right, what is wrong is said by whoever reads on.
        match input.read_exact(&mut block) {
            Ok(()) => block == [0; BLOCK] || header::block(&block).is_ok(),
            Err(_) => self.codec != Codec::None,
        }
    }

    /// How it is compressed.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// What stands for it in messages.
    pub fn path(&self) -> &Path {
        self.stored.path()
    }

    /// Its length in bytes, as it lies there.
    pub fn len(&self) -> u64 {
        self.stored.len()
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.stored.is_empty()
    }

    fn reader(&self) -> Result<Reader, Error> {
        let input = input::open(&self.stored, self.codec)
            .map_err(Error::io(format!("read {}", self.path().display())))?;
        Ok(Reader::new(input))
    }
}

/// The number that a volume's name ends with, and its digits: `.00`, `.01`, …
fn number(name: &str) -> Option<(&str, usize, usize)> {
    let (base, digits) = name.rsplit_once('.')?;
    let plain = (2..=4).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse().ok().filter(|_| plain && !base.is_empty())?;
    Some((base, number, digits.len()))
}

/// The files of an archive, in their order.
fn volumes(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.is_file() && number(&name).is_none() && !name.ends_with(".splitted") {
        return Ok(vec![path.to_owned()]);
    }
    let mut found: Vec<(usize, PathBuf)> = Vec::new();
    let mut bases: Vec<String> = Vec::new();
    let wanted = match number(&name) {
        Some((base, ..)) => Some(base.to_owned()),
        None if name.ends_with(".splitted") => None,
        None => Some(name.clone()),
    };
    let start = name.strip_suffix("splitted");
    for entry in std::fs::read_dir(dir).map_err(Error::io(format!("list {}", dir.display())))? {
        let entry = entry.map_err(Error::io(format!("list {}", dir.display())))?;
        let other = entry.file_name().to_string_lossy().into_owned();
        let Some((base, at, _)) = number(&other) else { continue };
        let fits = match &wanted {
            Some(wanted) => base == wanted,
            None => start.is_some_and(|start| base.starts_with(start)),
        };
        if fits {
            found.push((at, entry.path()));
            if !bases.iter().any(|one| one == base) {
                bases.push(base.to_owned());
            }
        }
    }
    found.sort();
    match found.first() {
        None if path.is_file() => return Err(unusable(path, "there are no volumes beside it")),
        None => {
            let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(Error::io(format!("read {}", path.display()))(missing));
        }
        Some((0 | 1, _)) => {}
        Some((first, _)) => {
            return Err(unusable(
                path,
                format!("its volumes begin with number {first}: the first is missing"),
            ));
        }
    }
    if bases.len() > 1 {
        return Err(unusable(path, format!("there are volumes of several archives: {}", bases.join(", "))));
    }
    let gap = found.windows(2).find(|pair| pair[1].0 != pair[0].0 + 1);
    if let Some(pair) = gap {
        return Err(unusable(path, format!("its volume number {} is missing", pair[0].0 + 1)));
    }
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_found_by_any_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in
            ["backup.tar.gz.00", "backup.tar.gz.01", "backup.tar.gz.02", "backup.splitted", "other.00"]
        {
            std::fs::write(at(name), name).unwrap();
        }
        for name in ["backup.tar.gz", "backup.tar.gz.00", "backup.tar.gz.02", "backup.splitted"] {
            let found = volumes(&at(name)).unwrap();
            assert_eq!(
                found,
                [at("backup.tar.gz.00"), at("backup.tar.gz.01"), at("backup.tar.gz.02")],
                "{name}"
            );
        }
        std::fs::remove_file(at("backup.tar.gz.01")).unwrap();
        assert!(volumes(&at("backup.tar.gz")).unwrap_err().to_string().contains("number 1 is missing"));
        assert!(volumes(&at("none.tar")).is_err());
    }

    #[test]
    fn what_is_no_tar_says_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        for (bytes, wanted) in [
            (&b"Salted__12345678abc"[..], "openssl"),
            (b"age-encryption.org/v1\n", "age -d"),
            (b"\x89LZO\0\r\n\x1a\n", "lzop"),
            (b"hello", "does not begin like a tar"),
            (b"", "does not begin like a tar"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let why = Foreign::open(&path).unwrap_err().to_string();
            assert!(why.contains(wanted), "{why}");
        }
    }
}
