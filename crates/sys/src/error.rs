//! What can go wrong at the door, as full sentences.

use std::path::PathBuf;

/// Result of anything asked of the machine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A question to the machine that was not answered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program is not installed (not in the fixed search path).
    #[error("the program '{program}' is not installed on this system")]
    NoProgram {
        /// Name as it was asked for.
        program: String,
    },
    /// The program ran and ended with an exit code that its caller does not accept.
    #[error("'{command}' failed with {status}{}", tail(.stderr))]
    Failed {
        /// The whole command line, quoted for a shell.
        command: String,
        /// "exit code 1" or "signal 9".
        status: String,
        /// Exit code, where there was one.
        code: Option<i32>,
        /// The last lines of what it printed to standard error.
        stderr: String,
    },
    /// The program did not end in time and was killed.
    #[error("'{command}' did not end within {seconds} s and was stopped")]
    Timeout {
        /// The whole command line.
        command: String,
        /// The limit, in seconds.
        seconds: u64,
    },
    /// The operator (SIGINT, SIGTERM) stopped the run.
    #[error("stopped by a signal")]
    Cancelled,
    /// A file operation failed.
    #[error("cannot {what} {}: {source}", .path.display())]
    Io {
        /// What was tried, as a verb: "read", "create".
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A program or file gave an answer that cannot be understood.
    #[error("{what} gave an unexpected answer: {detail}")]
    Answer {
        /// Which program or file.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Another `rear` holds the lock.
    #[error("another rear is running (process {pid}); wait until it has ended")]
    Locked {
        /// Its process id, as it wrote it into the lock file.
        pid: String,
    },
    /// A replayed machine was asked what was never recorded, or a forbidding door was asked anything.
    #[error("not in the recording: {0}")]
    NotRecorded(String),
}

impl Error {
    /// For `map_err`: wraps an I/O error with what was tried on which path.
    pub fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }

    /// The file or program is simply not there (as opposed to broken or refused).
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
            Self::NoProgram { .. } => true,
            _ => false,
        }
    }
}

fn tail(stderr: &str) -> String {
    let text = stderr.trim();
    if text.is_empty() { String::new() } else { format!(": {text}") }
}
