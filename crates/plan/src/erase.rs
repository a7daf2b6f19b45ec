//! Which disks the operator named for erasure. Whole names only, and each the name of one disk: it never widens a name.

use layout::{Device, DiskIdentity, Layout};

use crate::describe::disk as name;
use crate::{Choices, FitError};

/// Whether the operator named this disk for erasure.
pub(crate) fn may_erase(choices: &Choices, device: &Device) -> bool {
    choices.allow_erase.iter().any(|text| names(text, device))
        || choices.allow_erase_saved.iter().any(|text| identifies(text, device))
}

/// Refuses names that more than one present disk has: which of them was meant, nobody knows. A name that was given
/// today must be that of a disk which is here; one that was written down before may be of a disk that is gone.
pub(crate) fn check(choices: &Choices, present: &Layout) -> Result<(), FitError> {
    let shown = |disk: &Device| format!("{} ({})", name(disk), disk.id);
    for text in &choices.allow_erase {
        if !present.disks().any(|disk| names(text, disk)) {
            let disks: Vec<String> = present.disks().map(shown).collect();
            return Err(FitError::EraseUnknown { name: text.clone(), disks: disks.join(" and ") });
        }
    }
    let named = |text: &String, is: fn(&str, &Device) -> bool| {
        let disks: Vec<String> = present.disks().filter(|disk| is(text, disk)).map(shown).collect();
        match disks.len() {
            0 | 1 => Ok(()),
            _ => Err(FitError::EraseUnclear { name: text.clone(), disks: disks.join(" and ") }),
        }
    };
    choices.allow_erase.iter().try_for_each(|text| named(text, names))?;
    choices.allow_erase_saved.iter().try_for_each(|text| named(text, identifies))
}

/// Whether `text` is a name of this disk. Whole names only: a part of a serial number names nothing.
fn names(text: &str, device: &Device) -> bool {
    let Some(disk) = device.disk() else { return false };
    if text == device.id.0 || text == device.path || text == device.path.trim_start_matches("/dev/") {
        return true;
    }
    if let Some(path) = text.strip_prefix("/dev/disk/by-path/") {
        return disk.identity.path.as_deref() == Some(path);
    }
    identifies(text, device)
}

/// Whether `text` names this very disk wherever it is plugged in and whatever the kernel calls it.
fn identifies(text: &str, device: &Device) -> bool {
    let Some(disk) = device.disk() else { return false };
    let identity = &disk.identity;
    // The id of a disk without any identifier is made of its kernel name.
    if text == device.id.0 {
        return !text.starts_with("disk:name:");
    }
    let is =
        |value: &Option<String>| value.as_deref().is_some_and(|value| !value.is_empty() && value == text);
    is(&identity.wwn) || is(&identity.serial) || is_link(text, identity)
}

/// udev's 60-persistent-storage.rules: BUS-MODEL_SERIAL, virtio-SERIAL, wwn-WWN, nvme-WWN.
fn is_link(text: &str, identity: &DiskIdentity) -> bool {
    let Some(link) = text.strip_prefix("/dev/disk/by-id/") else { return false };
    let Some((bus, rest)) = link.split_once('-') else { return false };
    let wwn = identity.wwn.as_deref().is_some_and(|wwn| !wwn.is_empty() && rest == wwn);
    let serial = identity.serial.as_deref().filter(|serial| !serial.is_empty()).is_some_and(|serial| {
        let serial = serial.replace(' ', "_");
        rest == serial || (bus != "wwn" && rest.ends_with(&format!("_{serial}")))
    });
    wwn || serial
}
