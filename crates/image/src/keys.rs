//! Recognises what is secret, so that it is never packed: private keys by their content, and the host's files of
//! passwords by their place. Looks only into small files: keys are small, and the texts inside large programs that
//! merely know such headers are no keys.

use std::path::Path;

use crate::glob;

/// Files of this size (bytes) or more are not searched.
pub(crate) const LIMIT: u64 = 64 * 1024;

/// Why the file at this link-free path must not be packed, where its place says so. Copies that editors and package
/// managers leave beside such a file hold the same secrets.
pub(crate) fn secret_place(path: &Path) -> Option<&'static str> {
    let text = path.to_string_lossy();
    let any = |patterns: &[&str]| patterns.iter().any(|pattern| glob::matches(pattern, &text));
    if any(&["/etc/shadow*", "/etc/gshadow*", "/etc/security/opasswd*"]) {
        Some("it holds the passwords of this machine")
    } else if any(&["/etc/rear/*.conf*"]) {
        Some("it may hold passwords, and the rescue system does not read it")
    } else {
        None
    }
}

/// Whether the file's content is, or holds, a private key: PEM in all its kinds, OpenSSH, PGP, PuTTY, age.
pub(crate) fn is_private_key(content: &[u8]) -> bool {
    if content.len() as u64 >= LIMIT || content.starts_with(b"\x7fELF") {
        return false;
    }
    if content.starts_with(b"openssh-key-v1\0") || content.starts_with(b"PuTTY-User-Key-File-") {
        return true;
    }
    content.split(|byte| matches!(byte, b'\n' | b'\r')).any(|line| {
        let line = line.trim_ascii();
        if line.starts_with(b"AGE-SECRET-KEY-") {
            return true;
        }
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
        assert!(is_private_key(b"# created: 2026\n# public key: age1x\nAGE-SECRET-KEY-1ABC\n"));
        assert!(!is_private_key(b"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p\n"));
        assert!(!is_private_key(b"-----BEGIN PUBLIC KEY-----\n"));
        assert!(!is_private_key(b"-----BEGIN CERTIFICATE-----\n"));
        assert!(!is_private_key(b"grep -- '-----BEGIN RSA PRIVATE KEY-----' file\n"));
        assert!(!is_private_key(b"\x7fELF..\n-----BEGIN RSA PRIVATE KEY-----\n"));
    }
}
