//! `rear`: Relax-and-Recover. This file leads from the command line to a workflow, and from its result to an exit
//! code; it does nothing itself.

mod cli;
mod context;
mod failure;
mod files;
mod fuse;
mod keys;
mod log;
mod point;
mod rescue;
mod ui;
mod unlock;
mod workflow;

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use clap::Parser;

use cli::{Cli, Command, ConfigAction};
use context::Context;
use failure::{Code, Failure, Result};
use ui::Ui;

// musl's own allocator costs several times the system time under threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let name = std::env::args().next().unwrap_or_default();
    let name =
        Path::new(&name).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if name == "init" && std::process::id() == 1 {
        rescue::main();
    }
    if context::is_rescue_system()
        && let Some(action) = rescue::power::Action::from_name(&name)
    {
        rescue::power::request(action);
    }
    let cli = Cli::parse();
    let common = cli.common.clone();
    let ui = Ui::new(common.json, common.verbose || common.debug, !common.non_interactive);
    let prints = cli.command.is_answered_by_printing();
    match run(cli, ui).and_then(|()| if prints { ui::printed() } else { Ok(()) }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            Ui::new(common.json, false, false).failure(&failure);
            ExitCode::from(failure.code as u8)
        }
    }
}

fn run(cli: Cli, ui: Ui) -> Result<()> {
    match &cli.command {
        Command::Help { command } => {
            let text = cli::help(command).ok_or_else(|| {
                Failure::new(Code::Usage, format!("there is no command '{}'", command.join(" ")))
                    .hint("rear help lists all commands")
            })?;
            ui::out(text.trim_end());
            return Ok(());
        }
        Command::RescueConsole { tty } => rescue::console(tty),
        Command::Config { action: ConfigAction::Convert { file } } => {
            return workflow::convert::run(&sys::Real::default(), &ui, file);
        }
        _ => {}
    }
    let cancel = sys::Cancel::on_signals()?;
    let ui = match &cli.command {
        Command::Recover(options) => ui.with_answers(&options.answer)?,
        _ => ui,
    };
    let context = Context::load(&cli.common, ui, cancel)?;
    let result = match &cli.command {
        Command::Mkbackup => workflow::mkbackup::run(&context, workflow::mkbackup::What::Both),
        Command::Mkrescue => workflow::mkbackup::run(&context, workflow::mkbackup::What::RescueOnly),
        Command::Mkbackuponly => workflow::mkbackup::run(&context, workflow::mkbackup::What::BackupOnly),
        Command::Recover(options) => workflow::recover::run(&context, options),
        Command::Mountonly(options) => workflow::mountonly::run(&context, options),
        Command::List(options) => workflow::list::run(&context, options),
        Command::Verify(options) => workflow::verify::run(&context, options),
        Command::Restore(options) => workflow::restore::run(&context, options),
        Command::Mount(options) => workflow::mount::run(&context, options),
        Command::Dump => workflow::dump::run(&context),
        Command::Savelayout => workflow::layout::save(&context),
        Command::Checklayout => workflow::layout::check(&context),
        Command::Layout(options) => workflow::layout::show(&context, options),
        Command::Help { .. } | Command::RescueConsole { .. } | Command::Config { .. } => Ok(()),
    };
    // Whatever failed because of the stop flag is a stop, however the room worded it.
    match result {
        Err(failure) if context.cancel.is_raised() && failure.code != Code::Incomplete => {
            let kept = if context.disks_written.load(Ordering::SeqCst) {
                "the disks are partly written; run rear recover again: it continues where it stopped"
            } else {
                "what was half-made has been removed; what was there before is unchanged"
            };
            let message = match failure.message.as_str() {
                stopped @ "stopped by a signal" => stopped.to_owned(),
                other => format!("stopped by a signal ({other})"),
            };
            Err(Failure::new(Code::Stopped, message).hint(failure.hint.as_deref().unwrap_or(kept)))
        }
        result => result,
    }
}
