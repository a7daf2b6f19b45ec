//! The kernel's filesystems and the few directories and links that programs expect. Mounts nothing that lies on
//! a disk.

use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::mount::MountFlags;

/// One filesystem of the kernel: type, where, flags, options.
type Entry = (&'static str, &'static str, MountFlags, &'static str);

const SAFE: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);

const FILESYSTEMS: [Entry; 6] = [
    ("proc", "/proc", SAFE, ""),
    ("sysfs", "/sys", SAFE, ""),
    ("devtmpfs", "/dev", MountFlags::NOSUID, "mode=0755"),
    // A separate tmpfs, so that a program that fills /run cannot take the root's memory with it.
    ("tmpfs", "/run", MountFlags::NOSUID.union(MountFlags::NODEV), "mode=0755,size=25%"),
    ("devpts", "/dev/pts", MountFlags::NOSUID.union(MountFlags::NOEXEC), "gid=5,mode=0620,ptmxmode=0666"),
    ("tmpfs", "/dev/shm", MountFlags::NOSUID.union(MountFlags::NODEV), "mode=1777,size=25%"),
];

/// Links that the shell and scripts use; devtmpfs does not make them.
const LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
];

const DIRECTORIES: [&str; 6] =
    ["/run/lock", "/run/rear", "/tmp", "/var/log/rear", "/var/lib/rear", "/mnt/local"];

/// Mounts everything; what fails is returned as sentences, since half a rescue system is better than none.
pub fn mount_all() -> Vec<String> {
    let mut failures = Vec::new();
    for (kind, target, flags, options) in FILESYSTEMS {
        if is_mounted(kind, target) {
            continue;
        }
        let _ = std::fs::create_dir_all(target);
        mount(kind, target, flags, options, &mut failures);
    }
    for (text, link) in LINKS {
        // There already where udev or the kernel made it.
        let _ = symlink(text, link);
    }
    for directory in DIRECTORIES {
        if let Err(error) = std::fs::create_dir_all(directory) {
            failures.push(format!("cannot create the directory {directory}: {error}"));
        }
    }
    failures
}

/// The EFI variables, needed to write boot entries; only where the machine booted with UEFI. The filesystem is
/// a module in many kernels, so this waits until modules can be loaded.
pub fn mount_efivars() -> Vec<String> {
    let mut failures = Vec::new();
    let target = "/sys/firmware/efi/efivars";
    if Path::new("/sys/firmware/efi").is_dir() && !is_mounted("efivarfs", target) {
        mount("efivarfs", target, SAFE, "", &mut failures);
    }
    failures
}

fn mount(kind: &str, target: &str, flags: MountFlags, options: &str, failures: &mut Vec<String>) {
    match sys::mount::Mount::new(kind, Path::new(target), kind, flags, options) {
        Ok(mount) => mount.leave(),
        Err(error) => failures.push(error.to_string()),
    }
}

fn is_mounted(kind: &str, target: &str) -> bool {
    std::fs::read_to_string("/proc/self/mounts").is_ok_and(|mounts| {
        mounts.lines().any(|line| {
            let mut words = line.split(' ').skip(1);
            words.next() == Some(target) && words.next() == Some(kind)
        })
    })
}
