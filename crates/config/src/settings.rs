//! The settings that work, typed. What is declared in `table` as implemented has its field here, named like the
//! setting in lower case; a test keeps the two equal.

use std::path::PathBuf;

use serde::Serialize;
use sys::Secret;

use crate::compress::{self, Codec, Compression};
use crate::location::Location;
use crate::quote;
use crate::reader::Reader;

/// Yes, no, or left to the program.
///
/// The words are those of the Bash program in any letter case: yes, y, true, t, 1 and no, n, false, f, 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tristate {
    /// Do it.
    Yes,
    /// Do not do it.
    No,
    /// Empty: the program decides.
    Auto,
}

impl Tristate {
    /// Whether to do it, where the program's own choice is `auto`.
    pub fn or(self, auto: bool) -> bool {
        match self {
            Self::Yes => true,
            Self::No => false,
            Self::Auto => auto,
        }
    }
}

/// The kind of rescue medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Output {
    /// A hybrid ISO.
    Iso,
}

/// How files are saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Backup {
    /// This program's own archive.
    Netfs,
    /// A repository of the restic format.
    Restic,
    /// Not at all; recovery asks the operator to restore them.
    RequestRestore,
    /// Dated trees that rsync keeps.
    Rsync,
    /// Programs of the user save and restore them.
    External,
}

/// The boot menu's default entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IsoDefault {
    /// "Recover HOST", which waits for the operator.
    Manual,
    /// "Automatic Recover".
    Automatic,
    /// The local disk.
    BootHd,
}

/// What of ssh goes into the rescue system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SshFiles {
    /// Server configuration and root's authorized keys, nothing secret.
    AvoidSensitive,
    /// Everything. [`crate::load`] refuses this word (private keys are never packed), so it never comes from a
    /// configuration file.
    Yes,
    /// No ssh.
    No,
}

/// How far the backup stands back for the disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IoPriority {
    /// Not at all.
    Usual,
    /// The lowest share.
    Low,
    /// Only while nobody else reads or writes.
    Idle,
}

/// An address that may have a password in it: it is shown without.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(String);

impl Address {
    /// The whole of it, for whoever goes there.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", crate::diagnostic::mask_url_password(&self.0))
    }
}

impl Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&crate::diagnostic::mask_url_password(&self.0))
    }
}

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
            restic_repository: Address(r.text("RESTIC_REPOSITORY")),
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

/// Where the backup goes, if the method can go there.
fn backup_url(r: &mut Reader<'_>, backup: Backup) -> Location {
    let name = "BACKUP_URL";
    let place = r.url(name, Location::backup).unwrap_or_else(|| Location::Iso { dir: "backup".into() });
    match (&place, backup) {
        (Location::Remote { .. }, Backup::Netfs) => r.error(
            name,
            format!("{name}={place} is a place for rsync, and BACKUP=NETFS writes an archive."),
            "Write BACKUP=RSYNC for dated trees of files there; or mount the place and write BACKUP_URL=file:///PATH.".into(),
        ),
        (Location::Iso { .. } | Location::Null, Backup::Rsync) => {
            // Where the default stands, the method is what was written.
            let key = [name, "BACKUP"].into_iter().find(|key| r.is_set(key)).unwrap_or("BACKUP_PROG");
            r.error(
                key,
                format!("rsync keeps trees in a directory, and {name} is {place}."),
                format!("Write {name}=file:///PATH, {name}=ssh://USER@HOST/PATH or {name}=rsync://USER@HOST::/MODULE/PATH."),
            );
        }
        _ => {}
    }
    place
}

/// The options that rsync gets.
fn rsync_options(r: &mut Reader<'_>) -> Vec<String> {
    let name = "BACKUP_RSYNC_OPTIONS";
    let mut passed = Vec::new();
    for item in r.words_of_list(name) {
        match crate::rsync::verdict(&item) {
            crate::rsync::Verdict::Always => {}
            crate::rsync::Verdict::Passed => passed.push(item),
            crate::rsync::Verdict::Refused(why) => {
                let message = format!("The element {} of {name} cannot be used: {why}.", quote(&item));
                r.error(name, message, "Remove it.".into());
            }
        }
    }
    passed
}

/// One directory, because it is a name in rsync's patterns and on other machines.
fn rsync_prefix(r: &mut Reader<'_>) -> String {
    let name = "RSYNC_PREFIX";
    let text = r.text(name).trim_matches('/').to_owned();
    let good = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if text.is_empty() || text.starts_with('.') || !text.chars().all(good) {
        let message = format!("{name} cannot be {}: it is the name of one directory.", quote(&text));
        r.error(
            name,
            message,
            "Write letters, digits, '.', '_' and '-', for example the host's name.".into(),
        );
    }
    text
}

/// A program without which BACKUP=EXTERNAL means nothing.
fn external(r: &mut Reader<'_>, name: &'static str, backup: Backup) -> Vec<String> {
    let argv = r.command(name);
    if argv.is_empty() && backup == Backup::External {
        let message = format!("BACKUP=EXTERNAL needs {name}.");
        let hint = format!(
            "Write {name}=( PROGRAM ARGUMENT … ), with a program that ends with 0 only when all went well."
        );
        r.error("BACKUP", message, hint);
    }
    argv
}

fn output_prefix(r: &mut Reader<'_>) -> String {
    let name = "OUTPUT_PREFIX";
    let text = r.text(name);
    if text.starts_with('/') || text.split('/').any(|part| part == ".." || part == ".") {
        let message = format!("{name} cannot be {}: it is a directory below OUTPUT_URL.", quote(&text));
        r.error(name, message, "Write a relative path without '..', for example the host's name.".into());
    }
    text.trim_end_matches('/').to_owned()
}

fn iso_prefix(r: &mut Reader<'_>) -> String {
    let name = "ISO_PREFIX";
    let text = r.text(name);
    if text.is_empty() || text.contains('/') || text.starts_with('.') || text.len() > 200 {
        let message = format!("{name} cannot be {}: it is the name of a file, without '.iso'.", quote(&text));
        r.error(name, message, "Write a name without '/'; the directory is ISO_DIR.".into());
    }
    text
}

fn iso_volid(r: &mut Reader<'_>) -> String {
    let name = "ISO_VOLID";
    let text = r.text(name);
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if text.is_empty() || text.len() > 32 || !text.chars().all(good) {
        let short: String = text.chars().map(|c| if good(c) { c } else { '_' }).take(32).collect();
        let hint = if short.is_empty() {
            "Leave it out for REAR-ISO.".to_owned()
        } else {
            format!("For example {name}={short}")
        };
        let message = format!(
            "{name} cannot be {}: a label has 1 to 32 letters, digits, '_' or '-' (the field of ISO 9660).",
            quote(&text)
        );
        r.error(name, message, hint);
    }
    text
}

/// `ISO_TIMEOUT`, else what the Bash program's settings say.
fn iso_timeout(r: &mut Reader<'_>) -> u64 {
    let tenths = r.number("ISO_SYSLINUX_TIMEOUT");
    let prompts = r.number("USER_INPUT_TIMEOUT");
    let own = r.number("ISO_TIMEOUT");
    let chosen =
        if r.is_set("ISO_TIMEOUT") { own } else { tenths.map(|t| t.div_ceil(10)).or(prompts).or(own) };
    let seconds = chosen.unwrap_or(30);
    if seconds > 86_400 {
        let message = "ISO_TIMEOUT cannot be more than 86400 seconds (a day).".to_owned();
        r.error("ISO_TIMEOUT", message, "For a menu that waits for ever, write ISO_DEFAULT=manual.".into());
    }
    seconds.min(86_400)
}

/// How the archive is compressed, and how its name ends.
fn compression(r: &mut Reader<'_>) -> Compression {
    let (name, end) = ("BACKUP_PROG_COMPRESS_OPTIONS", "BACKUP_PROG_COMPRESS_SUFFIX");
    let elements = r.words_of_list(name);
    let suffix = r.text(end);
    let by_suffix = Codec::of_suffix(&suffix).filter(|_| !r.is_set(name));
    let mut made = match by_suffix {
        Some(codec) => Compression::usual(codec),
        None => compress::parse(&elements).unwrap_or_else(|(message, hint)| {
            r.error(name, format!("{name} cannot be used: {message}"), hint);
            Compression::usual(Codec::Zstd)
        }),
    };
    if suffix.is_empty() {
        return made;
    }
    let usual = Codec::of_suffix(&suffix);
    let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if let Some(other) = usual.filter(|other| *other != made.codec) {
        let message = format!(
            "{end}={suffix} is the ending of another compression than the one that {name} chooses ({}).",
            if made.codec == Codec::None { "none" } else { made.codec.option() }
        );
        let hint = format!("Leave {end} out, or write {name}=( {} )", other.option());
        r.error(end, message, hint);
    } else if !suffix.starts_with('.')
        || suffix.len() > 16
        || !suffix.chars().all(good)
        || suffix.contains("..")
    {
        let message = format!("{end} cannot be {}.", quote(&suffix));
        r.error(end, message, "Write a dot and letters or digits, such as .gz, or leave it out.".into());
    } else {
        made.suffix = suffix;
    }
    made
}

fn split_size(r: &mut Reader<'_>) -> Option<u64> {
    let name = "BACKUP_SPLIT_SIZE";
    let size = r.number(name)?;
    if !(16..=1 << 30).contains(&size) {
        let message = format!("{name} cannot be {size}: volumes have at least 16 MiB.");
        r.error(name, message, "Write a number of MiB, for example 4095 for FAT32, or leave it out.".into());
        return None;
    }
    Some(size)
}

fn nice(r: &mut Reader<'_>) -> u8 {
    let name = "BACKUP_NICE";
    let Some(number) = r.number(name) else { return 0 };
    match u8::try_from(number) {
        Ok(nice) if nice <= 19 => nice,
        _ => {
            r.error(name, format!("{name} cannot be {number}."), "Write a number from 0 to 19.".into());
            0
        }
    }
}

fn kernel_cmdline(r: &mut Reader<'_>) -> String {
    let name = "KERNEL_CMDLINE";
    let text = r.text(name);
    if text.chars().any(char::is_control) {
        let hint = "Write all options on one line.".to_owned();
        r.error(name, format!("{name} contains a control character or a line break."), hint);
    }
    text.trim().to_owned()
}

/// Absolute paths, with or without patterns.
fn patterns(r: &mut Reader<'_>, name: &'static str) -> Vec<String> {
    let items = r.words_of_list(name);
    absolute(r, name, items)
}

fn absolute(r: &mut Reader<'_>, name: &'static str, items: Vec<String>) -> Vec<String> {
    let wrong = items.iter().find(|item| !item.starts_with('/') && !item.starts_with('*'));
    // A relative pattern matches nothing in our archive, so it would silently exclude nothing.
    if let Some(item) = wrong.cloned() {
        let message = format!("The element {} of {name} is no absolute path.", quote(&item));
        r.error(name, message, format!("Write {}", quote(&format!("/{item}"))));
    }
    items
}

/// What alone is saved. Without BACKUP_ONLY_INCLUDE the list has no effect, so nothing in it is wrong.
fn only_include(r: &mut Reader<'_>) -> Option<Vec<String>> {
    let name = "BACKUP_PROG_INCLUDE";
    let items = r.words_of_list(name);
    if r.tristate("BACKUP_ONLY_INCLUDE") != Tristate::Yes {
        return None;
    }
    if items.is_empty() {
        let message = format!("BACKUP_ONLY_INCLUDE=yes saves only what {name} names, and that is empty.");
        // Where it is not set at all, the other one is the place to correct.
        r.error("BACKUP_ONLY_INCLUDE", message, format!("Write for example {name}=( / /home )"));
    }
    if let Some(item) = items.iter().find(|item| item.contains(['*', '?', '['])).cloned() {
        let message =
            format!("The element {} of {name} has a wildcard, which is not supported here.", quote(&item));
        r.error(
            name,
            message,
            "Name the directory, and leave parts of it out with BACKUP_PROG_EXCLUDE.".into(),
        );
    }
    let items = items.iter().map(|item| match item.trim_end_matches('/') {
        "" => "/".to_owned(),
        path => path.to_owned(),
    });
    let items = items.collect();
    Some(absolute(r, name, items))
}

/// Patterns of paths; `fs:/x` is the same as `/x`.
fn exclude_restore(r: &mut Reader<'_>) -> Vec<String> {
    let name = "EXCLUDE_RESTORE";
    let items = r.words_of_list(name);
    let items = items.iter().map(|item| item.strip_prefix("fs:").unwrap_or(item).to_owned()).collect();
    absolute(r, name, items)
}

/// Patterns of kernel names. A link below `/dev` would be looked up at the recovery, where it may not exist.
fn device_patterns(r: &mut Reader<'_>) -> Vec<String> {
    let name = "EXCLUDE_DEVICE_MAPPING";
    let mut names = Vec::new();
    for item in r.words(name) {
        let short = item.strip_prefix("/dev/").unwrap_or(&item);
        if short.is_empty() || short.contains('/') {
            let message = format!("The element {} of {name} is no kernel name of a device.", quote(&item));
            r.error(name, message, "Write for example sdb, nvme1n1 or loop*.".into());
            continue;
        }
        names.push(short.to_owned());
    }
    names
}

/// Mount points; `fs:/x` is the same as `/x`.
fn mount_points(r: &mut Reader<'_>, name: &'static str) -> Vec<String> {
    let items = r.list(name);
    as_mount_points(r, name, items)
}

fn as_mount_points(r: &mut Reader<'_>, name: &'static str, items: Vec<String>) -> Vec<String> {
    let mut points = Vec::new();
    for item in items {
        let path = item.strip_prefix("fs:").unwrap_or(&item);
        if path.is_empty() {
            continue;
        }
        if !path.starts_with('/') {
            let message = format!("The element {} of {name} is no mount point.", quote(&item));
            r.error(
                name,
                message,
                "Write the directory where the filesystem is mounted: /x or fs:/x.".into(),
            );
            continue;
        }
        let path = path.trim_end_matches('/');
        points.push(if path.is_empty() { "/".to_owned() } else { path.to_owned() });
    }
    points
}

/// How the archive is encrypted: to these, or with this. Asked for where nothing would be encrypted, it is an error.
fn encryption(r: &mut Reader<'_>, backup: Backup) -> (Vec<String>, Option<Secret>) {
    let (to, with) = ("BACKUP_ENCRYPT_RECIPIENTS", "BACKUP_ENCRYPT_PASSPHRASE");
    let (enabled, key) = ("BACKUP_PROG_CRYPT_ENABLED", "BACKUP_PROG_CRYPT_KEY");
    let recipients = recipients(r, to);
    let (own, old) = (r.secret(with), r.secret(key));
    let asked = r.tristate(enabled) == Tristate::Yes;
    let passphrase = match (own, old, asked) {
        (Some(one), Some(other), true) if one != other => {
            let message = format!("{with} and {key} are both set, to different secrets.");
            r.error(key, message, format!("Leave {key} out."));
            Some(one)
        }
        (Some(own), ..) => Some(own),
        (None, Some(old), true) if recipients.is_empty() => {
            let message = format!("{key} is used as {with}: the archive is encrypted in the format of age.");
            let hint =
                "openssl does not open it; 'age -d' does, and recovery asks for the passphrase.".into();
            r.warning(key, message, hint);
            Some(old)
        }
        (None, Some(_), false) => {
            let message = format!("{key} has no effect: {enabled} is not yes.");
            r.warning(key, message, format!("Write {with}=... to encrypt the archive, or leave it out."));
            None
        }
        _ => None,
    };
    let names = [to, with, enabled];
    let place = names.into_iter().find(|name| r.is_set(name)).unwrap_or(enabled);
    if recipients.is_empty() && passphrase.is_none() {
        if asked {
            let message = format!("{enabled}=yes asks for an encrypted archive, and there is no key for it.");
            r.error(enabled, message, format!("Write {to}=( age1... ), or {with}=..."));
        }
        return (recipients, passphrase);
    }
    if !recipients.is_empty() && passphrase.is_some() {
        let message = format!("{to} and {with} are both set: the age format allows one of them for a file.");
        r.error(with, message, format!("Leave one of them out; {to} needs no secret on this machine."));
    }
    let (what, instead) = match backup {
        Backup::Netfs => return (recipients, passphrase),
        Backup::Restic => {
            ("encrypts by itself, with the password of its repository", "Leave it out with BACKUP=RESTIC.")
        }
        Backup::Rsync => (
            "keeps trees of plain files, which would not be encrypted",
            "Write BACKUP=NETFS with BACKUP_PROG=tar or BACKUP=RESTIC, or leave it out and encrypt the filesystem at BACKUP_URL.",
        ),
        Backup::External => (
            "saves files with programs of yours, whose output would not be encrypted",
            "Leave it out, and let EXTERNAL_BACKUP encrypt.",
        ),
        Backup::RequestRestore => ("saves no files, so there is nothing to encrypt", "Leave it out."),
    };
    let method = match backup {
        Backup::Rsync => "rsync",
        Backup::Restic => "BACKUP=RESTIC",
        Backup::External => "BACKUP=EXTERNAL",
        _ => "BACKUP=REQUESTRESTORE",
    };
    r.error(place, format!("{place} asks for an encrypted archive, and {method} {what}."), instead.into());
    (recipients, passphrase)
}

/// Recipients by their form; whether a key is a good one shows when something is encrypted to it.
fn recipients(r: &mut Reader<'_>, name: &'static str) -> Vec<String> {
    let items: Vec<String> = r.words_of_list(name).iter().map(|item| item.trim().to_owned()).collect();
    for item in &items {
        if item.contains("AGE-SECRET-KEY-") || item.contains("PRIVATE KEY") {
            let hint =
                "Write the public one, 'age1…'; keep the secret one away from this machine.".to_owned();
            r.error(name, format!("{name} holds a secret key: it would open what it should protect."), hint);
        } else if !["age1", "ssh-ed25519 ", "ssh-rsa ", "/"].iter().any(|start| item.starts_with(start)) {
            let message = format!("The element {} of {name} is no public key.", quote(item));
            let hint = "Write an age recipient 'age1…', an ssh public key in quotes, or the absolute path of a file \
                        with such; elements of the list are separated by blanks.";
            r.error(name, message, hint.to_owned());
        }
    }
    items
}

fn firmware_files(r: &mut Reader<'_>) -> Vec<String> {
    let items = r.words("FIRMWARE_FILES");
    let is = |words: &[&str]| {
        items.len() == 1 && items.iter().all(|item| words.contains(&item.to_ascii_lowercase().as_str()))
    };
    if is(crate::table::NO) {
        vec!["no".to_owned()]
    } else if is(crate::table::YES) {
        Vec::new()
    } else {
        items
    }
}

fn ssh_files(r: &mut Reader<'_>) -> SshFiles {
    let name = "SSH_FILES";
    let items = r.words(name);
    let message = match items.as_slice() {
        [] => return SshFiles::AvoidSensitive,
        [word] => {
            let lower = word.to_ascii_lowercase();
            if lower == "avoid_sensitive_files" {
                return SshFiles::AvoidSensitive;
            }
            if crate::table::NO.contains(&lower.as_str()) {
                return SshFiles::No;
            }
            if crate::table::YES.contains(&lower.as_str()) {
                format!("{name}={word} would pack private keys, which is never done.")
            } else if lower.starts_with('/') {
                format!("{name} cannot name files yet.")
            } else {
                format!("{name} cannot be {}.", quote(word))
            }
        }
        _ => format!("{name} cannot name files yet."),
    };
    let hint = format!(
        "Write {name}=avoid_sensitive_files (the rescue system's own server configuration, and root's \
         authorized_keys) or {name}=no; COPY_AS_IS carries further files."
    );
    r.error(name, message, hint);
    SshFiles::AvoidSensitive
}

fn serial_devices(r: &mut Reader<'_>) -> Vec<String> {
    let name = "SERIAL_CONSOLE_DEVICES";
    let devices = r.words(name);
    if let Some(wrong) = devices.iter().find(|device| !device.starts_with("/dev/")).cloned() {
        let message = format!("{name} names {}, which is no device.", quote(&wrong));
        let hint = format!("Write for example {name}=/dev/{}", wrong.trim_start_matches('/'));
        r.error(name, message, hint);
    }
    devices
}
