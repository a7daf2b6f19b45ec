//! Firmware that the carried modules ask for, as far as this host has it. Never downloads, never warns about what
//! is absent: most modules name firmware for devices that this machine does not have.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use sys::{Cmd, Sys};

use crate::host::Host;
use crate::modules::Selection;
use crate::tree::Tree;
use crate::{Error, Recipe, elf, glob};

/// Where the kernel looks, the first one first (`drivers/base/firmware_loader`).
fn roots(release: &str) -> [PathBuf; 4] {
    let base = Path::new("/lib/firmware");
    [base.join("updates").join(release), base.join("updates"), base.join(release), base.to_owned()]
}

/// Plans firmware; gives the number of files.
pub(crate) fn plan(
    sys: &dyn Sys,
    recipe: &Recipe<'_>,
    host: Host<'_>,
    modules: &Selection,
    tree: &mut Tree,
) -> Result<usize, Error> {
    let patterns: Vec<&str> =
        recipe.firmware_files.iter().map(String::as_str).filter(|p| !p.is_empty()).collect();
    if matches!(patterns[..], ["no" | "none"]) || !host.is_dir("/lib/firmware") {
        return Ok(0);
    }
    let mut files = BTreeSet::new();
    if patterns.is_empty() {
        // Hundreds of names are looked for below each of them, and most hosts have one.
        let roots: Vec<PathBuf> =
            roots(&recipe.kernel_release).into_iter().filter(|root| host.is_dir(root)).collect();
        for name in wanted(sys, recipe, host, modules)? {
            for root in &roots {
                let before = files.len();
                if glob::is_pattern(&name) {
                    let pattern = root.join(&name).display().to_string();
                    for suffix in ["", ".xz", ".zst"] {
                        files.extend(host.expand(&format!("{pattern}{suffix}")));
                    }
                } else {
                    let found = ["", ".xz", ".zst"].map(|suffix| root.join(format!("{name}{suffix}")));
                    files.extend(found.into_iter().filter(|path| host.is_file(path)));
                }
                if files.len() > before {
                    break;
                }
            }
        }
    } else {
        let all = matches!(patterns[..], ["all" | "yes"]);
        walk(host, Path::new("/lib/firmware"), 0, &mut |path| {
            let text = path.to_string_lossy();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if all || patterns.iter().any(|p| glob::matches(p, &text) || glob::matches(p, &name)) {
                files.insert(path.to_owned());
            }
        });
    }
    let mut count = 0;
    for path in &files {
        recipe.cancel.check()?;
        let Some(resolved) = host.resolve(path) else { continue };
        if !host.is_file(&resolved.path) {
            continue;
        }
        for (link, text) in &resolved.links {
            if link.starts_with("/usr/lib/firmware") || link.starts_with("/lib/firmware") {
                tree.link(link, text);
            }
        }
        tree.file(&resolved.path, host.real(&resolved.path), 0o644);
        count += 1;
    }
    Ok(count)
}

fn walk(host: Host<'_>, dir: &Path, depth: usize, found: &mut dyn FnMut(&Path)) {
    for name in host.list(dir) {
        let path = dir.join(name);
        let Ok(meta) = std::fs::symlink_metadata(host.real(&path)) else { continue };
        if meta.is_dir() && depth < 16 {
            walk(host, &path, depth + 1, found);
        } else if !meta.is_dir() {
            found(&path);
        }
    }
}

/// Every `firmware=` of the modules.
fn wanted(
    sys: &dyn Sys,
    recipe: &Recipe<'_>,
    host: Host<'_>,
    modules: &Selection,
) -> Result<BTreeSet<String>, Error> {
    let mut names = BTreeSet::new();
    // Modules in formats that only the host's own program reads (xz, gzip).
    let mut others: Vec<String> = Vec::new();
    for file in &modules.files {
        recipe.cancel.check()?;
        let Some(resolved) = host.resolve(modules.path(file)) else { continue };
        let real = host.real(&resolved.path);
        if file.ends_with(".ko") {
            names.extend(elf::modinfo(&real)?.iter().flat_map(|info| firmware_of(info)));
        } else if file.ends_with(".zst") {
            let packed = std::fs::File::open(&real).map_err(Error::io("open", &real))?;
            let mut bytes = Vec::new();
            zstd::Decoder::new(packed)
                .and_then(|decoder| decoder.take(256 << 20).read_to_end(&mut bytes))
                .map_err(Error::io("decompress", &real))?;
            names.extend(firmware_of(&bytes));
        } else {
            others.push(real.to_string_lossy().into_owned());
        }
    }
    if !others.is_empty() && sys.which("modinfo").is_none() {
        tracing::warn!("modinfo is not installed, so the firmware that compressed modules need is not known");
        others.clear();
    }
    // One run for many: a process for each of a thousand modules takes longer than all the rest.
    for some in others.chunks(200) {
        let cmd = Cmd::new("modinfo").args(["-F", "firmware"]).args(some.iter().cloned());
        match sys.run(&cmd) {
            Ok(output) => names.extend(output.text().lines().map(str::to_owned)),
            Err(sys::Error::Cancelled) => return Err(sys::Error::Cancelled.into()),
            Err(error) => tracing::warn!("the firmware of some modules is not known: {error}"),
        }
    }
    // Names come from files of the host; one that climbs out of the directory is no firmware.
    names.retain(|name| !name.is_empty() && !name.split('/').any(|part| part == ".."));
    Ok(names)
}

/// `firmware=` texts in a `.modinfo` section (or in a whole module, where they stand between NUL bytes too).
fn firmware_of(info: &[u8]) -> Vec<String> {
    info.split(|byte| *byte == 0)
        .filter_map(|text| text.strip_prefix(b"firmware="))
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::firmware_of;

    #[test]
    fn texts_between_nul_bytes() {
        let info = b"license=GPL\0firmware=bnx2/a.fw\0firmware=tigon/b.bin\0xfirmware=no\0";
        assert_eq!(firmware_of(info), ["bnx2/a.fw", "tigon/b.bin"]);
    }
}
