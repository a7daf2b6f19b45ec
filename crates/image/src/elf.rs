//! Reads from an ELF file what it needs to run (interpreter, libraries, search paths) and a kernel module's
//! description. Only headers are read, a few kilobytes a file; nothing is ever executed or mapped.
//! Layout after the "System V ABI", chapters 4 and 5; both word sizes, both byte orders.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::Error;

/// Tables larger than this (bytes) are taken for damage.
const SANE: u64 = 64 << 20;

/// Which machine a file is for: class (1: 32 bits, 2: 64 bits), byte order, machine number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Machine {
    class: u8,
    order: u8,
    machine: u16,
}

/// What a program or library needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    pub machine: Option<Machine>,
    pub interpreter: Option<PathBuf>,
    pub libraries: Vec<String>,
    pub rpath: Vec<String>,
    pub runpath: Vec<String>,
}

struct Reader {
    file: File,
    wide: bool,
    big: bool,
    head: Vec<u8>,
}

/// Opens a file; `None` when it is no ELF file (or is damaged beyond reading).
fn open(path: &Path) -> Result<Option<Reader>, Error> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let mut head = vec![0; 64];
    let got = file.read_at(&mut head, 0).map_err(Error::io("read", path))?;
    if got < 52 || !head.starts_with(b"\x7fELF") {
        return Ok(None);
    }
    let (wide, big) = (head[4] == 2, head[5] == 2);
    Ok(Some(Reader { file, wide, big, head }))
}

impl Reader {
    fn at(&self, offset: u64, len: u64) -> Option<Vec<u8>> {
        if len > SANE {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(len).ok()?];
        self.file.read_exact_at(&mut bytes, offset).ok()?;
        Some(bytes)
    }

    fn half(&self, bytes: &[u8], at: usize) -> Option<u16> {
        let bytes = bytes.get(at..at + 2)?.try_into().ok()?;
        Some(if self.big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn word(&self, bytes: &[u8], at: usize) -> Option<u64> {
        let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(u64::from(if self.big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }))
    }

    /// A number of the file's own word size: at `wide` in a 64 bit structure, at `narrow` in a 32 bit one.
    fn long(&self, bytes: &[u8], wide: usize, narrow: usize) -> Option<u64> {
        if !self.wide {
            return self.word(bytes, narrow);
        }
        let bytes = bytes.get(wide..wide + 8)?.try_into().ok()?;
        Some(if self.big { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) })
    }

    fn machine(&self) -> Option<Machine> {
        Some(Machine { class: self.head[4], order: self.head[5], machine: self.half(&self.head, 18)? })
    }

    /// A table of fixed-size records: offset, record size, count.
    fn table(&self, offset: u64, size: u16, count: u16) -> Option<Vec<Vec<u8>>> {
        if size == 0 {
            return Some(Vec::new());
        }
        let bytes = self.at(offset, u64::from(size) * u64::from(count))?;
        Some(bytes.chunks(usize::from(size)).map(<[u8]>::to_vec).collect())
    }

    /// Segments as (type, file offset, address, size in the file).
    fn segments(&self) -> Option<Vec<(u64, u64, u64, u64)>> {
        let offset = self.long(&self.head, 32, 28)?;
        let (size_at, count_at) = if self.wide { (54, 56) } else { (42, 44) };
        self.table(offset, self.half(&self.head, size_at)?, self.half(&self.head, count_at)?)?
            .iter()
            .map(|record| {
                Some((
                    self.word(record, 0)?,
                    self.long(record, 8, 4)?,
                    self.long(record, 16, 8)?,
                    self.long(record, 32, 16)?,
                ))
            })
            .collect()
    }

    fn needs(&self) -> Option<Needs> {
        const LOAD: u64 = 1;
        const DYNAMIC: u64 = 2;
        const INTERPRETER: u64 = 3;
        let segments = self.segments()?;
        let mut needs = Needs { machine: self.machine(), ..Needs::default() };
        if let Some((_, offset, _, size)) = segments.iter().find(|segment| segment.0 == INTERPRETER) {
            needs.interpreter = Some(PathBuf::from(text(&self.at(*offset, *size)?, 0)?));
        }
        let Some((_, offset, _, size)) = segments.iter().find(|segment| segment.0 == DYNAMIC) else {
            return Some(needs);
        };
        let width = if self.wide { 16 } else { 8 };
        let entries: Vec<(u64, u64)> = self
            .at(*offset, *size)?
            .chunks_exact(width)
            .map_while(|entry| Some((self.long(entry, 0, 0)?, self.long(entry, 8, 4)?)))
            .take_while(|entry| entry.0 != 0)
            .collect();
        let find = |tag: u64| entries.iter().find(|entry| entry.0 == tag).map(|entry| entry.1);
        // DT_STRTAB (5) is an address, DT_STRSZ (10) a size; the address is turned into a file offset.
        let (Some(address), Some(size)) = (find(5), find(10)) else { return Some(needs) };
        let (_, offset, start, _) = segments.iter().find(|(kind, _, start, size)| {
            *kind == LOAD && (*start..start.saturating_add(*size)).contains(&address)
        })?;
        let strings = self.at(offset + (address - start), size)?;
        for (tag, value) in &entries {
            let Some(value) =
                matches!(tag, 1 | 15 | 29).then(|| text(&strings, usize::try_from(*value).ok()?)).flatten()
            else {
                continue;
            };
            match tag {
                1 => needs.libraries.push(value),
                15 => needs.rpath.extend(value.split(':').map(str::to_owned)),
                _ => needs.runpath.extend(value.split(':').map(str::to_owned)),
            }
        }
        Some(needs)
    }

    /// Content of a section by its name.
    fn section(&self, wanted: &str) -> Option<Vec<u8>> {
        let offset = self.long(&self.head, 40, 32)?;
        let base = if self.wide { 58 } else { 46 };
        let field = |at: usize| self.half(&self.head, base + at);
        let sections = self.table(offset, field(0)?, field(2)?)?;
        let span = |record: &[u8]| Some((self.long(record, 24, 16)?, self.long(record, 32, 20)?));
        let (offset, size) = span(sections.get(usize::from(field(4)?))?)?;
        let names = self.at(offset, size)?;
        sections.iter().find_map(|record| {
            let name = text(&names, usize::try_from(self.word(record, 0)?).ok()?)?;
            let (offset, size) = span(record)?;
            (name == wanted).then(|| self.at(offset, size)).flatten()
        })
    }
}

fn text(bytes: &[u8], at: usize) -> Option<String> {
    let rest = bytes.get(at..)?;
    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    Some(String::from_utf8_lossy(&rest[..end]).into_owned())
}

/// What the file needs to run; `None` for files that are not ELF or are cut off.
pub(crate) fn needs(path: &Path) -> Result<Option<Needs>, Error> {
    Ok(open(path)?.and_then(|reader| reader.needs()))
}

/// Section `.modinfo` of a kernel module: `key=value` texts.
pub(crate) fn modinfo(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    Ok(open(path)?.and_then(|reader| reader.section(".modinfo")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_this_machine() {
        let shell = std::fs::canonicalize("/bin/sh").unwrap();
        let needs = needs(&shell).unwrap().unwrap();
        assert!(needs.machine.is_some());
        assert!(needs.libraries.iter().any(|name| name.starts_with("libc.")), "{needs:?}");
        assert!(needs.interpreter.unwrap().exists());
    }

    #[test]
    fn damage_is_no_crash() {
        let dir = tempfile::tempdir().unwrap();
        let whole = std::fs::read(std::fs::canonicalize("/bin/sh").unwrap()).unwrap();
        let path = dir.path().join("x");
        for len in [0, 3, 51, 52, 63, 64, 200, 1000] {
            std::fs::write(&path, &whole[..len]).unwrap();
            needs(&path).unwrap();
            modinfo(&path).unwrap();
        }
        for at in 4..64 {
            let mut bytes = whole[..4096.min(whole.len())].to_vec();
            bytes[at] ^= 0xff;
            std::fs::write(&path, &bytes).unwrap();
            needs(&path).unwrap();
            modinfo(&path).unwrap();
        }
        std::fs::write(&path, "#!/bin/sh\n").unwrap();
        assert_eq!(needs(&path).unwrap(), None);
    }
}
