//! A repository in a directory: a local disk, or whatever is mounted there.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{Backend, FileKind};
use crate::error::{Error, Result};
use crate::id::Id;

/// The directory.
#[derive(Clone, Debug)]
pub struct Local {
    top: PathBuf,
}

impl Local {
    /// That directory; it need not exist yet.
    pub fn new(top: impl Into<PathBuf>) -> Self {
        Self { top: top.into() }
    }

    fn path(&self, kind: FileKind, id: Id) -> PathBuf {
        self.top.join(kind.path(id))
    }

    fn make(&self, directory: &Path) -> Result<()> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(self.fail("make", directory))
    }

    fn fail(&self, verb: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let (what, place) = (format!("{verb} {}", path.display()), self.place());
        move |source| match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::Full { place },
            _ => Error::Io { what, source },
        }
    }

    fn list_in(&self, directory: &Path, found: &mut Vec<(Id, u64)>) -> Result<()> {
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            result => result.map_err(self.fail("list", directory))?,
        };
        for entry in entries {
            let entry = entry.map_err(self.fail("list", directory))?;
            let name = entry.file_name();
            if let Some(id) = name.to_str().and_then(Id::parse) {
                match entry.metadata() {
                    Ok(metadata) => found.push((id, metadata.len())),
                    // Removed by somebody else meanwhile.
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(self.fail("read", &entry.path())(error)),
                }
            }
        }
        Ok(())
    }
}

impl Backend for Local {
    fn place(&self) -> String {
        self.top.display().to_string()
    }

    fn create(&self) -> Result<()> {
        for kind in FileKind::DIRECTORIES {
            self.make(&self.top.join(kind.directory()))?;
        }
        Ok(())
    }

    fn has(&self, kind: FileKind, id: Id) -> Result<bool> {
        let path = self.path(kind, id);
        path.try_exists().map_err(self.fail("look for", &path))
    }

    fn list(&self, kind: FileKind) -> Result<Vec<(Id, u64)>> {
        let mut found = Vec::new();
        let directory = self.top.join(kind.directory());
        if kind == FileKind::Pack {
            for byte in 0..=u8::MAX {
                self.list_in(&directory.join(format!("{byte:02x}")), &mut found)?;
            }
        } else {
            self.list_in(&directory, &mut found)?;
        }
        Ok(found)
    }

    fn read(&self, kind: FileKind, id: Id) -> Result<Vec<u8>> {
        let path = self.path(kind, id);
        fs::read(&path).map_err(self.fail("read", &path))
    }

    fn read_range(&self, pack: Id, offset: u64, length: usize) -> Result<Vec<u8>> {
        let path = self.path(FileKind::Pack, pack);
        let mut bytes = vec![0; length];
        File::open(&path)
            .and_then(|file| file.read_exact_at(&mut bytes, offset))
            .map_err(self.fail("read", &path))?;
        Ok(bytes)
    }

    fn write(&self, kind: FileKind, id: Id, bytes: &[u8]) -> Result<()> {
        let path = self.path(kind, id);
        let directory = path.parent().unwrap_or(&self.top);
        self.make(directory)?;
        // Under a name that no program takes for a part of the repository; restic's own temporary names end like it.
        let temporary = directory.join(format!(
            "{}-tmp-{}",
            kind.path(id).rsplit('/').next().unwrap_or("file"),
            std::process::id()
        ));
        let result = (|| {
            let mut file =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            // What is read back shall come from the disk. A piece of advice only.
            let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
            fs::rename(&temporary, &path)?;
            File::open(directory)?.sync_all()
        })();
        if result.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        result.map_err(self.fail("write", &path))
    }

    fn remove(&self, kind: FileKind, id: Id) -> Result<()> {
        let path = self.path(kind, id);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result.map_err(self.fail("remove", &path)),
        }
    }
}
