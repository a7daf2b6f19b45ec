//! Signs that somebody works on the repository, as restic leaves and respects them. Whoever only adds shares the repository;
//! whoever removes has it alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::backend::FileKind;
use crate::error::{Error, Result};
use crate::id::Id;
use crate::node::time_of;
use crate::{Inner, Repository};

/// A lock that nobody renewed for this long is dead, in seconds (restic's limit).
const STALE: i64 = 30 * 60;
/// How often a lock is renewed.
const RENEW: Duration = Duration::from_secs(5 * 60);

#[derive(Debug, Serialize, Deserialize)]
struct LockFile {
    time: String,
    exclusive: bool,
    hostname: String,
    username: String,
    pid: i64,
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    gid: u32,
}

impl LockFile {
    /// Whether its owner is dead: not renewed for long, or a process of this host that is gone.
    fn is_stale(&self) -> bool {
        let now = jiff::Timestamp::now().as_second();
        if time_of(&self.time).is_none_or(|(time, _)| now - time > STALE) {
            return true;
        }
        let proc = std::path::Path::new("/proc").join(self.pid.to_string());
        self.hostname == sys::info::hostname() && !proc.exists()
    }
}

/// Holds a lock and renews it; removes it when dropped.
#[derive(Debug)]
pub struct Lock {
    end: Arc<AtomicBool>,
    renewer: Option<JoinHandle<()>>,
}

impl Lock {
    /// Takes the lock. Locks of the dead are removed, as `restic unlock` removes them.
    pub fn take(repository: &Repository, exclusive: bool) -> Result<Self> {
        conflict(&repository.0, exclusive, None)?;
        let mine = write(&repository.0, exclusive)?;
        // Somebody may have done the same at the same moment: then both see both, and both go away.
        if let Err(error) = conflict(&repository.0, exclusive, Some(mine)) {
            let _ = repository.0.backend.remove(FileKind::Lock, mine);
            return Err(error);
        }
        let end = Arc::new(AtomicBool::new(false));
        let (inner, stop) = (Arc::clone(&repository.0), Arc::clone(&end));
        let renewer = std::thread::spawn(move || renew(&inner, exclusive, mine, &stop));
        Ok(Self { end, renewer: Some(renewer) })
    }
}

impl Lock {
    /// For reading: as [`Lock::take`], but a place that cannot be written needs no lock, for nobody can remove anything there.
    pub fn share(repository: &Repository) -> Result<Option<Self>> {
        match Self::take(repository, false) {
            Ok(lock) => Ok(Some(lock)),
            Err(error @ Error::Locked { .. }) => Err(error),
            Err(_) => Ok(None),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.end.store(true, Ordering::SeqCst);
        if let Some(renewer) = self.renewer.take() {
            renewer.thread().unpark();
            let _ = renewer.join();
        }
    }
}

fn renew(inner: &Inner, exclusive: bool, mut mine: Id, end: &AtomicBool) {
    let mut since = Instant::now();
    while !end.load(Ordering::SeqCst) {
        // Whoever sets the end wakes this thread; it may also wake for no reason.
        std::thread::park_timeout(RENEW.saturating_sub(since.elapsed()));
        if since.elapsed() >= RENEW && !end.load(Ordering::SeqCst) {
            since = Instant::now();
            // The new one first. Where that fails, the old one is good for a while, and the next try may succeed.
            if let Ok(next) = write(inner, exclusive) {
                let _ = inner.backend.remove(FileKind::Lock, mine);
                mine = next;
            }
        }
    }
    // A lock that cannot be removed is stale as soon as this process has ended.
    let _ = inner.backend.remove(FileKind::Lock, mine);
}

fn write(inner: &Inner, exclusive: bool) -> Result<Id> {
    let lock = LockFile {
        time: jiff::Timestamp::now().to_string(),
        exclusive,
        hostname: sys::info::hostname(),
        username: "root".into(),
        pid: std::process::id().into(),
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
    };
    inner.write_json(FileKind::Lock, &lock)
}

fn conflict(inner: &Inner, exclusive: bool, mine: Option<Id>) -> Result<()> {
    for (id, _) in inner.backend.list(FileKind::Lock)? {
        if Some(id) == mine {
            continue;
        }
        // One that is gone or cannot be read: its owner renewed or removed it, or was killed while writing it.
        let Ok(lock) = inner.read_json::<LockFile>(FileKind::Lock, id) else { continue };
        if lock.is_stale() {
            match inner.backend.remove(FileKind::Lock, id) {
                // It stays for ever where nothing can be removed, and hinders nobody.
                Ok(()) | Err(Error::KeepsAll { .. }) => {}
                Err(error) => return Err(error),
            }
        } else if exclusive || lock.exclusive {
            let who = format!("process {} of {} since {}", lock.pid, lock.hostname, lock.time);
            return Err(Error::Locked { who });
        }
    }
    Ok(())
}
