//! The one door to the machine.
//!
//! Everything that asks the running system a question (a program's output, a file of `/proc` or `/sys`, a
//! superblock) goes through the trait [`Sys`], of which there are four doors: [`Real`], [`Record`] (real, and
//! writes down each answer), [`Replay`] (answers from a recording, and tells which answers nobody asked for)
//! and [`Forbid`] (every question is an error: for tests that must touch nothing).
//!
//! What *changes* the machine outside of a program run (mounts, new files, deletion) stands in modules of its
//! own, each safe against the accidents that destroyed backups elsewhere: [`mount`], [`fs`], [`lock`].

mod cmd;
mod copy;
mod door;
mod error;
pub mod fs;
pub mod info;
pub mod lock;
pub mod mount;
mod real;
mod record;
mod secret;
pub mod signal;
mod stream;

pub use cmd::{Cmd, Output};
pub use door::{FileFacts, Forbid, FsUsage, Sys, SysExt};
pub use error::{Error, Result};
pub use real::Real;
pub use record::{Record, Replay};
pub use secret::Secret;
pub use signal::Cancel;
