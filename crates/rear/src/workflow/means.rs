//! Files that come back by other means than this program's own: a program of the user (BACKUP=EXTERNAL,
//! REQUESTRESTORE_COMMAND), or an operator. Success is never taken on trust: a machine that could start must be there
//! afterwards.

use std::path::{Component, Path, PathBuf};

use image::Means;
use sys::{Cmd, Sys};

use super::mkbackup::HOOK_LIMIT;
use super::preflight::Refusals;
use crate::context::Context;
use crate::failure::{Failure, Result};

/// The question whether the files were restored.
pub const RESTORE_DONE: &str = "RESTORE_DONE";
/// The variable in which programs find the directory that becomes `/`, as in the Bash program.
const TARGET_VARIABLE: &str = "TARGET_FS_ROOT";

/// What the configuration says, for the rescue system.
pub fn of(settings: &config::Settings) -> Means {
    let external = settings.backup == config::Backup::External;
    let request = settings.backup == config::Backup::RequestRestore;
    let when = |wanted: bool, argv: &[String]| if wanted { argv.to_vec() } else { Vec::new() };
    let mut restore = when(external, &settings.external_restore);
    restore.extend(when(request, &settings.requestrestore_command));
    Means {
        text: if request { settings.requestrestore_text.clone() } else { String::new() },
        restore,
        check: when(external, &settings.external_check),
        ignore_errors: external && settings.external_ignore_errors == config::Tristate::Yes,
        rsync_options: settings.backup_rsync_options.clone(),
        reach: image::Reach::default(),
    }
}

/// Refuses what a later stage would find missing, and asks the user's own check.
pub fn check(context: &Context, refusals: &mut Refusals) {
    let settings = context.settings();
    let mut named = vec![
        ("EXTERNAL_BACKUP", &settings.external_backup),
        ("EXTERNAL_RESTORE", &settings.external_restore),
        ("EXTERNAL_CHECK", &settings.external_check),
    ];
    match settings.backup {
        config::Backup::External => {}
        config::Backup::RequestRestore => {
            named = vec![("REQUESTRESTORE_COMMAND", &settings.requestrestore_command)];
        }
        _ => return,
    }
    for (name, argv) in named {
        if let Some(program) = argv.first()
            && context.sys.which(program).is_none()
        {
            refusals.add(format!("{name} names {program}, which is no program of this machine"));
        }
    }
    if settings.backup == config::Backup::External
        && let Err(failure) = run(context, "EXTERNAL_CHECK", &settings.external_check, None)
    {
        refusals.add(failure.message);
    }
}

/// Saves the files by the user's program, where that is the method.
pub fn save(context: &Context) -> Result<()> {
    let settings = context.settings();
    if settings.backup != config::Backup::External {
        return Ok(());
    }
    match run(context, "EXTERNAL_BACKUP", &settings.external_backup, None) {
        Err(failure) if settings.external_ignore_errors == config::Tristate::Yes => {
            context.ui.warn(format!("EXTERNAL_IGNORE_ERRORS is set, so this is no failure: {failure}"));
            Ok(())
        }
        result => result,
    }
}

/// Asks the user's check in a recovery, before any disk is written.
pub fn prove(context: &Context, means: &Means) -> Result<()> {
    run(context, "EXTERNAL_CHECK", &means.check, None)
        .map_err(|failure| Failure::refused(failure.message).hint("no disk was written to"))
}

fn run(context: &Context, name: &str, argv: &[String], root: Option<&Path>) -> Result<()> {
    let Some((program, arguments)) = argv.split_first() else { return Ok(()) };
    let stage = context.ui.stage("external");
    let mut cmd = Cmd::new(program).args(arguments.iter().cloned()).timeout(HOOK_LIMIT);
    if let Some(root) = root {
        cmd = cmd.env(TARGET_VARIABLE, root.display().to_string());
    }
    context.sys.run(&cmd).map_err(|error| Failure::from(error).during(name))?;
    stage.done(format!("{name} ran"));
    Ok(())
}

/// Has the files restored below `root`, and goes on only when a machine is there.
pub fn restore(context: &Context, means: &Means, root: &Path, problems: &mut Vec<String>) -> Result<()> {
    if !means.restore.is_empty() {
        match run(context, "the program that restores the files", &means.restore, Some(root)) {
            Err(failure) if means.ignore_errors => problems.push(failure.message),
            result => result?,
        }
        let missing = missing(root);
        return if missing.is_empty() { Ok(()) } else { Err(absent(root, &missing)) };
    }
    let text = match means.text.trim() {
        "" => "This recovery point has no archive: restore the files there now, from another console.",
        text => text,
    };
    context.ui.say(format!("The storage is ready and mounted below {}. {text}", root.display()));
    loop {
        let question = "Type 'done' when the files are restored, or 'stop':";
        let answer = context.ui.ask(RESTORE_DONE, question, &context.cancel)?;
        if answer == "stop" {
            return Err(Failure::failed("the files were not restored")
                .hint("run rear recover again: finished steps are not repeated"));
        }
        if answer != "done" {
            if context.ui.answered(RESTORE_DONE).is_some() {
                return Err(Failure::failed(format!("'{answer}' is no answer to {RESTORE_DONE}")));
            }
            continue;
        }
        let missing = missing(root);
        if missing.is_empty() {
            return Ok(());
        }
        let failure = absent(root, &missing);
        // An answer that was given in advance would be the same for ever.
        if context.ui.answered(RESTORE_DONE).is_some() {
            return Err(failure);
        }
        context.ui.warn(failure.message);
    }
}

fn absent(root: &Path, missing: &[&str]) -> Failure {
    Failure::failed(format!(
        "there is no machine below {}: it has no {}",
        root.display(),
        missing.join(", no ")
    ))
    .hint("restore the files there, and run rear recover again: finished steps are not repeated")
}

/// What a machine that could start has, and this one has not.
fn missing(root: &Path) -> Vec<&'static str> {
    let any = |paths: &[&str]| paths.iter().any(|path| inside(root, Path::new(path)).is_some());
    let mut missing = Vec::new();
    if !any(&["/etc/fstab"]) {
        missing.push("/etc/fstab");
    }
    if !any(&[
        "/sbin/init",
        "/usr/sbin/init",
        "/lib/systemd/systemd",
        "/usr/lib/systemd/systemd",
        "/bin/init",
    ]) {
        missing.push("init");
    }
    if !has_kernel(root) {
        missing.push("kernel");
    }
    missing
}

fn has_kernel(root: &Path) -> bool {
    let names = |dir: &str| -> Vec<PathBuf> {
        let Some(dir) = inside(root, Path::new(dir)) else { return Vec::new() };
        let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
        entries.flatten().map(|entry| entry.path()).collect()
    };
    let is_kernel = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let starts = ["vmlinuz", "vmlinux", "image", "kernel", "bzimage", "linux"];
        starts.iter().any(|start| name.starts_with(start)) && path.is_file()
    };
    // Some systems have it beside its modules, others as a unified image on the EFI system partition.
    names("/boot").iter().any(is_kernel)
        || ["/lib/modules", "/usr/lib/modules"]
            .iter()
            .flat_map(|dir| names(dir))
            .any(|dir| dir.join("vmlinuz").is_file())
        || ["/boot/efi/EFI/Linux", "/efi/EFI/Linux", "/boot/EFI/Linux"]
            .iter()
            .any(|dir| !names(dir).is_empty())
}

/// The file that a path of the restored machine leads to, with every link taken inside of it.
fn inside(root: &Path, path: &Path) -> Option<PathBuf> {
    let mut waiting: Vec<PathBuf> = vec![path.to_owned()];
    let (mut below, mut links) = (PathBuf::new(), 0);
    while let Some(next) = waiting.pop() {
        let mut parts = next.components();
        let first = parts.next();
        let rest = parts.as_path().to_owned();
        if !rest.as_os_str().is_empty() {
            waiting.push(rest);
        }
        match first {
            Some(Component::RootDir) => below = PathBuf::new(),
            Some(Component::ParentDir) => _ = below.pop(),
            Some(Component::Normal(name)) => {
                let step = below.join(name);
                match std::fs::read_link(root.join(&step)) {
                    Ok(target) => {
                        links += 1;
                        if links > 40 {
                            return None;
                        }
                        waiting.push(target);
                    }
                    Err(_) => below = step,
                }
            }
            _ => {}
        }
    }
    let found = root.join(below);
    found.symlink_metadata().is_ok().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in ["etc", "boot", "usr/lib/systemd", "usr/sbin"] {
            std::fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        for name in ["etc/fstab", "boot/vmlinuz-6.1", "usr/lib/systemd/systemd"] {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        std::os::unix::fs::symlink("usr/sbin", dir.path().join("sbin")).unwrap();
        std::os::unix::fs::symlink("/lib/systemd/systemd", dir.path().join("usr/sbin/init")).unwrap();
        std::os::unix::fs::symlink("usr/lib", dir.path().join("lib")).unwrap();
        dir
    }

    #[test]
    fn a_machine_that_could_start_is_known() {
        let dir = machine();
        assert_eq!(missing(dir.path()), [""; 0]);
        // Links lead inside of it: the init of the rescue system does not count.
        assert_eq!(
            inside(dir.path(), Path::new("/sbin/init")),
            Some(dir.path().join("usr/lib/systemd/systemd"))
        );
    }

    #[test]
    fn nothing_restored_is_no_machine() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(missing(dir.path()), ["/etc/fstab", "init", "kernel"]);
        let dir = machine();
        std::fs::remove_file(dir.path().join("usr/lib/systemd/systemd")).unwrap();
        std::fs::remove_file(dir.path().join("boot/vmlinuz-6.1")).unwrap();
        std::os::unix::fs::symlink("loop", dir.path().join("loop")).unwrap();
        assert_eq!(missing(dir.path()), ["init", "kernel"]);
        assert_eq!(inside(dir.path(), Path::new("/loop")), None);
    }

    /// A rescue system in which these questions are answered in advance.
    fn context(answers: &[&str]) -> Context {
        let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        Context {
            ui: crate::ui::Ui::new(false, false, false).with_answers(&answers).unwrap(),
            ..Context::of_test(config::defaults("web1"))
        }
    }

    /// A program that runs these lines.
    fn program(dir: &Path, lines: &str) -> Vec<String> {
        let path = dir.join("program");
        std::fs::write(&path, format!("#!/bin/sh\n{lines}\n")).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        vec![path.display().to_string(), "an argument".into()]
    }

    #[test]
    fn a_program_that_restores_nothing_is_no_success() {
        let (dir, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (context, mut problems) = (context(&[]), Vec::new());
        let means = |lines: &str| Means { restore: program(dir.path(), lines), ..Means::default() };
        let failure = restore(&context, &means("exit 0"), root.path(), &mut problems).unwrap_err();
        assert!(failure.message.contains("/etc/fstab, no init, no kernel"), "{}", failure.message);
        assert!(restore(&context, &means("exit 3"), root.path(), &mut problems).is_err());
        let full = "mkdir -p $TARGET_FS_ROOT/etc $TARGET_FS_ROOT/boot $TARGET_FS_ROOT/sbin
cd $TARGET_FS_ROOT && touch etc/fstab boot/vmlinuz sbin/init \"$1\"";
        restore(&context, &means(full), root.path(), &mut problems).unwrap();
        assert!(root.path().join("an argument").exists() && problems.is_empty());
        // A failure that shall be ignored is named all the same.
        let ignoring = Means { ignore_errors: true, ..means("exit 3") };
        assert!(restore(&context, &means("exit 3"), root.path(), &mut problems).is_err());
        restore(&context, &ignoring, root.path(), &mut problems).unwrap();
        assert_eq!(problems.len(), 1, "{problems:?}");
    }

    #[test]
    fn an_operator_who_says_done_is_not_believed() {
        let empty = tempfile::tempdir().unwrap();
        let (means, mut problems) = (Means::default(), Vec::new());
        let done = context(&["RESTORE_DONE=done"]);
        assert!(restore(&done, &means, empty.path(), &mut problems).is_err());
        let full = machine();
        restore(&done, &means, full.path(), &mut problems).unwrap();
        for answer in ["RESTORE_DONE=stop", "RESTORE_DONE=maybe"] {
            assert!(restore(&context(&[answer]), &means, full.path(), &mut problems).is_err(), "{answer}");
        }
        assert!(problems.is_empty());
    }

    #[test]
    fn a_check_that_fails_stops_before_any_write() {
        let dir = tempfile::tempdir().unwrap();
        let means = Means { check: program(dir.path(), "exit 1"), ..Means::default() };
        let failure = prove(&context(&[]), &means).unwrap_err();
        assert_eq!(failure.code, crate::failure::Code::Refused);
        assert!(prove(&context(&[]), &Means::default()).is_ok());
    }

    #[test]
    fn a_first_script_that_fails_stops_the_run() {
        let dir = tempfile::tempdir().unwrap();
        let context = context(&[]);
        let hook = |lines: &str| {
            let argv = program(dir.path(), lines);
            crate::workflow::mkbackup::hook(&context.sys, &context, "PRE_BACKUP_SCRIPT", &argv)
        };
        let failure = hook("echo frozen >&2; exit 9").unwrap_err();
        assert!(failure.message.contains("frozen"), "{}", failure.message);
        assert!(failure.hint.unwrap().contains("no backup was made"));
        assert!(hook("exit 0").is_ok());
    }

    #[test]
    fn each_method_brings_its_own_programs() {
        let dir = tempfile::tempdir().unwrap();
        let of_text = |text: &str| {
            std::fs::write(dir.path().join("local.conf"), text).unwrap();
            let sources = config::Sources { dir: dir.path(), extra: &[], hostname: "host" };
            of(&config::load(&sources).unwrap().settings)
        };
        let external =
            "EXTERNAL_BACKUP=/s EXTERNAL_RESTORE='/r all' EXTERNAL_CHECK=/c EXTERNAL_IGNORE_ERRORS=yes\n";
        let request = "REQUESTRESTORE_TEXT=hello REQUESTRESTORE_COMMAND=/q\n";
        let means = of_text(&format!("BACKUP=EXTERNAL\n{external}{request}"));
        assert_eq!(
            (means.restore, means.check),
            (vec!["/r".to_owned(), "all".into()], vec!["/c".to_owned()])
        );
        assert!(means.ignore_errors && means.text.is_empty());
        let means = of_text(&format!("BACKUP=REQUESTRESTORE\n{external}{request}"));
        assert_eq!((means.restore, means.text), (vec!["/q".to_owned()], "hello".to_owned()));
        assert!(means.check.is_empty() && !means.ignore_errors);
        assert!(of_text(&format!("BACKUP=NETFS\n{external}{request}")).restore.is_empty());
    }
}
