//! Replaces ids of btrfs subvolumes in fstab and on kernel command lines: a new filesystem numbers its subvolumes anew, and
//! a wrong `subvolid=` keeps a machine from booting. Names of subvolumes (`subvol=`) stay, because they come back.

use std::path::{Path, PathBuf};

use crate::naming::{Changed, candidates};
use crate::{Error, Result};

/// A btrfs whose subvolumes have other ids now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renumbered {
    /// Its UUID.
    pub uuid: String,
    /// Its label; empty if it has none.
    pub label: String,
    /// Whether the root filesystem is on it: the kernel's command line speaks of that one.
    pub is_root: bool,
    /// Old and new id of each subvolume.
    pub ids: Vec<(u64, u64)>,
}

/// Whether any of the files that could be rewritten names a subvolume by its id.
pub fn names_subvolids(root: &Path) -> bool {
    candidates(root)
        .iter()
        .any(|path| std::fs::read(path).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(OPTION)))
}

/// Replaces each old id by the new one. Returns the files that were changed, each with its original beside it as
/// `NAME.rear-orig`, and what could not be resolved, as sentences.
///
/// # Errors
/// When a file cannot be read or written. Files before it are changed then.
pub fn rewrite_subvolids(
    root: &Path,
    filesystems: &[Renumbered],
    changed: &mut Changed,
) -> Result<(Vec<PathBuf>, Vec<String>)> {
    let (mut touched, mut problems) = (Vec::new(), Vec::new());
    for path in candidates(root) {
        let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
        let Ok(text) = String::from_utf8(bytes) else { continue };
        if !text.contains(OPTION) {
            continue;
        }
        let is_fstab = path.ends_with("etc/fstab");
        let mut unknown = Vec::new();
        let rewritten = rewrite(&text, is_fstab, filesystems, &mut unknown);
        let shown = Path::new("/").join(path.strip_prefix(root).unwrap_or(&path));
        problems.extend(unknown.into_iter().map(|id| {
            format!(
                "{} names the subvolume {OPTION}{id}, which is not known; put its new id there or use subvol=PATH",
                shown.display()
            )
        }));
        if rewritten == text {
            continue;
        }
        changed.write(&path, &rewritten)?;
        touched.push(path);
    }
    Ok((touched, problems))
}

const OPTION: &str = "subvolid=";

fn rewrite(text: &str, is_fstab: bool, filesystems: &[Renumbered], unknown: &mut Vec<String>) -> String {
    let lines = text.split_inclusive('\n').map(|line| {
        let trimmed = line.trim_start();
        if !line.contains(OPTION) || trimmed.starts_with('#') {
            return line.to_owned();
        }
        let of = if is_fstab { by_spec(trimmed, filesystems) } else { of_root(filesystems) };
        replace(line, of.map(|one| one.ids.as_slice()).unwrap_or_default(), unknown)
    });
    lines.collect()
}

/// The filesystem of a line of fstab.
fn by_spec<'a>(line: &str, filesystems: &'a [Renumbered]) -> Option<&'a Renumbered> {
    let spec = line.split_whitespace().next().unwrap_or_default();
    let value = |tag: &str, dir: &str| {
        spec.strip_prefix(tag).or_else(|| spec.strip_prefix(dir)).map(|value| value.trim_matches('"'))
    };
    if let Some(uuid) = value("UUID=", "/dev/disk/by-uuid/") {
        return filesystems.iter().find(|one| one.uuid.eq_ignore_ascii_case(uuid));
    }
    if let Some(label) = value("LABEL=", "/dev/disk/by-label/") {
        return filesystems.iter().find(|one| !one.label.is_empty() && one.label == label);
    }
    // A path of a device does not say which; without a second one there is no doubt.
    if let [only] = filesystems { Some(only) } else { None }
}

fn of_root(filesystems: &[Renumbered]) -> Option<&Renumbered> {
    filesystems.iter().find(|one| one.is_root)
}

fn replace(line: &str, ids: &[(u64, u64)], unknown: &mut Vec<String>) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(OPTION) {
        let (before, behind) = rest.split_at(at + OPTION.len());
        out.push_str(before);
        let end = behind.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(behind.len());
        let (word, after) = behind.split_at(end);
        // As the kernel reads it: decimal, or hexadecimal behind 0x.
        let id = match word.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => word.parse().ok(),
        };
        let new = ids.iter().find(|(old, _)| Some(*old) == id).map(|(_, new)| *new);
        match (id, new) {
            (_, Some(new)) if Some(new) != id => out.push_str(&new.to_string()),
            // 0 and 5 are the top of every btrfs.
            (Some(0 | 5), _) | (_, Some(_)) => out.push_str(word),
            _ => {
                unknown.push(word.to_owned());
                out.push_str(word);
            }
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filesystems() -> Vec<Renumbered> {
        vec![
            Renumbered {
                uuid: "aaaa-1".into(),
                label: "pool".into(),
                is_root: false,
                ids: vec![(256, 300), (257, 256)],
            },
            Renumbered {
                uuid: "BBBB-2".into(),
                is_root: true,
                ids: vec![(256, 257), (257, 256)],
                ..Default::default()
            },
        ]
    }

    #[test]
    fn each_line_of_fstab_has_the_ids_of_its_filesystem() {
        let text = "# UUID=aaaa-1 /old btrfs subvolid=256\n\
                    UUID=AAAA-1\t/data  btrfs  noatime,subvolid=256,subvol=/@data 0 0\n\
                    UUID=bbbb-2 / btrfs subvol=@,subvolid=0x101 0 0\n\
                    LABEL=pool /top btrfs subvolid=5\n\
                    /dev/sdb1 /x btrfs subvolid=256\n\
                    LABEL=pool /gone btrfs subvolid=999";
        let mut unknown = Vec::new();
        let now = rewrite(text, true, &filesystems(), &mut unknown);
        assert_eq!(
            now,
            "# UUID=aaaa-1 /old btrfs subvolid=256\n\
             UUID=AAAA-1\t/data  btrfs  noatime,subvolid=300,subvol=/@data 0 0\n\
             UUID=bbbb-2 / btrfs subvol=@,subvolid=256 0 0\n\
             LABEL=pool /top btrfs subvolid=5\n\
             /dev/sdb1 /x btrfs subvolid=256\n\
             LABEL=pool /gone btrfs subvolid=999"
        );
        assert_eq!(unknown, ["256", "999"]);
        let mut unknown = Vec::new();
        let one = rewrite("/dev/sdb1 /x btrfs subvolid=256\n", true, &filesystems()[..1], &mut unknown);
        assert_eq!((one.as_str(), unknown.len()), ("/dev/sdb1 /x btrfs subvolid=300\n", 0));
    }

    #[test]
    fn files_keep_their_original() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("etc/default")).unwrap();
        assert!(!names_subvolids(dir.path()));
        std::fs::write(dir.path().join("etc/fstab"), "UUID=aaaa-1 /x btrfs subvol=a\n").unwrap();
        let grub = "GRUB_CMDLINE_LINUX=\"rootflags=subvolid=256,noatime quiet\"\n";
        std::fs::write(dir.path().join("etc/default/grub"), grub).unwrap();
        assert!(names_subvolids(dir.path()));
        let (touched, problems) =
            rewrite_subvolids(dir.path(), &filesystems(), &mut Changed::default()).unwrap();
        assert_eq!((touched.len(), problems.len()), (1, 0));
        let now = std::fs::read_to_string(&touched[0]).unwrap();
        assert_eq!(now, grub.replace("256", "257"));
        assert_eq!(std::fs::read_to_string(dir.path().join("etc/default/grub.rear-orig")).unwrap(), grub);
        let (_, problems) = rewrite_subvolids(dir.path(), &[], &mut Changed::default()).unwrap();
        assert!(
            problems[0].contains("/etc/default/grub") && problems[0].contains("subvolid=257"),
            "{problems:?}"
        );
    }
}
