//! Finds where a restored system says in which block its swap file for hibernation begins. Changes nothing: the right number
//! depends on how the file is used.

use std::path::{Path, PathBuf};

use crate::naming::candidates;
use crate::rooted::resolve;

/// Directories of files that initramfs builders read.
const DIRECTORIES: [&str; 3] = ["/etc/dracut.conf.d", "/etc/initramfs-tools/conf.d", "/etc/default/grub.d"];

/// The files below `root`, as paths of the machine, in which a line that is no comment has `resume_offset=`.
pub fn names_resume_offset(root: &Path) -> Vec<PathBuf> {
    let mut files = candidates(root);
    for dir in DIRECTORIES.iter().filter_map(|path| resolve(root, Path::new(path))) {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        files.extend(entries.map(|entry| entry.path()).filter(|path| path.is_file()));
    }
    files.retain(|path| {
        let text = std::fs::read(path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        text.lines().any(|line| !line.trim_start().starts_with('#') && line.contains("resume_offset="))
    });
    files.iter().map(|path| Path::new("/").join(path.strip_prefix(root).unwrap_or(path))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_name_the_offset_are_found_and_comments_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        assert!(names_resume_offset(dir.path()).is_empty());
        put("etc/default/grub", "# GRUB_CMDLINE_LINUX=\"resume_offset=1\"\nGRUB_TIMEOUT=5\n");
        put("boot/grub/grub.cfg", "linux /vmlinuz root=UUID=1 resume=UUID=1 resume_offset=34816\n");
        put("etc/dracut.conf.d/resume.conf", "kernel_cmdline+=\" resume_offset=34816 \"\n");
        let expected = ["/boot/grub/grub.cfg", "/etc/dracut.conf.d/resume.conf"].map(PathBuf::from);
        assert_eq!(names_resume_offset(dir.path()), expected);
    }
}
