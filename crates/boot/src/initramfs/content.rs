//! What is inside an initramfs: the modules in its archives, read here or listed by the system's own program. Changes
//! nothing.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use sys::{Cmd, Sys};

use crate::{Error, Result, rooted};

/// A module's name from its path: without directory and endings, with `_` as the kernel prints it.
pub(super) fn module_name(path: &str) -> String {
    let file = path.trim().rsplit('/').next().unwrap_or_default();
    file.split(".ko").next().unwrap_or_default().replace('-', "_")
}

/// Names of all modules in an initramfs; `None` when its compression is none that can be read here.
pub(super) fn modules_in(sys: &dyn Sys, root: &Path, path: &Path) -> Result<Option<BTreeSet<String>>> {
    let bad = |detail: String| Error::Initramfs { path: path.to_owned(), detail };
    let mut file = std::io::BufReader::new(std::fs::File::open(path).map_err(Error::io("open", path))?);
    let mut names = BTreeSet::new();
    // Uncompressed archives (microcode) may come in front; the last part may be compressed.
    let rest = loop {
        let mut magic = [0; 6];
        let got = read_up_to(&mut file, &mut magic).map_err(Error::io("read", path))?;
        if got < magic.len() {
            return Ok(Some(names));
        }
        if magic.starts_with(b"07070") {
            walk(&mut (magic.as_slice().chain(&mut file)), &mut names).map_err(bad)?;
            // Zeros fill the archive up to a block; the next part begins behind them.
            match skip_zeros(&mut file).map_err(Error::io("read", path))? {
                true => continue,
                false => return Ok(Some(names)),
            }
        }
        break magic;
    };
    if rest.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let mut plain = zstd::stream::read::Decoder::new(rest.as_slice().chain(file))
            .map_err(|error| bad(error.to_string()))?;
        walk(&mut plain, &mut names).map_err(bad)?;
        return Ok(Some(names));
    }
    // Other compressions: the restored system's own lister knows them all.
    let Some(lister) = rooted::program(root, &["lsinitramfs", "lsinitrd", "lsinitcpio"]) else {
        return Ok(None);
    };
    let inside = Path::new("/").join(path.strip_prefix(root).unwrap_or(path));
    let cmd = Cmd::new(lister).arg(inside.to_string_lossy()).chroot(root);
    let output = sys.run(&cmd)?;
    names.extend(listed(&output.text()));
    if names.is_empty() {
        // It did not understand the file, could not work where it ran, or prints another form than the known ones.
        return Err(bad(format!("'{}' lists no kernel module in it", cmd.line())));
    }
    Ok(Some(names))
}

/// Modules in the output of a lister: one path a line (`lsinitramfs`, `lsinitcpio`), or behind mode, owner, size and time
/// (`lsinitrd`, whose head repeats the arguments of dracut).
fn listed(text: &str) -> impl Iterator<Item = String> {
    let paths = text.split_whitespace().filter(|word| word.contains("lib/modules/") && is_module(word));
    paths.map(module_name)
}

/// Whether a path is that of a module, compressed or not.
fn is_module(path: &str) -> bool {
    path.ends_with(".ko") || [".ko.xz", ".ko.zst", ".ko.gz"].iter().any(|ending| path.ends_with(ending))
}

fn read_up_to(from: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match from.read(&mut buffer[got..])? {
            0 => break,
            more => got += more,
        }
    }
    Ok(got)
}

/// Skips zeros; whether anything follows.
fn skip_zeros(from: &mut impl std::io::BufRead) -> std::io::Result<bool> {
    loop {
        let buffer = from.fill_buf()?;
        if buffer.is_empty() {
            return Ok(false);
        }
        let zeros = buffer.iter().take_while(|byte| **byte == 0).count();
        let more = zeros < buffer.len();
        from.consume(zeros);
        if more {
            return Ok(true);
        }
    }
}

/// Walks one newc archive up to its trailer (Linux, `Documentation/driver-api/early-userspace/buffer-format.rst`) and collects
/// the modules in it.
fn walk(from: &mut impl Read, names: &mut BTreeSet<String>) -> Result<(), String> {
    loop {
        let mut header = [0; 110];
        from.read_exact(&mut header).map_err(|error| error.to_string())?;
        if !header.starts_with(b"07070") {
            return Err("a cpio header is broken".into());
        }
        let number = |field: usize| -> Result<u64, String> {
            let digits = std::str::from_utf8(&header[6 + field * 8..14 + field * 8]).unwrap_or_default();
            u64::from_str_radix(digits, 16).map_err(|_| "a cpio header is broken".to_owned())
        };
        let (size, name_size) = (number(6)?, number(11)?);
        if name_size > 4096 {
            return Err("a name in the cpio archive is too long".into());
        }
        // Header and name together, and the content, are padded to 4 bytes.
        let padded_name = (110 + name_size).next_multiple_of(4) - 110;
        let mut name = vec![0; usize::try_from(padded_name).unwrap_or(0)];
        from.read_exact(&mut name).map_err(|error| error.to_string())?;
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
        let name = String::from_utf8_lossy(&name[..end]);
        if name == "TRAILER!!!" {
            return Ok(());
        }
        if is_module(&name) {
            names.insert(module_name(&name));
        }
        let content = size.next_multiple_of(4);
        let copied = std::io::copy(&mut from.by_ref().take(content), &mut std::io::sink())
            .map_err(|error| error.to_string())?;
        if copied < content {
            return Err("the cpio archive is cut off".into());
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use sys::Replay;

    use super::*;

    /// One archive behind another, listed by the tools of Debian 11, 12 and 13, which print the same but for the end;
    /// and after its lsinitrd.sh what dracut 057 of RHEL 9 prints, whose head tells more.
    const LISTS: [(&str, &str); 4] = [
        ("lsinitramfs", include_str!("fixtures/lsinitramfs.txt")),
        ("lsinitrd 051 and 059", include_str!("fixtures/lsinitrd-059.txt")),
        ("lsinitrd 106", include_str!("fixtures/lsinitrd-106.txt")),
        ("lsinitrd 057", include_str!("fixtures/lsinitrd-057.txt")),
    ];

    pub(crate) fn member(name: &str, content: &[u8]) -> Vec<u8> {
        let mut out = b"070701".to_vec();
        for field in [0, 0o100_644, 0, 0, 1, 0, content.len(), 0, 0, 0, 0, name.len() + 1, 0] {
            out.extend(format!("{field:08x}").into_bytes());
        }
        out.extend(name.as_bytes());
        out.push(0);
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend(content);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    #[test]
    fn modules_behind_microcode_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("initrd");
        let mut early = [member("kernel/x86/microcode/a.bin", b"abc"), member("TRAILER!!!", b"")].concat();
        early.resize(early.len().next_multiple_of(512), 0);
        let main = [
            member("usr/lib/modules/6.1/kernel/drivers/block/virtio-blk.ko", b"12345"),
            member("usr/lib/modules/6.1/kernel/drivers/ata/ahci.ko.xz", b""),
            member("TRAILER!!!", b""),
        ]
        .concat();
        let packed = zstd::encode_all(main.as_slice(), 1).unwrap();
        for rest in [main.clone(), packed] {
            std::fs::write(&path, [early.clone(), rest].concat()).unwrap();
            let names = modules_in(&sys::Forbid, dir.path(), &path).unwrap().unwrap();
            assert_eq!(names.into_iter().collect::<Vec<_>>(), ["ahci", "virtio_blk"]);
        }
        std::fs::write(&path, &main[..200]).unwrap();
        assert!(matches!(modules_in(&sys::Forbid, dir.path(), &path), Err(Error::Initramfs { .. })));
        std::fs::write(&path, b"\x1f\x8b\x08 gzip").unwrap();
        assert_eq!(modules_in(&sys::Forbid, dir.path(), &path).unwrap(), None);
    }

    #[test]
    fn every_lister_tells_the_same_modules() {
        for (version, text) in LISTS {
            let names: BTreeSet<String> = listed(text).collect();
            assert_eq!(names.into_iter().collect::<Vec<_>>(), ["virtio_blk", "virtio_scsi"], "{version}");
        }
    }

    #[test]
    fn a_lister_that_lists_no_module_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("usr/bin")).unwrap();
        std::fs::write(dir.path().join("usr/bin/lsinitrd"), "").unwrap();
        let path = dir.path().join("initrd");
        std::fs::write(&path, b"\x1f\x8b\x08 gzip").unwrap();
        let root = dir.path().display();
        for said in [
            "",
            "Image: /initrd: 4.0K\nArguments: --install 'virtio_blk.ko'\n",
            "virtio_blk.ko\n",
            "modules.koi8\n",
        ] {
            let key = format!("run chroot {root} /usr/bin/lsinitrd /initrd");
            let sys = Replay::from_json(&serde_json::json!({ key: {"text": said} }).to_string()).unwrap();
            let error = modules_in(&sys, dir.path(), &path).unwrap_err().to_string();
            assert!(error.contains("lsinitrd /initrd' lists no kernel module"), "{said}: {error}");
        }
    }

    #[test]
    fn names_are_as_the_kernel_prints_them() {
        assert_eq!(module_name("kernel/drivers/scsi/virtio-scsi.ko.zst"), "virtio_scsi");
        assert_eq!(module_name("../../../../module/sd_mod"), "sd_mod");
    }
}
