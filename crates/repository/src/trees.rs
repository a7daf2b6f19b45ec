//! The directories of a snapshot, found by path. Those used last stay in memory.

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
/// Nodes in memory, of all directories together (some 800 bytes each).
const NODES: usize = 50_000;
/// So many directories stay, however large they are: two threads on both sides of a border, and what leads there.
const LEAST: usize = 8;

/// The nodes of a directory by name.
pub type Tree = HashMap<Vec<u8>, Node>;

/// A snapshot's directories.
pub struct Trees<'r> {
    reader: TreeReader<'r>,
    root: Id,
    known: Mutex<Known>,
}

/// The directories in memory.
#[derive(Default)]
struct Known {
    /// Each with when it was used last.
    trees: HashMap<Vec<u8>, (u64, Option<Arc<Tree>>)>,
    nodes: usize,
    uses: u64,
}

impl Known {
    fn get(&mut self, path: &[u8]) -> Option<Option<Arc<Tree>>> {
        self.uses += 1;
        let (used, tree) = self.trees.get_mut(path)?;
        *used = self.uses;
        Some(tree.clone())
    }

    fn insert(&mut self, path: &[u8], tree: Option<Arc<Tree>>) {
        let count = |tree: &Option<Arc<Tree>>| tree.as_ref().map_or(0, |tree| tree.len());
        self.nodes += count(&tree);
        self.uses += 1;
        if let Some((_, before)) = self.trees.insert(path.to_vec(), (self.uses, tree)) {
            self.nodes -= count(&before);
        }
        while self.trees.len() > KEPT || self.nodes > NODES && self.trees.len() > LEAST {
            let oldest = self.trees.iter().min_by_key(|(_, (used, _))| *used).map(|(path, _)| path.clone());
            let Some((_, tree)) = oldest.and_then(|path| self.trees.remove(&path)) else { break };
            self.nodes -= count(&tree);
        }
    }
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
                break known;
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
            locked(&self.known).insert(path, found.clone());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(nodes: usize) -> Option<Arc<Tree>> {
        let name = |number: usize| number.to_string().into_bytes();
        Some(Arc::new((0..nodes).map(|number| (name(number), Node::default())).collect()))
    }

    #[test]
    fn what_was_used_last_stays() {
        let mut known = Known::default();
        known.insert(b"top", tree(NODES / 2));
        for number in 0..10 * KEPT {
            known.insert(format!("top/{number}").as_bytes(), tree(number % 3));
            assert!(known.get(b"top").is_some(), "the parent of all of them is in use");
        }
        assert!(known.trees.len() == KEPT && known.get(b"top/0").is_none());
        // Large ones push out all but a few.
        let large = tree(NODES);
        for number in 0..20 {
            known.insert(format!("large/{number}").as_bytes(), large.clone());
        }
        assert_eq!((known.trees.len(), known.nodes), (LEAST, LEAST * NODES));
        known.insert(b"large/19", None);
        assert_eq!(known.nodes, (LEAST - 1) * NODES);
    }
}
