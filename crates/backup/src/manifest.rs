//! The file manifest: one line of JSON for each entry, in the order of the archive, compressed with zstd.
//!
//! The first line tells the version, the last one the counts, so that a manifest that was cut off is noticed. It
//! is written and read as a stream: memory does not grow with the number of files. Names and attribute values are
//! text in which bytes that are no text are written `%XX`.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::entry::{Entry, Kind};
use crate::stored::{Stored, StoredReader};
use crate::{Error, escape};

const VERSION: u32 = 1;
/// Of zstd. Digests are half of a manifest and cannot be compressed; more effort gains a few percent of the rest.
const LEVEL: i32 = 1;
/// Longer than any line that we write; keeps a damaged file from taking all memory.
const LINE_LIMIT: u64 = 64 << 20;

/// What the last line of a manifest says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Entries of every type.
    pub files: u64,
    /// Bytes of content, without holes.
    pub bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct Header {
    v: u32,
}

#[derive(Serialize, Deserialize)]
struct Footer {
    end: Totals,
}

/// An entry as a line. Short names: there may be a million.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    /// Path.
    #[serde(borrow)]
    p: Cow<'a, str>,
    /// Kind.
    t: char,
    /// Mode.
    m: u32,
    /// Owner.
    #[serde(default, skip_serializing_if = "is_zero")]
    u: u32,
    /// Group.
    #[serde(default, skip_serializing_if = "is_zero")]
    g: u32,
    /// Modification time.
    s: (i64, u32),
    /// Size.
    #[serde(default, skip_serializing_if = "is_zero")]
    n: u64,
    /// Link target.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    l: Cow<'a, str>,
    /// Device number.
    #[serde(default, skip_serializing_if = "is_zero")]
    d: (u32, u32),
    /// Extended attributes.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    x: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// Inode flags.
    #[serde(default, skip_serializing_if = "is_zero")]
    a: u32,
    /// Segments with data, of a file with holes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    h: Option<Vec<(u64, u64)>>,
    /// Digest.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    b: Option<Cow<'a, str>>,
    /// Frame.
    f: u64,
    /// Offset in the frame.
    #[serde(default, skip_serializing_if = "is_zero")]
    o: u32,
}

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Appends the entry's line.
///
/// # Errors
/// None that memory does not cause.
pub fn write_line(entry: &Entry, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let line = Line {
        p: escape::encode(&entry.path),
        t: entry.kind.letter(),
        m: entry.mode,
        u: entry.uid,
        g: entry.gid,
        s: entry.mtime,
        n: entry.size,
        l: escape::encode(&entry.link),
        d: entry.device,
        x: entry.xattrs.iter().map(|(name, value)| (escape::encode(name), escape::encode(value))).collect(),
        a: entry.flags,
        h: entry.segments.clone(),
        b: entry.digest.map(|digest| Cow::Owned(crate::format::hex(&digest))),
        f: entry.frame,
        o: entry.offset,
    };
    serde_json::to_writer(&mut *out, &line)?;
    out.push(b'\n');
    Ok(())
}

fn parse(text: &[u8]) -> Result<Entry, String> {
    let line: Line<'_> = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let bytes = |text: &str| escape::decode(text).ok_or_else(|| format!("the text '{text}' is malformed"));
    let kind = Kind::from_letter(line.t).ok_or_else(|| format!("the type '{}' is unknown", line.t))?;
    let mut entry = Entry::new(bytes(&line.p)?, kind);
    entry.mode = line.m & 0o7777;
    (entry.uid, entry.gid, entry.mtime, entry.size) = (line.u, line.g, line.s, line.n);
    (entry.device, entry.flags, entry.segments) = (line.d, line.a, line.h);
    (entry.frame, entry.offset) = (line.f, line.o);
    entry.link = bytes(&line.l)?;
    for (name, value) in &line.x {
        entry.xattrs.push((bytes(name)?, bytes(value)?));
    }
    if let Some(text) = line.b {
        entry.digest =
            Some(*blake3::Hash::from_hex(text.as_bytes()).map_err(|error| error.to_string())?.as_bytes());
    }
    match entry.contradiction() {
        // A path without end is not shown.
        Some(detail) => Err(format!("the entry '{}' {detail}", line.p.chars().take(200).collect::<String>())),
        None => Ok(entry),
    }
}

/// Writes a manifest into an open file, or wherever it goes.
pub struct Writer<'a> {
    encoder: zstd::stream::write::Encoder<'static, Hashing<'a>>,
    totals: Totals,
}

/// Passes bytes on and hashes them.
struct Hashing<'a> {
    file: Box<dyn Write + Send + 'a>,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl<'a> Writer<'a> {
    /// Writes the first line.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn new(file: &'a File) -> Result<Self, Error> {
        Self::into(file)
    }

    /// The same, wherever it goes.
    ///
    /// # Errors
    /// It cannot be written there.
    pub fn into(to: impl Write + Send + 'a) -> Result<Self, Error> {
        let fail = Error::writing("the manifest");
        let begin = || {
            let inner = Hashing { file: Box::new(to), hasher: blake3::Hasher::new(), bytes: 0 };
            let mut encoder = zstd::stream::write::Encoder::new(inner, LEVEL)?;
            encoder.include_checksum(true)?;
            serde_json::to_writer(&mut encoder, &Header { v: VERSION })?;
            encoder.write_all(b"\n")?;
            Ok(encoder)
        };
        Ok(Self { encoder: begin().map_err(fail)?, totals: Totals::default() })
    }

    /// Appends lines that [`write_line`] made, with their number and bytes of content.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn append(&mut self, lines: &[u8], totals: Totals) -> Result<(), Error> {
        self.totals.files += totals.files;
        // What a hostile manifest says that it holds may be more than can be.
        self.totals.bytes = self.totals.bytes.saturating_add(totals.bytes);
        self.encoder.write_all(lines).map_err(Error::writing("the manifest"))
    }

    /// Writes the counts; gives length in bytes and BLAKE3 hash of the file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(mut self) -> Result<(u64, String, Totals), Error> {
        let totals = self.totals;
        let end = || {
            serde_json::to_writer(&mut self.encoder, &Footer { end: totals })?;
            self.encoder.write_all(b"\n")?;
            self.encoder.finish()
        };
        let inner = end().map_err(Error::writing("the manifest"))?;
        Ok((inner.bytes, inner.hasher.finalize().to_hex().to_string(), totals))
    }
}

/// Reads a manifest, entry by entry. After the last entry it has checked that the manifest is complete.
pub struct Reader {
    path: PathBuf,
    input: BufReader<zstd::stream::read::Decoder<'static, BufReader<StoredReader>>>,
    line: Vec<u8>,
    seen: u64,
    totals: Option<Totals>,
    ended: bool,
}

impl Reader {
    /// Opens a manifest and checks its version.
    ///
    /// # Errors
    /// The file cannot be read, is no manifest, or is of a version that this program does not know.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::of(&Stored::open(path)?)
    }

    /// The same for a manifest that lies inside of another file.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn of(stored: &Stored) -> Result<Self, Error> {
        let path = stored.path();
        let decoder = zstd::stream::read::Decoder::new(stored.reader())
            .map_err(Error::io(format!("read {}", path.display())))?;
        let mut reader = Self {
            path: path.to_owned(),
            input: BufReader::with_capacity(128 << 10, decoder),
            line: Vec::new(),
            seen: 0,
            totals: None,
            ended: false,
        };
        reader.read_line()?;
        let header: Header = serde_json::from_slice(&reader.line)
            .map_err(|_| Error::manifest(path, "it does not begin like one"))?;
        if header.v != VERSION {
            let detail = format!("it has version {}; this program reads version {VERSION}", header.v);
            return Err(Error::manifest(path, detail));
        }
        Ok(reader)
    }

    /// The counts of the last line, once it has been read.
    pub fn totals(&self) -> Option<Totals> {
        self.totals
    }

    fn read_line(&mut self) -> Result<(), Error> {
        self.line.clear();
        let count = (&mut self.input)
            .take(LINE_LIMIT)
            .read_until(b'\n', &mut self.line)
            .map_err(|error| Error::manifest(&self.path, format!("it is truncated or damaged ({error})")))?;
        if count == 0 || self.line.last() != Some(&b'\n') {
            return Err(Error::manifest(&self.path, "it is truncated: its last line is missing"));
        }
        Ok(())
    }

    /// The next line; false when it was the last one.
    fn advance(&mut self) -> Result<bool, Error> {
        self.read_line()?;
        if !self.line.starts_with(b"{\"end\"") {
            self.seen += 1;
            return Ok(true);
        }
        let footer: Footer = serde_json::from_slice(&self.line)
            .map_err(|error| Error::manifest(&self.path, format!("its last line is damaged ({error})")))?;
        let mut rest = [0];
        match self.input.read(&mut rest) {
            Ok(0) if footer.end.files == self.seen => {
                self.totals = Some(footer.end);
                Ok(false)
            }
            Ok(0) => {
                let detail = format!("it should have {} entries and has {}", footer.end.files, self.seen);
                Err(Error::manifest(&self.path, detail))
            }
            _ => Err(Error::manifest(&self.path, "something follows its last line")),
        }
    }
}

impl Iterator for Reader {
    type Item = Result<Entry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let result = match self.advance() {
            Ok(true) => parse(&self.line)
                .map_err(|detail| Error::manifest(&self.path, format!("entry {}: {detail}", self.seen))),
            Ok(false) => {
                self.ended = true;
                return None;
            }
            Err(error) => Err(error),
        };
        self.ended = result.is_err();
        Some(result)
    }
}

/// The counts of a manifest. It is read to its end, which proves that it is complete.
///
/// # Errors
/// The file cannot be read or is no complete manifest.
pub fn totals(manifest: &Path) -> Result<Totals, Error> {
    let mut reader = Reader::open(manifest)?;
    while reader.advance()? {}
    Ok(reader.totals.unwrap_or_default())
}

/// A manifest for tests: each entry counts as one file.
#[cfg(test)]
pub(crate) fn write_all(path: &Path, entries: &[Entry]) {
    let file = File::create(path).unwrap();
    let mut writer = Writer::new(&file).unwrap();
    for entry in entries {
        let mut line = Vec::new();
        write_line(entry, &mut line).unwrap();
        writer.append(&line, Totals { files: 1, bytes: entry.stored() }).unwrap();
    }
    writer.finish().unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry() -> impl Strategy<Value = Entry> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..40);
        (
            proptest::collection::vec(1_u8.., 1..60).prop_filter("safe", |path| Entry::is_path_safe(path)),
            (0_u32..0o10000, any::<u32>(), any::<u32>(), any::<i64>(), 0_u32..1_000_000_000),
            (bytes(), proptest::collection::vec((bytes(), bytes()), 0..3)),
            (any::<(u32, u32)>(), any::<u32>(), any::<Option<[u8; 32]>>(), any::<u64>(), any::<u32>()),
        )
            .prop_map(|(path, numbers, (link, xattrs), (device, flags, digest, size, offset))| {
                let mut entry = Entry::new(path, Kind::File);
                (entry.mode, entry.uid, entry.gid) = (numbers.0, numbers.1, numbers.2);
                entry.mtime = (numbers.3, numbers.4);
                Entry { link, xattrs, device, flags, digest, size: size >> 2, offset, ..entry }
            })
    }

    fn write(path: &Path, entries: &[Entry]) {
        let file = File::create(path).unwrap();
        let mut writer = Writer::new(&file).unwrap();
        for entry in entries {
            let mut line = Vec::new();
            write_line(entry, &mut line).unwrap();
            writer.append(&line, Totals { files: 1, bytes: 1 }).unwrap();
        }
        writer.finish().unwrap();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_entry_comes_back(entries in proptest::collection::vec(entry(), 0..5)) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("m");
            write(&path, &entries);
            let read: Vec<_> = Reader::open(&path).unwrap().map(Result::unwrap).collect();
            prop_assert_eq!(&read, &entries);
            prop_assert_eq!(totals(&path).unwrap().files, entries.len() as u64);
        }
    }

    #[test]
    fn a_cut_or_flipped_manifest_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m");
        let entries: Vec<_> = (0..50).map(|n| Entry::new(format!("a{n}").into_bytes(), Kind::File)).collect();
        write(&path, &entries);
        let good = std::fs::read(&path).unwrap();
        let read_all = || Reader::open(&path).and_then(|reader| reader.collect::<Result<Vec<_>, _>>());
        for at in 0..good.len() {
            std::fs::write(&path, &good[..at]).unwrap();
            assert!(read_all().is_err() && totals(&path).is_err(), "cut at {at}");
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            std::fs::write(&path, &bad).unwrap();
            // zstd has header bits that mean nothing; what is read must then be the same.
            if let Ok(read) = read_all() {
                assert_eq!(read, entries, "flipped at {at}");
            }
        }
    }

    #[test]
    fn escaping_paths_are_refused() {
        for line in [
            r#"{"p":"../x","t":"f","m":420,"s":[0,0],"f":0}"#,
            r#"{"p":"a","t":"h","l":"/etc/shadow","m":420,"s":[0,0],"f":0}"#,
            r#"{"p":"a","t":"s","m":420,"s":[0,0],"f":0}"#,
            r#"{"p":"a","t":"f","n":5,"h":[[4,2]],"m":420,"s":[0,0],"f":0}"#,
        ] {
            assert!(parse(line.as_bytes()).is_err(), "{line}");
        }
    }
}
