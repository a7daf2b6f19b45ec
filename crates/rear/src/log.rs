//! The log file: everything, private to root. Secrets cannot reach it: their type has no text form.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

use crate::failure::{Failure, Result};

/// A plain file behind a lock: nothing is lost when the program aborts.
#[derive(Clone)]
struct LogFile(Arc<Mutex<File>>);

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.0.lock() {
            Ok(mut file) => file.write(bytes),
            Err(_) => Ok(bytes.len()),
        }
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogFile {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Whether this file may be put aside: a slip such as LOGFILE=/etc/fstab must not take a file of the machine away.
fn is_log(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(4096).read_to_end(&mut start));
    let text = String::from_utf8_lossy(&start);
    path.extension().is_some_and(|extension| extension == "log")
        || (read.is_ok()
            && (start.is_empty() || text.contains("rear starts") || text.contains("Relax-and-Recover")))
}

/// Opens the log; the one of the last run becomes `FILE.old`. Every program run is written down.
pub fn open(path: &Path) -> Result<()> {
    let fail = |error: &dyn std::fmt::Display| {
        Failure::refused(format!("the log file {} cannot be written: {error}", path.display()))
            .hint("set LOGFILE to a path that can be written")
    };
    if let Some(dir) = path.parent() {
        sys::fs::create_dir_private(dir).map_err(|error| fail(&error))?;
    }
    if path.exists() && !path.is_file() {
        return Err(fail(&"it is not an ordinary file"));
    }
    if path.exists() {
        if !is_log(path) {
            return Err(fail(&"there is a file of this name that is no log of rear"));
        }
        let mut old = path.as_os_str().to_owned();
        old.push(".old");
        std::fs::rename(path, &old).map_err(|error| fail(&error))?;
    }
    let file = sys::fs::create_private(path).map_err(|error| fail(&error))?;
    tracing_subscriber::fmt()
        .with_writer(LogFile(Arc::new(Mutex::new(file))))
        .with_ansi(false)
        .with_target(false)
        .with_max_level(Level::DEBUG)
        .init();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), pid = std::process::id(), "rear starts");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::is_log;

    #[test]
    fn a_file_of_the_machine_is_no_log() {
        let dir = tempfile::tempdir().unwrap();
        let is_log = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            is_log(&path)
        };
        assert!(is_log("rear-host.log", "anything") && is_log("empty", ""));
        assert!(is_log("plain", "2026-01-01T00:00:00Z  INFO rear starts version=\"0.1.0\""));
        assert!(!is_log("fstab", "UUID=1 / ext4 defaults 0 1\n"));
    }
}
