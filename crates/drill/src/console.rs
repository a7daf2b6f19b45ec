//! Reads a machine's serial console: takes the terminal's control sequences out, and looks for what was
//! expected or feared. It writes nothing to the machine.

use std::path::{Path, PathBuf};

use regex_lite::Regex;

/// What no machine should ever say.
const FEARED: &[&str] = &[
    r"rear: recovery FAILED:[^\n]*",
    r"Kernel panic[^\n]*",
    r"No bootable device",
    r"BdsDxe: No bootable option or device was found",
    r"grub rescue>",
    r"\(initramfs\) $",
    r"You are in emergency mode",
    r"Give root password for maintenance",
];

/// The log of a serial console, as it grows.
pub(crate) struct Console {
    path: PathBuf,
    feared: Vec<Regex>,
}

impl Console {
    /// A console whose log is in this file.
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            feared: FEARED.iter().filter_map(|text| Regex::new(text).ok()).collect(),
        }
    }

    /// All that was said, as plain text.
    pub(crate) fn text(&self) -> String {
        plain(&std::fs::read(&self.path).unwrap_or_default())
    }

    /// Bytes said so far.
    pub(crate) fn len(&self) -> u64 {
        std::fs::metadata(&self.path).map_or(0, |data| data.len())
    }

    /// The first thing said that should not have been.
    pub(crate) fn feared(&self) -> Option<String> {
        let text = self.text();
        self.feared
            .iter()
            .find_map(|pattern| pattern.find(&text).map(|found| found.as_str().trim().to_owned()))
    }

    /// The first of the patterns that was not said (each is looked for behind the one before).
    pub(crate) fn missing<'p>(&self, patterns: &'p [String]) -> Option<&'p str> {
        missing(&self.text(), patterns)
    }
}

/// The last lines of a log, as plain text without blank lines.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    let text = plain(&std::fs::read(path).unwrap_or_default());
    let all: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn missing<'p>(text: &str, patterns: &'p [String]) -> Option<&'p str> {
    let mut at = 0;
    for pattern in patterns {
        let Some(found) = Regex::new(pattern).ok().and_then(|regex| regex.find_at(text, at)) else {
            return Some(pattern);
        };
        at = found.end();
    }
    None
}

/// Text without escape sequences and carriage returns.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.next() {
                // Control sequence: parameters, then one final letter.
                Some('[') => while chars.next().is_some_and(|c| !('\u{40}'..='\u{7e}').contains(&c)) {},
                // Operating system command: up to the bell or the string terminator.
                Some(']') => {
                    while let Some(c) = chars.next() {
                        if c == '\u{7}' || (c == '\u{1b}' && chars.next_if_eq(&'\\').is_some()) {
                            break;
                        }
                    }
                }
                _ => {}
            },
            '\r' => {}
            '\n' | '\t' => plain.push(c),
            c if c.is_control() => {}
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_sequences_are_taken_out() {
        assert_eq!(
            plain(b"\x1b[2J\x1b[01;01H\x1b[=3hBooting\r\n\x1b]0;t\x07ok \x1b[0;32mgreen\x1b[0m"),
            "Booting\nok green"
        );
    }

    #[test]
    fn patterns_are_looked_for_in_order() {
        let patterns = ["one".to_owned(), "t.o".to_owned()];
        assert_eq!(missing("one and two", &patterns), None);
        assert_eq!(missing("two and one", &patterns), Some("t.o"));
    }
}
