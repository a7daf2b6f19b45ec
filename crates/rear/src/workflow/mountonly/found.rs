//! A machine of which nothing is saved: its root filesystem is the one with an fstab, and that says the rest. Looks at
//! filesystems read-only, without replaying their journals, and leaves none of them mounted.

use std::path::Path;

use layout::{Content, Device, Layout};
use plan::FoundMount;
use probe::FstabEntry;
use rustix::mount::MountFlags;
use sys::Sys;
use sys::mount::Mount;

use super::load_driver;
use crate::cli::Mountonly;
use crate::context::Context;
use crate::failure::{Failure, Result};

/// Where a filesystem is looked at.
const LOOK: &str = "/run/rear/look";

/// Where distributions keep the root filesystem inside of a btrfs that has no default subvolume.
const SUBVOLUMES: [&str; 3] = ["@", "@rootfs", "root"];

/// A root filesystem that was found.
struct Root<'a> {
    device: &'a Device,
    /// Options of its mount: the subvolume.
    options: Vec<String>,
    fstab: Vec<FstabEntry>,
    crypttab: String,
}

/// All mounts of the machine whose root filesystem lies on one of the present devices.
pub fn mounts(context: &Context, options: &Mountonly, present: &Layout) -> Result<Vec<FoundMount>> {
    let mut roots = Vec::new();
    for device in &present.devices {
        let named = options.root.as_ref().is_none_or(|name| is_called(context, name, device));
        if named && device.filesystem().is_some() {
            roots.extend(look(context, device)?);
        }
    }
    let names: Vec<&str> = roots.iter().map(|root| root.device.path.as_str()).collect();
    let root = match roots.as_slice() {
        [root] => root,
        [] => {
            return Err(Failure::failed(
                "no root filesystem was found: none that can be mounted has an /etc/fstab",
            )
            .hint("nothing is mounted; rear layout shows what lies on the disks"));
        }
        _ => {
            return Err(Failure::refused(format!(
                "{} root filesystems were found: {}",
                names.len(),
                names.join(", ")
            ))
            .hint("nothing is mounted; choose one with --root DEVICE"));
        }
    };
    context.ui.say(format!("By the fstab of the root filesystem on {}.", root.device.path));
    let mut mounts = vec![FoundMount {
        mount_point: "/".into(),
        fs_type: fs_type(root.device),
        options: root.options.clone(),
        device: Ok(root.device.path.clone()),
    }];
    for entry in root.fstab.iter().filter(|entry| is_local(entry)) {
        let device = resolve(context, present, root, entry);
        if device.is_err() && entry.options.iter().any(|option| option == "nofail") {
            context.ui.explain(format!("{} is not here, and may be away (nofail)", entry.file));
            continue;
        }
        mounts.push(FoundMount {
            mount_point: entry.file.clone(),
            fs_type: device.as_ref().map_or_else(|_| entry.fs_type.clone(), |device| fs_type(device)),
            options: entry
                .options
                .iter()
                .filter(|option| option.starts_with("subvol=") || option.starts_with("subvolid="))
                .cloned()
                .collect(),
            device: device.map(|device| device.path.clone()),
        });
    }
    mounts.sort_by_key(|mount| mount.mount_point.split('/').filter(|part| !part.is_empty()).count());
    Ok(mounts)
}

fn is_called(context: &Context, name: &str, device: &Device) -> bool {
    let real = context.sys.canonicalize(Path::new(name));
    device.path == name || device.id.0 == name || real.is_ok_and(|path| path == Path::new(&device.path))
}

fn fs_type(device: &Device) -> String {
    device.filesystem().map(|filesystem| filesystem.fs_type().to_owned()).unwrap_or_default()
}

/// Whether a device holds a root filesystem. One that cannot be mounted holds none that could be used.
fn look<'a>(context: &Context, device: &'a Device) -> Result<Option<Root<'a>>> {
    let place = Path::new(LOOK);
    sys::fs::create_dir_private(place)?;
    let kind = fs_type(device);
    load_driver(context, &kind);
    let mut ways = vec![Vec::new()];
    if kind == "btrfs" {
        ways.extend(SUBVOLUMES.map(|name| vec![format!("subvol=/{name}")]));
    }
    for options in ways {
        context.cancel.check()?;
        let words: Vec<&str> =
            options.iter().map(String::as_str).chain(sys::mount::untouched(&kind)).collect();
        let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        let mount = match Mount::new(&device.path, place, &kind, flags, &words.join(",")) {
            Ok(mount) => mount,
            Err(error) => {
                tracing::info!("{}: {error}", device.path);
                continue;
            }
        };
        let text = |name: &str| std::fs::read_to_string(place.join(name)).ok();
        let fstab = text("etc/fstab");
        let crypttab = text("etc/crypttab").unwrap_or_default();
        mount.unmount()?;
        if let Some(fstab) = fstab {
            let fstab = probe::parse_fstab(&fstab);
            return Ok(Some(Root { device, options, fstab, crypttab }));
        }
    }
    Ok(None)
}

/// Whether an entry mounts a filesystem of a local device at boot, other than the root.
fn is_local(entry: &FstabEntry) -> bool {
    let has = |option: &str| entry.options.iter().any(|word| word == option);
    let device = entry.spec.starts_with("/dev/") || entry.spec.contains('=');
    let other = ["swap", "none", "proc", "sysfs", "tmpfs", "devpts", "iso9660", "udf"];
    device
        && entry.file.starts_with('/')
        && entry.file != "/"
        && !other.contains(&entry.fs_type.as_str())
        && !["noauto", "bind", "rbind"].iter().any(|option| has(option))
}

/// The device that an entry names.
fn resolve<'a>(
    context: &Context,
    present: &'a Layout,
    root: &Root<'_>,
    entry: &FstabEntry,
) -> Result<&'a Device, String> {
    let at = |path: &str| {
        let real = context.sys.canonicalize(Path::new(path)).ok()?;
        present.device_by_path(&real.to_string_lossy())
    };
    let found = match link(&entry.spec) {
        Some(path) => at(&path),
        None => at(&entry.spec).or_else(|| opened(present, &root.crypttab, &entry.spec)),
    };
    let missing = || format!("no device answers to {} of its fstab", entry.spec);
    let device = found.ok_or_else(missing)?;
    match device.filesystem() {
        None => Err(format!("{} of its fstab is {}, which holds no filesystem", entry.spec, device.path)),
        // Kernel names change from boot to boot.
        Some(filesystem)
            if entry.spec.starts_with("/dev/")
                && entry.fs_type != "auto"
                && filesystem.fs_type() != entry.fs_type =>
        {
            Err(format!("{} holds {}, not {}", entry.spec, filesystem.fs_type(), entry.fs_type))
        }
        Some(_) => Ok(device),
    }
}

/// The link of udev for a tag of fstab.
fn link(spec: &str) -> Option<String> {
    let (tag, value) = spec.split_once('=')?;
    let dir = match tag {
        "UUID" => "by-uuid",
        "LABEL" => "by-label",
        "PARTUUID" => "by-partuuid",
        "PARTLABEL" => "by-partlabel",
        "ID" => "by-id",
        _ => return None,
    };
    let value = value.trim_matches('"');
    // udev(7): other bytes than these become \xHH in names of links.
    let mut name = String::new();
    for c in value.chars() {
        if c.is_ascii_alphanumeric() || "#+-.:=@_".contains(c) || !c.is_ascii() {
            name.push(c);
        } else {
            name.push_str(&format!("\\x{:02x}", u32::from(c)));
        }
    }
    let lower = if dir == "by-partuuid" { name.to_ascii_lowercase() } else { name };
    Some(format!("/dev/disk/{dir}/{lower}"))
}

/// The open side of a container by the name that the machine's crypttab gives it: here it has another one.
fn opened<'a>(present: &'a Layout, crypttab: &str, spec: &str) -> Option<&'a Device> {
    let name = spec.strip_prefix("/dev/mapper/")?;
    let line = crypttab.lines().find(|line| line.split_whitespace().next() == Some(name))?;
    let uuid = line.split_whitespace().nth(1)?.strip_prefix("UUID=")?.trim_matches('"');
    let container = present.devices.iter().find(
        |device| matches!(&device.content, Content::Luks(luks) if luks.uuid.eq_ignore_ascii_case(uuid)),
    )?;
    present.children(&container.id).first().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_become_links_as_udev_writes_them() {
        assert_eq!(link("UUID=ab-CD").as_deref(), Some("/dev/disk/by-uuid/ab-CD"));
        assert_eq!(link("LABEL=\"my root\"").as_deref(), Some(r"/dev/disk/by-label/my\x20root"));
        assert_eq!(link("PARTUUID=ABCD-01").as_deref(), Some("/dev/disk/by-partuuid/abcd-01"));
        assert_eq!(link("/dev/sda1"), None);
        assert_eq!(link("server=x"), None);
    }

    #[test]
    fn only_local_filesystems_that_boot_mounts_belong_to_the_machine() {
        let text = "UUID=1 / ext4 defaults 0 1\n/dev/vg/home /home xfs defaults 0 2\nUUID=2 none swap sw 0 0\n\
                    server:/x /net nfs defaults 0 0\n/dev/sr0 /cd iso9660 ro 0 0\nUUID=3 /usb ext4 noauto 0 0\n\
                    /home/a /b none bind 0 0\ntmpfs /tmp tmpfs defaults 0 0\nLABEL=ESP /boot/efi vfat umask=77 0 1\n";
        let points: Vec<String> =
            probe::parse_fstab(text).into_iter().filter(is_local).map(|entry| entry.file).collect();
        assert_eq!(points, ["/home", "/boot/efi"]);
    }
}
