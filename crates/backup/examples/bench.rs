//! Archives a tree, verifies, restores and compares it, and prints times and peak memory.
//!
//! `cargo run --release -p backup --example bench -- TREE WORKDIR [THREADS] [LEVEL]`

use std::path::{Path, PathBuf};
use std::time::Instant;

use backup::{Exclude, Options, Restore, Source, Stored};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(tree), Some(work)) = (arguments.next(), arguments.next()) else {
        return Err("usage: bench TREE WORKDIR [THREADS] [LEVEL]".into());
    };
    let mut number =
        || arguments.next().and_then(|text| text.to_str().and_then(|text| text.parse::<usize>().ok()));
    let threads = number().unwrap_or_else(sys::info::processors);
    let level = i32::try_from(number().unwrap_or(3))?;
    let options = Options { codec: backup::Codec::Zstd, level, threads, cancel: sys::Cancel::default() };
    let work = PathBuf::from(work);
    let (archive, manifest, target) = (work.join("a.tar.zst"), work.join("a.manifest"), work.join("tree"));
    std::fs::create_dir_all(&target)?;
    let source = Source {
        root: PathBuf::from(tree),
        mounts: vec![PathBuf::from("/")],
        exclude: Exclude::default(),
        skip_paths: Vec::new(),
        hollow: Vec::new(),
        views: Vec::new(),
        only: None,
    };

    let start = Instant::now();
    let file = std::fs::File::create(&archive)?;
    let made = backup::create(&source, &file, &std::fs::File::create(&manifest)?, &options, &())?;
    report("create", start);
    println!(
        "  {} files, {} bytes of content, archive {} bytes in {} frames, manifest {} bytes, {} problems",
        made.files,
        made.data_bytes,
        made.archive_bytes,
        made.frames,
        made.manifest_bytes,
        made.problems.len()
    );
    let start = Instant::now();
    backup::verify(&Stored::open(&archive)?, made.archive_bytes, &made.archive_blake3, &options, &())?;
    report("verify", start);
    let start = Instant::now();
    let restore = Restore {
        archive: &Stored::open(&archive)?,
        manifest: &manifest,
        target: &target,
        plain: Vec::new(),
        sealed: None,
        replace: true,
    };
    let restored = backup::restore(&restore, &options, &())?;
    report("restore", start);
    for problem in restored.problems.iter().take(5) {
        println!("  {}: {}", problem.path.display(), problem.detail);
    }
    let start = Instant::now();
    let compared = backup::compare(&manifest, &target, &[], &options, &())?;
    report("compare", start);
    println!("  {} differences", compared.differences.len());
    for difference in compared.differences.iter().take(5) {
        println!("  {}: {}", difference.path.display(), difference.what);
    }
    Ok(())
}

fn report(what: &str, start: Instant) {
    let status = std::fs::read_to_string(Path::new("/proc/self/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("unknown").trim();
    let (user, system) = processor_time();
    let elapsed = start.elapsed().as_secs_f64();
    println!(
        "{what:8} {elapsed:7.2} s   peak so far {peak}, processor time so far {user:.2} s user, {system:.2} s system"
    );
}

/// Seconds in this program and in the kernel, of all threads, from `/proc/self/stat` (100 ticks a second).
fn processor_time() -> (f64, f64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks: Vec<f64> = stat
        .rsplit(')')
        .next()
        .unwrap_or("")
        .split_whitespace()
        .filter_map(|field| field.parse().ok())
        .collect();
    // Behind the state letter, which is no number, the user time is the eleventh field.
    (ticks.get(10).unwrap_or(&0.0) / 100.0, ticks.get(11).unwrap_or(&0.0) / 100.0)
}
