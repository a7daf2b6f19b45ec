//! Settings of the storage layout and of what recovery does with disks.

use super::{Kind, NO, Setting, YES};

const KEPT: &str = "The layout is recreated as it was; on a larger disk the rest stays free.";

pub(super) const SETTINGS: &[Setting] = &[
    Setting::list("EXCLUDE_MOUNTPOINTS", &[], "Mount points that are neither saved nor recreated: their disk stays as it is. Where it has to be recreated for something else, `rear mkbackup` refuses to run until the mount point is also named in EXCLUDE_BACKUP or COVERAGE_WAIVE, because its files would be lost."),
    Setting::list("EXCLUDE_COMPONENTS", &[], "Parts of the layout that are left alone: a disk (`/dev/sdb`), a partition (`/dev/sdb1`), a mounted filesystem (`fs:/data` or `/data`), a swap area (`swap:/dev/sdb2`), a volume group (`/dev/vg`); what lies on them is left out with them. A disk of which nothing else is saved stays untouched, and must be there again at a recovery if the machine uses it; a name that is not on this machine is an error."),
    Setting::list("EXCLUDE_RECREATE", &[], "Parts of the layout that recovery leaves as they are, named like those of EXCLUDE_COMPONENTS (`fs:/data`, `/dev/vg`, `/dev/sdb1`), while their files are saved all the same. At a recovery their disks must be there with what they held; nothing is written to them, and their files are not restored, neither onto them nor below their mount points: take single files out of the archive by hand. A part whose disk is recreated for something else is refused."),
    Setting::switch("AUTOEXCLUDE_DISKS", "yes", "Leave out disks on which no mounted filesystem and no active swap lies."),
    Setting::list("AUTOEXCLUDE_PATH", &["/media", "/run", "/mnt", "/tmp"], "Directories below which mounted filesystems are left out."),
    Setting::list("COVERAGE_WAIVE", &[], "Devices or mount points that cannot be recovered and that you accept to lose, by name. Without it `rear mkbackup` refuses to run when something could not be recovered. New in this program."),
    Setting::words("ACCEPT_UNDRILLED", &[], "Kinds of storage that you accept although no whole recovery of a machine with them has been drilled by this project yet: names of filesystems, of which `ntfs` alone is left. They are saved and recreated like everything else; drill a recovery of your own before you rely on it. Without it `rear mkbackup` refuses a machine that needs them."),
    Setting::words("DISKS_TO_BE_WIPED", &[], "Disks which unattended recovery may erase although they carry data of another machine: stable names (`/dev/disk/by-id/…`) or kernel names. Without it only blank disks and the machine's own are taken."),
    Setting::switch("AUTOEXCLUDE_MULTIPATH", "n", "Leave disks alone that are reached over several paths, with all that lies on them: with `y` they are neither saved nor recreated. (The Bash program's default is y.)"),
    Setting::words("AUTOEXCLUDE_USB_PATH", &[], "Mount points, such as those of USB disks, that are neither saved nor recreated; nothing below them is meant, only what is mounted exactly there."),
    Setting::words("AUTOEXCLUDE_AUTOFS", &[], "Leave out automatic mounts.")
        .ignored("Only filesystems of local disks are saved; automatic network mounts never are."),
    Setting::words("EXCLUDE_VG", &[], "LVM volume groups that are left alone with all that lies on them: neither saved nor recreated (`vg00` or `/dev/vg00`). Their disks are never written; where one of them has to be recreated for something else, `rear mkbackup` refuses to run. A disk whose filesystems or swap the machine uses must be there again at a recovery. A name that is not on this machine is an error."),
    Setting::words("ONLY_INCLUDE_VG", &[], "If it is set, all other LVM volume groups are left alone as if EXCLUDE_VG named them. What lies in no volume group is not concerned."),
    Setting::words("EXCLUDE_MD", &[], "md arrays that are left alone with all that lies on them, like the groups of EXCLUDE_VG: `md0`, `/dev/md0`, `/dev/md/NAME`, the array's name or its UUID."),
    Setting::words("EXCLUDE_DEVICE_MAPPING", &["loop*", "ram*", "zram*"], "Devices of the machine on which a recovery runs that are never a target: kernel names there, with `*` and `?` (`sdb`, `nvme1*`). Kernel names may differ from those of this machine."),
    Setting::words("WRITE_PROTECTED_IDS", &[], "Identifiers of disks that are never written.")
        .refused("A disk that you protect by it could be taken if it is blank or the machine's own; disconnect it during recovery."),
    Setting::words("WRITE_PROTECTED_ID_TYPES", &[], "Which identifiers protect a disk.")
        .ignored("A disk with data of another machine is never erased unattended, whatever its identifiers."),
    Setting::words("WRITE_PROTECTED_FS_LABEL_PATTERNS", &[], "Labels of filesystems whose disks are never written.")
        .ignored("A disk with data of another machine is never erased unattended, whatever its labels."),
    Setting::new("MANUAL_INCLUDE", Kind::Word, "", "Recreate only the mount points in BACKUP_PROG_INCLUDE.")
        .refused("The whole layout would be recreated; leave parts out with EXCLUDE_COMPONENTS and EXCLUDE_MOUNTPOINTS.")
        .quiet(NO),
    Setting::switch("MIGRATION_MODE", "", "Force or forbid the dialogs for other hardware.")
        .ignored("Recovery compares the disks itself and shows the plan; unattended it stops where the match is not certain."),
    Setting::words("AUTORESIZE_PARTITIONS", &[], "Which partitions grow or shrink with the disk.").ignored(KEPT).quiet(NO),
    Setting::words("AUTORESIZE_EXCLUDE_PARTITIONS", &[], "Partitions that keep their size.").ignored(KEPT),
    Setting::new("AUTOSHRINK_DISK_SIZE_LIMIT_PERCENTAGE", Kind::Number, "", "How much smaller a disk may be.")
        .ignored("A disk that is smaller than the layout needs is refused before anything is written."),
    Setting::new("AUTOINCREASE_DISK_SIZE_THRESHOLD_PERCENTAGE", Kind::Number, "", "From which size on partitions grow.").ignored(KEPT),
    Setting::list("LUKS_HEADER_RECIPIENTS", &[], "Who can open the saved headers of LUKS containers: age recipients (`age1…`), ssh public keys (`ssh-ed25519 …`, `ssh-rsa …`) or absolute paths of files with one of these on each line. Each header, and the key file that crypttab names for it, is stored encrypted to all of them, so that recovery brings back every old passphrase and key; it asks for the private key. Without this and LUKS_HEADER_PASSPHRASE, what encrypts the backup (BACKUP_ENCRYPT_RECIPIENTS or BACKUP_ENCRYPT_PASSPHRASE) encrypts the headers; without that too, containers are recreated with a new passphrase, which recovery asks for. New in this program."),
    Setting::new("LUKS_HEADER_PASSPHRASE", Kind::Secret, "", "Passphrase that encrypts the saved headers of LUKS containers; recovery asks for it. It also stands in this file, and so in the backup of this file: LUKS_HEADER_RECIPIENTS needs no secret on this machine. With both, either opens the headers. New in this program."),
    Setting::text("LUKS_CRYPTSETUP_OPTIONS", "", "Options for creating LUKS volumes.")
        .ignored("LUKS volumes are recreated with the cipher, sizes and options that they had."),
    Setting::text("MKFS_XFS_OPTIONS", "", "Options for creating XFS instead of the saved ones.")
        .ignored("XFS is recreated with the geometry that it had."),
    Setting::switch("FORMAT_DASDS", "", "Format DASD disks of IBM Z.")
        .ignored("DASD disks are not supported."),
    Setting::words("CHECK_CONFIG_FILES", &[], "Files whose change `rear checklayout` reports.")
        .ignored("`rear checklayout` compares the storage layout only."),
    Setting::words("FILES_TO_PATCH_PATTERNS", &[], "Restored files in which device names are replaced.")
        .ignored("Identifiers are restored, so files that use them stay right; fstab, crypttab and the boot loader's files are corrected where one could not be kept."),
    Setting::switch("BOOT_OVER_SAN", "", "Carry the multipath tools in the rescue system.")
        .ignored("They are carried wherever the machine has them.")
        .quiet(YES),
];
