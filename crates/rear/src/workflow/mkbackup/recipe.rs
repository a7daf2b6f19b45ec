//! From settings to what the rescue system is made of.

use std::path::{Path, PathBuf};

use config::{SshFiles, Tristate};
use image::network::{self, Network};
use image::{Recipe, RescueConfig, Ssh};
use sys::SysExt;

use super::Destinations;
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::workflow::means;

/// Speed of a serial console when nothing else is said, in bits a second.
const DEFAULT_SERIAL: &str = "ttyS0,115200";

/// The recipe of this machine's rescue system.
pub fn recipe(context: &Context, id: &str, destinations: &Destinations) -> Result<Recipe<'static>> {
    let settings = context.settings();
    let hash = |secret: &Option<sys::Secret>| {
        secret.as_ref().filter(|secret| !secret.is_empty()).map(image::hash_password).transpose()
    };
    let console_password_hash = hash(&settings.tty_root_password)?;
    let ssh_password_hash = hash(&settings.ssh_root_password)?;
    let authorized_keys = std::fs::metadata("/root/.ssh/authorized_keys").is_ok_and(|file| file.len() > 0);
    let ssh = ssh(settings.ssh_files, ssh_password_hash, authorized_keys);
    let rescue = RescueConfig {
        format: 1,
        hostname: context.hostname.clone(),
        recovery_point: id.to_owned(),
        created: sys::info::now(),
        volume_id: settings.iso_volid.clone(),
        backup_dir: Some(destinations.dir_on_medium.clone()),
        network: network(context)?,
        use_dhcp: match (settings.use_static_networking, settings.use_dhclient) {
            (Tristate::Yes, _) | (_, Tristate::No) => Some(false),
            (_, Tristate::Yes) => Some(true),
            _ => None,
        },
        serial_consoles: serial_consoles(context),
        modules_load: settings.modules_load.clone(),
        console_password: console_password_hash.is_some(),
        ssh: !matches!(ssh, Ssh::Off),
        pre_recovery_script: settings.pre_recovery_script.clone(),
        post_recovery_script: settings.post_recovery_script.clone(),
        disks_to_be_wiped: settings.disks_to_be_wiped.clone(),
        exclude_restore: settings.exclude_restore.clone(),
        exclude_device_mapping: settings.exclude_device_mapping.clone(),
        rebuild_initramfs: match settings.rebuild_initramfs {
            Tristate::Yes => Some(true),
            Tristate::No => Some(false),
            Tristate::Auto => None,
        },
        means: means::of(settings),
    };
    Ok(Recipe {
        root: Path::new("/"),
        kernel_release: sys::info::kernel_release(),
        kernel_file: settings.kernel_file.clone(),
        rear_binary: PathBuf::from("/proc/self/exe"),
        progs: settings.progs.clone(),
        required_progs: required_programs(settings),
        libs: settings.libs.clone(),
        copy_as_is: settings.copy_as_is.clone(),
        copy_as_is_exclude: settings.copy_as_is_exclude.clone(),
        modules: settings.modules.clone(),
        exclude_modules: settings.exclude_modules.clone(),
        modules_load: settings.modules_load.clone(),
        firmware_files: settings.firmware_files.clone(),
        keymap: settings.keymap.clone(),
        ssh,
        console_password_hash,
        rescue,
        payload: Vec::new(),
        level: 3,
        threads: context.threads(),
        cancel: context.cancel.clone(),
    })
}

/// Login by ssh: only where somebody could log in, and never against SSH_FILES=no.
fn ssh(files: SshFiles, root_password_hash: Option<String>, authorized_keys: bool) -> Ssh {
    if files == SshFiles::No || (root_password_hash.is_none() && !authorized_keys) {
        return Ssh::Off;
    }
    Ssh::On { root_password_hash, authorized_keys }
}

/// Programs without which there shall be no medium: those of the configuration, and those that the recovery is told
/// to run.
fn required_programs(settings: &config::Settings) -> Vec<String> {
    let scripts = [&settings.pre_recovery_script, &settings.post_recovery_script];
    let mut programs = settings.required_progs.clone();
    programs.extend(scripts.into_iter().filter_map(|argv| argv.first()).cloned());
    let means = means::of(settings);
    programs.extend([&means.restore, &means.check].into_iter().filter_map(|argv| argv.first()).cloned());
    programs
}

/// The network as it is now, less what the configuration leaves out.
fn network(context: &Context) -> Result<Network> {
    let settings = context.settings();
    let mut network =
        network::capture(&context.sys, &settings.exclude_network_interfaces, &settings.exclude_ip_addresses)?;
    if let Some(first) = settings.use_resolv_conf.first() {
        let no = ["no", "n", "false", "f", "0"].contains(&first.to_ascii_lowercase().as_str());
        let text = match no {
            true => String::new(),
            false if first.starts_with('/') => context
                .sys
                .read_text(first)
                .map_err(|error| Failure::from(error).during("USE_RESOLV_CONF"))?,
            false => settings.use_resolv_conf.join("\n"),
        };
        let values = |key: &str| -> Vec<String> {
            text.lines()
                .filter_map(|line| line.trim().strip_prefix(key))
                .flat_map(str::split_whitespace)
                .map(str::to_owned)
                .collect()
        };
        network.resolvers = values("nameserver");
        network.search = values("search");
    }
    Ok(network)
}

/// Serial consoles of the rescue system, such as "ttyS0,115200": those that are set, or those that the running
/// kernel was given; none when USE_SERIAL_CONSOLE says no.
pub fn serial_consoles(context: &Context) -> Vec<String> {
    let settings = context.settings();
    if settings.use_serial_console == Tristate::No {
        return Vec::new();
    }
    let named: Vec<String> = settings
        .serial_console_devices
        .iter()
        .map(|device| {
            let device = device.trim_start_matches("/dev/");
            if device.contains(',') { device.to_owned() } else { format!("{device},115200") }
        })
        .collect();
    if !named.is_empty() {
        return named;
    }
    let running: Vec<String> = kernel_options(context)
        .iter()
        .filter_map(|option| option.strip_prefix("console="))
        .filter(|console| console.starts_with("ttyS"))
        .map(|console| if console.contains(',') { console.to_owned() } else { format!("{console},115200") })
        .collect();
    if running.is_empty() && settings.use_serial_console == Tristate::Yes {
        return vec![DEFAULT_SERIAL.to_owned()];
    }
    running
}

/// Options of the running kernel.
fn kernel_options(context: &Context) -> Vec<String> {
    let text = context.sys.read_text("/proc/cmdline").unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// The rescue kernel's command line.
pub fn kernel_command_line(context: &Context) -> String {
    let settings = context.settings();
    // SELinux stays off: the rescue system has no policy, and labels are restored as plain attributes.
    let mut words = vec!["selinux=0".to_owned(), "console=tty0".to_owned()];
    words.extend(serial_consoles(context).iter().map(|console| format!("console={console}")));
    for option in kernel_options(context) {
        let name = option.split('=').next().unwrap_or_default();
        if settings.copy_kernel_parameters.iter().any(|wanted| wanted == name) {
            words.push(option);
        }
    }
    words.extend(settings.kernel_cmdline.split_whitespace().map(str::to_owned));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_ssh_means_none_even_with_a_password() {
        let hash = || Some("$6$x$y".to_owned());
        assert_eq!(ssh(SshFiles::No, hash(), true), Ssh::Off);
        assert_eq!(ssh(SshFiles::AvoidSensitive, None, false), Ssh::Off);
        let on = Ssh::On { root_password_hash: hash(), authorized_keys: false };
        assert_eq!(ssh(SshFiles::AvoidSensitive, hash(), false), on);
    }

    #[test]
    fn what_the_recovery_runs_is_required() {
        let dir = tempfile::tempdir().unwrap();
        let text = "REQUIRED_PROGS=( jq )\nPRE_RECOVERY_SCRIPT=( /opt/pre now )\nPOST_RECOVERY_SCRIPT=post\n";
        std::fs::write(dir.path().join("local.conf"), text).unwrap();
        let sources = config::Sources { dir: dir.path(), extra: &[], hostname: "host" };
        let settings = config::load(&sources).unwrap().settings;
        assert_eq!(required_programs(&settings), ["jq", "/opt/pre", "post"]);
    }
}
