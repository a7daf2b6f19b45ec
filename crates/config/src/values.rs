//! Carries out the assignments of the files, one after the other: what each setting is in the end, and where it
//! got its value. Only the form is checked here (known name, text or list); meaning is checked in `settings`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::diagnostic::{Diagnostic, Severity, mask, may_be_secret};
use crate::quote;
use crate::syntax::{Assignment, Given, Pos, Problem, What};
use crate::table::{self, Kind};
use crate::word::{Piece, Word};

/// The value of a setting as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    One(String),
    List(Vec<String>),
}

impl Value {
    /// Neither text nor elements.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::One(text) => text.is_empty(),
            Self::List(items) => items.is_empty(),
        }
    }
}

/// Where a value was assigned: which file, and where in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub file: usize,
    pub key: Pos,
    pub value: Pos,
}

/// A setting's present value.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub value: Value,
    pub place: Option<Place>,
    /// Its last assignment was refused: checks of its meaning would only repeat that.
    pub broken: bool,
}

/// What a finding marks: the file, where in it, and how many characters.
pub(crate) type Spot = (usize, Pos, usize);

/// A file that was read.
#[derive(Debug)]
pub(crate) struct Text {
    pub path: PathBuf,
    pub lines: Vec<String>,
}

/// All values, and what was wrong on the way.
#[derive(Debug)]
pub(crate) struct Values {
    pub files: Vec<Text>,
    pub held: BTreeMap<String, Held>,
    /// Names that can be referred to, but not set.
    constants: BTreeMap<&'static str, String>,
    pub found: Vec<Diagnostic>,
}

impl Values {
    /// The defaults.
    pub fn new(hostname: &str, dir: &str) -> Self {
        let held = table::all()
            .map(|setting| {
                let held = Held { value: setting.preset(hostname), place: None, broken: false };
                (setting.name.to_owned(), held)
            })
            .collect();
        let constants = [
            ("HOSTNAME", hostname.to_owned()),
            // Constants of the Bash program that users' files refer to.
            ("VAR_DIR", "/var/lib/rear".to_owned()),
            ("LOG_DIR", "/var/log/rear".to_owned()),
            ("CONFIG_DIR", dir.to_owned()),
        ];
        Self { files: Vec::new(), held, constants: constants.into(), found: Vec::new() }
    }

    /// A finding at a place in a file.
    pub fn report(
        &mut self,
        severity: Severity,
        (file, pos, width): Spot,
        mut key: Option<&str>,
        mut message: String,
        mut hint: String,
    ) {
        let text = self.files.get(file);
        let line = text.and_then(|text| text.lines.get(pos.line.saturating_sub(1) as usize));
        let excerpt = line.map(|line| {
            let masked = mask(line);
            // The continuation of a secret on a further line has no name in front of it.
            if masked == *line && key.is_some_and(may_be_secret) { "***".to_owned() } else { masked }
        });
        let visible = excerpt.as_ref().map_or(usize::MAX, |line| line.chars().count());
        let known = key.is_some_and(|key| table::find(key).is_some() || table::legacy(key).is_some());
        if pos.column as usize > visible && !known {
            // `SSH_ROOT_PASSWORD=a;b`: what a shell would take for a command is the rest of the password.
            key = None;
            message = "What stands behind the hidden value is no assignment of a setting.".to_owned();
            hint = "If it belongs to the value, put the whole value into single quotes.".to_owned();
        }
        self.found.push(Diagnostic {
            severity,
            file: text.map(|text| text.path.clone()),
            line: pos.line,
            column: pos.column,
            key: key.map(str::to_owned),
            message,
            hint: Some(hint).filter(|hint| !hint.is_empty()),
            excerpt,
            width: u32::try_from(width.max(1)).unwrap_or(1),
        });
    }

    /// The problems of the syntax of one file. Lines of shell code are explained once; a shell program consists
    /// of them. A command in a value is told each time: it can be replaced by its value.
    pub fn problems(&mut self, file: usize, problems: Vec<Problem>) {
        let is_line = |problem: &Problem| problem.what == What::ShellCode && problem.key.is_none();
        let mut more: Vec<u32> = problems.iter().filter(|p| is_line(p)).skip(1).map(|p| p.pos.line).collect();
        more.dedup();
        let convert = format!("rear config convert {}", quote(&self.files[file].path.display().to_string()));
        let (mut line_told, mut convert_told) = (false, false);
        for problem in problems {
            let mut hints: Vec<String> = problem.hint.iter().cloned().collect();
            match &problem.what {
                What::ShellCode if is_line(&problem) && line_told => continue,
                What::ShellCode => {
                    if is_line(&problem) {
                        line_told = true;
                        if !more.is_empty() {
                            let lines: Vec<String> = more.iter().take(12).map(u32::to_string).collect();
                            let rest = if more.len() > 12 { ", …" } else { "" };
                            let s = if more.len() > 1 { "s" } else { "" };
                            hints.push(format!("More shell code in line{s} {}{rest}.", lines.join(", ")));
                        }
                    }
                    if !convert_told {
                        convert_told = true;
                        hints.push(format!("If the file needs a shell, convert it once: {convert}"));
                    }
                }
                What::ExtraWords { append, words } => {
                    let key = problem.key.as_deref().unwrap_or_default();
                    hints.push(extra_words_hint(key, *append, words));
                }
                What::Plain => {}
            }
            let (pos, key) = (problem.pos, problem.key.as_deref());
            let spot = (file, pos, problem.width);
            self.report(Severity::Error, spot, key, problem.message, hints.join("\n"));
        }
    }

    /// Carries one assignment out.
    pub fn assign(&mut self, file: usize, assignment: &Assignment) {
        let key = assignment.key.as_str();
        if self.constants.contains_key(key) {
            let message = format!("{key} cannot be set; it is given by this machine.");
            return self.refuse(file, assignment, message, "Remove the line.".into());
        }
        let setting = table::find(key);
        if setting.is_none() && table::legacy(key).is_none() {
            let hint = match table::nearest(key) {
                Some(near) => format!("Did you mean {near}?"),
                None => format!(
                    "configuration.md in /usr/share/doc/rear lists all settings. A variable of your own cannot be \
                     kept; this writes its value where it is used: rear config convert {}",
                    self.files
                        .get(file)
                        .map(|text| crate::quote(&text.path.display().to_string()))
                        .unwrap_or_default()
                ),
            };
            return self.refuse(file, assignment, format!("{key} is not a setting of rear."), hint);
        }
        let broken = assignment.broken;
        let before = self.held.get(key).map(|held| held.value.clone());
        let kind = setting.filter(|s| s.status == table::Status::Implemented).map(|setting| setting.kind);
        let given = match &assignment.value {
            Given::One(word) => self.one(file, key, word).map(Value::One),
            Given::List(words) => self.many(file, key, words).map(Value::List),
        };
        let Some(given) = given.filter(|_| !broken) else {
            return self.hold(file, assignment, before.unwrap_or(Value::One(String::new())), true);
        };
        if let Some((message, hint)) = wrong_form(key, kind, assignment, &given) {
            return self.refuse(file, assignment, message, hint);
        }
        let value = match (assignment.append, before, given) {
            (true, Some(Value::List(mut old)), Value::List(new)) => {
                old.extend(new);
                Value::List(old)
            }
            (true, Some(Value::One(old)), Value::One(new)) => Value::One(old + &new),
            // A text that becomes a list keeps its words, and a list that gets a text one more element.
            (true, Some(Value::One(old)), Value::List(new)) => {
                Value::List(old.split_whitespace().map(str::to_owned).chain(new).collect())
            }
            (true, Some(Value::List(mut old)), Value::One(new)) => {
                old.extend(new.split_whitespace().map(str::to_owned));
                Value::List(old)
            }
            (_, _, new) => new,
        };
        self.hold(file, assignment, value, false);
    }

    fn hold(&mut self, file: usize, assignment: &Assignment, value: Value, broken: bool) {
        let place = Place { file, key: assignment.pos, value: assignment.value_pos };
        self.held.insert(assignment.key.clone(), Held { value, place: Some(place), broken });
    }

    fn refuse(&mut self, file: usize, assignment: &Assignment, message: String, hint: String) {
        let key = assignment.key.as_str();
        self.report(Severity::Error, (file, assignment.pos, key.len()), Some(key), message, hint);
        // Kept, so that a reference to it is not a second error.
        let value = match &assignment.value {
            Given::One(word) => Value::One(word.raw.clone()),
            Given::List(words) => Value::List(words.iter().map(|word| word.raw.clone()).collect()),
        };
        if !self.constants.contains_key(key) {
            self.hold(file, assignment, value, true);
        }
    }

    /// The value of a word after `KEY=`: one text, never split.
    fn one(&mut self, file: usize, key: &str, word: &Word) -> Option<String> {
        let mut text = String::new();
        for piece in &word.pieces {
            match piece {
                Piece::Text(part) => text.push_str(part),
                Piece::Variable { name, all, at, .. } => match self.lookup(file, key, name, *at)? {
                    Value::One(value) => text.push_str(&value),
                    Value::List(items) if *all => text.push_str(&items.join(" ")),
                    Value::List(_) => {
                        let message = format!("{name} is a list and cannot be part of a text.");
                        let hint = format!("Write KEY=( \"${{{name}[@]}}\" ) where a list is meant.");
                        self.report(Severity::Error, (file, *at, name.len() + 1), Some(key), message, hint);
                        return None;
                    }
                },
            }
        }
        Some(text)
    }

    /// The elements that the words of a list give.
    fn many(&mut self, file: usize, key: &str, words: &[Word]) -> Option<Vec<String>> {
        let mut items = Vec::new();
        for word in words {
            self.elements(file, key, word, &mut items)?;
        }
        Some(items)
    }

    fn elements(&mut self, file: usize, key: &str, word: &Word, items: &mut Vec<String>) -> Option<()> {
        let mut current: Option<String> = None;
        for piece in &word.pieces {
            let (name, all, quoted, at) = match piece {
                Piece::Text(part) => {
                    current.get_or_insert_default().push_str(part);
                    continue;
                }
                Piece::Variable { name, all, quoted, at } => (name, *all, *quoted, *at),
            };
            let value = self.lookup(file, key, name, at)?;
            let values = match value {
                Value::One(value) => vec![value],
                Value::List(values) if all => values,
                Value::List(_) => {
                    let message = format!("{name} is a list.");
                    let hint = format!("Write \"${{{name}[@]}}\" for all of its elements.");
                    self.report(Severity::Error, (file, at, name.len() + 1), Some(key), message, hint);
                    return None;
                }
            };
            if !quoted && values.iter().any(|value| value.contains(['*', '?', '['])) {
                let message = format!(
                    "The value of {name} holds a pattern, which a shell would replace by file names."
                );
                let hint = if all { format!("\"${{{name}[@]}}\"") } else { format!("\"${name}\"") };
                let hint = format!("Put the reference into double quotes: {hint}");
                self.report(Severity::Error, (file, at, name.len() + 1), Some(key), message, hint);
                return None;
            }
            // The first element joins what stands before, the last one what follows; outside quotes blanks
            // separate, too: as in a shell.
            for (i, value) in values.iter().enumerate() {
                if i > 0 {
                    items.extend(current.take());
                }
                if quoted {
                    current.get_or_insert_default().push_str(value);
                    continue;
                }
                for c in value.chars() {
                    match c {
                        ' ' | '\t' | '\n' => items.extend(current.take()),
                        c => current.get_or_insert_default().push(c),
                    }
                }
            }
        }
        items.extend(current);
        Some(())
    }

    fn lookup(&mut self, file: usize, key: &str, name: &str, at: Pos) -> Option<Value> {
        if let Some(value) = self.constants.get(name) {
            return Some(Value::One(value.clone()));
        }
        if let Some(held) = self.held.get(name) {
            return (!held.broken).then(|| held.value.clone());
        }
        let secret = may_be_secret(key);
        let shown = if secret { "…" } else { name };
        let message = format!("The value of ${shown} is not known here.");
        let hint = match table::nearest(name).filter(|_| table::find(name).is_none()) {
            Some(near) if !secret => format!("Did you mean ${near}?"),
            _ => "Only settings and HOSTNAME can be referred to, never the environment; write the value \
                     itself. If the $ is meant as a character, put the value into single quotes."
                .to_owned(),
        };
        self.report(Severity::Error, (file, at, name.len() + 1), Some(key), message, hint);
        None
    }
}

/// A text where a list belongs, or the other way round.
fn wrong_form(
    key: &str,
    kind: Option<Kind>,
    assignment: &Assignment,
    given: &Value,
) -> Option<(String, String)> {
    let op = if assignment.append { "+=" } else { "=" };
    match (kind?, given, &assignment.value) {
        (Kind::List, Value::One(text), Given::One(word)) => {
            let message = format!("{key} is a list; a list needs parentheses.");
            let hint = if text.is_empty() {
                format!("Write {key}{op}()")
            } else {
                format!("Write {key}{op}( {} )", word.raw)
            };
            Some((message, hint))
        }
        (Kind::List | Kind::Words | Kind::Command, ..) | (_, Value::One(_), _) => None,
        (kind, Value::List(items), _) => {
            let message = format!("{key} takes one value ({}), not a list.", kind.describe());
            let hint = match items.as_slice() {
                _ if kind == Kind::Secret => format!("Write {key}{op}'…' without parentheses."),
                [] => format!("Write {key}{op}"),
                items => format!("Write {key}{op}{}", quote(&items.join(" "))),
            };
            Some((message, hint))
        }
    }
}

/// `KEY="/a" "/b"`: the line as it should be.
fn extra_words_hint(key: &str, append: bool, words: &[String]) -> String {
    let op = if append { "+=" } else { "=" };
    let kind = table::find(key).map(|setting| setting.kind);
    if may_be_secret(key) {
        return format!("Put the whole value into single quotes: {key}{op}'…'");
    }
    match kind {
        Some(Kind::List | Kind::Words | Kind::Command) => {
            format!(
                "{key} is a list; a list needs parentheses around its elements:\n{key}{op}( {} )",
                words.join(" ")
            )
        }
        Some(_) => {
            let plain: Vec<&str> = words.iter().map(|word| word.trim_matches(['"', '\''])).collect();
            format!("Put the whole value into quotes:\n{key}{op}{}", quote(&plain.join(" ")))
        }
        None => match table::nearest(key) {
            Some(near) => format!("{key} is not a setting of rear; did you mean {near}?"),
            None => "Put a value with blanks into quotes; a list needs parentheses.".to_owned(),
        },
    }
}
