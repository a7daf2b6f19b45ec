//! The small FAT filesystem from which UEFI starts, made without mount, mkfs or mtools. Never decides what is in
//! it.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use fatfs::{FileSystem, FormatVolumeOptions, FsOptions};

use crate::{Error, Result};

/// El Torito counts a boot image in 512-byte sectors in 16 bits; beyond 32 MiB firmware has to guess its size.
const LIMIT: u64 = 32 << 20;

/// Writes a FAT image with these files (path with `/` and without a leading one, and content). The same content and
/// id give the same bytes: all times in it are 1980-01-01.
pub(crate) fn write(path: &Path, files: &[(String, Vec<u8>)], id: &str) -> Result<()> {
    let content: u64 = files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    // Room for directories, the tables and the rounding of each file to whole clusters.
    let size = (content + content / 16 + (1 << 20)).next_multiple_of(1 << 20);
    if size >= LIMIT {
        return Err(Error::Invalid(format!("the boot programs for UEFI need {} MiB", size >> 20)));
    }
    let mut image = std::fs::File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
        .map_err(Error::io("create", path))?;
    image.set_len(size).map_err(Error::io("enlarge", path))?;
    fill(&mut image, files, id).map_err(Error::Fat)
}

fn fill<T: Read + Write + Seek>(image: &mut T, files: &[(String, Vec<u8>)], id: &str) -> std::io::Result<()> {
    let serial = id.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or(0);
    let options = FormatVolumeOptions::new().volume_id(serial).volume_label(*b"REAR-EFI   ");
    fatfs::format_volume(&mut *image, options)?;
    image.seek(SeekFrom::Start(0))?;
    let fs = FileSystem::new(image, FsOptions::new())?;
    {
        let root = fs.root_dir();
        for (path, bytes) in files {
            let mut at = 0;
            while let Some(slash) = path[at..].find('/') {
                root.create_dir(&path[..at + slash])?;
                at += slash + 1;
            }
            let mut file = root.create_file(path)?;
            file.truncate()?;
            file.write_all(bytes)?;
            file.flush()?;
        }
    }
    fs.unmount()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_holds_its_files_and_is_reproducible() {
        let dir = tempfile::tempdir().unwrap();
        let files = vec![
            ("EFI/BOOT/BOOTX64.EFI".to_owned(), vec![7_u8; 3_000_000]),
            ("EFI/BOOT/grub.cfg".to_owned(), b"hello\n".to_vec()),
            ("boot/grub/grub.cfg".to_owned(), b"hello\n".to_vec()),
        ];
        let id = "89abcdef0123456789abcdef01234567";
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        write(&a, &files, id).unwrap();
        write(&b, &files, id).unwrap();
        assert!(std::fs::read(&a).unwrap() == std::fs::read(&b).unwrap());
        let fs = FileSystem::new(
            std::fs::File::options().read(true).write(true).open(&a).unwrap(),
            FsOptions::new(),
        )
        .unwrap();
        for (path, bytes) in &files {
            let mut back = Vec::new();
            fs.root_dir().open_file(path).unwrap().read_to_end(&mut back).unwrap();
            assert!(&back == bytes, "{path}");
        }
    }

    #[test]
    fn too_much_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let files = vec![("big".to_owned(), vec![0_u8; 32 << 20])];
        assert!(matches!(write(&dir.path().join("a"), &files, ""), Err(Error::Invalid(_))));
    }
}
