//! What can keep a rescue system from being built, as sentences with a way out.

use std::path::PathBuf;

/// Why there is no rescue image. Nothing of it is left behind.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No kernel file for the release.
    #[error(
        "no kernel found for release {release}; looked for {looked}. Set KERNEL_FILE to the kernel that the rescue \
         system shall boot"
    )]
    NoKernel {
        /// The release asked for.
        release: String,
        /// Every path that was tried.
        looked: String,
    },
    /// The kernel file cannot serve.
    #[error("{} cannot be used as the rescue system's kernel: {why}. Set KERNEL_FILE to a bootable kernel", .path.display())]
    BadKernel {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A kernel whose modules would be of another release.
    #[error(
        "{} is the kernel {found}, whose modules (/lib/modules/{found}) are not installed or not those of the running \
         kernel {release}, so the rescue system would find no disks. Reboot into an installed kernel, or set \
         KERNEL_FILE to one that has its modules installed", .path.display()
    )]
    OtherKernel {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What it should be.
        release: String,
    },
    /// The kernel cannot unpack the image.
    #[error(
        "the kernel {release} cannot unpack a zstd-compressed initramfs ({why}), so the rescue system would not \
         start. Use a kernel with CONFIG_RD_ZSTD=y (Linux 5.9 or later), chosen by KERNEL_FILE"
    )]
    NoZstd {
        /// The release.
        release: String,
        /// How we know.
        why: String,
    },
    /// No modules for the release.
    #[error(
        "there are no kernel modules for release {release} ({} is missing or empty), so the rescue system would \
         find no disks. Reboot into an installed kernel, or set KERNEL_FILE to one that has its modules installed", .dir.display()
    )]
    NoModules {
        /// The release.
        release: String,
        /// Where they should be.
        dir: PathBuf,
    },
    /// Modules that were named do not exist.
    #[error("the kernel {release} has no module {names}; correct MODULES or MODULES_LOAD")]
    UnknownModules {
        /// The names.
        names: String,
        /// The release.
        release: String,
    },
    /// Programs that the recovery needs are not installed.
    #[error(
        "programs that the recovery needs are not installed: {names}. Without them this machine could not be \
         recovered; install the packages that provide them"
    )]
    MissingPrograms {
        /// All of them, separated by commas.
        names: String,
    },
    /// Required programs would not start.
    #[error(
        "programs that the recovery needs would not start in the rescue system: {details}. Install the missing \
         libraries, or name their files in COPY_AS_IS and LIBS"
    )]
    MissingLibraries {
        /// "program needs library" pairs.
        details: String,
    },
    /// A private key was about to be packed.
    #[error(
        "{} holds a private key and would have been packed into the rescue image; no private key is ever put \
         there. Exclude it with COPY_AS_IS_EXCLUDE", .path.display()
    )]
    PrivateKey {
        /// The file on the host.
        path: PathBuf,
    },
    /// A path of the configuration that does not exist.
    #[error("{setting} names {value}, which does not exist on this system; correct or remove it")]
    NotThere {
        /// The setting.
        setting: &'static str,
        /// The value.
        value: String,
    },
    /// A keymap that cannot be found.
    #[error(
        "the keymap '{name}' was not found in {looked}; set KEYMAP to an installed keymap or leave it empty"
    )]
    NoKeymap {
        /// `KEYMAP`.
        name: String,
        /// Directories.
        looked: String,
    },
    /// A file of the kernel's module directory that we do not understand.
    #[error("{} is not as expected: {detail}. Run 'depmod -a' and try again", .path.display())]
    Modules {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A file grew or shrank while it was packed.
    #[error("{} changed while it was being packed; run again when nothing is being installed", .path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A file too large for the archive format.
    #[error("{} is {bytes} bytes; a file in the rescue image must be smaller than 4 GiB. Exclude it with COPY_AS_IS_EXCLUDE", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// `rear` itself is not usable as init.
    #[error("{} cannot be the rescue system's first process: {why}. Use the statically linked release of rear", .path.display())]
    BadRear {
        /// The binary.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The program `ip` is missing.
    #[error(
        "the program 'ip' is not installed, so the network of this machine cannot be recorded; install iproute2 \
         (Debian, SUSE) or iproute (Red Hat)"
    )]
    NoIp,
    /// A password or hash that cannot be used.
    #[error("the password cannot be used: {0}")]
    Password(String),
    /// The machine did not answer.
    #[error(transparent)]
    Sys(#[from] sys::Error),
}

impl Error {
    /// For `map_err`: an I/O error with what was tried on which path.
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let fail = sys::Error::io(what, path);
        move |source| Self::Sys(fail(source))
    }
}
