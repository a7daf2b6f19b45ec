//! Coverage: for everything that is mounted, swapped on or stored on the disks, whether a backup holds it, leaves
//! it out by a named rule, or cannot hold it. Computed from what is there, never from what is configured; decides
//! nothing silently and writes nothing.

use layout::{Bytes, Device, Layout, NodeId};
use sys::Sys;

use crate::Result;
use crate::alone::Names;
use crate::btrfs::{self, views::Top};
use crate::mounts::{self, MountEntry};
use crate::rules::is_below;

mod disks;
mod mounted;

/// The rule of what is left out because its owner named it.
pub(crate) const WAIVED: &str = "waived by COVERAGE_WAIVE";
/// The rule of what is not asked for.
pub(crate) const ONLY: &str = "BACKUP_PROG_INCLUDE names nothing of it (BACKUP_ONLY_INCLUDE)";
/// The rule of what comes back empty.
pub(crate) const NOT_SAVED: &str = "its files are not saved (EXCLUDE_BACKUP)";

/// Rules of the configuration that leave something out. Only two of them are a permission to lose files on a disk
/// that is made again: `exclude_backup` and `waive`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules<'a> {
    /// Mount points whose files are not archived (`EXCLUDE_BACKUP`), with or without `fs:`. The filesystem comes
    /// back empty: an explicit yes to the loss of its files.
    pub exclude_backup: &'a [String],
    /// Mount points that are neither archived nor made again (`EXCLUDE_MOUNTPOINTS`), with or without `fs:`. No
    /// permission to lose them.
    pub exclude_mountpoints: &'a [String],
    /// Directories below which filesystems are left out (`AUTOEXCLUDE_PATH`).
    pub autoexclude_path: &'a [String],
    /// Devices or mount points that may be lost (`COVERAGE_WAIVE`).
    pub waive: &'a [String],
    /// What is left alone (`EXCLUDE_COMPONENTS`): `/dev/sdb`, `disk:/dev/sdb`, `/data`, `fs:/data`, a volume group
    /// (`/dev/vg`), an id of the layout. A name that fits nothing is an error.
    pub exclude_components: &'a [String],
    /// What is not made again although its files are saved (`EXCLUDE_RECREATE`), named in the same ways.
    pub exclude_recreate: &'a [String],
    /// Volume groups that are left alone (`EXCLUDE_VG`): `vg00` or `/dev/vg00`.
    pub exclude_vg: &'a [String],
    /// Where it is not empty, every other volume group is left alone (`ONLY_INCLUDE_VG`).
    pub only_include_vg: &'a [String],
    /// md arrays that are left alone (`EXCLUDE_MD`): `md0`, `/dev/md0`, `/dev/md/name`.
    pub exclude_md: &'a [String],
    /// Leave disks alone that are reached over several paths (`AUTOEXCLUDE_MULTIPATH`).
    pub autoexclude_multipath: bool,
    /// Mount points at which filesystems are left out (`AUTOEXCLUDE_USB_PATH`).
    pub autoexclude_usb_path: &'a [String],
    /// Where it is set, only these files and directories are archived, each with what lies below it on the same mount
    /// (`BACKUP_ONLY_INCLUDE` with `BACKUP_PROG_INCLUDE`): an explicit yes to the loss of everything else.
    pub only_include: Option<&'a [String]>,
    /// Devices that are saved block by block (`BLOCKCLONE_SOURCE_DEV`).
    pub blockclone: &'a [String],
    /// Leave disks alone that nothing mounted or swapped on lies on (`AUTOEXCLUDE_DISKS`).
    pub autoexclude_disks: bool,
}

/// What happens to one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is in the backup and comes back.
    Captured,
    /// It comes back with a part of its files only.
    Partly {
        /// Which part: "only /etc, /srv".
        what: String,
    },
    /// Its files are in the backup; what carries them is left as it is by a recovery.
    Kept {
        /// By which rule.
        rule: String,
    },
    /// A swap file: it comes back with its size, owner, UUID and label. What it holds is worth nothing after a boot and
    /// is not in the backup.
    MadeAgain,
    /// It is saved block by block and comes back so.
    Cloned,
    /// It is left out on purpose.
    Excluded {
        /// By which rule.
        rule: String,
    },
    /// It cannot be backed up, and nobody said that it may be lost. An error.
    Unsupported {
        /// Why, and what to do.
        why: String,
    },
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoverageRow {
    /// Mount point or device path.
    pub what: String,
    /// The layout's device behind it.
    pub device: Option<NodeId>,
    /// Type of the filesystem, or what else it is; may be empty.
    pub fs_type: String,
    /// Bytes in use.
    pub bytes: Option<Bytes>,
    /// Inodes in use.
    pub files: Option<u64>,
    /// What happens to it.
    pub decision: Decision,
}

/// What a recovery does with a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DiskState {
    /// It is erased and made again.
    Recreate,
    /// It must be there, and is never written.
    Preserve,
    /// Nobody asks for it; it is not touched.
    Ignore,
}

impl DiskState {
    /// One word: "recreate".
    pub fn word(self) -> &'static str {
        match self {
            Self::Recreate => "recreate",
            Self::Preserve => "preserve",
            Self::Ignore => "ignore",
        }
    }
}

/// A disk and what a recovery does with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskRow {
    /// Which.
    pub disk: NodeId,
    /// Its kernel name now, for people.
    pub path: String,
    /// What happens to it.
    pub state: DiskState,
    /// Why, for people.
    pub why: String,
}

/// The whole answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Mounts, then swap, then what else lies on the disks.
    pub rows: Vec<CoverageRow>,
    /// Whole disks that a recovery makes again; all others are left alone.
    pub recreate: Vec<NodeId>,
    /// Every whole disk, with what a recovery does with it.
    pub disks: Vec<DiskRow>,
    /// Mount points to archive, `/` first, parents first.
    pub mounts: Vec<String>,
    /// Swap files: the archive holds no content of them.
    pub hollow: Vec<String>,
    /// Paths of the machine that the archive leaves out completely: subvolumes of a btrfs that another mount shows
    /// as well, and snapshots.
    pub skip: Vec<String>,
    /// Each btrfs of which some part is shown by no captured mount, and where the archive has that part.
    pub tops: Vec<Top>,
    /// Subvolumes that do not come back: the btrfs and the path from its top.
    pub dropped: Vec<(NodeId, String)>,
}

impl Coverage {
    /// What stands in the way of a backup.
    pub fn unsupported(&self) -> impl Iterator<Item = &CoverageRow> {
        self.rows.iter().filter(|row| matches!(row.decision, Decision::Unsupported { .. }))
    }

    /// The disks of this state.
    pub fn in_state(&self, state: DiskState) -> impl Iterator<Item = &NodeId> {
        self.disks.iter().filter(move |row| row.state == state).map(|row| &row.disk)
    }

    /// What a recovery does with each disk, for people; ends in a newline.
    pub fn disk_table(&self) -> String {
        let width = self.disks.iter().map(|row| row.path.chars().count()).max().unwrap_or(0);
        let mut out = "Disks at a recovery:\n".to_owned();
        for DiskRow { path, state, why, .. } in &self.disks {
            out.push_str(&format!("  {path:<width$}  {:<8}  {why}\n", state.word()));
        }
        out
    }

    /// Says of a disk that a recovery leaves alone that the backup lies on it.
    pub fn holds_backup(&mut self, disk: &NodeId) {
        const HOLDS: &str = "it holds the backup";
        for row in self.disks.iter_mut().filter(|row| row.disk == *disk) {
            match row.state {
                DiskState::Recreate => return,
                DiskState::Ignore => row.why = format!("not touched: {HOLDS}"),
                DiskState::Preserve => row.why = format!("{}; {HOLDS}", row.why),
            }
        }
        for row in self.rows.iter_mut().filter(|row| row.device.as_ref() == Some(disk)) {
            if let Decision::Excluded { rule } = &mut row.decision
                && rule.starts_with(disks::NOTHING)
            {
                *rule = format!("{HOLDS}: left untouched");
            }
        }
    }

    /// An aligned table for people, ending in a newline.
    pub fn table(&self) -> String {
        let mut lines = vec![["WHAT", "TYPE", "USED", "FILES", "DECISION"].map(str::to_owned)];
        for row in &self.rows {
            let decision = match &row.decision {
                Decision::Captured => "captured".to_owned(),
                Decision::Partly { what } => format!("NOT WHOLLY captured: {what}"),
                Decision::Kept { rule } => format!("captured, but not recreated: {rule}"),
                Decision::MadeAgain => "made again, without what it holds".to_owned(),
                Decision::Cloned => "captured block by block".to_owned(),
                Decision::Excluded { rule } => format!("excluded: {rule}"),
                Decision::Unsupported { why } => format!("UNSUPPORTED: {why}"),
            };
            lines.push([
                row.what.clone(),
                row.fs_type.clone(),
                row.bytes.map(|bytes| bytes.to_string()).unwrap_or_default(),
                row.files.map(|files| files.to_string()).unwrap_or_default(),
                decision,
            ]);
        }
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths = [width(0), width(1), width(2), width(3)];
        let mut out = String::new();
        for [what, kind, used, files, decision] in &lines {
            let [a, b, c, d] = widths;
            out.push_str(&format!("{what:<a$}  {kind:<b$}  {used:>c$}  {files:>d$}  {decision}\n"));
        }
        out
    }
}

/// Decides for everything on this machine. `layout` is what [`crate::machine`] has just found.
///
/// # Errors
/// When the machine cannot be read. What cannot be backed up is no error here but a row of the result.
pub fn coverage(sys: &dyn Sys, layout: &Layout, rules: &Rules<'_>) -> Result<Coverage> {
    let mut work = Work {
        sys,
        layout,
        rules,
        result: Coverage::default(),
        pseudo: 0,
        left_out: Vec::new(),
        spared: Vec::new(),
        needed: Vec::new(),
        only: None,
    };
    let mounted = mounts::mountinfo(sys)?;
    work.only = rules.only_include.map(|paths| {
        let owner = |path: &str| {
            let holds = |mount: &&MountEntry| {
                mount.mount_point == path || mount.mount_point == "/" || is_below(path, &mount.mount_point)
            };
            let nearest = mounted.iter().filter(holds).map(|mount| mount.mount_point.as_str());
            nearest.max_by_key(|point| point.len()).unwrap_or("/").to_owned()
        };
        paths.iter().map(|path| (path.clone(), owner(path))).collect()
    });
    for (i, mount) in mounted.iter().enumerate() {
        let same_place = |later: &&MountEntry| later.mount_point == mount.mount_point;
        match mounted[i + 1..].iter().find(same_place) {
            // The same thing mounted over itself is one thing.
            Some(later) if later.major_minor == mount.major_minor && later.root == mount.root => {}
            later => work.mount(mount, later.is_some())?,
        }
    }
    work.swaps()?;
    work.disks();
    work.clones();
    work.unknown_names(&mounted)?;
    work.unknown_includes();
    let Work { mut result, pseudo, .. } = work;
    btrfs::views::divide(layout, &mut result, rules.only_include.is_some());
    result.mounts.sort_by(|a, b| mounts::by_depth(a).cmp(&mounts::by_depth(b)));
    if pseudo > 0 {
        result.rows.push(CoverageRow {
            what: format!("{pseudo} pseudo filesystems"),
            device: None,
            fs_type: "proc, sysfs, tmpfs, ...".to_owned(),
            bytes: None,
            files: None,
            decision: excluded("made anew at every boot"),
        });
    }
    Ok(result)
}

fn excluded(rule: impl Into<String>) -> Decision {
    Decision::Excluded { rule: rule.into() }
}

fn unsupported(why: impl Into<String>) -> Decision {
    Decision::Unsupported { why: why.into() }
}

struct Work<'a> {
    sys: &'a dyn Sys,
    layout: &'a Layout,
    rules: &'a Rules<'a>,
    result: Coverage,
    pseudo: usize,
    /// Rows that a rule leaves out which is no permission to lose what lies there.
    left_out: Vec<usize>,
    /// Devices that a rule of the owner leaves alone: their disk is not made again for its own sake.
    spared: Vec<NodeId>,
    /// Those of them that are in use, with the rule: the machine needs their disks after a recovery.
    needed: Vec<(NodeId, String)>,
    /// What alone is archived, each with the mount point that it lies on.
    only: Option<Vec<(String, String)>>,
}

impl Work<'_> {
    fn row(&mut self, what: &str, device: Option<&Device>, fs_type: &str, decision: Decision) {
        self.result.rows.push(CoverageRow {
            what: what.to_owned(),
            device: device.map(|device| device.id.clone()),
            fs_type: fs_type.to_owned(),
            bytes: device.and_then(Device::filesystem).and_then(|fs| fs.used),
            files: None,
            decision,
        });
    }

    fn names(&self) -> Names<'_> {
        Names { sys: self.sys, layout: self.layout, rules: self.rules }
    }

    /// What is asked for must be in the backup.
    fn unknown_includes(&mut self) {
        for (path, point) in self.only.clone().unwrap_or_default() {
            let why = if !self.sys.exists(path.as_ref()) {
                format!("BACKUP_PROG_INCLUDE names {path}, which is not there; correct or remove it")
            } else if !self.result.mounts.contains(&point) {
                format!(
                    "BACKUP_PROG_INCLUDE names {path}, but what is mounted at {point} is not captured; its row says why"
                )
            } else {
                continue;
            };
            self.row(&path, None, "", unsupported(why));
        }
    }

    /// A misspelt name protects nothing, and what it was meant to protect would be made again empty.
    fn unknown_names(&mut self, mounted: &[MountEntry]) -> Result<()> {
        let swaps = mounts::swaps(self.sys)?;
        let others = |name: &str| {
            mounted.iter().any(|mount| mount.mount_point == name)
                || swaps.iter().any(|swap| swap.path == name)
        };
        for (setting, name, what) in self.names().unknown(&others) {
            let why = match setting {
                "ONLY_INCLUDE_VG" => format!(
                    "ONLY_INCLUDE_VG names {name}, which is not on this machine: {what}; correct or remove it"
                ),
                _ => format!(
                    "{setting} names {name}, which is not on this machine: {what}, so it protects nothing; correct or remove it"
                ),
            };
            self.row(&name, None, "", unsupported(why));
        }
        Ok(())
    }
}
