//! Where trees of files rest, as rsync is told. It only makes words: it neither reads nor reaches a place.

use std::path::{Path, PathBuf};

/// A directory that rsync reads and writes: of this machine, of another one through a remote shell, or of an rsync daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A directory of this machine, a mounted share among them.
    Local {
        /// Its absolute path.
        dir: PathBuf,
    },
    /// A directory of a host that a remote shell (ssh) leads to.
    Shell {
        /// `HOST` or `USER@HOST`, an IPv6 address in brackets.
        target: String,
        /// The port, where it is not the usual one.
        port: Option<u16>,
        /// The absolute path there. Only characters that no shell interprets (see [`Place::is_plain`]).
        path: String,
    },
    /// A directory in a module of an rsync daemon.
    Daemon {
        /// `HOST` or `USER@HOST`, an IPv6 address in brackets.
        target: String,
        /// The port, where it is not 873.
        port: Option<u16>,
        /// `MODULE` or `MODULE/PATH`.
        path: String,
    },
}

impl Place {
    /// Whether a text has only characters that mean the same to every shell, to rsync's patterns and to file systems.
    /// What is made of such texts needs no quotes.
    pub fn is_plain(text: &str) -> bool {
        let good = |c: char| c.is_ascii_alphanumeric() || "_-./+@,=".contains(c);
        !text.is_empty() && text.chars().all(good) && text.split('/').all(|part| part != "..")
    }

    /// The place as a URL, without any secret: `file:///DIR`, `ssh://…`, `rsync://…` (a daemon).
    pub fn url(&self) -> String {
        match self {
            Self::Local { dir } => format!("file://{}", dir.display()),
            Self::Shell { .. } | Self::Daemon { .. } => self.to_string(),
        }
    }

    /// The place of a URL that [`Place::url`] made.
    pub fn of_url(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        if scheme == "file" {
            return rest.starts_with('/').then(|| Self::Local { dir: rest.into() });
        }
        let (host, path) = rest.split_once('/')?;
        // A colon in brackets belongs to an IPv6 address.
        let (target, port) = match host.rsplit_once(':') {
            Some((target, port)) if !port.contains(']') => (target, Some(port.parse().ok()?)),
            _ => (host, None),
        };
        let is_word = |text: &str| Self::is_plain(text) && !text.starts_with('-');
        let name = target.trim_start_matches('[').trim_end_matches(']').replace([':', '['], "");
        if !is_word(&name) || (!path.is_empty() && !Self::is_plain(path)) {
            return None;
        }
        let target = target.to_owned();
        match scheme {
            "ssh" => Some(Self::Shell { target, port, path: format!("/{path}") }),
            "rsync" if !path.is_empty() => Some(Self::Daemon { target, port, path: path.to_owned() }),
            _ => None,
        }
    }

    /// The user at the other side, where the place names one.
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::Local { .. } => None,
            Self::Shell { target, .. } | Self::Daemon { target, .. } => Some(target.split_once('@')?.0),
        }
    }

    /// The directory, when it is one of this machine.
    pub fn local(&self) -> Option<&Path> {
        match self {
            Self::Local { dir } => Some(dir),
            Self::Shell { .. } | Self::Daemon { .. } => None,
        }
    }

    /// The argument for rsync that names `below`, a relative path in the place; empty for the place itself. It ends with a
    /// slash: what is meant is always the content.
    pub fn argument(&self, below: &str) -> String {
        let (start, path) = match self {
            Self::Local { dir } => (String::new(), dir.display().to_string()),
            Self::Shell { target, path, .. } => (format!("{target}:"), path.clone()),
            Self::Daemon { target, port, path } => {
                let port = port.map(|port| format!(":{port}")).unwrap_or_default();
                (format!("rsync://{target}{port}/"), path.clone())
            }
        };
        let path = path.trim_end_matches('/');
        let below = below.trim_matches('/');
        if below.is_empty() { format!("{start}{path}/") } else { format!("{start}{path}/{below}/") }
    }

    /// Where lists of files below `below` are read from: the argument, and what each line of the list begins with. For a daemon
    /// that is the module itself, because some versions (3.5.0) find nothing when the list is relative to a directory in it.
    pub(crate) fn listed(&self, below: &str) -> (String, Vec<u8>) {
        let Self::Daemon { target, port, path } = self else { return (self.argument(below), Vec::new()) };
        let (module, rest) = path.trim_end_matches('/').split_once('/').unwrap_or((path.as_str(), ""));
        let base = Self::Daemon { target: target.clone(), port: *port, path: module.to_owned() };
        let parts = [rest.trim_matches('/'), below.trim_matches('/')];
        let way: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        // The names that arrive begin behind the point.
        (base.argument(""), format!("{}/./", way.join("/")).into_bytes())
    }

    /// The path in the place on the other machine, for commands that run there.
    pub(crate) fn path_of(&self, below: &str) -> String {
        match self {
            Self::Local { dir } => dir.join(below).display().to_string(),
            Self::Shell { path, .. } | Self::Daemon { path, .. } => {
                format!("{}/{below}", path.trim_end_matches('/'))
            }
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local { dir } => write!(f, "{}", dir.display()),
            Self::Shell { target, port, path } => {
                let port = port.map(|port| format!(":{port}")).unwrap_or_default();
                write!(f, "ssh://{target}{port}{path}")
            }
            Self::Daemon { .. } => f.write_str(self.argument("").trim_end_matches('/')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_all_kinds() {
        let local = Place::Local { dir: "/srv/my disk".into() };
        assert_eq!(
            (local.argument(""), local.argument("a/b")),
            ("/srv/my disk/".into(), "/srv/my disk/a/b/".into())
        );
        let shell = Place::Shell { target: "me@nas".into(), port: Some(2222), path: "/srv/".into() };
        assert_eq!(shell.argument("web1"), "me@nas:/srv/web1/");
        assert_eq!(
            (shell.path_of("web1"), shell.to_string()),
            ("/srv/web1".into(), "ssh://me@nas:2222/srv/".into())
        );
        let daemon = Place::Daemon { target: "[::1]".into(), port: Some(8730), path: "module/sub".into() };
        assert_eq!(daemon.argument("web1"), "rsync://[::1]:8730/module/sub/web1/");
        assert_eq!(daemon.to_string(), "rsync://[::1]:8730/module/sub");
        assert_eq!(daemon.listed("web1"), ("rsync://[::1]:8730/module/".into(), b"sub/web1/./".to_vec()));
        assert_eq!(shell.listed("web1"), ("me@nas:/srv/web1/".into(), Vec::new()));
        assert_eq!(Place::Shell { target: "h".into(), port: None, path: "/".into() }.argument(""), "h:/");
    }

    #[test]
    fn urls_go_there_and_back() {
        for url in [
            "file:///srv/my disk",
            "ssh://nas/srv",
            "ssh://me@nas:2222/srv/x",
            "ssh://root@[fe80::1]:22/srv",
            "rsync://me@nas/module/x",
            "rsync://[::1]:8730/module",
        ] {
            assert_eq!(Place::of_url(url).map(|place| place.url()).as_deref(), Some(url));
        }
        for bad in [
            "ssh://-oProxyCommand=x/srv",
            "ssh://a b/srv",
            "rsync://nas/",
            "ssh://nas/a;b",
            "x://nas/a",
            "nas:/a",
        ] {
            assert_eq!(Place::of_url(bad), None, "{bad}");
        }
        assert_eq!(Place::of_url("ssh://me@nas/srv").unwrap().user(), Some("me"));
    }

    #[test]
    fn what_a_shell_would_interpret_is_not_plain() {
        for bad in ["", "a b", "a;b", "$(x)", "a*", "../x", "a/..", "ü", "a'b", "a\\b", "a`b"] {
            assert!(!Place::is_plain(bad), "{bad}");
        }
        assert!(Place::is_plain("/srv/backup_1/host-a.example+x@y,z=1"));
    }
}
