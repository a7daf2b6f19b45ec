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
    /// What the kernel said of it when it became a target, where that was asked.
    facts: Option<Facts>,
}

impl Chosen {
    fn name(&self) -> String {
        sysfs::name(&self.path.to_string_lossy())
    }

    fn changed(&self, what: String) -> Error {
        Error::Changed { device: self.path.clone(), what }
    }

    /// What the kernel says of it now, compared with the layout that the plan was made for.
    fn look(&self, sys: &dyn Sys) -> Result<Facts, Error> {
        let facts = Facts::read(sys, &self.name())?;
        if facts.size != self.size {
            return Err(self.changed(format!("it has {} bytes, not {}", facts.size, self.size)));
        }
        if let (Some(is), Some(was)) = (&facts.serial, &self.identity.serial)
            && tidy(is) != tidy(was)
        {
            return Err(self.changed(format!("it has the serial number {}, not {was}", is.trim())));
        }
        if let (Some(is), Some(was)) =
            (facts.wwid.as_deref().and_then(hexadecimal), self.identity.wwn.as_deref().and_then(hexadecimal))
            && is != was
        {
            return Err(self.changed(format!("it has the world-wide name {is}, not {was}")));
        }
        if let Some(before) = &self.facts
            && *before != facts
        {
            return Err(self.changed(before.difference(&facts)));
        }
        Ok(facts)
    }
}

/// The disks that the plan may write: those that were chosen, minus those that are protected.
#[derive(Clone, Debug)]
pub struct Targets(Vec<Chosen>);

/// The number that the kernel gave to each disk when it appeared (`diskseq`, Linux 5.15 and later), at one moment.
///
/// Taken before the machine is probed, it tells whether a disk without any identifier was replaced since then by
/// another of the same size. On older kernels it knows nothing, and nothing is refused for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sequences(BTreeMap<String, String>);

impl Sequences {
    /// Reads them.
    ///
    /// # Errors
    /// When `/sys/block` cannot be read.
    pub fn read(sys: &dyn Sys) -> Result<Self, Error> {
        let mut found = BTreeMap::new();
        for name in sys.list(Path::new("/sys/block"))? {
            if let Some(sequence) = sysfs::sequence(sys, &name)? {
                found.insert(name, sequence);
            }
        }
        Ok(Self(found))
    }
}

/// Like [`targets`], and notes what the kernel says of each target now; refuses those that were plugged in after
/// `before` was taken. From here on every write is refused when the device behind the name is another one.
///
/// # Errors
/// As [`targets`], and [`Error::Changed`] where a disk is another one than `before` or in the layout.
pub fn targets_since(
    sys: &dyn Sys,
    plan: &Plan,
    present: &Layout,
    protected: &BTreeMap<NodeId, String>,
    before: &Sequences,
) -> Result<Targets, Error> {
    let mut targets = targets(plan, present, protected)?;
    for chosen in &mut targets.0 {
        let facts = chosen.look(sys)?;
        if before.0.get(&chosen.name()) != facts.sequence.as_ref() {
            return Err(chosen.changed("it was plugged in after the machine was examined".into()));
        }
        chosen.facts = Some(facts);
    }
    Ok(targets)
}

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
            facts: None,
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
            let facts = chosen.look(sys)?;
            let name = chosen.name();
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
        Err(Error::Changed { device: self.path.clone(), what: self.facts.difference(&now) })
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

    /// Writes raw bytes, at an offset in bytes, and flushes them: boot code, zeroes. Before, it asks the kernel once
    /// more whether this is still the disk that was chosen.
    ///
    /// # Errors
    /// When it would reach behind the end, or the node leads to another device now.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let length = bytes.len() as u64;
        if offset.checked_add(length).is_none_or(|end| end > self.facts.size) {
            let size = self.facts.size;
            return Err(Error::OutOfRange { device: self.path.clone(), offset, length, size });
        }
        let mut still = Ok(());
        self.hands.look(&mut |sys| still = self.check(sys));
        still?;
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
