//! The self-contained ciphertext of the Advance operations, and what a ciphertext may be bound to.
//!
//! | offset | length | content |
//! |---|---|---|
//! | 0 | 1 | `$` |
//! | 1 | 1 | high nibble: version of the format, 0; low nibble: padding mode, 0 for none |
//! | 2 | 1 | algorithm: 2 is AES_GCM |
//! | 3 | 36 | key version id, ASCII |
//! | 39 | 12 | IV |
//! | 51 | n + 16 | ciphertext and tag |
//!
//! Without its first three bytes it is the OpenAPI's CiphertextBlob. A ciphertext of Encrypt may begin with `$` by chance: whoever
//! parses one also looks whether the key version is known.

use crate::model::KeyVersionId;

/// `$`, format 0 without padding, AES_GCM.
const HEADER: [u8; 3] = [b'$', 0x00, 0x02];
/// Length of an AES-GCM IV in bytes.
const IV: usize = 12;
/// Length of an AES-GCM tag in bytes.
const TAG: usize = 16;

/// What a ciphertext may be bound to: the additional authenticated data that a request to decrypt can mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// What may have been authenticated, the likeliest first.
    pub aads: Vec<Vec<u8>>,
    /// What earlier versions of Keystead authenticated where a client sent the same, and the present version does not: less than the
    /// client asked for. Tried under `unbound_until` alone.
    pub former_aads: Vec<Vec<u8>>,
}

/// A self-contained ciphertext taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelfContained {
    /// The key version that it was made with.
    pub version: KeyVersionId,
    /// Its IV.
    pub iv: [u8; IV],
    /// Ciphertext and tag.
    pub ciphertext: Vec<u8>,
}

impl SelfContained {
    /// Takes one apart; `None` when it is not one.
    pub fn parse(blob: &[u8]) -> Option<Self> {
        Self::parse_rest(blob.strip_prefix(&HEADER)?)
    }

    fn parse_rest(rest: &[u8]) -> Option<Self> {
        let (version, rest) = rest.split_at_checked(KeyVersionId::LENGTH)?;
        let (iv, ciphertext) = rest.split_first_chunk::<IV>()?;
        if ciphertext.len() < TAG {
            return None;
        }
        let version = std::str::from_utf8(version).ok()?.parse().ok()?;
        Some(Self { version, iv: *iv, ciphertext: ciphertext.to_vec() })
    }

    /// Takes the OpenAPI's CiphertextBlob apart, with or without the first three bytes; `None` when it is not one.
    pub fn parse_blob(blob: &[u8]) -> Option<Self> {
        // A key version id does not begin with `$`.
        if blob.starts_with(&HEADER) { Self::parse(blob) } else { Self::parse_rest(blob) }
    }

    /// The OpenAPI's CiphertextBlob.
    pub fn to_blob(&self) -> Vec<u8> {
        self.to_bytes().split_off(HEADER.len())
    }

    /// Puts it together.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut blob = Vec::with_capacity(HEADER.len() + KeyVersionId::LENGTH + IV + self.ciphertext.len());
        blob.extend_from_slice(&HEADER);
        blob.extend_from_slice(self.version.as_str().as_bytes());
        blob.extend_from_slice(&self.iv);
        blob.extend_from_slice(&self.ciphertext);
        blob
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VERSION: &str = "key-hzz62f1cb66fa42qo0001-0123456789";

    #[test]
    fn the_layout_is_the_documented_one() {
        let blob = SelfContained { version: VERSION.parse().unwrap(), iv: [7; 12], ciphertext: vec![9; 21] }.to_bytes();
        assert_eq!(blob.len(), 3 + 36 + 12 + 21);
        assert_eq!(&blob[..3], b"$\x00\x02");
        assert_eq!(&blob[3..39], VERSION.as_bytes());
        assert_eq!(&blob[39..51], &[7; 12]);
    }

    #[test]
    fn what_is_cut_or_of_another_format_is_none() {
        let blob = SelfContained { version: VERSION.parse().unwrap(), iv: [7; 12], ciphertext: vec![9; 16] }.to_bytes();
        assert!(SelfContained::parse(&blob).is_some());
        for length in 0..blob.len() {
            assert!(SelfContained::parse(&blob[..length]).is_none());
        }
        for at in 0..3 {
            let mut other = blob.clone();
            other[at] ^= 0x10;
            assert!(SelfContained::parse(&other).is_none());
        }
    }

    proptest! {
        #[test]
        fn what_is_put_together_comes_apart(iv: [u8; 12], ciphertext in proptest::collection::vec(any::<u8>(), 16..80)) {
            let blob = SelfContained { version: VERSION.parse().unwrap(), iv, ciphertext };
            prop_assert_eq!(SelfContained::parse(&blob.to_bytes()), Some(blob));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = SelfContained::parse(&bytes);
            let mut prefixed = HEADER.to_vec();
            prefixed.extend(bytes);
            let _ = SelfContained::parse(&prefixed);
        }
    }
}
