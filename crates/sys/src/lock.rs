//! One `rear` at a time.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;

use crate::{Error, Result};

/// Held as long as the value lives; the kernel lets go of it even when the process is killed.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock or says who has it. `path` is `/run/rear.lock` except in tests.
    pub fn take(path: &Path) -> Result<Self> {
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            // Nobody else may hold it and block every backup.
            .mode(0o600)
            // It is written anew: never what a link leads to.
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(path)
            .map_err(Error::io("open the lock file", path))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut pid = String::new();
                let _ = file.read_to_string(&mut pid);
                return Err(Error::Locked { pid: pid.trim().to_owned() });
            }
            Err(error) => return Err(Error::io("lock", path)(error.into())),
        }
        let write = |file: &mut File| -> std::io::Result<()> {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(Error::io("write the lock file", path))?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_one_is_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = Lock::take(&path).unwrap();
        let error = Lock::take(&path).unwrap_err().to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        drop(first);
        Lock::take(&path).unwrap();
    }

    #[test]
    fn what_a_link_leads_to_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let (file, path) = (dir.path().join("passwd"), dir.path().join("lock"));
        std::fs::write(&file, "root").unwrap();
        std::os::unix::fs::symlink(&file, &path).unwrap();
        assert!(matches!(Lock::take(&path), Err(Error::Io { .. })));
        assert_eq!(std::fs::read(&file).unwrap(), b"root");
    }
}
