//! Which snapshots of one machine stay, and which are forgotten. Snapshots of other machines, and those that other programs made,
//! are never touched.

use std::collections::HashSet;

use backup::Options;

use crate::backend::FileKind;
use crate::error::Result;
use crate::lock::Lock;
use crate::snapshot::Snapshot;
use crate::{Repository, prune};

/// How many snapshots stay. The newest always does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// The newest so many.
    pub last: u32,
    /// The newest of each of so many days that have one.
    pub daily: u32,
    /// The newest of each of so many weeks (Monday to Sunday).
    pub weekly: u32,
    /// The newest of each of so many months.
    pub monthly: u32,
    /// The newest of each of so many years.
    pub yearly: u32,
}

/// The name of the period that a day lies in.
type Period = fn(jiff::civil::Date) -> (i16, i16);

/// What became of the snapshots.
#[derive(Clone, Debug, Default)]
pub struct Retained {
    /// Those that were forgotten.
    pub forgotten: Vec<Snapshot>,
    /// Number of those of this machine that stay.
    pub kept: usize,
    /// Bytes that the repository is smaller by.
    pub freed: u64,
}

impl Keep {
    /// Whether anything is ever forgotten.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// The snapshots that go, of these, which are sorted by their time.
    pub fn surplus<'s>(&self, snapshots: &'s [Snapshot]) -> Vec<&'s Snapshot> {
        if self.is_everything() {
            return Vec::new();
        }
        let mut kept: HashSet<usize> = snapshots.len().checked_sub(1).into_iter().collect();
        kept.extend((0..snapshots.len()).rev().take(self.last as usize));
        let periods: [(u32, Period); 4] = [
            (self.daily, |date| (date.year(), date.day_of_year())),
            (self.weekly, |date| (date.iso_week_date().year(), date.iso_week_date().week().into())),
            (self.monthly, |date| (date.year(), date.month().into())),
            (self.yearly, |date| (date.year(), 0)),
        ];
        for (count, period) in periods {
            let mut seen = HashSet::new();
            for (at, snapshot) in snapshots.iter().enumerate().rev() {
                let Ok(time) = jiff::Timestamp::from_second(snapshot.time) else { continue };
                let date = jiff::tz::Offset::UTC.to_datetime(time).date();
                if seen.len() < count as usize && seen.insert(period(date)) {
                    kept.insert(at);
                }
            }
        }
        snapshots.iter().enumerate().filter(|(at, _)| !kept.contains(at)).map(|(_, one)| one).collect()
    }
}

impl Repository {
    /// Forgets what `keep` does not keep of the snapshots that this program made of that machine under that label, with what else
    /// was stored under the same further tags as one of them; and removes the data that no
    /// snapshot of any machine needs. It can be cut off at any moment: what is there stays whole, and the next run goes on.
    ///
    /// # Errors
    /// Somebody else works on the repository, a tree that is still needed cannot be read (nothing is removed then), or the run was
    /// stopped.
    pub fn retain(&self, hostname: &str, label: &str, keep: &Keep, options: &Options) -> Result<Retained> {
        let _lock = Lock::take(self, true)?;
        let ours = |one: &Snapshot| one.is_ours && one.hostname == hostname;
        let (own, others): (Vec<_>, Vec<_>) = self
            .snapshots()?
            .into_iter()
            .filter(ours)
            .partition(|one| one.tags.iter().any(|tag| tag == label));
        let mut surplus: Vec<Snapshot> = keep.surplus(&own).into_iter().cloned().collect();
        let kept = own.len() - surplus.len();
        let further = |one: &Snapshot| -> Vec<String> { one.tags.iter().skip(2).cloned().collect() };
        let gone: HashSet<Vec<String>> =
            surplus.iter().map(further).filter(|tags| !tags.is_empty()).collect();
        // The companions first: none of them is ever without what it speaks of.
        let companions = others.into_iter().filter(|one| gone.contains(&further(one)));
        surplus.splice(0..0, companions);
        for snapshot in &surplus {
            options.cancel.check()?;
            self.0.backend.remove(FileKind::Snapshot, snapshot.id)?;
        }
        let freed = prune::prune(self, options)?;
        Ok(Retained { kept, forgotten: surplus, freed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Id;

    fn at(times: &[&str]) -> Vec<Snapshot> {
        let one = |time: &&str| Snapshot {
            id: Id::of(time.as_bytes()),
            time: time.parse::<jiff::Timestamp>().unwrap().as_second(),
            hostname: "h".into(),
            tags: Vec::new(),
            paths: Vec::new(),
            is_ours: true,
        };
        times.iter().map(one).collect()
    }

    fn gone(keep: Keep, times: &[&str]) -> Vec<String> {
        let snapshots = at(times);
        let named =
            |one: &Snapshot| times[snapshots.iter().position(|other| other == one).unwrap()].to_owned();
        keep.surplus(&snapshots).into_iter().map(named).collect()
    }

    #[test]
    fn the_newest_of_each_period_stays() {
        let times = [
            "2024-12-30T10:00:00Z",
            "2024-12-31T10:00:00Z",
            "2025-01-01T09:00:00Z",
            "2025-01-01T10:00:00Z",
            "2025-03-01T10:00:00Z",
        ];
        assert_eq!(gone(Keep::default(), &times), [""; 0]);
        assert_eq!(gone(Keep { last: 2, ..Keep::default() }, &times), times[..3]);
        assert_eq!(gone(Keep { daily: 2, ..Keep::default() }, &times), times[..3]);
        assert_eq!(gone(Keep { daily: 9, ..Keep::default() }, &times), [times[2]]);
        // The last days of December belong to the first week of the year.
        assert_eq!(gone(Keep { weekly: 9, ..Keep::default() }, &times), times[..3]);
        assert_eq!(gone(Keep { monthly: 9, ..Keep::default() }, &times), [times[0], times[2]]);
        assert_eq!(gone(Keep { yearly: 1, ..Keep::default() }, &times), times[..4]);
        assert_eq!(gone(Keep { yearly: 1, last: 5, ..Keep::default() }, &times), [""; 0]);
    }
}
