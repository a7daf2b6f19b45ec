//! Single files and directories of a backup: which entries of the manifest they are, and the manifest of them alone. It
//! reads and writes manifests, never the archive.

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::entry::{Entry, Kind};
use crate::manifest::Totals;
use crate::{Error, Options, Stored, machine_path, manifest, select, walk};

/// The files and directories that are wanted, each with all that lies below it.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// As stored, in the order given.
    paths: Vec<Vec<u8>>,
    set: HashSet<Vec<u8>>,
    /// Every directory above one of them, the root left out.
    above: HashSet<Vec<u8>>,
}

/// What of it there is.
#[derive(Clone, Debug)]
pub struct Picked {
    wanted: Wanted,
    /// First names outside of the selection of hard links inside.
    firsts: BTreeSet<Vec<u8>>,
    /// The wanted paths that the manifest does not have, each with what is known of it.
    pub missing: Vec<(PathBuf, String)>,
}

impl Wanted {
    /// These absolute paths in the machine (`etc/fstab` is `/etc/fstab`).
    ///
    /// # Errors
    /// A path with `.` or `..` in it, or with a NUL byte.
    pub fn new(paths: &[PathBuf]) -> Result<Self, Error> {
        let mut wanted = Self { paths: Vec::new(), set: HashSet::new(), above: HashSet::new() };
        for path in paths {
            let stored = walk::stored_path(path);
            if !Entry::is_path_safe(&stored) {
                return Err(Error::Path { path: path.clone() });
            }
            let slashes = stored.iter().enumerate().filter(|(_, byte)| **byte == b'/');
            wanted.above.extend(slashes.map(|(at, _)| stored[..at].to_vec()));
            wanted.set.insert(stored.clone());
            wanted.paths.push(stored);
        }
        Ok(wanted)
    }

    /// Whether the entry is one of them, lies below one, or is a directory above one.
    pub fn holds(&self, entry: &Entry) -> bool {
        self.holds_path(&entry.path) || (entry.kind == Kind::Directory && self.above.contains(&entry.path))
    }

    fn holds_path(&self, path: &[u8]) -> bool {
        let mut ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        self.set.contains(&b"."[..])
            || self.set.contains(path)
            || ends.any(|end| self.set.contains(&path[..end]))
    }

    /// Looks for them in a manifest, which is read to its end.
    ///
    /// # Errors
    /// The manifest cannot be read, or the run was stopped.
    pub fn find(self, stored: &Stored, options: &Options) -> Result<Picked, Error> {
        let mut firsts = BTreeSet::new();
        let mut seen: HashSet<Vec<u8>> = HashSet::new();
        let mut links: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        for entry in manifest::Reader::of(stored)? {
            options.cancel.check()?;
            let entry = entry?;
            if self.set.contains(&entry.path) {
                seen.insert(entry.path.clone());
            }
            if entry.kind == Kind::Symlink && self.above.contains(&entry.path) {
                links.push((entry.path.clone(), entry.link.clone()));
            }
            select::note_first(&entry, &|entry| !self.holds(entry), &mut firsts);
        }
        // The root is always there, also where an archive of another program does not tell it.
        let is_missing = |path: &&Vec<u8>| !seen.contains(*path) && path.as_slice() != b".";
        let missing = self.paths.iter().filter(is_missing).map(|path| {
            let through = links.iter().find(|(link, _)| path.starts_with(link) && path[link.len()] == b'/');
            let detail = match through {
                Some((link, to)) => format!(
                    "{} is a symbolic link to {} there: name the file by its real path",
                    machine_path(link).display(),
                    String::from_utf8_lossy(to)
                ),
                None => "there is no such file or directory in the backup".to_owned(),
            };
            (machine_path(path), detail)
        });
        let missing = missing.collect();
        Ok(Picked { wanted: self, firsts, missing })
    }
}

impl Picked {
    /// Writes the manifest of the selection: what is wanted and the directories above it. A hard link whose first name is
    /// outside becomes the file itself.
    ///
    /// # Errors
    /// A manifest cannot be read or written, or the run was stopped.
    pub fn write(&self, manifest: &Stored, to: &File, options: &Options) -> Result<Totals, Error> {
        let is_out = |entry: &Entry| !self.wanted.holds(entry);
        let (_, totals) = select::write(manifest, to, &is_out, &|_| (), &self.firsts, options)?;
        Ok(totals)
    }

    /// The paths that were asked for, as absolute paths in the machine.
    pub fn paths(&self) -> impl Iterator<Item = PathBuf> {
        self.wanted.paths.iter().map(|path| machine_path(path))
    }

    /// Whether that path in the machine is, or lies below, what was asked for.
    pub fn covers(&self, path: &Path) -> bool {
        self.wanted.holds_path(&walk::stored_path(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: Kind, link: &str) -> Entry {
        let mut entry = Entry::new(path.as_bytes().to_vec(), kind);
        entry.link = link.as_bytes().to_vec();
        entry.size = if kind == Kind::File { 10 } else { 0 };
        entry
    }

    #[test]
    fn a_selection_has_the_way_to_it_and_the_content_of_its_links() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        let entries = [
            entry(".", Kind::Directory, ""),
            entry("a", Kind::Directory, ""),
            entry("a/first", Kind::File, ""),
            entry("a/b", Kind::Directory, ""),
            entry("a/b/link", Kind::HardLink, "a/first"),
            entry("a/b/other", Kind::File, ""),
            entry("a/bb", Kind::File, ""),
            entry("bin", Kind::Symlink, "usr/bin"),
        ];
        manifest::write_all(&from, &entries);
        let options =
            Options { codec: crate::Codec::Zstd, level: 1, threads: 1, cancel: sys::Cancel::default() };
        let stored = Stored::open(&from).unwrap();
        let pick = |paths: &[&str]| {
            let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
            Wanted::new(&paths).unwrap().find(&stored, &options).unwrap()
        };
        let written = |paths: &[&str]| {
            let picked = pick(paths);
            assert_eq!(picked.missing, []);
            let totals = picked.write(&stored, &File::create(&to).unwrap(), &options).unwrap();
            let read: Vec<Entry> = manifest::Reader::open(&to).unwrap().map(Result::unwrap).collect();
            assert_eq!(totals.files, read.len() as u64);
            let names: Vec<_> = read.iter().map(|one| String::from_utf8(one.path.clone()).unwrap()).collect();
            (names, read, totals.bytes)
        };
        let (names, read, bytes) = written(&["/a/b"]);
        assert_eq!(names, ["a", "a/b", "a/b/link", "a/b/other"]);
        assert_eq!((read[2].kind, bytes), (Kind::File, 20));
        let (names, read, _) = written(&["a/b/link", "/a/first/"]);
        assert_eq!(names, ["a", "a/first", "a/b", "a/b/link"]);
        assert_eq!(read[3].kind, Kind::HardLink);
        assert_eq!(written(&["/"]).0.len(), 8);
        assert_eq!(written(&["/bin"]).0, ["bin"]);

        let missing = pick(&["/bin/ls", "/a/b", "/a/b/li"]).missing;
        assert_eq!(missing.len(), 2);
        assert!(missing[0].1.contains("/bin is a symbolic link to usr/bin"), "{missing:?}");
        assert!(missing[1].1.contains("no such file"), "{missing:?}");
        for path in ["/a/../b", "a/./b", ".."] {
            assert!(Wanted::new(&[PathBuf::from(path)]).is_err(), "{path}");
        }
    }
}
