//! Turns a scenario's layout into the shell functions that the guest scripts use. Pure text.

use std::fmt::Write;

use crate::helper::quote;
use crate::scenario::{Firmware, Part, Spec};

/// The half of a guest's script that a scenario decides: `partition`, `format`, `attach`, `fstab`, `boot_loader`
/// for the installation, `disks` and `pairs` for the comparison.
pub(crate) fn layout(spec: &Spec) -> String {
    let mut text = String::new();
    function(
        &mut text,
        "partition",
        spec.disk.iter().enumerate().map(|(index, disk)| {
            format!(
                "sfdisk -q \"$(disk target{index})\" <<'END-OF-TABLE'\n{}\nEND-OF-TABLE",
                disk.table.trim()
            )
        }),
    );
    function(
        &mut text,
        "format",
        parts(spec).map(|(index, part)| {
            let words: Vec<String> = part.format.iter().map(|word| quote(word)).collect();
            format!("{} {}", words.join(" "), device(index, part))
        }),
    );
    let mut mounts: Vec<(usize, &Part, &str)> =
        parts(spec).filter_map(|(index, part)| Some((index, part, part.mount.as_deref()?))).collect();
    mounts.sort_by_key(|(_, _, mount)| mount.trim_end_matches('/').matches('/').count());
    function(
        &mut text,
        "attach",
        mounts.iter().map(|(index, part, mount)| {
            let (at, kind) = (quote(mount), part.fstype());
            format!("mkdir -p -m 0711 \"$1\"{at}; mount -t {kind} {} \"$1\"{at}", device(*index, part))
        }),
    );
    function(
        &mut text,
        "fstab",
        parts(spec).map(|(index, part)| {
            let uuid = format!("UUID=$(blkid -p -s UUID -o value {})", device(index, part));
            match &part.mount {
                Some(mount) => {
                    let pass = if mount == "/" { 1 } else { 2 };
                    format!("echo \"{uuid} {mount} {} {} 0 {pass}\"", part.fstype(), part.options)
                }
                None if part.swap => format!("echo \"{uuid} none swap sw 0 0\""),
                None => ":".to_owned(),
            }
        }),
    );
    // update-grub only trusts an identifier whose link is there; helper machines run no udev.
    let links = parts(spec).map(|(index, part)| {
        let device = device(index, part);
        format!("ln -sf {device} \"/dev/disk/by-uuid/$(blkid -p -s UUID -o value {device})\"")
    });
    let install = match spec.firmware {
        Firmware::Bios => "chroot \"$1\" grub-install --target=i386-pc \"$(disk target0)\"",
        // With the signed programs installed, it is these that it puts there.
        Firmware::Uefi | Firmware::SecureBoot => {
            "chroot \"$1\" grub-install --target=x86_64-efi --efi-directory=/boot/efi --bootloader-id=debian"
        }
    };
    let lines = std::iter::once("mkdir -p /dev/disk/by-uuid".to_owned())
        .chain(links)
        .chain([install.to_owned(), "chroot \"$1\" update-grub".to_owned()]);
    function(&mut text, "boot_loader", lines);
    function(&mut text, "disks", (0..spec.disk.len()).map(|index| format!("echo {index}")));
    function(
        &mut text,
        "pairs",
        mounted(spec)
            .iter()
            .enumerate()
            .map(|(index, (disk, part, _))| format!("echo {index} {disk} {} {}", part.number, part.fstype())),
    );
    text
}

/// All filesystems that are mounted, with their disk and mount point, in the order of `pairs`.
pub(crate) fn mounted(spec: &Spec) -> Vec<(usize, &Part, &str)> {
    parts(spec).filter_map(|(index, part)| Some((index, part, part.mount.as_deref()?))).collect()
}

fn parts(spec: &Spec) -> impl Iterator<Item = (usize, &Part)> {
    spec.disk.iter().enumerate().flat_map(|(index, disk)| disk.part.iter().map(move |part| (index, part)))
}

fn device(disk: usize, part: &Part) -> String {
    format!("\"$(disk target{disk}){}\"", part.number)
}

fn function(text: &mut String, name: &str, lines: impl Iterator<Item = String>) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{name}() {{\n:");
    lines.for_each(|line| {
        let _ = writeln!(text, "{line}");
    });
    let _ = writeln!(text, "}}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Disk;

    #[test]
    fn mount_points_come_before_what_is_below_them() {
        let part = |number, mount: &str| Part {
            number,
            format: vec!["mkfs.ext4".into(), "-L".into(), "it's".into()],
            mount: Some(mount.into()),
            options: "defaults".into(),
            swap: false,
        };
        let disk = Disk {
            size: "1G".into(),
            sector_size: 512,
            table: "label: gpt\n,,".into(),
            part: vec![part(1, "/boot/efi"), part(2, "/boot"), part(3, "/")],
        };
        let spec = Spec {
            host: "h".into(),
            firmware: Firmware::Uefi,
            memory: 1,
            bus: crate::scenario::Bus::Virtio,
            config: None,
            options: String::new(),
            packages: Vec::new(),
            noise: Vec::new(),
            disk: vec![disk],
        };
        let text = layout(&spec);
        let at = |needle: &str| text.find(needle).unwrap();
        assert!(at(r#""$1"'/';"#) < at(r#""$1"'/boot';"#));
        assert!(at(r#""$1"'/boot';"#) < at(r#""$1"'/boot/efi';"#));
        assert!(text.contains(r#"'mkfs.ext4' '-L' 'it'\''s' "$(disk target0)1""#));
        assert!(
            text.contains("sfdisk -q \"$(disk target0)\" <<'END-OF-TABLE'\nlabel: gpt\n,,\nEND-OF-TABLE")
        );
    }
}
