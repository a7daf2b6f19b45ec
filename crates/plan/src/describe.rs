//! Disks and their contents in a few words, for people who must decide what may be erased.

use layout::{Content, Device, Layout, PartitionTable};

/// What lies on a device: "ext4 'data'", "GPT", "swap".
pub fn content(content: &Content) -> String {
    match content {
        Content::Empty => "empty".into(),
        Content::Table(PartitionTable::Gpt { .. }) => "GPT".into(),
        Content::Table(PartitionTable::Mbr { .. }) => "MBR".into(),
        Content::Filesystem(fs) if fs.label.is_empty() => fs.fs_type().to_owned(),
        Content::Filesystem(fs) => format!("{} '{}'", fs.fs_type(), fs.label),
        Content::Swap(_) => "swap".into(),
        Content::BootCode => "boot code".into(),
        Content::LvmMember { .. } => "LVM physical volume".into(),
        Content::MdMember { .. } => "member of a RAID array".into(),
        Content::Luks(luks) => format!("LUKS{} container", luks.version),
        Content::BtrfsMember { .. } => "device of a btrfs".into(),
        Content::Unknown { what } => what.clone(),
    }
}

/// A disk: "/dev/vdb, 20.0 GiB, QEMU HARDDISK, serial QM00002".
pub fn disk(device: &Device) -> String {
    let mut words = vec![device.path.clone(), device.size.to_string()];
    if let Some(disk) = device.disk() {
        words.extend(disk.identity.model.clone());
        words.push(disk.identity.describe());
        // The serial number is what stands on the label of the drive.
        if disk.identity.wwn.is_some()
            && let Some(serial) = &disk.identity.serial
        {
            words.push(format!("serial {serial}"));
        }
        if disk.removable {
            words.push("removable".into());
        }
    }
    words.join(", ")
}

/// All that a disk holds: "GPT with 3 partitions: ext4 'data', swap"; `None` when it is blank.
pub(crate) fn holds(layout: &Layout, device: &Device) -> Option<String> {
    if device.content == Content::Empty {
        return None;
    }
    let own = content(&device.content);
    let partitions = layout.partitions(&device.id);
    if device.table().is_none() {
        return Some(own);
    }
    let mut inner: Vec<String> = Vec::new();
    for child in layout.subtree(&device.id).into_iter().skip(1) {
        if child.table().is_none() && child.content != Content::Empty {
            inner.push(content(&child.content));
        }
    }
    let count = match partitions.len() {
        0 => "without partitions".to_owned(),
        1 => "with 1 partition".to_owned(),
        n => format!("with {n} partitions"),
    };
    if inner.is_empty() {
        Some(format!("{own} {count}"))
    } else {
        Some(format!("{own} {count}: {}", inner.join(", ")))
    }
}
