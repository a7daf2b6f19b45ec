//! The base machine: a Debian made natively by debootstrap, kept as a folder and as a disk image that helper
//! machines start from. Everything is cached under a name made from all that it depends on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sys::Cmd;

use crate::lab::{Lab, copy, key, make_dir, path, write};
use crate::{Error, Result};

/// Debian's release in the guest.
const SUITE: &str = "bookworm";
const MIRROR: &str = "http://deb.debian.org/debian";

/// What every guest has: enough to boot in both firmware worlds, to hold the filesystems of the scenarios, and to
/// make a rescue medium. `time`, `attr`, `acl` and `rsync` serve the drill itself.
const PACKAGES: &[&str] = &[
    "linux-image-amd64",
    "systemd-sysv",
    "udev",
    "dbus",
    "grub-pc-bin",
    "grub-efi-amd64-bin",
    "grub2-common",
    "xfsprogs",
    "e2fsprogs",
    "dosfstools",
    "fdisk",
    "xorriso",
    "mtools",
    "openssh-server",
    "iproute2",
    "ifupdown",
    "isc-dhcp-client",
    "kmod",
    "efibootmgr",
    "zstd",
    "rsync",
    "attr",
    "acl",
    "libcap2-bin",
    "vim-tiny",
    "less",
    "procps",
    "initramfs-tools",
    "locales",
    "kbd",
    "console-setup",
    "ca-certificates",
    "time",
];

const CONFIGURE: &str = include_str!("../guest/configure.sh");
const AGENT: &str = include_str!("../guest/agent.sh");
const HELPER: &str = include_str!("../guest/helper.sh");
const UNIT: &str = include_str!("../guest/agent.service");
const INITRD: &str = include_str!("../guest/storage-initrd.sh");

/// Which base machine.
#[derive(Clone, Debug, Default)]
pub struct Recipe {
    /// Packages beside those that every guest has.
    pub extra: Vec<String>,
    /// Files that are there before the initramfs is made: absolute path and content.
    pub files: BTreeMap<String, String>,
}

impl Recipe {
    /// The base of this scenario's machine.
    pub fn of(scenario: &crate::Scenario) -> Self {
        Self { extra: scenario.machine.packages.clone(), files: scenario.machine.files.clone() }
    }

    fn tree_key(&self) -> String {
        let words = [SUITE, MIRROR].into_iter().chain(PACKAGES.iter().copied());
        key(words.chain(self.extra.iter().map(String::as_str)).map(str::as_bytes))
    }

    fn base_key(&self) -> String {
        let tree = self.tree_key();
        let fixed = [tree.as_str(), CONFIGURE, AGENT, HELPER, UNIT].into_iter();
        let files = self.files.iter().flat_map(|(path, content)| [path.as_str(), content.as_str()]);
        key(fixed.chain(files).map(str::as_bytes))
    }
}

/// A base machine, ready for use.
#[derive(Clone, Debug)]
pub struct Base {
    /// Its name in the cache.
    pub(crate) key: String,
    dir: PathBuf,
}

impl Base {
    /// Takes the base machine from the cache or makes it (debootstrap: two to three minutes).
    ///
    /// # Errors
    /// A package that cannot be fetched, a program that fails, a full disk.
    pub fn prepare(lab: &Lab, recipe: &Recipe) -> Result<Self> {
        let key = recipe.base_key();
        let dir = lab.cache().join(format!("base-{key}"));
        if !dir.exists() {
            let tree = tree(lab, recipe)?;
            let partial = lab.cache().join(format!("base-{key}.partial"));
            unmount_below(lab, &partial)?;
            remove(&partial)?;
            make_dir(&partial)?;
            lab.say("guest: configuring the base machine");
            configure(lab, &tree, &recipe.files, &partial)?;
            rename(&partial, &dir)?;
        }
        Ok(Self { key, dir })
    }

    /// The base machine, where the cache has it already.
    pub fn cached(lab: &Lab, recipe: &Recipe) -> Option<Self> {
        let key = recipe.base_key();
        let dir = lab.cache().join(format!("base-{key}"));
        dir.exists().then_some(Self { key, dir })
    }

    /// The image of its root filesystem (raw ext4, no partition table).
    pub(crate) fn image(&self) -> PathBuf {
        self.dir.join("root.img")
    }

    /// An initramfs that does no more than mount the root filesystem of a helper machine: it knows nothing of arrays,
    /// groups and containers, and touches none.
    ///
    /// # Errors
    /// A program that fails, a full disk.
    pub(crate) fn plain_initrd(&self, lab: &Lab, recipe: &Recipe) -> Result<PathBuf> {
        const NAME: &str = "storage-initrd.img";
        let file = self.dir.join(format!("{}-{NAME}", key([INITRD.as_bytes()])));
        if !file.exists() {
            let root = tree(lab, recipe)?;
            lab.run(&Cmd::new("/bin/sh").args(["-c", INITRD]).chroot(&root), 5)?;
            let partial = file.with_extension("partial");
            let made = root.join(NAME);
            copy(lab, &made, &partial)?;
            std::fs::remove_file(&made).map_err(sys::Error::io("remove", &made))?;
            rename(&partial, &file)?;
        }
        Ok(file)
    }

    pub(crate) fn kernel(&self) -> PathBuf {
        self.dir.join("vmlinuz")
    }

    pub(crate) fn initrd(&self) -> PathBuf {
        self.dir.join("initrd.img")
    }
}

/// The unconfigured tree: from the cache, or by debootstrap, or (with extra packages) from the plain one.
fn tree(lab: &Lab, recipe: &Recipe) -> Result<PathBuf> {
    let done = lab.cache().join(format!("debian-{}", recipe.tree_key()));
    if done.exists() {
        return Ok(done);
    }
    make_dir(&lab.cache())?;
    let partial = done.with_extension("partial");
    unmount_below(lab, &partial)?;
    remove(&partial)?;
    if recipe.extra.is_empty() {
        lab.say("guest: debootstrap (needs the network, two to three minutes)");
        let include = format!("--include={}", PACKAGES.join(","));
        lab.run(
            &Cmd::new("debootstrap")
                .args(["--variant=minbase", &include, SUITE])
                .arg(path(&partial))
                .arg(MIRROR),
            25,
        )?;
    } else {
        let plain = tree(lab, &Recipe::default())?;
        lab.say(&format!("guest: installing {}", recipe.extra.join(" ")));
        lab.run(&Cmd::new("cp").args(["-a", "--reflink=auto"]).arg(path(&plain)).arg(path(&partial)), 10)?;
        lab.run(&Cmd::new("cp").arg("/etc/resolv.conf").arg(path(&partial.join("etc/resolv.conf"))), 1)?;
        let apt = Cmd::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive").chroot(&partial);
        lab.run(&apt.clone().arg("update"), 10)?;
        lab.run(
            &apt.args(["install", "-y", "--no-install-recommends"]).args(recipe.extra.iter().cloned()),
            20,
        )?;
    }
    unmount_below(lab, &partial)?;
    rename(&partial, &done)?;
    Ok(done)
}

/// Copies the tree, puts files into the copy, configures it in a chroot, and packs it into an image.
fn configure(lab: &Lab, tree: &Path, files: &BTreeMap<String, String>, into: &Path) -> Result<()> {
    let root = into.join("tree");
    lab.run(&Cmd::new("cp").args(["-a", "--reflink=auto"]).arg(path(tree)).arg(path(&root)), 10)?;
    make_dir(&root.join("usr/lib/drill"))?;
    write(&root.join("usr/lib/drill/agent"), AGENT)?;
    write(&root.join("usr/lib/drill/helper"), HELPER)?;
    write(&root.join("lib/systemd/system/drill-agent.service"), UNIT)?;
    for (name, content) in files {
        let file = root.join(name.trim_start_matches('/'));
        make_dir(file.parent().unwrap_or(&root))?;
        write(&file, content)?;
    }
    let script = root.join("configure.sh");
    write(&script, CONFIGURE)?;
    lab.run(&Cmd::new("/bin/sh").arg("/configure.sh").chroot(&root), 10)?;
    std::fs::remove_file(&script).map_err(sys::Error::io("remove", &script))?;

    for (link, name) in [("vmlinuz", "vmlinuz"), ("initrd.img", "initrd.img")] {
        // The links in the root of a Debian are relative.
        copy(lab, &root.join(link), &into.join(name))?;
    }
    let image = into.join("root.img");
    lab.say("guest: packing the base machine's disk");
    let make = Cmd::new("mkfs.ext4").args(["-q", "-F", "-L", "drill-base", "-m", "0", "-d"]);
    lab.run(&make.arg(path(&root)).arg(path(&image)).arg("2G"), 10)?;
    remove(&root)
}

/// debootstrap may leave the kernel's filesystems mounted, and certainly does when it is stopped: nothing may copy
/// or delete through them.
fn unmount_below(lab: &Lab, dir: &Path) -> Result<()> {
    let Ok(dir) = std::fs::canonicalize(dir) else { return Ok(()) };
    let table = lab.sys().read(Path::new("/proc/self/mounts"))?;
    let table = String::from_utf8_lossy(&table);
    let below = table.lines().filter_map(|line| line.split(' ').nth(1)).map(Path::new);
    let mut below: Vec<&Path> = below.filter(|at| at.starts_with(&dir)).collect();
    below.reverse();
    Ok(below.into_iter().try_for_each(sys::mount::unmount)?)
}

fn remove(dir: &Path) -> Result<()> {
    match sys::fs::remove_tree(dir) {
        Err(error) if !error.is_not_found() => Err(error.into()),
        _ => Ok(()),
    }
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to).map_err(|error| Error::Sys(sys::Error::io("rename", from)(error)))
}
