//! HMAC keys of the software tier.
//!
//! Opened by the tier. Calls take microseconds and run where they are asked for. Knows no stored form but the raw key.

use aws_lc_rs::hmac;

use crate::base::{Error, Result, SecretBytes};
use crate::model::algorithm::{KeySpec, MacAlgorithm};
use crate::tier::software::lives::Guard;
use crate::tier::{CheckValue, Cipher, KeyHandle, Mac, PublicKey, Share, Signer, Work, check_mac_message, does_not_fit};

/// A key of HMAC, padded and hashed for its algorithm.
pub(super) struct HmacKey {
    spec: KeySpec,
    algorithm: MacAlgorithm,
    guard: Guard,
    key: hmac::Key,
}

impl HmacKey {
    /// Expands a raw key of as many bytes as the spec has.
    ///
    /// # Errors
    /// [`Kind::InvalidParameter`](crate::base::Kind::InvalidParameter) when its length is not the spec's.
    pub(super) fn expand(spec: KeySpec, raw: &SecretBytes, guard: Guard) -> Result<Self> {
        let algorithm = spec.mac_algorithm().ok_or_else(|| Error::internal("not a key of HMAC"))?;
        if raw.len() != algorithm.bytes() {
            let text = format!("The key material has {} bytes, which does not fit the KeySpec {spec}.", raw.len());
            return Err(Error::invalid(text));
        }
        let hash = match algorithm {
            MacAlgorithm::HmacSha224 => hmac::HMAC_SHA224,
            MacAlgorithm::HmacSha256 => hmac::HMAC_SHA256,
            MacAlgorithm::HmacSha384 => hmac::HMAC_SHA384,
            MacAlgorithm::HmacSha512 => hmac::HMAC_SHA512,
        };
        Ok(Self { spec, algorithm, guard, key: hmac::Key::new(hash, raw.expose()) })
    }

    fn mac_now(&self, algorithm: MacAlgorithm, message: &SecretBytes) -> Result<SecretBytes> {
        self.guard.check()?;
        if algorithm != self.algorithm {
            return Err(does_not_fit(self.spec, algorithm));
        }
        check_mac_message(message)?;
        Ok(SecretBytes::new(hmac::sign(&self.key, message.expose()).as_ref().to_vec()))
    }
}

impl KeyHandle for HmacKey {
    fn spec(&self) -> KeySpec {
        self.spec
    }

    fn cipher(&self) -> Option<&dyn Cipher> {
        None
    }

    fn signer(&self) -> Option<&dyn Signer> {
        None
    }

    fn mac(&self) -> Option<&dyn Mac> {
        Some(self)
    }

    fn public_key(&self) -> Option<&PublicKey> {
        None
    }

    fn check_value(&self) -> Option<&CheckValue> {
        None
    }
}

impl Mac for HmacKey {
    fn mac(&self, _: Share, algorithm: MacAlgorithm, message: SecretBytes) -> Work<'_, SecretBytes> {
        Box::pin(async move { self.mac_now(algorithm, &message) })
    }
}
