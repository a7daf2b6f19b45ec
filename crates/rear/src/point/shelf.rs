//! The filesystem on which a backup lies that is not on the medium: a stick, a second disk. `mkbackup` writes it into the seal, and
//! the rescue system mounts it by its UUID, so that nobody has to find it by hand. For reading alone: not even a journal is replayed.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use layout::{Layout, NodeId};
use rustix::mount::MountFlags;
use serde::{Deserialize, Serialize};
use sys::mount::Mount;
use sys::{Cmd, Sys};

use crate::context::Context;
use crate::failure::{Failure, Result};

/// Below which it is mounted, at a place of its own for each run.
const DIRECTORY: &str = "/run/rear/backup";
/// How long to wait for a device that is slow to appear (USB).
const PATIENCE: Duration = Duration::from_secs(30);

/// A filesystem of a local device, and where it was mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shelf {
    /// Its UUID, as the layout has it.
    pub uuid: String,
    /// Its type, as the kernel names it.
    pub fs_type: String,
    /// Where it was mounted.
    pub mount_point: String,
    /// The directory of it that was seen there: `/`, or a btrfs subvolume.
    pub root: String,
}

impl Shelf {
    /// The filesystem that a place lies on (or will lie on): a path, or a `file://` URL. `None` where that is no filesystem of a
    /// local device: a share, or another machine.
    pub fn of(sys: &dyn Sys, layout: &Layout, place: &str) -> Result<Option<Self>> {
        let Some(path) = local(place) else { return Ok(None) };
        let Some(real) = path.ancestors().find_map(|one| sys.canonicalize(one).ok()) else { return Ok(None) };
        let mounts = probe::mountinfo(sys)?;
        // Of two at one place, the later one is seen.
        let holder = mounts
            .iter()
            .filter(|mount| real.starts_with(&mount.mount_point))
            .max_by_key(|mount| mount.mount_point.len());
        let Some(holder) = holder else { return Ok(None) };
        let known = layout
            .mounts
            .iter()
            .find(|mount| mount.mount_point == holder.mount_point && mount.fs_type == holder.fs_type);
        let uuid = known
            .and_then(|mount| layout.device(&mount.device)?.filesystem())
            .map(|filesystem| filesystem.uuid.clone())
            .filter(|uuid| !uuid.is_empty());
        // Through a link, the path would not lead there again.
        let under = path.starts_with(&holder.mount_point);
        Ok(uuid.filter(|_| under).map(|uuid| Self {
            uuid,
            fs_type: holder.fs_type.clone(),
            mount_point: holder.mount_point.clone(),
            root: holder.root.clone(),
        }))
    }

    /// Finds it among the devices and mounts it; waits for one that appears late. `None` where something is mounted at its place
    /// already: then a person has done so.
    pub fn attach(&self, context: &Context) -> Result<Option<Attached>> {
        let sys = &context.sys;
        if probe::mountinfo(sys)?.iter().any(|mount| mount.mount_point == self.mount_point) {
            return Ok(None);
        }
        let device = self.find(context)?;
        let target = Path::new(DIRECTORY).join(std::process::id().to_string());
        sys::fs::create_dir_private(&target)?;
        // Whether the driver is there shows in the mount.
        let _ = sys.run(&Cmd::new("modprobe").args(["-b", &self.fs_type]));
        let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        let mut words: Vec<&str> = sys::mount::untouched(&self.fs_type).into_iter().collect();
        if self.fs_type == "btrfs" {
            words.push("subvolid=5");
        }
        let mount = Mount::new(&device, &target, &self.fs_type, flags, &words.join(","))?;
        context.ui.say(format!("{:<10} {device}, which holds the backup, for reading alone", "mounted"));
        Ok(Some(Attached { shelf: self.clone(), mount }))
    }

    fn find(&self, context: &Context) -> Result<String> {
        let started = Instant::now();
        loop {
            context.cancel.check()?;
            let present = probe::machine(&context.sys)?;
            let mut found = present
                .devices
                .iter()
                .filter(|device| device.filesystem().is_some_and(|filesystem| filesystem.uuid == self.uuid))
                .map(|device| device.path.clone());
            let what = format!("the filesystem {} ({}) that holds the backup", self.uuid, self.fs_type);
            let hint = format!(
                "no disk was written to; attach its disk, or mount what holds the backup at {}, read-only if you like, and run \
                 rear recover again",
                self.mount_point
            );
            match (found.next(), found.next()) {
                (Some(one), None) => return Ok(one),
                (Some(one), Some(other)) => {
                    return Err(
                        Failure::refused(format!("{what} is there twice: {one} and {other}")).hint(hint)
                    );
                }
                (None, _) if started.elapsed() >= PATIENCE => {
                    return Err(Failure::refused(format!("{what} was not found")).hint(hint));
                }
                (None, _) => {
                    std::thread::sleep(Duration::from_secs(1));
                    let settle = Cmd::new("udevadm").args(["settle", "--timeout=10"]).accept(&[1]);
                    context.sys.run(&settle)?;
                }
            }
        }
    }

    /// The disks of a machine that it lies on.
    pub fn disks(&self, layout: &Layout) -> Vec<NodeId> {
        let is_it = |device: &&layout::Device| {
            device.filesystem().is_some_and(|filesystem| filesystem.uuid == self.uuid)
        };
        let devices = layout.devices.iter().filter(is_it);
        devices.flat_map(|device| layout.disks_below(&device.id)).map(|disk| disk.id.clone()).collect()
    }

    /// A place of it, below another directory than its mount point; `None` for what does not lie on it.
    fn moved(&self, place: &str, to: &Path) -> Option<PathBuf> {
        let rest = local(place)?.strip_prefix(&self.mount_point).ok()?.to_owned();
        Some(to.join(self.root.trim_start_matches('/')).join(rest))
    }
}

/// One that is mounted, as long as the value lives.
#[derive(Debug)]
pub struct Attached {
    shelf: Shelf,
    mount: Mount,
}

impl Attached {
    /// Where a place of it is now.
    pub fn path(&self, place: &str) -> Option<PathBuf> {
        self.shelf.moved(place, self.mount.target())
    }

    /// The disks of a machine that it lies on.
    pub fn disks(&self, layout: &Layout) -> Vec<NodeId> {
        self.shelf.disks(layout)
    }

    /// The same as it was written, as a path or a `file://` URL.
    pub fn url(&self, place: &str) -> Option<String> {
        let path = self.path(place)?;
        let prefix = if place.starts_with(FILE) { FILE } else { "" };
        Some(format!("{prefix}{}", path.display()))
    }

    /// Unmounts it.
    pub fn unmount(self) -> Result<()> {
        Ok(self.mount.unmount()?)
    }
}

const FILE: &str = "file://";

/// The directory that a path or a `file://` URL names; `None` for a place on another machine.
pub fn local(place: &str) -> Option<&Path> {
    let path = Path::new(place.strip_prefix(FILE).unwrap_or(place));
    path.is_absolute().then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf(mount_point: &str, root: &str) -> Shelf {
        Shelf {
            uuid: "1f".into(),
            fs_type: "btrfs".into(),
            mount_point: mount_point.into(),
            root: root.into(),
        }
    }

    #[test]
    fn its_disks_are_those_that_its_filesystem_lies_on() {
        let machines = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/machines");
        let text = std::fs::read_to_string(machines.join("bios-gpt-ext4/layout.json")).unwrap();
        let layout = Layout::from_json(&text).unwrap();
        let on = |uuid: &str| Shelf { uuid: uuid.into(), ..shelf("/", "/") }.disks(&layout);
        assert_eq!(on("794ce903-e871-42df-acf6-6453a801493d"), [NodeId("disk:serial:QM-A-0001".into())]);
        assert_eq!(on("1f"), []);
    }

    #[test]
    fn a_place_keeps_its_way_below_the_new_mount() {
        let to = Path::new("/run/rear/backup/7");
        let at = |shelf: Shelf, place: &str| shelf.moved(place, to).map(|path| path.display().to_string());
        assert_eq!(at(shelf("/mnt/usb", "/"), "file:///mnt/usb/web1").unwrap(), "/run/rear/backup/7/web1");
        assert_eq!(at(shelf("/mnt/usb", "/"), "/mnt/usb/a/b").unwrap(), "/run/rear/backup/7/a/b");
        assert_eq!(
            at(shelf("/srv", "/@srv/data"), "/srv/repo").unwrap(),
            "/run/rear/backup/7/@srv/data/repo"
        );
        assert_eq!(at(shelf("/mnt/usb", "/"), "/mnt/usbstick/web1"), None);
        assert_eq!(at(shelf("/mnt/usb", "/"), "sftp:host:/mnt/usb/web1"), None);
        assert_eq!(at(shelf("/mnt/usb", "/"), "rsync://host/mnt"), None);
    }
}
