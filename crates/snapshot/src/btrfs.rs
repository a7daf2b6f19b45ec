//! Read-only snapshots of btrfs subvolumes. A snapshot does not hold what is nested in its subvolume: each nested one that a place
//! shows gets its own, and is shown over the empty directory that stands there. They lie in a directory of the top of the
//! filesystem, which is mounted for that in our own mount namespace.

use std::collections::BTreeMap;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use layout::{FsKind, Layout, NodeId};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags};
use rustix::mount::MountFlags;
use sys::mount::{Mount, Mounts};
use sys::{Cancel, Cmd, Error, Result, Sys};

use crate::mark;
use crate::plan::{Seat, Way};

/// Where the tops are mounted (in our own mount namespace).
const TOPS: &str = "/run/rear/snapshots";
/// Subvolumes may appear while snapshots are made: what had appeared before the one around it was made is looked for again.
const PASSES: usize = 2;

/// A btrfs whose subvolumes are to be snapshotted.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub device: NodeId,
    /// Its device.
    pub path: String,
    /// Each place that shows a part of it, with the root: a path from the top, without a leading slash.
    places: Vec<(String, String)>,
    /// All places, those of other filesystems too: each hides what lies below it.
    others: Vec<String>,
    /// Paths of the machine that are left out.
    skip: Vec<String>,
    /// Subvolumes that are read live, and why.
    pub live: Vec<(String, String)>,
}

/// Whether `path` is `outer` or lies below it; as paths of the machine.
fn is_at_or_below(path: &str, outer: &str) -> bool {
    outer == "/" || path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The rest of a subvolume's path below the root of a place.
fn below<'p>(root: &str, path: &'p str) -> Option<&'p str> {
    match path.strip_prefix(root)? {
        rest if root.is_empty() || rest.is_empty() => Some(rest),
        rest => rest.strip_prefix('/'),
    }
}

fn join(at: &str, rest: &str) -> String {
    match (at, rest) {
        (at, "") => at.to_owned(),
        ("/", rest) => format!("/{rest}"),
        (at, rest) => format!("{at}/{rest}"),
    }
}

impl Order {
    /// Where a place shows a subvolume whose files are read there.
    fn shown(&self, place: &(String, String), path: &str) -> Option<String> {
        let (at, root) = place;
        let shown = join(at, below(root, path)?);
        let hides = |other: &&String| *other != at && is_at_or_below(other, at);
        let hidden = self.others.iter().filter(hides).any(|other| is_at_or_below(&shown, other));
        let skipped = self.skip.iter().any(|skip| is_at_or_below(&shown, skip));
        (!hidden && !skipped).then_some(shown)
    }

    /// Whether any place reads the files of this subvolume.
    fn wants(&self, path: &str) -> bool {
        !is_at_or_below(path, mark::SNAPSHOTS)
            && self.places.iter().any(|place| self.shown(place, path).is_some())
    }

    /// Our own directory, where a place shows the top of the filesystem.
    pub fn own(&self) -> impl Iterator<Item = PathBuf> {
        let tops = self.places.iter().filter(|(_, root)| root.is_empty());
        tops.map(|(at, _)| PathBuf::from(join(at, mark::SNAPSHOTS)))
    }
}

/// The filesystems of the seats that are btrfs.
pub(crate) fn orders(sys: &dyn Sys, layout: &Layout, seats: &mut [Seat], skip: &[String]) -> Vec<Order> {
    let others: Vec<String> = seats.iter().map(|seat| seat.place.at.clone()).collect();
    let mut found: Vec<Order> = Vec::new();
    for seat in seats {
        if seat.way != Way::Subvolumes {
            continue;
        }
        if sys.which("btrfs").is_none() {
            seat.way = Way::Live { why: "the program btrfs is not installed".into(), could: true };
            continue;
        }
        let place = (seat.place.at.clone(), seat.place.root.trim_start_matches('/').to_owned());
        if let Some(known) = found.iter_mut().find(|order| order.device == seat.place.device) {
            known.places.push(place);
            continue;
        }
        let Some(device) = layout.device(&seat.place.device) else { continue };
        found.push(Order {
            device: device.id.clone(),
            path: device.path.clone(),
            places: vec![place],
            others: others.clone(),
            skip: skip.to_vec(),
            live: Vec::new(),
        });
    }
    for order in &mut found {
        order.live = with_swap(layout, order);
    }
    found
}

/// Subvolumes that hold a swap file: the kernel makes no snapshot of them while it swaps there.
fn with_swap(layout: &Layout, order: &Order) -> Vec<(String, String)> {
    let Some(FsKind::Btrfs(btrfs)) =
        layout.device(&order.device).and_then(|one| one.filesystem()).map(|fs| &fs.kind)
    else {
        return Vec::new();
    };
    let mut live = Vec::new();
    for file in layout.swap_files.iter().filter(|file| file.device == order.device) {
        let mounts = layout.mounts.iter().filter(|mount| mount.device == order.device);
        let nearest = mounts
            .filter(|mount| is_at_or_below(&file.path, &mount.mount_point))
            .max_by_key(|mount| mount.mount_point.len());
        let Some(mount) = nearest else { continue };
        let rest = file.path.strip_prefix(mount.mount_point.as_str()).unwrap_or_default();
        let inside = join(&mount.root, rest.trim_start_matches('/'));
        let inside = inside.trim_start_matches('/');
        let holds = |one: &&layout::Subvolume| is_at_or_below(inside, &one.path);
        let holder = btrfs.subvolumes.iter().filter(holds).max_by_key(|one| one.path.len());
        let path = holder.map(|one| one.path.clone()).unwrap_or_default();
        if order.wants(&path) && !live.iter().any(|(known, _)| *known == path) {
            live.push((path, format!("it holds the swap file {}", file.path)));
        }
    }
    live
}

/// The mounted top of a btrfs with our directory in it; both go away with the value.
#[derive(Debug)]
pub(crate) struct Made {
    order: Order,
    top: Option<Mount>,
    host: String,
    /// The number of each subvolume's snapshot; `None` for one that is read live.
    snapshots: BTreeMap<String, Option<u32>>,
    /// Subvolumes that are read live because no snapshot could be made, and why.
    pub failed: Vec<(String, String)>,
}

/// The names of the subvolumes of the filesystem whose top is mounted here.
fn list(sys: &dyn Sys, top: &Path) -> Result<Vec<String>> {
    let cmd = Cmd::new("btrfs").args(["subvolume", "list"]).arg(top.to_string_lossy());
    names(&sys.run(&cmd)?.text())
}

/// Paths from `btrfs subvolume list`: `ID 257 gen 9 top level 5 path a/b c`.
fn names(text: &str) -> Result<Vec<String>> {
    let path = |line: &str| {
        let (_, path) = line.split_once(" path ").filter(|(start, _)| start.starts_with("ID "))?;
        Some(path.to_owned())
    };
    let malformed = |line: &str| Error::Answer {
        what: "btrfs subvolume list".into(),
        detail: format!("no path in the line '{line}'"),
    };
    text.lines().map(|line| path(line).ok_or_else(|| malformed(line))).collect()
}

/// Mounts the top of the filesystem.
fn mount_top(device: &str, number: usize) -> Result<Mount> {
    let place = Path::new(TOPS).join(number.to_string());
    sys::fs::create_dir_private(&place)?;
    Mount::new(device, &place, "btrfs", MountFlags::NOATIME, "subvolid=5")
}

/// Does something to the content of a directory, and gives it its time back.
fn quietly<T>(dir: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = std::fs::symlink_metadata(dir).map_err(Error::io("look at", dir))?;
    let done = work()?;
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps {
        last_access: time(before.atime(), before.atime_nsec()),
        last_modification: time(before.mtime(), before.mtime_nsec()),
    };
    rustix::fs::utimensat(CWD, dir, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|error| Error::io("set the time of", dir)(error.into()))?;
    Ok(done)
}

impl Made {
    /// Mounts the top and makes the directory for the snapshots.
    pub fn prepare(sys: &dyn Sys, order: Order, number: usize, host: &str) -> Result<Self> {
        let top = mount_top(&order.path, number)?;
        let dir = top.target().join(mark::SNAPSHOTS);
        if std::fs::symlink_metadata(&dir).is_ok() {
            clear(sys, top.target(), host)?;
        }
        let made = Self {
            order,
            top: Some(top),
            host: host.to_owned(),
            snapshots: BTreeMap::new(),
            failed: Vec::new(),
        };
        quietly(made.top()?, || {
            std::fs::DirBuilder::new()
                .mode(0o700)
                .create(&dir)
                .map_err(Error::io("create the directory", &dir))?;
            rustix::fs::lsetxattr(&dir, mark::ATTRIBUTE, host.as_bytes(), XattrFlags::CREATE)
                .map_err(|error| Error::io("mark the directory", &dir)(error.into()))
        })?;
        Ok(made)
    }

    fn top(&self) -> Result<&Path> {
        self.top.as_ref().map(Mount::target).ok_or_else(|| Error::Answer {
            what: self.order.path.clone(),
            detail: "its top is not mounted".into(),
        })
    }

    /// Makes the snapshots. `strict`: one that cannot be made is an error.
    pub fn make(&mut self, sys: &dyn Sys, cancel: &Cancel, strict: bool) -> Result<()> {
        for _ in 0..PASSES {
            let mut paths = vec![String::new()];
            paths.extend(list(sys, self.top()?)?);
            paths.sort_unstable();
            for path in paths {
                if self.snapshots.contains_key(&path) || !self.order.wants(&path) {
                    continue;
                }
                cancel.check()?;
                self.one(sys, path, strict)?;
            }
        }
        Ok(())
    }

    fn one(&mut self, sys: &dyn Sys, path: String, strict: bool) -> Result<()> {
        if self.order.live.iter().any(|(live, _)| *live == path) {
            self.snapshots.insert(path, None);
            return Ok(());
        }
        let number = u32::try_from(self.snapshots.len()).unwrap_or(u32::MAX);
        let from = self.top()?.join(&path);
        let to = self.dir()?.join(number.to_string());
        let cmd = Cmd::new("btrfs").args(["subvolume", "snapshot", "-r"]);
        match sys.run(&cmd.arg(from.to_string_lossy()).arg(to.to_string_lossy())) {
            Ok(_) => _ = self.snapshots.insert(path, Some(number)),
            // Deleted since it was listed: it is no part of the machine any more.
            Err(_) if !from.exists() => {}
            Err(error) if strict => return Err(error),
            Err(error) => {
                self.failed.push((path.clone(), error.to_string()));
                self.snapshots.insert(path, None);
            }
        }
        Ok(())
    }

    fn dir(&self) -> Result<PathBuf> {
        Ok(self.top()?.join(mark::SNAPSHOTS))
    }

    /// Whether this is the filesystem on that device.
    pub fn is_on(&self, device: &NodeId) -> bool {
        self.order.device == *device
    }

    /// Whether it shows this place.
    pub fn knows(&self, at: &str) -> bool {
        self.order.places.iter().any(|(one, _)| one == at)
    }

    /// Paths of the machine that are no part of a backup.
    pub fn own(&self) -> impl Iterator<Item = PathBuf> {
        self.order.own()
    }

    /// Whether the root of a place is read from a snapshot.
    pub fn has(&self, root: &str) -> bool {
        matches!(self.snapshots.get(root.trim_start_matches('/')), Some(Some(_)))
    }

    /// Subvolumes that are read live, and why.
    pub fn live(&self) -> impl Iterator<Item = &(String, String)> {
        self.order.live.iter().chain(&self.failed)
    }

    /// Shows a place at `target`. Gives the paths of the machine at which nested subvolumes were shown.
    pub fn show(&self, at: &str, target: &Path, mounts: &mut Mounts) -> Result<Vec<PathBuf>> {
        let known = self.order.places.iter().find(|(one, _)| one == at);
        let Some(place) = known else { return Ok(Vec::new()) };
        let mut inner = Vec::new();
        for (path, number) in &self.snapshots {
            let Some(shown) = self.order.shown(place, path) else { continue };
            let from = match number {
                Some(number) => self.dir()?.join(number.to_string()),
                None => self.top()?.join(path),
            };
            let rest = below(&place.1, path).unwrap_or_default();
            let to = if rest.is_empty() { target.to_owned() } else { target.join(rest) };
            // Made after the one around it: not of this moment. Or deleted before: its directory is gone.
            if !std::fs::symlink_metadata(&to).is_ok_and(|found| found.is_dir()) {
                continue;
            }
            mounts.push(Mount::bind_one(&from, &to)?);
            if !rest.is_empty() {
                inner.push(PathBuf::from(shown));
            }
        }
        Ok(inner)
    }

    /// Removes the snapshots, the directory and the mount.
    pub fn remove(&mut self, sys: &dyn Sys) -> Result<()> {
        let Some(top) = self.top.take() else { return Ok(()) };
        let cleared = clear(sys, top.target(), &self.host);
        let unmounted = top.unmount();
        cleared.and(unmounted)
    }
}

/// Removes our directory with the snapshots in it, where it has our mark. Anything else in it stays, and with it the directory.
fn clear(sys: &dyn Sys, top: &Path, host: &str) -> Result<()> {
    let dir = top.join(mark::SNAPSHOTS);
    let Ok(found) = std::fs::symlink_metadata(&dir) else { return Ok(()) };
    if !found.is_dir() || !mark::is_marked(&dir, host) {
        let detail = "it does not carry the mark of this machine's snapshots, and is left alone".to_owned();
        return Err(Error::Answer { what: dir.display().to_string(), detail });
    }
    for name in sys.list(&dir)? {
        if name.bytes().all(|byte| byte.is_ascii_digit()) {
            let path = dir.join(name);
            sys.run(&Cmd::new("btrfs").args(["subvolume", "delete"]).arg(path.to_string_lossy()))?;
        }
    }
    quietly(top, || std::fs::remove_dir(&dir).map_err(Error::io("remove", &dir)))
}

/// Removes what a killed run has left on the filesystem of this device.
pub(crate) fn clear_device(sys: &dyn Sys, device: &str, number: usize, host: &str) -> Result<()> {
    let top = mount_top(device, number)?;
    let cleared = clear(sys, top.target(), host);
    cleared.and(top.unmount())
}

#[cfg(test)]
mod tests;
