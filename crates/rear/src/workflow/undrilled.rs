//! Kinds of storage that are recreated, but that no whole recovery in a virtual machine has proven yet. A kind leaves this
//! list when a scenario of `tests/scenarios` recovers a machine with it.

use std::collections::BTreeSet;

use layout::{Content, FsKind, Layout};

/// The names of the undrilled kinds that a layout needs, sorted.
pub fn kinds(layout: &Layout) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    // What comes back block by block is not made.
    for device in layout.devices.iter().filter(|device| !layout.cloned.contains(&device.id)) {
        match &device.content {
            Content::Filesystem(filesystem) => match &filesystem.kind {
                FsKind::Ext(_) | FsKind::Xfs(_) | FsKind::Vfat(_) | FsKind::Btrfs(_) => {}
                FsKind::F2fs(_) | FsKind::Jfs(_) | FsKind::Exfat(_) | FsKind::Nilfs(_) => {}
                FsKind::Ntfs(_) | FsKind::Other { .. } => drop(found.insert(filesystem.fs_type())),
            },
            Content::Luks(_)
            | Content::LvmMember { .. }
            | Content::MdMember { .. }
            | Content::BtrfsMember { .. }
            | Content::Empty
            | Content::Table(_)
            | Content::Swap(_)
            | Content::BootCode
            | Content::Unknown { .. } => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use layout::Kind;

    use super::*;

    fn recorded(name: &str) -> Layout {
        let path = format!("{}/../../tests/machines/{name}/layout.json", env!("CARGO_MANIFEST_DIR"));
        Layout::from_json(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    #[test]
    fn what_scenarios_recover_is_drilled_and_the_rest_is_named() {
        for name in ["bios-gpt-ext4", "bios-mbr-extended", "uefi-gpt-xfs"] {
            assert!(kinds(&recorded(name)).is_empty(), "{name}");
        }
        let mut layout = recorded("bios-gpt-ext4");
        layout.devices[1].content = Content::Luks(layout::Luks::default());
        layout.devices[2].content = Content::LvmMember { uuid: String::new() };
        let Kind::Disk(disk) = &mut layout.devices[0].kind else { panic!() };
        disk.multipath = Some(layout::Multipath { wwid: "w".into(), paths: Vec::new() });
        assert!(kinds(&layout).is_empty());
        let with = |kind| {
            Content::Filesystem(layout::Filesystem {
                uuid: String::new(),
                label: String::new(),
                used: None,
                kind,
            })
        };
        layout.devices[3].content = with(FsKind::Exfat(layout::Exfat {
            sector_size: 512,
            cluster_size: 32 << 10,
            sectors: 1 << 20,
            fats: 1,
        }));
        assert!(kinds(&layout).is_empty());
        layout.devices[3].content = with(FsKind::Ntfs(layout::Ntfs {
            sector_size: 512,
            cluster_size: 4096,
            sectors: 1 << 20,
            hidden_sectors: 2048,
            heads: 255,
            track_sectors: 63,
            record_size: 1024,
            version: (3, 1),
        }));
        assert_eq!(kinds(&layout).into_iter().collect::<Vec<_>>(), ["ntfs"]);
        layout.devices[3].content = with(FsKind::Other { name: "novel".into() });
        let id = layout.devices[3].id.clone();
        assert_eq!(kinds(&layout).into_iter().collect::<Vec<_>>(), ["novel"]);
        // What comes back block by block is not made.
        layout.cloned.insert(id);
        assert!(kinds(&layout).is_empty());
    }
}
