//! udev of the host: the daemon, its rules and helpers, so that devices get the names in the rescue system that
//! they have on the machine. Rules that start services, or that activate storage by themselves (recovery decides
//! about that), stay behind.

use std::path::PathBuf;

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

/// Where the udev daemon is on the host.
pub(crate) fn daemon(collector: &Collector<'_>) -> Option<PathBuf> {
    DAEMONS.iter().map(PathBuf::from).find(|path| collector.host.is_program(path))
}

/// Plans udev.
pub(crate) fn plan(collector: &mut Collector<'_>) -> Result<(), Error> {
    if let Some(daemon) = daemon(collector) {
        collector.take(&daemon)?;
    }
    for dir in ["/usr/lib/udev", "/lib/udev", "/etc/udev"] {
        for rule in collector.host.list(format!("{dir}/rules.d")) {
            let name = rule.to_string_lossy().into_owned();
            if name.ends_with(".rules") && !WITHOUT.iter().any(|pattern| glob::matches(pattern, &name)) {
                let path = format!("{dir}/rules.d/{name}");
                // An empty link to /dev/null is how an administrator switches a rule off.
                let off =
                    collector.host.resolve(&path).is_some_and(|resolved| resolved.path.starts_with("/dev"));
                if off {
                    collector.tree.link(&path, "/dev/null");
                } else {
                    collector.take(path.as_ref())?;
                }
            }
        }
    }
    for dir in ["/usr/lib/udev", "/lib/udev"] {
        for name in collector.host.list(dir) {
            let path = PathBuf::from(dir).join(name);
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
