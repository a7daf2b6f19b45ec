//! The recovery that the boot menu asked for. Unattended: `rear recover` without questions, its output on every
//! console, a reboot after success and only then. This file decides nothing about disks.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::cmdline::Options;
use super::consoles::{self, Console};
use super::power::{self, Action};
use super::screen::Screen;

/// All that the recovery printed.
pub const LOG: &str = "/var/log/rear/recover.log";

/// Seconds between the good news and the reboot.
const PAUSE: u64 = 3;

/// How much of the end of the standard error is kept, in bytes.
const TAIL: usize = 4096;

/// Recovers without a question. Returns after a failure only; after a success the machine reboots.
pub fn unattended(screen: &Screen, options: &Options) {
    screen.say("rear: unattended recovery begins");
    match run(screen, options) {
        Ok((status, _)) if status.success() => {
            screen.say(&format!("rear: recovery complete, rebooting in {PAUSE} s"));
            std::thread::sleep(Duration::from_secs(PAUSE));
            if let Err(reason) = power::ask(Action::Reboot) {
                screen.say(&format!(
                    "rear: the reboot could not be started ({reason}). The machine is recovered; type 'reboot'."
                ));
                return;
            }
            // The first process ends this one.
            std::thread::sleep(Duration::from_secs(60));
        }
        Ok((status, stderr)) => failed(screen, &reason(status, &stderr)),
        Err(error) => failed(screen, &format!("cannot run 'rear recover': {error}")),
    }
}

/// Runs `rear recover` with its questions on the main console. What follows is up to the person there.
pub fn interactive(console: &Console, screen: &Screen) {
    match consoles::on_console(console, super::RECOVER).status() {
        Ok(status) if status.success() => {
            screen.say("rear: recovery complete. Type 'reboot' to start the recovered machine.");
        }
        Ok(status) => screen.say(&format!(
            "rear: recovery FAILED: 'rear recover' ended with {status}. Type 'rear recover' to try again."
        )),
        Err(error) => screen.say(&format!("rear: recovery FAILED: cannot run 'rear recover': {error}")),
    }
}

/// Says that it failed and what can be done. Nothing reboots: the reason must stay on the screen.
fn failed(screen: &Screen, reason: &str) {
    screen.say(&format!("rear: recovery FAILED: {reason}"));
    screen.say(&format!(
        "rear: the machine is not recovered and does not reboot. All that was printed is in {LOG}.\n\
         rear: what to do: remove the cause, then type 'rear recover' on a console; it continues where that is\n\
         rear: possible. 'rear recover --plan' shows what it would do and changes nothing."
    ));
}

fn run(screen: &Screen, options: &Options) -> std::io::Result<(ExitStatus, String)> {
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(LOG)?;
    let mut command = super::ourselves();
    command.args(options.recovery()).arg("--non-interactive");
    if options.debug {
        command.arg("--verbose");
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let stdout = stdout.map(|pipe| copy(pipe, screen, log.try_clone()?)).transpose()?;
    let stderr = stderr.map(|pipe| copy(pipe, screen, log.try_clone()?)).transpose()?;
    let status = child.wait()?;
    // A daemon that it left behind may hold the pipes open for ever; the exit code is what counts.
    let tail = |pipe: Option<Receiver<Vec<u8>>>| {
        pipe.and_then(|pipe| pipe.recv_timeout(Duration::from_secs(2)).ok()).unwrap_or_default()
    };
    tail(stdout);
    let stderr = String::from_utf8_lossy(&tail(stderr)).into_owned();
    let _ = log.sync_all();
    Ok((status, stderr))
}

/// Copies a pipe to the consoles and the log in a thread of its own; sends the end of it when it is closed.
fn copy(
    mut pipe: impl Read + Send + 'static,
    screen: &Screen,
    mut log: File,
) -> std::io::Result<Receiver<Vec<u8>>> {
    let (sender, receiver) = channel();
    let screen = screen.clone();
    std::thread::Builder::new().name("recovery output".to_owned()).spawn(move || {
        let mut tail = Vec::new();
        let mut buffer = [0_u8; 4096];
        loop {
            match pipe.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => {
                    let bytes = &buffer[..length];
                    screen.show(bytes);
                    let _ = log.write_all(bytes);
                    tail.extend_from_slice(bytes);
                    let excess = tail.len().saturating_sub(TAIL);
                    tail.drain(..excess);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let _ = sender.send(tail);
    })?;
    Ok(receiver)
}

/// The last thing it said, and how it ended.
fn reason(status: ExitStatus, stderr: &str) -> String {
    // A line that was drawn over (a progress bar) counts by its last state.
    let lines: Vec<&str> = stderr
        .lines()
        .map(|line| line.rsplit('\r').next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty())
        .collect();
    // From the last line that is marked as an error; hints follow it.
    let from = lines
        .iter()
        .rposition(|line| line.to_ascii_lowercase().contains("error"))
        .unwrap_or(lines.len().saturating_sub(1));
    let said = lines.get(from..).unwrap_or_default().iter().take(4).copied().collect::<Vec<_>>().join(" ");
    match said.as_str() {
        "" => format!("'rear recover' ended with {status} and said nothing"),
        said => format!("{said} ({status})"),
    }
}

#[cfg(test)]
mod tests {
    use super::reason;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    #[test]
    fn the_last_error_and_its_hint_are_repeated() {
        let status = ExitStatus::from_raw(3 << 8);
        let stderr = "rear: warning: old\nrear: error: no disk fits\n  hint: attach one\n";
        assert_eq!(reason(status, stderr), "rear: error: no disk fits hint: attach one (exit status: 3)");
        assert_eq!(reason(status, "10 %\r20 %\rkilled\n\n"), "killed (exit status: 3)");
        assert!(reason(ExitStatus::from_raw(9), "").contains("signal: 9"));
    }
}
