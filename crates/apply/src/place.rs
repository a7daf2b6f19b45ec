//! From a plan's place to what the kernel calls it now, asked from sysfs. A device that lies, even in part, on a disk
//! that is no target of the plan is never returned. Writes nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use plan::{Place, Target};
use sys::SysExt;

use crate::run::{PATIENCE, Runner};
use crate::{Error, WritableDisk, sysfs};

impl Runner<'_> {
    /// The disks on which a target lies.
    pub(crate) fn disks_of(&self, target: &Target) -> Result<Vec<&WritableDisk>, Error> {
        let find = |id| self.disks.get(id).ok_or_else(|| Error::Gone(format!("{id}")));
        target.disks.iter().map(find).collect()
    }

    /// The node of a target, once the kernel shows it.
    pub(crate) fn node(&self, target: &Target) -> Result<PathBuf, Error> {
        if matches!(target.place, Place::Group(_)) {
            return Ok(PathBuf::new());
        }
        Ok(sysfs::node(&self.name(target)?))
    }

    /// The kernel's name of a target, which lies on nothing but the plan's own disks.
    pub(crate) fn name(&self, target: &Target) -> Result<String, Error> {
        let mut left = PATIENCE;
        let name = loop {
            match self.find(&target.place)? {
                Some(name) if self.sys.exists(&sysfs::node(&name)) => break name,
                _ if left == 0 || target.is_disk() => return Err(self.missing(target)),
                _ => {}
            }
            self.cancel.check()?;
            left -= 1;
            self.hands.pause();
        };
        if self.appears_late(&target.place) {
            self.check_below(target, &name)?;
        }
        Ok(name)
    }

    /// Devices that are made of others are shown by the kernel some time after the program that made them ended.
    fn appears_late(&self, place: &Place) -> bool {
        match place {
            Place::Disk(_) => false,
            Place::Partition { of, .. } => self.appears_late(of),
            Place::Array(_) | Place::Mapped(_) | Place::Group(_) => true,
        }
    }

    fn missing(&self, target: &Target) -> Error {
        let device = match self.disks_of(target).ok().and_then(|disks| disks.first().copied()) {
            Some(disk) => disk.path().to_owned(),
            None => PathBuf::from(&target.shown),
        };
        let what = match &target.place {
            Place::Partition { number, .. } => format!("there is no partition {number}"),
            _ => format!("{} did not appear", target.shown),
        };
        Error::Partitions { device, what }
    }

    /// The kernel's name of a place; `None` where it shows none.
    pub(crate) fn find(&self, place: &Place) -> Result<Option<String>, Error> {
        Ok(match place {
            Place::Disk(id) => {
                let disk = self.disks.get(id).ok_or_else(|| Error::Gone(id.to_string()))?;
                Some(disk.name().to_owned())
            }
            Place::Partition { of, number } => match self.find(of)? {
                Some(parent) => sysfs::partitions(self.sys, &parent)?.remove(number).map(|part| part.name),
                None => None,
            },
            Place::Array(name) => {
                self.sys.exists(&Path::new("/sys/block").join(name).join("md")).then(|| name.clone())
            }
            Place::Mapped(mapped) => self.mapped(mapped)?,
            Place::Group(_) => None,
        })
    }

    fn mapped(&self, mapped: &str) -> Result<Option<String>, Error> {
        for name in self.sys.list(Path::new("/sys/block"))?.into_iter().filter(|name| name.starts_with("dm-"))
        {
            let shown = self.sys.read_opt(Path::new("/sys/block").join(&name).join("dm/name"));
            // A device may vanish while we look: then it is not the one.
            if shown.ok().flatten().as_deref() == Some(mapped) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// Follows the kernel's own links down: another device may have got the expected name.
    fn check_below(&self, target: &Target, name: &str) -> Result<(), Error> {
        let own: BTreeSet<&str> = self.disks.values().map(WritableDisk::name).collect();
        let mut open = vec![name.to_owned()];
        let mut seen = BTreeSet::new();
        while let Some(name) = open.pop() {
            if !seen.insert(name.clone()) || own.contains(name.as_str()) {
                continue;
            }
            let below = sysfs::below(self.sys, &name)?;
            if below.is_empty() {
                return Err(Error::Changed {
                    device: PathBuf::from(&target.shown),
                    what: format!("it lies on {name}, which is no disk of the plan"),
                });
            }
            open.extend(below);
        }
        Ok(())
    }
}
