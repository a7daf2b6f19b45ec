//! What to build: everything that the caller decides about one rescue system. No file is touched here.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::network::Network;

/// The order for one rescue system.
#[derive(Clone, Debug)]
pub struct Recipe<'a> {
    /// Root of the system that is copied: `/` in production, a prepared tree in development.
    pub root: &'a Path,
    /// Release of the kernel to carry, as `uname -r` gives it.
    pub kernel_release: String,
    /// `KERNEL_FILE`: this kernel and no other. Taken as it is, not below `root`.
    pub kernel_file: Option<PathBuf>,
    /// The statically linked `rear` that becomes `/usr/sbin/rear` and `/init`. Taken as it is, not below `root`.
    pub rear_binary: PathBuf,
    /// `PROGS`: carried where present, beside the built-in list.
    pub progs: Vec<String>,
    /// `REQUIRED_PROGS`, and the tools that recovery needs: missing ones are an error.
    pub required_progs: Vec<String>,
    /// `LIBS`: further libraries, as paths with wildcards.
    pub libs: Vec<String>,
    /// `COPY_AS_IS`: files and directories (wildcards allowed) taken as they are.
    pub copy_as_is: Vec<String>,
    /// `COPY_AS_IS_EXCLUDE`: patterns for what is left out of them.
    pub copy_as_is_exclude: Vec<String>,
    /// `MODULES`: `all_modules` (also when empty), `loaded_modules`, `no_modules`, or module names.
    pub modules: Vec<String>,
    /// `EXCLUDE_MODULES`: names of modules that are never carried.
    pub exclude_modules: Vec<String>,
    /// `MODULES_LOAD`: modules that the rescue system loads first, in this order (`/etc/modules`).
    pub modules_load: Vec<String>,
    /// `FIRMWARE_FILES`: empty for what the carried modules ask for, `all`, `no`, or patterns.
    pub firmware_files: Vec<String>,
    /// `KEYMAP`: name or path of a keymap; empty for the one of the running console.
    pub keymap: String,
    /// Whether and how one may log in by ssh.
    pub ssh: Ssh,
    /// `TTY_ROOT_PASSWORD` as a crypt hash (see [`crate::hash_password`]).
    pub console_password_hash: Option<String>,
    /// What the rescue system has to know (`/etc/rear/rescue.json`).
    pub rescue: RescueConfig,
    /// Further files made by the caller (layout, recovery point, boot facts).
    pub payload: Vec<Payload>,
    /// zstd level; 3 is fast and good.
    pub level: i32,
    /// Threads for compression; the result does not depend on their number.
    pub threads: usize,
    /// Stops the build.
    pub cancel: sys::Cancel,
}

/// A file that the caller made.
#[derive(Clone, Debug)]
pub struct Payload {
    /// Absolute path in the rescue system.
    pub path: String,
    /// Its content.
    pub bytes: Vec<u8>,
    /// Its permission bits.
    pub mode: u32,
}

/// Login by ssh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ssh {
    /// No ssh server.
    Off,
    /// An ssh server, with new host keys at each boot.
    On {
        /// Crypt hash of root's password; without it only keys are accepted.
        root_password_hash: Option<String>,
        /// Whether root's `authorized_keys` of this host are carried.
        authorized_keys: bool,
    },
}

/// What the rescue system knows about itself and the machine, as `/etc/rear/rescue.json`. It holds no secret.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct RescueConfig {
    /// Version of this structure.
    pub format: u32,
    /// Host name of the machine.
    pub hostname: String,
    /// Identifier of the recovery point that this rescue system belongs to.
    pub recovery_point: String,
    /// When it was made, in seconds since 1970-01-01 UTC.
    pub created: u64,
    /// Volume label by which the rescue system finds its own medium.
    pub volume_id: String,
    /// Directory on the medium that holds the archive, if it is there.
    pub backup_dir: Option<String>,
    /// Network of the machine.
    pub network: Network,
    /// Use DHCP: yes, no, or as the machine did.
    pub use_dhcp: Option<bool>,
    /// Serial consoles with their speed: `ttyS0,115200`.
    pub serial_consoles: Vec<String>,
    /// Modules to load first.
    pub modules_load: Vec<String>,
    /// Whether consoles ask for a password (its hash is in `/etc/rear/console-password`).
    pub console_password: bool,
    /// Whether to start the ssh server.
    pub ssh: bool,
    /// Program and arguments to run before the recovery.
    pub pre_recovery_script: Vec<String>,
    /// Program and arguments to run after the recovery.
    pub post_recovery_script: Vec<String>,
    /// Disks that the configuration allows to wipe.
    pub disks_to_be_wiped: Vec<String>,
    /// Patterns of files that are in the backup and are not restored.
    #[serde(default)]
    pub exclude_restore: Vec<String>,
    /// Patterns of kernel names of devices that are never a target.
    #[serde(default)]
    pub exclude_device_mapping: Vec<String>,
    /// Rebuild the restored initramfs: yes, no, or where it is needed.
    pub rebuild_initramfs: Option<bool>,
    /// How files come back that this program does not restore by itself.
    #[serde(default)]
    pub means: Means,
}

/// Programs of the user that a recovery runs, each as program and arguments, and what it says to people.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Means {
    /// What is shown when an operator is to restore the files.
    pub text: String,
    /// Restores the files.
    pub restore: Vec<String>,
    /// Says whether the backup can be reached.
    pub check: Vec<String>,
    /// Whether a failure of `restore` is a problem instead of the end.
    pub ignore_errors: bool,
    /// Options of rsync.
    pub rsync_options: Vec<String>,
    /// How the server of a repository is reached.
    #[serde(default)]
    pub reach: Reach,
}

/// What a server is told by whom it is asked, without what it is told in secret: recovery asks for that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// The repository itself.
    #[serde(default)]
    pub place: String,
    /// The user.
    pub user: String,
    /// The name of an access key.
    pub key_id: String,
    /// The region of an object store.
    pub region: String,
    /// The file with the certificates of the authorities to trust, where it is not the system's own.
    pub authorities: Option<PathBuf>,
}
