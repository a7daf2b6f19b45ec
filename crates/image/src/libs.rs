//! Which libraries a program needs, and where the dynamic loader would find them: the search of ld.so(8), done
//! on headers. The cache `/etc/ld.so.cache` is neither read nor carried: libraries of directories that only the
//! cache knows get a link beside the C library, which the loader searches without it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use crate::elf::{self, Machine, Needs};
use crate::host::Host;
use crate::tree::merged;
use crate::{Error, glob};

/// Directories that loaders search by themselves. Those with a machine's name are Debian's.
const DEFAULT_DIRS: [&str; 12] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib/i386-linux-gnu",
    "/usr/lib/i386-linux-gnu",
    "/lib/powerpc64le-linux-gnu",
    "/usr/lib/powerpc64le-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
];

/// Result of one program's closure.
#[derive(Debug, Default)]
pub(crate) struct Closure {
    /// Paths by which the loader finds them (links not yet followed).
    pub files: BTreeSet<PathBuf>,
    /// Names of libraries that were not found, with who needs them.
    pub missing: Vec<String>,
}

/// The loader's view of the host, with what was read so far.
pub(crate) struct Loader<'a> {
    host: Host<'a>,
    configured: Vec<PathBuf>,
    headers: HashMap<PathBuf, Option<Needs>>,
    found: HashMap<(String, Machine), Option<PathBuf>>,
    /// Libraries found only through the loader's configuration: name and place.
    outside: BTreeMap<String, PathBuf>,
}

impl<'a> Loader<'a> {
    pub(crate) fn new(host: Host<'a>) -> Result<Self, Error> {
        let mut configured = Vec::new();
        read_conf(host, Path::new("/etc/ld.so.conf"), &mut configured, 0)?;
        Ok(Self {
            host,
            configured,
            headers: HashMap::new(),
            found: HashMap::new(),
            outside: BTreeMap::new(),
        })
    }

    /// Headers of a file by its link-free path.
    pub(crate) fn needs(&mut self, path: &Path) -> Result<Option<Needs>, Error> {
        if let Some(known) = self.headers.get(path) {
            return Ok(known.clone());
        }
        let needs = elf::needs(&self.host.real(path))?;
        self.headers.insert(path.to_owned(), needs.clone());
        Ok(needs)
    }

    /// Everything that the program or library at this link-free path needs, itself not included.
    pub(crate) fn closure(&mut self, path: &Path) -> Result<Closure, Error> {
        let mut closure = Closure::default();
        let mut seen = BTreeSet::new();
        let mut todo = vec![path.to_owned()];
        let mut inherited = Vec::new();
        while let Some(at) = todo.pop() {
            if !seen.insert(at.clone()) {
                continue;
            }
            let Some(needs) = self.needs(&at)? else { continue };
            let Some(machine) = needs.machine else { continue };
            if let Some(interpreter) = &needs.interpreter {
                match self.host.resolve(interpreter) {
                    Some(_) => {
                        closure.files.insert(interpreter.clone());
                    }
                    None => closure.missing.push(format!("{} needs {}", at.display(), interpreter.display())),
                }
            }
            let origin = at.parent().unwrap_or(Path::new("/")).to_owned();
            let own: Vec<PathBuf> = if needs.runpath.is_empty() {
                // DT_RPATH also counts for the libraries that this object loads.
                let own: Vec<_> = needs.rpath.iter().filter_map(|dir| expand(dir, &origin)).collect();
                inherited.extend(own.iter().cloned());
                own.into_iter().chain(inherited.iter().cloned()).collect()
            } else {
                needs.runpath.iter().filter_map(|dir| expand(dir, &origin)).collect()
            };
            for name in &needs.libraries {
                match self.find(name, machine, &own)? {
                    Some(library) => {
                        if let Some(resolved) = self.host.resolve(&library) {
                            todo.push(resolved.path);
                        }
                        closure.files.insert(library);
                    }
                    None => closure.missing.push(format!("{} needs {name}", at.display())),
                }
            }
        }
        Ok(closure)
    }

    fn find(&mut self, name: &str, machine: Machine, own: &[PathBuf]) -> Result<Option<PathBuf>, Error> {
        if name.contains('/') {
            let path = PathBuf::from(name);
            return Ok(self.fits(&path, machine)?.then_some(path));
        }
        for dir in own {
            let path = dir.join(name);
            if self.fits(&path, machine)? {
                return Ok(Some(path));
            }
        }
        let key = (name.to_owned(), machine);
        if let Some(known) = self.found.get(&key) {
            return Ok(known.clone());
        }
        let mut result = None;
        let dirs: Vec<_> = self.configured.iter().cloned().chain(DEFAULT_DIRS.map(PathBuf::from)).collect();
        for dir in dirs {
            let path = dir.join(name);
            if self.fits(&path, machine)? {
                if !DEFAULT_DIRS.iter().any(|default| merged(Path::new(default)) == merged(&dir)) {
                    self.outside.insert(name.to_owned(), path.clone());
                }
                result = Some(path);
                break;
            }
        }
        self.found.insert(key, result.clone());
        Ok(result)
    }

    fn fits(&mut self, path: &Path, machine: Machine) -> Result<bool, Error> {
        let Some(resolved) = self.host.resolve(path) else { return Ok(false) };
        if !self.host.is_file(&resolved.path) {
            return Ok(false);
        }
        Ok(self.needs(&resolved.path)?.is_some_and(|needs| needs.machine == Some(machine)))
    }

    /// The directory of the C library: the loader always searches it.
    pub(crate) fn libc_dir(&self) -> Option<PathBuf> {
        let at = |name: &str| {
            self.found.iter().find_map(|((found, _), path)| (found == name).then(|| path.clone()).flatten())
        };
        at("libc.so.6").and_then(|path| path.parent().map(Path::to_owned))
    }

    /// Libraries that the loader finds only by its cache: name and place.
    pub(crate) fn outside(&self) -> &BTreeMap<String, PathBuf> {
        &self.outside
    }
}

/// `$ORIGIN` and `$LIB` in a search path; relative and empty paths are dropped: they mean the current directory.
fn expand(dir: &str, origin: &Path) -> Option<PathBuf> {
    let origin = origin.to_string_lossy();
    let dir = dir.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin);
    if dir.contains('$') {
        return None;
    }
    dir.starts_with('/').then(|| PathBuf::from(dir))
}

fn read_conf(host: Host<'_>, path: &Path, dirs: &mut Vec<PathBuf>, depth: usize) -> Result<(), Error> {
    if depth > 8 {
        return Ok(());
    }
    let Some(text) = host.text(path)? else { return Ok(()) };
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if let Some(pattern) = line.strip_prefix("include").filter(|rest| rest.starts_with([' ', '\t'])) {
            let pattern = pattern.trim();
            let pattern =
                if pattern.starts_with('/') { pattern.to_owned() } else { format!("/etc/{pattern}") };
            let files = if glob::is_pattern(&pattern) { host.expand(&pattern) } else { vec![pattern.into()] };
            for file in files {
                read_conf(host, &file, dirs, depth + 1)?;
            }
        } else {
            dirs.extend(
                line.split([' ', '\t', ',', ':']).filter(|dir| dir.starts_with('/')).map(PathBuf::from),
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_paths() {
        let origin = Path::new("/opt/agent/bin");
        assert_eq!(expand("$ORIGIN/../lib", origin), Some("/opt/agent/bin/../lib".into()));
        assert_eq!(expand("${ORIGIN}", origin), Some("/opt/agent/bin".into()));
        assert_eq!(expand("$LIB", origin), None);
        assert_eq!(expand("", origin), None);
    }

    #[test]
    fn configuration_with_includes() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("etc/ld.so.conf.d")).unwrap();
        std::fs::write(dir.path().join("etc/ld.so.conf"), "include ld.so.conf.d/*.conf\n/opt/z # z\n")
            .unwrap();
        std::fs::write(dir.path().join("etc/ld.so.conf.d/a.conf"), "# c\n/opt/a\n").unwrap();
        std::fs::write(
            dir.path().join("etc/ld.so.conf.d/loop.conf"),
            "include /etc/ld.so.conf.d/loop.conf\n",
        )
        .unwrap();
        let loader = Loader::new(Host::new(dir.path())).unwrap();
        assert_eq!(loader.configured, [Path::new("/opt/a"), Path::new("/opt/z")]);
    }

    #[test]
    fn the_closure_of_a_real_program_is_found() {
        let host = Host::new(Path::new("/"));
        let mut loader = Loader::new(host).unwrap();
        let path = host.resolve("/usr/bin/ls").unwrap().path;
        let closure = loader.closure(&path).unwrap();
        assert_eq!(closure.missing, [""; 0]);
        assert!(closure.files.iter().any(|file| file.ends_with("libc.so.6")), "{closure:?}");
        assert!(loader.libc_dir().is_some());
    }

    #[test]
    fn a_missing_library_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("usr/bin")).unwrap();
        std::fs::copy(std::fs::canonicalize("/bin/ls").unwrap(), dir.path().join("usr/bin/ls")).unwrap();
        let mut loader = Loader::new(Host::new(dir.path())).unwrap();
        let closure = loader.closure(Path::new("/usr/bin/ls")).unwrap();
        assert!(closure.missing.iter().any(|text| text == "/usr/bin/ls needs libc.so.6"), "{closure:?}");
    }

    /// A 64 bit file with a dynamic section: needed libraries, and the tag and text of a search path.
    fn shared(needed: &[&str], path: Option<(u64, &str)>) -> Vec<u8> {
        let mut strings = vec![0];
        let mut add = |text: &str| {
            let at = strings.len() as u64;
            strings.extend(text.as_bytes());
            strings.push(0);
            at
        };
        let mut tags: Vec<(u64, u64)> = needed.iter().map(|name| (1, add(name))).collect();
        tags.extend(path.map(|(tag, text)| (tag, add(text))));
        let dynamic_at = 64 + 2 * 56;
        let strings_at = dynamic_at + (tags.len() as u64 + 3) * 16;
        // The segment is loaded at another address than its place in the file.
        let base = 0x40_0000;
        tags.extend([(5, base + strings_at), (10, strings.len() as u64), (0, 0)]);
        let mut file = vec![0; 64];
        file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        (file[16], file[18], file[32]) = (3, 62, 64);
        (file[54], file[56]) = (56, 2);
        let size = strings_at + strings.len() as u64;
        for (kind, offset, size) in [(1_u32, 0, size), (2, dynamic_at, strings_at - dynamic_at)] {
            let mut segment = vec![0; 56];
            segment[..4].copy_from_slice(&kind.to_le_bytes());
            segment[8..16].copy_from_slice(&offset.to_le_bytes());
            segment[16..24].copy_from_slice(&(base + offset).to_le_bytes());
            segment[32..40].copy_from_slice(&size.to_le_bytes());
            file.extend(segment);
        }
        for (tag, value) in tags {
            file.extend(tag.to_le_bytes());
            file.extend(value.to_le_bytes());
        }
        file.extend(strings);
        file
    }

    #[test]
    fn search_paths_of_the_file_count_first() {
        const RPATH: u64 = 15;
        const RUNPATH: u64 = 29;
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, content: Vec<u8>| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        };
        let mut foreign = shared(&[], None);
        foreign[18] = 3;
        put("opt/a/bin/run", shared(&["libone.so"], Some((RUNPATH, "$ORIGIN/../lib"))));
        put("opt/a/bin/old", shared(&["libone.so"], Some((RPATH, "/opt/a/lib"))));
        put("opt/a/lib/libone.so", shared(&["libtwo.so", "libthree.so"], None));
        put("opt/a/lib/libtwo.so", shared(&[], None));
        put("usr/lib/libone.so", shared(&[], None));
        // For another machine: passed over.
        put("lib64/libthree.so", foreign);
        put("opt/conf/libthree.so", shared(&["libc.so.6"], None));
        put("usr/lib/libc.so.6", shared(&[], None));
        put("etc/ld.so.conf", b"/opt/conf\n".to_vec());
        let mut loader = Loader::new(Host::new(dir.path())).unwrap();
        let new = loader.closure(Path::new("/opt/a/bin/run")).unwrap();
        // DT_RUNPATH is not handed down to the libraries, DT_RPATH is.
        assert_eq!(new.missing, ["/opt/a/lib/libone.so needs libtwo.so"]);
        let old = loader.closure(Path::new("/opt/a/bin/old")).unwrap();
        assert_eq!(old.missing, [""; 0]);
        let names =
            ["/opt/a/lib/libone.so", "/opt/a/lib/libtwo.so", "/opt/conf/libthree.so", "/usr/lib/libc.so.6"];
        assert_eq!(old.files, names.iter().map(PathBuf::from).collect());
        assert_eq!(loader.libc_dir(), Some("/usr/lib".into()));
        assert_eq!(loader.outside().get("libthree.so"), Some(&PathBuf::from("/opt/conf/libthree.so")));
    }
}
