//! `BACKUP_RSYNC_OPTIONS`: which of rsync's options mean something here. What this program sets itself needs not be said, what
//! would change what is saved or removed is refused, and the rest is passed on.

/// What becomes of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is always so.
    Always,
    /// rsync gets it.
    Passed,
    /// It cannot be used, for this reason (a clause).
    Refused(&'static str),
}

/// Set in every run, or of no consequence.
const ALWAYS: &[&str] = &[
    "--archive",
    "--recursive",
    "--links",
    "--perms",
    "--times",
    "--group",
    "--owner",
    "--devices",
    "--specials",
    "--hard-links",
    "--sparse",
    "--acls",
    "--xattrs",
    "--numeric-ids",
    "--relative",
    "--one-file-system",
    "--stats",
    "--verbose",
    "--progress",
    "--human-readable",
    "--info",
    "--quiet",
    "--itemize-changes",
    "--partial",
    "--super",
];

/// What rsync gets as it is.
const PASSED: &[&str] = &[
    "--bwlimit",
    "--compress",
    "--compress-level",
    "--compress-choice",
    "--zc",
    "--zl",
    "--skip-compress",
    "--rsync-path",
    "--rsh",
    "--timeout",
    "--contimeout",
    "--ipv4",
    "--ipv6",
    "--address",
    "--sockopts",
    "--blocking-io",
    "--whole-file",
    "--no-whole-file",
    "--fake-super",
    "--remote-option",
    "--no-acls",
    "--no-xattrs",
    "--no-owner",
    "--no-group",
    "--no-perms",
    "--no-devices",
    "--no-specials",
    "--fsync",
    "--checksum-choice",
    "--cc",
    "--block-size",
    "--max-alloc",
    "--protect-args",
    "--secluded-args",
    "--old-args",
    "--outbuf",
    "--debug",
    "--port",
];

const IN_PLACE: &str = "it would write into files that earlier backups share";
const DELETES: &str = "every backup is a new tree, in which there is nothing to delete";
const SELECTS: &str = "what is saved is said by BACKUP_PROG_EXCLUDE and EXCLUDE_BACKUP";
const MISSES: &str = "it would leave out changes of files";

/// What cannot be.
const REFUSED: &[(&str, &str)] = &[
    ("--inplace", IN_PLACE),
    ("--append", IN_PLACE),
    ("--append-verify", IN_PLACE),
    ("--write-devices", IN_PLACE),
    ("--exclude", SELECTS),
    ("--exclude-from", SELECTS),
    ("--include", SELECTS),
    ("--include-from", SELECTS),
    ("--filter", SELECTS),
    ("--files-from", SELECTS),
    ("--cvs-exclude", SELECTS),
    ("--max-size", SELECTS),
    ("--min-size", SELECTS),
    ("--size-only", MISSES),
    ("--update", MISSES),
    ("--existing", MISSES),
    ("--ignore-existing", MISSES),
    ("--modify-window", MISSES),
    ("--copy-links", "it would save files instead of links"),
    ("--copy-unsafe-links", "it would save files instead of links"),
    ("--remove-source-files", "it would remove files of this machine"),
    ("--dry-run", "nothing would be saved"),
];

/// Short options without a value, each as its long form; what is not here is unknown.
const SHORT: &[(char, &str)] = &[
    ('a', "--archive"),
    ('r', "--recursive"),
    ('l', "--links"),
    ('p', "--perms"),
    ('t', "--times"),
    ('g', "--group"),
    ('o', "--owner"),
    ('D', "--devices"),
    ('H', "--hard-links"),
    ('S', "--sparse"),
    ('A', "--acls"),
    ('X', "--xattrs"),
    ('R', "--relative"),
    ('x', "--one-file-system"),
    ('v', "--verbose"),
    ('h', "--human-readable"),
    ('P', "--progress"),
    ('q', "--quiet"),
    ('i', "--itemize-changes"),
    ('z', "--compress"),
    ('W', "--whole-file"),
    ('4', "--ipv4"),
    ('6', "--ipv6"),
    ('s', "--protect-args"),
    ('u', "--update"),
    ('n', "--dry-run"),
    ('L', "--copy-links"),
    ('C', "--cvs-exclude"),
];

/// What becomes of one option, in its long form and without its value.
fn of_long(name: &str) -> Verdict {
    if ALWAYS.contains(&name) {
        return Verdict::Always;
    }
    if PASSED.contains(&name) {
        return Verdict::Passed;
    }
    if name.starts_with("--delete") || name == "--del" || name == "--force" {
        return Verdict::Refused(DELETES);
    }
    let known = REFUSED.iter().find(|(refused, _)| *refused == name);
    Verdict::Refused(known.map_or("this program does not know what it would change", |(_, why)| why))
}

/// What becomes of an element of the list.
pub(crate) fn verdict(option: &str) -> Verdict {
    if option.starts_with("-M--") {
        return Verdict::Passed;
    }
    if option.starts_with("--") {
        return of_long(option.split('=').next().unwrap_or(option));
    }
    let Some(letters) = option.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
        return Verdict::Refused("it is no option; write a value with its option: --bwlimit=1000");
    };
    let mut found = Verdict::Always;
    for letter in letters.chars() {
        match SHORT.iter().find(|(short, _)| *short == letter).map(|(_, long)| of_long(long)) {
            Some(Verdict::Always) => {}
            Some(Verdict::Passed) => found = Verdict::Passed,
            Some(refused) => return refused,
            None => {
                return Verdict::Refused(
                    "this program does not know what it would change; write the long form",
                );
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_users() {
        for option in [
            "--sparse",
            "--archive",
            "--hard-links",
            "--numeric-ids",
            "--stats",
            "--devices",
            "-avx",
            "--info=progress2",
        ] {
            assert_eq!(verdict(option), Verdict::Always, "{option}");
        }
        for option in
            ["--bwlimit=1000", "-z", "-az", "--rsync-path=sudo rsync", "--fake-super", "-M--fake-super"]
        {
            assert_eq!(verdict(option), Verdict::Passed, "{option}");
        }
        for option in [
            "--inplace",
            "--delete",
            "--delete-excluded",
            "-n",
            "-au",
            "--size-only",
            "--no-such",
            "-Q",
            "1000",
            "-",
        ] {
            assert!(matches!(verdict(option), Verdict::Refused(_)), "{option}");
        }
    }
}
