//! The end of a restore, one step after the other: hard links, directories from the deepest up, inode flags.
//!
//! Each step would be undone by an earlier one coming later: a new link changes the time of its directory, and in an
//! immutable directory nothing can be made.

use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::Error;
use crate::dirs::{Dirs, open_dir};
use crate::entry::{Entry, Kind, split};
use crate::manifest::{Reader, Totals};
use crate::metadata;
use crate::pipeline::lock;
use crate::restore::{Shared, replacing};

/// What waits for the end.
#[derive(Default)]
pub struct Settle {
    /// In the order of the archive: parents first.
    pub directories: Vec<Entry>,
    /// Hard links; they are read from the manifest again, because a tree of copies may have a million.
    pub links: u64,
    pub totals: Totals,
}

impl Settle {
    /// Does it all. Two views of the target, because a hard link has two ends.
    pub fn run(
        self,
        shared: &Shared<'_>,
        manifest: &Path,
        mut dirs: Dirs,
        mut others: Dirs,
    ) -> Result<Totals, Error> {
        let entries = if self.links > 0 { Some(Reader::open(manifest)?) } else { None };
        for entry in entries.into_iter().flatten() {
            shared.check()?;
            let entry = entry?;
            if entry.kind != Kind::HardLink {
                continue;
            }
            if let Err(error) = link(&entry, &mut dirs, &mut others, shared.replaces()) {
                let target = String::from_utf8_lossy(&entry.link);
                shared.failed(&entry.path, &format!("cannot link it to /{target}"), error);
            }
            shared.count_link();
        }
        for entry in self.directories.iter().rev() {
            shared.check()?;
            directory(entry, &dirs, shared);
        }
        let flagged = std::mem::take(&mut *lock(&shared.flagged));
        for (path, flags) in &flagged {
            shared.check()?;
            let (parent, name) = split(path);
            let how = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let result = dirs
                .open(parent)
                .and_then(|dir| rustix::fs::openat(dir, name, how, Mode::empty()))
                .and_then(|file| metadata::set_flags(file, *flags));
            if let Err(error) = result {
                shared.failed(path, "cannot set its inode flags", error);
            }
        }
        Ok(self.totals)
    }
}

fn link(entry: &Entry, dirs: &mut Dirs, others: &mut Dirs, replace: bool) -> Result<(), Errno> {
    let (from, old) = split(&entry.link);
    let (to, new) = split(&entry.path);
    let from = others.open(from)?;
    let to = dirs.open(to)?;
    replacing(|| rustix::fs::linkat(from, old, to, new, AtFlags::empty()), to, new, replace)
}

fn directory(entry: &Entry, dirs: &Dirs, shared: &Shared<'_>) {
    let fd = match open_dir(dirs.root(), &entry.path, OFlags::RDONLY) {
        Ok(fd) => fd,
        Err(error) => return shared.failed(&entry.path, "cannot open the directory", error),
    };
    if shared.is_plain(&entry.path) {
        // The root of a vfat filesystem has no time.
        let _ = rustix::fs::futimens(&fd, &metadata::timestamps(entry.mtime));
        return;
    }
    metadata::apply(&fd, entry).into_iter().for_each(|detail| shared.problem(&entry.path, detail));
    if entry.flags != 0 {
        shared.flag(&entry.path, entry.flags);
    }
}
