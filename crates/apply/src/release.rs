//! Stops what the kernel has assembled from a disk that is about to be wiped: arrays, volumes, open containers.
//! Nothing on any disk changes by that, and nothing that is mounted or swapped on is ever stopped.

use std::collections::BTreeSet;

use sys::{Cmd, SysExt};

use crate::run::{PATIENCE, Runner};
use crate::{Error, WritableDisk, sysfs};

impl Runner<'_> {
    /// Stops everything that is made of this disk or of its partitions, the topmost first.
    pub(crate) fn release(&self, disk: &WritableDisk) -> Result<(), Error> {
        let mut stopped = BTreeSet::new();
        let mut left = PATIENCE;
        while let Some(name) = self.topmost(disk.name())? {
            self.cancel.check()?;
            if stopped.insert(name.clone()) {
                if let Some((what, hint)) = sysfs::user_of(self.sys, &name)? {
                    return Err(Error::InUse { device: disk.path().to_owned(), what, hint });
                }
                self.stop(&name)?;
                self.settle()?;
                continue;
            }
            // Stopped, and still shown for a moment.
            if left == 0 {
                return Err(Error::InUse {
                    device: disk.path().to_owned(),
                    what: format!("{name}, which is made of it, does not stop"),
                    hint: format!("stop {name} (mdadm --stop, vgchange -an, cryptsetup close)"),
                });
            }
            left -= 1;
            self.hands.pause();
        }
        Ok(())
    }

    /// A device above this one that nothing is made of.
    fn topmost(&self, name: &str) -> Result<Option<String>, Error> {
        let mut names = vec![name.to_owned()];
        names.extend(sysfs::partitions(self.sys, name)?.into_values().map(|part| part.name));
        for name in names {
            if let Some(holder) = sysfs::holders(self.sys, &name)?.into_iter().next() {
                return Ok(Some(self.topmost(&holder)?.unwrap_or(holder)));
            }
        }
        Ok(None)
    }

    fn stop(&self, name: &str) -> Result<(), Error> {
        let node = sysfs::node(name).to_string_lossy().into_owned();
        tracing::info!("stopping {node}, which is made of a disk that is recreated");
        if name.starts_with("md") {
            self.sys.run(&Cmd::new("mdadm").args(["--stop", &node]))?;
        } else if let Some(mapped) = self.sys.read_opt(format!("/sys/block/{name}/dm/name"))? {
            self.sys.run(&Cmd::new("dmsetup").args(["remove", "--retry", &mapped]))?;
        }
        // Anything else shows by not going away.
        Ok(())
    }
}
