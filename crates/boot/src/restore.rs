//! Brings back what the firmware starts: raw boot code, the removable path of the ESP, the NVRAM entry. Writes to a
//! disk only through the caller's closure, and never touches partition tables.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use layout::{Layout, NodeId};
use sys::{Cmd, Sys};

use crate::facts::{BootFacts, DiskBoot, EfiFacts, EspFacts};
use crate::nvram::{self, EFIVARS, Nvram};
use crate::rooted;
use crate::sector;
use crate::{Error, Result};

/// Where the boot loader goes.
#[derive(Debug)]
pub struct Target<'a> {
    /// Where the restored system is mounted, with `/dev`, `/proc` and `/sys` inside for tools that run in it.
    pub root: &'a Path,
    /// The saved layout.
    pub layout: &'a Layout,
    /// The present device node (`/dev/vda`) of each saved disk.
    pub disks: &'a BTreeMap<NodeId, PathBuf>,
    /// Whether a partition's start or a sector size changed: raw boot code holds positions on the disk and
    /// would not find its second part, so the distribution's tool installs it again.
    pub moved: bool,
}

/// What was done for the machine to boot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootReport {
    /// What was written, as sentences.
    pub done: Vec<String>,
    /// What could not be done, and why the machine boots all the same or what to do.
    pub warnings: Vec<String>,
}

/// Writes raw bytes to a disk: saved disk, offset in bytes, bytes. What went wrong, as a sentence.
pub type WriteDisk<'a> = dyn FnMut(&NodeId, u64, &[u8]) -> Result<(), String> + 'a;

/// Brings the boot loader back. `write` is the only way to a disk.
///
/// # Errors
/// When boot code that the machine needs cannot be written. A firmware whose NVRAM cannot be written is a warning: the
/// removable path boots.
pub fn restore_boot(
    sys: &dyn Sys,
    facts: &BootFacts,
    target: &Target<'_>,
    write: &mut WriteDisk<'_>,
) -> Result<BootReport> {
    let mut report = BootReport::default();
    for disk in &facts.disks {
        let has_code = disk.loader.is_some() || disk.partitions.iter().any(|part| !part.content.0.is_empty());
        // A disk that is not among the targets was preserved or left out; its boot code is still on it.
        let Some(present) = target.disks.get(&disk.disk).filter(|_| has_code || disk.protective_active)
        else {
            continue;
        };
        if target.moved && disk.loader.as_deref() == Some("GRUB") && !facts.uefi {
            install_grub(sys, target, present)?;
            report.done.push(format!("installed GRUB anew on {} (partitions have moved)", present.display()));
        } else if target.moved && has_code {
            report.warnings.push(format!(
                "partitions have moved, so the boot code of disk {} ({}) was not written; install the boot loader \
                 by hand if the machine does not boot",
                disk.disk,
                disk.loader.as_deref().unwrap_or("boot partition")
            ));
        } else if !target.moved {
            write_raw(disk, write)?;
            if has_code {
                let loader = disk.loader.as_deref().unwrap_or("boot partition");
                report.done.push(format!("wrote the boot code ({loader}) back to {}", present.display()));
            }
        }
        if disk.protective_active {
            mark_active(sys, disk, present, write)?;
            report.done.push(format!("marked the protective entry of {} active again", present.display()));
        }
    }
    // A BIOS machine that happens to have an EFI system partition gets its files back, and nothing added.
    if let Some(efi) = facts.efi.as_ref().filter(|_| facts.uefi) {
        for esp in &efi.partitions {
            fill_removable_path(efi, esp, target, &mut report)?;
        }
        restore_nvram(sys, efi, Path::new(EFIVARS), &mut report);
    }
    Ok(report)
}

fn write_raw(disk: &DiskBoot, write: &mut WriteDisk<'_>) -> Result<()> {
    let mut put = |offset: u64, bytes: &[u8]| {
        if bytes.is_empty() {
            return Ok(());
        }
        write(&disk.disk, offset, bytes)
            .map_err(|detail| Error::Write { disk: disk.disk.to_string(), detail })
    };
    // The second part first: a first sector that is there points to something that is there.
    for partition in &disk.partitions {
        put(partition.offset, &partition.content.0)?;
    }
    put(disk.gap_offset, &disk.gap.0)?;
    put(0, &disk.boot_code.0)
}

/// Sets the active flag of the protective entry; everything else in the sector stays as it is on the disk now.
fn mark_active(sys: &dyn Sys, disk: &DiskBoot, present: &Path, write: &mut WriteDisk<'_>) -> Result<()> {
    let fail = |detail: String| Error::Write { disk: disk.disk.to_string(), detail };
    let now = sys.read_at(present, 0, sector::SIZE)?;
    if sector::is_protective_active(&now) {
        return Ok(());
    }
    let wanted = sector::with_active(now)
        .ok_or_else(|| fail(format!("{} has no protective entry in its first sector", present.display())))?;
    write(&disk.disk, 0, &wanted).map_err(fail)
}

fn install_grub(sys: &dyn Sys, target: &Target<'_>, present: &Path) -> Result<()> {
    let tool = rooted::program(target.root, &["grub-install", "grub2-install"]).ok_or_else(|| Error::NoTool {
        what: "grub-install".into(),
        hint: "the disk's partitions have moved, so its boot code must be installed anew; install GRUB for BIOS by \
               hand before you reboot"
            .into(),
    })?;
    sys.run(&Cmd::new(tool).arg("--target=i386-pc").arg(present.to_string_lossy()).chroot(target.root))?;
    Ok(())
}

/// Name of the program that firmware starts from a disk it knows nothing of (UEFI specification, 3.5.1.1).
pub(crate) fn removable_name(architecture: &str) -> &'static str {
    match architecture {
        "aarch64" => "BOOTAA64.EFI",
        "i686" | "i586" | "i386" => "BOOTIA32.EFI",
        "riscv64" => "BOOTRISCV64.EFI",
        _ => "BOOTX64.EFI",
    }
}

/// Fills `EFI/BOOT` from the machine's own loader where it is empty, so that the machine boots with an empty NVRAM.
fn fill_removable_path(
    efi: &EfiFacts,
    esp: &EspFacts,
    target: &Target<'_>,
    report: &mut BootReport,
) -> Result<()> {
    let Some(mount_point) = &esp.mount_point else { return Ok(()) };
    let base = target.root.join(mount_point.trim_start_matches('/'));
    let name = removable_name(&target.layout.machine.architecture);
    if rooted::find_ignoring_case(&base, &format!("EFI/BOOT/{name}")).is_some() {
        return Ok(());
    }
    let Some(loader) = own_loader(efi, esp, &base) else {
        report.warnings.push(format!("no boot program was found on the EFI system partition {mount_point}"));
        return Ok(());
    };
    let efi_dir = rooted::find_ignoring_case(&base, "EFI").unwrap_or_else(|| base.join("EFI"));
    let dir = rooted::find_ignoring_case(&efi_dir, "BOOT").unwrap_or_else(|| efi_dir.join("BOOT"));
    std::fs::create_dir_all(&dir).map_err(Error::io("create the directory", &dir))?;
    copy(&loader, &dir.join(name))?;
    let file_name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    if file_name(&loader).starts_with("shim")
        && let Some(from) = loader.parent()
    {
        // shim starts what lies beside it. Its fallback program (fbx64.efi) stays away: in this directory it would
        // run instead, and add boot entries.
        for entry in std::fs::read_dir(from).map_err(Error::io("list", from))? {
            let path = entry.map_err(Error::io("list", from))?.path();
            let beside = file_name(&path);
            let wanted =
                (beside.starts_with("grub") || beside.starts_with("mm") || beside == "mokmanager.efi")
                    && beside.ends_with(".efi");
            if wanted && rooted::find_ignoring_case(&dir, &beside).is_none() {
                copy(&path, &dir.join(&beside))?;
            }
        }
    }
    report.done.push(format!(
        "copied {} to {mount_point}/EFI/BOOT/{name}, from where any firmware starts it",
        loader.strip_prefix(&base).unwrap_or(&loader).display()
    ));
    Ok(())
}

/// The program that started the machine, as far as it is on this ESP: the current entry's, then the others' in boot
/// order, then by name.
pub(crate) fn own_loader(efi: &EfiFacts, esp: &EspFacts, base: &Path) -> Option<PathBuf> {
    let current = efi.entries.iter().filter(|entry| Some(entry.number) == efi.current);
    let by_entry = current.chain(&efi.entries).map(|entry| entry.file.clone());
    let ending = |end: &'static str| {
        esp.loaders.iter().filter(move |path| path.to_ascii_lowercase().ends_with(end)).cloned()
    };
    let by_name = ending("/shimx64.efi")
        .chain(ending("/shim.efi"))
        .chain(ending("/shimaa64.efi"))
        .chain(ending("/grubx64.efi"))
        .chain(ending("/grub.efi"))
        .chain(ending("/grubaa64.efi"))
        .chain(ending("/systemd-bootx64.efi"))
        .chain(ending(".efi"));
    by_entry
        .chain(by_name)
        .find_map(|path| rooted::find_ignoring_case(base, &path).filter(|path| path.is_file()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::copy(from, to).map_err(Error::io("copy a boot program to", to))?;
    // FAT keeps no journal: without this, a power cut after "done" loses it.
    std::fs::File::open(to).and_then(|file| file.sync_all()).map_err(Error::io("flush", to))
}

fn restore_nvram(sys: &dyn Sys, efi: &EfiFacts, dir: &Path, report: &mut BootReport) {
    if efi.entries.is_empty() {
        return;
    }
    let removable = "the machine boots through EFI/BOOT of its EFI system partition all the same";
    let present = match Nvram::read(sys, dir) {
        Ok(present) if present != Nvram::default() => present,
        Ok(_) if !sys.exists(dir) => {
            report.warnings.push(format!(
                "the rescue system was not started by UEFI, so the boot entry was not written; {removable}"
            ));
            return;
        }
        Ok(empty) => empty,
        Err(error) => {
            report
                .warnings
                .push(format!("the firmware's boot entries cannot be read ({error}); {removable}"));
            return;
        }
    };
    let changes = nvram::changes(&present, &efi.entries);
    match nvram::apply(dir, &present, &changes) {
        Ok(()) => report.done.push(format!(
            "set the firmware's boot entry: {}",
            efi.entries.first().map(|entry| entry.description.as_str()).unwrap_or_default()
        )),
        Err(error) => {
            report.warnings.push(format!("the firmware did not take the boot entry ({error}); {removable}"))
        }
    }
}

#[cfg(test)]
mod tests;
