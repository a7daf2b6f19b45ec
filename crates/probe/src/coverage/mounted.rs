//! The decision for everything that is mounted or swapped on. Knows nothing of what lies unused on the disks.

use layout::{Bytes, Content, Device};

use super::{CoverageRow, Decision, NOT_SAVED, ONLY, WAIVED, Work, excluded, unsupported};
use crate::alone::Alone;
use crate::components;
use crate::mounts::{self, MountEntry};
use crate::rules::{Class, class, component, is_below, trim};
use crate::support::{carried, plain, problem};
use crate::{Result, lvm};

/// A decision, and what follows from it for the disk.
struct Judged {
    decision: Decision,
    /// Whether it only leaves something out, without saying that it may be lost.
    left_out: bool,
    /// Whether the machine needs what is left out after a recovery.
    needed: bool,
}

impl From<Decision> for Judged {
    fn from(decision: Decision) -> Self {
        Self { decision, left_out: false, needed: false }
    }
}

impl Judged {
    fn left_out(rule: impl Into<String>) -> Self {
        Self { decision: excluded(rule), left_out: true, needed: false }
    }
}

fn covered(point: &str) -> String {
    format!(
        "another filesystem is mounted over it at {point}, so its files cannot be read; unmount one of them"
    )
}

impl Work<'_> {
    pub(super) fn mount(&mut self, mount: &MountEntry, hidden: bool) -> Result<()> {
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
        let Judged { decision, left_out, needed } = self.judge(mount, device, hidden)?;
        let decision = self.asked_for(point, decision);
        if matches!(decision, Decision::Captured | Decision::Partly { .. } | Decision::Kept { .. }) {
            self.result.mounts.push(point.to_owned());
        }
        if let (true, Some(device), Decision::Excluded { rule } | Decision::Kept { rule }) =
            (needed, device, &decision)
        {
            self.needed.push((device.id.clone(), rule.clone()));
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

    /// The decision where only a part of the machine is asked for.
    fn asked_for(&self, point: &str, decision: Decision) -> Decision {
        let Some(only) = &self.only else { return decision };
        let here: Vec<&str> =
            only.iter().filter(|(_, owner)| owner == point).map(|(path, _)| path.as_str()).collect();
        match decision {
            decision @ (Decision::Captured | Decision::Kept { .. }) if here.contains(&point) => decision,
            Decision::Captured if here.is_empty() => excluded(ONLY),
            Decision::Captured => Decision::Partly { what: format!("only {}", here.join(", ")) },
            Decision::Kept { rule } if here.is_empty() => excluded(format!("{rule}; {ONLY}")),
            decision => decision,
        }
    }

    /// The decision for a filesystem of this machine's disks.
    fn judge(&self, mount: &MountEntry, device: Option<&Device>, hidden: bool) -> Result<Judged> {
        let point = mount.mount_point.as_str();
        if let Some(device) = device
            && let Some(first) = self.layout.mounts_of(&device.id).next()
            && first.mount_point != point
            && mount.fs_type != "btrfs"
        {
            let how = if mount.root == "/" { "second mount" } else { "second view (bind mount)" };
            let rule = format!("{how} of {}, which is mounted at {}", device.path, first.mount_point);
            return Ok(excluded(rule).into());
        }
        if let Some(device) = device
            && mount.fs_type == "btrfs"
            && self.is_second_view(mount, device)
        {
            return Ok(excluded(format!("second view of the btrfs on {}", device.path)).into());
        }
        let named = |rules: &'_ [String]| rules.iter().any(|rule| trim(component(rule)) == point);
        let names = self.names();
        let alone = match device {
            Some(device) => names.rule_of(device),
            None => names.rule_at(point),
        };
        if let Some(alone) = alone {
            return self.left_alone(mount, device, hidden, alone, named(self.rules.exclude_backup));
        }
        if named(self.rules.exclude_backup) {
            return Ok(excluded(NOT_SAVED).into());
        }
        if named(self.rules.exclude_mountpoints) {
            return Ok(Judged { needed: true, ..Judged::left_out("EXCLUDE_MOUNTPOINTS") });
        }
        if let Some(device) = device
            && mount.fs_type == "btrfs"
            && (hidden || self.autoexcluded(point).is_some())
            && self.has_other_view(mount, device)
        {
            return Ok(excluded("second view: its files are read from the top of the btrfs").into());
        }
        if let Some(dir) = self.autoexcluded(point) {
            let needed = self.starts_with(point)?;
            return Ok(Judged { needed, ..Judged::left_out(format!("below {dir} (AUTOEXCLUDE_PATH)")) });
        }
        if named(self.rules.autoexclude_usb_path) {
            let needed = self.starts_with(point)?;
            return Ok(Judged { needed, ..Judged::left_out("AUTOEXCLUDE_USB_PATH") });
        }
        if device.is_none()
            && let Some(rule) = lvm::mounted_snapshot(self.sys, self.layout, mount)?
        {
            return Ok(excluded(rule).into());
        }
        let decision = match (hidden, device) {
            (true, _) => unsupported(covered(point)),
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
        Ok(self.waived(point, device, decision).into())
    }

    /// The decision for what a rule leaves alone. `unsaved`: its files are left out by a rule of their own.
    fn left_alone(
        &self,
        mount: &MountEntry,
        device: Option<&Device>,
        hidden: bool,
        alone: Alone,
        unsaved: bool,
    ) -> Result<Judged> {
        let decision = match alone {
            Alone { rule, saved: true } if !unsaved => match (hidden, device) {
                (true, _) => unsupported(covered(&mount.mount_point)),
                (false, Some(device)) => match carried(self.sys, mount, device)? {
                    Some(why) => unsupported(why),
                    None => Decision::Kept { rule },
                },
                (false, None) => Decision::Kept { rule },
            },
            Alone { rule, .. } if unsaved => excluded(format!("{rule}; {NOT_SAVED}")),
            Alone { rule, .. } => excluded(rule),
        };
        let decision = self.waived(&mount.mount_point, device, decision);
        Ok(Judged { decision, left_out: true, needed: true })
    }

    /// Whether the machine does not start without what is mounted here.
    fn starts_with(&self, point: &str) -> Result<bool> {
        Ok(mounts::fstab(self.sys)?.iter().any(|entry| trim(&entry.file) == point && !entry.is_optional()))
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

    /// Turns an unsupported thing into an excluded one where it is waived by mount point, path or id.
    pub(super) fn waived(&self, what: &str, device: Option<&Device>, decision: Decision) -> Decision {
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

    pub(super) fn swaps(&mut self) -> Result<()> {
        for swap in mounts::swaps(self.sys)? {
            let known = self.layout.swap_files.iter().any(|file| file.path == swap.path);
            if swap.is_file && known {
                continue;
            }
            let path = if swap.is_file { swap.path.clone() } else { mounts::resolve(self.sys, &swap.path)? };
            let device = self.layout.device_by_path(&path);
            let decision = if path.starts_with("/dev/zram") {
                excluded("compressed memory, made anew at every boot")
            } else if swap.is_file {
                excluded("on no filesystem of this machine's disks, or deleted since: not made again")
            } else {
                let alone = device.and_then(|device| Some((device, self.names().rule_of(device)?)));
                if let Some((device, alone)) = &alone {
                    self.spared.push(device.id.clone());
                    self.needed.push((device.id.clone(), alone.rule.clone()));
                }
                self.swap_device(&path, device, alone.map(|(_, alone)| alone.rule))
            };
            self.row(&path, device, if swap.is_file { "swap file" } else { "swap" }, decision);
            if let Some(row) = self.result.rows.last_mut() {
                row.bytes = Some(Bytes(swap.kibibytes.saturating_mul(1024)));
            }
        }
        self.swap_files();
        Ok(())
    }

    /// Swap files come back where the mount that shows them does.
    fn swap_files(&mut self) {
        for file in &self.layout.swap_files {
            let shows = |row: &&CoverageRow| {
                row.device.as_ref() == Some(&file.device) && is_below(&file.path, &row.what)
            };
            // Of a btrfs, one subvolume may be captured and another not.
            let place = self.result.rows.iter().filter(shows).max_by_key(|row| row.what.len());
            let decision = match place {
                Some(place) => match &place.decision {
                    Decision::Captured => {
                        self.result.hollow.push(file.path.clone());
                        Decision::MadeAgain
                    }
                    Decision::Kept { rule } => excluded(rule),
                    Decision::Partly { .. } => excluded(ONLY),
                    _ => excluded(format!("{} is not captured", place.what)),
                },
                None => excluded("its filesystem is not captured"),
            };
            self.row(&file.path, None, "swap file", decision);
            if let Some(row) = self.result.rows.last_mut() {
                row.bytes = Some(file.size);
            }
        }
    }

    fn swap_device(&self, path: &str, device: Option<&Device>, rule: Option<String>) -> Decision {
        if let Some(rule) = rule {
            return excluded(rule);
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
}
