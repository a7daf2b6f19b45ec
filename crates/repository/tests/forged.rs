//! Repositories written by somebody who knows the password and means harm, or by a program with a fault: an error or a named
//! file, never a panic, and no memory for what cannot be.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../../backup/tests/support/mod.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "shared with the tests of the archive")]
mod support;

use std::fs::File;
use std::path::PathBuf;

use repository::{Backend, FileKind, Id, Local, Repository, Restore};
use support::options;
use sys::Secret;

/// A repository of nothing but what is put into it.
struct Forged {
    dir: tempfile::TempDir,
    backend: Local,
    repository: Repository,
}

impl Forged {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let open = || Box::new(Local::new(dir.path().join("repository")));
        let repository = Repository::create(open(), &Secret::new("x")).unwrap();
        Self { backend: *open(), repository, dir }
    }

    fn put(&self, kind: FileKind, text: &[u8]) -> Id {
        let sealed = self.repository.seal(text).unwrap();
        let id = Id::of(&sealed);
        self.backend.write(kind, id, &sealed).unwrap();
        id
    }

    /// A snapshot of one tree, whose nodes may have `DATA` in them: the id of a blob with the text `content`. `places` gives
    /// the offset and length of the blob, of the tree and of as many more as it likes, of which nothing is there.
    fn snapshot(&self, nodes: &str, places: impl Fn(u64, u64) -> Vec<(u64, u64)>) -> Id {
        let data = self.repository.seal(b"content").unwrap();
        let text = format!(r#"{{"nodes":[{}]}}"#, nodes.replace("DATA", &Id::of(b"content").to_string()));
        let tree = self.repository.seal(text.as_bytes()).unwrap();
        let pack = [data.as_slice(), &tree].concat();
        let id = Id::of(&pack);
        self.backend.write(FileKind::Pack, id, &pack).unwrap();
        let ids = [Id::of(b"content"), Id::of(text.as_bytes()), Id::of(b"more")];
        let blobs: Vec<String> = places(data.len() as u64, tree.len() as u64)
            .iter()
            .zip(ids)
            .map(|((offset, length), id)| {
                let kind = if id == ids[1] { "tree" } else { "data" };
                format!(r#"{{"id":"{id}","type":"{kind}","offset":{offset},"length":{length}}}"#)
            })
            .collect();
        let index = format!(r#"{{"packs":[{{"id":"{id}","blobs":[{}]}}]}}"#, blobs.join(","));
        self.put(FileKind::Index, index.as_bytes());
        let snapshot = format!(r#"{{"time":"2026-01-01T00:00:00Z","tree":"{}"}}"#, ids[1]);
        self.put(FileKind::Snapshot, snapshot.as_bytes())
    }

    /// What a restore says is wrong, file by file; the error is that of the manifest.
    fn restored(&self, snapshot: Id) -> Result<Vec<String>, String> {
        let (manifest, target) = (self.dir.path().join("manifest"), self.dir.path().join("target"));
        let file = File::create(&manifest).unwrap();
        self.repository.manifest(snapshot, &file, &options()).map_err(|error| error.to_string())?;
        std::fs::create_dir(&target).unwrap();
        let order = Restore {
            snapshot,
            manifest: &manifest,
            target: &target,
            plain: Vec::<PathBuf>::new(),
            replace: true,
        };
        let restored = self.repository.restore(&order, &options(), &()).unwrap();
        Ok(restored.problems.iter().map(|one| format!("{}: {}", one.path.display(), one.detail)).collect())
    }
}

/// A file of this content.
fn file(name: &str, size: u64, content: &[String], more: &str) -> String {
    let content: Vec<String> = content.iter().map(|id| format!("\"{id}\"")).collect();
    format!(
        r#"{{"name":"{name}","type":"file","mode":420,"mtime":"2026-01-01T00:00:00Z","size":{size},"content":[{}]{more}}}"#,
        content.join(",")
    )
}

fn is_root() -> bool {
    sys::info::is_root()
}

#[test]
fn one_blob_inside_of_another_costs_only_itself() {
    let forged = Forged::new();
    let more = Id::of(b"more").to_string();
    let nodes = [file("good", 7, &["DATA".into()], ""), file("bad", 1, &[more], "")].join(",");
    // The third lies in the middle of the first, and ends before it.
    let snapshot = forged.snapshot(&nodes, |data, tree| vec![(0, data), (data, tree), (2, 33)]);
    let problems = forged.restored(snapshot).unwrap();
    assert_eq!(std::fs::read(forged.dir.path().join("target/good")).unwrap(), b"content");
    assert!(
        problems.iter().any(|one| one.starts_with("/bad: a part of its content is lost")),
        "{problems:?}"
    );
    assert!(!is_root() || problems.len() == 1, "{problems:?}");
}

#[test]
fn a_blob_of_impossible_size_gets_no_memory() {
    for (length, is_tree) in [(u64::from(u32::MAX), false), (u64::from(u32::MAX), true), (31, false)] {
        let forged = Forged::new();
        let nodes = file("bad", length - 30, &["DATA".into()], "");
        let snapshot = forged.snapshot(&nodes, |data, tree| match is_tree {
            true => vec![(0, data), (data, length)],
            false => vec![(0, length), (data, tree)],
        });
        let findings = forged.repository.check(None, &options(), &()).unwrap().findings;
        assert!(!findings.is_empty());
        match forged.restored(snapshot) {
            Ok(problems) => assert!(problems[0].contains("its content is lost"), "{problems:?}"),
            Err(error) => assert!(is_tree && error.contains("tree"), "{error}"),
        }
    }
}

#[test]
fn what_no_manifest_can_hold_is_refused() {
    let hard = |link: &str| format!(r#","rear":{{"l":"{link}"}}"#);
    for (more, wanted) in [
        (
            r#","rear":{"h":[[0,18446744073709551615],[5,18446744073709551615]]}"#.to_owned(),
            "contradicts itself",
        ),
        (r#","rear":{"t":[0,4000000000]}"#.to_owned(), "contradicts itself"),
        (hard("../outside"), "leads out"),
        (hard(""), "leads out"),
    ] {
        let forged = Forged::new();
        let nodes = file("bad", 7, &["DATA".into()], &more);
        let snapshot = forged.snapshot(&nodes, |data, tree| vec![(0, data), (data, tree)]);
        let error = forged.restored(snapshot).unwrap_err();
        assert!(error.contains(wanted) && error.contains("/bad"), "{error}");
    }
}

#[test]
fn small_files_that_become_endless_are_refused() {
    let forged = Forged::new();
    let mut bomb = vec![2];
    let spaces = std::io::Read::take(std::io::repeat(b' '), 300 << 20);
    zstd::stream::copy_encode(spaces, &mut bomb, 1).unwrap();
    assert!(bomb.len() < 1 << 20);
    forged.put(FileKind::Snapshot, &bomb);
    assert!(forged.repository.snapshots().unwrap_err().to_string().contains("decompressed"));
}
