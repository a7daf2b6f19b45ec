//! The storage drill: one guest with blank disks makes many layouts by hand, one after the other, has each saved,
//! recreated and saved again, and compares.
//!
//! A layout is a small shell file (`tests/storage/NAME.sh`). This file boots the guest, hands it the queue, and reads
//! what came of each; a guest that dies or gets stuck loses the layout it was at, and the rest runs in a new one.
//! How a layout is made and compared stands in `guest/storage*.sh`.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sys::Cmd;

use crate::guest::Base;
use crate::helper::Share;
use crate::lab::{Lab, copy, fresh_dir, make_dir, path, read};
use crate::machine::{Drive, Machine};
use crate::scenario::Bus;
use crate::{Error, Recipe, Result};

const RUN: &str = include_str!("../guest/storage.sh");
const ONE: &str = include_str!("../guest/storage-one.sh");
const SNAPSHOTS: &str = include_str!("../guest/storage-snapshots.sh");
pub(crate) const LIB: &str = include_str!("../guest/storage-lib.sh");

/// Tools of all the technologies.
const PACKAGES: &[&str] = &[
    "mdadm",
    "lvm2",
    "thin-provisioning-tools",
    "cryptsetup",
    "btrfs-progs",
    "f2fs-tools",
    "jfsutils",
    "ntfs-3g",
    "exfatprogs",
    "nilfs-tools",
    "multipath-tools",
    "kpartx",
    "nvme-cli",
    "bcache-tools",
    "gdisk",
    "parted",
];

/// Seconds that one layout may take in the guest: one that takes a minute by itself takes ten where the host has many
/// other things to do.
const LIMIT: u64 = 1800;

/// What a guest may take for its boot and for leaving, beside its layouts.
const OVERHEAD: u64 = 600;

/// How often a guest is booted anew that did not begin its first layout.
const ATTEMPTS: u32 = 2;

/// Bytes of each disk, as `truncate` reads it.
const SIZE: &str = "640M";

/// Disks with sectors of 512 bytes, of 4096, and NVMe.
const PLAIN: usize = 6;
const LARGE_SECTORS: usize = 2;
const NVME: usize = 1;

/// What came of one layout.
#[derive(Clone, Debug)]
pub struct LayoutReport {
    /// Its name.
    pub name: String,
    /// Why it failed; `None` when it came back exactly.
    pub failure: Option<String>,
    /// Seconds in the guest; `None` when the guest did not tell.
    pub seconds: Option<u64>,
}

/// The layouts of the repository: name and first line of each file, sorted.
///
/// # Errors
/// When the folder cannot be read.
pub fn layouts(dir: &Path) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(sys::Error::io("read", dir))? {
        let file = entry.map_err(sys::Error::io("read", dir))?.path();
        if file.extension().is_some_and(|extension| extension == "sh") {
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let text = read(&file)?;
            let title = text.lines().next().unwrap_or_default().trim_start_matches(['#', ' ']).to_owned();
            found.push((name, title));
        }
    }
    found.sort();
    Ok(found)
}

/// The base machine of the storage drill.
pub fn recipe() -> Recipe {
    Recipe { extra: PACKAGES.iter().map(|package| (*package).to_owned()).collect(), ..Recipe::default() }
}

/// One run over some layouts.
pub struct StorageDrill<'a> {
    /// Folders and host.
    pub lab: &'a Lab,
    /// The machine, made from [`recipe`].
    pub base: &'a Base,
    /// The folder with the layouts.
    pub layouts: PathBuf,
    /// The static program that saves, plans and recreates.
    pub program: PathBuf,
    /// Where disks, logs and results go; emptied first.
    pub dir: PathBuf,
}

impl StorageDrill<'_> {
    /// Runs the layouts; tells each result as soon as its guest ends.
    ///
    /// # Errors
    /// When no guest can be made. A layout that fails is no error: its report says so.
    pub fn run(&self, names: &[String]) -> Result<Vec<LayoutReport>> {
        fresh_dir(&self.dir)?;
        let mut queue: VecDeque<String> = names.iter().cloned().collect();
        let mut reports = Vec::new();
        let mut boot = 0;
        let mut futile = 0;
        while !queue.is_empty() {
            boot += 1;
            let before = queue.len();
            let broken = self.boot(boot, queue.make_contiguous())?;
            let share = self.dir.join(format!("boot{boot}"));
            while let Some(name) = queue.front() {
                let Some(report) = result(&share, name, broken.as_ref()) else { break };
                reports.push(report);
                queue.pop_front();
                if broken.is_some() && reports.last().is_some_and(|report| report.seconds.is_none()) {
                    break;
                }
            }
            futile = if queue.len() == before { futile + 1 } else { 0 };
            if futile == ATTEMPTS {
                // Not even the first one was begun: another boot would end the same way.
                let error = broken.unwrap_or_else(|| Error::Machine {
                    detail: "the guest ran none of its layouts".into(),
                    console: self.dir.join(format!("boot{boot}.serial")),
                });
                return Err(error);
            }
        }
        Ok(reports)
    }

    /// Boots one guest with blank disks. What went wrong with the guest as a whole is returned as `Some`.
    fn boot(&self, boot: u32, queue: &[String]) -> Result<Option<Error>> {
        let name = format!("boot{boot}");
        let limit = LIMIT.to_string();
        let share = Share::new(
            self.dir.join(&name),
            RUN,
            &[("QUEUE", queue.join(" ").as_str()), ("LIMIT", limit.as_str())],
        )?;
        share.put("storage-one.sh", ONE)?;
        share.put("storage-lib.sh", LIB)?;
        share.put("storage-snapshots.sh", SNAPSHOTS)?;
        copy(self.lab, &self.program, &share.dir.join("recreate"))?;
        let layouts = share.dir.join("layouts");
        make_dir(&layouts)?;
        for layout in queue {
            let file = format!("{layout}.sh");
            copy(self.lab, &self.layouts.join(&file), &layouts.join(&file))?;
        }
        let machine = self.machine(&name)?;
        self.lab.say(&format!("storage: {} layout(s) in one guest", queue.len()));
        // The guest ends each layout in time by itself; this is for one that hangs altogether.
        let longest = Duration::from_secs(OVERHEAD + LIMIT * queue.len() as u64);
        match share.run(self.lab, machine, longest) {
            Ok(_) => Ok(None),
            Err(Error::Sys(sys::Error::Cancelled)) => Err(Error::Sys(sys::Error::Cancelled)),
            Err(error) => Ok(Some(error)),
        }
    }

    /// A guest with blank disks of every kind.
    fn machine(&self, name: &str) -> Result<Machine> {
        let image = self.base.image();
        let root = Drive {
            file: &image,
            format: "raw",
            serial: "base".to_owned(),
            bus: Bus::Virtio,
            sector: 512,
            throw_away: true,
            boot_index: None,
        };
        let initrd = self.base.plain_initrd(self.lab, &recipe())?;
        let mut machine = Machine::new(&self.dir, name, 2048)
            .steady()
            .kernel(
                &self.base.kernel(),
                &initrd,
                // A busy host makes the kernel's test of the timer fail; nothing here depends on it.
                "console=ttyS0,115200 mitigations=off net.ifnames=0 quiet panic=-1 raid=noautodetect no_timer_check \
                 rdinit=/init",
            )
            .disk(&root);
        for controller in ["scsi0", "scsi1", "scsi2"] {
            machine.add("-device", format!("virtio-scsi-pci,id={controller}"));
        }
        let disks = (1..=PLAIN)
            .map(|n| (format!("D{n}"), "scsi-hd,bus=scsi0.0", 512))
            .chain((1..=LARGE_SECTORS).map(|n| (format!("K{n}"), "scsi-hd,bus=scsi0.0", 4096)))
            .chain((1..=NVME).map(|n| (format!("N{n}"), "nvme", 512)));
        for (number, (label, device, sector)) in disks.enumerate() {
            let file = self.blank(name, &label)?;
            let wwn = if device == "nvme" {
                String::new()
            } else {
                format!(",wwn=0x5000c5000000{:04x}", number + 1)
            };
            machine.drive(&label, &file, "");
            machine.add(
                "-device",
                format!(
                    "{device},drive={label},serial=DRILL-{label}{wwn},logical_block_size={sector},\
                     physical_block_size={sector}"
                ),
            );
        }
        // One disk that is reached over two controllers.
        let file = self.blank(name, "M1")?;
        for (controller, label) in [("scsi1", "M1a"), ("scsi2", "M1b")] {
            machine.drive(label, &file, ",file.locking=off");
            machine.add(
                "-device",
                format!(
                    "scsi-hd,bus={controller}.0,drive={label},serial=DRILL-M1,wwn=0x5000c5000000aaaa,share-rw=on"
                ),
            );
        }
        Ok(machine)
    }

    fn blank(&self, boot: &str, label: &str) -> Result<PathBuf> {
        let file = self.dir.join(format!("{boot}-{label}.img"));
        self.lab.run(&Cmd::new("truncate").args(["-s", SIZE]).arg(path(&file)), 1)?;
        Ok(file)
    }

    /// Removes the disks; the logs stay.
    pub fn sweep(&self) {
        for entry in std::fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "img") {
                // Left behind, it only takes space.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

/// What the guest left of a layout; `None` when it was not begun.
fn result(share: &Path, name: &str, broken: Option<&Error>) -> Option<LayoutReport> {
    let dir = share.join("out").join(name);
    if !dir.exists() {
        return None;
    }
    let name = name.to_owned();
    let Ok(text) = read(&dir.join("result")) else {
        let stage = read(&dir.join("stage")).unwrap_or_default();
        let why = broken.map_or_else(|| "the guest ended".to_owned(), ToString::to_string);
        let failure = Some(format!("in '{}': {why}", stage.trim()));
        return Some(LayoutReport { name, failure, seconds: None });
    };
    let (seconds, result) = text.trim().split_once(' ').unwrap_or(("", text.trim()));
    let failure = match result {
        "ok" => None,
        other => Some(other.trim_start_matches("failed ").to_owned()),
    };
    Some(LayoutReport { name, failure, seconds: seconds.parse().ok() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_says_what_came_of_a_layout_and_its_absence_too() {
        let dir = tempfile::tempdir().unwrap();
        let leave = |name: &str, file: &str, text: &str| {
            let out = dir.path().join("out").join(name);
            std::fs::create_dir_all(&out).unwrap();
            std::fs::write(out.join(file), text).unwrap();
        };
        leave("good", "result", "12 ok\n");
        leave("bad", "result", "7 failed in 'compare': the layout differs\n");
        leave("cut", "stage", "apply\n");
        let of = |name: &str| result(dir.path(), name, None);

        let good = of("good").unwrap();
        assert_eq!((good.failure, good.seconds), (None, Some(12)));
        let bad = of("bad").unwrap();
        assert_eq!(bad.failure.as_deref(), Some("in 'compare': the layout differs"));
        let cut = of("cut").unwrap();
        assert_eq!((cut.failure.as_deref(), cut.seconds), (Some("in 'apply': the guest ended"), None));
        assert!(of("not-begun").is_none());
    }
}
