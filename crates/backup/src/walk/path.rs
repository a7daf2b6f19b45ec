//! Stored paths, without a look at any file: how they are made and joined, and the part of a machine, a set of them, that alone
//! is archived.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::create::Only;

/// The stored form of an absolute path of the machine.
pub fn stored_path(path: &Path) -> Vec<u8> {
    let parts: Vec<&[u8]> =
        path.as_os_str().as_bytes().split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { b".".to_vec() } else { parts.join(&b'/') }
}

pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory == b"." {
        return name.to_vec();
    }
    let mut path = Vec::with_capacity(directory.len() + 1 + name.len());
    path.extend_from_slice(directory);
    path.push(b'/');
    path.extend_from_slice(name);
    path
}

pub(super) fn absolute(path: &[u8]) -> Vec<u8> {
    if path == b"." { b"/".to_vec() } else { [b"/", path].concat() }
}

fn is_at_or_below(outer: &[u8], path: &[u8]) -> bool {
    outer == b"." || path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// The part of the machine that alone is archived, as stored paths.
pub(super) struct Part {
    /// Each with the mount that it lies on.
    paths: Vec<(Vec<u8>, Vec<u8>)>,
    directories: Vec<Vec<u8>>,
    mounts: Vec<Vec<u8>>,
}

impl Part {
    pub(super) fn new(only: &Only, mounts: &[PathBuf]) -> Self {
        let mounts: Vec<Vec<u8>> = mounts.iter().map(|path| stored_path(path)).collect();
        let paths = only.paths.iter().map(|path| stored_path(path));
        let paths = paths
            .map(|path| (mount_of(&mounts, &path).to_vec(), path))
            .map(|(at, path)| (path, at))
            .collect();
        Self { paths, directories: only.directories.iter().map(|path| stored_path(path)).collect(), mounts }
    }

    /// Whether it is to be archived.
    pub(super) fn has(&self, path: &[u8]) -> bool {
        let covers = |(one, _): &&(Vec<u8>, Vec<u8>)| is_at_or_below(one, path);
        let mut covering = self.paths.iter().filter(covers).peekable();
        covering.peek().is_some() && {
            let at = mount_of(&self.mounts, path);
            covering.any(|(_, mount)| mount == at)
        }
    }

    /// Whether it is a directory on the way to what is archived.
    pub(super) fn leads_to(&self, path: &[u8]) -> bool {
        let below = |one: &[u8]| is_at_or_below(path, one);
        self.paths.iter().any(|(one, _)| below(one)) || self.directories.iter().any(|one| below(one))
    }
}

/// The mount that a path lies on; the root where none is nearer.
fn mount_of<'m>(mounts: &'m [Vec<u8>], path: &[u8]) -> &'m [u8] {
    let holding = mounts.iter().filter(|mount| *mount != b"." && is_at_or_below(mount, path));
    holding.max_by_key(|mount| mount.len()).map_or(&b"."[..], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_paths() {
        assert_eq!(stored_path(Path::new("/")), b".");
        assert_eq!(stored_path(Path::new("/boot/efi/")), b"boot/efi");
        assert_eq!(absolute(b"."), b"/");
        assert_eq!(join(b".", b"a"), b"a");
        assert_eq!(join(b"a", b"b"), b"a/b");
    }
}
