//! Which present disk takes the place of each saved one, and why.
//!
//! In this order: the operator's mapping, the same physical disk, a disk with the saved machine's own content,
//! a blank disk, a disk that the operator named for erasure. Kernel names decide nothing. It never guesses:
//! where more than one assignment would do, the answer is an error with a proposal.

use std::collections::{BTreeMap, BTreeSet};

use layout::{Bytes, Content, Device, FsKind, Layout, NodeId};
use serde::{Deserialize, Serialize};

use crate::describe::{disk as name, holds};
use crate::erase::{self, may_erase};
use crate::own::{has_own_content, is_safe, is_same};
use crate::{FitError, blank, clash, ext, f2fs, jfs, ntfs, table, vfat, xfs};

/// What the operator decided beforehand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    /// Nobody can be asked: foreign content is only erased where it is named in `allow_erase`.
    pub unattended: bool,
    /// Saved disk to present disk, chosen by a person.
    pub mapping: BTreeMap<NodeId, NodeId>,
    /// Disks whose foreign content may be erased, in the words of this run's operator, who sees this machine: each by
    /// its id, WWN, serial number, kernel name or a name below `/dev/disk/by-id` or `/dev/disk/by-path`.
    pub allow_erase: Vec<String>,
    /// The same from the saved configuration. Kernel names and places meant other disks when it was written, so here
    /// only what a disk keeps counts: its id, WWN, serial number or a name below `/dev/disk/by-id`.
    pub allow_erase_saved: Vec<String>,
}

/// Where everything goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fit {
    /// The disks that will be written.
    pub disks: Vec<Placement>,
    /// The disks that will not be touched, each with the reason.
    pub untouched: Vec<(NodeId, String)>,
    /// Every present disk in a few words (name, size, model, serial number), for people.
    #[serde(default)]
    pub about: BTreeMap<NodeId, String>,
}

/// One saved disk and the present disk that takes its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Id of the saved disk.
    pub saved: NodeId,
    /// Id of the present disk.
    pub present: NodeId,
    /// The present disk's kernel name, for people.
    pub device: String,
    /// Why this disk.
    pub why: String,
    /// What is lost on it; `None` when it is blank.
    pub erases: Option<String>,
}

/// What a present disk is to a saved one.
struct Search<'a> {
    saved: &'a Layout,
    present: &'a Layout,
    protected: &'a BTreeMap<NodeId, String>,
    choices: &'a Choices,
    taken: BTreeMap<NodeId, (NodeId, String)>,
}

/// Places the disks of `saved` (those to be recreated) on those of `present`.
///
/// `protected` names the disks that carry the running rescue system, the medium, the archive or a mount: they
/// are never taken.
///
/// # Errors
/// Where a disk has no place or more than one: the error is the whole text for the operator.
pub fn fit(
    saved: &Layout,
    present: &Layout,
    protected: &BTreeMap<NodeId, String>,
    choices: &Choices,
) -> Result<Fit, FitError> {
    let (old, new) = (&saved.machine, &present.machine);
    if old.architecture != new.architecture {
        return Err(FitError::Architecture {
            saved: old.architecture.clone(),
            present: new.architecture.clone(),
        });
    }
    if old.firmware != new.firmware {
        return Err(FitError::Firmware { saved: old.firmware, present: new.firmware });
    }
    erase::check(choices, present)?;
    let mut search = Search { saved, present, protected, choices, taken: BTreeMap::new() };
    search.mapped()?;
    let doubtful = search.same_disks()?;
    search.own_content()?;
    search.refuse_doubtful(&doubtful)?;
    let open: Vec<&Device> = search.open();
    for (saved, present, why) in blank::place(&search.view(), &open)? {
        search.take(&saved, &present, why);
    }
    search.finish()
}

/// What would disturb the recovered machine if it stayed beside the disks of `saved`, which are here as they were: one
/// sentence for each disk, for whoever can still do something about it.
pub fn disturbances(saved: &Layout, present: &Layout) -> Vec<String> {
    let taken = saved.disks().filter(|disk| disk.content != Content::Empty).map(|disk| &disk.id).collect();
    clash::clashes(saved, present, &taken)
}

/// Bytes that a disk must have at least to take the place of this saved disk.
pub fn minimum_size(saved: &Layout, disk: &Device) -> Bytes {
    match &disk.content {
        Content::Table(table) => table::minimum(table, &saved.partitions(&disk.id), disk.sector),
        Content::Filesystem(fs) => match &fs.kind {
            FsKind::Ext(kind) => ext::size(kind),
            FsKind::Xfs(kind) => xfs::size(kind),
            FsKind::Vfat(kind) => vfat::size(kind),
            FsKind::F2fs(kind) => f2fs::size(kind),
            FsKind::Jfs(kind) => jfs::size(kind),
            FsKind::Ntfs(kind) => ntfs::size(kind),
            // Their tools always fill a device: on a larger one they would be larger.
            FsKind::Exfat(_) | FsKind::Nilfs(_) => disk.size,
            FsKind::Btrfs(_) | FsKind::Other { .. } => disk.size,
        },
        _ => disk.size,
    }
}

/// What the placement of blank disks needs to see.
pub(crate) struct View<'a> {
    pub(crate) saved: &'a Layout,
    pub(crate) present: &'a Layout,
    pub(crate) choices: &'a Choices,
    taken: BTreeSet<NodeId>,
    protected: &'a BTreeMap<NodeId, String>,
}

impl View<'_> {
    /// Why this present disk cannot take the place of this saved disk at all; `None` when it can.
    pub(crate) fn unfit(&self, saved: &Device, present: &Device) -> Option<String> {
        unfit(self.saved, self.protected, saved, present)
    }

    pub(crate) fn is_taken(&self, present: &Device) -> bool {
        self.taken.contains(&present.id)
    }

    /// All present disks, one line each, with what speaks against each.
    pub(crate) fn table(&self, open: &[&Device]) -> String {
        let mut lines = vec!["disks of this machine:".to_owned()];
        for disk in self.present.disks() {
            let content = holds(self.present, disk).unwrap_or_else(|| "blank".into());
            lines.push(format!("  {} [{}]: {content}", name(disk), disk.id));
            lines.push(format!("      {}", self.verdict(open, disk)));
        }
        if lines.len() == 1 {
            lines.push("  none that this kernel knows; is a driver missing?".into());
        }
        lines.join("\n")
    }

    fn verdict(&self, open: &[&Device], disk: &Device) -> String {
        if self.is_taken(disk) {
            return "already takes the place of another disk".into();
        }
        let reasons: BTreeSet<String> = open.iter().filter_map(|saved| self.unfit(saved, disk)).collect();
        if reasons.len() == 1 || (!open.is_empty() && reasons.len() >= open.len()) {
            return format!("not taken: {}", reasons.into_iter().collect::<Vec<_>>().join("; "));
        }
        if let Some(content) = holds(self.present, disk) {
            return format!("not taken: its content ({content}) is neither blank nor this machine's own");
        }
        if is_stick(disk) {
            return "not taken: it is removable, and is only used when it is chosen by name".into();
        }
        "suitable".into()
    }
}

/// A USB or removable disk: blank ones are often just the stick in somebody's hand.
pub(crate) fn is_stick(disk: &Device) -> bool {
    disk.disk().is_some_and(|disk| disk.removable || disk.transport == "usb")
}

fn unfit(
    layout: &Layout,
    protected: &BTreeMap<NodeId, String>,
    saved: &Device,
    present: &Device,
) -> Option<String> {
    if let Some(why) = protected.get(&present.id) {
        return Some(why.clone());
    }
    if present.disk().is_some_and(|disk| disk.read_only) {
        return Some("it is read-only".into());
    }
    if saved.sector != present.sector {
        return Some(format!(
            "its sectors have {} bytes, those of the saved disk {}: partitions and filesystems are laid out in \
             sectors and cannot be converted",
            present.sector.0, saved.sector.0
        ));
    }
    let least = minimum_size(layout, saved);
    if present.size < least {
        return Some(format!(
            "it is too small: it has {} bytes, {} bytes ({least}) are needed at least",
            present.size.0, least.0
        ));
    }
    None
}

impl<'a> Search<'a> {
    fn view(&self) -> View<'a> {
        View {
            saved: self.saved,
            present: self.present,
            choices: self.choices,
            taken: self.taken.values().map(|(present, _)| present.clone()).collect(),
            protected: self.protected,
        }
    }

    /// Saved disks without a place. A disk without content needs none.
    fn open(&self) -> Vec<&'a Device> {
        self.saved
            .disks()
            .filter(|disk| disk.content != Content::Empty && !self.taken.contains_key(&disk.id))
            .collect()
    }

    /// Present disks that nothing took yet.
    fn free(&self) -> Vec<&'a Device> {
        let taken: BTreeSet<&NodeId> = self.taken.values().map(|(present, _)| present).collect();
        self.present.disks().filter(|disk| !taken.contains(&disk.id)).collect()
    }

    fn take(&mut self, saved: &NodeId, present: &NodeId, why: String) {
        self.taken.insert(saved.clone(), (present.clone(), why));
    }

    fn mapped(&mut self) -> Result<(), FitError> {
        let mut used = BTreeSet::new();
        for (from, to) in &self.choices.mapping {
            let fail =
                |reason: String| Err(FitError::Mapping { reason, table: self.view().table(&self.open()) });
            let Some(saved) = self.saved.device(from).filter(|device| device.disk().is_some()) else {
                return fail(format!("the saved machine has no disk {from}"));
            };
            let Some(present) = self.present.device(to).filter(|device| device.disk().is_some()) else {
                return fail(format!("this machine has no disk {to}"));
            };
            if !used.insert(to) {
                return fail(format!("{} is chosen twice", present.path));
            }
            if let Some(why) = unfit(self.saved, self.protected, saved, present) {
                return fail(format!("{} cannot take the place of {}: {why}", present.path, saved.path));
            }
            let harmless = present.content == Content::Empty
                || self.is_acceptable(saved, present)
                || has_own_content(self.saved, self.present, saved, present);
            if !harmless {
                return fail(format!(
                    "{} holds something else ({}), which is never erased unattended unless the disk is named for erasure",
                    present.path,
                    holds(self.present, present).unwrap_or_default()
                ));
            }
            self.taken.insert(from.clone(), (to.clone(), "chosen by the operator".into()));
        }
        Ok(())
    }

    /// Whether a disk that has the saved one's identity may be taken whatever it holds: a person sees the plan, or
    /// named it, or nothing of somebody else would be lost.
    fn is_acceptable(&self, saved: &Device, present: &Device) -> bool {
        !self.choices.unattended
            || may_erase(self.choices, present)
            || (is_same(self.saved, self.present, saved, present)
                && is_safe(self.saved, self.present, saved, present))
    }

    /// Takes the disks that are here themselves. Those that hold something foreign now, where nobody can be asked,
    /// are returned: saved disk and present disk.
    fn same_disks(&mut self) -> Result<Vec<(NodeId, NodeId)>, FitError> {
        let mut doubtful = Vec::new();
        for saved in self.open() {
            let twins: Vec<&Device> = self
                .free()
                .into_iter()
                .filter(|present| is_same(self.saved, self.present, saved, present))
                .collect();
            let twins = self.narrowed(saved, twins);
            let usable: Vec<&&Device> = twins
                .iter()
                .filter(|present| unfit(self.saved, self.protected, saved, present).is_none())
                .collect();
            if let [only] = usable.as_slice()
                && !self.is_acceptable(saved, only)
            {
                doubtful.push((saved.id.clone(), only.id.clone()));
                continue;
            }
            let what = saved.disk().map(|disk| disk.identity.describe()).unwrap_or_default();
            self.one_of(saved, &twins, format!("the same disk ({what})"), "have its identity")?;
        }
        Ok(doubtful)
    }

    /// Several disks with one identity (cheap bridges and some hypervisors repeat serial numbers): what they hold tells
    /// them apart, where that is so for exactly one.
    fn narrowed(&self, saved: &Device, twins: Vec<&'a Device>) -> Vec<&'a Device> {
        let own: Vec<&Device> = twins
            .iter()
            .copied()
            .filter(|present| has_own_content(self.saved, self.present, saved, present))
            .collect();
        if own.len() == 1 { own } else { twins }
    }

    /// A disk with the identity of a saved one that holds something foreign: neither is it erased unattended, nor must
    /// another one silently take its place.
    fn refuse_doubtful(&self, doubtful: &[(NodeId, NodeId)]) -> Result<(), FitError> {
        for (saved, present) in doubtful.iter().filter(|(saved, _)| !self.taken.contains_key(saved)) {
            let (Some(saved), Some(present)) = (self.saved.device(saved), self.present.device(present))
            else {
                continue;
            };
            return Err(FitError::Foreign {
                doubt: format!(
                    "{} looks like the saved {} ({}), but it holds something else now ({})",
                    name(present),
                    name(saved),
                    saved.id,
                    holds(self.present, present).unwrap_or_default()
                ),
                disk: present.id.clone(),
                table: self.view().table(&[saved]),
            });
        }
        Ok(())
    }

    fn own_content(&mut self) -> Result<(), FitError> {
        for saved in self.open() {
            let twins: Vec<&Device> = self
                .free()
                .into_iter()
                .filter(|present| has_own_content(self.saved, self.present, saved, present))
                .collect();
            let why = "it holds the saved machine's own content".to_owned();
            self.one_of(saved, &twins, why, "hold its content")?;
        }
        Ok(())
    }

    /// Takes the only one; several are an error, as is one that cannot be used.
    fn one_of(
        &mut self,
        saved: &Device,
        twins: &[&Device],
        why: String,
        claim: &str,
    ) -> Result<(), FitError> {
        let usable: Vec<&&Device> = twins
            .iter()
            .filter(|present| unfit(self.saved, self.protected, saved, present).is_none())
            .collect();
        match usable.as_slice() {
            [] => match twins.first() {
                // Its own disk is here, but cannot be used: another one must not silently take its place while
                // this one, with the same identifiers, stays in the machine.
                Some(own) => Err(FitError::Missing {
                    missing: format!("{} ({})", name(saved), saved.id),
                    table: self.view().table(&[saved]),
                    hint: format!(
                        "{} is the disk that belongs there, but {}.",
                        own.path,
                        unfit(self.saved, self.protected, saved, own).unwrap_or_default()
                    ),
                }),
                None => Ok(()),
            },
            [present] => {
                let extra = size_note(saved, present);
                self.take(&saved.id, &present.id, format!("{why}{extra}"));
                Ok(())
            }
            [first, ..] => Err(FitError::Ambiguous {
                unclear: format!("{} ({})", name(saved), saved.id),
                reason: format!("{} present disks {claim}", usable.len()),
                table: self.view().table(&[saved]),
                proposal: BTreeMap::from([(saved.id.clone(), first.id.clone())]),
                hint: "Remove the copy, or choose the disk by a mapping.".into(),
            }),
        }
    }

    /// The whole answer, unless something stays that the recovered machine would take for its own.
    fn finish(self) -> Result<Fit, FitError> {
        let view = self.view();
        let about = self.present.disks().map(|disk| (disk.id.clone(), name(disk))).collect();
        let mut fit = Fit { about, ..Fit::default() };
        for saved in self.saved.disks() {
            let Some((id, why)) = self.taken.get(&saved.id) else { continue };
            let Some(present) = self.present.device(id) else { continue };
            fit.disks.push(Placement {
                saved: saved.id.clone(),
                present: id.clone(),
                device: present.path.clone(),
                why: why.clone(),
                erases: holds(self.present, present),
            });
        }
        for disk in self.present.disks().filter(|disk| !view.is_taken(disk)) {
            let why = if let Some(why) = self.protected.get(&disk.id) {
                why.clone()
            } else if let Some(content) = holds(self.present, disk) {
                format!("not needed, holds {content}")
            } else {
                "not needed, blank".to_owned()
            };
            fit.untouched.push((disk.id.clone(), why));
        }
        let taken = fit.disks.iter().map(|place| &place.present).collect();
        let clashes = clash::clashes(self.saved, self.present, &taken);
        if clashes.is_empty() { Ok(fit) } else { Err(FitError::Clash { clashes }) }
    }
}

/// What is said of a disk that has not the size of the original.
pub(crate) fn size_note(saved: &Device, present: &Device) -> String {
    match present.size.0.checked_sub(saved.size.0) {
        Some(0) => String::new(),
        Some(more) => format!("; it is larger, {} at its end stay free", Bytes(more)),
        None => {
            let less = saved.size.0 - present.size.0;
            format!("; it is {less} bytes smaller than the original, and all partitions fit with their table")
        }
    }
}
