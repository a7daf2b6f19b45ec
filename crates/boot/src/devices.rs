//! Whether the devices that a restored system names are here, and are what they are meant to be. Reads only.
//!
//! Identifiers (UUID, label, partition UUID) are looked up in the layouts. Any other name below `/dev` means whatever it
//! leads to, so it is followed on this machine.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use layout::{Content, Kind, Layout, NodeId, PartitionEntry, PartitionTable};
use sys::Sys;

/// Ways to write an identifier, and the directories of links that mean the same.
const TAGS: [(&str, &str); 4] = [
    ("UUID=", "/dev/disk/by-uuid/"),
    ("LABEL=", "/dev/disk/by-label/"),
    ("PARTUUID=", "/dev/disk/by-partuuid/"),
    ("PARTLABEL=", "/dev/disk/by-partlabel/"),
];

/// What a device is named for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose<'a> {
    /// To be mounted there.
    Mount(&'a str),
    /// Swap space.
    Swap,
    /// To be opened under this name.
    Mapping(&'a str),
    /// Nothing that the layout could tell.
    Unknown,
}

/// What can be named.
pub(crate) struct Devices<'a> {
    pub(crate) sys: &'a dyn Sys,
    /// What was saved.
    pub(crate) layout: &'a Layout,
    /// Everything that this machine has now.
    pub(crate) present: Option<&'a Layout>,
    /// Present node of each recreated device.
    pub(crate) nodes: &'a BTreeMap<NodeId, PathBuf>,
}

impl Devices<'_> {
    /// Whether the device is here; if not, the second half of a sentence that begins with its name.
    pub(crate) fn check(&self, device: &str, purpose: Purpose<'_>) -> Result<(), String> {
        let device = device.trim_matches('"');
        let in_present = self.present.is_some_and(|present| known(present, device));
        if is_tag(device) || self.nodes.is_empty() || !device.starts_with("/dev/") {
            return match known(self.layout, device) || in_present {
                true => Ok(()),
                false => Err("is not a device of this machine".into()),
            };
        }
        if is_mapped(self.layout, device) {
            return Ok(());
        }
        let Ok(real) = self.sys.canonicalize(Path::new(device)) else {
            if self.present.is_some_and(|present| is_stable(present, device)) {
                return Ok(());
            }
            return Err(format!("names a device that is not here: {device}"));
        };
        let wanted = self.wanted(device, purpose);
        if !wanted.is_empty() {
            return match wanted.contains(&real) {
                true => Ok(()),
                false => Err(format!("leads to {} now, not to {}", real.display(), wanted[0].display())),
            };
        }
        let recreated = self.nodes.values().any(|node| self.real(node) == real);
        // A kernel name that meant something else before now leads into what was recreated.
        if recreated && !device.starts_with("/dev/disk/") {
            return Err(format!("leads to {} now, which was recreated for something else", real.display()));
        }
        match recreated
            || self.present.is_some_and(|all| all.device_by_path(&real.to_string_lossy()).is_some())
        {
            true => Ok(()),
            false => Err(format!("names a device that is not here: {}", real.display())),
        }
    }

    fn real(&self, node: &Path) -> PathBuf {
        self.sys.canonicalize(node).unwrap_or_else(|_| node.to_owned())
    }

    /// Present nodes of the recreated devices that it could mean; none where the saved layout does not tell.
    fn wanted(&self, device: &str, purpose: Purpose<'_>) -> Vec<PathBuf> {
        let saved = self.layout;
        let mut ids: Vec<&NodeId> = match purpose {
            Purpose::Mount(point) => saved
                .mounts
                .iter()
                .filter(|mount| mount.mount_point == point)
                .map(|mount| &mount.device)
                .collect(),
            Purpose::Swap => {
                let swap = saved.devices.iter().filter(|device| matches!(device.content, Content::Swap(_)));
                swap.map(|swap| &swap.id).collect()
            }
            Purpose::Mapping(name) => {
                let mapping = saved.devices.iter().filter_map(|device| match &device.kind {
                    Kind::LuksMapping(mapping) if mapping.name == name => Some(&mapping.parent),
                    _ => None,
                });
                mapping.collect()
            }
            Purpose::Unknown => Vec::new(),
        };
        // By its name when it was saved: the only thing known of what was not in use, and the better one of several.
        if let Some(named) = saved.device_by_path(device)
            && (ids.is_empty() || ids.contains(&&named.id))
        {
            ids = vec![&named.id];
        }
        ids.into_iter().filter_map(|id| self.nodes.get(id)).map(|node| self.real(node)).collect()
    }
}

/// Whether the name is an identifier, which does not depend on what the kernel calls the device.
pub(crate) fn is_tag(device: &str) -> bool {
    let device = device.trim_matches('"');
    TAGS.iter().any(|(tag, link)| device.starts_with(tag) || device.starts_with(link))
}

/// Devices in memory, which the kernel makes anew at every start.
pub(crate) fn is_made_by_kernel(device: &str) -> bool {
    ["/dev/zram", "/dev/ram"].iter().any(|start| device.starts_with(start))
}

/// Whether the layout has the device that is named in one of the forms of fstab and `root=`.
pub(crate) fn known(layout: &Layout, device: &str) -> bool {
    let device = device.trim_matches('"');
    let by = |prefix: &str, link: &str| {
        device.strip_prefix(prefix).or_else(|| device.strip_prefix(link)).map(|value| value.trim_matches('"'))
    };
    if let Some(uuid) = by("UUID=", "/dev/disk/by-uuid/") {
        return layout.devices.iter().any(|device| {
            let own = match &device.content {
                Content::Filesystem(filesystem) => filesystem.uuid.as_str(),
                Content::Swap(swap) => swap.uuid.as_str(),
                Content::Luks(luks) => luks.uuid.as_str(),
                _ => return false,
            };
            !own.is_empty() && own.eq_ignore_ascii_case(uuid)
        });
    }
    if let Some(label) = by("LABEL=", "/dev/disk/by-label/") {
        return layout.devices.iter().any(|device| match &device.content {
            Content::Filesystem(filesystem) => filesystem.label == label,
            Content::Swap(swap) => swap.label == label,
            // crypttab may name a container by its own label.
            Content::Luks(luks) => luks.label == label,
            _ => false,
        });
    }
    let partition = by("PARTUUID=", "/dev/disk/by-partuuid/");
    let name = by("PARTLABEL=", "/dev/disk/by-partlabel/");
    if partition.is_some() || name.is_some() {
        return layout.devices.iter().filter_map(|device| device.partition()).any(|part| {
            let table = layout.device(&part.parent).and_then(|parent| parent.table());
            match (&part.entry, table) {
                (PartitionEntry::Gpt(entry), _) => {
                    partition.is_some_and(|uuid| entry.guid.eq_ignore_ascii_case(uuid))
                        || name.is_some_and(|name| entry.name == name)
                }
                (PartitionEntry::Mbr(_), Some(PartitionTable::Mbr { signature })) => {
                    partition.is_some_and(|uuid| {
                        format!("{signature:08x}-{:02x}", part.number).eq_ignore_ascii_case(uuid)
                    })
                }
                _ => false,
            }
        });
    }
    layout.devices.iter().any(|entry| entry.path == device) || is_mapped(layout, device)
}

/// Whether it is the name of something that the machine attaches by itself at each start, although it is not attached now.
fn is_stable(layout: &Layout, device: &str) -> bool {
    is_mapped(layout, device)
        || layout.devices.iter().any(|entry| match &entry.kind {
            Kind::MdArray(array) => {
                let short = array.name.split_once(':').map_or(array.name.as_str(), |(_, rest)| rest);
                device == entry.path
                    || device.strip_prefix("/dev/md/").is_some_and(|name| name == array.name || name == short)
            }
            _ => false,
        })
}

/// Whether it is the name of a logical volume or an open container, which stays the same wherever it lies.
fn is_mapped(layout: &Layout, device: &str) -> bool {
    layout.devices.iter().any(|entry| match &entry.kind {
        Kind::LogicalVolume(volume) => {
            // device-mapper doubles dashes inside the names and joins them with one.
            let mapped =
                format!("/dev/mapper/{}-{}", volume.group.replace('-', "--"), volume.name.replace('-', "--"));
            device == mapped || device == format!("/dev/{}/{}", volume.group, volume.name)
        }
        Kind::LuksMapping(mapping) => device == format!("/dev/mapper/{}", mapping.name),
        _ => false,
    })
}
