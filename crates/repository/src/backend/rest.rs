//! A repository at restic's own server (`rest-server`), by its REST protocol, versions 1 and 2. A file is there when the server says
//! so; one that was sent twice is read back before it is believed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::http::{self, Access, Answer, Call, Client};
use super::{Backend, FileKind};
use crate::error::{Error, Result};
use crate::id::Id;
use crate::server::Server;

/// What the newer version of the protocol is called.
const VERSION: &str = "application/vnd.x.restic.rest.v2";

/// The server.
pub struct Rest {
    client: Client,
    place: String,
    /// Ends with `/`.
    base: String,
    /// The value of a header, secret.
    authorization: Option<String>,
}

/// A line of a list, in the newer version and in the older one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    File { name: String, size: u64 },
    Name(String),
}

impl Rest {
    /// That server; nothing is asked yet.
    ///
    /// # Errors
    /// The certificates of the authorities to trust cannot be read.
    pub fn new(server: &Server, access: &Access, place: &str) -> Result<Self> {
        let user = server.user.as_ref().or(access.user.as_ref());
        let password = server.password.as_ref().or(access.password.as_ref());
        let authorization = user.map(|user| {
            let mut both = format!("{user}:").into_bytes();
            both.extend_from_slice(password.map(|password| password.expose_bytes()).unwrap_or_default());
            format!("Basic {}", STANDARD.encode(both))
        });
        let client = Client::new(server.tls, place, access)?;
        Ok(Self { client, place: place.to_owned(), base: server.url(), authorization })
    }

    fn ask(
        &self,
        what: &str,
        method: &'static str,
        below: &str,
        header: Option<(&'static str, String)>,
        body: Option<&[u8]>,
    ) -> Result<Answer> {
        self.client.ask(what, &mut || {
            let mut headers = vec![("accept", VERSION.to_owned())];
            headers.extend(self.authorization.clone().map(|value| ("authorization", value)));
            headers.extend(header.clone());
            Call { method, url: format!("{}{below}", self.base), headers, body }
        })
    }

    fn fail(&self, what: &str, answer: &Answer) -> Error {
        match answer.status {
            401 => {
                let detail = match self.authorization {
                    None => "it wants a user and a password".to_owned(),
                    Some(_) => "its user or the password of the server is wrong".to_owned(),
                };
                Error::Denied { place: self.place.clone(), detail }
            }
            _ => answer.refusal(what, &self.place),
        }
    }

    /// The length of a file in bytes; `None` where there is none.
    fn length(&self, below: &str) -> Result<Option<u64>> {
        let what = format!("look for {below}");
        let answer = self.ask(&what, "HEAD", below, None, None)?;
        match answer.status {
            404 => Ok(None),
            _ if answer.is_success() => Ok(Some(answer.length.unwrap_or_default())),
            _ => Err(self.fail(&what, &answer)),
        }
    }
}

/// The server's own directories have no names of two digits between.
fn path(kind: FileKind, id: Id) -> String {
    match kind {
        FileKind::Config => "config".into(),
        _ => format!("{}/{id}", kind.directory()),
    }
}

impl Backend for Rest {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn create(&self) -> Result<()> {
        let what = "make the directories";
        let answer = self.ask(what, "POST", "?create=true", None, Some(&[]))?;
        if answer.is_success() { Ok(()) } else { Err(self.fail(what, &answer)) }
    }

    fn has(&self, kind: FileKind, id: Id) -> Result<bool> {
        Ok(self.length(&path(kind, id))?.is_some())
    }

    fn list(&self, kind: FileKind) -> Result<Vec<(Id, u64)>> {
        let what = format!("list {}", kind.directory());
        let answer = self.ask(&what, "GET", &format!("{}/", kind.directory()), None, None)?;
        // A directory that is not there has no files.
        if answer.status == 404 {
            return Ok(Vec::new());
        }
        if !answer.is_success() {
            return Err(self.fail(&what, &answer));
        }
        let lines: Option<Vec<Line>> = serde_json::from_slice(&answer.body).map_err(|error| {
            Error::io(format!("{what} at {}", self.place))(std::io::Error::other(format!(
                "the answer is no list ({error}): is this a rest-server?"
            )))
        })?;
        let mut found = Vec::new();
        for line in lines.unwrap_or_default() {
            match line {
                Line::File { name, size } => found.extend(Id::parse(&name).map(|id| (id, size))),
                Line::Name(name) => {
                    let Some(id) = Id::parse(&name) else { continue };
                    // One that is gone meanwhile is not listed.
                    found.extend(self.length(&path(kind, id))?.map(|size| (id, size)));
                }
            }
        }
        Ok(found)
    }

    fn read(&self, kind: FileKind, id: Id) -> Result<Vec<u8>> {
        let below = path(kind, id);
        let what = format!("read {below}");
        let answer = self.ask(&what, "GET", &below, None, None)?;
        if answer.is_success() { Ok(answer.body) } else { Err(self.fail(&what, &answer)) }
    }

    fn read_range(&self, pack: Id, offset: u64, length: usize) -> Result<Vec<u8>> {
        if length == 0 {
            return Ok(Vec::new());
        }
        let below = path(FileKind::Pack, pack);
        let what = format!("read {below}");
        let answer = self.ask(&what, "GET", &below, Some(http::range(offset, length)), None)?;
        if !answer.is_success() {
            return Err(self.fail(&what, &answer));
        }
        http::stretch(answer, offset, length, &what, &self.place)
    }

    fn write(&self, kind: FileKind, id: Id, bytes: &[u8]) -> Result<()> {
        let below = path(kind, id);
        let what = format!("write {below}");
        let answer = self.ask(&what, "POST", &below, None, Some(bytes))?;
        if answer.is_success() {
            return Ok(());
        }
        // The server takes no file twice. Where the answer to the first try was lost, it is there already.
        if answer.status == 403 && answer.repeated && self.read(kind, id).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        Err(self.fail(&what, &answer))
    }

    fn remove(&self, kind: FileKind, id: Id) -> Result<()> {
        let below = path(kind, id);
        let what = format!("remove {below}");
        let answer = self.ask(&what, "DELETE", &below, None, None)?;
        match answer.status {
            404 => Ok(()),
            403 | 405 => Err(Error::KeepsAll { place: self.place.clone() }),
            _ if answer.is_success() => Ok(()),
            _ => Err(self.fail(&what, &answer)),
        }
    }
}
