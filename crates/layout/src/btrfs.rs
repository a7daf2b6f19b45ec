//! btrfs: devices, profiles, subvolumes and quota groups, and what must hold of them. Asks no machine.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{Bytes, Content, Device, FsKind, Layout, NodeId};

/// A btrfs, from its superblock (kernel `include/uapi/linux/btrfs_tree.h`) and, where it is mounted, from
/// `btrfs` of btrfs-progs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Btrfs {
    /// Number of devices that it spans.
    pub devices: u64,
    /// Node size in bytes.
    pub node_size: u32,
    /// Sector size in bytes.
    pub sector_size: u32,
    /// Checksum: `crc32c`, `xxhash64`, `sha256`, `blake2b`; empty when unknown.
    #[serde(default)]
    pub checksum: String,
    /// `incompat_flags` of the superblock, without those that use sets and not mkfs: a default subvolume, compression, large
    /// nodes, profiles, a changed UUID.
    #[serde(default)]
    pub feature_incompat: u64,
    /// `compat_ro_flags` of the superblock, without those that use sets: the free space tree being valid, verity.
    #[serde(default)]
    pub feature_compat_ro: u64,
    /// Profile of data block groups: `single`, `dup`, `raid0`, `raid1`, `raid1c3`, `raid1c4`, `raid10`, `raid5`, `raid6`; empty when
    /// it was not mounted.
    #[serde(default)]
    pub data_profile: String,
    /// Profile of metadata block groups.
    #[serde(default)]
    pub metadata_profile: String,
    /// All its devices by number, this one included. Only the one with the lowest number has this filesystem as its
    /// content, the others are [`Content::BtrfsMember`](crate::Content::BtrfsMember).
    #[serde(default)]
    pub members: Vec<BtrfsDevice>,
    /// Path of the default subvolume from the top of the filesystem; empty for the top itself.
    #[serde(default)]
    pub default_subvolume: String,
    /// Its subvolumes in the order of their ids, the top aside; empty when it was not mounted.
    #[serde(default)]
    pub subvolumes: Vec<Subvolume>,
    /// Quota groups, where quotas are on.
    #[serde(default)]
    pub quota: Option<BtrfsQuota>,
}

impl Btrfs {
    /// The filesystem without what a new one of the same make gives by itself: ids of subvolumes, the order in which
    /// they were made, and of what they once were snapshots.
    pub fn comparable(&self) -> Self {
        let mut plain = self.clone();
        for subvolume in &mut plain.subvolumes {
            subvolume.id = 0;
            subvolume.snapshot_of = None;
        }
        plain.subvolumes.sort_by(|a, b| a.path.cmp(&b.path));
        plain.members.sort_by_key(|member| member.number);
        if let Some(quota) = &mut plain.quota {
            for group in &mut quota.groups {
                group.parents.sort();
            }
            quota.groups.sort_by(|a, b| (a.level, &a.of).cmp(&(b.level, &b.of)));
        }
        plain
    }

    /// The subvolume of this path.
    pub fn subvolume(&self, path: &str) -> Option<&Subvolume> {
        self.subvolumes.iter().find(|subvolume| subvolume.path == path)
    }
}

/// The device as it is compared: see [`Btrfs::comparable`].
pub(crate) fn comparable(device: &Device) -> Device {
    let mut device = device.clone();
    if let Content::Filesystem(filesystem) = &mut device.content
        && let FsKind::Btrfs(btrfs) = &mut filesystem.kind
    {
        *btrfs = btrfs.comparable();
    }
    device
}

/// Says which rules the btrfs on this device breaks, if one is there.
pub(crate) fn check(layout: &Layout, device: &Device, say: &mut impl FnMut(String)) {
    let Some(filesystem) = device.filesystem() else { return };
    let FsKind::Btrfs(btrfs) = &filesystem.kind else { return };
    let path = &device.path;
    let mut numbers = BTreeSet::new();
    for member in &btrfs.members {
        let number = member.number;
        if !numbers.insert(number) {
            say(format!("{path}: its btrfs has two devices {number}"));
        }
        let fits = match layout.device(&member.device).map(|found| (found.id == device.id, &found.content)) {
            Some((own, _)) if own => true,
            Some((_, Content::BtrfsMember { filesystem: uuid, number: its })) => {
                *uuid == filesystem.uuid && *its == number
            }
            _ => false,
        };
        if !fits {
            say(format!("{path}: device {number} of its btrfs, {}, is not there", member.device));
        }
    }
    let mut paths = BTreeSet::new();
    for subvolume in &btrfs.subvolumes {
        let name = &subvolume.path;
        if name.split('/').any(|part| matches!(part, "" | "." | "..")) || name.contains('\0') {
            say(format!("{path}: '{name}' is no path of a subvolume"));
        }
        if !paths.insert(name.as_str()) {
            say(format!("{path}: two subvolumes are called {name}"));
        }
    }
    let known = |name: &str| name.is_empty() || paths.contains(name);
    if !known(&btrfs.default_subvolume) {
        say(format!("{path}: its default subvolume {} is not there", btrfs.default_subvolume));
    }
    let groups = btrfs.quota.iter().flat_map(|quota| &quota.groups);
    for group in groups.filter(|group| group.level == 0 && !known(&group.of)) {
        say(format!("{path}: a quota group is for the subvolume {}, which is not there", group.of));
    }
}

/// A device of a btrfs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BtrfsDevice {
    /// Its number in the filesystem.
    pub number: u64,
    /// The device.
    pub device: NodeId,
    /// Bytes of it that the filesystem uses.
    pub size: Bytes,
}

/// A subvolume of a btrfs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subvolume {
    /// Its id when the layout was taken. A new filesystem gives its own.
    pub id: u64,
    /// Path from the top of the filesystem, without a leading slash: `@/var/lib/portables`.
    pub path: String,
    /// Whether it is read-only.
    pub read_only: bool,
    /// Path of the subvolume that it is a snapshot of, where that still exists; `Some("")` for the top or one that is gone.
    pub snapshot_of: Option<String>,
}

/// Quota groups of a btrfs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BtrfsQuota {
    /// Whether they are simple quotas (kernel 6.7).
    pub simple: bool,
    /// Quota groups with a limit or above level 0.
    pub groups: Vec<QuotaGroup>,
}

/// A quota group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaGroup {
    /// Level, 0 for that of a subvolume.
    pub level: u64,
    /// Path of the subvolume (level 0), or the number (higher levels).
    pub of: String,
    /// Limit of referenced bytes.
    pub max_referenced: Option<Bytes>,
    /// Limit of exclusive bytes.
    pub max_exclusive: Option<Bytes>,
    /// The groups that it belongs to, as `level/number`.
    pub parents: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sub(id: u64, path: &str) -> Subvolume {
        Subvolume { id, path: path.into(), read_only: false, snapshot_of: None }
    }

    #[test]
    fn what_a_new_filesystem_numbers_anew_is_no_difference() {
        let old = Btrfs {
            subvolumes: vec![
                sub(259, "@home"),
                Subvolume { snapshot_of: Some("@home".into()), ..sub(300, "@") },
            ],
            ..Btrfs::default()
        };
        let mut new = Btrfs { subvolumes: vec![sub(256, "@"), sub(257, "@home")], ..Btrfs::default() };
        assert_eq!(old.comparable(), new.comparable());
        new.subvolumes[0].read_only = true;
        assert_ne!(old.comparable(), new.comparable());
    }
}
