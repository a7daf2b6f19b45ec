//! The mounts below the target directory, parents first. Mounts nothing.

use layout::{Device, FsKind, Mount};

use super::{Maker, PlanError};
use crate::Action;

impl Maker<'_> {
    pub(super) fn mounts(&mut self, target_root: &str) -> Result<(), PlanError> {
        let mut mounts: Vec<&Mount> = Vec::new();
        for mount in &self.saved.mounts {
            // A second mount of a filesystem, or one of a directory inside it (a bind mount), shows files that
            // the first one shows already.
            // Subvolumes of a btrfs are trees of their own.
            let btrfs = mount.fs_type == "btrfs";
            let again = mounts
                .iter()
                .any(|other| other.device == mount.device && (!btrfs || other.root == mount.root));
            if self.targets.contains_key(&mount.device) && (btrfs || mount.root == "/") && !again {
                mounts.push(mount);
            }
        }
        if !mounts.iter().any(|mount| mount.mount_point == "/") {
            return Err(PlanError::NoRoot);
        }
        // A parent is always shorter, in components, than what is mounted below it.
        mounts.sort_by_key(|mount| mount.mount_point.split('/').filter(|part| !part.is_empty()).count());
        for mount in mounts {
            let Some(target) = self.targets.get(&mount.device).cloned() else { continue };
            let root = target_root.trim_end_matches('/');
            let directory = if mount.mount_point == "/" {
                root.to_owned()
            } else {
                format!("{root}{}", mount.mount_point)
            };
            let action = Action::Mount {
                target,
                mount_point: mount.mount_point.clone(),
                directory: if directory.is_empty() { "/".into() } else { directory },
                fs_type: self.fs_type(mount),
                options: needed(mount),
            };
            let why = match mount.mount_point.as_str() {
                "/" => "the files are restored below it".to_owned(),
                point => format!("it belongs to {point}"),
            };
            self.push(action, why);
        }
        Ok(())
    }

    /// The type to mount it as. What a program of its own presented (ntfs-3g, exfat-fuse) is mounted by the kernel.
    fn fs_type(&self, mount: &Mount) -> String {
        let filesystem = self.saved.device(&mount.device).and_then(Device::filesystem);
        match filesystem.map(|filesystem| &filesystem.kind) {
            Some(FsKind::Ntfs(_)) => "ntfs3".to_owned(),
            Some(FsKind::Exfat(_)) => "exfat".to_owned(),
            _ => mount.fs_type.clone(),
        }
    }
}

/// The options that decide how files look or how they are named. Those that restrict (`ro`, `noexec`) would only
/// stand in the way of the restore.
pub(crate) fn needed(mount: &Mount) -> Vec<String> {
    // FAT has neither owners, modes nor one encoding: they are what the mount says.
    const VFAT: [&str; 15] = [
        "uid",
        "gid",
        "umask",
        "dmask",
        "fmask",
        "codepage",
        "iocharset",
        "utf8",
        "uni_xlate",
        "shortname",
        "allow_utime",
        "tz",
        "time_offset",
        "check",
        "quiet",
    ];
    // What ntfs3 and exfat take of the same kind; the other options of ntfs-3g mean nothing to them.
    const OWNERS: [&str; 5] = ["uid", "gid", "umask", "dmask", "fmask"];
    let name = |option: &str| option.split('=').next().unwrap_or_default().to_owned();
    if mount.fs_type == "btrfs" {
        // Compressed files may not fit uncompressed.
        let compress = mount.options.iter().filter(|option| name(option).starts_with("compress"));
        return std::iter::once(format!("subvol={}", mount.root)).chain(compress.cloned()).collect();
    }
    if !["vfat", "exfat", "ntfs", "ntfs3", "fuseblk"].contains(&mount.fs_type.as_str()) {
        return Vec::new();
    }
    let known: &[&str] = if mount.fs_type == "vfat" { &VFAT } else { &OWNERS };
    mount.options.iter().filter(|option| known.contains(&name(option).as_str())).cloned().collect()
}
