//! Finds what lies below a directory and is in no manifest. It reads names only.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType, OFlags};

use crate::dirs::{Dirs, open_dir};
use crate::manifest::Reader;
use crate::restore::is_below;
use crate::{Error, Options, machine_path, walk};

/// Lists what exists below `target` although the manifest does not have it, as paths in the machine. A directory is
/// listed without its content. What is, or lies below, one of the `allowed` paths is not listed.
///
/// # Errors
/// The manifest or a directory cannot be read, or the run was stopped.
pub fn extra(
    manifest: &Path,
    target: &Path,
    allowed: &[PathBuf],
    options: &Options,
) -> Result<Vec<PathBuf>, Error> {
    let allowed: Vec<_> = allowed.iter().map(|path| walk::stored_path(path)).collect();
    // Eight bytes a path instead of the path: a million files fit.
    let state = RandomState::new();
    let mut known = HashSet::new();
    for entry in Reader::open(manifest)? {
        known.insert(state.hash_one(&entry?.path));
    }
    let dirs = Dirs::new(target).map_err(Error::io(format!("open {}", target.display())))?;
    let mut found = Vec::new();
    let mut pending = vec![b".".to_vec()];
    while let Some(path) = pending.pop() {
        options.cancel.check()?;
        let fail = || Error::io::<rustix::io::Errno>(format!("list {}", machine_path(&path).display()));
        let fd = open_dir(dirs.root(), &path, OFlags::RDONLY).map_err(fail())?;
        for entry in Dir::new(fd).map_err(fail())? {
            let entry = entry.map_err(fail())?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let child = if path == b"." { name.to_vec() } else { [&path, &b"/"[..], name].concat() };
            if is_below(&allowed, &child) {
                continue;
            }
            if !known.contains(&state.hash_one(&child)) {
                found.push(machine_path(&child));
            } else if entry.file_type() == FileType::Directory {
                pending.push(child);
            }
        }
    }
    found.sort();
    Ok(found)
}
