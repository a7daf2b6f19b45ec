//! Builds the rescue system's initramfs from this host: its own programs with the libraries they need, its
//! kernel modules and firmware, its udev, network, consoles and ssh, in a compressed newc archive whose bytes
//! depend on its inputs only.
//!
//! The content is an allow-list. A private key is never packed, no program of the host is run to find out what
//! it needs (ELF headers are read instead), and nothing of the host is changed.

mod build;
mod collect;
mod cpio;
mod elf;
mod error;
mod etc;
mod firmware;
mod glob;
mod host;
mod index;
mod kernel;
mod keys;
mod libs;
mod modules;
pub mod network;
mod pack;
mod password;
mod programs;
mod recipe;
mod tree;
mod udev;

pub use build::{Image, build, check};
pub use error::Error;
pub use kernel::find_kernel;
pub use password::{hash_password, verify_password};
pub use recipe::{Means, Payload, Reach, Recipe, RescueConfig, Ssh};
