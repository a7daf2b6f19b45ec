//! Snapshots of logical volumes: how large, whether there is room, `lvcreate`, `lvs`, `lvremove`. LVM itself brings the mounted filesystem
//! into a consistent state for the moment at which a snapshot is made (it suspends the volume, and the kernel freezes the filesystem).

use std::time::Duration;

use layout::Bytes;
use serde::Deserialize;
use sys::{Cmd, Error, Result, Sys, SysExt};

use crate::mark;
use crate::plan::{Seat, Way};

const MIB: u64 = 1 << 20;
/// What a snapshot of a volume gets for what others change during the backup: a fifth of the volume, at least this much...
const WANTED: u64 = 256 * MIB;
/// ...and where the group has less, down to a twentieth of the volume, at least this much.
const LEAST: u64 = 64 * MIB;
/// In percent: a thin pool that is fuller than this, in its data or its metadata, gets no snapshot.
const POOL_FULL: f64 = 85.0;
/// In percent: a pool or a snapshot that comes to this while the backup runs ends it.
const NEARLY: f64 = 96.0;
/// How often a removal is tried: udev may still look at the device.
const TRIES: u32 = 5;

/// A snapshot to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The volume group.
    pub group: String,
    /// The volume.
    pub volume: String,
    /// Its size.
    pub size: Bytes,
    /// What the run itself writes to it meanwhile, at most.
    pub written: Bytes,
    /// Its thin pool, where it is a thin volume.
    pub pool: Option<String>,
    /// Size of the snapshot in extents of the group; 0 for a thin one.
    pub extents: u64,
}

/// A snapshot that is there.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub group: String,
    pub name: String,
    pub pool: Option<String>,
    /// For whom it was made.
    pub at: String,
}

impl Made {
    /// Its device.
    pub fn device(&self) -> String {
        format!("/dev/{}/{}", self.group, self.name)
    }
}

/// The answer of a reporting command (`--reportformat json`).
#[derive(Deserialize)]
struct Answer<R> {
    report: Vec<R>,
}

#[derive(Deserialize)]
struct Groups {
    vg: Vec<Group>,
}

/// A line of `vgs`.
#[derive(Clone, Debug, Deserialize)]
struct Group {
    vg_name: String,
    vg_extent_size: String,
    vg_free_count: String,
}

#[derive(Deserialize)]
struct Volumes {
    lv: Vec<Volume>,
}

/// A line of `lvs`.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Volume {
    vg_name: String,
    lv_name: String,
    lv_attr: String,
    lv_tags: String,
    lv_size: String,
    origin: String,
    data_percent: String,
    metadata_percent: String,
}

impl Volume {
    /// Whether it is a snapshot with the marks of this machine.
    pub fn is_ours(&self, host: &str) -> bool {
        let tags: Vec<&str> = self.lv_tags.split(',').collect();
        self.lv_name.starts_with(mark::NAME)
            && !self.origin.is_empty()
            && tags.contains(&mark::TAG)
            && tags.contains(&host)
    }

    fn percent(&self) -> f64 {
        self.data_percent.parse().unwrap_or(0.0)
    }

    fn bytes(&self) -> u64 {
        self.lv_size.parse().unwrap_or(0)
    }

    /// What is wrong with it, where it carries a snapshot of ours.
    fn trouble(&self) -> Option<String> {
        let state = self.lv_attr.chars().nth(4);
        let health = self.lv_attr.chars().nth(8);
        let metadata: f64 = self.metadata_percent.parse().unwrap_or(0.0);
        let (group, name) = (&self.vg_name, &self.lv_name);
        if matches!(state, Some('I' | 'S')) {
            return Some(format!(
                "the snapshot {group}/{name} ran full, and what is read from it is nothing any more"
            ));
        }
        if matches!(health, Some('D' | 'M' | 'F')) {
            return Some(format!("the thin pool {group}/{name} ran full"));
        }
        let full = self.percent().max(metadata);
        (full >= NEARLY).then(|| format!("{group}/{name} is {full:.0} % full"))
    }
}

fn groups(sys: &dyn Sys) -> Result<Vec<Group>> {
    let ask = Cmd::new("vgs").args([
        "--reportformat",
        "json",
        "--units",
        "b",
        "--nosuffix",
        "-o",
        "vg_name,vg_extent_size,vg_free_count",
    ]);
    let answer: Answer<Groups> = sys.run_json(&ask)?;
    Ok(answer.report.into_iter().flat_map(|report| report.vg).collect())
}

/// What `lvs` says of these volumes (`GROUP` or `GROUP/VOLUME`).
pub(crate) fn volumes(sys: &dyn Sys, names: &[String]) -> Result<Vec<Volume>> {
    let ask = Cmd::new("lvs").args([
        "--reportformat",
        "json",
        "--units",
        "b",
        "--nosuffix",
        "-o",
        "vg_name,lv_name,lv_attr,lv_tags,lv_size,origin,data_percent,metadata_percent",
    ]);
    let answer: Answer<Volumes> = sys.run_json(&ask.args(names.iter().cloned()))?;
    Ok(answer.report.into_iter().flat_map(|report| report.lv).collect())
}

/// Gives each snapshot of the plan its size, and takes those out for which there is no room.
pub(crate) fn room(sys: &dyn Sys, seats: &mut [Seat]) {
    let mut names: Vec<String> = orders(seats).map(|order| order.group.clone()).collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        return;
    }
    let asked = match sys.which("lvcreate") {
        None => Err("LVM's program lvcreate is not installed".to_owned()),
        Some(_) => groups(sys)
            .and_then(|groups| Ok((groups, volumes(sys, &names)?)))
            .map_err(|error| format!("LVM did not tell its free space: {error}")),
    };
    match asked {
        Err(why) => refuse(seats, &why, |_| true),
        Ok((groups, volumes)) => {
            for name in &names {
                classic(seats, name, &groups);
                thin(seats, name, &volumes);
            }
        }
    }
}

fn orders(seats: &[Seat]) -> impl Iterator<Item = &Order> {
    seats.iter().filter_map(|seat| match &seat.way {
        Way::Volume(order) => Some(order),
        _ => None,
    })
}

/// Reads the filesystems of these snapshots live.
fn refuse(seats: &mut [Seat], why: &str, which: impl Fn(&Order) -> bool) {
    for seat in seats {
        if let Way::Volume(order) = &seat.way
            && which(order)
        {
            seat.way = Way::Live { why: why.to_owned(), could: true };
        }
    }
}

/// Snapshots that need free extents of the group.
fn classic(seats: &mut [Seat], name: &str, groups: &[Group]) {
    let is_one = |order: &Order| order.group == name && order.pool.is_none();
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    let group = groups.iter().find(|group| group.vg_name == name);
    let (extent, free) =
        group.map_or((0, 0), |group| (number(&group.vg_extent_size), number(&group.vg_free_count)));
    if extent == 0 {
        return refuse(seats, &format!("LVM does not know the group {name}"), is_one);
    }
    let wishes: Vec<(u64, u64)> =
        orders(seats).filter(|order| is_one(order)).map(|order| wish(order, extent)).collect();
    let mut shares = share(free, &wishes).into_iter();
    for seat in seats {
        let Way::Volume(order) = &mut seat.way else { continue };
        if !is_one(order) {
            continue;
        }
        match shares.next().flatten() {
            Some(extents) => order.extents = extents,
            None => {
                let least = wish(order, extent).1;
                let mut why = format!(
                    "the volume group {name} has {} free, and a snapshot needs {} at least",
                    Bytes(free.saturating_mul(extent)),
                    Bytes(least.saturating_mul(extent))
                );
                if order.written.get() > 0 {
                    why.push_str(", for the backup is written there too");
                }
                seat.way = Way::Live { why, could: true };
            }
        }
    }
}

/// How many extents (their size in bytes) a snapshot should get, and how many it must get.
fn wish(order: &Order, extent: u64) -> (u64, u64) {
    let (size, written) = (order.size.get(), order.written.get());
    // All of it may change, and every changed piece is noted.
    let whole = size / extent + size / extent / 100 + 2;
    let extents = |others: u64| others.saturating_add(written).div_ceil(extent).clamp(1, whole);
    (extents((size / 5).max(WANTED)), extents((size / 20).max(LEAST)))
}

/// Divides free extents: everybody what he wants, or his least and a share of the rest; who needs most goes without where not even
/// that fits.
fn share(free: u64, wishes: &[(u64, u64)]) -> Vec<Option<u64>> {
    let mut given: Vec<Option<u64>> = wishes.iter().map(|(_, least)| Some(*least)).collect();
    loop {
        let least: u64 = given.iter().flatten().sum();
        if least <= free {
            let wanted: u64 =
                wishes.iter().zip(&given).filter(|(_, one)| one.is_some()).map(|((w, l), _)| w - l).sum();
            let rest = (free - least).min(wanted);
            for (one, (want, least)) in given.iter_mut().zip(wishes) {
                let more = (want - least).saturating_mul(rest).checked_div(wanted).unwrap_or(0);
                *one = one.map(|least| least + more);
            }
            return given;
        }
        let largest = (0..given.len()).max_by_key(|i| given[*i]);
        match largest {
            Some(i) => given[i] = None,
            None => return given,
        }
    }
}

/// Snapshots in thin pools: they take no room by themselves, but each change after them does.
fn thin(seats: &mut [Seat], name: &str, volumes: &[Volume]) {
    let mut pools: Vec<String> =
        orders(seats).filter(|order| order.group == name).filter_map(|order| order.pool.clone()).collect();
    pools.sort();
    pools.dedup();
    for pool in pools {
        let is_one = |order: &Order| order.group == name && order.pool.as_ref() == Some(&pool);
        let find = |wanted: &str| volumes.iter().find(|one| one.vg_name == name && one.lv_name == wanted);
        let held: u64 = orders(seats)
            .filter(|order| is_one(order))
            .filter_map(|order| find(&order.volume))
            .map(mapped)
            .sum();
        let written: u64 = orders(seats).filter(|order| is_one(order)).map(|order| order.written.get()).sum();
        let why = match find(&pool) {
            None => Some(format!("LVM does not know the thin pool {name}/{pool}")),
            Some(found) => {
                let free = found.bytes().saturating_sub(mapped(found));
                let metadata: f64 = found.metadata_percent.parse().unwrap_or(100.0);
                let full = found.percent().max(metadata);
                if full > POOL_FULL {
                    Some(format!("the thin pool {name}/{pool} is {full:.0} % full"))
                } else if free.saturating_sub(written) < held / 4 {
                    let own = match written {
                        0 => String::new(),
                        _ => format!(
                            " beside the backup, which is written there too (up to {})",
                            Bytes(written)
                        ),
                    };
                    Some(format!(
                        "the thin pool {name}/{pool} has {} free, less than a quarter of what its volumes hold ({}){own}",
                        Bytes(free),
                        Bytes(held)
                    ))
                } else {
                    None
                }
            }
        };
        if let Some(why) = why {
            refuse(seats, &why, is_one);
        }
    }
}

/// Bytes of a thin volume or a pool that are in use.
fn mapped(volume: &Volume) -> u64 {
    // Hundredths of a percent are all that LVM tells.
    let hundredths = (volume.percent() * 100.0) as u64;
    volume.bytes() / 10_000 * hundredths
}

/// Makes the snapshot. A thin one is not active yet: after a power cut the machine must not find it.
pub(crate) fn make(sys: &dyn Sys, order: &Order, at: &str, name: String, host: &str) -> Result<Made> {
    let mut cmd = Cmd::new("lvcreate").args(["--yes", "--snapshot", "--name", name.as_str()]);
    // A daemon that LVM started for it would keep our mount namespace, and with it the mounted snapshot, after a kill.
    cmd = cmd.args(["--ignoremonitoring", "--autobackup", "n", "--addtag", mark::TAG, "--addtag", host]);
    cmd = match order.pool {
        Some(_) => cmd.args(["--setactivationskip", "y"]),
        None => cmd.args(["--extents".to_owned(), order.extents.to_string()]),
    };
    sys.run(&cmd.arg(format!("{}/{}", order.group, order.volume)))?;
    Ok(Made { group: order.group.clone(), name, pool: order.pool.clone(), at: at.to_owned() })
}

/// Makes its device appear.
pub(crate) fn activate(sys: &dyn Sys, made: &Made) -> Result<()> {
    if made.pool.is_some() {
        let name = format!("{}/{}", made.group, made.name);
        sys.run(
            &Cmd::new("lvchange")
                .args(["--ignoremonitoring", "--ignoreactivationskip", "--activate", "y"])
                .arg(name),
        )?;
    }
    Ok(())
}

/// What is wrong with these snapshots or their pools.
pub(crate) fn trouble(sys: &dyn Sys, all: &[Made]) -> Option<String> {
    let mut names: Vec<String> = all.iter().map(|made| format!("{}/{}", made.group, made.name)).collect();
    let pools = all.iter().filter_map(|made| Some(format!("{}/{}", made.group, made.pool.as_ref()?)));
    names.extend(pools);
    names.sort();
    names.dedup();
    if names.is_empty() {
        return None;
    }
    match volumes(sys, &names) {
        // A thin volume is as full as its filesystem, which says nothing.
        Ok(found) => found
            .iter()
            .filter(|one| {
                !all.iter()
                    .any(|made| made.pool.is_some() && made.group == one.vg_name && made.name == one.lv_name)
            })
            .find_map(Volume::trouble),
        Err(error) => Some(format!("LVM did not tell the state of the snapshots: {error}")),
    }
}

/// LVM's copy of the current metadata (/etc/lvm/backup) is written anew, for that of before would not fit the pool. Its history
/// (/etc/lvm/archive) is spared: two entries a day with volumes that nobody knows would push out those that somebody may need.
const NO_ARCHIVE: &str = "backup{archive=0}";

/// Removes a snapshot, if it has our marks.
pub(crate) fn remove(sys: &dyn Sys, group: &str, name: &str, host: &str) -> Result<()> {
    let full = format!("{group}/{name}");
    let found = volumes(sys, std::slice::from_ref(&full))?;
    if !found.iter().any(|one| one.vg_name == group && one.lv_name == name && one.is_ours(host)) {
        let detail = "it does not carry the marks of this machine's snapshots, and is left alone".to_owned();
        return Err(Error::Answer { what: full, detail });
    }
    let mut tries = 0;
    loop {
        tries += 1;
        match sys.run(&Cmd::new("lvremove").args(["--yes", "--config", NO_ARCHIVE, full.as_str()])) {
            Ok(_) => return Ok(()),
            Err(error) if tries == TRIES => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_secs(1)),
        }
    }
}

#[cfg(test)]
mod tests;
