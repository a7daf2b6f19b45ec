//! The directories of a snapshot, found by path. The last ones stay in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::backend::FileKind;
use crate::error::{Error, Result};
use crate::id::Id;
use crate::index::Find;
use crate::node::{Node, TreeFile};
use crate::read::TreeReader;
use crate::{Inner, locked};

/// Directories in memory.
const KEPT: usize = 256;

/// The nodes of a directory by name.
pub type Tree = HashMap<Vec<u8>, Node>;

/// A snapshot's directories.
pub struct Trees<'r> {
    reader: TreeReader<'r>,
    root: Id,
    known: Mutex<HashMap<Vec<u8>, Option<Arc<Tree>>>>,
}

impl<'r> Trees<'r> {
    /// Those below that tree.
    pub fn new(inner: &'r Inner, root: Id) -> Self {
        Self { reader: TreeReader::new(inner), root, known: Mutex::default() }
    }

    /// The directory at that stored path (`.` for the root); `None` where there is none.
    pub fn directory(&self, index: &dyn Find, path: &[u8]) -> Result<Option<Arc<Tree>>> {
        // Upwards to what is known, and down again: a path may be deeper than the stack.
        let mut unknown = Vec::new();
        let mut at = path;
        let mut found: Option<Arc<Tree>> = loop {
            if let Some(known) = locked(&self.known).get(at) {
                break known.clone();
            }
            unknown.push(at);
            if at == b"." {
                break None;
            }
            at = split(at).0;
        };
        for path in unknown.into_iter().rev() {
            let id = match path {
                b"." => Some(self.root),
                path => found.and_then(|tree| tree.get(split(path).1).and_then(|node| node.subtree)),
            };
            found = match id {
                Some(id) => Some(Arc::new(self.load(index, id)?.into_iter().collect())),
                None => None,
            };
            let mut known = locked(&self.known);
            if known.len() >= KEPT {
                // The ancestors of what comes next are loaded again.
                known.clear();
            }
            known.insert(path.to_vec(), found.clone());
        }
        Ok(found)
    }

    /// The node at that path.
    pub fn node(&self, index: &dyn Find, path: &[u8]) -> Result<Option<Node>> {
        let (parent, name) = split(path);
        Ok(self.directory(index, parent)?.and_then(|tree| tree.get(name).cloned()))
    }

    /// The nodes of a tree with their names, in its order.
    pub fn load(&self, index: &dyn Find, id: Id) -> Result<Vec<(Vec<u8>, Node)>> {
        let text = self.reader.read(index, id)?;
        parse(&text, id)
    }
}

/// The nodes of a tree with their names, in its order.
pub fn parse(text: &[u8], id: Id) -> Result<Vec<(Vec<u8>, Node)>> {
    let damaged =
        |detail: String| Error::Damaged { kind: FileKind::Pack, id: format!("with tree {id}"), detail };
    let tree: TreeFile =
        serde_json::from_slice(text).map_err(|error| damaged(format!("cannot be understood: {error}")))?;
    let named = tree.nodes.into_iter().map(|node| {
        let name = node.name().ok_or_else(|| damaged(format!("has the impossible name '{}'", node.name)))?;
        Ok((name, node))
    });
    named.collect()
}

/// Directory (`.` for none) and last component.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b".", path),
    }
}
