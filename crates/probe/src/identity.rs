//! What makes a disk this disk: properties that udev keeps, with the kernel's own as fallback. Judges nothing.

use std::collections::BTreeMap;

use layout::DiskIdentity;
use sys::{Sys, SysExt};

use crate::Result;

/// Reads `E:KEY=VALUE` lines of a file below `/run/udev/data`.
pub(crate) fn parse_udev(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("E:")?.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// The identity of the disk with this kernel name and device number.
pub(crate) fn read(sys: &dyn Sys, name: &str, number: &str, sysfs: &str) -> Result<DiskIdentity> {
    let udev =
        sys.read_opt(format!("/run/udev/data/b{number}"))?.map(|text| parse_udev(&text)).unwrap_or_default();
    let property = |key: &str| udev.get(key).map(|value| tidy(value)).filter(|value| !value.is_empty());
    let attribute = |file: &str| -> Option<String> {
        match sys.read_text(format!("/sys/block/{name}/{file}")) {
            Ok(text) => Some(tidy(&text)).filter(|text| !text.is_empty()),
            Err(error) => {
                // The kernel offers files such as `wwid` for every SCSI disk, and answers ENXIO where the disk has
                // no such page. A disk without a name is no failure.
                if !error.is_not_found() {
                    tracing::debug!("{error}");
                }
                None
            }
        }
    };

    // Of a long NAA identifier ID_WWN has only the half that all volumes of one array share.
    let mut wwn = property("ID_WWN_WITH_EXTENSION").or_else(|| property("ID_WWN"));
    for file in ["wwid", "device/wwid"] {
        if wwn.is_none() {
            wwn = attribute(file).and_then(|wwid| from_wwid(&wwid));
        }
    }
    // ID_SERIAL_SHORT of a SCSI disk is its WWN again; ID_SCSI_SERIAL is what is printed on it.
    let mut serial = property("ID_SCSI_SERIAL").or_else(|| property("ID_SERIAL_SHORT"));
    for file in ["serial", "device/serial"] {
        if serial.is_none() {
            serial = attribute(file);
        }
    }
    if serial.is_none() {
        serial = match sys.read(format!("/sys/block/{name}/device/vpd_pg80").as_ref()) {
            Ok(page) => page.get(4..).map(|text| tidy(&String::from_utf8_lossy(text))),
            Err(error) if error.is_not_found() => None,
            // The kernel offers the file for every SCSI disk, and fails to read it where the disk has no such page.
            Err(error) => {
                tracing::debug!("{error}");
                None
            }
        }
        .filter(|serial| !serial.is_empty());
    }
    let model = match attribute("device/model") {
        Some(model) => Some(model),
        None => property("ID_MODEL").map(|model| model.replace('_', " ")),
    };
    let path = property("ID_PATH").or_else(|| pci_path(sysfs));
    Ok(DiskIdentity { wwn, serial: serial.map(|serial| serial.replace(' ', "_")), model, path })
}

/// Blanks at the ends and NULs removed, runs of blanks made one.
fn tidy(text: &str) -> String {
    text.replace('\0', " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The kernel's `wwid` as udev would say it. `t10.` ones are made of model and serial and are no world-wide name.
fn from_wwid(wwid: &str) -> Option<String> {
    match wwid.split_once('.') {
        Some(("naa", digits)) => Some(format!("0x{digits}")),
        Some(("eui" | "nvme" | "uuid", _)) => Some(wwid.to_owned()),
        _ => None,
    }
}

/// What udev calls ID_PATH of a virtio disk, from its place in sysfs.
fn pci_path(sysfs: &str) -> Option<String> {
    let parts: Vec<&str> = sysfs.split('/').collect();
    let virtio = parts.iter().position(|part| part.starts_with("virtio"))?;
    let slot = parts.get(virtio.checked_sub(1)?)?;
    let direct = parts.get(virtio + 1) == Some(&"block");
    (direct && slot.contains(':')).then(|| format!("pci-{slot}"))
}

/// How a disk is attached, from its place in sysfs, in lsblk's words.
pub(crate) fn transport(sysfs: &str) -> &'static str {
    let has = |piece: &str| sysfs.contains(piece);
    // NVMe disks that may have several paths stand below /sys/devices/virtual/nvme-subsystem.
    if has("/nvme") {
        "nvme"
    } else if has("/devices/virtual/") {
        "virtual"
    } else if has("/usb") {
        "usb"
    } else if has("/mmc") {
        "mmc"
    } else if has("/ata") {
        "sata"
    } else if has("/session") {
        "iscsi"
    } else if has("/rport-") {
        "fc"
    } else if has("/end_device-") {
        "sas"
    } else if has("/host") {
        "scsi"
    } else if has("/virtio") {
        "virtio"
    } else if has("/vbd-") {
        "xen"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transports_are_told_by_their_place() {
        let cases = [
            ("/sys/devices/pci0000:00/0000:00:04.0/virtio1/block/vda", "virtio"),
            ("/sys/devices/pci0000:00/0000:00:05.0/virtio2/host2/target2:0:0/2:0:0:0/block/sda", "scsi"),
            ("/sys/devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda", "sata"),
            (
                "/sys/devices/pci0000:00/0000:00:14.0/usb1/1-1/1-1:1.0/host6/target6:0:0/6:0:0:0/block/sdb",
                "usb",
            ),
            ("/sys/devices/pci0000:00/0000:00:06.0/nvme/nvme0/nvme0n1", "nvme"),
            ("/sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1", "nvme"),
            ("/sys/devices/virtual/block/bcache0", "virtual"),
        ];
        for (path, transport) in cases {
            assert_eq!(super::transport(path), transport, "{path}");
        }
        assert_eq!(pci_path(cases[0].0).as_deref(), Some("pci-0000:00:04.0"));
        assert_eq!(pci_path(cases[1].0), None);
    }

    #[test]
    fn world_wide_names_are_said_as_udev_says_them() {
        assert_eq!(from_wwid("naa.5000c500a1b2c3d4").as_deref(), Some("0x5000c500a1b2c3d4"));
        assert_eq!(from_wwid("eui.0025385b71b0a1c2").as_deref(), Some("eui.0025385b71b0a1c2"));
        assert_eq!(from_wwid("t10.ATA     QEMU HARDDISK"), None);
    }

    #[test]
    fn udev_properties_are_read() {
        let map = parse_udev("S:disk/by-id/x\nE:ID_WWN=0x5\nE:ID_MODEL_ENC=a=b\nG:systemd\n");
        assert_eq!(map["ID_WWN"], "0x5");
        assert_eq!(map["ID_MODEL_ENC"], "a=b");
    }
}
