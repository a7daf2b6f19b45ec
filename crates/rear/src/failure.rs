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

    fn hinted(mut self, hint: Option<&str>) -> Self {
        self.hint = hint.map(str::to_owned);
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
                Self::failed(chain(&error)).hinted(hint_of(&error))
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
            error => Self::failed(chain(&error)).hinted(hint_of(&error)),
        }
    }
}

/// What to do about errors of the kernel that say too little themselves.
fn hint_of(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    let mut next = Some(error);
    while let Some(error) = next {
        match error.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
            Some(std::io::ErrorKind::StorageFull) => {
                return Some(
                    "make room there or choose another place; what was half-made has been removed, and what was there \
                     before is unchanged",
                );
            }
            // rear runs as root: somebody else decides.
            Some(std::io::ErrorKind::PermissionDenied) => {
                return Some(
                    "the kernel refuses that even to root, as it does in a container or under a security policy: run rear \
                     on the machine itself",
                );
            }
            _ => next = error.source(),
        }
    }
    None
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_filesystem_and_a_refusing_kernel_say_what_to_do() {
        let failure = |code| {
            let source = std::io::Error::from_raw_os_error(code);
            Failure::from(probe::Error::from(sys::Error::io("read", "/dev/sda")(source)))
        };
        assert!(failure(28).hint.unwrap().contains("make room"));
        assert!(failure(1).hint.unwrap().contains("container"));
        assert_eq!(failure(5).hint, None);
    }
}
