//! `cargo xtask fuzz`: lets libFuzzer look for inputs that break a promise of our parsers (`fuzz/`), under AddressSanitizer.
//!
//! New inputs that reach further than the committed corpus are kept below `target/`, and never written into the repository.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::shop::Shop;

/// What libFuzzer's own part is built with.
const NEEDS: &[(&str, &str)] = &[("c++", "g++")];
/// The platform of the fuzzed programs: the sanitizer's library is not there for musl.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// Limits of one input: seconds, MB of the whole process, and MB at a time. Some formats may ask for 512 MiB at once.
const LIMITS: [&str; 3] = ["-timeout=20", "-rss_limit_mb=2048", "-malloc_limit_mb=640"];
/// The first is cargo-fuzz's own; what was freed is watched for a while, in fewer bytes than usual: touching new ones takes time.
const SANITIZER: &str = "detect_odr_violation=0:quarantine_size_mb=32";

/// What came of one target.
struct Report {
    name: String,
    /// Inputs that were tried.
    runs: u64,
    /// Edges of the code that they reached.
    coverage: u64,
    /// The inputs that broke something; an empty list says that the program could not be run to its end.
    found: Option<Vec<PathBuf>>,
}

/// Fuzzes these targets (all where none is named) for so many seconds each. It fails when something was found.
pub(crate) fn run(shop: &Shop, names: &[String], seconds: u64) -> Result<ExitCode> {
    let all = targets(&shop.root)?;
    if let Some(unknown) = names.iter().find(|name| !all.contains(name)) {
        bail!("there is no target '{unknown}'; there are {}", all.join(", "));
    }
    let chosen = if names.is_empty() { all } else { names.to_vec() };
    let work = shop.root.join("target/fuzz");
    build(shop, &work)?;
    let mut reports = Vec::new();
    for name in chosen {
        shop.cancel.check()?;
        shop.say(&format!("{name}: {seconds} s"));
        reports.push(fuzz(shop, &work, name, seconds)?);
    }
    shop.cancel.check()?;
    println!();
    for report in &reports {
        println!("{}", report.line());
    }
    let failed: Vec<_> = reports.iter().filter(|report| report.found.is_some()).collect();
    for report in &failed {
        println!("\n{}: what happened is at the end of {}", report.name, log(&work, &report.name).display());
        for input in report.found.iter().flatten() {
            println!("again: {} {}", program(&work, &report.name).display(), input.display());
        }
    }
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Report {
    fn line(&self) -> String {
        let crashes = self.found.as_ref().map_or(0, |found| found.len().max(1));
        format!("{:<12} {:>9} runs  {:>6} edges  {crashes} crashes", self.name, self.runs, self.coverage)
    }
}

/// The names of all targets.
fn targets(root: &Path) -> Result<Vec<String>> {
    let dir = root.join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&dir).with_context(|| format!("list {}", dir.display()))? {
        let path = entry?.path();
        if let Some(name) = path.file_stem().filter(|_| path.extension().is_some_and(|end| end == "rs")) {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Builds all targets; cargo-fuzz is installed below `target/` where it is missing.
fn build(shop: &Shop, work: &Path) -> Result<()> {
    let sys = sys::Real::new(shop.cancel.clone());
    shop.install(&sys, drill::missing(&sys, NEEDS))?;
    let tools = shop.root.join("target/tools");
    let tool = tools.join("bin/cargo-fuzz");
    if !tool.exists() {
        let tools = tools.to_string_lossy();
        shop.cargo(&["install", "--quiet", "--locked", "cargo-fuzz", "--root", &tools])?;
    }
    shop.say("cargo fuzz build");
    let status = Command::new(tool)
        .args(["build", "--sanitizer", "address", "--target", TARGET, "--target-dir"])
        .arg(work)
        // The sanitizer's switch is not stable; the compiler is.
        .env("RUSTC_BOOTSTRAP", "1")
        .current_dir(&shop.root)
        .status()?;
    shop.cancel.check()?;
    if !status.success() {
        bail!("the fuzz targets cannot be built");
    }
    Ok(())
}

/// Where the build puts a target.
fn program(work: &Path, name: &str) -> PathBuf {
    work.join(TARGET).join("release").join(name)
}

fn log(work: &Path, name: &str) -> PathBuf {
    work.join(format!("{name}.log"))
}

fn fuzz(shop: &Shop, work: &Path, name: String, seconds: u64) -> Result<Report> {
    let (found, artifacts) = (work.join("corpus").join(&name), work.join("artifacts").join(&name));
    for dir in [&found, &artifacts] {
        std::fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    }
    let before = inputs(&artifacts)?;
    let path = log(work, &name);
    let file = File::create(&path).with_context(|| format!("write {}", path.display()))?;
    let mut command = Command::new(program(work, &name));
    // It writes into the first.
    command.arg(&found).arg(shop.root.join("fuzz/corpus").join(&name));
    command.arg(format!("-max_total_time={seconds}")).args(LIMITS).arg("-print_final_stats=1");
    command.arg(format!("-artifact_prefix={}/", artifacts.display()));
    command.env("ASAN_OPTIONS", SANITIZER);
    let dictionary = shop.root.join("fuzz/dictionaries").join(&name);
    if dictionary.exists() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    let status = command.stdout(file.try_clone()?).stderr(file).current_dir(work).status()?;
    let (runs, coverage) = figures(&String::from_utf8_lossy(&std::fs::read(&path)?));
    let found = if status.success() {
        None
    } else {
        Some(inputs(&artifacts)?.into_iter().filter(|input| !before.contains(input)).collect())
    };
    Ok(Report { name, runs, coverage, found })
}

fn inputs(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

/// How many inputs libFuzzer has tried, and how many edges they reached, from what it says.
fn figures(said: &str) -> (u64, u64) {
    let mut figures = (0, 0);
    for line in said.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let behind = |word: &str| {
            let at = words.iter().position(|one| *one == word)?;
            words.get(at + 1)?.parse::<u64>().ok()
        };
        // `#8192 pulse cov: 3120 ft: 9004 …`
        let count = words.first().and_then(|word| word.strip_prefix('#')?.parse().ok());
        figures.0 = behind("stat::number_of_executed_units:").or(count).unwrap_or(figures.0).max(figures.0);
        figures.1 = behind("cov:").unwrap_or(figures.1).max(figures.1);
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_in_what_libfuzzer_says() {
        let said = "INFO: seed corpus: files: 9\n#10\tINITED cov: 300 ft: 900 corp: 9/4Kb\n\
                    #4096\tpulse  cov: 3120 ft: 9004 corp: 40/12Kb\nstat::number_of_executed_units: 5000\n";
        assert_eq!(figures(said), (5000, 3120));
        assert_eq!(figures("#77\tNEW    cov: 12 ft: 13\n==1== ERROR: libFuzzer: deadly signal\n"), (77, 12));
        assert_eq!(figures(""), (0, 0));
    }

    #[test]
    fn every_target_has_a_corpus() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for name in targets(root).unwrap() {
            assert!(!inputs(&root.join("fuzz/corpus").join(&name)).unwrap().is_empty(), "{name}");
        }
    }
}
