//! BACKUP_NICE and BACKUP_IONICE: the run stands back from the programs that the machine is there for. Threads and programs
//! that are started later inherit both.

use config::IoPriority;
use sys::{Cmd, Sys};

use crate::context::Context;
use crate::failure::{Failure, Result};

/// Lowers what is to be lowered, for the rest of the run.
pub fn lower(context: &Context) -> Result<()> {
    let settings = context.settings();
    if settings.backup_nice > 0 {
        let nice = i32::from(settings.backup_nice);
        rustix::process::setpriority_process(None, nice)
            .map_err(|error| Failure::failed(format!("BACKUP_NICE={nice} cannot be set: {error}")))?;
    }
    let class: &[&str] = match settings.backup_ionice {
        IoPriority::Usual => return Ok(()),
        // The lowest of the eight levels of the usual class.
        IoPriority::Low => &["-c", "2", "-n", "7"],
        IoPriority::Idle => &["-c", "3"],
    };
    // The number of the process is that of its first thread, which starts all others.
    let own = std::process::id().to_string();
    context.sys.run(&Cmd::new("ionice").args(class.iter().copied()).args(["-p", own.as_str()])).map_err(
        |error| {
            Failure::from(error)
                .during("BACKUP_IONICE")
                .hint("nothing was done; install util-linux, or leave BACKUP_IONICE out")
        },
    )?;
    Ok(())
}
