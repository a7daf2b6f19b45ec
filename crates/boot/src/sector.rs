//! The first sector of a disk: boot code, then four entries of a DOS partition table (on a GPT disk, the protective one).
//! Pure bytes; writes nothing.

/// Size of the part that is looked at, in bytes; also on disks with larger sectors.
pub(crate) const SIZE: usize = 512;
/// Boot code in the first sector; the disk signature and the partition table follow.
pub(crate) const BOOT_CODE: usize = 440;
/// Where the four entries stand, of 16 bytes each.
const ENTRIES: usize = 446;
/// Type of the entry that protects a GPT (UEFI specification 2.10, 5.2.3).
const PROTECTIVE: u8 = 0xee;
/// Active flag, the first byte of an entry.
const ACTIVE: u8 = 0x80;
/// Where GRUB's boot.img keeps the sector number of its core image: 8 bytes (`GRUB_BOOT_MACHINE_KERNEL_SECTOR`).
const GRUB_CORE: usize = 0x5c;

/// The four entries; `None` where the sector ends before them or lacks its signature.
fn entries(sector: &[u8]) -> Option<Vec<&[u8]>> {
    if sector.get(510..SIZE)? != [0x55, 0xaa] {
        return None;
    }
    Some(sector[ENTRIES..510].chunks(16).collect())
}

/// Types of the entries that stand beside the protective one of a GPT disk and are not unused.
pub(crate) fn hybrid_types(sector: &[u8]) -> Vec<u8> {
    let entries = entries(sector).unwrap_or_default();
    entries
        .iter()
        .filter(|entry| entry[4] != PROTECTIVE && entry.iter().any(|byte| *byte != 0))
        .map(|e| e[4])
        .collect()
}

/// Whether the protective entry is marked active.
pub(crate) fn is_protective_active(sector: &[u8]) -> bool {
    entries(sector).unwrap_or_default().iter().any(|entry| entry[4] == PROTECTIVE && entry[0] == ACTIVE)
}

/// The sector with the protective entry marked active; `None` where it has none.
pub(crate) fn with_active(mut sector: Vec<u8>) -> Option<Vec<u8>> {
    let slot = entries(&sector)?.iter().position(|entry| entry[4] == PROTECTIVE)?;
    sector[ENTRIES + 16 * slot] = ACTIVE;
    Some(sector)
}

/// The sector where GRUB's first part looks for its core image.
pub(crate) fn grub_core(boot_code: &[u8]) -> Option<u64> {
    let bytes = boot_code.get(GRUB_CORE..GRUB_CORE + 8)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}
