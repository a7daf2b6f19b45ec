//! Key files: the repository's key, sealed with a password. The password is never kept, written or shown.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sys::Secret;

use crate::backend::{Backend, FileKind};
use crate::crypto::{Key, random};
use crate::error::{Error, Result};
use crate::id::Id;

/// scrypt with these needs 64 MiB and about a fifth of a second.
const LOG_N: u8 = 16;
const R: u32 = 8;
const P: u32 = 1;
/// A key file that asks for more memory than this, in bytes, is not of our making, and not of restic's.
const MEMORY_LIMIT: u64 = 1 << 30;
/// Nor is one that wants more bytes to be mixed: a minute of work, some hundred times what restic asks for.
const WORK_LIMIT: u64 = 16 << 30;

#[derive(Serialize, Deserialize)]
struct KeyFile {
    created: String,
    username: String,
    hostname: String,
    kdf: String,
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
    salt: String,
    data: String,
}

/// Writes a key file for that password.
pub fn add(backend: &dyn Backend, password: &Secret, key: &Key) -> Result<()> {
    let salt = random::<64>()?;
    let params = scrypt::Params::new(LOG_N, R, P).map_err(|error| derivation(&error))?;
    let mut data = Vec::new();
    derive(password, &salt, &params)?.seal(&key.to_json(), &mut data)?;
    let file = KeyFile {
        created: jiff::Timestamp::now().to_string(),
        username: "root".into(),
        hostname: sys::info::hostname(),
        kdf: "scrypt".into(),
        n: 1 << LOG_N,
        r: R,
        p: P,
        salt: STANDARD.encode(salt),
        data: STANDARD.encode(data),
    };
    let text = serde_json::to_vec(&file).map_err(Error::io("write the key file"))?;
    backend.write(FileKind::Key, Id::of(&text), &text)
}

/// The repository's key, from the first key file that opens with that password.
pub fn find(backend: &dyn Backend, password: &Secret) -> Result<Key> {
    let mut damaged = None;
    for (id, _) in backend.list(FileKind::Key)? {
        let text = backend.read(FileKind::Key, id)?;
        let Ok(file) = serde_json::from_slice::<KeyFile>(&text) else {
            damaged.get_or_insert(Error::damaged(FileKind::Key, id, "cannot be read"));
            continue;
        };
        match try_one(&file, password) {
            Ok(Some(key)) => return Ok(key),
            Ok(None) => {}
            Err(detail) => _ = damaged.get_or_insert(Error::damaged(FileKind::Key, id, detail)),
        }
    }
    Err(damaged.unwrap_or(Error::Password { place: backend.place() }))
}

fn try_one(file: &KeyFile, password: &Secret) -> std::result::Result<Option<Key>, String> {
    if file.kdf != "scrypt" || !file.n.is_power_of_two() || file.n < 2 {
        return Err("has parameters that this program does not know".into());
    }
    if !is_bearable(file.n, file.r.into(), file.p.into()) {
        return Err("asks for more memory or time than any key needs".into());
    }
    let log_n = u8::try_from(file.n.trailing_zeros()).unwrap_or(u8::MAX);
    let params = scrypt::Params::new(log_n, file.r, file.p)
        .map_err(|_| "has parameters that cannot be used".to_owned())?;
    let decode = |text: &str| STANDARD.decode(text).map_err(|_| "is no base64".to_owned());
    let key = derive(password, &decode(&file.salt)?, &params).map_err(|error| error.to_string())?;
    let mut data = decode(&file.data)?;
    Ok(key.open(&mut data).and_then(|text| Key::from_json(text)))
}

/// Whether scrypt with these parameters stays within the limits. It holds `n` blocks of `128 * r` bytes at a time, and `p` more.
fn is_bearable(n: u64, r: u64, p: u64) -> bool {
    let memory = n.checked_add(p).and_then(|blocks| blocks.checked_mul(r)?.checked_mul(128));
    let work = n.checked_mul(p).and_then(|blocks| blocks.checked_mul(r)?.checked_mul(128));
    memory.is_some_and(|memory| memory <= MEMORY_LIMIT) && work.is_some_and(|work| work <= WORK_LIMIT)
}

fn derive(password: &Secret, salt: &[u8], params: &scrypt::Params) -> Result<Key> {
    let mut bytes = [0; 64];
    scrypt::scrypt(password.expose_bytes(), salt, params, &mut bytes).map_err(|error| derivation(&error))?;
    Ok(Key::from_bytes(&bytes))
}

fn derivation(error: &dyn std::fmt::Display) -> Error {
    Error::io("make a key from the password")(std::io::Error::other(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_asks_for_all_memory_is_refused_before_it_gets_any() {
        assert!(is_bearable(1 << LOG_N, R.into(), P.into()));
        // What restic has made on slow and on fast machines.
        for (n, r, p) in [(1 << 15, 8, 1), (1 << 15, 8, 16), (1 << 18, 8, 3)] {
            assert!(is_bearable(n, r, p), "{n} {r} {p}");
        }
        // The blocks of `p` count too: these are 32 GiB of them, and two million times the work.
        for (n, r, p) in
            [(2, 1 << 22, 64), (1 << 20, 9, 1), (1 << 16, 8, 1 << 10), (u64::MAX, 1, 1), (2, 0, u64::MAX)]
        {
            assert!(!is_bearable(n, r, p), "{n} {r} {p}");
        }
        let mut file = KeyFile {
            created: String::new(),
            username: String::new(),
            hostname: String::new(),
            kdf: "scrypt".into(),
            n: 2,
            r: 1 << 22,
            p: 64,
            salt: String::new(),
            data: String::new(),
        };
        let why = |file: &KeyFile| try_one(file, &Secret::new("x")).unwrap_err();
        assert!(why(&file).contains("more memory or time"));
        (file.r, file.p) = (0, 1);
        assert!(why(&file).contains("cannot be used"));
    }
}
