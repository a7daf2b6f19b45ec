//! Archives that other programs made: listed, scanned and restored.

use backup::{Entry, Foreign, ManifestReader};

use super::options;
use super::place::{Memory, Place};

/// A tar, compressed in any way.
pub fn foreign(bytes: &[u8]) -> bool {
    let (memory, options) = (Memory::new(bytes), options());
    let _ = Foreign::is_meant(memory.path());
    let Ok(archive) = Foreign::open(memory.path()) else { return false };
    let mut members = 0_u64;
    let listed = archive.list(&options, &mut |_| {
        members += 1;
        Ok(())
    });
    let manifest = Memory::new(&[]);
    let Ok(scanned) = archive.scan(manifest.file(), &options, &()) else { return false };
    assert!(listed.is_ok(), "what can be scanned can be listed");
    let entries: Vec<Entry> =
        ManifestReader::open(manifest.path()).unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(entries.len() as u64, scanned.totals.files);
    let files = entries.iter().filter(|entry| entry.kind != backup::Kind::Directory).count() as u64;
    assert!(files <= members, "{files} files of {members} members");
    let (place, plain) = (Place::new(), ["/etc".into()]);
    let restored = archive.restore(manifest.path(), &place.target(), &plain, &options, &());
    let _ = backup::compare(manifest.path(), &place.target(), &plain, &options, &());
    // Over what is there now: nothing is replaced, and links lead nowhere.
    let _ = archive.restore(manifest.path(), &place.target(), &[], &options, &());
    place.check();
    restored.is_ok()
}
