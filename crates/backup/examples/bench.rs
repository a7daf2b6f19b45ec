//! The engine alone, one verb a run, so that time and memory of each can be measured from outside (`cargo xtask
//! bench-engine` does).
//!
//! ```text
//! bench create TREE DIR        writes DIR/a.tar.zst, DIR/a.manifest and DIR/a.seal
//! bench restore DIR TARGET     restores them below TARGET; the hash of every part is checked
//! bench compare DIR TARGET     reads TARGET and compares every file with the manifest
//! bench browse DIR             reads the manifest as a tree
//! ```
//! `THREADS` and `LEVEL` in the environment are those of the work; two processors' and 3 where they are not set.

use std::fs::File;
use std::path::{Path, PathBuf};

use backup::{Options, Restore, Source, Stored, Tree};

// As in the product: musl's own allocator costs several times the system time under threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u8>().ok());
    let options = Options {
        codec: backup::Codec::Zstd,
        level: number("LEVEL").unwrap_or(3).into(),
        threads: number("THREADS").map_or_else(sys::info::processors, usize::from),
        cancel: sys::Cancel::default(),
    };
    let words: Vec<&Path> = arguments.iter().map(PathBuf::as_path).collect();
    match words.as_slice() {
        [verb, tree, dir] if verb.as_os_str() == "create" => create(tree, dir, &options),
        [verb, dir, target] if verb.as_os_str() == "restore" => restore(dir, target, &options),
        [verb, dir, target] if verb.as_os_str() == "compare" => compare(dir, target, &options),
        [verb, dir] if verb.as_os_str() == "browse" => {
            let tree = Tree::read(&Stored::open(&dir.join("a.manifest"))?, &options)?;
            println!("{} files, {} bytes", tree.len(), tree.bytes());
            Ok(())
        }
        _ => {
            Err("usage: bench create TREE DIR | restore DIR TARGET | compare DIR TARGET | browse DIR".into())
        }
    }
}

fn create(tree: &Path, dir: &Path, options: &Options) -> Outcome {
    let source = Source::whole(tree);
    std::fs::create_dir_all(dir)?;
    let (archive, manifest) = (File::create(dir.join("a.tar.zst"))?, File::create(dir.join("a.manifest"))?);
    let made = backup::create(&source, &archive, &manifest, options, &())?;
    std::fs::write(dir.join("a.seal"), format!("{} {}", made.archive_bytes, made.archive_blake3))?;
    println!(
        "{} files, {} bytes of content, archive {} bytes in {} frames, manifest {} bytes, {} problems",
        made.files,
        made.data_bytes,
        made.archive_bytes,
        made.frames,
        made.manifest_bytes,
        made.problems.len()
    );
    if made.problems.is_empty() { Ok(()) } else { Err(format!("{:?}", made.problems.first()).into()) }
}

fn restore(dir: &Path, target: &Path, options: &Options) -> Outcome {
    let seal = std::fs::read_to_string(dir.join("a.seal"))?;
    let (bytes, blake3) = seal.split_once(' ').ok_or("the seal is malformed")?;
    let restore = Restore {
        archive: &Stored::open(&dir.join("a.tar.zst"))?,
        manifest: &dir.join("a.manifest"),
        target,
        plain: Vec::new(),
        sealed: Some((bytes.parse()?, blake3)),
        replace: true,
    };
    let restored = backup::restore(&restore, options, &())?;
    println!("{} files, {} bytes", restored.files, restored.bytes);
    match restored.problems.first() {
        None => Ok(()),
        Some(first) => Err(format!("{}: {}", first.path.display(), first.detail).into()),
    }
}

fn compare(dir: &Path, target: &Path, options: &Options) -> Outcome {
    let compared = backup::compare(&dir.join("a.manifest"), target, &[], options, &())?;
    println!("{} files, {} bytes", compared.files, compared.bytes);
    match compared.differences.first() {
        None => Ok(()),
        Some(first) => Err(format!("{}: {}", first.path.display(), first.what).into()),
    }
}
