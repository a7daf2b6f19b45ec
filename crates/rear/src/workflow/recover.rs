//! `rear recover`.
//!
//!     open -> probe -> fit -> plan -> approve -> apply -> restore -> boot -> verify -> report
//!
//! Nothing is written to a disk before the archive has been read and found whole, the tools are there, the plan is
//! complete, and the targets are known beyond doubt.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use apply::Sequences;
use boot::BootFacts;
use crypt::Opener;
use image::RescueConfig;
use layout::{Layout, NodeId};
use plan::{Choices, Plan, Preserved};
use sys::Sys;

use super::beneath::{self, MountPoint};
use super::preserve::{self, Kept, Watch};
use super::{blockclone, luks, machine, means, mkbackup, multipath, proof, subvolumes, swapfiles};
use crate::cli::Recover;
use crate::context::{Context, RESCUE_FILE, SAVED_LAYOUT, STATE_DIR, is_rescue_system, require_root};
use crate::failure::{Code, Failure, Result};
use crate::files::Origin;
use crate::point::Seal;
use crate::point::shelf::Attached;
use crate::rescue;
use crate::unlock::Files;

mod finish;
mod older;
mod open;
mod restore;

/// Where the recovered machine's filesystems are mounted.
pub const TARGET_ROOT: &str = "/mnt/local";

/// Runs the workflow.
pub fn run(context: &Context, options: &Recover) -> Result<()> {
    if options.plan {
        return show_plan(context, options);
    }
    if !is_rescue_system() {
        return Err(Failure::refused(
            "this is not the rescue system: recovering here would erase the running machine",
        )
        .hint("boot the rescue medium; rear recover --plan shows here what would be done"));
    }
    let started = std::time::Instant::now();
    let log = context.settings().logfile.clone();
    let _lock = context.begin_writing(&log)?;
    open::unmount_leftovers(context, options)?;
    let mut opened = open::open(context, options)?;
    let means = opened.rescue.as_ref().map(|rescue| rescue.means.clone()).unwrap_or_default();
    if !opened.seal.has_files() {
        means::prove(context, &means)?;
    }
    if !opened.seal.has_files() && means.restore.is_empty() && !context.ui.can_answer(means::RESTORE_DONE) {
        return Err(Failure::refused(
            "this recovery point has no files, so nobody could restore them in an unattended recovery",
        )
        .hint(
            "no disk was written to; run rear recover on a console, or boot a medium made by rear mkbackup",
        ));
    }
    let shown = fit(context, &opened, options)?;
    open::tools(context, &shown.plan)?;
    open::drivers(context, &shown.plan)?;
    let keys = luks::unlock(context, &opened)?;
    context
        .ui
        .say(if context.common.verbose { shown.plan.text_verbose() } else { shown.plan.text() }.trim_end());
    approve(context)?;

    let mut origin = opened.origin.take();
    let config = opened.rescue.as_ref();
    mkbackup::hook(
        &context.sys,
        context,
        "PRE_RECOVERY_SCRIPT",
        config.map_or(&[], |config| &config.pre_recovery_script),
    )?;
    // Time has passed and a script has run: what was approved must still be what is there.
    let mut machine = fit(context, &opened, options)?;
    if !machine.is_same_as(&shown) {
        return Err(Failure::refused("the disks have changed since the plan was shown")
            .hint("no disk was written to; run rear recover again and look at the new plan"));
    }
    machine.sequences = shown.sequences;
    let plan = &machine.plan;
    let in_use = probe::sources(&context.sys, &machine.present)?;
    let watch = Watch::begin(&context.sys, &machine.present, &machine.preserved, &in_use)?;
    let mut applied = apply_plan(context, &machine, &keys)?;
    let root = Path::new(TARGET_ROOT);
    let mut problems = Vec::new();
    blockclone::restore(context, &opened, &applied, &mut problems)?;
    let mut left_out = restore::LeftOut::default();
    if opened.seal.has_files() {
        left_out = restore::run(context, &opened, origin.as_deref_mut(), root, &mut problems)?;
    } else {
        means::restore(context, &means, root, &mut problems)?;
    }
    swapfiles::make(context, &plan.swap_files, root, &mut problems)?;
    let mut changed = boot::Changed::default();
    subvolumes::renumber(context, &opened.layout, root, &mut changed, &mut problems)?;
    finish::boot(context, &opened, &machine.preserved, &mut applied, root, &mut changed, &mut problems)?;
    beneath::restore(root, &restore::hidden(&opened), &plain_mounts(&opened.layout), &mut problems)?;
    subvolumes::finish(context, &opened.layout, &mut applied, root, &mut problems)?;
    proof::storage(context, &opened.layout, &applied, root, &mut problems)?;
    mkbackup::hook(
        &context.sys,
        context,
        "POST_RECOVERY_SCRIPT",
        config.map_or(&[], |config| &config.post_recovery_script),
    )?;
    watch.end(&context.sys, &mut problems)?;
    if opened.seal.has_files() && !opened.seal.only.is_empty() {
        problems.push(format!(
            "only a part of the machine's files is in the backup (BACKUP_ONLY_INCLUDE): {}",
            opened.seal.only.join(", ")
        ));
    }
    if let Err(failure) = finish::report(context, &opened, plan, root, &log, &problems, &left_out) {
        // The machine is recovered all the same; its report is still in the rescue system's log.
        context.ui.warn(failure.during("the report was not written to the recovered machine").to_string());
    }
    // What is open cannot be unmounted.
    opened.files = None;
    opened.clones.clear();
    let stage = context.ui.stage("unmount");
    applied.mounts.unmount()?;
    // The way back may have it open.
    drop(origin);
    if let Some(shelf) = opened.shelf {
        shelf.unmount()?;
    }
    if let Some(medium) = opened.medium {
        medium.mount.unmount()?;
    }
    stage.done("all filesystems are written and unmounted");

    if !problems.is_empty() {
        let list: String = problems.iter().take(20).map(|problem| format!("\n- {problem}")).collect();
        return Err(Failure::new(
            Code::Incomplete,
            format!("the machine was restored, but {} thing(s) are not as they were:{list}", problems.len()),
        )
        .hint(format!("the log names all of them: {}", log.display())));
    }
    let mut proven = match opened.seal.has_files() {
        true if !left_out.is_empty() => {
            "every restored file and every identifier was compared and is as it was"
        }
        true => "every file and every identifier was compared and is as it was",
        false => "every identifier of the storage is as it was; the files were restored by other means and not compared",
    }
    .to_owned();
    if watch.count() > 0 {
        proven.push_str(&format!(
            "; nothing was written to the {} disk(s) that stay as they are",
            watch.count()
        ));
    }
    if !left_out.is_empty() {
        context.ui.say(left_out.sentence());
    }
    context.ui.say(format!(
        "{} is recovered: {proven}. Took {}.",
        opened.seal.hostname,
        crate::ui::duration(started.elapsed().as_secs_f64())
    ));
    Ok(())
}

/// What is recovered, opened and proven whole.
pub struct Opened {
    /// Directory with the parts.
    pub dir: PathBuf,
    /// Its seal.
    pub seal: Seal,
    /// The saved layout.
    pub layout: Layout,
    /// What booted the machine.
    pub facts: BootFacts,
    /// The directories that its mounts hide.
    pub hidden: Vec<MountPoint>,
    /// The disks that stay as they are.
    pub kept: Kept,
    /// Facts of the rescue system, if this is one.
    pub rescue: Option<RescueConfig>,
    /// The way back of files that lie at a place of their own, proven to be there.
    pub origin: Option<Box<dyn Origin>>,
    /// Keeps mounted what holds the files, where that is not the medium.
    pub shelf: Option<Attached>,
    /// Archive and manifest, open, where the files are in an archive.
    pub files: Option<Files>,
    /// Devices that come back block by block.
    pub clones: Vec<blockclone::Proven>,
    /// What has opened them.
    pub key: Option<Opener>,
    /// Keeps the medium mounted.
    pub medium: Option<rescue::Medium>,
}

/// The present machine and the plan for it.
struct Fitted {
    present: Layout,
    protected: BTreeMap<NodeId, String>,
    preserved: Preserved,
    plan: Plan,
    /// What the kernel called each disk when it was probed: another disk under the same name has another number.
    sequences: Sequences,
}

impl Fitted {
    /// Whether both do the same to the same disks with the same content.
    fn is_same_as(&self, other: &Self) -> bool {
        let erases = |fitted: &Self| -> Vec<Option<String>> {
            fitted.plan.fit.disks.iter().map(|placement| placement.erases.clone()).collect()
        };
        self.plan.fingerprint() == other.plan.fingerprint()
            && erases(self) == erases(other)
            && self.preserved == other.preserved
    }
}

fn fit(context: &Context, opened: &Opened, options: &Recover) -> Result<Fitted> {
    let stage = context.ui.stage("probe");
    multipath::start(context, &[&opened.layout, &opened.kept.layout])?;
    let sequences = Sequences::read(&context.sys)?;
    let present = probe::machine(&context.sys)?;
    let mut protected = BTreeMap::new();
    // On a running machine only the plan is shown, and its own mounted disks stand in as targets.
    if is_rescue_system() {
        let why = "it carries a mounted filesystem: the medium, the archive or the rescue system";
        protected.extend(probe::sources(&context.sys, &present)?.into_iter().map(|id| (id, why.to_owned())));
    }
    for disk in opened.shelf.iter().flat_map(|shelf| shelf.disks(&present)) {
        protected.insert(disk, "it holds the backup".to_owned());
    }
    if let Some(medium) = &opened.medium {
        let path = medium.device.to_string_lossy();
        for disk in
            present.device_by_path(&path).map(|device| present.disks_below(&device.id)).unwrap_or_default()
        {
            protected.insert(
                disk.id.clone(),
                "it carries the medium that this rescue system booted from".to_owned(),
            );
        }
    }
    stage.done(format!("{} disk(s)", present.disks().count()));
    let preserved = preserve::find(context, &opened.kept.layout, &present, &options.without)?;
    protect(&mut protected, &preserved);
    let patterns = opened.rescue.as_ref().map(|rescue| rescue.exclude_device_mapping.as_slice());
    for disk in present.disks() {
        if let Some(pattern) =
            patterns.unwrap_or_default().iter().find(|pattern| is_named(pattern, &disk.path))
        {
            let why = format!("EXCLUDE_DEVICE_MAPPING names {pattern}");
            protected.entry(disk.id.clone()).or_insert(why);
        }
    }
    let choices = choices(context, opened, options, &present)?;
    let fit = plan::fit(&opened.layout, &present, &protected, &choices)
        .map_err(|error| Failure::refused(error.to_string()).hint("no disk was written to"))?;
    let plan = plan::plan(&opened.layout, &present, fit, &opened.seal.id, TARGET_ROOT)
        .map_err(|error| Failure::refused(error.to_string()).hint("no disk was written to"))?;
    Ok(Fitted { present, protected, preserved, plan, sequences })
}

/// What is preserved is never written, whatever else it is.
fn protect(protected: &mut BTreeMap<NodeId, String>, preserved: &Preserved) {
    for (id, why) in &preserved.protected {
        protected.entry(id.clone()).or_insert_with(|| why.clone());
    }
}

/// Whether a device has a kernel name that fits the pattern, in which `*` and `?` mean any characters and one.
fn is_named(pattern: &str, path: &str) -> bool {
    fn fits(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', rest)) => (0..=name.len()).any(|skip| fits(rest, &name[skip..])),
            Some((one, rest)) => name
                .split_first()
                .is_some_and(|(first, name)| (one == first || *one == b'?') && fits(rest, name)),
        }
    }
    fits(pattern.as_bytes(), path.trim_start_matches("/dev/").as_bytes())
}

fn choices(context: &Context, opened: &Opened, options: &Recover, present: &Layout) -> Result<Choices> {
    // A name that fits two disks (hypervisors repeat serial numbers) names none.
    let find = |layout: &Layout, name: &str| -> Option<NodeId> {
        let mut fitting = layout
            .disks()
            .filter(|disk| {
                let identity = disk.disk().map(|disk| &disk.identity);
                let is = |value: Option<&String>| value.is_some_and(|value| value == name);
                disk.id.0 == name
                    || disk.path == name
                    || identity
                        .is_some_and(|identity| is(identity.serial.as_ref()) || is(identity.wwn.as_ref()))
            })
            .map(|disk| disk.id.clone());
        fitting.next().filter(|_| fitting.next().is_none())
    };
    let mut mapping = BTreeMap::new();
    for pair in &options.map {
        let usage = |text: String| {
            Failure::new(Code::Usage, text).hint("rear layout and rear recover --plan name the disks")
        };
        let (saved, now) =
            pair.split_once('=').ok_or_else(|| usage(format!("'{pair}' is not SAVED=PRESENT")))?;
        let saved_id = find(&opened.layout, saved)
            .ok_or_else(|| usage(format!("not exactly one saved disk is called '{saved}'")))?;
        let now_id = find(present, now)
            .ok_or_else(|| usage(format!("not exactly one present disk is called '{now}'")))?;
        mapping.insert(saved_id, now_id);
    }
    let saved_names =
        opened.rescue.as_ref().map(|rescue| rescue.disks_to_be_wiped.as_slice()).unwrap_or_default();
    let mut allow_erase_saved = saved_names.to_vec();
    for name in saved_names.iter().filter(|name| name.starts_with("/dev/disk/by-id/")) {
        // udev's stable name leads to a kernel name, and that to the disk that has it now.
        if let Ok(real) = context.sys.canonicalize(Path::new(name))
            && let Some(disk) = present.device_by_path(&real.to_string_lossy())
        {
            allow_erase_saved.push(disk.id.0.clone());
        }
    }
    let unattended = context.common.non_interactive || !context.ui.is_interactive();
    Ok(Choices { unattended, mapping, allow_erase: options.erase.clone(), allow_erase_saved })
}

/// `--plan`: in the rescue system against the disks that are there, elsewhere against this machine's own.
fn show_plan(context: &Context, options: &Recover) -> Result<()> {
    require_root()?;
    let plan = if is_rescue_system() || options.from.is_some() {
        let opened = open::open(context, options)?;
        fit(context, &opened, options)?.plan
    } else {
        let machine = machine::probe(context)?;
        let kept = Kept::of(&machine);
        let saved = match std::fs::read_to_string(SAVED_LAYOUT) {
            Ok(text) => Layout::from_json(&text)?,
            Err(_) => machine.wanted,
        };
        let choices = Choices::default();
        // Nothing is written, so this machine's own mounted disks may stand in as targets.
        let mut protected = BTreeMap::new();
        protect(&mut protected, &plan::preserved(&kept.layout, &machine.layout));
        let fit = plan::fit(&saved, &machine.layout, &protected, &choices)
            .map_err(|error| Failure::refused(error.to_string()))?;
        plan::plan(&saved, &machine.layout, fit, "the next recovery point", TARGET_ROOT)
            .map_err(|error| Failure::refused(error.to_string()))?
    };
    if context.common.json {
        crate::ui::out(plan.to_json().map_err(|error| Failure::failed(error.to_string()))?.trim_end());
    } else {
        let text = if context.common.verbose { plan.text_verbose() } else { plan.text() };
        context.ui.say(text.trim_end());
        context.ui.say("This is the plan only; nothing was changed.");
    }
    Ok(())
}

/// The operator's yes. Only `--non-interactive` does without it: the fit has then taken nothing but blank disks and
/// the machine's own. A missing terminal is no consent.
fn approve(context: &Context) -> Result<()> {
    const ID: &str = "RECOVER_APPROVE";
    if context.common.non_interactive && context.ui.answered(ID).is_none() {
        context.ui.say(
            "Unattended: only blank disks and the machine's own are taken, so this plan is carried out.",
        );
        return Ok(());
    }
    let answer = context.ui.ask(ID, "Carry out this plan? Type 'yes':", &context.cancel)?;
    if answer.eq_ignore_ascii_case("yes") {
        return Ok(());
    }
    Err(Failure::refused("the plan was not approved").hint("no disk was written to"))
}

/// Steps as progress.
struct Steps<'a>(&'a crate::ui::Stage<'a>);

impl apply::Progress for Steps<'_> {
    fn step(&self, step: &plan::Step, n: usize, of: usize) {
        self.0.note(&format!("{n}/{of} {}", step.describe()));
    }
}

fn apply_plan(context: &Context, machine: &Fitted, keys: &luks::Unlocked) -> Result<apply::Applied> {
    let dir = Path::new(STATE_DIR).join("recover");
    sys::fs::create_dir_private(&dir)?;
    sys::fs::create_dir_private(Path::new(TARGET_ROOT))?;
    let mut journal = apply::Journal::open(&dir.join("journal.json"), &machine.plan)?;
    let earlier = journal.done();
    if journal.is_resumed() {
        context.ui.say(
            "This continues an earlier run: its finished steps are not repeated where the disks are still as it \
             left them, and all files are restored again.",
        );
    }
    let stage = context.ui.stage("storage");
    let targets = apply::targets_since(
        &context.sys,
        &machine.plan,
        &machine.present,
        &machine.protected,
        &machine.sequences,
    )?;
    let result = apply::run_with_keys(
        &context.sys,
        keys,
        &machine.plan,
        targets,
        &mut journal,
        &Steps(&stage),
        &context.cancel,
    );
    let written = result.as_ref().err().is_none_or(apply::Error::has_written);
    context.disks_written.store(written, Ordering::SeqCst);
    let applied = result?;
    let kept =
        machine.plan.steps.iter().filter(|step| step.action.writes() && step.id <= journal.kept()).count();
    let kept = match kept {
        0 if earlier > 0 => ", all done anew: the disks are not as the earlier run left them".to_owned(),
        0 => String::new(),
        kept => format!(", {kept} of them done by an earlier run"),
    };
    stage.done(format!("{} steps{kept}", machine.plan.steps.len()));
    Ok(applied)
}

/// Mount points on filesystems that keep no owners or attributes.
fn plain_mounts(layout: &Layout) -> Vec<PathBuf> {
    layout
        .mounts
        .iter()
        .filter(|mount| {
            let filesystem = layout.device(&mount.device).and_then(layout::Device::filesystem);
            filesystem.is_some_and(|filesystem| filesystem.kind.is_plain())
        })
        .map(|mount| PathBuf::from(&mount.mount_point))
        .collect()
}

/// Facts of the rescue system that this is.
pub fn rescue_config() -> Result<RescueConfig> {
    let text = std::fs::read(RESCUE_FILE)?;
    Ok(serde_json::from_slice(&text)?)
}

#[cfg(test)]
mod tests {
    use super::is_named;

    #[test]
    fn kernel_names_fit_patterns() {
        for (pattern, path, fits) in [
            ("sdb", "/dev/sdb", true),
            ("sdb", "/dev/sdba", false),
            ("loop*", "/dev/loop0", true),
            ("loop*", "/dev/sdloop", false),
            ("nvme?n1", "/dev/nvme0n1", true),
            ("nvme?n1", "/dev/nvme10n1", false),
            ("*", "/dev/sda", true),
        ] {
            assert_eq!(is_named(pattern, path), fits, "{pattern} {path}");
        }
    }
}
