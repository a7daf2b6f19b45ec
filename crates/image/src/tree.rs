//! The rescue system as a plan: path by path, where its content comes from. Paths are kept in the merged form
//! (`/bin/ls` is `/usr/bin/ls`), so that a host with separate `/bin` gives the same tree. Reads nothing.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// Directories that are links into `/usr` in the rescue system.
const MERGED: [&str; 5] = ["bin", "sbin", "lib", "lib32", "lib64"];

/// What one path is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Dir,
    Link(PathBuf),
    /// Copied from this file of the host when the image is written.
    File(PathBuf),
    Bytes(Vec<u8>),
    /// A character device.
    Char {
        major: u32,
        minor: u32,
    },
}

/// One path of the rescue system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub content: Content,
    /// Permission bits, without the type.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// All paths, sorted; parents come before their children.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    nodes: BTreeMap<PathBuf, Node>,
    /// Directories below `/usr` that are links on the host, as `sbin` on Fedora 42 and `lib64` on Arch: from, to.
    aliases: Vec<(PathBuf, PathBuf)>,
}

/// The path in its merged form: `/sbin/x` becomes `/usr/sbin/x`; `.` and `..` are taken out by their names.
pub(crate) fn merged(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            _ => {}
        }
    }
    let mut components = clean.components();
    components.next();
    match components.next() {
        Some(first) if MERGED.iter().any(|dir| first.as_os_str() == *dir) => {
            Path::new("/usr").join(first).join(components.as_path())
        }
        _ => clean,
    }
}

impl Tree {
    /// The skeleton: directories, merged links, the two device nodes that exist before `/dev` is mounted.
    ///
    /// `alias` tells which directory below `/usr` is a link to which other one.
    pub(crate) fn skeleton(alias: impl Fn(&Path) -> Option<PathBuf>) -> Self {
        let mut tree = Self::default();
        for dir in MERGED {
            let dir = Path::new("/usr").join(dir);
            if let Some(to) = alias(&dir).filter(|to| *to != dir && to.starts_with("/usr")) {
                tree.nodes.insert(
                    dir.clone(),
                    Node { content: Content::Link(to.clone()), mode: 0o777, uid: 0, gid: 0 },
                );
                tree.aliases.push((dir, to));
            }
        }
        // Without an entry of its own the kernel's root directory is open to all (1777).
        tree.nodes.insert("/".into(), Node { content: Content::Dir, mode: 0o755, uid: 0, gid: 0 });
        for dir in MERGED {
            tree.dir(Path::new("/usr").join(dir), 0o755);
            let link =
                Node { content: Content::Link(Path::new("usr").join(dir)), mode: 0o777, uid: 0, gid: 0 };
            tree.nodes.insert(Path::new("/").join(dir), link);
        }
        for (dir, mode) in [
            ("/proc", 0o755),
            ("/sys", 0o755),
            ("/dev", 0o755),
            ("/run", 0o755),
            ("/tmp", 0o1777),
            ("/root", 0o700),
            ("/mnt/local", 0o755),
            ("/etc", 0o755),
            ("/var/log/rear", 0o755),
            ("/var/lib/rear", 0o700),
            ("/var/tmp", 0o1777),
            ("/var/empty", 0o755),
            // Where sshd locks itself in, by distribution.
            ("/var/empty/sshd", 0o711),
            ("/var/lib/empty", 0o755),
            ("/var/lib/dhcp", 0o755),
            ("/var/lib/dhclient", 0o755),
            ("/var/lib/dhcpcd", 0o755),
        ] {
            tree.dir(dir, mode);
        }
        tree.link("/var/run", "../run");
        tree.link("/var/lock", "../run/lock");
        for (path, minor, mode, major) in [("/dev/console", 1, 0o600, 5), ("/dev/null", 3, 0o666, 1)] {
            tree.set(path, Node { content: Content::Char { major, minor }, mode, uid: 0, gid: 0 });
        }
        tree
    }

    /// Puts a node at a path, replacing what was planned there. Missing parents become directories.
    pub(crate) fn set(&mut self, path: impl AsRef<Path>, node: Node) {
        let path = self.place(path.as_ref());
        if self.is_merged_root(&path) {
            return;
        }
        for parent in path.ancestors().skip(1) {
            if parent == Path::new("/") {
                break;
            }
            let dir = Node { content: Content::Dir, mode: 0o755, uid: 0, gid: 0 };
            self.nodes.entry(parent.to_owned()).or_insert(dir);
        }
        self.nodes.insert(path, node);
    }

    /// Where a path of the host lies here.
    fn place(&self, path: &Path) -> PathBuf {
        let path = merged(path);
        let alias = self.aliases.iter().find_map(|(from, to)| Some((to, path.strip_prefix(from).ok()?)));
        match alias {
            Some((to, rest)) if rest.as_os_str().is_empty() => to.clone(),
            Some((to, rest)) => to.join(rest),
            None => path,
        }
    }

    fn is_merged_root(&self, path: &Path) -> bool {
        path == Path::new("/")
            || MERGED.iter().any(|dir| path == Path::new("/usr").join(dir) && self.has(path))
    }

    /// A directory; a mode that is already planned is replaced.
    pub(crate) fn dir(&mut self, path: impl AsRef<Path>, mode: u32) {
        self.set(path, Node { content: Content::Dir, mode, uid: 0, gid: 0 });
    }

    /// A symbolic link.
    pub(crate) fn link(&mut self, path: impl AsRef<Path>, target: impl Into<PathBuf>) {
        self.set(path, Node { content: Content::Link(target.into()), mode: 0o777, uid: 0, gid: 0 });
    }

    /// A copy of a host's file.
    pub(crate) fn file(&mut self, path: impl AsRef<Path>, source: impl Into<PathBuf>, mode: u32) {
        self.set(path, Node { content: Content::File(source.into()), mode, uid: 0, gid: 0 });
    }

    /// A file that we make.
    pub(crate) fn bytes(&mut self, path: impl AsRef<Path>, bytes: impl Into<Vec<u8>>, mode: u32) {
        self.set(path, Node { content: Content::Bytes(bytes.into()), mode, uid: 0, gid: 0 });
    }

    /// Whether the path is planned.
    pub(crate) fn has(&self, path: impl AsRef<Path>) -> bool {
        self.nodes.contains_key(&self.place(path.as_ref()))
    }

    /// Every path in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Path, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_path(), node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separate_bin_is_merged() {
        assert_eq!(merged(Path::new("/bin/../sbin/x")), Path::new("/usr/sbin/x"));
        assert_eq!(merged(Path::new("/lib64/ld.so")), Path::new("/usr/lib64/ld.so"));
        assert_eq!(merged(Path::new("/library/x")), Path::new("/library/x"));
        assert_eq!(merged(Path::new("/usr/bin/x")), Path::new("/usr/bin/x"));
    }

    #[test]
    fn the_merged_links_cannot_be_replaced() {
        let mut tree = Tree::skeleton(|_| None);
        tree.dir("/bin", 0o700);
        tree.link("/lib64", "elsewhere");
        tree.bytes("/bin/x", "x", 0o755);
        let planned: BTreeMap<_, _> = tree.iter().collect();
        assert_eq!(planned[Path::new("/bin")].content, Content::Link("usr/bin".into()));
        assert_eq!(planned[Path::new("/usr/bin")].content, Content::Dir);
        assert!(planned.contains_key(Path::new("/usr/bin/x")));
    }

    #[test]
    fn one_directory_for_all_programs() {
        let mut tree = Tree::skeleton(|dir| (dir == Path::new("/usr/sbin")).then(|| "/usr/bin".into()));
        tree.link("/usr/sbin", "bin");
        tree.bytes("/sbin/x", "x", 0o755);
        assert!(tree.has("/usr/bin/x") && tree.has("/usr/sbin/x"));
        let planned: BTreeMap<_, _> = tree.iter().collect();
        assert_eq!(planned[Path::new("/usr/sbin")].content, Content::Link("/usr/bin".into()));
        assert!(!planned.contains_key(Path::new("/usr/sbin/x")));
    }

    #[test]
    fn parents_come_first() {
        let mut tree = Tree::skeleton(|_| None);
        tree.bytes("/a/b/c", "x", 0o644);
        let paths: Vec<_> = tree.iter().map(|(path, _)| path.to_owned()).collect();
        for (i, path) in paths.iter().enumerate().skip(1) {
            let parent = path.parent().unwrap();
            assert!(paths[..i].iter().any(|p| p == parent), "{path:?}");
        }
    }
}
