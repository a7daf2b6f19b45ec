//! The types of settings that are neither text nor numbers.

use serde::Serialize;

/// Yes, no, or left to the program.
///
/// The words are those of the Bash program in any letter case: yes, y, true, t, 1 and no, n, false, f, 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tristate {
    /// Do it.
    Yes,
    /// Do not do it.
    No,
    /// Empty: the program decides.
    Auto,
}

impl Tristate {
    /// Whether to do it, where the program's own choice is `auto`.
    pub fn or(self, auto: bool) -> bool {
        match self {
            Self::Yes => true,
            Self::No => false,
            Self::Auto => auto,
        }
    }
}

/// The kind of rescue medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Output {
    /// A hybrid ISO.
    Iso,
}

/// How files are saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Backup {
    /// This program's own archive.
    Netfs,
    /// A repository of the restic format.
    Restic,
    /// Not at all; recovery asks the operator to restore them.
    RequestRestore,
    /// Dated trees that rsync keeps.
    Rsync,
    /// Programs of the user save and restore them.
    External,
}

/// The boot menu's default entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IsoDefault {
    /// "Recover HOST", which waits for the operator.
    Manual,
    /// "Automatic Recover".
    Automatic,
    /// The local disk.
    BootHd,
}

/// What of ssh goes into the rescue system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SshFiles {
    /// Server configuration and root's authorized keys, nothing secret.
    AvoidSensitive,
    /// Everything. [`crate::load`] refuses this word (private keys are never packed), so it never comes from a
    /// configuration file.
    Yes,
    /// No ssh.
    No,
}

/// How far the backup stands back for the disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IoPriority {
    /// Not at all.
    Usual,
    /// The lowest share.
    Low,
    /// Only while nobody else reads or writes.
    Idle,
}

/// An address that may have a password in it: it is shown without.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(String);

impl Address {
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }

    /// The whole of it, for whoever goes there.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", crate::diagnostic::mask_url_password(&self.0))
    }
}

impl Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&crate::diagnostic::mask_url_password(&self.0))
    }
}
