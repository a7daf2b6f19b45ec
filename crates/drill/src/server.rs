//! A program of this host that serves the machine over its network while it is saved and recovered: the place of a backup.
//! It listens on the loopback interface alone (the machine reaches that as 10.0.2.2), and ends with its value.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::lab::{Lab, fresh_dir, make_dir, path, write};
use crate::{Error, Result};

/// How long it may take until it listens.
const LIMIT: Duration = Duration::from_secs(30);

/// What a scenario says of it. `${dir}` stands for its folder.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Server {
    /// The Debian package that brings its program.
    pub package: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The port that it listens on, on 127.0.0.1.
    pub port: u16,
    /// Folders below its own.
    #[serde(default)]
    pub folders: Vec<PathBuf>,
    /// Files below its own folder: name and content.
    #[serde(default)]
    pub files: BTreeMap<PathBuf, String>,
}

impl Server {
    /// What keeps it from being started, as a sentence.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.command.is_empty() || self.port < 1024 {
            return Err("the server needs a command and a port above 1023".to_owned());
        }
        let outside =
            |path: &&PathBuf| path.components().any(|part| !matches!(part, std::path::Component::Normal(_)));
        match self.folders.iter().chain(self.files.keys()).find(outside) {
            Some(path) => Err(format!("the server's {} must lie below its own folder", path.display())),
            None => Ok(()),
        }
    }

    /// Makes its folder, empty but for its own files.
    pub(crate) fn prepare(&self, dir: &Path) -> Result<()> {
        fresh_dir(dir)?;
        for folder in &self.folders {
            make_dir(&dir.join(folder))?;
        }
        for (name, text) in &self.files {
            write(&dir.join(name), text.replace("${dir}", &path(dir)))?;
        }
        Ok(())
    }

    /// Starts it, and waits until it listens.
    pub(crate) fn start(&self, lab: &Lab, dir: &Path) -> Result<Serving> {
        use std::os::unix::process::CommandExt;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let log = dir.join("log");
        let fail = |detail: String| Err(Error::Machine { detail, console: log.clone() });
        if TcpStream::connect(address).is_ok() {
            return fail(format!("something else listens on port {} already", self.port));
        }
        let output = std::fs::File::create(&log).map_err(sys::Error::io("create", &log))?;
        let errors = output.try_clone().map_err(sys::Error::io("open", &log))?;
        let child = Command::new("/usr/bin/setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .args(self.command.iter().map(|word| word.replace("${dir}", &path(dir))))
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(sys::Error::io("start", "/usr/bin/setpriv"))?;
        let mut serving = Serving { child };
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            lab.cancel().check()?;
            if let Ok(Some(status)) = serving.child.try_wait() {
                return fail(format!("{} ended with {status}", self.command.join(" ")));
            }
            if started.elapsed() > LIMIT {
                return fail(format!("{} does not listen on port {}", self.command.join(" "), self.port));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(serving)
    }
}

/// A server that runs.
pub(crate) struct Serving {
    child: Child,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> Server {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn it_keeps_to_its_folder() {
        let text = "package = 'x'\ncommand = ['x']\nport = 18730\n";
        assert!(server(&format!("{text}folders = ['a/b']\n[files]\n'c' = 'd'\n")).check().is_ok());
        assert!(server(&format!("{text}folders = ['../a']\n")).check().is_err());
        assert!(server(&format!("{text}[files]\n'/etc/passwd' = ''\n")).check().is_err());
        assert!(server("package = 'x'\ncommand = []\nport = 18730\n").check().is_err());
    }

    #[test]
    fn one_that_ends_at_once_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let lab = Lab::new(dir.path(), sys::Cancel::default(), |_| ());
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = server(&format!(
            "package = 'x'\ncommand = ['sh', '-c', 'echo ${{dir}}; exit 3']\nport = {port}\n"
        ));
        let folder = dir.path().join("server");
        server.prepare(&folder).unwrap();
        let error = server.start(&lab, &folder).err().unwrap().to_string();
        assert!(error.contains("listens on port"), "{error}");
        drop(listener);
        let error = server.start(&lab, &folder).err().unwrap().to_string();
        assert!(error.contains("ended with exit status: 3"), "{error}");
        assert_eq!(std::fs::read_to_string(folder.join("log")).unwrap(), format!("{}\n", folder.display()));
    }
}
