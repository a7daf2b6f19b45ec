//! What lies on a device: asks every format in the order in which one hides another. Reads only superblocks.

use layout::{Content, PartitionTable};

use crate::device::Dev;
use crate::table::{self, Entry, Found, Seen};
use crate::{btrfs, ext, luks, md, member, other, swap, vfat, xfs};

/// How much of a partition must be zero to be called empty.
const PARTITION_HEAD: u64 = 64 << 10;
/// How much at both ends of a whole disk must be zero to call the disk empty: where partition tables, boot loaders
/// and superblocks live, and what wipefs, sgdisk and pvcreate leave of them.
const DISK_ENDS: u64 = 1 << 20;

/// What is known of a device from outside when its content is looked at.
pub(crate) struct Context<'a> {
    /// Whole disk, or another device that can carry a table.
    pub(crate) whole: bool,
    /// Size of its logical sectors.
    pub(crate) sector: layout::SectorSize,
    /// Partitions that the kernel has on it.
    pub(crate) seen: &'a [Seen],
    /// Names of the devices that are built on it (`holders`).
    pub(crate) holders: &'a [String],
}

/// Content of a device, with its partitions where it is a table.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) content: Content,
    pub(crate) entries: Vec<Entry>,
}

impl From<Content> for Look {
    fn from(content: Content) -> Self {
        Self { content, entries: Vec::new() }
    }
}

/// Looks at a device. What cannot be read because of the medium is `Unknown`: a broken disk beside the others is
/// no reason not to back up the others.
pub(crate) fn look(dev: &Dev<'_>, context: &Context<'_>) -> sys::Result<Look> {
    match identify(dev, context) {
        Ok(found) => Ok(found),
        Err(error) if is_medium_error(&error) => {
            tracing::warn!("{error}");
            Ok(unknown("unreadable medium").into())
        }
        Err(error) => Err(error),
    }
}

/// An input/output error of the medium, as opposed to missing permission or a missing device node.
fn is_medium_error(error: &sys::Error) -> bool {
    use std::io::ErrorKind;
    match error {
        sys::Error::Io { source, .. } => {
            !matches!(source.kind(), ErrorKind::PermissionDenied | ErrorKind::NotFound)
        }
        // How a replayed machine gives such an error back.
        sys::Error::Failed { stderr, .. } => !stderr.contains("ermission denied"),
        _ => false,
    }
}

fn unknown(what: &str) -> Content {
    Content::Unknown { what: what.to_owned() }
}

fn identify(dev: &Dev<'_>, context: &Context<'_>) -> sys::Result<Look> {
    let md_holder = context.holders.iter().any(|name| name.starts_with("md"));
    // Metadata at the end of a member leaves the content of the array visible from the start, table included.
    // Only the kernel knows which of the two is meant.
    if md_holder && let Some(content) = md::content(dev)? {
        return Ok(content.into());
    }
    if context.holders.iter().any(|name| name.starts_with("drbd"))
        && let Some(content) = other::drbd(dev)?
    {
        return Ok(content.into());
    }
    let table = if context.whole { table::read(dev, context.sector)? } else { Found::None };
    match table {
        Found::Table(table, entries) => {
            let gpt = matches!(table, PartitionTable::Gpt { .. });
            let used = !entries.is_empty() && !context.seen.is_empty();
            if !gpt && !used {
                // 55AA also ends the boot sector of filesystems and what a boot loader left in front of one.
                if let Some(content) = signature(dev)? {
                    return Ok(content.into());
                }
            }
            Ok(Look { content: Content::Table(table), entries })
        }
        Found::Damaged(what) => Ok(signature(dev)?.unwrap_or(Content::Unknown { what }).into()),
        Found::None => match signature(dev)? {
            Some(content) => Ok(content.into()),
            None => Ok(blank(dev, context)?.into()),
        },
    }
}

fn blank(dev: &Dev<'_>, context: &Context<'_>) -> sys::Result<Content> {
    let zero = if context.whole {
        dev.is_zero(0, DISK_ENDS)? && dev.is_zero(dev.size.saturating_sub(DISK_ENDS), DISK_ENDS)?
    } else {
        dev.is_zero(0, PARTITION_HEAD)?
    };
    Ok(if zero { Content::Empty } else { unknown("data without a known signature") })
}

/// Everything but partition tables.
fn signature(dev: &Dev<'_>) -> sys::Result<Option<Content>> {
    let head = dev.read(0, 4096)?;
    if let Some(content) = luks::read(dev)? {
        return Ok(Some(content));
    }
    if let Some(content) = member::lvm(&head) {
        return Ok(Some(content));
    }
    if let Some(content) = md::content(dev)? {
        return Ok(Some(content));
    }
    for page_size in swap::PAGES {
        // The signature alone first: reading whole pages of sizes that are not used would be waste.
        let end = dev.read(u64::from(page_size) - 10, 10)?;
        if end.iter().any(|byte| *byte != 0)
            && let Some(content) = swap::parse(&dev.read(0, page_size as usize)?, page_size)
        {
            return Ok(Some(content));
        }
    }
    let superblock = head.get(ext::OFFSET as usize..ext::OFFSET as usize + ext::LEN);
    let filesystem = head
        .get(..xfs::LEN)
        .and_then(xfs::parse)
        .or_else(|| superblock.and_then(ext::parse))
        .or(btrfs::parse(&dev.read(btrfs::OFFSET, btrfs::LEN)?));
    if let Some(filesystem) = filesystem {
        return Ok(Some(Content::Filesystem(filesystem)));
    }
    if let Some(boot) = head.get(..vfat::LEN).and_then(vfat::parse) {
        return Ok(Some(Content::Filesystem(vfat::with_label(dev, boot)?)));
    }
    other::find(dev)
}
