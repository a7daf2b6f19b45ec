//! The corpus of the fuzzer (`fuzz/`), fed to the same functions by every run of the tests: what was found once stays found.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../../../../fuzz/src/lib.rs"]
mod fuzz;
mod seeds;

use std::path::{Path, PathBuf};

/// Bytes of the whole corpus at the most: it is a part of the source.
const LIMIT: u64 = 300 << 10;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn listed(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

#[test]
fn the_corpus_does_no_harm() {
    let mut bytes = 0;
    for (name, body) in fuzz::TARGETS {
        let mut accepted = 0;
        for path in listed(&root().join("corpus").join(name)) {
            // Named before it is tried: a panic elsewhere does not know it.
            println!("{}", path.display());
            let input = std::fs::read(&path).unwrap();
            let is_accepted = body(&input);
            println!("{}", if is_accepted { "accepted" } else { "refused" });
            accepted += u32::from(is_accepted);
            bytes += input.len() as u64;
        }
        // What is refused at its first byte shows nothing.
        assert!(accepted > 0, "{name} accepts nothing of its corpus");
    }
    assert!(bytes < LIMIT, "the corpus has {bytes} bytes");
}

#[test]
fn targets_and_corpora_are_the_same() {
    let names = |dir: &str| -> Vec<String> {
        let stems = listed(&root().join(dir)).into_iter().map(|path| path.file_stem().unwrap().to_owned());
        stems.map(|stem| stem.into_string().unwrap()).collect()
    };
    let known: Vec<&str> = fuzz::TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names("fuzz_targets"), known);
    assert_eq!(names("corpus"), known);
}
