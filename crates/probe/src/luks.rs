//! LUKS headers, read from the bytes (LUKS1 on-disk format 1.2.3, LUKS2 on-disk format 1.1.4): what the container is,
//! never what its keys are. Key material is not looked at.

use layout::{Bytes, Content, Keyslot, Luks};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::bytes::{be16, be32, be64, has, text};
use crate::device::Dev;

/// First bytes of a header of either version.
const MAGIC: &[u8] = b"LUKS\xBA\xBE";
/// First bytes of the second copy of a LUKS2 header.
const SECOND_MAGIC: &[u8] = b"SKUL\xBA\xBE";
/// Bytes of the binary part of a LUKS2 header; the JSON follows.
const BINARY: usize = 4096;
/// Where the checksum of a LUKS2 header stands, and how much room it has.
const CHECKSUM: (usize, usize) = (448, 64);
/// Sizes that one copy of a LUKS2 header may have: the second copy stands at one of these offsets.
const SIZES: [u64; 9] =
    [16 << 10, 32 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20, 2 << 20, 4 << 20];
/// Value of a key slot in use in a LUKS1 header.
const ENABLED: u32 = 0x00AC_71F3;

/// The container on a device; `None` when there is no header.
pub(crate) fn read(dev: &Dev<'_>) -> sys::Result<Option<Content>> {
    let head = dev.read(0, BINARY)?;
    if !has(&head, 0, MAGIC) {
        return Ok(None);
    }
    let found = match be16(&head, 6) {
        Some(1) => first_version(&head).ok_or("its header is cut off".to_owned()),
        Some(2) => second_version(dev)?,
        Some(version) => Err(format!("version {version} is not known")),
        None => Err("its header is cut off".to_owned()),
    };
    Ok(Some(match found {
        Ok(luks) => Content::Luks(luks),
        Err(why) => Content::Unknown { what: format!("LUKS container with an unreadable header: {why}") },
    }))
}

fn first_version(head: &[u8]) -> Option<Luks> {
    let (name, mode) = (text(head, 8, 32)?, text(head, 40, 32)?);
    let mut keyslots = Vec::new();
    for number in 0..8 {
        let at = 208 + number as usize * 48;
        if be32(head, at)? == ENABLED {
            let iterations = be32(head, at + 4)?.into();
            keyslots.push(Keyslot { number, pbkdf: "pbkdf2".into(), iterations, memory: 0, parallel: 0 });
        }
    }
    let offset = Bytes(u64::from(be32(head, 104)?) * 512);
    Some(Luks {
        uuid: text(head, 168, 40)?,
        version: 1,
        cipher: format!("{name}-{mode}"),
        key_bits: be32(head, 108)?.checked_mul(8)?,
        hash: text(head, 72, 32)?,
        sector_size: 512,
        data_offset: offset,
        // Everything before the data: the last key slot ends a little earlier.
        header_size: offset,
        keyslots,
        ..Luks::default()
    })
}

/// One copy of a LUKS2 header.
struct Copy {
    sequence: u64,
    size: u64,
    binary: Vec<u8>,
    json: Map<String, Value>,
}

/// The newer of the two valid copies counts, as for cryptsetup.
fn second_version(dev: &Dev<'_>) -> sys::Result<Result<Luks, String>> {
    let first = copy(dev, 0, MAGIC)?;
    let places: Vec<u64> = match &first {
        Ok(first) => vec![first.size],
        Err(_) => SIZES.to_vec(),
    };
    let mut second = None;
    for offset in places {
        if let Ok(found) = copy(dev, offset, SECOND_MAGIC)? {
            second = Some(found);
            break;
        }
    }
    let newest = match (first, second) {
        (Ok(first), Some(second)) if second.sequence > first.sequence => second,
        (Ok(first), _) => first,
        (Err(why), Some(second)) => {
            tracing::warn!("the first copy of a LUKS2 header is damaged ({why}); the second one is used");
            second
        }
        (Err(why), None) => return Ok(Err(why)),
    };
    Ok(describe(&newest).ok_or_else(|| "its metadata lack a field or have an unexpected form".to_owned()))
}

/// Reads and verifies the copy at this offset.
fn copy(dev: &Dev<'_>, offset: u64, magic: &[u8]) -> sys::Result<Result<Copy, String>> {
    let binary = dev.read(offset, BINARY)?;
    let size = be64(&binary, 8).filter(|size| SIZES.contains(size));
    let (Some(size), true, Some(2), Some(sequence)) =
        (size, has(&binary, 0, magic), be16(&binary, 6), be64(&binary, 16))
    else {
        return Ok(Err("no valid header stands there".into()));
    };
    if be64(&binary, 256) != Some(offset) {
        return Ok(Err("it was copied from another place".into()));
    }
    let algorithm = text(&binary, 72, 32).unwrap_or_default();
    if algorithm != "sha256" {
        return Ok(Err(format!("its checksum algorithm '{algorithm}' is not known")));
    }
    let mut whole = dev.read(offset, size as usize)?;
    let (at, length) = CHECKSUM;
    let stored = binary[at..at + length].to_vec();
    let Some(field) = whole.get_mut(at..at + length) else { return Ok(Err("it is cut off".into())) };
    field.fill(0);
    let computed = Sha256::digest(&whole);
    if whole.len() as u64 != size || stored.get(..computed.len()) != Some(computed.as_slice()) {
        return Ok(Err("its checksum is wrong".into()));
    }
    let area = &whole[BINARY..];
    let end = area.iter().position(|byte| *byte == 0).unwrap_or(area.len());
    Ok(match serde_json::from_slice(&area[..end]) {
        Ok(json) => Ok(Copy { sequence, size, binary, json }),
        Err(error) => Err(format!("its metadata are no JSON: {error}")),
    })
}

fn describe(copy: &Copy) -> Option<Luks> {
    let json = &copy.json;
    let config = json.get("config")?;
    let segments = numbered(json.get("segments")?)?;
    let (first_number, segment) = segments.iter().min_by_key(|(number, _)| *number)?;
    let digests = numbered(json.get("digests")?)?;
    let segment_name = first_number.to_string();
    let digest = digests
        .iter()
        .map(|(_, digest)| *digest)
        .find(|digest| words(digest.get("segments")).iter().any(|name| *name == segment_name))?;
    let integrity = segment.get("integrity").and_then(|integrity| integrity.get("type"));
    let integrity = integrity.and_then(Value::as_str).map(integrity_name).unwrap_or_default();
    let mut keyslots = Vec::new();
    let mut key_bytes = 0;
    for (number, slot) in numbered(json.get("keyslots")?)? {
        let bound = words(digest.get("keyslots")).iter().any(|name| *name == number.to_string());
        let Some(kdf) = slot.get("kdf").filter(|_| bound) else { continue };
        key_bytes = u32::try_from(slot.get("key_size")?.as_u64()?).ok()?;
        let pbkdf = kdf.get("type")?.as_str()?.to_owned();
        let count = |name: &str| kdf.get(name).and_then(Value::as_u64);
        let (iterations, memory, parallel) = match pbkdf.as_str() {
            "pbkdf2" => (count("iterations")?, 0, 0),
            "argon2i" | "argon2id" => (count("time")?, count("memory")?, u32::try_from(count("cpus")?).ok()?),
            // What is not known yet comes back with its header.
            _ => (0, 0, 0),
        };
        keyslots.push(Keyslot { number, pbkdf, iterations, memory, parallel });
    }
    let mut tokens: Vec<String> = Vec::new();
    for (_, token) in json.get("tokens").and_then(numbered).unwrap_or_default() {
        tokens.push(token.get("type")?.as_str()?.to_owned());
    }
    let listed = |value: Option<&Value>| words(value).into_iter().map(str::to_owned).collect::<Vec<_>>();
    let requirements = config.get("requirements").or_else(|| json.get("requirements"));
    Some(Luks {
        uuid: text(&copy.binary, 168, 40)?,
        version: 2,
        label: text(&copy.binary, 24, 48)?,
        subsystem: text(&copy.binary, 208, 48)?,
        // A disk that encrypts by itself (`hw-opal`) has no cipher; everything else has one.
        cipher: match segment.get("encryption") {
            None if segment.get("type")?.as_str()? != "crypt" => String::new(),
            encryption => encryption?.as_str()?.to_owned(),
        },
        // With integrity, the stored key is that of the cipher followed by that of the integrity algorithm.
        key_bits: key_bytes.checked_sub(integrity_key(&integrity))?.checked_mul(8)?,
        hash: digest.get("hash")?.as_str()?.to_owned(),
        sector_size: match segment.get("sector_size") {
            Some(size) => u32::try_from(size.as_u64()?).ok()?,
            None => 512,
        },
        data_offset: Bytes(number(segment.get("offset")?)?),
        header_size: Bytes(copy.size.checked_mul(2)?.checked_add(number(config.get("keyslots_size")?)?)?),
        metadata_size: Bytes(copy.size),
        data_size: match segment.get("size")?.as_str()? {
            "dynamic" => None,
            fixed => Some(Bytes(fixed.parse().ok()?)),
        },
        integrity,
        keyslots,
        tokens,
        flags: listed(config.get("flags")),
        requirements: listed(requirements.and_then(|all| all.get("mandatory"))),
        segments: segments
            .iter()
            .map(|(_, segment)| segment.get("type").and_then(Value::as_str).unwrap_or("unknown").to_owned())
            .collect(),
        sealed: false,
    })
}

/// The entries of an object whose names are numbers, in their order; `None` where it has another form.
fn numbered(value: &Value) -> Option<Vec<(u32, &Value)>> {
    let mut all = Vec::new();
    for (name, entry) in value.as_object()? {
        all.push((name.parse().ok()?, entry));
    }
    all.sort_by_key(|(number, _)| *number);
    Some(all)
}

fn words(value: Option<&Value>) -> Vec<&str> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// 64-bit numbers are written as text.
fn number(value: &Value) -> Option<u64> {
    value.as_str()?.parse().ok()
}

/// The name that `cryptsetup --integrity` takes for the one in the header.
fn integrity_name(kernel: &str) -> String {
    match kernel.strip_prefix("hmac(").and_then(|rest| rest.strip_suffix(')')) {
        Some(hash) => format!("hmac-{hash}"),
        None => kernel.to_owned(),
    }
}

/// Bytes of the integrity algorithm's own key (cryptsetup `lib/utils_crypt.c`, `crypt_parse_integrity_mode`).
fn integrity_key(name: &str) -> u32 {
    match name {
        "hmac-sha256" => 32,
        "hmac-sha512" => 64,
        "cmac-aes" => 16,
        _ => 0,
    }
}

#[cfg(test)]
#[path = "luks_tests.rs"]
mod tests;
