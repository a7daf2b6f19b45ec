//! `cargo xtask vm`: one scenario, or the list of them.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use drill::{Base, Drill, Phase, Recipe, Report};

use crate::shop::Shop;

/// Prints every scenario with its title.
pub(crate) fn list(shop: &Shop) -> Result<ExitCode> {
    for scenario in shop.catalogue()?.0 {
        let when = if scenario.ci { "" } else { " [only with --all]" };
        // A closed pipe (`| head`) is no reason to fail.
        let _ = writeln!(std::io::stdout(), "{:<20} {}{when}", scenario.name, scenario.title);
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs one scenario and prints what came of it.
pub(crate) fn run(
    shop: &Shop,
    name: &str,
    keep: bool,
    from: Phase,
    rear: Option<PathBuf>,
) -> Result<ExitCode> {
    let scenario = shop.scenario(name)?;
    shop.provide(true)?;
    shop.provide_servers([&scenario])?;
    let rear = match rear {
        Some(file) => file,
        None => shop.build()?,
    };
    let (lab, _lock) = shop.lab()?;
    let base = Base::prepare(&lab, &Recipe::of(&scenario))?;
    shop.say(&format!("{}: {}", scenario.name, scenario.title));
    let drill = Drill::new(&lab, &base, &scenario, Some(&rear));
    let report = drill.run(from);
    print(&report);
    shop.say(&format!("logs are in {}", drill.dir().display()));
    if !keep && report.passed() {
        drill.sweep();
    }
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints a result and its numbers.
pub(crate) fn print(report: &Report) {
    println!("\n{}", report.line());
    for (name, value) in report.figures.rows() {
        println!("  {name:<32} {value}");
    }
    if let drill::Outcome::Failed(phase, reason) = &report.outcome {
        println!("  failed in phase {phase}: {reason}");
    }
}
