//! Partitions of device-mapper disks. The kernel makes none there: kpartx does, as further devices, and how it joins
//! their names depends on the machine. udev's rule of the distribution calls it too, and what the two make has to be the same.

use std::path::Path;

use sys::{Cmd, Sys, SysExt};

/// Where udev looks for rules; a name in an earlier folder hides the same name in a later one. udev(7).
const FOLDERS: [&str; 4] =
    ["etc/udev/rules.d", "run/udev/rules.d", "usr/lib/udev/rules.d", "lib/udev/rules.d"];

/// The command that makes the partitions of a device-mapper disk what its table says, under the names that udev's rules of
/// this system give them: `mpatha-part1` on Debian and SUSE, `mpatha1` on RHEL.
pub fn kpartx(sys: &dyn Sys, disk: &str) -> Cmd {
    let mut arguments = vec!["-u".to_owned(), "-s".to_owned()];
    if let Some(delimiter) = delimiter(sys, Path::new("/")) {
        arguments.extend(["-p".to_owned(), delimiter]);
    }
    Cmd::new("kpartx").args(arguments).arg(disk)
}

/// What udev's rule puts between the name of a disk and the number of a partition. `None` where no rule says it: kpartx
/// then decides by the last character of the name.
fn delimiter(sys: &dyn Sys, root: &Path) -> Option<String> {
    let mut seen = std::collections::BTreeSet::new();
    for folder in FOLDERS {
        let folder = root.join(folder);
        for name in sys.list(&folder).unwrap_or_default() {
            let is_rule = name.ends_with(".rules") && seen.insert(name.clone());
            if is_rule
                && let Ok(text) = sys.read_text(folder.join(&name))
                && let Some(found) = text.lines().find_map(in_rule)
            {
                return Some(found);
            }
        }
    }
    None
}

/// The delimiter in a line such as `RUN+="/sbin/kpartx -un -p -part /dev/$name"`.
fn in_rule(line: &str) -> Option<String> {
    let line = line.trim_start();
    if line.starts_with('#') {
        return None;
    }
    let (_, after) = line.split_once("kpartx ")?;
    let command = after.split('"').next()?;
    let mut words = command.split_whitespace();
    words.find(|word| *word == "-p")?;
    Some(words.next()?.trim_matches('\'').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_joined_as_the_rules_of_the_machine_join_them() {
        let sys = sys::Real::new(sys::Cancel::default());
        let machine = |rules: &[(&str, &str)]| {
            let root = tempfile::tempdir().unwrap();
            for (name, text) in rules {
                let file = root.path().join(name);
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(file, text).unwrap();
            }
            delimiter(&sys, root.path())
        };
        let debian = (
            "lib/udev/rules.d/60-kpartx.rules",
            "# kpartx -p nothing\nKERNEL!=\"dm-*\", GOTO=\"end\"\nRUN+=\"/sbin/kpartx -un -p -part /dev/$name\"\n",
        );
        assert_eq!(machine(&[debian]).as_deref(), Some("-part"));
        let rhel = [
            ("usr/lib/udev/rules.d/11-dm-parts.rules", "ENV{DM_UUID}!=\"part[0-9]*\"\n"),
            ("usr/lib/udev/rules.d/62-multipath.rules", "RUN+=\"/sbin/kpartx -un $env{DEVNAME}\"\n"),
        ];
        assert_eq!(machine(&rhel), None);
        assert_eq!(machine(&[]), None);
        // The administrator's own file hides the distribution's.
        let own = ("etc/udev/rules.d/60-kpartx.rules", "RUN+=\"/sbin/kpartx -un -p p /dev/$name\"\n");
        assert_eq!(machine(&[debian, own]).as_deref(), Some("p"));
    }
}
