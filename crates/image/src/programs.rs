//! The programs of the rescue system, by name, with the files that go with them. Decides nothing else.

/// Without these the rescue system is none.
#[rustfmt::skip]
pub(crate) const NEEDED: &[&str] = &[
    "bash", "sh", "cat", "cp", "ls", "mount", "umount", "blkid", "lsblk", "sfdisk", "udevadm", "modprobe",
    "ip", "chroot",
];

/// Carried where the host has them.
#[rustfmt::skip]
pub(crate) const WANTED: &[&str] = &[
    // shell and coreutils
    "[", "b2sum", "base64", "basename", "chgrp", "chmod", "chown", "cksum", "comm", "cut", "date", "dd",
    "df", "dirname", "du", "echo", "env", "expr", "false", "fold", "head", "hostname", "id", "install",
    "join", "link", "ln", "logname", "md5sum", "mkdir", "mkfifo", "mknod", "mktemp", "mv", "nice", "nl",
    "nohup", "nproc", "od", "paste", "printenv", "printf", "pwd", "readlink", "realpath", "rm", "rmdir",
    "seq", "sha1sum", "sha256sum", "sha512sum", "shuf", "sleep", "sort", "split", "stat", "stdbuf", "stty",
    "sum", "sync", "tac", "tail", "tee", "test", "timeout", "touch", "tr", "true", "truncate", "tty",
    "uname", "uniq", "unlink", "wc", "who", "whoami", "yes", "dash",
    // text, search, compression
    "awk", "gawk", "mawk", "bc", "cmp", "cpio", "diff", "egrep", "fgrep", "file", "find", "getopt", "grep",
    "gunzip", "gzip", "pigz", "bzip2", "bunzip2", "less", "more", "lz4", "sed", "strings", "tar", "unxz",
    "unzstd", "which", "xargs", "xz", "zcat", "zstd", "hexdump", "xxd", "jq", "patch", "column", "rev",
    "vi", "vim", "vim.tiny", "nano", "joe", "mc", "script", "getent", "locale", "localedef", "iconv",
    // kernel, processes, machine
    "depmod", "dmesg", "dmidecode", "free", "fuser", "insmod", "kill", "killall", "kmod", "lscpu", "lsmod",
    "lsof", "lspci", "lsusb", "modinfo", "pgrep", "pidof", "pkill", "ps", "rmmod", "strace", "sysctl",
    "top", "uptime", "vmstat", "w", "watch", "setsid", "hwclock", "chrt", "ionice", "taskset", "nsenter",
    "unshare", "switch_root", "flock", "lsns", "tset", "reset", "clear", "tput", "infocmp", "tmux",
    "screen", "efibootmgr", "efibootdump", "mokutil", "setpci", "mcelog", "ipmitool", "setterm", "sulogin",
    // consoles
    "agetty", "chvt", "deallocvt", "dumpkeys", "fgconsole", "kbd_mode", "loadkeys", "openvt", "setfont",
    "setupcon", "showkey", "unicode_start",
    // disks and filesystems
    "badblocks", "blkdiscard", "blkdeactivate", "blkzone", "blockdev", "cfdisk", "fdisk", "findfs",
    "findmnt", "fsck", "fsfreeze", "fstrim", "gdisk", "sgdisk", "hdparm", "losetup", "lsattr", "chattr",
    "mkfs", "mkswap", "mountpoint", "parted", "partprobe", "partx", "addpart", "delpart", "resizepart",
    "swaplabel", "swapoff", "swapon", "wipefs", "debugfs", "dumpe2fs", "e2fsck", "e2image", "e2label",
    "fsck.ext2", "fsck.ext3", "fsck.ext4", "mke2fs", "mkfs.ext2", "mkfs.ext3", "mkfs.ext4", "resize2fs",
    "tune2fs", "fsck.xfs", "mkfs.xfs", "xfs_admin", "xfs_db", "xfs_growfs", "xfs_info", "xfs_io",
    "xfs_repair", "xfs_spaceman", "fatlabel", "dosfslabel", "fsck.fat", "fsck.vfat", "mkfs.fat",
    "mkfs.vfat", "mkdosfs", "btrfs", "btrfs-convert", "btrfstune", "fsck.btrfs", "mkfs.btrfs", "mkfs.f2fs",
    "fsck.f2fs", "mkfs.jfs", "fsck.jfs", "jfs_tune", "mkfs.ntfs", "mkntfs", "ntfs-3g", "ntfsclone",
    "ntfslabel", "ntfsresize", "mkfs.exfat", "fsck.exfat", "exfatlabel", "tune.exfat", "nilfs-tune",
    "lscp", "partclone.ntfs", "mkfs.nilfs2",
    "mdadm", "mdmon", "dmsetup", "dmstats", "dmeventd", "lvm", "thin_restore", "thin_check", "cache_check", "fsadm", "cryptsetup", "integritysetup",
    "veritysetup", "multipath", "multipathd", "kpartx", "mpathpersist", "nvme", "smartctl", "sg_inq",
    "lsscsi", "make-bcache", "bcache",
    // network
    "arping", "bridge", "brctl", "curl", "wget", "dhclient", "dhclient-script", "dhcpcd", "udhcpc",
    "ethtool", "host", "ifconfig", "ifenslave", "mii-tool", "mount.cifs", "mount.nfs", "mount.nfs4",
    "umount.nfs", "nc", "netstat", "ping", "ping6", "rdma", "route", "rsync", "scp", "sftp", "sshfs",
    "ssh", "ssh-add", "ssh-agent", "ssh-keygen", "ssh-keyscan", "sshd", "ss", "tc", "teamd", "traceroute",
    "tracepath", "iscsiadm", "iscsid", "showmount", "rpcbind", "rpc.statd", "portmap", "getfacl",
    "setfacl", "getfattr", "setfattr", "getcap", "setcap", "restorecon", "setfiles",
];

/// What cannot be found out from the program's name: files that a program starts or reads by itself.
pub(crate) const COMPANIONS: [(&str, &[&str]); 12] = [
    ("dhclient", &["/etc/dhcp/dhclient.conf", "/etc/dhclient.conf"]),
    (
        "dhcpcd",
        &[
            "/etc/dhcpcd.conf",
            "/usr/lib/dhcpcd/*",
            "/usr/lib/dhcpcd/*/*",
            "/usr/libexec/dhcpcd-*",
            "/usr/libexec/dhcpcd-hooks/*",
        ],
    ),
    ("mke2fs", &["/etc/mke2fs.conf"]),
    ("lvm", &["/etc/lvm/lvm.conf", "/etc/lvm/lvmlocal.conf", "/etc/lvm/profile/*"]),
    ("mdadm", &["/etc/mdadm.conf", "/etc/mdadm/mdadm.conf"]),
    (
        "multipath",
        &[
            "/etc/multipath.conf",
            "/etc/multipath/bindings",
            "/etc/multipath/wwids",
            "/etc/multipath/conf.d/*",
        ],
    ),
    ("multipathd", &["/usr/lib64/multipath/*.so", "/lib64/multipath/*.so", "/lib/multipath/*.so"]),
    ("cryptsetup", &["/usr/lib/*/cryptsetup/*.so", "/usr/lib64/cryptsetup/*.so"]),
    (
        "curl",
        &["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/openssl.cnf"],
    ),
    ("ssh", &["/etc/ssh/ssh_config", "/etc/ssl/openssl.cnf"]),
    ("vim", &["/etc/virc", "/etc/vimrc", "/etc/vim/vimrc.tiny"]),
    ("file", &["/usr/share/misc/magic.mgc", "/usr/lib/file/magic.mgc"]),
];

/// Links that the one `lvm` program answers to.
#[rustfmt::skip]
pub(crate) const LVM_LINKS: &[&str] = &[
    "pvs", "vgs", "lvs", "pvcreate", "vgcreate", "lvcreate", "vgchange", "lvchange", "pvremove",
    "vgremove", "lvremove", "pvscan", "vgscan", "pvdisplay", "vgdisplay", "lvdisplay", "vgcfgrestore",
    "vgcfgbackup", "lvconvert", "lvextend", "vgextend", "vgimportclone",
];
