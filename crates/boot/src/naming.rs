//! The few files of the restored system that name devices by identifiers, and how one of them is changed where an identifier
//! could not be kept: what it was in the backup stays beside it.

use std::collections::BTreeSet;
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

/// The files that a recovery has changed so far. A file that two steps change keeps what it was before the first one.
#[derive(Debug, Default)]
pub struct Changed(BTreeSet<PathBuf>);

impl Changed {
    /// Gives a file another text; what it was in the backup is beside it then, as `NAME.rear-orig`.
    pub(crate) fn write(&mut self, path: &Path, text: &str) -> Result<()> {
        if self.0.insert(path.to_owned()) {
            let mut original = path.as_os_str().to_owned();
            original.push(".rear-orig");
            std::fs::copy(path, &original).map_err(Error::io("keep the original of", path))?;
        }
        // Written in place: owner, mode and attributes of the file stay.
        std::fs::write(path, text).map_err(Error::io("write", path))
    }
}

/// Those of these files that are there.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_original_is_what_was_there_before_the_first_change() {
        let dir = tempfile::tempdir().unwrap();
        let (path, original) = (dir.path().join("fstab"), dir.path().join("fstab.rear-orig"));
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        std::fs::write(&path, "of the backup").unwrap();
        // What an earlier recovery of the same machine left.
        std::fs::write(&original, "of an earlier one").unwrap();
        let mut changed = Changed::default();
        for text in ["first", "second"] {
            changed.write(&path, text).unwrap();
            assert_eq!((read(&path), read(&original)), (text.to_owned(), "of the backup".to_owned()));
        }
    }
}
