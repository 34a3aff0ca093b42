//! Fills and strips the last 16-byte block for CBC and ECB: PKCS #7 or nothing.
//!
//! Called by both tiers around their raw block modes. Stripping takes a time that depends on the length alone, and whatever
//! is wrong gives the one mute error: a padding oracle has nothing to hear. Knows no key and no mode.

use subtle::{Choice, ConstantTimeEq, ConstantTimeLess};

use crate::base::{Error, Result, SecretBytes};
use crate::model::algorithm::PaddingMode;

/// The block of AES (FIPS 197), in bytes.
pub(crate) const BLOCK: usize = 16;

/// The plaintext, filled up to whole blocks; PKCS #7 (RFC 5652, section 6.3) adds 1 to 16 bytes.
///
/// # Errors
/// [`Kind::InvalidParameter`](crate::base::Kind::InvalidParameter) for a partial block without padding.
pub(crate) fn pad(plaintext: SecretBytes, padding: PaddingMode) -> Result<SecretBytes> {
    let (whole, fill) = (plaintext.len() / BLOCK * BLOCK, BLOCK - plaintext.len() % BLOCK);
    match padding {
        PaddingMode::Pkcs7 => SecretBytes::filled(whole + BLOCK, |padded| {
            let (content, rest) = padded.split_at_mut(plaintext.len());
            content.copy_from_slice(plaintext.expose());
            rest.fill(u8::try_from(fill).expect("a fill of 1 to 16"));
            Ok(())
        }),
        PaddingMode::NoPadding if whole == plaintext.len() => Ok(plaintext),
        PaddingMode::NoPadding => Err(Error::invalid(format!(
            "With {padding} the plaintext must be a multiple of {BLOCK} bytes; it has {}. Use {} for other lengths.",
            plaintext.len(),
            PaddingMode::Pkcs7
        ))),
    }
}

/// What was filled, without the fill.
///
/// # Errors
/// [`Kind::Undecryptable`](crate::base::Kind::Undecryptable), whatever is wrong.
pub(crate) fn unpad(mut padded: SecretBytes, padding: PaddingMode) -> Result<SecretBytes> {
    if !padded.len().is_multiple_of(BLOCK) {
        return Err(Error::undecryptable());
    }
    match padding {
        PaddingMode::NoPadding => Ok(padded),
        PaddingMode::Pkcs7 => {
            let (_, last) = padded.expose().split_last_chunk::<BLOCK>().ok_or_else(Error::undecryptable)?;
            let fill = last[BLOCK - 1];
            let mut valid = !fill.ct_eq(&0) & fill.ct_lt(&(BLOCK as u8 + 1));
            for (from_the_end, byte) in (0u8..).zip(last.iter().rev()) {
                let belongs: Choice = from_the_end.ct_lt(&fill);
                valid &= !belongs | byte.ct_eq(&fill);
            }
            if !bool::from(valid) {
                return Err(Error::undecryptable());
            }
            padded.truncate(padded.len() - usize::from(fill));
            Ok(padded)
        }
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

    #[test]
    fn every_wrong_fill_is_undecryptable() {
        for fill in 0..=255u8 {
            for damaged in 0..BLOCK {
                let mut block = [fill; BLOCK];
                block[damaged] ^= 0x40;
                let right = block[BLOCK - 1];
                let valid = (1..=16).contains(&right) && block[BLOCK - usize::from(right)..].iter().all(|byte| *byte == right);
                match unpad(secret(&block), PaddingMode::Pkcs7) {
                    Ok(content) => assert!(valid && content.len() == BLOCK - usize::from(right), "{block:?}"),
                    Err(error) => assert!(!valid && error.kind() == Kind::Undecryptable, "{block:?}"),
                }
            }
        }
    }

    #[test]
    fn every_wrong_length_is_undecryptable() {
        for (length, padding) in
            [(0, PaddingMode::Pkcs7), (15, PaddingMode::Pkcs7), (17, PaddingMode::Pkcs7), (1, PaddingMode::NoPadding)]
        {
            assert_eq!(unpad(secret(&vec![1; length]), padding).unwrap_err().kind(), Kind::Undecryptable);
        }
    }

    #[test]
    fn a_partial_block_needs_padding() {
        for length in [1, 15, 17] {
            assert_eq!(pad(secret(&vec![0; length]), PaddingMode::NoPadding).unwrap_err().kind(), Kind::InvalidParameter);
        }
    }

    proptest! {
        #[test]
        fn what_was_padded_comes_back(content in proptest::collection::vec(any::<u8>(), 0..100)) {
            let padded = pad(secret(&content), PaddingMode::Pkcs7).unwrap();
            prop_assert!(padded.len() > content.len() && padded.len() <= content.len() + BLOCK && padded.len().is_multiple_of(BLOCK));
            let unpadded = unpad(padded, PaddingMode::Pkcs7).unwrap();
            prop_assert_eq!(unpadded.expose(), &content);
        }
    }
}
