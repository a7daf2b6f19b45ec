//! Requests to servers of HTTP and HTTPS: what passes is waited for, a while; what lasts is told. It knows nothing of what it
//! carries, follows no redirection, and shows no password.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sys::{Cancel, Secret};
use ureq::Agent;
use ureq::http::{Request, Response};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};

use crate::error::{Error, Result};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(20);
/// How long the other side may be silent in the middle of something.
const SILENCE: Duration = Duration::from_secs(120);
/// How long trouble that may pass is waited out, once the server has answered.
const PATIENCE: Duration = Duration::from_secs(90);
/// The same for a server that has not answered yet: it may have another name.
const PATIENCE_AT_FIRST: Duration = Duration::from_secs(4);
/// The first pause, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(8));
/// How often a pause looks whether it shall end.
const TICK: Duration = Duration::from_millis(100);
/// The largest answer, in bytes: the largest index or pack that any program writes is far below.
const LIMIT: u64 = 1 << 30;

/// Where systems keep the certificates of the authorities that they trust, as one file each.
const BUNDLES: [&str; 6] = [
    // Debian, Ubuntu, Arch.
    "/etc/ssl/certs/ca-certificates.crt",
    // Fedora, Red Hat: the file itself, and the names that lead to it.
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    // SUSE.
    "/var/lib/ca-certificates/ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    // Alpine.
    "/etc/ssl/cert.pem",
];

/// Who asks, and how servers prove who they are. Without anything, nobody in particular, and the authorities of this system.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// `rest:`: the user, where the address names none.
    pub user: Option<String>,
    /// `rest:`: the user's password, where the address names none.
    pub password: Option<Secret>,
    /// `s3:`: the name of the access key.
    pub key_id: String,
    /// `s3:`: the access key itself.
    pub secret_key: Option<Secret>,
    /// `s3:`: the region; empty for the usual one, or the one that the server names.
    pub region: String,
    /// Certificates of the authorities to trust (PEM), instead of the system's.
    pub authorities: Option<PathBuf>,
    /// How long trouble that may pass is waited out, instead of a minute and a half.
    pub patience: Option<Duration>,
    /// Ends the waiting.
    pub cancel: Cancel,
}

/// The file with the system's certificates of authorities, where there is one.
pub fn system_authorities() -> Option<&'static Path> {
    BUNDLES.iter().map(Path::new).find(|path| path.is_file())
}

/// One request.
#[derive(Debug, Default)]
pub struct Call<'b> {
    pub method: &'static str,
    pub url: String,
    /// Names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// What is sent; `None` where there is nothing to send.
    pub body: Option<&'b [u8]>,
}

/// What came back, whatever its status.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// What the header says of the length, in bytes.
    pub length: Option<u64>,
    pub headers: ureq::http::HeaderMap,
    pub body: Vec<u8>,
    /// Whether an earlier try may have been carried out by the server.
    pub repeated: bool,
}

impl Answer {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The status with what the server says of it, for people.
    pub fn words(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let code = super::xml::text(&text, "Code");
        let said = match (code, super::xml::text(&text, "Message")) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(code), None) => code,
            _ if text.trim_start().starts_with('<') => String::new(),
            _ => text.lines().next().unwrap_or_default().trim().to_owned(),
        };
        let said: String = said.chars().filter(|c| !c.is_control()).take(200).collect();
        match said.is_empty() {
            true => format!("it answers with the status {}", self.status),
            false => format!("it answers with the status {}: {said}", self.status),
        }
    }

    /// As an error, for what no caller knows better.
    pub fn refusal(&self, what: &str, place: &str) -> Error {
        let kind = match self.status {
            413 | 507 => return Error::Full { place: place.to_owned() },
            401 => return Error::Denied { place: place.to_owned(), detail: self.words() },
            403 => ErrorKind::PermissionDenied,
            404 => ErrorKind::NotFound,
            416 => return shorter(what, place),
            _ => ErrorKind::Other,
        };
        Error::io(format!("{what} at {place}"))(std::io::Error::new(kind, self.words()))
    }
}

/// The header that asks for a stretch of a file; it has at least one byte.
pub fn range(offset: u64, length: usize) -> (&'static str, String) {
    ("range", format!("bytes={offset}-{}", offset + length as u64 - 1))
}

/// The stretch that was asked for. A server that knows no stretches sends the whole file.
///
/// # Errors
/// The file is shorter.
pub fn stretch(answer: Answer, offset: u64, length: usize, what: &str, place: &str) -> Result<Vec<u8>> {
    let mut bytes = answer.body;
    if answer.status != 206 {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        bytes.drain(..start);
        bytes.truncate(length);
    }
    if bytes.len() == length { Ok(bytes) } else { Err(shorter(what, place)) }
}

fn shorter(what: &str, place: &str) -> Error {
    let error = std::io::Error::new(ErrorKind::UnexpectedEof, "it is shorter than it should be");
    Error::io(format!("{what} at {place}"))(error)
}

/// Why a try had no answer.
enum Trouble {
    /// It may be gone soon.
    Passing(String),
    /// It will be there again.
    Lasting(Error),
}

/// Asks one server.
pub struct Client {
    agent: Agent,
    place: String,
    patience: Duration,
    cancel: Cancel,
    /// Whether the server has ever answered.
    met: AtomicBool,
    /// Whether it was waited for in vain: then nobody waits for it again before it answers.
    lost: AtomicBool,
}

impl Client {
    /// For the server at that place, which people know by that name.
    ///
    /// # Errors
    /// The certificates of the authorities cannot be read.
    pub fn new(tls: bool, place: &str, access: &Access) -> Result<Self> {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("rear/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(SILENCE))
            .timeout_per_write(Some(SILENCE))
            .timeout_recv_response(Some(SILENCE));
        if tls {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let roots = RootCerts::from(authorities(place, access.authorities.as_deref())?);
            config = config.tls_config(
                TlsConfig::builder().unversioned_rustls_crypto_provider(provider).root_certs(roots).build(),
            );
        }
        Ok(Self {
            agent: config.build().new_agent(),
            place: place.to_owned(),
            patience: access.patience.unwrap_or(PATIENCE),
            cancel: access.cancel.clone(),
            met: AtomicBool::new(false),
            lost: AtomicBool::new(false),
        })
    }

    /// Asks, until there is an answer that is no excuse. The request is made anew for each try.
    ///
    /// # Errors
    /// The server cannot be reached, is not the one that its certificate should name, is busy for too long, or the run was
    /// stopped. `what` says what was tried, with its object.
    pub fn ask<'b>(&self, what: &str, make: &mut dyn FnMut() -> Call<'b>) -> Result<Answer> {
        let begun = Instant::now();
        let mut pause = PAUSE.0;
        let mut repeated = false;
        loop {
            self.cancel.check()?;
            let detail = match self.once(&make()) {
                Ok(answer) => {
                    self.met.store(true, Ordering::Relaxed);
                    // Too many requests, a proxy without its server, a server that starts or stops.
                    if !matches!(answer.status, 408 | 429 | 500 | 502 | 503 | 504) {
                        self.lost.store(false, Ordering::Relaxed);
                        return Ok(Answer { repeated, ..answer });
                    }
                    pause = pause.max(wish(&answer));
                    answer.words()
                }
                Err(Trouble::Passing(detail)) => detail,
                Err(Trouble::Lasting(error)) => return Err(error),
            };
            // A connection may have died in silence: another is tried however long that has taken.
            let is_last = repeated || !self.met.load(Ordering::Relaxed);
            repeated = true;
            let patience = match self.met.load(Ordering::Relaxed) {
                true => self.patience,
                false => self.patience.min(PATIENCE_AT_FIRST),
            };
            if self.lost.load(Ordering::Relaxed) || (is_last && begun.elapsed() + pause > patience) {
                self.lost.store(true, Ordering::Relaxed);
                return Err(Error::Unreachable { what: what.to_owned(), place: self.place.clone(), detail });
            }
            let until = Instant::now() + pause;
            while Instant::now() < until {
                self.cancel.check()?;
                std::thread::sleep(TICK.min(pause));
            }
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    fn once(&self, call: &Call<'_>) -> std::result::Result<Answer, Trouble> {
        let mut request = Request::builder().method(call.method).uri(&call.url);
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        let lasting = |error: ureq::http::Error| {
            Trouble::Lasting(Error::io(format!("ask {}", self.place))(std::io::Error::other(
                error.to_string(),
            )))
        };
        let result = match call.body {
            Some(body) => self.agent.run(request.body(body).map_err(lasting)?),
            None => self.agent.run(request.body(()).map_err(lasting)?),
        };
        let answer = result.and_then(|response| read(response, call.method == "HEAD"));
        answer.map_err(|error| self.trouble(error))
    }

    fn trouble(&self, error: ureq::Error) -> Trouble {
        let place = self.place.clone();
        match error {
            // What a handshake stumbles over is wrapped in an error of this kind.
            ureq::Error::Io(error) if error.kind() == ErrorKind::InvalidData => {
                Trouble::Lasting(Error::Untrusted { place, detail: error.to_string() })
            }
            ureq::Error::Rustls(error) => {
                Trouble::Lasting(Error::Untrusted { place, detail: error.to_string() })
            }
            ureq::Error::Tls(error) => Trouble::Lasting(Error::Untrusted { place, detail: error.to_owned() }),
            ureq::Error::Io(error) => Trouble::Passing(error.to_string()),
            ureq::Error::HostNotFound => Trouble::Passing("its name cannot be resolved".into()),
            ureq::Error::Timeout(_) => Trouble::Passing("it does not answer in time".into()),
            error @ (ureq::Error::ConnectionFailed
            | ureq::Error::Protocol(_)
            | ureq::Error::ConnectProxyFailed(_)
            | ureq::Error::BodyStalled) => Trouble::Passing(error.to_string()),
            error => {
                Trouble::Lasting(Error::io(format!("ask {place}"))(std::io::Error::other(error.to_string())))
            }
        }
    }
}

/// The whole answer.
fn read(response: Response<ureq::Body>, bare: bool) -> std::result::Result<Answer, ureq::Error> {
    let (parts, body) = response.into_parts();
    let length = parts.headers.get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
    let body = if bare { Vec::new() } else { body.into_with_config().limit(LIMIT).read_to_vec()? };
    Ok(Answer { status: parts.status.as_u16(), length, headers: parts.headers, body, repeated: false })
}

/// How long the server wants to be left alone.
fn wish(answer: &Answer) -> Duration {
    let wish = answer.headers.get("retry-after").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    wish.map_or(Duration::ZERO, Duration::from_secs)
}

/// The certificates to trust.
fn authorities(place: &str, own: Option<&Path>) -> Result<Vec<Certificate<'static>>> {
    let untrusted = |detail: String| Error::Untrusted { place: place.to_owned(), detail };
    let system = system_authorities();
    let path = own.or(system).ok_or_else(|| {
        untrusted(format!(
            "this system has no list of the authorities that it trusts ({}, for example)",
            BUNDLES[0]
        ))
    })?;
    let text = std::fs::read(path).map_err(Error::io(format!("read {}", path.display())))?;
    // One that cannot be used is nothing that anything is lost by.
    let found = ureq::tls::parse_pem(&text).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let found: Vec<_> = found.collect();
    match found.is_empty() {
        true => Err(untrusted(format!("{} holds no certificate in PEM form", path.display()))),
        false => Ok(found),
    }
}
