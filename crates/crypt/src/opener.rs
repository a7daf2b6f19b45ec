//! What opens what is encrypted: the passphrase, or private keys out of a file or typed by hand.

use age::secrecy::SecretString;
use age_core::format::{FileKey, Stanza};
use sys::Secret;

use crate::lock::text;
use crate::{Error, Note};

/// What is accepted of scrypt, as a power of two: four seconds and a gigabyte.
const MAX_WORK: u8 = 20;

/// A private key.
pub type Identity = Box<dyn age::Identity + Send + Sync>;

/// What opens a file.
pub enum Opener {
    /// Private keys; each is tried.
    Identities(Vec<Identity>),
    /// The passphrase.
    Passphrase(Secret),
}

impl Opener {
    /// Opens a file; `None` where this opener does not fit. `noted` gets the file's key.
    pub(crate) fn decrypt<R: std::io::Read>(
        &self,
        source: R,
        noted: &Note,
    ) -> Result<Option<age::stream::StreamReader<R>>, Error> {
        let decryptor = age::Decryptor::new(source).map_err(Error::of)?;
        let noting = |inner| Noting { inner, noted };
        let opened = match self {
            Self::Identities(all) => {
                let all: Vec<_> = all.iter().map(|one| noting(one.as_ref() as &dyn age::Identity)).collect();
                decryptor.decrypt(all.iter().map(|one| one as &dyn age::Identity))
            }
            Self::Passphrase(passphrase) => {
                let mut identity = age::scrypt::Identity::new(text(passphrase));
                identity.set_max_work_factor(MAX_WORK);
                let noting = noting(&identity as &dyn age::Identity);
                decryptor.decrypt(std::iter::once(&noting as &dyn age::Identity))
            }
        };
        match opened {
            Ok(reader) => Ok(Some(reader)),
            Err(error) if crate::is_misfit(&error) => Ok(None),
            Err(error) => Err(Error::of(error)),
        }
    }
}

/// An identity that takes note of the file's key.
struct Noting<'a> {
    inner: &'a dyn age::Identity,
    noted: &'a Note,
}

impl age::Identity for Noting<'_> {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, age::DecryptError>> {
        self.unwrap_stanzas(std::slice::from_ref(stanza))
    }

    fn unwrap_stanzas(&self, stanzas: &[Stanza]) -> Option<Result<FileKey, age::DecryptError>> {
        let found = self.inner.unwrap_stanzas(stanzas);
        if let Some(Ok(key)) = &found {
            crate::note(self.noted, key);
        }
        found
    }
}

/// A passphrase that was asked for before, handed to an encrypted ssh key.
#[derive(Clone)]
struct Known(SecretString);

impl age::Callbacks for Known {
    fn display_message(&self, _message: &str) {}
    fn confirm(&self, _message: &str, _yes: &str, _no: Option<&str>) -> Option<bool> {
        None
    }
    fn request_public_string(&self, _description: &str) -> Option<String> {
        None
    }
    fn request_passphrase(&self, _description: &str) -> Option<SecretString> {
        Some(self.0.clone())
    }
}

/// Private keys out of the text of a file, or typed by hand. `passphrase` is asked where an ssh key is encrypted.
///
/// # Errors
/// [`Error::Identity`], in the type of the caller; or what `passphrase` says.
pub fn identities<E: From<Error>>(
    content: &str,
    passphrase: &mut dyn FnMut() -> Result<Secret, E>,
) -> Result<Vec<Identity>, E> {
    let refused = |text: String| E::from(Error::Identity(text));
    if content.contains("PRIVATE KEY-----") {
        let found = age::ssh::Identity::from_buffer(content.as_bytes(), None)
            .map_err(|error| refused(format!("this ssh private key cannot be read: {error}")))?;
        let identity: Identity = match found {
            age::ssh::Identity::Unencrypted(key) => Box::new(age::ssh::Identity::from(key)),
            age::ssh::Identity::Encrypted(key) => {
                let known = Known(text(&passphrase()?));
                Box::new(age::ssh::Identity::from(key).with_callbacks(known))
            }
            age::ssh::Identity::Unsupported(_) => {
                return Err(refused(
                    "ssh private keys of this kind open nothing: it must be ed25519 or rsa".into(),
                ));
            }
        };
        return Ok(vec![identity]);
    }
    let mut all: Vec<Identity> = Vec::new();
    for line in content.lines().map(str::trim).filter(|line| line.starts_with("AGE-SECRET-KEY-")) {
        let identity: age::x25519::Identity = line
            .parse()
            .map_err(|error: &str| refused(format!("an age identity cannot be read: {error}")))?;
        all.push(Box::new(identity));
    }
    if all.is_empty() {
        return Err(refused("there is no age identity (AGE-SECRET-KEY-1…) and no ssh private key".into()));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_without_a_key_is_refused_with_a_reason() {
        let why = |text: &str| {
            let mut nobody = || -> Result<Secret, Error> { panic!("nobody should be asked") };
            identities(text, &mut nobody).err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert!(why("hello").contains("no age identity"));
        assert!(why("AGE-SECRET-KEY-1XYZ").contains("cannot be read"));
        assert!(why("-----BEGIN OPENSSH PRIVATE KEY-----\nx\n").contains("cannot be read"));
    }
}
