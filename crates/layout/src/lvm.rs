//! LVM: volume groups as LVM itself describes them, and the block devices of logical volumes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Bytes, NodeId};

mod check;
mod group;
mod text;

pub use group::{LvmArea, LvmGroupText, LvmRole};
pub use text::{LvmTextError, parse_lvm_text, write_lvm_text};

/// A section of LVM's metadata text (lvm2 `lib/format_text`, "version = 1"): names and what they stand for.
pub type LvmSection = BTreeMap<String, LvmValue>;

/// A value in LVM's metadata text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LvmValue {
    /// A number.
    Number(i64),
    /// A text in quotation marks.
    Text(String),
    /// A list in brackets.
    List(Vec<LvmValue>),
    /// A section in braces.
    Section(LvmSection),
}

impl LvmValue {
    /// The number, if it is one.
    pub fn number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The list; empty if it is none.
    pub fn list(&self) -> &[LvmValue] {
        match self {
            Self::List(list) => list,
            _ => &[],
        }
    }

    /// The section, if it is one.
    pub fn section(&self) -> Option<&LvmSection> {
        match self {
            Self::Section(section) => Some(section),
            _ => None,
        }
    }
}

/// A volume group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeGroup {
    /// Its name.
    pub name: String,
    /// Its UUID, with dashes as LVM prints it.
    pub uuid: String,
    /// Its physical volumes, by their key in the metadata (`pv0`).
    pub physical_volumes: Vec<PhysicalVolume>,
    /// The group's section of the metadata, whole and in LVM's own words, without what changes by itself (`seqno`,
    /// and of each physical volume the hints at its device).
    pub metadata: LvmSection,
}

/// A physical volume of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhysicalVolume {
    /// Its key in the metadata: `pv0`.
    pub key: String,
    /// Its UUID, with dashes.
    pub uuid: String,
    /// The device that carries it; `None` when it was missing.
    pub device: Option<NodeId>,
    /// Number of metadata areas on it (0, 1 or 2).
    pub metadata_areas: u32,
    /// Bytes of a metadata area.
    pub metadata_size: Bytes,
    /// Whether LVM leaves its metadata areas alone (`pvchange --metadataignore y`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub metadata_ignored: bool,
}

impl VolumeGroup {
    /// Bytes of an extent.
    pub fn extent_size(&self) -> Bytes {
        let sectors = self.metadata.get("extent_size").and_then(LvmValue::number).unwrap_or_default();
        Bytes(u64::try_from(sectors).unwrap_or_default().saturating_mul(512))
    }

    /// The sections of its logical volumes, hidden ones included, by name.
    pub fn volumes(&self) -> impl Iterator<Item = (&str, &LvmSection)> {
        self.metadata
            .get("logical_volumes")
            .and_then(LvmValue::section)
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name.as_str(), value.section()?)))
    }

    /// The segments of a logical volume, in their order.
    pub fn segments(volume: &LvmSection) -> Vec<&LvmSection> {
        let mut found: Vec<(u32, &LvmSection)> = volume
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix("segment")?.parse().ok()?, value.section()?)))
            .collect();
        found.sort_by_key(|(number, _)| *number);
        found.into_iter().map(|(_, segment)| segment).collect()
    }
}

/// A logical volume as a block device. How it lies on the physical volumes says its group's metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogicalVolume {
    /// Volume group; empty for a device-mapper volume that is not LVM's.
    pub group: String,
    /// Its name in the group.
    pub name: String,
    /// UUID of the logical volume, without dashes, as device-mapper has it.
    pub uuid: String,
    /// The devices of the physical volumes on which it lies.
    pub physical_volumes: Vec<NodeId>,
}
