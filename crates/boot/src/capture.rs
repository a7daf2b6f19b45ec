//! Keeps what actually boots this machine, byte for byte. Reads only.

use std::path::Path;

use layout::{Content, Device, Firmware, FsKind, GptEntry, Layout, PartitionEntry, PartitionTable};
use sys::Sys;

use crate::facts::{BootFacts, DiskBoot, EfiEntry, EfiFacts, EspFacts, FORMAT, Hex, RawPartition};
use crate::nvram::{EFIVARS, Nvram};
use crate::option::{LoadOption, PartitionId};
use crate::sector::{self, BOOT_CODE};
use crate::{Error, Result};

/// No loader keeps more than this between the table and the first partition, in bytes.
const MAX_GAP: u64 = 2 << 20;
/// No boot code partition of use is larger, in bytes (the usual size is 1 MiB; PReP up to 8).
const MAX_PARTITION: u64 = 16 << 20;

/// Reads how this machine boots.
///
/// # Errors
/// [`Error::NothingBootable`] when there is nothing that the firmware in use could start.
pub fn capture(sys: &dyn Sys, layout: &Layout) -> Result<BootFacts> {
    let uefi = layout.machine.firmware == Firmware::Uefi;
    let mut disks = Vec::new();
    for disk in layout.disks().filter(|disk| disk.table().is_some()) {
        disks.push(capture_disk(sys, layout, disk)?);
    }
    let partitions = capture_esps(sys, layout);
    let efi = if uefi || !partitions.is_empty() { Some(capture_efi(sys, layout, partitions)?) } else { None };
    let facts = BootFacts { format: FORMAT, uefi, disks, efi };
    if uefi && facts.efi.as_ref().is_none_or(|efi| efi.partitions.is_empty()) {
        return Err(Error::NothingBootable {
            firmware: "UEFI",
            detail: "no disk has an EFI system partition".into(),
        });
    }
    if !uefi && facts.disks.iter().all(|disk| disk.loader.is_none()) {
        return Err(Error::NothingBootable {
            firmware: "BIOS",
            detail: "no disk has boot code in its first sector".into(),
        });
    }
    Ok(facts)
}

/// Pre-flight: what would keep the recovered machine from booting, as sentences. Empty when all is well.
pub fn check(facts: &BootFacts, layout: &Layout) -> Vec<String> {
    let mut problems = Vec::new();
    if facts.uefi {
        let esps = facts.efi.as_ref().map(|efi| efi.partitions.as_slice()).unwrap_or_default();
        if esps.iter().all(|esp| esp.mount_point.is_none()) {
            problems.push(
                "this machine boots with UEFI, but its EFI system partition is not mounted, so its boot loader \
                 would not be in the backup; mount it (usually at /boot/efi, with an entry in /etc/fstab)"
                    .to_owned(),
            );
        } else if esps.iter().all(|esp| esp.loaders.is_empty()) {
            problems.push(
                "this machine boots with UEFI, but no boot program (EFI/*/*.efi) is on its EFI system partition"
                    .to_owned(),
            );
        }
    }
    // Foreign boot code on other disks is fine as long as one disk surely starts.
    if !facts.uefi && !facts.disks.iter().any(|disk| disk.loader.as_deref() == Some("GRUB") && has_core(disk))
    {
        for disk in facts.disks.iter().filter(|disk| disk.loader.is_some()) {
            problems.push(bios_problem(disk, layout));
        }
    }
    problems
}

/// Whether the second part of GRUB lies in what was captured.
fn has_core(disk: &DiskBoot) -> bool {
    // The gap begins at the second sector, so its offset is the size of a sector.
    let Some(core) = sector::grub_core(&disk.boot_code.0).and_then(|at| at.checked_mul(disk.gap_offset))
    else {
        return false;
    };
    let within = |offset: u64, bytes: &Hex| {
        core.checked_sub(offset).and_then(|at| usize::try_from(at).ok()).is_some_and(|at| at < bytes.0.len())
    };
    within(disk.gap_offset, &disk.gap)
        || disk.partitions.iter().any(|part| within(part.offset, &part.content))
}

/// Why a BIOS machine would not start from this disk after a recovery.
fn bios_problem(disk: &DiskBoot, layout: &Layout) -> String {
    let gpt = layout
        .device(&disk.disk)
        .is_some_and(|device| matches!(device.table(), Some(PartitionTable::Gpt { .. })));
    match disk.loader.as_deref() {
        Some("GRUB") if gpt && disk.partitions.is_empty() => format!(
            "GRUB starts from disk {}, which has a GPT but no BIOS boot partition: its core image lies in a filesystem \
             and would not be found after a recovery; add a BIOS boot partition of 1 MiB and run grub-install",
            disk.disk
        ),
        Some("GRUB") => format!(
            "GRUB starts from disk {}, but its core image is not where it can be kept (behind the partition table or in a \
             BIOS boot partition), so it would not be found after a recovery; run grub-install on this disk again",
            disk.disk
        ),
        loader => format!(
            "this machine boots with BIOS, and the boot code of disk {} is {}: only GRUB can be brought back, so the \
             recovered machine would not boot; install GRUB on this disk (grub-install), or boot with UEFI",
            disk.disk,
            loader.unwrap_or("missing")
        ),
    }
}

fn capture_disk(sys: &dyn Sys, layout: &Layout, disk: &Device) -> Result<DiskBoot> {
    let path = Path::new(&disk.path);
    let sector = disk.sector.get();
    let mut boot_code = sys.read_at(path, 0, sector::SIZE)?;
    let mut protective_active = false;
    if matches!(disk.table(), Some(PartitionTable::Gpt { .. })) {
        let types = sector::hybrid_types(&boot_code);
        if !types.is_empty() {
            let types = types.iter().map(|id| format!("0x{id:02x}")).collect::<Vec<_>>().join(", ");
            return Err(Error::HybridMbr { disk: disk.id.to_string(), types });
        }
        protective_active = sector::is_protective_active(&boot_code);
    }
    boot_code.truncate(BOOT_CODE);
    if boot_code.iter().all(|byte| *byte == 0) {
        boot_code.clear();
    }
    let mut gap = Vec::new();
    let members = layout.partitions(&disk.id);
    let first = members
        .iter()
        .filter_map(|device| device.partition())
        .filter(|partition| !partition.is_logical())
        .map(|partition| partition.start.bytes(disk.sector).0)
        .min()
        .unwrap_or(0);
    if matches!(disk.table(), Some(PartitionTable::Mbr { .. })) && first > sector {
        let length = (first - sector).min(MAX_GAP);
        gap = trimmed(sys.read_at(path, sector, usize::try_from(length).unwrap_or(0))?);
    }
    let mut partitions = Vec::new();
    for device in members {
        let Some(partition) = device.partition() else { continue };
        let raw = match &partition.entry {
            PartitionEntry::Gpt(entry) => [GptEntry::BIOS_BOOT, GptEntry::PREP]
                .iter()
                .any(|guid| entry.type_guid.eq_ignore_ascii_case(guid)),
            // PReP on a DOS table.
            PartitionEntry::Mbr(entry) => entry.type_id == 0x41,
        };
        // A filesystem in such a partition is restored as one.
        if !raw || matches!(device.content, Content::Filesystem(_)) {
            continue;
        }
        let offset = partition.start.bytes(disk.sector).0;
        let length = partition.length.bytes(disk.sector).0.min(MAX_PARTITION);
        let content = trimmed(sys.read_at(path, offset, usize::try_from(length).unwrap_or(0))?);
        partitions.push(RawPartition { device: device.id.clone(), offset, content: Hex(content) });
    }
    Ok(DiskBoot {
        disk: disk.id.clone(),
        loader: recognise(&boot_code).map(str::to_owned),
        boot_code: Hex(boot_code),
        gap_offset: sector,
        gap: Hex(gap),
        partitions,
        protective_active,
    })
}

/// Names the loader by the texts in its boot code. `None` for no code at all.
fn recognise(boot_code: &[u8]) -> Option<&'static str> {
    let has = |text: &[u8]| boot_code.windows(text.len()).any(|window| window == text);
    if boot_code.is_empty() {
        None
    } else if has(b"GRUB") {
        Some("GRUB")
    } else if has(b"LILO") {
        Some("LILO")
    } else if has(b"SYSLINUX") || has(b"isolinux") || has(b"EXTLINUX") {
        Some("SYSLINUX")
    } else if has(b"bootable") || has(b"Missing operating system") || has(b"Invalid partition table") {
        Some("a standard boot sector")
    } else {
        Some("an unknown loader")
    }
}

/// Without the zeros at the end, which need not be kept.
fn trimmed(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.truncate(end);
    bytes
}

fn capture_esps(sys: &dyn Sys, layout: &Layout) -> Vec<EspFacts> {
    let mut esps = Vec::new();
    for device in &layout.devices {
        let Some(partition) = device.partition() else { continue };
        let esp = match &partition.entry {
            PartitionEntry::Gpt(entry) => entry.type_guid.eq_ignore_ascii_case(GptEntry::ESP),
            PartitionEntry::Mbr(entry) => entry.type_id == 0xef,
        };
        let vfat = device.filesystem().is_some_and(|filesystem| matches!(filesystem.kind, FsKind::Vfat(_)));
        if !esp || !vfat {
            continue;
        }
        let mount_point = layout.mounts_of(&device.id).next().map(|mount| mount.mount_point.clone());
        let mut loaders = Vec::new();
        if let Some(mount_point) = &mount_point {
            find_loaders(sys, Path::new(mount_point), "", 4, &mut loaders);
        }
        esps.push(EspFacts { device: device.id.clone(), mount_point, loaders });
    }
    esps
}

/// All `*.efi` below a directory of the ESP. What cannot be listed is a file.
fn find_loaders(sys: &dyn Sys, esp: &Path, below: &str, depth: u32, found: &mut Vec<String>) {
    if depth == 0 {
        return;
    }
    for name in sys.list(&esp.join(below)).unwrap_or_default() {
        let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
        if name.to_ascii_lowercase().ends_with(".efi") {
            found.push(path);
        } else if !name.contains('.') {
            find_loaders(sys, esp, &path, depth - 1, found);
        }
    }
}

fn capture_efi(sys: &dyn Sys, layout: &Layout, partitions: Vec<EspFacts>) -> Result<EfiFacts> {
    let nvram = Nvram::read(sys, Path::new(EFIVARS))?;
    let known: Vec<PartitionId> =
        partitions.iter().filter_map(|esp| partition_id(layout, layout.device(&esp.device)?)).collect();
    let mut entries: Vec<EfiEntry> = nvram
        .entries
        .iter()
        .filter_map(|(number, data)| {
            let option = LoadOption::parse(data)?;
            let ours = option.partition.as_ref().is_some_and(|partition| known.contains(partition));
            (ours && !option.file.is_empty()).then(|| EfiEntry {
                number: *number,
                data: Hex(data.clone()),
                description: option.description,
                file: option.file,
            })
        })
        .collect();
    entries.sort_by_key(|entry| {
        let place = nvram.order.iter().position(|number| *number == entry.number);
        (place.unwrap_or(usize::MAX), entry.number)
    });
    let secure_boot = sys
        .read(&Path::new(EFIVARS).join(format!("SecureBoot-{}", crate::nvram::GLOBAL)))
        .is_ok_and(|bytes| bytes.get(4) == Some(&1));
    Ok(EfiFacts { entries, order: nvram.order, current: nvram.current, secure_boot, partitions })
}

/// How a device path names this partition.
fn partition_id(layout: &Layout, device: &Device) -> Option<PartitionId> {
    let partition = device.partition()?;
    match (&partition.entry, layout.device(&partition.parent)?.table()?) {
        (PartitionEntry::Gpt(entry), _) => Some(PartitionId::Gpt(entry.guid.to_ascii_uppercase())),
        (PartitionEntry::Mbr(_), PartitionTable::Mbr { signature }) => {
            Some(PartitionId::Mbr(*signature, partition.number))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
