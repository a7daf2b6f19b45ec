//! Configuration files as users have them: good ones load, bad ones say what is wrong and what to write.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::path::{Path, PathBuf};

use config::{Config, Errors, IsoDefault, Location, Origin, Severity, Sources, SshFiles, Tristate, load};

/// Loads a directory with this `local.conf`.
fn local(text: impl AsRef<[u8]>) -> (tempfile::TempDir, Result<Config, Errors>) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("local.conf"), text).unwrap();
    let result = load_dir(dir.path(), &[]);
    (dir, result)
}

fn load_dir(dir: &Path, extra: &[PathBuf]) -> Result<Config, Errors> {
    load(&Sources { dir, extra, hostname: "web1" })
}

fn good(text: &str) -> Config {
    match local(text).1 {
        Ok(config) => config,
        Err(errors) => panic!("{text}\n{errors}"),
    }
}

fn bad(text: impl AsRef<[u8]>) -> Errors {
    local(text).1.expect_err("must be refused")
}

/// All errors as shown, with the directory left out.
fn shown(text: &str) -> String {
    let (dir, result) = local(text);
    let errors = result.expect_err(text);
    errors
        .errors
        .iter()
        .map(|e| e.to_string() + "\n")
        .collect::<String>()
        .replace(&format!("{}/", dir.path().display()), "")
}

const SAMPLE: &str = r#"OUTPUT=ISO
BACKUP=NETFS
BACKUP_URL=iso:///backup
OUTPUT_URL=file:///var/lib/rear/out
BACKUP_PROG_EXCLUDE+=( '/var/lib/rear/*' "/srv/my cache/*" )
ISO_DEFAULT=automatic
ISO_RECOVER_MODE=unattended
USE_SERIAL_CONSOLE=y
KERNEL_CMDLINE="$KERNEL_CMDLINE mitigations=off"
SSH_ROOT_PASSWORD='rear'
"#;

#[test]
fn the_usual_file_works_unchanged() {
    let config = good(SAMPLE);
    assert_eq!(config.warnings, []);
    let s = &config.settings;
    assert_eq!(s.backup_url, Location::Iso { dir: "backup".into() });
    assert_eq!(s.output_url, Some(Location::File { path: "/var/lib/rear/out".into() }));
    assert_eq!(
        s.backup_prog_exclude,
        [
            "/tmp/*",
            "/dev/shm/*",
            "/var/tmp/rear.*",
            "/var/lib/rear/output/*",
            "/var/lib/rear/*",
            "/srv/my cache/*"
        ]
    );
    assert_eq!(s.iso_default, IsoDefault::Automatic);
    assert!(s.iso_recover_unattended);
    assert_eq!(s.use_serial_console, Tristate::Yes);
    assert_eq!(s.kernel_cmdline, "mitigations=off");
    assert_eq!(s.ssh_root_password.as_ref().map(|secret| secret.expose()), Some("rear"));
    let file = |name: &str| config.effective.iter().find(|e| e.name == name).cloned().unwrap();
    assert_eq!(file("SSH_ROOT_PASSWORD").value, "***");
    assert_eq!(file("TTY_ROOT_PASSWORD").value, "");
    assert!(matches!(file("ISO_DEFAULT").origin, Origin::File { line: 6, .. }));
    assert!(file("ISO_DEFAULT").origin.to_string().ends_with("/local.conf:6"));
    assert_eq!(file("MODULES").value, r#"("all_modules")"#);
    assert_eq!(file("MODULES").origin.to_string(), "default");
    assert!(!format!("{config:?}").contains("'rear'"));
    let json = serde_json::to_string(s).unwrap();
    assert!(!json.contains("password"), "{json}");
    assert!(json.contains(r#""backup_url":"iso:///backup""#), "{json}");
}

#[test]
fn no_file_at_all_gives_a_self_contained_iso() {
    let dir = tempfile::tempdir().unwrap();
    let config = load_dir(dir.path(), &[]).unwrap();
    assert_eq!(config.settings.backup_url, Location::Iso { dir: "backup".into() });
    assert_eq!(config.settings.output_url, None);
    assert_eq!(config.settings.iso_dir, Path::new("/var/lib/rear/output"));
    assert_eq!(config.settings.iso_prefix, "rear-web1");
    assert_eq!(config.settings.logfile, Path::new("/var/log/rear/rear-web1.log"));
    assert_eq!(config.settings.ssh_files, SshFiles::AvoidSensitive);
    assert_eq!(config.files.iter().map(|f| f.present).collect::<Vec<_>>(), [false, false]);
    assert_eq!(config::defaults("web1").settings.iso_prefix, "rear-web1");
}

#[test]
fn later_files_win_and_add() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("site.conf"), "ISO_PREFIX=site\nPROGS+=( a )\nOUTPUT=iso\n").unwrap();
    std::fs::write(dir.path().join("local.conf"), "OUTPUT=ISO; PROGS+=( b )").unwrap();
    std::fs::write(dir.path().join("extra.conf"), "ISO_PREFIX=\"$ISO_PREFIX-extra\" PROGS+=(c)\n").unwrap();
    let config = load_dir(dir.path(), &["extra".into(), dir.path().join("extra.conf")]).unwrap();
    assert_eq!(config.settings.iso_prefix, "site-extra-extra");
    assert_eq!(config.settings.progs, ["a", "b", "c", "c"]);
    assert_eq!(config.files.len(), 4);

    let errors = load_dir(dir.path(), &["nix".into()]).unwrap_err().to_string();
    assert!(errors.contains("nix: The configuration file named with -C does not exist."), "{errors}");
    assert!(errors.contains("nix and") && errors.contains("nix.conf"), "{errors}");
    assert!(load_dir(&dir.path().join("no-dir"), &[]).is_err());
}

#[test]
fn the_whole_syntax() {
    let config = good(concat!(
        "# comment with ' and $(x)\n",
        "export KEYMAP=de # trailing\n",
        "PROGS=( one 'two  words' \"th\\\"ree\" # inside\n  four\\ five\n\n  $'six\\n\\x41' \"\" )\n",
        "KERNEL_CMDLINE=a\\\nb'c d'\"e ${KEYMAP}$KEYMAP \\$x \\q\"#no\n",
        "LIBS=( \"${PROGS[@]}\" last ); MODULES_LOAD=( $KEYMAP x$KEYMAP/y )\n",
        "ISO_PREFIX=${HOSTNAME}-x\n",
        "COPY_AS_IS+=( \"$VAR_DIR/x\" '/etc/*' )\n",
        "{ TTY_ROOT_PASSWORD='p w'; } 2>/dev/null\n",
        "{ SSH_ROOT_PASSWORD=\"a\\$b\" ; } 2>>/dev/$SECRET_OUTPUT_DEV\n",
        "EXCLUDE_BACKUP=( fs:/data /srv/ )\n",
        "  ISO_DEFAULT=boothd1",
    ));
    let s = config.settings;
    assert_eq!(s.keymap, "de");
    assert_eq!(s.progs, ["one", "two  words", "th\"ree", "four five", "six\nA"]);
    assert_eq!(s.kernel_cmdline, "abc de dede $x \\q#no");
    assert_eq!(s.libs, ["one", "two  words", "th\"ree", "four five", "six\nA", "last"]);
    assert_eq!(s.modules_load, ["de", "xde/y"]);
    assert_eq!(s.iso_prefix, "web1-x");
    assert_eq!(s.copy_as_is, ["/var/lib/rear/x", "/etc/*"]);
    assert_eq!(s.tty_root_password.unwrap().expose(), "p w");
    assert_eq!(s.ssh_root_password.unwrap().expose(), "a$b");
    assert_eq!(s.exclude_backup, ["/data", "/srv"]);
}

#[test]
fn bad_files_name_the_place_and_the_remedy() {
    insta::assert_snapshot!(shown(concat!(
        "OUTPUT=iso\n",
        "BACKUP_ULR=iso:///backup\n",
        "BACKUP_PROG_EXCLUDE=\"/a\" \"/b\"\n",
        "BACKUP_PROG_EXCLUDE+=/c\n",
        "ISO_PREFIX=$(hostname -s)\n",
        "KEYMAP=`locale`; ISO_DIR=${X:-/tmp}\n",
        "if [ -f /etc/x ]; then\n  USE_DHCLIENT=on\nfi\n",
        "KERNEL_CMDLINE=a b\n",
        "USE_SERIAL_CONSOLE = yes\n",
        "PROGS=( * )\n",
        "LIBS=( $NOPE )\n",
        "OUTPUT_URL=nfs://nas/rear\n",
        "BACKUP=BORG\n",
        "BACKUP_PROG_CRYPT_ENABLED=yes\n",
        "TMPDIR=/scratch\n",
        "ISO_VOLID='my label'\n",
        "MODULES=all_modules\n",
        "ISO_DIR=( /a )\n",
        "OUTPUT_PREFIX=../x\n",
        "TTY_ROOT_PASSWORD='never closed\n",
    )));
}

#[test]
fn an_unclosed_quote_is_named_where_it_was_opened() {
    let errors = bad("ISO_PREFIX=\"a\nISO_DEFAULT=foo\n");
    assert_eq!((errors.errors[0].line, errors.errors[0].column), (1, 12));
    assert!(errors.errors[0].message.contains("never closed"));
    // The rest of the file is checked all the same.
    assert_eq!(errors.errors[1].line, 2);
    // The quote of the next line closes it: the first one is to blame.
    let errors = bad("ISO_PREFIX=\"a\nKEYMAP=\"de\"\n");
    assert_eq!(errors.errors.len(), 1);
    assert_eq!((errors.errors[0].line, errors.errors[0].column), (1, 12));
    assert!(errors.errors[0].message.contains("ends only in line 2"), "{errors}");
    let errors = bad("PROGS=( a\nb\nOUTPUT=ISO\n");
    assert_eq!((errors.errors[0].line, errors.errors[0].column), (1, 7));
}

#[test]
fn secrets_never_show_in_errors() {
    for text in [
        "SSH_ROOT_PASSWORD='geheim\n",
        "SSH_ROOT_PASSWORD=geheim geheim\n",
        "SSH_ROOT_PASSWORD=( geheim )\n",
        "SSH_ROOT_PASWORD='geheim'\n",
        "SSH_ROOT_PASSWORD = geheim\n",
        "SSH_ROOT_PASSWORD=geheim$(x)\n",
        "SSH_ROOT_PASSWORD='a\ngeheim' geheim\n",
        "SSH_ROOT_PASSWORD=\"a\ngeheim$(geheim)\"\n",
        "SSH_ROOT_PASSWORD=geheim$NOPE\n",
        "KEYMAP=$(x); SSH_ROOT_PASSWORD=geheim\n",
        "BACKUP_URL=ftp://me:geheim@host/x\n",
        "BORG_PASSPHRASE=geheim; DIRECTORY_ENTRIES_TO_RECOVER=( x )\n",
        "declare SSH_ROOT_PASSWORD=geheim\n",
        "SSH_ROOT_PASSWORD=geheim\r\n",
        "SSH_ROOT_PASSWORD=~geheim\n",
        "SSH_ROOT_PASSWORD=geheim|geheim\n",
        "SSH_ROOT_PASSWORD geheim\n",
        "SSH_ROOT_PASSWORD=abc;geheim\n",
        "SSH_ROOT_PASSWORD=abc;geheim=x\n",
        "SSH_ROOT_PASSWORD=abc geheim=x\n",
        "SSH_ROOT_PASSWORD=abc$geheim\n",
        "export SSH_ROOT_PASSWORD=\"abc${geheim}\"\n",
        "SSH_ROOT_PASSWORD=\"a\ngeheim\n",
        "SSH_ROOT_PASSWORD=geheim(geheim)\n",
    ] {
        let errors = bad(text);
        let all = format!("{errors}\n{errors:?}");
        assert!(!all.contains("geheim"), "{text}\n{all}");
    }
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let errors = bad(b"KEYMAP=de\nISO_PREFIX=\xe4x\n");
    assert_eq!((errors.errors[0].line, errors.errors[0].column), (2, 12));
    assert!(errors.to_string().contains("iconv"), "{errors}");
    let errors = bad("KEYMAP=de\r\nISO_PREFIX=x\r\nOUTPUT=usb\r\n");
    assert_eq!(errors.errors.len(), 2, "{errors}");
    assert!(errors.errors[0].message.contains("3 lines contain a carriage return"));
    assert!(bad("A\0B").to_string().contains("NUL"));
    assert!(good("\u{feff}KEYMAP=de\n").settings.keymap == "de");
}

#[test]
fn the_compression_is_what_the_options_or_the_suffix_say() {
    use config::Codec;
    let of = |text: &str| {
        let made = good(text).settings.compression;
        (made.codec, made.level, made.suffix)
    };
    assert_eq!(of(""), (Codec::Zstd, None, ".zst".into()));
    assert_eq!(of("BACKUP_PROG_COMPRESS_OPTIONS=()"), (Codec::None, None, String::new()));
    assert_eq!(
        of("BACKUP_PROG_COMPRESS_OPTIONS=\"\"\nBACKUP_PROG_COMPRESS_SUFFIX=\"\""),
        (Codec::None, None, String::new())
    );
    assert_eq!(of("BACKUP_PROG_COMPRESS_SUFFIX=.gz"), (Codec::Gzip, None, ".gz".into()));
    let zstd = "BACKUP_PROG_COMPRESS_OPTIONS=( --use-compress-program=zstd\\ -T0\\ -10 )";
    assert_eq!(of(zstd), (Codec::Zstd, Some(10), ".zst".into()));
    let pigz = "BACKUP_PROG_COMPRESS_OPTIONS=( --use-compress-program=\"pigz -p 3\" )\nBACKUP_PROG_COMPRESS_SUFFIX=.tgz";
    assert_eq!(of(pigz), (Codec::Gzip, None, ".tgz".into()));
    assert_eq!(good(pigz).settings.backup_threads, 3);
    for (text, wanted) in
        [("", Tristate::Auto), ("auto", Tristate::Auto), ("yes", Tristate::Yes), ("no", Tristate::No)]
    {
        let text = if text.is_empty() { String::new() } else { format!("BACKUP_SNAPSHOT={text}") };
        assert_eq!(good(&text).settings.backup_snapshot, wanted, "{text}");
    }
    assert_eq!(good(&format!("{pigz}\nBACKUP_THREADS=2")).settings.backup_threads, 2);
    for (text, wanted) in [
        ("BACKUP_PROG_COMPRESS_OPTIONS=( --lzop )", "lzop"),
        ("BACKUP_PROG_COMPRESS_OPTIONS=( --gzip )\nBACKUP_PROG_COMPRESS_SUFFIX=.zst", "another compression"),
        ("BACKUP_PROG_COMPRESS_SUFFIX=/../x", "BACKUP_PROG_COMPRESS_SUFFIX"),
        ("BACKUP_NICE=20", "BACKUP_NICE"),
        ("BACKUP_SPLIT_SIZE=1", "at least 16"),
        ("BACKUP_IONICE=best", "BACKUP_IONICE"),
        ("BACKUP_SNAPSHOT=maybe", "auto, yes, no"),
    ] {
        assert!(bad(text).to_string().contains(wanted), "{text}");
    }
}

#[test]
fn settings_without_an_effect_say_what_happens_instead() {
    let config = good(concat!(
        "BACKUP_PROG=tar\nBACKUP_PROG_OPTIONS=( --verbose )\n",
        "BACKUP_PROG_CRYPT_ENABLED=False\nBACKUP_TYPE=\nBACKUP_SELINUX_DISABLE=0\nBACKUP_INTEGRITY_CHECK=y\n",
        "BORGBACKUP_HOST=x\nUSB_DEVICE=/dev/x\nISO_SYSLINUX_TIMEOUT=55\nAUTORESIZE_PARTITIONS=no\nEFI_STUB=n\n",
    ));
    let keys: Vec<_> = config.warnings.iter().map(|w| w.key.clone().unwrap()).collect();
    assert_eq!(keys, ["BACKUP_PROG_OPTIONS", "BORGBACKUP_HOST", "USB_DEVICE", "ISO_SYSLINUX_TIMEOUT"]);
    assert!(config.warnings.iter().all(|w| w.severity == Severity::Warning && w.hint.is_some()));
    assert_eq!(config.settings.iso_timeout, 6);
    assert_eq!(good("ISO_SYSLINUX_TIMEOUT=55 ISO_TIMEOUT=7").settings.iso_timeout, 7);
    assert_eq!(good("USER_INPUT_TIMEOUT=9").settings.iso_timeout, 9);
    for dangerous in [
        "BACKUP_PROG=rsync",
        "BACKUP_TYPE=incremental",
        "BACKUP_PROG_CRYPT_ENABLED=yes",
        "OUTPUT=USB",
        "BACKUP=TSM",
        "EXCLUDE_RESTORE=( etc )",
        "BACKUP_ONLY_INCLUDE=yes",
        "BACKUP_ONLY_INCLUDE=yes BACKUP_PROG_INCLUDE=( '/home/*' )",
        "EXCLUDE_DEVICE_MAPPING=( /dev/disk/by-id/x )",
    ] {
        assert_eq!(bad(dangerous).errors.len(), 1, "{dangerous}");
    }
}

#[test]
fn special_values() {
    assert_eq!(good("FIRMWARE_FILES=( 'No' )").settings.firmware_files, ["no"]);
    assert!(good("FIRMWARE_FILES=yes").settings.firmware_files.is_empty());
    assert_eq!(
        good("SERIAL_CONSOLE_DEVICES='/dev/ttyS0 /dev/ttyS1'").settings.serial_console_devices.len(),
        2
    );
    assert_eq!(good("SSH_FILES=no").settings.ssh_files, SshFiles::No);
    for list in ["SSH_FILES=( /a /b )", "SSH_FILES=/etc/ssh/sshd_config"] {
        let text = bad(list).to_string();
        assert!(text.contains("cannot name files yet") && text.contains("COPY_AS_IS"), "{text}");
    }
    assert!(bad("SSH_FILES=yes").to_string().contains("private keys"));
    assert_eq!(good("PRE_BACKUP_SCRIPT='/bin/x \"a b\"'").settings.pre_backup_script, ["/bin/x", "a b"]);
    assert_eq!(good("PRE_BACKUP_SCRIPT=( /bin/x 'a b' )").settings.pre_backup_script, ["/bin/x", "a b"]);
    assert!(bad("PRE_BACKUP_SCRIPT='/bin/x | y'").to_string().contains("No shell"));
    assert!(bad("PRE_BACKUP_SCRIPT=( '/bin/x a' )").to_string().contains("PRE_BACKUP_SCRIPT=( /bin/x a )"));
    assert_eq!(good("OUTPUT_URL=null").settings.output_url, Some(Location::Null));
    assert!(bad("OUTPUT_URL=iso:///backup").to_string().contains("OUTPUT_URL cannot be an iso:"));
    assert!(bad("BACKUP_PROG_EXCLUDE+=( tmp/x )").to_string().contains("/tmp/x"));
    for word in ["on", "off", "maybe"] {
        assert!(bad(format!("USE_DHCLIENT={word}")).to_string().contains("y, true, t, 1"), "{word}");
    }
    for (word, value) in [("Yes", Tristate::Yes), ("F", Tristate::No), ("", Tristate::Auto)] {
        assert_eq!(good(&format!("USE_DHCLIENT={word}")).settings.use_dhclient, value);
    }
}

#[test]
fn what_is_left_alone_is_named_as_users_write_it() {
    let settings = good(concat!(
        "EXCLUDE_VG=( vg00 /dev/vg01 )\nONLY_INCLUDE_VG=system\nEXCLUDE_MD='md0 /dev/md/x'\n",
        "EXCLUDE_RECREATE+=( fs:/data )\nEXCLUDE_RESTORE=( fs:/x '/srv/*.iso' )\nAUTOEXCLUDE_MULTIPATH=y\n",
        "AUTOEXCLUDE_USB_PATH=/media/stick/\nEXCLUDE_DEVICE_MAPPING+=( /dev/sdb )\n",
    ))
    .settings;
    assert_eq!(
        (settings.exclude_vg.len(), settings.only_include_vg.len(), settings.exclude_md.len()),
        (2, 1, 2)
    );
    assert_eq!(settings.exclude_recreate, ["fs:/data"]);
    assert_eq!(settings.exclude_restore, ["/x", "/srv/*.iso"]);
    assert_eq!(settings.autoexclude_multipath, Tristate::Yes);
    assert_eq!(settings.only_include, None);
    let only = good("BACKUP_ONLY_INCLUDE=y\nBACKUP_PROG_INCLUDE+=( / /home/ )").settings.only_include;
    assert_eq!(only.unwrap(), ["/", "/home"]);
    assert_eq!(settings.autoexclude_usb_path, ["/media/stick"]);
    assert_eq!(settings.exclude_device_mapping, ["loop*", "ram*", "zram*", "sdb"]);
}

#[test]
fn a_shell_program_is_explained_once() {
    let errors = bad("for i in 1 2; do\n echo \"a\nb\"\ndone\nf() { x; }\nsource /x\nKEYMAP=de\n");
    assert_eq!(errors.errors.len(), 1, "{errors}");
    assert!(errors.to_string().contains("rear config convert"), "{errors}");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(128))]

    /// Nothing in a file may crash the parser, and what is wrong can always be shown.
    #[test]
    fn any_text_is_read_or_refused(text in "([A-Z_]{1,6}|[=+(){}$'\"`\\\\\n #;~*@!<>|&]|\\PC|OUTPUT=|PROGS\\+=\\(|\\$\\{){0,40}") {
        if let Err(errors) = local(&text).1 {
            proptest::prop_assert!(!errors.to_string().is_empty());
        }
    }

    /// What the writer quotes, the parser reads back.
    #[test]
    fn quoted_values_come_back(value in proptest::prelude::any::<String>(), also in "[ -~äß'\"$\\\\\n\r\t]{0,12}") {
        for value in [value.replace('\0', ""), also] {
            let text = format!("TTY_ROOT_PASSWORD={}\nPROGS=( {} )\n", config::quote(&value), config::quote(&value));
            let settings = good(&text).settings;
            let read = settings.tty_root_password.map(|s| s.expose().to_owned()).unwrap_or_default();
            proptest::prop_assert_eq!(&read, &value);
            proptest::prop_assert_eq!(settings.progs.concat(), value);
        }
    }
}

#[test]
fn recipients_of_luks_headers_are_public_keys() {
    let key = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    let text = format!(
        "LUKS_HEADER_RECIPIENTS=( {key} 'ssh-ed25519 AAAA admin@site' /etc/rear/keys )\nLUKS_HEADER_PASSPHRASE=x\n"
    );
    let config = good(&text);
    assert_eq!(
        config.settings.luks_header_recipients,
        [key, "ssh-ed25519 AAAA admin@site", "/etc/rear/keys"]
    );
    assert_eq!(
        config.settings.luks_header_passphrase.map(|secret| secret.expose().to_owned()),
        Some("x".into())
    );
    let errors = shown("LUKS_HEADER_RECIPIENTS=( AGE-SECRET-KEY-1ABC )\n");
    assert!(errors.contains("holds a secret key"), "{errors}");
    let errors = shown("LUKS_HEADER_RECIPIENTS=( ssh-ed25519 AAAA )\n");
    assert!(errors.contains("is no public key") && errors.contains("in quotes"), "{errors}");
}

#[test]
fn an_archive_is_encrypted_as_asked_or_nothing_is_done() {
    let key = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    let of = |text: &str| {
        let settings = good(text).settings;
        let passphrase = settings.backup_encrypt_passphrase.map(|secret| secret.expose().to_owned());
        (settings.backup_encrypt_recipients, passphrase)
    };
    assert_eq!(of(""), (vec![], None));
    assert_eq!(of(&format!("BACKUP_ENCRYPT_RECIPIENTS=( {key} )")), (vec![key.to_owned()], None));
    assert_eq!(of("BACKUP_ENCRYPT_PASSPHRASE=geheim"), (vec![], Some("geheim".into())));
    // The Bash program's words.
    let old = "BACKUP_PROG_CRYPT_ENABLED=1\nBACKUP_PROG_CRYPT_KEY=geheim\n";
    assert_eq!(of(old), (vec![], Some("geheim".into())));
    let warned =
        good(&format!("{old}BACKUP_PROG_CRYPT_OPTIONS='/usr/bin/openssl des3 -salt -k '\n")).warnings;
    assert_eq!(warned.len(), 2);
    let all = format!("{warned:?}");
    assert!(all.contains("format of age") && all.contains("BACKUP_PROG_CRYPT_OPTIONS"), "{all}");
    assert!(!all.contains("geheim"), "{all}");
    assert_eq!(of("BACKUP_PROG_CRYPT_KEY=geheim"), (vec![], None));
    assert_eq!(of(&format!("BACKUP_ENCRYPT_RECIPIENTS=( {key} )\n{old}")), (vec![key.to_owned()], None));
    for (text, wanted) in [
        ("BACKUP_PROG_CRYPT_ENABLED=yes", "no key for it"),
        ("BACKUP_ENCRYPT_PASSPHRASE=geheim\nBACKUP_ENCRYPT_RECIPIENTS=( /etc/keys )", "both set"),
        (
            "BACKUP_PROG_CRYPT_ENABLED=1\nBACKUP_ENCRYPT_PASSPHRASE=geheim\nBACKUP_PROG_CRYPT_KEY=geheimer",
            "both set",
        ),
        ("BACKUP_ENCRYPT_RECIPIENTS=( AGE-SECRET-KEY-1GEHEIM )", "holds a secret key"),
        ("BACKUP_ENCRYPT_IDENTITY=key", "no absolute path"),
        ("BACKUP=RSYNC\nBACKUP_URL=file:///x\nBACKUP_ENCRYPT_PASSPHRASE=geheim", "would not be encrypted"),
        (
            "BACKUP_PROG=rsync\nBACKUP_URL=file:///x\nBACKUP_ENCRYPT_PASSPHRASE=geheim",
            "would not be encrypted",
        ),
        ("BACKUP=RESTIC\nBACKUP_ENCRYPT_RECIPIENTS=( /etc/keys )", "encrypts by itself"),
        (
            "BACKUP=REQUESTRESTORE\nBACKUP_PROG_CRYPT_ENABLED=1\nBACKUP_PROG_CRYPT_KEY=geheim",
            "saves no files",
        ),
        (
            "BACKUP=EXTERNAL\nEXTERNAL_BACKUP=a\nEXTERNAL_RESTORE=b\nBACKUP_ENCRYPT_PASSPHRASE=geheim",
            "EXTERNAL",
        ),
    ] {
        let errors = bad(text);
        let all = format!("{errors}\n{errors:?}");
        assert!(all.contains(wanted), "{text}\n{all}");
        assert!(!all.to_lowercase().contains("=geheim"), "{text}\n{all}");
    }
}

#[test]
fn a_link_that_leads_nowhere_is_no_missing_file() {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/mnt/not-mounted/rear.conf", dir.path().join("local.conf")).unwrap();
    let errors = load_dir(dir.path(), &[]).expect_err("its settings would be lost").to_string();
    assert!(errors.contains("local.conf") && errors.contains("symbolic link"), "{errors}");
}

#[test]
fn a_directory_in_the_place_of_a_file_is_named_as_one() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("local.conf")).unwrap();
    let errors = load_dir(dir.path(), &[]).expect_err("its settings would be lost").to_string();
    assert!(errors.contains("Remove or rename the directory"), "{errors}");
}

#[test]
fn words_of_the_bash_program_for_a_switch_are_answered() {
    assert!(shown("KEEP_BUILD_DIR=errors\n").contains("KEEP_BUILD_DIR=errors is not supported yet"));
    assert!(shown("REBUILD_INITRAMFS=auto\n").contains("Did you mean REBUILD_INITRAMFS= (empty)?"));
}

#[test]
fn a_variable_of_ones_own_leads_to_the_conversion() {
    assert!(shown("NAS=10.0.0.1\n").contains("rear config convert"), "{}", shown("NAS=10.0.0.1\n"));
}

#[test]
fn configurations_of_the_other_methods() {
    let rsync = good("BACKUP=RSYNC\nBACKUP_URL=rsync://root@nas/srv/rear\nBACKUP_RSYNC_RETENTION_DAYS=7\nBACKUP_RSYNC_OPTIONS+=( --stats --bwlimit=9 )").settings;
    assert_eq!(
        (rsync.backup, rsync.backup_url.to_string()),
        (config::Backup::Rsync, "ssh://root@nas/srv/rear".into())
    );
    assert_eq!(
        (rsync.backup_rsync_retention_days, rsync.backup_rsync_options),
        (Some(7), vec!["--bwlimit=9".to_owned()])
    );
    let netfs = good("BACKUP=NETFS\nBACKUP_PROG=rsync\nBACKUP_URL=file:///srv/rear").settings;
    assert_eq!(netfs.backup, config::Backup::Rsync);
    let external = "BACKUP=EXTERNAL\nEXTERNAL_BACKUP=\"/opt/save --all 'a b'\"\nEXTERNAL_RESTORE=( /opt/bring back )\nEXTERNAL_CHECK=/opt/ping";
    let external = good(external).settings;
    assert_eq!(external.external_backup, ["/opt/save", "--all", "a b"]);
    assert_eq!((external.external_restore.len(), external.external_check.len()), (2, 1));
    for wrong in [
        "BACKUP=RSYNC",
        "BACKUP_PROG=rsync",
        "BACKUP_URL=rsync://nas/srv",
        "BACKUP=RSYNC BACKUP_URL=iso:///backup",
        "BACKUP=EXTERNAL EXTERNAL_BACKUP=/opt/save",
        "BACKUP=EXTERNAL EXTERNAL_BACKUP='/opt/save | gzip' EXTERNAL_RESTORE=/opt/bring",
        "BACKUP_RSYNC_OPTIONS=( --inplace )",
        "RSYNC_PREFIX=a/b",
        "BACKUP_PROG=dar",
    ] {
        assert!(!bad(wrong).errors.is_empty(), "{wrong}");
    }
}
