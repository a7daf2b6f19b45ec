//! Gives files that another program brought back the metadata that the manifest has, and makes what needs no content: links,
//! devices, pipes, files that are one hole. It never writes content.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::io::Errno;

use super::index::{self, is_hollow};
use crate::dirs::Dirs;
use crate::entry::{Entry, Kind, split};
use crate::manifest::Reader;
use crate::metadata::{self, Xattrs};
use crate::restore::{self, Restored, Shared, replacing};
use crate::settle::Settle;
use crate::{Error, Options, Progress, Stored};

/// Takes from what an earlier restore has left what would forbid to write it again: inode flags such as "immutable".
///
/// # Errors
/// The manifest cannot be read, or the run was stopped.
pub(crate) fn loosen(manifest: &Path, target: &Path, options: &Options) -> Result<(), Error> {
    let mut dirs = Dirs::new(target).map_err(Error::io(format!("open {}", target.display())))?;
    for entry in Reader::open(manifest)? {
        options.cancel.check()?;
        let entry = entry?;
        let opened = matches!(entry.kind, Kind::File | Kind::Directory) && entry.flags != 0;
        if !opened {
            continue;
        }
        let (parent, name) = split(&entry.path);
        if let Ok((file, _)) = dirs.open(parent).and_then(|dir| index::open(dir, name)) {
            // What cannot be loosened cannot be written either, and is named then.
            let _ = metadata::set_flags(&file, 0);
        }
    }
    Ok(())
}

/// Sets everything that the manifest says. Below the mount points `plain` only times are set.
///
/// # Errors
/// The manifest cannot be read, the target is full, or the run was stopped. Trouble with single files is listed.
pub(crate) fn mend(
    manifest: &Path,
    target: &Path,
    plain: &[PathBuf],
    options: &Options,
    progress: &dyn Progress,
) -> Result<Restored, Error> {
    let stored = Stored::open(manifest)?;
    let shared = Shared::new(plain, true, options, progress);
    let open = || Dirs::new(target).map_err(Error::io(format!("open {}", target.display())));
    let mut worker = Mender { shared: &shared, dirs: open()?, xattrs: Xattrs::new() };
    let mut settle = Settle::default();
    let mut reader = Reader::of(&stored)?;
    for entry in &mut reader {
        shared.check()?;
        let entry = entry?;
        match entry.kind {
            Kind::Directory => {
                worker.directory(&entry);
                settle.directories.push(entry);
            }
            Kind::HardLink => settle.links += 1,
            Kind::File => worker.file(&entry),
            _ => worker.special(&entry),
        }
    }
    settle.totals = reader.totals().unwrap_or_default();
    let totals = settle.run(&shared, manifest, open()?, open()?)?;
    shared.check()?;
    Ok(Restored { files: totals.files, bytes: totals.bytes, problems: shared.take_problems() })
}

struct Mender<'a, 'b> {
    shared: &'a Shared<'b>,
    dirs: Dirs,
    xattrs: Xattrs,
}

impl Mender<'_, '_> {
    /// Makes a missing one, and takes attributes away that it should not have; the rest comes at the end.
    fn directory(&mut self, entry: &Entry) {
        if entry.path == b"." {
            return;
        }
        let (parent, name) = split(&entry.path);
        let made = self.dirs.open(parent).and_then(|dir| {
            match rustix::fs::mkdirat(dir, name, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
            index::open(dir, name)
        });
        match made {
            Ok((fd, stat)) if stat.kind == Some(Kind::Directory) => self.strip(entry, &fd),
            Ok(_) => self.shared.problem(&entry.path, "it is no directory".into()),
            Err(error) => self.shared.failed(&entry.path, "cannot make the directory", error),
        }
    }

    fn file(&mut self, entry: &Entry) {
        let (parent, name) = split(&entry.path);
        let opened = match self.dirs.open(parent).and_then(|dir| index::open(dir, name)) {
            // One hole: nothing of it lies in a tree.
            Ok(_) | Err(Errno::NOENT) if is_hollow(entry) => {
                restore::create_file(&mut self.dirs, entry, true).and_then(|file| {
                    rustix::fs::ftruncate(&file, entry.size)?;
                    Ok(file)
                })
            }
            Ok((file, stat)) if stat.kind == Some(Kind::File) => Ok(file),
            Ok(_) => {
                self.shared.problem(&entry.path, "it is no file".into());
                return;
            }
            Err(Errno::NOENT) => {
                self.shared.problem(&entry.path, "rsync did not bring it".into());
                return;
            }
            Err(error) => Err(error),
        };
        match opened {
            Ok(file) => {
                self.strip(entry, &file);
                restore::finish(self.shared, entry, &file);
            }
            Err(error) => self.shared.failed(&entry.path, "cannot open it", error),
        }
    }

    /// Removes attributes that the entry does not have: of a directory above that hands them down.
    fn strip(&mut self, entry: &Entry, file: &OwnedFd) {
        if self.shared.is_plain(&entry.path) {
            return;
        }
        let Ok(present) = self.xattrs.of(file.as_fd()) else { return };
        for (name, _) in present {
            if !entry.xattrs.iter().any(|(wanted, _)| *wanted == name) {
                // What cannot be removed is named by the comparison.
                let _ = rustix::fs::fremovexattr(file, name.as_slice());
            }
        }
    }

    /// Links, devices and pipes: made anew where they are not as the manifest says.
    fn special(&mut self, entry: &Entry) {
        let (parent, name) = split(&entry.path);
        let made = self.dirs.open(parent).and_then(|dir| {
            if !is_as_wanted(dir, name, entry) {
                replacing(|| restore::make_special(dir, name, entry), dir, name, true)?;
            }
            Ok(if self.shared.is_plain(&entry.path) {
                Vec::new()
            } else {
                metadata::apply_at(dir, name, entry)
            })
        });
        match made {
            Ok(failed) => failed.into_iter().for_each(|detail| self.shared.problem(&entry.path, detail)),
            Err(error) => {
                self.shared.failed(&entry.path, &format!("cannot make the {}", entry.kind.name()), error);
            }
        }
    }
}

fn is_as_wanted(dir: BorrowedFd<'_>, name: &[u8], entry: &Entry) -> bool {
    let Ok(stat) = metadata::stat_at(dir, name) else { return false };
    stat.kind == Some(entry.kind)
        && match entry.kind {
            Kind::Symlink => rustix::fs::readlinkat(dir, name, Vec::new())
                .is_ok_and(|link| link.as_bytes() == entry.link.as_slice()),
            Kind::Character | Kind::Block => stat.device == entry.device,
            _ => true,
        }
}
