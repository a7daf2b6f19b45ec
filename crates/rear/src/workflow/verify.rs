//! `rear verify`: reads a recovery point from end to end and proves it: the seal, the medium, the archive against its
//! manifest, and the plan of a recovery. It goes on after a fault, so that one run names them all, and writes nothing.

use backup::Stored;
use boot::BootFacts;
use layout::{Bytes, Layout};
use serde_json::json;

use super::beneath::MountPoint;
use super::list::readable;
use super::points::{Found, Looked};
use super::preserve::Kept;
use crate::cli::Verify;
use crate::context::Context;
use crate::failure::{Code, Failure, Result};
use crate::files;
use crate::point::{self, Place, Seal};
use crate::unlock::Unlocker;
use crate::workflow::mkbackup::utc;

/// What a fault's text is shortened to in the error at the end; all of them are printed before.
const SHOWN: usize = 20;

/// Runs the workflow.
pub fn run(context: &Context, options: &Verify) -> Result<()> {
    context.show_config_warnings();
    let looked = Looked::own(context, options.from.as_deref())?;
    looked.refuse_none()?;
    let mut faults = Vec::new();
    for (path, why) in &looked.others {
        context.ui.say(format!("Not a recovery point: {} {why}.", path.display()));
    }
    // A medium may say that the files are elsewhere, but then they must be there.
    if options.from.is_none()
        && let Some(dir) = context.backup_dir()
        && !looked.points.iter().any(|found| found.place.path() == dir)
        && looked.points.iter().any(|found| found.seal.as_ref().is_some_and(|seal| seal.elsewhere.is_some()))
    {
        faults.push(format!("{}: there is no recovery point with the files", dir.display()));
    }
    let mut unlocker = Unlocker::new(context, &options.keys)?;
    for found in &looked.points {
        let unlocker = (!options.without_key).then_some(&mut unlocker);
        let mut check = Check { context, found, quick: options.quick, unlocker, faults: Vec::new() };
        check.run()?;
        faults.append(&mut check.faults);
    }
    if faults.is_empty() {
        return Ok(());
    }
    let mut list: String = faults.iter().take(SHOWN).map(|fault| format!("\n- {fault}")).collect();
    if faults.len() > SHOWN {
        list.push_str(&format!("\n- and {} more, all named above", faults.len() - SHOWN));
    }
    Err(Failure::new(Code::Failed, format!("{} thing(s) are wrong:{list}", faults.len())).hint(
        "do not rely on this recovery point: copy it again from where it was made, or make a new one; files that are not \
         named can still be had with rear restore",
    ))
}

struct Check<'a, 'c> {
    context: &'a Context,
    found: &'a Found,
    quick: bool,
    /// None where what is encrypted stays closed.
    unlocker: Option<&'a mut Unlocker<'c>>,
    faults: Vec<String>,
}

impl Check<'_, '_> {
    fn fault(&mut self, text: String) {
        self.context.ui.say(format!("  wrong: {text}"));
        self.context.ui.event(&json!({"event": "fault", "path": self.found.place.path(), "text": text}));
        self.faults.push(text);
    }

    /// Keeps an error as a fault; the operator's wish to stop is none.
    fn keep<T>(&mut self, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(failure) if self.context.cancel.is_raised() => Err(failure),
            Err(failure) => {
                self.fault(failure.message);
                Ok(None)
            }
        }
    }

    fn run(&mut self) -> Result<()> {
        let (found, ui) = (self.found, &self.context.ui);
        let path = found.place.path().display();
        found.faults.iter().for_each(|fault| self.fault(fault.clone()));
        let Some(seal) = &found.seal else { return Ok(()) };
        let host = readable(seal.hostname.as_bytes());
        ui.say(format!("Recovery point {} of {host}, made {}, at {path}:", seal.id, utc(seal.created)));
        self.sealed(seal)?;
        self.medium()?;
        self.archive(seal)?;
        if !self.quick {
            self.plan(seal)?;
        }
        ui.event(
            &json!({"event": "verified", "path": found.place.path(), "id": seal.id, "quick": self.quick,
            "faults": self.faults.len()}),
        );
        if !self.faults.is_empty() {
            return Ok(());
        }
        if let Some(elsewhere) = &seal.elsewhere {
            ui.say(format!("The files do not lie here but at {elsewhere}."));
        }
        if seal.encryption().is_some() && self.unlocker.is_none() {
            let (right, content) = match self.quick {
                true => ("seal, names and sizes are right", "the content of any file"),
                false => ("every byte is as it was sealed", "that a key opens the backup"),
            };
            ui.say(format!(
                "{path}: {right}. It is encrypted. NOT checked: {content}, and what is in it; rear verify with the key does."
            ));
        } else if self.quick {
            ui.say(format!(
                "{path}: seal, names, sizes and the archive's index are right. NOT checked: the content of any file, of the \
                 layout, of kernel and rescue system, and whether a plan can be made; rear verify without --quick does."
            ));
        } else {
            ui.say(format!("{path}: proven whole."));
        }
        Ok(())
    }

    /// Every small part against the seal, and nothing beside them.
    fn sealed(&mut self, seal: &Seal) -> Result<()> {
        let stage = self.context.ui.stage("seal");
        if let Some(names) = self.keep(self.found.place.names())? {
            let known = |name: &String| {
                let beside = seal.content.as_ref().is_some_and(|content| files::lies_beside(content, name));
                name == point::SEAL || beside || seal.parts.iter().any(|part| part.name == *name)
            };
            for name in names.iter().filter(|name| !known(name)) {
                let shown = self.found.place.shown(&readable(name.as_bytes()));
                self.fault(format!("{shown} is foreign: the seal does not name it"));
            }
        }
        if !self.quick {
            let is_large = |name: &str| name == seal.manifest_name() || point::is_archive(name);
            for part in seal.parts.iter().filter(|part| !is_large(&part.name)) {
                self.part(&part.name, part)?;
            }
        }
        let what = if self.quick { "names and sizes" } else { "names, sizes and small parts" };
        stage.done(format!("{} parts: {what} compared with the seal", seal.parts.len()));
        Ok(())
    }

    /// Hashes a part; gives whether it is right. What has another size or is missing was told before.
    fn part(&mut self, name: &str, part: &point::Part) -> Result<bool> {
        if !matches!(self.found.place.size(name), Ok(Some(bytes)) if bytes == part.bytes) {
            return Ok(false);
        }
        let stored = self.found.place.stored(name);
        let Some(stored) = self.keep(stored)? else { return Ok(false) };
        stored.forget_cached();
        let measured = point::measure_stored(&stored, name, &self.context.cancel);
        let measured = measured.map_err(|failure| failure.during(&self.found.place.shown(name)));
        let Some(measured) = self.keep(measured)? else { return Ok(false) };
        if measured != *part {
            let shown = self.found.place.shown(name);
            self.fault(format!("{shown} is damaged: its checksum is not the sealed one"));
        }
        Ok(measured == *part)
    }

    /// What mkbackup's read-back looks at: partition table, kernel, rescue system, boot menu.
    fn medium(&mut self) -> Result<()> {
        let (Place::Iso { volume, .. }, Some(marker)) = (&self.found.place, &self.found.marker) else {
            return Ok(());
        };
        let stage = self.context.ui.stage("medium");
        if self.quick {
            for part in &marker.parts {
                let result = volume.find(&part.target);
                match self.keep(result.map_err(Failure::from))? {
                    Some(Some(found)) if found.bytes == part.bytes => {}
                    Some(_) => self.fault(format!("{} is missing or has another size", part.target)),
                    None => {}
                }
            }
            stage.done(format!("{} parts of the medium: sizes", marker.parts.len()));
            return Ok(());
        }
        let cancel = &self.context.cancel;
        self.keep(medium::read_back(volume.path(), &[], cancel).map_err(Failure::from))?;
        for part in &marker.parts {
            let result = medium::read_back(volume.path(), std::slice::from_ref(part), cancel);
            self.keep(result.map_err(Failure::from))?;
        }
        if marker.parts.is_empty() {
            stage.done(
                "partition table only: this medium does not say what its kernel and rescue system must be",
            );
        } else {
            stage.done("partition table, kernel, rescue system and boot menu read back");
        }
        Ok(())
    }

    /// Files that lie at a place of their own.
    fn content(&mut self, content: &point::Content, seal: &Seal) -> Result<()> {
        let stage = self.context.ui.stage_of("verify", if self.quick { 0 } else { content.data_bytes });
        if self.quick {
            stage.done(format!("the files at {} were not looked at", content.url));
            return Ok(());
        }
        if let Ok(part) = seal.part(point::MANIFEST) {
            self.part(point::MANIFEST, &part.clone())?;
        }
        let proven = files::origin(content)
            .and_then(|mut origin| origin.verify(self.context, &self.found.place, seal, &stage));
        for fault in self.keep(proven)?.unwrap_or_default() {
            self.fault(fault);
        }
        stage.done(format!("{} files at {}", content.files, content.url));
        Ok(())
    }

    fn archive(&mut self, seal: &Seal) -> Result<()> {
        if let Some(content) = &seal.content {
            return self.content(content, seal);
        }
        let Some(archive) = &seal.archive else { return Ok(()) };
        let name = seal.manifest_name();
        let manifest_right = match seal.part(name) {
            Ok(part) if !self.quick => self.part(name, &part.clone())?,
            Ok(_) => true,
            Err(failure) => {
                self.fault(failure.message);
                false
            }
        };
        let is_there = |name: &String| matches!(self.found.place.size(name), Ok(Some(_)));
        if !archive.file_names().iter().all(is_there) {
            // Told before.
            return Ok(());
        }
        if seal.encryption().is_some() && self.unlocker.is_none() {
            return self.closed(seal, archive);
        }
        // It may ask, so no progress is shown yet.
        let Some((stored, manifest)) = self.open(seal, archive, manifest_right)? else { return Ok(()) };
        let stage = self.context.ui.stage_of("verify", if self.quick { 0 } else { archive.data_bytes });
        if self.quick {
            let index = backup::verify_index(&stored, archive.bytes, &archive.blake3);
            self.keep_unless_told(&stored, archive, index.map_err(Failure::from))?;
            stage.done("the archive's index is whole");
            return Ok(());
        }
        stored.forget_cached();
        let options = self.context.archive_options();
        let Some(manifest) = manifest else {
            let whole = backup::verify(&stored, archive.bytes, &archive.blake3, &options, &stage);
            self.keep_unless_told(&stored, archive, whole.map_err(Failure::from))?;
            stage.done("the archive alone: its manifest cannot be used, so no file can be named");
            return Ok(());
        };
        let proof = backup::prove(&stored, &manifest, archive.bytes, &archive.blake3, &options, &stage);
        let proof = self.keep_unless_told(&stored, archive, proof.map_err(Failure::from))?;
        let Some(proof) = proof else { return Ok(()) };
        for finding in &proof.findings {
            let shown = self.found.place.shown(&archive.name);
            self.fault(match &finding.path {
                Some(path) => {
                    use std::os::unix::ffi::OsStrExt;
                    format!("{}: {}", readable(path.as_os_str().as_bytes()), finding.detail)
                }
                None => format!("{shown}: {}", finding.detail),
            });
        }
        if proof.more > 0 {
            self.fault(format!("{} further files of the archive are damaged", proof.more));
        }
        if proof.findings.is_empty() && (proof.files, proof.bytes) != (archive.files, archive.data_bytes) {
            self.fault(format!(
                "the manifest lists {} entries with {}, the seal says {} with {}",
                proof.files,
                Bytes(proof.bytes),
                archive.files,
                Bytes(archive.data_bytes)
            ));
        }
        stage.done(format!(
            "{} entries of the archive compared with the manifest, {} of content",
            proof.files,
            Bytes(proof.bytes)
        ));
        Ok(())
    }

    /// The archive, and the manifest where it can be used, both opened where they are encrypted. `None` where the archive is
    /// damaged so that it cannot be opened, which was told then. A key that does not fit is no fault of the recovery point.
    fn open(
        &mut self,
        seal: &Seal,
        archive: &point::Archive,
        manifest_right: bool,
    ) -> Result<Option<(Stored, Option<Stored>)>> {
        let place = &self.found.place;
        let Some(unlocker) = self.unlocker.as_mut() else {
            // Nothing is encrypted.
            let Some(stored) = self.keep(seal.archive_in(place))? else { return Ok(None) };
            let manifest = manifest_right.then(|| place.stored(point::MANIFEST)).transpose()?;
            return Ok(Some((stored, manifest)));
        };
        if manifest_right {
            // What is whole and cannot be opened has another key.
            let manifest = unlocker.manifest(place, seal)?;
            let stored = unlocker.archive(place, seal);
            return Ok(self.keep(stored)?.map(|stored| (stored, Some(manifest))));
        }
        let stored = seal.archive_in(place).and_then(|stored| unlocker.open(seal, stored));
        match stored {
            Ok(stored) => Ok(Some((stored, None))),
            Err(failure) if self.context.cancel.is_raised() => Err(failure),
            // Where its bytes are the sealed ones, it is the key.
            Err(failure) => match self.files(seal, archive)? {
                true => Err(failure),
                false => Ok(None),
            },
        }
    }

    /// Compares the files of the archive with the seal as they are.
    fn files(&mut self, seal: &Seal, archive: &point::Archive) -> Result<bool> {
        let mut right = true;
        for name in archive.file_names() {
            let Some(part) = self.keep(seal.part(&name).cloned())? else { return Ok(false) };
            right &= self.part(&name, &part)?;
        }
        Ok(right)
    }

    /// An encrypted archive for which there is no key.
    fn closed(&mut self, seal: &Seal, archive: &point::Archive) -> Result<()> {
        let stage = self.context.ui.stage("verify");
        if self.quick {
            stage.done("the archive is encrypted, and was not looked into");
            return Ok(());
        }
        self.files(seal, archive)?;
        stage.done("the archive is encrypted: its files were compared with the seal, and not opened");
        Ok(())
    }

    /// Like [`Check::keep`], but another length than the sealed one was told before.
    fn keep_unless_told<T>(
        &mut self,
        stored: &Stored,
        archive: &point::Archive,
        result: Result<T>,
    ) -> Result<Option<T>> {
        if stored.len() == archive.bytes || result.is_ok() || self.context.cancel.is_raised() {
            self.keep(result)
        } else {
            Ok(None)
        }
    }

    /// The dry run: from the saved layout to a whole plan on blank disks like the machine's own.
    fn plan(&mut self, seal: &Seal) -> Result<()> {
        let stage = self.context.ui.stage("plan");
        let steps = plan_steps(seal, &self.found.place);
        match self.keep(steps)? {
            Some(steps) => stage.done(format!("{steps} steps recover the storage on blank disks")),
            None => stage.done("no plan can be made"),
        }
        Ok(())
    }
}

fn plan_steps(seal: &Seal, place: &Place) -> Result<usize> {
    let during = |what: &'static str| move |failure: Failure| failure.during(what);
    let text = seal.load(place, point::LAYOUT)?;
    let layout = Layout::from_json(&String::from_utf8_lossy(&text))
        .map_err(|error| Failure::from(error).during(point::LAYOUT))?;
    Kept::read(seal, place, &layout).map_err(during(point::PRESERVED))?;
    let _: BootFacts = serde_json::from_slice(&seal.load(place, point::BOOT)?)
        .map_err(|error| Failure::from(error).during(point::BOOT))?;
    if seal.archive.is_some() {
        let _: Vec<MountPoint> = serde_json::from_slice(&seal.load(place, point::MOUNT_POINTS)?)
            .map_err(|error| Failure::from(error).during(point::MOUNT_POINTS))?;
    }
    let plan = plan::recoverable(&layout).map_err(|error| {
        Failure::refused(format!("{}: no plan leads back to this machine: {error}", point::LAYOUT))
    })?;
    Ok(plan.steps.len())
}
