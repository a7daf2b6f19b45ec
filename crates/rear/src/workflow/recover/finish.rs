//! The end of a recovery: the machine must boot, and must tell what was done to it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use layout::NodeId;
use plan::Plan;
use serde_json::json;
use sys::Sys;
use sys::mount::{Mount, Mounts};

use super::Opened;
use super::restore::LeftOut;
use crate::context::{Context, STATE_DIR};
use crate::failure::Result;

/// Brings the boot code back and follows the whole chain from firmware to init.
pub fn boot(
    context: &Context,
    opened: &Opened,
    preserved: &plan::Preserved,
    applied: &mut apply::Applied,
    root: &Path,
    changed: &mut boot::Changed,
    problems: &mut Vec<String>,
) -> Result<()> {
    let stage = context.ui.stage("boot");
    let paths: BTreeMap<NodeId, PathBuf> =
        applied.disks.iter().map(|(id, disk)| (id.clone(), disk.path().to_owned())).collect();
    // The plan keeps the start of every partition and refuses disks with other sectors, so raw boot code, which
    // names sectors, is valid as it was captured.
    let target = boot::Target { root, layout: &opened.layout, disks: &paths, moved: false };
    let disks = &mut applied.disks;
    let mut write = |id: &NodeId, offset: u64, bytes: &[u8]| -> std::result::Result<(), String> {
        let disk = disks.get_mut(id).ok_or_else(|| format!("{id} is not a target of this recovery"))?;
        disk.write_at(offset, bytes).map_err(|error| error.to_string())
    };
    let report = boot::restore_boot(&context.sys, &opened.facts, &target, &mut write)?;
    for line in &report.done {
        context.ui.explain(line);
    }
    for warning in &report.warnings {
        context.ui.warn(warning);
    }

    let mut nodes = applied.devices.clone();
    nodes.extend(paths.clone());
    // Programs that look after the restored system's own configuration are its own as well.
    let inside = inside_mounts(root)?;
    let lvm = boot::restore_lvm_devices(&context.sys, root, &physical_volumes(opened, &nodes))?;
    for line in &lvm.done {
        context.ui.say(line);
    }
    problems.extend(lvm.problems);
    let wwids = boot::restore_wwids(root, &wwids(&context.sys, opened, &paths)?, changed)?;
    for line in &wwids.done {
        context.ui.say(line);
    }
    let stale = lvm.rebuild.or(wwids.rebuild);

    let wanted = opened.rescue.as_ref().and_then(|rescue| rescue.rebuild_initramfs);
    let reason = match wanted {
        Some(true) => Some("REBUILD_INITRAMFS is set".to_owned()),
        Some(false) => {
            problems.extend(stale.map(|why| {
                format!("the initramfs was not made again (REBUILD_INITRAMFS is off), but {why}: make it before you reboot")
            }));
            None
        }
        None if stale.is_some() => stale,
        None => boot::initramfs_needs_rebuild(&context.sys, root, &kernels(context, root)?)?,
    };
    if let Some(reason) = reason {
        context.ui.say(format!("The initramfs is rebuilt: {reason}"));
        if let Err(error) = boot::rebuild_initramfs(&context.sys, root) {
            problems
                .push(format!("the initramfs could not be rebuilt ({error}); the restored one is in place"));
        }
    }

    inside.unmount()?;
    let mut chain = boot::check_boot_code(&context.sys, &opened.facts, &paths)?;
    // A disk that the recovery left alone may still be named by fstab: what is here now counts too.
    let mut present = probe::machine(&context.sys)?;
    // So does what lies on the disks that stay as they are, although nothing of it is attached now.
    let kept = plan::still_there(&opened.kept.layout, preserved);
    let new =
        kept.devices.into_iter().filter(|device| present.device(&device.id).is_none()).collect::<Vec<_>>();
    present.devices.extend(new);
    chain.extend(boot::check_chain_with(
        root,
        &context.sys,
        &opened.facts,
        &opened.layout,
        &nodes,
        Some(&present),
    )?);
    for link in &chain {
        context.ui.explain(format!("{} {}: {}", if link.ok { "ok " } else { "BAD" }, link.what, link.detail));
        if !link.ok {
            problems.push(format!("boot chain: {}: {}", link.what, link.detail));
        }
    }
    stage.done(format!("{} links from firmware to init checked", chain.len()));
    Ok(())
}

/// UUIDs of the recovered physical volumes of LVM, with their present nodes.
fn physical_volumes(opened: &Opened, nodes: &BTreeMap<NodeId, PathBuf>) -> Vec<(String, PathBuf)> {
    let volumes = opened.layout.groups.iter().flat_map(|group| &group.physical_volumes);
    volumes
        .filter_map(|volume| Some((volume.uuid.clone(), nodes.get(volume.device.as_ref()?)?.clone())))
        .collect()
}

/// Old and new WWID of each recovered disk that was reached over several paths and is again.
fn wwids(sys: &dyn Sys, opened: &Opened, paths: &BTreeMap<NodeId, PathBuf>) -> Result<Vec<(String, String)>> {
    let wwid = |device: &layout::Device| Some(device.disk()?.multipath.as_ref()?.wwid.clone());
    let saved: Vec<(&NodeId, String)> =
        opened.layout.disks().filter_map(|disk| Some((&disk.id, wwid(disk)?))).collect();
    if saved.is_empty() {
        return Ok(Vec::new());
    }
    let present = probe::machine(sys)?;
    let now = |id: &NodeId| wwid(present.device_by_path(&paths.get(id)?.to_string_lossy())?);
    Ok(saved.into_iter().filter_map(|(id, old)| Some((old, now(id)?))).collect())
}

/// Releases of the kernels that the restored system has modules for.
fn kernels(context: &Context, root: &Path) -> Result<Vec<String>> {
    match context.sys.list(&root.join("lib/modules")) {
        Ok(names) => Ok(names),
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// What programs of the restored system expect to be mounted when they run in it; unmounted when dropped.
fn inside_mounts(root: &Path) -> std::result::Result<Mounts, sys::Error> {
    let mut mounts = Mounts::default();
    for name in ["dev", "proc", "sys", "run"] {
        mounts.push(Mount::bind_one(&Path::new("/").join(name), &root.join(name))?);
    }
    Ok(mounts)
}

/// A directory of the restored system, where links lead inside of it: `/var/log` may be one.
fn inside(root: &Path, path: &Path) -> PathBuf {
    let mut resolved = root.to_owned();
    for part in path.components().skip(1) {
        let next = resolved.join(part);
        resolved = match std::fs::read_link(&next) {
            Ok(target) if target.is_absolute() => root.join(target.strip_prefix("/").unwrap_or(&target)),
            Ok(target) => resolved.join(target),
            Err(_) => next,
        };
    }
    resolved
}

/// Leaves plan, layout, log and report on the recovered machine.
pub fn report(
    context: &Context,
    opened: &Opened,
    plan: &Plan,
    root: &Path,
    log: &Path,
    problems: &[String],
    left_out: &LeftOut,
) -> Result<()> {
    let dir = inside(root, Path::new("/var/log")).join("rear/recover");
    sys::fs::create_dir_private(&dir)?;
    let report = json!({
        "recovery_point": opened.seal.id,
        "hostname": opened.seal.hostname,
        "made": opened.seal.created,
        "recovered": sys::info::now(),
        "program": env!("CARGO_PKG_VERSION"),
        "problems": problems,
        "not_restored": left_out,
        "preserved": opened.kept.layout.disks().map(|disk| &disk.id).collect::<Vec<_>>(),
    });
    let plan_text = plan.to_json().map_err(|error| crate::failure::Failure::failed(error.to_string()))?;
    sys::fs::write_atomic(&dir.join("report.json"), &serde_json::to_vec_pretty(&report)?)?;
    sys::fs::write_atomic(&dir.join("plan.json"), plan_text.as_bytes())?;
    sys::fs::write_atomic(&dir.join("layout.json"), opened.layout.to_json()?.as_bytes())?;
    let journal = Path::new(STATE_DIR).join("recover/journal.json");
    for (from, name) in [(journal.as_path(), "journal.json"), (log, "recover.log")] {
        // A log that cannot be copied must not turn a recovery into a failure; it is still in the rescue system.
        if let Err(error) = std::fs::read(from)
            .map_err(|e| e.to_string())
            .and_then(|bytes| sys::fs::write_atomic(&dir.join(name), &bytes).map_err(|e| e.to_string()))
        {
            context.ui.warn(format!("{name} was not copied to the recovered machine: {error}"));
        }
    }
    Ok(())
}
