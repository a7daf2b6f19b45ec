//! LUKS containers: what can be said of their headers without any secret. Never holds key material.

use serde::{Deserialize, Serialize};

use crate::{Bytes, NodeId};

/// A LUKS container, from its header (the LUKS1 specification 1.2.3; LUKS2 on-disk format 1.1.0).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Luks {
    /// Its UUID.
    pub uuid: String,
    /// Version of its header, 1 or 2.
    pub version: u32,
    /// Label (LUKS2); empty if it has none.
    #[serde(default)]
    pub label: String,
    /// Subsystem label (LUKS2); empty if it has none.
    #[serde(default)]
    pub subsystem: String,
    /// Cipher and mode as `cryptsetup --cipher` takes it: `aes-xts-plain64`.
    #[serde(default)]
    pub cipher: String,
    /// Bits of the volume key.
    #[serde(default)]
    pub key_bits: u32,
    /// Hash of the key derivation or digest: `sha256`.
    #[serde(default)]
    pub hash: String,
    /// Bytes of an encryption sector: 512, or more with LUKS2.
    #[serde(default)]
    pub sector_size: u32,
    /// Where the data begin, in bytes.
    #[serde(default)]
    pub data_offset: Bytes,
    /// Bytes of the header with both copies and all key slots, from the start of the device.
    #[serde(default)]
    pub header_size: Bytes,
    /// Bytes of one of the two copies of the metadata (LUKS2): 16384 nearly always; 0 with LUKS1.
    #[serde(default)]
    pub metadata_size: Bytes,
    /// Bytes of the data where the header fixes them (LUKS2); `None` where they reach to the end of the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_size: Option<Bytes>,
    /// Integrity protection (LUKS2), such as `hmac-sha256`; empty without.
    #[serde(default)]
    pub integrity: String,
    /// Its key slots, by number.
    #[serde(default)]
    pub keyslots: Vec<Keyslot>,
    /// Types of its tokens (LUKS2): `clevis`, `systemd-tpm2`.
    #[serde(default)]
    pub tokens: Vec<String>,
    /// Persistent flags (LUKS2): `allow-discards`.
    #[serde(default)]
    pub flags: Vec<String>,
    /// What a program must know to use it (LUKS2): `online-reencrypt-v2`, `opal`. Empty nearly always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requirements: Vec<String>,
    /// Types of its data segments (LUKS2): one `crypt` nearly always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<String>,
    /// Whether the recovery point holds its header, encrypted. Not a property of the container: the workflow that
    /// saves it says so, and what a recovery does follows from it.
    #[serde(default)]
    pub sealed: bool,
}

impl Luks {
    /// What stays the same when the container is made with a new passphrase: everything but key slots and tokens,
    /// which a new header cannot have. `sealed` is taken from `self`.
    #[must_use]
    pub fn with_keys_of(mut self, other: &Self) -> Self {
        self.keyslots.clone_from(&other.keyslots);
        self.tokens.clone_from(&other.tokens);
        self
    }
}

/// A key slot in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyslot {
    /// Its number.
    pub number: u32,
    /// Key derivation function: `pbkdf2`, `argon2i`, `argon2id`.
    pub pbkdf: String,
    /// Iterations (of argon2: its time cost).
    #[serde(default)]
    pub iterations: u64,
    /// Memory of argon2, in KiB; 0 with pbkdf2.
    #[serde(default)]
    pub memory: u64,
    /// Threads of argon2; 0 with pbkdf2.
    #[serde(default)]
    pub parallel: u32,
}

/// The open side of a LUKS container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LuksMapping {
    /// The device that carries the container.
    pub parent: NodeId,
    /// Name below `/dev/mapper`.
    pub name: String,
}
