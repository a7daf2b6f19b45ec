//! LUKS containers made again: from their saved header, or with a new passphrase. Keys are never part of a plan:
//! whoever carries it out feeds them to standard input, and puts a saved header where the command expects it.
//!
//! The options are those of cryptsetup 2.3 (Debian 11, RHEL 8) and later.

use layout::{Content, Device, Layout, Luks, LuksMapping};

use crate::Command;

/// Integrity algorithms that `cryptsetup luksFormat --integrity` knows.
const INTEGRITY: [&str; 5] = ["aead", "cmac-aes", "hmac-sha256", "hmac-sha512", "poly1305"];

/// Persistent flags (cryptsetup `lib/luks2/luks2_json_metadata.c`) and the options that set them.
const FLAGS: [(&str, &str); 7] = [
    ("allow-discards", "--allow-discards"),
    ("same-cpu-crypt", "--perf-same_cpu_crypt"),
    ("submit-from-crypt-cpus", "--perf-submit_from_crypt_cpus"),
    ("no-journal", "--integrity-no-journal"),
    ("no-read-workqueue", "--perf-no_read_workqueue"),
    ("no-write-workqueue", "--perf-no_write_workqueue"),
    ("high-priority", "--perf-high_priority"),
];

/// Where a saved header stands, readable for root only, while its container is made.
pub fn header_file(uuid: &str) -> String {
    format!("/run/rear/luks/{uuid}.header")
}

/// What keeps this container from being made again; `None` when nothing does.
pub(crate) fn refuse(luks: &Luks) -> Option<String> {
    if luks.uuid.is_empty() || luks.cipher.is_empty() {
        return Some("its LUKS header names no UUID or no cipher".into());
    }
    if !luks.uuid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Some("the UUID in its LUKS header is none".into());
    }
    if luks.requirements.iter().any(|name| name.contains("reencrypt")) {
        return Some(
            "it is being re-encrypted; let that finish first (cryptsetup reencrypt --resume-only)".into(),
        );
    }
    if !luks.requirements.is_empty() {
        return Some(format!(
            "its LUKS header requires {}, which cannot be recreated",
            luks.requirements.join(", ")
        ));
    }
    if luks.version == 2 && luks.segments != ["crypt"] {
        return Some(format!(
            "its data consist of the segments {}; only one of the type crypt can be recreated",
            luks.segments.join(", ")
        ));
    }
    if luks.data_offset < luks.header_size {
        return Some("its LUKS header is not in front of its data but on another device".into());
    }
    if !luks.integrity.is_empty() && luks.sealed {
        return Some("with integrity protection it can only be made with a new passphrase".into());
    }
    if luks.sealed {
        return None;
    }
    if luks.data_size.is_some() {
        return Some(
            "its header fixes the size of its data, which only the saved header can bring back; set \
             LUKS_HEADER_RECIPIENTS or LUKS_HEADER_PASSPHRASE"
                .into(),
        );
    }
    if luks.key_bits == 0 {
        return Some("it has no key slot, so nobody could open it again".into());
    }
    if !luks.integrity.is_empty() && !INTEGRITY.contains(&luks.integrity.as_str()) {
        return Some(format!("its integrity protection {} cannot be recreated", luks.integrity));
    }
    luks.flags
        .iter()
        .find(|flag| option(flag).is_none())
        .map(|flag| format!("its flag {flag} is not known and cannot be set again"))
}

/// What keeps the open side of a container from being made again.
pub(crate) fn refuse_mapping(layout: &Layout, device: &Device, mapping: &LuksMapping) -> Option<String> {
    let below = layout.device(&mapping.parent)?;
    // The kernel says which header opened it; a device may also carry another one that is not in use.
    let opened = device.id.0.strip_prefix("luks:");
    match &below.content {
        Content::Luks(luks) if opened.is_none_or(|uuid| uuid == luks.uuid.replace('-', "")) => None,
        _ => Some(format!("it was opened with a header that is not on {} but on another device", below.path)),
    }
}

/// How the container is made, for people.
pub(crate) fn describe(luks: &Luks, shown: &str) -> String {
    let how = if luks.sealed {
        "from its saved header, with all its key slots".to_owned()
    } else {
        let lost = match luks.tokens.as_slice() {
            [] => String::new(),
            tokens => format!("; its tokens ({}) are lost", tokens.join(", ")),
        };
        format!("with a new passphrase; its {} key slot(s) cannot come back{lost}", luks.keyslots.len())
    };
    format!("make the LUKS{} container {} on {shown} {how}", luks.version, luks.uuid)
}

/// The command that makes the container on this device. Without a saved header, it reads the new passphrase from
/// standard input.
pub(crate) fn commands(luks: &Luks, device: &str) -> Vec<Command> {
    if luks.sealed {
        let file = header_file(&luks.uuid);
        let args = ["luksHeaderRestore", "--batch-mode", "--header-backup-file", &file, device];
        return vec![Command::new("cryptsetup", args)];
    }
    let mut args: Vec<String> = vec!["luksFormat".into(), "--batch-mode".into()];
    let mut option = |name: &str, value: &str| args.extend([format!("--{name}"), value.to_owned()]);
    option("type", if luks.version == 1 { "luks1" } else { "luks2" });
    option("uuid", &luks.uuid);
    option("cipher", &luks.cipher);
    option("key-size", &luks.key_bits.to_string());
    option("hash", &luks.hash);
    option("offset", &(luks.data_offset.0 / 512).to_string());
    if luks.version == 2 {
        let keyslots = luks.header_size.0.saturating_sub(2 * luks.metadata_size.0);
        option("sector-size", &luks.sector_size.to_string());
        option("luks2-metadata-size", &format!("{}k", luks.metadata_size.0 / 1024));
        option("luks2-keyslots-size", &format!("{}k", keyslots / 1024));
        for (name, value) in
            [("label", &luks.label), ("subsystem", &luks.subsystem), ("integrity", &luks.integrity)]
        {
            if !value.is_empty() {
                option(name, value);
            }
        }
    }
    if let Some(slot) = luks.keyslots.first() {
        option("key-slot", &slot.number.to_string());
        // The cost that its owner chose, within the limits of cryptsetup; measuring it anew would make it that of the
        // rescue system.
        if slot.pbkdf.starts_with("argon2") {
            option("pbkdf", &slot.pbkdf);
            option("pbkdf-force-iterations", &slot.iterations.max(4).to_string());
            option("pbkdf-memory", &slot.memory.max(32).to_string());
            option("pbkdf-parallel", &slot.parallel.max(1).to_string());
        } else if slot.pbkdf == "pbkdf2" {
            if luks.version == 2 {
                option("pbkdf", "pbkdf2");
            }
            option("pbkdf-force-iterations", &slot.iterations.max(1000).to_string());
        }
    }
    // A passphrase that its owner finds good enough is not judged.
    args.extend(["--force-password".into(), "--key-file=-".into(), device.into()]);
    vec![Command::new("cryptsetup", args)]
}

/// The persistent flags that opening the new container must set, because a new header has none.
pub(crate) fn flags(luks: &Luks) -> Vec<String> {
    if luks.sealed { Vec::new() } else { luks.flags.clone() }
}

/// The command that opens the container on this device; it reads a passphrase from standard input. `flags` are
/// written into its header.
pub(crate) fn open(device: &str, name: &str, flags: &[String]) -> Vec<Command> {
    let mut args = vec!["open", "--batch-mode", "--type", "luks", "--key-file=-"];
    args.extend(flags.iter().filter_map(|flag| option(flag)));
    if !flags.is_empty() {
        args.push("--persistent");
    }
    args.extend([device, name]);
    vec![Command::new("cryptsetup", args)]
}

fn option(flag: &str) -> Option<&'static str> {
    FLAGS.iter().find(|(name, _)| *name == flag).map(|(_, option)| *option)
}

#[cfg(test)]
mod tests {
    use layout::{Bytes, Keyslot};

    use super::*;

    fn luks() -> Luks {
        Luks {
            uuid: "22222222-2222-3333-4444-555555555555".into(),
            version: 2,
            label: "my data".into(),
            cipher: "aes-xts-plain64".into(),
            key_bits: 512,
            hash: "sha256".into(),
            sector_size: 4096,
            data_offset: Bytes(4 << 20),
            header_size: Bytes((64 << 10) + (1 << 20)),
            metadata_size: Bytes(32 << 10),
            keyslots: vec![Keyslot {
                number: 5,
                pbkdf: "argon2id".into(),
                iterations: 4,
                memory: 1024,
                parallel: 2,
            }],
            flags: vec!["allow-discards".into(), "no-read-workqueue".into()],
            segments: vec!["crypt".into()],
            ..Luks::default()
        }
    }

    #[test]
    fn a_new_container_has_everything_but_the_keys() {
        let line = commands(&luks(), "/dev/vda2")[0].line();
        assert_eq!(
            line,
            "cryptsetup luksFormat --batch-mode --type luks2 --uuid 22222222-2222-3333-4444-555555555555 --cipher \
             aes-xts-plain64 --key-size 512 --hash sha256 --offset 8192 --sector-size 4096 --luks2-metadata-size 32k \
             --luks2-keyslots-size 1024k --label 'my data' --key-slot 5 --pbkdf argon2id --pbkdf-force-iterations 4 \
             --pbkdf-memory 1024 --pbkdf-parallel 2 --force-password --key-file=- /dev/vda2"
        );
        assert_eq!(
            open("/dev/vda2", "root", &flags(&luks()))[0].line(),
            "cryptsetup open --batch-mode --type luks --key-file=- --allow-discards --perf-no_read_workqueue \
             --persistent /dev/vda2 root"
        );
    }

    #[test]
    fn version_1_gets_no_option_that_it_does_not_know() {
        let mut old = Luks { version: 1, label: String::new(), sector_size: 512, ..luks() };
        old.keyslots[0] =
            Keyslot { number: 0, pbkdf: "pbkdf2".into(), iterations: 10, memory: 0, parallel: 0 };
        let line = commands(&old, "/dev/sda2")[0].line();
        assert!(line.contains("--type luks1 ") && line.contains("--pbkdf-force-iterations 1000 "), "{line}");
        assert!(!line.contains("luks2") && !line.contains("--pbkdf ") && !line.contains("sector"), "{line}");
    }

    #[test]
    fn a_saved_header_is_put_back_as_it_was() {
        let saved = Luks { sealed: true, ..luks() };
        assert_eq!(
            commands(&saved, "/dev/vda2")[0].line(),
            "cryptsetup luksHeaderRestore --batch-mode --header-backup-file \
             /run/rear/luks/22222222-2222-3333-4444-555555555555.header /dev/vda2"
        );
        // Its flags are in it.
        assert!(flags(&saved).is_empty());
        assert!(describe(&saved, "/dev/vda2").ends_with("with all its key slots"));
    }

    #[test]
    fn what_cannot_be_made_is_refused_by_name() {
        assert_eq!(refuse(&luks()), None);
        type Change = fn(&mut Luks);
        let cases: [(&str, Change); 7] = [
            ("re-encrypted", |luks| luks.requirements = vec!["online-reencrypt-v2".into()]),
            ("requires opal", |luks| luks.requirements = vec!["opal".into()]),
            ("segments crypt, crypt", |luks| luks.segments = vec!["crypt".into(), "crypt".into()]),
            ("on another device", |luks| luks.data_offset = Bytes(0)),
            ("LUKS_HEADER_RECIPIENTS", |luks| luks.data_size = Some(Bytes(4096))),
            ("hmac-md5", |luks| luks.integrity = "hmac-md5".into()),
            ("flag of-tomorrow", |luks| luks.flags = vec!["of-tomorrow".into()]),
        ];
        for (word, change) in cases {
            let mut luks = luks();
            change(&mut luks);
            let why = refuse(&luks).unwrap();
            assert!(why.contains(word), "{word}: {why}");
        }
        // The saved header brings back what no option can.
        let mut fixed = Luks { sealed: true, data_size: Some(Bytes(4096)), ..luks() };
        fixed.flags.push("of-tomorrow".into());
        assert_eq!(refuse(&fixed), None);
    }
}
