//! Settings of the rescue medium and of where it goes.

use super::{Kind, NO, Setting};

const ONLY_ISO: &str =
    "Only OUTPUT=ISO is made so far; an ISO can also be copied onto a USB stick and boots from there.";

pub(super) const SETTINGS: &[Setting] = &[
    Setting::new("OUTPUT", Kind::Word, "ISO", "What kind of rescue medium is made. An ISO boots under BIOS and UEFI, from a CD and from a USB stick onto which it is copied.")
        .allowed(&["ISO"])
        .foreign(&[
            ("USB", "Write OUTPUT=ISO and copy the ISO onto the stick (for example with dd): it boots from there."),
            ("PXE", "Write OUTPUT=ISO; there is no directory for a PXE server yet."),
            ("RAWDISK", "Write OUTPUT=ISO: the ISO can be written to a disk as it is."),
            ("RAMDISK", "Write OUTPUT=ISO; kernel and initramfs are in the ISO's boot directory."),
            ("OBDR", "Write OUTPUT=ISO; tapes cannot be written yet."),
            ("PORTABLE", "Write OUTPUT=ISO; the program is one static file that can be copied by itself."),
            ("IPL", "Write OUTPUT=ISO; this type exists for IBM Z only."),
        ]),
    Setting::new("OUTPUT_URL", Kind::Url, "", "Where the finished ISO is copied to. Empty: the place of BACKUP_URL when that is a directory, else it stays in ISO_DIR; `null`: it stays in ISO_DIR in any case.")
        .allowed(&["file:///PATH", "null", "(empty)"]),
    Setting::text("OUTPUT_PREFIX", "${HOSTNAME}", "Directory below OUTPUT_URL in which the results of this machine lie. Empty: OUTPUT_URL itself."),
    Setting::text("OUTPUT_OPTIONS", "", "Mount options for OUTPUT_URL.")
        .ignored("Nothing is mounted: OUTPUT_URL is a directory of this machine, with the options it is mounted with."),
    Setting::text("OUTPUT_MOUNTCMD", "", "Command that mounts OUTPUT_URL.")
        .refused("The place would not be mounted and the result would be lost in the directory below; mount it yourself and give the directory as OUTPUT_URL=file:///PATH."),
    Setting::text("OUTPUT_UMOUNTCMD", "", "Command that unmounts OUTPUT_URL.")
        .ignored("Nothing is mounted, so nothing is unmounted."),
    Setting::text("OUTPUT_LFTP_USERNAME", "", "User for uploads by lftp.")
        .ignored("There are no uploads yet; OUTPUT_URL is a directory."),
    Setting::new("OUTPUT_LFTP_PASSWORD", Kind::Secret, "", "Password for uploads by lftp.")
        .ignored("There are no uploads yet; OUTPUT_URL is a directory."),
    Setting::words("OUTPUT_LFTP_OPTIONS", &[], "Commands for lftp before an upload.")
        .ignored("There are no uploads yet; OUTPUT_URL is a directory."),
    Setting::list("OUTPUT_URL_FILES_PATTERNS", &[], "Which of the result files are copied to OUTPUT_URL.")
        .ignored("The ISO is copied; there are no other result files."),
    Setting::switch("KEEP_OLD_OUTPUT_COPY", "", "Keep the previous ISO at OUTPUT_URL with `.old` added to its name. The previous ISO is replaced only after the new one is complete, with this setting or without."),
    Setting::list("RESULT_FILES", &[], "Further files that are copied to OUTPUT_URL.")
        .refused("They would not be copied, and you might count on finding them there; copy them in POST_BACKUP_SCRIPT."),
    Setting::list("RESULT_MAILTO", &[], "Addresses to which the results are mailed.")
        .ignored("Nothing is mailed; OUTPUT_URL gets the ISO."),
    Setting::new("ISO_DIR", Kind::Path, "/var/lib/rear/output", "Directory in which the ISO is made."),
    Setting::text("ISO_PREFIX", "rear-${HOSTNAME}", "Name of the ISO file without `.iso`."),
    Setting::text("ISO_VOLID", "REAR-ISO", "Label of the ISO, by which the rescue system finds its medium: at most 32 letters, digits, `_` or `-`."),
    Setting::new("ISO_DEFAULT", Kind::Word, "boothd", "The boot menu entry that is taken when nobody chooses: `manual` is \"Recover HOST\" and waits for the operator, `automatic` is \"Automatic Recover\", `boothd` is the local disk (so that a forgotten medium does no harm).")
        .allowed(&["manual", "automatic", "boothd", "boothd0", "boothd1"]),
    Setting::new("ISO_TIMEOUT", Kind::Number, "30", "Seconds until the boot menu takes its default entry. With ISO_DEFAULT=manual the menu waits for ever. New in this program."),
    Setting::new("ISO_SYSLINUX_TIMEOUT", Kind::Number, "", "The boot menu's time limit in tenths of a second.")
        .ignored("Its value is used as ISO_TIMEOUT (in seconds), which is the setting to use now."),
    Setting::new("ISO_RECOVER_MODE", Kind::Word, "", "`unattended`: the entry \"Automatic Recover\" asks nothing, reboots after success, and stops before any write where a decision is missing.")
        .allowed(&["unattended", "(empty)"]),
    Setting::new("ISO_MAX_SIZE", Kind::Number, "", "Size in MiB at which the backup is split to several ISOs.")
        .refused("One ISO of any size is made, which would not fit on the media you have in mind; use BACKUP_URL=file:///PATH for a backup outside the ISO, where BACKUP_SPLIT_SIZE writes it in volumes."),
    Setting::list("ISO_FILES", &[], "Further files in the boot directory of the ISO.")
        .ignored("They are not packed; COPY_AS_IS puts files into the rescue system."),
    Setting::new("ISO_MKISOFS_BIN", Kind::Path, "", "The program that makes the ISO.")
        .ignored("xorriso makes the ISO."),
    Setting::text("ISO_MKISOFS_OPTS", "", "Further options for the program that makes the ISO.")
        .ignored("xorriso makes the ISO with the options it needs."),
    Setting::new("ISO_FILE_SIZE_LIMIT", Kind::Number, "", "Largest file in the ISO.")
        .ignored("Files of any size are possible: the ISO uses level 3, and what was written is read back."),
    Setting::new("USB_DEVICE", Kind::Path, "", "The USB disk for OUTPUT=USB.").ignored(ONLY_ISO),
    Setting::text("USB_DEVICE_FILESYSTEM", "", "Filesystem that `rear format` makes.").ignored(ONLY_ISO),
    Setting::text("USB_DEVICE_FILESYSTEM_LABEL", "", "Label that `rear format` gives.").ignored(ONLY_ISO),
    Setting::new("USB_RETAIN_BACKUP_NR", Kind::Number, "", "How many generations a USB disk holds.").ignored(ONLY_ISO),
    Setting::text("USB_SUFFIX", "", "Fixed directory on the USB disk.").ignored(ONLY_ISO),
    Setting::new("PXE_TFTP_UPLOAD_URL", Kind::Url, "", "Where kernel and initramfs go for OUTPUT=PXE.").ignored(ONLY_ISO),
    Setting::new("PXE_CONFIG_URL", Kind::Url, "", "Where the boot menu goes for OUTPUT=PXE.").ignored(ONLY_ISO),
    Setting::new("PXE_RECOVER_MODE", Kind::Word, "", "Like ISO_RECOVER_MODE, for OUTPUT=PXE.").ignored(ONLY_ISO),
    Setting::switch("EFI_STUB", "no", "Boot the kernel without a boot loader under UEFI.")
        .ignored("GRUB boots the medium, and the recovered machine boots by what its layout had.")
        .quiet(NO),
];
