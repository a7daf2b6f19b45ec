//! Reads a tar member by member, as a stream. It believes nothing: a header that is not whole ends the reading with an
//! error, and memory is taken only up to fixed limits.

use std::io::Read;

use super::header::{self, Holes, Records};
use crate::entry::{Entry, Kind};
use crate::pax::{self, BLOCK};

/// Longest extended header, in bytes.
const RECORDS_LIMIT: u64 = 16 << 20;
/// Longest sum of the extended headers that count for all members behind them, in bytes.
const GLOBAL_LIMIT: usize = 1 << 20;
/// Longest name of GNU's form, in bytes.
const NAME_LIMIT: u64 = 1 << 20;
/// Most segments of one file: what more it has is a lie.
const SEGMENTS_LIMIT: usize = 4 << 20;

/// What is wrong with the archive, as a part of a sentence.
#[derive(Debug, PartialEq, Eq)]
pub struct Bad(pub String);

/// Reads members.
pub struct Reader {
    input: Box<dyn Read>,
    /// Bytes read, decompressed.
    at: u64,
    /// Content of the present member that is not read yet, and the padding behind it.
    left: u64,
    padding: u64,
    global: Records,
    ended: bool,
}

impl Reader {
    /// Of the decompressed bytes of a tar.
    pub fn new(input: Box<dyn Read>) -> Self {
        Self { input, at: 0, left: 0, padding: 0, global: Records::new(), ended: false }
    }

    fn bad(&self, what: &str) -> Bad {
        Bad(format!("{what} (at byte {} of the tar)", self.at))
    }

    fn failed(&self, error: &std::io::Error) -> Bad {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof => self.bad("it is cut off"),
            _ => self.bad(&format!("it cannot be read any further: {error}")),
        }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Bad> {
        self.input.read_exact(bytes).map_err(|error| self.failed(&error))?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// A block; `None` where the input ends before it.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, Bad> {
        let mut block = [0; BLOCK];
        let mut got = 0;
        while got < BLOCK {
            match self.input.read(&mut block[got..]) {
                Ok(0) if got == 0 => return Ok(None),
                Ok(0) => return Err(self.bad("it is cut off")),
                Ok(count) => got += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(&error)),
            }
        }
        self.at += BLOCK as u64;
        Ok(Some(block))
    }

    fn skip(&mut self, count: u64) -> Result<(), Bad> {
        let skipped = std::io::copy(&mut (&mut self.input).take(count), &mut std::io::sink());
        let skipped = skipped.map_err(|error| self.failed(&error))?;
        self.at += skipped;
        if skipped < count { Err(self.bad("it is cut off")) } else { Ok(()) }
    }

    /// The whole content of a special member.
    fn small(&mut self, size: u64, limit: u64) -> Result<Vec<u8>, Bad> {
        if size > limit {
            return Err(self.bad("a header in it is too long"));
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        self.fill(&mut bytes)?;
        self.skip(pax::padding(size) as u64)?;
        Ok(bytes)
    }

    /// The next member; `None` behind the end mark, when all behind it is read too. What of the content of the last one was
    /// not read is skipped. The path is as it stands in the archive.
    pub fn next(&mut self) -> Result<Option<Entry>, Bad> {
        if self.ended {
            return Ok(None);
        }
        self.skip(self.left)?;
        self.skip(self.padding)?;
        (self.left, self.padding) = (0, 0);
        let mut local = Records::new();
        let (mut long_name, mut long_link) = (None, None);
        loop {
            let Some(block) = self.block()? else {
                return Err(self.bad("its end mark is missing: it is cut off"));
            };
            if block == [0; BLOCK] {
                self.end()?;
                return Ok(None);
            }
            let mut raw =
                header::block(&block).map_err(|why| self.bad(&format!("a header is damaged: {why}")))?;
            let words = |reader: &mut Self| -> Result<Vec<u8>, Bad> {
                let bytes = reader.small(raw.size, NAME_LIMIT)?;
                Ok(bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec())
            };
            match raw.flag {
                b'x' | b'X' | b'g' => {
                    let bytes = self.small(raw.size, RECORDS_LIMIT)?;
                    let into = if raw.flag == b'g' { &mut self.global } else { &mut local };
                    if let Err(why) = header::records(&bytes, into) {
                        return Err(self.bad(why));
                    }
                    // They are kept, and every member takes them over.
                    if self.global.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>()
                        > GLOBAL_LIMIT
                    {
                        return Err(self.bad("the headers in it that count for all members are too long"));
                    }
                }
                b'L' => long_name = Some(words(self)?),
                b'K' => long_link = Some(words(self)?),
                // A label.
                b'V' => self.skip(raw.size.saturating_add(pax::padding(raw.size) as u64))?,
                b'M' => {
                    return Err(
                        self.bad("it is a later volume of an archive of several (tar --multi-volume)")
                    );
                }
                _ => {
                    raw.name = long_name.unwrap_or(raw.name);
                    raw.link = long_link.unwrap_or(raw.link);
                    let mut records = self.global.clone();
                    records.extend(local);
                    return self.member(raw, &records).map(Some);
                }
            }
        }
    }

    fn member(&mut self, mut raw: header::Raw, records: &Records) -> Result<Entry, Bad> {
        if let Some((segments, more, _)) = &mut raw.sparse {
            while *more {
                let Some(block) = self.block()? else { return Err(self.bad("it is cut off")) };
                let (further, again) = header::sparse_block(&block);
                segments.extend(further);
                *more = again;
                if segments.len() > SEGMENTS_LIMIT {
                    return Err(self.bad("the map of holes of a file is too long"));
                }
            }
        }
        let shown = String::from_utf8_lossy(&raw.name).into_owned();
        let wrong =
            |reader: &Self, why: &str| reader.bad(&format!("the header of {shown} is damaged: {why}"));
        let (mut entry, data, holes) = header::entry(raw, records).map_err(|why| wrong(self, why))?;
        (self.left, self.padding) = (data, pax::padding(data) as u64);
        let found = match holes {
            Holes::None => None,
            Holes::Map(segments, size) => Some((segments, size)),
            Holes::Inside(size) => Some((self.map()?, size)),
        };
        if let Some((mut segments, size)) = found {
            segments.retain(|(_, length)| *length > 0);
            entry.size = size;
            entry.segments = Some(segments);
            if !entry.are_segments_sound() || entry.stored() != self.left {
                return Err(wrong(self, "its map of holes contradicts itself"));
            }
        }
        Ok(entry)
    }

    /// The map of GNU.sparse 1.0: a count, then offset and length of each segment, a number on each line.
    fn map(&mut self) -> Result<Vec<(u64, u64)>, Bad> {
        let mut numbers = Vec::new();
        let (mut number, mut digits) = (0_u64, 0);
        let mut wanted = None;
        while wanted.is_none_or(|wanted| numbers.len() < wanted) {
            let mut block = [0; BLOCK];
            if self.left < BLOCK as u64 {
                return Err(self.bad("the map of holes of a file is cut off"));
            }
            self.fill(&mut block)?;
            self.left -= BLOCK as u64;
            for byte in block {
                match byte {
                    b'0'..=b'9' => {
                        let next = number.checked_mul(10).and_then(|n| n.checked_add(u64::from(byte - b'0')));
                        number = next.ok_or_else(|| self.bad("the map of holes of a file is damaged"))?;
                        digits += 1;
                    }
                    b'\n' if digits > 0 => {
                        match wanted {
                            None => {
                                let count = usize::try_from(number).ok().filter(|n| *n <= SEGMENTS_LIMIT);
                                let count = count
                                    .ok_or_else(|| self.bad("the map of holes of a file is too long"))?;
                                wanted = Some(count * 2);
                            }
                            Some(wanted) if numbers.len() < wanted => numbers.push(number),
                            Some(_) => {}
                        }
                        (number, digits) = (0, 0);
                    }
                    _ if wanted.is_some_and(|wanted| numbers.len() == wanted) => break,
                    _ => return Err(self.bad("the map of holes of a file is damaged")),
                }
            }
        }
        Ok(numbers.as_chunks::<2>().0.iter().map(|[offset, length]| (*offset, *length)).collect())
    }

    /// Behind the first empty block. The rest is read too: only then has the compression checked all of it.
    fn end(&mut self) -> Result<(), Bad> {
        self.ended = true;
        match self.block()? {
            None => {}
            Some(block) if block == [0; BLOCK] => {}
            Some(_) => return Err(self.bad("something follows a lone empty block")),
        }
        std::io::copy(&mut self.input, &mut std::io::sink()).map_err(|error| self.failed(&error))?;
        Ok(())
    }

    /// Reads content of the present member; 0 at its end.
    pub fn read(&mut self, bytes: &mut [u8]) -> Result<usize, Bad> {
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        if want == 0 {
            return Ok(0);
        }
        self.fill(&mut bytes[..want])?;
        self.left -= want as u64;
        Ok(want)
    }
}

/// The path of a member below the root of a machine, as manifests have it; `None` for one that leads out.
pub fn stored_path(name: &[u8]) -> Option<Vec<u8>> {
    let parts: Vec<&[u8]> =
        name.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    if parts.contains(&&b".."[..]) || name.contains(&0) {
        return None;
    }
    Some(if parts.is_empty() { b".".to_vec() } else { parts.join(&b'/') })
}

/// Whether what the entry says can be made at all.
pub fn is_possible(entry: &Entry) -> bool {
    !matches!(entry.kind, Kind::Symlink | Kind::HardLink) || !entry.link.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_brought_below_the_root_or_refused() {
        for (name, wanted) in [
            (&b"./"[..], Some(&b"."[..])),
            (b"/", Some(b".")),
            (b"./etc/fstab", Some(b"etc/fstab")),
            (b"/etc//x/", Some(b"etc/x")),
            (b"a/./b", Some(b"a/b")),
            (b"../x", None),
            (b"a/../../x", None),
            (b"a\0b", None),
        ] {
            assert_eq!(stored_path(name).as_deref(), wanted, "{name:?}");
        }
    }

    #[test]
    fn any_bytes_are_read_without_harm() {
        // A good archive, and every bit of its first blocks flipped.
        let mut entry = Entry::new(b"dir/file".to_vec(), Kind::File);
        entry.mode = 0o644;
        entry.size = 100_000;
        entry.segments = Some(vec![(0, 10), (50_000, 10)]);
        entry.xattrs = vec![(b"user.a=b".to_vec(), b"x\ny".to_vec())];
        let mut good = Vec::new();
        pax::header(&entry, &mut good);
        good.extend([7; 20]);
        good.resize(good.len().next_multiple_of(BLOCK), 0);
        good.extend(pax::END);
        let read = |bytes: Vec<u8>| {
            let mut reader = Reader::new(Box::new(std::io::Cursor::new(bytes)));
            let mut all = Vec::new();
            while let Some(entry) = reader.next()? {
                all.push(entry);
            }
            Ok::<_, Bad>(all)
        };
        let all = read(good.clone()).unwrap();
        assert_eq!((all.len(), all[0].size, all[0].stored()), (1, 100_000, 20));
        assert_eq!(all[0].segments, entry.segments);
        assert_eq!(all[0].xattrs, entry.xattrs);
        for at in 0..good.len() {
            for bit in [1, 0x80] {
                let mut bad = good.clone();
                bad[at] ^= bit;
                let _ = read(bad);
            }
            assert!(at + 2 * BLOCK > good.len() || read(good[..at].to_vec()).is_err(), "cut at {at}");
        }
    }
}
