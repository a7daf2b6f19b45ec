//! Finds GRUB's parts on this host and makes its images. Never writes the medium, and never takes a GRUB from
//! anywhere but this host's own packages.
//!
//! BIOS: one core image with all modules that the menu needs, behind `cdboot.img` (El Torito), and
//! `boot_hybrid.img` for the first sector. UEFI: the distribution's signed shim and GRUB where both are installed
//! (they boot with and without Secure Boot), else an image of our own.

use std::path::{Path, PathBuf};

use sys::{Cmd, Sys};

use crate::{Error, Result};

/// Where distributions install GRUB's modules: Debian, Fedora and RHEL; older SUSE; newer SUSE.
const MODULE_DIRS: [&str; 3] = ["/usr/lib/grub", "/usr/lib/grub2", "/usr/share/grub2"];
/// The same program under its two names.
const MKIMAGE: [&str; 2] = ["grub-mkimage", "grub2-mkimage"];
/// What the menu needs in both firmware modes. Without a module directory on the medium nothing is loaded later.
const MODULES: [&str; 24] = [
    "normal",
    "configfile",
    "search",
    "search_fs_file",
    "iso9660",
    "part_gpt",
    "part_msdos",
    "fat",
    "linux",
    "chain",
    "regexp",
    "test",
    "true",
    "echo",
    "sleep",
    "ls",
    "cat",
    "minicmd",
    "terminal",
    "terminfo",
    "serial",
    "reboot",
    "halt",
    "gzio",
];
const BIOS_MODULES: [&str; 2] = ["biosdisk", "drivemap"];
const EFI_MODULES: [&str; 2] = ["all_video", "video"];
const BIOS_PACKAGES: &str = "'grub-pc-bin' (Debian, Ubuntu), 'grub2-pc-modules' (Fedora, RHEL) or \
                             'grub2-i386-pc' (SUSE)";
const EFI_PACKAGES: &str = "'grub-efi-amd64-bin' (Debian, Ubuntu), 'grub2-efi-x64-modules' (Fedora, RHEL) or \
                            'grub2-x86_64-efi' (SUSE)";
const SIGNED_PACKAGES: &str = "'shim-signed' and 'grub-efi-amd64-signed' (Debian, Ubuntu), 'shim-x64' and \
                               'grub2-efi-x64-cdboot' (Fedora, RHEL) or 'shim' and 'grub2-x86_64-efi' (SUSE)";
const SECURE_BOOT: &str = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// What GRUB can be made into on this host.
#[derive(Debug)]
pub(crate) struct Images {
    pub(crate) bios: Option<Modules>,
    pub(crate) efi: Option<Efi>,
    pub(crate) warnings: Vec<String>,
}

/// A module directory, and the program that makes images of it.
#[derive(Clone, Debug)]
pub(crate) struct Modules {
    mkimage: String,
    dir: PathBuf,
}

/// GRUB for UEFI.
#[derive(Debug)]
pub(crate) enum Efi {
    /// Built here.
    Own(Modules),
    /// The distribution's signed programs.
    Signed(Signed),
}

/// The distribution's signed programs, with the name under which shim looks for each beside itself.
#[derive(Debug)]
pub(crate) struct Signed {
    shim: PathBuf,
    grub: (PathBuf, &'static str),
    mok_manager: Option<(PathBuf, &'static str)>,
    /// Name of the directory below `/EFI` where this GRUB may look for its configuration.
    vendor: String,
}

/// Runs in GRUB before the menu: finds the volume with our marker, wherever the firmware put it.
pub(crate) fn early_config(id: &str) -> String {
    format!(
        "search --no-floppy --set=root --file {}\nset prefix=($root)/boot/grub\n",
        crate::marker::path(id)
    )
}

/// Looks for everything. What this machine's own firmware mode needs is an error when missing, else a warning.
pub(crate) fn find(sys: &dyn Sys, firmware_uefi: bool) -> Result<Images> {
    let mut warnings = Vec::new();
    let mkimage = MKIMAGE.into_iter().find(|name| sys.which(name).is_some());
    let modules = |target: &str, needed: &[&str]| {
        let dir = MODULE_DIRS
            .iter()
            .map(|dir| Path::new(dir).join(target))
            .find(|dir| needed.iter().all(|name| sys.exists(&dir.join(name))))?;
        Some(Modules { mkimage: mkimage?.to_owned(), dir })
    };
    let bios = modules("i386-pc", &["kernel.img", "cdboot.img", "boot_hybrid.img", "biosdisk.mod"]);
    if bios.is_none() {
        if !firmware_uefi {
            return Err(Error::Missing {
                what:
                    "GRUB's files for BIOS (i386-pc) or its image tool are not there, and this machine boots \
                       with BIOS"
                        .into(),
                install: BIOS_PACKAGES.into(),
            });
        }
        warnings.push(format!(
            "the medium will boot UEFI machines only (this one is): GRUB's files for BIOS are not there; for a \
             medium that boots both, install {BIOS_PACKAGES}"
        ));
    }
    let secure_boot = secure_boot(sys);
    let efi = match signed(sys) {
        Some(signed) => Some(Efi::Signed(signed)),
        None if secure_boot => {
            return Err(Error::Missing {
                what: "Secure Boot is on in this machine, and the signed boot programs are not there".into(),
                install: SIGNED_PACKAGES.into(),
            });
        }
        None => modules("x86_64-efi", &["kernel.img", "chain.mod"]).map(Efi::Own),
    };
    match &efi {
        None if firmware_uefi => {
            return Err(Error::Missing {
                what: "GRUB's files for UEFI (x86_64-efi) or its image tool are not there, and this machine \
                       boots with UEFI"
                    .into(),
                install: EFI_PACKAGES.into(),
            });
        }
        None => warnings.push(format!(
            "the medium will boot BIOS machines only (this one is): GRUB's files for UEFI are not there; for a \
             medium that boots both, install {EFI_PACKAGES}"
        )),
        Some(Efi::Own(_)) if firmware_uefi => warnings.push(format!(
            "the medium will boot with UEFI only while Secure Boot is off (as it is here): the signed boot \
             programs are not there; for Secure Boot, install {SIGNED_PACKAGES}"
        )),
        Some(_) => {}
    }
    Ok(Images { bios, efi, warnings })
}

/// Whether this machine was started with Secure Boot on. The variable's value follows 4 bytes of attributes
/// (Linux, Documentation/filesystems/efivarfs.rst).
fn secure_boot(sys: &dyn Sys) -> bool {
    sys.read(Path::new(SECURE_BOOT)).is_ok_and(|bytes| bytes.get(4) == Some(&1))
}

/// The distribution's signed shim and GRUB. Both must really carry a signature: what `grub-install` builds lies
/// under the same name in some ESPs, and looks for its modules on the machine's own disk.
fn signed(sys: &dyn Sys) -> Option<Signed> {
    let path = |text: &str| Some(PathBuf::from(text)).filter(|path| sys.exists(path));
    let is_signed = |path: &Path| sys.read(path).is_ok_and(|bytes| has_signature(&bytes));
    // Debian and Ubuntu: GRUB's CD image looks for /boot/grub/grub.cfg on the volume it came from.
    if let Some(shim) =
        path("/usr/lib/shim/shimx64.efi.signed").or_else(|| path("/usr/lib/shim/shimx64.efi.signed.latest"))
        && let Some(grub) = path("/usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed")
        && is_signed(&shim)
        && is_signed(&grub)
    {
        let mok_manager = path("/usr/lib/shim/mmx64.efi.signed").or_else(|| path("/usr/lib/shim/mmx64.efi"));
        return Some(Signed {
            shim,
            grub: (grub, "grubx64.efi"),
            mok_manager: mok_manager.map(|path| (path, "mmx64.efi")),
            vendor: "debian".into(),
        });
    }
    // SUSE: shim looks for names of its own.
    if let Some(shim) = path("/usr/share/efi/x86_64/shim.efi")
        && let Some(grub) =
            path("/usr/share/efi/x86_64/grub.efi").or_else(|| path("/usr/share/grub2/x86_64-efi/grub.efi"))
        && is_signed(&shim)
        && is_signed(&grub)
    {
        return Some(Signed {
            shim,
            grub: (grub, "grub.efi"),
            mok_manager: path("/usr/share/efi/x86_64/MokManager.efi").map(|path| (path, "MokManager.efi")),
            vendor: "opensuse".into(),
        });
    }
    // Fedora, RHEL and their relatives install the signed programs right into the ESP.
    let esp = Path::new("/boot/efi/EFI");
    for vendor in sys.list(esp).unwrap_or_default() {
        let dir = esp.join(&vendor);
        let shim = dir.join("shimx64.efi");
        let grub =
            ["gcdx64.efi", "grubx64.efi"].iter().map(|name| dir.join(name)).find(|path| is_signed(path));
        if let Some(grub) = grub
            && is_signed(&shim)
        {
            let mok_manager = Some(dir.join("mmx64.efi")).filter(|path| sys.exists(path));
            return Some(Signed {
                shim,
                grub: (grub, "grubx64.efi"),
                mok_manager: mok_manager.map(|path| (path, "mmx64.efi")),
                vendor,
            });
        }
    }
    None
}

/// Whether a PE32+ program carries a signature: its certificate table (data directory 4) is not empty
/// (Microsoft, "PE Format").
fn has_signature(pe: &[u8]) -> bool {
    let u32_at = |at: usize| {
        pe.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes).unwrap_or(0)
    };
    let header = u32_at(0x3c) as usize;
    // Signature (4) and COFF header (20), then the optional header: its data directories begin at 112.
    pe.starts_with(b"MZ")
        && pe.get(header..header + 4) == Some(b"PE\0\0")
        && pe.get(header + 24..header + 26) == Some(&0x20b_u16.to_le_bytes())
        && u32_at(header + 24 + 112 + 4 * 8 + 4) > 0
}

fn mkimage(modules: &Modules, format: &str, early: &Path, out: &Path, extra: &[&str]) -> Cmd {
    Cmd::new(&modules.mkimage)
        .args(["-O", format, "-p", "/boot/grub", "-d"])
        .arg(modules.dir.to_string_lossy())
        .arg("-c")
        .arg(early.to_string_lossy())
        .arg("-o")
        .arg(out.to_string_lossy())
        .args(extra.iter().chain(&MODULES).copied())
}

/// Makes GRUB's El Torito image for BIOS; returns it and the code for the ISO's first sector.
pub(crate) fn bios_image(
    sys: &dyn Sys,
    modules: &Modules,
    early: &Path,
    staging: &Path,
) -> Result<(PathBuf, PathBuf)> {
    let core = staging.join("core.img");
    sys.run(&mkimage(modules, "i386-pc", early, &core, &BIOS_MODULES))?;
    let mut image = read(&modules.dir.join("cdboot.img"))?;
    image.extend(read(&core)?);
    let path = staging.join("eltorito.img");
    std::fs::write(&path, image).map_err(Error::io("write", &path))?;
    Ok((path, modules.dir.join("boot_hybrid.img")))
}

/// The files of the EFI filesystem, by their paths in it.
pub(crate) fn efi_content(
    sys: &dyn Sys,
    efi: &Efi,
    id: &str,
    early: &Path,
    staging: &Path,
) -> Result<Vec<(String, Vec<u8>)>> {
    match efi {
        Efi::Own(modules) => {
            let image = staging.join("bootx64.efi");
            sys.run(&mkimage(modules, "x86_64-efi", early, &image, &EFI_MODULES))?;
            Ok(vec![("EFI/BOOT/BOOTX64.EFI".into(), read(&image)?)])
        }
        Efi::Signed(signed) => {
            let mut files = vec![
                ("EFI/BOOT/BOOTX64.EFI".to_owned(), read(&signed.shim)?),
                (format!("EFI/BOOT/{}", signed.grub.1), read(&signed.grub.0)?),
            ];
            if let Some((path, name)) = &signed.mok_manager {
                files.push((format!("EFI/BOOT/{name}"), read(path)?));
            }
            // A signed GRUB cannot be given an early configuration; it reads one from where it was built to look.
            let config = format!("{}configfile $prefix/grub.cfg\n", early_config(id)).into_bytes();
            for dir in ["boot/grub".to_owned(), "EFI/BOOT".to_owned(), format!("EFI/{}", signed.vendor)] {
                let path = format!("{dir}/grub.cfg");
                if !files.iter().any(|(other, _)| other.eq_ignore_ascii_case(&path)) {
                    files.push((path, config.clone()));
                }
            }
            Ok(files)
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(Error::io("read", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_grub_the_own_mode_is_an_error() {
        let error = find(&sys::Forbid, false).unwrap_err().to_string();
        assert!(error.contains("'grub-pc-bin' (Debian, Ubuntu)"), "{error}");
        let error = find(&sys::Forbid, true).unwrap_err().to_string();
        assert!(error.contains("grub-efi-amd64-bin"), "{error}");
    }

    #[test]
    fn only_a_certificate_table_is_a_signature() {
        let mut pe = vec![0_u8; 512];
        pe[..2].copy_from_slice(b"MZ");
        pe[0x3c] = 0x80;
        pe[0x80..0x84].copy_from_slice(b"PE\0\0");
        pe[0x98..0x9a].copy_from_slice(&[0x0b, 0x02]);
        assert!(!has_signature(&pe));
        pe[0x98 + 112 + 36] = 1;
        assert!(has_signature(&pe));
        assert!(!has_signature(&pe[..100]));
        assert!(!has_signature(b"MZ"));
    }
}
