//! Takes a file of the host into the tree together with the links that lead to it, the libraries it loads and the
//! interpreter that it names. Nothing is executed.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::host::{Host, Resolved};
use crate::libs::Loader;
use crate::tree::{Content, Node, Tree, merged};
use crate::{Error, glob, keys};

/// Where programs are looked for on the host.
const SEARCH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Takes files of the host into the tree.
pub(crate) struct Collector<'a> {
    pub host: Host<'a>,
    pub tree: Tree,
    loader: Loader<'a>,
    seen: BTreeSet<PathBuf>,
    /// Why something is not carried, or would not run: sentences for the log.
    pub warnings: Vec<String>,
}

impl<'a> Collector<'a> {
    pub(crate) fn new(host: Host<'a>) -> Result<Self, Error> {
        Ok(Self {
            host,
            tree: Tree::skeleton(|dir| host.resolve(dir).map(|resolved| resolved.path)),
            loader: Loader::new(host)?,
            seen: BTreeSet::new(),
            warnings: Vec::new(),
        })
    }

    /// Where the program is on the host: by name in the search path, or as an absolute path.
    pub(crate) fn find(&self, name: &str) -> Option<PathBuf> {
        if name.starts_with('/') {
            return self.host.is_program(name).then(|| PathBuf::from(name));
        }
        if name.is_empty() || name.contains('/') {
            return None;
        }
        SEARCH.iter().map(|dir| Path::new(dir).join(name)).find(|path| self.host.is_program(path))
    }

    /// Takes a program and all that it needs, or nothing: then the reasons come back.
    pub(crate) fn program(&mut self, path: &Path) -> Result<Vec<String>, Error> {
        let Some(resolved) = self.host.resolve(path) else {
            return Ok(vec![format!("{} does not exist", path.display())]);
        };
        let missing = self.missing(&resolved.path)?;
        if missing.is_empty() {
            self.take(path)?;
        }
        Ok(missing)
    }

    fn missing(&mut self, path: &Path) -> Result<Vec<String>, Error> {
        let mut missing = self.loader.closure(path)?.missing;
        for interpreter in self.interpreters(path)? {
            match self.host.resolve(&interpreter) {
                Some(resolved) => missing.extend(self.loader.closure(&resolved.path)?.missing),
                None => missing.push(format!("{} needs {}", path.display(), interpreter.display())),
            }
        }
        Ok(missing)
    }

    /// Takes a regular file with the links to it and, when it is a program or library, with what it needs. What is
    /// missing then becomes a warning. A path that leads nowhere is passed over.
    pub(crate) fn take(&mut self, path: &Path) -> Result<(), Error> {
        let mut todo = vec![path.to_owned()];
        while let Some(path) = todo.pop() {
            let Some(resolved) = self.host.resolve(&path) else { continue };
            if self.is_secret(&resolved.path) {
                continue;
            }
            self.links(&resolved);
            if !self.seen.insert(resolved.path.clone()) {
                continue;
            }
            let real = self.host.real(&resolved.path);
            let meta = std::fs::symlink_metadata(&real).map_err(Error::io("look at", &real))?;
            if !meta.is_file() {
                continue;
            }
            // Never setuid: everybody here is root, and modes must not depend on the host's policy.
            self.tree.file(&resolved.path, &real, meta.mode() & 0o755);
            todo.extend(self.needs(&resolved.path)?);
        }
        Ok(())
    }

    /// What a file needs beside itself.
    pub(crate) fn needs(&mut self, path: &Path) -> Result<Vec<PathBuf>, Error> {
        let closure = self.loader.closure(path)?;
        for missing in closure.missing {
            let text = format!("{missing}, which is not installed");
            if !self.warnings.contains(&text) {
                self.warnings.push(text);
            }
        }
        let mut needs: Vec<PathBuf> = closure.files.into_iter().collect();
        needs.extend(self.interpreters(path)?);
        Ok(needs)
    }

    /// The links on the way to a file. Their texts are kept where they still fit the merged tree.
    pub(crate) fn links(&mut self, resolved: &Resolved) {
        for (link, text) in &resolved.links {
            let place = merged(link);
            let parent = link.parent().unwrap_or(Path::new("/"));
            let target =
                if text.is_absolute() || place != *link { merged(&parent.join(text)) } else { text.clone() };
            // On a host with a merged /usr compatibility links may come to lie upon what they lead to.
            if merged(&parent.join(text)) != place {
                self.tree.link(&place, target);
            }
        }
    }

    /// The interpreter of a script, and the program that `env` would start for it.
    fn interpreters(&self, path: &Path) -> Result<Vec<PathBuf>, Error> {
        use std::io::Read;
        let real = self.host.real(path);
        let mut head = Vec::new();
        std::fs::File::open(&real)
            .and_then(|file| file.take(256).read_to_end(&mut head))
            .map_err(Error::io("read", &real))?;
        let Some(line) = head.strip_prefix(b"#!") else { return Ok(Vec::new()) };
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        let mut words = line.split_whitespace();
        let Some(program) = words.next().filter(|program| program.starts_with('/')) else {
            return Ok(Vec::new());
        };
        let mut found = vec![PathBuf::from(program)];
        if program.ends_with("/env") {
            let name = words.find(|word| !word.starts_with('-') && !word.contains('='));
            found.extend(name.and_then(|name| self.find(name)));
        }
        Ok(found)
    }

    /// Takes everything that a path with wildcards names; how much that was.
    pub(crate) fn take_all(&mut self, pattern: &str) -> Result<usize, Error> {
        let paths = self.host.expand(pattern);
        for path in &paths {
            self.take(path)?;
        }
        Ok(paths.len())
    }

    /// Takes files and whole directories as they are (owners and modes too), without what matches `exclude`.
    pub(crate) fn copy(
        &mut self,
        path: &Path,
        exclude: &[String],
        cancel: &sys::Cancel,
    ) -> Result<(), Error> {
        let mut todo = vec![path.to_owned()];
        while let Some(path) = todo.pop() {
            cancel.check()?;
            if self.left_out(&path, exclude) {
                continue;
            }
            let (Some(parent), Some(name)) =
                (path.parent().and_then(|dir| self.host.resolve(dir)), path.file_name())
            else {
                continue;
            };
            self.links(&parent);
            let place = parent.path.join(name);
            let real = self.host.real(&place);
            // A file may vanish between listing and looking.
            let Ok(meta) = std::fs::symlink_metadata(&real) else { continue };
            let node =
                |content| Node { content, mode: meta.mode() & 0o7777, uid: meta.uid(), gid: meta.gid() };
            if meta.is_dir() {
                self.tree.set(&place, node(Content::Dir));
                todo.extend(self.host.list(&place).into_iter().map(|name| place.join(name)));
            } else if meta.is_file() {
                if self.is_secret(&place) {
                    continue;
                }
                self.seen.insert(place.clone());
                self.tree.set(&place, node(Content::File(real)));
                for needed in self.needs(&place)? {
                    self.take(&needed)?;
                }
            } else if meta.is_symlink() {
                let text = std::fs::read_link(&real).map_err(Error::io("read the link", &real))?;
                self.links(&Resolved { path: PathBuf::new(), links: vec![(place.clone(), text)] });
                // The file behind a link comes along; a directory only when it is named itself.
                if self.host.is_file(&place)
                    && !self.host.resolve(&place).is_some_and(|r| self.left_out(&r.path, exclude))
                {
                    self.take(&place)?;
                }
            }
        }
        Ok(())
    }

    /// Whether a file must stay behind because of its place; says so once.
    fn is_secret(&mut self, path: &Path) -> bool {
        let Some(why) = keys::secret_place(path) else { return false };
        let text = format!("{} is left out of the rescue system: {why}", path.display());
        if !self.warnings.contains(&text) {
            self.warnings.push(text);
        }
        true
    }

    /// Patterns compare with the whole path, with or without its leading slash, and cover what is below.
    fn left_out(&self, path: &Path, exclude: &[String]) -> bool {
        let virtual_fs = ["/proc", "/sys", "/dev", "/run"].iter().any(|dir| path.starts_with(dir));
        let text = path.to_string_lossy();
        virtual_fs
            || exclude.iter().any(|pattern| {
                let pattern = pattern.trim_end_matches('/');
                let pattern =
                    if pattern.starts_with(['/', '*']) { pattern.to_owned() } else { format!("/{pattern}") };
                !pattern.is_empty()
                    && (glob::matches(&pattern, &text) || text.starts_with(&format!("{pattern}/")))
            })
    }

    /// Makes every carried library findable without the loader's cache, and adds those that the C library and
    /// udev open by name at run time.
    pub(crate) fn finish_libraries(&mut self) -> Result<(), Error> {
        let Some(dir) = self.loader.libc_dir() else { return Ok(()) };
        let opened_by_name = [
            "libnss_files.so.2",
            "libnss_dns.so.2",
            "libgcc_s.so.1",
            "libkmod.so.2",
            "libacl.so.1",
            "libblkid.so.1",
            "libresolv.so.2",
            "ossl-modules/*.so",
            "gconv/gconv-modules",
            "gconv/gconv-modules.cache",
            "gconv/gconv-modules.d/*.conf",
            "gconv/IBM850.so",
            "gconv/IBM437.so",
            "gconv/ISO8859-1.so",
            "gconv/UTF-16.so",
        ];
        for name in opened_by_name {
            self.take_all(&dir.join(name).to_string_lossy())?;
        }
        let outside = self.loader.outside().clone();
        for (name, path) in outside {
            let link = dir.join(&name);
            if !self.tree.has(&link) && self.tree.has(&path) {
                self.tree.link(link, merged(&path));
            }
        }
        Ok(())
    }
}
