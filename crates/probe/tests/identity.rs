//! How disks get their names in the model: by what stays the same, whoever says it.
#![allow(clippy::unwrap_used)]

mod common;

use common::Fake;

#[test]
fn a_disk_is_named_by_the_strongest_thing_that_is_known() {
    let mut fake = Fake::new();
    let mut add = |name: &str, files: &[(&str, &str)], udev: &str| {
        let image = fake.image(name, 8 << 20);
        let place = fake.disk(name, &image, 512);
        for (file, text) in files {
            fake.put(&format!("{place}/{file}"), text);
        }
        let number =
            std::fs::read_to_string(fake.path(std::path::Path::new(&format!("{place}/dev")))).unwrap();
        if !udev.is_empty() {
            fake.put(&format!("/run/udev/data/b{}", number.trim()), udev);
        }
    };
    // Volumes of one array share ID_WWN.
    add(
        "vda",
        &[],
        "E:ID_WWN=0x600508b1001c1234\nE:ID_WWN_WITH_EXTENSION=0x600508b1001c1234abcd\nE:ID_SCSI_SERIAL=S 1\n",
    );
    add("vdb", &[("device/wwid", "naa.5000c500a1b2c3d4\n"), ("device/model", "ACME  Disk   \n")], "");
    // A directory in the place of the file: reading fails, as it does on disks without such a page.
    add("vdc", &[("device/wwid/x", ""), ("serial", "  WD 1\0 \n")], "");
    add("vdd", &[], "E:ID_PATH=pci-0000:00:07.0\n");
    add("vde", &[("serial", "WD_1")], "");
    add("vdf", &[("device/wwid", "t10.ATA     QEMU\n")], "");
    let layout = probe::machine(&fake).unwrap();
    let ids: Vec<&str> = layout.disks().map(|disk| disk.id.0.as_str()).collect();
    assert_eq!(
        ids,
        [
            "disk:wwn:0x600508b1001c1234abcd",
            "disk:wwn:0x5000c500a1b2c3d4",
            "disk:serial:WD_1",
            "disk:path:pci-0000:00:07.0",
            "disk:serial:WD_1#2",
            "disk:path:pci-0000:00:09.0",
        ]
    );
    let identity = |i: usize| layout.disks().nth(i).unwrap().disk().unwrap().identity.clone();
    assert_eq!(identity(0).serial.as_deref(), Some("S_1"));
    assert_eq!(identity(1).model.as_deref(), Some("ACME Disk"));
}
