//! Judges how a recovered machine came up, from what the script in it wrote down.

use std::path::Path;

use crate::lab::read;
use crate::scenario::{Bus, Firmware, Spec};
use crate::{Error, Result};

/// Judges the first boot: system state, host name, every mount, swap, the firmware's boot entries, and where disks are reached over
/// two paths, that they are. `original` is the folder with what the machine told before it backed itself up.
///
/// # Errors
/// A [`Error::Verdict`] that lists what is wrong.
pub(crate) fn judge(out: &Path, original: &Path, spec: &Spec, keep_nvram: bool) -> Result<()> {
    let text = |name: &str| read(&out.join(name));
    let mut findings = Vec::new();
    let state = text("running")?;
    if state.trim() != "running" {
        findings.push(format!("the system is '{}': {}", state.trim(), text("failed")?.trim()));
    }
    let host = text("hostname")?;
    if host.trim() != spec.host {
        findings.push(format!("it is called '{}' and should be '{}'", host.trim(), spec.host));
    }
    let mounts = text("mounts")?;
    for (place, mount) in spec.mounted().filter(|(place, _)| !place.is_noauto()) {
        let there = mounts.lines().any(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            fields.first() == Some(&mount) && fields.get(2) == Some(&place.fstype.as_str())
        });
        if !there {
            findings.push(format!("{mount} ({}) is not mounted", place.fstype));
        }
    }
    let wanted = spec.places().filter(|place| place.swap).count() + usize::from(spec.swap_file.is_some());
    let active = text("swaps")?.lines().filter(|line| !line.trim().is_empty()).count();
    if active != wanted {
        findings.push(format!("{active} swap spaces are active and should be {wanted}"));
    }
    if spec.firmware == Firmware::SecureBoot && text("secure-boot")?.trim() != "1" {
        findings.push("it was started without Secure Boot".to_owned());
    }
    if spec.firmware.is_uefi() && keep_nvram {
        let entries = boot_entries(&text("efibootmgr")?, "debian");
        if entries != 1 {
            findings.push(format!("the firmware has {entries} boot entries 'debian' and should have one"));
        }
    }
    if spec.bus == Bus::Multipath {
        findings.extend(names_and_paths(&read(&original.join("lsblk"))?, &text("lsblk")?, spec.disk.len()));
    }
    if findings.is_empty() {
        return Ok(());
    }
    Err(Error::Verdict { summary: "the recovered machine boots, but is not as it was".to_owned(), findings })
}

/// Whether the disks behind several paths have their names again and both paths, and everything on them lies on them and not
/// on one of the paths. `lsblk -P` shows each once below each of its paths.
fn names_and_paths(original: &str, recovered: &str, disks: usize) -> Vec<String> {
    let named = |text: &str, kind: &str| -> Vec<String> {
        let rows = text.lines().filter(|line| line.contains(&format!("TYPE=\"{kind}\"")));
        let mut names: Vec<String> = rows
            .filter_map(|line| Some(line.strip_prefix("NAME=\"")?.split('"').next()?.to_owned()))
            .collect();
        names.sort();
        names
    };
    let mut findings = Vec::new();
    let (old, new) = (named(original, "mpath"), named(recovered, "mpath"));
    if old.len() != 2 * disks {
        findings.push(format!("the machine had {} paths and should have had two to each disk", old.len()));
    }
    if new != old {
        findings.push(format!("it has the paths {} and had {}", new.join(", "), old.join(", ")));
    }
    let mounted = |text: &str| -> Vec<String> {
        let rows = text.lines().filter(|line| !line.ends_with("MOUNTPOINT=\"\""));
        let mut rows: Vec<String> = rows
            .filter_map(|line| {
                let mount = line.rsplit_once("MOUNTPOINT=")?.1;
                Some(format!("{mount} on {}", line.strip_prefix("NAME=\"")?.split('"').next()?))
            })
            .collect();
        rows.sort();
        rows.dedup();
        rows
    };
    let (was, is) = (mounted(original), mounted(recovered));
    if was != is {
        findings.push(format!("it has {} and had {}", is.join(", "), was.join(", ")));
    }
    findings
}

/// How many of the firmware's boot entries have this name.
fn boot_entries(efibootmgr: &str, name: &str) -> usize {
    let entry = |line: &str| -> Option<String> {
        let (number, rest) = line.strip_prefix("Boot")?.split_at_checked(4)?;
        number.chars().all(|digit| digit.is_ascii_hexdigit()).then_some(())?;
        Some(rest.trim_start_matches('*').split('\t').next()?.trim().to_owned())
    };
    efibootmgr.lines().filter_map(entry).filter(|label| label == name).count()
}

#[cfg(test)]
mod tests {
    use super::{boot_entries, names_and_paths};

    #[test]
    fn a_disk_that_lost_its_name_or_a_path_is_told() {
        let row = |name: &str, kind: &str, mount: &str| {
            format!("NAME=\"{name}\" TYPE=\"{kind}\" SIZE=\"1\" FSTYPE=\"\" MOUNTPOINT=\"{mount}\"\n")
        };
        let path = |disk: &str, name: &str| {
            [row(disk, "disk", ""), row(name, "mpath", ""), row(&format!("{name}-part2"), "part", "/")]
                .concat()
        };
        let good = path("sda", "mpatha") + &path("sdb", "mpatha");
        assert_eq!(names_and_paths(&good, &good, 1), [""; 0]);
        let other = path("sda", "mpathb") + &path("sdb", "mpathb");
        assert_eq!(names_and_paths(&good, &other, 1).len(), 2);
        assert_eq!(names_and_paths(&good, &path("sda", "mpatha"), 1).len(), 1);
        let plain = row("sda", "disk", "") + &row("sda2", "part", "/") + &row("sdb", "disk", "");
        assert_eq!(names_and_paths(&good, &plain, 1).len(), 2);
        assert_eq!(names_and_paths(&plain, &plain, 1).len(), 1);
    }

    #[test]
    fn boot_entries_are_counted_by_name() {
        let text = "BootCurrent: 0003\nTimeout: 0 seconds\nBootOrder: 0003,0000\n\
                    Boot0000* UiApp\tFvVol(7cb8)\nBoot0003* debian\tHD(1,GPT,…)/File(\\EFI\\debian\\grubx64.efi)\n\
                    Boot0004* debian\tHD(1,GPT,…)\n";
        assert_eq!(boot_entries(text, "debian"), 2);
        assert_eq!(boot_entries(text, "deb"), 0);
    }
}
