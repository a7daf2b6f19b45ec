//! The real machine.

use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::{Cancel, Cmd, Error, FileFacts, FsUsage, Output, Result, Sys};

/// Where programs are looked for, in this order; the caller's `PATH` is never used.
pub const SEARCH_PATH: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// How much of a program's standard error goes into an error message, in bytes.
const STDERR_TAIL: usize = 1024;

/// The door to the machine that this process runs on.
#[derive(Clone, Debug, Default)]
pub struct Real {
    pub(crate) cancel: Cancel,
}

impl Real {
    /// Programs are stopped (SIGTERM) when `cancel` is raised.
    pub fn new(cancel: Cancel) -> Self {
        Self { cancel }
    }

    pub(crate) fn command(&self, cmd: &Cmd) -> Result<Command> {
        let missing = || Error::NoProgram { program: cmd.program.clone() };
        let mut command = match &cmd.root {
            // The search happens inside the other root, by the chroot program's own execvp with our PATH.
            Some(root) => {
                let mut command = Command::new(self.which("chroot").ok_or_else(missing)?);
                command.arg(root).arg(&cmd.program);
                command
            }
            None => Command::new(self.which(&cmd.program).ok_or_else(missing)?),
        };
        command
            .args(&cmd.args)
            .env_clear()
            .env("PATH", SEARCH_PATH.join(":"))
            .env("LC_ALL", "C")
            .env("HOME", "/root")
            .envs(cmd.env.iter().map(|(k, v)| (k, v)))
            .stdin(if cmd.stdin.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Its own process group: Ctrl-C reaches us first, and we decide when the child stops.
            .process_group(0);
        Ok(command)
    }

    pub(crate) fn wait(&self, child: &mut Child, cmd: &Cmd) -> Result<std::process::ExitStatus> {
        let started = Instant::now();
        let mut pause = Duration::from_micros(300);
        loop {
            if let Some(status) = child.try_wait().map_err(Error::io("wait for", cmd.program.clone()))? {
                return Ok(status);
            }
            let over = started.elapsed() > cmd.timeout;
            if over || self.cancel.is_raised() {
                stop(child);
                return Err(if over {
                    Error::Timeout { command: cmd.line(), seconds: cmd.timeout.as_secs() }
                } else {
                    Error::Cancelled
                });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    /// What a program's end means.
    pub(crate) fn judge(
        cmd: &Cmd,
        status: std::process::ExitStatus,
        stdout: Vec<u8>,
        stderr: Vec<u8>,
    ) -> Result<Output> {
        tracing::debug!(command = cmd.line(), %status, "ran");
        if !stderr.is_empty() {
            tracing::debug!(stderr = %String::from_utf8_lossy(&stderr).trim_end(), "said");
        }
        match status.code() {
            Some(code) if cmd.accept.contains(&code) => Ok(Output { stdout, stderr, code }),
            code => {
                let said = if stderr.is_empty() { &stdout } else { &stderr };
                let from = said.len().saturating_sub(STDERR_TAIL);
                Err(Error::Failed {
                    command: cmd.line(),
                    status: match (code, status.signal()) {
                        (Some(code), _) => format!("exit code {code}"),
                        (None, Some(signal)) => format!("signal {signal}"),
                        (None, None) => "an unknown status".to_owned(),
                    },
                    code,
                    stderr: String::from_utf8_lossy(&said[from..]).trim().to_owned(),
                })
            }
        }
    }
}

/// Ends a child and all of its process group: politely first, for good after two seconds.
fn stop(child: &mut Child) {
    let Some(group) = rustix::process::Pid::from_raw(child.id().cast_signed()) else { return };
    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::TERM);
    for _ in 0..40 {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    let _ = child.wait();
}

/// Ends a program and all of its process group at once, by its id.
pub(crate) fn end_group(id: u32) {
    if let Some(group) = rustix::process::Pid::from_raw(id.cast_signed()) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

/// How long the pipes of a program that has ended may stay open: a daemon that it left behind holds them for ever.
const LINGER: Duration = Duration::from_secs(2);

/// What a program prints, collected by a thread of its own.
pub(crate) struct Drain {
    bytes: Arc<Mutex<Vec<u8>>>,
    closed: Receiver<()>,
}

impl Drain {
    pub(crate) fn start(pipe: Option<impl Read + Send + 'static>) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let (sender, closed) = channel();
        let collected = Arc::clone(&bytes);
        std::thread::spawn(move || {
            let mut pipe = pipe;
            let mut buffer = [0_u8; 8192];
            // An error here only shortens what we can show; the exit status decides.
            while let Some(Ok(got @ 1..)) = pipe.as_mut().map(|pipe| pipe.read(&mut buffer)) {
                if let Ok(mut all) = collected.lock() {
                    all.extend_from_slice(&buffer[..got]);
                }
            }
            let _ = sender.send(());
        });
        Self { bytes, closed }
    }

    /// Everything printed until the pipe was closed, or until now if it stays open.
    pub(crate) fn finish(self) -> Vec<u8> {
        let _ = self.closed.recv_timeout(LINGER);
        self.bytes.lock().map(|mut bytes| std::mem::take(&mut *bytes)).unwrap_or_default()
    }
}

impl Sys for Real {
    fn run(&self, cmd: &Cmd) -> Result<Output> {
        self.cancel.check()?;
        let started = Instant::now();
        let mut child = self.command(cmd)?.spawn().map_err(Error::io("start", cmd.program.clone()))?;
        let stdout = Drain::start(child.stdout.take());
        let stderr = Drain::start(child.stderr.take());
        if let (Some(text), Some(mut pipe)) = (&cmd.stdin, child.stdin.take()) {
            // A program that does not read its input breaks the pipe: its exit status tells why.
            let _ = pipe.write_all(text.expose_bytes());
        }
        let status = self.wait(&mut child, cmd)?;
        let (stdout, stderr) = (stdout.finish(), stderr.finish());
        tracing::debug!(command = cmd.line(), ms = started.elapsed().as_millis(), "took");
        Self::judge(cmd, status, stdout, stderr)
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        std::fs::read(path).map_err(Error::io("read", path))
    }

    fn read_at(&self, path: &Path, offset: u64, len: usize) -> Result<Vec<u8>> {
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = std::fs::File::open(path)?;
            file.seek(SeekFrom::Start(offset))?;
            let mut bytes = Vec::with_capacity(len);
            file.take(len as u64).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(Error::io("read", path))
    }

    fn list(&self, path: &Path) -> Result<Vec<String>> {
        let list = || -> std::io::Result<Vec<String>> {
            let mut names = std::fs::read_dir(path)?
                .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
                .collect::<std::io::Result<Vec<_>>>()?;
            names.sort();
            Ok(names)
        };
        list().map_err(Error::io("list", path))
    }

    fn read_link(&self, path: &Path) -> Result<PathBuf> {
        std::fs::read_link(path).map_err(Error::io("read the link", path))
    }

    fn canonicalize(&self, path: &Path) -> Result<PathBuf> {
        std::fs::canonicalize(path).map_err(Error::io("resolve", path))
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn which(&self, program: &str) -> Option<PathBuf> {
        let executable =
            |path: &Path| rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file();
        if program.contains('/') {
            let path = PathBuf::from(program);
            return executable(&path).then_some(path);
        }
        SEARCH_PATH.iter().map(|dir| Path::new(dir).join(program)).find(|path| executable(path))
    }

    fn usage(&self, path: &Path) -> Result<FsUsage> {
        let stat = rustix::fs::statvfs(path)
            .map_err(|error| Error::io("ask for the free space of", path)(error.into()))?;
        Ok(FsUsage {
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
            free: stat.f_bfree.saturating_mul(stat.f_frsize),
            available: stat.f_bavail.saturating_mul(stat.f_frsize),
            files: stat.f_files.saturating_sub(stat.f_ffree),
        })
    }

    fn file(&self, path: &Path) -> Result<FileFacts> {
        let found = std::fs::symlink_metadata(path).map_err(Error::io("look at", path))?;
        if !found.is_file() {
            return Err(Error::Answer {
                what: path.display().to_string(),
                detail: "it is no regular file".to_owned(),
            });
        }
        Ok(FileFacts {
            size: found.size(),
            allocated: found.blocks().saturating_mul(512),
            mode: found.mode() & 0o7777,
            uid: found.uid(),
            gid: found.gid(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_its_last_words() {
        let error = Real::default().run(&Cmd::new("ls").arg("/no/such/dir")).unwrap_err().to_string();
        assert!(error.contains("'ls /no/such/dir' failed with exit code 2"), "{error}");
        assert!(error.contains("No such file"), "{error}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = Real::default().run(&Cmd::new("no-such-program")).unwrap_err();
        assert!(error.is_not_found());
    }

    #[test]
    fn a_raised_flag_stops_the_child() {
        let cancel = Cancel::default();
        let door = Real::new(cancel.clone());
        let thread = std::thread::spawn(move || door.run(&Cmd::new("sleep").arg("600")));
        std::thread::sleep(Duration::from_millis(100));
        cancel.raise();
        assert!(matches!(thread.join().unwrap(), Err(Error::Cancelled)));
    }

    #[test]
    fn a_program_that_hangs_is_stopped() {
        let cmd = Cmd::new("sleep").arg("600").timeout(Duration::from_millis(50));
        assert!(matches!(Real::default().run(&cmd), Err(Error::Timeout { .. })));
    }

    #[test]
    fn a_daemon_left_behind_does_not_hold_us() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("daemon");
        std::fs::write(&script, "#!/bin/sh\nsleep 600 &\necho $!\n").unwrap();
        std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let output = Real::default().run(&Cmd::new(script.to_string_lossy())).unwrap();
        let daemon: i32 = output.text().trim().parse().unwrap();
        assert!(Path::new("/proc").join(daemon.to_string()).exists(), "waited until the daemon had ended");
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(daemon).unwrap(),
            rustix::process::Signal::KILL,
        )
        .unwrap();
    }

    #[test]
    fn standard_input_arrives() {
        let output = Real::default().run(&Cmd::new("cat").stdin("äö\n")).unwrap();
        assert_eq!(output.text(), "äö\n");
    }
}
