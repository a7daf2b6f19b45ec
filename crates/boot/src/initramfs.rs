//! Decides whether the restored initramfs can mount the root filesystem on what is there now, and makes a new one where it
//! cannot. Never removes the old one.
//!
//! The rule is simple and careful: every kernel module that drives a device between the root filesystem (and `/usr`) and
//! the machine's buses now must be in the initramfs or built into the kernel. An initramfs that cannot be examined counts as
//! sufficient only where no module is needed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sys::{Cmd, Sys, SysExt};

use crate::rooted;
use crate::{Error, Result};

mod content;

use content::{module_name, modules_in};

/// Names that distributions give the initramfs of a kernel release, in `/boot`.
const NAMES: [(&str, &str); 3] = [("initrd.img-", ""), ("initramfs-", ".img"), ("initrd-", "")];

/// Says why the initramfs of one of these kernel releases must be made again: it lacks a driver, or cannot be examined while
/// drivers are needed. `None` when all of them suffice. Where the restored system's own lister has to run, `/dev`, `/proc`
/// and `/sys` must be mounted inside.
///
/// # Errors
/// When the machine cannot be asked.
pub fn initramfs_needs_rebuild(sys: &dyn Sys, root: &Path, releases: &[String]) -> Result<Option<String>> {
    let needed = needed_modules(sys, root)?;
    for release in releases {
        if let Some(why) = insufficient(sys, root, release, &needed)? {
            return Ok(Some(why));
        }
    }
    Ok(None)
}

/// Why the initramfs of this release does not suffice, or cannot be shown to.
fn insufficient(
    sys: &dyn Sys,
    root: &Path,
    release: &str,
    needed: &BTreeSet<String>,
) -> Result<Option<String>> {
    let modules = root.join("lib/modules").join(release);
    let text = |name: &str| std::fs::read_to_string(modules.join(name)).unwrap_or_default();
    let builtin: BTreeSet<String> = text("modules.builtin").lines().map(module_name).collect();
    // A module that this kernel does not have at all (another kernel drives the hardware by another module) says
    // nothing about its initramfs.
    let exists: BTreeSet<String> = text("modules.dep")
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(path, _)| module_name(path))
        .collect();
    let needed: Vec<&str> = needed
        .iter()
        .filter(|name| !builtin.contains(*name) && exists.contains(*name))
        .map(String::as_str)
        .collect();
    if needed.is_empty() {
        return Ok(None);
    }
    let unproven = |detail: &str| {
        Ok(Some(format!(
            "the initramfs of kernel {release} cannot be examined ({detail}), and this hardware needs the drivers {}",
            needed.join(", ")
        )))
    };
    let Some(path) = initramfs_of(root, release) else {
        // Modules that a removed kernel left behind start nothing.
        return if has_kernel(root, release) {
            unproven("it was not found under any usual name")
        } else {
            Ok(None)
        };
    };
    let inside = match modules_in(sys, root, &path) {
        Ok(Some(inside)) => inside,
        Ok(None) => return unproven("no program here can list it"),
        Err(Error::Sys(error @ sys::Error::Cancelled)) => return Err(error.into()),
        Err(error) => return unproven(&error.to_string()),
    };
    let missing: Vec<&str> = needed.iter().copied().filter(|name| !inside.contains(*name)).collect();
    if missing.is_empty() {
        return Ok(None);
    }
    Ok(Some(format!(
        "the initramfs of kernel {release} lacks drivers that this hardware needs: {}",
        missing.join(", ")
    )))
}

/// Makes all initramfs again with the restored system's own tool, which runs in it (`/dev`, `/proc` and `/sys` must be
/// mounted inside). The old ones stay beside the new ones, as `NAME.rear-orig`.
///
/// # Errors
/// [`Error::NoTool`] when the system has none that is known; else what the tool said. The old initramfs is back
/// in place then.
pub fn rebuild_initramfs(sys: &dyn Sys, root: &Path) -> Result<()> {
    let tools: [(&str, &[&str]); 3] = [
        ("update-initramfs", &["-u", "-k", "all"]),
        ("dracut", &["--force", "--regenerate-all"]),
        ("mkinitcpio", &["-P"]),
    ];
    let Some((tool, arguments)) =
        tools.iter().find_map(|(name, arguments)| Some((rooted::program(root, &[name])?, arguments)))
    else {
        return Err(Error::NoTool {
            what: "update-initramfs, dracut or mkinitcpio".into(),
            hint: "the initramfs lacks drivers for this hardware; make it again by hand before you reboot"
                .into(),
        });
    };
    let kept = keep_originals(root)?;
    let result = sys.run(
        &Cmd::new(tool).args(arguments.iter().copied()).chroot(root).timeout(Duration::from_secs(3 * 3600)),
    );
    if let Err(error) = result {
        for (path, original) in kept {
            std::fs::copy(&original, &path).map_err(Error::io("put back", &path))?;
        }
        return Err(error.into());
    }
    Ok(())
}

fn keep_originals(root: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
    let mut kept = Vec::new();
    let modules = std::fs::read_dir(root.join("lib/modules")).into_iter().flatten().flatten();
    for release in modules.map(|entry| entry.file_name().to_string_lossy().into_owned()) {
        let Some(path) = initramfs_of(root, &release) else { continue };
        let mut original = path.clone().into_os_string();
        original.push(".rear-orig");
        let original = PathBuf::from(original);
        std::fs::copy(&path, &original).map_err(Error::io("keep a copy of", &path))?;
        kept.push((path, original));
    }
    Ok(kept)
}

fn initramfs_of(root: &Path, release: &str) -> Option<PathBuf> {
    let mut paths: Vec<String> =
        NAMES.iter().map(|(before, after)| format!("/boot/{before}{release}{after}")).collect();
    // Arch Linux names its files after the package.
    let package = rooted::resolve(root, Path::new(&format!("/lib/modules/{release}/pkgbase")));
    if let Some(package) = package.and_then(|path| std::fs::read_to_string(path).ok()) {
        paths.push(format!("/boot/initramfs-{}.img", package.trim()));
    }
    // Below the machine's id (kernel-install), and beside the modules (SUSE).
    paths.extend(
        kernel_dirs(root, release)
            .iter()
            .flat_map(|dir| ["initrd", "initramfs.img", "initramfs"].map(|name| format!("{dir}/{name}"))),
    );
    paths.iter().filter_map(|path| rooted::resolve(root, Path::new(path))).find(|path| path.is_file())
}

/// Directories that hold the files of one kernel release only.
fn kernel_dirs(root: &Path, release: &str) -> Vec<String> {
    let mut dirs = Vec::new();
    if let Some(id) =
        rooted::resolve(root, Path::new("/etc/machine-id")).and_then(|p| std::fs::read_to_string(p).ok())
    {
        dirs.extend(["/boot", "/efi", "/boot/efi"].map(|base| format!("{base}/{}/{release}", id.trim())));
    }
    dirs.push(format!("/lib/modules/{release}"));
    dirs
}

/// Whether this release has a kernel that could be started, as far as names tell.
fn has_kernel(root: &Path, release: &str) -> bool {
    let in_boot =
        ["vmlinuz", "vmlinux", "Image", "kernel", "zImage"].map(|name| format!("/boot/{name}-{release}"));
    let beside = kernel_dirs(root, release)
        .into_iter()
        .flat_map(|dir| ["linux", "vmlinuz", "Image", "vmlinux"].map(|name| format!("{dir}/{name}")));
    in_boot
        .into_iter()
        .chain(beside)
        .any(|path| rooted::resolve(root, Path::new(&path)).is_some_and(|path| path.is_file()))
}

/// Modules that drive the devices below the restored root filesystem now.
fn needed_modules(sys: &dyn Sys, root: &Path) -> Result<BTreeSet<String>> {
    let mut open: Vec<PathBuf> = Vec::new();
    let root_text = root.to_string_lossy();
    let usr = root.join("usr");
    // Fields 3 and 5 are the device's numbers and the mount point (Linux, proc(5)).
    for line in sys.read_text("/proc/self/mountinfo")?.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        if let (Some(numbers), Some(point)) = (fields.get(2), fields.get(4))
            && (*point == root_text || Path::new(point) == usr)
            && let Ok(path) = sys.canonicalize(Path::new(&format!("/sys/dev/block/{numbers}")))
        {
            open.push(path);
        }
    }
    let mut needed = BTreeSet::new();
    let mut seen = BTreeSet::new();
    while let Some(device) = open.pop() {
        if !seen.insert(device.clone()) {
            continue;
        }
        for slave in sys.list(&device.join("slaves")).unwrap_or_default() {
            open.extend(sys.canonicalize(&device.join("slaves").join(slave)));
        }
        for above in device.ancestors().take_while(|above| above.starts_with("/sys/devices")) {
            if let Ok(module) = sys.read_link(&above.join("driver/module")) {
                needed.insert(module_name(&module.to_string_lossy()));
            }
        }
    }
    Ok(needed)
}

#[cfg(test)]
mod tests {
    use super::content::tests::member;
    use super::*;

    #[test]
    fn what_cannot_be_examined_suffices_only_where_no_driver_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let put = |path: &str, bytes: &[u8]| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        };
        put(
            "lib/modules/6.1/modules.dep",
            b"kernel/drivers/block/virtio_blk.ko.xz: kernel/x.ko\nkernel/fs/xfs.ko:\n",
        );
        put("lib/modules/6.1/modules.builtin", b"kernel/drivers/ata/ahci.ko\n");
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let why = |needed: &[&str]| insufficient(&sys::Forbid, root, "6.1", &set(needed)).unwrap();
        let virtio = ["ahci", "other_kernels_module", "virtio_blk"];
        // Left behind by a removed kernel.
        assert_eq!(why(&virtio), None);
        put("boot/vmlinuz-6.1", b"");
        assert_eq!(why(&["ahci", "other_kernels_module"]), None);
        let text = why(&virtio).unwrap();
        assert!(
            text.contains("cannot be examined (it was not found") && text.ends_with("drivers virtio_blk"),
            "{text}"
        );
        // Compressed in a way that is not known here, and no lister; then damaged; then without the driver.
        let path = "boot/initrd.img-6.1";
        put(path, b"\x1f\x8b\x08 gzip");
        assert!(why(&virtio).unwrap().contains("no program here can list it"));
        assert_eq!(why(&["ahci"]), None);
        put(path, &member("lib/modules/virtio_blk.ko", b"12345")[..120]);
        assert!(why(&virtio).unwrap().contains("cannot be examined"));
        put(path, &[member("lib/modules/xfs.ko", b""), member("TRAILER!!!", b"")].concat());
        assert!(why(&virtio).unwrap().contains("lacks drivers that this hardware needs: virtio_blk"));
        put(path, &[member("lib/modules/virtio_blk.ko", b""), member("TRAILER!!!", b"")].concat());
        assert_eq!(why(&virtio), None);
        // Other places.
        std::fs::remove_file(root.join(path)).unwrap();
        put("etc/machine-id", b"0123abcd\n");
        put(
            "boot/0123abcd/6.1/initrd",
            &[member("lib/virtio_blk.ko", b""), member("TRAILER!!!", b"")].concat(),
        );
        assert_eq!(why(&virtio), None);
    }
}
