//! The directories of a snapshot, found by path. Those used last stay in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde::Deserialize;

use crate::backend::FileKind;
use crate::error::{Error, Result};
use crate::id::Id;
use crate::index::Find;
use crate::node::{Node, name_of};
use crate::read::TreeReader;
use crate::{Inner, locked};

/// Directories in memory.
const KEPT: usize = 256;
/// Nodes in memory, of all directories together (some 800 bytes each, where all of a node is kept).
const NODES: usize = 50_000;
/// So many directories stay, however large they are: two threads on both sides of a border, and what leads there.
const LEAST: usize = 8;

/// The nodes of a tree with their names, in its order.
pub type Nodes<N> = Vec<(Vec<u8>, N)>;

/// What is kept of a node in a tree: all of it, or less.
pub trait Named: Sized {
    /// The directory that it is.
    fn subtree(&self) -> Option<Id>;

    /// The nodes of a tree.
    ///
    /// # Errors
    /// The end of a sentence about the tree.
    fn nodes(text: &str) -> std::result::Result<Nodes<Self>, String>;
}

impl Named for Node {
    fn subtree(&self) -> Option<Id> {
        self.subtree
    }

    fn nodes(text: &str) -> std::result::Result<Nodes<Self>, String> {
        #[derive(Deserialize)]
        struct TreeFile {
            nodes: Vec<Node>,
        }
        let tree: TreeFile =
            serde_json::from_str(text).map_err(|error| format!("cannot be understood: {error}"))?;
        tree.nodes.into_iter().map(|node| Ok((named(&node.name)?, node))).collect()
    }
}

/// The name that is written so; the error is the end of a sentence about its tree.
pub fn named(text: &str) -> std::result::Result<Vec<u8>, String> {
    name_of(text).ok_or_else(|| format!("has the impossible name '{text}'"))
}

/// The nodes of a directory with their names, in the order of these.
pub struct Tree<N>(Vec<(Vec<u8>, N)>);

/// A directory, or that there is none.
pub type Found<N> = Option<Arc<Tree<N>>>;

impl<N> Tree<N> {
    fn new(mut nodes: Vec<(Vec<u8>, N)>) -> Self {
        if !nodes.is_sorted_by(|one, other| one.0 <= other.0) {
            nodes.sort_by(|one, other| one.0.cmp(&other.0));
        }
        Self(nodes)
    }

    /// The node of that name.
    pub fn get(&self, name: &[u8]) -> Option<&N> {
        let at = self.0.binary_search_by(|(one, _)| one.as_slice().cmp(name)).ok()?;
        self.0.get(at).map(|(_, node)| node)
    }
}

/// A snapshot's directories.
pub struct Trees<'r, N = Node> {
    reader: TreeReader<'r>,
    root: Id,
    known: Mutex<Known<N>>,
}

/// The directories in memory.
struct Known<N> {
    /// Each with when it was used last.
    trees: HashMap<Vec<u8>, (u64, Found<N>)>,
    nodes: usize,
    uses: u64,
}

impl<N> Default for Known<N> {
    fn default() -> Self {
        Self { trees: HashMap::new(), nodes: 0, uses: 0 }
    }
}

impl<N> Known<N> {
    fn get(&mut self, path: &[u8]) -> Option<Found<N>> {
        self.uses += 1;
        let (used, tree) = self.trees.get_mut(path)?;
        *used = self.uses;
        Some(tree.clone())
    }

    fn insert(&mut self, path: &[u8], tree: Found<N>) {
        let count = |tree: &Found<N>| tree.as_ref().map_or(0, |tree| tree.0.len());
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

impl<'r, N: Named> Trees<'r, N> {
    /// Those below that tree.
    pub fn new(inner: &'r Inner, root: Id) -> Self {
        Self { reader: TreeReader::new(inner), root, known: Mutex::default() }
    }

    /// The directory at that stored path (`.` for the root); `None` where there is none.
    pub fn directory(&self, index: &dyn Find, path: &[u8]) -> Result<Found<N>> {
        // Upwards to what is known, and down again: a path may be deeper than the stack.
        let mut unknown = Vec::new();
        let mut at = path;
        let mut found: Found<N> = loop {
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
                path => found.and_then(|tree| tree.get(split(path).1).and_then(N::subtree)),
            };
            found = match id {
                Some(id) => Some(Arc::new(Tree::new(self.load(index, id)?))),
                None => None,
            };
            locked(&self.known).insert(path, found.clone());
        }
        Ok(found)
    }

    /// The node at that path.
    pub fn node(&self, index: &dyn Find, path: &[u8]) -> Result<Option<N>>
    where
        N: Clone,
    {
        let (parent, name) = split(path);
        Ok(self.directory(index, parent)?.and_then(|tree| tree.get(name).cloned()))
    }

    /// The nodes of a tree with their names, in its order.
    pub fn load(&self, index: &dyn Find, id: Id) -> Result<Nodes<N>> {
        let text = self.reader.read(index, id)?;
        parse(&text, id)
    }
}

/// The nodes of a tree with their names, in its order.
pub fn parse<N: Named>(text: &[u8], id: Id) -> Result<Nodes<N>> {
    let nodes = std::str::from_utf8(text).map_err(|_| "is no text".to_owned()).and_then(N::nodes);
    nodes.map_err(|detail| Error::Damaged { kind: FileKind::Pack, id: format!("with tree {id}"), detail })
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

    fn tree(nodes: usize) -> Found<Node> {
        let name = |number: usize| number.to_string().into_bytes();
        Some(Arc::new(Tree::new((0..nodes).map(|number| (name(number), Node::default())).collect())))
    }

    #[test]
    fn nodes_are_found_in_whatever_order_they_stand() {
        let tree = tree(100).unwrap();
        for number in 0..100 {
            assert!(tree.get(number.to_string().as_bytes()).is_some());
        }
        assert!(tree.get(b"100").is_none() && tree.get(b"").is_none());
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
