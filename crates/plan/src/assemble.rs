//! What has to be attached so that the devices of a saved layout are there as they are: arrays, volume groups, open
//! containers, btrfs over several devices. Found by their identifiers, never by names. It makes nothing: none of its
//! commands changes what a device holds.
//!
//! One call answers for one moment: [`assemble`] names what can be attached with the devices that are there now. The
//! caller runs it, looks at the machine again and asks again, until nothing is left.

use std::collections::{BTreeMap, BTreeSet};

use layout::{Content, Device, FsKind, Kind, Layout, NodeId};

use crate::build::needed;
use crate::{Command, locate};

/// One thing that the kernel is told to attach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attach {
    /// A software RAID array.
    Array {
        /// Its UUID.
        uuid: String,
        /// The node that it gets: `/dev/md0`.
        node: String,
        /// Nodes of its members.
        members: Vec<String>,
        /// How many members are not here.
        missing: usize,
    },
    /// A volume group.
    Group {
        /// Its UUID; empty for all groups that are found.
        uuid: String,
        /// Its name, for people.
        name: String,
        /// Nodes of its physical volumes.
        members: Vec<String>,
        /// How many of them are not here.
        missing: usize,
    },
    /// A LUKS container, which needs a key.
    Container {
        /// Its UUID.
        uuid: String,
        /// Name below `/dev/mapper`.
        name: String,
        /// The node that carries it.
        device: String,
    },
    /// The devices of a btrfs, which the kernel must know before it is mounted.
    Pool {
        /// UUID of the filesystem.
        uuid: String,
        /// Nodes of its devices.
        devices: Vec<String>,
        /// How many of them are not here.
        missing: usize,
    },
}

impl Attach {
    /// Whether the same is in the list. The node that an array would get says nothing.
    fn is_in(&self, list: &[Self]) -> bool {
        list.iter().any(|other| match (self, other) {
            (Self::Array { uuid, members, .. }, Self::Array { uuid: u, members: m, .. }) => {
                uuid == u && members == m
            }
            (one, other) => one == other,
        })
    }

    /// How many of its parts are not here.
    pub fn missing(&self) -> usize {
        match self {
            Self::Array { missing, .. } | Self::Group { missing, .. } | Self::Pool { missing, .. } => {
                *missing
            }
            Self::Container { .. } => 0,
        }
    }

    /// The command. That of a container reads the passphrase from standard input, to its last byte. `read_only`: an array is started
    /// so that not even its own bookkeeping is written, a container so that nothing can be written through it.
    pub fn command(&self, read_only: bool) -> Command {
        match self {
            Self::Array { uuid, node, members, .. } => {
                // --run: the members that are here are all that there will be.
                let mut args = vec!["--assemble".to_owned(), "--run".to_owned()];
                args.extend(read_only.then(|| "--readonly".to_owned()));
                args.extend([format!("--uuid={uuid}"), node.clone()]);
                args.extend(members.iter().cloned());
                Command::new("mdadm", args)
            }
            Self::Group { uuid, .. } => group(uuid, "y"),
            Self::Container { name, device, .. } => {
                let mut args = vec!["open", "--batch-mode", "--type", "luks", "--key-file=-"];
                args.extend(read_only.then_some("--readonly"));
                args.extend([device.as_str(), name.as_str()]);
                Command::new("cryptsetup", args)
            }
            Self::Pool { devices, .. } => {
                let words = ["device".to_owned(), "scan".to_owned()];
                Command::new("btrfs", words.into_iter().chain(devices.iter().cloned()))
            }
        }
    }

    /// The command that takes it down again; `None` where there is nothing to take down.
    pub fn undo(&self) -> Option<Command> {
        match self {
            Self::Array { node, .. } => Some(Command::new("mdadm", ["--stop", node])),
            Self::Group { uuid, .. } => Some(group(uuid, "n")),
            Self::Container { name, .. } => Some(Command::new("cryptsetup", ["close", name])),
            Self::Pool { .. } => None,
        }
    }

    /// What it is, without a full stop: "the array … as /dev/md0 of /dev/sda1, /dev/sdb1".
    pub fn describe(&self) -> String {
        let (what, of) = match self {
            Self::Array { uuid, node, members, .. } => {
                (format!("the array {uuid} as {node}"), members.as_slice())
            }
            Self::Group { name, members, .. } if name.is_empty() => {
                ("all volume groups".into(), members.as_slice())
            }
            Self::Group { name, members, .. } => (format!("the volume group {name}"), members.as_slice()),
            Self::Container { uuid, name, device } => {
                return format!("the LUKS container {uuid} on {device} as {name}");
            }
            Self::Pool { uuid, devices, .. } => (format!("the btrfs {uuid}"), devices.as_slice()),
        };
        let missing = match self.missing() {
            0 => String::new(),
            missing => format!(", {missing} of them not here"),
        };
        format!("{what} of {}{missing}", of.join(", "))
    }
}

fn group(uuid: &str, state: &str) -> Command {
    let mut args = vec!["--activate".to_owned(), state.to_owned()];
    if state == "y" {
        // The monitoring daemon is none of the rescue system's programs.
        args.extend(["--monitor".to_owned(), "n".to_owned()]);
    }
    if !uuid.is_empty() {
        args.extend(["--select".to_owned(), format!("vg_uuid={uuid}")]);
    }
    Command::new("vgchange", args)
}

/// What can be attached now so that the saved devices `wanted` come to be there, without what was `tried` already.
///
/// Nothing that lacks a part is named as long as anything whole is left: a member may lie on what is attached next.
/// Empty when all is there, or when no more can be done; [`locate`] says of each device which.
pub fn assemble(saved: &Layout, present: &Layout, wanted: &[NodeId], tried: &[Attach]) -> Vec<Attach> {
    let mut found: Vec<Attach> = Vec::new();
    let needed = below(saved, wanted);
    for device in saved.devices.iter().filter(|device| needed.contains(&device.id)) {
        let attach = if locate(saved, present, &device.id).is_err() {
            missing(saved, present, device, &found)
        } else {
            pool(present, device)
        };
        // The volumes of a group all ask for the group.
        let new = |attach: &Attach| !attach.is_in(tried) && !attach.is_in(&found);
        found.extend(attach.filter(new));
    }
    let (whole, partial): (Vec<Attach>, Vec<Attach>) =
        found.into_iter().partition(|attach| attach.missing() == 0);
    // Parents stand first: what a later one lacks may be on the first.
    if whole.is_empty() { partial.into_iter().take(1).collect() } else { whole }
}

/// The same for a machine of which nothing is saved: all that is found, also what is not needed.
pub fn assemble_found(present: &Layout, tried: &[Attach]) -> Vec<Attach> {
    let mut found = Vec::new();
    let mut arrays: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut volumes = Vec::new();
    for device in &present.devices {
        let used = !present.children(&device.id).is_empty();
        match &device.content {
            Content::MdMember { array } if !used => {
                arrays.entry(array).or_default().push(device.path.clone())
            }
            Content::LvmMember { .. } if !used => volumes.push(device.path.clone()),
            Content::Luks(luks) if !used => found.push(Attach::Container {
                uuid: luks.uuid.clone(),
                name: format!("luks-{}", luks.uuid),
                device: device.path.clone(),
            }),
            _ => found.extend(pool(present, device)),
        }
    }
    if !volumes.is_empty() {
        let none = String::new;
        found.push(Attach::Group { uuid: none(), name: none(), members: volumes, missing: 0 });
    }
    for (uuid, members) in arrays {
        let node = array_node(present, &found, "");
        found.push(Attach::Array { uuid: uuid.to_owned(), node, members, missing: 0 });
    }
    found.retain(|attach| !attach.is_in(tried));
    // What a group lacks may be on an array, and nobody should be asked for keys of what is opened for nothing.
    let rank = |attach: &Attach| match attach {
        Attach::Pool { .. } | Attach::Array { .. } => 0,
        Attach::Group { .. } => 1,
        Attach::Container { .. } => 2,
    };
    let first = found.iter().map(rank).min();
    found.retain(|attach| Some(rank(attach)) == first);
    found
}

/// The wanted devices and all that they are made of.
fn below<'a>(saved: &'a Layout, wanted: &'a [NodeId]) -> BTreeSet<&'a NodeId> {
    let mut needed = BTreeSet::new();
    let mut open: Vec<&NodeId> = wanted.iter().collect();
    while let Some(id) = open.pop() {
        if !needed.insert(id) {
            continue;
        }
        let Some(device) = saved.device(id) else { continue };
        open.extend(device.parents());
        if let Kind::LogicalVolume(volume) = &device.kind
            && let Some(group) = saved.group_of(volume)
        {
            open.extend(group.physical_volumes.iter().filter_map(|volume| volume.device.as_ref()));
        }
        if let Some(FsKind::Btrfs(btrfs)) = device.filesystem().map(|filesystem| &filesystem.kind) {
            open.extend(btrfs.members.iter().map(|member| &member.device));
        }
    }
    needed
}

/// How to attach a saved device that is not there; `None` where nothing of it is there, or nothing can be done.
fn missing(saved: &Layout, present: &Layout, device: &Device, found: &[Attach]) -> Option<Attach> {
    let with = |fits: &dyn Fn(&Content) -> bool| -> Vec<String> {
        present
            .devices
            .iter()
            .filter(|device| fits(&device.content))
            .map(|device| device.path.clone())
            .collect()
    };
    let attach = match &device.kind {
        Kind::Disk(_) | Kind::Partition(_) => return None,
        Kind::MdArray(array) => {
            let members =
                with(&|content| matches!(content, Content::MdMember { array: uuid } if *uuid == array.uuid));
            let missing = array.members().count().saturating_sub(members.len());
            let node = array_node(present, found, &device.path);
            Attach::Array { uuid: array.uuid.clone(), node, members, missing }
        }
        Kind::LogicalVolume(volume) => {
            let group = saved.group_of(volume)?;
            let mut members = Vec::new();
            let mut missing = 0;
            for volume in &group.physical_volumes {
                let here =
                    with(&|content| matches!(content, Content::LvmMember { uuid } if *uuid == volume.uuid));
                missing += usize::from(here.is_empty());
                members.extend(here);
            }
            Attach::Group { uuid: group.uuid.clone(), name: group.name.clone(), members, missing }
        }
        Kind::LuksMapping(mapping) => {
            let container = locate(saved, present, &mapping.parent).ok()?;
            let Content::Luks(luks) = &container.content else { return None };
            let device = container.path.clone();
            Attach::Container { uuid: luks.uuid.clone(), name: mapping.name.clone(), device }
        }
    };
    let empty = matches!(&attach, Attach::Array { members, .. } | Attach::Group { members, .. } if members.is_empty());
    (!empty).then_some(attach)
}

/// A btrfs over several devices, which `device` of either layout carries.
fn pool(present: &Layout, device: &Device) -> Option<Attach> {
    let filesystem = device.filesystem()?;
    let FsKind::Btrfs(btrfs) = &filesystem.kind else { return None };
    if btrfs.devices < 2 {
        return None;
    }
    let part = |content: &Content| match content {
        Content::Filesystem(fs) => fs.uuid == filesystem.uuid,
        Content::BtrfsMember { filesystem: uuid, .. } => *uuid == filesystem.uuid,
        _ => false,
    };
    let devices: Vec<String> = present
        .devices
        .iter()
        .filter(|device| part(&device.content))
        .map(|device| device.path.clone())
        .collect();
    let missing = usize::try_from(btrfs.devices).unwrap_or(usize::MAX).saturating_sub(devices.len());
    Some(Attach::Pool { uuid: filesystem.uuid.clone(), devices, missing })
}

/// The node for an array: its old one where that has a number and is free, else the last free one.
fn array_node(present: &Layout, taken: &[Attach], old: &str) -> String {
    let free = |node: &str| {
        let planned = |attach: &Attach| matches!(attach, Attach::Array { node: other, .. } if other == node);
        present.device_by_path(node).is_none() && !taken.iter().any(planned)
    };
    let numbered = old
        .strip_prefix("/dev/md")
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    if numbered && free(old) {
        return old.to_owned();
    }
    (0..128)
        .rev()
        .map(|number| format!("/dev/md{number}"))
        .find(|node| free(node))
        .unwrap_or("/dev/md127".into())
}

/// A saved mount and what stands for its device now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundMount {
    /// Where it is in the machine.
    pub mount_point: String,
    /// Type, as the kernel names it.
    pub fs_type: String,
    /// Options that decide how files look or which subvolume it is (not those that restrict).
    pub options: Vec<String>,
    /// The node to mount, or why there is none.
    pub device: Result<String, String>,
}

/// All saved mounts, parents first, each with the device that is there now or the reason why none is.
pub fn found_mounts(saved: &Layout, present: &Layout) -> Vec<FoundMount> {
    let mut found: Vec<FoundMount> = saved
        .mounts
        .iter()
        .map(|mount| FoundMount {
            mount_point: mount.mount_point.clone(),
            fs_type: mount.fs_type.clone(),
            options: needed(mount),
            device: locate(saved, present, &mount.device).map(|device| device.path.clone()),
        })
        .collect();
    found.sort_by_key(|mount| mount.mount_point.split('/').filter(|part| !part.is_empty()).count());
    found
}
