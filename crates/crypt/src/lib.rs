//! Encrypts what must stay secret and opens it again, in the format of age (age-encryption.org/v1), so that the program `age`
//! opens it too: small things as a whole, and large files as streams that are read at any place.
//!
//! It asks nobody, knows no configuration and writes no file. What it gives has been authenticated, byte for byte; what was
//! changed or cut off is an error, never wrong bytes. That somebody else has encrypted to the same public keys cannot be
//! seen: those are no secret.

mod lock;
mod opener;
mod plain;
mod whole;
mod writer;

pub use lock::{Lock, Recipient, recipient};
pub use opener::{Identity, Opener, identities};
pub use plain::Plain;
pub use whole::{open, seal};
pub use writer::Writer;

use sys::Secret;

/// Why something could not be encrypted or opened. A key that does not fit is no error here.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A text is no public key.
    #[error("'{0}' is no age recipient and no ssh-ed25519 or ssh-rsa public key")]
    Recipient(String),
    /// A text holds no private key that can be used.
    #[error("{0}")]
    Identity(String),
    /// It cannot be encrypted.
    #[error("it cannot be encrypted: {0}")]
    Seal(String),
    /// It cannot be opened, whatever the key.
    #[error("it cannot be opened: {0}")]
    Open(String),
    /// What was encrypted is not what it was.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Error {
    /// What the format's library says of a file.
    fn of(error: age::DecryptError) -> Self {
        use age::DecryptError;
        match error {
            DecryptError::Io(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Self::Damaged("its header is cut off".into())
            }
            DecryptError::Io(error) if error.kind() != std::io::ErrorKind::InvalidData => Self::Io(error),
            DecryptError::Io(_) | DecryptError::InvalidHeader | DecryptError::UnknownFormat => {
                Self::Damaged("its header is none of the age format".into())
            }
            DecryptError::InvalidMac => Self::Damaged("its header fails its authentication".into()),
            DecryptError::ExcessiveWork { .. } => {
                Self::Open("its passphrase was made harder to guess than this program accepts".into())
            }
            other => Self::Open(other.to_string()),
        }
    }
}

/// Whether the key did not fit, where nothing else is wrong.
fn is_misfit(error: &age::DecryptError) -> bool {
    use age::DecryptError;
    matches!(
        error,
        DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed | DecryptError::NoMatchingKeys
    )
}

/// The key of one encrypted file: it opens that file and no other.
#[derive(Clone)]
pub struct FileKey(Secret);

/// Keeps the keyed hash apart from all else that is derived from the key.
const CONTEXT: &str = "rear keyed digest 1";

impl FileKey {
    /// A hash that stands for another one, and tells nothing of it to anybody without the key: 64 hexadecimal digits.
    pub fn digest(&self, of: &str) -> String {
        let key = blake3::derive_key(CONTEXT, self.0.expose_bytes());
        blake3::keyed_hash(&key, of.as_bytes()).to_hex().to_string()
    }
}

impl std::fmt::Debug for FileKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FileKey(***)")
    }
}

/// Takes note of the key that passes by.
type Note = std::cell::RefCell<Option<FileKey>>;

fn note(note: &Note, key: &age_core::format::FileKey) {
    use age_core::secrecy::ExposeSecret;
    *note.borrow_mut() = Some(FileKey(Secret::of_bytes(key.expose_secret().to_vec())));
}
