//! Filesystems of data partitions, and the names of filesystems and containers that cannot be made again, so that they are refused
//! by name and not taken for nothing. The names are those of blkid.

use layout::{Content, Filesystem, FsKind, LogicalVolume};

use crate::bytes::{be32, has, le32};
use crate::device::Dev;
use crate::{exfat, f2fs, jfs, nilfs, ntfs};

/// Magic bytes at fixed places: filesystem name, offset, bytes.
const FILESYSTEMS: [(&str, u64, &[u8]); 19] = [
    ("ntfs", 3, b"NTFS    "),
    ("exfat", 3, b"EXFAT   "),
    ("squashfs", 0, b"hsqs"),
    ("cramfs", 0, &[0x45, 0x3D, 0xCD, 0x28]),
    ("erofs", 1024, &[0xE2, 0xE1, 0xF5, 0xE0]),
    ("f2fs", 1024, &[0x10, 0x20, 0xF5, 0xF2]),
    ("hfsplus", 1024, b"H+\x00\x04"),
    ("hfsplus", 1024, b"HX\x00\x05"),
    ("nilfs2", 1024 + 6, &[0x34, 0x34]),
    ("bcachefs", 4096 + 24, &[0xC6, 0x85, 0x73, 0xF6, 0x66, 0xCE, 0x90, 0xA9]),
    ("jfs", 32768, b"JFS1"),
    ("iso9660", 32769, b"CD001"),
    ("udf", 32769, b"BEA01"),
    ("reiserfs", 65536 + 52, b"ReIsErFs"),
    ("reiserfs", 65536 + 52, b"ReIsEr2Fs"),
    ("reiserfs", 65536 + 52, b"ReIsEr3Fs"),
    ("gfs2", 65536, &[0x01, 0x16, 0x19, 0x70, 0, 0, 0, 1]),
    ("ocfs2", 4096 * 2, b"OCFSV2"),
    ("apfs", 32, b"NXSB"),
];

/// Containers and members: description, offset, bytes.
const CONTAINERS: [(&str, u64, &[u8]); 9] = [
    ("bcache device", 4096 + 24, &[0xC6, 0x85, 0x73, 0xF6, 0x4E, 0x1A, 0x45, 0xCA, 0x82, 0x65]),
    ("Stratis pool", 512 + 4, b"!Stra0tis\x86\xFF\x02^\x41rh"),
    ("VDO volume", 0, b"dmvdo001"),
    ("BitLocker volume", 3, b"-FVE-FS-"),
    ("LVM1 physical volume", 0, b"HM\x01\x00"),
    ("LVM1 physical volume", 0, b"HM\x02\x00"),
    ("dm-integrity device", 0, b"integrt\0"),
    ("dm-verity hash tree", 0, b"verity\0\0"),
    ("snapshot store of device-mapper", 0, b"SnAp"),
];

/// Technologies that a machine may depend on without a mount that shows it: how their contents are called here, and what to do.
const DEPENDED_ON: [(&str, &str); 7] = [
    ("bcache device", "detach the cache (bcache-super-show, make-bcache) and use the disk itself"),
    ("Stratis pool", "back it up with its own tools"),
    ("VDO volume", "back it up with its own tools"),
    ("dm-integrity device", "use integrity within LUKS2 or LVM RAID instead"),
    ("ZFS member", "save the pool with zfs send"),
    ("bcachefs", "move its files to another filesystem"),
    ("DRBD backing device", "recover it from its peer"),
];

/// What to do about a content that is neither saved nor made again and that a machine has for a reason; `None` for everything else.
pub(crate) fn advice(content: &Content) -> Option<(&'static str, &'static str)> {
    let name = match content {
        Content::Unknown { what } => what.as_str(),
        Content::Filesystem(fs) => fs.fs_type(),
        _ => return None,
    };
    DEPENDED_ON.into_iter().find(|(what, _)| *what == name)
}

/// What a mapped device of no known tool is, by the uuid that its tool gives it, or by its name.
pub(crate) fn mapped(volume: &LogicalVolume) -> &'static str {
    let kinds = [
        ("CRYPT-INTEGRITY-", "a dm-integrity device"),
        ("CRYPT-", "an encrypted volume without a LUKS header"),
        ("stratis-", "a part of a Stratis pool"),
        ("VDO-", "a VDO volume"),
    ];
    let numbered = |prefix: &str| {
        let rest = volume.name.strip_prefix(prefix);
        volume.uuid.is_empty() && rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    if let Some((_, what)) = kinds.iter().find(|(prefix, _)| volume.uuid.starts_with(prefix)) {
        what
    } else if numbered("bcache") {
        "a bcache device"
    } else if numbered("drbd") {
        "a DRBD device"
    } else {
        "a device-mapper volume"
    }
}

/// DRBD keeps its own metadata in the last 4 KiB (drbd-utils `user/shared/drbdmeta.c`, versions 8.0, 8.4 and 9), so that what lies on the
/// replicated device is seen from the start.
pub(crate) fn drbd(dev: &Dev<'_>) -> sys::Result<Option<Content>> {
    let Some(at) = (dev.size & !4095).checked_sub(4096) else { return Ok(None) };
    let magic = be32(&dev.read(at, 64)?, 60);
    let known = magic.is_some_and(|magic| (0x8374_026A..=0x8374_026D).contains(&magic));
    Ok(known.then(|| unknown("DRBD backing device")))
}

/// Recognises a foreign filesystem or container by its magic bytes.
pub(crate) fn find(dev: &Dev<'_>) -> sys::Result<Option<Content>> {
    for (what, offset, magic) in CONTAINERS {
        if has(&dev.read(offset, magic.len())?, 0, magic) {
            return Ok(Some(unknown(what)));
        }
    }
    if let Some(filesystem) = known(dev)? {
        return Ok(Some(Content::Filesystem(filesystem)));
    }
    for (name, offset, magic) in FILESYSTEMS {
        if !has(&dev.read(offset, magic.len())?, 0, magic) {
            continue;
        }
        if name == "nilfs2" && le32(&dev.read(1024, 4)?, 0) != Some(2) {
            // Two bytes alone are too weak: the revision in front of them is always 2.
            continue;
        }
        let kind = FsKind::Other { name: name.to_owned() };
        return Ok(Some(Content::Filesystem(Filesystem {
            uuid: String::new(),
            label: String::new(),
            used: None,
            kind,
        })));
    }
    if zfs(dev)? {
        return Ok(Some(unknown("ZFS member")));
    }
    if let Some(content) = drbd(dev)? {
        return Ok(Some(content));
    }
    raid_at_end(dev)
}

/// Filesystems that can be made again. One that has the magic bytes of these but impossible numbers is known by its name only.
fn known(dev: &Dev<'_>) -> sys::Result<Option<Filesystem>> {
    if let Some(filesystem) = ntfs::read(dev)? {
        return Ok(Some(filesystem));
    }
    if let Some(filesystem) = exfat::read(dev)? {
        return Ok(Some(filesystem));
    }
    let found = f2fs::parse(&dev.read(f2fs::OFFSET, f2fs::LEN)?)
        .or(nilfs::parse(&dev.read(nilfs::OFFSET, nilfs::LEN)?));
    match found {
        Some(filesystem) => Ok(Some(filesystem)),
        None => Ok(jfs::parse(&dev.read(jfs::OFFSET, jfs::LEN)?)),
    }
}

fn unknown(what: &str) -> Content {
    Content::Unknown { what: what.to_owned() }
}

/// A ZFS label has an array of uberblocks from 128 KiB on, each on a multiple of 1 KiB, most of them in use.
fn zfs(dev: &Dev<'_>) -> sys::Result<bool> {
    const MAGIC: u32 = 0x00BA_B10C;
    // One 4 KiB step sees an uberblock of any of the possible sizes (1 to 8 KiB) if the array is in use.
    let mut hits = 0;
    for slot in 0..16_u64 {
        let block = dev.read((128 << 10) + slot * 8192, 8)?;
        let little = le32(&block, 0) == Some(MAGIC);
        let big = has(&block, 4, &MAGIC.to_be_bytes());
        hits += usize::from(little || big);
    }
    Ok(hits >= 1)
}

/// RAID of a firmware keeps its metadata in the last sectors.
fn raid_at_end(dev: &Dev<'_>) -> sys::Result<Option<Content>> {
    let Some(at) = dev.size.checked_sub(1024) else { return Ok(None) };
    let tail = dev.read(at, 1024)?;
    Ok(if has(&tail, 0, b"Intel Raid ISM Cfg Sig. ") {
        Some(unknown("member of an Intel firmware RAID"))
    } else if has(&tail, 512, &[0xDE, 0x11, 0xDE, 0x11]) {
        Some(unknown("member of a DDF firmware RAID"))
    } else {
        None
    })
}
