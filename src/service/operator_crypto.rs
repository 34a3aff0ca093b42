//! The cryptography of the OpenAPI, for operators: keys of any instance, by alias, id and version, and ciphertexts that describe
//! themselves.
//!
//! What Encrypt encrypts is a text, by convention base64, and Decrypt gives the same text back: programs that were moved to the
//! instance protocol read what others encrypt here, and the other way round.

use std::sync::Arc;

use super::Kms;
use super::aliases::no_key;
use super::authorize::Usable;
use super::crypto::{algorithm_for, encrypts};
use super::data_keys::data_key_length;
use super::requests::{
    Decrypted, Form, Operator, OperatorDecrypted, OperatorEncrypted, PublicKeyOf, ReEncryptSource, Reach, Signed, Verified,
};
use super::snapshot::KeyEntry;
use crate::base::{Error, Kind, Result, SecretBytes};
use crate::model::algorithm::{EncryptionAlgorithm, SignatureAlgorithm};
use crate::model::ciphertext::{Binding, SelfContained};
use crate::model::{KeyId, KeyVersionId};
use crate::tier::public_key::Validity;
use crate::tier::{AAD_LIMIT, Decryption, Encryption, Iv, OaepHash, Sha256Digest, Share};

/// The most bytes of Encrypt's text: 6 KB (the API's limit) in base64.
const PLAINTEXT: usize = 8192;

impl Kms {
    /// Encrypt: with the primary version.
    ///
    /// # Errors
    /// As [`Kms::encrypt`]; [`Kind::InvalidParameter`] for more than 6 KB.
    pub async fn operator_encrypt(
        &self,
        operator: &Operator,
        key: &str,
        aad: Vec<u8>,
        text: SecretBytes,
    ) -> Result<OperatorEncrypted> {
        if text.len() > PLAINTEXT {
            return Err(Error::invalid("The parameter Plaintext has at most 6 KB."));
        }
        let used = self.usable_by(operator, key)?;
        self.encrypt_blob(&used, aad, text).await
    }

    pub(super) async fn encrypt_blob(&self, used: &Usable, aad: Vec<u8>, text: SecretBytes) -> Result<OperatorEncrypted> {
        check_symmetric(used)?;
        let encrypted = self.encrypt_with(used, Form::Plain, Encryption::AesGcm { aad }, text).await?;
        let Iv::Gcm(iv) = encrypted.iv else { return Err(Error::internal("AES-GCM gave no IV")) };
        let version = used.version.id.clone();
        let blob = SelfContained { version: version.clone(), iv, ciphertext: encrypted.ciphertext }.to_blob();
        Ok(OperatorEncrypted { key: encrypted.key, version, ciphertext: blob })
    }

    /// Decrypt: with the version that the blob names.
    ///
    /// # Errors
    /// As [`Kms::decrypt`]; [`Kind::KeyNotFound`] for a key that the blob names and that is not here; [`Kind::Undecryptable`] for all
    /// else that can be wrong with it.
    pub async fn operator_decrypt(&self, operator: &Operator, binding: Binding, ciphertext: &[u8]) -> Result<OperatorDecrypted> {
        let blob = SelfContained::parse_blob(ciphertext).ok_or_else(Error::undecryptable)?;
        let used = self.version_usable_by(operator, &blob.version)?;
        check_symmetric(&used)?;
        let decrypted = match self.open_blob(&used, &blob, binding.aads).await {
            Err(error) if error.kind() == Kind::Undecryptable && self.tries_former(&used, &binding.former_aads)? => {
                let decrypted = self.open_blob(&used, &blob, binding.former_aads).await?;
                operator.trace.opens_unbound();
                decrypted
            }
            opened => opened?,
        };
        Ok(OperatorDecrypted { key: decrypted.key, version: decrypted.version, plaintext: decrypted.plaintext })
    }

    /// What one of `aads` opens.
    async fn open_blob(&self, used: &Usable, blob: &SelfContained, aads: Vec<Vec<u8>>) -> Result<Decrypted> {
        // With what is longer nobody encrypted.
        let aads = aads.into_iter().filter(|aad| aad.len() <= AAD_LIMIT);
        let hows = aads.map(|aad| Decryption::AesGcm { iv: blob.iv, aad }).collect();
        self.decrypt_by_first(used, hows, None, blob.ciphertext.clone()).await
    }

    /// Whether a ciphertext that does not open may be one of an earlier version of Keystead, which bound it to less than its context,
    /// and is to be opened as such: when its key version is that old, and the operator of the installation allows it still.
    fn tries_former(&self, used: &Usable, former_aads: &[Vec<u8>]) -> Result<bool> {
        if former_aads.is_empty() || used.version.created >= self.contexts_bound_since {
            return Ok(false);
        }
        let served = self.served(&used.entry.key.instance)?;
        let allowed = served.unbound_until.is_some_and(|until| self.now() < until);
        if !allowed {
            served.told_of_unbound.call_once(|| {
                tracing::warn!(
                    instance = %served.instance.id,
                    version = %used.version.id,
                    "a ciphertext does not open with the EncryptionContext of the request. If an earlier version of Keystead made it, it \
                     is bound to none: `unbound_until` of the instance, a date, lets such ciphertexts be opened until then"
                );
            });
        }
        Ok(allowed)
    }

    /// ReEncrypt: the plaintext does not leave the service. What an asymmetric key encrypted is bytes; the new blob decrypts to their
    /// text, as `encoded` makes it.
    ///
    /// # Errors
    /// Those of [`Kms::operator_decrypt`], [`Kms::asymmetric_decrypt`] and [`Kms::operator_encrypt`].
    pub async fn re_encrypt(
        &self,
        operator: &Operator,
        (source, ciphertext): (ReEncryptSource<'_>, Vec<u8>),
        (key, aad): (&str, Vec<u8>),
        encoded: impl Fn(&SecretBytes) -> SecretBytes,
    ) -> Result<OperatorEncrypted> {
        // Before anything is decrypted.
        let destination = self.usable_by(operator, key)?;
        check_symmetric(&destination)?;
        let text = match source {
            ReEncryptSource::Symmetric(binding) => self.operator_decrypt(operator, binding, &ciphertext).await?.plaintext,
            ReEncryptSource::Asymmetric { key, version, algorithm } => {
                encoded(&self.asymmetric_decrypt(operator, (key, &version), algorithm, ciphertext).await?.plaintext)
            }
        };
        self.encrypt_blob(&destination, aad, text).await
    }

    /// GenerateDataKey: the data key, and its blob, which decrypts to the base64 of the data key, as `encoded` makes it.
    ///
    /// # Errors
    /// As [`Kms::operator_encrypt`]; [`Kind::InvalidParameter`] for a length out of 1 to 1024.
    pub async fn operator_data_key(
        &self,
        operator: &Operator,
        key: &str,
        (length, aad): (Option<i32>, Vec<u8>),
        encoded: impl Fn(&SecretBytes) -> SecretBytes,
    ) -> Result<(SecretBytes, OperatorEncrypted)> {
        let used = self.usable_by(operator, key)?;
        check_symmetric(&used)?;
        let tier = &self.served(&used.entry.key.instance)?.tier;
        let data_key = encoded(&tier.random(used.share, data_key_length(length)?).await?);
        let encrypted = self.encrypt_blob(&used, aad, data_key.duplicate()).await?;
        Ok((data_key, encrypted))
    }

    /// AsymmetricEncrypt: by the public half.
    ///
    /// # Errors
    /// As [`Kms::encrypt`]; [`Kind::KeyVersionNotFound`].
    pub async fn asymmetric_encrypt(
        &self,
        operator: &Operator,
        (key, version): (&str, &KeyVersionId),
        algorithm: EncryptionAlgorithm,
        plaintext: SecretBytes,
    ) -> Result<OperatorEncrypted> {
        let used = self.pair(operator, key, version)?;
        algorithm_for(&used, Form::Plain, Some(algorithm))?;
        let encrypted = self.encrypt_with(&used, Form::Plain, Encryption::RsaesOaep(oaep(algorithm)?), plaintext).await?;
        Ok(OperatorEncrypted { key: encrypted.key, version: encrypted.version, ciphertext: encrypted.ciphertext })
    }

    /// AsymmetricDecrypt.
    ///
    /// # Errors
    /// As [`Kms::decrypt`]; [`Kind::KeyVersionNotFound`].
    pub async fn asymmetric_decrypt(
        &self,
        operator: &Operator,
        (key, version): (&str, &KeyVersionId),
        algorithm: EncryptionAlgorithm,
        ciphertext: Vec<u8>,
    ) -> Result<OperatorDecrypted> {
        let used = self.pair(operator, key, version)?;
        algorithm_for(&used, Form::Plain, Some(algorithm))?;
        let decrypted = self.decrypt_with(&used, Decryption::RsaesOaep(oaep(algorithm)?), None, ciphertext).await?;
        Ok(OperatorDecrypted { key: decrypted.key, version: decrypted.version, plaintext: decrypted.plaintext })
    }

    /// AsymmetricSign.
    ///
    /// # Errors
    /// As [`Kms::sign`]; [`Kind::KeyVersionNotFound`].
    pub async fn asymmetric_sign(
        &self,
        operator: &Operator,
        (key, version): (&str, &KeyVersionId),
        algorithm: SignatureAlgorithm,
        digest: Sha256Digest,
    ) -> Result<Signed> {
        let used = self.pair(operator, key, version)?;
        self.sign_with(&used, Some(algorithm), digest).await
    }

    /// AsymmetricVerify: a signature that is wrong is no error.
    ///
    /// # Errors
    /// As [`Kms::verify`]; [`Kind::KeyVersionNotFound`].
    pub async fn asymmetric_verify(
        &self,
        operator: &Operator,
        (key, version): (&str, &KeyVersionId),
        algorithm: SignatureAlgorithm,
        (digest, signature): (Sha256Digest, &[u8]),
    ) -> Result<Verified> {
        let used = self.pair(operator, key, version)?;
        let value = self.verify_with(&used, Some(algorithm), &digest, signature).await?;
        Ok(Verified {
            value: value == Validity::Valid,
            algorithm,
            key: used.entry.key.id.clone(),
            version: used.version.id.clone(),
        })
    }

    /// GetPublicKey of a version.
    ///
    /// # Errors
    /// As [`Kms::public_key`]; [`Kind::KeyVersionNotFound`].
    pub async fn public_key_of_version(&self, operator: &Operator, key: &str, version: &KeyVersionId) -> Result<PublicKeyOf> {
        self.public_key_with(&self.pair(operator, key, version)?).await
    }

    /// A version of the key that is named beside it; asymmetric.
    fn pair(&self, operator: &Operator, key: &str, version: &KeyVersionId) -> Result<Usable> {
        let id = self.resolve(key)?;
        self.reached(operator, &id)?;
        if version.key() != id {
            return Err(Error::new(Kind::KeyVersionNotFound, format!("The key {id} has no version {version}.")));
        }
        let used = self.version_usable_by(operator, version)?;
        if used.entry.key.spec.is_symmetric() {
            return Err(Error::unsupported(format!("The key {id} is symmetric; the operation is for asymmetric keys.")));
        }
        Ok(used)
    }

    /// The primary version of the key that an operator names.
    pub(super) fn usable_by(&self, operator: &Operator, key: &str) -> Result<Usable> {
        let entry = self.reached(operator, &self.resolve(key)?)?;
        self.version_usable_by(operator, &entry.key.primary_version)
    }

    /// A key that the endpoint reaches: at that of an instance one of another instance is like one that there is not.
    pub(super) fn reached(&self, operator: &Operator, id: &KeyId) -> Result<Arc<KeyEntry>> {
        let entry = self.known(id)?;
        match &operator.reach {
            Reach::Instance(instance) if *instance != entry.key.instance => Err(no_key(id)),
            Reach::Instance(_) | Reach::Everything => Ok(entry),
        }
    }

    /// A version, if the endpoint reaches its key, whose state allows to use it. What the operator may do was decided before.
    fn version_usable_by(&self, operator: &Operator, version: &KeyVersionId) -> Result<Usable> {
        operator.trace.means(version.key());
        let entry = self.reached(operator, &version.key())?;
        entry.key.usable(self.now())?;
        let version = entry.named_version(version)?;
        operator.trace.uses(&version.id);
        Ok(Usable { entry, version, share: share_of(operator) })
    }
}

/// Encrypts and decrypts, by one secret.
pub(super) fn check_symmetric(used: &Usable) -> Result<()> {
    encrypts(used)?;
    let key = &used.entry.key;
    if key.spec.is_symmetric() {
        Ok(())
    } else {
        Err(Error::unsupported(format!("The key {} is asymmetric; the operation is for symmetric keys.", key.id)))
    }
}

/// Sessions of one role share: however many there are, they get no more.
fn share_of(operator: &Operator) -> Share {
    match &operator.session {
        Some(session) => Share::of(session.role_id.as_str().as_bytes()),
        None => Share::of(operator.access_key.as_str().as_bytes()),
    }
}

pub(super) fn oaep(algorithm: EncryptionAlgorithm) -> Result<OaepHash> {
    match algorithm {
        EncryptionAlgorithm::RsaesOaepSha256 => Ok(OaepHash::Sha256),
        EncryptionAlgorithm::RsaesOaepSha1 => Ok(OaepHash::Sha1),
        EncryptionAlgorithm::AesGcm
        | EncryptionAlgorithm::AesCbc
        | EncryptionAlgorithm::AesEcb
        | EncryptionAlgorithm::EciesDhSha1XorHmac => {
            Err(Error::unsupported(format!("The algorithm {algorithm} is not served for asymmetric keys by the OpenAPI.")))
        }
    }
}
