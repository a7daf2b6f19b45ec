//! What opens LUKS containers. Whoever starts a recovery collects it before anything is written; here it is handed to
//! `cryptsetup` on standard input, and a saved header as a file in memory that is removed at once. Nothing of it is ever
//! logged, kept in the journal or written to a disk.

use std::path::Path;

use plan::{Action, luks_header_file};
use sys::Secret;

use crate::Error;
use crate::run::Runner;

/// Headers and keys of the containers of a plan, by the UUID of the container.
pub trait Keys: Send + Sync {
    /// The saved header, byte for byte; `None` where the container is made anew.
    fn header(&self, uuid: &str) -> Option<&[u8]>;
    /// What opens it: one of its old passphrases or keys, or the new passphrase.
    fn key(&self, uuid: &str) -> Option<&Secret>;
}

/// For plans without containers.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoKeys;

impl Keys for NoKeys {
    fn header(&self, _uuid: &str) -> Option<&[u8]> {
        None
    }
    fn key(&self, _uuid: &str) -> Option<&Secret> {
        None
    }
}

/// A saved header as the file that `cryptsetup luksHeaderRestore` reads, for as long as this value lives. `/run` is in
/// memory.
#[derive(Debug)]
pub struct HeaderFile(String);

impl HeaderFile {
    /// Writes the file, for root alone, where the plan's command expects it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(uuid: &str, header: &[u8]) -> sys::Result<Self> {
        Self::write_at(luks_header_file(uuid), header)
    }

    fn write_at(path: String, header: &[u8]) -> sys::Result<Self> {
        if let Some(dir) = Path::new(&path).parent() {
            sys::fs::create_dir_private(dir)?;
        }
        let file = Self(path);
        sys::fs::write_atomic(file.path(), header)?;
        Ok(file)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl Drop for HeaderFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(self.path())
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!("{} cannot be removed: {error}", self.0);
        }
    }
}

impl Runner<'_> {
    /// Makes or opens a container.
    pub(crate) fn luks(&self, action: &Action, keys: &dyn Keys) -> Result<(), Error> {
        let (uuid, header) = match action {
            Action::MakeLuks { luks, .. } if luks.sealed => (&luks.uuid, true),
            Action::MakeLuks { luks, .. } => (&luks.uuid, false),
            Action::OpenLuks { uuid, .. } => (uuid, false),
            _ => return self.commands(action),
        };
        let missing = |what: &str| sys::Error::Answer {
            what: format!("the LUKS container {uuid}"),
            detail: format!("{what} is not at hand; this is a mistake of this program"),
        };
        let commands = self.resolved(action)?;
        if header {
            let bytes = keys.header(uuid).ok_or_else(|| missing("its saved header"))?;
            let file = HeaderFile::write(uuid, bytes)?;
            for command in &commands {
                self.about_to_write(action.target())?;
                self.command(command, None)?;
            }
            drop(file);
            return Ok(());
        }
        let key = keys.key(uuid).ok_or_else(|| missing("what opens it"))?;
        for command in &commands {
            self.about_to_write(action.target())?;
            self.command(command, Some(key))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_header_is_readable_for_root_only_and_only_for_a_moment() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("luks/x.header");
        let file = HeaderFile::write_at(path.to_string_lossy().into_owned(), b"LUKS").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"LUKS");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        drop(file);
        assert!(!path.exists());
    }
}
