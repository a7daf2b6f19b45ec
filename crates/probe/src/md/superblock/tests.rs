use super::*;

fn put(sb: &mut [u8], at: usize, bytes: &[u8]) {
    sb[at..at + bytes.len()].copy_from_slice(bytes);
}

/// A superblock of version 1.x as mdadm writes it: the third of four devices, which is number 2 and has slot 1.
fn new_one(offset: u64) -> Vec<u8> {
    let mut sb = vec![0; LEN];
    put(&mut sb, 0, &MAGIC.to_le_bytes());
    put(&mut sb, 4, &1_u32.to_le_bytes());
    put(&mut sb, 16, &(0..16).collect::<Vec<u8>>());
    put(&mut sb, 32, b"host1:data");
    put(&mut sb, 72, &5_u32.to_le_bytes());
    put(&mut sb, 76, &2_u32.to_le_bytes());
    put(&mut sb, 80, &131_072_u64.to_le_bytes());
    put(&mut sb, 88, &1024_u32.to_le_bytes());
    put(&mut sb, 92, &3_u32.to_le_bytes());
    put(&mut sb, 128, &2048_u64.to_le_bytes());
    put(&mut sb, 144, &(offset / 512).to_le_bytes());
    put(&mut sb, 160, &2_u32.to_le_bytes());
    put(&mut sb, 220, &128_u32.to_le_bytes());
    for (number, role) in [0_u16, 2, 1, 0xFFFF, 0xFFFE, 0xFFFD].into_iter().enumerate() {
        put(&mut sb, 256 + 2 * number, &role.to_le_bytes());
    }
    sb
}

#[test]
fn version_1_is_read_whole() {
    let sb = version1(&new_one(4096), 4096).unwrap();
    assert_eq!(
        sb,
        Superblock {
            uuid: "00010203:04050607:08090a0b:0c0d0e0f".into(),
            name: "host1:data".into(),
            version: "1.2",
            level: 5,
            layout: 2,
            chunk: 512 << 10,
            component: 64 << 20,
            data_offset: 1 << 20,
            raid_disks: 3,
            role: Role::Slot(1),
        }
    );
    assert_eq!(version1(&new_one(0), 0).unwrap().version, "1.1");
    assert_eq!(version1(&new_one(1 << 20), 1 << 20).unwrap().version, "1.0");
    // One that says that it stands elsewhere is the image of another device.
    assert_eq!(version1(&new_one(4096), 0), None);
    for (number, role) in [(3, Role::Spare), (4, Role::Faulty), (5, Role::Journal), (128, Role::Spare)] {
        let mut bytes = new_one(0);
        put(&mut bytes, 160, &u32::to_le_bytes(number));
        assert_eq!(version1(&bytes, 0).unwrap().role, role);
    }
    for len in [0, 3, 95, 200, 261] {
        assert_eq!(version1(&new_one(0)[..len], 0), None);
    }
}

#[test]
fn a_raid0_has_a_layout_only_where_it_is_recorded() {
    let mut bytes = new_one(0);
    put(&mut bytes, 72, &0_u32.to_le_bytes());
    put(&mut bytes, 76, &1_u32.to_le_bytes());
    assert_eq!(version1(&bytes, 0).unwrap().layout, 0);
    put(&mut bytes, 8, &RAID0_LAYOUT.to_le_bytes());
    assert_eq!(version1(&bytes, 0).unwrap().layout, 1);
}

#[test]
fn version_0_is_read_whole() {
    let mut bytes = vec![0; LEN];
    let mut word = |index: usize, value: u32| put(&mut bytes, index * 4, &value.to_le_bytes());
    for (index, value) in
        [(0, MAGIC), (2, 90), (5, 0x11), (7, 1), (8, 65536), (10, 2), (13, 0x22), (14, 0x33)]
    {
        word(index, value);
    }
    word(15, 0x44);
    word(992 + 3, 1);
    word(992 + 4, 6);
    let sb = version0(&bytes).unwrap();
    assert_eq!(sb.uuid, "00000011:00000022:00000033:00000044");
    assert_eq!((sb.version, sb.level, sb.component, sb.raid_disks), ("0.90", 1, 64 << 20, 2));
    assert_eq!(sb.role, Role::Slot(1));
    put(&mut bytes, 996 * 4, &1_u32.to_le_bytes());
    assert_eq!(version0(&bytes).unwrap().role, Role::Faulty);
    put(&mut bytes, 996 * 4, &0_u32.to_le_bytes());
    assert_eq!(version0(&bytes).unwrap().role, Role::Spare);
}

#[test]
fn superblocks_at_the_end_are_found_where_the_kernel_puts_them() {
    // mdp_superblock: MD_NEW_SIZE_SECTORS; super_1_load: 8 KiB from the end, rounded down to 4 KiB.
    assert_eq!(end_of_version0(100 << 20), Some((100 << 20) - 65536));
    assert_eq!(end_of_version0((100 << 20) + 512), Some((100 << 20) - 65536));
    assert_eq!(end_of_version1(100 << 20), Some((100 << 20) - 8192));
    assert_eq!(end_of_version1((100 << 20) + 512), Some((100 << 20) - 8192));
    assert_eq!(end_of_version1((100 << 20) - 512), Some((100 << 20) - 12288));
    assert_eq!((end_of_version0(4096), end_of_version1(4096)), (None, None));
}

/// A superblock that mdadm 4.2 and Linux 6.1 wrote, of which only the pieces that are not zero are kept.
fn real(pieces: &[(usize, &str)]) -> Vec<u8> {
    let mut sb = vec![0; LEN];
    for (at, hex) in pieces {
        let bytes: Vec<u8> =
            (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect();
        put(&mut sb, *at, &bytes);
    }
    sb
}

const UUID: &str = "00112233:44556677:8899aabb:ccddeeff";

#[test]
fn superblocks_of_real_arrays_are_read() {
    // --create --level=raid5 --raid-devices=3 --spare-devices=1 --metadata=1.2 --chunk=64K --layout=right-asymmetric
    // --size=8192K --bitmap=internal --data-offset=1024K c THIS b d
    let raid5 = real(&[
        (0, "fc4e2ba901000000010000000000000000112233445566778899aabbccddeeff686f7374313a64617461"),
        (64, "e6aa046b0000000005000000010000000040000000000000800000000300000008"),
        (128, "000800000000000000f801000000000008000000000000000000000000000000010000000000000037225ed0"),
        (172, "2bd46a9308e6ad4ffd2cb2ed0000080010"),
        (192, "f7aa046b000000001100000000000000ffffffffffffffff2cd8615c80"),
        (256, "000001000200ffff"),
    ]);
    let expected = Superblock {
        uuid: UUID.into(),
        name: "host1:data".into(),
        version: "1.2",
        level: 5,
        layout: 1,
        chunk: 64 << 10,
        component: 8 << 20,
        data_offset: 1 << 20,
        raid_disks: 3,
        role: Role::Slot(1),
    };
    assert_eq!(version1(&raid5, 4096).unwrap(), expected);
    // --create --level=raid1 --raid-devices=2 --metadata=1.0 --homehost=<none> --name=plain --size=65512K THIS b, on
    // 64 MiB.
    let raid1 = real(&[
        (0, "fc4e2ba901000000000000000000000000112233445566778899aabbccddeeff706c61696e"),
        (64, "50ab046b000000000100000000000000d0ff0100000000000000000002"),
        (128, "0000000000000000e0ff010000000000f0ff010000000000"),
        (168, "d7b786378378ef02ae60ec928fbfa53700000800f8ffffff"),
        (216, "cb40cf5380"),
        (256, "00000100ffff"),
    ]);
    let expected = Superblock {
        uuid: UUID.into(),
        name: "plain".into(),
        version: "1.0",
        level: 1,
        layout: 0,
        chunk: 0,
        component: 65512 << 10,
        data_offset: 0,
        raid_disks: 2,
        role: Role::Slot(0),
    };
    assert_eq!(version1(&raid1, end_of_version1(64 << 20).unwrap()).unwrap(), expected);
    // --create --level=raid1 --raid-devices=3 --metadata=0.90 --size=8192K --bitmap=internal THIS missing b
    let old = real(&[
        (0, "fc4e2ba9000000005a00000000000000000000003322110045ab046b01000000002000000200000003000000"),
        (52, "77665544bbaa9988ffeeddcc"),
        (
            128,
            "49ab046b0101000002000000020000000100000000000000a1ec121911000000000000001100000000000000ffffffff",
        ),
        (3968, "00000000fd000000000000000000000006"),
    ]);
    let expected = Superblock {
        uuid: UUID.into(),
        name: String::new(),
        version: "0.90",
        level: 1,
        layout: 0,
        chunk: 0,
        component: 8 << 20,
        data_offset: 0,
        raid_disks: 3,
        role: Role::Slot(0),
    };
    assert_eq!(version0(&old).unwrap(), expected);
}
