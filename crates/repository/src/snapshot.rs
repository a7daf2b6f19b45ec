//! Snapshots: one backup of one machine, as the repository names it.

use serde::{Deserialize, Serialize};

use crate::id::Id;
use crate::node::{Node, time_of};

/// A snapshot as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SnapshotFile {
    pub time: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Id>,
    pub tree: Id,
    #[serde(default)]
    pub paths: Option<Vec<String>>,
    #[serde(default)]
    pub hostname: String,
    #[serde(default)]
    pub username: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<Id>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program_version: Option<String>,
    /// What only we store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rear: Option<Root>,
}

/// The root directory itself, for which a tree has no place.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Root {
    pub root: Node,
}

/// A snapshot for people and programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its name.
    pub id: Id,
    /// When it was begun, in seconds since 1970-01-01 UTC.
    pub time: i64,
    /// The machine.
    pub hostname: String,
    /// Its labels.
    pub tags: Vec<String>,
    /// What was to be stored.
    pub paths: Vec<String>,
    /// Whether this program made it.
    pub is_ours: bool,
}

/// The label of the snapshots that this program makes: only these are ever forgotten by it.
pub const TAG: &str = "rear";

impl SnapshotFile {
    /// For people and programs.
    pub fn describe(&self, id: Id) -> Snapshot {
        let tags = self.tags.clone().unwrap_or_default();
        Snapshot {
            id,
            time: time_of(&self.time).map_or(0, |time| time.0),
            hostname: self.hostname.clone(),
            is_ours: tags.iter().any(|tag| tag == TAG),
            tags,
            paths: self.paths.clone().unwrap_or_default(),
        }
    }
}
