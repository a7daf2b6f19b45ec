//! UEFI boot variables, through the files of efivarfs. Changes only `BootXXXX` and `BootOrder`, and only so that each
//! thing to start has one entry.
//!
//! A file of efivarfs is 4 bytes of attributes and the value, written in one `write(2)`; it is immutable until
//! that flag is cleared (Linux, `Documentation/filesystems/efivarfs.rst`).

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use rustix::fs::IFlags;
use sys::Sys;

use crate::facts::EfiEntry;
use crate::option::LoadOption;
use crate::{Error, Result};

/// Where the kernel shows the variables.
pub(crate) const EFIVARS: &str = "/sys/firmware/efi/efivars";
/// GUID of the variables that the UEFI specification itself defines.
pub(crate) const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// Non-volatile, seen by boot services and at run time.
const ATTRIBUTES: [u8; 4] = 7_u32.to_le_bytes();

/// The boot variables as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Nvram {
    pub(crate) entries: BTreeMap<u16, Vec<u8>>,
    pub(crate) order: Vec<u16>,
    pub(crate) current: Option<u16>,
}

impl Nvram {
    /// Reads all. A machine without these variables has an empty one.
    pub(crate) fn read(sys: &dyn Sys, dir: &Path) -> Result<Self> {
        let mut nvram = Self::default();
        let names = match sys.list(dir) {
            Ok(names) => names,
            Err(error) if error.is_not_found() => return Ok(nvram),
            Err(error) => return Err(error.into()),
        };
        for name in names {
            let Some(variable) = name.strip_suffix(GLOBAL).and_then(|name| name.strip_suffix('-')) else {
                continue;
            };
            let value = || -> Result<Vec<u8>> {
                let mut bytes = sys.read(&dir.join(&name))?;
                Ok(bytes.split_off(bytes.len().min(4)))
            };
            match variable {
                "BootOrder" => nvram.order = numbers(&value()?),
                "BootCurrent" => nvram.current = numbers(&value()?).first().copied(),
                _ => {
                    if let Some(number) = entry_number(variable) {
                        nvram.entries.insert(number, value()?);
                    }
                }
            }
        }
        Ok(nvram)
    }
}

fn numbers(value: &[u8]) -> Vec<u16> {
    value.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// The number in `Boot001F`; `None` for `BootNext` and the like.
fn entry_number(variable: &str) -> Option<u16> {
    let digits = variable.strip_prefix("Boot")?;
    let plain = |byte: u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte);
    (digits.len() == 4 && digits.bytes().all(plain)).then(|| u16::from_str_radix(digits, 16).ok()).flatten()
}

/// What to change so that every captured entry is there once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) delete: Vec<u16>,
    pub(crate) write: Vec<(u16, Vec<u8>)>,
    pub(crate) order: Vec<u16>,
}

/// Compares the present variables with the captured entries (in their boot order). Pure.
pub(crate) fn changes(present: &Nvram, captured: &[EfiEntry]) -> Changes {
    let mut left = present.entries.clone();
    let mut changes = Changes::default();
    let mut done: Vec<LoadOption> = Vec::new();
    let mut ours: Vec<u16> = Vec::new();
    for entry in captured {
        let Some(option) = LoadOption::parse(&entry.data.0) else { continue };
        // The captured machine itself may have had one entry many times.
        if done.iter().any(|other| other.starts_same(&option)) {
            continue;
        }
        let same: Vec<u16> = left
            .iter()
            .filter(|(_, data)| LoadOption::parse(data).is_some_and(|other| other.starts_same(&option)))
            .map(|(number, _)| *number)
            .collect();
        // One that is already right stays where it is: NVRAM wears out, and some firmware never frees it.
        let right = same.iter().copied().find(|number| left.get(number) == Some(&entry.data.0));
        for number in same.iter().filter(|number| Some(**number) != right) {
            left.remove(number);
            changes.delete.push(*number);
        }
        let number = match right {
            Some(number) => number,
            None => {
                let free = |number: &u16| !left.contains_key(number);
                let Some(number) = Some(entry.number).filter(free).or_else(|| (0..=u16::MAX).find(free))
                else {
                    continue;
                };
                // Overwritten, not deleted first.
                changes.delete.retain(|deleted| *deleted != number);
                changes.write.push((number, entry.data.0.clone()));
                left.insert(number, entry.data.0.clone());
                number
            }
        };
        ours.push(number);
        done.push(option);
    }
    let rest =
        present.order.iter().copied().filter(|number| left.contains_key(number) && !ours.contains(number));
    changes.order = ours.iter().copied().chain(rest).collect();
    changes
}

/// Writes the changes. The order comes last, so that it never names what is not there.
pub(crate) fn apply(dir: &Path, present: &Nvram, changes: &Changes) -> Result<()> {
    for number in &changes.delete {
        let path = dir.join(format!("Boot{number:04X}-{GLOBAL}"));
        unlock(&path);
        std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
    }
    for (number, data) in &changes.write {
        write(&dir.join(format!("Boot{number:04X}-{GLOBAL}")), data)?;
    }
    if changes.order != present.order {
        let order: Vec<u8> = changes.order.iter().flat_map(|number| number.to_le_bytes()).collect();
        write(&dir.join(format!("BootOrder-{GLOBAL}")), &order)?;
    }
    Ok(())
}

fn write(path: &Path, value: &[u8]) -> Result<()> {
    unlock(path);
    let mut file = std::fs::File::options()
        .write(true)
        .create(true)
        // No truncation: a variable is replaced by the one write, and an empty one would be deleted first.
        .truncate(false)
        .open(path)
        .map_err(Error::io("open", path))?;
    file.write_all(&[ATTRIBUTES.as_slice(), value].concat()).map_err(Error::io("write", path))
}

/// Clears the immutable flag. A failure shows itself in what follows.
fn unlock(path: &Path) {
    if let Ok(file) = std::fs::File::open(path)
        && let Ok(flags) = rustix::fs::ioctl_getflags(&file)
        && flags.contains(IFlags::IMMUTABLE)
    {
        let _ = rustix::fs::ioctl_setflags(&file, flags - IFlags::IMMUTABLE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Hex;
    use crate::option::tests::option;

    fn entry(number: u16, data: Vec<u8>) -> EfiEntry {
        EfiEntry { number, data: Hex(data), description: String::new(), file: String::new() }
    }

    fn nvram(entries: &[(u16, Vec<u8>)], order: &[u16]) -> Nvram {
        Nvram { entries: entries.iter().cloned().collect(), order: order.to_vec(), current: None }
    }

    #[test]
    fn an_empty_nvram_gets_the_entry_under_its_number() {
        let debian = option("debian", [1; 16], r"\EFI\debian\shimx64.efi");
        let changes = changes(&nvram(&[], &[]), &[entry(7, debian.clone())]);
        assert_eq!(changes, Changes { delete: vec![], write: vec![(7, debian)], order: vec![7] });
    }

    #[test]
    fn recovering_again_and_again_leaves_one_entry() {
        let debian = option("debian", [1; 16], r"\EFI\debian\shimx64.efi");
        let old = option("debian", [1; 16], r"\EFI\DEBIAN\shimx64.efi");
        let cd = b"not a load option".to_vec();
        let present =
            nvram(&[(0, cd.clone()), (1, old.clone()), (2, old), (5, debian.clone())], &[0, 2, 1, 5, 9]);
        let captured = [entry(0, debian.clone()), entry(3, debian)];
        let changes = changes(&present, &captured);
        // 5 is right already; 1 and 2 start the same; 9 never existed.
        assert_eq!(changes, Changes { delete: vec![1, 2], write: vec![], order: vec![5, 0] });
    }

    #[test]
    fn a_taken_number_is_not_overwritten() {
        let debian = option("debian", [1; 16], r"\EFI\debian\grubx64.efi");
        let windows = option("Windows", [2; 16], r"\EFI\Microsoft\Boot\bootmgfw.efi");
        let changes = changes(&nvram(&[(0, windows)], &[0]), &[entry(0, debian.clone())]);
        assert_eq!(changes, Changes { delete: vec![], write: vec![(1, debian)], order: vec![1, 0] });
    }

    #[test]
    fn variables_are_files_with_attributes() {
        let dir = tempfile::tempdir().unwrap();
        let debian = option("debian", [1; 16], r"\EFI\debian\shimx64.efi");
        let old = option("old name", [1; 16], r"\EFI\debian\shimx64.efi");
        for number in [1, 2] {
            write(&dir.path().join(format!("Boot{number:04X}-{GLOBAL}")), &old).unwrap();
        }
        // As long as the new one: efivarfs replaces a value whole, an ordinary file keeps its end.
        write(&dir.path().join(format!("BootOrder-{GLOBAL}")), &[2, 0]).unwrap();
        std::fs::write(dir.path().join(format!("BootNext-{GLOBAL}")), [7; 6]).unwrap();
        let door = sys::Real::default();
        for _ in 0..2 {
            let present = Nvram::read(&door, dir.path()).unwrap();
            apply(dir.path(), &present, &changes(&present, &[entry(0x1f, debian.clone())])).unwrap();
        }
        let after = Nvram::read(&door, dir.path()).unwrap();
        assert_eq!(after, nvram(&[(0x1f, debian)], &[0x1f]));
        assert_eq!(std::fs::read(dir.path().join(format!("BootOrder-{GLOBAL}"))).unwrap()[..4], [7, 0, 0, 0]);
        assert_eq!(Nvram::read(&door, &dir.path().join("none")).unwrap(), Nvram::default());
    }
}
