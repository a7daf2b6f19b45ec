//! LVM's metadata text (lvm2 `lib/format_text`, libdm `libdm-config.c`): reads it and writes it. What LVM itself would
//! not write is an error; nothing is guessed and nothing is left out.

use std::cmp::Ordering;
use std::fmt::Write;

use super::{LvmSection, LvmValue};

/// Sections inside of sections. LVM's own text goes six deep (a policy's settings in a segment of a volume).
const DEPTH: usize = 16;

/// Why a text is no metadata of LVM.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("LVM's metadata cannot be read: line {line}: {what}")]
pub struct LvmTextError {
    /// Line, from 1; 0 where the whole is meant.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

/// Reads a text of names, values and sections. Comments (`#` to the end of the line) are skipped.
///
/// # Errors
/// Names the line with what cannot be read, and a name that stands twice in one section.
pub fn parse_lvm_text(text: &str) -> Result<LvmSection, LvmTextError> {
    let mut reader = Reader { rest: text, line: 1 };
    let section = reader.section(0)?;
    match reader.peek() {
        None => Ok(section),
        Some(_) => Err(reader.error("a brace is closed that was not opened")),
    }
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Reader<'a> {
    fn error(&self, what: impl Into<String>) -> LvmTextError {
        LvmTextError { line: self.line, what: what.into() }
    }

    fn skip(&mut self, len: usize) {
        let (done, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, ""));
        self.line += done.matches('\n').count();
        self.rest = rest;
    }

    /// The next character behind blanks and comments.
    fn peek(&mut self) -> Option<char> {
        loop {
            let blanks = self.rest.len() - self.rest.trim_start().len();
            self.skip(blanks);
            if !self.rest.starts_with('#') {
                return self.rest.chars().next();
            }
            self.skip(self.rest.find('\n').unwrap_or(self.rest.len()));
        }
    }

    fn expect(&mut self, wanted: char) -> Result<(), LvmTextError> {
        match self.peek() {
            Some(found) if found == wanted => {
                self.skip(wanted.len_utf8());
                Ok(())
            }
            Some(found) => Err(self.error(format!("'{found}' stands where '{wanted}' belongs"))),
            None => Err(self.error(format!("it ends where '{wanted}' belongs"))),
        }
    }

    fn section(&mut self, depth: usize) -> Result<LvmSection, LvmTextError> {
        if depth > DEPTH {
            return Err(self.error("sections are nested deeper than LVM does"));
        }
        let mut section = LvmSection::new();
        while let Some(next) = self.peek() {
            if next == '}' {
                break;
            }
            let name = self.name()?;
            let value = match self.peek() {
                Some('{') => {
                    self.expect('{')?;
                    let inner = self.section(depth + 1)?;
                    self.expect('}')?;
                    LvmValue::Section(inner)
                }
                _ => {
                    self.expect('=')?;
                    self.value()?
                }
            };
            if section.contains_key(name) {
                return Err(self.error(format!("'{name}' stands twice")));
            }
            section.insert(name.to_owned(), value);
        }
        Ok(section)
    }

    fn name(&mut self) -> Result<&'a str, LvmTextError> {
        let end = self.rest.find(|c| !is_name(c)).unwrap_or(self.rest.len());
        let name = self.rest.get(..end).unwrap_or_default();
        if name.is_empty() {
            return Err(self.error("a name is missing"));
        }
        self.skip(end);
        Ok(name)
    }

    fn value(&mut self) -> Result<LvmValue, LvmTextError> {
        if self.peek() != Some('[') {
            return self.single();
        }
        self.expect('[')?;
        let mut list = Vec::new();
        while self.peek() != Some(']') {
            list.push(self.single()?);
            match self.peek() {
                Some(',') => self.expect(',')?,
                Some(']') => {}
                _ => return Err(self.error("a list is not closed")),
            }
        }
        self.expect(']')?;
        Ok(LvmValue::List(list))
    }

    /// A number or a text. Fractions and words without quotation marks are possible in LVM's configuration, but
    /// not in its metadata.
    fn single(&mut self) -> Result<LvmValue, LvmTextError> {
        match self.peek() {
            Some('"') => self.text(),
            Some(c) if c == '-' || c.is_ascii_digit() => {
                let end = self.rest.find(|c| !is_name(c)).unwrap_or(self.rest.len());
                let word = self.rest.get(..end).unwrap_or_default();
                let number = word.parse().map_err(|_| self.error(format!("'{word}' is no number")))?;
                self.skip(end);
                Ok(LvmValue::Number(number))
            }
            Some(c) => Err(self.error(format!("'{c}' begins no value"))),
            None => Err(self.error("it ends where a value belongs")),
        }
    }

    fn text(&mut self) -> Result<LvmValue, LvmTextError> {
        let mut text = String::new();
        let mut escaped = false;
        for (at, c) in self.rest.char_indices().skip(1) {
            match c {
                _ if escaped => {
                    text.push(c);
                    escaped = false;
                }
                '\\' => escaped = true,
                '"' => {
                    self.skip(at + 1);
                    return Ok(LvmValue::Text(text));
                }
                _ => text.push(c),
            }
        }
        Err(self.error("a text is not closed"))
    }
}

/// Characters of names of groups, volumes and settings, and of numbers.
fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.+".contains(c)
}

/// The text of a section: settings first, then the sections inside of it, each with numbers counted as numbers (`pv2`
/// before `pv10`): LVM numbers them anew in the order in which it reads them. Ends in a newline.
pub fn write_lvm_text(section: &LvmSection) -> String {
    let mut out = String::new();
    write_section(section, 0, &mut out);
    out
}

fn write_section(section: &LvmSection, depth: usize, out: &mut String) {
    let mut entries: Vec<(&str, &LvmValue)> =
        section.iter().map(|(name, value)| (name.as_str(), value)).collect();
    entries.sort_by(|(a, x), (b, y)| {
        x.section().is_some().cmp(&y.section().is_some()).then_with(|| counted(a, b))
    });
    let indent = "\t".repeat(depth);
    for (name, value) in entries {
        // Writing to a String cannot fail.
        let _ = match value.section() {
            None => writeln!(out, "{indent}{name} = {}", plain(value)),
            Some(inner) => {
                let _ = writeln!(out, "{indent}{name} {{");
                write_section(inner, depth + 1, out);
                writeln!(out, "{indent}}}")
            }
        };
    }
}

/// Names in order, a number at the end counted as a number.
fn counted(a: &str, b: &str) -> Ordering {
    let split = |name: &str| {
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let (stem, digits) = name.split_at(stem);
        (stem.to_owned(), digits.trim_start_matches('0').len(), digits.to_owned())
    };
    split(a).cmp(&split(b))
}

fn plain(value: &LvmValue) -> String {
    match value {
        LvmValue::Number(number) => number.to_string(),
        LvmValue::Text(text) => {
            let mut out = String::from("\"");
            for c in text.chars() {
                if matches!(c, '"' | '\\') {
                    out.push('\\');
                }
                out.push(c);
            }
            out.push('"');
            out
        }
        LvmValue::List(list) => {
            let items: Vec<String> = list.iter().map(plain).collect();
            format!("[{}]", items.join(", "))
        }
        // LVM has no sections in lists, and the reader makes none.
        LvmValue::Section(_) => "[]".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_read_and_written() {
        let text = "# by hand\nv-g {\n\tid = \"a\"\n\tseqno = 46\t# informational\n\tstatus = [\"READ\",\n\"WRITE\"]\n\
                    flags = []\nphysical_volumes {\npv10 { dev = \"a \\\"b\\\\\" }\npv2 {\n}\n}\n}\nversion = 1\n";
        let section = parse_lvm_text(text).unwrap();
        let group = section["v-g"].section().unwrap();
        assert_eq!(group["seqno"].number(), Some(46));
        assert_eq!(group["status"].list().len(), 2);
        let pvs = group["physical_volumes"].section().unwrap();
        assert_eq!(pvs["pv10"].section().unwrap()["dev"].text(), Some("a \"b\\"));
        let written = write_lvm_text(&section);
        assert!(written.find("pv2").unwrap() < written.find("pv10").unwrap(), "{written}");
        assert_eq!(parse_lvm_text(&written).unwrap(), section);
    }

    #[test]
    fn what_lvm_does_not_write_is_an_error() {
        let errors = [
            ("a {", 1, "'}'"),
            ("}", 1, "not opened"),
            ("a = 1\na = 2", 2, "twice"),
            ("\n\na = 1.5", 3, "'1.5' is no number"),
            ("a = 99999999999999999999", 1, "no number"),
            ("a = \"x", 1, "not closed"),
            ("a = [1 2]", 1, "not closed"),
            ("a = word", 1, "begins no value"),
            ("a", 1, "'='"),
            ("= 1", 1, "name is missing"),
        ];
        for (text, line, what) in errors {
            let error = parse_lvm_text(text).unwrap_err();
            assert_eq!(error.line, line, "{text}: {error}");
            assert!(error.what.contains(what), "{text}: {error}");
        }
        let deep = format!("{}{}", "a {".repeat(4000), "}".repeat(4000));
        assert!(parse_lvm_text(&deep).unwrap_err().what.contains("nested"));
    }

    fn value() -> impl Strategy<Value = LvmValue> {
        let single =
            prop_oneof![any::<i64>().prop_map(LvmValue::Number), "[^\0]{0,12}".prop_map(LvmValue::Text),];
        let list = proptest::collection::vec(single.clone(), 0..4).prop_map(LvmValue::List);
        prop_oneof![single, list].prop_recursive(3, 24, 4, |inner| {
            proptest::collection::btree_map("[a-zA-Z0-9_.+-]{1,8}", inner, 0..4).prop_map(LvmValue::Section)
        })
    }

    proptest! {
        #[test]
        fn every_section_comes_back(section in proptest::collection::btree_map("[a-z0-9_+.-]{1,6}", value(), 0..5)) {
            prop_assert_eq!(parse_lvm_text(&write_lvm_text(&section)).unwrap(), section);
        }

        #[test]
        fn no_text_is_too_odd(text in "[a-c0-9{}\\[\\]=,\"\\\\#\n é-]{0,60}") {
            let _ = parse_lvm_text(&text);
        }
    }
}
