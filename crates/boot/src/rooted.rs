//! Paths as the restored system will see them. Never follows a link out of the restored system.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// Where `path` leads for a process whose root is `root`, every symbolic link resolved inside; `None` when it
/// leads to nothing.
pub(crate) fn resolve(root: &Path, path: &Path) -> Option<PathBuf> {
    let mut open: Vec<OsString> = parts(path);
    open.reverse();
    let mut inside = PathBuf::new();
    let mut links = 0;
    while let Some(part) = open.pop() {
        if part == ".." {
            inside.pop();
            continue;
        }
        let here = root.join(&inside).join(&part);
        let meta = std::fs::symlink_metadata(&here).ok()?;
        if !meta.is_symlink() {
            inside.push(part);
            continue;
        }
        links += 1;
        if links > 40 {
            return None;
        }
        let target = std::fs::read_link(&here).ok()?;
        if target.is_absolute() {
            inside = PathBuf::new();
        }
        open.extend(parts(&target).into_iter().rev());
    }
    Some(root.join(inside))
}

fn parts(path: &Path) -> Vec<OsString> {
    path.components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

/// The first of these programs that the restored system has, as its absolute path there.
pub(crate) fn program(root: &Path, names: &[&str]) -> Option<String> {
    let dirs = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    names
        .iter()
        .flat_map(|name| dirs.iter().map(move |dir| format!("{dir}/{name}")))
        .find(|path| resolve(root, Path::new(path)).is_some_and(|path| path.is_file()))
}

/// Looks a path up below `base` as FAT does, without regard to case. Returns the real path.
pub(crate) fn find_ignoring_case(base: &Path, path: &str) -> Option<PathBuf> {
    let mut here = base.to_owned();
    for part in path.split(['/', '\\']).filter(|part| !part.is_empty()) {
        let exact = here.join(part);
        if exact.exists() {
            here = exact;
            continue;
        }
        here = std::fs::read_dir(&here)
            .ok()?
            .filter_map(|entry| entry.ok())
            .find(|entry| entry.file_name().to_string_lossy().eq_ignore_ascii_case(part))?
            .path();
    }
    Some(here)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_stay_inside() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        std::fs::create_dir_all(root.join("usr/lib/systemd")).unwrap();
        std::fs::create_dir_all(root.join("usr/sbin")).unwrap();
        std::fs::write(root.join("usr/lib/systemd/systemd"), "").unwrap();
        symlink("usr/sbin", root.join("sbin")).unwrap();
        symlink("/usr/lib", root.join("lib")).unwrap();
        symlink("../../lib/systemd/systemd", root.join("usr/sbin/init")).unwrap();
        symlink("/sbin/loop", root.join("usr/sbin/loop")).unwrap();
        symlink("/etc/passwd", root.join("usr/sbin/out")).unwrap();
        let found = resolve(root, Path::new("/sbin/init")).unwrap();
        assert_eq!(found, root.join("usr/lib/systemd/systemd"));
        assert_eq!(resolve(root, Path::new("/sbin/loop")), None);
        assert_eq!(resolve(root, Path::new("/sbin/out")), None);
        assert_eq!(resolve(root, Path::new("/../../usr")), Some(root.join("usr")));
        assert_eq!(program(root, &["nothing", "init"]).unwrap(), "/usr/sbin/init");
    }
}
