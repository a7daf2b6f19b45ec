//! Disk images: blank, layered, foreign, damaged, compared. Always files of the host, never its devices.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use sys::Cmd;

use crate::lab::{Lab, copy, path};
use crate::scenario::Damage;
use crate::{Error, Result};

/// Makes a blank disk.
pub(crate) fn blank(lab: &Lab, file: &Path, size: &str) -> Result<()> {
    lab.run(&Cmd::new("qemu-img").args(["create", "-q", "-f", "qcow2"]).arg(path(file)).arg(size), 1)?;
    Ok(())
}

/// Makes a disk that starts with the content of another and leaves that one as it is.
pub(crate) fn layer(lab: &Lab, file: &Path, below: &Path) -> Result<()> {
    let below = std::fs::canonicalize(below).map_err(sys::Error::io("resolve", below))?;
    let create = Cmd::new("qemu-img").args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"]);
    lab.run(&create.arg(path(&below)).arg(path(file)), 1)?;
    Ok(())
}

/// Whether a disk reads as nothing but zeros.
pub(crate) fn is_blank(lab: &Lab, file: &Path, size: &str) -> Result<bool> {
    let pristine = file.with_extension("pristine");
    blank(lab, &pristine, size)?;
    let same = is_same(lab, &pristine, file)?;
    std::fs::remove_file(&pristine).map_err(sys::Error::io("remove", &pristine))?;
    Ok(same)
}

/// Whether two disks have the same content.
pub(crate) fn is_same(lab: &Lab, one: &Path, other: &Path) -> Result<bool> {
    let compare = Cmd::new("qemu-img").args(["compare", "-q", "-f", "qcow2", "-F", "qcow2"]).accept(&[1]);
    Ok(lab.run(&compare.arg(path(one)).arg(path(other)), 10)?.code == 0)
}

/// Makes a raw disk full of somebody else's data: a table, a filesystem, and noise in every mebibyte.
pub(crate) fn foreign(lab: &Lab, file: &Path, size: &str) -> Result<()> {
    lab.run(&Cmd::new("qemu-img").args(["create", "-q", "-f", "raw"]).arg(path(file)).arg(size), 1)?;
    let fill = || -> std::io::Result<()> {
        let mut disk = std::fs::OpenOptions::new().write(true).open(file)?;
        let length = disk.metadata()?.len();
        let mut noise = Vec::with_capacity(64 << 10);
        std::fs::File::open("/dev/urandom")?.take(64 << 10).read_to_end(&mut noise)?;
        for at in (0..length.saturating_sub(1 << 20)).step_by(1 << 20) {
            disk.seek(SeekFrom::Start(at))?;
            disk.write_all(&noise)?;
        }
        // The first sectors of a disk are never noise.
        disk.seek(SeekFrom::Start(0))?;
        disk.write_all(&[0; 64 << 10])
    };
    fill().map_err(sys::Error::io("fill", file))?;
    let table = "label: gpt\nstart=2048, type=linux, name=\"not yours\"\n";
    lab.run(&Cmd::new("sfdisk").args(["-q", "--no-tell-kernel"]).arg(path(file)).stdin(table), 1)?;
    let format = Cmd::new("mkfs.ext4").args(["-q", "-F", "-L", "foreign", "-E", "offset=1048576"]);
    lab.run(&format.arg(path(file)).arg("64M"), 1)?;
    Ok(())
}

/// The SHA-256 of a file.
pub(crate) fn sum(lab: &Lab, file: &Path) -> Result<String> {
    let output = lab.run(&Cmd::new("sha256sum").arg(path(file)), 10)?.text();
    Ok(output.split_whitespace().next().unwrap_or_default().to_owned())
}

/// Copies a medium and damages the copy.
pub(crate) fn damaged(lab: &Lab, medium: &Path, to: &Path, damage: Damage) -> Result<()> {
    copy(lab, medium, to)?;
    let length = std::fs::metadata(to).map_err(sys::Error::io("read", to))?.len();
    let damage = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new().read(true).write(true).open(to)?;
        match damage {
            // The archive is by far the largest file, and the last: this is well inside of it.
            Damage::Flip => {
                let mut byte = [0];
                file.seek(SeekFrom::Start(length / 4 * 3))?;
                file.read_exact(&mut byte)?;
                file.seek(SeekFrom::Start(length / 4 * 3))?;
                file.write_all(&[byte[0] ^ 0x10])
            }
            // Whole sectors: a drive delivers nothing else.
            Damage::Truncate => file.set_len(length / 4 * 3 / 2048 * 2048),
        }
    };
    Ok(damage().map_err(sys::Error::io("damage", to))?)
}

/// Fails where a file that an earlier phase made is not there.
pub(crate) fn must_exist(file: &Path) -> Result<()> {
    if file.exists() { Ok(()) } else { Err(Error::NoProduct(file.to_owned())) }
}
