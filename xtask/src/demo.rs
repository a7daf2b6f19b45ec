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
    shop.provide_servers([&scenario])?;
    let rear = shop.build()?;
    let (lab, _lock) = shop.lab()?;
    let base = Base::prepare(&lab, &Recipe::of(&scenario))?;
    let drill = Drill::new(&lab, &base, &scenario, Some(&rear));
    let report = drill.run(Phase::Install);
    highlights(&drill, "what rear mkbackup printed", "backup/out/mkbackup.log", "");
    highlights(&drill, "the console of the recovery", "recover.serial", "rear: rescue system");
    highlights(&drill, "the recovered machine", "boot/out/mounts", "");
    crate::vm::print(&report);
    println!("\nAll logs: {}", drill.dir().display());
    if report.passed() {
        println!("The machine came back: every file and every identifier is as it was.");
        drill.sweep();
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

/// Prints a log from the first line with these words on.
fn highlights(drill: &Drill<'_>, title: &str, log: &str, from: &str) {
    let Ok(bytes) = std::fs::read(drill.dir().join(log)) else { return };
    println!("\n--- {title} ---");
    for line in String::from_utf8_lossy(&bytes).lines().skip_while(|line| !line.contains(from)).take(60) {
        println!("  {}", line.trim_end());
    }
}
