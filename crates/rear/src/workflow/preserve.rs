//! Disks that stay as they are: kept in the recovery point so that they can be recognised, required before any write,
//! protected from every write, and proven unwritten at the end by the kernel's own count. Nothing is attached or mounted from
//! them; see `docs/decisions/0008-preserved-disks-are-not-touched.md`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use layout::{Layout, NodeId};
use plan::Preserved;
use serde::{Deserialize, Serialize};
use sys::Sys;

use super::machine::Machine;
use crate::context::Context;
use crate::failure::{Code, Failure, Result};
use crate::point::{self, Place, Seal};

/// The preserved disks of a machine, as a part of its recovery point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// The disks with all that lies on them, and the mounts from them.
    pub layout: Layout,
    /// Mount points among these whose files are in the archive: they are not restored either.
    pub archived: Vec<String>,
}

impl Kept {
    /// What of this machine stays as it is.
    pub fn of(machine: &Machine) -> Self {
        let is_kept = |row: &&probe::CoverageRow| {
            matches!(row.decision, probe::Decision::Kept { .. })
                && machine.coverage.mounts.contains(&row.what)
        };
        let archived = machine.coverage.rows.iter().filter(is_kept).map(|row| row.what.clone()).collect();
        Self { layout: probe::preserved(&machine.layout, &machine.coverage), archived }
    }

    /// Reads the part. A recovery point without it has nothing to preserve.
    pub fn read(seal: &Seal, place: &Place, saved: &Layout) -> Result<Self> {
        if !seal.parts.iter().any(|part| part.name == point::PRESERVED) {
            return Ok(Self { layout: Layout::new(saved.machine.clone()), archived: Vec::new() });
        }
        let kept: Self = serde_json::from_slice(&seal.load(place, point::PRESERVED)?)?;
        if let Some(violation) = kept.layout.check().first() {
            let text = format!("the saved layout of the preserved disks is not consistent: {violation}");
            return Err(Failure::refused(text).hint("no disk was written to"));
        }
        Ok(kept)
    }
}

/// Looks for the preserved disks, and refuses to go on without them. `without` names those that are not needed.
pub fn find(context: &Context, kept: &Layout, present: &Layout, without: &[String]) -> Result<Preserved> {
    let result = plan::preserved(kept, present);
    for name in without {
        if !kept.disks().any(|disk| names(name, disk)) {
            let known: Vec<&str> = kept.disks().map(|disk| disk.path.as_str()).collect();
            let text = format!("--without names {name}, which is no preserved disk of the saved machine");
            let hint = if known.is_empty() {
                "it has none".to_owned()
            } else {
                format!("they are {}", known.join(", "))
            };
            return Err(Failure::new(Code::Usage, text).hint(hint));
        }
    }
    let mut lacking = Vec::new();
    for (id, what) in &result.missing {
        let disk = kept.device(id);
        if disk.is_some_and(|disk| without.iter().any(|name| names(name, disk))) {
            context.ui.warn(format!("going on without a preserved disk: {what}"));
        } else {
            lacking.push(format!("\n- {what} [{id}]"));
        }
    }
    if lacking.is_empty() {
        return Ok(result);
    }
    Err(Failure::refused(format!(
        "disks that stay as they are (preserved), and that the machine needs, are not here as they were:{}",
        lacking.concat()
    ))
    .hint(
        "no disk was written to; connect them and run rear recover again, or go on without one with --without DISK, as the \
         brackets name it",
    ))
}

fn names(name: &str, device: &layout::Device) -> bool {
    let identity = device.disk().map(|disk| &disk.identity);
    let is = |value: Option<&String>| value.is_some_and(|value| value == name);
    device.id.0 == name
        || device.path == name
        || identity.is_some_and(|identity| is(identity.serial.as_ref()) || is(identity.wwn.as_ref()))
}

/// How much had been written to each preserved disk at one moment.
pub struct Watch(Vec<(PathBuf, u64)>);

impl Watch {
    /// Notes it for each of the disks that are here, but for those that are in use: a recovery point may be read from one.
    pub fn begin(
        sys: &dyn Sys,
        present: &Layout,
        preserved: &Preserved,
        in_use: &BTreeSet<NodeId>,
    ) -> Result<Self> {
        let mut watched = Vec::new();
        for id in preserved.protected.keys().filter(|id| !in_use.contains(*id)) {
            let Some(disk) = present.device(id) else { continue };
            let multipath = disk.disk().and_then(|disk| disk.multipath.as_ref());
            let paths = multipath.map(|multipath| multipath.paths.as_slice()).unwrap_or_default();
            for path in std::iter::once(&disk.path).chain(paths) {
                let path = PathBuf::from(path);
                let count = written(sys, &path)?;
                watched.push((path, count));
            }
        }
        Ok(Self(watched))
    }

    /// Adds to the problems each disk to which something was written since then.
    pub fn end(&self, sys: &dyn Sys, problems: &mut Vec<String>) -> Result<()> {
        for (path, before) in &self.0 {
            let more = written(sys, path)?.saturating_sub(*before);
            if more > 0 {
                problems.push(format!(
                    "{} should stay as it is, but {} were written to it during the recovery, by whatever program",
                    path.display(),
                    layout::Bytes(more.saturating_mul(512))
                ));
            }
        }
        Ok(())
    }

    /// How many disks are watched.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// Units of 512 bytes written to a disk since it appeared (the kernel's `Documentation/block/stat.rst`: the seventh number).
fn written(sys: &dyn Sys, disk: &Path) -> Result<u64> {
    let name = disk.file_name().unwrap_or_default();
    let file = Path::new("/sys/block").join(name).join("stat");
    let text = String::from_utf8_lossy(&sys.read(&file)?).into_owned();
    sectors_written(&text)
        .ok_or_else(|| Failure::failed(format!("{} cannot be understood: {}", file.display(), text.trim())))
}

fn sectors_written(text: &str) -> Option<u64> {
    text.split_whitespace().nth(6)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_of_written_sectors_is_the_seventh_number() {
        // Linux 6.1, 17 numbers; Linux 3.10 has the first 11 of them.
        let text = "    1021        6    49850      183       12        9      168       21        0      140      206   0 0 0 0 2 1\n";
        assert_eq!(sectors_written(text), Some(168));
        assert_eq!(sectors_written("1 2 3"), None);
    }

    #[test]
    fn the_part_reads_back_and_a_damaged_name_is_refused() {
        let machine = layout::Machine {
            hostname: "web".into(),
            firmware: layout::Firmware::Bios,
            architecture: "x86_64".into(),
            system: String::new(),
        };
        let kept = Kept { layout: Layout::new(machine), archived: vec!["/data".into()] };
        let text = serde_json::to_string(&kept).unwrap();
        assert_eq!(serde_json::from_str::<Kept>(&text).unwrap(), kept);
        assert!(serde_json::from_str::<Kept>(&text.replace("archived", "arcHived")).is_err());
    }
}
