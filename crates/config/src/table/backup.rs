//! Settings of the backup.

use super::{Kind, NO, Setting, YES};

const CODEC: &str = "The archive is always made by this program: a pax tar, readable with `tar -xf`.";
const OTHER_TOOL: &str = "Write BACKUP=NETFS for this program's own archive, or BACKUP=REQUESTRESTORE to restore with your tool by hand.";
const CLONE: &str = "Write BACKUP=NETFS and BLOCKCLONE_SOURCE_DEV=( /dev/sda3 ): the files of this system go into the archive, and each partition that is named there is saved block by block beside it.";
const NO_TAPE: &str = "Tapes cannot be written yet, so a block size has no effect.";

pub(super) const SETTINGS: &[Setting] = &[
    Setting::new("BACKUP", Kind::Word, "NETFS", "How files are saved. `NETFS`: this program's own archive at BACKUP_URL. `RESTIC`: only what changed is stored, encrypted and without duplicates, in the repository RESTIC_REPOSITORY, which the program restic reads too; every backup there can be restored on its own. `REQUESTRESTORE`: no files are saved; recovery recreates the storage and asks you to restore the files with your own tool. `RSYNC`: dated trees that rsync keeps at BACKUP_URL. `EXTERNAL`: programs of your own save and restore the files. (The Bash program's default is REQUESTRESTORE.)")
        .allowed(&["NETFS", "RESTIC", "REQUESTRESTORE", "RSYNC", "EXTERNAL"])
        .foreign(&[
            ("BORG", OTHER_TOOL), ("DUPLICITY", OTHER_TOOL),
            ("BLOCKCLONE", CLONE), ("RBME", OTHER_TOOL), ("YUM", OTHER_TOOL),
            ("ZYPPER", OTHER_TOOL), ("NFS4SERVER", OTHER_TOOL), ("AVA", OTHER_TOOL), ("BACULA", OTHER_TOOL),
            ("BAREOS", OTHER_TOOL), ("CDM", OTHER_TOOL), ("DP", OTHER_TOOL), ("FDRUPSTREAM", OTHER_TOOL),
            ("GALAXY", OTHER_TOOL), ("GALAXY7", OTHER_TOOL), ("GALAXY10", OTHER_TOOL), ("GALAXY11", OTHER_TOOL),
            ("NBKDC", OTHER_TOOL), ("NBU", OTHER_TOOL), ("NSR", OTHER_TOOL), ("PPDM", OTHER_TOOL),
            ("SESAM", OTHER_TOOL), ("TSM", OTHER_TOOL), ("VEEAM", OTHER_TOOL), ("OBDR", OTHER_TOOL),
        ]),
    Setting::new("BACKUP_URL", Kind::Url, "iso:///backup", "Where the backup goes: `iso:///DIR` into the ISO itself, `file:///PATH` into a directory of this machine (best on another disk or a mounted share). With `BACKUP=RSYNC` also `ssh://USER@HOST/PATH` (as the Bash program's `rsync://USER@HOST/PATH`), and `rsync://USER@HOST::/MODULE/PATH` for an rsync daemon.")
        .allowed(&["iso:///DIR", "file:///PATH", "ssh://USER@HOST/PATH", "rsync://USER@HOST::/MODULE/PATH"]),
    Setting::text("RESTIC_REPOSITORY", "", "With BACKUP=RESTIC: the repository, as restic names it: the absolute path of a directory, on another disk or on a share that is mounted there, `sftp:USER@HOST:/PATH` (by the ssh of this machine, with its keys and known hosts), `rest:https://USER@HOST:PORT/PATH/` (restic's rest-server), or `s3:https://HOST/BUCKET/PREFIX` (an object store). It is made when it is not there. Other kinds are refused. New in this program."),
    Setting::new("RESTIC_PASSWORD", Kind::Secret, "", "With BACKUP=RESTIC: the password of the repository. It is never packed into the rescue system: recovery asks for it, so keep it where you find it when this machine is gone. New in this program."),
    Setting::new("RESTIC_PASSWORD_FILE", Kind::Path, "", "File whose first line is the password of the repository, instead of RESTIC_PASSWORD. New in this program."),
    Setting::text("RESTIC_REST_USERNAME", "", "With RESTIC_REPOSITORY=rest:…: the user that the server knows, where the address does not name one. New in this program."),
    Setting::new("RESTIC_REST_PASSWORD", Kind::Secret, "", "With RESTIC_REPOSITORY=rest:…: the user's password. It is never packed into the rescue system: recovery asks for it. New in this program."),
    Setting::new("RESTIC_CACERT", Kind::Path, "", "With RESTIC_REPOSITORY=rest:https:… or s3:https:…: a file with the certificates (PEM) of the authorities to trust, instead of those that this system trusts. What is trusted is carried into the rescue system. New in this program."),
    Setting::text("AWS_ACCESS_KEY_ID", "", "With RESTIC_REPOSITORY=s3:…: the name of the access key. It is no secret, and known to the rescue system. New in this program."),
    Setting::new("AWS_SECRET_ACCESS_KEY", Kind::Secret, "", "With RESTIC_REPOSITORY=s3:…: the access key. It is never packed into the rescue system: recovery asks for it. New in this program."),
    Setting::new("AWS_SHARED_CREDENTIALS_FILE", Kind::Path, "", "With RESTIC_REPOSITORY=s3:…: a file with the access key instead of the two settings above, in the form of `~/.aws/credentials`: `aws_access_key_id` and `aws_secret_access_key` below `[default]`. Nobody but its owner may read it. New in this program."),
    Setting::text("AWS_DEFAULT_REGION", "", "With RESTIC_REPOSITORY=s3:…: the region of the bucket. Empty: `us-east-1`, or the one that the store names. New in this program."),
    Setting::new("KEEP_LAST", Kind::Number, "0", "With BACKUP=RESTIC: how many of this machine's backups stay at least, the newest first. With this and all other KEEP settings 0, nothing is ever removed. What other machines and restic itself have stored is never touched. New in this program."),
    Setting::new("KEEP_DAILY", Kind::Number, "0", "With BACKUP=RESTIC: for so many days that have a backup, the last one of the day stays. New in this program."),
    Setting::new("KEEP_WEEKLY", Kind::Number, "0", "The same for weeks, from Monday to Sunday. New in this program."),
    Setting::new("KEEP_MONTHLY", Kind::Number, "0", "The same for months. New in this program."),
    Setting::new("KEEP_YEARLY", Kind::Number, "0", "The same for years. New in this program."),
    Setting::text("BACKUP_OPTIONS", "", "Mount options for BACKUP_URL.")
        .ignored("Nothing is mounted: BACKUP_URL is the ISO or a directory of this machine."),
    Setting::text("BACKUP_MOUNTCMD", "", "Command that mounts BACKUP_URL.")
        .refused("The place would not be mounted and the backup would be written below its mount point; mount it yourself and give the directory as BACKUP_URL=file:///PATH."),
    Setting::text("BACKUP_UMOUNTCMD", "", "Command that unmounts BACKUP_URL.")
        .ignored("Nothing is mounted, so nothing is unmounted."),
    Setting::new("BACKUP_PROG", Kind::Word, "tar", "What BACKUP=NETFS writes. `tar`: this program's own archive. `rsync`: dated trees in the directory BACKUP_URL=file:///PATH, as with BACKUP=RSYNC.")
        .allowed(&["tar", "rsync"]),
    Setting::words("BACKUP_PROG_OPTIONS", &[], "Further options for tar.").ignored(CODEC).quiet(&["--anchored"]),
    Setting::words("BACKUP_PROG_OPTIONS_CREATE_ARCHIVE", &[], "Options of other backup programs.").ignored(CODEC),
    Setting::words("BACKUP_PROG_OPTIONS_RESTORE_ARCHIVE", &[], "Options of other backup programs.").ignored(CODEC),
    Setting::words("BACKUP_PROG_COMPRESS_OPTIONS", &["--zstd"], "How the archive is compressed, in the words of GNU tar: `--zstd`, `--gzip`, `--xz`, `--bzip2`, or `--use-compress-program=\"PROGRAM -LEVEL\"` with zstd, gzip, pigz, xz, bzip2 or lz4; an empty list for none. This program compresses by itself, on all processors, whatever the PROGRAM, so nothing needs to be installed; the archive is read by `tar -xf`. The usual levels are zstd 3, gzip 6, xz 6, bzip2 9. (The Bash program's default is `--gzip`.)"),
    Setting::text("BACKUP_PROG_COMPRESS_SUFFIX", "", "Ending of the archive's name behind `.tar`, with its dot. Empty: the usual one of the compression (`.zst`, `.gz`, `.xz`, `.bz2`, `.lz4`). Set alone, without BACKUP_PROG_COMPRESS_OPTIONS, it chooses the compression."),
    Setting::new("BACKUP_SPLIT_SIZE", Kind::Number, "", "Largest size of one file of the archive, in MiB (at least 16): a larger archive is written in volumes that lie beside each other, `archive.tar.zst.001` and so on; `cat archive.tar.zst.* | tar --zstd -x` reads them. For destinations that take no large files (FAT32: 4095) or hold several smaller media. Empty: one file. All volumes must be there for a recovery; they are not spread over several ISOs. New in this program."),
    Setting::new("BACKUP_THREADS", Kind::Number, "", "How many processors compress and check the archive; 0 or empty: all, but no more than eight. New in this program."),
    Setting::new("BACKUP_NICE", Kind::Number, "", "How far mkbackup stands back from other programs for the processor: 0 (or empty) to 19, as `nice` counts. It holds for the whole run and all programs that it starts. New in this program."),
    Setting::new("BACKUP_IONICE", Kind::Word, "", "How far mkbackup stands back from other programs for the disks, where the kernel's I/O scheduler knows priorities (BFQ does): `low` takes the lowest share, `idle` reads only while nobody else does and may take very long. It holds for the whole run. New in this program.")
        .allowed(&["(empty)", "low", "idle"]),
    Setting::new("BACKUP_SNAPSHOT", Kind::Word, "auto", "Whether files are read from snapshots that are made when the backup begins and removed when it ends, so that all files are of one moment. `auto`: each filesystem that lies directly on a logical volume (ext2, ext3, ext4, XFS) where the volume group or the thin pool has room, and each btrfs; the others are read as they are while they change. `yes`: the run is refused where a captured filesystem on LVM or a btrfs cannot be read from a snapshot; what lies on partitions, arrays and encrypted containers is read as it is even then, for nothing can snapshot it. `no`: never. A line of the run says what is read from where. New in this program.")
        .allowed(&["auto", "yes", "no"]),
    Setting::text("BACKUP_PROG_ARCHIVE", "", "File name of the archive.")
        .ignored("The archive has the name that this program gives it, and its manifest beside it.")
        .quiet(&["backup"]),
    Setting::text("BACKUP_PROG_SUFFIX", "", "File name suffix of the archive.").ignored(CODEC).quiet(&[".tar"]),
    Setting::list("BACKUP_PROG_EXCLUDE", &["/tmp/*", "/dev/shm/*", "/var/tmp/rear.*", "/var/lib/rear/output/*"], "Files that are left out of the backup: patterns of absolute paths, where `*` also matches `/`. A directory that matches only by its content (`/tmp/*`) comes back empty."),
    Setting::list("BACKUP_PROG_INCLUDE", &[], "With BACKUP_ONLY_INCLUDE=yes: the files and directories to save, as absolute paths without wildcards, each with all that lies below it on the same filesystem. Without it, every mounted local filesystem is saved without being named, so this has no effect."),
    Setting::switch("BACKUP_ONLY_INCLUDE", "no", "Save only what BACKUP_PROG_INCLUDE names, nothing by itself. Everything else is named in the coverage table as not captured; it is lost on the disks that are recreated, and a recovery ends with the exit code for an incomplete one."),
    Setting::switch("BACKUP_ONLY_EXCLUDE", "no", "Leave out only what BACKUP_PROG_EXCLUDE names, nothing by itself.")
        .ignored("What is left out besides is named with its rule in the coverage table.")
        .quiet(NO),
    Setting::list("EXCLUDE_BACKUP", &[], "Mount points whose files are not saved. Where its disk is recreated, the filesystem comes back empty: naming it here says that its files may be lost. The form `fs:/x` is the same as `/x`."),
    Setting::list("EXCLUDE_RESTORE", &[], "Files of the backup that are not restored: patterns as in BACKUP_PROG_EXCLUDE; `fs:/x` is the same as `/x`. A directory that is named comes back empty, with all that lies or is mounted below it left out. The report of the recovery says how much was left out by which pattern."),
    Setting::list("BLOCKCLONE_SOURCE_DEV", &[], "Partitions (or logical volumes) that are saved block by block beside the archive, such as a Windows next to this system: `( /dev/sda3 )`, or names below `/dev/disk`. Only the used blocks where `ntfsclone` or `partclone` is installed and knows the filesystem, else all blocks; compressed, and compared after a recovery. They must not be mounted. With BACKUP=NETFS. (The Bash program saves one device this way, and then nothing else.)"),
    Setting::list("BACKUP_ENCRYPT_RECIPIENTS", &[], "Who can open the archive of BACKUP=NETFS: age recipients (`age1…`), ssh public keys (`ssh-ed25519 …`, `ssh-rsa …`) or absolute paths of files with one of these on each line. Archive and list of files are encrypted in the format of age to all of them; each private key opens them alone. No secret is needed on this machine: keep the private key elsewhere, because without it nothing can be recovered. Recovery asks for it before it writes to a disk. The saved headers of LUKS containers are encrypted to them too, unless a LUKS_HEADER setting says otherwise. New in this program."),
    Setting::new("BACKUP_ENCRYPT_PASSPHRASE", Kind::Secret, "", "Passphrase that encrypts the archive of BACKUP=NETFS and its list of files, instead of BACKUP_ENCRYPT_RECIPIENTS (age allows no mixture). It is never packed into the rescue system: recovery asks for it. It encrypts the saved headers of LUKS containers too, unless a LUKS_HEADER setting says otherwise. New in this program."),
    Setting::new("BACKUP_ENCRYPT_IDENTITY", Kind::Path, "", "File with a private key of BACKUP_ENCRYPT_RECIPIENTS (age identity, or ssh key without passphrase), with which `rear mkbackup` tries to open what it has written, and `rear verify`, `list`, `restore` and `mount` open it. Set it for a trial and take key and setting away again: whoever reads this file on the machine reads every backup. It is never packed into the rescue system. New in this program."),
    Setting::switch("BACKUP_PROG_CRYPT_ENABLED", "no", "Encrypt the archive. With `yes`, BACKUP_PROG_CRYPT_KEY is used as BACKUP_ENCRYPT_PASSPHRASE, or the BACKUP_ENCRYPT settings say how. The archive is then one of age, not of openssl as the Bash program makes it."),
    Setting::new("BACKUP_PROG_CRYPT_KEY", Kind::Secret, "", "With BACKUP_PROG_CRYPT_ENABLED=yes: the same as BACKUP_ENCRYPT_PASSPHRASE."),
    Setting::text("BACKUP_PROG_CRYPT_OPTIONS", "", "Command that encrypts.").ignored("This program encrypts by itself, in the format of age (see BACKUP_ENCRYPT_RECIPIENTS); openssl has no part in it."),
    Setting::text("BACKUP_PROG_DECRYPT_OPTIONS", "", "Command that decrypts.").ignored("This program decrypts by itself; elsewhere the program age does (age -d)."),
    Setting::new("BACKUP_TYPE", Kind::Word, "", "`incremental` or `differential` backups.")
        .refused("With BACKUP=NETFS every backup is complete. For backups that store only what changed, write these lines instead: BACKUP=RESTIC, RESTIC_REPOSITORY=/PATH/OF/A/DIRECTORY, RESTIC_PASSWORD_FILE=/etc/rear/restic.password, KEEP_DAILY=7, KEEP_WEEKLY=4. Every one of them can be restored on its own."),
    Setting::words("FULLBACKUPDAY", &[], "Days of a full backup.").ignored("Every backup is a full backup."),
    Setting::new("FULLBACKUP_OUTDATED_DAYS", Kind::Number, "", "Age after which a full backup is due.").ignored("Every backup is a full backup."),
    Setting::switch("BACKUP_INTEGRITY_CHECK", "", "Check the archive when it is restored. Always on: every file has a checksum, and a restore with a difference fails; no switches nothing off.")
        .ignored("The check is always made; it cannot be switched off.")
        .quiet(YES),
    Setting::switch("BACKUP_SELINUX_DISABLE", "", "Switch SELinux to permissive during the backup. Accepted, without effect: SELinux is never switched, its labels are saved and restored with the files.")
        .ignored("SELinux is never switched; labels are saved and restored with the files.")
        .quiet(&["yes", "y", "true", "t", "1", "no", "n", "false", "f", "0"]),
    Setting::list("BACKUP_RSYNC_OPTIONS", &[], "Further options of rsync, such as `--bwlimit=1000`, `--compress` or `--rsync-path=…`. What is always done (`--archive --hard-links --sparse --acls --xattrs --numeric-ids`) may be repeated; what would leave out files or write into earlier backups (`--inplace`, `--delete`, `--exclude`) is refused."),
    Setting::new("BACKUP_RSYNC_RETENTION_DAYS", Kind::Number, "", "How long dated trees are kept. One goes when it is older than so many days and as many newer complete ones are there. Empty: the new tree and the one before it stay. The newest complete one is never removed."),
    Setting::new("BACKUP_RSYNC_PASSWORD", Kind::Secret, "", "Password for an rsync daemon. rsync reads it from a private file; it is not carried into the rescue system, where recovery asks for it."),
    Setting::text("RSYNC_PREFIX", "${HOSTNAME}", "With rsync: the directory of this machine's trees below BACKUP_URL."),
    Setting::new("EXTERNAL_BACKUP", Kind::Command, "", "With BACKUP=EXTERNAL: the program that saves the files. A list is the program with its arguments; a text is split into words. No shell interprets it: for pipes or variables name a script file."),
    Setting::new("EXTERNAL_RESTORE", Kind::Command, "", "With BACKUP=EXTERNAL: the program that restores the files below /mnt/local, which it also finds as the variable TARGET_FS_ROOT. It is carried into the rescue system; what else it needs, COPY_AS_IS and PROGS must name."),
    Setting::new("EXTERNAL_CHECK", Kind::Command, "", "With BACKUP=EXTERNAL: a program that says with its exit code whether the backup can be reached. It is run before the backup, and in a recovery before any disk is written."),
    Setting::switch("EXTERNAL_IGNORE_ERRORS", "no", "With BACKUP=EXTERNAL: go on when EXTERNAL_BACKUP or EXTERNAL_RESTORE fails. The failure is named, and such a recovery ends with the exit code for an incomplete one."),
    Setting::text("NETFS_PREFIX", "", "Directory of the archive below BACKUP_URL.")
        .ignored("The archive lies in the directory named by OUTPUT_PREFIX."),
    Setting::switch("NETFS_KEEP_OLD_BACKUP_COPY", "", "Keep the previous archive.")
        .refused("The previous backup would be replaced (after the new one is complete and was read back); give every generation its own OUTPUT_PREFIX or copy it in PRE_BACKUP_SCRIPT.")
        .quiet(NO),
    Setting::switch("NETFS_RESTORE_CAPABILITIES", "", "Restore file capabilities.")
        .ignored("File capabilities are always saved and restored.")
        .quiet(YES),
    Setting::new("TAPE_BLOCKSIZE", Kind::Number, "", "Block size of the tape.").ignored(NO_TAPE),
    Setting::new("PRE_BACKUP_SCRIPT", Kind::Command, "", "Program that is run before the backup; if it fails, the run stops. A list is the program with its arguments; a text is split into words. No shell interprets it: for pipes or variables name a script file."),
    Setting::new("POST_BACKUP_SCRIPT", Kind::Command, "", "Program that is run after the backup, also when the backup failed. A list is the program with its arguments; a text is split into words. No shell interprets it."),
    Setting::text("REQUESTRESTORE_TEXT", "", "With BACKUP=REQUESTRESTORE: what recovery shows when the files are to be restored."),
    Setting::new("REQUESTRESTORE_COMMAND", Kind::Command, "", "With BACKUP=REQUESTRESTORE: the program that restores the files below /mnt/local (also the variable TARGET_FS_ROOT) instead of an operator. A list is the program with its arguments; a text is split into words. No shell interprets it."),
];
