//! Who may open what is encrypted: public keys, or whoever knows a passphrase.

use std::collections::HashSet;

use age::secrecy::SecretString;
use age_core::format::{FileKey, Stanza};
use sys::Secret;

use crate::{Error, Note};

/// Work factor of scrypt as a power of two: half a second and 128 MiB of memory, which a small rescue system has.
const WORK: u8 = 17;

/// A public key.
pub type Recipient = Box<dyn age::Recipient + Send + Sync>;

/// One way to encrypt.
pub enum Lock {
    /// To public keys: each of the private ones opens it alone.
    Recipients(Vec<Recipient>),
    /// With a passphrase.
    Passphrase(Secret),
}

/// The public key that a text is: `age1…`, `ssh-ed25519 …` or `ssh-rsa …`.
///
/// # Errors
/// [`Error::Recipient`].
pub fn recipient(text: &str) -> Result<Recipient, Error> {
    if let Ok(found) = text.parse::<age::x25519::Recipient>() {
        return Ok(Box::new(found));
    }
    match text.parse::<age::ssh::Recipient>() {
        Ok(found) => Ok(Box::new(found)),
        Err(_) => Err(Error::Recipient(text.chars().take(40).collect())),
    }
}

pub(crate) fn text(secret: &Secret) -> SecretString {
    SecretString::from(secret.expose().to_owned())
}

impl Lock {
    /// Begins a file; `noted` gets its key.
    pub(crate) fn encryptor(&self, noted: &Note) -> Result<age::Encryptor, Error> {
        self.encryptor_with(noted, WORK)
    }

    /// The same with another work factor of scrypt: tests do not have the time.
    pub(crate) fn encryptor_with(&self, noted: &Note, work: u8) -> Result<age::Encryptor, Error> {
        let noting = |inner| Noting { inner, noted };
        let made = match self {
            Self::Recipients(all) => {
                let all: Vec<_> = all.iter().map(|one| noting(one.as_ref() as &dyn age::Recipient)).collect();
                age::Encryptor::with_recipients(all.iter().map(|one| one as &dyn age::Recipient))
            }
            Self::Passphrase(passphrase) => {
                let mut recipient = age::scrypt::Recipient::new(text(passphrase));
                recipient.set_work_factor(work);
                let noting = noting(&recipient as &dyn age::Recipient);
                age::Encryptor::with_recipients(std::iter::once(&noting as &dyn age::Recipient))
            }
        };
        made.map_err(|error| Error::Seal(error.to_string()))
    }
}

/// A recipient that takes note of the file's key.
struct Noting<'a> {
    inner: &'a dyn age::Recipient,
    noted: &'a Note,
}

impl age::Recipient for Noting<'_> {
    fn wrap_file_key(&self, key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), age::EncryptError> {
        crate::note(self.noted, key);
        self.inner.wrap_file_key(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_public_key_is_named_but_not_at_length() {
        let why = |text: &str| recipient(text).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(why("age1notakey").contains("'age1notakey' is no age recipient"));
        assert!(why(&"x".repeat(4000)).len() < 200);
        assert_eq!(why(&age::x25519::Identity::generate().to_public().to_string()), "");
    }
}
