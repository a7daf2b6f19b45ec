//! btrfs: its superblocks (kernel `include/uapi/linux/btrfs_tree.h`, `struct btrfs_super_block`), the devices that belong
//! together, and of a mounted one what the kernel shows in `/sys/fs/btrfs` and what only `btrfs` tells. Mounts nothing.

use std::collections::BTreeMap;

use layout::{
    Btrfs, BtrfsDevice, BtrfsQuota, Bytes, Content, Filesystem, FsKind, Layout, NodeId, QuotaGroup,
};
use sys::{Cmd, Sys, SysExt};

use crate::bytes::{has, le16, le32, le64, text, uuid};
use crate::error::with_version;
use crate::mounts::{self, MountEntry};
use crate::rules::is_below;
use crate::{Error, Result, block};

pub(crate) mod tool;
pub(crate) mod views;

/// Where the first superblock stands.
pub(crate) const OFFSET: u64 = 0x10000;
/// How much of it is looked at.
pub(crate) const LEN: usize = 0x12B + 256;

/// Bits of `incompat_flags` that use sets: default subvolume, LZO, ZSTD, large nodes, RAID 5 and 6, a changed UUID, RAID 1
/// with three and four copies, simple quotas. What they stand for is kept elsewhere and sets them again.
const INCOMPAT_BY_USE: u64 = 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 10 | 1 << 11 | 1 << 16;
/// Bits of `compat_ro_flags` that use sets: the free space tree being valid, verity.
const COMPAT_RO_BY_USE: u64 = 1 << 1 | 1 << 2;
/// `flags`: a seed device, read-only for ever and part of other filesystems.
const SEEDING: u64 = 1 << 32;

/// Reads a superblock; `None` when it is none.
pub(crate) fn parse(sb: &[u8]) -> Option<Filesystem> {
    if !has(sb, 0x40, b"_BHRfS_M") {
        return None;
    }
    let checksum = match le16(sb, 0xC4)? {
        0 => "crc32c",
        1 => "xxhash64",
        2 => "sha256",
        3 => "blake2b",
        _ => "",
    };
    let kind = FsKind::Btrfs(Btrfs {
        devices: le64(sb, 0x88)?,
        node_size: le32(sb, 0x94)?,
        sector_size: le32(sb, 0x90)?,
        checksum: checksum.to_owned(),
        feature_incompat: le64(sb, 0xBC)? & !INCOMPAT_BY_USE,
        feature_compat_ro: le64(sb, 0xB4)? & !COMPAT_RO_BY_USE,
        ..Btrfs::default()
    });
    Some(Filesystem { uuid: uuid(sb, 0x20)?, label: text(sb, 0x12B, 256)?, used: None, kind })
}

/// What a superblock says of the device that it stands on.
struct Member {
    /// Index in the layout's devices.
    index: usize,
    number: u64,
    size: Bytes,
    seeding: bool,
}

fn member(index: usize, sb: &[u8]) -> Option<Member> {
    Some(Member {
        index,
        number: le64(sb, 0xC9)?,
        size: Bytes(le64(sb, 0xD1)?),
        seeding: le64(sb, 0x38)? & SEEDING != 0,
    })
}

pub(crate) fn of(content: &Content) -> Option<(&Filesystem, &Btrfs)> {
    match content {
        Content::Filesystem(fs) => match &fs.kind {
            FsKind::Btrfs(btrfs) => Some((fs, btrfs)),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a root of a mount is a subvolume, as far as they are known.
pub(crate) fn is_subvolume(device: &layout::Device, root: &str) -> bool {
    of(&device.content).is_some_and(|(_, btrfs)| {
        btrfs.metadata_profile.is_empty() || btrfs.subvolume(root.trim_start_matches('/')).is_some()
    })
}

/// The device that carries the filesystem of which this one is a part; itself for any other device.
pub(crate) fn carrier<'a>(layout: &'a Layout, device: &'a layout::Device) -> &'a layout::Device {
    let Content::BtrfsMember { filesystem, .. } = &device.content else { return device };
    let found =
        layout.devices.iter().find(|other| of(&other.content).is_some_and(|(fs, _)| fs.uuid == *filesystem));
    found.unwrap_or(device)
}

/// Puts the devices of each btrfs together, and asks the mounted ones for their inner structure.
pub(crate) fn complete(sys: &dyn Sys, layout: &mut Layout, mounted: &[MountEntry]) -> Result<()> {
    let mut families: BTreeMap<String, Vec<Member>> = BTreeMap::new();
    for (index, device) in layout.devices.iter().enumerate() {
        if let Some((fs, _)) = of(&device.content) {
            let sb = sys.read_at(device.path.as_ref(), OFFSET, LEN)?;
            families.entry(fs.uuid.clone()).or_default().extend(member(index, &sb));
        }
    }
    for (uuid, family) in families {
        let in_use: Vec<String> = block::names(sys, &format!("/sys/fs/btrfs/{uuid}/devices"))?
            .iter()
            .map(|name| mounts::device_path(name))
            .collect();
        let Some(first) = gather(layout, &uuid, family, &in_use) else { continue };
        if !in_use.is_empty() {
            mounted_one(sys, layout, first, &uuid, mounted)?;
        }
    }
    Ok(())
}

/// Makes one filesystem of the devices with its UUID. Gives the index of the one that carries it.
fn gather(layout: &mut Layout, uuid: &str, mut family: Vec<Member>, in_use: &[String]) -> Option<usize> {
    let mut unknown = |index: usize, what: String| {
        if let Some(device) = layout.devices.get_mut(index) {
            device.content = Content::Unknown { what };
        }
    };
    family.retain(|member| {
        if member.seeding {
            unknown(member.index, format!("btrfs seed device of {uuid}"));
        }
        !member.seeding
    });
    let used = |member: &Member| {
        layout.devices.get(member.index).is_some_and(|device| in_use.contains(&device.path))
    };
    // Copies of a device (a snapshot of its volume, a cloned disk) have the same numbers. The kernel knows which it
    // works with.
    let used: Vec<bool> = family.iter().map(used).collect();
    let mut family: Vec<(bool, Member)> = used.into_iter().zip(family).collect();
    family.sort_by_key(|(used, member)| (member.number, !*used, member.index));
    let mut members: Vec<Member> = Vec::new();
    for (used, member) in family {
        let again = members.last().is_some_and(|last| last.number == member.number);
        if again || (!in_use.is_empty() && !used) {
            let what =
                format!("copy of device {} of the btrfs {uuid}, which is not the one in use", member.number);
            layout.devices.get_mut(member.index)?.content = Content::Unknown { what };
        } else {
            members.push(member);
        }
    }
    let list = members.iter().filter_map(|member| {
        let device = layout.devices.get(member.index)?.id.clone();
        Some(BtrfsDevice { number: member.number, device, size: member.size })
    });
    let list: Vec<BtrfsDevice> = list.collect();
    let (first, others) = members.split_first()?;
    for other in others {
        layout.devices.get_mut(other.index)?.content =
            Content::BtrfsMember { filesystem: uuid.to_owned(), number: other.number };
    }
    btrfs_mut(layout, first.index)?.members = list;
    Some(first.index)
}

fn btrfs_mut(layout: &mut Layout, index: usize) -> Option<&mut Btrfs> {
    match &mut layout.devices.get_mut(index)?.content {
        Content::Filesystem(fs) => match &mut fs.kind {
            FsKind::Btrfs(btrfs) => Some(btrfs),
            _ => None,
        },
        _ => None,
    }
}

/// A mount point at which the filesystem of these devices is seen.
fn seen_at<'a>(sys: &dyn Sys, paths: &[String], mounted: &'a [MountEntry]) -> Result<Option<&'a str>> {
    for (i, entry) in mounted.iter().enumerate().filter(|(_, entry)| entry.fs_type == "btrfs") {
        let point = entry.mount_point.as_str();
        let covers = |later: &MountEntry| later.mount_point == point || is_below(point, &later.mount_point);
        if mounted[i + 1..].iter().any(covers) {
            continue;
        }
        if mounts::device_of(sys, entry)?.is_some_and(|path| paths.contains(&path)) {
            return Ok(Some(point));
        }
    }
    Ok(None)
}

fn mounted_one(
    sys: &dyn Sys,
    layout: &mut Layout,
    index: usize,
    uuid: &str,
    mounted: &[MountEntry],
) -> Result<()> {
    let Some(btrfs) = btrfs_mut(layout, index) else { return Ok(()) };
    let mut btrfs = btrfs.clone();
    let path = |id: &NodeId| layout.device(id).map(|device| device.path.clone());
    let paths: Vec<String> = btrfs.members.iter().filter_map(|member| path(&member.device)).collect();
    let Some(point) = seen_at(sys, &paths, mounted)? else { return Ok(()) };
    if sys.which("btrfs").is_none() {
        // Its profiles stay unknown with its subvolumes, which is what refuses to make it again.
        tracing::warn!("the btrfs {uuid} is mounted at {point}, but the program btrfs is not installed");
        return Ok(());
    }
    let ask = |args: &[&str]| -> Result<String> {
        Ok(sys.run(&Cmd::new("btrfs").args(args.iter().copied()).arg(point))?.text())
    };
    let base = format!("/sys/fs/btrfs/{uuid}");
    let told = || -> Result<Btrfs> {
        let mut told = btrfs.clone();
        told.subvolumes = tool::subvolumes(
            &ask(&["subvolume", "list", "-a", "-u", "-q"])?,
            &ask(&["subvolume", "list", "-a", "-r"])?,
        )?;
        told.default_subvolume =
            tool::default_subvolume(&ask(&["subvolume", "get-default"])?, &told.subvolumes)?;
        told.quota = quota(sys, &base, &told, &|| ask(&["qgroup", "show", "-p", "--raw"]))?;
        Ok(told)
    };
    btrfs = with_version(sys, &Cmd::new("btrfs").arg("--version"), told())?;
    let mixed = profile(sys, &base, "mixed")?;
    btrfs.data_profile = if mixed.is_empty() { profile(sys, &base, "data")? } else { mixed.clone() };
    btrfs.metadata_profile = if mixed.is_empty() { profile(sys, &base, "metadata")? } else { mixed };
    if let Some(place) = btrfs_mut(layout, index) {
        *place = btrfs;
    }
    Ok(())
}

/// Profiles, those with more copies last.
const PROFILES: [&str; 9] =
    ["single", "raid0", "dup", "raid5", "raid10", "raid1", "raid6", "raid1c3", "raid1c4"];

/// The profile in which the kernel keeps most of this kind of blocks; empty where it has none.
fn profile(sys: &dyn Sys, base: &str, kind: &str) -> Result<String> {
    let dir = format!("{base}/allocation/{kind}");
    let names = block::names(sys, &dir)?;
    let mut found = Vec::new();
    for (rank, name) in PROFILES.iter().enumerate().filter(|(_, name)| names.iter().any(|one| one == *name)) {
        let size = number(sys, &format!("{dir}/{name}/total_bytes"))?;
        if size > 0 {
            found.push((size, rank, *name));
        }
    }
    if found.len() > 1 {
        tracing::warn!("{dir} has blocks in several profiles; it comes back with the one of most blocks");
    }
    Ok(found.into_iter().max().map(|(_, _, name)| name.to_owned()).unwrap_or_default())
}

fn number(sys: &dyn Sys, path: &str) -> Result<u64> {
    let text = sys.read_text(path)?;
    text.trim().parse().map_err(|_| Error::Malformed {
        what: path.to_owned(),
        detail: format!("'{}' is no number", text.trim()),
    })
}

/// Quota groups as the kernel shows them (from 5.9 on). Only `btrfs` tells which belongs to which; it is asked where there
/// are groups above level 0.
fn quota(
    sys: &dyn Sys,
    base: &str,
    btrfs: &Btrfs,
    ask: &dyn Fn() -> Result<String>,
) -> Result<Option<BtrfsQuota>> {
    let dir = format!("{base}/qgroups");
    let mut ids = Vec::new();
    for name in block::names(sys, &dir)? {
        let Some((level, number)) = name.split_once('_') else { continue };
        // The other entries of the directory are words: `drop_subtree_threshold`.
        if let (Ok(level), Ok(number)) = (level.parse::<u64>(), number.parse::<u64>()) {
            ids.push((level, number));
        }
    }
    if sys.read_opt(format!("{dir}/enabled"))?.as_deref() != Some("1") {
        return Ok(None);
    }
    ids.sort_unstable();
    let parents =
        if ids.iter().any(|(level, _)| *level > 0) { tool::parents(&ask()?)? } else { BTreeMap::new() };
    let mut groups = Vec::new();
    for (level, id) in ids {
        let of = match level {
            0 if id == tool::TOP => String::new(),
            0 => match btrfs.subvolumes.iter().find(|subvolume| subvolume.id == id) {
                Some(subvolume) => subvolume.path.clone(),
                // What a deleted subvolume has left behind.
                None => continue,
            },
            _ => id.to_string(),
        };
        let here = format!("{dir}/{level}_{id}");
        let flags = number(sys, &format!("{here}/limit_flags"))?;
        let limit = |bit: u64, name: &str| -> Result<Option<Bytes>> {
            if flags & bit == 0 {
                return Ok(None);
            }
            Ok(Some(Bytes(number(sys, &format!("{here}/{name}"))?)))
        };
        // `BTRFS_QGROUP_LIMIT_MAX_RFER` and `_EXCL`.
        let (max_referenced, max_exclusive) = (limit(1, "max_referenced")?, limit(2, "max_exclusive")?);
        let parents = parents.get(&(level, id)).cloned().unwrap_or_default();
        if level > 0 || max_referenced.is_some() || max_exclusive.is_some() || !parents.is_empty() {
            groups.push(QuotaGroup { level, of, max_referenced, max_exclusive, parents });
        }
    }
    let simple = sys.read_opt(format!("{dir}/mode"))?.as_deref() == Some("squota");
    Ok(Some(BtrfsQuota { simple, groups }))
}

/// Why a mounted btrfs cannot be made again as far as only this machine tells; `None` when nothing is against it.
pub(crate) fn problem(btrfs: &Btrfs) -> Option<String> {
    let found = btrfs.members.len() as u64;
    if found != btrfs.devices {
        return Some(format!(
            "it has {} devices, of which {found} were found; repair it with 'btrfs replace' or 'btrfs device remove missing'",
            btrfs.devices
        ));
    }
    btrfs.metadata_profile.is_empty().then(|| {
        "its subvolumes and profiles are not known; install the program btrfs (btrfs-progs)".to_owned()
    })
}
