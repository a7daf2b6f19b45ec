//! The nearest known name to a misspelt one. It only proposes; nothing is ever corrected silently.

/// The candidate with the smallest edit distance, if it is near enough to be what was meant: a third of the
/// length of the word, at most three edits. Letter case does not count.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let upper = word.to_ascii_uppercase();
    let limit = (upper.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        // Each missing character is an edit: most candidates need no closer look.
        .filter(|candidate| candidate.len().abs_diff(upper.len()) <= limit)
        .map(|candidate| (distance(&upper, &candidate.to_ascii_uppercase()), candidate))
        .filter(|(edits, _)| *edits <= limit)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Edit distance in which the swap of two neighbours (ULR for URL) is one edit (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, &y) in b.iter().enumerate() {
            let mut best = (row[j] + usize::from(x != y)).min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && x == b[j - 1] && a[i - 1] == y {
                best = best.min(before[j - 1] + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swaps_and_slips_are_near() {
        assert_eq!(distance("ULR", "URL"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(nearest("BACKUP_ULR", ["BACKUP", "BACKUP_URL", "OUTPUT_URL"]), Some("BACKUP_URL"));
        assert_eq!(nearest("FOO", ["BACKUP", "LIBS"]), None);
    }
}
