//! What a person does while a machine recovers: waits for the serial console, types there, and logs in over the
//! network with this host's own ssh client. The machine is given nothing that a person would not give it.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use regex_lite::Regex;
use sys::Cmd;

use crate::Result;
use crate::helper::quote;
use crate::lab::{Lab, path, read, write};
use crate::machine::Running;
use crate::scenario::Say;

/// What ssh ends with when it was not let in.
const NOT_IN: i32 = 255;

/// The way into the machine over the network, as root.
pub(crate) struct Login {
    port: u16,
    /// The program that ssh asks for the password.
    askpass: PathBuf,
    /// All that was run, and what it printed.
    log: PathBuf,
}

impl Login {
    /// Takes a free port of this host, and notes the password for ssh in `dir`.
    pub(crate) fn new(dir: &Path, password: &str) -> Result<Self> {
        // Free again when this is dropped; QEMU takes it a moment later, and says so if somebody else did.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .map_err(sys::Error::io("find a free port on", "127.0.0.1"))?
            .port();
        let askpass = dir.join("askpass");
        write(&askpass, format!("#!/bin/sh\nprintf '%s\\n' {}\n", quote(password)))?;
        std::fs::set_permissions(&askpass, std::fs::Permissions::from_mode(0o700))
            .map_err(sys::Error::io("make executable", &askpass))?;
        let log = dir.join("ssh.log");
        write(&log, "")?;
        Ok(Self { port, askpass, log })
    }

    /// The port of this host that has to lead to the machine's ssh server.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    fn ssh(&self, command: &str, limit: Duration) -> Cmd {
        // The rescue system makes its host keys anew, so there is nothing to know them by.
        Cmd::new("ssh")
            .args(["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
            .args(["-o", "LogLevel=ERROR", "-o", "ConnectTimeout=60", "-o", "ConnectionAttempts=1"])
            .args(["-o", "PreferredAuthentications=password", "-o", "NumberOfPasswordPrompts=1"])
            .args(["-p", &self.port.to_string(), "root@127.0.0.1", command])
            .env("SSH_ASKPASS", path(&self.askpass))
            .env("SSH_ASKPASS_REQUIRE", "force")
            .accept(&[NOT_IN])
            .timeout(limit)
    }

    /// Runs a command in the machine, once it lets us in. Gives what the command printed.
    fn run(&self, lab: &Lab, running: &mut Running<'_>, command: &str, limit: Duration) -> Result<String> {
        let output = loop {
            let output = lab.sys().run(&self.ssh(command, limit.saturating_sub(running.since())))?;
            if output.code != NOT_IN {
                break output.text();
            }
            if running.since() > limit || !running.is_on()? {
                let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                return Err(running.error(format!("nobody can log in over ssh: {said}")));
            }
            lab.cancel().check()?;
            std::thread::sleep(Duration::from_secs(1));
        };
        let before = read(&self.log)?;
        write(&self.log, format!("{before}# {command}\n{output}\n"))?;
        Ok(output)
    }
}

/// Has the dialog: waits for each of the patterns behind the one before, and does what is to be done then.
pub(crate) fn converse(
    lab: &Lab,
    running: &mut Running<'_>,
    dialog: &[Say],
    login: Option<&Login>,
    limit: Duration,
) -> Result<()> {
    let mut heard = Vec::new();
    for say in dialog {
        heard.push(say.wait.clone());
        running.says(&heard, limit)?;
        if let Some(keys) = &say.send {
            running.type_in(keys)?;
        }
        if let (Some(command), Some(login)) = (&say.ssh, login) {
            let output = login.run(lab, running, command, limit)?;
            if let Some(answer) = say.answer.as_ref().filter(|answer| !matches(&output, answer)) {
                let output = output.trim();
                return Err(
                    running.error(format!("over ssh, '{command}' printed '{output}' and not '{answer}'"))
                );
            }
        }
    }
    Ok(())
}

fn matches(output: &str, pattern: &str) -> bool {
    Regex::new(pattern).is_ok_and(|regex| regex.is_match(output))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_in_no_command_line() {
        let dir = tempfile::tempdir().unwrap();
        let login = Login::new(dir.path(), "it's $ecret").unwrap();
        let line = login.ssh("id -u", Duration::ZERO).line();
        assert!(line.contains(&format!("-p {} root@127.0.0.1 'id -u'", login.port())), "{line}");
        assert!(!line.contains("ecret"), "{line}");
        let script = std::fs::read_to_string(&login.askpass).unwrap();
        assert_eq!(script, "#!/bin/sh\nprintf '%s\\n' 'it'\\''s $ecret'\n");
        assert_eq!(std::fs::metadata(&login.askpass).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn an_answer_is_looked_for_in_all_lines() {
        assert!(matches("rear 3.0\ncharlie\n", r"rear [0-9](?s:.)*charlie"));
        assert!(!matches("charlie\n", r"rear [0-9]"));
    }
}
