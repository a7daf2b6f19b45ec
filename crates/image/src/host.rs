//! The host's files seen from its root, which need not be ours: links are followed inside that root and can never
//! lead out of it. Reads only.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use crate::{Error, glob};

/// How many links one path may lead through (Linux's own limit).
const MAX_LINKS: usize = 40;

/// A path with every link followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// Where it ends, inside the root, free of links.
    pub path: PathBuf,
    /// The links on the way: their place (its directory free of links) and their text.
    pub links: Vec<(PathBuf, PathBuf)>,
}

/// Where the links of directories lead, as found so far. Valid for one build: directories do not move while their
/// files are collected.
#[derive(Debug, Default)]
pub(crate) struct Dirs(RefCell<HashMap<PathBuf, Resolved>>);

/// The host's file tree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Host<'a> {
    root: &'a Path,
    dirs: Option<&'a Dirs>,
}

impl<'a> Host<'a> {
    pub(crate) fn new(root: &'a Path) -> Self {
        Self { root, dirs: None }
    }

    /// Looks at each directory once.
    pub(crate) fn remembering(root: &'a Path, dirs: &'a Dirs) -> Self {
        Self { root, dirs: Some(dirs) }
    }

    /// The path to open for a link-free path inside the root.
    pub(crate) fn real(&self, path: &Path) -> PathBuf {
        match path.strip_prefix("/") {
            Ok(below) => self.root.join(below),
            Err(_) => self.root.join(path),
        }
    }

    /// Follows every link; `None` where the path leads nowhere.
    pub(crate) fn resolve(&self, path: impl AsRef<Path>) -> Option<Resolved> {
        self.follow(path.as_ref(), &mut 0)
    }

    fn follow(&self, path: &Path, links: &mut usize) -> Option<Resolved> {
        let mut components = path.components();
        let last = components.next_back();
        let dir = components.as_path();
        let name = match last {
            Some(Component::Normal(name)) => name,
            Some(Component::ParentDir) => {
                let mut above = self.directory(dir, links)?;
                above.path.pop();
                return Some(above);
            }
            Some(Component::CurDir) => return self.directory(dir, links),
            _ => return Some(Resolved { path: PathBuf::from("/"), links: Vec::new() }),
        };
        let mut found = self.directory(dir, links)?;
        let next = found.path.join(name);
        let meta = std::fs::symlink_metadata(self.real(&next)).ok()?;
        if !meta.is_symlink() {
            found.path = next;
            return Some(found);
        }
        *links += 1;
        if *links > MAX_LINKS {
            return None;
        }
        let text = std::fs::read_link(self.real(&next)).ok()?;
        let behind = self.follow(&found.path.join(&text), links)?;
        found.links.push((next, text));
        found.links.extend(behind.links);
        found.path = behind.path;
        Some(found)
    }

    /// Like [`Host::follow`], for the directory of something: those are asked for again and again.
    fn directory(&self, dir: &Path, links: &mut usize) -> Option<Resolved> {
        let Some(known) = self.dirs else { return self.follow(dir, links) };
        if let Some(found) = known.0.borrow().get(dir) {
            return Some(found.clone());
        }
        let found = self.follow(dir, links)?;
        known.0.borrow_mut().insert(dir.to_owned(), found.clone());
        Some(found)
    }

    /// The file's metadata, links followed.
    pub(crate) fn stat(&self, path: impl AsRef<Path>) -> Option<Metadata> {
        std::fs::symlink_metadata(self.real(&self.resolve(path)?.path)).ok()
    }

    /// Whether the path leads to a regular file.
    pub(crate) fn is_file(&self, path: impl AsRef<Path>) -> bool {
        self.stat(path).is_some_and(|meta| meta.is_file())
    }

    /// Whether the path leads to a directory.
    pub(crate) fn is_dir(&self, path: impl AsRef<Path>) -> bool {
        self.stat(path).is_some_and(|meta| meta.is_dir())
    }

    /// Whether the path leads to a file that may be executed.
    pub(crate) fn is_program(&self, path: impl AsRef<Path>) -> bool {
        self.stat(path).is_some_and(|meta| meta.is_file() && meta.mode() & 0o111 != 0)
    }

    /// A small file's content; `None` where it does not exist.
    pub(crate) fn read(&self, path: impl AsRef<Path>) -> Result<Option<Vec<u8>>, Error> {
        let Some(resolved) = self.resolve(path) else { return Ok(None) };
        let real = self.real(&resolved.path);
        std::fs::read(&real).map(Some).map_err(Error::io("read", real))
    }

    /// Like [`Host::read`], as text.
    pub(crate) fn text(&self, path: impl AsRef<Path>) -> Result<Option<String>, Error> {
        Ok(self.read(path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Names in a directory, sorted; nothing where it does not exist.
    pub(crate) fn list(&self, path: impl AsRef<Path>) -> Vec<OsString> {
        let Some(resolved) = self.resolve(path) else { return Vec::new() };
        let Ok(entries) = std::fs::read_dir(self.real(&resolved.path)) else { return Vec::new() };
        let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        names
    }

    /// Existing paths for a path with wildcards in any of its parts, sorted. Blanks are part of a name.
    pub(crate) fn expand(&self, pattern: &str) -> Vec<PathBuf> {
        let mut found = vec![PathBuf::from("/")];
        for part in parts(Path::new(pattern)) {
            let text = part.to_string_lossy().into_owned();
            let mut next = Vec::new();
            for dir in found {
                if !glob::is_pattern(&text) {
                    next.push(dir.join(&part));
                    continue;
                }
                let hidden = text.starts_with('.');
                next.extend(
                    self.list(&dir)
                        .into_iter()
                        .filter(|name| hidden || !name.as_encoded_bytes().starts_with(b"."))
                        .filter(|name| glob::matches(&text, &name.to_string_lossy()))
                        .map(|name| dir.join(name)),
                );
            }
            found = next;
        }
        found.retain(|path| {
            let parent = path.parent().and_then(|parent| self.resolve(parent));
            let (Some(parent), Some(name)) = (parent, path.file_name()) else { return false };
            std::fs::symlink_metadata(self.real(&parent.path.join(name))).is_ok()
        });
        found
    }
}

fn parts(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_stay_inside_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::create_dir_all(root.join("usr/bin")).unwrap();
        std::fs::create_dir_all(root.join("etc/alternatives")).unwrap();
        std::fs::write(root.join("usr/bin/mawk"), "x").unwrap();
        symlink("usr/bin", root.join("bin")).unwrap();
        symlink("/etc/alternatives/awk", root.join("usr/bin/awk")).unwrap();
        symlink("/usr/bin/mawk", root.join("etc/alternatives/awk")).unwrap();
        symlink("../../../../../../usr/bin/mawk", root.join("usr/bin/out")).unwrap();
        symlink("loop", root.join("usr/bin/loop")).unwrap();
        symlink("/no/such", root.join("usr/bin/dangling")).unwrap();
        symlink("../usr/./bin/..", root.join("etc/up")).unwrap();
        symlink("round/x", root.join("etc/round")).unwrap();
        let dirs = Dirs::default();
        let host = Host::new(root);
        // The second time from memory.
        for host in [host, Host::remembering(root, &dirs), Host::remembering(root, &dirs)] {
            let awk = host.resolve("/bin/awk").unwrap();
            assert_eq!(awk.path, Path::new("/usr/bin/mawk"));
            assert_eq!(awk.links.len(), 3);
            assert_eq!(awk.links[1], ("/usr/bin/awk".into(), "/etc/alternatives/awk".into()));
            assert_eq!(host.resolve("/bin/out").unwrap().path, Path::new("/usr/bin/mawk"));
            assert_eq!(host.resolve("/etc/up/bin/mawk").unwrap().path, Path::new("/usr/bin/mawk"));
            assert_eq!(host.resolve("/../etc/./up/..").unwrap().path, Path::new("/"));
            assert_eq!(host.resolve("/").unwrap().path, Path::new("/"));
            for nowhere in ["/bin/loop", "/bin/dangling", "/etc/round/y", "/bin/mawk/x", "/none/.."] {
                assert_eq!(host.resolve(nowhere), None, "{nowhere}");
            }
        }
        assert_eq!(host.expand("/usr/b*/?awk"), [Path::new("/usr/bin/mawk")]);
        assert_eq!(host.expand("/usr/bin/dangling").len(), 1);
        assert!(host.expand("/usr/bin/none").is_empty());
    }
}
