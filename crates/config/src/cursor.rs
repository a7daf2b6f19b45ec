//! The reading position in a configuration file, and the problems found so far. It knows lines and names, not
//! what a word or an assignment is.

use crate::syntax::{Abort, Pos, Problem, What};

/// The text with a reading position, and the problems found so far.
pub(crate) struct Cursor {
    pub chars: Vec<char>,
    lines: Vec<usize>,
    pub at: usize,
    /// The key of the statement that is being read.
    pub key: Option<String>,
    pub problems: Vec<Problem>,
    /// Where the first quote of this statement opened that spans lines: the suspect when things go wrong later.
    long: Option<(usize, u32)>,
}

impl Cursor {
    pub fn new(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let mut lines = vec![0];
        lines.extend(chars.iter().enumerate().filter(|(_, c)| **c == '\n').map(|(i, _)| i + 1));
        Self { chars, lines, at: 0, key: None, problems: Vec::new(), long: None }
    }

    pub fn begin_statement(&mut self) {
        self.key = None;
        self.long = None;
    }

    pub fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    pub fn at(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(i, c)| self.chars.get(self.at + i) == Some(&c))
    }

    pub fn index(&self) -> usize {
        self.at
    }

    pub fn seek(&mut self, index: usize) {
        self.at = index.min(self.chars.len());
    }

    pub fn skip(&mut self, count: usize) {
        self.seek(self.at + count);
    }

    pub fn slice(&self, from: usize, to: usize) -> String {
        self.chars[from..to.max(from).min(self.chars.len())].iter().collect()
    }

    pub fn pos(&self, index: usize) -> Pos {
        let line = self.lines.partition_point(|start| *start <= index);
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Pos { line: number(line), column: number(index - start + 1) }
    }

    /// Skips blanks and continued lines; whether there were any.
    pub fn skip_blanks(&mut self) -> bool {
        let from = self.at;
        while matches!(self.peek(), Some(' ' | '\t')) || self.at("\\\n") {
            self.skip(if self.at("\\\n") { 2 } else { 1 });
        }
        self.at > from
    }

    pub fn skip_line(&mut self) {
        while self.peek().is_some_and(|c| c != '\n') {
            self.at += 1;
        }
    }

    pub fn rest_of_line(&self) -> String {
        self.chars[self.at..].iter().take_while(|c| **c != '\n').collect()
    }

    /// To the end of a line of shell code, or of its quoted text where that spans lines.
    pub fn skip_shell_line(&mut self) {
        let from = self.at;
        let mut quote = None;
        while let Some(c) = self.peek() {
            match (quote, c) {
                (None, '\n') => return,
                (None, '#') if self.at > 0 && matches!(self.chars[self.at - 1], ' ' | '\t') => {
                    return self.skip_line();
                }
                (None, '\'' | '"') => quote = Some(c),
                (Some('"') | None, '\\') => self.at += 1,
                (Some(open), c) if open == c => quote = None,
                _ => {}
            }
            self.skip(1);
        }
        if quote.is_some() {
            self.at = from;
            self.skip_line();
        }
    }

    pub fn identifier(&mut self) -> String {
        let from = self.at;
        while self.peek().is_some_and(|c| c == '_' || c.is_ascii_alphabetic())
            || (self.at > from && self.peek().is_some_and(|c| c.is_ascii_digit()))
        {
            self.at += 1;
        }
        self.slice(from, self.at)
    }

    /// Whether `[…]=` stands here.
    pub fn indexed_element(&self) -> bool {
        let rest = self.rest_of_line();
        rest.find(']').is_some_and(|end| rest[end..].starts_with("]=") && !rest[..end].contains(' '))
    }

    /// To the next blank or the end of the list.
    pub fn skip_to_gap(&mut self) {
        while self.peek().is_some_and(|c| !c.is_whitespace() && c != ')') {
            self.at += 1;
        }
    }

    pub fn note(&mut self, at: usize, width: usize, what: What, message: String, hint: String) {
        let pos = self.pos(at);
        let hint = Some(hint).filter(|hint| !hint.is_empty());
        self.problems.push(Problem { pos, width, key: self.key.clone(), what, message, hint });
    }

    /// The first quote of this statement that spans lines, if any.
    pub fn long_quote(&self) -> Option<usize> {
        self.long.map(|(open, _)| open)
    }

    /// Something has no end: notes it where it was opened and goes on with the next line, so that the rest of
    /// the file is still checked.
    pub fn unclosed(&mut self, open: usize, what: &str, hint: &str) -> Abort {
        if let Some(first) = self.long_quote().filter(|first| *first != open) {
            return self.missing_quote(first);
        }
        self.note(open, 1, What::Plain, format!("The {what} opened here is never closed."), hint.into());
        self.resume(open);
        Abort
    }

    /// Whether nothing of the present value may be shown.
    pub fn secret(&self) -> bool {
        self.key.as_deref().is_some_and(crate::diagnostic::may_be_secret)
    }

    /// Goes on with the line after the one where the trouble began. Not after a secret: the next lines may be a
    /// part of it, and must not be shown as something else.
    fn resume(&mut self, open: usize) {
        if self.secret() {
            self.seek(self.chars.len());
            if let Some(hint) = self.problems.last_mut().and_then(|problem| problem.hint.as_mut()) {
                hint.push_str(" What follows was not checked.");
            }
            return;
        }
        self.seek(open);
        self.skip_line();
    }

    /// A quote that spans lines is followed by what makes no sense: most likely its end is missing, and it was
    /// closed by the opening of another one.
    pub fn missing_quote(&mut self, open: usize) -> Abort {
        let end = self.long.map_or(0, |(_, line)| line);
        let message = format!(
            "The quote opened here ends only in line {end}, and what follows there makes no sense: \
             a closing quote is missing."
        );
        self.note(open, 1, What::Plain, message, "Close the quote in the line where the value ends.".into());
        self.resume(open);
        Abort
    }

    pub fn quote_closed(&mut self, open: usize) {
        let (from, to) = (self.pos(open).line, self.pos(self.at.saturating_sub(1)).line);
        if to > from && self.long.is_none() {
            self.long = Some((open, to));
        }
    }
}
