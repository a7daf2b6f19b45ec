//! Reads the assignments of a configuration file: `KEY=value`, `KEY+=value`, `KEY=( … )`, comments, `export`.
//!
//! The language is the part of the shell's that only assigns (see bash(1), "QUOTING" and "PARAMETERS"). It is
//! parsed, never executed; whatever would need execution is reported as shell code. Every problem of a file is
//! collected. What a setting means is not known here.

use crate::cursor::Cursor;
use crate::word::Word;

/// A place in a file, from 1; the column counts characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pos {
    pub line: u32,
    pub column: u32,
}

/// The right side of an assignment.
#[derive(Clone, Debug)]
pub(crate) enum Given {
    One(Word),
    List(Vec<Word>),
}

/// `KEY=value` or `KEY+=value`.
#[derive(Clone, Debug)]
pub(crate) struct Assignment {
    pub key: String,
    pub pos: Pos,
    pub append: bool,
    pub value: Given,
    pub value_pos: Pos,
    /// A part of it could not be read: its value must not be used (the problem is already noted).
    pub broken: bool,
}

/// What kind of a problem it is, where its hint depends on more than the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The message says it all.
    Plain,
    /// Something that only a shell could execute.
    ShellCode,
    /// Words after the value: `KEY="/a" "/b"`; the raw words with the value as the first.
    ExtraWords { append: bool, words: Vec<String> },
}

/// What cannot be read as an assignment.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub pos: Pos,
    pub width: usize,
    pub key: Option<String>,
    pub what: What,
    pub message: String,
    pub hint: Option<String>,
}

/// A whole file.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    pub assignments: Vec<Assignment>,
    pub problems: Vec<Problem>,
}

/// The current statement cannot be continued; the cursor stands where reading goes on.
pub(crate) struct Abort;

/// Reads a file's text (without carriage returns).
pub(crate) fn parse(text: &str) -> Parsed {
    let mut cursor = Cursor::new(text);
    let mut parsed = Parsed::default();
    let mut braces = 0usize;
    loop {
        while matches!(cursor.peek(), Some(' ' | '\t' | '\n' | ';')) || cursor.at("\\\n") {
            cursor.skip(if cursor.at("\\\n") { 2 } else { 1 });
        }
        match cursor.peek() {
            None => break,
            Some('#') => cursor.skip_line(),
            Some(_) => {
                cursor.begin_statement();
                // On Abort the cursor already stands where reading goes on.
                let _ = statement(&mut cursor, &mut parsed, &mut braces);
            }
        }
    }
    parsed.problems = cursor.problems;
    parsed.problems.sort_by_key(|problem| (problem.pos.line, problem.pos.column));
    parsed
}

fn statement(cursor: &mut Cursor, parsed: &mut Parsed, braces: &mut usize) -> Result<(), Abort> {
    if grouping(cursor, braces) {
        return Ok(());
    }
    let start = cursor.index();
    let name = cursor.identifier();
    if name == "export" && matches!(cursor.peek(), Some(' ' | '\t')) {
        cursor.skip_blanks();
        let start = cursor.index();
        let name = cursor.identifier();
        // `export KEY` alone changes nothing here: settings are not passed to programs.
        if !name.is_empty() && matches!(cursor.peek(), None | Some('\n' | ';' | ' ' | '\t')) {
            cursor.skip_blanks();
            if matches!(cursor.peek(), None | Some('\n' | ';' | '#')) {
                return Ok(());
            }
        }
        return assignments(cursor, parsed, start, name);
    }
    assignments(cursor, parsed, start, name)
}

/// `{ SSH_ROOT_PASSWORD='…' ; } 2>/dev/null`: the braces in which the Bash program's manual tells users to set
/// secrets, so that its debug output does not show them. They mean nothing here and are accepted.
fn grouping(cursor: &mut Cursor, braces: &mut usize) -> bool {
    if cursor.at("{ ") || cursor.at("{\t") || cursor.at("{\n") {
        *braces += 1;
        cursor.skip(1);
        return true;
    }
    if cursor.peek() == Some('}') && *braces > 0 {
        let rest = cursor.rest_of_line();
        let tail = rest[1..].split(" #").next().unwrap_or_default().trim().trim_end_matches(';').trim();
        let quiet = ["", "2>/dev/null", "2> /dev/null", "2>>/dev/null", "2>>/dev/$SECRET_OUTPUT_DEV"];
        if quiet.contains(&tail) {
            *braces -= 1;
            cursor.skip_line();
            return true;
        }
    }
    false
}

/// One or more assignments (`A=1 B=2`), of which the first name has been read.
fn assignments(
    cursor: &mut Cursor,
    parsed: &mut Parsed,
    mut start: usize,
    mut name: String,
) -> Result<(), Abort> {
    loop {
        let append = cursor.at("+=");
        if name.is_empty() || !(append || cursor.peek() == Some('=')) {
            return Err(no_assignment(cursor, start, &name));
        }
        cursor.skip(if append { 2 } else { 1 });
        cursor.key = Some(name.clone());
        let value_start = cursor.index();
        let problems = cursor.problems.len();
        let value = if cursor.peek() == Some('(') {
            Given::List(list(cursor)?)
        } else {
            Given::One(cursor.word(false)?)
        };
        let value_end = cursor.index();
        let mut assignment = Assignment {
            key: name.clone(),
            pos: cursor.pos(start),
            append,
            value,
            value_pos: cursor.pos(value_start),
            broken: cursor.problems.len() > problems,
        };
        let blanks = cursor.skip_blanks();
        match cursor.peek() {
            None | Some('\n' | ';') => {
                parsed.assignments.push(assignment);
                return Ok(());
            }
            Some('#') if blanks => {
                cursor.skip_line();
                parsed.assignments.push(assignment);
                return Ok(());
            }
            _ => {}
        }
        let next = cursor.index();
        let next_name = cursor.identifier();
        if blanks && !next_name.is_empty() && (cursor.at("=") || cursor.at("+=")) {
            parsed.assignments.push(assignment);
            (start, name) = (next, next_name);
            continue;
        }
        cursor.seek(next);
        assignment.broken = true;
        parsed.assignments.push(assignment);
        return Err(after_value(cursor, &name, append, value_start, value_end));
    }
}

/// The elements of `( … )`, which may stand on several lines with comments between them.
fn list(cursor: &mut Cursor) -> Result<Vec<Word>, Abort> {
    let open = cursor.index();
    cursor.skip(1);
    let mut words = Vec::new();
    loop {
        while matches!(cursor.peek(), Some(' ' | '\t' | '\n')) || cursor.at("\\\n") {
            cursor.skip(if cursor.at("\\\n") { 2 } else { 1 });
        }
        match cursor.peek() {
            None => {
                return Err(cursor.unclosed(
                    open,
                    "parenthesis",
                    "Close the list with ) after its last element.",
                ));
            }
            Some(')') => {
                cursor.skip(1);
                return Ok(words);
            }
            Some('#') => cursor.skip_line(),
            Some(c @ (';' | '&' | '|' | '<' | '>' | '(')) => {
                let (at, hint) = (cursor.index(), format!("Quote it if it belongs to the element: '{c}'."));
                cursor.note(
                    at,
                    1,
                    What::Plain,
                    format!("'{c}' cannot stand in a list outside quotes."),
                    hint,
                );
                cursor.skip(1);
            }
            Some('[') if cursor.indexed_element() => {
                let at = cursor.index();
                cursor.note(
                    at,
                    1,
                    What::ShellCode,
                    "A list element with an index is shell code.".into(),
                    "Write the elements one after the other, without [index]=.".into(),
                );
                cursor.skip_to_gap();
            }
            Some(_) => words.push(cursor.word(true)?),
        }
    }
}

/// The statement does not begin with `KEY=`.
fn no_assignment(cursor: &mut Cursor, start: usize, name: &str) -> Abort {
    let here = cursor.index();
    cursor.skip_blanks();
    let (at, next) = (cursor.index(), cursor.peek());
    let spaced = !name.is_empty() && (cursor.at("=") || cursor.at("+=")) && !cursor.at("==");
    if spaced && at > here {
        let op = if cursor.at("+=") { "+=" } else { "=" };
        cursor.key = Some(name.to_owned());
        cursor.skip(op.len());
        let value = cursor.rest_of_line().trim().to_owned();
        let hint = if crate::diagnostic::may_be_secret(name) {
            format!("Write {name}{op} and the value directly behind it.")
        } else {
            format!("Write {name}{op}{value}")
        };
        let message = format!("There must be no blank before the '{op}' of an assignment.");
        cursor.note(at, op.len(), What::Plain, message, hint);
        cursor.skip_line();
        return Abort;
    }
    if !name.is_empty() && here == at && next == Some('[') {
        let message = format!("Setting one element of a list ({name}[…]=) is shell code.");
        cursor.note(start, name.len(), What::ShellCode, message, format!("Write {name}+=( VALUE ) instead."));
        cursor.skip_shell_line();
        return Abort;
    }
    cursor.seek(start);
    let command: String =
        cursor.rest_of_line().chars().take_while(|c| !c.is_whitespace() && !";&|<>(=".contains(*c)).collect();
    let shown =
        if command.is_empty() { cursor.rest_of_line().chars().take(1).collect() } else { command.clone() };
    let message = match command.as_str() {
        "if" | "then" | "else" | "elif" | "fi" | "for" | "while" | "until" | "do" | "done" | "case"
        | "esac" | "function" | "select" | "[[" | "[" | "test" | "{" | "}" => {
            format!("'{shown}' is shell code; a configuration file only assigns values.")
        }
        "source" | "." => {
            "Reading another file is shell code; a configuration file only assigns values.".into()
        }
        "declare" | "typeset" | "local" | "readonly" => {
            format!("'{shown}' is shell code; write the assignment without it.")
        }
        "unset" => "'unset' is shell code; assign an empty value instead.".into(),
        _ if !name.is_empty() && next == Some('(') => {
            format!("'{name}()' is a shell function; a configuration file only assigns values.")
        }
        _ => format!("'{shown}' is no assignment; taken as a command, it would be shell code."),
    };
    let hint = match name {
        // A setting without its '=': most likely a slip, not a command.
        _ if crate::table::find(name).is_some() => format!("Write {name}=VALUE."),
        _ => String::new(),
    };
    cursor.note(start, shown.chars().count(), What::ShellCode, message, hint);
    cursor.skip_shell_line();
    Abort
}

/// Something stands behind the value that does not belong there.
fn after_value(cursor: &mut Cursor, name: &str, append: bool, from: usize, to: usize) -> Abort {
    let at = cursor.index();
    if let Some(c @ ('&' | '|' | '<' | '>' | ')' | '(')) = cursor.peek() {
        let (what, message, hint) = match c {
            '&' | '|' => (
                What::ShellCode,
                format!("'{c}' after a value is shell code."),
                "If it belongs to the value, put the whole value into single quotes.",
            ),
            '<' | '>' => (
                What::ShellCode,
                format!("'{c}' after a value is a redirection, which is shell code."),
                "If it belongs to the value, put the whole value into single quotes.",
            ),
            _ => (
                What::Plain,
                format!("'{c}' outside quotes cannot be part of a value."),
                "Put the whole value into single quotes; a list begins with the parenthesis: KEY=( a b ).",
            ),
        };
        cursor.note(at, 1, what, message, hint.into());
        cursor.skip_shell_line();
        return Abort;
    }
    if let Some(open) = cursor.long_quote() {
        return cursor.missing_quote(open);
    }
    let mut words = vec![cursor.slice(from, to)];
    let mut width = 1;
    loop {
        let before = cursor.skip_blanks();
        match cursor.peek() {
            None | Some('\n' | ';') => break,
            Some('#') if before => {
                cursor.skip_line();
                break;
            }
            _ => {}
        }
        let begin = cursor.index();
        if cursor.word(false).is_err() {
            return Abort;
        }
        if cursor.index() == begin {
            // An operator of the shell; the first problem says enough.
            cursor.skip_line();
            break;
        }
        width = cursor.index() - at;
        words.push(cursor.slice(begin, cursor.index()));
    }
    let message = format!("There is more than one word after {name}=.");
    cursor.key = Some(name.to_owned());
    cursor.note(at, width, What::ExtraWords { append, words }, message, String::new());
    Abort
}
