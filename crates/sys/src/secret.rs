//! A value that cannot be printed.

/// A password or key. It has no `Display`, and `Debug` shows nothing of it, so it cannot reach a log by
/// accident. Whoever needs the text says so with [`Secret::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes the text over.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into().into_bytes())
    }

    /// Takes over what need not be text: the content of a key file.
    pub fn of_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The text itself; nothing where it is no text. Never put the result into an argument, an environment variable
    /// or a message.
    pub fn expose(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The bytes themselves, under the same rule.
    pub fn expose_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is no secret at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(***)");
    }

    #[test]
    fn a_key_need_not_be_text() {
        let key = Secret::of_bytes(vec![0xFF, 0, b'\n']);
        assert_eq!((key.expose_bytes(), key.expose()), ([0xFF, 0, b'\n'].as_slice(), ""));
    }
}
