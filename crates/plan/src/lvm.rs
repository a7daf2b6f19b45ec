//! LVM made again from its own metadata: `pvcreate --restorefile`, `vgcfgrestore`. It never invents an identifier.

use layout::{PhysicalVolume, VolumeGroup};

use crate::Command;

mod refuse;
mod stages;

pub(crate) use refuse::refuse;
pub(crate) use stages::stages;

/// Where the programs find what they read.
const DIR: &str = "/run/rear/lvm";

/// What every command is told on top of the machine's own `lvm.conf`, which is carried along: the new disks stand in
/// no devices file (lvm2 2.03.12 and later; older ones warn that they do not know the setting, and go on) and may be
/// hidden by a filter made for the old ones; volumes may be in no list of what is activated; the daemons that
/// watch volumes and keep locks do not run; copies of the metadata belong into the recovered system, not here.
fn config(group: &str) -> String {
    format!(
        "devices{{use_devicesfile=0 filter=[\"a|.*|\"] global_filter=[\"a|.*|\"] hints=\"none\"}} \
         activation{{volume_list=[\"{group}\"] read_only_volume_list=[] monitoring=0}} \
         backup{{backup=0 archive=0}} global{{use_lvmlockd=0}}"
    )
}

fn lvm(program: &str, group: &str, args: &[&str]) -> Command {
    let config = config(group);
    Command::new(program, ["--config", config.as_str(), "--yes"].iter().chain(args).copied())
}

fn text_of(group: &str) -> String {
    format!("{DIR}/{group}.vg")
}

/// The commands that make a physical volume on this device.
pub(crate) fn physical_volume(
    volume: &PhysicalVolume,
    group: &str,
    metadata: &str,
    device: &str,
) -> Vec<Command> {
    let file = text_of(group);
    let copies = volume.metadata_areas.to_string();
    let size = format!("{}b", volume.metadata_size.0);
    // With a file to restore from, the place of the extents, the areas for boot loaders and the like come from there.
    let mut args = vec!["-ff", "--zero", "y", "--uuid", &volume.uuid, "--restorefile", &file];
    args.extend(["--metadatacopies", &copies]);
    if volume.metadata_areas > 0 {
        args.extend(["--metadatasize", &size]);
        if volume.metadata_ignored {
            args.extend(["--metadataignore", "y"]);
        }
    }
    args.push(device);
    vec![lvm("pvcreate", group, &args).file(&file, metadata.to_owned())]
}

/// The commands that give a group its metadata.
pub(crate) fn restore(group: &str, metadata: &str) -> Vec<Command> {
    let file = text_of(group);
    // Forced: LVM warns of thin pools, whose own metadata it cannot restore.
    vec![lvm("vgcfgrestore", group, &["--force", "--file", &file, group]).file(&file, metadata.to_owned())]
}

/// The commands that make volumes appear; all where none is named.
pub(crate) fn activate(group: &str, volumes: &[String]) -> Vec<Command> {
    let args = ["--ignoreactivationskip", "--activate", "y"];
    if volumes.is_empty() {
        return vec![lvm("vgchange", group, &[args.as_slice(), &[group]].concat())];
    }
    let names: Vec<String> = volumes.iter().map(|volume| format!("{group}/{volume}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    vec![lvm("lvchange", group, &[args.as_slice(), &names].concat())]
}

/// The commands that make all volumes of a group disappear.
pub(crate) fn deactivate(group: &str) -> Vec<Command> {
    vec![lvm("vgchange", group, &["--activate", "n", group])]
}

/// The commands that write the metadata of a thin pool to the device of its volume.
pub(crate) fn pool_metadata(xml: &str, device: &str) -> Vec<Command> {
    let file = format!("{DIR}/thin-pool.xml");
    vec![Command::new("thin_restore", ["-i", &file, "-o", device]).file(&file, xml.to_owned())]
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

/// The name that device-mapper has for a volume: dashes inside of either name are doubled.
pub(crate) fn mapped(group: &str, volume: &str) -> String {
    format!("{}-{}", group.replace('-', "--"), volume.replace('-', "--"))
}

/// A number of a segment or volume, 0 where it has none.
fn number(section: &layout::LvmSection, name: &str) -> i64 {
    section.get(name).and_then(layout::LvmValue::number).unwrap_or_default()
}

/// Extents of a volume.
fn extents(group: &VolumeGroup, name: &str) -> u64 {
    let segments = group.volume(name).map(VolumeGroup::segments).unwrap_or_default();
    segments
        .into_iter()
        .map(|segment| u64::try_from(number(segment, "extent_count")).unwrap_or_default())
        .sum()
}

#[cfg(test)]
mod tests;
