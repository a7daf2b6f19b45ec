//! Brings a tree back: proven complete before anything is written, copied by rsync, and given its metadata from the manifest.
//! The caller compares afterwards, as after any restore.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::index::{self, is_hollow};
use super::{Place, Store, TREE, mend, names};
use crate::dirs::Dirs;
use crate::entry::{Entry, Kind, split};
use crate::manifest::Reader;
use crate::restore::{Restored, is_below};
use crate::{Error, Options, Progress, digest, machine_path, walk};

/// Differences that are named; the rest is counted by the length of the list.
const NAMED: usize = 10_000;

/// A file of the manifest that the tree does not have as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Its absolute path in the machine.
    pub path: PathBuf,
    /// "missing", "42 bytes instead of 43", "content".
    pub what: String,
}

/// How far a tree was looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Every file was read, and has the hash that the manifest says.
    Content,
    /// Every file is there with its size; the other side was not asked for more.
    Sizes,
}

impl Store<'_> {
    /// Proves that the tree of a run has every file of the manifest: on a local place by reading it all, on another by names
    /// and sizes. Nothing is written but lists in the work directory.
    ///
    /// # Errors
    /// The place cannot be reached, the manifest cannot be read, or the run was stopped.
    pub fn prove(
        &self,
        name: &str,
        manifest: &Path,
        options: &Options,
        progress: &dyn Progress,
    ) -> Result<(Depth, Vec<Missing>), Error> {
        match &self.place {
            Place::Local { dir } => {
                let tree = dir.join(&self.prefix).join(name).join(TREE);
                Ok((Depth::Content, read_all(manifest, &tree, options, progress)?))
            }
            Place::Shell { .. } | Place::Daemon { .. } => {
                Ok((Depth::Sizes, self.compare_sizes(name, manifest, options, progress)?))
            }
        }
    }

    /// Where the tree of a run is read from, and what the lines of its lists begin with.
    fn tree_of(&self, name: &str) -> (String, Vec<u8>) {
        self.place.listed(&format!("{}/{name}/{TREE}", self.prefix))
    }

    fn compare_sizes(
        &self,
        name: &str,
        manifest: &Path,
        options: &Options,
        progress: &dyn Progress,
    ) -> Result<Vec<Missing>, Error> {
        let (base, start) = self.tree_of(name);
        let list = self.content_list("prove", &start, manifest, &|_| true)?;
        let mut words = self.rsync.fidelity();
        words.extend(["-n", "--from0", "--ignore-missing-args", "--out-format=%l %n"].map(str::to_owned));
        words.extend([format!("--files-from={}", list.display()), base]);
        words.push(self.empty()?.display().to_string());
        let output = self.rsync.run(&self.place, &format!("list the files at {}", self.place), words)?;
        // Eight bytes a path instead of the path: a million files fit.
        let state = RandomState::new();
        let mut sizes: HashMap<u64, u64> = HashMap::new();
        for (size, path) in names::items(&output.stdout) {
            let size = std::str::from_utf8(size).ok().and_then(|size| size.parse().ok());
            if let Some(size) = size {
                sizes.insert(state.hash_one(path.as_ref()), size);
            }
        }
        let mut missing = Vec::new();
        for entry in Reader::open(manifest)? {
            options.cancel.check()?;
            let entry = entry?;
            if entry.kind != Kind::File || is_hollow(&entry) {
                continue;
            }
            let what = match sizes.get(&state.hash_one(entry.path.as_slice())) {
                Some(size) if *size == entry.size => None,
                Some(size) => Some(format!("{size} bytes instead of {}", entry.size)),
                None => Some("missing".to_owned()),
            };
            progress.add(entry.stored(), 1);
            note(&mut missing, &entry, what);
        }
        Ok(missing)
    }

    /// Brings every file of the manifest from the run below `target`, where its filesystems are mounted. Below the mount points
    /// `plain` (vfat) owners and attributes are left out.
    ///
    /// # Errors
    /// rsync fails, the target is full, the manifest cannot be read, or the run was stopped. Trouble with the metadata of
    /// single files is listed.
    pub fn restore(
        &self,
        name: &str,
        manifest: &Path,
        target: &Path,
        plain: &[PathBuf],
        options: &Options,
        progress: &dyn Progress,
    ) -> Result<Restored, Error> {
        let stored_plain: Vec<_> = plain.iter().map(|path| walk::stored_path(path)).collect();
        let is_plain = |entry: &Entry| is_below(&stored_plain, &entry.path);
        mend::loosen(manifest, target, options)?;
        let (base, start) = self.tree_of(name);
        let whole = self.content_list("restore", &start, manifest, &|entry| !is_plain(entry))?;
        let mut words = self.rsync.fidelity();
        words.extend(["--from0".to_owned(), format!("--files-from={}", whole.display())]);
        words.extend([base.clone(), format!("{}/", target.display())]);
        let what = format!("restore the files from {}", self.place);
        let full = |error| match error {
            Error::Rsync { cause: super::Cause::NoSpace, .. } => Error::TargetFull { path: "/".into() },
            other => other,
        };
        self.rsync.run(&self.place, &what, words).map_err(full)?;
        if !plain.is_empty() {
            let list = self.content_list("restore-plain", &start, manifest, &is_plain)?;
            let mut words = ["-rtS", "--modify-window=2", "--from0"].map(str::to_owned).to_vec();
            words.push(format!("--files-from={}", list.display()));
            words.extend([base, format!("{}/", target.display())]);
            self.rsync.run(&self.place, &what, words).map_err(full)?;
        }
        mend::mend(manifest, target, plain, options, progress)
    }

    /// The list of what has content in the tree (and of the directories that it lies in), where `wanted` says yes.
    fn content_list(
        &self,
        name: &str,
        start: &[u8],
        manifest: &Path,
        wanted: &dyn Fn(&Entry) -> bool,
    ) -> Result<PathBuf, Error> {
        sys::fs::create_dir_private(&self.work)?;
        let path = self.work.join(format!("{name}.list"));
        let _ = std::fs::remove_file(&path);
        let mut file = BufWriter::new(sys::fs::create_private(&path)?);
        for entry in Reader::open(manifest)? {
            let entry = entry?;
            // rsync would take all that lies in the root with it.
            if is_hollow(&entry) || entry.path == b"." || !wanted(&entry) {
                continue;
            }
            file.write_all(start)
                .and_then(|()| file.write_all(&entry.path))
                .and_then(|()| file.write_all(&[0]))
                .map_err(Error::writing("a list of files"))?;
        }
        file.flush().map_err(Error::writing("a list of files"))?;
        Ok(path)
    }
}

/// Reads every file of a local tree.
fn read_all(
    manifest: &Path,
    tree: &Path,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Vec<Missing>, Error> {
    let mut dirs = Dirs::new(tree).map_err(Error::io(format!("open {}", tree.display())))?;
    let mut buffer = vec![0; 1 << 20];
    let mut missing = Vec::new();
    for entry in Reader::open(manifest)? {
        options.cancel.check()?;
        let entry = entry?;
        if entry.kind != Kind::File || is_hollow(&entry) {
            continue;
        }
        let (parent, name) = split(&entry.path);
        let what = match dirs.open(parent).and_then(|dir| index::open(dir, name)) {
            Ok((_, stat)) if stat.kind != Some(Kind::File) => Some("no file".to_owned()),
            Ok((_, stat)) if stat.size != entry.size => {
                Some(format!("{} bytes instead of {}", stat.size, entry.size))
            }
            Ok((file, _)) => {
                let has_holes = entry.segments.is_some();
                match digest::of_file(&file, entry.size, has_holes, &mut buffer, &options.cancel)? {
                    Ok((digest, _)) if digest == entry.digest => None,
                    Ok(_) => Some("content".to_owned()),
                    Err(error) => Some(format!("cannot be read: {}", std::io::Error::from(error))),
                }
            }
            Err(rustix::io::Errno::NOENT) => Some("missing".to_owned()),
            Err(error) => Some(format!("cannot be read: {}", std::io::Error::from(error))),
        };
        progress.add(entry.stored(), 1);
        note(&mut missing, &entry, what);
    }
    Ok(missing)
}

fn note(missing: &mut Vec<Missing>, entry: &Entry, what: Option<String>) {
    if let Some(what) = what
        && missing.len() < NAMED
    {
        missing.push(Missing { path: machine_path(&entry.path), what });
    }
}
