//! Passwords become crypt(3) hashes before anything is stored; a hash is passed through.

use sha_crypt::{PasswordHasher, PasswordVerifier, ShaCrypt};
use sys::Secret;

use crate::Error;

/// A hash for `/etc/shadow`. What already is one (`$6$...`, `$y$...`) stays; a plain text becomes SHA-512 crypt.
///
/// The salt has 12 random bytes, 16 characters: crypt(3) cuts longer ones off, and with the library's own
/// default of 22 characters nobody could log in.
pub fn hash_password(plain_or_hash: &Secret) -> Result<String, Error> {
    let text = plain_or_hash.expose();
    if text.is_empty() {
        return Err(Error::Password("it is empty".to_owned()));
    }
    if text.contains(['\n', '\0']) {
        return Err(Error::Password("it has more than one line".to_owned()));
    }
    if is_hash(text) {
        return Ok(text.to_owned());
    }
    let mut salt = [0_u8; 12];
    let id = sys::info::random_id()?;
    for (byte, pair) in salt.iter_mut().zip(id.as_bytes().chunks_exact(2)) {
        let digits = std::str::from_utf8(pair).unwrap_or_default();
        *byte = u8::from_str_radix(digits, 16)
            .map_err(|_| Error::Password("no randomness for its salt".to_owned()))?;
    }
    let hash = ShaCrypt::default()
        .hash_password_with_salt(text.as_bytes(), &salt)
        .map_err(|error| Error::Password(error.to_string()))?;
    Ok(hash.to_string())
}

/// `$id$salt$hash`, where the salt may be preceded by parameters, in the characters of crypt(5).
fn is_hash(text: &str) -> bool {
    let parts: Vec<&str> = text.split('$').collect();
    let plain = |c: char| c.is_ascii_alphanumeric() || "./=,-".contains(c);
    matches!(parts[..], ["", id, _, ..] if !id.is_empty() && id.len() <= 3 && parts.len() >= 4)
        && parts.last().is_some_and(|hash| hash.len() >= 20)
        && parts[1..].iter().all(|part| part.chars().all(plain))
}

/// Whether the password fits the hash. Only SHA-crypt hashes (`$5$`, `$6$`) can be checked; others are an error.
pub fn verify_password(hash: &str, plain: &Secret) -> Result<bool, Error> {
    if !hash.starts_with("$6$") && !hash.starts_with("$5$") {
        return Err(Error::Password(
            "its hash is neither SHA-512 crypt ($6$) nor SHA-256 crypt ($5$); make one with 'openssl passwd -6'"
                .to_owned(),
        ));
    }
    Ok(ShaCrypt::default().verify_password(plain.expose().as_bytes(), hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_fits_its_password_only() {
        let plain = Secret::new("it's \"$ä\\ secret");
        let hash = hash_password(&plain).unwrap();
        assert!(hash.starts_with("$6$"));
        let salt = hash.split('$').rev().nth(1).unwrap();
        assert_eq!(salt.len(), 16);
        assert!(verify_password(&hash, &plain).unwrap());
        assert!(!verify_password(&hash, &Secret::new("other")).unwrap());
        assert_ne!(hash, hash_password(&plain).unwrap());
        assert!(!hash.contains("secret"));
    }

    #[test]
    fn hashes_of_other_programs() {
        // openssl passwd -6 -salt saltstring 'Hello world!', the test vector of the specification.
        let hash = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1";
        assert_eq!(hash_password(&Secret::new(hash)).unwrap(), hash);
        assert!(verify_password(hash, &Secret::new("Hello world!")).unwrap());
        assert!(!verify_password(hash, &Secret::new("Hello world")).unwrap());
        let yescrypt = "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$tnSYvahCwPBHKZUspmcxMfb0.WiB9W.zEaKlOBL35rC";
        assert_eq!(hash_password(&Secret::new(yescrypt)).unwrap(), yescrypt);
        assert!(verify_password(yescrypt, &Secret::new("x")).is_err());
    }

    #[test]
    fn a_plain_text_with_dollars_is_no_hash() {
        for plain in ["$cash$", "$6$short$x", "a$6$b$cccccccccccccccccccccc"] {
            assert_ne!(hash_password(&Secret::new(plain)).unwrap(), plain);
        }
        assert!(hash_password(&Secret::new("")).is_err());
    }
}
