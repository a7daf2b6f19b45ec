//! What the picture shows: boxes (disks, arrays, groups, containers, filesystems over several devices) with rows
//! (partitions, volumes, subvolumes), and what each box is made of. Knows nothing of places on a page.

use crate::tree::{btrfs_of, subvolumes, volumes};
use crate::words::{self, Words};
use crate::{Bytes, Content, Device, FsKind, Kind, Layout, NodeId, PartitionTable};

/// What a thing is, for its colour and the legend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Disk,
    Filesystem,
    Swap,
    Raid,
    Lvm,
    Luks,
    Btrfs,
    Boot,
    Free,
    Unknown,
}

impl Role {
    /// Its word in the legend, its strong and its light colour.
    pub(super) fn look(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Disk => ("disk", "#37474f", "#eceff1"),
            Self::Filesystem => ("filesystem", "#2e7d32", "#e8f5e9"),
            Self::Swap => ("swap", "#b26a00", "#fff3e0"),
            Self::Raid => ("software RAID", "#6a1b9a", "#f3e5f5"),
            Self::Lvm => ("LVM", "#1565c0", "#e3f2fd"),
            Self::Luks => ("encrypted (LUKS)", "#ad1457", "#fce4ec"),
            Self::Btrfs => ("btrfs", "#00695c", "#e0f2f1"),
            Self::Boot => ("boot code", "#5d4037", "#efebe9"),
            Self::Free => ("free or empty", "#9e9e9e", "#ffffff"),
            Self::Unknown => ("cannot be made again", "#c62828", "#ffffff"),
        }
    }
}

/// A part of a box.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// What others are made of, if they are made of this.
    pub(super) anchor: Option<NodeId>,
    pub(super) role: Role,
    /// "/dev/sda2", "root".
    pub(super) title: String,
    pub(super) size: String,
    /// What lies on it.
    pub(super) text: String,
    /// Its identifier, in small letters.
    pub(super) id: String,
    pub(super) mounts: Vec<String>,
    /// Its part of the box, 0 to 1.
    pub(super) share: f64,
}

/// A box with a heading.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) role: Role,
    pub(super) title: String,
    pub(super) size: String,
    /// Lines of small letters below the title.
    pub(super) lines: Vec<String>,
    pub(super) rows: Vec<Row>,
    /// Anchors of the rows that it is made of.
    pub(super) made_of: Vec<NodeId>,
    /// Column from the left: one more than the last of what it is made of.
    pub(super) column: usize,
}

/// All boxes, each after what it is made of.
pub(super) fn boxes(layout: &Layout) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    for device in &layout.devices {
        match &device.kind {
            Kind::Partition(_) => {}
            Kind::LogicalVolume(volume) if layout.group_of(volume).is_some() => {}
            _ => frames.push(frame(layout, device)),
        }
        // The filesystem that spans several devices, or that has subvolumes, is a box of its own.
        if let Some(pool) = pool(layout, device) {
            frames.push(pool);
        }
    }
    for group in &layout.groups {
        let rows = volumes(layout, group).map(|device| (row(layout, device), device.size.get())).collect();
        frames.push(Frame {
            role: Role::Lvm,
            title: format!("volume group {}", group.name),
            size: words::group_size(layout, group).to_string(),
            lines: vec![words::group_words(group), group.uuid.clone()],
            rows: shares(rows),
            made_of: group.physical_volumes.iter().filter_map(|volume| volume.device.clone()).collect(),
            column: 0,
        });
    }
    columns(&mut frames);
    frames
}

/// A disk, an array, an open container or another mapped device.
fn frame(layout: &Layout, device: &Device) -> Frame {
    let (role, lines) = match &device.kind {
        Kind::Disk(disk) => {
            let identity = &disk.identity;
            let mut words: Vec<String> = identity.model.clone().into_iter().collect();
            words.extend(identity.serial.as_ref().map(|serial| format!("serial {serial}")));
            if !disk.transport.is_empty() {
                words.push(disk.transport.clone());
            }
            let mut lines = vec![words.join(", ")];
            lines.extend(identity.wwn.as_ref().map(|wwn| format!("wwn {wwn}")));
            if identity.serial.is_none() && identity.wwn.is_none() {
                lines.push(identity.describe());
            }
            if let Some(multipath) = &disk.multipath {
                lines.push(format!("over {} paths: {}", multipath.paths.len(), multipath.paths.join(", ")));
            }
            (Role::Disk, lines)
        }
        Kind::MdArray(array) => {
            let members = words::array_members(array);
            (Role::Raid, vec![words::array_name(array), members, array.uuid.clone()])
        }
        Kind::LuksMapping(_) => (Role::Luks, vec!["encrypted volume, opened".to_owned()]),
        _ => (Role::Unknown, vec![words::kind(layout, device)]),
    };
    let title = match &device.kind {
        Kind::LuksMapping(mapping) => mapping.name.clone(),
        _ => device.path.clone(),
    };
    let mut frame = Frame {
        role,
        title,
        size: device.size.to_string(),
        lines,
        rows: Vec::new(),
        made_of: device.parents().into_iter().cloned().collect(),
        column: 0,
    };
    match &device.content {
        Content::Table(table) => {
            let words = words::content(layout, device);
            let kind = if matches!(table, PartitionTable::Gpt { .. }) { "GPT" } else { "MBR" };
            frame.lines.push(format!("{kind} {}", words.id));
            frame.rows = partitions(layout, device);
        }
        _ => {
            // Its name and size stand in the heading already.
            let row = row(layout, device);
            let (what, used) = match row.text.split_once(", ") {
                Some((what, used)) if used.ends_with(" used") => (what.to_owned(), used.to_owned()),
                _ => (row.text.clone(), String::new()),
            };
            frame.rows.push(Row { title: what, text: used, size: String::new(), ..row });
        }
    }
    frame.lines.retain(|line| !line.is_empty());
    frame
}

/// The partitions of a device by their place, with what is free between them where it is worth a row.
fn partitions(layout: &Layout, device: &Device) -> Vec<Row> {
    let mut parts = layout.partitions(&device.id);
    parts.sort_by_key(|part| part.partition().map(|part| part.start));
    let whole = device.size.get().max(1);
    let free = |from: u64, to: u64| {
        let size = to.saturating_sub(from);
        (size >= whole / 100 && size > 4 << 20).then(|| Row {
            anchor: None,
            role: Role::Free,
            title: "free".to_owned(),
            size: Bytes(size).to_string(),
            text: String::new(),
            id: String::new(),
            mounts: Vec::new(),
            share: share(size, whole),
        })
    };
    let mut rows = Vec::new();
    let mut at = 0;
    for child in parts {
        let Some(part) = child.partition() else { continue };
        let start = part.start.bytes(device.sector).get();
        rows.extend(free(at, start));
        let row = row(layout, child);
        let size = if part.is_extended() { 0 } else { child.size.get() };
        // Logical partitions lie inside of the extended one.
        at = if part.is_extended() { start } else { part.end().bytes(device.sector).get() };
        rows.push(Row { share: share(size, whole), ..row });
    }
    rows.extend(free(at, device.size.get()));
    rows
}

#[allow(clippy::cast_precision_loss, reason = "only a height on paper")]
fn share(size: u64, whole: u64) -> f64 {
    (size as f64 / whole.max(1) as f64).clamp(0.0, 1.0)
}

/// Gives rows of a group their parts of it by their sizes.
fn shares(rows: Vec<(Row, u64)>) -> Vec<Row> {
    let whole: u64 = rows.iter().map(|(_, size)| *size).fold(0, u64::saturating_add);
    rows.into_iter().map(|(row, size)| Row { share: share(size, whole), ..row }).collect()
}

/// What lies on one device.
fn row(layout: &Layout, device: &Device) -> Row {
    let Words { what, id, .. } = words::content(layout, device);
    let mut what = match &device.content {
        Content::LvmMember { .. } => {
            let more = words::content(layout, device).more;
            if more.is_empty() { what } else { format!("physical volume {more}") }
        }
        _ => what,
    };
    let mut mounts: Vec<String> =
        layout.mounts_of(&device.id).map(|mount| mount.mount_point.clone()).collect();
    if btrfs_of(device).is_some_and(|btrfs| !btrfs.subvolumes.is_empty()) {
        // Told in the box of its subvolumes.
        mounts.clear();
    }
    let name = match &device.kind {
        Kind::LogicalVolume(volume) => {
            if let Some(how) = words::volume_type(layout, volume) {
                what = if what == "empty" { how } else { format!("{how}: {what}") };
            }
            volume.name.clone()
        }
        Kind::Partition(part) if part.is_extended() => {
            what = "extended".to_owned();
            device.path.clone()
        }
        _ => device.path.clone(),
    };
    if let Content::Filesystem(fs) = &device.content
        && let Some(used) = fs.used
    {
        what.push_str(&format!(", {used} used"));
    }
    for file in layout.swap_files_of(&device.id) {
        what.push_str(&format!(", swap file {} of {}", file.path, file.size));
    }
    Row {
        anchor: Some(device.id.clone()),
        role: role(device),
        title: name,
        size: device.size.to_string(),
        text: what,
        id,
        mounts,
        share: 0.0,
    }
}

fn role(device: &Device) -> Role {
    match &device.content {
        Content::Empty | Content::Table(_) => Role::Free,
        Content::Filesystem(fs) => match fs.kind {
            FsKind::Btrfs(_) => Role::Btrfs,
            FsKind::Other { .. } => Role::Unknown,
            _ => Role::Filesystem,
        },
        Content::Swap(_) => Role::Swap,
        Content::BootCode => Role::Boot,
        Content::LvmMember { .. } => Role::Lvm,
        Content::MdMember { .. } => Role::Raid,
        Content::Luks(_) => Role::Luks,
        Content::BtrfsMember { .. } => Role::Btrfs,
        Content::Unknown { .. } => Role::Unknown,
    }
}

/// The box of a btrfs over several devices or with subvolumes.
fn pool(layout: &Layout, device: &Device) -> Option<Frame> {
    let btrfs = btrfs_of(device)?;
    let fs = device.filesystem()?;
    if btrfs.subvolumes.is_empty() && btrfs.devices <= 1 {
        return None;
    }
    let line = |title: String, mounts: Vec<String>| Row {
        anchor: None,
        role: Role::Btrfs,
        title,
        size: String::new(),
        text: String::new(),
        id: String::new(),
        mounts,
        share: 0.0,
    };
    let top = layout.mounts_of(&device.id).filter(|mount| mount.root == "/");
    let top: Vec<String> = top.map(|mount| mount.mount_point.clone()).collect();
    let mut rows = Vec::new();
    if !top.is_empty() || btrfs.subvolumes.is_empty() {
        rows.push(line("top".to_owned(), top));
    }
    let (shown, hidden) = subvolumes(layout, device, btrfs);
    rows.extend(shown.into_iter().map(|(name, points)| line(name, points)));
    if hidden > 0 {
        rows.push(line(format!("and {hidden} snapshots"), Vec::new()));
    }
    let label = if fs.label.is_empty() { String::new() } else { format!(" '{}'", fs.label) };
    let mut made_of = vec![device.id.clone()];
    made_of.extend(btrfs.members.iter().map(|member| member.device.clone()).filter(|id| *id != device.id));
    Some(Frame {
        role: Role::Btrfs,
        title: format!("btrfs{label}"),
        size: String::new(),
        lines: vec![words::btrfs_words(btrfs), fs.uuid.clone()],
        rows,
        made_of,
        column: 0,
    })
}

/// Each box stands right of all that it is made of. Boxes may name what stands later in the list (a group is made of containers, which are
/// made of volumes of another group), so this is repeated until nothing moves; a layout that contradicts itself ends it too.
fn columns(frames: &mut [Frame]) {
    for _ in 0..frames.len() {
        let mut moved = false;
        for i in 0..frames.len() {
            let below = frames[i].made_of.iter().filter_map(|id| {
                let holds = |frame: &&Frame| frame.rows.iter().any(|row| row.anchor.as_ref() == Some(id));
                frames.iter().find(holds).map(|frame| frame.column + 1)
            });
            let column = below.max().unwrap_or(0);
            if column > frames[i].column {
                frames[i].column = column;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
}
