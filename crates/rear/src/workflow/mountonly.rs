//! `rear mountonly`: in the rescue system, the existing machine's filesystems below the target directory, whatever they
//! lie on, so that a person can look, save files or repair with `chroot`.
//!
//!     saved layout -> attach arrays, groups, containers -> mount -> bind /dev, /proc, /sys, /run
//!
//! It makes nothing and erases nothing: what is written to a disk is what mounting it writes, and with `--read-only`
//! not even that. A filesystem that is not mounted is named, and then the run has not succeeded.

use std::path::{Path, PathBuf};
use std::time::Duration;

use layout::{Layout, NodeId};
use plan::{Attach, Command, FoundMount};
use rustix::mount::MountFlags;
use sys::mount::Mount;
use sys::{Cmd, Sys};

use super::mkbackup::utc;
use super::multipath;
use super::preserve::Kept;
use super::recover::{TARGET_ROOT, rescue_config};
use crate::cli::Mountonly;
use crate::context::{Context, is_rescue_system};
use crate::failure::{Code, Failure, Result};
use crate::point::{self, Place, Seal};
use crate::rescue;

mod found;
mod undo;

/// How long to look for the medium: what the rescue system was booted from is there at once, a stick nearly.
const PATIENCE: Duration = Duration::from_secs(15);

/// How often a passphrase is asked for.
const TRIES: usize = 3;

/// Runs the workflow.
pub fn run(context: &Context, options: &Mountonly) -> Result<()> {
    if !is_rescue_system() {
        return Err(Failure::refused(
            "this is not the rescue system: the running machine has mounted its filesystems itself",
        )
        .hint("boot the rescue medium and run rear mountonly there"));
    }
    let _lock = context.begin_writing(&context.settings().logfile)?;
    if options.unmount {
        return undo::run(context);
    }
    let saved = if options.found { None } else { saved_layout(context, options)? };
    multipath::start(context, &saved.iter().collect::<Vec<_>>())?;
    let mut attached = undo::Attached::read()?;
    let mounts = match &saved {
        Some(saved) => {
            let wanted: Vec<NodeId> = saved.mounts.iter().map(|mount| mount.device.clone()).collect();
            let next = |present: &Layout, tried: &[Attach]| plan::assemble(saved, present, &wanted, tried);
            let present = attach(context, options, &mut attached, &next)?;
            // What a recovery shows at a reserved place has none in the machine.
            let mounts = plan::found_mounts(saved, &present);
            mounts.into_iter().filter(|mount| !probe::is_top(&mount.mount_point)).collect()
        }
        None => {
            let next = |present: &Layout, tried: &[Attach]| plan::assemble_found(present, tried);
            let present = attach(context, options, &mut attached, &next)?;
            found::mounts(context, options, &present)?
        }
    };
    if !mounts.iter().any(|mount| mount.mount_point == "/") {
        return Err(Failure::failed("the saved layout has no root filesystem; nothing was mounted")
            .hint("rear mountonly --found goes by what lies on the disks"));
    }
    let root = Path::new(TARGET_ROOT);
    sys::fs::create_dir_private(root)?;
    let mut problems = mount_all(context, options, root, &mounts)?;
    if is_mounted(context, root)? {
        bind_all(context, root, &mut problems)?;
    }
    conclude(context, options, root, &mounts, &problems)
}

/// What the recovery point on the medium says of the machine; `None` where there is none that can be read.
fn saved_layout(context: &Context, options: &Mountonly) -> Result<Option<Layout>> {
    if let Some(dir) = &options.from {
        return read_layout(context, dir).map(Some);
    }
    let config = rescue_config()?;
    // Kept mounted until the layout is read.
    let read = rescue::find_within(&context.sys, &config, PATIENCE)
        .map_err(|error| Failure::refused(error.to_string()))
        .and_then(|medium| {
            let dir = medium.dir.join(config.backup_dir.as_deref().unwrap_or("rear"));
            let layout = read_layout(context, &dir);
            medium.mount.unmount()?;
            layout
        });
    match read {
        Ok(layout) => Ok(Some(layout)),
        Err(failure) if context.cancel.is_raised() => Err(failure),
        Err(failure) => {
            context.ui.warn(format!(
                "there is no saved layout to go by ({}). What lies on the disks and the fstab of the root filesystem \
                 found there decide",
                failure.message
            ));
            Ok(None)
        }
    }
}

fn read_layout(context: &Context, dir: &Path) -> Result<Layout> {
    let seal = Seal::read(dir)?;
    let mut layout = Layout::from_json(&String::from_utf8_lossy(&seal.read_part(dir, point::LAYOUT)?))?;
    // What a recovery leaves as it is belongs to the machine too.
    let kept = Kept::read(&seal, &Place::Dir(dir.to_owned()), &layout)?.layout;
    layout.devices.extend(kept.devices);
    layout.groups.extend(kept.groups);
    layout.mounts.extend(kept.mounts);
    context.ui.say(format!("By the layout of {}, saved {}.", seal.hostname, utc(seal.created)));
    Ok(layout)
}

/// Attaches what `next` names, until it names nothing more; gives the machine as it is then.
fn attach(
    context: &Context,
    options: &Mountonly,
    attached: &mut undo::Attached,
    next: &dyn Fn(&Layout, &[Attach]) -> Vec<Attach>,
) -> Result<Layout> {
    let mut tried = Vec::new();
    loop {
        context.cancel.check()?;
        let present = probe::machine(&context.sys)?;
        let all = next(&present, &tried);
        if all.is_empty() {
            return Ok(present);
        }
        for one in all {
            if one.missing() > 0 {
                context.ui.warn(format!("{}: it is attached without what is not here", one.describe()));
            }
            match attach_one(context, options, &one) {
                Ok(()) => {
                    context.ui.say(format!("{:<10} {}", "attached", one.describe()));
                    attached.add(&one)?;
                }
                Err(failure) if context.cancel.is_raised() => return Err(failure),
                Err(failure) => context.ui.warn(format!("{}: {}", one.describe(), failure.message)),
            }
            tried.push(one);
        }
        // Devices of what was attached come with udev's events.
        context.sys.run(&Cmd::new("udevadm").args(["settle", "--timeout=30"]).accept(&[1]))?;
    }
}

fn attach_one(context: &Context, options: &Mountonly, one: &Attach) -> Result<()> {
    let command = cmd(&one.command(options.read_only));
    match one {
        Attach::Array { .. } => {
            let result = quietly(context, || context.sys.run(&command));
            if result.is_err()
                && let Some(undo) = one.undo()
            {
                // One that does not run keeps its members.
                let _ = context.sys.run(&cmd(&undo));
            }
            result?;
        }
        Attach::Container { uuid, name, device } => open(context, &command, uuid, name, device)?,
        Attach::Group { .. } | Attach::Pool { .. } => {
            context.sys.run(&command)?;
        }
    }
    Ok(())
}

/// Starts an array so that it stays as it is until something is written through it: no resync, no new superblock
/// (kernel `Documentation/admin-guide/md.rst`, `array_state` "read-auto").
fn quietly<T>(context: &Context, start: impl FnOnce() -> T) -> T {
    const START_READ_ONLY: &str = "/sys/module/md_mod/parameters/start_ro";
    // It may be built in, or mdadm loads it.
    let _ = context.sys.run(&Cmd::new("modprobe").args(["-b", "md-mod"]));
    let before = std::fs::read_to_string(START_READ_ONLY).unwrap_or_default();
    let set = |value: &str| {
        if let Err(error) = std::fs::write(START_READ_ONLY, value) {
            tracing::info!("{START_READ_ONLY}: {error}");
        }
    };
    set("1");
    let result = start();
    set(if before.trim() == "1" { "1" } else { "0" });
    result
}

/// Opens a container with a passphrase of one of its slots.
fn open(context: &Context, command: &Cmd, uuid: &str, name: &str, device: &str) -> Result<()> {
    let question = format!("Passphrase of the LUKS container {name} on {device} (empty: it stays closed):");
    let id = format!("LUKS_PASSPHRASE_{uuid}");
    for _ in 0..TRIES {
        let passphrase = context.ui.ask_secret(&id, &question, &context.cancel)?;
        if passphrase.is_empty() {
            return Err(Failure::refused("no passphrase was given, so it stays closed"));
        }
        match context.sys.run(&command.clone().secret(&passphrase)) {
            Ok(_) => return Ok(()),
            // cryptsetup(8): 2 no permission (bad passphrase).
            Err(sys::Error::Failed { code: Some(2), .. }) => {
                context.ui.say("This passphrase fits none of its key slots.");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::refused(format!("no passphrase fitted in {TRIES} tries")))
}

/// A command of the pure rooms as the door takes it.
fn cmd(command: &Command) -> Cmd {
    Cmd::new(&command.program).args(&command.args).timeout(Duration::from_secs(600))
}

/// Mounts everything that has a device; the rest, and what fails, is named.
fn mount_all(
    context: &Context,
    options: &Mountonly,
    root: &Path,
    mounts: &[FoundMount],
) -> Result<Vec<String>> {
    let mut missing: Vec<(&Path, String)> = Vec::new();
    for mount in mounts {
        context.cancel.check()?;
        let point = Path::new(&mount.mount_point);
        // Below one that is missing there is at best a directory of another filesystem.
        let outer = missing.iter().map(|(outer, _)| *outer).find(|outer| point.starts_with(outer));
        let result = match (&mount.device, outer) {
            (Err(reason), _) => Err(reason.clone()),
            (Ok(_), Some(outer)) => Err(format!("{} is not mounted", outer.display())),
            (Ok(device), None) => {
                let directory = below(root, point);
                mount_one(context, options, root, device, &directory, mount)
                    .map_err(|failure| failure.message)
            }
        };
        match (result, &mount.device) {
            (Ok(()), Ok(device)) => {
                context.ui.say(format!("{:<10} {device} at {}", "mounted", mount.mount_point))
            }
            (Err(reason), _) => missing.push((point, reason)),
            (Ok(()), Err(_)) => {}
        }
    }
    Ok(missing.into_iter().map(|(point, reason)| format!("{}: {reason}", point.display())).collect())
}

fn mount_one(
    context: &Context,
    options: &Mountonly,
    root: &Path,
    device: &str,
    directory: &Path,
    mount: &FoundMount,
) -> Result<()> {
    let seen = directory
        .canonicalize()
        .map_err(|error| Failure::failed(format!("its mount point cannot be used: {error}")))?;
    if seen != directory || !seen.starts_with(root) {
        return Err(Failure::failed(format!("its mount point is a link to {}", seen.display())));
    }
    if let Some(there) =
        probe::mountinfo(&context.sys)?.into_iter().rfind(|entry| Path::new(&entry.mount_point) == directory)
    {
        let same = context.sys.canonicalize(Path::new(&there.source)).ok()
            == context.sys.canonicalize(Path::new(device)).ok();
        // Mounted by an earlier run.
        return if same {
            Ok(())
        } else {
            Err(Failure::failed(format!("{} is mounted there", there.source)))
        };
    }
    load_driver(context, &mount.fs_type);
    let mut words = mount.options.clone();
    let mut flags = MountFlags::empty();
    if options.read_only {
        flags |= MountFlags::RDONLY;
        words.extend(sys::mount::untouched(&mount.fs_type).map(str::to_owned));
    }
    Mount::new(device, directory, &mount.fs_type, flags, &words.join(","))?.leave();
    Ok(())
}

/// Loads the driver of a filesystem. Whether that worked shows when it is mounted.
fn load_driver(context: &Context, fs_type: &str) {
    if let Err(error) = context.sys.run(&Cmd::new("modprobe").args(["-b", fs_type])) {
        tracing::info!("{error}");
    }
}

/// A directory of the machine, below where its root is mounted.
fn below(root: &Path, point: &Path) -> PathBuf {
    match point.strip_prefix("/") {
        Ok(rest) if rest.as_os_str().is_empty() => root.to_owned(),
        Ok(rest) => root.join(rest),
        Err(_) => root.join(point),
    }
}

fn is_mounted(context: &Context, directory: &Path) -> Result<bool> {
    let mounts = probe::mountinfo(&context.sys)?;
    Ok(mounts.iter().any(|entry| Path::new(&entry.mount_point) == directory))
}

/// What programs of the machine expect when they run in it with `chroot`.
fn bind_all(context: &Context, root: &Path, problems: &mut Vec<String>) -> Result<()> {
    // The last two only where the rescue system has them.
    for (name, always) in [
        ("dev", true),
        ("proc", true),
        ("sys", true),
        ("run", true),
        ("dev/pts", false),
        ("sys/firmware/efi/efivars", false),
    ] {
        let (here, there) = (Path::new("/").join(name), root.join(name));
        if is_mounted(context, &there)? || (!always && !is_mounted(context, &here)?) {
            continue;
        }
        match Mount::bind_one(&here, &there) {
            Ok(mount) => mount.leave(),
            Err(error) => problems.push(format!("/{name} of the rescue system, for chroot: {error}")),
        }
    }
    Ok(())
}

fn conclude(
    context: &Context,
    options: &Mountonly,
    root: &Path,
    mounts: &[FoundMount],
    problems: &[String],
) -> Result<()> {
    let root_shown = root.display();
    let undo = "rear mountonly --unmount takes everything down again";
    if problems.is_empty() {
        let how = if options.read_only { "read-only" } else { "for reading and writing" };
        context.ui.say(format!(
            "All {} filesystem(s) of the machine are mounted below {root_shown}, {how}, with /dev, /proc, /sys and /run.\n\
             chroot {root_shown} works in the machine itself; {undo}.",
            mounts.len()
        ));
        return Ok(());
    }
    let list: String = problems.iter().map(|problem| format!("\n- {problem}")).collect();
    let message = if is_mounted(context, root)? {
        format!("the machine is mounted below {root_shown}, but not all of it; missing:{list}")
    } else {
        format!("nothing is mounted below {root_shown}:{list}")
    };
    let code = if is_mounted(context, root)? { Code::Incomplete } else { Code::Failed };
    Err(Failure::new(code, message)
        .hint(format!("remove the cause and run rear mountonly again, which adds what is missing. {undo}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_lie_below_the_root() {
        let root = Path::new("/mnt/local");
        assert_eq!(below(root, Path::new("/")), Path::new("/mnt/local"));
        assert_eq!(below(root, Path::new("/srv/data")), Path::new("/mnt/local/srv/data"));
    }
}
