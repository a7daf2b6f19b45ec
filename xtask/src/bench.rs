//! `cargo xtask bench`: scenario A, beside the Bash program in a guest that has it as well. Prints numbers; judges
//! nothing but that both recover.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use drill::{Base, Drill, Phase, Recipe, Report};

use crate::shop::Shop;

/// What Debian's `rear` needs to make a bootable ISO with the backup in it.
const BASH_PACKAGES: &[&str] = &[
    "rear",
    "xorriso",
    "genisoimage",
    "isolinux",
    "syslinux-common",
    "parted",
    "attr",
    "file",
    "dosfstools",
];

/// The same machine's configuration for the Bash program. It never sends a line of ours: the restart itself is
/// what is waited for, and the comparison tells whether it worked.
const BASH_CONFIG: &str = r#"
OUTPUT=ISO
BACKUP=NETFS
BACKUP_URL=iso:///backup
OUTPUT_URL=file:///var/lib/rear/out
BACKUP_PROG_EXCLUDE+=( '/var/lib/rear/*' "/srv/my cache/*" )
ISO_DEFAULT=automatic
ISO_RECOVER_MODE=unattended
USE_SERIAL_CONSOLE=y
KERNEL_CMDLINE="$KERNEL_CMDLINE mitigations=off console=ttyS0,115200 unattended"
SSH_ROOT_PASSWORD='rear'
USER_INPUT_TIMEOUT=5
"#;

/// Measures both, one after the other: each has the machine for itself.
pub(crate) fn run(shop: &Shop) -> Result<ExitCode> {
    let scenario = shop.scenario("a-bios-gpt-ext4")?;
    shop.provide(true)?;
    let rear = shop.build()?;
    let (lab, _lock) = shop.lab()?;
    let base = Base::prepare(&lab, &Recipe::default())?;
    let extra = BASH_PACKAGES.iter().map(|package| (*package).to_owned()).collect();
    let bash_base = Base::prepare(&lab, &Recipe { extra, ..Recipe::default() })?;

    shop.say("measuring this program");
    let ours = Drill::new(&lab, &base, &scenario, Some(&rear)).named("bench-rust").run(Phase::Install);

    shop.say("measuring the Bash program (this takes a good half hour)");
    let mut other = scenario.clone();
    other.machine.config = Some(BASH_CONFIG.to_owned());
    other.recover.timeout = Some(3600);
    other.recover.foreign = None;
    let theirs = Drill::new(&lab, &bash_base, &other, None)
        .named("bench-bash")
        .backup_within(Duration::from_secs(2 * 3600))
        // Linux prints this when anything restarts it.
        .complete_when("reboot: Restarting system")
        .run_until(Phase::Install, Phase::Recover);

    println!("\n{:<32} {:>14} {:>14} {:>8}", "scenario A", "rear (Rust)", "rear 2.7", "ratio");
    for ((name, one), (_, two)) in ours.figures.rows().into_iter().zip(theirs.figures.rows()) {
        let number = |text: &str| text.split(' ').next().and_then(|word| word.parse::<f64>().ok());
        let ratio = match (number(&one), number(&two)) {
            (Some(one), Some(two)) if two > 0.0 => format!("{:.2}", one / two),
            _ => String::new(),
        };
        println!("{name:<32} {one:>14} {two:>14} {ratio:>8}");
    }
    println!("(peak memory is that of the largest single process)");
    for (who, report) in [("this program", &ours), ("the Bash program", &theirs)] {
        note(who, report);
    }
    std::io::Write::flush(&mut std::io::stdout()).context("cannot write")?;
    Ok(if ours.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn note(who: &str, report: &Report) {
    if let drill::Outcome::Failed(phase, reason) = &report.outcome {
        println!("{who} failed in phase {phase}: {reason}");
    }
}
