//! The directories that mounts hide: `/boot` of the root filesystem, below the filesystem that is mounted there. Nobody
//! sees their owner, mode and attributes while the machine runs, but a mount point of the wrong mode keeps services
//! from starting before their filesystem is mounted, and everything comes back.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags};
use serde::{Deserialize, Serialize};
use sys::mount::Mount;

use crate::failure::{Failure, Result};

/// Where a filesystem is shown alone while its mount points are set.
pub const PLACE: &str = "/run/rear/beneath";

/// A mount point as it is below its mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MountPoint {
    /// Where it is in the machine.
    pub path: PathBuf,
    /// Permission bits.
    mode: u32,
    /// Owner.
    uid: u32,
    /// Group.
    gid: u32,
    /// Time of the last change of its content: seconds since 1970-01-01 UTC, nanoseconds.
    modified: (i64, i64),
    /// Extended attributes, ACLs and labels among them, sorted by name.
    attributes: Vec<(String, Vec<u8>)>,
}

/// Reads the directory `seen`, which is the mount point `path` of the machine.
pub fn read(seen: &Path, path: &Path) -> Result<MountPoint> {
    let found = std::fs::symlink_metadata(seen)?;
    let mut names = vec![0_u8; 64 << 10];
    let length = rustix::fs::llistxattr(seen, &mut names).or_else(unsupported)?;
    let mut attributes = Vec::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0_u8; 64 << 10];
        let length = rustix::fs::lgetxattr(seen, name, &mut value).map_err(std::io::Error::from)?;
        value.truncate(length);
        attributes.push((String::from_utf8_lossy(name).into_owned(), value));
    }
    attributes.sort();
    Ok(MountPoint {
        path: path.to_owned(),
        mode: found.mode() & 0o7777,
        uid: found.uid(),
        gid: found.gid(),
        modified: (found.mtime(), found.mtime_nsec()),
        attributes,
    })
}

/// A filesystem without attributes has none.
fn unsupported(error: rustix::io::Errno) -> std::io::Result<usize> {
    if error == rustix::io::Errno::OPNOTSUPP { Ok(0) } else { Err(error.into()) }
}

fn write(seen: &Path, wanted: &MountPoint) -> Result<()> {
    std::os::unix::fs::lchown(seen, Some(wanted.uid), Some(wanted.gid))?;
    std::fs::set_permissions(seen, std::fs::Permissions::from_mode(wanted.mode))?;
    for (name, value) in &wanted.attributes {
        rustix::fs::lsetxattr(seen, name.as_str(), value, XattrFlags::empty())
            .map_err(std::io::Error::from)?;
    }
    let modified = Timespec { tv_sec: wanted.modified.0, tv_nsec: wanted.modified.1 };
    let times = Timestamps { last_access: modified, last_modification: modified };
    rustix::fs::utimensat(CWD, seen, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(std::io::Error::from)?;
    Ok(())
}

/// Gives the mount points of the restored machine below `root` back what they were, reads them again, and adds what
/// differs to the problems. `plain` are the mount points of filesystems that keep no owners: nothing can be set on them.
pub fn restore(
    root: &Path,
    wanted: &[MountPoint],
    plain: &[PathBuf],
    problems: &mut Vec<String>,
) -> Result<()> {
    let place = Path::new(PLACE);
    sys::fs::create_dir_private(place)?;
    for one in wanted {
        let parent = wanted
            .iter()
            .map(|other| other.path.as_path())
            .filter(|other| *other != one.path && one.path.starts_with(other))
            .max_by_key(|other| other.components().count())
            .unwrap_or(Path::new("/"));
        if plain.iter().any(|mount| mount == parent) {
            continue;
        }
        let outside = |path: &Path| path.strip_prefix("/").map(Path::to_owned).unwrap_or_default();
        let shown = Mount::bind_one(&root.join(outside(parent)), place)?;
        let seen = place.join(one.path.strip_prefix(parent).unwrap_or(&one.path));
        let result = write(&seen, one).and_then(|()| read(&seen, &one.path));
        shown.unmount()?;
        match result {
            Ok(now) if now == *one => {}
            Ok(now) => {
                problems.push(format!("the directory below the mount {}: {now:?}", one.path.display()))
            }
            Err(Failure { message, .. }) => {
                problems.push(format!("the directory below the mount {}: {message}", one.path.display()));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        if !sys::info::is_root() {
            eprintln!("skipped: needs root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let mut wanted = read(dir.path(), Path::new("/boot")).unwrap();
        wanted.mode = 0o2711;
        wanted.uid = 12;
        wanted.gid = 34;
        wanted.modified = (-1_000_000, 987_654_321);
        write(dir.path(), &wanted).unwrap();
        assert_eq!(read(dir.path(), Path::new("/boot")).unwrap(), wanted);
        let text = serde_json::to_string(&wanted).unwrap();
        assert_eq!(serde_json::from_str::<MountPoint>(&text).unwrap(), wanted);
    }
}
