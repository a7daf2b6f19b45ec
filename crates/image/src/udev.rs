//! udev of the host: the daemon, its rules and helpers, so that devices get the names in the rescue system that
//! they have on the machine. Rules that start services, that activate storage by themselves (recovery decides about
//! that), or that call programs which are not carried, stay behind.

use std::path::{Path, PathBuf};

use crate::collect::Collector;
use crate::{Error, glob};

/// Where the daemon is; on new systems a link to `udevadm`.
const DAEMONS: [&str; 4] = [
    "/usr/lib/systemd/systemd-udevd",
    "/lib/systemd/systemd-udevd",
    "/usr/sbin/udevd",
    "/usr/lib/udev/udevd",
];

/// Rules that stay behind.
#[rustfmt::skip]
const WITHOUT: &[&str] = &[
    // start services or need daemons that are not there
    "*snap*", "99-systemd.rules", "*-seat*.rules", "70-uaccess.rules", "*-ifupdown*.rules",
    "81-net-dhcp.rules", "85-hwclock.rules", "90-console-setup.rules", "*-e2scrub.rules",
    "*-udisks2.rules", "*-libvirt*", "*docker*", "*-nm-*.rules", "*-ModemManager*", "*-mm-*.rules",
    "*-upower*", "*-brltty*", "70-power-switch.rules", "98-kexec.rules", "*vbox*", "*fwupd*", "*-tuned*",
    // activate storage
    "69-lvm*.rules", "69-dm-lvm*.rules", "69-bcache.rules", "64-md-raid-assembly.rules",
    "65-md-incremental.rules", "*-zfs*.rules", "*-stratis*",
    // sound, cameras, games
    "*-alsa.rules", "*sound*", "*v4l*", "*camera*", "*joystick*",
];

/// Rules of udev, device-mapper and RAID themselves: names of disks come from them, so they are carried whatever they
/// call.
#[rustfmt::skip]
const ESSENTIAL: &[&str] = &[
    "??-udev-*.rules", "60-block.rules", "60-persistent-*.rules", "60-cdrom_id.rules", "64-btrfs*.rules",
    "??-dm*.rules", "??-md-*.rules", "??-lvm*.rules", "*kpartx.rules", "*multipath*.rules",
    "75-net-description.rules", "73-special-net-names.rules", "80-drivers.rules", "80-net-*.rules",
    "50-firmware.rules", "??-nvm*.rules", "*-scsi-sg3*.rules",
];

/// Helpers in udev's directory that belong to rules which stay behind.
const IDLE_HELPERS: [&str; 4] = ["ifupdown-hotplug", "hwclock-set", "net.agent", "v4l_id"];

/// Where the udev daemon is on the host.
pub(crate) fn daemon(collector: &Collector<'_>) -> Option<PathBuf> {
    DAEMONS.iter().map(PathBuf::from).find(|path| collector.host.is_program(path))
}

/// Plans udev without its rules.
pub(crate) fn plan(collector: &mut Collector<'_>) -> Result<(), Error> {
    if let Some(daemon) = daemon(collector) {
        collector.take(&daemon)?;
    }
    for dir in ["/usr/lib/udev", "/lib/udev"] {
        for name in collector.host.list(dir) {
            let path = PathBuf::from(dir).join(&name);
            if IDLE_HELPERS.iter().any(|helper| name == *helper) {
                continue;
            }
            if collector.host.is_program(&path) {
                // A helper that cannot run is not worth a failed image; the warning names it.
                collector.take(&path)?;
            }
        }
    }
    for pattern in [
        "/etc/udev/udev.conf",
        "/usr/lib/udev/udev.conf",
        // Interface names (80-net-setup-link.rules) are decided by these.
        "/usr/lib/systemd/network/*.link",
        "/lib/systemd/network/*.link",
        "/etc/systemd/network/*.link",
    ] {
        collector.take_all(pattern)?;
    }
    Ok(())
}

/// Plans the rules, when all programs are planned: those that call something else fail at every device, which costs
/// time and fills the log.
pub(crate) fn rules(collector: &mut Collector<'_>) -> Result<(), Error> {
    let fits = |patterns: &[&str], name: &str| patterns.iter().any(|pattern| glob::matches(pattern, name));
    for dir in ["/usr/lib/udev", "/lib/udev", "/etc/udev"] {
        for rule in collector.host.list(format!("{dir}/rules.d")) {
            let name = rule.to_string_lossy().into_owned();
            if !name.ends_with(".rules") || fits(WITHOUT, &name) {
                continue;
            }
            let path = format!("{dir}/rules.d/{name}");
            // An empty link to /dev/null is how an administrator switches a rule off.
            if collector.host.resolve(&path).is_some_and(|resolved| resolved.path.starts_with("/dev")) {
                collector.tree.link(&path, "/dev/null");
                continue;
            }
            let text = collector.host.text(&path)?.unwrap_or_default();
            let absent = programs(&text).into_iter().find(|program| !carried(collector, program));
            match absent {
                Some(program) if !fits(ESSENTIAL, &name) => {
                    tracing::info!(
                        "the udev rules {path} stay behind: they call {program}, which is not carried"
                    );
                }
                _ => collector.take(path.as_ref())?,
            }
        }
    }
    Ok(())
}

/// Whether a program that a rule names is in the rescue system; one without a path is a helper of udev.
fn carried(collector: &Collector<'_>, program: &str) -> bool {
    if program.starts_with('/') {
        return collector.tree.has(program);
    }
    ["/usr/lib/udev", "/lib/udev"].iter().any(|dir| collector.tree.has(Path::new(dir).join(program)))
}

/// The programs that rules call, as udev(7) writes them: `RUN`, `PROGRAM` and `IMPORT{program}`. Names that are made
/// at run time are passed over.
fn programs(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    // A backslash at the end of a line joins it with the next one.
    for line in text.replace("\\\n", " ").lines().filter(|line| !line.trim_start().starts_with('#')) {
        let mut rest = line;
        while let Some((key, more)) = rest.split_once('"') {
            let (value, after) = quoted(more);
            rest = after;
            let key = key.trim_start_matches([',', ' ', '\t']).trim_end();
            // The operator, and the "e" of a string with escapes.
            let key = key.trim_end_matches(['e', '=', '+', ':', '!', '-', ' ', '\t']);
            if !matches!(key, "RUN" | "RUN{program}" | "PROGRAM" | "IMPORT{program}") {
                continue;
            }
            let word = value.split_whitespace().next().unwrap_or_default().trim_matches('\'');
            if !word.is_empty() && !word.contains(['$', '%']) {
                found.push(word.to_owned());
            }
        }
    }
    found
}

/// Splits after the next quotation mark that no backslash stands before.
fn quoted(text: &str) -> (&str, &str) {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return (&text[..at], &text[at + 1..]),
            _ => {}
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_rules_are_found() {
        let text = r#"
# RUN+="/never"
ACTION=="add", SUBSYSTEM=="net", RUN+="ifupdown-hotplug"
KERNEL=="sd*", PROGRAM=="/bin/sh -c 'echo \"x\"'", RUN{builtin}+="kmod load", \
  IMPORT{program}="ata_id --export $devnode"
ENV{X}="RUN", RUN+="$env{REMOVE_CMD}", RUN{program}+="'/opt/a b' c", RUN:="/usr/bin/last
"#;
        assert_eq!(programs(text), ["ifupdown-hotplug", "/bin/sh", "ata_id", "/opt/a", "/usr/bin/last"]);
    }
}
