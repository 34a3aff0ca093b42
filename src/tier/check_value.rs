//! What a key is known again by. A token is asked for keys by an id that whoever is logged in to it may give to another key, too.

use crate::base::SecretBytes;

/// What tells a key from every other one. AES: two fixed blocks, encrypted; HMAC: the code of a fixed message; a pair: its public half
/// (SubjectPublicKeyInfo, DER), of which the token has shown that it holds the private one.
///
/// Whoever keeps one keeps a keyed hash of it: it is not to be compared with those of known keys by whoever reads what is kept.
pub struct CheckValue(SecretBytes);

impl CheckValue {
    /// From what was computed.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(SecretBytes::new(bytes))
    }

    /// The bytes: 32 of AES, as many as the hash has of HMAC, the DER of a pair.
    pub fn secret(&self) -> &SecretBytes {
        &self.0
    }

    /// Whether it is the same key.
    pub fn is(&self, other: &Self) -> bool {
        self.0.constant_time_eq(other.0.expose())
    }
}

/// Knows one key by its check value.
pub trait Witness: Send + Sync {
    /// Whether this is the value of the key.
    fn knows(&self, value: &CheckValue) -> bool;
}
