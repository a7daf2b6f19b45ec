//! `cargo xtask demo`: the main job, told step by step.

use std::process::ExitCode;

use anyhow::Result;
use drill::{Base, Drill, Phase, Recipe};

use crate::shop::Shop;

/// Shows one scenario.
pub(crate) fn run(shop: &Shop, name: &str) -> Result<ExitCode> {
    let scenario = shop.scenario(name)?;
    println!(
        "This shows what rear is for, on a throw-away Debian machine in QEMU (no hardware virtualization needed):\n\
         \x20 {}\n\
         \x20 1. the machine is installed   2. it runs `rear mkbackup`   3. its disk is thrown away: the ISO boots on a\n\
         \x20 blank one and recovers by itself   4. every file and identifier is compared   5. the machine boots.\n",
        scenario.title
    );
    shop.provide(true)?;
    let rear = shop.build()?;
    let (lab, _lock) = shop.lab()?;
    let base = Base::prepare(&lab, &Recipe::default())?;
    let drill = Drill::new(&lab, &base, &scenario, Some(&rear));
    let report = drill.run(Phase::Install);
    highlights(&drill, "rear mkbackup said", "backup/out/mkbackup.log", |_| true);
    highlights(&drill, "the console of the recovery, what rear said", "recover.serial", |line| {
        line.contains("rear:") || line.starts_with("==")
    });
    highlights(&drill, "the recovered machine", "boot/out/mounts", |_| true);
    crate::vm::print(&report);
    println!("\nAll logs: {}", drill.dir().display());
    if report.passed() {
        println!("The machine came back: every file and every identifier is as it was.");
        drill.sweep();
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

fn highlights(drill: &Drill<'_>, title: &str, log: &str, which: impl Fn(&str) -> bool) {
    let Ok(bytes) = std::fs::read(drill.dir().join(log)) else { return };
    println!("\n--- {title} ---");
    for line in String::from_utf8_lossy(&bytes).lines().map(str::trim).filter(|line| which(line)).take(60) {
        println!("  {line}");
    }
}
