//! The workflows: thin, ordered, readable as the stories that they are.

pub mod beneath;
pub mod blockclone;
mod browse;
pub mod convert;
pub mod dump;
pub mod foreign;
mod kept;
pub mod layout;
pub mod list;
pub mod luks;
pub mod machine;
mod means;
pub mod mkbackup;
pub mod mount;
pub mod mountonly;
pub mod multipath;
pub mod points;
pub mod preflight;
mod preserve;
pub mod proof;
pub mod recover;
pub mod restore;
pub mod subvolumes;
pub mod swapfiles;
mod undrilled;
pub mod verify;
