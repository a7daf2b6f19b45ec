//! exFAT: the boot sector, and the label from the root directory (Microsoft's exFAT specification 1.00). Writes nothing.

use layout::{Exfat, Filesystem, FsKind};

use crate::bytes::{has, le16, le32, le64};
use crate::device::Dev;

/// Length of the part of the boot sector that is looked at.
const LEN: usize = 120;
/// A root directory is a chain of clusters; a damaged chain may be a circle.
const MAX_CLUSTERS: u32 = 64;
/// Entries of a cluster that are looked at: the label stands among the first.
const MAX_BYTES: usize = 64 << 10;

/// Reads a possible exFAT; `None` when the device holds none.
pub(crate) fn read(dev: &Dev<'_>) -> sys::Result<Option<Filesystem>> {
    let sector = dev.read(0, LEN)?;
    let Some((filesystem, places)) = parse(&sector) else { return Ok(None) };
    let label = label(dev, &places)?;
    Ok(Some(Filesystem { label, ..filesystem }))
}

/// Where the root directory is found, in bytes.
struct Places {
    fat: u64,
    heap: u64,
    cluster: u64,
    root: u32,
}

fn parse(sector: &[u8]) -> Option<(Filesystem, Places)> {
    if !has(sector, 3, b"EXFAT   ") {
        return None;
    }
    let (sector_shift, cluster_shift) = (u32::from(*sector.get(108)?), u32::from(*sector.get(109)?));
    if !(9..=12).contains(&sector_shift) || cluster_shift > 25 - sector_shift {
        return None;
    }
    let (sector_size, cluster_size) = (1_u32 << sector_shift, 1_u32 << (sector_shift + cluster_shift));
    let kind = Exfat { sector_size, cluster_size, sectors: le64(sector, 72)?, fats: *sector.get(110)? };
    let serial = le32(sector, 100)?;
    let bytes = |sectors: u32| u64::from(sectors) * u64::from(sector_size);
    let places = Places {
        fat: bytes(le32(sector, 80)?),
        heap: bytes(le32(sector, 88)?),
        cluster: u64::from(cluster_size),
        root: le32(sector, 96)?,
    };
    let uuid = format!("{:04X}-{:04X}", serial >> 16, serial & 0xFFFF);
    Some((Filesystem { uuid, label: String::new(), used: None, kind: FsKind::Exfat(kind) }, places))
}

fn label(dev: &Dev<'_>, places: &Places) -> sys::Result<String> {
    let mut cluster = places.root;
    for _ in 0..MAX_CLUSTERS {
        if !(2..0xFFFF_FFF7).contains(&cluster) {
            break;
        }
        let at = places.heap.saturating_add(u64::from(cluster - 2) * places.cluster);
        let length = usize::try_from(places.cluster).unwrap_or(MAX_BYTES).min(MAX_BYTES);
        for entry in dev.read(at, length)?.chunks_exact(32) {
            match entry[0] {
                // End of the directory.
                0 => return Ok(String::new()),
                0x83 => {
                    let count = usize::from(entry[1]).min(11);
                    let letters: Vec<u16> = (0..count).filter_map(|i| le16(entry, 2 + 2 * i)).collect();
                    return Ok(String::from_utf16_lossy(&letters));
                }
                _ => {}
            }
        }
        let next = dev.read(places.fat.saturating_add(u64::from(cluster) * 4), 4)?;
        cluster = le32(&next, 0).unwrap_or(0);
    }
    Ok(String::new())
}
