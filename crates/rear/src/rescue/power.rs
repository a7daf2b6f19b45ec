//! Reboot, power off, halt. Only the first process does it, after every other process has ended and every disk
//! is unmounted; a command asks for it. Outside of the rescue system these commands refuse.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, UnmountFlags};
use rustix::process::{Pid, Signal, WaitOptions};
use rustix::system::RebootCommand;

/// Where the wish is left for the first process.
const WISH: &str = "/run/rear/power";

/// How long processes have to end by themselves.
const PATIENCE: Duration = Duration::from_secs(3);

/// How the machine is to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Start again.
    #[default]
    Reboot,
    /// Switch the power off.
    PowerOff,
    /// Stop and keep the power on.
    Halt,
}

impl Action {
    /// The action that a program of this name stands for (`/sbin/reboot` is a link to `rear`).
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "reboot" => Some(Self::Reboot),
            "poweroff" | "shutdown" => Some(Self::PowerOff),
            "halt" => Some(Self::Halt),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Reboot => "reboot",
            Self::PowerOff => "poweroff",
            Self::Halt => "halt",
        }
    }
}

/// The commands `reboot`, `poweroff` and `halt`: asks the first process to stop the machine, and waits until it
/// has done so. Exits with 1 where this is not the rescue system.
pub fn request(action: Action) -> ! {
    std::process::exit(power(action))
}

fn power(action: Action) -> i32 {
    if !super::is_rescue_system() {
        eprintln!(
            "rear: this is not the rescue system, so rear does not {} it. Use the system's own command.",
            action.name()
        );
        return 1;
    }
    if let Err(reason) = ask(action) {
        eprintln!(
            "rear: the first process cannot be asked to {} ({reason}); doing it directly",
            action.name()
        );
        now(action);
    }
    // The first process ends us long before this; if it does not, the machine must stop all the same.
    std::thread::sleep(PATIENCE * 10);
    eprintln!("rear: the first process does not answer; trying to {} directly", action.name());
    now(action);
    1
}

/// Leaves the wish and wakes the first process.
pub fn ask(action: Action) -> Result<(), String> {
    std::fs::write(WISH, action.name()).map_err(|error| format!("cannot write {WISH}: {error}"))?;
    let first = Pid::from_raw(1).ok_or("no process 1")?;
    rustix::process::kill_process(first, Signal::TERM)
        .map_err(|error| format!("cannot signal process 1: {error}"))
}

/// The wish that was left; Ctrl-Alt-Del leaves none and means a reboot.
pub(super) fn wish() -> Action {
    let text = std::fs::read_to_string(WISH).unwrap_or_default();
    Action::from_name(text.trim()).unwrap_or_default()
}

/// For the first process: ends all others, unmounts, stops the machine.
pub(super) fn stop_machine(action: Action, session: Option<Pid>) {
    // The session goes first and at once, or it would start ended consoles anew.
    if let Some(session) = session {
        let _ = rustix::process::kill_process(session, Signal::KILL);
    }
    for (signal, patience) in [(Signal::TERM, PATIENCE), (Signal::KILL, Duration::from_secs(1))] {
        for process in processes() {
            // A shell ignores SIGTERM but obeys SIGHUP, to which a daemon would start anew.
            if signal == Signal::TERM && has_terminal(process) {
                let _ = rustix::process::kill_process(process, Signal::HUP);
            }
            let _ = rustix::process::kill_process(process, signal);
        }
        let until = Instant::now() + patience;
        while !processes().is_empty() && Instant::now() < until {
            while matches!(rustix::process::wait(WaitOptions::NOHANG), Ok(Some(_))) {}
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    rustix::fs::sync();
    unmount_disks();
    now(action);
}

/// Flushes and stops the machine at once. Returns only when the kernel refuses.
fn now(action: Action) {
    rustix::fs::sync();
    let command = match action {
        Action::Reboot => RebootCommand::Restart,
        Action::PowerOff => RebootCommand::PowerOff,
        Action::Halt => RebootCommand::Halt,
    };
    if let Err(error) = rustix::system::reboot(command) {
        eprintln!("rear: the kernel refuses to {}: {error}", action.name());
    }
}

/// Every process of user space except the first one and ourselves. A thread of the kernel has no command line,
/// and neither has a zombie.
fn processes() -> Vec<Pid> {
    let me = std::process::id();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|id| *id > 1 && id.cast_unsigned() != me)
        .filter(|id| std::fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| !line.is_empty()))
        .filter_map(Pid::from_raw)
        .collect()
}

fn has_terminal(process: Pid) -> bool {
    let path = format!("/proc/{}/stat", process.as_raw_nonzero());
    std::fs::read_to_string(path).is_ok_and(|stat| terminal(&stat).is_some_and(|number| number != 0))
}

/// Number of the controlling terminal, the fifth word after the name in `/proc/PID/stat` (proc(5)); the name is
/// in parentheses and may hold any character.
fn terminal(stat: &str) -> Option<i32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(4)?.parse().ok()
}

/// Unmounts what lies on disks and everything below the target directory, newest first; what stays busy is made
/// read-only, so that its content is on the disk in any case.
fn unmount_disks() {
    let Ok(mounts) = std::fs::read_to_string("/proc/self/mountinfo") else { return };
    for target in mounts_to_leave(&mounts).iter().rev() {
        if rustix::mount::unmount(target, UnmountFlags::NOFOLLOW).is_ok() {
            continue;
        }
        if let Err(error) = rustix::mount::mount_remount(target, MountFlags::RDONLY, c"") {
            eprintln!("rear: {} could not be unmounted: {error}", target.display());
        }
    }
}

/// Mount points (in the order of mounting) on block devices or below `/mnt/local` and `/run/rear`.
fn mounts_to_leave(mountinfo: &str) -> Vec<PathBuf> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let target = PathBuf::from(unescape(left.split(' ').nth(4)?));
            let source = right.split(' ').nth(1)?;
            let ours = target.starts_with("/mnt/local") || target.starts_with("/run/rear/");
            (ours || source.starts_with("/dev/")).then_some(target)
        })
        .filter(|target| target != Path::new("/"))
        .collect()
}

/// The kernel writes blanks, tabs, newlines and backslashes in mount tables as three octal digits.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let octal = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_disks_and_the_target_are_unmounted() {
        let table = "1 1 0:2 / / rw - rootfs rootfs rw\n\
             22 1 0:21 / /proc rw,nosuid - proc proc rw\n\
             30 1 8:1 / /mnt/local rw - ext4 /dev/sda1 rw\n\
             31 30 0:5 / /mnt/local/dev rw - devtmpfs devtmpfs rw\n\
             32 1 11:0 / /run/rear/medium ro - iso9660 /dev/sr0 ro\n\
             33 1 8:2 / /media/my\\040disk rw shared:1 - vfat /dev/sdb2 rw\n";
        let targets = mounts_to_leave(table);
        let expected = ["/mnt/local", "/mnt/local/dev", "/run/rear/medium", "/media/my disk"];
        assert_eq!(targets, expected.map(PathBuf::from));
    }

    #[test]
    fn nothing_is_rebooted_outside_of_the_rescue_system() {
        assert_eq!(power(Action::Reboot), 1);
    }

    #[test]
    fn terminals() {
        assert_eq!(terminal("95 (a) b (c) S 86 95 95 1027 95 4194560 1 2"), Some(1027));
        assert_eq!(terminal("281 (sshd) S 86 86 0 0 -1 4194560 1 2"), Some(0));
        assert_eq!(terminal(""), None);
    }

    #[test]
    fn names() {
        assert_eq!(Action::from_name("poweroff"), Some(Action::PowerOff));
        assert_eq!(Action::from_name("rear"), None);
        assert_eq!(unescape(r"a\040b\134"), r"a b\");
        assert_eq!(unescape(r"a\04"), r"a\04");
    }
}
