//! What `btrfs` of btrfs-progs prints, 5.10 to 6.14. A form that is not known is an error that names tool and field, never
//! an empty value.

use std::collections::BTreeMap;

use layout::Subvolume;

use crate::{Error, Result};

/// Id of the top of every btrfs (`BTRFS_FS_TREE_OBJECTID`).
pub(crate) const TOP: u64 = 5;

const LIST: &str = "the output of 'btrfs subvolume list'";

fn malformed(what: &str, field: &str, line: &str) -> Error {
    Error::Malformed { what: what.to_owned(), detail: format!("no {field} in the line '{line}'") }
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
        return Err(Error::Malformed {
            what: LIST.to_owned(),
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
mod tests {
    use super::*;

    // As 5.10.1, 6.2 and 6.14 print it alike, asked at a mount of '@'.
    const ALL: &str = "\
ID 256 gen 8 top level 5 parent_uuid -                                    uuid a2ea78b8-c363-f74e-9862-02d6d3d8e752 path <FS_TREE>/@
ID 258 gen 7 top level 5 parent_uuid -                                    uuid 0e22e8aa-8cfe-a14a-8cd7-f9c8486e13b8 path <FS_TREE>/dir/inner/nested one
ID 260 gen 7 top level 256 parent_uuid 2ac65aee-79b1-954f-9932-3e1cea7122d9 uuid ed327a52-b892-6d43-9217-3423838949d2 path @/a path b
ID 257 gen 7 top level 5 parent_uuid 11111111-79b1-954f-9932-3e1cea7122d9 uuid 2ac65aee-79b1-954f-9932-3e1cea7122d9 path <FS_TREE>/@home
";
    const LOCKED: &str = "ID 260 gen 7 top level 256 path @/a path b\n";

    #[test]
    fn subvolumes_have_their_paths_from_the_top() {
        let found = subvolumes(ALL, LOCKED).unwrap();
        let short: Vec<_> = found
            .iter()
            .map(|one| (one.id, one.path.as_str(), one.read_only, one.snapshot_of.as_deref()))
            .collect();
        assert_eq!(
            short,
            [
                (256, "@", false, None),
                // Its origin is gone.
                (257, "@home", false, Some("")),
                (258, "dir/inner/nested one", false, None),
                (260, "@/a path b", true, Some("@home")),
            ]
        );
        assert_eq!(default_subvolume("ID 5 (FS_TREE)\n", &found).unwrap(), "");
        assert_eq!(default_subvolume("ID 257 gen 9 top level 5 path @home\n", &found).unwrap(), "@home");
        assert!(default_subvolume("ID 999 gen 9 top level 5 path x\n", &found).is_err());
        assert!(default_subvolume("", &found).is_err());
        assert!(subvolumes("", "").unwrap().is_empty());
    }

    #[test]
    fn an_unknown_form_is_an_error_that_names_tool_and_field() {
        for (text, field) in [
            ("256 gen 8", "ID"),
            ("ID x gen 8", "ID"),
            ("ID 256 gen 8 top level 5 path @", "parent_uuid"),
            ("ID 256 gen 8 top level 5 parent_uuid - uuid  path @", "uuid"),
            ("ID 256 gen 8 top level 5 parent_uuid - uuid 1-2 path @", "uuid"),
            // The second half of a name with a line break in it.
            (
                "ID 256 gen 8 top level 5 parent_uuid - uuid a2ea78b8-c363-f74e-9862-02d6d3d8e752 path a\nb",
                "ID",
            ),
        ] {
            let error = subvolumes(text, "").unwrap_err().to_string();
            assert!(error.contains("btrfs subvolume list") && error.contains(field), "{error}");
        }
        assert!(subvolumes("", "ID 7 gen 7 top level 5 path x\n").is_err());
    }

    #[test]
    fn parents_of_quota_groups_in_the_old_and_the_new_form() {
        let old = "qgroupid         rfer         excl parent  \n--------         ----         ---- ------  \n\
                   0/5             16384        16384 ---     \n0/256           16384        16384 1/100,2/7   \n";
        let new = "Qgroupid    Referenced    Exclusive Parent     Path \n--------    ----------    --------- ------     ---- \n\
                   0/5              16384        16384 -          <toplevel>\n\
                   0/256            16384        16384 1/100,2/7  dir/a b\n";
        for text in [old, new] {
            let found = parents(text).unwrap();
            assert_eq!(found[&(0, 256)], ["1/100", "2/7"]);
            assert!(found[&(0, 5)].is_empty());
        }
        assert!(parents("").is_err());
        assert!(parents("Qgroupid Path Parent\n").is_err());
        assert!(parents(&old.replace("1/100", "rubbish")).is_err());
    }
}
