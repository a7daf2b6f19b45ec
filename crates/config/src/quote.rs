//! Writing values so that both a shell and our own parser read the same text back. It never decides what a
//! value means.

/// Quotes a value for the right side of `KEY=` or for one element of a list, only where it needs it.
///
/// The result stands on one line: values with control characters (a newline, a carriage return) are written in
/// the `$'…'` form. A NUL cannot be in a shell value; it is left out.
///
/// ```
/// assert_eq!(config::quote("/srv/data"), "/srv/data");
/// assert_eq!(config::quote("it's here"), r"'it'\''s here'");
/// assert_eq!(config::quote("a\nb"), r"$'a\nb'");
/// ```
pub fn quote(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:,+@%".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        value.to_owned()
    } else if value.chars().any(char::is_control) {
        ansi(value)
    } else {
        format!("'{}'", value.replace('\'', r"'\''"))
    }
}

/// A value in double quotes, as `rear dump` shows it.
pub(crate) fn double(value: &str) -> String {
    if value.chars().any(char::is_control) {
        return ansi(value);
    }
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// The `$'…'` form. Control characters beyond ASCII (U+0080 to U+009F) stay as they are: their `\u` escape
/// depends on the locale in bash.
pub(crate) fn ansi(value: &str) -> String {
    let mut out = String::from("$'");
    for c in value.chars() {
        match c {
            '\0' => {}
            '\n' => out.push_str(r"\n"),
            '\r' => out.push_str(r"\r"),
            '\t' => out.push_str(r"\t"),
            '\'' => out.push_str(r"\'"),
            '\\' => out.push_str(r"\\"),
            // Three octal digits end by themselves; \xH would swallow a digit that follows.
            c if c.is_ascii_control() => out.push_str(&format!("\\{:03o}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('\'');
    out
}
