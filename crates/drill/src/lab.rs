//! Where drills happen: folders, the door to the host, and the flag that stops everything.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sys::{Cancel, Cmd, Output, Sys};

use crate::Result;

/// The folders and the host that drills use. Cheap to share between threads.
pub struct Lab {
    sys: sys::Real,
    cancel: Cancel,
    root: PathBuf,
    talk: Box<dyn Fn(&str) + Send + Sync>,
}

impl Lab {
    /// A lab that keeps everything below `root` (`cache/` for what can be made again, `runs/` for logs and
    /// disks), says what it does through `talk`, and stops when `cancel` is raised.
    pub fn new(
        root: impl Into<PathBuf>,
        cancel: Cancel,
        talk: impl Fn(&str) + Send + Sync + 'static,
    ) -> Self {
        Self { sys: sys::Real::new(cancel.clone()), cancel, root: root.into(), talk: Box::new(talk) }
    }

    /// The flag that stops everything.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// The door to the host.
    pub fn sys(&self) -> &dyn Sys {
        &self.sys
    }

    /// Tells people what happens.
    pub fn say(&self, line: &str) {
        (self.talk)(line);
    }

    /// The folder for what can be made again.
    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// The folder of one scenario's run.
    pub fn run_dir(&self, name: &str) -> PathBuf {
        self.root.join("runs").join(name)
    }

    /// Runs a program of the host, with a limit.
    pub(crate) fn run(&self, cmd: &Cmd, minutes: u64) -> Result<Output> {
        Ok(self.sys.run(&cmd.clone().timeout(Duration::from_secs(60 * minutes)))?)
    }
}

/// A name for a set of inputs: the same inputs give the same name.
pub(crate) fn key<'a>(inputs: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hasher = blake3::Hasher::new();
    for input in inputs {
        hasher.update(&(input.len() as u64).to_le_bytes());
        hasher.update(input);
    }
    hasher.finalize().to_hex().chars().take(16).collect()
}

/// Makes a folder and those above it.
pub(crate) fn make_dir(path: &Path) -> Result<()> {
    Ok(std::fs::create_dir_all(path).map_err(sys::Error::io("create", path))?)
}

/// Makes a folder that is empty.
pub(crate) fn fresh_dir(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(sys::Error::io("empty", path)(error).into())
        }
        _ => make_dir(path),
    }
}

/// Writes a whole file.
pub(crate) fn write(path: &Path, text: impl AsRef<[u8]>) -> Result<()> {
    Ok(std::fs::write(path, text).map_err(sys::Error::io("write", path))?)
}

/// Reads a whole file as text.
pub(crate) fn read(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(sys::Error::io("read", path))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Copies a file, keeping its holes.
pub(crate) fn copy(lab: &Lab, from: &Path, to: &Path) -> Result<()> {
    lab.run(&Cmd::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(path(from)).arg(path(to)), 10)?;
    Ok(())
}

/// A path as an argument.
pub(crate) fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
