//! What is done to recreated storage only when all files are in their places: a btrfs gets the limits of its quota groups,
//! and its read-only subvolumes become read-only, both of which would stand in the way of the restore. Never looks at files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use layout::{FsKind, Layout, NodeId};
use sys::mount::Mount;
use sys::{Cmd, Sys};

/// Finishes every btrfs of the saved layout; `devices` are the present nodes of its devices. Gives what could not be
/// done, as sentences: the files are there all the same.
///
/// # Errors
/// When one of them cannot be mounted or unmounted.
pub fn finish(
    sys: &dyn Sys,
    saved: &Layout,
    devices: &BTreeMap<NodeId, PathBuf>,
) -> sys::Result<Vec<String>> {
    let mut problems = Vec::new();
    let top = Path::new(plan::SUBVOLUMES_AT);
    for device in &saved.devices {
        let Some(FsKind::Btrfs(btrfs)) = device.filesystem().map(|filesystem| &filesystem.kind) else {
            continue;
        };
        let commands = plan::finish_btrfs(btrfs, plan::SUBVOLUMES_AT);
        let Some(node) = devices.get(&device.id).filter(|_| !commands.is_empty()) else { continue };
        sys::fs::create_dir_private(top)?;
        let flags = rustix::mount::MountFlags::empty();
        let mount = Mount::new(&node.to_string_lossy(), top, "btrfs", flags, "subvolid=5")?;
        for command in commands {
            if let Err(error) = sys.run(&Cmd::new(&command.program).args(&command.args)) {
                problems.push(format!("btrfs on {}: {error}", node.display()));
            }
        }
        mount.unmount()?;
    }
    Ok(problems)
}
