//! Key files that crypttab(5) names: third field, and the options that cut a piece out of the file. Entries with
//! scripts, devices and tokens in place of a file give none.

use std::path::Path;

use sys::{Secret, Sys, SysExt};

use crate::failure::Result;

/// An entry that names a key file.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    name: String,
    /// Second field, as it is written.
    device: String,
    /// Empty for the place where systemd looks by itself.
    file: String,
    offset: usize,
    size: Option<usize>,
}

/// The entries of `/etc/crypttab`; none where there is no such file.
pub fn read(sys: &dyn Sys) -> Result<Vec<Entry>> {
    Ok(parse(&sys.read_opt("/etc/crypttab")?.unwrap_or_default()))
}

fn parse(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        let mut fields = line.split_whitespace();
        let (Some(name), Some(device)) = (fields.next(), fields.next()) else { continue };
        let file = fields.next().unwrap_or("none");
        let file = if file == "none" || file == "-" { "" } else { file };
        let options: Vec<&str> = fields.next().unwrap_or_default().split(',').collect();
        // A script makes the key out of the third field, which need not even be a file.
        let scripted = options.iter().any(|option| option.starts_with("keyscript="));
        // systemd: a file on another device is FILE:DEVICE.
        let regular =
            file.is_empty() || (file.starts_with('/') && !file.starts_with("/dev/") && !file.contains(':'));
        if scripted || !regular {
            continue;
        }
        let number = |name: &str| options.iter().find_map(|option| option.strip_prefix(name)?.parse().ok());
        entries.push(Entry {
            name: name.to_owned(),
            device: device.trim_matches('"').to_owned(),
            file: file.to_owned(),
            offset: number("keyfile-offset=").unwrap_or(0),
            size: number("keyfile-size=").filter(|size| *size > 0),
        });
    }
    entries
}

/// The key of a container that is open under one of these names, where crypttab names a file that is there.
pub fn key(sys: &dyn Sys, entries: &[Entry], uuid: &str, names: &[&str]) -> Result<Option<Secret>> {
    let by_uuid = |device: &str| {
        ["UUID=", "/dev/disk/by-uuid/"].iter().any(|tag| {
            device.strip_prefix(tag).is_some_and(|value| value.trim_matches('"').eq_ignore_ascii_case(uuid))
        })
    };
    let mine = |entry: &&Entry| names.contains(&entry.name.as_str()) || by_uuid(&entry.device);
    for entry in entries.iter().filter(mine) {
        let places = match entry.file.as_str() {
            // systemd.cryptsetup: where the field is empty.
            "" => ["/etc", "/run"].map(|dir| format!("{dir}/cryptsetup-keys.d/{}.key", entry.name)).to_vec(),
            file => vec![file.to_owned()],
        };
        for place in places.iter().filter(|place| sys.exists(Path::new(place))) {
            let bytes = sys.read(Path::new(place))?;
            let bytes = bytes.get(entry.offset..).unwrap_or_default();
            let bytes = &bytes[..entry.size.unwrap_or(bytes.len()).min(bytes.len())];
            if !bytes.is_empty() {
                return Ok(Some(Secret::of_bytes(bytes.to_vec())));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_three_and_four_fields() {
        let entries = parse(
            "# <name> <device> <key> <options>\n\ntwo UUID=1\nthree UUID=2 /etc/keys/3.key\n\
             four /dev/sdb1 /etc/keys/4.key luks,keyfile-offset=4,keyfile-size=32\n\
             asked UUID=5 none luks,discard\nrandom /dev/sda3 /dev/urandom swap\n\
             usb UUID=6 /key:LABEL=STICK luks\nscript UUID=7 /x luks,keyscript=decrypt_gnupg\nbroken\n",
        );
        let files: Vec<(&str, &str)> =
            entries.iter().map(|entry| (entry.name.as_str(), entry.file.as_str())).collect();
        assert_eq!(
            files,
            [("two", ""), ("three", "/etc/keys/3.key"), ("four", "/etc/keys/4.key"), ("asked", "")]
        );
        assert_eq!((entries[2].offset, entries[2].size), (4, Some(32)));
    }

    #[test]
    fn the_piece_of_the_file_is_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        std::fs::write(&file, b"xxxx\x00\xFFkey\nyyy").unwrap();
        let text = format!("home UUID=AB-CD {} luks,keyfile-offset=4,keyfile-size=6\n", file.display());
        let sys = sys::Real::default();
        let found = key(&sys, &parse(&text), "ab-cd", &["other"]).unwrap().unwrap();
        assert_eq!(found.expose_bytes(), b"\x00\xFFkey\n");
        assert!(key(&sys, &parse(&text), "12", &["other"]).unwrap().is_none());
        assert!(key(&sys, &parse(&text), "12", &["home"]).unwrap().is_some());
    }
}
