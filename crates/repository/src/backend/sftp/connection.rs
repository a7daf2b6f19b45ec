//! The conversation with an sftp server: a request for each thing that a repository wants of a file, and the server's answer
//! to it. It never decides what a refusal means, and knows nothing of a repository.

use std::io::{BufReader, BufWriter, Write};
use std::process::{Child, ChildStdin, ChildStdout};

use crate::backend::wire::{self, Fields, Packet, kind, status};

/// Bytes in one request: every server takes so many.
const BLOCK: usize = 32 << 10;
/// Requests on their way at a time.
pub(super) const WINDOW: usize = 64;

/// A program that speaks with the server, and what the server can do. It ends with it.
pub(super) struct Connection {
    child: Child,
    input: BufWriter<ChildStdin>,
    output: BufReader<ChildStdout>,
    next: u32,
    /// Whether the server can put a file in the place of another, and flush one.
    posix_rename: bool,
    fsync: bool,
    /// Whether the connection was lost: nothing more is asked then.
    pub(super) broken: bool,
}

/// What a server said.
pub(super) enum Refusal {
    /// One of its numbers, with its words.
    Status(u32, String),
    /// The connection does not work any more.
    Broken(std::io::Error),
}

pub(super) type Answer<T> = std::result::Result<T, Refusal>;

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Self::Broken(error)
    }
}

pub(super) fn confused() -> Refusal {
    Refusal::Broken(std::io::Error::new(std::io::ErrorKind::InvalidData, "the server's answer is malformed"))
}

impl Connection {
    /// Greets the server at the other end of the program's pipes.
    pub(super) fn begin(child: Child, input: ChildStdin, output: ChildStdout) -> Answer<Self> {
        let (input, output) =
            (BufWriter::with_capacity(BLOCK * 2, input), BufReader::with_capacity(BLOCK * 2, output));
        let mut connection =
            Self { child, input, output, next: 0, posix_rename: false, fsync: false, broken: false };
        connection.greet()?;
        Ok(connection)
    }

    fn greet(&mut self) -> Answer<()> {
        let mut hello = Packet::bare(kind::INIT);
        hello.number(3);
        self.input.write_all(&hello.finish())?;
        self.input.flush()?;
        let answer = self.read()?;
        let mut fields = Fields::new(&answer);
        if fields.byte() != Some(kind::VERSION) || fields.number().is_none_or(|version| version < 3) {
            return Err(confused());
        }
        while let (Some(name), Some(_)) = (fields.bytes(), fields.bytes()) {
            self.posix_rename |= name == b"posix-rename@openssh.com";
            self.fsync |= name == b"fsync@openssh.com";
        }
        Ok(())
    }

    /// One packet, without its length.
    fn read(&mut self) -> std::io::Result<Vec<u8>> {
        wire::read(&mut self.output)
    }

    fn send(&mut self, kind: u8, fill: impl FnOnce(&mut Packet)) -> std::io::Result<u32> {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        let mut packet = Packet::bare(kind);
        packet.number(number);
        fill(&mut packet);
        self.input.write_all(&packet.finish())?;
        Ok(number)
    }

    /// The answer to the oldest request: its kind and the rest behind its number.
    fn answer(&mut self, number: u32) -> Answer<(u8, Vec<u8>)> {
        self.input.flush()?;
        let answer = self.read()?;
        let mut fields = Fields::new(&answer);
        let (Some(kind), Some(found)) = (fields.byte(), fields.number()) else { return Err(confused()) };
        if found != number {
            return Err(confused());
        }
        Ok((kind, fields.rest().to_vec()))
    }

    fn expect(&mut self, number: u32, wanted: u8) -> Answer<Vec<u8>> {
        let (kind, rest) = self.answer(number)?;
        if kind == wanted { Ok(rest) } else { Err(refusal(kind, &rest)) }
    }

    pub(super) fn done(&mut self, number: u32) -> Answer<()> {
        let (kind, rest) = self.answer(number)?;
        match refusal(kind, &rest) {
            Refusal::Status(status::OK, _) => Ok(()),
            other => Err(other),
        }
    }

    fn open(&mut self, path: &str, flags: u32) -> Answer<Vec<u8>> {
        let number = self.send(kind::OPEN, |packet| {
            packet.bytes(path.as_bytes());
            packet.number(flags);
            wire::mode(packet, 0o600);
        })?;
        handle(&self.expect(number, kind::HANDLE)?)
    }

    fn close(&mut self, handle: &[u8]) -> Answer<()> {
        let number = self.send(kind::CLOSE, |packet| packet.bytes(handle))?;
        self.done(number)
    }

    pub(super) fn send_make(&mut self, path: &str) -> std::io::Result<u32> {
        self.send(kind::MKDIR, |packet| {
            packet.bytes(path.as_bytes());
            wire::mode(packet, 0o700);
        })
    }

    pub(super) fn make(&mut self, path: &str) -> Answer<()> {
        let number = self.send_make(path)?;
        self.done(number)
    }

    pub(super) fn remove(&mut self, path: &str) -> Answer<()> {
        let number = self.send(kind::REMOVE, |packet| packet.bytes(path.as_bytes()))?;
        self.done(number)
    }

    pub(super) fn size(&mut self, path: &str) -> Answer<u64> {
        let number = self.send(kind::STAT, |packet| packet.bytes(path.as_bytes()))?;
        let rest = self.expect(number, kind::ATTRS)?;
        Fields::new(&rest).size().ok_or_else(confused)
    }

    /// Names and sizes of the files in these directories. The requests for all of them are on their way at the same time: a
    /// repository has 256 directories, and a slow connection would take a minute to look into one after the other.
    pub(super) fn list(&mut self, paths: &[String]) -> Answer<Vec<(String, u64)>> {
        let mut sent = Vec::new();
        for path in paths {
            sent.push(self.send(kind::OPENDIR, |packet| packet.bytes(path.as_bytes()))?);
        }
        let (mut handles, mut failed) = (Vec::new(), None);
        for number in sent {
            let (answered, rest) = self.answer(number)?;
            if answered == kind::HANDLE {
                handles.push(handle(&rest)?);
                continue;
            }
            match refusal(answered, &rest) {
                // A directory that is not there has no files.
                Refusal::Status(status::NO_SUCH_FILE, _) => {}
                Refusal::Status(code, text) => failed = failed.or(Some(Refusal::Status(code, text))),
                broken => return Err(broken),
            }
        }
        let (mut found, mut open) = (Vec::new(), handles.clone());
        while !open.is_empty() {
            let mut sent = Vec::new();
            for handle in std::mem::take(&mut open) {
                sent.push((self.send(kind::READDIR, |packet| packet.bytes(&handle))?, handle));
            }
            for (number, handle) in sent {
                let (answered, rest) = self.answer(number)?;
                if answered == kind::NAME {
                    names(&rest, &mut found).ok_or_else(confused)?;
                    open.push(handle);
                    continue;
                }
                match refusal(answered, &rest) {
                    Refusal::Status(status::EOF, _) => {}
                    Refusal::Status(code, text) => failed = failed.or(Some(Refusal::Status(code, text))),
                    broken => return Err(broken),
                }
            }
        }
        let mut sent = Vec::new();
        for handle in &handles {
            sent.push(self.send(kind::CLOSE, |packet| packet.bytes(handle))?);
        }
        for number in sent {
            self.done(number)?;
        }
        failed.map_or(Ok(found), Err)
    }

    /// That many bytes from there on, several requests at a time. A server may answer with less than was asked for.
    pub(super) fn fetch(&mut self, path: &str, offset: u64, length: usize) -> Answer<Vec<u8>> {
        let handle = self.open(path, wire::READ)?;
        let mut bytes = vec![0; length];
        let mut wanted: Vec<(usize, usize)> =
            (0..length).step_by(BLOCK).map(|at| (at, BLOCK.min(length - at))).rev().collect();
        let mut sent = std::collections::VecDeque::new();
        let mut failed = None;
        loop {
            while failed.is_none() && sent.len() < WINDOW {
                let Some((at, count)) = wanted.pop() else { break };
                let number = self.send(kind::READ, |packet| {
                    packet.bytes(&handle);
                    packet.long(offset + at as u64);
                    packet.number(u32::try_from(count).unwrap_or(0));
                })?;
                sent.push_back((number, at, count));
            }
            let Some((number, at, count)) = sent.pop_front() else { break };
            let (answered, rest) = self.answer(number)?;
            match (answered, Fields::new(&rest).bytes()) {
                (kind::DATA, Some(data)) if !data.is_empty() && data.len() <= count => {
                    bytes[at..at + data.len()].copy_from_slice(data);
                    if data.len() < count {
                        wanted.push((at + data.len(), count - data.len()));
                    }
                }
                (kind::DATA, _) => return Err(confused()),
                _ => failed = failed.or(Some(refusal(answered, &rest))),
            }
        }
        self.close(&handle)?;
        match failed {
            None => Ok(bytes),
            Some(Refusal::Status(status::EOF, _)) => {
                Err(Refusal::Status(status::FAILURE, "it is shorter than it should be".into()))
            }
            Some(other) => Err(other),
        }
    }

    pub(super) fn store(&mut self, path: &str, bytes: &[u8]) -> Answer<()> {
        let handle = self.open(path, wire::WRITE | wire::CREATE | wire::TRUNCATE)?;
        let mut sent = std::collections::VecDeque::new();
        let mut failed = None;
        let mut blocks = bytes.chunks(BLOCK).enumerate();
        loop {
            while failed.is_none() && sent.len() < WINDOW {
                let Some((index, block)) = blocks.next() else { break };
                sent.push_back(self.send(kind::WRITE, |packet| {
                    packet.bytes(&handle);
                    packet.long((index * BLOCK) as u64);
                    packet.bytes(block);
                })?);
            }
            let Some(number) = sent.pop_front() else { break };
            match self.done(number) {
                Err(Refusal::Status(code, text)) => failed = failed.or(Some(Refusal::Status(code, text))),
                other => other?,
            }
        }
        if failed.is_none() && self.fsync {
            let number = self.send(kind::EXTENDED, |packet| {
                packet.bytes(b"fsync@openssh.com");
                packet.bytes(&handle);
            })?;
            failed = match self.done(number) {
                Err(Refusal::Status(code, text)) => Some(Refusal::Status(code, text)),
                other => other.map(|()| None)?,
            };
        }
        self.close(&handle)?;
        failed.map_or(Ok(()), Err)
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> Answer<()> {
        let extended = self.posix_rename;
        let number = self.send(if extended { kind::EXTENDED } else { kind::RENAME }, |packet| {
            if extended {
                packet.bytes(b"posix-rename@openssh.com");
            }
            packet.bytes(from.as_bytes());
            packet.bytes(to.as_bytes());
        })?;
        self.done(number)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The program ends with the connection; one that does not is ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Adds the names of an answer; `None` where it is malformed.
fn names(rest: &[u8], found: &mut Vec<(String, u64)>) -> Option<()> {
    let mut fields = Fields::new(rest);
    for _ in 0..fields.number()? {
        let name = fields.bytes()?;
        fields.bytes()?;
        found.push((String::from_utf8_lossy(name).into_owned(), fields.size()?));
    }
    Some(())
}

fn handle(rest: &[u8]) -> Answer<Vec<u8>> {
    Fields::new(rest).bytes().map(<[u8]>::to_vec).ok_or_else(confused)
}

fn refusal(answered: u8, rest: &[u8]) -> Refusal {
    let mut fields = Fields::new(rest);
    match (answered, fields.number()) {
        (kind::STATUS, Some(code)) => {
            let text = fields.bytes().map(|text| String::from_utf8_lossy(text).into_owned());
            Refusal::Status(
                code,
                text.filter(|text| !text.is_empty()).unwrap_or_else(|| format!("error {code}")),
            )
        }
        _ => confused(),
    }
}
