//! `rear layout`, `rear savelayout`, `rear checklayout`.

use std::path::Path;

use layout::{Layout, diff};
use serde_json::json;

use super::{machine, mkbackup};
use crate::cli::Layout as Options;
use crate::context::{Context, SAVED_LAYOUT, is_rescue_system, require_root};
use crate::failure::{Code, Failure, Result};

/// Prints the storage graph, or draws it; changes nothing of the machine.
pub fn show(context: &Context, options: &Options) -> Result<()> {
    require_root()?;
    let layout = probe::machine(&context.sys)?;
    if let Some(file) = &options.svg {
        return draw(context, &layout, file);
    }
    if context.common.json {
        crate::ui::out(layout.to_json()?.trim_end());
    } else {
        context.ui.say(layout.tree().trim_end());
        // The rescue system has no configuration of the machine's own: there the plan of a recovery says it.
        if !is_rescue_system() {
            match machine::cover(context, &layout) {
                Ok(mut coverage) => {
                    // A configuration that is not complete yet tells of no backup.
                    let shelf = mkbackup::shelf(context, &layout).unwrap_or_default();
                    for disk in shelf.iter().flat_map(|shelf| shelf.disks(&layout)) {
                        coverage.holds_backup(&disk);
                    }
                    context.ui.say(coverage.disk_table().trim_end());
                }
                Err(failure) => {
                    context.ui.warn(format!("what a recovery does with each disk is not known: {failure}"))
                }
            }
        }
    }
    Ok(())
}

/// Writes the picture. An existing file of that name is replaced when the new one is complete.
fn draw(context: &Context, layout: &Layout, file: &Path) -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let svg = layout.svg(&format!("as found by rear {version} on {}", mkbackup::utc(sys::info::now())));
    if file == Path::new("-") {
        crate::ui::out(svg.trim_end());
        return Ok(());
    }
    sys::fs::write_atomic(file, svg.as_bytes())?;
    context.ui.say(format!("The picture of the storage is in {}.", file.display()));
    Ok(())
}

/// Saves what a recovery would make again, for later comparison.
pub fn save(context: &Context) -> Result<()> {
    let _lock = context.begin_writing(&context.settings().logfile)?;
    context.show_config_warnings();
    let machine = machine::probe(context)?;
    write(&machine.wanted)?;
    context.ui.say(format!("The storage layout is saved in {SAVED_LAYOUT}."));
    Ok(())
}

/// Writes the saved layout of `checklayout`.
pub fn write(layout: &Layout) -> Result<()> {
    let path = Path::new(SAVED_LAYOUT);
    if let Some(dir) = path.parent() {
        sys::fs::create_dir_private(dir)?;
    }
    sys::fs::write_atomic(path, layout.to_json()?.as_bytes())?;
    Ok(())
}

/// Compares with the saved layout. Writes nothing, takes no lock. "Changed" is exit code 1 and nothing else is.
pub fn check(context: &Context) -> Result<()> {
    require_root()?;
    let text = std::fs::read_to_string(SAVED_LAYOUT).map_err(|error| {
        Failure::refused(format!("there is no saved layout to compare with: {SAVED_LAYOUT}: {error}"))
            .hint("run rear mkbackup, rear mkrescue or rear savelayout first")
    })?;
    let saved = Layout::from_json(&text).map_err(|error| {
        Failure::failed(format!("{SAVED_LAYOUT}: {error}")).hint(
            "the file is damaged or of another version; rear savelayout or rear mkbackup writes it anew",
        )
    })?;
    let machine = machine::probe(context)?;
    let changes = diff(&saved, &machine.wanted);
    context.ui.event(&json!({"event": "checklayout", "changed": !changes.is_empty(),
        "changes": changes.iter().map(ToString::to_string).collect::<Vec<_>>()}));
    if changes.is_empty() {
        context.ui.say("The storage layout is the same as the saved one.");
        return Ok(());
    }
    for change in &changes {
        context.ui.say(change.to_string());
    }
    Err(Failure::new(
        Code::Changed,
        format!(
            "the storage layout has changed since it was saved, in {} point{}",
            changes.len(),
            if changes.len() == 1 { "" } else { "s" }
        ),
    )
    .hint("run rear mkbackup, so that the recovery medium fits the machine again"))
}
