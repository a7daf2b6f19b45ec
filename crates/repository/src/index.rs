//! Which blob lies where: the files of the directory `index`, and all of them together in memory (about 60 bytes a blob).

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use serde::Serialize;

use crate::id::Id;
use crate::pack::{Blob, BlobKind};
use crate::scan::Scan;

/// An index file.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct IndexFile {
    /// Index files that this one replaces.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub supersedes: Vec<Id>,
    /// The packs.
    pub packs: Vec<IndexedPack>,
}

/// A pack in an index file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IndexedPack {
    /// Its name.
    pub id: Id,
    /// Its blobs.
    pub blobs: Vec<Blob>,
}

impl IndexFile {
    /// What such a file says: one or two hundred bytes for each blob of the repository.
    pub fn parse(text: &str) -> Option<Self> {
        let (mut supersedes, mut packs) = (Vec::new(), None);
        let mut scan = Scan::new(text);
        scan.object(|scan, field| {
            match field {
                "supersedes" => supersedes = scan.optional(|scan| scan.array(Scan::id))?.unwrap_or_default(),
                "packs" => packs = Some(scan.array(pack)?),
                _ => scan.skip()?,
            }
            Some(())
        })?;
        scan.is_at_end().then_some(Self { supersedes, packs: packs? })
    }
}

fn pack(scan: &mut Scan<'_>) -> Option<IndexedPack> {
    let (mut name, mut blobs) = (None, None);
    scan.object(|scan, field| {
        match field {
            "id" => name = Some(scan.id()?),
            "blobs" => blobs = Some(scan.array(blob)?),
            _ => scan.skip()?,
        }
        Some(())
    })?;
    Some(IndexedPack { id: name?, blobs: blobs? })
}

fn blob(scan: &mut Scan<'_>) -> Option<Blob> {
    let (mut name, mut kind, mut offset, mut length, mut plain) = (None, None, None, None, None);
    let number = |scan: &mut Scan<'_>| u32::try_from(scan.number()?).ok();
    scan.object(|scan, field| {
        match field {
            "id" => name = Some(scan.id()?),
            "type" => {
                kind = match &*scan.string()? {
                    "data" => Some(BlobKind::Data),
                    "tree" => Some(BlobKind::Tree),
                    _ => None,
                }
            }
            "offset" => offset = Some(number(scan)?),
            "length" => length = Some(number(scan)?),
            "uncompressed_length" => plain = scan.optional(number)?,
            _ => scan.skip()?,
        }
        Some(())
    })?;
    Some(Blob { id: name?, kind: kind?, offset: offset?, length: length?, plain })
}

/// Where a blob lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of the pack in [`Index::packs`]; `u32::MAX` while it is being filled.
    pack: u32,
    /// Where it begins there, in bytes.
    pub offset: u32,
    /// Its sealed length, in bytes.
    pub length: u32,
    /// Its plain length in bytes where it is compressed, else zero.
    plain: u32,
}

impl Place {
    /// The plain length where it is compressed, in bytes.
    pub fn compressed_from(&self) -> Option<u32> {
        (self.plain != 0).then_some(self.plain)
    }

    /// Its plain length in bytes.
    pub fn plain_length(&self) -> u64 {
        let overhead = crate::crypto::OVERHEAD as u32;
        u64::from(self.compressed_from().unwrap_or_else(|| self.length.saturating_sub(overhead)))
    }
}

/// Ids are hashes already.
#[derive(Default)]
pub struct First(u64);

impl Hasher for First {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            // The length that is written too would spoil it.
            if bytes.len() == 32 {
                self.0 = u64::from_le_bytes(*first);
            }
        }
    }
    fn write_usize(&mut self, _length: usize) {}
}

/// A map whose keys are ids.
pub type IdMap<V> = HashMap<Id, V, BuildHasherDefault<First>>;
/// A set of ids.
pub type IdSet = std::collections::HashSet<Id, BuildHasherDefault<First>>;

/// Finds blobs.
pub trait Find: Sync {
    /// Where the blob lies.
    fn find(&self, kind: BlobKind, id: Id) -> Option<(Id, Place)>;
    /// Where the last blob of a pack ends, in bytes; zero for an unknown pack.
    fn end_of(&self, pack: Id) -> u64;
}

/// All index files together.
#[derive(Debug, Default)]
pub struct Index {
    packs: Vec<Id>,
    /// Where the last blob of each pack ends, in bytes.
    ends: Vec<u64>,
    numbers: IdMap<u32>,
    data: IdMap<Place>,
    trees: IdMap<Place>,
}

impl Index {
    fn of(&self, kind: BlobKind) -> &IdMap<Place> {
        match kind {
            BlobKind::Data => &self.data,
            BlobKind::Tree => &self.trees,
        }
    }

    fn of_mut(&mut self, kind: BlobKind) -> &mut IdMap<Place> {
        match kind {
            BlobKind::Data => &mut self.data,
            BlobKind::Tree => &mut self.trees,
        }
    }

    /// Adds a pack with its blobs. One of impossible size is left out: whoever needs it hears that it is lost.
    pub fn add(&mut self, pack: Id, blobs: &[Blob]) {
        let next = u32::try_from(self.packs.len()).unwrap_or(u32::MAX);
        let number = *self.numbers.entry(pack).or_insert(next);
        if number == next {
            self.packs.push(pack);
            self.ends.push(0);
        }
        if let Some(end) = usize::try_from(number).ok().and_then(|number| self.ends.get_mut(number)) {
            *end = blobs.iter().filter(|blob| blob.is_possible()).map(Blob::end).fold(*end, u64::max);
        }
        for blob in blobs.iter().filter(|blob| blob.is_possible()) {
            let place = Place {
                pack: number,
                offset: blob.offset,
                length: blob.length,
                plain: blob.plain.unwrap_or(0),
            };
            let slot = self.of_mut(blob.kind).entry(blob.id).or_insert(place);
            if slot.pack == u32::MAX {
                *slot = place;
            }
        }
    }

    /// Says that a blob is about to be stored; false when it is there already, or somebody else is about to.
    pub fn claim(&mut self, kind: BlobKind, id: Id, plain: usize) -> bool {
        let mut claimed = false;
        self.of_mut(kind).entry(id).or_insert_with(|| {
            claimed = true;
            Place { pack: u32::MAX, offset: 0, length: 0, plain: u32::try_from(plain).unwrap_or(0) }
        });
        claimed
    }

    /// Whether the blob is there, or on its way.
    pub fn has(&self, kind: BlobKind, id: Id) -> bool {
        self.of(kind).contains_key(&id)
    }

    /// Whether an index file names that pack.
    pub fn has_pack(&self, pack: Id) -> bool {
        self.numbers.contains_key(&pack)
    }

    /// All packs.
    pub fn packs(&self) -> &[Id] {
        &self.packs
    }
}

impl Find for Index {
    fn find(&self, kind: BlobKind, id: Id) -> Option<(Id, Place)> {
        let place = self.of(kind).get(&id)?;
        let pack = self.packs.get(usize::try_from(place.pack).ok()?)?;
        Some((*pack, *place))
    }

    fn end_of(&self, pack: Id) -> u64 {
        let number = self.numbers.get(&pack).and_then(|number| usize::try_from(*number).ok());
        number.and_then(|number| self.ends.get(number)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_file_comes_back() {
        let blob =
            Blob { id: Id::of(b"a"), kind: BlobKind::Data, offset: 0, length: u32::MAX, plain: Some(7) };
        let tree = Blob { id: Id::of(b"b"), kind: BlobKind::Tree, offset: 9, length: 41, plain: None };
        let packs = vec![
            IndexedPack { id: Id::of(b"pack"), blobs: vec![blob, tree] },
            IndexedPack { id: Id::of(b"empty"), blobs: Vec::new() },
        ];
        for supersedes in [Vec::new(), vec![Id::of(b"old")]] {
            let file = IndexFile { supersedes, packs: packs.clone() };
            for text in [serde_json::to_string(&file).unwrap(), serde_json::to_string_pretty(&file).unwrap()]
            {
                assert_eq!(IndexFile::parse(&text).as_ref(), Some(&file));
                for damaged in [&text[1..], &text[..text.len() - 1], &text.replace("data", "date")] {
                    assert_eq!(IndexFile::parse(damaged), None);
                }
                assert_eq!(IndexFile::parse(&text.replace("4294967295", "4294967296")), None);
            }
        }
        assert_eq!(IndexFile::parse("{\"packs\":[],\"new\":{\"a\":[1]}}"), Some(IndexFile::default()));
    }

    #[test]
    fn a_blob_is_claimed_once_and_found_when_its_pack_is_there() {
        let mut index = Index::default();
        let id = Id::of(b"x");
        assert!(index.claim(BlobKind::Data, id, 5));
        assert!(!index.claim(BlobKind::Data, id, 5));
        assert!(index.claim(BlobKind::Tree, id, 5));
        assert!(index.has(BlobKind::Data, id) && index.find(BlobKind::Data, id).is_none());
        let blob = Blob { id, kind: BlobKind::Data, offset: 9, length: 40, plain: None };
        index.add(Id::of(b"pack"), &[blob]);
        index.add(Id::of(b"second"), &[Blob { offset: 1, ..blob }]);
        let (pack, place) = index.find(BlobKind::Data, id).unwrap();
        assert_eq!((pack, place.offset, place.plain_length()), (Id::of(b"pack"), 9, 8));
        assert_eq!(index.packs().len(), 2);
        assert!(index.has_pack(Id::of(b"second")));
    }
}
