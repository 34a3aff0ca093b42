//! EME-OAEP decoding for tokens that do raw RSA but lack OAEP with the wanted hash.
//!
//! Called by the hardware tier on the output of RSADP. Takes a time that depends on the lengths and on a valid message's
//! length alone; whatever is wrong gives the one mute error (Manger's attack needs to tell two failures apart). Knows no key.

use aws_lc_rs::digest;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::base::{Error, Result, SecretBytes};
use crate::tier::OaepHash;

/// The message in `encoded`, the k bytes that raw RSA gave (RFC 8017, section 7.1.2, step 3), with an empty label and the same
/// hash for label and MGF1.
///
/// # Errors
/// [`Kind::Undecryptable`](crate::base::Kind::Undecryptable), whatever is wrong.
pub(crate) fn decode(mut encoded: SecretBytes, hash: OaepHash) -> Result<SecretBytes> {
    let algorithm = algorithm(hash);
    let hash_length = algorithm.output_len();
    if encoded.len() < 2 * hash_length + 2 {
        return Err(Error::undecryptable());
    }
    let (first, masked) = encoded.expose_mut().split_at_mut(1);
    let (seed, block) = masked.split_at_mut(hash_length);
    mask(algorithm, block, seed);
    mask(algorithm, seed, block);

    let label = digest::digest(algorithm, b"");
    let mut valid = first[0].ct_eq(&0) & block[..hash_length].ct_eq(label.as_ref());
    let mut searching = Choice::from(1);
    let mut separator = 0u32;
    for (position, byte) in (0u32..).zip(block.iter()).skip(hash_length) {
        let found = searching & byte.ct_eq(&1);
        separator.conditional_assign(&position, found);
        searching &= !found;
        // Before the separator there are zeros only.
        valid &= !searching | byte.ct_eq(&0);
    }
    valid &= !searching;
    if !bool::from(valid) {
        return Err(Error::undecryptable());
    }
    let start = 1 + hash_length + separator as usize + 1;
    let length = encoded.len() - start;
    encoded.expose_mut().copy_within(start.., 0);
    encoded.truncate(length);
    Ok(encoded)
}

fn algorithm(hash: OaepHash) -> &'static digest::Algorithm {
    match hash {
        OaepHash::Sha256 => &digest::SHA256,
        OaepHash::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
    }
}

/// Adds MGF1 of `seed` (RFC 8017, appendix B.2.1) to `target`.
fn mask(algorithm: &'static digest::Algorithm, seed: &[u8], target: &mut [u8]) {
    for (counter, chunk) in (0u32..).zip(target.chunks_mut(algorithm.output_len())) {
        let mut context = digest::Context::new(algorithm);
        context.update(seed);
        context.update(&counter.to_be_bytes());
        for (byte, bits) in chunk.iter_mut().zip(context.finish().as_ref()) {
            *byte ^= bits;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::{Kind, random};

    const MODULUS_BYTES: usize = 256;

    /// A data block of label hash, zeros and what `fill` makes of it, masked: EME-OAEP encoding with room for mistakes.
    fn encode(hash: OaepHash, first: u8, damage: impl FnOnce(&mut [u8])) -> SecretBytes {
        let algorithm = algorithm(hash);
        let mut encoded = vec![0; MODULUS_BYTES];
        let (head, masked) = encoded.split_at_mut(1);
        head[0] = first;
        let (seed, block) = masked.split_at_mut(algorithm.output_len());
        random::fill(seed);
        block[..algorithm.output_len()].copy_from_slice(digest::digest(algorithm, b"").as_ref());
        damage(block);
        mask(algorithm, seed, block);
        mask(algorithm, block, seed);
        SecretBytes::new(encoded)
    }

    fn put(block: &mut [u8], message: &[u8]) {
        let start = block.len() - message.len();
        block[start - 1] = 1;
        block[start..].copy_from_slice(message);
    }

    fn is_undecryptable(encoded: SecretBytes, hash: OaepHash) {
        assert_eq!(decode(encoded, hash).unwrap_err().kind(), Kind::Undecryptable);
    }

    #[test]
    fn every_mistake_is_undecryptable() {
        for hash in [OaepHash::Sha1, OaepHash::Sha256] {
            is_undecryptable(encode(hash, 1, |block| put(block, b"message")), hash);
            is_undecryptable(encode(hash, 0, |_| ()), hash);
            for position in 0..algorithm(hash).output_len() {
                is_undecryptable(
                    encode(hash, 0, |block| {
                        put(block, b"message");
                        block[position] ^= 1;
                    }),
                    hash,
                );
            }
            is_undecryptable(
                encode(hash, 0, |block| {
                    put(block, b"message");
                    block[algorithm(hash).output_len()] = 2;
                }),
                hash,
            );
            for length in [0, 1, 2 * algorithm(hash).output_len() + 1] {
                is_undecryptable(SecretBytes::new(vec![0; length]), hash);
            }
        }
    }

    #[test]
    fn another_hash_is_undecryptable() {
        is_undecryptable(encode(OaepHash::Sha1, 0, |block| put(block, b"message")), OaepHash::Sha256);
    }

    #[test]
    fn the_shortest_encoding_holds_an_empty_message() {
        let length = algorithm(OaepHash::Sha1).output_len();
        let mut encoded = vec![0; 2 * length + 2];
        let (seed, block) = encoded[1..].split_at_mut(length);
        block[..length].copy_from_slice(digest::digest(algorithm(OaepHash::Sha1), b"").as_ref());
        block[length] = 1;
        mask(algorithm(OaepHash::Sha1), seed, block);
        mask(algorithm(OaepHash::Sha1), block, seed);
        assert!(decode(SecretBytes::new(encoded), OaepHash::Sha1).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn what_was_encoded_comes_back(message in proptest::collection::vec(any::<u8>(), 0..=190)) {
            for hash in [OaepHash::Sha1, OaepHash::Sha256] {
                let decoded = decode(encode(hash, 0, |block| put(block, &message)), hash).unwrap();
                prop_assert_eq!(decoded.expose(), &message);
            }
        }

        #[test]
        fn noise_is_undecryptable(noise in proptest::collection::vec(any::<u8>(), 0..600)) {
            prop_assert_eq!(decode(SecretBytes::new(noise), OaepHash::Sha256).unwrap_err().kind(), Kind::Undecryptable);
        }
    }
}
