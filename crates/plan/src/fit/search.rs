//! The search for the place of each saved disk: by the operator's word, by identity, by content. Takes nothing that is unfit,
//! and guesses nothing.

use std::collections::{BTreeMap, BTreeSet};

use layout::{Content, Device, Layout, NodeId};

use super::{Choices, Fit, Placement, View, size_note, unfit};
use crate::describe::{disk as name, holds};
use crate::erase::may_erase;
use crate::own::{has_own_content, is_safe, is_same};
use crate::{FitError, clash};

/// What a present disk is to a saved one.
pub(super) struct Search<'a> {
    pub(super) saved: &'a Layout,
    pub(super) present: &'a Layout,
    pub(super) protected: &'a BTreeMap<NodeId, String>,
    pub(super) choices: &'a Choices,
    pub(super) taken: BTreeMap<NodeId, (NodeId, String)>,
}

impl<'a> Search<'a> {
    pub(super) fn view(&self) -> View<'a> {
        View {
            saved: self.saved,
            present: self.present,
            choices: self.choices,
            taken: self.taken.values().map(|(present, _)| present.clone()).collect(),
            protected: self.protected,
        }
    }

    /// Saved disks without a place. A disk without content needs none.
    pub(super) fn open(&self) -> Vec<&'a Device> {
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

    pub(super) fn take(&mut self, saved: &NodeId, present: &NodeId, why: String) {
        self.taken.insert(saved.clone(), (present.clone(), why));
    }

    pub(super) fn mapped(&mut self) -> Result<(), FitError> {
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
    pub(super) fn same_disks(&mut self) -> Result<Vec<(NodeId, NodeId)>, FitError> {
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
    pub(super) fn refuse_doubtful(&self, doubtful: &[(NodeId, NodeId)]) -> Result<(), FitError> {
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

    pub(super) fn own_content(&mut self) -> Result<(), FitError> {
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
    pub(super) fn finish(self) -> Result<Fit, FitError> {
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
