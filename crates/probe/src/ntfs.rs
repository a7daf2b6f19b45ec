//! NTFS: the boot sector, and label and version from the file `$Volume` (record 3 of the master file table). Field names and
//! offsets are those of the kernel's `fs/ntfs3/ntfs.h`. Writes nothing.

use layout::{Filesystem, FsKind, Ntfs};
use sys::{Sys, SysExt};

use crate::Result;
use crate::bytes::{has, le16, le32, le64};
use crate::device::Dev;
use crate::mounts::MountEntry;

/// Length of the boot sector.
const LEN: usize = 512;
const VOLUME_NAME: u32 = 0x60;
const VOLUME_INFORMATION: u32 = 0x70;

/// Reads a possible NTFS; `None` when the device holds none.
pub(crate) fn read(dev: &Dev<'_>) -> sys::Result<Option<Filesystem>> {
    let Some((mut filesystem, kind, table)) = boot(&dev.read(0, LEN)?) else { return Ok(None) };
    let at = table.saturating_add(3 * u64::from(kind.record_size));
    let record = dev.read(at, kind.record_size as usize)?;
    let (label, version) = volume(&record).unwrap_or_default();
    filesystem.label = label;
    filesystem.kind = FsKind::Ntfs(Ntfs { version, ..kind });
    Ok(Some(filesystem))
}

/// What the boot sector says, and where the master file table begins, in bytes.
fn boot(sector: &[u8]) -> Option<(Filesystem, Ntfs, u64)> {
    if !has(sector, 3, b"NTFS    ") {
        return None;
    }
    let sector_size = le16(sector, 11)?;
    let per_cluster = match *sector.get(13)? {
        few @ 1..=128 => u32::from(few),
        // From 256 sectors on it is the negative of a power of two.
        many @ 240.. => 1_u32.checked_shl(256 - u32::from(many))?,
        _ => return None,
    };
    if !sector_size.is_power_of_two() || !(256..=4096).contains(&sector_size) {
        return None;
    }
    let cluster_size = per_cluster.checked_mul(u32::from(sector_size))?;
    let record_size = match i8::from_le_bytes([*sector.get(64)?]) {
        clusters @ 1.. => u32::try_from(clusters).ok()?.checked_mul(cluster_size)?,
        power => 1_u32.checked_shl(u32::from(power.unsigned_abs()))?,
    };
    if !(256..=65536).contains(&record_size) {
        return None;
    }
    let kind = Ntfs {
        sector_size,
        cluster_size,
        sectors: le64(sector, 40)?,
        hidden_sectors: le32(sector, 28)?,
        heads: le16(sector, 26)?,
        track_sectors: le16(sector, 24)?,
        record_size,
        version: (0, 0),
    };
    let table = le64(sector, 48)?.checked_mul(u64::from(cluster_size))?;
    let uuid = format!("{:016X}", le64(sector, 72)?);
    let filesystem = Filesystem { uuid, label: String::new(), used: None, kind: FsKind::Ntfs(kind.clone()) };
    Some((filesystem, kind, table))
}

/// Label and version out of the record of `$Volume`.
fn volume(record: &[u8]) -> Option<(String, (u8, u8))> {
    if !has(record, 0, b"FILE") {
        return None;
    }
    let mut record = record.to_vec();
    fix(&mut record)?;
    let (mut label, mut version) = (String::new(), (0, 0));
    let mut at = usize::from(le16(&record, 20)?);
    // Attributes stand one behind the other, in the order of their types; a damaged length ends the walk.
    while let (Some(kind), Some(length)) = (le32(&record, at), le32(&record, at + 4)) {
        if kind == u32::MAX || length < 24 {
            break;
        }
        let resident = record.get(at + 8) == Some(&0);
        let size = le32(&record, at + 16)? as usize;
        let value = at + usize::from(le16(&record, at + 20)?);
        let value = if resident { record.get(value..value.checked_add(size)?)? } else { &[] };
        match kind {
            VOLUME_NAME => {
                let letters: Vec<u16> =
                    value.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
                label = String::from_utf16_lossy(&letters);
            }
            VOLUME_INFORMATION => version = (*value.get(8)?, *value.get(9)?),
            _ => {}
        }
        at = at.checked_add(length as usize)?;
    }
    Some((label, version))
}

/// The last two bytes of every 512 are kept apart, so that a torn write is seen; puts them back.
fn fix(record: &mut [u8]) -> Option<()> {
    let (at, count) = (usize::from(le16(record, 4)?), usize::from(le16(record, 6)?));
    for i in 1..count {
        let saved = [*record.get(at + 2 * i)?, *record.get(at + 2 * i + 1)?];
        record.get_mut(i * 512 - 2..i * 512)?.copy_from_slice(&saved);
    }
    Some(())
}

/// What Windows leaves in the root of every volume that it has used, and what says that owners are kept.
const WINDOWS: [&str; 5] =
    ["System Volume Information", "$RECYCLE.BIN", "$Recycle.Bin", "Windows", ".NTFS-3G"];

/// Why the files of a mounted NTFS cannot be carried by an archive without loss, or not written back; `None` when they can.
///
/// An NTFS that only Linux has used, without a mapping of users, holds nothing but names, contents and times.
pub(crate) fn problem(sys: &dyn Sys, mount: &MountEntry) -> Result<Option<String>> {
    let instead = "make an image of it with ntfsclone, leave its files out with EXCLUDE_BACKUP, or move them to a filesystem of Linux";
    let names = sys.list(mount.mount_point.as_ref())?;
    if let Some(name) = names.iter().find(|name| WINDOWS.contains(&name.as_str())) {
        return Ok(Some(format!(
            "Windows permissions, streams and attributes are not in an archive, and it has '{name}', so it may hold some: {instead}"
        )));
    }
    let owners = ["permissions", "acl", "usermapping", "sys_immutable", "showmeta"];
    let options = mount.options.iter().chain(&mount.super_options);
    if let Some(option) =
        options.into_iter().find(|option| owners.contains(&option.split('=').next().unwrap_or_default()))
    {
        return Ok(Some(format!(
            "it is mounted with the option {option}, whose owners or permissions are not in an archive: {instead}"
        )));
    }
    // The rescue system mounts it with the kernel's driver (5.15 and later), never with a program.
    let release = sys.read_opt("/proc/sys/kernel/osrelease")?.unwrap_or_default();
    let module = |base: &str| sys.exists(format!("{base}/{}/kernel/fs/ntfs3", release.trim()).as_ref());
    let known = sys.read_opt("/proc/filesystems")?.unwrap_or_default();
    let built_in = known.lines().any(|line| line.split_whitespace().last() == Some("ntfs3"));
    if mount.fs_type == "ntfs3" || built_in || module("/lib/modules") || module("/usr/lib/modules") {
        return Ok(None);
    }
    Ok(Some(format!(
        "the kernel has no driver ntfs3, with which a recovery would write its files: install a kernel with it, or leave its files \
         out with EXCLUDE_BACKUP ({})",
        release.trim()
    )))
}
