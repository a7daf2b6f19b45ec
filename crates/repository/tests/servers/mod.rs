//! Small servers for tests, in the process of the test: of HTTP and HTTPS on a port of this machine. They do what they are told, also
//! badly: connections break, and answers are excuses. They serve nobody but tests, and are slow and trusting.

#![allow(dead_code, clippy::unwrap_used, reason = "shared by several tests; a test may panic")]

pub mod rest;
pub mod s3;

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What came in.
#[derive(Debug, Default)]
pub struct Request {
    pub method: String,
    /// As it was sent.
    pub path: String,
    pub query: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// First and last byte that are wanted.
    pub fn range(&self) -> Option<(usize, usize)> {
        let (first, last) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse().unwrap(), last.parse().unwrap_or(usize::MAX)))
    }
}

/// What goes out.
#[derive(Debug, Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn of(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// A file, or the stretch of it that is wanted.
    pub fn file(request: &Request, bytes: Vec<u8>) -> Self {
        match request.range() {
            None => Self::of(200, bytes),
            Some((first, _)) if first >= bytes.len() => Self::of(416, ""),
            Some((first, last)) => {
                let last = last.min(bytes.len() - 1);
                let range = format!("bytes {first}-{last}/{}", bytes.len());
                Self::of(206, &bytes[first..=last]).with("content-range", range)
            }
        }
    }
}

/// What a server does.
pub trait Service: Send + Sync + 'static {
    fn answer(&self, request: &Request) -> Reply;
}

/// What goes wrong with the next request of that method whose path has that part.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The connection breaks, and nothing was done.
    Break,
    /// It was done, and the connection breaks before the answer.
    Swallow,
    /// An excuse of that status.
    Excuse(u16),
    /// Half of the answer.
    Half,
}

/// The server; it ends when it is dropped.
pub struct Server {
    pub port: u16,
    pub tls: bool,
    shared: Arc<Shared>,
}

struct Shared {
    service: Arc<dyn Service>,
    end: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
    faults: Mutex<VecDeque<(&'static str, &'static str, Fault)>>,
    requests: AtomicUsize,
}

/// The authority that has signed the certificate of these servers.
pub fn authority() -> PathBuf {
    tls().join("ca.pem")
}

fn tls() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("repository/tests/tls")
}

impl Server {
    pub fn start(service: Arc<dyn Service>, tls: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            service,
            end: AtomicBool::new(false),
            connections: Mutex::default(),
            faults: Mutex::default(),
            requests: AtomicUsize::new(0),
        });
        let config = tls.then(secured);
        let served = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if served.end.load(Ordering::SeqCst) {
                    break;
                }
                let stream = stream.unwrap();
                served.connections.lock().unwrap().push(stream.try_clone().unwrap());
                let (served, config) = (Arc::clone(&served), config.clone());
                let connection = stream.try_clone().unwrap();
                std::thread::spawn(move || {
                    // A client may go at any moment.
                    let _ = match config {
                        None => served.serve(&mut BufReader::new(stream)),
                        Some(config) => {
                            let session = rustls::ServerConnection::new(config).unwrap();
                            served.serve(&mut BufReader::new(rustls::StreamOwned::new(session, stream)))
                        }
                    };
                    // There are copies of it, so that it does not end by itself.
                    let _ = connection.shutdown(Shutdown::Both);
                });
            }
        });
        Self { port, tls, shared }
    }

    /// `https://127.0.0.1:PORT`, with what stands between.
    pub fn url(&self, who: &str) -> String {
        format!("http{}://{who}127.0.0.1:{}", if self.tls { "s" } else { "" }, self.port)
    }

    /// Lets the next requests of that kind go wrong.
    pub fn fail(&self, method: &'static str, part: &'static str, faults: &[Fault]) {
        self.shared.faults.lock().unwrap().extend(faults.iter().map(|fault| (method, part, *fault)));
    }

    /// Faults that did not happen yet.
    pub fn faults_left(&self) -> usize {
        self.shared.faults.lock().unwrap().len()
    }

    /// Requests until now.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Is gone, with all connections.
    pub fn vanish(&self) {
        self.shared.vanish(self.port);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.vanish();
    }
}

fn secured() -> Arc<rustls::ServerConfig> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let certificate = CertificateDer::from_pem_file(tls().join("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(tls().join("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider);
    let config = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    Arc::new(config.with_single_cert(vec![certificate], key).unwrap())
}

impl Shared {
    fn vanish(&self, port: u16) {
        self.end.store(true, Ordering::SeqCst);
        // Wakes the listener, which then goes away.
        let _ = TcpStream::connect(("127.0.0.1", port));
        for connection in self.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    fn fault(&self, request: &Request) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let is_it = |(method, part, _): &(&str, &str, Fault)| {
            *method == request.method && request.path.contains(part)
        };
        let at = faults.iter().position(is_it)?;
        faults.remove(at).map(|(_, _, fault)| fault)
    }

    fn serve<S: Read + Write>(&self, stream: &mut BufReader<S>) -> std::io::Result<()> {
        while let Some(request) = read(stream)? {
            if self.end.load(Ordering::SeqCst) {
                break;
            }
            self.requests.fetch_add(1, Ordering::SeqCst);
            let fault = self.fault(&request);
            let reply = match fault {
                Some(Fault::Break) => break,
                Some(Fault::Excuse(status)) => Reply::of(status, "an excuse"),
                _ => self.service.answer(&request),
            };
            if matches!(fault, Some(Fault::Swallow)) {
                break;
            }
            let mut text = format!("HTTP/1.1 {} X\r\ncontent-length: {}\r\n", reply.status, reply.body.len());
            for (name, value) in &reply.headers {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
            let out = stream.get_mut();
            out.write_all(text.as_bytes())?;
            out.write_all(b"\r\n")?;
            if matches!(fault, Some(Fault::Half)) {
                out.write_all(&reply.body[..reply.body.len() / 2])?;
                out.flush()?;
                break;
            }
            if request.method != "HEAD" {
                out.write_all(&reply.body)?;
            }
            out.flush()?;
        }
        Ok(())
    }
}

/// The next request; nothing at the end of the connection.
fn read<S: Read>(stream: &mut BufReader<S>) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request =
        Request { method, path: path.to_owned(), query: query.to_owned(), ..Request::default() };
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    if request.header("transfer-encoding").is_some() {
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            let count = u64::from_str_radix(line.trim(), 16).unwrap();
            stream.take(count).read_to_end(&mut request.body)?;
            stream.read_line(&mut line)?;
            if count == 0 {
                break;
            }
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    request.body.extend(body);
    Ok(Some(request))
}
