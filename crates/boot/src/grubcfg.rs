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
    /// Whether the menu begins with entry files (`blscfg`).
    pub(crate) entry_files: bool,
}

/// Reads `grub.cfg`: all kernels, those of the default entry first, and the filesystems that the default entry and the
/// part outside of all entries search for. What other entries need (other systems, removable disks) is their own.
pub(crate) fn parse(text: &str) -> Config {
    let mut config = Config::default();
    let mut uuids: Vec<(Option<usize>, String)> = Vec::new();
    let mut starts: Vec<(Option<usize>, Start)> = Vec::new();
    let mut menu = Menu::default();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().map(|word| word.trim_matches(['\'', '"'])).collect();
        menu.line(&words);
        let entry = menu.inside();
        match words.split_first() {
            Some((&"search" | &"search.fs_uuid", arguments)) => {
                if !(words[0] == "search.fs_uuid"
                    || arguments.contains(&"--fs-uuid")
                    || arguments.contains(&"-u"))
                {
                    continue;
                }
                uuids.extend(
                    arguments.iter().find(|word| is_uuid(word)).map(|word| (entry, (*word).to_owned())),
                );
            }
            Some((&"linux" | &"linux16" | &"linuxefi", [kernel, options @ ..])) => starts.push((
                entry,
                Start {
                    kernel: plain_path(kernel),
                    options: options.iter().map(|word| (*word).to_owned()).collect(),
                    initrds: Vec::new(),
                },
            )),
            Some((&"initrd" | &"initrd16" | &"initrdefi", paths)) => {
                if let Some((_, start)) = starts.last_mut() {
                    start.initrds.extend(paths.iter().map(|path| plain_path(path)));
                }
            }
            Some((&"blscfg", _)) if starts.is_empty() => config.entry_files = true,
            _ => {}
        }
    }
    // A kernel in a variable, or a memory test with neither options nor initramfs, is nothing to follow.
    starts.retain(|(_, start)| start.kernel.starts_with('/') && !start.kernel.contains('$'));
    starts.retain(|(_, start)| !start.options.is_empty() || !start.initrds.is_empty());
    for (_, start) in &mut starts {
        start.initrds.retain(|path| !path.contains('$'));
    }
    let has_kernel = |entry: usize| starts.iter().any(|(inside, _)| *inside == Some(entry));
    let default = menu
        .default
        .filter(|entry| has_kernel(*entry))
        .or_else(|| starts.first().and_then(|(entry, _)| *entry))
        .filter(|_| !config.entry_files);
    // Stable: the others stay in the order of the menu.
    starts.sort_by_key(|(entry, _)| entry.is_some() && *entry != default);
    for (entry, uuid) in uuids {
        if (entry.is_none() || entry == default) && !config.uuids.contains(&uuid) {
            config.uuids.push(uuid);
        }
    }
    config.starts = starts.into_iter().map(|(_, start)| start).collect();
    config
}

/// Where in the menu a line stands. GRUB counts entries and submenus of the first level together, from 0.
#[derive(Default)]
struct Menu {
    depth: usize,
    entries: usize,
    in_entry: bool,
    default: Option<usize>,
}

impl Menu {
    fn line(&mut self, words: &[&str]) {
        if self.depth == 0 {
            self.in_entry = matches!(words.first(), Some(&"menuentry" | &"submenu"));
            self.entries += usize::from(self.in_entry);
        }
        if let ["set", value] = words
            && let Some(value) = value.strip_prefix("default=")
        {
            // `1>0` is the first entry of the second one. A title, or what is remembered elsewhere, is not followed.
            let number = value.trim_matches(['\'', '"']).split('>').next().unwrap_or_default();
            self.default = number.parse().ok().or(self.default);
        }
        // Braces of variables never stand alone at the end of a line.
        match (words.first(), words.last()) {
            (Some(&"}"), _) => self.depth = self.depth.saturating_sub(1),
            (_, Some(&"{")) => self.depth += 1,
            _ => {}
        }
    }

    /// The entry of the first level that the last line stands in.
    fn inside(&self) -> Option<usize> {
        (self.in_entry && self.depth > 0).then(|| self.entries - 1)
    }
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
    fn what_other_systems_need_does_not_count() {
        let entry = |title: &str, uuid: &str| {
            format!(
                "menuentry '{title}' $menuentry_id_option 'x-{uuid}' {{\n\tif [ x${{a}} = xy ]; then\n\t search --no-floppy \
                 --fs-uuid --set=root {uuid}\n\tfi\n\tlinux /vmlinuz-{title} root=UUID={uuid}\n}}\n"
            )
        };
        let text = |default: &str| {
            format!(
                "set default=\"{default}\"\nfunction savedefault {{\n  if [ -z \"${{boot_once}}\" ]; then\n  save_env \
                 saved_entry\n  fi\n}}\nsearch --fs-uuid --set=root AAAA-0000\n{}submenu 'Advanced' {{\n{}}}\n{}",
                entry("own", "AAAA-0001"),
                entry("old", "AAAA-0002"),
                entry("other", "BBBB-0003"),
            )
        };
        for default in ["0", "${saved_entry}", "7"] {
            let config = parse(&text(default));
            assert_eq!(config.uuids, ["AAAA-0000", "AAAA-0001"], "{default}");
            assert_eq!(config.starts[0].kernel, "/vmlinuz-own");
            assert_eq!(config.starts.len(), 3);
        }
        let config = parse(&text("1>0"));
        assert_eq!(config.uuids, ["AAAA-0000", "AAAA-0002"]);
        assert_eq!(config.starts[0].kernel, "/vmlinuz-old");
        assert_eq!(parse(&text("2")).uuids, ["AAAA-0000", "BBBB-0003"]);
        // The own entries are files; what is in the menu besides is of other systems.
        let config = parse(&format!("search --fs-uuid AAAA-0000\nblscfg\n{}", entry("other", "BBBB-0003")));
        assert!(config.entry_files && config.uuids == ["AAAA-0000"], "{config:?}");
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
