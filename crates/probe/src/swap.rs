//! Swap headers (kernel `include/linux/swap.h`, `union swap_header`) and what hibernation leaves in their place.

use layout::{Bytes, Content, Device, Layout, NodeId, Swap, SwapFile};
use sys::Sys;

use crate::Result;
use crate::bytes::{has, le32, text, uuid};
use crate::mounts::{self, MountEntry, SwapEntry};

/// Page sizes of the architectures that Linux runs on, the usual one first.
pub(crate) const PAGES: [u32; 5] = [4096, 8192, 16384, 32768, 65536];

/// Reads the first page of a possible swap area, made for pages of this size.
pub(crate) fn parse(page: &[u8], page_size: u32) -> Option<Content> {
    let at = (page_size as usize).checked_sub(10)?;
    if has(page, at, b"SWAPSPACE2") {
        // Version 1 in the byte order of the machine that made it.
        if !matches!(le32(page, 1024)?, 1 | 0x0100_0000) {
            return None;
        }
        return Some(Content::Swap(Swap {
            uuid: uuid(page, 1036)?,
            label: text(page, 1052, 16)?,
            page_size,
            active: false,
        }));
    }
    let what = if has(page, at, b"SWAP-SPACE") {
        "swap space of the old version 0"
    } else if [b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND", b"LINHIB000"]
        .iter()
        .any(|magic| has(page, at, *magic))
    {
        "hibernation image"
    } else {
        return None;
    };
    Some(Content::Unknown { what: what.to_owned() })
}

/// The swap space in a file; `None` where there is no such file, or it holds something else. `device` carries the filesystem
/// in which it lies.
///
/// # Errors
/// When the file is there and cannot be read.
pub fn file(sys: &dyn Sys, path: &str, device: &NodeId) -> Result<Option<SwapFile>> {
    let facts = match sys.file(path.as_ref()) {
        Ok(facts) => facts,
        // Not there, or no regular file.
        Err(error) if error.is_not_found() => return Ok(None),
        Err(sys::Error::Answer { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    for page_size in PAGES {
        let page = sys.read_at(path.as_ref(), 0, page_size as usize)?;
        if let Some(Content::Swap(swap)) = parse(&page, page_size) {
            return Ok(Some(SwapFile {
                path: path.to_owned(),
                device: device.clone(),
                size: Bytes(facts.size),
                mode: facts.mode,
                uid: facts.uid,
                gid: facts.gid,
                swap,
            }));
        }
    }
    Ok(None)
}

/// The swap files of this machine, by path: those in use, and those that fstab names. Only what lies on a filesystem of the
/// layout is its own.
pub(crate) fn files(
    sys: &dyn Sys,
    layout: &Layout,
    mounted: &[MountEntry],
    swaps: &[SwapEntry],
) -> Result<Vec<SwapFile>> {
    let mut paths: Vec<(String, bool)> =
        swaps.iter().filter(|swap| swap.is_file).map(|swap| (swap.path.clone(), true)).collect();
    for entry in mounts::fstab(sys)? {
        if entry.fs_type == "swap" && entry.spec.starts_with('/') && !entry.spec.starts_with("/dev/") {
            let path = mounts::resolve(sys, &entry.spec)?;
            if !paths.iter().any(|(known, _)| *known == path) {
                paths.push((path, false));
            }
        }
    }
    let mut found = Vec::new();
    for (path, active) in paths {
        let Some(device) = carrier(sys, layout, mounted, &path)? else { continue };
        if let Some(mut swap_file) = file(sys, &path, &device.id)? {
            swap_file.swap.active = active;
            found.push(swap_file);
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// The device of the layout whose filesystem is seen at this path.
fn carrier<'a>(
    sys: &dyn Sys,
    layout: &'a Layout,
    mounted: &[MountEntry],
    path: &str,
) -> Result<Option<&'a Device>> {
    let holds = |point: &str| crate::rules::is_below(path, point);
    // Of two mounts at one place, the later one is seen.
    let mount = mounted.iter().filter(|mount| holds(&mount.mount_point)).max_by_key(|m| m.mount_point.len());
    let Some(mount) = mount else { return Ok(None) };
    let device = mounts::node_of(sys, layout, mount)?;
    Ok(device.filter(|device| device.filesystem().is_some()))
}
