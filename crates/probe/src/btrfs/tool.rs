//! What `btrfs` of btrfs-progs prints, 4.19 to 6.14. A form that is not known is an error that names tool and field, never
//! an empty value.

use std::collections::BTreeMap;

use layout::Subvolume;

use crate::{Error, Result};

/// Id of the top of every btrfs (`BTRFS_FS_TREE_OBJECTID`).
pub(crate) const TOP: u64 = 5;

const LIST: &str = "the output of 'btrfs subvolume list'";

fn malformed(what: &str, field: &str, line: &str) -> Error {
    let detail = format!("no {field} in the line '{line}'");
    Error::Answer { what: what.to_owned(), version: String::new(), detail }
}

/// Subvolumes in the order of their ids, from `btrfs subvolume list -a -u -q` and, for what is read-only, `-a -r`:
///
/// ```text
/// ID 260 gen 7 top level 256 parent_uuid UUID uuid UUID path <FS_TREE>/@/home snap
/// ```
pub(crate) fn subvolumes(all: &str, read_only: &str) -> Result<Vec<Subvolume>> {
    let locked: Vec<u64> = read_only.lines().map(|line| id(LIST, line)).collect::<Result<_>>()?;
    let mut found: Vec<(Subvolume, &str, &str)> = Vec::new();
    for line in all.lines() {
        let id = id(LIST, line)?;
        let field = |from: &str, to: &str| {
            line.split_once(from)
                .and_then(|(_, rest)| if to.is_empty() { Some((rest, "")) } else { rest.split_once(to) })
                .map(|(value, _)| value.trim())
                .filter(|value| !value.is_empty())
                .ok_or_else(|| malformed(LIST, from.trim(), line))
        };
        let parent = field(" parent_uuid ", " uuid ")?;
        let own = field(" uuid ", " path ")?;
        let path = line.split_once(" path ").map(|(_, path)| path).unwrap_or_default();
        // With -a, what does not lie below the asked subvolume has this in front of its path from the top.
        let path = path.strip_prefix("<FS_TREE>/").unwrap_or(path);
        if path.is_empty() || [parent, own].iter().any(|uuid| *uuid != "-" && uuid.len() != 36) {
            return Err(malformed(LIST, "path and uuid", line));
        }
        let subvolume =
            Subvolume { id, path: path.to_owned(), read_only: locked.contains(&id), snapshot_of: None };
        found.push((subvolume, own, parent));
    }
    let path_of = |uuid: &str| {
        found.iter().find(|(_, own, _)| *own == uuid).map(|(subvolume, ..)| subvolume.path.clone())
    };
    let with_origin = |(subvolume, _, parent): &(Subvolume, &str, &str)| Subvolume {
        snapshot_of: (*parent != "-").then(|| path_of(parent).unwrap_or_default()),
        ..subvolume.clone()
    };
    let mut subvolumes: Vec<Subvolume> = found.iter().map(with_origin).collect();
    subvolumes.sort_by_key(|subvolume| subvolume.id);
    if let Some(line) = locked.iter().find(|id| !subvolumes.iter().any(|one| one.id == **id)) {
        // Made between the two questions: the next run sees it in both.
        return Err(Error::Answer {
            what: LIST.to_owned(),
            version: String::new(),
            detail: format!("the read-only subvolume {line} is not in the list of all; run rear again"),
        });
    }
    Ok(subvolumes)
}

fn id(what: &str, line: &str) -> Result<u64> {
    let id = line.strip_prefix("ID ").and_then(|rest| rest.split([' ', '\t']).next());
    id.and_then(|id| id.parse().ok()).ok_or_else(|| malformed(what, "ID", line))
}

/// Path of the default subvolume from `btrfs subvolume get-default`: `ID 5 (FS_TREE)` or `ID 256 gen 8 top level 5 path @`.
pub(crate) fn default_subvolume(text: &str, subvolumes: &[Subvolume]) -> Result<String> {
    const WHAT: &str = "the output of 'btrfs subvolume get-default'";
    let line = text.trim();
    let id = id(WHAT, line)?;
    if id == TOP {
        return Ok(String::new());
    }
    let found = subvolumes.iter().find(|subvolume| subvolume.id == id);
    found.map(|subvolume| subvolume.path.clone()).ok_or_else(|| malformed(WHAT, "known ID", line))
}

/// The groups that each quota group belongs to, as `level/number`, from `btrfs qgroup show -p --raw`.
pub(crate) fn parents(text: &str) -> Result<BTreeMap<(u64, u64), Vec<String>>> {
    const WHAT: &str = "the output of 'btrfs qgroup show'";
    let mut lines = text.lines();
    let head = lines.next().unwrap_or_default();
    let column = head
        .split_whitespace()
        .position(|word| word == "parent" || word == "Parent")
        .ok_or_else(|| malformed(WHAT, "column parent", head))?;
    // Numbers only stand before it, one word each.
    if column != 3 {
        return Err(malformed(WHAT, "column parent in the fourth place", head));
    }
    let group = |text: &str| {
        let (level, number) = text.split_once('/')?;
        Some((level.parse().ok()?, number.parse().ok()?))
    };
    let mut found = BTreeMap::new();
    for line in lines.filter(|line| !line.starts_with("--") && !line.trim().is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let own: (u64, u64) =
            words.first().and_then(|word| group(word)).ok_or_else(|| malformed(WHAT, "qgroupid", line))?;
        let parents = words.get(column).ok_or_else(|| malformed(WHAT, "parent", line))?;
        let mut list = Vec::new();
        for parent in parents.split(',').filter(|parent| !parent.chars().all(|c| c == '-')) {
            let _: (u64, u64) = group(parent).ok_or_else(|| malformed(WHAT, "parent", line))?;
            list.push(parent.to_owned());
        }
        list.sort();
        found.insert(own, list);
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
