//! `rear config convert FILE`: a configuration file that is a shell program becomes plain assignments, once.
//!
//! This is the one place where a shell runs: only bash can say what a bash program assigns. It runs only when
//! the owner of the file asks for it, in an empty environment, without start-up files, without input and with a
//! time limit, and the result is for a person to review. Nothing is written here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sys::{Cmd, Sys};

use crate::diagnostic::{Severity, may_be_secret};
use crate::quote;
use crate::quote::ansi;
use crate::table::{self, Kind, Preset};

/// How long the file may take.
const LIMIT: Duration = Duration::from_secs(30);

/// What bash is given; it is a file of its own so that it can be read and checked as a script.
const SCRIPT: &str = include_str!("evaluate.bash");

/// A converted file.
#[derive(Clone)]
pub struct Converted {
    /// Plain assignments, in the order of the manual. **It contains the file's secrets**: write it only to a file
    /// that is created with mode 0600 (or to the terminal of the person who asked), never to a log.
    pub text: String,
    /// What the person should look at before using the text.
    pub warnings: Vec<String>,
}

impl std::fmt::Debug for Converted {
    /// Without the text, which contains secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Converted").field("warnings", &self.warnings).finish_non_exhaustive()
    }
}

/// Why a file could not be converted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be found or read.
    #[error("the file to convert cannot be read: {0}")]
    File(#[source] sys::Error),
    /// There is no bash.
    #[error(
        "bash is not installed on this system, and only bash can evaluate {path}; write its settings as plain \
             assignments by hand"
    )]
    NoBash {
        /// The file.
        path: PathBuf,
    },
    /// Bash did not come to an end.
    #[error(
        "bash did not finish {path} within {seconds} s and was stopped; the file must only assign values, and \
             must not wait for input or the network"
    )]
    Timeout {
        /// The file.
        path: PathBuf,
        /// The limit in seconds.
        seconds: u64,
    },
    /// Bash could not be run to its end.
    #[error("bash could not evaluate {path}: {why}")]
    Bash {
        /// The file.
        path: PathBuf,
        /// What happened.
        why: String,
    },
    /// The file is no valid bash program.
    #[error("bash refuses {path} as it is; correct this first:\n{said}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What bash said.
        said: String,
    },
    /// The file ended the shell.
    #[error("{path} ended the shell before its last line (by 'exit', 'exec' or 'set -e'), so its settings are not \
             known; remove that{}", printed_text(.printed))]
    Ended {
        /// The file.
        path: PathBuf,
        /// What it printed before.
        printed: String,
    },
    /// A signal stopped the run.
    #[error("stopped by a signal")]
    Cancelled,
}

fn printed_text(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("; it printed:\n{text}") }
}

/// Lets bash evaluate `file` once, and gives what it assigned as plain assignments. See [`Converted::text`] for
/// how to treat the result.
///
/// # Errors
/// When the file cannot be read, is no valid bash program, does not end in 30 s, or ends the shell.
pub fn convert(sys: &dyn Sys, file: &Path) -> Result<Converted, Error> {
    // Absolute: `source` would look for a bare name in PATH.
    let path = sys.canonicalize(file).map_err(Error::File)?;
    let own_text = sys.read(&path).map_err(Error::File)?;
    let earlier: Vec<PathBuf> = earlier(&path).into_iter().filter(|path| sys.exists(path)).collect();
    let every_code: Vec<i32> = (1..256).collect();
    let cmd = Cmd::new("bash")
        .args(["--norc", "--noprofile", "-c"])
        .arg(SCRIPT.replace("@PRESETS@", &presets()))
        .arg("rear")
        .arg(path.display().to_string())
        .args(earlier.iter().map(|path| path.display().to_string()))
        // Any code: an error of `run` would show the end of the output, which may hold a password.
        .accept(&every_code)
        .timeout(LIMIT);
    let output = sys.run(&cmd).map_err(|error| match error {
        sys::Error::NoProgram { .. } => Error::NoBash { path: path.clone() },
        sys::Error::Timeout { seconds, .. } => Error::Timeout { path: path.clone(), seconds },
        sys::Error::Cancelled => Error::Cancelled,
        sys::Error::Failed { status, .. } => {
            Error::Bash { path: path.clone(), why: format!("it ended with {status}") }
        }
        other => Error::Bash { path: path.clone(), why: other.to_string() },
    })?;
    let answer = Answer::parse(&output.stdout, &path, &earlier)?;
    Ok(answer.render(&path, &earlier, &assigned(&text(&own_text).0)))
}

/// The files that `rear` reads before this one, by their names: bash evaluates them first, so that this file can use
/// and extend what they set, and so that what it sets back to a default is seen as a change.
fn earlier(path: &Path) -> Vec<PathBuf> {
    let beside = |name: &str| path.with_file_name(name);
    match path.file_name().and_then(|name| name.to_str()) {
        Some("site.conf") | None => Vec::new(),
        Some(name) if name.ends_with(".conf") && name != "local.conf" => {
            vec![beside("site.conf"), beside("local.conf")]
        }
        Some(_) => vec![beside("site.conf")],
    }
}

/// The settings that stand before a `=` or `+=` in the text. What is assigned is kept even where its value is the
/// default: the owner wrote it on purpose, and defaults change.
fn assigned(text: &str) -> BTreeSet<&'static str> {
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_$-{".contains(c);
    let is_assigned = |name: &str| {
        code.iter().any(|line| {
            line.match_indices(name).any(|(at, _)| {
                let (before, after) = (&line[..at], &line[at + name.len()..]);
                !before.ends_with(is_word) && (after.starts_with('=') || after.starts_with("+="))
            })
        })
    };
    table::all().map(|setting| setting.name).filter(|name| is_assigned(name)).collect()
}

/// The defaults as bash assignments, so that `KERNEL_CMDLINE="$KERNEL_CMDLINE x"` and `+=` work.
fn presets() -> String {
    // HOSTNAME is bash's own variable.
    let filled = |text: &str| -> String {
        let parts: Vec<String> = text.split("${HOSTNAME}").map(quote).collect();
        parts.join("\"$HOSTNAME\"")
    };
    let mut lines = Vec::new();
    for setting in table::all() {
        match setting.default {
            // What takes a text or a list stays unset: a text that is assigned to a list variable would
            // become its first element.
            Preset::List([]) if setting.kind != Kind::List => {}
            Preset::One(_) if setting.kind == Kind::Command || setting.name == "TMPDIR" => {}
            Preset::List([one]) if setting.kind == Kind::Words => {
                lines.push(format!("{}={}", setting.name, filled(one)));
            }
            Preset::One(text) => lines.push(format!("{}={}", setting.name, filled(text))),
            Preset::List(items) => {
                let items: Vec<String> = items.iter().map(|item| filled(item)).collect();
                lines.push(format!("{}=({})", setting.name, items.join(" ")));
            }
        }
    }
    lines.join("\n")
}

/// A variable of bash.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Variable {
    attributes: String,
    values: Vec<String>,
    lossy: bool,
}

impl Variable {
    fn is_list(&self) -> bool {
        self.attributes.contains('a')
    }

    fn is_map(&self) -> bool {
        self.attributes.contains('A')
    }
}

type Variables = BTreeMap<String, Variable>;

struct Answer {
    before: Variables,
    after: Variables,
    printed: String,
}

impl Answer {
    fn parse(bytes: &[u8], path: &Path, earlier: &[PathBuf]) -> Result<Self, Error> {
        let broken = |why: &str| Error::Bash { path: path.to_owned(), why: why.to_owned() };
        if let Some((said, _)) = split(bytes, b"\0@REAR:SYNTAX@\0") {
            return Err(Error::Syntax { path: path.to_owned(), said: mask_lines(&text(said).0) });
        }
        let earlier_marker = b"\0@REAR:EARLIER@\0";
        let Some((printed_before, rest)) = split(bytes, b"\0@REAR:BEFORE@\0") else {
            // The last of the earlier files that was begun ended the shell.
            let begun = pieces(bytes, earlier_marker);
            return Err(match begun.len().checked_sub(2).and_then(|index| earlier.get(index)) {
                Some(path) => Error::Ended {
                    path: path.clone(),
                    printed: mask_lines(&text(begun.last().copied().unwrap_or_default()).0),
                },
                None => broken("it gave no answer"),
            });
        };
        let (before, rest) =
            split(rest, b"\0@REAR:FILE@\0").ok_or_else(|| broken("its answer is cut off"))?;
        let Some((printed, after)) = split(rest, b"\0@REAR:AFTER@\0") else {
            return Err(Error::Ended { path: path.to_owned(), printed: mask_lines(&text(rest).0) });
        };
        let Some(after) = after.strip_suffix(b"@REAR:END@\0") else {
            return Err(broken("its answer is cut off"));
        };
        let variables = |bytes| variables(bytes).ok_or_else(|| broken("its answer cannot be understood"));
        let printed = pieces(printed_before, earlier_marker)
            .into_iter()
            .skip(1)
            .chain([printed])
            .map(|bytes| text(bytes).0)
            .collect();
        Ok(Self { before: variables(before)?, after: variables(after)?, printed })
    }

    fn render(&self, path: &Path, earlier: &[PathBuf], assigned: &BTreeSet<&str>) -> Converted {
        let is_wanted = |name: &str, variable: &Variable| {
            !is_shells_own(name) && (self.before.get(name) != Some(variable) || assigned.contains(name))
        };
        let changed: BTreeMap<&str, &Variable> = self
            .after
            .iter()
            .filter(|(name, variable)| is_wanted(name, variable))
            .map(|(name, variable)| (name.as_str(), variable))
            .collect();
        let mut warnings = Vec::new();
        let mut lines = vec![
            format!("# Made by `rear config convert {}`.", quote(&path.display().to_string())),
            "# Review it before you use it. It can hold passwords: only root may read it (mode 0600)."
                .to_owned(),
        ];
        if !earlier.is_empty() {
            let names: Vec<String> = earlier.iter().map(|path| path.display().to_string()).collect();
            lines.push(format!("# Evaluated after {}, as rear reads them.", names.join(" and ")));
        }
        lines.push(String::new());
        let declared = table::all().map(|setting| setting.name).filter(|name| changed.contains_key(name));
        let legacy =
            changed.keys().copied().filter(|n| table::find(n).is_none() && table::legacy(n).is_some());
        for name in declared.chain(legacy) {
            let variable = changed[name];
            if variable.is_map() {
                warnings.push(format!(
                    "{name} is an associative array, which no setting can be; it was left out."
                ));
                continue;
            }
            if variable.lossy {
                warnings.push(format!("{name} held bytes that are no UTF-8 text; they were replaced."));
            }
            if variable.values.iter().any(|value| value.contains('\r')) {
                warnings.push(format!(
                    "{name} holds a carriage return: the file has line ends of Windows; remove them and convert again."
                ));
            }
            lines.push(assignment(name, self.before.get(name), variable));
        }
        let unknown: Vec<_> = changed
            .iter()
            .filter(|(name, _)| table::find(name).is_none() && table::legacy(name).is_none())
            .collect();
        if !unknown.is_empty() {
            lines.push(String::new());
            lines.push("# These variables are no settings of rear. They were left out:".to_owned());
            for (name, variable) in unknown {
                lines.push(comment(name, variable));
            }
        }
        if let Some(printed) = self.shown_output() {
            warnings.push(format!("While bash evaluated the file, it printed: {printed}"));
        }
        if self.printed.contains("command not found") {
            warnings.push(
                "The file uses a command that bash does not know: what depends on it may have come out wrong, so \
                 check those settings."
                    .to_owned(),
            );
        }
        let text = lines.join("\n") + "\n";
        let hostname =
            self.before.get("HOSTNAME").and_then(|v| v.values.first()).cloned().unwrap_or_default();
        for finding in crate::load::check(&text, path, &hostname) {
            let kind = if finding.severity == Severity::Error { "refused" } else { "note" };
            let hint = finding.hint.map(|hint| format!(" {}", hint.replace('\n', " "))).unwrap_or_default();
            warnings.push(format!("{kind}: {}{hint}", finding.message));
        }
        Converted { text, warnings }
    }

    /// The first lines of what the file printed, secrets replaced.
    fn shown_output(&self) -> Option<String> {
        let mut printed = mask_lines(self.printed.trim());
        let secrets = self
            .after
            .iter()
            .filter(|(name, _)| may_be_secret(name) && !is_shells_own(name))
            .flat_map(|(_, v)| &v.values);
        for secret in secrets {
            // A password of several words may be printed as its words ("command not found").
            for part in std::iter::once(secret.as_str()).chain(secret.split_whitespace()) {
                if part.chars().count() > 2 {
                    printed = printed.replace(part, "***");
                }
            }
        }
        let lines: Vec<&str> = printed.lines().take(5).collect();
        (!lines.is_empty()).then(|| lines.join(" / "))
    }
}

/// Lines that bash quotes from the file, with secrets replaced.
fn mask_lines(text: &str) -> String {
    text.trim().lines().take(20).map(crate::diagnostic::mask).collect::<Vec<_>>().join("\n")
}

/// `before` is what the variable was when the file began: a list that only grew is appended to.
fn assignment(name: &str, before: Option<&Variable>, variable: &Variable) -> String {
    if variable.is_list() {
        let appended = before
            .filter(|before| before.is_list() && !before.values.is_empty())
            .and_then(|before| variable.values.strip_prefix(before.values.as_slice()))
            .filter(|rest| !rest.is_empty());
        if let Some(rest) = appended {
            let items: Vec<String> = rest.iter().map(|value| quote(value)).collect();
            return format!("{name}+=( {} )", items.join(" "));
        }
        let items: Vec<String> = variable.values.iter().map(|value| quote(value)).collect();
        match items.as_slice() {
            [] => format!("{name}=()"),
            items => format!("{name}=( {} )", items.join(" ")),
        }
    } else {
        match variable.values.first().map(String::as_str) {
            None | Some("") => format!("{name}="),
            Some(value) => format!("{name}={}", quote(value)),
        }
    }
}

/// On one line in any case: a comment ends with its line.
fn comment(name: &str, variable: &Variable) -> String {
    let values: Vec<String> = variable.values.iter().map(|value| ansi(value)).collect();
    if variable.is_list() || variable.is_map() {
        format!("# {name}=( {} )", values.join(" "))
    } else {
        format!("# {name}={}", values.join(" "))
    }
}

/// Variables that bash itself sets and changes.
fn is_shells_own(name: &str) -> bool {
    const OWN: &[&str] = &[
        "_",
        "CONFIG_DIR",
        "VAR_DIR",
        "LOG_DIR",
        "SHARE_DIR",
        "SECRET_OUTPUT_DEV",
        "COLUMNS",
        "COMP_WORDBREAKS",
        "DIRSTACK",
        "EPOCHREALTIME",
        "EPOCHSECONDS",
        "EUID",
        "FUNCNAME",
        "GROUPS",
        "HISTCMD",
        "HOME",
        "HOSTTYPE",
        "IFS",
        "LC_ALL",
        "LINENO",
        "LINES",
        "MACHTYPE",
        "MAPFILE",
        "OLDPWD",
        "OPTARG",
        "OPTERR",
        "OPTIND",
        "OSTYPE",
        "PATH",
        "PIPESTATUS",
        "PPID",
        "PS4",
        "PWD",
        "RANDOM",
        "REPLY",
        "SECONDS",
        "SHELL",
        "SHELLOPTS",
        "SHLVL",
        "SRANDOM",
        "TERM",
        "UID",
        "HOSTNAME",
    ];
    OWN.contains(&name) || name.starts_with("BASH") || name.starts_with("__rear_")
}

fn split<'a>(bytes: &'a [u8], marker: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes.windows(marker.len()).position(|window| window == marker)?;
    Some((&bytes[..at], &bytes[at + marker.len()..]))
}

/// What lies between the markers.
fn pieces<'a>(mut bytes: &'a [u8], marker: &[u8]) -> Vec<&'a [u8]> {
    let mut found = Vec::new();
    while let Some((head, tail)) = split(bytes, marker) {
        found.push(head);
        bytes = tail;
    }
    found.push(bytes);
    found
}

fn text(bytes: &[u8]) -> (String, bool) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), false),
        Err(_) => (String::from_utf8_lossy(bytes).into_owned(), true),
    }
}

fn variables(bytes: &[u8]) -> Option<Variables> {
    let mut found = Variables::new();
    // Every field ends with a NUL, so the last piece is empty.
    let mut fields = bytes.strip_suffix(b"\0").unwrap_or(bytes).split(|byte| *byte == 0);
    while let Some(name) = fields.next() {
        if name.is_empty() {
            break;
        }
        let attributes = text(fields.next()?).0;
        let count: usize = text(fields.next()?).0.parse().ok()?;
        let mut variable = Variable { attributes, values: Vec::new(), lossy: false };
        for _ in 0..count {
            let (value, lossy) = text(fields.next()?);
            variable.values.push(value);
            variable.lossy |= lossy;
        }
        found.insert(text(name).0, variable);
    }
    Some(found)
}
