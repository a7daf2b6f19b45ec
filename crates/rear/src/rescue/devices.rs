//! Drivers and device nodes: the modules that were asked for, then the host's own udev, which loads everything
//! else by the hardware's modalias. Ends when every device that is there now has been dealt with.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use image::RescueConfig;
use sys::{Cmd, Sys};

use super::screen::Screen;

/// Where udev's daemon is, by distribution and age.
const UDEVD: [&str; 5] = [
    "/usr/lib/systemd/systemd-udevd",
    "/lib/systemd/systemd-udevd",
    "/usr/lib/udev/udevd",
    "/usr/sbin/udevd",
    "/sbin/udevd",
];

/// Kinds of devices that have no driver to load and no name that anybody uses here, but are many: an event costs
/// milliseconds on real hardware, and a machine has hundreds of these.
const PASSIVE: [&str; 14] = [
    "tty",
    "vc",
    "mem",
    "workqueue",
    "msr",
    "cpuid",
    "memory",
    "node",
    "bdi",
    "clocksource",
    "event_source",
    "machinecheck",
    "vtconsole",
    "thermal",
];

const UDEV_LOG: &str = "/var/log/rear/udev.log";

/// Loads what has to come before all else: `/etc/modules` and `MODULES_LOAD`, in their order.
pub fn load_modules(sys: &dyn Sys, config: Option<&RescueConfig>, screen: &Screen) {
    let listed = std::fs::read_to_string("/etc/modules").unwrap_or_default();
    let more = config.map(|config| config.modules_load.as_slice()).unwrap_or_default();
    for (name, parameters) in modules(&listed, more) {
        // One by one: the order matters, parameters are allowed, and a missing module must not stop the next.
        let cmd = Cmd::new("modprobe").arg("-b").arg(name).args(parameters);
        if let Err(error) = sys.run(&cmd.timeout(Duration::from_secs(30))) {
            screen.note(&format!("rear: {error}"));
        }
    }
}

/// Lines of `/etc/modules` (name and parameters, `#` begins a comment), then further names; each name once.
fn modules(listed: &str, more: &[String]) -> Vec<(String, Vec<String>)> {
    let mut modules: Vec<(String, Vec<String>)> = Vec::new();
    for line in listed.lines().chain(more.iter().map(String::as_str)) {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_whitespace().map(str::to_owned);
        if let Some(name) = words.next()
            && !modules.iter().any(|(known, _)| known.replace('-', "_") == name.replace('-', "_"))
        {
            modules.push((name, words.collect()));
        }
    }
    modules
}

/// Starts udev and waits until it has handled all present devices. Without udev there are the kernel's own
/// nodes, and the drivers that are built in.
pub fn start_udev(sys: &dyn Sys, screen: &Screen) {
    let Some(program) = UDEVD.into_iter().find(|path| Path::new(path).exists()) else {
        screen.say("rear: there is no udev in this rescue system; only built-in drivers are used");
        return;
    };
    if let Err(error) = spawn(program) {
        screen.say(&format!("rear: cannot start udev ({program}): {error}; only built-in drivers are used"));
        return;
    }
    if !wait_until_ready(sys) {
        screen.say(&format!("rear: udev does not answer; see {UDEV_LOG}"));
    }
    // Only devices: the events of busses and drivers load nothing, and take longer than those of the disks.
    let mut trigger = vec!["trigger", "--type=devices", "--action=add"];
    trigger.extend(PASSIVE.iter().flat_map(|name| ["--subsystem-nomatch", name]));
    udevadm(sys, screen, &trigger);
    udevadm(sys, screen, &["settle", "--timeout=60"]);
}

fn spawn(program: &str) -> std::io::Result<()> {
    let log = OpenOptions::new().create(true).append(true).mode(0o600).open(UDEV_LOG)?;
    let mut command = Command::new(program);
    super::plain_environment(&mut command);
    // Dropping the handle leaves the daemon running; the first process collects it in the end.
    command
        .env("SYSTEMD_LOG_TARGET", "console")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .map(drop)
}

/// An event that is sent before the daemon listens is lost, so the daemon must answer first.
fn wait_until_ready(sys: &dyn Sys) -> bool {
    let until = Instant::now() + Duration::from_secs(10);
    let ping = Cmd::new("udevadm").args(["control", "--ping", "--timeout=5"]).timeout(Duration::from_secs(6));
    while Instant::now() < until {
        if sys.exists(Path::new("/run/udev/control")) && sys.run(&ping).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

fn udevadm(sys: &dyn Sys, screen: &Screen, arguments: &[&str]) {
    let cmd = Cmd::new("udevadm").args(arguments.iter().copied()).timeout(Duration::from_secs(90));
    if let Err(error) = sys.run(&cmd) {
        screen.note(&format!("rear: {error}"));
    }
}

/// The keyboard of the person at the screen.
pub fn load_keymap(sys: &dyn Sys, screen: &Screen) {
    const KEYMAP: &str = "/etc/rear/keymap";
    if !Path::new(KEYMAP).exists() || !Path::new("/dev/tty1").exists() {
        return;
    }
    let cmd = Cmd::new("loadkeys").args(["-q", "-C", "/dev/tty1", KEYMAP]).timeout(Duration::from_secs(10));
    if let Err(error) = sys.run(&cmd) {
        screen.note(&format!("rear: the keymap could not be loaded: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::modules;

    #[test]
    fn modules_in_order_with_parameters_and_once() {
        let listed = "# comment\nloop max_loop=8 # more\n\n  virtio_blk\n";
        let names = modules(listed, &["virtio-blk".into(), "dm-mod".into()]);
        assert_eq!(names[0], ("loop".to_owned(), vec!["max_loop=8".to_owned()]));
        assert_eq!(
            names.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["loop", "virtio_blk", "dm-mod"]
        );
    }
}
