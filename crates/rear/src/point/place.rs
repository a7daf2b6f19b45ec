//! Where the parts of a recovery point lie: in a directory, or inside an ISO file or drive, which is read without a mount.
//! It only reads, and knows nothing of what the parts mean.

use std::io::Read;
use std::path::{Path, PathBuf};

use backup::Stored;
use medium::iso9660::Volume;

use crate::failure::{Failure, Result};

/// The directory of a recovery point.
#[derive(Debug)]
pub enum Place {
    /// A directory of this machine.
    Dir(PathBuf),
    /// A directory of an ISO.
    Iso {
        /// The ISO.
        volume: Volume,
        /// The absolute path in it.
        dir: String,
    },
}

impl Place {
    /// The directory, or the ISO file or drive.
    pub fn path(&self) -> &Path {
        match self {
            Self::Dir(dir) => dir,
            Self::Iso { volume, .. } => volume.path(),
        }
    }

    /// What names a part in messages: `/x/backup/layout.json`, or `/backup/layout.json on /x/rear.iso`.
    pub fn shown(&self, name: &str) -> String {
        match self {
            Self::Dir(dir) => dir.join(name).display().to_string(),
            Self::Iso { volume, .. } => format!("{} on {}", self.target(name), volume.path().display()),
        }
    }

    /// The path of a part on the ISO.
    fn target(&self, name: &str) -> String {
        match self {
            Self::Dir(_) => name.to_owned(),
            Self::Iso { dir, .. } => format!("{}/{name}", dir.trim_end_matches('/')),
        }
    }

    fn unreadable(&self, name: &str, error: &dyn std::fmt::Display) -> Failure {
        Failure::refused(format!("{} cannot be read: {error}", self.shown(name)))
    }

    /// The size of a part in bytes; `None` when it is not there.
    pub fn size(&self, name: &str) -> Result<Option<u64>> {
        match self {
            Self::Dir(dir) => match std::fs::metadata(dir.join(name)) {
                Ok(found) if found.is_file() => Ok(Some(found.len())),
                Ok(_) => Err(self.unreadable(name, &"it is not an ordinary file")),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(self.unreadable(name, &error)),
            },
            Self::Iso { volume, .. } => {
                let found = volume.find(&self.target(name));
                Ok(found.map_err(|error| self.unreadable(name, &error))?.map(|found| found.bytes))
            }
        }
    }

    /// The names of all that lies beside the seal.
    pub fn names(&self) -> Result<Vec<String>> {
        match self {
            Self::Dir(dir) => {
                let entries = std::fs::read_dir(dir).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
                let entries = entries.map_err(|error| self.unreadable("", &error))?;
                let mut names: Vec<_> =
                    entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
                names.sort();
                Ok(names)
            }
            Self::Iso { volume, dir } => {
                let names = volume.list(dir).map_err(|error| self.unreadable("", &error))?;
                Ok(names.unwrap_or_default())
            }
        }
    }

    /// A part, to be read at any place.
    pub fn stored(&self, name: &str) -> Result<Stored> {
        let missing = || self.unreadable(name, &"there is no such file");
        let stored = match self {
            Self::Dir(dir) => Stored::open(&dir.join(name)),
            Self::Iso { volume, .. } => {
                let found = volume.find(&self.target(name)).map_err(|error| self.unreadable(name, &error))?;
                let found = found.ok_or_else(missing)?;
                Stored::inside(volume.path(), PathBuf::from(self.shown(name)), &found.extents)
            }
        };
        stored.map_err(|error| self.unreadable(name, &error))
    }

    /// The whole content of a part of at most `limit` bytes.
    pub fn small(&self, name: &str, limit: u64) -> Result<Vec<u8>> {
        let stored = self.stored(name)?;
        if stored.len() > limit {
            return Err(self.unreadable(name, &format_args!("it has {} bytes", stored.len())));
        }
        let mut bytes = Vec::new();
        stored.reader().take(limit).read_to_end(&mut bytes).map_err(|error| self.unreadable(name, &error))?;
        Ok(bytes)
    }
}
