//! Follows the way from the firmware to `/sbin/init` in the recovered system. Reads only, and repairs nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use layout::{Layout, NodeId};
use sys::Sys;

use crate::devices::{Devices, Purpose, is_made_by_kernel, is_tag};
use crate::facts::BootFacts;
use crate::grubcfg::{self, Config, Start};
use crate::rooted::{find_ignoring_case, resolve};
use crate::{Result, restore, sector};

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
pub fn check_chain(root: &Path, sys: &dyn Sys, facts: &BootFacts, layout: &Layout) -> Result<Vec<Link>> {
    check_chain_with(root, sys, facts, layout, &BTreeMap::new(), None)
}

/// As [`check_chain`], and looks up where names that are no identifiers (kernel names, links below `/dev/disk/by-id` and
/// `by-path`) lead on this machine.
///
/// `devices`: the present node of each recreated device, by its saved id; when it is empty, such names of fstab and
/// crypttab are believed. `present`: everything that this machine has, so that entries which refer to disks outside of
/// the saved layout hold where these disks are here.
///
/// # Errors
/// As [`check_chain`].
pub fn check_chain_with(
    root: &Path,
    sys: &dyn Sys,
    facts: &BootFacts,
    layout: &Layout,
    devices: &BTreeMap<NodeId, PathBuf>,
    present: Option<&Layout>,
) -> Result<Vec<Link>> {
    let here = Devices { sys, layout, present, nodes: devices };
    let mut links = Vec::new();
    if facts.uefi {
        check_esps(root, facts, layout, &mut links);
    }
    let config = read_config(root, facts);
    check_starts(root, &here, &config, facts, &mut links);
    TABLES.iter().for_each(|file| check_table(root, &here, file, true, &mut links));
    links.push(first_process(root));
    Ok(links)
}

/// Whether a system of which only a sketch lies at `root` would find everything that it names when the layout is made: kernel, initramfs
/// and root filesystem of its boot menu, the devices of fstab and crypttab, its first process. For a look before anything is
/// restored: other names than identifiers must be those of the layout, and the EFI system partition is not looked at.
pub fn check_sketch(root: &Path, sys: &dyn Sys, facts: &BootFacts, layout: &Layout) -> Vec<Link> {
    let here = Devices { sys, layout, present: None, nodes: &BTreeMap::new() };
    let mut links = Vec::new();
    check_starts(root, &here, &read_config(root, facts), facts, &mut links);
    TABLES.iter().for_each(|file| check_table(root, &here, file, false, &mut links));
    links.push(first_process(root));
    links
}

/// The files that say what is mounted and opened.
const TABLES: [&str; 2] = ["/etc/fstab", "/etc/crypttab"];

fn first_process(root: &Path) -> Link {
    let init = ["/sbin/init", "/lib/systemd/systemd", "/etc/init", "/bin/init"]
        .iter()
        .find(|path| resolve(root, Path::new(path)).is_some_and(|path| path.is_file()));
    match init {
        Some(path) => Link::new("first process", true, *path),
        None => Link::new("first process", false, "/sbin/init does not lead to a program"),
    }
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
    for disk in facts.disks.iter().filter(|disk| disk.loader.is_some() || disk.protective_active) {
        let Some(path) = disks.get(&disk.disk) else { continue };
        let parts = [(0, &disk.boot_code.0), (disk.gap_offset, &disk.gap.0)]
            .into_iter()
            .chain(disk.partitions.iter().map(|part| (part.offset, &part.content.0)));
        let mut ok = true;
        for (offset, bytes) in parts.filter(|(_, bytes)| !bytes.is_empty()) {
            ok &= sys.read_at(path, offset, bytes.len())? == *bytes;
        }
        if disk.protective_active {
            let active = sector::is_protective_active(&sys.read_at(path, 0, sector::SIZE)?);
            let detail = if active { "is active, as it was" } else { "was active and is not any more" };
            links.push(Link::new(
                "protective MBR",
                active,
                format!("its entry on {} {detail}", path.display()),
            ));
        }
        let Some(loader) = disk.loader.as_deref() else { continue };
        let detail = if ok { "is as it was captured" } else { "is not what was captured" };
        links.push(Link::new("boot code", ok, format!("{loader} on {} {detail}", path.display())));
    }
    if !facts.uefi && !links.iter().any(|link| link.what == "boot code") {
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
        config.entry_files |= more.entry_files;
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
    let mut entries = Vec::new();
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
                entries.push(start);
            }
        }
    }
    let at = if config.entry_files { 0 } else { config.starts.len() };
    config.starts.splice(at..at, entries);
    config.uuids.sort();
    config.uuids.dedup();
    config
}

fn check_starts(root: &Path, here: &Devices<'_>, config: &Config, facts: &BootFacts, links: &mut Vec<Link>) {
    for uuid in &config.uuids {
        let ok = here.check(&format!("UUID={uuid}"), Purpose::Unknown).is_ok();
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
    let bases = bases(root, here.layout);
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
    links.push(root_link(here, first));
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

fn root_link(here: &Devices<'_>, start: &Start) -> Link {
    let what = "root filesystem";
    match start.options.iter().find_map(|option| option.strip_prefix("root=")) {
        None => Link::new(what, true, "the kernel's command line names none; the initramfs knows it"),
        // A ZFS pool or network root is not in the layout; the initramfs finds it.
        Some(device) => match here.check(device, Purpose::Mount("/")) {
            Ok(()) => Link::new(what, true, format!("root={device}")),
            Err(why) => Link::new(what, false, format!("root={device}: {why}")),
        },
    }
}

/// Follows the devices of fstab (first field) or crypttab (second field). `believing`: kernel names are believed where there is
/// nothing to compare them with.
fn check_table(root: &Path, here: &Devices<'_>, file: &str, believing: bool, links: &mut Vec<Link>) {
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
        let point = name.replace("\\040", " ");
        let purpose = match (file, fields.get(2)) {
            ("/etc/fstab", Some(&"swap")) => Purpose::Swap,
            ("/etc/fstab", _) => Purpose::Mount(&point),
            _ => Purpose::Mapping(name),
        };
        if !local || is_made_by_kernel(device) {
            continue;
        }
        if let Err(why) = here.check(device, purpose) {
            // Without the nodes there is nothing to compare such names with.
            let unknown_form = believing && here.nodes.is_empty() && !is_tag(device);
            links.push(Link::new(file, !needed || unknown_form, format!("{device} for {name} {why}")));
        }
    }
    if !links.iter().any(|link| link.what == file && !link.ok) {
        links.push(Link::new(file, true, "every device that it needs is there"));
    }
}

#[cfg(test)]
mod tests;
