//! A sketch of a saved system: the few files that say how it boots and what it mounts, and empty ones in place of kernels and programs. So
//! that it can be asked, before anything is restored, what it will want.

use std::collections::BTreeSet;
use std::path::Path;

use backup::{ContentSource, Kind, Node, Tree};

use super::below;
use crate::failure::{Failure, Result};

/// Files whose content counts, or that must be there.
const FILES: [&str; 6] =
    ["etc/fstab", "etc/crypttab", "etc/init", "sbin/init", "bin/init", "lib/systemd/systemd"];
/// Directories of which all names count.
const DIRECTORIES: [&str; 2] = ["boot", "efi"];
/// A larger file is no configuration, in bytes.
const LARGEST: u64 = 4 << 20;
/// More links than these lead nowhere.
const LINKS: usize = 40;

/// Draws it below a directory, which is made.
pub fn draw(tree: &Tree, contents: &dyn ContentSource, root: &Path) -> Result<()> {
    sys::fs::create_dir_private(root)?;
    let pen = Pen { tree, contents, root };
    for path in FILES {
        pen.file(path.as_bytes())?;
    }
    for path in DIRECTORIES {
        if let Ok(node) = tree.lookup(Tree::ROOT, path.as_bytes()) {
            pen.everything(node, path.as_bytes())?;
        }
    }
    Ok(())
}

struct Pen<'a> {
    tree: &'a Tree,
    contents: &'a dyn ContentSource,
    root: &'a Path,
}

impl Pen<'_> {
    /// A file, with the links and directories that lead to it. One that is not there is not drawn.
    fn file(&self, path: &[u8]) -> Result<()> {
        let mut pending: Vec<Vec<u8>> = parts(path).rev().map(<[u8]>::to_vec).collect();
        let (mut at, mut links, mut above) = (Vec::<u8>::new(), 0, vec![Tree::ROOT]);
        while let Some(name) = pending.pop() {
            if name == b".." {
                at.truncate(at.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
                if above.len() > 1 {
                    above.pop();
                }
                continue;
            }
            let directory = above.last().copied().unwrap_or(Tree::ROOT);
            let Ok(node) = self.tree.lookup(directory, &name) else { return Ok(()) };
            let here = if at.is_empty() { name.clone() } else { [&at[..], b"/", &name[..]].concat() };
            match self.kind(node) {
                Some(Kind::Directory) => {
                    sys::fs::create_dir_private(&below(self.root, &here))?;
                    above.push(node);
                    at = here;
                }
                Some(Kind::Symlink) => {
                    links += 1;
                    if links > LINKS {
                        return Ok(());
                    }
                    let target = self.link(node, &here)?;
                    if target.first() == Some(&b'/') {
                        at.clear();
                        above.truncate(1);
                    }
                    pending.extend(parts(&target).rev().map(<[u8]>::to_vec));
                }
                Some(Kind::File) if pending.is_empty() => return self.content(node, &here),
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    /// All names of a directory and below it.
    fn everything(&self, node: Node, path: &[u8]) -> Result<()> {
        let mut pending = vec![(node, path.to_vec())];
        let mut seen = BTreeSet::new();
        while let Some((node, path)) = pending.pop() {
            match self.kind(node) {
                Some(Kind::Directory) if seen.insert(node) => {
                    sys::fs::create_dir_private(&below(self.root, &path))?;
                    let entries =
                        self.tree.entries(node, 0).map_err(|error| lost(&path, &error.to_string()))?;
                    pending.extend(entries.map(|(name, node)| (node, [&path[..], b"/", name].concat())));
                }
                Some(Kind::Symlink) => _ = self.link(node, &path)?,
                Some(Kind::File) => self.content(node, &path)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn kind(&self, node: Node) -> Option<Kind> {
        self.tree.attributes(node).ok().map(|found| found.kind)
    }

    fn link(&self, node: Node, path: &[u8]) -> Result<Vec<u8>> {
        use std::os::unix::ffi::OsStrExt;
        let target = self.tree.link(node).map_err(|error| lost(path, &error.to_string()))?.to_vec();
        // Another way may have led here before.
        match std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(&target), below(self.root, path)) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error.into()),
            _ => Ok(target),
        }
    }

    fn content(&self, node: Node, path: &[u8]) -> Result<()> {
        let content = self.tree.content(node).map_err(|error| lost(path, &error.to_string()))?;
        let is_read = path.starts_with(b"etc/") || path.ends_with(b".cfg") || path.ends_with(b".conf");
        let length = if is_read && content.size <= LARGEST { content.size } else { 0 };
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        if !bytes.is_empty() {
            self.contents
                .read(self.tree, &content, 0, &mut bytes)
                .map_err(|error| lost(path, &error.to_string()))?;
        }
        std::fs::write(below(self.root, path), bytes)?;
        Ok(())
    }
}

fn parts(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".")
}

fn lost(path: &[u8], why: &str) -> Failure {
    Failure::refused(format!("/{} of the snapshot cannot be read: {why}", String::from_utf8_lossy(path)))
        .hint("no disk was written to")
}
