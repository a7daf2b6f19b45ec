//! Linux software RAID: the superblocks of its members, and what the kernel says of running arrays. Never assembles
//! one: an array that is not running is known by its members only.
//!
//! Files of sysfs: kernel `Documentation/admin-guide/md.rst`.

use std::collections::BTreeMap;

use layout::{Bytes, Content, Kind, Layout, MdArray, MdBitmap, MdMember, NodeId};
use sys::{Sys, SysExt};

use crate::block::{self, Block};
use crate::device::Dev;
use crate::{Error, Result};

mod superblock;

use superblock::{Role, Superblock, superblock};

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
