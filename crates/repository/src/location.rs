//! Addresses of repositories, as users of restic write them.

use std::path::{Path, PathBuf};

use crate::backend::Backend;
use crate::backend::local::Local;
use crate::error::{Error, Result};

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A directory of this machine: `/srv/restic` or `local:/srv/restic`.
    Local(PathBuf),
}

/// What restic knows and this program does not, with what stands before the first colon.
const OTHERS: [&str; 8] = ["azure", "b2", "gs", "rclone", "rest", "s3", "sftp", "swift"];

impl Location {
    /// Reads an address.
    ///
    /// # Errors
    /// It is none, or of a kind that this program cannot reach.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |detail: &str| Err(Error::Location { text: shown(text), detail: detail.to_owned() });
        let path = text.strip_prefix("local:").unwrap_or(text);
        if path.starts_with('/') {
            return match Path::new(path).components().any(|part| part == std::path::Component::ParentDir) {
                true => refuse("a path with '..' names no certain place"),
                false => Ok(Self::Local(PathBuf::from(path))),
            };
        }
        match text.split_once(':') {
            Some((kind, _)) if OTHERS.contains(&kind) => refuse(&format!(
                "repositories by {kind} cannot be reached by this version; mount the place as a directory (NFS, CIFS, sshfs) \
                 and name that"
            )),
            _ => refuse("write the absolute path of a directory"),
        }
    }

    /// The means to reach it.
    pub fn backend(&self) -> Box<dyn Backend> {
        match self {
            Self::Local(path) => Box::new(Local::new(path)),
        }
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The address without a password that stands in it.
fn shown(text: &str) -> String {
    match (text.find("//"), text.rfind('@')) {
        (Some(start), Some(end)) if start < end => format!("{}***{}", &text[..start + 2], &text[end..]),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let local = |path: &str| Location::Local(PathBuf::from(path));
        assert_eq!(Location::parse("/srv/r").unwrap(), local("/srv/r"));
        assert_eq!(Location::parse("local:/srv/r").unwrap(), local("/srv/r"));
        for bad in ["", "srv", "/srv/../r", "rclone:x:y", "b2:bucket"] {
            assert!(Location::parse(bad).is_err(), "{bad}");
        }
        let message = Location::parse("rest:https://me:secret@host/").unwrap_err().to_string();
        assert!(!message.contains("secret") && message.contains("rest"), "{message}");
    }
}
