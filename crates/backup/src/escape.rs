//! Arbitrary bytes as readable text and back, without loss: for names and attribute values in the manifest.
//!
//! Valid UTF-8 stays as it is; `%`, control characters and bytes that are no UTF-8 become `%XX`.

use std::borrow::Cow;

/// The text form of `bytes`.
pub fn encode(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes)
        && !bytes.iter().any(|byte| needs_escape(*byte))
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match u8::try_from(character) {
                Ok(byte) if needs_escape(byte) => push(&mut out, byte),
                _ => out.push(character),
            }
        }
        for byte in chunk.invalid() {
            push(&mut out, *byte);
        }
    }
    Cow::Owned(out)
}

/// The bytes of a text that [`encode`] made; `None` for anything that it cannot have made.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte == b'%' {
            let high = char::from(*bytes.get(at + 1)?).to_digit(16)?;
            let low = char::from(*bytes.get(at + 2)?).to_digit(16)?;
            out.push(u8::try_from(high * 16 + low).ok()?);
            at += 3;
        } else {
            out.push(byte);
            at += 1;
        }
    }
    Some(out)
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'%' || byte == 0x7f
}

fn push(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn readable_where_it_can_be() {
        assert_eq!(encode("etc/größe".as_bytes()), "etc/größe");
        assert_eq!(encode(b"50%\n\xff"), "50%25%0A%FF");
        assert_eq!(decode("50%2"), None);
        assert_eq!(decode("%zz"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }
    }
}
