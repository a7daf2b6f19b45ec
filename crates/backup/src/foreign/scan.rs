//! The first reading: all of the archive, from end to end, as a manifest. It writes nothing but that.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use rustix::fs::MemfdFlags;

use super::acl::{self, Names};
use super::header::{ACL_ACCESS, ACL_DEFAULT};
use super::reader::{self, Bad, Reader};
use super::{Foreign, Problems, unusable};
use crate::digest::{Pieces, of_hashes};
use crate::entry::{Entry, Kind, PATH_LIMIT};
use crate::manifest::{self, Totals, Writer};
use crate::{Error, Options, Progress, RestoreProblem};

/// Larger `passwd` and `group` files are not looked at for names, in bytes.
const NAMES_LIMIT: usize = 16 << 20;

/// Of a path that is too long, so many bytes are shown.
const SHOWN: usize = 200;

/// What the archive holds.
#[derive(Clone, Debug, Default)]
pub struct Scanned {
    /// What the manifest lists.
    pub totals: Totals,
    /// What is in the archive and cannot come back as it is told there.
    pub problems: Vec<RestoreProblem>,
}

impl Foreign {
    /// Calls `each` for every member, in the order of the archive; its attributes may not be complete. Its content is read.
    ///
    /// # Errors
    /// The archive cannot be read to its end, or the run was stopped; what `each` returns.
    pub fn list(
        &self,
        options: &Options,
        each: &mut dyn FnMut(&Entry) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut reader = self.reader()?;
        while let Some(mut entry) = reader.next().map_err(|bad| self.bad(bad))? {
            options.cancel.check()?;
            entry.path = reader::stored_path(&entry.path).unwrap_or(entry.path);
            entry.link = link(&entry).unwrap_or(entry.link);
            each(&entry)?;
        }
        Ok(())
    }

    /// Reads everything and writes a manifest of it into `to`. Of a path that is there more than once the last is listed, as
    /// tar itself would leave it. Names in ACLs are looked up in the archive's own `etc/passwd` and `etc/group`; where it
    /// has none, in those of this machine. Progress counts content and members.
    ///
    /// # Errors
    /// The archive cannot be read to its end, the manifest cannot be written, or the run was stopped.
    pub fn scan(&self, to: &File, options: &Options, progress: &dyn Progress) -> Result<Scanned, Error> {
        let raw = memory("raw")?;
        let mut first = First {
            state: RandomState::new(),
            last: HashMap::new(),
            users: None,
            groups: None,
            problems: Problems::default(),
        };
        first.run(self, &raw, options, progress)?;
        let mut names = Names::default();
        let own = |path: &str| std::fs::read(path).unwrap_or_default();
        names.add_users(&first.users.take().unwrap_or_else(|| own("/etc/passwd")));
        names.add_groups(&first.groups.take().unwrap_or_else(|| own("/etc/group")));
        first.finish(&raw, to, &names)
    }

    pub(super) fn bad(&self, bad: Bad) -> Error {
        unusable(self.path(), bad.0)
    }
}

fn append(entry: &Entry, line: &mut Vec<u8>, writer: &mut Writer<'_>) -> Result<(), Error> {
    line.clear();
    manifest::write_line(entry, line).map_err(|error| Error::writing("the manifest")(error.into()))?;
    writer.append(line, Totals { files: 1, bytes: entry.stored() })
}

/// A file that lies in memory alone.
fn memory(name: &str) -> Result<File, Error> {
    let file = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC);
    file.map(File::from).map_err(Error::io::<rustix::io::Errno>("make a file in memory"))
}

/// Where a hard link leads, brought below the root; other links stay as they are.
fn link(entry: &Entry) -> Option<Vec<u8>> {
    if entry.kind == Kind::HardLink { reader::stored_path(&entry.link) } else { Some(entry.link.clone()) }
}

struct First {
    state: RandomState,
    /// Which member is the last of a path, by the path's hash.
    last: HashMap<u64, u64>,
    users: Option<Vec<u8>>,
    groups: Option<Vec<u8>>,
    problems: Problems,
}

impl First {
    fn problem(&mut self, path: &[u8], detail: &str) {
        self.problems.add(path, detail.to_owned());
    }

    fn run(
        &mut self,
        archive: &Foreign,
        raw: &File,
        options: &Options,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let mut reader = archive.reader()?;
        let mut writer = Writer::new(raw)?;
        let (mut line, mut number) = (Vec::new(), 0);
        while let Some(mut entry) = reader.next().map_err(|bad| archive.bad(bad))? {
            options.cancel.check()?;
            number += 1;
            let Some(path) = reader::stored_path(&entry.path) else {
                let name = &entry.path[..entry.path.len().min(PATH_LIMIT)];
                self.problem(
                    name,
                    "its path leads out of the directory that it is restored to: it is left out",
                );
                continue;
            };
            entry.path = path;
            if entry.path.len() > PATH_LIMIT || entry.link.len() > PATH_LIMIT {
                entry.path.truncate(SHOWN);
                self.problem(
                    &entry.path,
                    "its path, or the one that it leads to, is longer than any: it is left out",
                );
                continue;
            }
            match link(&entry) {
                Some(to) if to != entry.path || entry.kind == Kind::Symlink => entry.link = to,
                _ if matches!(entry.kind, Kind::HardLink) => {
                    self.problem(&entry.path, "it is a hard link that leads nowhere: it is left out");
                    continue;
                }
                _ => {}
            }
            if !reader::is_possible(&entry) {
                self.problem(&entry.path, "it is a link that leads nowhere: it is left out");
                continue;
            }
            // The number of the member stands where that of the frame does in an archive of our own.
            (entry.frame, entry.offset) = (number, 0);
            if entry.kind == Kind::File {
                self.content(&mut reader, &mut entry).map_err(|bad| archive.bad(bad))?;
            }
            self.last.insert(self.state.hash_one(&entry.path), number);
            append(&entry, &mut line, &mut writer)?;
            progress.add(entry.stored(), 1);
        }
        writer.finish().map(|_| ())
    }

    /// Hashes the content, and keeps that of the two files with names.
    fn content(&mut self, reader: &mut Reader, entry: &mut Entry) -> Result<(), Bad> {
        let mut kept = match entry.path.as_slice() {
            b"etc/passwd" | b"etc/group" if entry.size < NAMES_LIMIT as u64 => Some(Vec::new()),
            _ => None,
        };
        let whole = [(0, entry.size)];
        let mut pieces = Pieces::new();
        let mut buffer = vec![0; 256 << 10];
        let mut at = 0;
        for (offset, length) in entry.segments.as_deref().unwrap_or(&whole) {
            pieces.hole(offset - at);
            let mut left = *length;
            while left > 0 {
                let want = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
                let count = reader.read(&mut buffer[..want])?;
                if count == 0 {
                    return Err(Bad("the content of a file is cut off".into()));
                }
                pieces.data(&buffer[..count]);
                if let Some(kept) = &mut kept {
                    kept.extend_from_slice(&buffer[..count]);
                }
                left -= count as u64;
            }
            at = offset + length;
        }
        pieces.hole(entry.size - at);
        entry.digest = of_hashes(&pieces.finish());
        match entry.path.as_slice() {
            b"etc/passwd" => self.users = kept,
            b"etc/group" => self.groups = kept,
            _ => {}
        }
        Ok(())
    }

    /// Gives the directories above an entry that the archive does not have, from the top down, one by one: as tar would make
    /// them.
    fn implied(
        &mut self,
        entry: &Entry,
        each: &mut dyn FnMut(&Entry) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let slashes = entry.path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for end in slashes {
            let path = &entry.path[..end];
            let hash = self.state.hash_one(path.to_vec());
            if self.last.contains_key(&hash) {
                continue;
            }
            self.last.insert(hash, entry.frame);
            let mut directory = Entry::new(path.to_vec(), Kind::Directory);
            (directory.mode, directory.mtime, directory.frame) = (0o755, entry.mtime, entry.frame);
            each(&directory)?;
        }
        Ok(())
    }

    /// What counts, with the ACLs in the form in which Linux keeps them.
    fn finish(mut self, raw: &File, to: &File, names: &Names) -> Result<Scanned, Error> {
        let path = PathBuf::from(format!("/proc/self/fd/{}", raw.as_raw_fd()));
        let mut writer = Writer::new(to)?;
        let mut line = Vec::new();
        for entry in manifest::Reader::open(&path)? {
            let mut entry = entry?;
            if self.last.get(&self.state.hash_one(&entry.path)) != Some(&entry.frame) {
                continue;
            }
            let words: Vec<_> = entry.xattrs.extract_if(.., |(name, _)| name.starts_with(b"\0")).collect();
            for (name, text) in words {
                let real = match name.as_slice() {
                    ACL_ACCESS => &b"system.posix_acl_access"[..],
                    ACL_DEFAULT => b"system.posix_acl_default",
                    _ => continue,
                };
                match acl::binary(&text, names) {
                    Ok(value) if name == ACL_ACCESS && acl::is_mode_alone(&value) => {}
                    Ok(value) => entry.xattrs.push((real.to_vec(), value)),
                    Err(why) => self.problem(&entry.path, &format!("its ACL is left out: {why}")),
                }
            }
            entry.xattrs.sort();
            self.implied(&entry, &mut |directory| append(directory, &mut line, &mut writer))?;
            append(&entry, &mut line, &mut writer)?;
        }
        let (_, _, totals) = writer.finish()?;
        Ok(Scanned { totals, problems: self.problems.take() })
    }
}
