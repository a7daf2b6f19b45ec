//! Finds out whether DHCP clients are at work, for which links. Looks at processes, leases and configuration as
//! they lie there; asks no daemon.

use std::collections::BTreeSet;
use std::path::Path;

use sys::{Sys, SysExt};

use crate::Error;

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Evidence {
    links: BTreeSet<String>,
    /// A client runs that does not say for which link.
    general: bool,
}

/// Clients whose being there means DHCP; the other daemons do much else besides.
const CLIENTS: [&str; 6] = ["dhclient", "dhcpcd", "udhcpc", "dhcp6c", "wickedd-dhcp4", "pump"];

impl Evidence {
    pub(super) fn read(sys: &dyn Sys) -> Result<Self, Error> {
        let mut evidence = Self::default();
        let names = sys.list(Path::new("/proc")).unwrap_or_default();
        for pid in names.iter().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
            // A process may end while we look.
            let Ok(Some(name)) = sys.read_opt(format!("/proc/{pid}/comm")) else { continue };
            if CLIENTS.contains(&name.as_str()) {
                let line = sys.read_text(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                evidence.client(&line);
            }
        }
        // systemd-networkd and NetworkManager keep one file a link, named by its index.
        for dir in ["/run/systemd/netif/leases", "/run/NetworkManager/devices"] {
            for index in sys.list(Path::new(dir)).unwrap_or_default() {
                let text = sys.read_opt(format!("{dir}/{index}"))?.unwrap_or_default();
                let lease = dir.ends_with("leases")
                    || text.lines().any(|line| line.trim() == "[dhcp4]" || line.starts_with("dhcp-"));
                if lease && let Some(name) = link_of_index(sys, &index) {
                    evidence.links.insert(name);
                }
            }
        }
        Ok(evidence)
    }

    /// Command line of a client, arguments ended by NUL: link names stand at its end.
    fn client(&mut self, line: &str) {
        let args: Vec<&str> = line.split('\0').filter(|arg| !arg.is_empty()).collect();
        // Options with a value, so that the value is not taken for a link.
        let valued = [
            "-cf", "-df", "-lf", "-pf", "-sf", "-e", "-p", "-s", "-g", "-D", "-i", "-x", "-C", "-c", "-h",
            "-t",
        ];
        let before = self.links.len();
        let mut skip = false;
        for arg in args.iter().skip(1) {
            if std::mem::take(&mut skip) {
                continue;
            }
            if arg.starts_with('-') {
                // udhcpc names its link after "-i".
                skip = valued.contains(arg) && !(*arg == "-i" && args[0].contains("udhcpc"));
            } else if !arg.contains(['/', '=', ':', '[', ']', ' ']) {
                self.links.insert((*arg).to_owned());
            }
        }
        self.general |= self.links.len() == before;
    }

    /// A client works for this link.
    pub(super) fn speaks_for(&self, link: &str) -> bool {
        self.links.contains(link)
    }

    /// A client runs that names no link.
    pub(super) fn unbound(&self) -> bool {
        self.general
    }
}

fn link_of_index(sys: &dyn Sys, index: &str) -> Option<String> {
    let links = sys.list(Path::new("/sys/class/net")).ok()?;
    links.into_iter().find(|link| {
        matches!(sys.read_opt(format!("/sys/class/net/{link}/ifindex")), Ok(Some(text)) if text == index)
    })
}

#[cfg(test)]
mod tests {
    use super::Evidence;

    #[test]
    fn links_stand_at_the_end_of_the_command_line() {
        let mut evidence = Evidence::default();
        // Debian's ifupdown.
        evidence.client(
            "/sbin/dhclient\0-4\0-v\0-i\0-pf\0/run/dhclient.ens3.pid\0-lf\0/var/lib/dhcp/dhclient.ens3.leases\0-I\0-df\0/var/lib/dhcp/dhclient6.ens3.leases\0ens3\0",
        );
        assert!(evidence.speaks_for("ens3") && !evidence.unbound(), "{evidence:?}");
        let mut evidence = Evidence::default();
        evidence.client("dhcpcd: [manager] [ip4] [ip6]\0");
        assert!(evidence.unbound());
        let mut evidence = Evidence::default();
        evidence.client("udhcpc\0-i\0eth0\0");
        assert!(evidence.speaks_for("eth0"));
    }
}
