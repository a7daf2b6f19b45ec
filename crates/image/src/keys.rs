//! Recognises private keys, so that none is ever packed. Looks only at small files: keys are small, and the
//! texts inside large programs that merely know such headers are no keys.

/// Files of this size (bytes) or more are not searched.
pub(crate) const LIMIT: u64 = 64 * 1024;

/// Whether the file's content is, or holds, a private key: PEM in all its kinds, OpenSSH, PGP, PuTTY.
pub(crate) fn is_private_key(content: &[u8]) -> bool {
    if content.len() as u64 >= LIMIT || content.starts_with(b"\x7fELF") {
        return false;
    }
    if content.starts_with(b"openssh-key-v1\0") || content.starts_with(b"PuTTY-User-Key-File-") {
        return true;
    }
    content.split(|byte| matches!(byte, b'\n' | b'\r')).any(|line| {
        let line = line.trim_ascii();
        line.strip_prefix(b"-----BEGIN ").is_some_and(|rest| {
            rest.windows(b"PRIVATE KEY".len()).any(|window| window == b"PRIVATE KEY")
                && rest.ends_with(b"-----")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::is_private_key;

    #[test]
    fn keys_of_all_kinds() {
        for kind in ["RSA PRIVATE KEY", "OPENSSH PRIVATE KEY", "PRIVATE KEY", "ENCRYPTED PRIVATE KEY"] {
            assert!(is_private_key(format!("comment\r\n  -----BEGIN {kind}-----\r\nAAAA\r\n").as_bytes()));
        }
        assert!(is_private_key(b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n"));
        assert!(!is_private_key(b"-----BEGIN PUBLIC KEY-----\n"));
        assert!(!is_private_key(b"-----BEGIN CERTIFICATE-----\n"));
        assert!(!is_private_key(b"grep -- '-----BEGIN RSA PRIVATE KEY-----' file\n"));
        assert!(!is_private_key(b"\x7fELF..\n-----BEGIN RSA PRIVATE KEY-----\n"));
    }
}
