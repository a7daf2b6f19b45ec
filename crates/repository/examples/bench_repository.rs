//! What `cargo xtask bench-engine` measures of repositories: `init REPOSITORY`, `save DIR REPOSITORY MANIFEST`, `restore REPOSITORY TARGET MANIFEST`,
//! `check REPOSITORY`, `retain REPOSITORY`. A repository that is not there is made; its password is `test`. What
//! a server wants is in restic's and Amazon's variables; `LEVEL` is zstd's, 3 where it is not set.
#![allow(clippy::unwrap_used, reason = "a program for developers")]

use std::path::Path;

use backup::{Options, Source};
use repository::{Access, Keep, Location, Repository, Restore, Save};
use sys::Secret;

// As in the product: musl's own allocator costs several times the system time under threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let level = std::env::var("LEVEL").ok().and_then(|text| text.parse().ok());
    let options = Options {
        level: level.unwrap_or(3),
        threads: sys::info::processors(),
        codec: backup::Codec::Zstd,
        cancel: sys::Cancel::on_signals().unwrap(),
    };
    let password = Secret::new("test");
    let started = std::time::Instant::now();
    let variable = |name: &str| std::env::var(name).ok();
    let access = Access {
        key_id: variable("AWS_ACCESS_KEY_ID").unwrap_or_default(),
        secret_key: variable("AWS_SECRET_ACCESS_KEY").map(Secret::new),
        user: variable("RESTIC_REST_USERNAME"),
        password: variable("RESTIC_REST_PASSWORD").map(Secret::new),
        ..Access::default()
    };
    let open = |place: &str| {
        let location = Location::parse(place).unwrap();
        match Repository::open(location.backend(&access).unwrap(), &password) {
            Err(repository::Error::Absent { .. }) => {
                Repository::create(location.backend(&access).unwrap(), &password).unwrap()
            }
            result => result.unwrap(),
        }
    };
    let manifest = || Path::new(&arguments[4]);
    match arguments[1].as_str() {
        "init" => drop(open(&arguments[2])),
        "save" => {
            let source = Source::whole(&arguments[2]);
            let save = Save {
                hostname: "bench".into(),
                label: "files".into(),
                tags: Vec::new(),
                program: "bench".into(),
            };
            let file = std::fs::File::create(manifest()).unwrap();
            let saved = open(&arguments[3]).save(&source, &file, &save, &options, &()).unwrap();
            println!(
                "{:?}: {} files, {} bytes, {} added, {} unchanged, {} problems",
                saved.snapshot,
                saved.files,
                saved.data_bytes,
                saved.added_bytes,
                saved.unchanged,
                saved.problems.len()
            );
        }
        "restore" => {
            let repository = open(&arguments[2]);
            let snapshot = repository.snapshots().unwrap().last().unwrap().id;
            let file = std::fs::File::create(manifest()).unwrap();
            repository.manifest(snapshot, &file, &options).unwrap();
            let order = Restore {
                snapshot,
                manifest: manifest(),
                target: Path::new(&arguments[3]),
                plain: Vec::new(),
                replace: true,
            };
            let restored = repository.restore(&order, &options, &()).unwrap();
            println!("{} files, {} bytes, {:?}", restored.files, restored.bytes, restored.problems);
        }
        "check" => println!("{:?}", open(&arguments[2]).check(None, &options, &()).unwrap()),
        "retain" => {
            let keep = Keep { last: 1, ..Keep::default() };
            println!("{:?}", open(&arguments[2]).retain("bench", "files", &keep, &options).unwrap());
        }
        other => panic!("unknown: {other}"),
    }
    println!("{:.2} s", started.elapsed().as_secs_f64());
}
