//! Exclusion patterns with the meaning that they have for GNU tar, as users of `BACKUP_PROG_EXCLUDE` know them.
//!
//! It looks only at paths, never at the disk.

use crate::Error;

/// What a pattern says about a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Keep it.
    Keep,
    /// Leave it out; a directory is kept as an empty one, because the pattern names it exactly and a service may
    /// need it to start.
    Content,
    /// Leave it out completely.
    Whole,
}

/// A set of exclusion patterns.
///
/// A pattern that begins with `/` is anchored there; any other matches behind any `/`. `*`, `?` and `[…]` match
/// any character, `/` included; `\` takes the next character literally. What matches is left out with all below
/// it. `/tmp/*` leaves out the content and keeps `/tmp`. A directory that a pattern names without a wildcard in its
/// last component comes back empty, with its metadata.
#[derive(Clone, Debug, Default)]
pub struct Exclude(Vec<Pattern>);

#[derive(Clone, Debug)]
struct Pattern {
    tokens: Vec<Token>,
    /// The bytes before the first wildcard: nearly all paths are told apart by them.
    literal: Vec<u8>,
    anchored: bool,
    verdict: Verdict,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    Any,
    Star,
    Set { negated: bool, ranges: Vec<(u8, u8)> },
}

impl Exclude {
    /// Reads the patterns.
    ///
    /// # Errors
    /// A pattern that is empty, matches everything, or contains a NUL byte.
    pub fn new(patterns: &[String]) -> Result<Self, Error> {
        patterns.iter().map(|pattern| Pattern::new(pattern)).collect::<Result<_, _>>().map(Self)
    }

    /// What the patterns say about an absolute path (`/` for the root), regardless of its parents.
    pub fn verdict(&self, path: &[u8]) -> Verdict {
        let mut found = Verdict::Keep;
        for pattern in &self.0 {
            if pattern.matches(path) {
                match pattern.verdict {
                    Verdict::Whole => return Verdict::Whole,
                    other => found = other,
                }
            }
        }
        found
    }

    /// Whether the path itself or a directory above it is left out.
    pub fn covers(&self, path: &[u8]) -> bool {
        (1..path.len())
            .filter(|at| path[*at] == b'/')
            .chain([path.len()])
            .any(|end| self.verdict(&path[..end]) != Verdict::Keep)
    }
}

impl Pattern {
    fn new(text: &str) -> Result<Self, Error> {
        let refuse = |detail| Err(Error::Pattern { pattern: text.to_owned(), detail });
        let trimmed = if text.len() > 1 { text.trim_end_matches('/') } else { text };
        match trimmed {
            "" if text.is_empty() => return refuse("it is empty"),
            "" | "/" => return refuse("it would leave out the whole machine"),
            _ if trimmed.contains('\0') => return refuse("a path cannot contain a NUL byte"),
            _ => {}
        }
        let tokens = tokenize(trimmed.as_bytes());
        if tokens.iter().all(|token| *token == Token::Star) {
            return refuse("it would leave out the whole machine");
        }
        let literal = tokens
            .iter()
            .map_while(|token| if let Token::Byte(byte) = token { Some(*byte) } else { None })
            .collect();
        let wild_end = tokens
            .iter()
            .rev()
            .take_while(|token| **token != Token::Byte(b'/'))
            .any(|token| !matches!(token, Token::Byte(_)));
        Ok(Self {
            literal,
            anchored: trimmed.starts_with('/'),
            verdict: if wild_end { Verdict::Whole } else { Verdict::Content },
            tokens,
        })
    }

    fn matches(&self, path: &[u8]) -> bool {
        if self.anchored {
            return path.starts_with(&self.literal) && glob(&self.tokens, path);
        }
        path.iter().enumerate().filter(|(_, byte)| **byte == b'/').any(|(at, _)| {
            let rest = &path[at + 1..];
            rest.starts_with(&self.literal) && glob(&self.tokens, rest)
        })
    }
}

fn tokenize(pattern: &[u8]) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&byte) = pattern.get(at) {
        at += 1;
        match byte {
            b'*' if tokens.last() == Some(&Token::Star) => {}
            b'*' => tokens.push(Token::Star),
            b'?' => tokens.push(Token::Any),
            b'\\' if at < pattern.len() => {
                tokens.push(Token::Byte(pattern[at]));
                at += 1;
            }
            b'[' => match set(&pattern[at..]) {
                Some((token, length)) => {
                    tokens.push(token);
                    at += length;
                }
                // As in fnmatch(3): a bracket that is never closed is a bracket.
                None => tokens.push(Token::Byte(b'[')),
            },
            _ => tokens.push(Token::Byte(byte)),
        }
    }
    tokens
}

/// Reads a bracket expression behind its `[`; gives it with the number of bytes read.
fn set(text: &[u8]) -> Option<(Token, usize)> {
    let negated = matches!(text.first(), Some(b'!' | b'^'));
    let start = usize::from(negated);
    let mut at = start;
    let mut ranges = Vec::new();
    loop {
        let mut low = *text.get(at)?;
        if low == b']' && at > start {
            return Some((Token::Set { negated, ranges }, at + 1));
        }
        if low == b'\\' {
            at += 1;
            low = *text.get(at)?;
        }
        at += 1;
        if text.get(at) == Some(&b'-') && text.get(at + 1).is_some_and(|byte| *byte != b']') {
            ranges.push((low, text[at + 1]));
            at += 2;
        } else {
            ranges.push((low, low));
        }
    }
}

/// Matches the whole text; the last star is where to go on after a mismatch, so the cost stays a product.
fn glob(tokens: &[Token], text: &[u8]) -> bool {
    let (mut token, mut at) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let step = match tokens.get(token) {
            Some(Token::Star) => {
                retry = Some((token + 1, at));
                token += 1;
                continue;
            }
            None if at == text.len() => return true,
            None => false,
            Some(one) => text.get(at).is_some_and(|byte| one.accepts(*byte)),
        };
        if step {
            token += 1;
            at += 1;
            continue;
        }
        match retry {
            Some((after, from)) if from < text.len() => {
                retry = Some((after, from + 1));
                token = after;
                at = from + 1;
            }
            _ => return false,
        }
    }
}

impl Token {
    fn accepts(&self, byte: u8) -> bool {
        match self {
            Self::Byte(own) => *own == byte,
            Self::Any | Self::Star => true,
            Self::Set { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&byte)) != *negated
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        use Verdict::{Content, Keep, Whole};
        for (pattern, path, expected) in [
            ("/tmp/*", "/tmp", Keep),
            ("/tmp/*", "/tmp/x", Whole),
            ("/tmp/*", "/tmp/a/b", Whole),
            ("/tmp/*", "/var/tmp/x", Keep),
            ("/srv/my cache/*", "/srv/my cache/x y", Whole),
            ("/srv/my cache/*", "/srv/my cache", Keep),
            ("/srv/cache", "/srv/cache", Content),
            ("/srv/cache/", "/srv/cache", Content),
            ("/srv/cache", "/srv/cache2", Keep),
            ("/srv/c?che", "/srv/cache", Whole),
            ("/srv/[a-c]ache", "/srv/cache", Whole),
            ("/srv/[!a-c]ache", "/srv/cache", Keep),
            ("/srv/[]x]y", "/srv/]y", Whole),
            ("/srv/[x", "/srv/[x", Content),
            ("/srv/\\*", "/srv/*", Content),
            ("/srv/\\*", "/srv/a", Keep),
            ("*.iso", "/a/b/c.iso", Whole),
            ("cache", "/home/a/cache", Content),
            ("cache", "/home/a/mycache", Keep),
            ("a/cache", "/home/a/cache", Content),
            ("/home/*/cache", "/home/a/b/cache", Content),
            ("/a*b*c", "/aXbXbXc", Whole),
            ("/a*b*c", "/aXbXbXd", Keep),
        ] {
            let exclude = Exclude::new(&[pattern.to_owned()]).unwrap();
            assert_eq!(exclude.verdict(path.as_bytes()), expected, "{pattern} on {path}");
        }
        let exclude = Exclude::new(&["/var/lib/rear/*".to_owned()]).unwrap();
        assert!(exclude.covers(b"/var/lib/rear/out/deep/x"));
        assert!(!exclude.covers(b"/var/lib/rear"));
    }

    #[test]
    fn what_would_leave_out_everything_is_refused() {
        for pattern in ["", "/", "//", "*", "**"] {
            assert!(Exclude::new(&[pattern.to_owned()]).is_err(), "{pattern}");
        }
    }
}
