//! Data keys and data key pairs: made, encrypted under a key of the instance, handed out.

use super::Kms;
use super::authorize::Usable;
use super::crypto::{check_aad, encrypts, symmetric};
use super::requests::{Caller, DataKey, DataKeyPair, Form, GenerateDataKey, GenerateDataKeyPair, KeyFormat, KeyReference};
use crate::base::{Error, Kind, Result, SecretBytes, random};
use crate::model::algorithm::{EncryptionAlgorithm, Family, KeyUsage};
use crate::model::key::Material;
use crate::model::{KeyId, KeyVersionId};
use crate::tier::{Encryption, NewKey};

/// The least and the most length of a data key in bytes, and the default.
const DATA_KEY: std::ops::RangeInclusive<i32> = 1..=1024;
const DATA_KEY_DEFAULT: i32 = 32;

impl Kms {
    /// GenerateDataKey and AdvanceGenerateDataKey: the bytes come from the instance's tier.
    ///
    /// # Errors
    /// As [`Kms::encrypt`]; [`Kind::InvalidParameter`] for a length out of range.
    pub async fn generate_data_key(&self, caller: &Caller, form: Form, request: GenerateDataKey) -> Result<DataKey> {
        let used = self.data_key_key(caller, form, &request.key, request.algorithm, &request.aad)?;
        let length = data_key_length(request.number_of_bytes)?;
        let plaintext = self.served(&caller.instance)?.tier.random(used.share, length).await?;
        let encrypted = self.encrypt_with(&used, form, Encryption::AesGcm { aad: request.aad }, plaintext.duplicate()).await?;
        Ok(DataKey { encrypted, plaintext })
    }

    /// GenerateDataKeyPair and its variants. The pair is made in the process: it is to be handed out.
    ///
    /// # Errors
    /// As [`Kms::encrypt`]; [`Kind::Throttled`] while the instance makes another.
    pub async fn generate_data_key_pair(&self, caller: &Caller, form: Form, request: GenerateDataKeyPair) -> Result<DataKeyPair> {
        let used = self.data_key_key(caller, form, &request.key, request.algorithm, &request.aad)?;
        match request.pair.family() {
            Family::Rsa { .. } | Family::Ec(_) => {}
            Family::Aes { .. } | Family::Hmac(_) => {
                return Err(Error::invalid(format!("The KeyPairSpec {} is not one of a pair.", request.pair)));
            }
        }
        let served = self.served(&caller.instance)?;
        let _one_at_a_time = served.pair.try_acquire().map_err(|_| Error::new(Kind::Throttled, "Concurrency Limit Exceeded."))?;
        let throw_away = KeyVersionId::from_entropy(&KeyId::from_entropy(random::bytes()), random::bytes());
        let new = NewKey {
            id: throw_away.as_str().as_bytes().to_vec(),
            label: throw_away.key().to_string(),
            spec: request.pair,
            usage: KeyUsage::SignVerify,
        };
        let made = self.pairs.create(new).await?;
        let (Material::Held { secret: pkcs8, .. }, Some(public_key)) = (made.material, made.public_key) else {
            return Err(Error::internal("the maker of data key pairs does not give them away"));
        };
        let private_key = match request.format {
            KeyFormat::Der => pkcs8,
            KeyFormat::Pem => SecretBytes::new(pem("PRIVATE KEY", pkcs8.expose()).into_bytes()),
        };
        let public_key = match request.format {
            KeyFormat::Der => public_key.as_der().to_vec(),
            KeyFormat::Pem => pem("PUBLIC KEY", public_key.as_der()).into_bytes(),
        };
        let encrypted = self.encrypt_with(&used, form, Encryption::AesGcm { aad: request.aad }, private_key.duplicate()).await?;
        Ok(DataKeyPair { encrypted, private_key, public_key, pair: request.pair })
    }

    /// The key that encrypts data keys: symmetric, by AES_GCM.
    fn data_key_key(
        &self,
        caller: &Caller,
        form: Form,
        key: &KeyReference,
        asked: Option<EncryptionAlgorithm>,
        aad: &[u8],
    ) -> Result<Usable> {
        let used = self.usable(caller, key, form.version())?;
        encrypts(&used)?;
        match form {
            Form::Advance => symmetric(&used)?,
            Form::Plain if used.entry.key.spec.is_symmetric() => {}
            Form::Plain => {
                return Err(Error::unsupported(format!("The key {} is asymmetric and encrypts no data keys.", used.entry.key.id)));
            }
        }
        match asked {
            None | Some(EncryptionAlgorithm::AesGcm) => {}
            Some(other) => return Err(Error::unsupported(format!("Data keys are encrypted by AES_GCM, not by {other}."))),
        }
        check_aad(aad)?;
        Ok(used)
    }
}

/// NumberOfBytes: 1 to 1024, 32 without it.
pub(super) fn data_key_length(asked: Option<i32>) -> Result<usize> {
    let asked = asked.unwrap_or(DATA_KEY_DEFAULT);
    usize::try_from(asked).ok().filter(|_| DATA_KEY.contains(&asked)).ok_or_else(|| {
        Error::invalid(format!("The parameter NumberOfBytes is between {} and {}.", DATA_KEY.start(), DATA_KEY.end()))
    })
}

/// RFC 7468: `PRIVATE KEY` is PKCS #8 (section 10), `PUBLIC KEY` SubjectPublicKeyInfo (section 13).
fn pem(label: &'static str, der: &[u8]) -> String {
    der::pem::encode_string(label, der::pem::LineEnding::LF, der).expect("a label and bytes make PEM")
}
