//! Which subvolumes come back, and from which mount the files of each are read: each file once, whatever is mounted how
//! often and whatever is not mounted at all. Looks at the model only.
//!
//! A mount shows the subvolume of its root and all that are nested in it. The files of a subvolume are read from the mount
//! whose root is nearest; where no mount shows it, from the top of the filesystem, which is shown for that at a
//! reserved place.

use layout::{Btrfs, Content, FsKind, Layout, Mount, NodeId};

use crate::coverage::{Coverage, CoverageRow, Decision, NOT_SAVED, ONLY, WAIVED};
use crate::rules::is_below;

/// In front of the UUID of a btrfs: where its top is shown in the archive and during a recovery.
const TOP_PREFIX: &str = "/.rear-btrfs-";

/// A part of a btrfs, nearly always its top, that no captured mount shows. It is shown at a reserved place instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Top {
    /// The device that carries it.
    pub device: NodeId,
    /// The subvolume, as a path from the top of the filesystem with a leading slash; `/` for the top.
    pub root: String,
    /// Its place in the archive and below the target directory of a recovery: a directory that no machine has.
    pub mount_point: String,
}

/// Whether this is such a reserved place.
pub fn is_top(mount_point: &str) -> bool {
    mount_point.starts_with(TOP_PREFIX)
}

/// Snapshots that do not come back, with the rule that leaves them out. `roots` are the roots of its mounts.
pub(crate) fn dropped(btrfs: &Btrfs, roots: &[&str]) -> Vec<(String, &'static str)> {
    let in_use = |path: &str| {
        let mounted = |root: &&str| inside(path, root.trim_start_matches('/'));
        path == btrfs.default_subvolume || roots.iter().any(mounted)
    };
    let rule = |path: &str| {
        let subvolume = btrfs.subvolume(path)?;
        if in_use(path) {
            return None;
        }
        if is_snapper(path) {
            return Some("snapshot of snapper that is not mounted");
        }
        // A container's files are data of their own, however its program has made them.
        let origin = subvolume.snapshot_of.as_deref().filter(|origin| !origin.is_empty());
        (origin.is_some() && !is_container(path)).then_some("snapshot that is not mounted")
    };
    let mut left_out: Vec<(String, &'static str)> =
        btrfs.subvolumes.iter().filter_map(|one| Some((one.path.clone(), rule(&one.path)?))).collect();
    // What something that comes back is nested in must come back too.
    loop {
        let needed = |path: &str| {
            btrfs.subvolumes.iter().any(|inner| {
                inner.path != path
                    && inside(path, &inner.path)
                    && !left_out.iter().any(|(out, _)| *out == inner.path)
            })
        };
        let stay: Vec<bool> = left_out.iter().map(|(path, _)| !needed(path)).collect();
        if stay.iter().all(|stays| *stays) {
            return left_out;
        }
        let mut stay = stay.into_iter();
        left_out.retain(|_| stay.next().unwrap_or(true));
    }
}

/// Whether `path` is `outer` or lies below it; the top is the empty path.
fn inside(outer: &str, path: &str) -> bool {
    outer.is_empty() || path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// `.snapshots/12/snapshot`, as snapper names them.
fn is_snapper(path: &str) -> bool {
    let mut parts = path.rsplit('/');
    parts.next() == Some("snapshot")
        && parts.next().is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
        && parts.next() == Some(".snapshots")
}

/// Where programs keep containers and images in subvolumes.
fn is_container(path: &str) -> bool {
    const PLACES: [&str; 8] = [
        "docker/btrfs/subvolumes/",
        "containers/storage/btrfs/subvolumes/",
        "io.containerd.snapshotter.v1.btrfs/",
        "lib/machines/",
        "lib/portables/",
        "lxd/",
        "incus/",
        "lxc/",
    ];
    PLACES.iter().any(|place| path.starts_with(place) || path.contains(&format!("/{place}")))
}

/// A mount as a way to see subvolumes.
struct View<'a> {
    root: &'a str,
    at: &'a str,
    /// Whether its files are saved; else they are left out on purpose.
    saved: bool,
}

impl View<'_> {
    /// Where it shows this path of the filesystem, if it does.
    fn shows(&self, path: &str) -> Option<String> {
        if !inside(self.root, path) {
            return None;
        }
        let rest = path[self.root.len()..].trim_start_matches('/');
        Some(match (self.at, rest) {
            (at, "") => at.to_owned(),
            ("/", rest) => format!("/{rest}"),
            (at, rest) => format!("{at}/{rest}"),
        })
    }
}

/// Decides for every captured btrfs, and adds to the coverage: a row for each snapshot that is left out and for the
/// top, what the archive leaves out, and which tops it needs.
/// `only`: whether only a part of the machine is asked for, so that nothing is added.
pub(crate) fn divide(layout: &Layout, result: &mut Coverage, only: bool) {
    for device in &layout.devices {
        let Some((fs, btrfs)) = super::of(&device.content) else { continue };
        let mounts: Vec<&Mount> = layout.mounts_of(&device.id).collect();
        if !mounts.iter().any(|mount| result.mounts.contains(&mount.mount_point)) {
            continue;
        }
        let roots: Vec<&str> = mounts.iter().map(|mount| mount.root.as_str()).collect();
        let dropped = dropped(btrfs, &roots);
        let views: Vec<View<'_>> =
            mounts.iter().filter_map(|mount| view(mount, &device.id, result)).collect();
        let at = format!("{TOP_PREFIX}{}", fs.uuid);
        let (skip, more) = split(btrfs, &dropped, &views, &result.mounts, &at);
        let row = |what: String, decision: Decision| CoverageRow {
            what,
            device: Some(device.id.clone()),
            fs_type: "btrfs".to_owned(),
            bytes: None,
            files: None,
            decision,
        };
        for (path, rule) in &dropped {
            let decision = Decision::Excluded { rule: (*rule).to_owned() };
            result.rows.push(row(format!("{} subvolume {path}", device.path), decision));
        }
        let kept = result.rows.iter().any(|row| {
            row.device.as_ref() == Some(&device.id) && matches!(row.decision, Decision::Kept { .. })
        });
        for (path, mount_point) in more {
            if kept || only {
                let rule =
                    if only { ONLY } else { "not mounted, so not in the backup; it stays where it is" };
                let rule = rule.to_owned();
                result.rows.push(row(
                    format!("{} /{path} beside its mounts", device.path),
                    Decision::Excluded { rule },
                ));
                continue;
            }
            let root = format!("/{path}");
            result.rows.push(row(format!("{} {root} beside its mounts", device.path), Decision::Captured));
            result.tops.push(Top { device: device.id.clone(), root, mount_point });
        }
        result.skip.extend(skip);
        result.dropped.extend(dropped.into_iter().map(|(path, _)| (device.id.clone(), path)));
    }
}

/// `None` for a mount whose files are read elsewhere.
fn view<'a>(mount: &'a Mount, device: &NodeId, result: &Coverage) -> Option<View<'a>> {
    let saved = result.mounts.contains(&mount.mount_point);
    let lost = result.rows.iter().any(|row| {
        row.what == mount.mount_point
            && row.device.as_ref() == Some(device)
            && matches!(&row.decision, Decision::Excluded { rule } if [NOT_SAVED, WAIVED, ONLY].contains(&rule.as_str()))
    });
    (saved || lost).then(|| View {
        root: mount.root.trim_start_matches('/'),
        at: mount.mount_point.as_str(),
        saved,
    })
}

/// What the archive leaves out, as absolute paths of the machine, and what no mount shows: path and reserved place.
fn split(
    btrfs: &Btrfs,
    dropped: &[(String, &'static str)],
    mounts: &[View<'_>],
    captured: &[String],
    reserved: &str,
) -> (Vec<String>, Vec<(String, String)>) {
    // A filesystem that is mounted over the place hides it.
    let hidden = |view: &View<'_>, path: &str| {
        captured.iter().any(|point| {
            point != view.at
                && (view.at == "/" || is_below(point, view.at))
                && (path == point || is_below(path, point))
        })
    };
    let visible =
        |view: &View<'_>, path: &str| view.shows(path).filter(|shown| !view.saved || !hidden(view, shown));
    // The nearest view, by its place in the list.
    let owner = |views: &[View<'_>], path: &str| {
        (0..views.len())
            .filter(|i| visible(&views[*i], path).is_some())
            .max_by_key(|i| (views[*i].root.len(), views[*i].saved))
    };
    let mut paths: Vec<&str> = std::iter::once("")
        .chain(btrfs.subvolumes.iter().map(|subvolume| subvolume.path.as_str()))
        .filter(|path| !dropped.iter().any(|(out, _)| out == path))
        .collect();
    paths.sort_unstable();
    let mut more: Vec<(String, String)> = Vec::new();
    for path in paths.iter().filter(|path| owner(mounts, path).is_none()) {
        if !more.iter().any(|(root, _)| inside(root, path)) {
            let at =
                if path.is_empty() { reserved.to_owned() } else { format!("{reserved}-{}", more.len() + 1) };
            more.push(((*path).to_owned(), at));
        }
    }
    let all = mounts.iter().map(|view| View { root: view.root, at: view.at, saved: view.saved });
    let views: Vec<View<'_>> =
        all.chain(more.iter().map(|(root, at)| View { root, at, saved: true })).collect();
    let mut skip = Vec::new();
    for (i, view) in views.iter().enumerate().filter(|(_, view)| view.saved) {
        let others = paths.iter().filter(|path| owner(&views, path) != Some(i));
        skip.extend(others.filter_map(|path| visible(view, path)));
        for (path, _) in dropped {
            // What snapper notes about a snapshot is of no use without it.
            let whole = if is_snapper(path) { path.trim_end_matches("/snapshot") } else { path };
            skip.extend(visible(view, whole));
        }
    }
    (skip, more)
}

/// Takes what does not come back out of a reduced layout, and adds the mounts of the tops.
pub(crate) fn reduce(layout: &Layout, coverage: &Coverage, reduced: &mut Layout) {
    for (id, path) in &coverage.dropped {
        let device = reduced.devices.iter_mut().find(|device| device.id == *id);
        if let Some(Content::Filesystem(fs)) = device.map(|device| &mut device.content)
            && let FsKind::Btrfs(btrfs) = &mut fs.kind
        {
            btrfs.subvolumes.retain(|subvolume| subvolume.path != *path);
            for subvolume in &mut btrfs.subvolumes {
                if subvolume.snapshot_of.as_ref() == Some(path) {
                    subvolume.snapshot_of = Some(String::new());
                }
            }
            if let Some(quota) = &mut btrfs.quota {
                quota.groups.retain(|group| group.level > 0 || group.of != *path);
            }
        }
    }
    for top in &coverage.tops {
        if reduced.device(&top.device).is_none() {
            continue;
        }
        reduced.mounts.push(Mount {
            device: top.device.clone(),
            mount_point: top.mount_point.clone(),
            root: top.root.clone(),
            fs_type: "btrfs".to_owned(),
            options: Vec::new(),
        });
    }
    // Waived, and with a device that is left alone: its other devices come back empty.
    let waived = |id: &NodeId| {
        coverage.rows.iter().any(|row| {
            row.device.as_ref() == Some(id)
                && matches!(&row.decision, Decision::Excluded { rule } if rule == WAIVED)
        })
    };
    let complete = |reduced: &Layout, carrier: &layout::Device| {
        reduced.device(&carrier.id).is_some_and(|device| {
            super::of(&device.content)
                .is_some_and(|(_, kind)| kind.members.iter().all(|one| reduced.device(&one.device).is_some()))
        })
    };
    let empty: Vec<NodeId> = reduced
        .devices
        .iter()
        .filter(|device| {
            let part = matches!(device.content, Content::BtrfsMember { .. });
            let Some(original) = layout.device(&device.id) else { return false };
            let carrier = super::carrier(layout, original);
            (part || super::of(&device.content).is_some())
                && !complete(reduced, carrier)
                && (waived(&carrier.id) || waived(&device.id))
        })
        .map(|device| device.id.clone())
        .collect();
    for device in reduced.devices.iter_mut().filter(|device| empty.contains(&device.id)) {
        device.content = Content::Empty;
    }
}

#[cfg(test)]
mod tests;
