//! The proof of an archive against its manifest: nothing wrong is passed over, and what damage costs is named.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

#[allow(dead_code, reason = "it serves several test programs")]
mod support;

use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use backup::{Created, Error, Proof, Stored};
use support::{create, noise, options, source, torture};

fn prove(work: &Path, made: &Created) -> Result<Proof, Error> {
    let archive = Stored::open(&work.join("a.tar.zst"))?;
    let manifest = Stored::open(&work.join("a.manifest"))?;
    backup::prove(&archive, &manifest, made.archive_bytes, &made.archive_blake3, &options(), &())
}

/// A file of several frames, then a part with the others. Files come before the directories beside them.
fn tree(dir: &Path) -> Created {
    let tree = dir.join("tree");
    std::fs::create_dir_all(tree.join("a")).unwrap();
    std::fs::write(tree.join("a/empty"), "").unwrap();
    for name in ["a/one", "a/two"] {
        std::fs::write(tree.join(name), noise(5000, 1)).unwrap();
    }
    std::fs::write(tree.join("large"), noise(21_000_000, 2)).unwrap();
    std::fs::write(tree.join("z"), noise(3_000_000, 3)).unwrap();
    create(&source(&tree), dir)
}

/// Rewrites the manifest line by line.
fn change_manifest(work: &Path, change: impl Fn(&str) -> Option<String>) {
    let path = work.join("a.manifest");
    let mut text = String::new();
    zstd::stream::read::Decoder::new(std::fs::File::open(&path).unwrap())
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    let changed: String = text.lines().filter_map(&change).map(|line| line + "\n").collect();
    assert_ne!(changed, text);
    std::fs::write(&path, zstd::encode_all(changed.as_bytes(), 1).unwrap()).unwrap();
}

#[test]
fn every_kind_of_file_is_proven() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    torture(&tree);
    // Data on both sides of a border of pieces, a long hole, and a piece of which only the end is data.
    let file = std::fs::File::create(tree.join("holes")).unwrap();
    file.set_len(90 << 20).unwrap();
    for (at, length) in [(0, 5 << 20), ((8 << 20) - 4096, 9000), (23 << 20, 6 << 20), (70 << 20, 13 << 20)] {
        file.write_all_at(&noise(length, at + 1), at).unwrap();
    }
    let made = create(&source(&tree), dir.path());
    let proof = prove(dir.path(), &made).unwrap();
    assert_eq!(proof.findings, []);
    assert_eq!((proof.files, proof.bytes), (made.files, made.data_bytes));
}

#[test]
fn damage_names_the_files_that_it_costs_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let made = tree(dir.path());
    let path = dir.path().join("a.tar.zst");
    let good = std::fs::read(&path).unwrap();
    let names = |at: usize| -> Vec<PathBuf> {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&path, bad).unwrap();
        let proof = prove(dir.path(), &made).unwrap();
        assert!(proof.findings[0].path.is_none() && proof.findings[0].detail.contains("is damaged"));
        assert_eq!(proof.files, made.files);
        proof.findings.into_iter().filter_map(|finding| finding.path).collect()
    };
    assert_eq!(names(12_000_000), [Path::new("/large")]);
    assert_eq!(names(22_000_000), ["/z", "/a/one", "/a/two"].map(Path::new));
    // Two parts of one file: it is named once.
    let mut bad = good.clone();
    bad[12_000_000] ^= 1;
    bad[20_000_000] ^= 1;
    std::fs::write(&path, bad).unwrap();
    let findings = prove(dir.path(), &made).unwrap().findings;
    assert_eq!(findings.len(), 3, "{findings:#?}");
    std::fs::write(&path, &good[..good.len() - 5]).unwrap();
    assert!(matches!(prove(dir.path(), &made), Err(Error::Truncated { .. })));
    let mut bad = good.clone();
    bad[good.len() - 40] ^= 1;
    std::fs::write(&path, bad).unwrap();
    assert!(matches!(prove(dir.path(), &made), Err(Error::Damaged { .. })));
}

#[test]
fn a_manifest_that_differs_is_found() {
    let said = |change: &dyn Fn(&str) -> Option<String>| {
        let dir = tempfile::tempdir().unwrap();
        let made = tree(dir.path());
        change_manifest(dir.path(), change);
        match prove(dir.path(), &made) {
            Ok(proof) => proof
                .findings
                .iter()
                .map(|one| format!("{:?} {}\n", one.path, one.detail))
                .collect::<String>(),
            Err(error) => error.to_string(),
        }
    };
    let replaced = |name: &'static str, from: &'static str, to: &'static str| {
        said(&move |line| {
            Some(if line.contains(name) { line.replacen(from, to, 1) } else { line.to_owned() })
        })
    };
    let digest = replaced("\"large\"", "\"b\":\"", "\"b\":\"0000").replace('\n', " ");
    assert!(digest.contains("cannot be used"), "{digest}");
    let mode = replaced("\"a/one\"", "\"m\":", "\"m\":4");
    assert!(mode.contains("/a/one") && mode.contains("its header"), "{mode}");
    let time = replaced("\"a/empty\"", "\"s\":[1", "\"s\":[2");
    assert!(time.contains("/a/empty") && time.contains("its header"), "{time}");
    for name in ["\"large\"", "\"a/two\""] {
        let swapped = said(&move |line| {
            let at = line.find("\"b\":\"").filter(|_| line.contains(name));
            Some(match at {
                Some(at) => format!("{}{}{}", &line[..at + 5], "01".repeat(32), &line[at + 69..]),
                None => line.to_owned(),
            })
        });
        assert!(swapped.contains(name.trim_matches('"')) && swapped.contains("digest"), "{swapped}");
    }
    // An entry that the manifest does not have, in the middle and at the end.
    let files = |count: u64| {
        move |line: &str| line.replace(&format!("\"files\":{count}"), &format!("\"files\":{}", count - 1))
    };
    let fewer = |name: &'static str| said(&move |line| (!line.contains(name)).then(|| files(7)(line)));
    let text = fewer("\"z\"");
    assert!(text.contains("\"/a\"") && text.contains("its header"), "{text}");
    let text = fewer("\"a/two\"");
    assert!(text.contains("holds something that the manifest does not list"), "{text}");
    let text = fewer("\"large\"");
    assert!(text.contains("holds something that the manifest does not list"), "{text}");
}
