//! Encrypted files and the keys that open them. Passphrases are left out: to make them hard to guess is to make them slow.

use std::io::Cursor;
use std::sync::OnceLock;

use crypt::{Error, Identity, Opener, Plain, identities};
use sys::Secret;

/// A key of nobody; what is in the corpus is encrypted to it.
pub const KEY: &str = "AGE-SECRET-KEY-178LNS49ZAE3DR3MZKKRVXG5K3ACXNVFSP3GRYMAEUCEGV3VZ6GKS6Q00UL";

fn typed(text: &str) -> Result<Vec<Identity>, Error> {
    identities(text, &mut || Ok(Secret::new("passphrase")))
}

/// An encrypted file, or a key.
pub fn age(bytes: &[u8]) -> bool {
    static OPENER: OnceLock<Opener> = OnceLock::new();
    let opener = OPENER.get_or_init(|| Opener::Identities(typed(KEY).unwrap()));
    if let Ok(text) = std::str::from_utf8(bytes) {
        // Deriving the key of an encrypted ssh key is slow too, and no more than asked for.
        let _ = typed(text);
        let _ = crypt::recipient(text);
    }
    let whole = crypt::open(opener, bytes);
    let plain = Plain::open(Cursor::new(bytes), opener);
    let Ok(Some(whole)) = whole else { return false };
    // It was read from end to end, so it can be read at any place, and is the same there.
    let plain = plain.unwrap().unwrap();
    assert_eq!(plain.len(), whole.len() as u64);
    let again = Plain::with_key(Cursor::new(bytes), plain.key()).unwrap();
    for at in [0, 1, whole.len() / 2, whole.len().saturating_sub(1), whole.len(), whole.len() + 1] {
        let mut buffer = [0; 100];
        let count = again.read_at(&mut buffer, at as u64).unwrap();
        assert_eq!(buffer[..count], whole[at.min(whole.len())..][..count]);
        assert_eq!(count, buffer.len().min(whole.len().saturating_sub(at)));
    }
    true
}
