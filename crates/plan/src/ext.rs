//! ext2, ext3 and ext4 made again with `mke2fs`, then `tune2fs` for what `mke2fs` has no option for. Nothing
//! is left to `/etc/mke2fs.conf`, whose defaults differ between the systems.
//!
//! Bits and numbers are those of the kernel's `fs/ext4/ext4.h`; names are those of `e2p_feature2string`
//! (e2fsprogs `lib/e2p/feature.c`).

use layout::{Bytes, Ext, Filesystem};

use crate::{Command, crc32c};

/// A feature bit and what is to be done about it.
enum Rule {
    /// `mke2fs -O NAME` sets it.
    Make(&'static str),
    /// The kernel or the tools set it by themselves in the course of time; it says nothing of how to make it.
    Runtime,
    /// It cannot be made again, for this reason.
    Refuse(&'static str),
}
use Rule::{Make, Refuse, Runtime};

const COMPAT: [(u32, Rule); 12] = [
    (0x1, Make("dir_prealloc")),
    (0x2, Refuse("imagic inodes, which no tool makes")),
    (0x4, Make("has_journal")),
    (0x8, Make("ext_attr")),
    (0x10, Make("resize_inode")),
    (0x20, Make("dir_index")),
    (0x100, Refuse("Next3 snapshots")),
    (0x80, Refuse("Next3 snapshots")),
    (0x200, Make("sparse_super2")),
    (0x400, Make("fast_commit")),
    (0x800, Make("stable_inodes")),
    (0x1000, Make("orphan_file")),
];
const INCOMPAT: [(u32, Rule); 16] = [
    (0x1, Refuse("compression, which no kernel reads")),
    (0x2, Make("filetype")),
    (0x4, Runtime),
    (0x8, Refuse("it is the journal of another filesystem")),
    (0x10, Make("meta_bg")),
    (0x40, Make("extent")),
    (0x80, Make("64bit")),
    (0x100, Make("mmp")),
    (0x200, Make("flex_bg")),
    (0x400, Make("ea_inode")),
    (0x1000, Refuse("Lustre's directory data")),
    (0x2000, Make("metadata_csum_seed")),
    (0x4000, Make("large_dir")),
    (0x8000, Make("inline_data")),
    (0x10000, Make("encrypt")),
    (0x20000, Refuse("directories that may ignore letter case (casefold), which cannot be restored")),
];
const RO_COMPAT: [(u32, Rule); 17] = [
    (0x1, Make("sparse_super")),
    // Set by the kernel with the first file above 2 GiB.
    (0x2, Make("large_file")),
    (0x4, Refuse("B-tree directories, which no kernel reads")),
    (0x8, Make("huge_file")),
    (0x10, Make("uninit_bg")),
    (0x20, Make("dir_nlink")),
    (0x40, Make("extra_isize")),
    (0x80, Refuse("Next3 snapshots")),
    (0x100, Make("quota")),
    (0x200, Make("bigalloc")),
    (0x400, Make("metadata_csum")),
    (0x800, Refuse("Lustre replicas")),
    (0x1000, Refuse("it is marked read-only for ever (feature read-only)")),
    (0x2000, Make("project")),
    (0x4000, Refuse("shared blocks, which only Android reads")),
    (0x8000, Make("verity")),
    (0x10000, Runtime),
];

const HAS_JOURNAL: u32 = 0x4;
const FAST_COMMIT: u32 = 0x400;
const INCOMPAT_64BIT: u32 = 0x80;
const FLEX_BG: u32 = 0x200;
const BIGALLOC: u32 = 0x200;
const CSUM_SEED: u32 = 0x2000;

/// `s_default_mount_opts`, with the names that `tune2fs -o` takes.
const MOUNT_OPTIONS: [(u32, &str); 9] = [
    (0x1, "debug"),
    (0x2, "bsdgroups"),
    (0x4, "user_xattr"),
    (0x8, "acl"),
    (0x10, "uid16"),
    (0x100, "nobarrier"),
    (0x200, "block_validity"),
    (0x400, "discard"),
    (0x800, "nodelalloc"),
];
/// The journalling mode is a number of two bits among them.
const JOURNAL_MODE: u32 = 0x60;

/// What keeps this filesystem from being made again; `None` when nothing does.
pub(crate) fn refuse(fs: &Filesystem, ext: &Ext) -> Option<String> {
    if fs.label.len() > 16 {
        return Some(format!("its label '{}' is longer than 16 bytes", fs.label));
    }
    let sets = [
        ("compatible", ext.feature_compat, &COMPAT[..]),
        ("incompatible", ext.feature_incompat, &INCOMPAT[..]),
        ("read-only compatible", ext.feature_ro_compat, &RO_COMPAT[..]),
    ];
    for (set, bits, rules) in sets {
        let known: u32 = rules.iter().map(|(bit, _)| bit).sum();
        if bits & !known != 0 {
            return Some(format!(
                "it has the {set} feature bits 0x{:x}, which this rear does not know",
                bits & !known
            ));
        }
        for (bit, rule) in rules {
            if bits & bit != 0
                && let Refuse(why) = rule
            {
                return Some(format!("it has {why}"));
            }
        }
    }
    if ext.feature_ro_compat & BIGALLOC != 0 && ext.cluster_size.is_none() {
        return Some("it has clusters of blocks (bigalloc), whose size was not recorded".into());
    }
    let journal = ext.feature_compat & HAS_JOURNAL != 0;
    if journal && ext.journal_size == 0 {
        return Some("its journal lies on another device, which cannot be made again yet".into());
    }
    if journal && journal_mebibytes(ext).is_none() {
        return Some(format!("its journal has {} bytes, which mke2fs does not make", ext.journal_size));
    }
    let unknown =
        ext.default_mount_options & !(MOUNT_OPTIONS.iter().map(|(bit, _)| bit).sum::<u32>() | JOURNAL_MODE);
    if unknown != 0 {
        return Some(format!("it has the default mount option bits 0x{unknown:x}, which tune2fs cannot set"));
    }
    if hash(ext.hash_version).is_none() {
        return Some(format!(
            "its directory hash has the number {}, which tune2fs cannot set",
            ext.hash_version
        ));
    }
    let usual = if ext.feature_incompat & INCOMPAT_64BIT != 0 { 64 } else { 32 };
    if ext.descriptor_size != 0 && ext.descriptor_size != usual {
        return Some(format!("its group descriptors have {} bytes instead of {usual}", ext.descriptor_size));
    }
    if !(0..=3).contains(&ext.errors) {
        return Some(format!("its behaviour on errors has the number {}, which nobody knows", ext.errors));
    }
    None
}

/// Bytes that it takes on its device.
pub(crate) fn size(ext: &Ext) -> Bytes {
    Bytes(ext.blocks.saturating_mul(u64::from(ext.block_size)))
}

/// The journal's size as `mke2fs -J size=` takes it. With fast commits, mke2fs adds a 64th for those.
fn journal_mebibytes(ext: &Ext) -> Option<u64> {
    let size = if ext.feature_compat & FAST_COMMIT != 0 {
        let size = ext.journal_size / 65 * 64;
        (size + size / 64 == ext.journal_size).then_some(size)?
    } else {
        ext.journal_size
    };
    size.is_multiple_of(1 << 20).then_some(size >> 20)
}

fn hash(version: u8) -> Option<&'static str> {
    match version {
        0 => Some("legacy"),
        1 => Some("half_md4"),
        2 => Some("tea"),
        _ => None,
    }
}

/// The commands that make it on this device.
pub(crate) fn commands(fs: &Filesystem, ext: &Ext, device: &str) -> Vec<Command> {
    // A checksum seed that is not the UUID's own remains from a UUID changed in the filesystem's life. It is
    // made by a first UUID that has this seed; changing the UUID then keeps the seed, as it did then.
    let seed = ext.checksum_seed.filter(|_| ext.feature_incompat & CSUM_SEED != 0);
    let first = seed.and_then(|seed| crc32c::uuid_with_seed(&fs.uuid, seed));
    let mut commands = vec![mke2fs(fs, ext, first.as_deref().unwrap_or(&fs.uuid), device)];
    commands.push(tune2fs(fs, ext, first.is_some(), device));
    let mut values = Vec::new();
    if ext.mount_options.contains(',') {
        // tune2fs would take what follows the comma for another extended option.
        values.push(format!("mount_opts {}", ext.mount_options));
    }
    if let Some(flags) = signedness(ext.flags) {
        values.push(format!("flags {flags}"));
    }
    for value in values {
        let request = format!("set_super_value {value}");
        commands.push(Command::new("debugfs", ["-w", "-R", &request, device]));
    }
    commands
}

fn mke2fs(fs: &Filesystem, ext: &Ext, uuid: &str, device: &str) -> Command {
    let mut features = vec!["none".to_owned()];
    let sets = [
        (ext.feature_compat, &COMPAT[..]),
        (ext.feature_incompat, &INCOMPAT[..]),
        (ext.feature_ro_compat, &RO_COMPAT[..]),
    ];
    for (bits, rules) in sets {
        for (bit, rule) in rules {
            if bits & bit != 0
                && let Make(name) = rule
            {
                features.push((*name).to_owned());
            }
        }
    }
    let mut extended =
        vec!["lazy_itable_init=1".to_owned(), "lazy_journal_init=0".into(), "nodiscard".into()];
    if !ext.hash_seed.is_empty() {
        extended.push(format!("hash_seed={}", ext.hash_seed));
    }
    if ext.raid_stride != 0 {
        extended.push(format!("stride={}", ext.raid_stride));
    }
    if ext.raid_stripe_width != 0 {
        extended.push(format!("stripe_width={}", ext.raid_stripe_width));
    }
    if !ext.quota_types.is_empty() {
        extended.push(format!("quotatype={}", ext.quota_types.join(":")));
    }
    let mut args: Vec<String> = ["-F", "-q"].map(str::to_owned).into();
    let mut option = |name: &str, value: String| args.extend([name.to_owned(), value]);
    option("-t", ext.variant.clone());
    option("-b", ext.block_size.to_string());
    if let Some(cluster) = ext.cluster_size {
        option("-C", cluster.to_string());
    }
    option("-I", ext.inode_size.to_string());
    option("-N", ext.inodes.to_string());
    option("-m", "0".into());
    option("-O", features.join(","));
    option("-E", extended.join(","));
    if ext.feature_incompat & FLEX_BG != 0 {
        option("-G", (1_u64 << ext.log_groups_per_flex.min(31)).to_string());
    }
    if ext.feature_compat & HAS_JOURNAL != 0
        && let Some(size) = journal_mebibytes(ext)
    {
        option("-J", format!("size={size}"));
    }
    option("-U", uuid.to_owned());
    if !fs.label.is_empty() {
        option("-L", fs.label.clone());
    }
    args.push(device.to_owned());
    args.push(ext.blocks.to_string());
    Command::new("mke2fs", args)
}

fn tune2fs(fs: &Filesystem, ext: &Ext, new_uuid: bool, device: &str) -> Command {
    let mut args: Vec<String> = Vec::new();
    let mut option = |name: &str, value: String| args.extend([name.to_owned(), value]);
    option("-r", ext.reserved_blocks.to_string());
    if (ext.reserved_user, ext.reserved_group) != (0, 0) {
        option("-u", ext.reserved_user.to_string());
        option("-g", ext.reserved_group.to_string());
    }
    option("-c", ext.max_mount_count.to_string());
    // In seconds (suffix `s`, which the manual page forgets).
    option("-i", format!("{}s", ext.check_interval));
    if let Some(word) = [None, Some("continue"), Some("remount-ro"), Some("panic")]
        .get(usize::from(ext.errors))
        .copied()
        .flatten()
    {
        option("-e", word.into());
    }
    // Everything is named, wanted or not, because mke2fs.conf may have set any of them.
    let mut words: Vec<String> = MOUNT_OPTIONS
        .iter()
        .map(|(bit, name)| {
            let sign = if ext.default_mount_options & bit != 0 { "" } else { "^" };
            format!("{sign}{name}")
        })
        .collect();
    words.push(
        match ext.default_mount_options & JOURNAL_MODE {
            0x20 => "journal_data",
            0x40 => "journal_data_ordered",
            0x60 => "journal_data_writeback",
            _ => "^journal_data_writeback",
        }
        .into(),
    );
    option("-o", words.join(","));
    // One -E only: a second one would replace the first.
    let mut extended: Vec<String> =
        hash(ext.hash_version).map(|name| format!("hash_alg={name}")).into_iter().collect();
    if !ext.mount_options.is_empty() && !ext.mount_options.contains(',') {
        extended.push(format!("mount_opts={}", ext.mount_options));
    }
    option("-E", extended.join(","));
    if new_uuid {
        option("-U", fs.uuid.clone());
    }
    args.push(device.to_owned());
    Command::new("tune2fs", args)
}

/// `s_flags` to be set where directory hashes are not of the kind that this machine's mke2fs makes (signed on
/// x86, unsigned on ARM and POWER); `None` where the original says nothing.
fn signedness(flags: u32) -> Option<u32> {
    (flags & 3 == 2).then_some(2)
}
