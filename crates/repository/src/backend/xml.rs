//! As much XML as the answers of object stores need: the text of an element, and elements one after the other. It knows no
//! attributes and no namespaces, and takes nothing for markup that is not.

/// The text of the first element of that name, with its references resolved.
pub fn text(document: &str, name: &str) -> Option<String> {
    elements(document, name).next().map(resolve)
}

/// What stands in each element of that name, in their order. An element that has no end is none.
pub fn elements<'d>(document: &'d str, name: &str) -> impl Iterator<Item = &'d str> {
    let (begin, end) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = document;
    std::iter::from_fn(move || {
        let (_, tail) = rest.split_once(&begin)?;
        let (inner, tail) = tail.split_once(&end)?;
        rest = tail;
        Some(inner)
    })
}

fn resolve(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((head, tail)) = rest.split_once('&') {
        out.push_str(head);
        let Some((name, after)) = tail.split_once(';') else {
            out.push('&');
            rest = tail;
            continue;
        };
        let number = || match name.strip_prefix("#x") {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None => name.strip_prefix('#')?.parse().ok(),
        };
        match name {
            "amp" => out.push('&'),
            "lt" => out.push('<'),
            "gt" => out.push('>'),
            "quot" => out.push('"'),
            "apos" => out.push('\''),
            _ => match number().and_then(char::from_u32) {
                Some(character) => out.push(character),
                None => {
                    out.push('&');
                    rest = tail;
                    continue;
                }
            },
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_and_their_texts() {
        let list = "<R><A><K>a/1</K><S>5</S></A><A><K>b&amp;&#x41;&#66;&quot;&bad;&</K></A><A><K>cut";
        let keys: Vec<_> = elements(list, "A").map(|one| text(one, "K").unwrap()).collect();
        assert_eq!(keys, ["a/1", "b&AB\"&bad;&"]);
        assert_eq!(text(list, "S").unwrap(), "5");
        assert_eq!(text(list, "T"), None);
        assert_eq!(text("<A></A>", "A").unwrap(), "");
        assert_eq!(text("</A><A>", "A"), None);
    }
}
