//! `BACKUP_URL` and `OUTPUT_URL`: where results go, parsed. It never looks whether the place exists.

use std::fmt;
use std::path::PathBuf;

use serde::{Serialize, Serializer};

#[path = "remote.rs"]
mod remote;

/// A place for backups or results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// `iso:///DIR`: a directory inside the ISO that is being made.
    Iso {
        /// The directory without slashes at its ends, for example `backup`.
        dir: String,
    },
    /// `file:///PATH`: a directory of this machine.
    File {
        /// The absolute path.
        path: PathBuf,
    },
    /// A directory of another machine, for trees that rsync keeps: through ssh, or in a module of an rsync daemon.
    Remote {
        /// Whether it is an rsync daemon.
        daemon: bool,
        /// `HOST` or `USER@HOST`, an IPv6 address in brackets.
        target: String,
        /// The port, where it is not the usual one.
        port: Option<u16>,
        /// The absolute path; of a daemon, `MODULE/PATH`.
        path: String,
    },
    /// `null`: nothing is copied; results stay where they were made.
    Null,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Iso { dir } => write!(f, "iso:///{dir}"),
            Self::File { path } => write!(f, "file://{}", path.display()),
            Self::Remote { daemon, target, port, path } => {
                let port = port.map(|port| format!(":{port}")).unwrap_or_default();
                let (scheme, slash) = if *daemon { ("rsync", "/") } else { ("ssh", "") };
                write!(f, "{scheme}://{target}{port}{slash}{path}")
            }
            Self::Null => f.write_str("null"),
        }
    }
}

impl Serialize for Location {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Why a URL was refused: the sentence, and what to write instead.
#[derive(Debug)]
pub(crate) struct Refused {
    pub message: String,
    pub hint: String,
}

fn refused<T>(message: impl Into<String>, hint: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { message: message.into(), hint: hint.into() })
}

/// Schemes of the Bash program that are known by name, with the way around until they are supported.
const NOT_YET: &[(&str, &str)] = &[
    ("nfs", MOUNT),
    ("cifs", MOUNT),
    ("smb", MOUNT),
    ("davfs", MOUNT),
    ("sshfs", MOUNT),
    ("ftpfs", MOUNT),
    ("usb", "Mount the USB disk and give its directory: file:///PATH."),
    ("tape", "Write to a directory (file:///PATH) and copy the result to the tape afterwards."),
    ("obdr", "Write to a directory (file:///PATH) and copy the result to the tape afterwards."),
    ("rsync", COPY),
    ("ssh", COPY),
    ("sftp", COPY),
    ("fish", COPY),
    ("ftp", COPY),
    ("ftps", COPY),
    ("hftp", COPY),
    ("http", COPY),
    ("https", COPY),
    ("var", "Mount the place and give its directory: file:///PATH."),
];
const MOUNT: &str = "Mount the share (for example by /etc/fstab) and give its directory: file:///PATH.";
const COPY: &str = "Write to a directory (file:///PATH) and copy the result from there in POST_BACKUP_SCRIPT \
                    or a job of your own.";

impl Location {
    /// Parses `BACKUP_URL`.
    pub(crate) fn backup(url: &str) -> Result<Self, Refused> {
        match Self::parse("BACKUP_URL", url)? {
            Self::Null => refused(
                "BACKUP_URL=null would make no backup at all",
                "Write iso:///backup or file:///PATH; for a rescue medium without a backup run `rear mkrescue`.",
            ),
            place => Ok(place),
        }
    }

    /// Parses `OUTPUT_URL`; empty is `None`.
    pub(crate) fn output(url: &str) -> Result<Option<Self>, Refused> {
        if url.is_empty() {
            return Ok(None);
        }
        match Self::parse("OUTPUT_URL", url)? {
            Self::Iso { .. } => refused(
                "OUTPUT_URL cannot be an iso: location: the ISO is itself the result that is copied there",
                "Write file:///PATH, or leave OUTPUT_URL empty to keep the ISO in ISO_DIR; \
                 BACKUP_URL=iso:///backup puts the backup into the ISO.",
            ),
            place => Ok(Some(place)),
        }
    }

    fn parse(key: &str, url: &str) -> Result<Self, Refused> {
        if matches!(url, "null" | "null:" | "null://" | "null:///") {
            return Ok(Self::Null);
        }
        if url.is_empty() {
            return refused(format!("{key} is empty"), format!("Write {key}=file:///PATH."));
        }
        if url.contains('\0') || url.chars().any(char::is_control) {
            return refused(
                format!("{key} contains a control character"),
                "Write the URL on one line, without tabs.",
            );
        }
        let Some((scheme, rest)) = url.split_once(':') else {
            let hint = if url.starts_with('/') {
                format!("Did you mean {key}=file://{url} ?")
            } else {
                format!("Write {key}=file:///PATH.")
            };
            return refused(
                format!("{key} '{url}' is not a URL: it does not begin with a scheme such as file:"),
                hint,
            );
        };
        match scheme {
            "iso" => Self::iso(key, url, rest),
            "file" => Self::file(key, url, rest),
            "rsync" | "ssh" if key == "BACKUP_URL" => remote::parse(key, url, scheme, rest),
            _ => Self::other(key, scheme, rest),
        }
    }

    fn iso(key: &str, url: &str, rest: &str) -> Result<Self, Refused> {
        let dir = rest.trim_matches('/');
        let clean = !dir.is_empty()
            && dir.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
            && dir.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
        if !rest.starts_with("///") || !clean {
            let good = clean && !dir.is_empty();
            return refused(
                format!("{key} '{url}' is no valid place in the ISO"),
                format!(
                    "Write iso:/// (three slashes) and a directory of letters, digits, '.', '_' and '-': {key}=iso:///{}",
                    if good { dir } else { "backup" }
                ),
            );
        }
        Ok(Self::Iso { dir: dir.to_owned() })
    }

    fn file(key: &str, url: &str, rest: &str) -> Result<Self, Refused> {
        let path = rest.trim_start_matches('/').trim_end_matches('/');
        if !rest.starts_with("///") {
            return refused(
                format!("{key} '{url}' does not give an absolute path"),
                format!("Write three slashes: {key}=file:///{path}"),
            );
        }
        if path.is_empty() {
            return refused(
                format!("{key} '{url}' is the root directory, which would be its own backup"),
                format!("Give a directory: {key}=file:///PATH."),
            );
        }
        if path.split('/').any(|part| part == "..") {
            return refused(format!("{key} '{url}' contains '..'"), "Write the path without '..'.");
        }
        Ok(Self::File { path: PathBuf::from(format!("/{path}")) })
    }

    fn other(key: &str, scheme: &str, rest: &str) -> Result<Self, Refused> {
        if let Some((_, hint)) = NOT_YET.iter().find(|(name, _)| *name == scheme) {
            return refused(
                format!(
                    "{key} with '{scheme}:' is not supported yet; {} would not arrive there",
                    if key == "BACKUP_URL" { "the backup" } else { "the result" }
                ),
                *hint,
            );
        }
        let names = ["iso", "file", "null"];
        let near = crate::suggest::nearest(scheme, names.iter().copied().chain(NOT_YET.iter().map(|s| s.0)));
        refused(
            format!("{key} has the unknown scheme '{scheme}:'"),
            match near {
                Some(near) if names.contains(&near) => format!("Did you mean {key}={near}:{rest} ?"),
                _ => format!("Write {key}=file:///PATH or iso:///DIR (a backup inside the ISO)."),
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_locations_go_there_and_back() {
        for url in ["iso:///backup", "iso:///a/b", "file:///var/lib/rear/out", "file:///srv/my disk"] {
            assert_eq!(Location::backup(url).unwrap().to_string(), url);
        }
        assert_eq!(Location::output("null:").unwrap(), Some(Location::Null));
        assert_eq!(Location::output("").unwrap(), None);
    }

    #[test]
    fn bad_locations_say_what_to_write() {
        let hint = |url: &str| Location::backup(url).unwrap_err().hint;
        assert!(hint("iso://backup").contains("BACKUP_URL=iso:///backup"), "{}", hint("iso://backup"));
        assert!(hint("file://srv/x").contains("BACKUP_URL=file:///srv/x"));
        assert!(hint("/srv/x").contains("BACKUP_URL=file:///srv/x"));
        assert!(hint("flie:///srv/x").contains("BACKUP_URL=file:///srv/x"));
        assert!(hint("nfs://nas/x").contains("Mount the share"));
        assert!(hint("iso:///a/../..").contains("iso:///backup"));
        assert!(Location::backup("null").is_err());
        assert!(Location::backup("file:///").is_err());
        assert!(Location::output("iso:///backup").unwrap_err().message.contains("OUTPUT_URL"));
    }
}
