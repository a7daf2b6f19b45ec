//! btrfs made again with `mkfs.btrfs`, with its subvolumes and quota groups. It never takes a default of the tool.
//!
//! Feature bits are those of the kernel's `include/uapi/linux/btrfs.h`. What cannot come back: the ids of subvolumes, which a
//! new filesystem gives anew, and the UUIDs of its single devices.

use layout::{Btrfs, Filesystem, QuotaGroup};

use crate::Command;

/// `incompat_flags` bits: extent references with back references (always on), data and metadata in one, many hard links,
/// small metadata references, files without explicit holes.
const MIXED_BACKREF: u64 = 1;
const MIXED_GROUPS: u64 = 1 << 2;
const EXTENDED_IREF: u64 = 1 << 6;
const SKINNY_METADATA: u64 = 1 << 8;
const NO_HOLES: u64 = 1 << 9;
const ZONED: u64 = 1 << 12;
/// `compat_ro_flags` bits.
const FREE_SPACE_TREE: u64 = 1;
const BLOCK_GROUP_TREE: u64 = 1 << 3;

/// What keeps this filesystem from being made again; `None` when nothing does.
pub(crate) fn refuse(fs: &Filesystem, btrfs: &Btrfs) -> Option<String> {
    let incompat = btrfs.feature_incompat;
    if incompat & ZONED != 0 {
        return Some("it is a btrfs in zoned mode, which cannot be made again yet".into());
    }
    let unknown = [
        (
            "incompatible",
            incompat & !(MIXED_BACKREF | MIXED_GROUPS | EXTENDED_IREF | SKINNY_METADATA | NO_HOLES),
        ),
        ("read-only compatible", btrfs.feature_compat_ro & !(FREE_SPACE_TREE | BLOCK_GROUP_TREE)),
    ];
    if let Some((set, bits)) = unknown.iter().find(|(_, bits)| *bits != 0) {
        return Some(format!(
            "its btrfs has the {set} feature bits 0x{bits:x}, which this rear does not know"
        ));
    }
    if btrfs.members.len() as u64 != btrfs.devices {
        return Some(format!(
            "its btrfs has {} devices, of which {} were found",
            btrfs.devices,
            btrfs.members.len()
        ));
    }
    if btrfs.checksum.is_empty() {
        return Some("its btrfs has a checksum that this rear does not know".into());
    }
    if btrfs.data_profile.is_empty() || btrfs.metadata_profile.is_empty() {
        return Some("its btrfs was not mounted, so its subvolumes and profiles are not known".into());
    }
    // One more than what `mkfs.btrfs -L` takes.
    if fs.label.len() > 255 || fs.label.contains('\n') {
        return Some(format!("its label '{}' cannot be set by mkfs.btrfs", fs.label));
    }
    None
}

/// The commands that make it on this device and the others.
pub(crate) fn commands(fs: &Filesystem, btrfs: &Btrfs, device: &str, others: &[String]) -> Vec<Command> {
    let newest = command(fs, btrfs, device, others, Age::Newest);
    let mut older = Vec::new();
    // A tool that cannot make what the original has must fail; one that need not make it does not know the word.
    if btrfs.feature_compat_ro & BLOCK_GROUP_TREE == 0 {
        older.push(command(fs, btrfs, device, others, Age::RuntimeFeatures));
        if btrfs.feature_compat_ro & FREE_SPACE_TREE == 0 {
            older.push(command(fs, btrfs, device, others, Age::Oldest));
        }
    }
    vec![Command { older, ..newest }]
}

/// Versions of btrfs-progs that take different options.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Age {
    /// 6.3 and later.
    Newest,
    /// From 5.7 to 6.2, where the free space tree was a "runtime feature" and there was no block group tree.
    RuntimeFeatures,
    /// Before 5.7 (Ubuntu 20.04, SLES 15 up to SP3): no free space tree, and in 4.x no word for the only checksum.
    Oldest,
}

fn command(fs: &Filesystem, btrfs: &Btrfs, device: &str, others: &[String], age: Age) -> Command {
    let word = |name: &str, on: bool| format!("{}{name}", if on { "" } else { "^" });
    let incompat = |name: &str, bit: u64| word(name, btrfs.feature_incompat & bit != 0);
    let compat_ro = |name: &str, bit: u64| word(name, btrfs.feature_compat_ro & bit != 0);
    let mut features = vec![
        incompat("extref", EXTENDED_IREF),
        incompat("skinny-metadata", SKINNY_METADATA),
        incompat("no-holes", NO_HOLES),
    ];
    let tree = compat_ro("free-space-tree", FREE_SPACE_TREE);
    let mut args: Vec<String> = vec!["-q".into(), "-f".into()];
    // The feature `mixed-bg` by itself leaves the least size at that of separate groups (btrfs-progs 6.2).
    if btrfs.feature_incompat & MIXED_GROUPS != 0 {
        args.push("--mixed".into());
    }
    let mut option = |name: &str, value: String| args.extend([name.to_owned(), value]);
    match age {
        Age::Newest => {
            features.push(tree);
            features.push(compat_ro("block-group-tree", BLOCK_GROUP_TREE));
        }
        Age::RuntimeFeatures => option("-R", tree),
        Age::Oldest => {}
    }
    option("-O", features.join(","));
    if !fs.uuid.is_empty() {
        option("-U", fs.uuid.clone());
    }
    if !fs.label.is_empty() {
        option("-L", fs.label.clone());
    }
    option("-n", btrfs.node_size.to_string());
    option("-s", btrfs.sector_size.to_string());
    let checksum = match btrfs.checksum.as_str() {
        "xxhash64" => "xxhash",
        "blake2b" => "blake2",
        other => other,
    };
    if age != Age::Oldest || checksum != "crc32c" {
        option("--csum", checksum.to_owned());
    }
    option("-d", btrfs.data_profile.clone());
    option("-m", btrfs.metadata_profile.clone());
    // With several devices the number is the same for each; those get their sizes when it is mounted.
    if let [only] = btrfs.members.as_slice() {
        option("-b", only.size.0.to_string());
    }
    args.push(device.to_owned());
    args.extend_from_slice(others);
    Command::new("mkfs.btrfs", args)
}

/// The commands that make its subvolumes below the directory where its top is mounted.
pub(crate) fn subvolumes(btrfs: &Btrfs, top: &str) -> Vec<Command> {
    let mut commands = Vec::new();
    if btrfs.members.len() > 1 {
        for member in &btrfs.members {
            let size = format!("{}:{}", member.number, member.size.0);
            commands.push(Command::new("btrfs", ["filesystem", "resize", &size, top]));
        }
    }
    // By path, a subvolume comes before what is nested in it, whichever was made first.
    let mut list: Vec<&str> = btrfs.subvolumes.iter().map(|subvolume| subvolume.path.as_str()).collect();
    list.sort_unstable();
    let mut made: Vec<&str> = Vec::new();
    for path in list {
        // Ordinary directories in between.
        if let Some((parent, _)) = path.rsplit_once('/')
            && !made.contains(&parent)
        {
            commands.push(Command::new("mkdir", ["-p", "--", &below(top, parent)]));
            made.push(parent);
        }
        commands.push(Command::new("btrfs", ["subvolume", "create", &below(top, path)]));
        made.push(path);
    }
    if !btrfs.default_subvolume.is_empty() {
        let path = below(top, &btrfs.default_subvolume);
        commands.push(Command::new("btrfs", ["subvolume", "set-default", &path]));
    }
    let Some(quota) = &btrfs.quota else { return commands };
    let enable: &[&str] = if quota.simple { &["--simple"] } else { &[] };
    let enable = ["quota", "enable"].iter().chain(enable).copied().chain([top]);
    commands.push(Command::new("btrfs", enable));
    for group in quota.groups.iter().filter(|group| group.level > 0) {
        commands
            .push(Command::new("btrfs", ["qgroup", "create", &format!("{}/{}", group.level, group.of), top]));
    }
    for group in &quota.groups {
        for parent in &group.parents {
            // The id of a subvolume is not known before; its absolute path stands for it.
            let child = name(group, top);
            commands.push(Command::new("btrfs", ["qgroup", "assign", "--no-rescan", &child, parent, top]));
        }
    }
    commands
}

/// How `btrfs qgroup` calls it: by the path of its subvolume, or by its number.
fn name(group: &QuotaGroup, top: &str) -> String {
    match (group.level, group.of.as_str()) {
        (0, "") => "0/5".to_owned(),
        (0, path) => below(top, path),
        (level, number) => format!("{level}/{number}"),
    }
}

fn limits(group: &QuotaGroup, top: &str) -> Vec<Command> {
    let wanted = [(None, group.max_referenced), (Some("-e"), group.max_exclusive)];
    let command = |(option, limit): (Option<&str>, Option<layout::Bytes>)| {
        let size = limit?.0.to_string();
        let mut args: Vec<String> = vec!["qgroup".into(), "limit".into()];
        args.extend(option.map(str::to_owned));
        args.push(size);
        if group.level == 0 && !group.of.is_empty() {
            // A path alone is the group of its subvolume.
            args.push(below(top, &group.of));
        } else {
            args.extend([name(group, top), top.to_owned()]);
        }
        Some(Command::new("btrfs", args))
    };
    wanted.into_iter().filter_map(command).collect()
}

/// The commands for what would stand in the way of a restore: limits of quota groups, and subvolumes that are read-only.
/// They are the last thing that is done to a btrfs. `top` is where its top is mounted.
pub fn finish(btrfs: &Btrfs, top: &str) -> Vec<Command> {
    let groups = btrfs.quota.iter().flat_map(|quota| &quota.groups);
    let locked = btrfs.subvolumes.iter().filter(|subvolume| subvolume.read_only).map(|subvolume| {
        let path = below(top, &subvolume.path);
        Command::new("btrfs", ["property", "set", "-t", "subvol", &path, "ro", "true"])
    });
    groups.flat_map(|group| limits(group, top)).chain(locked).collect()
}

fn below(top: &str, path: &str) -> String {
    format!("{}/{path}", top.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use layout::{BtrfsDevice, BtrfsQuota, Bytes, FsKind, NodeId, Subvolume};

    use super::*;

    fn sample() -> (Filesystem, Btrfs) {
        let sub =
            |path: &str, read_only| Subvolume { id: 300, path: path.into(), read_only, snapshot_of: None };
        let device = |number| BtrfsDevice {
            number,
            device: NodeId(format!("disk:serial:{number}")),
            size: Bytes(1 << 30),
        };
        let btrfs = Btrfs {
            devices: 1,
            node_size: 16384,
            sector_size: 4096,
            checksum: "xxhash64".into(),
            feature_incompat: 0x341,
            feature_compat_ro: 1,
            data_profile: "single".into(),
            metadata_profile: "dup".into(),
            members: vec![device(1)],
            default_subvolume: "@".into(),
            subvolumes: vec![
                sub("@/var/lib/machines", false),
                sub("@ro", true),
                sub("@", false),
                sub("a/b c/d", false),
            ],
            quota: None,
        };
        let fs = Filesystem {
            uuid: "ccdcc0c8-e50a-4817-b2d8-2c6d2b950e70".into(),
            label: "my data".into(),
            used: None,
            kind: FsKind::Btrfs(btrfs.clone()),
        };
        (fs, btrfs)
    }

    fn lines(commands: &[Command]) -> Vec<String> {
        commands.iter().map(Command::line).collect()
    }

    #[test]
    fn mkfs_is_told_everything() {
        let (fs, mut btrfs) = sample();
        let made = commands(&fs, &btrfs, "/dev/vda2", &[]);
        assert_eq!(
            lines(&made),
            ["mkfs.btrfs -q -f -O extref,skinny-metadata,no-holes,free-space-tree,^block-group-tree -U \
              ccdcc0c8-e50a-4817-b2d8-2c6d2b950e70 -L 'my data' -n 16384 -s 4096 --csum xxhash -d single -m dup -b 1073741824 \
              /dev/vda2"]
        );
        assert_eq!(
            lines(&made[0].older),
            ["mkfs.btrfs -q -f -R free-space-tree -O extref,skinny-metadata,no-holes -U \
              ccdcc0c8-e50a-4817-b2d8-2c6d2b950e70 -L 'my data' -n 16384 -s 4096 --csum xxhash -d single -m dup -b 1073741824 \
              /dev/vda2"]
        );
        // What the oldest tool makes too.
        let mut plain = btrfs.clone();
        plain.feature_compat_ro = 0;
        plain.checksum = "crc32c".into();
        let older = commands(&fs, &plain, "/dev/vda2", &[]).remove(0).older;
        assert_eq!(
            lines(&older[1..]),
            [
                "mkfs.btrfs -q -f -O extref,skinny-metadata,no-holes -U ccdcc0c8-e50a-4817-b2d8-2c6d2b950e70 -L 'my data' \
              -n 16384 -s 4096 -d single -m dup -b 1073741824 /dev/vda2"
            ]
        );
        btrfs.feature_compat_ro = 9;
        btrfs.feature_incompat = 0x41 | MIXED_GROUPS;
        btrfs.members.push(BtrfsDevice { number: 3, device: NodeId("x".into()), size: Bytes(5 << 20) });
        let made = commands(&fs, &btrfs, "/dev/vda2", &["/dev/vdb".into()]);
        assert!(made[0].older.is_empty(), "an older tool would leave the block group tree out");
        let line = made[0].line();
        assert!(
            line.contains("extref,^skinny-metadata,^no-holes,free-space-tree,block-group-tree")
                && line.contains(" -f --mixed "),
            "{line}"
        );
        assert!(line.ends_with(" -m dup /dev/vda2 /dev/vdb"), "{line}");
        assert_eq!(
            lines(&subvolumes(&btrfs, "/t"))[..2],
            ["btrfs filesystem resize 1:1073741824 /t", "btrfs filesystem resize 3:5242880 /t"]
        );
    }

    #[test]
    fn parents_are_made_first_and_read_only_comes_last() {
        let (_, mut btrfs) = sample();
        let quota = |level, of: &str, max: Option<u64>, parents: &[&str]| QuotaGroup {
            level,
            of: of.into(),
            max_referenced: max.map(Bytes),
            max_exclusive: None,
            parents: parents.iter().map(|one| (*one).to_owned()).collect(),
        };
        btrfs.quota = Some(BtrfsQuota {
            simple: false,
            groups: vec![
                quota(0, "", Some(7), &[]),
                quota(0, "@", Some(9), &["1/100"]),
                quota(1, "100", Some(8), &[]),
            ],
        });
        assert_eq!(
            lines(&subvolumes(&btrfs, "/t")),
            [
                "btrfs subvolume create /t/@",
                "mkdir -p -- /t/@/var/lib",
                "btrfs subvolume create /t/@/var/lib/machines",
                "btrfs subvolume create /t/@ro",
                "mkdir -p -- '/t/a/b c'",
                "btrfs subvolume create '/t/a/b c/d'",
                "btrfs subvolume set-default /t/@",
                "btrfs quota enable /t",
                "btrfs qgroup create 1/100 /t",
                "btrfs qgroup assign --no-rescan /t/@ 1/100 /t",
            ]
        );
        assert_eq!(
            lines(&finish(&btrfs, "/t/")),
            [
                "btrfs qgroup limit 7 0/5 /t/",
                "btrfs qgroup limit 9 /t/@",
                "btrfs qgroup limit 8 1/100 /t/",
                "btrfs property set -t subvol /t/@ro ro true",
            ]
        );
    }

    #[test]
    fn what_cannot_be_made_is_refused_by_name() {
        let (fs, btrfs) = sample();
        assert_eq!(refuse(&fs, &btrfs), None);
        type Break = fn(&mut Btrfs);
        let cases: [(Break, &str); 6] = [
            (|b| b.feature_incompat |= ZONED, "zoned"),
            (|b| b.feature_incompat |= 1 << 13, "0x2000"),
            (|b| b.feature_compat_ro |= 1 << 4, "0x10"),
            (|b| b.devices = 2, "2 devices, of which 1"),
            (|b| b.checksum.clear(), "checksum"),
            (|b| b.metadata_profile.clear(), "not mounted"),
        ];
        for (break_it, word) in cases {
            let mut broken = btrfs.clone();
            break_it(&mut broken);
            let why = refuse(&fs, &broken).unwrap_or_default();
            assert!(why.contains(word), "{word}: {why}");
        }
    }
}
