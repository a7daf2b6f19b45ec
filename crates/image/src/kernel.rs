//! Finds the kernel file for a release and makes sure that it boots, that its modules are those that are carried, and
//! that it can unpack our image. Changes nothing.

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

/// The kernel of the rescue system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// Its file, to be opened as it is.
    pub file: PathBuf,
    /// Its release, by which its modules are found.
    pub release: String,
}

/// The kernel file for a release below `root`, or the configured one. It is readable, a real kernel, and of that
/// release, as far as kernels tell (x86 does); a configured one may be of any release whose modules are installed.
///
/// # Errors
/// [`Error::NoKernel`], [`Error::BadKernel`], or [`Error::OtherKernel`] when the modules would not fit.
pub fn find_kernel(
    _sys: &dyn Sys,
    root: &Path,
    release: &str,
    configured: Option<&Path>,
) -> Result<PathBuf, Error> {
    choose(root, release, configured, true).map(|kernel| kernel.file)
}

/// Like [`find_kernel`], with the release; `modules` says whether any will be carried.
pub(crate) fn choose(
    root: &Path,
    release: &str,
    configured: Option<&Path>,
    modules: bool,
) -> Result<Kernel, Error> {
    let none = |looked: String| Error::NoKernel { release: release.to_owned(), looked };
    let other = |path: &Path, found: String| Error::OtherKernel {
        path: path.to_owned(),
        found,
        release: release.to_owned(),
    };
    let host = Host::new(root);
    if let Some(path) = configured {
        if !path.is_file() {
            return Err(none(format!("{} (KERNEL_FILE)", path.display())));
        }
        let found = check_image(path)?.unwrap_or_else(|| release.to_owned());
        if found != release && modules && !host.is_dir(crate::modules::dir(host, &found)) {
            return Err(other(path, found));
        }
        return Ok(Kernel { file: path.to_owned(), release: found });
    }
    let mut looked = Vec::new();
    let mut unfit = None;
    for (before, after) in PLACES {
        let path = format!("{before}{release}{after}");
        if let Some(resolved) = host.resolve(&path).filter(|resolved| host.is_file(&resolved.path)) {
            let file = host.real(&resolved.path);
            match check_image(&file)? {
                // A file that was put there since this kernel was started.
                Some(found) if found != release => {
                    unfit.get_or_insert((file, found));
                }
                _ => return Ok(Kernel { file, release: release.to_owned() }),
            }
        }
        looked.push(path);
    }
    match unfit {
        Some((file, found)) => Err(other(&file, found)),
        None => Err(none(looked.join(", "))),
    }
}

/// A kernel that firmware or a boot loader can start: x86 "bzImage", or for other machines an EFI image,
/// a gzip file or an ELF file. Gives its release, where the file tells it.
fn check_image(path: &Path) -> Result<Option<String>, Error> {
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
    if x86 {
        return Ok(release_of(&file, &head));
    }
    if arm64 || other { Ok(None) } else { Err(bad("it is not a Linux kernel image")) }
}

/// Release of an x86 kernel: the first word of the text to which the field `kernel_version` (0x20e) points, counted
/// from 0x200; 0 means that there is none (Documentation/arch/x86/boot.rst).
fn release_of(file: &File, head: &[u8; 0x210]) -> Option<String> {
    let pointer = u16::from_le_bytes([head[0x20e], head[0x20f]]);
    if pointer == 0 {
        return None;
    }
    let mut text = [0; 256];
    let got = file.read_at(&mut text, u64::from(pointer) + 0x200).ok()?;
    let text = text[..got].split(|byte| *byte == 0 || byte.is_ascii_whitespace()).next()?;
    let release = std::str::from_utf8(text).ok()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+~".contains(c);
    // A release begins with its version; anything else there is none.
    (release.starts_with(|c: char| c.is_ascii_digit()) && release.chars().all(plain))
        .then(|| release.to_owned())
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

    /// A kernel that tells its release.
    fn telling(root: &Path, name: &str, release: &str) -> PathBuf {
        kernel(root, name);
        let path = root.join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[0x20e..0x210].copy_from_slice(&0x400_u16.to_le_bytes());
        let text = format!("{release} (builder@host) #1 SMP\0");
        bytes[0x600..0x600 + text.len()].copy_from_slice(text.as_bytes());
        std::fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn a_kernel_of_another_release_brings_its_own_modules() {
        let dir = tempfile::tempdir().unwrap();
        let path = telling(dir.path(), "other", "6.2.0-rc1+");
        let choose = |configured: Option<&Path>, modules| choose(dir.path(), "6.1.0-1", configured, modules);
        let error = choose(Some(&path), true).unwrap_err().to_string();
        assert!(error.contains("6.2.0-rc1+") && error.contains("6.1.0-1"), "{error}");
        assert_eq!(choose(Some(&path), false).unwrap().release, "6.2.0-rc1+");
        std::fs::create_dir_all(dir.path().join("lib/modules/6.2.0-rc1+")).unwrap();
        assert_eq!(choose(Some(&path), true).unwrap(), Kernel { file: path, release: "6.2.0-rc1+".into() });
        // Found by its name it must be what the name says; the next place may have the right one.
        telling(dir.path(), "boot/vmlinuz-6.1.0-1", "6.2.0-rc1+");
        let error = choose(None, true).unwrap_err();
        assert!(matches!(&error, Error::OtherKernel { .. }), "{error}");
        let right = telling(dir.path(), "usr/lib/modules/6.1.0-1/vmlinuz", "6.1.0-1");
        assert_eq!(choose(None, true).unwrap(), Kernel { file: right, release: "6.1.0-1".into() });
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
