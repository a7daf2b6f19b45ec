//! Which disk takes which place: nothing foreign, nothing protected, nothing guessed.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use layout::*;
use plan::{Choices, FitError, fit};

const GIB: u64 = 1 << 30;

fn empty(firmware: Firmware) -> Layout {
    Layout::new(Machine {
        hostname: "web1".into(),
        firmware,
        architecture: "x86_64".into(),
        system: "Debian GNU/Linux 12 (bookworm)".into(),
    })
}

/// A disk; `guid` 0 is a blank one, another number makes a GPT with one partition of a third of the disk.
fn add(layout: &mut Layout, name: &str, serial: &str, gib: u64, guid: u32) -> NodeId {
    let id = NodeId(format!("disk:serial:{serial}"));
    let size = gib * GIB;
    let content = if guid == 0 {
        Content::Empty
    } else {
        Content::Table(PartitionTable::Gpt {
            guid: format!("6A0E4B5A-0000-4000-8000-0000000000{guid:02}"),
            first_lba: Lba(34),
            last_lba: Lba(size / 512 - 34),
            entries: 128,
        })
    };
    let identity = DiskIdentity {
        serial: Some(serial.into()),
        path: Some(format!("pci-0000:00:{name}")),
        ..DiskIdentity::default()
    };
    layout.devices.push(Device {
        id: id.clone(),
        path: format!("/dev/{name}"),
        size: Bytes(size),
        sector: SectorSize::B512,
        kind: Kind::Disk(Disk {
            identity,
            transport: "virtio".into(),
            removable: false,
            read_only: false,
            multipath: None,
        }),
        content,
    });
    if guid != 0 {
        let length = size / 3 / 512;
        layout.devices.push(Device {
            id: id.partition(1),
            path: format!("/dev/{name}1"),
            size: Bytes(length * 512),
            sector: SectorSize::B512,
            kind: Kind::Partition(Partition {
                parent: id.clone(),
                number: 1,
                start: Lba(2048),
                length: Lba(length),
                entry: PartitionEntry::Gpt(GptEntry {
                    type_guid: "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F".into(),
                    guid: format!("00000000-0000-4000-8000-0000000000{guid:02}"),
                    name: String::new(),
                    attributes: 0,
                }),
            }),
            content: Content::Swap(Swap {
                uuid: format!("uuid-{guid}"),
                label: String::new(),
                page_size: 4096,
                active: false,
            }),
        });
    }
    id
}

fn machine(disks: &[(&str, &str, u64, u32)]) -> Layout {
    let mut layout = empty(Firmware::Bios);
    for (name, serial, gib, guid) in disks {
        add(&mut layout, name, serial, *gib, *guid);
    }
    layout
}

fn unattended() -> Choices {
    Choices { unattended: true, ..Choices::default() }
}

/// "saved serial>present serial" of all placements.
fn places(saved: &Layout, present: &Layout, choices: &Choices) -> Result<Vec<String>, FitError> {
    let short = |id: &NodeId| id.0.trim_start_matches("disk:serial:").to_owned();
    let fit = fit(saved, present, &BTreeMap::new(), choices)?;
    Ok(fit.disks.iter().map(|one| format!("{}>{}", short(&one.saved), short(&one.present))).collect())
}

#[test]
fn the_machines_own_disks_are_known_by_serial_not_by_name() {
    let saved = machine(&[("vda", "A", 10, 1), ("vdb", "B", 10, 2)]);
    let swapped = machine(&[("vda", "B", 10, 2), ("vdb", "A", 10, 1)]);
    assert_eq!(places(&saved, &swapped, &unattended()).unwrap(), ["A>A", "B>B"]);
}

#[test]
fn the_own_content_on_another_disk_is_recognised() {
    let saved = machine(&[("vda", "A", 10, 1)]);
    let present = machine(&[("vda", "X", 10, 7), ("vdb", "Y", 20, 0), ("vdc", "Z", 10, 1)]);
    let mut present = present;
    // The clone has the partition where the original has it.
    let fit = fit(&saved, &present, &BTreeMap::new(), &unattended()).unwrap();
    assert_eq!(fit.disks[0].present.0, "disk:serial:Z");
    assert_eq!(fit.disks[0].erases.as_deref(), Some("GPT with 1 partition: swap"));
    assert_eq!(fit.untouched.len(), 2);
    // Two copies: nobody can know.
    add(&mut present, "vdd", "Z2", 10, 1);
    let error = places(&saved, &present, &unattended()).unwrap_err();
    assert!(matches!(error, FitError::Ambiguous { .. }), "{error}");
    // A copy of the table with another filesystem inside is not ours.
    present.devices.truncate(present.devices.len() - 2);
    for device in &mut present.devices {
        if let (Content::Swap(swap), "/dev/vdc1") = (&mut device.content, device.path.as_str()) {
            swap.uuid = "somebody else's".into();
        }
    }
    assert_eq!(places(&saved, &present, &unattended()).unwrap(), ["A>Y"]);
}

#[test]
fn blank_disks_are_taken_by_size() {
    let saved = machine(&[("vda", "A", 10, 1)]);
    let of = |disks: &[(&str, &str, u64, u32)]| places(&saved, &machine(disks), &unattended()).unwrap();
    // The same size wins over a larger one, the smallest sufficient one over others, the first path over equals.
    assert_eq!(of(&[("vda", "L", 20, 0), ("vdb", "S", 10, 0)]), ["A>S"]);
    assert_eq!(of(&[("vda", "L", 40, 0), ("vdb", "M", 20, 0), ("vdc", "F", 10, 9)]), ["A>M"]);
    assert_eq!(of(&[("vdc", "C", 10, 0), ("vdb", "B", 10, 0)]), ["A>B"]);
    // A third is used: a smaller disk on which all partitions fit will do.
    assert_eq!(of(&[("vda", "T", 5, 0)]), ["A>T"]);
    let error = places(&saved, &machine(&[("vda", "T", 3, 0)]), &unattended()).unwrap_err().to_string();
    assert!(error.contains("too small: it has 3221225472 bytes, 3580"), "{error}");
}

#[test]
fn several_disks_need_a_unique_assignment() {
    let saved = machine(&[("vda", "A", 10, 1), ("vdb", "B", 60, 2)]);
    let of = |disks: &[(&str, &str, u64, u32)]| places(&saved, &machine(disks), &unattended());
    assert_eq!(of(&[("vda", "Q", 60, 0), ("vdb", "P", 10, 0)]).unwrap(), ["A>P", "B>Q"]);
    // B needs more than 20 GiB: only one way.
    assert_eq!(of(&[("vda", "Q", 70, 0), ("vdb", "P", 15, 0)]).unwrap(), ["A>P", "B>Q"]);
    let error = of(&[("vda", "Q", 70, 0), ("vdb", "P", 80, 0)]).unwrap_err();
    let proposal = error.proposal().unwrap().clone();
    assert_eq!(proposal.len(), 2, "{error}");
    // The proposal is a mapping that works.
    let choices = Choices { mapping: proposal, ..unattended() };
    let present = machine(&[("vda", "Q", 70, 0), ("vdb", "P", 80, 0)]);
    assert_eq!(places(&saved, &present, &choices).unwrap().len(), 2);
    // Equal saved disks on equal blank ones: in the order of their paths. One short: an error.
    let twins = machine(&[("vdb", "B", 10, 2), ("vda", "A", 10, 1)]);
    let present = machine(&[("vdx", "X", 10, 0), ("vdw", "W", 10, 0)]);
    assert_eq!(places(&twins, &present, &unattended()).unwrap(), ["B>X", "A>W"]);
    let present = machine(&[("vdx", "X", 10, 0), ("vdw", "W", 20, 0)]);
    assert!(matches!(places(&twins, &present, &unattended()), Err(FitError::Ambiguous { .. })));
    let present = machine(&[("vdx", "X", 10, 0)]);
    assert!(matches!(places(&twins, &present, &unattended()), Err(FitError::Missing { .. })));
}

#[test]
fn foreign_content_is_never_taken_by_itself() {
    let saved = machine(&[("vda", "A", 10, 1)]);
    let present = machine(&[("vda", "F", 10, 9)]);
    for choices in [Choices::default(), unattended()] {
        let error = places(&saved, &present, &choices).unwrap_err().to_string();
        assert!(error.contains("neither blank nor this machine's own"), "{error}");
        assert!(error.contains("name one of these for erasure"), "{error}");
    }
    let mapping = BTreeMap::from([(NodeId("disk:serial:A".into()), NodeId("disk:serial:F".into()))]);
    let by_hand = Choices { mapping: mapping.clone(), ..Choices::default() };
    assert_eq!(places(&saved, &present, &by_hand).unwrap(), ["A>F"]);
    let alone = Choices { mapping, ..unattended() };
    assert!(matches!(places(&saved, &present, &alone), Err(FitError::Mapping { .. })));
    for name in
        ["F", "disk:serial:F", "/dev/vda", "/dev/disk/by-id/virtio-F", "/dev/disk/by-path/pci-0000:00:vda"]
    {
        let named = Choices { allow_erase: vec![name.into()], ..alone.clone() };
        assert_eq!(places(&saved, &present, &named).unwrap(), ["A>F"], "{name}");
        let named = Choices { allow_erase: vec![name.into()], ..unattended() };
        assert_eq!(places(&saved, &present, &named).unwrap(), ["A>F"], "{name}");
    }
    for name in ["", "/dev/vd", "/dev/disk/by-id/virtio-", "/dev/disk/by-id/ata-XF", "disk"] {
        let named = Choices { allow_erase: vec![name.into()], ..unattended() };
        assert!(places(&saved, &present, &named).is_err(), "{name}");
    }
    // A misspelt name is told even where it is not needed; one that was saved may be of a disk that is gone.
    let blank = machine(&[("vda", "E", 30, 0)]);
    let misspelt = Choices { allow_erase: vec!["sdq".into()], ..unattended() };
    let error = places(&saved, &blank, &misspelt).unwrap_err();
    assert!(matches!(&error, FitError::EraseUnknown { name, .. } if name == "sdq"), "{error}");
    let gone = Choices { allow_erase_saved: vec!["sdq".into()], ..unattended() };
    assert_eq!(places(&saved, &blank, &gone).unwrap(), ["A>E"]);
    // A blank disk is preferred to one that may be erased.
    let both = machine(&[("vda", "F", 10, 9), ("vdb", "E", 30, 0)]);
    let named = Choices { allow_erase: vec!["F".into()], ..unattended() };
    assert_eq!(places(&saved, &both, &named).unwrap(), ["A>E"]);
}

#[test]
fn a_repeated_serial_number_with_another_size_is_not_believed() {
    let saved = machine(&[("vda", "QM1", 10, 1)]);
    assert!(places(&saved, &machine(&[("vda", "QM1", 40, 9)]), &unattended()).is_err());
    // The same size with foreign content: only a person, or one who named it, may take it.
    let foreign = machine(&[("vda", "QM1", 10, 9), ("vdb", "NEW", 10, 0)]);
    let error = places(&saved, &foreign, &unattended()).unwrap_err();
    assert!(matches!(&error, FitError::Foreign { disk, .. } if disk.0 == "disk:serial:QM1"), "{error}");
    let error = error.to_string();
    assert!(error.contains("/dev/vda, 10.0 GiB, serial QM1 looks like the saved"), "{error}");
    assert!(error.contains("recover with --erase disk:serial:QM1"), "{error}");
    assert_eq!(places(&saved, &foreign, &Choices::default()).unwrap(), ["QM1>QM1"]);
    for choices in [
        Choices { allow_erase: vec!["QM1".into()], ..unattended() },
        Choices { allow_erase_saved: vec!["QM1".into()], ..unattended() },
    ] {
        assert_eq!(places(&saved, &foreign, &choices).unwrap(), ["QM1>QM1"]);
    }
    // A mapping alone is no leave to erase.
    let id = NodeId("disk:serial:QM1".into());
    let mapped = Choices { mapping: BTreeMap::from([(id.clone(), id)]), ..unattended() };
    assert!(matches!(places(&saved, &foreign, &mapped), Err(FitError::Mapping { .. })));
    // A second disk with the number that cannot be used does not make the foreign one acceptable.
    let mut locked = machine(&[("vda", "QM1", 10, 9), ("vdb", "QM1", 10, 1)]);
    locked.devices[2].id = NodeId("disk:serial:QM1-2".into());
    locked.devices[3].id = NodeId("disk:serial:QM1-2/1".into());
    if let Kind::Disk(disk) = &mut locked.devices[2].kind {
        disk.read_only = true;
    }
    assert!(places(&saved, &locked, &unattended()).is_err());
    // The own content stands on another disk: that one it is.
    let moved = machine(&[("vda", "QM1", 10, 9), ("vdb", "QM2", 10, 1)]);
    assert_eq!(places(&saved, &moved, &unattended()).unwrap(), ["QM1>QM2"]);
    assert_eq!(places(&saved, &machine(&[("vda", "QM1", 40, 0)]), &unattended()).unwrap(), ["QM1>QM1"]);
}

fn identity(layout: &mut Layout) -> &mut DiskIdentity {
    match &mut layout.devices[0].kind {
        Kind::Disk(disk) => &mut disk.identity,
        _ => panic!("no disk"),
    }
}

#[test]
fn the_own_disk_is_taken_unattended_when_its_table_is_half_made_or_damaged() {
    let saved = machine(&[("vda", "A", 10, 1)]);
    // The own table, its partition not yet filled, or with other partitions that are empty.
    let mut half = saved.clone();
    half.devices[1].content = Content::Empty;
    assert_eq!(places(&saved, &half, &unattended()).unwrap(), ["A>A"]);
    if let Kind::Partition(partition) = &mut half.devices[1].kind {
        partition.length = Lba(7);
    }
    assert_eq!(places(&saved, &half, &unattended()).unwrap(), ["A>A"]);
    // Somebody made another filesystem in it.
    half.devices[1].content = machine(&[("vda", "A", 10, 9)]).devices[1].content.clone();
    assert!(matches!(places(&saved, &half, &unattended()), Err(FitError::Foreign { .. })));

    // A damaged table: only with a world-wide name, the size, and no other serial number.
    let mut saved = saved;
    let mut damaged = machine(&[("vda", "A", 10, 0)]);
    damaged.devices[0].content = Content::Unknown { what: "damaged GUID partition table".into() };
    assert!(matches!(places(&saved, &damaged, &unattended()), Err(FitError::Foreign { .. })));
    identity(&mut saved).wwn = Some("0x5000".into());
    identity(&mut damaged).wwn = Some("0x5000".into());
    assert_eq!(places(&saved, &damaged, &unattended()).unwrap(), ["A>A"]);
    let refused = |change: &dyn Fn(&mut Layout)| {
        let mut present = damaged.clone();
        change(&mut present);
        assert!(places(&saved, &present, &unattended()).is_err());
        assert!(places(&saved, &present, &Choices::default()).is_ok());
    };
    refused(&|present| identity(present).serial = Some("B".into()));
    refused(&|present| present.devices[0].size = Bytes(11 * GIB));
    refused(&|present| present.devices[0].content = Content::Unknown { what: "ZFS member".into() });
    let foreign = machine(&[("vda", "A", 10, 9)]).devices[0].content.clone();
    refused(&|present| present.devices[0].content = foreign.clone());
}

#[test]
fn a_dos_table_without_a_signature_is_known_by_what_it_holds() {
    let mut saved = machine(&[("vda", "A", 10, 1)]);
    saved.devices[0].content = Content::Table(PartitionTable::Mbr { signature: 0 });
    assert_eq!(places(&saved, &saved, &unattended()).unwrap(), ["A>A"]);
    let mut other = saved.clone();
    if let Content::Swap(swap) = &mut other.devices[1].content {
        swap.uuid = "somebody else's".into();
    }
    assert!(matches!(places(&saved, &other, &unattended()), Err(FitError::Foreign { .. })));
}

#[test]
fn names_for_erasure_of_another_day_are_not_kernel_names_and_mean_one_disk() {
    let saved = machine(&[("vda", "A", 10, 1)]);
    let present = machine(&[("vda", "F", 10, 9)]);
    let here = |name: &str| Choices { allow_erase: vec![name.into()], ..unattended() };
    let before = |name: &str| Choices { allow_erase_saved: vec![name.into()], ..unattended() };
    for name in ["/dev/vda", "vda", "/dev/disk/by-path/pci-0000:00:vda"] {
        assert_eq!(places(&saved, &present, &here(name)).unwrap(), ["A>F"], "{name}");
        assert!(places(&saved, &present, &before(name)).is_err(), "{name}");
    }
    for name in ["F", "disk:serial:F", "/dev/disk/by-id/virtio-F"] {
        assert_eq!(places(&saved, &present, &before(name)).unwrap(), ["A>F"], "{name}");
    }
    // An id that is made of the kernel name is one.
    let mut nameless = present.clone();
    *identity(&mut nameless) = DiskIdentity::default();
    nameless.devices[0].id = NodeId("disk:name:vda".into());
    assert!(places(&saved, &nameless, &before("disk:name:vda")).is_err());
    assert!(places(&saved, &nameless, &here("disk:name:vda")).is_ok());
    // Two disks with one number.
    let mut twins = machine(&[("vda", "F", 10, 9), ("vdb", "F", 10, 8)]);
    twins.devices[2].id = NodeId("disk:path:2".into());
    for choices in [here("F"), before("F"), Choices { allow_erase: vec!["F".into()], ..Choices::default() }] {
        let error = places(&saved, &twins, &choices).unwrap_err();
        assert!(matches!(&error, FitError::EraseUnclear { name, .. } if name == "F"), "{error}");
    }
}

#[test]
fn a_smaller_disk_that_suffices_is_taken_with_a_note() {
    let saved = machine(&[("vda", "A", 10, 1)]);
    let mut present = machine(&[("vda", "A", 10, 0)]);
    present.devices[0].size = Bytes(10 * GIB - 4096);
    let fit = fit(&saved, &present, &BTreeMap::new(), &unattended()).unwrap();
    let why = &fit.disks[0].why;
    assert!(why.contains("4096 bytes smaller than the original, and all partitions fit"), "{why}");
}

#[test]
fn what_carries_the_medium_is_never_taken() {
    let saved = machine(&[("vda", "A", 10, 1)]);
    let present = machine(&[("vda", "A", 10, 1), ("vdb", "B", 10, 0)]);
    let protected = BTreeMap::from([
        (NodeId("disk:serial:A".into()), "it carries the rescue medium".to_owned()),
        (NodeId("disk:serial:B".into()), "it carries the archive".to_owned()),
    ]);
    let mapping = BTreeMap::from([(NodeId("disk:serial:A".into()), NodeId("disk:serial:A".into()))]);
    let by_hand = Choices { mapping, allow_erase: vec!["A".into(), "B".into()], ..Choices::default() };
    for choices in [Choices::default(), unattended(), by_hand] {
        let error = fit(&saved, &present, &protected, &choices).unwrap_err().to_string();
        assert!(error.contains("it carries the rescue medium"), "{error}");
    }
}

#[test]
fn sticks_and_unsuitable_disks_are_left_alone() {
    let saved = machine(&[("vda", "A", 10, 1)]);
    let with = |change: &dyn Fn(&mut Device)| {
        let mut present = machine(&[("vda", "X", 10, 0)]);
        change(&mut present.devices[0]);
        places(&saved, &present, &unattended()).unwrap_err().to_string()
    };
    fn disk(device: &mut Device) -> &mut Disk {
        match &mut device.kind {
            Kind::Disk(disk) => disk,
            _ => panic!("no disk"),
        }
    }
    let stick = with(&|device| disk(device).removable = true);
    assert!(stick.contains("only used when it is chosen by name"), "{stick}");
    assert!(stick.contains("or choose the removable disk disk:serial:X"), "{stick}");
    let usb = with(&|device| disk(device).transport = "usb".into());
    assert!(usb.contains("chosen by name"), "{usb}");
    let locked = with(&|device| disk(device).read_only = true);
    assert!(locked.contains("it is read-only"), "{locked}");
    let wide = with(&|device| device.sector = SectorSize::B4096);
    assert!(wide.contains("its sectors have 4096 bytes, those of the saved disk 512"), "{wide}");
    let none = places(&saved, &empty(Firmware::Bios), &unattended()).unwrap_err().to_string();
    assert!(none.contains("none that this kernel knows"), "{none}");
}

#[test]
fn firmware_and_architecture_must_agree() {
    let saved = machine(&[("vda", "A", 10, 1)]);
    let mut present = saved.clone();
    present.machine.firmware = Firmware::Uefi;
    let error = places(&saved, &present, &unattended()).unwrap_err().to_string();
    assert!(error.contains("boots with BIOS, this one was started in UEFI mode"), "{error}");
    present.machine = Machine { architecture: "aarch64".into(), ..saved.machine.clone() };
    assert!(matches!(places(&saved, &present, &unattended()), Err(FitError::Architecture { .. })));
}

#[test]
fn the_error_is_the_whole_text_for_the_operator() {
    let saved = machine(&[("vda", "A", 10, 1)]);
    let present = machine(&[("vda", "F", 10, 9), ("vdb", "T", 3, 0)]);
    insta::assert_snapshot!(places(&saved, &present, &unattended()).unwrap_err(), @r"
    no disk was found for /dev/vda, 10.0 GiB, serial A (disk:serial:A). Nothing was written.
    disks of this machine:
      /dev/vda, 10.0 GiB, serial F [disk:serial:F]: GPT with 1 partition: swap
          not taken: its content (GPT with 1 partition: swap) is neither blank nor this machine's own
      /dev/vdb, 3.0 GiB, serial T [disk:serial:T]: blank
          not taken: it is too small: it has 3221225472 bytes, 3580204544 bytes (3.3 GiB) are needed at least
    /dev/vda needs a disk of at least 3580204544 bytes (3.3 GiB). Add a blank disk of that size, or, if what it holds may be lost for ever, name one of these for erasure or choose it by a mapping: disk:serial:F.
    ");
}

#[test]
fn what_disks_hold_tells_those_with_one_serial_number_apart() {
    let twins = |guids: [u32; 2]| {
        let mut layout = machine(&[("vda", "A", 10, guids[0]), ("vdb", "B", 10, guids[1])]);
        for device in layout.devices.iter_mut() {
            if let Kind::Disk(disk) = &mut device.kind {
                disk.identity.serial = Some("0000".into());
            }
        }
        layout
    };
    let saved = twins([1, 2]);
    assert_eq!(places(&saved, &twins([2, 1]), &unattended()).unwrap(), ["A>B", "B>A"]);
    // One of them was replaced by a blank one with the same number.
    assert_eq!(places(&saved, &twins([0, 1]), &unattended()).unwrap(), ["A>B", "B>A"]);
    let error = places(&saved, &twins([0, 0]), &unattended()).unwrap_err();
    assert!(matches!(error, FitError::Ambiguous { .. }), "{error}");
}
