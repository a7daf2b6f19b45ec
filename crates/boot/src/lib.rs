//! Makes the recovered system boot on what is there now.
//!
//! The principle: what actually booted is kept byte for byte when the recovery point is made ([`capture`]) and
//! written back ([`restore_boot`]); the distribution's own tool is the fallback for what had to move. Files of
//! the restored system are changed only where an identifier could not be kept ([`Changed`]), and its
//! initramfs is made again only where it lacks a driver ([`initramfs_needs_rebuild`]). At the end [`check_chain`]
//! follows the way from the firmware to `/sbin/init`. This room never decides which disk is written: all raw
//! writes go through its caller.

mod capture;
mod chain;
mod devices;
mod error;
mod facts;
mod grubcfg;
mod initramfs;
mod lvmdevices;
mod multipath;
mod naming;
mod nvram;
mod option;
mod restore;
mod resume;
mod rooted;
mod sector;
mod subvolid;

pub use capture::{capture, check};
pub use chain::{Link, check_boot_code, check_chain, check_chain_with, check_sketch};
pub use error::{Error, Result};
pub use facts::{BootFacts, DiskBoot, EfiEntry, EfiFacts, EspFacts, FORMAT, Hex, RawPartition};
pub use initramfs::{initramfs_needs_rebuild, rebuild_initramfs};
pub use lvmdevices::{LvmDevices, restore_lvm_devices};
pub use multipath::{Wwids, restore_wwids};
pub use naming::Changed;
pub use restore::{BootReport, Target, WriteDisk, restore_boot};
pub use resume::names_resume_offset;
pub use subvolid::{Renumbered, names_subvolids, rewrite_subvolids};
