//! Judges how a recovered machine came up, from what the script in it wrote down.

use std::path::Path;

use crate::lab::read;
use crate::scenario::{Firmware, Spec};
use crate::{Error, Result};

/// Judges the first boot: system state, host name, every mount, swap, and the firmware's boot entries.
///
/// # Errors
/// A [`Error::Verdict`] that lists what is wrong.
pub(crate) fn judge(out: &Path, spec: &Spec, keep_nvram: bool) -> Result<()> {
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
    if findings.is_empty() {
        return Ok(());
    }
    Err(Error::Verdict { summary: "the recovered machine boots, but is not as it was".to_owned(), findings })
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
    use super::boot_entries;

    #[test]
    fn boot_entries_are_counted_by_name() {
        let text = "BootCurrent: 0003\nTimeout: 0 seconds\nBootOrder: 0003,0000\n\
                    Boot0000* UiApp\tFvVol(7cb8)\nBoot0003* debian\tHD(1,GPT,…)/File(\\EFI\\debian\\grubx64.efi)\n\
                    Boot0004* debian\tHD(1,GPT,…)\n";
        assert_eq!(boot_entries(text, "debian"), 2);
        assert_eq!(boot_entries(text, "deb"), 0);
    }
}
