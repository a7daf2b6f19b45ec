//! Carries a plan out, once, resumably.
//!
//! [`targets`] subtracts what must not be written from what was chosen; [`run`] executes the steps and is the only
//! place that can build a [`WritableDisk`]; [`Journal`] remembers executed steps, so that a recovery that was
//! cut off continues. This room decides nothing: what happens to which disk stands in the plan that the
//! operator approved.

mod disk;
mod error;
mod finish;
mod hands;
mod journal;
mod keys;
mod kpartx;
mod place;
mod release;
mod run;
mod steps;
mod swapfile;
mod sysfs;
mod usage;

pub use disk::{Sequences, Targets, WritableDisk, targets, targets_since};
pub use error::Error;
pub use finish::finish;
pub use hands::{Hands, Kernel};
pub use journal::Journal;
pub use keys::{HeaderFile, Keys, NoKeys};
pub use kpartx::kpartx;
pub use run::{Applied, Progress, Silent, run, run_with, run_with_keys};
pub use swapfile::swap_file;

/// Where the rescue system keeps the journal of a recovery.
pub const JOURNAL: &str = "/var/lib/rear/recover/journal.json";
