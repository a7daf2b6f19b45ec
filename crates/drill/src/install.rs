//! Turns a scenario's layout into the shell functions that the guest scripts use. Pure text.

use std::fmt::Write;

use crate::helper::quote;
use crate::scenario::{Firmware, Place, Spec};

/// The half of a guest's script that a scenario decides: `name_disks` first of all, which finds the disks of `$side`;
/// `partition`, `build`, `format`, `attach`, `fstab`, `swap_file`, `boot_loader` for the installation, `disks` and `pairs` for the
/// comparison.
pub(crate) fn layout(spec: &Spec) -> String {
    let mut text = String::new();
    let disks = || spec.disk.iter().enumerate();
    function(
        &mut text,
        "name_disks",
        disks().map(|(index, _)| format!("disk{index}=$(disk \"${{side}}{index}\") || return 1")),
    );
    function(
        &mut text,
        "partition",
        disks().map(|(index, disk)| {
            let table = disk.table.trim();
            format!("sfdisk -q \"$disk{index}\" <<'END-OF-TABLE'\n{table}\nEND-OF-TABLE")
        }),
    );
    function(&mut text, "build", std::iter::once(spec.build.trim().to_owned()));
    function(
        &mut text,
        "format",
        spec.places().filter(|place| !place.format.is_empty()).map(|place| {
            let words: Vec<String> = place.format.iter().map(|word| quote(word)).collect();
            format!("{} \"{}\"", words.join(" "), place.device)
        }),
    );
    let mut mounts: Vec<(Place<'_>, &str)> = spec.mounted().collect();
    mounts.sort_by_key(|(_, mount)| mount.trim_end_matches('/').matches('/').count());
    function(
        &mut text,
        "attach",
        mounts.iter().map(|(place, mount)| {
            let (at, kind, device) = (quote(mount), &place.fstype, &place.device);
            let which = subvolume(place).map(|option| format!("-o {option} ")).unwrap_or_default();
            format!("mkdir -p -m 0711 \"$1\"{at}; mount -t {kind} {which}\"{device}\" \"$1\"{at}")
        }),
    );
    let swap_file = spec.swap_file.map(|_| "echo '/swapfile none swap sw 0 0'".to_owned());
    function(&mut text, "fstab", spec.places().map(|place| fstab(&place)).chain(swap_file));
    let make = spec.swap_file.map(|size| {
        format!(
            "dd if=/dev/zero of=\"$1/swapfile\" bs=1M count={size} 2>/dev/null; chmod 600 \"$1/swapfile\"; \
             mkswap -q -L 'swap file' \"$1/swapfile\""
        )
    });
    function(&mut text, "swap_file", make.into_iter());
    // update-grub only trusts an identifier whose link is there; not every helper machine runs udev.
    let links = spec.places().map(|Place { device, .. }| {
        format!("ln -sf \"{device}\" \"/dev/disk/by-uuid/$(blkid -p -s UUID -o value \"{device}\")\"")
    });
    let install: Vec<String> = match spec.firmware {
        Firmware::Bios => spec
            .grub
            .iter()
            .map(|index| format!("chroot \"$1\" grub-install --target=i386-pc \"$disk{index}\""))
            .collect(),
        // With the signed programs installed, it is these that it puts there.
        Firmware::Uefi | Firmware::SecureBoot => vec![
            "chroot \"$1\" grub-install --target=x86_64-efi --efi-directory=/boot/efi --bootloader-id=debian"
                .to_owned(),
        ],
    };
    let lines = std::iter::once("mkdir -p /dev/disk/by-uuid".to_owned())
        .chain(links)
        .chain(install)
        .chain(["chroot \"$1\" update-grub".to_owned()]);
    function(&mut text, "boot_loader", lines);
    function(&mut text, "disks", disks().map(|(index, _)| format!("echo {index}")));
    function(
        &mut text,
        "pairs",
        spec.mounted().enumerate().map(|(index, (place, _))| {
            let which = subvolume(&place).map(|option| format!(",{option}")).unwrap_or_default();
            format!("echo \"{index} {} {} ro{which}\"", place.fstype, place.device)
        }),
    );
    text
}

/// The function that starts the stacked devices of disks that hold them already.
pub(crate) fn assembly(spec: &Spec) -> String {
    let mut text = String::new();
    function(&mut text, "assemble", std::iter::once(spec.assemble.trim().to_owned()));
    text
}

fn fstab(place: &Place<'_>) -> String {
    let Place { device, fstype, options, .. } = place;
    // As installers write it: a mapped device has a name of its own.
    let device = match device.starts_with("/dev/mapper/") {
        true => device.clone(),
        false => format!("UUID=$(blkid -p -s UUID -o value \"{device}\")"),
    };
    match place.mount {
        Some(mount) => {
            let pass = match (fstype.as_str(), mount) {
                ("btrfs", _) => 0,
                (_, "/") => 1,
                _ => 2,
            };
            format!("echo \"{device} {mount} {fstype} {options} 0 {pass}\"")
        }
        None if place.swap => format!("echo \"{device} none swap sw 0 0\""),
        None => ":".to_owned(),
    }
}

/// The mount option that says which subvolume.
fn subvolume<'a>(place: &Place<'a>) -> Option<&'a str> {
    place.options.split(',').find(|option| option.starts_with("subvol"))
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

    fn spec(text: &str) -> Spec {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn mount_points_come_before_what_is_below_them() {
        let spec = spec(
            r#"
            host = "h"
            firmware = "uefi"
            [[disk]]
            size = "1G"
            table = "label: gpt\n,,"
            part = [
                { number = 1, format = ["mkfs.ext4", "-L", "it's"], mount = "/boot/efi" },
                { number = 2, format = ["mkfs.ext4"], mount = "/boot" },
                { number = 3, format = ["mkfs.ext4"], mount = "/" },
            ]
            "#,
        );
        let text = layout(&spec);
        let at = |needle: &str| text.find(needle).unwrap();
        assert!(at(r#""$1"'/';"#) < at(r#""$1"'/boot';"#));
        assert!(at(r#""$1"'/boot';"#) < at(r#""$1"'/boot/efi';"#));
        assert!(text.contains(r#"'mkfs.ext4' '-L' 'it'\''s' "${disk0}1""#));
        assert!(text.contains("sfdisk -q \"$disk0\" <<'END-OF-TABLE'\nlabel: gpt\n,,\nEND-OF-TABLE"));
    }

    #[test]
    fn volumes_are_built_named_and_mounted_by_their_subvolume() {
        let spec = spec(
            r#"
            host = "h"
            firmware = "bios"
            grub = [0, 1]
            build = "make arrays"
            assemble = "start them"
            disk = [{ size = "1G", table = "" }, { size = "1G", table = "" }]
            [[volume]]
            device = "/dev/mapper/vg-root"
            format = ["mkfs.xfs"]
            mount = "/"
            [[volume]]
            device = "${disk1}2"
            type = "btrfs"
            mount = "/home"
            options = "noatime,subvol=@home"
            [[volume]]
            device = "/dev/mapper/vg-swap"
            format = ["mkswap"]
            swap = true
            "#,
        );
        let text = layout(&spec);
        for needed in [
            "disk1=$(disk \"${side}1\") || return 1\n",
            "build() {\n:\nmake arrays\n}",
            "'mkfs.xfs' \"/dev/mapper/vg-root\"\n'mkswap' \"/dev/mapper/vg-swap\"\n}",
            "mount -t btrfs -o subvol=@home \"${disk1}2\" \"$1\"'/home'",
            "echo \"/dev/mapper/vg-root / xfs defaults 0 1\"",
            "/home btrfs noatime,subvol=@home 0 0\"",
            "echo \"/dev/mapper/vg-swap none swap sw 0 0\"",
            "--target=i386-pc \"$disk0\"\n",
            "--target=i386-pc \"$disk1\"\n",
            "echo \"1 btrfs ${disk1}2 ro,subvol=@home\"",
        ] {
            assert!(text.contains(needed), "{needed} is not in\n{text}");
        }
        assert!(!text.contains("start them"));
        assert_eq!(assembly(&spec), "assemble() {\n:\nstart them\n}\n");
    }
}
