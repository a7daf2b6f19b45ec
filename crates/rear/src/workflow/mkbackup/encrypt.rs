//! The encryption of the archive: what the configuration asks for, tried out before any work, and tried again on what was
//! written. It knows public keys and, where it is so configured, the passphrase; neither goes anywhere but into the header of
//! the encrypted files.

use std::path::Path;

use backup::{ManifestReader, Stored};
use crypt::{FileKey, Lock, Opener};

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::keys;
use crate::point::{self, Archive, Encryption};
use crate::unlock;
use crate::workflow::preflight::Refusals;

/// How an archive is encrypted.
pub struct Encrypt {
    /// To whom, or with what.
    pub lock: Lock,
    /// What the seal says of it.
    pub kind: Encryption,
    /// What must open it, where this machine has that.
    openers: Vec<Opener>,
}

impl Encrypt {
    /// As the configuration asks for; `None` where it does not.
    pub fn configured(context: &Context) -> Result<Option<Self>> {
        const RECIPIENTS: &str = "BACKUP_ENCRYPT_RECIPIENTS";
        let settings = context.settings();
        let (lock, kind) = match (&settings.backup_encrypt_passphrase, &settings.backup_encrypt_recipients) {
            (Some(passphrase), _) => (Lock::Passphrase(passphrase.clone()), Encryption::Passphrase),
            (None, named) if named.is_empty() => return Ok(None),
            (None, named) => {
                let recipients = keys::recipients(context, RECIPIENTS, named)?;
                (Lock::Recipients(recipients), Encryption::Recipients)
            }
        };
        Ok(Some(Self { lock, kind, openers: unlock::configured(context)? }))
    }

    /// Encrypts a few bytes and opens them again, as far as this machine can.
    fn probe(&self) -> Result<()> {
        const PROBE: &[u8] = b"rear";
        let sealed = crypt::seal(&self.lock, PROBE)?;
        for opener in &self.openers {
            if crypt::open(opener, &sealed)?.as_deref() != Some(PROBE) {
                return Err(self.misfit());
            }
        }
        Ok(())
    }

    fn misfit(&self) -> Failure {
        Failure::refused(match self.kind {
            Encryption::Passphrase => "what is encrypted with the passphrase does not open with it",
            Encryption::Recipients => {
                "BACKUP_ENCRYPT_IDENTITY is the private key of none of the BACKUP_ENCRYPT_RECIPIENTS"
            }
        })
    }

    /// Opens what was written, from the disk: with the keys of the files themselves, which are still in memory, and with all
    /// that must open it. What lies between beginning and end is read back with the seal.
    pub fn try_out(
        &self,
        context: &Context,
        dir: &Path,
        facts: &Archive,
        keys: &(FileKey, FileKey),
    ) -> Result<()> {
        let stage = context.ui.stage("encrypted");
        let failed = |error: backup::Error| {
            Failure::failed(format!("what was encrypted does not open again: {error}"))
                .hint("no recovery point was made; what was there before is unchanged")
        };
        let open = |name: &str| Stored::open(&dir.join(name)).map_err(failed);
        let volumes = facts.file_names().iter().map(|name| open(name)).collect::<Result<Vec<_>>>()?;
        let archive = Stored::joined(dir.join(&facts.name), &volumes);
        let manifest = open(point::ENCRYPTED_MANIFEST)?;
        for (stored, key) in [(&archive, &keys.0), (&manifest, &keys.1)] {
            stored.forget_cached();
            let plain = stored.decrypted_with(key).map_err(failed)?;
            for opener in &self.openers {
                if stored.decrypted(opener).map_err(failed)?.is_none() {
                    return Err(self.misfit());
                }
            }
            if std::ptr::eq(stored, &archive) {
                backup::verify_index(&plain, facts.bytes, &facts.blake3).map_err(failed)?;
            } else {
                ManifestReader::of(&plain).map_err(failed)?;
            }
        }
        stage.done(match (self.kind, self.openers.is_empty()) {
            (Encryption::Passphrase, _) => "archive and list of files open with the passphrase",
            (Encryption::Recipients, false) => "archive and list of files open with BACKUP_ENCRYPT_IDENTITY",
            (Encryption::Recipients, true) => {
                "archive and list of files were opened with their own keys; no private key is here to try"
            }
        });
        Ok(())
    }
}

/// Refuses, before any work, what could not be encrypted, or not be opened at a recovery.
pub fn check(context: &Context, refusals: &mut Refusals) {
    let Some(Some(encrypt)) = refusals.take(Encrypt::configured(context)) else { return };
    refusals.take(encrypt.probe());
    if !context.settings().blockclone_source_dev.is_empty() {
        refusals.add(
            "BLOCKCLONE_SOURCE_DEV saves partitions as they are, beside the archive: they would not be encrypted. Leave it out, \
             or do not encrypt",
        );
    }
    if context.settings().iso_recover_unattended {
        refusals.add(
            "ISO_RECOVER_MODE=unattended cannot recover an encrypted backup: its key is never on the medium, and nobody would \
             be asked for it",
        );
    }
    if context.settings().backup_encrypt_identity.is_some() {
        context.ui.warn(
            "BACKUP_ENCRYPT_IDENTITY names a private key on this machine, with which every backup is read: take it away again \
             after a trial",
        );
    }
}

/// What must be at hand at a recovery; `None` where nothing is encrypted.
pub fn sentence(context: &Context) -> Option<String> {
    let settings = context.settings();
    if settings.backup_encrypt_passphrase.is_some() {
        return Some(
            "It is encrypted with BACKUP_ENCRYPT_PASSPHRASE: a recovery asks for it, and without it nothing comes back."
                .to_owned(),
        );
    }
    let named = &settings.backup_encrypt_recipients;
    if named.is_empty() {
        return None;
    }
    Some(format!(
        "It is encrypted to {}: a recovery asks for one of their private keys, and without one nothing comes back.",
        named.iter().map(|name| short(name)).collect::<Vec<_>>().join(", ")
    ))
}

/// A public key so that its owner knows it.
fn short(recipient: &str) -> String {
    let mut words = recipient.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(kind), Some(_), Some(comment)) => format!("{kind} {comment}"),
        (Some(one), None, None) if one.starts_with('/') => one.to_owned(),
        _ => format!("{}…", recipient.chars().take(20).collect::<String>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients_are_told_by_what_their_owners_know() {
        assert_eq!(short("ssh-ed25519 AAAAC3Nza admin@site"), "ssh-ed25519 admin@site");
        assert_eq!(short("/etc/rear/keys"), "/etc/rear/keys");
        assert_eq!(
            short("age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"),
            "age1ql3z7hjy54pw3hyw…"
        );
    }
}
