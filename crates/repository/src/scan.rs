//! Steps through JSON of which only a part counts. Several times as fast as a parser that keeps everything, and as safe: the text is
//! what a hash says that it is, and what cannot be understood is `None`.

use std::borrow::Cow;

use crate::id::Id;

/// A place in a text.
pub struct Scan<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Scan<'t> {
    /// At the beginning of a text.
    pub fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    /// Whether nothing but blanks is left.
    pub fn is_at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    /// The byte that comes next, blanks left out.
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.as_bytes().get(self.at)?;
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Steps over that byte.
    fn expect(&mut self, byte: u8) -> Option<()> {
        self.pass(byte).then_some(())
    }

    /// Steps over that byte, if it comes next.
    fn pass(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// A string as it stands there, and whether it has escapes.
    fn raw(&mut self) -> Option<(&'t str, bool)> {
        self.expect(b'"')?;
        let (start, mut has_escapes) = (self.at, false);
        loop {
            self.at += memchr::memchr2(b'"', b'\\', self.text.as_bytes().get(self.at..)?)?;
            if self.text.as_bytes()[self.at] == b'"' {
                break;
            }
            has_escapes = true;
            self.at += 2;
        }
        self.at += 1;
        Some((&self.text[start..self.at - 1], has_escapes))
    }

    /// A string.
    pub fn string(&mut self) -> Option<Cow<'t, str>> {
        let start = self.at;
        match self.raw()? {
            (text, false) => Some(text.into()),
            (_, true) => serde_json::from_str::<String>(&self.text[start..self.at]).ok().map(Cow::from),
        }
    }

    /// A number without sign, fraction and exponent.
    pub fn number(&mut self) -> Option<u64> {
        self.peek()?;
        let digits = &self.text.as_bytes()[self.at..];
        let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = self.text[self.at..self.at + length].parse().ok()?;
        self.at += length;
        (!matches!(digits.get(length), Some(b'.' | b'e' | b'E'))).then_some(number)
    }

    /// An id.
    pub fn id(&mut self) -> Option<Id> {
        Id::parse(&self.string()?)
    }

    /// What `read` finds there, or nothing where `null` stands.
    pub fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        if self.peek()? != b'n' {
            return read(self).map(Some);
        }
        self.at += 4;
        self.text.as_bytes()[..self.at.min(self.text.len())].ends_with(b"null").then_some(None)
    }

    /// An object: `field` reads (or skips) the value of each name.
    pub fn object(&mut self, mut field: impl FnMut(&mut Self, &str) -> Option<()>) -> Option<()> {
        self.expect(b'{')?;
        if self.pass(b'}') {
            return Some(());
        }
        loop {
            let name = self.string()?;
            self.expect(b':')?;
            field(self, &name)?;
            if self.pass(b'}') {
                return Some(());
            }
            self.expect(b',')?;
        }
    }

    /// An array: `read` reads each of its values.
    pub fn array<T>(&mut self, mut read: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let mut values = Vec::new();
        self.expect(b'[')?;
        if self.pass(b']') {
            return Some(values);
        }
        loop {
            values.push(read(self)?);
            if self.pass(b']') {
                return Some(values);
            }
            self.expect(b',')?;
        }
    }

    /// Steps over a value, whatever it is and however deep.
    pub fn skip(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => _ = self.raw()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' => {
                    (depth > 0).then_some(())?;
                    self.at += 1;
                    continue;
                }
                _ => {
                    let rest = &self.text.as_bytes()[self.at..];
                    let length = rest
                        .iter()
                        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.'))
                        .count();
                    (length > 0).then_some(())?;
                    self.at += length;
                }
            }
            if depth == 0 {
                return Some(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// Everything that can be said in JSON with numbers as trees have them.
    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    /// What is there, read by its first letter.
    fn read(scan: &mut Scan<'_>) -> Option<Value> {
        Some(match scan.peek()? {
            b'{' => {
                let mut map = serde_json::Map::new();
                scan.object(|scan, name| {
                    map.insert(name.to_owned(), read(scan)?);
                    Some(())
                })?;
                Value::Object(map)
            }
            b'[' => Value::from(scan.array(read)?),
            b'"' => Value::from(scan.string()?.into_owned()),
            b'n' => scan.optional(|_| Some(Value::Bool(true)))?.map_or(Value::Null, Value::from),
            b't' | b'f' => {
                let start = scan.at;
                scan.skip()?;
                Value::Bool(&scan.text[start..scan.at] == "true")
            }
            _ => Value::from(scan.number()?),
        })
    }

    proptest! {
        #[test]
        fn what_a_parser_reads_is_read(value in value(), pretty: bool) {
            let write = if pretty { serde_json::to_string_pretty } else { serde_json::to_string };
            let text = write(&value).unwrap();
            let mut scan = Scan::new(&text);
            prop_assert_eq!(read(&mut scan).unwrap(), value);
            prop_assert!(scan.is_at_end());
            let mut scan = Scan::new(&text);
            scan.skip().unwrap();
            prop_assert!(scan.is_at_end(), "{} is not skipped as a whole", text);
        }

        #[test]
        fn no_text_ends_the_program(text: String, json in "[{}\\[\\]\":,\\\\ n0-9e.é]{0,40}") {
            for text in [&text, &json] {
                _ = read(&mut Scan::new(text));
                _ = Scan::new(text).skip();
                _ = Scan::new(text).number();
                _ = Scan::new(text).optional(|_| Some(()));
            }
        }
    }

    #[test]
    fn halves_are_nothing() {
        for text in [
            "",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,",
            "[1,",
            "[1 2]",
            "\"a",
            "\"\\",
            "nul",
            "}",
            "-1",
            "1.5",
        ] {
            assert_eq!(read(&mut Scan::new(text)), None, "{text}");
        }
        for text in ["", "{", "[[]", "\"a", "}", ",", ":"] {
            assert_eq!(Scan::new(text).skip(), None, "{text}");
        }
        // Deeper than any stack.
        let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
        assert_eq!(Scan::new(&deep).skip(), Some(()));
    }
}
