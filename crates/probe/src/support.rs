//! What can be made again, and why the rest cannot.

use layout::{Content, Device, FsKind, Kind, Layout};
use sys::Sys;

use crate::mounts::MountEntry;
use crate::{Result, ext, nilfs, ntfs, other};

/// Why a device is no plain disk or partition; `None` when it is one.
pub(crate) fn plain(layout: &Layout, device: &Device) -> Option<&'static str> {
    match &device.kind {
        Kind::Disk(disk) if disk.transport == "virtual" => Some("a virtual block device"),
        Kind::Disk(_) => None,
        Kind::Partition(partition) => {
            layout.device(&partition.parent).and_then(|parent| plain(layout, parent))
        }
        Kind::MdArray(array) if array.uuid.is_empty() => {
            Some("an array of a firmware, or without superblocks")
        }
        Kind::MdArray(array) => {
            let members = array.members().filter_map(|member| layout.device(&member.device));
            members.filter_map(|member| plain(layout, member)).next()
        }
        Kind::LogicalVolume(volume) if volume.group.is_empty() => Some(other::mapped(volume)),
        Kind::LogicalVolume(volume) => crate::lvm::problem(layout, volume).or_else(|| {
            let below = volume.physical_volumes.iter().filter_map(|id| layout.device(id));
            below.filter_map(|device| plain(layout, device)).next()
        }),
        Kind::LuksMapping(mapping) => {
            let below = layout.device(&mapping.parent)?;
            match below.content {
                Content::Luks(_) => plain(layout, below),
                _ => Some("an encrypted volume whose header is not in front of its data"),
            }
        }
    }
}

/// Why a mounted filesystem of a known device cannot be made again; `None` when it can.
pub(crate) fn problem(layout: &Layout, mount: &MountEntry, device: &Device) -> Option<String> {
    let path = &device.path;
    if let Some(what) = plain(layout, device) {
        return Some(format!("{path} is {what}, which cannot be made again so far"));
    }
    let Some(fs) = device.filesystem() else {
        return Some(format!(
            "{} is mounted from {path}, but no known filesystem was found there",
            mount.fs_type
        ));
    };
    let family = |name: &str| match name {
        "ext2" | "ext3" | "ext4" => "ext".to_owned(),
        "msdos" => "vfat".to_owned(),
        "ntfs3" => "ntfs".to_owned(),
        other => other.to_owned(),
    };
    if family(&mount.fs_type) != family(fs.fs_type()) && mount.fs_type != "fuseblk" {
        return Some(format!(
            "the kernel has {path} mounted as {}, but it looks like {} (stale signature? see wipefs)",
            mount.fs_type,
            fs.fs_type()
        ));
    }
    let part = (mount.root != "/")
        .then(|| format!("only its directory {} is mounted; mount the whole filesystem", mount.root));
    let why = match &fs.kind {
        FsKind::Ext(e) => ext::unknown_features(e).or(part),
        FsKind::Xfs(xfs) if !xfs.log_internal => Some("its log lies on another device".to_owned()),
        FsKind::Xfs(xfs) if xfs.realtime => Some("it has a realtime section".to_owned()),
        FsKind::Xfs(_)
        | FsKind::Vfat(_)
        | FsKind::F2fs(_)
        | FsKind::Jfs(_)
        | FsKind::Ntfs(_)
        | FsKind::Exfat(_)
        | FsKind::Nilfs(_) => part,
        FsKind::Btrfs(btrfs) => crate::btrfs::problem(btrfs),
        FsKind::Other { name } => Some(format!("{name} cannot be made again")),
    };
    why.map(|why| format!("{path} ({}): {why}", fs.fs_type()))
}

/// Why an archive cannot hold all that a mounted filesystem holds; `None` when it can. Asks the machine.
pub(crate) fn carried(sys: &dyn Sys, mount: &MountEntry, device: &Device) -> Result<Option<String>> {
    let why = match device.filesystem().map(|fs| &fs.kind) {
        Some(FsKind::Ntfs(_)) => ntfs::problem(sys, mount)?,
        Some(FsKind::Nilfs(_)) => nilfs::snapshots(sys, &device.path),
        _ => None,
    };
    Ok(why.map(|why| format!("{} ({}): {why}", device.path, mount.fs_type)))
}
