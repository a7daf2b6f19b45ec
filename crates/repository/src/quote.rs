//! Names as restic writes them into its trees: like the inside of a string literal of Go, so that any bytes fit into JSON.

/// The written form of a name.
pub fn quote(name: &[u8]) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\u{7}' => out.push_str("\\a"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{b}' => out.push_str("\\v"),
                control if control < ' ' || control == '\u{7f}' => {
                    // Writing to a string cannot fail.
                    let _ = write!(out, "\\x{:02x}", u32::from(control));
                }
                other => out.push(other),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// The name of a written form; `None` for what is none.
pub fn unquote(text: &str) -> Option<Vec<u8>> {
    if !text.contains('\\') {
        return (!text.contains('"')).then(|| text.as_bytes().to_vec());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        if first == '"' {
            return None;
        }
        if first != '\\' {
            out.extend(first.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let kind = rest.chars().next()?;
        rest = &rest[kind.len_utf8()..];
        let mut digits = |count: usize, radix: u32| {
            let (digits, after) = rest.split_at_checked(count)?;
            rest = after;
            digits.bytes().all(|byte| byte.is_ascii_alphanumeric()).then_some(())?;
            u32::from_str_radix(digits, radix).ok()
        };
        let plain = match kind {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 11,
            '\\' | '"' => u8::try_from(kind).ok()?,
            'x' => u8::try_from(digits(2, 16)?).ok()?,
            'u' | 'U' => {
                let code = char::from_u32(digits(if kind == 'u' { 4 } else { 8 }, 16)?)?;
                out.extend(code.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            octal if octal.is_digit(8) => {
                let high = octal.to_digit(8)?;
                u8::try_from(high * 64 + digits(2, 8)?).ok()?
            }
            _ => return None,
        };
        out.push(plain);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forms_that_restic_writes() {
        for (name, text) in [
            (&b"plain name"[..], "plain name"),
            (b"a\nb", "a\\nb"),
            (b"\xff\xfe", "\\xff\\xfe"),
            (b"q\"\\", "q\\\"\\\\"),
            ("größe".as_bytes(), "größe"),
        ] {
            assert_eq!(quote(name), text);
            assert_eq!(unquote(text).unwrap(), name);
        }
        assert_eq!(unquote("\\u00ad\\U0001f600\\101").unwrap(), "\u{ad}\u{1f600}A".as_bytes());
        for bad in ["\\", "\\x1", "\\q", "\\u12", "\"", "\\xzz", "\\400"] {
            assert_eq!(unquote(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_name_comes_back(name in proptest::collection::vec(any::<u8>(), 0..60)) {
            prop_assert_eq!(unquote(&quote(&name)), Some(name));
        }
    }
}
