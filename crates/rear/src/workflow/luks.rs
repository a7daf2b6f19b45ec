//! LUKS containers over both halves of the work: their headers are sealed into the recovery point, and at recovery all
//! that opens them is collected, and tried, before anything is written to a disk.
//!
//! A header never leaves memory unencrypted, but for the moment in which `cryptsetup` reads it from a file below `/run`.

use std::collections::BTreeMap;
use std::path::Path;

use apply::HeaderFile;
use config::Settings;
use crypt::{Lock, Opener};
use layout::{Bytes, Content, Kind, Layout, Luks};
use sys::{Cmd, Secret, Sys};

use super::preflight::Refusals;
use super::recover::Opened;
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::keys::{self, TRIES, ask, in_advance};
use crate::point::Seal;
use openers::Openers;

mod crypttab;
mod openers;

/// The containers of a layout, with the paths of their devices and the names of their open sides.
fn containers(layout: &Layout) -> impl Iterator<Item = (&Luks, &str, Vec<&str>)> {
    // What comes back block by block brings its own header.
    let made = layout.devices.iter().filter(|device| !layout.cloned.contains(&device.id));
    made.filter_map(move |device| {
        let Content::Luks(luks) = &device.content else { return None };
        let names = layout.children(&device.id).into_iter().filter_map(|child| match &child.kind {
            Kind::LuksMapping(mapping) => Some(mapping.name.as_str()),
            _ => None,
        });
        Some((luks, device.path.as_str(), names.collect()))
    })
}

/// What encrypts the headers: their own settings, else what encrypts the backup, which holds no less.
struct Sealing<'a> {
    setting: &'static str,
    recipients: &'a [String],
    passphrase: Option<&'a Secret>,
}

impl<'a> Sealing<'a> {
    fn of(settings: &'a Settings) -> Self {
        if !settings.luks_header_recipients.is_empty() || settings.luks_header_passphrase.is_some() {
            return Self {
                setting: "LUKS_HEADER_RECIPIENTS",
                recipients: &settings.luks_header_recipients,
                passphrase: settings.luks_header_passphrase.as_ref(),
            };
        }
        Self {
            setting: "BACKUP_ENCRYPT_RECIPIENTS",
            recipients: &settings.backup_encrypt_recipients,
            passphrase: settings.backup_encrypt_passphrase.as_ref(),
        }
    }

    fn is_wanted(&self) -> bool {
        !self.recipients.is_empty() || self.passphrase.is_some()
    }
}

/// Says of each container whether its header goes into the recovery point.
pub fn mark(layout: &mut Layout, settings: &Settings) {
    let wanted = Sealing::of(settings).is_wanted();
    for device in &mut layout.devices {
        if let Content::Luks(luks) = &mut device.content {
            // The integrity tags of the whole device depend on the key and are made by luksFormat only.
            luks.sealed = wanted && luks.integrity.is_empty();
        }
    }
}

/// Refuses what could not be sealed, and says what will not come back.
pub fn check(context: &Context, wanted: &Layout, refusals: &mut Refusals) {
    if containers(wanted).next().is_some() {
        refusals.take(locks(context));
    }
    for (luks, path, _) in containers(wanted).filter(|(luks, ..)| !luks.sealed) {
        let why = match luks.integrity.as_str() {
            "" => {
                "set LUKS_HEADER_RECIPIENTS or LUKS_HEADER_PASSPHRASE (or encrypt the backup) to keep all its keys"
            }
            _ => "its integrity protection allows nothing else",
        };
        context.ui.warn(format!(
            "the LUKS container on {path} will be recreated with a new passphrase, which recovery asks for: its old \
             passphrases, key files and tokens will not open it any more ({why})"
        ));
    }
}

/// What the configuration seals with, each with the end of the names of its parts.
fn locks(context: &Context) -> Result<Vec<(&'static str, Lock)>> {
    let sealing = Sealing::of(context.settings());
    let mut locks = Vec::new();
    if !sealing.recipients.is_empty() {
        let recipients = keys::recipients(context, sealing.setting, sealing.recipients)?;
        locks.push((RECIPIENTS, Lock::Recipients(recipients)));
    }
    if let Some(passphrase) = sealing.passphrase {
        locks.push((PASSPHRASE, Lock::Passphrase(passphrase.clone())));
    }
    Ok(locks)
}

/// End of the name of a part that is sealed to recipients.
const RECIPIENTS: &str = "age";
/// End of the name of a part that is sealed with the passphrase.
const PASSPHRASE: &str = "passphrase.age";

fn header_part(uuid: &str, end: &str) -> String {
    format!("luks-{uuid}.{end}")
}

fn key_part(uuid: &str, end: &str) -> String {
    format!("luks-{uuid}.key.{end}")
}

/// The sealed headers of all containers that are marked, and the key files that crypttab names for them: names and
/// contents of parts of the recovery point. What a passphrase sealed is opened again and compared.
pub fn sealed_parts(context: &Context, wanted: &Layout) -> Result<Vec<(String, Vec<u8>)>> {
    let mut parts = Vec::new();
    let marked: Vec<_> = containers(wanted).filter(|(luks, ..)| luks.sealed).collect();
    if marked.is_empty() {
        return Ok(parts);
    }
    let stage = context.ui.stage("luks");
    let locks = locks(context)?;
    let crypttab = crypttab::read(&context.sys)?;
    let (mut keys, count) = (0, marked.len());
    for (luks, path, names) in marked {
        stage.note(path);
        let size = usize::try_from(luks.header_size.0).unwrap_or(usize::MAX);
        let header = context.sys.read_at(Path::new(path), 0, size)?;
        if header.len() != size || !header.starts_with(b"LUKS\xBA\xBE") {
            return Err(Failure::failed(format!("the LUKS header on {path} changed while it was read"))
                .hint("nothing was replaced; run rear again when nothing works on the container"));
        }
        let key = match crypttab::key(&context.sys, &crypttab, &luks.uuid, &names)? {
            Some(key) if fits(context, Path::new(path), &key)? => Some(key),
            _ => None,
        };
        keys += usize::from(key.is_some());
        for (end, lock) in &locks {
            parts.push((header_part(&luks.uuid, end), proven(lock, &header)?));
            if let Some(key) = &key {
                parts.push((key_part(&luks.uuid, end), proven(lock, key.expose_bytes())?));
            }
        }
    }
    let bytes: u64 = parts.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    stage.done(format!("{count} header(s) and {keys} key file(s) sealed, {}", Bytes(bytes)));
    Ok(parts)
}

fn proven(lock: &Lock, bytes: &[u8]) -> Result<Vec<u8>> {
    let during = |error: crypt::Error| Failure::from(error).during("a saved LUKS header");
    let sealed = crypt::seal(lock, bytes).map_err(during)?;
    if let Lock::Passphrase(passphrase) = lock
        && crypt::open(&Opener::Passphrase(passphrase.clone()), &sealed).map_err(during)?.as_deref()
            != Some(bytes)
    {
        return Err(Failure::failed("a sealed LUKS header does not open again with its passphrase"));
    }
    Ok(sealed)
}

/// Whether a key opens the container on a device, or the one whose header is in a file.
fn fits(context: &Context, device: &Path, key: &Secret) -> Result<bool> {
    let args = ["open", "--batch-mode", "--type", "luks", "--test-passphrase", "--key-file=-"];
    let cmd = Cmd::new("cryptsetup").args(args).arg(device.to_string_lossy()).secret(key);
    match context.sys.run(&cmd) {
        Ok(_) => Ok(true),
        // cryptsetup(8): 2 no permission (bad passphrase); 1 wrong parameters, such as an empty key.
        Err(sys::Error::Failed { code: Some(1 | 2), .. }) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// What opens every container of a recovery point.
#[derive(Default)]
pub struct Unlocked {
    headers: BTreeMap<String, Vec<u8>>,
    keys: BTreeMap<String, Secret>,
}

impl apply::Keys for Unlocked {
    fn header(&self, uuid: &str) -> Option<&[u8]> {
        self.headers.get(uuid).map(Vec::as_slice)
    }

    fn key(&self, uuid: &str) -> Option<&Secret> {
        self.keys.get(uuid)
    }
}

/// The parts of a recovery point that are looked at here.
#[derive(Clone, Copy)]
struct Source<'a> {
    layout: &'a Layout,
    seal: &'a Seal,
    dir: &'a Path,
    /// What has opened the backup: often it opens the headers too.
    key: Option<&'a Opener>,
}

/// Opens the sealed headers and collects a key for every container. Writes to no disk; a key of a saved header has
/// opened that header when this returns.
pub fn unlock(context: &Context, opened: &Opened) -> Result<Unlocked> {
    let key = opened.key.as_ref();
    unlock_from(context, Source { layout: &opened.layout, seal: &opened.seal, dir: &opened.dir, key })
}

fn unlock_from(context: &Context, source: Source<'_>) -> Result<Unlocked> {
    let mut unlocked = Unlocked::default();
    let all: Vec<_> = containers(source.layout).collect();
    if all.is_empty() {
        return Ok(unlocked);
    }
    let mut openers = Openers::default();
    let mut known: Vec<Secret> = Vec::new();
    for (luks, path, names) in &all {
        let what = format!("the LUKS container {} ({path}, UUID {})", names.join(", "), luks.uuid);
        if !luks.sealed {
            let key = new_passphrase(context, &luks.uuid, &what)?;
            unlocked.keys.insert(luks.uuid.clone(), key);
            continue;
        }
        let header = openers.open(context, source, &luks.uuid, header_part)?.ok_or_else(|| {
            Failure::refused(format!("the recovery point lacks the saved header of {what}"))
                .hint("no disk was written to; use another recovery point")
        })?;
        let file = HeaderFile::write(&luks.uuid, &header)?;
        let mut key = None;
        // The old machine's key file first, then what the operator has said already: often it is one passphrase for all.
        let saved = openers.open(context, source, &luks.uuid, key_part)?.map(Secret::of_bytes);
        for candidate in saved.iter().chain(&known) {
            if fits(context, file.path(), candidate)? {
                key = Some(candidate.clone());
                break;
            }
        }
        let key = match key {
            Some(key) => key,
            None => old_passphrase(context, &luks.uuid, &what, &file)?,
        };
        known.push(key.clone());
        unlocked.keys.insert(luks.uuid.clone(), key);
        unlocked.headers.insert(luks.uuid.clone(), header);
    }
    context.ui.say(format!("{} LUKS container(s) can be opened.", all.len()));
    Ok(unlocked)
}

fn old_passphrase(context: &Context, uuid: &str, what: &str, file: &HeaderFile) -> Result<Secret> {
    let id = format!("LUKS_PASSPHRASE_{uuid}");
    let refused = || {
        Failure::refused(format!("nothing that was given opens {what}")).hint(
            "no disk was written to; run rear recover again with a passphrase or key of the old machine",
        )
    };
    if let Some(key) = in_advance(context, &id)?.or(in_advance(context, "LUKS_PASSPHRASE")?) {
        return if fits(context, file.path(), &key)? { Ok(key) } else { Err(refused()) };
    }
    for _ in 0..TRIES {
        let key = ask(context, &id, &format!("A passphrase of {what}:"))?;
        if fits(context, file.path(), &key)? {
            return Ok(key);
        }
        context.ui.say("This passphrase fits none of its key slots.");
    }
    Err(refused())
}

fn new_passphrase(context: &Context, uuid: &str, what: &str) -> Result<Secret> {
    let id = format!("LUKS_NEW_PASSPHRASE_{uuid}");
    if let Some(key) = in_advance(context, &id)?.or(in_advance(context, "LUKS_NEW_PASSPHRASE")?) {
        return Ok(key);
    }
    for _ in 0..TRIES {
        let first = ask(context, &id, &format!("New passphrase for {what}:"))?;
        if first.is_empty() {
            context.ui.say("It needs a passphrase.");
            continue;
        }
        if ask(context, &id, "The same again:")? == first {
            return Ok(first);
        }
        context.ui.say("These were two different ones.");
    }
    Err(Failure::refused(format!("there is no new passphrase for {what}")).hint("no disk was written to"))
}

/// For the comparison after a recovery: a container with a new passphrase has other key slots and no tokens. They are
/// taken out of the comparison of `found`, and what that means is said instead.
pub fn as_told(saved: &Luks, found: &mut Luks, path: &str, problems: &mut Vec<String>) {
    found.sealed = saved.sealed;
    if saved.sealed {
        return;
    }
    let tokens = match saved.tokens.as_slice() {
        [] => String::new(),
        tokens => format!(", nor do its tokens ({})", tokens.join(", ")),
    };
    problems.push(format!(
        "the LUKS container on {path} has a new passphrase: its {} old key slot(s) do not open it{tokens}; add key files \
         again with cryptsetup luksAddKey",
        saved.keyslots.len()
    ));
    *found = std::mem::take(found).with_keys_of(saved);
}

#[cfg(test)]
mod tests;
