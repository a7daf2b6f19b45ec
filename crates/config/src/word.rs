//! Reads one word of the shell's language: quotes, escapes, references to variables. It computes nothing and
//! runs nothing; a word is kept as its pieces until the values of its variables are known.

use crate::cursor::Cursor;
use crate::syntax::{Abort, Pos, What};

/// A part of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Text as it is meant, escapes and quotes resolved.
    Text(String),
    /// `$NAME`, `${NAME}` or `${NAME[@]}`.
    Variable { name: String, all: bool, quoted: bool, at: Pos },
}

/// A word: the value of a setting, or one element of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Word {
    pub pieces: Vec<Piece>,
    /// The word as it stands in the file.
    pub raw: String,
}

impl Word {
    fn text(&mut self, c: char) {
        if let Some(Piece::Text(text)) = self.pieces.last_mut() {
            text.push(c);
        } else {
            self.pieces.push(Piece::Text(c.into()));
        }
    }

    /// An empty pair of quotes makes a word, too.
    fn exists(&mut self) {
        if self.pieces.is_empty() {
            self.pieces.push(Piece::Text(String::new()));
        }
    }
}

impl Cursor {
    /// Reads a word up to a blank or an operator of the shell. In a list, patterns that a shell would expand
    /// to file names are refused: they would mean something else there.
    pub fn word(&mut self, in_list: bool) -> Result<Word, Abort> {
        let start = self.at;
        let mut word = Word::default();
        let mut pattern = None;
        while let Some(c) = self.peek() {
            match c {
                ' ' | '\t' | '\n' | ';' | '&' | '|' | '<' | '>' | '(' | ')' => break,
                '\\' => self.escape(&mut word),
                '\'' => self.single(&mut word)?,
                '"' => self.double(&mut word)?,
                '$' => self.dollar(&mut word, false)?,
                '`' => self.backtick(),
                '“' | '”' | '„' | '‘' | '’' | '\u{a0}' => {
                    let what = if c == '\u{a0}' { "no-break space" } else { "typographic quote" };
                    self.note(
                        self.at,
                        1,
                        What::Plain,
                        format!("A {what} ({c}) stands here outside quotes."),
                        "Write the plain ASCII character; if the character is meant, quote it: '…'.".into(),
                    );
                    self.at += 1;
                }
                '*' | '?' | '[' if in_list => {
                    pattern = pattern.or(Some((
                        self.at,
                        "a shell would replace this pattern by the files that match right now",
                    )));
                    word.text(c);
                    self.at += 1;
                }
                '{' if in_list && self.brace_expansion() => {
                    pattern =
                        pattern.or(Some((self.at, "a shell would expand these braces to several words")));
                    word.text(c);
                    self.at += 1;
                }
                '~' if self.at == start => {
                    pattern = Some((self.at, "a shell would replace ~ by a home directory"));
                    word.text(c);
                    self.at += 1;
                }
                _ => {
                    word.text(c);
                    self.at += 1;
                }
            }
        }
        word.raw = self.slice(start, self.at);
        if let Some((at, why)) = pattern {
            let secret = self.secret();
            let shown = if secret { "that stands here" } else { &word.raw };
            let message = format!("The word {shown} is not quoted: {why}.");
            let hint = if secret {
                "Put it into single quotes.".to_owned()
            } else if word.raw.starts_with('~') {
                "Write the directory, or quote the word if the character is meant.".to_owned()
            } else {
                format!("Quote it: '{}'", word.raw)
            };
            self.note(at, 1, What::Plain, message, hint);
        }
        Ok(word)
    }

    fn brace_expansion(&self) -> bool {
        let rest: String =
            self.chars[self.at..].iter().take_while(|c| !c.is_whitespace() && **c != ')').collect();
        rest.find('}').is_some_and(|end| rest[..end].contains(',') || rest[..end].contains(".."))
    }

    fn escape(&mut self, word: &mut Word) {
        match self.chars.get(self.at + 1) {
            Some('\n') => {}
            Some(c) => word.text(*c),
            None => word.text('\\'),
        }
        self.skip(2);
    }

    fn single(&mut self, word: &mut Word) -> Result<(), Abort> {
        let open = self.at;
        word.exists();
        self.at += 1;
        loop {
            match self.peek() {
                None => {
                    return Err(self.unclosed(open, "single quote", "Close it with ' where the value ends."));
                }
                Some('\'') => break,
                Some(c) => word.text(c),
            }
            self.at += 1;
        }
        self.at += 1;
        self.quote_closed(open);
        Ok(())
    }

    fn double(&mut self, word: &mut Word) -> Result<(), Abort> {
        let open = self.at;
        word.exists();
        self.at += 1;
        loop {
            match self.peek() {
                None => {
                    return Err(self.unclosed(
                        open,
                        "double quote",
                        "Close it with \" where the value ends.",
                    ));
                }
                Some('"') => break,
                Some('$') => self.dollar(word, true)?,
                Some('`') => self.backtick(),
                Some('\\') => match self.chars.get(self.at + 1).copied() {
                    Some('\n') => self.skip(2),
                    Some(c @ ('"' | '\\' | '$' | '`')) => {
                        word.text(c);
                        self.skip(2);
                    }
                    _ => {
                        word.text('\\');
                        self.at += 1;
                    }
                },
                Some(c) => {
                    word.text(c);
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        self.quote_closed(open);
        Ok(())
    }

    /// `$…`, in or outside double quotes.
    fn dollar(&mut self, word: &mut Word, quoted: bool) -> Result<(), Abort> {
        let open = self.at;
        self.at += 1;
        // A shell joins continued lines before it looks at what follows the $.
        while self.at("\\\n") {
            self.skip(2);
        }
        match self.peek() {
            Some('(') => {
                let what = if self.at("((") { "Arithmetic $((…))" } else { "A command $(…)" };
                let end = self.balanced('(', ')');
                self.shell_value(open, end, what);
            }
            Some('{') => {
                let brace = self.at;
                self.at += 1;
                let name = self.identifier();
                let all = self.at("[@]") || self.at("[*]");
                if all {
                    self.skip(3);
                }
                if !name.is_empty() && self.peek() == Some('}') {
                    self.at += 1;
                    let at = self.pos(open);
                    word.pieces.push(Piece::Variable { name, all, quoted, at });
                } else {
                    self.seek(brace);
                    let end = self.balanced('{', '}');
                    self.shell_value(open, end, "The expansion ${…}");
                }
            }
            Some('\'') if !quoted => self.ansi(open, word)?,
            Some('"') if !quoted => {
                self.note(
                    open,
                    2,
                    What::ShellCode,
                    "A translated string $\"…\" is shell code.".into(),
                    "Remove the $ before the quote.".into(),
                );
            }
            Some(c) if c == '_' || c.is_ascii_alphabetic() => {
                let mut name = self.identifier();
                // A name goes on in a continued line, where even a digit belongs to it.
                let goes_on = |c: &char| *c == '_' || c.is_ascii_alphanumeric();
                while self.at("\\\n") && self.chars.get(self.at + 2).is_some_and(goes_on) {
                    self.skip(2);
                    while let Some(c) = self.peek().filter(goes_on) {
                        name.push(c);
                        self.at += 1;
                    }
                }
                let at = self.pos(open);
                word.pieces.push(Piece::Variable { name, all: false, quoted, at });
            }
            Some(c) if c.is_ascii_digit() || "@*#?$!-".contains(c) => {
                self.at += 1;
                let shown = if self.secret() { '…' } else { c };
                self.note(
                    open,
                    2,
                    What::ShellCode,
                    format!("'${shown}' is a variable of a running shell."),
                    "If the $ is meant as a character, put the value into single quotes.".into(),
                );
            }
            _ => word.text('$'),
        }
        Ok(())
    }

    /// `$'…'` with the escapes of bash(1).
    fn ansi(&mut self, open: usize, word: &mut Word) -> Result<(), Abort> {
        self.at += 1;
        let mut bytes: Vec<u8> = Vec::new();
        loop {
            let Some(c) = self.peek() else {
                return Err(self.unclosed(open, "quote $'", "Close it with ' where the value ends."));
            };
            self.at += 1;
            match c {
                '\'' => break,
                '\\' => self.ansi_escape(&mut bytes),
                c => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        self.quote_closed(open);
        match String::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => {
                word.exists();
                text.chars().for_each(|c| word.text(c));
            }
            Ok(_) => self.bad_escape(open, "a NUL character, which no value can hold"),
            Err(_) => self.bad_escape(open, "bytes that are no valid UTF-8 text"),
        }
        Ok(())
    }

    fn bad_escape(&mut self, open: usize, what: &str) {
        let message = format!("The escapes in this $'…' give {what}.");
        self.note(open, 2, What::Plain, message, "Write the characters as UTF-8 text.".into());
    }

    fn ansi_escape(&mut self, bytes: &mut Vec<u8>) {
        let Some(c) = self.peek() else { return };
        self.at += 1;
        let byte = match c {
            'a' => 7,
            'b' => 8,
            'e' | 'E' => 27,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            'v' => 11,
            '\\' | '\'' | '"' | '?' => c as u8,
            '0'..='7' => {
                self.at -= 1;
                // Bash keeps the low eight bits.
                (self.number(8, 3).unwrap_or(0) & 0xff) as u8
            }
            'x' => match self.number(16, 2) {
                Some(value) => value as u8,
                None => return bytes.extend_from_slice(b"\\x"),
            },
            'u' | 'U' => {
                let digits = if c == 'u' { 4 } else { 8 };
                match self.number(16, digits) {
                    // A number that is no character becomes a NUL, which is refused.
                    Some(value) => {
                        let c = char::from_u32(value).unwrap_or('\0');
                        bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    }
                    None => bytes.extend_from_slice(&[b'\\', c as u8]),
                }
                return;
            }
            'c' => match self.peek() {
                Some(control) if control.is_ascii() && control != '\'' => {
                    self.at += 1;
                    control.to_ascii_uppercase() as u8 & 0x1f
                }
                _ => return bytes.extend_from_slice(b"\\c"),
            },
            c => {
                bytes.push(b'\\');
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return;
            }
        };
        bytes.push(byte);
    }

    fn number(&mut self, base: u32, most: usize) -> Option<u32> {
        let from = self.at;
        let mut value = 0u32;
        while self.at < from + most {
            let Some(digit) = self.peek().and_then(|c| c.to_digit(base)) else { break };
            value = value.wrapping_mul(base).wrapping_add(digit);
            self.at += 1;
        }
        (self.at > from).then_some(value)
    }

    fn backtick(&mut self) {
        let open = self.at;
        self.at += 1;
        let from = self.at;
        while self.peek().is_some_and(|c| c != '`') {
            let step = if self.peek() == Some('\\') { 2 } else { 1 };
            self.skip(step);
        }
        let end = if self.peek().is_some() {
            self.at += 1;
            self.at
        } else {
            self.at = from;
            from
        };
        self.shell_value(open, end, "A command `…`");
    }

    fn shell_value(&mut self, open: usize, end: usize, what: &str) {
        let line_end = self.chars[open..end].iter().position(|c| *c == '\n').map_or(end, |n| open + n);
        self.note(
            open,
            line_end - open,
            What::ShellCode,
            format!("{what} is shell code; nothing is executed in a configuration file."),
            "Write the value itself. If the $ or ` is meant as a character, put the value into single quotes."
                .into(),
        );
    }

    /// Skips from an opening bracket to behind its partner, quotes respected; only the bracket where it has none.
    fn balanced(&mut self, open: char, close: char) -> usize {
        let from = self.at;
        let (mut depth, mut quote) = (0usize, None);
        while let Some(c) = self.peek() {
            match (quote, c) {
                (Some('\''), '\'') | (Some('"'), '"') => quote = None,
                (None, '\'' | '"') => quote = Some(c),
                (None | Some('"'), '\\') => self.skip(1),
                (None, c) if c == open => depth += 1,
                (None, c) if c == close => {
                    depth -= 1;
                    if depth == 0 {
                        self.at += 1;
                        return self.at;
                    }
                }
                _ => {}
            }
            self.skip(1);
        }
        self.at = from + 1;
        self.at
    }
}
