//! Puts the layout together: disks, their partitions, what is made of them, and what is mounted.

use std::collections::{BTreeMap, BTreeSet};

use layout::{
    Bytes, Content, Device, Disk, Firmware, GptEntry, Kind, Layout, Lba, Machine, Mount, NodeId, Partition,
    PartitionEntry, SectorSize,
};
use sys::{Sys, SysExt};

use crate::block::{self, Block};
use crate::content::{Context, Look, look};
use crate::device::Dev;
use crate::mounts::{self, MountEntry, SwapEntry, device_path};
use crate::rules::{Class, class};
use crate::table::{self, Entry, Seen};
use crate::{Error, Result, btrfs, identity, lvm, md, multipath, stacked, swap};

/// The storage of this machine as it is now.
///
/// # Errors
/// When a device cannot be read for lack of permission, or when the kernel works with other partitions than the
/// table of a disk in use describes.
pub fn machine(sys: &dyn Sys) -> Result<Layout> {
    let mounted = mounts::mountinfo(sys)?;
    let swaps = mounts::swaps(sys)?;
    let mut probe = Probe {
        sys,
        layout: Layout::new(facts(sys)?),
        used: used_paths(sys, &mounted, &swaps)?,
        ids: BTreeMap::new(),
        lvm: lvm::Groups::default(),
    };
    for block in block::read(sys)? {
        probe.add(&block)?;
    }
    let mut layout = probe.layout;
    layout.groups = probe.lvm.finish(&layout);
    btrfs::complete(sys, &mut layout, &mounted)?;
    add_mounts(sys, &mut layout, &mounted)?;
    mark_swaps(sys, &mut layout, &swaps)?;
    layout.swap_files = swap::files(sys, &layout, &mounted, &swaps)?;
    lvm::forget_broken(&mut layout);
    match layout.check().first() {
        None => Ok(layout),
        Some(violation) => Err(Error::Inconsistent(violation.to_string())),
    }
}

fn facts(sys: &dyn Sys) -> Result<Machine> {
    let os_release = match sys.read_opt("/etc/os-release")? {
        Some(text) => text,
        None => sys.read_opt("/usr/lib/os-release")?.unwrap_or_default(),
    };
    let system = os_release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map(|name| name.trim().trim_matches(['"', '\'']).to_owned());
    Ok(Machine {
        hostname: sys.read_opt("/proc/sys/kernel/hostname")?.unwrap_or_default(),
        firmware: if sys.exists("/sys/firmware/efi".as_ref()) { Firmware::Uefi } else { Firmware::Bios },
        // Kernels before 6.1 do not have the file; this program runs on the architecture that it was built for.
        architecture: sys
            .read_opt("/proc/sys/kernel/arch")?
            .unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        system: system.unwrap_or_else(|| "Linux".to_owned()),
    })
}

/// Paths of devices that are mounted or swapped on. Mounted images do not count: the table around the image on a
/// USB stick is often an odd one, and nothing is made from it.
fn used_paths(sys: &dyn Sys, mounted: &[MountEntry], swaps: &[SwapEntry]) -> Result<BTreeSet<String>> {
    let mut used = BTreeSet::new();
    for mount in mounted.iter().filter(|mount| class(&mount.fs_type) != Class::Image) {
        used.extend(mounts::device_of(sys, mount)?);
    }
    for swap in swaps.iter().filter(|swap| !swap.is_file) {
        used.insert(mounts::resolve(sys, &swap.path)?);
    }
    Ok(used)
}

struct Probe<'a> {
    sys: &'a dyn Sys,
    layout: Layout,
    used: BTreeSet<String>,
    /// Kernel name to id.
    ids: BTreeMap<String, NodeId>,
    lvm: lvm::Groups,
}

impl Probe<'_> {
    fn add(&mut self, block: &Block) -> Result<()> {
        if stacked::is_inner(self.sys, block)?
            && let Some(parent) = block.slaves.first().and_then(|name| self.ids.get(name)).cloned()
        {
            // What is made of it is made of the container.
            self.ids.insert(block.name.clone(), parent);
            return Ok(());
        }
        let (id, kind) = match self.lvm.seen(self.sys, block, &self.layout, &self.used)? {
            lvm::Seen::Hidden => return Ok(()),
            lvm::Seen::Volume(id, kind) => (id, *kind),
            lvm::Seen::Foreign => self.kind(block)?,
        };
        md::claim(&mut self.layout, &kind);
        let id = self.unique(id);
        let sector = SectorSize(block.sector);
        let path = device_path(&block.name);
        let seen: Vec<Seen> = block.partitions.iter().map(|(_, seen)| *seen).collect();
        let dev = Dev::new(self.sys, &path, block.size);
        let context = Context { whole: true, sector, seen: &seen, holders: &block.holders };
        let Look { mut content, mut entries } = look(&dev, &context)?;
        if matches!(content, Content::Table(_))
            && let Some(detail) = table::difference(&entries, &seen, sector)
        {
            let in_use = block.partitions.iter().any(|(name, _)| self.used.contains(&device_path(name)));
            if in_use {
                return Err(Error::TableDiffers { path, detail });
            }
            tracing::warn!("the kernel's view of {path} differs from its partition table: {detail}");
            let what = format!(
                "partition table that the kernel sees differently: {detail}; run partprobe or reboot"
            );
            content = Content::Unknown { what };
            entries.clear();
        }
        let mut device = Device { id: id.clone(), path, size: Bytes(block.size), sector, kind, content };
        let mut partitions = Vec::new();
        for entry in entries {
            partitions.extend(self.partition(block, &device, entry)?);
        }
        if let Some(violation) = broken(&self.layout.machine, &device, &partitions) {
            if partitions.iter().any(|part| self.used.contains(&part.path)) {
                return Err(Error::Inconsistent(violation));
            }
            // Hybrid images on USB sticks overlap on purpose. Nobody uses it: it is foreign, and stays so.
            device.content = Content::Unknown { what: format!("inconsistent partition table: {violation}") };
            partitions.clear();
        }
        self.ids.insert(block.name.clone(), id);
        for part in &partitions {
            if let Some(name) = part.path.strip_prefix("/dev/") {
                self.ids.insert(name.replace('/', "!"), part.id.clone());
            }
        }
        for device in std::iter::once(&device).chain(&partitions) {
            self.lvm.add(self.sys, device)?;
        }
        self.layout.devices.push(device);
        self.layout.devices.extend(partitions);
        Ok(())
    }

    fn kind(&self, block: &Block) -> Result<(NodeId, Kind)> {
        let parents: Vec<NodeId> =
            block.slaves.iter().filter_map(|name| self.ids.get(name).cloned()).collect();
        if let Some(found) = md::read(self.sys, block, &self.ids, &self.layout)? {
            return Ok(found);
        }
        if let Some(found) = stacked::read(self.sys, block, &parents)? {
            return Ok(found);
        }
        let disk = match &block.multipath {
            Some(paths) => multipath::disk(self.sys, block, paths)?,
            None => Disk {
                identity: identity::read(self.sys, &block.name, &block.number, &block.sysfs)?,
                transport: identity::transport(&block.sysfs).to_owned(),
                removable: block.removable,
                read_only: block.read_only,
                multipath: None,
            },
        };
        let identity = &disk.identity;
        let name = if let Some(wwn) = &identity.wwn {
            format!("disk:wwn:{wwn}")
        } else if let Some(serial) = &identity.serial {
            format!("disk:serial:{serial}")
        } else if let Some(path) = &identity.path {
            format!("disk:path:{path}")
        } else if let Some(multipath) = &disk.multipath {
            format!("disk:wwid:{}", multipath.wwid)
        } else {
            format!("disk:name:{}", block.name)
        };
        Ok((NodeId(name), Kind::Disk(disk)))
    }

    /// Two disks may report one serial number (cheap USB bridges), or be two paths to one disk.
    fn unique(&self, id: NodeId) -> NodeId {
        let mut candidate = id.clone();
        let mut count = 1;
        while self.layout.device(&candidate).is_some() {
            count += 1;
            candidate = NodeId(format!("{id}#{count}"));
        }
        candidate
    }

    fn partition(&self, block: &Block, parent: &Device, entry: Entry) -> Result<Option<Device>> {
        let Some((name, _)) = block.partitions.iter().find(|(_, seen)| seen.number == entry.number) else {
            return Ok(None);
        };
        let length = Lba(entry.length);
        let size = length.bytes(parent.sector);
        let path = device_path(name);
        let partition = Partition {
            parent: parent.id.clone(),
            number: entry.number,
            start: Lba(entry.start),
            length,
            entry: entry.entry,
        };
        let boot_code = matches!(&partition.entry, PartitionEntry::Gpt(gpt)
            if gpt.type_guid == GptEntry::BIOS_BOOT || gpt.type_guid == GptEntry::PREP);
        let content = if partition.is_extended() {
            Content::Empty
        } else if boot_code {
            Content::BootCode
        } else {
            // A partition of a disk behind several paths is a device of its own.
            let dir = match block.multipath {
                Some(_) => format!("/sys/block/{name}/holders"),
                None => format!("/sys/block/{}/{name}/holders", block.name),
            };
            let holders = block::names(self.sys, &dir)?;
            let context = Context { whole: false, sector: parent.sector, seen: &[], holders: &holders };
            look(&Dev::new(self.sys, &path, size.0), &context)?.content
        };
        let id = parent.id.partition(entry.number);
        let kind = Kind::Partition(partition);
        Ok(Some(Device { id, path, size, sector: parent.sector, kind, content }))
    }
}

/// The first rule that a disk with these partitions breaks.
fn broken(machine: &Machine, device: &Device, partitions: &[Device]) -> Option<String> {
    let mut alone = Layout::new(machine.clone());
    let mut device = device.clone();
    // Parents of a stacked device are not in this small layout, and are not what is checked.
    device.kind = Kind::Disk(Disk {
        identity: layout::DiskIdentity::default(),
        transport: String::new(),
        removable: false,
        read_only: false,
        multipath: None,
    });
    alone.devices.push(device);
    alone.devices.extend_from_slice(partitions);
    alone.check().first().map(ToString::to_string)
}

/// Each filesystem is mounted once in the layout: where its whole tree is seen first. btrfs: each subvolume.
fn add_mounts(sys: &dyn Sys, layout: &mut Layout, mounted: &[MountEntry]) -> Result<()> {
    let fstab = mounts::fstab(sys)?;
    let mut found: Vec<Mount> = Vec::new();
    for entry in mounted {
        let Some(device) = mounts::node_of(sys, layout, entry)? else { continue };
        let btrfs = entry.fs_type == "btrfs";
        let again = |mount: &Mount| mount.device == device.id && (!btrfs || mount.root == entry.root);
        // A bind mount of a directory inside is a view of what comes back anyway.
        let whole = entry.root == "/" || (btrfs && btrfs::is_subvolume(device, &entry.root));
        if device.filesystem().is_none() || !whole || found.iter().any(again) {
            continue;
        }
        found.push(Mount {
            device: device.id.clone(),
            mount_point: entry.mount_point.clone(),
            root: entry.root.clone(),
            fs_type: entry.fs_type.clone(),
            options: mounts::options(entry, &fstab),
        });
    }
    found.sort_by(|a, b| mounts::by_depth(&a.mount_point).cmp(&mounts::by_depth(&b.mount_point)));
    for mount in &found {
        let usage = sys.usage(mount.mount_point.as_ref())?;
        let device = layout.devices.iter_mut().find(|device| device.id == mount.device);
        if let Some(Content::Filesystem(filesystem)) = device.map(|device| &mut device.content) {
            filesystem.used = Some(Bytes(usage.total.saturating_sub(usage.free)));
        }
    }
    layout.mounts = found;
    Ok(())
}

fn mark_swaps(sys: &dyn Sys, layout: &mut Layout, swaps: &[SwapEntry]) -> Result<()> {
    for entry in swaps.iter().filter(|entry| !entry.is_file) {
        let path = mounts::resolve(sys, &entry.path)?;
        let device = layout.devices.iter_mut().find(|device| device.path == path);
        if let Some(Content::Swap(swap)) = device.map(|device| &mut device.content) {
            swap.active = true;
        }
    }
    Ok(())
}
