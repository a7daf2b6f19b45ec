//! `EFI_LOAD_OPTION` and the device path inside: what a `BootXXXX` variable starts. Pure; never touches NVRAM.
//!
//! Format: UEFI specification 2.10, 3.1.3 (load option), 10.3 (device path; 10.3.5.1 hard drive, 10.3.5.4 file path).

/// What a load option starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoadOption {
    pub(crate) description: String,
    /// The partition, where the path names one.
    pub(crate) partition: Option<PartitionId>,
    /// The program on it, with backslashes.
    pub(crate) file: String,
}

/// How a device path names a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PartitionId {
    /// By its GUID, upper case with dashes.
    Gpt(String),
    /// By the disk's signature and its number.
    Mbr(u32, u32),
}

impl LoadOption {
    /// Two options start the same thing when partition and program are the same; FAT ignores case.
    pub(crate) fn starts_same(&self, other: &Self) -> bool {
        self.partition.is_some()
            && self.partition == other.partition
            && self.file.eq_ignore_ascii_case(&other.file)
    }

    /// Reads the value of a `BootXXXX` variable; `None` when it is not in the form of the specification.
    pub(crate) fn parse(data: &[u8]) -> Option<Self> {
        let paths_length = usize::from(le16(data, 4)?);
        let text = data.get(6..)?;
        let end = text.chunks_exact(2).position(|unit| unit == [0, 0])?;
        let description = utf16(text.get(..end * 2)?);
        let mut path = text.get(end * 2 + 2..)?.get(..paths_length)?;
        let mut option = Self { description, partition: None, file: String::new() };
        while let (Some(head), Some(length)) = (path.get(..2), le16(path, 2)) {
            let node = path.get(..usize::from(length)).filter(|node| node.len() >= 4)?;
            match head {
                // End of the entire path: what may follow are alternatives.
                [0x7f, _] => break,
                [4, 1] => option.partition = partition(node),
                [4, 4] => {
                    let part = utf16(node.get(4..)?);
                    // Several file path nodes are joined to one path.
                    if !option.file.is_empty() && !option.file.ends_with('\\') && !part.starts_with('\\') {
                        option.file.push('\\');
                    }
                    option.file.push_str(&part);
                }
                _ => {}
            }
            path = path.get(usize::from(length)..)?;
        }
        Some(option)
    }
}

/// The hard drive node: partition number, start, size, signature, format, type of the signature.
fn partition(node: &[u8]) -> Option<PartitionId> {
    let signature = node.get(24..40)?;
    match node.get(41)? {
        1 => Some(PartitionId::Mbr(le32(signature, 0)?, le32(node, 4)?)),
        2 => Some(PartitionId::Gpt(guid(signature)?)),
        _ => None,
    }
}

/// A GUID in its mixed-endian form as text, upper case with dashes.
fn guid(bytes: &[u8]) -> Option<String> {
    let (a, b, c) = (le32(bytes, 0)?, le16(bytes, 4)?, le16(bytes, 6)?);
    let d = bytes.get(8..16)?;
    let tail: String = d.iter().map(|byte| format!("{byte:02X}")).collect();
    Some(format!("{a:08X}-{b:04X}-{c:04X}-{}-{}", &tail[..4], &tail[4..]))
}

fn utf16(bytes: &[u8]) -> String {
    let units: Vec<u16> = bytes
        .chunks_exact(2)
        .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
        .take_while(|unit| *unit != 0)
        .collect();
    String::from_utf16_lossy(&units)
}

fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).and_then(|bytes| bytes.try_into().ok()).map(u16::from_le_bytes)
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A load option as `efibootmgr` writes it: one hard drive node, one file path node.
    pub(crate) fn option(description: &str, guid: [u8; 16], file: &str) -> Vec<u8> {
        let wide =
            |text: &str| -> Vec<u8> { text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect() };
        let mut path = vec![4, 1, 42, 0, 1, 0, 0, 0];
        path.extend([0; 16]);
        path.extend(guid);
        path.extend([2, 2]);
        let file = wide(file);
        path.extend([4, 4]);
        path.extend((file.len() as u16 + 4).to_le_bytes());
        path.extend(file);
        path.extend([0x7f, 0xff, 4, 0]);
        let mut data = vec![1, 0, 0, 0];
        data.extend((path.len() as u16).to_le_bytes());
        data.extend(wide(description));
        data.extend(path);
        data
    }

    const GUID: [u8; 16] =
        [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];

    #[test]
    fn a_load_option_names_partition_and_program() {
        let parsed = LoadOption::parse(&option("debian", GUID, r"\EFI\debian\shimx64.efi")).unwrap();
        assert_eq!(parsed.description, "debian");
        assert_eq!(parsed.partition, Some(PartitionId::Gpt("C12A7328-F81F-11D2-BA4B-00A0C93EC93B".into())));
        assert_eq!(parsed.file, r"\EFI\debian\shimx64.efi");
        let upper = LoadOption::parse(&option("x", GUID, r"\EFI\DEBIAN\SHIMX64.EFI")).unwrap();
        assert!(parsed.starts_same(&upper));
        let other = LoadOption::parse(&option("x", [1; 16], r"\EFI\debian\shimx64.efi")).unwrap();
        assert!(!parsed.starts_same(&other));
    }

    #[test]
    fn a_cut_or_foreign_option_does_not_crash() {
        let whole = option("debian", GUID, r"\EFI\debian\shimx64.efi");
        for length in 0..whole.len() {
            let _ = LoadOption::parse(&whole[..length]);
        }
        assert_eq!(LoadOption::parse(b""), None);
        // A node of length 0 must not loop.
        let mut zero = option("d", GUID, "x");
        zero[12] = 0;
        assert_eq!(LoadOption::parse(&zero), None);
    }
}
