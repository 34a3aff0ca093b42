//! Cryptography with the keys of an instance: Encrypt, Decrypt, their Advance forms, Sign, Verify, GetPublicKey, GenerateRandom.

use super::Kms;
use super::authorize::{Usable, Version};
use super::requests::{
    AdvanceDecrypt, Caller, Decrypt, Decrypted, Encrypt, Encrypted, Form, KeyReference, PublicKeyOf, Sign, Signed, Verified, Verify,
};
use crate::base::{Error, Kind, Result, SecretBytes};
use crate::model::access::{Permission, Resource};
use crate::model::algorithm::{EncryptionAlgorithm, KeySpec, KeyUsage, MessageType, PaddingMode, SignatureAlgorithm};
use crate::model::ciphertext::SelfContained;
use crate::tier::public_key::{Validity, sha256};
use crate::tier::{Cipher, Decryption, Encryption, Iv, KeyHandle, OaepHash, PublicKey, Sha256Digest};

/// The most bytes of GenerateRandom: those of a data key, the API names no limit.
const RANDOM: i32 = 1024;

impl Form {
    pub(super) fn version(self) -> Version {
        match self {
            Self::Plain => Version::Initial,
            Self::Advance => Version::Primary,
        }
    }
}

impl Kms {
    /// Encrypt and AdvanceEncrypt.
    ///
    /// # Errors
    /// [`Kind::NoPermission`], [`Kind::KeyNotFound`], the key's state; [`Kind::UnsupportedOperation`] and
    /// [`Kind::InvalidParameter`] for what does not fit the key; those of the tier.
    pub async fn encrypt(&self, caller: &Caller, form: Form, request: Encrypt) -> Result<Encrypted> {
        let used = self.usable(caller, &request.key, form.version())?;
        let algorithm = algorithm_for(&used, form, request.algorithm)?;
        let padding = padding_for(algorithm, request.padding)?;
        self.encrypt_with(&used, form, encryption(algorithm, padding, request.aad)?, request.plaintext).await
    }

    /// Encrypts with a key that the caller may use, counted and in the form that is asked for.
    pub(super) async fn encrypt_with(
        &self,
        used: &Usable,
        form: Form,
        how: Encryption,
        plaintext: SecretBytes,
    ) -> Result<Encrypted> {
        let algorithm = how.algorithm();
        let padding = match &how {
            Encryption::AesCbc { padding } | Encryption::AesEcb { padding } => Some(*padding),
            Encryption::AesGcm { .. } | Encryption::RsaesOaep(_) | Encryption::Ecies => None,
        };
        let handle = self.handle(used).await?;
        let cipher = cipher(handle, used)?;
        if algorithm == EncryptionAlgorithm::AesGcm {
            used.version.count_encryption()?;
        }
        let encrypted = cipher.encrypt(used.share, how, plaintext).await?;
        let version = used.version.id.clone();
        let ciphertext = match (form, encrypted.iv) {
            (Form::Advance, Iv::Gcm(iv)) => SelfContained { version, iv, ciphertext: encrypted.ciphertext }.to_bytes(),
            (Form::Advance | Form::Plain, _) => encrypted.ciphertext,
        };
        Ok(Encrypted {
            key: used.entry.key.id.clone(),
            version: used.version.id.clone(),
            algorithm,
            padding,
            iv: encrypted.iv,
            ciphertext,
        })
    }

    /// Decrypt.
    ///
    /// # Errors
    /// As [`Kms::encrypt`]; [`Kind::Undecryptable`] for all that can be wrong with the ciphertext.
    pub async fn decrypt(&self, caller: &Caller, request: Decrypt) -> Result<Decrypted> {
        let used = self.usable(caller, &request.key, Version::Initial)?;
        let algorithm = algorithm_for(&used, Form::Plain, request.algorithm)?;
        let padding = padding_for(algorithm, request.padding)?;
        let hows = request.aads.into_iter().map(|aad| decryption(algorithm, padding, &request.iv, aad));
        self.decrypt_by_first(&used, hows.collect::<Result<_>>()?, padding, request.ciphertext).await
    }

    /// AdvanceDecrypt: opens a self-contained ciphertext, and what Encrypt or GenerateDataKey made when key and IV are given.
    ///
    /// The key that is named, or else the one that the ciphertext names, is decided about before it is looked whether it is there: a
    /// ciphertext that somebody came by does not tell that its key still is, here or in another instance.
    ///
    /// # Errors
    /// As [`Kms::decrypt`].
    pub async fn advance_decrypt(&self, caller: &Caller, request: AdvanceDecrypt) -> Result<Decrypted> {
        let contained = SelfContained::parse(&request.ciphertext);
        let blob = match request.key {
            None => contained.ok_or_else(Error::undecryptable)?,
            Some(key) => {
                let (entry, version) = self.named(caller, &key)?;
                let whole = contained.is_some() && request.iv.is_empty();
                match contained.filter(|blob| entry.version(&blob.version).is_some()) {
                    // Of another version than is named.
                    Some(blob) if version.is_some_and(|version| version.id != blob.version) => return Err(Error::undecryptable()),
                    Some(blob) => blob,
                    // Of another key.
                    None if whole => return Err(Error::undecryptable()),
                    None => {
                        let used = self.usable(caller, &key, Version::Initial)?;
                        symmetric(&used)?;
                        let plain = Decrypt {
                            key,
                            algorithm: request.algorithm,
                            padding: request.padding,
                            iv: request.iv,
                            aads: request.aads,
                            ciphertext: request.ciphertext,
                        };
                        return self.decrypt(caller, plain).await;
                    }
                }
            }
        };
        let used = self.usable_version(caller, &blob.version).map_err(|error| match error.kind() {
            // One more thing that can be wrong with a ciphertext.
            Kind::KeyNotFound | Kind::KeyVersionNotFound => Error::undecryptable().caused_by(error),
            _ => error,
        })?;
        let algorithm = algorithm_for(&used, Form::Advance, request.algorithm)?;
        padding_for(algorithm, request.padding)?;
        if !request.iv.is_empty() && request.iv != blob.iv {
            return Err(Error::undecryptable());
        }
        request.aads.iter().try_for_each(|aad| check_aad(aad))?;
        let hows = request.aads.into_iter().map(|aad| Decryption::AesGcm { iv: blob.iv, aad });
        self.decrypt_by_first(&used, hows.collect(), None, blob.ciphertext).await
    }

    /// Decrypts with a key that the caller may use, in the first of several ways that fits.
    pub(super) async fn decrypt_by_first(
        &self,
        used: &Usable,
        hows: Vec<Decryption>,
        padding: Option<PaddingMode>,
        mut ciphertext: Vec<u8>,
    ) -> Result<Decrypted> {
        let mut hows = hows.into_iter().peekable();
        while let Some(how) = hows.next() {
            let ciphertext = if hows.peek().is_some() { ciphertext.clone() } else { std::mem::take(&mut ciphertext) };
            match self.decrypt_with(used, how, padding, ciphertext).await {
                Err(error) if error.kind() == Kind::Undecryptable => {}
                other => return other,
            }
        }
        Err(Error::undecryptable())
    }

    /// Decrypts with a key that the caller may use.
    pub(super) async fn decrypt_with(
        &self,
        used: &Usable,
        how: Decryption,
        padding: Option<PaddingMode>,
        ciphertext: Vec<u8>,
    ) -> Result<Decrypted> {
        let algorithm = how.algorithm();
        let handle = self.handle(used).await?;
        let plaintext = cipher(handle, used)?.decrypt(used.share, how, ciphertext).await?;
        Ok(Decrypted { key: used.entry.key.id.clone(), version: used.version.id.clone(), algorithm, padding, plaintext })
    }

    /// Sign.
    ///
    /// # Errors
    /// As [`Kms::encrypt`].
    pub async fn sign(&self, caller: &Caller, request: Sign) -> Result<Signed> {
        let used = self.usable(caller, &request.key, Version::Initial)?;
        let digest = digest_of(request.message_type, &request.message)?;
        self.sign_with(&used, request.algorithm, digest).await
    }

    /// Signs with a key that the caller may use.
    pub(super) async fn sign_with(&self, used: &Usable, asked: Option<SignatureAlgorithm>, digest: Sha256Digest) -> Result<Signed> {
        let algorithm = signature_algorithm(used, asked)?;
        let handle = self.handle(used).await?;
        let signer = handle.signer().ok_or_else(|| wrong_usage(used))?;
        let signature = signer.sign(used.share, algorithm, digest).await?;
        Ok(Signed { key: used.entry.key.id.clone(), version: used.version.id.clone(), algorithm, signature })
    }

    /// Verify: by the public half, without the token.
    ///
    /// # Errors
    /// As [`Kms::encrypt`]; a signature that is wrong is no error.
    pub async fn verify(&self, caller: &Caller, request: Verify) -> Result<Verified> {
        let used = self.usable(caller, &request.sign.key, Version::Initial)?;
        let algorithm = signature_algorithm(&used, request.sign.algorithm)?;
        let digest = digest_of(request.sign.message_type, &request.sign.message)?;
        let value = self.verify_with(&used, Some(algorithm), &digest, &request.signature).await? == Validity::Valid;
        Ok(Verified { key: used.entry.key.id.clone(), version: used.version.id.clone(), algorithm, value })
    }

    /// Verifies with a key that the caller may use.
    pub(super) async fn verify_with(
        &self,
        used: &Usable,
        asked: Option<SignatureAlgorithm>,
        digest: &Sha256Digest,
        signature: &[u8],
    ) -> Result<Validity> {
        let algorithm = signature_algorithm(used, asked)?;
        public_half(self.handle(used).await?, used)?.verify(algorithm, digest, signature)
    }

    /// GetPublicKey.
    ///
    /// # Errors
    /// As [`Kms::encrypt`].
    pub async fn public_key(&self, caller: &Caller, key: &KeyReference) -> Result<PublicKeyOf> {
        self.public_key_with(&self.usable(caller, key, Version::Initial)?).await
    }

    /// The public half of a key that the caller may use.
    pub(super) async fn public_key_with(&self, used: &Usable) -> Result<PublicKeyOf> {
        let handle = self.handle(used).await?;
        let pem = public_half(handle, used)?.pem();
        Ok(PublicKeyOf { key: used.entry.key.id.clone(), version: used.version.id.clone(), pem })
    }

    /// GenerateRandom: from the token, 1 to 1024 bytes.
    ///
    /// # Errors
    /// [`Kind::InvalidParameter`] for another length, [`Kind::NoPermission`], those of the tier.
    pub async fn generate_random(&self, caller: &Caller, length: i32) -> Result<SecretBytes> {
        self.permit(caller, Permission::CryptoServiceKeyUser, Resource::None)?;
        let length = usize::try_from(length).ok().filter(|_| (1..=RANDOM).contains(&length));
        let length = length.ok_or_else(|| Error::invalid(format!("The parameter Length is between 1 and {RANDOM}.")))?;
        self.served(&caller.instance)?.tier.random(self.share(caller), length).await
    }

    /// The handle of a key version, opened at its first use.
    pub(super) async fn handle<'a>(&self, used: &'a Usable) -> Result<&'a dyn KeyHandle> {
        let tier = &self.served(&used.entry.key.instance)?.tier;
        Ok(used.version.handle(&used.entry.key, tier.as_ref(), &self.store).await?.as_ref())
    }
}

/// The algorithm that is asked for, or the key's default, if it fits.
pub(super) fn algorithm_for(used: &Usable, form: Form, asked: Option<EncryptionAlgorithm>) -> Result<EncryptionAlgorithm> {
    if form == Form::Advance {
        symmetric(used)?;
    }
    encrypts(used)?;
    let spec = used.entry.key.spec;
    let algorithm = asked.unwrap_or(spec.encryption_algorithms()[0]);
    let fits =
        spec.encryption_algorithms().contains(&algorithm) && (form == Form::Plain || algorithm == EncryptionAlgorithm::AesGcm);
    if fits { Ok(algorithm) } else { Err(does_not_fit(spec, &algorithm)) }
}

fn signature_algorithm(used: &Usable, asked: Option<SignatureAlgorithm>) -> Result<SignatureAlgorithm> {
    match used.entry.key.usage {
        KeyUsage::SignVerify => {}
        KeyUsage::EncryptDecrypt | KeyUsage::GenerateVerifyMac => return Err(wrong_usage(used)),
    }
    let spec = used.entry.key.spec;
    let default = spec.signature_algorithms().first().copied();
    let algorithm = asked.or(default).ok_or_else(|| wrong_usage(used))?;
    if spec.signature_algorithms().contains(&algorithm) { Ok(algorithm) } else { Err(does_not_fit(spec, &algorithm)) }
}

fn does_not_fit(spec: KeySpec, algorithm: &dyn std::fmt::Display) -> Error {
    Error::unsupported(format!("The algorithm {algorithm} does not fit the operation and the KeySpec {spec}."))
}

/// The Advance operations are for symmetric keys.
pub(super) fn symmetric(used: &Usable) -> Result<()> {
    if used.entry.key.spec.is_symmetric() {
        Ok(())
    } else {
        let text = format!("The key {} is asymmetric; the operation is for symmetric keys.", used.entry.key.id);
        Err(Error::new(Kind::OnlySymmetricKeySupported, text))
    }
}

pub(super) fn encrypts(used: &Usable) -> Result<()> {
    match used.entry.key.usage {
        KeyUsage::EncryptDecrypt => Ok(()),
        KeyUsage::SignVerify | KeyUsage::GenerateVerifyMac => Err(wrong_usage(used)),
    }
}

pub(super) fn wrong_usage(used: &Usable) -> Error {
    Error::unsupported(format!("The key {} is for {}.", used.entry.key.id, used.entry.key.usage))
}

fn cipher<'a>(handle: &'a dyn KeyHandle, used: &Usable) -> Result<&'a dyn Cipher> {
    handle.cipher().ok_or_else(|| wrong_usage(used))
}

fn public_half<'a>(handle: &'a dyn KeyHandle, used: &Usable) -> Result<&'a PublicKey> {
    handle
        .public_key()
        .ok_or_else(|| Error::unsupported(format!("The key {} is symmetric and has no public key.", used.entry.key.id)))
}

/// PKCS #7 unless it is said otherwise, for CBC and ECB; nothing for the rest.
fn padding_for(algorithm: EncryptionAlgorithm, asked: Option<PaddingMode>) -> Result<Option<PaddingMode>> {
    match algorithm {
        EncryptionAlgorithm::AesCbc | EncryptionAlgorithm::AesEcb => Ok(Some(asked.unwrap_or(PaddingMode::Pkcs7))),
        EncryptionAlgorithm::AesGcm
        | EncryptionAlgorithm::RsaesOaepSha256
        | EncryptionAlgorithm::RsaesOaepSha1
        | EncryptionAlgorithm::EciesDhSha1XorHmac => match asked {
            None => Ok(None),
            Some(_) => Err(Error::invalid(format!("The parameter PaddingMode does not fit the algorithm {algorithm}."))),
        },
    }
}

fn encryption(algorithm: EncryptionAlgorithm, padding: Option<PaddingMode>, aad: Vec<u8>) -> Result<Encryption> {
    let padding = padding.unwrap_or(PaddingMode::NoPadding);
    Ok(match algorithm {
        EncryptionAlgorithm::AesGcm => {
            check_aad(&aad)?;
            return Ok(Encryption::AesGcm { aad });
        }
        EncryptionAlgorithm::AesCbc => without_aad(algorithm, &aad, Encryption::AesCbc { padding })?,
        EncryptionAlgorithm::AesEcb => without_aad(algorithm, &aad, Encryption::AesEcb { padding })?,
        EncryptionAlgorithm::RsaesOaepSha256 => without_aad(algorithm, &aad, Encryption::RsaesOaep(OaepHash::Sha256))?,
        EncryptionAlgorithm::RsaesOaepSha1 => without_aad(algorithm, &aad, Encryption::RsaesOaep(OaepHash::Sha1))?,
        EncryptionAlgorithm::EciesDhSha1XorHmac => without_aad(algorithm, &aad, Encryption::Ecies)?,
    })
}

fn decryption(algorithm: EncryptionAlgorithm, padding: Option<PaddingMode>, iv: &[u8], aad: Vec<u8>) -> Result<Decryption> {
    let padding = padding.unwrap_or(PaddingMode::NoPadding);
    Ok(match algorithm {
        EncryptionAlgorithm::AesGcm => {
            check_aad(&aad)?;
            Decryption::AesGcm { iv: whole_iv(algorithm, iv)?, aad }
        }
        EncryptionAlgorithm::AesCbc => without_aad(algorithm, &aad, Decryption::AesCbc { iv: whole_iv(algorithm, iv)?, padding })?,
        EncryptionAlgorithm::AesEcb => without_aad(algorithm, &aad, without_iv(algorithm, iv, Decryption::AesEcb { padding })?)?,
        EncryptionAlgorithm::RsaesOaepSha256 => {
            without_aad(algorithm, &aad, without_iv(algorithm, iv, Decryption::RsaesOaep(OaepHash::Sha256))?)?
        }
        EncryptionAlgorithm::RsaesOaepSha1 => {
            without_aad(algorithm, &aad, without_iv(algorithm, iv, Decryption::RsaesOaep(OaepHash::Sha1))?)?
        }
        EncryptionAlgorithm::EciesDhSha1XorHmac => without_aad(algorithm, &aad, without_iv(algorithm, iv, Decryption::Ecies)?)?,
    })
}

fn whole_iv<const N: usize>(algorithm: EncryptionAlgorithm, iv: &[u8]) -> Result<[u8; N]> {
    if iv.is_empty() {
        return Err(Error::new(
            Kind::MissingParameter,
            format!("The parameter Iv is missing; the algorithm {algorithm} needs it."),
        ));
    }
    iv.try_into().map_err(|_| Error::invalid(format!("The parameter Iv has {N} bytes for the algorithm {algorithm}.")))
}

fn without_iv<T>(algorithm: EncryptionAlgorithm, iv: &[u8], how: T) -> Result<T> {
    if iv.is_empty() { Ok(how) } else { Err(Error::invalid(format!("The parameter Iv does not fit the algorithm {algorithm}."))) }
}

fn without_aad<T>(algorithm: EncryptionAlgorithm, aad: &[u8], how: T) -> Result<T> {
    if aad.is_empty() { Ok(how) } else { Err(Error::invalid(format!("The parameter Aad does not fit the algorithm {algorithm}."))) }
}

/// The limit of the API.
pub(super) fn check_aad(aad: &[u8]) -> Result<()> {
    let limit = crate::tier::AAD_LIMIT;
    if aad.len() <= limit { Ok(()) } else { Err(Error::invalid(format!("The parameter Aad has at most {limit} bytes."))) }
}

/// The digest that is signed.
fn digest_of(message_type: MessageType, message: &[u8]) -> Result<Sha256Digest> {
    match message_type {
        MessageType::Raw => Ok(sha256(message)),
        MessageType::Digest => {
            message.try_into().map_err(|_| Error::invalid("The parameter Message has 32 bytes when MessageType is DIGEST."))
        }
    }
}
