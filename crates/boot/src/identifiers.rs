//! Replaces identifiers that could not be kept, in the few files that hold them. Never called for a recovery in which
//! everything got its identifier back, and never touches any other file.

use std::path::{Path, PathBuf};

use crate::rooted::resolve;
use crate::{Error, Result};

/// Files that name devices by identifiers, below the root.
const FILES: [&str; 7] = [
    "/etc/fstab",
    "/etc/crypttab",
    "/etc/default/grub",
    "/etc/kernel/cmdline",
    "/boot/grub/grub.cfg",
    "/boot/grub2/grub.cfg",
    "/boot/grub2/grubenv",
];
/// Directories of small files that do as well.
const DIRECTORIES: [&str; 3] = ["/boot/loader/entries", "/boot/efi/EFI", "/boot/efi/loader/entries"];

/// Replaces each old identifier by its new one (`changes`: old, new). Returns the files that were changed; each keeps its
/// original beside it, as `NAME.rear-orig`.
///
/// # Errors
/// When a file cannot be read or written. Files before it are changed then.
pub fn rewrite_identifiers(root: &Path, changes: &[(String, String)]) -> Result<Vec<PathBuf>> {
    let changes: Vec<_> = changes.iter().filter(|(old, new)| !old.is_empty() && old != new).collect();
    let mut touched = Vec::new();
    if changes.is_empty() {
        return Ok(touched);
    }
    for path in candidates(root) {
        let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
        let Ok(text) = String::from_utf8(bytes) else { continue };
        let rewritten = rewrite(&text, &changes);
        if rewritten == text {
            continue;
        }
        write_beside_original(&path, &rewritten)?;
        touched.push(path);
    }
    Ok(touched)
}

/// Gives a file another text; what it was stays beside it as `NAME.rear-orig`.
pub(crate) fn write_beside_original(path: &Path, text: &str) -> Result<()> {
    let mut original = path.as_os_str().to_owned();
    original.push(".rear-orig");
    std::fs::copy(path, &original).map_err(Error::io("keep the original of", path))?;
    // Written in place: owner, mode and attributes of the file stay.
    std::fs::write(path, text).map_err(Error::io("write", path))
}

pub(crate) fn candidates(root: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = FILES
        .iter()
        .filter_map(|path| resolve(root, Path::new(path)))
        .filter(|path| path.is_file())
        .collect();
    for dir in DIRECTORIES.iter().filter_map(|path| resolve(root, Path::new(path))) {
        let mut open = vec![(dir, 0)];
        while let Some((dir, depth)) = open.pop() {
            for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
                let Ok(kind) = entry.file_type() else { continue };
                let name = entry.file_name().to_string_lossy().to_ascii_lowercase();
                if kind.is_dir() && depth < 2 {
                    open.push((entry.path(), depth + 1));
                } else if kind.is_file() && (name.ends_with(".conf") || name == "grub.cfg") {
                    found.push(entry.path());
                }
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

/// Replaces whole identifiers only: neither neighbour may belong to a longer one. All at once, so that two identifiers can
/// change places.
fn rewrite(text: &str, changes: &[&(String, String)]) -> String {
    let belongs = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let hit = changes.iter().find(|(old, _)| {
            rest.get(..old.len()).is_some_and(|head| head.eq_ignore_ascii_case(old))
                && !belongs(out.chars().next_back())
                && !belongs(rest[old.len()..].chars().next())
        });
        match hit {
            Some((old, new)) => {
                out.push_str(new);
                rest = &rest[old.len()..];
            }
            None => {
                out.push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_identifiers_change_places_and_originals_stay() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("etc")).unwrap();
        let fstab = "# ä\nUUID=1111-AAAA / ext4 defaults 0 1\nUUID=2222-bbbb /x xfs\nUUID=1111-AAAA-9 /y\n";
        std::fs::write(dir.path().join("etc/fstab"), fstab).unwrap();
        std::fs::write(dir.path().join("etc/crypttab"), "a UUID=9 none\n").unwrap();
        let changes = [
            ("1111-aaaa".to_owned(), "2222-BBBB".to_owned()),
            ("2222-BBBB".to_owned(), "1111-AAAA".to_owned()),
        ];
        let touched = rewrite_identifiers(dir.path(), &changes).unwrap();
        assert_eq!(touched, [dir.path().join("etc/fstab")]);
        assert_eq!(
            std::fs::read_to_string(&touched[0]).unwrap(),
            "# ä\nUUID=2222-BBBB / ext4 defaults 0 1\nUUID=1111-AAAA /x xfs\nUUID=1111-AAAA-9 /y\n"
        );
        assert_eq!(std::fs::read_to_string(dir.path().join("etc/fstab.rear-orig")).unwrap(), fstab);
        assert!(rewrite_identifiers(dir.path(), &[]).unwrap().is_empty());
    }
}
