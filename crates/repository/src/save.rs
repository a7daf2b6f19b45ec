//! Stores the files of a machine as a snapshot: one thread walks, several read, cut, hash and store, one puts the directories
//! together and writes the manifest. It removes nothing, and makes a snapshot only when all that it names is stored.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use backup::{
    Entry, ManifestWriter, Options, Problem, ProblemKind, Progress, Sink, Source, Stat, Taken, Walk,
};

use crate::backend::FileKind;
use crate::error::{Error, Result};
use crate::id::Id;
use crate::index::{Index, IndexFile, IndexedPack};
use crate::lock::Lock;
use crate::snapshot::{Root, SnapshotFile, TAG};
use crate::store::Store;
use crate::trees::Trees;
use crate::{Repository, locked, pack};

mod content;
mod plant;
mod worker;

use plant::Plant;
use worker::Worker;

/// Entries that are on their way to the workers or with them. Each may hold an open file, and a process has about a thousand.
const OPEN: usize = 500;
/// So many bytes of content end a batch.
const BATCH_BYTES: u64 = 8 << 20;

/// How many entries the walk may be ahead of the batch that is waited for (behind a file that takes hours).
const AHEAD: usize = 24_000;
/// Threads that write packs: one pack is on its way while the next is flushed.
const WRITERS: usize = 2;
/// The kernel's clock for files runs behind by up to one tick, in nanoseconds; more than enough.
const TICK: i128 = 50_000_000;

/// How to name a snapshot.
#[derive(Clone, Debug, Default)]
pub struct Save {
    /// The machine.
    pub hostname: String,
    /// What is stored of it. The last snapshot of that machine with the same label is the one that this one is compared with.
    pub label: String,
    /// Further tags.
    pub tags: Vec<String>,
    /// The program's name and version.
    pub program: String,
}

/// What was stored.
#[derive(Clone, Debug)]
pub struct Saved {
    /// The snapshot. `None` when files could not be read: then none was made, and what was stored waits for the next run.
    pub snapshot: Option<Id>,
    /// Entries of every type.
    pub files: u64,
    /// Content of the files in bytes, without holes.
    pub data_bytes: u64,
    /// Bytes that were added to the repository.
    pub added_bytes: u64,
    /// Files that were as they were in the snapshot before, and were not read.
    pub unchanged: u64,
    /// Length of the manifest, in bytes.
    pub manifest_bytes: u64,
    /// BLAKE3 hash of the manifest, 64 hexadecimal digits.
    pub manifest_blake3: String,
    /// The packs that were added.
    pub packs: Vec<Id>,
    /// Every file that is not, or not exactly, in the snapshot.
    pub problems: Vec<Problem>,
}

/// An entry on its way.
pub(crate) struct Item {
    pub entry: Entry,
    /// How many names it has.
    pub names: u32,
    /// The open file and its state before it is read.
    pub file: Option<(OwnedFd, Stat)>,
}

/// Collects what the walk finds.
struct Gather<'a> {
    /// Entries that a worker takes at a time.
    most: usize,
    batch: Vec<Item>,
    bytes: u64,
    number: u64,
    out: SyncSender<(u64, Vec<Item>)>,
    problems: &'a Mutex<Vec<Problem>>,
    /// Batches that are done, in their order.
    planted: &'a AtomicU64,
    failure: &'a Failure,
    cancel: &'a sys::Cancel,
}

impl Gather<'_> {
    fn push(&mut self, item: Item) -> std::result::Result<(), backup::Error> {
        self.bytes = self.bytes.saturating_add(item.entry.size);
        self.batch.push(item);
        if self.batch.len() >= self.most || self.bytes >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> std::result::Result<(), backup::Error> {
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(self.most));
        self.bytes = 0;
        let number = self.number;
        self.number += 1;
        let ahead = (AHEAD / self.most) as u64;
        while number > self.planted.load(Ordering::Relaxed) + ahead && !self.failure.is_set() {
            self.cancel.check()?;
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        // The other threads have ended; their error is the one that counts.
        self.out.send((number, batch)).map_err(|_| Error::ended().into_backup())
    }
}

impl Sink for Gather<'_> {
    fn entry(&mut self, entry: Entry, names: u32) -> std::result::Result<(), backup::Error> {
        self.push(Item { entry, names, file: None })
    }

    fn file(
        &mut self,
        entry: Entry,
        file: OwnedFd,
        stat: &Stat,
        _again: bool,
    ) -> std::result::Result<Taken, backup::Error> {
        self.push(Item { entry, names: stat.links, file: Some((file, stat.clone())) })?;
        Ok(Taken::Whole)
    }

    fn problem(&mut self, problem: Problem) {
        locked(self.problems).push(problem);
    }
}

/// The first error of any thread.
#[derive(Default)]
pub(crate) struct Failure(Mutex<Option<Error>>);

impl Failure {
    pub fn set(&self, error: Error) {
        locked(&self.0).get_or_insert(error);
    }

    pub fn is_set(&self) -> bool {
        locked(&self.0).is_some()
    }

    pub fn take(&self) -> Option<Error> {
        locked(&self.0).take()
    }
}

impl Repository {
    /// Stores the source as a new snapshot, and writes its manifest into an open file. Only what is not in the repository yet is
    /// added; a file that is as it was in the last snapshot of that machine is not even read.
    ///
    /// # Errors
    /// The repository is locked, full or damaged, the root cannot be opened, or the run was stopped. No snapshot was made then;
    /// what was stored already is used by the next run.
    pub fn save(
        &self,
        source: &Source,
        manifest: &File,
        save: &Save,
        options: &Options,
        progress: &dyn Progress,
    ) -> Result<Saved> {
        let _lock = Lock::take(self, false)?;
        let started = jiff::Timestamp::now();
        let mut index = self.index()?;
        self.adopt(&mut index)?;
        let parent = self.parent(save)?;
        let trees = parent.as_ref().map(|(_, file)| Trees::new(&self.0, file.tree));
        let store = Store::new(&self.0, index, options.level);
        let problems = Mutex::new(Vec::new());
        let (failure, planted_count) = (Failure::default(), AtomicU64::new(0));
        let mut plant = Plant::new(source, &store, ManifestWriter::new(manifest)?)?;
        let since = parent.as_ref().and_then(|(_, file)| {
            let time = file.time.parse::<jiff::Timestamp>().ok()?.as_nanosecond() - TICK;
            let nanoseconds = u32::try_from(time.rem_euclid(1_000_000_000)).ok()?;
            Some((i64::try_from(time.div_euclid(1_000_000_000)).ok()?, nanoseconds))
        });
        let workers: Vec<Worker<'_>> = (0..options.workers())
            .map(|_| Worker::new(self, &store, trees.as_ref(), since, &problems, options, progress))
            .collect::<Result<_>>()?;
        let (out, jobs) = sync_channel(options.workers());
        let jobs = Arc::new(Mutex::new(jobs));
        let (done, finished) = sync_channel(options.workers() * 4);
        let packs = store.divert();
        let (walked, planted) = std::thread::scope(|scope| {
            let (failure, planted_count) = (&failure, &planted_count);
            let packs = Arc::new(packs);
            for _ in 0..WRITERS {
                let (store, packs) = (&store, Arc::clone(&packs));
                scope.spawn(move || store.write(&packs).map_err(|error| failure.set(error)));
            }
            drop(packs);
            for mut worker in workers {
                let (jobs, done) = (Arc::clone(&jobs), done.clone());
                scope.spawn(move || {
                    loop {
                        let Ok((number, batch)) = ({ locked(&jobs).recv() }) else { break };
                        match worker.run(batch) {
                            Ok(ready) if !failure.is_set() => {
                                if done.send((number, ready)).is_err() {
                                    break;
                                }
                            }
                            Ok(_) => break,
                            Err(error) => {
                                failure.set(error);
                                break;
                            }
                        }
                    }
                });
            }
            drop((done, jobs));
            let planter = scope.spawn(move || {
                let result = plant.run(&finished, planted_count);
                // The workers see the end of the channel.
                drop(finished);
                result.map(|()| plant).map_err(|error| failure.set(error)).ok()
            });
            let walked = (|| {
                // Each worker has one batch and may find another waiting; one is being gathered.
                let most = OPEN / (2 * options.workers() + 1);
                let mut gather = Gather {
                    most,
                    batch: Vec::with_capacity(most),
                    bytes: 0,
                    number: 0,
                    out,
                    problems: &problems,
                    planted: planted_count,
                    failure,
                    cancel: &options.cancel,
                };
                Walk::new(source, options, &mut gather)?.run()?;
                gather.flush()?;
                Ok::<u64, backup::Error>(gather.number)
            })();
            // The workers have ended when the planter has.
            let planted = planter.join().ok().flatten();
            store.rejoin();
            (walked, planted)
        });
        if let Some(error) = failure.take() {
            return Err(error);
        }
        let batches = walked?;
        let plant = planted.filter(|plant| plant.batches() == batches).ok_or_else(Error::ended)?;
        let mut problems = problems.into_inner().unwrap_or_default();
        let harvest = plant.finish(&mut problems)?;
        store.finish()?;
        let unreadable = problems.iter().any(|problem| problem.kind == ProblemKind::Unreadable);
        let snapshot = SnapshotFile {
            time: started.to_string(),
            parent: parent.map(|(id, _)| id),
            tree: harvest.tree,
            paths: Some(vec!["/".into()]),
            hostname: save.hostname.clone(),
            username: "root".into(),
            tags: Some([TAG.to_owned(), save.label.clone()].into_iter().chain(save.tags.clone()).collect()),
            original: None,
            program_version: Some(save.program.clone()),
            rear: Some(Root { root: harvest.root }),
        };
        options.cancel.check()?;
        match manifest.sync_all() {
            // What is no file on a disk cannot be flushed.
            Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {}
            result => result.map_err(Error::io("write the manifest"))?,
        }
        let snapshot =
            if unreadable { None } else { Some(self.0.write_json(FileKind::Snapshot, &snapshot)?) };
        problems.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(Saved {
            snapshot,
            files: harvest.totals.files,
            data_bytes: harvest.totals.bytes,
            added_bytes: store.added(),
            packs: store.packs(),
            unchanged: harvest.unchanged,
            manifest_bytes: harvest.manifest_bytes,
            manifest_blake3: harvest.manifest_blake3,
            problems,
        })
    }

    /// Reads packs that were stored a moment ago from where they rest now, and proves that they are what was stored.
    ///
    /// # Errors
    /// One is not, or cannot be read, or the run was stopped.
    pub fn read_back(&self, packs: &[Id], options: &Options) -> Result<()> {
        for pack in packs {
            options.cancel.check()?;
            if Id::of(&self.0.backend.read(FileKind::Pack, *pack)?) != *pack {
                return Err(Error::damaged(
                    FileKind::Pack,
                    *pack,
                    "reads back differently from what was written",
                ));
            }
        }
        Ok(())
    }

    /// The last snapshot of that machine and label.
    fn parent(&self, save: &Save) -> Result<Option<(Id, SnapshotFile)>> {
        let ours = self
            .snapshots()?
            .into_iter()
            .rev()
            .find(|one| one.is_ours && one.hostname == save.hostname && one.tags.contains(&save.label));
        ours.map(|one| Ok((one.id, self.snapshot(one.id)?))).transpose()
    }

    /// Packs that a run that was cut off has left behind are named in an index file, and so used: each is proven whole first.
    fn adopt(&self, index: &mut Index) -> Result<()> {
        let mut adopted = Vec::new();
        for (id, _) in self.0.backend.list(FileKind::Pack)? {
            if index.has_pack(id) {
                continue;
            }
            // One that cannot be read now, or is not whole, is nothing worth; it stays for whoever looks into it.
            let Ok(bytes) = self.0.backend.read(FileKind::Pack, id) else { continue };
            if Id::of(&bytes) == id
                && let Some(blobs) = pack::table(&bytes, &self.0.key)
            {
                index.add(id, &blobs);
                adopted.push(IndexedPack { id, blobs });
            }
        }
        if !adopted.is_empty() {
            self.0.write_json(FileKind::Index, &IndexFile { supersedes: Vec::new(), packs: adopted })?;
        }
        Ok(())
    }
}
