//! How our snapshots are known from everybody else's. A snapshot of LVM has a name of ours and two tags, one of them of this
//! machine: a host may see the volume groups of its guests. Snapshots of a btrfs lie in a directory of its top that carries the
//! same mark as an attribute only root can set.

use std::path::Path;

use sys::{Sys, SysExt};

/// Beginning of the name of each snapshot of LVM.
pub(crate) const NAME: &str = "rear_backup_";
/// The tag that each of them has.
pub(crate) const TAG: &str = "rear-backup";
/// The directory in the top of a btrfs in which its snapshots lie while a backup runs.
pub const SNAPSHOTS: &str = ".rear-backup-snapshots";
/// The attribute of that directory: the tag of the machine.
pub(crate) const ATTRIBUTE: &str = "trusted.rear-backup";

/// The tag of this machine: of its machine id, or where it has none, of its name.
pub(crate) fn host(sys: &dyn Sys) -> String {
    let id = match sys.read_opt("/etc/machine-id") {
        Ok(Some(id)) if !id.is_empty() => id,
        _ => sys.read_opt("/proc/sys/kernel/hostname").ok().flatten().unwrap_or_default(),
    };
    // The machine id itself is not to be shown to others.
    let digest = blake3::derive_key("rear 2026 snapshots of this machine", id.as_bytes());
    let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("rear-host-{hex}")
}

/// Whether the directory is one that this machine has marked.
pub(crate) fn is_marked(dir: &Path, host: &str) -> bool {
    let mut value = [0; 64];
    let length = rustix::fs::lgetxattr(dir, ATTRIBUTE, &mut value);
    length.is_ok_and(|length| value.get(..length) == Some(host.as_bytes()))
}
