//! Material that is unwrapped in the token of its instance: pairs that live there, and keys that come out of what they wrap. Where the
//! token was found to do it, AES keys come in this way, and nobody outside of the token has seen them.

use super::Kms;
use super::import::{hash_of, mute, not_material};
use super::requests::ImportKeyMaterial;
use crate::base::{Error, Kind, Result, random};
use crate::model::KeyVersionId;
use crate::model::key::{Key, Material, SubjectPublicKeyInfo};
use crate::store::WrappingKey;
use crate::tier::unwrapper::UNWRAPPING_BYTES;
use crate::tier::{Ability, Created, OaepHash, Tier, Unwrapper, Work, Wrapped};

impl Kms {
    /// Whether the token of a key's instance unwraps its material. What was imported before tokens did must be known again by its bytes, and
    /// those are seen in the process alone.
    pub(super) async fn unwraps_in_token(&self, key: &Key, hash: OaepHash) -> Result<bool> {
        let tier = &self.served(&key.instance)?.tier;
        if tier.unwrapper().is_none() {
            return Ok(false);
        }
        match tier.describe().capabilities.admits(key.spec, key.usage, Ability::Unwrap(hash)) {
            Ok(()) => Ok(!self.store.is_known_by_bytes(&key.id).await?),
            Err(error) if error.kind() == Kind::UnsupportedOperation => Ok(false),
            // What it can do is not known yet: nothing is to pass through the process for want of that.
            Err(error) => Err(error),
        }
    }

    /// Makes a pair in the token, by the three steps of a key, and gives its import token and public half.
    pub(super) async fn give_pair_in_token(
        &self,
        key: &Key,
        wrapping: impl Fn(Material) -> WrappingKey,
    ) -> Result<(Vec<u8>, Option<SubjectPublicKeyInfo>)> {
        let object = KeyVersionId::from_entropy(&key.id, random::bytes());
        let made = self
            .make_material(key, &object, self.now(), |tier, new| {
                in_token(tier, |unwrapper| unwrapper.create_pair(new.id, new.label))
            })
            .await?;
        let private_key = Material::Resident(object.as_str().as_bytes().to_vec());
        match self.store.keep_wrapping_key(&wrapping(private_key)).await {
            Ok(token) => Ok((token, made.public_key)),
            Err(error) => {
                // Nobody can name the pair without its import token.
                self.unmake_material(key, &object, made).await;
                Err(error)
            }
        }
    }

    /// ImportKeyMaterial by a pair in the token. That it is the same material as before can only be seen of the object that comes out.
    pub(super) async fn take_wrapped(&self, key: Key, wrapping: WrappingKey, request: ImportKeyMaterial) -> Result<()> {
        if request.wrapped.len() > UNWRAPPING_BYTES {
            let text = "The token unwraps the material of this key itself: the parameter EncryptedKeyMaterial is the material encrypted by \
                        the public key, without an envelope.";
            return Err(Error::new(Kind::InvalidKeyMaterial, text));
        }
        let wrapped = Wrapped { pair: wrapping.private_key, hash: hash_of(wrapping.algorithm), ciphertext: request.wrapped };
        let object = KeyVersionId::from_entropy(&key.id, random::bytes());
        let made = self
            .make_material(&key, &object, self.now(), |tier, new| in_token(tier, |unwrapper| unwrapper.unwrap(new, wrapped)))
            .await
            .map_err(|error| not_material(mute(error)))?;
        let tier = &self.served(&key.instance)?.tier;
        let known_by = match &made.material {
            Some(material) => self.fingerprints(&key, tier.as_ref(), material, None).await,
            None => Err(Error::internal("a token unwrapped nothing")),
        };
        match known_by {
            Ok(fingerprints) => self.place(&key, &object, made, &fingerprints, request.expires).await,
            Err(error) => {
                self.unmake_material(&key, &object, made).await;
                Err(error)
            }
        }
    }
}

fn in_token<'t>(tier: &'t dyn Tier, work: impl FnOnce(&'t dyn Unwrapper) -> Work<'t, Created>) -> Work<'t, Created> {
    match tier.unwrapper() {
        Some(unwrapper) => work(unwrapper),
        None => Box::pin(async { Err(Error::internal("the tier has no token that unwraps")) }),
    }
}
