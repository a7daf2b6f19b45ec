//! Snapshots that are there: shown, watched, and removed when the value goes away, however that happens. What changes storage runs
//! to its end even when a signal came: a program that is stopped in the midst of it could leave a volume suspended.

use std::path::{Path, PathBuf};

use rustix::mount::MountFlags;
use sys::mount::{Mount, Mounts};
use sys::{Cancel, Result};

use crate::plan::{Plan, Seat, Way};
use crate::watch::Watch;
use crate::{btrfs, lvm, mark};

/// Snapshots, and what is read live beside them.
#[derive(Debug)]
pub struct Taken {
    seats: Vec<Seat>,
    volumes: Vec<lvm::Made>,
    filesystems: Vec<btrfs::Made>,
    host: String,
    /// Stops at no signal.
    sys: sys::Real,
    watch: Option<Watch>,
    /// Paths of the machine at which nested subvolumes were shown.
    inner: Vec<PathBuf>,
    strict: bool,
}

impl Plan {
    /// Makes the snapshots, one right after another. `id` makes their names. `strict`: one that cannot be made is an error; otherwise
    /// its filesystem is read live. When one runs full, `cancel` is raised.
    ///
    /// # Errors
    /// `cancel` is raised, or, where `strict`, a snapshot cannot be made. Those that were made are removed again.
    pub fn take(self, id: &str, strict: bool, cancel: &Cancel) -> Result<Taken> {
        let mut taken = Taken {
            seats: self.seats,
            volumes: Vec::new(),
            filesystems: Vec::new(),
            host: self.host,
            sys: sys::Real::default(),
            watch: None,
            inner: Vec::new(),
            strict,
        };
        // What takes time comes before the moment.
        for (number, order) in self.filesystems.into_iter().enumerate() {
            cancel.check()?;
            let device = order.device.clone();
            match btrfs::Made::prepare(&taken.sys, order, number, &taken.host) {
                Ok(made) => taken.filesystems.push(made),
                Err(error) if strict => return Err(error),
                Err(error) => {
                    let of = |seat: &Seat| seat.way == Way::Subvolumes && seat.place.device == device;
                    taken.demote(&error.to_string(), of);
                }
            }
        }
        let short = id.get(..12).unwrap_or(id);
        for number in 0..taken.seats.len() {
            let Some(Seat { place, way: Way::Volume(order) }) = taken.seats.get(number).cloned() else {
                continue;
            };
            cancel.check()?;
            let name = format!("{}{short}_{number}", mark::NAME);
            match lvm::make(&taken.sys, &order, &place.at, name, &taken.host) {
                Ok(made) => taken.volumes.push(made),
                Err(error) if strict => return Err(error),
                Err(error) => taken.demote(&error.to_string(), |seat| seat.place == place),
            }
        }
        let sys = taken.sys.clone();
        for made in &mut taken.filesystems {
            made.make(&sys, cancel, strict)?;
        }
        taken.settle_subvolumes();
        for made in taken.volumes.clone() {
            if let Err(error) = lvm::activate(&taken.sys, &made) {
                if strict {
                    return Err(error);
                }
                taken.demote(&error.to_string(), |seat| seat.place.at == made.at);
            }
        }
        if !taken.volumes.is_empty() {
            taken.watch = Some(Watch::start(taken.volumes.clone(), cancel.clone()));
        }
        Ok(taken)
    }
}

impl Taken {
    /// Reads these live.
    fn demote(&mut self, why: &str, which: impl Fn(&Seat) -> bool) {
        for seat in self.seats.iter_mut().filter(|seat| which(seat)) {
            seat.way = Way::Live { why: why.to_owned(), could: true };
        }
    }

    /// A place whose own subvolume has no snapshot is read live, what is nested in it aside.
    fn settle_subvolumes(&mut self) {
        for seat in self.seats.iter_mut().filter(|seat| seat.way == Way::Subvolumes) {
            let Some(made) = self.filesystems.iter().find(|made| made.is_on(&seat.place.device)) else {
                continue;
            };
            let root = seat.place.root.trim_start_matches('/');
            if !made.has(root) {
                let why = made.live().find(|(path, _)| path == root).map(|(_, why)| why.clone());
                let why = why.unwrap_or_else(|| "it has no snapshot".to_owned());
                seat.way = Way::Live { why, could: true };
            }
        }
    }

    /// Whether there is no snapshot.
    pub fn is_empty(&self) -> bool {
        self.volumes.is_empty() && self.filesystems.is_empty()
    }

    /// Each filesystem with what it is read from.
    pub fn seats(&self) -> &[Seat] {
        &self.seats
    }

    /// Nested subvolumes that are read live although what is around them is not, and why.
    pub fn live_subvolumes(&self) -> impl Iterator<Item = &(String, String)> {
        self.filesystems.iter().flat_map(btrfs::Made::live)
    }

    /// Paths of the machine that belong to the snapshots, and are no part of a backup.
    pub fn own(&self) -> Vec<PathBuf> {
        self.filesystems.iter().flat_map(btrfs::Made::own).collect()
    }

    /// Paths of the machine at which nested subvolumes are shown: mounts that belong to the filesystem around them.
    pub fn inner(&self) -> &[PathBuf] {
        &self.inner
    }

    /// Shows the filesystem of this place at the directory `target`, read-only. False where it is read live, and nothing was shown.
    ///
    /// # Errors
    /// Where snapshots are asked for strictly: it cannot be mounted. Otherwise such a filesystem is read live.
    pub fn show(&mut self, at: &str, target: &Path, mounts: &mut Mounts) -> Result<bool> {
        let Some(seat) = self.seats.iter().find(|seat| seat.place.at == at) else { return Ok(false) };
        let knows = |made: &&btrfs::Made| made.is_on(&seat.place.device) && made.knows(at);
        if let Some(made) = self.filesystems.iter().find(knows) {
            // A live root too: what is nested in it may have snapshots.
            self.inner.extend(made.show(at, target, mounts)?);
            return Ok(true);
        }
        let Way::Volume(_) = &seat.way else { return Ok(false) };
        let Some(made) = self.volumes.iter().find(|made| made.at == at) else { return Ok(false) };
        // The kernel refuses a second XFS with the same UUID.
        let options = if seat.place.fs_type == "xfs" { "nouuid" } else { "" };
        let flags = MountFlags::RDONLY | MountFlags::NOATIME;
        match Mount::new(&made.device(), target, &seat.place.fs_type, flags, options) {
            Ok(mount) => mounts.push(mount),
            Err(error) if self.strict => return Err(error),
            Err(error) => {
                let at = at.to_owned();
                self.demote(&error.to_string(), |seat| seat.place.at == at);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What has gone wrong with a snapshot so far: what was read of it since then is worth nothing. To be asked when everything has
    /// been read.
    pub fn trouble(&self) -> Option<String> {
        let seen = self.watch.as_ref().and_then(Watch::trouble);
        seen.or_else(|| lvm::trouble(&self.sys, &self.volumes))
    }

    /// Removes all snapshots. Gives a sentence for each that stays.
    pub fn remove(mut self) -> Vec<String> {
        self.clear()
    }

    fn clear(&mut self) -> Vec<String> {
        self.watch = None;
        let mut left = Vec::new();
        while let Some(made) = self.volumes.pop() {
            if let Err(error) = lvm::remove(&self.sys, &made.group, &made.name, &self.host) {
                left.push(format!("the snapshot {}/{} could not be removed: {error}", made.group, made.name));
            }
        }
        while let Some(mut made) = self.filesystems.pop() {
            if let Err(error) = made.remove(&self.sys) {
                left.push(format!("snapshots of a btrfs could not be removed: {error}"));
            }
        }
        left
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        for left in self.clear() {
            tracing::error!("{left}");
        }
    }
}
