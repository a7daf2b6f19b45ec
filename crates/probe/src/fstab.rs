//! Checks fstab against the layout while a wrong entry can still be repaired. Changes no file.

use layout::{Content, Layout, PartitionEntry, PartitionTable};
use sys::Sys;

use crate::mounts::{self, FstabEntry};
use crate::rules::{Class, class};
use crate::{Error, Result};

/// Entries of `/etc/fstab` that would hang or fail at boot because no device answers to them, one sentence each.
/// Entries with `noauto` or `nofail`, network and pseudo filesystems are fine.
///
/// # Errors
/// When fstab cannot be read.
pub fn fstab_problems(sys: &dyn Sys, layout: &Layout) -> Result<Vec<String>, Error> {
    let mut problems = Vec::new();
    for entry in mounts::fstab(sys)? {
        if !is_fine(&entry) && !resolves(sys, layout, &entry.spec)? {
            let whom = if entry.fs_type == "swap" {
                "swap".to_owned()
            } else {
                format!("mount point {}", entry.file)
            };
            problems.push(format!(
                "the entry of /etc/fstab for {whom} names {}, which no device of this machine answers to: correct \
                 or remove it, or give it the option nofail",
                entry.spec
            ));
        }
    }
    Ok(problems)
}

fn is_fine(entry: &FstabEntry) -> bool {
    let optional = entry.is_optional() || entry.has("bind") || entry.has("rbind");
    let elsewhere = !matches!(class(&entry.fs_type), Class::Local | Class::Image) || entry.fs_type == "none";
    optional || elsewhere || !entry.spec.contains(['=', '/']) || entry.fs_type == "zfs"
}

fn resolves(sys: &dyn Sys, layout: &Layout, spec: &str) -> Result<bool> {
    let tags = [
        ("UUID=", "/dev/disk/by-uuid/"),
        ("LABEL=", "/dev/disk/by-label/"),
        ("PARTUUID=", "/dev/disk/by-partuuid/"),
        ("PARTLABEL=", "/dev/disk/by-partlabel/"),
    ];
    for (tag, dir) in tags {
        let value = spec.strip_prefix(tag).map(str::to_owned).or_else(|| spec.strip_prefix(dir).map(unhex));
        if let Some(value) = value {
            return Ok(has_tag(layout, tag, value.trim_matches('"')));
        }
    }
    let path = match spec.strip_prefix("ID=") {
        Some(id) => format!("/dev/disk/by-id/{id}"),
        None => spec.to_owned(),
    };
    if !path.starts_with("/dev/") {
        // A swap file or an image. Other words ("LABEL2=") are unknown to mount as well.
        return Ok(path.starts_with('/') && sys.exists(path.as_ref()));
    }
    let real = mounts::resolve(sys, &path)?;
    let name = real.trim_start_matches("/dev/");
    let no_storage = ["loop", "zram", "sr", "fd", "ram"].iter().any(|prefix| name.starts_with(prefix));
    Ok(layout.device_by_path(&real).is_some() || no_storage && sys.exists(real.as_ref()))
}

fn has_tag(layout: &Layout, tag: &str, value: &str) -> bool {
    layout.devices.iter().any(|device| {
        let (uuid, label) = match &device.content {
            Content::Filesystem(fs) => (fs.uuid.as_str(), fs.label.as_str()),
            Content::Swap(swap) => (swap.uuid.as_str(), swap.label.as_str()),
            _ => ("", ""),
        };
        match tag {
            "UUID=" => !uuid.is_empty() && uuid.eq_ignore_ascii_case(value),
            "LABEL=" => !label.is_empty() && label == value,
            tag => device.partition().is_some_and(|part| match &part.entry {
                PartitionEntry::Gpt(gpt) if tag == "PARTUUID=" => gpt.guid.eq_ignore_ascii_case(value),
                PartitionEntry::Gpt(gpt) => !gpt.name.is_empty() && gpt.name == value,
                PartitionEntry::Mbr(_) => {
                    let table = layout.device(&part.parent).and_then(|disk| disk.table());
                    tag == "PARTUUID="
                        && matches!(table, Some(PartitionTable::Mbr { signature })
                            if format!("{signature:08x}-{:02x}", part.number).eq_ignore_ascii_case(value))
                }
            }),
        }
    })
}

/// Undoes the `\x20` escapes that udev uses in the names of links.
fn unhex(name: &str) -> String {
    let mut out = Vec::new();
    let bytes = name.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        let value = (name.get(i..i + 2) == Some("\\x"))
            .then(|| name.get(i + 2..i + 4).and_then(|digits| u8::from_str_radix(digits, 16).ok()))
            .flatten();
        match value {
            Some(value) => {
                out.push(value);
                i += 4;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn link_names_are_read() {
        assert_eq!(super::unhex(r"my\x20disk\x2"), r"my disk\x2");
    }
}
