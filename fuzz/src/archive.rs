//! Archives of our own with their manifest, through every verb. The input: the lines of the manifest between the first and the
//! last, a cut, then a letter that says what the rest is.
//!
//! * `r`: the archive as it lies on a disk,
//! * `n`, `z`: what its frame becomes when it is decompressed; the frame (not compressed, or zstd) and right tables are made
//!   of it. So a change of a byte is no mere damage: it is what somebody wrote who knows the format.
//! * `m`: as `z`, in two frames.

use backup::format::{CONTEXT, TAG};
use backup::{Contents, Exclude, LeaveOut, Restore, Tree};

use super::manifest::browse;
use super::place::{Memory, Place};
use super::{cut, options};

/// Memory that is taken at most for what is decompressed, in bytes.
const KEPT: u64 = 8 << 20;

/// A manifest and an archive.
pub fn archive(bytes: &[u8]) -> bool {
    let (lines, rest) = cut(bytes);
    let Some((form, content)) = rest.split_first() else { return false };
    let (archive, seal) = match form {
        b'n' => packed(&[content.to_vec()], content),
        b'z' => packed(&[compressed(content)], content),
        b'm' => {
            let (one, two) = content.split_at(content.len() / 1024 * 512);
            let (first, second) = (compressed(one), compressed(two));
            packed_as(&[(first, one.len()), (second, two.len())])
        }
        _ => (content.to_vec(), seal_of(content).unwrap_or_default()),
    };
    let (archive, manifest) = (Memory::new(&archive), Memory::new(&manifest(lines)));
    verbs(&archive, &manifest, &seal)
}

fn verbs(archive: &Memory, manifest: &Memory, seal: &str) -> bool {
    let (place, options) = (Place::new(), options());
    let (stored, list, target) = (archive.stored(), manifest.stored(), place.target());
    let sealed = (stored.len(), seal);
    let verified = backup::verify(&stored, sealed.0, sealed.1, &options, &()).is_ok();
    let proof = backup::prove(&stored, &list, sealed.0, sealed.1, &options, &());
    let is_proven = proof.is_ok_and(|proof| proof.findings.is_empty());
    assert!(verified || !is_proven, "proven although its seal is broken");

    let whole = Restore {
        archive: &stored,
        manifest: manifest.path(),
        target: &target,
        plain: Vec::new(),
        sealed: None,
        replace: true,
    };
    let restored = backup::restore(&whole, &options, &());
    let _ = backup::compare(manifest.path(), &target, &[], &options, &());
    let _ = backup::extra(manifest.path(), &target, &[], &options);
    // Once more over what is there now, links of the first time included; then a part of it.
    let _ = backup::restore(&Restore { sealed: Some(sealed), ..whole.clone() }, &options, &());
    let part = Memory::new(&[]);
    let leave_out = LeaveOut { patterns: Exclude::new(&["/dir/*".into()]).unwrap(), ..LeaveOut::default() };
    if backup::select(&list, part.file(), &leave_out, &options).is_ok() {
        let _ = backup::restore(&Restore { manifest: part.path(), replace: false, ..whole }, &options, &());
    }
    place.check();
    if let Ok(tree) = Tree::read(&list, &options) {
        read(&tree, &stored, sealed, is_proven);
    }
    restored.is_ok()
}

/// As a mounted backup is read: of what was proven, every byte can be.
fn read(tree: &Tree, archive: &backup::Stored, sealed: (u64, &str), is_proven: bool) {
    let Ok(contents) = Contents::open(archive.clone(), sealed.0, sealed.1, KEPT) else {
        assert!(!is_proven, "proven, and cannot be opened");
        return;
    };
    for node in browse(tree) {
        let content = tree.content(node).unwrap();
        let checked = contents.check(&content);
        let mut buffer = [0xA5; 1000];
        for offset in [0, 1, content.size / 2, content.size.saturating_sub(7), content.size, u64::MAX] {
            let read = contents.read(&content, offset, &mut buffer);
            if is_proven && checked.is_ok() {
                let wanted = content.size.saturating_sub(offset).min(buffer.len() as u64);
                assert_eq!(read.unwrap() as u64, wanted, "proven, and a part of it cannot be read");
            }
        }
        assert!(checked.is_ok() || !is_proven, "proven, and not what the manifest says: {checked:?}");
    }
}

/// The manifest of these lines: its first and its last are not what is looked at here.
fn manifest(lines: &[u8]) -> Vec<u8> {
    let mut text = b"{\"v\":1}\n".to_vec();
    text.extend(lines);
    if !lines.is_empty() && !lines.ends_with(b"\n") {
        text.push(b'\n');
    }
    let count = text.iter().filter(|byte| **byte == b'\n').count() - 1;
    text.extend(format!("{{\"end\":{{\"files\":{count},\"bytes\":0}}}}\n").bytes());
    zstd::bulk::compress(&text, 1).unwrap()
}

fn compressed(frame: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(frame, 1).unwrap()
}

fn packed(frames: &[Vec<u8>], content: &[u8]) -> (Vec<u8>, String) {
    packed_as(&frames.iter().map(|frame| (frame.clone(), content.len())).collect::<Vec<_>>())
}

/// An archive of these frames and their decompressed lengths, with the tables that `backup::format` describes, and its digest.
fn packed_as(frames: &[(Vec<u8>, usize)]) -> (Vec<u8>, String) {
    let number = |number: usize| u32::try_from(number).unwrap().to_le_bytes();
    let mut tables = 0x184D_2A50_u32.to_le_bytes().to_vec();
    tables.extend(number(TAG.len() + frames.len() * 32));
    tables.extend(TAG);
    frames.iter().for_each(|(frame, _)| tables.extend(blake3::hash(frame).as_bytes()));
    tables.extend(0x184D_2A5E_u32.to_le_bytes());
    tables.extend(number(frames.len() * 8 + 9));
    for (frame, size) in frames {
        tables.extend(number(frame.len()));
        tables.extend(number(*size));
    }
    tables.extend(number(frames.len()));
    tables.push(0);
    tables.extend(0x8F92_EAB1_u32.to_le_bytes());
    let archive: Vec<u8> = frames.iter().flat_map(|(frame, _)| frame.iter().copied()).chain(tables).collect();
    let seal = seal_of(&archive).unwrap();
    (archive, seal)
}

/// The digest of an archive whose tables are not compressed, computed apart from the code under test.
fn seal_of(archive: &[u8]) -> Option<String> {
    let end = archive.len();
    let count = u32::from_le_bytes(*archive.get(end.checked_sub(9)?..)?.first_chunk::<4>()?) as usize;
    let tables = end.checked_sub(16 + count.checked_mul(40)? + 8 + 9)?;
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    hasher.update(archive.get(tables + 16..tables + 16 + count * 32)?);
    hasher.update(blake3::hash(&archive[tables..]).as_bytes());
    Some(hasher.finalize().to_hex().to_string())
}
