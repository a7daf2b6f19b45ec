//! Small things, encrypted as a whole.

use std::io::{Read, Write};

use crate::{Error, Lock, Note, Opener};

/// Encrypts.
///
/// # Errors
/// [`Error::Seal`].
pub fn seal(lock: &Lock, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    finish(lock.encryptor(&Note::default())?, bytes)
}

fn finish(encryptor: age::Encryptor, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut sealed = Vec::with_capacity(bytes.len() + (bytes.len() >> 10) + 1024);
    let mut writer = encryptor.wrap_output(&mut sealed)?;
    writer.write_all(bytes)?;
    writer.finish()?;
    Ok(sealed)
}

/// Decrypts; `None` where this opener does not fit.
///
/// # Errors
/// [`Error::Damaged`] or [`Error::Open`].
pub fn open(opener: &Opener, sealed: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let Some(mut reader) = opener.decrypt(sealed, &Note::default())? else { return Ok(None) };
    let mut bytes = Vec::with_capacity(sealed.len());
    reader.read_to_end(&mut bytes).map_err(|error| Error::Damaged(error.to_string()))?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{identities, recipient};
    use sys::Secret;

    fn nobody() -> Result<Secret, Error> {
        panic!("nobody should be asked")
    }

    fn quick(lock: &Lock, bytes: &[u8]) -> Vec<u8> {
        finish(lock.encryptor_with(&Note::default(), 4).unwrap(), bytes).unwrap()
    }

    #[test]
    fn a_passphrase_opens_what_it_sealed_and_nothing_else_does() {
        let lock = Lock::Passphrase(Secret::new("ab"));
        let header = vec![7_u8; 100_000];
        let sealed = quick(&lock, &header);
        assert!(sealed.starts_with(b"age-encryption.org/v1\n-> scrypt "));
        assert!(!sealed.windows(64).any(|window| window == [7; 64]));
        assert_eq!(open(&Opener::Passphrase(Secret::new("ab")), &sealed).unwrap(), Some(header));
        assert_eq!(open(&Opener::Passphrase(Secret::new("abc")), &sealed).unwrap(), None);
        let mut damaged = sealed.clone();
        damaged[50_000] ^= 1;
        let why = open(&Opener::Passphrase(Secret::new("ab")), &damaged).unwrap_err().to_string();
        assert!(why.contains("damaged"), "{why}");
        assert!(open(&Opener::Passphrase(Secret::new("ab")), &sealed[..60_000]).is_err());
    }

    #[test]
    fn every_recipient_can_open_alone() {
        use age::secrecy::ExposeSecret;
        let one = age::x25519::Identity::generate();
        let two = age::x25519::Identity::generate();
        let both = [&one, &two].map(|one| recipient(&one.to_public().to_string()).unwrap());
        let sealed = seal(&Lock::Recipients(both.into()), b"header").unwrap();
        for identity in [&one, &two] {
            let typed = format!("# created\n{}\n", identity.to_string().expose_secret());
            let opener = Opener::Identities(identities(&typed, &mut nobody).unwrap());
            assert_eq!(open(&opener, &sealed).unwrap().as_deref(), Some(b"header".as_slice()));
        }
        let other = Opener::Identities(vec![Box::new(age::x25519::Identity::generate())]);
        assert_eq!(open(&other, &sealed).unwrap(), None);
        assert_eq!(open(&Opener::Passphrase(Secret::new("x")), &sealed).unwrap(), None);
    }
}
