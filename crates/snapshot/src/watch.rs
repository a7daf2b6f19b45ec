//! Looks at the snapshots of LVM while they are read: one that runs full is worth nothing any more, and a thin pool that runs full takes
//! the machine's own filesystems with it. Then the run is to end, so that the snapshots go away in time.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use sys::Cancel;

use crate::lvm;

/// How often LVM is asked.
const EVERY: Duration = Duration::from_secs(5);

/// A thread that looks; it ends with the value.
#[derive(Debug)]
pub(crate) struct Watch {
    found: Arc<Mutex<Option<String>>>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins. `cancel` is raised when there is trouble.
    pub fn start(volumes: Vec<lvm::Made>, cancel: Cancel) -> Self {
        let found = Arc::new(Mutex::new(None));
        let (stop, stopped) = channel::<()>();
        let slot = Arc::clone(&found);
        let thread = std::thread::spawn(move || {
            let sys = sys::Real::default();
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                if let Some(trouble) = lvm::trouble(&sys, &volumes) {
                    if let Ok(mut slot) = slot.lock() {
                        *slot = Some(trouble);
                    }
                    cancel.raise();
                    return;
                }
            }
        });
        Self { found, stop: Some(stop), thread: Some(thread) }
    }

    /// What it has found.
    pub fn trouble(&self) -> Option<String> {
        self.found.lock().ok().and_then(|found| found.clone())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It ends by itself as soon as it is not asking.
            let _ = thread.join();
        }
    }
}
