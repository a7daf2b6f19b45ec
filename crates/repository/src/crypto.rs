//! The cipher of the format: AES-256 in counter mode, authenticated with Poly1305-AES. A sealed text is
//! `nonce (16) | ciphertext | tag (16)`, the tag over the ciphertext. It knows no files.

use aes::cipher::{BlockEncrypt, KeyInit, KeyIvInit, StreamCipher};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use poly1305::Poly1305;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Bytes that sealing adds.
pub const OVERHEAD: usize = 32;
const NONCE: usize = 16;
const TAG: usize = 16;

/// The key of a repository, or one made from a password. It cannot be printed.
#[derive(Clone)]
pub struct Key {
    encrypt: [u8; 32],
    mac_k: [u8; 16],
    mac_r: [u8; 16],
}

/// A key as it lies, sealed, in a key file.
#[derive(Serialize, Deserialize)]
struct KeyText {
    mac: MacText,
    encrypt: String,
}

#[derive(Serialize, Deserialize)]
struct MacText {
    k: String,
    r: String,
}

/// Random bytes of the kernel.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut at = 0;
    while at < N {
        match rustix::rand::getrandom(&mut bytes[at..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => at += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Error::io("read randomness from getrandom(2)")(error)),
        }
    }
    Ok(bytes)
}

impl Key {
    /// A new random key.
    pub fn random() -> Result<Self> {
        Ok(Self::from_bytes(&random::<64>()?))
    }

    /// 32 bytes for the cipher, 32 for the authentication.
    pub fn from_bytes(bytes: &[u8; 64]) -> Self {
        let mut key = Self { encrypt: [0; 32], mac_k: [0; 16], mac_r: [0; 16] };
        key.encrypt.copy_from_slice(&bytes[..32]);
        key.mac_k.copy_from_slice(&bytes[32..48]);
        key.mac_r.copy_from_slice(&bytes[48..]);
        key
    }

    /// As it lies in a key file.
    pub fn to_json(&self) -> Vec<u8> {
        let mac = MacText { k: STANDARD.encode(self.mac_k), r: STANDARD.encode(self.mac_r) };
        let text = KeyText { mac, encrypt: STANDARD.encode(self.encrypt) };
        // Strings alone: this cannot fail.
        serde_json::to_vec(&text).unwrap_or_default()
    }

    /// From what lay in a key file.
    pub fn from_json(text: &[u8]) -> Option<Self> {
        let text: KeyText = serde_json::from_slice(text).ok()?;
        let decode = |text: &str| STANDARD.decode(text).ok();
        Some(Self {
            encrypt: decode(&text.encrypt)?.try_into().ok()?,
            mac_k: decode(&text.mac.k)?.try_into().ok()?,
            mac_r: decode(&text.mac.r)?.try_into().ok()?,
        })
    }

    /// Appends the sealed form of `plain` to `out`.
    pub fn seal(&self, plain: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let nonce = random::<NONCE>()?;
        out.reserve(plain.len() + OVERHEAD);
        out.extend(nonce);
        let start = out.len();
        out.extend_from_slice(plain);
        self.stream(&nonce, &mut out[start..]);
        let tag = self.tag(&nonce, &out[start..]);
        out.extend(tag);
        Ok(())
    }

    /// The text that was sealed, opened in place; `None` where a bit of it has changed or the key is another.
    pub fn open<'t>(&self, sealed: &'t mut [u8]) -> Option<&'t mut [u8]> {
        let length = sealed.len().checked_sub(OVERHEAD)?;
        let (nonce, rest) = sealed.split_at_mut(NONCE);
        let nonce: [u8; NONCE] = (&*nonce).try_into().ok()?;
        let (text, tag) = rest.split_at_mut(length);
        let expected = self.tag(&nonce, text);
        // In constant time: the difference of every byte is looked at.
        if tag.iter().zip(expected).fold(0, |sum, (one, other)| sum | (*one ^ other)) != 0 {
            return None;
        }
        self.stream(&nonce, text);
        Some(text)
    }

    fn stream(&self, nonce: &[u8; NONCE], text: &mut [u8]) {
        ctr::Ctr128BE::<aes::Aes256>::new(&self.encrypt.into(), nonce.into()).apply_keystream(text);
    }

    fn tag(&self, nonce: &[u8; NONCE], text: &[u8]) -> [u8; TAG] {
        let mut block = (*nonce).into();
        aes::Aes128::new(&self.mac_k.into()).encrypt_block(&mut block);
        let mut key = [0; 32];
        key[..16].copy_from_slice(&self.mac_r);
        key[16..].copy_from_slice(&block);
        Poly1305::new(&key.into()).compute_unpadded(text).into()
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_its_key_alone() {
        let (key, other) = (Key::random().unwrap(), Key::random().unwrap());
        for length in [0, 1, 15, 16, 17, 100_000] {
            let plain = vec![7; length];
            let mut sealed = Vec::new();
            key.seal(&plain, &mut sealed).unwrap();
            assert_eq!(sealed.len(), length + OVERHEAD);
            assert!(other.open(&mut sealed.clone()).is_none());
            for at in [0, NONCE, sealed.len() - 1] {
                let mut bad = sealed.clone();
                bad[at] ^= 1;
                assert!(key.open(&mut bad).is_none(), "{length} {at}");
            }
            assert_eq!(key.open(&mut sealed).unwrap(), plain);
        }
        assert!(key.open(&mut [0; 31]).is_none());
        assert_eq!(format!("{key:?}"), "Key(***)");
    }

    #[test]
    fn a_key_comes_back_from_its_text() {
        let key = Key::random().unwrap();
        let read = Key::from_json(&key.to_json()).unwrap();
        assert_eq!((read.encrypt, read.mac_k, read.mac_r), (key.encrypt, key.mac_k, key.mac_r));
        assert!(Key::from_json(b"{}").is_none());
    }
}
