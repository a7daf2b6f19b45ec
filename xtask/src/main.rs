//! Developer commands: `cargo xtask demo`, `test`, `vm`, `bench`, `bench-engine`, `fuzz`, `build`, `man`.
//!
//! They build the workspace with cargo and prove it in virtual machines with the `drill` crate. What a command
//! needs on the host it installs with apt, and says so before it does.

mod bench;
mod demo;
mod engine;
mod fuzz;
mod man;
mod shop;
mod storage;
mod test;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developer commands of rear")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Shows the main job: a Debian machine is backed up, loses its disk, and comes back
    Demo {
        /// The scenario to show
        #[arg(default_value = "b-uefi-xfs")]
        scenario: String,
    },
    /// Runs all tests: format, lints, unit tests, and whole machines in VMs
    Test {
        /// Leaves the VMs out
        #[arg(long)]
        no_vm: bool,
        /// Runs the scenarios that are not for every change as well
        #[arg(long)]
        all: bool,
    },
    /// Runs one scenario in VMs
    Vm {
        /// Its name, or the beginning of it
        #[arg(required_unless_present = "list")]
        scenario: Option<String>,
        /// Lists the scenarios
        #[arg(long)]
        list: bool,
        /// Keeps the disks (below target/drill/runs/) afterwards
        #[arg(long)]
        keep: bool,
        /// Starts with this phase and uses what an earlier, kept run left: install, backup, recover, compare, boot
        #[arg(long, default_value = "install")]
        from: drill::Phase,
        /// Another program than the one that is built now
        #[arg(long)]
        rear: Option<std::path::PathBuf>,
    },
    /// Makes storage layouts by hand in a guest, has them recreated, and compares
    Storage {
        /// Their names; NAME* takes all that begin so; none takes those for every change
        names: Vec<String>,
        /// Runs all of them
        #[arg(long)]
        all: bool,
        /// Lists them
        #[arg(long)]
        list: bool,
        /// Another program than the example `recreate` of crates/apply that is built now
        #[arg(long)]
        recreate: Option<std::path::PathBuf>,
    },
    /// Measures scenario A beside the Bash program (Debian's package `rear`)
    Bench,
    /// Measures the archive beside tar, restic, borg and mksquashfs on one tree
    BenchEngine(engine::Options),
    /// Looks for inputs that break the parsers of what a stranger may have written
    Fuzz {
        /// Their names; none takes all
        targets: Vec<String>,
        /// How long each is looked at
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Builds the static release binary
    Build,
    /// Makes the manual page and the shell completions (below target/man/)
    Man,
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<ExitCode> {
    let shop = shop::Shop::open()?;
    match Arguments::parse().command {
        Command::Demo { scenario } => demo::run(&shop, &scenario),
        Command::Test { no_vm, all } => test::run(&shop, no_vm, all),
        Command::Vm { list: true, .. } => vm::list(&shop),
        Command::Vm { scenario, keep, from, rear, .. } => {
            vm::run(&shop, &scenario.unwrap_or_default(), keep, from, rear)
        }
        Command::Storage { list: true, .. } => storage::list(&shop),
        Command::Storage { names, all, recreate, .. } => storage::run(&shop, &names, all, recreate),
        Command::Bench => bench::run(&shop),
        Command::BenchEngine(options) => engine::run(&shop, &options),
        Command::Fuzz { targets, seconds } => fuzz::run(&shop, &targets, seconds),
        Command::Man => man::run(&shop.root.join("target/man")).map(|()| ExitCode::SUCCESS),
        Command::Build => shop.build().map(|binary| {
            println!("{}", binary.display());
            ExitCode::SUCCESS
        }),
    }
}
