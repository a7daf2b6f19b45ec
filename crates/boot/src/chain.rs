//! Follows the way from the firmware to `/sbin/init` in the recovered system. Reads only, and repairs nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use layout::{Content, Kind, Layout, NodeId, PartitionEntry, PartitionTable};
use sys::Sys;

use crate::facts::BootFacts;
use crate::grubcfg::{self, Config, Start};
use crate::rooted::{find_ignoring_case, resolve};
use crate::{Result, restore};

/// One link of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What it is: "kernel", "root filesystem".
    pub what: String,
    /// Whether it holds.
    pub ok: bool,
    /// What was found or is missing, for people.
    pub detail: String,
}

impl Link {
    fn new(what: &str, ok: bool, detail: impl Into<String>) -> Self {
        Self { what: what.to_owned(), ok, detail: detail.into() }
    }
}

/// Follows the chain in the restored system at `root`: EFI programs, GRUB's menu, kernel and initramfs, `root=`,
/// fstab and crypttab, `/sbin/init`. Raw boot code on the disks is checked by [`check_boot_code`].
///
/// # Errors
/// Only when the machine cannot be asked. A broken chain is a [`Link`] that is not ok.
pub fn check_chain(root: &Path, _sys: &dyn Sys, facts: &BootFacts, layout: &Layout) -> Result<Vec<Link>> {
    let mut links = Vec::new();
    if facts.uefi {
        check_esps(root, facts, layout, &mut links);
    }
    let config = read_config(root, facts);
    check_starts(root, layout, &config, facts, &mut links);
    check_table(root, layout, "/etc/fstab", &mut links);
    check_table(root, layout, "/etc/crypttab", &mut links);
    let init = ["/sbin/init", "/lib/systemd/systemd", "/etc/init", "/bin/init"]
        .iter()
        .find(|path| resolve(root, Path::new(path)).is_some_and(|path| path.is_file()));
    links.push(match init {
        Some(path) => Link::new("first process", true, *path),
        None => Link::new("first process", false, "/sbin/init does not lead to a program"),
    });
    Ok(links)
}

/// Reads the raw boot code back from the present disks and compares it with what was captured. Not for disks whose
/// partitions have moved.
///
/// # Errors
/// When a disk cannot be read.
pub fn check_boot_code(
    sys: &dyn Sys,
    facts: &BootFacts,
    disks: &BTreeMap<NodeId, PathBuf>,
) -> Result<Vec<Link>> {
    let mut links = Vec::new();
    for disk in facts.disks.iter().filter(|disk| disk.loader.is_some()) {
        let Some(path) = disks.get(&disk.disk) else { continue };
        let parts = [(0, &disk.boot_code.0), (disk.gap_offset, &disk.gap.0)]
            .into_iter()
            .chain(disk.partitions.iter().map(|part| (part.offset, &part.content.0)));
        let mut ok = true;
        for (offset, bytes) in parts.filter(|(_, bytes)| !bytes.is_empty()) {
            ok &= sys.read_at(path, offset, bytes.len())? == *bytes;
        }
        let loader = disk.loader.as_deref().unwrap_or_default();
        let detail = if ok { "is as it was captured" } else { "is not what was captured" };
        links.push(Link::new("boot code", ok, format!("{loader} on {} {detail}", path.display())));
    }
    if !facts.uefi && links.is_empty() {
        links.push(Link::new("boot code", false, "no present disk has boot code"));
    }
    Ok(links)
}

fn check_esps(root: &Path, facts: &BootFacts, layout: &Layout, links: &mut Vec<Link>) {
    let name = restore::removable_name(&layout.machine.architecture);
    let mut found = false;
    if let Some(efi) = &facts.efi {
        for esp in &efi.partitions {
            let Some(mount_point) = &esp.mount_point else { continue };
            let base = root.join(mount_point.trim_start_matches('/'));
            found = true;
            let removable = find_ignoring_case(&base, &format!("EFI/BOOT/{name}")).is_some();
            links.push(Link::new("removable path", removable, format!("{mount_point}/EFI/BOOT/{name}")));
            let loader = restore::own_loader(efi, esp, &base);
            let detail = match &loader {
                Some(path) => path.strip_prefix(root).unwrap_or(path).display().to_string(),
                None => format!("no boot program on {mount_point}"),
            };
            links.push(Link::new("EFI program", loader.is_some(), detail));
        }
    }
    if !found {
        links.push(Link::new(
            "EFI system partition",
            false,
            "none was mounted when the machine was captured",
        ));
    }
}

/// All configurations that could be in use: GRUB's, its stub on the ESP, and entry files.
fn read_config(root: &Path, facts: &BootFacts) -> Config {
    let mut config = Config::default();
    let mut add = |text: &str| {
        let more = grubcfg::parse(text);
        config.uuids.extend(more.uuids);
        config.starts.extend(more.starts);
    };
    let read = |path: &Path| resolve(root, path).and_then(|path| std::fs::read(path).ok());
    for path in ["/boot/grub/grub.cfg", "/boot/grub2/grub.cfg"] {
        if let Some(bytes) = read(Path::new(path)) {
            add(&String::from_utf8_lossy(&bytes));
        }
    }
    let mut entry_dirs = vec![root.join("boot/loader/entries")];
    for esp in facts.efi.iter().flat_map(|efi| &efi.partitions) {
        let Some(mount_point) = &esp.mount_point else { continue };
        let base = root.join(mount_point.trim_start_matches('/'));
        entry_dirs.push(base.join("loader/entries"));
        let mut dirs: Vec<&str> =
            esp.loaders.iter().filter_map(|loader| loader.rsplit_once('/')).map(|(dir, _)| dir).collect();
        dirs.dedup();
        for dir in dirs {
            if let Some(bytes) = find_ignoring_case(&base, &format!("{dir}/grub.cfg"))
                .and_then(|path| std::fs::read(path).ok())
            {
                add(&String::from_utf8_lossy(&bytes));
            }
        }
    }
    for dir in entry_dirs {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        // The newest version first, as the loaders show them.
        files.sort();
        files.reverse();
        for file in files.iter().filter(|file| file.extension().is_some_and(|end| end == "conf")) {
            if let Some(start) =
                std::fs::read(file).ok().and_then(|b| grubcfg::parse_entry(&String::from_utf8_lossy(&b)))
            {
                config.starts.push(start);
            }
        }
    }
    config.uuids.sort();
    config.uuids.dedup();
    config
}

fn check_starts(root: &Path, layout: &Layout, config: &Config, facts: &BootFacts, links: &mut Vec<Link>) {
    for uuid in &config.uuids {
        let ok = known(layout, &format!("UUID={uuid}"));
        links.push(Link::new("boot loader's filesystem", ok, uuid.clone()));
    }
    let Some(first) = config.starts.first() else {
        // A unified kernel image, or a loader that this program does not know: nothing to follow below it.
        let unified =
            facts.efi.iter().flat_map(|efi| &efi.partitions).any(|esp| {
                esp.loaders.iter().any(|loader| loader.to_ascii_lowercase().contains("efi/linux/"))
            });
        let detail = if unified {
            "a unified kernel image on the EFI system partition"
        } else {
            "no menu of GRUB or entry of the Boot Loader Specification names a kernel"
        };
        links.push(Link::new("boot menu", unified, detail));
        return;
    };
    let bases = bases(root, layout);
    for (what, path) in
        [("kernel", &first.kernel)].into_iter().chain(first.initrds.iter().map(|path| ("initramfs", path)))
    {
        links.push(Link::new(what, exists(&bases, path), path.clone()));
    }
    for other in &config.starts[1..] {
        if !exists(&bases, &other.kernel) {
            links.push(Link::new(
                "further kernel",
                true,
                format!("{} is in the menu but not there", other.kernel),
            ));
        }
    }
    links.push(root_link(layout, first));
}

/// Where a path of the boot loader may begin: it counts from the root of a filesystem (on btrfs, above the
/// subvolume that is mounted), and does not say of which.
fn bases(root: &Path, layout: &Layout) -> Vec<(PathBuf, String)> {
    let mut bases = vec![(root.to_owned(), "/".to_owned())];
    for mount in &layout.mounts {
        bases.push((root.join(mount.mount_point.trim_start_matches('/')), mount.root.clone()));
    }
    bases
}

fn exists(bases: &[(PathBuf, String)], path: &str) -> bool {
    bases.iter().any(|(base, subvolume)| {
        let inside = if subvolume == "/" {
            Some(path)
        } else {
            path.strip_prefix(subvolume.as_str()).filter(|rest| rest.starts_with('/'))
        };
        inside.is_some_and(|path| resolve(base, Path::new(path)).is_some_and(|path| path.is_file()))
    })
}

fn root_link(layout: &Layout, start: &Start) -> Link {
    let what = "root filesystem";
    match start.options.iter().find_map(|option| option.strip_prefix("root=")) {
        None => Link::new(what, true, "the kernel's command line names none; the initramfs knows it"),
        // A ZFS pool or network root is not in the layout; the initramfs finds it.
        Some(device) => Link::new(what, known(layout, device), format!("root={device}")),
    }
}

/// Follows the devices of fstab (first field) or crypttab (second field).
fn check_table(root: &Path, layout: &Layout, file: &str, links: &mut Vec<Link>) {
    let Some(bytes) = resolve(root, Path::new(file)).and_then(|path| std::fs::read(path).ok()) else {
        if file == "/etc/fstab" {
            links.push(Link::new(file, false, "is missing"));
        }
        return;
    };
    let text = String::from_utf8_lossy(&bytes);
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (device, name, options) = if file == "/etc/fstab" {
            (fields.first(), fields.get(1), fields.get(3))
        } else {
            (fields.get(1), fields.first(), fields.get(3))
        };
        let (Some(device), Some(name)) = (device, name) else { continue };
        let local = device.starts_with("/dev/") || device.contains("UUID=") || device.contains("LABEL=");
        let needed =
            !options.unwrap_or(&"").split(',').any(|option| option == "noauto" || option == "nofail");
        if !local || known(layout, device) {
            continue;
        }
        let detail = format!("{device} for {name} is not a device of this machine");
        // Removable drives, by-id names and the like: not needed, or not known to the model.
        let unknown_form = device.starts_with("/dev/") && !device.starts_with("/dev/disk/by-uuid/");
        links.push(Link::new(file, !needed || unknown_form, detail));
    }
    if !links.iter().any(|link| link.what == file && !link.ok) {
        links.push(Link::new(file, true, "every device that it needs is there"));
    }
}

/// Whether the layout has the device that is named in one of the forms of fstab and `root=`.
fn known(layout: &Layout, device: &str) -> bool {
    let device = device.trim_matches('"');
    let by = |prefix: &str, link: &str| {
        device.strip_prefix(prefix).or_else(|| device.strip_prefix(link)).map(|value| value.trim_matches('"'))
    };
    if let Some(uuid) = by("UUID=", "/dev/disk/by-uuid/") {
        return layout.devices.iter().any(|device| {
            let own = match &device.content {
                Content::Filesystem(filesystem) => filesystem.uuid.as_str(),
                Content::Swap(swap) => swap.uuid.as_str(),
                Content::Luks { uuid, .. } => uuid.as_str(),
                _ => return false,
            };
            !own.is_empty() && own.eq_ignore_ascii_case(uuid)
        });
    }
    if let Some(label) = by("LABEL=", "/dev/disk/by-label/") {
        return layout.devices.iter().any(|device| match &device.content {
            Content::Filesystem(filesystem) => filesystem.label == label,
            Content::Swap(swap) => swap.label == label,
            _ => false,
        });
    }
    let partition = by("PARTUUID=", "/dev/disk/by-partuuid/");
    let name = by("PARTLABEL=", "/dev/disk/by-partlabel/");
    if partition.is_some() || name.is_some() {
        return layout.devices.iter().filter_map(|device| device.partition()).any(|part| {
            let table = layout.device(&part.parent).and_then(|parent| parent.table());
            match (&part.entry, table) {
                (PartitionEntry::Gpt(entry), _) => {
                    partition.is_some_and(|uuid| entry.guid.eq_ignore_ascii_case(uuid))
                        || name.is_some_and(|name| entry.name == name)
                }
                (PartitionEntry::Mbr(_), Some(PartitionTable::Mbr { signature })) => {
                    partition.is_some_and(|uuid| {
                        format!("{signature:08x}-{:02x}", part.number).eq_ignore_ascii_case(uuid)
                    })
                }
                _ => false,
            }
        });
    }
    layout.devices.iter().any(|entry| {
        entry.path == device
            || match &entry.kind {
                Kind::LogicalVolume(volume) => {
                    // device-mapper doubles dashes inside the names and joins them with one.
                    let mapped = format!(
                        "/dev/mapper/{}-{}",
                        volume.group.replace('-', "--"),
                        volume.name.replace('-', "--")
                    );
                    device == mapped || device == format!("/dev/{}/{}", volume.group, volume.name)
                }
                Kind::LuksMapping(mapping) => device == format!("/dev/mapper/{}", mapping.name),
                _ => false,
            }
    })
}

#[cfg(test)]
mod tests;
