//! Snapshots that a killed run has left behind (power cut, `kill -9`). They are found in the layout, so that a machine without any is not
//! asked; whoever removes them must know that no other run of this program is at work.

use layout::{FsKind, Layout, VolumeGroup};
use sys::{Result, Sys};

use crate::{btrfs, lvm, mark};

/// What was left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Group and name.
    volumes: Vec<(String, String)>,
    /// Devices of btrfs.
    filesystems: Vec<String>,
    host: String,
}

impl Leftovers {
    /// Finds them. `sys` is asked who this machine is, and nothing else.
    pub fn find(sys: &dyn Sys, layout: &Layout) -> Self {
        let host = mark::host(sys);
        let mut found = Self::default();
        for group in &layout.groups {
            let tags = |section: &layout::LvmSection, tag: &str| VolumeGroup::has(section, "tags", tag);
            let ours = group.volumes().filter(|(name, section)| {
                name.starts_with(mark::NAME) && tags(section, mark::TAG) && tags(section, &host)
            });
            found.volumes.extend(ours.map(|(name, _)| (group.name.clone(), name.to_owned())));
        }
        let beginning = format!("{}/", mark::SNAPSHOTS);
        for device in &layout.devices {
            if let Some(FsKind::Btrfs(btrfs)) = device.filesystem().map(|filesystem| &filesystem.kind)
                && btrfs.subvolumes.iter().any(|one| one.path.starts_with(&beginning))
            {
                found.filesystems.push(device.path.clone());
            }
        }
        Self { host, ..found }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.volumes.is_empty() && self.filesystems.is_empty()
    }

    /// Removes them. Gives what was removed, and a sentence for each that stays.
    pub fn remove(&self) -> (Vec<String>, Vec<String>) {
        let sys = sys::Real::default();
        let (mut gone, mut stay) = (Vec::new(), Vec::new());
        let mut note = |what: String, result: Result<()>| match result {
            Ok(()) => gone.push(what),
            Err(error) => stay.push(format!("{what} could not be removed: {error}")),
        };
        for (group, name) in &self.volumes {
            note(format!("the snapshot {group}/{name}"), lvm::remove(&sys, group, name, &self.host));
        }
        for (number, device) in self.filesystems.iter().enumerate() {
            let result = btrfs::clear_device(&sys, device, number, &self.host);
            note(format!("the snapshots in {} of {device}", mark::SNAPSHOTS), result);
        }
        (gone, stay)
    }
}

#[cfg(test)]
mod tests;
