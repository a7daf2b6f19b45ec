//! The threads of a restore: each takes a frame of the archive, decompresses it, and writes what lies in it into the target. They
//! never read the manifest, and make no directories.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::io::Errno;

use super::make::{create_file, finish, special, write_at};
use super::shared::Shared;
use crate::codec::{Codec, Decompressor};
use crate::dirs::Dirs;
use crate::entry::{Entry, Kind};
use crate::format::Frame;
use crate::pipeline::Queue;
use crate::{Error, Stored};

/// Work for one thread.
pub(super) enum Unit {
    /// Entries whose content lies in one frame.
    Files(u64, Vec<Entry>),
    /// One frame of a large file: the file, the frame, where the content begins in it, and how much of the file's
    /// stored content lies in the frames before.
    Part(Arc<Large>, u64, usize, u64),
}

/// A file that several threads fill.
pub(super) struct Large {
    pub(super) entry: Entry,
    pub(super) file: OwnedFd,
    /// Segments as (position in the stored content, offset in the file, length).
    pub(super) segments: Vec<(u64, u64, u64)>,
    /// Frames that are not done yet.
    pub(super) left: AtomicUsize,
}

/// Where the content comes from.
pub(super) struct Frames<'a> {
    pub(super) archive: &'a Stored,
    pub(super) codec: Codec,
    pub(super) frames: Vec<Frame>,
    /// The hashes of the frames, where they are to be checked.
    pub(super) digests: Vec<[u8; 32]>,
}

impl Frames<'_> {
    /// A frame that the manifest speaks of.
    pub(super) fn frame(&self, number: u64, manifest: &Path) -> Result<Frame, Error> {
        let frame = usize::try_from(number).ok().and_then(|number| self.frames.get(number)).copied();
        frame.ok_or_else(|| Error::manifest(manifest, "it does not belong to this archive"))
    }

    /// Bytes between the beginning of the entry's content and the end of its frame.
    pub(super) fn room(&self, entry: &Entry, manifest: &Path) -> Result<u64, Error> {
        Ok(u64::from(self.frame(entry.frame, manifest)?.size.saturating_sub(entry.offset)))
    }
}

/// One thread, with the memory for one frame.
pub(super) struct Worker<'a, 'b> {
    shared: &'a Shared<'b>,
    source: &'a Frames<'b>,
    dirs: Dirs,
    /// The frame as it is stored.
    stored: Vec<u8>,
    /// The frame, decompressed.
    data: Vec<u8>,
}

impl<'a, 'b> Worker<'a, 'b> {
    pub(super) fn new(shared: &'a Shared<'b>, source: &'a Frames<'b>, dirs: Dirs) -> Self {
        Self { shared, source, dirs, stored: Vec::new(), data: Vec::new() }
    }

    pub(super) fn run(mut self, queue: &Queue<Unit>) {
        let shared = self.shared;
        queue.decompress(self.source.codec, &shared.failure, |unit, decompressor| match unit {
            Unit::Files(frame, entries) => {
                let needed = entries.iter().any(|entry| entry.stored() > 0);
                let loaded = if needed { self.load(frame, decompressor) } else { Ok(()) };
                for entry in entries {
                    self.entry(&entry, &loaded);
                    self.shared.progress.add(entry.stored(), 1);
                }
            }
            Unit::Part(large, frame, start, at) => {
                let loaded = self.load(frame, decompressor);
                self.part(&large, start, at, &loaded);
            }
        });
    }

    /// Reads and decompresses a frame; the error is a sentence.
    fn load(&mut self, number: u64, decompressor: &mut Decompressor) -> Result<(), String> {
        let frame = usize::try_from(number).ok().and_then(|number| self.source.frames.get(number));
        let frame = *frame.ok_or("the archive has no such part")?;
        self.stored.resize(frame.stored as usize, 0);
        let (path, part) = (self.source.archive.path().display(), number + 1);
        let unreadable = |error| format!("part {part} of the archive {path} cannot be read: {error}");
        let damaged = || Err(format!("part {part} of the archive {path} is damaged"));
        self.source.archive.read_exact_at(&mut self.stored, frame.offset).map_err(unreadable)?;
        let wanted = usize::try_from(number).ok().and_then(|number| self.source.digests.get(number));
        if wanted.is_some_and(|wanted| blake3::hash(&self.stored) != *wanted) {
            return damaged();
        }
        match decompressor.decompress(&self.stored, &mut self.data, frame.size as usize) {
            Ok(count) if count == frame.size as usize => Ok(()),
            Ok(_) => damaged(),
            Err(error) => Err(unreadable(error)),
        }
    }

    fn entry(&mut self, entry: &Entry, loaded: &Result<(), String>) {
        if entry.kind != Kind::File {
            return special(self.shared, &mut self.dirs, entry);
        }
        let start = entry.offset as usize;
        let length = usize::try_from(entry.stored()).unwrap_or(usize::MAX);
        let content = match loaded {
            _ if length == 0 => &[][..],
            Err(detail) => return self.shared.problem(&entry.path, detail.clone()),
            Ok(()) => match start.checked_add(length).and_then(|end| self.data.get(start..end)) {
                Some(content) => content,
                None => {
                    let detail = "the manifest does not belong to this archive".into();
                    return self.shared.problem(&entry.path, detail);
                }
            },
        };
        let written = create_file(&mut self.dirs, entry, self.shared.replace).and_then(|file| {
            match &entry.segments {
                None => write_at(&file, content, 0)?,
                Some(segments) => {
                    rustix::fs::ftruncate(&file, entry.size)?;
                    let mut rest = content;
                    for (offset, length) in segments {
                        let (now, later) =
                            rest.split_at(usize::try_from(*length).unwrap_or(0).min(rest.len()));
                        write_at(&file, now, *offset)?;
                        rest = later;
                    }
                }
            }
            Ok(file)
        });
        match written {
            Ok(file) => finish(self.shared, entry, &file),
            Err(error) => self.shared.failed(&entry.path, "cannot write the file", error),
        }
    }

    /// The part of a large file that this frame holds.
    fn part(&mut self, large: &Large, start: usize, at: u64, loaded: &Result<(), String>) {
        let path = &large.entry.path;
        match loaded {
            Err(detail) => self.shared.problem(path, detail.clone()),
            Ok(()) => {
                let data = self.data.get(start..).unwrap_or_default();
                let most = usize::try_from(large.entry.stored() - at).unwrap_or(usize::MAX);
                let data = &data[..data.len().min(most)];
                if let Err(error) = write_stored(large, data, at) {
                    self.shared.failed(path, "cannot write the file", error);
                }
                self.shared.progress.add(data.len() as u64, 0);
            }
        }
        if large.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            finish(self.shared, &large.entry, &large.file);
        }
    }
}

/// Writes stored content to where it belongs in the file.
fn write_stored(large: &Large, mut data: &[u8], mut at: u64) -> Result<(), Errno> {
    let first = large.segments.partition_point(|(position, _, length)| position + length <= at);
    for (position, offset, length) in large.segments.iter().skip(first) {
        if data.is_empty() {
            break;
        }
        let within = at - position;
        let (now, later) =
            data.split_at(usize::try_from(length - within).unwrap_or(usize::MAX).min(data.len()));
        write_at(&large.file, now, offset + within)?;
        at += now.len() as u64;
        data = later;
    }
    Ok(())
}
