//! A repository on another machine, by sftp. The connection is a program's standard input and output (`ssh -s HOST sftp`), so that
//! keys, agents, known hosts and configuration of ssh are those that its owner has. Files get their names when they are
//! complete. What is said over the connection, and what is answered, is in `connection`.

use std::process::{Command, Stdio};
use std::sync::Mutex;

use connection::{Answer, Connection, Refusal, WINDOW, confused};

use super::wire::status;
use super::{Backend, FileKind};
use crate::error::{Error, Result};
use crate::id::Id;
use crate::locked;

mod connection;

/// The way to the other machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// As `ssh` takes it.
    pub user: Option<String>,
    /// Name or address.
    pub host: String,
    /// Where it is not the one that ssh's configuration names.
    pub port: Option<u16>,
    /// The directory there; relative to the home directory where it does not begin with `/`.
    pub path: String,
}

impl Address {
    /// The program that connects, with its arguments.
    pub fn command(&self) -> Vec<String> {
        let mut command: Vec<String> = vec!["ssh".into()];
        if let Some(port) = self.port {
            command.extend(["-p".into(), port.to_string()]);
        }
        if let Some(user) = &self.user {
            command.extend(["-l".into(), user.clone()]);
        }
        // A dead connection is noticed, instead of waited for.
        command.extend(
            ["-o", "ServerAliveInterval=60", "-o", "ServerAliveCountMax=4", "-s", "--"].map(String::from),
        );
        command.extend([self.host.clone(), "sftp".into()]);
        command
    }
}

/// The connection, and the directory on the other machine.
pub struct Sftp {
    top: String,
    place: String,
    connection: Mutex<Connection>,
}

impl Sftp {
    /// Connects by running that program.
    ///
    /// # Errors
    /// It cannot be run, or there is no sftp at the other end.
    pub fn connect(command: &[String], top: &str, place: &str) -> Result<Self> {
        let what = || format!("connect to {place}");
        let (program, arguments) = command.split_first().ok_or_else(|| {
            Error::io(what())(std::io::Error::new(std::io::ErrorKind::InvalidInput, "no program was named"))
        })?;
        // What the program has to say (a question for a passphrase, a refusal) is for the person at the terminal.
        let mut child = Command::new(program)
            .args(arguments)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Error::io(format!("run {program}")))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::io(what())(std::io::Error::other("the program has no pipes")));
        };
        let connection =
            Connection::begin(child, input, output).map_err(|refusal| told(refusal, &what(), place))?;
        let top = top.trim_end_matches('/').to_owned();
        Ok(Self { top, place: place.to_owned(), connection: Mutex::new(connection) })
    }

    fn path(&self, below: &str) -> String {
        format!("{}/{below}", self.top)
    }

    /// Runs an exchange; its failure is told with `what`.
    fn with<T>(&self, what: &str, run: impl FnOnce(&mut Connection) -> Answer<T>) -> Result<T> {
        self.try_with(what, run)?.map_err(|(code, text)| told(Refusal::Status(code, text), what, &self.place))
    }

    /// The same; what the server refuses comes back as number and words.
    fn try_with<T>(
        &self,
        what: &str,
        run: impl FnOnce(&mut Connection) -> Answer<T>,
    ) -> Result<std::result::Result<T, (u32, String)>> {
        let mut connection = locked(&self.connection);
        if connection.broken {
            let lost = std::io::Error::new(std::io::ErrorKind::BrokenPipe, "the connection was lost");
            return Err(Error::io(what)(lost));
        }
        match run(&mut connection) {
            Ok(value) => Ok(Ok(value)),
            Err(Refusal::Status(code, text)) => Ok(Err((code, text))),
            Err(refusal) => {
                connection.broken = true;
                Err(told(refusal, what, &self.place))
            }
        }
    }

    fn make(&self, path: &str) -> Result<()> {
        let made = self.try_with(&format!("make {path}"), |connection| connection.make(path))?;
        // "Failure" is all that most servers say of a directory that is there; whoever writes into it learns more.
        if let Err((code, text)) = made
            && code != status::FAILURE
        {
            return Err(told(Refusal::Status(code, text), &format!("make {path}"), &self.place));
        }
        Ok(())
    }
}

/// As an error of this room.
fn told(refusal: Refusal, what: &str, place: &str) -> Error {
    let what = format!("{what} at {place}");
    match refusal {
        Refusal::Status(status::NO_SUCH_FILE, text) => {
            Error::io(what)(std::io::Error::new(std::io::ErrorKind::NotFound, text))
        }
        Refusal::Status(status::PERMISSION_DENIED, text) => {
            Error::io(what)(std::io::Error::new(std::io::ErrorKind::PermissionDenied, text))
        }
        Refusal::Status(_, text) => Error::io(what)(std::io::Error::other(text)),
        Refusal::Broken(error) => Error::Io { what, source: error },
    }
}

impl Backend for Sftp {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn create(&self) -> Result<()> {
        self.make(&self.top)?;
        for kind in FileKind::DIRECTORIES {
            self.make(&self.path(kind.directory()))?;
        }
        let below: Vec<String> = (0..=u8::MAX).map(|byte| self.path(&format!("data/{byte:02x}"))).collect();
        self.with("make the directories", |connection| {
            for some in below.chunks(WINDOW) {
                let mut sent = Vec::new();
                for path in some {
                    sent.push(connection.send_make(path)?);
                }
                for number in sent {
                    match connection.done(number) {
                        Err(Refusal::Status(code, text)) if code != status::FAILURE => {
                            return Err(Refusal::Status(code, text));
                        }
                        Err(Refusal::Broken(error)) => return Err(Refusal::Broken(error)),
                        _ => {}
                    }
                }
            }
            Ok(())
        })
    }

    fn has(&self, kind: FileKind, id: Id) -> Result<bool> {
        let path = self.path(&kind.path(id));
        match self.try_with(&format!("look for {path}"), |connection| connection.size(&path))? {
            Ok(_) => Ok(true),
            Err((status::NO_SUCH_FILE, _)) => Ok(false),
            Err((code, text)) => {
                Err(told(Refusal::Status(code, text), &format!("look for {path}"), &self.place))
            }
        }
    }

    fn list(&self, kind: FileKind) -> Result<Vec<(Id, u64)>> {
        let directories: Vec<String> = match kind {
            FileKind::Pack => (0..=u8::MAX).map(|byte| self.path(&format!("data/{byte:02x}"))).collect(),
            _ => vec![self.path(kind.directory())],
        };
        let what = format!("list {}", self.path(kind.directory()));
        let mut found = Vec::new();
        for some in directories.chunks(WINDOW) {
            let names = self.with(&what, |connection| connection.list(some))?;
            found.extend(names.into_iter().filter_map(|(name, size)| Some((Id::parse(&name)?, size))));
        }
        Ok(found)
    }

    fn read(&self, kind: FileKind, id: Id) -> Result<Vec<u8>> {
        let path = self.path(&kind.path(id));
        self.with(&format!("read {path}"), |connection| {
            let length = usize::try_from(connection.size(&path)?).map_err(|_| confused())?;
            connection.fetch(&path, 0, length)
        })
    }

    fn read_range(&self, pack: Id, offset: u64, length: usize) -> Result<Vec<u8>> {
        let path = self.path(&FileKind::Pack.path(pack));
        self.with(&format!("read {path}"), |connection| connection.fetch(&path, offset, length))
    }

    fn write(&self, kind: FileKind, id: Id, bytes: &[u8]) -> Result<()> {
        let path = self.path(&kind.path(id));
        let temporary = format!("{path}-tmp-{}", std::process::id());
        let store = |connection: &mut Connection| {
            let result =
                connection.store(&temporary, bytes).and_then(|()| connection.rename(&temporary, &path));
            if matches!(result, Err(Refusal::Status(..))) {
                let _ = connection.remove(&temporary);
            }
            result
        };
        self.with(&format!("write {path}"), store)
    }

    fn remove(&self, kind: FileKind, id: Id) -> Result<()> {
        let path = self.path(&kind.path(id));
        match self.try_with(&format!("remove {path}"), |connection| connection.remove(&path))? {
            Ok(()) | Err((status::NO_SUCH_FILE, _)) => Ok(()),
            Err((code, text)) => {
                Err(told(Refusal::Status(code, text), &format!("remove {path}"), &self.place))
            }
        }
    }
}
