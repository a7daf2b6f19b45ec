//! What is kept of a machine's way of booting. Pure data; never touches the machine.

use layout::NodeId;
use serde::{Deserialize, Serialize};

/// Version of the JSON form that this program writes.
pub const FORMAT: u32 = 1;

/// How a machine boots, byte for byte, as it was when the recovery point was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootFacts {
    /// Version of this form, [`FORMAT`] when written by this program.
    pub format: u32,
    /// Whether the machine was started by UEFI (else by a BIOS).
    pub uefi: bool,
    /// Raw boot code, of every disk that has a partition table.
    pub disks: Vec<DiskBoot>,
    /// What UEFI knows; `None` on a BIOS machine without an EFI system partition.
    pub efi: Option<EfiFacts>,
}

/// Raw boot code of one disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskBoot {
    /// The disk.
    pub disk: NodeId,
    /// The name of the loader that was recognised in the boot code ("GRUB", "an unknown loader"); `None` when
    /// there is no boot code.
    pub loader: Option<String>,
    /// The first 440 bytes of the disk: boot code, without disk signature and partition table. Empty when all zero.
    pub boot_code: Hex,
    /// Offset of `gap` on the disk in bytes.
    pub gap_offset: u64,
    /// What lies between an MBR and the first partition, where GRUB keeps its core image; zeros at the end left out.
    pub gap: Hex,
    /// Partitions that hold nothing but boot code.
    pub partitions: Vec<RawPartition>,
    /// Whether the protective entry (0xEE) of a GPT disk's first sector is marked active: some BIOSes start no disk
    /// without an active entry.
    #[serde(default)]
    pub protective_active: bool,
}

/// A partition that holds nothing but boot code (BIOS boot, PReP).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawPartition {
    /// The partition.
    pub device: NodeId,
    /// Offset on the disk in bytes.
    pub offset: u64,
    /// Content, zeros at the end left out.
    pub content: Hex,
}

/// What UEFI knows of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EfiFacts {
    /// `BootXXXX` variables that point to an EFI system partition of this machine, in boot order.
    pub entries: Vec<EfiEntry>,
    /// The variable `BootOrder`.
    pub order: Vec<u16>,
    /// The variable `BootCurrent`: the entry that started the running system.
    pub current: Option<u16>,
    /// Whether Secure Boot was on.
    pub secure_boot: bool,
    /// EFI system partitions.
    pub partitions: Vec<EspFacts>,
}

/// One `BootXXXX` variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EfiEntry {
    /// The number in its name.
    pub number: u16,
    /// Its value (an `EFI_LOAD_OPTION`), without the attributes that Linux puts before it.
    pub data: Hex,
    /// Its description, for people.
    pub description: String,
    /// The program that it starts, for people: `\EFI\debian\shimx64.efi`.
    pub file: String,
}

/// An EFI system partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EspFacts {
    /// The partition.
    pub device: NodeId,
    /// Where it was mounted; `None` when it was not.
    pub mount_point: Option<String>,
    /// EFI programs on it, below its root: `EFI/debian/shimx64.efi`.
    pub loaders: Vec<String>,
}

/// Bytes, as hexadecimal digits in JSON.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Hex(pub Vec<u8>);

impl std::fmt::Debug for Hex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hex({} bytes)", self.0.len())
    }
}

impl Serialize for Hex {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(self.0.len() * 2);
        for byte in &self.0 {
            text.push(DIGITS[usize::from(byte >> 4)].into());
            text.push(DIGITS[usize::from(byte & 15)].into());
        }
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digit = |byte: u8| (byte as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let pair = |pair: &[u8]| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        };
        text.as_bytes().chunks(2).map(pair).collect::<Option<Vec<u8>>>().map(Self).ok_or_else(|| {
            serde::de::Error::custom("boot code is not written as pairs of hexadecimal digits")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_json() {
        let hex = Hex((0..=255).collect());
        let text = serde_json::to_string(&hex).unwrap();
        assert_eq!(serde_json::from_str::<Hex>(&text).unwrap(), hex);
        assert!(serde_json::from_str::<Hex>("\"abc\"").is_err());
        assert!(serde_json::from_str::<Hex>("\"zz\"").is_err());
        assert!(serde_json::from_str::<Hex>("\"ää\"").is_err());
    }
}
