//! Every option that people give to mkfs comes back: filesystems made with the real tools, saved, recreated on a
//! blank disk and compared field by field of their superblocks.

#![allow(clippy::unwrap_used)]

mod machine;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use apply::{Journal, Silent};
use layout::diff;
use machine::{Machine, fast_dir};
use plan::Choices;
use sys::Cancel;

const GIB: u64 = 1 << 30;

/// One partition for each list of commands; `@` stands for its node.
fn round_trip(each: u64, cases: &[&str]) {
    let disk = each * (cases.len() as u64 + 2);
    let original = Machine::new();
    original.disk("vda", "S1", disk);
    let sectors = each / 512;
    let mut script = "label: gpt\nfirst-lba: 34\n".to_owned();
    for i in 1..=cases.len() {
        script.push_str(&format!("{i} : start={}, size={}\n", i as u64 * sectors, sectors - i as u64 % 3));
    }
    original.tool("sfdisk", &["-q", "/dev/vda"], &script);
    // debugfs takes its request as one argument or from a file.
    let dir = fast_dir();
    let requests = dir.path().join("requests");
    std::fs::write(&requests, "set_super_value flags 2\nset_super_value mount_opts nodiscard,barrier\n")
        .unwrap();
    for (i, case) in cases.iter().enumerate() {
        for line in case.split(';') {
            let words = line.split_whitespace().map(|word| match word {
                "FLAGS" => requests.to_string_lossy().into_owned(),
                word => word.replace('@', &format!("/dev/vda{}", i + 1)),
            });
            let words: Vec<String> = words.collect();
            let (program, args) = words.split_first().unwrap();
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            original.tool(program, &args, "");
        }
    }
    original.mounted("/dev/vda1", "/", "ext4");
    let mut saved = original.layout();
    let blank = Arc::new(Machine::new());
    blank.disk("vda", "S1", disk);
    let present = blank.layout();
    let choices = Choices { unattended: true, ..Choices::default() };
    let fit = plan::fit(&saved, &present, &BTreeMap::new(), &choices).unwrap();
    let plan = plan::plan(&saved, &present, fit, "point", "/mnt/local").unwrap();
    let mut journal = Journal::open(&dir.path().join("journal"), &plan).unwrap();
    let targets = apply::targets(&plan, &present, &BTreeMap::new()).unwrap();
    apply::run_with(&*blank, blank.clone(), &plan, targets, &mut journal, &Silent, &Cancel::default())
        .unwrap();
    blank.unmount_all();
    let now = blank.layout();
    saved.mounts.clear();
    let changes: Vec<String> = diff(&saved, &now).iter().map(ToString::to_string).collect();
    assert_eq!(changes, [""; 0]);
}

#[test]
fn ext() {
    round_trip(
        GIB / 8,
        &[
            "mke2fs -q -F -t ext4 @",
            "mke2fs -q -F -t ext2 @",
            "mke2fs -q -F -t ext3 -I 128 -J size=16 @",
            "mke2fs -q -F -t ext4 -b 4096 -m 1 -L data_disk -O ^has_journal @",
            "mke2fs -q -F -t ext4 -b 2048 -I 512 -N 5000 -G 64 @",
            "mke2fs -q -F -t ext4 -O ^64bit,^metadata_csum,uninit_bg @",
            "mke2fs -q -F -t ext4 -O metadata_csum_seed,orphan_file,inline_data,project,quota @",
            "mke2fs -q -F -t ext4 -O metadata_csum_seed @;tune2fs -U d385b3ca-a3f5-4b8b-999c-83cec26cc6cb @",
            "mke2fs -q -F -t ext4 -E stride=16,stripe_width=64 -e remount-ro @",
            "mke2fs -q -F -t ext4 @;tune2fs -c 30 -i 180d -r 12345 -o ^acl,journal_data_writeback,nodelalloc @",
            "mke2fs -q -F -t ext4 @;tune2fs -E hash_alg=tea,mount_opts=nodiscard @;tune2fs -e panic @",
            "mke2fs -q -F -t ext4 -O ^resize_inode,meta_bg @",
            "mke2fs -q -F -t ext4 -O sparse_super2,^resize_inode @",
            "mke2fs -q -F -t ext4 -O fast_commit,large_dir,ea_inode,verity,stable_inodes @",
            "mke2fs -q -F -t ext4 -O ^64bit,^flex_bg,^extent,^huge_file,^dir_nlink,^extra_isize @",
            "mke2fs -q -F -t ext4 -b 4096 @ 30000",
            "mke2fs -q -F -t ext4 @ 20000;resize2fs -f @ 120000",
            "mke2fs -q -F -t ext4 @;resize2fs -f @ 90000",
            "mke2fs -q -F -t ext4 -O mmp @",
            "mke2fs -q -F -t ext4 -O encrypt @",
            "mke2fs -q -F -t ext2 -O none @",
            "mke2fs -q -F -t ext4 -T largefile4 @",
            "mke2fs -q -F -r 0 @",
            "mke2fs -q -F -t ext4 @;tune2fs -E hash_alg=legacy,mount_opts=nodiscard @;debugfs -w -f FLAGS @",
        ],
    );
}

#[test]
fn xfs() {
    round_trip(
        GIB / 2,
        &[
            "mkfs.xfs -q -f -l size=6m @",
            "mkfs.xfs -q -f -l size=6m -m crc=0 @",
            "mkfs.xfs -q -f -m crc=0,finobt=0 -i attr=1,projid32bit=0 -l size=6m,lazy-count=0,version=1 @",
            "mkfs.xfs -q -f -l size=6m -m bigtime=0,inobtcount=0,reflink=0,rmapbt=1 -i nrext64=0,sparse=0 @",
            "mkfs.xfs -q -f -l size=6m -m finobt=0,inobtcount=0 -i size=1024,maxpct=10 -L label-x @",
            "mkfs.xfs -q -f -l size=6m -b size=1024 -n size=8192 @",
            "mkfs.xfs -q -f -s size=4096 -l size=20m,su=32768 @",
            "mkfs.xfs -q -f -l size=20m -d su=64k,sw=4 @",
            "mkfs.xfs -q -f -l size=20m,su=4096 -d su=64k,sw=4 @",
            "mkfs.xfs -q -f -d agcount=7 -l size=9m @",
            "mkfs.xfs -q -f -l size=6m -n version=ci @",
            "mkfs.xfs -q -f -l size=6m -d size=100m @",
            "mkfs.xfs -q -f -l size=6m -m crc=0 -n ftype=0 @",
            "mkfs.xfs -q -f -l size=6m @;xfs_admin -U d385b3ca-a3f5-4b8b-999c-83cec26cc6cb @",
            "mkfs.xfs -q -f -l size=20m -d agcount=1 @",
        ],
    );
}

#[test]
fn vfat_and_swap() {
    round_trip(
        GIB / 4,
        &[
            "mke2fs -q -F @",
            "mkfs.vfat @",
            "mkfs.vfat -F 32 @",
            "mkfs.vfat -F 32 -s 1 -R 64 -n EFI @",
            "mkfs.vfat -F 16 -s 32 -n lower -i 0 @",
            "mkfs.vfat -F 32 -S 4096 @",
            "mkfs.vfat -F 12 -s 128 -r 256 -f 1 @ 100000",
            "mkfs.vfat -F 32 -a -h 2048 -D 0 -M 0xf0 @",
            "mkfs.vfat -F 32 @ 65537",
            "mkfs.vfat -F 32 @ 65538",
            "mkfs.vfat -F 16 -a @ 65537",
            "mkfs.vfat -F 16 -s 1 --mbr=n -g 64/61 @ 16384",
            "mkfs.vfat -F 32 --mbr=n -g 64/61 @ 65537",
            "mkfs.vfat -F 32 -i 1A2B3C4D @",
            "mkswap -q @",
            "mkswap -q -L fifteen-bytes-x -U d385b3ca-a3f5-4b8b-999c-83cec26cc6cb @",
            "mkswap -q -U clear @",
        ],
    );
}

/// Filesystems of data partitions; their tools are not everywhere, and NILFS2's refuse plain files.
#[test]
fn data() {
    let tools = ["mkfs.f2fs", "mkfs.jfs", "jfs_tune", "mkntfs", "ntfslabel", "mkfs.exfat", "tune.exfat"];
    let there =
        |tool: &&str| ["/usr/sbin", "/usr/bin", "/sbin"].iter().any(|dir| Path::new(dir).join(tool).exists());
    if let Some(tool) = tools.iter().find(|tool| !there(tool)) {
        eprintln!("skipped: {tool} is not installed");
        return;
    }
    round_trip(
        GIB / 8,
        &[
            "mke2fs -q -F @",
            "mkfs.f2fs -f -q @",
            "mkfs.f2fs -f -q -w 4096 -l two-words -U d385b3ca-a3f5-4b8b-999c-83cec26cc6cb @",
            "mkfs.f2fs -f -q -O extra_attr,inode_checksum,sb_checksum,quota,compression,inode_crtime,lost_found @ 200000",
            "mkfs.f2fs -f -q -O verity,project_quota,extra_attr,flexible_inline_xattr -l ünïcode @",
            "mkfs.jfs -q @",
            "mkfs.jfs -q -O -s 3 -L sixteen_letters_ @ 20000;jfs_tune -U d385b3ca-a3f5-4b8b-999c-83cec26cc6cb @",
            "mkntfs -Q -F -q @",
            "mkntfs -Q -F -q -c 65536 -L wörk -p 2048 -H 255 -S 63 @ 100001;ntfslabel --new-serial=00ABCDEF00000001 @",
            "mkntfs -Q -F -q -s 4096 @",
            "mkfs.exfat @",
            "mkfs.exfat -c 4096 -L elevenxxxxx @;tune.exfat -I 0x0000abcd @",
        ],
    );
}
