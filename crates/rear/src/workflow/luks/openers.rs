//! What opens the seals of saved LUKS headers: the passphrase or a private key, asked for once and then remembered. Writes
//! nothing.

use crypt::Opener;

use super::{PASSPHRASE, RECIPIENTS, Source};
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::keys::{self, TRIES, ask, in_advance};

/// Decrypts; `None` where this opener does not fit.
fn open(opener: &Opener, sealed: &[u8]) -> Result<Option<Vec<u8>>> {
    crypt::open(opener, sealed).map_err(|error| Failure::from(error).during("a saved LUKS header"))
}

/// What the operator gave to open seals, asked for once.
#[derive(Default)]
pub(super) struct Openers {
    passphrase: Option<Opener>,
    identity: Option<Opener>,
}

impl Openers {
    /// A sealed part of a container; `None` where the recovery point has none.
    pub(super) fn open(
        &mut self,
        context: &Context,
        source: Source<'_>,
        uuid: &str,
        name: fn(&str, &str) -> String,
    ) -> Result<Option<Vec<u8>>> {
        let has = |end: &str| {
            let name = name(uuid, end);
            source.seal.parts.iter().any(|part| part.name == name).then_some(name)
        };
        let (by_passphrase, by_key) = (has(PASSPHRASE), has(RECIPIENTS));
        for part in by_passphrase.iter().chain(&by_key) {
            let Some(key) = source.key else { break };
            if let Some(bytes) = open(key, &source.seal.read_part(source.dir, part)?)? {
                return Ok(Some(bytes));
            }
        }
        if let Some(part) = &by_passphrase {
            let sealed = source.seal.read_part(source.dir, part)?;
            // Where a private key opens it as well, nobody needs to know the passphrase.
            if let Some(bytes) = self.with_passphrase(context, &sealed, by_key.is_some())? {
                return Ok(Some(bytes));
            }
        }
        let Some(part) = &by_key else { return Ok(None) };
        let sealed = source.seal.read_part(source.dir, part)?;
        self.with_identity(context, &sealed).map(Some)
    }

    fn with_passphrase(
        &mut self,
        context: &Context,
        sealed: &[u8],
        optional: bool,
    ) -> Result<Option<Vec<u8>>> {
        const ID: &str = "LUKS_HEADER_PASSPHRASE";
        if let Some(opener) = &self.passphrase {
            return open(opener, sealed);
        }
        if optional && self.identity.is_some() {
            return Ok(None);
        }
        let refused = || {
            Failure::refused("the passphrase does not open the saved LUKS headers")
                .hint("no disk was written to; it is the LUKS_HEADER_PASSPHRASE of the time of the backup")
        };
        let given = in_advance(context, ID)?;
        let tries = if given.is_some() { 1 } else { TRIES };
        for _ in 0..tries {
            let passphrase = match &given {
                Some(passphrase) => passphrase.clone(),
                None if optional && !context.ui.is_interactive() => return Ok(None),
                None => {
                    let or = if optional { " (empty: use a private key)" } else { "" };
                    ask(context, ID, &format!("Passphrase of the saved LUKS headers{or}:"))?
                }
            };
            if passphrase.is_empty() && optional {
                return Ok(None);
            }
            let opener = Opener::Passphrase(passphrase);
            if let Some(bytes) = open(&opener, sealed)? {
                self.passphrase = Some(opener);
                return Ok(Some(bytes));
            }
            context.ui.say("This passphrase does not open the saved headers.");
        }
        Err(refused())
    }

    fn with_identity(&mut self, context: &Context, sealed: &[u8]) -> Result<Vec<u8>> {
        const ID: &str = "LUKS_HEADER_IDENTITY";
        let refused = || {
            Failure::refused("the private key does not open the saved LUKS headers")
                .hint("no disk was written to; it must belong to one of the LUKS_HEADER_RECIPIENTS")
        };
        if let Some(opener) = &self.identity {
            return open(opener, sealed)?.ok_or_else(refused);
        }
        let question = "Private key of the saved LUKS headers (path of an age identity or ssh key, or AGE-SECRET-KEY-1…):";
        let given = in_advance(context, ID)?;
        let tries = if given.is_some() { 1 } else { TRIES };
        for _ in 0..tries {
            let answer = match &given {
                Some(content) => content.clone(),
                None => ask(context, ID, question)?,
            };
            let opener = keys::typed(context, &answer, "LUKS_HEADER_IDENTITY_PASSPHRASE");
            let result = opener.and_then(|opener| {
                let bytes = open(&opener, sealed)?.ok_or_else(refused)?;
                Ok((opener, bytes))
            });
            match result {
                Ok((opener, bytes)) => {
                    self.identity = Some(opener);
                    return Ok(bytes);
                }
                Err(failure) if given.is_some() || context.cancel.is_raised() => return Err(failure),
                Err(failure) => context.ui.say(failure.message),
            }
        }
        Err(refused())
    }
}
