//! Where a saved layout goes on present disks, and the ordered actions that bring it there.
//!
//! [`fit()`] decides which present disk takes the place of each saved one, with the reason; [`plan()`] makes of
//! that the whole list of explained steps with the commands that each will run; [`recoverable`] answers, while
//! the machine is still alive, whether such a plan exists at all. This room is pure: it runs nothing, reads
//! nothing and guesses nothing. Where identity, content and size do not decide, it is an error with a proposed
//! mapping.

mod action;
mod assemble;
mod blank;
mod btrfs;
mod build;
mod clash;
mod command;
mod crc32c;
mod describe;
mod erase;
mod error;
mod exfat;
mod ext;
mod f2fs;
mod fit;
mod jfs;
mod locate;
mod luks;
mod lvm;
mod md;
mod nilfs;
mod ntfs;
mod own;
mod preserve;
mod swap;
mod table;
mod target;
mod text;
mod vfat;
mod xfs;

pub use action::{Action, Danger, SUBVOLUMES_AT, Step};
pub use assemble::{Attach, FoundMount, assemble, assemble_found, found_mounts};
pub use btrfs::finish as finish_btrfs;
pub use build::{PlanError, plan, recoverable, storage};
pub use command::Command;
pub use describe::{content as describe_content, disk as describe_disk};
pub use error::FitError;
pub use fit::{Choices, Fit, Placement, disturbances, fit, minimum_size};
pub use locate::locate;
pub use luks::header_file as luks_header_file;
pub use preserve::{Preserved, preserved, still_there};
pub use swap::swap_file_commands;
pub use target::{Place, Target};

use serde::{Deserialize, Serialize};

/// Version of the plan's JSON form.
pub const FORMAT: u32 = 2;

/// What will be done, whole: printed, saved, approved and executed as one object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Version of this form.
    pub format: u32,
    /// Id of the recovery point that it recovers.
    pub recovery_point: String,
    /// Which disk takes which place, and which stay untouched.
    pub fit: Fit,
    /// The steps, in their order.
    pub steps: Vec<Step>,
    /// Swap space in files, made again when the files of the machine are in their places.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub swap_files: Vec<layout::SwapFile>,
}

/// Why a saved plan cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not JSON, or not a plan.
    #[error("the saved plan cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// Written by a newer program.
    #[error(
        "the saved plan has format {0}, this rear reads formats up to {FORMAT}; use the rear that wrote it"
    )]
    TooNew(u32),
}

impl Plan {
    /// The JSON form, indented, ending in a newline.
    pub fn to_json(&self) -> Result<String, ReadError> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(text)
    }

    /// Reads the JSON form.
    pub fn from_json(text: &str) -> Result<Self, ReadError> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let version: Version = serde_json::from_str(text)?;
        if version.format > FORMAT {
            return Err(ReadError::TooNew(version.format));
        }
        Ok(serde_json::from_str(text)?)
    }

    /// Names of the programs that the steps run, sorted: what must be there before the first write.
    pub fn tools(&self) -> Vec<String> {
        let later = self.swap_files.iter().flat_map(|file| swap_file_commands(file, &file.path));
        let mut names: Vec<String> =
            self.steps.iter().flat_map(Step::commands).chain(later).map(|command| command.program).collect();
        // The kernel's own word that it can swap to them.
        if !self.swap_files.is_empty() {
            names.extend(["swapon".to_owned(), "swapoff".to_owned()]);
        }
        names.sort();
        names.dedup();
        names
    }

    /// What makes this plan the same piece of work when it is planned again after an interruption: recovery
    /// point, disks and actions, without explanations (a half-written disk is explained differently from
    /// a blank one).
    pub fn fingerprint(&self) -> String {
        let disks: Vec<_> = self.fit.disks.iter().map(|one| (&one.saved, &one.present)).collect();
        let actions: Vec<_> = self.steps.iter().map(|step| &step.action).collect();
        // These types hold nothing that JSON cannot express.
        serde_json::to_string(&(&self.recovery_point, disks, actions)).unwrap_or_default()
    }
}
