//! Coverage: for everything that is mounted, swapped on or stored on the disks, whether a backup holds it, leaves
//! it out by a named rule, or cannot hold it. Computed from what is there, never from what is configured; decides
//! nothing silently and writes nothing.

use layout::{Bytes, Content, Device, Layout, NodeId};
use sys::Sys;

use crate::Result;
use crate::btrfs::{self, views::Top};
use crate::components;
use crate::lvm;
use crate::md::{self, Membership};
use crate::mounts::{self, MountEntry};
use crate::other;
use crate::rules::{Class, class, component, is_below, trim};
use crate::support::{carried, plain, problem};

/// The rule of what is left out because its owner named it.
pub(crate) const WAIVED: &str = "waived by COVERAGE_WAIVE";
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
    /// Leave disks alone that nothing mounted or swapped on lies on (`AUTOEXCLUDE_DISKS`).
    pub autoexclude_disks: bool,
}

/// What happens to one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is in the backup and comes back.
    Captured,
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

/// The whole answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Mounts, then swap, then what else lies on the disks.
    pub rows: Vec<CoverageRow>,
    /// Whole disks that a recovery makes again; all others are left alone.
    pub recreate: Vec<NodeId>,
    /// Mount points to archive, `/` first, parents first.
    pub mounts: Vec<String>,
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

    /// An aligned table for people, ending in a newline.
    pub fn table(&self) -> String {
        let mut lines = vec![["WHAT", "TYPE", "USED", "FILES", "DECISION"].map(str::to_owned)];
        for row in &self.rows {
            let decision = match &row.decision {
                Decision::Captured => "captured".to_owned(),
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
    };
    let mounted = mounts::mountinfo(sys)?;
    for (i, mount) in mounted.iter().enumerate() {
        let same_place = |later: &&MountEntry| later.mount_point == mount.mount_point;
        match mounted[i + 1..].iter().find(same_place) {
            // The same thing mounted over itself is one thing.
            Some(later) if later.major_minor == mount.major_minor && later.root == mount.root => {}
            later => work.mount(mount, later.is_some())?,
        }
    }
    work.swaps()?;
    work.disks()?;
    work.unknown_components(&mounted)?;
    let Work { mut result, pseudo, .. } = work;
    btrfs::views::divide(layout, &mut result);
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
    /// Devices that EXCLUDE_COMPONENTS or EXCLUDE_MOUNTPOINTS name: their disk is not made again for its own sake.
    spared: Vec<NodeId>,
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

    fn mount(&mut self, mount: &MountEntry, hidden: bool) -> Result<()> {
        let point = mount.mount_point.as_str();
        let kind = mount.fs_type.as_str();
        let on_loop = mount.source.starts_with("/dev/loop");
        match class(kind) {
            Class::Local if on_loop && point != "/" => {
                self.row(
                    point,
                    None,
                    kind,
                    excluded("lies in a file (loop device), which is kept as a file"),
                );
            }
            Class::Local => self.local(mount, hidden)?,
            _ if point == "/" && !hidden => {
                let why =
                    format!("the root filesystem is {kind}, which is not stored on a disk of this machine");
                let decision = self.waived(point, None, unsupported(why));
                self.row(point, None, kind, decision);
            }
            Class::Pseudo => self.pseudo += 1,
            Class::Image if on_loop => self.pseudo += 1,
            Class::Network => {
                self.row(point, None, kind, excluded("network filesystem: restored from its server"));
            }
            Class::Fuse => {
                let rule = "presented by a program (FUSE), which keeps its files elsewhere";
                self.row(point, None, kind, excluded(rule));
            }
            Class::Image => {
                let device = mounts::node_of(self.sys, self.layout, mount)?;
                // In a partition it would be lost with its disk.
                if device.is_some_and(|device| device.partition().is_some()) {
                    return self.local(mount, hidden);
                }
                self.row(point, device, kind, excluded("read-only medium or image"));
            }
        }
        Ok(())
    }

    fn local(&mut self, mount: &MountEntry, hidden: bool) -> Result<()> {
        let point = mount.mount_point.as_str();
        let device = mounts::node_of(self.sys, self.layout, mount)?;
        let (decision, left_out) = self.judge(mount, device, hidden)?;
        if decision == Decision::Captured {
            self.result.mounts.push(point.to_owned());
        }
        // Where the device is the same, the numbers stand in the row of its first mount already.
        let second = matches!(&decision, Decision::Excluded { rule } if rule.starts_with("second"));
        let counted = |row: &CoverageRow| {
            row.decision == Decision::Captured
                && device.is_some_and(|one| row.device.as_ref() == Some(&one.id))
        };
        let second = second || (mount.fs_type == "btrfs" && self.result.rows.iter().any(counted));
        let usage = if second || hidden { None } else { Some(self.sys.usage(point.as_ref())?) };
        if left_out {
            self.left_out.push(self.result.rows.len());
            self.spared.extend(device.map(|device| device.id.clone()));
        }
        self.result.rows.push(CoverageRow {
            what: point.to_owned(),
            device: device.map(|device| device.id.clone()),
            fs_type: mount.fs_type.clone(),
            bytes: usage.map(|usage| Bytes(usage.total.saturating_sub(usage.free))),
            files: usage.map(|usage| usage.files),
            decision,
        });
        Ok(())
    }

    /// The decision for a filesystem of this machine's disks, and whether it only leaves the files out, without
    /// saying that they may be lost.
    fn judge(&self, mount: &MountEntry, device: Option<&Device>, hidden: bool) -> Result<(Decision, bool)> {
        let point = mount.mount_point.as_str();
        if let Some(device) = device
            && let Some(first) = self.layout.mounts_of(&device.id).next()
            && first.mount_point != point
            && mount.fs_type != "btrfs"
        {
            let how = if mount.root == "/" { "second mount" } else { "second view (bind mount)" };
            return Ok((
                excluded(format!("{how} of {}, which is mounted at {}", device.path, first.mount_point)),
                false,
            ));
        }
        if let Some(device) = device
            && mount.fs_type == "btrfs"
            && self.is_second_view(mount, device)
        {
            return Ok((excluded(format!("second view of the btrfs on {}", device.path)), false));
        }
        if let Some(device) = device
            && let Some(rule) = self.component_rule(device)
        {
            return Ok((excluded(format!("EXCLUDE_COMPONENTS names {rule}")), true));
        }
        let named = |rules: &'_ [String]| rules.iter().any(|rule| trim(component(rule)) == point);
        if named(self.rules.exclude_backup) {
            return Ok((excluded(NOT_SAVED), false));
        }
        if named(self.rules.exclude_mountpoints) {
            return Ok((excluded("EXCLUDE_MOUNTPOINTS"), true));
        }
        if let Some(device) = device
            && mount.fs_type == "btrfs"
            && (hidden || self.autoexcluded(point).is_some())
            && self.has_other_view(mount, device)
        {
            return Ok((excluded("second view: its files are read from the top of the btrfs"), false));
        }
        if let Some(dir) = self.autoexcluded(point) {
            return Ok((excluded(format!("below {dir} (AUTOEXCLUDE_PATH)")), true));
        }
        if device.is_none()
            && let Some(rule) = lvm::mounted_snapshot(self.sys, self.layout, mount)?
        {
            return Ok((excluded(rule), false));
        }
        let decision = match (hidden, device) {
            (true, _) => unsupported(format!(
                "another filesystem is mounted over it at {point}, so its files cannot be read; unmount one of them"
            )),
            (false, None) if mount.source.starts_with('/') => unsupported(format!(
                "{} lies on {}, which is no disk or partition that is known here",
                mount.fs_type, mount.source
            )),
            (false, None) => {
                unsupported(format!("{} ('{}') cannot be made again", mount.fs_type, mount.source))
            }
            (false, Some(device)) => {
                let why = match problem(self.layout, mount, device) {
                    None => carried(self.sys, mount, device)?,
                    why => why,
                };
                why.map_or(Decision::Captured, unsupported)
            }
        };
        Ok((self.waived(point, device, decision), false))
    }

    fn autoexcluded(&self, point: &str) -> Option<&String> {
        self.rules.autoexclude_path.iter().find(|dir| is_below(point, dir))
    }

    /// Whether what is mounted here of a btrfs is shown elsewhere: a subvolume that is mounted twice, or a directory
    /// inside of one.
    fn is_second_view(&self, mount: &MountEntry, device: &Device) -> bool {
        let mut known = self.layout.mounts_of(&device.id).peekable();
        known.peek().is_some()
            && !known.any(|one| one.mount_point == mount.mount_point && one.root == mount.root)
    }

    /// Whether the btrfs has another mount, which is captured.
    fn has_other_view(&self, mount: &MountEntry, device: &Device) -> bool {
        self.layout.mounts_of(&device.id).any(|other| {
            let named =
                |rules: &[String]| rules.iter().any(|rule| trim(component(rule)) == other.mount_point);
            other.mount_point != mount.mount_point
                && self.autoexcluded(&other.mount_point).is_none()
                && !named(self.rules.exclude_backup)
                && !named(self.rules.exclude_mountpoints)
        })
    }

    /// A device with the disks below it, for a btrfs those of all its devices.
    fn disks_of(&self, device: &Device) -> Vec<&Device> {
        let members = btrfs::of(&device.content).map(|(_, kind)| kind.members.as_slice()).unwrap_or_default();
        let ids = std::iter::once(&device.id).chain(members.iter().map(|member| &member.device));
        ids.flat_map(|id| self.layout.disks_below(id)).collect()
    }

    /// Turns an unsupported thing into an excluded one where it is waived by mount point, path or id.
    fn waived(&self, what: &str, device: Option<&Device>, decision: Decision) -> Decision {
        let named = |rule: &&String| {
            let rule = trim(component(rule));
            rule == what
                || device.is_some_and(|d| {
                    rule == d.path || rule == d.id.0 || components::leads_to(self.sys, self.layout, rule, d)
                })
        };
        let waived = self.rules.waive.iter().any(|rule| named(&rule));
        if matches!(decision, Decision::Unsupported { .. }) && waived {
            return excluded(WAIVED);
        }
        decision
    }

    /// The rule that leaves this device or a disk below it alone.
    fn component_rule(&self, device: &Device) -> Option<&String> {
        let disks = self.disks_of(device);
        self.rules.exclude_components.iter().find(|rule| {
            components::names(self.sys, self.layout, rule, device)
                || disks.iter().any(|disk| components::names_device(self.sys, self.layout, rule, disk))
        })
    }

    /// A misspelt name protects nothing, and what it was meant to protect would be made again empty.
    fn unknown_components(&mut self, mounted: &[MountEntry]) -> Result<()> {
        let swaps = mounts::swaps(self.sys)?;
        for rule in self.rules.exclude_components {
            let name = trim(component(rule));
            let known = self
                .layout
                .devices
                .iter()
                .any(|device| components::names(self.sys, self.layout, rule, device))
                || mounted.iter().any(|mount| mount.mount_point == name)
                || swaps.iter().any(|swap| swap.path == name);
            if !known {
                let why = format!(
                    "EXCLUDE_COMPONENTS names {rule}, which is not on this machine: no disk, partition, volume or mount \
                     point has this name, so it protects nothing; correct or remove it"
                );
                self.row(rule, None, "", unsupported(why));
            }
        }
        Ok(())
    }

    fn swaps(&mut self) -> Result<()> {
        for swap in mounts::swaps(self.sys)? {
            let path = if swap.is_file { swap.path.clone() } else { mounts::resolve(self.sys, &swap.path)? };
            let device = self.layout.device_by_path(&path);
            let decision = if path.starts_with("/dev/zram") {
                excluded("compressed memory, made anew at every boot")
            } else if swap.is_file {
                // Kept in the archive like any file: its blocks matter, its content does not.
                Decision::Captured
            } else {
                let named = device.filter(|device| self.component_rule(device).is_some());
                self.spared.extend(named.map(|device| device.id.clone()));
                self.swap_device(&path, device)
            };
            self.row(&path, device, if swap.is_file { "swap file" } else { "swap" }, decision);
            if let Some(row) = self.result.rows.last_mut() {
                row.bytes = Some(Bytes(swap.kibibytes.saturating_mul(1024)));
            }
        }
        Ok(())
    }

    fn swap_device(&self, path: &str, device: Option<&Device>) -> Decision {
        if let Some(device) = device
            && let Some(rule) = self.component_rule(device)
        {
            return excluded(format!("EXCLUDE_COMPONENTS names {rule}"));
        }
        let plain =
            device.is_some_and(|d| plain(self.layout, d).is_none() && matches!(d.content, Content::Swap(_)));
        let decision = if plain {
            Decision::Captured
        } else {
            unsupported(format!("swap on {path}: only swap on disks and partitions can be made again so far"))
        };
        self.waived(path, device, decision)
    }

    fn disks(&mut self) -> Result<()> {
        let layout = self.layout;
        for disk in layout.disks() {
            let tree = layout.subtree(&disk.id);
            // What is captured or spared of a btrfs is so on all of its devices.
            let ids: Vec<&NodeId> =
                tree.iter().flat_map(|device| [&device.id, &btrfs::carrier(layout, device).id]).collect();
            // Likewise of a volume group.
            let groups = tree.iter().flat_map(|device| lvm::companions(layout, device));
            let ids: Vec<&NodeId> = ids.into_iter().chain(groups).collect();
            let captured = |row: &CoverageRow| {
                row.decision == Decision::Captured && row.device.as_ref().is_some_and(|id| ids.contains(&id))
            };
            let needed = self.result.rows.iter().any(captured);
            if let Some(rule) = self.component_rule(disk).cloned() {
                self.row(
                    &disk.path,
                    Some(disk),
                    "disk",
                    excluded(format!("EXCLUDE_COMPONENTS names {rule}")),
                );
                continue;
            }
            // A write-protected or removable disk is not made again only because it is plugged in.
            let fixed = disk.disk().is_some_and(|d| !d.removable && !d.read_only && d.transport != "virtual");
            let blank = matches!(disk.content, Content::Empty | Content::Unknown { .. });
            let spared = self.spared.iter().any(|id| ids.contains(&id));
            if !needed && (self.rules.autoexclude_disks || !fixed || blank || spared) {
                if fixed && !spared && self.depended_on(&tree) {
                    continue;
                }
                let rule = "nothing of it is in the backup: left untouched";
                self.row(&disk.path, Some(disk), "disk", excluded(rule));
                continue;
            }
            self.result.recreate.push(disk.id.clone());
            for device in tree {
                self.stored(disk, device);
            }
        }
        Ok(())
    }

    /// Volumes of a group that are no devices now. Each is named once, whatever it lies on.
    fn unseen_volumes(&mut self, disk: &Device, device: &Device) {
        for volume in lvm::unseen(self.layout, device) {
            if self.result.rows.iter().any(|row| row.what == volume.path) {
                continue;
            }
            let decision = match volume.rule {
                Some(rule) => excluded(rule),
                None => unsupported(format!(
                    "{} is not active, so nothing knows what it holds, and it would be lost when {} is recreated; \
                     activate it (lvchange -ay) or remove it",
                    volume.path, disk.path
                )),
            };
            let decision = self.waived(&volume.path, None, decision);
            self.row(&volume.path, None, "logical volume", decision);
        }
    }

    /// Storage of a kind that a machine has for a reason, although no mount leads to the disk: the reason is told to nobody but the owner.
    /// Whether there was any; its rows say that the disk stays as it is only where its owner says so.
    fn depended_on(&mut self, tree: &[&Device]) -> bool {
        let found: Vec<_> =
            tree.iter().filter_map(|device| Some((*device, other::advice(&device.content)?))).collect();
        for (device, (what, advice)) in &found {
            if let Some(rule) = self.component_rule(device).cloned() {
                let rule = excluded(format!("EXCLUDE_COMPONENTS names {rule}"));
                self.row(&device.path, Some(device), "", rule);
                continue;
            }
            let why = format!(
                "{} ({what}) is neither saved nor made again: {advice}; to leave it alone as it is, name {} in EXCLUDE_COMPONENTS",
                device.path, device.path
            );
            let decision = self.waived(&device.path, Some(device), unsupported(why));
            self.row(&device.path, Some(device), "", decision);
        }
        !found.is_empty()
    }

    /// What lies unused on a disk that is made again: it would be lost.
    fn stored(&mut self, disk: &Device, device: &Device) {
        self.unseen_volumes(disk, device);
        let carrier = &btrfs::carrier(self.layout, device).id;
        let mine =
            |row: &CoverageRow| row.device.as_ref().is_some_and(|id| *id == device.id || id == carrier);
        if let Some(index) = self.left_out.iter().copied().find(|index| mine(&self.result.rows[*index])) {
            let CoverageRow { what, decision, .. } = self.result.rows[index].clone();
            let rule = if let Decision::Excluded { rule } = decision { rule } else { String::new() };
            let why = format!(
                "{} is not in the backup ({rule}), but its disk {} is made again, so its content would be lost; \
                 change that rule, leave the whole disk out, or, if its content may be lost, name {what} in \
                 COVERAGE_WAIVE",
                device.path, disk.path
            );
            self.result.rows[index].decision = self.waived(&what, Some(device), unsupported(why));
        }
        if self.result.rows.iter().any(mine) {
            return;
        }
        let what = match &device.content {
            Content::Empty | Content::Table(_) | Content::BootCode | Content::Swap(_) => return,
            Content::Filesystem(fs) => format!("({}) is not mounted", fs.fs_type()),
            _ if !self.layout.children(&device.id).is_empty() => return,
            Content::LvmMember { .. } if lvm::group_of(self.layout, device).is_some() => return,
            Content::LvmMember { .. } => "(LVM physical volume) is in no volume group".to_owned(),
            Content::MdMember { array } => match md::membership(self.layout, &device.id, array) {
                Membership::Part => return,
                Membership::Former => {
                    let rule = format!("no longer a member of the array {array}, which runs without it");
                    return self.row(&device.path, Some(device), "", excluded(rule));
                }
                Membership::Idle => format!("(member of the software RAID array {array}) is not in use"),
            },
            Content::Luks(_) => "(LUKS container) is not open".to_owned(),
            Content::BtrfsMember { .. } => "(device of a btrfs) is not in use".to_owned(),
            Content::Unknown { what } => format!("({what}) cannot be backed up"),
        };
        let kind = device.filesystem().map_or("", |fs| fs.fs_type()).to_owned();
        let why =
            format!("{} {what}: its content would be lost when {} is recreated", device.path, disk.path);
        let decision = self.waived(&device.path, Some(device), unsupported(why));
        self.row(&device.path, Some(device), &kind, decision);
    }
}
