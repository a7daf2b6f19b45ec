//! XFS made again with `mkfs.xfs`, its geometry given in full. It never takes a default of the tool.
//!
//! Feature bits are those of the kernel's `fs/xfs/libxfs/xfs_format.h`.

use layout::{Bytes, Filesystem, Xfs};

use crate::Command;

/// `sb_versionnum` bits.
const ATTR: u16 = 0x0010;
const ALIGN: u16 = 0x0080;
const LOG_V2: u16 = 0x0400;
const ASCII_CI: u16 = 0x4000;
/// `sb_features2` bits.
const LAZY_COUNT: u32 = 0x02;
const ATTR2: u32 = 0x08;
const PROJID32: u32 = 0x80;
const FTYPE_V4: u32 = 0x200;
/// `sb_features_ro_compat` bits.
const FINOBT: u32 = 1;
const RMAPBT: u32 = 1 << 1;
const REFLINK: u32 = 1 << 2;
const INOBTCOUNT: u32 = 1 << 3;
/// `sb_features_incompat` bits.
const FTYPE: u32 = 1;
const SPARSE: u32 = 1 << 1;
const META_UUID: u32 = 1 << 2;
const BIGTIME: u32 = 1 << 3;
const NEEDS_REPAIR: u32 = 1 << 4;
const NREXT64: u32 = 1 << 5;
const EXCHANGE: u32 = 1 << 6;
const PARENT: u32 = 1 << 7;

/// What keeps this filesystem from being made again; `None` when nothing does.
pub(crate) fn refuse(fs: &Filesystem, xfs: &Xfs) -> Option<String> {
    if fs.label.len() > 12 {
        return Some(format!("its label '{}' is longer than 12 bytes", fs.label));
    }
    if !xfs.log_internal {
        return Some("its log lies on another device, which cannot be made again yet".into());
    }
    if xfs.realtime {
        return Some("it has a realtime section, which cannot be made again yet".into());
    }
    if xfs.feature_incompat & NEEDS_REPAIR != 0 {
        return Some("it is marked as damaged; run xfs_repair on it first".into());
    }
    let unknown = [
        ("compatible", xfs.feature_compat),
        ("read-only compatible", xfs.feature_ro_compat & !(FINOBT | RMAPBT | REFLINK | INOBTCOUNT)),
        (
            "incompatible",
            xfs.feature_incompat & !(FTYPE | SPARSE | META_UUID | BIGTIME | NREXT64 | EXCHANGE | PARENT),
        ),
    ];
    if let Some((set, bits)) = unknown.iter().find(|(_, bits)| *bits != 0) {
        return Some(format!("it has the {set} feature bits 0x{bits:x}, which this rear does not know"));
    }
    match xfs.version & 0xf {
        4 | 5 => None,
        version => Some(format!("XFS format version {version} cannot be made again, only 4 and 5")),
    }
}

/// Bytes that it takes on its device.
pub(crate) fn size(xfs: &Xfs) -> Bytes {
    Bytes(xfs.data_blocks.saturating_mul(u64::from(xfs.block_size)))
}

/// The commands that make it on this device.
pub(crate) fn commands(fs: &Filesystem, xfs: &Xfs, device: &str) -> Vec<Command> {
    // Features that are off and that mkfs.xfs knows only from some version on. Newer versions switch them on by
    // default, older ones refuse the word: hence the same command without them for those.
    // exchange and parent came with 6.10, nrext64 with 5.19, bigtime and inobtcount with 5.10.
    let mut commands = (0..4).map(|age| command(fs, xfs, device, age));
    let mut list: Vec<Command> = Vec::new();
    for command in commands.by_ref() {
        if list.last() != Some(&command) {
            list.push(command);
        }
    }
    let older = list.split_off(1.min(list.len()));
    let mut commands: Vec<Command> =
        list.into_iter().map(|newest| Command { older: older.clone(), ..newest }).collect();
    if xfs.feature_incompat & META_UUID != 0 {
        // The UUID was changed in the filesystem's life, so its metadata carries another one. Which, nobody sees:
        // the same way is gone again.
        let request = format!("uuid {}", fs.uuid);
        commands.push(Command::new("xfs_db", ["-x", "-c", &request, device]));
    }
    commands
}

/// `age`: 0 for the newest tool, 1 before 6.10, 2 before 5.19, 3 before 5.10.
fn command(fs: &Filesystem, xfs: &Xfs, device: &str, age: u8) -> Command {
    let v5 = xfs.is_v5();
    let word = |name: &str, on: bool| format!("{name}={}", u8::from(on));
    let ro = |bit: u32| xfs.feature_ro_compat & bit != 0;
    let inc = |bit: u32| xfs.feature_incompat & bit != 0;
    // A feature that is on is always asked for: a tool that cannot make it must fail.
    let since = |on: bool, oldest: u8| on || age < oldest;

    let mut meta = vec![word("crc", v5)];
    if v5 {
        meta.push(word("finobt", ro(FINOBT)));
        meta.push(word("rmapbt", ro(RMAPBT)));
        meta.push(word("reflink", ro(REFLINK)));
        if since(inc(BIGTIME), 3) {
            meta.push(word("bigtime", inc(BIGTIME)));
        }
        if since(ro(INOBTCOUNT), 3) {
            meta.push(word("inobtcount", ro(INOBTCOUNT)));
        }
    }
    // With a metadata UUID of its own, the visible one is set afterwards.
    if !fs.uuid.is_empty() && !inc(META_UUID) {
        meta.push(format!("uuid={}", fs.uuid));
    }

    let mut inode = vec![format!("size={}", xfs.inode_size), format!("maxpct={}", xfs.inode_max_percent)];
    if v5 {
        inode.push(word("sparse", inc(SPARSE)));
        if since(inc(NREXT64), 2) {
            inode.push(word("nrext64", inc(NREXT64)));
        }
        if since(inc(EXCHANGE), 1) {
            inode.push(word("exchange", inc(EXCHANGE)));
        }
    } else {
        // Version 5 always has them; the words are refused with it.
        let attr = if xfs.features2 & ATTR2 != 0 { 2 } else { u8::from(xfs.version & ATTR != 0) };
        inode.push(format!("attr={attr}"));
        inode.push(word("projid32bit", xfs.features2 & PROJID32 != 0));
        inode.push(word("align", xfs.version & ALIGN != 0));
    }

    let mut data = vec![
        format!("size={}b", xfs.data_blocks),
        format!("agsize={}", u64::from(xfs.ag_blocks) * u64::from(xfs.block_size)),
    ];
    if xfs.stripe_unit == 0 {
        data.push("noalign".into());
    } else {
        // In units of 512 bytes.
        let unit = u64::from(xfs.block_size / 512);
        data.push(format!("sunit={}", u64::from(xfs.stripe_unit) * unit));
        data.push(format!("swidth={}", u64::from(xfs.stripe_width) * unit));
    }

    let v2 = xfs.version & LOG_V2 != 0;
    let mut log = vec![format!("size={}b", xfs.log_blocks), format!("version={}", if v2 { 2 } else { 1 })];
    // 0 and 1 both say "no stripe unit" (a version 2 log writes 1).
    if v2 && xfs.log_stripe_unit > 1 {
        log.push(format!("su={}", xfs.log_stripe_unit));
    }
    if !v5 {
        log.push(word("lazy-count", xfs.features2 & LAZY_COUNT != 0));
    }
    let ftype = if v5 { inc(FTYPE) } else { xfs.features2 & FTYPE_V4 != 0 };
    let ascii_ci = xfs.version & ASCII_CI != 0;
    let mut naming = vec![
        format!("size={}", xfs.directory_block_size),
        format!("version={}", if ascii_ci { "ci" } else { "2" }),
        word("ftype", ftype),
    ];
    if v5 && since(inc(PARENT), 1) {
        naming.push(word("parent", inc(PARENT)));
    }

    let mut args: Vec<String> = ["-f", "-q", "-K"].map(str::to_owned).into();
    for (option, value) in [
        ("-b", format!("size={}", xfs.block_size)),
        ("-s", format!("size={}", xfs.sector_size)),
        ("-m", meta.join(",")),
        ("-d", data.join(",")),
        ("-i", inode.join(",")),
        ("-l", log.join(",")),
        ("-n", naming.join(",")),
    ] {
        args.extend([option.to_owned(), value]);
    }
    if !fs.label.is_empty() {
        args.extend(["-L".to_owned(), fs.label.clone()]);
    }
    args.push(device.to_owned());
    let mut command = Command::new("mkfs.xfs", args);
    // From 5.19 on, mkfs.xfs refuses what earlier versions made by default: less than 300 MiB, a log of less
    // than 64 MiB, a single allocation group. These variables of its own test-suite lift that; older versions
    // ignore them (`--unsupported` would be refused by those).
    let small = size(xfs).get() < 300 << 20
        || u64::from(xfs.log_blocks) * u64::from(xfs.block_size) < 64 << 20
        || xfs.ag_count == 1;
    if small {
        command.env =
            ["TEST_DIR", "TEST_DEV", "QA_CHECK_FS"].map(|name| (name.to_owned(), "1".to_owned())).into();
    }
    command
}
