//! CRC-32C (Castagnoli), as ext4 uses it, and the reverse question: which UUID has a given checksum.

/// The polynomial 0x1EDC6F41, bit-reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;

fn step(mut crc: u32) -> u32 {
    for _ in 0..8 {
        crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
    }
    crc
}

/// `ext2fs_crc32c_le(crc, bytes)`: no final inversion.
fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, byte| step((crc ^ u32::from(*byte)) & 0xff) ^ (crc >> 8))
}

fn bytes_of(uuid: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = uuid.bytes().filter(|byte| *byte != b'-').collect();
    if digits.len() != 32 {
        return None;
    }
    let mut bytes = [0_u8; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// A UUID from which mke2fs derives this checksum seed: that of the filesystem with its last four bytes
/// changed. `None` where the filesystem's own UUID does it already, or is no UUID.
pub(crate) fn uuid_with_seed(uuid: &str, seed: u32) -> Option<String> {
    let mut bytes = bytes_of(uuid)?;
    if crc32c(!0, &bytes) == seed {
        return None;
    }
    // The register after the first 12 bytes is known; stepping backwards from the wanted end over four zero
    // bytes gives what the register must be before them, and the difference is what the four bytes must be.
    let mut wanted = seed;
    for _ in 0..32 {
        wanted = if wanted >> 31 == 1 { (wanted ^ POLYNOMIAL) << 1 | 1 } else { wanted << 1 };
    }
    let start = crc32c(!0, &bytes[..12]);
    bytes[12..].copy_from_slice(&(wanted ^ start).to_le_bytes());
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    Some(parts.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        // RFC 3720, B.4 gives the check value for "123456789" with the final inversion.
        assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
    }

    #[test]
    fn any_seed_has_a_uuid() {
        let uuid = "d385b3ca-a3f5-4b8b-999c-83cec26cc6cb";
        for seed in [0, 1, 0xdead_beef, u32::MAX] {
            let made = uuid_with_seed(uuid, seed).unwrap();
            assert_eq!(crc32c(!0, &bytes_of(&made).unwrap()), seed);
            assert_eq!(uuid_with_seed(&made, seed), None);
        }
    }
}
