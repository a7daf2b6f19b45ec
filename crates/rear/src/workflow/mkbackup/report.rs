//! What a run says of what it captures and of what it made: for the person at the terminal, and as events. It decides nothing.

use layout::Bytes;
use serde_json::json;

use super::make::Made;
use super::{Destinations, encrypt};
use crate::context::Context;
use crate::ui::duration;

/// The table of what is captured, as data.
pub(super) fn coverage_event(coverage: &probe::Coverage) -> serde_json::Value {
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

/// What came of the run.
pub(super) fn report(context: &Context, destinations: &Destinations, made: &Made, seconds: f64) {
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
