//! Runs `xorriso`, which writes the ISO. Never holds a big file in memory, and leaves no half-written ISO behind.

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use sys::{Cmd, Sys};

use crate::{Error, Iso, Parts, Result};

/// Where the El Torito image is on the ISO. `xorriso` patches its own position into it.
const ELTORITO: &str = "/boot/grub/eltorito.img";
/// The GPT type of an EFI system partition.
const ESP_TYPE: &str = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
/// Rough size of everything on an ISO that is not a file of ours: headers, directories, the padding at the end.
const OVERHEAD: u64 = 1 << 20;

/// Whether the program is there.
pub(crate) fn check(sys: &dyn Sys) -> Result<()> {
    match sys.which("xorriso") {
        Some(_) => Ok(()),
        None => Err(Error::Missing {
            what: "the program 'xorriso' is not there".into(),
            install: "'xorriso' (Debian, Ubuntu, Fedora, RHEL, SUSE) or 'libisoburn' (Arch)".into(),
        }),
    }
}

/// Writes the ISO and returns its size in bytes.
pub(crate) fn write(sys: &dyn Sys, iso: &Iso<'_>, parts: &Parts, out: &Path) -> Result<u64> {
    let needed = OVERHEAD
        + parts
            .efi
            .iter()
            .chain(parts.files.iter().map(|(source, _)| source))
            .map(|path| size(path))
            .sum::<u64>();
    std::fs::File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(out)
        .map_err(Error::io("create", out))?;
    let unfinished = Unfinished(Some(out));
    if let Ok(usage) = sys.usage(out)
        && usage.available < needed
    {
        return Err(Error::NoSpace { path: out.to_owned(), needed, available: usage.available });
    }
    if let Err(error) = sys.run(&command(iso, parts, out)) {
        return Err(explain(sys, error, out, needed));
    }
    // What xorriso says is on the disk must be there before it is read back, or the page cache would answer.
    let file = std::fs::File::open(out).map_err(Error::io("open", out))?;
    file.sync_all().map_err(Error::io("flush", out))?;
    let bytes = file.metadata().map_err(Error::io("read", out))?.len();
    unfinished.finish();
    Ok(bytes)
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |meta| meta.len())
}

/// Removes the ISO unless it was finished.
struct Unfinished<'a>(Option<&'a Path>);

impl Unfinished<'_> {
    fn finish(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A full filesystem is the one failure with an obvious way out, so it gets a sentence of its own.
fn explain(sys: &dyn Sys, error: sys::Error, out: &Path, needed: u64) -> Error {
    let full = match &error {
        sys::Error::Failed { stderr, .. } => {
            stderr.contains("No space left")
                || stderr.contains("exceeds free space")
                || stderr.contains("Disk quota exceeded")
        }
        _ => false,
    };
    let available = sys.usage(out).map_or(0, |usage| usage.available);
    match error {
        sys::Error::Failed { .. } if full || available < (1 << 20) => {
            Error::NoSpace { path: out.to_owned(), needed, available }
        }
        error => Error::Sys(error),
    }
}

fn command(iso: &Iso<'_>, parts: &Parts, out: &Path) -> Cmd {
    let stamp = Stamp::of(iso.created);
    let mut cmd = Cmd::new("xorriso")
        // xorriso takes the dates of what it makes itself (directories, the boot catalog) from here.
        .env("SOURCE_DATE_EPOCH", iso.created.to_string())
        .env("TZ", "UTC")
        .timeout(Duration::from_secs(48 * 3600))
        // No start-up files of the user; no progress on standard error, whose end is kept for messages.
        .args(["-no_rc", "-as", "mkisofs", "-quiet", "-graft-points"])
        // Level 3 allows files of more than 4 GiB, in several extents; Rock Ridge keeps their names.
        .args(["-iso-level", "3", "-R", "-full-iso9660-filenames"])
        .args(["-uid", "0", "-gid", "0", "-dir-mode", "0500", "-file-mode", "0400"])
        .args(["-V", &iso.volume_id, "-A", "REAR RECOVERY MEDIUM", "-publisher", "REAR"])
        .arg(format!("--modification-date={}00", stamp.digits))
        .arg("--set_all_file_dates")
        .arg(format!("{}00", stamp.digits));
    if let Some((_, mbr)) = &parts.bios {
        cmd = cmd
            .arg("--grub2-mbr")
            .arg(mbr.to_string_lossy())
            .args(["-b", ELTORITO, "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"])
            .arg("--grub2-boot-info")
            // Some BIOSes start a disk only if one entry of its first sector is active.
            .arg("--mbr-force-bootable");
    }
    if let Some(efi) = &parts.efi {
        // One copy of the EFI filesystem behind the ISO: El Torito points to it for a CD, the partition table for a
        // disk. The GUID's digits come from the recovery point, so that they are the same for the same inputs.
        cmd = cmd.args([
            "--gpt_disk_guid",
            &iso.id,
            "-appended_part_as_gpt",
            "-append_partition",
            "2",
            ESP_TYPE,
        ]);
        cmd = cmd.arg(efi.to_string_lossy());
        if parts.bios.is_some() {
            cmd = cmd.arg("-eltorito-alt-boot");
        }
        cmd = cmd.args(["-e", "--interval:appended_partition_2:all::", "-no-emul-boot"]);
    }
    // What boots comes before the backup: old firmware reads only the first gigabytes of a disk.
    cmd = cmd.args(["--sort-weight", "10", "/boot"]);
    cmd = cmd.arg("-o").arg(out.to_string_lossy());
    let eltorito = parts.bios.iter().map(|(image, _)| (image, ELTORITO));
    for (source, target) in
        eltorito.chain(parts.files.iter().map(|(source, target)| (source, target.as_str())))
    {
        cmd = cmd.arg(graft(target, source));
    }
    cmd
}

/// `TARGET=SOURCE`, with both signs of this syntax escaped.
fn graft(target: &str, source: &Path) -> String {
    let escape = |text: &str| text.replace('\\', r"\\").replace('=', r"\=");
    format!("{}={}", escape(target), escape(&source.to_string_lossy()))
}

/// A time in the form `YYYYMMDDhhmmss`, in UTC.
struct Stamp {
    digits: String,
}

impl Stamp {
    /// Days to a date by Howard Hinnant's `civil_from_days`.
    fn of(seconds: u64) -> Self {
        let (days, rest) = (seconds / 86_400, seconds % 86_400);
        let z = days + 719_468;
        let (era, day_of_era) = (z / 146_097, z % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
        Self { digits: format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_xorriso_reads_them() {
        assert_eq!(Stamp::of(0).digits, "19700101000000");
        assert_eq!(Stamp::of(1_709_210_096).digits, "20240229123456");
        assert_eq!(Stamp::of(4_102_444_799).digits, "20991231235959");
    }

    #[test]
    fn the_signs_of_the_graft_syntax_are_escaped() {
        assert_eq!(graft("/backup/a=b", Path::new("/srv/x\\y")), r"/backup/a\=b=/srv/x\\y");
    }
}
