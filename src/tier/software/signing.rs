//! Key pairs of the software tier that sign.
//!
//! Opened by the tier. P-256 takes tens of microseconds and runs where it is asked for; RSA and secp256k1 take up to
//! milliseconds and run on the workers.

use std::sync::Arc;

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::signature::{EcdsaKeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair, RsaSignatureEncoding};

use crate::base::{Error, Result, SecretBytes};
use crate::model::algorithm::{Curve, Family, KeySpec, SignatureAlgorithm};
use crate::tier::software::lives::Guard;
use crate::tier::software::pairs;
use crate::tier::{CheckValue, Cipher, KeyHandle, Mac, PublicKey, Sha256Digest, Share, Signer, Work, does_not_fit};

/// A pair that signs.
pub(super) struct SigningPair {
    public: PublicKey,
    guard: Guard,
    private: Private,
}

enum Private {
    Rsa(Arc<RsaKeyPair>),
    P256(EcdsaKeyPair),
    P256k(Arc<EcdsaKeyPair>),
}

impl SigningPair {
    /// Expands a stored pair.
    ///
    /// # Errors
    /// [`Kind::InvalidParameter`](crate::base::Kind::InvalidParameter) when the material is none of this spec.
    pub(super) fn expand(spec: KeySpec, pkcs8: &SecretBytes, guard: Guard) -> Result<Self> {
        let (public, private) = match spec.family() {
            Family::Rsa { .. } => {
                let pair = pairs::rsa(spec, pkcs8)?;
                (pairs::rsa_public(spec, &pair)?, Private::Rsa(Arc::new(pair)))
            }
            Family::Ec(curve) => {
                let pair = pairs::ec(spec, pkcs8)?;
                let public = pairs::ec_public(spec, &pair)?;
                match curve {
                    Curve::P256 => (public, Private::P256(pair)),
                    Curve::P256k => (public, Private::P256k(Arc::new(pair))),
                }
            }
            Family::Aes { .. } | Family::Hmac(_) => return Err(Error::internal("a secret key is no pair")),
        };
        Ok(Self { public, guard, private })
    }

    async fn sign(&self, algorithm: SignatureAlgorithm, digest: Sha256Digest) -> Result<Vec<u8>> {
        self.guard.check()?;
        let digest = Digest::import_less_safe(&digest, &SHA256).map_err(Error::internal)?;
        match (&self.private, algorithm) {
            (Private::Rsa(pair), SignatureAlgorithm::RsaPssSha256) => self.sign_rsa(pair, &RSA_PSS_SHA256, digest).await,
            (Private::Rsa(pair), SignatureAlgorithm::RsaPkcs1Sha256) => self.sign_rsa(pair, &RSA_PKCS1_SHA256, digest).await,
            (Private::P256(pair), SignatureAlgorithm::EcdsaSha256) => sign_ec(pair, &digest),
            (Private::P256k(pair), SignatureAlgorithm::EcdsaSha256) => {
                let pair = Arc::clone(pair);
                self.guard.workers.run(move || sign_ec(&pair, &digest)).await
            }
            (Private::Rsa(_), SignatureAlgorithm::EcdsaSha256)
            | (Private::P256(_) | Private::P256k(_), SignatureAlgorithm::RsaPssSha256 | SignatureAlgorithm::RsaPkcs1Sha256) => {
                Err(does_not_fit(self.public.spec(), algorithm))
            }
        }
    }

    async fn sign_rsa(&self, pair: &Arc<RsaKeyPair>, encoding: &'static RsaSignatureEncoding, digest: Digest) -> Result<Vec<u8>> {
        let pair = Arc::clone(pair);
        let sign = move || {
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign_digest(encoding, &digest, &mut signature).map_err(Error::internal)?;
            Ok(signature)
        };
        self.guard.workers.run(sign).await
    }
}

fn sign_ec(pair: &EcdsaKeyPair, digest: &Digest) -> Result<Vec<u8>> {
    Ok(pair.sign_digest(digest).map_err(Error::internal)?.as_ref().to_vec())
}

impl KeyHandle for SigningPair {
    fn spec(&self) -> KeySpec {
        self.public.spec()
    }

    fn cipher(&self) -> Option<&dyn Cipher> {
        None
    }

    fn signer(&self) -> Option<&dyn Signer> {
        Some(self)
    }

    fn mac(&self) -> Option<&dyn Mac> {
        None
    }

    fn public_key(&self) -> Option<&PublicKey> {
        Some(&self.public)
    }

    fn check_value(&self) -> Option<&CheckValue> {
        None
    }
}

impl Signer for SigningPair {
    fn sign(&self, _: Share, algorithm: SignatureAlgorithm, digest: Sha256Digest) -> Work<'_, Vec<u8>> {
        Box::pin(self.sign(algorithm, digest))
    }
}
