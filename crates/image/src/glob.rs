//! Shell wildcards: `*`, `?` and `[...]`, where `*` also matches `/` when a whole path is compared (as the
//! patterns of `COPY_AS_IS_EXCLUDE` always did). Braces and character classes by name are not known.

/// Whether `text` matches `pattern` as a whole.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        let step = match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
                continue;
            }
            Some('?') => Some(1),
            Some('[') => class(&pattern[p..], text[t]),
            Some('\\') if pattern.get(p + 1) == Some(&text[t]) => Some(2),
            Some(c) if *c == text[t] => Some(1),
            _ => None,
        };
        match (step, star) {
            (Some(width), _) => {
                p += width;
                t += 1;
            }
            // Let the last star take one character more and try again from there.
            (None, Some((star_p, star_t))) => {
                p = star_p + 1;
                t = star_t + 1;
                star = Some((star_p, star_t + 1));
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// Whether the character is in the class at the head of the pattern, and how long that class is.
fn class(pattern: &[char], c: char) -> Option<usize> {
    let negated = matches!(pattern.get(1), Some('!' | '^'));
    let start = if negated { 2 } else { 1 };
    // A "]" right at the start stands for itself.
    let end = pattern.iter().skip(start + 1).position(|c| *c == ']').map(|at| at + start + 1);
    let Some(end) = end else { return (c == '[').then_some(1) };
    let body = &pattern[start..end];
    let mut found = false;
    let mut i = 0;
    while i < body.len() {
        if i + 2 < body.len() && body[i + 1] == '-' {
            found |= (body[i]..=body[i + 2]).contains(&c);
            i += 3;
        } else {
            found |= body[i] == c;
            i += 1;
        }
    }
    (found != negated).then_some(end + 1)
}

/// Whether a word has wildcards at all.
pub(crate) fn is_pattern(word: &str) -> bool {
    word.contains(['*', '?', '['])
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn wildcards() {
        for (pattern, text, expected) in [
            ("/opt/my agent/*", "/opt/my agent/bin/x", true),
            ("*.ko", "a.ko.xz", false),
            ("*a*b", "xaxbxab", true),
            ("lib?.so", "libc.so", true),
            ("lib[!a-c].so", "libc.so", false),
            ("lib[a-c].so", "libc.so", true),
            ("a[", "a[", true),
            ("a[]]", "a]", true),
            ("", "", true),
            ("***", "", true),
            ("", "a", false),
            (r"a\*", "a*", true),
            (r"a\*", "ab", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
