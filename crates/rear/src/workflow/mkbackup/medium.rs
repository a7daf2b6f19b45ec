//! The medium side of a recovery point: the rescue system's image and the ISO around it.

use std::io::Write;
use std::path::{Path, PathBuf};

use config::IsoDefault;
use image::{Image, Recipe};
use layout::Bytes;
use medium::{Entry, Expected, Iso, IsoFile, Menu, Serial};

use super::recipe;
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::point::{self, Part, Seal};

/// Name of the initramfs in the working directory.
const INITRAMFS: &str = "initramfs.img";

/// Builds the rescue system.
pub fn image(context: &Context, recipe: &Recipe<'_>, staging: &Path) -> Result<Image> {
    let stage = context.ui.stage("rescue");
    let image = image::build(&context.sys, recipe, &staging.join(INITRAMFS))?;
    if !image.missing_programs.is_empty() {
        context.ui.explain(format!(
            "not on this machine, so not in its rescue system: {}",
            image.missing_programs.join(" ")
        ));
    }
    for warning in &image.warnings {
        context.ui.warn(warning);
    }
    stage.done(format!(
        "{} programs, {} kernel modules, {} firmware files, initramfs {}",
        image.programs,
        image.modules,
        image.firmware,
        Bytes(image.initramfs_bytes)
    ));
    Ok(image)
}

/// Writes the ISO with the parts that lie in `parts_dir` and reads it back. Returns its temporary path and its size in
/// bytes.
pub fn write(
    context: &Context,
    seal: &Seal,
    image: &Image,
    parts_dir: &Path,
    dir_on_medium: &str,
    staging: &Path,
    uefi: bool,
) -> Result<(PathBuf, u64)> {
    let stage = context.ui.stage("medium");
    let seal_text = seal.text()?;
    let seal_path = staging.join(point::SEAL);
    let mut file = sys::fs::create_private(&seal_path)?;
    file.write_all(&seal_text)?;
    file.sync_all()?;

    let target = |name: &str| format!("/{dir_on_medium}/{name}");
    let mut files: Vec<IsoFile> = seal
        .parts
        .iter()
        .map(|part| IsoFile { source: parts_dir.join(&part.name), target: target(&part.name) })
        .collect();
    files.push(IsoFile { source: seal_path, target: target(point::SEAL) });

    let initramfs = staging.join(INITRAMFS);
    let small = staging.join("medium");
    sys::fs::create_dir_private(&small)?;
    let iso = Iso {
        id: seal.id.clone(),
        volume_id: context.settings().iso_volid.clone(),
        kernel: &image.kernel,
        initramfs: &initramfs,
        files,
        menu: menu(context, seal),
        firmware_uefi: uefi,
        created: seal.created,
    };
    let temporary = staging.join("rear.iso");
    stage.note("writing the ISO");
    let written = medium::write(&context.sys, &iso, &small, &temporary)?;
    for warning in &written.warnings {
        context.ui.warn(warning);
    }

    stage.note("reading it back");
    let sealed = Part {
        name: target(point::SEAL),
        bytes: seal_text.len() as u64,
        blake3: blake3::hash(&seal_text).to_hex().to_string(),
    };
    let expected: Vec<Expected> = seal
        .parts
        .iter()
        .map(|part| Part { name: target(&part.name), ..part.clone() })
        .chain([sealed])
        .map(|part| Expected { target: part.name, bytes: part.bytes, blake3: part.blake3 })
        .chain(written.parts)
        .collect();
    medium::read_back(&temporary, &expected, &context.cancel)?;

    stage.done(format!("ISO of {}, read back", Bytes(written.bytes)));
    Ok((temporary, written.bytes))
}

/// Gives the finished ISO its name, in one step. Where this run saved no files (`saves_files`), a previous ISO that holds
/// a backup is kept beside it.
pub fn put(context: &Context, temporary: &Path, out: &Path, saves_files: bool) -> Result<()> {
    let fail = |error: std::io::Error| {
        Failure::failed(format!("cannot rename the finished ISO to {}: {error}", out.display()))
    };
    let last_backup = !saves_files && holds_backup(out);
    if (context.settings().keep_old_output_copy == config::Tristate::Yes || last_backup) && out.exists() {
        // A second name first, so that there is a medium under the usual name at every moment.
        let old = old_name(out);
        let _ = std::fs::remove_file(&old);
        std::fs::hard_link(out, &old).map_err(fail)?;
        if last_backup {
            context.ui.warn(format!(
                "the previous {} holds a backup, and this one holds none: it is kept as {}",
                out.display(),
                old.display()
            ));
        }
    }
    std::fs::rename(temporary, out).map_err(fail)
}

/// Whether this is an ISO with an archive in a directory of its root, where `BACKUP_URL=iso:///DIR` puts it.
fn holds_backup(iso: &Path) -> bool {
    let Ok(volume) = medium::iso9660::Volume::open(iso) else { return false };
    let Ok(Some(names)) = volume.list("/") else { return false };
    let has = |name: &String| match volume.list(&format!("/{name}")) {
        Ok(Some(names)) => names.iter().any(|name| point::is_archive(name)),
        _ => false,
    };
    names.iter().any(has)
}

/// Name of the previous ISO, where it is kept.
pub fn old_name(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".old");
    PathBuf::from(name)
}

fn menu(context: &Context, seal: &Seal) -> Menu {
    let settings = context.settings();
    Menu {
        hostname: seal.hostname.clone(),
        created: utc(seal.created),
        default: match settings.iso_default {
            IsoDefault::Manual => Entry::Recover,
            IsoDefault::Automatic => Entry::Automatic,
            IsoDefault::BootHd => Entry::LocalDisk,
        },
        unattended: settings.iso_recover_unattended,
        timeout: settings.iso_timeout,
        cmdline: recipe::kernel_command_line(context),
        serial: recipe::serial_consoles(context).iter().filter_map(|console| serial(console)).collect(),
    }
}

/// "ttyS1,115200n8" as GRUB counts: unit 1, 115200 bits a second.
fn serial(console: &str) -> Option<Serial> {
    let (device, speed) = console.split_once(',')?;
    let unit = device.strip_prefix("ttyS")?.parse().ok()?;
    let digits: String = speed.chars().take_while(char::is_ascii_digit).collect();
    Some(Serial { unit, speed: digits.parse().ok()? })
}

/// "2026-01-31 04:05 UTC".
pub fn utc(seconds: u64) -> String {
    match jiff::Timestamp::from_second(seconds.cast_signed()) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        Err(_) => format!("{seconds} s since 1970"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_consoles_for_grub() {
        let known = serial("ttyS1,115200n8").unwrap();
        assert_eq!((known.unit, known.speed), (1, 115_200));
        assert!(serial("hvc0,115200").is_none());
    }

    #[test]
    fn an_iso_with_a_backup_is_known_as_one() {
        let dir = tempfile::tempdir().unwrap();
        let (file, iso) = (dir.path().join("x"), dir.path().join("x.iso"));
        std::fs::write(&file, "x").unwrap();
        assert!(!holds_backup(&file) && !holds_backup(&iso));
        for (target, wanted) in
            [("/backup/archive.tar.zst", true), ("/backup/archive.tar", true), ("/backup/layout.json", false)]
        {
            let _ = std::fs::remove_file(&iso);
            let made = std::process::Command::new("xorriso")
                .args(["-as", "mkisofs", "-quiet", "-graft-points", "-o"])
                .arg(&iso)
                .arg(format!("{target}={}", file.display()))
                .output();
            if made.is_err() {
                eprintln!("SKIPPED: xorriso is not installed");
                return;
            }
            assert_eq!(holds_backup(&iso), wanted, "{target}");
        }
    }

    #[test]
    fn times_read_in_utc() {
        assert_eq!(utc(0), "1970-01-01 00:00 UTC");
    }
}
