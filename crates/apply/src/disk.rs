//! The right to write to a disk, as a value that only this crate can make.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use layout::{DiskIdentity, Layout, NodeId};
use plan::Plan;
use sys::Sys;

use crate::sysfs::{self, Facts};
use crate::{Error, Hands};

/// One chosen disk, not yet looked at.
#[derive(Clone, Debug)]
struct Chosen {
    saved: NodeId,
    path: PathBuf,
    size: u64,
    identity: DiskIdentity,
}

/// The disks that the plan may write: those that were chosen, minus those that are protected.
#[derive(Clone, Debug)]
pub struct Targets(Vec<Chosen>);

/// Computes the targets of a plan.
///
/// # Errors
/// When a disk of the plan is protected, or not part of the present machine.
pub fn targets(
    plan: &Plan,
    present: &Layout,
    protected: &BTreeMap<NodeId, String>,
) -> Result<Targets, Error> {
    let mut chosen: Vec<Chosen> = Vec::new();
    for place in &plan.fit.disks {
        if let Some(why) = protected.get(&place.present) {
            return Err(Error::Protected { device: place.device.clone(), why: why.clone() });
        }
        let device = present.device(&place.present);
        let (Some(device), Some(disk)) = (device, device.and_then(|device| device.disk())) else {
            return Err(Error::Gone(format!("{} ({})", place.device, place.present)));
        };
        if disk.read_only {
            return Err(Error::Protected { device: device.path.clone(), why: "it is read-only".into() });
        }
        if chosen.iter().any(|other| other.path == Path::new(&device.path)) {
            let why = "two saved disks would be placed on it".to_owned();
            return Err(Error::Protected { device: device.path.clone(), why });
        }
        chosen.push(Chosen {
            saved: place.saved.clone(),
            path: PathBuf::from(&device.path),
            size: device.size.get(),
            identity: disk.identity.clone(),
        });
    }
    Ok(Targets(chosen))
}

impl Targets {
    /// Looks at each disk and makes the right to write to it.
    pub(crate) fn open(
        self,
        sys: &dyn Sys,
        hands: &Arc<dyn Hands>,
    ) -> Result<BTreeMap<NodeId, WritableDisk>, Error> {
        let mut disks = BTreeMap::new();
        for chosen in self.0 {
            let name = sysfs::name(&chosen.path.to_string_lossy());
            let facts = Facts::read(sys, &name)?;
            let changed = |what: String| Error::Changed { device: chosen.path.clone(), what };
            if facts.size != chosen.size {
                return Err(changed(format!("it has {} bytes, not {}", facts.size, chosen.size)));
            }
            if let (Some(is), Some(was)) = (&facts.serial, &chosen.identity.serial)
                && tidy(is) != tidy(was)
            {
                return Err(changed(format!("it has the serial number {}, not {was}", is.trim())));
            }
            if let (Some(is), Some(was)) = (
                facts.wwid.as_deref().and_then(hexadecimal),
                chosen.identity.wwn.as_deref().and_then(hexadecimal),
            ) && is != was
            {
                return Err(changed(format!("it has the world-wide name {is}, not {was}")));
            }
            let disk = WritableDisk { path: chosen.path.clone(), name, facts, hands: Arc::clone(hands) };
            disks.insert(chosen.saved, disk);
        }
        Ok(disks)
    }
}

/// A serial number as udev writes it: blanks inside become one underscore.
fn tidy(serial: &str) -> String {
    serial.replace(['\0', '_'], " ").split_whitespace().collect::<Vec<_>>().join("_")
}

/// The digits of a world-wide name, without the prefix that differs between sources (`0x5000…`, `naa.5000…`,
/// `eui.0025…`). `None` for forms that carry text (`t10.ATA …`), which cannot be compared.
fn hexadecimal(name: &str) -> Option<String> {
    let name = name.trim().to_ascii_lowercase();
    let digits = ["0x", "naa.", "eui."].iter().find_map(|prefix| name.strip_prefix(prefix))?;
    // udev shows the first 64 bits of a 128-bit name in ID_WWN.
    let short: String = digits.chars().take(16).collect();
    (!short.is_empty() && short.chars().all(|c| c.is_ascii_hexdigit())).then_some(short)
}

/// The right to write to one disk. Made only by this crate, from what was chosen minus what is protected.
pub struct WritableDisk {
    path: PathBuf,
    name: String,
    facts: Facts,
    hands: Arc<dyn Hands>,
}

impl std::fmt::Debug for WritableDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WritableDisk").field("path", &self.path).field("facts", &self.facts).finish()
    }
}

impl WritableDisk {
    /// Its node, `/dev/vda`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.facts.size
    }

    /// Its kernel name in `/sys/block`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is still the disk that was chosen.
    ///
    /// # Errors
    /// When it is gone, or another device has its name.
    pub fn check(&self, sys: &dyn Sys) -> Result<(), Error> {
        let now = Facts::read(sys, &self.name)
            .map_err(|error| Error::Changed { device: self.path.clone(), what: error.to_string() })?;
        if now == self.facts {
            return Ok(());
        }
        Err(Error::Changed {
            device: self.path.clone(),
            what: format!("{now:?} instead of {:?}", self.facts),
        })
    }

    /// Whether it is still the disk that was chosen, and nothing uses it: asked before each destructive step.
    ///
    /// # Errors
    /// Names what uses it, with the way to free it.
    pub fn check_unused(&self, sys: &dyn Sys) -> Result<(), Error> {
        self.check(sys)?;
        if let Some((what, hint)) = sysfs::user(sys, &self.name)? {
            return Err(Error::InUse { device: self.path.clone(), what, hint });
        }
        // udev may look at it for a moment after every change.
        let mut tries = 0;
        while let Err(error) = self.hands.claim(&self.path) {
            tries += 1;
            if tries == 50 {
                return Err(Error::InUse {
                    device: self.path.clone(),
                    what: error.to_string(),
                    hint: "find out what uses it (lsblk, fuser)".into(),
                });
            }
            self.hands.pause();
        }
        Ok(())
    }

    /// Writes raw bytes, at an offset in bytes, and flushes them: boot code, zeroes.
    ///
    /// # Errors
    /// When it would reach behind the end, or the node leads to another device now.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let length = bytes.len() as u64;
        if offset.checked_add(length).is_none_or(|end| end > self.facts.size) {
            let size = self.facts.size;
            return Err(Error::OutOfRange { device: self.path.clone(), offset, length, size });
        }
        Ok(self.hands.write(&self.path, &self.facts.number, offset, bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_disk_from_two_sources_agree() {
        assert_eq!(tidy("  S3 X  1\n"), tidy("S3_X_1"));
        assert_eq!(hexadecimal("naa.5000c500a1b2c3d4"), hexadecimal("0x5000C500A1B2C3D4"));
        assert_eq!(hexadecimal("naa.600508b400105e210000900000490000"), hexadecimal("0x600508b400105e21"));
        assert_eq!(hexadecimal("t10.ATA     QEMU HARDDISK QM00001"), None);
    }

    #[test]
    fn the_kernel_hands_write_to_nothing_but_the_named_block_device() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = crate::Kernel.write(file.path(), "253:0", 0, b"x").unwrap_err().to_string();
        assert!(error.contains("not 253:0"), "{error}");
        assert_eq!(file.as_file().metadata().unwrap().len(), 0);
    }
}
