//! The rescue system's first process, and what it starts. It never touches a disk's content: that is the
//! business of `rear recover`, which it only calls.
//!
//!     init: mounts -> session -> collect ended processes until the machine is to stop -> stop
//!     session: modules -> udev -> keymap -> network, ssh (background) -> recovery -> consoles
//!
//! When the first process ends, the kernel panics and nobody sees why. So it does next to nothing, and
//! everything that can go wrong is done by a child of it, the session. When that one fails, there is a shell
//! with the reason on the screen.

mod cmdline;
mod consoles;
mod devices;
mod dhcp;
mod links;
pub mod medium;
mod mounts;
mod network;
pub mod power;
mod recovery;
mod screen;
mod ssh;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use image::RescueConfig;
use rustix::process::{Pid, WaitOptions};
use sys::Cancel;

use cmdline::Mode;
use consoles::Console;
use screen::Screen;

pub use medium::{Medium, find_medium, find_within};

/// What the image says about itself.
const CONFIG: &str = "/etc/rear/rescue.json";

/// The hidden command of `rear` by which the first process calls itself, with a [`Role`] as its argument.
const CONSOLE_COMMAND: &str = "rescue-console";

/// What a child of the first process is to be: `@session`, `recover@TTY`, or the shell on `TTY`.
const SESSION: &str = "@session";
const RECOVER: &str = "recover@";

/// The first process. Never returns, never panics.
pub fn main() -> ! {
    let failures = mounts::mount_all();
    adopt_console();
    for failure in failures {
        eprintln!("rear: {failure}");
    }
    // Ctrl-Alt-Del becomes a signal to us instead of a reset without flushed disks.
    let _ = rustix::system::reboot(rustix::system::RebootCommand::CadOff);
    let stop = Cancel::on_signals().unwrap_or_else(|error| {
        eprintln!("rear: {error}; Ctrl-Alt-Del and 'reboot' without -f do not work");
        Cancel::default()
    });
    let session = start(ourselves().args([CONSOLE_COMMAND, SESSION]), "the session");
    if session.is_none() {
        eprintln!("rear: the rescue system cannot start; here is a shell");
    }
    let mut emergency = None;
    let mut lost = session.is_none();
    loop {
        while let Ok(Some((process, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if Some(process) == session {
                lost = true;
                eprintln!(
                    "rear: the rescue system's session ended unexpectedly ({status:?}); here is a shell"
                );
            }
            if Some(process) == emergency {
                emergency = None;
            }
        }
        if stop.is_raised() {
            power::stop_machine(power::wish(), session.filter(|_| !lost));
        }
        if lost && emergency.is_none() {
            emergency = start(&mut consoles::on_console(&main_console(), ""), "a shell");
        }
        // A signal handler cannot end a wait for children, so both are looked at in turn.
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A child of the first process (the hidden command `rear rescue-console ROLE`).
pub fn console(role: &str) -> ! {
    if role == SESSION {
        session();
    }
    let code = match role.strip_prefix(RECOVER) {
        Some(tty) => consoles::console(tty, &cmdline::parse(&cmdline()).recovery()),
        None => consoles::console(role, &[]),
    };
    std::process::exit(code)
}

/// Whether this is a rescue system of ours, and not merely a machine with such a file.
fn is_rescue_system() -> bool {
    let first = std::fs::read_link("/proc/1/exe").unwrap_or_default();
    let ours = first.file_name().is_some_and(|name| name == "rear" || name == "init");
    ours && Path::new(CONFIG).exists()
}

/// Everything after the kernel's filesystems.
fn session() -> ! {
    let sys = sys::Real::default();
    let options = cmdline::parse(&cmdline());
    let config = config();
    if !options.debug {
        // Warnings of drivers do not belong into the questions and answers on the console.
        let _ = std::fs::write("/proc/sys/kernel/printk", "4 4 1 7\n");
    }
    let mut all = consoles::list(&options, config.as_ref().ok());
    let screen = Screen::new(&all, options.debug);
    match &config {
        Ok(config) => screen.say(&format!(
            "rear: rescue system of {} (recovery point {})",
            config.hostname, config.recovery_point
        )),
        Err(reason) => screen.say(&format!("rear: {reason}")),
    }
    let config = config.ok();
    name_machine(config.as_ref(), &screen);
    // One way in that waits for nothing.
    let (screens, mut waiting): (Vec<Console>, Vec<Console>) =
        all.iter().cloned().partition(|console| !console.output);
    screens.into_iter().for_each(|console| consoles::keep(console, screen.clone()));

    network::loopback(&sys, &screen);
    devices::load_modules(&sys, config.as_ref(), &screen);
    devices::start_udev(&sys, &screen);
    screen.note("rear: devices are ready");
    mounts::mount_efivars().iter().for_each(|failure| screen.say(&format!("rear: {failure}")));
    devices::load_keymap(&sys, &screen);
    // Consoles whose driver came only now.
    for console in consoles::list(&options, config.as_ref()) {
        if !all.iter().any(|known| known.name == console.name) {
            screen.add(&console);
            waiting.push(console.clone());
            all.push(console);
        }
    }
    network::start(sys.clone(), config.as_ref(), options.network.clone(), screen.clone());
    if config.as_ref().is_some_and(|config| config.ssh) {
        ssh::start(sys, screen.clone());
    }
    match options.mode {
        Mode::Shell => {}
        Mode::Unattended => recovery::unattended(&screen, &options),
        Mode::Interactive => {
            // The others get their shells at once; the main one after the recovery.
            let rest = waiting.split_off(waiting.len().min(1));
            rest.into_iter().for_each(|console| consoles::keep(console, screen.clone()));
            if let Some(main) = waiting.first() {
                recovery::interactive(main, &screen);
            }
        }
    }
    screen.note("rear: shells start");
    waiting.into_iter().for_each(|console| consoles::keep(console, screen.clone()));
    loop {
        std::thread::park();
    }
}

/// Host name and the text that a login shows.
fn name_machine(config: Option<&RescueConfig>, screen: &Screen) {
    let host = config.map_or("rescue", |config| config.hostname.as_str());
    if let Err(error) = rustix::system::sethostname(host.as_bytes()) {
        screen.note(&format!("rear: cannot set the host name to '{host}': {error}"));
    }
    if let Err(error) = std::fs::write(consoles::MOTD, motd(host, config)) {
        screen.note(&format!("rear: cannot write {}: {error}", consoles::MOTD));
    }
}

/// What the kernel was started with.
fn cmdline() -> String {
    std::fs::read_to_string("/proc/cmdline").unwrap_or_default()
}

fn motd(host: &str, config: Option<&RescueConfig>) -> String {
    let made = config
        .and_then(|config| jiff::Timestamp::from_second(config.created.try_into().ok()?).ok())
        .map(|time| format!(", made {time}"))
        .unwrap_or_default();
    format!(
        "\nThis is the rescue system of {host}{made}. Starting it has changed nothing on the disks.\n\n\
         \x20 rear recover          recover this machine (shows the plan and asks before it writes)\n\
         \x20 rear recover --plan   only show what would be done\n\
         \x20 rear list             which recovery points there are; rear recover --from takes another one\n\
         \x20 rear mountonly        mount the existing system below /mnt/local, to look or repair\n\
         \x20 loadkeys de           another keyboard\n\
         \x20 reboot, poweroff      leave the rescue system\n\n\
         Logs are in /var/log/rear.\n\n"
    )
}

/// Reads what the image says about itself.
fn config() -> Result<RescueConfig, String> {
    let text = std::fs::read(CONFIG).map_err(|error| format!("cannot read {CONFIG}: {error}"))?;
    serde_json::from_slice(&text).map_err(|error| format!("{CONFIG} is damaged: {error}"))
}

/// Standard input and output become the kernel's console: before `/dev` was mounted there may have been none.
fn adopt_console() {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    if let Ok(console) = rustix::fs::open("/dev/console", flags, Mode::empty()) {
        let _ = rustix::stdio::dup2_stdin(&console);
        let _ = rustix::stdio::dup2_stdout(&console);
        let _ = rustix::stdio::dup2_stderr(&console);
    }
}

/// The console for a shell when all else has failed.
fn main_console() -> Console {
    let options = cmdline::parse(&cmdline());
    let fallback = Console { name: "console".to_owned(), speed: None, output: true };
    consoles::list(&options, None).into_iter().next().unwrap_or(fallback)
}

/// This very program, wherever it lies, in a plain environment: unknown words of the kernel command line become
/// variables of the first process, and must not reach any program.
fn ourselves() -> Command {
    let mut command = Command::new("/proc/self/exe");
    plain_environment(&mut command);
    command.arg0("rear");
    command
}

fn plain_environment(command: &mut Command) {
    command
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root")
        .env("USER", "root")
        .env("LOGNAME", "root")
        .env("SHELL", "/bin/bash")
        .env("LANG", "C.UTF-8")
        .env("TERM", "linux");
}

/// Starts a child of the first process, which is collected by its number.
fn start(command: &mut Command, what: &str) -> Option<Pid> {
    match command.spawn() {
        Ok(child) => Pid::from_raw(child.id().cast_signed()),
        Err(error) => {
            eprintln!("rear: cannot start {what}: {error}");
            None
        }
    }
}
