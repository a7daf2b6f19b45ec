//! Fills frames with headers and content, in the order of the walk. It neither compresses nor hashes: the workers do.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, Sender};

use rustix::io::Errno;

use crate::create::{Problem, ProblemKind};
use crate::digest::PIECE;
use crate::entry::{Entry, Kind};
use crate::format::FRAME;
use crate::metadata::{self, Stat};
use crate::walk::{Sink, Taken};
use crate::{Error, holes, machine_path, pax};

/// A stretch of a file's content.
#[derive(Debug)]
pub struct Part {
    /// From here to there in the file, holes included.
    pub from: u64,
    pub to: u64,
    /// The data in it, as (offset in the file, length); it lies in the frame without gaps.
    pub segments: Vec<(u64, u64)>,
    /// Where the data begins in the frame.
    pub start: usize,
}

/// What a frame holds.
pub enum Item {
    /// An entry with all its content, if it has any.
    Whole(Entry, Part),
    /// A part of a large file; the last one brings the entry.
    Large(Part, Option<Box<Entry>>),
}

/// The memory for one frame on its way from the reader through a worker to the writer and back. There is a fixed
/// number of slots, which bounds the memory of the run.
#[derive(Default)]
pub struct Slot {
    /// Kept at its full length, because clearing it for each frame costs time.
    data: Vec<u8>,
    used: usize,
    pub items: Vec<Item>,
    /// The compressed frame.
    pub out: Vec<u8>,
}

impl Slot {
    /// The bytes of the frame.
    pub fn bytes(&self) -> &[u8] {
        &self.data[..self.used]
    }

    /// Makes it ready to be filled again.
    pub fn clear(&mut self) {
        self.used = 0;
        self.items.clear();
        self.out.clear();
        if self.data.len() > 2 * FRAME {
            self.data = Vec::new();
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).copy_from_slice(bytes);
    }

    fn zeros(&mut self, count: usize) {
        self.room(count).fill(0);
    }

    /// So many more bytes, with whatever stood there before.
    fn room(&mut self, count: usize) -> &mut [u8] {
        let start = self.used;
        self.used += count;
        if self.data.len() < self.used {
            self.data.resize(self.used.max(FRAME + FRAME / 8), 0);
        }
        &mut self.data[start..self.used]
    }
}

/// A full slot, numbered.
pub struct Job {
    pub frame: u64,
    pub slot: Slot,
}

/// The sink of the walk.
pub struct Framer<'a> {
    cancel: &'a sys::Cancel,
    free: Receiver<Slot>,
    jobs: Sender<Job>,
    slot: Slot,
    frame: u64,
    header: Vec<u8>,
    problems: Vec<Problem>,
}

/// The other threads have ended; their error is the one that counts.
fn hung_up() -> Error {
    Error::Io { what: "write the archive".into(), source: std::io::ErrorKind::BrokenPipe.into() }
}

impl<'a> Framer<'a> {
    pub fn new(cancel: &'a sys::Cancel, free: Receiver<Slot>, jobs: Sender<Job>) -> Result<Self, Error> {
        let slot = free.recv().map_err(|_| hung_up())?;
        Ok(Self { cancel, free, jobs, slot, frame: 0, header: Vec::new(), problems: Vec::new() })
    }

    /// Ends the tar file and sends the last frame; gives the number of frames and the problems.
    pub fn finish(mut self) -> Result<(u64, Vec<Problem>), Error> {
        self.slot.put(&pax::END);
        self.flush()?;
        Ok((self.frame, self.problems))
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.cancel.check()?;
        let next = self.free.recv().map_err(|_| hung_up())?;
        let slot = std::mem::replace(&mut self.slot, next);
        self.jobs.send(Job { frame: self.frame, slot }).map_err(|_| hung_up())?;
        self.frame += 1;
        Ok(())
    }

    /// Puts the entry's header into a frame that has room for it and its content.
    fn begin(&mut self, entry: &mut Entry, stored: u64) -> Result<(), Error> {
        self.header.clear();
        pax::header(entry, &mut self.header);
        let needed = (self.slot.used as u64).saturating_add(self.header.len() as u64).saturating_add(stored);
        if self.slot.used > 0 && needed > FRAME as u64 {
            self.flush()?;
        }
        let header = std::mem::take(&mut self.header);
        self.slot.put(&header);
        self.header = header;
        entry.frame = self.frame;
        entry.offset = u32::try_from(self.slot.used).unwrap_or(0);
        Ok(())
    }

    /// A file whose content fits into a frame.
    fn small(&mut self, mut entry: Entry, mut reading: Reading<'_>, again: bool) -> Result<Taken, Error> {
        let stored = entry.stored();
        self.begin(&mut entry, stored)?;
        let start = self.slot.used;
        let part = Part { from: 0, to: entry.size, segments: reading.segments.clone(), start };
        for (offset, length) in &part.segments {
            reading.fill(self.slot.room(usize::try_from(*length).unwrap_or(0)), *offset);
        }
        if reading.got == 0 && reading.error.is_some() {
            self.slot.used = start - self.header.len();
            self.report(&entry.path, &reading);
            return Ok(Taken::Nothing);
        }
        if again && reading.error.is_none() && reading.has_changed() {
            self.slot.used = start - self.header.len();
            return Ok(Taken::Changed);
        }
        self.slot.zeros(pax::padding(entry.stored()));
        self.report(&entry.path, &reading);
        self.slot.items.push(Item::Whole(entry, part));
        Ok(Taken::Whole)
    }

    /// A file that gets frames of its own. Its parts are cut where the digest has pieces. It is not read again when it
    /// changes: what was read first is written already.
    fn large(&mut self, mut entry: Entry, mut reading: Reading<'_>) -> Result<Taken, Error> {
        if self.slot.used > 0 {
            self.flush()?;
        }
        self.begin(&mut entry, 0)?;
        let mut segments = VecDeque::from(std::mem::take(&mut reading.segments));
        let mut part = Part { from: 0, to: 0, segments: Vec::new(), start: self.slot.used };
        let mut filled = 0;
        while let Some((offset, length)) = segments.pop_front() {
            let border = (offset / PIECE + 1) * PIECE;
            let now = length.min(border - offset);
            // Everything in one piece belongs together; a new piece may begin a new frame.
            if part.segments.last().is_some_and(|last| last.0 / PIECE != offset / PIECE) {
                let further = segments.iter().take_while(|next| next.0 < border);
                let piece: u64 = now + further.map(|next| next.1.min(border - next.0)).sum::<u64>();
                if filled + piece > FRAME as u64 {
                    part.to = offset / PIECE * PIECE;
                    let next = Part { from: part.to, to: 0, segments: Vec::new(), start: 0 };
                    self.slot.items.push(Item::Large(std::mem::replace(&mut part, next), None));
                    self.flush()?;
                    filled = 0;
                }
            }
            reading.fill(self.slot.room(usize::try_from(now).unwrap_or(0)), offset);
            filled += now;
            part.segments.push((offset, now));
            if length > now {
                segments.push_front((offset + now, length - now));
            }
        }
        part.to = entry.size;
        self.slot.zeros(pax::padding(entry.stored()));
        self.report(&entry.path, &reading);
        self.slot.items.push(Item::Large(part, Some(Box::new(entry))));
        self.flush()?;
        Ok(Taken::Whole)
    }

    /// Lists the file when its content is not what it should be.
    fn report(&mut self, path: &[u8], reading: &Reading<'_>) {
        let (kind, detail) = if let Some(error) = reading.error {
            let error = std::io::Error::from(error);
            (ProblemKind::Unreadable, format!("only {} bytes could be read: {error}", reading.got))
        } else if reading.short {
            (
                ProblemKind::Changed,
                "it became shorter while it was read; the rest is filled with zeros".into(),
            )
        } else {
            match metadata::stat_of(reading.file) {
                Ok(after) if !reading.before.differs(&after) => return,
                Ok(_) => (ProblemKind::Changed, "it changed while it was read".into()),
                Err(error) => (ProblemKind::Unreadable, std::io::Error::from(error).to_string()),
            }
        };
        self.problem(Problem { path: machine_path(path), kind, detail });
    }
}

/// Reading one file.
struct Reading<'a> {
    file: &'a OwnedFd,
    before: &'a Stat,
    segments: Vec<(u64, u64)>,
    got: u64,
    short: bool,
    error: Option<Errno>,
}

impl Reading<'_> {
    /// Whether the file is not what it was before it was read.
    fn has_changed(&self) -> bool {
        self.short || metadata::stat_of(self.file).is_ok_and(|after| self.before.differs(&after))
    }

    /// Reads to fill the room; what cannot be read becomes zeros, because the header has promised the length.
    fn fill(&mut self, room: &mut [u8], mut offset: u64) {
        let mut at = 0;
        while at < room.len() && self.error.is_none() {
            match rustix::io::pread(self.file, &mut room[at..], offset) {
                Ok(0) => {
                    self.short = true;
                    break;
                }
                Ok(count) => {
                    at += count;
                    offset += count as u64;
                    self.got += count as u64;
                }
                Err(Errno::INTR) => {}
                Err(error) => self.error = Some(error),
            }
        }
        room[at..].fill(0);
    }
}

impl Sink for Framer<'_> {
    fn entry(&mut self, mut entry: Entry, _names: u32) -> Result<(), Error> {
        self.begin(&mut entry, 0)?;
        let part = Part { from: 0, to: 0, segments: Vec::new(), start: self.slot.used };
        self.slot.items.push(Item::Whole(entry, part));
        Ok(())
    }

    fn file(&mut self, mut entry: Entry, file: OwnedFd, before: &Stat, again: bool) -> Result<Taken, Error> {
        debug_assert_eq!(entry.kind, Kind::File);
        if entry.size == 0 {
            self.entry(entry, before.links)?;
            return Ok(Taken::Whole);
        }
        if entry.segments.is_none() && before.blocks.saturating_mul(512) < entry.size {
            match holes::segments(&file, entry.size, self.cancel) {
                Ok(segments) => entry.segments = segments,
                Err(error) => {
                    let detail = std::io::Error::from(error).to_string();
                    let path = machine_path(&entry.path);
                    self.problem(Problem { path, kind: ProblemKind::Unreadable, detail });
                    return Ok(Taken::Nothing);
                }
            }
        }
        let segments = entry.segments.clone().unwrap_or_else(|| vec![(0, entry.size)]);
        let reading = Reading { file: &file, before, segments, got: 0, short: false, error: None };
        if entry.stored() <= FRAME as u64 {
            self.small(entry, reading, again)
        } else {
            self.large(entry, reading)
        }
    }

    fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn what_changed_while_it_was_read_is_given_back_and_at_last_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let cancel = sys::Cancel::default();
        let ((give, free), (jobs, _full)) = (channel(), channel());
        give.send(Slot::default()).unwrap();
        let mut framer = Framer::new(&cancel, free, jobs).unwrap();
        let open = || OwnedFd::from(std::fs::File::open(&path).unwrap());
        for (before, now) in [("shorter", "now it is longer"), ("it was longer", "short")] {
            std::fs::write(&path, before).unwrap();
            let stat = metadata::stat_of(open()).unwrap();
            std::fs::write(&path, now).unwrap();
            let entry = || stat.entry(b"file".to_vec(), Kind::File);
            let used = framer.slot.used;
            assert_eq!(framer.file(entry(), open(), &stat, true).unwrap(), Taken::Changed);
            assert_eq!((framer.slot.used, framer.problems.len()), (used, 0));
            assert_eq!(framer.file(entry(), open(), &stat, false).unwrap(), Taken::Whole);
            assert_eq!(framer.problems.pop().map(|problem| problem.kind), Some(ProblemKind::Changed));
            // As long as its header says, whatever it is now.
            assert_eq!(framer.slot.used, used + framer.header.len() + pax::BLOCK);
            let stat = metadata::stat_of(open()).unwrap();
            let entry = stat.entry(b"file".to_vec(), Kind::File);
            assert_eq!(framer.file(entry, open(), &stat, true).unwrap(), Taken::Whole);
            assert_eq!(framer.problems.len(), 0);
        }
    }
}
