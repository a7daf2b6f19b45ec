//! Reads the content of single files out of an archive, at any place. Each part of the archive is compared with its hash
//! before a byte of it is given; the parts used last are kept. It never gives bytes that were not proven.

use std::sync::Arc;

use crate::cache::Cache;
use crate::codec::{Codec, Decompressor};
use crate::digest::{self, Pieces};
use crate::format::Frame;
use crate::tree::{Content, Tree};
use crate::{Error, Stored, verify};

/// What gives the content of a tree's files, from any place of them: an archive, or whatever else keeps it. Threads ask at the same
/// time. No byte is given that was not proven to be the one that was saved.
pub trait ContentSource: Send + Sync {
    /// Fills `into` from the content at this offset, holes as zeros; gives how many bytes there were.
    ///
    /// # Errors
    /// What is needed is damaged or lost, or cannot be read.
    fn read(&self, tree: &Tree, content: &Content<'_>, offset: u64, into: &mut [u8]) -> Result<usize, Error>;

    /// Whether the content is the one that the tree tells of, as far as that can be said before it is read.
    ///
    /// # Errors
    /// It is not, or what is needed to know it is damaged or lost, or cannot be read.
    fn check(&self, tree: &Tree, content: &Content<'_>) -> Result<(), Error>;
}

/// An archive whose files are read one by one, by several threads.
pub struct Contents {
    archive: Stored,
    codec: Codec,
    frames: Vec<Frame>,
    digests: Vec<[u8; 32]>,
    /// Where each frame begins in the decompressed archive, and where the last one ends.
    starts: Vec<u64>,
    /// Decompressed frames.
    kept: Cache<usize, Vec<u8>>,
}

impl ContentSource for Contents {
    fn read(&self, _: &Tree, content: &Content<'_>, offset: u64, into: &mut [u8]) -> Result<usize, Error> {
        self.read(content, offset, into)
    }

    fn check(&self, _: &Tree, content: &Content<'_>) -> Result<(), Error> {
        self.check(content)
    }
}

impl Contents {
    /// Opens an archive of this length and digest; its table of parts is checked. `limit` is how many bytes of decompressed
    /// parts are kept.
    ///
    /// # Errors
    /// [`Error::Truncated`] or [`Error::Damaged`], or the file cannot be read.
    pub fn open(archive: Stored, bytes: u64, blake3: &str, limit: u64) -> Result<Self, Error> {
        let trailer = verify::index(&archive, bytes, blake3)?;
        let mut starts = Vec::with_capacity(trailer.frames.len() + 1);
        let mut at = 0;
        for frame in &trailer.frames {
            starts.push(at);
            at += u64::from(frame.size);
        }
        starts.push(at);
        Ok(Self {
            archive,
            codec: trailer.codec,
            frames: trailer.frames,
            digests: trailer.digests,
            starts,
            kept: Cache::new(limit),
        })
    }

    /// Fills `into` from the content at this offset, holes as zeros; gives how many bytes there were.
    ///
    /// # Errors
    /// [`Error::Damaged`] when a part of the archive that is needed is not what was written; or it cannot be read.
    pub fn read(&self, content: &Content<'_>, offset: u64, into: &mut [u8]) -> Result<usize, Error> {
        let length = content.size.saturating_sub(offset).min(into.len() as u64);
        let length = usize::try_from(length).unwrap_or(0);
        // Whoever reads on behind the end may be anywhere.
        if length == 0 {
            return Ok(0);
        }
        let (into, end) = (&mut into[..length], offset + length as u64);
        let Some(segments) = content.segments else {
            self.stored(content, offset, into)?;
            return Ok(length);
        };
        into.fill(0);
        let mut position = 0;
        for (start, data) in segments {
            if *start >= end {
                break;
            }
            let (from, to) = (offset.max(*start), end.min(start + data));
            if from < to {
                let index = |at: u64| usize::try_from(at - offset).unwrap_or(usize::MAX);
                let room = into.get_mut(index(from)..index(to)).unwrap_or_default();
                self.stored(content, position + (from - start), room)?;
            }
            position += data;
        }
        Ok(length)
    }

    /// Compares the content of a file that lies in one frame with its digest; of others the frames' own hashes have to do.
    ///
    /// # Errors
    /// [`Error::Damaged`] when it is not what was archived; or it cannot be read.
    pub fn check(&self, content: &Content<'_>) -> Result<(), Error> {
        let stored = content.stored();
        let Some(frame) = self.frames.get(content.frame as usize) else { return Err(self.foreign()) };
        if stored == 0 || stored > u64::from(frame.size.saturating_sub(content.offset)) {
            return Ok(());
        }
        let mut bytes = vec![0; usize::try_from(stored).unwrap_or(0)];
        self.stored(content, 0, &mut bytes)?;
        let (mut pieces, mut rest, mut at) = (Pieces::new(), &bytes[..], 0);
        for (offset, length) in content.segments.unwrap_or(&[(0, content.size)]) {
            pieces.hole(offset - at);
            let (now, later) = rest.split_at(usize::try_from(*length).unwrap_or(0).min(rest.len()));
            pieces.data(now);
            (rest, at) = (later, offset + length);
        }
        pieces.hole(content.size - at);
        if digest::of_hashes(&pieces.finish()) == content.digest { Ok(()) } else { Err(self.foreign()) }
    }

    fn foreign(&self) -> Error {
        Error::damaged(self.archive.path(), "the manifest does not belong to it")
    }

    /// Stored content from this position on, across frames.
    fn stored(&self, content: &Content<'_>, position: u64, mut into: &mut [u8]) -> Result<(), Error> {
        let base = self.starts.get(content.frame as usize).ok_or_else(|| self.foreign())?;
        let mut at = base + u64::from(content.offset) + position;
        while !into.is_empty() {
            let number = self.starts.partition_point(|start| *start <= at) - 1;
            let data = self.frame(number)?;
            let within = usize::try_from(at - self.starts[number]).unwrap_or(usize::MAX);
            let data = data.get(within..).filter(|data| !data.is_empty()).ok_or_else(|| self.foreign())?;
            let (now, later) = into.split_at_mut(data.len().min(into.len()));
            now.copy_from_slice(&data[..now.len()]);
            at += now.len() as u64;
            into = later;
        }
        Ok(())
    }

    /// A decompressed frame, from those that are kept or from the archive.
    fn frame(&self, number: usize) -> Result<Arc<Vec<u8>>, Error> {
        let frame = *self.frames.get(number).ok_or_else(|| self.foreign())?;
        self.kept.get(number, frame.size.into(), || self.load(number, frame))
    }

    fn load(&self, number: usize, frame: Frame) -> Result<Vec<u8>, Error> {
        let path = self.archive.path();
        let damaged = || Error::damaged(path, format!("part {} of {}", number + 1, self.frames.len()));
        let mut stored = vec![0; frame.stored as usize];
        self.archive.read_exact_at(&mut stored, frame.offset).map_err(Error::reading(path))?;
        if self.digests.get(number).is_none_or(|digest| blake3::hash(&stored) != *digest) {
            return Err(damaged());
        }
        let mut data = Vec::new();
        Decompressor::new(self.codec)
            .and_then(|mut one| one.decompress(&stored, &mut data, frame.size as usize))
            .map_err(|_| damaged())?;
        if data.len() == frame.size as usize { Ok(data) } else { Err(damaged()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, Source, Tree};
    use std::os::unix::fs::FileExt;

    #[test]
    fn content_is_given_from_any_place_and_only_when_it_is_what_was_archived() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("tree")).unwrap();
        let noise = |length: usize, seed: u8| {
            let mut out = vec![0; length];
            blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut out);
            out
        };
        // Three frames, one, and one with holes.
        let large = noise(10_000_000, 1);
        std::fs::write(at("tree/large"), &large).unwrap();
        std::fs::write(at("tree/small"), noise(5000, 2)).unwrap();
        let holes = std::fs::File::create(at("tree/holes")).unwrap();
        holes.set_len(9_000_000).unwrap();
        holes.write_all_at(&noise(70_000, 3), 5_000_000).unwrap();
        let source = Source::whole(at("tree"));
        let options = Options { codec: Codec::Zstd, level: 1, threads: 2, cancel: sys::Cancel::default() };
        let file = |name: &str| std::fs::File::create(at(name)).unwrap();
        let made = crate::create(&source, &file("a"), &file("m"), &options, &()).unwrap();
        let stored = |name: &str| Stored::open(&at(name)).unwrap();
        let tree = Tree::read(&stored("m"), &options).unwrap();
        // So little room that nothing is kept but what is in use.
        let contents = Contents::open(stored("a"), made.archive_bytes, &made.archive_blake3, 1).unwrap();
        for name in ["large", "small", "holes"] {
            let was = std::fs::read(at("tree").join(name)).unwrap();
            let mut content = tree.content(tree.lookup(Tree::ROOT, name.as_bytes()).unwrap()).unwrap();
            contents.check(&content).unwrap();
            for (offset, length) in [(0, was.len()), (4_194_000, 2000), (4999, 2), (5_000_100, 4_500_000)] {
                let mut is = vec![9; length];
                let got = contents.read(&content, offset as u64, &mut is).unwrap();
                let end = was.len().min(offset + length);
                assert!(is[..got] == was[offset.min(end)..end], "{name} from {offset}");
            }
            content.digest = Some([7; 32]);
            assert_eq!(contents.check(&content).is_err(), name != "large", "{name}");
        }
        let mut content = tree.content(tree.lookup(Tree::ROOT, b"small").unwrap()).unwrap();
        content.frame = 1000;
        assert!(contents.read(&content, 0, &mut [0; 10]).is_err() && contents.check(&content).is_err());

        let mut bytes = std::fs::read(at("a")).unwrap();
        bytes[6_000_000] ^= 1;
        std::fs::write(at("a"), bytes).unwrap();
        let contents = Contents::open(stored("a"), made.archive_bytes, &made.archive_blake3, 1).unwrap();
        let content = tree.content(tree.lookup(Tree::ROOT, b"large").unwrap()).unwrap();
        assert!(contents.read(&content, 0, &mut vec![0; 10_000_000]).is_err());
        let mut start = [0; 1000];
        contents.read(&content, 0, &mut start).unwrap();
        assert_eq!(start, large[..1000]);
    }
}
