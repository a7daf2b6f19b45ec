//! What went wrong, for the person who has to act on it: a sentence, a hint, an exit code.

use std::fmt;

/// Exit codes, documented in `rear --help` and stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// `checklayout` found a change.
    Changed = 1,
    /// Wrong command line or configuration.
    Usage = 2,
    /// Refused before anything was written.
    Refused = 3,
    /// Failed at work.
    Failed = 4,
    /// Recovered, but not everything is as it was.
    Incomplete = 5,
    /// Stopped by SIGINT, SIGTERM or SIGHUP.
    Stopped = 130,
}

/// The end of a run that did not succeed.
#[derive(Debug)]
pub struct Failure {
    /// How the program ends.
    pub code: Code,
    /// What happened, in full sentences.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

/// Result of a workflow.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// With this code and message.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    /// A condition is not met; nothing was written.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Code::Refused, message)
    }

    /// Work began and did not succeed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Code::Failed, message)
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says what was being done.
    #[must_use]
    pub fn during(mut self, what: &str) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// An error of any room becomes a failed run; a raised stop flag becomes a stopped one.
macro_rules! from_error {
    ($($error:ty),* $(,)?) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::failed(chain(&error))
            }
        }
    )*};
}

from_error!(
    std::io::Error,
    serde_json::Error,
    layout::ReadError,
    probe::Error,
    apply::Error,
    backup::Error,
    image::Error,
    medium::Error,
    boot::Error,
);

impl From<sys::Error> for Failure {
    fn from(error: sys::Error) -> Self {
        match error {
            sys::Error::Cancelled => Self::new(Code::Stopped, "stopped by a signal"),
            sys::Error::Locked { .. } => Self::refused(error.to_string()),
            error => Self::failed(chain(&error)),
        }
    }
}

/// The error with those below it, where their text is not contained already.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}
