//! Turns this machine into a [`layout::Layout`], with evidence.
//!
//! Facts come from `/sys`, `/proc`, udev's database and the superblocks themselves; no program is started. Every
//! format has a module with a pure parser. What is not known is said to be unknown, never taken for empty.
//! [`coverage`] decides what a backup of this machine holds, what it leaves out by which rule, and what it cannot
//! hold. Nothing here writes anything.

mod alone;
mod block;
mod btrfs;
mod bytes;
mod components;
mod content;
mod coverage;
mod device;
mod error;
mod exfat;
mod ext;
mod f2fs;
mod fstab;
mod gpt;
mod identity;
mod jfs;
mod luks;
mod lvm;
mod machine;
mod mbr;
mod md;
mod member;
mod mounts;
mod multipath;
mod nilfs;
mod ntfs;
mod other;
mod reduce;
mod rules;
mod sources;
mod stacked;
mod support;
mod swap;
mod table;
mod vfat;
mod xfs;

pub use btrfs::views::{Top, is_top};
pub use coverage::{Coverage, CoverageRow, Decision, DiskRow, DiskState, Rules, coverage};
pub use error::{Error, Result};
pub use fstab::fstab_problems;
pub use machine::machine;
pub use mounts::{FstabEntry, MountEntry, mountinfo, parse_fstab};
pub use reduce::{preserved, reduce};
pub use sources::sources;
pub use swap::file as swap_file;
