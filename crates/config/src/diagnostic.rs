//! What is wrong in a configuration file, and how it is shown: file, line, column, an excerpt with a caret, and
//! what to write instead. It never shows the value of a secret.

use std::fmt;
use std::path::PathBuf;

use crate::table::{self, Setting};

/// Whether the configuration can be used in spite of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The configuration is used; the message says what happens instead of what was asked for.
    Warning,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// The file, where the finding is about a file.
    pub file: Option<PathBuf>,
    /// Line in the file, from 1; 0 where the finding is about the file as a whole.
    pub line: u32,
    /// Column in characters, from 1; 0 where the finding is about the line or file as a whole.
    pub column: u32,
    /// The setting it is about.
    pub key: Option<String>,
    /// What is wrong, one or more sentences.
    pub message: String,
    /// What to write or do instead.
    pub hint: Option<String>,
    /// The line of the file, with secrets replaced by `***`.
    pub excerpt: Option<String>,
    /// How many characters of the excerpt the caret marks.
    pub width: u32,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
            if self.line > 0 {
                write!(f, "{}:", self.line)?;
            }
            if self.line > 0 && self.column > 0 {
                write!(f, "{}:", self.column)?;
            }
            f.write_str(" ")?;
        }
        f.write_str(&self.message)?;
        if let Some(excerpt) = &self.excerpt {
            let (shown, column) = window(excerpt, self.column);
            let number = self.line.to_string();
            let gap = " ".repeat(number.len());
            write!(f, "\n  {number} | {shown}")?;
            if column > 0 {
                // A masked line is shorter than the column: the caret then stands at its end.
                let length = shown.chars().count();
                let from = (column as usize).min(length.max(1));
                let marks = (self.width.max(1) as usize).min((length + 1).saturating_sub(from).max(1));
                write!(f, "\n  {gap} | {}{}", " ".repeat(from - 1), "^".repeat(marks))?;
            }
        }
        if let Some(hint) = &self.hint {
            for line in hint.lines() {
                write!(f, "\n  {line}")?;
            }
        }
        Ok(())
    }
}

/// How many characters of a long line are shown.
const WINDOW: usize = 110;

/// Cuts a long line around the column; control characters become blanks, so that the caret stays under its
/// character on every terminal.
fn window(line: &str, column: u32) -> (String, u32) {
    let chars: Vec<char> = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if chars.len() <= WINDOW {
        return (chars.into_iter().collect(), column);
    }
    let at = (column as usize).saturating_sub(1).min(chars.len());
    let from = at.saturating_sub(WINDOW / 2).min(chars.len() - WINDOW);
    let mut shown: String = chars[from..from + WINDOW].iter().collect();
    if from + WINDOW < chars.len() {
        shown.push('…');
    }
    if from == 0 {
        return (shown, column);
    }
    (format!("…{shown}"), column.saturating_sub(u32::try_from(from).unwrap_or(0)) + 1)
}

/// Every error of a configuration, in the order of the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors {
    /// The errors; there is at least one.
    pub errors: Vec<Diagnostic>,
    /// Warnings that were found on the way.
    pub warnings: Vec<Diagnostic>,
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errors.len() {
            1 => f.write_str("the configuration has an error; nothing was started")?,
            n => write!(f, "the configuration has {n} errors; nothing was started")?,
        }
        for error in &self.errors {
            write!(f, "\n\n{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

/// Replaces in one line of a file what may be secret: the values of secret settings, of names that look like
/// one (a misspelt `SSH_ROOT_PASWORD` holds a password, too), and the password in a URL. The columns in front
/// of it stay as they are.
pub(crate) fn mask(line: &str) -> String {
    let mut masked = mask_url_password(line);
    let chars: Vec<char> = masked.chars().collect();
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut i = 0;
    while i < chars.len() {
        if !word(chars[i]) {
            i += 1;
            continue;
        }
        let start = i;
        while i < chars.len() && word(chars[i]) {
            i += 1;
        }
        let name: String = chars[start..i].iter().collect();
        let mut end = i;
        while end < chars.len() && matches!(chars[end], ' ' | '\t' | '+') {
            end += 1;
        }
        let assigned = chars.get(end) == Some(&'=');
        // A secret's own name hides what follows it in any form; a name that only looks like one, an assignment.
        let secret =
            if assigned { may_be_secret(&name) } else { table::find(&name).is_some_and(Setting::is_secret) };
        if secret && end < chars.len() {
            // To the end of the line: where a value ends cannot be trusted in a line that has an error.
            masked = chars[..end + usize::from(assigned)].iter().collect();
            masked.push_str("***");
            break;
        }
    }
    masked
}

/// Whether the value of this name must not be shown.
pub(crate) fn may_be_secret(name: &str) -> bool {
    if let Some(setting) = table::find(name) {
        return setting.is_secret();
    }
    let upper = name.to_ascii_uppercase();
    ["PASS", "PASW", "PWD", "SECRET", "TOKEN", "_KEY", "TKNKEY"].iter().any(|part| upper.contains(part))
        || table::nearest(&upper).is_some_and(|near| table::find(near).is_some_and(Setting::is_secret))
}

/// `scheme://user:password@host` becomes `scheme://user:***@host`.
pub(crate) fn mask_url_password(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        out.push_str(head);
        let end = tail.find(|c: char| c.is_whitespace() || "'\"".contains(c)).unwrap_or(tail.len());
        let user_end = tail[..end].rfind('@');
        match (tail[..end].find(':'), user_end) {
            (Some(colon), Some(user_end)) if colon < user_end => {
                out.push_str(&tail[..=colon]);
                out.push_str("***");
                rest = &tail[user_end..];
            }
            _ => rest = tail,
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_show() {
        assert_eq!(mask("SSH_ROOT_PASSWORD='a b' x"), "SSH_ROOT_PASSWORD=***");
        assert_eq!(mask("A=1; SSH_ROOT_PASWORD=geheim"), "A=1; SSH_ROOT_PASWORD=***");
        assert_eq!(mask("BACKUP_PROG_CRYPT_KEY = x"), "BACKUP_PROG_CRYPT_KEY =***");
        assert_eq!(mask("BACKUP_URL=ftp://me:pa@ss@host/x"), "BACKUP_URL=ftp://me:***@host/x");
        assert_eq!(mask("SSH_ROOT_PASSWORD: x"), "SSH_ROOT_PASSWORD***");
        assert_eq!(mask("KEYMAP=de"), "KEYMAP=de");
    }

    #[test]
    fn a_long_line_is_cut_around_the_caret() {
        let line = format!("{}X{}", "a".repeat(300), "b".repeat(300));
        let (shown, column) = window(&line, 301);
        assert!(shown.chars().count() <= WINDOW + 2);
        assert_eq!(shown.chars().nth(column as usize - 1), Some('X'));
    }
}
