//! The texts that a group is made again from. RAID, mirrors, caches and thin pools keep metadata of their own in hidden
//! volumes, where something of the disk's earlier life would be taken for theirs (dm-raid 1.x: "New device injected into
//! existing raid set"). LVM lets nobody write there, so the group is first given a text in which just these are
//! plain volumes; then its own.

use std::collections::BTreeSet;
use std::fmt::Write;

use layout::{Kind, Layout, LvmSection, LvmValue, VolumeGroup};

use super::{Stages, extents, number};

/// A hidden volume that must be prepared before the group is activated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prepared<'a> {
    /// The hidden volume.
    pub(super) volume: &'a str,
    /// The thin pool whose metadata it is; else it is only zeroed.
    pub(super) pool: Option<&'a str>,
}

/// All hidden volumes of a group that must be prepared.
pub(super) fn prepared(group: &VolumeGroup) -> Vec<Prepared<'_>> {
    let mut found: Vec<Prepared<'_>> = Vec::new();
    for (name, volume) in group.volumes() {
        let mut push = |volume, pool| {
            let one = Prepared { volume, pool };
            if !found.contains(&one) {
                found.push(one);
            }
        };
        if name.ends_with("_pmspare") {
            push(name, None);
        }
        for segment in VolumeGroup::segments(volume) {
            let named = |key| Some(VolumeGroup::text(segment, key)).filter(|name| !name.is_empty());
            match VolumeGroup::segment_type(segment) {
                "thin-pool" => {
                    if let Some(metadata) = named("metadata") {
                        push(metadata, Some(name));
                    }
                }
                "mirror" => named("mirror_log").into_iter().for_each(|log| push(log, None)),
                "cache-pool" => named("metadata").into_iter().for_each(|metadata| push(metadata, None)),
                "writecache" => named("writecache").into_iter().for_each(|cache| push(cache, None)),
                // A pool has metadata apart; a volume that is a cache by itself begins with it.
                "cache" => {
                    let cache = named("cache_pool").filter(|cache| kind(group, cache) != "cache-pool");
                    cache.into_iter().for_each(|cache| push(cache, None));
                }
                raid if raid.starts_with("raid") => {
                    metadata_of(segment).into_iter().for_each(|metadata| push(metadata, None));
                }
                _ => {}
            }
        }
    }
    found
}

fn kind<'a>(group: &'a VolumeGroup, name: &str) -> &'a str {
    let first = group.volume(name).and_then(|volume| VolumeGroup::segments(volume).first().copied());
    first.map(VolumeGroup::segment_type).unwrap_or_default()
}

/// The metadata volumes of a RAID: `raids` lists pairs of metadata and image. `raid0` has images only.
fn metadata_of(segment: &LvmSection) -> Vec<&str> {
    let raids = segment.get("raids").map(LvmValue::list).unwrap_or_default();
    raids.iter().step_by(2).filter_map(LvmValue::text).collect()
}

/// The volumes directly on physical volumes that hold the same bytes as this one: itself, or the images of a mirror.
/// `None` where its bytes are spread over several.
pub(super) fn images<'a>(group: &'a VolumeGroup, name: &'a str) -> Option<Vec<&'a str>> {
    let segments = VolumeGroup::segments(group.volume(name)?);
    if segments.iter().all(|segment| group.references(segment).is_empty()) {
        return Some(vec![name]);
    }
    let [segment] = segments.as_slice() else { return None };
    let list = |key: &str| segment.get(key).map(LvmValue::list).unwrap_or_default();
    let copies: Vec<&str> = match VolumeGroup::segment_type(segment) {
        "raid1" => list("raids").iter().skip(1).step_by(2).filter_map(LvmValue::text).collect(),
        "mirror" => list("mirrors").iter().filter_map(LvmValue::text).collect(),
        _ => return None,
    };
    // A volume that names itself would go round for ever.
    let copies = copies.into_iter().filter(|copy| *copy != name && !group.closure(copy).contains(name));
    let found: Vec<&str> = copies.map(|copy| images(group, copy)).collect::<Option<Vec<_>>>()?.concat();
    (!found.is_empty()).then_some(found)
}

/// The stages of this group. Thin snapshots come back where the layout has them as devices: they were mounted.
pub(crate) fn stages(layout: &Layout, group: &VolumeGroup) -> Stages {
    let shown = |uuid: &str| {
        let uuid = uuid.replace('-', "");
        layout
            .devices
            .iter()
            .any(|device| matches!(&device.kind, Kind::LogicalVolume(volume) if volume.uuid == uuid))
    };
    let mut group = group.without_snapshots(shown);
    without_messages(&mut group);
    let mut stages = Stages { complete: group.to_text(10), ..Stages::default() };
    let mut opened = LvmSection::new();
    let mut done = BTreeSet::new();
    for one in prepared(&group) {
        for image in images(&group, one.volume).unwrap_or_default() {
            let Some(volume) = group.volume(image).filter(|_| done.insert(image)) else { continue };
            // Names of its own: LVM passes over names that it gives hidden volumes when it activates (2.03.16).
            let name = format!("rear{}", opened.len());
            match one.pool {
                Some(pool) => stages.pools.push((pool.to_owned(), name.clone(), xml(&group, pool))),
                None => {
                    let bytes = extents(&group, image).saturating_mul(group.extent_size().0);
                    stages.clear.push((name.clone(), bytes));
                }
            }
            opened.insert(name, LvmValue::Section(visible(volume)));
        }
    }
    if !opened.is_empty() {
        let mut open = group.clone();
        open.metadata.remove("historical_logical_volumes");
        open.metadata.insert("logical_volumes".into(), LvmValue::Section(opened));
        stages.open = Some(open.to_text(1));
    }
    stages
}

/// The same volume as a plain one that people see.
fn visible(volume: &LvmSection) -> LvmSection {
    let words =
        |words: &[&str]| LvmValue::List(words.iter().map(|word| LvmValue::Text((*word).into())).collect());
    let mut volume = volume.clone();
    volume.insert("status".into(), words(&["READ", "WRITE", "VISIBLE"]));
    volume.insert("flags".into(), words(&[]));
    volume
}

/// Messages that LVM would still send to a thin pool ("create the volume 7"): the volumes are written into its metadata.
fn without_messages(group: &mut VolumeGroup) {
    let Some(LvmValue::Section(volumes)) = group.metadata.get_mut("logical_volumes") else { return };
    for volume in volumes.values_mut() {
        let LvmValue::Section(volume) = volume else { continue };
        for segment in volume.values_mut() {
            if let LvmValue::Section(segment) = segment
                && VolumeGroup::segment_type(segment) == "thin-pool"
            {
                segment.retain(|name, value| !(name.starts_with("message") && value.section().is_some()));
            }
        }
    }
}

/// A thin pool's metadata with its volumes, all of them empty, in the form of thin-provisioning-tools (0.9 and 1.x:
/// `thin_dump`). The kernel refuses a pool whose transaction is not the one that LVM expects.
fn xml(group: &VolumeGroup, pool: &str) -> String {
    let segments = group.volume(pool).map(VolumeGroup::segments).unwrap_or_default();
    let Some(segment) = segments.first() else { return String::new() };
    let chunk = u64::try_from(number(segment, "chunk_size")).unwrap_or_default();
    let data = extents(group, VolumeGroup::text(segment, "pool"));
    let sectors = data.saturating_mul(group.extent_size().0 / 512);
    let blocks = sectors.checked_div(chunk).unwrap_or_default();
    let transaction = number(segment, "transaction_id");
    let mut out = format!(
        "<superblock uuid=\"\" time=\"0\" transaction=\"{transaction}\" version=\"2\" data_block_size=\"{chunk}\" \
         nr_data_blocks=\"{blocks}\">\n"
    );
    let thin = group.volumes().flat_map(|(_, volume)| VolumeGroup::segments(volume));
    let thin = thin.filter(|segment| {
        VolumeGroup::segment_type(segment) == "thin" && VolumeGroup::text(segment, "thin_pool") == pool
    });
    let mut devices: Vec<(i64, i64)> =
        thin.map(|segment| (number(segment, "device_id"), number(segment, "transaction_id"))).collect();
    devices.sort_unstable();
    for (device, transaction) in devices {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "  <device dev_id=\"{device}\" mapped_blocks=\"0\" transaction=\"{transaction}\" creation_time=\"0\" \
             snap_time=\"0\">\n  </device>"
        );
    }
    out.push_str("</superblock>\n");
    out
}
