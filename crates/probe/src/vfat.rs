//! FAT12, FAT16 and FAT32 (Microsoft's FAT specification 1.03; the type is told as the Linux kernel tells it:
//! FAT32 where the 16-bit FAT length is 0, else by the number of clusters).

use layout::{Filesystem, FsKind, Vfat};

use crate::bytes::{has, le16, le32};
use crate::device::Dev;

/// Size of the boot sector that is looked at.
pub(crate) const LEN: usize = 512;
/// A root directory on FAT32 is a chain of clusters; a damaged chain may be a circle.
const MAX_CLUSTERS: u32 = 64;

/// What the boot sector says, with what is needed to find the root directory.
#[derive(Clone, Debug)]
pub(crate) struct Boot {
    pub(crate) filesystem: Filesystem,
    label: String,
    fat_start: u64,
    cluster: u64,
    data_start: u64,
    root_start: u64,
    root_bytes: usize,
    root_cluster: u32,
}

/// Reads a boot sector; `None` when it is not one of FAT.
pub(crate) fn parse(sector: &[u8]) -> Option<Boot> {
    if !has(sector, 510, &[0x55, 0xAA]) || has(sector, 3, b"NTFS    ") || has(sector, 3, b"EXFAT   ") {
        return None;
    }
    let bytes_per = le16(sector, 11)?;
    let (per_cluster, fats, media) = (*sector.get(13)?, *sector.get(16)?, *sector.get(21)?);
    let reserved = le16(sector, 14)?;
    let jump = matches!(sector.first()?, 0xEB | 0xE9);
    if !jump
        || !bytes_per.is_power_of_two()
        || !(512..=4096).contains(&bytes_per)
        || !per_cluster.is_power_of_two()
        || reserved == 0
        || !(1..=2).contains(&fats)
        || (media != 0xF0 && media < 0xF8)
    {
        return None;
    }
    let root_entries = le16(sector, 17)?;
    let sectors = match le16(sector, 19)? {
        0 => le32(sector, 32)?,
        few => u32::from(few),
    };
    let fat16 = le16(sector, 22)?;
    let fat_sectors = if fat16 == 0 { le32(sector, 36)? } else { u32::from(fat16) };
    if sectors == 0 || fat_sectors == 0 {
        return None;
    }
    let bytes = u64::from(bytes_per);
    let root_bytes = usize::from(root_entries) * 32;
    let fat_start = u64::from(reserved) * bytes;
    let root_start = fat_start + u64::from(fats) * u64::from(fat_sectors) * bytes;
    let data_start = root_start + (root_bytes as u64).div_ceil(bytes) * bytes;
    let cluster = u64::from(per_cluster) * bytes;
    let clusters = (u64::from(sectors) * bytes).saturating_sub(data_start) / cluster;
    let bits = if fat16 == 0 {
        32
    } else if clusters < 4085 {
        12
    } else {
        16
    };
    let tail = if bits == 32 { 64 } else { 36 };
    let extended = matches!(sector.get(tail + 2)?, 0x28 | 0x29);
    let id = le32(sector, tail + 3)?;
    let uuid =
        if extended && id != 0 { format!("{:04X}-{:04X}", id >> 16, id & 0xFFFF) } else { String::new() };
    let label = if extended && *sector.get(tail + 2)? == 0x29 {
        label_text(sector.get(tail + 7..tail + 18)?)
    } else {
        String::new()
    };
    let kind = FsKind::Vfat(Vfat {
        bits,
        sector_size: bytes_per,
        sectors_per_cluster: per_cluster,
        reserved_sectors: reserved,
        fats,
        root_entries,
        media,
        hidden_sectors: le32(sector, 28)?,
        sectors,
        drive_number: *sector.get(tail)?,
        geometry: Some((le16(sector, 26)?, le16(sector, 24)?)),
    });
    Some(Boot {
        filesystem: Filesystem { uuid, label: String::new(), used: None, kind },
        label,
        fat_start,
        cluster,
        data_start,
        root_start,
        root_bytes,
        root_cluster: if bits == 32 { le32(sector, 44)? } else { 0 },
    })
}

/// The label entry of a (piece of a) root directory: `Err(())` at its end mark, so that nothing behind is read.
fn label_entry(directory: &[u8]) -> Result<Option<String>, ()> {
    for entry in directory.chunks_exact(32) {
        match entry[0] {
            0 => return Err(()),
            0xE5 => continue,
            _ => {}
        }
        // Bit 3 alone is the volume label; with bits 0 to 2 it is a piece of a long name, with bit 4 a directory.
        let long_name = entry[11] & 0x3F == 0x0F;
        if !long_name && entry[11] & 0x18 == 0x08 {
            return Ok(Some(label_text(&entry[..11])));
        }
    }
    Ok(None)
}

/// "NO NAME" is what formatting without a label leaves.
fn label_text(raw: &[u8]) -> String {
    let mut raw = raw.to_vec();
    if raw.first() == Some(&0x05) {
        raw[0] = 0xE5;
    }
    let text = String::from_utf8_lossy(&raw);
    let text = text.trim_end_matches([' ', '\0']);
    if text == "NO NAME" { String::new() } else { text.to_owned() }
}

/// Completes a boot sector with the label: the root directory's entry first, as blkid does.
pub(crate) fn with_label(dev: &Dev<'_>, boot: Boot) -> sys::Result<Filesystem> {
    let mut found = None;
    if boot.root_bytes > 0 {
        found = label_entry(&dev.read(boot.root_start, boot.root_bytes)?).ok().flatten();
    } else {
        let mut cluster = boot.root_cluster;
        for _ in 0..MAX_CLUSTERS {
            if !(2..0x0FFF_FFF8).contains(&cluster) {
                break;
            }
            let at = boot.data_start + u64::from(cluster - 2) * boot.cluster;
            match label_entry(&dev.read(at, boot.cluster as usize)?) {
                Ok(None) => {}
                Ok(label) => {
                    found = label;
                    break;
                }
                Err(()) => break,
            }
            let next = dev.read(boot.fat_start + u64::from(cluster) * 4, 4)?;
            cluster = le32(&next, 0).unwrap_or(0) & 0x0FFF_FFFF;
        }
    }
    let label = found.filter(|label| !label.is_empty()).unwrap_or(boot.label);
    Ok(Filesystem { label, ..boot.filesystem })
}
