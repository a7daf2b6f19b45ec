//! What a volume group's metadata says: which volumes people see, what they are made of, and where on the physical
//! volumes they lie. Changes nothing but copies.

use std::collections::BTreeSet;

use super::{
    LvmSection, LvmTextError, LvmValue, PhysicalVolume, VolumeGroup, parse_lvm_text, write_lvm_text,
};

/// A group's metadata as it was read from a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LvmGroupText {
    /// Name of the group.
    pub name: String,
    /// Its UUID, with dashes.
    pub uuid: String,
    /// How often it was changed: the highest is the newest.
    pub seqno: u64,
    /// Key and UUID of its physical volumes, in LVM's order.
    pub physical_volumes: Vec<(String, String)>,
    /// The group's section without `seqno`, and without what says on which devices it lay.
    pub metadata: LvmSection,
}

/// What a logical volume is to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LvmRole {
    /// A volume with content of its own.
    Volume,
    /// A snapshot: its content belongs to the origin.
    Snapshot {
        /// Name of the origin.
        origin: String,
        /// Whether it is one of a thin pool, which is a volume of its own.
        thin: bool,
    },
    /// A pool, or a part of other volumes.
    Hidden,
}

/// A piece of a physical volume that a segment lies on, in extents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LvmArea<'a> {
    /// Key of the physical volume.
    pub physical_volume: &'a str,
    /// First extent.
    pub start: i64,
    /// Number of extents.
    pub length: i64,
    /// The volume.
    pub volume: &'a str,
}

/// Settings of a segment that name another volume.
const NAMES: [&str; 13] = [
    "mirror_log",
    "metadata",
    "pool",
    "data",
    "thin_pool",
    "cache_pool",
    "origin",
    "external_origin",
    "cow_store",
    "merging_store",
    "writecache",
    "merge",
    "replicator",
];

/// Settings of a segment that are lists of what it lies on.
const LISTS: [&str; 4] = ["stripes", "mirrors", "raids", "raid0_lvs"];

impl LvmGroupText {
    /// Reads the text that stands in a metadata area, or in a backup of LVM's.
    ///
    /// # Errors
    /// When it is none of LVM's texts, or lacks what every group has.
    pub fn parse(text: &str) -> Result<Self, LvmTextError> {
        let wrong = |what: String| LvmTextError { line: 0, what };
        let whole = parse_lvm_text(text)?;
        let format =
            (whole.get("contents").and_then(LvmValue::text), whole.get("version").and_then(LvmValue::number));
        if format != (Some("Text Format Volume Group"), Some(1)) {
            return Err(wrong("it is no volume group in the text format, version 1".into()));
        }
        let mut groups = whole.into_iter().filter_map(|(name, value)| match value {
            LvmValue::Section(section) => Some((name, section)),
            _ => None,
        });
        let (Some((name, mut metadata)), None) = (groups.next(), groups.next()) else {
            return Err(wrong("it does not describe exactly one volume group".into()));
        };
        let seqno = metadata.remove("seqno").and_then(|value| value.number());
        let seqno = seqno.and_then(|number| u64::try_from(number).ok());
        let seqno = seqno.ok_or_else(|| wrong(format!("{name} has no seqno")))?;
        let uuid = metadata.get("id").and_then(LvmValue::text).unwrap_or_default().to_owned();
        let mut physical_volumes = Vec::new();
        if let Some(LvmValue::Section(section)) = metadata.get_mut("physical_volumes") {
            for (key, value) in section {
                let LvmValue::Section(volume) = value else {
                    return Err(wrong(format!("{name}: {key} is no physical volume")));
                };
                for hint in ["device", "device_id", "device_id_type"] {
                    volume.remove(hint);
                }
                let uuid = volume.get("id").and_then(LvmValue::text);
                let uuid = uuid.ok_or_else(|| wrong(format!("{name}: {key} has no id")))?;
                physical_volumes.push((key.clone(), uuid.to_owned()));
            }
        }
        if uuid.is_empty() || physical_volumes.is_empty() {
            return Err(wrong(format!("{name} has no id or no physical volumes")));
        }
        // LVM numbers them: pv2 stands before pv10.
        physical_volumes.sort_by_key(|(key, _)| (key.len(), key.clone()));
        Ok(Self { name, uuid, seqno, physical_volumes, metadata })
    }
}

impl VolumeGroup {
    /// The metadata as LVM's text, with this `seqno`, as `vgcfgrestore` and `pvcreate --restorefile` read it.
    pub fn to_text(&self, seqno: u64) -> String {
        let mut group = self.metadata.clone();
        let number = i64::try_from(seqno).unwrap_or(i64::MAX);
        group.insert("seqno".into(), LvmValue::Number(number));
        let mut whole = LvmSection::new();
        whole.insert("contents".into(), LvmValue::Text("Text Format Volume Group".into()));
        whole.insert("version".into(), LvmValue::Number(1));
        whole.insert(self.name.clone(), LvmValue::Section(group));
        write_lvm_text(&whole)
    }

    /// The section of this logical volume.
    pub fn volume(&self, name: &str) -> Option<&LvmSection> {
        self.metadata.get("logical_volumes")?.section()?.get(name)?.section()
    }

    /// The logical volume with this UUID, with dashes or without.
    pub fn volume_by_uuid(&self, uuid: &str) -> Option<(&str, &LvmSection)> {
        let plain = |uuid: &str| uuid.replace('-', "");
        let wanted = plain(uuid);
        self.volumes().find(|(_, volume)| plain(Self::text(volume, "id")) == wanted)
    }

    /// The section of this physical volume (`pv0`).
    pub fn physical_volume(&self, key: &str) -> Option<&LvmSection> {
        self.metadata.get("physical_volumes")?.section()?.get(key)?.section()
    }

    /// A text of a section; empty where it has none.
    pub fn text<'a>(section: &'a LvmSection, name: &str) -> &'a str {
        section.get(name).and_then(LvmValue::text).unwrap_or_default()
    }

    /// Whether a list of a section (`status`, `flags`) holds this word.
    pub fn has(section: &LvmSection, list: &str, word: &str) -> bool {
        let list = section.get(list).map(LvmValue::list).unwrap_or_default();
        list.iter().any(|one| one.text() == Some(word))
    }

    /// Type of a segment, without the marks that LVM adds so that old versions refuse it (`cache-pool+METADATA_FORMAT`).
    pub fn segment_type(segment: &LvmSection) -> &str {
        Self::text(segment, "type").split('+').next().unwrap_or_default()
    }

    /// Names of the volumes that a segment is made of or belongs to. Physical volumes are not among them.
    pub fn references<'a>(&'a self, segment: &'a LvmSection) -> Vec<&'a str> {
        let named = NAMES.iter().filter_map(|name| segment.get(*name)?.text());
        let listed = LISTS
            .iter()
            .flat_map(|name| segment.get(*name).map(LvmValue::list).unwrap_or_default())
            .filter_map(LvmValue::text)
            .filter(|name| self.physical_volume(name).is_none());
        named.chain(listed).collect()
    }

    /// Like [`VolumeGroup::references`], without the origin of a thin snapshot: it shares the pool with it, but is not
    /// made of it.
    pub fn parts<'a>(&'a self, segment: &'a LvmSection) -> Vec<&'a str> {
        let origin = (Self::segment_type(segment) == "thin").then(|| Self::text(segment, "origin"));
        self.references(segment).into_iter().filter(|name| Some(*name) != origin).collect()
    }

    /// The pieces of physical volumes on which a volume lies by itself, parts of it left aside.
    pub fn areas<'a>(&'a self, name: &'a str) -> Vec<LvmArea<'a>> {
        let mut found = Vec::new();
        for segment in self.volume(name).map(Self::segments).unwrap_or_default() {
            let number = |name: &str| segment.get(name).and_then(LvmValue::number);
            let extents = number("extent_count").unwrap_or_default();
            let stripes = number("stripe_count").filter(|count| *count > 0).unwrap_or(1);
            for list in LISTS {
                let list = segment.get(list).map(LvmValue::list).unwrap_or_default();
                for pair in list.windows(2) {
                    if let [LvmValue::Text(key), LvmValue::Number(start)] = pair
                        && self.physical_volume(key).is_some()
                    {
                        let length = extents / stripes;
                        found.push(LvmArea { physical_volume: key, start: *start, length, volume: name });
                    }
                }
            }
        }
        found
    }

    /// This volume and all that it is made of, pools included.
    pub fn closure<'a>(&'a self, name: &'a str) -> BTreeSet<&'a str> {
        let mut found = BTreeSet::new();
        let mut open = vec![name];
        while let Some(name) = open.pop() {
            if let Some(volume) = self.volume(name)
                && found.insert(name)
            {
                for segment in Self::segments(volume) {
                    open.extend(self.parts(segment));
                }
            }
        }
        found
    }

    /// The physical volumes on which a volume lies, its pool and its cache included.
    pub fn physical_volumes_below(&self, name: &str) -> Vec<&PhysicalVolume> {
        let mut keys = BTreeSet::new();
        for part in self.closure(name) {
            keys.extend(self.areas(part).iter().map(|area| area.physical_volume));
        }
        self.physical_volumes.iter().filter(|volume| keys.contains(volume.key.as_str())).collect()
    }

    /// What a volume is to people.
    pub fn role(&self, name: &str) -> LvmRole {
        let all = || self.volumes().flat_map(|(_, volume)| Self::segments(volume));
        let store = |segment: &&LvmSection| {
            Self::segment_type(segment) == "snapshot"
                && ["cow_store", "merging_store"].iter().any(|key| Self::text(segment, key) == name)
        };
        if let Some(snapshot) = all().find(store) {
            return LvmRole::Snapshot { origin: Self::text(snapshot, "origin").to_owned(), thin: false };
        }
        let Some(volume) = self.volume(name) else { return LvmRole::Hidden };
        let first = Self::segments(volume).first().copied();
        let kind = first.map(Self::segment_type).unwrap_or_default();
        if !Self::has(volume, "status", "VISIBLE")
            || matches!(kind, "thin-pool" | "cache-pool" | "vdo-pool" | "snapshot")
        {
            return LvmRole::Hidden;
        }
        if let Some(segment) = first.filter(|_| kind == "thin") {
            for key in ["origin", "external_origin"] {
                let origin = Self::text(segment, key);
                if !origin.is_empty() {
                    return LvmRole::Snapshot { origin: origin.to_owned(), thin: true };
                }
            }
        }
        LvmRole::Volume
    }

    /// The group without its snapshots, but with those thin ones that `keep` says yes to by their UUID (with dashes):
    /// what is mounted is a filesystem of its own.
    #[must_use]
    pub fn without_snapshots(&self, keep: impl Fn(&str) -> bool) -> Self {
        let mut gone: BTreeSet<String> = BTreeSet::new();
        for (name, volume) in self.volumes() {
            let snapshot =
                Self::segments(volume).first().is_some_and(|s| Self::segment_type(s) == "snapshot");
            let drop = match self.role(name) {
                LvmRole::Snapshot { thin, .. } => !thin || !keep(Self::text(volume, "id")),
                _ => snapshot,
            };
            if drop {
                gone.insert(name.to_owned());
            }
        }
        let mut group = self.clone();
        if gone.is_empty() {
            return group;
        }
        // It names volumes that were removed, and those that came of them.
        group.metadata.remove("historical_logical_volumes");
        if let Some(LvmValue::Section(volumes)) = group.metadata.get_mut("logical_volumes") {
            volumes.retain(|name, _| !gone.contains(name));
            for volume in volumes.values_mut() {
                let LvmValue::Section(volume) = volume else { continue };
                for segment in volume.values_mut() {
                    if let LvmValue::Section(segment) = segment
                        && Self::segment_type(segment) == "thin"
                        && gone.contains(Self::text(segment, "origin"))
                    {
                        segment.remove("origin");
                    }
                }
            }
        }
        group
    }
}
