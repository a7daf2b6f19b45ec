//! Reads the final values by type, and reports those that do not fit. It knows types, not what a setting is for.

use std::collections::BTreeSet;
use std::path::PathBuf;

use sys::Secret;

use crate::diagnostic::{Severity, mask_url_password};
use crate::location::Refused;
use crate::quote;
use crate::settings::Tristate;
use crate::syntax;
use crate::table::{self, NO, Setting, Status, YES};
use crate::values::{Value, Values};
use crate::word::Piece;

pub(crate) struct Reader<'a> {
    pub values: &'a mut Values,
    /// Every name that was asked for: a declared setting that nobody reads is a mistake of ours.
    pub asked: BTreeSet<&'static str>,
}

impl Reader<'_> {
    /// The value of a setting; an empty text for one that was refused already.
    fn value(&mut self, name: &'static str) -> Value {
        self.asked.insert(name);
        match self.values.held.get(name) {
            Some(held) if !held.broken => held.value.clone(),
            _ => Value::One(String::new()),
        }
    }

    /// Reports an error at the place where the setting got its value.
    pub fn error(&mut self, name: &str, message: String, hint: String) {
        self.report(Severity::Error, name, message, hint);
    }

    /// Says something about a setting at its place, without refusing it.
    pub fn warning(&mut self, name: &str, message: String, hint: String) {
        self.report(Severity::Warning, name, message, hint);
    }

    fn report(&mut self, severity: Severity, name: &str, message: String, hint: String) {
        let Some(held) = self.values.held.get(name) else { return };
        // A default is never wrong; a refused value was reported already.
        let (Some(place), false) = (held.place, held.broken) else { return };
        let pos = if severity == Severity::Error { place.value } else { place.key };
        let line =
            self.values.files.get(place.file).and_then(|f| f.lines.get(pos.line.saturating_sub(1) as usize));
        let width = match (severity, line) {
            (Severity::Warning, _) => name.len(),
            (Severity::Error, Some(line)) => {
                let rest: String = line.chars().skip(pos.column.saturating_sub(1) as usize).collect();
                let end = rest.find(" #").unwrap_or(rest.len());
                rest[..end].trim_end().chars().count()
            }
            (Severity::Error, None) => 1,
        };
        self.values.report(severity, (place.file, pos, width), Some(name), message, hint);
    }

    /// Whether a file set it.
    pub fn is_set(&self, name: &str) -> bool {
        self.values.held.get(name).is_some_and(|held| held.place.is_some() && !held.broken)
    }

    pub fn text(&mut self, name: &'static str) -> String {
        match self.value(name) {
            Value::One(text) => text,
            Value::List(items) => items.join(" "),
        }
    }

    pub fn list(&mut self, name: &'static str) -> Vec<String> {
        match self.value(name) {
            Value::One(text) if text.is_empty() => Vec::new(),
            Value::One(text) => vec![text],
            Value::List(items) => items,
        }
    }

    /// A list, or a text split at blanks. Empty elements say nothing and are dropped.
    pub fn words(&mut self, name: &'static str) -> Vec<String> {
        let items = match self.value(name) {
            Value::One(text) => text.split_whitespace().map(str::to_owned).collect(),
            Value::List(items) => items,
        };
        items.into_iter().filter(|item| !item.is_empty()).collect()
    }

    /// One of the allowed words; `None` when it is another one (then reported).
    pub fn word(&mut self, name: &'static str) -> Option<String> {
        let text = self.text(name);
        let setting = table::find(name)?;
        if setting.allowed.iter().any(|word| *word == text || (*word == "(empty)" && text.is_empty())) {
            return Some(text);
        }
        let listed = setting.allowed.join(", ");
        if self.refuses_foreign(setting, &text) {
            return None;
        }
        let same = setting.allowed.iter().find(|word| word.eq_ignore_ascii_case(&text));
        let near = same.copied().or_else(|| {
            crate::suggest::nearest(
                &text,
                setting.allowed.iter().copied().filter(|word| !word.starts_with('(')),
            )
        });
        let hint = match near {
            Some(near) => format!("Did you mean {name}={near}? Allowed: {listed}."),
            None => format!("Allowed: {listed}."),
        };
        self.error(name, format!("{name} cannot be {}.", shown(&text)), hint);
        None
    }

    /// Whether this is a word that the Bash program knows and we do not yet; then it is reported.
    fn refuses_foreign(&mut self, setting: &'static Setting, text: &str) -> bool {
        let known = setting.foreign.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        let Some((word, what)) = known else { return false };
        self.error(
            setting.name,
            format!("{}={word} is not supported yet.", setting.name),
            (*what).to_owned(),
        );
        true
    }

    pub fn tristate(&mut self, name: &'static str) -> Tristate {
        let text = self.text(name);
        let lower = text.to_ascii_lowercase();
        if text.is_empty() {
            return Tristate::Auto;
        }
        if YES.contains(&lower.as_str()) {
            return Tristate::Yes;
        }
        if NO.contains(&lower.as_str()) {
            return Tristate::No;
        }
        if table::find(name).is_some_and(|setting| self.refuses_foreign(setting, &text)) {
            return Tristate::Auto;
        }
        let guess = match lower.as_str() {
            "auto" | "automatic" => format!("Did you mean {name}= (empty)? "),
            "on" | "enable" | "enabled" | "always" => format!("Did you mean {name}=yes? "),
            "off" | "disable" | "disabled" | "never" => format!("Did you mean {name}=no? "),
            _ => String::new(),
        };
        let hint = format!(
            "{guess}Write one of yes, y, true, t, 1 or no, n, false, f, 0 (in any letter case), or leave it \
             empty for the automatic choice."
        );
        self.error(name, format!("{name} cannot be {}: it is neither yes nor no.", shown(&text)), hint);
        Tristate::Auto
    }

    /// A whole number; `None` when empty or wrong (then reported).
    pub fn number(&mut self, name: &'static str) -> Option<u64> {
        let text = self.text(name);
        if text.is_empty() {
            return None;
        }
        let number = text.parse::<u64>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
        if number.is_none() {
            let hint = "Write digits only, without a unit or sign.".to_owned();
            self.error(name, format!("{name} cannot be {}: it is no whole number.", shown(&text)), hint);
        }
        number
    }

    /// An absolute path; `None` when empty or wrong (then reported).
    pub fn path(&mut self, name: &'static str) -> Option<PathBuf> {
        let text = self.text(name);
        if text.is_empty() {
            return None;
        }
        if !text.starts_with('/') {
            let message = format!("{name} cannot be {}: it is no absolute path.", shown(&text));
            self.error(name, message, "Write a path that begins with '/'.".into());
            return None;
        }
        Some(PathBuf::from(text))
    }

    pub fn secret(&mut self, name: &'static str) -> Option<Secret> {
        let text = self.text(name);
        (!text.is_empty()).then(|| Secret::new(text))
    }

    /// A URL by its parser.
    pub fn url<T>(&mut self, name: &'static str, parse: impl Fn(&str) -> Result<T, Refused>) -> Option<T> {
        if self.values.held.get(name).is_some_and(|held| held.broken) {
            self.asked.insert(name);
            return None;
        }
        let text = self.text(name);
        match parse(&text) {
            Ok(place) => Some(place),
            Err(refused) => {
                let message = format!("{}.", mask_url_password(&refused.message));
                self.error(name, message, mask_url_password(&refused.hint));
                None
            }
        }
    }

    /// A program with its arguments.
    pub fn command(&mut self, name: &'static str) -> Vec<String> {
        let argv = match self.value(name) {
            Value::List(items) => items,
            Value::One(text) => match split_command(&text) {
                Ok(argv) => argv,
                Err(why) => {
                    let hint =
                        "No shell interprets it. Put the commands into a script file and name the file, \
                                or write a list: KEY=( PROGRAM ARGUMENT … )."
                            .replace("KEY", name);
                    self.error(name, format!("{name} cannot be run as one program: {why}."), hint);
                    return Vec::new();
                }
            },
        };
        match argv.first() {
            Some(program) if program.is_empty() || program.chars().any(char::is_whitespace) => {
                let words: Vec<String> = argv.iter().flat_map(|w| w.split_whitespace()).map(quote).collect();
                let message = format!(
                    "The first element of {name} is the program, and {} is no name of a program.",
                    shown(program)
                );
                self.error(name, message, format!("Write {name}=( {} )", words.join(" ")));
                Vec::new()
            }
            _ => argv,
        }
    }

    /// Settings that are set but have no effect: says for each what happens instead.
    pub fn without_effect(&mut self) {
        let set: Vec<(String, Value)> = self
            .values
            .held
            .iter()
            .filter(|(_, held)| held.place.is_some() && !held.broken)
            .map(|(name, held)| (name.clone(), held.value.clone()))
            .collect();
        for (name, value) in set {
            let (severity, message, instead) = match table::find(&name) {
                None => match table::legacy(&name) {
                    Some(legacy) => (
                        legacy.severity,
                        format!("{name} is a setting of the Bash program that is not supported yet."),
                        legacy.instead,
                    ),
                    None => continue,
                },
                Some(setting) => match setting.status {
                    Status::Implemented => continue,
                    Status::Retired { instead } => {
                        (Severity::Error, format!("{name} cannot be set in a configuration file."), instead)
                    }
                    Status::NotYet { .. } if is_quiet(setting, &value) => continue,
                    Status::NotYet { severity, instead } => {
                        let what = match severity {
                            Severity::Error => "is not supported yet, and ignoring it would be dangerous.",
                            Severity::Warning => "has no effect.",
                        };
                        (severity, format!("{name} {what}"), instead)
                    }
                },
            };
            // An empty value asks for nothing. (A retired name is refused in any form.)
            let retired = table::find(&name).is_some_and(|s| matches!(s.status, Status::Retired { .. }));
            if value.is_empty() && !retired {
                continue;
            }
            self.report(severity, &name, message, instead.to_owned());
        }
    }
}

/// Whether the value asks for what happens anyway.
fn is_quiet(setting: &table::Setting, value: &Value) -> bool {
    let matches = |text: &str| {
        let words = [NO, YES].iter().any(|words| words.contains(&text.to_ascii_lowercase().as_str()));
        setting.quiet.iter().any(|quiet| *quiet == text || (words && quiet.eq_ignore_ascii_case(text)))
    };
    match value {
        Value::One(text) => matches(text),
        Value::List(items) => items.iter().all(|item| matches(item)),
    }
}

/// Splits a command line into words by the quoting rules of a shell, refusing everything else of a shell.
fn split_command(text: &str) -> Result<Vec<String>, String> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    if text.trim().contains('\n') {
        return Err("it has several lines".into());
    }
    let parsed = syntax::parse(&format!("X=( {} \n)", text.trim()));
    if let Some(problem) = parsed.problems.first() {
        return Err(problem.message.trim_end_matches('.').to_owned());
    }
    let mut assignments = parsed.assignments.into_iter();
    // A second assignment: the text closed our parenthesis.
    let (Some(syntax::Given::List(words)), None) = (assignments.next().map(|a| a.value), assignments.next())
    else {
        return Err("it cannot be split into words".into());
    };
    words
        .into_iter()
        .map(|word| {
            word.pieces.into_iter().try_fold(String::new(), |text, piece| match piece {
                Piece::Text(part) => Ok(text + &part),
                Piece::Variable { name, .. } => Err(format!("${name} would need a shell")),
            })
        })
        .collect()
}

/// A value in a message.
fn shown(text: &str) -> String {
    if text.is_empty() { "empty".to_owned() } else { quote(text) }
}

#[cfg(test)]
mod tests {
    use super::split_command;

    #[test]
    fn commands_are_split_without_a_shell() {
        assert_eq!(split_command(r#"/bin/x "a b" 'c'\''d' e"#).unwrap(), ["/bin/x", "a b", "c'd", "e"]);
        assert!(split_command("").unwrap().is_empty());
        for bad in [
            "a | b",
            "a; b",
            "a > b",
            "a && b",
            "echo $HOME",
            "echo `id`",
            "a\nb",
            "ls *.x",
            "a 'b",
            "a ); Y=( b",
        ] {
            assert!(split_command(bad).is_err(), "{bad}");
        }
    }
}
