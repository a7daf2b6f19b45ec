//! The consoles: which there are, a shell on each that comes back when it ends, and the question for the
//! password before it. The password is only compared with its hash; it is never stored or shown.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use image::RescueConfig;
use rustix::fs::OFlags;
use rustix::termios::{ControlModes, InputModes, LocalModes, OptionalActions, OutputModes};
use sys::Secret;

use super::cmdline::{self, Options};
use super::screen::Screen;

/// Where the hash of the console password is.
const PASSWORD: &str = "/etc/rear/console-password";

/// The text above the first prompt; sshd shows the same after login.
pub const MOTD: &str = "/etc/motd";

/// How many of the screen's virtual terminals get a shell.
const SCREENS: usize = 4;

/// A terminal that a person may sit at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Console {
    /// Name of its device below `/dev`: `tty1`, `ttyS0`, `hvc0`.
    pub name: String,
    /// Speed to set in baud; `None` leaves it as the kernel set it.
    pub speed: Option<u32>,
    /// Whether messages and the recovery's output are shown here (all but the further screens).
    pub output: bool,
}

impl Console {
    /// Its device.
    pub fn path(&self) -> PathBuf {
        Path::new("/dev").join(&self.name)
    }

    fn is_screen(&self) -> bool {
        self.name.strip_prefix("tty").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()))
    }
}

/// The consoles of this machine: the active ones of the kernel (the main one is the last of them), those of the
/// configuration, and the further screens. `main` comes first.
pub fn list(options: &Options, config: Option<&RescueConfig>) -> Vec<Console> {
    let active = std::fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
    let usable = |name: &str| Path::new("/dev").join(name).exists() && has_hardware(name);
    let wanted = config.map(|config| config.serial_consoles.as_slice()).unwrap_or_default();
    choose(&active, &options.consoles, wanted, usable)
}

/// The pure part of [`list`].
fn choose(
    active: &str,
    options: &[(String, Option<u32>)],
    wanted: &[String],
    usable: impl Fn(&str) -> bool,
) -> Vec<Console> {
    let mut consoles: Vec<Console> = Vec::new();
    let mut add = |name: &str, speed: Option<u32>, output: bool| {
        // tty0 is whichever screen is in front; its shell belongs on the first one.
        let name = if name == "tty0" { "tty1" } else { name };
        if usable(name) && !consoles.iter().any(|console| console.name == name) {
            consoles.push(Console { name: name.to_owned(), speed, output });
        }
    };
    // The kernel lists the one that /dev/console stands for last.
    for name in active.split_whitespace().rev() {
        add(name, None, true);
    }
    for (name, speed) in options.iter().rev() {
        add(name, *speed, true);
    }
    for (name, speed) in wanted.iter().filter_map(|value| cmdline::console(value)) {
        add(&name, speed, true);
    }
    add("tty1", None, true);
    for number in 2..=SCREENS {
        add(&format!("tty{number}"), None, false);
    }
    consoles
}

/// The kernel makes nodes for serial ports that do not exist; their type is 0. Other devices have no such file.
fn has_hardware(name: &str) -> bool {
    std::fs::read_to_string(format!("/sys/class/tty/{name}/type")).map_or(true, |kind| kind.trim() != "0")
}

/// Keeps a shell on a console for as long as the rescue system runs.
pub fn keep(console: Console, screen: Screen) {
    let name = console.name.clone();
    let thread = std::thread::Builder::new().name(name.clone()).stack_size(128 * 1024);
    let failed = screen.clone();
    let kept = thread.spawn(move || {
        loop {
            let started = Instant::now();
            match on_console(&console, "").status() {
                Ok(status) => screen.note(&format!("the shell on {} ended ({status})", console.name)),
                Err(error) => screen.note(&format!("no shell on {}: {error}", console.name)),
            }
            if started.elapsed() < Duration::from_secs(1) {
                // A console that cannot be opened must not keep the machine busy.
                std::thread::sleep(Duration::from_secs(2));
            }
        }
    });
    if let Err(error) = kept {
        failed.say(&format!("rear: no shell on {name}: {error}"));
    }
}

/// The command that runs something (by the prefix of its role; a login shell without one) with this console as
/// its controlling terminal.
pub fn on_console(console: &Console, prefix: &str) -> Command {
    let mut command = super::ourselves();
    command.arg(super::CONSOLE_COMMAND).arg(format!("{prefix}{}", console.name));
    if let Some(speed) = console.speed {
        command.env("REAR_CONSOLE_SPEED", speed.to_string());
    }
    // The child opens its terminal itself; until then it says what it has to say to ours.
    command.stdin(Stdio::null());
    command
}

/// The child of [`on_console`]: becomes the leader of a session on the terminal, and turns into `rear ARGUMENTS`
/// or, without arguments, asks for the password where one is set and turns into the shell. Returns only an exit
/// code for a failure.
pub fn console(tty: &str, arguments: &[String]) -> i32 {
    if let Err(error) = take_terminal(tty) {
        eprintln!("rear: cannot use the console {tty}: {error}");
        return 1;
    }
    let screen = Console { name: tty.to_owned(), speed: None, output: true }.is_screen();
    let term = if screen { "linux" } else { "vt220" };
    let error = if arguments.is_empty() {
        let config = super::config();
        let guarded = config.map_or(Path::new(PASSWORD).exists(), |config| config.console_password);
        if guarded && !admit(tty) {
            return 1;
        }
        print!("{}", std::fs::read_to_string(MOTD).unwrap_or_default());
        let _ = std::io::stdout().flush();
        shell().env("TERM", term).exec()
    } else {
        super::ourselves().args(arguments).env("TERM", term).exec()
    };
    eprintln!("rear: cannot start the shell: {error}");
    1
}

/// A login shell in root's home.
fn shell() -> Command {
    let program = ["/bin/bash", "/bin/sh"].into_iter().find(|path| Path::new(path).exists());
    let mut command = Command::new(program.unwrap_or("/bin/sh"));
    super::plain_environment(&mut command);
    let home = if Path::new("/root").is_dir() { "/root" } else { "/" };
    // The leading dash makes it a login shell, for every shell.
    command.arg0("-bash").current_dir(home);
    command
}

/// Makes the terminal the controlling one of a new session, in a sane state, as standard input and output.
fn take_terminal(tty: &str) -> std::io::Result<()> {
    let path = Path::new("/dev").join(tty.trim_start_matches("/dev/"));
    // Not blocking: a serial line without carrier would hang here for ever.
    let flags = (OFlags::NOCTTY | OFlags::NONBLOCK).bits().cast_signed();
    let terminal = OpenOptions::new().read(true).write(true).custom_flags(flags).open(&path)?;
    // Fails where we lead a session already, which is as good.
    let _ = rustix::process::setsid();
    rustix::process::ioctl_tiocsctty(&terminal)?;
    let status = rustix::fs::fcntl_getfl(&terminal)? - OFlags::NONBLOCK;
    rustix::fs::fcntl_setfl(&terminal, status)?;
    // What a killed program left behind (no echo, raw mode) must not stay.
    make_sane(&terminal)?;
    rustix::stdio::dup2_stdin(&terminal)?;
    rustix::stdio::dup2_stdout(&terminal)?;
    rustix::stdio::dup2_stderr(&terminal)?;
    Ok(())
}

fn make_sane(terminal: &File) -> std::io::Result<()> {
    let mut state = rustix::termios::tcgetattr(terminal)?;
    state.input_modes.insert(InputModes::ICRNL | InputModes::IXON | InputModes::BRKINT);
    state.output_modes.insert(OutputModes::OPOST | OutputModes::ONLCR);
    state.control_modes.insert(ControlModes::CREAD | ControlModes::CLOCAL);
    state.local_modes.insert(
        LocalModes::ISIG
            | LocalModes::ICANON
            | LocalModes::IEXTEN
            | LocalModes::ECHO
            | LocalModes::ECHOE
            | LocalModes::ECHOK,
    );
    if let Some(speed) = std::env::var("REAR_CONSOLE_SPEED").ok().and_then(|speed| speed.parse().ok()) {
        state.set_speed(speed)?;
    }
    rustix::termios::tcsetattr(terminal, OptionalActions::Now, &state)?;
    let mut size = rustix::termios::tcgetwinsize(terminal)?;
    if size.ws_row == 0 || size.ws_col == 0 {
        // A serial line does not know its size, and programs that draw need one.
        (size.ws_row, size.ws_col) = (24, 80);
        rustix::termios::tcsetwinsize(terminal, size)?;
    }
    Ok(())
}

/// Asks for the password, three times; false after that, with a pause that makes guessing slow.
fn admit(tty: &str) -> bool {
    let Some(hash) = password_hash() else {
        println!(
            "rear: this console asks for a password, but {PASSWORD} holds none. Log in by ssh, or make a new \
             medium with TTY_ROOT_PASSWORD."
        );
        std::thread::sleep(Duration::from_secs(60));
        return false;
    };
    if !hash.starts_with("$5$") && !hash.starts_with("$6$") {
        return other_login(tty);
    }
    for _ in 0..3 {
        print!("rear: password of root for this rescue system: ");
        let _ = std::io::stdout().flush();
        let Some(password) = read_hidden() else { return false };
        println!();
        match image::verify_password(&hash, &password) {
            Ok(true) => return true,
            Ok(false) => println!("rear: wrong password"),
            Err(error) => println!("rear: the password cannot be checked: {error}"),
        }
    }
    std::thread::sleep(Duration::from_secs(5));
    false
}

/// A hash that we cannot compute (`$y$`, `$2b$`): the C library's own programs can, where they are carried. They
/// read root's entry of `/etc/shadow`.
fn other_login(tty: &str) -> bool {
    for (program, arguments) in [("/usr/sbin/sulogin", ["-e", tty]), ("/usr/bin/login", ["-p", "root"])] {
        if Path::new(program).exists() {
            let mut command = Command::new(program);
            super::plain_environment(&mut command);
            let error = command.args(arguments).exec();
            eprintln!("rear: cannot start {program}: {error}");
        }
    }
    println!(
        "rear: the password of this console has a kind of hash that the rescue system cannot check. Log in by \
         ssh, or make a new medium with TTY_ROOT_PASSWORD as plain text or as a SHA-512 hash ($6$)."
    );
    std::thread::sleep(Duration::from_secs(60));
    false
}

fn password_hash() -> Option<String> {
    let hash = std::fs::read_to_string(PASSWORD).ok()?;
    let hash = hash.trim().to_owned();
    (!hash.is_empty()).then_some(hash)
}

/// One line from the terminal without showing it.
fn read_hidden() -> Option<Secret> {
    let input = std::io::stdin();
    let old = rustix::termios::tcgetattr(&input).ok()?;
    let mut hidden = old.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    rustix::termios::tcsetattr(&input, OptionalActions::Flush, &hidden).ok()?;
    let mut line = String::new();
    // Our own buffer, so that nothing typed ahead is lost for the shell.
    let read = BufReader::with_capacity(1, input.lock()).read_line(&mut line);
    let _ = rustix::termios::tcsetattr(&input, OptionalActions::Now, &old);
    match read {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(Secret::new(line.trim_end_matches(['\n', '\r']))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(consoles: &[Console]) -> Vec<&str> {
        consoles.iter().map(|console| console.name.as_str()).collect()
    }

    #[test]
    fn the_main_console_is_the_last_one_of_the_kernel() {
        let all = |_: &str| true;
        let consoles = choose("tty0 ttyS0\n", &[("ttyS0".into(), Some(115_200))], &[], all);
        assert_eq!(names(&consoles), ["ttyS0", "tty1", "tty2", "tty3", "tty4"]);
        assert_eq!(consoles[0].speed, None, "the kernel has set it");
        let consoles = choose("ttyS0 tty0", &[], &["ttyS1,9600".into()], all);
        assert_eq!(names(&consoles)[..3], ["tty1", "ttyS0", "ttyS1"]);
        assert_eq!(consoles[2].speed, Some(9600));
        assert!(consoles[2].output && !consoles[3].output);
    }

    #[test]
    fn missing_devices_are_left_out() {
        let serial = |name: &str| name == "ttyS0";
        let consoles = choose("ttyS0", &[("hvc0".into(), None)], &["ttyS7".into()], serial);
        assert_eq!(names(&consoles), ["ttyS0"]);
        assert!(choose("", &[], &[], |_| false).is_empty());
    }

    #[test]
    fn screens_are_told_from_serial_lines() {
        let console = |name: &str| Console { name: name.into(), speed: None, output: true };
        assert!(console("tty12").is_screen());
        assert!(!console("ttyS0").is_screen() && !console("hvc0").is_screen());
    }
}
