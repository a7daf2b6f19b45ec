//! Packs: sealed blobs one behind the other, then a sealed table of them, then its length. It knows no backend.

use serde::Serialize;

use crate::crypto::Key;
use crate::error::Result;
use crate::id::Id;

/// What a blob is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BlobKind {
    /// A stretch of a file's content.
    Data,
    /// A directory.
    Tree,
}

/// A blob in a pack, as an index file names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Blob {
    /// Hash of its plain content.
    pub id: Id,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: BlobKind,
    /// Where it begins in the pack, in bytes.
    pub offset: u32,
    /// Its sealed length, in bytes.
    pub length: u32,
    /// Its plain length where it is compressed, in bytes.
    #[serde(rename = "uncompressed_length", skip_serializing_if = "Option::is_none")]
    pub plain: Option<u32>,
}

/// No blob is larger when decompressed, in bytes: restic's chunks have at most 8 MiB, trees of huge directories more.
const LIMIT: u32 = 512 << 20;

impl Blob {
    /// Whether there can be such a blob at all. Of what is larger nothing is read: it would be given memory first.
    pub fn is_possible(&self) -> bool {
        let overhead = crate::crypto::OVERHEAD as u32;
        (overhead..=LIMIT + overhead).contains(&self.length) && self.plain.is_none_or(|plain| plain <= LIMIT)
    }

    /// Where it ends in the pack, in bytes.
    pub fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.length)
    }
}

/// A pack that is being filled.
#[derive(Debug, Default)]
pub struct Builder {
    bytes: Vec<u8>,
    blobs: Vec<Blob>,
}

impl Builder {
    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it holds no blob.
    pub fn is_empty(&self) -> bool {
        self.blobs.is_empty()
    }

    /// Appends a sealed blob. Packs are far below the four gigabytes that the numbers allow.
    pub fn push(&mut self, kind: BlobKind, id: Id, sealed: &[u8], plain: Option<u32>) {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let (offset, length) = (number(self.bytes.len()), number(sealed.len()));
        self.bytes.extend_from_slice(sealed);
        self.blobs.push(Blob { id, kind, offset, length, plain });
    }

    /// Closes it: its name, its bytes, its table.
    pub fn finish(mut self, key: &Key) -> Result<(Id, Vec<u8>, Vec<Blob>)> {
        let mut table = Vec::with_capacity(self.blobs.len() * 41);
        for blob in &self.blobs {
            let kind = u8::from(blob.kind == BlobKind::Tree) | u8::from(blob.plain.is_some()) << 1;
            table.push(kind);
            table.extend(blob.length.to_le_bytes());
            if let Some(plain) = blob.plain {
                table.extend(plain.to_le_bytes());
            }
            table.extend(blob.id.bytes());
        }
        let start = self.bytes.len();
        key.seal(&table, &mut self.bytes)?;
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.bytes.extend(length.to_le_bytes());
        Ok((Id::of(&self.bytes), self.bytes, self.blobs))
    }
}

/// The table of a whole pack; `None` where it is no pack of this key, or damaged.
pub fn table(pack: &[u8], key: &Key) -> Option<Vec<Blob>> {
    let (rest, length) = pack.split_last_chunk::<4>()?;
    let start = rest.len().checked_sub(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    let mut sealed = rest[start..].to_vec();
    let mut table = &*key.open(&mut sealed)?;
    let (mut blobs, mut offset) = (Vec::new(), 0_u32);
    while let Some((kind, rest)) = table.split_first() {
        let (length, mut rest) = rest.split_first_chunk::<4>()?;
        let mut plain = None;
        if kind & 2 != 0 {
            let (bytes, after) = rest.split_first_chunk::<4>()?;
            plain = Some(u32::from_le_bytes(*bytes));
            rest = after;
        }
        let (id, rest) = rest.split_first_chunk::<32>()?;
        let kind = match kind & !2 {
            0 => BlobKind::Data,
            1 => BlobKind::Tree,
            _ => return None,
        };
        let length = u32::from_le_bytes(*length);
        blobs.push(Blob { id: Id::from_bytes(*id), kind, offset, length, plain });
        offset = offset.checked_add(length)?;
        table = rest;
    }
    (usize::try_from(offset).ok()? == start).then_some(blobs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_comes_back_and_any_damage_to_it_is_seen() {
        let key = Key::random().unwrap();
        let mut builder = Builder::default();
        builder.push(BlobKind::Data, Id::of(b"a"), b"sealed a", None);
        builder.push(BlobKind::Tree, Id::of(b"b"), b"sealed", Some(77));
        let (id, bytes, blobs) = builder.finish(&key).unwrap();
        assert_eq!(id, Id::of(&bytes));
        assert_eq!(table(&bytes, &key).unwrap(), blobs);
        assert_eq!((blobs[1].offset, blobs[1].plain), (8, Some(77)));
        for end in 0..bytes.len() {
            assert!(table(&bytes[..end], &key).is_none());
        }
        for at in 14..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 4;
            assert!(table(&bad, &key).is_none(), "{at}");
        }
    }
}
