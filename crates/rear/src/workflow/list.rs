//! `rear list`: which recovery points there are, and which files one holds. It reads only.

use std::path::Path;

use backup::{Entry, Exclude, Kind, ManifestReader};
use layout::Bytes;
use serde_json::json;

use super::points::{Found, Looked};
use super::{foreign, kept};
use crate::cli::List;
use crate::context::Context;
use crate::failure::{Code, Failure, Result};
use crate::files;
use crate::point::{self, Seal};
use crate::ui::out;
use crate::unlock::Unlocker;
use crate::workflow::mkbackup::utc;

/// Runs the workflow.
pub fn run(context: &Context, options: &List) -> Result<()> {
    context.show_config_warnings();
    let archive = foreign::meant(options.from.as_deref());
    if options.contents || !options.path.is_empty() {
        return match archive {
            Some(archive) => foreign_contents(context, options, &archive),
            None => contents(context, options),
        };
    }
    if let Some(archive) = archive {
        let archive = foreign::open(&archive)?;
        return Err(Failure::refused(format!(
            "{} is a tar of another program, and no recovery point",
            archive.path().display()
        ))
        .hint("list its files with --contents; rear restore PATH --from FILE --to DIR brings them back"));
    }
    let mut looked = Looked::all(context, options.from.as_deref())?;
    looked.points.sort_by_key(|found| {
        let seal = found.seal.as_ref();
        seal.map(|seal| (seal.hostname.clone(), seal.created, found.place.path().to_owned()))
    });
    if !context.common.json && !looked.points.is_empty() {
        table(context, &looked.points);
    }
    for found in &looked.points {
        context.ui.event(&event(found));
    }
    let broken_kept = match options.from.is_none() {
        true => in_repository(context)?,
        false => None,
    };
    // Where there is no recovery point, the error says what there is instead.
    if broken_kept.is_none() {
        looked.refuse_none()?;
    }
    for (path, why) in &looked.others {
        context.ui.say(format!("Not a recovery point: {} {why}.", path.display()));
        context.ui.event(&json!({"event": "other", "path": path, "why": why}));
    }
    let (broken_kept, all_kept) = broken_kept.unwrap_or_default();
    let broken = broken_kept + looked.points.iter().filter(|found| !found.faults.is_empty()).count();
    if broken == 0 {
        return Ok(());
    }
    let text =
        format!("{broken} of {} recovery point(s) cannot be relied on", looked.points.len() + all_kept);
    Err(Failure::new(Code::Failed, text).hint("make or copy them again; rear verify reads all of one"))
}

/// Lists the recovery points of this machine in the repository; gives how many are broken, and how many there are, where there is any.
fn in_repository(context: &Context) -> Result<Option<(usize, usize)>> {
    let Some((keeper, hostname)) = kept::usual(context)? else { return Ok(None) };
    let (place, points) = (keeper.place(), keeper.points(context, &hostname)?);
    let broken = points.iter().filter(|kept| kept.seal.is_err() || !kept.has_files).count();
    if points.is_empty() {
        context.ui.say(format!("No recovery point of this machine is in {place}."));
        return Ok(None);
    }
    let mut rows = vec![["made", "host", "content", "entries", "state", "from"].map(str::to_owned)];
    for kept in &points {
        let seal = kept.seal.as_ref().ok();
        let none = || "-".to_owned();
        let state = match (&kept.seal, kept.has_files) {
            (Err(failure), _) => format!("BROKEN: {}", failure.message),
            (_, false) => "BROKEN: its files are not in the repository any more".to_owned(),
            (Ok(seal), _) if !seal.only.is_empty() => "complete, a part of the files".to_owned(),
            _ => "complete".to_owned(),
        };
        context.ui.event(&json!({
            "event": "kept", "place": place, "snapshot": kept.name, "created": kept.created, "state": state,
            "complete": kept.seal.is_ok() && kept.has_files, "id": seal.map(|seal| &seal.id),
            "hostname": seal.map(|seal| &seal.hostname), "entries": seal.and_then(Seal::entries),
            "data_bytes": seal.map(Seal::data_bytes),
        }));
        rows.push([
            utc(kept.created),
            seal.map_or_else(none, |seal| readable(seal.hostname.as_bytes())),
            seal.map_or_else(none, |seal| Bytes(seal.data_bytes()).to_string()),
            seal.and_then(Seal::entries).map_or_else(none, |entries| entries.to_string()),
            state,
            format!("{}{}", files::SNAPSHOT, &kept.name[..8]),
        ]);
    }
    if !context.common.json {
        context.ui.say(format!("In the repository {place}:"));
        aligned(&rows).iter().for_each(|line| context.ui.say(line));
    }
    Ok(Some((broken, points.len())))
}

fn state(found: &Found) -> &'static str {
    match &found.seal {
        _ if !found.faults.is_empty() => "BROKEN",
        Some(seal) if seal.encryption().is_some() && !seal.only.is_empty() => {
            "complete, encrypted, a part of the files"
        }
        Some(seal) if seal.encryption().is_some() => "complete, encrypted",
        Some(seal) if seal.has_files() && !seal.only.is_empty() => "complete, a part of the files",
        Some(seal) if seal.has_files() => "complete",
        Some(seal) if seal.elsewhere.is_some() => "medium, files elsewhere",
        _ => "medium without files",
    }
}

fn table(context: &Context, points: &[Found]) {
    let mut rows = vec![["made", "host", "archive", "entries", "state", "where"].map(str::to_owned)];
    for found in points {
        let archive = found.seal.as_ref().and_then(|seal| seal.archive.as_ref());
        let none = || "-".to_owned();
        rows.push([
            found.seal.as_ref().map_or_else(none, |seal| utc(seal.created)),
            found.seal.as_ref().map_or_else(none, |seal| readable(seal.hostname.as_bytes())),
            archive.map_or_else(none, |archive| Bytes(archive.bytes).to_string()),
            found.seal.as_ref().and_then(Seal::entries).map_or_else(none, |entries| entries.to_string()),
            state(found).to_owned(),
            found.place.path().display().to_string(),
        ]);
    }
    for (index, line) in aligned(&rows).iter().enumerate() {
        context.ui.say(line);
        let Some(found) = index.checked_sub(1).and_then(|index| points.get(index)) else { continue };
        for fault in &found.faults {
            context.ui.say(format!("  - {fault}"));
        }
        let Some(seal) = &found.seal else { continue };
        if let Some(content) = &seal.content {
            context.ui.say(format!("  - BACKUP={}: its files are at {}", content.method, content.url));
        }
        if let Some(elsewhere) = &seal.elsewhere {
            context.ui.say(format!("  - its files are at {elsewhere}"));
        }
        if !seal.only.is_empty() {
            context.ui.say(format!("  - only these files are in it: {}", seal.only.join(", ")));
        }
        let content =
            seal.archive.as_ref().map(|archive| format!(", {} of content", Bytes(archive.data_bytes)));
        let content = content.unwrap_or_default();
        context.ui.explain(format!("  - id {}, made by rear {}{content}", seal.id, seal.program));
    }
}

/// Rows as lines, in columns.
fn aligned(rows: &[[String; 6]]) -> Vec<String> {
    let mut widths = [0; 6];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: &[String; 6]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn event(found: &Found) -> serde_json::Value {
    let (medium, dir) = match &found.place {
        point::Place::Dir(_) => ("directory", None),
        point::Place::Iso { dir, .. } => ("iso", Some(dir)),
    };
    let seal = found.seal.as_ref();
    let archive = seal.and_then(|seal| seal.archive.as_ref());
    let content = seal.and_then(|seal| seal.content.as_ref());
    json!({
        "event": "point", "path": found.place.path(), "medium": medium, "dir": dir,
        "complete": found.faults.is_empty(), "state": state(found), "faults": found.faults,
        "id": seal.map(|seal| &seal.id), "hostname": seal.map(|seal| &seal.hostname),
        "created": seal.map(|seal| seal.created), "program": seal.map(|seal| &seal.program),
        "archive_bytes": archive.map(|archive| archive.bytes), "entries": seal.and_then(Seal::entries), "method": content.map(|content| &content.method),
        "encryption": seal.and_then(Seal::encryption),
        "url": content.map(|content| &content.url),
        "data_bytes": seal.filter(|seal| seal.has_files()).map(Seal::data_bytes),
        "elsewhere": seal.and_then(|seal| seal.elsewhere.as_ref()), "only": seal.map(|seal| &seal.only),
    })
}

/// The files of one recovery point.
fn contents(context: &Context, options: &List) -> Result<()> {
    let found = Looked::own(context, options.from.as_deref())?.with_files()?;
    let seal = found.sealed()?;
    let name = seal.manifest_name();
    let manifest = found.place.stored(name)?;
    if point::measure_stored(&manifest, name, &context.cancel)? != *seal.part(name)? {
        return Err(Failure::failed(format!(
            "{} is damaged: its checksum is not the sealed one",
            found.place.shown(name)
        ))
        .hint("use another copy of the recovery point"));
    }
    let manifest = Unlocker::new(context, &options.keys)?.open(seal, manifest)?;
    let mut filter = Filter::new(options)?;
    for entry in ManifestReader::of(&manifest)? {
        context.cancel.check()?;
        filter.show(context, &entry?);
    }
    filter.finish("the recovery point")
}

/// The files of a tar that another program made, in its order.
fn foreign_contents(context: &Context, options: &List, path: &Path) -> Result<()> {
    let mut filter = Filter::new(options)?;
    let archive = foreign::open(path)?;
    archive.list(&context.archive_options(), &mut |entry| {
        filter.show(context, entry);
        Ok(())
    })?;
    filter.finish("the archive")
}

/// Which files are printed.
struct Filter<'a> {
    asked: &'a [String],
    all: bool,
    patterns: Vec<Exclude>,
    matched: Vec<bool>,
}

impl<'a> Filter<'a> {
    fn new(options: &'a List) -> Result<Self> {
        let all = options.path.is_empty()
            || options.path.iter().any(|path| path.trim_matches(['/', '*']).is_empty());
        let patterns = if all { &[][..] } else { &options.path[..] };
        let patterns = patterns
            .iter()
            .map(|pattern| Exclude::new(std::slice::from_ref(pattern)))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Failure::new(Code::Usage, error.to_string()))?;
        let matched = vec![false; patterns.len()];
        Ok(Self { asked: &options.path, all, patterns, matched })
    }

    /// Prints an entry that is asked for.
    fn show(&mut self, context: &Context, entry: &Entry) {
        let path = absolute(entry);
        let mut shown = self.all;
        for (pattern, matched) in self.patterns.iter().zip(&mut self.matched) {
            if pattern.covers(&path) {
                (*matched, shown) = (true, true);
            }
        }
        if !shown {
            return;
        }
        if context.common.json {
            context.ui.event(&entry_event(entry, &path));
        } else {
            out(&line(entry, &path));
        }
    }

    /// What was asked for and is not there is an error.
    fn finish(&self, what: &str) -> Result<()> {
        let missing: Vec<&str> = self
            .asked
            .iter()
            .zip(&self.matched)
            .filter(|(_, matched)| !**matched)
            .map(|(path, _)| path.as_str())
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Failure::refused(format!("nothing in {what} matches {}", missing.join(", "))).hint(
            "a path begins with '/'; a name alone is found in every directory, and * ? [ ] match any characters",
        ))
    }
}

fn absolute(entry: &Entry) -> Vec<u8> {
    if entry.path == b"." { b"/".to_vec() } else { [b"/", entry.path.as_slice()].concat() }
}

/// Text for a terminal: what is no text, and what a terminal would obey, is written `%XX`.
pub fn readable(bytes: &[u8]) -> String {
    let mut out = String::new();
    for character in backup::escape::encode(bytes).chars() {
        if character.is_control() {
            let mut buffer = [0; 4];
            for byte in character.encode_utf8(&mut buffer).bytes() {
                out.push_str(&format!("%{byte:02X}"));
            }
        } else {
            out.push(character);
        }
    }
    out
}

/// As `ls -l` writes it.
fn line(entry: &Entry, path: &[u8]) -> String {
    let kind = match entry.kind {
        Kind::Directory => 'd',
        Kind::Symlink => 'l',
        Kind::Character => 'c',
        Kind::Block => 'b',
        Kind::Fifo => 'p',
        Kind::File | Kind::HardLink => '-',
    };
    let size = match entry.kind {
        Kind::File => entry.size.to_string(),
        Kind::Character | Kind::Block => format!("{},{}", entry.device.0, entry.device.1),
        _ => "-".to_owned(),
    };
    let link = match entry.kind {
        Kind::Symlink => format!(" -> {}", readable(&entry.link)),
        Kind::HardLink => format!(" link to /{}", readable(&entry.link)),
        _ => String::new(),
    };
    let owner = format!("{}:{}", entry.uid, entry.gid);
    let mode = mode(entry.mode);
    format!("{kind}{mode} {owner:>11} {size:>13} {} {}{link}", time(entry), readable(path))
}

fn time(entry: &Entry) -> String {
    match jiff::Timestamp::from_second(entry.mtime.0) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => format!("{} s", entry.mtime.0),
    }
}

/// "rwxr-sr-t".
fn mode(bits: u32) -> String {
    let mut out = String::with_capacity(9);
    for (shift, special, set, clear) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')]
    {
        let three = bits >> shift;
        out.push(if three & 4 != 0 { 'r' } else { '-' });
        out.push(if three & 2 != 0 { 'w' } else { '-' });
        out.push(match (bits & special != 0, three & 1 != 0) {
            (true, true) => set,
            (true, false) => clear,
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    out
}

fn entry_event(entry: &Entry, path: &[u8]) -> serde_json::Value {
    let digest = entry.digest.map(|digest| blake3::Hash::from_bytes(digest).to_hex().to_string());
    let link = (!entry.link.is_empty()).then(|| backup::escape::encode(&entry.link).into_owned());
    json!({
        "event": "entry", "path": backup::escape::encode(path), "type": entry.kind.name(),
        "mode": format!("{:04o}", entry.mode), "uid": entry.uid, "gid": entry.gid, "size": entry.size,
        "mtime": entry.mtime.0, "mtime_nanoseconds": entry.mtime.1, "link": link, "digest": digest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_read_as_ls_writes_them_and_obey_no_name() {
        let mut entry = Entry::new(b"tmp/a\n\xff\xc2\x9b2J".to_vec(), Kind::File);
        (entry.mode, entry.uid, entry.size) = (0o4711, 7, 42);
        let text = line(&entry, &absolute(&entry));
        assert_eq!(text, "-rws--x--x         7:0            42 1970-01-01 00:00:00 /tmp/a%0A%FF%C2%9B2J");
        assert_eq!(mode(0o1777), "rwxrwxrwt");
        assert_eq!(mode(0o2640), "rw-r-S---");
    }
}
