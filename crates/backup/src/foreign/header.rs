//! Header blocks and extended headers of every kind of tar that is met: v7, ustar, pax and GNU. It parses bytes that it is
//! given, and reads nothing.

use std::collections::BTreeMap;

use crate::entry::{Entry, Kind};
use crate::pax::{self, BLOCK};

/// Extended headers by key. An empty value takes a key away.
pub type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// What a header block says, before the extended headers are looked at.
#[derive(Clone, Debug)]
pub struct Raw {
    pub name: Vec<u8>,
    pub link: Vec<u8>,
    pub flag: u8,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    pub size: u64,
    pub mtime: i64,
    pub device: (u32, u32),
    /// Old GNU sparse: the first segments.
    pub sparse: Option<OldSparse>,
}

/// Offset and length of each segment, whether more blocks with such follow, and the size of the whole file.
type OldSparse = (Vec<(u64, u64)>, bool, u64);

/// Reads a header block; the error says what is wrong with it.
pub fn block(block: &[u8; BLOCK]) -> Result<Raw, &'static str> {
    let sum = number(&block[148..156]).ok_or("its checksum is no number")?;
    let of = |byte: fn(&u8) -> i64| -> i64 {
        let blank = |(at, value): (usize, &u8)| if (148..156).contains(&at) { 32 } else { byte(value) };
        block.iter().enumerate().map(blank).sum()
    };
    // Old programs added signed bytes.
    if sum != of(|byte| i64::from(*byte)) && sum != of(|byte| i64::from(byte.cast_signed())) {
        return Err("its checksum is wrong");
    }
    let unsigned = |field: &[u8]| number(field).and_then(|value| u64::try_from(value).ok());
    let small = |field: &[u8]| unsigned(field).and_then(|value| u32::try_from(value).ok()).unwrap_or(0);
    let flag = block[156];
    let is_gnu = &block[257..265] == b"ustar  \0";
    let is_ustar = &block[257..262] == b"ustar" && !is_gnu;
    let mut name = text(&block[..100]);
    let prefix = text(&block[345..500]);
    // In GNU's form other things stand there.
    if is_ustar && !prefix.is_empty() {
        name = [prefix.as_slice(), b"/", &name].concat();
    }
    let sparse = (flag == b'S').then(|| {
        let segments = (0..4).map_while(|index| segment(&block[386 + index * 24..]));
        let real = unsigned(&block[483..495]).unwrap_or(0);
        (segments.collect(), block[482] != 0, real)
    });
    Ok(Raw {
        name,
        link: text(&block[157..257]),
        flag,
        mode: small(&block[100..108]) & 0o7777,
        uid: unsigned(&block[108..116]).ok_or("its owner is no number")?,
        gid: unsigned(&block[116..124]).ok_or("its group is no number")?,
        size: unsigned(&block[124..136]).ok_or("its size is no number")?,
        mtime: number(&block[136..148]).ok_or("its time is no number")?,
        device: (small(&block[329..337]), small(&block[337..345])),
        sparse,
    })
}

/// Further segments of an old GNU sparse file, and whether one more block follows.
pub fn sparse_block(block: &[u8; BLOCK]) -> (Vec<(u64, u64)>, bool) {
    ((0..21).map_while(|index| segment(&block[index * 24..])).collect(), block[504] != 0)
}

fn segment(field: &[u8]) -> Option<(u64, u64)> {
    if field[0] == 0 {
        return None;
    }
    let part = |field: &[u8]| number(field).and_then(|value| u64::try_from(value).ok());
    Some((part(&field[..12])?, part(&field[12..24])?))
}

fn text(field: &[u8]) -> Vec<u8> {
    field.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
}

/// Octal digits, or GNU's binary form. Nothing at all is zero.
fn number(field: &[u8]) -> Option<i64> {
    if let Some(first @ (0x80 | 0xFF)) = field.first() {
        let negative = *first == 0xFF;
        return field[1..].iter().try_fold(if negative { -1_i64 } else { 0 }, |value, byte| {
            value.checked_mul(256).map(|value| value | i64::from(*byte))
        });
    }
    let digits = field.iter().skip_while(|byte| matches!(byte, b' ' | 0));
    let digits: Vec<u8> = digits.take_while(|byte| !matches!(byte, b' ' | 0)).copied().collect();
    digits.iter().try_fold(0_i64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

/// Adds the records `LENGTH KEY=VALUE\n` of an extended header. The sparse map of GNU.sparse 0.0 repeats its keys: its
/// numbers are collected as the map of 0.1 under its key.
pub fn records(mut bytes: &[u8], into: &mut Records) -> Result<(), &'static str> {
    let bad = "an extended header is malformed";
    let mut map = Vec::new();
    while !bytes.is_empty() {
        let blank = bytes.iter().position(|byte| *byte == b' ').filter(|at| *at < 20).ok_or(bad)?;
        let length = std::str::from_utf8(&bytes[..blank]).ok().and_then(|text| text.parse::<usize>().ok());
        let length = length.filter(|length| *length > blank + 1 && *length <= bytes.len()).ok_or(bad)?;
        let record = bytes[blank + 1..length].strip_suffix(b"\n").ok_or(bad)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or(bad)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        if matches!(key, b"GNU.sparse.offset" | b"GNU.sparse.numbytes") {
            map.extend(if map.is_empty() { &b""[..] } else { b"," });
            map.extend(value);
        } else {
            into.insert(key.to_vec(), value.to_vec());
        }
        bytes = &bytes[length..];
    }
    if !map.is_empty() {
        into.insert(b"GNU.sparse.map".to_vec(), map);
    }
    Ok(())
}

/// Names of attributes that stand for ACLs in words until the names in them are known. NUL cannot be in a real one.
pub const ACL_ACCESS: &[u8] = b"\0acl.access";
pub const ACL_DEFAULT: &[u8] = b"\0acl.default";

/// Where the holes of a file are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holes {
    /// There are none.
    None,
    /// All is known: segments and size of the whole file.
    Map(Vec<(u64, u64)>, u64),
    /// GNU.sparse 1.0: the segments stand before the content; this is the size of the whole file.
    Inside(u64),
}

/// The entry that a header block and the extended headers make, the length of what follows it in the archive, and where
/// its holes are told. Its path is not yet looked at.
pub fn entry(raw: Raw, records: &Records) -> Result<(Entry, u64, Holes), &'static str> {
    let get = |key: &str| records.get(key.as_bytes()).filter(|value| !value.is_empty());
    let count = |key: &str| -> Result<Option<u64>, &'static str> {
        let Some(value) = get(key) else { return Ok(None) };
        let parsed = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        parsed.map(Some).ok_or("a number in its extended header is none")
    };
    let kind = match raw.flag {
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => Kind::Character,
        b'4' => Kind::Block,
        b'5' | b'D' => Kind::Directory,
        b'6' => Kind::Fifo,
        // Before ustar a directory was known by its name.
        0 if raw.name.ends_with(b"/") => Kind::Directory,
        0 | b'0' | b'7' | b'S' => Kind::File,
        _ => return Err("its type is unknown"),
    };
    let name = get("GNU.sparse.name").or(get("path")).cloned().unwrap_or(raw.name);
    let mut entry = Entry::new(name, kind);
    let id = |number: u64| u32::try_from(number).map_err(|_| "its owner is no number that Linux knows");
    entry.mode = raw.mode;
    entry.uid = id(count("uid")?.unwrap_or(raw.uid))?;
    entry.gid = id(count("gid")?.unwrap_or(raw.gid))?;
    entry.mtime = match get("mtime") {
        Some(value) => time(value).ok_or("its time is no number")?,
        None => (raw.mtime, 0),
    };
    if matches!(kind, Kind::Symlink | Kind::HardLink) {
        entry.link = get("linkpath").cloned().unwrap_or(raw.link);
    }
    if matches!(kind, Kind::Character | Kind::Block) {
        entry.device = raw.device;
    }
    // Of a hard link tar tells the size again, without content.
    let data = if kind == Kind::HardLink { 0 } else { count("size")?.unwrap_or(raw.size) };
    let mut holes = Holes::None;
    if kind == Kind::File {
        entry.size = data;
        let real = count("GNU.sparse.realsize")?.or(count("GNU.sparse.size")?);
        if let Some((segments, _, real)) = raw.sparse {
            holes = Holes::Map(segments, real);
        } else if let Some(map) = get("GNU.sparse.map") {
            holes = Holes::Map(pairs(map).ok_or("its map of holes is malformed")?, real.unwrap_or(data));
        } else if get("GNU.sparse.major").is_some_and(|major| major == b"1") {
            holes = Holes::Inside(real.unwrap_or(data));
        } else if let Some(real) = real {
            // A file that is nothing but a hole.
            holes = Holes::Map(Vec::new(), real);
        }
    }
    attributes(&mut entry, records);
    Ok((entry, data, holes))
}

fn attributes(entry: &mut Entry, records: &Records) {
    if entry.kind == Kind::HardLink {
        return;
    }
    for (key, value) in records {
        let name = match key.as_slice() {
            b"SCHILY.acl.access" => ACL_ACCESS.to_vec(),
            b"SCHILY.acl.default" => ACL_DEFAULT.to_vec(),
            b"RHT.security.selinux" => {
                let label = [value.strip_suffix(b"\0").unwrap_or(value), b"\0"].concat();
                entry.xattrs.push((b"security.selinux".to_vec(), label));
                continue;
            }
            b"SCHILY.fflags" => {
                entry.flags = pax::named_flags(&String::from_utf8_lossy(value));
                continue;
            }
            key => match key.strip_prefix(b"SCHILY.xattr.") {
                Some(name) => unescaped(name),
                None => continue,
            },
        };
        entry.xattrs.push((name, value.clone()));
    }
    // The same told twice: in bytes it is exact.
    let has = |entry: &Entry, name: &[u8]| entry.xattrs.iter().any(|(one, _)| one == name);
    for (words, bytes) in
        [(ACL_ACCESS, &b"system.posix_acl_access"[..]), (ACL_DEFAULT, b"system.posix_acl_default")]
    {
        if has(entry, bytes) {
            entry.xattrs.retain(|(name, _)| name != words);
        }
    }
    entry.xattrs.sort();
    entry.xattrs.dedup_by(|one, other| one.0 == other.0);
}

/// GNU tar writes `%3D` for `=` and `%25` for `%`.
fn unescaped(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some(first) = rest.first() {
        let (byte, used) = match rest.get(..3) {
            Some(b"%3D") => (b'=', 3),
            Some(b"%25") => (b'%', 3),
            _ => (*first, 1),
        };
        out.push(byte);
        rest = &rest[used..];
    }
    out
}

/// "offset,length,offset,length".
fn pairs(map: &[u8]) -> Option<Vec<(u64, u64)>> {
    let numbers: Option<Vec<u64>> =
        std::str::from_utf8(map).ok()?.split(',').map(|number| number.parse().ok()).collect();
    let (pairs, rest) =
        numbers?.as_chunks::<2>().0.iter().fold((Vec::new(), 0), |(mut all, count), [one, two]| {
            all.push((*one, *two));
            (all, count + 2)
        });
    (rest == map.split(|byte| *byte == b',').count()).then_some(pairs)
}

/// A decimal number of seconds, as seconds and nanoseconds that count forward.
fn time(value: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = if whole.is_empty() || whole == "-" { 0 } else { whole.parse().ok()? };
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: u32 = digits.parse().ok()?;
    match (text.starts_with('-'), nanoseconds) {
        (true, 1..) => Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds)),
        _ => Some((seconds, nanoseconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_binary() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"   755 \0"), Some(0o755));
        assert_eq!(number(b"\0\0\0\0"), Some(0));
        assert_eq!(number(&[0x80, 0, 0, 1, 0]), Some(256));
        assert_eq!(number(&[0xFF, 0xFF, 0xFF, 0xFE]), Some(-2));
        assert_eq!(number(b"12x"), None);
        assert_eq!(number(b"89"), None);
        assert_eq!(number(&[0x80, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]), None);
    }

    #[test]
    fn times_count_forward() {
        assert_eq!(time(b"1.5"), Some((1, 500_000_000)));
        assert_eq!(time(b"-1.5"), Some((-2, 500_000_000)));
        assert_eq!(time(b"-0.25"), Some((-1, 750_000_000)));
        assert_eq!(time(b"7"), Some((7, 0)));
        assert_eq!(time(b"1.x"), None);
    }

    #[test]
    fn records_hold_any_bytes_and_lies_are_refused() {
        let mut all = Records::new();
        records(b"12 a=b\nc=d\n\n23 GNU.sparse.offset=5\n25 GNU.sparse.numbytes=6\n", &mut all).unwrap();
        assert_eq!(all.get(&b"a"[..]).unwrap(), b"b\nc=d\n");
        assert_eq!(all.get(&b"GNU.sparse.map"[..]).unwrap(), b"5,6");
        for bad in
            [&b"7 a=b\n"[..], b"5 ab\n", b"99999999999999999999999 a", b"6 a=bX", b"x", b"0 a=b\n", b"1 "]
        {
            assert!(records(bad, &mut Records::new()).is_err(), "{bad:?}");
        }
    }
}
