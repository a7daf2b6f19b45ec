//! Mounted filesystems as they were at one moment, so that a backup reads files that do not change meanwhile: snapshots of
//! logical volumes and of btrfs subvolumes.
//!
//! [`Plan`] says which filesystem can be read from a snapshot, and why the others cannot; it changes nothing. [`Plan::take`] makes the
//! snapshots, one right after another; [`Taken`] shows them, says when one of them ran full, and removes them, however it
//! ends. [`Leftovers`] are those of a run that was killed.
//!
//! A snapshot is removed only where it carries the marks of this machine's runs (see [`mod@mark`]). Nothing else is ever removed, and no
//! filesystem is mounted for writing but the top of a btrfs in which its snapshots lie.

mod btrfs;
mod leftovers;
mod lvm;
mod mark;
mod plan;
mod taken;
mod watch;

pub use leftovers::Leftovers;
pub use mark::SNAPSHOTS;
pub use plan::{Place, Plan, Seat, Way};
pub use taken::Taken;
