//! What all commands share: the repository, cargo, the host's packages, the lab for the VMs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use drill::{Catalogue, Lab, Scenario};
use sys::{Cancel, Sys};

/// The target of the release binary: static, so that it runs in every rescue system.
const TARGET: &str = "x86_64-unknown-linux-musl";

/// Programs (or files) against which the unit tests check our own readers and writers, and their Debian packages.
const TEST_NEEDS: &[(&str, &str)] = &[
    ("mkfs.ext4", "e2fsprogs"),
    ("mkfs.xfs", "xfsprogs"),
    ("mkfs.btrfs", "btrfs-progs"),
    ("mkfs.vfat", "dosfstools"),
    ("sfdisk", "fdisk"),
    ("sgdisk", "gdisk"),
    ("parted", "parted"),
    ("xorriso", "xorriso"),
    ("grub-mkimage", "grub-common"),
    ("/usr/lib/grub/i386-pc/cdboot.img", "grub-pc-bin"),
    ("/usr/lib/grub/x86_64-efi/kernel.img", "grub-efi-amd64-bin"),
    ("depmod", "kmod"),
    ("ip", "iproute2"),
    ("zstd", "zstd"),
    ("rsync", "rsync"),
    ("xz", "xz-utils"),
    ("bzip2", "bzip2"),
    ("lz4", "lz4"),
    ("setfacl", "acl"),
    ("getfattr", "attr"),
    ("restic", "restic"),
    ("ntfsclone", "ntfs-3g"),
    ("partclone.vfat", "partclone"),
    ("age", "age"),
    ("ssh-keygen", "openssh-client"),
    ("script", "bsdutils"),
    ("/usr/lib/openssh/sftp-server", "openssh-sftp-server"),
];

/// Bytes that the machines of `cargo xtask test` take at the most (`du` of the folder), and what they take once they are installed.
const NEEDED: u64 = 14 << 30;
const NEEDED_AGAIN: u64 = 8 << 30;

/// The repository and its tools.
pub(crate) struct Shop {
    /// The root of the repository.
    pub(crate) root: PathBuf,
    /// Raised by Ctrl-C.
    pub(crate) cancel: Cancel,
    started: Instant,
}

impl Shop {
    /// Finds the repository and takes over Ctrl-C.
    pub(crate) fn open() -> Result<Self> {
        let root =
            Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask is not in the repository")?;
        Ok(Self { root: root.to_owned(), cancel: Cancel::on_signals()?, started: Instant::now() })
    }

    /// Says something, with the time since the start.
    pub(crate) fn say(&self, line: &str) {
        say(self.started, line);
    }

    /// Installs the packages of the unit tests that are missing, and says so before.
    pub(crate) fn provide_for_tests(&self) -> Result<()> {
        let sys = sys::Real::new(self.cancel.clone());
        self.install(&sys, drill::missing(&sys, TEST_NEEDS))
    }

    /// Installs what builds, and drills if they are wanted, need, and says so before.
    pub(crate) fn provide(&self, vms: bool) -> Result<()> {
        let sys = sys::Real::new(self.cancel.clone());
        let mut missing = if vms { drill::missing_packages(&sys) } else { Vec::new() };
        if sys.which("musl-gcc").is_none() {
            missing.push("musl-tools".to_owned());
        }
        self.install(&sys, missing)
    }

    /// Installs the programs that serve the machines of these scenarios, where they are missing, and says so before.
    pub(crate) fn provide_servers<'a>(
        &self,
        scenarios: impl IntoIterator<Item = &'a Scenario>,
    ) -> Result<()> {
        let sys = sys::Real::new(self.cancel.clone());
        let servers = scenarios.into_iter().filter_map(|scenario| scenario.machine.server.as_ref());
        let needs: Vec<(&str, &str)> = servers
            .filter_map(|server| Some((server.command.first()?.as_str(), server.package.as_str())))
            .collect();
        self.install(&sys, drill::missing(&sys, &needs))
    }

    pub(crate) fn install(&self, sys: &sys::Real, missing: Vec<String>) -> Result<()> {
        if missing.is_empty() {
            return Ok(());
        }
        self.say(&format!("installing with apt: {}", missing.join(" ")));
        if !sys::info::is_root() {
            bail!("root is needed to install {}; run this as root or install them first", missing.join(" "));
        }
        drill::install_packages(sys, &missing).context("the packages could not be installed")
    }

    /// All scenarios of the repository.
    pub(crate) fn catalogue(&self) -> Result<Catalogue> {
        Ok(Catalogue::read(&self.root.join("tests/scenarios"))?)
    }

    /// One scenario by its name.
    pub(crate) fn scenario(&self, name: &str) -> Result<Scenario> {
        let catalogue = self.catalogue()?;
        let names = || catalogue.0.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", ");
        catalogue
            .find(name)
            .cloned()
            .with_context(|| format!("there is no scenario '{name}'; there are {}", names()))
    }

    /// Free bytes of the filesystem that holds this directory.
    pub(crate) fn free(&self, dir: &Path) -> Result<u64> {
        Ok(sys::Real::new(self.cancel.clone()).usage(dir)?.available)
    }

    /// The place where VMs are made. Only one command at a time may use it: the lock is held as long as the
    /// returned value lives.
    pub(crate) fn lab(&self) -> Result<(Lab, sys::lock::Lock)> {
        if !sys::info::is_root() {
            bail!("root is needed to make guests (debootstrap, chroot); run this as root");
        }
        let dir = self.root.join("target/drill");
        let needed = if dir.join("cache").exists() { NEEDED_AGAIN } else { NEEDED };
        std::fs::create_dir_all(&dir)?;
        let free = self.free(&dir)?;
        if free < needed {
            bail!(
                "{} has {} GiB free, and virtual machines need {} GiB; make room or remove what earlier ones left there",
                dir.display(),
                free >> 30,
                needed >> 30
            );
        }
        let lock = sys::lock::Lock::take(&dir.join("lock"))?;
        let started = self.started;
        Ok((Lab::new(dir, self.cancel.clone(), move |line| say(started, line)), lock))
    }

    /// Runs cargo in the repository, its output to the terminal.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Result<()> {
        self.cancel.check()?;
        self.say(&format!("cargo {}", arguments.join(" ")));
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo).args(arguments).current_dir(&self.root).status()?;
        self.cancel.check()?;
        if !status.success() {
            bail!("'cargo {}' failed", arguments.join(" "));
        }
        Ok(())
    }

    /// Builds the static release binary and gives its path.
    pub(crate) fn build(&self) -> Result<PathBuf> {
        self.provide(false)?;
        self.target()?;
        self.cargo(&["build", "--quiet", "--release", "--target", TARGET, "-p", "rear"])?;
        Ok(self.built("rear"))
    }

    /// Builds the static program of the storage drill and gives its path.
    pub(crate) fn build_recreate(&self) -> Result<PathBuf> {
        self.provide(false)?;
        self.target()?;
        let build =
            ["build", "--quiet", "--release", "--target", TARGET, "-p", "apply", "--example", "recreate"];
        self.cargo(&build)?;
        Ok(self.built("examples/recreate"))
    }

    /// Builds the static program of the engine's measurement, with the libraries as the product has them, and gives its path.
    pub(crate) fn build_bench(&self) -> Result<[PathBuf; 2]> {
        self.provide(false)?;
        self.target()?;
        let build = [
            "build",
            "--quiet",
            "--release",
            "--target",
            TARGET,
            "-p",
            "rear",
            "-p",
            "backup",
            "-p",
            "repository",
            "--example",
            "bench",
            "--example",
            "bench_repository",
        ];
        self.cargo(&build)?;
        Ok([self.built("examples/bench"), self.built("examples/bench_repository")])
    }

    /// Where cargo puts a static release binary.
    fn built(&self, name: &str) -> PathBuf {
        let dir = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
        // Cargo runs in the repository: a relative folder is below it.
        self.root.join(dir).join(TARGET).join("release").join(name)
    }

    /// The place of the storage drill: it changes nothing that others use, so it needs no lock.
    pub(crate) fn storage_lab(&self) -> Lab {
        let started = self.started;
        Lab::new(self.root.join("target/drill"), self.cancel.clone(), move |line| say(started, line))
    }

    /// Adds the target to the toolchain where it is missing.
    fn target(&self) -> Result<()> {
        let sysroot = Command::new("rustc").args(["--print", "sysroot"]).current_dir(&self.root).output()?;
        let sysroot = String::from_utf8_lossy(&sysroot.stdout).trim().to_owned();
        if Path::new(&sysroot).join("lib/rustlib").join(TARGET).exists() {
            return Ok(());
        }
        self.say(&format!("installing with rustup: the target {TARGET}"));
        let status = Command::new("rustup").args(["target", "add", TARGET]).current_dir(&self.root).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            _ => bail!("the target {TARGET} is not installed; run 'rustup target add {TARGET}'"),
        }
    }
}

fn say(started: Instant, line: &str) {
    let seconds = started.elapsed().as_secs();
    println!("[{:>2}:{:02}] {line}", seconds / 60, seconds % 60);
}
