//! Headers of the pax interchange format (POSIX.1-2001 `pax`), as GNU tar 1.26+ and libarchive read them.
//!
//! What the format itself has no place for uses the words that these programs know: `SCHILY.xattr.*` (all
//! attributes), `SCHILY.acl.*` (ACLs as text), `RHT.security.selinux`, `SCHILY.fflags` (inode flags), and
//! `GNU.sparse` 1.0 (holes).

use rustix::fs::IFlags;

use crate::entry::{Entry, Kind};

/// Tar files consist of blocks of this size.
pub const BLOCK: usize = 512;
/// Two empty blocks end a tar file.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];
/// The largest number of an eleven-digit octal field (sizes, times).
const OCTAL_11: u64 = 0o777_7777_7777;
/// The largest number of a seven-digit octal field (owners, device numbers).
const OCTAL_7: u32 = 0o777_7777;

/// Zero bytes that follow content of this length.
pub fn padding(length: u64) -> usize {
    usize::try_from(length.next_multiple_of(BLOCK as u64) - length).unwrap_or(0)
}

/// Appends the header blocks of an entry (and the map of a sparse file); its stored content comes next.
pub fn header(entry: &Entry, out: &mut Vec<u8>) {
    let mut records = Vec::new();
    let name = tar_name(&entry.path, entry.kind);
    let map = entry.segments.as_ref().map(|segments| sparse_map(segments, entry.size));
    let size = match (&map, entry.kind) {
        (Some(map), _) => map.len() as u64 + entry.stored(),
        (None, Kind::File) => entry.size,
        _ => 0,
    };
    let is_text = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok();
    let link = match entry.kind {
        Kind::HardLink => tar_name(&entry.link, Kind::File),
        Kind::Symlink => entry.link.clone(),
        _ => Vec::new(),
    };
    if !is_text(&name) || !is_text(&link) {
        record(&mut records, b"hdrcharset", b"BINARY");
    }
    if map.is_some() {
        record(&mut records, b"GNU.sparse.major", b"1");
        record(&mut records, b"GNU.sparse.minor", b"0");
        record(&mut records, b"GNU.sparse.name", &name);
        record(&mut records, b"GNU.sparse.realsize", entry.size.to_string().as_bytes());
    } else if name.len() > 100 || !name.is_ascii() {
        record(&mut records, b"path", &name);
    }
    if link.len() > 100 || !link.is_ascii() {
        record(&mut records, b"linkpath", &link);
    }
    if size > OCTAL_11 {
        record(&mut records, b"size", size.to_string().as_bytes());
    }
    if entry.uid > OCTAL_7 {
        record(&mut records, b"uid", entry.uid.to_string().as_bytes());
    }
    if entry.gid > OCTAL_7 {
        record(&mut records, b"gid", entry.gid.to_string().as_bytes());
    }
    if entry.mtime.1 != 0 || !(0..=OCTAL_11.cast_signed()).contains(&entry.mtime.0) {
        record(&mut records, b"mtime", decimal(entry.mtime).as_bytes());
    }
    attributes(entry, &mut records);
    if !records.is_empty() {
        let mut extra = Entry::new(Vec::new(), Kind::File);
        extra.mode = 0o644;
        extra.mtime.0 = entry.mtime.0;
        let mut extra_name = b"./PaxHeaders/".to_vec();
        extra_name.extend(name.rsplit(|byte| *byte == b'/').find(|part| !part.is_empty()).unwrap_or(b"."));
        block(&extra, b'x', &extra_name, b"", records.len() as u64, out);
        let rest = padding(records.len() as u64);
        out.append(&mut records);
        out.resize(out.len() + rest, 0);
    }
    block(entry, entry.kind.tar(), &name, &link, size, out);
    if let Some(map) = map {
        out.extend(map);
    }
}

/// `./` before the path, and `/` behind a directory's.
fn tar_name(path: &[u8], kind: Kind) -> Vec<u8> {
    let mut name = b"./".to_vec();
    if path != b"." {
        name.extend_from_slice(path);
        if kind == Kind::Directory {
            name.push(b'/');
        }
    }
    name
}

fn attributes(entry: &Entry, records: &mut Vec<u8>) {
    for (name, value) in &entry.xattrs {
        let mut key = b"SCHILY.xattr.".to_vec();
        // GNU tar's way of writing what would end the key too early.
        for byte in name {
            match byte {
                b'=' => key.extend(b"%3D"),
                b'%' => key.extend(b"%25"),
                _ => key.push(*byte),
            }
        }
        record(records, &key, value);
        match name.as_slice() {
            b"system.posix_acl_access" => acl(records, b"SCHILY.acl.access", value),
            b"system.posix_acl_default" => acl(records, b"SCHILY.acl.default", value),
            b"security.selinux" => {
                record(records, b"RHT.security.selinux", value.strip_suffix(b"\0").unwrap_or(value));
            }
            _ => {}
        }
    }
    let flags = flag_names(entry.flags);
    if !flags.is_empty() {
        record(records, b"SCHILY.fflags", flags.as_bytes());
    }
}

fn acl(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    if let Some(text) = acl_text(value) {
        record(records, key, text.as_bytes());
    }
}

/// The text form of a `system.posix_acl_*` value (version 2: tag, permissions, id; little endian).
fn acl_text(value: &[u8]) -> Option<String> {
    let entries = value.strip_prefix(&2_u32.to_le_bytes())?;
    let (entries, []) = entries.as_chunks::<8>() else { return None };
    let mut parts = Vec::new();
    for [t0, t1, p0, p1, i0, i1, i2, i3] in entries {
        let id = u32::from_le_bytes([*i0, *i1, *i2, *i3]);
        let who = match u16::from_le_bytes([*t0, *t1]) {
            0x01 => "user:".to_owned(),
            0x02 => format!("user:{id}"),
            0x04 => "group:".to_owned(),
            0x08 => format!("group:{id}"),
            0x10 => "mask:".to_owned(),
            0x20 => "other:".to_owned(),
            _ => return None,
        };
        let bits = u16::from_le_bytes([*p0, *p1]);
        let letter = |bit: u16, letter: char| if bits & bit != 0 { letter } else { '-' };
        parts.push(format!("{who}:{}{}{}", letter(4, 'r'), letter(2, 'w'), letter(1, 'x')));
    }
    Some(parts.join(","))
}

/// libarchive's names of the inode flags.
const FLAG_NAMES: [(IFlags, &str); 11] = [
    (IFlags::APPEND, "sappnd"),
    (IFlags::IMMUTABLE, "schg"),
    (IFlags::NODUMP, "nodump"),
    (IFlags::NOATIME, "noatime"),
    (IFlags::COMPRESSED, "compress"),
    (IFlags::SECURE_REMOVAL, "securedeletion"),
    (IFlags::SYNC, "sync"),
    (IFlags::DIRSYNC, "dirsync"),
    (IFlags::JOURNALING, "journal-data"),
    (IFlags::TOPDIR, "topdir"),
    (IFlags::NOCOW, "nocow"),
];

fn flag_names(flags: u32) -> String {
    let set = IFlags::from_bits_retain(flags);
    let found: Vec<_> =
        FLAG_NAMES.iter().filter(|(flag, _)| set.contains(*flag)).map(|(_, name)| *name).collect();
    found.join(",")
}

/// The flags of such names; unknown ones are left out.
pub fn named_flags(names: &str) -> u32 {
    let flag =
        |name: &str| FLAG_NAMES.iter().find(|(_, known)| *known == name).map_or(0, |(flag, _)| flag.bits());
    names.split(',').map(flag).fold(0, |all, one| all | one)
}

/// The map that GNU.sparse 1.0 puts before the content: number of segments, then offset and length of each.
fn sparse_map(segments: &[(u64, u64)], size: u64) -> Vec<u8> {
    // A last empty segment tells where a file ends that ends with a hole.
    let tail = (segments.last().map_or(0, |(offset, length)| offset + length) < size).then_some((size, 0));
    let mut map = format!("{}\n", segments.len() + usize::from(tail.is_some()));
    for (offset, length) in segments.iter().copied().chain(tail) {
        map.push_str(&format!("{offset}\n{length}\n"));
    }
    let mut map = map.into_bytes();
    map.resize(map.len().next_multiple_of(BLOCK), 0);
    map
}

/// Seconds and nanoseconds as a decimal number; nanoseconds always count forward in time.
fn decimal((seconds, nanoseconds): (i64, u32)) -> String {
    match (seconds, nanoseconds) {
        (_, 0) => seconds.to_string(),
        (..0, _) => {
            let text = format!("-{}.{:09}", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanoseconds);
            text.trim_end_matches('0').to_owned()
        }
        _ => format!("{seconds}.{nanoseconds:09}").trim_end_matches('0').to_owned(),
    }
}

/// `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + digits(length) {
        length = rest + digits(length);
    }
    out.extend(length.to_string().as_bytes());
    out.push(b' ');
    out.extend(key);
    out.push(b'=');
    out.extend(value);
    out.push(b'\n');
}

fn digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// One header block. What does not fit is cut or zero here and has its exact value in a record.
fn block(entry: &Entry, flag: u8, name: &[u8], link: &[u8], size: u64, out: &mut Vec<u8>) {
    let mut block = [0_u8; BLOCK];
    text(&mut block[..100], name);
    octal(&mut block[100..108], u64::from(entry.mode));
    octal(&mut block[108..116], u64::from(if entry.uid > OCTAL_7 { 0 } else { entry.uid }));
    octal(&mut block[116..124], u64::from(if entry.gid > OCTAL_7 { 0 } else { entry.gid }));
    octal(&mut block[124..136], if size > OCTAL_11 { 0 } else { size });
    let seconds = u64::try_from(entry.mtime.0).unwrap_or(0);
    octal(&mut block[136..148], if seconds > OCTAL_11 { 0 } else { seconds });
    block[156] = flag;
    text(&mut block[157..257], link);
    block[257..265].copy_from_slice(b"ustar\x0000");
    octal(&mut block[329..337], u64::from(entry.device.0));
    octal(&mut block[337..345], u64::from(entry.device.1));
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    octal(&mut block[148..155], sum);
    out.extend_from_slice(&block);
}

fn text(field: &mut [u8], value: &[u8]) {
    let length = value.len().min(field.len());
    field[..length].copy_from_slice(&value[..length]);
}

/// Octal digits with leading zeros and a NUL at the end.
fn octal(field: &mut [u8], mut value: u64) {
    let Some((last, digits)) = field.split_last_mut() else { return };
    *last = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(value & 7).unwrap_or(0);
        value >>= 3;
    }
}

#[cfg(test)]
#[path = "pax_tests.rs"]
mod tests;
