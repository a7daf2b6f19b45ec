//! Files that are shell programs, converted by the real bash.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::path::PathBuf;

use config::{Converted, Error, Settings, Sources, convert, load};

fn converted(text: &str) -> Result<Converted, Error> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("old.conf");
    std::fs::write(&file, text).unwrap();
    convert(&sys::Real::default(), &file)
}

fn reload(converted: &Converted) -> Settings {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("local.conf"), &converted.text).unwrap();
    let extra: [PathBuf; 0] = [];
    match load(&Sources { dir: dir.path(), extra: &extra, hostname: "web1" }) {
        Ok(config) => config.settings,
        Err(errors) => panic!("{}\n{errors}", converted.text),
    }
}

#[test]
fn a_shell_program_becomes_assignments() {
    let result = converted(concat!(
        "set -u\n",
        "NAS=10.0.0.1\n",
        "if true; then OUTPUT_URL=file:///srv/$NAS; fi\n",
        "KERNEL_CMDLINE=\"$KERNEL_CMDLINE console=tty0\"\n",
        "for d in a b; do BACKUP_PROG_EXCLUDE+=( \"/srv/$d c/*\" ); done\n",
        "COPY_AS_IS=( \"${COPY_AS_IS[@]}\" /etc/x )\n",
        "MODULES=()\n",
        "SSH_ROOT_PASSWORD=$'it\\'s \"$\\\\ `ä\\n'\n",
        "SERIAL_CONSOLE_DEVICES=\"/dev/ttyS0 /dev/ttyS1\"\n",
        "PRE_BACKUP_SCRIPT=( /bin/true 'a b' )\n",
        "declare -A MAP=( [x]=y )\n",
        "IFS=:\n",
        "printf() { :; }\n",
        "echo noise >&2\n",
    ))
    .unwrap();
    let settings = reload(&result);
    assert_eq!(settings.output_url.unwrap().to_string(), "file:///srv/10.0.0.1");
    assert_eq!(settings.kernel_cmdline, "console=tty0");
    assert_eq!(settings.backup_prog_exclude[4..], ["/srv/a c/*", "/srv/b c/*"]);
    assert_eq!(settings.copy_as_is, ["/etc/x"]);
    assert!(settings.modules.is_empty());
    assert_eq!(settings.ssh_root_password.unwrap().expose(), "it's \"$\\ `ä\n");
    assert_eq!(settings.serial_console_devices, ["/dev/ttyS0", "/dev/ttyS1"]);
    assert_eq!(settings.pre_backup_script, ["/bin/true", "a b"]);
    assert!(result.text.contains("\n# NAS=$'10.0.0.1'"), "{}", result.text);
    assert!(result.text.contains("\n# d=$'b'"), "{}", result.text);
    assert!(result.warnings.iter().any(|w| w.contains("noise")), "{:?}", result.warnings);
    // Nothing that the file did not change.
    assert!(!result.text.contains("ISO_PREFIX") && !result.text.contains("BASH"), "{}", result.text);
}

#[test]
fn what_our_parser_would_refuse_is_told() {
    let result = converted("OUTPUT=USB\nBORGBACKUP_HOST=$(echo x)\n").unwrap();
    assert!(result.text.contains("OUTPUT=USB\n") && result.text.contains("BORGBACKUP_HOST=x\n"));
    assert!(result.warnings.iter().any(|w| w.starts_with("refused: OUTPUT=USB")), "{:?}", result.warnings);
}

#[test]
fn files_that_end_or_break_the_shell_are_errors() {
    assert!(matches!(converted("KEYMAP=de\nexit 3\n"), Err(Error::Ended { .. })));
    assert!(matches!(converted("set -e\nfalse\n"), Err(Error::Ended { .. })));
    let error = converted("KEYMAP=de\nif\n").unwrap_err();
    assert!(matches!(error, Error::Syntax { .. }), "{error}");
    assert!(matches!(convert(&sys::Real::default(), "/no/such".as_ref()), Err(Error::File(_))));
}

#[test]
fn secrets_are_not_in_warnings_or_errors() {
    let result = converted("set -x\nSSH_ROOT_PASSWORD=geheim\nTTY_ROOT_PASSWORD=geheim other\n").unwrap();
    assert!(!format!("{result:?}").contains("geheim"), "{result:?}");
    let error = converted("SSH_ROOT_PASSWORD=( geheim\n").unwrap_err().to_string();
    assert!(!error.contains("geheim"), "{error}");
}

#[test]
fn bash_reads_back_what_we_quote() {
    for value in ["", "it's \"$\\ `ä`", "a\r\n\tb\u{1}2", "*?[~ {a,b} !x #", "\u{85}\u{feff}é", "-n", "a=b"]
    {
        let result = converted(&format!("KEYMAP=x{}\n", config::quote(value))).unwrap();
        let line = format!("KEYMAP={}\n", config::quote(&format!("x{value}")));
        assert!(result.text.contains(&line), "{value:?}: {}", result.text);
    }
}

/// Converts `local.conf` in a directory that has these files as well, and loads the directory with the result.
fn converted_beside(site: &str, local: &str) -> (Converted, Settings) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("local.conf");
    std::fs::write(dir.path().join("site.conf"), site).unwrap();
    std::fs::write(&file, local).unwrap();
    let result = convert(&sys::Real::default(), &file).unwrap();
    std::fs::write(&file, &result.text).unwrap();
    match load(&Sources { dir: dir.path(), extra: &[], hostname: "web1" }) {
        Ok(config) => (result, config.settings),
        Err(errors) => panic!("{}\n{errors}", result.text),
    }
}

#[test]
fn what_the_site_sets_is_extended_and_set_back() {
    let (result, settings) = converted_beside(
        "ISO_DEFAULT=automatic\nBACKUP_PROG_EXCLUDE+=( '/site/*' )\nKERNEL_CMDLINE=site\n",
        concat!(
            "ISO_DEFAULT=boothd\n", // The default, but not what the site says.
            "for d in a b; do BACKUP_PROG_EXCLUDE+=( \"/$d/*\" ); done\n",
            "KERNEL_CMDLINE=\"$KERNEL_CMDLINE mine\"\n",
        ),
    );
    assert_eq!(settings.iso_default, config::IsoDefault::BootHd, "{}", result.text);
    assert_eq!(settings.backup_prog_exclude[4..], ["/site/*", "/a/*", "/b/*"], "{}", result.text);
    assert_eq!(settings.kernel_cmdline, "site mine");
    assert!(result.text.contains("BACKUP_PROG_EXCLUDE+=( '/a/*' '/b/*' )"), "{}", result.text);
    assert!(result.text.contains("site.conf, as rear reads them"), "{}", result.text);
}

#[test]
fn a_site_configuration_that_ends_the_shell_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("site.conf"), "echo no; exit 1\n").unwrap();
    std::fs::write(dir.path().join("local.conf"), "KEYMAP=de\n").unwrap();
    let error = convert(&sys::Real::default(), &dir.path().join("local.conf")).unwrap_err().to_string();
    assert!(error.contains("site.conf ended the shell") && error.ends_with("no"), "{error}");
}

#[test]
fn what_the_owner_wrote_stays_even_where_it_is_the_default() {
    let result = converted("OUTPUT=ISO\n# KEYMAP=de\nif true; then BACKUP=NETFS; fi\n").unwrap();
    assert!(
        result.text.contains("\nOUTPUT=ISO\n") && result.text.contains("\nBACKUP=NETFS\n"),
        "{}",
        result.text
    );
    assert!(!result.text.contains("KEYMAP") && !result.text.contains("OUTPUT_URL"), "{}", result.text);
}

#[test]
fn the_usual_way_to_hide_a_secret_from_traces_keeps_it() {
    let result = converted("{ SSH_ROOT_PASSWORD='a b' ; } 2>>/dev/$SECRET_OUTPUT_DEV\n").unwrap();
    assert_eq!(reload(&result).ssh_root_password.unwrap().expose(), "a b");
    assert_eq!(result.warnings, [] as [String; 0]);
}

#[test]
fn a_command_of_the_bash_program_that_is_missing_here_is_warned_about() {
    let result = converted("is_true \"$USE_DHCLIENT\" && KEYMAP=de\n").unwrap();
    assert!(result.warnings.iter().any(|w| w.contains("may have come out wrong")), "{:?}", result.warnings);
}

#[test]
fn the_path_of_the_file_is_not_taken_for_a_secret() {
    let dir = std::env::current_dir().unwrap();
    let result = converted(&format!("echo {}\n", dir.display())).unwrap();
    assert!(result.warnings[0].contains(&dir.display().to_string()), "{:?}", result.warnings);
}
