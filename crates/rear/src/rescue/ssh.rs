//! The ssh server: host keys made anew at every boot (none is ever on the medium), their fingerprints on the
//! consoles, and the server as a child that is started again when it ends.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sys::{Cmd, Sys};

use super::screen::Screen;

const SSHD: &str = "/usr/sbin/sshd";
const LOG: &str = "/var/log/rear/sshd.log";

/// How often a server that ends at once is started again.
const TRIES: u32 = 3;

/// Starts the server in the background; nothing waits for it.
pub fn start(sys: sys::Real, screen: Screen) {
    let failed = screen.clone();
    let thread = std::thread::Builder::new().name("ssh".to_owned()).spawn(move || {
        if let Err(reason) = serve(&sys, &screen) {
            screen.say(&format!("rear: no login by ssh: {reason}"));
        }
    });
    if let Err(error) = thread {
        failed.say(&format!("rear: no login by ssh: {error}"));
    }
}

fn serve(sys: &dyn Sys, screen: &Screen) -> Result<(), String> {
    if !Path::new(SSHD).exists() {
        return Err(format!("{SSHD} is not in this rescue system"));
    }
    let fingerprints = host_keys(sys)?;
    let text = format!("ssh host keys of this rescue system:\n{fingerprints}");
    screen.say(text.trim_end());
    if let Ok(mut issue) = OpenOptions::new().create(true).append(true).open("/etc/issue") {
        let _ = writeln!(issue, "{text}");
    }
    // The directory that the server gives its unprivileged part as root.
    for directory in ["/run/sshd", "/var/empty"] {
        let _ = std::fs::DirBuilder::new().recursive(true).mode(0o755).create(directory);
    }
    let mut quick = 0;
    loop {
        let started = Instant::now();
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(LOG);
        let log = log.map_err(|error| format!("cannot write {LOG}: {error}"))?;
        let mut command = Command::new(SSHD);
        super::plain_environment(&mut command);
        let status =
            command.args(["-D", "-e"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).status();
        let status = status.map_err(|error| format!("cannot start {SSHD}: {error}"))?;
        screen.note(&format!("rear: sshd ended ({status})"));
        quick = if started.elapsed() < Duration::from_secs(5) { quick + 1 } else { 0 };
        if quick >= TRIES {
            return Err(format!("the server ends at once ({status}); see {LOG}"));
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Makes the keys and returns their fingerprints, one a line. RSA is left out: it takes long to make, and every
/// client of the last decade knows the other two.
fn host_keys(sys: &dyn Sys) -> Result<String, String> {
    let mut fingerprints = String::new();
    let mut last = String::from("no kind of key could be made");
    for kind in ["ed25519", "ecdsa"] {
        let file = format!("/etc/ssh/ssh_host_{kind}_key");
        if !Path::new(&file).exists() {
            let make = Cmd::new("ssh-keygen").args(["-q", "-N", "", "-C", "rescue", "-t", kind, "-f", &file]);
            // Not every server has every kind (FIPS mode refuses ed25519).
            if let Err(error) = sys.run(&make.timeout(Duration::from_secs(120))) {
                last = error.to_string();
                continue;
            }
        }
        match sys.run(&Cmd::new("ssh-keygen").args(["-l", "-f", &format!("{file}.pub")])) {
            Ok(output) => fingerprints.push_str(&output.text()),
            Err(error) => last = error.to_string(),
        }
    }
    if fingerprints.is_empty() { Err(last) } else { Ok(fingerprints) }
}
