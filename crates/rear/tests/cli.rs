//! The program from outside: what it refuses, what it says, how it ends.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

use std::os::unix::process::CommandExt;
use std::path::Path;

use assert_cmd::Command;

fn rear(config_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rear"));
    command.env_clear().arg("-c").arg(config_dir);
    command
}

/// Exit code and standard error of `rear dump` with this local.conf.
fn dump(local_conf: &str) -> (i32, String, String) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("local.conf"), local_conf).unwrap();
    let output = rear(dir.path()).arg("dump").output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_wrong_configuration_is_refused_with_file_line_and_the_right_form() {
    let cases: [(&str, &[&str]); 7] = [
        ("\nOUTPUT=iso\n", &["local.conf:2", "OUTPUT", "ISO"]),
        ("BACKUP_ULR=iso:///backup\n", &["local.conf:1", "BACKUP_ULR", "BACKUP_URL"]),
        ("OUTPUT=ISO\nISO_PREFIX='abc\n", &["local.conf:2", "quote"]),
        ("BACKUP_PROG_EXCLUDE=\"/a\" \"/b\"\n", &["local.conf:1", "BACKUP_PROG_EXCLUDE", "(", ")"]),
        ("ISO_PREFIX=$(hostname)\n", &["local.conf:1", "rear config convert"]),
        ("OUTPUT=PXE\n", &["local.conf:1", "PXE", "not supported"]),
        ("BACKUP=NETFS\nBACKUP_URL=nfs://server/path\n", &["local.conf:2", "nfs"]),
    ];
    for (text, wanted) in cases {
        let (code, _, error) = dump(text);
        assert_eq!(code, 2, "{text}: {error}");
        for word in wanted {
            assert!(error.contains(word), "'{word}' is missing in the error for {text:?}:\n{error}");
        }
    }
}

#[test]
fn all_errors_of_a_file_are_told_at_once() {
    let (code, _, error) = dump("OUTPUT=iso\nBACKUP_ULR=x\n");
    assert_eq!(code, 2);
    assert!(error.contains("local.conf:1") && error.contains("local.conf:2"), "{error}");
}

#[test]
fn a_configuration_of_the_bash_program_works_unchanged() {
    let text = r#"OUTPUT=ISO
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
    let (code, out, error) = dump(text);
    assert_eq!((code, error.as_str()), (0, ""));
    assert!(out.contains("local.conf : OK"), "{out}");
    assert!(out.contains("site.conf : missing/empty"), "{out}");
    let line =
        |name: &str| out.lines().find(|line| line.trim_start().starts_with(name)).unwrap_or("").to_owned();
    assert!(line("BACKUP_PROG_EXCLUDE=").contains("/srv/my cache/*"), "{out}");
    assert!(line("KERNEL_CMDLINE=").contains("mitigations=off"), "{out}");
    assert!(line("ISO_DEFAULT=").contains("local.conf:6"), "{out}");
    assert!(line("ISO_VOLID=").ends_with("# default"), "{out}");
}

#[test]
fn a_secret_is_never_shown() {
    let (code, out, error) = dump("SSH_ROOT_PASSWORD=$'canary\\'\"$\\\\ ü'\n");
    assert_eq!(code, 0, "{error}");
    assert!(
        out.contains("SSH_ROOT_PASSWORD=") && !out.contains("canary") && !error.contains("canary"),
        "{out}"
    );
}

#[test]
fn dump_is_data_with_json() {
    let dir = tempfile::tempdir().unwrap();
    let output = rear(dir.path()).args(["--json", "dump"]).output().unwrap();
    let data: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let settings = data["settings"].as_array().unwrap();
    let one = |name: &str| settings.iter().find(|one| one["name"] == name).unwrap();
    assert_eq!(one("BACKUP_URL")["origin"], "default");
    assert_eq!(one("BACKUP_URL")["value"], "iso:///backup");
    assert_eq!(one("MODULES")["value"], serde_json::json!(["all_modules"]));
    assert_eq!(data["files"][0]["present"], false);
}

#[test]
fn a_named_configuration_file_that_is_missing_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let output = rear(dir.path()).args(["-C", "nosuch", "dump"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nosuch"));
}

#[test]
fn mountonly_refuses_on_a_running_machine() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in
        [&["mountonly"][..], &["mountonly", "--unmount"], &["mountonly", "--found", "--read-only"]]
    {
        let output = rear(dir.path()).args(arguments).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{error}");
        assert!(
            error.contains("not the rescue system") && error.contains("boot the rescue medium"),
            "{error}"
        );
    }
}

#[test]
fn recover_refuses_on_a_running_machine() {
    if !sys::info::is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let output = rear(dir.path()).arg("recover").output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("rescue system"));
}

#[test]
fn an_ordinary_user_is_told_to_be_root() {
    if !sys::info::is_root() {
        eprintln!("skipped: needs root, to run as somebody else");
        return;
    }
    // The build directory may be closed to others: the program is copied to where everybody may run it.
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("rear");
    std::fs::copy(env!("CARGO_BIN_EXE_rear"), &program).unwrap();
    let open = |path: &Path| {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    };
    open(dir.path());
    open(&program);
    for command in ["mkbackup", "mkrescue", "savelayout", "checklayout", "layout"] {
        let output =
            std::process::Command::new(&program).arg(command).uid(65534).gid(65534).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{command}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("as root"), "{command}");
    }
}

#[test]
fn the_second_rear_is_told_who_is_running() {
    if !sys::info::is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("rear.log");
    std::fs::write(dir.path().join("local.conf"), format!("LOGFILE={}\n", log.display())).unwrap();
    let _lock = sys::lock::Lock::take(Path::new("/run/rear.lock")).unwrap();
    let output = rear(dir.path()).arg("mkbackup").output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    assert!(!log.exists());
}

#[test]
fn help_and_version_need_nothing() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("local.conf"), "OUTPUT=iso\n").unwrap();
    let help = rear(dir.path()).arg("help").output().unwrap();
    assert!(help.status.success());
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    for word in [
        "mkbackup",
        "mkrescue",
        "mkbackuponly",
        "recover",
        "list",
        "verify",
        "restore",
        "dump",
        "checklayout",
        "Exit codes",
    ] {
        assert!(text.contains(word), "{word} is missing:\n{text}");
    }
    let version = rear(dir.path()).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&version.stdout), format!("rear {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn help_is_there_for_one_command_and_fits_a_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let help = |words: &[&str]| rear(dir.path()).arg("help").args(words).output().unwrap();
    for words in [&["recover"][..], &["list"], &["verify"], &["restore"], &["config", "convert"], &[]] {
        let output = help(words);
        assert!(output.status.success(), "{words:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.contains(&format!("Usage: {} [OPTIONS]", [&["rear"], words].concat().join(" "))),
            "{text}"
        );
        let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(wide.is_empty(), "{wide:#?}");
    }
    let output = help(&["recovery"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no command 'recovery'"));
}

#[test]
fn output_that_does_not_arrive_is_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.conf");
    std::fs::write(&file, "KEYMAP=de\n").unwrap();
    let full = || std::fs::File::create("/dev/full").unwrap();
    for arguments in [&["dump"][..], &["help"], &["config", "convert", file.to_str().unwrap()]] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rear"));
        let output = command.arg("-c").arg(dir.path()).args(arguments).stdout(full()).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(4), "{arguments:?}: {error}");
        assert!(error.contains("could not be written"), "{arguments:?}: {error}");
    }
}

#[test]
fn a_converted_shell_program_loads() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("legacy.conf");
    let text = "OUTPUT=ISO\nif true; then ISO_PREFIX=\"rear-$(echo x)\"; fi\n\
                for d in a b; do BACKUP_PROG_EXCLUDE+=( \"/srv/$d dir/*\" ); done\n";
    std::fs::write(&file, text).unwrap();
    let (code, _, error) = dump(text);
    assert_eq!(code, 2, "{error}");
    let output = rear(dir.path()).args(["config", "convert"]).arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (code, out, error) = dump(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(code, 0, "{error}");
    assert!(out.contains("rear-x") && out.contains("/srv/b dir/*"), "{out}");
}
