//! Chooses kernel modules with everything they depend on, and writes the indexes for exactly those. Decides from
//! the lists that `depmod` left (`modules.dep` and friends); loads nothing and opens no module.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use crate::host::Host;
use crate::index::Index;
use crate::tree::Tree;
use crate::{Error, Recipe, glob};

/// `all_modules`: directories below `kernel/` from which everything is carried.
#[rustfmt::skip]
const WANTED: &[&str] = &[
    "arch/x86/crypto/", "arch/arm64/crypto/", "arch/powerpc/crypto/", "block/", "crypto/", "lib/", "mm/",
    "drivers/ata/", "drivers/block/", "drivers/cdrom/", "drivers/char/hw_random/", "drivers/char/tpm/",
    "drivers/char/virtio_console", "drivers/crypto/virtio/", "drivers/dax/", "drivers/firewire/",
    "drivers/firmware/", "drivers/gpu/drm/ast/", "drivers/gpu/drm/hyperv/", "drivers/gpu/drm/mgag200/",
    "drivers/gpu/drm/tiny/", "drivers/gpu/drm/virtio/",
    // Keyboards; the rest of that directory is game pads.
    "drivers/hid/hid.", "drivers/hid/hid-generic", "drivers/hid/hid-hyperv", "drivers/hid/hid-apple",
    "drivers/hid/hid-cherry", "drivers/hid/hid-chicony", "drivers/hid/hid-cypress",
    "drivers/hid/hid-ezkey", "drivers/hid/hid-holtek-kbd", "drivers/hid/hid-ite",
    "drivers/hid/hid-keytouch", "drivers/hid/hid-lenovo", "drivers/hid/hid-logitech",
    "drivers/hid/hid-lg-g15", "drivers/hid/hid-microsoft", "drivers/hid/hid-monterey",
    "drivers/hid/hid-multitouch", "drivers/hid/hid-semitek", "drivers/hid/hid-sunplus",
    "drivers/hid/hid-topseed", "drivers/hid/hid-vivaldi", "drivers/hid/i2c-hid/",
    "drivers/hid/surface-hid/", "drivers/hid/usbhid/", "drivers/hv/", "drivers/input/keyboard/",
    "drivers/input/serio/", "drivers/input/evdev", "drivers/md/", "drivers/memstick/", "drivers/message/",
    "drivers/mfd/intel", "drivers/mmc/", "drivers/net/bonding/", "drivers/net/dummy",
    "drivers/net/ethernet/", "drivers/net/fjes/", "drivers/net/hyperv/", "drivers/net/ipvlan/",
    "drivers/net/macvlan", "drivers/net/mdio", "drivers/net/mii", "drivers/net/net_failover",
    "drivers/net/pcs/", "drivers/net/phy/", "drivers/net/team/", "drivers/net/tun", "drivers/net/usb/",
    "drivers/net/virtio_net", "drivers/net/vmxnet3/", "drivers/net/xen-netfront", "drivers/nvdimm/",
    "drivers/nvme/", "drivers/pci/", "drivers/phy/", "drivers/pinctrl/", "drivers/s390/", "drivers/scsi/",
    "drivers/thunderbolt/", "drivers/tty/", "drivers/ufs/", "drivers/usb/class/", "drivers/usb/common/",
    "drivers/usb/core/", "drivers/usb/dwc3/", "drivers/usb/host/", "drivers/usb/phy/",
    "drivers/usb/roles/", "drivers/usb/storage/", "drivers/usb/typec/", "drivers/video/fbdev/hyperv_fb",
    "drivers/virtio/", "drivers/xen/", "fs/", "net/802/", "net/8021q/", "net/bridge/", "net/ipv6/ipv6",
    "net/packet/",
];

/// `all_modules`: left out again. None of this is needed to reach or rebuild a disk.
#[rustfmt::skip]
const UNWANTED: &[&str] = &[
    "drivers/block/null_blk/", "drivers/block/rbd", "drivers/block/zram/",
    "drivers/firmware/efi/efi-pstore", "drivers/firmware/efi/test/", "drivers/scsi/scsi_debug",
    "drivers/thunderbolt/thunderbolt-net", "drivers/usb/class/usblp", "fs/9p/", "fs/adfs/", "fs/afs/",
    "fs/bfs/", "fs/ceph/", "fs/coda/", "fs/dlm/", "fs/ecryptfs/", "fs/efs/", "fs/gfs2/", "fs/jffs2/",
    "fs/nfsd/", "fs/ocfs2/", "fs/orangefs/", "fs/pstore/", "fs/qnx4/", "fs/ubifs/", "lib/test_",
];

/// Large, and useless without their desktop: not even carried when they are loaded, unless named in `MODULES`.
#[rustfmt::skip]
const JUNK: &[&str] = &[
    "sound/", "drivers/media/", "drivers/bluetooth/", "drivers/gpu/drm/amd/", "drivers/gpu/drm/i915/",
    "drivers/gpu/drm/nouveau/", "drivers/gpu/drm/radeon/", "drivers/gpu/drm/xe/", "drivers/net/wireless/",
    "net/bluetooth/",
];

/// Always carried, except with `no_modules`: the medium and the archive are read through these.
#[rustfmt::skip]
const ESSENTIAL: &[&str] = &[
    "ext4", "xfs", "btrfs", "vfat", "nls_cp437", "nls_iso8859-1", "nls_utf8", "nls_ascii", "isofs", "udf",
    "squashfs", "overlay", "loop", "sr_mod", "cdrom", "sd_mod", "sg", "usb-storage", "uas", "dm-mod",
    "dm-thin-pool", "dm-cache", "dm-cache-smq", "dm-raid", "dm-writecache", "dm-mirror", "dm-snapshot",
    "efivarfs", "nfs", "cifs", "af_packet", "ntfs3", "exfat", "f2fs", "jfs", "nilfs2",
    // LUKS: what reads key slots, and what may be needed to open a container that was not open before.
    "dm-crypt", "dm-integrity", "algif_skcipher", "algif_hash", "xts", "cbc", "essiv", "ecb", "sha256", "sha512",
    "hmac", "authenc", "aes", "aesni_intel", "serpent", "twofish", "camellia", "adiantum",
];

/// The modules to carry: link-free, the paths are those of `modules.dep`.
#[derive(Debug, Default)]
pub(crate) struct Selection {
    /// Directory of the kernel's modules, inside the root.
    pub dir: PathBuf,
    /// Module paths, relative to the directory (absolute where depmod wrote them so).
    pub files: BTreeSet<String>,
    deps: Vec<(String, Vec<String>)>,
}

/// What depmod knows of one kernel.
struct Kernel {
    /// Path and dependencies, in depmod's order.
    deps: Vec<(String, Vec<String>)>,
    by_name: HashMap<String, usize>,
    by_path: HashMap<String, usize>,
    builtin: BTreeSet<String>,
    soft: BTreeMap<String, Vec<String>>,
    alias: HashMap<String, Vec<String>>,
}

/// `xhci-pci` and `xhci_pci` are one module.
pub(crate) fn normal(name: &str) -> String {
    name.replace('-', "_")
}

/// Name of the module in a file: `kernel/fs/ext4/ext4.ko.zst` is `ext4`.
fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    normal(file.split(".ko").next().unwrap_or(file))
}

impl Kernel {
    fn read(host: Host<'_>, dir: &Path, release: &str) -> Result<Self, Error> {
        let path = dir.join("modules.dep");
        let missing = || Error::NoModules { release: release.to_owned(), dir: host.real(dir) };
        let text = host.text(&path)?.filter(|text| !text.trim().is_empty()).ok_or_else(missing)?;
        let mut kernel = Self {
            deps: Vec::new(),
            by_name: HashMap::new(),
            by_path: HashMap::new(),
            builtin: BTreeSet::new(),
            soft: BTreeMap::new(),
            alias: HashMap::new(),
        };
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let Some((module, deps)) = line.split_once(':') else {
                return Err(Error::Modules {
                    path: host.real(&path),
                    detail: format!("line '{line}' has no colon"),
                });
            };
            let index = kernel.deps.len();
            kernel.by_name.insert(name_of(module), index);
            kernel.by_path.insert(module.to_owned(), index);
            kernel.deps.push((module.to_owned(), deps.split_whitespace().map(str::to_owned).collect()));
        }
        for line in host.text(dir.join("modules.builtin"))?.unwrap_or_default().lines() {
            kernel.builtin.insert(name_of(line.trim()));
        }
        for line in host.text(dir.join("modules.softdep"))?.unwrap_or_default().lines() {
            let mut words = line.split_whitespace();
            if words.next() == Some("softdep")
                && let Some(name) = words.next()
            {
                let others = words.filter(|word| !word.ends_with(':')).map(str::to_owned);
                kernel.soft.entry(normal(name)).or_default().extend(others);
            }
        }
        for line in host.text(dir.join("modules.alias"))?.unwrap_or_default().lines() {
            // Aliases of devices are patterns with a colon; soft dependencies name plain ones.
            if let Some((alias, name)) = line.strip_prefix("alias ").and_then(|rest| rest.rsplit_once(' '))
                && !alias.contains([':', '*'])
            {
                kernel.alias.entry(normal(alias)).or_default().push(normal(name));
            }
        }
        Ok(kernel)
    }

    /// The module and all that must be loaded with it, as indexes; nothing for an unknown name.
    fn closure(&self, index: usize) -> BTreeSet<usize> {
        let mut all = BTreeSet::new();
        let mut todo = vec![index];
        while let Some(index) = todo.pop() {
            if !all.insert(index) {
                continue;
            }
            let Some((path, deps)) = self.deps.get(index) else { continue };
            todo.extend(deps.iter().filter_map(|dep| self.by_path.get(dep)).copied());
            for soft in self.soft.get(&name_of(path)).into_iter().flatten() {
                todo.extend(self.find(soft));
            }
        }
        all
    }

    /// Modules by name or plain alias.
    fn find(&self, name: &str) -> Vec<usize> {
        let name = normal(name);
        if let Some(index) = self.by_name.get(&name) {
            return vec![*index];
        }
        let named = self.alias.get(&name).into_iter().flatten();
        named.filter_map(|module| self.by_name.get(module)).copied().collect()
    }

    fn knows(&self, name: &str) -> bool {
        self.builtin.contains(&normal(name)) || !self.find(name).is_empty()
    }
}

/// The part of a module path that says what it is for; nothing for third-party modules (`updates/`, `extra/`).
fn purpose(path: &str) -> Option<&str> {
    path.strip_prefix("kernel/").or_else(|| path.split_once("/kernel/").map(|(_, rest)| rest))
}

fn starts_with_any(path: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| path.starts_with(prefix))
}

/// Third-party modules (a vendor's storage driver) come along, except drivers of graphics cards.
fn wanted_by_default(path: &str) -> bool {
    match purpose(path) {
        Some(purpose) => starts_with_any(purpose, WANTED) && !starts_with_any(purpose, UNWANTED),
        None => !starts_with_any(&name_of(path), &["nvidia", "amdgpu", "vboxdrv", "zunicode"]),
    }
}

/// Directory of the modules of a release, if there is one.
pub(crate) fn dir(host: Host<'_>, release: &str) -> PathBuf {
    let dirs = [Path::new("/lib/modules").join(release), Path::new("/usr/lib/modules").join(release)];
    dirs.iter().find(|dir| host.is_dir(dir)).unwrap_or(&dirs[0]).clone()
}

/// Whether `MODULES` asks for no modules at all.
pub(crate) fn none_wanted(recipe: &Recipe<'_>) -> bool {
    recipe.modules.iter().any(|word| word == "no_modules")
}

/// Names of the modules in `/proc/modules`.
fn loaded(host: Host<'_>) -> Result<Vec<String>, Error> {
    let text = host.text("/proc/modules")?.unwrap_or_default();
    Ok(text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

/// Decides which modules are carried.
pub(crate) fn select(recipe: &Recipe<'_>) -> Result<Selection, Error> {
    let host = Host::new(recipe.root);
    let dir = dir(host, &recipe.kernel_release);
    if none_wanted(recipe) {
        return Ok(Selection { dir, ..Selection::default() });
    }
    let kernel = Kernel::read(host, &dir, &recipe.kernel_release)?;
    let keywords = ["all_modules", "loaded_modules", ""];
    let named: Vec<&String> =
        recipe.modules.iter().filter(|word| !keywords.contains(&word.as_str())).collect();
    let all = recipe.modules.iter().any(|word| word == "all_modules")
        || recipe.modules.iter().all(String::is_empty);
    let unknown: BTreeSet<&str> = named
        .iter()
        .copied()
        .chain(&recipe.modules_load)
        // A line of MODULES_LOAD may carry parameters after the name.
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| !kernel.knows(name))
        .collect();
    if !unknown.is_empty() {
        let names = unknown.into_iter().collect::<Vec<_>>().join(", ");
        return Err(Error::UnknownModules { names, release: recipe.kernel_release.clone() });
    }

    let excluded = |index: usize| {
        let name = name_of(&kernel.deps[index].0);
        recipe.exclude_modules.iter().any(|pattern| glob::matches(&normal(pattern), &name))
    };
    // Hard dependencies only: a module whose soft dependency was excluded still loads.
    let usable = |index: usize| {
        let deps = kernel.deps[index].1.iter().filter_map(|dep| kernel.by_path.get(dep));
        !excluded(index) && !deps.copied().any(excluded)
    };
    let junk = |index: usize| {
        let own = purpose(&kernel.deps[index].0).is_some_and(|path| starts_with_any(path, JUNK));
        let deps = kernel.deps[index].1.iter().filter_map(|dep| purpose(dep));
        own || deps.into_iter().any(|path| starts_with_any(path, JUNK))
    };

    let mut chosen = BTreeSet::new();
    if all {
        chosen.extend((0..kernel.deps.len()).filter(|index| wanted_by_default(&kernel.deps[*index].0)));
    }
    let loaded = loaded(host)?;
    chosen.extend(
        loaded
            .iter()
            .map(String::as_str)
            .chain(ESSENTIAL.iter().copied())
            .flat_map(|name| kernel.find(name))
            .filter(|i| !junk(*i)),
    );
    for line in named.iter().copied().chain(&recipe.modules_load) {
        chosen.extend(line.split_whitespace().next().map(|name| kernel.find(name)).unwrap_or_default());
    }
    let files: BTreeSet<String> = chosen
        .into_iter()
        .filter(|index| usable(*index))
        .flat_map(|index| kernel.closure(index))
        .filter(|index| usable(*index))
        .map(|index| kernel.deps[index].0.clone())
        .collect();
    let deps = kernel.deps.into_iter().filter(|(path, _)| files.contains(path)).collect();
    Ok(Selection { dir, files, deps })
}

impl Selection {
    /// A module's path inside the host's root.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    /// Plans the modules and their indexes.
    pub(crate) fn plan(&self, host: Host<'_>, tree: &mut Tree) -> Result<(), Error> {
        if self.files.is_empty() {
            return Ok(());
        }
        for file in &self.files {
            let path = self.path(file);
            // Modules of "weak-updates" are links to another release's directory: carried as files.
            let Some(resolved) = host.resolve(&path) else {
                let detail = format!("it lists {}, which does not exist", path.display());
                return Err(Error::Modules { path: host.real(&self.dir.join("modules.dep")), detail });
            };
            tree.file(path, host.real(&resolved.path), 0o644);
        }
        let order: HashMap<String, u32> =
            (0..).zip(&self.deps).map(|(i, (path, _))| (name_of(path), i)).collect();
        let mut index = Index::default();
        let mut text = String::new();
        for (priority, (path, deps)) in (0..).zip(&self.deps) {
            let line = [std::slice::from_ref(&format!("{path}:")), deps].concat().join(" ");
            index.insert(&name_of(path), &line, priority);
            text.push_str(&line);
            text.push('\n');
        }
        tree.bytes(self.dir.join("modules.dep"), text, 0o644);
        tree.bytes(self.dir.join("modules.dep.bin"), index.bytes(), 0o644);
        for list in ["modules.alias", "modules.symbols"] {
            let mut index = Index::default();
            let mut kept = String::new();
            for line in host.text(self.dir.join(list))?.unwrap_or_default().lines() {
                let Some((alias, name)) = line.strip_prefix("alias ").and_then(|rest| rest.rsplit_once(' '))
                else {
                    continue;
                };
                if let Some(priority) = order.get(&normal(name)) {
                    index.insert(&normal_alias(alias), name, *priority);
                    kept.push_str(line);
                    kept.push('\n');
                }
            }
            tree.bytes(self.dir.join(list), kept, 0o644);
            tree.bytes(self.dir.join(format!("{list}.bin")), index.bytes(), 0o644);
        }
        let devname = host.text(self.dir.join("modules.devname"))?.unwrap_or_default();
        let kept = devname.lines().filter(|line| {
            line.split_whitespace().next().is_some_and(|name| order.contains_key(&normal(name)))
        });
        tree.bytes(
            self.dir.join("modules.devname"),
            kept.fold(String::new(), |all, line| all + line + "\n"),
            0o644,
        );
        let as_they_are = [
            "modules.softdep",
            "modules.weakdep",
            "modules.order",
            "modules.builtin",
            "modules.builtin.bin",
            "modules.builtin.alias.bin",
            "modules.builtin.modinfo",
        ];
        for name in as_they_are {
            let path = self.dir.join(name);
            if let Some(resolved) = host.resolve(&path) {
                tree.file(path, host.real(&resolved.path), 0o644);
            }
        }
        Ok(())
    }
}

/// depmod writes `-` as `_` in the names of the index, but not inside brackets.
fn normal_alias(alias: &str) -> String {
    let mut inside = false;
    alias
        .chars()
        .map(|c| {
            match c {
                '[' => inside = true,
                ']' => inside = false,
                '-' if !inside => return '_',
                _ => {}
            }
            c
        })
        .collect()
}
