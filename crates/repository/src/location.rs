//! Addresses of repositories, as users of restic write them.

use std::path::{Path, PathBuf};

use crate::backend::Backend;
use crate::backend::http::Access;
use crate::backend::local::Local;
use crate::backend::rest::Rest;
use crate::backend::s3::S3;
use crate::backend::sftp::{Address, Sftp};
use crate::error::{Error, Result};
use crate::server::{Bucket, Server};

/// Where a repository is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A directory of this machine: `/srv/restic` or `local:/srv/restic`.
    Local(PathBuf),
    /// A directory of another machine: `sftp:USER@HOST:/srv/restic` or `sftp://USER@HOST:PORT//srv/restic`.
    Sftp(Address),
    /// A directory of restic's own server: `rest:https://USER@HOST:8000/PATH/`.
    Rest(Server),
    /// A bucket of an object store: `s3:https://HOST/BUCKET/PREFIX`.
    S3(Bucket),
}

/// What restic knows and this program does not, with what stands before the first colon.
const OTHERS: [&str; 5] = ["azure", "b2", "gs", "rclone", "swift"];

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
        if let Some(rest) = text.strip_prefix("sftp:") {
            return match sftp(rest) {
                Some(address) => Ok(Self::Sftp(address)),
                None => refuse("write sftp:USER@HOST:/PATH or sftp://USER@HOST:PORT//PATH"),
            };
        }
        if let Some(rest) = text.strip_prefix("rest:") {
            return Server::parse(rest).map(Self::Rest).or_else(|detail| refuse(&detail));
        }
        if let Some(rest) = text.strip_prefix("s3:") {
            return Bucket::parse(rest).map(Self::S3).or_else(|detail| refuse(&detail));
        }
        match text.split_once(':') {
            Some((kind, _)) if OTHERS.contains(&kind) => refuse(&format!(
                "repositories by {kind} cannot be reached by this version; mount the place as a directory (NFS, CIFS, sshfs) \
                 and name that"
            )),
            _ => refuse(
                "write the absolute path of a directory, sftp:USER@HOST:/PATH, rest:https://HOST/PATH or \
                 s3:https://HOST/BUCKET/PREFIX",
            ),
        }
    }

    /// The means to reach it.
    ///
    /// # Errors
    /// The other machine cannot be reached, or nothing proves who it is.
    pub fn backend(&self, access: &Access) -> Result<Box<dyn Backend>> {
        let place = self.to_string();
        match self {
            Self::Rest(server) => Ok(Box::new(Rest::new(server, access, &place)?)),
            Self::S3(bucket) => Ok(Box::new(S3::new(bucket, access, &place)?)),
            Self::Local(path) => Ok(Box::new(Local::new(path))),
            Self::Sftp(address) => Ok(Box::new(Sftp::connect(&address.command(), &address.path, &place)?)),
        }
    }

    /// The server of HTTP that it is at.
    pub fn server(&self) -> Option<&Server> {
        match self {
            Self::Rest(server) => Some(server),
            Self::S3(bucket) => Some(&bucket.server),
            Self::Local(_) | Self::Sftp(_) => None,
        }
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local(path) => write!(f, "{}", path.display()),
            Self::Rest(server) => write!(f, "rest:{server}"),
            Self::S3(bucket) => write!(f, "s3:{bucket}"),
            Self::Sftp(Address { user, host, port, path }) => {
                let user = user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
                match port {
                    Some(port) => write!(f, "sftp://{user}{host}:{port}/{path}"),
                    None if host.contains(':') => write!(f, "sftp://{user}[{host}]/{path}"),
                    None => write!(f, "sftp:{user}{host}:{path}"),
                }
            }
        }
    }
}

/// What stands behind `sftp:`, in both of restic's forms. Nothing that ssh would take for an option.
fn sftp(text: &str) -> Option<Address> {
    let (authority, path, port) = match text.strip_prefix("//") {
        Some(rest) => {
            let (authority, path) = rest.split_once('/')?;
            let end = authority.rfind(']').map_or(0, |end| end + 1);
            match authority[end..].rfind(':') {
                Some(at) => {
                    let (host, port) = authority.split_at(end + at);
                    (host, path, Some(port[1..].parse().ok()?))
                }
                None => (authority, path, None),
            }
        }
        None => {
            let end = text.find("]:").map_or(0, |end| end + 1);
            let (authority, path) = text.split_at(end + text[end..].find(':')?);
            (authority, &path[1..], None)
        }
    };
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_word = |word: &str| {
        !word.is_empty()
            && !word.starts_with('-')
            && !word.contains(|c: char| c.is_whitespace() || c.is_control())
    };
    let sound = is_word(host)
        && user.is_none_or(is_word)
        && is_word(path)
        && !path.split('/').any(|part| part == "..");
    sound.then(|| Address {
        user: user.map(str::to_owned),
        host: host.to_owned(),
        port,
        path: path.to_owned(),
    })
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
        for (text, command, path) in [
            (
                "sftp:me@host:/srv/r",
                "ssh -l me -o ServerAliveInterval=60 -o ServerAliveCountMax=4 -s -- host sftp",
                "/srv/r",
            ),
            ("sftp:host:r", "ssh -o ServerAliveInterval=60 -o ServerAliveCountMax=4 -s -- host sftp", "r"),
            (
                "sftp://me@[::1]:2222//srv/r",
                "ssh -p 2222 -l me -o ServerAliveInterval=60 -o ServerAliveCountMax=4 -s -- ::1 sftp",
                "/srv/r",
            ),
        ] {
            let Location::Sftp(address) = Location::parse(text).unwrap() else { panic!("{text}") };
            assert_eq!((address.command().join(" ").as_str(), address.path.as_str()), (command, path));
            let again = Location::Sftp(address.clone()).to_string();
            assert_eq!(Location::parse(&again).unwrap(), Location::Sftp(address), "{again}");
        }
        for bad in
            ["sftp:host", "sftp:-oProxyCommand=x:/r", "sftp:@host:/r", "sftp:host:/a/../b", "sftp://host"]
        {
            assert!(Location::parse(bad).is_err(), "{bad}");
        }
        for bad in ["", "srv", "/srv/../r", "rclone:x:y", "b2:bucket", "rest:/srv", "s3:host"] {
            assert!(Location::parse(bad).is_err(), "{bad}");
        }
        for bad in ["rest:https://me:secret@ho st/", "s3:https://me:secret@host/bucket"] {
            let message = Location::parse(bad).unwrap_err().to_string();
            assert!(!message.contains("secret") && message.contains("@ho"), "{message}");
        }
        for (text, again) in [
            ("rest:http://host", "rest:http://host/"),
            ("rest:https://me:se%20cret@host:8000/me", "rest:https://me@host:8000/me/"),
            ("s3:s3.amazonaws.com/bucket", "s3:https://s3.amazonaws.com/bucket"),
            ("s3:http://[::1]:9000/bucket/a/b/", "s3:http://[::1]:9000/bucket/a/b"),
        ] {
            let location = Location::parse(text).unwrap();
            assert_eq!(location.to_string(), again, "{text}");
            assert!(!format!("{location:?}").contains("se cret"));
            assert_eq!(Location::parse(again).unwrap().to_string(), again);
        }
    }
}
