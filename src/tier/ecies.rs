//! ECIES_DH_SHA_1_XOR_HMAC (SEC 1 v2, section 5.1) around a shared secret that somebody else agreed on.
//!
//! Called by [`PublicKey`](crate::tier::PublicKey) to seal and by both tiers to open; it knows no curve and no key.
//! A blob is: ephemeral point, uncompressed (65 bytes), ciphertext as long as the message, HMAC-SHA-1 tag (20 bytes).
//! Keys: X9.63 KDF (SEC 1, section 3.6.1) with SHA-1 over the shared x coordinate; no shared information.

use aws_lc_rs::{digest, hmac};
use subtle::ConstantTimeEq;

use crate::base::{Error, Result, SecretBytes};

/// An uncompressed point on a curve with a 256-bit field (SEC 1, section 2.3.3), in bytes.
pub(crate) const POINT: usize = 65;
const TAG: usize = 20;

/// A blob, cut into its parts.
pub(crate) struct Sealed<'a> {
    ephemeral: &'a [u8],
    body: &'a [u8],
    tag: &'a [u8],
}

impl<'a> Sealed<'a> {
    /// Cuts a blob; whether the point lies on the curve is for the key agreement to say.
    ///
    /// # Errors
    /// [`Kind::Undecryptable`](crate::base::Kind::Undecryptable) when it is too short or its point is not uncompressed.
    pub(crate) fn parse(blob: &'a [u8]) -> Result<Self> {
        let (ephemeral, rest) = blob.split_at_checked(POINT).ok_or_else(Error::undecryptable)?;
        let (body, tag) = rest.split_last_chunk::<TAG>().ok_or_else(Error::undecryptable)?;
        match ephemeral.first() {
            Some(4) => Ok(Self { ephemeral, body, tag }),
            Some(_) | None => Err(Error::undecryptable()),
        }
    }

    /// The sender's point, `04 || x || y`.
    pub(crate) fn ephemeral(&self) -> &'a [u8] {
        self.ephemeral
    }

    /// Checks the tag and decrypts, with the x coordinate of the shared point (32 bytes).
    ///
    /// # Errors
    /// [`Kind::Undecryptable`](crate::base::Kind::Undecryptable) when the tag is wrong.
    pub(crate) fn open(&self, shared: &SecretBytes) -> Result<SecretBytes> {
        let (mut pad, mac_key) = keys(shared, self.body.len());
        if !bool::from(mac(&mac_key, self.body).as_ref().ct_eq(self.tag)) {
            return Err(Error::undecryptable());
        }
        xor(pad.expose_mut(), self.body);
        Ok(pad)
    }
}

/// The blob of a message, with the sender's ephemeral point and the x coordinate of the shared point (32 bytes).
pub(crate) fn seal(ephemeral: &[u8], shared: &SecretBytes, message: &SecretBytes) -> Vec<u8> {
    let (mut body, mac_key) = keys(shared, message.len());
    xor(body.expose_mut(), message.expose());
    let tag = mac(&mac_key, body.expose());
    [ephemeral, body.expose(), tag.as_ref()].concat()
}

/// As many bytes to encrypt with as the message has, and the 20 bytes after them, the MAC key.
fn keys(shared: &SecretBytes, length: usize) -> (SecretBytes, SecretBytes) {
    let mut stream = SecretBytes::new(vec![0; length + TAG]);
    for (counter, chunk) in (1u32..).zip(stream.expose_mut().chunks_mut(digest::SHA1_FOR_LEGACY_USE_ONLY.output_len())) {
        let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
        context.update(shared.expose());
        context.update(&counter.to_be_bytes());
        chunk.copy_from_slice(&context.finish().as_ref()[..chunk.len()]);
    }
    let mac_key = SecretBytes::new(stream.expose()[length..].to_vec());
    stream.truncate(length);
    (stream, mac_key)
}

fn mac(key: &SecretBytes, body: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key.expose()), body)
}

fn xor(target: &mut [u8], with: &[u8]) {
    for (byte, other) in target.iter_mut().zip(with) {
        *byte ^= other;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::Kind;

    fn secret(bytes: &[u8]) -> SecretBytes {
        SecretBytes::new(bytes.to_vec())
    }

    fn point() -> [u8; POINT] {
        let mut point = [7; POINT];
        point[0] = 4;
        point
    }

    #[test]
    fn keys_follow_the_kdf_of_x9_63() {
        // SHA-1 over Z and a counter that starts at 1; written out as the standard prints it, block after block.
        let (stream, mac_key) = keys(&secret(&[0xab; 32]), 25);
        let mut expected = Vec::new();
        for counter in 1..=3u8 {
            let block = [&[0xab; 32][..], &[0, 0, 0, counter]].concat();
            expected.extend_from_slice(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &block).as_ref());
        }
        assert_eq!(stream.expose(), &expected[..25]);
        assert_eq!(mac_key.expose(), &expected[25..45]);
    }

    #[test]
    fn every_cut_and_flip_of_body_and_tag_is_undecryptable() {
        let shared = secret(&[9; 32]);
        let blob = seal(&point(), &shared, &secret(b"a message of more than twenty bytes"));
        for length in 0..blob.len() {
            let error = Sealed::parse(&blob[..length]).and_then(|sealed| sealed.open(&shared)).unwrap_err();
            assert_eq!(error.kind(), Kind::Undecryptable);
        }
        for position in POINT..blob.len() {
            let mut flipped = blob.clone();
            flipped[position] ^= 1;
            assert_eq!(Sealed::parse(&flipped).unwrap().open(&shared).unwrap_err().kind(), Kind::Undecryptable);
        }
        assert_eq!(Sealed::parse(&blob).unwrap().open(&secret(&[8; 32])).unwrap_err().kind(), Kind::Undecryptable);
    }

    #[test]
    fn a_compressed_point_is_undecryptable() {
        for first in [0, 2, 3, 5, 6, 7] {
            let mut blob = seal(&point(), &secret(&[9; 32]), &secret(b"message"));
            blob[0] = first;
            assert!(Sealed::parse(&blob).is_err());
        }
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens(message in proptest::collection::vec(any::<u8>(), 0..200), shared in any::<[u8; 32]>()) {
            let blob = seal(&point(), &secret(&shared), &secret(&message));
            prop_assert_eq!(blob.len(), POINT + message.len() + TAG);
            let sealed = Sealed::parse(&blob).unwrap();
            prop_assert_eq!(sealed.ephemeral(), &point()[..]);
            let opened = sealed.open(&secret(&shared)).unwrap();
            prop_assert_eq!(opened.expose(), &message);
        }
    }
}
