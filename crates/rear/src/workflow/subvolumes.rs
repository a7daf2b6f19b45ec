//! What btrfs needs besides the archive and the plan: the parts of it that no mount shows, limits and read-only flags that
//! must not stand in the way of a restore, and subvolume ids, which a new filesystem gives anew. See
//! `docs/decisions/0007-btrfs.md`.

use std::path::{Path, PathBuf};

use backup::View;
use boot::Renumbered;
use layout::{Btrfs, Device, FsKind, Layout};
use probe::Top;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use sys::mount::{Mount, Mounts};

use crate::context::Context;
use crate::failure::{Failure, Result};

/// Where what no mount shows is mounted while it is archived (in our own mount namespace).
const SHOWN: &str = "/run/rear/btrfs";

fn btrfs_of(device: &Device) -> Option<&Btrfs> {
    match &device.filesystem()?.kind {
        FsKind::Btrfs(btrfs) => Some(btrfs),
        _ => None,
    }
}

/// Shows each of these parts, from its snapshot where there is one, so that they can be archived. They are unmounted with what is returned.
pub fn show(
    layout: &Layout,
    tops: &[Top],
    mut taken: Option<&mut snapshot::Taken>,
) -> Result<(Vec<View>, Mounts)> {
    let (mut views, mut mounts) = (Vec::new(), Mounts::default());
    for (number, top) in tops.iter().enumerate() {
        let device = layout
            .device(&top.device)
            .ok_or_else(|| Failure::failed(format!("the btrfs {} is not there", top.device)))?;
        let place = Path::new(SHOWN).join(number.to_string());
        sys::fs::create_dir_private(&place)?;
        let still = match &mut taken {
            Some(taken) => taken.show(&top.mount_point, &place, &mut mounts)?,
            None => false,
        };
        if !still {
            let options = format!("subvol={}", top.root);
            mounts.push(mount_quietly(&device.path, &place, &options)?);
        }
        views.push(View { root: place, at: PathBuf::from(&top.mount_point) });
    }
    Ok((views, mounts))
}

/// Read-only, so that reading changes no access times.
fn mount_quietly(device: &str, place: &Path, options: &str) -> Result<Mount> {
    use rustix::mount::MountFlags;
    Ok(Mount::new(device, place, "btrfs", MountFlags::RDONLY | MountFlags::NOATIME, options)?)
}

/// Replaces the ids of subvolumes in the restored fstab and kernel command lines by those that they have now.
pub fn renumber(
    context: &Context,
    saved: &Layout,
    root: &Path,
    changed: &mut boot::Changed,
    problems: &mut Vec<String>,
) -> Result<()> {
    if !saved.devices.iter().any(|device| btrfs_of(device).is_some()) || !boot::names_subvolids(root) {
        return Ok(());
    }
    let present = probe::machine(&context.sys)?;
    let root_device = saved.mounted_at("/").map(|device| &device.id);
    let filesystems: Vec<Renumbered> = saved
        .devices
        .iter()
        .filter_map(|device| {
            let (fs, old) = (device.filesystem()?, btrfs_of(device)?);
            let is_it = |other: &&Device| other.filesystem().is_some_and(|other| other.uuid == fs.uuid);
            let new = btrfs_of(present.devices.iter().find(is_it)?)?;
            let ids = old.subvolumes.iter().filter_map(|one| Some((one.id, new.subvolume(&one.path)?.id)));
            Some(Renumbered {
                uuid: fs.uuid.clone(),
                label: fs.label.clone(),
                is_root: root_device == Some(&device.id),
                ids: ids.collect(),
            })
        })
        .collect();
    let (touched, unknown) = boot::rewrite_subvolids(root, &filesystems, changed)?;
    for path in &touched {
        context.ui.say(format!("{} has the new ids of subvolumes.", path.display()));
    }
    problems.extend(unknown);
    Ok(())
}

/// Where the mounts of the saved layout show subvolumes below their own: also those whose files are read from another
/// mount, or not at all, and that no archive has at this place.
pub fn places(saved: &Layout) -> Vec<PathBuf> {
    let mut places = Vec::new();
    for mount in &saved.mounts {
        let Some(btrfs) = saved.device(&mount.device).and_then(btrfs_of) else { continue };
        let root = Path::new(mount.root.trim_start_matches('/'));
        let below = btrfs.subvolumes.iter().filter_map(|one| Path::new(&one.path).strip_prefix(root).ok());
        let below = below.filter(|rest| !rest.as_os_str().is_empty());
        places.extend(below.map(|rest| Path::new(&mount.mount_point).join(rest)));
    }
    places
}

/// The last steps on each btrfs, when all files are in their places: the reserved places go away, quota groups get
/// their limits, and what was read-only is so again.
pub fn finish(
    context: &Context,
    saved: &Layout,
    applied: &mut apply::Applied,
    root: &Path,
    problems: &mut Vec<String>,
) -> Result<()> {
    for mount in saved.mounts.iter().filter(|mount| probe::is_top(&mount.mount_point)) {
        let place = root.join(mount.mount_point.trim_start_matches('/'));
        if let Some(shown) = applied.mounts.take(&place) {
            shown.unmount()?;
        }
        remove_place(root, &place)?;
    }
    problems.extend(apply::finish(&context.sys, saved, &applied.devices)?);
    Ok(())
}

/// Removes the empty directory of a reserved place; the time of the root directory stays what it was.
fn remove_place(root: &Path, place: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let before = std::fs::symlink_metadata(root)?;
    match std::fs::remove_dir(place) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        result => result?,
    }
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps {
        last_access: time(before.atime(), before.atime_nsec()),
        last_modification: time(before.mtime(), before.mtime_nsec()),
    };
    rustix::fs::utimensat(CWD, root, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(std::io::Error::from)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_follow_the_roots_of_mounts() {
        use layout::{
            Bytes, Content, Disk, DiskIdentity, Filesystem, Firmware, Kind, NodeId, SectorSize, Subvolume,
        };
        let mut saved = Layout::new(layout::Machine {
            hostname: String::new(),
            firmware: Firmware::Bios,
            architecture: String::new(),
            system: String::new(),
        });
        let one = |path: &str| Subvolume { id: 256, path: path.into(), read_only: false, snapshot_of: None };
        let btrfs = Btrfs { subvolumes: vec![one("@"), one("@/var/x"), one("@home")], ..Btrfs::default() };
        let disk = Disk {
            identity: DiskIdentity::default(),
            transport: String::new(),
            removable: false,
            read_only: false,
            multipath: None,
        };
        let filesystem =
            Filesystem { uuid: "u".into(), label: String::new(), used: None, kind: FsKind::Btrfs(btrfs) };
        saved.devices.push(Device {
            id: NodeId("d".into()),
            path: "/dev/vda".into(),
            size: Bytes(1),
            sector: SectorSize(512),
            kind: Kind::Disk(disk),
            content: Content::Filesystem(filesystem),
        });
        for (root, point) in [("/@", "/"), ("/", "/.rear-btrfs-u")] {
            saved.mounts.push(layout::Mount {
                device: NodeId("d".into()),
                mount_point: point.into(),
                root: root.into(),
                fs_type: "btrfs".into(),
                options: Vec::new(),
            });
        }
        let expected = ["/var/x", "/.rear-btrfs-u/@", "/.rear-btrfs-u/@/var/x", "/.rear-btrfs-u/@home"];
        assert_eq!(places(&saved), expected.map(PathBuf::from));
    }

    #[test]
    fn a_place_goes_away_without_a_trace() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join(".place");
        std::fs::create_dir(&place).unwrap();
        let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::new(1_000_000, 5);
        std::fs::File::open(dir.path()).unwrap().set_modified(old).unwrap();
        remove_place(dir.path(), &place).unwrap();
        let now = std::fs::metadata(dir.path()).unwrap();
        assert_eq!((now.mtime(), now.mtime_nsec()), (1_000_000, 5));
        assert!(!place.exists());
        remove_place(dir.path(), &place).unwrap();
        std::fs::create_dir_all(place.join("x")).unwrap();
        assert!(remove_place(dir.path(), &place).is_err(), "never deletes what it does not know");
    }
}
