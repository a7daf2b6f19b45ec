//! The append-only record of executed steps: JSON lines, each flushed to the disk before the next step begins.
//!
//! The first line names the plan; each further one a step that begins, or its result. A line that was cut off counts
//! as not written. Only an unbroken run of steps from the first one on counts as done.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use plan::Plan;
use serde::{Deserialize, Serialize};
use sys::Error as SysError;

use crate::Error;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Plan { fingerprint: String },
    Begun { step: u32 },
    Done { step: u32 },
    Failed { step: u32, error: String },
    Restart,
}

/// The journal of one recovery.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    done: u32,
    begun: bool,
    resumed: bool,
    kept: u32,
}

impl Journal {
    /// Opens the journal of this plan and continues it; a journal of another plan is kept under the name with
    /// `.old` and a new one begun.
    ///
    /// # Errors
    /// When the file cannot be read or made.
    pub fn open(path: &Path, plan: &Plan) -> Result<Self, Error> {
        if let Some(parent) = path.parent() {
            sys::fs::create_dir_private(parent)?;
        }
        let fingerprint = plan.fingerprint();
        if let Some(journal) = Self::resume(path, &fingerprint)? {
            return Ok(journal);
        }
        if path.exists() {
            let mut old = path.as_os_str().to_owned();
            old.push(".old");
            std::fs::rename(path, &old).map_err(SysError::io("rename the old journal", path))?;
        }
        let file = sys::fs::create_private(path)?;
        let mut journal =
            Self { path: path.to_owned(), file, done: 0, begun: false, resumed: false, kept: 0 };
        journal.append(&Line::Plan { fingerprint })?;
        Ok(journal)
    }

    fn resume(path: &Path, fingerprint: &str) -> Result<Option<Self>, Error> {
        let mut file = match std::fs::OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(SysError::io("open the journal", path)(error).into()),
        };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(SysError::io("read the journal", path))?;
        // Only whole lines count; the rest is overwritten.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let mut lines = bytes[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let first = lines.next().map(serde_json::from_slice::<Line>);
        if !matches!(first, Some(Ok(Line::Plan { fingerprint: found })) if found == fingerprint) {
            return Ok(None);
        }
        let (mut done, mut begun) = (0, false);
        for line in lines {
            match serde_json::from_slice::<Line>(line) {
                Ok(Line::Done { step }) if step == done + 1 => done = step,
                Ok(Line::Restart) => done = 0,
                Ok(Line::Begun { .. }) => begun = true,
                // A step that failed was begun: it is done again as a whole.
                _ => {}
            }
        }
        file.set_len(whole as u64).map_err(SysError::io("shorten the journal", path))?;
        file.seek(SeekFrom::End(0)).map_err(SysError::io("read the journal", path))?;
        let begun = begun || done > 0;
        Ok(Some(Self { path: path.to_owned(), file, done, begun, resumed: true, kept: done }))
    }

    /// Number of steps that are done, from the first one on.
    pub fn done(&self) -> u32 {
        self.done
    }

    /// Number of steps that an earlier run did and that still count.
    pub fn kept(&self) -> u32 {
        self.kept
    }

    /// Whether an earlier run began this plan.
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// Whether an earlier step, of this run or another, may have written to a disk.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Notes that a step is about to write.
    pub(crate) fn record_begun(&mut self, step: u32) -> Result<(), Error> {
        self.append(&Line::Begun { step })?;
        self.begun = true;
        Ok(())
    }

    pub(crate) fn record_done(&mut self, step: u32) -> Result<(), Error> {
        if step == self.done + 1 {
            self.append(&Line::Done { step })?;
            self.done = step;
        }
        Ok(())
    }

    pub(crate) fn record_failure(&mut self, step: u32, error: &Error) -> Result<(), Error> {
        self.append(&Line::Failed { step, error: error.to_string() })
    }

    /// Nothing that was recorded counts any more.
    pub(crate) fn restart(&mut self) -> Result<(), Error> {
        self.append(&Line::Restart)?;
        self.done = 0;
        self.kept = 0;
        Ok(())
    }

    fn append(&mut self, line: &Line) -> Result<(), Error> {
        let mut text = serde_json::to_string(line)
            .map_err(|error| SysError::Answer { what: "the journal".into(), detail: error.to_string() })?;
        text.push('\n');
        self.file.write_all(text.as_bytes()).map_err(SysError::io("write the journal", &self.path))?;
        self.file.sync_all().map_err(SysError::io("flush the journal", &self.path))?;
        Ok(())
    }
}
