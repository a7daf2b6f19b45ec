//! The phase in which the medium is booted on new disks: they, and damage, are prepared; then it is only watched.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Drill, numbered};
use crate::dialog::{Login, converse};
use crate::lab::{copy, write};
use crate::machine::{Drive, End, Machine};
use crate::report::Figures;
use crate::scenario::{Expect, Medium};
use crate::{Error, Result, disk};

impl Drill<'_> {
    /// Boots the medium on new disks, and judges what comes of it.
    pub(super) fn recover(&self, figures: &mut Figures) -> Result<()> {
        let (spec, wanted) = (&self.scenario.machine, &self.scenario.recover);
        disk::must_exist(&self.medium())?;
        let vars = self.recovered_nvram();
        match wanted.keep_nvram && spec.firmware.is_uefi() {
            true => copy(self.lab, &self.source.join("original.fd"), &vars)?,
            false => self.empty_nvram(&vars)?,
        }
        let sizes: Vec<String> = match &wanted.sizes {
            Some(sizes) => sizes.clone(),
            None => spec.disk.iter().map(|disk| disk.size.clone()).collect(),
        };
        let disks = self.recovered_disks(sizes.len());
        let (kept, new): (Vec<_>, Vec<_>) =
            numbered(disks.clone()).into_iter().partition(|(index, _)| wanted.keep.contains(index));
        for (index, file) in &new {
            disk::blank(self.lab, file, &sizes[*index])?;
        }
        let mut machine = self.machine(&self.dir, "recover", &vars, &new, "NEW", false);
        for (index, file) in &kept {
            disk::layer(self.lab, file, &self.original(*index))?;
            machine = machine.disk(&self.drive(*index, file, "OLD", false));
        }

        let foreign = self.dir.join("foreign.raw");
        let mut before = None;
        if let Some(size) = &wanted.foreign {
            disk::foreign(self.lab, &foreign, size)?;
            before = Some(disk::sum(self.lab, &foreign)?);
            machine = machine.disk(&Drive {
                file: &foreign,
                format: "raw",
                serial: "FOREIGN".to_owned(),
                bus: spec.bus,
                sector: 512,
                throw_away: false,
                boot_index: None,
            });
        }
        let (iso, name) = (self.medium(), &self.scenario.name);
        let copied = self.dir.join("medium.img");
        let iso = match (wanted.damage, wanted.medium) {
            (Some(damage), _) => {
                disk::damaged(self.lab, &iso, &copied, damage)?;
                copied.clone()
            }
            // A stick can be written to: it gets its own copy.
            (None, Medium::Usb) => {
                copy(self.lab, &iso, &copied)?;
                copied.clone()
            }
            (None, Medium::Cd) => iso,
        };
        let stick = (wanted.medium == Medium::Usb).then(|| disk::sum(self.lab, &iso)).transpose()?;
        machine = match wanted.medium {
            Medium::Cd => machine.cd(&iso),
            Medium::Usb => machine.usb(&iso),
        };

        self.lab.say(&format!("{name}: the rescue medium boots on new disks"));
        let limit = self.limit(wanted.timeout.unwrap_or(900));
        let result = match wanted.expect {
            Expect::Recovered => self.recovered(&machine, limit, figures),
            Expect::Refused => self.refused(&machine, limit, &new, &sizes),
        };
        let unchanged = |before: Option<String>, file: &Path, what: &str| -> Result<()> {
            match before {
                Some(sum) if sum != disk::sum(self.lab, file)? => Err(Error::Machine {
                    detail: format!("{what} was written to"),
                    console: machine.console(),
                }),
                _ => Ok(()),
            }
        };
        // Told even where the recovery failed: a written foreign disk is the worse news.
        unchanged(before, &foreign, "the disk with somebody else's data")?;
        unchanged(stick, &iso, "the stick that carries the medium")?;
        for (index, file) in &kept {
            if !disk::is_same(self.lab, &self.original(*index), file)? {
                return Err(Error::Machine {
                    detail: format!("disk {index}, which was kept, was written to"),
                    console: machine.console(),
                });
            }
        }
        for file in [foreign, copied] {
            let _ = std::fs::remove_file(file);
        }
        result
    }

    fn recovered(&self, machine: &Machine, limit: Duration, figures: &mut Figures) -> Result<()> {
        let wanted = &self.scenario.recover;
        let login = wanted.password.as_ref().map(|word| Login::new(&self.dir, word)).transpose()?;
        let machine = match &login {
            Some(login) => &machine.clone().ssh(login.port()),
            None => machine,
        };
        let _server = self.serve()?;
        let mut running = machine.power_on(self.lab)?;
        converse(self.lab, &mut running, &wanted.dialog, login.as_ref(), limit)?;
        let end = running.ends(limit)?;
        let took = running.since();
        figures.recovery = Some(took);
        write(&self.dir.join("recovery-seconds"), took.as_secs_f64().to_string())?;
        let error = |detail: String| Err(Error::Machine { detail, console: machine.console() });
        if end != End::Reset {
            return error("it was switched off instead of being restarted".to_owned());
        }
        let mut wanted = self.scenario.recover.console.clone();
        wanted.push(self.scenario.recover.complete.clone().unwrap_or_else(|| self.complete.clone()));
        match running.console().missing(&wanted) {
            Some(pattern) => error(format!("it restarted, but its console never said '{pattern}'")),
            None => Ok(()),
        }
    }

    fn refused(
        &self,
        machine: &Machine,
        limit: Duration,
        disks: &[(usize, PathBuf)],
        sizes: &[String],
    ) -> Result<()> {
        let _server = self.serve()?;
        let mut running = machine.power_on(self.lab)?;
        let refusal = self.scenario.recover.refusal.as_deref().unwrap_or("(?m)^rear: recovery FAILED:");
        let mut wanted = self.scenario.recover.console.clone();
        wanted.push(refusal.to_owned());
        running.says(&wanted, limit)?;
        // Whatever it would still do to the disks, it has the time to do it.
        std::thread::sleep(Duration::from_secs(5));
        running.power_off()?;
        for (index, file) in disks {
            if !disk::is_blank(self.lab, file, &sizes[*index])? {
                return Err(Error::Machine {
                    detail: "the recovery was refused, but the new disk was written to".to_owned(),
                    console: machine.console(),
                });
            }
        }
        Ok(())
    }

    pub(super) fn recovered_disks(&self, count: usize) -> Vec<PathBuf> {
        (0..count).map(|index| self.dir.join(format!("recovered{index}.qcow2"))).collect()
    }

    pub(super) fn recovered_nvram(&self) -> PathBuf {
        self.dir.join("recovered.fd")
    }
}
