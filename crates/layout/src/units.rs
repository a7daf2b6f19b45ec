//! Sizes and positions as types, so that bytes and sectors cannot be mixed up.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A size or an offset in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    /// 1 MiB, the unit of alignment of today's partitions.
    pub const MIB: Self = Self(1 << 20);

    /// The number alone.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Bytes {
    /// As people say it, in binary units: "20.0 GiB"; below 1 KiB exact: "512 B".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let mut unit = 0;
        let mut scale = 1024_u64;
        while unit + 1 < UNITS.len() && self.0 / scale >= 1024 {
            scale *= 1024;
            unit += 1;
        }
        // One decimal, rounded down: a disk is never shown larger than it is.
        let tenths = u128::from(self.0) * 10 / u128::from(scale);
        write!(f, "{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
    }
}

impl std::iter::Sum for Bytes {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        Self(iter.map(|bytes| bytes.0).sum())
    }
}

/// Size of a logical sector in bytes: 512 or 4096 on today's disks (`queue/logical_block_size`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SectorSize(pub u32);

impl SectorSize {
    /// The classic 512 bytes.
    pub const B512: Self = Self(512);
    /// "4K native".
    pub const B4096: Self = Self(4096);

    /// The number of bytes.
    pub fn get(self) -> u64 {
        u64::from(self.0)
    }
}

/// A position or a length on a disk, counted in that disk's own logical sectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lba(pub u64);

impl Lba {
    /// In bytes, on a disk with sectors of this size. Saturates where a damaged table names an absurd number.
    pub fn bytes(self, sector: SectorSize) -> Bytes {
        Bytes(self.0.saturating_mul(sector.get()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_say_them() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (21_474_836_480, "20.0 GiB"),
            (21_474_836_479, "19.9 GiB"),
            (u64::MAX, "15.9 EiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }

    #[test]
    fn sectors_become_bytes() {
        assert_eq!(Lba(2048).bytes(SectorSize::B512), Bytes::MIB);
        assert_eq!(Lba(256).bytes(SectorSize::B4096), Bytes::MIB);
    }
}
