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
    use age::secrecy::ExposeSecret;
    use backup::{Encrypted, Volumes};

    fn context(change: impl Fn(&mut config::Settings)) -> Context {
        let mut config = config::defaults("web1");
        change(&mut config.settings);
        Context::of_test(config)
    }

    /// A private key in a file, and its public one.
    fn key(dir: &Path, name: &str) -> (std::path::PathBuf, String) {
        let identity = age::x25519::Identity::generate();
        let path = dir.join(name);
        std::fs::write(&path, identity.to_string().expose_secret()).unwrap();
        (path, identity.to_public().to_string())
    }

    fn refusal(context: &Context) -> Option<String> {
        let mut refusals = Refusals::default();
        check(context, &mut refusals);
        refusals.verdict().err().map(|failure| failure.message)
    }

    #[test]
    fn what_could_not_be_encrypted_or_opened_is_refused_before_any_work() {
        let dir = tempfile::tempdir().unwrap();
        let ((path, public), (other, _)) = (key(dir.path(), "key"), key(dir.path(), "other"));
        assert_eq!(refusal(&context(|_| ())), None);
        let with = |identity: Option<&Path>, unattended: bool| {
            refusal(&context(|settings| {
                settings.backup_encrypt_recipients = vec![public.clone()];
                settings.backup_encrypt_identity = identity.map(Path::to_owned);
                settings.iso_recover_unattended = unattended;
            }))
        };
        assert_eq!(with(None, false), None);
        assert_eq!(with(Some(&path), false), None);
        assert!(with(Some(&other), false).unwrap().contains("private key of none"));
        assert!(with(Some(&dir.path().join("no")), false).unwrap().contains("BACKUP_ENCRYPT_IDENTITY"));
        assert!(with(None, true).unwrap().contains("unattended cannot recover an encrypted backup"));
        let bad = context(|settings| settings.backup_encrypt_recipients = vec!["age1x".into()]);
        assert!(refusal(&bad).unwrap().contains("BACKUP_ENCRYPT_RECIPIENTS: 'age1x' is no age recipient"));
        let passphrase =
            context(|settings| settings.backup_encrypt_passphrase = Some(sys::Secret::new("geheim")));
        assert_eq!(refusal(&passphrase), None);
        assert!(sentence(&passphrase).is_some_and(|text| !text.contains("geheim")));
        assert_eq!(sentence(&context(|_| ())), None);
    }

    #[test]
    fn what_was_written_is_opened_again_and_damage_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let ((path, public), (other, _)) = (key(dir.path(), "key"), key(dir.path(), "other"));
        let tree = dir.path().join("tree");
        std::fs::create_dir(&tree).unwrap();
        std::fs::write(tree.join("file"), vec![7; 300_000]).unwrap();
        let context = context(|settings| {
            settings.backup_encrypt_recipients = vec![public.clone()];
            settings.backup_encrypt_identity = Some(path.clone());
        });
        let mut encrypt = Encrypt::configured(&context).unwrap().unwrap();
        let file = |name: &str| Volumes::one(std::fs::File::create(dir.path().join(name)).unwrap());
        let (mut volumes, mut list) = (file("archive.tar.age"), file(point::ENCRYPTED_MANIFEST));
        let mut archive = Encrypted::begin(&encrypt.lock, &mut volumes).unwrap();
        let mut manifest = Encrypted::begin(&encrypt.lock, &mut list).unwrap();
        let source = backup::Source::whole(&tree);
        let options = backup::Options { codec: backup::Codec::None, ..context.archive_options() };
        let made = backup::create_into(&source, &mut archive, &mut manifest, &options, &()).unwrap();
        let keys = (archive.key().clone(), manifest.key().clone());
        let facts = Archive {
            name: "archive.tar.age".into(),
            volumes: 0,
            encryption: Some(encrypt.kind),
            bytes: made.archive_bytes,
            blake3: keys.0.digest(&made.archive_blake3),
            files: made.files,
            data_bytes: made.data_bytes,
        };
        encrypt.try_out(&context, dir.path(), &facts, &keys).unwrap();
        let identity = std::fs::read_to_string(&other).unwrap().parse::<age::x25519::Identity>().unwrap();
        encrypt.openers.push(Opener::Identities(vec![Box::new(identity)]));
        let failure = encrypt.try_out(&context, dir.path(), &facts, &keys).unwrap_err();
        assert!(failure.message.contains("private key of none"), "{failure}");
        encrypt.openers.clear();
        for name in ["archive.tar.age", point::ENCRYPTED_MANIFEST] {
            let path = dir.path().join(name);
            let good = std::fs::read(&path).unwrap();
            let mut bad = good.clone();
            let last = bad.len() - 1;
            bad[last] ^= 1;
            std::fs::write(&path, bad).unwrap();
            let failure = encrypt.try_out(&context, dir.path(), &facts, &keys).unwrap_err();
            assert!(failure.message.contains("does not open again"), "{failure}");
            std::fs::write(&path, good).unwrap();
        }
        encrypt.try_out(&context, dir.path(), &facts, &keys).unwrap();
    }

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
