//! Encrypted archives: all comes back with any of the keys, nothing with another one; damage is found and costs only what it
//! hits; and the program `age` opens them with one command.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.

#[allow(dead_code, reason = "it serves several test programs")]
mod support;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use age::secrecy::ExposeSecret;
use backup::{Contents, Created, Encrypted, Error, ManifestReader, Stored, Tree, Volumes, Wanted};
use crypt::{FileKey, Lock, Opener};
use support::{Released, noise, options, order, source};

const VOLUME: u64 = 1 << 20;

/// What mkbackup leaves behind, and what its seal says.
struct Point {
    dir: PathBuf,
    made: Created,
    /// The keyed digest.
    blake3: String,
    key: FileKey,
    volumes: usize,
}

impl Point {
    fn make(tree: &Path, dir: &Path, lock: &Lock, volume: Option<u64>) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        let at = |number: u32| dir.join(format!("a.tar.zst.age.{number:03}"));
        let mut volumes = match volume {
            Some(size) => Volumes::new(size, |number| File::create(at(number))),
            None => Volumes::one(File::create(at(1)).unwrap()),
        };
        let mut list = Volumes::one(File::create(dir.join("m.age")).unwrap());
        let mut archive = Encrypted::begin(lock, &mut volumes).unwrap();
        let mut manifest = Encrypted::begin(lock, &mut list).unwrap();
        let made = backup::create_into(&source(tree), &mut archive, &mut manifest, &options(), &()).unwrap();
        let (blake3, key) = (archive.key().digest(&made.archive_blake3), archive.key().clone());
        for (number, one) in (1..).zip(volumes.written()) {
            let bytes = std::fs::read(at(number)).unwrap();
            assert_eq!(blake3::hash(&bytes).to_hex().as_str(), one.blake3);
        }
        Self { dir: dir.to_owned(), made, blake3, key, volumes: volumes.written().len() }
    }

    fn volume(&self, number: usize) -> PathBuf {
        self.dir.join(format!("a.tar.zst.age.{number:03}"))
    }

    fn archive(&self) -> Stored {
        let all: Vec<_> =
            (1..=self.volumes).map(|number| Stored::open(&self.volume(number)).unwrap()).collect();
        Stored::joined("archive".into(), &all)
    }

    fn manifest(&self) -> Stored {
        Stored::open(&self.dir.join("m.age")).unwrap()
    }

    fn open(&self, opener: &Opener) -> Result<(Stored, Stored), Error> {
        let opened = |stored: Option<Stored>| stored.unwrap();
        Ok((opened(self.archive().decrypted(opener)?), opened(self.manifest().decrypted(opener)?)))
    }

    /// An error, or the things that are wrong.
    fn prove(&self, opener: &Opener) -> Result<Vec<String>, Error> {
        let (archive, manifest) = self.open(opener)?;
        let proof =
            backup::prove(&archive, &manifest, self.made.archive_bytes, &self.blake3, &options(), &())?;
        if proof.findings.is_empty() {
            assert_eq!((proof.files, proof.bytes), (self.made.files, self.made.data_bytes));
        }
        let named = proof.findings.into_iter().map(|one| format!("{:?}: {}", one.path, one.detail));
        Ok(named.collect())
    }
}

fn identity() -> (Lock, Opener, String) {
    let identity = age::x25519::Identity::generate();
    let text = identity.to_string().expose_secret().to_owned();
    let lock = Lock::Recipients(vec![Box::new(identity.to_public())]);
    (lock, Opener::Identities(vec![Box::new(identity)]), text)
}

/// The manifest as a file, for those who want a path.
fn plain_manifest(manifest: &Stored, to: &Path) {
    std::io::copy(&mut manifest.reader(), &mut File::create(to).unwrap()).unwrap();
}

#[test]
fn everything_comes_back_with_each_of_the_keys() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    let _released = Released(&tree);
    support::torture(&tree);
    let (one, two) = (age::x25519::Identity::generate(), age::x25519::Identity::generate());
    let lock = Lock::Recipients(vec![Box::new(one.to_public()), Box::new(two.to_public())]);
    for volume in [None, Some(VOLUME)] {
        let point = Point::make(&tree, &dir.path().join(format!("{volume:?}")), &lock, volume);
        assert_eq!(point.volumes > 3, volume.is_some());
        for (number, key) in [&one, &two].into_iter().enumerate() {
            let opener = Opener::Identities(vec![Box::new(key.clone())]);
            assert_eq!(point.prove(&opener).unwrap(), [""; 0]);
            if !sys::info::is_root() || number > 0 {
                continue;
            }
            let (archive, manifest) = point.open(&opener).unwrap();
            let (target, list) = (dir.path().join("target"), dir.path().join("list"));
            std::fs::create_dir(&target).unwrap();
            plain_manifest(&manifest, &list);
            {
                let _released = Released(&target);
                let sealed = Some((point.made.archive_bytes, point.blake3.as_str()));
                let restore = backup::Restore { sealed, ..order(&archive, &list, &target) };
                assert_eq!(backup::restore(&restore, &options(), &()).unwrap().problems, []);
                let compared = backup::compare(&list, &target, &[], &options(), &()).unwrap();
                assert_eq!(compared.differences, []);
                assert_eq!(backup::extra(&list, &target, &[], &options()).unwrap(), Vec::<PathBuf>::new());
            }
            std::fs::remove_dir_all(&target).unwrap();
        }
        let other = Opener::Identities(vec![Box::new(age::x25519::Identity::generate())]);
        assert!(point.archive().decrypted(&other).unwrap().is_none());
        assert!(point.manifest().decrypted(&other).unwrap().is_none());
    }
}

/// Large and small files, in several parts of the archive.
fn plant(tree: &Path) {
    std::fs::create_dir_all(tree.join("etc")).unwrap();
    std::fs::write(tree.join("etc/first"), noise(5000, 1)).unwrap();
    std::fs::write(tree.join("large"), noise(13_000_000, 2)).unwrap();
    std::fs::write(tree.join("zlast"), noise(3_000_000, 3)).unwrap();
}

#[test]
fn no_flip_and_no_cut_passes() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    plant(&tree);
    let (lock, opener, _) = identity();
    let point = Point::make(&tree, &dir.path().join("p"), &lock, None);
    assert_eq!(point.prove(&opener).unwrap(), [""; 0]);
    for path in [point.volume(1), point.dir.join("m.age")] {
        let good = std::fs::read(&path).unwrap();
        let step = good.len() / 12;
        for at in (0..240).step_by(20).chain((240..good.len()).step_by(step)).chain([good.len() - 1]) {
            let is_wrong = || match point.archive().decrypted(&opener) {
                Ok(None) | Err(_) => true,
                Ok(Some(_)) => match point.manifest().decrypted(&opener) {
                    Ok(None) | Err(_) => true,
                    Ok(Some(_)) => point.prove(&opener).map_or(true, |findings| !findings.is_empty()),
                },
            };
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            assert!(is_wrong(), "{} flipped at {at}", path.display());
            std::fs::write(&path, &good[..at]).unwrap();
            assert!(is_wrong(), "{} cut at {at}", path.display());
        }
        std::fs::write(&path, &good).unwrap();
    }
    assert_eq!(point.prove(&opener).unwrap(), [""; 0]);
}

#[test]
fn damage_is_named_with_its_place_and_costs_only_what_it_hits() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    plant(&tree);
    let (lock, opener, _) = identity();
    let point = Point::make(&tree, &dir.path().join("p"), &lock, Some(VOLUME));
    let mut bytes = std::fs::read(point.volume(7)).unwrap();
    bytes[500_000] ^= 1;
    std::fs::write(point.volume(7), bytes).unwrap();
    let findings = point.prove(&opener).unwrap().concat();
    assert!(findings.contains("\"/large\"") && !findings.contains("first"), "{findings}");
    assert!(findings.contains("of the encrypted file fail their authentication"), "{findings}");
    let (archive, manifest) = point.open(&opener).unwrap();
    let whole = backup::verify(&archive, point.made.archive_bytes, &point.blake3, &options(), &());
    let why = whole.unwrap_err().to_string();
    assert!(why.contains("is damaged: bytes") && why.contains("authentication"), "{why}");

    // Browsing and a single file: the damaged part is not looked at, so it does no harm.
    let tree_of = Tree::read(&manifest, &options()).unwrap();
    let contents = Contents::open(archive.clone(), point.made.archive_bytes, &point.blake3, 0).unwrap();
    let content = |name: &[u8]| tree_of.content(tree_of.lookup(Tree::ROOT, name).unwrap()).unwrap();
    let mut last = vec![0; 3_000_000];
    contents.read(&content(b"zlast"), 0, &mut last).unwrap();
    assert!(last == noise(3_000_000, 3));
    let mut large = vec![0; 13_000_000];
    let error = contents.read(&content(b"large"), 0, &mut large).unwrap_err().to_string();
    assert!(error.contains("is damaged: bytes"), "{error}");
    if sys::info::is_root() {
        let (target, list) = (dir.path().join("target"), dir.path().join("list"));
        std::fs::create_dir(&target).unwrap();
        let picked = Wanted::new(&["/zlast".into(), "/etc".into()]).unwrap();
        let picked = picked.find(&manifest, &options()).unwrap();
        picked.write(&manifest, &File::create(&list).unwrap(), &options()).unwrap();
        let sealed = Some((point.made.archive_bytes, point.blake3.as_str()));
        let restore = backup::Restore { sealed, ..order(&archive, &list, &target) };
        assert_eq!(backup::restore(&restore, &options(), &()).unwrap().problems, []);
        assert!(std::fs::read(target.join("etc/first")).unwrap() == noise(5000, 1));
    }
}

#[test]
fn an_archive_of_the_same_keys_is_not_taken_for_this_one() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    plant(&tree);
    let (lock, opener, _) = identity();
    let one = Point::make(&tree, &dir.path().join("1"), &lock, None);
    let two = Point::make(&tree, &dir.path().join("2"), &lock, None);
    // The same files give the same archive, and nobody without the key can see that.
    assert_eq!(one.made.archive_blake3, two.made.archive_blake3);
    assert_ne!(one.blake3, two.blake3);
    assert_eq!(one.blake3, one.key.digest(&one.made.archive_blake3));
    std::fs::copy(two.volume(1), one.volume(1)).unwrap();
    assert!(matches!(one.prove(&opener), Err(Error::Damaged { .. })));
    assert!(one.archive().decrypted_with(&one.key).is_err());
    assert!(two.archive().decrypted_with(&two.key).is_ok());
}

/// Runs `script` with the shell; gives whether it went well.
fn shell(script: &str, dir: &Path) -> bool {
    let output = Command::new("sh").args(["-ec", script]).current_dir(dir).stdin(Stdio::null()).output();
    let output = output.unwrap();
    if !output.status.success() {
        eprintln!("{script}: {}", String::from_utf8_lossy(&output.stderr));
    }
    output.status.success()
}

#[test]
fn the_program_age_opens_it_with_one_command() {
    for program in ["age", "ssh-keygen", "script", "zstd"] {
        if Command::new(program).arg("--version").output().is_err() {
            eprintln!("SKIPPED: {program} is not installed");
            return;
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let (tree, p) = (dir.path().join("tree"), dir.path().join("p"));
    plant(&tree);
    let (_, _, secret) = identity();
    std::fs::create_dir(&p).unwrap();
    std::fs::write(p.join("key"), &secret).unwrap();
    assert!(shell("ssh-keygen -q -t ed25519 -N '' -f ssh1; ssh-keygen -q -t rsa -b 2048 -N '' -f ssh2", &p));
    let identity: age::x25519::Identity = secret.parse().unwrap();
    let mut recipients: Vec<crypt::Recipient> = vec![Box::new(identity.to_public())];
    for name in ["ssh1.pub", "ssh2.pub"] {
        let text = std::fs::read_to_string(p.join(name)).unwrap();
        recipients.push(crypt::recipient(text.trim()).unwrap());
    }
    let point = Point::make(&tree, &p, &Lock::Recipients(recipients), Some(VOLUME));
    for key in ["key", "ssh1", "ssh2"] {
        let command = format!(
            "mkdir out; cat a.tar.zst.age.* | age -d -i {key} | tar --zstd -xf - -C out; \
             cmp out/large ../tree/large; cmp out/zlast ../tree/zlast; cmp out/etc/first ../tree/etc/first; rm -r out"
        );
        assert!(shell(&command, &p), "{key}");
        assert!(shell(&format!("age -d -i {key} m.age | zstd -dc | grep -q '\"p\":\"large\"'"), &p), "{key}");
        let text = std::fs::read_to_string(p.join(key)).unwrap();
        let mut nobody = || -> Result<sys::Secret, crypt::Error> { panic!("nobody should be asked") };
        let opener = Opener::Identities(crypt::identities(&text, &mut nobody).unwrap());
        assert_eq!(point.prove(&opener).unwrap(), [""; 0], "{key}");
    }

    // age asks for a passphrase on a terminal only.
    let lock = Lock::Passphrase(sys::Secret::new("correct horse"));
    let q = dir.path().join("q");
    let point = Point::make(&tree, &q, &lock, None);
    let inner = "age -d -o opened a.tar.zst.age.001";
    let typed = format!("(sleep 2; echo correct horse) | script -qec '{inner}' /dev/null");
    assert!(shell(&typed, &q));
    assert!(shell("tar --zstd -xf opened; cmp large ../tree/large", &q));
    let opener = Opener::Passphrase(sys::Secret::new("correct horse"));
    assert_eq!(point.prove(&opener).unwrap(), [""; 0]);
    let wrong = Opener::Passphrase(sys::Secret::new("wrong horse"));
    assert!(point.archive().decrypted(&wrong).unwrap().is_none());
    // And what age itself encrypts is opened here.
    assert!(shell("printf hello > plain; age -R ../p/ssh1.pub -o sealed plain", &q));
    let text = std::fs::read_to_string(p.join("ssh1")).unwrap();
    let mut nobody = || -> Result<sys::Secret, crypt::Error> { panic!("nobody should be asked") };
    let opener = Opener::Identities(crypt::identities(&text, &mut nobody).unwrap());
    let opened = Stored::open(&q.join("sealed")).unwrap().decrypted(&opener).unwrap().unwrap();
    assert_eq!(std::io::read_to_string(opened.reader()).unwrap(), "hello");
}

#[test]
fn a_manifest_is_listed_without_its_plain_text_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    plant(&tree);
    let (lock, opener, _) = identity();
    let point = Point::make(&tree, &dir.path().join("p"), &lock, None);
    let (_, manifest) = point.open(&opener).unwrap();
    let names: Vec<_> = ManifestReader::of(&manifest).unwrap().map(|entry| entry.unwrap().path).collect();
    assert!(names.contains(&b"etc/first".to_vec()), "{names:?}");
    for name in ["m.age", "a.tar.zst.age.001"] {
        assert!(std::fs::read(point.dir.join(name)).unwrap().starts_with(b"age-encryption.org/v1\n"));
    }
}
