//! The rescue medium: names, labels, the kernel's command line, what is carried.

use super::SshFiles;
use crate::quote;
use crate::reader::Reader;

pub(super) fn output_prefix(r: &mut Reader<'_>) -> String {
    let name = "OUTPUT_PREFIX";
    let text = r.text(name);
    if text.starts_with('/') || text.split('/').any(|part| part == ".." || part == ".") {
        let message = format!("{name} cannot be {}: it is a directory below OUTPUT_URL.", quote(&text));
        r.error(name, message, "Write a relative path without '..', for example the host's name.".into());
    }
    text.trim_end_matches('/').to_owned()
}

pub(super) fn iso_prefix(r: &mut Reader<'_>) -> String {
    let name = "ISO_PREFIX";
    let text = r.text(name);
    if text.is_empty() || text.contains('/') || text.starts_with('.') || text.len() > 200 {
        let message = format!("{name} cannot be {}: it is the name of a file, without '.iso'.", quote(&text));
        r.error(name, message, "Write a name without '/'; the directory is ISO_DIR.".into());
    }
    text
}

pub(super) fn iso_volid(r: &mut Reader<'_>) -> String {
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
pub(super) fn iso_timeout(r: &mut Reader<'_>) -> u64 {
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

pub(super) fn kernel_cmdline(r: &mut Reader<'_>) -> String {
    let name = "KERNEL_CMDLINE";
    let text = r.text(name);
    if text.chars().any(char::is_control) {
        let hint = "Write all options on one line.".to_owned();
        r.error(name, format!("{name} contains a control character or a line break."), hint);
    }
    text.trim().to_owned()
}

pub(super) fn firmware_files(r: &mut Reader<'_>) -> Vec<String> {
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

pub(super) fn ssh_files(r: &mut Reader<'_>) -> SshFiles {
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

pub(super) fn serial_devices(r: &mut Reader<'_>) -> Vec<String> {
    let name = "SERIAL_CONSOLE_DEVICES";
    let devices = r.words(name);
    if let Some(wrong) = devices.iter().find(|device| !device.starts_with("/dev/")).cloned() {
        let message = format!("{name} names {}, which is no device.", quote(&wrong));
        let hint = format!("Write for example {name}=/dev/{}", wrong.trim_start_matches('/'));
        r.error(name, message, hint);
    }
    devices
}
