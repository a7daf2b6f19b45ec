//! Reads what a `grub.cfg` or a boot loader entry starts. Pure text; never runs GRUB's script language, so what stands in
//! variables is left out.

/// One kernel to start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Start {
    /// Path of the kernel, as GRUB sees it.
    pub(crate) kernel: String,
    /// The kernel's command line.
    pub(crate) options: Vec<String>,
    /// Paths of the initramfs, as GRUB sees them.
    pub(crate) initrds: Vec<String>,
}

/// What a configuration says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Config {
    /// UUIDs of filesystems that are searched for (`search --fs-uuid`).
    pub(crate) uuids: Vec<String>,
    /// Kernels in the order of the menu.
    pub(crate) starts: Vec<Start>,
}

/// Reads `grub.cfg`.
pub(crate) fn parse(text: &str) -> Config {
    let mut config = Config::default();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().map(|word| word.trim_matches(['\'', '"'])).collect();
        match words.split_first() {
            Some((&"search" | &"search.fs_uuid", arguments)) => {
                if !(words[0] == "search.fs_uuid"
                    || arguments.contains(&"--fs-uuid")
                    || arguments.contains(&"-u"))
                {
                    continue;
                }
                let uuid = arguments.iter().find(|word| is_uuid(word)).map(|word| (*word).to_owned());
                if let Some(uuid) = uuid.filter(|uuid| !config.uuids.contains(uuid)) {
                    config.uuids.push(uuid);
                }
            }
            Some((&"linux" | &"linux16" | &"linuxefi", [kernel, options @ ..])) => {
                config.starts.push(Start {
                    kernel: plain_path(kernel),
                    options: options.iter().map(|word| (*word).to_owned()).collect(),
                    initrds: Vec::new(),
                })
            }
            Some((&"initrd" | &"initrd16" | &"initrdefi", paths)) => {
                if let Some(start) = config.starts.last_mut() {
                    start.initrds.extend(paths.iter().map(|path| plain_path(path)));
                }
            }
            _ => {}
        }
    }
    // A kernel in a variable, or a memory test with neither options nor initramfs, is nothing to follow.
    config.starts.retain(|start| start.kernel.starts_with('/') && !start.kernel.contains('$'));
    config.starts.retain(|start| !start.options.is_empty() || !start.initrds.is_empty());
    for start in &mut config.starts {
        start.initrds.retain(|path| !path.contains('$'));
    }
    config
}

/// Reads a file of the Boot Loader Specification (`loader/entries/*.conf`).
pub(crate) fn parse_entry(text: &str) -> Option<Start> {
    let mut start = Start::default();
    for line in text.lines() {
        let Some((key, value)) = line.trim().split_once(char::is_whitespace) else { continue };
        match key {
            "linux" => start.kernel = value.trim().to_owned(),
            "initrd" => start
                .initrds
                .extend(value.split_whitespace().filter(|path| !path.contains('$')).map(str::to_owned)),
            "options" => start.options.extend(value.split_whitespace().map(str::to_owned)),
            _ => {}
        }
    }
    (!start.kernel.is_empty()).then_some(start)
}

/// Without the device in parentheses, which a `search` set before.
fn plain_path(path: &str) -> String {
    match path.split_once(')') {
        Some((device, rest)) if device.starts_with('(') => rest.to_owned(),
        _ => path.to_owned(),
    }
}

/// A filesystem UUID, or the 8 digits of FAT.
fn is_uuid(word: &str) -> bool {
    let digits = word.chars().filter(char::is_ascii_hexdigit).count();
    let dashes = word.chars().filter(|c| *c == '-').count();
    digits + dashes == word.len() && matches!((digits, dashes), (32, 4) | (8, 1) | (16, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_debian_menu_names_its_kernels() {
        let config = parse(
            "insmod part_gpt\n\
             search --no-floppy --fs-uuid --set=root 0f3b1e3c-4a5e-4d2a-9c1b-0e7f5a2d3c4b\n\
             menuentry 'Debian GNU/Linux' --class debian $menuentry_id_option 'gnulinux-simple' {\n\
             \tif [ x$feature_platform_search_hint = xy ]; then\n\
             \t  search --no-floppy --fs-uuid --set=root --hint-bios=hd0,gpt2  0f3b1e3c-4a5e-4d2a-9c1b-0e7f5a2d3c4b\n\
             \tfi\n\
             \tlinux\t/boot/vmlinuz-6.1.0-50-amd64 root=UUID=0f3b1e3c-4a5e-4d2a-9c1b-0e7f5a2d3c4b ro  quiet\n\
             \tinitrd\t/boot/initrd.img-6.1.0-50-amd64\n}\n\
             menuentry 'memtest' {\n linux16 /boot/memtest86+.bin\n}\n\
             menuentry 'variable' {\n linux ($root)$kernel root=/dev/sda\n}\n",
        );
        assert_eq!(config.uuids, ["0f3b1e3c-4a5e-4d2a-9c1b-0e7f5a2d3c4b"]);
        assert_eq!(config.starts.len(), 1);
        assert_eq!(config.starts[0].kernel, "/boot/vmlinuz-6.1.0-50-amd64");
        assert_eq!(config.starts[0].initrds, ["/boot/initrd.img-6.1.0-50-amd64"]);
        assert_eq!(config.starts[0].options[0], "root=UUID=0f3b1e3c-4a5e-4d2a-9c1b-0e7f5a2d3c4b");
    }

    #[test]
    fn an_entry_file_names_its_kernel() {
        let start = parse_entry(
            "title Red Hat\nversion 5.14\nlinux /vmlinuz-5.14\ninitrd /initramfs-5.14.img $tuned_initrd\noptions \
             root=/dev/mapper/rhel-root ro\n",
        )
        .unwrap();
        assert_eq!(start.kernel, "/vmlinuz-5.14");
        assert_eq!(start.initrds, ["/initramfs-5.14.img"]);
        assert_eq!(start.options, ["root=/dev/mapper/rhel-root", "ro"]);
        assert_eq!(parse_entry("title x\n"), None);
    }
}
