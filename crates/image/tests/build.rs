//! Images built from small trees: what is in them, what is never in them, and that equal inputs give equal bytes.
//! The images are read back by a newc reader of their own, written from the kernel's documentation.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use image::{Error, Payload, Recipe, RescueConfig, Ssh};

const RELEASE: &str = "6.1.0-1-test";

/// A host: the programs that every image needs (all of them copies of this machine's `ls`, but for scripts and
/// links), three modules, a kernel.
struct Host {
    dir: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let host = Self { dir: tempfile::tempdir().unwrap() };
        let root = host.root();
        for dir in
            ["usr/bin", "usr/sbin", "usr/lib/systemd", "usr/lib/udev/rules.d", "boot", "etc", "root/.ssh"]
        {
            std::fs::create_dir_all(root.join(dir)).unwrap();
        }
        // Not usr-merged: /bin and /lib are directories of their own.
        std::fs::create_dir_all(root.join("bin")).unwrap();
        std::fs::create_dir_all(root.join("lib")).unwrap();
        let ls = std::fs::canonicalize("/bin/ls").unwrap();
        for library in libraries() {
            let real = std::fs::canonicalize(&library).unwrap();
            let place = root.join(library.strip_prefix("/").unwrap());
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            std::fs::copy(real, place).unwrap();
        }
        std::fs::copy(&ls, root.join("bin/bash")).unwrap();
        for name in
            ["bin/cat", "bin/cp", "bin/ls", "bin/mount", "bin/umount", "usr/bin/lsblk", "usr/sbin/blkid"]
        {
            std::fs::hard_link(root.join("bin/bash"), root.join(name)).unwrap();
        }
        for name in
            ["usr/sbin/sfdisk", "usr/bin/udevadm", "usr/sbin/modprobe", "usr/sbin/ip", "usr/sbin/chroot"]
        {
            host.file(name, "#!/bin/sh\n", 0o755);
        }
        symlink("bash", root.join("bin/sh")).unwrap();
        symlink("../../bin/udevadm", root.join("usr/lib/systemd/systemd-udevd")).unwrap();
        host.file("usr/bin/mawk", "#!/bin/sh\n", 0o755);
        std::fs::create_dir_all(root.join("etc/alternatives")).unwrap();
        symlink("/etc/alternatives/awk", root.join("usr/bin/awk")).unwrap();
        symlink("/usr/bin/mawk", root.join("etc/alternatives/awk")).unwrap();
        host.file("usr/lib/udev/rules.d/60-block.rules", "# block\n", 0o644);
        host.file("usr/lib/udev/rules.d/85-hwclock.rules", "# clock\n", 0o644);
        host.file("etc/passwd", "root:x:0:0::/root:/bin/zsh\nada:x:1000:1000::/home/ada:/bin/sh\n", 0o644);
        host.file("etc/shadow", "root:$6$hosthash:1::::::\n", 0o600);
        host.file("root/.ssh/authorized_keys", "ssh-ed25519 AAAA me\n", 0o600);
        host.file("root/.ssh/id_ed25519", KEY, 0o600);
        let mut kernel = vec![0; 4096];
        kernel[0x202..0x206].copy_from_slice(b"HdrS");
        kernel[0x38..0x3c].copy_from_slice(b"ARMd");
        host.file(format!("boot/vmlinuz-{RELEASE}"), kernel, 0o600);
        host.file(format!("boot/config-{RELEASE}"), "CONFIG_RD_ZSTD=y\n", 0o644);
        for module in [
            "fs/ext4/ext4",
            "fs/jbd2/jbd2",
            "lib/libcrc32c",
            "drivers/media/tv",
            "drivers/net/ethernet/e1000-x",
        ] {
            let path = format!("lib/modules/{RELEASE}/kernel/{module}.ko");
            host.file(
                path,
                module_file(&format!("firmware={}.fw\0", module.rsplit('/').next().unwrap())),
                0o644,
            );
        }
        host.file(
            format!("lib/modules/{RELEASE}/modules.dep"),
            "kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko\nkernel/fs/jbd2/jbd2.ko:\nkernel/lib/libcrc32c.ko:\n\
             kernel/drivers/media/tv.ko:\nkernel/drivers/net/ethernet/e1000-x.ko:\n",
            0o644,
        );
        let alias = "# Aliases\nalias fs-ext4 ext4\nalias pci:v1-d[0-9]* e1000_x\nalias usb:tv tv\n";
        host.file(format!("lib/modules/{RELEASE}/modules.alias"), alias, 0o644);
        host.file(format!("lib/modules/{RELEASE}/modules.softdep"), "softdep ext4 pre: libcrc32c\n", 0o644);
        host.file("lib/firmware/e1000-x.fw", "blob", 0o644);
        host.file("lib/firmware/tv.fw", "blob", 0o644);
        host
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("host")
    }

    fn file(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>, mode: u32) {
        let path = self.root().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn build(&self, change: impl FnOnce(&mut Recipe<'_>)) -> Result<(image::Image, Tree), Error> {
        let rear = self.dir.path().join("rear");
        std::fs::write(&rear, elf_head()).unwrap();
        let root = self.root();
        let mut recipe = recipe(&root, &rear);
        change(&mut recipe);
        let target = self.dir.path().join("initramfs");
        let _ = std::fs::remove_file(&target);
        let result = image::build(&sys::Forbid, &recipe, &target);
        if result.is_err() {
            assert!(!target.exists(), "a failed build leaves nothing");
        }
        let image = result?;
        assert_eq!(std::fs::metadata(&target).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(&target).unwrap().len(), image.initramfs_bytes);
        Ok((image, Tree::read(&target)))
    }
}

const KEY: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n";

/// A 64 bit little-endian ELF head without any segment: a static program, as far as headers tell.
fn elf_head() -> Vec<u8> {
    let mut head = vec![0; 64];
    head[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    head[16] = 2;
    head[18] = 62;
    head
}

/// A module with a section `.modinfo`.
fn module_file(info: &str) -> Vec<u8> {
    let names = b"\0.modinfo\0.shstrtab\0";
    let mut file = elf_head();
    file[16] = 1;
    let info_at = file.len() as u64;
    file.extend(info.as_bytes());
    let names_at = file.len() as u64;
    file.extend(names);
    let table = file.len() as u64;
    for (name, offset, size) in
        [(0, 0, 0), (1_u32, info_at, info.len() as u64), (10, names_at, names.len() as u64)]
    {
        let mut section = vec![0; 64];
        section[..4].copy_from_slice(&name.to_le_bytes());
        section[24..32].copy_from_slice(&offset.to_le_bytes());
        section[32..40].copy_from_slice(&size.to_le_bytes());
        file.extend(section);
    }
    file[40..48].copy_from_slice(&table.to_le_bytes());
    file[58..64].copy_from_slice(&[64, 0, 3, 0, 2, 0]);
    file
}

/// The libraries that `ls` needs on the distributions where these tests run.
fn libraries() -> Vec<PathBuf> {
    let dirs = ["/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib/aarch64-linux-gnu", "/lib"];
    let wanted = [
        "ld-linux-x86-64.so.2",
        "ld-linux-aarch64.so.1",
        "libc.so.6",
        "libselinux.so.1",
        "libpcre2-8.so.0",
        "libcap.so.2",
        "libattr.so.1",
        "libacl.so.1",
        "libpcre.so.3",
        "libdl.so.2",
        "libpthread.so.0",
    ];
    let all = dirs.iter().flat_map(|dir| wanted.iter().map(move |name| Path::new(dir).join(name)));
    all.filter(|path| path.exists()).collect()
}

fn recipe<'r>(root: &'r Path, rear: &Path) -> Recipe<'r> {
    Recipe {
        root,
        kernel_release: RELEASE.to_owned(),
        kernel_file: None,
        rear_binary: rear.to_owned(),
        progs: Vec::new(),
        required_progs: Vec::new(),
        libs: Vec::new(),
        copy_as_is: Vec::new(),
        copy_as_is_exclude: Vec::new(),
        modules: Vec::new(),
        exclude_modules: Vec::new(),
        modules_load: Vec::new(),
        firmware_files: Vec::new(),
        keymap: String::new(),
        ssh: Ssh::Off,
        console_password_hash: None,
        rescue: RescueConfig {
            format: 1,
            hostname: "web.example.org".to_owned(),
            recovery_point: "0123".to_owned(),
            created: 1_700_000_000,
            volume_id: "REAR".to_owned(),
            backup_dir: None,
            network: image::network::Network::default(),
            use_dhcp: None,
            serial_consoles: Vec::new(),
            modules_load: Vec::new(),
            console_password: false,
            ssh: false,
            pre_recovery_script: Vec::new(),
            post_recovery_script: Vec::new(),
            disks_to_be_wiped: Vec::new(),
            exclude_restore: Vec::new(),
            exclude_device_mapping: Vec::new(),
            rebuild_initramfs: None,
            means: image::Means::default(),
        },
        payload: Vec::new(),
        level: 1,
        threads: 2,
        cancel: sys::Cancel::default(),
    }
}

/// An image read back: path to mode and content.
#[derive(Debug, PartialEq)]
struct Tree(BTreeMap<String, (u32, Vec<u8>)>);

impl Tree {
    fn read(path: &Path) -> Self {
        let bytes = zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap();
        let mut entries = BTreeMap::new();
        let mut at = 0;
        loop {
            assert_eq!(&bytes[at..at + 6], b"070701");
            let field = |i: usize| {
                let text = std::str::from_utf8(&bytes[at + 6 + 8 * i..at + 14 + 8 * i]).unwrap();
                usize::from_str_radix(text, 16).unwrap()
            };
            let (mode, size, name_len) = (field(1), field(6), field(11));
            assert_eq!(field(5), 0, "times are fixed");
            let name = String::from_utf8(bytes[at + 110..at + 109 + name_len].to_vec()).unwrap();
            let start = (at + 110 + name_len).next_multiple_of(4);
            if name == "TRAILER!!!" {
                return Self(entries);
            }
            let old = entries.insert(name, (mode.try_into().unwrap(), bytes[start..start + size].to_vec()));
            assert_eq!(old, None);
            at = (start + size).next_multiple_of(4);
        }
    }

    fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    fn text(&self, path: &str) -> String {
        let (_, content) =
            self.0.get(path).unwrap_or_else(|| panic!("{path} is not there: {:?}", self.0.keys()));
        String::from_utf8_lossy(content).into_owned()
    }

    fn mode(&self, path: &str) -> u32 {
        self.0[path].0
    }
}

#[test]
fn the_tree_is_whole_and_merged() {
    let host = Host::new();
    let (image, tree) = host.build(|_| ()).unwrap();
    assert_eq!(tree.text("init"), "/usr/sbin/rear");
    assert_eq!(
        tree.text("usr/sbin/rear").into_bytes(),
        String::from_utf8_lossy(&elf_head()).into_owned().into_bytes()
    );
    assert_eq!(tree.text("bin"), "usr/bin");
    assert_eq!(tree.mode("bin"), 0o120_777);
    assert_eq!(tree.mode("dev/console"), 0o020_600);
    assert_eq!(tree.mode("tmp"), 0o041_777);
    assert_eq!(tree.mode("root"), 0o040_700);
    assert_eq!(tree.mode("."), 0o040_755);
    // From /bin, which is a directory of its own on this host.
    assert_eq!(tree.text("usr/bin/sh"), "/usr/bin/bash");
    assert!(tree.has("usr/bin/ls") && !tree.0.keys().any(|path| path.starts_with("bin/")));
    assert!(tree.0.keys().any(|path| path.ends_with("libc.so.6")));
    // awk by way of the alternatives.
    assert_eq!(tree.text("usr/bin/awk"), "/etc/alternatives/awk");
    assert_eq!(tree.text("etc/alternatives/awk"), "/usr/bin/mawk");
    assert!(tree.has("usr/bin/mawk"));
    assert!(tree.has("usr/lib/udev/rules.d/60-block.rules"));
    assert!(!tree.has("usr/lib/udev/rules.d/85-hwclock.rules"));
    assert_eq!(tree.text("usr/sbin/reboot"), "/usr/sbin/rear");
    assert!(!tree.has("usr/sbin/shutdown"));
    assert!(tree.text("etc/rear/rescue.json").contains("\"hostname\": \"web.example.org\""));
    assert!(image.missing_programs.iter().any(|name| name == "mdadm"));
    assert_eq!(image.kernel, host.root().join(format!("boot/vmlinuz-{RELEASE}")));
}

#[test]
fn no_secret_of_the_host_is_inside() {
    let host = Host::new();
    host.file("usr/sbin/sshd", "#!/bin/sh\n", 0o755);
    host.file("usr/bin/ssh-keygen", "#!/bin/sh\n", 0o755);
    host.file("etc/ssh/ssh_host_rsa_key", KEY, 0o600);
    let hash = "$6$abcdefgh$0123456789012345678901234567890123456789";
    let ssh = Ssh::On { root_password_hash: Some(hash.to_owned()), authorized_keys: true };
    let (_, tree) = host.build(|recipe| recipe.ssh = ssh).unwrap();
    for (path, (_, content)) in &tree.0 {
        let text = String::from_utf8_lossy(content);
        assert!(!text.contains("PRIVATE KEY") && !text.contains("hosthash"), "{path}");
        assert!(!text.contains("ada:"), "{path}");
    }
    assert!(tree.text("etc/shadow").starts_with(&format!("root:{hash}:")));
    assert_eq!(tree.mode("etc/shadow"), 0o100_600);
    assert_eq!(tree.text("root/.ssh/authorized_keys"), "ssh-ed25519 AAAA me\n");
    assert!(tree.text("etc/ssh/sshd_config").contains("PermitRootLogin yes"));
    for (path, mode) in [("etc/shadow-", 0o600), ("etc/gshadow", 0o600), ("etc/rear/local.conf", 0o600)] {
        host.file(path, "secret hosthash\n", mode);
    }
    host.file("etc/rear/cert.d/note", "kept\n", 0o644);
    std::fs::remove_file(host.root().join("etc/ssh/ssh_host_rsa_key")).unwrap();
    symlink("/etc/gshadow", host.root().join("etc/innocent")).unwrap();
    let (image, tree) = host
        .build(|recipe| {
            recipe.copy_as_is.push("/etc/*".to_owned());
            recipe.libs.push("/etc/innocent".to_owned());
        })
        .unwrap();
    for (path, (_, content)) in tree.0.iter().filter(|(path, _)| *path != "etc/passwd") {
        assert!(!String::from_utf8_lossy(content).contains("hosthash"), "{path}");
    }
    assert!(tree.text("etc/shadow").starts_with("root:*:"));
    assert_eq!(tree.text("etc/rear/cert.d/note"), "kept\n");
    assert!(!tree.has("etc/rear/local.conf") && !tree.has("etc/gshadow") && !tree.has("etc/shadow-"));
    for path in ["/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/rear/local.conf"] {
        let said =
            image.warnings.iter().filter(|text| text.starts_with(&format!("{path} is left out"))).count();
        assert_eq!(said, 1, "{path}: {:?}", image.warnings);
    }
    let (_, tree) = host.build(|_| ()).unwrap();
    assert!(tree.text("etc/shadow").starts_with("root:*:"));
    assert!(!tree.has("root/.ssh/authorized_keys") && !tree.has("etc/ssh/sshd_config"));
}

#[test]
fn udev_rules_that_call_what_is_not_carried_stay_behind() {
    let host = Host::new();
    host.file("usr/lib/udev/cdrom_id", "#!/bin/sh\n", 0o755);
    host.file("usr/lib/udev/hwclock-set", "#!/bin/sh\n", 0o755);
    host.file("opt/agent/run", "#!/bin/sh\n", 0o755);
    for (name, text) in [
        ("usr/lib/udev/rules.d/61-cd.rules", "RUN+=\"cdrom_id --eject-media $devnode\"\n"),
        (
            "etc/udev/rules.d/84-clock.rules",
            "KERNEL==\"rtc0\", RUN+=\"/usr/lib/udev/hwclock-set $root/$name\"\n",
        ),
        ("etc/udev/rules.d/90-font.rules", "RUN+=\"/etc/console-setup/cached_setup_font.sh\"\n"),
        ("etc/udev/rules.d/91-agent.rules", "PROGRAM=\"/opt/agent/run %k\", NAME=\"%c\"\n"),
        ("usr/lib/udev/rules.d/55-dm.rules", "IMPORT{program}=\"/sbin/dmsetup info\"\n"),
    ] {
        host.file(name, text, 0o644);
    }
    let (_, tree) = host.build(|_| ()).unwrap();
    let has = |tree: &Tree, name: &str| tree.0.keys().any(|path| path.ends_with(name));
    assert!(has(&tree, "61-cd.rules") && has(&tree, "55-dm.rules") && has(&tree, "60-block.rules"));
    assert!(!has(&tree, "84-clock.rules") && !has(&tree, "hwclock-set") && !has(&tree, "90-font.rules"));
    assert!(!has(&tree, "91-agent.rules"));
    // What the configuration adds counts as well.
    let (_, tree) = host.build(|recipe| recipe.copy_as_is.push("/opt/agent".to_owned())).unwrap();
    assert!(has(&tree, "91-agent.rules"));
}

#[test]
fn programs_by_path_are_required_like_others() {
    let host = Host::new();
    let script = |recipe: &mut Recipe<'_>| recipe.required_progs.push("/root/before".to_owned());
    let error = host.build(script).unwrap_err();
    assert!(matches!(&error, Error::MissingPrograms { names } if names == "/root/before"), "{error}");
    host.file("root/before", "#!/bin/sh\n", 0o700);
    let (_, tree) = host.build(script).unwrap();
    assert_eq!(tree.text("root/before"), "#!/bin/sh\n");
}

#[test]
fn modules_are_those_of_the_configured_kernel() {
    let host = Host::new();
    let mut kernel = vec![0; 4096];
    kernel[0x202..0x206].copy_from_slice(b"HdrS");
    kernel[0x20e] = 0x20;
    kernel[0x220..0x22a].copy_from_slice(b"6.9.1-new ");
    host.file("boot/new", kernel, 0o600);
    let file = host.root().join("boot/new");
    let other = |recipe: &mut Recipe<'_>| recipe.kernel_file = Some(host.root().join("boot/new"));
    if cfg!(target_arch = "x86_64") {
        let error = host.build(other).unwrap_err();
        assert!(matches!(&error, Error::OtherKernel { found, .. } if found == "6.9.1-new"), "{error}");
        host.file("lib/modules/6.9.1-new/modules.dep", "kernel/fs/xfs/xfs.ko:\n", 0o644);
        host.file("lib/modules/6.9.1-new/kernel/fs/xfs/xfs.ko", module_file(""), 0o644);
        let (image, tree) = host.build(other).unwrap();
        assert_eq!((image.kernel, image.modules), (file, 1));
        assert!(tree.has("usr/lib/modules/6.9.1-new/kernel/fs/xfs/xfs.ko"));
    }
}

#[test]
fn a_private_key_stops_the_build() {
    let host = Host::new();
    let error = host.build(|recipe| recipe.copy_as_is.push("/root/.ssh".to_owned())).unwrap_err();
    assert!(matches!(&error, Error::PrivateKey { path } if path.ends_with("id_ed25519")), "{error}");
    let key = Payload { path: "/etc/x".to_owned(), bytes: KEY.into(), mode: 0o644 };
    assert!(matches!(host.build(|recipe| recipe.payload.push(key)), Err(Error::PrivateKey { .. })));
    let (_, tree) = host
        .build(|recipe| {
            recipe.copy_as_is.push("/root/.ssh".to_owned());
            recipe.copy_as_is_exclude.push("/root/.ssh/id_*".to_owned());
        })
        .unwrap();
    assert!(tree.has("root/.ssh/authorized_keys") && !tree.has("root/.ssh/id_ed25519"));
}

#[test]
fn modules_come_with_what_they_need() {
    let host = Host::new();
    let base = format!("usr/lib/modules/{RELEASE}");
    let (image, tree) = host.build(|_| ()).unwrap();
    assert_eq!(image.modules, 4);
    assert_eq!(image.firmware, 1);
    assert!(tree.has("usr/lib/firmware/e1000-x.fw") && !tree.has("usr/lib/firmware/tv.fw"));
    assert!(!tree.has(&format!("{base}/kernel/drivers/media/tv.ko")));
    assert!(!tree.text(&format!("{base}/modules.alias")).contains("tv"));
    assert!(tree.text(&format!("{base}/modules.alias.bin")).contains("e1000_x"));

    // The soft dependency comes along, the network driver does not.
    host.file("proc/modules", "ext4 1 0 - Live 0x0\ntv 1 0 - Live 0x0\n", 0o444);
    let (image, tree) = host.build(|recipe| recipe.modules = vec!["loaded_modules".to_owned()]).unwrap();
    assert_eq!((image.modules, image.firmware), (3, 0));
    assert!(tree.text(&format!("{base}/modules.dep")).contains("ext4.ko: kernel/fs/jbd2/jbd2.ko"));
    // What is named comes, whatever it is; dashes and underscores are the same.
    let named = vec!["tv".to_owned(), "e1000_x".to_owned()];
    assert_eq!(host.build(|recipe| recipe.modules = named).unwrap().0.modules, 5);
    let (image, tree) = host.build(|recipe| recipe.exclude_modules = vec!["jbd2".to_owned()]).unwrap();
    assert_eq!(image.modules, 2);
    assert!(!tree.has(&format!("{base}/kernel/fs/ext4/ext4.ko")));
    assert_eq!(host.build(|recipe| recipe.modules = vec!["no_modules".to_owned()]).unwrap().0.modules, 0);
    let error = host.build(|recipe| recipe.modules_load = vec!["nope opt=1".to_owned()]).unwrap_err();
    assert!(error.to_string().contains("no module nope"), "{error}");
    let firmware = |words: &[&str]| {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        host.build(|recipe| recipe.firmware_files = words).unwrap().0.firmware
    };
    assert_eq!((firmware(&["no"]), firmware(&["all"]), firmware(&["tv*"])), (0, 2, 1));
}

#[test]
fn copies_keep_names_modes_and_links() {
    let host = Host::new();
    host.file("srv/my agent/bin/run", "#!/usr/bin/mawk -f\n", 0o750);
    host.file("srv/my agent/cache/big", "x", 0o644);
    host.file("srv/my agent/-odd name\t", "x", 0o604);
    symlink("bin/run", host.root().join("srv/my agent/link")).unwrap();
    symlink("/no/such", host.root().join("srv/my agent/dangling")).unwrap();
    let (image, tree) = host
        .build(|recipe| {
            recipe.copy_as_is = vec!["/srv/my agent".to_owned(), "/srv/none".to_owned()];
            recipe.copy_as_is_exclude = vec!["/srv/*/cache".to_owned()];
        })
        .unwrap();
    assert_eq!(tree.mode("srv/my agent/bin/run"), 0o100_750);
    assert_eq!(tree.mode("srv/my agent/-odd name\t"), 0o100_604);
    assert_eq!(tree.text("srv/my agent/link"), "bin/run");
    assert!(tree.has("srv/my agent/dangling"));
    assert!(!tree.0.keys().any(|path| path.contains("cache")));
    assert!(image.warnings.iter().any(|warning| warning.contains("/srv/none")), "{:?}", image.warnings);
}

#[test]
fn equal_inputs_give_equal_bytes() {
    let host = Host::new();
    let bytes = |threads| {
        host.build(|recipe| recipe.threads = threads).unwrap();
        std::fs::read(host.dir.path().join("initramfs")).unwrap()
    };
    let first = bytes(1);
    // The order in which a directory lists its files must not matter, nor their times.
    let old = host.root().join("usr/lib/udev/rules.d/60-block.rules");
    let content = std::fs::read(&old).unwrap();
    std::fs::remove_file(&old).unwrap();
    std::fs::write(&old, content).unwrap();
    assert_eq!(first, bytes(3));
}

#[test]
fn all_missing_programs_are_named_before_any_work() {
    let host = Host::new();
    std::fs::remove_file(host.root().join("usr/sbin/ip")).unwrap();
    let required = vec!["mkfs.xfs".to_owned(), "ls".to_owned()];
    let error = host.build(|recipe| recipe.required_progs = required).unwrap_err();
    assert!(error.to_string().contains("not installed: ip, mkfs.xfs."), "{error}");
}

#[test]
fn a_required_program_without_its_library_is_an_error() {
    let host = Host::new();
    for path in libraries() {
        if path.ends_with("libc.so.6") {
            std::fs::remove_file(host.root().join(path.strip_prefix("/").unwrap())).unwrap();
        }
    }
    let error = host.build(|_| ()).unwrap_err();
    assert!(
        matches!(error, Error::MissingLibraries { .. }) && error.to_string().contains("libc.so.6"),
        "{error}"
    );
}

#[test]
fn what_cannot_boot_is_refused() {
    let host = Host::new();
    let error = host.build(|recipe| recipe.kernel_release = "5.0-none".to_owned()).unwrap_err();
    assert!(matches!(error, Error::NoKernel { .. }), "{error}");
    let kernel = host.root().join(format!("boot/vmlinuz-{RELEASE}"));
    host.file("boot/config-6.9-none", "CONFIG_RD_ZSTD=y\n", 0o644);
    let error = host
        .build(|recipe| {
            recipe.kernel_release = "6.9-none".to_owned();
            recipe.kernel_file = Some(kernel);
        })
        .unwrap_err();
    assert!(matches!(error, Error::NoModules { .. }), "{error}");
    let dynamic = std::fs::canonicalize("/bin/ls").unwrap();
    let error = host.build(|recipe| recipe.rear_binary = dynamic).unwrap_err();
    assert!(matches!(error, Error::BadRear { .. }), "{error}");
}

#[test]
fn a_raised_flag_stops_and_leaves_nothing() {
    let host = Host::new();
    let error = host.build(|recipe| recipe.cancel.raise()).unwrap_err();
    assert!(matches!(error, Error::Sys(sys::Error::Cancelled)), "{error}");
}

#[test]
fn an_existing_file_is_never_overwritten() {
    let host = Host::new();
    let rear = host.dir.path().join("rear");
    std::fs::write(&rear, elf_head()).unwrap();
    let target = host.dir.path().join("precious");
    std::fs::write(&target, "old").unwrap();
    let root = host.root();
    assert!(image::build(&sys::Forbid, &recipe(&root, &rear), &target).is_err());
    assert_eq!(std::fs::read(&target).unwrap(), b"old");
}
