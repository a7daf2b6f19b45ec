//! Addresses of servers of HTTP, as users of restic write them. A password in one is taken out of it at once, and never shown.

use std::fmt;

use sys::Secret;

use crate::backend::encode;

/// A server, and a directory of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// HTTPS.
    pub tls: bool,
    /// Name or address; that of IPv6 in brackets.
    pub host: String,
    /// Where it is not the usual one.
    pub port: Option<u16>,
    /// Begins and ends with `/`, percent-encoded.
    pub path: String,
    /// Whom the server knows.
    pub user: Option<String>,
    /// By what.
    pub password: Option<Secret>,
}

/// A bucket of an object store, and a directory in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// The store; without path and user.
    pub server: Server,
    /// The bucket's name.
    pub name: String,
    /// What the names of all objects begin with; without slashes at its ends, and empty for nothing.
    pub prefix: String,
}

impl Server {
    /// Reads what stands behind `rest:`; the error is the end of a sentence.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        const FORM: &str =
            "write rest:https://HOST/PATH, rest:https://USER@HOST:PORT/PATH or the same with http";
        let server = Self::read(text).ok_or(FORM)?;
        match server.password.is_some() && server.user.is_none() {
            true => Err(FORM.into()),
            false => Ok(server),
        }
    }

    fn read(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let tls = match scheme {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (who, host) = match authority.rsplit_once('@') {
            Some((who, host)) => (Some(who), host),
            None => (None, authority),
        };
        let (user, password) = match who.map(|who| who.split_once(':').unwrap_or((who, ""))) {
            None => (None, None),
            Some((user, password)) => {
                let password = decode(password)?;
                let user = String::from_utf8(decode(user)?).ok()?;
                // A header has no room for it.
                if user.contains(':') {
                    return None;
                }
                (Some(user), Some(password).filter(|some| !some.is_empty()).map(Secret::of_bytes))
            }
        };
        let end = host.rfind(']').map_or(0, |end| end + 1);
        let (host, port) = match host[end..].rfind(':') {
            Some(at) => {
                (&host[..end + at], Some(host[end + at + 1..].parse().ok().filter(|port| *port > 0)?))
            }
            None => (host, None),
        };
        let is_name = match host.strip_prefix('[') {
            Some(address) => address.strip_suffix(']')?.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)),
        };
        let is_sent = |c: char| c.is_ascii_alphanumeric() || "-._~/%:@!$&'()*+,;=".contains(c);
        let path = path.trim_matches('/');
        if !is_name
            || !path.chars().all(is_sent)
            || path.split('/').any(|part| matches!(part, "." | ".."))
            || user.as_ref().is_some_and(String::is_empty)
        {
            return None;
        }
        Some(Self {
            tls,
            host: host.to_ascii_lowercase(),
            port: port.filter(|port| *port != if tls { 443 } else { 80 }),
            path: if path.is_empty() { "/".into() } else { format!("/{path}/") },
            user: user.filter(|user| !user.is_empty()),
            password,
        })
    }

    /// Host and port, as a header names them.
    pub fn authority(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }

    /// Without the user.
    pub fn url(&self) -> String {
        format!("http{}://{}{}", if self.tls { "s" } else { "" }, self.authority(), self.path)
    }

    /// Whether that is the same program at the same machine, asked in the same way: what one may be told, the other may.
    pub fn is_same_as(&self, other: &Self) -> bool {
        (self.tls, &self.host, self.port) == (other.tls, &other.host, other.port)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.user.as_ref().map(|user| format!("{}@", encode(user))).unwrap_or_default();
        write!(f, "http{}://{user}{}{}", if self.tls { "s" } else { "" }, self.authority(), self.path)
    }
}

impl Bucket {
    /// Reads what stands behind `s3:`; the error is the end of a sentence.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        const FORM: &str =
            "write s3:https://HOST/BUCKET/PREFIX or the same with http; the access key does not belong there";
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (scheme, rest),
            // As restic has it, the safe way is meant.
            None => ("https", text.trim_start_matches('/')),
        };
        let (host, path) = rest.split_once('/').ok_or(FORM)?;
        let server = Server::read(&format!("{scheme}://{host}")).ok_or(FORM)?;
        let path = path.trim_matches('/');
        let (name, prefix) = path.split_once('/').unwrap_or((path, ""));
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if server.user.is_some()
            || name.is_empty()
            || !name.chars().all(is_name)
            || prefix.chars().any(char::is_control)
            || path.split('/').any(|part| matches!(part, "." | ".."))
        {
            return Err(FORM.into());
        }
        Ok(Self { server, name: name.to_owned(), prefix: prefix.trim_matches('/').to_owned() })
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.server, self.name)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok())?;
        out.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &tail[2..];
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers() {
        let server = Server::parse("https://me:p%40ss:%2Fword@Backup.example:8443/some/dir/").unwrap();
        assert_eq!(server.user.as_deref(), Some("me"));
        assert_eq!(server.password.as_ref().unwrap().expose(), "p@ss:/word");
        assert_eq!(server.url(), "https://backup.example:8443/some/dir/");
        assert_eq!(server.to_string(), "https://me@backup.example:8443/some/dir/");
        assert_eq!(Server::parse("https://h:443").unwrap().url(), "https://h/");
        assert_eq!(Server::parse("http://a%20b@[::1]:80/").unwrap().to_string(), "http://a%20b@[::1]/");
        for bad in [
            "",
            "host",
            "ftp://host",
            "https://",
            "https://:80",
            "https://h:0",
            "https://h:x",
            "https://:p@h",
            "https://h/a/../b",
            "https://h/a?b",
            "https://h/a b",
            "https://[::g]/",
            "https://a%zz@h/",
            "https://a%3Ab@h/",
        ] {
            assert!(Server::parse(bad).is_err(), "{bad}");
        }
        let other = Server::parse("https://backup.example:8443/").unwrap();
        assert!(server.is_same_as(&other));
        assert!(!server.is_same_as(&Server::parse("http://backup.example:8443/").unwrap()));
    }

    #[test]
    fn buckets() {
        for (text, shown, prefix) in [
            ("s3.example/b", "https://s3.example/b", ""),
            ("//s3.example/b/p q/r/", "https://s3.example/b/p q/r", "p q/r"),
            ("http://127.0.0.1:9000/b//p", "http://127.0.0.1:9000/b/p", "p"),
        ] {
            let bucket = Bucket::parse(text).unwrap();
            assert_eq!((bucket.to_string().as_str(), bucket.prefix.as_str()), (shown, prefix));
        }
        for bad in
            ["", "host", "host/", "https://key:secret@host/b", "https://h/b%/p", "https://h/../p", "x://h/b"]
        {
            assert!(Bucket::parse(bad).is_err(), "{bad}");
        }
    }
}
