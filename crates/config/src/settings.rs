//! The settings that work, typed. What is declared in `table` as implemented has its field here, named like the
//! setting in lower case; a test keeps the two equal.

use std::path::PathBuf;

use serde::Serialize;
use sys::Secret;

use crate::compress::Compression;
use crate::location::Location;
use crate::reader::Reader;

mod archive;
mod engines;
mod kinds;
mod medium;
mod selection;

use archive::{compression, encryption, nice, recipients, split_size};
use engines::{backup_url, external, rsync_options, rsync_prefix};
pub use kinds::{Address, Backup, IoPriority, IsoDefault, Output, SshFiles, Tristate};
use medium::{
    firmware_files, iso_prefix, iso_timeout, iso_volid, kernel_cmdline, output_prefix, serial_devices,
    ssh_files,
};
use selection::{as_mount_points, device_patterns, exclude_restore, mount_points, only_include, patterns};

/// Every setting that works. The meaning of each field is in [`crate::table`] under its name in capitals.
#[derive(Clone, Debug, Serialize)]
#[allow(missing_docs, reason = "each is documented once, in the table, from which the manual is made")]
pub struct Settings {
    pub output: Output,
    pub output_url: Option<Location>,
    pub output_prefix: String,
    pub keep_old_output_copy: Tristate,
    pub iso_dir: PathBuf,
    pub iso_prefix: String,
    pub iso_volid: String,
    pub iso_default: IsoDefault,
    /// Seconds.
    pub iso_timeout: u64,
    /// `ISO_RECOVER_MODE=unattended`.
    pub iso_recover_unattended: bool,

    pub backup: Backup,
    pub backup_url: Location,
    /// BACKUP_PROG_COMPRESS_OPTIONS and BACKUP_PROG_COMPRESS_SUFFIX.
    pub compression: Compression,
    /// MiB.
    pub backup_split_size: Option<u64>,
    /// 0 stands for all.
    pub backup_threads: u64,
    /// 0 to 19.
    pub backup_nice: u8,
    pub backup_ionice: IoPriority,
    /// age recipients, ssh public keys, or absolute paths of files with such. Never together with a passphrase.
    pub backup_encrypt_recipients: Vec<String>,
    /// BACKUP_ENCRYPT_PASSPHRASE, or BACKUP_PROG_CRYPT_KEY where BACKUP_PROG_CRYPT_ENABLED asks for it.
    #[serde(skip)]
    pub backup_encrypt_passphrase: Option<Secret>,
    #[serde(skip)]
    pub backup_encrypt_identity: Option<PathBuf>,
    /// Whether files are read from snapshots.
    pub backup_snapshot: Tristate,
    pub restic_repository: Address,
    #[serde(skip)]
    pub restic_password: Option<Secret>,
    /// Not shown either: where a secret lies is nobody else's business.
    #[serde(skip)]
    pub restic_password_file: Option<PathBuf>,
    pub restic_rest_username: String,
    #[serde(skip)]
    pub restic_rest_password: Option<Secret>,
    pub restic_cacert: Option<PathBuf>,
    pub aws_access_key_id: String,
    #[serde(skip)]
    pub aws_secret_access_key: Option<Secret>,
    #[serde(skip)]
    pub aws_shared_credentials_file: Option<PathBuf>,
    pub aws_default_region: String,
    pub keep_last: u32,
    pub keep_daily: u32,
    pub keep_weekly: u32,
    pub keep_monthly: u32,
    pub keep_yearly: u32,
    pub backup_prog_exclude: Vec<String>,
    /// Mount points, without `fs:`.
    pub exclude_backup: Vec<String>,
    /// The paths of BACKUP_PROG_INCLUDE, where only these are saved.
    pub only_include: Option<Vec<String>>,
    /// Patterns of absolute paths.
    pub exclude_restore: Vec<String>,
    /// Only options that rsync is to get.
    pub backup_rsync_options: Vec<String>,
    pub backup_rsync_retention_days: Option<u64>,
    #[serde(skip)]
    pub backup_rsync_password: Option<Secret>,
    pub rsync_prefix: String,
    pub external_backup: Vec<String>,
    pub external_restore: Vec<String>,
    pub external_check: Vec<String>,
    pub external_ignore_errors: Tristate,
    pub requestrestore_text: String,
    pub requestrestore_command: Vec<String>,
    pub pre_backup_script: Vec<String>,
    pub post_backup_script: Vec<String>,

    /// Mount points, without `fs:`.
    pub exclude_mountpoints: Vec<String>,
    pub exclude_components: Vec<String>,
    /// Partitions that are saved block by block.
    pub blockclone_source_dev: Vec<String>,
    pub exclude_recreate: Vec<String>,
    /// Patterns of kernel names, without `/dev/`.
    pub exclude_device_mapping: Vec<String>,
    /// Names, with or without `/dev/`.
    pub exclude_vg: Vec<String>,
    /// Names, with or without `/dev/`; empty: all.
    pub only_include_vg: Vec<String>,
    /// Names, with or without `/dev/`.
    pub exclude_md: Vec<String>,
    pub autoexclude_multipath: Tristate,
    /// Mount points.
    pub autoexclude_usb_path: Vec<String>,
    pub autoexclude_disks: Tristate,
    pub autoexclude_path: Vec<String>,
    pub coverage_waive: Vec<String>,
    /// Kinds of storage, as `rear`'s own list names them.
    pub accept_undrilled: Vec<String>,
    pub disks_to_be_wiped: Vec<String>,
    /// age recipients, ssh public keys, or absolute paths of files with such.
    pub luks_header_recipients: Vec<String>,
    #[serde(skip)]
    pub luks_header_passphrase: Option<Secret>,

    pub progs: Vec<String>,
    pub required_progs: Vec<String>,
    pub copy_as_is: Vec<String>,
    pub copy_as_is_exclude: Vec<String>,
    pub libs: Vec<String>,
    pub modules: Vec<String>,
    pub exclude_modules: Vec<String>,
    pub modules_load: Vec<String>,
    /// Empty: what the carried modules ask for; exactly `["no"]`: none.
    pub firmware_files: Vec<String>,
    pub kernel_cmdline: String,
    pub kernel_file: Option<PathBuf>,
    pub copy_kernel_parameters: Vec<String>,
    pub keymap: String,

    pub use_dhclient: Tristate,
    pub use_static_networking: Tristate,
    pub use_resolv_conf: Vec<String>,
    pub exclude_network_interfaces: Vec<String>,
    pub exclude_ip_addresses: Vec<String>,
    #[serde(skip)]
    pub ssh_root_password: Option<Secret>,
    pub ssh_files: SshFiles,
    #[serde(skip)]
    pub tty_root_password: Option<Secret>,
    pub use_serial_console: Tristate,
    pub serial_console_devices: Vec<String>,

    pub pre_recovery_script: Vec<String>,
    pub post_recovery_script: Vec<String>,
    pub rebuild_initramfs: Tristate,
    pub keep_build_dir: Tristate,
    pub logfile: PathBuf,
}

impl Settings {
    /// Reads all settings. Where one is wrong, that is reported, and the field has some harmless value: the
    /// caller must not use the result then.
    pub(crate) fn read(r: &mut Reader<'_>) -> Self {
        r.word("OUTPUT");
        let backup = match (r.word("BACKUP").as_deref(), r.word("BACKUP_PROG").as_deref()) {
            (Some("REQUESTRESTORE"), _) => Backup::RequestRestore,
            (Some("RSYNC"), _) | (Some("NETFS"), Some("rsync")) => Backup::Rsync,
            (Some("EXTERNAL"), _) => Backup::External,
            (Some("RESTIC"), _) => Backup::Restic,
            _ => Backup::Netfs,
        };
        let iso_default = match r.word("ISO_DEFAULT").as_deref() {
            Some("manual") => IsoDefault::Manual,
            Some("automatic") => IsoDefault::Automatic,
            _ => IsoDefault::BootHd,
        };
        let compression = compression(r);
        let (backup_encrypt_recipients, backup_encrypt_passphrase) = encryption(r, backup);
        Self {
            output: Output::Iso,
            output_url: r.url("OUTPUT_URL", Location::output).flatten(),
            output_prefix: output_prefix(r),
            keep_old_output_copy: r.tristate("KEEP_OLD_OUTPUT_COPY"),
            iso_dir: r.path("ISO_DIR").unwrap_or_else(|| "/var/lib/rear/output".into()),
            iso_prefix: iso_prefix(r),
            iso_volid: iso_volid(r),
            iso_default,
            iso_timeout: iso_timeout(r),
            iso_recover_unattended: r.word("ISO_RECOVER_MODE").as_deref() == Some("unattended"),
            backup,
            backup_url: backup_url(r, backup),
            backup_split_size: split_size(r),
            backup_threads: r.number("BACKUP_THREADS").or(compression.threads).unwrap_or(0),
            compression,
            backup_nice: nice(r),
            backup_snapshot: match r.word("BACKUP_SNAPSHOT").as_deref() {
                Some("yes") => Tristate::Yes,
                Some("no") => Tristate::No,
                _ => Tristate::Auto,
            },
            backup_ionice: match r.word("BACKUP_IONICE").as_deref() {
                Some("low") => IoPriority::Low,
                Some("idle") => IoPriority::Idle,
                _ => IoPriority::Usual,
            },
            backup_encrypt_recipients,
            backup_encrypt_passphrase,
            backup_encrypt_identity: r.path("BACKUP_ENCRYPT_IDENTITY"),
            restic_repository: Address::new(r.text("RESTIC_REPOSITORY")),
            restic_password: r.secret("RESTIC_PASSWORD"),
            restic_password_file: r.path("RESTIC_PASSWORD_FILE"),
            restic_rest_username: r.text("RESTIC_REST_USERNAME"),
            restic_rest_password: r.secret("RESTIC_REST_PASSWORD"),
            restic_cacert: r.path("RESTIC_CACERT"),
            aws_access_key_id: r.text("AWS_ACCESS_KEY_ID"),
            aws_secret_access_key: r.secret("AWS_SECRET_ACCESS_KEY"),
            aws_shared_credentials_file: r.path("AWS_SHARED_CREDENTIALS_FILE"),
            aws_default_region: r.text("AWS_DEFAULT_REGION"),
            keep_last: r.count("KEEP_LAST"),
            keep_daily: r.count("KEEP_DAILY"),
            keep_weekly: r.count("KEEP_WEEKLY"),
            keep_monthly: r.count("KEEP_MONTHLY"),
            keep_yearly: r.count("KEEP_YEARLY"),
            backup_prog_exclude: patterns(r, "BACKUP_PROG_EXCLUDE"),
            exclude_backup: mount_points(r, "EXCLUDE_BACKUP"),
            only_include: only_include(r),
            exclude_restore: exclude_restore(r),
            backup_rsync_options: rsync_options(r),
            backup_rsync_retention_days: r.number("BACKUP_RSYNC_RETENTION_DAYS"),
            backup_rsync_password: r.secret("BACKUP_RSYNC_PASSWORD"),
            rsync_prefix: rsync_prefix(r),
            external_backup: external(r, "EXTERNAL_BACKUP", backup),
            external_restore: external(r, "EXTERNAL_RESTORE", backup),
            external_check: r.command("EXTERNAL_CHECK"),
            external_ignore_errors: r.tristate("EXTERNAL_IGNORE_ERRORS"),
            requestrestore_text: r.text("REQUESTRESTORE_TEXT"),
            requestrestore_command: r.command("REQUESTRESTORE_COMMAND"),
            pre_backup_script: r.command("PRE_BACKUP_SCRIPT"),
            post_backup_script: r.command("POST_BACKUP_SCRIPT"),
            exclude_mountpoints: mount_points(r, "EXCLUDE_MOUNTPOINTS"),
            exclude_components: r.words_of_list("EXCLUDE_COMPONENTS"),
            blockclone_source_dev: r.words_of_list("BLOCKCLONE_SOURCE_DEV"),
            exclude_recreate: r.words_of_list("EXCLUDE_RECREATE"),
            exclude_device_mapping: device_patterns(r),
            exclude_vg: r.words("EXCLUDE_VG"),
            only_include_vg: r.words("ONLY_INCLUDE_VG"),
            exclude_md: r.words("EXCLUDE_MD"),
            autoexclude_multipath: r.tristate("AUTOEXCLUDE_MULTIPATH"),
            autoexclude_usb_path: {
                let points = r.words("AUTOEXCLUDE_USB_PATH");
                as_mount_points(r, "AUTOEXCLUDE_USB_PATH", points)
            },
            autoexclude_disks: r.tristate("AUTOEXCLUDE_DISKS"),
            autoexclude_path: mount_points(r, "AUTOEXCLUDE_PATH"),
            coverage_waive: r.words_of_list("COVERAGE_WAIVE"),
            accept_undrilled: r.words("ACCEPT_UNDRILLED"),
            disks_to_be_wiped: r.words("DISKS_TO_BE_WIPED"),
            luks_header_recipients: recipients(r, "LUKS_HEADER_RECIPIENTS"),
            luks_header_passphrase: r.secret("LUKS_HEADER_PASSPHRASE"),
            progs: r.words_of_list("PROGS"),
            required_progs: r.words_of_list("REQUIRED_PROGS"),
            copy_as_is: patterns(r, "COPY_AS_IS"),
            copy_as_is_exclude: r.words_of_list("COPY_AS_IS_EXCLUDE"),
            libs: r.words_of_list("LIBS"),
            modules: r.words_of_list("MODULES"),
            exclude_modules: r.words_of_list("EXCLUDE_MODULES"),
            modules_load: r.words_of_list("MODULES_LOAD"),
            firmware_files: firmware_files(r),
            kernel_cmdline: kernel_cmdline(r),
            kernel_file: r.path("KERNEL_FILE"),
            copy_kernel_parameters: r.words_of_list("COPY_KERNEL_PARAMETERS"),
            keymap: r.text("KEYMAP"),
            use_dhclient: r.tristate("USE_DHCLIENT"),
            use_static_networking: r.tristate("USE_STATIC_NETWORKING"),
            // Elements are whole lines ("nameserver 10.0.0.1"); a text is one line.
            use_resolv_conf: r.list("USE_RESOLV_CONF"),
            exclude_network_interfaces: r.words_of_list("EXCLUDE_NETWORK_INTERFACES"),
            exclude_ip_addresses: r.words_of_list("EXCLUDE_IP_ADDRESSES"),
            ssh_root_password: r.secret("SSH_ROOT_PASSWORD"),
            ssh_files: ssh_files(r),
            tty_root_password: r.secret("TTY_ROOT_PASSWORD"),
            use_serial_console: r.tristate("USE_SERIAL_CONSOLE"),
            serial_console_devices: serial_devices(r),
            pre_recovery_script: r.command("PRE_RECOVERY_SCRIPT"),
            post_recovery_script: r.command("POST_RECOVERY_SCRIPT"),
            rebuild_initramfs: r.tristate("REBUILD_INITRAMFS"),
            keep_build_dir: r.tristate("KEEP_BUILD_DIR"),
            logfile: r.path("LOGFILE").unwrap_or_else(|| "/var/log/rear/rear.log".into()),
        }
    }
}

impl Reader<'_> {
    /// A number of things; none where it is empty.
    fn count(&mut self, name: &'static str) -> u32 {
        u32::try_from(self.number(name).unwrap_or(0)).unwrap_or(u32::MAX)
    }

    /// A list without its empty elements.
    fn words_of_list(&mut self, name: &'static str) -> Vec<String> {
        self.list(name).into_iter().filter(|item| !item.is_empty()).collect()
    }
}
