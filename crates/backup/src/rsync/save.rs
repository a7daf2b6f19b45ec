//! One run of a backup: read, transfer, compare, seal. A manifest that says more than the tree has, or something else, is
//! never written: after the transfer, rsync compares the content of both sides, and what changed while it was read is
//! described as it lies in the tree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::history::is_date;
use super::index::{self, List, describe, is_hollow, place_in};
use super::program::Cause;
use super::{History, PARTIAL, Place, Store, TREE, names};
use crate::create::{Problem, ProblemKind, Source};
use crate::dirs::Dirs;
use crate::entry::{Entry, Kind, split};
use crate::manifest::{Reader, Totals};
use crate::{Error, Options, Progress, Stored, machine_path, metadata, select};

/// Leftovers of killed runs in which unchanged files are looked for.
const BASES: usize = 4;
/// The kernel's clock for changes of files is coarser than the one that we read; in nanoseconds.
const CLOCK_STEP: u32 = 100_000_000;

/// A run that is not complete yet.
pub struct Building<'s, 'a> {
    store: &'s Store<'a>,
    /// The name that it gets.
    name: String,
    /// The name that it has until then; the same where nothing can be renamed.
    dir: String,
    /// Runs with files that need not be transferred again.
    bases: Vec<String>,
}

/// The files as they were read, before anything is transferred.
pub struct Read {
    /// What could not be read, and sockets.
    pub problems: Vec<Problem>,
    /// Entries and bytes of content.
    pub totals: Totals,
    lists: Vec<List>,
    manifest: PathBuf,
    /// When it began: seconds since 1970 and nanoseconds.
    started: (i64, u32),
}

/// What lies in the tree.
#[derive(Debug)]
pub struct Saved {
    /// The manifest, a file of the work directory.
    pub manifest: PathBuf,
    /// Entries and bytes of content.
    pub totals: Totals,
    /// Everything that is not in the tree as it is on the machine.
    pub problems: Vec<Problem>,
}

impl<'a> Store<'a> {
    /// Begins a run. `date` (`YYYY-MM-DD_HHMMSS`) is later than all before it.
    ///
    /// # Errors
    /// There is such a run, or the place cannot be written.
    pub fn begin<'s>(&'s self, date: &str, history: &History) -> Result<Building<'s, 'a>, Error> {
        let known = |name: &String| name.trim_start_matches(PARTIAL) == date;
        if !is_date(date) || history.complete.iter().chain(&history.leftovers).any(known) {
            return Err(Error::Io {
                what: format!("begin the run {date} at {}", self.place),
                source: std::io::ErrorKind::AlreadyExists.into(),
            });
        }
        let renames = match self.place {
            Place::Local { .. } => true,
            Place::Daemon { .. } => false,
            // Some logins may run rsync and nothing else.
            Place::Shell { .. } => {
                self.rsync.remote(&self.place, &["true"])?.is_some_and(|output| output.code == 0)
            }
        };
        let dir = if renames { format!("{PARTIAL}{date}") } else { date.to_owned() };
        let skeleton = self.fresh("skeleton")?;
        sys::fs::create_dir_private(&skeleton.join(&self.prefix).join(&dir).join(TREE))?;
        let words = vec!["-r".to_owned(), format!("{}/", skeleton.display()), self.place.argument("")];
        self.rsync.run(&self.place, &format!("make a directory at {}", self.place), words)?;
        let newest = history.complete.last().into_iter();
        let bases = newest.chain(history.leftovers.iter().rev().take(BASES)).cloned().collect();
        Ok(Building { store: self, name: date.to_owned(), dir, bases })
    }
}

impl<'a> Store<'a> {
    /// Goes on with a run that [`Store::begin`] has begun: its two names.
    pub fn reopen<'s>(&'s self, name: &str, dir: &str) -> Building<'s, 'a> {
        Building { store: self, name: name.to_owned(), dir: dir.to_owned(), bases: Vec::new() }
    }
}

impl Building<'_, '_> {
    /// The name that the run gets when it is complete, and the one that it has until then.
    pub fn names(&self) -> (&str, &str) {
        (&self.name, &self.dir)
    }

    /// The tree, as a relative path in the place.
    fn tree(&self) -> String {
        format!("{}/{}/{TREE}", self.store.prefix, self.dir)
    }

    /// Where a list goes in the tree.
    fn target(&self, list: &List) -> String {
        let tree = self.store.place.argument(&self.tree());
        match list.at.as_slice() {
            b"." => tree,
            at => format!("{tree}{}/", String::from_utf8_lossy(at)),
        }
    }

    /// Reads and hashes every file of the source, before anything is transferred.
    ///
    /// # Errors
    /// The work directory cannot be written, the source cannot be opened, or the run was stopped.
    pub fn read(&self, source: &Source, options: &Options, progress: &dyn Progress) -> Result<Read, Error> {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        let nanoseconds = u32::try_from(now.tv_nsec).unwrap_or(0);
        let started = match nanoseconds.checked_sub(CLOCK_STEP) {
            Some(nanoseconds) => (now.tv_sec, nanoseconds),
            None => (now.tv_sec - 1, nanoseconds + 1_000_000_000 - CLOCK_STEP),
        };
        sys::fs::create_dir_private(&self.store.work)?;
        let manifest = self.store.work.join("manifest-0.zst");
        let _ = std::fs::remove_file(&manifest);
        let file = sys::fs::create_private(&manifest)?;
        let found = index::index(source, &file, &self.store.work, options, progress)?;
        Ok(Read { problems: found.problems, totals: found.totals, lists: found.lists, manifest, started })
    }

    /// Transfers what was read, proves that both sides hold the same, and describes what the tree really holds.
    ///
    /// # Errors
    /// rsync fails, the work directory is full, or the run was stopped. What was transferred stays for the next run, unless
    /// there was no room for it.
    pub fn transfer(&self, read: Read, options: &Options) -> Result<Saved, Error> {
        self.transfer_all(read, options).inspect_err(|error| {
            if matches!(error, Error::Rsync { cause: Cause::NoSpace, .. }) {
                // Nothing can be continued there, and others need the room. What cannot be removed now is a leftover, which
                // the next run removes.
                let _ = self.store.remove(&self.dir);
            }
        })
    }

    fn transfer_all(&self, read: Read, options: &Options) -> Result<Saved, Error> {
        for list in &read.lists {
            let mut words = self.words(list);
            for base in &self.bases {
                let up = "../".repeat(2 + depth(&list.at));
                let below = match list.at.as_slice() {
                    b"." => String::new(),
                    at => format!("/{}", String::from_utf8_lossy(at)),
                };
                words.push(format!("--link-dest={up}{base}/{TREE}{below}"));
            }
            words.extend([format!("{}/", list.root.display()), self.target(list)]);
            self.store.rsync.run_live(
                &self.store.place,
                &format!("copy the files to {}", self.store.place),
                words,
            )?;
        }
        let mut doubtful = self.differing(&read.lists)?;
        changed_meanwhile(&read, &mut doubtful, options)?;
        let mut saved =
            Saved { manifest: read.manifest.clone(), totals: read.totals, problems: read.problems };
        if !doubtful.is_empty() {
            self.describe_anew(&doubtful, &mut saved, options)?;
        }
        Ok(saved)
    }

    fn words(&self, list: &List) -> Vec<String> {
        let mut words = self.store.rsync.fidelity();
        words.extend(["--ignore-missing-args".to_owned(), "--from0".to_owned()]);
        words.push(format!("--files-from={}", list.file.display()));
        words
    }

    /// Stored paths of what differs between the machine and the tree now, by content.
    fn differing(&self, lists: &[List]) -> Result<BTreeSet<Vec<u8>>, Error> {
        let mut found = BTreeSet::new();
        for list in lists {
            let mut words = self.words(list);
            words.extend(["-nc".to_owned(), "--out-format=%i %n".to_owned()]);
            words.extend([format!("{}/", list.root.display()), self.target(list)]);
            let what = format!("compare the files with {}", self.store.place);
            let output = self.store.rsync.run_live(&self.store.place, &what, words)?;
            // A point stands for the same content with other attributes; these are in the manifest.
            for (_, path) in names::items(&output.stdout).filter(|(item, _)| item.first() != Some(&b'.')) {
                found.insert(match list.at.as_slice() {
                    b"." => path.into_owned(),
                    at if path.as_ref() == b"." => at.to_vec(),
                    at => [at, b"/", &path].concat(),
                });
            }
        }
        Ok(found)
    }

    /// Gives the doubtful entries the content that they have in the tree, and takes out what is not there.
    fn describe_anew(
        &self,
        doubtful: &BTreeSet<Vec<u8>>,
        saved: &mut Saved,
        options: &Options,
    ) -> Result<(), Error> {
        let root = match &self.store.place {
            Place::Local { dir } => dir.join(self.tree()),
            Place::Shell { .. } | Place::Daemon { .. } => self.pull(doubtful)?,
        };
        let (mut gone, mut fresh) = (BTreeSet::new(), BTreeMap::new());
        let mut dirs = Dirs::new(&root).map_err(Error::io(format!("open {}", root.display())))?;
        let mut buffer = vec![0; 256 << 10];
        for entry in Reader::open(&saved.manifest)? {
            options.cancel.check()?;
            let entry = entry?;
            if !doubtful.contains(&entry.path) || is_hollow(&entry) {
                continue;
            }
            let (parent, name) = split(&entry.path);
            let found = dirs.open(parent).and_then(|dir| metadata::stat_at(dir, name));
            let is_file = matches!(entry.kind, Kind::File | Kind::HardLink);
            match found {
                Ok(stat) if is_file && stat.kind == Some(Kind::File) => {
                    let opened = dirs.open(parent).and_then(|dir| index::open(dir, name));
                    let fail = || {
                        Error::io::<rustix::io::Errno>(format!(
                            "read {} in the tree",
                            machine_path(&entry.path).display()
                        ))
                    };
                    let (file, stat) = opened.map_err(fail())?;
                    let mut now = stat.entry(entry.path.clone(), Kind::File);
                    describe(&mut now, &file, &stat, &mut buffer, options, &mut 0)?.map_err(fail())?;
                    fresh.insert(entry.path.clone(), now);
                }
                // Links and devices are made as the manifest says.
                Ok(stat)
                    if !is_file || (entry.kind == Kind::HardLink && stat.kind != Some(Kind::Directory)) => {}
                Ok(_) | Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => {
                    gone.insert(entry.path.clone());
                }
                Err(error) => {
                    let what = format!("look at {} in the tree", machine_path(&entry.path).display());
                    return Err(Error::io(what)(error));
                }
            }
        }
        drop(dirs);
        self.rewrite(&gone, &fresh, saved, options)
    }

    fn rewrite(
        &self,
        gone: &BTreeSet<Vec<u8>>,
        fresh: &BTreeMap<Vec<u8>, Entry>,
        saved: &mut Saved,
        options: &Options,
    ) -> Result<(), Error> {
        let is_out = |entry: &Entry| gone.contains(&entry.path);
        let mut firsts = BTreeSet::new();
        for entry in Reader::open(&saved.manifest)? {
            let entry = entry?;
            select::note_first(&entry, &is_out, &mut firsts);
            let problem =
                |kind, detail: &str| Problem { path: machine_path(&entry.path), kind, detail: detail.into() };
            if is_out(&entry) {
                saved.problems.push(problem(ProblemKind::Vanished, "it was gone when it was to be copied"));
            } else if let (Kind::File, Some(now)) = (entry.kind, fresh.get(&entry.path))
                && (now.digest, now.size) != (entry.digest, entry.size)
            {
                saved.problems.push(problem(ProblemKind::Changed, "it changed while it was read"));
            }
        }
        // Twice: a hard link whose first name is gone becomes a file in the first pass, and is described in the second.
        let keep = |_: &Entry| false;
        let update = |entry: &mut Entry| {
            if let (Kind::File, Some(now)) = (entry.kind, fresh.get(&entry.path)) {
                (entry.size, entry.mtime, entry.digest) = (now.size, now.mtime, now.digest);
                entry.segments.clone_from(&now.segments);
            }
        };
        let mut pass = |number: u32, is_out: &dyn Fn(&Entry) -> bool, change: &dyn Fn(&mut Entry)| {
            let next = self.store.work.join(format!("manifest-{number}.zst"));
            let _ = std::fs::remove_file(&next);
            let file = sys::fs::create_private(&next)?;
            let stored = Stored::open(&saved.manifest)?;
            let (_, totals) = select::write(&stored, &file, is_out, change, &firsts, options)?;
            file.sync_all().map_err(Error::writing("the manifest"))?;
            (saved.manifest, saved.totals) = (next, totals);
            Ok::<(), Error>(())
        };
        pass(1, &is_out, &|_| {})?;
        pass(2, &keep, &update)
    }

    /// Brings doubtful files of a place that is not this machine back into the work directory.
    fn pull(&self, doubtful: &BTreeSet<Vec<u8>>) -> Result<PathBuf, Error> {
        let dir = self.store.fresh("pulled")?;
        let (base, start) = self.store.place.listed(&self.tree());
        // rsync would take all that lies in the root with it.
        let paths = doubtful.iter().map(Vec::as_slice).filter(|path| *path != b".");
        let list = self.store.list_file("pulled", &start, paths)?;
        let mut words = self.store.rsync.fidelity();
        words.extend(["--ignore-missing-args".to_owned(), "--from0".to_owned()]);
        words.push(format!("--files-from={}", list.display()));
        words.extend([base, format!("{}/", dir.display())]);
        let what =
            "read back the files that changed during the backup (they need room in the working directory)";
        self.store.rsync.run(&self.store.place, what, words)?;
        Ok(dir)
    }

    /// Puts small files of `dir` beside the tree, and reads them back.
    ///
    /// # Errors
    /// They cannot be transferred, or do not come back as they were.
    pub fn put(&self, dir: &Path, files: &[String]) -> Result<(), Error> {
        let list = self.store.list_file("put", b"", files.iter().map(|name| name.as_bytes()))?;
        let mut words =
            vec!["-t".to_owned(), "--from0".to_owned(), format!("--files-from={}", list.display())];
        words.push(format!("{}/", dir.display()));
        words.push(self.store.place.argument(&format!("{}/{}", self.store.prefix, self.dir)));
        self.store.rsync.run(&self.store.place, &format!("copy to {}", self.store.place), words)?;
        let paths: Vec<String> = files.iter().map(|name| format!("{}/{name}", self.dir)).collect();
        let fetched = self.store.fetch(&paths)?;
        for (name, path) in files.iter().zip(&paths) {
            let hash = |path: PathBuf| -> Result<blake3::Hash, Error> {
                let mut hasher = blake3::Hasher::new();
                let fail = || Error::io::<std::io::Error>(format!("read {}", path.display()));
                let mut file = std::fs::File::open(&path).map_err(fail())?;
                std::io::copy(&mut file, &mut hasher).map_err(fail())?;
                Ok(hasher.finalize())
            };
            if hash(dir.join(name))? != hash(fetched.join(path))? {
                return Err(Error::Damaged {
                    path: PathBuf::from(name),
                    part: format!("it reads back differently from {}", self.store.place),
                });
            }
        }
        Ok(())
    }

    /// Puts the seal of `dir` beside the tree and gives the run its name: from then on it is complete.
    ///
    /// # Errors
    /// The seal cannot be transferred, or the name cannot be given.
    pub fn publish(self, dir: &Path) -> Result<(), Error> {
        if let Some(place) = self.store.place.local() {
            // The files must be on the disk before the seal says so.
            let fail = || Error::io::<std::io::Error>(format!("flush {}", place.display()));
            let open = std::fs::File::open(place).map_err(fail())?;
            rustix::fs::syncfs(&open).map_err(|error| fail()(error.into()))?;
        } else {
            // Best effort: not every login may run it.
            let _ = self.store.rsync.remote(&self.store.place, &["sync"])?;
        }
        self.put(dir, std::slice::from_ref(&self.store.seal))?;
        if self.dir != self.name {
            self.rename()?;
        }
        if self.store.history()?.complete.last() != Some(&self.name) {
            return Err(Error::Io {
                what: format!("find the run {} at {}", self.name, self.store.place),
                source: std::io::ErrorKind::NotFound.into(),
            });
        }
        Ok(())
    }

    fn rename(&self) -> Result<(), Error> {
        let (store, prefix) = (self.store, &self.store.prefix);
        let (from, to) = (format!("{prefix}/{}", self.dir), format!("{prefix}/{}", self.name));
        let what = || format!("give the run {} its name at {}", self.name, store.place);
        if let Some(place) = store.place.local() {
            std::fs::rename(place.join(from), place.join(to)).map_err(Error::io(what()))?;
            if let Ok(parent) = std::fs::File::open(place.join(prefix)) {
                // Where directories cannot be flushed, the filesystem does it in its own time.
                let _ = parent.sync_all();
            }
            return Ok(());
        }
        let (from, to) = (store.place.path_of(&from), store.place.path_of(&to));
        match store.rsync.remote(&store.place, &["mv", &from, &to])? {
            Some(output) if output.code == 0 => Ok(()),
            output => {
                let said = output.map(|output| String::from_utf8_lossy(&output.stderr).trim().to_owned());
                Err(Error::Io { what: what(), source: std::io::Error::other(said.unwrap_or_default()) })
            }
        }
    }
}

/// Directories between the root of a tree and a stored path, the path itself included.
fn depth(at: &[u8]) -> usize {
    if at == b"." { 0 } else { at.split(|byte| *byte == b'/').count() }
}

/// Adds what is no longer on the machine as it was read.
fn changed_meanwhile(read: &Read, doubtful: &mut BTreeSet<Vec<u8>>, options: &Options) -> Result<(), Error> {
    let open =
        |list: &List| Dirs::new(&list.root).map_err(Error::io(format!("open {}", list.root.display())));
    let mut roots = read.lists.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    for entry in Reader::open(&read.manifest)? {
        options.cancel.check()?;
        let entry = entry?;
        let (number, path) = place_in(&read.lists, &entry.path);
        let (parent, name) = split(path);
        let found = roots[number].open(parent).and_then(|dir| metadata::stat_at(dir, name));
        let same = found.is_ok_and(|stat| match entry.kind {
            Kind::File | Kind::HardLink => {
                let is_file = stat.kind == Some(Kind::File);
                let content =
                    entry.kind == Kind::HardLink || (stat.size, stat.mtime) == (entry.size, entry.mtime);
                (!is_file && entry.kind == Kind::HardLink)
                    || (is_file && content && stat.ctime < read.started)
            }
            kind => stat.kind == Some(kind),
        });
        if !same {
            doubtful.insert(entry.path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::depth;

    #[test]
    fn links_to_a_base_go_up_from_where_they_are() {
        assert_eq!((depth(b"."), depth(b"a"), depth(b"run/rear/top")), (0, 1, 3));
    }
}
