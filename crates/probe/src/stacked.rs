//! Devices of device-mapper, which are made of others, as far as sysfs names them.

use layout::{Kind, LogicalVolume, LuksMapping, NodeId};
use sys::{Sys, SysExt};

use crate::Result;
use crate::block::Block;

/// Id and kind of a device that is made of `parents`; `None` when the kernel names no parent.
pub(crate) fn read(sys: &dyn Sys, block: &Block, parents: &[NodeId]) -> Result<Option<(NodeId, Kind)>> {
    let Some(first) = parents.first() else { return Ok(None) };
    let base = format!("/sys/block/{}", block.name);
    let name = sys.read_opt(format!("{base}/dm/name"))?.unwrap_or_else(|| block.name.clone());
    let uuid = sys.read_opt(format!("{base}/dm/uuid"))?.unwrap_or_default();
    Ok(Some(mapped(&name, &uuid, first, parents)))
}

/// What a device-mapper device is, by the prefix that its tool gives its uuid.
pub(crate) fn mapped(name: &str, uuid: &str, first: &NodeId, parents: &[NodeId]) -> (NodeId, Kind) {
    // Other prefixes (CRYPT-PLAIN, CRYPT-TCRYPT, CRYPT-BITLK) have no header that could be made again.
    if uuid.starts_with("CRYPT-LUKS") {
        let kind = LuksMapping { parent: first.clone(), name: name.to_owned() };
        return (NodeId(format!("luks:{}", part(uuid, 2))), Kind::LuksMapping(kind));
    }
    if let Some(both) = uuid.strip_prefix("LVM-")
        && let (Some(group), Some(volume)) = (both.get(..32), both.get(32..))
    {
        let (group_name, volume_name) = volume_names(name);
        let kind = LogicalVolume {
            group: group_name,
            name: volume_name,
            uuid: volume.to_owned(),
            physical_volumes: parents.to_vec(),
        };
        return (NodeId(format!("lv:{group}/{volume}")), Kind::LogicalVolume(kind));
    }
    // Something else that device-mapper, bcache or a filter driver made: a volume without a group.
    let kind = LogicalVolume {
        group: String::new(),
        name: name.to_owned(),
        uuid: uuid.to_owned(),
        physical_volumes: parents.to_vec(),
    };
    let id = if uuid.is_empty() { name } else { uuid };
    (NodeId(format!("dm:{id}")), Kind::LogicalVolume(kind))
}

/// Whether cryptsetup put this device between a container with integrity protection and its open side: part of the
/// container, and nothing of its own.
pub(crate) fn is_inner(sys: &dyn Sys, block: &Block) -> Result<bool> {
    if !block.name.starts_with("dm-") {
        return Ok(false);
    }
    let base = format!("/sys/block/{}/dm", block.name);
    let Some(uuid) = sys.read_opt(format!("{base}/uuid"))? else { return Ok(false) };
    // cryptsetup 2.4 and later name it CRYPT-SUBDEV, older ones CRYPT-INTEGRITY.
    let name = || -> Result<String> { Ok(sys.read_opt(format!("{base}/name"))?.unwrap_or_default()) };
    Ok(uuid.starts_with("CRYPT-SUBDEV-")
        || (uuid.starts_with("CRYPT-INTEGRITY-") && name()?.ends_with("_dif")))
}

/// The `n`th word between dashes; the whole where there are not so many.
fn part(uuid: &str, n: usize) -> &str {
    uuid.split('-').nth(n).unwrap_or(uuid)
}

/// device-mapper joins group and volume with a dash and doubles the dashes inside of either.
fn volume_names(name: &str) -> (String, String) {
    let bytes = name.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        if bytes[i] == b'-' {
            if bytes.get(i + 1) == Some(&b'-') {
                i += 2;
                continue;
            }
            return (name[..i].replace("--", "-"), name[i + 1..].replace("--", "-"));
        }
        i += 1;
    }
    (String::new(), name.replace("--", "-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_devices_are_told_by_their_uuid() {
        let parent = NodeId("disk:serial:A/1".into());
        let parents = [parent.clone()];
        let uuid = "LVM-abcdefghijklmnopqrstuvwxyz012345ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
        let (id, kind) = mapped("vg--data-my--home", uuid, &parent, &parents);
        assert_eq!(id.0, "lv:abcdefghijklmnopqrstuvwxyz012345/ABCDEFGHIJKLMNOPQRSTUVWXYZ012345");
        let Kind::LogicalVolume(volume) = kind else { panic!("{kind:?}") };
        assert_eq!((volume.group.as_str(), volume.name.as_str()), ("vg-data", "my-home"));
        let luks = "CRYPT-LUKS2-0123456789abcdef0123456789abcdef-sda2_crypt";
        assert_eq!(
            mapped("sda2_crypt", luks, &parent, &parents).0.0,
            "luks:0123456789abcdef0123456789abcdef"
        );
        assert_eq!(mapped("weird", "", &parent, &parents).0.0, "dm:weird");
        let (_, plain) = mapped("cswap", "CRYPT-PLAIN-cswap", &parent, &parents);
        assert!(matches!(plain, Kind::LogicalVolume(volume) if volume.group.is_empty()));
    }
}
