//! Manifests and archives that were made to do harm. Each is restored by a child process with little memory: whatever it says,
//! nothing outside of the target changes, the child neither dies nor takes all memory, and what did not come back is told.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[allow(dead_code, reason = "each test program uses its part")]
mod support;

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use backup::Stored;
use rustix::process::{Resource, Rlimit};
use support::facts::{differences, facts};
use support::{create, options, order, source};

/// Tells the child where it works.
const PLACE: &str = "REAR_TEST_HOSTILE";
/// Address space of the child, in bytes: its threads and their stacks included.
const MEMORY: u64 = 1 << 30;

/// The child: restores `a.tar.zst` by `a.manifest` into `target` twice, as a recovery and as a restore of single files,
/// and writes what it was told into `said`.
#[test]
fn child_process() {
    let Some(place) = std::env::var_os(PLACE) else { return };
    let limit = Rlimit { current: Some(MEMORY), maximum: Some(MEMORY) };
    rustix::process::setrlimit(Resource::As, limit).unwrap();
    let place = Path::new(&place);
    let (manifest, target) = (place.join("a.manifest"), place.join("target"));
    let mut said = String::new();
    for replace in [true, false] {
        let told = Stored::open(&place.join("a.tar.zst")).and_then(|archive| {
            let restore = backup::Restore { replace, ..order(&archive, &manifest, &target) };
            backup::restore(&restore, &options(), &())
        });
        match told {
            Ok(restored) => {
                let list = restored.problems.iter().take(1000);
                said.extend(list.map(|one| format!("{}: {}\n", one.path.display(), one.detail)));
                let more =
                    restored.problems.iter().skip(1000).filter(|one| one.detail.contains("too many to list"));
                said.extend(more.map(|one| format!("{}\n", one.detail)));
                said.push_str("restored\n");
            }
            Err(error) => said.push_str(&format!("refused: {error}\n")),
        }
    }
    match backup::compare(&manifest, &target, &[], &options(), &()) {
        Ok(compared) => {
            let list = compared.differences.iter().take(100);
            said.extend(list.map(|one| format!("differs: {}: {}\n", one.path.display(), one.what)));
        }
        Err(error) => said.push_str(&format!("not compared: {error}\n")),
    }
    let made: backup::Created = serde_json::from_slice(&std::fs::read(place.join("made")).unwrap()).unwrap();
    let proof = Stored::open(&place.join("a.tar.zst")).and_then(|archive| {
        let manifest = Stored::open(&manifest)?;
        backup::prove(&archive, &manifest, archive.len(), &made.archive_blake3, &options(), &())
    });
    said.push_str(&proof.map_or_else(
        |error| format!("not proven: {error}\n"),
        |proof| format!("{} findings\n", proof.findings.len()),
    ));
    let part = place.join("part");
    let list = std::fs::File::create(&part).unwrap();
    let _ = backup::select(
        &backup::Stored::open(&manifest).unwrap(),
        &list,
        &backup::LeaveOut::default(),
        &options(),
    );
    std::fs::write(place.join("said"), said).unwrap();
}

/// A work place with an archive of some files, a target, and what must stay untouched beside it.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["tree", "target", "outside", "outside/dir"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        std::fs::write(at("outside/secret"), b"secret").unwrap();
        std::os::unix::fs::symlink("secret", at("outside/alias")).unwrap();
        for name in ["tree/a", "tree/b"] {
            std::fs::write(at(name), b"content").unwrap();
        }
        std::fs::write(at("tree/zeros"), vec![1; 3_000_000]).unwrap();
        let made = create(&source(&at("tree")), dir.path());
        std::fs::write(at("made"), serde_json::to_vec(&made).unwrap()).unwrap();
        Self { dir }
    }

    /// Restores by a manifest of these lines and gives what was said. `OUT` stands for the directory outside.
    fn with(&self, lines: &[String]) -> String {
        let at = |name: &str| self.dir.path().join(name);
        let out = at("outside");
        let lines = lines.iter().map(|line| line.replace("OUT", out.to_str().unwrap()));
        let file = std::fs::File::create(at("a.manifest")).unwrap();
        let mut encoder = zstd::stream::write::Encoder::new(file, 1).unwrap();
        encoder.write_all(b"{\"v\":1}\n").unwrap();
        let mut count = 0;
        for line in lines {
            encoder.write_all(line.as_bytes()).unwrap();
            encoder.write_all(b"\n").unwrap();
            count += 1;
        }
        writeln!(encoder, "{{\"end\":{{\"files\":{count},\"bytes\":0}}}}").unwrap();
        encoder.finish().unwrap();
        self.restored()
    }

    /// Runs the child on what is there.
    fn restored(&self) -> String {
        let at = |name: &str| self.dir.path().join(name);
        let before = facts(&at("outside"), &[]);
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_process", "--nocapture", "--test-threads", "1"])
            .env(PLACE, self.dir.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&child.stderr);
        assert!(child.status.success(), "{}: {}", child.status, &text[..text.len().min(3000)]);
        assert_eq!(differences(&before, &facts(&at("outside"), &[])), [""; 0], "something outside changed");
        let mut names: Vec<_> = std::fs::read_dir(self.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !["said", "part", "made", "a.manifest", "a.tar.zst"].contains(&name.as_str()))
            .collect();
        names.sort();
        assert_eq!(names, ["outside", "target", "tree"]);
        std::fs::read_to_string(at("said")).unwrap()
    }
}

/// A line of the manifest: type, path, and more.
fn line(kind: char, path: &str, more: &str) -> String {
    format!(r#"{{"p":"{path}","t":"{kind}","m":511,"s":[1000,0],"f":0{more}}}"#)
}

/// The content of the file `a`, whose place in the archive does not matter to where it goes.
const CONTENT: &str = r#","n":7,"o":512"#;

#[test]
fn paths_that_lead_out_are_refused() {
    let place = Place::new();
    for path in [
        "../x",
        "a/../../x",
        "/OUT/x",
        "..",
        "a//b",
        "./a",
        "a/",
        "",
        "a/./b",
        "a%00b",
        "%2e%2e/x",
        "a/%2E%2E/b",
    ] {
        let said = place.with(&[line('f', path, CONTENT)]);
        assert!(said.matches("refused: ").count() == 2, "{path}: {said}");
        let said = place.with(&[line('f', "a", CONTENT), line('h', "b", &format!(r#","l":"{path}""#))]);
        assert!(said.matches("refused: ").count() == 2, "link to {path}: {said}");
    }
}

#[test]
fn nothing_is_written_through_links() {
    let place = Place::new();
    let link = |path: &str, to: &str| line('l', path, &format!(r#","l":"{to}""#));
    let xattr = r#","x":[["user.evil","1"]],"a":64,"u":7"#;
    let said = place.with(&[
        // A link, and a file through it; a link to a file, and the file itself; a chain; upwards.
        link("d", "OUT"),
        line('f', "d/new", CONTENT),
        line('f', "d/secret", CONTENT),
        line('d', "d/sub", xattr),
        line('p', "d/pipe", ""),
        line('l', "d/link", r#","l":"x""#),
        link("one", "two"),
        link("two", "OUT/dir"),
        line('f', "one/new", CONTENT),
        link("up", "../outside"),
        line('f', "up/new", CONTENT),
        // A link in the place of a directory that is there, and a directory in the place of a link.
        line('d', "dir", ""),
        line('f', "dir/inside", CONTENT),
        link("dir", "OUT"),
        line('f', "dir/after", CONTENT),
        link("later", "OUT/dir"),
        line('d', "later", xattr),
        line('f', "later/file", CONTENT),
        // Files, pipes and attributes in the place of links.
        link("secret", "OUT/secret"),
        line('f', "secret", &format!("{CONTENT}{xattr}")),
        link("pipe", "OUT/secret"),
        line('p', "pipe", r#","u":7"#),
        line('p', "turned", ""),
        link("turned", "OUT/secret"),
        // Further names of what is outside, through links.
        line('h', "hard", r#","l":"d/secret""#),
        line('h', "hard2", r#","l":"up/secret""#),
        line('h', "d/hard3", r#","l":"secret""#),
    ]);
    assert!(said.contains("restored"), "{said}");
    for wrong in ["/d/new: ", "/d/secret: ", "/one/new: ", "/up/new: ", "/hard: ", "/hard2: ", "/d/hard3: "] {
        assert!(said.contains(wrong), "{wrong} is not told: {said}");
    }
    assert!(said.contains("differs: "), "{said}");
    let target = place.dir.path().join("target");
    let links = |name: &str| std::fs::symlink_metadata(target.join(name)).map_or(1, |found| found.nlink());
    assert_eq!((links("hard"), links("hard2")), (1, 1));
}

/// Names that are a pipe and then a link, several threads at once: in between, no mode is set through the link.
#[test]
fn a_name_that_becomes_a_link_takes_no_mode_outside() {
    let place = Place::new();
    let mut lines = Vec::new();
    for index in 0..2000 {
        let name = format!("n{}", index % 4);
        // Different frames, so that different threads have them.
        let frame = |line: String, frame: usize| line.replace(r#""f":0"#, &format!(r#""f":{frame}"#));
        lines.push(frame(line('p', &name, ""), index % 2));
        lines.push(frame(line('l', &name, r#","l":"OUT/secret""#), (index + 1) % 2));
    }
    // A second frame.
    std::fs::write(place.dir.path().join("tree/zz"), support::noise(9_000_000, 1)).unwrap();
    let made = create(&source(&place.dir.path().join("tree")), place.dir.path());
    std::fs::write(place.dir.path().join("made"), serde_json::to_vec(&made).unwrap()).unwrap();
    assert!(place.with(&lines).contains("restored"));
}

#[test]
fn what_stands_twice_is_told() {
    let place = Place::new();
    let said = place.with(&[line('d', "d", ""), line('d', "e", ""), line('d', "d", "")]);
    assert!(said.contains("refused: ") && said.contains("the directory /d twice"), "{said}");
    let said = place.with(&[
        line('f', "a", CONTENT),
        line('p', "a", ""),
        line('d', "a", ""),
        line('f', "a", CONTENT),
    ]);
    assert!(said.contains("differs: /a: "), "{said}");
    // Of the root there is one, and it is a directory.
    for kind in ['f', 'l', 'p', 'h'] {
        let said = place.with(&[line(kind, ".", r#","l":"a""#)]);
        assert!(said.contains("/: cannot") || said.contains("refused"), "{kind}: {said}");
    }
}

#[test]
fn impossible_sizes_and_places_are_refused() {
    let place = Place::new();
    for more in [
        r#","n":-1"#,
        r#","n":-9223372036854775808"#,
        r#","n":18446744073709551615"#,
        r#","n":18446744073709551616"#,
        r#","n":9223372036854775807"#,
        r#","n":1e30"#,
        r#","n":10,"h":[[0,5],[3,5]]"#,
        r#","n":10,"h":[[18446744073709551615,2]]"#,
        r#","n":10,"h":[[8,3]]"#,
        r#","n":10,"h":[[-1,3]]"#,
        r#","o":-5"#,
        r#","o":4294967296"#,
        r#","n":7,"o":512,"b":"00""#,
    ] {
        let said = place.with(&[line('f', "x", more)]);
        assert!(said.matches("refused: ").count() == 2, "{more}: {said}");
    }
    for kind in ['d', 'l', 'p', 'h', 'c', 'b'] {
        let said = place.with(&[line(kind, "x", r#","l":"a","n":18446744073709551615"#)]);
        assert!(said.matches("refused: ").count() == 2, "{kind}: {said}");
    }
    // What this archive does not hold.
    for more in [r#","n":7,"o":4294967295"#, r#","n":4000000000000"#, r#","n":9223372032559808000"#] {
        let said = place.with(&[line('f', "x", more)]);
        assert!(said.contains("does not belong to this archive"), "{more}: {said}");
    }
    let said = place.with(&[line('f', "x", CONTENT).replace(r#""f":0"#, r#""f":18446744073709551615"#)]);
    assert!(said.contains("does not belong to this archive"), "{said}");
    // A file of nothing but a hole is as large as it likes, and takes no room.
    let said = place.with(&[line('f', "hole", r#","n":1000000000000,"h":[]"#)]);
    assert!(!said.contains("refused"), "{said}");
}

#[test]
fn names_beyond_all_limits_are_told() {
    let place = Place::new();
    let long = "n".repeat(256);
    let deep = "d/".repeat(20_000) + "x";
    let (huge, link) = ("h".repeat(3_000_000), format!(r#","l":"{}""#, "l".repeat(5000)));
    let said = place.with(&[line('f', &long, CONTENT), line('f', &deep, CONTENT), line('l', "link", &link)]);
    assert!(said.matches("name too long").count() >= 2, "{}", &said[..said.len().min(2000)]);
    let said = place.with(&[line('p', &huge, "")]);
    assert!(said.contains("refused") || said.contains("name too long"), "{}", &said[..2000]);
    // Attributes that no filesystem takes are told by name.
    let said = place.with(&[line('f', "y", r#","x":[["nonsense","1"],["user.",""],["user.ok","1"]]"#)]);
    assert!(said.contains("nonsense"), "{said}");
}

/// More of everything than fits into the child's memory.
#[test]
fn bombs_take_no_memory() {
    let place = Place::new();
    // One line without end, of a few kilobytes when compressed.
    let path = place.dir.path().join("a.manifest");
    let mut bomb = zstd::encode_all(&b"{\"v\":1}\n{\"p\":\""[..], 1).unwrap();
    bomb.extend(repeated(b'a', 3 << 30));
    std::fs::write(&path, bomb).unwrap();
    assert!(std::fs::metadata(&path).unwrap().len() < 1 << 20);
    let said = place.restored();
    assert!(said.matches("refused: ").count() == 2, "{said}");
    // A window larger than anybody needs, announced in the first bytes.
    std::fs::write(&path, [0x28, 0xB5, 0x2F, 0xFD, 0x00, 0xF8, 0x01, 0x00, 0x00]).unwrap();
    assert!(place.restored().matches("refused: ").count() == 2);
    // More entries of a frame than it can hold, and more in a line than memory.
    let many: Vec<_> = (0..20_000).map(|index| line('p', &format!("missing/{index:0200}"), "")).collect();
    let said = place.with(&many);
    assert!(said.contains("refused: "), "{}", &said[..said.len().min(2000)]);
    let segments = "[0,0],".repeat(200_000);
    let said = place.with(&[line('f', "x", &format!(r#","n":10,"h":[{}[0,0]]"#, segments))]);
    assert!(said.matches("refused: ").count() == 2, "{}", &said[..said.len().min(2000)]);
    let attributes = r#"["",""],"#.repeat(100_000);
    place.with(&[line('f', "x", &format!(r#","x":[{attributes}["",""]]"#))]);
}

/// An archive that says that it becomes much more than it is.
#[test]
fn an_archive_that_explodes_or_lies_is_refused() {
    let place = Place::new();
    let archive = place.dir.path().join("a.tar.zst");
    let good = std::fs::read(&archive).unwrap();
    let write = |frame: &[u8], size: u32| {
        // As in the format's description: digests, then the seek table.
        let mut bytes = frame.to_vec();
        let digest = *blake3::hash(frame).as_bytes();
        bytes.extend(0x184D_2A50_u32.to_le_bytes());
        bytes.extend(40_u32.to_le_bytes());
        bytes.extend(b"rearb3\0\x01");
        bytes.extend(digest);
        bytes.extend(0x184D_2A5E_u32.to_le_bytes());
        bytes.extend(17_u32.to_le_bytes());
        bytes.extend(u32::try_from(frame.len()).unwrap().to_le_bytes());
        bytes.extend(size.to_le_bytes());
        bytes.extend(1_u32.to_le_bytes());
        bytes.push(0);
        bytes.extend(0x8F92_EAB1_u32.to_le_bytes());
        std::fs::write(&archive, bytes).unwrap();
    };
    let bomb = repeated(0, 3 << 30);
    assert!(bomb.len() < 1 << 20);
    let lines = [line('f', "a", CONTENT), line('f', "b", r#","n":60000000,"o":512"#)];
    for size in [4 << 20, 64 << 20] {
        write(&bomb, size);
        let said = place.with(&lines);
        assert!(said.contains("cannot be read") || said.contains("is damaged"), "{said}");
    }
    for size in [(64 << 20) + 1, u32::MAX] {
        write(&bomb, size);
        let said = place.with(&lines);
        assert!(said.matches("refused: ").count() == 2, "{said}");
    }
    // A sparse file of a terabyte whose last bytes speak of a hundred million frames.
    std::fs::write(&archive, &good).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&archive).unwrap();
    file.set_len(1 << 40).unwrap();
    let mut end = 100_000_000_u32.to_le_bytes().to_vec();
    end.push(0);
    end.extend(0x8F92_EAB1_u32.to_le_bytes());
    std::os::unix::fs::FileExt::write_all_at(&file, &end, (1 << 40) - 9).unwrap();
    let said = place.with(&lines);
    assert!(said.matches("refused: ").count() == 2 && said.contains("seek table"), "{said}");
}

/// A zstd frame of a few kilobytes that becomes so many bytes of one value (RFC 8878: blocks of type RLE).
fn repeated(byte: u8, bytes: usize) -> Vec<u8> {
    const BLOCK: usize = 128 << 10;
    // No checksum, no size, a window of 128 KiB.
    let mut frame = vec![0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x38];
    let blocks = bytes / BLOCK;
    for index in 0..blocks {
        let header = u32::try_from(BLOCK << 3).unwrap() | 1 << 1 | u32::from(index + 1 == blocks);
        frame.extend(&header.to_le_bytes()[..3]);
        frame.push(byte);
    }
    frame
}

/// Device nodes are made where the manifest says, below the target, and opened by nobody.
#[test]
fn devices_stay_inside_and_closed() {
    let place = Place::new();
    let said = place.with(&[
        line('b', "disk", r#","d":[4095,1048575]"#),
        line('c', "impossible", r#","d":[4294967295,4294967295]"#),
        line('c', "console", r#","d":[5,1]"#),
        line('l', "way", r#","l":"OUT""#),
        line('b', "way/disk", r#","d":[8,0]"#),
    ]);
    assert!(said.contains("restored") && said.contains("/way/disk: "), "{said}");
    let names = std::fs::read_dir(place.dir.path().join("target")).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        names.iter().all(|name| [&b"disk"[..], b"impossible", b"console", b"way"].contains(&name.as_bytes()))
    );
}
