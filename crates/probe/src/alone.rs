//! Which rule of the owner leaves a device alone: because it is named itself, or because it lies on something that is.
//! Looks names up; decides nothing about what that means for a backup.

use std::collections::BTreeSet;

use layout::{Content, Device, Kind, Layout, NodeId};
use sys::Sys;

use crate::components::{leads_to, names, names_device};
use crate::coverage::Rules;
use crate::rules::{component, trim};
use crate::{btrfs, lvm};

/// A device that recovery leaves as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alone {
    /// The rule, for people: "EXCLUDE_VG names vg_data".
    pub(crate) rule: String,
    /// Whether its files are in the backup all the same.
    pub(crate) saved: bool,
}

/// What has a name.
pub(crate) struct Names<'a> {
    pub(crate) sys: &'a dyn Sys,
    pub(crate) layout: &'a Layout,
    pub(crate) rules: &'a Rules<'a>,
}

impl Names<'_> {
    /// The rule that leaves this device alone, or something that it is made of.
    pub(crate) fn rule_of(&self, device: &Device) -> Option<Alone> {
        let rules = self.rules;
        let below = below(self.layout, device);
        let named = |list: &[String]| {
            let is = |rule: &&String| {
                names(self.sys, self.layout, rule, device)
                    || below.iter().any(|one| names_device(self.sys, self.layout, rule, one))
            };
            list.iter().find(is).cloned()
        };
        let by = |setting: &str, name: String| format!("{setting} names {name}");
        let left = named(rules.exclude_components)
            .map(|name| by("EXCLUDE_COMPONENTS", name))
            .or_else(|| below.iter().find_map(|device| self.kind_rule(device)));
        if let Some(rule) = left {
            return Some(Alone { rule, saved: false });
        }
        let kept = named(rules.exclude_recreate).map(|name| by("EXCLUDE_RECREATE", name));
        kept.map(|rule| Alone { rule, saved: true })
    }

    /// The rule for a mount point whose device is not known.
    pub(crate) fn rule_at(&self, mount_point: &str) -> Option<Alone> {
        let named = |list: &[String]| list.iter().find(|rule| trim(component(rule)) == mount_point).cloned();
        let alone = |rule: String, saved: bool| Alone { rule, saved };
        named(self.rules.exclude_components)
            .map(|name| alone(format!("EXCLUDE_COMPONENTS names {name}"), false))
            .or_else(|| {
                named(self.rules.exclude_recreate)
                    .map(|name| alone(format!("EXCLUDE_RECREATE names {name}"), true))
            })
    }

    /// The rule that leaves alone what this device is a part of: its volume group or its array.
    pub(crate) fn rule_of_whole(&self, device: &Device) -> Option<String> {
        let group = lvm::group_of(self.layout, device).map(|group| group.name.as_str());
        if let Some(rule) = group.and_then(|group| self.group_rule(group)) {
            return Some(rule);
        }
        let Content::MdMember { array: uuid } = &device.content else { return None };
        let of = |other: &&Device| matches!(&other.kind, Kind::MdArray(array) if array.uuid == *uuid);
        self.layout.devices.iter().find(of).and_then(|array| self.kind_rule(array))
    }

    /// The rule for this very device by what it is.
    fn kind_rule(&self, device: &Device) -> Option<String> {
        match &device.kind {
            Kind::LogicalVolume(volume) if !volume.group.is_empty() => self.group_rule(&volume.group),
            Kind::MdArray(_) => {
                let is = |name: &&String| self.is_array(name, device);
                self.rules.exclude_md.iter().find(is).map(|name| format!("EXCLUDE_MD names {name}"))
            }
            Kind::Disk(disk) if disk.multipath.is_some() && self.rules.autoexclude_multipath => {
                Some("reached over several paths (AUTOEXCLUDE_MULTIPATH)".to_owned())
            }
            _ => None,
        }
    }

    fn group_rule(&self, group: &str) -> Option<String> {
        let rules = self.rules;
        let named = |list: &[String]| list.iter().find(|name| group_name(name) == group).cloned();
        if let Some(name) = named(rules.exclude_vg) {
            return Some(format!("EXCLUDE_VG names {name}"));
        }
        let path = format!("/dev/{group}");
        if let Some(name) = rules.exclude_components.iter().find(|rule| trim(component(rule)) == path) {
            return Some(format!("EXCLUDE_COMPONENTS names {name}"));
        }
        let only = !rules.only_include_vg.is_empty() && named(rules.only_include_vg).is_none();
        only.then(|| format!("ONLY_INCLUDE_VG does not name the volume group {group}"))
    }

    /// Whether an array is called so: `md0`, `/dev/md0`, `/dev/md/data`, its name with or without the host's, its UUID.
    fn is_array(&self, name: &str, device: &Device) -> bool {
        let Kind::MdArray(array) = &device.kind else { return false };
        let short = trim(component(name)).trim_start_matches("/dev/");
        let path = format!("/dev/{short}");
        if path == device.path || name == device.id.0 || (!array.uuid.is_empty() && name == array.uuid) {
            return true;
        }
        if leads_to(self.sys, self.layout, &path, device) {
            return true;
        }
        let own = array.name.as_str();
        let own_short = own.split_once(':').map_or(own, |(_, rest)| rest);
        let asked = short.strip_prefix("md/").unwrap_or(short);
        !own.is_empty() && (asked == own || asked == own_short)
    }

    /// Names that stand for nothing on this machine: setting, name, and what there is instead.
    pub(crate) fn unknown(&self, others: &dyn Fn(&str) -> bool) -> Vec<(&'static str, String, String)> {
        let layout = self.layout;
        let mut unknown = Vec::new();
        for (setting, list) in [
            ("EXCLUDE_COMPONENTS", self.rules.exclude_components),
            ("EXCLUDE_RECREATE", self.rules.exclude_recreate),
        ] {
            for rule in list {
                let name = trim(component(rule));
                let known = layout.devices.iter().any(|device| names(self.sys, layout, rule, device))
                    || self.is_group(name.strip_prefix("/dev/").unwrap_or_default())
                    || others(name);
                if !known {
                    let what = "no disk, partition, volume or mount point has this name".to_owned();
                    unknown.push((setting, rule.clone(), what));
                }
            }
        }
        for (setting, list) in
            [("EXCLUDE_VG", self.rules.exclude_vg), ("ONLY_INCLUDE_VG", self.rules.only_include_vg)]
        {
            for name in list.iter().filter(|name| !self.is_group(group_name(name))) {
                unknown.push((setting, name.clone(), self.there_are("volume groups", &self.groups())));
            }
        }
        for name in self.rules.exclude_md {
            let arrays: Vec<&Device> =
                layout.devices.iter().filter(|device| matches!(device.kind, Kind::MdArray(_))).collect();
            if !arrays.iter().any(|array| self.is_array(name, array)) {
                let paths: BTreeSet<&str> = arrays.iter().map(|array| array.path.as_str()).collect();
                unknown.push(("EXCLUDE_MD", name.clone(), self.there_are("running arrays", &paths)));
            }
        }
        unknown
    }

    fn there_are(&self, what: &str, names: &BTreeSet<&str>) -> String {
        match names.len() {
            0 => format!("there are no {what}"),
            _ => format!("the {what} are {}", names.iter().copied().collect::<Vec<_>>().join(", ")),
        }
    }

    fn groups(&self) -> BTreeSet<&str> {
        let volumes = self.layout.devices.iter().filter_map(|device| match &device.kind {
            Kind::LogicalVolume(volume) if !volume.group.is_empty() => Some(volume.group.as_str()),
            _ => None,
        });
        self.layout.groups.iter().map(|group| group.name.as_str()).chain(volumes).collect()
    }

    fn is_group(&self, name: &str) -> bool {
        self.groups().contains(name)
    }
}

/// `vg00` and `/dev/vg00` are the same.
fn group_name(name: &str) -> &str {
    let name = trim(name);
    name.strip_prefix("/dev/").unwrap_or(name)
}

/// The device and all that it is made of, down to the disks; of a btrfs all its devices.
pub(crate) fn below<'a>(layout: &'a Layout, device: &'a Device) -> Vec<&'a Device> {
    let mut seen: BTreeSet<&NodeId> = BTreeSet::new();
    let mut found = Vec::new();
    let mut open = vec![device];
    while let Some(device) = open.pop() {
        if !seen.insert(&device.id) {
            continue;
        }
        found.push(device);
        let members = btrfs::of(&device.content).map(|(_, kind)| kind.members.as_slice()).unwrap_or_default();
        let ids = device.parents().into_iter().chain(members.iter().map(|member| &member.device));
        open.extend(ids.filter_map(|id| layout.device(id)));
    }
    found
}
