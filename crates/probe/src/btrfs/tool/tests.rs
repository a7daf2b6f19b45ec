//! What every version prints is read alike, and what none prints is an error.

use sys::{Cmd, Replay};

use super::*;
use crate::error::with_version;

/// Outputs of several versions for one filesystem made by hand, each after its command (`$ btrfs …`).
const VERSIONS: [(&str, &str); 4] = [
    ("4.19.1", include_str!("../fixtures/sles15.txt")),
    ("5.10.1", include_str!("../fixtures/debian11.txt")),
    ("6.2", include_str!("../fixtures/debian12.txt")),
    ("6.14", include_str!("../fixtures/debian13.txt")),
];

/// The outputs of one version by the words of their commands.
fn told<'a>(text: &'a str, command: &str) -> &'a str {
    let mut sections = text.split("$ btrfs ").skip(1).filter_map(|section| section.split_once('\n'));
    sections.find(|(line, _)| *line == command).unwrap().1
}

#[test]
fn every_version_tells_the_same() {
    for (version, text) in VERSIONS {
        let all = told(text, "subvolume list -a -u -q");
        let found = subvolumes(all, told(text, "subvolume list -a -r")).unwrap();
        let short: Vec<_> = found
            .iter()
            .map(|one| (one.id, one.path.as_str(), one.read_only, one.snapshot_of.as_deref()))
            .collect();
        assert_eq!(
            short,
            [
                (256, "@", false, None),
                (257, "@home", false, None),
                (258, "dir/nested one", false, None),
                (259, "@/a path b", true, Some("@home")),
                (260, "gone", false, Some("@home")),
            ],
            "{version}"
        );
        let default = default_subvolume(told(text, "subvolume get-default"), &found);
        assert_eq!(default.unwrap(), "@", "{version}");
        let groups = told(text, "qgroup show -p --raw");
        // btrfs-progs 6.2 and later print a stray byte.
        for groups in [groups.to_owned(), groups.replace("qgroup >", "qgroup\0>")] {
            let groups = parents(&groups).unwrap();
            assert_eq!(groups.len(), 8, "{version}");
            assert_eq!(groups[&(0, 256)], ["1/100", "2/7"], "{version}");
            assert_eq!(groups[&(1, 100)], ["2/7"], "{version}");
            let none = [(0, 5), (0, 257), (0, 258), (0, 259), (0, 260), (2, 7)];
            assert!(none.iter().all(|group| groups[group].is_empty()), "{version}");
        }
    }
}

/// Takes the words at this place out of every line after the head.
fn without_column(text: &str, column: usize, head: usize) -> String {
    let mut out = String::new();
    for (i, line) in text.lines().enumerate() {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        if i >= head {
            words.remove(column);
        }
        out.push_str(&words.join(" "));
        out.push('\n');
    }
    out
}

#[test]
fn shifted_columns_are_never_taken_for_values() {
    for (version, text) in VERSIONS {
        let groups = told(text, "qgroup show -p --raw");
        for (column, head) in [(0, 2), (1, 2), (3, 2), (0, 0), (2, 0), (3, 0)] {
            // Where the column of the paths follows, one of them would have to look like a group.
            let error = parents(&without_column(groups, column, head)).unwrap_err().to_string();
            assert!(error.contains("'btrfs qgroup show'"), "{version}: {error}");
            assert!(error.contains("parent") || error.contains("qgroupid"), "{version}: {error}");
        }
        let all = told(text, "subvolume list -a -u -q");
        for (column, field) in
            [(0, "ID"), (1, "ID"), (7, "parent_uuid"), (8, "uuid"), (9, "uuid"), (10, "uuid"), (11, "uuid")]
        {
            let error = subvolumes(&without_column(all, column, 0), "").unwrap_err().to_string();
            assert!(
                error.contains("'btrfs subvolume list'") && error.contains(field),
                "{version} without {column}: {error}"
            );
        }
        let found = subvolumes(all, "").unwrap();
        for (text, field) in [("", "ID"), ("ID @\n", "ID"), ("ID 999 gen 1 top level 5 path x\n", "known ID")]
        {
            let error = default_subvolume(text, &found).unwrap_err().to_string();
            assert!(error.contains("'btrfs subvolume get-default'") && error.contains(field), "{error}");
        }
    }
}

#[test]
fn an_error_names_the_version() {
    let told = Replay::from_json(r#"{"run btrfs --version": {"text": "btrfs-progs v6.2 \n"}}"#).unwrap();
    let ask = Cmd::new("btrfs").arg("--version");
    let error = with_version(&told, &ask, parents("")).unwrap_err().to_string();
    assert!(error.starts_with("the output of 'btrfs qgroup show' (btrfs-progs v6.2) cannot"), "{error}");
    // A program that does not tell is named without it.
    let error = with_version(&sys::Forbid, &ask, parents("")).unwrap_err().to_string();
    assert!(
        error.starts_with("the output of 'btrfs qgroup show' cannot be understood: no column"),
        "{error}"
    );
}

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
        ("ID 256 gen 8 top level 5 parent_uuid - uuid a2ea78b8-c363-f74e-9862-02d6d3d8e752 path a\nb", "ID"),
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
