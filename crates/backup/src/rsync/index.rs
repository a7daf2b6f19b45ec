//! Reads every file of a source once, and writes the manifest with all hashes, and the lists of what rsync is to transfer. It
//! writes nothing else, and never looks at the place.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rustix::io::Errno;

use crate::create::{Problem, ProblemKind, Source};
use crate::entry::{Entry, Kind};
use crate::manifest::{self, Totals, Writer};
use crate::metadata::{self, Stat};
use crate::pipeline::{Failure, Queue};
use crate::walk::{self, Sink, Taken, Walk};
use crate::{Error, Options, Progress, digest, holes, machine_path};

/// Entries on their way at a time; as many files may be open.
const WAITING: usize = 64;

/// One run of rsync: what is transferred from one root.
#[derive(Debug)]
pub(crate) struct List {
    /// The directory that the paths are relative to.
    pub root: PathBuf,
    /// The same place in the machine, as a stored path; `.` for the machine itself.
    pub at: Vec<u8>,
    /// The file with the paths, each ended by a zero byte.
    pub file: PathBuf,
}

/// What was read.
pub(crate) struct Indexed {
    /// Entries and bytes of content.
    pub totals: Totals,
    /// What is to be transferred: the machine first, then each view.
    pub lists: Vec<List>,
    /// Files that could not be read, and sockets.
    pub problems: Vec<Problem>,
}

/// An entry on its way through a worker to the writer.
struct Job {
    number: u64,
    entry: Entry,
    file: Option<(OwnedFd, Stat)>,
}

struct Done {
    number: u64,
    /// `None` where the file could not be read.
    entry: Option<Entry>,
    problem: Option<Problem>,
    read: u64,
}

/// Walks the source.
///
/// # Errors
/// A file of the work directory cannot be written, the root cannot be opened, or the run was stopped.
pub(crate) fn index(
    source: &Source,
    manifest: &File,
    work: &Path,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Indexed, Error> {
    let writer = Writer::new(manifest)?;
    let mut lists = Lists::new(source, work)?;
    let failure = Failure::default();
    let (jobs, receiver) = sync_channel::<Job>(WAITING);
    let queue = Queue::new(receiver);
    let (done, done_receiver) = sync_channel::<Done>(WAITING);
    let (walked, written) = std::thread::scope(|scope| {
        for _ in 0..options.workers() {
            let (queue, done, failure) = (&queue, done.clone(), &failure);
            scope.spawn(move || {
                let mut buffer = vec![0; 256 << 10];
                while let Ok(job) = queue.take() {
                    // After a failure the queue is only emptied, until the walk has noticed.
                    if failure.is_set() {
                        continue;
                    }
                    match hash(job, &mut buffer, options) {
                        Ok(finished) => _ = done.send(finished),
                        Err(error) => failure.set(error),
                    }
                }
            });
        }
        drop(done);
        let (lists, failure) = (&mut lists, &failure);
        let writer = scope.spawn(move || {
            write(&done_receiver, writer, lists, progress).map_err(|error| failure.set(error)).ok()
        });
        let mut sink = Indexer { jobs, number: 0, problems: Vec::new(), failure };
        let walked = Walk::new(source, options, &mut sink).and_then(Walk::run);
        // The queue ends with the sink, and the workers with the queue.
        let problems = sink.finish();
        (walked.map(|()| problems), writer.join().ok().flatten())
    });
    // A worker's error explains the walk's.
    failure.into_result()?;
    let mut problems = walked?;
    let (totals, more) = written.ok_or_else(|| Error::Io {
        what: "read the files".into(),
        source: std::io::Error::other("a worker thread ended too early"),
    })?;
    problems.extend(more);
    Ok(Indexed { totals, lists: lists.finish()?, problems })
}

/// The sink of the walk.
struct Indexer<'a> {
    jobs: SyncSender<Job>,
    number: u64,
    problems: Vec<Problem>,
    failure: &'a Failure,
}

impl Indexer<'_> {
    /// Ends the queue.
    fn finish(self) -> Vec<Problem> {
        self.problems
    }

    fn send(&mut self, entry: Entry, file: Option<(OwnedFd, Stat)>) -> Result<(), Error> {
        let hung_up =
            || Error::Io { what: "read the files".into(), source: std::io::ErrorKind::BrokenPipe.into() };
        if self.failure.is_set() {
            return Err(hung_up());
        }
        self.jobs.send(Job { number: self.number, entry, file }).map_err(|_| hung_up())?;
        self.number += 1;
        Ok(())
    }
}

impl Sink for Indexer<'_> {
    fn entry(&mut self, entry: Entry, _names: u32) -> Result<(), Error> {
        self.send(entry, None)
    }

    fn file(&mut self, entry: Entry, file: OwnedFd, stat: &Stat, _again: bool) -> Result<Taken, Error> {
        let stat = stat.clone();
        self.send(entry, Some((file, stat)))?;
        Ok(Taken::Whole)
    }

    fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }
}

fn hash(job: Job, buffer: &mut [u8], options: &Options) -> Result<Done, Error> {
    let Job { number, mut entry, file } = job;
    let mut done = Done { number, entry: None, problem: None, read: 0 };
    if let Some((file, stat)) = file
        && let Err(error) = describe(&mut entry, &file, &stat, buffer, options, &mut done.read)?
    {
        let detail = std::io::Error::from(error).to_string();
        done.problem =
            Some(Problem { path: machine_path(&entry.path), kind: ProblemKind::Unreadable, detail });
        return Ok(done);
    }
    done.entry = Some(entry);
    Ok(done)
}

/// Gives the entry of an open file its size, holes and digest. Where it has segments already, it has that content and no
/// other: what lies in the file is not read.
pub(crate) fn describe(
    entry: &mut Entry,
    file: &OwnedFd,
    stat: &Stat,
    buffer: &mut [u8],
    options: &Options,
    read: &mut u64,
) -> Result<Result<(), Errno>, Error> {
    if entry.segments.is_some() {
        let mut pieces = digest::Pieces::new();
        pieces.hole(entry.size);
        entry.digest = digest::of_hashes(&pieces.finish());
        return Ok(Ok(()));
    }
    if stat.blocks.saturating_mul(512) < entry.size {
        match holes::segments(file, entry.size, &options.cancel) {
            Ok(segments) => entry.segments = segments,
            Err(error) => return Ok(Err(error)),
        }
    }
    let has_holes = entry.segments.is_some();
    match digest::of_file(file, entry.size, has_holes, buffer, &options.cancel)? {
        Ok((digest, count)) => {
            // Without one, it became shorter: it has changed, and is looked at again after the transfer.
            entry.digest = digest;
            *read += count;
            Ok(Ok(()))
        }
        Err(error) => Ok(Err(error)),
    }
}

/// Puts the entries in their order into the manifest and the lists.
fn write(
    done: &Receiver<Done>,
    mut manifest: Writer<'_>,
    lists: &mut Lists,
    progress: &dyn Progress,
) -> Result<(Totals, Vec<Problem>), Error> {
    let (mut waiting, mut next, mut line) = (BTreeMap::new(), 0, Vec::new());
    let mut problems = Vec::new();
    while let Ok(one) = done.recv() {
        waiting.insert(one.number, one);
        while let Some(now) = waiting.remove(&next) {
            next += 1;
            problems.extend(now.problem);
            let Some(entry) = now.entry else { continue };
            line.clear();
            manifest::write_line(&entry, &mut line)
                .map_err(|error| Error::writing("the manifest")(error.into()))?;
            let bytes = if entry.kind == Kind::File { entry.stored() } else { 0 };
            manifest.append(&line, Totals { files: 1, bytes })?;
            lists.add(&entry)?;
            progress.add(now.read, 1);
        }
    }
    let (_, _, totals) = manifest.finish()?;
    Ok((totals, problems))
}

/// Whether the place needs the file: one without stored content is made from the manifest alone.
pub(crate) fn is_hollow(entry: &Entry) -> bool {
    entry.kind == Kind::File && entry.size > 0 && entry.stored() == 0
}

/// The files that hold the lists.
struct Lists {
    lists: Vec<List>,
    files: Vec<BufWriter<File>>,
}

impl Lists {
    fn new(source: &Source, work: &Path) -> Result<Self, Error> {
        let mut lists = Self { lists: Vec::new(), files: Vec::new() };
        let views = source.views.iter().map(|view| (view.root.clone(), walk::stored_path(&view.at)));
        for (number, (root, at)) in
            std::iter::once((source.root.clone(), b".".to_vec())).chain(views).enumerate()
        {
            let file = work.join(format!("transfer-{number}.list"));
            let _ = std::fs::remove_file(&file);
            lists.files.push(BufWriter::new(sys::fs::create_private(&file)?));
            lists.lists.push(List { root, at, file });
        }
        Ok(lists)
    }

    fn add(&mut self, entry: &Entry) -> Result<(), Error> {
        if is_hollow(entry) {
            return Ok(());
        }
        let (number, path) = place_in(&self.lists, &entry.path);
        if path == b"." {
            // rsync would take all that lies in it with it. What it is, the manifest says.
            return Ok(());
        }
        let file = &mut self.files[number];
        file.write_all(path).and_then(|()| file.write_all(&[0])).map_err(Error::writing("a list of files"))
    }

    fn finish(self) -> Result<Vec<List>, Error> {
        for mut file in self.files {
            file.flush().map_err(Error::writing("a list of files"))?;
        }
        Ok(self.lists)
    }
}

/// Which list a stored path belongs to, and what it is called there.
pub(crate) fn place_in<'p>(lists: &[List], path: &'p [u8]) -> (usize, &'p [u8]) {
    for (number, list) in lists.iter().enumerate().skip(1) {
        match path.strip_prefix(list.at.as_slice()) {
            Some([]) => return (number, b"."),
            Some([b'/', rest @ ..]) => return (number, rest),
            _ => {}
        }
    }
    (0, path)
}

/// Opens a file of a tree for reading.
pub(crate) fn open(dir: std::os::fd::BorrowedFd<'_>, name: &[u8]) -> Result<(OwnedFd, Stat), Errno> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    let stat = metadata::stat_of(&fd)?;
    Ok((fd, stat))
}
