//! The second reading: brings back what a manifest of the archive lists, one member after the other. Nothing outside of the
//! target can be reached ([`crate::dirs`]), and nothing that is there is replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::reader::Reader;
use super::{Foreign, Problems};
use crate::dirs::{Dirs, open_dir};
use crate::entry::{Entry, Kind, split};
use crate::manifest::{self, Totals};
use crate::restore::{is_below, make_special, write_at};
use crate::{Error, Options, Progress, Restored, machine_path, metadata, walk};

impl Foreign {
    /// Brings back below `target` what the manifest lists: that of [`Foreign::scan`], or a part of it. Directories that are
    /// there already are used, and get their owner, mode and times; anything else that is in the way stays, and what should
    /// have its name is listed. `plain` are mount points on filesystems without owners and attributes, as paths in the
    /// machine: there only content and time are restored.
    ///
    /// # Errors
    /// The archive cannot be read, or is not the one that was scanned; the target is full; or the run was stopped. Trouble
    /// with single files is listed instead.
    pub fn restore(
        &self,
        manifest: &Path,
        target: &Path,
        plain: &[PathBuf],
        options: &Options,
        progress: &dyn Progress,
    ) -> Result<Restored, Error> {
        let open_target = || Dirs::new(target).map_err(Error::io(format!("open {}", target.display())));
        let mut run = Run {
            dirs: open_target()?,
            others: open_target()?,
            plain: plain.iter().map(|path| walk::stored_path(path)).collect(),
            implied: BTreeSet::new(),
            problems: Problems::default(),
            flagged: Vec::new(),
        };
        let totals = run.members(self, manifest, options, progress)?;
        run.settle(manifest, options)?;
        run.problems.list.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(Restored { files: totals.files, bytes: totals.bytes, problems: run.problems.take() })
    }
}

struct Run {
    dirs: Dirs,
    /// A second view, because a hard link has two ends.
    others: Dirs,
    plain: Vec<Vec<u8>>,
    /// Directories that were made because something lies below them.
    implied: BTreeSet<Vec<u8>>,
    problems: Problems,
    /// Inode flags, which are set at the very end.
    flagged: Vec<(Vec<u8>, u32)>,
}

impl Run {
    /// Lists a file. A full target ends the run instead.
    fn failed(&mut self, path: &[u8], what: &str, error: Errno) -> Result<(), Error> {
        if matches!(error, Errno::NOSPC | Errno::DQUOT) {
            return Err(Error::TargetFull { path: machine_path(path) });
        }
        self.problem(path, format!("{what}: {}", std::io::Error::from(error)));
        Ok(())
    }

    fn problem(&mut self, path: &[u8], detail: String) {
        self.problems.add(path, detail);
    }

    fn members(
        &mut self,
        archive: &Foreign,
        manifest: &Path,
        options: &Options,
        progress: &dyn Progress,
    ) -> Result<Totals, Error> {
        let changed = || super::unusable(archive.path(), "it is not as it was when it was read a moment ago");
        // A further name of a file that does not come back itself stands later in the manifest than its content here.
        let mut moved: BTreeMap<u64, Vec<Entry>> = BTreeMap::new();
        let mut highest = 0;
        for entry in manifest::Reader::open(manifest)? {
            let entry = entry?;
            if entry.frame < highest {
                moved.entry(entry.frame).or_default().push(entry);
            } else {
                highest = entry.frame;
            }
        }
        highest = 0;
        let mut wanted = manifest::Reader::open(manifest)?;
        let mut next: Option<Entry> = None;
        let mut reader = archive.reader()?;
        let mut number = 0;
        while let Some(member) = reader.next().map_err(|bad| archive.bad(bad))? {
            options.cancel.check()?;
            number += 1;
            let mut now = moved.remove(&number).unwrap_or_default();
            // What lies in this member, or is made because of it.
            while let Some(entry) = next.take().map(Ok).or_else(|| wanted.next()) {
                let entry = entry?;
                if entry.frame > number {
                    next = Some(entry);
                    break;
                }
                if entry.frame >= highest {
                    highest = entry.frame;
                    now.push(entry);
                }
            }
            for entry in &now {
                progress.add(entry.stored(), 1);
                match entry.kind {
                    Kind::Directory => self.directory(entry)?,
                    // Made when all files are there.
                    Kind::HardLink | Kind::File => {}
                    _ => self.special(entry)?,
                }
            }
            let files: Vec<&Entry> = now.iter().filter(|entry| entry.kind == Kind::File).collect();
            if !files.is_empty() {
                let is_same = |entry: &&Entry| {
                    member.kind == Kind::File
                        && (entry.size, &entry.segments) == (member.size, &member.segments)
                };
                if !files.iter().all(is_same) {
                    return Err(changed());
                }
                self.files(archive, &files, &mut reader)?;
            }
        }
        // The reader has seen all entries that belong to members.
        for entry in wanted.by_ref() {
            entry?;
        }
        Ok(wanted.totals().unwrap_or_default())
    }

    /// The directory that the entry lies in, made where the archive has not told it.
    fn parent(&mut self, path: &[u8]) -> Result<(), Errno> {
        // Upwards to what is there, and down again: a path may be deeper than the stack.
        let mut missing = Vec::new();
        let mut at = path;
        loop {
            match self.dirs.open(at) {
                Ok(_) => break,
                Err(Errno::NOENT) if at != b"." => missing.push(at),
                Err(error) => return Err(error),
            }
            at = split(at).0;
        }
        for path in missing.into_iter().rev() {
            let (above, name) = split(path);
            rustix::fs::mkdirat(self.dirs.open(above)?, name, Mode::RWXU)?;
            self.implied.insert(path.to_vec());
        }
        self.dirs.open(path).map(|_| ())
    }

    /// Private until its metadata is set at the very end.
    fn directory(&mut self, entry: &Entry) -> Result<(), Error> {
        self.implied.remove(&entry.path);
        if entry.path == b"." {
            return Ok(());
        }
        let (above, name) = split(&entry.path);
        let made = self.parent(above).and_then(|()| {
            let dir = self.dirs.open(above)?;
            match rustix::fs::mkdirat(dir, name, Mode::RWXU) {
                Err(Errno::EXIST) if metadata::stat_at(dir, name)?.kind == Some(Kind::Directory) => Ok(()),
                result => result,
            }
        });
        match made {
            Ok(()) => Ok(()),
            Err(error) => self.failed(&entry.path, "cannot create the directory", error),
        }
    }

    /// Links, devices and pipes.
    fn special(&mut self, entry: &Entry) -> Result<(), Error> {
        let (above, name) = split(&entry.path);
        let is_plain = is_below(&self.plain, &entry.path);
        let made = self.parent(above).and_then(|()| {
            let dir = self.dirs.open(above)?;
            make_special(dir, name, entry)?;
            Ok(if is_plain { Vec::new() } else { metadata::apply_at(dir, name, entry) })
        });
        match made {
            Ok(failed) => failed.into_iter().for_each(|detail| self.problem(&entry.path, detail)),
            Err(error) => {
                let what = format!("cannot create the {}", entry.kind.name());
                self.failed(&entry.path, &what, error)?;
            }
        }
        Ok(())
    }

    /// One content, and every file that gets it.
    fn files(&mut self, archive: &Foreign, entries: &[&Entry], reader: &mut Reader) -> Result<(), Error> {
        let mut open: Vec<(&Entry, OwnedFd)> = Vec::new();
        for entry in entries {
            let (above, name) = split(&entry.path);
            let made = self.parent(above).and_then(|()| {
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = rustix::fs::openat(self.dirs.open(above)?, name, flags, Mode::RUSR | Mode::WUSR)?;
                metadata::set_early_flags(&file, entry.flags);
                if entry.segments.is_some() {
                    rustix::fs::ftruncate(&file, entry.size)?;
                }
                Ok(file)
            });
            match made {
                Ok(file) => open.push((entry, file)),
                Err(error) => self.failed(&entry.path, "cannot create the file", error)?,
            }
        }
        let Some(first) = entries.first() else { return Ok(()) };
        let whole = [(0, first.size)];
        let mut buffer = vec![0; 256 << 10];
        for (offset, length) in first.segments.as_deref().unwrap_or(&whole) {
            let mut at = *offset;
            let end = offset + length;
            while at < end {
                let want = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
                let count = reader.read(&mut buffer[..want]).map_err(|bad| archive.bad(bad))?;
                if count == 0 {
                    return Err(super::unusable(archive.path(), "the content of a file is cut off"));
                }
                let mut index = 0;
                while let Some((entry, file)) = open.get(index) {
                    if let Err(error) = write_at(file, &buffer[..count], at) {
                        self.failed(&entry.path, "cannot write the file", error)?;
                        open.remove(index);
                    } else {
                        index += 1;
                    }
                }
                at += count as u64;
            }
        }
        for (entry, file) in open {
            self.finish(entry, &file);
        }
        Ok(())
    }

    fn finish(&mut self, entry: &Entry, file: &OwnedFd) {
        if is_below(&self.plain, &entry.path) {
            // The root of a vfat filesystem has no time.
            let _ = rustix::fs::futimens(file, &metadata::timestamps(entry.mtime));
            return;
        }
        for detail in metadata::apply(file, entry) {
            self.problem(&entry.path, detail);
        }
        if entry.flags != 0 {
            self.flagged.push((entry.path.clone(), entry.flags));
        }
    }

    /// Hard links, then directories, then inode flags: each would be undone by an earlier one coming later.
    fn settle(&mut self, manifest: &Path, options: &Options) -> Result<(), Error> {
        for entry in manifest::Reader::open(manifest)? {
            options.cancel.check()?;
            let entry = entry?;
            if entry.kind == Kind::HardLink
                && let Err(error) = self.link(&entry)
            {
                let what = format!("cannot link it to /{}", String::from_utf8_lossy(&entry.link));
                self.failed(&entry.path, &what, error)?;
            }
        }
        let usual = Mode::RWXU | Mode::RGRP | Mode::XGRP | Mode::ROTH | Mode::XOTH;
        for path in std::mem::take(&mut self.implied) {
            let open = open_dir(self.dirs.root(), &path, OFlags::RDONLY);
            let _ = open.and_then(|dir| rustix::fs::fchmod(dir, usual));
        }
        for entry in manifest::Reader::open(manifest)? {
            options.cancel.check()?;
            let entry = entry?;
            if entry.kind != Kind::Directory {
                continue;
            }
            match open_dir(self.dirs.root(), &entry.path, OFlags::RDONLY) {
                Ok(dir) => self.finish(&entry, &dir),
                Err(error) => self.failed(&entry.path, "cannot open the directory", error)?,
            }
        }
        for (path, flags) in std::mem::take(&mut self.flagged) {
            let (above, name) = split(&path);
            let how = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let opened = if path == b"." {
                open_dir(self.dirs.root(), &path, OFlags::RDONLY)
            } else {
                let dir = self.dirs.open(above);
                dir.and_then(|dir| rustix::fs::openat(dir, name, how, Mode::empty()))
            };
            if let Err(error) = opened.and_then(|file| metadata::set_flags(file, flags)) {
                self.failed(&path, "cannot set its inode flags", error)?;
            }
        }
        Ok(())
    }

    fn link(&mut self, entry: &Entry) -> Result<(), Errno> {
        let (from, old) = split(&entry.link);
        let (to, new) = split(&entry.path);
        self.parent(to)?;
        let from = self.others.open(from)?;
        rustix::fs::linkat(from, old, self.dirs.open(to)?, new, AtFlags::empty())
    }
}
