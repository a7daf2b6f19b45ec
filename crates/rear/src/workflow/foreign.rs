//! Archives that another program made: what `--from` means when it names a tar, and the files of one for `rear list` and
//! `rear restore`. It reads only; what is written, `restore` writes.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use backup::{Foreign, Picked, Stored, Wanted};
use layout::Bytes;
use rustix::fs::MemfdFlags;

use super::list::readable;
use crate::context::{Context, is_rescue_system};
use crate::failure::{Failure, Result};
use crate::ui::Stage;
use crate::workflow::recover::TARGET_ROOT;

/// The archive that `--from` names, where it names one, and no recovery point, drive or directory.
pub fn meant(from: Option<&str>) -> Option<PathBuf> {
    let from = from?;
    let path = PathBuf::from(from.strip_prefix("file://").unwrap_or(from));
    Foreign::is_meant(&path).then_some(path)
}

/// Opens it; the error says what to name instead.
pub fn open(path: &Path) -> Result<Foreign> {
    Foreign::open(path).map_err(|error| {
        Failure::refused(error.to_string()).hint(
            "nothing was written; name a tar, its first volume, an ISO file, a drive, the directory of a recovery point, or \
             a directory that holds some",
        )
    })
}

/// An archive that was read to its end, and what of it is wanted.
pub struct Opened {
    /// The archive.
    pub archive: Foreign,
    /// The selection.
    pub picked: Picked,
    /// What will not come back as the archive tells it, by name.
    pub problems: Vec<String>,
    /// Mount points below the target on filesystems without owners and attributes.
    pub plain: Vec<PathBuf>,
    /// Keeps the manifest.
    listed: File,
}

impl Opened {
    /// Reads the archive from end to end, before anything is written.
    pub fn read(context: &Context, path: &Path, wanted: Wanted, stage: &Stage<'_>) -> Result<Self> {
        let archive = open(path)?;
        let listed =
            rustix::fs::memfd_create("manifest", MemfdFlags::CLOEXEC).map_err(std::io::Error::from)?;
        let listed = File::from(listed);
        let options = context.archive_options();
        let scanned = archive.scan(&listed, &options, stage).map_err(|error| {
            let failure = Failure::from(error);
            match context.cancel.is_raised() {
                true => failure,
                false => Failure::refused(failure.message)
                    .hint("nothing was written; use another copy, or get what lies before the damage with tar itself"),
            }
        })?;
        let problems: Vec<String> = scanned
            .problems
            .iter()
            .map(|one| format!("{}: {}", readable(one.path.as_os_str().as_bytes()), one.detail))
            .collect();
        let picked = wanted.find(&stored(&listed)?, &options)?;
        Ok(Self { archive, picked, problems, plain: Vec::new(), listed })
    }

    /// The manifest of all of it.
    pub fn manifest(&self) -> Result<Stored> {
        stored(&self.listed)
    }

    /// For the line that says what was opened.
    pub fn sentence(&self) -> String {
        format!("{}, a tar of {}, read to its end", self.archive.path().display(), Bytes(self.archive.len()))
    }

    /// Brings back what a manifest lists; gives the problems by name.
    pub fn restore(
        &self,
        context: &Context,
        manifest: &Path,
        dir: &Path,
        stage: &Stage<'_>,
    ) -> Result<Vec<String>> {
        let options = context.archive_options();
        let restored = self.archive.restore(manifest, dir, &self.plain, &options, stage)?;
        let told = restored.problems.iter();
        let told = told.map(|one| format!("{}: {}", readable(one.path.as_os_str().as_bytes()), one.detail));
        Ok(self.problems.iter().cloned().chain(told).collect())
    }
}

fn stored(file: &File) -> Result<Stored> {
    Ok(Stored::open(&PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd())))?)
}

/// Whether files may be put into a directory that is not empty: in the rescue system, the machine that is being recovered, as
/// long as nothing but directories is there (its mount points). Otherwise the first thing that is in the way.
pub fn takes_files(dir: &Path) -> Result<std::result::Result<(), Option<PathBuf>>> {
    if !is_rescue_system() || dir != Path::new(TARGET_ROOT) {
        return Ok(Err(None));
    }
    Ok(first_file(dir)?.map_or(Ok(()), |path| Err(Some(path))))
}

/// Something below a directory that is no directory.
fn first_file(dir: &Path) -> Result<Option<PathBuf>> {
    let mut pending = vec![dir.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in std::fs::read_dir(&dir)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                return Ok(Some(entry.path()));
            }
            pending.push(entry.path());
        }
    }
    Ok(None)
}

/// The mount points at and below a directory, as paths below it, whose filesystems know no owners and attributes.
pub fn plain_below(context: &Context, dir: &Path) -> Result<Vec<PathBuf>> {
    let mounts = probe::mountinfo(&context.sys)?;
    let plain = mounts.iter().filter(|mount| matches!(mount.fs_type.as_str(), "vfat" | "msdos" | "exfat"));
    let below = plain.filter_map(|mount| Path::new(&mount.mount_point).strip_prefix(dir).ok());
    Ok(below.map(|path| Path::new("/").join(path)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_directories_may_be_there_already() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("boot/efi")).unwrap();
        std::fs::create_dir_all(dir.path().join("lost+found")).unwrap();
        assert_eq!(first_file(dir.path()).unwrap(), None);
        std::os::unix::fs::symlink("/etc", dir.path().join("boot/efi/link")).unwrap();
        assert_eq!(first_file(dir.path()).unwrap(), Some(dir.path().join("boot/efi/link")));
        // Outside of the rescue system there is no such target.
        assert_eq!(takes_files(dir.path()).unwrap(), Err(None));
    }

    #[test]
    fn a_tar_is_meant_by_a_file_and_by_its_volumes() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        std::fs::write(dir.path().join("backup.tar.gz.00"), "x").unwrap();
        std::fs::write(dir.path().join("any"), "x").unwrap();
        let mut iso = vec![0; 40_000];
        iso[32_769..32_774].copy_from_slice(b"CD001");
        std::fs::write(dir.path().join("x.iso"), iso).unwrap();
        for (name, wanted) in [
            ("backup.tar.gz", true),
            ("backup.tar.gz.00", true),
            ("any", true),
            ("x.iso", false),
            ("", false),
            ("none", false),
        ] {
            assert_eq!(meant(Some(&at(name))).is_some(), wanted, "{name}");
        }
        assert_eq!(meant(None), None);
    }
}
