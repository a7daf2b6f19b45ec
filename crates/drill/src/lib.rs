//! Drives virtual machines that prove a recovery.
//!
//! A drill takes a machine all the way: it is installed on blank disks, backs itself up, loses its disks, boots
//! the rescue medium on new ones, recovers unattended, boots again, and its files and identifiers are compared
//! with the original's by independent tools. A [`Scenario`] says which machine, a [`Lab`] has the guests and
//! the folders, a [`Drill`] does it phase by phase, a [`Report`] says what came of it.
//!
//! During the recovery nothing helps the guest: the medium recovers by itself, as on a customer's machine. The
//! drill only watches the serial console and the power state. Nothing here decides how `rear` works.

mod compare;
mod console;
mod dialog;
mod disk;
mod drill;
mod error;
mod facts;
mod guest;
mod helper;
mod host;
mod install;
mod lab;
mod machine;
mod qmp;
mod report;
mod scenario;
mod server;
mod storage;
mod verdict;

pub use drill::{Drill, Phase};
pub use error::{Error, Result};
pub use guest::{Base, Recipe};
pub use host::{install_packages, missing, missing_packages};
pub use lab::Lab;
pub use report::{Figures, Outcome, Report};
pub use scenario::{Catalogue, Firmware, Medium, Scenario};
pub use storage::{LayoutReport, StorageDrill, layouts as storage_layouts, recipe as storage_recipe};
