//! The phases after the recovery: the new disks are compared with the old ones, and the recovered machine boots.

use std::path::{Path, PathBuf};

use super::{Drill, numbered};
use crate::compare::Gathered;
use crate::helper::Share;
use crate::lab::copy;
use crate::machine::Drive;
use crate::scenario::{Bus, Firmware};
use crate::{Result, compare, disk, install, storage, verdict};

const UP: &str = include_str!("../../guest/up.sh");
const COMPARE: &str = include_str!("../../guest/compare.sh");

impl Drill<'_> {
    /// Compares every file and identifier.
    pub(super) fn compare(&self) -> Result<()> {
        let spec = &self.scenario.machine;
        let count = spec.disk.len();
        let originals: Vec<PathBuf> = (0..count).map(|index| self.original(index)).collect();
        let recovered = self.recovered_disks(count);
        self.lab.say(&format!("{}: every file and identifier is compared", self.scenario.name));
        let allowed = &self.scenario.compare;
        if spec.is_stacked() {
            // Arrays, groups and containers with one identifier cannot be on one machine twice.
            let original = self.gather("compare-original", &[("o", &originals)])?;
            let recovered = self.gather("compare-recovered", &[("r", &recovered)])?;
            compare::judge(&Gathered { original: &original, recovered: &recovered }, spec, allowed)
        } else {
            let both = self.gather("compare", &[("o", &originals), ("r", &recovered)])?;
            compare::judge(&Gathered { original: &both, recovered: &both }, spec, allowed)
        }
    }

    /// Has a helper machine tell everything about the disks of these sides. Gives the folder with what it told.
    fn gather(&self, name: &str, sides: &[(&str, &[PathBuf])]) -> Result<PathBuf> {
        let spec = &self.scenario.machine;
        let names: Vec<&str> = sides.iter().map(|(side, _)| *side).collect();
        let variables = [("SIDES", names.join(" ")), ("STACKED", self.stacked().to_owned())];
        let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
        let share = Share::new(self.dir.join(name), COMPARE, &variables)?;
        share.put("layout.sh", &install::layout(spec))?;
        share.put("assemble.sh", &install::assembly(spec))?;
        share.put("storage-lib.sh", storage::LIB)?;
        let mut machine = self.helper(&self.dir, name, Firmware::Bios, Path::new(""))?;
        for (side, disks) in sides {
            for (index, file) in disks.iter().enumerate() {
                disk::must_exist(file)?;
                machine = machine.disk(&Drive {
                    file,
                    format: "qcow2",
                    serial: format!("{side}{index}"),
                    bus: Bus::Virtio,
                    sector: spec.disk.get(index).map_or(512, |disk| disk.sector_size),
                    throw_away: true,
                    boot_index: None,
                });
            }
        }
        share.run(self.lab, machine, self.limit(900))?;
        Ok(share.out())
    }

    /// Boots the recovered machine: whole, then without each of the disks that it has to do without.
    pub(super) fn boot(&self) -> Result<()> {
        self.boot_without(None)?;
        self.scenario.boot.without.iter().try_for_each(|index| self.boot_without(Some(*index)))
    }

    fn boot_without(&self, missing: Option<usize>) -> Result<()> {
        let (spec, wanted) = (&self.scenario.machine, &self.scenario.boot);
        let name = missing.map_or_else(|| "boot".to_owned(), |index| format!("boot-without-{index}"));
        let share = Share::new(self.dir.join(&name), UP, &[("HOST", &spec.host)])?;
        let vars = self.dir.join("boot.fd");
        match wanted.keep_nvram && spec.firmware.is_uefi() {
            true => copy(self.lab, &self.recovered_nvram(), &vars)?,
            false => self.empty_nvram(&vars)?,
        }
        let mut disks = numbered(self.recovered_disks(spec.disk.len()));
        disks.retain(|(index, _)| Some(*index) != missing);
        for (_, file) in &disks {
            disk::must_exist(file)?;
        }
        // What is reached over two paths has one image, whose throw-away copy is made by hand.
        let twice = spec.bus == Bus::Multipath;
        if twice {
            for (index, file) in &mut disks {
                let copy = self.dir.join(format!("{name}{index}.qcow2"));
                disk::layer(self.lab, &copy, file)?;
                *file = copy;
            }
        }
        let machine = self.machine(&self.dir, &name, &vars, &disks, "NEW", !twice);
        let how = missing.map(|index| format!(" without disk {index}")).unwrap_or_default();
        self.lab.say(&format!("{}: the recovered machine boots{how}", self.scenario.name));
        share.run_with(self.lab, machine, &spec.dialog, self.limit(900))?;
        verdict::judge(&share.out(), &self.source.join("backup/out"), spec, wanted.keep_nvram)
    }
}
