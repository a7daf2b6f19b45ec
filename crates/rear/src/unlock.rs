//! Opens what of a recovery point is encrypted, archive and manifest: with keys that were given, that this machine's
//! configuration has, or that a person is asked for. A key counts only when it has opened something. It writes nothing, and no
//! plain text to any disk.

use backup::Stored;
use crypt::Opener;
use sys::Secret;

use crate::cli::Keys;
use crate::context::{Context, is_rescue_system};
use crate::failure::{Failure, Result};
use crate::keys::{self, TRIES, ask, in_advance};
use crate::point::{Encryption, Place, Seal};
use crate::workflow::list::readable;
use crate::workflow::mkbackup::utc;

/// The questions, which are named like the settings.
const PASSPHRASE: &str = "BACKUP_ENCRYPT_PASSPHRASE";
const IDENTITY: &str = "BACKUP_ENCRYPT_IDENTITY";
const IDENTITY_PASSPHRASE: &str = "BACKUP_ENCRYPT_IDENTITY_PASSPHRASE";

/// Archive and manifest of a recovery point, open.
#[derive(Clone, Debug)]
pub struct Files {
    /// The archive.
    pub archive: Stored,
    /// The list of the files in it.
    pub manifest: Stored,
}

/// What was given to open recovery points, asked for once.
pub struct Unlocker<'c> {
    context: &'c Context,
    /// What has opened something comes first.
    known: Vec<Opener>,
    /// Whether the command line named keys: then nobody is asked for others.
    given: bool,
    /// Whether the keys of the configuration are among the known.
    configured: bool,
}

impl<'c> Unlocker<'c> {
    /// With the keys of the command line.
    pub fn new(context: &'c Context, given: &Keys) -> Result<Self> {
        let mut known = Vec::new();
        for path in &given.identity {
            let during = |failure: Failure| failure.during(&format!("--identity {}", path.display()));
            let content = keys::of_file(context, path).map_err(during)?;
            known.push(keys::identities(context, &content, IDENTITY_PASSPHRASE).map_err(during)?);
        }
        if let Some(path) = &given.passphrase_file {
            let during = |failure: Failure| failure.during(&format!("--passphrase-file {}", path.display()));
            let passphrase = keys::of_file(context, path).map_err(during)?;
            if passphrase.is_empty() {
                return Err(during(Failure::refused("it is empty")));
            }
            known.push(Opener::Passphrase(passphrase));
        }
        let given = !known.is_empty();
        Ok(Self { context, known, given, configured: false })
    }

    /// What has opened a recovery point; none where nothing was encrypted.
    pub fn into_key(self) -> Option<Opener> {
        self.known.into_iter().next()
    }

    /// Both files of a recovery point, whatever protects them. What is encrypted has been opened, with its beginning and its
    /// end, when this returns.
    pub fn files(&mut self, place: &Place, seal: &Seal) -> Result<Files> {
        let manifest = self.manifest(place, seal)?;
        Ok(Files { manifest, archive: self.archive(place, seal)? })
    }

    /// The manifest, which the caller has compared with the seal: a key that does not open it is a wrong one.
    pub fn manifest(&mut self, place: &Place, seal: &Seal) -> Result<Stored> {
        self.open(seal, place.stored(seal.manifest_name())?)
    }

    /// The archive; best after the manifest, which finds the key.
    pub fn archive(&mut self, place: &Place, seal: &Seal) -> Result<Stored> {
        let stored = seal.archive_in(place)?;
        if seal.encryption().is_none() || self.known.is_empty() {
            return self.open(seal, stored);
        }
        for opener in &self.known {
            if let Some(plain) = stored.decrypted(opener)? {
                return Ok(plain);
            }
        }
        Err(Failure::refused(format!(
            "{} cannot be opened with the key that opens the rest: its beginning is damaged, or it is the archive of \
             another backup",
            stored.path().display()
        ))
        .hint("nothing was written; use another copy of the recovery point"))
    }

    /// Opens a file of a recovery point, if it is encrypted.
    pub fn open(&mut self, seal: &Seal, stored: Stored) -> Result<Stored> {
        let Some(encryption) = seal.encryption() else { return Ok(stored) };
        if !self.given && !self.configured {
            self.configured = true;
            self.known.extend(configured(self.context)?);
        }
        for at in 0..self.known.len() {
            if let Some(plain) = stored.decrypted(&self.known[at])? {
                self.known[..=at].rotate_right(1);
                return Ok(plain);
            }
        }
        let what = format!("the backup of {} of {}", readable(seal.hostname.as_bytes()), utc(seal.created));
        if self.given {
            return Err(wrong(&format!("none of the given keys opens {what}"), encryption));
        }
        self.ask(encryption, &what, &stored)
    }

    fn ask(&mut self, encryption: Encryption, what: &str, stored: &Stored) -> Result<Stored> {
        let (id, question, refusal) = match encryption {
            Encryption::Passphrase => {
                (PASSPHRASE, format!("Passphrase of {what}:"), format!("the passphrase does not open {what}"))
            }
            Encryption::Recipients => (
                IDENTITY,
                format!("Private key of {what} (path of an age identity or ssh key, or AGE-SECRET-KEY-1…):"),
                format!("the private key does not open {what}"),
            ),
        };
        let advance = in_advance(self.context, id)?;
        if advance.is_none() && !self.context.ui.is_interactive() {
            let failure =
                Failure::refused(format!("{what} is encrypted {}, and no key was given", who(encryption)));
            return Err(failure.hint(hint(encryption, id)));
        }
        let tries = if advance.is_some() { 1 } else { TRIES };
        for _ in 0..tries {
            let secret = match &advance {
                Some(secret) => secret.clone(),
                None => ask(self.context, id, &question)?,
            };
            let opener = match encryption {
                Encryption::Passphrase => Ok(Opener::Passphrase(secret)),
                Encryption::Recipients => keys::typed(self.context, &secret, IDENTITY_PASSPHRASE),
            };
            let opener = match opener {
                Ok(opener) => opener,
                Err(failure) if advance.is_some() || self.context.cancel.is_raised() => return Err(failure),
                Err(failure) => {
                    self.context.ui.say(failure.message);
                    continue;
                }
            };
            if let Some(plain) = stored.decrypted(&opener)? {
                self.known.insert(0, opener);
                return Ok(plain);
            }
            if advance.is_none() {
                self.context.ui.say(match encryption {
                    Encryption::Passphrase => "This passphrase does not open it.",
                    Encryption::Recipients => "This key does not open it.",
                });
            }
        }
        Err(wrong(&refusal, encryption))
    }
}

/// The keys that this machine's own configuration has.
pub fn configured(context: &Context) -> Result<Vec<Opener>> {
    let settings = context.settings();
    let mut known = Vec::new();
    if let Some(passphrase) = &settings.backup_encrypt_passphrase {
        known.push(Opener::Passphrase(passphrase.clone()));
    }
    if let Some(path) = &settings.backup_encrypt_identity {
        let during = |failure: Failure| failure.during(IDENTITY);
        let content = keys::of_file(context, path).map_err(during)?;
        let mut protected = || -> Result<Secret> {
            Err(Failure::refused(format!("{} is protected by a passphrase", path.display()))
                .hint("take an age identity, or leave the setting out and use --identity"))
        };
        let identities = crypt::identities(content.expose(), &mut protected).map_err(during)?;
        known.push(Opener::Identities(identities));
    }
    Ok(known)
}

fn who(encryption: Encryption) -> &'static str {
    match encryption {
        Encryption::Passphrase => "with a passphrase",
        Encryption::Recipients => "to public keys",
    }
}

fn wrong(text: &str, encryption: Encryption) -> Failure {
    let needed = match encryption {
        Encryption::Passphrase => "it is the BACKUP_ENCRYPT_PASSPHRASE of the time of the backup",
        Encryption::Recipients => {
            "it must be the private key of one of the BACKUP_ENCRYPT_RECIPIENTS of the time of the backup"
        }
    };
    Failure::refused(text).hint(format!("{}; {needed}", untouched()))
}

fn hint(encryption: Encryption, id: &str) -> String {
    let option = match encryption {
        Encryption::Passphrase => "--passphrase-file FILE",
        Encryption::Recipients => "--identity FILE",
    };
    let or = match is_rescue_system() {
        true => format!(", or with --answer {id}=file:/PATH"),
        false => String::new(),
    };
    format!("{}; run rear on a terminal, or with {option}{or}", untouched())
}

fn untouched() -> &'static str {
    if is_rescue_system() { "no disk was written to" } else { "nothing was written" }
}
