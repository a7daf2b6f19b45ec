//! Restores onto a directory that stands for the restored system; raw writes end in a vector.

use super::*;
use crate::facts::{EfiEntry, FORMAT, Hex, RawPartition};
use layout::{Firmware, Machine};

fn layout(firmware: Firmware) -> Layout {
    Layout::new(Machine {
        hostname: "web01".into(),
        firmware,
        architecture: "x86_64".into(),
        system: "Debian GNU/Linux 12".into(),
    })
}

fn bios() -> BootFacts {
    BootFacts {
        format: FORMAT,
        uefi: false,
        disks: vec![
            DiskBoot {
                disk: NodeId("disk:a".into()),
                loader: Some("GRUB".into()),
                boot_code: Hex(vec![1; 440]),
                gap_offset: 512,
                gap: Hex(vec![2; 1000]),
                protective_active: false,
                partitions: vec![RawPartition {
                    device: NodeId("disk:a/1".into()),
                    offset: 1 << 20,
                    content: Hex(vec![3; 9]),
                }],
            },
            DiskBoot {
                disk: NodeId("disk:b".into()),
                loader: None,
                boot_code: Hex::default(),
                gap_offset: 512,
                gap: Hex::default(),
                partitions: vec![],
                protective_active: false,
            },
        ],
        efi: None,
    }
}

#[test]
fn raw_code_goes_back_to_where_it_was_first_sector_last() {
    let layout = layout(Firmware::Bios);
    let disks = [("disk:a", "/dev/vdb"), ("disk:b", "/dev/vda")]
        .map(|(id, path)| (NodeId(id.into()), PathBuf::from(path)))
        .into();
    let target = Target { root: Path::new("/none"), layout: &layout, disks: &disks, moved: false };
    let mut written = Vec::new();
    let report = restore_boot(&sys::Forbid, &bios(), &target, &mut |disk, offset, bytes| {
        written.push((disk.0.clone(), offset, bytes.len()));
        Ok(())
    })
    .unwrap();
    let disk = || "disk:a".to_owned();
    assert_eq!(written, [(disk(), 1 << 20, 9), (disk(), 512, 1000), (disk(), 0, 440)]);
    assert_eq!(report.done, ["wrote the boot code (GRUB) back to /dev/vdb"]);
    let error = restore_boot(&sys::Forbid, &bios(), &target, &mut |_, _, _| Err("EIO".into())).unwrap_err();
    assert!(error.to_string().contains("disk:a") && error.to_string().contains("EIO"), "{error}");
}

#[test]
fn moved_partitions_need_the_tool() {
    let layout = layout(Firmware::Bios);
    let disks = [(NodeId("disk:a".into()), PathBuf::from("/dev/vda"))].into();
    let dir = tempfile::tempdir().unwrap();
    let target = Target { root: dir.path(), layout: &layout, disks: &disks, moved: true };
    let result = restore_boot(&sys::Forbid, &bios(), &target, &mut |_, _, _| panic!("must not write"));
    assert!(matches!(result, Err(Error::NoTool { .. })));
}

#[test]
fn the_removable_path_is_filled_once_from_the_own_loader() {
    let dir = tempfile::tempdir().unwrap();
    let esp_dir = dir.path().join("boot/efi");
    let debian = esp_dir.join("EFI/debian");
    std::fs::create_dir_all(&debian).unwrap();
    for name in ["shimx64.efi", "grubx64.efi", "mmx64.efi", "fbx64.efi", "grub.cfg"] {
        std::fs::write(debian.join(name), name).unwrap();
    }
    let esp = EspFacts {
        device: NodeId("disk:a/1".into()),
        mount_point: Some("/boot/efi".into()),
        loaders: vec!["EFI/debian/grubx64.efi".into(), "EFI/debian/shimx64.efi".into()],
    };
    let efi = EfiFacts {
        entries: vec![EfiEntry {
            number: 3,
            data: Hex::default(),
            description: "debian".into(),
            file: r"\EFI\DEBIAN\SHIMX64.EFI".into(),
        }],
        order: vec![3],
        current: Some(3),
        secure_boot: false,
        partitions: vec![esp],
    };
    let facts = BootFacts { format: FORMAT, uefi: true, disks: vec![], efi: Some(efi) };
    let layout = layout(Firmware::Uefi);
    let disks = BTreeMap::new();
    let target = Target { root: dir.path(), layout: &layout, disks: &disks, moved: false };
    let report = restore_boot(&sys::Forbid, &facts, &target, &mut |_, _, _| Ok(())).unwrap();
    assert_eq!(report.done.len(), 1, "{report:?}");
    // The closed door has no NVRAM: a warning, not an error.
    assert!(report.warnings[0].contains("EFI/BOOT"), "{report:?}");
    let boot = esp_dir.join("EFI/BOOT");
    assert_eq!(std::fs::read_to_string(boot.join("BOOTX64.EFI")).unwrap(), "shimx64.efi");
    assert_eq!(std::fs::read_to_string(boot.join("grubx64.efi")).unwrap(), "grubx64.efi");
    assert!(boot.join("mmx64.efi").exists() && !boot.join("fbx64.efi").exists());
    let again = restore_boot(&sys::Forbid, &facts, &target, &mut |_, _, _| Ok(())).unwrap();
    assert!(again.done.is_empty(), "{again:?}");
}
