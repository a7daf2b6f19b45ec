//! Runs rsync and says in sentences how it ended. Every run is one argument list without a shell; a password is read by
//! rsync from a private file, and is in no argument and no environment.

use std::path::PathBuf;
use std::time::Duration;

use sys::{Cmd, Output, Sys};

use super::Place;
use crate::Error;

/// A transfer may take days; a peer that says nothing for [`SILENCE`] is given up long before.
const LIMIT: Duration = Duration::from_secs(30 * 24 * 3600);
/// Seconds without a byte after which the other side counts as gone.
const SILENCE: u32 = 900;
/// Lines of rsync's own words that an error repeats.
const LINES: usize = 20;
/// Everything that rsync may say at its end.
const ANY_CODE: std::ops::RangeInclusive<i32> = 1..=255;

/// Why a run of rsync failed, as far as its exit code and its words tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No room where it writes.
    NoSpace,
    /// Some files could not be read or written; they are named.
    Partial,
    /// The other side cannot be reached, or went away.
    Unreachable,
    /// The other side does not let us in, or does not have what was asked for.
    Refused,
    /// Anything else.
    Other,
}

/// How rsync is run.
pub struct Rsync<'a> {
    /// The machine.
    pub sys: &'a dyn Sys,
    /// The remote shell with its options, without host and command.
    pub shell: Vec<String>,
    /// Variables for the remote shell (`SSH_AUTH_SOCK`); never a secret.
    pub environment: Vec<(String, String)>,
    /// A private file that holds the password for a daemon.
    pub password_file: Option<PathBuf>,
    /// The other side cannot store owners and attributes as such, and keeps them in attributes of a user.
    pub fake_super: bool,
    /// Whether access control lists and extended attributes are copied. They are in the manifest in any case.
    pub attributes: bool,
    /// Further options of every run, from the configuration.
    pub options: Vec<String>,
}

impl<'a> Rsync<'a> {
    /// rsync of this machine, and ssh that never asks anything.
    pub fn new(sys: &'a dyn Sys) -> Self {
        Self {
            sys,
            shell: Vec::new(),
            environment: Vec::new(),
            password_file: None,
            fake_super: false,
            attributes: true,
            options: Vec::new(),
        }
    }

    /// The remote shell for a place: its own or, where none is set, ssh that fails rather than waits for an answer.
    fn shell_for(&self, port: Option<u16>) -> Vec<String> {
        let mut words = self.shell.clone();
        if words.is_empty() {
            words = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=30", "-o", "ServerAliveInterval=30"]
                .map(str::to_owned)
                .to_vec();
        }
        if let Some(port) = port {
            words.extend(["-p".to_owned(), port.to_string()]);
        }
        words
    }

    fn cmd(&self, place: &Place) -> Cmd {
        let mut cmd = Cmd::new("rsync").timeout(LIMIT).accept(&ANY_CODE.collect::<Vec<_>>());
        match place {
            Place::Local { .. } => {}
            Place::Shell { port, .. } => {
                let words = self.shell_for(*port);
                // rsync splits this text itself, at blanks that are not in quotes.
                let quoted = words.iter().map(|word| match word.contains(' ') {
                    true => format!("\"{word}\""),
                    false => word.clone(),
                });
                cmd = cmd.arg(format!("--rsh={}", quoted.collect::<Vec<_>>().join(" ")));
            }
            Place::Daemon { .. } => {
                if let Some(file) = &self.password_file {
                    cmd = cmd.arg(format!("--password-file={}", file.display()));
                }
                cmd = cmd.arg("--contimeout=60");
            }
        }
        if !matches!(place, Place::Local { .. }) {
            cmd = cmd.arg(format!("--timeout={SILENCE}"));
            if self.fake_super {
                cmd = cmd.arg("--remote-option=--fake-super");
            }
        }
        for (name, value) in &self.environment {
            cmd = cmd.env(name, value);
        }
        cmd.args(self.options.iter().cloned())
    }

    /// What is kept of every file.
    pub(crate) fn fidelity(&self) -> Vec<String> {
        let mut words = vec!["-aHS".to_owned(), "--numeric-ids".to_owned()];
        if self.attributes {
            words.push("-AX".to_owned());
        }
        words
    }

    /// Runs rsync between this machine and the place. `what` completes "rsync could not …".
    ///
    /// # Errors
    /// Any end of rsync but success, told in a sentence.
    pub(crate) fn run(&self, place: &Place, what: &str, words: Vec<String>) -> Result<Output, Error> {
        let output = self.run_live(place, what, words)?;
        if output.code == 0 { Ok(output) } else { Err(failure(what, output.code, &output.stderr)) }
    }

    /// The same, where the source is a running machine: files that vanished meanwhile (exit code 24) are no failure.
    ///
    /// # Errors
    /// Any other end of rsync but success.
    pub(crate) fn run_live(&self, place: &Place, what: &str, words: Vec<String>) -> Result<Output, Error> {
        let output = self.sys.run(&self.cmd(place).args(words))?;
        if matches!(output.code, 0 | 24) {
            return Ok(output);
        }
        Err(failure(what, output.code, &output.stderr))
    }

    /// Runs a command on the other machine; `None` where there is no shell to run it.
    pub(crate) fn remote(&self, place: &Place, command: &[&str]) -> Result<Option<Output>, Error> {
        let Place::Shell { target, port, .. } = place else { return Ok(None) };
        let mut words = self.shell_for(*port);
        let program = words.remove(0);
        let mut cmd = Cmd::new(program).args(words).arg(target).args(command.iter().copied());
        for (name, value) in &self.environment {
            cmd = cmd.env(name, value);
        }
        let output = self.sys.run(&cmd.accept(&ANY_CODE.collect::<Vec<_>>()))?;
        Ok(Some(output))
    }
}

/// The error of a run that ended with this code.
fn failure(what: &str, code: i32, stderr: &[u8]) -> Error {
    let text = String::from_utf8_lossy(stderr);
    let is_summary = |line: &str| line.starts_with("rsync error:") || line.starts_with("rsync warning:");
    let lines: Vec<&str> =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !is_summary(line)).collect();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let cause = if says(&["No space left on device", "Disk quota exceeded", "(28)", "(122)"]) {
        Cause::NoSpace
    } else if says(&["auth failed", "Permission denied (", "Host key verification failed", "Unknown module"])
    {
        Cause::Refused
    } else {
        match code {
            5 => Cause::Refused,
            10 | 12 | 30 | 35 | 255 => Cause::Unreachable,
            23 | 24 => Cause::Partial,
            _ => Cause::Other,
        }
    };
    let mut detail = match (cause, code) {
        (Cause::NoSpace, _) => "there is no room left where it writes".to_owned(),
        (Cause::Refused, _) => "the other side refused it".to_owned(),
        (Cause::Unreachable, 30 | 35) => "the other side did not answer in time".to_owned(),
        (Cause::Unreachable, _) => "the connection failed or was lost".to_owned(),
        (Cause::Partial, _) => "some files could not be transferred".to_owned(),
        (Cause::Other, 127) => "there is no rsync on the other side".to_owned(),
        (Cause::Other, _) => "it failed".to_owned(),
    };
    detail.push_str(&format!(" (exit code {code})"));
    for line in lines.iter().take(LINES) {
        detail.push_str("\n- ");
        detail.push_str(line);
    }
    if lines.len() > LINES {
        detail.push_str(&format!("\n- and {} lines more", lines.len() - LINES));
    }
    Error::Rsync { what: what.to_owned(), cause, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(code: i32, stderr: &str) -> (Cause, String) {
        match failure("do it", code, stderr.as_bytes()) {
            Error::Rsync { cause, detail, .. } => (cause, detail),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn exit_codes_have_causes() {
        for (code, stderr, wanted) in [
            (11, "rsync: [receiver] write failed on \"/x\": No space left on device (28)\n", Cause::NoSpace),
            (
                12,
                "me@nas: Permission denied (publickey).\nrsync: connection unexpectedly closed\n",
                Cause::Refused,
            ),
            (5, "@ERROR: auth failed on module backup\n", Cause::Refused),
            (10, "rsync: failed to connect to nas: Connection refused (111)\n", Cause::Unreachable),
            (255, "ssh: connect to host nas port 22: No route to host\n", Cause::Unreachable),
            (30, "", Cause::Unreachable),
            (
                23,
                "rsync: [sender] send_files failed to open \"/etc/x\": Input/output error (5)\n",
                Cause::Partial,
            ),
            (1, "rsync: unknown option\n", Cause::Other),
        ] {
            assert_eq!(cause(code, stderr).0, wanted, "{code} {stderr}");
        }
    }

    #[test]
    fn a_failure_repeats_the_files_and_not_the_summary() {
        let stderr = "rsync: link_stat \"/etc/x\" failed\nrsync error: some files/attrs were not transferred (code 23)\n";
        let (_, detail) = cause(23, stderr);
        assert!(detail.contains("/etc/x") && !detail.contains("rsync error"), "{detail}");
        let many: String = (0..50).map(|n| format!("rsync: file{n}\n")).collect();
        assert!(cause(23, &many).1.ends_with("- and 30 lines more"));
    }
}
