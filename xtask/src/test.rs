//! `cargo xtask test`: everything that must hold, from the format of the source to whole machines.
//!
//! Cargo works while the guests are made; then the scenarios run two at a time. A scenario that uses another one's
//! medium follows it in the same lane.

use std::collections::VecDeque;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;

use anyhow::{Context, Result};
use drill::{Base, Drill, Lab, LayoutReport, Outcome, Phase, Recipe, Report, Scenario};

use crate::shop::Shop;
use crate::storage;

/// VMs with two processors each, on the two cores of the smallest machine that this has to run on.
const LANES: usize = 2;

/// Runs all tests. The last line that is printed is `N passed, N failed`.
pub(crate) fn run(shop: &Shop, no_vm: bool, all: bool) -> Result<ExitCode> {
    shop.provide(!no_vm)?;
    shop.provide_for_tests()?;
    let scenarios: Vec<Scenario> = if no_vm {
        Vec::new()
    } else {
        shop.catalogue()?.0.into_iter().filter(|one| one.ci || all).collect()
    };
    shop.provide_servers(&scenarios)?;
    let place = if no_vm { None } else { Some(shop.lab()?) };
    let lab = place.as_ref().map(|(lab, _)| lab);

    let mut rows: Vec<(String, bool)> = Vec::new();
    let (guests, rear) = std::thread::scope(|scope| {
        let guests = lab.map(|lab| scope.spawn(|| guests(lab, scenarios)));
        for (name, arguments) in [
            ("cargo fmt", &["fmt", "--all", "--check"][..]),
            ("cargo clippy", &["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]),
            ("cargo test", &["test", "--quiet", "--workspace"]),
        ] {
            rows.push(row(shop, name, &shop.cargo(arguments)));
        }
        make_room(shop);
        let rear = lab.map(|_| shop.build());
        let guests =
            guests.map(|thread| thread.join().map_err(|_| anyhow::anyhow!("the guests' thread died")));
        (guests, rear)
    });
    let mut reports = Vec::new();
    let mut layouts = Vec::new();
    if let (Some(lab), Some(guests), Some(rear)) = (lab, guests, rear) {
        let guests = guests.and_then(|guests| guests);
        rows.push(row(shop, "guests", &guests));
        rows.push(row(shop, "release build", &rear));
        if let (Ok(guests), Ok(rear)) = (guests, rear) {
            let storage = storage::Job::prepare(shop, lab, all);
            rows.push(row(shop, "storage guest", &storage));
            (reports, layouts) = lanes(lab, &rear, guests, storage.ok());
        }
    }
    shop.cancel.check()?;

    println!();
    for (name, passed) in &rows {
        println!("{name:<24} {}", if *passed { "passed" } else { "FAILED" });
    }
    reports.sort_by(|one, other| one.scenario.cmp(&other.scenario));
    for report in &reports {
        println!("{}", report.line());
    }
    storage::print(&layouts);
    for report in &reports {
        if let Outcome::Failed(phase, reason) = &report.outcome {
            println!("\n{} failed in phase {phase}: {reason}", report.scenario);
        }
    }
    for report in reports.iter().filter(|report| report.figures.recovery.is_some()) {
        let figures: Vec<String> =
            report.figures.rows().into_iter().map(|(name, value)| format!("{name} {value}")).collect();
        println!("{}: {}", report.scenario, figures.join(", "));
    }
    let failed = rows.iter().filter(|(_, passed)| !passed).count()
        + reports.iter().filter(|one| !one.passed()).count()
        + layouts.iter().filter(|one| one.failure.is_some()).count();
    println!("{} passed, {failed} failed", rows.len() + reports.len() + layouts.len() - failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn row<T>(shop: &Shop, name: &str, result: &Result<T>) -> (String, bool) {
    if let Err(error) = result {
        shop.say(&format!("{name} FAILED: {error:#}"));
    }
    (name.to_owned(), result.is_ok())
}

/// On a machine that is used once, what cargo made for the tests gives its room to the virtual machines.
fn make_room(shop: &Shop) {
    if std::env::var_os("CI").is_none() {
        return;
    }
    for name in ["deps", "build", "examples", "incremental"] {
        // What cannot be removed only takes space.
        let _ = std::fs::remove_dir_all(shop.root.join("target/debug").join(name));
    }
    if let Ok(free) = shop.free(&shop.root) {
        shop.say(&format!("{:.1} GB of the disk are free", free as f64 / 1e9));
    }
}

/// A scenario and the base of its machine.
type Guest = (Scenario, Base);

/// Makes the base machines and installs every scenario's machine.
fn guests(lab: &Lab, scenarios: Vec<Scenario>) -> Result<Vec<Guest>> {
    let mut guests = Vec::new();
    for scenario in scenarios {
        let base = Base::prepare(lab, &Recipe::of(&scenario)).context("the base machine cannot be made")?;
        Drill::new(lab, &base, &scenario, None)
            .install()
            .with_context(|| format!("the machine of {} cannot be installed", scenario.name))?;
        guests.push((scenario, base));
    }
    Ok(guests)
}

/// Runs the scenarios in parallel lanes, those with one medium behind each other, and the storage layouts in one guest.
fn lanes(
    lab: &Lab,
    rear: &Path,
    guests: Vec<Guest>,
    storage: Option<storage::Job>,
) -> (Vec<Report>, Vec<LayoutReport>) {
    let mut groups: Vec<Vec<Guest>> = Vec::new();
    // The one that makes the medium goes first.
    let (makers, users): (Vec<_>, Vec<_>) = guests.into_iter().partition(|(one, _)| one.source == one.name);
    for guest in makers.into_iter().chain(users) {
        match groups.iter_mut().find(|group| group[0].0.source == guest.0.source) {
            Some(group) => group.push(guest),
            None => groups.push(vec![guest]),
        }
    }
    // The longest lane starts first.
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    let queue = Mutex::new(VecDeque::from(groups));
    let storage = Mutex::new(storage);
    let reports = Mutex::new(Vec::new());
    let layouts = Mutex::new(Vec::new());
    let next = || queue.lock().ok().and_then(|mut queue| queue.pop_front());
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                let job = storage.lock().ok().and_then(|mut storage| storage.take());
                if let Some(job) = job
                    && let Ok(mut layouts) = layouts.lock()
                {
                    *layouts = job.run(lab);
                }
                while let Some(group) = next() {
                    for (scenario, base) in &group {
                        let drill = Drill::new(lab, base, scenario, Some(rear));
                        let report = drill.run(Phase::Install);
                        if report.passed() {
                            drill.sweep();
                        }
                        if let Ok(mut reports) = reports.lock() {
                            reports.push(report);
                        }
                    }
                }
            });
        }
    });
    (reports.into_inner().unwrap_or_default(), layouts.into_inner().unwrap_or_default())
}
