//! Settings of the recovery, of the boot loader and of the program itself.

use super::{Kind, NO, Setting, YES};

const MENU: &str = "The boot menu of the medium is made by this program.";
const OPAL: &str = "Self-encrypting disks are not unlocked or set up; unlock them before recovery.";

pub(super) const SETTINGS: &[Setting] = &[
    Setting::new("PRE_RECOVERY_SCRIPT", Kind::Command, "", "Program in the rescue system that is run before recovery; if it fails, recovery stops before it writes anything. A list is the program with its arguments; a text is split into words. No shell interprets it; carry it with COPY_AS_IS."),
    Setting::new("POST_RECOVERY_SCRIPT", Kind::Command, "", "Program in the rescue system that is run after a successful recovery, before the reboot. A list is the program with its arguments; a text is split into words. No shell interprets it; carry it with COPY_AS_IS."),
    Setting::words("PRE_RECOVERY_COMMANDS", &[], "Commands before recovery.")
        .refused("They would not be run; put them into a script and name it in PRE_RECOVERY_SCRIPT."),
    Setting::words("POST_RECOVERY_COMMANDS", &[], "Commands after recovery.")
        .refused("They would not be run; put them into a script and name it in POST_RECOVERY_SCRIPT."),
    Setting::words("RECOVERY_COMMANDS", &[], "Commands of the automatic recovery.")
        .refused("They would not be run; automatic recovery runs `rear recover`. Use PRE_RECOVERY_SCRIPT and POST_RECOVERY_SCRIPT."),
    Setting::words("REBOOT_COMMANDS", &[], "Commands after an unattended recovery.")
        .refused("They would not be run; the machine is rebooted. Use POST_RECOVERY_SCRIPT."),
    Setting::text("RECOVERY_COMMANDS_LABEL", "", "How RECOVERY_COMMANDS are called.").ignored("RECOVERY_COMMANDS are not used."),
    Setting::text("REBOOT_COMMANDS_LABEL", "", "How REBOOT_COMMANDS are called.").ignored("REBOOT_COMMANDS are not used."),
    Setting::switch("REBUILD_INITRAMFS", "", "Rebuild the restored initramfs. Empty: only when it lacks a driver that the present hardware needs; `yes`: always; `no`: never."),
    Setting::switch("USING_UEFI_BOOTLOADER", "", "Whether this machine boots by UEFI.")
        .ignored("What counts is how the running system was started, as the kernel says it."),
    Setting::new("UEFI_BOOTLOADER", Kind::Path, "", "UEFI boot loader file for the medium.").ignored("The boot loader is found by itself, the distribution's signed one where there is one."),
    Setting::new("SECURE_BOOT_BOOTLOADER", Kind::Path, "", "First stage for Secure Boot on the medium.").ignored("The distribution's signed shim is found by itself."),
    Setting::new("BOOTLOADER", Kind::Word, "", "The boot loader of this machine.")
        .refused("Only GRUB is reinstalled so far; leave BOOTLOADER empty if this machine boots by GRUB.")
        .quiet(&["GRUB", "GRUB2", "GRUB2-EFI"]),
    Setting::words("GRUB2_INSTALL_DEVICES", &[], "Disks on which GRUB is installed under BIOS.").ignored("GRUB's boot code comes back on every disk that had it."),
    Setting::words("EFIBOOTMGR_CREATE_ENTRIES", &[], "Whether UEFI boot entries are made.").ignored("One entry for the recovered system is made, and the removable path EFI/BOOT is filled.").quiet(YES),
    Setting::words("GRUB2_MODULES_UEFI", &[], "Modules of GRUB on the medium.").ignored(MENU),
    Setting::words("GRUB2_MODULES_UEFI_LOAD", &[], "Modules that GRUB on the medium loads.").ignored(MENU),
    Setting::new("GRUB2_TIMEOUT", Kind::Number, "", "Time limit of GRUB's menu on the medium.").ignored("ISO_TIMEOUT sets the time limit of the boot menu."),
    Setting::text("GRUB2_DEFAULT_BOOT", "", "Default entry of GRUB's menu on the medium.").ignored("ISO_DEFAULT names the default entry."),
    Setting::text("GRUB2_SET_ROOT_COMMAND", "", "How GRUB on the medium finds its files.").ignored(MENU),
    Setting::text("GRUB2_SEARCH_ROOT_COMMAND", "", "How GRUB on the medium finds its files.").ignored(MENU),
    Setting::switch("RESTORE_ESP_FROM_RESCUE_SYSTEM", "", "Restore the EFI system partition from the rescue system.").ignored("The EFI system partition is saved and restored with the backup."),
    Setting::switch("GRUB_RESCUE", "n", "Add the rescue system to this machine's own boot menu.").ignored("This machine's boot menu is not changed; boot the medium.").quiet(NO),
    Setting::text("GRUB_RESCUE_USER", "", "Who may use the rescue entry of this machine's boot menu.").ignored("This machine's boot menu is not changed."),
    Setting::new("USER_INPUT_TIMEOUT", Kind::Number, "", "Time limit of prompts in seconds.").ignored("Its value is used as ISO_TIMEOUT where that is not set; prompts wait for an answer."),
    Setting::new("USER_INPUT_INTERRUPT_TIMEOUT", Kind::Number, "", "How long one can interrupt an automatic answer.").ignored("Prompts wait for an answer; unattended recovery asks nothing."),
    Setting::new("USER_INPUT_UNATTENDED_TIMEOUT", Kind::Number, "", "Time limit of prompts in an unattended recovery.").ignored("Unattended recovery asks nothing; it stops before any write where a decision is missing."),
    Setting::new("PROGRESS_MODE", Kind::Word, "", "How progress is shown: ANSI or plain.").ignored("A terminal gets a progress bar, anything else plain lines.").quiet(&["ANSI", "plain"]),
    Setting::switch("KEEP_BUILD_DIR", "", "Keep the directory in which the rescue system is put together. Empty: removed, also after an error.")
        .foreign(&[("errors", "Write KEEP_BUILD_DIR=yes to keep it in any case; the log tells in full what failed.")]),
    Setting::new("LOGFILE", Kind::Path, "/var/log/rear/rear-${HOSTNAME}.log", "The log of every run, with all details."),
    Setting::switch("PING", "", "Test whether the backup's host answers.").ignored("There are no network destinations yet, so nothing is tested.").quiet(NO),
    Setting::new("RECOVERY_UPDATE_URL", Kind::Url, "", "Where the rescue system gets newer files before recovery.").refused("The files would not be fetched; everything that recovery needs must be on the medium."),
    Setting::words("OPAL_PBA_UNLOCK_MODE", &[], "How self-encrypting disks are unlocked at boot.").ignored(OPAL),
    Setting::new("OPAL_PBA_DEBUG_PASSWORD", Kind::Secret, "", "Password of the unlocking system of self-encrypting disks.").ignored(OPAL),
    Setting::new("OPAL_PBA_TKNKEY", Kind::Secret, "", "Key of the unlocking system of self-encrypting disks.").ignored(OPAL),
    Setting::new("GALAXY11_PASSWORD", Kind::Secret, "", "Password for BACKUP=GALAXY11.").ignored("Commvault is not supported yet."),
    Setting::new("ZYPPER_ROOT_PASSWORD", Kind::Secret, "", "Root's password with BACKUP=ZYPPER.").ignored("BACKUP=ZYPPER is not supported; restored files keep root's password."),
    Setting::new("YUM_ROOT_PASSWORD", Kind::Secret, "", "Root's password with BACKUP=YUM.").ignored("BACKUP=YUM is not supported; restored files keep root's password."),
    Setting::new("VEEAM_PASSWORD", Kind::Secret, "", "Password for BACKUP=VEEAM.").ignored("Veeam is not supported yet."),
    Setting::new("TMPDIR", Kind::Path, "", "Directory for temporary files.").retired("Set TMPDIR in the environment of the `rear` command, not in a configuration file."),
    Setting::list("BACKUP_RESTORE_MOVE_AWAY_FILES", &[], "Restored files that are moved away after the restore.").refused("They would stay in place; leave them out of the backup with BACKUP_PROG_EXCLUDE."),
    Setting::new("NETFS_URL", Kind::Url, "", "Old name of BACKUP_URL.").retired("Its name is BACKUP_URL."),
    Setting::text("NETFS_MOUNTCMD", "", "Old name of BACKUP_MOUNTCMD.").retired("Mount the place yourself and write BACKUP_URL=file:///PATH."),
    Setting::text("NETFS_OPTIONS", "", "Old name of BACKUP_OPTIONS.").retired("Its name is BACKUP_OPTIONS."),
    Setting::new("RSYNC_URL", Kind::Url, "", "Old name of BACKUP_URL.").retired("Its name is BACKUP_URL."),
    Setting::new("ISO_URL", Kind::Url, "", "Old name of OUTPUT_URL.").retired("Its name is OUTPUT_URL."),
    Setting::new("USB_URL", Kind::Url, "", "Old name of OUTPUT_URL.").retired("Its name is OUTPUT_URL."),
    Setting::words("RSYNC_OPTIONS", &[], "Old name of BACKUP_RSYNC_OPTIONS.").retired("rsync is not used."),
    Setting::text("GRUB_SUPERUSER", "", "Superuser of this machine's boot menu.").retired("This machine's boot menu is not changed."),
    Setting::new("GRUB_RESCUE_PASSWORD", Kind::Secret, "", "Password of the rescue entry in this machine's boot menu.").retired("This machine's boot menu is not changed."),
];
