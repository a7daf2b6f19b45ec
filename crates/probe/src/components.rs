//! What a name of `EXCLUDE_COMPONENTS` or `COVERAGE_WAIVE` stands for: a device by its path, its id or a link to it,
//! a volume group, or a mount point. Decides nothing about what it finds.

use layout::{Device, Kind, Layout};
use sys::Sys;

use crate::mounts;
use crate::rules::{component, trim};

/// Whether a name such as `/dev/disk/by-id/...` or `/dev/mapper/...` is a link to the device.
pub(crate) fn leads_to(sys: &dyn Sys, layout: &Layout, name: &str, device: &Device) -> bool {
    name.starts_with("/dev/")
        && layout.device_by_path(name).is_none()
        && mounts::resolve(sys, name).is_ok_and(|path| path == device.path)
}

/// Whether the rule names this very device, in any of the ways to name it.
pub(crate) fn names_device(sys: &dyn Sys, layout: &Layout, rule: &str, device: &Device) -> bool {
    let name = trim(component(rule));
    name == device.path
        || rule == device.id.0
        || in_group(name, device)
        || leads_to(sys, layout, name, device)
}

/// Whether the rule names the device or a place where the whole of it is mounted. A bind mount of some directory
/// stands for that directory alone, never for the filesystem that it is a part of.
pub(crate) fn names(sys: &dyn Sys, layout: &Layout, rule: &str, device: &Device) -> bool {
    let name = trim(component(rule));
    names_device(sys, layout, rule, device)
        || layout
            .mounts_of(&device.id)
            .any(|mount| mount.mount_point == name && (mount.root == "/" || mount.fs_type == "btrfs"))
}

/// `/dev/GROUP` stands for every volume of the group.
fn in_group(name: &str, device: &Device) -> bool {
    match &device.kind {
        Kind::LogicalVolume(volume) if !volume.group.is_empty() => {
            name.strip_prefix("/dev/") == Some(volume.group.as_str())
        }
        _ => false,
    }
}
