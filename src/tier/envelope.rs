//! The envelope of key material that RSA alone is too short for: an AES key wrapped by RSA-OAEP, and behind it the material wrapped
//! by that AES key (PKCS #11 3.0, CKM_RSA_AES_KEY_WRAP; AES Key Wrap with Padding, RFC 5649).
//!
//! Called by whoever opened the first part. What can be wrong with the second is one mute kind.

use aws_lc_rs::key_wrap::{AES_128, AES_256, AesKek, KeyWrapPadded};

use crate::base::{Error, Result, SecretBytes};

/// Opens the second part by the AES key of the first, 16 or 32 bytes.
///
/// # Errors
/// [`Kind::Undecryptable`](crate::base::Kind::Undecryptable).
pub fn open(key: &SecretBytes, wrapped: &[u8]) -> Result<SecretBytes> {
    let cipher = match key.len() {
        16 => &AES_128,
        32 => &AES_256,
        _ => return Err(Error::undecryptable()),
    };
    let mute = |_: aws_lc_rs::error::Unspecified| Error::undecryptable();
    let key = AesKek::new(cipher, key.expose()).map_err(mute)?;
    let mut length = 0;
    let mut material = SecretBytes::filled(wrapped.len(), |output| {
        length = key.unwrap_with_padding(wrapped, output).map_err(mute)?.len();
        Ok::<_, Error>(())
    })?;
    material.truncate(length);
    Ok(material)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Kind;

    #[test]
    fn what_was_wrapped_comes_out_and_nothing_else() {
        for bits in [&AES_128, &AES_256] {
            let raw: Vec<u8> = (0..if std::ptr::eq(bits, &AES_128) { 16 } else { 32 }).collect();
            let key = SecretBytes::new(raw.clone());
            for length in [1, 7, 8, 9, 32, 1217] {
                let material: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
                let mut wrapped = vec![0; length + 15];
                let wrapped = AesKek::new(bits, &raw).unwrap().wrap_with_padding(&material, &mut wrapped).unwrap().to_vec();
                assert!(open(&key, &wrapped).unwrap().constant_time_eq(&material));
                let flipped = (0..wrapped.len()).map(|at| {
                    let mut flipped = wrapped.clone();
                    flipped[at] ^= 1;
                    flipped
                });
                let cut = (0..wrapped.len()).map(|length| wrapped[..length].to_vec());
                for wrong in flipped.chain(cut) {
                    assert_eq!(open(&key, &wrong).unwrap_err().kind(), Kind::Undecryptable);
                }
            }
        }
        assert_eq!(open(&SecretBytes::new(vec![0; 24]), &[0; 24]).unwrap_err().kind(), Kind::Undecryptable);
    }
}
