//! Encrypted recovery points from outside: with a key they are like any other, without one nothing is given, nothing is
//! written, and damage is not taken for a wrong key.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

mod support;
#[path = "support/terminal.rs"]
mod terminal;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use age::secrecy::ExposeSecret;
use crypt::Lock;
use support::{Point, change, rear};
use terminal::Terminal;

const PASSPHRASE: &str = "correct horse";

/// An encrypted recovery point, and the files that open it or do not.
struct Case {
    dir: tempfile::TempDir,
    point: PathBuf,
    tree: PathBuf,
    right: String,
    wrong: String,
}

impl Case {
    /// To two public keys; the second is the right one.
    fn recipients(volume: Option<u64>) -> Self {
        let keys = [(); 3].map(|()| age::x25519::Identity::generate());
        let [other, right, wrong] = keys;
        let lock = Lock::Recipients(vec![Box::new(other.to_public()), Box::new(right.to_public())]);
        let text = |key: age::x25519::Identity| {
            format!("# created\n# public key: {}\n{}\n", key.to_public(), key.to_string().expose_secret())
        };
        Self::new(&lock, volume, &text(right), &text(wrong))
    }

    fn passphrase() -> Self {
        let lock = Lock::Passphrase(sys::Secret::new(PASSPHRASE));
        Self::new(&lock, None, &format!("{PASSPHRASE}\n"), "wrong horse\n")
    }

    fn new(lock: &Lock, volume: Option<u64>, right: &str, wrong: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let (point, tree) = (at("point"), at("tree"));
        Point::encrypted(&point, &tree, lock, volume);
        let file = |name: &str, text: &str| {
            std::fs::write(at(name), text).unwrap();
            at(name).display().to_string()
        };
        let (right, wrong) = (file("right", right), file("wrong", wrong));
        Self { dir, point, tree, right, wrong }
    }

    fn rear(&self, arguments: &[&str]) -> (i32, String, String) {
        let all: Vec<&str> = arguments.iter().copied().chain(["--from"]).collect();
        rear(&all, &self.point)
    }
}

#[test]
fn it_is_listed_and_proven_with_the_right_key_alone() {
    let case = Case::recipients(Some(3_000_000));
    let key = ["--identity", case.right.as_str()];
    let with = |words: &[&'static str], key: &[&str]| -> (i32, String, String) {
        let all: Vec<&str> = words.iter().copied().chain(key.iter().copied()).collect();
        case.rear(&all)
    };
    let (code, out, error) = with(&["list"], &[]);
    assert!(code == 0 && out.contains("complete, encrypted"), "{out}{error}");
    let (_, out, _) = with(&["list", "--json"], &[]);
    assert!(out.contains("\"encryption\":\"recipients\""), "{out}");
    let (code, out, error) = with(&["list", "--contents"], &key);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert!(out.contains("/srv/large") && out.contains("/etc/secret"), "{out}");
    let (code, out, error) = with(&["verify"], &key);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert!(out.contains("proven whole"), "{out}");
    let (code, out, error) = with(&["verify", "--quick"], &key);
    assert!(code == 0 && out.contains("the archive's index is whole"), "{out}{error}");
    // Several keys, of which one fits.
    let (code, _, error) =
        with(&["verify", "--quick"], &["--identity", &case.wrong, "--identity", &case.right]);
    assert_eq!((code, error.as_str()), (0, ""));

    for words in [&["list", "--contents"][..], &["verify"], &["verify", "--quick"]] {
        let (code, out, error) = with(words, &["--identity", &case.wrong]);
        assert_eq!(code, 3, "{words:?} {out}{error}");
        assert!(error.contains("none of the given keys opens the backup of web1"), "{error}");
        assert!(!out.contains("/srv"), "{out}");
        let (code, out, error) = with(words, &[]);
        assert_eq!(code, 3, "{words:?} {out}{error}");
        assert!(error.contains("is encrypted to public keys") && error.contains("--identity"), "{error}");
    }
    let (code, _, error) = with(&["verify"], &["--identity", case.tree.join("etc/secret").to_str().unwrap()]);
    assert!(code == 3 && error.contains("no age identity"), "{error}");
    let (code, _, error) = with(&["verify"], &["--identity", "/no/such/key"]);
    assert!(code == 3 && error.contains("/no/such/key"), "{error}");
    let (code, _, error) = with(&["verify"], &["--passphrase-file", &case.right]);
    assert!(code == 3 && error.contains("none of the given keys"), "{error}");

    // Without the key every byte can be compared, and nothing more is claimed.
    let (code, out, error) = with(&["verify", "--without-key"], &[]);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert!(out.contains("NOT checked") && !out.contains("proven whole"), "{out}");
    let (code, out, _) = with(&["verify", "--quick", "--without-key"], &[]);
    assert!(code == 0 && out.contains("NOT checked"), "{out}");
}

#[test]
fn no_name_and_no_content_lies_there_in_the_open() {
    let case = Case::recipients(None);
    let names = ["secret", "large", "alias", "etc/deep"];
    for entry in std::fs::read_dir(&case.point).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        if path.extension().is_some_and(|end| end == "age") {
            assert!(bytes.starts_with(b"age-encryption.org/v1\n"), "{}", path.display());
            // No compressed stream begins anywhere: neither archive nor manifest is there as it was.
            let zstd = bytes.windows(4).filter(|four| *four == [0x28, 0xB5, 0x2F, 0xFD]).count();
            assert!(zstd < 2, "{}", path.display());
            continue;
        }
        if path.ends_with("layout.json") {
            continue;
        }
        for name in names {
            let found = bytes.windows(name.len()).any(|window| window == name.as_bytes());
            assert!(!found, "{name} in {}", path.display());
        }
    }
    let parts: Vec<String> = std::fs::read_dir(&case.point)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(!parts.iter().any(|name| name == "manifest.zst" || name == "archive.tar.zst"), "{parts:?}");
}

#[test]
fn damage_is_found_with_and_without_the_key_and_is_no_wrong_key() {
    let case = Case::recipients(Some(3_000_000));
    let volume = |number: usize| case.point.join(format!("archive.tar.zst.age.{number:03}"));
    let key = ["verify", "--identity", &case.right];
    let both = |wanted: &str| {
        for words in [&key[..], &["verify", "--without-key"]] {
            let (code, out, error) = case.rear(words);
            assert_eq!(code, 4, "{out}{error}");
            if words.len() > 2 {
                assert!(error.contains(wanted), "{wanted}: {error}");
            } else {
                assert!(error.contains("is damaged") || error.contains("truncated"), "{error}");
            }
        }
    };
    let good = std::fs::read(volume(2)).unwrap();
    change(&volume(2), |bytes| bytes[1_000_000] ^= 1);
    both("/srv/large");
    std::fs::write(volume(2), &good).unwrap();
    // The header: no key opens it any more, and yet it is not the key.
    let good = std::fs::read(volume(1)).unwrap();
    change(&volume(1), |bytes| bytes[70] ^= 1);
    both("damaged");
    std::fs::write(volume(1), &good[..good.len() - 1]).unwrap();
    both("truncated");
    std::fs::write(volume(1), &good).unwrap();
    // Without the list of the files, the archive is still read.
    let list = case.point.join("manifest.zst.age");
    let good = std::fs::read(&list).unwrap();
    change(&list, |bytes| bytes[70] ^= 1);
    both("manifest.zst.age is damaged");
    // And a wrong key is still one.
    let (code, _, error) = case.rear(&["verify", "--identity", &case.wrong]);
    assert!(code == 3 && error.contains("none of the given keys"), "{error}");
    std::fs::write(&list, good).unwrap();
    let (code, _, error) = case.rear(&key);
    assert_eq!((code, error.as_str()), (0, ""));
}

#[test]
fn files_come_back_with_the_key_and_nothing_is_written_without() {
    if !sys::info::is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    for (case, option, other) in [
        (Case::recipients(Some(3_000_000)), "--identity", "--passphrase-file"),
        (Case::passphrase(), "--passphrase-file", "--identity"),
    ] {
        let to = case.dir.path().join("to");
        let text = to.to_str().unwrap();
        for words in [vec![option, case.wrong.as_str()], vec![]] {
            let all: Vec<&str> = [&["restore", "/", "--to", text][..], &words].concat();
            let (code, out, error) = case.rear(&all);
            assert_eq!(code, 3, "{out}{error}");
            assert!(error.contains("nothing was written") && !to.exists(), "{error}");
        }
        let (code, _, error) = case.rear(&["verify", "--quick", other, "/dev/null"]);
        assert!(code == 3 && error.contains("/dev/null"), "{error}");
        // Damage in another part does no harm to what is wanted.
        let large = case.point.join("archive.tar.zst.age.003");
        if large.exists() {
            change(&large, |bytes| bytes[1_000_000] ^= 1);
            let (code, _, error) = case.rear(&["restore", "/srv", "--to", text, option, &case.right]);
            assert!(code == 5 && error.contains("/srv/large"), "{error}");
            std::fs::remove_dir_all(&to).unwrap();
            let (code, out, error) = case.rear(&["restore", "/etc", "--to", text, option, &case.right]);
            assert_eq!((code, error.as_str()), (0, ""), "{out}");
            std::fs::remove_dir_all(&to).unwrap();
            change(&large, |bytes| bytes[1_000_000] ^= 1);
        }
        let (code, out, error) = case.rear(&["restore", "/", "--to", text, option, &case.right]);
        assert_eq!((code, error.as_str()), (0, ""), "{out}");
        let same = |name: &str| {
            std::fs::read(case.tree.join(name)).unwrap() == std::fs::read(to.join(name)).unwrap()
        };
        assert!(same("srv/large") && same("etc/secret") && same("etc/deep/er/file"));
    }
}

#[test]
fn the_configuration_of_the_machine_opens_its_own_backups() {
    let case = Case::passphrase();
    let config = case.dir.path().join("config");
    std::fs::create_dir(&config).unwrap();
    std::fs::write(
        config.join("local.conf"),
        format!("BACKUP_PROG_CRYPT_ENABLED=yes\nBACKUP_PROG_CRYPT_KEY='{PASSPHRASE}'\n"),
    )
    .unwrap();
    let words = ["-c", config.to_str().unwrap(), "verify"];
    let (code, out, error) = case.rear(&words);
    assert_eq!(code, 0, "{out}{error}");
    assert!(out.contains("proven whole"), "{out}");
    assert!(error.contains("format of age") && !format!("{out}{error}").contains(PASSPHRASE), "{error}");
    let (_, out, _) = rear(&["-c"], &config.join("x"));
    assert!(!out.contains(PASSPHRASE));
    let dump = Command::new(env!("CARGO_BIN_EXE_rear")).arg("-c").arg(&config).arg("dump").output().unwrap();
    assert!(!String::from_utf8_lossy(&dump.stdout).contains(PASSPHRASE));
}

#[test]
fn on_a_terminal_it_asks_and_gives_up_after_three_wrong_answers() {
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("SKIPPED: script is not installed");
        return;
    }
    let (one, two) = (Case::passphrase(), Case::recipients(None));
    let config = tempfile::tempdir().unwrap();
    let command = |case: &Case| {
        let (config, from) = (config.path().display(), case.point.display());
        format!("{} -c {config} verify --from {from}", env!("CARGO_BIN_EXE_rear"))
    };
    let question = "Passphrase of the backup of web1 of 2026-01-02 03:04 UTC:";
    let mut terminal = Terminal::new(&command(&one));
    terminal.answer(question, "wrong horse");
    terminal.answer(question, PASSPHRASE);
    let (code, said) = terminal.end();
    assert!(code == 0 && said.contains("proven whole"), "{said}");
    assert!(!said.contains(PASSPHRASE) && said.contains("does not open it"), "{said}");

    let mut terminal = Terminal::new(&command(&one));
    (0..3).for_each(|_| terminal.answer(question, "wrong horse"));
    let (code, said) = terminal.end();
    assert!(code == 3 && said.contains("the passphrase does not open the backup"), "{said}");

    // A path, and the key itself.
    let secret = std::fs::read_to_string(&two.right).unwrap();
    let secret = secret.lines().last().unwrap();
    for answers in [[two.wrong.as_str(), two.right.as_str()], ["/no/such/file", secret]] {
        let mut terminal = Terminal::new(&command(&two));
        answers.iter().for_each(|answer| terminal.answer("or AGE-SECRET-KEY-1", answer));
        let (code, said) = terminal.end();
        assert!(code == 0 && said.contains("proven whole"), "{said}");
        assert!(!said.contains(secret), "{said}");
    }
}

#[test]
fn a_recovery_asks_before_all_else_and_the_right_key_leads_on() {
    if !sys::info::is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let case = Case::passphrase();
    let answer = |file: &str| format!("BACKUP_ENCRYPT_PASSPHRASE=file:{file}");
    let (good, bad) = (answer(&case.right), answer(&case.wrong));
    let (code, out, error) = case.rear(&["recover", "--plan", "--answer", &bad]);
    assert!(code == 3 && error.contains("the passphrase does not open the backup"), "{out}{error}");
    let (code, _, error) = case.rear(&["recover", "--plan"]);
    assert!(code == 3 && error.contains("no key was given"), "{error}");
    for words in [["--answer", good.as_str()], ["--passphrase-file", &case.right]] {
        // Whether this machine has disks for the plan is another question.
        let (_, out, error) = case.rear(&[&["recover", "--plan"][..], &words].concat());
        assert!(out.contains("whole, and the key opens it"), "{out}{error}");
    }
    change(&case.point.join("archive.tar.zst.age"), |bytes| bytes[5_000_000] ^= 1);
    let (code, out, error) = case.rear(&["recover", "--plan", "--answer", &good]);
    assert!(code == 3 && error.contains("is not whole") && error.contains("authentication"), "{out}{error}");
}

fn read_by(process: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/io")).unwrap();
    text.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
}

#[test]
fn it_is_mounted_with_its_key_and_only_what_is_looked_at_is_decrypted() {
    if !sys::info::is_root() || !Path::new("/dev/fuse").exists() {
        eprintln!("skipped: needs root and /dev/fuse");
        return;
    }
    let case = Case::recipients(None);
    let at = case.dir.path().join("at");
    std::fs::create_dir(&at).unwrap();
    let (code, _, error) =
        rear(&["mount", "--identity", &case.wrong, "--from", case.point.to_str().unwrap()], &at);
    assert!(code == 3 && error.contains("none of the given keys"), "{error}");
    let config = case.dir.path().join("config");
    std::fs::create_dir(&config).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_rear"))
        .args(["mount", "--identity", &case.right, "--from"])
        .arg(&case.point)
        .arg("-c")
        .arg(&config)
        .arg(&at)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let said = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("--unmount")));
    assert!(said.is_some());
    let before = read_by(child.id());
    let same =
        |name: &str| std::fs::read(case.tree.join(name)).unwrap() == std::fs::read(at.join(name)).unwrap();
    let small = same("etc/deep/er/file");
    let read = read_by(child.id()) - before;
    let large = same("srv/large");
    let (code, out, error) = rear(&["mount", "--unmount"], &at);
    let status = child.wait().unwrap();
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert!(small && large && status.success());
    assert!(read < 1 << 20, "{read} bytes were read for a file of 3000");
}
