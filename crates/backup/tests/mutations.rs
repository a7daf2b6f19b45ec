//! Manifests and archives with random changes, some of them the same at every run: whatever comes in, all verbs end with an
//! error or a list, nothing panics, and what is called whole is whole.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[allow(dead_code, reason = "each test program uses its part")]
mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use backup::{Created, LeaveOut, Stored};
use support::facts::{differences, facts};
use support::{create, noise, options, order, source};

/// Changes that are the same at every run.
const FIXED: u64 = 120;
/// Seconds for changes that are new at every run; `REAR_TEST_SECONDS` sets another number.
const FREE: u64 = 5;

/// Numbers that are easy to be wrong about.
const NUMBERS: [&str; 12] = [
    "0",
    "1",
    "-1",
    "511",
    "512",
    "65537",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "1e9",
];
/// Texts that are easy to be wrong about.
const TEXTS: [&str; 10] = [".", "..", "/", "a/../b", "%00", "%", "%zz", "", "link/x", "dir"];

/// Pseudo-random numbers; the seed is named when a test fails.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (limit.max(1) as u64)).unwrap()
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// A machine with one of everything, archived.
struct Sample {
    dir: tempfile::TempDir,
    archive: Vec<u8>,
    lines: Vec<String>,
    made: Created,
}

impl Sample {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        std::fs::create_dir_all(tree.join("dir/sub")).unwrap();
        std::fs::create_dir(dir.path().join("outside")).unwrap();
        std::fs::write(dir.path().join("outside/secret"), b"secret").unwrap();
        std::fs::write(tree.join("dir/file"), noise(3000, 1)).unwrap();
        std::fs::write(tree.join("dir/large"), noise(500_000, 1).repeat(20)).unwrap();
        std::fs::hard_link(tree.join("dir/file"), tree.join("dir/sub/again")).unwrap();
        std::os::unix::fs::symlink("../../outside", tree.join("link")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, tree.join("pipe"), rustix::fs::Mode::RUSR).unwrap();
        let file = std::fs::File::create(tree.join("holes")).unwrap();
        file.set_len(9_000_000).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"data", 5_000_000).unwrap();
        let _ =
            rustix::fs::setxattr(tree.join("holes"), "user.x", b"\0\xff", rustix::fs::XattrFlags::empty());
        let made = create(&source(&tree), dir.path());
        let archive = std::fs::read(dir.path().join("a.tar.zst")).unwrap();
        let manifest = std::fs::File::open(dir.path().join("a.manifest")).unwrap();
        let text = String::from_utf8(zstd::decode_all(manifest).unwrap()).unwrap();
        let lines = text.lines().map(str::to_owned).collect();
        Self { dir, archive, lines, made }
    }

    /// Changes the manifest, the archive or both.
    fn changed(&self, dice: &mut Dice) -> (Vec<u8>, Vec<u8>) {
        let (mut lines, mut archive) = (self.lines.clone(), self.archive.clone());
        let mut compressed = false;
        for _ in 0..=dice.below(3) {
            let (at, other) = (dice.below(lines.len()), dice.below(lines.len()));
            match dice.below(9) {
                0 => drop(lines.remove(at)),
                1 => lines.insert(at, lines[other].clone()),
                2 => lines.swap(at, other),
                // A number or a text becomes another.
                3 | 4 => lines[at] = replaced(&lines[at], dice, |byte| byte.is_ascii_digit(), &NUMBERS),
                5 | 6 => {
                    let inside = |byte: u8| byte.is_ascii_alphabetic() || b"/._%".contains(&byte);
                    lines[at] = replaced(&lines[at], dice, inside, &TEXTS);
                }
                7 => compressed = true,
                _ => {
                    // Mostly where the tables are.
                    let end = archive.len();
                    let place =
                        if dice.below(3) == 0 { dice.below(end) } else { end - 1 - dice.below(300.min(end)) };
                    archive[place] ^= 1 << dice.below(8);
                }
            }
            if lines.is_empty() {
                break;
            }
        }
        let mut manifest = zstd::encode_all((lines.join("\n") + "\n").as_bytes(), 1).unwrap();
        if compressed {
            let at = dice.below(manifest.len());
            manifest[at] ^= 1 << dice.below(8);
        }
        (manifest, archive)
    }

    /// Lets every verb look at it.
    fn survive(&self, seed: u64) {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let (manifest, archive) = self.changed(&mut dice);
        let work = tempfile::tempdir_in(self.dir.path()).unwrap();
        let at = |name: &str| work.path().join(name);
        std::fs::write(at("m"), manifest).unwrap();
        std::fs::write(at("a"), archive).unwrap();
        for name in ["target", "picked"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        let outside = facts(&self.dir.path().join("outside"), &[]);
        self.verbs(seed, work.path());
        let now = facts(&self.dir.path().join("outside"), &[]);
        assert_eq!(differences(&outside, &now), [""; 0], "seed {seed}: something outside changed");
    }

    fn verbs(&self, seed: u64, work: &Path) {
        let at = |name: &str| work.join(name);
        let (stored, list) = (Stored::open(&at("a")).unwrap(), Stored::open(&at("m")).unwrap());
        let sealed = (self.made.archive_bytes, self.made.archive_blake3.as_str());
        let verified = backup::verify(&stored, sealed.0, sealed.1, &options(), &()).is_ok();
        let proof = backup::prove(&stored, &list, sealed.0, sealed.1, &options(), &());
        let is_proven = proof.is_ok_and(|proof| proof.findings.is_empty());
        assert!(verified || !is_proven, "seed {seed}: proven although its seal is broken");
        let target = at("target");
        let manifest = at("m");
        let restored = backup::restore(&order(&stored, &manifest, &target), &options(), &());
        let compared = backup::compare(&manifest, &target, &[], &options(), &());
        let is_whole = restored.is_ok_and(|restored| restored.problems.is_empty())
            && compared.is_ok_and(|compared| compared.differences.is_empty());
        assert!(
            is_whole || !is_proven || !sys::info::is_root(),
            "seed {seed}: proven, and did not come back"
        );
        let _ = backup::extra(&manifest, &target, &[], &options());
        let part = std::fs::File::create(at("p")).unwrap();
        if backup::select(&Stored::open(&manifest).unwrap(), &part, &LeaveOut::default(), &options()).is_ok()
        {
            let manifest = at("p");
            let picked = at("picked");
            let restore = backup::Restore {
                replace: false,
                sealed: Some(sealed),
                ..order(&stored, &manifest, &picked)
            };
            let _ = backup::restore(&restore, &options(), &());
        }
    }
}

/// The line with one of its runs of such bytes replaced.
fn replaced(line: &str, dice: &mut Dice, inside: impl Fn(u8) -> bool, by: &[&str]) -> String {
    let bytes = line.as_bytes();
    let starts: Vec<_> =
        (0..bytes.len()).filter(|at| inside(bytes[*at]) && (*at == 0 || !inside(bytes[at - 1]))).collect();
    if starts.is_empty() {
        return line.to_owned();
    }
    let start = starts[dice.below(starts.len())];
    let end = (start..bytes.len()).find(|at| !inside(bytes[*at])).unwrap_or(bytes.len());
    format!("{}{}{}", &line[..start], dice.one(by), &line[end..])
}

#[test]
fn whatever_comes_in_is_survived() {
    let sample = Sample::new();
    // The sample itself is sound, so that a change is what makes the difference.
    assert!(sample.lines.len() > 8);
    for seed in 0..FIXED {
        sample.survive(seed);
    }
    let begin = Instant::now();
    let mut seed = sys::info::random_id()
        .unwrap()
        .bytes()
        .fold(1_u64, |sum, byte| sum.wrapping_mul(131) + u64::from(byte));
    let seconds = std::env::var("REAR_TEST_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(FREE);
    while begin.elapsed() < Duration::from_secs(seconds) {
        // Named before it is tried: a panic elsewhere does not know it.
        println!("seed {seed}");
        sample.survive(seed);
        seed = seed.wrapping_add(1);
    }
}
