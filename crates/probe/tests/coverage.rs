//! What a backup holds, leaves out and refuses, on machines made of files.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Fake, tool};
use probe::{Coverage, Decision, Rules};

const MIB: u64 = 1 << 20;
const DOS: &str = "label: dos\nlabel-id: 0x12345678\n1 : start=2048, size=32768, type=83\n\
    2 : start=40960, size=16384, type=82\n3 : start=60000, size=32768, type=7\n";

/// `/` on vda1, swap on vda2, something in vda3 that `third` decides.
fn machine(third: impl FnOnce(&str)) -> Fake {
    let mut fake = Fake::new();
    let (_, images) = fake.table("vda", 64 * MIB, DOS);
    tool(
        "mke2fs",
        &["-q", "-t", "ext4", "-U", "6a0e4b5a-0000-4000-8000-000000000001", images[&1].to_str().unwrap()],
    );
    tool("mkswap", &["-q", "-L", "swap", images[&2].to_str().unwrap()]);
    third(images[&3].to_str().unwrap());
    fake.mounts(&[(1, "/", "ext4")]);
    fake.put("/swapfile", "");
    std::fs::File::options().write(true).open(fake.path("/swapfile".as_ref())).unwrap().set_len(MIB).unwrap();
    tool(
        "mkswap",
        &["-q", "-L", "in file", "-U", SWAP_UUID, fake.path("/swapfile".as_ref()).to_str().unwrap()],
    );
    fake.put("/proc/swaps", "Filename Type Size Used Priority\n/dev/vda2 partition 8188 0 -2\n/swapfile file 4 0 -3\n/dev/zram0 partition 100 0 5\n");
    fake
}

const SWAP_UUID: &str = "1c84e0a8-1b3a-4f0b-9c61-0e6c5a3a6a11";

fn cover(fake: &Fake, rules: &Rules<'_>) -> Coverage {
    probe::coverage(fake, &probe::machine(fake).unwrap(), rules).unwrap()
}

fn refused(coverage: &Coverage) -> Vec<String> {
    let why = |row: &probe::CoverageRow| match &row.decision {
        Decision::Unsupported { why } => why.clone(),
        other => panic!("{other:?}"),
    };
    coverage.unsupported().map(why).collect()
}

fn ntfs(image: &str) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::OpenOptions::new().write(true).open(image).unwrap();
    file.write_all_at(b"\xEB\x52\x90NTFS    ", 0).unwrap();
}

#[test]
fn what_is_used_is_captured_and_a_second_disk_stays() {
    let mut fake = machine(|_| {});
    let image = fake.image("second", 16 * MIB);
    tool("mkfs.vfat", &[image.to_str().unwrap()]);
    fake.disk("vdb", &image, 512);
    let rules = Rules { autoexclude_disks: true, ..Rules::default() };
    let layout = probe::machine(&fake).unwrap();
    let coverage = probe::coverage(&fake, &layout, &rules).unwrap();
    assert_eq!(refused(&coverage), [""; 0]);
    assert_eq!(coverage.mounts, ["/"]);
    assert_eq!(coverage.recreate, [layout.device_by_path("/dev/vda").unwrap().id.clone()]);
    insta::assert_snapshot!(coverage.table(), @r"
    WHAT                  TYPE                          USED  FILES  DECISION
    /                     ext4                      32.0 MiB    100  captured
    /dev/vda2             swap                       7.9 MiB         captured
    /dev/zram0            swap                     100.0 KiB         excluded: compressed memory, made anew at every boot
    /swapfile             swap file                  1.0 MiB         made again, without what it holds
    /dev/vdb              disk                                       excluded: nothing of it is in the backup: left untouched
    1 pseudo filesystems  proc, sysfs, tmpfs, ...                    excluded: made anew at every boot
    ");
    let reduced = probe::reduce(&layout, &coverage);
    assert_eq!(reduced.check(), []);
    assert_eq!((reduced.devices.len(), reduced.mounts.len()), (4, 1));
    assert!(
        layout
            .device_by_path("/dev/vda2")
            .is_some_and(|device| matches!(&device.content, layout::Content::Swap(swap) if swap.active))
    );
    assert_eq!(layout.device_by_path("/dev/vda1").unwrap().filesystem().unwrap().used.unwrap().0, 32 << 20);
    let sources = probe::sources(&fake, &layout).unwrap();
    assert_eq!(sources.into_iter().collect::<Vec<_>>(), coverage.recreate);
}

#[test]
fn what_would_be_lost_needs_a_yes() {
    let fake = machine(ntfs);
    let text = "/dev/vda3 (ntfs) is not mounted: its content would be lost when /dev/vda is recreated; to save it block by block, \
                name /dev/vda3 in BLOCKCLONE_SOURCE_DEV";
    assert_eq!(refused(&cover(&fake, &Rules::default())), [text]);
    let waive = ["/dev/vda3".to_owned()];
    let coverage = cover(&fake, &Rules { waive: &waive, ..Rules::default() });
    assert_eq!(refused(&coverage), [""; 0]);
    // What was waived keeps its place in the table, comes back empty, and does not stand in the way.
    let layout = probe::machine(&fake).unwrap();
    let reduced = probe::reduce(&layout, &coverage);
    assert_eq!(reduced.device_by_path("/dev/vda3").unwrap().content, layout::Content::Empty);
    assert!(plan::recoverable(&layout).is_err());
    plan::recoverable(&reduced).unwrap();
    let data = machine(|image| std::fs::write(image, "x").unwrap());
    let refusal = refused(&cover(&data, &Rules::default()));
    assert!(
        refusal[0].starts_with("/dev/vda3 (data without a known signature) cannot be backed up"),
        "{refusal:?}"
    );
}

#[test]
fn what_is_named_is_saved_block_by_block() {
    let named = ["/dev/vda3".to_owned()];
    let rules = Rules { blockclone: &named, ..Rules::default() };
    for third in [ntfs, |image: &str| std::fs::write(image, "x").unwrap(), |_: &str| {}] {
        let fake = machine(third);
        let coverage = cover(&fake, &rules);
        assert_eq!(refused(&coverage), [""; 0]);
        let row = coverage.rows.iter().find(|row| row.what == "/dev/vda3").unwrap();
        assert_eq!(row.decision, Decision::Cloned);
        let layout = probe::machine(&fake).unwrap();
        let reduced = probe::reduce(&layout, &coverage);
        let id = &layout.device_by_path("/dev/vda3").unwrap().id;
        assert_eq!(reduced.cloned, [id.clone()].into());
        assert_eq!(reduced.check(), []);
        // Nothing is made on it, whatever it is.
        plan::recoverable(&reduced).unwrap();
        assert_eq!(layout::Layout::from_json(&reduced.to_json().unwrap()).unwrap(), reduced);
    }
    let fake = machine(|image| {
        tool("mkfs.vfat", &[image]);
    });
    fake.mounts(&[(1, "/", "ext4"), (3, "/data", "vfat")]);
    let refusal = refused(&cover(&fake, &rules));
    assert!(refusal.len() == 1 && refusal[0].contains("is mounted at /data"), "{refusal:?}");
    for (name, word) in
        [("/dev/vda9", "is not on this machine"), ("/dev/vda", "whole disk"), ("/dev/vda2", "in use")]
    {
        let named = [name.to_owned()];
        let refusal = refused(&cover(&machine(|_| {}), &Rules { blockclone: &named, ..Rules::default() }));
        assert!(refusal.len() == 1 && refusal[0].contains(word), "{refusal:?}");
    }
}

#[test]
fn a_path_left_out_by_default_is_no_yes_but_a_named_mount_point_is() {
    let fake = machine(|image| {
        tool("mkfs.vfat", &[image]);
    });
    fake.mounts(&[(1, "/", "ext4"), (3, "/mnt/data", "vfat")]);
    let captured = cover(&fake, &Rules::default());
    assert_eq!(captured.mounts, ["/", "/mnt/data"]);
    let auto = ["/mnt".to_owned()];
    let rules = Rules { autoexclude_path: &auto, ..Rules::default() };
    let refusal = refused(&cover(&fake, &rules));
    assert!(
        refusal[0].contains(
            "not in the backup (below /mnt (AUTOEXCLUDE_PATH)), but its disk /dev/vda is made again"
        ),
        "{refusal:?}"
    );
    let waive = ["/mnt/data".to_owned()];
    assert_eq!(refused(&cover(&fake, &Rules { waive: &waive, ..rules })), [""; 0]);
    let named = ["fs:/mnt/data/".to_owned()];
    let rules = Rules { exclude_backup: &named, ..rules };
    let coverage = cover(&fake, &rules);
    assert_eq!(refused(&coverage), [""; 0]);
    assert_eq!(coverage.mounts, ["/"]);
    let part = ["/dev/vda3".to_owned()];
    let refusal = refused(&cover(&fake, &Rules { exclude_components: &part, ..Rules::default() }));
    assert!(refusal[0].contains("EXCLUDE_COMPONENTS names /dev/vda3), but its disk"), "{refusal:?}");
    let disk = ["disk:/dev/vda".to_owned()];
    let coverage = cover(&fake, &Rules { exclude_components: &disk, ..rules });
    assert_eq!((coverage.mounts.len(), coverage.recreate.len()), (0, 0));
}

#[test]
fn a_mount_point_that_is_not_made_again_needs_a_yes_where_its_disk_is() {
    let fake = machine(|image| {
        tool("mkfs.vfat", &[image]);
    });
    fake.mounts(&[(1, "/", "ext4"), (3, "/data", "vfat")]);
    let data = ["/data".to_owned()];
    let rules = Rules { exclude_mountpoints: &data, autoexclude_disks: true, ..Rules::default() };
    let refusal = refused(&cover(&fake, &rules));
    assert!(
        refusal.len() == 1
            && refusal[0].contains("(EXCLUDE_MOUNTPOINTS), but its disk /dev/vda is made again"),
        "{refusal:?}"
    );
    for yes in [Rules { waive: &data, ..rules }, Rules { exclude_backup: &data, ..rules }] {
        let coverage = cover(&fake, &yes);
        assert_eq!(refused(&coverage), [""; 0]);
        assert_eq!(coverage.mounts, ["/"]);
    }
}

/// `/` on vda1, `/data` on vdb1, and nothing else on vdb but perhaps swap.
fn two_disks() -> Fake {
    let mut fake = machine(|_| {});
    let (place, images) = fake.table(
        "vdb",
        64 * MIB,
        "label: dos\nlabel-id: 0x87654321\n1 : start=2048, size=32768, type=83\n2 : start=40960, size=16384, type=82\n",
    );
    tool("mkfs.vfat", &[images[&1].to_str().unwrap()]);
    tool("mkswap", &["-q", images[&2].to_str().unwrap()]);
    let number = std::fs::read_to_string(fake.path(format!("{place}/vdb1/dev").as_ref())).unwrap();
    fake.put(
        "/proc/self/mountinfo",
        &format!(
            "20 1 254:17 / / rw - ext4 /dev/vda1 rw\n21 20 {} / /data rw - vfat /dev/vdb1 rw\n\
             22 20 254:17 /srv/x /var/x rw - ext4 /dev/vda1 rw\n",
            number.trim()
        ),
    );
    fake
}

#[test]
fn a_component_may_be_named_by_its_mount_point() {
    let fake = two_disks();
    let all = cover(&fake, &Rules::default());
    assert_eq!((all.mounts.len(), all.recreate.len()), (2, 2));
    for name in ["fs:/data", "/data", "/data/", "part:/dev/vdb1", "/dev/vdb1", "/dev/vdb"] {
        let rule = [name.to_owned()];
        // Also where other unused disks are made again: this one is spared.
        for autoexclude_disks in [true, false] {
            let rules = Rules { exclude_components: &rule, autoexclude_disks, ..Rules::default() };
            let coverage = cover(&fake, &rules);
            assert_eq!(refused(&coverage), [""; 0], "{name}");
            assert_eq!((coverage.mounts.len(), coverage.recreate.len()), (1, 1), "{name}");
        }
    }
    // A bind mount of the root filesystem is no name of the root filesystem.
    let bind = ["/var/x".to_owned()];
    let coverage = cover(&fake, &Rules { exclude_components: &bind, ..Rules::default() });
    assert_eq!(refused(&coverage), [""; 0]);
    assert_eq!((coverage.mounts.len(), coverage.recreate.len()), (2, 2));
    // A mount point that is left out spares its disk as well.
    let rule = ["/data".to_owned()];
    let coverage = cover(&fake, &Rules { exclude_mountpoints: &rule, ..Rules::default() });
    assert_eq!((refused(&coverage).len(), coverage.recreate.len()), (0, 1));
}

#[test]
fn what_shares_a_disk_with_something_captured_is_not_spared() {
    let fake = two_disks();
    fake.put("/proc/swaps", "Filename Type Size Used Priority\n/dev/vdb2 partition 8188 0 -2\n");
    let rule = ["fs:/data".to_owned()];
    let refusal = refused(&cover(&fake, &Rules { exclude_components: &rule, ..Rules::default() }));
    assert!(refusal.len() == 1 && refusal[0].contains("but its disk /dev/vdb is made again"), "{refusal:?}");
    let both = ["fs:/data".to_owned(), "swap:/dev/vdb2".to_owned()];
    let coverage = cover(&fake, &Rules { exclude_components: &both, ..Rules::default() });
    assert_eq!((refused(&coverage).len(), coverage.recreate.len()), (0, 1));
}

#[test]
fn a_component_that_is_not_there_is_an_error() {
    let fake = two_disks();
    for name in ["/dta", "fs:/dta", "/dev/vdc", "swap:/dev/vda9", "sdb"] {
        let rule = [name.to_owned()];
        let refusal = refused(&cover(&fake, &Rules { exclude_components: &rule, ..Rules::default() }));
        let text = format!("EXCLUDE_COMPONENTS names {name}, which is not on this machine");
        assert!(refusal.len() == 1 && refusal[0].starts_with(&text), "{refusal:?}");
    }
}

#[test]
fn every_kind_of_mount_gets_its_decision() {
    let fake = machine(|_| {});
    let mounts = "\
20 1 254:17 / / rw - ext4 /dev/vda1 rw\n\
21 20 0:5 / /proc rw - proc proc rw\n\
22 20 254:17 /srv/x /var/x rw - ext4 /dev/vda1 rw\n\
23 20 254:17 / /again rw - ext4 /dev/vda1 rw\n\
24 20 0:50 / /net rw - nfs4 server:/x rw\n\
25 20 0:51 / /btr /btr - broken\n";
    fake.put("/proc/self/mountinfo", mounts);
    assert!(probe::machine(&fake).is_err());
    let mounts = mounts.replace(
        "25 20 0:51 / /btr /btr - broken\n",
        "\
26 20 0:52 / /tank rw - zfs tank rw\n\
27 20 7:1 / /snap/core ro - squashfs /dev/loop1 ro\n\
28 20 7:2 / /img rw - ext4 /dev/loop2 rw\n\
29 20 253:0 / /data rw - xfs /dev/mapper/vg-data rw\n\
30 20 0:53 / /home/u/gvfs rw - fuse.gvfsd-fuse gvfs rw\n\
31 20 0:54 / /union rw - fuse.mergerfs a:b rw\n\
32 20 11:0 / /media/cd ro - iso9660 /dev/sr0 ro\n\
33 20 254:19 / /over rw - xfs /dev/vda3 rw\n",
    );
    fake.put("/proc/self/mountinfo", &mounts);
    insta::assert_snapshot!(cover(&fake, &Rules::default()).table(), @r"
    WHAT                  TYPE                          USED  FILES  DECISION
    /                     ext4                      32.0 MiB    100  captured
    /var/x                ext4                                       excluded: second view (bind mount) of /dev/vda1, which is mounted at /
    /again                ext4                                       excluded: second mount of /dev/vda1, which is mounted at /
    /net                  nfs4                                       excluded: network filesystem: restored from its server
    /tank                 zfs                       32.0 MiB    500  UNSUPPORTED: zfs ('tank') cannot be made again
    /img                  ext4                                       excluded: lies in a file (loop device), which is kept as a file
    /data                 xfs                       32.0 MiB    500  UNSUPPORTED: xfs lies on /dev/mapper/vg-data, which is no disk or partition that is known here
    /union                fuse.mergerfs                              excluded: presented by a program (FUSE), which keeps its files elsewhere
    /media/cd             iso9660                                    excluded: read-only medium or image
    /over                 xfs                       32.0 MiB    500  UNSUPPORTED: xfs is mounted from /dev/vda3, but no known filesystem was found there
    /dev/vda2             swap                       7.9 MiB         captured
    /dev/zram0            swap                     100.0 KiB         excluded: compressed memory, made anew at every boot
    /swapfile             swap file                  1.0 MiB         made again, without what it holds
    3 pseudo filesystems  proc, sysfs, tmpfs, ...                    excluded: made anew at every boot
    ");
}

#[test]
fn dangling_entries_of_fstab_are_found() {
    let fake = machine(|_| {});
    let layout = probe::machine(&fake).unwrap();
    fake.put(
        "/etc/fstab",
        "# comment\n\
        UUID=6A0E4B5A-0000-4000-8000-000000000001 / ext4 errors=remount-ro 0 1\n\
        PARTUUID=12345678-01 /a ext4 defaults 0 1\n\
        LABEL=swap none swap sw 0 0\n\
        /dev/vda2 none swap sw 0 0\n\
        /dev/sr0 /media/cdrom udf,iso9660 user,noauto 0 0\n\
        server:/x /net nfs defaults 0 0\n\
        tmpfs /tmp tmpfs defaults 0 0\n\
        UUID=gone /opt ext4 nofail 0 2\n\
        /srv/a /b none bind 0 0\n\
        UUID=gone /data ext4 defaults 0 2\n\
        /dev/disk/by-label/old\\134x20disk none swap sw 0 0\n\
        /dev/sdz1 /z xfs defaults\n",
    );
    let problems = probe::fstab_problems(&fake, &layout).unwrap();
    assert_eq!(problems.len(), 3, "{problems:#?}");
    assert!(problems[0].contains("mount point /data names UUID=gone"));
    assert!(problems[1].contains("swap names /dev/disk/by-label/old"));
    assert!(problems[2].contains("/dev/sdz1"));
}

#[test]
fn what_lies_on_stacked_devices_is_linked_and_refused_by_name() {
    let cases = [
        (
            "vg-data",
            "LVM-abcdefghijklmnopqrstuvwxyz012345ABCDEFGHIJKLMNOPQRSTUVWXYZ012345",
            "a logical volume whose group's metadata was not found",
        ),
        (
            "crypt",
            "CRYPT-LUKS2-0123456789abcdef0123456789abcdef-crypt",
            "an encrypted volume whose header is not in front of its data",
        ),
        ("odd", "", "a device-mapper volume"),
    ];
    for (name, uuid, what) in cases {
        let mut fake = machine(|image| {
            use std::os::unix::fs::FileExt;
            let file = std::fs::OpenOptions::new().write(true).open(image).unwrap();
            file.write_all_at(b"LUKS\xBA\xBE\x00\x02", 0).unwrap();
        });
        let below = std::fs::canonicalize(fake.path(std::path::Path::new("/sys/class/block/vda3"))).unwrap();
        let below = below.to_string_lossy();
        let below = &below[below.find("/sys/devices").unwrap()..];
        let image = fake.image("lv", 8 * MIB);
        tool("mke2fs", &["-q", "-t", "ext4", image.to_str().unwrap()]);
        fake.mapped(name, uuid, &image, below);
        fake.put(
            "/proc/self/mountinfo",
            "20 1 254:17 / / rw - ext4 /dev/vda1 rw\n21 20 253:0 / /data rw - ext4 /dev/mapper/x rw\n",
        );
        let layout = probe::machine(&fake).unwrap();
        let volume = layout.mounted_at("/data").unwrap();
        assert_eq!(layout.disks_below(&volume.id)[0].path, "/dev/vda");
        assert!(layout.tree().contains("└─ /dev/dm-0"), "{}", layout.tree());
        let refusal = refused(&probe::coverage(&fake, &layout, &Rules::default()).unwrap());
        assert_eq!(refusal, [format!("/dev/dm-0 is {what}, which cannot be made again so far")]);
        let group = ["/dev/vg".to_owned()];
        let rules = Rules { exclude_components: &group, ..Rules::default() };
        let refusal = refused(&probe::coverage(&fake, &layout, &rules).unwrap());
        let expected = if name == "vg-data" {
            "but its disk /dev/vda is made again"
        } else {
            "which cannot be made again"
        };
        assert!(refusal[0].contains(expected), "{refusal:?}");
        // A mount that lies on nothing but the volume makes its disk a source.
        fake.put("/proc/self/mountinfo", "21 20 253:0 / /data rw - ext4 /dev/mapper/x rw\n");
        fake.put("/proc/swaps", "");
        let disk = layout.device_by_path("/dev/vda").unwrap();
        assert!(probe::sources(&fake, &layout).unwrap().contains(&disk.id));
    }
}

/// Storage that this program cannot make again is never passed over in silence, whether it shares a disk with the system or not.
#[test]
fn what_cannot_be_made_again_is_never_a_green_run() {
    use std::os::unix::fs::FileExt;
    const SIZE: u64 = 16 * MIB;
    let cases: [(&str, u64, &[u8]); 7] = [
        ("bcache device", 4096 + 24, &[0xC6, 0x85, 0x73, 0xF6, 0x4E, 0x1A, 0x45, 0xCA, 0x82, 0x65]),
        ("dm-integrity device", 0, b"integrt\0"),
        ("DRBD backing device", SIZE - 4096 + 60, &[0x83, 0x74, 0x02, 0x6D]),
        ("Stratis pool", 512 + 4, b"!Stra0tis\x86\xFF\x02^\x41rh"),
        ("VDO volume", 0, b"dmvdo001"),
        ("ZFS member", (128 << 10) + 8192, &[0x0C, 0xB1, 0xBA, 0]),
        ("bcachefs", 4096 + 24, &[0xC6, 0x85, 0x73, 0xF6, 0x66, 0xCE, 0x90, 0xA9]),
    ];
    for (name, at, magic) in cases {
        let put = |image: &str, at: u64| {
            std::fs::OpenOptions::new().write(true).open(image).unwrap().write_all_at(magic, at).unwrap();
        };
        // A disk of its own that nothing mounted leads to.
        let mut fake = machine(|_| {});
        let image = fake.image("second", SIZE);
        put(image.to_str().unwrap(), at);
        fake.disk("vdb", &image, 512);
        let rules = Rules { autoexclude_disks: true, ..Rules::default() };
        let refusal = refused(&cover(&fake, &rules));
        let text = format!("/dev/vdb ({name}) is neither saved nor made again: ");
        assert!(refusal.len() == 1 && refusal[0].starts_with(&text), "{name}: {refusal:?}");
        let disk = ["/dev/vdb".to_owned()];
        assert_eq!(refused(&cover(&fake, &Rules { exclude_components: &disk, ..rules })), [""; 0], "{name}");
        assert_eq!(refused(&cover(&fake, &Rules { waive: &disk, ..rules })), [""; 0], "{name}");
        // On the disk of the system, in a partition of the same size.
        let fake = machine(|image| put(image, at));
        let refusal = refused(&cover(&fake, &Rules::default()));
        assert!(refusal.len() == 1 && refusal[0].contains(name), "{name}: {refusal:?}");
    }
}

#[test]
fn an_ntfs_that_windows_has_used_is_refused_and_another_is_plain_files() {
    if !std::path::Path::new("/usr/sbin/mkntfs").exists() {
        eprintln!("skipped: mkntfs is not installed");
        return;
    }
    let fake = machine(|image| {
        tool("mkntfs", &["-Q", "-F", "-q", "-L", "data", image]);
    });
    fake.mounts(&[(1, "/", "ext4"), (3, "/win", "fuseblk")]);
    fake.put("/proc/sys/kernel/osrelease", "6.1.0\n");
    fake.put("/win/file", "x");
    let refusal = refused(&cover(&fake, &Rules::default()));
    assert!(refusal.len() == 1 && refusal[0].contains("no driver ntfs3"), "{refusal:?}");
    fake.put("/lib/modules/6.1.0/kernel/fs/ntfs3/ntfs3.ko", "");
    let coverage = cover(&fake, &Rules::default());
    assert_eq!((refused(&coverage).len(), coverage.mounts.len()), (0, 2));
    fake.put("/win/System Volume Information/x", "");
    let refusal = refused(&cover(&fake, &Rules::default()));
    assert!(refusal.len() == 1 && refusal[0].contains("Windows permissions"), "{refusal:?}");
}

#[test]
fn swap_files_come_back_with_their_filesystem() {
    let fake = machine(|_| {});
    // Not in use, but named; through a link; and two that are no swap space.
    std::fs::create_dir(fake.path("/swap".as_ref())).unwrap();
    let second = fake.path("/swap/second".as_ref());
    std::fs::File::create(&second).unwrap().set_len(2 * MIB).unwrap();
    tool(
        "mkswap",
        &["-q", "-p", "65536", "-U", "5f0c8a52-47c8-4a6b-a5a4-0e8f7f5b1f02", second.to_str().unwrap()],
    );
    std::os::unix::fs::symlink("swap/second", fake.path("/link".as_ref())).unwrap();
    fake.put("/notes", "no swap space");
    fake.put("/etc/fstab", "/swapfile none swap sw 0 0\n/link none swap sw,nofail 0 0\n/notes none swap sw 0 0\n/gone none swap sw 0 0\n");
    let layout = probe::machine(&fake).unwrap();
    let root = layout.device_by_path("/dev/vda1").unwrap();
    let found: Vec<_> = layout
        .swap_files_of(&root.id)
        .map(|file| {
            (file.path.as_str(), file.size.0, file.swap.label.as_str(), file.swap.page_size, file.swap.active)
        })
        .collect();
    assert_eq!(
        found,
        [("/swap/second", 2 * MIB, "", 65536, false), ("/swapfile", MIB, "in file", 4096, true)]
    );
    assert_eq!(layout.swap_files[1].swap.uuid, SWAP_UUID);
    let coverage = cover(&fake, &Rules::default());
    assert_eq!(coverage.hollow, ["/swap/second", "/swapfile"]);
    let reduced = probe::reduce(&layout, &coverage);
    assert_eq!(reduced.swap_files, layout.swap_files);
    assert_eq!(layout::diff(&layout, &layout), []);
    let plan = plan::recoverable(&reduced).unwrap();
    assert_eq!(plan.swap_files, layout.swap_files);
    assert!(plan.tools().iter().any(|tool| tool == "swapon"));
    let text = plan.text_verbose();
    let (_, later) = text.split_once("When the files are restored:\n").unwrap();
    insta::assert_snapshot!(later, @"
    make the swap file /swap/second of 2.0 MiB again with UUID 5f0c8a52-47c8-4a6b-a5a4-0e8f7f5b1f02
    $ mkswap --force --pagesize 65536 --uuid 5f0c8a52-47c8-4a6b-a5a4-0e8f7f5b1f02 /swap/second
    make the swap file 'in file' /swapfile of 1.0 MiB again with UUID 1c84e0a8-1b3a-4f0b-9c61-0e6c5a3a6a11
    $ mkswap --force --pagesize 4096 --label 'in file' --uuid 1c84e0a8-1b3a-4f0b-9c61-0e6c5a3a6a11 /swapfile
    ");
    // Where its filesystem does not come back, neither does it, and its content is no hole of the archive.
    let root_only = ["/".to_owned()];
    let coverage = cover(&fake, &Rules { exclude_backup: &root_only, ..Rules::default() });
    assert_eq!(coverage.hollow, [""; 0]);
    assert!(coverage.table().contains("excluded: / is not captured"), "{}", coverage.table());
}
