//! Writes the binary indexes by which libkmod (in udevd and modprobe) finds modules: `modules.dep.bin`,
//! `modules.alias.bin`, `modules.symbols.bin`. The format is the one of `depmod` (kmod, `libkmod-index.c`): a
//! trie of names, stored children first, numbers big-endian. So no depmod has to run over a copy.

use std::collections::BTreeMap;

const MAGIC: u32 = 0xB007_F457;
const VERSION: u32 = 0x0002_0001;
const PREFIX: u32 = 0x8000_0000;
const VALUES: u32 = 0x4000_0000;
const CHILDS: u32 = 0x2000_0000;

#[derive(Debug, Default)]
struct Node {
    children: BTreeMap<u8, Node>,
    values: Vec<(u32, String)>,
}

/// Names, each with values and their priority (a smaller one comes first).
#[derive(Debug, Default)]
pub(crate) struct Index(Node);

impl Index {
    /// Adds a value under a name; one that is there already stays single. Names outside ASCII, which the
    /// format has no place for, are left out.
    pub(crate) fn insert(&mut self, name: &str, value: &str, priority: u32) {
        if !name.is_ascii() || name.is_empty() {
            return;
        }
        let mut node = &mut self.0;
        for byte in name.bytes() {
            node = node.children.entry(byte).or_default();
        }
        if !node.values.iter().any(|(_, known)| known == value) {
            let at = node.values.partition_point(|(other, _)| *other < priority);
            node.values.insert(at, (priority, value.to_owned()));
        }
    }

    /// The file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(MAGIC.to_be_bytes());
        out.extend(VERSION.to_be_bytes());
        out.extend([0; 4]);
        let root = write(&self.0, true, &mut out);
        out[8..12].copy_from_slice(&root.to_be_bytes());
        out
    }
}

/// Writes a node after its children; gives its offset with the flags of what it holds.
fn write(node: &Node, root: bool, out: &mut Vec<u8>) -> u32 {
    // A chain of nodes with one child each and no values is stored as the prefix of the node at its end; the
    // root never has one.
    let mut prefix = Vec::new();
    let mut node = node;
    while !root && node.values.is_empty() && node.children.len() == 1 {
        let Some((byte, child)) = node.children.first_key_value() else { break };
        prefix.push(*byte);
        node = child;
    }
    let mut childs = Vec::new();
    if let (Some((first, _)), Some((last, _))) =
        (node.children.first_key_value(), node.children.last_key_value())
    {
        childs.extend([*first, *last]);
        for byte in *first..=*last {
            let offset = node.children.get(&byte).map_or(0, |child| write(child, false, out));
            childs.extend(offset.to_be_bytes());
        }
    }
    let mut offset = u32::try_from(out.len()).unwrap_or(u32::MAX);
    if !prefix.is_empty() {
        offset |= PREFIX;
        out.extend(&prefix);
        out.push(0);
    }
    if !childs.is_empty() {
        offset |= CHILDS;
        out.extend(&childs);
    }
    if !node.values.is_empty() {
        offset |= VALUES;
        out.extend(u32::try_from(node.values.len()).unwrap_or(u32::MAX).to_be_bytes());
        for (priority, value) in &node.values {
            out.extend(priority.to_be_bytes());
            out.extend(value.as_bytes());
            out.push(0);
        }
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_depmod() {
        let mut index = Index::default();
        index.insert("ab", "x", 1);
        index.insert("ac", "y", 2);
        index.insert("ac", "y", 2);
        let expected = [
            b"\xb0\x07\xf4\x57\x00\x02\x00\x01\x20\x00\x00\x2a".as_slice(),
            // "b" and "c" at 12 and 22: one value each
            b"\x00\x00\x00\x01\x00\x00\x00\x01x\0",
            b"\x00\x00\x00\x01\x00\x00\x00\x02y\0",
            // "a" at 32: children b to c
            b"bc\x40\x00\x00\x0c\x40\x00\x00\x16",
            // the root at 42: one child
            b"aa\x20\x00\x00\x20",
        ]
        .concat();
        assert_eq!(index.bytes(), expected);
    }

    #[test]
    fn lower_priorities_come_first() {
        let mut index = Index::default();
        index.insert("xyz", "late", 9);
        index.insert("xyz", "early", 3);
        let bytes = index.bytes();
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.find("early") < text.find("late"));
        assert!(text.contains("yz\0"), "a chain becomes a prefix: {text:?}");
    }
}
