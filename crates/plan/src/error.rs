//! Why no fit was found, with all that a person needs to decide.

use std::collections::BTreeMap;

use layout::{Firmware, NodeId};

/// Why the saved layout has no place on the present disks. Nothing was written when this is returned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FitError {
    /// The machine was started in another firmware mode than the saved one.
    #[error("the saved machine boots with {saved}, this one was started in {present} mode: choose {saved} boot in the firmware setup, \
             start the rescue medium again, then recover. Nothing was written.",
            saved = firmware(*.saved), present = firmware(*.present))]
    Firmware {
        /// How the saved machine boots.
        saved: Firmware,
        /// How this one was started.
        present: Firmware,
    },
    /// Another processor architecture.
    #[error(
        "the saved machine has the architecture {saved}, this one has {present}: its programs cannot run here. \
         Recover on a {saved} machine. Nothing was written."
    )]
    Architecture {
        /// Architecture of the saved machine.
        saved: String,
        /// Architecture of this one.
        present: String,
    },
    /// The operator's own mapping cannot be followed.
    #[error("the given disk mapping cannot be used: {reason}\n{table}")]
    Mapping {
        /// What is wrong with it.
        reason: String,
        /// All present disks.
        table: String,
    },
    /// For at least one saved disk there is no suitable disk.
    #[error("no disk was found for {missing}. Nothing was written.\n{table}\n{hint}")]
    Missing {
        /// The saved disks without a place, for people.
        missing: String,
        /// All present disks, each with the reason why it was not taken.
        table: String,
        /// What to do.
        hint: String,
    },
    /// A disk has the identity of a saved one, but what it holds is not the saved machine's.
    #[error(
        "{doubt}. Identifiers repeat between virtual machines, so it is not erased unattended. Nothing was written.\n\
         {table}\nIf what it holds may be lost for ever, recover with --erase {disk}; if it is another disk, remove it \
         or choose the right one by a mapping."
    )]
    Foreign {
        /// Which disk looks like which saved one, and what it holds, for people.
        doubt: String,
        /// Id of the present disk, as `--erase` takes it.
        disk: NodeId,
        /// All present disks.
        table: String,
    },
    /// A disk that stays holds what the recovered machine would take for its own.
    #[error(
        "a disk that is not recreated holds what the recovered machine would take for its own, now or when it boots:\n{}\n\
         Nothing was written. Take the disk out of this machine, or choose it for the recovery with --map. If what it \
         holds may be lost for ever, it can also be removed (wipefs --all, mdadm --zero-superblock, pvremove), and \
         another machine's volume group only needs another name (vgrename UUID NEWNAME)",
        .clashes.iter().map(|clash| format!("  {clash}")).collect::<Vec<_>>().join("\n")
    )]
    Clash {
        /// One sentence for each disk.
        clashes: Vec<String>,
    },
    /// A name for erasure fits more than one disk.
    #[error(
        "'{name}' is to be erased, but more than one disk has this name: {disks}. Nothing was written. Name the disk by \
         its WWN or another name that only one has"
    )]
    EraseUnclear {
        /// The name as it was given.
        name: String,
        /// The disks that have it, for people.
        disks: String,
    },
    /// A name for erasure, given now, fits no disk.
    #[error(
        "'{name}' is to be erased, but no disk here has this name. Nothing was written. The disks that are here: {disks}"
    )]
    EraseUnknown {
        /// The name as it was given.
        name: String,
        /// The disks that are here, for people.
        disks: String,
    },
    /// More than one assignment would do.
    #[error("it is not clear which disk is to be used for {unclear}: {reason}. Nothing was written.\n{table}\nproposed mapping:\n{}\n{hint}",
            lines(.proposal))]
    Ambiguous {
        /// The saved disks in question, for people.
        unclear: String,
        /// Why it is not clear.
        reason: String,
        /// All present disks.
        table: String,
        /// A mapping that would work, saved disk to present disk, as ids.
        proposal: BTreeMap<NodeId, NodeId>,
        /// What to do.
        hint: String,
    },
}

impl FitError {
    /// The mapping that would work, where several would.
    pub fn proposal(&self) -> Option<&BTreeMap<NodeId, NodeId>> {
        match self {
            Self::Ambiguous { proposal, .. } => Some(proposal),
            _ => None,
        }
    }
}

fn firmware(firmware: Firmware) -> &'static str {
    match firmware {
        Firmware::Bios => "BIOS",
        Firmware::Uefi => "UEFI",
    }
}

fn lines(proposal: &BTreeMap<NodeId, NodeId>) -> String {
    proposal.iter().map(|(saved, present)| format!("  {saved} -> {present}")).collect::<Vec<_>>().join("\n")
}
