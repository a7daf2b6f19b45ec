//! What the threads of one run share: the reason to stop, and a queue with several takers.

use std::sync::mpsc::{Receiver, RecvError};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::codec::{Codec, Decompressor};

/// Locks; a thread that panicked has reported by its panic, its data is still good to report with.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The receiving end of a channel for several workers.
pub struct Queue<T>(Mutex<Receiver<T>>);

impl<T> Queue<T> {
    pub fn new(receiver: Receiver<T>) -> Self {
        Self(Mutex::new(receiver))
    }

    /// The next job, or the end of all jobs.
    pub fn take(&self) -> Result<T, RecvError> {
        lock(&self.0).recv()
    }

    /// Does every job, with a decompressor of this thread. After a failure the queue is only emptied, so that nobody waits.
    pub(crate) fn decompress(
        &self,
        codec: Codec,
        failure: &Failure,
        mut job: impl FnMut(T, &mut Decompressor),
    ) {
        let mut decompressor = match Decompressor::new(codec) {
            Ok(decompressor) => Some(decompressor),
            Err(source) => {
                failure.set(crate::Error::Io { what: "decompress the archive".into(), source });
                None
            }
        };
        while let Ok(next) = self.take() {
            if let Some(decompressor) = decompressor.as_mut().filter(|_| !failure.is_set()) {
                job(next, decompressor);
            }
        }
    }
}

/// The first error of any thread; the others look whether there is one.
#[derive(Default)]
pub struct Failure(Mutex<Option<crate::Error>>);

impl Failure {
    /// Keeps the error, when it is the first.
    pub fn set(&self, error: crate::Error) {
        lock(&self.0).get_or_insert(error);
    }

    /// Whether there is one.
    pub fn is_set(&self) -> bool {
        lock(&self.0).is_some()
    }

    /// Takes it out.
    pub fn take(&self) -> Option<crate::Error> {
        lock(&self.0).take()
    }

    /// Turns it into the result of the run.
    pub fn into_result(self) -> Result<(), crate::Error> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }
}
