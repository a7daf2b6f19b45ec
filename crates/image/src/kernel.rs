//! Finds the kernel file for a release and makes sure that it boots and can unpack our image. Changes nothing.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sys::Sys;

use crate::Error;
use crate::host::Host;

/// Where distributions put the kernel of a release, with what stands before and after the release.
const PLACES: [(&str, &str); 9] = [
    ("/boot/vmlinuz-", ""),
    ("/usr/lib/modules/", "/vmlinuz"),
    ("/lib/modules/", "/vmlinuz"),
    ("/boot/vmlinux-", ""),
    ("/boot/Image-", ""),
    ("/boot/kernel-", ""),
    ("/boot/kernel-genkernel-x86_64-", ""),
    ("/lib/modules/", "/Image"),
    ("/boot/vmlinuz-linux-", ""),
];

/// The kernel file for a release below `root`, or the configured one. It is readable and a real kernel.
pub fn find_kernel(
    _sys: &dyn Sys,
    root: &Path,
    release: &str,
    configured: Option<&Path>,
) -> Result<PathBuf, Error> {
    let none = |looked: String| Error::NoKernel { release: release.to_owned(), looked };
    if let Some(path) = configured {
        if !path.is_file() {
            return Err(none(format!("{} (KERNEL_FILE)", path.display())));
        }
        check_image(path)?;
        return Ok(path.to_owned());
    }
    let host = Host::new(root);
    let mut looked = Vec::new();
    for (before, after) in PLACES {
        let path = format!("{before}{release}{after}");
        if let Some(resolved) = host.resolve(&path).filter(|resolved| host.is_file(&resolved.path)) {
            let real = host.real(&resolved.path);
            check_image(&real)?;
            return Ok(real);
        }
        looked.push(path);
    }
    Err(none(looked.join(", ")))
}

/// A kernel that firmware or a boot loader can start: x86 "bzImage", or for other machines an EFI image,
/// a gzip file or an ELF file.
fn check_image(path: &Path) -> Result<(), Error> {
    let bad = |why: &str| Error::BadKernel { path: path.to_owned(), why: why.to_owned() };
    let file = File::open(path).map_err(|error| bad(&format!("it cannot be read ({error})")))?;
    let mut head = [0; 0x210];
    let got = file.read_at(&mut head, 0).map_err(|error| bad(&format!("it cannot be read ({error})")))?;
    if got < head.len() {
        return Err(bad("it is cut off or empty"));
    }
    // The boot protocol's signature (Documentation/arch/x86/boot.rst): "HdrS" at 0x202.
    let x86 = &head[0x202..0x206] == b"HdrS";
    let arm64 = &head[0x38..0x3c] == b"ARMd";
    let other = head.starts_with(b"\x7fELF") || head.starts_with(b"MZ") || head.starts_with(b"\x1f\x8b");
    if cfg!(target_arch = "x86_64") && !x86 {
        return Err(bad("it is not a Linux kernel for this processor (the signature 'HdrS' is missing)"));
    }
    if x86 || arm64 || other { Ok(()) } else { Err(bad("it is not a Linux kernel image")) }
}

/// The kernel must unpack zstd: told by its configuration, or by its age where there is none.
pub(crate) fn check_zstd(host: Host<'_>, release: &str) -> Result<(), Error> {
    let no = |why: String| Err(Error::NoZstd { release: release.to_owned(), why });
    let places = [format!("/boot/config-{release}"), format!("/lib/modules/{release}/config")];
    for place in &places {
        if let Some(text) = host.text(place)? {
            if text.lines().any(|line| line.trim() == "CONFIG_RD_ZSTD=y") {
                return Ok(());
            }
            return no(format!("{place} has no CONFIG_RD_ZSTD=y"));
        }
    }
    let mut numbers =
        release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= (5, 9) {
        tracing::warn!("no configuration of kernel {release} found; its age says that it can unpack zstd");
        return Ok(());
    }
    no(format!("{} is not there to tell, and kernels before 5.9 cannot", places[0]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sys::Forbid;

    fn kernel(root: &Path, name: &str) {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut bytes = vec![0; 4096];
        bytes[0x202..0x206].copy_from_slice(b"HdrS");
        bytes[0x38..0x3c].copy_from_slice(b"ARMd");
        std::fs::write(path, bytes).unwrap();
    }

    #[test]
    fn kernels_are_found_where_distributions_put_them() {
        let dir = tempfile::tempdir().unwrap();
        let error = find_kernel(&Forbid, dir.path(), "6.1.0-1", None).unwrap_err().to_string();
        assert!(error.starts_with("no kernel found") && error.contains("KERNEL_FILE"), "{error}");
        assert!(error.contains("/boot/vmlinuz-6.1.0-1"), "{error}");
        kernel(dir.path(), "usr/lib/modules/6.1.0-1/vmlinuz");
        let found = find_kernel(&Forbid, dir.path(), "6.1.0-1", None).unwrap();
        assert_eq!(found, dir.path().join("usr/lib/modules/6.1.0-1/vmlinuz"));
        kernel(dir.path(), "boot/vmlinuz-6.1.0-1");
        let found = find_kernel(&Forbid, dir.path(), "6.1.0-1", None).unwrap();
        assert_eq!(found, dir.path().join("boot/vmlinuz-6.1.0-1"));
    }

    #[test]
    fn what_is_no_kernel_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vmlinuz");
        let missing = find_kernel(&Forbid, dir.path(), "6", Some(&path)).unwrap_err();
        assert!(matches!(missing, Error::NoKernel { .. }));
        std::fs::write(&path, "").unwrap();
        let error = find_kernel(&Forbid, dir.path(), "6", Some(&path)).unwrap_err().to_string();
        assert!(error.contains("cut off or empty"), "{error}");
        std::fs::write(&path, vec![7; 4096]).unwrap();
        assert!(matches!(find_kernel(&Forbid, dir.path(), "6", Some(&path)), Err(Error::BadKernel { .. })));
    }

    #[test]
    fn zstd_by_configuration_or_age() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::new(dir.path());
        check_zstd(host, "6.1.0-50-amd64").unwrap();
        assert!(check_zstd(host, "4.18.0-553.el8").is_err());
        std::fs::create_dir(dir.path().join("boot")).unwrap();
        std::fs::write(dir.path().join("boot/config-4.18.0-553.el8"), "CONFIG_RD_ZSTD=y\n").unwrap();
        check_zstd(host, "4.18.0-553.el8").unwrap();
        std::fs::write(dir.path().join("boot/config-6.1.0"), "# CONFIG_RD_ZSTD is not set\n").unwrap();
        let error = check_zstd(host, "6.1.0").unwrap_err().to_string();
        assert!(error.contains("CONFIG_RD_ZSTD"), "{error}");
    }
}
