//! What the threads of one restore share: what went wrong, what waits for the end, and the reason to stop. It never touches the
//! target.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::io::Errno;

use super::RestoreProblem;
use crate::pipeline::{Failure, lock};
use crate::{Error, Options, Progress, machine_path, walk};

/// Memory for the list of problems, in bytes: some hundred thousand. A disk that fails at every file must not take it all.
pub(crate) const PROBLEM_BYTES: usize = 64 << 20;

/// What all threads share.
pub(crate) struct Shared<'a> {
    pub replace: bool,
    plain: Vec<Vec<u8>>,
    pub problems: Mutex<Vec<RestoreProblem>>,
    /// Bytes that the list of problems may still take, and how many problems are not in it.
    room_for_problems: AtomicUsize,
    more_problems: AtomicUsize,
    /// Files with inode flags, which are set at the very end.
    pub flagged: Mutex<Vec<(Vec<u8>, u32)>>,
    pub failure: Failure,
    pub options: &'a Options,
    pub progress: &'a dyn Progress,
}

impl<'a> Shared<'a> {
    /// Nothing restored yet; `plain` and `replace` as in [`Restore`](super::Restore).
    pub fn new(plain: &[PathBuf], replace: bool, options: &'a Options, progress: &'a dyn Progress) -> Self {
        Self {
            replace,
            plain: plain.iter().map(|path| walk::stored_path(path)).collect(),
            problems: Mutex::default(),
            room_for_problems: AtomicUsize::new(PROBLEM_BYTES),
            more_problems: AtomicUsize::new(0),
            flagged: Mutex::default(),
            failure: Failure::default(),
            options,
            progress,
        }
    }

    /// What was listed, by path.
    pub fn take_problems(&self) -> Vec<RestoreProblem> {
        let mut problems = std::mem::take(&mut *lock(&self.problems));
        problems.sort_by(|one, other| one.path.cmp(&other.path));
        let more = self.more_problems.load(Ordering::Relaxed);
        if more > 0 {
            let detail = format!("{more} more files have problems; there are too many to list");
            problems.push(RestoreProblem { path: PathBuf::from("/"), detail });
        }
        problems
    }

    /// Lists a file. A full target ends the run instead: nothing that follows would fit either.
    pub fn failed(&self, path: &[u8], what: &str, error: Errno) {
        if matches!(error, Errno::NOSPC | Errno::DQUOT) {
            self.failure.set(Error::TargetFull { path: machine_path(path) });
        } else {
            self.problem(path, format!("{what}: {}", std::io::Error::from(error)));
        }
    }

    /// Whether to stop here.
    pub fn check(&self) -> Result<(), Error> {
        self.options.cancel.check()?;
        self.failure.take().map_or(Ok(()), Err)
    }

    /// Whether what is in the way is removed.
    pub fn replaces(&self) -> bool {
        self.replace
    }

    pub fn count_link(&self) {
        self.progress.add(0, 1);
    }

    pub fn problem(&self, path: &[u8], detail: String) {
        let room = self.room_for_problems.fetch_sub(path.len() + detail.len() + 100, Ordering::Relaxed);
        if (1..=PROBLEM_BYTES).contains(&room) {
            lock(&self.problems).push(RestoreProblem { path: machine_path(path), detail });
        } else {
            self.room_for_problems.store(0, Ordering::Relaxed);
            self.more_problems.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes inode flags for the end. An entry that stands in the manifest again and again is kept once.
    pub fn flag(&self, path: &[u8], flags: u32) {
        let mut flagged = lock(&self.flagged);
        flagged.push((path.to_vec(), flags));
        if flagged.len() >= 1 << 20 && flagged.len().is_power_of_two() {
            flagged.sort();
            flagged.dedup();
        }
    }

    pub fn is_plain(&self, path: &[u8]) -> bool {
        is_below(&self.plain, path)
    }
}

/// Whether the path is one of those directories or lies below one.
pub(crate) fn is_below(directories: &[Vec<u8>], path: &[u8]) -> bool {
    directories.iter().any(|directory| {
        path.strip_prefix(directory.as_slice()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    })
}
