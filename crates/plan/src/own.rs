//! Whether a present disk is the saved machine's own: by what it is, and by what it holds. Decides nothing.
//!
//! Identifiers alone prove little: hypervisors number the disks of all their machines alike (`QM00001`, `drive-scsi0`).
//! What a disk holds is what would be lost, so that is what counts where nobody can be asked.

use layout::{Content, Device, Layout, PartitionTable};

/// The same physical disk.
///
/// Serial numbers are not always unique (virtual machines number their disks alike), while a physical disk never
/// changes its size: a serial number alone, with another size and foreign content, is not believed.
pub(crate) fn is_same(saved: &Layout, present: &Layout, a: &Device, b: &Device) -> bool {
    let (Some(x), Some(y)) = (a.disk(), b.disk()) else { return false };
    if !x.identity.is_same_disk(&y.identity) {
        return false;
    }
    let by_wwn = x.identity.wwn.is_some() && y.identity.wwn.is_some();
    by_wwn || a.size == b.size || b.content == Content::Empty || has_own_content(saved, present, a, b)
}

/// Whether nothing that belongs to somebody else would be lost on this disk, which [`is_same`].
pub(crate) fn is_safe(saved: &Layout, present: &Layout, a: &Device, b: &Device) -> bool {
    b.content == Content::Empty
        || has_own_content(saved, present, a, b)
        || is_half_made(saved, present, a, b)
        || is_damaged(a, b)
}

/// Whether the present disk holds what was saved from the saved one: the same table with the same partitions, and
/// no filesystem that contradicts. A recovery that was cut off leaves such a disk too, so filesystems may be missing.
pub(crate) fn has_own_content(saved: &Layout, present: &Layout, a: &Device, b: &Device) -> bool {
    match (&a.content, &b.content) {
        (Content::Table(old), Content::Table(new)) => {
            let (olds, news) = (saved.partitions(&a.id), present.partitions(&b.id));
            let same_partitions =
                olds.len() == news.len() && olds.iter().zip(&news).all(|(x, y)| same_partition(x, y));
            // A table without a signature is as good as any other: then a filesystem has to prove it.
            let proof = || {
                olds.iter()
                    .zip(&news)
                    .any(|(x, y)| uuid(&x.content).is_some() && uuid(&x.content) == uuid(&y.content))
            };
            same_partitions && same_table(old, new) && (!is_anonymous(old) || proof())
        }
        (Content::Table(_), _) | (_, Content::Table(_)) => false,
        (old, new) => uuid(old).is_some() && uuid(old) == uuid(new),
    }
}

/// The machine's own table with partitions that hold nothing, or only what the machine had on this disk: what an
/// interrupted recovery leaves.
fn is_half_made(saved: &Layout, present: &Layout, a: &Device, b: &Device) -> bool {
    let (Content::Table(old), Content::Table(new)) = (&a.content, &b.content) else { return false };
    let own: Vec<&str> =
        saved.subtree(&a.id).into_iter().filter_map(|device| uuid(&device.content)).collect();
    same_table(old, new)
        && present.subtree(&b.id).into_iter().skip(1).all(|device| match &device.content {
            Content::Empty | Content::BootCode => true,
            content => uuid(content).is_some_and(|uuid| own.contains(&uuid)),
        })
}

/// A disk that is the same by its world-wide name and its size, whose serial number does not contradict, and whose
/// table is damaged or unreadable: the very case for a recovery.
fn is_damaged(a: &Device, b: &Device) -> bool {
    let (Some(x), Some(y)) = (a.disk(), b.disk()) else { return false };
    let (x, y) = (&x.identity, &y.identity);
    let same = x.wwn.as_deref().is_some_and(|wwn| !wwn.is_empty()) && x.wwn == y.wwn && a.size == b.size;
    let conflict = matches!((&x.serial, &y.serial), (Some(x), Some(y)) if x != y);
    let damaged = match (&a.content, &b.content) {
        // Other contents that this program does not make ("ZFS member") are whole, and somebody's.
        (_, Content::Unknown { what }) => {
            ["damaged", "inconsistent", "without"].iter().any(|word| what.contains(word))
        }
        (Content::Table(old), Content::Table(new)) => same_table(old, new) && !is_anonymous(old),
        _ => false,
    };
    same && !conflict && damaged
}

fn same_table(old: &PartitionTable, new: &PartitionTable) -> bool {
    match (old, new) {
        (PartitionTable::Gpt { guid: x, .. }, PartitionTable::Gpt { guid: y, .. }) => {
            x.eq_ignore_ascii_case(y)
        }
        (PartitionTable::Mbr { signature: x }, PartitionTable::Mbr { signature: y }) => x == y,
        _ => false,
    }
}

/// A DOS table without a signature.
fn is_anonymous(table: &PartitionTable) -> bool {
    matches!(table, PartitionTable::Mbr { signature: 0 })
}

fn same_partition(a: &Device, b: &Device) -> bool {
    let (Some(x), Some(y)) = (a.partition(), b.partition()) else { return false };
    let entry = match (&x.entry, &y.entry) {
        (layout::PartitionEntry::Gpt(x), layout::PartitionEntry::Gpt(y)) => {
            x.guid.eq_ignore_ascii_case(&y.guid)
        }
        (layout::PartitionEntry::Mbr(_), layout::PartitionEntry::Mbr(_)) => true,
        _ => false,
    };
    let place = x.number == y.number && x.start == y.start && x.length == y.length;
    let contradicts = matches!((uuid(&a.content), uuid(&b.content)), (Some(x), Some(y)) if x != y);
    entry && place && !contradicts
}

/// The identifier of a content, where it has one.
pub(crate) fn uuid(content: &Content) -> Option<&str> {
    let uuid = match content {
        Content::Filesystem(fs) => &fs.uuid,
        Content::Swap(swap) => &swap.uuid,
        Content::LvmMember { uuid } => uuid,
        Content::Luks(luks) => &luks.uuid,
        Content::BtrfsMember { filesystem, .. } => filesystem,
        Content::MdMember { array } => array,
        Content::Empty | Content::Table(_) | Content::BootCode | Content::Unknown { .. } => return None,
    };
    (!uuid.is_empty()).then_some(uuid.as_str())
}
