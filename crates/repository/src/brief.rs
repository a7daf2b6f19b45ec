//! Nodes of which only a part is read, where there are hundreds of thousands of them and the rest is known from elsewhere.

use serde::Deserialize;

use crate::id::Id;
use crate::node::{NO_TIME, Node};
use crate::trees::Named;

/// What a node describes, as far as it counts here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// A file, or a further name of one.
    File,
    /// A directory.
    Dir,
    /// Anything else.
    #[serde(other)]
    Other,
}

/// Where a name leads to.
#[derive(Deserialize)]
pub struct Located {
    name: String,
    #[serde(rename = "type")]
    pub kind: Type,
    #[serde(default)]
    pub content: Option<Box<[Id]>>,
    #[serde(default)]
    pub subtree: Option<Id>,
    #[serde(default)]
    rear: Digest,
}

#[derive(Default, Deserialize)]
struct Digest {
    #[serde(default)]
    b: Option<Id>,
}

impl Located {
    /// Digest of a file's content, as a manifest has it; what restic stored has none.
    pub fn digest(&self) -> Option<Id> {
        self.rear.b
    }
}

impl Named for Located {
    fn quoted(&self) -> &str {
        &self.name
    }

    fn subtree(&self) -> Option<Id> {
        self.subtree
    }
}

/// A file as it was when a snapshot was made.
#[derive(Deserialize)]
pub struct Past {
    name: String,
    #[serde(rename = "type")]
    kind: Type,
    #[serde(default)]
    mtime: Box<str>,
    #[serde(default)]
    ctime: Box<str>,
    #[serde(default)]
    inode: u64,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    content: Option<Box<[Id]>>,
    #[serde(default)]
    subtree: Option<Id>,
    #[serde(default)]
    rear: Known,
}

#[derive(Default, Deserialize)]
struct Known {
    #[serde(default)]
    b: Option<Id>,
    #[serde(default)]
    h: Option<Box<[(u64, u64)]>>,
}

impl Past {
    /// Whether it describes the file as that node does: then nothing was changed since.
    pub fn is_same(&self, node: &Node) -> bool {
        self.kind == Type::File
            && self.size == node.size
            && self.inode == node.inode
            && *self.mtime == *node.mtime
            && *self.ctime == *node.ctime
            && node.ctime != NO_TIME
    }

    /// Its content; `None` where its digest was not stored.
    pub fn content(&self) -> Option<&[Id]> {
        self.content.as_deref().filter(|_| self.rear.b.is_some() || self.size == 0)
    }

    /// Where there is data in a file with holes, in bytes.
    pub fn segments(&self) -> Option<Vec<(u64, u64)>> {
        self.rear.h.as_ref().map(|segments| segments.to_vec())
    }

    /// Digest of its content, as a manifest has it.
    pub fn digest(&self) -> Option<[u8; 32]> {
        self.rear.b.map(|digest| *digest.bytes())
    }
}

impl Named for Past {
    fn quoted(&self) -> &str {
        &self.name
    }

    fn subtree(&self) -> Option<Id> {
        self.subtree
    }
}
