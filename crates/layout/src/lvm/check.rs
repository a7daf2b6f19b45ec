//! What must hold in every volume group of a layout. Changes nothing.

use std::collections::BTreeSet;

use super::{LvmArea, LvmValue, VolumeGroup};
use crate::{Content, Kind, Layout};

impl Layout {
    /// Broken rules of the volume groups.
    pub(crate) fn check_groups(&self, say: &mut impl FnMut(String)) {
        // Not of their names: a disk of another machine may bring a second group of the same name.
        let mut uuids = BTreeSet::new();
        for group in &self.groups {
            if !uuids.insert(&group.uuid) {
                say(format!("two volume groups have the UUID {}", group.uuid));
            }
            self.check_members(group, say);
            check_volumes(group, say);
            check_areas(group, say);
        }
        for device in &self.devices {
            if let Kind::LogicalVolume(volume) = &device.kind
                && let Some(group) = self.group_of(volume)
                && group.volume_by_uuid(&volume.uuid).is_none()
            {
                say(format!(
                    "{}: the volume group {} has no volume {}",
                    device.path, group.name, volume.name
                ));
            }
        }
    }

    fn check_members(&self, group: &VolumeGroup, say: &mut impl FnMut(String)) {
        let name = &group.name;
        let sectors = group.metadata.get("extent_size").and_then(LvmValue::number).unwrap_or_default();
        let bytes = u64::try_from(sectors).unwrap_or_default().checked_mul(512);
        let Some(extent) = bytes.filter(|bytes| *bytes > 0) else {
            say(format!("{name}: an extent of {sectors} sectors is impossible"));
            return;
        };
        let listed = group.metadata.get("physical_volumes").and_then(LvmValue::section);
        let listed: BTreeSet<&str> = listed.into_iter().flatten().map(|(key, _)| key.as_str()).collect();
        let known: BTreeSet<&str> = group.physical_volumes.iter().map(|volume| volume.key.as_str()).collect();
        if listed != known || known.len() != group.physical_volumes.len() {
            say(format!("{name}: its physical volumes are not those of its metadata"));
        }
        for volume in &group.physical_volumes {
            let Some(section) = group.physical_volume(&volume.key) else { continue };
            if VolumeGroup::text(section, "id") != volume.uuid {
                say(format!("{name}: {} has another UUID in the metadata", volume.key));
            }
            let Some(id) = &volume.device else { continue };
            let Some(device) = self.device(id) else {
                say(format!("{name}: {} lies on {id}, which is not here", volume.key));
                continue;
            };
            if !matches!(&device.content, Content::LvmMember { uuid } if *uuid == volume.uuid) {
                say(format!("{name}: {} does not carry the physical volume {}", device.path, volume.uuid));
            }
            let number =
                |name: &str| u64::try_from(section.get(name).and_then(LvmValue::number).unwrap_or(-1)).ok();
            let end = number("pe_start")
                .zip(number("pe_count"))
                .and_then(|(start, count)| count.checked_mul(extent)?.checked_add(start.checked_mul(512)?));
            if end.is_none_or(|end| end > device.size.0) {
                say(format!("{name}: the extents of {} end behind the end of {}", volume.key, device.path));
            }
        }
    }
}

fn check_volumes(group: &VolumeGroup, say: &mut impl FnMut(String)) {
    for (name, volume) in group.volumes() {
        let path = format!("{}/{name}", group.name);
        let segments = VolumeGroup::segments(volume);
        if segments.is_empty() {
            say(format!("{path} has no segments"));
        }
        let mut next = 0;
        for segment in &segments {
            let number = |name: &str| segment.get(name).and_then(LvmValue::number).unwrap_or(-1);
            let (start, count) = (number("start_extent"), number("extent_count"));
            if start != next || count <= 0 {
                say(format!("{path}: its segments do not follow each other"));
                break;
            }
            next = start.saturating_add(count);
            for other in group.references(segment) {
                if group.volume(other).is_none() {
                    say(format!("{path} is made of {other}, which is not in {}", group.name));
                }
            }
        }
        if is_made_of_itself(group, name) {
            say(format!("{path} is made of itself"));
        }
    }
}

fn is_made_of_itself(group: &VolumeGroup, name: &str) -> bool {
    let segments = group.volume(name).map(VolumeGroup::segments).unwrap_or_default();
    segments
        .into_iter()
        .flat_map(|segment| group.parts(segment))
        .any(|part| group.closure(part).contains(name))
}

fn check_areas(group: &VolumeGroup, say: &mut impl FnMut(String)) {
    let mut areas: Vec<LvmArea<'_>> = group.volumes().flat_map(|(name, _)| group.areas(name)).collect();
    areas.sort();
    for area in &areas {
        let section = group.physical_volume(area.physical_volume);
        let count = section.and_then(|one| one.get("pe_count")?.number()).unwrap_or_default();
        let end = area.start.checked_add(area.length);
        if area.start < 0 || area.length <= 0 || end.is_none_or(|end| end > count) {
            let (group, volume, pv) = (&group.name, area.volume, area.physical_volume);
            say(format!("{group}/{volume} lies outside of the {count} extents of {pv}"));
        }
    }
    for pair in areas.windows(2) {
        if let [a, b] = pair
            && a.physical_volume == b.physical_volume
            && a.start.saturating_add(a.length) > b.start
        {
            say(format!(
                "{0}/{1} and {0}/{2} overlap on {3}",
                group.name, a.volume, b.volume, a.physical_volume
            ));
        }
    }
}
