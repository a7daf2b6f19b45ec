//! The most used settings of the Bash program, each as its users write it: it works without a word, or it is known by
//! name and the finding says what happens instead. None of them is ever "not a setting".

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use config::{Config, Errors, Severity, Sources, load};

/// Done, or asks for what happens anyway.
const WORKS: &str = r#"
OUTPUT=ISO
OUTPUT_URL=file:///srv/rear
OUTPUT_PREFIX=$HOSTNAME
KEEP_OLD_OUTPUT_COPY=yes
BACKUP=NETFS
BACKUP_URL=iso:///backup
BACKUP_PROG=tar
BACKUP_PROG_OPTIONS=( --anchored )
BACKUP_PROG_ARCHIVE=backup
BACKUP_PROG_SUFFIX=.tar
BACKUP_PROG_COMPRESS_OPTIONS=( --use-compress-program="pigz -6" )
BACKUP_PROG_COMPRESS_SUFFIX=.gz
BACKUP_PROG_EXCLUDE+=( '/srv/*' )
BACKUP_PROG_INCLUDE+=( /srv )
BACKUP_ONLY_INCLUDE=no
BACKUP_RSYNC_OPTIONS+=( --devices --acls --xattrs )
BACKUP_RSYNC_OPTIONS=( --sparse --archive --hard-links --numeric-ids --stats )
BACKUP_RSYNC_RETENTION_DAYS=7
RSYNC_PREFIX="$HOSTNAME"
EXTERNAL_IGNORE_ERRORS=no
REQUESTRESTORE_TEXT="Please start the restore on the backup server."
REQUESTRESTORE_COMMAND="/opt/restore --all"
BACKUP_PROG_CRYPT_ENABLED=false
BACKUP_TYPE=
BACKUP_INTEGRITY_CHECK=1
BACKUP_SELINUX_DISABLE=1
NETFS_KEEP_OLD_BACKUP_COPY=
ISO_DIR=/srv/iso
ISO_PREFIX="rear-$HOSTNAME"
ISO_VOLID=REAR-ISO
ISO_DEFAULT=manual
ISO_MAX_SIZE=
ISO_RECOVER_MODE=unattended
PROGS+=( mc )
REQUIRED_PROGS+=( mc )
COPY_AS_IS+=( /opt/x )
COPY_AS_IS_EXCLUDE+=( /opt/x/y )
LIBS+=( /lib/libx.so )
MODULES=( all_modules )
MODULES_LOAD+=( virtio )
FIRMWARE_FILES=( 'no' )
KERNEL_CMDLINE="$KERNEL_CMDLINE quiet"
KERNEL_FILE=/boot/vmlinuz
COPY_KERNEL_PARAMETERS+=( 'net.ifnames' )
CLONE_ALL_USERS_GROUPS=true
SSH_FILES=avoid_sensitive_files
SSH_ROOT_PASSWORD=rear
SSH_UNPROTECTED_PRIVATE_KEYS=no
TTY_ROOT_PASSWORD=rear
KEYMAP=de
USE_DHCLIENT=yes
USE_STATIC_NETWORKING=y
USE_RESOLV_CONF=( 'nameserver 10.0.0.1' )
EXCLUDE_NETWORK_INTERFACES+=( eth1 )
EXCLUDE_IP_ADDRESSES+=( 10.0.0.7 )
USE_SERIAL_CONSOLE=y
SERIAL_CONSOLE_DEVICES="/dev/ttyS0 /dev/ttyS1"
BOOT_OVER_SAN=y
ONLY_INCLUDE_VG=( vg00 )
EXCLUDE_VG=( vg01 )
EXCLUDE_MD=( md1 )
EXCLUDE_RECREATE=( /dev/sdb )
EXCLUDE_COMPONENTS=( /dev/sdb )
EXCLUDE_BACKUP=( fs:/srv )
EXCLUDE_RESTORE=( fs:/srv )
EXCLUDE_MOUNTPOINTS=( /srv )
AUTOEXCLUDE_DISKS=y
AUTOEXCLUDE_MULTIPATH=n
AUTOEXCLUDE_PATH=( /media )
AUTORESIZE_PARTITIONS=false
DISKS_TO_BE_WIPED="/dev/sda /dev/sdb"
BOOTLOADER=GRUB2
EFI_STUB=no
REBUILD_INITRAMFS=yes
PRE_RECOVERY_SCRIPT=/root/pre.sh
POST_RECOVERY_SCRIPT=( /root/post.sh a )
PRE_BACKUP_SCRIPT=/root/pre.sh
POST_BACKUP_SCRIPT=/root/post.sh
PROGRESS_MODE=plain
KEEP_BUILD_DIR=no
LOGFILE="$LOG_DIR/rear-$HOSTNAME.log"
PING=no
"#;

/// Without effect, and safe to ignore.
const WARNS: &str = r#"
OUTPUT_OPTIONS="cred=/etc/rear/cifs"
OUTPUT_LFTP_USERNAME=backup
OUTPUT_LFTP_PASSWORD=geheim
OUTPUT_LFTP_OPTIONS=( -e x )
OUTPUT_URL_FILES_PATTERNS=( '*.iso' )
RESULT_MAILTO=( root@localhost )
BACKUP_OPTIONS="nfsvers=3"
BACKUP_UMOUNTCMD="umount /nas"
BACKUP_ONLY_EXCLUDE=yes
BACKUP_PROG_CRYPT_KEY=geheim
FULLBACKUPDAY=( Mon )
FULLBACKUP_OUTDATED_DAYS=7
NETFS_PREFIX=$HOSTNAME
TAPE_BLOCKSIZE=512
ISO_MKISOFS_BIN=/usr/bin/xorrisofs
USB_DEVICE=/dev/disk/by-label/REAR-000
USB_DEVICE_FILESYSTEM=ext4
USB_DEVICE_FILESYSTEM_LABEL=REAR-000
USB_RETAIN_BACKUP_NR=3
USB_SUFFIX=weekly
PXE_TFTP_UPLOAD_URL=nfs://server/tftpboot
PXE_CONFIG_URL=nfs://server/tftpboot/pxelinux.cfg
PXE_RECOVER_MODE=unattended
USE_RAMDISK=yes
REAR_INITRD_COMPRESSION=lzma
REAR_INITRD_OVERLAY=copy
SIMPLIFY_BONDING=yes
SIMPLIFY_BRIDGE=yes
SIMPLIFY_TEAMING=yes
TIMESYNC=NTPDATE
TIMESYNC_SOURCE=pool.ntp.org
MIGRATION_MODE=true
AUTORESIZE_PARTITIONS=yes
AUTOSHRINK_DISK_SIZE_LIMIT_PERCENTAGE=2
AUTOINCREASE_DISK_SIZE_THRESHOLD_PERCENTAGE=10
LUKS_CRYPTSETUP_OPTIONS="--iter-time 2000 --use-random"
MKFS_XFS_OPTIONS="-m crc=0"
GRUB_RESCUE=y
USING_UEFI_BOOTLOADER=1
UEFI_BOOTLOADER=/boot/efi/EFI/debian/grubx64.efi
SECURE_BOOT_BOOTLOADER=/boot/efi/EFI/debian/shimx64.efi
EFI_STUB=yes
GRUB2_INSTALL_DEVICES="/dev/sda /dev/sdb"
USER_INPUT_TIMEOUT=300
USER_INPUT_INTERRUPT_TIMEOUT=10
USER_INPUT_UNATTENDED_TIMEOUT=3
OPAL_PBA_DEBUG_PASSWORD=x
"#;

/// Ignoring it could cost data, or leave a medium that does not do what was asked.
const REFUSED: &str = r#"
BACKUP_MOUNTCMD="mount /nas"
BACKUP_PROG_CRYPT_ENABLED=1
BACKUP_TYPE=incremental
NETFS_KEEP_OLD_BACKUP_COPY=yes
ISO_MAX_SIZE=4500
SSH_FILES=yes
SSH_UNPROTECTED_PRIVATE_KEYS=yes
NETWORKING_PREPARATION_COMMANDS=( 'ip link set eth0 up' )
BOOTLOADER=LILO
RECOVERY_COMMANDS=( 'rear $rear_options recover' )
REBOOT_COMMANDS=( reboot )
KEEP_BUILD_DIR=errors
RECOVERY_UPDATE_URL=http://server/x
"#;

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter(|line| !line.is_empty())
}

fn alone(line: &str) -> Result<Config, Errors> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("local.conf"), line).unwrap();
    load(&Sources { dir: dir.path(), extra: &[], hostname: "web1" })
}

/// A finding names the setting and says in a sentence what to do or what happens instead.
fn assert_precise(line: &str, finding: &config::Diagnostic) {
    let name = line.split(['=', '+']).next().unwrap();
    assert!(finding.message.contains(name), "{line}: {finding}");
    assert!(!finding.message.contains("not a setting"), "{line}: {finding}");
    let hint = finding.hint.as_deref().unwrap_or_default();
    assert!(hint.len() > 15 && hint.ends_with(['.', ')']), "{line}: {finding}");
}

#[test]
fn what_works_works_without_a_word() {
    for line in lines(WORKS) {
        match alone(line) {
            Ok(config) => assert_eq!(config.warnings, [], "{line}"),
            Err(errors) => panic!("{line}\n{errors}"),
        }
    }
}

#[test]
fn what_has_no_effect_says_what_happens_instead() {
    for line in lines(WARNS) {
        let config = alone(line).expect(line);
        assert_eq!(config.warnings.len(), 1, "{line}");
        assert_precise(line, &config.warnings[0]);
    }
}

#[test]
fn what_would_be_dangerous_to_ignore_is_refused() {
    for line in lines(REFUSED) {
        let errors = alone(line).expect_err(line).errors;
        assert_eq!(errors.len(), 1, "{line}");
        assert_eq!(errors[0].severity, Severity::Error, "{line}");
        assert_precise(line, &errors[0]);
    }
}
