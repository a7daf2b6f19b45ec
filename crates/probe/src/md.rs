//! Linux software RAID: the superblocks of its members, and what the kernel says of running arrays. Never assembles
//! one: an array that is not running is known by its members only.
//!
//! Formats: kernel `include/uapi/linux/raid/md_p.h`. Files of sysfs: kernel `Documentation/admin-guide/md.rst`.

use std::collections::BTreeMap;

use layout::{Bytes, Content, Kind, Layout, MdArray, MdBitmap, MdMember, NodeId};
use sys::{Sys, SysExt};

use crate::block::{self, Block};
use crate::bytes::{array, le16, le32, le64, text};
use crate::device::Dev;
use crate::{Error, Result};

const MAGIC: u32 = 0xA92B_4EFC;
/// A superblock of either kind is read whole: the role of a member stands behind a table of all members.
const LEN: usize = 4096;
/// `MD_FEATURE_RAID0_LAYOUT`: the layout of a raid0 with members of different sizes is recorded.
const RAID0_LAYOUT: u32 = 0x1000;

/// What a member's superblock says of its array and of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Superblock {
    /// UUID of the array as mdadm prints it.
    pub(crate) uuid: String,
    /// Name of the array; empty with version 0.90.
    pub(crate) name: String,
    /// `0.90`, `1.0`, `1.1` or `1.2`.
    pub(crate) version: &'static str,
    /// Level as the kernel numbers it; -1 is linear.
    pub(crate) level: i32,
    /// Layout as the kernel numbers it, where the superblock really says one.
    pub(crate) layout: u32,
    /// Bytes of a chunk.
    pub(crate) chunk: u64,
    /// Bytes used of each member; 0 where each is used whole.
    pub(crate) component: u64,
    /// Where the data begin, in bytes.
    pub(crate) data_offset: u64,
    /// Number of slots.
    pub(crate) raid_disks: u32,
    /// What this member is in it.
    pub(crate) role: Role,
}

/// What a member is in its array, as its own superblock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It has this slot.
    Slot(u16),
    /// It stands by.
    Spare,
    /// It was thrown out.
    Faulty,
    /// It holds the journal.
    Journal,
}

/// A superblock of version 1.x, read at `offset` of its device.
fn version1(sb: &[u8], offset: u64) -> Option<Superblock> {
    let here = le32(sb, 0)? == MAGIC && le32(sb, 4)? == 1 && le64(sb, 144)?.checked_mul(512)? == offset;
    if !here {
        return None;
    }
    let raw: [u8; 16] = array(sb, 16)?;
    let level = i32::from_le_bytes(array(sb, 72)?);
    let layout = le32(sb, 76)?;
    let number = le32(sb, 160)?;
    let role = if number < le32(sb, 220)? {
        Some(le16(sb, usize::try_from(number).ok()?.checked_mul(2)?.checked_add(256)?)?)
    } else {
        None
    };
    Some(Superblock {
        uuid: colons(&raw.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        name: text(sb, 32, 32)?,
        version: match offset {
            0 => "1.1",
            4096 => "1.2",
            _ => "1.0",
        },
        level,
        layout: if level == 0 && le32(sb, 8)? & RAID0_LAYOUT == 0 { 0 } else { layout },
        chunk: u64::from(le32(sb, 88)?) * 512,
        component: le64(sb, 80)?.saturating_mul(512),
        data_offset: le64(sb, 128)?.saturating_mul(512),
        raid_disks: le32(sb, 92)?,
        role: match role {
            None | Some(0xFFFF) => Role::Spare,
            Some(0xFFFE) => Role::Faulty,
            Some(0xFFFD) => Role::Journal,
            Some(slot) => Role::Slot(slot),
        },
    })
}

/// A superblock of version 0.90: words of the byte order of the machine that made it, of which only the usual one is
/// read here.
fn version0(sb: &[u8]) -> Option<Superblock> {
    /// Where the description of the member itself begins, in words: number, major, minor, slot, state.
    const THIS_DISK: usize = 992;
    const FAULTY: u32 = 1;
    const ACTIVE_AND_IN_SYNC: u32 = 6;
    let word = |index: usize| le32(sb, index * 4);
    if word(0)? != MAGIC || word(1)? != 0 || word(2)? != 90 {
        return None;
    }
    let words = [word(5)?, word(13)?, word(14)?, word(15)?];
    let level = i32::from_le_bytes(array(sb, 7 * 4)?);
    let state = word(THIS_DISK + 4)?;
    Some(Superblock {
        uuid: colons(&words.iter().map(|word| format!("{word:08x}")).collect::<String>()),
        name: String::new(),
        version: "0.90",
        level,
        layout: if level == 0 { 0 } else { word(64)? },
        chunk: u64::from(word(65)?),
        component: u64::from(word(8)?) * 1024,
        data_offset: 0,
        raid_disks: word(10)?,
        role: if state & FAULTY != 0 {
            Role::Faulty
        } else if state & ACTIVE_AND_IN_SYNC == ACTIVE_AND_IN_SYNC {
            Role::Slot(u16::try_from(word(THIS_DISK + 3)?).ok()?)
        } else {
            Role::Spare
        },
    })
}

/// As mdadm prints it: four groups of eight digits.
fn colons(hex: &str) -> String {
    let groups: Vec<&str> = (0..4).filter_map(|i| hex.get(i * 8..i * 8 + 8)).collect();
    groups.join(":")
}

/// Where version 1.0 keeps its superblock on a device of this size: 8 to 12 KiB before the end.
fn end_of_version1(size: u64) -> Option<u64> {
    Some(((size / 512).checked_sub(16)? & !7) * 512)
}

/// Where version 0.90 keeps its superblock on a device of this size: in the last whole 64 KiB.
fn end_of_version0(size: u64) -> Option<u64> {
    (size & !0xFFFF).checked_sub(0x10000)
}

/// The superblock on a device, wherever the versions keep it. `version` asks for one of them alone: a device may hold
/// a stale one of another version beside the one that is in use.
pub(crate) fn superblock(dev: &Dev<'_>, version: Option<&str>) -> sys::Result<Option<Superblock>> {
    let wanted = |name: &str| version.is_none_or(|version| version == name);
    let places = [
        ("1.2", Some(4096)),
        ("1.1", Some(0)),
        ("1.0", end_of_version1(dev.size)),
        ("0.90", end_of_version0(dev.size)),
    ];
    for (name, offset) in places {
        let Some(offset) = offset.filter(|_| wanted(name)) else { continue };
        let sb = dev.read(offset, LEN)?;
        let found = if name == "0.90" { version0(&sb) } else { version1(&sb, offset) };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Whether a device is a member of any array, by its superblock.
pub(crate) fn content(dev: &Dev<'_>) -> sys::Result<Option<Content>> {
    Ok(superblock(dev, None)?.map(|sb| Content::MdMember { array: sb.uuid }))
}

/// Id and kind of a running array; `None` for any other device, and for an array of devices that are not known.
pub(crate) fn read(
    sys: &dyn Sys,
    block: &Block,
    ids: &BTreeMap<String, NodeId>,
    layout: &Layout,
) -> Result<Option<(NodeId, Kind)>> {
    // The kernel names every array so: md0, md_d0, md_NAME.
    if !block.name.starts_with("md") {
        return Ok(None);
    }
    let files = Files { sys, base: format!("/sys/block/{}/md", block.name) };
    let Some(level) = files.text("level")? else { return Ok(None) };
    let metadata = files.metadata()?;
    let Some(members) = files.members(ids)? else { return Ok(None) };
    let mut found = None;
    for member in members.iter().filter(|_| !metadata.starts_with("external:")) {
        let Some(device) = layout.device(&member.device.device) else { continue };
        let dev = Dev::new(sys, &device.path, device.size.0);
        if let Some(sb) = superblock(&dev, Some(&metadata))? {
            found = Some((sb, member.slot, member.device.data_offset));
            break;
        }
    }
    let seen = found.clone().map(|(sb, ..)| sb);
    let uuid = seen.as_ref().map(|sb| sb.uuid.clone()).unwrap_or_default();
    let array = files.array(level, metadata, seen, members)?;
    if let Some((sb, slot, data_offset)) = found
        && let Some(what) = difference(&sb, &array, slot, data_offset)
    {
        tracing::warn!(
            "the kernel and a superblock of {} differ in its {what}; the kernel is believed",
            block.name
        );
    }
    if !array.is_whole_enough() {
        return Err(Error::BrokenArray {
            path: crate::mounts::device_path(&block.name),
            level: array.level.clone(),
            missing: array.missing(),
            of: array.raid_disks(),
        });
    }
    let id = if uuid.is_empty() { block.name.clone() } else { uuid };
    Ok(Some((NodeId(format!("md:{id}")), Kind::MdArray(array))))
}

/// The first thing in which a member's superblock and the kernel differ. The kernel writes changes to the superblocks
/// before it works with them; only a member that is being filled has no role yet.
fn difference(
    sb: &Superblock,
    array: &MdArray,
    slot: Option<usize>,
    data_offset: Bytes,
) -> Option<&'static str> {
    let level = match array.level.as_str() {
        "linear" => -1,
        other => other.strip_prefix("raid").and_then(|number| number.parse().ok()).unwrap_or(i32::MIN),
    };
    let whole = array.component_size.0 == 0;
    let role = match sb.role {
        Role::Slot(number) => slot == Some(usize::from(number)),
        Role::Spare => true,
        Role::Faulty | Role::Journal => false,
    };
    if sb.version != array.metadata {
        Some("metadata version")
    } else if sb.level != level {
        Some("level")
    } else if array.layout != 0 && sb.layout != array.layout {
        Some("layout")
    } else if array.chunk.0 != 0 && sb.chunk != array.chunk.0 {
        Some("chunk size")
    } else if !whole && sb.component / 1024 != array.component_size.0 / 1024 {
        Some("component size")
    } else if usize::try_from(sb.raid_disks) != Ok(array.raid_disks()) {
        Some("number of devices")
    } else if sb.data_offset != data_offset.0 {
        Some("data offset")
    } else if !role {
        Some("slots")
    } else {
        None
    }
}

/// Corrects what the members of a running array are said to hold: the kernel works with one superblock, while a device
/// may hold a stale one of another version, which was found first.
pub(crate) fn claim(layout: &mut Layout, kind: &Kind) {
    let Kind::MdArray(array) = kind else { return };
    if array.uuid.is_empty() {
        return;
    }
    let members: Vec<&NodeId> = array.members().map(|member| &member.device).collect();
    for device in layout.devices.iter_mut().filter(|device| members.contains(&&device.id)) {
        device.content = Content::MdMember { array: array.uuid.clone() };
    }
}

/// What a member's superblock means for a machine whose arrays are running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Membership {
    /// It is a part of a running array.
    Part,
    /// Its array runs without it: it was thrown out or left behind, and holds nothing that the array has not.
    Former,
    /// Its array does not run.
    Idle,
}

/// Whether the device is really a part of the array that its superblock names.
pub(crate) fn membership(layout: &Layout, id: &NodeId, uuid: &str) -> Membership {
    let mut found = Membership::Idle;
    for device in &layout.devices {
        if let Kind::MdArray(array) = &device.kind {
            if array.members().any(|member| member.device == *id) {
                return Membership::Part;
            }
            if array.uuid == uuid {
                found = Membership::Former;
            }
        }
    }
    found
}

/// A member as sysfs shows it.
struct Shown {
    device: MdMember,
    slot: Option<usize>,
    /// It takes the place of another one in the same slot, which still works.
    replacement: bool,
}

/// The files of one array.
struct Files<'a> {
    sys: &'a dyn Sys,
    base: String,
}

impl Files<'_> {
    fn text(&self, name: &str) -> Result<Option<String>> {
        Ok(self.sys.read_opt(format!("{}/{name}", self.base))?)
    }

    /// The number in a file; `None` where the kernel has no such file. While an array is reshaped, the old value
    /// stands in parentheses behind the new one.
    fn number(&self, name: &str) -> Result<Option<i64>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        match text.split_whitespace().next().map(str::parse) {
            Some(Ok(number)) => Ok(Some(number)),
            _ => Err(self.malformed(name, &format!("'{text}' is no number"))),
        }
    }

    /// A number that cannot be negative, and without which nothing can be said.
    fn needed(&self, name: &str) -> Result<u64> {
        let number = self.number(name)?.and_then(|number| u64::try_from(number).ok());
        number.ok_or_else(|| self.malformed(name, "there is no number from 0 on"))
    }

    fn malformed(&self, name: &str, detail: &str) -> Error {
        Error::Malformed { what: format!("{}/{name}", self.base), detail: detail.to_owned() }
    }

    /// Version of the metadata; for an array inside of a firmware's container, that of the container.
    fn metadata(&self) -> Result<String> {
        let version = self.text("metadata_version")?.unwrap_or_default();
        // `external:/md127/0`, or with `-` for a read-only one.
        let Some(rest) = version.strip_prefix("external:") else { return Ok(version) };
        let container = rest.strip_prefix(['/', '-']).and_then(|path| path.split('/').next());
        let Some(container) = container else { return Ok(version) };
        let outer = self.sys.read_opt(format!("/sys/block/{container}/md/metadata_version"))?;
        Ok(outer.unwrap_or(version))
    }

    /// The members that work or are being filled, by their slots; `None` where one of them is no known device.
    fn members(&self, ids: &BTreeMap<String, NodeId>) -> Result<Option<Vec<Shown>>> {
        let mut members = Vec::new();
        for entry in block::names(self.sys, &self.base)? {
            let Some(name) = entry.strip_prefix("dev-") else { continue };
            let state = self.text(&format!("{entry}/state"))?.unwrap_or_default();
            let words: Vec<&str> = state.split(',').collect();
            if words.contains(&"faulty") {
                continue;
            }
            let Some(id) = ids.get(name) else { return Ok(None) };
            let mut flags: Vec<String> =
                words.iter().filter(|word| FLAGS.contains(word)).map(|word| (*word).to_owned()).collect();
            flags.sort();
            let slot = self.text(&format!("{entry}/slot"))?.unwrap_or_default();
            if slot == "journal" {
                // The policy says that there is one.
                continue;
            }
            let offset = self.needed(&format!("{entry}/offset"))?;
            let data_offset = Bytes(offset.saturating_mul(512));
            members.push(Shown {
                device: MdMember { device: id.clone(), data_offset, flags },
                slot: slot.parse().ok(),
                replacement: words.contains(&"replacement"),
            });
        }
        members.sort_by_key(|member| (member.slot.is_none(), member.slot, member.replacement));
        Ok(Some(members))
    }

    fn array(
        &self,
        level: String,
        metadata: String,
        sb: Option<Superblock>,
        members: Vec<Shown>,
    ) -> Result<MdArray> {
        let mut slots = vec![None; usize::try_from(self.needed("raid_disks")?).unwrap_or_default().min(4096)];
        let mut spares = Vec::new();
        for Shown { device, slot, .. } in members {
            match slot.and_then(|slot| slots.get_mut(slot)) {
                Some(place @ None) => *place = Some(device),
                // Standing by, or on the way to replace the one that is still in the slot.
                _ => spares.push(device),
            }
        }
        let whole = matches!(level.as_str(), "raid0" | "linear");
        let kibibytes = if whole { 0 } else { self.needed("component_size")? };
        let layout = match level.as_str() {
            "raid5" | "raid6" | "raid10" => u32::try_from(self.needed("layout")?).unwrap_or(u32::MAX),
            "raid0" => sb.as_ref().map_or(0, |sb| sb.layout),
            _ => 0,
        };
        // A mirror has no chunks, whatever its superblock says.
        let chunk = if level == "raid1" { 0 } else { self.needed("chunk_size")? };
        let bitmap = self.bitmap()?;
        let policy = match self.text("consistency_policy")? {
            Some(policy) => policy,
            // Kernels before 4.12 do not say it.
            None if whole => "none".to_owned(),
            None if bitmap.is_some() => "bitmap".to_owned(),
            None => "resync".to_owned(),
        };
        let moving = self.text("reshape_position")?.is_some_and(|position| position != "none");
        Ok(MdArray {
            uuid: sb.as_ref().map(|sb| sb.uuid.clone()).unwrap_or_default(),
            name: sb.map(|sb| sb.name).unwrap_or_default(),
            level,
            metadata,
            layout,
            chunk: Bytes(chunk),
            component_size: Bytes(kibibytes.saturating_mul(1024)),
            bitmap,
            consistency: if moving { "reshape".to_owned() } else { policy },
            slots,
            spares,
        })
    }

    fn bitmap(&self) -> Result<Option<MdBitmap>> {
        let place = self.text("bitmap/location")?.unwrap_or_default();
        if place.is_empty() || place == "none" {
            return Ok(None);
        }
        let clustered = self.text("bitmap/metadata")?.is_some_and(|kind| kind == "clustered");
        let location = match place.as_str() {
            _ if clustered => "clustered",
            // A number of sectors from the superblock on, with its sign.
            place if place.starts_with(['+', '-']) => "internal",
            other => other,
        };
        let backlog = self.number("bitmap/backlog")?.unwrap_or_default();
        Ok(Some(MdBitmap {
            location: location.to_owned(),
            chunk: Bytes(self.needed("bitmap/chunksize")?),
            write_behind: u32::try_from(backlog).unwrap_or_default(),
        }))
    }
}

/// What a member's state tells beside how well it is.
const FLAGS: [&str; 2] = ["failfast", "write_mostly"];

#[cfg(test)]
mod tests;
