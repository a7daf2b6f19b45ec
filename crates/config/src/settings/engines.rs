//! What single ways of saving files need: a place that they can go to, options, programs.

use super::Backup;
use crate::location::Location;
use crate::quote;
use crate::reader::Reader;

/// Where the backup goes, if the method can go there.
pub(super) fn backup_url(r: &mut Reader<'_>, backup: Backup) -> Location {
    let name = "BACKUP_URL";
    let place = r.url(name, Location::backup).unwrap_or_else(|| Location::Iso { dir: "backup".into() });
    match (&place, backup) {
        (Location::Remote { .. }, Backup::Netfs) => r.error(
            name,
            format!("{name}={place} is a place for rsync, and BACKUP=NETFS writes an archive."),
            "Write BACKUP=RSYNC for dated trees of files there; or mount the place and write BACKUP_URL=file:///PATH.".into(),
        ),
        (Location::Iso { .. } | Location::Null, Backup::Rsync) => {
            // Where the default stands, the method is what was written.
            let key = [name, "BACKUP"].into_iter().find(|key| r.is_set(key)).unwrap_or("BACKUP_PROG");
            r.error(
                key,
                format!("rsync keeps trees in a directory, and {name} is {place}."),
                format!("Write {name}=file:///PATH, {name}=ssh://USER@HOST/PATH or {name}=rsync://USER@HOST::/MODULE/PATH."),
            );
        }
        _ => {}
    }
    place
}

/// The options that rsync gets.
pub(super) fn rsync_options(r: &mut Reader<'_>) -> Vec<String> {
    let name = "BACKUP_RSYNC_OPTIONS";
    let mut passed = Vec::new();
    for item in r.words_of_list(name) {
        match crate::rsync::verdict(&item) {
            crate::rsync::Verdict::Always => {}
            crate::rsync::Verdict::Passed => passed.push(item),
            crate::rsync::Verdict::Refused(why) => {
                let message = format!("The element {} of {name} cannot be used: {why}.", quote(&item));
                r.error(name, message, "Remove it.".into());
            }
        }
    }
    passed
}

/// One directory, because it is a name in rsync's patterns and on other machines.
pub(super) fn rsync_prefix(r: &mut Reader<'_>) -> String {
    let name = "RSYNC_PREFIX";
    let text = r.text(name).trim_matches('/').to_owned();
    let good = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if text.is_empty() || text.starts_with('.') || !text.chars().all(good) {
        let message = format!("{name} cannot be {}: it is the name of one directory.", quote(&text));
        r.error(
            name,
            message,
            "Write letters, digits, '.', '_' and '-', for example the host's name.".into(),
        );
    }
    text
}

/// A program without which BACKUP=EXTERNAL means nothing.
pub(super) fn external(r: &mut Reader<'_>, name: &'static str, backup: Backup) -> Vec<String> {
    let argv = r.command(name);
    if argv.is_empty() && backup == Backup::External {
        let message = format!("BACKUP=EXTERNAL needs {name}.");
        let hint = format!(
            "Write {name}=( PROGRAM ARGUMENT … ), with a program that ends with 0 only when all went well."
        );
        r.error("BACKUP", message, hint);
    }
    argv
}
