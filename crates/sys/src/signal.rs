//! SIGINT and SIGTERM become a flag that every long loop looks at, so that guards can clean up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::{Error, Result};

/// "Stop as soon as you can leave things in order." Cloning shares the flag.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// A flag that SIGINT, SIGTERM and SIGHUP raise. A second signal does not kill: half-written results and
    /// mounts must be cleaned up first.
    pub fn on_signals() -> Result<Self> {
        let cancel = Self::default();
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP]
        {
            signal_hook::flag::register(signal, Arc::clone(&cancel.0))
                .map_err(Error::io("install a signal handler for", "this process"))?;
        }
        Ok(cancel)
    }

    /// Raises the flag by hand (tests, a failing sibling thread).
    pub fn raise(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether to stop.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// `Err(Cancelled)` when raised, for `?` in loops.
    pub fn check(&self) -> Result<()> {
        if self.is_raised() { Err(Error::Cancelled) } else { Ok(()) }
    }
}
