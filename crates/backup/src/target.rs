//! Makes files again whose content comes from elsewhere than an archive: the same calls, in the same order, with the same
//! list of what went wrong. It never reads content, and reaches nothing outside of the target.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::dirs::Dirs;
use crate::entry::Entry;
use crate::restore::{self, Shared};
use crate::settle::Settle;
use crate::{Error, Options, Progress, Restored};

/// The directory that becomes `/`. The order of work: directories and files as the manifest has them, by any number of
/// [`Hand`]s, and [`Target::settle`] at the end.
#[allow(missing_debug_implementations, reason = "it holds the caller's progress")]
pub struct Target<'a> {
    path: &'a Path,
    shared: Shared<'a>,
}

impl<'a> Target<'a> {
    /// `plain` and `replace` mean what they mean for [`Restore`](crate::Restore).
    pub fn new(
        path: &'a Path,
        plain: &[PathBuf],
        replace: bool,
        options: &'a Options,
        progress: &'a dyn Progress,
    ) -> Self {
        Self { path, shared: Shared::new(plain, replace, options, progress) }
    }

    /// For one thread.
    ///
    /// # Errors
    /// The target cannot be opened.
    pub fn hand(&self) -> Result<Hand<'_, 'a>, Error> {
        Ok(Hand { shared: &self.shared, dirs: self.open()? })
    }

    fn open(&self) -> Result<Dirs, Error> {
        Dirs::new(self.path).map_err(Error::io(format!("open {}", self.path.display())))
    }

    /// Whether to stop: the target is full, the operator stopped the run, or [`Target::stop`] was called.
    pub fn is_stopped(&self) -> bool {
        self.shared.failure.is_set() || self.shared.options.cancel.is_raised()
    }

    /// Ends the run with that error, when it is the first.
    pub fn stop(&self, error: Error) {
        self.shared.failure.set(error);
    }

    /// What ended the run.
    pub fn failure(&self) -> Option<Error> {
        self.shared.failure.take()
    }

    /// Lists a file that does not come back as it was.
    pub fn problem(&self, path: &[u8], detail: String) {
        self.shared.problem(path, detail);
    }

    /// Hard links, the metadata of the directories (in the order of the manifest), inode flags. `links` is the number of
    /// hard links in the manifest.
    ///
    /// # Errors
    /// The target is full, the manifest cannot be read, or the run was or is stopped.
    pub fn settle(&self, directories: Vec<Entry>, links: u64, manifest: &Path) -> Result<Restored, Error> {
        self.shared.check()?;
        let totals = crate::totals(manifest)?;
        let settle = Settle { directories, links, totals };
        let totals = settle.run(&self.shared, manifest, self.open()?, self.open()?)?;
        self.shared.failure.take().map_or(Ok(()), Err)?;
        let mut problems = self.shared.take_problems();
        problems.dedup();
        Ok(Restored { files: totals.files, bytes: totals.bytes, problems })
    }
}

/// One thread's access to the target. What goes wrong with a file is listed.
#[allow(missing_debug_implementations, reason = "it holds the caller's progress")]
pub struct Hand<'t, 'a> {
    shared: &'t Shared<'a>,
    dirs: Dirs,
}

impl<'t, 'a> Hand<'t, 'a> {
    /// Makes a directory; its metadata comes with [`Target::settle`].
    pub fn directory(&mut self, entry: &Entry) {
        restore::directory(self.shared, &mut self.dirs, entry);
    }

    /// Makes a symbolic link, a device node or a pipe, with its metadata.
    pub fn special(&mut self, entry: &Entry) {
        restore::special(self.shared, &mut self.dirs, entry);
        self.shared.progress.add(0, 1);
    }

    /// Opens a new file in the place of what has its name; `None` where that failed.
    pub fn file(&mut self, entry: Entry) -> Option<TargetFile<'t, 'a>> {
        let made = restore::create_file(&mut self.dirs, &entry, self.shared.replaces()).and_then(|file| {
            if entry.segments.is_some() {
                rustix::fs::ftruncate(&file, entry.size)?;
            }
            Ok(file)
        });
        self.shared.progress.add(0, 1);
        match made {
            Ok(file) => Some(TargetFile { shared: self.shared, entry, file }),
            Err(error) => {
                self.shared.failed(&entry.path, "cannot create the file", error);
                None
            }
        }
    }
}

/// A file that is being filled, perhaps by several threads.
#[allow(missing_debug_implementations, reason = "it holds the caller's progress")]
pub struct TargetFile<'t, 'a> {
    shared: &'t Shared<'a>,
    entry: Entry,
    file: OwnedFd,
}

impl TargetFile<'_, '_> {
    /// What it becomes.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Writes content that begins at that offset of the file, its holes left out.
    pub fn write(&self, data: &[u8], offset: u64) {
        let whole = [(0, self.entry.size)];
        let segments = self.entry.segments.as_deref().unwrap_or(&whole);
        let end = offset + data.len() as u64;
        let first = segments.partition_point(|(start, length)| start + length <= offset);
        for (start, length) in segments[first..].iter().take_while(|(start, _)| *start < end) {
            let (from, to) = (offset.max(*start), end.min(start + length));
            let within = |at: u64| usize::try_from(at - offset).unwrap_or(data.len());
            if let Err(error) = restore::write_at(&self.file, &data[within(from)..within(to)], from) {
                return self.shared.failed(&self.entry.path, "cannot write the file", error);
            }
            self.shared.progress.add(to - from, 0);
        }
    }

    /// Gives it its metadata. After all of its content.
    pub fn finish(&self) {
        restore::finish(self.shared, &self.entry, &self.file);
    }
}
