//! Puts an image into the world as an ISO, and reads back what it wrote.
//!
//! One writer: `xorriso` makes a hybrid ISO that GRUB boots under BIOS and UEFI, from a CD and from a disk onto
//! which it was copied. What it wrote is read back by [`iso9660`], a reader of our own, so that a fault of the
//! writer and one of the reader cannot hide each other. This room decides nothing about the content: it never
//! looks into the kernel, the initramfs or the backup.

mod error;
mod esp;
mod grub;
pub mod iso9660;
mod marker;
mod menu;
mod readback;
mod xorriso;

use std::path::{Path, PathBuf};

use sys::Sys;

pub use error::{Error, Result};
pub use marker::Marker;
pub use menu::{Entry, Menu, Serial};
pub use readback::{Expected, read_back};

/// The kernel's place on the ISO.
pub const KERNEL: &str = "/boot/vmlinuz";
/// The rescue system's place on the ISO.
pub const INITRAMFS: &str = "/boot/initramfs.img";
/// The boot menu's place on the ISO.
pub const GRUB_CFG: &str = "/boot/grub/grub.cfg";

/// A file that goes onto the ISO as it is.
#[derive(Clone, Debug)]
pub struct IsoFile {
    /// Where it is now. A symbolic link is followed.
    pub source: PathBuf,
    /// Its absolute path on the ISO, for example `/backup/archive.tar.zst`.
    pub target: String,
}

/// All that makes one ISO.
#[derive(Clone, Debug)]
pub struct Iso<'a> {
    /// The recovery point's id: 32 hexadecimal digits. GRUB finds its files by the marker `/.rear-ID`, because
    /// volume labels are the same on every medium of a machine.
    pub id: String,
    /// The volume id: up to 32 of `A-Z a-z 0-9 _ - .`.
    pub volume_id: String,
    /// The kernel to boot.
    pub kernel: &'a Path,
    /// The rescue system.
    pub initramfs: &'a Path,
    /// Everything else, usually the parts of the backup.
    pub files: Vec<IsoFile>,
    /// The boot menu.
    pub menu: Menu,
    /// Whether this machine itself boots with UEFI (else with BIOS).
    pub firmware_uefi: bool,
    /// Seconds since 1970: all times on the medium, so that the same inputs give the same bytes.
    pub created: u64,
}

/// What [`write`] made.
#[derive(Clone, Debug)]
pub struct Written {
    /// Size of the ISO in bytes.
    pub bytes: u64,
    /// What the medium cannot do (boot machines of the other firmware mode, Secure Boot), as sentences.
    pub warnings: Vec<String>,
    /// Size and hash of the parts that this room put onto the ISO (kernel, rescue system, menu, marker), to be
    /// given to [`read_back`] together with the caller's own.
    pub parts: Vec<Expected>,
}

/// Pre-flight: says before any work whether [`write`] will find its tools. `firmware_uefi` is what this machine
/// itself boots with.
///
/// # Errors
/// [`Error::Missing`] without `xorriso`, or when the medium could not boot this very machine. What only other
/// machines would need is a warning in the result.
pub fn check(sys: &dyn Sys, firmware_uefi: bool) -> Result<Vec<String>> {
    xorriso::check(sys)?;
    Ok(grub::find(sys, firmware_uefi)?.warnings)
}

/// Writes the ISO to `out` (mode 0600; created, or overwritten where it exists). `staging` is a private
/// directory for small parts; the big files go from their sources straight into the ISO.
///
/// # Errors
/// [`Error::Invalid`] for an impossible name, [`Error::Missing`] as for [`check`], [`Error::NoSpace`] on a full
/// filesystem, else what failed. `out` does not exist after an error.
pub fn write(sys: &dyn Sys, iso: &Iso<'_>, staging: &Path, out: &Path) -> Result<Written> {
    validate(iso)?;
    xorriso::check(sys)?;
    let images = grub::find(sys, iso.firmware_uefi)?;
    let parts = Parts::make(sys, iso, &images, staging)?;
    let bytes = xorriso::write(sys, iso, &parts, out)?;
    Ok(Written { bytes, warnings: images.warnings, parts: parts.expected })
}

/// The small files that are made for one ISO, in the staging directory.
struct Parts {
    /// GRUB for BIOS: its El Torito image and the code for the first sector.
    bios: Option<(PathBuf, PathBuf)>,
    /// The FAT filesystem for UEFI.
    efi: Option<PathBuf>,
    /// All files on the ISO except the El Torito image: source and target.
    files: Vec<(PathBuf, String)>,
    /// What the files of ours must read as later.
    expected: Vec<Expected>,
}

impl Parts {
    fn make(sys: &dyn Sys, iso: &Iso<'_>, images: &grub::Images, staging: &Path) -> Result<Self> {
        let put = |name: &str, bytes: &[u8]| -> Result<PathBuf> {
            let path = staging.join(name);
            std::fs::write(&path, bytes).map_err(Error::io("write", &path))?;
            Ok(path)
        };
        let mut files = vec![
            (sys.canonicalize(iso.kernel)?, KERNEL.to_owned()),
            (sys.canonicalize(iso.initramfs)?, INITRAMFS.to_owned()),
            (put("grub.cfg", menu::grub_cfg(&iso.menu, &iso.id).as_bytes())?, GRUB_CFG.to_owned()),
        ];
        let mut expected = files
            .iter()
            .map(|(source, target)| Expected::of_file(source, target))
            .collect::<Result<Vec<_>>>()?;
        let marker = Marker { id: iso.id.clone(), parts: expected.clone() };
        let (source, target) = (put("marker", marker.text().as_bytes())?, marker::path(&iso.id));
        expected.push(Expected::of_file(&source, &target)?);
        files.push((source, target));
        for file in &iso.files {
            files.push((sys.canonicalize(&file.source)?, file.target.clone()));
        }
        let early = put("early.cfg", grub::early_config(&iso.id).as_bytes())?;
        let bios = match &images.bios {
            Some(bios) => Some(grub::bios_image(sys, bios, &early, staging)?),
            None => None,
        };
        let efi = match &images.efi {
            Some(efi) => {
                let content = grub::efi_content(sys, efi, &iso.id, &early, staging)?;
                let path = staging.join("efi.img");
                esp::write(&path, &content, &iso.id)?;
                Some(path)
            }
            None => None,
        };
        Ok(Self { bios, efi, files, expected })
    }
}

fn validate(iso: &Iso<'_>) -> Result<()> {
    let invalid = |text: String| Err(Error::Invalid(text));
    if iso.id.len() != 32 || !iso.id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return invalid(format!("'{}' is no recovery point id (32 hexadecimal digits)", iso.id));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if iso.volume_id.is_empty() || iso.volume_id.len() > 32 || !iso.volume_id.bytes().all(plain) {
        return invalid(format!(
            "the volume id '{}' (ISO_VOLID) must have 1 to 32 letters, digits, '_', '-' or '.'",
            iso.volume_id
        ));
    }
    let mut seen = std::collections::BTreeSet::new();
    for file in &iso.files {
        let target = file.target.as_str();
        let parts: Vec<&str> = target.split('/').skip(1).collect();
        let fine = target.starts_with('/')
            && target.len() < 1024
            && parts.iter().all(|part| {
                !part.is_empty() && *part != "." && *part != ".." && part.len() <= 240 && !part.contains('\n')
            });
        if !fine {
            return invalid(format!("'{target}' is no usable path on an ISO"));
        }
        if target.starts_with("/boot/") || target.starts_with("/.rear-") || !seen.insert(target) {
            return invalid(format!("the path '{target}' on the ISO is taken already"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
