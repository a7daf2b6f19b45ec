//! Copies file trees out and back, and proves that they are equal.
//!
//! These verbs work on two files, the *archive* and its *manifest*:
//!
//! * [`create`] walks the mounted filesystems and writes both,
//! * [`verify`] proves that an archive is, byte for byte, the one that was written,
//! * [`prove`] also decompresses it, and proves that it holds what the manifest says, no less and no more,
//! * [`restore`] brings the files back below a directory,
//! * [`compare`] reads what was restored and compares it with the manifest.
//!
//! [`Foreign`] is a tar that another program made.
//!
//! [`rsync`] keeps dated trees of files instead of archives, with the same manifest beside each. A backup that keeps its
//! content elsewhere uses the halves of these verbs: [`Walk`] finds the files and their metadata, [`Target`] makes them
//! again, and the manifest is the same.
//!
//! [`measure`] says beforehand how much there is; [`select`] and [`Wanted`] make a manifest of what shall come back; [`Tree`]
//! and [`Contents`] show what is in an archive without a restore, and a [`ContentSource`] what is kept elsewhere.
//!
//! The archive is a pax tar in zstd, or another compression ([`Codec`]), that `tar -xf` and `bsdtar` read
//! ([`mod@format`] describes the parts that only this program uses). This room never looks at disks or configuration, and never decides what is
//! worth a failure: it lists every single problem by name, and its caller decides.

mod cache;
mod codec;
mod compare;
mod contents;
mod create;
pub mod digest;
mod dirs;
mod entry;
mod error;
pub mod escape;
mod exclude;
mod extra;
mod foreign;
pub mod format;
mod frames;
mod holes;
mod image;
mod manifest;
mod measure;
mod metadata;
mod output;
mod pax;
mod pick;
mod pipeline;
mod prove;
mod restore;
pub mod rsync;
mod select;
mod settle;
mod stored;
mod target;
mod tree;
mod verify;
mod walk;

use std::path::PathBuf;

pub use cache::Cache;
pub use codec::Codec;
pub use compare::{Comparison, Difference, compare};
pub use contents::{ContentSource, Contents};
pub use create::{Created, Only, Problem, ProblemKind, Source, View, create, create_into};
pub use entry::{Entry, Kind};
pub use error::Error;
pub use exclude::Exclude;
pub use extra::extra;
pub use foreign::{Foreign, Scanned};
pub use holes::segments;
pub use image::{Image, ImageReader, ImageWriter};
pub use manifest::{Reader as ManifestReader, Totals, Writer as ManifestWriter, totals, write_line};
pub use measure::measure;
pub use metadata::Stat;
pub use output::{Encrypted, Output, Volume, Volumes};
pub use pick::{Picked, Wanted};
pub use prove::{Finding, Proof, prove};
pub use restore::{Restore, RestoreProblem, Restored, restore};
pub use select::{LeaveOut, LeftOut, select};
pub use stored::{Stored, StoredReader};
pub use target::{Hand, Target, TargetFile};
pub use tree::{Attributes, Content, Node, Tree};
pub use verify::{verify, verify_index};
pub use walk::{Sink, Taken, Walk, stored_path};

/// How hard and how wide to work.
#[derive(Clone, Debug)]
pub struct Options {
    /// How an archive that is made is compressed; one that is read says so itself.
    pub codec: Codec,
    /// Its level: zstd 1 to 22 (3 is a good choice), bzip2 1 to 9, gzip and xz 0 to 9; the others have none.
    pub level: i32,
    /// Worker threads. More than eight are not used: memory grows with each (about 10 MB).
    pub threads: usize,
    /// Raised when the operator wants to stop.
    pub cancel: sys::Cancel,
}

impl Options {
    /// The number of workers that is really started.
    pub fn workers(&self) -> usize {
        self.threads.clamp(1, 8)
    }
}

/// Receives news of progress from the worker threads.
pub trait Progress: Sync {
    /// So many more bytes of content and so many more files (entries of any type) are done.
    fn add(&self, bytes: u64, files: u64);
}

impl Progress for () {
    fn add(&self, _bytes: u64, _files: u64) {}
}

/// The absolute path in the machine that a stored relative path stands for.
pub fn machine_path(path: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let mut full = Vec::with_capacity(path.len() + 1);
    full.push(b'/');
    if path != b"." {
        full.extend_from_slice(path);
    }
    PathBuf::from(std::ffi::OsString::from_vec(full))
}
