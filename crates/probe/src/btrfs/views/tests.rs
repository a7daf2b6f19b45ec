//! The schemes of distributions, and what people do beside them.

use layout::Subvolume;

use super::*;

fn btrfs(subvolumes: &[(&str, Option<&str>)]) -> Btrfs {
    let make = |(i, (path, origin)): (usize, &(&str, Option<&str>))| Subvolume {
        id: 256 + i as u64,
        path: (*path).to_owned(),
        read_only: false,
        snapshot_of: origin.map(str::to_owned),
    };
    Btrfs { subvolumes: subvolumes.iter().enumerate().map(make).collect(), ..Btrfs::default() }
}

fn names<'a>(list: &'a [(String, &'static str)]) -> Vec<&'a str> {
    list.iter().map(|(path, _)| path.as_str()).collect()
}

/// `mounts`: root, mount point, saved. Gives what is left out, and what is shown beside the mounts.
fn divided(btrfs: &Btrfs, mounts: &[(&str, &str, bool)], others: &[&str]) -> (Vec<String>, Vec<String>) {
    let roots: Vec<&str> = mounts.iter().map(|(root, ..)| *root).collect();
    let dropped = dropped(btrfs, &roots);
    let views: Vec<View<'_>> =
        mounts.iter().map(|(root, at, saved)| View { root, at, saved: *saved }).collect();
    let mut captured: Vec<String> =
        mounts.iter().filter(|(_, _, saved)| *saved).map(|(_, at, _)| (*at).to_owned()).collect();
    captured.extend(others.iter().map(|point| (*point).to_owned()));
    let (mut skip, more) = split(btrfs, &dropped, &views, &captured, "/T");
    skip.sort();
    (skip, more.into_iter().map(|(root, at)| format!("{root}:{at}")).collect())
}

#[test]
fn debian_and_ubuntu() {
    let fs = btrfs(&[
        ("@", None),
        ("@home", None),
        ("@/var/lib/portables", None),
        ("@apt-snapshot-1", Some("@")),
        ("timeshift-btrfs/snapshots/1/@", Some("@")),
        // Unmounted, with data of its own.
        ("@backup", None),
        // Its origin is gone.
        ("@old", Some("")),
    ]);
    let mounts = [("@", "/", true), ("@home", "/home", true)];
    let roots: Vec<&str> = mounts.iter().map(|(root, ..)| *root).collect();
    assert_eq!(names(&dropped(&fs, &roots)), ["@apt-snapshot-1", "timeshift-btrfs/snapshots/1/@"]);
    let (skip, top) = divided(&fs, &mounts, &["/boot/efi"]);
    assert_eq!(top, [":/T"]);
    // The nested one is read below "/"; the top leaves out what mounts show, and the snapshots.
    assert_eq!(
        skip,
        [
            "/T/@",
            "/T/@/var/lib/portables",
            "/T/@apt-snapshot-1",
            "/T/@home",
            "/T/timeshift-btrfs/snapshots/1/@"
        ]
    );
}

#[test]
fn suse_with_snapper() {
    let mut fs = btrfs(&[
        ("@", None),
        ("@/var", None),
        ("@/.snapshots", None),
        ("@/.snapshots/1/snapshot", None),
        ("@/.snapshots/2/snapshot", Some("@/.snapshots/1/snapshot")),
        ("@/.snapshots/3/snapshot", Some("")),
    ]);
    fs.default_subvolume = "@/.snapshots/1/snapshot".into();
    let mounts = [
        ("@/.snapshots/1/snapshot", "/", true),
        ("@/.snapshots", "/.snapshots", true),
        ("@/var", "/var", true),
    ];
    let roots: Vec<&str> = mounts.iter().map(|(root, ..)| *root).collect();
    assert_eq!(names(&dropped(&fs, &roots)), ["@/.snapshots/2/snapshot", "@/.snapshots/3/snapshot"]);
    let (skip, top) = divided(&fs, &mounts, &[]);
    assert_eq!(top, [":/T"], "nobody sees '@' itself");
    for path in ["/.snapshots/1/snapshot", "/.snapshots/2", "/.snapshots/3", "/T/@/var", "/T/@/.snapshots"] {
        assert!(skip.contains(&path.to_owned()), "{path} {skip:?}");
    }
    // Only the mount point itself must not be left out: what is mounted there would go too.
    assert!(!skip.contains(&"/var".to_owned()) && !skip.contains(&"/.snapshots".to_owned()), "{skip:?}");
}

#[test]
fn the_top_is_mounted() {
    let fs = btrfs(&[("data", None), ("data/inner", None), ("hidden", None), ("snap", Some("data"))]);
    // All is seen below one mount; a nested one that is mounted at its own place, too.
    let (skip, top) = divided(&fs, &[("", "/srv", true)], &["/"]);
    assert_eq!((skip, top), (vec!["/srv/snap".to_owned()], vec![]));
    let both = [("", "/srv", true), ("data", "/srv/data", true)];
    assert_eq!(divided(&fs, &both, &["/"]), (vec!["/srv/snap".to_owned()], vec![]));
    let elsewhere = [("", "/srv", true), ("data", "/data", true)];
    let (skip, top) = divided(&fs, &elsewhere, &["/"]);
    assert!(top.is_empty());
    assert_eq!(skip, ["/srv/data", "/srv/data/inner", "/srv/snap"]);
    // Another filesystem is mounted over a subvolume, whose files are read elsewhere; those of the other stay.
    let (skip, top) = divided(&fs, &[("", "/srv", true)], &["/", "/srv/hidden"]);
    assert_eq!((skip, top), (vec!["/srv/snap".to_owned()], vec!["hidden:/T-1".to_owned()]));
}

#[test]
fn what_is_not_saved_is_read_from_nowhere() {
    let fs = btrfs(&[("@", None), ("@scratch", None), ("@scratch/inner", None)]);
    let (skip, top) = divided(&fs, &[("@", "/", true), ("@scratch", "/scratch", false)], &[]);
    assert_eq!(top, [":/T"]);
    assert!(skip.contains(&"/T/@scratch".to_owned()) && skip.contains(&"/T/@scratch/inner".to_owned()));
}

#[test]
fn snapshots_that_are_used_come_back() {
    let roots = ["@"];
    let layers = [
        ("@", None),
        ("@/var/lib/docker/btrfs/subvolumes/aa", None),
        ("@/var/lib/docker/btrfs/subvolumes/bb", Some("@/var/lib/docker/btrfs/subvolumes/aa")),
        ("@/var/lib/machines/web", Some("@/var/lib/machines/base")),
        ("snap", Some("@")),
        ("snap2", Some("@")),
        ("snap2/own", None),
    ];
    let fs = btrfs(&layers);
    assert_eq!(names(&dropped(&fs, &roots)), ["snap"], "something of its own is nested in snap2");
    assert!(dropped(&fs, &["@", "snap/deep"]).is_empty(), "mounted, if only in part");
    assert!(!is_snapper("a/.snapshots/x/snapshot") && !is_snapper(".snapshots/1/snapshots"));
    assert!(is_snapper(".snapshots/12/snapshot"));
}
