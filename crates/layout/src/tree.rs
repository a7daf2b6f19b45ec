//! The storage as an indented tree for people: what is made of what, from disks up to mount points.
//!
//! What is made of several devices is shown in full below the first of them and by name below the others. Changes
//! nothing, and hides nothing: what cannot be made again is named as such.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::{Btrfs, Content, Device, FsKind, Kind, Layout, Mount, VolumeGroup, words};

impl Layout {
    /// The whole storage, one line a device, what it is made of above it. Ends in a newline.
    pub fn tree(&self) -> String {
        let mut tree = Tree { layout: self, seen: BTreeSet::new(), out: String::new() };
        for disk in self.disks() {
            tree.branch(&Node::Device(disk), "", "");
        }
        tree.out
    }
}

/// A line of the tree.
enum Node<'a> {
    Device(&'a Device),
    Group(&'a VolumeGroup),
    /// A line without anything below it.
    Text(String),
}

struct Tree<'a> {
    layout: &'a Layout,
    /// What has been shown in full.
    seen: BTreeSet<String>,
    out: String,
}

impl<'a> Tree<'a> {
    fn branch(&mut self, node: &Node<'a>, lead: &str, rest: &str) {
        let (key, name, line) = match node {
            Node::Device(device) => (device.id.0.clone(), device.path.clone(), self.line(device)),
            Node::Group(group) => {
                let name = format!("volume group {}", group.name);
                let size = words::group_size(self.layout, group);
                let line = format!("{name}  {size}  {}  {}", words::group_words(group), group.uuid);
                (format!("vg:{}", group.uuid), name, line)
            }
            Node::Text(text) => (String::new(), String::new(), text.clone()),
        };
        let again = !key.is_empty() && !self.seen.insert(key);
        // Writing to a String cannot fail.
        if again {
            let _ = writeln!(self.out, "{lead}→ {name}, shown above");
            return;
        }
        let _ = writeln!(self.out, "{lead}{line}");
        let children = self.children(node);
        for (i, child) in children.iter().enumerate() {
            let (mine, below) =
                if i + 1 == children.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            self.branch(child, &format!("{rest}{mine}"), &format!("{rest}{below}"));
        }
    }

    fn children(&self, node: &Node<'a>) -> Vec<Node<'a>> {
        match node {
            Node::Text(_) => Vec::new(),
            Node::Group(group) => volumes(self.layout, group).map(Node::Device).collect(),
            Node::Device(device) => {
                let mut devices: Vec<&Device> = self.layout.children(&device.id);
                // A volume stands below its group, and the group below its physical volumes.
                devices.retain(|child| group_of(self.layout, child).is_none());
                devices.sort_by_key(|child| child.partition().map_or(0, |part| part.number));
                let groups = self.layout.groups.iter().filter(|group| {
                    group.physical_volumes.iter().any(|volume| volume.device.as_ref() == Some(&device.id))
                });
                let mut nodes: Vec<Node<'a>> = devices.into_iter().map(Node::Device).collect();
                nodes.extend(groups.map(Node::Group));
                nodes.extend(self.subvolumes(device).into_iter().map(Node::Text));
                let files = self.layout.swap_files_of(&device.id);
                nodes.extend(files.map(|file| Node::Text(words::swap_file(file))));
                nodes
            }
        }
    }

    fn subvolumes(&self, device: &Device) -> Vec<String> {
        let Some(btrfs) = btrfs_of(device) else { return Vec::new() };
        let (shown, hidden) = subvolumes(self.layout, device, btrfs);
        let mut lines: Vec<String> = shown
            .into_iter()
            .map(
                |(name, points)| {
                    if points.is_empty() { name } else { format!("{name}  on {}", points.join(", ")) }
                },
            )
            .collect();
        if hidden > 0 {
            lines.push(format!("and {hidden} snapshots that are not mounted"));
        }
        lines
    }

    fn line(&self, device: &Device) -> String {
        let mut line = vec![device.path.clone(), device.size.to_string(), words::kind(self.layout, device)];
        if device.sector.0 != 512 && device.disk().is_some() {
            line.push(format!("{}-byte sectors", device.sector.0));
        }
        line.push(words::content(self.layout, device).line());
        let listed = btrfs_of(device).is_some_and(|btrfs| !btrfs.subvolumes.is_empty());
        let mounts: Vec<_> = self
            .layout
            .mounts_of(&device.id)
            .filter(|mount| !listed || mount.root == "/")
            .map(|mount| mount.mount_point.as_str())
            .collect();
        if !mounts.is_empty() {
            line.push(format!("on {}", mounts.join(", ")));
        }
        line.retain(|word| !word.is_empty());
        line.join("  ")
    }
}

/// The group that a logical volume belongs to, where the layout knows it.
pub(crate) fn group_of<'a>(layout: &'a Layout, device: &Device) -> Option<&'a VolumeGroup> {
    match &device.kind {
        Kind::LogicalVolume(volume) => layout.group_of(volume),
        _ => None,
    }
}

/// The block devices of a group's volumes.
pub(crate) fn volumes<'a>(
    layout: &'a Layout,
    group: &'a VolumeGroup,
) -> impl Iterator<Item = &'a Device> + use<'a> {
    layout
        .devices
        .iter()
        .filter(move |device| group_of(layout, device).is_some_and(|one| one.uuid == group.uuid))
}

pub(crate) fn btrfs_of(device: &Device) -> Option<&Btrfs> {
    match &device.content {
        Content::Filesystem(fs) => match &fs.kind {
            FsKind::Btrfs(btrfs) => Some(btrfs),
            _ => None,
        },
        _ => None,
    }
}

/// The subvolumes worth a line, each with where it is mounted, and the number of the others: snapshots that nobody has
/// mounted, of which a machine may have hundreds.
pub(crate) fn subvolumes(
    layout: &Layout,
    device: &Device,
    btrfs: &Btrfs,
) -> (Vec<(String, Vec<String>)>, usize) {
    let mut shown = Vec::new();
    let mut hidden = 0;
    for subvolume in &btrfs.subvolumes {
        let here = |mount: &&Mount| mount.root.trim_matches('/') == subvolume.path;
        let points: Vec<String> =
            layout.mounts_of(&device.id).filter(here).map(|mount| mount.mount_point.clone()).collect();
        if points.is_empty() && subvolume.snapshot_of.is_some() {
            hidden += 1;
            continue;
        }
        let mut name = format!("subvolume {}", subvolume.path);
        if subvolume.path == btrfs.default_subvolume {
            name.push_str(" (default)");
        }
        if subvolume.read_only {
            name.push_str(" read-only");
        }
        shown.push((name, points));
    }
    (shown, hidden)
}
