//! Makes a recovery point: the image, the small parts, the archive or what an engine saves, the medium. Everything lies in
//! private directories (those of a killed run are removed first) until all of it was read back; only then it gets its place, by
//! renames. Nothing that was there before is replaced earlier.

use std::path::{Path, PathBuf};

use boot::BootFacts;
use layout::Firmware;
use sys::Sys;

use super::{Destinations, archive, medium};
use crate::context::{Context, STATE_DIR};
use crate::failure::{Failure, Result};
use crate::files::{self, Engine};
use crate::point::{self, Part, Seal};
use crate::workflow::luks;
use crate::workflow::machine::Machine;
use crate::workflow::preserve::Kept;

/// What a run made, for the report.
#[derive(Default)]
pub(super) struct Made {
    /// Where the files are, when a method with a place of its own keeps them.
    pub(super) place: Option<(String, u64)>,
    pub(super) files: Vec<(PathBuf, u64)>,
    pub(super) id: String,
    pub(super) problems: Vec<backup::Problem>,
    pub(super) on_own_disk: bool,
}

/// Makes it all, and puts it where it belongs.
pub(super) fn make(
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
pub(super) fn remove_leftovers(context: &Context, dir: &Path) {
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
