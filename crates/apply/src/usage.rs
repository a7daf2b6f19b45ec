//! Whether a program refused its options, as an older version does with those that came later. It starts no program.

/// Words of which at least one is in what programs print of options that they do not know. Only the end of a long text
/// is in the error: the last lines of the help of mkfs.xfs, mkfs.vfat and mkfs.btrfs (6.0 and later), what mkfs.btrfs
/// says of a feature, and what the C library says of an option where the help goes elsewhere (mkfs.btrfs before 6.0).
const WORDS: [&str; 7] = [
    "Usage:",
    "<num> is xxx (bytes)",
    "this help message",
    "print this help and exit",
    "unrecognized filesystem feature",
    "unrecognized option",
    "invalid option -- ",
];

/// Whether a program refused its options: it has written nothing then.
pub(crate) fn is_usage(error: &sys::Error) -> bool {
    matches!(error, sys::Error::Failed { code: Some(1), stderr, .. }
        if WORDS.iter().any(|words| stderr.contains(words)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the tools of several distributions say of options that they do not know: as much of it as is in an error.
    const REFUSALS: &str = include_str!("usage/refusals.txt");

    fn failed(code: i32, stderr: &str) -> sys::Error {
        let status = format!("exit code {code}");
        sys::Error::Failed { command: "mkfs".into(), status, code: Some(code), stderr: stderr.into() }
    }

    #[test]
    fn every_version_says_that_it_does_not_know_an_option() {
        let mut seen = 0;
        for section in REFUSALS.split("=== ").skip(1) {
            let (title, said) = section.split_once('\n').unwrap();
            assert!(is_usage(&failed(1, said)), "{title}");
            seen += 1;
        }
        assert_eq!(seen, 15);
    }

    #[test]
    fn other_failures_are_no_reason_to_try_an_older_form() {
        for said in [
            "",
            "ERROR: '/dev/vda1' is too small to make a usable filesystem\nERROR: minimum size for each btrfs device is 114294784",
            "mkfs.vfat: unable to open /dev/vda1: No such file or directory",
            "mkfs.vfat: Attempting to create a too large filesystem",
            "open failed : /dev/vda1, No such file or directory\n\nexFAT format fail!",
            "mkfs.xfs: pwrite failed: Input/output error",
        ] {
            assert!(!is_usage(&failed(1, said)), "{said}");
        }
        // Other codes are other failures, whatever was printed.
        assert!(!is_usage(&failed(255, "Usage: mkfs.exfat")));
        assert!(!is_usage(&sys::Error::Cancelled));
    }
}
