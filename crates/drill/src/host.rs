//! The host's Debian packages that drills need. Says what is missing; installs only when told to.

use sys::{Cmd, Sys, SysExt};

use crate::Result;

/// Programs (or files) and the Debian packages that bring them.
const NEEDS: &[(&str, &str)] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("qemu-img", "qemu-utils"),
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "ovmf"),
    ("/usr/share/seabios/bios-256k.bin", "seabios"),
    ("debootstrap", "debootstrap"),
    ("mkfs.ext4", "e2fsprogs"),
    ("sfdisk", "fdisk"),
    ("setpriv", "util-linux"),
    ("chroot", "coreutils"),
    ("ssh", "openssh-client"),
];

/// The Debian packages that drills need and that are missing on this host.
pub fn missing_packages(sys: &dyn Sys) -> Vec<String> {
    missing(sys, NEEDS)
}

/// The Debian packages of these programs (or files) that are missing on this host, each as (program, package).
pub fn missing(sys: &dyn Sys, needs: &[(&str, &str)]) -> Vec<String> {
    let there = |what: &str| {
        if what.contains('/') { sys.exists(std::path::Path::new(what)) } else { sys.which(what).is_some() }
    };
    let mut missing: Vec<String> =
        needs.iter().filter(|(what, _)| !there(what)).map(|(_, package)| (*package).to_owned()).collect();
    // qemu-utils from another archive (backports) conflicts with the main archive's qemu-system-x86: the two are
    // installed together, at one version.
    if missing.iter().any(|package| package == "qemu-system-x86")
        && !missing.contains(&"qemu-utils".to_owned())
    {
        missing.push("qemu-utils".to_owned());
    }
    missing
}

/// Installs packages, all qemu packages at the version that Debian 12 has.
///
/// # Errors
/// apt failed: no network, no root, or packages that do not fit together.
pub fn install_packages(sys: &dyn Sys, packages: &[String]) -> Result<()> {
    let apt = Cmd::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive");
    sys.run(&apt.clone().args(["update", "-q"]))?;
    let release = sys.read_opt("/etc/debian_version")?.unwrap_or_default();
    let pinned = packages.iter().map(|package| match package.strip_prefix("qemu-") {
        Some(_) if release.starts_with("12") => format!("{package}=1:7.2*"),
        _ => package.clone(),
    });
    let install = apt.args(["install", "-y", "-q", "--no-install-recommends", "--allow-downgrades"]);
    sys.run(&install.args(pinned))?;
    Ok(())
}
