//! What must hold in every layout. A layout that breaks one of these is never planned for.

use std::collections::BTreeSet;
use std::fmt;

use crate::{Content, Device, Kind, Layout, Partition};

mod md;
mod swap;

/// One broken rule, as a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(pub String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Layout {
    /// All broken rules; empty when the layout is sound.
    pub fn check(&self) -> Vec<Violation> {
        let mut broken = Vec::new();
        let mut say = |text: String| broken.push(Violation(text));
        let mut seen = BTreeSet::new();
        for device in &self.devices {
            let path = &device.path;
            for parent in device.parents() {
                if !seen.contains(parent) {
                    say(format!("{path} is made of {parent}, which does not stand before it"));
                }
            }
            if !seen.insert(&device.id) {
                say(format!("{path}: two devices are called {}", device.id));
            }
            if !device.sector.0.is_power_of_two() || device.sector.0 < 512 {
                say(format!("{path}: a sector of {} bytes is impossible", device.sector.0));
            }
            if matches!(device.kind, Kind::Disk(_)) && device.content == Content::BootCode {
                say(format!("{path}: a whole disk cannot be boot code"));
            }
            crate::btrfs::check(self, device, &mut say);
            if device.table().is_some() {
                self.check_table(device, &mut say);
            } else if let Some(child) = self.partitions(&device.id).first() {
                say(format!("{} is a partition of {path}, which has no table", child.path));
            }
        }
        md::check(self, &mut say);
        self.check_groups(&mut say);
        for mount in &self.mounts {
            match self.device(&mount.device) {
                Some(device) if device.filesystem().is_none() => {
                    say(format!(
                        "{} is mounted at {} but carries no filesystem",
                        device.path, mount.mount_point
                    ));
                }
                None => say(format!("{} is a mount of an unknown device", mount.mount_point)),
                Some(_) => {}
            }
        }
        swap::check(self, &mut say);
        for id in &self.cloned {
            let used = !self.children(id).is_empty() || self.mounts_of(id).next().is_some();
            match self.device(id) {
                None => say(format!("{id} comes back block by block, but is not there")),
                Some(device) if used => say(format!(
                    "{} comes back block by block, but something lies on it or is mounted from it",
                    device.path
                )),
                Some(_) => {}
            }
        }
        broken
    }

    fn check_table(&self, device: &Device, say: &mut impl FnMut(String)) {
        let children = self.partitions(&device.id);
        let partitions: Vec<(&Device, &Partition)> =
            children.iter().filter_map(|child| child.partition().map(|part| (*child, part))).collect();
        let extended = partitions.iter().find(|(_, part)| part.is_extended());
        let mut numbers = BTreeSet::new();
        for (child, part) in &partitions {
            let path = &child.path;
            if part.number == 0 || !numbers.insert(part.number) {
                say(format!("{path}: partition number {} stands twice or is 0", part.number));
            }
            if part.length.0 == 0 {
                say(format!("{path} has no sectors"));
            }
            if part.end().bytes(device.sector) > device.size {
                say(format!("{path} ends behind the end of {}", device.path));
            }
            if part.is_logical() {
                let inside =
                    extended.is_some_and(|(_, outer)| part.start > outer.start && part.end() <= outer.end());
                if !inside {
                    say(format!("{path} is a logical partition outside of an extended one"));
                }
            }
        }
        let mut by_start: Vec<_> = partitions.iter().filter(|(_, part)| !part.is_extended()).collect();
        by_start.sort_by_key(|(_, part)| part.start);
        for pair in by_start.windows(2) {
            if let [(a, first), (b, second)] = pair
                && first.end() > second.start
            {
                say(format!("{} and {} overlap", a.path, b.path));
            }
        }
        if let Some((outer, container)) = extended {
            for (child, part) in &partitions {
                let overlaps = part.start < container.end() && container.start < part.end();
                if !part.is_extended() && !part.is_logical() && overlaps {
                    say(format!("{} and {} overlap", child.path, outer.path));
                }
            }
        }
    }
}
