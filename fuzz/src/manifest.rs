//! Manifests: what is read is written again as the same, and every verb that works on manifests alone ends.

use std::path::PathBuf;

use backup::{Entry, Exclude, LeaveOut, ManifestReader, ManifestWriter, Totals, Tree, Wanted};

use super::options;
use super::place::{Memory, Place};

/// Begins a compressed manifest; all else is taken for the lines of one.
const ZSTD: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];

/// The lines of a manifest, or a compressed one.
pub fn manifest(bytes: &[u8]) -> bool {
    let memory = if bytes.starts_with(&ZSTD) {
        Memory::new(bytes)
    } else {
        Memory::new(&zstd::bulk::compress(bytes, 1).unwrap())
    };
    let totals = backup::totals(memory.path());
    let read: Result<Vec<Entry>, _> = ManifestReader::open(memory.path()).and_then(Iterator::collect);
    if let Ok(entries) = &read {
        // Parsing is more than counting.
        assert_eq!(totals.unwrap().files, entries.len() as u64);
        let again = Memory::new(&[]);
        write(entries, &again);
        let reread: Vec<Entry> =
            ManifestReader::open(again.path()).unwrap().map(|entry| entry.unwrap()).collect();
        assert_eq!(*entries, reread, "what was written reads otherwise");
    }
    let (stored, options) = (memory.stored(), options());
    if let Ok(tree) = Tree::read(&stored, &options) {
        browse(&tree);
    }
    let out = Memory::new(&[]);
    let patterns = Exclude::new(&["/dir/*".into(), "/a*".into(), "*.b?[c-d]".into()]).unwrap();
    let leave_out = LeaveOut { patterns, mounts: vec!["/m".into()], ..LeaveOut::default() };
    if backup::select(&stored, out.file(), &leave_out, &options).is_ok() {
        assert!(backup::totals(out.path()).is_ok(), "what was selected is no manifest");
    }
    let wanted: Vec<PathBuf> = vec!["/a".into(), "/dir/sub".into()];
    let _ = Wanted::new(&wanted).unwrap().find(&stored, &options);
    let place = Place::new();
    let _ = backup::extra(memory.path(), &place.target(), &[], &options);
    let _ = backup::compare(memory.path(), &place.target(), &[], &options, &());
    place.check();
    read.is_ok()
}

/// Writes these entries.
fn write(entries: &[Entry], to: &Memory) {
    let mut writer = ManifestWriter::new(to.file()).unwrap();
    for entry in entries {
        let mut line = Vec::new();
        backup::write_line(entry, &mut line).unwrap();
        writer.append(&line, Totals { files: 1, bytes: entry.stored() }).unwrap();
    }
    writer.finish().unwrap();
}

/// Asks a tree everything that a filesystem is asked; gives its files.
pub fn browse(tree: &Tree) -> Vec<backup::Node> {
    let mut files = Vec::new();
    for node in 0..u32::try_from(tree.len()).unwrap() {
        let attributes = tree.attributes(node).unwrap();
        tree.xattrs(node);
        tree.flags(node);
        match attributes.kind {
            backup::Kind::Directory => {
                tree.parent(node).unwrap();
                for (name, child) in tree.entries(node, 0).unwrap() {
                    assert!((child as usize) < tree.len());
                    assert!(!matches!(name, b"" | b"." | b"..") && !name.contains(&b'/'), "{name:?}");
                    assert!(tree.lookup(node, name).is_ok());
                }
            }
            backup::Kind::Symlink => _ = tree.link(node).unwrap(),
            backup::Kind::File => files.push(node),
            _ => {}
        }
    }
    files
}
