//! The questions one can ask the machine.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Cmd, Error, Output, Result};

/// Space on a mounted filesystem, from `statfs(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FsUsage {
    /// Size of the filesystem in bytes.
    pub total: u64,
    /// Free bytes, the part reserved for root counted in.
    pub free: u64,
    /// Free bytes for an ordinary user.
    pub available: u64,
    /// Inodes in use (0 where the filesystem has no such number).
    pub files: u64,
}

/// What `stat(2)` tells of a regular file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFacts {
    /// Length in bytes.
    pub size: u64,
    /// Bytes that it takes up on its filesystem.
    pub allocated: u64,
    /// Permission bits (`0o7777`).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// A door to the machine. Every answer can be recorded and replayed.
pub trait Sys: Send + Sync {
    /// Runs a program to its end.
    fn run(&self, cmd: &Cmd) -> Result<Output>;
    /// Reads a whole small file (`/proc`, `/sys`, configuration).
    fn read(&self, path: &Path) -> Result<Vec<u8>>;
    /// Reads `len` bytes at `offset` (bytes) of a file or block device; shorter only at its end.
    fn read_at(&self, path: &Path, offset: u64, len: usize) -> Result<Vec<u8>>;
    /// Names in a directory, sorted.
    fn list(&self, path: &Path) -> Result<Vec<String>>;
    /// The text of a symbolic link.
    fn read_link(&self, path: &Path) -> Result<PathBuf>;
    /// The path with every symbolic link resolved.
    fn canonicalize(&self, path: &Path) -> Result<PathBuf>;
    /// Whether the path leads to something (links followed).
    fn exists(&self, path: &Path) -> bool;
    /// Where the program is, in the fixed search path.
    fn which(&self, program: &str) -> Option<PathBuf>;
    /// Space on the filesystem that holds `path`.
    fn usage(&self, path: &Path) -> Result<FsUsage>;
    /// Facts of a regular file; anything else, a link included, is an error.
    fn file(&self, path: &Path) -> Result<FileFacts>;
}

/// Conveniences over every door.
pub trait SysExt: Sys {
    /// Reads a small file as text; bytes that are not UTF-8 become U+FFFD.
    fn read_text(&self, path: impl AsRef<Path>) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.read(path.as_ref())?).into_owned())
    }

    /// Like [`SysExt::read_text`], trimmed; `None` where the file is not there.
    fn read_opt(&self, path: impl AsRef<Path>) -> Result<Option<String>> {
        match self.read_text(path) {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What an error says of a program's version: the first line that this command prints, in brackets with a blank in
    /// front; empty when it prints none. To be asked only when there is an error.
    fn version(&self, ask: &Cmd) -> String {
        let Ok(output) = self.run(ask) else { return String::new() };
        let text = output.text();
        let words: Vec<&str> = text.trim().lines().next().unwrap_or_default().split_whitespace().collect();
        if words.is_empty() { String::new() } else { format!(" ({})", words.join(" ")) }
    }

    /// Runs a program and parses its standard output as JSON.
    fn run_json<T: DeserializeOwned>(&self, cmd: &Cmd) -> Result<T> {
        let output = self.run(cmd)?;
        serde_json::from_slice(&output.stdout)
            .map_err(|error| Error::Answer { what: cmd.line(), detail: error.to_string() })
    }
}

impl<S: Sys + ?Sized> SysExt for S {}

/// The door that is closed: any question is an error. For tests of what must be pure.
#[derive(Debug, Default)]
pub struct Forbid;

impl Sys for Forbid {
    fn run(&self, cmd: &Cmd) -> Result<Output> {
        Err(Error::NotRecorded(cmd.line()))
    }
    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        Err(Error::NotRecorded(format!("read {}", path.display())))
    }
    fn read_at(&self, path: &Path, offset: u64, len: usize) -> Result<Vec<u8>> {
        Err(Error::NotRecorded(format!("read {len} bytes at {offset} of {}", path.display())))
    }
    fn list(&self, path: &Path) -> Result<Vec<String>> {
        Err(Error::NotRecorded(format!("list {}", path.display())))
    }
    fn read_link(&self, path: &Path) -> Result<PathBuf> {
        Err(Error::NotRecorded(format!("read link {}", path.display())))
    }
    fn canonicalize(&self, path: &Path) -> Result<PathBuf> {
        Err(Error::NotRecorded(format!("canonicalize {}", path.display())))
    }
    fn exists(&self, _path: &Path) -> bool {
        false
    }
    fn which(&self, _program: &str) -> Option<PathBuf> {
        None
    }
    fn usage(&self, path: &Path) -> Result<FsUsage> {
        Err(Error::NotRecorded(format!("usage of {}", path.display())))
    }
    fn file(&self, path: &Path) -> Result<FileFacts> {
        Err(Error::NotRecorded(format!("file {}", path.display())))
    }
}
