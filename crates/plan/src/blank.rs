//! Placement of the saved disks that are not there any more, on blank disks and on those named for erasure.
//!
//! Sizes decide or nothing does. Blank disks of one size are interchangeable and taken in the order of their paths.

use std::collections::{BTreeMap, BTreeSet};

use layout::{Content, Device, NodeId};

use crate::FitError;
use crate::describe::disk as name;
use crate::erase::may_erase;
use crate::fit::{View, is_stick, size_note};

/// Saved disk, present disk, and the reason.
type Chosen = (NodeId, NodeId, String);

/// Places all of `open`.
pub(crate) fn place(view: &View<'_>, open: &[&Device]) -> Result<Vec<Chosen>, FitError> {
    if open.is_empty() {
        return Ok(Vec::new());
    }
    let sticks_allowed = open.iter().any(|saved| is_stick(saved));
    let free: Vec<&Device> = view.present.disks().filter(|disk| !view.is_taken(disk)).collect();
    let named: Vec<&Device> = free.iter().copied().filter(|disk| may_erase(view.choices, disk)).collect();
    let blank: Vec<&Device> = free
        .iter()
        .copied()
        .filter(|disk| disk.content == Content::Empty && !named.iter().any(|other| other.id == disk.id))
        .filter(|disk| sticks_allowed || !is_stick(disk))
        .collect();
    // Disks that somebody named come after the blank ones: if those suffice, nothing needs to be erased.
    for pool in [blank.clone(), blank.iter().chain(&named).copied().collect()] {
        if let Some(chosen) = by_size(view, open, &pool)? {
            return Ok(chosen);
        }
    }
    Err(missing(view, open, &free))
}

/// Devices in the order in which people would count them: by where they are plugged in.
fn by_path<'a>(devices: &[&'a Device]) -> Vec<&'a Device> {
    let mut sorted = devices.to_vec();
    sorted.sort_by_key(|device| {
        let path = device.disk().and_then(|disk| disk.identity.path.clone());
        (path.is_none(), path, device.path.len(), device.path.clone())
    });
    sorted
}

/// `None` when the pool does not suffice.
fn by_size(view: &View<'_>, open: &[&Device], pool: &[&Device]) -> Result<Option<Vec<Chosen>>, FitError> {
    let mut pool = by_path(pool);
    let mut chosen = Vec::new();
    let mut rest = Vec::new();
    // Equal sizes first: the natural replacement.
    for saved in by_path(open) {
        let same = pool.iter().position(|p| p.size == saved.size && view.unfit(saved, p).is_none());
        match same {
            Some(i) => chosen.push((saved, pool.remove(i))),
            None => rest.push(saved),
        }
    }
    // A size that some of several equal saved disks found and others did not: nothing tells which of them.
    let short = rest.iter().find(|saved| chosen.iter().any(|(other, _)| other.size == saved.size)).copied();
    let Some(others) = larger_ones(view, &rest, &pool) else { return Ok(None) };
    if let Some(saved) = short {
        let reason = format!("several saved disks have {} bytes, fewer blank ones do", saved.size.0);
        return Err(ambiguous(view, open, &reason, chosen.into_iter().chain(others.0)));
    }
    if !others.1 {
        let reason = "blank disks of different sizes would do".to_owned();
        return Err(ambiguous(view, open, &reason, chosen.into_iter().chain(others.0)));
    }
    let all = chosen.into_iter().chain(others.0);
    Ok(Some(
        all.map(|(saved, present)| (saved.id.clone(), present.id.clone(), why(view, saved, present)))
            .collect(),
    ))
}

fn why(view: &View<'_>, saved: &Device, present: &Device) -> String {
    let what = if present.content == Content::Empty { "blank" } else { "named for erasure" };
    if present.size == saved.size {
        format!("{what} and of the same size")
    } else if may_erase(view.choices, present) {
        format!("{what} and large enough{}", size_note(saved, present))
    } else {
        format!("{what}, the smallest that is large enough{}", size_note(saved, present))
    }
}

type Pairs<'a> = Vec<(&'a Device, &'a Device)>;

/// An assignment of all of `rest`, and whether sizes alone decide it; `None` when there is none.
fn larger_ones<'a>(view: &View<'_>, rest: &[&'a Device], pool: &[&'a Device]) -> Option<(Pairs<'a>, bool)> {
    if rest.is_empty() {
        return Some((Vec::new(), true));
    }
    // The neediest first, each takes the smallest that does: if any assignment exists, this finds one, because
    // a disk that suffices for one suffices for every less demanding one (sector sizes apart).
    let mut order = rest.to_vec();
    order
        .sort_by_key(|saved| (std::cmp::Reverse(crate::minimum_size(view.saved, saved)), saved.path.clone()));
    let mut left = pool.to_vec();
    left.sort_by_key(|disk| disk.size);
    let mut pairs = Vec::new();
    for saved in &order {
        let i = left.iter().position(|disk| view.unfit(saved, disk).is_none())?;
        pairs.push((*saved, left.remove(i)));
    }
    // A single disk takes the smallest that suffices. For several, that would be a guess, unless every
    // assignment gives each of them the same size.
    let unique = rest.len() == 1 || count(view, &order, pool) == 1;
    Some((pairs, unique))
}

/// Number of assignments that differ in sizes, counted up to 2.
fn count(view: &View<'_>, rest: &[&Device], pool: &[&Device]) -> usize {
    let Some((saved, others)) = rest.split_first() else { return 1 };
    let mut sizes = BTreeSet::new();
    let mut found = 0;
    for (i, disk) in pool.iter().enumerate() {
        if view.unfit(saved, disk).is_some() || !sizes.insert((disk.size, disk.sector)) {
            continue;
        }
        let mut left = pool.to_vec();
        left.remove(i);
        found += count(view, others, &left);
        if found > 1 {
            break;
        }
    }
    found
}

fn list(disks: &[&Device]) -> String {
    disks.iter().map(|disk| format!("{} ({})", name(disk), disk.id)).collect::<Vec<_>>().join(" and ")
}

fn ambiguous<'a>(
    view: &View<'_>,
    open: &[&Device],
    reason: &str,
    pairs: impl Iterator<Item = (&'a Device, &'a Device)>,
) -> FitError {
    let proposal: BTreeMap<NodeId, NodeId> =
        pairs.map(|(saved, present)| (saved.id.clone(), present.id.clone())).collect();
    FitError::Ambiguous {
        unclear: list(open),
        reason: reason.to_owned(),
        table: view.table(open),
        proposal,
        hint: "Accept the proposed mapping or give another one.".into(),
    }
}

fn missing(view: &View<'_>, open: &[&Device], free: &[&Device]) -> FitError {
    let needs: Vec<String> = open
        .iter()
        .map(|saved| {
            let least = crate::minimum_size(view.saved, saved);
            format!("{} needs a disk of at least {} bytes ({least})", saved.path, least.0)
        })
        .collect();
    let fits = |disk: &&&Device| open.iter().any(|saved| view.unfit(saved, disk).is_none());
    let mut hint = format!("{}. Add a blank disk of that size", needs.join("; "));
    let foreign: Vec<&str> = free
        .iter()
        .filter(|disk| disk.content != Content::Empty)
        .filter(fits)
        .map(|disk| disk.id.0.as_str())
        .collect();
    let sticks: Vec<&str> = free
        .iter()
        .filter(|disk| disk.content == Content::Empty && is_stick(disk))
        .filter(fits)
        .map(|disk| disk.id.0.as_str())
        .collect();
    if !foreign.is_empty() {
        hint.push_str(&format!(
            ", or, if what it holds may be lost for ever, name one of these for erasure or choose it by a mapping: {}",
            foreign.join(", ")
        ));
    }
    if !sticks.is_empty() {
        hint.push_str(&format!(
            ", or choose the removable disk {} by a mapping if it is really meant",
            sticks.join(" or ")
        ));
    }
    hint.push('.');
    FitError::Missing { missing: list(open), table: view.table(open), hint }
}
