//! A program run as data: what a step will do, printable before anything is done. It never runs anything.

use serde::{Deserialize, Serialize};

/// One program run. The program is found in the fixed search path; there is never a shell in between.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Name of the program.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// What it reads from standard input.
    pub stdin: Option<String>,
    /// A file that it reads, written before (mode 0600): path below `/run/rear` and content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<(String, String)>,
    /// Variables on top of the fixed environment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<(String, String)>,
    /// The same run for older versions of the program, newest first: each leaves out options that the
    /// one before has and that only switch off what an old version cannot do anyway. Tried in turn when the
    /// program refuses its options (it has written nothing then).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub older: Vec<Command>,
}

impl Command {
    /// A program with its arguments.
    pub fn new<I, S>(program: &str, args: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        Self {
            program: program.to_owned(),
            args: args.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// Feeds this text to standard input.
    #[must_use]
    pub fn stdin(mut self, text: String) -> Self {
        self.stdin = Some(text);
        self
    }

    /// Writes this file before the program runs.
    #[must_use]
    pub fn file(mut self, path: &str, text: String) -> Self {
        self.file = Some((path.to_owned(), text));
        self
    }

    /// The command line, quoted so that it can be pasted into a shell; standard input as a here-document.
    pub fn line(&self) -> String {
        let mut words: Vec<String> =
            self.env.iter().map(|(name, value)| format!("{name}={}", quote(value))).collect();
        words.push(quote(&self.program));
        words.extend(self.args.iter().map(|arg| quote(arg)));
        let mut line = words.join(" ");
        if let Some((path, text)) = &self.file {
            line = format!("cat > {} <<'END'\n{}\nEND\n{line}", quote(path), text.trim_end_matches('\n'));
        }
        if let Some(input) = &self.stdin {
            line.push_str(" <<'END'\n");
            line.push_str(input);
            if !input.ends_with('\n') {
                line.push('\n');
            }
            line.push_str("END");
        }
        line
    }
}

/// Quotes one word for a POSIX shell, only where it needs it.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%^".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::Command;

    #[test]
    fn a_line_can_be_pasted() {
        let command = Command::new("sfdisk", ["my disk"]).stdin("label: gpt\n".into());
        assert_eq!(command.line(), "sfdisk 'my disk' <<'END'\nlabel: gpt\nEND");
    }
}
