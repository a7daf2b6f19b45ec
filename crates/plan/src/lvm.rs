//! LVM made again from its own metadata: `pvcreate --restorefile`, `vgcfgrestore`. It never invents an identifier.

use layout::{Layout, PhysicalVolume, VolumeGroup};

use crate::Command;

/// What keeps this group from being made again; `None` when nothing does.
pub(crate) fn refuse(_layout: &Layout, _group: &VolumeGroup) -> Option<String> {
    Some("LVM cannot be recreated yet".into())
}

/// The commands that make a physical volume on this device.
pub(crate) fn physical_volume(
    _volume: &PhysicalVolume,
    _group: &str,
    _metadata: &str,
    _device: &str,
) -> Vec<Command> {
    Vec::new()
}

/// The commands that give a group its metadata.
pub(crate) fn restore(_group: &str, _metadata: &str) -> Vec<Command> {
    Vec::new()
}

/// The commands that make volumes appear; all where none is named.
pub(crate) fn activate(_group: &str, _volumes: &[String]) -> Vec<Command> {
    Vec::new()
}

/// The commands that make all volumes of a group disappear.
pub(crate) fn deactivate(_group: &str) -> Vec<Command> {
    Vec::new()
}

/// The commands that write the metadata of a thin pool to the device of its volume.
pub(crate) fn pool_metadata(_xml: &str, _device: &str) -> Vec<Command> {
    Vec::new()
}

/// How a group is made again, in stages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stages {
    /// The group with those hidden volumes laid open that must be prepared; `None` where there are none.
    pub(crate) open: Option<String>,
    /// Names of the laid open volumes whose first bytes must be zero, with their sizes in bytes: metadata of caches
    /// and RAID, which the kernel makes anew when it finds zeroes.
    pub(crate) clear: Vec<(String, u64)>,
    /// Thin pools: name, laid open volume of the metadata, what `thin_restore` reads.
    pub(crate) pools: Vec<(String, String, String)>,
    /// The group as it was, without snapshots.
    pub(crate) complete: String,
}

/// The stages of this group.
pub(crate) fn stages(_group: &VolumeGroup) -> Stages {
    Stages::default()
}

/// The name that device-mapper has for a volume: dashes inside of either name are doubled.
pub(crate) fn mapped(group: &str, volume: &str) -> String {
    format!("{}-{}", group.replace('-', "--"), volume.replace('-', "--"))
}
