//! How the archive is written: compressed, in volumes, encrypted to whom, and how far its writer stands back.

use sys::Secret;

use super::{Backup, Tristate};
use crate::compress::{self, Codec, Compression};
use crate::quote;
use crate::reader::Reader;

/// How the archive is compressed, and how its name ends.
pub(super) fn compression(r: &mut Reader<'_>) -> Compression {
    let (name, end) = ("BACKUP_PROG_COMPRESS_OPTIONS", "BACKUP_PROG_COMPRESS_SUFFIX");
    let elements = r.words_of_list(name);
    let suffix = r.text(end);
    let by_suffix = Codec::of_suffix(&suffix).filter(|_| !r.is_set(name));
    let mut made = match by_suffix {
        Some(codec) => Compression::usual(codec),
        None => compress::parse(&elements).unwrap_or_else(|(message, hint)| {
            r.error(name, format!("{name} cannot be used: {message}"), hint);
            Compression::usual(Codec::Zstd)
        }),
    };
    if suffix.is_empty() {
        return made;
    }
    let usual = Codec::of_suffix(&suffix);
    let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if let Some(other) = usual.filter(|other| *other != made.codec) {
        let message = format!(
            "{end}={suffix} is the ending of another compression than the one that {name} chooses ({}).",
            if made.codec == Codec::None { "none" } else { made.codec.option() }
        );
        let hint = format!("Leave {end} out, or write {name}=( {} )", other.option());
        r.error(end, message, hint);
    } else if !suffix.starts_with('.')
        || suffix.len() > 16
        || !suffix.chars().all(good)
        || suffix.contains("..")
    {
        let message = format!("{end} cannot be {}.", quote(&suffix));
        r.error(end, message, "Write a dot and letters or digits, such as .gz, or leave it out.".into());
    } else {
        made.suffix = suffix;
    }
    made
}

pub(super) fn split_size(r: &mut Reader<'_>) -> Option<u64> {
    let name = "BACKUP_SPLIT_SIZE";
    let size = r.number(name)?;
    if !(16..=1 << 30).contains(&size) {
        let message = format!("{name} cannot be {size}: volumes have at least 16 MiB.");
        r.error(name, message, "Write a number of MiB, for example 4095 for FAT32, or leave it out.".into());
        return None;
    }
    Some(size)
}

pub(super) fn nice(r: &mut Reader<'_>) -> u8 {
    let name = "BACKUP_NICE";
    let Some(number) = r.number(name) else { return 0 };
    match u8::try_from(number) {
        Ok(nice) if nice <= 19 => nice,
        _ => {
            r.error(name, format!("{name} cannot be {number}."), "Write a number from 0 to 19.".into());
            0
        }
    }
}

/// How the archive is encrypted: to these, or with this. Asked for where nothing would be encrypted, it is an error.
pub(super) fn encryption(r: &mut Reader<'_>, backup: Backup) -> (Vec<String>, Option<Secret>) {
    let (to, with) = ("BACKUP_ENCRYPT_RECIPIENTS", "BACKUP_ENCRYPT_PASSPHRASE");
    let (enabled, key) = ("BACKUP_PROG_CRYPT_ENABLED", "BACKUP_PROG_CRYPT_KEY");
    let recipients = recipients(r, to);
    let (own, old) = (r.secret(with), r.secret(key));
    let asked = r.tristate(enabled) == Tristate::Yes;
    let passphrase = match (own, old, asked) {
        (Some(one), Some(other), true) if one != other => {
            let message = format!("{with} and {key} are both set, to different secrets.");
            r.error(key, message, format!("Leave {key} out."));
            Some(one)
        }
        (Some(own), ..) => Some(own),
        (None, Some(old), true) if recipients.is_empty() => {
            let message = format!("{key} is used as {with}: the archive is encrypted in the format of age.");
            let hint =
                "openssl does not open it; 'age -d' does, and recovery asks for the passphrase.".into();
            r.warning(key, message, hint);
            Some(old)
        }
        (None, Some(_), false) => {
            let message = format!("{key} has no effect: {enabled} is not yes.");
            r.warning(key, message, format!("Write {with}=... to encrypt the archive, or leave it out."));
            None
        }
        _ => None,
    };
    let names = [to, with, enabled];
    let place = names.into_iter().find(|name| r.is_set(name)).unwrap_or(enabled);
    if recipients.is_empty() && passphrase.is_none() {
        if asked {
            let message = format!("{enabled}=yes asks for an encrypted archive, and there is no key for it.");
            r.error(enabled, message, format!("Write {to}=( age1... ), or {with}=..."));
        }
        return (recipients, passphrase);
    }
    if !recipients.is_empty() && passphrase.is_some() {
        let message = format!("{to} and {with} are both set: the age format allows one of them for a file.");
        r.error(with, message, format!("Leave one of them out; {to} needs no secret on this machine."));
    }
    let (what, instead) = match backup {
        Backup::Netfs => return (recipients, passphrase),
        Backup::Restic => {
            ("encrypts by itself, with the password of its repository", "Leave it out with BACKUP=RESTIC.")
        }
        Backup::Rsync => (
            "keeps trees of plain files, which would not be encrypted",
            "Write BACKUP=NETFS with BACKUP_PROG=tar or BACKUP=RESTIC, or leave it out and encrypt the filesystem at BACKUP_URL.",
        ),
        Backup::External => (
            "saves files with programs of yours, whose output would not be encrypted",
            "Leave it out, and let EXTERNAL_BACKUP encrypt.",
        ),
        Backup::RequestRestore => ("saves no files, so there is nothing to encrypt", "Leave it out."),
    };
    let method = match backup {
        Backup::Rsync => "rsync",
        Backup::Restic => "BACKUP=RESTIC",
        Backup::External => "BACKUP=EXTERNAL",
        _ => "BACKUP=REQUESTRESTORE",
    };
    r.error(place, format!("{place} asks for an encrypted archive, and {method} {what}."), instead.into());
    (recipients, passphrase)
}

/// Recipients by their form; whether a key is a good one shows when something is encrypted to it.
pub(super) fn recipients(r: &mut Reader<'_>, name: &'static str) -> Vec<String> {
    let items: Vec<String> = r.words_of_list(name).iter().map(|item| item.trim().to_owned()).collect();
    for item in &items {
        if item.contains("AGE-SECRET-KEY-") || item.contains("PRIVATE KEY") {
            let hint =
                "Write the public one, 'age1…'; keep the secret one away from this machine.".to_owned();
            r.error(name, format!("{name} holds a secret key: it would open what it should protect."), hint);
        } else if !["age1", "ssh-ed25519 ", "ssh-rsa ", "/"].iter().any(|start| item.starts_with(start)) {
            let message = format!("The element {} of {name} is no public key.", quote(item));
            let hint = "Write an age recipient 'age1…', an ssh public key in quotes, or the absolute path of a file \
                        with such; elements of the list are separated by blanks.";
            r.error(name, message, hint.to_owned());
        }
    }
    items
}
