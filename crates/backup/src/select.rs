//! A part of a manifest as a manifest of its own, so that restore and comparison see only what shall come back. It reads and
//! writes manifests, never the archive: every entry keeps its place there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::PathBuf;

use crate::entry::{Entry, Kind, split};
use crate::exclude::{Exclude, Verdict};
use crate::manifest::{self, Reader, Totals, Writer};
use crate::restore::is_below;
use crate::{Error, Options, Stored, walk};

/// What is not restored.
#[derive(Clone, Debug, Default)]
pub struct LeaveOut {
    /// Patterns of absolute paths. A directory that one names exactly comes back empty.
    pub patterns: Exclude,
    /// Mount points whose whole content is left out; each comes back as an empty directory.
    pub mounts: Vec<PathBuf>,
    /// All mount points of the archive: what is mounted below one of `mounts` is not its content.
    pub all_mounts: Vec<PathBuf>,
}

/// How much was left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Entries of every type.
    pub files: u64,
    /// Bytes of content, without holes.
    pub bytes: u64,
}

/// Writes to `to` the entries of `manifest` that come back. A hard link whose first name is left out becomes a file itself.
///
/// # Errors
/// A manifest cannot be read or written, or the run was stopped.
pub fn select(
    manifest: &Stored,
    to: &File,
    leave_out: &LeaveOut,
    options: &Options,
) -> Result<LeftOut, Error> {
    let rules = Rules::new(leave_out);
    let mut firsts = BTreeSet::new();
    for entry in Reader::of(manifest)? {
        options.cancel.check()?;
        note_first(&entry?, &|entry| rules.is_out(entry), &mut firsts);
    }
    let no_mount = |entry: &mut Entry| {
        if rules.mounts.contains(&entry.path) {
            // The directory below the mount may lie on a filesystem that knows nothing of these.
            entry.flags = 0;
            entry.xattrs.clear();
        }
    };
    let (left, _) = write(manifest, to, &|entry| rules.is_out(entry), &no_mount, &firsts, options)?;
    Ok(left)
}

/// Remembers the first name of a hard link that is left out although this further name comes back.
pub(crate) fn note_first(entry: &Entry, is_out: &dyn Fn(&Entry) -> bool, firsts: &mut BTreeSet<Vec<u8>>) {
    if entry.kind == Kind::HardLink && !is_out(entry) {
        let first = Entry { path: entry.link.clone(), ..Entry::new(Vec::new(), Kind::File) };
        if is_out(&first) {
            firsts.insert(first.path);
        }
    }
}

/// Writes the entries that come back, and says how much is left out and how much is not. `wanted` are the first names that
/// [`note_first`] has found.
pub(crate) fn write(
    manifest: &Stored,
    to: &File,
    is_out: &dyn Fn(&Entry) -> bool,
    change: &dyn Fn(&mut Entry),
    wanted: &BTreeSet<Vec<u8>>,
    options: &Options,
) -> Result<(LeftOut, Totals), Error> {
    let mut firsts: BTreeMap<Vec<u8>, Entry> = BTreeMap::new();
    let mut moved: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let mut writer = Writer::new(to)?;
    let (mut left, mut line) = (LeftOut::default(), Vec::new());
    for entry in Reader::of(manifest)? {
        options.cancel.check()?;
        let mut entry = entry?;
        if is_out(&entry) {
            left.files += 1;
            left.bytes = left.bytes.saturating_add(entry.stored());
            if wanted.contains(&entry.path) {
                firsts.insert(entry.path.clone(), entry);
            }
            continue;
        }
        change(&mut entry);
        if entry.kind == Kind::HardLink
            && let Some(first) = firsts.get(&entry.link)
        {
            match moved.get(&entry.link) {
                Some(name) => entry.link.clone_from(name),
                None => {
                    moved.insert(entry.link.clone(), entry.path.clone());
                    entry = Entry { path: entry.path, ..first.clone() };
                    left.bytes = left.bytes.saturating_sub(entry.stored());
                }
            }
        }
        line.clear();
        let bytes = if entry.kind == Kind::File { entry.stored() } else { 0 };
        manifest::write_line(&entry, &mut line)
            .map_err(|error| Error::manifest(manifest.path(), error.to_string()))?;
        writer.append(&line, Totals { files: 1, bytes })?;
    }
    let (_, _, totals) = writer.finish()?;
    Ok((left, totals))
}

struct Rules<'a> {
    patterns: &'a Exclude,
    mounts: Vec<Vec<u8>>,
    /// Mount points of the archive that are none of `mounts`.
    others: Vec<Vec<u8>>,
}

impl<'a> Rules<'a> {
    fn new(leave_out: &'a LeaveOut) -> Self {
        let stored = |paths: &[PathBuf]| -> Vec<Vec<u8>> {
            paths.iter().map(|path| walk::stored_path(path)).collect()
        };
        let mounts = stored(&leave_out.mounts);
        let mut others = stored(&leave_out.all_mounts);
        others.retain(|point| !mounts.contains(point));
        Self { patterns: &leave_out.patterns, mounts, others }
    }

    fn is_out(&self, entry: &Entry) -> bool {
        let path = entry.path.as_slice();
        if path == b"." {
            return false;
        }
        // The directory of a mount point belongs to what it lies in.
        let place = if self.mounts.iter().any(|point| point == path) { split(path).0 } else { path };
        if self.nearest_is_out(place) {
            return true;
        }
        let absolute = [b"/", path].concat();
        let parent = absolute.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        if parent > 0 && self.patterns.covers(&absolute[..parent]) {
            return true;
        }
        match self.patterns.verdict(&absolute) {
            Verdict::Keep => false,
            Verdict::Content => entry.kind != Kind::Directory,
            Verdict::Whole => true,
        }
    }

    /// Whether the mount that a path belongs to is one that is left out.
    fn nearest_is_out(&self, path: &[u8]) -> bool {
        let longest = |points: &[Vec<u8>]| {
            let holds = |point: &&Vec<u8>| is_below(std::slice::from_ref(*point), path);
            points.iter().filter(holds).map(Vec::len).max()
        };
        longest(&self.mounts).is_some_and(|out| longest(&self.others).is_none_or(|other| other < out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: Kind, link: &str) -> Entry {
        let mut entry = Entry::new(path.as_bytes().to_vec(), kind);
        entry.link = link.as_bytes().to_vec();
        if kind == Kind::File {
            entry.size = 10;
        }
        entry
    }

    fn selected(entries: &[Entry], leave_out: &LeaveOut) -> (Vec<Entry>, LeftOut) {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        manifest::write_all(&from, entries);
        let out = File::create(&to).unwrap();
        let options =
            Options { codec: crate::Codec::Zstd, level: 1, threads: 1, cancel: sys::Cancel::default() };
        let left = select(&Stored::open(&from).unwrap(), &out, leave_out, &options).unwrap();
        let read = Reader::open(&to).unwrap().map(Result::unwrap).collect();
        (read, left)
    }

    fn paths(entries: &[Entry]) -> Vec<String> {
        entries.iter().map(|entry| String::from_utf8_lossy(&entry.path).into_owned()).collect()
    }

    fn patterns(list: &[&str]) -> Exclude {
        Exclude::new(&list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_mount_that_is_left_out_keeps_its_directory_and_what_is_mounted_below() {
        let mut root = entry("data", Kind::Directory, "");
        root.flags = 0x10;
        root.xattrs.push((b"user.x".to_vec(), b"1".to_vec()));
        let entries = [
            entry(".", Kind::Directory, ""),
            root,
            entry("data/file", Kind::File, ""),
            entry("data/sub", Kind::Directory, ""),
            entry("data/sub/file", Kind::File, ""),
            entry("data/too", Kind::Directory, ""),
            entry("data/too/file", Kind::File, ""),
            entry("database", Kind::File, ""),
        ];
        let points = |list: &[&str]| list.iter().map(PathBuf::from).collect::<Vec<_>>();
        let leave_out = LeaveOut {
            mounts: points(&["/data", "/data/too"]),
            all_mounts: points(&["/", "/data", "/data/sub", "/data/too"]),
            ..LeaveOut::default()
        };
        let (kept, left) = selected(&entries, &leave_out);
        assert_eq!(paths(&kept), [".", "data", "data/sub", "data/sub/file", "database"]);
        assert_eq!((left.files - 2, kept[1].flags, kept[1].xattrs.len()), (1, 0, 0));
    }

    #[test]
    fn patterns_keep_the_directories_that_they_name() {
        let entries = [
            entry("srv", Kind::Directory, ""),
            entry("srv/cache", Kind::Directory, ""),
            entry("srv/cache/a", Kind::File, ""),
            entry("srv/cache/b/c", Kind::File, ""),
            entry("srv/log", Kind::File, ""),
            entry("srv/x.iso", Kind::File, ""),
        ];
        let leave_out =
            LeaveOut { patterns: patterns(&["/srv/cache", "/srv/log", "*.iso"]), ..LeaveOut::default() };
        let (kept, left) = selected(&entries, &leave_out);
        assert_eq!(paths(&kept), ["srv", "srv/cache"]);
        assert_eq!((left.files, left.bytes), (4, 40));
        let nothing = LeaveOut::default();
        assert_eq!(selected(&entries, &nothing).0.len(), entries.len());
    }

    #[test]
    fn a_further_name_of_what_is_left_out_becomes_the_file() {
        let mut first = entry("a/x", Kind::File, "");
        (first.frame, first.offset, first.mode) = (3, 77, 0o640);
        let entries = [
            first,
            entry("b/y", Kind::HardLink, "a/x"),
            entry("b/z", Kind::HardLink, "a/x"),
            entry("a/w", Kind::HardLink, "a/x"),
        ];
        let leave_out = LeaveOut { patterns: patterns(&["/a/*"]), ..LeaveOut::default() };
        let (kept, left) = selected(&entries, &leave_out);
        assert_eq!(paths(&kept), ["b/y", "b/z"]);
        assert_eq!((kept[0].kind, kept[0].frame, kept[0].offset, kept[0].mode), (Kind::File, 3, 77, 0o640));
        assert_eq!((kept[1].kind, kept[1].link.as_slice()), (Kind::HardLink, &b"b/y"[..]));
        assert_eq!((left.files, left.bytes), (2, 0));
    }
}
