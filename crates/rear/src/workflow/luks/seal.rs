//! The encryption of saved LUKS headers, in the format of age (age-encryption.org/v1), so that `age -d` opens them too.
//! Bytes in, bytes out: it writes no file and asks nobody.

use std::io::{Read, Write};

use age::secrecy::SecretString;
use sys::Secret;

use crate::failure::{Failure, Result};

/// Work factor of scrypt as a power of two: half a second and 128 MiB of memory, which a small rescue system has.
const WORK: u8 = 17;
/// What is accepted when it is opened.
const MAX_WORK: u8 = 20;

/// One way to seal, and the end of the names of the parts that are sealed that way.
pub enum Lock {
    /// To public keys.
    Recipients(Vec<Box<dyn age::Recipient>>),
    /// With a passphrase.
    Passphrase(Secret),
}

/// What opens a seal.
pub enum Opener {
    /// Private keys.
    Identities(Vec<Box<dyn age::Identity>>),
    /// The passphrase.
    Passphrase(Secret),
}

fn text(secret: &Secret) -> SecretString {
    SecretString::from(secret.expose().to_owned())
}

/// The recipients that the configuration names; files are read by `read`.
pub fn recipients(
    named: &[String],
    read: &dyn Fn(&str) -> Result<String>,
) -> Result<Vec<Box<dyn age::Recipient>>> {
    let mut all = Vec::new();
    for name in named {
        if !name.starts_with('/') {
            all.push(recipient(name)?);
            continue;
        }
        let before = all.len();
        for line in read(name)?.lines().map(str::trim) {
            if !line.is_empty() && !line.starts_with('#') {
                all.push(recipient(line).map_err(|failure| failure.during(name))?);
            }
        }
        if all.len() == before {
            return Err(Failure::refused(format!("{name} names no recipient")));
        }
    }
    Ok(all)
}

fn recipient(text: &str) -> Result<Box<dyn age::Recipient>> {
    if let Ok(found) = text.parse::<age::x25519::Recipient>() {
        return Ok(Box::new(found));
    }
    match text.parse::<age::ssh::Recipient>() {
        Ok(found) => Ok(Box::new(found)),
        Err(_) => Err(Failure::refused(format!(
            "LUKS_HEADER_RECIPIENTS: '{}' is no age recipient and no ssh-ed25519 or ssh-rsa public key",
            text.chars().take(40).collect::<String>()
        ))),
    }
}

/// Encrypts.
pub fn seal(lock: &Lock, bytes: &[u8]) -> Result<Vec<u8>> {
    seal_with(lock, bytes, WORK)
}

fn seal_with(lock: &Lock, bytes: &[u8], work: u8) -> Result<Vec<u8>> {
    let fail =
        |error: &dyn std::fmt::Display| Failure::failed(format!("a LUKS header cannot be sealed: {error}"));
    let encryptor = match lock {
        Lock::Recipients(all) => {
            age::Encryptor::with_recipients(all.iter().map(|one| one.as_ref() as &dyn age::Recipient))
        }
        Lock::Passphrase(passphrase) => {
            let mut recipient = age::scrypt::Recipient::new(text(passphrase));
            recipient.set_work_factor(work);
            age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient))
        }
    }
    .map_err(|error| fail(&error))?;
    let mut sealed = Vec::with_capacity(bytes.len() + (bytes.len() >> 10) + 1024);
    let mut writer = encryptor.wrap_output(&mut sealed).map_err(|error| fail(&error))?;
    writer.write_all(bytes)?;
    writer.finish()?;
    Ok(sealed)
}

/// Decrypts; `None` where this opener does not fit.
pub fn open(opener: &Opener, sealed: &[u8]) -> Result<Option<Vec<u8>>> {
    use age::DecryptError;
    let decryptor = match age::Decryptor::new(sealed) {
        Ok(decryptor) => decryptor,
        Err(error) => return Err(Failure::refused(format!("a sealed LUKS header is damaged: {error}"))),
    };
    let reader = match opener {
        Opener::Identities(all) => {
            decryptor.decrypt(all.iter().map(|one| one.as_ref() as &dyn age::Identity))
        }
        Opener::Passphrase(passphrase) => {
            let mut identity = age::scrypt::Identity::new(text(passphrase));
            identity.set_max_work_factor(MAX_WORK);
            decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity))
        }
    };
    let mut reader = match reader {
        Ok(reader) => reader,
        Err(
            DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed | DecryptError::NoMatchingKeys,
        ) => return Ok(None),
        Err(error) => {
            return Err(Failure::refused(format!("a sealed LUKS header cannot be opened: {error}")));
        }
    };
    let mut bytes = Vec::with_capacity(sealed.len());
    reader
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::refused(format!("a sealed LUKS header is damaged: {error}")))?;
    Ok(Some(bytes))
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
pub fn identities(
    content: &str,
    passphrase: &mut dyn FnMut() -> Result<Secret>,
) -> Result<Vec<Box<dyn age::Identity>>> {
    if content.contains("PRIVATE KEY-----") {
        let found = age::ssh::Identity::from_buffer(content.as_bytes(), None)
            .map_err(|error| Failure::refused(format!("this ssh private key cannot be read: {error}")))?;
        let identity: Box<dyn age::Identity> = match found {
            age::ssh::Identity::Unencrypted(key) => Box::new(age::ssh::Identity::from(key)),
            age::ssh::Identity::Encrypted(key) => {
                let known = Known(text(&passphrase()?));
                Box::new(age::ssh::Identity::from(key).with_callbacks(known))
            }
            age::ssh::Identity::Unsupported(_) => {
                return Err(Failure::refused("ssh private keys of this kind cannot open the seal")
                    .hint("use the ed25519 or rsa key that belongs to LUKS_HEADER_RECIPIENTS"));
            }
        };
        return Ok(vec![identity]);
    }
    let mut all: Vec<Box<dyn age::Identity>> = Vec::new();
    for line in content.lines().map(str::trim).filter(|line| line.starts_with("AGE-SECRET-KEY-")) {
        let identity: age::x25519::Identity = line
            .parse()
            .map_err(|error: &str| Failure::refused(format!("an age identity cannot be read: {error}")))?;
        all.push(Box::new(identity));
    }
    if all.is_empty() {
        return Err(Failure::refused("there is no age identity (AGE-SECRET-KEY-1…) and no ssh private key"));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody() -> Result<Secret> {
        panic!("nobody should be asked")
    }

    #[test]
    fn a_passphrase_opens_what_it_sealed_and_nothing_else_does() {
        let lock = Lock::Passphrase(Secret::new("ab"));
        let header = vec![7_u8; 100_000];
        let sealed = seal_with(&lock, &header, 4).unwrap();
        assert!(sealed.starts_with(b"age-encryption.org/v1\n-> scrypt "));
        assert!(!sealed.windows(64).any(|window| window == [7; 64]));
        assert_eq!(open(&Opener::Passphrase(Secret::new("ab")), &sealed).unwrap(), Some(header));
        assert_eq!(open(&Opener::Passphrase(Secret::new("abc")), &sealed).unwrap(), None);
        let mut damaged = sealed.clone();
        damaged[50_000] ^= 1;
        let why = open(&Opener::Passphrase(Secret::new("ab")), &damaged).unwrap_err().message;
        assert!(why.contains("damaged"), "{why}");
        assert!(open(&Opener::Passphrase(Secret::new("ab")), &sealed[..60_000]).is_err());
    }

    #[test]
    fn every_recipient_can_open_alone() {
        let one = age::x25519::Identity::generate();
        let two = age::x25519::Identity::generate();
        let file = format!("# escrow\n\n{}\n", two.to_public());
        let read = |path: &str| {
            assert_eq!(path, "/etc/rear/keys");
            Ok(file.clone())
        };
        let named = [one.to_public().to_string(), "/etc/rear/keys".to_owned()];
        let lock = Lock::Recipients(recipients(&named, &read).unwrap());
        let sealed = seal(&lock, b"header").unwrap();
        for identity in [&one, &two] {
            use age::secrecy::ExposeSecret;
            let typed = format!("# created\n{}\n", identity.to_string().expose_secret());
            let opener = Opener::Identities(identities(&typed, &mut nobody).unwrap());
            assert_eq!(open(&opener, &sealed).unwrap().as_deref(), Some(b"header".as_slice()));
        }
        let other = Opener::Identities(vec![Box::new(age::x25519::Identity::generate())]);
        assert_eq!(open(&other, &sealed).unwrap(), None);
        assert_eq!(open(&Opener::Passphrase(Secret::new("x")), &sealed).unwrap(), None);
    }

    #[test]
    fn keys_that_are_none_are_refused_with_a_reason() {
        let read = |_: &str| Ok("# nobody\n".to_owned());
        let why = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            recipients(&names, &read).err().unwrap().message
        };
        assert!(why(&["age1notakey"]).contains("is no age recipient"));
        assert!(why(&["/etc/rear/keys"]).contains("names no recipient"));
        assert!(identities("hello", &mut nobody).err().unwrap().message.contains("no age identity"));
    }
}
