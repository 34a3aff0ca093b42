//! Importing key material: GetParametersForImport, ImportKeyMaterial, DeleteKeyMaterial, and the end of what has expired.
//!
//! Material comes wrapped by a pair that was made for it, is unwrapped and checked in the process unless a token does that
//! (`unwrapping`), and goes into the tier by the three steps of a key that is made: an intent in the store, the object in the tier,
//! the commit. Every import is an object of its own: an id that a tier has had it does not get again. What is erased is gone from the
//! key first and from its token then, so that whatever happens in between leaves nothing but an object that is known to be destroyed.

use std::sync::Arc;
use std::time::Duration;

use super::Kms;
use super::aliases::key_id;
use super::requests::{ImportKeyMaterial, ImportParameters, Operator};
use super::snapshot::Changed;
use crate::base::{Error, Kind, Result, SecretBytes, Timestamp, random};
use crate::model::algorithm::{Family, KeySpec, KeyUsage, PaddingMode, WrappingAlgorithm};
use crate::model::key::{Key, Material, SubjectPublicKeyInfo};
use crate::model::{KeyId, KeyVersionId};
use crate::store::{Fingerprint, KeyVersion, Placement, WrappingKey};
use crate::tier::unwrapper::{UNWRAPPING_BYTES, UNWRAPPING_SPEC};
use crate::tier::{Decryption, Encryption, NewKey, OaepHash, Share, StoredKey, Tier, envelope};

/// How long a wrapping key serves (the API's).
const VALIDITY: Duration = Duration::from_secs(24 * 60 * 60);
/// The most bytes of wrapped material: an RSA-4096 pair has 2.4 KB as PKCS #8, with attributes somewhat more.
const WRAPPED_LIMIT: usize = 8192;

impl Kms {
    /// GetParametersForImport: a new pair to wrap material by, for this key and a day.
    ///
    /// # Errors
    /// [`Kind::KeyNotFound`], [`Kind::UnsupportedOrigin`]; [`Kind::UnsupportedOperation`] for RSAES_OAEP_SHA_1 outside of the default
    /// instances; those of the store.
    pub async fn parameters_for_import(
        self: &Arc<Self>,
        operator: &Operator,
        key: &str,
        algorithm: WrappingAlgorithm,
    ) -> Result<ImportParameters> {
        let key = self.known(&key_id(key)?)?.key.clone();
        key.check_imported()?;
        match algorithm {
            WrappingAlgorithm::RsaesOaepSha256 => {}
            // The API has it for keys outside of instances, and those are in the default instances here.
            WrappingAlgorithm::RsaesOaepSha1 if self.default_instances.contains(&key.instance) => {}
            WrappingAlgorithm::RsaesOaepSha1 => {
                let text = "The WrappingAlgorithm RSAES_OAEP_SHA_1 is for keys of the default instances; use RSAES_OAEP_SHA_256.";
                return Err(Error::unsupported(text));
            }
        }
        // In a task of its own: a caller that goes away leaves no half of a pair.
        let kms = Arc::clone(self);
        let given = tokio::spawn(async move { kms.give_pair(&key, algorithm).await }).await.map_err(Error::internal)??;
        tracing::info!(key = %given.key, by = %operator.access_key, "parameters for an import were given out");
        Ok(given)
    }

    async fn give_pair(&self, key: &Key, algorithm: WrappingAlgorithm) -> Result<ImportParameters> {
        let expires = self.now().after(VALIDITY);
        let wrapping = |private_key| WrappingKey { key: key.id.clone(), algorithm, private_key, expires };
        let (token, public_key) = if self.unwraps_in_token(key, hash_of(algorithm)).await? {
            self.give_pair_in_token(key, wrapping).await?
        } else {
            let made = self.pairs.create(passing(UNWRAPPING_SPEC, KeyUsage::EncryptDecrypt)).await?;
            (self.store.keep_wrapping_key(&wrapping(made.material)).await?, made.public_key)
        };
        let public_key = public_key.ok_or_else(|| Error::internal("a pair without a public half was made"))?;
        Ok(ImportParameters { key: key.id.clone(), token, public_key, expires })
    }

    /// ImportKeyMaterial: what is wrapped becomes the material of the key, which is enabled. Material that is there already only
    /// gets its new date.
    ///
    /// # Errors
    /// [`Kind::KeyNotFound`], [`Kind::UnsupportedOrigin`], [`Kind::StateForbids`] while the key waits for its deletion;
    /// [`Kind::InvalidImportToken`], [`Kind::ExpiredImportToken`]; [`Kind::InvalidKeyMaterial`] for what cannot be unwrapped, whatever
    /// the cause, is no material of the key's spec, or is other material than was imported first; those of store and tier.
    pub async fn import_key_material(self: &Arc<Self>, operator: &Operator, request: ImportKeyMaterial) -> Result<()> {
        let now = self.now();
        let key = self.known(&key_id(&request.key)?)?.key.clone();
        key.takes_material()?;
        if request.expires.is_some_and(|expires| expires < now) {
            return Err(Error::invalid("The parameter KeyMaterialExpireUnix lies in the past; 0 is never."));
        }
        let wrapping = self.store.wrapping_key(&key.id, &request.token, now).await?;
        // In a task of its own: a caller that goes away leaves no half of an import.
        let (kms, id) = (Arc::clone(self), key.id.clone());
        let taken = async move {
            match wrapping.private_key {
                Material::Resident(_) => kms.take_wrapped(key, wrapping, request).await,
                Material::Held { .. } => {
                    let material = kms.unwrap_material(wrapping, request.wrapped).await?;
                    kms.take_material(key, material, request.expires).await
                }
            }
        };
        tokio::spawn(taken).await.map_err(Error::internal)??;
        self.follow(Changed::Key(&id)).await;
        tracing::info!(key = %id, by = %operator.access_key, "key material was imported");
        Ok(())
    }

    /// Failures are one mute kind: which step failed is not told.
    async fn unwrap_material(&self, wrapping: WrappingKey, mut wrapped: Vec<u8>) -> Result<SecretBytes> {
        if !(UNWRAPPING_BYTES..=WRAPPED_LIMIT).contains(&wrapped.len()) {
            return Err(not_unwrapped());
        }
        let (hash, material) = (hash_of(wrapping.algorithm), wrapping.private_key);
        let stored =
            StoredKey { spec: UNWRAPPING_SPEC, usage: KeyUsage::EncryptDecrypt, material, public_key: None, witness: None };
        let opener = self.pairs.open(stored).await?;
        let cipher = opener.cipher().ok_or_else(|| Error::internal("the maker of pairs does not decrypt"))?;
        let rest = wrapped.split_off(UNWRAPPING_BYTES);
        let first = cipher.decrypt(Share::default(), Decryption::RsaesOaep(hash), wrapped).await.map_err(mute)?;
        if rest.is_empty() { Ok(first) } else { envelope::open(&first, &rest).map_err(mute) }
    }

    async fn take_material(&self, key: Key, material: SecretBytes, expires: Option<Timestamp>) -> Result<()> {
        // Decoded and checked in the process for either kind of instance; what comes out is encoded anew.
        let checked = self.pairs.import(passing(key.spec, key.usage), material).await.map_err(not_material)?;
        let fingerprints = self.fingerprints(&key, self.pairs.as_ref(), &checked.material, checked.public_key.as_ref()).await?;
        let Material::Held { secret, .. } = checked.material else {
            return Err(Error::internal("the maker of pairs does not give them away"));
        };
        let change = |key: &mut Key| key.import_material(expires);
        match self.store.place_material(&key.id, &fingerprints, None, change).await? {
            Placement::AlreadyThere | Placement::Placed => return Ok(()),
            Placement::Wanting => {}
        }
        let object = KeyVersionId::from_entropy(&key.id, random::bytes());
        let version =
            self.make_material(&key, &object, self.now(), |tier, new| tier.import(new, secret)).await.map_err(not_material)?;
        self.place(&key, &object, version, &fingerprints, expires).await
    }

    /// The third step: the object that was made for the material is the key's, or nobody's.
    pub(super) async fn place(
        &self,
        key: &Key,
        object: &KeyVersionId,
        made: KeyVersion,
        fingerprints: &[Fingerprint],
        expires: Option<Timestamp>,
    ) -> Result<()> {
        let version = KeyVersion { id: key.initial_version.clone(), ..made };
        let change = |key: &mut Key| key.import_material(expires);
        match self.store.place_material(&key.id, fingerprints, Some((object, &version)), change).await {
            Ok(Placement::Placed) => Ok(()),
            Ok(Placement::AlreadyThere | Placement::Wanting) => {
                // The same material is there, or another import of it was faster.
                self.unmake_material(key, object, version).await;
                Ok(())
            }
            Err(error) => {
                // Whether the commit went through is not known, so the object stays when it might have.
                let ours = |version: &KeyVersion| {
                    version.material.as_ref().is_some_and(|material| material.id() == object.as_str().as_bytes())
                };
                let absent = |(_, versions): (Key, Vec<KeyVersion>)| !versions.iter().any(ours);
                if self.store.key(&key.id).await.is_ok_and(|stored| stored.is_none_or(absent)) {
                    self.unmake_material(key, object, version).await;
                }
                Err(error)
            }
        }
    }

    /// What the material of a key is known again by, the usual first. An AES key may be known to its token alone: what counts is what it
    /// encrypts to, and its bytes if they were kept of it before that.
    pub(super) async fn fingerprints(
        &self,
        key: &Key,
        tier: &dyn Tier,
        material: &Material,
        public_key: Option<&SubjectPublicKeyInfo>,
    ) -> Result<Vec<Fingerprint>> {
        let of_bytes = |bytes: &SecretBytes| self.store.material_fingerprint(&key.id, bytes);
        match (public_key, key.spec.family(), material) {
            // A pair may be written in many ways; it is the same pair when the public half is the same.
            (Some(public), _, _) => Ok(vec![of_bytes(&SecretBytes::new(public.as_der().to_vec()))]),
            (None, Family::Aes { .. }, material) => {
                let check_value = check_value(key, tier, material.duplicate()).await?;
                let usual = self.store.check_value_fingerprint(&key.id, &check_value);
                Ok(match material {
                    Material::Held { secret, .. } => vec![usual, of_bytes(secret)],
                    Material::Resident(_) => vec![usual],
                })
            }
            (None, _, Material::Held { secret, .. }) => Ok(vec![of_bytes(secret)]),
            (None, _, Material::Resident(_)) => Err(Error::internal("nothing tells this material from another")),
        }
    }

    /// DeleteKeyMaterial: nothing can be done with the key until the same material is imported again. When this returns, the object in
    /// the token is destroyed; when it fails because the token does not answer, the key has lost it all the same.
    ///
    /// # Errors
    /// [`Kind::KeyNotFound`], [`Kind::UnsupportedOrigin`]; those of store and tier.
    pub async fn delete_key_material(&self, operator: &Operator, key: &str) -> Result<()> {
        let id = key_id(key)?;
        self.store.erase_material(&id, Key::delete_material).await?;
        self.follow(Changed::Key(&id)).await;
        tracing::info!(key = %id, by = %operator.access_key, "key material was deleted");
        self.destroy_erased_of(&id).await
    }
}

/// A key that is never stored, in the tier that keeps none.
fn passing(spec: KeySpec, usage: KeyUsage) -> NewKey {
    let id = KeyVersionId::from_entropy(&KeyId::from_entropy(random::bytes()), random::bytes());
    NewKey { id: id.as_str().as_bytes().to_vec(), label: id.key().to_string(), spec, usage }
}

/// Two blocks, encrypted: as long as the longest key, so that another key with the same is not found.
async fn check_value(key: &Key, tier: &dyn Tier, material: Material) -> Result<SecretBytes> {
    let opened = tier.open(StoredKey { spec: key.spec, usage: key.usage, material, public_key: None, witness: None }).await?;
    let cipher = opened.cipher().ok_or_else(|| Error::internal("an AES key does not encrypt"))?;
    let how = Encryption::AesEcb { padding: PaddingMode::NoPadding };
    let encrypted = cipher.encrypt(Share::default(), how, SecretBytes::new((0..32).collect())).await?;
    Ok(SecretBytes::new(encrypted.ciphertext))
}

pub(super) fn hash_of(algorithm: WrappingAlgorithm) -> OaepHash {
    match algorithm {
        WrappingAlgorithm::RsaesOaepSha256 => OaepHash::Sha256,
        WrappingAlgorithm::RsaesOaepSha1 => OaepHash::Sha1,
    }
}

/// Failures to unwrap are one.
pub(super) fn mute(error: Error) -> Error {
    if error.kind() == Kind::Undecryptable { not_unwrapped() } else { error }
}

fn not_unwrapped() -> Error {
    let text = "The parameter EncryptedKeyMaterial cannot be unwrapped: it is not wrapped by the public key and the algorithm of the \
                ImportToken, or not whole.";
    Error::new(Kind::InvalidKeyMaterial, text)
}

/// What a tier refuses as a parameter is the material.
pub(super) fn not_material(error: Error) -> Error {
    if error.kind() == Kind::InvalidParameter { Error::new(Kind::InvalidKeyMaterial, error.message()) } else { error }
}
