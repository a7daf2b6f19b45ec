//! A recovery point whose files lie in a repository, from outside: `verify` and `restore` with the password that is configured, and
//! what they say without it, with a wrong one, and of damage.

#![allow(clippy::unwrap_used)] // A test that cannot go on has failed.
#![cfg(feature = "repository")]

#[path = "support/mounted.rs"]
mod mounted;
#[path = "../../repository/tests/servers/mod.rs"]
mod servers;
mod support;
#[path = "support/terminal.rs"]
mod terminal;

use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use mounted::{Mounted, facts, plant_more, skipped, xattrs};
use repository::{Access, Backend, Id, Local, Location, Repository, Save};
use serde_json::{Value, json};
use support::{Point, change, rear};
use terminal::Terminal;

const PASSWORD: &str = "correct horse";

fn options() -> backup::Options {
    backup::Options { codec: backup::Codec::Zstd, level: 1, threads: 2, cancel: sys::Cancel::default() }
}

/// Opens the repository, or makes it.
fn repository(backend: impl Fn() -> Box<dyn Backend>) -> Repository {
    let password = sys::Secret::new(PASSWORD);
    Repository::open(backend(), &password).or_else(|_| Repository::create(backend(), &password)).unwrap()
}

/// Saves the tree into a repository, and makes the point say so.
fn into_repository(point: &Path, tree: &Path, backend: impl Fn() -> Box<dyn Backend>) {
    let repository = repository(&backend);
    let source = backup::Source::whole(tree);
    let manifest = std::fs::File::create(point.join("manifest.zst")).unwrap();
    let save = Save { hostname: "web1".into(), label: "rear-files".into(), ..Save::default() };
    let saved = repository.save(&source, &manifest, &save, &options(), &()).unwrap();
    let totals = backup::Totals { files: saved.files, bytes: saved.data_bytes };
    name_snapshot(point, &backend().place(), saved.snapshot.unwrap(), totals);
}

/// Makes the point say that its files are that snapshot, and that its manifest is the one that lies there.
fn name_snapshot(point: &Path, place: &str, snapshot: Id, totals: backup::Totals) {
    let _ = std::fs::remove_file(point.join("archive.tar.zst"));
    change(&point.join("recovery-point.json"), |bytes| {
        let mut seal: Value = serde_json::from_slice(bytes).unwrap();
        let manifest = std::fs::read(point.join("manifest.zst")).unwrap();
        let parts = seal["parts"].as_array_mut().unwrap();
        parts.retain(|part| part["name"] != "archive.tar.zst");
        for part in parts.iter_mut().filter(|part| part["name"] == "manifest.zst") {
            part["bytes"] = json!(manifest.len());
            part["blake3"] = json!(blake3::hash(&manifest).to_hex().to_string());
        }
        seal["archive"] = Value::Null;
        seal["content"] = json!({"method": "RESTIC", "url": place, "name": snapshot.to_string(),
            "files": totals.files, "data_bytes": totals.bytes});
        *bytes = serde_json::to_vec(&seal).unwrap();
    });
}

fn largest_pack(repository: &Path) -> std::path::PathBuf {
    let packs = std::fs::read_dir(repository.join("data")).unwrap();
    let packs = packs.flat_map(|entry| std::fs::read_dir(entry.unwrap().path()).unwrap());
    packs.map(|entry| entry.unwrap().path()).max_by_key(|path| path.metadata().unwrap().len()).unwrap()
}

/// Changes one bit in the middle of the largest pack.
fn damage_largest(repository: &Path) {
    change(&largest_pack(repository), |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
}

fn configure(dir: &Path, password: &str) {
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join("password"), format!("{password}\n")).unwrap();
    let text = format!("RESTIC_PASSWORD_FILE={}\n", dir.join("password").display());
    std::fs::write(dir.join("local.conf"), text).unwrap();
}

#[test]
fn files_of_a_repository_are_verified_and_restored() {
    if !sys::info::is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    Point::make(&at("point"), &at("tree"));
    into_repository(&at("point"), &at("tree"), || Box::new(Local::new(at("repository"))));
    configure(&at("good"), "correct horse");
    configure(&at("bad"), "battery staple");
    let (good, bad) = (at("good"), at("bad"));
    let (good, bad) = (good.to_str().unwrap(), bad.to_str().unwrap());
    let (to, other) = (at("to"), at("other"));

    let (code, out, error) = rear(&["-c", good, "verify", "--from"], &at("point"));
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert!(out.contains("proven whole"), "{out}");

    let restore = |config: &str, to: &Path| {
        rear(
            &["-c", config, "restore", "/srv", "/links/secret", "--to", to.to_str().unwrap(), "--from"],
            &at("point"),
        )
    };
    let (code, out, error) = restore(good, &to);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert_eq!(std::fs::read(at("tree/srv/large")).unwrap(), std::fs::read(to.join("srv/large")).unwrap());
    assert_eq!(std::fs::read(to.join("links/secret")).unwrap(), b"secret");
    assert!(!to.join("etc").exists());

    // A wrong password, and nobody to ask for it.
    let (code, out, error) = restore(bad, &other);
    assert_ne!(code, 0, "{out}");
    assert!(error.contains("password does not open"), "{error}");
    assert!(!error.contains("staple") && !other.exists());
    let empty = at("empty");
    std::fs::create_dir(&empty).unwrap();
    let (code, _, error) = restore(empty.to_str().unwrap(), &other);
    assert_ne!(code, 0);
    assert!(error.contains("RESTIC_PASSWORD"), "{error}");
    assert!(!other.exists());

    // A damaged pack: the files that it costs are named, and it is no success.
    damage_largest(&at("repository"));
    let (code, out, _) = rear(&["-c", good, "verify", "--from"], &at("point"));
    assert_ne!(code, 0);
    assert!(out.contains("/srv/large has lost content"), "{out}");
    let (code, _, error) = restore(good, &other);
    assert_ne!(code, 0);
    assert!(error.contains("/srv/large"), "{error}");
    assert_eq!(std::fs::read(other.join("links/secret")).unwrap(), b"secret");
}

#[test]
fn a_server_is_told_what_is_configured_for_it_and_no_other_is() {
    if !sys::info::is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    Point::make(&at("point"), &at("tree"));
    let mut directory = servers::rest::Directory::new(at("repository"));
    directory.user = Some("web1:hush hush".into());
    let server = servers::Server::start(Arc::new(directory), true);
    let access = Access { authorities: Some(servers::authority()), ..Access::default() };
    let address = |who: &str| format!("rest:{}/", server.url(who));
    let location = Location::parse(&address("web1:hush%20hush@")).unwrap();
    into_repository(&at("point"), &at("tree"), || location.backend(&access).unwrap());
    let seal = std::fs::read_to_string(at("point/recovery-point.json")).unwrap();
    assert!(seal.contains(&address("web1@")) && !seal.contains("hush"), "{seal}");

    let configure = |name: &str, repository: &str, more: &str| {
        configure(&at(name), "correct horse");
        let path = at(name).join("local.conf");
        let ca = servers::authority();
        let text = std::fs::read_to_string(&path).unwrap();
        let text = format!("{text}RESTIC_REPOSITORY='{repository}'\nRESTIC_CACERT={}\n{more}", ca.display());
        std::fs::write(&path, text).unwrap();
        at(name).to_str().unwrap().to_owned()
    };
    let setting = configure("setting", &address("web1@"), "RESTIC_REST_PASSWORD='hush hush'\n");
    let within = configure("within", &address("web1:hush%20hush@"), "");
    for config in [&setting, &within] {
        let (code, out, error) = rear(&["-c", config, "verify", "--from"], &at("point"));
        assert_eq!((code, error.as_str()), (0, ""), "{out}");
        assert!(out.contains("proven whole") && !out.contains("hush"), "{out}");
    }
    let (code, out, error) = rear(
        &["-c", &setting, "restore", "/links/secret", "--to", at("to").to_str().unwrap(), "--from"],
        &at("point"),
    );
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert_eq!(std::fs::read(at("to/links/secret")).unwrap(), b"secret");

    // What belongs to another server is not tried here: somebody must say it.
    let before = server.requests();
    let other = configure("other", "rest:https://web1@127.0.0.1:1/", "RESTIC_REST_PASSWORD='hush hush'\n");
    let (code, out, error) = rear(&["-c", &other, "verify", "--from"], &at("point"));
    assert_ne!(code, 0, "{out}");
    assert!(error.contains("RESTIC_REST_PASSWORD"), "{error}");
    assert_eq!(server.requests(), before);
    let wrong = configure("wrong", &address("web1@"), "RESTIC_REST_PASSWORD=guess\n");
    let (code, _, error) = rear(&["-c", &wrong, "verify", "--from"], &at("point"));
    assert_ne!(code, 0);
    assert!(error.contains("refuses access") && !error.contains("guess"), "{error}");

    server.vanish();
    let (code, _, error) = rear(&["-c", &setting, "verify", "--from"], &at("point"));
    assert_ne!(code, 0);
    assert!(error.contains("cannot be reached") && error.contains("127.0.0.1"), "{error}");
}

/// Stores a recovery point's directory in the repository, as a run does when its files are there.
fn seal_into_repository(point: &Path, place: &Path) -> String {
    let repository = repository(|| Box::new(Local::new(place)));
    let save = Save { hostname: sys::info::hostname(), label: "rear-point".into(), ..Save::default() };
    let nowhere = std::fs::OpenOptions::new().write(true).open("/dev/null").unwrap();
    let saved = repository.save(&backup::Source::whole(point), &nowhere, &save, &options(), &()).unwrap();
    saved.snapshot.unwrap().to_string()
}

#[test]
fn recovery_points_in_a_repository_are_listed_and_used() {
    if !sys::info::is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    Point::make(&at("point"), &at("tree"));
    let place = at("repository");
    into_repository(&at("point"), &at("tree"), || Box::new(Local::new(&place)));
    configure(&at("config"), "correct horse");
    let conf = at("config/local.conf");
    let text = std::fs::read_to_string(&conf).unwrap();
    let text = format!(
        "{text}BACKUP=RESTIC\nRESTIC_REPOSITORY={}\nISO_DIR={}\n",
        place.display(),
        at("no-iso-there").display()
    );
    std::fs::write(&conf, text).unwrap();
    let config = at("config").to_str().unwrap().to_owned();
    let run = |arguments: &[&str]| {
        let (last, first) = arguments.split_last().unwrap();
        rear(&[&["-c", &config], first].concat(), Path::new(last))
    };

    // No seal in it yet.
    let (code, out, error) = run(&["list"]);
    assert_eq!(code, 3, "{out}{error}");
    assert!(out.contains("No recovery point of this machine"), "{out}");
    let old = seal_into_repository(&at("point"), &place);
    std::fs::remove_dir_all(at("point")).unwrap();
    let from = format!("snapshot:{}", &old[..8]);

    let (code, out, error) = run(&["list"]);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert!(out.contains(&from) && out.contains("complete"), "{out}");
    let (code, out, error) = run(&["--json", "list"]);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    let events: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.iter().any(|one| one["event"] == "kept" && one["snapshot"] == old.as_str()), "{out}");

    let (code, out, error) = run(&["list", "--from", &from, "/links/secret"]);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert!(out.contains("/links/secret"), "{out}");
    let (code, out, error) = run(&["verify", "--from", &from]);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert!(out.contains("proven whole"), "{out}");
    let to = at("to");
    let (code, out, error) = run(&["restore", "/srv", "--to", to.to_str().unwrap(), "--from", &from]);
    assert_eq!((code, error.as_str()), (0, ""), "{out}");
    assert_eq!(std::fs::read(at("tree/srv/large")).unwrap(), std::fs::read(to.join("srv/large")).unwrap());

    for wrong in ["snapshot:", "snapshot:ffff0000", "snapshot:../../etc"] {
        let (code, _, error) = run(&["verify", "--from", wrong]);
        assert_eq!(code, 3, "{error}");
        assert!(error.contains("no recovery point"), "{error}");
    }

    // Its files are forgotten: the seal alone is no recovery point.
    let repository =
        Repository::open(Box::new(Local::new(&place)), &sys::Secret::new("correct horse")).unwrap();
    let files = repository.snapshots().unwrap().iter().find(|one| one.tags[1] == "rear-files").unwrap().id;
    std::fs::remove_file(place.join("snapshots").join(files.to_string())).unwrap();
    let (code, out, error) = run(&["list"]);
    assert_eq!(code, 4, "{out}");
    assert!(out.contains("BROKEN") && error.contains("1 of 1"), "{out}{error}");
}

/// Runs the program as if this were the rescue system of that machine: with its facts, in a mount namespace of its own, and on a
/// terminal at which somebody knows the password. Gives the exit code and all that was shown.
fn rescue(work: &Path, hostname: &str, place: &str, arguments: &str) -> (i32, String) {
    let etc = work.join("etc");
    std::fs::create_dir_all(etc.join("rear")).unwrap();
    let facts = json!({
        "format": 1, "hostname": hostname, "recovery_point": "0f".repeat(16), "created": 0, "volume_id": "REAR-TEST",
        "backup_dir": null, "network": image::network::Network::default(), "use_dhcp": null, "serial_consoles": [],
        "modules_load": [], "console_password": false, "ssh": false, "pre_recovery_script": [],
        "post_recovery_script": [], "disks_to_be_wiped": [], "rebuild_initramfs": null,
        "means": {"text": "", "restore": [], "check": [], "ignore_errors": false, "rsync_options": [],
                  "reach": {"place": place, "user": "", "key_id": "", "region": "", "authorities": null}},
    });
    std::fs::write(etc.join("rear/rescue.json"), facts.to_string()).unwrap();
    let rear = env!("CARGO_BIN_EXE_rear");
    let script = format!(
        "mount --bind {} /etc && mount -t tmpfs none /run && exec {rear} {arguments}\n",
        etc.display()
    );
    std::fs::write(work.join("rescue.sh"), script).unwrap();
    let command = format!("unshare --mount --propagation private sh {}", work.join("rescue.sh").display());
    let mut terminal = Terminal::new(&command);
    terminal.answer("Password of the repository", PASSWORD);
    let (code, said) = terminal.end();
    // Nobody is asked twice, and what was typed is not shown.
    assert_eq!(said.matches("Password of the repository").count(), 1, "{said}");
    assert!(!said.contains(PASSWORD), "{said}");
    (code, said)
}

#[test]
fn an_older_point_of_the_repository_is_opened_for_a_recovery() {
    if !sys::info::is_root() || Command::new("script").arg("--version").output().is_err() {
        eprintln!("skipped: needs root and script");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let tree = at("tree");
    let server = servers::Server::start(Arc::new(servers::rest::Directory::new(at("repository"))), false);
    let place = format!("rest:{}/", server.url(""));
    let location = Location::parse(&place).unwrap();
    let backend = || location.backend(&Access::default()).unwrap();
    let mut sealed = Vec::new();
    for (index, created) in ["1767323040", "1767409440"].into_iter().enumerate() {
        let point = at(&format!("point{index}"));
        Point::make(&point, &tree);
        std::fs::write(tree.join("etc/version"), index.to_string()).unwrap();
        into_repository(&point, &tree, backend);
        change(&point.join("recovery-point.json"), |bytes| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            let id = format!("{index:02}").repeat(16);
            *bytes = text.replace("1767323040", created).replace(&"0f".repeat(16), &id).into_bytes();
        });
        sealed.push(seal_into_repository(&point, &at("repository")));
    }
    let snapshots = repository(backend).snapshots().unwrap();
    let files: Vec<_> = snapshots.iter().filter(|one| one.tags[1] == "rear-files").collect();
    let plan = |host: &str, name: &str| {
        rescue(dir.path(), host, &place, &format!("recover --plan --from snapshot:{name}"))
    };
    // By the name of its seal, and by that of its files. Whether this machine has disks for the plan is another question.
    for (name, id, made) in [
        (&sealed[0][..8], "00", "2026-01-02"),
        (&sealed[1], "01", "2026-01-03"),
        (&files[0].id.to_string(), "00", "2026-01-02"),
    ] {
        let (_, said) = plan("web1", name);
        let opened = format!("recovery point {} of web1, made {made}", id.repeat(16));
        assert!(said.contains(&opened) && said.contains("all there"), "{said}");
    }
    let (code, said) = plan("db1", &sealed[0]);
    assert!(code == 3 && said.contains("is one of web1, not of db1"), "{said}");
    let (code, said) = plan("web1", "ffff0000");
    assert!(code == 3 && said.contains("no recovery point ffff0000"), "{said}");
    // Without its seal, and without a medium that has another layout.
    std::fs::remove_file(at("repository/snapshots").join(&sealed[0])).unwrap();
    let (code, said) = plan("web1", &files[0].id.to_string());
    assert!(code == 3 && said.contains("has no seal"), "{said}");
    // Single files of one come back in the rescue system too.
    let (code, said) = rescue(
        dir.path(),
        "web1",
        &place,
        &format!("restore /etc/version --to {} --from snapshot:{}", at("to").display(), sealed[1]),
    );
    assert!(code == 0 && std::fs::read_to_string(at("to/etc/version")).unwrap() == "1", "{said}");
    // A pack that is gone is found before anything else happens.
    std::fs::remove_file(largest_pack(&at("repository"))).unwrap();
    let (code, said) = plan("web1", &sealed[1]);
    assert!(code == 3 && said.contains("is not whole") && said.contains("/srv/large"), "{said}");

    // On the running machine, the configured repository is meant.
    configure(&at("config"), PASSWORD);
    let conf = at("config/local.conf");
    let text = std::fs::read_to_string(&conf).unwrap() + &format!("RESTIC_REPOSITORY={place}\n");
    std::fs::write(&conf, text).unwrap();
    let config = at("config");
    let words = ["-c", config.to_str().unwrap(), "recover", "--plan", "--from"];
    let (code, _, error) = rear(&words, Path::new(&format!("snapshot:{}", sealed[1])));
    assert!(code == 3 && error.contains("is one of web1, not of"), "{error}");
}

/// The `restic` program; what it said, or `None` where there is none.
fn restic(work: &Path, repository: &Path, arguments: &[&str]) -> Option<String> {
    std::fs::write(work.join("restic-password"), PASSWORD).unwrap();
    let mut command = Command::new("restic");
    command
        .args(["--no-cache", "-r"])
        .arg(repository)
        .arg("--password-file")
        .arg(work.join("restic-password"));
    let Ok(output) = command.args(arguments).output() else {
        eprintln!("note: there is no restic here; not tested");
        return None;
    };
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

/// Names and content are the same, as `diff` sees it; but for the directory `crowd`, of which that takes long.
fn assert_same_content(tree: &Path, at: &Path) {
    let excluded = ["--exclude=pipe", "--exclude=console", "--exclude=disk", "--exclude=crowd"];
    let mut diff = Command::new("diff");
    let same = diff.args(["-r", "--no-dereference"]).args(excluded).arg(tree).arg(at).output().unwrap();
    assert!(same.status.success(), "{same:?}");
}

#[test]
fn files_of_a_repository_are_mounted_as_they_were() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (tree, mount) = (at("tree"), at("mount"));
    Point::make(&at("point"), &tree);
    plant_more(&tree);
    std::fs::create_dir(tree.join("crowd")).unwrap();
    for number in 0..100_000 {
        let content = if number % 1000 == 0 { number.to_string() } else { String::new() };
        std::fs::write(tree.join("crowd").join(format!("name-{number}")), content).unwrap();
    }
    // The program restic makes the repository, where it is there; what is in it is ours.
    restic(dir.path(), &at("repository"), &["init"]);
    into_repository(&at("point"), &tree, || Box::new(Local::new(at("repository"))));
    configure(&at("config"), PASSWORD);
    let from = at("point");
    let mut mounted = Mounted::of(&at("config"), from.to_str(), &mount);
    assert!(mounted.said.contains("of web1, made 2026-01-02T03:04:00Z, is mounted read-only"));
    assert_eq!(facts(&tree), facts(&mount));
    assert_same_content(&tree, &mount);
    for number in (0..100_000).step_by(777).chain([99_000]) {
        let name = format!("crowd/name-{number}");
        assert_eq!(std::fs::read(tree.join(&name)).unwrap(), std::fs::read(mount.join(&name)).unwrap());
    }
    for name in ["more/program", "more/old", "more", "more/pipe"] {
        assert_eq!(xattrs(&tree.join(name)), xattrs(&mount.join(name)), "{name}");
    }
    let inode = |name: &str| std::fs::metadata(mount.join(name)).unwrap().ino();
    assert_eq!(inode("etc/secret"), inode("links/third"));
    let sparse = std::fs::File::open(mount.join("more/sparse")).unwrap();
    assert!(sparse.metadata().unwrap().blocks() * 512 < 7_000_000);
    let next = rustix::fs::seek(&sparse, rustix::fs::SeekFrom::Data(0)).unwrap();
    assert_eq!(next, 8_000_000 / 4096 * 4096);
    drop(sparse);
    // Any stretch, by several at once and past the kernel's own memory.
    let was = std::fs::read(tree.join("srv/large")).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (was, mount) = (&was, &mount);
            scope.spawn(move || {
                let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECT;
                let file =
                    rustix::fs::open(mount.join("srv/large"), flags, rustix::fs::Mode::empty()).unwrap();
                let file = std::fs::File::from(file);
                for index in 0..40_u64 {
                    let from = (index * 7 + thread) * 30_011 % 8_900_000;
                    let mut is = vec![0; 70_001];
                    file.read_exact_at(&mut is, from).unwrap();
                    let from = usize::try_from(from).unwrap();
                    assert!(is == was[from..from + is.len()], "from {from}");
                }
            });
        }
    });
    assert_eq!(mounted.unmount(), (0, String::new()));
    // Nobody holds the repository any more.
    assert_eq!(std::fs::read_dir(at("repository/locks")).unwrap().count(), 0);

    // Nobody is asked once it is mounted, so what does not open the repository is told before.
    configure(&at("bad"), "battery staple");
    let (code, _, error) =
        rear(&["-c", at("bad").to_str().unwrap(), "mount", mount.to_str().unwrap(), "--from"], &from);
    assert_eq!(code, 3, "{error}");
    assert!(error.contains("password does not open") && !error.contains("staple"), "{error}");

    // A damaged pack: an error for the file that it hits, and for no other.
    damage_largest(&at("repository"));
    let mut mounted = Mounted::of(&at("config"), from.to_str(), &mount);
    let error = std::fs::read(mount.join("srv/large")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
    let mut bytes = vec![0; 4096];
    let file = std::fs::File::open(mount.join("srv/large")).unwrap();
    for from in (0..9_000_000 - 4096).step_by(50_000) {
        // Each stretch is what it was, or an error.
        if file.read_exact_at(&mut bytes, from).is_ok() {
            let from = usize::try_from(from).unwrap();
            assert_eq!(bytes, was[from..from + 4096]);
        }
    }
    drop(file);
    assert_eq!(std::fs::read(mount.join("etc/secret")).unwrap(), b"secret");
    let (code, error) = mounted.unmount();
    assert_eq!(code, 4, "{error}");
    assert!(error.contains("/srv/large cannot be read") && error.contains("is damaged"), "{error}");
    assert!(!error.contains("/etc"), "{error}");
}

#[test]
fn all_points_of_a_repository_are_mounted_by_host_and_date_and_one_by_its_name() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (tree, mount, place) = (at("tree"), at("mount"), at("repository"));
    configure(&at("config"), PASSWORD);
    let conf = at("config/local.conf");
    let text = std::fs::read_to_string(&conf).unwrap();
    let more =
        format!("BACKUP=RESTIC\nRESTIC_REPOSITORY={}\nISO_DIR={}\n", place.display(), at("iso").display());
    std::fs::write(&conf, text + &more).unwrap();
    let mut names = Vec::new();
    for (index, created) in ["1767323040", "1767409440"].into_iter().enumerate() {
        let point = at(&format!("point{index}"));
        Point::make(&point, &tree);
        std::fs::write(tree.join("etc/version"), index.to_string()).unwrap();
        into_repository(&point, &tree, || Box::new(Local::new(&place)));
        change(&point.join("recovery-point.json"), |bytes| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            let id = format!("{index:02}").repeat(16);
            *bytes = text.replace("1767323040", created).replace(&"0f".repeat(16), &id).into_bytes();
        });
        names.push(seal_into_repository(&point, &place));
        std::fs::copy(tree.join("etc/version"), at(&format!("version{index}"))).unwrap();
    }
    let version = |path: &str| std::fs::read_to_string(mount.join(path).join("etc/version")).unwrap();
    let mut mounted = Mounted::of(&at("config"), None, &mount);
    let dates = ["web1/2026-01-02T03:04:00Z", "web1/2026-01-03T03:04:00Z"];
    assert_eq!(dates.map(version), ["0", "1"]);
    assert_eq!(facts(&tree), facts(&mount.join(dates[1])));
    assert_eq!(mounted.unmount(), (0, String::new()));

    let mut mounted = Mounted::of(&at("config"), Some(&format!("snapshot:{}", &names[0][..8])), &mount);
    assert_eq!(version(""), "0");
    assert_eq!(mounted.unmount(), (0, String::new()));

    // One whose files were forgotten is named and not shown; the other one is then shown itself.
    let files = repository(|| Box::new(Local::new(&place))).snapshots().unwrap();
    let oldest = files.iter().find(|one| one.tags[1] == "rear-files").unwrap().id;
    std::fs::remove_file(place.join("snapshots").join(oldest.to_string())).unwrap();
    let mut mounted = Mounted::of(&at("config"), None, &mount);
    assert_eq!(version(""), "1");
    let (code, error) = mounted.unmount();
    assert_eq!(code, 0, "{error}");
    assert!(error.contains("is not shown") && error.contains("not in the repository any more"), "{error}");
}

#[test]
fn what_restic_stored_is_mounted_too() {
    if skipped() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let (tree, mount, place) = (at("tree"), at("mount"), at("repository"));
    Point::make(&at("point"), &tree);
    plant_more(&tree);
    if restic(dir.path(), &place, &["init"]).is_none() {
        return;
    }
    restic(dir.path(), &place, &["backup", "--host", "web1", tree.to_str().unwrap()]);
    let repository = repository(|| Box::new(Local::new(&place)));
    let snapshot = repository.snapshots().unwrap()[0].id;
    let manifest = std::fs::File::create(at("point/manifest.zst")).unwrap();
    let (_, _, totals) = repository.manifest(snapshot, &manifest, &options()).unwrap();
    name_snapshot(&at("point"), place.to_str().unwrap(), snapshot, totals);
    configure(&at("config"), PASSWORD);
    let mut mounted = Mounted::of(&at("config"), at("point").to_str(), &mount);
    let shown = mount.join(tree.strip_prefix("/").unwrap());
    assert_eq!(facts(&tree), facts(&shown));
    assert_same_content(&tree, &shown);
    assert_eq!(xattrs(&tree.join("more/program")), xattrs(&shown.join("more/program")));
    assert_eq!(mounted.unmount(), (0, String::new()));
}
