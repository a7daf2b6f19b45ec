//! Which kinds of filesystems there are for a backup, told by their type's name alone. Knows nothing of devices.

/// What a filesystem type means for a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Made by the kernel or a service at every boot; holds nothing to keep.
    Pseudo,
    /// Its files live on another machine (or on the host of this virtual one).
    Network,
    /// A program presents files that it keeps elsewhere.
    Fuse,
    /// Optical media and images.
    Image,
    /// Stored on block devices of this machine.
    Local,
}

#[rustfmt::skip]
const PSEUDO: &[&str] = &[
    "aufs", "autofs", "bdev", "binder", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "cpuset",
    "debugfs", "devfs", "devpts", "devtmpfs", "dlmfs", "ecryptfs", "efivarfs", "functionfs",
    "fuse.gvfsd-fuse", "fuse.lxcfs", "fuse.portal", "fusectl", "hugetlbfs", "mqueue", "nfsd", "nsfs",
    "ocfs2_dlmfs", "openpromfs", "overlay", "pidfs", "proc", "pstore", "ramfs", "resctrl", "rootfs",
    "rpc_pipefs", "securityfs", "selinuxfs", "smackfs", "sysfs", "tmpfs", "tracefs", "usbfs", "xenfs",
];

#[rustfmt::skip]
const NETWORK: &[&str] = &[
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "fuse.ceph", "fuse.glusterfs", "fuse.rclone",
    "fuse.s3fs", "fuse.sshfs", "fuse.vmhgfs-fuse", "glusterfs", "lustre", "nfs", "nfs4", "prl_fs", "smb3",
    "smbfs", "vboxsf", "virtiofs", "vmhgfs",
];

/// Sorts a type in.
pub(crate) fn class(fs_type: &str) -> Class {
    if PSEUDO.contains(&fs_type) {
        Class::Pseudo
    } else if NETWORK.contains(&fs_type) {
        Class::Network
    } else if matches!(fs_type, "iso9660" | "udf" | "squashfs" | "erofs" | "cramfs") {
        Class::Image
    } else if fs_type == "fuse" || fs_type.starts_with("fuse.") {
        Class::Fuse
    } else {
        Class::Local
    }
}

/// Whether `path` lies strictly below the directory `dir`.
pub(crate) fn is_below(path: &str, dir: &str) -> bool {
    let dir = dir.trim_end_matches('/');
    path.strip_prefix(dir).is_some_and(|rest| rest.len() > 1 && rest.starts_with('/'))
}

/// A component of the configuration without its kind: `fs:/data`, `disk:/dev/sdb` and `part:/dev/sdb1` name what
/// stands behind the colon.
pub(crate) fn component(text: &str) -> &str {
    match text.split_once(':') {
        Some((_, rest)) if rest.starts_with('/') => rest,
        _ => text,
    }
}

/// A path without the slashes at its end (`/data/` is `/data`).
pub(crate) fn trim(path: &str) -> &str {
    if path.len() > 1 { path.trim_end_matches('/') } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_below_are_told_from_paths_that_begin_alike() {
        assert!(is_below("/mnt/usb", "/mnt/"));
        assert!(is_below("/mnt", "/"));
        assert!(!is_below("/mnt", "/mnt"));
        assert!(!is_below("/mntx/y", "/mnt"));
        assert!(!is_below("/", "/"));
    }

    #[test]
    fn types_are_sorted_in() {
        assert_eq!(class("tmpfs"), Class::Pseudo);
        assert_eq!(class("fuse.sshfs"), Class::Network);
        assert_eq!(class("fuse.mergerfs"), Class::Fuse);
        assert_eq!(class("fuseblk"), Class::Local);
        assert_eq!(class("something-new"), Class::Local);
        assert_eq!(component("disk:/dev/sdb"), "/dev/sdb");
        assert_eq!(component("disk:serial:A"), "disk:serial:A");
    }
}
