//! What is saved, restored and recreated: lists of paths, patterns, mount points and devices.

use super::Tristate;
use crate::quote;
use crate::reader::Reader;

/// Absolute paths, with or without patterns.
pub(super) fn patterns(r: &mut Reader<'_>, name: &'static str) -> Vec<String> {
    let items = r.words_of_list(name);
    absolute(r, name, items)
}

fn absolute(r: &mut Reader<'_>, name: &'static str, items: Vec<String>) -> Vec<String> {
    let wrong = items.iter().find(|item| !item.starts_with('/') && !item.starts_with('*'));
    // A relative pattern matches nothing in our archive, so it would silently exclude nothing.
    if let Some(item) = wrong.cloned() {
        let message = format!("The element {} of {name} is no absolute path.", quote(&item));
        r.error(name, message, format!("Write {}", quote(&format!("/{item}"))));
    }
    items
}

/// What alone is saved. Without BACKUP_ONLY_INCLUDE the list has no effect, so nothing in it is wrong.
pub(super) fn only_include(r: &mut Reader<'_>) -> Option<Vec<String>> {
    let name = "BACKUP_PROG_INCLUDE";
    let items = r.words_of_list(name);
    if r.tristate("BACKUP_ONLY_INCLUDE") != Tristate::Yes {
        return None;
    }
    if items.is_empty() {
        let message = format!("BACKUP_ONLY_INCLUDE=yes saves only what {name} names, and that is empty.");
        // Where it is not set at all, the other one is the place to correct.
        r.error("BACKUP_ONLY_INCLUDE", message, format!("Write for example {name}=( / /home )"));
    }
    if let Some(item) = items.iter().find(|item| item.contains(['*', '?', '['])).cloned() {
        let message =
            format!("The element {} of {name} has a wildcard, which is not supported here.", quote(&item));
        r.error(
            name,
            message,
            "Name the directory, and leave parts of it out with BACKUP_PROG_EXCLUDE.".into(),
        );
    }
    let items = items.iter().map(|item| match item.trim_end_matches('/') {
        "" => "/".to_owned(),
        path => path.to_owned(),
    });
    let items = items.collect();
    Some(absolute(r, name, items))
}

/// Patterns of paths; `fs:/x` is the same as `/x`.
pub(super) fn exclude_restore(r: &mut Reader<'_>) -> Vec<String> {
    let name = "EXCLUDE_RESTORE";
    let items = r.words_of_list(name);
    let items = items.iter().map(|item| item.strip_prefix("fs:").unwrap_or(item).to_owned()).collect();
    absolute(r, name, items)
}

/// Patterns of kernel names. A link below `/dev` would be looked up at the recovery, where it may not exist.
pub(super) fn device_patterns(r: &mut Reader<'_>) -> Vec<String> {
    let name = "EXCLUDE_DEVICE_MAPPING";
    let mut names = Vec::new();
    for item in r.words(name) {
        let short = item.strip_prefix("/dev/").unwrap_or(&item);
        if short.is_empty() || short.contains('/') {
            let message = format!("The element {} of {name} is no kernel name of a device.", quote(&item));
            r.error(name, message, "Write for example sdb, nvme1n1 or loop*.".into());
            continue;
        }
        names.push(short.to_owned());
    }
    names
}

/// Mount points; `fs:/x` is the same as `/x`.
pub(super) fn mount_points(r: &mut Reader<'_>, name: &'static str) -> Vec<String> {
    let items = r.list(name);
    as_mount_points(r, name, items)
}

pub(super) fn as_mount_points(r: &mut Reader<'_>, name: &'static str, items: Vec<String>) -> Vec<String> {
    let mut points = Vec::new();
    for item in items {
        let path = item.strip_prefix("fs:").unwrap_or(&item);
        if path.is_empty() {
            continue;
        }
        if !path.starts_with('/') {
            let message = format!("The element {} of {name} is no mount point.", quote(&item));
            r.error(
                name,
                message,
                "Write the directory where the filesystem is mounted: /x or fs:/x.".into(),
            );
            continue;
        }
        let path = path.trim_end_matches('/');
        points.push(if path.is_empty() { "/".to_owned() } else { path.to_owned() });
    }
    points
}
