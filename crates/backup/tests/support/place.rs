//! Real filesystems in files, for tests that need what a temporary directory cannot promise. They are mounted in a
//! namespace of the test's thread, so no mount is left when the test ends, however it ends.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

/// Whether this test can run. Where it cannot, that is said on the terminal, past the harness: a test that proved
/// nothing must not look like one that did.
pub fn is_possible(test: &str, programs: &[&str]) -> bool {
    let lacks = |program: &&&str| {
        !["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|dir| Path::new(dir).join(program).exists())
    };
    let missing: Vec<_> = programs.iter().filter(lacks).copied().collect();
    let why = match (sys::info::is_root(), missing.as_slice()) {
        (false, _) => "it needs root".to_owned(),
        (true, []) => match sys::mount::private_namespace() {
            Ok(()) => return true,
            Err(error) => error.to_string(),
        },
        (true, missing) => format!("these programs are missing: {}", missing.join(", ")),
    };
    let _ = writeln!(std::io::stderr(), "NOT TESTED: {test}: {why}");
    false
}

/// A program that must succeed.
pub fn run(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).env("LC_ALL", "C").output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// A new filesystem of so many MiB, made by `mkfs.TYPE` and mounted below `dir`. It must be unmounted before `dir` is removed:
/// a folder with a mount in it stays, and its images with it.
pub fn filesystem(
    dir: &Path,
    name: &str,
    fs_type: &str,
    megabytes: u64,
    options: &[&str],
) -> sys::mount::Mount {
    let (image, place) = (dir.join(format!("{name}.img")), dir.join(name));
    std::fs::File::create(&image).unwrap().set_len(megabytes << 20).unwrap();
    std::fs::create_dir(&place).unwrap();
    let force = if fs_type == "ext4" { "-F" } else { "-f" };
    let (image, at) = (image.to_str().unwrap(), place.to_str().unwrap());
    run(&format!("mkfs.{fs_type}"), &[&["-q", force], options, &[image]].concat());
    run("mount", &["-o", "loop", "-t", fs_type, image, at]);
    sys::mount::Mount::adopt(place)
}
