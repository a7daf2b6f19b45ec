//! Settings of what the rescue system holds, and of how one reaches it.

use super::{Kind, NO, Setting, YES};

pub(super) const CONTENT: &[Setting] = &[
    Setting::list("PROGS", &[], "Further programs to carry, by name or path. One that is not installed is skipped with a note."),
    Setting::list("REQUIRED_PROGS", &[], "Further programs to carry; it is an error if one is not installed."),
    Setting::list("COPY_AS_IS", &[], "Further files and directories to carry at their place; patterns are allowed. Private keys are never packed, nor are /etc/shadow, /etc/gshadow and the `*.conf` of /etc/rear."),
    Setting::list("COPY_AS_IS_EXCLUDE", &[], "What to leave out of COPY_AS_IS."),
    Setting::list("LIBS", &[], "Further libraries to carry. Those that a carried program is linked to come by themselves; this is for libraries loaded at run time."),
    Setting::list("MODULES", &["all_modules"], "Kernel modules to carry: names, or `all_modules` (all for storage, filesystems, network, USB, input and virtual machines), `loaded_modules`, `no_modules`."),
    Setting::list("EXCLUDE_MODULES", &[], "Kernel modules not to carry."),
    Setting::list("MODULES_LOAD", &[], "Kernel modules that the rescue system loads first, in this order."),
    Setting::words("FIRMWARE_FILES", &[], "Firmware to carry, as patterns of file names below /lib/firmware. Empty: what the carried modules ask for; `no`: none."),
    Setting::text("KERNEL_CMDLINE", "", "Kernel options of the rescue system, besides those in COPY_KERNEL_PARAMETERS. Append with KERNEL_CMDLINE=\"$KERNEL_CMDLINE option\"."),
    Setting::new("KERNEL_FILE", Kind::Path, "", "The kernel image of the rescue system; its modules (/lib/modules/RELEASE) must be installed. Empty: that of the running kernel."),
    Setting::list("COPY_KERNEL_PARAMETERS", &["net.ifnames", "biosdevname"], "Kernel options that the rescue system takes over from the running kernel, by name."),
    Setting::text("KEYMAP", "", "Keyboard layout of the rescue system's console. Empty: as on this machine."),
    Setting::words("USE_RAMDISK", &[], "Switch to a tmpfs as root of the rescue system.")
        .ignored("The rescue system always runs in memory.").quiet(NO),
    Setting::new("REAR_INITRD_COMPRESSION", Kind::Word, "", "How the rescue system is compressed.")
        .ignored("It is compressed with zstd, or as this kernel can read it."),
    Setting::new("REAR_INITRD_OVERLAY", Kind::Word, "", "Put the rescue system on an overlay.")
        .ignored("The rescue system always runs in memory."),
    Setting::switch("CLONE_ALL_USERS_GROUPS", "true", "Take all users and groups into the rescue system.")
        .ignored("The rescue system has the users that its services need; restored files keep their numeric owners.")
        .quiet(YES),
    Setting::list("CLONE_USERS", &[], "Users to take into the rescue system.")
        .ignored("The rescue system has the users that its services need; restored files keep their numeric owners."),
    Setting::list("CLONE_GROUPS", &[], "Groups to take into the rescue system.")
        .ignored("The rescue system has the groups that its services need; restored files keep their numeric owners."),
    Setting::text("KERNEL_VERSION", "", "Kernel of the rescue system by its version.")
        .refused("The running kernel would be taken; name the image with KERNEL_FILE."),
    Setting::new("TIMESYNC", Kind::Word, "", "Set the rescue system's clock: NTP, CHRONY, RDATE or NTPDATE.")
        .ignored("The clock is left as the hardware has it; a wrong clock does not harm a recovery."),
    Setting::text("TIMESYNC_SOURCE", "", "Time server for TIMESYNC.")
        .ignored("The clock is left as the hardware has it."),
    Setting::switch("USE_CFG2HTML", "", "Make a report with cfg2html.").ignored("No report is made.").quiet(NO),
    Setting::list("NON_FATAL_BINARIES_WITH_MISSING_LIBRARY", &[], "Programs that may miss a library.")
        .ignored("A missing library of a program that is not required is a note, not an error."),
    Setting::list("EXCLUDE_MD5SUM_VERIFICATION", &[], "Files of the rescue system that are not checked at boot.")
        .ignored("The medium is read back when it is made, and the archive is checked when it is restored."),
];

pub(super) const ACCESS: &[Setting] = &[
    Setting::switch("USE_DHCLIENT", "", "Configure the network by DHCP in the rescue system. Empty: where this machine uses DHCP."),
    Setting::switch("USE_STATIC_NETWORKING", "", "Use the addresses of this machine even where it uses DHCP."),
    Setting::words("USE_RESOLV_CONF", &[], "Name resolution of the rescue system: lines for resolv.conf, a file to take, or `no`. Empty: as on this machine."),
    Setting::list("EXCLUDE_NETWORK_INTERFACES", &[], "Network interfaces that the rescue system does not configure."),
    Setting::list("EXCLUDE_IP_ADDRESSES", &[], "IP addresses that the rescue system does not take."),
    Setting::words("NETWORKING_PREPARATION_COMMANDS", &[], "Commands that the rescue system runs before it configures the network.")
        .refused("They would not be run, and the rescue system might have no network; configure the network by hand in the rescue shell, or leave this out."),
    Setting::switch("SIMPLIFY_BONDING", "no", "Configure one interface instead of a bond.")
        .ignored("A bond is set up as on this machine where its tools and modules are there.").quiet(NO),
    Setting::switch("SIMPLIFY_BRIDGE", "no", "Configure one interface instead of a bridge.")
        .ignored("A bridge is set up as on this machine where its tools and modules are there.").quiet(NO),
    Setting::switch("SIMPLIFY_TEAMING", "no", "Configure one interface instead of a team.")
        .ignored("A team is set up as on this machine where its tools and modules are there.").quiet(NO),
    Setting::new("SSH_ROOT_PASSWORD", Kind::Secret, "", "Password of root for ssh in the rescue system: plain text, or a hash in the form of /etc/shadow (`$6$…`, `$y$…`). Without it only keys are accepted."),
    Setting::words("SSH_FILES", &["avoid_sensitive_files"], "ssh in the rescue system. `avoid_sensitive_files`: its ssh server has a configuration of its own (root may log in with a key, and with SSH_ROOT_PASSWORD where that is set), root's authorized_keys, and host keys made when the rescue system boots; nothing else of /etc/ssh decides who may log in, and private keys are never packed. Without authorized_keys and SSH_ROOT_PASSWORD no server is started. `no`: no server at all, whatever SSH_ROOT_PASSWORD says.")
        .allowed(&["avoid_sensitive_files", "no"]),
    Setting::switch("SSH_UNPROTECTED_PRIVATE_KEYS", "no", "Carry private keys without a passphrase.")
        .refused("Private keys are never packed; set it to no, and use SSH_ROOT_PASSWORD or authorized keys to log in.")
        .quiet(NO),
    Setting::new("TTY_ROOT_PASSWORD", Kind::Secret, "", "Password of root for the consoles of the rescue system: plain text or a hash in the form of /etc/shadow. Empty: a shell without a password; whoever has the medium has the backup anyway."),
    Setting::switch("USE_SERIAL_CONSOLE", "", "Use serial consoles in the boot menu and the rescue system. Empty: where this machine uses one."),
    Setting::words("SERIAL_CONSOLE_DEVICES", &[], "The serial consoles, for example `/dev/ttyS0`. Empty: those that are found."),
    Setting::words("SERIAL_CONSOLE_DEVICES_KERNEL", &[], "Serial consoles of the kernel.")
        .ignored("SERIAL_CONSOLE_DEVICES says it for the kernel, too."),
    Setting::text("SERIAL_CONSOLE_DEVICE_SYSLINUX", "", "Serial console of the boot menu.")
        .ignored("GRUB shows the menu; SERIAL_CONSOLE_DEVICES says it for GRUB, too."),
    Setting::text("SERIAL_CONSOLE_DEVICE_GRUB", "", "Serial console of GRUB.")
        .ignored("SERIAL_CONSOLE_DEVICES says it for GRUB, too."),
];
