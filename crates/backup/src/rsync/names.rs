//! Names in what rsync prints: it writes a byte that cannot be printed as `\#ooo` (three octal digits), and a backslash that
//! would read like the beginning of such a one as `\#134`.

use std::borrow::Cow;

/// The name as it is on the disk.
pub fn decode(printed: &[u8]) -> Cow<'_, [u8]> {
    if !printed.windows(2).any(|two| two == b"\\#") {
        return Cow::Borrowed(printed);
    }
    let mut out = Vec::with_capacity(printed.len());
    let mut rest = printed;
    while let Some((&byte, tail)) = rest.split_first() {
        match rest {
            [b'\\', b'#', high @ b'0'..=b'3', middle @ b'0'..=b'7', low @ b'0'..=b'7', tail @ ..] => {
                out.push((high - b'0') * 64 + (middle - b'0') * 8 + (low - b'0'));
                rest = tail;
            }
            _ => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    Cow::Owned(out)
}

/// The lines that rsync was told to print as `WORD NAME` (`--out-format=%i %n`): the word, and the name without the slash at
/// the end of a directory's. Other lines (of a remote login, for instance) are left out.
pub fn items(printed: &[u8]) -> impl Iterator<Item = (&[u8], Cow<'_, [u8]>)> {
    printed.split(|byte| *byte == b'\n').filter_map(|line| {
        let at = line.iter().position(|byte| *byte == b' ')?;
        let name = &line[at + 1..];
        let name = match name {
            b"./" => &name[..1],
            _ => name.strip_suffix(b"/").unwrap_or(name),
        };
        Some((&line[..at], decode(name)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        assert_eq!(decode(b"plain \\ # name").as_ref(), b"plain \\ # name");
        assert_eq!(decode(b"a\\#012b\\#377\\#134#012").as_ref(), b"a\nb\xff\\#012");
        assert_eq!(decode(b"\\#9").as_ref(), b"\\#9");
    }

    #[test]
    fn lines_have_a_word_and_a_name() {
        let found: Vec<_> =
            items(b"cd+++++++++ ./\n>f.st...... a b/c\\#012d\nnonsense\ncd+++++++++ dir/\n").collect();
        let found: Vec<(&[u8], &[u8])> = found.iter().map(|(word, name)| (*word, name.as_ref())).collect();
        assert_eq!(
            found,
            [(&b"cd+++++++++"[..], &b"."[..]), (b">f.st......", b"a b/c\nd"), (b"cd+++++++++", b"dir")]
        );
    }
}
