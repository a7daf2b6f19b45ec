//! What a device is and what lies on it, in a few words for people. The tree and the picture say it alike.

use crate::{
    Btrfs, Bytes, Content, Device, FsKind, Kind, Layout, LogicalVolume, LvmValue, MbrRole, MdArray,
    PartitionEntry, PartitionTable, Swap, SwapFile, VolumeGroup,
};

/// A description, the identifier that belongs to it, and what else is worth a word. Each may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    /// "ext4 'root'", "gpt", "LVM physical volume".
    pub(crate) what: String,
    /// UUID, GUID or signature.
    pub(crate) id: String,
    /// "(1.0 GiB used)", "of the group vg0".
    pub(crate) more: String,
}

impl Words {
    fn new(what: impl Into<String>, id: impl Into<String>) -> Self {
        Self { what: what.into(), id: id.into(), more: String::new() }
    }

    fn more(mut self, more: impl Into<String>) -> Self {
        self.more = more.into();
        self
    }

    /// All of it, with blanks between.
    pub(crate) fn line(&self) -> String {
        let words = [self.what.as_str(), self.id.as_str(), self.more.as_str()];
        words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    }
}

/// A swap file in one line.
pub(crate) fn swap_file(file: &SwapFile) -> String {
    let words = swap(&file.swap).line();
    format!("{}  {}  {}", file.path, file.size, words.replacen("swap", "swap file", 1))
}

fn swap(swap: &Swap) -> Words {
    if swap.label.is_empty() {
        Words::new("swap", &swap.uuid)
    } else {
        Words::new(format!("swap '{}'", swap.label), &swap.uuid)
    }
}

/// What a device is. A partition without a name has no words.
pub(crate) fn kind(layout: &Layout, device: &Device) -> String {
    match &device.kind {
        Kind::Disk(disk) => {
            let mut words = vec!["disk".to_owned()];
            words.extend(disk.identity.model.clone());
            words.push(disk.identity.describe());
            if let Some(multipath) = &disk.multipath {
                words.push(format!("over {} paths", multipath.paths.len()));
            }
            if disk.read_only {
                words.push("read-only".to_owned());
            }
            words.join(" ")
        }
        Kind::Partition(part) => match &part.entry {
            PartitionEntry::Gpt(entry) if entry.name.is_empty() => String::new(),
            PartitionEntry::Gpt(entry) => format!("'{}'", entry.name),
            PartitionEntry::Mbr(entry) => {
                let role = match entry.role {
                    MbrRole::Primary => "primary",
                    MbrRole::Extended => "extended",
                    MbrRole::Logical => "logical",
                };
                format!("{role} 0x{:02x}{}", entry.type_id, if entry.bootable { " active" } else { "" })
            }
        },
        Kind::MdArray(array) => format!("{}, {}", array_name(array), array_members(array)),
        Kind::LogicalVolume(volume) if volume.group.is_empty() => {
            format!("device-mapper volume {}", volume.name)
        }
        Kind::LogicalVolume(volume) => {
            let how = volume_type(layout, volume).map(|how| format!(" ({how})")).unwrap_or_default();
            format!("logical volume {}/{}{how}", volume.group, volume.name)
        }
        Kind::LuksMapping(mapping) => format!("opened as {}", mapping.name),
    }
}

/// "software RAID1 web1:0".
pub(crate) fn array_name(array: &MdArray) -> String {
    let level = array.level.replace("raid", "RAID");
    format!("software {level} {}", array.name).trim_end().to_owned()
}

/// "2 members", with what is missing or stands by.
pub(crate) fn array_members(array: &MdArray) -> String {
    let present = array.slots.iter().flatten().count();
    let mut text = count(present, "member");
    if array.is_degraded() {
        text.push_str(&format!(", {} MISSING", array.slots.len() - present));
    }
    if !array.spares.is_empty() {
        text.push_str(&format!(", {}", count(array.spares.len(), "spare")));
    }
    text
}

/// How a logical volume lies on its group, where it is not simply linear: "thin in pool0", "raid1", "striped".
pub(crate) fn volume_type(layout: &Layout, volume: &LogicalVolume) -> Option<String> {
    let group = layout.group_of(volume)?;
    let (_, section) = group.volumes().find(|(name, _)| *name == volume.name)?;
    let segments = VolumeGroup::segments(section);
    let first = segments.first()?;
    let text = |key: &str| first.get(key).and_then(LvmValue::text);
    let stripes = first.get("stripe_count").and_then(LvmValue::number);
    match text("type")? {
        "linear" => None,
        "striped" if stripes == Some(1) => None,
        "thin" => Some(match (text("origin"), text("thin_pool")) {
            (Some(origin), _) => format!("thin snapshot of {origin}"),
            (None, Some(pool)) => format!("thin, in {pool}"),
            (None, None) => "thin".to_owned(),
        }),
        "thin-pool" => Some("thin pool".to_owned()),
        "snapshot" => Some("snapshot".to_owned()),
        other => Some(other.to_owned()),
    }
}

/// Bytes of a group's extents; of its devices where the metadata does not say.
pub(crate) fn group_size(layout: &Layout, group: &VolumeGroup) -> Bytes {
    let volumes = group.metadata.get("physical_volumes").and_then(LvmValue::section);
    let extents: i64 = volumes
        .into_iter()
        .flatten()
        .filter_map(|(_, volume)| volume.section()?.get("pe_count")?.number())
        .fold(0, i64::saturating_add);
    let size = u64::try_from(extents).unwrap_or_default().saturating_mul(group.extent_size().get());
    if size > 0 {
        return Bytes(size);
    }
    let devices = group.physical_volumes.iter().filter_map(|volume| volume.device.as_ref());
    devices.filter_map(|id| layout.device(id)).map(|device| device.size).sum()
}

/// "2 physical volumes", with how many are missing.
pub(crate) fn group_words(group: &VolumeGroup) -> String {
    let missing = group.physical_volumes.iter().filter(|volume| volume.device.is_none()).count();
    let mut text = count(group.physical_volumes.len(), "physical volume");
    if missing > 0 {
        text.push_str(&format!(", {missing} MISSING"));
    }
    text
}

/// What lies on a device.
pub(crate) fn content(layout: &Layout, device: &Device) -> Words {
    match &device.content {
        Content::Empty if device.partition().is_some_and(crate::Partition::is_extended) => Words::default(),
        Content::Empty => Words::new("empty", ""),
        Content::Table(PartitionTable::Gpt { guid, .. }) => Words::new("gpt", guid),
        Content::Table(PartitionTable::Mbr { signature }) => Words::new("mbr", format!("0x{signature:08x}")),
        Content::Filesystem(fs) => {
            let mut what = match &fs.kind {
                FsKind::Vfat(vfat) => format!("vfat (FAT{})", vfat.bits),
                _ => fs.fs_type().to_owned(),
            };
            if !fs.label.is_empty() {
                what.push_str(&format!(" '{}'", fs.label));
            }
            let mut more: Vec<String> = Vec::new();
            if let FsKind::Btrfs(btrfs) = &fs.kind
                && btrfs.devices > 1
            {
                more.push(btrfs_words(btrfs));
            }
            more.extend(fs.used.map(|used| format!("({used} used)")));
            Words::new(what, &fs.uuid).more(more.join(" "))
        }
        Content::Swap(found) => swap(found),
        Content::BootCode => Words::new("boot code", ""),
        Content::LvmMember { uuid } => {
            let group = layout
                .groups
                .iter()
                .find(|group| group.physical_volumes.iter().any(|volume| volume.uuid == *uuid));
            let more = group.map(|group| format!("of {}", group.name)).unwrap_or_default();
            Words::new("LVM physical volume", uuid).more(more)
        }
        Content::MdMember { array } => member(layout, device, array),
        Content::Luks(luks) => {
            let label = if luks.label.is_empty() { String::new() } else { format!(" '{}'", luks.label) };
            Words::new(format!("LUKS{}{label}", luks.version), &luks.uuid)
        }
        Content::BtrfsMember { filesystem, number } => {
            let first = layout
                .devices
                .iter()
                .find(|other| other.filesystem().is_some_and(|fs| fs.uuid == *filesystem));
            let more = first.map(|first| format!("that begins on {}", first.path)).unwrap_or_default();
            Words::new(format!("device {number} of btrfs"), filesystem).more(more)
        }
        Content::Unknown { what } => Words::new(format!("UNKNOWN: {what}"), ""),
    }
}

/// Which member of which array.
fn member(layout: &Layout, device: &Device, uuid: &str) -> Words {
    for other in &layout.devices {
        let Kind::MdArray(array) = &other.kind else { continue };
        if array.uuid != uuid {
            continue;
        }
        let is_this = |member: &crate::MdMember| member.device == device.id;
        let slot = array.slots.iter().position(|slot| slot.as_ref().is_some_and(is_this));
        let what = match slot {
            Some(slot) => format!("member {slot} of {}", other.path),
            None if array.spares.iter().any(is_this) => format!("spare of {}", other.path),
            None => format!("member of {}", other.path),
        };
        return Words::new(format!("RAID {what}"), "");
    }
    Words::new("member of md array", uuid).more("that is not running")
}

/// "2 devices, data raid1, metadata raid1".
pub(crate) fn btrfs_words(btrfs: &Btrfs) -> String {
    let devices = usize::try_from(btrfs.devices).unwrap_or(usize::MAX);
    let mut text = format!("on {}", count(devices, "device"));
    for (name, profile) in [("data", &btrfs.data_profile), ("metadata", &btrfs.metadata_profile)] {
        if !profile.is_empty() {
            text.push_str(&format!(", {name} {profile}"));
        }
    }
    text
}

fn count(n: usize, of: &str) -> String {
    if n == 1 { format!("1 {of}") } else { format!("{n} {of}s") }
}
