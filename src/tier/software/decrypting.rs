//! Key pairs of the software tier that encrypt and decrypt.
//!
//! Opened by the tier. Encryption needs the public half alone. Decryption on P-256 runs where it is asked for; with RSA and
//! secp256k1 it runs on the workers.

use std::sync::Arc;

use aws_lc_rs::agreement;
use aws_lc_rs::encoding::AsBigEndian;
use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey};

use crate::base::{Error, Result, SecretBytes};
use crate::model::algorithm::{Curve, Family, KeySpec};
use crate::tier::software::lives::Guard;
use crate::tier::software::pairs;
use crate::tier::{
    CheckValue, Cipher, Decryption, Encrypted, Encryption, KeyHandle, Mac, OaepHash, PublicKey, Share, Signer, Work, does_not_fit,
    ecies, public_key,
};

/// A pair that encrypts and decrypts.
pub(super) struct DecryptingPair {
    public: PublicKey,
    guard: Guard,
    private: Private,
}

enum Private {
    Rsa(Arc<OaepPrivateDecryptingKey>),
    P256(agreement::PrivateKey),
    P256k(Arc<k256::SecretKey>),
}

impl DecryptingPair {
    /// Expands a stored pair.
    ///
    /// # Errors
    /// [`Kind::InvalidParameter`](crate::base::Kind::InvalidParameter) when the material is none of this spec.
    pub(super) fn expand(spec: KeySpec, pkcs8: &SecretBytes, guard: Guard) -> Result<Self> {
        let (public, private) = match spec.family() {
            Family::Rsa { .. } => {
                let public = pairs::rsa_public(spec, &pairs::rsa(spec, pkcs8)?)?;
                let key = PrivateDecryptingKey::from_pkcs8(pkcs8.expose()).map_err(Error::internal)?;
                (public, Private::Rsa(Arc::new(OaepPrivateDecryptingKey::new(key).map_err(Error::internal)?)))
            }
            Family::Ec(curve) => {
                let pair = pairs::ec(spec, pkcs8)?;
                let scalar = pair.private_key().as_be_bytes().map_err(Error::internal)?;
                let private = match curve {
                    Curve::P256 => agreement::PrivateKey::from_private_key(&agreement::ECDH_P256, scalar.as_ref())
                        .map(Private::P256)
                        .map_err(Error::internal)?,
                    Curve::P256k => k256::SecretKey::from_slice(scalar.as_ref())
                        .map(|key| Private::P256k(Arc::new(key)))
                        .map_err(Error::internal)?,
                };
                (pairs::ec_public(spec, &pair)?, private)
            }
            Family::Aes { .. } | Family::Hmac(_) => return Err(Error::internal("a secret key is no pair")),
        };
        Ok(Self { public, guard, private })
    }

    async fn decrypt(&self, how: Decryption, ciphertext: Vec<u8>) -> Result<SecretBytes> {
        self.guard.check()?;
        match (&self.private, &how) {
            (Private::Rsa(key), Decryption::RsaesOaep(hash)) => {
                let (key, hash) = (Arc::clone(key), *hash);
                self.guard.workers.run(move || decrypt_oaep(&key, hash, &ciphertext)).await
            }
            (Private::P256(key), Decryption::Ecies) => decrypt_p256(key, &ciphertext),
            (Private::P256k(key), Decryption::Ecies) => {
                let key = Arc::clone(key);
                self.guard.workers.run(move || decrypt_p256k(&key, &ciphertext)).await
            }
            (Private::Rsa(_), Decryption::Ecies)
            | (Private::P256(_) | Private::P256k(_), Decryption::RsaesOaep(_))
            | (_, Decryption::AesGcm { .. } | Decryption::AesCbc { .. } | Decryption::AesEcb { .. }) => {
                Err(does_not_fit(self.public.spec(), how.algorithm()))
            }
        }
    }
}

fn decrypt_oaep(key: &OaepPrivateDecryptingKey, hash: OaepHash, ciphertext: &[u8]) -> Result<SecretBytes> {
    if ciphertext.len() != key.key_size_bytes() {
        return Err(Error::undecryptable());
    }
    let algorithm = match hash {
        OaepHash::Sha256 => &OAEP_SHA256_MGF1SHA256,
        OaepHash::Sha1 => &OAEP_SHA1_MGF1SHA1,
    };
    let mut plaintext = SecretBytes::new(vec![0; key.min_output_size()]);
    let written = key.decrypt(algorithm, ciphertext, plaintext.expose_mut(), None);
    let length = written.map_err(|_| Error::undecryptable())?.len();
    plaintext.truncate(length);
    Ok(plaintext)
}

fn decrypt_p256(key: &agreement::PrivateKey, blob: &[u8]) -> Result<SecretBytes> {
    let sealed = ecies::Sealed::parse(blob)?;
    let sender = agreement::UnparsedPublicKey::new(&agreement::ECDH_P256, sealed.ephemeral());
    agreement::agree(key, sender, Error::undecryptable(), |shared| sealed.open(&SecretBytes::new(shared.to_vec())))
}

fn decrypt_p256k(key: &k256::SecretKey, blob: &[u8]) -> Result<SecretBytes> {
    let sealed = ecies::Sealed::parse(blob)?;
    let sender = k256::PublicKey::from_sec1_bytes(sealed.ephemeral()).map_err(|_| Error::undecryptable())?;
    sealed.open(&public_key::agree_p256k(key, &sender))
}

impl KeyHandle for DecryptingPair {
    fn spec(&self) -> KeySpec {
        self.public.spec()
    }

    fn cipher(&self) -> Option<&dyn Cipher> {
        Some(self)
    }

    fn signer(&self) -> Option<&dyn Signer> {
        None
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

impl Cipher for DecryptingPair {
    fn encrypt(&self, _: Share, how: Encryption, plaintext: SecretBytes) -> Work<'_, Encrypted> {
        Box::pin(async move {
            self.guard.check()?;
            self.public.encrypt(how, &plaintext)
        })
    }

    fn decrypt(&self, _: Share, how: Decryption, ciphertext: Vec<u8>) -> Work<'_, SecretBytes> {
        Box::pin(self.decrypt(how, ciphertext))
    }
}
