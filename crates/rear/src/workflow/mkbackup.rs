//! `rear mkbackup`, `rear mkrescue`, `rear mkbackuponly`.
//!
//!     config -> probe -> layout -> check -> image -> archive -> medium -> seal
//!
//! Everything is made in a private directory beside its final place and renamed there when it has been read back:
//! what was there before stays until then, and a run that fails or is stopped leaves nothing behind.

use std::path::{Path, PathBuf};

use boot::BootFacts;
use layout::{Bytes, Firmware, Layout};
use serde_json::json;
use sys::{Cmd, Sys};

use super::machine::{self, Machine};
use super::preflight::{self, Refusals};
use super::preserve::Kept;
use super::{blockclone, luks, means, swapfiles};
use crate::context::{Context, STATE_DIR, is_rescue_system};
use crate::failure::{Failure, Result};
use crate::files::{self, Engine};
use crate::point::{self, Part, Seal, Shelf};
use crate::ui::duration;

pub mod archive;
pub mod encrypt;
mod medium;
mod priority;
mod recipe;
mod snapshots;
pub mod source;

pub use medium::utc;

/// Which half of the work is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// `mkbackup`.
    Both,
    /// `mkrescue`.
    RescueOnly,
    /// `mkbackuponly`.
    BackupOnly,
}

/// Where the results go, decided before any work.
struct Destinations {
    /// The medium, if one is made.
    iso: Option<PathBuf>,
    /// Directory on the medium that holds the recovery point's parts.
    dir_on_medium: String,
    /// Directory of the recovery point, where an archive is made and does not lie on the medium.
    backup_dir: Option<PathBuf>,
    /// Where a recovery finds the backup, when not on the medium: a URL.
    elsewhere: Option<String>,
    /// The local filesystem that this place lies on; known when the machine has been looked at.
    shelf: Option<Shelf>,
    /// Whether an archive is made.
    archive: bool,
    /// Whether files are saved at all.
    files: bool,
}

impl Destinations {
    fn decide(context: &Context, what: What, engine: Option<&dyn Engine>) -> Result<Self> {
        let settings = context.settings();
        let external = settings.backup == config::Backup::External;
        let none = external || settings.backup == config::Backup::RequestRestore;
        if none && !external && what == What::BackupOnly {
            return Err(Failure::refused(
                "BACKUP=REQUESTRESTORE makes no backup, so there is nothing for mkbackuponly to do",
            )
            .hint("set BACKUP=NETFS"));
        }
        let files = !none && what != What::RescueOnly;
        let mut iso = (what != What::BackupOnly).then(|| context.output_file());
        if let Some(engine) = engine {
            let (dir_on_medium, elsewhere) = ("rear".to_owned(), Some(engine.place()));
            let (backup_dir, shelf, archive) = (None, None, false);
            return Ok(Self { iso, dir_on_medium, backup_dir, elsewhere, shelf, archive, files });
        }
        let archive = files;
        let mut elsewhere = None;
        let (dir_on_medium, backup_dir) = match &settings.backup_url {
            config::Location::Iso { dir } => {
                if what == What::BackupOnly {
                    return Err(Failure::refused(
                        "the backup is on the medium itself (BACKUP_URL=iso://), so it cannot be made alone",
                    )
                    .hint("run rear mkbackup, or set BACKUP_URL=file:///DIRECTORY"));
                }
                if !archive && !none {
                    // Under the usual name lies the medium with the whole backup: it must not be replaced by one
                    // without.
                    iso = iso.map(|path| path.with_file_name(format!("{}-rescue.iso", settings.iso_prefix)));
                }
                (dir.trim_matches('/').to_owned(), None)
            }
            config::Location::File { .. } => {
                let dir = context.backup_dir();
                elsewhere = dir.as_ref().filter(|_| !none).map(|dir| format!("file://{}", dir.display()));
                ("rear".to_owned(), dir)
            }
            config::Location::Null | config::Location::Remote { .. } => ("rear".to_owned(), None),
        };
        let backup_dir = backup_dir.filter(|_| archive);
        Ok(Self { iso, dir_on_medium, backup_dir, elsewhere, shelf: None, archive, files })
    }

    /// Looks for the filesystem that will hold the backup.
    fn find_shelf(&mut self, context: &Context, layout: &Layout) -> Result<()> {
        if let Some(place) = &self.elsewhere {
            self.shelf = Shelf::of(&context.sys, layout, place)?;
        }
        Ok(())
    }

    /// Whether the medium holds the files.
    fn archive_on_medium(&self) -> bool {
        self.archive && self.backup_dir.is_none()
    }

    /// What an earlier run left where this one's results go: never a part of the backup.
    fn own(&self) -> impl Iterator<Item = PathBuf> {
        let media = self.iso.iter().flat_map(|iso| [iso.clone(), medium::old_name(iso)]);
        media.chain(self.backup_dir.clone())
    }

    /// Directories in which work in progress is kept: on the filesystem of each result.
    fn work_dirs(&self) -> impl Iterator<Item = &Path> {
        self.iso.as_deref().into_iter().chain(self.backup_dir.as_deref()).filter_map(Path::parent)
    }
}

/// Runs the workflow.
pub fn run(context: &Context, what: What) -> Result<()> {
    let started = std::time::Instant::now();
    let _lock = context.begin_writing(&context.settings().logfile)?;
    if is_rescue_system() {
        return Err(Failure::refused("this is the rescue system; a backup is made on the running machine"));
    }
    // Whatever is created from here on, by us or by the programs we run, is for root alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    context.show_config_warnings();
    // No mount of ours is seen outside, and all of them are gone when this process ends, however it ends.
    sys::mount::private_namespace()?;
    let mut engine = files::engine(context)?;
    let mut destinations = Destinations::decide(context, what, engine.as_deref())?;
    priority::lower(context)?;

    let stage = context.ui.stage("probe");
    let mut machine = machine::probe(context)?;
    // We hold the lock, so no other run uses them. They are no part of the machine.
    if snapshots::remove_leftovers(context, &machine.layout) {
        machine = machine::probe(context)?;
    }
    destinations.find_shelf(context, &machine.layout)?;
    for disk in destinations.shelf.iter().flat_map(|shelf| shelf.disks(&machine.layout)) {
        machine.coverage.holds_backup(&disk);
    }
    stage.done(format!(
        "{} disk(s) to recover, {} filesystem(s) to archive",
        machine.wanted.disks().count(),
        machine.coverage.mounts.len()
    ));
    context.ui.say(machine.coverage.table().trim_end());
    let patterns = &context.settings().backup_prog_exclude;
    if destinations.files && !patterns.is_empty() {
        context.ui.say(format!("Left out everywhere (BACKUP_PROG_EXCLUDE): {}", patterns.join(" ")));
    }
    context.ui.say(machine.coverage.disk_table().trim_end());
    context.ui.event(&coverage_event(&machine.coverage));

    for dir in destinations.work_dirs() {
        remove_leftovers(context, dir);
    }
    let id = sys::info::random_id()?;
    let mut recipe = recipe::recipe(context, &id, &destinations)?;
    let facts = check(context, what, &machine, &destinations, &mut recipe, engine.as_deref())?;
    // Of a medium alone, the engine has only said what must be carried.
    let engine = engine.as_deref_mut().filter(|_| destinations.files);

    let result = hook(&context.sys, context, "PRE_BACKUP_SCRIPT", &context.settings().pre_backup_script)
        .and_then(|()| match what {
            // Before a new medium takes the place of the one whose files are there.
            What::Both | What::BackupOnly => means::save(context),
            What::RescueOnly => Ok(()),
        })
        .and_then(|()| make(context, &machine, &destinations, &recipe, &facts, engine));
    // The hooks belong together (freeze, thaw): the second runs even if the backup between them failed or was
    // stopped by a signal.
    let unstoppable = sys::Real::default();
    let after = hook(&unstoppable, context, "POST_BACKUP_SCRIPT", &context.settings().post_backup_script);
    if result.is_err()
        && let Err(failure) = &after
    {
        context.ui.warn(failure.to_string());
    }
    let made = result?;
    report(context, &destinations, &made, started.elapsed().as_secs_f64());
    let complete = |failure: Failure| failure.hint("the recovery point itself is complete and was read back");
    after.map_err(complete)?;
    if what != What::BackupOnly {
        super::layout::write(&machine.wanted).map_err(complete)?;
    }
    Ok(())
}

/// The filesystem that would hold a backup, as far as the configuration tells.
pub fn shelf(context: &Context, layout: &Layout) -> Result<Option<Shelf>> {
    let engine = files::engine(context)?;
    let mut destinations = Destinations::decide(context, What::Both, engine.as_deref())?;
    destinations.find_shelf(context, layout)?;
    Ok(destinations.shelf)
}

/// The table of what is captured, as data.
fn coverage_event(coverage: &probe::Coverage) -> serde_json::Value {
    use probe::Decision;
    let rows = coverage.rows.iter().map(|row| {
        let (decision, why) = match &row.decision {
            Decision::Captured => ("captured", ""),
            Decision::Partly { what } => ("partly", what.as_str()),
            Decision::Kept { rule } => ("kept", rule.as_str()),
            Decision::MadeAgain => ("made-again", ""),
            Decision::Cloned => ("cloned", ""),
            Decision::Excluded { rule } => ("excluded", rule.as_str()),
            Decision::Unsupported { why } => ("unsupported", why.as_str()),
        };
        json!({"what": row.what, "type": row.fs_type, "bytes": row.bytes, "files": row.files,
               "decision": decision, "why": why})
    });
    let disks = coverage
        .disks
        .iter()
        .map(|row| json!({"disk": row.disk, "path": row.path, "state": row.state.word(), "why": row.why}));
    json!({"event": "coverage", "rows": rows.collect::<Vec<_>>(), "disks": disks.collect::<Vec<_>>()})
}

/// What a run made, for the report.
#[derive(Default)]
struct Made {
    /// Where the files are, when a method with a place of its own keeps them.
    place: Option<(String, u64)>,
    files: Vec<(PathBuf, u64)>,
    id: String,
    problems: Vec<backup::Problem>,
    on_own_disk: bool,
}

/// Refuses, before any work, what could not be recovered.
fn check(
    context: &Context,
    what: What,
    machine: &Machine,
    destinations: &Destinations,
    recipe: &mut image::Recipe<'_>,
    engine: Option<&dyn Engine>,
) -> Result<BootFacts> {
    let stage = context.ui.stage("check");
    let mut refusals = Refusals::default();
    // What the recovery will run must be carried, so it must be here.
    recipe.required_progs.extend(preflight::storage(context, machine, &mut refusals)?);
    let settings = context.settings();
    for (name, argv) in [
        ("PRE_BACKUP_SCRIPT", &settings.pre_backup_script),
        ("POST_BACKUP_SCRIPT", &settings.post_backup_script),
    ] {
        if let Some(program) = argv.first()
            && context.sys.which(program).is_none()
        {
            refusals.add(format!("{name} names {program}, which is no program of this machine"));
        }
    }
    means::check(context, &mut refusals);
    luks::check(context, &machine.wanted, &mut refusals);
    swapfiles::warn(context, &machine.wanted)?;
    recipe.required_progs.extend(blockclone::check(context, machine, destinations.archive, &mut refusals));
    if let Some(engine) = engine {
        let carry = engine.check(context, machine, &mut refusals)?;
        recipe.required_progs.extend(carry.programs);
        recipe.copy_as_is.extend(carry.files);
        recipe.rescue.means.reach = carry.reach;
    }
    let facts = preflight::boot(context, machine, &mut refusals);
    if destinations.iso.is_some() {
        preflight::medium(context, machine, recipe, &mut refusals);
    }
    if destinations.files && machine.coverage.mounts.first().is_none_or(|mount| mount != "/") {
        refusals.add("the root filesystem is not captured; without it there is no machine to recover");
    }
    if destinations.files {
        archive::refuse_lifeless(context, &mut refusals)?;
        snapshots::check(context, machine, &mut refusals)?;
    }
    if settings.backup == config::Backup::External && what != What::RescueOnly {
        snapshots::external(context, &mut refusals);
    }
    if destinations.archive {
        encrypt::check(context, &mut refusals);
    }
    let data = match destinations.archive {
        true => archive::data_bytes(context, machine, destinations)? + blockclone::bytes(context, machine),
        false => 0,
    };
    if let Some(dir) = &destinations.backup_dir {
        preflight::space(context, dir, data, 1, &mut refusals);
        archive::refuse_doomed(context, machine, dir, &mut refusals);
    }
    if let Some(dir) = destinations.iso.as_deref().and_then(Path::parent) {
        // The archive lies beside the medium until the medium has been written: two copies for a while.
        let copies = if destinations.archive_on_medium() { 2 } else { 0 };
        preflight::space(context, dir, data, copies, &mut refusals);
        let settings = context.settings();
        if settings.iso_recover_unattended
            && !destinations.archive_on_medium()
            && engine.is_none()
            && destinations.shelf.is_none()
        {
            context.ui.warn(
                "there are no files on this medium, so an unattended recovery from it stops before any write",
            );
        }
    }
    refusals.verdict()?;
    stage.done(match &context.settings().only_include {
        None => "everything on this machine can be recovered".to_owned(),
        Some(paths) => format!("of the files, only those of {} will be in the backup", paths.join(", ")),
    });
    facts.ok_or_else(|| Failure::refused("the boot loader could not be captured"))
}

fn make(
    context: &Context,
    machine: &Machine,
    destinations: &Destinations,
    recipe: &image::Recipe<'_>,
    facts: &BootFacts,
    mut engine: Option<&mut (dyn Engine + '_)>,
) -> Result<Made> {
    let mut made = Made { id: recipe.rescue.recovery_point.clone(), ..Made::default() };
    let medium_staging = destinations.iso.as_deref().map(|iso| staging(context, iso)).transpose()?;
    let image = match &medium_staging {
        Some(staging) => Some(medium::image(context, recipe, staging.path())?),
        None => None,
    };

    let mut seal = Seal {
        format: point::FORMAT,
        id: made.id.clone(),
        hostname: context.hostname.clone(),
        created: recipe.rescue.created,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        parts: Vec::new(),
        archive: None,
        content: None,
        elsewhere: destinations.elsewhere.clone().filter(|_| engine.is_none()),
        shelf: destinations.shelf.clone(),
        only: context.settings().only_include.clone().unwrap_or_default(),
        digest: None,
    };
    let sealed = luks::sealed_parts(context, &machine.wanted)?;
    let small = |dir: &Path| -> Result<Vec<Part>> {
        let mut parts = vec![
            part(dir, point::LAYOUT, machine.wanted.to_json()?.as_bytes())?,
            part(dir, point::BOOT, &serde_json::to_vec_pretty(facts)?)?,
            part(dir, point::PRESERVED, &serde_json::to_vec_pretty(&Kept::of(machine))?)?,
        ];
        for (name, bytes) in &sealed {
            parts.push(part(dir, name, bytes)?);
        }
        Ok(parts)
    };
    let mut skip: Vec<PathBuf> = medium_staging.iter().map(|staging| staging.path().to_owned()).collect();
    skip.extend(destinations.own());

    let mut backup = None;
    if let Some(dir) = &destinations.backup_dir {
        let staging = staging(context, dir)?;
        skip.push(staging.path().to_owned());
        let mut inside = Seal { elsewhere: None, shelf: None, parts: small(staging.path())?, ..seal.clone() };
        let archive =
            archive::create(context, machine, staging.path(), &skip, &mut inside.parts, &mut made.problems)?;
        inside.archive = Some(archive);
        backup = Some((dir, staging, inside));
    }
    let mut saved = None;
    if let Some(engine) = &mut engine {
        let staging = sys::fs::Staging::create(Path::new(STATE_DIR))?;
        skip.push(staging.path().to_owned());
        let mut parts = small(staging.path())?;
        let job = files::Job { machine, id: &made.id, dir: staging.path(), skip: &skip };
        let from_engine = engine.save(context, &job)?;
        parts.extend(from_engine.parts);
        made.problems.extend(from_engine.problems);
        seal.content = Some(from_engine.content);
        saved = Some((staging, parts));
    }
    let mut iso = None;
    if let (Some(out), Some(staging), Some(image)) = (&destinations.iso, &medium_staging, &image) {
        let parts_dir = staging.path().join("point");
        sys::fs::create_dir_private(&parts_dir)?;
        if let Some((from, parts)) = &saved {
            for part in parts {
                std::fs::copy(from.path().join(&part.name), parts_dir.join(&part.name))?;
            }
            seal.parts = parts.clone();
        } else {
            seal.parts = small(&parts_dir)?;
        }
        if destinations.archive_on_medium() {
            let archive =
                archive::create(context, machine, &parts_dir, &skip, &mut seal.parts, &mut made.problems)?;
            seal.archive = Some(archive);
        }
        let uefi = machine.layout.machine.firmware == Firmware::Uefi;
        let dir = &destinations.dir_on_medium;
        let (temporary, bytes) = medium::write(context, &seal, image, &parts_dir, dir, staging.path(), uefi)?;
        iso = Some((out, temporary, bytes));
    }

    // Everything is written and read back: from here on there are only renames.
    if let Some((dir, staging, inside)) = backup {
        archive::publish(context, &inside, staging, dir)?;
        made.files.push((dir.clone(), inside.parts.iter().map(|part| part.bytes).sum()));
    }
    if let (Some(engine), Some((staging, parts))) = (engine, saved) {
        seal.parts = parts;
        let bytes = seal.data_bytes();
        made.place = Some((engine.publish(context, &seal, staging.path())?, bytes));
    }
    if let Some((out, temporary, bytes)) = iso {
        medium::put(context, &temporary, out, destinations.files)?;
        made.files.push((out.clone(), bytes));
        made.on_own_disk = archive::lies_on_wanted_disk(context, machine, out);
    }
    Ok(made)
}

/// A private directory beside a result, under its real path, so that the archive can leave it out by name.
fn staging(context: &Context, result: &Path) -> Result<sys::fs::Staging> {
    let parent = result.parent().ok_or_else(|| Failure::failed("the output has no directory"))?;
    sys::fs::create_dir_private(parent).map_err(|error| {
        Failure::from(error).hint("set OUTPUT_URL, BACKUP_URL or ISO_DIR to a directory that can be written")
    })?;
    let mut staging = sys::fs::Staging::create(&parent.canonicalize()?)?;
    if context.settings().keep_build_dir == config::Tristate::Yes {
        staging.keep();
        context.ui.say(format!("The working directory {} is kept.", staging.path().display()));
    }
    Ok(staging)
}

/// Writes a small part and measures it.
pub fn part(dir: &Path, name: &str, bytes: &[u8]) -> Result<Part> {
    use std::io::Write;
    let path = dir.join(name);
    let mut file = sys::fs::create_private(&path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(Part {
        name: name.to_owned(),
        bytes: bytes.len() as u64,
        blake3: blake3::hash(bytes).to_hex().to_string(),
    })
}

/// A killed run (power cut, `kill -9`) leaves its working directory. We hold the lock, so none is in use.
fn remove_leftovers(context: &Context, dir: &Path) {
    let Ok(names) = context.sys.list(dir) else { return };
    for name in names {
        let ours = name
            .strip_prefix("rear.")
            .is_some_and(|rest| rest.len() == 12 && rest.chars().all(|c| c.is_ascii_hexdigit()));
        if ours {
            match sys::fs::remove_tree(&dir.join(&name)) {
                Ok(()) => context.ui.explain(format!("removed {name}, left behind by a killed run")),
                Err(error) => context.ui.warn(error.to_string()),
            }
        }
    }
}

/// How long a command of the configuration may take.
pub const HOOK_LIMIT: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// Runs a command of the configuration: argv, no shell.
pub fn hook(sys: &sys::Real, context: &Context, name: &str, argv: &[String]) -> Result<()> {
    let Some((program, arguments)) = argv.split_first() else { return Ok(()) };
    let stage = context.ui.stage("hook");
    sys.run(&Cmd::new(program).args(arguments.iter().cloned()).timeout(HOOK_LIMIT)).map_err(|error| {
        let failure = Failure::from(error).during(name);
        match name {
            "PRE_BACKUP_SCRIPT" => failure.hint("no backup was made; correct the program or the setting"),
            _ => failure,
        }
    })?;
    stage.done(format!("{name} ran"));
    Ok(())
}

fn report(context: &Context, destinations: &Destinations, made: &Made, seconds: f64) {
    let what = if destinations.files { "Recovery point" } else { "Rescue medium without files" };
    if made.files.is_empty() && made.place.is_none() {
        context.ui.say("EXTERNAL_BACKUP has saved the files; what it made was not read back.");
    } else {
        context.ui.say(format!("{what} {} is complete and was read back:", made.id));
    }
    if let (true, Some(paths)) = (destinations.files, &context.settings().only_include) {
        context.ui.say(format!(
            "  It holds only a PART of the machine's files (BACKUP_ONLY_INCLUDE): {}. A recovery from it alone gives no \
             complete machine.",
            paths.join(", ")
        ));
    }
    if let Some((place, bytes)) = &made.place {
        context.ui.say(format!("  {place}  {} of files", Bytes(*bytes)));
    }
    for (path, bytes) in &made.files {
        context.ui.say(format!("  {}  {}", path.display(), Bytes(*bytes)));
    }
    if destinations.archive
        && let Some(sentence) = encrypt::sentence(context)
    {
        context.ui.say(format!("  {sentence}"));
    }
    if made.on_own_disk {
        context.ui.say("  It lies on a disk that it would recreate: copy it to another place now.");
    }
    let changed = made.problems.iter().filter(|problem| problem.kind != backup::ProblemKind::Skipped).count();
    if changed > 0 {
        context.ui.say(format!(
            "  {changed} file(s) changed or vanished while they were read; the log names them."
        ));
    }
    context.ui.say(format!("Done in {}.", duration(seconds)));
    context.ui.event(&json!({"event": "result", "id": made.id, "seconds": seconds,
        "place": made.place.as_ref().map(|(place, _)| place),
        "files": made.files.iter().map(|(path, bytes)| json!({"path": path, "bytes": bytes})).collect::<Vec<_>>(),
        "problems": made.problems}));
}
