//! WWIDs of disks behind several paths (multipath-tools), in the files of the restored system that know them. A disk in the
//! place of another has another WWID: multipath would leave it alone (it only takes disks of `/etc/multipath/wwids`, unless it is told
//! otherwise), or give it another friendly name. The new WWID comes in the place of the old one, so that the new disk is
//! taken and has the name of the old one. Never touches an entry of any other disk.

use std::path::{Path, PathBuf};

use crate::naming::{Changed, candidates};
use crate::rooted::resolve;
use crate::{Error, Result};

/// Files of multipath-tools that name disks by their WWIDs: those it has taken, their friendly names, its configuration.
const FILES: [&str; 3] = ["/etc/multipath/wwids", "/etc/multipath/bindings", "/etc/multipath.conf"];
/// More of its configuration.
const DIRECTORY: &str = "/etc/multipath/conf.d";

/// What the initramfs is made with, where it carries these files: initramfs-tools (Debian) and dracut.
const CARRIERS: [&str; 2] =
    ["/usr/share/initramfs-tools/hooks/multipath", "/usr/lib/dracut/modules.d/90multipath/module-setup.sh"];

/// What was done with the WWIDs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wwids {
    /// What was changed, as sentences.
    pub done: Vec<String>,
    /// Why the initramfs must be made again: it holds copies of the files.
    pub rebuild: Option<String>,
}

/// Replaces each old WWID by the new one (`changes`: old, new) in the restored system at `root`: in the files of
/// multipath-tools, and where fstab, crypttab and the boot menus name a device by it. Each changed file keeps its original
/// beside it, as `NAME.rear-orig`.
///
/// # Errors
/// When a file cannot be read or written. Files before it are changed then.
pub fn restore_wwids(root: &Path, changes: &[(String, String)], changed: &mut Changed) -> Result<Wwids> {
    let mut result = Wwids::default();
    let changes: Vec<_> = changes.iter().filter(|(old, new)| !old.is_empty() && old != new).collect();
    if changes.is_empty() {
        return Ok(result);
    }
    let mut files: Vec<(PathBuf, bool)> = FILES
        .iter()
        .filter_map(|path| Some((resolve(root, Path::new(path))?, path.ends_with("/bindings"))))
        .collect();
    let configuration = resolve(root, Path::new(DIRECTORY)).and_then(|dir| std::fs::read_dir(dir).ok());
    let configuration = configuration.into_iter().flatten().flatten().map(|entry| entry.path());
    let is_read = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "conf");
    files.extend(configuration.filter(is_read).map(|path| (path, false)));
    files.extend(candidates(root).into_iter().map(|path| (path, false)));
    for (path, is_bindings) in files.into_iter().filter(|(path, _)| path.is_file()) {
        let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
        let Ok(text) = String::from_utf8(bytes) else { continue };
        let rewritten = match is_bindings {
            true => bindings(&text, &changes),
            false => replace(&text, &changes),
        };
        if rewritten == text {
            continue;
        }
        changed.write(&path, &rewritten)?;
        let shown = Path::new("/").join(path.strip_prefix(root).unwrap_or(&path));
        let names: Vec<String> = changes
            .iter()
            .filter(|(old, _)| replace(&text, &[&(old.clone(), String::new())]) != text)
            .map(|(old, new)| format!("{old} is {new} now"))
            .collect();
        result.done.push(format!("{}: the disk {}", shown.display(), names.join(", the disk ")));
    }
    let carried = |path: &&str| resolve(root, Path::new(path)).is_some_and(|path| path.is_file());
    if !result.done.is_empty() && CARRIERS.iter().any(carried) {
        result.rebuild = Some("it holds the WWIDs of multipath, which have changed".to_owned());
    }
    Ok(result)
}

/// Friendly names: a line `NAME WWID` each. A name that a new disk had got before gives way to the one of the disk whose place
/// it takes: with two names for one WWID, the first would win.
fn bindings(text: &str, changes: &[&(String, String)]) -> String {
    let wwid = |line: &str| line.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let named = |wanted: &str| text.lines().any(|line| !line.starts_with('#') && wwid(line) == wanted);
    let kept = text.split_inclusive('\n').filter(|line| {
        let of = wwid(line);
        let is_old = changes.iter().any(|(old, _)| *old == of);
        let gives_way = changes.iter().any(|(old, new)| *new == of && named(old));
        line.starts_with('#') || is_old || !gives_way
    });
    kept.map(|line| replace(line, changes)).collect()
}

/// Replaces whole WWIDs: neither neighbour may be a letter or a digit (`/dev/mapper/WWID-part2` names one). All at once, so that two
/// disks can change places.
fn replace(text: &str, changes: &[&(String, String)]) -> String {
    let belongs = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let mut out = String::with_capacity(text.len());
    let mut before = None;
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let hit = changes.iter().find(|(old, _)| {
            rest.starts_with(old.as_str()) && !belongs(before) && !belongs(rest[old.len()..].chars().next())
        });
        let length = match hit {
            Some((old, new)) => {
                out.push_str(new);
                old.len()
            }
            None => {
                out.push(next);
                next.len_utf8()
            }
        };
        before = rest[..length].chars().next_back();
        rest = &rest[length..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "35000c50000004f00";
    const B: &str = "35000c50000004f01";
    const NEW: &str = "35000c50000004e00";

    fn restored(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    fn read(dir: &tempfile::TempDir, path: &str) -> String {
        std::fs::read_to_string(dir.path().join(path)).unwrap()
    }

    fn changes(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(old, new)| ((*old).to_owned(), (*new).to_owned())).collect()
    }

    #[test]
    fn a_new_disk_takes_name_and_place_of_the_old_one() {
        let dir = restored(&[
            ("etc/multipath/wwids", &format!("# Valid WWIDs:\n/{A}/\n/{B}/\n")),
            ("etc/multipath/bindings", &format!("# alias wwid\nmpatha {A}\nmpathb {B}\nmpathc {NEW}\n")),
            (
                "etc/multipath.conf",
                &format!("multipaths {{\n multipath {{\n  wwid \"{A}\"\n  alias web\n }}\n}}\n"),
            ),
            ("etc/multipath/conf.d/a.conf", &format!("blacklist {{\n wwid {B}\n}}\n")),
            ("etc/multipath/conf.d/a.txt", A),
            ("etc/fstab", &format!("/dev/mapper/{A}-part2 / ext4 defaults 0 1\n/dev/mapper/{A}0 /x ext4\n")),
            ("usr/share/initramfs-tools/hooks/multipath", ""),
        ]);
        let result = restore_wwids(dir.path(), &changes(&[(A, NEW)]), &mut Changed::default()).unwrap();
        assert_eq!(read(&dir, "etc/multipath/wwids"), format!("# Valid WWIDs:\n/{NEW}/\n/{B}/\n"));
        assert_eq!(read(&dir, "etc/multipath/bindings"), format!("# alias wwid\nmpatha {NEW}\nmpathb {B}\n"));
        assert!(read(&dir, "etc/multipath.conf").contains(&format!("wwid \"{NEW}\"")));
        assert_eq!(read(&dir, "etc/multipath/conf.d/a.conf"), format!("blacklist {{\n wwid {B}\n}}\n"));
        assert_eq!(read(&dir, "etc/multipath/conf.d/a.txt"), A);
        assert_eq!(
            read(&dir, "etc/fstab"),
            format!("/dev/mapper/{NEW}-part2 / ext4 defaults 0 1\n/dev/mapper/{A}0 /x ext4\n")
        );
        assert_eq!(read(&dir, "etc/multipath/wwids.rear-orig"), format!("# Valid WWIDs:\n/{A}/\n/{B}/\n"));
        assert_eq!(result.done.len(), 4, "{:?}", result.done);
        assert_eq!(result.done[0], format!("/etc/multipath/wwids: the disk {A} is {NEW} now"));
        assert!(result.rebuild.is_some());
    }

    #[test]
    fn disks_that_change_places_keep_both_names() {
        let dir = restored(&[("etc/multipath/bindings", &format!("mpatha {A}\nmpathb {B}\n"))]);
        let result = restore_wwids(dir.path(), &changes(&[(A, B), (B, A)]), &mut Changed::default()).unwrap();
        assert_eq!(read(&dir, "etc/multipath/bindings"), format!("mpatha {B}\nmpathb {A}\n"));
        // What makes the initramfs here knows nothing of multipath.
        assert_eq!(result.rebuild, None);
    }

    #[test]
    fn the_same_disk_and_other_systems_stay_as_they_are() {
        let text = format!("mpatha {A}\n");
        let dir =
            restored(&[("etc/multipath/bindings", &text), ("usr/share/initramfs-tools/hooks/multipath", "")]);
        for list in [&[(A, A)][..], &[(B, NEW)], &[("", NEW)]] {
            assert_eq!(
                restore_wwids(dir.path(), &changes(list), &mut Changed::default()).unwrap(),
                Wwids::default()
            );
        }
        assert_eq!(read(&dir, "etc/multipath/bindings"), text);
        assert!(!dir.path().join("etc/multipath/bindings.rear-orig").exists());
        assert_eq!(
            restore_wwids(restored(&[]).path(), &changes(&[(A, NEW)]), &mut Changed::default()).unwrap(),
            Wwids::default()
        );
    }
}
