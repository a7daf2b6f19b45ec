//! An independent reader of what `pax.rs` writes, and the property that nothing is lost on the way.

use super::*;
use proptest::prelude::*;

fn number(field: &[u8]) -> u64 {
    let text = std::str::from_utf8(field).unwrap().trim_matches(['\0', ' ']);
    if text.is_empty() { 0 } else { u64::from_str_radix(text, 8).unwrap() }
}

fn until_nul(field: &[u8]) -> Vec<u8> {
    field.split(|byte| *byte == 0).next().unwrap().to_vec()
}

/// Checks the sum of a header block and gives its type flag and size.
fn check(block: &[u8]) -> (u8, usize) {
    assert_eq!(&block[257..263], b"ustar\0");
    let sum: u64 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u64::from(*byte) })
        .sum();
    assert_eq!(sum, number(&block[148..156]));
    (block[156], number(&block[124..136]) as usize)
}

fn records(mut text: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    while !text.is_empty() {
        let blank = text.iter().position(|byte| *byte == b' ').unwrap();
        let length: usize = std::str::from_utf8(&text[..blank]).unwrap().parse().unwrap();
        let (now, rest) = text.split_at(length);
        let body = now[blank + 1..].strip_suffix(b"\n").unwrap();
        let equals = body.iter().position(|byte| *byte == b'=').unwrap();
        found.push((body[..equals].to_vec(), body[equals + 1..].to_vec()));
        text = rest;
    }
    found
}

fn time(text: &str) -> (i64, u32) {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let nanoseconds: u32 = format!("{fraction:0<9}").parse().unwrap();
    let seconds: i64 = whole.parse().unwrap();
    if text.starts_with('-') && nanoseconds > 0 {
        (seconds - 1, 1_000_000_000 - nanoseconds)
    } else {
        (seconds, nanoseconds)
    }
}

fn unescape(name: &[u8]) -> Vec<u8> {
    String::from_utf8(name.to_vec()).unwrap().replace("%3D", "=").replace("%25", "%").into_bytes()
}

/// Reads the blocks of one entry.
fn read(mut bytes: &[u8]) -> Entry {
    let mut extra = Vec::new();
    let (mut flag, mut size) = check(&bytes[..BLOCK]);
    if flag == b'x' {
        extra = records(&bytes[BLOCK..BLOCK + size]);
        bytes = &bytes[BLOCK + size.next_multiple_of(BLOCK)..];
        (flag, size) = check(&bytes[..BLOCK]);
    }
    let kind = "012345 6".find(char::from(flag)).and_then(|at| {
        [Kind::File, Kind::HardLink, Kind::Symlink, Kind::Character, Kind::Block, Kind::Directory]
            .get(at)
            .copied()
            .or(Some(Kind::Fifo))
    });
    let mut entry = Entry::new(until_nul(&bytes[..100]), kind.unwrap());
    entry.mode = number(&bytes[100..108]) as u32;
    entry.uid = number(&bytes[108..116]) as u32;
    entry.gid = number(&bytes[116..124]) as u32;
    entry.mtime.0 = number(&bytes[136..148]) as i64;
    entry.size = size as u64;
    entry.link = until_nul(&bytes[157..257]);
    entry.device = (number(&bytes[329..337]) as u32, number(&bytes[337..345]) as u32);
    let mut sparse = false;
    for (key, value) in extra {
        let text = || String::from_utf8(value.clone()).unwrap();
        match key.as_slice() {
            b"path" | b"GNU.sparse.name" => entry.path = value,
            b"linkpath" => entry.link = value,
            b"uid" => entry.uid = text().parse().unwrap(),
            b"gid" => entry.gid = text().parse().unwrap(),
            b"size" if !sparse => entry.size = text().parse().unwrap(),
            b"mtime" => entry.mtime = time(&text()),
            b"GNU.sparse.realsize" => {
                entry.size = text().parse().unwrap();
                sparse = true;
            }
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    entry.xattrs.push((unescape(name), value));
                }
            }
        }
    }
    if sparse {
        let map = std::str::from_utf8(&bytes[BLOCK..]).unwrap().trim_end_matches('\0');
        let numbers: Vec<u64> = map.lines().map(|line| line.parse().unwrap()).collect();
        let pairs: Vec<_> =
            numbers[1..].chunks(2).map(|pair| (pair[0], pair[1])).filter(|pair| pair.1 > 0).collect();
        entry.segments = Some(pairs);
    }
    let path = entry.path.strip_prefix(b"./").unwrap();
    let path = path.strip_suffix(b"/").unwrap_or(path);
    entry.path = if path.is_empty() { b".".to_vec() } else { path.to_vec() };
    if entry.kind == Kind::HardLink {
        entry.link = entry.link.strip_prefix(b"./").unwrap().to_vec();
    }
    entry
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => 32_u8..127, 1 => 1_u8..=255];
    proptest::collection::vec(byte, 1..300).prop_filter("safe", |path| Entry::is_path_safe(path))
}

fn entry() -> impl Strategy<Value = Entry> {
    let kinds = [
        Kind::File,
        Kind::HardLink,
        Kind::Symlink,
        Kind::Character,
        Kind::Block,
        Kind::Directory,
        Kind::Fifo,
    ];
    let name = "user\\.[a-z%=]{1,10}".prop_map(String::into_bytes);
    let xattrs = proptest::collection::vec((name, proptest::collection::vec(any::<u8>(), 0..120)), 0..3);
    let time = (any::<i32>().prop_map(|seconds| i64::from(seconds) * 1000), 0_u32..1_000_000_000);
    let who = (0_u32..0o10000, any::<u32>(), any::<u32>());
    (proptest::sample::select(kinds.to_vec()), path(), path(), who, time, xattrs, any::<u64>()).prop_map(
        |(kind, path, link, (mode, uid, gid), mtime, xattrs, size)| {
            let mut entry = Entry::new(path, kind);
            (entry.mode, entry.uid, entry.gid, entry.mtime, entry.xattrs) = (mode, uid, gid, mtime, xattrs);
            match kind {
                Kind::File if size % 3 == 0 => {
                    let size = size >> 8;
                    entry.size = size;
                    entry.segments = Some(vec![(0, size / 4), (size / 2, size / 4)]);
                    entry.segments.iter_mut().for_each(|all| all.retain(|segment| segment.1 > 0));
                }
                Kind::File => entry.size = size,
                Kind::HardLink | Kind::Symlink => entry.link = link,
                Kind::Character | Kind::Block => entry.device = ((size & 0xfff) as u32, (size >> 44) as u32),
                _ => {}
            }
            entry
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn any_header_comes_back(entry in entry()) {
        let mut out = Vec::new();
        header(&entry, &mut out);
        prop_assert_eq!(out.len() % BLOCK, 0);
        prop_assert_eq!(read(&out), entry);
    }
}

#[test]
fn times_before_1970() {
    assert_eq!(decimal((-2, 500_000_000)), "-1.5");
    assert_eq!(decimal((-1, 500_000_000)), "-0.5");
    assert_eq!(decimal((-1, 0)), "-1");
    assert_eq!(decimal((5, 1)), "5.000000001");
    assert_eq!(decimal((-1, 100)), "-0.9999999");
}

#[test]
fn acls_as_text() {
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, bits, id) in
        [(1_u16, 7_u16, u32::MAX), (2, 4, 1000), (4, 5, u32::MAX), (16, 5, u32::MAX), (32, 0, u32::MAX)]
    {
        value.extend(tag.to_le_bytes());
        value.extend(bits.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    assert_eq!(acl_text(&value).as_deref(), Some("user::rwx,user:1000:r--,group::r-x,mask::r-x,other::---"));
    assert_eq!(acl_text(b"junk"), None);
}

#[test]
fn a_record_counts_its_own_digits() {
    for length in 0..300 {
        let mut out = Vec::new();
        record(&mut out, b"k", &vec![b'v'; length]);
        let blank = out.iter().position(|byte| *byte == b' ').unwrap();
        assert_eq!(std::str::from_utf8(&out[..blank]).unwrap().parse::<usize>().unwrap(), out.len());
    }
}
