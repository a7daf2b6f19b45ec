//! Finds and reads the configuration files, in their order, and makes one [`Config`] of them or the list of all
//! that is wrong. It reads these files only, and writes nothing.

use std::collections::BTreeSet;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::diagnostic::{Diagnostic, Errors, Severity};
use crate::quote::double;
use crate::reader::Reader;
use crate::settings::Settings;
use crate::syntax::{self, Pos};
use crate::table::{self, Status};
use crate::values::{Text, Value, Values};

/// Where the configuration comes from.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// The directory of `site.conf` and `local.conf` (option `-c`), usually `/etc/rear`.
    pub dir: &'a Path,
    /// Further files (option `-C`), absolute or relative to `dir`; `.conf` may be left out.
    pub extra: &'a [PathBuf],
    /// The host's name, for defaults and `${HOSTNAME}`.
    pub hostname: &'a str,
}

/// A configuration that can be used.
#[derive(Clone, Debug)]
pub struct Config {
    /// The settings, typed.
    pub settings: Settings,
    /// Every setting that has an effect, and those without one that a file sets, in the order of the manual.
    pub effective: Vec<Effective>,
    /// The files that were looked for, in the order in which they count.
    pub files: Vec<ConfigFile>,
    /// What the user should know, for example settings that have no effect.
    pub warnings: Vec<Diagnostic>,
}

/// A configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    /// Its path.
    pub path: PathBuf,
    /// Whether it is there and not empty.
    pub present: bool,
}

/// A setting's value and where it came from, for `rear dump`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The setting.
    pub name: &'static str,
    /// Its value in double quotes, a list as `("a" "b")`; a secret as `***` when set and nothing when not.
    pub value: String,
    /// Its value as data; a secret as `***` when set and empty when not.
    pub plain: Plain,
    /// Where it was set.
    pub origin: Origin,
    /// What it means.
    pub meaning: &'static str,
    /// Whether the value is hidden.
    pub secret: bool,
}

/// A value as data.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(untagged)]
pub enum Plain {
    /// One text.
    One(String),
    /// A list.
    List(Vec<String>),
}

/// Where a value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: it is the default.
    Default,
    /// In a file (the last assignment).
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u32,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
        }
    }
}

/// The configuration of a machine without any configuration file.
pub fn defaults(hostname: &str) -> Config {
    let mut values = Values::new(hostname, "/etc/rear");
    let (settings, _) = typed(&mut values);
    Config { settings, effective: effective(&values), files: Vec::new(), warnings: Vec::new() }
}

/// Reads `site.conf`, `local.conf` and the further files; the last assignment of a setting counts.
///
/// # Errors
/// Everything that is wrong in all files, with file, line, column and what to write instead. A missing
/// `site.conf` or `local.conf` is no error; a missing further file is.
pub fn load(sources: &Sources<'_>) -> Result<Config, Errors> {
    let mut values = Values::new(sources.hostname, &sources.dir.display().to_string());
    let mut files = Vec::new();
    if sources.dir != Path::new("/etc/rear") && !sources.dir.is_dir() {
        let message = match sources.dir.exists() {
            true => "The configuration directory is no directory.".to_owned(),
            false => "The configuration directory does not exist.".to_owned(),
        };
        let hint = "Give an existing directory with -c.".to_owned();
        whole_file(&mut values, sources.dir, message, hint);
    } else {
        for name in ["site.conf", "local.conf"] {
            let path = sources.dir.join(name);
            let present = read(&mut values, &path, true);
            files.push(ConfigFile { path, present });
        }
    }
    for extra in sources.extra {
        match find_extra(sources.dir, extra) {
            Ok(path) => {
                let present = read(&mut values, &path, false);
                files.push(ConfigFile { path, present });
            }
            Err(tried) => {
                let tried: Vec<String> = tried.iter().map(|path| path.display().to_string()).collect();
                let message = "The configuration file named with -C does not exist.".to_owned();
                let hint = format!(
                    "Looked for {}. Give an absolute path, or one relative to {}.",
                    tried.join(" and "),
                    sources.dir.display()
                );
                whole_file(&mut values, extra, message, hint);
            }
        }
    }
    let (settings, _) = typed(&mut values);
    let effective = effective(&values);
    let (errors, warnings): (Vec<_>, Vec<_>) =
        ordered(values).into_iter().partition(|d| d.severity == Severity::Error);
    if errors.is_empty() {
        Ok(Config { settings, effective, files, warnings })
    } else {
        Err(Errors { errors, warnings })
    }
}

/// Findings in the order of the files and lines; those about no file that was read come first.
fn ordered(values: Values) -> Vec<Diagnostic> {
    let index = |d: &Diagnostic| values.files.iter().position(|text| Some(&text.path) == d.file.as_ref());
    let mut found = values.found.clone();
    found.sort_by_key(|d| (index(d), d.line, d.column));
    // A file that is named twice is read twice, and has its findings once.
    let mut seen = Vec::new();
    found.retain(|d| {
        let new = !seen.contains(d);
        if new {
            seen.push(d.clone());
        }
        new
    });
    found
}

fn typed(values: &mut Values) -> (Settings, BTreeSet<&'static str>) {
    let mut reader = Reader { values, asked: BTreeSet::new() };
    let settings = Settings::read(&mut reader);
    reader.without_effect();
    (settings, reader.asked)
}

fn find_extra(dir: &Path, extra: &Path) -> Result<PathBuf, Vec<PathBuf>> {
    // `join` with an absolute path is that path.
    let exact = dir.join(extra);
    let mut tried = vec![exact.clone()];
    if exact.extension().is_none_or(|extension| extension != "conf") {
        let mut name = exact.into_os_string();
        name.push(".conf");
        tried.push(name.into());
    }
    // A directory does not count as a file of this name: /etc/rear/foo may stand beside foo.conf.
    match tried.iter().find(|path| path.exists() && !path.is_dir()) {
        Some(path) => Ok(path.clone()),
        None => Err(tried),
    }
}

fn whole_file(values: &mut Values, path: &Path, message: String, hint: String) {
    values.found.push(Diagnostic {
        severity: Severity::Error,
        file: Some(path.to_owned()),
        line: 0,
        column: 0,
        key: None,
        message,
        hint: Some(hint),
        excerpt: None,
        width: 0,
    });
}

/// What would be found in a file with this text.
pub(crate) fn check(text: &str, path: &Path, hostname: &str) -> Vec<Diagnostic> {
    let mut values = Values::new(hostname, "/etc/rear");
    source(&mut values, path, text.to_owned());
    typed(&mut values);
    ordered(values)
}

/// Reads one file and carries its assignments out; whether it was there and not empty.
fn read(values: &mut Values, path: &Path, may_miss: bool) -> bool {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        // A link that leads nowhere is not a missing file: somebody's settings are meant to be here.
        Err(error) if may_miss && error.kind() == ErrorKind::NotFound && !path.is_symlink() => return false,
        Err(error) => {
            let message = format!("The configuration file cannot be read: {error}.");
            let hint = match error.kind() {
                ErrorKind::NotFound => {
                    "It is a symbolic link to a file that is not there: restore that file, or remove the link."
                }
                ErrorKind::IsADirectory => "Remove or rename the directory; the settings belong into a file.",
                _ => "Run rear as root, or correct the file's permissions.",
            }
            .to_owned();
            whole_file(values, path, message, hint);
            return false;
        }
    };
    let present = !bytes.is_empty();
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => return not_text(values, path, &error),
    };
    source(values, path, text);
    present
}

/// Carries the assignments of a file's text out.
fn source(values: &mut Values, path: &Path, text: String) {
    let file = values.files.len();
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned();
    let lines = text.split('\n').map(|line| line.trim_end_matches('\r').to_owned()).collect();
    values.files.push(Text { path: path.to_owned(), lines });
    if let Some(at) = text.find('\0') {
        let line = number(text[..at].matches('\n').count() + 1);
        let hint = "The file may be damaged; restore it or write it again.".to_owned();
        let message = "The file contains a NUL character: it is no text file.".to_owned();
        values.report(Severity::Error, (file, Pos { line, column: 0 }, 0), None, message, hint);
        return;
    }
    let text = if text.contains('\r') { carriage_returns(values, file, &text) } else { text };
    let parsed = syntax::parse(&text);
    for assignment in &parsed.assignments {
        values.assign(file, assignment);
    }
    values.problems(file, parsed.problems);
}

fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn not_text(values: &mut Values, path: &Path, error: &std::string::FromUtf8Error) -> bool {
    let at = error.utf8_error().valid_up_to();
    let bytes = error.as_bytes();
    let line = bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
    let start = bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |n| n + 1);
    let column = String::from_utf8_lossy(&bytes[start..at]).chars().count() + 1;
    let shown = String::from_utf8_lossy(bytes);
    let file = values.files.len();
    values.files.push(Text { path: path.to_owned(), lines: shown.split('\n').map(str::to_owned).collect() });
    let message = format!(
        "The byte 0x{:02x} is no valid UTF-8 text; the file seems to be in another encoding.",
        bytes.get(at).copied().unwrap_or_default()
    );
    let path = crate::quote(&path.display().to_string());
    let hint = format!("Convert it, for example: iconv -f ISO-8859-1 -t UTF-8 -o {path}.new {path}");
    values.report(
        Severity::Error,
        (file, Pos { line: number(line), column: number(column) }, 1),
        None,
        message,
        hint,
    );
    true
}

/// Reports carriage returns once, and gives the text without them so that it is still checked.
fn carriage_returns(values: &mut Values, file: usize, text: &str) -> String {
    let lines: Vec<usize> = text
        .split('\n')
        .enumerate()
        .filter(|(_, line)| line.contains('\r'))
        .map(|(index, _)| index + 1)
        .collect();
    let message = match lines.len() {
        1 => "The line contains a carriage return (the line end of Windows), which would become part of the value."
            .to_owned(),
        n => format!(
            "{n} lines contain a carriage return (the line end of Windows), which would become part of the values."
        ),
    };
    let path = crate::quote(&values.files[file].path.display().to_string());
    let hint = format!("Remove them: sed -i 's/\\r//g' {path}");
    let line = number(lines.first().copied().unwrap_or(1));
    let column = values.files[file]
        .lines
        .get(line as usize - 1)
        .map_or(1, |line| number(line.chars().take_while(|c| *c != '\r').count().max(1)));
    values.report(Severity::Error, (file, Pos { line, column }, 1), None, message, hint);
    text.replace('\r', "")
}

fn effective(values: &Values) -> Vec<Effective> {
    let mut list = Vec::new();
    for setting in table::all() {
        let Some(held) = values.held.get(setting.name) else { continue };
        if held.place.is_none() && setting.status != Status::Implemented {
            continue;
        }
        let secret = setting.is_secret();
        let plain = match &held.value {
            value if secret && value.is_empty() => Plain::One(String::new()),
            _ if secret => Plain::One("***".to_owned()),
            Value::One(text) => Plain::One(crate::diagnostic::mask_url_password(text)),
            Value::List(items) => Plain::List(items.clone()),
        };
        let value = match &plain {
            Plain::One(text) if secret => text.clone(),
            Plain::One(text) => double(text),
            Plain::List(items) => {
                let items: Vec<String> = items.iter().map(|item| double(item)).collect();
                format!("({})", items.join(" "))
            }
        };
        let origin = match held.place.and_then(|place| Some((values.files.get(place.file)?, place))) {
            Some((text, place)) => Origin::File { path: text.path.clone(), line: place.key.line },
            None => Origin::Default,
        };
        list.push(Effective { name: setting.name, value, plain, origin, meaning: setting.meaning, secret });
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_declared_setting_is_read_and_every_read_one_declared() {
        let mut values = Values::new("host", "/etc/rear");
        let (_, asked) = typed(&mut values);
        let declared: BTreeSet<&str> =
            table::all().filter(|s| s.status == Status::Implemented).map(|s| s.name).collect();
        let missing: Vec<_> = declared.difference(&asked).collect();
        assert!(missing.is_empty(), "declared but never read: {missing:?}");
        assert!(asked.iter().all(|name| table::find(name).is_some()));
        assert_eq!(values.found, [], "the defaults are right");
    }
}
